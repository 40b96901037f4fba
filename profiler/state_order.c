/* Finding an order by its id alone. Any thread.
 *
 * Anybody may state an order id, under any number of log keys, so the work must not grow with them: on disk the index
 * has the one that is believed most first, and in memory a commit is due before many of one id have changed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/state_private.h"

struct search {
    struct partition *p;
    struct key_hash order;
    struct store_snapshot *snap;
    struct key_hash *changed; /* log keys of those that changed since the last commit; memory speaks for them */
    size_t changed_count;
    struct order_doc *doc; /* the best of these; NULL: none */
    struct event_rank rank;
    struct err *err;
};

/* With the lock. */
static int see_changed(struct search *s)
{
    struct table_node *n = table_find(&s->p->changed_orders, &s->order);
    struct kept_order *head = n ? kept_order_by_id(n) : NULL, *best = NULL;

    s->snap = store_snapshot_new(s->p->state->store);
    if (!s->snap)
        return -ENOMEM;
    if (!head || head->interval != s->p->interval_number)
        return 0;
    s->changed = malloc(head->same_count * sizeof *s->changed);
    if (!s->changed)
        return -ENOMEM;
    for (struct kept_order *o = head; o; o = o->next_same) {
        s->changed[s->changed_count++] = o->log_key;
        if (o->doc && (!best || event_rank_cmp(&o->rank, &best->rank) > 0))
            best = o;
    }
    assert(s->changed_count == head->same_count);
    if (best) {
        s->doc = order_doc_ref(best->doc);
        s->rank = best->rank;
    }
    return 0;
}

static int compare_hashes(const void *a, const void *b)
{
    const struct key_hash *x = a, *y = b;

    return memcmp(x->b, y->b, KEY_HASH_BYTES);
}

static bool has_changed(const struct search *s, const struct key_hash *log_key)
{
    return s->changed_count > 0 &&
           bsearch(log_key, s->changed, s->changed_count, sizeof *s->changed, compare_hashes) != NULL;
}

/* The first in the index for which memory does not speak, unless memory has a better one. 0, STORE_NOT_FOUND or a
 * negative errno. */
static int find_on_disk(struct search *s, struct key_index *out)
{
    struct key prefix = key_one(KEY_ORDER_INDEX, s->order);
    struct store_iter *it = store_iter_new(s->p->state->store, s->p->number, s->snap, true);
    int rc = STORE_NOT_FOUND;
    struct str key;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); store_iter_at(it, &key, NULL); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        if (!key_read_indexed(key, out)) {
            rc = damaged(s->err, "a key");
            break;
        }
        if (s->doc && event_rank_cmp(&s->rank, &out->rank) >= 0)
            break;
        if (!has_changed(s, &out->log_key)) {
            rc = 0;
            break;
        }
    }
    if (rc == STORE_NOT_FOUND && store_iter_status(it, s->err) < 0)
        rc = -EIO;
    store_iter_free(it);
    return rc;
}

static int read_from_disk(struct search *s, const struct key_index *index, struct arena *a, struct str *out)
{
    struct key key = key_two(KEY_ORDER, index->log_key, s->order);
    struct store_value v = {0};
    int rc = store_get(s->p->state->store, s->p->number, key_str(&key), s->snap, &v, s->err);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? damaged(s->err, "an order") : rc;
    *out = arena_dup(a, v.bytes);
    store_value_free(&v);
    return out->p ? 0 : -ENOMEM;
}

/* The bytes of the best one, in the arena. */
static int find_doc(struct search *s, struct arena *a, struct str *out)
{
    struct key_index index;
    int rc;

    pthread_mutex_lock(&s->p->lock);
    rc = see_changed(s);
    pthread_mutex_unlock(&s->p->lock);
    if (rc < 0)
        return rc;
    if (s->changed_count > 1)
        qsort(s->changed, s->changed_count, sizeof *s->changed, compare_hashes);
    rc = find_on_disk(s, &index);
    if (rc == 0)
        return read_from_disk(s, &index, a, out);
    if (rc < 0 || !s->doc)
        return rc;
    *out = arena_dup(a, (struct str){s->doc->bytes, s->doc->n});
    return out->p ? 0 : -ENOMEM;
}

static int fill(struct search *s, struct arena *a, struct state_order *out)
{
    struct order_parts parts;
    struct order order;
    struct str doc = STR_NONE;
    int rc = find_doc(s, a, &doc);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    rc = order_doc_read(doc, a, &parts);
    if (rc == 0)
        rc = order_parts_build(&parts, s->p->state->rules, a, &order);
    if (rc < 0)
        return rc == -EIO ? damaged(s->err, "an order") : rc;
    *out = (struct state_order){order, parts.owner, parts.rank, a};
    return 0;
}

static void arena_free(struct arena *a)
{
    arena_deinit(a);
    free(a);
}

int state_order(struct state *s, uint32_t partition, struct str order_id, struct state_order *out, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct search search = {.p = p, .err = e};
    struct arena *a = malloc(sizeof *a);
    int rc;

    assert(partition < s->partition_count);
    if (!a)
        return -ENOMEM;
    arena_init(a, SIZE_MAX);
    pthread_rwlock_rdlock(&p->place);
    search.order = partition_hash(p, order_id);
    rc = fill(&search, a, out);
    store_snapshot_free(s->store, search.snap);
    pthread_rwlock_unlock(&p->place);
    if (rc != 0)
        arena_free(a);
    free(search.changed);
    order_doc_unref(search.doc);
    return rc;
}

void state_order_free(struct state_order *o)
{
    if (o->private)
        arena_free(o->private);
    o->private = NULL;
}
