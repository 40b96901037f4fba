/* A growable byte buffer with a bound. A failed append is sticky: later appends do nothing, so a writer checks once at
 * the end. One thread at a time. */
#ifndef WAYMARK_BUF_H
#define WAYMARK_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;  /* bound on n */
    bool failed; /* something did not fit, or memory was out */
};

void buf_init(struct buf *b, size_t max);
/* Frees; safe on a zeroed struct and twice. */
void buf_deinit(struct buf *b);
/* Empties, keeps the memory, clears `failed`. */
void buf_reset(struct buf *b);
/* Room for `n` more bytes, so that b->p + b->n may be written; false sets `failed`. */
bool buf_room(struct buf *b, size_t n);
bool buf_add(struct buf *b, const void *p, size_t n);
bool buf_add_str(struct buf *b, struct str s);
bool buf_add_text(struct buf *b, const char *nul_terminated);
bool buf_add_char(struct buf *b, char c);
bool buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Fixed-width big-endian numbers (keys), little-endian base-128 varints and zig-zag (values). */
bool buf_add_be32(struct buf *b, uint32_t v);
bool buf_add_be64(struct buf *b, uint64_t v);
bool buf_add_varint(struct buf *b, uint64_t v);
bool buf_add_svarint(struct buf *b, int64_t v);
struct str buf_str(const struct buf *b);

/* Readers of the same numbers. Each moves *p and returns false, moving nothing, when the bytes up to `end` do not hold
 * one. */
bool get_be32(const char **p, const char *end, uint32_t *out);
bool get_be64(const char **p, const char *end, uint64_t *out);
bool get_varint(const char **p, const char *end, uint64_t *out);
bool get_svarint(const char **p, const char *end, int64_t *out);

#endif
