/* The event as our code sees it: spans and numbers, no protobuf type. What a span points into is said by whoever fills
 * the struct; the codec points into its input and its arena. Pure. */
#ifndef WAYMARK_EVENT_H
#define WAYMARK_EVENT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/clock.h"
#include "common/str.h"

enum event_type {
    EVENT_PAGE = 1,
    EVENT_SCREEN = 2,
    EVENT_TRACK = 3,
    EVENT_IDENTIFY = 4,
    EVENT_GROUP = 5,
    EVENT_ALIAS = 6,
    EVENT_ORDER = 7, /* an order log */
    EVENT_MARK = 8   /* what the shop notes about a person, nothing that they did: profiler/marks.h */
};

enum event_trust { TRUST_BEACON = 1, TRUST_SERVER = 2 };

/* In the order in which an order goes through them; of two at one time the greater is further along. */
enum order_status {
    STATUS_NONE = 0,
    STATUS_CREATED = 1,
    STATUS_PAID = 2,
    STATUS_SHIPPED = 3,
    STATUS_DELIVERED = 4,
    STATUS_REFUNDED = 5,
    STATUS_CANCELLED = 6
};

#define UID_BYTES 16

struct uid {
    unsigned char b[UID_BYTES];
};

/* An optional number. */
struct opt {
    bool has;
    int64_t v;
};

struct item {
    struct str product_id, sku, name, category, style, brand, color, size;
    struct opt price;    /* micros */
    struct opt quantity; /* pieces; absent counts as 1 */
    struct opt cost;     /* micros a piece */
    int64_t listed_at;   /* TIME_NONE when absent */
    struct str extra;    /* a JSON object of the other members, order logs only */
};

struct place {
    struct str store_id, store_name, city, district, address;
};

struct campaign {
    struct str name, source, medium, term, content;
    struct str click_id; /* gclid, fbclid, msclkid, … as "kind=value" */
};

/* What an event says of an order. */
struct order_fields {
    struct str order_id;      /* present exactly when the event names an order */
    enum order_status status; /* of an order log; of a track it follows from the name */
    struct opt total, revenue, subtotal, discount, shipping, tax; /* micros */
    struct str currency, coupon, channel;
    bool has_items; /* `items` of the event were given, perhaps none */
    bool has_refund;
    struct str refund_id;
    struct opt refund_amount;
    bool has_refund_items;
    const struct item *refund_items;
    size_t refund_item_count;
};

struct event {
    /* envelope */
    enum event_type type;
    enum event_trust trust;
    struct str name; /* of a track, page or screen */
    struct str source;
    struct str message_id;
    struct str anonymous_id; /* a device; absent when blocked */
    struct str user_id;      /* an account; absent when blocked */
    struct uid uid;
    int64_t time; /* event time */
    int64_t received;
    uint32_t position;     /* in its request */
    int64_t original_time; /* as the client wrote it; TIME_NONE when it gave none */
    int64_t sent;          /* TIME_NONE when not given */
    struct str library, library_version;
    struct str consent; /* JSON */
    /* who */
    struct str ip, user_agent, locale, shared_by;
    struct str previous_id, group_id;
    /* where */
    struct str url, path, title, module, came_from, referrer;
    struct campaign campaign;
    struct place place;
    /* what */
    const struct item *items;
    size_t item_count;
    struct order_fields order;
    /* verbatim JSON */
    struct str properties; /* of a track, page or screen, as sent */
    struct str traits;
    struct str context;
    struct str extra;  /* an object of the members that have no field here */
    bool erased;       /* the person was: only what a shop has to keep of an order is left */
    struct str sealed; /* common/seal.h: an object of the personal members of traits, context, properties and extra */
};

/* The order of events: total. */
struct event_key {
    int64_t time;
    int64_t received;
    uint32_t position;
    struct uid uid;
};

static inline struct event_key event_key(const struct event *e)
{
    return (struct event_key){e->time, e->received, e->position, e->uid};
}

static inline int event_key_cmp(const struct event_key *a, const struct event_key *b)
{
    if (a->time != b->time)
        return a->time < b->time ? -1 : 1;
    if (a->received != b->received)
        return a->received < b->received ? -1 : 1;
    if (a->position != b->position)
        return a->position < b->position ? -1 : 1;
    return memcmp(a->uid.b, b->uid.b, UID_BYTES);
}

/* How far the statements of one order are believed: those of the server first, then the later ones. */
struct event_rank {
    enum event_trust trust;
    struct event_key key;
};

static inline struct event_rank event_rank(const struct event *e)
{
    return (struct event_rank){e->trust, event_key(e)};
}

/* Greater than 0 when `a` is believed before `b`. */
static inline int event_rank_cmp(const struct event_rank *a, const struct event_rank *b)
{
    if (a->trust != b->trust)
        return a->trust < b->trust ? -1 : 1;
    return event_key_cmp(&a->key, &b->key);
}

/* The key of an event on the log: the user, else the device. */
static inline struct str event_log_key(const struct event *e)
{
    return str_has(e->user_id) ? e->user_id : e->anonymous_id;
}

#endif
