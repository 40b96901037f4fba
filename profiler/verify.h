/* Inside verify: what its files share. */
#ifndef WAYMARK_VERIFY_H
#define WAYMARK_VERIFY_H

#include "profiler/state_private.h"

struct verify {
    struct state *state;
    uint32_t partition;
    struct partition *p;
    void (*say)(void *arg, const char *line);
    void (*progress)(void *arg, double share);
    void *arg;
    struct verify_report *report;
    struct err *err;
    struct uidset streams; /* hashes of the streams that there are */
    /* Of a partition: events in streams of their own ids, those of them that are of devices with links, and events
     * placed with users; events in paths. */
    uint64_t stated_events, away_events, placed_events, path_events;
    uint64_t identity[IDENTITY_FIGURES]; /* of all devices */
    uint64_t all_placed, all_expected;   /* of all partitions */
    uint64_t stated, standing;           /* statements of orders: in paths, at homes; of all partitions */
};

/* One more difference. */
void verify_say(struct verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* How much is done when the profile under `key` is. */
double verify_share(const struct verify *v, struct str key);
/* A profile against its path and orders: verify_profile.c. 0 or negative errno. */
int verify_profile(struct verify *v, struct str key, struct str value);

/* A device: its runs follow from its links, and every event of it is placed with its user: verify_device.c. */
int verify_device(struct verify *v, struct str key, struct str value);
/* An account: its pairs are no later than the events that state them. */
int verify_account(struct verify *v, struct str key, struct str value);
/* The name of a stream for people. */
void verify_name(const struct stream_id *id, char *name, size_t size);

/* Orders: verify_orders.c. One at its owner; one at its home. */
int verify_order(struct verify *v, struct str key, struct str value);
int verify_home(struct verify *v, struct str key, struct str value);
/* An event of a profile's path that states an order, against the order's home. */
int verify_stated(struct verify *v, struct str profile, const struct event *ev, struct str bytes);
/* Whether all that the partitions told each other is heard. */
bool verify_settled(struct verify *v);
/* Once all partitions were walked, when that is so: as many statements in paths as at homes. */
void verify_all_stated(struct verify *v);

#endif
