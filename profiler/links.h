/* Who used a device when: the links of one device and what follows from them. INTERFACE's "Identity" in code. Pure.
 *
 * A link says that a user used the device at a moment. What falls to whom depends only on where, in the order of
 * events, the links change from one user to another: a *run* is a stretch of links of one user, and an event belongs to
 * the run that began last before it, else to the first. */
#ifndef WAYMARK_LINKS_H
#define WAYMARK_LINKS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "proto/internal.h"

#define NO_USER UINT32_MAX

struct link {
    struct event_key key; /* of its evidence */
    struct uid subject;   /* tells links apart: the uid of the event, or one made from the order, by_order */
    uint32_t user;        /* the device's number of the user */
    bool removed;         /* it was taken back: kept, so that an older record does not bring it back */
    bool by_order;
    struct internal_version version;
};

/* All links of a device, in the order of events. */
struct links {
    struct link *v;
    size_t n, cap;
};

void links_deinit(struct links *l);
/* Takes what is said of a link unless something newer was said of it. Returns whether anything changed; -ENOMEM. */
int links_put(struct links *l, const struct link *link);
/* Of many at once: adds them as they come, 0 or -ENOMEM; then all of them are put in order, as links_put would have. In
 * between nothing else may be done with them. */
int links_add(struct links *l, const struct link *link);
void links_settle(struct links *l);

/* As bytes, one after the other; false when the buffer failed. */
bool link_write(const struct link *link, struct buf *b);
/* The next link; false for bytes that are none. */
bool link_read(const char **p, const char *end, struct link *out);

struct run {
    struct event_key from; /* of its first link */
    uint32_t user;
};

struct runs {
    struct run *v;
    size_t n, cap;
};

void runs_deinit(struct runs *r);
/* The runs of the links that are not removed and for which `counts` holds. 0 or -ENOMEM. */
int runs_make(const struct links *l, bool (*counts)(void *arg, const struct link *link), void *arg, struct runs *out);
/* The run that covers that place; only where there are runs. */
size_t runs_at(const struct runs *r, const struct event_key *key);
/* Whose an event is at that place in the order of events; NO_USER without runs. */
uint32_t runs_user(const struct runs *r, const struct event_key *key);
/* The user of the latest link; NO_USER without runs. */
uint32_t runs_last_user(const struct runs *r);
/* The times between which the two may differ in whom events belong to, both ends in; false when they do not. */
bool runs_differ(const struct runs *a, const struct runs *b, int64_t *from, int64_t *to);

#endif
