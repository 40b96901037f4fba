/* The answer of a look-up of one profile: what GET /v1/profiles/{id} says, and what its copy in the cache holds. */
#ifndef WAYMARK_PROFILE_JSON_H
#define WAYMARK_PROFILE_JSON_H

#include "common/buf.h"
#include "profiler/rules.h"
#include "profiler/state.h"

/* Appends the profile's object, as its copy in the cache is: without personal values. `tags` is their object; absent:
 * {}. What does not fit sets b->failed. Pure. */
void profile_write(const struct fold_rules *rules, struct buf *b, const struct state_profile *p, struct str tags);
/* The same with the traits that `show` says. Pure but for the keys. */
void profile_write_shown(const struct fold_rules *rules, const struct traits_show *show, struct buf *b,
                         const struct state_profile *p, struct str tags);
/* Of these, "ids", and the members behind "version", for an answer that puts them elsewhere. */
void profile_write_ids(struct buf *b, const struct state_profile *p);
void profile_write_known(const struct fold_rules *rules, const struct traits_show *show, struct buf *b,
                         const struct state_profile *p, struct str tags);

#endif
