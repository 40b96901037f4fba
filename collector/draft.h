/* What one request will append to the log: its good events packed, its bad ones with their reasons, and the list of
 * the latter for the answer. One thread at a time; used again for the next request. */
#ifndef WAYMARK_DRAFT_H
#define WAYMARK_DRAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/decode.h"
#include "collector/metrics.h"
#include "common/buf.h"
#include "common/event_log.h"
#include "proto/codec.h"
#include "proto/event.h"

struct span;

/* The records of one topic. */
struct draft_list {
    struct span *spans;
    size_t n, cap;
};

struct draft {
    struct buf bytes; /* keys and values of all records */
    struct draft_list lists[LOG_TOPICS];
    struct log_record *records; /* of one topic, see draft_records */
    void **args;
    size_t record_cap;
    struct tally tally;
    struct buf rejected; /* entries of the answer's list */
    struct refusal last_refusal;
    bool failed;    /* memory was out, or: */
    bool too_large; /* it is more than may be appended at once */
};

void draft_init(struct draft *d);
void draft_deinit(struct draft *d);
/* Empties it; keeps a little memory. */
void draft_reset(struct draft *d);
void draft_event(struct draft *d, const struct event *e);
/* `bad` without code and message: they are those of `why`; its bytes cut and sealed. */
void draft_refused(struct draft *d, const struct bad_event *bad, const struct refusal *why);
/* The records of a topic with `arg` as each one's argument, for event_log_append. They live until the next call.
 * Returns their number; sets `failed` when memory is out. */
size_t draft_records(struct draft *d, enum log_topic topic, void *arg, const struct log_record **records,
                     void *const **args);

#endif
