/* Puts what folding emits on the log, again and again until all of it is acked. What is acked twice, since the fate of
 * an append was unclear or a crash came between, is on the log twice: its readers tell by the place that it names. */
#ifndef WAYMARK_EMITTER_H
#define WAYMARK_EMITTER_H

#include <stddef.h>

#include "common/event_log.h"
#include "profiler/state.h"

struct emitter;

/* `wake` is called on a thread of the log when the last answer of those under way has come. NULL when memory is out. */
struct emitter *emitter_new(struct event_log *log, void (*wake)(void *arg), void *arg);
/* `wake` is not called any more once it returns; appends may be under way. NULL is allowed. */
void emitter_free(struct emitter *e);

enum emitted { EMITTED_ALL, EMITTED_WAITING, EMITTED_FAILED };
/* Drives these n: the same ones until it returns EMITTED_ALL. EMITTED_FAILED: some were refused, for the reason in
 * `why`; another call tries them again. One thread. */
enum emitted emitter_drive(struct emitter *e, const struct state_emission *v, size_t n, enum log_status *why);

#endif
