/* The threads that fold. Each takes its partitions in turn: read a batch, fold it, commit when due. The rest of the
 * program sees a partition through three atomics and, when it is in trouble, a text under a lock. */
#include "profiler/follower.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "proto/codec.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 5000
#define WAIT_MOST_MS 1000

/* Something that fails again and again. The words are under the lock of the followers. */
struct trouble {
    int64_t retry_at; /* monotonic; 0: none */
    int64_t backoff_ms;
    _Atomic bool there;
    char text[256];
};

/* One partition. The follower's own part first; what others read is atomic. */
struct part {
    uint32_t number;
    bool stopped;           /* its place is not on the log: never followed */
    bool full;              /* memory is at its bound: no folding before a commit */
    bool at_end;            /* the last read found nothing */
    int64_t dirty_since;    /* monotonic; TIME_NONE: everything is on disk */
    struct trouble folding; /* reading and folding fail */
    struct trouble commits; /* committing fails; folding goes on while there is room */
    int64_t target;         /* the log's end at the start */
    _Atomic int64_t shown;
    _Atomic bool ready;
};

struct follower {
    struct followers *all;
    struct log_reader *reader;
    struct part **parts;
    uint32_t *waiting; /* room for the numbers of the parts, for log_reader_wait */
    size_t part_count;
    struct log_record *records;
    pthread_t thread;
    bool started;
};

struct followers {
    struct followers_options o;
    struct part *parts;
    struct follower *followers;
    unsigned follower_count;
    pthread_mutex_t lock; /* words of troubles, and `running` */
    pthread_cond_t ended;
    unsigned running;
    _Atomic bool finishing; /* fold to the end, commit, go */
    _Atomic bool give_up;   /* go */
    struct log_limit limit;
};

/* --- trouble -------------------------------------------------------------------------------------------------- */

static void set_trouble(struct followers *all, struct trouble *t, const char *text)
{
    pthread_mutex_lock(&all->lock);
    snprintf(t->text, sizeof t->text, "%s", text);
    pthread_mutex_unlock(&all->lock);
    atomic_store(&t->there, true);
}

bool followers_fault(struct followers *all, uint32_t partition, struct err *why)
{
    assert(partition < all->o.partitions);
    struct part *p = &all->parts[partition];
    struct trouble *t = atomic_load(&p->folding.there) ? &p->folding : &p->commits;

    if (!atomic_load(&t->there))
        return false;
    pthread_mutex_lock(&all->lock);
    err_set(why, "partition %u: %.200s", partition, t->text);
    pthread_mutex_unlock(&all->lock);
    return true;
}

/* The store failed: nothing is lost, since the log still has it. Try again, later and later. */
static void failed(struct followers *all, struct part *p, struct trouble *t, const char *what, const struct err *e)
{
    char text[256];

    snprintf(text, sizeof text, "%s: %.200s", what, e->text);
    set_trouble(all, t, text);
    log_limited(&all->limit, LOG_ERROR, "profiler: partition %u: %s; trying again", p->number, text);
    t->backoff_ms = t->backoff_ms ? t->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (t->backoff_ms > BACKOFF_MOST_MS)
        t->backoff_ms = BACKOFF_MOST_MS;
    t->retry_at = clock_monotonic() + t->backoff_ms;
}

static void worked(const struct part *p, struct trouble *t, const char *what)
{
    if (!t->retry_at)
        return;
    t->retry_at = t->backoff_ms = 0;
    atomic_store(&t->there, false);
    log_info("profiler: partition %u: %s again", p->number, what);
}

static void stop_for_good(struct followers *all, struct part *p, const char *text)
{
    p->stopped = true;
    set_trouble(all, &p->folding, text);
    log_error("profiler: partition %u stops: %s", p->number, text);
}

/* --- following ------------------------------------------------------------------------------------------------ */

static void publish(struct followers *all, struct part *p)
{
    struct state_figures f;

    state_figures(all->o.state, p->number, &f);
    int64_t before = atomic_exchange(&p->shown, f.offset);
    assert(f.offset >= before);
    if (!atomic_load(&p->ready) && f.offset >= p->target)
        atomic_store(&p->ready, true);
    if (f.offset > before && all->o.shown)
        all->o.shown(all->o.arg);
}

/* Lets retention pass what is on disk. Not told is harmless: the log then only keeps more. */
static void release(struct follower *me, struct part *p)
{
    struct state_figures f;
    struct err e = {0};

    state_figures(me->all->o.state, p->number, &f);
    if (log_reader_commit(me->reader, p->number, f.disk_offset, &e) != 0)
        log_limited(&me->all->limit, LOG_WARN, "profiler: partition %u: the log does not take its place: %s", p->number,
                    e.text);
}

static void commit(struct follower *me, struct part *p)
{
    struct err e = {0};

    if (state_commit(me->all->o.state, p->number, &e) != 0) {
        failed(me->all, p, &p->commits, "cannot commit", &e);
        return;
    }
    p->dirty_since = TIME_NONE;
    p->full = false;
    worked(p, &p->commits, "commits");
    release(me, p);
}

/* When the next commit is due, on the monotonic clock; TIME_NONE when nothing waits for one. */
static int64_t commit_at(const struct follower *me, const struct part *p)
{
    if (p->dirty_since == TIME_NONE)
        return TIME_NONE;
    bool now = p->full || (p->at_end && atomic_load(&me->all->finishing));
    int64_t at = now ? p->dirty_since : p->dirty_since + me->all->o.commit_ms;
    return at < p->commits.retry_at ? p->commits.retry_at : at;
}

static bool commit_if_due(struct follower *me, struct part *p)
{
    int64_t at = commit_at(me, p);

    if (at == TIME_NONE || at > clock_monotonic())
        return false;
    commit(me, p);
    return true;
}

/* After a failure the state may have taken a part of what was read: read on from where it stands. */
static void go_back(struct follower *me, struct part *p)
{
    struct state_figures f;

    state_figures(me->all->o.state, p->number, &f);
    if (log_reader_seek(me->reader, p->number, f.offset) != 0)
        stop_for_good(me->all, p, "its place is no longer on the log");
}

static void fold(struct follower *me, struct part *p, size_t n)
{
    struct followers *all = me->all;
    struct err e = {0};
    int r = state_fold(all->o.state, p->number, me->records, n, &e);

    if (p->dirty_since == TIME_NONE && state_dirty(all->o.state, p->number))
        p->dirty_since = clock_monotonic();
    publish(all, p);
    p->full = r == STATE_COMMIT_DUE && p->dirty_since != TIME_NONE;
    if (r < 0) {
        failed(all, p, &p->folding, "cannot fold", &e);
        go_back(me, p);
        return;
    }
    worked(p, &p->folding, "folds");
}

/* One turn of a partition. Returns whether there may be more to do at once. */
static bool step(struct follower *me, struct part *p)
{
    struct err e = {0};

    if (p->stopped)
        return false;
    commit_if_due(me, p);
    if (p->full || clock_monotonic() < p->folding.retry_at)
        return false;
    int n = log_reader_read(me->reader, p->number, me->records, LIMIT_FOLD_BATCH, LIMIT_FOLD_BATCH_BYTES, &e);
    if (n < 0) {
        failed(me->all, p, &p->folding, "cannot read the log", &e);
        return false;
    }
    p->at_end = n == 0;
    if (n > 0) {
        fold(me, p, (size_t)n);
        return true;
    }
    worked(p, &p->folding, "reads");
    return commit_if_due(me, p);
}

/* How long nothing needs to be done if nothing is appended. */
static int64_t idle_ms(const struct follower *me)
{
    int64_t now = clock_monotonic(), until = now + WAIT_MOST_MS;

    for (size_t i = 0; i < me->part_count; i++) {
        const struct part *p = me->parts[i];
        int64_t at = commit_at(me, p);
        if (p->stopped)
            continue;
        if (at != TIME_NONE && at < until)
            until = at;
        if (p->folding.retry_at && p->folding.retry_at < until)
            until = p->folding.retry_at;
    }
    return until > now ? until - now : 1;
}

static bool all_done(const struct follower *me)
{
    for (size_t i = 0; i < me->part_count; i++) {
        const struct part *p = me->parts[i];
        if (!p->stopped && (!p->at_end || p->dirty_since != TIME_NONE || p->folding.retry_at))
            return false;
    }
    return true;
}

/* A partition that may not fold now is not waited for: what stands on the log for it would end every wait at once. */
static void rest(struct follower *me)
{
    size_t n = 0;

    for (size_t i = 0; i < me->part_count; i++) {
        const struct part *p = me->parts[i];
        if (!p->stopped && !p->full && !p->folding.retry_at)
            me->waiting[n++] = p->number;
    }
    log_reader_wait(me->reader, me->waiting, n, idle_ms(me));
}

static void *follower_main(void *arg)
{
    struct follower *me = arg;
    struct followers *all = me->all;

    while (!atomic_load(&all->give_up)) {
        bool more = false;
        bool finishing = atomic_load(&all->finishing); /* before reading: what it then does not find was not there */
        for (size_t i = 0; i < me->part_count; i++)
            more |= step(me, me->parts[i]);
        if (more)
            continue;
        if (finishing && all_done(me))
            break;
        rest(me);
    }
    pthread_mutex_lock(&all->lock);
    all->running--;
    pthread_cond_signal(&all->ended);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* --- starting and ending -------------------------------------------------------------------------------------- */

/* Whether the record that the state folded last is still the same on this log. One that retention has taken, or that
 * cannot be read now, says nothing against it. */
static bool same_log(struct follower *me, const struct part *p)
{
    struct log_record record;
    struct event event;
    struct arena arena;
    struct uid uid;
    int64_t offset;
    bool same = true;

    if (!state_last_event(me->all->o.state, p->number, &offset, &uid) ||
        log_reader_seek(me->reader, p->number, offset) != 0 ||
        log_reader_read(me->reader, p->number, &record, 1, LIMIT_RECORD_BYTES, NULL) != 1)
        return true;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    same = record.kind == LOG_KIND_EVENT && event_unpack(record.value, &arena, &event) == CODEC_OK &&
           memcmp(event.uid.b, uid.b, UID_BYTES) == 0;
    arena_deinit(&arena);
    return same;
}

/* A state that has seen nothing starts where the log does. */
static void begin_if_fresh(struct followers *all, struct part *p, int64_t begin, struct state_figures *f)
{
    uint64_t seen = 0;

    for (int i = 0; i < OUTCOMES; i++)
        seen += f->outcomes[i];
    if (seen > 0 || f->offset > 0 || begin == 0)
        return;
    state_begin_at(all->o.state, p->number, begin);
    state_figures(all->o.state, p->number, f);
}

/* Any other state goes on exactly where it stood, or not at all. */
static void place(struct follower *me, struct part *p)
{
    struct followers *all = me->all;
    int64_t begin = event_log_begin(all->o.log, LOG_EVENTS, p->number);
    struct state_figures f;
    char text[200];

    p->target = event_log_end(all->o.log, LOG_EVENTS, p->number);
    p->dirty_since = TIME_NONE;
    state_figures(all->o.state, p->number, &f);
    begin_if_fresh(all, p, begin, &f);
    bool same = same_log(me, p); /* moves the reader: before the seek */
    if (log_reader_seek(me->reader, p->number, f.offset) != 0) {
        snprintf(text, sizeof text,
                 "the state stands at offset %lld but the log holds %lld up to %lld; it was not made from this log, or "
                 "the log has lost records",
                 (long long)f.offset, (long long)begin, (long long)p->target);
        stop_for_good(all, p, text);
    } else if (!same) {
        snprintf(text, sizeof text,
                 "the log was replaced: the record before offset %lld is not the one that the state folded",
                 (long long)f.offset);
        stop_for_good(all, p, text);
    } else {
        release(me, p);
        publish(all, p);
    }
}

/* Every thread's share of the partitions, dealt out in turn. */
static int deal_out(struct followers *all, struct err *e)
{
    for (unsigned i = 0; i < all->follower_count; i++) {
        struct follower *me = &all->followers[i];
        size_t room = all->o.partitions / all->follower_count + 1;

        me->all = all;
        me->parts = calloc(room, sizeof(struct part *));
        me->waiting = calloc(room, sizeof *me->waiting);
        me->records = calloc(LIMIT_FOLD_BATCH, sizeof *me->records);
        if (!me->parts || !me->waiting || !me->records)
            return -ENOMEM;
        int r = log_reader_open(all->o.log, LOG_EVENTS, "profiler", &me->reader, e);
        if (r != 0)
            return r < 0 ? r : -EIO;
        for (uint32_t n = i; n < all->o.partitions; n += all->follower_count) {
            me->parts[me->part_count++] = &all->parts[n];
            place(me, &all->parts[n]);
        }
    }
    return 0;
}

static int start_threads(struct followers *all)
{
    for (unsigned i = 0; i < all->follower_count; i++) {
        struct follower *me = &all->followers[i];

        pthread_mutex_lock(&all->lock);
        all->running++;
        pthread_mutex_unlock(&all->lock);
        int r = pthread_create(&me->thread, NULL, follower_main, me);
        if (r != 0) {
            pthread_mutex_lock(&all->lock);
            all->running--;
            pthread_mutex_unlock(&all->lock);
            return -r;
        }
        me->started = true;
    }
    return 0;
}

int followers_start(const struct followers_options *o, struct followers **out, struct err *e)
{
    assert(o->partitions > 0 && o->partitions <= LIMIT_PARTITIONS);
    struct followers *all = calloc(1, sizeof *all);
    pthread_condattr_t attr;

    if (!all)
        return -ENOMEM;
    all->o = *o;
    all->follower_count = o->threads < 1 ? 1 : o->threads > o->partitions ? o->partitions : o->threads;
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&all->ended, &attr);
    pthread_condattr_destroy(&attr);
    all->parts = calloc(o->partitions, sizeof *all->parts);
    all->followers = calloc(all->follower_count, sizeof *all->followers);
    int r = all->parts && all->followers ? 0 : -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < o->partitions; i++)
        all->parts[i].number = i;
    if (r == 0)
        r = deal_out(all, e);
    if (r == 0)
        r = start_threads(all);
    if (r != 0) {
        followers_finish(all, 0);
        followers_free(all);
        return r;
    }
    *out = all;
    return 0;
}

static void wake_all(struct followers *all)
{
    for (unsigned i = 0; i < all->follower_count; i++)
        if (all->followers[i].reader)
            log_reader_wake(all->followers[i].reader);
}

/* Waits until every thread has left its loop; false when the time ran out. */
static bool wait_ended(struct followers *all, int64_t ms)
{
    struct timespec until;
    int r = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&all->lock);
    while (all->running > 0 && r == 0)
        r = pthread_cond_timedwait(&all->ended, &all->lock, &until);
    bool ended = all->running == 0;
    pthread_mutex_unlock(&all->lock);
    return ended;
}

int followers_finish(struct followers *all, int64_t ms)
{
    bool whole = true;

    atomic_store(&all->finishing, true);
    if (!all->followers || !all->parts)
        return 0;
    wake_all(all);
    if (!wait_ended(all, ms)) {
        whole = false;
        atomic_store(&all->give_up, true);
        wake_all(all);
    }
    for (unsigned i = 0; i < all->follower_count; i++) {
        if (all->followers[i].started)
            pthread_join(all->followers[i].thread, NULL);
        all->followers[i].started = false;
    }
    for (uint32_t i = 0; i < all->o.partitions; i++)
        whole = whole && !all->parts[i].stopped;
    return whole ? 0 : -ETIMEDOUT;
}

void followers_free(struct followers *all)
{
    if (!all)
        return;
    for (unsigned i = 0; all->followers && i < all->follower_count; i++) {
        assert(!all->followers[i].started);
        log_reader_close(all->followers[i].reader);
        free(all->followers[i].parts);
        free(all->followers[i].waiting);
        free(all->followers[i].records);
    }
    free(all->followers);
    free(all->parts);
    pthread_cond_destroy(&all->ended);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

int64_t followers_shown(const struct followers *all, uint32_t partition)
{
    assert(partition < all->o.partitions);
    return atomic_load(&all->parts[partition].shown);
}

bool followers_ready(const struct followers *all, uint32_t partition)
{
    assert(partition < all->o.partitions);
    return atomic_load(&all->parts[partition].ready);
}
