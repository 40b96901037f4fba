/* From a client's JSON to an event: Segment's shape with Waymark's extra fields, order logs, and the pixel's query.
 * Checks everything that INTERFACE section 3 says of one event. Pure: the random part of a fresh message id comes in
 * through a callback. */
#ifndef WAYMARK_DECODE_H
#define WAYMARK_DECODE_H

#include <stdint.h>

#include "collector/privacy.h"
#include "common/arena.h"
#include "common/conf.h"
#include "common/json.h"
#include "proto/event.h"

/* Why one event is refused: a code of the table of `rejected` and words that name the field. */
struct refusal {
    const char *code; /* a literal */
    char message[200];
};

/* Why an account was ignored that an event names. */
enum decode_ignored { IGNORED_BLOCKED, IGNORED_HASH_MISSING, IGNORED_HASH_WRONG, IGNORED_REASONS };

/* What was found beside the event. */
struct decode_notes {
    struct str personal; /* a JSON object of personal values, to be sealed into the event's `sealed`; else absent */
    uint32_t cards;      /* full numbers of cards that were dropped */
    uint32_t users_ignored[IGNORED_REASONS];
    uint32_t devices_blocked;
    uint32_t consents_ignored;
};

struct decode_input {
    enum event_trust trust;
    struct str source;
    int64_t received;
    uint32_t position;          /* index over the request's events */
    enum event_type route_type; /* what the route says; 0: only the value's own `type` */
    const struct json *batch;   /* the object around a batch: defaults for context, sentAt, …; or NULL */
    struct str ip, user_agent;  /* of the connection: a beacon's; a server key states its users' in the context */
    const struct conf_blocked *blocked;
    const struct privacy *privacy; /* NULL: personal values stay where they stand; for tests */
    struct name_memo *memo;        /* of the thread; may be NULL */
    struct decode_notes *notes;    /* filled for accepted and refused events; needed with `privacy` */
    bool refuse_analytics, refuse_marketing_and_sale; /* said by the request's headers */
    void (*mint)(void *arg, char hex[33]);            /* a fresh message id, 32 characters and a NUL */
    void *mint_arg;
};

enum { DECODE_OK = 0, DECODE_REFUSED = 1 };

/* A call in Segment's shape. Spans of *out point into `v` and the arena. DECODE_REFUSED fills *why; -ENOMEM. */
int decode_event(const struct json *v, const struct decode_input *in, struct arena *a, struct event *out,
                 struct refusal *why);
/* An order log. */
int decode_order(const struct json *v, const struct decode_input *in, struct arena *a, struct event *out,
                 struct refusal *why);
/* The query parameters of a pixel, already percent-decoded. */
struct decode_pair {
    struct str name, value;
};
int decode_pixel(const struct decode_pair *query, size_t n, const struct decode_input *in, struct arena *a,
                 struct event *out, struct refusal *why);

/* INTERFACE section 5, "Event time". `timestamp` and `sent` are TIME_NONE where not given. */
int64_t decode_event_time(enum event_trust trust, int64_t timestamp, int64_t sent, int64_t received);

#endif
