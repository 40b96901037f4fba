/* Metrics that add up, restarts, a lost log, the end. */
#include "tests/support/profiler_shop.h"

/* --- metrics -------------------------------------------------------------------------------------------------- */

static void test_metrics(void **state)
{
    struct shop *s = *state;

    wait_ready(s);
    for (int i = 0; i < 40; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i % 7);
        struct event e = track(user, "Product Viewed", T0 + i);
        e.message_id = i % 10 == 0 ? STR_LIT("again") : STR_NONE;
        put(s, e);
        struct answer a = get(s, "/metrics"); /* conservation holds at every moment */
        assert_int_equal(a.status, 200);
        assert_true(metric(a.body, "waymark_log_end_offset") >= metric(a.body, "waymark_state_offset"));
        assert_true(metric(a.body, "waymark_state_offset") ==
                    metric(a.body, "waymark_state_events") + metric(a.body, "waymark_state_began_offset"));
        answer_free(&a);
    }
    struct answer a = get_after(s, "/v1/profiles/user:u4");
    expect_status(&a, 200, NULL);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    for (bool even = false; !even;) {
        a = get(s, "/metrics");
        even = metric(a.body, "waymark_log_end_offset") == metric(a.body, "waymark_state_offset");
        if (even) {
            assert_true(metric(a.body, "waymark_state_events") == 40);
            assert_true(metric(a.body, "waymark_fold_lag_seconds") == 0);
            assert_true(metric(a.body, "waymark_build_info") == 1);
            assert_true(metric(a.body, "waymark_requests_total{route=\"/metrics\"") >= 0);
            assert_non_null(strstr(a.body, "waymark_state_events{outcome=\"duplicate\"}"));
            assert_non_null(strstr(a.body, "waymark_requests_total{route=\"/v1/profiles/{id}\",status=\"200\"} 1\n"));
            assert_non_null(strstr(a.body, "waymark_request_duration_seconds_count{route=\"/v1/profiles/{id}\"} 1\n"));
        }
        assert_true(clock_monotonic() < until);
        answer_free(&a);
    }
}

/* With an address of their own the metrics stand nowhere else, and nothing else stands there. */
static void test_metrics_elsewhere(void **state)
{
    struct shop *s = *state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof at;
    char line[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0); /* finds a free port */
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    close(fd);
    stop(s);
    snprintf(line, sizeof line, "  metrics_listen: 127.0.0.1:%u\n", ntohs(at.sin_port));
    s->extra = line;
    start(s);
    wait_ready(s);
    expect_get(s, "/metrics", 404, "not_found");
    uint16_t own = s->port;
    s->port = ntohs(at.sin_port);
    struct answer a = request(s, "GET", NULL, "/metrics", NULL);
    assert_true(metric(a.body, "waymark_build_info") == 1);
    expect_status(&a, 200, NULL);
    expect_get(s, "/readyz", 200, NULL);
    expect_get(s, "/v1/profiles/user:x", 404, "not_found");
    s->port = own;
}

/* --- restarts ------------------------------------------------------------------------------------------------- */

static char *answers_of(struct shop *s)
{
    static const char *const paths[] = {"/v1/profiles/user:42", "/v1/profiles/user:42/path",
                                        "/v1/profiles/user:42/orders", "/v1/orders/O1/scene", "/v1/profiles/anon:d"};
    struct buf all;

    buf_init(&all, 16 * MIB);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct answer a = get(s, "%s", paths[i]);
        buf_addf(&all, "%d %s\n", a.status, a.body);
        answer_free(&a);
    }
    buf_add_char(&all, '\0');
    assert_false(all.failed);
    return all.p;
}

static void test_restart(void **state)
{
    struct shop *s = *state;

    wait_ready(s);
    put(s, page("42", "https://shop.example/", T0));
    put(s, track("42", "Product Viewed", T0 + 1000));
    put_order(s, "42", "O1", STATUS_PAID, T0 + 2000);
    struct answer a = get_after(s, "/v1/profiles/user:42"); /* the order has come back from its home */
    expect_status(&a, 200, NULL);
    struct event e = page(NULL, "https://shop.example/", T0);
    e.anonymous_id = STR_LIT("d");
    put(s, e);
    a = get_after(s, "/v1/profiles/anon:d");
    expect_status(&a, 200, NULL);
    char *before = answers_of(s);
    for (int i = 0; i < 2; i++) {
        stop(s);
        start(s);
        wait_ready(s);
        char *after = answers_of(s);
        assert_string_equal(before, after);
        free(after);
    }
    free(before);
    /* What came while it was down is folded before it is ready. */
    stop(s);
    struct err err = {0};
    const struct event_log_options o = {.path = s->log_path, .partitions = PARTITIONS};
    assert_int_equal(event_log_open_local(&o, &s->log, &err), 0);
    put(s, track("42", "Product Viewed", T0 + 3000));
    event_log_close(s->log);
    start(s);
    wait_ready(s);
    a = get(s, "/v1/profiles/user:42");
    expect_fact(&a, "events", "4");
    answer_free(&a);
}

/* A partition's place on the log is looked for on its follower's thread: until then /readyz has nothing to say of it.
 */
static void expect_fault(struct shop *s, const char *words)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    for (;;) {
        struct answer a = request(s, "GET", NULL, "/readyz", NULL);
        if (str_is(text_at(&a, "code"), "unavailable")) {
            assert_non_null(strstr(a.body, words));
            expect_status(&a, 503, "unavailable");
            return;
        }
        expect_status(&a, 503, "not_yet");
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

/* The log under a state was replaced: the partition stops and says so, the others go on. */
static void test_log_loss(void **state)
{
    struct shop *s = *state;
    char path[64];

    wait_ready(s);
    put(s, page("42", "https://shop.example/", T0));
    put(s, page("42", "https://shop.example/", T0 + 1));
    uint32_t lost = s->partition;
    struct answer a = get_after(s, "/v1/profiles/user:42");
    expect_status(&a, 200, NULL);
    stop(s);
    remove_folder(s->log_path);
    start(s);
    expect_fault(s, "offset 2");
    a = get(s, "/v1/profiles/user:42");
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.body, "offset 2"));
    expect_status(&a, 503, "not_yet");
    for (int i = 0; i < 20; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        if (event_log_partition(str_of(user), PARTITIONS) == lost)
            continue;
        put(s, page(user, "https://shop.example/", T0));
        snprintf(path, sizeof path, "/v1/profiles/%s%s", "user:", user);
        a = get_after(s, path);
        expect_status(&a, 200, NULL);
    }
    stop_expecting(s, false);
    s->profiler = NULL;
}

/* A log that was made anew and has grown past the place of the state is told by the record that was folded last. */
static void test_other_log(void **state)
{
    struct shop *s = *state;
    struct err e = {0};

    wait_ready(s);
    put(s, page("42", "https://shop.example/", T0));
    struct answer a = get_after(s, "/v1/profiles/user:42");
    expect_status(&a, 200, NULL);
    stop(s);
    remove_folder(s->log_path);
    const struct event_log_options o = {.path = s->log_path, .partitions = PARTITIONS};
    assert_int_equal(event_log_open_local(&o, &s->log, &e), 0);
    for (int i = 0; i < 3; i++)
        put(s, page("42", "https://shop.example/other", T0 + i));
    event_log_close(s->log);
    start(s);
    expect_fault(s, "the log was replaced");
    expect_get(s, "/v1/profiles/user:42", 503, "not_yet");
    stop_expecting(s, false);
    s->profiler = NULL;
}

/* Two profilers never share a state; the second says why and harms nothing. */
static void test_second_profiler(void **state)
{
    struct shop *s = *state;
    struct profiler *second = NULL;
    struct err e = {0};

    wait_ready(s);
    assert_true(profiler_start(s->conf, s->log, s->stats, &second, &e) < 0);
    assert_null(second);
    assert_true(strlen(e.text) > 10);
    put(s, page("42", "https://shop.example/", T0));
    struct answer a = get_after(s, "/v1/profiles/user:42");
    expect_status(&a, 200, NULL);
}

/* Questions that wait when the end comes are answered. */
static void test_stop_answers(void **state)
{
    struct shop *s = *state;
    struct answer a = {0};

    wait_ready(s);
    int fd = send_request(s, "GET", "Bearer tk_all", "/v1/profiles/user:x?after=0:99999&wait=10s", NULL);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    for (double waiting = 0; waiting < 1;) {
        struct answer m = get(s, "/metrics");
        waiting = metric(m.body, "waymark_lookups_waiting");
        answer_free(&m);
        assert_true(clock_monotonic() < until);
    }
    int64_t begin = clock_monotonic();
    stop(s);
    assert_true(clock_monotonic() - begin < 9000);
    s->profiler = NULL;
    read_answer(fd, &a);
    expect_status(&a, 503, "not_yet");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metrics),  TEST(test_metrics_elsewhere), TEST(test_second_profiler), TEST(test_restart),
        TEST(test_log_loss), TEST(test_other_log),         TEST(test_stop_answers),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
