/* Blocks of memory for what was folded since the last commit. The worker takes from them; a view keeps them alive by a
 * reference that it takes under the partition's lock and gives back on its own thread. */
#include <assert.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define BLOCK_BYTES (1 * MIB)

struct interval_block {
    struct interval_block *next;
    size_t size, used;
    _Alignas(max_align_t) char bytes[];
};

struct interval *interval_new(void)
{
    struct interval *i = calloc(1, sizeof *i);

    if (i)
        atomic_init(&i->refs, 1);
    return i;
}

void interval_ref(struct interval *i)
{
    atomic_fetch_add_explicit(&i->refs, 1, memory_order_relaxed);
}

void interval_unref(struct interval *i)
{
    struct interval_block *b, *next;

    if (atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (b = i->blocks; b; b = next) {
        next = b->next;
        free(b);
    }
    free(i);
}

void *interval_alloc(struct interval *i, size_t n)
{
    struct interval_block *b = i->blocks;
    size_t size;
    void *out;

    n = (n + 7) & ~(size_t)7;
    if (!b || b->size - b->used < n) {
        /* The first blocks are small: a quiet partition shall not hold a megabyte. */
        size = atomic_load_explicit(&i->held, memory_order_relaxed) < BLOCK_BYTES ? BLOCK_BYTES / 16 : BLOCK_BYTES;
        size = n > size ? n : size;
        b = malloc(sizeof *b + size);
        if (!b)
            return NULL;
        b->next = i->blocks;
        b->size = size;
        b->used = 0;
        i->blocks = b;
        atomic_fetch_add_explicit(&i->held, sizeof *b + size, memory_order_relaxed);
    }
    out = b->bytes + b->used;
    b->used += n;
    return out;
}
