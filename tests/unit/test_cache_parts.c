/* The pure parts of the cache: urls, keys and values, and the table of changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/num.h"
#include "profiler/cache_changes.h"
#include "profiler/cache_value.h"
#include "profiler/redis_url.h"

/* --- urls */

static struct redis_url parsed(const char *text)
{
    struct redis_url u;
    struct err e = {.text = ""};

    if (redis_url_parse(text, &u, &e) != 0)
        fail_msg("%s: %s", text, e.text);
    return u;
}

static void urls_that_are_taken(void **state)
{
    (void)state;
    struct redis_url u = parsed("redis://cache.example");
    assert_string_equal(u.host, "cache.example");
    assert_string_equal(u.port, "6379");
    assert_false(u.tls || u.local || u.has_password);
    assert_int_equal(u.db, 0);

    u = parsed("rediss://me%40shop:p%3a%2F%25@10.0.0.1:7000/12");
    assert_true(u.tls && u.has_password);
    assert_string_equal(u.user, "me@shop");
    assert_string_equal(u.password, "p:/%");
    assert_string_equal(u.host, "10.0.0.1");
    assert_string_equal(u.port, "7000");
    assert_int_equal(u.db, 12);

    u = parsed("redis://:secret@[::1]:7001/");
    assert_string_equal(u.user, "");
    assert_string_equal(u.password, "secret");
    assert_string_equal(u.host, "::1");
    assert_string_equal(u.port, "7001");
    assert_string_equal(parsed("redis://[fe80::1]").port, "6379");
    assert_false(parsed("redis://me@host").has_password);

    u = parsed("unix:///run/redis/redis%20x.sock?db=3");
    assert_true(u.local);
    assert_string_equal(u.path, "/run/redis/redis x.sock");
    assert_int_equal(u.db, 3);
    u = parsed("unix://me:secret@/run/r.sock");
    assert_string_equal(u.user, "me");
    assert_string_equal(u.path, "/run/r.sock");
}

static void urls_that_are_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "127.0.0.1:6379",
                                        "http://host",
                                        "redis://",
                                        "redis:///0",
                                        "redis://host:",
                                        "redis://host:0",
                                        "redis://host:65536",
                                        "redis://host:6379x",
                                        "redis://host/x",
                                        "redis://host/-1",
                                        "redis://host/99999999999",
                                        "redis://[::1",
                                        "redis://[::1]7000",
                                        "redis://a:%0@host",
                                        "redis://a:%zz@host",
                                        "redis://a:%00@host",
                                        "unix://",
                                        "unix://run/redis.sock",
                                        "unix:///run/r.sock?x=1",
                                        "unix:///run/r.sock?db=",
                                        "unix:///run/%"};
    char longest[2000];

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct redis_url u;
        struct err e = {.text = ""};
        if (redis_url_parse(wrong[i], &u, &e) == 0)
            fail_msg("%s was taken", wrong[i]);
        assert_true(e.text[0]);
    }
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    static const char *const begins[] = {"redis://", "redis://a:", "unix:///"};
    for (size_t i = 0; i < 3; i++) {
        struct redis_url u;
        struct err e;
        memcpy(longest, begins[i], strlen(begins[i]));
        memcpy(longest + sizeof longest - 3, i == 2 ? "xx" : "@h", 2);
        int result = redis_url_parse(longest, &u, &e);
        assert_true(result < 0);
        assert_null(strstr(e.text, "xxxx")); /* it may be a password */
    }
}

/* --- keys and values */

static void keys_and_values(void **state)
{
    struct generation g;
    struct buf key, value;
    struct cache_head head = {0};
    struct str answer = STR_NONE;

    (void)state;
    buf_init(&key, 1000);
    buf_init(&value, 1000);
    cache_key_profile(&key, "p:", STR_LIT("anon:a b"));
    assert_true(str_is(buf_str(&key), "p:profile:anon:a b"));
    buf_reset(&key);
    cache_key_lease(&key, "", 17, "abc");
    assert_true(str_is(buf_str(&key), "lease:17:abc"));

    memset(g.digits, 'a', sizeof g.digits);
    struct str lease = {g.digits, sizeof g.digits};
    cache_value_write(&value, &g, &(struct cache_head){.version = INT64_MAX}, STR_LIT("{\"a\":1}\n2"));
    assert_true(cache_value_read(buf_str(&value), lease, &head, &answer));
    assert_true(head.version == INT64_MAX && head.tags == 0 && head.until == 0);
    assert_true(str_is(answer, "{\"a\":1}\n2"));
    /* Every shorter one is none, or has a shorter answer. */
    for (size_t n = 0; n < value.n; n++)
        assert_int_equal(cache_value_read((struct str){value.p, n}, lease, &head, &answer), n >= 53);
    assert_false(cache_value_read(buf_str(&value), (struct str){g.digits, 31}, &head, &answer));
    value.p[3] = 'b';
    assert_false(cache_value_read(buf_str(&value), lease, &head, &answer));
    value.p[3] = 'a';
    value.p[40] = '-';
    assert_false(cache_value_read(buf_str(&value), lease, &head, &answer));
    value.p[40] = '9';
    value.p[33] = value.p[34] = '9'; /* greater than a version can be */
    assert_false(cache_value_read(buf_str(&value), lease, &head, &answer));

    buf_reset(&value);
    cache_value_write(&value, &g, &(struct cache_head){7, UINT64_MAX, INT64_MAX}, STR_LIT("{}"));
    assert_true(cache_value_read(buf_str(&value), lease, &head, &answer));
    assert_true(head.version == 7 && head.tags == UINT64_MAX && head.until == INT64_MAX);
    assert_true(str_is(answer, "{}"));
    for (size_t n = 0; n < value.n - 2; n++)
        assert_false(cache_value_read((struct str){value.p, n}, lease, &head, &answer));
    static const char *const bad[] = {"", " ", "7 ", "7 5", "7 5 ", "7 0 5", "7 5 6 ", "7 5 6 7", "7 -5 6", "7  5 6"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        buf_reset(&value);
        buf_addf(&value, "%.*s %s\n{}", STR_ARG(lease), bad[i]);
        assert_false(cache_value_read(buf_str(&value), lease, &head, &answer));
    }
    buf_deinit(&key);
    buf_deinit(&value);
}

/* --- changes */

static void changes_against_a_model(void **state)
{
    enum { IDS = 60, BATCHES = 5, STEPS = 20000 };
    struct changes *c = calloc(1, sizeof *c);
    struct change_set sets[BATCHES];
    bool in[BATCHES][IDS] = {{false}}, open[BATCHES] = {false};
    uint64_t changed[IDS] = {0};
    char names[IDS][24];
    unsigned seed = 7;
    size_t said_none = 0, could = 0;

    (void)state;
    for (int i = 0; i < IDS; i++)
        snprintf(names[i], sizeof names[i], "user:%d", i);
    for (int step = 0; step < STEPS; step++) {
        int b = rand_r(&seed) % BATCHES;
        if (open[b]) {
            changes_end(c, &sets[b]);
            for (int i = 0; i < IDS; i++)
                if (in[b][i])
                    changed[i] = c->now;
            memset(in[b], 0, sizeof in[b]);
        } else {
            struct str ids[IDS];
            size_t n = 0;
            for (int i = 0; i < IDS; i++)
                if (rand_r(&seed) % 20 == 0) {
                    ids[n++] = str_of(names[i]);
                    in[b][i] = true;
                }
            changes_begin(c, ids, n, &sets[b]);
            for (int i = 0; i < IDS; i++)
                if (in[b][i])
                    changed[i] = c->now;
        }
        open[b] = !open[b];
        uint64_t ticket = changes_ticket(c) - (uint64_t)(rand_r(&seed) % 4);
        for (int i = 0; i < IDS; i++) {
            bool under_way = false;
            for (int other = 0; other < BATCHES; other++)
                under_way = under_way || in[other][i];
            bool none = !under_way && changed[i] <= ticket;
            bool said = changes_none_since(c, str_of(names[i]), ticket);
            assert_true(!said || none); /* never says too much */
            said_none += said;
            could += none;
        }
    }
    assert_true(said_none > could * 9 / 10);
    for (int b = 0; b < BATCHES; b++)
        if (open[b])
            changes_end(c, &sets[b]);
    for (size_t i = 0; i < CHANGES_SLOTS; i++)
        assert_int_equal(c->slots[i].under_way, 0);
    free(c);
}

static void a_step_lies_behind_every_ticket(void **state)
{
    struct changes *c = calloc(1, sizeof *c);

    (void)state;
    uint64_t ticket = changes_ticket(c), since = changes_step(c);
    assert_true(ticket < since);
    assert_true(changes_ticket(c) >= since);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_that_are_taken),
        cmocka_unit_test(urls_that_are_refused),
        cmocka_unit_test(keys_and_values),
        cmocka_unit_test(changes_against_a_model),
        cmocka_unit_test(a_step_lies_behind_every_ticket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
