/* Questions to other instances: the same route with the same parameters, asked with the token of the one who asked
 * here. Any thread asks; answers come on the forwarder's thread. */
#include <assert.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/api_ask.h"

static const char *const results[PEER_RESULTS] = {"answered", "refused", "failed", "full", "unknown"};

void peers_init(struct api *a)
{
    char labels[48];

    for (int i = 0; i < PEER_RESULTS; i++) {
        snprintf(labels, sizeof labels, "result=\"%s\"", results[i]);
        a->peers[i] = stats_counter(a->o.stats, "waymark_forwarded_total", labels,
                                    "Questions to other instances: answered, refused (5xx), failed (no answer in "
                                    "time), full (too many under way), unknown (nobody has the partition).");
    }
}

static void count(const struct ask *ask, enum peer_result result)
{
    if (ask->api->peers[result])
        stats_add(ask->api->peers[result], 1);
}

bool peer_of(struct ask *ask, uint32_t partition, char *out, size_t size)
{
    const struct api_options *o = &ask->api->o;

    if (o->forward && ownership_url(o->ownership, partition, out, size))
        return true;
    count(ask, PEER_UNKNOWN);
    return false;
}

/* --- the URL -------------------------------------------------------------------------------------------------- */

/* A raw path as it came, but for bytes that may not stand in a URL as they are. */
static void add_path(struct buf *b, struct str path)
{
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c <= ' ' || c >= 0x7f || c == '#' || c == '?' || c == '"' || c == '\\')
            buf_addf(b, "%%%02X", c);
        else
            buf_add_char(b, (char)c);
    }
}

/* Begins with '?' until something was added, then with '&'. */
static void add_parameter(struct buf *b, char *before, struct str name, struct str value)
{
    buf_add_char(b, *before);
    *before = '&';
    http_encode_segment(b, name);
    buf_add_char(b, '=');
    http_encode_segment(b, value);
}

/* What is left of the time to wait for a position. */
static int64_t rest_of_wait(const struct ask *ask)
{
    int64_t rest = ask->arrived + ask->wait_ms - clock_monotonic();

    return rest < 0 ? 0 : rest;
}

static bool passed_on(struct str name)
{
    static const char *const ours[] = {"after", "wait", "find", "owner", "named"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (str_is(name, ours[i]))
            return false;
    return true;
}

/* What the request waited for is folded, there too. */
static void add_query(struct buf *b, const struct ask *ask, const char *more)
{
    struct str name, value;
    char before = '?';

    for (size_t i = 0; i < http_query_count(ask->request); i++) {
        http_query_at(ask->request, i, &name, &value);
        if (passed_on(name))
            add_parameter(b, &before, name, value);
    }
    if (str_has(ask->named))
        add_parameter(b, &before, STR_LIT("named"), ask->named);
    if (more) {
        buf_add_char(b, before);
        buf_add_text(b, more);
        before = '&';
    }
    if (ask->show_query) {
        buf_add_char(b, before);
        buf_add_text(b, ask->show_query);
    }
}

static void add_base(struct buf *b, const char *base)
{
    struct str host = str_of(base);

    while (host.n > 0 && host.p[host.n - 1] == '/')
        host.n--;
    buf_add_str(b, host);
}

static void write_url(struct buf *b, const struct ask *ask, const char *base, struct str path, const char *more)
{
    add_base(b, base);
    add_path(b, path);
    if (!str_starts(path, STR_LIT(EXPORTS_INSIDE)))
        add_query(b, ask, more);
    else if (more) /* what a client says there is not for other profilers */
        buf_addf(b, "?%s", more);
    buf_add_char(b, '\0');
}

/* --- asking --------------------------------------------------------------------------------------------------- */

/* An address of an old claim may be another program's by now: its 404 would be a lie. */
static void check_instance(struct forward_call *call)
{
    if (call->status == 0 || call->instance[0])
        return;
    call->status = 0;
    buf_reset(&call->body);
    buf_add_text(&call->body, "what answers there is no profiler that takes it");
}

static void answered(struct forward_call *call)
{
    static struct log_limit limit;
    struct peer_call *c = (struct peer_call *)((char *)call - offsetof(struct peer_call, call));

    check_instance(call);
    if (call->status == 0)
        log_limited(&limit, LOG_WARN, "profiler: another instance was asked in vain: %s: %.*s", c->base,
                    STR_ARG(buf_str(&call->body)));
    count(c->ask, call->status == 0 ? PEER_FAILED : call->status >= 500 ? PEER_REFUSED : PEER_ANSWERED);
    buf_deinit(&c->url);
    c->done(c);
}

/* The url is written. */
static bool send_call(struct ask *ask, struct peer_call *c, int64_t ms)
{
    int64_t wait = ask->after_count ? ask->wait_ms : 0;

    c->call.url = c->url.p;
    c->call.request = ask->request_id[0] ? ask->request_id : NULL;
    c->call.authorization = http_header(ask->request, "Authorization");
    c->call.deadline = ask->arrived + wait + ms;
    c->call.done = answered;
    if (!c->url.failed && forward_send(ask->api->o.forward, &c->call))
        return true;
    buf_deinit(&c->url);
    count(ask, PEER_FULL);
    return false;
}

static void init_call(struct ask *ask, struct peer_call *c, const char *base, void (*done)(struct peer_call *c))
{
    assert(!ask->forwarded && ask->api->o.forward);
    *c = (struct peer_call){.ask = ask, .done = done};
    snprintf(c->base, sizeof c->base, "%s", base);
    /* Parameters grow at most threefold by their escapes. */
    buf_init(&c->url, 4 * LIMIT_HEAD);
}

bool peer_ask(struct ask *ask, struct peer_call *c, const char *base, struct str path, const char *more,
              void (*done)(struct peer_call *c))
{
    init_call(ask, c, base, done);
    write_url(&c->url, ask, base, path, more);
    return send_call(ask, c, LIMIT_FORWARD_MS);
}

bool peer_ask_for(struct ask *ask, struct peer_call *c, const char *base, struct str path, const char *more,
                  struct str body, int64_t ms, void (*done)(struct peer_call *c))
{
    init_call(ask, c, base, done);
    c->call.post = body;
    write_url(&c->url, ask, base, path, more);
    return send_call(ask, c, ms);
}

bool peer_ask_settled(struct ask *ask, struct peer_call *c, const char *base, const struct buf *after,
                      const char *clean, void (*done)(struct peer_call *c))
{
    char wait[32], before = '?';

    init_call(ask, c, base, done);
    add_base(&c->url, base);
    buf_add_text(&c->url, "/v1/internal/settled");
    add_parameter(&c->url, &before, STR_LIT("after"), buf_str(after));
    snprintf(wait, sizeof wait, "%" PRId64 "ms", rest_of_wait(ask));
    add_parameter(&c->url, &before, STR_LIT("wait"), str_of(wait));
    if (clean)
        add_parameter(&c->url, &before, STR_LIT("clean"), str_of(clean));
    c->url.failed = c->url.failed || after->failed;
    buf_add_char(&c->url, '\0');
    return send_call(ask, c, LIMIT_FORWARD_MS);
}
