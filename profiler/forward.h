/* Look-ups sent on to the profiler that owns them, over HTTP. One thread, which drives all transfers; connections are
 * kept. Everything has a bound: calls under way, time, size of an answer. */
#ifndef WAYMARK_FORWARD_H
#define WAYMARK_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

struct forward;

/* One call; lies in memory of the caller's until `done`. Every call carries the header X-Waymark-Forwarded, and a
 * request that has it is never sent on again. */
struct forward_call {
    const char *url; /* whole */
    struct str authorization;
    int64_t deadline; /* monotonic ms */
    /* Called once, on the thread of the forwarder: it must be short. `status` 0: no answer, and `body` says why. */
    void (*done)(struct forward_call *call);
    unsigned status;
    struct buf body;                 /* the caller frees it */
    char content_type[96], rank[96]; /* of the answer: Content-Type and X-Waymark-Rank; "" when absent */
    struct forward_call *next;       /* the forwarder's */
};

int forward_start(struct forward **out, struct err *e);
/* Ends calls under way (status 0) and the thread. */
void forward_stop(struct forward *f);
void forward_free(struct forward *f);
/* False when too many are under way: then `done` is not called. */
bool forward_send(struct forward *f, struct forward_call *call);

#endif
