/* Local days: numbers of days since 1970-01-01 as the shop's zone has them, over changes of the clocks too. Pure. */
#ifndef WAYMARK_RULE_DAY_H
#define WAYMARK_RULE_DAY_H

#include <stdint.h>

#include "common/clock.h"

/* `z` NULL: UTC. */
int64_t rule_day(const struct zone *z, int64_t ms);
/* The first moment after `ms` that is not in its local day. */
int64_t rule_day_end(const struct zone *z, int64_t ms);
/* The first moment of a local day; of one that was left out (a zone that crossed the date line), of the next. */
int64_t rule_day_start(const struct zone *z, int64_t day);

#endif
