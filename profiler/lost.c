/* When the states of partitions that are another's go. The eraser's thread, but for lost_is_clean. */
#include "profiler/lost.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"

#define ASK_MS 1000   /* for the log to answer */
#define EVERY_MS 1000 /* between two questions */

struct lost_part {
    int64_t since; /* monotonic: it is not followed since then; 0: it is */
    /* Something was erased before that place: the state is not to stay for as long as it might. 0: nothing is known. */
    _Atomic int64_t erased;
};

struct lost {
    struct lost_options o;
    struct lost_part *parts;
    uint32_t *asked;
    int64_t *committed;
    int64_t ask_at;
    struct log_limit limit;
};

struct lost *lost_new(const struct lost_options *o)
{
    struct lost *l = calloc(1, sizeof *l);

    assert(o->partitions > 0 && o->partitions <= LIMIT_PARTITIONS && o->follows && o->forget);
    if (!l)
        return NULL;
    l->o = *o;
    l->parts = calloc(o->partitions, sizeof *l->parts);
    l->asked = calloc(o->partitions, sizeof *l->asked);
    l->committed = calloc(o->partitions, sizeof *l->committed);
    if (l->parts && l->asked && l->committed)
        return l;
    lost_free(l);
    return NULL;
}

void lost_free(struct lost *l)
{
    if (!l)
        return;
    free(l->parts);
    free(l->asked);
    free(l->committed);
    free(l);
}

/* In offsets of the log. */
static int64_t stands_at(const struct lost *l, uint32_t partition)
{
    struct state_figures f;

    state_figures(l->o.state, partition, &f);
    return f.disk_offset - f.base;
}

/* One that was never folded here, or was forgotten, has nothing on disk. */
static bool is_empty(const struct lost *l, uint32_t partition)
{
    struct state_figures f;

    state_figures(l->o.state, partition, &f);
    return f.disk_offset == 0 && f.offset == 0;
}

bool lost_is_clean(struct lost *l, uint32_t partition, int64_t place)
{
    struct lost_part *p = &l->parts[partition];
    int64_t through, before;

    assert(partition < l->o.partitions);
    if (is_empty(l, partition))
        return true;
    if (stands_at(l, partition) >= place)
        return !state_erasing(l->o.state, partition, &through);
    before = atomic_load(&p->erased);
    while (before < place && !atomic_compare_exchange_weak(&p->erased, &before, place))
        ;
    return false;
}

static bool is_due(const struct lost *l, uint32_t partition, int64_t now)
{
    const struct lost_part *p = &l->parts[partition];

    return p->since != 0 && !is_empty(l, partition) &&
           (now - p->since >= l->o.keep_ms || atomic_load(&p->erased) > stands_at(l, partition));
}

static size_t gather(struct lost *l, int64_t now)
{
    size_t n = 0;

    for (uint32_t i = 0; i < l->o.partitions; i++) {
        struct lost_part *p = &l->parts[i];

        if (l->o.follows(l->o.arg, i))
            p->since = 0;
        else if (p->since == 0)
            p->since = now;
        if (is_due(l, i, now))
            l->asked[n++] = i;
    }
    return n;
}

void lost_tick(struct lost *l)
{
    int64_t now = clock_monotonic();
    size_t n = gather(l, now);
    struct err e = {0};

    if (n == 0 || now < l->ask_at)
        return;
    int rc = event_log_ask_committed(l->o.log, l->asked, n, ASK_MS, l->committed, &e);
    l->ask_at = clock_monotonic() + EVERY_MS;
    if (rc != 0) {
        log_limited(&l->limit, LOG_WARN, "profiler: whether others have what was followed here is not known: %s",
                    e.text);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (l->committed[i] > stands_at(l, l->asked[i]))
            l->o.forget(l->o.arg, l->asked[i], l->committed[i]);
}
