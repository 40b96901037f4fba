/* The parts of the profiler that follow the log: who has which partition, the folding, the copies in the cache, and
 * what erases. The thread of the caller makes them; what they ask of each other goes over the small functions here, on
 * their threads. */
#include <errno.h>

#include "profiler/checkpoint.h"
#include "profiler/profiler_inside.h"

#define LEAVE_MS 5000 /* for the group, when the brokers do not answer */

/* --- what the parts ask of each other ------------------------------------------------------------------------- */

/* Of the followers, on their threads. */
static void more_shown(void *arg)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    if (a)
        audiences_wake(a);
    lookups_wake(p->lookups);
}

uint64_t profiler_stint(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_stint(p->ownership, partition);
}

static int restore(void *arg, uint32_t partition, int64_t log_begin, bool other, struct err *e)
{
    const struct profiler *p = arg;
    struct state_figures own;
    char path[4096];
    int64_t offset;
    struct checkpoint_log log = checkpoint_log_of(p->conf);

    state_figures(p->state, partition, &own);
    int r = checkpoint_find(p->conf->profiler.backups, &log, partition, log_begin, own.base + other, path, sizeof path,
                            &offset, e);
    if (r != 0)
        return r < 0 ? r : FOLLOWER_NO_BACKUP;
    if (offset <= own.offset)
        return FOLLOWER_NO_BACKUP;
    return state_take_partition(p->state, partition, path, e);
}

/* Of the ownership, on its thread and on the log's. */
static int64_t shown(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;
    const struct followers *f = atomic_load(&p->followers);

    return f ? followers_shown(f, partition) : -1;
}

static void changed(void *arg, uint32_t partition)
{
    struct profiler *p = arg;
    struct followers *f = atomic_load(&p->followers);

    if (f)
        followers_wake(f, partition);
    more_shown(p);
}

/* --- cache ---------------------------------------------------------------------------------------------------- */

/* Of the cache: what tells the shop from others that have their copies in the same Redis. */
static uint64_t shop(void *arg)
{
    struct profiler *p = arg;

    return event_log_identity(p->log);
}

/* Of the cache: what tags in answers are by. */
static uint64_t tags_by(void *arg)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    return a ? audiences_tags_by(a) : 0;
}

bool profiler_has_cache(const struct conf *conf)
{
    return conf->redis.url && !conf->profiler.cache_off;
}

static int start_cache(struct profiler *p, struct err *e)
{
    const struct conf_redis *redis = &p->conf->redis;

    if (!profiler_has_cache(p->conf))
        return 0;
    return cache_start(&(struct cache_options){.redis = redis,
                                               .partitions = p->conf->partitions,
                                               .stats = p->stats,
                                               .shop = event_log_shared(p->log) ? shop : NULL,
                                               .tags = tags_by,
                                               .arg = p},
                       &p->cache, e);
}

/* --- partitions and folding ----------------------------------------------------------------------------------- */

static int start_ownership(struct profiler *p, struct err *e)
{
    return ownership_start(&(struct ownership_options){.log = p->log,
                                                       .cache = p->cache,
                                                       .partitions = p->conf->partitions,
                                                       .instance = p->instance,
                                                       .shown = shown,
                                                       .changed = changed,
                                                       .arg = p},
                           &p->ownership, e);
}

/* Before the followers, whose readers are of the group. */
static int join(struct profiler *p, struct err *e)
{
    int r =
        log_group_join(p->log,
                       &(struct log_group_options){
                           .name = "profiler", .given = ownership_given, .taken = ownership_taken, .arg = p->ownership},
                       e);
    p->joined = r == 0;
    return r;
}

/* Of a follower: the tags in a copy for the cache. */
static bool tags_of(void *arg, uint32_t partition, struct str id, struct buf *out, uint64_t *by, int64_t *until)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);
    struct tags_good good;

    if (!a || audiences_tags(a, partition, id, TIME_NONE, out, &good) != 0 || good.by == 0)
        return false;
    *by = good.by;
    *until = good.until == TIME_NONE ? 0 : good.until;
    return true;
}

static int start_followers(struct profiler *p, struct err *e)
{
    const struct conf_profiler *conf = &p->conf->profiler;
    struct followers *f = NULL;
    int r = followers_start(&(struct followers_options){.log = p->log,
                                                        .state = p->state,
                                                        .partitions = p->conf->partitions,
                                                        .threads = conf->threads,
                                                        .commit_ms = conf->commit_ms,
                                                        .cache = p->cache,
                                                        .rules = &p->settings.rules,
                                                        .stats = p->stats,
                                                        .stint = profiler_stint,
                                                        .restore = conf->backups ? restore : NULL,
                                                        .shown = more_shown,
                                                        .tags = tags_of,
                                                        .arg = p},
                            &f, e);

    atomic_store(&p->followers, f);
    return r;
}

/* --- erasing -------------------------------------------------------------------------------------------------- */

static bool follows(void *arg, uint32_t partition)
{
    const struct profiler *p = arg;

    return ownership_follows(p->ownership, partition);
}

static void forget(void *arg, uint32_t partition, int64_t below)
{
    struct profiler *p = arg;

    followers_forget(p->followers, partition, below);
}

/* Before the audiences are there nothing is known. */
static bool leaves_rows(void *arg, uint32_t partition)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    return !a || audiences_leave_rows(a, partition);
}

static void forget_rows(void *arg, uint32_t partition)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    if (a)
        audiences_forget_rows(a, partition);
}

static int clear_rows(void *arg, struct err *e)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    return a ? audiences_tidy(a, e) : 0;
}

static int start_lost(struct profiler *p)
{
    if (!event_log_shared(p->log))
        return 0;
    p->lost = lost_new(&(struct lost_options){.log = p->log,
                                              .state = p->state,
                                              .partitions = p->conf->partitions,
                                              .keep_ms = p->conf->profiler.keep_lost_ms,
                                              .follows = follows,
                                              .forget = forget,
                                              .rows = leaves_rows,
                                              .forget_rows = forget_rows,
                                              .clear_rows = clear_rows,
                                              .arg = p});
    return p->lost ? 0 : -ENOMEM;
}

/* Of the eraser, on its thread. */
static void commit_soon(void *arg, uint32_t partition)
{
    struct profiler *p = arg;

    followers_commit(p->followers, partition);
}

static void erased(void *arg)
{
    struct profiler *p = arg;
    atomic_store(&p->erased, true);
    struct exports *x = atomic_load(&p->exports);
    if (x)
        exports_erase(x);
}

/* Who was judged before goes onto the topic of changes, too, before it is walked over. */
static int forget_beside(void *arg, struct err *e)
{
    struct profiler *p = arg;
    struct audiences *a = atomic_load(&p->audiences);

    if (a)
        return audiences_forget(a, e);
    err_set(e, "the audiences are not there yet");
    return -EAGAIN;
}

static int start_eraser(struct profiler *p, struct err *e)
{
    return eraser_start(&(struct eraser_options){.log = p->log,
                                                 .state = p->state,
                                                 .cache = p->cache,
                                                 .lost = p->lost,
                                                 .stats = p->stats,
                                                 .partitions = p->conf->partitions,
                                                 .shown = shown,
                                                 .commit = commit_soon,
                                                 .cleaned = more_shown,
                                                 .erased = erased,
                                                 .beside = forget_beside,
                                                 .arg = p},
                        &p->eraser, e);
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

int profiler_start_following(struct profiler *p, struct err *e)
{
    int r = start_cache(p, e);

    if (r == 0)
        r = start_ownership(p, e);
    if (r == 0)
        r = join(p, e);
    if (r == 0)
        r = start_followers(p, e);
    if (r == 0)
        r = start_lost(p);
    if (r == 0)
        r = start_eraser(p, e);
    return r;
}

/* Where others may take over, partitions are let go before what was folded is committed; the group keeps them for this
 * instance for a while, as for a restart. A log of our own is folded to its end, and look-ups are answered until then.
 */
int profiler_stop_following(struct profiler *p, int64_t ms)
{
    int r = 0;

    if (p->joined)
        log_group_leave(p->log, false, LEAVE_MS);
    if (p->ownership && event_log_shared(p->log))
        ownership_stop(p->ownership);
    if (p->followers)
        r = followers_finish(p->followers, ms);
    if (p->lookups)
        lookups_finish(p->lookups);
    if (p->ownership)
        ownership_stop(p->ownership);
    return r;
}
