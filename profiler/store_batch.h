/* What the store takes out of a batch. For store.c; who fills batches uses store.h. */
#ifndef WAYMARK_STORE_BATCH_H
#define WAYMARK_STORE_BATCH_H

#include "profiler/store.h"

struct batch_record {
    struct str key, value; /* value absent: a deletion */
    size_t place;          /* in the order of adding */
};

uint32_t store_batch_family(const struct store_batch *b);
/* Its records by key, of several of one key the last that was added. They live until the batch changes. 0, or -ENOMEM
 * when memory was out while it was filled. */
int store_batch_records(struct store_batch *b, const struct batch_record **out, size_t *n);

#endif
