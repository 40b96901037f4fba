/* Many path entries as one value: a chunk of the path, or the statements of an order. First what is known of every
 * entry, then their bytes, so that a reader of times need not touch the events. Pure. */
#ifndef WAYMARK_CHUNK_H
#define WAYMARK_CHUNK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"
#include "proto/event.h"

struct chunk_entry {
    struct event_key key;
    unsigned flags;   /* enum entry_flag */
    struct str bytes; /* the packed event */
};

/* Appends `n` entries that stand in the order of events. False when the buffer failed. */
bool chunk_write(const struct chunk_entry *const *entries, size_t n, struct buf *b);

struct chunk_reader {
    const char *p, *bytes, *end;
    int64_t time;
    size_t left;
};

/* Number of entries and the time of the first; false for bytes that are no chunk. */
bool chunk_open(struct str value, struct chunk_reader *r);
/* The next entry; false at the end and for damaged bytes: r->left is 0 only at the end. */
bool chunk_next(struct chunk_reader *r, struct chunk_entry *out);

#endif
