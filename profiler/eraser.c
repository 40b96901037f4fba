/* The eraser's thread: its turns, and what they wait for.
 *
 * A turn takes all partitions in which something was erased, and one walk over the log serves them all:
 *
 *   commit   what was erased is gone from what a crash comes back to
 *   tell     files that were made of people are removed
 *   forget   Redis has confirmed that it has no copy
 *   compact  the state's files are written anew
 *   settle   everything is folded and on disk that the erasures have set off in other partitions
 *   beside   what audiences keep of people; whoever was judged before is on their topic by then
 *   blank    the records of the log, below what is on disk of each partition: a crash folds none of them again
 *   others   the files of the other partitions, where what is gone stood before it moved
 *
 * Whatever fails is said once in a while and tried again, later and later; nothing is called clean before all of it is
 * done. */
#include "profiler/eraser.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/eraser_judge.h"
#include "profiler/eraser_pause.h"

#define LOOK_MS 10      /* while it waits for the followers */
#define FOLLOW_MS 30000 /* for a partition to be folded, or committed */
#define FORGET_MS 2000  /* for Redis */
#define LATE_MS TIME_MINUTE
#define NICE 10
/* What is erased in one partition moves others, and these again others: a user's devices are told, which tell their
 * users, who tell the homes of orders, which tell the orders' owners. */
#define SETTLE_ROUNDS 6
#define PROFILE_ARENA (1 * MIB)

struct part {
    bool erasing, forgotten, compacted;
    int64_t through;       /* the state's: what this turn is for */
    int64_t end;           /* of the log: to be folded, and on disk */
    int64_t compacted_at;  /* the `through` for which the files were written anew; 0: none */
    _Atomic int64_t since; /* monotonic: nobody who waits was erased before; 0: since the last look, or nobody waits */
};

struct eraser {
    struct eraser_options o;
    struct part *parts;
    struct judge judge;
    bool forgets; /* Redis answers, in this turn */
    /* The last walk over the whole log, so that what else fails does not make it walk again and again. */
    uint64_t walked_for; /* a hash of what the turn was for; 0: none */
    bool walked_through; /* and no name had to stay because Redis did not answer */
    uint64_t told_for;   /* the last turn of which o.erased was told; 0: none */
    uint64_t late_seen;
    int64_t late_at; /* monotonic: not before */
    struct eraser_pause pause;
    _Atomic int64_t looked_at; /* for who was erased, last; */
    struct log_limit limit;
    struct stats_counter *records;
    pthread_t thread;
    bool started;
    _Atomic bool stopping;
    pthread_mutex_t lock;
    pthread_cond_t stop;
};

/* Whether the thread is to go on. */
static bool rest(struct eraser *x, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int error = 0;

    pthread_mutex_lock(&x->lock);
    while (!atomic_load(&x->stopping) && error == 0)
        error = pthread_cond_timedwait(&x->stop, &x->lock, &until);
    pthread_mutex_unlock(&x->lock);
    return !atomic_load(&x->stopping);
}

static void hindered(struct eraser *x, const char *what, int rc, const struct err *e)
{
    if (!atomic_load(&x->stopping))
        log_limited(&x->limit, LOG_WARN, "profiler: what was erased is not off the disk yet: %s%s%s; trying again",
                    what, *what ? ": " : "", e->text[0] ? e->text : strerror(-rc));
}

/* --- waiting for the followers -------------------------------------------------------------------------------- */

static int64_t disk_offset(const struct eraser *x, uint32_t partition)
{
    struct state_figures f;

    state_figures(x->o.state, partition, &f);
    return f.disk_offset - f.base;
}

static bool is_shown(const struct eraser *x, uint32_t partition)
{
    return x->o.shown(x->o.arg, partition) >= x->parts[partition].end;
}

/* Asks for the commit that it waits for, again and again: one may be under way that began before. */
static bool is_on_disk(const struct eraser *x, uint32_t partition)
{
    bool is = disk_offset(x, partition) >= x->parts[partition].end;

    if (!is)
        x->o.commit(x->o.arg, partition);
    return is;
}

/* Until it holds for all partitions, or all that erase. False when one does not go on, or the program ends. */
static bool wait_for(struct eraser *x, bool (*holds)(const struct eraser *x, uint32_t partition), bool all)
{
    int64_t until = clock_monotonic() + FOLLOW_MS;
    uint32_t waits = 0;

    do {
        while (waits < x->o.partitions && ((!all && !x->parts[waits].erasing) || holds(x, waits)))
            waits++;
        if (waits == x->o.partitions)
            return true;
    } while (clock_monotonic() < until && rest(x, LOOK_MS));
    struct err e;
    err_set(&e, "partition %u is not followed to its end", waits);
    hindered(x, "", 0, &e);
    return false;
}

/* What was erased in one partition may still be on its way to others, as records that name the person. */
static bool spread(struct eraser *x)
{
    for (int i = 0; i < SETTLE_ROUNDS; i++) {
        for (uint32_t p = 0; p < x->o.partitions; p++)
            x->parts[p].end = event_log_end(x->o.log, LOG_EVENTS, p);
        if (!wait_for(x, is_shown, true))
            return false;
    }
    return true;
}

static bool settle(struct eraser *x)
{
    return spread(x) && wait_for(x, is_on_disk, true);
}

/* --- the cache ------------------------------------------------------------------------------------------------ */

/* Redis is asked once a turn whether it answers. */
static bool forget(struct eraser *x, const struct str *ids, size_t n)
{
    struct err e = {0};
    int rc;

    if (!x->o.cache || n == 0)
        return true;
    if (!x->forgets)
        return false;
    rc = cache_forget(x->o.cache, ids, n, FORGET_MS);
    x->forgets = rc == 0;
    if (rc < 0)
        hindered(x, "Redis has not confirmed that copies are gone", rc, &e);
    return rc == 0;
}

static bool forget_profiles(struct eraser *x, uint32_t partition)
{
    size_t n;
    struct str *ids = state_erased_profiles(x->o.state, partition, &n);
    bool gone = n != SIZE_MAX && forget(x, ids, n);

    free(ids);
    return gone;
}

/* --- the log -------------------------------------------------------------------------------------------------- */

static int judge_erased(void *arg, struct str profile, const struct event_key *key, bool *out, struct err *e)
{
    const struct eraser *x = arg;

    return state_is_erased(x->o.state, profile, key, out, e);
}

static int judge_lives(void *arg, struct str profile, bool *out, struct err *e)
{
    const struct eraser *x = arg;
    const struct str key = {profile.p + 5, profile.n - 5};
    struct state_profile p;
    struct arena a;

    arena_init(&a, PROFILE_ARENA);
    int rc = state_profile(x->o.state, event_log_partition(key, x->o.partitions), profile, &a, &p, e);
    *out = rc == 0 || rc == STATE_LINKED;
    if (rc == 0) {
        facts_deinit(&p.facts);
        traits_deinit(&p.traits);
    }
    arena_deinit(&a);
    return rc < 0 ? rc : 0;
}

/* After a restart the log alone knows whose copies may be left. */
static bool judge_forgotten(void *arg, struct str profile)
{
    return forget(arg, &profile, 1);
}

static int blank_one(struct eraser *x, enum log_topic topic, uint32_t partition, int64_t below)
{
    static const char *const names[LOG_TOPICS] = {[LOG_EVENTS] = "the log",
                                                  [LOG_BAD] = "the log of bad events",
                                                  [LOG_AUDIENCES] = "the log of changes of audiences"};
    struct err e = {0};
    uint64_t n = 0;
    int rc = event_log_blank(x->o.log, topic, partition, below, judge_record, &x->judge, &x->stopping, &n, &e);

    if (x->records)
        stats_add(x->records, n);
    if (rc < 0 && rc != -ECANCELED)
        hindered(x, names[topic], rc, e.text[0] ? &e : &x->judge.err);
    return rc;
}

/* What a turn is for; 0: events that came late. */
static uint64_t purpose(const struct eraser *x)
{
    uint64_t h = 0;

    for (uint32_t i = 0; i < x->o.partitions; i++)
        if (x->parts[i].erasing)
            h = (h ^ i ^ (uint64_t)x->parts[i].through << 12) * 0x9e3779b97f4a7c15u + 1;
    return h;
}

/* Whether no record of an erased person is left, below what every partition has on disk. */
static bool blank(struct eraser *x)
{
    int64_t bad = event_log_end(x->o.log, LOG_BAD, 0);
    bool done = true;

    x->walked_for = 0;

    for (uint32_t p = 0; p < x->o.partitions && !atomic_load(&x->stopping); p++)
        done = blank_one(x, LOG_EVENTS, p, x->parts[p].end) == 0 &&
               blank_one(x, LOG_AUDIENCES, p, event_log_end(x->o.log, LOG_AUDIENCES, p)) == 0 && done;
    if (!done || atomic_load(&x->stopping) || blank_one(x, LOG_BAD, 0, bad) != 0)
        return false;
    x->walked_for = purpose(x);
    x->walked_through = x->forgets;
    return true;
}

static bool has_walked(const struct eraser *x)
{
    return x->walked_for != 0 && x->walked_for == purpose(x) && (x->walked_through || !x->forgets);
}

/* --- a turn --------------------------------------------------------------------------------------------------- */

/* Whether what was erased in it can be taken off the disk here. On a log of others that does not need the partition to
 * go on here: it may be another's by now. */
static bool is_at_hand(const struct eraser *x, uint32_t partition)
{
    struct state_figures f;

    if (x->o.shown(x->o.arg, partition) >= 0)
        return true;
    state_figures(x->o.state, partition, &f);
    return event_log_shared(x->o.log) && f.disk_offset >= x->parts[partition].through;
}

/* The partitions that something was erased in. How many. */
static unsigned find_erasing(struct eraser *x)
{
    int64_t now = clock_monotonic(), before = atomic_load(&x->looked_at);
    unsigned n = 0;

    for (uint32_t i = 0; i < x->o.partitions; i++) {
        struct part *p = &x->parts[i];
        bool waits = state_erasing(x->o.state, i, &p->through);
        struct state_figures f;

        if (!waits || atomic_load(&p->since) == 0)
            atomic_store(&p->since, waits ? before : 0);
        p->erasing = waits && is_at_hand(x, i);
        p->forgotten = p->compacted = false;
        state_figures(x->o.state, i, &f);
        p->end = p->through - f.base;
        n += p->erasing;
    }
    atomic_store(&x->looked_at, now);
    return n;
}

static uint64_t count_late(const struct eraser *x)
{
    uint64_t n = 0;

    for (uint32_t p = 0; p < x->o.partitions; p++) {
        struct state_figures f;

        state_figures(x->o.state, p, &f);
        n += f.outcomes[OUTCOME_ERASED];
    }
    return n;
}

static void compact(struct eraser *x, uint32_t partition)
{
    struct part *p = &x->parts[partition];
    struct err e = {0};
    char what[64];
    int rc = 0;

    if (p->compacted_at != p->through)
        rc = state_compact(x->o.state, partition, &e);
    p->compacted = rc == 0;
    if (rc == 0)
        p->compacted_at = p->through;
    snprintf(what, sizeof what, "the state's files of partition %u", partition);
    if (rc < 0)
        hindered(x, what, rc, &e);
}

/* Partition by partition. */
static void clear_state(struct eraser *x)
{
    for (uint32_t i = 0; i < x->o.partitions && !atomic_load(&x->stopping); i++)
        if (x->parts[i].erasing) {
            x->parts[i].forgotten = forget_profiles(x, i);
            compact(x, i);
        }
}

/* What had moved to the erased, or from them, stood elsewhere before: deleted there, and in files still. Whether all
 * are written anew. */
static bool clear_others(struct eraser *x)
{
    bool all = true;

    for (uint32_t i = 0; i < x->o.partitions && !atomic_load(&x->stopping); i++) {
        struct err e = {0};
        int rc = 0;

        if (!x->parts[i].erasing && x->o.shown(x->o.arg, i) >= 0)
            rc = state_compact(x->o.state, i, &e);
        if (rc < 0)
            hindered(x, "the state's files of another partition", rc, &e);
        all = all && rc == 0;
    }
    return all;
}

/* Where a name had to stay on the log none is clean: whose it is, nobody knows. Whether all are. */
static bool end_turn(struct eraser *x)
{
    bool all = true;

    for (uint32_t i = 0; i < x->o.partitions; i++) {
        struct part *p = &x->parts[i];
        bool clean = p->forgotten && p->compacted && x->forgets;

        if (p->erasing && clean) {
            state_cleaned(x->o.state, i, p->through);
            atomic_store(&p->since, atomic_load(&x->looked_at)); /* who still waits was erased later */
        }
        all = all && (clean || !p->erasing);
    }
    x->o.cleaned(x->o.arg);
    return all;
}

/* Once, however often the turn is tried again. */
static void tell(struct eraser *x)
{
    uint64_t now = purpose(x);

    if (x->o.erased && now != 0 && now != x->told_for)
        x->o.erased(x->o.arg);
    x->told_for = now;
}

static bool forget_beside(struct eraser *x)
{
    struct err e = {0};
    int rc = x->o.beside ? x->o.beside(x->o.arg, &e) : 0;

    if (rc < 0)
        hindered(x, "the rows of audiences", rc, &e);
    return rc == 0;
}

/* Whether nothing is left to do of what it was for. */
static bool turn(struct eraser *x, unsigned erasing)
{
    uint64_t late = count_late(x); /* before it is known how far the log is walked over */
    bool shared = event_log_shared(x->o.log);

    x->forgets = true;
    if (erasing > 0 && !wait_for(x, is_on_disk, false))
        return false;
    tell(x);
    clear_state(x);
    if (!shared && !has_walked(x) && !settle(x))
        return false;
    if (erasing > 0 && !forget_beside(x))
        return false;
    if (!shared && !has_walked(x) && !blank(x))
        return false;
    if (erasing > 0 && !clear_others(x))
        return false;
    if (atomic_load(&x->stopping))
        return false;
    if (x->forgets)
        x->late_seen = late;
    x->late_at = clock_monotonic() + x->o.late_ms;
    return end_turn(x);
}

/* Events that come when their person is erased already are told from others only when they are folded: they stand on
 * the log until it is walked over again. */
static bool came_late(const struct eraser *x)
{
    return !event_log_shared(x->o.log) && clock_monotonic() >= x->late_at && count_late(x) != x->late_seen;
}

/* What there is to do. Returns how long to rest. */
static int64_t work(struct eraser *x)
{
    unsigned erasing = find_erasing(x);
    int64_t began = clock_monotonic();

    if (erasing == 0 && !came_late(x))
        return ERASER_TICK_MS;
    if (erasing > 0 && !event_log_shared(x->o.log)) {
        spread(x); /* one turn is to serve all that the erasure moves */
        erasing = find_erasing(x);
    }
    bool done = turn(x, erasing);
    return eraser_pause_after(&x->pause, done, began, clock_monotonic());
}

static void *run(void *arg)
{
    struct eraser *x = arg;
    int64_t work_at = 0;

    setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone */
    while (rest(x, ERASER_TICK_MS)) {
        if (x->o.lost)
            lost_tick(x->o.lost);
        if (clock_monotonic() >= work_at)
            work_at = work(x) + clock_monotonic();
    }
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void gauges(struct buf *out, void *arg)
{
    const struct eraser *x = arg;
    int64_t now = clock_monotonic(), oldest = now;
    unsigned n = 0;

    for (uint32_t p = 0; p < x->o.partitions; p++) {
        int64_t since = atomic_load(&x->parts[p].since);

        if (eraser_clean(x, p))
            continue;
        since = since ? since : atomic_load(&x->looked_at);
        oldest = since < oldest ? since : oldest;
        n++;
    }
    stats_gauge_head(out, "waymark_erasures_pending",
                     "Partitions in which something was erased that may still stand in files.");
    stats_gauge_line(out, "waymark_erasures_pending", NULL, n);
    stats_gauge_head(out, "waymark_erasure_oldest_seconds", "For how long the oldest of these has waited, at most.");
    stats_gauge_line(out, "waymark_erasure_oldest_seconds", NULL, (double)(now - oldest) / 1000);
}

static void count(struct eraser *x)
{
    if (!x->o.stats)
        return;
    x->records = stats_counter(x->o.stats, "waymark_erased_records_total", NULL,
                               "Records of the embedded log that were made empty because their person was erased.");
    stats_add_gauges(x->o.stats, gauges, x);
}

int eraser_start(const struct eraser_options *o, struct eraser **out, struct err *e)
{
    struct eraser *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    assert(o->partitions > 0 && o->shown && o->commit && o->cleaned);
    x->o = *o;
    if (x->o.late_ms == 0)
        x->o.late_ms = LATE_MS;
    x->late_at = clock_monotonic() + x->o.late_ms;
    atomic_init(&x->looked_at, clock_monotonic());
    judge_init(&x->judge, &(struct judge_asks){judge_erased, judge_lives, judge_forgotten, x});
    pthread_mutex_init(&x->lock, NULL);
    cond_init(&x->stop);
    x->parts = calloc(o->partitions, sizeof *x->parts);
    int rc = x->parts ? -pthread_create(&x->thread, NULL, run, x) : -ENOMEM;
    x->started = rc == 0;
    if (rc < 0) {
        err_set(e, "the eraser cannot be started: %s", strerror(-rc));
        eraser_free(x);
        return rc;
    }
    count(x);
    *out = x;
    return 0;
}

void eraser_stop(struct eraser *x)
{
    if (!x || !x->started)
        return;
    pthread_mutex_lock(&x->lock);
    atomic_store(&x->stopping, true);
    pthread_cond_broadcast(&x->stop);
    pthread_mutex_unlock(&x->lock);
    state_compact_stop(x->o.state);
    pthread_join(x->thread, NULL);
    x->started = false;
}

void eraser_free(struct eraser *x)
{
    if (!x)
        return;
    assert(!x->started);
    judge_deinit(&x->judge);
    pthread_cond_destroy(&x->stop);
    pthread_mutex_destroy(&x->lock);
    free(x->parts);
    free(x);
}

bool eraser_clean(const struct eraser *x, uint32_t partition)
{
    int64_t through;

    return !state_erasing(x->o.state, partition, &through);
}
