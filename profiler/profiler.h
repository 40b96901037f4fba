/* The profiler: follows the event log, folds it into the state, and answers look-ups over HTTP. It owns the state and
 * its threads: fold workers (each with its partitions), look-up threads, the HTTP pool. */
#ifndef WAYMARK_PROFILER_H
#define WAYMARK_PROFILER_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/rules.h"
#include "profiler/state.h"
#include "profiler/traits.h"

struct profiler;

/* What the configuration says about the fold and the state's folder, for everybody who opens the state (the profiler,
 * verify). `state.rules` points into the struct: it must stay where it is. */
struct profiler_settings {
    struct fold_rules rules;
    struct zone *zone;
    struct seal_keys *keys; /* NULL: there are none, and personal values are not folded */
    struct traits_counters traits_counters;
    struct traits_rules traits;
    unsigned char erasure_key[SEAL_ERASURE_KEY_BYTES];
    char path[4096];
    struct state_options state;
};
/* Fills it; fails when the time zone is unknown or the keys cannot be read. Call before threads start. `conf` must
 * outlive it. */
int profiler_settings_init(struct profiler_settings *s, const struct conf *conf, struct err *e);
void profiler_settings_deinit(struct profiler_settings *s);

/* Opens the state and starts following the log at the offsets on disk. `log`, `conf` and `stats` must outlive it. */
int profiler_start(const struct conf *conf, struct event_log *log, struct stats *stats, struct profiler **out,
                   struct err *e);
uint16_t profiler_port(const struct profiler *p);
/* Reads anew what may be read anew while running: profiler.tokens_file. Any thread; does not wait for it. */
void profiler_reload(struct profiler *p);
/* Folds everything that the log holds now, commits, answers what is waiting, stops: in `ms` milliseconds, unless the
 * store does not let go. NULL is allowed. Returns 0 when everything acked is on disk. */
int profiler_stop(struct profiler *p, int64_t ms);

#endif
