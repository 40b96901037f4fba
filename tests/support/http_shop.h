/* A small server for the tests of HTTP: its handler's routes are the cases. Include after <cmocka.h>.
 *   /echo   the body, at once            /later  the body, from another thread
 *   /keep   kept until shop_release      /info   what the handler sees of the request
 *   /fields tries to write headers into headers */
#ifndef WAYMARK_HTTP_SHOP_H
#define WAYMARK_HTTP_SHOP_H

#include <pthread.h>

#include "common/clock.h"
#include "common/http.h"
#include "common/limits.h"

#define SHOP_KEPT 512
#define SHOP_SMALL 1000 /* greatest body under /small */

struct shop {
    struct http_server *server;
    uint16_t port;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t answerer;
    bool end;
    struct http_request *kept[SHOP_KEPT], *later[SHOP_KEPT];
    size_t kept_count, later_count;
    size_t handled;   /* calls of the handler */
    size_t done[600]; /* answers by status */
    size_t done_labelled;
};

static inline size_t shop_body_limit(struct http_request *r, void *arg)
{
    (void)arg;
    return str_starts(http_path(r), STR_LIT("/small")) ? SHOP_SMALL : LIMIT_BODY_BEACON;
}

static inline void shop_answer(struct http_request *r, unsigned status, struct str body)
{
    struct http_answer a = {.status = status, .body = body};

    http_answer_send(r, &a);
}

static inline void shop_echo(struct http_request *r)
{
    size_t n;
    char *p = http_body(r, &n);
    int sum = 0;

    for (size_t i = 0; i < 64; i++) /* the promise of JSON_PADDING; a sanitizer looks */
        sum += p[n + i] == 0;
    assert(sum <= 64);
    shop_answer(r, 200, (struct str){p, n});
}

static inline void shop_info(struct http_request *r)
{
    struct buf b;
    struct str name, value;
    struct http_answer a = {.status = 200, .content_type = "text/plain", .body_buf = &b};

    buf_init(&b, 1 << 20);
    buf_addf(&b, "%.*s %.*s peer=%.*s x=%.*s fresh=%d", STR_ARG(http_method(r)), STR_ARG(http_path(r)),
             STR_ARG(http_peer(r)), STR_ARG(http_header(r, "x-TEST")),
             clock_now() - http_received_at(r) < 60000 && clock_now() >= http_received_at(r));
    for (size_t i = 0; i < http_query_count(r); i++) {
        http_query_at(r, i, &name, &value);
        buf_add_text(&b, " [");
        buf_add_str(&b, name);
        buf_add_char(&b, '=');
        buf_add_str(&b, value);
        buf_add_char(&b, ']');
    }
    http_answer_send(r, &a);
    assert(b.p == NULL && b.n == 0);
}

static inline void shop_fields(struct http_request *r)
{
    const struct http_field fields[] = {{"X-Good", "1"},
                                        {"X-Bad", "1\r\nX-Injected: yes"},
                                        {"X-Feed", "1\nX-Injected: yes"},
                                        {"X-Name: a\r\nX-Injected", "yes"},
                                        {"X-Last", "2"}};
    struct http_answer a = {.status = 200, .fields = fields, .field_count = 5, .body = STR_LIT("{}")};

    http_answer_send(r, &a);
}

static inline void shop_push(struct shop *s, struct http_request **list, size_t *count, struct http_request *r)
{
    pthread_mutex_lock(&s->lock);
    assert(*count < SHOP_KEPT);
    list[(*count)++] = r;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static inline void shop_handle(struct http_request *r, void *arg)
{
    struct shop *s = arg;
    struct str path = http_path(r);

    pthread_mutex_lock(&s->lock);
    s->handled++;
    pthread_mutex_unlock(&s->lock);
    http_set_context(r, s);
    assert(http_context(r) == s);
    http_set_route(r, "shop");
    if (str_is(path, "/keep"))
        shop_push(s, s->kept, &s->kept_count, r);
    else if (str_is(path, "/later"))
        shop_push(s, s->later, &s->later_count, r);
    else if (str_is(path, "/fields"))
        shop_fields(r);
    else if (str_is(path, "/empty"))
        shop_answer(r, 204, STR_NONE);
    else if (str_starts(path, STR_LIT("/info")))
        shop_info(r);
    else
        shop_echo(r);
}

static inline void shop_done(const char *label, unsigned status, double seconds, void *arg)
{
    struct shop *s = arg;

    assert(status < 600 && seconds >= 0 && seconds < 300);
    pthread_mutex_lock(&s->lock);
    s->done[status]++;
    s->done_labelled += strcmp(label, "shop") == 0;
    pthread_mutex_unlock(&s->lock);
}

static inline size_t shop_common(struct http_request *r, struct http_field *out, size_t max, void *arg)
{
    (void)arg;
    assert(max > 0);
    if (!str_has(http_header(r, "Origin")))
        return 0;
    out[0] = (struct http_field){"Access-Control-Allow-Origin", "*"};
    return 1;
}

/* Answers the requests of /later, the newest first. */
static inline void *shop_answerer(void *arg)
{
    struct shop *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->end || s->later_count > 0) {
        if (s->later_count == 0) {
            pthread_cond_wait(&s->changed, &s->lock);
            continue;
        }
        struct http_request *r = s->later[--s->later_count];
        pthread_mutex_unlock(&s->lock);
        shop_echo(r);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static inline void shop_start(struct shop *s, int64_t head_ms, int64_t body_ms, int64_t idle_ms)
{
    struct http_options o = {.listen = "127.0.0.1:0",
                             .threads = 2,
                             .head_ms = head_ms,
                             .body_ms = body_ms,
                             .idle_ms = idle_ms,
                             .body_limit = shop_body_limit,
                             .handle = shop_handle,
                             .done = shop_done,
                             .common_fields = shop_common,
                             .arg = s};
    struct err e = {0};

    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    assert_int_equal(pthread_create(&s->answerer, NULL, shop_answerer, s), 0);
    assert_int_equal(http_server_start(&o, &s->server, &e), 0);
    s->port = http_server_port(s->server);
    assert_true(s->port > 0);
}

static inline void shop_stop(struct shop *s, int64_t ms)
{
    http_server_stop(s->server, ms);
    pthread_mutex_lock(&s->lock);
    s->end = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->answerer, NULL);
}

/* Waits for a count under the lock to reach `want`. */
static inline void shop_wait(struct shop *s, const size_t *count, size_t want)
{
    int64_t until = raw_now() + RAW_LIMIT_MS;
    struct timespec pause = {.tv_nsec = 1000000};

    for (;;) {
        pthread_mutex_lock(&s->lock);
        bool there = *count >= want;
        pthread_mutex_unlock(&s->lock);
        if (there)
            return;
        assert_true(raw_now() < until);
        nanosleep(&pause, NULL);
    }
}

/* Answers all kept requests from this thread. */
static inline void shop_release(struct shop *s)
{
    for (;;) {
        pthread_mutex_lock(&s->lock);
        struct http_request *r = s->kept_count > 0 ? s->kept[--s->kept_count] : NULL;
        pthread_mutex_unlock(&s->lock);
        if (!r)
            return;
        shop_echo(r);
    }
}

#endif
