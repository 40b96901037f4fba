/* The uids of a stream with the times of the copy that stands: an open-addressing table. Nothing is ever removed.
 * Pure; one thread at a time. */
#ifndef WAYMARK_UIDSET_H
#define WAYMARK_UIDSET_H

#include <stddef.h>
#include <stdint.h>

#include "proto/event.h"

struct uid_times {
    struct uid uid;
    int64_t time, received;
};

struct uidset {
    uint64_t seed;           /* random: whoever chooses message ids shall not choose slots */
    struct uid_times *slots; /* free: time and received both INT64_MAX */
    size_t count, cap;       /* cap: a power of two, or 0 */
};

/* Where to look first, before it is cut to the size of a table. */
static inline uint64_t uid_spread(uint64_t seed, const struct uid *uid)
{
    uint64_t a, b;

    memcpy(&a, uid->b, sizeof a);
    memcpy(&b, uid->b + sizeof a, sizeof b);
    a = (a ^ seed) * UINT64_C(0x9e3779b97f4a7c15);
    a = (a ^ (a >> 32) ^ b) * ((seed << 1) | 1);
    return a ^ (a >> 32);
}
void uidset_deinit(struct uidset *s);
/* NULL when the uid is not there; lives until the next put. */
const struct uid_times *uidset_find(const struct uidset *s, const struct uid *uid);
/* Adds, or replaces the times. 0 or -ENOMEM. */
int uidset_put(struct uidset *s, const struct uid_times *t);
/* For walking: the first entry at or after slot *i, which moves past it; NULL at the end. */
const struct uid_times *uidset_next(const struct uidset *s, size_t *i);
static inline size_t uidset_bytes(const struct uidset *s)
{
    return s->cap * sizeof *s->slots;
}

#endif
