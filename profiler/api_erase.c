/* DELETE /v1/profiles/{id}: erases a person. First it is found out who is meant: a linked device answers as its user,
 * and what was stated with a time ahead of ours is to be erased as well; both is known where the profile is kept. Then
 * the erasure is recorded, as a hash, in the audit log, which is kept for ever; and only when that record is durable
 * the command goes on the log. What follows is api_erasure.c's.
 *
 * The steps go from thread to thread: a pool thread, look-up threads, the forwarder's, the audit's; none waits. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/api_command.h"
#include "profiler/api_erasure.h"

#define ERASE_WAIT_MS 2000 /* longer only who says `wait` */
#define MOST_TRIES 4
#define MOST_AHEAD_MS (10 * TIME_MINUTE) /* no event has a time further ahead of its arrival */

static_assert(ERASURE_HASH_BYTES == SEAL_ERASURE_HASH_BYTES, "one hash");

static void run_look(struct lookup_job *job, bool in_time);

/* --- the command ---------------------------------------------------------------------------------------------- */

static void ordered(struct ask *ask, const struct command_fate *fate)
{
    struct erasing *x = ask->erasing;

    if (!command_taken(ask, fate))
        return;
    x->place = (struct place_on_log){fate->partition, fate->offset};
    erasing_follow(ask);
}

/* On the audit's thread, or where it was asked when nothing is recorded. */
static void recorded(void *arg, bool durable)
{
    struct ask *ask = arg;
    const struct erasing *x = ask->erasing;
    struct str key = {ask->id.p + 5, ask->id.n - 5}; /* behind "user:" or "anon:" */
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = x->now,
                              .device = id_is_device(ask->id) ? key : STR_NONE,
                              .user = id_is_device(ask->id) ? STR_NONE : key,
                              .until = x->erasure.until,
                              .hash = {(const char *)x->erasure.hash, sizeof x->erasure.hash},
                              .alias = {(const char *)x->erasure.alias, sizeof x->erasure.alias}};

    assert(ask->magic == ASK_MAGIC);
    if (durable)
        command_order(ask, &c, key, ordered);
    else
        ask_error(ask, 503, "unavailable", "the audit log cannot be written: nothing was erased; ask again");
}

/* `last`: the time of the profile's last event, or TIME_NONE. */
static void record(struct ask *ask, int64_t last)
{
    struct erasing *x = ask->erasing;
    struct audit_erasure *e = &x->erasure;

    x->now = clock_now();
    e->until = last == TIME_NONE || last < x->now ? x->now : last;
    if (e->until > x->now + MOST_AHEAD_MS)
        e->until = x->now + MOST_AHEAD_MS;
    e->partition = ask->partition;
    seal_erasure_hash(ask->api->o.rules->erasure_key, ask->id, e->hash);
    randombytes_buf(e->alias, sizeof e->alias);
    ask_audit_first(ask, e, recorded);
}

/* --- who is meant --------------------------------------------------------------------------------------------- */

/* What is known of an id where it is kept. */
struct known {
    struct str user; /* of a linked device; else absent */
    int64_t last;    /* TIME_NONE: there is no event */
};

/* 0, or a negative errno: -EAGAIN while it is held. */
static int look(struct ask *ask, struct known *out, struct err *e)
{
    struct state_profile p;
    struct arena arena;
    int r = STATE_NOT_FOUND;

    *out = (struct known){.user = STR_NONE, .last = TIME_NONE};
    if (id_is_device(ask->id))
        r = state_linked(ask->api->o.state, ask->partition, ask->id, http_arena(ask->request), &out->user, e);
    if (r != STATE_NOT_FOUND)
        return r;
    out->user = STR_NONE;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = state_profile(ask->api->o.state, ask->partition, ask->id, &arena, &p, e);
    if (r == 0) {
        out->last = p.facts.last_event_at;
        facts_deinit(&p.facts);
        traits_deinit(&p.traits);
    }
    arena_deinit(&arena);
    return r == STATE_LINKED ? -EAGAIN : r == STATE_NOT_FOUND ? 0 : r;
}

static void look_again(struct ask *ask, struct lookup_job job)
{
    ask->job = job;
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        ask_error(ask, 503, "unavailable", "too many requests are waiting");
}

static void take_known(struct ask *ask, const struct known *k)
{
    struct erasing *x = ask->erasing;

    if (!str_has(k->user)) {
        record(ask, k->last);
    } else if (++x->tries == MOST_TRIES) {
        ask_error(ask, 503, "not_yet", "who is meant is changing");
    } else {
        ask_audit_target(ask, ask->id);
        ask->id = k->user;
        ask->partition = id_partition(ask->id, ask->api->o.conf->partitions);
        look_again(ask, (struct lookup_job){.run = run_look, .urgent = true});
    }
}

static bool is_free(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;

    return !state_holds(ask->api->o.state, ask->partition);
}

static void look_here(struct ask *ask)
{
    struct erasing *x = ask->erasing;
    int64_t now = clock_monotonic();
    struct err e = {0};
    struct known k;
    int r = look(ask, &k, &e);

    if (r == 0) {
        take_known(ask, &k);
    } else if (r != -EAGAIN) {
        ask_broken(ask, r, &e);
    } else if (x->held_until && now >= x->held_until) {
        ask_error(ask, 503, "not_yet", "what was asked for is changing");
    } else {
        if (!x->held_until)
            x->held_until = now + LIMIT_HELD_MS;
        look_again(ask, (struct lookup_job){.run = run_look, .met = is_free, .deadline = x->held_until});
    }
}

/* --- at another instance -------------------------------------------------------------------------------------- */

/* {"user":"user:42"} or {"last":123} or {"last":null} */
static bool read_known(struct ask *ask, char *text, size_t n, struct known *out)
{
    struct json_parser *p = json_parser_new();
    const struct json *root, *user, *last;
    bool read = false;

    *out = (struct known){.user = STR_NONE, .last = TIME_NONE};
    if (p && json_parse(p, text, n, &root, NULL) == JSON_OK) {
        user = json_get(root, "user");
        last = json_get(root, "last");
        if (user && user->type == JSON_STRING && id_valid(user->text) && !id_is_device(user->text)) {
            out->user = arena_dup(http_arena(ask->request), user->text);
            read = str_has(out->user);
        } else if (last) {
            read = last->type == JSON_NULL || num_integer(last->raw, INT64_MAX, &out->last) == NUM_OK;
        }
    }
    json_parser_free(p);
    return read;
}

/* On the forwarder's thread. */
static void answered(struct peer_call *c)
{
    struct ask *ask = c->ask;
    struct buf body = c->call.body; /* the call may be made again */
    unsigned status = c->call.status;
    struct known k;

    c->call.body = (struct buf){0};
    if (status == 200 && buf_room(&body, JSON_PADDING) && read_known(ask, body.p, body.n, &k))
        take_known(ask, &k);
    else
        ask_error(ask, 503, status == 503 ? "not_yet" : "unavailable",
                  "the instance that has partition %u did not say who is meant", ask->partition);
    buf_deinit(&body);
}

static void look_elsewhere(struct ask *ask)
{
    char base[PEER_URL];
    struct buf path;

    if (!peer_of(ask, ask->partition, base, sizeof base)) {
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", ask->partition);
        return;
    }
    buf_init(&path, LIMIT_HEAD);
    buf_add_text(&path, "/v1/internal/erasable/");
    http_encode_segment(&path, ask->id);
    if (path.failed || !peer_ask(ask, &ask->peer, base, buf_str(&path), NULL, answered))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&path);
}

bool prepare_erasable(struct ask *ask)
{
    if (ask->forwarded)
        return true;
    ask_error(ask, 404, "not_found", "there is no such route");
    return false;
}

void run_erasable(struct ask *ask)
{
    struct err e = {0};
    struct known k;
    struct buf body;
    int r = look(ask, &k, &e);

    if (r != 0) {
        ask_broken(ask, r, &e);
        return;
    }
    buf_init(&body, 4 * KIB);
    buf_add_char(&body, '{');
    json_write_key(&body, str_has(k.user) ? "user" : "last");
    if (str_has(k.user))
        json_write_str(&body, k.user);
    else if (k.last != TIME_NONE)
        num_write_int(&body, k.last);
    else
        buf_add_text(&body, "null");
    buf_add_char(&body, '}');
    ask_answer(ask, &body);
    buf_deinit(&body);
}

/* --- the route ------------------------------------------------------------------------------------------------ */

static void run_look(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;

    assert(ask->magic == ASK_MAGIC);
    if (!in_time) {
        ask_error(ask, 503, "not_yet", "what was asked for is changing, or the program ends");
        return;
    }
    switch (api_owns(ask->api, ask->partition)) {
    case OWNERSHIP_SERVES:
        look_here(ask);
        break;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, ask->partition);
        break;
    case OWNERSHIP_ELSEWHERE:
        look_elsewhere(ask);
        break;
    }
}

bool prepare_erase(struct ask *ask)
{
    ask->erasing = arena_zalloc(http_arena(ask->request), sizeof *ask->erasing);
    if (!ask->erasing) {
        ask_error(ask, 503, "unavailable", "out of memory");
    } else if (ask->forwarded) {
        ask_error(ask, 404, "not_found", "it is not sent on");
    } else if (!ask->api->o.rules->erasure_key) {
        ask_error(ask, 503, "unavailable", "there is no erasure.key: waymark keys init");
    } else if (ask_may_change(ask)) {
        if (!str_has(http_query(ask->request, "wait")))
            ask->wait_ms = ERASE_WAIT_MS;
        look_again(ask, (struct lookup_job){.run = run_look});
    }
    return false;
}
