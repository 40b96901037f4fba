/* Routing, and the way of a request from a pool thread over the look-ups to its answer. */
#include "profiler/api.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/api_ask.h"
#include "profiler/tokens.h"

#define LIMIT_SMALL_BODY (64 * KIB)

/* --- on the way to a look-up thread --------------------------------------------------------------------------- */

static struct ask *ask_of(struct lookup_job *job)
{
    struct ask *ask = (struct ask *)job;

    assert(ask->magic == ASK_MAGIC);
    return ask;
}

static bool met(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;

    return ask->route->met(ask);
}

/* A personal route looks into one partition, but a linked device's user may be in another; who looks into several asks
 * for each. */
void ask_run_job(struct lookup_job *job, bool in_time)
{
    struct ask *ask = ask_of(job);

    ask->in_time = in_time;
    if (ask->route->personal_id && !ask_is_here(ask)) {
        return;
    } else if (!in_time && !ask->route->met) {
        many_drop(ask);
        ask_error(ask, 503, "not_yet", "what was asked for is changing, or the program ends");
    } else if (ask_resolve(ask)) {
        ask->route->run(ask);
    }
}

void ask_run(struct ask *ask)
{
    ask->job = (struct lookup_job){.run = ask_run_job};
    ask_run_job(&ask->job, true);
}

void ask_go_on(struct ask *ask)
{
    /* Another instance's needs no look-up thread. */
    if (ask->route->personal_id && api_owns(ask->api, ask->partition) == OWNERSHIP_ELSEWHERE) {
        ask_elsewhere(ask);
        return;
    }
    ask->job = (struct lookup_job){.run = ask_run_job, .urgent = ask->route->urgent};
    if (ask->route->met && ask->wait_ms > 0) {
        ask->job.met = met;
        ask->job.poll = ask->topic == LOG_BAD;
        ask->job.deadline = clock_monotonic() + ask->wait_ms;
    }
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        ask_error(ask, 503, "unavailable", "too many requests are waiting");
}

static bool check_id(struct ask *ask)
{
    if (!ask->route->personal_id)
        return true;
    if (!id_valid(ask->id)) {
        ask_error(ask, 400, "id_invalid", "an id is user:… or anon:… with 1 to %d bytes behind the colon",
                  LIMIT_ID_BYTES);
        return false;
    }
    ask->partition = id_partition(ask->id, ask->api->o.conf->partitions);
    return true;
}

/* By which the records of one request are found together, where it came in and where it was sent to. */
static void set_request_id(struct ask *ask)
{
    struct str given = http_header(ask->request, "X-Waymark-Forwarded");
    unsigned char random[AUDIT_REQUEST / 2];

    if (ask->forwarded && given.n == AUDIT_REQUEST && !memchr(given.p, '\0', given.n)) {
        memcpy(ask->request_id, given.p, given.n);
    } else if (!ask->forwarded && ask->api->o.forward && ask->route->scope) {
        randombytes_buf(random, sizeof random);
        sodium_bin2hex(ask->request_id, sizeof ask->request_id, random, sizeof random);
    }
}

static void ask_start(struct api *a, struct http_request *r, const struct route *route, const struct route_names *names)
{
    struct ask *ask = arena_zalloc(http_arena(r), sizeof *ask);

    if (!ask) {
        request_error(r, 503, "unavailable", NULL, "out of memory");
        return;
    }
    ask->magic = ASK_MAGIC;
    ask->api = a;
    ask->request = r;
    ask->route = route;
    ask->arrived = clock_monotonic();
    ask->forwarded = str_has(http_header(r, "X-Waymark-Forwarded"));
    set_request_id(ask);
    ask->id = names->id;
    ask->name = names->name;
    if (ask->forwarded && id_valid(http_query(r, "named")))
        ask->named = http_query(r, "named");
    ask->as_of = ask->from = ask->to = TIME_NONE;
    if (!ask_authorise(ask) || !check_id(ask))
        return;
    if (route->scope && !ask_read_waiting(ask))
        return;
    if (route->prepare && !route->prepare(ask))
        return;
    if (route->run && ask->after_count > 0 && !route->met)
        settle_start(ask);
    else if (route->run)
        ask_go_on(ask);
}

static void handle(struct http_request *r, void *arg)
{
    struct api *a = arg;
    struct route_names names = {STR_NONE, STR_NONE};
    const struct route *route = api_route_find(r, &names);

    if (route && route->run == run_metrics && !a->metrics_here)
        route = NULL;
    if (!route) {
        request_error(r, 404, "not_found", NULL, "there is no such route");
        return;
    }
    http_set_route(r, route->label);
    if (!api_route_takes(route, http_method(r)))
        api_refuse_method(r, route);
    else
        ask_start(a, r, route, &names);
}

static void handle_metrics_only(struct http_request *r, void *arg)
{
    struct route_names names = {STR_NONE, STR_NONE};
    const struct route *route = api_route_find(r, &names);

    if (!route || route->scope) {
        request_error(r, 404, "not_found", NULL, "there is no such route");
        return;
    }
    http_set_route(r, route->label);
    if (!api_route_takes(route, http_method(r)))
        api_refuse_method(r, route);
    else
        ask_start(arg, r, route, &names);
}

/* --- health and metrics --------------------------------------------------------------------------------------- */

bool prepare_live(struct ask *ask)
{
    http_answer_send(ask->request, &(struct http_answer){.status = 200, .body = STR_LIT("{\"live\":true}")});
    return false;
}

/* Whether an instance that has no partition can be of use: it knows of somebody who has one. */
static bool knows_others(const struct api *a)
{
    char url[PEER_URL];

    for (uint32_t p = 0; p < a->o.conf->partitions; p++)
        if (ownership_url(a->o.ownership, p, url, sizeof url))
            return true;
    return false;
}

/* Every partition of ours can be shown, or there is none and others have them. One whose configuration says other
 * topics than there are is given nothing, whatever others do. */
bool prepare_ready(struct ask *ask)
{
    struct api *a = ask->api;
    uint32_t ours = 0;
    struct err why;

    for (uint32_t p = 0; p < a->o.conf->partitions; p++) {
        enum ownership_answer owns = api_owns(a, p);
        if (owns == OWNERSHIP_ELSEWHERE)
            continue;
        ours++;
        if (followers_fault(a->o.followers, p, &why)) {
            ask_error(ask, 503, "unavailable", "%s", why.text);
            return false;
        }
        if (owns == OWNERSHIP_NOT_YET) {
            ask_not_yet(ask, p);
            return false;
        }
    }
    if (ours == 0 && event_log_ready(a->o.log) == LOG_FAILED)
        ask_error(ask, 503, "unavailable",
                  "the topics are not as the configuration says; the log of this instance tells more");
    else if (ours == 0 && !knows_others(a))
        ask_error(ask, 503, "not_yet", "no partition was given to this instance, and nobody else is known to have one");
    else
        http_answer_send(ask->request, &(struct http_answer){.status = 200, .body = STR_LIT("{\"ready\":true}")});
    return false;
}

void run_metrics(struct ask *ask)
{
    struct buf body;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    stats_write(ask->api->o.stats, &body);
    if (body.failed)
        ask_error(ask, 503, "unavailable", "out of memory");
    else
        http_answer_send(ask->request, &(struct http_answer){.status = 200,
                                                             .content_type = "text/plain; version=0.0.4; charset=utf-8",
                                                             .body_buf = &body});
    buf_deinit(&body);
}

/* --- starting and ending -------------------------------------------------------------------------------------- */

static size_t body_limit(struct http_request *r, void *arg)
{
    (void)arg;
    struct str method = http_method(r);

    if (str_is(method, "POST") && str_starts(http_path(r), STR_LIT("/v1/internal/")))
        return LIMIT_BODY_LOOKUP + LIMIT_BODY_INSIDE;
    return str_is(method, "POST") || str_is(method, "PUT") ? LIMIT_BODY_LOOKUP : LIMIT_SMALL_BODY;
}

static void done(const char *route, unsigned status, double seconds, void *arg)
{
    const struct api *a = arg;

    meter_request(a->o.meter, route, status, seconds);
}

static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
           strncmp(listen, "localhost:", 10) == 0;
}

/* Those under way look at it, those that wait are refused. */
static void end_scans(struct api *a)
{
    atomic_store(&a->stopping, true);
    if (a->scans)
        lookups_finish(a->scans);
}

int api_start(const struct api_options *o, struct api **out, struct err *e)
{
    const struct conf_profiler *conf = &o->conf->profiler;
    struct api *a = calloc(1, sizeof *a);
    int r;

    if (!a)
        return -ENOMEM;
    if (sodium_init() < 0) {
        err_set(e, "libsodium does not start");
        free(a);
        return -EIO;
    }
    a->o = *o;
    peers_init(a);
    a->metrics_here = !conf->metrics_listen && is_loopback(conf->listen);
    r = tls_start(&conf->tls, "profiler.tls", o->stats, &a->tls, e);
    struct http_options http = {.listen = conf->listen,
                                .threads = conf->http_threads,
                                .body_limit = body_limit,
                                .tls = a->tls,
                                .handle = handle,
                                .done = done,
                                .arg = a};
    if (r == 0)
        r = tokens_start(conf, o->stats, &a->tokens, e);
    if (r == 0)
        r = lookups_start(1, &a->scans, e);
    if (r == 0)
        r = tails_start(a, e);
    if (r == 0)
        r = http_server_start(&http, &a->server, e);
    if (r == 0 && conf->metrics_listen) {
        http.listen = conf->metrics_listen;
        http.tls = NULL;
        http.threads = 1;
        http.handle = handle_metrics_only;
        r = http_server_start(&http, &a->metrics_server, e);
    }
    if (r != 0) {
        http_server_stop(a->server, 0);
        tls_stop(a->tls);
        tails_stop(a);
        tokens_stop(a->tokens);
        end_scans(a);
        lookups_free(a->scans);
        free(a);
        return r;
    }
    *out = a;
    return 0;
}

uint16_t api_port(const struct api *a)
{
    return http_server_port(a->server);
}

void api_quiesce(struct api *a)
{
    http_server_quiesce(a->server);
    if (a->metrics_server)
        http_server_quiesce(a->metrics_server);
    end_scans(a);
}

void api_stop(struct api *a, int64_t ms)
{
    if (!a)
        return;
    end_scans(a);
    tails_stop(a);
    http_server_stop(a->metrics_server, ms);
    http_server_stop(a->server, ms);
    tls_stop(a->tls);
    tokens_stop(a->tokens);
    if (!api_changes_end(a)) {
        log_error("profiler: the log did not say what became of a change");
        a->o.audit = NULL;
        return; /* it may still, and needs what would be freed */
    }
    lookups_free(a->scans);
    free(a);
}

void api_reload(struct api *a)
{
    tokens_reload(a->tokens);
}
