/* The keys of the cache and what stands behind them, which other services may read too:
 *
 *   PREFIX profile:user:42                     3f…(32 hex digits) 1017 88172645463325252
 * 1323475200000\n{"id":"user:42",… PREFIX lease:{partition}:{run_id}          3f…(32 hex digits)
 *
 * Pure. */
#ifndef WAYMARK_CACHE_VALUE_H
#define WAYMARK_CACHE_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"

#define GENERATION_DIGITS 32

/* Of one partition on one connection, random. */
struct generation {
    char digits[GENERATION_DIGITS];
};

void cache_key_profile(struct buf *out, const char *prefix, struct str id);
/* `run_id` NULL: without. */
void cache_key_lease(struct buf *out, const char *prefix, uint32_t partition, const char *run_id);

/* What stands before an answer, behind the generation. */
struct cache_head {
    int64_t version;
    uint64_t tags; /* 0: there are none; then `until` is 0, too, and neither is written */
    int64_t until;
};
#define CACHE_HEAD_BYTES 128 /* with the generation it is never longer */
void cache_value_write(struct buf *out, const struct generation *g, const struct cache_head *head, struct str answer);
/* False when it is no such copy, or one of another generation than `lease`. The answer points into `copy`. */
bool cache_value_read(struct str copy, struct str lease, struct cache_head *head, struct str *answer);

#endif
