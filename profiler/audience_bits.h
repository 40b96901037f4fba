/* Sets of people by their numbers: a roaring bitmap behind a small face. One writer; many may read while nobody writes.
 */
#ifndef WAYMARK_AUDIENCE_BITS_H
#define WAYMARK_AUDIENCE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bits;

/* Memory that is out ends the process: a set is as large as what is in it. */
struct bits *bits_new(void);
struct bits *bits_copy(const struct bits *b);
/* NULL is allowed. */
void bits_free(struct bits *b);

void bits_set(struct bits *b, uint32_t number);
void bits_clear(struct bits *b, uint32_t number);
/* NULL is the empty set, here and below. */
bool bits_has(const struct bits *b, uint32_t number);
uint64_t bits_count(const struct bits *b);
size_t bits_bytes(const struct bits *b);
/* Changes `b`: what is also in `other`; what is in one of them; what is not in `other`. */
void bits_and(struct bits *b, const struct bits *other);
void bits_or(struct bits *b, const struct bits *other);
void bits_without(struct bits *b, const struct bits *other);
/* Members from `from` on, in their order, at most `max`. How many. */
size_t bits_list(const struct bits *b, uint32_t from, uint32_t *out, size_t max);

#endif
