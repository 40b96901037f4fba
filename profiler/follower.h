/* The followers: threads that each follow some partitions of the event log into the state. A partition has one
 * follower, so its state has one writer. */
#ifndef WAYMARK_FOLLOWER_H
#define WAYMARK_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/state.h"

struct followers;

struct followers_options {
    struct event_log *log;
    struct state *state;
    uint32_t partitions;
    unsigned threads;
    int64_t commit_ms;
    /* Called by a follower whenever more is shown to look-ups than before. Must be quick. May be NULL. */
    void (*shown)(void *arg);
    void *arg;
};

/* Finds each partition's place on the log and starts the threads. A partition whose stored offset the log does not hold
 * is not followed and says so (followers_fault); the others are. 0 or a negative errno. */
int followers_start(const struct followers_options *o, struct followers **out, struct err *e);
/* Folds what the log holds now, commits, ends the threads; gives up after `ms`. 0, or -ETIMEDOUT when something acked
 * is only on the log, or not followed. Look-ups may go on. */
int followers_finish(struct followers *f, int64_t ms);
/* After followers_finish (or a failed start). NULL is allowed. */
void followers_free(struct followers *f);

/* --- any thread ----------------------------------------------------------------------------------------------- */

/* Next offset to read as shown. Only grows. */
int64_t followers_shown(const struct followers *f, uint32_t partition);
/* Whether everything that the log held at the start is shown. */
bool followers_ready(const struct followers *f, uint32_t partition);
/* Why a partition does not go on, in words for a person; false when it does. */
bool followers_fault(struct followers *f, uint32_t partition, struct err *why);

#endif
