/* Metrics in Prometheus' text form. Counters and histograms are added to from any thread without a lock and summed by
 * the one who reads; gauges are asked for when the text is made. A program makes one registry at its start. */
#ifndef WAYMARK_STATS_H
#define WAYMARK_STATS_H

#include <stdint.h>

#include "common/buf.h"

struct stats;
struct stats_counter; /* one series */
struct stats_histogram;

struct stats *stats_new(void);
void stats_free(struct stats *s);

/* A series: `labels` is the text between the braces ("reason=\"too_large\""), or NULL. The same name and labels give
 * the same counter. `help` of the first call stands. Not for hot paths: keep the pointer. Lives as long as `s`. */
struct stats_counter *stats_counter(struct stats *s, const char *name, const char *labels, const char *help);
void stats_add(struct stats_counter *c, uint64_t n);
uint64_t stats_get(const struct stats_counter *c);
/* Seconds; buckets from 100 µs to 10 s. */
struct stats_histogram *stats_histogram(struct stats *s, const char *name, const char *labels, const char *help);
void stats_observe(struct stats_histogram *h, double seconds);

/* Gauges: `write` is called for each text, on the reading thread, and adds lines by stats_gauge_line. */
typedef void stats_gauges(struct buf *out, void *arg);
void stats_add_gauges(struct stats *s, stats_gauges *write, void *arg);
/* The HELP and TYPE lines of a gauge, then any number of its lines. */
void stats_gauge_head(struct buf *out, const char *name, const char *help);
void stats_gauge_line(struct buf *out, const char *name, const char *labels, double value);

/* The whole text. */
void stats_write(struct stats *s, struct buf *out);

#endif
