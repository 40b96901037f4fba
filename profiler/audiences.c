/* The audiences: their start and stop, and the thread that judges. It goes round: takes other rules if there are any,
 * partitions that have come, and then one batch of people, first those who changed, then those whose time has come,
 * then a few of the background, so that what just happened never waits for long. */
#include "profiler/audiences.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/cond.h"
#include "profiler/audience_inside.h"

#define READER "audiences"
#define IDLE_MS 1000

/* Every lap is over: what was being built is live. */
static void finish_laps(struct audiences *a)
{
    bool any = false;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        struct crowd *p = &a->parts[i];

        if (p->here ? !p->known || (p->unread && needs_topic(a)) || p->lap_left || p->again_n || p->gone_at < p->gone_n
                    : crowd_shows(a, i))
            return;
    }
    for (size_t i = 0; i < a->world->n; i++)
        any = any || a->building[i];
    if (!any || turns_behind(a))
        return;
    pthread_rwlock_wrlock(&a->lock);
    for (size_t i = 0; i < a->world->n; i++)
        a->building[i] = false;
    pthread_rwlock_unlock(&a->lock);
    if (a->o.moved)
        a->o.moved(a->o.arg);
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

static bool anybody_waits(struct audiences *a)
{
    int64_t now = wall(a);

    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (crowd_waits(a, &a->parts[i], now))
            return true;
    return false;
}

static bool is_settled(struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        if (p->here ? p->again_n > 0 || !p->known || !crowd_ready(a, p) : crowd_shows(a, i))
            return false;
    }
    return true;
}

static void take_least(int64_t *least, int64_t ms)
{
    if (ms < *least)
        *least = ms < 0 ? 0 : ms;
}

/* How long nothing is to be done, ms. */
static int64_t pause_ms(struct audiences *a)
{
    int64_t least = IDLE_MS, now = wall(a), steady = clock_monotonic();

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];
        uint32_t due = people_first_due(&p->people);

        if (due != PERSON_NONE && crowd_ready(a, p) && crowd_compared(p))
            take_least(&least, p->people.v[due].due - now);
        if (p->again_n > 0 && crowd_ready(a, p) && crowd_compared(p))
            take_least(&least, p->again_at - steady);
        if (p->retry_at > steady)
            take_least(&least, p->retry_at - steady);
    }
    take_least(&least, turns_pause(a));
    if (a->write_at != TIME_NONE)
        take_least(&least, a->write_at - steady);
    if (a->retry_at > steady)
        least = a->retry_at - steady;
    return least;
}

static bool wait_woken(struct audiences *a, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int r = 0;

    pthread_mutex_lock(&a->wake_lock);
    while (!a->woken && !a->stopping && !a->next_tags && r == 0)
        r = pthread_cond_timedwait(&a->wake_cond, &a->wake_lock, &until);
    a->woken = false;
    bool go_on = !a->stopping;
    pthread_mutex_unlock(&a->wake_lock);
    return go_on;
}

static void write_when_due(struct audiences *a)
{
    if (a->write_at == TIME_NONE)
        return;
    if (clock_monotonic() >= a->write_at || row_store_waiting(a->rows) > LIMIT_AUDIENCE_ROWS_BYTES)
        row_store_flush(a);
}

/* Whether there are changes that the state does not name: before the partition came, or more than it notes. */
static bool is_behind(struct audiences *a, uint32_t i)
{
    const struct crowd *p = &a->parts[i];

    return p->here ? !crowd_compared(p) || p->stale || (p->unread && needs_topic(a)) || p->gone_at < p->gone_n
                   : crowd_shows(a, i);
}

/* The latest round up to which whoever had changed was judged. What was taken before something else was taken is. */
static unsigned long long judged_by(struct audiences *a)
{
    unsigned long long least = a->round;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];
        unsigned long long by = p->changed_at < p->changed_n ? p->taken_before : p->taken;

        if (is_behind(a, i))
            return 0;
        if (p->here && by < least)
            least = by;
    }
    return least;
}

/* The latest round up to which everything that had changed was taken. */
static unsigned long long taken_by(const struct audiences *a)
{
    unsigned long long least = a->round;

    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (a->parts[i].here && a->parts[i].taken < least)
            least = a->parts[i].taken;
    return least;
}

/* Of those who wait for a turn the erased are none: nobody who asks for them to be judged waits for robots. */
static void note_progress(struct audiences *a, bool busy)
{
    unsigned long long taken = taken_by(a), since = turns_since(a), settled = since < taken ? since : taken;
    unsigned long long judged = judged_by(a);

    if (other_definitions(a))
        return;
    if (judged > atomic_load(&a->caught_up))
        atomic_store(&a->caught_up, judged);
    if (!busy && is_settled(a) && settled > atomic_load(&a->settled))
        atomic_store(&a->settled, settled);
}

/* Somebody waits for everything to be on disk, and for nobody who is gone to stand there. Names that nobody needs any
 * more go, too. */
static void flush_when_asked(struct audiences *a)
{
    unsigned long long asked = atomic_load(&a->flushes);
    struct err e = {0};

    if (asked == atomic_load(&a->flushed) || gone_wait(a) || !row_store_flush(a) || row_store_waiting(a->rows) > 0)
        return;
    sets_sweep(a);
    if (row_store_write_sets(a->rows, &e) == 0)
        atomic_store(&a->flushed, asked);
}

/* One round. Returns how long to wait before the next. */
static int64_t go_round(struct audiences *a)
{
    a->round = atomic_load(&a->wakes);
    bool moved = follow_rules(a);

    if (!a->world)
        return IDLE_MS;
    moved = crowds_follow(a) || moved;
    if (clock_monotonic() < a->retry_at)
        return a->retry_at - clock_monotonic();
    gather_people(a);
    moved = a->batch.n > 0 || moved;
    batch_finish(a);
    write_when_due(a);
    flush_when_asked(a);
    finish_laps(a);
    turns_behind(a);
    bool busy = anybody_waits(a);
    if (!busy && row_store_waiting(a->rows) == 0)
        sets_sweep(a);
    note_progress(a, busy);
    atomic_store(&a->behind_since, !busy ? 0 : a->behind_since ? a->behind_since : clock_monotonic());
    if (moved && a->o.moved)
        a->o.moved(a->o.arg);
    return busy && clock_monotonic() >= a->retry_at ? 0 : pause_ms(a);
}

static void *judge_main(void *arg)
{
    struct audiences *a = arg;

    while (wait_woken(a, go_round(a)))
        ;
    if (a->write_at != TIME_NONE)
        row_store_flush(a);
    return NULL;
}

/* --- from outside ---------------------------------------------------------------------------------------------- */

void audiences_wake(struct audiences *a)
{
    pthread_mutex_lock(&a->wake_lock);
    atomic_fetch_add(&a->wakes, 1);
    a->woken = true;
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
}

void audiences_retag(struct audiences *a, struct tags *t)
{
    pthread_mutex_lock(&a->wake_lock);
    tags_unref(a->next_tags);
    a->next_tags = tags_ref(t);
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
    audiences_wake(a);
}

bool audiences_await(struct audiences *a, int64_t ms, const _Atomic bool *stop)
{
    unsigned long long wakes = atomic_load(&a->wakes);
    int64_t until = clock_monotonic() + ms;

    while (atomic_load(&a->caught_up) < wakes && clock_monotonic() < until && !atomic_load(&a->hurry) &&
           !(stop && atomic_load(stop)))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return atomic_load(&a->caught_up) >= wakes;
}

#define FORGET_MS 10000
#define TIDY_MS 1000

static bool await_flush(struct audiences *a, int64_t ms)
{
    unsigned long long asked = atomic_fetch_add(&a->flushes, 1) + 1;
    int64_t until = clock_monotonic() + ms;

    audiences_wake(a);
    while (atomic_load(&a->flushed) < asked && clock_monotonic() < until && !atomic_load(&a->hurry))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return atomic_load(&a->flushed) >= asked;
}

int audiences_forget(struct audiences *a, struct err *e)
{
    uint32_t wipes[LIMIT_PARTITIONS];

    row_store_wipes(a->rows, wipes);
    audiences_wake(a); /* who was on disk first is known to be gone only since it was written */
    if (!audiences_await(a, FORGET_MS, NULL) || crowds_left_behind(a) || !await_flush(a, FORGET_MS)) {
        err_set(e, "people are still judged");
        return -EAGAIN;
    }
    return row_store_compact(a->rows, true, wipes, e);
}

int audiences_tidy(struct audiences *a, struct err *e)
{
    uint32_t wipes[LIMIT_PARTITIONS];
    bool any = false;

    row_store_wipes(a->rows, wipes);
    for (uint32_t p = 0; p < a->o.partitions; p++)
        any = any || row_store_unclean(a->rows, p);
    if (!any)
        return 0;
    if (!await_flush(a, TIDY_MS)) {
        err_set(e, "names are still to be written");
        return -EAGAIN;
    }
    return row_store_compact(a->rows, false, wipes, e);
}

void audiences_hurry(struct audiences *a)
{
    if (!a)
        return;
    atomic_store(&a->hurry, true);
    row_store_compact_stop(a->rows);
}

uint64_t audiences_moment(struct audiences *a)
{
    return atomic_load(&a->wakes);
}

bool audiences_settled(struct audiences *a, uint64_t moment)
{
    return atomic_load(&a->settled) >= moment;
}

/* --- start and stop -------------------------------------------------------------------------------------------- */

static int take_set(void *arg, uint32_t set, struct str bytes)
{
    struct audiences *a = arg;

    if (set < 2 * LIMIT_AUDIENCE_SETS && bytes.n > 1)
        sets_put(&a->sets, set, bytes);
    return 0;
}

static struct audiences *audiences_new(const struct audiences_options *o)
{
    struct audiences *a = calloc(1, sizeof *a);

    if (!a || !(a->parts = calloc(o->partitions, sizeof *a->parts)) ||
        !(a->outer = calloc(o->partitions, sizeof *a->outer)))
        abort();
    a->o = *o;
    a->write_at = TIME_NONE;
    a->limit.period_ms = TIME_MINUTE;
    atomic_init(&a->wakes, 1);
    pthread_rwlock_init(&a->lock, NULL);
    pthread_mutex_init(&a->wake_lock, NULL);
    cond_init(&a->wake_cond);
    sets_init(&a->sets);
    batch_init(&a->batch);
    pasts_init(&a->pasts);
    for (uint32_t i = 0; i < o->partitions; i++) {
        a->parts[i].number = i;
        arena_init(&a->parts[i].changed_arena, SIZE_MAX);
    }
    return a;
}

void audiences_free(struct audiences *a)
{
    if (!a)
        return;
    assert(!a->started);
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        if (a->parts[i].here)
            crowd_leave(a, &a->parts[i]);
        bits_free(a->parts[i].kept);
        arena_deinit(&a->parts[i].changed_arena);
    }
    if (a->reader)
        log_reader_close(a->reader);
    row_store_close(a->rows);
    pasts_deinit(&a->pasts);
    world_unref(a->world);
    tags_unref(a->next_tags);
    batch_deinit(&a->batch);
    sets_deinit(&a->sets);
    pthread_rwlock_destroy(&a->lock);
    pthread_mutex_destroy(&a->wake_lock);
    pthread_cond_destroy(&a->wake_cond);
    free(a->outer);
    free(a->parts);
    free(a);
}

int audiences_start(const struct audiences_options *o, struct audiences **out, struct err *e)
{
    struct audiences *a = audiences_new(o);
    int rc = row_store_open(o->path, o->partitions, &a->rows, e);

    a->o.tags = NULL;
    if (o->tags)
        a->next_tags = tags_ref(o->tags);
    if (rc == 0)
        rc = row_store_sets(a->rows, take_set, a, e);
    /* On a log of our own the topic is kept until the rows know it. */
    if (rc == 0 && !event_log_shared(o->log))
        rc = log_reader_open(o->log, LOG_AUDIENCES, READER, &a->reader, e);
    if (rc != 0) {
        audiences_free(a);
        return rc;
    }
    audiences_meter(a);
    follow_rules(a); /* whoever asks at once gets tags */
    if (pthread_create(&a->thread, NULL, judge_main, a) != 0)
        abort();
    pthread_setname_np(a->thread, "audiences");
    a->started = true;
    *out = a;
    return 0;
}

void audiences_stop(struct audiences *a)
{
    if (!a || !a->started)
        return;
    audiences_hurry(a);
    pthread_mutex_lock(&a->wake_lock);
    a->stopping = true;
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
    pthread_join(a->thread, NULL);
    a->started = false;
}
