/* Compressed bodies: gzip and zlib streams, found by their first bytes and never by what a header claims. Any thread.
 */
#ifndef WAYMARK_INFLATE_H
#define WAYMARK_INFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/str.h"

enum {
    INFLATE_OK = 0,
    INFLATE_INVALID = 1,  /* damaged, cut short, or followed by something else */
    INFLATE_TOO_LARGE = 2 /* more than max_out bytes inside */
};

/* Whether `in` begins as a gzip stream, or as a zlib stream that no text can be taken for. */
bool inflate_wanted(struct str in);

/* Replaces what `out` holds by the whole inside of `in`, all members of it, with JSON_PADDING readable bytes behind.
 * `out` must have a bound of at least max_out + JSON_PADDING; no more than that is ever allocated. On anything but
 * INFLATE_OK what `out` holds means nothing. -ENOMEM. */
int inflate_all(struct str in, size_t max_out, struct buf *out);

#endif
