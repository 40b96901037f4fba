/* What became of an erasure: DELETE of a profile goes on here once its command is on the log, and GET /v1/erasures/{id}
 * asks for it. Both wait until everything that the command led to is folded, in every partition, and clean: nothing of
 * it is in a file or the cache any more. Then the partition of the command tells what was erased, and this instance
 * signs a receipt. Who sends an erasure on to another instance is told by it only what the state knows. Look-up
 * threads, and the forwarder's. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_erasure.h"

#define ENDS_MS 1000      /* for the log to say where it ends */
#define RETENTION_MS 1000 /* and how long it keeps its records */

/* --- the answers ---------------------------------------------------------------------------------------------- */

static void send(struct ask *ask, unsigned status, struct buf *body)
{
    const struct erasing *x = ask->erasing;
    struct arena *a = http_arena(ask->request);
    char *location = arena_alloc(a, 80), *position = arena_alloc(a, 48);
    struct http_field fields[3];
    size_t n = 0;

    if (body->failed || !location || !position) {
        ask_error(ask, 503, "unavailable", "out of memory; ask again");
        return;
    }
    snprintf(location, 80, "/v1/erasures/%s", x->id);
    snprintf(position, 48, "%" PRIu32 ":%" PRId64, x->place.partition, x->place.offset);
    fields[n++] = (struct http_field){"X-Waymark-Position", position};
    fields[n++] = (struct http_field){"Location", location};
    if (status == 202)
        fields[n++] = (struct http_field){"Retry-After", "1"};
    ask_send(ask, &(struct http_answer){.status = status, .fields = fields, .field_count = n, .body_buf = body});
}

/* It goes on whoever waits for it. */
static void answer_pending(struct ask *ask)
{
    struct buf body;

    buf_init(&body, 4 * KIB);
    buf_addf(&body, "{\"id\":\"%s\",\"status\":\"pending\"}", ask->erasing->id);
    send(ask, 202, &body);
    buf_deinit(&body);
}

static void answer_unknown(struct ask *ask)
{
    ask_error(ask, 404, "erasure_not_found", "there is no erasure of that id");
}

/* On a look-up thread: the brokers may have to be asked. */
static void answer_receipt(struct ask *ask)
{
    const struct api_options *o = &ask->api->o;
    const struct erasing *x = ask->erasing;
    struct receipt r = {.id = x->id,
                        .erasure = &x->done,
                        .completed = clock_now(),
                        .cache = o->cache != NULL,
                        .shared = event_log_shared(o->log)};
    struct err e = {0};
    struct buf body;

    if (r.shared && event_log_retention(o->log, LOG_EVENTS, RETENTION_MS, &r.kept, &e) != 0)
        r.kept = -1;
    buf_init(&body, 64 * KIB);
    receipt_write(&body, &r, o->rules->traits ? o->rules->traits->keys : NULL);
    send(ask, 200, &body);
    buf_deinit(&body);
}

/* --- what the state knows ------------------------------------------------------------------------------------- */

static void run_receipt(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;

    (void)in_time; /* it waits for nothing */
    answer_receipt(ask);
}

/* Of what the state here, or another instance, has not: DELETE knows better. */
static void no_such(struct ask *ask)
{
    if (ask->route->personal_id)
        answer_pending(ask);
    else
        answer_unknown(ask);
}

/* On the forwarder's thread. */
static void answered(struct peer_call *c)
{
    struct ask *ask = c->ask;
    struct buf body = c->call.body;
    unsigned status = c->call.status;

    c->call.body = (struct buf){0};
    if (status == 404) {
        no_such(ask);
    } else if (status == 200 && buf_room(&body, JSON_PADDING) && erasure_read(body.p, body.n, &ask->erasing->done)) {
        ask->job = (struct lookup_job){.run = run_receipt, .urgent = true};
        if (!lookups_submit(ask->api->o.lookups, &ask->job))
            answer_pending(ask);
    } else {
        answer_pending(ask);
    }
    buf_deinit(&body);
}

static void tell_of_other(struct ask *ask)
{
    char base[PEER_URL], path[80];

    snprintf(path, sizeof path, "/v1/erasures/%s", ask->erasing->id);
    if (!peer_of(ask, ask->erasing->place.partition, base, sizeof base) ||
        !peer_ask(ask, &ask->peer, base, str_of(path), NULL, answered))
        answer_pending(ask);
}

static void tell(struct ask *ask)
{
    struct erasing *x = ask->erasing;

    switch (api_owns(ask->api, x->place.partition)) {
    case OWNERSHIP_SERVES:
        if (state_erasure(ask->api->o.state, x->place.partition, x->place.offset, &x->done) == 0)
            answer_receipt(ask);
        else
            no_such(ask);
        break;
    case OWNERSHIP_NOT_YET:
        answer_pending(ask);
        break;
    case OWNERSHIP_ELSEWHERE:
        tell_of_other(ask);
        break;
    }
}

/* --- waiting -------------------------------------------------------------------------------------------------- */

/* Whether the log has no such record: then it is waited for in vain. Look-up threads. */
static bool is_beyond(struct ask *ask)
{
    const struct place_on_log *place = &ask->erasing->place;
    struct err e = {0};
    int64_t end;

    return event_log_ask_ends(ask->api->o.log, LOG_EVENTS, &place->partition, 1, ENDS_MS, &end, &e) == 0 &&
           place->offset >= end;
}

static void settled(struct ask *ask, bool in_time)
{
    if (in_time)
        tell(ask);
    else if (!ask->route->personal_id && is_beyond(ask))
        answer_unknown(ask);
    else
        answer_pending(ask);
}

void erasing_follow(struct ask *ask)
{
    struct erasing *x = ask->erasing;

    receipt_id(x->id, x->place.partition, x->place.offset);
    ask->after = &x->place;
    ask->after_count = 1;
    ask->until_clean = true;
    ask->settled = settled;
    settle_start(ask);
}

/* --- the route ------------------------------------------------------------------------------------------------ */

/* To another instance: what the state knows, signed by nobody. */
static void run_known(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    struct erasing *x = ask->erasing;
    struct buf body;

    (void)in_time;
    assert(ask->magic == ASK_MAGIC);
    if (!ask_may_show(ask, x->place.partition))
        return;
    if (state_erasure(ask->api->o.state, x->place.partition, x->place.offset, &x->done) != 0) {
        answer_unknown(ask);
        return;
    }
    buf_init(&body, 4 * KIB);
    erasure_write(&body, &x->done);
    ask_answer(ask, &body);
    buf_deinit(&body);
}

static void run_follow(struct lookup_job *job, bool in_time)
{
    (void)in_time;
    erasing_follow((struct ask *)job);
}

bool prepare_erasure(struct ask *ask)
{
    struct erasing *x = arena_zalloc(http_arena(ask->request), sizeof *x);

    ask->erasing = x;
    if (!x) {
        ask_error(ask, 503, "unavailable", "out of memory");
    } else if (!receipt_id_read(ask->id, ask->api->o.conf->partitions, &x->place.partition, &x->place.offset)) {
        answer_unknown(ask);
    } else {
        if (!str_has(http_query(ask->request, "wait")))
            ask->wait_ms = 0;
        ask->job = (struct lookup_job){.run = ask->forwarded ? run_known : run_follow};
        if (!lookups_submit(ask->api->o.lookups, &ask->job))
            ask_error(ask, 503, "unavailable", "too many requests are waiting");
    }
    return false;
}
