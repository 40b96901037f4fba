/* Look-ups: a bounded queue, the threads that work it off, and a waiting list of jobs that need something to be folded
 * first. Nothing here knows what a job does. */
#ifndef WAYMARK_LOOKUP_H
#define WAYMARK_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct lookups;

/* Somebody's job; it lies in memory of theirs that lives until `run` was called. */
struct lookup_job {
    /* Runs on a look-up thread, exactly once. `in_time` is false when it waited for `met` in vain, or until the end of
     * the program: then it must only say so. */
    void (*run)(struct lookup_job *job, bool in_time);
    /* Whether what it waits for is there; quick, from any thread. NULL: it waits for nothing. */
    bool (*met)(const struct lookup_job *job);
    int64_t deadline;        /* monotonic ms, for waiting */
    bool poll;               /* what it waits for wakes nobody: look four times a second */
    bool urgent;             /* goes first, and past a full queue */
    struct lookup_job *next; /* ours, as is `late` */
    bool late;
};

int lookups_start(unsigned threads, struct lookups **out, struct err *e);
/* Takes the job, to run at once or when it is met. False when too many wait or the end has begun: not taken. */
bool lookups_submit(struct lookups *l, struct lookup_job *job);
/* Something was folded. Quick, and next to nothing when nobody waits. */
void lookups_wake(struct lookups *l);
/* Lets waiting jobs go (those that are met in time, the others not), works off the queue, ends the threads. Jobs
 * submitted from then on are refused. */
void lookups_finish(struct lookups *l);
/* After lookups_finish. NULL is allowed. */
void lookups_free(struct lookups *l);

/* Jobs in the queue, and jobs that wait for something to be folded. */
void lookups_figures(struct lookups *l, uint64_t *queued, uint64_t *waiting);

#endif
