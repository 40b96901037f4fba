/* The threads that fold. Each takes its partitions in turn: find its place, read a batch, fold it, commit when due. The
 * rest of the program sees a partition through a few atomics and, under a lock, figures and the words of a trouble.
 *
 * The order that makes it right: the cache forgets what a batch may change, the batch is folded (and so shown), what it
 * emits is acked, and only then state and offset are committed. */
#include "profiler/follower.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "profiler/follower_private.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MOST_MS 5000
#define WAIT_MOST_MS 1000
#define COMMIT_SHARE 4 /* the pause before a commit is so many times as long as the last one took */
#define COMMIT_PAUSE_MOST_MS 30000

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
    struct trouble *t = atomic_load(&p->folding.there) ? &p->folding
                        : atomic_load(&p->emits.there) ? &p->emits
                                                       : &p->commits;

    if (!atomic_load(&t->there))
        return false;
    pthread_mutex_lock(&all->lock);
    err_set(why, "partition %u: %.220s", partition, t->text);
    pthread_mutex_unlock(&all->lock);
    return true;
}

void part_failed(struct followers *all, struct part *p, struct trouble *t, const char *what, const struct err *e)
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

void part_worked(const struct part *p, struct trouble *t, const char *what)
{
    if (!t->retry_at)
        return;
    t->retry_at = t->backoff_ms = 0;
    atomic_store(&t->there, false);
    log_info("profiler: partition %u: %s again", p->number, what);
}

void part_stop(struct followers *all, struct part *p, const char *text)
{
    p->place = PLACE_STOPPED;
    atomic_store(&p->shown, -1);
    atomic_store(&p->ready, false);
    set_trouble(all, &p->folding, text);
    log_error("profiler: partition %u stops: %s", p->number, text);
}

void part_figures(const struct followers *all, uint32_t partition, struct state_figures *out)
{
    state_figures(all->o.state, partition, out);
    out->offset -= out->base;
    out->disk_offset -= out->base;
    out->began -= out->base;
}

/* --- following ------------------------------------------------------------------------------------------------ */

/* Not told is harmless: the log then only keeps more. */
void part_release(struct follower *me, struct part *p)
{
    struct state_figures f;
    struct err e = {0};

    part_figures(me->all, p->number, &f);
    if (log_reader_commit(me->reader, p->number, f.disk_offset, &e) != 0)
        log_limited(&me->all->limit, LOG_WARN, "profiler: partition %u: the log does not take its place: %s", p->number,
                    e.text);
}

static void commit(struct follower *me, struct part *p)
{
    struct err e = {0};
    int64_t began = clock_monotonic();

    atomic_store(&p->hurry, false);
    if (state_commit(me->all->o.state, p->number, &e) != 0) {
        part_failed(me->all, p, &p->commits, "cannot commit", &e);
        return;
    }
    p->commit_took = clock_monotonic() - began;
    p->dirty_since = TIME_NONE;
    p->full = false;
    part_worked(p, &p->commits, "commits");
    part_publish(me->all, p); /* its figures */
    if (p->place == PLACE_FOLLOWED)
        part_release(me, p);
}

/* From the first change to its commit. Where commits take long (they fold anew what could not be kept step by step)
 * folding gets the greater part of the time all the same. */
static int64_t commit_pause(const struct follower *me, const struct part *p)
{
    int64_t share = COMMIT_SHARE * p->commit_took;

    if (share > COMMIT_PAUSE_MOST_MS)
        share = COMMIT_PAUSE_MOST_MS;
    return share > me->all->o.commit_ms || atomic_load(&p->hurry) ? share : me->all->o.commit_ms;
}

/* When the next commit is due, on the monotonic clock; TIME_NONE when nothing waits for one. One that has left is
 * committed at once: who has it now may want this state's copy. */
static int64_t commit_at(const struct follower *me, const struct part *p)
{
    if (p->dirty_since == TIME_NONE)
        return TIME_NONE;
    bool gone = p->place == PLACE_AWAY || p->place == PLACE_STOPPED;
    bool now = p->full || gone || (p->at_end && atomic_load(&me->all->finishing));
    int64_t at = now ? p->dirty_since : p->dirty_since + commit_pause(me, p);
    return at < p->commits.retry_at ? p->commits.retry_at : at;
}

/* What caused an emission goes to disk only when it is on the log. */
static bool commit_if_due(struct follower *me, struct part *p)
{
    int64_t at = commit_at(me, p);

    if (at == TIME_NONE || at > clock_monotonic() || part_emitting(p) || p->announcing)
        return false;
    commit(me, p);
    return true;
}

/* After a failure the state may have taken a part of what was read: read on from where it stands. */
static void go_back(struct follower *me, struct part *p)
{
    struct state_figures f;

    part_figures(me->all, p->number, &f);
    p->next = f.offset;
    if (log_reader_seek(me->reader, p->number, f.offset) != 0)
        p->place = PLACE_AWAY; /* looking for it anew says what is wrong */
}

static void fold(struct follower *me, struct part *p, size_t n)
{
    struct followers *all = me->all;
    struct err e = {0};
    int64_t from = p->next + p->base;

    for (size_t i = 0; i < n; i++)
        me->records[i].offset += p->base;
    int r = state_fold(all->o.state, p->number, me->records, n, &e);

    if (p->dirty_since == TIME_NONE && state_dirty(all->o.state, p->number))
        p->dirty_since = clock_monotonic();
    p->full = r == STATE_COMMIT_DUE && p->dirty_since != TIME_NONE;
    p->held = 0;
    if (r >= 0) {
        p->next = me->records[n - 1].offset + 1 - p->base;
        atomic_store(&p->time, me->records[n - 1].time);
    }
    if (all->o.cache)
        batch_end(me, p, from, r >= 0);
    part_emit(all, p);
    part_publish(all, p);
    if (r < 0) {
        part_failed(all, p, &p->folding, "cannot fold", &e);
        go_back(me, p);
        return;
    }
    part_worked(p, &p->folding, "folds");
}

/* Whether the cache lets the batch be shown now. If not it is read again when it does: what is in memory is the
 * reader's, and the other partitions go on. */
static bool may_show(struct follower *me, struct part *p, size_t n)
{
    if (!me->all->o.cache)
        return true;
    batch_gather(me, n);
    if (p->held > 0)
        return true;
    p->held_until = batch_begin(me, p);
    if (p->held_until <= clock_boot())
        return true;
    p->held = n;
    go_back(me, p);
    return false;
}

/* Offsets without a record are not passed over: they would get no outcome. */
static bool whole(struct follower *me, struct part *p, size_t n)
{
    char text[160];

    for (size_t i = 0; i < n; i++) {
        if (me->records[i].offset == p->next + (int64_t)i)
            continue;
        snprintf(text, sizeof text, "the log holds no record of offset %lld: one of %lld comes in its place",
                 (long long)p->next + (long long)i, (long long)me->records[i].offset);
        part_stop(me->all, p, text);
        return false;
    }
    return true;
}

/* Returns whether there may be more to do at once. */
static bool read_on(struct follower *me, struct part *p)
{
    struct err e = {0};
    size_t most = p->held > 0 ? p->held : LIMIT_FOLD_BATCH;
    int n = log_reader_read(me->reader, p->number, me->records, most, LIMIT_FOLD_BATCH_BYTES, &e);

    if (n < 0) {
        part_failed(me->all, p, &p->folding, "cannot read the log", &e);
        p->place = PLACE_AWAY; /* who knows whether it is the same log when it is back */
        return false;
    }
    p->at_end = n == 0;
    if (n > 0) {
        if (whole(me, p, (size_t)n) && may_show(me, p, (size_t)n))
            fold(me, p, (size_t)n);
        return true;
    }
    part_worked(p, &p->folding, "reads");
    return commit_if_due(me, p);
}

/* Folding goes on while emissions are on their way, but for a commit, which waits for the last ack. */
static bool waits_for_acks(const struct follower *me, const struct part *p)
{
    int64_t at = commit_at(me, p);

    if (!part_emitting(p))
        return false;
    return emitter_full(p->emitter) || (at != TIME_NONE && at <= clock_monotonic());
}

/* Whether it may read now, but for troubles. */
static bool open_to_read(const struct follower *me, const struct part *p)
{
    if (p->place == PLACE_CHECKING)
        return true;
    return p->place == PLACE_FOLLOWED && !p->full && !p->announcing && !waits_for_acks(me, p) &&
           (p->held == 0 || p->held_until <= clock_boot());
}

/* One turn of a partition. Returns whether there may be more to do at once. */
static bool step(struct follower *me, struct part *p)
{
    uint64_t stint = part_stint(me->all, p);

    if (stint != p->stint)
        part_leave(me->all, p);
    if (stint != p->stint)
        p->since = clock_monotonic();
    if (stint != 0 && atomic_load(&p->time) == TIME_NONE)
        atomic_store(&p->time, clock_now());
    p->stint = stint;
    part_emit(me->all, p);
    if (p->announcing && p->held_until <= clock_boot())
        batch_announced(me, p);
    if (p->announcing)
        return false;
    commit_if_due(me, p);
    part_forget(me->all, p);
    if (stint == 0 || p->place == PLACE_STOPPED || clock_monotonic() < p->folding.retry_at)
        return false;
    if (p->place != PLACE_FOLLOWED)
        return part_place(me, p);
    return open_to_read(me, p) && read_on(me, p);
}

static void earlier(int64_t *until, int64_t at)
{
    if (at != TIME_NONE && at < *until)
        *until = at;
}

/* How long nothing needs to be done if nothing is appended. */
static int64_t idle_ms(const struct follower *me)
{
    int64_t now = clock_monotonic(), until = now + WAIT_MOST_MS;

    for (size_t i = 0; i < me->part_count; i++) {
        const struct part *p = me->parts[i];
        if (p->held > 0 || p->announcing)
            earlier(&until, now + p->held_until - clock_boot());
        if (part_emitting(p)) { /* an ack wakes */
            if (p->emits.retry_at)
                earlier(&until, p->emits.retry_at);
        } else {
            earlier(&until, commit_at(me, p));
        }
        if (p->stint != 0 && p->place != PLACE_STOPPED && p->folding.retry_at)
            earlier(&until, p->folding.retry_at);
    }
    return until > now ? until - now : 1;
}

static bool done(const struct part *p)
{
    if (p->dirty_since != TIME_NONE || part_emitting(p) || p->announcing)
        return false;
    if (p->stint == 0 || p->place == PLACE_STOPPED)
        return true;
    return p->place == PLACE_FOLLOWED && p->at_end && !p->folding.retry_at;
}

static bool all_done(const struct follower *me)
{
    for (size_t i = 0; i < me->part_count; i++)
        if (!done(me->parts[i]))
            return false;
    return true;
}

/* Whether nothing on the log is still to be folded, as far as it is followed, and where it ends in all. */
static bool all_folded(struct followers *all, int64_t *ends)
{
    *ends = 0;
    for (uint32_t p = 0; p < all->o.partitions; p++) {
        int64_t shown = atomic_load(&all->parts[p].shown), end = event_log_end(all->o.log, LOG_EVENTS, p);
        if (shown >= 0 && shown < end)
            return false;
        *ends += end;
    }
    return true;
}

/* Where nobody else goes on with the log, what one thread folds last may put something on it for the others: they end
 * together. What is put there while the partitions are looked at one by one shows in a second look. */
static bool may_end(struct follower *me)
{
    struct followers *all = me->all;
    bool idle = all_done(me);
    int64_t ends, again;

    atomic_store(&me->idle, idle);
    if (!idle || event_log_shared(all->o.log))
        return idle;
    for (unsigned i = 0; i < all->follower_count; i++)
        if (!atomic_load(&all->followers[i].idle))
            return false;
    return all_folded(all, &ends) && all_folded(all, &again) && ends == again;
}

/* A partition that may not fold now is not waited for: what stands on the log for it would end every wait at once. */
static void rest(struct follower *me)
{
    size_t n = 0;

    for (size_t i = 0; i < me->part_count; i++) {
        const struct part *p = me->parts[i];
        if (open_to_read(me, p) && !p->folding.retry_at)
            me->waiting[n++] = p->number;
    }
    log_reader_wait(me->reader, me->waiting, n, idle_ms(me));
}

static void wake_all(struct followers *all)
{
    for (unsigned i = 0; i < all->follower_count; i++)
        if (all->followers[i].reader)
            log_reader_wake(all->followers[i].reader);
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
        if (finishing && may_end(me))
            break;
        rest(me);
    }
    if (atomic_load(&all->finishing))
        wake_all(all); /* others may end now */
    pthread_mutex_lock(&all->lock);
    all->running--;
    pthread_cond_signal(&all->ended);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* --- starting and ending -------------------------------------------------------------------------------------- */

static int part_init(struct followers *all, struct follower *me, uint32_t number)
{
    struct part *p = &all->parts[number];

    p->dirty_since = TIME_NONE;
    atomic_init(&p->shown, -1);
    atomic_init(&p->time, TIME_NONE);
    part_figures(all, number, &p->figures);
    me->parts[me->part_count++] = p;
    return part_emit_init(all, me, p);
}

static int make_ends(struct follower *me)
{
    uint32_t n = me->all->o.partitions;

    if (!event_log_shared(me->all->o.log))
        return 0;
    me->numbers = calloc(n, sizeof *me->numbers);
    me->ends = calloc(n, sizeof *me->ends);
    for (uint32_t i = 0; me->numbers && i < n; i++)
        me->numbers[i] = i;
    return me->numbers && me->ends ? 0 : -ENOMEM;
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
        me->ids = all->o.cache ? batch_ids_new() : NULL;
        if (!me->parts || !me->waiting || !me->records || (all->o.cache && !me->ids) || make_ends(me) < 0)
            return -ENOMEM;
        int r = log_reader_open(all->o.log, LOG_EVENTS, "profiler", &me->reader, e);
        if (r != 0)
            return r < 0 ? r : -EIO;
        for (uint32_t n = i; n < all->o.partitions; n += all->follower_count)
            if (part_init(all, me, n) != 0)
                return -ENOMEM;
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

    if (!all)
        return -ENOMEM;
    all->o = *o;
    all->follower_count = o->threads < 1 ? 1 : o->threads > o->partitions ? o->partitions : o->threads;
    pthread_mutex_init(&all->lock, NULL);
    cond_init(&all->ended);
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

/* Waits until every thread has left its loop; false when the time ran out. */
static bool wait_ended(struct followers *all, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int r = 0;

    pthread_mutex_lock(&all->lock);
    while (all->running > 0 && r == 0)
        r = pthread_cond_timedwait(&all->ended, &all->lock, &until);
    bool ended = all->running == 0;
    pthread_mutex_unlock(&all->lock);
    return ended;
}

int followers_finish(struct followers *all, int64_t ms)
{
    bool all_there = true;

    atomic_store(&all->finishing, true);
    if (!all->followers || !all->parts)
        return 0;
    wake_all(all);
    if (!wait_ended(all, ms)) {
        all_there = false;
        atomic_store(&all->give_up, true);
        wake_all(all);
    }
    for (unsigned i = 0; i < all->follower_count; i++) {
        if (all->followers[i].started)
            pthread_join(all->followers[i].thread, NULL);
        all->followers[i].started = false;
    }
    for (uint32_t i = 0; i < all->o.partitions; i++)
        all_there = all_there && all->parts[i].place != PLACE_STOPPED;
    return all_there ? 0 : -ETIMEDOUT;
}

void followers_free(struct followers *all)
{
    if (!all)
        return;
    for (uint32_t i = 0; all->parts && i < all->o.partitions; i++)
        part_emit_deinit(&all->parts[i]);
    for (unsigned i = 0; all->followers && i < all->follower_count; i++) {
        assert(!all->followers[i].started);
        log_reader_close(all->followers[i].reader);
        free(all->followers[i].parts);
        free(all->followers[i].waiting);
        free(all->followers[i].records);
        batch_ids_free(all->followers[i].ids);
        free(all->followers[i].numbers);
        free(all->followers[i].ends);
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

int64_t followers_time(const struct followers *all, uint32_t partition)
{
    assert(partition < all->o.partitions);
    return atomic_load(&all->parts[partition].time);
}

void followers_figures(struct followers *all, uint32_t partition, struct state_figures *out)
{
    assert(partition < all->o.partitions);
    pthread_mutex_lock(&all->lock);
    *out = all->parts[partition].figures;
    pthread_mutex_unlock(&all->lock);
}

void followers_commit(struct followers *all, uint32_t partition)
{
    assert(partition < all->o.partitions);
    if (!atomic_exchange(&all->parts[partition].hurry, true))
        followers_wake(all, partition);
}

void followers_wake(struct followers *all, uint32_t partition)
{
    log_reader_wake(all->followers[partition % all->follower_count].reader);
}
