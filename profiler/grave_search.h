/* Who has a hash: the search for those whom the log names by nothing else. Private to the state. See grave_search.c. */
#ifndef WAYMARK_GRAVE_SEARCH_H
#define WAYMARK_GRAVE_SEARCH_H

#include "profiler/state_private.h"

/* The profile of the partition whose id has the hash (erasure_hash), or with `devices` the profile of a device of which
 * no more is known than who had it: its id on the heap, absent where there is none. 0 or negative errno. Worker. */
int grave_search(struct partition *p, const struct key_hash *hash, bool devices, struct str *id, struct err *e);
/* Of a profile or device that has come into memory, with its profile's id: it is to be found. Worker. */
void grave_search_add(struct partition *p, enum key_kind kind, const struct key_hash *row, struct str profile);
/* After a commit: what is kept for searches goes, unless the log is being caught up with. Worker. */
void grave_search_settle(struct partition *p);
/* At once. With the lock, or while nobody else knows the partition. */
void grave_search_drop(struct partition *p);

#endif
