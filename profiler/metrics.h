/* What the profiler tells Prometheus. Counters are raised where things happen; gauges are read when the text is made. */
#ifndef WAYMARK_METRICS_H
#define WAYMARK_METRICS_H

#include <stdint.h>

#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/lookup.h"
#include "profiler/state.h"

struct metrics;

struct metrics_options {
    struct stats *stats;
    struct event_log *log;
    struct state *state;
    struct lookups *lookups;
    uint32_t partitions;
};

/* Everything in the options must outlive the last stats_write. NULL when memory is out. */
struct metrics *metrics_new(const struct metrics_options *o);
void metrics_free(struct metrics *m);
/* One answer. `route` is a literal of a bounded set. Any thread. */
void metrics_request(struct metrics *m, const char *route, unsigned status, double seconds);

#endif
