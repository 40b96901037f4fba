/* Profiles that a fold changed and that no key of its records names: a cache has to forget them before anybody is shown
 * the change, so that look-ups wait until it has. The worker, and look-ups that wait. */
#include <stdlib.h>

#include "profiler/state_private.h"

void profile_hold(struct partition *p, struct profile *r)
{
    if (r->held)
        return;
    if (pointers_reserve(&p->unannounced, 1) < 0)
        abort();
    r->held = true;
    pointers_add(&p->unannounced, r);
}

size_t state_unannounced(struct state *s, uint32_t partition, const struct str **ids)
{
    struct partition *p = &s->partitions[partition];
    size_t n = p->unannounced.n;

    free(p->unannounced_ids);
    p->unannounced_ids = calloc(n + 1, sizeof *p->unannounced_ids);
    if (!p->unannounced_ids)
        abort();
    for (size_t i = 0; i < n; i++)
        p->unannounced_ids[i] = ((struct profile *)p->unannounced.v[i])->id;
    *ids = p->unannounced_ids;
    return n;
}

void state_announced(struct state *s, uint32_t partition)
{
    struct partition *p = &s->partitions[partition];

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->unannounced.n; i++)
        ((struct profile *)p->unannounced.v[i])->held = false;
    p->unannounced.n = 0;
    pthread_mutex_unlock(&p->lock);
}
