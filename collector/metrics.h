/* The collector's figures. What a scrape reads adds up at every moment: received = accepted + refused + in flight. Any
 * thread. */
#ifndef WAYMARK_METRICS_H
#define WAYMARK_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/event_log.h"
#include "common/stats.h"

/* Why an event was refused: the codes of `rejected`, then those of requests that were read and refused whole. */
enum reason {
    REASON_NOT_OBJECT,
    REASON_TYPE_UNKNOWN,
    REASON_ID_MISSING,
    REASON_ID_INVALID,
    REASON_NAME_MISSING,
    REASON_TIMESTAMP_INVALID,
    REASON_TOO_LARGE,
    REASON_TOO_DEEP,
    REASON_VALUE_INVALID,
    REASON_ORDER_INVALID,
    REASON_UNAVAILABLE,
    REASON_RATE_LIMITED,
    REASON_BODY_TOO_LARGE,
    REASONS
};

/* The code of a refusal as a reason. It must be one of the table. */
enum reason reason_of(const char *code);

/* What became of the events of one request. */
struct tally {
    uint32_t accepted;
    uint32_t refused[REASONS];
};

static inline uint32_t tally_events(const struct tally *t)
{
    uint32_t n = t->accepted;

    for (int i = 0; i < REASONS; i++)
        n += t->refused[i];
    return n;
}

struct metrics;

/* Registers everything with `stats`, which must not be read after metrics_free. NULL when memory is out. */
struct metrics *metrics_new(struct stats *stats, struct event_log *log);
void metrics_free(struct metrics *m);
/* Events were found in a request that could be read: before anything becomes of them. */
void metrics_received(struct metrics *m, uint32_t events);
/* What became of them: before the answer is sent. */
void metrics_settled(struct metrics *m, const struct tally *t);
/* All of them refused for one reason. */
void metrics_refused(struct metrics *m, enum reason why, uint32_t events);
/* A request was answered. `route` is a label of routes.c or "other". */
void metrics_request(struct metrics *m, const char *route, unsigned status, double seconds);
/* For the last line of the log. */
void metrics_totals(const struct metrics *m, uint64_t *received, uint64_t *accepted, uint64_t *refused);

#endif
