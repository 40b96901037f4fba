/* Inside the state: what is known of the erased, and what erasing does. Only the files of the state include this. */
#ifndef WAYMARK_ERASED_H
#define WAYMARK_ERASED_H

#include "profiler/state_private.h"

struct commit;

/* --- erased.c: what is known of the erased -------------------------------------------------------------------- */

int erased_load(struct partition *p, struct err *e);
void erased_deinit(struct erased *x);
/* NULL for a profile that was not. Worker, or with the lock. */
struct tombstone *tombstone_find(const struct partition *p, struct str profile);
struct key_hash erasure_hash(const struct partition *p, struct str profile);
/* Whether what the user did at that time is gone. */
bool user_is_erased(const struct partition *p, struct str user, int64_t time);
/* One that is in the table, with room in the list of those that changed. NULL when memory is out. Worker. */
struct tombstone *tombstone_make(struct partition *p, struct key_hash hash);
void tombstone_touch(struct partition *p, struct tombstone *t);
/* The command that is worked off is one of it; it must come from tombstone_make, and `at` be later than all of the
 * partition. Worker, with the lock. */
void tombstone_command(struct partition *p, struct tombstone *t, int64_t at);
/* Whose command was at that place; NULL when no tombstone knows of it. With the lock. */
const struct tombstone *tombstone_of(const struct partition *p, int64_t at);
/* The record being worked off erased something; the cache may have a copy. With the lock. */
void erased_mark(struct partition *p);
void erased_profile(struct partition *p, struct str id);
/* Of a profile that changes in this interval: orders of which only is remembered that it had them go with the commit.
 * Worker. */
void erased_emptied(struct partition *p, struct profile *r);
/* How many orders the profile has, whether or not they count in its facts. Worker. 0 or negative errno. */
int profile_orders(struct partition *p, const struct profile *r, uint64_t *out, struct err *e);
/* Whether the profile is an erased user's, or a device's that had an erased one. Worker. 0 or negative errno. */
int profile_was_erased(struct partition *p, struct str id, bool *out, struct err *e);
int commit_tombstones(struct commit *c);
void settle_tombstones(struct partition *p);

/* --- graves.c: what waits for its device ---------------------------------------------------------------------- */

int graves_init(struct graves *g);
void graves_deinit(struct graves *g);
/* Reads what is on disk. */
int graves_load(struct partition *p, struct err *e);
int commit_graves(struct commit *c);
void settle_graves(struct partition *p);

/* --- erase.c, erase_event.c, account.c: erasing ---------------------------------------------------------------- */

/* Of a stream's event: whether it is gone with who it was of. */
bool event_is_erased(const struct stream *s, const struct event_key *key);
/* Of an erased one: whether it is not gone yet, see grave.c. */
bool event_is_held(const struct partition *p, const struct stream *s, const struct event_key *key);
/* To the home of a device: what of it was the user's is gone. */
void tell_erasure(struct partition *p, const struct state_erasure *is, struct str device, struct str user);
/* To the home of the order, which is nobody's by this statement. */
void tell_stripped(struct partition *p, struct str order_id, const struct event_key *key, struct str bytes);
/* Of a user who was erased: forgets all pairs. With the lock. */
void account_reset(struct account *a);

#endif
