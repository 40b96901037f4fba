/* Who uses which device, with the evidence: what a device's home and a user's home know, for people to look at, and
 * what a link or an unlink would move. Any thread. Texts and lists lie in the caller's arena. */
#ifndef WAYMARK_STATE_IDENTITY_H
#define WAYMARK_STATE_IDENTITY_H

#include "common/arena.h"
#include "profiler/state.h"

/* Why a user does not have a device in spite of links. */
enum pair_void {
    PAIR_COUNTS,  /* it has */
    PAIR_SHARED,  /* the device is: none of its links counts */
    PAIR_CAP,     /* the user has more devices than it may keep, and this is none of the earliest */
    PAIR_UNLINKED /* all links were undone */
};
/* NULL for PAIR_COUNTS. */
const char *pair_void_name(enum pair_void v);

/* A user of a device. */
struct state_pair {
    struct str user; /* without "user:" */
    enum pair_void why;
    size_t links, by_order; /* that stand, whether or not they count; of them those that orders make */
    int64_t first, last;    /* event times of these; TIME_NONE without any */
    int64_t unlinked_until; /* TIME_NONE: none were undone */
};

/* Who had it when. */
struct state_run {
    struct str user;
    int64_t from; /* event time of the first link of it; what comes before the first run is its user's, too */
};

struct state_device {
    struct str user; /* of the latest link that counts; absent */
    bool shared;
    bool by_users, by_events; /* what it is shared for, as far as events were counted */
    size_t events;            /* of the device without a user; at most one more than it may have */
    struct state_pair *pairs; /* in the order in which they were heard of */
    size_t pair_count;
    struct state_run *runs;
    size_t run_count, runs_left_out; /* the latest ones are there */
    bool links_cut;                  /* there are more links than were counted */
};
/* `device` is the id without "anon:", `partition` its home. With `events` these are counted, which may have to read
 * them all. 0, STATE_NOT_FOUND: nothing is known of it, or a negative errno. */
int state_device(struct state *s, uint32_t partition, struct str device, bool events, struct arena *a,
                 struct state_device *out, struct err *e);

/* A device of a user, as the user's home knows it. */
struct state_owned {
    struct str device;
    bool linked;      /* a link counts: it is in the user's ids */
    bool beyond;      /* the user's cap */
    int64_t evidence; /* event time of the earliest; TIME_NONE: not known any more */
    size_t by_order;  /* orders that pair the two */
};

struct state_account {
    struct state_owned *devices; /* sorted by id */
    size_t device_count;
    bool capped; /* it had more than it may keep once: of those beyond the cap only their homes know */
};
/* `user` is the id without "user:". The same. */
int state_account(struct state *s, uint32_t partition, struct str user, struct arena *a, struct state_account *out,
                  struct err *e);

/* A link that might be made or undone. */
struct identity_step {
    bool unlink;
    struct str device, user;
    int64_t time; /* of the link; up to which links are undone */
};

/* Events that come from or go to a profile. */
struct moved_events {
    struct str profile;
    size_t events;
};

struct state_preview {
    size_t events, orders; /* that get another owner; that the events of the device state, of these */
    int64_t first, last;   /* event times; TIME_NONE without any */
    struct moved_events *from, *to;
    size_t from_count, to_count;
    bool shared_after; /* the device */
    bool linked_after; /* the user has it */
};
/* Changes nothing. Work is bounded: a device with more than LIMIT_DEVICE_EVENTS is shared, and nothing moves. 0 or a
 * negative errno. */
int state_preview(struct state *s, uint32_t partition, const struct identity_step *step, struct arena *a,
                  struct state_preview *out, struct err *e);

#endif
