/* Notes campaigns on the log of the people they took or held out: so many at once, all of them durable at the end. One
 * thread; the log's threads tell it what became of each. */
#ifndef WAYMARK_EXPORT_MARKS_H
#define WAYMARK_EXPORT_MARKS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "common/err.h"
#include "common/event_log.h"
#include "profiler/marks.h"

struct export_marks;

/* NULL when memory is out. */
struct export_marks *export_marks_new(struct event_log *log, const _Atomic bool *stop);
/* Waits for room. 0, -ECANCELED, or a negative errno with words when the log does not take it, or one before. */
int export_marks_put(struct export_marks *m, const struct mark *mark, struct str id, struct err *e);
/* Waits for all. The same results. */
int export_marks_wait(struct export_marks *m, struct err *e);
/* Waits until the log has no more to tell. NULL is allowed. */
void export_marks_free(struct export_marks *m);

#endif
