/* Whether the people of a partition are known here: asked by whoever tells numbers of everybody. The judging thread,
 * and any for what is asked. */
#include "profiler/audience_inside.h"

bool crowd_tells(const struct crowd *p)
{
    return p->here && p->known && !p->bare;
}

bool audiences_knows(struct audiences *a, uint32_t partition)
{
    pthread_rwlock_rdlock(&a->lock);
    bool known = a->world && partition < a->o.partitions && crowd_tells(&a->parts[partition]);
    pthread_rwlock_unlock(&a->lock);
    return known;
}

static void end_bare(struct audiences *a, struct crowd *p)
{
    pthread_rwlock_wrlock(&a->lock);
    p->bare = false;
    pthread_rwlock_unlock(&a->lock);
    if (p->blind && p->anew > 0)
        log_warn("audiences: partition %u came without rows, and its topic of changes does not go back to its "
                 "beginning: %llu "
                 "times somebody entered who may have entered before",
                 p->number, (unsigned long long)p->anew);
    p->blind = false;
    p->anew = 0;
}

void crowds_judged(struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        struct crowd *p = &a->parts[i];

        if (!p->here || !crowd_compared(p) || p->lap_left > 0 || !crowd_ready(a, p))
            continue;
        bool all = p->again_n == 0 && p->gone_at == p->gone_n;
        p->stale = p->stale && !all;
        if (turns_behind(a))
            continue;
        if (p->bare)
            end_bare(a, p);
        if (all)
            atomic_store(&p->whole, true);
    }
}
