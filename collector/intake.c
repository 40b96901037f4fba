/* Taking events in. Runs on the pool threads and never waits: what is appended is answered later by submit.c. */
#include "collector/intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/auth.h"
#include "collector/decode.h"
#include "collector/draft.h"
#include "collector/origin.h"
#include "collector/ratelimit.h"
#include "collector/request.h"
#include "collector/submit.h"
#include "collector/worker.h"
#include "common/clock.h"
#include "common/inflate.h"
#include "common/limits.h"

struct intake {
    const struct conf *conf;
    struct metrics *metrics;
    struct guard *guard;
    struct submitter *submitter;
    struct workers *workers;
    struct ratelimit *ratelimit; /* NULL: none */
};

/* One request while a pool thread has it. */
struct visit {
    struct intake *in;
    struct http_request *r;
    const struct route *route;
    const struct answer_fields *fields;
    struct worker *w;
    const struct conf_key *key;
    struct request body;
};

struct intake *intake_new(const struct conf *conf, struct sink *sink, uint32_t partitions, struct metrics *metrics,
                          struct guard *guard)
{
    struct intake *in = calloc(1, sizeof *in);
    uint64_t rate = conf->collector.rate_limit;

    if (!in)
        return NULL;
    in->conf = conf;
    in->metrics = metrics;
    in->guard = guard;
    in->workers = workers_new();
    in->submitter = submitter_new(&conf->collector, sink, partitions, metrics);
    in->ratelimit = rate ? ratelimit_new(rate, conf->collector.key_count) : NULL;
    if (in->workers && in->submitter && (in->ratelimit || !rate))
        return in;
    if (in->submitter)
        intake_stop(in, 0);
    intake_free(in);
    return NULL;
}

void intake_stop(struct intake *in, int64_t ms)
{
    submitter_stop(in->submitter, ms);
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    submitter_free(in->submitter);
    workers_free(in->workers);
    ratelimit_free(in->ratelimit);
    free(in);
}

static void refuse_request(const struct visit *v, unsigned status, const char *code, const char *message)
{
    answer_error(v->r, v->fields, status, code, message, 0);
}

static void offer_authorization(struct auth *a, struct http_request *r)
{
    auth_offer(a, auth_authorization(http_header(r, "Authorization"), http_arena(r)));
}

static void offer_rest(struct auth *a, struct http_request *r)
{
    auth_offer_public(a, http_query(r, "writeKey"));
    auth_offer(a, auth_x_write_key(http_header(r, "X-Write-Key")));
}

size_t intake_body_limit(struct intake *in, struct http_request *r)
{
    struct auth a = {.conf = &in->conf->collector};

    offer_authorization(&a, r);
    auth_offer(&a, auth_x_write_key(http_header(r, "X-Write-Key")));
    return a.key && a.key->kind == CONF_KEY_SERVER ? LIMIT_BODY_SERVER : LIMIT_BODY_BEACON;
}

/* Whether the key that was found may do this; else the request is refused. */
static bool admit(struct visit *v, const struct auth *a)
{
    if (!a->key) {
        refuse_request(v, 401, a->given ? "key_unknown" : "key_missing",
                       a->given ? "there is no such write key" : "the request carries no write key");
        return false;
    }
    if (v->route->kind == ROUTE_ORDERS && a->key->kind != CONF_KEY_SERVER) {
        refuse_request(v, 403, "key_not_allowed", "order logs need a server key");
        return false;
    }
    if (!auth_origin_allowed(a->key, http_header(v->r, "Origin"))) {
        refuse_request(v, 403, "key_not_allowed", "this key is not taken from this Origin");
        return false;
    }
    v->key = a->key;
    return true;
}

/* The body as it is or inflated; false when the request was refused. */
static bool read_body(struct visit *v, char **bytes, size_t *n)
{
    *bytes = http_body(v->r, n);
    struct str in = {*bytes, *n};
    if (!inflate_wanted(in))
        return true;
    switch (inflate_all(in, intake_body_limit(v->in, v->r), &v->w->inflated)) {
    case INFLATE_OK:
        *bytes = v->w->inflated.p;
        *n = v->w->inflated.n;
        return true;
    case INFLATE_TOO_LARGE:
        refuse_request(v, 413, "body_too_large", "the inflated body is larger than this key may send");
        return false;
    case INFLATE_INVALID:
        refuse_request(v, 400, "gzip_invalid", "the compressed body is damaged or cut short");
        return false;
    default:
        submit_refuse(v->in->submitter, v->r, v->fields, 0, LOG_OK);
        return false;
    }
}

/* What cannot be read may also have no key that is known, which is then the more useful answer. */
static void refuse_unreadable(struct visit *v, int rc, const struct err *e)
{
    struct auth a = {.conf = &v->in->conf->collector};

    offer_authorization(&a, v->r);
    offer_rest(&a, v->r);
    if (a.given && !a.key)
        admit(v, &a);
    else if (rc == REQUEST_NOT_JSON)
        refuse_request(v, 400, "json_invalid", e->text);
    else if (rc == REQUEST_NOT_EVENTS)
        refuse_request(v, 400, "event_invalid", e->text);
    else if (rc == REQUEST_TOO_LARGE)
        refuse_request(v, 413, "body_too_large", e->text);
    else
        submit_refuse(v->in->submitter, v->r, v->fields, 0, LOG_OK);
}

static const char *const key_members[] = {"writeKey", "write_key"};

static void offer_member(struct auth *a, const struct json *object)
{
    for (int i = 0; i < 2; i++)
        auth_offer(a, request_text(object, key_members[i]));
}

static bool authenticate(struct visit *v)
{
    struct auth a = {.conf = &v->in->conf->collector};

    offer_authorization(&a, v->r);
    if (!a.key) {
        offer_member(&a, v->body.top);
        offer_member(&a, v->body.first);
        offer_rest(&a, v->r);
    }
    return admit(v, &a);
}

/* Counts the events as received, and refuses them when they are too many at once or too soon. */
static bool admit_events(struct visit *v, uint32_t n)
{
    struct intake *in = v->in;

    metrics_received(in->metrics, n);
    if (n > LIMIT_EVENTS_PER_REQUEST) {
        metrics_refused(in->metrics, REASON_BODY_TOO_LARGE, n);
        refuse_request(v, 413, "body_too_large", "too many events in one request");
        return false;
    }
    if (!in->ratelimit)
        return true;
    unsigned wait = ratelimit_take(in->ratelimit, (size_t)(v->key - in->conf->collector.keys), n, clock_monotonic());
    if (wait == 0)
        return true;
    metrics_refused(in->metrics, REASON_RATE_LIMITED, n);
    answer_error(v->r, v->fields, 429, "rate_limited", "this key sends more events a second than it may", wait);
    return false;
}

/* What decoding is told of the request; `notes` gets what it finds. */
static struct decode_input input_of(const struct visit *v, struct decode_notes *notes)
{
    struct decode_input in = {
        .trust = v->key->kind == CONF_KEY_SERVER ? TRUST_SERVER : TRUST_BEACON,
        .source = str_of(v->key->source),
        .received = http_received_at(v->r),
        .route_type = v->route->kind == ROUTE_EVENTS ? v->route->type : 0,
        .batch = v->body.batch,
        .ip = origin_address(http_peer(v->r), http_header(v->r, "X-Forwarded-For"),
                             v->in->conf->collector.trusted_proxies),
        .user_agent = http_header(v->r, "User-Agent"),
        .blocked = v->in->conf->blocked,
        .memo = &v->w->names,
        .notes = notes,
        .mint = worker_mint,
        .mint_arg = v->w,
    };

    guard_input(v->in->guard, v->r, http_arena(v->r), &in);
    return in;
}

/* Puts one decoded or refused event into the draft. False when memory was out. */
static bool take_decoded(struct visit *v, int rc, struct event *e, const struct refusal *why,
                         const struct decode_input *in, struct str bytes)
{
    struct guard *guard = v->in->guard;
    struct draft *d = &v->w->draft;

    if (rc < 0)
        return false;
    if (rc == DECODE_OK) {
        if (guard_event(guard, in->notes, &v->w->arena, e) != 0)
            return false;
        draft_event(d, e);
        return !d->failed;
    }
    struct bad_event bad = {.received = in->received,
                            .source = in->source,
                            .route = str_of(v->route->label),
                            .position = in->position,
                            .bytes = bytes};
    if (guard_bad(guard, in->notes, &v->w->arena, &bad) != 0)
        return false;
    draft_refused(d, &bad, why);
    return !d->failed;
}

/* A server key is a secret: where it came in the body it is not kept with the event. */
static void mask_key(const struct visit *v, const struct json *event)
{
    for (int i = 0; v->key->kind == CONF_KEY_SERVER && i < 2; i++) {
        const struct json *k = json_get(event, key_members[i]);
        if (k && k->type == JSON_STRING && k->raw.n > 2)
            memset((char *)k->raw.p + 1, '*', k->raw.n - 2); /* the bytes are the request's own */
    }
}

static bool take_item(struct visit *v, const struct request_item *item, struct decode_input *in)
{
    struct arena *arena = &v->w->arena;
    struct refusal why;
    struct event e;
    int rc = DECODE_REFUSED;

    in->position = item->index;
    *in->notes = (struct decode_notes){0};
    if (!item->value) {
        why.code = "not_object";
        snprintf(why.message, sizeof why.message, "the line is not JSON: %.150s", item->why.text);
    } else {
        mask_key(v, item->value);
        rc = v->route->kind == ROUTE_ORDERS ? decode_order(item->value, in, arena, &e, &why)
                                            : decode_event(item->value, in, arena, &e, &why);
    }
    bool ok = take_decoded(v, rc, &e, &why, in, item->bytes);
    arena_reset(arena);
    return ok;
}

/* The answer for when everything is durable. */
static void write_answer(const struct visit *v, struct submit_answer *a)
{
    const struct draft *d = &v->w->draft;
    bool single_call = v->route->kind == ROUTE_EVENTS && v->route->type != 0 && v->body.single;

    a->status = 200;
    buf_init(&a->body, LIMIT_REJECTED_BYTES + KIB);
    if (single_call && d->tally.accepted == 0) {
        char message[sizeof d->last_refusal.message + 64];
        snprintf(message, sizeof message, "%s: %s", d->last_refusal.code, d->last_refusal.message);
        a->status = 400;
        answer_write_error(&a->body, "event_invalid", message);
    } else {
        answer_write_batch(&a->body, d->tally.accepted, buf_str(&d->rejected));
    }
}

static void take_events(struct visit *v)
{
    struct draft *d = &v->w->draft;
    struct decode_notes notes;
    struct decode_input in = input_of(v, &notes);
    struct request_item item;
    struct submit_answer answer;
    bool ok = true;

    while (ok && request_next(&v->body, &item))
        ok = take_item(v, &item, &in);
    if (!ok) {
        submit_refuse(v->in->submitter, v->r, v->fields, v->body.count, d->too_large ? LOG_TOO_LARGE : LOG_OK);
        return;
    }
    write_answer(v, &answer);
    d->failed = d->failed || answer.body.failed;
    submit(v->in->submitter, v->r, v->fields, d, &answer);
}

static void read_and_take(struct visit *v)
{
    struct err e = {0};
    char *bytes;
    size_t n;

    if (!read_body(v, &bytes, &n))
        return;
    /* By the same key as the limit of the body: what is inside is only known afterwards. */
    json_parser_limit(v->w->parser,
                      intake_body_limit(v->in, v->r) == LIMIT_BODY_SERVER ? LIMIT_JSON_NODES : LIMIT_JSON_NODES_BEACON);
    int rc = request_open(&v->body, v->w->parser, bytes, n, v->route->kind == ROUTE_ORDERS, &e);
    if (rc != REQUEST_OK)
        refuse_unreadable(v, rc, &e);
    else if (authenticate(v) && admit_events(v, v->body.count))
        take_events(v);
}

void intake_post(struct intake *in, struct http_request *r, const struct route *route, const struct answer_fields *f)
{
    struct visit v = {.in = in, .r = r, .route = route, .fields = f, .w = worker_get(in->workers)};

    if (!v.w) {
        submit_refuse(in->submitter, r, f, 0, LOG_OK);
        return;
    }
    read_and_take(&v);
    worker_reset(v.w);
}

/* The query as a JSON object: what is kept of a pixel that was refused. */
static struct str pixel_text(struct visit *v, const struct decode_pair *pairs, size_t n)
{
    struct buf *b = &v->w->text;

    for (size_t i = 0; i < n; i++) {
        buf_add_char(b, i ? ',' : '{');
        json_write_str(b, pairs[i].name);
        buf_add_char(b, ':');
        json_write_str(b, pairs[i].value);
    }
    buf_add_text(b, n ? "}" : "{}");
    return buf_str(b);
}

/* The query without the key. NULL when memory is out. */
static struct decode_pair *pixel_pairs(struct visit *v, size_t *n)
{
    size_t all = http_query_count(v->r);
    struct decode_pair *pairs = arena_alloc(&v->w->arena, (all + 1) * sizeof *pairs);

    *n = 0;
    for (size_t i = 0; pairs && i < all; i++) {
        http_query_at(v->r, i, &pairs[*n].name, &pairs[*n].value);
        if (!str_is(pairs[*n].name, "writeKey"))
            ++*n;
    }
    return pairs;
}

static void take_pixel(struct visit *v)
{
    struct decode_notes notes = {0};
    struct decode_input in = input_of(v, &notes);
    struct submit_answer answer = {.status = 200};
    struct refusal why;
    struct event e;
    size_t n;
    struct decode_pair *pairs = pixel_pairs(v, &n);
    int rc = pairs ? decode_pixel(pairs, n, &in, &v->w->arena, &e, &why) : -ENOMEM;
    struct str text = rc == DECODE_REFUSED ? pixel_text(v, pairs, n) : STR_NONE;

    if (take_decoded(v, rc, &e, &why, &in, text))
        submit(v->in->submitter, v->r, v->fields, &v->w->draft, &answer);
    else
        submit_refuse(v->in->submitter, v->r, v->fields, 1, LOG_OK);
}

void intake_pixel(struct intake *in, struct http_request *r, const struct answer_fields *f)
{
    static const struct route route = {"/v1/pixel.gif", ROUTE_PIXEL, 0, "/v1/pixel.gif"};
    struct visit v = {.in = in, .r = r, .route = &route, .fields = f, .w = worker_get(in->workers)};
    struct auth a = {.conf = &in->conf->collector};

    if (!v.w) {
        submit_refuse(in->submitter, r, f, 0, LOG_OK);
        return;
    }
    offer_authorization(&a, r);
    offer_rest(&a, r);
    if (!admit(&v, &a))
        return;
    if (str_is(http_method(r), "HEAD")) {
        answer_pixel(r, f);
        return;
    }
    if (admit_events(&v, 1))
        take_pixel(&v);
    worker_reset(v.w);
}
