/* Memory that dies in one call: blocks in a list, handed out from the newest. One thread at a time. */
#include "common/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>

#include "common/limits.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
/* A gap behind every piece, so that a write past its end is seen. */
#define GAP ALIGN
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define GAP 0
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define ALIGN alignof(max_align_t)
#define FIRST_BLOCK (4 * KIB)
#define GREATEST_STEP (1 * MIB) /* blocks grow up to this; a larger piece gets a block of its own size */

struct arena_block {
    struct arena_block *next;
    size_t cap; /* bytes behind the head */
    size_t n;   /* of them handed out */
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){.max = max};
}

static void free_block(struct arena *a, struct arena_block *b)
{
    assert(a->held >= sizeof *b + b->cap);
    a->held -= sizeof *b + b->cap;
    UNPOISON(b->bytes, b->cap);
    free(b);
}

void arena_deinit(struct arena *a)
{
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        free_block(a, b);
    }
    assert(a->held == 0);
    arena_init(a, a->max);
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->blocks;

    for (struct arena_block *b = a->blocks; b; b = b->next)
        if (b->cap > keep->cap)
            keep = b;
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (b != keep)
            free_block(a, b);
    }
    if (keep) {
        keep->next = NULL;
        keep->n = 0;
        POISON(keep->bytes, keep->cap);
    }
    a->blocks = keep;
    a->used = 0;
}

/* The next block's size: twice the last one's, at least `need`, within what is left of the bound. */
static size_t next_cap(const struct arena *a, size_t need)
{
    size_t left = a->max - a->held - sizeof(struct arena_block);
    size_t cap = a->blocks ? 2 * a->blocks->cap : FIRST_BLOCK - sizeof(struct arena_block);

    if (cap > GREATEST_STEP)
        cap = GREATEST_STEP;
    if (cap > left)
        cap = left;
    return cap < need ? need : cap;
}

static struct arena_block *add_block(struct arena *a, size_t need)
{
    assert(a->held <= a->max);
    if (a->max - a->held < sizeof(struct arena_block) || a->max - a->held - sizeof(struct arena_block) < need)
        return NULL;

    size_t cap = next_cap(a, need);
    struct arena_block *b = malloc(sizeof *b + cap);
    if (!b)
        return NULL;
    *b = (struct arena_block){.next = a->blocks, .cap = cap};
    POISON(b->bytes, cap);
    a->blocks = b;
    a->held += sizeof *b + cap;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_block *b = a->blocks;

    if (n > SIZE_MAX / 2)
        return NULL;
    size_t need = (n + GAP + ALIGN - 1) / ALIGN * ALIGN;
    if (!b || b->cap - b->n < need)
        b = add_block(a, need);
    if (!b)
        return NULL;
    void *p = b->bytes + b->n;
    b->n += need;
    a->used += n;
    UNPOISON(p, n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    return p ? memset(p, 0, n) : NULL;
}

struct str arena_dup(struct arena *a, struct str s)
{
    if (!str_has(s))
        return STR_NONE;
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (!p)
        return STR_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}
