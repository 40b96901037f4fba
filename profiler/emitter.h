/* Puts what folding emits on the log, while folding goes on: in order, again and again until all of it is acked. What
 * is acked twice, since the fate of an append was unclear or a crash came between, is on the log twice: its readers
 * tell by the place or the version that it names. */
#ifndef WAYMARK_EMITTER_H
#define WAYMARK_EMITTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/event_log.h"
#include "common/stats.h"
#include "profiler/state.h"

struct emitter;

struct emitter_options {
    struct event_log *log;
    uint32_t partitions;
    /* Called on a thread of the log when emitter_drive has something to do; must be quick. */
    void (*wake)(void *arg);
    void *arg;
    struct stats_counter *records, *bytes; /* of internal records that were acked; may be NULL */
};

/* Those of one partition. NULL when memory is out. */
struct emitter *emitter_new(const struct emitter_options *o);
/* `wake` is not called any more once it returns; appends may be under way. NULL is allowed. */
void emitter_free(struct emitter *e);

/* Takes on `n` emissions, in this order, behind those before; keys and values are its own from then on. The follower's
 * thread, as are the next three. */
void emitter_take(struct emitter *e, const struct state_emission *v, size_t n);

/* EMITTED_FAILED: some were refused, for the reason in `why`; another call tries again. To one partition they are
 * appended in order: those behind one that failed are appended again, too. */
enum emitted { EMITTED_ALL, EMITTED_WAITING, EMITTED_FAILED };
enum emitted emitter_drive(struct emitter *e, enum log_status *why);
/* How many were taken on, and how many of the first of them are acked, all of them. */
uint64_t emitter_taken(const struct emitter *e);
uint64_t emitter_acked(struct emitter *e);
/* Whether so much is not acked that nothing more should be folded. */
bool emitter_full(struct emitter *e);

/* Raises each of `places` (one for each partition of the events) to one past the last record that was put there. Any
 * thread. */
void emitter_places(struct emitter *e, int64_t *places);

#endif
