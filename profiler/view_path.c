/* The path of a view: what is on disk of the profile's streams, and what memory has of them, merged. The thread of
 * whoever looks. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/view_inside.h"

static int add_entry(struct reading *r, const struct path_entry *e)
{
    if (r->path_count == r->path_cap) {
        size_t cap = r->path_cap ? 2 * r->path_cap : 64;
        struct path_entry *more = realloc(r->path, cap * sizeof *more);
        int rc;

        if (!more)
            return -ENOMEM;
        r->path = more;
        rc = reading_hold(r, (cap - r->path_cap) * sizeof *more);
        if (rc < 0)
            return rc;
        r->path_cap = cap;
    }
    r->path[r->path_count++] = *e;
    return 0;
}

static int compare_keys(const void *a, const void *b)
{
    return event_key_cmp(a, b);
}

/* The replaced copies, so that they can be searched. Some may have been replaced after this view's moment: those that
 * stand in a list taken hold of under the lock had not. */
static int sort_gone(struct reading *r, struct seen_stream *s)
{
    const struct gone *g;
    size_t n = 0;

    for (g = s->gone; g; g = g->next)
        n++;
    if (n == 0)
        return 0;
    s->gone_keys = arena_alloc(&r->arena, n * sizeof *s->gone_keys);
    if (!s->gone_keys)
        return -ENOMEM;
    for (g = s->gone; g; g = g->next)
        s->gone_keys[s->gone_count++] = g->key;
    qsort(s->gone_keys, n, sizeof *s->gone_keys, compare_keys);
    return 0;
}

/* As it is in the path: of a placed one without what stands before the event, of one that is gone nothing. */
static int add_event(struct reading *r, const struct event_key *key, unsigned flags, uint32_t device, struct str bytes)
{
    struct path_entry entry = {*key, flags & ~(unsigned)ENTRY_PLACED, device, bytes, NULL};
    struct internal_version version;

    if ((flags & ENTRY_GONE) || key->time <= r->own_after || key->time < r->from || ((flags & ENTRY_MARK) && !r->marks))
        return 0;
    r->unmarked += !(flags & ENTRY_MARK);
    if ((flags & ENTRY_PLACED) && !placed_event(bytes, &version, &entry.bytes))
        return -EIO;
    return add_entry(r, &entry);
}

static int number_of(struct reading *r, struct str device, uint32_t *out)
{
    struct key_hash hash = partition_hash(&r->state->partitions[r->partition], device);
    struct device_number *n;

    *out = 0;
    if (!r->any_device) {
        r->any_device = true;
        r->first_device = hash;
    }
    if (key_hash_eq(&r->first_device, &hash))
        return 0;
    if (!r->devices.buckets && table_init(&r->devices) < 0)
        return -ENOMEM;
    n = (struct device_number *)table_find(&r->devices, &hash);
    _Static_assert(offsetof(struct device_number, node) == 0, "a node is its device's number");
    if (!n) {
        n = arena_alloc(&r->arena, sizeof *n);
        if (!n)
            return -ENOMEM;
        *n = (struct device_number){{.key = hash}, 1 + (uint32_t)r->devices.count};
        if (table_add(&r->devices, &n->node) < 0)
            return -ENOMEM;
    }
    *out = n->number;
    return 0;
}

struct merge {
    struct reading *r;
    const struct seen_stream *seen; /* NULL: nothing of it is in memory */
    uint32_t device;
};

static bool is_gone(const struct seen_stream *s, const struct event_key *key)
{
    return s && s->gone_count > 0 && bsearch(key, s->gone_keys, s->gone_count, sizeof *key, compare_keys);
}

static int merge_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct merge *m = arg;
    struct chunk_reader reader;
    struct chunk_entry e;
    struct str copy;
    int rc = 0;

    (void)place;
    copy = arena_dup(&m->r->arena, value); /* the walk moves on, the path stays */
    if (!copy.p)
        return -ENOMEM;
    if (!chunk_open(copy, &reader))
        return -EIO;
    rc = reading_hold(m->r, copy.n);
    while (rc == 0 && chunk_next(&reader, &e)) {
        if (!is_gone(m->seen, &e.key))
            rc = add_event(m->r, &e.key, e.flags, m->device, e.bytes);
    }
    return rc < 0 ? rc : reader.left ? -EIO : 0;
}

static int merge_memory(struct reading *r, const struct seen_stream *s, uint32_t device)
{
    int rc = 0;

    for (const struct entry *e = s->entries; e && rc == 0; e = e->next) {
        uint64_t dead_at = atomic_load_explicit(&e->dead_at, memory_order_relaxed);
        if (dead_at == 0 || dead_at > r->seen)
            rc = add_event(r, &e->key, e->flags, device, entry_bytes(e));
    }
    return rc;
}

static struct seen_stream *find_seen(struct reading *r, const struct key_hash *hash)
{
    return r->stream_count ? bsearch(hash, r->streams, r->stream_count, sizeof *r->streams, reading_compare_hashes)
                           : NULL;
}

/* A stream that is on disk, and what memory has of it. */
static int merge_stream(struct reading *r, struct key_hash stream, uint32_t device)
{
    struct seen_stream *seen = find_seen(r, &stream);
    struct merge m = {r, seen, device};
    struct chunk_range range = {stream, r->from, INT64_MAX, r->commit};
    struct store_iter *it = reading_chunks(r);
    int rc = !it ? -ENOMEM : seen ? sort_gone(r, seen) : 0;

    if (rc == 0 && !(seen && seen->rewritten))
        rc = chunks_visit_by(it, &range, merge_chunk, &m, r->err);
    if (rc == -EIO)
        return damaged(r->err, "a chunk of a path");
    if (rc < 0 || !seen)
        return rc;
    seen->merged = true;
    return merge_memory(r, seen, device);
}

/* A stream that is on disk. */
struct known_stream {
    struct known_stream *next;
    struct key_hash hash;
    uint32_t device;
};

/* `record` says whose it is. */
static int know_stream(struct reading *r, struct str key, struct str record, struct known_stream **out)
{
    struct known_stream *s = arena_alloc(&r->arena, sizeof *s);
    struct key_hash owner;
    struct stream_id id;
    struct str name;

    if (!s)
        return -ENOMEM;
    s->next = NULL;
    *out = s;
    if (!key_read_two(key, KEY_STREAM, &owner, &s->hash) || stream_record_read(record, &id) < 0)
        return damaged(r->err, "a stream");
    name = reading_device_name(r, id.anonymous_id, id.user_id);
    return name.p ? number_of(r, name, &s->device) : -ENOMEM;
}

static int know_streams(struct reading *r, struct key_hash profile, struct known_stream **first)
{
    struct key prefix = key_one(KEY_STREAM, profile);
    struct known_stream **end = first;
    struct str key, record;
    int rc = reading_seek(r, &prefix);

    for (; rc == 0 && reading_at(r, &prefix, &key, &record); store_iter_next(r->it)) {
        rc = know_stream(r, key, record, end);
        if (rc == 0)
            end = &(*end)->next;
    }
    return rc == 0 ? store_iter_status(r->it, r->err) : rc;
}

int reading_path(struct reading *r, struct key_hash profile)
{
    struct known_stream *streams = NULL;
    uint32_t device = 0;
    int rc = know_streams(r, profile, &streams);

    for (; rc == 0 && streams; streams = streams->next)
        rc = merge_stream(r, streams->hash, streams->device);
    for (size_t i = 0; i < r->stream_count && rc == 0; i++)
        if (!r->streams[i].merged && (rc = number_of(r, r->streams[i].device, &device)) == 0)
            rc = merge_memory(r, &r->streams[i], device);
    if (rc == -EIO)
        return damaged(r->err, "a placed event");
    if (rc == 0 && r->path_count > 1)
        qsort(r->path, r->path_count, sizeof *r->path, path_entry_cmp);
    return rc;
}
