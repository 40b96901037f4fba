/* How long the eraser rests between two turns. Pure. */
#ifndef WAYMARK_ERASER_PAUSE_H
#define WAYMARK_ERASER_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

#define ERASER_TICK_MS INT64_C(100)

/* Zeroed at first. */
struct eraser_pause {
    int64_t backoff_ms;      /* after the last turn that failed; 0: it did not */
    int64_t row_ms, over_at; /* after the last of turns that followed each other; when it was over */
};

/* Milliseconds after a turn that began and ended at these monotonic times, and has done all it was for or not. */
int64_t eraser_pause_after(struct eraser_pause *p, bool done, int64_t began, int64_t ended);

#endif
