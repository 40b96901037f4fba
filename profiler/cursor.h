/* The place in a path where the next page begins, as text that means nothing to a client. It names an event by its key,
 * so that new events before or behind it move nothing. Pure. */
#ifndef WAYMARK_CURSOR_H
#define WAYMARK_CURSOR_H

#include <stdbool.h>

#include "common/buf.h"
#include "proto/event.h"

struct cursor {
    struct event_key last; /* of the last event that was given */
    bool desc;
    bool orders; /* of data: it names an order by its time and the hash of its id as uid; events are still to come */
    int64_t from, to, as_of; /* TIME_NONE where the first request had none */
};

/* `profile` is bound in: the cursor of one profile is refused for another. */
void cursor_write(struct buf *b, const struct cursor *c, struct str profile);
/* 0, or 1 for what cursor_write did not make for this profile. */
int cursor_read(struct str text, struct str profile, struct cursor *out);

#endif
