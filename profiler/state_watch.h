/* Who changed: for those who keep something beside the state that follows from profiles (tags, audiences). With the
 * option `watch` a partition notes each profile that a fold changes, once until it is taken, up to a bound of memory;
 * beyond that it only says that too many have changed, and whoever watches compares all versions. Nothing of this is on
 * disk: after a start, and when a partition on disk became another, all versions are to be compared. */
#ifndef WAYMARK_STATE_WATCH_H
#define WAYMARK_STATE_WATCH_H

#include "common/arena.h"
#include "profiler/state.h"
#include "proto/keys.h"

struct state_changed {
    struct key_hash hash; /* of the profile's id, the partition's; stays the same over restarts */
    struct str id;
};

/* Takes what was noted: ids lie in the arena; a profile may be there twice. *all: too many changed, or the partition
 * became another one (also at first): walk it; what changed too many are on disk by then. -ENOMEM, and then *all is
 * said later. Any thread; one at a time for a partition. */
int state_watch_take(struct state *s, uint32_t partition, struct arena *a, struct state_changed **out, size_t *n,
                     bool *all);

/* What follows from notes that were taken may be lost: *all is said once more, when everybody in them is on disk. Any
 * thread. */
void state_watch_again(struct state *s, uint32_t partition);

/* Every profile of the partition that is somebody (not a linked device, not nobody), as on disk when it is its turn:
 * `each` returns 0 to go on, else the walk ends and returns that; `id` lives as long as the call. In the order of
 * hashes, those after `after` (NULL: all). What changes meanwhile, or is changed in memory only, is among what
 * state_watch_take gives. -ECANCELED: the partition became another one. Any thread that may wait. */
typedef int state_profile_visitor(void *arg, const struct key_hash *hash, struct str id, int64_t version);
int state_watch_walk(struct state *s, uint32_t partition, const struct key_hash *after, state_profile_visitor *each,
                     void *arg, struct err *e);

/* The id and version of a profile by its hash: 0, STATE_NOT_FOUND (also of who was erased or became a linked device),
 * or negative errno. It may be nobody since it changed last, which only state_profile knows. */
int state_watch_find(struct state *s, uint32_t partition, const struct key_hash *hash, struct arena *a, struct str *id,
                     int64_t *version, struct err *e);
struct key_hash state_watch_hash(struct state *s, uint32_t partition, struct str id);

/* --- definitions ------------------------------------------------------------------------------------------------ */

/* What everybody who folds has to know: audiences, cut points. Said by COMMAND_DEFINE, a record in every
 * partition (proto/internal.h); of several about one name the latest by (time, text) stands, in whatever order they are
 * read. What is too much by the bounds below and LIMIT_DEFINITIONS_BYTES is refused, and on the bad log. */
struct state_definition {
    enum definition_kind kind;
    struct str name;
    struct str body; /* JSON; absent: it was removed */
    int64_t time;    /* when it was said, ms */
    int64_t version; /* 1 + offset of the record, in this partition */
};
/* All that stand, removed ones left out, in the arena, sorted by kind and name. *changes: another number, above 0,
 * whenever one changed (a quick question with out NULL). Any thread. 0 or negative errno. */
int state_definitions(struct state *s, uint32_t partition, struct arena *a, struct state_definition **out, size_t *n,
                      uint64_t *changes);
/* Names of a partition, with those of what was removed. */
#define DEFINITIONS_MAX 10000

#endif
