/* The followers: threads that each follow some partitions of the event log into the state. A partition has one
 * follower, so its state has one writer, however often the partition is given, taken and given again. */
#ifndef WAYMARK_FOLLOWER_H
#define WAYMARK_FOLLOWER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/cache.h"
#include "profiler/rules.h"
#include "profiler/state.h"

struct followers;

struct followers_options {
    struct event_log *log;
    struct state *state;
    uint32_t partitions;
    unsigned threads;
    int64_t commit_ms;
    struct cache *cache;            /* NULL: none */
    const struct fold_rules *rules; /* of the copies that the cache gets */
    /* Whether the partition is to be followed: 0 when not, else a number that is another one each time that it is given
     * (ownership_stint). NULL: all are, always. Quick. */
    uint64_t (*stint)(void *arg, uint32_t partition);
    /* Where the partition's own state does not reach the log, which begins at `log_begin`: puts that of a backup in its
     * place. `other`: it is of another log; then only one will do that went on with a later one. 0 when there is
     * another state now, FOLLOWER_NO_BACKUP, or a negative errno. May take its time. NULL: there are no backups. */
    int (*restore)(void *arg, uint32_t partition, int64_t log_begin, bool other, struct err *e);
    /* Called by a follower whenever more is shown to look-ups than before. Must be quick. May be NULL. */
    void (*shown)(void *arg);
    /* Appends the object of a person's tags for a copy, and says what they are by and until when they are right
     * (cache.h). False: there is to be no copy. NULL: there are no tags. */
    bool (*tags)(void *arg, uint32_t partition, struct str id, struct buf *out, uint64_t *by, int64_t *until);
    void *arg;
    struct stats *stats; /* gets waymark_internal_*; may be NULL */
};
enum { FOLLOWER_NO_BACKUP = 1 };

/* Starts the threads, which find each partition's place on the log. A partition whose stored offset the log does not
 * hold is not followed and says so (followers_fault); the others are. 0 or a negative errno. */
int followers_start(const struct followers_options *o, struct followers **out, struct err *e);
/* Folds what the log holds now of the partitions that are followed, commits, ends the threads; gives up after `ms`. 0,
 * or -ETIMEDOUT when something acked is only on the log, or not followed. Look-ups may go on. */
int followers_finish(struct followers *f, int64_t ms);
/* After followers_finish (or a failed start). NULL is allowed. */
void followers_free(struct followers *f);

/* --- any thread ----------------------------------------------------------------------------------------------- */

/* The partition's `stint` has changed. */
void followers_wake(struct followers *f, uint32_t partition);
/* The state of the partition is to be taken off the disk if it is not followed and stands before `below`, an offset of
 * the log: another's state is on disk up to there. */
void followers_forget(struct followers *f, uint32_t partition, int64_t below);
/* What is folded of the partition is to be committed soon, not only when the interval is over. */
void followers_commit(struct followers *f, uint32_t partition);
/* Next offset to read as shown, with all that folding up to there emits on the log. Only grows while the partition is
 * followed; -1 when it is not, or has no place on the log. */
int64_t followers_shown(const struct followers *f, uint32_t partition);
/* Raises each of `places`, one for each partition, to one past the last record that the partition's folds put there,
 * for all that followers_shown has passed: what it moved there is folded there once followers_shown is not less. */
void followers_sent(struct followers *f, uint32_t partition, int64_t *places);
/* Whether everything that the log held when the partition found its place is shown. */
bool followers_ready(const struct followers *f, uint32_t partition);
/* Why a partition does not go on, in words for a person; false when it does. */
bool followers_fault(struct followers *f, uint32_t partition, struct err *why);
/* The state's figures as of the last moment at which all that it emitted was on the log; in offsets of the log, so that
 * a state that began before it began below 0. */
void followers_figures(struct followers *f, uint32_t partition, struct state_figures *out);
/* When the record folded last was appended; when none was since the start, since when the partition is followed;
 * TIME_NONE when it never was. */
int64_t followers_time(const struct followers *f, uint32_t partition);

#endif
