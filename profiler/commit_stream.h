/* What a stream adds to a commit. The worker's thread. */
#ifndef WAYMARK_COMMIT_STREAM_H
#define WAYMARK_COMMIT_STREAM_H

#include "profiler/state_private.h"

enum { SETTLE_SLICE = 64 }; /* objects that settle in one go with the lock */

/* A commit while it is made. */
struct commit {
    struct partition *p;
    struct store_batch *batch;
    uint32_t number;
    struct err *err;
    struct chunk_entry *entries; /* of one stream */
    const struct chunk_entry **sorted;
    size_t cap; /* of both */
};

void commit_put(struct commit *c, struct key key, struct str value);
void commit_take(struct commit *c, struct key key);
/* All that is on disk under keys that begin so. 0 or negative errno. */
int commit_take_all(struct commit *c, struct key prefix);

/* Everything of a stream that changed: its chunks, its uids, its record. 0 or negative errno. */
int commit_stream(struct commit *c, struct stream *s);

/* Devices and accounts that changed: 0 or negative errno. And when they are on disk. */
int commit_persons(struct commit *c);
void settle_persons(struct partition *p);

#endif
