/* The owner of the profiler's parts, for the files that make them: profiler.c, profiler_follow.c, profiler_people.c. */
#ifndef WAYMARK_PROFILER_INSIDE_H
#define WAYMARK_PROFILER_INSIDE_H

#include <stdatomic.h>

#include "common/disk.h"
#include "common/limits.h"
#include "profiler/api.h"
#include "profiler/audiences.h"
#include "profiler/audit.h"
#include "profiler/backup.h"
#include "profiler/cache.h"
#include "profiler/eraser.h"
#include "profiler/exports.h"
#include "profiler/follower.h"
#include "profiler/forward.h"
#include "profiler/lookup.h"
#include "profiler/meter.h"
#include "profiler/ownership.h"
#include "profiler/profiler.h"
#include "profiler/profiler_settings.h"
#include "profiler/tag_keeper.h"
#include "profiler/webhooks.h"

struct profiler {
    struct profiler_settings settings;
    const struct conf *conf;
    struct event_log *log;
    struct stats *stats;
    char instance[LIMIT_LOG_NAME + 1];
    struct state *state;
    struct lookups *lookups;
    struct cache *cache; /* NULL: none */
    struct ownership *ownership;
    struct followers *_Atomic followers; /* NULL at first, when partitions may be given already */
    struct eraser *eraser;
    struct lost *lost; /* NULL: the log is of this process alone */
    struct meter *meter;
    struct disk_gauges disk;
    struct forward *forward; /* NULL: nobody else has the log */
    struct backups *backups;
    struct audit *audit;
    struct tag_keeper *tag_keeper;
    struct audiences *_Atomic audiences; /* NULL at first, when partitions may be shown already */
    struct exports *_Atomic exports;     /* NULL at first, when people may be erased already */
    struct webhooks *_Atomic webhooks;   /* NULL at first, when people may be judged already, or none */
    _Atomic bool erased;                 /* somebody was since the start */
    struct api *api;
    bool joined;
};

/* --- profiler_follow.c: what follows the log -------------------------------------------------------------------- */

/* Whether Redis is used. */
bool profiler_has_cache(const struct conf *conf);
/* Makes what folds the log and what erases. The state and the look-ups are there. 0, or a negative errno with `e`
 * filled. */
int profiler_start_following(struct profiler *p, struct err *e);
/* Ends what was made, within `ms`. 0 when everything acked is on disk. */
int profiler_stop_following(struct profiler *p, int64_t ms);
/* For options: ownership_stint; `arg` is the profiler. */
uint64_t profiler_stint(void *arg, uint32_t partition);

/* --- profiler_people.c: who is meant, and who is told of them ---------------------------------------------------- */

/* Makes tags, audiences, webhooks and exports. What follows the log is there. 0, or a negative errno with `e` filled.
 */
int profiler_start_people(struct profiler *p, struct err *e);

#endif
