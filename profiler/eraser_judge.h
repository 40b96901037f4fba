/* What becomes of one record of the embedded log when people were erased: whether anything in it is still to be there.
 * Reads records, asks about people, writes what is left; knows neither the log nor the state. One thread. */
#ifndef WAYMARK_ERASER_JUDGE_H
#define WAYMARK_ERASER_JUDGE_H

#include <stdbool.h>

#include "common/arena.h"
#include "common/event_log.h"
#include "proto/event.h"

struct judge_asks {
    /* Whether an event at that time of the profile is erased (state_is_erased). 0 or a negative errno. */
    int (*erased)(void *arg, struct str profile, const struct event_key *key, bool *out, struct err *e);
    /* Whether there is such a profile: one that was erased may have begun anew. 0 or a negative errno. */
    int (*lives)(void *arg, struct str profile, bool *out, struct err *e);
    /* The record that names the profile last is about to lose the name: whether nobody will need it any more. */
    bool (*forgotten)(void *arg, struct str profile);
    void *arg;
};

struct judge {
    struct judge_asks asks;
    struct arena arena, items; /* of the record, of the events in it */
    struct err err;            /* why it failed last */
};

void judge_init(struct judge *j, const struct judge_asks *asks);
void judge_deinit(struct judge *j);

/* Of records of LOG_EVENTS that are folded, of LOG_BAD and of LOG_AUDIENCES. LOG_KEEP, LOG_BLANK or LOG_REPLACE with
 * the new value, or a negative errno; what cannot be read is kept. A log_judge: `judge` is a struct judge. */
int judge_record(void *judge, const struct log_record *r, struct buf *value);

#endif
