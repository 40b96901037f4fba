/* The judgement of records: events by their stream's owner and time, as folding does it; what partitions tell each
 * other by whom it is about. The eraser's thread. */
#include "profiler/eraser_judge.h"

#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "proto/codec.h"
#include "proto/internal.h"

/* For a name beside what a record takes. */
#define NAME_BYTES (64 * KIB)

void judge_init(struct judge *j, const struct judge_asks *asks)
{
    *j = (struct judge){.asks = *asks};
    arena_init(&j->arena, CODEC_UNPACK_BYTES(LIMIT_RECORD_BYTES) + NAME_BYTES);
    arena_init(&j->items, CODEC_UNPACK_BYTES(LIMIT_RECORD_BYTES) + NAME_BYTES);
}

void judge_deinit(struct judge *j)
{
    arena_deinit(&j->arena);
    arena_deinit(&j->items);
}

/* --- people --------------------------------------------------------------------------------------------------- */

/* A profile's id; absent when memory is out. */
static struct str profile_of(struct arena *a, const char kind[5], struct str id)
{
    char *p = arena_alloc(a, 5 + id.n);

    if (!p)
        return STR_NONE;
    memcpy(p, kind, 5);
    if (id.n)
        memcpy(p + 5, id.p, id.n);
    return (struct str){p, 5 + id.n};
}

static struct str owner_of(struct arena *a, struct str device, struct str user)
{
    return str_has(user) ? profile_of(a, "user:", user) : profile_of(a, "anon:", device);
}

static int is_erased(struct judge *j, struct str who, const struct event_key *key, bool *out)
{
    *out = false;
    if (!str_has(who))
        return -ENOMEM;
    return j->asks.erased(j->asks.arg, who, key, out, &j->err);
}

/* What says no time of events, but was put on the log at `time`: it is of the life that is over when it is older than
 * that, or when there is no other. */
static int is_over(struct judge *j, struct str who, int64_t time, bool *out)
{
    const struct event_key ever = {.time = TIME_NONE}, then = {.time = time};
    bool lives;
    int rc = is_erased(j, who, &ever, out);

    if (rc < 0 || !*out)
        return rc;
    rc = is_erased(j, who, &then, out);
    if (rc < 0 || *out)
        return rc;
    rc = j->asks.lives(j->asks.arg, who, &lives, &j->err);
    *out = !lives;
    return rc;
}

/* --- events --------------------------------------------------------------------------------------------------- */

/* Bytes that are no event belong to nobody. `stripped`: what is left of an erased person's order. */
static int event_is_erased(struct judge *j, struct str bytes, struct arena *a, bool *out, bool *stripped)
{
    struct event ev;
    int rc = event_unpack(bytes, a, &ev);

    *out = *stripped = false;
    if (rc != CODEC_OK)
        return rc < 0 ? rc : 0;
    *stripped = ev.erased;
    if (ev.erased || !str_has(event_log_key(&ev)))
        return 0;
    const struct event_key key = event_key(&ev);
    return is_erased(j, owner_of(a, ev.anonymous_id, ev.user_id), &key, out);
}

static int judge_event(struct judge *j, struct str bytes)
{
    bool erased, stripped;
    int rc = event_is_erased(j, bytes, &j->arena, &erased, &stripped);

    return rc < 0 ? rc : erased ? LOG_BLANK : LOG_KEEP;
}

/* What came from a client is sealed, or masked; what came from the log is as it stood there. */
static int judge_bad(struct judge *j, const struct log_record *r)
{
    struct bad_event bad;
    int rc = bad_event_unpack(r->value, &j->arena, &bad);

    if (rc != CODEC_OK)
        return rc < 0 ? rc : LOG_KEEP;
    return bad.sealed || !bad.from_log || !str_has(bad.bytes) ? LOG_KEEP : judge_event(j, bad.bytes);
}

/* --- what partitions tell each other -------------------------------------------------------------------------- */

/* Whom it is about; absent: nobody, or memory is out, see there. */
static struct str whom(struct judge *j, const struct internal *r)
{
    return str_has(r->owner) ? r->owner : owner_of(&j->arena, r->device, r->user);
}

static int item_is_erased(struct judge *j, struct str who, const struct internal_item *item, bool *out)
{
    bool stripped = false;
    int rc = 0;

    *out = false;
    arena_reset(&j->items);
    if (str_has(item->bytes))
        rc = event_is_erased(j, item->bytes, &j->items, out, &stripped);
    return rc < 0 || *out || stripped ? rc : is_erased(j, who, &item->key, out);
}

static int judge_items(struct judge *j, struct internal *r, struct str who, struct buf *value)
{
    struct internal_item *kept = arena_alloc(&j->arena, r->item_count * sizeof *kept);
    size_t n = 0;

    if (!kept)
        return -ENOMEM;
    for (size_t i = 0; i < r->item_count; i++) {
        bool erased;
        int rc = item_is_erased(j, who, &r->items[i], &erased);

        if (rc < 0)
            return rc;
        if (!erased)
            kept[n++] = r->items[i];
    }
    if (n == r->item_count || n == 0)
        return n == 0 ? LOG_BLANK : LOG_KEEP;
    r->items = kept;
    r->item_count = n;
    return internal_pack(r, value) ? LOG_REPLACE : -ENOMEM;
}

static int judge_internal(struct judge *j, const struct log_record *r, struct buf *value)
{
    struct internal i;
    bool erased = false;
    int rc = internal_unpack(r->value, &j->arena, &i);

    if (rc != CODEC_OK)
        return rc < 0 ? rc : LOG_KEEP;
    if (i.kind == INTERNAL_LINK && i.erased)
        return LOG_KEEP; /* its user is an alias */
    struct str who = whom(j, &i);
    if (!str_has(who))
        return -ENOMEM;
    if (i.item_count > 0)
        return judge_items(j, &i, who, value);
    if (i.kind == INTERNAL_LINK || i.kind == INTERNAL_PAIR)
        rc = is_erased(j, who, &i.key, &erased);
    else
        rc = is_over(j, who, r->time, &erased);
    return rc < 0 ? rc : erased ? LOG_BLANK : LOG_KEEP;
}

/* --- commands ------------------------------------------------------------------------------------------------- */

/* Without the name it still says the same: whom its hash means. */
static int judge_erase(struct judge *j, struct command *c, struct str who, struct buf *value)
{
    if (c->hash.n != ERASURE_HASH_BYTES || !j->asks.forgotten(j->asks.arg, who))
        return LOG_KEEP;
    c->device = c->user = STR_NONE;
    return command_pack(c, value) ? LOG_REPLACE : -ENOMEM;
}

static int judge_command(struct judge *j, const struct log_record *r, struct buf *value)
{
    struct command c;
    bool erased;
    int rc = command_unpack(r->value, &j->arena, &c);

    if (rc != CODEC_OK)
        return rc < 0 ? rc : LOG_KEEP;
    if (!str_has(c.user) && !str_has(c.device))
        return LOG_KEEP;
    struct str who = owner_of(&j->arena, c.device, c.user);
    if (!str_has(who))
        return -ENOMEM;
    if (c.kind == COMMAND_ERASE)
        return judge_erase(j, &c, who, value);
    rc = is_over(j, who, r->time, &erased);
    return rc < 0 ? rc : erased ? LOG_BLANK : LOG_KEEP;
}

int judge_record(void *judge, const struct log_record *r, struct buf *value)
{
    struct judge *j = judge;
    int rc;

    arena_reset(&j->arena);
    j->err = (struct err){0};
    switch (r->kind) {
    case LOG_KIND_EVENT:
        rc = judge_event(j, r->value);
        break;
    case LOG_KIND_BAD:
        rc = judge_bad(j, r);
        break;
    case LOG_KIND_INTERNAL:
        rc = judge_internal(j, r, value);
        break;
    case LOG_KIND_COMMAND:
        rc = judge_command(j, r, value);
        break;
    default:
        rc = LOG_KEEP;
    }
    if (rc < 0 && !j->err.text[0])
        err_set(&j->err, "%s", rc == -ENOMEM ? "memory is out" : strerror(-rc));
    return rc;
}
