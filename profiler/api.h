/* The profiler's HTTP surface. Pool threads of the server check route, token and parameters and never wait; look-up
 * threads do the work and answer.
 *
 * Where several profilers share the log, each answers every look-up: of its own partitions from the state, of others
 * from the cache or by asking the profiler that has them. Nobody waits for that on a thread: the request goes on in the
 * callbacks of the cache and the forwarder. */
#ifndef WAYMARK_API_H
#define WAYMARK_API_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/audiences.h"
#include "profiler/backup.h"
#include "profiler/cache.h"
#include "profiler/exports.h"
#include "profiler/follower.h"
#include "profiler/forward.h"
#include "profiler/lookup.h"
#include "profiler/lost.h"
#include "profiler/meter.h"
#include "profiler/ownership.h"
#include "profiler/rules.h"
#include "profiler/state.h"
#include "profiler/tag_keeper.h"

struct api;
struct audit;

struct api_options {
    const struct conf *conf;
    const struct fold_rules *rules;
    struct event_log *log;
    struct state *state;
    struct followers *followers;
    struct lookups *lookups;
    struct meter *meter;
    struct stats *stats;
    struct ownership *ownership;
    struct cache *cache;           /* NULL: none */
    struct forward *forward;       /* NULL: look-ups of others' partitions are refused */
    struct backups *backups;       /* NULL: none are made */
    struct lost *lost;             /* NULL: no partition is ever another's */
    struct audit *audit;           /* NULL: nothing is recorded */
    struct audiences *audiences;   /* NULL: none are kept */
    struct exports *exports;       /* NULL: none are made */
    struct tag_keeper *tag_keeper; /* NULL: there are no tags */
    const char *instance;          /* in answers to other instances; NULL: "waymark" */
};

/* Everything in the options must outlive it. */
int api_start(const struct api_options *o, struct api **out, struct err *e);
uint16_t api_port(const struct api *a);
/* Reads what may be read anew while running: profiler.tokens_file. Any thread; does not wait for it. */
void api_reload(struct api *a);
/* New requests are refused from now on. */
void api_quiesce(struct api *a);
/* After the look-up threads have ended, and cache and forwarder were stopped. Waits up to `ms` for answers on their
 * way, then frees. NULL is allowed. */
void api_stop(struct api *a, int64_t ms);

#endif
