/* Token buckets in thousandths of an event, so that a millisecond is exact. A short lock per bucket. */
#include "collector/ratelimit.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/limits.h"

struct bucket {
    pthread_mutex_t lock;
    int64_t level; /* thousandths; below 0 while a large request is being paid off */
    int64_t at;    /* when `level` was true */
};

struct ratelimit {
    int64_t rate; /* events a second = thousandths a millisecond */
    int64_t full;
    size_t n;
    struct bucket buckets[];
};

struct ratelimit *ratelimit_new(uint64_t rate, size_t keys)
{
    struct ratelimit *l = calloc(1, sizeof *l + keys * sizeof *l->buckets);

    assert(rate > 0);
    if (!l)
        return NULL;
    l->rate = rate > LIMIT_RATE ? LIMIT_RATE : (int64_t)rate;
    l->full = l->rate * 1000;
    l->n = keys;
    for (size_t i = 0; i < keys; i++) {
        pthread_mutex_init(&l->buckets[i].lock, NULL);
        l->buckets[i].level = l->full;
    }
    return l;
}

void ratelimit_free(struct ratelimit *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++)
        pthread_mutex_destroy(&l->buckets[i].lock);
    free(l);
}

static void refill(const struct ratelimit *l, struct bucket *b, int64_t now)
{
    int64_t passed = now - b->at, missing = l->full - b->level;

    if (passed <= 0)
        return;
    b->at = now;
    b->level = passed > missing / l->rate ? l->full : b->level + passed * l->rate;
}

unsigned ratelimit_take(struct ratelimit *l, size_t key, uint64_t events, int64_t now)
{
    assert(key < l->n && events <= LIMIT_EVENTS_PER_REQUEST);
    struct bucket *b = &l->buckets[key];
    int64_t cost = (int64_t)events * 1000, need = cost < l->full ? cost : l->full, wait = 0;

    pthread_mutex_lock(&b->lock);
    refill(l, b, now);
    if (b->level >= need)
        b->level -= cost;
    else
        wait = (need - b->level + l->full - 1) / l->full;
    pthread_mutex_unlock(&b->lock);
    return wait > LIMIT_RETRY_AFTER_S ? LIMIT_RETRY_AFTER_S : (unsigned)wait;
}
