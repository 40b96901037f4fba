/* A partition whose log was lost and set up anew goes on. Commands, before anything is folded. */
#include <assert.h>
#include <errno.h>

#include "profiler/state_private.h"

static void stand(struct partition *p, const struct state_figures *f)
{
    pthread_mutex_lock(&p->lock);
    p->figures.offset = f->offset;
    p->figures.began = f->began;
    p->figures.base = f->base;
    pthread_mutex_unlock(&p->lock);
}

/* The offset and where it began move on together: as many records between them as were folded. */
int state_adopt(struct state *s, uint32_t partition, int64_t log_begin, struct err *e)
{
    assert(partition < s->partition_count && !s->read_only && log_begin >= 0);
    struct partition *p = &s->partitions[partition];
    struct state_figures before = p->figures, after = before;
    int64_t last = p->last_offset;

    assert(p->commit > 0 && before.offset == before.disk_offset);
    if (before.offset > INT64_MAX - STATE_ADOPT_STRETCH) {
        err_set(e, "partition %u has gone on with other logs too often", (unsigned)partition);
        return -EOVERFLOW;
    }
    after.offset += STATE_ADOPT_STRETCH;
    after.began += STATE_ADOPT_STRETCH;
    after.base = after.offset - log_begin;
    p->last_offset = -1;
    stand(p, &after);
    int rc = state_commit(s, partition, e);
    if (rc < 0) {
        p->last_offset = last;
        stand(p, &before);
    }
    return rc;
}
