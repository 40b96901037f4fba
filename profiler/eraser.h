/* The eraser: a thread that takes what was erased off the disks. Folding takes a person out of what is shown and of
 * what the next commit writes; the old bytes still stand in the state's files, on the embedded log and perhaps in the
 * cache until this thread has seen to it. Only then is an erasure over. On a log of others their records go with its
 * retention. After a restart what was not over is done again. */
#ifndef WAYMARK_ERASER_H
#define WAYMARK_ERASER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/cache.h"
#include "profiler/lost.h"
#include "profiler/state.h"

struct eraser;

struct eraser_options {
    struct event_log *log;
    struct state *state;
    struct cache *cache; /* NULL: none */
    struct lost *lost;   /* states of partitions that are another's, which go on this thread; NULL: there are none */
    struct stats *stats; /* gets waymark_erasures_pending, …_erasure_oldest_seconds and …_erased_records_total */
    uint32_t partitions;
    int64_t late_ms; /* between two walks over the log for events that came late; 0: a minute */
    /* As far as the partition is folded and all that folding put on the log, in offsets of the log; -1: it is not
     * followed here. */
    int64_t (*shown)(void *arg, uint32_t partition);
    /* What is folded of it is to be committed soon. */
    void (*commit)(void *arg, uint32_t partition);
    /* A partition has become clean. All three must be quick. */
    void (*cleaned)(void *arg);
    /* Somebody was erased and is not shown any more: files that were made of people before are removed when it returns.
     * May take its time; NULL: there are none. */
    void (*erased)(void *arg);
    /* Whether no file of what is kept beside the state has anything of the erased any more: 0, or a negative errno with
     * words, and then it is asked again. May take its time; NULL: nothing is. */
    int (*beside)(void *arg, struct err *e);
    void *arg;
};

/* Everything in the options must outlive it. 0 or a negative errno. */
int eraser_start(const struct eraser_options *o, struct eraser **out, struct err *e);
/* Ends the thread, leaving what is not over, within seconds: before the state, the cache and the log are closed. NULL
 * is allowed. */
void eraser_stop(struct eraser *e);
/* After eraser_stop, and once nobody reads the stats. NULL is allowed. */
void eraser_free(struct eraser *e);

/* Whether nothing that was erased in the partition, as far as it is shown, stands in any file of this program any more.
 * Any thread; quick. */
bool eraser_clean(const struct eraser *e, uint32_t partition);

#endif
