/* Who owns a partition, and for how long that is sure. Where several profilers share a log, the group says which
 * partitions a process is to follow, but it may say so to two at once, or too late; what may be shown to look-ups is
 * decided by claims on the log. The rules, each named where the code keeps it:
 *
 *   claim   an owner appends a claim to the partition of LOG_CLAIMS; it has the partition while no newer claim is there
 *   wait    it shows nothing until TERM (1 s) and 2 % after its claim was acked: until then an owner before it may show
 *   fold    ... nor before it has folded everything up to the end of the events, asked for after that wait: what an
 *           owner before it may have shown lies before
 *   asked   four times a second it asks the log for the end of the claims; if its own is the last, its term lasts 1 s
 *           from when it asked
 *   clock   each look-up reads the clock after it has arrived; outside the term nothing is shown
 *
 * On the embedded log the lock on its folder is the term, and `fold` is the end at the start; `wait` is kept when there
 * is a cache, whose copies an owner before it may have leased.
 *
 * Threads: one of its own, which asks; given and taken on the log's; the rest from any. */
#ifndef WAYMARK_OWNERSHIP_H
#define WAYMARK_OWNERSHIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/cache.h"

struct ownership;

struct ownership_options {
    struct event_log *log;
    struct cache *cache; /* NULL: none */
    uint32_t partitions;
    const char *instance; /* both stand in the claims; `url` is where others send look-ups */
    const char *url;      /* NULL: ownership_set_url says it */
    /* Next offset to read as shown; below 0 when nothing may be. Quick, any thread. */
    int64_t (*shown)(void *arg, uint32_t partition);
    /* Whether the partition is to be followed has changed; or more may be shown. Quick. */
    void (*changed)(void *arg, uint32_t partition);
    void *arg;
    int64_t (*clock)(void); /* NULL: clock_boot */
};

int ownership_start(const struct ownership_options *o, struct ownership **out, struct err *e);
/* Once, for who learns its port late: nothing is claimed before. */
void ownership_set_url(struct ownership *o, const char *url);
/* Gives up every term at once; nothing is shown from then on. */
void ownership_stop(struct ownership *o);
void ownership_free(struct ownership *o);

/* For log_group_options. */
void ownership_given(void *ownership, uint32_t partition);
void ownership_taken(void *ownership, uint32_t partition);

/* Whether the partition is to be folded here: given, and no newer claim seen. */
bool ownership_follows(const struct ownership *o, uint32_t partition);
/* The same with a number: 0 when not, else one that differs from time to time that it is given. A reader's place is
 * good for one such number. */
uint64_t ownership_stint(const struct ownership *o, uint32_t partition);

enum ownership_answer {
    OWNERSHIP_SERVES,   /* may be shown now */
    OWNERSHIP_NOT_YET,  /* ours, but not now: ownership_why says why */
    OWNERSHIP_ELSEWHERE /* another's, or nobody's: ownership_url */
};
/* Call after the request has arrived: reads the clock. */
enum ownership_answer ownership_ask(const struct ownership *o, uint32_t partition);
void ownership_why(struct ownership *o, uint32_t partition, struct err *why);
/* Where the last claim says that the owner listens. False when nobody else has claimed it. */
bool ownership_url(struct ownership *o, uint32_t partition, char *out, size_t size);

struct ownership_figures {
    uint64_t claims;     /* appended and acked */
    uint64_t lost;       /* to a newer claim */
    uint64_t terms_lost; /* what was shown had to be hidden since the log did not confirm it in time */
};
void ownership_figures(const struct ownership *o, struct ownership_figures *out);

#endif
