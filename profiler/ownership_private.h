/* Inside the ownership: what its two files share. */
#ifndef WAYMARK_OWNERSHIP_PRIVATE_H
#define WAYMARK_OWNERSHIP_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/limits.h"
#include "common/log.h"
#include "profiler/claim.h"
#include "profiler/ownership.h"

/* One partition. */
struct owned {
    pthread_mutex_t lock;
    struct claim claim;
    bool serving;              /* at the last beat */
    char url[LIMIT_URL_BYTES]; /* of the last claim, when it is another's; "": none */
};

struct ownership {
    struct ownership_options o;
    char url[LIMIT_URL_BYTES]; /* ours, once `addressed` */
    _Atomic bool addressed;
    bool shared;
    struct owned *owned;
    _Atomic unsigned refs; /* the owner's, and one for each append whose fate is not known */
    _Atomic bool stopping;
    _Atomic uint64_t claims, lost, terms_lost;
    struct log_limit limit;

    pthread_t asker;
    bool asker_started;
    pthread_mutex_t beat_lock; /* of `woken` */
    pthread_cond_t beat;
    bool woken;
    struct { /* of the asker: one question */
        uint32_t *numbers;
        uint64_t *serials;
        int64_t *ends;
    } asked;

    /* ownership_find.c */
    struct finder *finder;
};

/* Gives a reference back. */
void ownership_unref(struct ownership *o);

/* Starts and ends the thread that reads the claims of all partitions. Stop: also when it was never started. */
int ownership_find_start(struct ownership *o, struct err *e);
void ownership_find_stop(struct ownership *o);

#endif
