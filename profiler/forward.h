/* Look-ups sent on to the profiler that owns them, and calls to others, over HTTP. One thread, which drives all
 * transfers; connections are kept. Everything has a bound: calls under way, time, size of an answer, memory of all
 * answers. Redirects, proxies of the environment and schemes but http and https are not followed; the certificates of
 * peers are checked. */
#ifndef WAYMARK_FORWARD_H
#define WAYMARK_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

struct forward;

/* One call; lies in memory of the caller's until `done`. Every call to a profiler carries the header
 * X-Waymark-Forwarded, the `request` in it, and a request that has it is never sent on again. */
struct forward_call {
    const char *url; /* whole */
    struct str authorization;
    /* NULL, or whole lines up to a NULL: the call goes to somebody who is no profiler. It carries these instead of
     * X-Waymark-Forwarded, and of its answer nothing is kept but the status. */
    const char *const *headers;
    struct str post;     /* JSON, sent by POST; absent: it is a GET */
    const char *request; /* 16 hex digits by which the asked one knows it again in its audit log; NULL: none */
    int64_t deadline;    /* monotonic ms */
    /* Called once, on the thread of the forwarder: it must be short. `status` 0: no answer, and `body` says why. */
    void (*done)(struct forward_call *call);
    unsigned status;
    struct buf body; /* from a forward_send that took the call on; the caller frees it */
    /* Of the answer: Content-Type and X-Waymark-Instance; "" when absent. */
    char content_type[96], instance[96];
    struct forward_call *next; /* the forwarder's */
};

int forward_start(struct forward **out, struct err *e);
/* Before the first call: the file of certificates that may have signed those of https peers, must live as long; NULL:
 * the system's. */
void forward_trust(struct forward *f, const char *ca);
/* Ends calls under way (status 0) and the thread. */
void forward_stop(struct forward *f);
/* After forward_stop; nobody calls forward_send any more. NULL is allowed. */
void forward_free(struct forward *f);
/* False when too many are under way, or after forward_stop: then `done` is not called. Any thread; waits for nothing.
 */
bool forward_send(struct forward *f, struct forward_call *call);

#endif
