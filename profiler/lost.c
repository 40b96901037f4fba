/* When the states of partitions that are another's go. The eraser's thread, but for lost_is_clean. */
#include "profiler/lost.h"

#include <assert.h>
#include <errno.h>
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
    _Atomic bool rows_asked; /* the same of what is beside it */
};

struct lost {
    struct lost_options o;
    struct lost_part *parts;
    uint32_t *asked;
    int64_t *committed;
    int64_t ask_at, clear_at;
    struct log_limit limit;
};

struct lost *lost_new(const struct lost_options *o)
{
    struct lost *l = calloc(1, sizeof *l);

    assert(o->partitions > 0 && o->partitions <= LIMIT_PARTITIONS && o->follows && o->forget);
    assert(!o->rows || (o->forget_rows && o->clear_rows));
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

static bool has_rows(const struct lost *l, uint32_t partition)
{
    return l->o.rows && l->o.rows(l->o.arg, partition);
}

static bool state_is_clean(struct lost *l, uint32_t partition, int64_t place)
{
    struct lost_part *p = &l->parts[partition];
    int64_t through, before;

    if (is_empty(l, partition))
        return true;
    if (stands_at(l, partition) >= place)
        return !state_erasing(l->o.state, partition, &through);
    before = atomic_load(&p->erased);
    while (before < place && !atomic_compare_exchange_weak(&p->erased, &before, place))
        ;
    return false;
}

bool lost_is_clean(struct lost *l, uint32_t partition, int64_t place)
{
    assert(partition < l->o.partitions);
    bool rows = has_rows(l, partition), clean = state_is_clean(l, partition, place);

    if (rows)
        atomic_store(&l->parts[partition].rows_asked, true);
    return clean && !rows;
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

/* They are found out again from the state: nobody else needs to have them. */
static void clear_rows(struct lost *l, int64_t now)
{
    struct err e = {0};
    bool any = false;

    for (uint32_t i = 0; i < l->o.partitions; i++) {
        struct lost_part *p = &l->parts[i];

        if (!has_rows(l, i)) {
            atomic_store(&p->rows_asked, false);
            continue;
        }
        any = true;
        if (p->since != 0 && (atomic_load(&p->rows_asked) || is_empty(l, i)))
            l->o.forget_rows(l->o.arg, i);
    }
    if (!any || now < l->clear_at)
        return;
    int rc = l->o.clear_rows(l->o.arg, &e);
    l->clear_at = clock_monotonic() + (rc == 0 ? 0 : EVERY_MS);
    if (rc != 0 && rc != -ECANCELED)
        log_limited(&l->limit, LOG_WARN, "profiler: rows of partitions that were followed here are not cleared yet: %s",
                    e.text);
}

void lost_tick(struct lost *l)
{
    int64_t now = clock_monotonic();
    size_t n = gather(l, now);
    struct err e = {0};

    clear_rows(l, now);
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
