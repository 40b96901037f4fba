/* What the profiler answers about profiles, paths, orders and scenes. */
#include "tests/support/profiler_shop.h"

static void test_profile(void **state)
{
    struct shop *s = *state;
    struct answer a;

    wait_ready(s);
    put(s, page("42", "https://shop.example/", T0));
    put(s, track("42", "Product Viewed", T0 + 1000));
    a = get_after(s, "/v1/profiles/user:42");
    assert_int_equal(a.status, 200);
    expect_raw(a.json, "id", "\"user:42\"");
    expect_raw(a.json, "ids", "[\"user:42\"]");
    expect_raw(a.json, "traits", "{}");
    expect_raw(json_get(a.json, "tags"), "lifecycle", "\"potential\"");
    expect_raw(a.json, "version", "2");
    expect_fact(&a, "events", "2");
    expect_fact(&a, "products_viewed", "1");
    expect_fact(&a, "sessions", "1");
    expect_fact(&a, "first_order_at", "null");
    answer_free(&a);
    a = get(s, "/v1/profiles/user:42?as_of=2026-01-01T00:00:00Z");
    assert_int_equal(a.status, 200);
    expect_fact(&a, "events", "1");
    answer_free(&a);
    expect_get(s, "/v1/profiles/user:42?as_of=2025-12-31T23:59:59Z", 404, "profile_not_found");
    expect_get(s, "/v1/profiles/user:42?as_of=yesterday", 400, "parameter_invalid");
    expect_get(s, "/v1/profiles/user:43", 404, "profile_not_found");
}

static void test_many_profiles(void **state)
{
    struct shop *s = *state;

    wait_ready(s);
    for (int i = 0; i < 12; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        put(s, page(user, "https://shop.example/", T0 + i));
        struct answer seen = get_after(s, "/v1/profiles/user:u0");
        expect_status(&seen, 200, NULL);
    }
    struct answer a = request(s, "POST", "Bearer tk_lookup", "/v1/profiles:lookup",
                              "{\"ids\":[\"user:u11\",\"anon:x\",\"user:u2\",\"user:u2\",\"user:y\"]}");
    assert_int_equal(a.status, 200);
    const struct json *profiles = json_get(a.json, "profiles");
    assert_int_equal(profiles->count, 3);
    expect_raw(profiles->child, "id", "\"user:u11\"");
    expect_raw(profiles->child->next, "id", "\"user:u2\"");
    expect_raw(a.json, "not_found", "[\"anon:x\",\"user:y\"]");
    answer_free(&a);
    static const struct {
        const char *body, *code;
    } bad[] = {
        {"{\"ids\":[", "json_invalid"},       {"", "json_invalid"},
        {"[]", "parameter_invalid"},          {"{\"ids\":{}}", "parameter_invalid"},
        {"{\"ids\":[\"42\"]}", "id_invalid"}, {"{\"ids\":[\"user:1\",7]}", "id_invalid"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = request(s, "POST", "Bearer tk_lookup", "/v1/profiles:lookup", bad[i].body);
        expect_status(&a, 400, bad[i].code);
    }
    struct buf many;
    buf_init(&many, MIB);
    buf_add_text(&many, "{\"ids\":[\"user:1\"");
    for (int i = 0; i < LIMIT_LOOKUP_IDS; i++)
        buf_add_text(&many, ",\"user:1\"");
    buf_add(&many, "]}", 3);
    a = request(s, "POST", "Bearer tk_lookup", "/v1/profiles:lookup", many.p);
    expect_status(&a, 400, "parameter_invalid");
    buf_deinit(&many);
}

/* Collects the names of a path page by page; between pages more events come in, before and behind the cursor. */
static void walk(struct shop *s, const char *order, int limit, int64_t early, int64_t late, struct buf *names)
{
    char cursor[512] = "";
    int pages = 0;

    for (;;) {
        struct answer a =
            get(s, "/v1/profiles/user:w/path?order=%s&limit=%d%s%s", order, limit, *cursor ? "&cursor=" : "", cursor);
        assert_int_equal(a.status, 200);
        const struct json *events = json_get(a.json, "events"), *next = json_get(a.json, "next");
        assert_true(events->count <= (uint32_t)limit);
        for (const struct json *e = events->child; e; e = e->next)
            buf_add_str(names, json_get(e, "name")->text);
        bool more = next->type == JSON_STRING;
        if (more)
            snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(next->text));
        answer_free(&a);
        if (!more)
            break;
        if (pages++ == 0) {
            put(s, track("w", "-", early));
            put(s, track("w", "+", late));
            a = get_after(s, "/v1/profiles/user:w");
            expect_status(&a, 200, NULL);
        }
    }
    buf_add_char(names, '\0');
}

static void test_path_pages(void **state)
{
    struct shop *s = *state;
    struct buf names;

    wait_ready(s);
    for (int i = 0; i < 10; i++) { /* sent backwards */
        char name[2] = {(char)('j' - i), '\0'};
        put(s, track("w", name, T0 + (9 - i) * 1000));
    }
    struct answer a = get_after(s, "/v1/profiles/user:w");
    expect_status(&a, 200, NULL);
    buf_init(&names, 1024);
    walk(s, "asc", 3, T0 + 500, T0 + 5500, &names); /* "-" between a and b, "+" between f and g */
    assert_string_equal(names.p, "abcdef+ghij");
    buf_reset(&names);
    walk(s, "desc", 4, T0 - 500, T0 + 8500, &names); /* before all; between i and j, which is behind the first page */
    assert_string_equal(names.p, "jihg+fedcb-a-");
    buf_deinit(&names);
}

static void test_path_parameters(void **state)
{
    struct shop *s = *state;

    wait_ready(s);
    for (int i = 0; i < 5; i++)
        put(s, track("p", (const char *[]){"a", "b", "c", "d", "e"}[i], T0 + i * 1000));
    struct answer a =
        get_after(s, "/v1/profiles/user:p/path?from=2026-01-01T00:00:01Z&to=2026-01-01T00:00:04Z&limit=2");
    assert_int_equal(a.status, 200);
    assert_int_equal(json_get(a.json, "events")->count, 2);
    struct str next = text_at(&a, "next");
    char cursor[512];
    snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(next));
    answer_free(&a);
    a = get(s, "/v1/profiles/user:p/path?cursor=%s", cursor); /* from and to stand in the cursor */
    assert_int_equal(json_get(a.json, "events")->count, 1);
    expect_raw(json_get(a.json, "events")->child, "name", "\"d\"");
    expect_raw(a.json, "next", "null");
    answer_free(&a);
    a = get(s, "/v1/profiles/user:p/path?as_of=2026-01-01T00:00:02Z");
    assert_int_equal(json_get(a.json, "events")->count, 3);
    answer_free(&a);
    a = get(s, "/v1/profiles/user:p/path?order=desc&cursor=%s", cursor);
    expect_status(&a, 400, "cursor_invalid");
    a = get(s, "/v1/profiles/user:q/path?cursor=%s", cursor);
    expect_status(&a, 400, "cursor_invalid");
    static const char *const bad[] = {"limit=0",  "limit=1001",  "limit=x",       "limit=-1", "limit=",
                                      "order=up", "from=monday", "to=2026-02-30", "as_of=x"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = get(s, "/v1/profiles/user:p/path?%s", bad[i]);
        if (a.status != 400)
            print_error("%s\n", bad[i]);
        expect_status(&a, 400, "parameter_invalid");
    }
    expect_get(s, "/v1/profiles/user:p/path?cursor=AAAA", 400, "cursor_invalid");
    expect_get(s, "/v1/profiles/user:p/path?limit=1000&unknown=1", 200, NULL);
    expect_get(s, "/v1/profiles/user:nobody/path", 404, "profile_not_found");
}

static void test_sessions_in_path(void **state)
{
    struct shop *s = *state;
    struct event first = page("v", "https://shop.example/a", T0);

    wait_ready(s);
    first.referrer = STR_LIT("https://search.example/q");
    first.module = STR_LIT("banner");
    put(s, first);
    put(s, page("v", "https://shop.example/b", T0 + 5200));
    put(s, page("v", "https://shop.example/c", T0 + TIME_HOUR));
    struct answer a = get_after(s, "/v1/profiles/user:v/path");
    assert_int_equal(a.status, 200);
    const struct json *e = json_get(a.json, "events")->child;
    expect_raw(e, "session", "1");
    expect_raw(e, "dwell_ms", "5200");
    expect_raw(e, "came_from", "\"https://search.example/q\"");
    expect_raw(e, "session_start", "\"2026-01-01T00:00:00.000Z\"");
    e = e->next;
    expect_raw(e, "came_from", "\"https://shop.example/a\"");
    expect_raw(e, "came_from_module", "\"banner\"");
    assert_null(json_get(e, "dwell_ms"));
    e = e->next;
    expect_raw(e, "session", "2");
    assert_null(json_get(e, "came_from"));
    answer_free(&a);
}

/* As of a time they stand in the order of then: what was only spoken of is where it was spoken of first. */
static void test_orders_of_then(void **state)
{
    static const char *const then[] = {"\"A\"", "\"B\""}, *const now[] = {"\"B\"", "\"A\""};
    struct shop *s = *state;

    wait_ready(s);
    put_order(s, "t", "A", STATUS_NONE, T0 + 10000);
    put_order(s, "t", "B", STATUS_CREATED, T0 + 20000);
    put_order(s, "t", "A", STATUS_CREATED, T0 + 30000);
    for (int past = 0; past < 2; past++) {
        struct answer a =
            get_after(s, past ? "/v1/profiles/user:t/orders?as_of=2026-01-01T00:00:25Z" : "/v1/profiles/user:t/orders");
        assert_int_equal(a.status, 200);
        const struct json *o = json_get(a.json, "orders")->child;
        for (int i = 0; i < 2; i++, o = o->next)
            expect_raw(o, "order_id", past ? then[i] : now[i]);
        assert_null(o);
        answer_free(&a);
    }
}

static void test_orders_and_scene(void **state)
{
    struct shop *s = *state;
    struct event entry = page("o", "https://shop.example/?utm_campaign=spring", T0);

    wait_ready(s);
    entry.campaign.name = STR_LIT("spring");
    put(s, entry);
    put(s, page("o", "https://shop.example/cart", T0 + 60000));
    put_order(s, "o", "O/1", STATUS_CREATED, T0 + 90000);
    put_order(s, "o", "O/1", STATUS_PAID, T0 + 100000);
    put(s, page("o", "https://shop.example/later", T0 + TIME_DAY));
    struct answer a = get_after(s, "/v1/profiles/user:o/orders");
    assert_int_equal(a.status, 200);
    const struct json *o = json_get(a.json, "orders")->child;
    expect_raw(o, "order_id", "\"O/1\"");
    expect_raw(o, "status", "\"paid\"");
    expect_raw(o, "placed_at", "\"2026-01-01T00:01:30.000Z\"");
    expect_raw(o, "total", "120.5");
    expect_raw(o, "refunded", "0");
    expect_raw(o, "profile", "\"user:o\"");
    assert_int_equal(json_get(o, "history")->count, 2);
    answer_free(&a);
    a = get(s, "/v1/profiles/user:o/orders?as_of=2026-01-01T00:01:30Z");
    expect_raw(json_get(a.json, "orders")->child, "status", "\"created\"");
    answer_free(&a);
    a = get(s, "/v1/profiles/user:o/orders?as_of=2026-01-01T00:01:00Z");
    expect_raw(a.json, "orders", "[]");
    answer_free(&a);

    a = get(s, "/v1/orders/O%%2F1/scene");
    assert_int_equal(a.status, 200);
    expect_raw(json_get(a.json, "order"), "order_id", "\"O/1\"");
    const struct json *who = json_get(a.json, "who");
    expect_raw(who, "id", "\"user:o\"");
    expect_raw(json_get(who, "facts"), "pages", "2"); /* as of then */
    expect_raw(a.json, "took_ms", "90000");
    expect_raw(a.json, "what", "[]");
    const struct json *online = json_get(json_get(a.json, "where"), "online");
    expect_raw(json_get(online, "last_page"), "url", "\"https://shop.example/cart\"");
    expect_raw(json_get(online, "entry"), "campaign", "{\"name\":\"spring\"}");
    expect_raw(json_get(a.json, "where"), "offline", "{\"city\":\"Leeds\"}");
    assert_int_equal(json_get(a.json, "path")->count, 3);
    expect_raw(json_get(a.json, "first_touch"), "type", "\"touch\"");
    expect_raw(json_get(a.json, "last_touch"), "campaign", "{\"name\":\"spring\"}");
    answer_free(&a);

    put_order(s, "till", "O2", STATUS_PAID, T0);
    a = get_after(s, "/v1/orders/O2/scene");
    assert_int_equal(a.status, 200);
    expect_raw(a.json, "took_ms", "null");
    expect_raw(a.json, "first_touch", "{\"type\":\"direct\"}");
    expect_raw(json_get(a.json, "where"), "online", "null");
    assert_int_equal(json_get(a.json, "path")->count, 1);
    answer_free(&a);
    expect_get(s, "/v1/orders/none/scene", 404, "order_not_found");
    put(s, page("poor", "https://shop.example/", T0));
    a = get_after(s, "/v1/profiles/user:poor/orders");
    expect_raw(a.json, "orders", "[]");
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_profile),          TEST(test_many_profiles),    TEST(test_path_pages),     TEST(test_path_parameters),
        TEST(test_sessions_in_path), TEST(test_orders_and_scene), TEST(test_orders_of_then),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
