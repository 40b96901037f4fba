/* Roaring bitmaps. The only file of the profiler that knows CRoaring. Any thread, as audience_bits.h says. */
#include "profiler/audience_bits.h"

#include <roaring/roaring.h>
#include <stdlib.h>

static roaring_bitmap_t *inside(struct bits *b)
{
    return (roaring_bitmap_t *)b;
}

static const roaring_bitmap_t *look(const struct bits *b)
{
    return (const roaring_bitmap_t *)b;
}

static struct bits *must(roaring_bitmap_t *r)
{
    if (!r)
        abort();
    return (struct bits *)r;
}

struct bits *bits_new(void)
{
    return must(roaring_bitmap_create());
}

struct bits *bits_copy(const struct bits *b)
{
    return b ? must(roaring_bitmap_copy(look(b))) : bits_new();
}

void bits_free(struct bits *b)
{
    if (b)
        roaring_bitmap_free(inside(b));
}

void bits_set(struct bits *b, uint32_t number)
{
    roaring_bitmap_add(inside(b), number);
}

void bits_clear(struct bits *b, uint32_t number)
{
    roaring_bitmap_remove(inside(b), number);
}

bool bits_has(const struct bits *b, uint32_t number)
{
    return b && roaring_bitmap_contains(look(b), number);
}

uint64_t bits_count(const struct bits *b)
{
    return b ? roaring_bitmap_get_cardinality(look(b)) : 0;
}

size_t bits_bytes(const struct bits *b)
{
    return b ? roaring_bitmap_portable_size_in_bytes(look(b)) : 0;
}

void bits_and(struct bits *b, const struct bits *other)
{
    if (other)
        roaring_bitmap_and_inplace(inside(b), look(other));
    else
        roaring_bitmap_clear(inside(b));
}

void bits_or(struct bits *b, const struct bits *other)
{
    if (other)
        roaring_bitmap_or_inplace(inside(b), look(other));
}

void bits_without(struct bits *b, const struct bits *other)
{
    if (other)
        roaring_bitmap_andnot_inplace(inside(b), look(other));
}

size_t bits_list(const struct bits *b, uint32_t from, uint32_t *out, size_t max)
{
    roaring_uint32_iterator_t it;

    if (!b || max == 0)
        return 0;
    roaring_init_iterator(look(b), &it);
    if (!roaring_move_uint32_iterator_equalorlarger(&it, from))
        return 0;
    return roaring_read_uint32_iterator(&it, out, (uint32_t)(max < UINT32_MAX ? max : UINT32_MAX));
}
