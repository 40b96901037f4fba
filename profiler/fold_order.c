/* Orders at their owners: what an order's home tells of its statements becomes an order of the profile, and counts in
 * its facts. The worker's thread. */
#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/erased.h"
#include "profiler/order_doc.h"
#include "profiler/order_home.h"
#include "proto/codec.h"

/* An order that a record changes. */
struct order_change {
    struct partition *p;
    struct profile *profile;
    struct kept_order *order;
    struct order_parts parts;
    const struct event **events; /* of its statements, each where its statement is */
    bool changed;                /* something newer was told */
    bool had, has;               /* whether there was, is an order */
    struct order before, now;
    struct order_doc *doc;          /* new */
    const struct tombstone *erased; /* the owner was, or NULL */
    bool was_erased;                /* the owner, or who had its device */
    bool strips;                    /* a statement of somebody who was erased is left without them */
    struct err *err;
};

/* --- what is there -------------------------------------------------------------------------------------------- */

/* NULL when it cannot be read; -ENOMEM in *rc when memory is out. */
static const struct event *decode(struct order_change *c, struct str bytes, int *rc)
{
    struct event *ev = arena_alloc(&c->p->order_arena, sizeof *ev);

    *rc = ev ? event_unpack(bytes, &c->p->order_arena, ev) : -ENOMEM;
    return *rc == CODEC_OK ? ev : NULL;
}

static int read_doc(struct order_change *c, const struct internal *r)
{
    struct arena *a = &c->p->order_arena;
    const struct order_doc *doc = c->order->doc;
    int rc;

    if (!doc) {
        c->parts.floor = (struct internal_version){INT64_MIN, 0};
        rc = order_parts_alloc(&c->parts, a, r->item_count);
    } else {
        rc = order_doc_read((struct str){doc->bytes, doc->n}, a, r->item_count, &c->parts);
    }
    c->parts.order_id = r->order_id;
    c->parts.owner = r->owner;
    c->events = arena_alloc(a, (c->parts.count + r->item_count + 1) * sizeof(*c->events));
    if (rc == 0 && !c->events)
        rc = -ENOMEM;
    for (size_t i = 0; i < c->parts.count && rc == 0; i++) {
        c->events[i] = decode(c, c->parts.statements[i].bytes, &rc);
        if (rc > 0)
            rc = -EIO;
    }
    c->had = c->parts.count > 0;
    if (rc == 0 && c->had)
        rc = order_build(c->events, c->parts.count, c->p->state->rules, a, &c->before);
    return rc == -EIO ? damaged(c->err, "an order") : rc;
}

/* --- what is told --------------------------------------------------------------------------------------------- */

static size_t find_statement(const struct order_parts *parts, const struct uid *uid)
{
    size_t i = 0;

    while (i < parts->count && memcmp(parts->statements[i].key.uid.b, uid->b, UID_BYTES) != 0)
        i++;
    return i;
}

static size_t find_marker(const struct order_parts *parts, const struct uid *uid)
{
    size_t i = 0;

    while (i < parts->marker_count && memcmp(parts->markers[i].uid.b, uid->b, UID_BYTES) != 0)
        i++;
    return i;
}

static void take_out(struct order_change *c, size_t at)
{
    struct order_parts *parts = &c->parts;
    size_t behind = --parts->count - at;

    memmove(parts->statements + at, parts->statements + at + 1, behind * sizeof *parts->statements);
    memmove(parts->versions + at, parts->versions + at + 1, behind * sizeof *parts->versions);
    memmove(c->events + at, c->events + at + 1, behind * sizeof(*c->events));
}

static void put_in(struct order_change *c, const struct internal_item *item, struct internal_version version,
                   const struct event *ev)
{
    struct order_parts *parts = &c->parts;
    size_t at = parts->count, behind;

    while (at > 0 && event_key_cmp(&parts->statements[at - 1].key, &item->key) > 0)
        at--;
    behind = parts->count++ - at;
    memmove(parts->statements + at + 1, parts->statements + at, behind * sizeof *parts->statements);
    memmove(parts->versions + at + 1, parts->versions + at, behind * sizeof *parts->versions);
    memmove(c->events + at + 1, c->events + at, behind * sizeof(*c->events));
    parts->statements[at] = (struct chunk_entry){item->key, ENTRY_ORDER, item->bytes};
    parts->versions[at] = version;
    c->events[at] = ev;
}

/* Whether the bytes are a statement of the order, as its home tells only such. */
static const struct event *read_statement(struct order_change *c, const struct internal_item *item, int *rc)
{
    const struct event *ev = decode(c, item->bytes, rc);
    enum order_status status;
    struct event_key key;

    if (!ev)
        return NULL;
    key = event_key(ev);
    return order_stated(ev, &status) && str_eq(ev->order.order_id, c->parts.order_id) &&
                   event_key_cmp(&key, &item->key) == 0
               ? ev
               : NULL;
}

static int take_item(struct order_change *c, const struct internal_item *item, struct internal_version version)
{
    struct order_parts *parts = &c->parts;
    size_t s = find_statement(parts, &item->key.uid), m = find_marker(parts, &item->key.uid);
    struct internal_version known = s < parts->count          ? parts->versions[s]
                                    : m < parts->marker_count ? parts->markers[m].version
                                                              : parts->floor;
    const struct event *ev = NULL;
    int rc = 0;

    if (internal_version_cmp(version, known) <= 0)
        return 0;
    if (str_has(item->bytes)) {
        ev = read_statement(c, item, &rc);
        if (!ev)
            return rc < 0 ? rc : 0;
        if (c->erased && ev->time <= c->erased->is.until && str_eq(ev->user_id, profile_log_key(c->parts.owner)))
            return 0; /* its home will hear of it */
        c->strips = c->strips || ev->erased;
    }
    if (s < parts->count)
        take_out(c, s);
    if (m < parts->marker_count)
        parts->markers[m] = parts->markers[--parts->marker_count];
    if (ev)
        put_in(c, item, version, ev);
    else
        parts->markers[parts->marker_count++] = (struct order_marker){item->key.uid, version};
    c->changed = true;
    return 0;
}

/* Beyond so many, those that were taken back first are not known one by one any more: what is not newer than the
 * newest of them is not believed of anything unknown. The home tells everything in the order of its versions. */
static void bound_markers(struct order_parts *parts)
{
    while (parts->marker_count > ORDER_MARKERS) {
        size_t oldest = 0;

        for (size_t i = 1; i < parts->marker_count; i++)
            if (internal_version_cmp(parts->markers[i].version, parts->markers[oldest].version) < 0)
                oldest = i;
        if (internal_version_cmp(parts->markers[oldest].version, parts->floor) > 0)
            parts->floor = parts->markers[oldest].version;
        parts->markers[oldest] = parts->markers[--parts->marker_count];
    }
}

static int build_now(struct order_change *c)
{
    struct partition *p = c->p;
    int rc = 0;

    bound_markers(&c->parts);
    c->has = c->parts.count > 0;
    if (c->has)
        rc = order_build(c->events, c->parts.count, p->state->rules, &p->order_arena, &c->now);
    if (rc < 0)
        return rc;
    buf_reset(&p->scratch);
    if (!order_doc_write(&c->parts, &p->order_arena, &p->scratch))
        return -ENOMEM;
    rc = pointers_reserve(&p->dirty_orders, 1);
    if (rc == 0)
        rc = pointers_reserve(&p->dirty_profiles, 1);
    if (rc < 0)
        return rc;
    c->doc = order_doc_new(buf_str(&p->scratch));
    return c->doc ? 0 : -ENOMEM;
}

/* --- showing it, with the lock -------------------------------------------------------------------------------- */

static void order_touch(struct partition *p, struct kept_order *o, struct profile *r)
{
    o->kept.touched = true;
    if (o->interval == p->interval_number)
        return;
    o->interval = p->interval_number;
    o->next_dirty = r->dirty_orders;
    r->dirty_orders = o;
    pointers_add(&p->dirty_orders, o);
}

static void change_facts(struct order_change *c)
{
    struct facts_order was = {&c->before, STR_NONE}, is = {&c->now, STR_NONE};
    struct profile *r = c->profile;

    if (r->refold)
        return;
    if (facts_touch_matters(&r->facts, 0, false, true) ||
        facts_change_order(&r->facts, c->had ? &was : NULL, c->has ? &is : NULL, c->p->state->rules) != FACTS_OK)
        r->refold = true;
}

static void show(struct order_change *c)
{
    struct partition *p = c->p;
    struct profile *r = c->profile;

    profile_touch_from(p, r, INT64_MAX);
    order_touch(p, c->order, r);
    order_doc_unref(c->order->doc);
    c->order->doc = c->doc;
    if (c->had || c->has || r->version == 0) /* what is on disk of an order stands with a profile */
        r->version = p->cascade.cause + 1;
    if (c->had || c->has)
        change_facts(c);
    if (c->was_erased || c->strips)
        erased_mark(p);
    partition_recount(p, &c->order->kept);
    partition_recount(p, &r->kept);
}

int order_placed(struct partition *p, const struct internal *r, size_t *done, struct err *e)
{
    struct order_change c = {.p = p, .err = e};
    int rc = partition_profile(p, r->owner, &c.profile, e);

    arena_reset(&p->order_arena);
    if (rc == 0)
        rc = partition_order(p, c.profile->node.key, partition_hash(p, r->order_id), &c.order, e);
    if (rc == 0)
        rc = read_doc(&c, r);
    if (rc == 0)
        rc = profile_was_erased(p, r->owner, &c.was_erased, e);
    if (str_starts(r->owner, STR_LIT("user:")))
        c.erased = tombstone_find(p, r->owner);
    for (size_t i = 0; i < r->item_count && rc == 0; i++)
        rc = take_item(&c, &r->items[i], r->version);
    if (rc == 0 && c.changed)
        rc = build_now(&c);
    if (rc < 0)
        return rc;
    if (c.changed) {
        pthread_mutex_lock(&p->lock);
        show(&c);
        pthread_mutex_unlock(&p->lock);
    }
    *done = r->item_count;
    return 0;
}
