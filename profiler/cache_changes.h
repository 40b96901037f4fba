/* Which profiles are changing, and which have changed since a moment: the rule `fill` of cache.h. A table of a fixed
 * size by the hash of the id, so that it may say of an innocent profile that it changes, which costs a copy, and never
 * the other way round. Pure; who uses it has a lock. */
#ifndef WAYMARK_CACHE_CHANGES_H
#define WAYMARK_CACHE_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/str.h"

#define CHANGES_SLOTS 16384

struct changes {
    uint64_t now; /* counts beginnings and ends */
    struct change_slot {
        uint64_t changed; /* `now` of the last beginning or end */
        uint32_t under_way;
    } slots[CHANGES_SLOTS];
    uint64_t all_changed; /* the same for batches too large to be remembered */
    uint32_t all_under_way;
};

/* The profiles of one batch, from its beginning to its end. */
struct change_set {
    uint32_t *slots; /* NULL: all profiles */
    size_t n;
};

void changes_begin(struct changes *c, const struct str *ids, size_t n, struct change_set *out);
void changes_end(struct changes *c, struct change_set *set);
/* A moment that lies behind every ticket taken so far. */
uint64_t changes_step(struct changes *c);
/* Of this moment: what is read after it and filled with it is a copy of what was shown then or later. */
uint64_t changes_ticket(const struct changes *c);
/* Whether the profile has neither changed since the ticket nor is changing. */
bool changes_none_since(const struct changes *c, struct str id, uint64_t ticket);

#endif
