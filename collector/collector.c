/* The collector: owns and orders the parts. Requests are handled on the pool threads of its HTTP server; the logs under
 * the sink answer them from their own. A second server of one thread stands where only operators reach it, if so
 * configured. */
#include "collector/collector.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/answer.h"
#include "collector/guard.h"
#include "collector/intake.h"
#include "collector/metrics.h"
#include "collector/origin.h"
#include "collector/routes.h"
#include "collector/sink.h"
#include "common/clock.h"
#include "common/disk.h"
#include "common/http.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/tls.h"

struct collector {
    const struct conf *conf;
    struct event_log *log, *spool; /* spool NULL: none */
    struct stats *stats;
    struct metrics *metrics;
    struct disk_gauges disk;
    struct sink *sink;
    struct guard *guard;
    struct intake *intake;
    struct http_server *server;
    struct http_server *metrics_server; /* NULL: none */
    bool metrics_here;                  /* on the own port */
    struct tls *tls;                    /* NULL: plain HTTP */
    atomic_bool stopping;
};

static void answer_text(struct http_request *r, const struct answer_fields *f, const char *text)
{
    struct buf body;

    buf_init(&body, KIB);
    buf_add_text(&body, text);
    answer_send(r, f, 200, NULL, &body);
    buf_deinit(&body);
}

static void write_ready(struct buf *out, const struct sink_figures *f, bool spool)
{
    buf_add_text(out, "{\"ready\":true");
    if (spool)
        buf_addf(out,
                 ",\"log\":\"%s\",\"spool\":{\"bytes\":%" PRIu64 ",\"records\":%" PRIu64 ",\"oldest_ms\":%" PRId64 "}",
                 f->open ? "spool" : "direct", f->bytes, f->records, f->oldest_ms);
    buf_add_char(out, '}');
}

static void answer_not_ready(struct collector *c, struct http_request *r, const struct answer_fields *f,
                             enum log_status status, const struct sink_figures *figures)
{
    char text[256];

    if (!c->spool || status == LOG_STOPPED)
        snprintf(text, sizeof text, "%s", log_status_text(status));
    else if (!figures->open)
        snprintf(text, sizeof text, "neither event log nor spool takes events: %s", log_status_text(status));
    else
        snprintf(text, sizeof text, "neither event log nor spool takes events: %s; the spool: %s",
                 log_status_text(figures->last_why), log_status_text(status));
    answer_error(r, f, 503, "unavailable", text, 1);
}

/* Ready means: an event that came now would be made durable. */
static void answer_ready(struct collector *c, struct http_request *r, const struct answer_fields *f)
{
    struct sink_figures figures;
    struct buf body;

    sink_figures(c->sink, &figures);
    enum log_status status = atomic_load(&c->stopping) ? LOG_STOPPED : figures.ready;
    if (status != LOG_OK) {
        answer_not_ready(c, r, f, status, &figures);
        return;
    }
    buf_init(&body, KIB);
    write_ready(&body, &figures, c->spool != NULL);
    answer_send(r, f, 200, NULL, &body);
    buf_deinit(&body);
}

static void answer_metrics(struct collector *c, struct http_request *r, const struct answer_fields *f)
{
    struct buf body;

    buf_init(&body, LIMIT_METRICS_BYTES);
    stats_write(c->stats, &body);
    if (body.failed)
        answer_error(r, f, 503, "unavailable", "out of memory", 1);
    else
        answer_send(r, f, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    buf_deinit(&body);
}

static void answer_not_allowed(struct http_request *r, const struct answer_fields *f, const struct route *route)
{
    struct answer_fields fields = *f;

    answer_add(&fields, "Allow", route_methods(route));
    answer_error(r, &fields, 405, "method_not_allowed", "this route does not take this method", 0);
}

static void dispatch(struct collector *c, struct http_request *r, const struct route *route,
                     const struct answer_fields *f)
{
    switch (route->kind) {
    case ROUTE_EVENTS:
    case ROUTE_ORDERS:
        intake_post(c->intake, r, route, f);
        break;
    case ROUTE_PIXEL:
        intake_pixel(c->intake, r, f);
        break;
    case ROUTE_DISCARD:
        answer_text(r, f, "{\"success\":true}");
        break;
    case ROUTE_LIVE:
        answer_text(r, f, "{\"live\":true}");
        break;
    case ROUTE_READY:
        answer_ready(c, r, f);
        break;
    case ROUTE_METRICS:
        answer_metrics(c, r, f);
        break;
    }
}

static void handle(struct http_request *r, void *arg)
{
    struct collector *c = arg;
    const struct route *route = route_find(http_path(r));
    struct answer_fields f;

    if (route && route->kind == ROUTE_METRICS && !c->metrics_here)
        route = NULL;
    if (route)
        http_set_route(r, route->label);
    answer_begin(&f, r);
    if (str_is(http_method(r), "OPTIONS"))
        answer_text(r, &f, "");
    else if (!route)
        answer_error(r, &f, 404, "not_found", "there is no such route", 0);
    else if (!route_allows(route, http_method(r)))
        answer_not_allowed(r, &f, route);
    else
        dispatch(c, r, route, &f);
}

/* The server for operators: health and figures only. */
static void handle_metrics(struct http_request *r, void *arg)
{
    struct collector *c = arg;
    const struct route *route = route_find(http_path(r));
    struct answer_fields f = {.n = 0};

    if (!route || (route->kind != ROUTE_METRICS && route->kind != ROUTE_LIVE && route->kind != ROUTE_READY))
        answer_error(r, &f, 404, "not_found", "there is no such route", 0);
    else if (!route_allows(route, http_method(r)))
        answer_not_allowed(r, &f, route);
    else if (str_is(http_method(r), "OPTIONS"))
        answer_text(r, &f, "");
    else
        dispatch(c, r, route, &f);
}

static size_t body_limit(struct http_request *r, void *arg)
{
    struct collector *c = arg;

    return intake_body_limit(c->intake, r);
}

static size_t no_body(struct http_request *r, void *arg)
{
    (void)r, (void)arg;
    return 0;
}

static void count_request(const char *route, unsigned status, double seconds, void *arg)
{
    struct collector *c = arg;

    metrics_request(c->metrics, route, status, seconds);
}

static size_t common_fields(struct http_request *r, struct http_field *out, size_t max, void *arg)
{
    struct answer_fields f;
    size_t n;

    (void)arg;
    answer_begin(&f, r);
    for (n = 0; n < f.n && n < max; n++)
        out[n] = f.at[n];
    return n;
}

static int start_servers(struct collector *c, struct err *e)
{
    const struct conf_collector *conf = &c->conf->collector;
    int r = tls_start(&conf->tls, "collector.tls", c->stats, &c->tls, e);
    const struct http_options metrics_options = {
        .listen = conf->metrics_listen, .threads = 1, .body_limit = no_body, .handle = handle_metrics, .arg = c};
    const struct http_options options = {.listen = conf->listen,
                                         .threads = conf->threads,
                                         .tls = c->tls,
                                         .body_limit = body_limit,
                                         .handle = handle,
                                         .done = count_request,
                                         .common_fields = common_fields,
                                         .arg = c};

    c->metrics_here = !conf->metrics_listen && origin_is_loopback(conf->listen);
    if (r == 0 && conf->metrics_listen) {
        r = http_server_start(&metrics_options, &c->metrics_server, e);
        if (r != 0)
            err_prefix(e, "collector.metrics_listen");
    }
    if (r == 0) {
        r = http_server_start(&options, &c->server, e);
        if (r != 0)
            err_prefix(e, "collector.listen");
    }
    return r;
}

static int64_t time_left(int64_t until)
{
    int64_t left = until - clock_monotonic();

    return left > 0 ? left : 0;
}

/* In the order of the data's path: no new requests, answers for those that are here, the servers' threads, and then
 * what nobody waits for any more. Also of what is half built. */
static void stop_parts(struct collector *c, int64_t ms)
{
    int64_t until = clock_monotonic() + ms;

    atomic_store(&c->stopping, true);
    if (c->server)
        http_server_quiesce(c->server);
    if (c->intake)
        intake_stop(c->intake, ms);
    http_server_stop(c->server, time_left(until));
    http_server_stop(c->metrics_server, 0);
    tls_stop(c->tls);
    if (c->sink)
        sink_stop(c->sink, time_left(until));
}

static void free_parts(struct collector *c)
{
    intake_free(c->intake);
    guard_free(c->guard);
    sink_free(c->sink);
    metrics_free(c->metrics);
    free(c);
}

static int start_parts(struct collector *c, struct err *e)
{
    const struct sink_options o = {.log = c->log,
                                   .spool = c->spool,
                                   .spool_bytes = c->conf->collector.spool_bytes,
                                   .patience_ms = LIMIT_PATIENCE_MS,
                                   .stats = c->stats};
    int r = sink_start(&o, &c->sink, e);

    c->disk = (struct disk_gauges){.folder = c->conf->data, .reserve = c->conf->log.reserve_bytes};
    disk_gauges_add(c->stats, &c->disk);
    if (r == 0)
        r = guard_open(c->conf, c->stats, &c->guard, e);
    if (r != 0)
        return r;
    c->metrics = metrics_new(c->stats, c->log);
    if (c->metrics)
        c->intake = intake_new(c->conf, c->sink, event_log_partitions(c->log, LOG_EVENTS), c->metrics, c->guard);
    if (c->intake)
        return start_servers(c, e);
    err_set(e, "collector: out of memory or threads");
    return -ENOMEM;
}

int collector_start(const struct conf *conf, struct event_log *log, struct event_log *spool, struct stats *stats,
                    struct collector **out, struct err *e)
{
    struct collector *c;

    if (sodium_init() < 0 || !(c = calloc(1, sizeof *c))) {
        err_set(e, "collector: out of memory or randomness");
        return -ENOMEM;
    }
    c->conf = conf;
    c->log = log;
    c->spool = spool;
    c->stats = stats;
    int r = start_parts(c, e);
    if (r != 0) {
        stop_parts(c, 0);
        free_parts(c);
        return r;
    }
    log_info("collector: listening on %s, port %u", conf->collector.listen, http_server_port(c->server));
    if (c->metrics_server)
        log_info("collector: metrics on %s, port %u", conf->collector.metrics_listen,
                 http_server_port(c->metrics_server));
    *out = c;
    return 0;
}

uint16_t collector_port(const struct collector *c)
{
    return http_server_port(c->server);
}

void collector_stop(struct collector *c, int64_t ms)
{
    uint64_t received, accepted, refused;

    if (!c)
        return;
    log_info("collector: stopping");
    stop_parts(c, ms);
    metrics_totals(c->metrics, &received, &accepted, &refused);
    assert(received == accepted + refused);
    log_info("collector: stopped; events received %" PRIu64 ", accepted %" PRIu64 ", refused %" PRIu64, received,
             accepted, refused);
    free_parts(c);
}
