/* A profiler on a real log in a temporary folder, and questions to it over a raw socket. For the tests of the API. */
#ifndef WAYMARK_TESTS_PROFILER_SHOP_H
#define WAYMARK_TESTS_PROFILER_SHOP_H

#include <arpa/inet.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/event_log.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/profiler.h"
#include "proto/codec.h"

#define T0 INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define PARTITIONS 4
#define PATIENCE_MS 30000

/* --- an instance ---------------------------------------------------------------------------------------------- */

struct shop {
    char dir[64];
    char data[128], log_path[160];
    const char *extra;   /* lines of the configuration's profiler, or NULL */
    unsigned partitions; /* 0: PARTITIONS */
    struct conf *conf;
    struct event_log *log;
    struct stats *stats;
    struct profiler *profiler;
    uint16_t port;
    unsigned sent;      /* numbers message ids */
    uint32_t partition; /* of the last event, */
    int64_t offset;     /* and its offset there */
};

static inline void hex_of(const char *token, char out[65])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(hash, (const unsigned char *)token, strlen(token));
    sodium_bin2hex(out, 65, hash, sizeof hash);
}

static inline unsigned partitions_of(const struct shop *s)
{
    return s->partitions ? s->partitions : PARTITIONS;
}

static inline void load_conf(struct shop *s)
{
    char text[2048], all[65], lookup[65], admin[65], export[65];
    struct buf errors;

    hex_of("tk_all", all);
    hex_of("tk_lookup", lookup);
    hex_of("tk_admin", admin);
    hex_of("tk_export", export);
    snprintf(text, sizeof text,
             "data: %s\npartitions: %u\ncurrency: GBP\ntimezone: UTC\n"
             "profiler:\n  listen: 127.0.0.1:0\n  session_gap: 30m\n%s  tokens:\n"
             "    - {name: all, sha256: %s, scopes: [lookup, pii, audience, export, admin]}\n"
             "    - {name: lookup, sha256: %s, scopes: [lookup]}\n"
             "    - {name: admin, sha256: %s, scopes: [admin]}\n"
             "    - {name: export, sha256: %s, scopes: [export]}\n",
             s->data, partitions_of(s), s->extra ? s->extra : "", all, lookup, admin, export);
    buf_init(&errors, 1 << 16);
    s->conf = conf_parse("test.yaml", str_of(text), &errors);
    if (!s->conf)
        print_error("%.*s\n", STR_ARG(buf_str(&errors)));
    buf_deinit(&errors);
    assert_non_null(s->conf);
}

static inline void start(struct shop *s)
{
    struct err e = {0};

    mkdir(s->data, 0700);
    load_conf(s);
    const struct event_log_options o = {.path = s->log_path, .partitions = partitions_of(s)};
    if (event_log_open_local(&o, &s->log, &e) != 0)
        fail_msg("log: %s", e.text);
    s->stats = stats_new();
    if (profiler_start(s->conf, s->log, s->stats, &s->profiler, &e) != 0)
        fail_msg("profiler: %s", e.text);
    s->port = profiler_port(s->profiler);
}

static inline void stop_expecting(struct shop *s, bool whole)
{
    int r = profiler_stop(s->profiler, PATIENCE_MS);

    assert_int_equal(r == 0, whole);
    event_log_close(s->log);
    stats_free(s->stats);
    conf_free(s->conf);
}

static inline void stop(struct shop *s)
{
    stop_expecting(s, true);
}

static inline void make(struct shop *s)
{
    memset(s, 0, sizeof *s);
    strcpy(s->dir, "/tmp/waymark-profiler-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->data, sizeof s->data, "%s/data", s->dir);
    snprintf(s->log_path, sizeof s->log_path, "%s/log", s->data);
}

static inline int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline void remove_folder(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- events --------------------------------------------------------------------------------------------------- */

static inline struct event track(const char *user, const char *name, int64_t time)
{
    return (struct event){.type = EVENT_TRACK,
                          .trust = TRUST_BEACON,
                          .source = STR_LIT("web"),
                          .name = str_of(name),
                          .user_id = str_of(user),
                          .time = time,
                          .received = T0,
                          .original_time = TIME_NONE,
                          .sent = TIME_NONE};
}

static inline struct event page(const char *user, const char *url, int64_t time)
{
    struct event e = track(user, NULL, time);

    e.type = EVENT_PAGE;
    e.url = str_of(url);
    return e;
}

/* Appends and waits until it is durable; a message id is given where there is none. */
static inline void put(struct shop *s, struct event e)
{
    char mid[32];
    struct buf b;

    snprintf(mid, sizeof mid, "m%u", ++s->sent);
    if (!str_has(e.message_id))
        e.message_id = str_of(mid);
    e.position = s->sent;
    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(&e, &b));
    const struct log_record r = {
        .kind = LOG_KIND_EVENT, .key = event_log_key(&e), .value = buf_str(&b), .time = clock_now()};
    assert_int_equal(event_log_append_wait(s->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, &s->partition, &s->offset),
                     LOG_OK);
    buf_deinit(&b);
}

static inline void put_order(struct shop *s, const char *user, const char *order, enum order_status status,
                             int64_t time)
{
    struct event e = track(user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.source = STR_LIT("backend");
    e.order = (struct order_fields){
        .order_id = str_of(order), .status = status, .total = {true, 120500000}, .currency = STR_LIT("GBP")};
    e.place = (struct place){.city = STR_LIT("Leeds")};
    put(s, e);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

struct answer {
    int status;
    char *text; /* head and body */
    char *body;
    size_t body_n;
    struct json_parser *parser;
    const struct json *json; /* NULL when the body is none */
};

static inline void answer_free(struct answer *a)
{
    json_parser_free(a->parser);
    free(a->text);
    memset(a, 0, sizeof *a);
}

static inline int connect_to(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct timeval patience = {PATIENCE_MS / 1000, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static inline void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = send(fd, p, n, MSG_NOSIGNAL);
        assert_true(r > 0);
        p += r;
        n -= (size_t)r;
    }
}

static inline void read_answer(int fd, struct answer *a)
{
    size_t cap = 1 << 16, n = 0;
    struct err e = {0};

    a->text = malloc(cap);
    for (;;) {
        if (n + 1 + JSON_PADDING >= cap)
            a->text = realloc(a->text, cap *= 2);
        ssize_t r = recv(fd, a->text + n, cap - n - 1 - JSON_PADDING, 0);
        if (r <= 0)
            break;
        n += (size_t)r;
    }
    close(fd);
    memset(a->text + n, 0, 1 + JSON_PADDING);
    assert_int_equal(sscanf(a->text, "HTTP/1.1 %d", &a->status), 1);
    a->body = strstr(a->text, "\r\n\r\n");
    assert_non_null(a->body);
    a->body += 4;
    a->body_n = n - (size_t)(a->body - a->text);
    a->parser = json_parser_new();
    if (json_parse(a->parser, a->body, a->body_n, &a->json, &e) != JSON_OK)
        a->json = NULL;
}

static inline int send_request(struct shop *s, const char *method, const char *token, const char *path,
                               const char *body)
{
    char *request;
    int fd = connect_to(s->port);
    int n = asprintf(&request, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s", method, path,
                     token ? "Authorization: " : "", token ? token : "", token ? "\r\n" : "");

    assert_true(n > 0);
    send_all(fd, request, (size_t)n);
    free(request);
    n = body ? asprintf(&request, "Content-Length: %zu\r\n\r\n%s", strlen(body), body) : asprintf(&request, "\r\n");
    assert_true(n > 0);
    send_all(fd, request, (size_t)n);
    free(request);
    return fd;
}

static inline struct answer request(struct shop *s, const char *method, const char *token, const char *path,
                                    const char *body)
{
    struct answer a = {0};

    read_answer(send_request(s, method, token, path, body), &a);
    return a;
}

static inline struct answer get(struct shop *s, const char *format, ...)
{
    char path[2048];
    va_list ap;

    va_start(ap, format);
    vsnprintf(path, sizeof path, format, ap);
    va_end(ap);
    return request(s, "GET", "Bearer tk_all", path, NULL);
}

/* The same after the last event that was put is folded. */
static inline struct answer get_after(struct shop *s, const char *path)
{
    return get(s, "%s%cafter=%u:%lld&wait=10s", path, strchr(path, '?') ? '&' : '?', s->partition,
               (long long)s->offset);
}

static inline struct str text_at(const struct answer *a, const char *key)
{
    const struct json *v = a->json ? json_get(a->json, key) : NULL;

    return v ? (v->type == JSON_STRING ? v->text : v->raw) : STR_NONE;
}

static inline void expect_status(struct answer *a, int status, const char *code)
{
    if (a->status != status || (code && !str_is(text_at(a, "code"), code)))
        fail_msg("got %d %s, expected %d %s", a->status, a->body, status, code ? code : "");
    answer_free(a);
}

static inline void expect_get(struct shop *s, const char *path, int status, const char *code)
{
    struct answer a = get(s, "%s", path);

    if (a.status != status)
        print_error("GET %s\n", path);
    expect_status(&a, status, code);
}

static inline void wait_ready(struct shop *s)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    for (;;) {
        struct answer a = request(s, "GET", NULL, "/readyz", NULL);
        int status = a.status;
        answer_free(&a);
        if (status == 200)
            return;
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
}

static inline void expect_fact(struct answer *a, const char *name, const char *raw)
{
    const struct json *v = json_get(json_get(a->json, "facts"), name);

    assert_non_null(v);
    if (!str_is(v->raw, raw))
        fail_msg("%s is %.*s, not %s", name, STR_ARG(v->raw), raw);
}

static inline void expect_raw(const struct json *o, const char *name, const char *raw)
{
    const struct json *v = o ? json_get(o, name) : NULL;

    if (!v || !str_is(v->raw, raw))
        fail_msg("%s is %.*s, not %s", name, v ? (int)v->raw.n : 4, v ? v->raw.p : "none", raw);
}

/* --- metrics -------------------------------------------------------------------------------------------------- */

/* The sum over the series of a name. */
static inline double metric(const char *text, const char *name)
{
    double sum = 0;
    size_t n = strlen(name);

    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) != 0 || (line[n] != '{' && line[n] != ' '))
            continue;
        const char *end = strchr(line, '\n'), *space = line;
        for (const char *p = line; p < end; p++)
            space = *p == ' ' ? p : space;
        sum += atof(space);
    }
    return sum;
}

/* A thread: puts an event once a question waits for one. */
static inline void *put_later(void *arg)
{
    struct shop *s = arg;
    int64_t until = clock_monotonic() + PATIENCE_MS;

    for (double waiting = 0; waiting < 1 && clock_monotonic() < until;) {
        struct answer a = get(s, "/metrics");
        waiting = metric(a.body, "waymark_lookups_waiting");
        answer_free(&a);
    }
    put(s, track("wait", "Late", T0));
    return NULL;
}

/* --- fixture -------------------------------------------------------------------------------------------------- */

static inline int setup(void **state)
{
    struct shop *s = calloc(1, sizeof *s);

    make(s);
    start(s);
    *state = s;
    return 0;
}

static inline int teardown(void **state)
{
    struct shop *s = *state;

    if (s->profiler)
        stop(s);
    remove_folder(s->dir);
    free(s);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
