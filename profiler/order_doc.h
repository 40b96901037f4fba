/* An order at its owner: its statements as one value. */
#ifndef WAYMARK_ORDER_DOC_H
#define WAYMARK_ORDER_DOC_H

#include "profiler/state_private.h"

/* An order's statements as one value. */
struct order_doc *order_doc_new(struct str bytes);
struct order_doc *order_doc_ref(struct order_doc *d);
void order_doc_unref(struct order_doc *d);

/* A statement that was taken back: kept, so that an older record does not bring it back. */
struct order_marker {
    struct uid uid;
    struct internal_version version;
};
#define ORDER_MARKERS 256 /* of one order at one owner */

/* A doc taken apart; spans point into it. */
struct order_parts {
    struct str order_id, owner;    /* the owner is a profile id */
    struct internal_version floor; /* nothing that is not newer is believed of an unknown uid */
    struct order_marker *markers;
    size_t marker_count;
    struct chunk_entry *statements; /* in the order of events */
    struct internal_version *versions;
    size_t count;
};
/* With room for `more` of each. 0, -EIO or -ENOMEM. */
int order_doc_read(struct str bytes, struct arena *a, size_t more, struct order_parts *out);
/* Makes room for that many more than are counted. 0 or -ENOMEM. */
int order_parts_alloc(struct order_parts *out, struct arena *a, size_t more);
bool order_doc_write(const struct order_parts *parts, struct arena *a, struct buf *b);
/* Decodes the statements and builds the order from them. -EIO for statements that cannot be decoded. count >= 1. */
int order_parts_build(const struct order_parts *parts, const struct fold_rules *rules, struct arena *a,
                      struct order *out);

#endif
