/* A stream in a commit: its entries become chunks, replaced copies leave theirs, a large stream's uids are written. The
 * worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/commit_stream.h"

enum { UIDS_PER_VALUE = 4096, FEW_UID_PARTS = 32, CHUNK_BYTES = 256 * 1024 };

void commit_put(struct commit *c, struct key key, struct str value)
{
    store_batch_put(c->batch, key_str(&key), value);
}

void commit_take(struct commit *c, struct key key)
{
    store_batch_delete(c->batch, key_str(&key));
}

int commit_take_all(struct commit *c, struct key prefix)
{
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

/* --- chunks --------------------------------------------------------------------------------------------------- */

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
        commit_put(c, key_placed(&place), buf_str(b));
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
        commit_take(c, key_placed(place));
        return 1;
    }
    buf_reset(&c->p->scratch);
    if (!chunk_write(c->sorted, n, &c->p->scratch))
        return -ENOMEM;
    commit_put(c, key_placed(place), buf_str(&c->p->scratch));
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

/* --- uids ----------------------------------------------------------------------------------------------------- */

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
    commit_put(w->c, key_placed(&w->place), buf_str(b));
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

static int put_all_uids(struct commit *c, struct stream *s, struct uid_writer *w)
{
    const struct uid_times *t;
    int rc = s->large ? commit_take_all(c, key_one(KEY_UIDS, s->node.key)) : 0;
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

/* What was on disk of a stream that is written anew. */
static int take_old(struct commit *c, const struct stream *s)
{
    static const enum key_kind kinds[] = {KEY_CHUNK, KEY_LATE, KEY_UIDS};
    int rc = 0;

    if (!s->on_disk)
        return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds && rc == 0; i++)
        rc = commit_take_all(c, key_one(kinds[i], s->node.key));
    if (rc == 0 && s->slot_count == 0)
        commit_take(c, key_two(KEY_STREAM, s->profile->node.key, s->node.key));
    return rc;
}

int commit_stream(struct commit *c, struct stream *s)
{
    struct buf *b = &c->p->scratch;
    int rc = s->rewritten ? take_old(c, s) : 0;

    if (rc == 0 && s->rewritten && s->slot_count == 0)
        return 0; /* nothing is left of it */
    if (rc == 0)
        rc = remove_gone(c, s);
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
    struct stream_id id = {s->kind, s->anonymous_id, s->user_id};
    if (!stream_record_write(&id, b))
        return -ENOMEM;
    commit_put(c, key_two(KEY_STREAM, s->profile->node.key, s->node.key), buf_str(b));
    return 0;
}
