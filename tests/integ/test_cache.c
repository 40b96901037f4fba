/* The cache against a real Redis: what is copied is answered, and nothing that a rule forbids, rule by rule. Each test
 * of a rule also breaks it, to see that it notices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/cache_case.h"

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

/* --- copies */

static void a_copy_is_answered(void **state)
{
    struct cache_case *k = *state;

    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    lease(k->c, 0, 10000);
    change(k->c, 0, "user:1", 7);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 7);
    assert_int_equal(ask(k->c, 0, "user:2"), -1);
    assert_int_equal(ask(k->c, 1, "user:1"), -1); /* not under another partition's lease */
    change(k->c, 0, "user:1", 8);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 8);
    assert_int_equal(generations(k->c), 1);
}

/* Others read the keys too: their names and what stands behind them are a promise. */
static void keys_are_as_documented(void **state)
{
    struct cache_case *k = *state;
    char key[128], generation[64];

    lease(k->c, 3, 10000);
    change(k->c, 3, "user:1", 7);
    WAIT_UNTIL(cache_is_quiet(k->c));
    snprintf(key, sizeof key, "wm:lease:3:%s", k->c->writer.run_id);
    snprintf(generation, sizeof generation, "%s", redis_case_do(&k->redis, "GET", key));
    assert_int_equal(strlen(generation), 32);
    assert_int_equal(strspn(generation, "0123456789abcdef"), 32);
    const char *copy = redis_case_do(&k->redis, "GET", "wm:profile:user:1");
    assert_memory_equal(copy, generation, 32);
    assert_string_equal(copy + 32, " 7\n{\"v\":7}");
    assert_string_equal(redis_case_do(&k->redis, "PTTL", "wm:profile:user:1"), "-1");
    long left = atol(redis_case_do(&k->redis, "PTTL", key));
    assert_in_range(left, 1, 9800 + 1);
}

static void many_profiles_in_one_batch(void **state)
{
    struct cache_case *k = *state;
    enum { MANY = 700 };
    static char ids[MANY][24], texts[MANY][32];
    static struct str names[MANY];
    static struct cache_copy copies[MANY];

    lease(k->c, 0, 10000);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(ids[i], sizeof ids[i], "user:%d", i);
            names[i] = str_of(ids[i]);
            copies[i] = copy_of(ids[i], 1000 * round + i, texts[i], sizeof texts[i]);
        }
        assert_int_equal(cache_begin(k->c, 0, names, MANY), 0);
        for (int i = 0; i < MANY; i += 101)
            assert_int_equal(ask(k->c, 0, ids[i]), -1);
        cache_end(k->c, 0, copies, MANY);
        WAIT_UNTIL(cache_is_quiet(k->c));
        for (int i = 0; i < MANY; i++)
            assert_int_equal(ask(k->c, 0, ids[i]), 1000 * round + i);
    }
    assert_int_equal(generations(k->c), 1);
}

static void copies_live_for_their_ttl(void **state)
{
    struct cache_case *k = *state;
    struct conf_redis conf = k->conf;

    conf.ttl_ms = 60000;
    struct cache *c = cache_of(&conf, NULL);
    WAIT_UNTIL(cache_is_up(c));
    lease(c, 0, 10000);
    change(c, 0, "user:1", 1);
    fill(c, 0, cache_ticket(c, 0), "user:2", 2);
    WAIT_UNTIL(cache_is_quiet(c));
    assert_in_range(atol(redis_case_do(&k->redis, "PTTL", "wm:profile:user:1")), 30000, 60000);
    assert_in_range(atol(redis_case_do(&k->redis, "PTTL", "wm:profile:user:2")), 30000, 60000);
    cache_stop(c, 5000);
    cache_free(c);
}

/* What somebody else wrote under our names, or an id of any length, is a miss and nothing worse. */
static void strange_values_are_misses(void **state)
{
    struct cache_case *k = *state;
    char key[128], *longest = calloc(1, 40001);

    leased_copy(k->c, 10000);
    snprintf(key, sizeof key, "wm:lease:0:%s", k->c->writer.run_id);
    redis_case_do(&k->redis, "DEL", "wm:profile:user:1");
    redis_case_do(&k->redis, "RPUSH", "wm:profile:user:1", "a");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    redis_case_do(&k->redis, "SET", "wm:profile:user:1", "");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    redis_case_do(&k->redis, "SET", key, "");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    memset(longest, 'x', 40000);
    assert_int_equal(ask(k->c, 0, longest), -1);
    free(longest);
    lease(k->c, 0, 10000);
    fill(k->c, 0, cache_ticket(k->c, 0), "user:1", 3);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 3);
    assert_int_equal(generations(k->c), 1);
}

static void large_answers(void **state)
{
    struct cache_case *k = *state;
    struct cache *c = cache_of(&k->redis.conf, NULL);
    size_t n = LIMIT_CACHE_COPY_BYTES + 1;
    char *text = malloc(n);
    struct asked a[40];

    memset(text, 'x', n);
    WAIT_UNTIL(cache_is_up(c));
    lease(c, 0, 20000);
    struct cache_copy copy = {.id = STR_LIT("user:1"), .answer = {text, n}, .version = 1};
    cache_fill(c, 0, cache_ticket(c, 0), &copy);
    assert_int_equal(stats_get(c->figures.fills[FILL_DROPPED]), 1);
    assert_int_equal(stats_get(c->figures.fills[FILL_TAKEN]), 0);
    copy.answer.n = LIMIT_CACHE_COPY_BYTES - CACHE_HEAD_BYTES;
    cache_fill(c, 0, cache_ticket(c, 0), &copy);
    assert_int_equal(stats_get(c->figures.fills[FILL_TAKEN]), 1);
    WAIT_UNTIL(cache_is_quiet(c));
    /* All of a group at their greatest are within what a reply may have; a slow machine may be late with them. */
    for (int i = 0; i < 40; i++)
        asked_init(&a[i], 0, "user:1");
    for (int i = 0; i < 40; i++)
        cache_read(c, &a[i].q);
    for (int i = 0; i < 40; i++)
        asked_wait(&a[i]);
    assert_false(link_told(c, &c->reader.link, "more than"));
    do {
        WAIT_UNTIL(cache_is_up(c));
        asked_init(&a[0], 0, "user:1");
        cache_read(c, &a[0].q);
        asked_wait(&a[0]);
    } while (a[0].version != 1);
    cache_stop(c, 5000);
    cache_free(c);
    free(text);
}

/* --- leases */

static void lost_lease(void **state)
{
    struct cache_case *k = *state;
    char key[128];

    leased_copy(k->c, 10000);
    snprintf(key, sizeof key, "wm:lease:0:%s", k->c->writer.run_id);
    assert_string_equal(redis_case_do(&k->redis, "DEL", key), "1");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    lease(k->c, 0, 10000);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 1);
}

static void evicted_copy(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 10000);
    redis_case_do(&k->redis, "DEL", "wm:profile:user:1");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    fill(k->c, 0, cache_ticket(k->c, 0), "user:1", 1);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 1);
}

static void flushed(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 10000);
    redis_case_do(&k->redis, "FLUSHALL");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    lease(k->c, 0, 10000);
    change(k->c, 0, "user:1", 2);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 2);
}

/* Rule deadline: by the end of the term nobody believes, whenever Redis gets the lease. */
static void rule_deadline(void **state)
{
    struct cache_case *k = *state;

    int64_t until = leased_copy(k->c, 1000);
    wait_boot(until);
    assert_int_equal(ask(k->c, 0, "user:1"), -1);

    /* A lease that is late by more than its term. */
    for (int broken = 0; broken < 2; broken++) {
        k->c->without = broken ? CACHE_WITHOUT_DEADLINE : 0;
        until = lease(k->c, 0, 500);
        change(k->c, 0, "user:1", 1);
        WAIT_UNTIL(cache_is_quiet(k->c));
        atomic_store(&k->proxy.hold_until, clock_monotonic() + 800);
        until = lease(k->c, 0, 600);
        wait_boot(until + 1);
        WAIT_UNTIL(cache_is_quiet(k->c));
        assert_int_equal(ask(k->c, 0, "user:1"), broken ? 1 : -1);
        k->c->without = 0;
        wait_boot(clock_boot() + 1200);
    }
}

/* An owner that sleeps past its term: another may have shown something meanwhile, and its own copies lie there still.
 */
static void paused_owner(void **state)
{
    struct cache_case *k = *state;
    struct cache *other = cache_of(&k->conf, NULL);

    WAIT_UNTIL(cache_is_up(other));
    int64_t until = leased_copy(k->c, 600);
    wait_boot(until);
    lease(other, 0, 800);
    assert_int_equal(ask(other, 0, "user:1"), -1); /* of another generation */
    until = lease(other, 0, 800);
    change(other, 0, "user:1", 2);
    WAIT_UNTIL(cache_is_quiet(other));
    assert_int_equal(ask(k->c, 0, "user:1"), 2);
    wait_boot(until);
    redis_case_do(&k->redis, "DEL", "wm:profile:user:1");
    lease(k->c, 0, 10000); /* the first wakes, and is the owner again */
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    assert_int_equal(generations(k->c), 2);
    cache_stop(other, 5000);
    cache_free(other);
}

/* Two shops with one prefix on one Redis: neither is told what the other one copied (rule `shop`), and who does not
 * know yet which it is believes and leases nothing. */
static void two_shops(void **state)
{
    struct cache_case *k = *state;
    _Atomic uint64_t one = 0, two = 0;
    struct cache *a = cache_of_shop(&k->conf, &one), *same = cache_of_shop(&k->conf, &one),
                 *other = cache_of_shop(&k->conf, &two);

    WAIT_UNTIL(cache_is_up(a) && cache_is_up(same) && cache_is_up(other));
    lease(a, 0, 60000);
    assert_false(cache_wants(a, 0));
    atomic_store(&one, 0x1234567800000001);
    lease(a, 0, 60000);
    change(a, 0, "user:1", 1);
    WAIT_UNTIL(cache_is_quiet(a));
    assert_int_equal(ask(a, 0, "user:1"), 1);
    assert_int_equal(ask(same, 0, "user:1"), 1);
    assert_int_equal(ask(other, 0, "user:1"), -1);
    atomic_store(&two, 0x1234567800000002);
    assert_int_equal(ask(other, 0, "user:1"), -1);
    lease(other, 0, 60000);
    change(other, 0, "user:1", 7);
    WAIT_UNTIL(cache_is_quiet(other));
    assert_int_equal(ask(other, 0, "user:1"), 7);
    assert_int_equal(ask(same, 0, "user:1"), -1);
    struct cache *each[] = {a, same, other};
    for (size_t i = 0; i < 3; i++) {
        cache_stop(each[i], 5000);
        cache_free(each[i]);
    }
}

/* A partition that was given up and comes back: what was copied before is not believed, nor what was read before. */
static void released_and_leased_again(void **state)
{
    struct cache_case *k = *state;

    int64_t until = leased_copy(k->c, 1000);
    uint64_t ticket = cache_ticket(k->c, 0);
    cache_release(k->c, 0);
    assert_false(cache_wants(k->c, 0));
    lease(k->c, 0, 1500); /* too early: the lease that is out is believed still */
    assert_false(cache_wants(k->c, 0));
    assert_int_equal(begin(k->c, 0, "user:9"), until);
    cache_end(k->c, 0, NULL, 0);
    wait_boot(until);
    lease(k->c, 0, 10000);
    assert_true(cache_wants(k->c, 0));
    fill(k->c, 0, ticket, "user:2", 5);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    assert_int_equal(ask(k->c, 0, "user:2"), -1);
    assert_int_equal(stats_get(k->c->figures.fills[FILL_CHANGED]), 1);
}

/* --- rule before */

static void rule_before(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 10000);
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    assert_int_equal(ask(k->c, 0, "user:1"), -1); /* the batch may be shown from here on */
    end(k->c, 0, "user:1", 2);

    k->c->without = CACHE_WITHOUT_BEFORE;
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    assert_int_equal(ask(k->c, 0, "user:1"), 2); /* is what would be too old */
    end(k->c, 0, "user:1", 3);
}

/* --- rules over and sent */

/* A delete on its way: the batch is to wait for the last lease that was sent. */
static void write_in_flight(void **state)
{
    struct cache_case *k = *state;

    cache_is_hasty(k->c);
    leased_copy(k->c, 1000);
    atomic_store(&k->proxy.hold_until, clock_monotonic() + 1500);
    int64_t until = lease(k->c, 0, 1200); /* sent, and not there yet */
    int64_t before = clock_monotonic();
    assert_int_equal(begin(k->c, 0, "user:1"), until); /* rule sent */
    assert_in_range(clock_monotonic() - before, LIMIT_CACHE_CONFIRM_MS - 1, LIMIT_CACHE_CONFIRM_MS + 250);
    assert_int_equal(stats_get(k->c->figures.unconfirmed), 1);
    wait_boot(until);
    end(k->c, 0, "user:1", 2); /* shown; no generation to copy it with */
    WAIT_UNTIL(cache_is_up(k->c));
    for (int i = 0; i < 100; i++) { /* while the late commands arrive */
        lease(k->c, 0, 1000);
        int64_t version = ask(k->c, 0, "user:1");
        assert_true(version == -1 || version == 2);
        redis_case_sleep(10);
    }
    fill(k->c, 0, cache_ticket(k->c, 0), "user:1", 2);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 2);
    assert_int_equal(generations(k->c), 2);
}

static void rule_over_broken(void **state)
{
    struct cache_case *k = *state;
    struct cache *reader = cache_of(&k->redis.conf, NULL); /* with a way of its own */

    WAIT_UNTIL(cache_is_up(reader));
    cache_is_hasty(k->c);
    leased_copy(k->c, 2000);
    atomic_store(&k->proxy.hold_until, clock_monotonic() + 500);
    k->c->without = CACHE_WITHOUT_OVER;
    assert_int_equal(begin(k->c, 0, "user:1"), 0); /* would be shown now */
    assert_int_equal(ask(reader, 0, "user:1"), 1); /* and is what would be too old */
    cache_end(k->c, 0, NULL, 0);
    cache_stop(reader, 5000);
    cache_free(reader);
}

/* While a batch waits no generation begins for its partition; others go on. */
static void no_generation_while_a_batch_waits(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 1000);
    lease(k->c, 1, 1000);
    WAIT_UNTIL(cache_is_quiet(k->c));
    atomic_store(&k->proxy.cut, 2);
    WAIT_UNTIL(!cache_wants(k->c, 0));
    int64_t over = begin(k->c, 0, "user:1");
    assert_true(over > 0);
    wait_boot(over + 500); /* the other partition's too */
    WAIT_UNTIL(cache_is_up(k->c));
    lease(k->c, 0, 5000);
    lease(k->c, 1, 5000);
    assert_false(cache_wants(k->c, 0));
    assert_true(cache_wants(k->c, 1));
    cache_end(k->c, 0, NULL, 0);
    lease(k->c, 0, 5000);
    assert_true(cache_wants(k->c, 0));
}

/* Where no lease is out there is nothing to wait for, whatever Redis does. */
static void nothing_to_wait_for(void **state)
{
    struct cache_case *k = *state;

    kill(k->redis.pid, SIGSTOP);
    int64_t before = clock_monotonic();
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    end(k->c, 0, "user:1", 1);
    assert_in_range(clock_monotonic() - before, 0, 250);
    assert_int_equal(stats_get(k->c->figures.copies), 0);
    kill(k->redis.pid, SIGCONT);
}

/* --- rule fresh */

static void broken_connection(void **state)
{
    struct cache_case *k = *state;

    for (int broken = 0; broken < 2; broken++) {
        int64_t until = leased_copy(k->c, 1000);
        k->c->without = broken ? CACHE_WITHOUT_FRESH : 0;
        atomic_store(&k->proxy.hold_until, clock_monotonic() + 1);
        atomic_store(&k->proxy.refuse, true);
        atomic_store(&k->proxy.cut, 2);
        WAIT_UNTIL(!cache_wants(k->c, 0));
        assert_int_equal(ask(k->c, 0, "user:1"), -1);      /* at once: there is no connection */
        assert_int_equal(begin(k->c, 0, "user:1"), until); /* its delete never gets there */
        wait_boot(until);
        cache_end(k->c, 0, NULL, 0);
        atomic_store(&k->proxy.refuse, false);
        WAIT_UNTIL(cache_is_up(k->c));
        until = lease(k->c, 0, 1500);
        WAIT_UNTIL(cache_is_quiet(k->c));
        assert_int_equal(ask(k->c, 0, "user:1"), broken ? 1 : -1);
        wait_boot(until);
    }
}

/* A copy that comes after its connection has ended is of a generation that nobody leases. */
static void late_command(void **state)
{
    struct cache_case *k = *state;

    int64_t until = leased_copy(k->c, 1000);
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    atomic_store(&k->proxy.hold_until, clock_monotonic() + 1500);
    end(k->c, 0, "user:1", 2); /* this copy is held back */
    WAIT_UNTIL(!cache_is_quiet(k->c));
    redis_case_sleep(20); /* until the proxy has it */
    atomic_store(&k->proxy.cut, 1);
    WAIT_UNTIL(!cache_wants(k->c, 0));
    assert_int_equal(begin(k->c, 0, "user:1"), until);
    wait_boot(until);
    cache_end(k->c, 0, NULL, 0); /* version 3 is shown */
    WAIT_UNTIL(strstr(redis_case_do(&k->redis, "GET", "wm:profile:user:1"), " 2\n"));
    WAIT_UNTIL(cache_is_up(k->c));
    lease(k->c, 0, 10000);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(generations(k->c), 2);
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
}

/* --- rule run */

static void old_dump(void **state)
{
    struct cache_case *k = *state;
    char first[48];

    for (int broken = 0; broken < 2; broken++) {
        k->c->without = broken ? CACHE_WITHOUT_RUN : 0;
        lease(k->c, 0, 4000);
        change(k->c, 0, "user:1", 1);
        WAIT_UNTIL(cache_is_quiet(k->c));
        assert_int_equal(ask(k->c, 0, "user:1"), 1);
        snprintf(first, sizeof first, "%s", k->c->writer.run_id);
        assert_string_equal(redis_case_do(&k->redis, "SAVE"), "OK");
        change(k->c, 0, "user:1", 2);
        WAIT_UNTIL(cache_is_quiet(k->c));
        assert_int_equal(ask(k->c, 0, "user:1"), 2); /* shown */
        redis_case_kill(&k->redis);
        redis_case_start(&k->redis);
        assert_non_null(strstr(redis_case_do(&k->redis, "GET", "wm:profile:user:1"), " 1\n"));
        WAIT_UNTIL(cache_is_up(k->c));
        assert_string_not_equal(k->c->writer.run_id, first);
        assert_int_equal(ask(k->c, 0, "user:1"), broken ? 1 : -1);
        wait_boot(k->c->tenures[0].lease_over);
    }
}

/* --- rule fill */

static void rule_fill(void **state)
{
    struct cache_case *k = *state;

    leased_copy(k->c, 10000);
    uint64_t before = cache_ticket(k->c, 0);
    assert_int_equal(begin(k->c, 0, "user:1"), 0);
    uint64_t during = cache_ticket(k->c, 0);
    fill(k->c, 0, during, "user:1", 1); /* under way */
    fill(k->c, 0, before, "user:1", 1);
    cache_end(k->c, 0, NULL, 0);        /* version 2 is shown; no copy */
    fill(k->c, 0, during, "user:1", 1); /* was read before it was shown */
    fill(k->c, 0, before, "user:1", 1);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    assert_int_equal(stats_get(k->c->figures.fills[FILL_CHANGED]), 4);
    fill(k->c, 0, before, "user:2", 4); /* another profile has not changed */
    fill(k->c, 0, cache_ticket(k->c, 0), "user:1", 2);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 2);
    assert_int_equal(ask(k->c, 0, "user:2"), 4);

    k->c->without = CACHE_WITHOUT_FILL;
    fill(k->c, 0, during, "user:1", 1);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_int_equal(ask(k->c, 0, "user:1"), 1); /* is what would be too old */
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_copy_is_answered),
        TEST(keys_are_as_documented),
        TEST(many_profiles_in_one_batch),
        TEST(copies_live_for_their_ttl),
        TEST(strange_values_are_misses),
        TEST(large_answers),
        TEST(lost_lease),
        TEST(evicted_copy),
        TEST(flushed),
        TEST(rule_deadline),
        TEST(paused_owner),
        TEST(two_shops),
        TEST(released_and_leased_again),
        TEST(rule_before),
        TEST(write_in_flight),
        TEST(rule_over_broken),
        TEST(no_generation_while_a_batch_waits),
        TEST(nothing_to_wait_for),
        TEST(broken_connection),
        TEST(late_command),
        TEST(old_dump),
        TEST(rule_fill),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
