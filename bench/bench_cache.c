/* Look-ups through the cache: `bench_cache URL SIZE IN_FLIGHT` puts copies of SIZE bytes into the Redis at URL, and
 * keeps IN_FLIGHT questions under way for two seconds. Prints answers a second and how many were hits. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cache.h"

#define PROFILES 1000
#define MOST_IN_FLIGHT 4096
#define RUN_MS 2000
#define LEASE_MS 60000
#define WAIT_MS 10000

struct asking {
    struct cache_question question;
    unsigned seed;
};

static struct cache *cache;
static char names[PROFILES][24];
static atomic_bool stop;
static atomic_ulong hits, misses;
static atomic_int under_way;

static void ask(struct asking *a)
{
    const char *name = names[(unsigned)rand_r(&a->seed) % PROFILES];

    a->question.id = str_of(name);
    cache_read(cache, &a->question);
}

static void answered(struct cache_question *q, struct str answer, int64_t version)
{
    (void)version;
    atomic_fetch_add_explicit(str_has(answer) ? &hits : &misses, 1, memory_order_relaxed);
    if (atomic_load_explicit(&stop, memory_order_relaxed))
        atomic_fetch_sub(&under_way, 1);
    else
        ask((struct asking *)q);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_cache: %s\n", what);
    exit(1);
}

static void put_copies(size_t size)
{
    int64_t deadline = clock_monotonic() + WAIT_MS;
    char *text = malloc(size);

    if (!text)
        fail("out of memory");
    memset(text, 'x', size);
    while (!cache_wants(cache, 0)) {
        if (clock_monotonic() > deadline)
            fail("no connection to Redis");
        cache_lease(cache, 0, clock_boot() + LEASE_MS);
        pause_ms(10);
    }
    for (size_t i = 0; i < PROFILES; i++) {
        snprintf(names[i], sizeof names[i], "user:%zu", i);
        struct cache_copy copy = {.id = str_of(names[i]), .answer = {text, size}, .version = 1};
        cache_fill(cache, 0, cache_ticket(cache, 0), &copy);
    }
    free(text);
    pause_ms(300);
}

int main(int argc, char **argv)
{
    static struct asking askings[MOST_IN_FLIGHT];

    if (argc != 4)
        fail("usage: bench_cache URL SIZE IN_FLIGHT");
    struct conf_redis conf = {.url = argv[1], .prefix = "bench:"};
    size_t size = strtoul(argv[2], NULL, 10), in_flight = strtoul(argv[3], NULL, 10);
    struct err e = {.text = ""};
    if (in_flight == 0 || in_flight > MOST_IN_FLIGHT)
        fail("too many in flight");
    log_set_level(LOG_WARN);
    if (cache_start(&(struct cache_options){.redis = &conf, .partitions = 1}, &cache, &e) != 0)
        fail(e.text);
    put_copies(size);

    int64_t begin = clock_monotonic();
    atomic_store(&under_way, (int)in_flight);
    for (size_t i = 0; i < in_flight; i++) {
        askings[i] = (struct asking){.question = {.done = answered}, .seed = (unsigned)i};
        ask(&askings[i]);
    }
    pause_ms(RUN_MS);
    atomic_store(&stop, true);
    while (atomic_load(&under_way) > 0)
        pause_ms(1);
    double seconds = (double)(clock_monotonic() - begin) / 1000;
    unsigned long all = atomic_load(&hits) + atomic_load(&misses);
    printf("%.0f look-ups/s, %.1f %% hits\n", (double)all / seconds, all ? 100.0 * (double)hits / (double)all : 0);
    cache_stop(cache, 1000);
    cache_free(cache);
    return 0;
}
