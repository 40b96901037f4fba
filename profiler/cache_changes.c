/* The table of changing profiles. A change counts at its beginning and at its end: who took a ticket in between may
 * have read what was shown before. Pure. */
#include "profiler/cache_changes.h"

#include <assert.h>
#include <stdlib.h>

/* FNV-1a. Whoever chooses ids so that they meet in a slot only keeps them out of the cache. */
static uint32_t slot_of(struct str id)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < id.n; i++)
        h = (h ^ (unsigned char)id.p[i]) * UINT64_C(1099511628211);
    return (uint32_t)((h ^ (h >> 32)) % CHANGES_SLOTS);
}

void changes_begin(struct changes *c, const struct str *ids, size_t n, struct change_set *out)
{
    uint64_t now = ++c->now;

    *out = (struct change_set){.slots = malloc((n + 1) * sizeof *out->slots), .n = n};
    if (!out->slots) {
        c->all_changed = now;
        c->all_under_way++;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct change_slot *slot = &c->slots[out->slots[i] = slot_of(ids[i])];
        slot->changed = now;
        slot->under_way++;
    }
}

void changes_end(struct changes *c, struct change_set *set)
{
    uint64_t now = ++c->now;

    if (!set->slots) {
        assert(c->all_under_way > 0);
        c->all_changed = now;
        c->all_under_way--;
        return;
    }
    for (size_t i = 0; i < set->n; i++) {
        struct change_slot *slot = &c->slots[set->slots[i]];
        assert(slot->under_way > 0);
        slot->changed = now;
        slot->under_way--;
    }
    free(set->slots);
    *set = (struct change_set){NULL, 0};
}

uint64_t changes_step(struct changes *c)
{
    return ++c->now;
}

uint64_t changes_ticket(const struct changes *c)
{
    return c->now;
}

bool changes_none_since(const struct changes *c, struct str id, uint64_t ticket)
{
    const struct change_slot *slot = &c->slots[slot_of(id)];

    return slot->under_way == 0 && slot->changed <= ticket && c->all_under_way == 0 && c->all_changed <= ticket;
}
