/* Sets of uids by open addressing with linear probing. Pure; the worker's thread. */
#include "profiler/uidset.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { FIRST_CAP = 4 };

static bool is_free(const struct uid_times *t)
{
    return t->time == INT64_MAX && t->received == INT64_MAX;
}

void uidset_deinit(struct uidset *s)
{
    free(s->slots);
    *s = (struct uidset){.seed = s->seed};
}

/* The slot where the uid is, or would go. */
static size_t slot_of(const struct uidset *s, const struct uid *uid)
{
    size_t i;

    for (i = (size_t)uid_spread(s->seed, uid) & (s->cap - 1); !is_free(&s->slots[i]); i = (i + 1) & (s->cap - 1))
        if (memcmp(s->slots[i].uid.b, uid->b, UID_BYTES) == 0)
            break;
    return i;
}

const struct uid_times *uidset_find(const struct uidset *s, const struct uid *uid)
{
    const struct uid_times *t = s->cap ? &s->slots[slot_of(s, uid)] : NULL;

    return t && !is_free(t) ? t : NULL;
}

static int grow(struct uidset *s)
{
    struct uidset bigger = {.cap = s->cap ? 2 * s->cap : FIRST_CAP, .count = s->count, .seed = s->seed};
    const struct uid_times *t;
    size_t i;

    bigger.slots = malloc(bigger.cap * sizeof *bigger.slots);
    if (!bigger.slots)
        return -ENOMEM;
    for (i = 0; i < bigger.cap; i++)
        bigger.slots[i].time = bigger.slots[i].received = INT64_MAX;
    for (i = 0; (t = uidset_next(s, &i)) != NULL;)
        bigger.slots[slot_of(&bigger, &t->uid)] = *t;
    free(s->slots);
    *s = bigger;
    return 0;
}

int uidset_put(struct uidset *s, const struct uid_times *t)
{
    size_t i;

    assert(!is_free(t));
    if (s->count + 1 > s->cap / 4 * 3) {
        int rc = grow(s);

        if (rc < 0)
            return rc;
    }
    i = slot_of(s, &t->uid);
    s->count += is_free(&s->slots[i]);
    s->slots[i] = *t;
    return 0;
}

const struct uid_times *uidset_next(const struct uidset *s, size_t *i)
{
    while (*i < s->cap) {
        const struct uid_times *t = &s->slots[(*i)++];

        if (!is_free(t))
            return t;
    }
    return NULL;
}
