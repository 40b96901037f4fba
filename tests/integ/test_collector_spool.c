/* The collector over an event log that is away and a real spool: what clients and operators are told. I1, I3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/limits.h"
#include "tests/support/fake_log.h"
#include "tests/support/log_bytes.h"
#include "tests/support/raw_http.h"
#include "tests/support/shim_log.h"

#define WAIT_MS 20000

struct fixture {
    char folder[64];
    struct conf *conf;
    struct stats *stats;
    struct fake_log *log;
    struct shim_log *spool;
    struct collector *collector;
};

static void start(struct fixture *f)
{
    const struct event_log_options o = {.path = f->folder, .partitions = 1, .retain_ms = 1, .limit_bytes = 64 * MIB};
    struct event_log *inner;
    struct err e = {0};

    f->stats = stats_new();
    if (event_log_open_local(&o, &inner, &e) != 0)
        fail_msg("%s", e.text);
    f->spool = shim_new(inner);
    if (collector_start(f->conf, &f->log->base, &f->spool->base, f->stats, &f->collector, &e) != 0)
        fail_msg("%s", e.text);
}

static void stop(struct fixture *f, int64_t ms)
{
    if (!f->collector)
        return;
    collector_stop(f->collector, ms);
    f->collector = NULL;
    event_log_close(&f->spool->base);
    stats_free(f->stats);
}

static int setup(void **state)
{
    char config[256];
    struct fixture *f = calloc(1, sizeof *f);
    struct buf errors;

    strcpy(f->folder, "/tmp/waymark-spool-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    buf_init(&errors, 1 << 16);
    snprintf(config, sizeof config,
             "keys: %s/keys\n"
             "collector:\n  listen: 127.0.0.1:0\n  keys:\n"
             "    - {name: web, source: web, kind: beacon, key: wk_1}\n",
             f->folder);
    f->conf = conf_parse("waymark.yaml", str_of(config), &errors);
    if (!f->conf)
        fail_msg("%.*s", (int)errors.n, errors.p);
    buf_deinit(&errors);
    f->log = fake_new();
    f->log->uncounted = true; /* the values are events */
    start(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    stop(f, 1000);
    event_log_close(&f->log->base);
    conf_free(f->conf);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* --- the client --- */

static int begin_ask(const struct fixture *f, const char *path, const char *body)
{
    int fd = raw_connect(collector_port(f->collector));

    assert_true(fd >= 0);
    assert_true(raw_sendf(fd,
                          "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Write-Key: wk_1\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          *body ? "POST" : "GET", path, strlen(body), body));
    return fd;
}

static struct raw_reply ask(const struct fixture *f, const char *path, const char *body)
{
    int fd = begin_ask(f, path, body);
    struct raw_reply r;

    raw_reply(fd, &r, false);
    close(fd);
    return r;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in %s", part, text);
}

/* Sends a batch, and asserts status and X-Waymark-Ack (NULL: none). */
static void send_batch(const struct fixture *f, const char *body, int status, const char *ack, bool position)
{
    struct raw_reply r = ask(f, "/v1/batch", body);
    const char *got = raw_field(&r, "X-Waymark-Ack");

    assert_int_equal(r.status, status);
    if (ack)
        assert_string_equal(got ? got : "none", ack);
    else
        assert_null(got);
    assert_int_equal(raw_field(&r, "X-Waymark-Position") != NULL, position);
    raw_free(&r);
}

static void assert_ready(const struct fixture *f, int status, const char *part)
{
    struct raw_reply r = ask(f, "/readyz", "");

    if (r.status != status)
        fail_msg("/readyz: %d %s", r.status, r.body);
    assert_has(r.body, part);
    raw_free(&r);
}

static double figure(const struct fixture *f, const char *name)
{
    struct raw_reply r = ask(f, "/metrics", "");
    double v = -1;

    for (const char *line = r.body; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL)
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
            v = atof(line + strlen(name));
    raw_free(&r);
    return v;
}

static void wait_figure(const struct fixture *f, const char *name, double v)
{
    int64_t until = clock_monotonic() + WAIT_MS;

    while (figure(f, name) != v) {
        if (clock_monotonic() > until)
            fail_msg("%s is %g, never %g", name, figure(f, name), v);
        usleep(2000);
    }
}

/* I3 */
static void assert_conserved(const struct fixture *f, double accepted, double unavailable)
{
    double received = figure(f, "waymark_events_received_total");

    assert_true(figure(f, "waymark_events_accepted_total") == accepted);
    assert_true(figure(f, "waymark_events_refused_total{reason=\"unavailable\"}") == unavailable);
    assert_true(received == accepted + unavailable + figure(f, "waymark_events_refused_total{reason=\"not_object\"}") +
                                figure(f, "waymark_events_in_flight"));
}

#define GOOD "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}"

#define FATE(...) ((struct fake_fate){__VA_ARGS__})

/* --- tests --- */

static void with_the_log_at_hand_all_is_direct(void **state)
{
    const struct fixture *f = *state;

    send_batch(f, "[" GOOD "," GOOD ",7]", 200, "durable", true);
    assert_ready(f, 200, "{\"ready\":true,\"log\":\"direct\",\"spool\":{\"bytes\":0,\"records\":0,\"oldest_ms\":0}}");
    assert_conserved(f, 2, 0);
    assert_true(figure(f, "waymark_spool_circuit_open") == 0);
}

static void while_the_log_is_away_all_is_spooled(void **state)
{
    struct fixture *f = *state;

    fake_set(f->log, FATE(.refuse = LOG_UNREACHABLE));
    send_batch(f, "[" GOOD "," GOOD ",7]", 200, "spooled", false);
    assert_ready(f, 200, "\"log\":\"spool\"");
    assert_ready(f, 200, "\"records\":3");
    assert_true(figure(f, "waymark_spool_records") == 3);
    assert_true(figure(f, "waymark_spool_circuit_open") == 1);
    struct raw_reply r = ask(f, "/v1/pixel.gif?writeKey=wk_1&anonymousId=a", "");
    assert_int_equal(r.status, 200);
    assert_string_equal(raw_field(&r, "X-Waymark-Ack"), "spooled");
    raw_free(&r);
    assert_conserved(f, 3, 0);

    fake_set(f->log, FATE(.report = LOG_OK));
    wait_figure(f, "waymark_spool_records", 0);
    assert_ready(f, 200, "\"log\":\"direct\"");
    assert_true(figure(f, "waymark_log_appends_total{by=\"spool\"}") == 4);
    assert_true(figure(f, "waymark_spool_forwarded_total") == 4);
    send_batch(f, "[" GOOD "]", 200, "durable", true);
}

/* Neither what was said of a person nor their account, once Kafka has it. */
static void what_is_on_the_log_leaves_the_disk(void **state)
{
    struct fixture *f = *state;
    char text[33], body[256];
    int64_t until;

    random_text(text);
    for (char *p = text; *p; p++)
        *p = *p == '+' || *p == '-' ? 'x' : *p;
    fake_set(f->log, FATE(.refuse = LOG_UNREACHABLE));
    snprintf(body, sizeof body, "[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"%s\"},7]", text);
    for (int i = 0; i < 20; i++)
        send_batch(f, body, 200, "spooled", false);
    assert_true(files_with(f->folder, "", text) > 0);
    fake_set(f->log, FATE(.report = LOG_OK));
    wait_figure(f, "waymark_spool_records", 0);
    until = clock_monotonic() + 10000;
    while (files_with(f->folder, "", text) > 0 && clock_monotonic() < until)
        usleep(5000);
    assert_int_equal(files_with(f->folder, "", text), 0);
    send_batch(f, "[" GOOD "]", 200, "durable", true);
}

static void a_silent_log_costs_a_client_less_than_two_seconds(void **state)
{
    struct fixture *f = *state;
    int64_t begun = clock_monotonic();

    fake_set(f->log, FATE(.delay = FAKE_NEVER));
    send_batch(f, "[" GOOD "]", 200, "spooled", false);
    assert_true(clock_monotonic() - begun < 2 * LIMIT_ANSWER_MS); /* the machine may be busy */
    assert_conserved(f, 1, 0);
}

static void one_spooled_record_makes_the_request_spooled(void **state)
{
    struct fixture *f = *state;
    char body[4096];

    f->log->largest = 600;
    f->log->largest_reported = true;
    snprintf(body, sizeof body,
             "[" GOOD ",{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"properties\":{\"x\":\"%01000d\"}}]", 7);
    send_batch(f, body, 200, "spooled", false);
    assert_conserved(f, 2, 0);
    send_batch(f, "[" GOOD "]", 200, "durable", true);
    send_batch(f, "[7]", 200, "durable", false); /* a bad one alone has no position */
    f->log->largest = 10;
    send_batch(f, "[7]", 200, "spooled", false);
}

static void when_neither_takes_it_the_client_keeps_it(void **state)
{
    struct fixture *f = *state;

    fake_set(f->log, FATE(.refuse = LOG_UNREACHABLE));
    f->spool->refuse = LOG_DISK_FULL;
    for (int i = 0; i < 3; i++) {
        struct raw_reply r = ask(f, "/v1/batch", "[" GOOD "," GOOD "]");
        assert_int_equal(r.status, 503);
        assert_string_equal(raw_field(&r, "Retry-After"), "5");
        assert_has(r.body, "\"code\":\"unavailable\"");
        assert_null(raw_field(&r, "X-Waymark-Ack"));
        raw_free(&r);
    }
    assert_ready(f, 503, "neither event log nor spool");
    assert_ready(f, 503, log_status_text(LOG_UNREACHABLE));
    assert_ready(f, 503, log_status_text(LOG_DISK_FULL));
    assert_conserved(f, 0, 6);
    f->spool->refuse = LOG_OK;
    assert_ready(f, 200, "\"log\":\"spool\"");
    send_batch(f, "[" GOOD "]", 200, "spooled", false);
    assert_conserved(f, 1, 6);
}

static void enqueued_is_said_at_once_and_kept_at_the_stop(void **state)
{
    struct fixture *f = *state;

    stop(f, 1000);
    f->conf->collector.ack_durable = false;
    fake_set(f->log, FATE(.delay = FAKE_NEVER));
    start(f);
    send_batch(f, "[" GOOD "]", 200, "enqueued", false);
    stop(f, 3000);
    fake_set(f->log, FATE(.refuse = LOG_UNREACHABLE));
    start(f);
    assert_ready(f, 200, "\"records\":1");
}

static void a_stop_answers_and_keeps_what_is_under_way(void **state)
{
    struct fixture *f = *state;
    int fds[20];

    fake_set(f->log, FATE(.delay = FAKE_NEVER));
    for (int i = 0; i < 20; i++)
        fds[i] = begin_ask(f, "/v1/batch", "[" GOOD "]");
    int64_t until = clock_monotonic() + WAIT_MS;
    while (fake_tried(f->log, LOG_BY_COLLECTOR) < 20 && clock_monotonic() < until)
        usleep(500);
    int64_t begun = clock_monotonic();
    stop(f, 5000);
    assert_true(clock_monotonic() - begun < 8000);
    for (int i = 0; i < 20; i++) {
        struct raw_reply r;
        raw_reply(fds[i], &r, false);
        assert_int_equal(r.status, 200);
        assert_string_equal(raw_field(&r, "X-Waymark-Ack"), "spooled");
        raw_free(&r);
        close(fds[i]);
    }
    fake_set(f->log, FATE(.refuse = LOG_UNREACHABLE));
    start(f);
    assert_ready(f, 200, "\"records\":20");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(with_the_log_at_hand_all_is_direct),
        TEST(while_the_log_is_away_all_is_spooled),
        TEST(what_is_on_the_log_leaves_the_disk),
        TEST(a_silent_log_costs_a_client_less_than_two_seconds),
        TEST(one_spooled_record_makes_the_request_spooled),
        TEST(when_neither_takes_it_the_client_keeps_it),
        TEST(enqueued_is_said_at_once_and_kept_at_the_stop),
        TEST(a_stop_answers_and_keeps_what_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
