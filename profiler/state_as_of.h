/* A profile as of a time: the fold of its events up to then. Identity and who has an order are as known now: a view
 * gives both, and what happened later is left out. Any thread. */
#ifndef WAYMARK_STATE_AS_OF_H
#define WAYMARK_STATE_AS_OF_H

#include "profiler/state.h"

/* How many entries are not after the time. The order of events begins with time. */
size_t path_up_to(const struct path_entry *path, size_t n, int64_t time);
/* The orders again, from the statements made up to then, in the arena. An order that nobody had spoken of is left out.
 * 0 or -ENOMEM. */
int orders_as_of(const struct order *orders, size_t n, const struct fold_rules *rules, int64_t as_of, struct arena *a,
                 const struct order **out, size_t *count);

#endif
