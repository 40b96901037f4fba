/* The settings that the fold depends on: with the set of events they alone decide what a profile is. Pure. */
#ifndef WAYMARK_RULES_H
#define WAYMARK_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/clock.h"
#include "common/limits.h"

struct traits_rules; /* profiler/traits.h */

struct fold_rules {
    int64_t session_gap_ms;
    bool count_from_paid;    /* orders count from paid on, not from created */
    char currency[4];        /* of the amounts in facts */
    const struct zone *zone; /* of hours and weekdays; NULL: UTC */
    int64_t touch_window_ms;
    const char *const *payment_hosts;
    size_t payment_host_count;
    const struct traits_rules *traits; /* NULL: traits are not folded */
    size_t map_names;                  /* names that one `by` map keeps; 0: LIMIT_MAP_NAMES */
    /* Identity. */
    bool link_by_order;            /* whether two statements of one order link a device to an account */
    unsigned max_users_per_device; /* more, and the device is shared; 0: 20 */
    unsigned max_devices_per_user; /* the user keeps those of earliest evidence; 0: 1000 */
    size_t max_device_events;      /* without a user; more, and the device is shared; 0: LIMIT_DEVICE_EVENTS */
    /* SEAL_ERASURE_KEY_BYTES, of the hashes by which erased profiles are known; NULL: all zeros. */
    const unsigned char *erasure_key;
};

/* The caps, their defaults in place. */
static inline unsigned identity_max_users(const struct fold_rules *r)
{
    return r->max_users_per_device ? r->max_users_per_device : 20;
}

static inline unsigned identity_max_devices(const struct fold_rules *r)
{
    return r->max_devices_per_user ? r->max_devices_per_user : 1000;
}

static inline size_t identity_max_events(const struct fold_rules *r)
{
    return r->max_device_events ? r->max_device_events : LIMIT_DEVICE_EVENTS;
}

#endif
