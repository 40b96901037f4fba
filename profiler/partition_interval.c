/* Blocks of memory for what was folded since the last commit. The worker takes from them; a view keeps them alive by a
 * reference that it takes under the partition's lock and gives back on its own thread. */
#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/limits.h"
#include "profiler/state_private.h"

#define PAGE_BYTES (2 * MIB) /* a huge page: taking small ones costs more than what is put in them */
#define BLOCK_BYTES (4 * MIB)
#define SMALL_BYTES (64 * KIB)

struct interval_block {
    struct interval_block *next;
    size_t size, used; /* of bytes */
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

static void blocks_free(struct interval_block *b)
{
    struct interval_block *next;

    for (; b; b = next) {
        next = b->next;
        free(b);
    }
}

static bool is_last(struct interval *i)
{
    return atomic_fetch_sub_explicit(&i->refs, 1, memory_order_acq_rel) == 1;
}

void interval_unref(struct interval *i)
{
    if (!is_last(i))
        return;
    blocks_free(i->blocks);
    blocks_free(i->spare);
    free(i);
}

void interval_recycle(struct interval *i, struct interval *old)
{
    assert(!i->blocks && !i->spare);
    if (!is_last(old))
        return;
    i->spare = old->blocks;
    atomic_store_explicit(&i->held, atomic_load_explicit(&old->used, memory_order_relaxed), memory_order_relaxed);
    blocks_free(old->spare);
    free(old);
}

static struct interval_block *block_alloc(size_t whole)
{
    void *p;

    if (whole < BLOCK_BYTES)
        return malloc(whole);
    if (posix_memalign(&p, PAGE_BYTES, whole) != 0)
        return NULL;
    madvise(p, whole, MADV_HUGEPAGE); /* without it everything works, slower */
    return p;
}

/* The first blocks are small: a quiet partition shall not hold megabytes. */
static struct interval_block *block_new(struct interval *i, size_t n)
{
    size_t used = atomic_load_explicit(&i->used, memory_order_relaxed);
    size_t whole = used < BLOCK_BYTES / 4 ? SMALL_BYTES : BLOCK_BYTES;
    struct interval_block *b;

    if (n + sizeof *b > whole)
        whole = n + sizeof *b;
    b = block_alloc(whole);
    if (!b)
        return NULL;
    b->size = whole - sizeof *b;
    atomic_fetch_add_explicit(&i->held, whole, memory_order_relaxed);
    return b;
}

static struct interval_block *next_block(struct interval *i, size_t n)
{
    struct interval_block *b = i->spare;

    if (b && b->size >= n)
        i->spare = b->next;
    else
        b = block_new(i, n);
    if (!b)
        return NULL;
    b->used = 0;
    b->next = i->blocks;
    i->blocks = b;
    atomic_fetch_add_explicit(&i->used, sizeof *b + b->size, memory_order_relaxed);
    return b;
}

void *interval_alloc(struct interval *i, size_t n)
{
    struct interval_block *b = i->blocks;
    void *out;

    n = (n + 7) & ~(size_t)7;
    if (!b || b->size - b->used < n)
        b = next_block(i, n);
    if (!b)
        return NULL;
    out = b->bytes + b->used;
    b->used += n;
    i->filled += n;
    return out;
}
