/* One partition's emissions on their way. A follower drives it; acks come on the log's thread, perhaps after the
 * follower has gone, so that it is freed by whoever leaves last. */
#include "profiler/emitter.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct slot {
    struct emitter *emitter;
    bool acked;
};

struct emitter {
    struct event_log *log;
    pthread_mutex_t lock; /* of all below */
    void (*wake)(void *arg);
    void *arg;
    bool left;          /* by its owner */
    size_t under_way;   /* appends without an answer */
    struct slot *slots; /* of those being driven; NULL: none are */
    size_t n;
    enum log_status refused; /* why the last one was */
};

struct emitter *emitter_new(struct event_log *log, void (*wake)(void *arg), void *arg)
{
    struct emitter *e = calloc(1, sizeof *e);

    if (!e)
        return NULL;
    e->log = log;
    e->wake = wake;
    e->arg = arg;
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

static void destroy(struct emitter *e)
{
    pthread_mutex_destroy(&e->lock);
    free(e->slots);
    free(e);
}

void emitter_free(struct emitter *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->left = true;
    bool last = e->under_way == 0;
    pthread_mutex_unlock(&e->lock);
    if (last)
        destroy(e);
}

static void answered(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct slot *slot = arg;
    struct emitter *e = slot->emitter;

    (void)partition, (void)offset;
    pthread_mutex_lock(&e->lock);
    assert(e->under_way > 0);
    slot->acked = status == LOG_OK;
    if (status != LOG_OK)
        e->refused = status;
    bool done = --e->under_way == 0, last = done && e->left;
    if (done && !e->left)
        e->wake(e->arg);
    pthread_mutex_unlock(&e->lock);
    if (last)
        destroy(e);
}

/* Until one is not taken. */
static void append(struct emitter *e, const struct state_emission *v)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->slots[i].acked)
            continue;
        pthread_mutex_lock(&e->lock);
        e->under_way++;
        pthread_mutex_unlock(&e->lock);
        enum log_status s =
            event_log_append(e->log, v[i].topic, LOG_BY_PROFILER, &v[i].record, 1, answered, (void *[]){&e->slots[i]});
        if (s == LOG_OK)
            continue;
        pthread_mutex_lock(&e->lock);
        e->under_way--;
        e->refused = s;
        pthread_mutex_unlock(&e->lock);
        return;
    }
}

static size_t unacked(const struct emitter *e)
{
    size_t n = 0;

    for (size_t i = 0; i < e->n; i++)
        n += !e->slots[i].acked;
    return n;
}

static void begin(struct emitter *e, size_t n)
{
    e->slots = calloc(n, sizeof *e->slots);
    if (!e->slots)
        abort();
    e->n = n;
    for (size_t i = 0; i < n; i++)
        e->slots[i].emitter = e;
}

/* What is known of those under way; forgets the refusal that it tells. */
static enum emitted look(struct emitter *e, enum log_status *why)
{
    pthread_mutex_lock(&e->lock);
    enum emitted r = e->under_way > 0 ? EMITTED_WAITING : unacked(e) == 0 ? EMITTED_ALL : EMITTED_FAILED;
    *why = e->refused;
    if (r == EMITTED_FAILED)
        e->refused = LOG_OK;
    pthread_mutex_unlock(&e->lock);
    return r;
}

enum emitted emitter_drive(struct emitter *e, const struct state_emission *v, size_t n, enum log_status *why)
{
    if (n == 0)
        return EMITTED_ALL;
    if (!e->slots)
        begin(e, n);
    assert(e->n == n);
    enum emitted r = look(e, why);
    if (r == EMITTED_FAILED && *why == LOG_OK) { /* not tried yet, or its refusal was told */
        append(e, v);
        r = look(e, why);
    }
    if (r == EMITTED_ALL) {
        free(e->slots);
        e->slots = NULL;
    }
    return r;
}
