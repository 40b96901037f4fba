/* The cache when Redis is away, stands still, is full, has become a replica, or when more comes than it can take: every
 * question is answered in time, nobody waits for longer than said, and it comes back by itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/cache_case.h"

#define SLACK_MS 900 /* for a busy machine, beyond what is promised */

static int setup(void **state)
{
    struct cache_case *k = calloc(1, sizeof *k);

    assert_non_null(k);
    cache_case_begin(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    cache_case_end(*state);
    free(*state);
    return 0;
}

static void redis_away_at_start(void **state)
{
    struct redis_case r;
    struct asked a;

    (void)state;
    redis_case_make(&r);
    int64_t before = clock_monotonic();
    struct cache *c = cache_of(&r.conf, NULL);
    asked_init(&a, 0, "user:1");
    cache_read(c, &a.q);
    assert_int_equal(a.done, 1); /* before it returns */
    assert_int_equal(a.version, -1);
    lease(c, 0, 1000);
    assert_false(cache_wants(c, 0));
    assert_int_equal(begin(c, 0, "user:1"), 0);
    end(c, 0, "user:1", 1);
    fill(c, 0, cache_ticket(c, 0), "user:1", 1);
    cache_release(c, 0);
    assert_in_range(clock_monotonic() - before, 0, 2 * SLACK_MS);

    redis_case_start(&r);
    WAIT_UNTIL(cache_is_up(c));
    leased_copy(c, 10000);
    redis_case_kill(&r);
    WAIT_UNTIL(!cache_is_up(c));
    before = clock_monotonic();
    cache_stop(c, 5000);
    assert_in_range(clock_monotonic() - before, 0, 2 * SLACK_MS); /* in the middle of a back-off, too */
    cache_stop(c, 5000);
    assert_int_equal(ask(c, 0, "user:1"), -1);
    assert_true(begin(c, 0, "user:1") > 0); /* its lease is out still */
    cache_end(c, 0, NULL, 0);
    cache_free(c);
    redis_case_end(&r);
}

/* SIGSTOP: connections stay open and nothing answers. */
static void redis_paused(void **state)
{
    struct cache_case *k = *state;
    struct asked a;

    cache_is_hasty(k->c);
    int64_t until = leased_copy(k->c, 1500);
    kill(k->redis.pid, SIGSTOP);
    asked_init(&a, 0, "user:1");
    cache_read(k->c, &a.q);
    int64_t before = clock_monotonic();
    assert_int_equal(begin(k->c, 0, "user:1"), until);
    assert_in_range(clock_monotonic() - before, LIMIT_CACHE_CONFIRM_MS - 1, LIMIT_CACHE_CONFIRM_MS + SLACK_MS);
    asked_wait(&a);
    assert_int_equal(a.version, -1);
    assert_in_range(a.took, LIMIT_CACHE_READ_MS - 1, LIMIT_CACHE_READ_MS + SLACK_MS);
    assert_int_equal(stats_get(k->c->figures.reads[CACHE_LATE]), 1);
    asked_init(&a, 0, "user:1");
    cache_read(k->c, &a.q);
    assert_int_equal(a.done, 1); /* there is no connection now: at once */
    wait_boot(until);
    cache_end(k->c, 0, NULL, 0);
    kill(k->redis.pid, SIGCONT);
    k->c->confirm_ms = k->c->read_ms = CASE_WAIT_MS / 2;
    WAIT_UNTIL(cache_is_up(k->c));
    lease(k->c, 0, 10000);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1); /* what came late was of the generation before */
    change(k->c, 0, "user:1", 3);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 3);
}

/* Replies that crawl: the writing connection, on which nothing waits, is given up too. */
static void silent_writer(void **state)
{
    struct cache_case *k = *state;

    cache_is_hasty(k->c);
    lease(k->c, 0, 10000);
    WAIT_UNTIL(cache_is_quiet(k->c));
    atomic_store(&k->proxy.hold_back, clock_monotonic() + 1500);
    int64_t before = clock_monotonic();
    lease(k->c, 0, 10000);
    WAIT_UNTIL(link_told(k->c, &k->c->writer.link, "no answer in time"));
    assert_in_range(clock_monotonic() - before, LIMIT_CACHE_SILENT_MS - 1, LIMIT_CACHE_SILENT_MS + SLACK_MS);
    WAIT_UNTIL(cache_is_up(k->c));
}

/* The queue before a Redis that stands still is bounded: copies are dropped first, a delete that does not fit ends the
 * generation. */
static void full_queue(void **state)
{
    struct cache_case *k = *state;
    struct cache *c = cache_of(&k->redis.conf, NULL); /* the proxy would take everything in */
    size_t n = 100000;
    char *text = malloc(n);
    struct cache_copy copy = {.id = STR_LIT("user:2"), .answer = {text, n}, .version = 1};

    memset(text, 'x', n);
    WAIT_UNTIL(cache_is_up(c));
    cache_is_hasty(c);
    int64_t until = leased_copy(c, 3000);
    kill(k->redis.pid, SIGSTOP);
    for (int i = 0; i < 250; i++)
        cache_fill(c, 0, cache_ticket(c, 0), &copy);
    pthread_mutex_lock(&c->lock);
    assert_true(c->writer.up); /* there is room for a lease still */
    assert_in_range(c->writer.pending.n + c->writer.sending, LIMIT_CACHE_QUEUE_BYTES / 4, LIMIT_CACHE_QUEUE_BYTES / 2);
    c->writer.sending = LIMIT_CACHE_QUEUE_BYTES; /* as if it were full of leases and deletes */
    pthread_mutex_unlock(&c->lock);
    assert_true(stats_get(c->figures.dropped) > 20);
    assert_false(cache_wants(c, 0));
    int64_t before = clock_monotonic();
    assert_int_equal(begin(c, 0, "user:1"), until);
    assert_in_range(clock_monotonic() - before, 0, LIMIT_CACHE_CONFIRM_MS + SLACK_MS);
    cache_end(c, 0, NULL, 0);
    kill(k->redis.pid, SIGCONT);
    WAIT_UNTIL(cache_is_up(c));
    cache_stop(c, 5000);
    cache_free(c);
    free(text);
}

/* More look-ups than may wait: the rest are misses at once, and all are answered once. */
static void too_many_questions(void **state)
{
    struct cache_case *k = *state;
    enum { MANY = LIMIT_CACHE_READS + 500 };
    static struct asked a[MANY];
    uint64_t refused = 0;

    cache_is_hasty(k->c);
    leased_copy(k->c, 10000);
    kill(k->redis.pid, SIGSTOP);
    for (int i = 0; i < MANY; i++)
        asked_init(&a[i], 0, "user:1");
    for (int i = 0; i < MANY; i++)
        cache_read(k->c, &a[i].q);
    refused = stats_get(k->c->figures.reads[CACHE_ERROR]);
    assert_true(refused >= 500);
    for (int i = 0; i < MANY; i++) {
        asked_wait(&a[i]);
        assert_in_range(a[i].took, 0, LIMIT_CACHE_READ_MS + SLACK_MS);
    }
    kill(k->redis.pid, SIGCONT);
    WAIT_UNTIL(cache_is_up(k->c));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(a[i].done, 1);
    k->c->read_ms = CASE_WAIT_MS / 2;
    assert_int_equal(ask(k->c, 0, "user:1"), 1); /* the reading connection is another one; the lease is not */
    assert_int_equal(k->c->reader.asked, 0);
}

static void stop_with_questions_under_way(void **state)
{
    struct cache_case *k = *state;
    struct cache *c = cache_of(&k->conf, NULL);
    static struct asked a[300];

    WAIT_UNTIL(cache_is_up(c));
    cache_is_hasty(c);
    kill(k->redis.pid, SIGSTOP);
    for (int i = 0; i < 300; i++)
        asked_init(&a[i], 0, "user:1");
    for (int i = 0; i < 300; i++)
        cache_read(c, &a[i].q);
    int64_t before = clock_monotonic();
    cache_stop(c, 5000);
    assert_in_range(clock_monotonic() - before, 0, SLACK_MS);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].version, -1);
    }
    cache_free(c);
    kill(k->redis.pid, SIGCONT);
}

/* A Redis without memory takes no copies, and is still good for deletes. */
static void full_redis(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 10000);
    redis_case_do(&k->redis, "CONFIG", "SET", "maxmemory", "1mb");
    fill(k->c, 0, cache_ticket(k->c, 0), "user:2", 1);
    WAIT_UNTIL(stats_get(k->c->figures.refused) == 1);
    assert_int_equal(ask(k->c, 0, "user:1"), 1);
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    end(k->c, 0, "user:1", 2);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    redis_case_do(&k->redis, "CONFIG", "SET", "maxmemory", "0");
    lease(k->c, 0, 10000);
    change(k->c, 0, "user:1", 3);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 3);
    assert_int_equal(generations(k->c), 1);
}

/* A Redis that becomes a replica takes no writes: its generation is over; and it is not connected to again. */
static void replica(void **state)
{
    struct cache_case *k = *state;
    char port[12];

    snprintf(port, sizeof port, "%u", free_port());
    int64_t until = leased_copy(k->c, 1000);
    redis_case_do(&k->redis, "REPLICAOF", "127.0.0.1", port);
    k->redis.admin = NULL;
    assert_int_equal(begin(k->c, 0, "user:1"), until);
    assert_true(link_told(k->c, &k->c->writer.link, "READONLY"));
    wait_boot(until);
    cache_end(k->c, 0, NULL, 0);
    WAIT_UNTIL(link_told(k->c, &k->c->writer.link, "replica")); /* does not come up */
    assert_false(cache_is_up(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
}

/* --- figures */

static void figures(void **state)
{
    struct cache_case *k = *state;
    struct stats *s = stats_new();
    struct cache *c = cache_of(&k->conf, s);
    struct buf text;
    static const char *const lines[] = {"waymark_cache_reads_total{result=\"hit\"} 1\n",
                                        "waymark_cache_reads_total{result=\"miss\"} 1\n",
                                        "waymark_cache_reads_total{result=\"error\"} 0\n",
                                        "waymark_cache_reads_total{result=\"late\"} 0\n",
                                        "waymark_cache_connected{use=\"read\"} 1\n",
                                        "waymark_cache_connected{use=\"write\"} 1\n",
                                        "waymark_cache_generations_total 1\n",
                                        "waymark_cache_deletes_unconfirmed_total 0\n",
                                        "waymark_cache_fills_total{result=\"taken\"} 0\n",
                                        "waymark_cache_copies_total 1\n",
                                        "waymark_cache_leased_partitions 1\n",
                                        "waymark_cache_queue_bytes 0\n",
                                        "waymark_cache_queue_commands 0\n",
                                        "waymark_cache_questions 0\n",
                                        "# TYPE waymark_cache_reads_total counter\n",
                                        "# TYPE waymark_cache_connected gauge\n"};

    WAIT_UNTIL(cache_is_up(c));
    leased_copy(c, 10000);
    assert_int_equal(ask(c, 1, "user:1"), -1);
    WAIT_UNTIL(cache_is_quiet(c));
    buf_init(&text, 1024 * 1024);
    stats_write(s, &text);
    buf_add_char(&text, '\0');
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr(text.p, lines[i]))
            fail_msg("%s is not in %s", lines[i], text.p);
    buf_deinit(&text);
    cache_stop(c, 5000);
    cache_free(c);
    stats_free(s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_away_at_start),
        TEST(redis_paused),
        TEST(silent_writer),
        TEST(full_queue),
        TEST(too_many_questions),
        TEST(stop_with_questions_under_way),
        TEST(full_redis),
        TEST(replica),
        TEST(figures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
