/* What a device's home knows of it, as of one moment: for look-ups, while the worker goes on. Private to the state. */
#ifndef WAYMARK_DEVICE_COPY_H
#define WAYMARK_DEVICE_COPY_H

#include "profiler/state_private.h"

struct device_copy {
    struct partition *p;
    struct device *device; /* with the newest of each link, in the order of events; NULL: nobody was linked to it */
    struct str user;       /* of the latest link; absent */
    bool profile;          /* there is something of "anon:D" */
    bool links_cut;        /* there are more links than are read */
    /* Its events without a user. */
    struct key_hash stream;
    struct interval *interval;
    const struct entry *entries;
    struct event_key *gone; /* sorted */
    size_t gone_count;
    bool rewritten; /* what is on disk of them does not count */
    uint64_t seen;  /* the partition's changes up to this one */
    uint32_t commit;
    struct store_snapshot *snap;
    struct arena arena;
};

/* Any thread; holds the partition's place until it is closed, which it must be in any case. 0 or negative errno. */
int device_copy_open(struct state *s, uint32_t partition, struct str id, struct device_copy *out, struct err *e);
void device_copy_close(struct device_copy *c);

/* Its events without a user, in no order, until `each` says 1 or a negative errno. Bytes live as long as the call. 0 or
 * what is negative. */
typedef int device_event(void *arg, const struct event_key *key, unsigned flags, struct str bytes);
int device_copy_events(const struct device_copy *c, device_event *each, void *arg, struct err *e);

/* Which links of the copy count; what a device has when it counts them. */
struct device_weight {
    size_t users;     /* that links name */
    size_t by_events; /* that events state */
    bool shared;
};
/* How many users its links name, and how many of them events state. */
void device_count_users(const struct device *d, size_t *all, size_t *by_events);
void device_weigh(const struct device_copy *c, size_t events, struct device_weight *out);
/* Whether the link would count if the device were not shared. */
static inline bool link_stands(const struct device *d, const struct link *l)
{
    return !l->removed && !d->users[l->user].beyond && l->key.time > d->users[l->user].unlinked_until;
}

#endif
