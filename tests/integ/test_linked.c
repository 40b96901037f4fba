/* Look-ups of devices with links, and reading one's own writes where they move events between persons, with one
 * partition and with many: what was just sent is in the very next answer, every time. */
#include "tests/support/profiler_shop.h"

#define TIMES 150

static const unsigned counts[] = {1, 4, 16};

static void begin(struct shop *s, unsigned partitions)
{
    make(s);
    s->partitions = partitions;
    start(s);
    wait_ready(s);
}

static void end(struct shop *s)
{
    stop(s);
    remove_folder(s->dir);
}

static struct event of_device(const char *device, const char *user, int64_t time)
{
    struct event e = page(NULL, "https://shop.example/p", time);

    e.anonymous_id = str_of(device);
    e.user_id = user ? str_of(user) : STR_NONE;
    return e;
}

/* The answer's id, and how many events it has. */
static void expect_profile(struct answer *a, const char *id, const char *events)
{
    const struct json *facts = a->json ? json_get(a->json, "facts") : NULL;
    const struct json *n = facts ? json_get(facts, "events") : NULL;

    if (a->status != 200 || !str_is(text_at(a, "id"), id) || !n || !str_is(n->raw, events))
        fail_msg("got %d %s, expected %s with %s events", a->status, a->body, id, events);
    answer_free(a);
}

static size_t path_length(struct answer *a)
{
    const struct json *events = a->json ? json_get(a->json, "events") : NULL;

    if (a->status != 200 || !events)
        fail_msg("got %d %s", a->status, a->body);
    size_t n = events->count;
    answer_free(a);
    return n;
}

/* One person: what the device did before is theirs with the answer to the first event that says so, what it does later
 * with the answer to that; and a second user gets what comes after them. */
static void play_one(struct shop *s, int i)
{
    char device[32], first[32], second[32], anon[64], user[64], other[64], path[96];

    snprintf(device, sizeof device, "d%d", i);
    snprintf(first, sizeof first, "u%d", i);
    snprintf(second, sizeof second, "v%d", i);
    snprintf(anon, sizeof anon, "/v1/profiles/anon:%s", device);
    snprintf(user, sizeof user, "/v1/profiles/user:%s", first);
    snprintf(other, sizeof other, "/v1/profiles/user:%s", second);
    snprintf(path, sizeof path, "%s/path", anon);

    put(s, of_device(device, NULL, T0));
    struct answer a = get_after(s, anon);
    expect_profile(&a, anon + strlen("/v1/profiles/"), "1");
    put(s, of_device(device, first, T0 + 10000));
    a = get_after(s, anon);
    expect_profile(&a, user + strlen("/v1/profiles/"), "2");
    a = get_after(s, path);
    assert_int_equal(path_length(&a), 2);
    put(s, of_device(device, NULL, T0 + 20000));
    a = get_after(s, user);
    expect_profile(&a, user + strlen("/v1/profiles/"), "3");
    put(s, of_device(device, second, T0 + 15000)); /* the last one was theirs */
    a = get_after(s, other);
    expect_profile(&a, other + strlen("/v1/profiles/"), "2");
    a = get_after(s, user);
    expect_profile(&a, user + strlen("/v1/profiles/"), "2");
    a = get_after(s, anon);
    expect_profile(&a, other + strlen("/v1/profiles/"), "2");
}

static void test_own_writes(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct shop s;
        begin(&s, counts[c]);
        for (int i = 0; i < TIMES; i++)
            play_one(&s, i);
        end(&s);
    }
}

static void test_many(void **state)
{
    struct shop s;

    (void)state;
    begin(&s, 16);
    put(&s, of_device("d1", NULL, T0));
    put(&s, of_device("d1", "u1", T0 + 1));
    struct answer a = get_after(&s, "/v1/profiles/user:u1");
    expect_profile(&a, "user:u1", "2");
    put(&s, of_device("d2", NULL, T0));
    a = get_after(&s, "/v1/profiles/anon:d2");
    expect_profile(&a, "anon:d2", "1");
    a = request(&s, "POST", "Bearer tk_all", "/v1/profiles:lookup",
                "{\"ids\":[\"anon:d1\",\"user:u1\",\"anon:d2\",\"anon:d3\"]}");
    assert_int_equal(a.status, 200);
    const struct json *one = json_get(a.json, "profiles")->child, *two = one->next, *three = two->next;
    assert_true(str_is(json_get(one, "id")->text, "user:u1"));
    assert_true(str_is(json_get(one, "asked")->text, "anon:d1"));
    assert_true(str_is(json_get(two, "id")->text, "user:u1"));
    assert_null(json_get(two, "asked"));
    assert_true(str_is(json_get(three, "id")->text, "anon:d2"));
    assert_null(json_get(three, "asked"));
    assert_null(three->next);
    const struct json *missing = json_get(a.json, "not_found")->child;
    assert_true(str_is(missing->text, "anon:d3"));
    answer_free(&a);
    end(&s);
}

/* Page after page of a linked device; its cursor is its own. */
static void test_pages(void **state)
{
    struct shop s;
    char path[512], cursor[256];

    (void)state;
    begin(&s, 16);
    for (int i = 0; i < 9; i++)
        put(&s, of_device("d1", NULL, T0 + i));
    put(&s, of_device("d1", "u1", T0 + 9));
    struct answer a = get_after(&s, "/v1/profiles/anon:d1/path?limit=3");
    size_t got = 0, pages = 0;
    for (;; pages++) {
        struct str next = text_at(&a, "next");
        got += json_get(a.json, "events")->count;
        snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(next));
        answer_free(&a);
        if (strcmp(cursor, "null") == 0)
            break;
        snprintf(path, sizeof path, "/v1/profiles/user:u1/path?cursor=%s", cursor);
        expect_get(&s, path, 400, "cursor_invalid");
        snprintf(path, sizeof path, "/v1/profiles/anon:d1/path?limit=3&cursor=%s", cursor);
        a = get(&s, "%s", path);
        assert_int_equal(a.status, 200);
    }
    assert_int_equal(got, 10);
    assert_int_equal(pages, 3);
    a = get(&s, "/v1/profiles/anon:d1/orders");
    assert_int_equal(a.status, 200);
    answer_free(&a);
    a = get(&s, "/v1/profiles/anon:d1?as_of=2026-01-01T00:00:00.003Z");
    expect_profile(&a, "user:u1", "4");
    end(&s);
}

/* Who follows the log sees events, and nothing of what partitions tell each other of them. */
static void test_tail(void **state)
{
    struct shop s;
    size_t events = 0;

    (void)state;
    begin(&s, 16);
    for (int i = 0; i < 10; i++) {
        char device[16], user[16];
        snprintf(device, sizeof device, "d%d", i);
        snprintf(user, sizeof user, "u%d", i);
        put(&s, of_device(device, NULL, T0));
        put(&s, of_device(device, user, T0 + 1));
        struct answer a = get_after(&s, "/v1/profiles/user:u0");
        answer_free(&a);
    }
    struct answer a = get(&s, "/v1/tail?wait=0&after=0:0");
    for (int pages = 0; pages < 100; pages++) {
        char position[512];
        assert_int_equal(a.status, 200);
        assert_null(strstr(a.body, "internal"));
        for (const struct json *e = json_get(a.json, "events")->child; e; e = e->next, events++)
            assert_true(str_is(json_get(e, "type")->text, "page"));
        snprintf(position, sizeof position, "%.*s", STR_ARG(text_at(&a, "position")));
        answer_free(&a);
        a = get(&s, "/v1/tail?wait=0&after=%s", position);
    }
    answer_free(&a);
    assert_true(events == 20 || events == 19); /* the first of partition 0 stands before the position */
    end(&s);
}

/* Where all is one partition nothing is logged; else each link is a few records, which are counted. */
static void test_metrics(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        struct shop s;
        begin(&s, counts[c]);
        for (int i = 0; i < 20; i++) {
            char device[16], user[16];
            snprintf(device, sizeof device, "d%d", i);
            snprintf(user, sizeof user, "u%d", i);
            put(&s, of_device(device, NULL, T0));
            put(&s, of_device(device, user, T0 + 1));
            struct answer a = get_after(&s, "/v1/profiles/user:u0");
            answer_free(&a);
        }
        struct answer m = request(&s, "GET", NULL, "/metrics", NULL);
        double records = metric(m.body, "waymark_internal_records_total");
        double bytes = metric(m.body, "waymark_internal_bytes_total");
        answer_free(&m);
        print_message("%u partitions: %g records, %g bytes of 40 events\n", counts[c], records, bytes);
        if (counts[c] == 1)
            assert_true(records == 0 && bytes == 0);
        else
            assert_true(records >= 20 && records <= 20 * 4 && bytes > records);
        end(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_writes), cmocka_unit_test(test_many),    cmocka_unit_test(test_pages),
        cmocka_unit_test(test_tail),       cmocka_unit_test(test_metrics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
