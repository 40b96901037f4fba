/* The look-up threads and one more, the waiter, which alone looks through the waiting list: when a follower has folded
 * something, when a job's time is up. One lock over both lists; nothing is run under it. */
#include "profiler/lookup.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"

#define POLL_MS 250
#define REST_MS 3600000

struct lookups {
    pthread_mutex_t lock;
    pthread_cond_t work;            /* something was queued, or the end has begun */
    pthread_cond_t waken;           /* for the waiter */
    struct lookup_job *head, *tail; /* the queue */
    struct lookup_job *parked;
    uint64_t queued, waiting;
    bool closing;
    bool look;                     /* the waiter shall look through its list */
    _Atomic uint64_t parked_count; /* what lookups_wake reads without the lock */
    pthread_t waiter;
    bool waiter_started;
    pthread_t *threads;
    unsigned thread_count;
};

/* --- the queue ------------------------------------------------------------------------------------------------ */

static void push(struct lookups *l, struct lookup_job *job)
{
    if (job->urgent && l->head) {
        job->next = l->head;
        l->head = job;
    } else {
        job->next = NULL;
        if (l->tail)
            l->tail->next = job;
        else
            l->head = job;
        l->tail = job;
    }
    l->queued++;
    pthread_cond_signal(&l->work);
}

static struct lookup_job *pop(struct lookups *l)
{
    struct lookup_job *job = l->head;

    if (!job)
        return NULL;
    l->head = job->next;
    if (!l->head)
        l->tail = NULL;
    job->next = NULL;
    l->queued--;
    return job;
}

static void *thread_main(void *arg)
{
    struct lookups *l = arg;

    pthread_mutex_lock(&l->lock);
    for (;;) {
        struct lookup_job *job = pop(l);
        if (!job) {
            if (l->closing && l->waiting == 0)
                break;
            pthread_cond_wait(&l->work, &l->lock);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        job->run(job, !job->late);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* --- the waiting list ----------------------------------------------------------------------------------------- */

/* Moves to the queue who has what they wait for, or waits no longer. Returns when to look again. */
static int64_t look_through(struct lookups *l)
{
    int64_t now = clock_monotonic(), next = now + REST_MS;
    struct lookup_job **link = &l->parked;

    while (*link) {
        struct lookup_job *job = *link;
        bool met = job->met(job), over = l->closing || job->deadline <= now;
        if (met || over) {
            *link = job->next;
            l->waiting--;
            atomic_fetch_sub(&l->parked_count, 1);
            job->late = !met;
            push(l, job);
            continue;
        }
        if (job->deadline < next)
            next = job->deadline;
        if (job->poll && now + POLL_MS < next)
            next = now + POLL_MS;
        link = &job->next;
    }
    return next;
}

static void *waiter_main(void *arg)
{
    struct lookups *l = arg;

    pthread_mutex_lock(&l->lock);
    while (!l->closing || l->waiting > 0) {
        l->look = false;
        int64_t next = look_through(l);
        struct timespec until = cond_at(next);
        int r = 0;
        while (!l->look && !l->closing && r == 0)
            r = pthread_cond_timedwait(&l->waken, &l->lock, &until);
    }
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

void lookups_wake(struct lookups *l)
{
    /* Who parks counts itself before it is looked at, and the follower has shown before it comes here: one of the two
     * sees the other. */
    if (atomic_load(&l->parked_count) == 0)
        return;
    pthread_mutex_lock(&l->lock);
    l->look = true;
    pthread_cond_signal(&l->waken);
    pthread_mutex_unlock(&l->lock);
}

bool lookups_submit(struct lookups *l, struct lookup_job *job)
{
    bool taken = true;

    assert(job->run);
    job->late = false;
    pthread_mutex_lock(&l->lock);
    if (l->closing || (!job->urgent && l->queued + l->waiting >= LIMIT_LOOKUP_QUEUE)) {
        taken = false;
    } else if (!job->met) {
        push(l, job);
    } else {
        job->next = l->parked;
        l->parked = job;
        l->waiting++;
        atomic_fetch_add(&l->parked_count, 1);
        if (job->met(job)) {
            /* The usual case when the answer to a write is read after a moment: no need to wake the waiter. */
            l->parked = job->next;
            l->waiting--;
            atomic_fetch_sub(&l->parked_count, 1);
            push(l, job);
        } else {
            l->look = true;
            pthread_cond_signal(&l->waken);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return taken;
}

/* --- starting and ending -------------------------------------------------------------------------------------- */

int lookups_start(unsigned threads, struct lookups **out, struct err *e)
{
    struct lookups *l = calloc(1, sizeof *l);
    int r = 0;

    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->work, NULL);
    cond_init(&l->waken);
    threads = threads < 1 ? 1 : threads;
    l->threads = calloc(threads, sizeof *l->threads);
    if (!l->threads)
        r = ENOMEM;
    if (r == 0)
        r = pthread_create(&l->waiter, NULL, waiter_main, l);
    l->waiter_started = r == 0;
    while (r == 0 && l->thread_count < threads) {
        r = pthread_create(&l->threads[l->thread_count], NULL, thread_main, l);
        if (r == 0)
            l->thread_count++;
    }
    if (r != 0) {
        err_set(e, "cannot start the look-up threads");
        lookups_finish(l);
        lookups_free(l);
        return -r;
    }
    *out = l;
    return 0;
}

void lookups_finish(struct lookups *l)
{
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->work);
    pthread_cond_broadcast(&l->waken);
    pthread_mutex_unlock(&l->lock);
    if (l->waiter_started)
        pthread_join(l->waiter, NULL);
    l->waiter_started = false;
    for (unsigned i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    l->thread_count = 0;
}

void lookups_free(struct lookups *l)
{
    if (!l)
        return;
    assert(l->thread_count == 0 && !l->head && !l->parked);
    pthread_cond_destroy(&l->waken);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    free(l->threads);
    free(l);
}

void lookups_figures(struct lookups *l, uint64_t *queued, uint64_t *waiting)
{
    pthread_mutex_lock(&l->lock);
    *queued = l->queued;
    *waiting = l->waiting;
    pthread_mutex_unlock(&l->lock);
}
