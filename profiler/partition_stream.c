/* A stream in memory: its events of this interval by uid, its sessions, and what it knows of its chunks on disk. The
 * worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/state_private.h"

enum { FIRST_SLOTS = 4, FIRST_SPANS = 2 };

size_t stream_bytes(const struct stream *s)
{
    return sizeof *s + s->anonymous_id.n + s->user_id.n + s->slot_cap * sizeof *s->slots +
           s->span_cap * sizeof *s->spans + uidset_bytes(&s->uids);
}

void stream_deinit(struct stream *s)
{
    free(s->slots);
    free(s->spans);
    uidset_deinit(&s->uids);
}

/* --- entries by uid ------------------------------------------------------------------------------------------- */

static size_t slot_of(const struct stream *s, const struct uid *uid, uint64_t spread)
{
    size_t i = (size_t)spread & (s->slot_cap - 1);

    for (; s->slots[i].entry; i = (i + 1) & (s->slot_cap - 1))
        if (s->slots[i].spread == spread && memcmp(s->slots[i].entry->key.uid.b, uid->b, UID_BYTES) == 0)
            break;
    return i;
}

void stream_fetch_entry(const struct stream *s, const struct uid *uid)
{
    uint64_t spread = uid_spread(s->uids.seed, uid);

    __builtin_prefetch(s->profile);
    if (s->slot_cap)
        __builtin_prefetch(&s->slots[spread & (s->slot_cap - 1)]);
    if (s->uids.cap)
        __builtin_prefetch(&s->uids.slots[spread & (s->uids.cap - 1)]);
    if (s->span_count)
        __builtin_prefetch(&s->spans[s->span_count - 1]);
}

struct entry *stream_entry(const struct stream *s, const struct uid *uid)
{
    if (s->slot_count == 0)
        return NULL;
    return s->slots[slot_of(s, uid, uid_spread(s->uids.seed, uid))].entry;
}

int stream_entry_reserve(struct stream *s)
{
    struct stream bigger = {.slot_cap = s->slot_cap ? 2 * s->slot_cap : FIRST_SLOTS};

    if (s->slot_count + 1 <= s->slot_cap / 4 * 3)
        return 0;
    bigger.slots = calloc(bigger.slot_cap, sizeof *bigger.slots);
    if (!bigger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < s->slot_cap; i++)
        if (s->slots[i].entry)
            bigger.slots[slot_of(&bigger, &s->slots[i].entry->key.uid, s->slots[i].spread)] = s->slots[i];
    free(s->slots);
    s->slots = bigger.slots;
    s->slot_cap = bigger.slot_cap;
    return 0;
}

void stream_entry_put(struct stream *s, struct entry *e)
{
    uint64_t spread = uid_spread(s->uids.seed, &e->key.uid);
    size_t i;

    assert(s->slot_count < s->slot_cap);
    i = slot_of(s, &e->key.uid, spread);
    s->slot_count += s->slots[i].entry == NULL;
    s->slots[i] = (struct uid_slot){spread, e};
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

/* Whether `later` comes at most `gap` after `earlier`; earlier <= later. */
static bool within(int64_t earlier, int64_t later, int64_t gap)
{
    return (uint64_t)later - (uint64_t)earlier <= (uint64_t)gap;
}

/* The first span that ends at or after `time`. */
static size_t span_at(const struct stream *s, int64_t time)
{
    size_t low = 0, high = s->span_count;

    if (high > 0 && s->spans[high - 1].last < time)
        return high; /* in order: nearly always */
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->spans[middle].last < time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int span_insert(struct stream *s, size_t at, int64_t time)
{
    if (s->span_count == s->span_cap) {
        size_t cap = s->span_cap ? 2 * s->span_cap : FIRST_SPANS;
        struct span *more = realloc(s->spans, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        s->spans = more;
        s->span_cap = cap;
    }
    memmove(s->spans + at + 1, s->spans + at, (s->span_count - at) * sizeof *s->spans);
    s->spans[at] = (struct span){time, time};
    s->span_count++;
    return 0;
}

int stream_span_add(struct stream *s, int64_t time, int64_t gap)
{
    size_t at = span_at(s, time);
    struct span *before = at > 0 ? &s->spans[at - 1] : NULL, *after = at < s->span_count ? &s->spans[at] : NULL;
    bool joins_before = before && within(before->last, time, gap);
    bool joins_after = after && (after->first <= time || within(time, after->first, gap));

    if (after && after->first <= time)
        return 0;
    if (joins_before && joins_after) {
        before->last = after->last;
        memmove(after, after + 1, (s->span_count - at - 1) * sizeof *after);
        s->span_count--;
    } else if (joins_before) {
        before->last = time;
    } else if (joins_after) {
        after->first = time;
    } else {
        return span_insert(s, at, time);
    }
    return 0;
}

struct search {
    int64_t time, before, after;
};

/* The session events of a chunk nearest to a time. */
static int search_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct search *f = arg;
    struct chunk_reader r;
    struct chunk_entry e;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (chunk_next(&r, &e)) {
        if (!(e.flags & ENTRY_SESSION))
            continue;
        if (e.key.time <= f->time && (f->before == TIME_NONE || e.key.time > f->before))
            f->before = e.key.time;
        if (e.key.time >= f->time && (f->after == TIME_NONE || e.key.time < f->after))
            f->after = e.key.time;
    }
    return r.left ? -EIO : 0;
}

static int disk_neighbours(struct partition *p, struct stream *s, int64_t time, struct search *f, struct err *e)
{
    int64_t gap = p->state->rules->session_gap_ms;
    struct chunk_range range = {s->node.key, time < INT64_MIN + gap ? INT64_MIN : time - gap,
                                time > INT64_MAX - gap ? INT64_MAX : time + gap, UINT32_MAX};
    int rc;

    *f = (struct search){time, TIME_NONE, TIME_NONE};
    if (s->disk_last == TIME_NONE)
        return 0;
    if (time >= s->session_floor) {
        f->before = s->session_last;
        return 0;
    }
    rc = chunks_visit(p->state, p->number, NULL, &range, search_chunk, f, e);
    if (rc == -EIO)
        return damaged(e, "a chunk of a path");
    if (rc == 0 && time >= s->disk_last) {
        s->session_floor = time;
        s->session_last = f->before;
    }
    return rc;
}

int stream_neighbours(struct partition *p, struct stream *s, int64_t time, struct neighbours *out, struct err *e)
{
    size_t at = span_at(s, time);
    struct search disk;
    int rc;

    *out = (struct neighbours){.before = TIME_NONE, .after = TIME_NONE};
    if (at < s->span_count && s->spans[at].first <= time) {
        out->inside = true;
        return 0;
    }
    rc = disk_neighbours(p, s, time, &disk, e);
    if (rc < 0)
        return rc;
    out->before = disk.before;
    out->after = disk.after;
    if (at > 0 && s->spans[at - 1].last > out->before)
        out->before = s->spans[at - 1].last;
    if (at < s->span_count && (out->after == TIME_NONE || s->spans[at].first < out->after))
        out->after = s->spans[at].first;
    return 0;
}

/* --- loading -------------------------------------------------------------------------------------------------- */

/* Uids written by themselves: a count, then uid, time, received - time. A later part wins. */
static int uids_read(struct uidset *set, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    struct uid_times t;
    int64_t delay;
    uint64_t count;
    int rc = 0;

    if (!get_varint(&p, end, &count))
        return -EIO;
    for (; count > 0 && rc == 0; count--) {
        if (end - p < UID_BYTES)
            return -EIO;
        memcpy(t.uid.b, p, UID_BYTES);
        p += UID_BYTES;
        if (!get_svarint(&p, end, &t.time) || !get_svarint(&p, end, &delay))
            return -EIO;
        t.received = (int64_t)((uint64_t)t.time + (uint64_t)delay);
        rc = uidset_put(set, &t);
    }
    return rc < 0 ? rc : p == end ? 0 : -EIO;
}

int stream_load_uids(struct partition *p, struct stream *s, struct err *e)
{
    struct key key = key_one(KEY_UIDS, s->node.key);
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, true);
    struct str at, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&key)); rc == 0 && store_iter_at(it, &at, &value); store_iter_next(it)) {
        if (!str_starts(at, key_str(&key)))
            break;
        s->large = true;
        s->uid_parts++;
        rc = uids_read(&s->uids, value);
        if (rc == -EIO)
            rc = damaged(e, "the uids of a stream");
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

/* The latest time of a kind of chunk, by its key. */
static int load_last(struct partition *p, struct stream *s, enum key_kind kind, struct err *e)
{
    struct key_place end = {kind, s->node.key, INT64_MAX, UINT32_MAX, UINT32_MAX}, place;
    struct key key = key_placed(&end);
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, true);
    struct str at;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    store_iter_seek_back(it, key_str(&key));
    if (!store_iter_at(it, &at, NULL))
        rc = store_iter_status(it, e);
    else if (key_read_placed(at, &place) && place.kind == kind && key_hash_eq(&place.stream, &s->node.key) &&
             place.time > s->disk_last)
        s->disk_last = place.time;
    store_iter_free(it);
    return rc;
}

static int load_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct stream *s = arg;
    struct chunk_reader r;
    struct chunk_entry e;

    if (!chunk_open(value, &r))
        return -EIO;
    if (place->time > s->disk_last)
        s->disk_last = place->time;
    while (chunk_next(&r, &e)) {
        struct uid_times t = {e.key.uid, e.key.time, e.key.received};
        int rc = uidset_put(&s->uids, &t);

        if (rc < 0)
            return rc;
        if ((e.flags & ENTRY_SESSION) && e.key.time > s->session_last)
            s->session_last = e.key.time;
    }
    return r.left ? -EIO : 0;
}

int stream_load(struct partition *p, struct stream *s, struct err *e)
{
    struct chunk_range range = {s->node.key, INT64_MIN, INT64_MAX, UINT32_MAX};
    int rc = stream_load_uids(p, s, e);

    if (rc < 0)
        return rc;
    if (s->large) {
        s->session_floor = INT64_MAX;
        rc = load_last(p, s, KEY_CHUNK, e);
        return rc < 0 ? rc : load_last(p, s, KEY_LATE, e);
    }
    rc = chunks_visit(p->state, p->number, NULL, &range, load_chunk, s, e);
    if (rc == -EIO)
        return damaged(e, "a chunk of a path");
    s->session_floor = s->session_last;
    return rc;
}

void stream_settle(struct stream *s)
{
    if (s->last_next > s->disk_last)
        s->disk_last = s->last_next;
    if (s->spans_inexact) {
        s->session_floor = INT64_MAX;
    } else if (s->span_count > 0 && s->session_floor != INT64_MAX) {
        int64_t last = s->spans[s->span_count - 1].last;

        if (last > s->session_last)
            s->session_last = last;
        if (last > s->session_floor)
            s->session_floor = last;
    }
    if (s->uid_parts_next) {
        s->large = true;
        s->uid_parts = s->uid_parts_next;
        s->uid_parts_next = 0;
    }
    s->on_disk = !s->rewritten || s->slot_count > 0;
    s->rewritten = false;
    s->fresh = 0;
    s->spans_inexact = false;
    free(s->slots);
    free(s->spans);
    s->slots = NULL;
    s->spans = NULL;
    s->slot_count = s->slot_cap = s->span_count = s->span_cap = 0;
}
