/* GET /v1/profiles/{id}/identity: who uses which device, with the evidence. Of a user's devices their own homes know
 * most: what is at homes of other instances is marked, and those can be asked for the device. Look-up threads. */
#include "profiler/api_identity.h"

#include <errno.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/render.h"

void identity_write_time(struct buf *b, const char *key, int64_t time)
{
    json_write_key(b, key);
    render_time(b, time);
}

void identity_write_id(struct buf *b, const char *key, const char *kind, struct str id)
{
    struct buf text;

    buf_init(&text, 4 * KIB);
    buf_add_text(&text, kind);
    buf_add_str(&text, id);
    json_write_member(b, key, buf_str(&text));
    b->failed = b->failed || text.failed;
    buf_deinit(&text);
}

static void write_reason(struct buf *b, const char *reason)
{
    json_write_key(b, "reason");
    if (reason)
        json_write_str(b, str_of(reason));
    else
        buf_add_text(b, "null");
}

static void write_flag(struct buf *b, const char *key, bool value)
{
    json_write_key(b, key);
    buf_add_text(b, value ? "true" : "false");
}

static void write_count(struct buf *b, const char *key, size_t n)
{
    json_write_key(b, key);
    buf_addf(b, "%zu", n);
}

/* What a device's home says of it and a user. */
static void write_pair(struct buf *b, const struct state_pair *pair)
{
    write_count(b, "links", pair->links);
    write_count(b, "by_order", pair->by_order);
    identity_write_time(b, "first", pair->first);
    identity_write_time(b, "last", pair->last);
    identity_write_time(b, "unlinked_until", pair->unlinked_until);
}

/* --- a device ------------------------------------------------------------------------------------------------- */

static void write_users(struct buf *b, const struct state_device *d)
{
    json_write_key(b, "users");
    buf_add_char(b, '[');
    for (size_t i = 0; i < d->pair_count; i++) {
        const struct state_pair *pair = &d->pairs[i];

        buf_add_text(b, i > 0 ? ",{" : "{");
        identity_write_id(b, "id", "user:", pair->user);
        write_flag(b, "linked", pair->why == PAIR_COUNTS);
        write_reason(b, pair_void_name(pair->why));
        write_pair(b, pair);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

/* What lies before the first run belongs to it, and what lies behind the last: these ends are null. */
static void write_runs(struct buf *b, const struct state_device *d)
{
    json_write_key(b, "runs");
    buf_add_char(b, '[');
    for (size_t i = 0; i < d->run_count; i++) {
        bool first = i == 0 && d->runs_left_out == 0, last = i + 1 == d->run_count;

        buf_add_text(b, i > 0 ? ",{" : "{");
        identity_write_id(b, "id", "user:", d->runs[i].user);
        identity_write_time(b, "from", first ? TIME_NONE : d->runs[i].from);
        identity_write_time(b, "to", last ? TIME_NONE : d->runs[i + 1].from);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
    if (d->runs_left_out)
        write_count(b, "runs_left_out", d->runs_left_out);
}

/* How many there are, for an answer that names nobody else. */
static void count_users(struct buf *b, const struct state_device *d)
{
    buf_add_text(b, ",\"users\":[]");
    write_count(b, "users_left_out", d->pair_count);
}

static void write_device(struct buf *b, struct str id, const struct state_device *d, bool others)
{
    buf_add_char(b, '{');
    json_write_member(b, "id", id);
    if (str_has(d->user))
        identity_write_id(b, "profile", "user:", d->user);
    else
        json_write_member(b, "profile", id);
    write_flag(b, "shared", d->shared);
    write_reason(b, d->by_users ? "users" : d->by_events ? "events" : d->shared ? "changes" : NULL);
    write_count(b, "events", d->events);
    if (others) {
        write_users(b, d);
        write_runs(b, d);
    } else {
        count_users(b, d);
    }
    if (d->links_cut)
        write_flag(b, "links_cut", true);
    buf_add_char(b, '}');
}

static struct str id_in(struct str profile)
{
    size_t kind = sizeof "user:" - 1;

    return (struct str){profile.p + kind, profile.n - kind};
}

static int answer_device(struct ask *ask, struct arena *a, bool others, struct buf *b, struct err *e)
{
    struct state_device d;
    int r = state_device(ask->api->o.state, ask->partition, id_in(ask->id), true, a, &d, e);

    if (r == 0)
        write_device(b, ask->id, &d, others);
    return r;
}

/* --- a user --------------------------------------------------------------------------------------------------- */

static const struct state_pair *pair_of(const struct state_device *d, struct str user)
{
    for (size_t i = 0; i < d->pair_count; i++)
        if (str_eq(d->pairs[i].user, user))
            return &d->pairs[i];
    return NULL;
}

/* `home` says no more than that it is elsewhere, or nothing, when it is NULL. */
static void write_owned(struct buf *b, const struct state_owned *o, const struct state_pair *home, bool elsewhere)
{
    const char *reason = home ? pair_void_name(home->why) : NULL;

    buf_add_char(b, '{');
    identity_write_id(b, "id", "anon:", o->device);
    write_flag(b, "linked", o->linked);
    write_reason(b, o->linked ? NULL : reason ? reason : o->beyond ? "cap" : NULL);
    identity_write_time(b, "first_evidence", o->evidence);
    if (elsewhere)
        write_flag(b, "elsewhere", true);
    else if (home)
        write_pair(b, home);
    else
        write_pair(b, &(struct state_pair){.first = TIME_NONE, .last = TIME_NONE, .unlinked_until = TIME_NONE});
    buf_add_char(b, '}');
}

static int add_owned(struct ask *ask, struct buf *b, struct str user, const struct state_owned *o, struct err *e)
{
    uint32_t partition = event_log_partition(o->device, ask->api->o.conf->partitions);
    struct state_device d;
    struct arena arena;
    int r;

    if (api_owns(ask->api, partition) != OWNERSHIP_SERVES) {
        write_owned(b, o, NULL, true);
        return 0;
    }
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = state_device(ask->api->o.state, partition, o->device, false, &arena, &d, e);
    if (r >= 0)
        write_owned(b, o, r == 0 ? pair_of(&d, user) : NULL, false);
    arena_deinit(&arena);
    return r < 0 ? r : 0;
}

static void write_ids(struct buf *b, struct str id, const struct state_account *account)
{
    json_write_key(b, "ids");
    buf_add_char(b, '[');
    json_write_str(b, id);
    for (size_t i = 0; i < account->device_count; i++) {
        struct buf text;

        if (!account->devices[i].linked)
            continue;
        buf_init(&text, 4 * KIB);
        buf_add_text(&text, "anon:");
        buf_add_str(&text, account->devices[i].device);
        buf_add_char(b, ',');
        json_write_str(b, buf_str(&text));
        buf_deinit(&text);
    }
    buf_add_char(b, ']');
}

static int answer_user(struct ask *ask, struct arena *a, struct buf *b, struct err *e)
{
    struct state_account account;
    int r = state_account(ask->api->o.state, ask->partition, id_in(ask->id), a, &account, e);

    if (r != 0)
        return r;
    buf_add_char(b, '{');
    json_write_member(b, "id", ask->id);
    write_ids(b, ask->id, &account);
    write_flag(b, "capped", account.capped);
    json_write_key(b, "devices");
    buf_add_char(b, '[');
    for (size_t i = 0; i < account.device_count && r == 0; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        r = add_owned(ask, b, id_in(ask->id), &account.devices[i], e);
    }
    buf_add_text(b, "]}");
    return r;
}

int identity_write(struct ask *ask, struct arena *a, bool others, struct buf *b, struct err *e)
{
    return id_is_device(ask->id) ? answer_device(ask, a, others, b, e) : answer_user(ask, a, b, e);
}

void run_identity(struct ask *ask)
{
    struct err e = {0};
    struct arena arena;
    struct buf body;
    int r;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    buf_init(&body, LIMIT_ANSWER_BYTES);
    r = identity_write(ask, &arena, true, &body, &e);
    if (r == 0)
        ask_answer(ask, &body);
    else if (r == STATE_NOT_FOUND)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
    arena_deinit(&arena);
}
