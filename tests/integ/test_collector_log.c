/* The collector against an event log that misbehaves: full, failing, late, or calling back after all is over. The log
 * is one of this file's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/event_log_inside.h"

#define HELD_MAX 1024

/* --- the log --- */

struct held {
    log_done *done;
    void *arg;
};

struct fake_log {
    struct event_log base;
    enum log_status append[LOG_TOPICS]; /* what an append is told */
    enum log_status fate;               /* what a record is told */
    bool hold;                          /* tells later, by tell_held */
    struct held held[HELD_MAX];
    size_t held_count;
    int64_t offset;
    uint64_t appended;
};

static struct fake_log fake;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static enum log_status fake_append(struct event_log *seam, enum log_topic topic, enum log_by by,
                                   const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    struct fake_log *log = (struct fake_log *)seam;

    (void)by, (void)records;
    if (log->append[topic] != LOG_OK)
        return log->append[topic];
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n; i++) {
        log->appended++;
        if (!log->hold)
            done(args[i], log->fate, 0, log->fate == LOG_OK ? log->offset++ : -1);
        else if (log->held_count < HELD_MAX)
            log->held[log->held_count++] = (struct held){done, args[i]};
    }
    pthread_mutex_unlock(&lock);
    return LOG_OK;
}

static uint32_t fake_partitions(const struct event_log *log, enum log_topic topic)
{
    (void)log, (void)topic;
    return 1;
}

static uint64_t fake_appends(struct event_log *log, enum log_by by)
{
    return by == LOG_BY_COLLECTOR ? ((struct fake_log *)log)->appended : 0;
}

static enum log_status fake_ready(struct event_log *log)
{
    return ((struct fake_log *)log)->append[LOG_EVENTS];
}

static const struct event_log_ops fake_ops = {
    .append = fake_append, .partitions = fake_partitions, .appends = fake_appends, .ready = fake_ready};

static size_t held_count(void)
{
    pthread_mutex_lock(&lock);
    size_t n = fake.held_count;
    pthread_mutex_unlock(&lock);
    return n;
}

static void tell_held(enum log_status status)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < fake.held_count; i++)
        fake.held[i].done(fake.held[i].arg, status, 0, status == LOG_OK ? fake.offset++ : -1);
    fake.held_count = 0;
    pthread_mutex_unlock(&lock);
}

/* --- the collector and its client --- */

struct fixture {
    char folder[64]; /* of its keys */
    struct conf *conf;
    struct stats *stats;
    struct collector *collector;
};

static const char config[] = "keys: %s/keys\n"
                             "collector:\n"
                             "  listen: 127.0.0.1:0\n"
                             "  keys:\n"
                             "    - {name: web, source: web, kind: beacon, key: wk_1}\n";

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct buf errors;
    struct err e = {0};
    char text[512];

    strcpy(f->folder, "/tmp/waymark-log-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(text, sizeof text, config, f->folder);
    fake = (struct fake_log){.base = {&fake_ops}};
    buf_init(&errors, 1 << 16);
    f->conf = conf_parse("waymark.yaml", str_of(text), &errors);
    if (!f->conf)
        fail_msg("%.*s", (int)errors.n, errors.p);
    buf_deinit(&errors);
    f->stats = stats_new();
    if (collector_start(f->conf, &fake.base, NULL, f->stats, &f->collector, &e) != 0)
        fail_msg("%s", e.text);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int end(void **state)
{
    struct fixture *f = *state;

    collector_stop(f->collector, 0);
    tell_held(LOG_STOPPED); /* a log closes after the collector */
    stats_free(f->stats);
    conf_free(f->conf);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static int send_request(const struct fixture *f, const char *path, const char *body)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(collector_port(f->collector))};
    struct timeval limit = {20, 0};
    char head[512];
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int n =
        snprintf(head, sizeof head,
                 "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Write-Key: wk_1\r\nContent-Length: %zu\r\n\r\n",
                 *body ? "POST" : "GET", path, strlen(body));
    assert_int_equal(write(fd, head, (size_t)n), n);
    if (*body)
        assert_int_equal(write(fd, body, strlen(body)), strlen(body));
    return fd;
}

/* The whole answer until the other side closes. */
static const char *read_answer(int fd)
{
    static char text[1 << 16];
    size_t at = 0;
    ssize_t n;

    while ((n = read(fd, text + at, sizeof text - 1 - at)) > 0)
        at += (size_t)n;
    assert_int_equal(n, 0);
    text[at] = '\0';
    close(fd);
    return text;
}

static const char *ask(const struct fixture *f, const char *path, const char *body)
{
    return read_answer(send_request(f, path, body));
}

#define GOOD "{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\"}"

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in %s", part, text);
}

static void wait_held(size_t n)
{
    int64_t until = clock_monotonic() + 10000;

    while (held_count() < n) {
        assert_true(clock_monotonic() < until);
        usleep(1000);
    }
}

/* A line of the figures. */
static double figure(const struct fixture *f, const char *name)
{
    const char *text = ask(f, "/metrics", ""), *line = text;
    size_t n = strlen(name);

    while ((line = strstr(line, name)) != NULL) {
        if (line[-1] == '\n' && line[n] == ' ')
            return atof(line + n);
        line += n;
    }
    fail_msg("no figure %s", name);
    return 0;
}

static void assert_figures(const struct fixture *f, double received, double accepted, double unavailable)
{
    assert_true(figure(f, "waymark_events_received_total") == received);
    assert_true(figure(f, "waymark_events_accepted_total") == accepted);
    assert_true(figure(f, "waymark_events_refused_total{reason=\"unavailable\"}") == unavailable);
    assert_true(figure(f, "waymark_events_in_flight") ==
                received - accepted - unavailable - figure(f, "waymark_events_refused_total{reason=\"not_object\"}"));
}

/* --- tests --- */

static void an_append_that_is_refused_is_a_503(void **state)
{
    static const struct {
        enum log_status status;
        const char *retry;
    } rows[] = {{LOG_QUEUE_FULL, "Retry-After: 1"},
                {LOG_DISK_FULL, "Retry-After: 5"},
                {LOG_FAILED, "Retry-After: 5"},
                {LOG_STOPPED, "Retry-After: 2"}};
    const struct fixture *f = *state;
    double n = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fake.append[LOG_EVENTS] = rows[i].status;
        const char *got = ask(f, "/v1/batch", "[" GOOD "," GOOD ",7]");
        assert_has(got, "HTTP/1.1 503 ");
        assert_has(got, rows[i].retry);
        assert_has(got, "\"code\":\"unavailable\"");
        assert_has(got, log_status_text(rows[i].status));
        n += 3;
        assert_figures(f, n, 0, n);
        got = ask(f, "/readyz", "");
        assert_has(got, "HTTP/1.1 503 ");
        assert_has(got, log_status_text(rows[i].status));
    }
    fake.append[LOG_EVENTS] = LOG_TOO_LARGE; /* a retry would not help */
    assert_has(ask(f, "/v1/batch", "[" GOOD "]"), "HTTP/1.1 413 ");
    assert_true(figure(f, "waymark_events_refused_total{reason=\"body_too_large\"}") == 1);
    assert_true(figure(f, "waymark_events_received_total") == n + 1);
}

static void a_bad_event_that_cannot_be_kept_refuses_its_neighbours(void **state)
{
    const struct fixture *f = *state;

    fake.append[LOG_BAD] = LOG_DISK_FULL;
    assert_has(ask(f, "/v1/batch", "[" GOOD ",7]"), "HTTP/1.1 503 ");
    assert_figures(f, 2, 0, 2);
    assert_has(ask(f, "/v1/batch", "[" GOOD "]"), "HTTP/1.1 200 ");
    assert_figures(f, 3, 1, 2);
    assert_has(ask(f, "/livez", ""), "HTTP/1.1 200 ");
}

static void a_record_that_failed_refuses_its_request(void **state)
{
    const struct fixture *f = *state;

    fake.fate = LOG_FAILED;
    assert_has(ask(f, "/v1/batch", "[" GOOD "," GOOD "]"), "HTTP/1.1 503 ");
    assert_has(ask(f, "/v1/track", "{}"), "HTTP/1.1 503 "); /* a 400 would be final, and nothing was kept */
    assert_figures(f, 3, 0, 3);
}

static void the_answer_waits_for_the_log(void **state)
{
    const struct fixture *f = *state;

    fake.hold = true;
    int fd = send_request(f, "/v1/batch", "[" GOOD ",7," GOOD "]");
    wait_held(3);
    assert_true(figure(f, "waymark_events_received_total") == 3);
    assert_true(figure(f, "waymark_events_in_flight") == 3);
    tell_held(LOG_OK);
    const char *got = read_answer(fd);
    assert_has(got, "HTTP/1.1 200 ");
    assert_has(got, "X-Waymark-Position: 0:2");
    assert_has(got, "\"accepted\":2");
    assert_figures(f, 3, 2, 0);
}

static void a_late_log_is_an_outage_after_two_seconds(void **state)
{
    const struct fixture *f = *state;
    int64_t begun = clock_monotonic();

    fake.hold = true;
    int fd = send_request(f, "/v1/batch", "[" GOOD "]"), pixel = send_request(f, "/v1/pixel.gif?anonymousId=a", "");
    wait_held(2);
    const char *got = read_answer(fd);
    int64_t took = clock_monotonic() - begun;
    assert_has(got, "HTTP/1.1 503 ");
    assert_has(got, "Retry-After: 2");
    assert_true(took >= 1900 && took < 10000);
    assert_has(read_answer(pixel), "HTTP/1.1 503 ");
    assert_figures(f, 2, 0, 2);
    tell_held(LOG_OK); /* now it only frees */
    assert_figures(f, 2, 0, 2);
    fake.hold = false;
    assert_has(ask(f, "/v1/batch", "[" GOOD "]"), "HTTP/1.1 200 ");
    assert_figures(f, 3, 1, 2);
}

static void a_stop_answers_what_the_log_does_not(void **state)
{
    struct fixture *f = *state;
    int fds[20];

    fake.hold = true;
    for (int i = 0; i < 20; i++)
        fds[i] = send_request(f, "/v1/batch", "[" GOOD "]");
    wait_held(20);
    collector_stop(f->collector, 50);
    f->collector = NULL;
    for (int i = 0; i < 20; i++)
        assert_has(read_answer(fds[i]), "HTTP/1.1 503 ");
    tell_held(LOG_OK); /* after everything was freed */
}

static void *tell_soon(void *arg)
{
    (void)arg;
    usleep(20000); /* while the stop below waits; either order must do */
    tell_held(LOG_OK);
    return NULL;
}

static void a_stop_waits_for_the_log(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    int fds[20];

    fake.hold = true;
    for (int i = 0; i < 20; i++)
        fds[i] = send_request(f, "/v1/batch", "[" GOOD "]");
    wait_held(20);
    assert_int_equal(pthread_create(&thread, NULL, tell_soon, NULL), 0);
    collector_stop(f->collector, 20000);
    f->collector = NULL;
    pthread_join(thread, NULL);
    for (int i = 0; i < 20; i++)
        assert_has(read_answer(fds[i]), "HTTP/1.1 200 ");
}

static void a_second_start_on_one_port_fails_with_words(void **state)
{
    struct fixture *f = *state;
    struct collector *second = NULL;
    struct conf_collector *conf = &f->conf->collector;
    const char *before = conf->listen;
    struct stats *stats = stats_new();
    struct err e = {0};
    char listen[64];

    snprintf(listen, sizeof listen, "127.0.0.1:%u", collector_port(f->collector));
    conf->listen = listen;
    assert_true(collector_start(f->conf, &fake.base, NULL, stats, &second, &e) < 0);
    assert_null(second);
    assert_has(e.text, "collector.listen");
    conf->listen = before;
    stats_free(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_append_that_is_refused_is_a_503, begin, end),
        cmocka_unit_test_setup_teardown(a_bad_event_that_cannot_be_kept_refuses_its_neighbours, begin, end),
        cmocka_unit_test_setup_teardown(a_record_that_failed_refuses_its_request, begin, end),
        cmocka_unit_test_setup_teardown(the_answer_waits_for_the_log, begin, end),
        cmocka_unit_test_setup_teardown(a_late_log_is_an_outage_after_two_seconds, begin, end),
        cmocka_unit_test_setup_teardown(a_stop_answers_what_the_log_does_not, begin, end),
        cmocka_unit_test_setup_teardown(a_stop_waits_for_the_log, begin, end),
        cmocka_unit_test_setup_teardown(a_second_start_on_one_port_fails_with_words, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
