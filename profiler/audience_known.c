/* Whether the people of a partition are known here: asked by whoever tells numbers of everybody. Any thread. */
#include "profiler/audience_inside.h"

bool audiences_knows(struct audiences *a, uint32_t partition)
{
    pthread_rwlock_rdlock(&a->lock);
    bool known = a->world && partition < a->o.partitions && a->parts[partition].here && a->parts[partition].known;
    pthread_rwlock_unlock(&a->lock);
    return known;
}
