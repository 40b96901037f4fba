/* Receipts of erasures, as they are handed out and as one instance tells another what a partition knows of one. Pure
 * but for the key that signs; any thread. */
#ifndef WAYMARK_RECEIPT_H
#define WAYMARK_RECEIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/seal.h"
#include "common/str.h"
#include "profiler/state.h"

#define RECEIPT_ID_BYTES 48

/* The id of an erasure: the place of its command on the log, "3-812". */
void receipt_id(char out[RECEIPT_ID_BYTES], uint32_t partition, int64_t offset);
/* False when the text is none, of `partitions`. */
bool receipt_id_read(struct str text, uint32_t partitions, uint32_t *partition, int64_t *offset);

struct receipt {
    const char *id;
    const struct state_erasure *erasure;
    int64_t completed; /* ms */
    bool cache;        /* copies were in Redis */
    bool shared;       /* the log is of others, which keep ids and behaviour; else it was cleaned */
    int64_t kept;      /* ms that these keep them: 0 for ever, below 0 not known */
};

/* Appends {"id":…,"status":"done","receipt":{…},"signature":{…}}. What is signed are the bytes of the object `receipt`
 * as they stand there: ASCII, without white space, no number but integers, so that most programs that read JSON and
 * write it again without white space give the same bytes. `keys` NULL, or without a key: the signature is null. */
void receipt_write(struct buf *b, const struct receipt *r, struct seal_keys *keys);

/* What a partition knows of it: {"offset":…} and so on, there and back. `text` has JSON_PADDING behind it and may be
 * written to. */
void erasure_write(struct buf *b, const struct state_erasure *e);
bool erasure_read(char *text, size_t n, struct state_erasure *out);

#endif
