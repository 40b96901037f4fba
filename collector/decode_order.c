/* Order logs, and what calls say of orders in their properties. Pure; any thread. */
#include <errno.h>
#include <stddef.h>

#include "collector/decode_fields.h"

/* Up to here the id of an order fits into the id of the guest's device, "order:ID". */
#define GUEST_ORDER_BYTES (LIMIT_ID_BYTES - 6)

static const struct key_row order_rows[] = {
    KEY("tax", F_TAX),
    KEY("items", F_ITEMS),
    KEY("place", F_PLACE),
    KEY("total", F_TOTAL),
    KEY("coupon", F_COUPON),
    KEY("refund", F_REFUND),
    KEY("status", F_STATUS),
    KEY("sentAt", F_SENT),
    KEY("userId", F_USER),
    KEY("channel", F_CHANNEL),
    KEY("orderId", F_ORDER_ID),
    KEY("revenue", F_REVENUE),
    SNAKE("sent_at", F_SENT),
    SNAKE("user_id", F_USER),
    KEY("currency", F_CURRENCY),
    KEY("discount", F_DISCOUNT),
    SNAKE("order_id", F_ORDER_ID),
    KEY("shipping", F_SHIPPING),
    KEY("subtotal", F_SUBTOTAL),
    KEY("sharedBy", F_SHARED_BY),
    KEY("writeKey", F_DROPPED),
    KEY("messageId", F_MESSAGE),
    SNAKE("shared_by", F_SHARED_BY),
    KEY("timestamp", F_TIMESTAMP),
    SNAKE("write_key", F_DROPPED),
    SNAKE("message_id", F_MESSAGE),
    KEY("anonymousId", F_DEVICE),
    SNAKE("anonymous_id", F_DEVICE),
    KEY("originalTimestamp", F_ORIGINAL),
    SNAKE("original_timestamp", F_ORIGINAL),
};
const struct key_table order_keys = KEY_TABLE(order_rows);

enum refund_slot { REFUND_ID, REFUND_AMOUNT, REFUND_ITEMS };

static const struct key_row refund_rows[] = {
    KEY("id", REFUND_ID),
    KEY("items", REFUND_ITEMS),
    KEY("amount", REFUND_AMOUNT),
};
const struct key_table refund_keys = KEY_TABLE(refund_rows);

/* --- what both have ------------------------------------------------------------------------------- */

static int amounts_read(struct reader *r, const struct members *m)
{
    struct order_fields *o = &r->e->order;
    const struct {
        unsigned slot;
        const char *name;
        struct opt *out;
    } amounts[] = {
        {F_TOTAL, "total", &o->total},          {F_REVENUE, "revenue", &o->revenue},
        {F_SUBTOTAL, "subtotal", &o->subtotal}, {F_DISCOUNT, "discount", &o->discount},
        {F_SHIPPING, "shipping", &o->shipping}, {F_TAX, "tax", &o->tax},
    };
    for (size_t i = 0; i < sizeof amounts / sizeof *amounts; i++) {
        int rc = amount_read(r->why, amounts[i].name, member(m, amounts[i].slot), amounts[i].out);
        if (rc != 0)
            return rc;
    }
    return currency_read(r, "currency", member(m, F_CURRENCY), &o->currency);
}

/* Texts of an order may be stated empty: that takes an earlier one back. */
static void order_texts_read(struct reader *r, const struct members *m, uint32_t *kept)
{
    struct order_fields *o = &r->e->order;

    if (!text_read(member(m, F_COUPON), LIMIT_TEXT_BYTES, &o->coupon))
        *kept |= SLOT_BIT(F_COUPON);
    if (!text_read(member(m, F_CHANNEL), LIMIT_NAME_BYTES, &o->channel))
        *kept |= SLOT_BIT(F_CHANNEL);
}

/* --- calls ------------------------------------------------------------------------------------------ */

/* Of the track Order Refunded total, products and refund_id are those of the refund, not of the order. */
static int track_refund_read(struct reader *r, const struct members *m)
{
    struct order_fields *o = &r->e->order;
    const struct json *products = member(m, F_ITEMS);
    int rc = id_read(r->why, "value_invalid", "refund_id", member(m, F_REFUND_ID), &o->refund_id);

    if (rc != 0)
        return rc;
    o->has_refund = true;
    o->refund_amount = o->total;
    o->total = (struct opt){0};
    if (!products)
        return 0;
    o->has_refund_items = true;
    return items_read(r, "products", products, false, &o->refund_items, &o->refund_item_count);
}

static bool is_order_track(const struct event *e)
{
    return e->type == EVENT_TRACK && (str_is(e->name, "Order Completed") || str_is(e->name, "Order Updated") ||
                                      str_is(e->name, "Order Cancelled") || str_is(e->name, "Order Refunded"));
}

static int order_track_read(struct reader *r, const struct members *m)
{
    struct event *e = r->e;
    const struct json *products = member(m, F_ITEMS);
    uint32_t in_properties = 0;
    int rc = amounts_read(r, m);

    if (rc != 0)
        return rc;
    order_texts_read(r, m, &in_properties);
    if (str_is(e->name, "Order Refunded"))
        return track_refund_read(r, m);
    if (!products)
        return 0;
    e->order.has_items = true;
    return items_read(r, "products", products, false, &e->items, &e->item_count);
}

int order_of_call_read(struct reader *r, const struct members *m)
{
    struct event *e = r->e;
    bool states = is_order_track(e);
    int rc = id_read(r->why, "value_invalid", "order_id", member(m, F_ORDER_ID), &e->order.order_id);

    if (rc != 0 && !states)
        return 0; /* some other thing of that name; it stays in the properties */
    if (rc != 0 || !states || !str_has(e->order.order_id))
        return rc;
    return order_track_read(r, m);
}

bool states_order(const struct event *e)
{
    return is_order_track(e) && str_has(e->order.order_id);
}

/* --- order logs --------------------------------------------------------------------------------------- */

static const char *const status_words[] = {NULL, "created", "paid", "shipped", "delivered", "refunded", "cancelled"};

static int status_read(struct reader *r, const struct json *v)
{
    if (!v)
        return refuse(r->why, "order_invalid", "status is missing");
    for (int i = STATUS_CREATED; v->type == JSON_STRING && i <= STATUS_CANCELLED; i++) {
        if (str_is(v->text, status_words[i])) {
            r->e->order.status = (enum order_status)i;
            return 0;
        }
    }
    return refuse(r->why, "order_invalid", "status is not created, paid, shipped, delivered, refunded or cancelled");
}

static int log_order_read(struct reader *r, const struct members *m)
{
    struct str *id = &r->e->order.order_id;
    int rc = id_read(r->why, "order_invalid", "orderId", member(m, F_ORDER_ID), id);

    if (rc != 0)
        return rc;
    if (!str_has(*id))
        return refuse(r->why, "order_invalid", "orderId is missing");
    return status_read(r, member(m, F_STATUS));
}

/* Nobody named: a guest or a till. The order is then its own device. */
static int guest_device(struct reader *r)
{
    struct str id = r->e->order.order_id;

    if (id.n > GUEST_ORDER_BYTES)
        return refuse(r->why, "order_invalid", "orderId is over %d bytes, and the order names nobody",
                      GUEST_ORDER_BYTES);
    char *p = arena_alloc(r->arena, 6 + id.n);
    if (!p)
        return -ENOMEM;
    memcpy(p, "order:", 6);
    memcpy(p + 6, id.p, id.n);
    r->e->anonymous_id = (struct str){p, 6 + id.n};
    return 0;
}

static int log_who_read(struct reader *r, const struct members *m)
{
    struct event *e = r->e;
    int rc = user_read(r, "userId", member(m, F_USER), NULL, &e->user_id);

    if (rc == 0)
        rc = device_read(r, "anonymousId", member(m, F_DEVICE), &e->anonymous_id);
    if (rc == 0)
        rc = id_read(r->why, "id_invalid", "messageId", member(m, F_MESSAGE), &e->message_id);
    if (rc != 0 || str_has(e->user_id) || str_has(e->anonymous_id))
        return rc;
    return guest_device(r);
}

static int log_refund_read(struct reader *r, const struct json *v, uint32_t *kept)
{
    struct order_fields *o = &r->e->order;
    const struct json *refund, *items;
    struct members m;
    int rc = object_read(r->why, "refund", v, &refund);

    if (rc != 0 || !refund)
        return rc;
    members_read(refund, &refund_keys, &m);
    o->has_refund = true;
    if (m.unknown > 0)
        *kept |= SLOT_BIT(F_REFUND);
    rc = id_read(r->why, "value_invalid", "id", member(&m, REFUND_ID), &o->refund_id);
    if (rc == 0)
        rc = amount_read(r->why, "amount", member(&m, REFUND_AMOUNT), &o->refund_amount);
    items = member(&m, REFUND_ITEMS);
    if (rc == 0 && items) {
        o->has_refund_items = true;
        rc = items_read(r, "items", items, true, &o->refund_items, &o->refund_item_count);
    }
    if (rc == DECODE_REFUSED)
        refusal_prefix(r->why, "refund.");
    return rc;
}

static int log_values_read(struct reader *r, const struct members *m, uint32_t *kept)
{
    struct event *e = r->e;
    const struct json *items = member(m, F_ITEMS);
    int rc = amounts_read(r, m);

    if (rc != 0)
        return rc;
    order_texts_read(r, m, kept);
    if (!text_read_full(member(m, F_SHARED_BY), LIMIT_TEXT_BYTES, &e->shared_by))
        *kept |= SLOT_BIT(F_SHARED_BY);
    if (r->scrub)
        scrub_url(r->scrub, &e->shared_by);
    if (!place_read(member(m, F_PLACE), &e->place))
        *kept |= SLOT_BIT(F_PLACE);
    if (items) {
        e->order.has_items = true;
        rc = items_read(r, "items", items, true, &e->items, &e->item_count);
    }
    return rc != 0 ? rc : log_refund_read(r, member(m, F_REFUND), kept);
}

int decode_order(const struct json *v, const struct decode_input *in, struct arena *a, struct event *out,
                 struct refusal *why)
{
    struct event e = {.type = EVENT_ORDER,
                      .trust = in->trust,
                      .source = in->source,
                      .received = in->received,
                      .position = in->position,
                      .original_time = TIME_NONE,
                      .sent = TIME_NONE};
    struct decode_notes notes;
    struct scrub scrub;
    struct reader r;
    struct members m;
    uint32_t kept = 0;
    int rc = shape_check(v, in->batch, why);

    if (rc != 0)
        return rc;
    reader_begin(&r, in, a, why, &e, &scrub, &notes);
    members_read(v, &order_keys, &m);
    rc = log_order_read(&r, &m);
    if (rc == 0)
        rc = log_who_read(&r, &m);
    if (rc == 0)
        rc = times_read(&r, member(&m, F_TIMESTAMP) ? member(&m, F_TIMESTAMP) : member(&m, F_ORIGINAL),
                        member(&m, F_SENT));
    if (rc == 0)
        rc = log_values_read(&r, &m, &kept);
    if (rc == 0)
        rc = rest_keep(&r, v, &order_keys, &m, kept, NULL, &e.extra);
    if (rc == 0)
        rc = event_finish(&r);
    rc = reader_end(&r, rc);
    if (rc == 0)
        *out = e;
    return rc;
}
