/* Committing: everything that changed since the last commit, and the offset, in one batch. The worker's thread;
 * look-ups go on, since memory and disk change places in one step under the lock. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

enum { UIDS_PER_VALUE = 4096, FEW_UID_PARTS = 32, CHUNK_BYTES = 256 * 1024, SETTLE_SLICE = 64 };

struct commit {
    struct partition *p;
    struct store_batch *batch;
    uint32_t number;
    struct err *err;
    struct chunk_entry *entries; /* of one stream, sorted */
    const struct chunk_entry **sorted;
    size_t cap;
};

static void put(struct commit *c, struct key key, struct str value)
{
    store_batch_put(c->batch, key_str(&key), value);
}

static void take(struct commit *c, struct key key)
{
    store_batch_delete(c->batch, key_str(&key));
}

/* --- what is counted ------------------------------------------------------------------------------------------ */

static bool meta_write(const struct state_figures *f, uint32_t commit, const struct uid *last, int64_t last_offset,
                       struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, commit);
    buf_add_svarint(b, f->offset);
    buf_add_svarint(b, f->began);
    for (int i = 0; i < OUTCOMES; i++)
        buf_add_varint(b, f->outcomes[i]);
    buf_add_svarint(b, last_offset);
    return buf_add(b, last->b, UID_BYTES);
}

static bool meta_read(struct partition *p, struct str bytes)
{
    const char *at = bytes.p, *end = bytes.p + bytes.n;
    struct state_figures *f = &p->figures;
    uint64_t format, commit;

    if (!get_varint(&at, end, &format) || format != STATE_FORMAT || !get_varint(&at, end, &commit) ||
        commit > UINT32_MAX || !get_svarint(&at, end, &f->offset) || !get_svarint(&at, end, &f->began))
        return false;
    for (int i = 0; i < OUTCOMES; i++)
        if (!get_varint(&at, end, &f->outcomes[i]))
            return false;
    if (!get_svarint(&at, end, &p->last_offset) || end - at != UID_BYTES)
        return false;
    memcpy(p->last_uid.b, at, UID_BYTES);
    p->commit = (uint32_t)commit;
    f->disk_offset = f->offset;
    return true;
}

int meta_load(struct partition *p, struct err *e)
{
    struct key key = key_meta();
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    if (!meta_read(p, v.bytes))
        rc = damaged(e, "the offset of a partition");
    store_value_free(&v);
    return rc;
}

/* --- a stream's chunks ---------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct chunk_entry *x = *(const struct chunk_entry *const *)a, *y = *(const struct chunk_entry *const *)b;

    return event_key_cmp(&x->key, &y->key);
}

static int room_for(struct commit *c, size_t n)
{
    size_t cap = c->cap ? c->cap : 256;
    struct chunk_entry *entries;
    const struct chunk_entry **sorted;

    if (n <= c->cap)
        return 0;
    while (cap < n)
        cap *= 2;
    entries = realloc(c->entries, cap * sizeof *entries);
    if (!entries)
        return -ENOMEM;
    c->entries = entries;
    sorted = realloc(c->sorted, cap * sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;
    c->sorted = sorted;
    c->cap = cap;
    return 0;
}

/* The entries that stand, in the order of events. They come newest first: turned round they are nearly sorted. */
static int gather(struct commit *c, const struct stream *s)
{
    const struct entry *e;
    size_t n = s->slot_count;
    bool sorted = true;
    int rc = room_for(c, n);

    if (rc < 0)
        return rc;
    for (e = s->entries; e; e = e->next) {
        if (atomic_load_explicit(&e->dead_at, memory_order_relaxed))
            continue;
        assert(n > 0);
        n--;
        c->entries[n] = (struct chunk_entry){e->key, e->flags, entry_bytes(e)};
        c->sorted[n] = &c->entries[n];
        if (n + 1 < s->slot_count && event_key_cmp(&e->key, &c->entries[n + 1].key) > 0)
            sorted = false;
    }
    assert(n == 0);
    if (!sorted)
        qsort(c->sorted, s->slot_count, sizeof(*c->sorted), compare);
    return 0;
}

/* How many of the entries from `from` on go into one chunk. */
static size_t chunk_length(const struct commit *c, size_t from, size_t end, bool late)
{
    size_t n = 0, bytes = 0;

    while (from + n < end && n < LIMIT_CHUNK_ENTRIES) {
        const struct chunk_entry *e = c->sorted[from + n];

        if (n > 0 && bytes + e->bytes.n > CHUNK_BYTES)
            break;
        if (late && (uint64_t)e->key.time - (uint64_t)c->sorted[from]->key.time > (uint64_t)LATE_SPAN_MS)
            break;
        bytes += e->bytes.n;
        n++;
    }
    return n;
}

static int put_chunks(struct commit *c, struct stream *s)
{
    struct key_place place = {.stream = s->node.key, .commit = c->number};
    struct buf *b = &c->p->scratch;
    size_t late = 0, n;

    s->last_next = s->slot_count ? c->sorted[s->slot_count - 1]->key.time : TIME_NONE;
    while (late < s->slot_count && c->sorted[late]->key.time < s->disk_last)
        late++;
    for (size_t i = 0; i < s->slot_count; i += n) {
        n = chunk_length(c, i, i < late ? late : s->slot_count, i < late);
        place.kind = i < late ? KEY_LATE : KEY_CHUNK;
        place.time = c->sorted[i + n - 1]->key.time;
        buf_reset(b);
        if (!chunk_write(c->sorted + i, n, b))
            return -ENOMEM;
        put(c, key_placed(&place), buf_str(b));
        place.part++;
    }
    return 0;
}

/* Takes out of a chunk on disk what a copy in memory has replaced. */
struct removal {
    struct commit *c;
    struct stream *s;
    const struct gone *gone;
    bool found;
};

static int remove_from(void *arg, const struct key_place *place, struct str value)
{
    struct removal *r = arg;
    struct commit *c = r->c;
    struct chunk_reader reader;
    bool found = false;
    size_t n = 0;

    if (!chunk_open(value, &reader))
        return -EIO;
    if (room_for(c, reader.left + 1) < 0)
        return -ENOMEM;
    while (chunk_next(&reader, &c->entries[n])) {
        found = found || event_key_cmp(&c->entries[n].key, &r->gone->key) == 0;
        if (stream_entry(r->s, &c->entries[n].key.uid))
            continue;
        c->sorted[n] = &c->entries[n];
        n++;
    }
    if (reader.left || !found)
        return reader.left ? -EIO : 0;
    r->found = true;
    if (n == 0) {
        take(c, key_placed(place));
        return 1;
    }
    buf_reset(&c->p->scratch);
    if (!chunk_write(c->sorted, n, &c->p->scratch))
        return -ENOMEM;
    put(c, key_placed(place), buf_str(&c->p->scratch));
    return 1;
}

static int remove_gone(struct commit *c, struct stream *s)
{
    for (const struct gone *g = s->gone; g; g = g->next) {
        struct removal r = {c, s, g, false};
        struct chunk_range range = {s->node.key, g->key.time, g->key.time, UINT32_MAX};
        int rc = chunks_visit(c->p->state, c->p->number, NULL, &range, remove_from, &r, c->err);

        if (rc == -EIO || (rc == 0 && !r.found))
            return damaged(c->err, "a chunk of a path");
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* --- a stream's uids ------------------------------------------------------------------------------------------ */

struct uid_writer {
    struct commit *c;
    struct key_place place;
    uint64_t count;
    struct buf body;
};

static int uids_end(struct uid_writer *w)
{
    struct buf *b = &w->c->p->scratch;

    if (w->count == 0)
        return 0;
    buf_reset(b);
    buf_add_varint(b, w->count);
    if (w->body.failed || !buf_add_str(b, buf_str(&w->body)))
        return -ENOMEM;
    put(w->c, key_placed(&w->place), buf_str(b));
    w->place.part++;
    w->count = 0;
    buf_reset(&w->body);
    return 0;
}

static int uids_add(struct uid_writer *w, const struct uid *uid, int64_t time, int64_t received)
{
    buf_add(&w->body, uid->b, UID_BYTES);
    buf_add_svarint(&w->body, time);
    buf_add_svarint(&w->body, (int64_t)((uint64_t)received - (uint64_t)time));
    return ++w->count == UIDS_PER_VALUE ? uids_end(w) : 0;
}

static int drop_uid_parts(struct commit *c, const struct stream *s)
{
    struct key prefix = key_one(KEY_UIDS, s->node.key);
    struct store_iter *it = store_iter_new(c->p->state->store, c->p->number, NULL, true);
    struct str key;
    int rc;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); store_iter_at(it, &key, NULL); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        store_batch_delete(c->batch, key);
    }
    rc = store_iter_status(it, c->err);
    store_iter_free(it);
    return rc;
}

static int put_all_uids(struct commit *c, struct stream *s, struct uid_writer *w)
{
    const struct uid_times *t;
    int rc = s->large ? drop_uid_parts(c, s) : 0;
    size_t i = 0;

    while (rc == 0 && (t = uidset_next(&s->uids, &i)) != NULL)
        rc = uids_add(w, &t->uid, t->time, t->received);
    return rc;
}

static int put_new_uids(struct stream *s, struct uid_writer *w)
{
    int rc = 0;

    for (size_t i = 0; i < s->slot_cap && rc == 0; i++)
        if (s->slots[i].entry) {
            const struct event_key *k = &s->slots[i].entry->key;

            rc = uids_add(w, &k->uid, k->time, k->received);
        }
    return rc;
}

/* A stream that is or becomes large has its uids written; many small values are made into few now and then. */
static int put_uids(struct commit *c, struct stream *s)
{
    struct uid_writer w = {.c = c, .place = {.kind = KEY_UIDS, .stream = s->node.key, .commit = c->number}};
    bool all = !s->large || s->uid_parts > FEW_UID_PARTS + 2 * (s->uids.count / UIDS_PER_VALUE);
    int rc;

    if (s->uids.count <= LARGE_STREAM_UIDS && !s->large)
        return 0;
    buf_init(&w.body, 64 * UIDS_PER_VALUE);
    rc = all ? put_all_uids(c, s, &w) : put_new_uids(s, &w);
    if (rc == 0)
        rc = uids_end(&w);
    s->uid_parts_next = (all ? 0 : s->uid_parts) + w.place.part;
    buf_deinit(&w.body);
    return rc;
}

static int remember_uids(struct stream *s)
{
    int rc = 0;

    for (size_t i = 0; i < s->slot_cap && rc == 0; i++)
        if (s->slots[i].entry) {
            const struct event_key *k = &s->slots[i].entry->key;
            struct uid_times t = {k->uid, k->time, k->received};

            rc = uidset_put(&s->uids, &t);
        }
    return rc;
}

/* --- everything of a commit ----------------------------------------------------------------------------------- */

static int put_stream(struct commit *c, struct stream *s)
{
    struct buf *b = &c->p->scratch;
    int rc = remove_gone(c, s);

    if (rc == 0)
        rc = gather(c, s);
    if (rc == 0)
        rc = put_chunks(c, s);
    if (rc == 0)
        rc = remember_uids(s);
    if (rc == 0)
        rc = put_uids(c, s);
    if (rc < 0 || s->on_disk)
        return rc;
    buf_reset(b);
    if (!stream_record_write(s->anonymous_id, s->user_id, b))
        return -ENOMEM;
    put(c, key_two(KEY_STREAM, s->profile->node.key, s->node.key), buf_str(b));
    return 0;
}

static int put_profile(struct commit *c, const struct profile *r)
{
    struct buf *b = &c->p->scratch;

    assert(!r->refold && r->version > 0);
    buf_reset(b);
    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, r->id.n);
    buf_add_str(b, r->id);
    buf_add_svarint(b, r->version);
    if (!facts_pack(&r->facts, b))
        return -ENOMEM;
    put(c, key_one(KEY_PROFILE, r->node.key), buf_str(b));
    return 0;
}

static void put_order(struct commit *c, const struct kept_order *o)
{
    struct key order = key_two(KEY_ORDER, o->log_key, o->by_id.key);
    struct key index = key_two(KEY_ORDER_INDEX, o->by_id.key, o->log_key);

    if (o->doc) {
        put(c, order, (struct str){o->doc->bytes, o->doc->n});
        if (!o->on_disk)
            put(c, index, STR_LIT(""));
    } else if (o->on_disk) {
        take(c, order);
        take(c, index);
    }
}

static int put_meta(struct commit *c)
{
    struct partition *p = c->p;

    buf_reset(&p->scratch);
    if (!meta_write(&p->figures, c->number, &p->last_uid, p->last_offset, &p->scratch))
        return -ENOMEM;
    put(c, key_meta(), buf_str(&p->scratch));
    return 0;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct table_node *x = *(const struct table_node *const *)a, *y = *(const struct table_node *const *)b;

    return memcmp(x->key.b, y->key.b, KEY_HASH_BYTES);
}

/* In the order of their keys, so that the batch is nearly sorted. */
static void sort_by_key(struct pointers *v)
{
    _Static_assert(offsetof(struct stream, node) == 0 && offsetof(struct profile, node) == 0, "node first");
    if (v->n > 1)
        qsort(v->v, v->n, sizeof *v->v, compare_nodes);
}

static int fill(struct commit *c)
{
    struct partition *p = c->p;
    int rc = 0;

    sort_by_key(&p->dirty_streams);
    sort_by_key(&p->dirty_profiles);
    for (size_t i = 0; i < p->dirty_streams.n && rc == 0; i++)
        rc = put_stream(c, p->dirty_streams.v[i]);
    for (size_t i = 0; i < p->dirty_profiles.n && rc == 0; i++)
        rc = put_profile(c, p->dirty_profiles.v[i]);
    for (size_t i = 0; i < p->dirty_orders.n && rc == 0; i++)
        put_order(c, p->dirty_orders.v[i]);
    return rc == 0 ? put_meta(c) : rc;
}

/* --- folding anew what could not be kept step by step --------------------------------------------------------- */

static int refold(struct partition *p, struct profile *r, struct err *e)
{
    struct state_view view;
    struct facts facts;
    int rc = state_view(p->state, p->number, r->id, VIEW_PATH | VIEW_ORDERS, &view, e);

    assert(rc != STATE_NOT_FOUND);
    if (rc < 0)
        return rc;
    rc = state_view_fold(&view, p->state->rules, &facts);
    state_view_free(&view);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    if (r->refold) {
        struct facts old = r->facts;

        r->facts = facts;
        facts = old;
        r->refold = false;
    }
    p->figures.refolds++;
    partition_recount(p, &r->kept);
    pthread_mutex_unlock(&p->lock);
    facts_deinit(&facts);
    return 0;
}

static int refold_all(struct partition *p, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < p->dirty_profiles.n && rc == 0; i++) {
        struct profile *r = p->dirty_profiles.v[i];
        bool needed;

        pthread_mutex_lock(&p->lock); /* look-ups fold them too */
        needed = r->refold;
        pthread_mutex_unlock(&p->lock);
        if (needed)
            rc = refold(p, r, e);
    }
    return rc;
}

/* --- the steps ------------------------------------------------------------------------------------------------ */

/* From here on views read the batch instead of memory. */
static void change_places(struct partition *p, const struct commit *c, struct interval *fresh)
{
    struct interval *old = p->interval;

    pthread_mutex_lock(&p->lock);
    p->commit = c->number;
    p->interval_number++;
    p->interval = fresh;
    p->figures.commits++;
    p->figures.disk_offset = p->figures.offset;
    pthread_mutex_unlock(&p->lock);
    interval_recycle(fresh, old);
}

/* The lock is for the counts alone: nobody else reads what settles. */
static void settle_streams(struct partition *p)
{
    for (size_t i = 0; i < p->dirty_streams.n;) {
        pthread_mutex_lock(&p->lock);
        for (size_t end = i + SETTLE_SLICE; i < p->dirty_streams.n && i < end; i++) {
            struct stream *s = p->dirty_streams.v[i];

            stream_settle(s);
            partition_recount(p, &s->kept);
        }
        pthread_mutex_unlock(&p->lock);
    }
}

static void settle(struct partition *p)
{
    settle_streams(p);
    for (size_t i = 0; i < p->dirty_orders.n; i++) {
        struct kept_order *o = p->dirty_orders.v[i];

        o->on_disk = o->doc != NULL;
    }
    p->dirty_streams.n = p->dirty_profiles.n = p->dirty_orders.n = 0;
}

/* The batch of a busy partition keeps its memory for the next commit. */
static void put_away(struct partition *p, struct store_batch *b)
{
    size_t held = store_batch_bytes(b);

    if (held < p->state->commit_bytes / 4) {
        store_batch_free(b);
        return;
    }
    atomic_store_explicit(&p->batch_held, held, memory_order_relaxed);
    store_batch_clear(b);
    p->batch = b;
}

static int write_batch(struct partition *p, struct err *e)
{
    struct commit c = {.p = p, .batch = p->batch, .number = p->commit + 1, .err = e};
    struct interval *fresh = interval_new();
    int rc = -ENOMEM;

    p->batch = NULL;
    atomic_store_explicit(&p->batch_held, 0, memory_order_relaxed);
    if (!c.batch)
        c.batch = store_batch_new(p->number);
    if (fresh && c.batch)
        rc = fill(&c);
    if (rc == 0)
        rc = store_write(p->state->store, c.batch, e);
    if (c.batch)
        put_away(p, c.batch);
    free(c.entries);
    free(c.sorted);
    if (rc < 0) {
        if (fresh)
            interval_unref(fresh);
        return rc;
    }
    change_places(p, &c, fresh);
    settle(p);
    return 0;
}

int state_commit(struct state *s, uint32_t partition, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    int rc = 0;

    assert(partition < s->partition_count && !s->read_only);
    if (p->figures.offset != p->figures.disk_offset) {
        rc = refold_all(p, e);
        if (rc == 0)
            rc = write_batch(p, e);
    }
    if (rc == 0)
        partition_evict(p);
    return rc;
}

bool state_dirty(struct state *s, uint32_t partition)
{
    struct state_figures f;

    assert(partition < s->partition_count);
    state_figures(s, partition, &f);
    return f.offset != f.disk_offset;
}
