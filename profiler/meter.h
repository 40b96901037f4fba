/* What the profiler tells Prometheus. Counters are raised where things happen; gauges are read when the text is made.
 */
#ifndef WAYMARK_METER_H
#define WAYMARK_METER_H

#include <stdint.h>

#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/lookup.h"
#include "profiler/state.h"

struct meter;

struct meter_options {
    struct stats *stats;
    struct event_log *log;
    struct state *state;
    struct lookups *lookups;
    uint32_t partitions;
};

/* Everything in the options must outlive the last stats_write. NULL when memory is out. */
struct meter *meter_new(const struct meter_options *o);
void meter_free(struct meter *m);
/* One answer. `route` is a literal of a bounded set. Any thread. */
void meter_request(struct meter *m, const char *route, unsigned status, double seconds);

#endif
