/* States of partitions that another follows by now, taken off the disk. The thread of a follower. */
#include <assert.h>

#include "common/clock.h"
#include "profiler/follower_private.h"

/* Nothing of it waits: it was left for good, as far as is known, and what it folded is committed. */
static bool is_idle(const struct part *p)
{
    return p->stint == 0 && p->place == PLACE_AWAY && p->dirty_since == TIME_NONE && !part_emitting(p) &&
           !p->announcing;
}

static void show_nothing(struct followers *all, struct part *p)
{
    pthread_mutex_lock(&all->lock);
    part_figures(all, p->number, &p->figures);
    pthread_mutex_unlock(&all->lock);
    atomic_store(&p->time, TIME_NONE);
    if (all->o.shown)
        all->o.shown(all->o.arg);
}

void part_forget(struct followers *all, struct part *p)
{
    int64_t below = atomic_load(&p->forget_below);
    struct state_figures f;
    struct err e = {0};

    if (below == 0 || p->stint != 0) {
        atomic_store(&p->forget_below, 0); /* it is back */
        return;
    }
    if (!is_idle(p) || clock_monotonic() < p->forgets.retry_at)
        return;
    part_figures(all, p->number, &f);
    if (f.disk_offset >= below) {
        atomic_store(&p->forget_below, 0);
    } else if (state_forget(all->o.state, p->number, &e) != 0) {
        part_failed(all, p, &p->forgets, "its state, which is another's, cannot be taken off the disk", &e);
    } else {
        part_worked(p, &p->forgets, "is taken off the disk");
        atomic_store(&p->forget_below, 0);
        log_info("profiler: partition %u is another's: its state is taken off the disk", p->number);
        show_nothing(all, p);
    }
}

/* Any thread. */
void followers_forget(struct followers *all, uint32_t partition, int64_t below)
{
    assert(partition < all->o.partitions);
    if (atomic_exchange(&all->parts[partition].forget_below, below) != below)
        followers_wake(all, partition);
}
