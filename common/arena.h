/* Memory that dies in one call: a request, a micro-batch, a decoded event. One thread at a time. */
#ifndef WAYMARK_ARENA_H
#define WAYMARK_ARENA_H

#include <stddef.h>

#include "common/str.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t used; /* bytes handed out */
    size_t held; /* bytes asked of malloc */
    size_t max;  /* bound on held */
};

/* Allocates nothing yet. `max`: bytes that the arena may hold in all. */
void arena_init(struct arena *a, size_t max);
/* Gives all memory back; the arena is as after arena_init. */
void arena_deinit(struct arena *a);
/* Forgets everything handed out, keeping one block for the next round. */
void arena_reset(struct arena *a);
/* `n` bytes aligned for any type, not zeroed; NULL when `max` would be passed or malloc fails. */
void *arena_alloc(struct arena *a, size_t n);
/* The same, zeroed. */
void *arena_zalloc(struct arena *a, size_t n);
/* A copy of `s` (absent stays absent), with a NUL behind it. p is NULL for a present `s` when memory is out. */
struct str arena_dup(struct arena *a, struct str s);

#endif
