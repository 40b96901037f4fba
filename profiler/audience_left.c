/* Rows of partitions that are another's by now. They stay beside the state, in case the partition comes back, and go
 * with it: who is erased meanwhile is erased in the rows of who has the partition, and in no others. The judging thread
 * removes them, another writes the files anew. */
#include <errno.h>

#include "profiler/audience_inside.h"

/* --- the judging thread ---------------------------------------------------------------------------------------- */

struct naming {
    struct arena arena;
    struct bits *sets;
};

static int name_sets(void *arg, const struct key_hash *hash, struct str bytes)
{
    struct naming *n = arg;
    struct row r;

    (void)hash;
    arena_reset(&n->arena);
    int rc = row_unpack(bytes, &n->arena, &r);
    for (size_t i = 0; rc == 0 && i < r.in_count; i++)
        bits_set(n->sets, r.in[i].set);
    for (size_t i = 0; rc == 0 && i < r.tag_count; i++)
        bits_set(n->sets, r.tags[i]);
    return rc < 0 ? rc : 0;
}

static bool read_kept(struct audiences *a, struct crowd *p)
{
    struct naming n = {.sets = bits_new()};

    arena_init(&n.arena, 16 * MIB);
    int rc = row_store_walk(a->rows, p->number, name_sets, &n, NULL);
    arena_deinit(&n.arena);
    if (rc == 0)
        p->kept = n.sets;
    else
        bits_free(n.sets);
    return rc == 0;
}

bool crowd_keeps(struct audiences *a, struct crowd *p, uint32_t set)
{
    if (!row_store_keeps(a->rows, p->number))
        return false;
    return (!p->kept && !read_kept(a, p)) || bits_has(p->kept, set);
}

static bool is_anothers(const struct audiences *a, uint32_t partition)
{
    return !a->o.elsewhere || a->o.elsewhere(a->o.arg, partition);
}

/* What comes back is taken in as it was: who is erased in it leaves, and everybody else stays. Until it is known to be
 * another's, it is left as it is, and no erasure is over. */
void crowd_forget(struct audiences *a, struct crowd *p)
{
    struct err e = {0};

    if (!atomic_load(&a->outer[p->number].forget) || !is_anothers(a, p->number))
        return;
    atomic_store(&a->outer[p->number].forget, false);
    if (!row_store_keeps(a->rows, p->number))
        return;
    pthread_rwlock_wrlock(&a->lock);
    int rc = row_store_wipe(a->rows, p->number, &e);
    pthread_rwlock_unlock(&a->lock);
    if (rc != 0) {
        log_limited(&a->limit, LOG_WARN, "audiences: rows of partition %u, which is another's, cannot be removed: %s",
                    p->number, e.text);
        return;
    }
    bits_free(p->kept);
    p->kept = NULL;
    log_info("audiences: partition %u is another's: its rows are taken off the disk", p->number);
}

/* --- others ---------------------------------------------------------------------------------------------------- */

static bool is_left_behind(struct audiences *a, uint32_t partition)
{
    uint64_t live = atomic_load(&a->outer[partition].live);

    return live ? live != crowd_stint(a, partition) : row_store_keeps(a->rows, partition);
}

bool audiences_leave_rows(struct audiences *a, uint32_t partition)
{
    return row_store_unclean(a->rows, partition) || is_left_behind(a, partition);
}

bool crowds_left_behind(struct audiences *a)
{
    bool any = false;
    int64_t through;

    for (uint32_t p = 0; p < a->o.partitions; p++)
        if (is_left_behind(a, p) && state_erasing(a->o.state, p, &through)) {
            audiences_forget_rows(a, p);
            any = true;
        }
    return any;
}

void audiences_forget_rows(struct audiences *a, uint32_t partition)
{
    if (row_store_keeps(a->rows, partition) && !atomic_exchange(&a->outer[partition].forget, true))
        audiences_wake(a);
}
