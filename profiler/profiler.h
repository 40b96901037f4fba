/* The profiler: follows the event log, folds it into the state, and answers look-ups over HTTP. It owns the state and
 * its threads: fold workers (each with its partitions), look-up threads, the HTTP pool. */
#ifndef WAYMARK_PROFILER_H
#define WAYMARK_PROFILER_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"

struct profiler;

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
