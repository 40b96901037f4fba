/* Orders in the state: the statements of one order under one log key, kept as one value that is made anew for each
 * change, so that a view can hold on to it. Changes are the worker's; reading is anybody's. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"
#include "proto/codec.h"

/* --- the value ------------------------------------------------------------------------------------------------ */

struct order_doc *order_doc_new(struct str bytes)
{
    struct order_doc *d = malloc(sizeof *d + bytes.n);

    if (!d)
        return NULL;
    atomic_init(&d->refs, 1);
    d->n = bytes.n;
    if (bytes.n)
        memcpy(d->bytes, bytes.p, bytes.n);
    return d;
}

struct order_doc *order_doc_ref(struct order_doc *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void order_doc_unref(struct order_doc *d)
{
    if (d && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        free(d);
}

static bool get_span(const char **p, const char *end, struct str *out)
{
    uint64_t n;

    if (!get_varint(p, end, &n) || n > (size_t)(end - *p))
        return false;
    *out = (struct str){*p, (size_t)n};
    *p += n;
    return true;
}

static void put_key(const struct event_key *key, struct buf *b)
{
    buf_add_svarint(b, key->time);
    buf_add_svarint(b, key->received);
    buf_add_varint(b, key->position);
    buf_add(b, key->uid.b, UID_BYTES);
}

static bool get_key(const char **p, const char *end, struct event_key *out)
{
    uint64_t position;

    if (!get_svarint(p, end, &out->time) || !get_svarint(p, end, &out->received) || !get_varint(p, end, &position) ||
        position > UINT32_MAX || end - *p < UID_BYTES)
        return false;
    out->position = (uint32_t)position;
    memcpy(out->uid.b, *p, UID_BYTES);
    *p += UID_BYTES;
    return true;
}

static void put_rank(const struct event_rank *rank, struct buf *b)
{
    buf_add_varint(b, rank->trust);
    put_key(&rank->key, b);
}

static bool get_rank(const char **p, const char *end, struct event_rank *out)
{
    uint64_t trust;

    if (!get_varint(p, end, &trust) || trust < TRUST_BEACON || trust > TRUST_SERVER || !get_key(p, end, &out->key))
        return false;
    out->trust = (enum event_trust)trust;
    return true;
}

int order_doc_rank(struct str bytes, struct event_rank *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format;

    return get_varint(&p, end, &format) && format == STATE_FORMAT && get_rank(&p, end, out) ? 0 : -EIO;
}

int order_doc_read(struct str bytes, struct arena *a, struct order_parts *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, truncated;
    struct chunk_reader r;
    size_t i = 0;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_rank(&p, end, &out->rank) ||
        !get_span(&p, end, &out->owner) || !get_span(&p, end, &out->order_id) || !get_varint(&p, end, &truncated) ||
        (truncated && !get_key(&p, end, &out->cut)) || !chunk_open((struct str){p, (size_t)(end - p)}, &r) ||
        r.left == 0)
        return -EIO;
    out->truncated = truncated != 0;
    out->count = r.left;
    out->statements = arena_alloc(a, r.left * sizeof *out->statements);
    if (!out->statements)
        return -ENOMEM;
    while (chunk_next(&r, &out->statements[i]))
        i++;
    return r.left ? -EIO : 0;
}

bool order_doc_write(const struct order_parts *parts, struct arena *a, struct buf *b)
{
    const struct chunk_entry **v = arena_alloc(a, parts->count * sizeof(*v));

    if (!v)
        return false;
    for (size_t i = 0; i < parts->count; i++)
        v[i] = &parts->statements[i];
    buf_add_varint(b, STATE_FORMAT);
    put_rank(&parts->rank, b);
    buf_add_varint(b, parts->owner.n);
    buf_add_str(b, parts->owner);
    buf_add_varint(b, parts->order_id.n);
    buf_add_str(b, parts->order_id);
    buf_add_varint(b, parts->truncated);
    if (parts->truncated)
        put_key(&parts->cut, b);
    return chunk_write(v, parts->count, b);
}

int order_parts_build(const struct order_parts *parts, const struct fold_rules *rules, struct arena *a,
                      struct order *out)
{
    struct event *events = arena_alloc(a, parts->count * sizeof *events);
    const struct event **v = arena_alloc(a, parts->count * sizeof(*v));

    assert(parts->count > 0);
    if (!events || !v)
        return -ENOMEM;
    for (size_t i = 0; i < parts->count; i++) {
        if (event_unpack(parts->statements[i].bytes, a, &events[i]) != CODEC_OK)
            return -EIO;
        v[i] = &events[i];
    }
    return order_build(v, parts->count, rules, a, out);
}

struct str order_owner(const struct order *order, char *buf)
{
    return profile_id(order->best->anonymous_id, order->best->user_id, buf);
}

/* --- changing one --------------------------------------------------------------------------------------------- */

static size_t place_of(const struct order_parts *parts, const struct event_key *key)
{
    size_t low = 0, high = parts->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (event_key_cmp(&parts->statements[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* `parts` has room for one more. */
static void insert(struct order_parts *parts, const struct chunk_entry *e)
{
    size_t at = place_of(parts, &e->key);

    memmove(parts->statements + at + 1, parts->statements + at, (parts->count - at) * sizeof *parts->statements);
    parts->statements[at] = *e;
    parts->count++;
}

static bool take_out(struct order_parts *parts, const struct chunk_entry *e)
{
    size_t at = place_of(parts, &e->key);

    if (at == parts->count || event_key_cmp(&parts->statements[at].key, &e->key) != 0)
        return false;
    parts->count--;
    memmove(parts->statements + at, parts->statements + at + 1, (parts->count - at) * sizeof *parts->statements);
    return true;
}

/* How many of the statements count: the first ones, as far as number and memory allow, and one in any case. */
static size_t count_that_count(const struct order_parts *parts)
{
    size_t n = 0, bytes = 0;

    for (; n < parts->count && n < LIMIT_STATEMENTS; n++) {
        bytes += event_unpacked_bytes(parts->statements[n].bytes);
        if (n > 0 && bytes > LIMIT_STATEMENTS_BYTES)
            break;
    }
    return n;
}

/* Takes it out; true when a statement that was left out may count now. */
static bool leaves_gap(struct order_parts *parts, const struct chunk_entry *e)
{
    bool first_out = parts->truncated && event_key_cmp(&e->key, &parts->cut) == 0;

    return take_out(parts, e) ? parts->truncated : first_out;
}

/* Leaves out those that do not count. What comes after the first that was left out will never count while it stands:
 * its place is kept, so that it makes no difference in which order they arrive. */
static void cut(struct order_parts *parts)
{
    size_t n = count_that_count(parts);

    if (n == parts->count)
        return;
    parts->cut = parts->statements[n].key;
    parts->count = n;
    parts->truncated = true;
}

static bool is_beyond(const struct order_parts *parts, const struct event_key *key)
{
    return parts->truncated && event_key_cmp(key, &parts->cut) > 0;
}

/* Adds the statements that a profile's path has of the order, but for `drop`. */
static int collect_path(struct partition *p, struct str profile, const struct chunk_entry *drop,
                        struct order_parts *parts, struct err *e)
{
    struct arena *a = &p->order_arena;
    struct state_view view;
    int rc = state_view(p->state, p->number, profile, VIEW_PATH | VIEW_UNCOUNTED, &view, e);

    if (rc != 0)
        return rc == STATE_NOT_FOUND ? 0 : rc;
    for (size_t i = 0; i < view.path_count && rc == 0; i++) {
        enum order_status status;
        struct event ev;

        if (!(view.path[i].flags & ENTRY_ORDER) || event_key_cmp(&view.path[i].key, &drop->key) == 0)
            continue;
        arena_reset(&p->arena_other);
        if (event_unpack(view.path[i].bytes, &p->arena_other, &ev) != CODEC_OK)
            rc = damaged(e, "an event");
        else if (order_stated(&ev, &status) && str_eq(ev.order.order_id, parts->order_id)) {
            struct chunk_entry entry = {view.path[i].key, view.path[i].flags, STR_NONE};

            if (is_beyond(parts, &entry.key))
                break; /* and so is the rest of the path */
            entry.bytes = arena_dup(a, view.path[i].bytes);
            if (!entry.bytes.p)
                rc = -ENOMEM;
            else
                insert(parts, &entry);
            cut(parts);
        }
    }
    state_view_free(&view);
    return rc;
}

/* An order whose statements were cut lost one that counted: the next in line is only in the paths. */
static int collect(struct partition *p, struct str profile, const struct chunk_entry *drop, struct order_parts *parts,
                   struct err *e)
{
    char buf[PROFILE_ID_MAX_BYTES];
    int rc;

    parts->count = 0;
    parts->truncated = false;
    rc = collect_path(p, profile, drop, parts, e);
    if (rc == 0)
        rc = collect_path(p, profile_sibling(profile, buf), drop, parts, e);
    return rc;
}

static int load_before(struct partition *p, struct order_change *c, struct order_parts *parts, struct err *e)
{
    const struct order_doc *doc = c->order->doc;
    int rc;

    if (!doc)
        return 0;
    rc = order_doc_read((struct str){doc->bytes, doc->n}, &p->order_arena, parts);
    if (rc == 0)
        rc = order_parts_build(parts, p->state->rules, &p->order_arena, &c->before);
    if (rc == -EIO)
        return damaged(e, "an order");
    c->had = rc == 0;
    return rc < 0 ? rc : partition_profile(p, parts->owner, &c->owner_before, e);
}

static int change_parts(struct partition *p, struct str profile, const struct chunk_entry *drop,
                        const struct chunk_entry *add, struct order_parts *parts, struct err *e)
{
    struct chunk_entry *v = arena_alloc(&p->order_arena, (LIMIT_STATEMENTS + 2) * sizeof *v);
    int rc = 0;

    if (!v)
        return -ENOMEM;
    assert(parts->count <= LIMIT_STATEMENTS);
    if (parts->count)
        memcpy(v, parts->statements, parts->count * sizeof *v);
    parts->statements = v;
    if (drop && leaves_gap(parts, drop))
        rc = collect(p, profile, drop, parts, e);
    if (add && rc == 0 && !is_beyond(parts, &add->key))
        insert(parts, add);
    cut(parts);
    return rc;
}

static int build_now(struct partition *p, struct order_change *c, struct order_parts *parts, struct err *e)
{
    char buf[PROFILE_ID_MAX_BYTES];
    int rc;

    if (parts->count == 0)
        return 0;
    rc = order_parts_build(parts, p->state->rules, &p->order_arena, &c->now);
    if (rc < 0)
        return rc == -EIO ? damaged(e, "an order") : rc;
    c->has = true;
    c->rank = parts->rank = event_rank(c->now.best);
    parts->owner = order_owner(&c->now, buf);
    rc = partition_profile(p, parts->owner, &c->owner_now, e);
    if (rc < 0)
        return rc;
    buf_reset(&p->scratch);
    if (!order_doc_write(parts, &p->order_arena, &p->scratch))
        return -ENOMEM;
    c->doc = order_doc_new(buf_str(&p->scratch));
    return c->doc ? 0 : -ENOMEM;
}

int order_change_make(struct partition *p, struct str profile, struct str order_id, const struct chunk_entry *drop,
                      const struct chunk_entry *add, struct order_change *out, struct err *e)
{
    struct order_parts parts = {.order_id = order_id};
    int rc;

    *out = (struct order_change){0};
    rc = partition_order(p, partition_hash(p, profile_log_key(profile)), partition_hash(p, order_id), &out->order, e);
    if (rc == 0)
        rc = load_before(p, out, &parts, e);
    if (rc == 0)
        rc = change_parts(p, profile, drop, add, &parts, e);
    if (rc == 0)
        rc = build_now(p, out, &parts, e);
    return rc;
}

void order_change_drop(struct order_change *c)
{
    order_doc_unref(c->doc);
    c->doc = NULL;
}

/* --- showing it ----------------------------------------------------------------------------------------------- */

static void change_facts(struct partition *p, struct profile *r, const struct order *before, const struct order *now,
                         const struct order_shown *shown, bool in_order)
{
    struct facts_order was = {before, STR_NONE}, is = {now, STR_NONE};

    profile_touch(p, r);
    r->version = shown->version;
    if (r->refold)
        return;
    if (facts_touch_matters(&r->facts, 0, in_order, true) ||
        facts_change_order(&r->facts, before ? &was : NULL, now ? &is : NULL, p->state->rules) != FACTS_OK)
        r->refold = true;
    partition_recount(p, &r->kept);
}

/* Among those of its id that changed. */
static void join_same(struct partition *p, struct kept_order *o)
{
    struct table_node *n = table_find(&p->changed_orders, &o->by_id.key);
    struct kept_order *head = n ? kept_order_by_id(n) : o;

    o->next_same = n ? head->next_same : NULL;
    if (n) {
        assert(head->interval == p->interval_number);
        head->next_same = o;
        head->same_count++;
    } else {
        int rc = table_add(&p->changed_orders, &o->by_id);

        assert(rc == 0);
        (void)rc;
        o->is_head = true;
        o->same_count = 1;
    }
    if (head->same_count > p->most_same)
        p->most_same = head->same_count;
}

static void order_touch(struct partition *p, struct kept_order *o, struct profile *via)
{
    o->kept.touched = true;
    if (o->interval == p->interval_number)
        return;
    o->interval = p->interval_number;
    o->next_dirty = via->dirty_orders;
    via->dirty_orders = o;
    pointers_add(&p->dirty_orders, o);
    join_same(p, o);
}

void order_change_apply(struct partition *p, struct order_change *c, struct profile *via,
                        const struct order_shown *shown)
{
    const struct order *before = c->had ? &c->before : NULL, *now = c->has ? &c->now : NULL;
    struct profile *was = c->owner_before, *is = c->owner_now;

    profile_touch(p, via);
    order_touch(p, c->order, via);
    order_doc_unref(c->order->doc);
    c->order->doc = c->doc;
    c->order->rank = c->rank;
    c->doc = NULL;
    partition_recount(p, &c->order->kept);
    if (was && was != is)
        change_facts(p, was, before, NULL, shown,
                     was == via ? shown->in_order : facts_comes_last(&was->facts, shown->time));
    if (is)
        change_facts(p, is, was == is ? before : NULL, now, shown,
                     is == via ? shown->in_order : facts_comes_last(&is->facts, shown->time));
}
