/* What the profiler tells Prometheus. Counters are raised where things happen; gauges are read when the text is made.
 * What is said of partitions is said of those that this process follows, so that sums over all processes are right. */
#ifndef WAYMARK_METER_H
#define WAYMARK_METER_H

#include <stdint.h>

#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/follower.h"
#include "profiler/lookup.h"
#include "profiler/ownership.h"
#include "profiler/state.h"

struct meter;

struct meter_options {
    struct stats *stats;
    struct event_log *log;
    struct state *state;
    struct lookups *lookups;
    struct followers *followers;
    struct ownership *ownership;
    uint32_t partitions;
};

/* Everything in the options must outlive the last stats_write. NULL when memory is out. */
struct meter *meter_new(const struct meter_options *o);
void meter_free(struct meter *m);
/* One answer. `route` is a literal of a bounded set. Any thread. */
void meter_request(struct meter *m, const char *route, unsigned status, double seconds);

#endif
