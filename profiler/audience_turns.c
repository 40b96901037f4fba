/* People who take long to be judged: whose paths or orders are very long, robots most of all. Who took SLOW_US or more
 * the last time waits for a turn, however often they change meanwhile. A turn comes when the thread has had as much
 * time for the others as the last one took, so those who take long have half of it at most, and everybody else is
 * judged at once. The judging thread. */
#include <limits.h>
#include <stdlib.h>
#include <time.h>

#include "profiler/audience_inside.h"

#define SLOW_US 5000
#define TOOK_US 100 /* unit of what is noted */

int64_t clock_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool is_slow(const struct audiences *a, const struct person *x)
{
    return (int64_t)x->took * TOOK_US >= (a->o.slow_us ? a->o.slow_us : SLOW_US);
}

/* False when memory is out. */
static bool push(struct turns *t, uint32_t number, unsigned long long since)
{
    if (t->first > 0 && t->first == t->n)
        t->first = t->n = 0;
    if (t->n == t->cap && t->first > t->cap / 2) {
        memmove(t->v, t->v + t->first, (t->n - t->first) * sizeof *t->v);
        t->n -= t->first;
        t->first = 0;
    }
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct turn *v = realloc(t->v, cap * sizeof *v);

        if (!v)
            return false;
        t->v = v;
        t->cap = cap;
    }
    t->v[t->n++] = (struct turn){number, since};
    return true;
}

void turns_deinit(struct turns *t)
{
    free(t->v);
    *t = (struct turns){0};
}

/* Of whom something was erased nothing is to be left; and who is gone is judged fast. */
static bool must_not_wait(struct audiences *a, const struct crowd *p, const struct person *x)
{
    const struct event_key ever = {.time = TIME_NONE};
    bool erased = false;
    int64_t version;
    struct str id;

    arena_reset(&a->batch.scratch);
    return state_watch_find(a->o.state, p->number, &x->hash, &a->batch.scratch, &id, &version, NULL) != 0 ||
           state_is_erased(a->o.state, id, &ever, &erased, NULL) != 0 || erased;
}

bool turn_wait(struct audiences *a, struct crowd *p, uint32_t number, unsigned long long since)
{
    struct person *x = number == PERSON_NONE ? NULL : &p->people.v[number];

    if (!x || !is_slow(a, x) || must_not_wait(a, p, x))
        return false;
    if (x->waits)
        stats_add(a->put_off, 1);
    else if (!push(&p->turns, number, since))
        return false;
    x->waits = true;
    if (x->world != a->world->id)
        atomic_store(&a->turns_behind, true);
    return true;
}

/* Whether what was judged is of somebody who is gone, or of a life of theirs that is over. One whose profile cannot be
 * read is there. */
static bool is_past(struct audiences *a, const struct crowd *p, const struct person *x, int64_t through)
{
    const struct event_key ever = {.time = TIME_NONE};
    bool erased = false;
    int64_t version;
    struct str id;

    arena_reset(&a->batch.scratch);
    int rc = state_watch_find(a->o.state, p->number, &x->hash, &a->batch.scratch, &id, &version, NULL);
    if (rc != 0 || x->version < 0 || x->version >= through)
        return rc == STATE_NOT_FOUND;
    return state_is_erased(a->o.state, id, &ever, &erased, NULL) != 0 || erased;
}

static bool gone_wait_in(struct audiences *a, struct crowd *p)
{
    int64_t through;

    p->again_over = p->again_over && p->lap_left > 0;
    if (!state_erasing(a->o.state, p->number, &through))
        return false;
    for (uint32_t i = 0; i < p->again_n; i++)
        if (people_has(&p->people, p->again[i]) && is_past(a, p, &p->people.v[p->again[i]], through))
            return true;
    return p->again_over;
}

bool gone_wait(struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (a->parts[i].here && gone_wait_in(a, &a->parts[i]))
            return true;
    return false;
}

void turn_took(struct audiences *a, struct crowd *p, const struct key_hash *hash, int64_t since)
{
    uint32_t number = people_find(&p->people, hash);
    int64_t us = clock_us() - since, units = us / TOOK_US + 1;

    (void)a;
    if (number != PERSON_NONE)
        p->people.v[number].took = units > UINT16_MAX ? UINT16_MAX : (uint16_t)units;
}

static bool take_first(struct crowd *p, uint32_t *number)
{
    struct turns *t = &p->turns;

    while (t->first < t->n) {
        *number = t->v[t->first++].number;
        if (people_has(&p->people, *number) && p->people.v[*number].waits) {
            p->people.v[*number].waits = false;
            return true;
        }
    }
    return false;
}

bool turn_next(struct audiences *a, struct crowd **p, uint32_t *number)
{
    if (clock_us() < a->turn_at)
        return false;
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        *p = &a->parts[(a->turn_of + i) % a->o.partitions];
        if (!crowd_ready(a, *p) || !crowd_compared(*p) || !take_first(*p, number))
            continue;
        a->turn_of = ((*p)->number + 1) % a->o.partitions;
        return true;
    }
    return false;
}

unsigned long long turns_since(const struct audiences *a)
{
    unsigned long long least = ULLONG_MAX;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct turns *t = &a->parts[i].turns;

        for (size_t k = t->first; k < t->n; k++)
            if (t->v[k].since < least)
                least = t->v[k].since;
    }
    return least;
}

static bool anybody_behind(const struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        for (size_t k = p->turns.first; k < p->turns.n; k++)
            if (people_has(&p->people, p->turns.v[k].number) && p->people.v[p->turns.v[k].number].world != a->world->id)
                return true;
    }
    return false;
}

bool turns_behind(struct audiences *a)
{
    if (atomic_load(&a->turns_behind) && !anybody_behind(a))
        atomic_store(&a->turns_behind, false);
    return atomic_load(&a->turns_behind);
}

int64_t turns_pause(struct audiences *a)
{
    int64_t us = a->turn_at - clock_us();

    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (a->parts[i].turns.first < a->parts[i].turns.n && crowd_ready(a, &a->parts[i]) &&
            crowd_compared(&a->parts[i]))
            return us < 0 ? 0 : us / 1000 + 1;
    return INT64_MAX;
}
