/* The rest after a turn. A turn writes all of the state anew and reads all of the log, however few were erased, and
 * takes along whoever was erased until it began. So those who are erased one after the other share turns: what takes
 * long is rested from longer, and others keep most of the disk. */
#include "profiler/eraser_pause.h"

#define LONG_MS 10000         /* for a turn: from here on others' share of the disk is four times the eraser's */
#define SHORT_REST_MS 1000    /* between turns that follow each other, at least, once there were a few */
#define ROW_MS 2000           /* from the rest after one to the next: it follows */
#define REST_MOST_MS 1800000  /* so that nobody who was erased waits for more than that and two turns */
#define BACKOFF_MOST_MS 60000 /* after a turn that failed: what hindered it may be over soon */

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* However short turns are, in a minute in which somebody is erased all the time there are not many. */
static int64_t rest_in_row(struct eraser_pause *p, int64_t began)
{
    bool follows = p->row_ms > 0 && began - p->over_at < ROW_MS;

    p->row_ms = follows ? least(2 * p->row_ms, SHORT_REST_MS) : ERASER_TICK_MS;
    return p->row_ms;
}

static int64_t rest_from(int64_t took)
{
    return least(took < LONG_MS ? took : 4 * took - 3 * LONG_MS, REST_MOST_MS);
}

static int64_t back_off(struct eraser_pause *p, int64_t took)
{
    p->backoff_ms = least(p->backoff_ms ? 2 * p->backoff_ms : 4 * ERASER_TICK_MS, BACKOFF_MOST_MS);
    return least(most(took, p->backoff_ms), BACKOFF_MOST_MS);
}

int64_t eraser_pause_after(struct eraser_pause *p, bool done, int64_t began, int64_t ended)
{
    int64_t took = ended - began, ms;

    if (!done)
        return back_off(p, took);
    p->backoff_ms = 0;
    ms = most(rest_in_row(p, began), rest_from(took));
    p->over_at = ended + ms;
    return ms;
}
