/* Chunks of path entries. Format 1: format, count, time of the first, bytes of the heads; the heads (time after the one
 * before, received - time, position, uid, flags, length); the events. Pure; any thread. */
#include "profiler/chunk.h"

#include <assert.h>

enum { FORMAT = 1, HEAD_MIN_BYTES = 5 + UID_BYTES, HEAD_MAX_BYTES = 45 + UID_BYTES };

/* Times may be any 64 bits: differences wrap, and wrap back when read. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

static size_t put_varint(char *to, uint64_t v)
{
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        to[n++] = (char)(v | 0x80);
    to[n++] = (char)v;
    return n;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static size_t put_head(char *to, const struct chunk_entry *e, int64_t before)
{
    size_t n = put_varint(to, (uint64_t)e->key.time - (uint64_t)before);

    n += put_varint(to + n, zigzag(minus(e->key.received, e->key.time)));
    n += put_varint(to + n, e->key.position);
    memcpy(to + n, e->key.uid.b, UID_BYTES);
    n += UID_BYTES;
    n += put_varint(to + n, e->flags);
    n += put_varint(to + n, e->bytes.n);
    assert(n <= HEAD_MAX_BYTES);
    return n;
}

bool chunk_write(const struct chunk_entry *const *entries, size_t n, struct buf *b)
{
    int64_t before = n ? entries[0]->key.time : 0;
    size_t heads = b->n, total = 0;

    for (size_t i = 0; i < n; i++)
        total += HEAD_MAX_BYTES + entries[i]->bytes.n;
    if (!buf_room(b, total + 32))
        return false;
    heads += put_varint(b->p + heads, FORMAT);
    heads += put_varint(b->p + heads, n);
    heads += put_varint(b->p + heads, zigzag(before));
    b->n = heads;
    for (size_t i = 0; i < n; i++) {
        assert(entries[i]->key.time >= before);
        b->n += put_head(b->p + b->n, entries[i], before);
        before = entries[i]->key.time;
    }
    for (size_t i = 0; i < n; i++)
        buf_add(b, entries[i]->bytes.p, entries[i]->bytes.n);
    return !b->failed;
}

static bool get_head(struct chunk_reader *r, struct chunk_entry *out, size_t *length)
{
    uint64_t step, position, flags, n;
    int64_t delay;

    if (!get_varint(&r->p, r->end, &step) || !get_svarint(&r->p, r->end, &delay) ||
        !get_varint(&r->p, r->end, &position) || position > UINT32_MAX || r->end - r->p < UID_BYTES)
        return false;
    memcpy(out->key.uid.b, r->p, UID_BYTES);
    r->p += UID_BYTES;
    if (!get_varint(&r->p, r->end, &flags) || flags > UINT32_MAX || !get_varint(&r->p, r->end, &n) || n > SIZE_MAX)
        return false;
    out->key.time = plus(r->time, (int64_t)step);
    out->key.received = plus(out->key.time, delay);
    out->key.position = (uint32_t)position;
    out->flags = (unsigned)flags;
    *length = (size_t)n;
    return true;
}

/* Finds where the events begin by passing over the heads once. */
static bool find_bytes(struct chunk_reader *r)
{
    struct chunk_reader scan = *r;
    struct chunk_entry e;
    size_t length, total = 0;

    for (size_t i = 0; i < r->left; i++) {
        if (!get_head(&scan, &e, &length) || length > (size_t)(scan.end - scan.p))
            return false;
        total += length;
    }
    if (total != (size_t)(scan.end - scan.p))
        return false;
    r->bytes = scan.p;
    return true;
}

bool chunk_open(struct str value, struct chunk_reader *r)
{
    uint64_t format, count;

    *r = (struct chunk_reader){.p = value.p, .end = value.p + value.n};
    if (!get_varint(&r->p, r->end, &format) || format != FORMAT || !get_varint(&r->p, r->end, &count) ||
        !get_svarint(&r->p, r->end, &r->time) || count > (uint64_t)(r->end - r->p) / HEAD_MIN_BYTES)
        return false;
    r->left = (size_t)count;
    return find_bytes(r);
}

bool chunk_next(struct chunk_reader *r, struct chunk_entry *out)
{
    size_t length;

    if (r->left == 0 || !get_head(r, out, &length) || length > (size_t)(r->end - r->bytes))
        return false;
    out->bytes = (struct str){r->bytes, length};
    r->bytes += length;
    r->time = out->key.time;
    r->left--;
    return true;
}
