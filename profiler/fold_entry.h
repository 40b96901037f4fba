/* Folding one event into a stream. The worker's thread. */
#ifndef WAYMARK_FOLD_ENTRY_H
#define WAYMARK_FOLD_ENTRY_H

#include "profiler/state_private.h"

/* Folds an event at its home: shows it and tells what follows. `stream` is the hash of its ids; *outcome says whether
 * it was known. 0, or a negative errno, and then nothing is shown or told. */
int fold_event(struct partition *p, struct str bytes, const struct event *ev, struct key_hash stream,
               enum outcome *outcome, struct err *e);

/* The user's other device that an alias names; absent. */
struct str alias_of(const struct event *ev);
/* The order that the event states; absent. */
struct str stated_order(const struct event *ev, unsigned flags);

/* An event that is gone before it came: what follows of it nevertheless. 0 or -ENOMEM, and then nothing is told. */
int fold_erased(struct partition *p, const struct stream *s, const struct event *ev, unsigned flags);

/* What was placed with a user who was erased is taken back, and nothing of it is remembered: whatever may bring it back
 * is followed by what takes it back. 0 or negative errno. */
int unplace_erased(struct partition *p, struct stream *s, const struct uid *uid, struct err *e);

#endif
