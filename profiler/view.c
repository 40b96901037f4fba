/* Views: one consistent reading of a profile. Under the lock a view only takes hold of what memory has, and of a
 * snapshot of the store; then it reads and merges at its leisure. Look-up threads, and the worker when it folds anew.
 *
 * A commit may stand in the snapshot that was not yet shown when the lock was held: its chunks are passed over by their
 * number, since memory still has their events; its orders and profiles are covered by those in memory. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/order_doc.h"
#include "profiler/view_inside.h"

/* --- memory --------------------------------------------------------------------------------------------------- */

/* Whoever comes when others hold too much has to go, unless it is a small one: look-ups run on 64 threads at most, so
 * the small ones hold no more than the bound again. A single view is never refused, or nobody could look at it. */
int reading_hold(struct reading *r, uint64_t bytes)
{
    struct state *s = r->state;
    uint64_t held;

    if (!r->counted)
        return 0;
    held = atomic_fetch_add_explicit(&s->views_held, bytes, memory_order_relaxed) + bytes;
    r->held += bytes;
    if (held <= s->view_bytes || held == r->held || r->held <= s->view_bytes / 64)
        return 0;
    err_set(r->err, "look-ups hold too much memory");
    return -EBUSY;
}

/* --- with the lock -------------------------------------------------------------------------------------------- */

struct str reading_device_name(struct reading *r, struct str anonymous_id, struct str user_id)
{
    char buf[PROFILE_ID_MAX_BYTES];
    struct str user = str_has(anonymous_id) ? STR_NONE : user_id;

    return arena_dup(&r->arena, profile_id(anonymous_id, user, buf));
}

static int see_streams(struct reading *r, const struct partition *p, const struct profile *profile)
{
    const struct stream *s;
    size_t n = 0;

    if (!profile_current(p, profile))
        return 0;
    for (s = profile->dirty_streams; s; s = s->next_dirty)
        n++;
    r->streams = arena_zalloc(&r->arena, (n + 1) * sizeof *r->streams);
    if (!r->streams)
        return -ENOMEM;
    for (s = profile->dirty_streams; s; s = s->next_dirty) {
        struct seen_stream *seen = &r->streams[r->stream_count++];

        seen->hash = s->node.key;
        seen->device = reading_device_name(r, s->anonymous_id, s->user_id);
        if (!seen->device.p)
            return -ENOMEM;
        seen->entries = s->entries;
        seen->gone = s->gone;
        seen->rewritten = s->rewritten;
    }
    return 0;
}

static int see_orders(struct reading *r, const struct partition *p, const struct profile *profile)
{
    const struct kept_order *o;
    size_t n = 0;
    struct seen_order *more;

    if (!profile || !profile_current(p, profile) || !profile->dirty_orders)
        return 0;
    for (o = profile->dirty_orders; o; o = o->next_dirty)
        n++;
    more = realloc(r->orders, (r->order_count + n) * sizeof *more);
    if (!more)
        return -ENOMEM;
    r->orders = more;
    for (o = profile->dirty_orders; o; o = o->next_dirty)
        r->orders[r->order_count++] = (struct seen_order){o->order, order_doc_ref(o->doc)};
    return 0;
}

/* What stood before the fence at the last reading stands there still, unless an earlier change was noted. */
static void see_fence(struct reading *r, struct profile *profile)
{
    struct state_fence *f = r->fence;
    bool stands = profile && f->id != 0 && profile->fence == f->id && profile->fence_low >= f->before;

    if (!stands)
        f->before = INT64_MIN;
    r->from = f->before;
    f->id = 0;
    if (!profile || profile->version == 0)
        return;
    f->id = profile->fence = atomic_fetch_add_explicit(&r->state->fences, 1, memory_order_relaxed) + 1;
    profile->fence_low = INT64_MAX;
}

static int see(struct reading *r, struct partition *p, struct key_hash id)
{
    struct profile *profile = partition_find_profile(p, id);
    int rc = 0;

    r->seen = p->changes;
    r->commit = p->commit;
    if (profile && profile->held && r->heeds)
        return -EAGAIN;
    if (r->fence)
        see_fence(r, profile);
    if (profile && profile->version > 0) {
        r->found = true;
        r->version = profile->version;
        r->amid = profile->version > p->figures.offset;
        r->changes = profile->changes;
        r->refold = profile->refold;
        r->linked = str_has(profile->user);
        r->own_after = profile->own_after;
        r->empty = !profile->refold && profile->facts.events == 0;
        r->id = r->reader ? arena_dup(&r->arena, profile->id) : STR_NONE;
        rc = r->reader && !r->id.p ? -ENOMEM : see_streams(r, p, profile);
    }
    if (rc == 0 && profile)
        rc = see_orders(r, p, profile);
    if (rc < 0)
        return rc;
    rc = r->reader ? reader_take(r->reader, p) : 0;
    r->snap = r->reader ? r->reader->disk.snap : store_snapshot_new(r->state->store);
    if (rc < 0 || !r->snap)
        return -ENOMEM;
    r->interval = p->interval;
    interval_ref(r->interval);
    return 0;
}

int reading_compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct key_hash));
}

static void sort_seen(struct reading *r)
{
    _Static_assert(offsetof(struct seen_stream, hash) == 0 && offsetof(struct seen_order, order) == 0, "hash first");
    if (r->stream_count > 1)
        qsort(r->streams, r->stream_count, sizeof *r->streams, reading_compare_hashes);
    if (r->order_count > 1)
        qsort(r->orders, r->order_count, sizeof *r->orders, reading_compare_hashes);
}

static int begin(struct reading *r, const struct key_hash *hash)
{
    struct partition *p = &r->state->partitions[r->partition];
    int rc;

    pthread_mutex_lock(&p->lock);
    rc = see(r, p, *hash);
    pthread_mutex_unlock(&p->lock);
    if (r->reader)
        reader_drop(r->reader);
    sort_seen(r);
    return rc;
}

/* What is held of others; the arena and the path stay. */
static void let_go(struct reading *r)
{
    for (size_t i = 0; i < r->order_count; i++)
        order_doc_unref(r->orders[i].doc);
    free(r->orders);
    r->orders = NULL;
    r->order_count = 0;
    table_deinit(&r->devices);
    if (!r->reader) {
        store_iter_free(r->it);
        store_snapshot_free(r->state->store, r->snap);
    }
    r->it = NULL;
    r->snap = NULL;
}

static void reading_free(struct reading *r)
{
    let_go(r);
    if (r->interval)
        interval_unref(r->interval);
    free(r->path);
    arena_deinit(&r->arena);
    atomic_fetch_sub_explicit(&r->state->views_held, r->held, memory_order_relaxed);
    free(r);
}

/* --- the disk ----------------------------------------------------------------------------------------------- */

int reading_seek(struct reading *r, const struct key *prefix)
{
    if (r->reader) {
        r->it = reader_seek(r->reader, prefix);
        return r->it ? 0 : -ENOMEM;
    }
    if (!r->it)
        r->it = store_iter_new(r->state->store, r->partition, r->snap, true);
    if (!r->it)
        return -ENOMEM;
    store_iter_seek(r->it, key_str(prefix));
    return 0;
}

struct store_iter *reading_chunks(struct reading *r)
{
    return r->reader ? reader_chunks(r->reader) : r->it;
}

bool reading_at(struct reading *r, const struct key *prefix, struct str *key, struct str *value)
{
    return store_iter_at(r->it, key, value) && str_starts(*key, key_str(prefix));
}

/* --- orders --------------------------------------------------------------------------------------------------- */

/* Roughly: the bytes, and what is decoded from them. */
enum { ORDER_TIMES = 4 };

struct order_list {
    struct order *v;
    size_t n, cap;
};

static int add_order(struct reading *r, struct order_list *l, struct str doc)
{
    struct order_parts parts;
    int rc;

    doc = arena_dup(&r->arena, doc);
    if (!doc.p)
        return -ENOMEM;
    rc = reading_hold(r, ORDER_TIMES * doc.n);
    if (rc < 0)
        return rc;
    rc = order_doc_read(doc, &r->arena, 0, &parts);
    if (rc == 0 && parts.count == 0)
        return 0; /* it is another's */
    if (rc == 0 && l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 8;
        struct order *more = arena_alloc(&r->arena, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        if (l->n)
            memcpy(more, l->v, l->n * sizeof *more);
        l->v = more;
        l->cap = cap;
    }
    if (rc == 0)
        rc = order_parts_build(&parts, r->state->rules, &r->arena, &l->v[l->n]);
    if (rc == 0)
        l->n++;
    return rc == -EIO ? damaged(r->err, "an order") : rc;
}

static bool order_in_memory(const struct reading *r, const struct key_hash *order)
{
    return r->order_count && bsearch(order, r->orders, r->order_count, sizeof *r->orders, reading_compare_hashes);
}

static int read_orders(struct reading *r, struct key_hash profile, struct order_list *l)
{
    struct key prefix = key_one(KEY_ORDER, profile);
    struct key_hash owner, order;
    struct str key, value;
    int rc = reading_seek(r, &prefix);

    for (; rc == 0 && reading_at(r, &prefix, &key, &value); store_iter_next(r->it)) {
        if (!key_read_two(key, KEY_ORDER, &owner, &order))
            rc = damaged(r->err, "a key");
        else if (!order_in_memory(r, &order))
            rc = add_order(r, l, value);
    }
    if (rc == 0)
        rc = store_iter_status(r->it, r->err);
    for (size_t i = 0; i < r->order_count && rc == 0; i++)
        rc = add_order(r, l, (struct str){r->orders[i].doc->bytes, r->orders[i].doc->n});
    if (rc == 0 && l->n > 1)
        qsort(l->v, l->n, sizeof *l->v, order_cmp);
    return rc;
}

/* --- a view --------------------------------------------------------------------------------------------------- */

static int keep_record(struct reading *r, struct str bytes)
{
    r->record = arena_dup(&r->arena, bytes);
    return r->record.p ? reading_hold(r, bytes.n) : -ENOMEM;
}

static int take_record(struct reading *r, struct str bytes)
{
    struct profile_record record;

    if (profile_record_read(bytes, &record) < 0)
        return damaged(r->err, "a profile");
    r->version = record.version;
    r->linked = str_has(record.user);
    r->own_after = record.own_after;
    r->empty = !facts_packed_any(record.facts);
    r->id = r->reader ? arena_dup(&r->arena, record.id) : STR_NONE;
    if (r->reader && !r->id.p)
        return -ENOMEM;
    return r->keep ? keep_record(r, bytes) : 0;
}

static int get_record(struct reading *r, const struct key *key)
{
    struct store_value v = {0};
    int rc = store_get(r->state->store, r->partition, key_str(key), r->snap, &v, r->err);

    if (rc != 0)
        return rc;
    rc = take_record(r, v.bytes);
    store_value_free(&v);
    return rc;
}

static int pass_record(struct reading *r, const struct key *key)
{
    struct str at, value;
    int rc = reading_seek(r, key);

    if (rc == 0 && reading_at(r, key, &at, &value))
        return take_record(r, value);
    rc = rc == 0 ? store_iter_status(r->it, r->err) : rc;
    return rc < 0 ? rc : STORE_NOT_FOUND;
}

static int read_version(struct reading *r, struct key_hash profile)
{
    struct key key = key_one(KEY_PROFILE, profile);
    int rc;

    if (r->found)
        return 0;
    rc = r->reader ? pass_record(r, &key) : get_record(r, &key);
    return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
}

/* Whether nobody is to hear of it: all that it had is other people's. */
static int is_nobody(struct reading *r, struct key_hash profile, unsigned what, bool *out)
{
    int rc = 0;

    if (!r->empty && r->refold && !(what & VIEW_PATH))
        rc = reading_path(r, profile);
    *out = r->empty || (r->refold && r->unmarked == 0 && r->from == INT64_MIN);
    return rc;
}

static int fill_view(struct reading *r, struct key_hash profile, struct str id, unsigned what, struct state_view *out)
{
    struct order_list orders = {0};
    bool nobody = false;
    int rc = read_version(r, profile);

    if (rc == 0 && r->linked && !(what & VIEW_UNCOUNTED))
        return STATE_LINKED;
    if (rc == 0 && (what & VIEW_PATH) && !r->linked)
        rc = reading_path(r, profile);
    if (rc == 0 && (what & VIEW_ORDERS))
        rc = read_orders(r, profile, &orders);
    if (rc == 0 && !(what & (VIEW_UNCOUNTED | VIEW_NOBODY)))
        rc = is_nobody(r, profile, what, &nobody);
    if (rc != 0 || nobody)
        return rc ? rc : STATE_NOT_FOUND;
    id = r->reader ? r->id : arena_dup(&r->arena, id);
    if (!id.p)
        return -ENOMEM;
    *out = (struct state_view){id,       r->version, r->changes, r->path, r->path_count,
                               orders.v, orders.n,   r->record,  r->amid, r};
    return 0;
}

struct reading *reading_new(struct state *s, uint32_t partition, unsigned what, struct err *e)
{
    struct reading *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    arena_init(&r->arena, SIZE_MAX);
    r->state = s;
    r->partition = partition;
    r->err = e;
    r->own_after = r->from = INT64_MIN;
    r->marks = what & VIEW_MARKS;
    r->keep = what & VIEW_RECORD;
    r->counted = s->view_bytes && !(what & VIEW_UNCOUNTED);
    r->heeds = !(what & VIEW_UNCOUNTED);
    return r;
}

int reading_view(struct reading *r, const struct key_hash *hash, struct str id, unsigned what, struct state_view *out)
{
    int rc = begin(r, hash);

    if (rc == 0)
        rc = fill_view(r, *hash, id, what, out);
    if (rc == 0)
        let_go(r);
    else
        reading_free(r);
    return rc;
}

int state_view_since(struct state *s, uint32_t partition, struct str id, unsigned what, struct state_fence *fence,
                     struct state_view *out, struct err *e)
{
    struct key_hash hash;
    struct reading *r;

    assert(partition < s->partition_count);
    if (!profile_id_valid(id))
        return STATE_NOT_FOUND;
    r = reading_new(s, partition, what, e);
    if (!r)
        return -ENOMEM;
    r->fence = fence;
    pthread_rwlock_rdlock(&s->partitions[partition].place);
    hash = partition_hash(&s->partitions[partition], id);
    int rc = reading_view(r, &hash, id, what, out);
    pthread_rwlock_unlock(&s->partitions[partition].place);
    return rc;
}

int state_view(struct state *s, uint32_t partition, struct str id, unsigned what, struct state_view *out, struct err *e)
{
    return state_view_since(s, partition, id, what, NULL, out, e);
}

void state_view_free(struct state_view *v)
{
    if (v->private)
        reading_free(v->private);
    v->private = NULL;
}
