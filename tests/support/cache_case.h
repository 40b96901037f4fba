/* A cache before a Redis of the test's own, with the proxy between them, and questions that wait for their answer.
 * Include after <cmocka.h>. */
#ifndef WAYMARK_CACHE_CASE_H
#define WAYMARK_CACHE_CASE_H

#include "profiler/cache_inside.h"
#include "tests/support/redis_case.h"
#include "tests/support/redis_proxy.h"

#define CASE_PARTITIONS 4
#define CASE_WAIT_MS 20000

struct cache_case {
    struct redis_case redis;
    struct redis_proxy proxy;
    struct conf_redis conf; /* through the proxy */
    struct cache *c;
};

static inline struct cache *cache_start_of(const struct cache_options *o)
{
    struct cache *c = NULL;
    struct err e = {.text = ""};

    if (cache_start(o, &c, &e) != 0)
        fail_msg("%s", e.text);
    c->confirm_ms = c->read_ms = CASE_WAIT_MS / 2; /* a busy machine is no fault of Redis */
    return c;
}

static inline struct cache *cache_of(const struct conf_redis *conf, struct stats *stats)
{
    return cache_start_of(&(struct cache_options){.redis = conf, .partitions = CASE_PARTITIONS, .stats = stats});
}

static inline uint64_t shop_number(void *number)
{
    return atomic_load((_Atomic uint64_t *)number);
}

/* That of a shop whose number is there from a time on. */
static inline struct cache *cache_of_shop(const struct conf_redis *conf, _Atomic uint64_t *number)
{
    return cache_start_of(&(struct cache_options){
        .redis = conf, .partitions = CASE_PARTITIONS, .shop = shop_number, .arg = (void *)number});
}

/* For tests of what happens when Redis does not answer in time. */
static inline void cache_is_hasty(struct cache *c)
{
    c->confirm_ms = LIMIT_CACHE_CONFIRM_MS;
    c->read_ms = LIMIT_CACHE_READ_MS;
}

static inline bool cache_is_up(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    bool up = c->writer.up;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_lock(&c->reader.lock);
    up = up && c->reader.up;
    pthread_mutex_unlock(&c->reader.lock);
    return up;
}

/* Whether a connection was lost, or could not be made, for a reason with this text. */
static inline bool link_told(struct cache *c, struct cache_link *link, const char *text)
{
    pthread_mutex_lock(&c->lock);
    bool told = strstr(link->told, text) || (link == &c->writer.link && strstr(c->writer.why, text));
    pthread_mutex_unlock(&c->lock);
    return told;
}

#define WAIT_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        int64_t wait_deadline = clock_monotonic() + CASE_WAIT_MS;                                                      \
        while (!(condition)) {                                                                                         \
            assert_true(clock_monotonic() < wait_deadline);                                                            \
            redis_case_sleep(2);                                                                                       \
        }                                                                                                              \
    } while (0)

static inline void wait_boot(int64_t until)
{
    WAIT_UNTIL(clock_boot() >= until);
}

static inline void cache_case_begin(struct cache_case *k)
{
    redis_case_make(&k->redis);
    redis_case_start(&k->redis);
    proxy_start(&k->proxy, k->redis.port);
    k->conf = k->redis.conf;
    k->conf.url = k->proxy.url;
    k->c = cache_of(&k->conf, NULL);
    WAIT_UNTIL(cache_is_up(k->c));
}

static inline void cache_case_end(struct cache_case *k)
{
    cache_stop(k->c, 5000);
    assert_true(k->c->ended);
    cache_free(k->c);
    proxy_stop(&k->proxy);
    redis_case_end(&k->redis);
}

/* --- questions */

struct asked {
    struct cache_question q;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    int done;
    int64_t version; /* -1: a miss */
    int64_t took;    /* ms */
    char text[256];
};

static inline void asked_done(struct cache_question *q, struct str answer, int64_t version)
{
    struct asked *a = (struct asked *)q;

    pthread_mutex_lock(&a->lock);
    a->done++;
    a->took = clock_monotonic() - q->asked;
    a->version = str_has(answer) ? version : -1;
    snprintf(a->text, sizeof a->text, "%.*s", STR_ARG(answer));
    pthread_cond_signal(&a->answered);
    pthread_mutex_unlock(&a->lock);
}

static inline void asked_init(struct asked *a, uint32_t partition, const char *id)
{
    *a = (struct asked){.q = {.partition = partition, .id = str_of(id), .done = asked_done}};
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->answered, NULL);
}

static inline void asked_wait(struct asked *a)
{
    struct timespec until;
    int error = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += CASE_WAIT_MS / 1000;
    pthread_mutex_lock(&a->lock);
    while (!a->done && error == 0)
        error = pthread_cond_timedwait(&a->answered, &a->lock, &until);
    pthread_mutex_unlock(&a->lock);
    assert_int_equal(error, 0);
}

/* The version that Redis answers, or -1. */
static inline int64_t ask(struct cache *c, uint32_t partition, const char *id)
{
    struct asked a;

    asked_init(&a, partition, id);
    cache_read(c, &a.q);
    asked_wait(&a);
    assert_int_equal(a.done, 1);
    if (a.version >= 0) {
        char want[64];
        snprintf(want, sizeof want, "{\"v\":%lld}", (long long)a.version);
        assert_string_equal(a.text, want);
    }
    return a.version;
}

/* --- the owner */

static inline int64_t lease(struct cache *c, uint32_t partition, int64_t ms)
{
    int64_t until = clock_boot() + ms;

    cache_lease(c, partition, until);
    return until;
}

static inline int64_t begin(struct cache *c, uint32_t partition, const char *id)
{
    struct str one = str_of(id);

    return cache_begin(c, partition, &one, 1);
}

static inline struct cache_copy copy_of(const char *id, int64_t version, char *text, size_t size)
{
    int n = snprintf(text, size, "{\"v\":%lld}", (long long)version);

    return (struct cache_copy){.id = str_of(id), .answer = {text, (size_t)n}, .version = version};
}

static inline void end(struct cache *c, uint32_t partition, const char *id, int64_t version)
{
    char text[64];
    struct cache_copy copy = copy_of(id, version, text, sizeof text);

    cache_end(c, partition, &copy, 1);
}

static inline void fill(struct cache *c, uint32_t partition, uint64_t ticket, const char *id, int64_t version)
{
    char text[64];
    struct cache_copy copy = copy_of(id, version, text, sizeof text);

    cache_fill(c, partition, ticket, &copy);
}

/* A whole batch whose deletes are confirmed or not needed. */
static inline void change(struct cache *c, uint32_t partition, const char *id, int64_t version)
{
    assert_int_equal(begin(c, partition, id), 0);
    end(c, partition, id, version);
}

/* Whether everything that was put into the queue is answered. */
static inline bool cache_is_quiet(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    bool quiet = c->writer.queued == c->writer.answered;
    pthread_mutex_unlock(&c->lock);
    return quiet;
}

/* A partition that is leased for `ms`, with a copy of user:1 of version 1. Returns the end of the lease. */
static inline int64_t leased_copy(struct cache *c, int64_t ms)
{
    int64_t until = lease(c, 0, ms);

    change(c, 0, "user:1", 1);
    WAIT_UNTIL(cache_is_quiet(c));
    assert_int_equal(ask(c, 0, "user:1"), 1);
    return until;
}

static inline uint64_t generations(struct cache *c)
{
    return stats_get(c->figures.generations);
}

#endif
