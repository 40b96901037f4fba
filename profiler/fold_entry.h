/* Folding one event into a stream. The worker's thread. */
#ifndef WAYMARK_FOLD_ENTRY_H
#define WAYMARK_FOLD_ENTRY_H

#include "profiler/state_private.h"

/* Folds an event at its home: shows it and tells what follows. `stream` is the hash of its ids; *outcome says whether
 * it was known. 0, or a negative errno, and then nothing is shown or told. */
int fold_event(struct partition *p, struct str bytes, const struct event *ev, struct key_hash stream,
               enum outcome *outcome, struct err *e);

#endif
