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
    uint64_t stream_events, path_events, partition_orders, orders_owned;
};

/* One more difference. */
void verify_say(struct verify *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* How much is done when the profile under `key` is. */
double verify_share(const struct verify *v, struct str key);
/* A profile against its path and orders: verify_profile.c. 0 or negative errno. */
int verify_profile(struct verify *v, struct str key, struct str value);

#endif
