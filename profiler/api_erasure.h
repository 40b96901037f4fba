/* What the routes of erasure share. Private to api_eras*.c. */
#ifndef WAYMARK_API_ERASURE_H
#define WAYMARK_API_ERASURE_H

#include "profiler/api_ask.h"
#include "profiler/receipt.h"
#include "proto/codec_audit.h"

/* An erasure that is ordered, or asked for; in the arena of the request. */
struct erasing {
    unsigned tries;               /* to find whose the id is */
    int64_t held_until;           /* monotonic: what is held is waited for until then; 0: it was not */
    int64_t now;                  /* when it was asked for */
    struct audit_erasure erasure; /* what is recorded, and the command */
    struct place_on_log place;    /* of the command */
    char id[RECEIPT_ID_BYTES];
    struct state_erasure done; /* what its partition says became of it */
};

/* Waits until the command at x->place is folded, wherever it has led, and the places are clean; then answers: 200 with
 * a receipt, or in time with 202. `wait_ms` of the request counts. Any thread. */
void erasing_follow(struct ask *ask);

#endif
