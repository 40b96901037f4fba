/* A growable byte buffer with a bound, and the numbers that keys and values are made of. One thread at a time. */
#include "common/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_CAP 256

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void buf_deinit(struct buf *b)
{
    free(b->p);
    *b = (struct buf){.max = b->max};
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_CAP;

    while (cap < need)
        cap = cap > b->max / 2 ? b->max : 2 * cap;
    if (cap > b->max)
        cap = b->max;
    char *p = realloc(b->p, cap);
    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

bool buf_room(struct buf *b, size_t n)
{
    if (b->failed)
        return false;
    assert(b->n <= b->max && b->n <= b->cap);
    if (n <= b->cap - b->n && b->p)
        return true;
    if (n > b->max - b->n || (n > 0 && !grow(b, b->n + n)))
        b->failed = true;
    return !b->failed;
}

bool buf_add(struct buf *b, const void *p, size_t n)
{
    if (!buf_room(b, n))
        return false;
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return true;
}

bool buf_add_str(struct buf *b, struct str s)
{
    return buf_add(b, s.p, s.n);
}

bool buf_add_text(struct buf *b, const char *nul_terminated)
{
    return buf_add(b, nul_terminated, strlen(nul_terminated));
}

bool buf_add_char(struct buf *b, char c)
{
    return buf_add(b, &c, 1);
}

bool buf_addf(struct buf *b, const char *format, ...)
{
    char small[128];
    va_list args;

    if (b->failed)
        return false;
    va_start(args, format);
    int n = vsnprintf(small, sizeof small, format, args);
    va_end(args);
    if (n < 0) {
        b->failed = true;
        return false;
    }
    if ((size_t)n < sizeof small)
        return buf_add(b, small, (size_t)n);

    /* vsnprintf wants a byte for its NUL, which may lie past the bound. */
    char *text = malloc((size_t)n + 1);
    if (!text) {
        b->failed = true;
        return false;
    }
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    buf_add(b, text, (size_t)n);
    free(text);
    return !b->failed;
}

bool buf_add_be32(struct buf *b, uint32_t v)
{
    unsigned char bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(v >> (24 - 8 * i));
    return buf_add(b, bytes, sizeof bytes);
}

bool buf_add_be64(struct buf *b, uint64_t v)
{
    unsigned char bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(v >> (56 - 8 * i));
    return buf_add(b, bytes, sizeof bytes);
}

bool buf_add_varint(struct buf *b, uint64_t v)
{
    unsigned char bytes[10];
    size_t n = 0;

    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (unsigned char)(v | 0x80);
    bytes[n++] = (unsigned char)v;
    return buf_add(b, bytes, n);
}

bool buf_add_svarint(struct buf *b, int64_t v)
{
    uint64_t u = (uint64_t)v << 1;

    return buf_add_varint(b, v < 0 ? ~u : u);
}

struct str buf_str(const struct buf *b)
{
    return (struct str){b->p ? b->p : "", b->n};
}

static bool get_be(const char **p, const char *end, size_t width, uint64_t *out)
{
    if ((size_t)(end - *p) < width)
        return false;
    *out = 0;
    for (size_t i = 0; i < width; i++)
        *out = *out << 8 | (unsigned char)(*p)[i];
    *p += width;
    return true;
}

bool get_be32(const char **p, const char *end, uint32_t *out)
{
    uint64_t v;

    if (!get_be(p, end, 4, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool get_be64(const char **p, const char *end, uint64_t *out)
{
    uint64_t v;

    if (!get_be(p, end, 8, &v))
        return false;
    *out = v;
    return true;
}

bool get_varint(const char **p, const char *end, uint64_t *out)
{
    uint64_t v = 0;
    const char *q = *p;

    for (unsigned shift = 0; shift < 64 && q < end; shift += 7) {
        unsigned char c = (unsigned char)*q++;
        if (shift == 63 && c > 1) /* past 64 bits */
            return false;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            *p = q;
            *out = v;
            return true;
        }
    }
    return false;
}

bool get_svarint(const char **p, const char *end, int64_t *out)
{
    uint64_t u;

    if (!get_varint(p, end, &u))
        return false;
    *out = (int64_t)(u >> 1 ^ (~(u & 1) + 1));
    return true;
}
