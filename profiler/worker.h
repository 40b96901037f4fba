/* The fold workers: threads that each follow some partitions of the event log into the state. A partition has one
 * worker, so its state has one writer. */
#ifndef WAYMARK_WORKER_H
#define WAYMARK_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/state.h"

struct workers;

struct workers_options {
    struct event_log *log;
    struct state *state;
    uint32_t partitions;
    unsigned threads;
    int64_t commit_ms;
    /* Called by a worker whenever more is shown to look-ups than before. Must be quick. May be NULL. */
    void (*shown)(void *arg);
    void *arg;
};

/* Finds each partition's place on the log and starts the threads. A partition whose stored offset the log does not hold
 * is not followed and says so (workers_fault); the others are. 0 or a negative errno. */
int workers_start(const struct workers_options *o, struct workers **out, struct err *e);
/* Folds what the log holds now, commits, ends the threads; gives up after `ms`. 0, or -ETIMEDOUT when something acked
 * is only on the log, or not followed. Look-ups may go on. */
int workers_finish(struct workers *w, int64_t ms);
/* After workers_finish (or a failed start). NULL is allowed. */
void workers_free(struct workers *w);

/* --- any thread --------------------------------------------------------------------------------------------- */

/* Next offset to read as shown. Only grows. */
int64_t workers_shown(const struct workers *w, uint32_t partition);
/* Whether everything that the log held at the start is shown. */
bool workers_ready(const struct workers *w, uint32_t partition);
/* Why a partition does not go on, in words for a person; false when it does. */
bool workers_fault(struct workers *w, uint32_t partition, struct err *why);

#endif
