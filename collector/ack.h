/* Which request waits for what: each waits until all its records are durable, one of them failed, or its time is up,
 * whichever comes first, and is settled exactly once. What the log says afterwards only frees it.
 *
 * Threads: opened on a pool thread, settled on the log's callback thread, the timer's, or the opener's. */
#ifndef WAYMARK_ACK_H
#define WAYMARK_ACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/event_log.h"

enum ack_outcome {
    ACK_DURABLE,
    ACK_SPOOLED,  /* durable, but part of it on this machine's disk only so far */
    ACK_ENQUEUED, /* taken by the log, and nobody wanted to wait */
    ACK_REFUSED,  /* the log did not take it or failed */
    ACK_LATE      /* the time was up */
};

struct acks;

/* Embedded in what its owner keeps for the request. */
struct ack {
    struct acks *acks; /* may be gone once it was settled */
    struct ack *prev, *next;
    int64_t deadline;
    void (*release)(struct ack *);
    atomic_uint refs;    /* the settlement's and the records' */
    atomic_uint waiting; /* records not reported, and 1 for the opener */
    atomic_bool settled;
    atomic_bool spooled;   /* a record of it was */
    atomic_int failed;     /* the first status that was neither LOG_OK nor LOG_SPOOLED */
    uint32_t partitions;   /* of `last` */
    _Atomic int64_t *last; /* greatest offset of an event per partition, -1: none; the owner's memory */
};

struct acks_options {
    int64_t limit_ms; /* from opening to being late */
    /* Answers the request. On any thread, once; must be short. The ack lives until `release`. `status` says why it was
     * refused. */
    void (*settle)(struct ack *a, enum ack_outcome outcome, enum log_status status);
    /* Frees what the ack is embedded in. */
    void (*release)(struct ack *a);
};

/* Starts the timer's thread. NULL when memory or threads are out. */
struct acks *acks_new(const struct acks_options *o);
/* Opens no more; waits up to `ms` until every request is settled, then settles the rest as late. */
void acks_drain(struct acks *s, int64_t ms);
/* After acks_drain. Acks whose records are still with the log outlive it. NULL is allowed. */
void acks_free(struct acks *s);

/* Registers a request that waits for `records` records. `last` and `partitions` must be set. Until ack_close the ack
 * lives and is not settled as durable. False after acks_drain has begun: then nothing was done. */
bool ack_open(struct acks *s, struct ack *a, uint32_t records);
/* `records` of them will never be reported, because the log refused them: settles. */
void ack_refuse(struct ack *a, enum log_status status, uint32_t records);
/* Settles now, without waiting for what is under way. */
void ack_enqueued(struct ack *a);
/* The opener is done; the ack may be gone. */
void ack_close(struct ack *a);

/* log_done of the sink for a record on the topic of events, and of one on that of bad events; `arg` is the ack. */
void ack_event_done(void *arg, enum log_status status, uint32_t partition, int64_t offset);
void ack_bad_done(void *arg, enum log_status status, uint32_t partition, int64_t offset);

#endif
