/* Verifying one profile: its facts are the fold of its path and orders, and the orders under its log key hold the
 * statements that stand in its path, no more and no fewer. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/verify.h"
#include "proto/codec.h"

/* A statement in the path. */
struct stated {
    struct key_hash order;
    struct event_key key;
};

struct profile_check {
    struct verify *v;
    struct str id;
    struct state_view view;
    struct arena arena; /* an event */
    struct stated *stated;
    size_t stated_count, matched;
};

static int compare_stated(const void *a, const void *b)
{
    const struct stated *x = a, *y = b;
    int c = memcmp(x->order.b, y->order.b, KEY_HASH_BYTES);

    return c ? c : event_key_cmp(&x->key, &y->key);
}

static void differs(struct profile_check *c, const char *what)
{
    verify_say(c->v, "profile %.*s: %s", (int)(c->id.n < 80 ? c->id.n : 80), c->id.p, what);
}

/* --- the path ------------------------------------------------------------------------------------------------- */

static void check_entry(struct profile_check *c, const struct path_entry *entry)
{
    char id[PROFILE_ID_MAX_BYTES];
    enum order_status status;
    struct event_key key;
    struct event ev;

    arena_reset(&c->arena);
    if (event_unpack(entry->bytes, &c->arena, &ev) != CODEC_OK) {
        differs(c, "an event of its path cannot be read");
        return;
    }
    key = event_key(&ev);
    if (event_key_cmp(&key, &entry->key) != 0)
        differs(c, "an event stands at another time than its own");
    if (entry_flags(&ev, c->v->state->rules) != entry->flags)
        differs(c, "an event has wrong flags");
    if (!str_eq(profile_id(ev.anonymous_id, ev.user_id, id), c->id))
        differs(c, "an event of another profile stands in its path");
    if ((entry->flags & ENTRY_ORDER) && order_stated(&ev, &status))
        c->stated[c->stated_count++] = (struct stated){partition_hash(c->v->p, ev.order.order_id), entry->key};
}

static int check_path(struct profile_check *c)
{
    c->stated = malloc((c->view.path_count + 1) * sizeof *c->stated);
    if (!c->stated)
        return -ENOMEM;
    for (size_t i = 0; i < c->view.path_count; i++)
        check_entry(c, &c->view.path[i]);
    qsort(c->stated, c->stated_count, sizeof *c->stated, compare_stated);
    c->v->path_events += c->view.path_count;
    c->v->report->events += c->view.path_count;
    return 0;
}

/* --- orders --------------------------------------------------------------------------------------------------- */

/* The first statement in this path of that order; *n how many. */
static const struct stated *stated_of(const struct profile_check *c, const struct key_hash *order, size_t *n)
{
    size_t low = 0, high = c->stated_count, end;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (memcmp(c->stated[middle].order.b, order->b, KEY_HASH_BYTES) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (end = low; end < c->stated_count && key_hash_eq(&c->stated[end].order, order); end++)
        ;
    *n = end - low;
    return c->stated + low;
}

/* The order's statements that are of this profile against those of the path. */
static void check_statements(struct profile_check *c, const struct key_hash *hash, const struct order_parts *parts,
                             const struct order *order)
{
    char id[PROFILE_ID_MAX_BYTES];
    size_t have, next = 0;
    const struct stated *stated = stated_of(c, hash, &have);

    for (size_t i = 0; i < order->statement_count; i++) {
        const struct event *ev = order->statements[i];
        struct event_key key = event_key(ev);

        if (!str_eq(profile_id(ev->anonymous_id, ev->user_id, id), c->id))
            continue;
        if (next == have || event_key_cmp(&stated[next].key, &key) != 0) {
            differs(c, "an order holds a statement that is not in the path");
            return;
        }
        next++;
    }
    c->matched += have;
    if (next < have && (!parts->truncated || event_key_cmp(&stated[next].key, &parts->cut) < 0))
        differs(c, "an order misses a statement that is in the path");
}

static int check_order(struct profile_check *c, struct str key, struct str value)
{
    char id[PROFILE_ID_MAX_BYTES];
    struct key_hash log_key, hash, own;
    struct order_parts parts;
    struct event_rank rank;
    struct order order;
    struct str owner;
    int rc;

    arena_reset(&c->arena);
    rc = order_doc_read(value, &c->arena, &parts);
    if (rc == 0)
        rc = order_parts_build(&parts, c->v->state->rules, &c->arena, &order);
    if (rc == -ENOMEM)
        return rc;
    if (rc < 0 || !key_read_two(key, KEY_ORDER, &log_key, &hash)) {
        differs(c, "an order under its key cannot be read");
        return 0;
    }
    owner = order_owner(&order, id);
    if (!str_eq(owner, parts.owner))
        differs(c, "an order has another owner than its best statement");
    rank = event_rank(order.best);
    if (event_rank_cmp(&rank, &parts.rank) != 0)
        differs(c, "an order is ranked by another statement than its best");
    c->v->orders_owned += str_eq(parts.owner, c->id);
    own = partition_hash(c->v->p, parts.order_id);
    if (!key_hash_eq(&own, &hash))
        differs(c, "an order stands under another key");
    check_statements(c, &hash, &parts, &order);
    return 0;
}

static int check_orders(struct profile_check *c)
{
    struct state *s = c->v->state;
    struct key prefix = key_one(KEY_ORDER, partition_hash(c->v->p, profile_log_key(c->id)));
    struct store_iter *it = store_iter_new(s->store, c->v->partition, NULL, true);
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        rc = check_order(c, key, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, c->v->err);
    store_iter_free(it);
    if (rc == 0 && c->matched != c->stated_count)
        differs(c, "its path states an order that is not there");
    return rc;
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

static int check_facts(struct profile_check *c, struct str kept)
{
    struct facts facts;
    struct buf b;
    int rc = state_view_fold(&c->view, c->v->state->rules, &facts);

    if (rc == -ENOMEM)
        return rc;
    if (rc < 0) {
        differs(c, "its path and orders cannot be folded");
        return 0;
    }
    buf_init(&b, 256 * MIB);
    if (!facts_pack(&facts, &b))
        rc = -ENOMEM;
    else if (!str_eq(buf_str(&b), kept))
        differs(c, "its facts are not the fold of its path and orders");
    buf_deinit(&b);
    facts_deinit(&facts);
    return rc;
}

static int check_all(struct profile_check *c, struct str facts, struct err *e)
{
    int rc = state_view(c->v->state, c->v->partition, c->id, VIEW_PATH | VIEW_ORDERS | VIEW_UNCOUNTED, &c->view, e);

    if (rc == -EIO || rc == STATE_NOT_FOUND) {
        differs(c, "its path and orders cannot be read");
        return 0;
    }
    if (rc < 0)
        return rc;
    rc = check_path(c);
    if (rc == 0)
        rc = check_orders(c);
    if (rc == 0)
        rc = check_facts(c, facts);
    state_view_free(&c->view);
    return rc;
}

int verify_profile(struct verify *v, struct str key, struct str value)
{
    struct profile_check c = {.v = v};
    struct profile_record record;
    struct key_hash hash;
    int rc;

    v->report->profiles++;
    if (profile_record_read(value, &record) < 0) {
        verify_say(v, "a profile cannot be read");
        return 0;
    }
    c.id = record.id;
    hash = partition_hash(v->p, record.id);
    if (key.n != KEY_PREFIX_BYTES || memcmp(key.p + 1, hash.b, KEY_HASH_BYTES) != 0)
        differs(&c, "stands under another key");
    if (record.version <= 0 || record.version > v->p->figures.offset)
        differs(&c, "has a version that no record has");
    arena_init(&c.arena, SIZE_MAX);
    rc = check_all(&c, record.facts, v->err);
    arena_deinit(&c.arena);
    free(c.stated);
    return rc;
}
