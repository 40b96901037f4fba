/* Inside of a time zone, for zone.c and zone_rule.c. */
#ifndef WAYMARK_ZONE_H
#define WAYMARK_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone_step {
    int64_t at;     /* seconds since 1970 from which the offset holds */
    int64_t offset; /* seconds to add to UTC */
};

/* The steps of a TZ rule such as "GMT0BST,M3.5.0/1,M10.5.0", which ends a zone's file, in the years `from` up to, not
 * with, `to`: at most two a year, in order of time. A rule without daylight saving gives one step, at the beginning of
 * `from`. Returns how many were written, or -1 when the rule cannot be read or there is no room. */
int zone_rule_steps(const char *rule, int64_t from, int64_t to, struct zone_step *out, size_t room);

#endif
