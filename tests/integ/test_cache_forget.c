/* Copies that must go: gone when it is said so, and not said when Redis did not say it. */
#include <errno.h>
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

static int forget(struct cache_case *k, const char *id, int64_t ms)
{
    struct str one = str_of(id);

    return cache_forget(k->c, &one, 1, ms);
}

static const char *in_redis(struct cache_case *k, const char *key)
{
    return redis_case_do(&k->redis, "EXISTS", key);
}

static void copies_are_gone(void **state)
{
    struct cache_case *k = *state;
    const struct str two[] = {STR_LIT("user:1"), STR_LIT("anon:x")};

    lease(k->c, 0, 10000);
    change(k->c, 0, "user:1", 7);
    change(k->c, 0, "user:2", 8);
    WAIT_UNTIL(cache_is_quiet(k->c));
    assert_string_equal(in_redis(k, "wm:profile:user:1"), "1");
    assert_int_equal(cache_forget(k->c, two, 2, CASE_WAIT_MS), 0);
    assert_string_equal(in_redis(k, "wm:profile:user:1"), "0");
    assert_int_equal(ask(k->c, 0, "user:1"), -1);
    assert_int_equal(ask(k->c, 0, "user:2"), 8);
    assert_int_equal(generations(k->c), 1);
    assert_int_equal(cache_forget(k->c, NULL, 0, 0), 0);
}

/* Those of an owner before, under a generation that nobody believes. */
static void copies_of_others_are_gone(void **state)
{
    struct cache_case *k = *state;

    redis_case_do(&k->redis, "SET", "wm:profile:user:9", "0123456789abcdef0123456789abcdef 3\n{}");
    assert_int_equal(forget(k, "user:9", CASE_WAIT_MS), 0); /* without a lease */
    assert_string_equal(in_redis(k, "wm:profile:user:9"), "0");
}

static void many(void **state)
{
    struct cache_case *k = *state;
    enum { MANY = 700 };
    static char ids[MANY][24];
    static struct str names[MANY];

    for (int i = 0; i < MANY; i++) {
        char key[48];

        snprintf(ids[i], sizeof ids[i], "user:%d", i);
        names[i] = str_of(ids[i]);
        snprintf(key, sizeof key, "wm:profile:%s", ids[i]);
        if (i % 50 == 0)
            redis_case_do(&k->redis, "SET", key, "x");
    }
    assert_int_equal(cache_forget(k->c, names, MANY, CASE_WAIT_MS), 0);
    assert_string_equal(redis_case_do(&k->redis, "DBSIZE"), "0");
}

static void redis_that_does_not_answer(void **state)
{
    struct cache_case *k = *state;

    redis_case_do(&k->redis, "SET", "wm:profile:user:1", "x");
    atomic_store(&k->proxy.hold_until, clock_monotonic() + 600);
    int64_t began = clock_monotonic();
    assert_int_equal(forget(k, "user:1", 100), -EAGAIN);
    assert_in_range(clock_monotonic() - began, 100, CASE_WAIT_MS / 2);
    assert_int_equal(forget(k, "user:1", CASE_WAIT_MS), 0);
    assert_string_equal(in_redis(k, "wm:profile:user:1"), "0");
}

/* What is sent on a connection that is lost is sent again on the next. */
static void a_connection_that_is_lost(void **state)
{
    struct cache_case *k = *state;

    redis_case_do(&k->redis, "SET", "wm:profile:user:1", "x");
    atomic_store(&k->proxy.cut, 2);
    assert_int_equal(forget(k, "user:1", CASE_WAIT_MS), 0);
    assert_string_equal(in_redis(k, "wm:profile:user:1"), "0");
}

static void redis_away(void **state)
{
    struct cache_case *k = *state;

    atomic_store(&k->proxy.refuse, true);
    atomic_store(&k->proxy.cut, 2);
    WAIT_UNTIL(!cache_is_up(k->c));
    int64_t began = clock_monotonic();
    assert_int_equal(forget(k, "user:1", 200), -EAGAIN);
    assert_in_range(clock_monotonic() - began, 150, CASE_WAIT_MS / 2);
    atomic_store(&k->proxy.refuse, false);
    assert_int_equal(forget(k, "user:1", CASE_WAIT_MS), 0);
}

static void an_id_that_no_copy_has(void **state)
{
    struct cache_case *k = *state;
    char *longest = malloc(LIMIT_CACHE_ID + 2);

    memset(longest, 'x', LIMIT_CACHE_ID + 1);
    longest[LIMIT_CACHE_ID + 1] = '\0';
    assert_int_equal(forget(k, longest, 1000), 0); /* what is longer is not copied */
    longest[LIMIT_CACHE_ID] = '\0';
    assert_int_equal(forget(k, longest, CASE_WAIT_MS), 0);
    free(longest);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(copies_are_gone),
                                       TEST(copies_of_others_are_gone),
                                       TEST(many),
                                       TEST(redis_that_does_not_answer),
                                       TEST(a_connection_that_is_lost),
                                       TEST(redis_away),
                                       TEST(an_id_that_no_copy_has)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
