/* The judgement of records: events by their stream's owner and time, as folding does it; what partitions tell each
 * other by whom it is about. The eraser's thread. */
#include "profiler/eraser_judge.h"

#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "profiler/audience_change.h"
#include "profiler/order.h"
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

/* Whether they are an erased person's event; bytes that are no event belong to nobody. What is left of an erased
 * person's order is not: see *ev. */
static int look_at(struct judge *j, struct str bytes, struct arena *a, struct event *ev, bool *erased)
{
    int rc = event_unpack(bytes, a, ev);

    *erased = false;
    if (rc != CODEC_OK) {
        *ev = (struct event){0};
        return rc < 0 ? rc : 0;
    }
    if (ev->erased || !str_has(event_log_key(ev)))
        return 0;
    const struct event_key key = event_key(ev);
    return is_erased(j, owner_of(a, ev->anonymous_id, ev->user_id), &key, erased);
}

/* Whether folding takes it for what is said of an order; what is bad says nothing. */
static bool is_statement(const struct log_record *r, const struct event *ev)
{
    enum order_status status;

    return order_stated(ev, &status) && ev->order.order_id.n <= ORDER_ID_MAX_BYTES &&
           ev->anonymous_id.n <= KEY_ID_MAX_BYTES && ev->user_id.n <= KEY_ID_MAX_BYTES &&
           str_eq(r->key, event_log_key(ev));
}

static int judge_event(struct judge *j, const struct log_record *r, struct buf *value)
{
    struct event ev;
    bool erased;
    int rc = look_at(j, r->value, &j->arena, &ev, &erased);

    if (rc < 0 || !erased)
        return rc < 0 ? rc : LOG_KEEP;
    if (!is_statement(r, &ev))
        return LOG_BLANK;
    return order_strip(&ev, value) ? LOG_REPLACE : -ENOMEM;
}

/* What came from a client is sealed, or masked; what came from the log is as it stood there. */
static int judge_bad(struct judge *j, const struct log_record *r)
{
    struct bad_event bad;
    struct event ev;
    bool erased;
    int rc = bad_event_unpack(r->value, &j->arena, &bad);

    if (rc != CODEC_OK)
        return rc < 0 ? rc : LOG_KEEP;
    if (bad.sealed || !bad.from_log || !str_has(bad.bytes))
        return LOG_KEEP;
    rc = look_at(j, bad.bytes, &j->arena, &ev, &erased);
    return rc < 0 ? rc : erased ? LOG_BLANK : LOG_KEEP;
}

/* --- what partitions tell each other -------------------------------------------------------------------------- */

/* A record, and whom it is about. */
struct told {
    const struct internal *r;
    struct str who;
    int64_t time; /* when it was put on the log */
};

/* Absent: nobody, or memory is out, see there. */
static struct str whom(struct judge *j, const struct internal *r)
{
    return str_has(r->owner) ? r->owner : owner_of(&j->arena, r->device, r->user);
}

/* Whether the record names the profile to which an erased person's statements of the order fall. */
static bool is_nobodys(const struct told *t)
{
    static const char prefix[] = "anon:" ORDER_DEVICE_PREFIX;
    const size_t n = sizeof prefix - 1;

    return str_starts(t->who, (struct str){prefix, n}) &&
           str_eq((struct str){t->who.p + n, t->who.n - n}, t->r->order_id);
}

/* What is later than all that was erased of a person is their next life's, if there is one: others speak of an order of
 * theirs before its home knows. What was placed with somebody who is nobody was taken back, and its device's home has
 * it. */
static int is_of_nobody(struct judge *j, const struct told *t, bool *out)
{
    const struct event_key ever = {.time = TIME_NONE};
    bool lives;
    int rc = is_erased(j, t->who, &ever, out);

    if (rc < 0 || !*out)
        return rc;
    rc = j->asks.lives(j->asks.arg, t->who, &lives, &j->err);
    *out = !lives;
    return rc;
}

/* What is left of an order is nobody's. Its home may have named whose it had been, on its way there; a next life of
 * theirs may have the order. */
static int stripped_is_erased(struct judge *j, const struct told *t, const struct internal_item *item, bool *out)
{
    const struct event_key then = {.time = t->time};
    bool before;
    int rc;

    *out = false;
    if (is_nobodys(t))
        return 0;
    rc = is_erased(j, t->who, &item->key, &before);
    if (rc == 0 && before)
        rc = is_erased(j, t->who, &then, out);
    return rc < 0 || *out ? rc : is_of_nobody(j, t, out);
}

static int item_is_erased(struct judge *j, const struct told *t, const struct internal_item *item, bool *out)
{
    struct event ev = {0};
    int rc = 0;

    *out = false;
    arena_reset(&j->items);
    if (str_has(item->bytes))
        rc = look_at(j, item->bytes, &j->items, &ev, out);
    if (rc < 0 || *out)
        return rc;
    if (ev.erased)
        return stripped_is_erased(j, t, item, out);
    rc = is_erased(j, t->who, &item->key, out);
    if (rc < 0 || *out)
        return rc;
    return is_of_nobody(j, t, out);
}

static int judge_items(struct judge *j, struct internal *r, struct str who, int64_t time, struct buf *value)
{
    const struct told t = {r, who, time};
    struct internal_item *kept = arena_alloc(&j->arena, r->item_count * sizeof *kept);
    size_t n = 0;

    if (!kept)
        return -ENOMEM;
    for (size_t i = 0; i < r->item_count; i++) {
        bool erased;
        int rc = item_is_erased(j, &t, &r->items[i], &erased);

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

/* A link whose user is an alias still names the device, which may be others' as well. */
static int judge_alias(struct judge *j, const struct internal *r)
{
    struct str device = profile_of(&j->arena, "anon:", r->device);
    bool lives;
    int rc = str_has(device) ? j->asks.lives(j->asks.arg, device, &lives, &j->err) : -ENOMEM;

    return rc < 0 ? rc : lives ? LOG_KEEP : LOG_BLANK;
}

static int judge_internal(struct judge *j, const struct log_record *r, struct buf *value)
{
    struct internal i;
    bool erased = false;
    int rc = internal_unpack(r->value, &j->arena, &i);

    if (rc != CODEC_OK)
        return rc < 0 ? rc : LOG_KEEP;
    if (i.kind == INTERNAL_GRAVE)
        return LOG_KEEP; /* it names nobody, and is all that will be known */
    if (i.kind == INTERNAL_LINK && i.erased && !i.removed)
        return judge_alias(j, &i);
    struct str who = whom(j, &i);
    if (!str_has(who))
        return -ENOMEM;
    if (i.item_count > 0)
        return judge_items(j, &i, who, r->time, value);
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

/* --- audiences ------------------------------------------------------------------------------------------------ */

/* Who entered or left, of the life that is over. */
static int judge_change(struct judge *j, const struct log_record *r)
{
    struct audience_change c;
    bool erased;
    int rc = audience_change_read(r->value, &j->arena, &c);

    if (rc != 0 || !str_has(c.id))
        return rc < 0 ? rc : LOG_KEEP;
    rc = is_over(j, c.id, r->time, &erased);
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
        rc = judge_event(j, r, value);
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
    case LOG_KIND_CHANGE:
        rc = judge_change(j, r);
        break;
    default:
        rc = LOG_KEEP;
    }
    if (rc < 0 && !j->err.text[0])
        err_set(&j->err, "%s", rc == -ENOMEM ? "memory is out" : strerror(-rc));
    return rc;
}
