/* An order, made from everything that was stated about it. INTERFACE's "Orders" in code. Pure. */
#ifndef WAYMARK_ORDER_H
#define WAYMARK_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/num.h"
#include "profiler/rules.h"
#include "proto/event.h"

/* Whether the event says something about an order, and the status that it states (STATUS_NONE: only fields). From a
 * beacon key Order Cancelled and Order Refunded state nothing. */
bool order_stated(const struct event *e, enum order_status *status);

struct order_moment {
    enum order_status status;
    int64_t time;
};

struct order_refund {
    struct event_key key; /* of its earliest statement */
    struct str id;        /* absent: none was given */
    money amount;         /* what counts of it, after the cut */
};

struct order {
    struct str order_id;
    enum order_status status;   /* best; STATUS_NONE when nobody gave one */
    enum order_status standing; /* best other than refunded */
    int64_t placed_at;          /* TIME_NONE: not placed */
    bool counted, credit_note;
    bool home_currency; /* its amounts belong to the facts */
    char currency[4];   /* the configured one where nobody gives one */
    money total, refunded;
    struct opt discount, shipping, tax, subtotal, revenue;
    struct str coupon, channel, shared_by;
    struct place place;
    const struct item *items;
    size_t item_count;
    const struct order_refund *refunds; /* in the order of events */
    size_t refund_count;
    const struct order_moment *history; /* one entry per statement with a status, in the order of events */
    size_t history_count;
    const struct event *best;              /* the statement whose person has the order */
    const struct event *const *statements; /* those that count, in the order of events */
    size_t statement_count;
};

/* Builds the order from its statements (distinct events for which order_stated holds, of one order id, any order of
 * the array). Of more than LIMIT_STATEMENTS those of a server key count first, then the first in the order of events.
 * Spans point into the events; arrays come from the arena. 0 or -ENOMEM. n >= 1. */
int order_build(const struct event *const *statements, size_t n, const struct fold_rules *rules, struct arena *a,
                struct order *out);

/* Packs into `b` what is left of an erased person's statement: what was sold for how much, when and where, by the
 * device "order:" and the order's id. False when memory is out or `b` is full. */
bool order_strip(const struct event *ev, struct buf *b);
/* Whether the event can be what order_strip left. */
bool order_is_stripped(const struct event *ev);

/* Where it stands among the orders of its profile: when it was placed, else first spoken of. */
int64_t order_time(const struct order *o);
/* By that time, then by the id; for qsort. */
int order_cmp(const void *a, const void *b);

/* Σ price × quantity of items, in micros. */
money order_lines(const struct item *items, size_t n);
/* Of one item: price × quantity, cost × quantity (0 when not given), and its quantity (1 when not given). */
money order_line(const struct item *it);
money order_cost(const struct item *it);
int64_t order_pieces(const struct item *it);

#endif
