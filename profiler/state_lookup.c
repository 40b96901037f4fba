/* Look-ups of facts and of single orders. Any thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define FACTS_BYTES (256 * MIB)

/* --- facts ---------------------------------------------------------------------------------------------------- */

enum where { IN_MEMORY, ON_DISK, TO_BE_FOLDED };

/* Facts as bytes: making a copy of them takes long enough to be done without the lock. */
static int pack_from_memory(struct partition *p, struct key_hash hash, struct buf *b, struct state_profile *out,
                            enum where *where)
{
    const struct profile *r;
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    if (!r || r->version == 0) {
        *where = ON_DISK;
    } else if (r->refold) {
        *where = TO_BE_FOLDED;
    } else {
        *where = IN_MEMORY;
        out->version = r->version;
        rc = facts_pack(&r->facts, b) ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int unpack(struct str bytes, struct state_profile *out, struct err *e)
{
    int rc = facts_unpack(bytes, &out->facts);

    return rc > 0 ? damaged(e, "the facts of a profile") : rc;
}

static int facts_from_disk(struct partition *p, struct key_hash hash, struct state_profile *out, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, hash);
    struct profile_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    if (profile_record_read(v.bytes, &record) < 0) {
        rc = damaged(e, "a profile");
    } else {
        out->version = record.version;
        rc = unpack(record.facts, out, e);
    }
    store_value_free(&v);
    return rc;
}

/* Leaves the folded facts for the next who asks, unless the profile has changed meanwhile. */
static void give_back(struct partition *p, struct key_hash hash, int64_t version, struct facts *facts)
{
    struct profile *r;

    pthread_mutex_lock(&p->lock);
    r = partition_find_profile(p, hash);
    if (r && r->refold && r->version == version) {
        struct facts old = r->facts;

        r->facts = *facts;
        *facts = old;
        r->refold = false;
        p->figures.refolds++;
    }
    pthread_mutex_unlock(&p->lock);
}

static int facts_by_folding(struct partition *p, struct str id, struct key_hash hash, struct buf *b,
                            struct state_profile *out, struct err *e)
{
    struct state_view view;
    struct facts facts;
    int rc = state_view(p->state, p->number, id, VIEW_PATH | VIEW_ORDERS, &view, e);

    if (rc != 0)
        return rc;
    out->version = view.version;
    rc = state_view_fold(&view, p->state->rules, &facts);
    state_view_free(&view);
    if (rc < 0)
        return rc;
    if (facts_pack(&facts, b))
        rc = unpack(buf_str(b), out, e);
    else
        rc = -ENOMEM;
    give_back(p, hash, out->version, &facts);
    facts_deinit(&facts);
    return rc;
}

int state_profile(struct state *s, uint32_t partition, struct str id, struct arena *a, struct state_profile *out,
                  struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct key_hash hash = state_hash(s, id);
    enum where where;
    struct buf b;
    int rc;

    assert(partition < s->partition_count);
    if (!profile_id_valid(id))
        return STATE_NOT_FOUND;
    out->id = arena_dup(a, id);
    if (!out->id.p)
        return -ENOMEM;
    buf_init(&b, FACTS_BYTES);
    rc = pack_from_memory(p, hash, &b, out, &where);
    if (rc == 0 && where == IN_MEMORY)
        rc = unpack(buf_str(&b), out, e);
    else if (rc == 0 && where == ON_DISK)
        rc = facts_from_disk(p, hash, out, e);
    else if (rc == 0)
        rc = facts_by_folding(p, id, hash, &b, out, e);
    buf_deinit(&b);
    return rc;
}

/* --- one order ------------------------------------------------------------------------------------------------ */

struct seen_doc {
    struct key_hash log_key;
    struct order_doc *doc;
};

struct order_search {
    struct partition *p;
    struct key_hash order;
    struct store_snapshot *snap;
    struct seen_doc *seen;
    size_t seen_count;
    struct arena *best; /* what the best one found points into; NULL: none yet */
    struct state_order *out;
    struct err *err;
};

/* Every order of that id in memory, whether it changed or not. With the lock. */
static int see_orders(struct order_search *s)
{
    struct table_node *first = table_find(&s->p->orders_by_id, &s->order), *n;
    size_t count = 0;

    for (n = first; n; n = table_again(n))
        count++;
    s->seen = calloc(count + 1, sizeof *s->seen);
    s->snap = store_snapshot_new(s->p->state->store);
    if (!s->seen || !s->snap)
        return -ENOMEM;
    for (n = first; n; n = table_again(n)) {
        const struct kept_order *o = (const struct kept_order *)((const char *)n - offsetof(struct kept_order, by_id));

        s->seen[s->seen_count++] = (struct seen_doc){o->log_key, o->doc ? order_doc_ref(o->doc) : NULL};
    }
    return 0;
}

static bool is_seen(const struct order_search *s, const struct key_hash *log_key)
{
    for (size_t i = 0; i < s->seen_count; i++)
        if (key_hash_eq(&s->seen[i].log_key, log_key))
            return true;
    return false;
}

static bool is_better(const struct event *e, const struct state_order *best)
{
    struct event_key key = event_key(e);

    return e->trust != best->trust ? e->trust > best->trust : event_key_cmp(&key, &best->key) > 0;
}

/* Builds the order in an arena of its own and keeps it when it is the best so far. */
static int consider(struct order_search *s, struct str doc)
{
    struct arena *a = malloc(sizeof *a);
    struct order_parts parts;
    struct order order;
    int rc = -ENOMEM;

    if (!a)
        return -ENOMEM;
    arena_init(a, SIZE_MAX);
    doc = arena_dup(a, doc);
    if (doc.p)
        rc = order_doc_read(doc, a, &parts);
    if (rc == 0)
        rc = order_parts_build(&parts, s->p->state->rules, a, &order);
    if (rc == 0 && order.best && (!s->best || is_better(order.best, s->out))) {
        struct arena *worse = s->best;

        *s->out = (struct state_order){order, parts.owner, order.best->trust, event_key(order.best), a};
        s->best = a;
        a = worse;
    }
    if (a) {
        arena_deinit(a);
        free(a);
    }
    return rc == -EIO ? damaged(s->err, "an order") : rc;
}

static int search_disk(struct order_search *s)
{
    struct state *state = s->p->state;
    struct key prefix = key_one(KEY_ORDER_INDEX, s->order);
    struct store_iter *it = store_iter_new(state->store, s->p->number, s->snap, true);
    struct key_hash order, log_key;
    struct str key;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, NULL); store_iter_next(it)) {
        struct store_value v = {0};
        struct key full;

        if (!str_starts(key, key_str(&prefix)))
            break;
        if (!key_read_two(key, KEY_ORDER_INDEX, &order, &log_key)) {
            rc = damaged(s->err, "a key");
        } else if (!is_seen(s, &log_key)) {
            full = key_two(KEY_ORDER, log_key, order);
            rc = store_get(state->store, s->p->number, key_str(&full), s->snap, &v, s->err);
            rc = rc == STORE_NOT_FOUND ? damaged(s->err, "an order") : rc < 0 ? rc : consider(s, v.bytes);
            store_value_free(&v);
        }
    }
    if (rc == 0)
        rc = store_iter_status(it, s->err);
    store_iter_free(it);
    return rc;
}

static int search(struct order_search *s)
{
    int rc;

    pthread_mutex_lock(&s->p->lock);
    rc = see_orders(s);
    pthread_mutex_unlock(&s->p->lock);
    for (size_t i = 0; i < s->seen_count && rc == 0; i++)
        if (s->seen[i].doc)
            rc = consider(s, (struct str){s->seen[i].doc->bytes, s->seen[i].doc->n});
    return rc == 0 ? search_disk(s) : rc;
}

int state_order(struct state *s, uint32_t partition, struct str order_id, struct state_order *out, struct err *e)
{
    struct order_search search_for = {
        .p = &s->partitions[partition], .order = state_hash(s, order_id), .out = out, .err = e};
    int rc;

    assert(partition < s->partition_count);
    rc = search(&search_for);
    for (size_t i = 0; i < search_for.seen_count; i++)
        order_doc_unref(search_for.seen[i].doc);
    free(search_for.seen);
    store_snapshot_free(s->store, search_for.snap);
    if (rc < 0 && search_for.best)
        state_order_free(out);
    return rc < 0 ? rc : search_for.best ? 0 : STATE_NOT_FOUND;
}

void state_order_free(struct state_order *o)
{
    struct arena *a = o->private;

    if (a) {
        arena_deinit(a);
        free(a);
    }
    o->private = NULL;
}
