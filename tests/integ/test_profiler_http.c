/* Waiting for one's writes, tokens, routes, ids, the tail. */
#include "tests/support/profiler_shop.h"

/* --- reading one's writes ------------------------------------------------------------------------------------- */

static void test_waits_for_a_write(void **state)
{
    struct shop *s = *state;
    uint32_t p = event_log_partition(STR_LIT("wait"), PARTITIONS);
    pthread_t thread;

    wait_ready(s);
    assert_int_equal(pthread_create(&thread, NULL, put_later, s), 0);
    struct answer a = get(s, "/v1/profiles/user:wait?after=%u:0&wait=10s", p);
    pthread_join(thread, NULL);
    assert_int_equal(a.status, 200);
    expect_fact(&a, "events", "1");
    answer_free(&a);
}

static void test_waits_in_vain(void **state)
{
    struct shop *s = *state;
    int64_t begin = clock_monotonic();

    wait_ready(s);
    struct answer a = get(s, "/v1/profiles/user:x?after=0:999999999&wait=150ms");
    assert_true(clock_monotonic() - begin >= 150);
    assert_non_null(strstr(a.text, "Retry-After: 1\r\n"));
    expect_status(&a, 503, "not_yet");
    expect_get(s, "/v1/orders/x/scene?after=0:9&wait=0", 503, "not_yet");
    static const char *const bad[] = {"after=4:1",  "after=0",    "after=0:",  "after=:1",
                                      "after=0:1,", "after=0:-1", "after=0:x", "after=a:1",
                                      "wait=11s",   "wait=x",     "wait=-1s",  "after=0:9223372036854775807"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        a = get(s, "/v1/profiles/user:x?%s", bad[i]);
        if (a.status != 400)
            print_error("%s\n", bad[i]);
        expect_status(&a, 400, "parameter_invalid");
    }
    expect_get(s, "/v1/profiles/user:x?after=", 404, "profile_not_found");
}

/* Questions that wait hold no thread: others are answered meanwhile. */
static void test_waiting_holds_nobody_up(void **state)
{
    struct shop *s = *state;
    int fds[200];
    double waiting = 0;

    wait_ready(s);
    for (int i = 0; i < 200; i++)
        fds[i] = send_request(s, "GET", "Bearer tk_all",
                              i % 2 ? "/v1/profiles/user:x?after=0:99&wait=10s" : "/v1/tail?wait=10s", NULL);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (waiting < 200 && clock_monotonic() < until) {
        struct answer a = get(s, "/metrics");
        waiting = metric(a.body, "waymark_lookups_waiting");
        answer_free(&a);
    }
    assert_true(waiting == 200);
    for (int i = 0; i < 20; i++) {
        expect_get(s, "/livez", 200, NULL);
        expect_get(s, "/v1/profiles/user:x", 404, "profile_not_found");
    }
    for (int i = 0; i < 200; i++)
        close(fds[i]); /* who goes away is forgotten */
    expect_get(s, "/v1/profiles/user:x/path", 404, "profile_not_found");
}

/* --- tokens, routes, ids -------------------------------------------------------------------------------------- */

static void test_tokens(void **state)
{
    struct shop *s = *state;
    static const char *const lookups[] = {"/v1/profiles/user:x", "/v1/profiles/user:x/path",
                                          "/v1/profiles/user:x/orders", "/v1/orders/x/scene"};
    static const struct {
        const char *token;
        int lookup, tail;
        const char *code;
    } cases[] = {
        {NULL, 401, 401, "token_missing"},
        {"", 401, 401, "token_missing"},
        {"Basic eA==", 401, 401, "token_missing"},
        {"Bearer", 401, 401, "token_missing"},
        {"Bearer ", 401, 401, "token_missing"},
        {"Bearer wrong", 401, 401, "token_unknown"},
        {"Bearer tk_lookup ", 404, 403, NULL}, /* white space around a field's value is none of it */
        {"Bearer tk_lookupx", 401, 401, "token_unknown"},
        {"bearer tk_lookup", 404, 403, NULL},
        {"Bearer tk_admin", 403, 200, NULL},
        {"Bearer tk_export", 403, 403, "scope_missing"},
        {"Bearer tk_all", 404, 200, NULL},
    };

    wait_ready(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        for (size_t n = 0; n < sizeof lookups / sizeof *lookups; n++) {
            a = request(s, "GET", cases[i].token, lookups[n], NULL);
            if (a.status != cases[i].lookup)
                print_error("%s with %s\n", lookups[n], cases[i].token);
            if (a.status == 401)
                assert_non_null(strstr(a.text, "WWW-Authenticate: Bearer"));
            expect_status(&a, cases[i].lookup, cases[i].code);
        }
        a = request(s, "POST", cases[i].token, "/v1/profiles:lookup", "{\"ids\":[]}");
        expect_status(&a, cases[i].lookup == 404 ? 200 : cases[i].lookup, cases[i].code);
        a = request(s, "GET", cases[i].token, "/v1/tail?wait=0", NULL);
        expect_status(&a, cases[i].tail, cases[i].code);
        a = request(s, "GET", cases[i].token, "/livez", NULL);
        expect_status(&a, 200, NULL);
    }
}

static void test_routes(void **state)
{
    struct shop *s = *state;
    static const char *const none[] = {"/",
                                       "/v1",
                                       "/v1/nothing",
                                       "/v1/profiles",
                                       "/v1/profiles/user:x/path/more",
                                       "/v1/profiles/user:x/paths",
                                       "/v1/orders/x",
                                       "/v1/profiles/user:%zz",
                                       "/metrics/x",
                                       "/v1/profiles%2Fuser:x"};

    wait_ready(s);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        expect_get(s, none[i], 404, "not_found");
    struct answer a = request(s, "PUT", "Bearer tk_all", "/v1/profiles/user:x", NULL);
    assert_non_null(strstr(a.text, "Allow: GET, HEAD, DELETE\r\n"));
    expect_status(&a, 405, "method_not_allowed");
    a = request(s, "GET", "Bearer tk_all", "/v1/profiles:lookup", NULL);
    assert_non_null(strstr(a.text, "Allow: POST\r\n"));
    expect_status(&a, 405, "method_not_allowed");
    put(s, page("head", "https://shop.example/", T0));
    a = get_after(s, "/v1/profiles/user:head");
    size_t n = a.body_n;
    expect_status(&a, 200, NULL);
    a = request(s, "HEAD", "Bearer tk_all", "/v1/profiles/user:head", NULL);
    char length[64];
    snprintf(length, sizeof length, "Content-Length: %zu\r\n", n);
    assert_non_null(strstr(a.text, length));
    assert_int_equal(a.body_n, 0);
    expect_status(&a, 200, NULL);
}

static void test_ids(void **state)
{
    struct shop *s = *state;
    char longest[LIMIT_ID_BYTES + 1], path[1024];
    struct event e;

    wait_ready(s);
    memset(longest, 'x', LIMIT_ID_BYTES);
    longest[LIMIT_ID_BYTES] = '\0';
    e = page(NULL, "https://shop.example/", T0);
    e.user_id = STR_LIT("a/b\0c%2F");
    put(s, e);
    struct answer a = get_after(s, "/v1/profiles/user:a%2fb%00c%252F");
    assert_int_equal(a.status, 200);
    expect_raw(a.json, "id", "\"user:a/b\\u0000c%2F\"");
    answer_free(&a);
    put(s, page(longest, "https://shop.example/", T0));
    snprintf(path, sizeof path, "/v1/profiles/user%%3A%s", longest);
    a = get_after(s, path);
    expect_status(&a, 200, NULL);
    e = page(NULL, NULL, T0); /* the device of a guest's order */
    e.anonymous_id = STR_LIT("order:O/1");
    put(s, e);
    a = get_after(s, "/v1/profiles/anon:order:O%2F1");
    expect_status(&a, 200, NULL);
    snprintf(path, sizeof path, "/v1/profiles/user:%sx", longest);
    expect_get(s, path, 400, "id_invalid");
    static const char *const bad[] = {"4711", "", "user:", "anon:", "User:x", "user", "order:1", "%00"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(path, sizeof path, "/v1/profiles/%s", bad[i]);
        expect_get(s, path, 400, "id_invalid");
        snprintf(path, sizeof path, "/v1/profiles/%s/path", bad[i]);
        expect_get(s, path, 400, "id_invalid");
    }
    expect_get(s, "/v1/profiles/user:%E5%A4%A9", 404, "profile_not_found");
    expect_get(s, "/v1/profiles/user:null", 404, "profile_not_found");
}

/* --- tail ----------------------------------------------------------------------------------------------------- */

static void test_tail(void **state)
{
    struct shop *s = *state;
    pthread_t thread;

    wait_ready(s);
    put(s, track("t1", "Before", T0));
    struct answer a = get_after(s, "/v1/profiles/user:t1");
    expect_status(&a, 200, NULL);
    assert_int_equal(pthread_create(&thread, NULL, put_later, s), 0);
    a = get(s, "/v1/tail?wait=10s");
    pthread_join(thread, NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_get(a.json, "events")->count, 1);
    const struct json *e = json_get(a.json, "events")->child;
    expect_raw(e, "name", "\"Late\"");
    expect_raw(e, "profile", "\"user:wait\"");
    char raw[32], position[256];
    snprintf(raw, sizeof raw, "%u", s->partition);
    expect_raw(e, "partition", raw);
    snprintf(raw, sizeof raw, "%lld", (long long)s->offset);
    expect_raw(e, "offset", raw);
    snprintf(position, sizeof position, "%.*s", STR_ARG(text_at(&a, "position")));
    answer_free(&a);

    a = get(s, "/v1/tail?wait=0&after=%s", position);
    assert_int_equal(json_get(a.json, "events")->count, 0);
    assert_true(str_is(text_at(&a, "position"), position));
    answer_free(&a);
    unsigned seen = 0;
    for (int i = 0; i < 300; i++) {
        char user[16];
        snprintf(user, sizeof user, "t%d", i);
        put(s, track(user, "Many", T0));
    }
    for (int i = 0; i < 100 && seen < 300; i++) {
        a = get(s, "/v1/tail?wait=2s&limit=50&after=%s", position);
        assert_int_equal(a.status, 200);
        assert_true(json_get(a.json, "events")->count <= 50);
        seen += json_get(a.json, "events")->count;
        snprintf(position, sizeof position, "%.*s", STR_ARG(text_at(&a, "position")));
        answer_free(&a);
    }
    assert_int_equal(seen, 300);
    expect_get(s, "/v1/tail?topic=worse", 400, "parameter_invalid");
    expect_get(s, "/v1/tail?limit=1001", 400, "parameter_invalid");
    expect_get(s, "/v1/tail?after=9:1", 400, "parameter_invalid");
    expect_get(s, "/v1/tail?topic=bad&after=1:1", 400, "parameter_invalid");
}

static void test_tail_of_bad(void **state)
{
    struct shop *s = *state;
    const struct bad_event bad = {.received = T0,
                                  .source = STR_LIT("web"),
                                  .route = STR_LIT("/v1/batch"),
                                  .position = 3,
                                  .code = STR_LIT("id_missing"),
                                  .message = STR_LIT("no usable id"),
                                  .bytes = STR_LIT("{\"x\":\"\xff\"}"),
                                  .full_size = 10};
    struct buf b;

    wait_ready(s);
    buf_init(&b, 4096);
    assert_true(bad_event_pack(&bad, &b));
    const struct log_record r = {.kind = LOG_KIND_BAD, .key = bad.source, .value = buf_str(&b), .time = clock_now()};
    assert_int_equal(event_log_append_wait(s->log, LOG_BAD, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_OK);
    struct answer a = get(s, "/v1/tail?topic=bad&wait=0"); /* from now on: not this one */
    expect_raw(a.json, "events", "[]");
    expect_raw(a.json, "position", "\"0:0\"");
    answer_free(&a);
    int fd = send_request(s, "GET", "Bearer tk_admin", "/v1/tail?topic=bad&wait=10s&after=0:0", NULL);
    assert_int_equal(event_log_append_wait(s->log, LOG_BAD, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_OK);
    memset(&a, 0, sizeof a);
    read_answer(fd, &a);
    assert_int_equal(a.status, 200);
    const struct json *e = json_get(a.json, "events")->child;
    assert_non_null(e);
    expect_raw(e, "code", "\"id_missing\"");
    expect_raw(e, "index", "3");
    expect_raw(e, "offset", "1");
    assert_true(str_is(json_get(e, "bytes")->text, "{\"x\":\"\xef\xbf\xbd\"}"));
    answer_free(&a);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_waits_for_a_write),
        TEST(test_waits_in_vain),
        TEST(test_waiting_holds_nobody_up),
        TEST(test_tokens),
        TEST(test_routes),
        TEST(test_ids),
        TEST(test_tail),
        TEST(test_tail_of_bad),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
