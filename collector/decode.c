/* What calls and order logs share: the checks of any event, ids, times, uid. Pure; any thread. */
#include "collector/decode.h"

#include <assert.h>
#include <errno.h>

#include "collector/decode_fields.h"
#include "collector/user_hash.h"
#include "proto/codec.h"

/* The device that an order log belongs to which names nobody; only the collector makes it. */
#define GUEST_PREFIX STR_LIT("order:")

#define FUTURE_MS (10 * TIME_MINUTE)
#define PAST_MS (400 * TIME_DAY)

int64_t decode_event_time(enum event_trust trust, int64_t timestamp, int64_t sent, int64_t received)
{
    int64_t t = timestamp;

    if (timestamp == TIME_NONE)
        return received;
    if (trust == TRUST_BEACON && sent != TIME_NONE)
        t = received - (sent - timestamp);
    if (t > received + FUTURE_MS || (trust == TRUST_BEACON && t < received - PAST_MS))
        return received;
    return t;
}

int shape_check(const struct json *v, const struct json *batch, struct refusal *why)
{
    if (v->type != JSON_OBJECT)
        return refuse(why, "not_object", "the event is no JSON object");
    if (v->raw.n > LIMIT_EVENT_BYTES)
        return refuse(why, "too_large", "the event is over %zu bytes", LIMIT_EVENT_BYTES);
    if (v->height > LIMIT_EVENT_DEPTH)
        return refuse(why, "too_deep", "the event is nested over %d deep", LIMIT_EVENT_DEPTH);
    if (batch && batch->count > LIMIT_BATCH_MEMBERS)
        return refuse(why, "too_large", "the object around the batch has over %d members", LIMIT_BATCH_MEMBERS);
    return 0;
}

void reader_begin(struct reader *r, const struct decode_input *in, struct arena *a, struct refusal *why,
                  struct event *e, struct scrub *scrub, struct decode_notes *notes)
{
    *r = (struct reader){.in = in, .arena = a, .why = why, .e = e, .notes = in->notes ? in->notes : notes};
    *r->notes = (struct decode_notes){0};
    if (!in->privacy)
        return;
    scrub_begin(scrub, in->privacy, in->memo, a);
    r->scrub = scrub;
}

int reader_end(struct reader *r, int rc)
{
    if (!r->scrub)
        return rc;
    int end = scrub_end(r->scrub, &r->notes->personal);
    r->notes->cards = r->scrub->cards;
    return rc == 0 ? end : rc;
}

static bool is_blocked(const struct reader *r, struct str id)
{
    return r->in->blocked && conf_blocked(r->in->blocked, id);
}

/* Whether a beacon may name this account. */
static bool is_proven(struct reader *r, struct str id, const struct json *hash)
{
    struct user_hash *u = r->in->privacy ? r->in->privacy->user_hash : NULL;

    if (!u || r->in->trust != TRUST_BEACON)
        return true;
    if (!hash || hash->type != JSON_STRING || hash->text.n == 0) {
        r->notes->users_ignored[IGNORED_HASH_MISSING]++;
        return false;
    }
    if (user_hash_is(u, id, hash->text))
        return true;
    r->notes->users_ignored[IGNORED_HASH_WRONG]++;
    return false;
}

int user_read(struct reader *r, const char *name, const struct json *v, const struct json *hash, struct str *out)
{
    struct str id = STR_NONE;
    int rc = id_read(r->why, "id_invalid", name, v, &id);

    if (rc != 0 || !str_has(id))
        return rc;
    if (is_blocked(r, id))
        r->notes->users_ignored[IGNORED_BLOCKED]++;
    else if (is_proven(r, id, hash))
        *out = id;
    return 0;
}

int device_read(struct reader *r, const char *name, const struct json *v, struct str *out)
{
    struct str id = STR_NONE;
    int rc = id_read(r->why, "id_invalid", name, v, &id);

    if (rc != 0 || !str_has(id))
        return rc;
    if (is_blocked(r, id)) {
        r->notes->devices_blocked++;
        return 0;
    }
    if (str_starts(id, GUEST_PREFIX))
        return refuse(r->why, "id_invalid", "%s begins with order:, which only the collector gives", name);
    *out = id;
    return 0;
}

/* When the batch was sent. An unreadable one is as good as none: its events are not to blame. */
static int64_t batch_sent(const struct json *batch)
{
    int64_t sent = TIME_NONE;
    struct refusal ignored;
    const struct json *v = json_get(batch, "sentAt");

    if (!v)
        v = json_get(batch, "sent_at");
    time_read(&ignored, "", "", v, &sent);
    return sent;
}

int times_read(struct reader *r, const struct json *timestamp, const struct json *sent)
{
    struct event *e = r->e;
    int rc = time_read(r->why, "timestamp_invalid", "timestamp", timestamp, &e->original_time);

    if (rc == 0)
        rc = time_read(r->why, "timestamp_invalid", "sentAt", sent, &e->sent);
    if (rc != 0)
        return rc;
    if (e->sent == TIME_NONE && r->in->batch)
        e->sent = batch_sent(r->in->batch);
    e->time = decode_event_time(e->trust, e->original_time, e->sent, e->received);
    return 0;
}

int event_finish(struct reader *r)
{
    struct event *e = r->e;
    char hex[33];

    if (!str_has(e->message_id)) {
        if (e->type == EVENT_ORDER)
            order_content_id(e, hex);
        else
            r->in->mint(r->in->mint_arg, hex);
        assert(strlen(hex) == 32);
        e->message_id = arena_dup(r->arena, str_of(hex));
        if (!str_has(e->message_id))
            return -ENOMEM;
    }
    e->uid = e->type == EVENT_ALIAS ? alias_uid(e->source, e->anonymous_id, e->user_id, e->message_id, e->previous_id)
                                    : event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
    return 0;
}
