/* Waiting requests. One lock around the list of those that are not settled, in order of opening and so of their
 * deadlines; whoever turns `settled` from false to true answers, and only then leaves the list. */
#include "collector/ack.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/cond.h"

struct acks {
    struct acks_options o;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the list has its first, its last is gone, or it stops */
    pthread_t timer;
    struct ack *first, *last;
    unsigned settling; /* not in the list any more, not settled yet */
    bool closed;       /* no more are opened */
    bool stop;         /* the timer ends */
};

static void unref(struct ack *a)
{
    if (atomic_fetch_sub(&a->refs, 1) == 1)
        a->release(a);
}

static void link_last(struct acks *s, struct ack *a)
{
    a->prev = s->last;
    a->next = NULL;
    *(s->last ? &s->last->next : &s->first) = a;
    s->last = a;
}

static void unlink_ack(struct acks *s, struct ack *a)
{
    *(a->prev ? &a->prev->next : &s->first) = a->next;
    *(a->next ? &a->next->prev : &s->last) = a->prev;
}

static bool win(struct ack *a)
{
    return !atomic_exchange(&a->settled, true);
}

static bool is_idle(const struct acks *s)
{
    return !s->first && s->settling == 0;
}

/* By the one who won: answers, leaves the list. */
static void settle(struct ack *a, enum ack_outcome outcome, enum log_status status)
{
    struct acks *s = a->acks;

    s->o.settle(a, outcome, status);
    pthread_mutex_lock(&s->lock);
    unlink_ack(s, a);
    if (is_idle(s))
        pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    unref(a);
}

/* With the lock held: takes everything with a deadline up to `now` off the list. Those that somebody else is settling
 * at this moment stay; they leave by themselves. */
static struct ack *take_late(struct acks *s, int64_t now)
{
    struct ack *late = NULL, *next;

    for (struct ack *a = s->first; a && a->deadline <= now; a = next) {
        next = a->next;
        if (!win(a))
            continue;
        unlink_ack(s, a);
        s->settling++;
        a->next = late;
        late = a;
    }
    return late;
}

/* With the lock held, which is let go meanwhile. */
static void settle_late(struct acks *s, struct ack *late)
{
    unsigned n = 0;

    pthread_mutex_unlock(&s->lock);
    while (late) {
        struct ack *a = late;
        late = a->next;
        s->o.settle(a, ACK_LATE, LOG_OK);
        unref(a);
        n++;
    }
    pthread_mutex_lock(&s->lock);
    s->settling -= n;
    if (is_idle(s))
        pthread_cond_broadcast(&s->changed);
}

/* With the lock held: until something changes or the monotonic time `until` (ms). */
static void wait_until(struct acks *s, int64_t until)
{
    struct timespec t = cond_at(until);

    pthread_cond_timedwait(&s->changed, &s->lock, &t);
}

static void *run_timer(void *arg)
{
    struct acks *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        int64_t now = clock_monotonic();
        struct ack *late = take_late(s, now);
        if (late)
            settle_late(s, late);
        else if (!s->first)
            pthread_cond_wait(&s->changed, &s->lock);
        else /* a first one that is just being settled may be overdue: no spinning on it */
            wait_until(s, s->first->deadline > now ? s->first->deadline : now + 10);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct acks *acks_new(const struct acks_options *o)
{
    struct acks *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->o = *o;
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->changed);
    if (pthread_create(&s->timer, NULL, run_timer, s) == 0)
        return s;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return NULL;
}

void acks_drain(struct acks *s, int64_t ms)
{
    int64_t until = clock_monotonic() + ms;
    struct ack *late;

    pthread_mutex_lock(&s->lock);
    s->closed = true;
    while (!is_idle(s) && clock_monotonic() < until)
        wait_until(s, until);
    if ((late = take_late(s, INT64_MAX)))
        settle_late(s, late);
    while (!is_idle(s)) /* somebody is in the middle of an answer: short */
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void acks_free(struct acks *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    assert(s->closed && is_idle(s));
    s->stop = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->timer, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool ack_open(struct acks *s, struct ack *a, uint32_t records)
{
    a->acks = s;
    a->release = s->o.release;
    atomic_init(&a->refs, 2);
    atomic_init(&a->waiting, records + 1);
    atomic_init(&a->settled, false);
    atomic_init(&a->spooled, false);
    atomic_init(&a->failed, LOG_OK);
    for (uint32_t i = 0; i < a->partitions; i++)
        atomic_init(&a->last[i], -1);
    pthread_mutex_lock(&s->lock);
    bool open = !s->closed;
    if (open) {
        a->deadline = clock_monotonic() + s->o.limit_ms;
        link_last(s, a);
        if (s->first == a)
            pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* `n` records, or the opener, are no longer waited for. */
static void arrive(struct ack *a, uint32_t n)
{
    uint32_t before = atomic_fetch_sub(&a->waiting, n);

    assert(before >= n);
    if (before != n)
        return;
    if (win(a)) {
        enum log_status status = (enum log_status)atomic_load(&a->failed);
        enum ack_outcome kept = atomic_load(&a->spooled) ? ACK_SPOOLED : ACK_DURABLE;
        settle(a, status == LOG_OK ? kept : ACK_REFUSED, status);
    }
    unref(a);
}

void ack_refuse(struct ack *a, enum log_status status, uint32_t records)
{
    assert(status != LOG_OK);
    if (win(a))
        settle(a, ACK_REFUSED, status);
    arrive(a, records);
}

void ack_enqueued(struct ack *a)
{
    if (win(a))
        settle(a, ACK_ENQUEUED, LOG_OK);
}

void ack_close(struct ack *a)
{
    arrive(a, 1);
}

/* Whether the record has a place on the log. */
static bool note_status(struct ack *a, enum log_status status)
{
    int none = LOG_OK;

    if (status == LOG_SPOOLED)
        atomic_store(&a->spooled, true);
    else if (status != LOG_OK)
        atomic_compare_exchange_strong(&a->failed, &none, (int)status);
    return status == LOG_OK;
}

void ack_event_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct ack *a = arg;

    if (note_status(a, status)) {
        assert(partition < a->partitions && offset >= 0);
        int64_t last = atomic_load_explicit(&a->last[partition], memory_order_relaxed);
        while (last < offset && !atomic_compare_exchange_weak(&a->last[partition], &last, offset))
            ;
    }
    arrive(a, 1);
}

void ack_bad_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct ack *a = arg;

    (void)partition, (void)offset;
    note_status(a, status);
    arrive(a, 1);
}
