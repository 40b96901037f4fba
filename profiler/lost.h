/* Partitions that were followed here and are another's by now. Their states stay for a while, in case they come back,
 * and then go: who is erased meanwhile is erased in the state of who follows the partition, and in no other. A state
 * goes only when whoever follows the partition now has one on disk that is newer, as the committed offset of the group
 * says. */
#ifndef WAYMARK_LOST_H
#define WAYMARK_LOST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/event_log.h"
#include "profiler/state.h"

struct lost;

struct lost_options {
    struct event_log *log; /* one that is shared: else nothing is ever another's */
    struct state *state;
    uint32_t partitions;
    int64_t keep_ms; /* after it was lost, or since the start */
    /* Whether the partition is to be followed here. */
    bool (*follows)(void *arg, uint32_t partition);
    /* Its state is to go if it stands before `below`, and it is still not followed. Both must be quick. */
    void (*forget)(void *arg, uint32_t partition, int64_t below);
    /* What is kept beside a state, made from it: whether there is any of a partition that no erasure reaches; it is to
     * go, if the partition is still not followed; what went is to be cleared out of files, which may take its time.
     * `rows` NULL: there is nothing beside. The first two must be quick. */
    bool (*rows)(void *arg, uint32_t partition);
    void (*forget_rows)(void *arg, uint32_t partition);
    int (*clear_rows)(void *arg, struct err *e);
    void *arg;
};

/* NULL: memory is out. */
struct lost *lost_new(const struct lost_options *o);
void lost_free(struct lost *l);
/* Looks whether something is to go; asks the log, at most once a second. One thread. */
void lost_tick(struct lost *l);

/* Something was erased by the record before `place` of the partition, an offset of the log, or by one before that.
 * Returns whether nothing of it stands in a file here; if not, a state that is not followed goes as soon as it may, and
 * what is beside it at once. Any thread; quick. */
bool lost_is_clean(struct lost *l, uint32_t partition, int64_t place);

#endif
