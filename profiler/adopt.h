/* Whether a partition's state and the log belong together, for a stopped instance whose log was lost and set up anew.
 * Blocking: commands. */
#ifndef WAYMARK_ADOPT_H
#define WAYMARK_ADOPT_H

#include <stdint.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/state.h"

/* As the profiler finds it at its start. */
enum adopt_fit {
    ADOPT_FITS,     /* it goes on where it stands */
    ADOPT_EMPTY,    /* there is no state of it: it begins by itself, or with a backup */
    ADOPT_REPLACED, /* another record stands where the last one was folded */
    ADOPT_BEHIND,   /* the log begins after its place */
    ADOPT_BEYOND    /* the log ends before its place */
};

struct adopt_place {
    enum adopt_fit fit;
    int64_t offset;     /* where the state stands, on the log that it was made from */
    int64_t begin, end; /* of the log that there is */
};

/* `reader` reads LOG_EVENTS and has no name. Waits up to `ms` for the log. 0, or a negative errno with words when it
 * does not answer. */
int adopt_look(struct state *s, struct event_log *log, struct log_reader *reader, uint32_t partition, int64_t ms,
               struct adopt_place *out, struct err *e);

#endif
