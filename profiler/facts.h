/* The facts of a profile: what rules and look-ups read. INTERFACE's table of facts in code. A struct facts is changed
 * step by step where that gives exactly what folding everything anew would give; a step that cannot be taken says so
 * (FACTS_REFOLD) and the caller folds anew. Pure; one thread at a time. */
#ifndef WAYMARK_FACTS_H
#define WAYMARK_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/num.h"
#include "profiler/order.h"
#include "profiler/path.h"
#include "proto/event.h"

/* clang-format off */
enum facts_map {
    BY_CATEGORY, BY_BRAND, BY_STYLE, BY_COLOR, BY_SIZE, BY_PRODUCT, /* views, added, ordered, amount */
    BY_STORE, BY_CITY, BY_DISTRICT, BY_CHANNEL, BY_CAMPAIGN,        /* orders, amount */
    BY_MODULE,                                                      /* pages */
    FACTS_MAPS
};
/* clang-format on */

/* What stands under a name; only the fields of its map are used. */
struct tally {
    struct str name; /* owned by the facts; "*" collects what has no place of its own */
    uint64_t prefix; /* the first bytes of the name as a number, for looking it up */
    union {
        int64_t views, orders, pages; /* no map has two of them */
    };
    int64_t added, ordered;
    int64_t lines; /* items of counted orders behind `ordered`: it stands while there is one */
    money amount;
};

struct tally_map {
    struct tally *v; /* sorted by name; only names under which something counts */
    uint32_t n, cap;
    size_t name_bytes;
    /* Of a map that has more names than it may keep, else NULL: a key at or after the first mention of every name
     * kept. In memory only. */
    struct event_key *cutoff;
};

struct currency_sum {
    char currency[4];
    money gross, refunded, discount;
    uint64_t uses; /* orders and credit notes behind it */
};

struct facts {
    int64_t first_seen, last_seen; /* TIME_NONE: none */
    int64_t first_event_at, last_event_at;
    struct event_key last_key; /* of the last event; valid when events > 0 */
    uint64_t events, sessions, pages;
    uint64_t products_viewed, products_added, products_removed, checkouts;
    uint64_t orders, orders_cancelled, orders_refunded, credit_notes;
    int64_t items;
    money gross, refunded, discount, cost; /* in the configured currency */
    uint64_t items_without_cost;           /* items of counted orders that have none */
    struct currency_sum *currencies;       /* sorted */
    size_t currency_count;
    int64_t first_order_at, last_order_at;
    struct str referred_by;        /* owned */
    struct event_key referred_key; /* of the event that said so; valid when referred_by is present */
    uint64_t touches;              /* session events that would be a touch (ENTRY_TOUCH) */
    uint64_t campaigns;            /* of those, with a campaign name */
    struct tally_map by[FACTS_MAPS];
    uint64_t hour[24], weekday[7]; /* Monday first */
};

enum { FACTS_OK = 0, FACTS_REFOLD = 1 };

void facts_init(struct facts *f);
void facts_deinit(struct facts *f);
/* Bytes of memory behind it, for the cache's budget. */
size_t facts_bytes(const struct facts *f);

/* Adds one event of the path, but not what it does to sessions and orders. In any order of arrival.
 * FACTS_REFOLD (f is then spoilt) when a map would have to give up a name. -ENOMEM. */
int facts_add_event(struct facts *f, const struct event *e, unsigned flags, const struct fold_rules *rules);
/* Adds to the number of sessions what path_session_change said. */
void facts_add_sessions(struct facts *f, int change);
/* Replaces what an order gave (NULL: nothing yet) by what it gives now (NULL: no longer this person's). `campaign`:
 * name of its last touch; absent for none. Never changes by.campaign unless told a campaign for either; FACTS_REFOLD
 * as above, and when a first or last order time or a kept name would go. */
struct facts_order {
    const struct order *order;
    struct str campaign;
};
int facts_change_order(struct facts *f, const struct facts_order *before, const struct facts_order *now,
                       const struct fold_rules *rules);
/* Whether this event or an order changed beside it may change the last touch of an order, so that only a fold of
 * everything gives by.campaign. `in_order`: the event's time is after every event that was there. */
bool facts_touch_matters(const struct facts *f, unsigned flags, bool in_order, bool order_changed);
/* Whether an event of that time comes after every event and order of the facts. */
bool facts_comes_last(const struct facts *f, int64_t time);

/* The oracle: folds a whole path (in the order of events, decoded one by one through `decode`) and the orders of the
 * person. It shares no step with the functions above but the writing of the result. */
struct fold_input {
    const struct path_entry *path;
    size_t path_count;
    const struct order *orders;
    size_t order_count;
    /* Decodes entry i into *out; what it points into must live until the next call. 0 or negative errno. */
    int (*decode)(void *arg, const struct path_entry *entry, struct event *out);
    void *arg;
};
/* Fills `out` (inited by the callee). 0 or negative errno, and then nothing is to be freed. */
int facts_fold(const struct fold_input *in, const struct fold_rules *rules, struct facts *out);

/* The touch at an order's end of the path: index into `path` of the earliest and the latest touch within the window up
 * to placed_at, -1 for none (direct). `notes` as path_annotate gives them. */
struct touches {
    int64_t first, last;
};
struct touches facts_touches(const struct path_entry *path, const struct path_note *notes, size_t n, int64_t placed_at,
                             int64_t window_ms);

/* Canonical bytes: equal facts give equal bytes. Used on disk and to compare. `version` and ids are not in them. */
bool facts_pack(const struct facts *f, struct buf *b);
/* 0, 1 for bytes that are no facts, -ENOMEM. Inits `out`. */
int facts_unpack(struct str bytes, struct facts *out);
/* The same of bytes that facts_pack has just made, which are not looked at so closely. */
int facts_unpack_own(struct str bytes, struct facts *out);
/* Whether packed facts have an event, without unpacking them. */
bool facts_packed_any(struct str bytes);

/* The JSON object of INTERFACE section 5: every fact, null where it has no value. */
void facts_write_json(const struct facts *f, const struct fold_rules *rules, struct buf *b);

#endif
