/* JSON of path events and orders. Pure; look-up threads call it. */
#include "profiler/render.h"

#include "common/json.h"

const char *render_type(enum event_type type)
{
    switch (type) {
    case EVENT_PAGE:
        return "page";
    case EVENT_SCREEN:
        return "screen";
    case EVENT_TRACK:
        return "track";
    case EVENT_IDENTIFY:
        return "identify";
    case EVENT_GROUP:
        return "group";
    case EVENT_ALIAS:
        return "alias";
    case EVENT_ORDER:
        return "order";
    case EVENT_MARK:
        return "mark";
    }
    return "unknown";
}

const char *render_status(enum order_status status)
{
    switch (status) {
    case STATUS_NONE:
        return NULL;
    case STATUS_CREATED:
        return "created";
    case STATUS_PAID:
        return "paid";
    case STATUS_SHIPPED:
        return "shipped";
    case STATUS_DELIVERED:
        return "delivered";
    case STATUS_REFUNDED:
        return "refunded";
    case STATUS_CANCELLED:
        return "cancelled";
    }
    return NULL;
}

void render_time(struct buf *b, int64_t ms)
{
    if (ms == TIME_NONE) {
        buf_add_text(b, "null");
        return;
    }
    buf_add_char(b, '"');
    time_write(b, ms);
    buf_add_char(b, '"');
}

void render_time_member(struct buf *b, const char *key, int64_t ms)
{
    if (ms == TIME_NONE)
        return;
    json_write_key(b, key);
    render_time(b, ms);
}

void render_micros(struct buf *b, const char *key, struct opt amount)
{
    if (!amount.has)
        return;
    json_write_key(b, key);
    num_write_micros(b, amount.v);
}

static void text_or_null(struct buf *b, const char *key, struct str text)
{
    json_write_key(b, key);
    if (str_has(text))
        json_write_str(b, text);
    else
        buf_add_text(b, "null");
}

void render_verbatim(struct buf *b, const char *key, struct str json)
{
    if (json.n == 0)
        return;
    json_write_key(b, key);
    buf_add_str(b, json);
}

static struct str status_text(enum order_status status)
{
    return str_of(render_status(status));
}

/* --- parts of events and orders ------------------------------------------------------------------------------- */

bool render_has_place(const struct place *p)
{
    return str_has(p->store_id) || str_has(p->store_name) || str_has(p->city) || str_has(p->district) ||
           str_has(p->address);
}

void render_place(struct buf *b, const struct place *p)
{
    buf_add_char(b, '{');
    json_write_member(b, "store_id", p->store_id);
    json_write_member(b, "store_name", p->store_name);
    json_write_member(b, "city", p->city);
    json_write_member(b, "district", p->district);
    json_write_member(b, "address", p->address);
    buf_add_char(b, '}');
}

bool render_has_campaign(const struct campaign *c)
{
    return str_has(c->name) || str_has(c->source) || str_has(c->medium) || str_has(c->term) || str_has(c->content) ||
           str_has(c->click_id);
}

void render_campaign(struct buf *b, const struct campaign *c)
{
    buf_add_char(b, '{');
    json_write_member(b, "name", c->name);
    json_write_member(b, "source", c->source);
    json_write_member(b, "medium", c->medium);
    json_write_member(b, "term", c->term);
    json_write_member(b, "content", c->content);
    json_write_member(b, "click_id", c->click_id);
    buf_add_char(b, '}');
}

static void render_item(struct buf *b, const struct item *i)
{
    buf_add_char(b, '{');
    json_write_member(b, "product_id", i->product_id);
    json_write_member(b, "sku", i->sku);
    json_write_member(b, "name", i->name);
    json_write_member(b, "category", i->category);
    json_write_member(b, "style", i->style);
    json_write_member(b, "brand", i->brand);
    json_write_member(b, "color", i->color);
    json_write_member(b, "size", i->size);
    render_micros(b, "price", i->price);
    if (i->quantity.has) {
        json_write_key(b, "quantity");
        buf_addf(b, "%lld", (long long)i->quantity.v);
    }
    render_micros(b, "cost", i->cost);
    render_time_member(b, "listed_at", i->listed_at);
    render_verbatim(b, "properties", i->extra);
    buf_add_char(b, '}');
}

void render_items(struct buf *b, const struct item *items, size_t n)
{
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        render_item(b, &items[i]);
    }
    buf_add_char(b, ']');
}

void render_touch(struct buf *b, const struct event *e)
{
    if (!e) {
        buf_add_text(b, "{\"type\":\"direct\"}");
        return;
    }
    buf_add_text(b, "{\"type\":\"touch\"");
    render_time_member(b, "time", e->time);
    json_write_member(b, "url", e->url);
    json_write_member(b, "referrer", e->referrer);
    if (render_has_campaign(&e->campaign)) {
        json_write_key(b, "campaign");
        render_campaign(b, &e->campaign);
    }
    json_write_member(b, "click_id", e->campaign.click_id);
    buf_add_char(b, '}');
}

/* --- path events ---------------------------------------------------------------------------------------------- */

/* A page is named by its address, a screen has only its name. */
static struct str page_name(const struct event *e)
{
    if (str_has(e->url))
        return e->url;
    return str_has(e->path) ? e->path : e->name;
}

static void write_came_from(struct buf *b, const struct render_event *in)
{
    const struct event *e = in->event;

    if (str_has(e->came_from)) {
        json_write_member(b, "came_from", e->came_from);
    } else if (in->page_before) {
        json_write_member(b, "came_from", page_name(in->page_before));
        json_write_member(b, "came_from_module", in->page_before->module);
    } else if (str_has(e->referrer) && path_external_referrer(e, in->rules)) {
        json_write_member(b, "came_from", e->referrer);
    }
}

static void write_session(struct buf *b, const struct path_note *note)
{
    if (!note || note->session == 0)
        return;
    json_write_key(b, "session");
    buf_addf(b, "%u", note->session);
    render_time_member(b, "session_start", note->session_start);
    if (note->dwell_ms >= 0) {
        json_write_key(b, "dwell_ms");
        buf_addf(b, "%lld", (long long)note->dwell_ms);
    }
}

static void write_where(struct buf *b, const struct render_event *in)
{
    const struct event *e = in->event;

    json_write_member(b, "url", e->url);
    json_write_member(b, "path", e->path);
    json_write_member(b, "title", e->title);
    write_came_from(b, in);
    json_write_member(b, "module", e->module);
    json_write_member(b, "referrer", e->referrer);
    if (render_has_campaign(&e->campaign)) {
        json_write_key(b, "campaign");
        render_campaign(b, &e->campaign);
    }
    if (render_has_place(&e->place)) {
        json_write_key(b, "place");
        render_place(b, &e->place);
    }
}

void render_refund(struct buf *b, const struct order_fields *o)
{
    if (!o->has_refund)
        return;
    json_write_key(b, "refund");
    buf_add_char(b, '{');
    json_write_member(b, "id", o->refund_id);
    render_micros(b, "amount", o->refund_amount);
    if (o->has_refund_items) {
        json_write_key(b, "items");
        render_items(b, o->refund_items, o->refund_item_count);
    }
    buf_add_char(b, '}');
}

/* What an event says of an order: the path of somebody who reads it must not need the order beside it. */
static void write_order_fields(struct buf *b, const struct event *e)
{
    const struct order_fields *o = &e->order;
    enum order_status status = STATUS_NONE;

    json_write_member(b, "order_id", o->order_id);
    if (!order_stated(e, &status))
        return;
    json_write_member(b, "status", status_text(status));
    render_micros(b, "total", o->total);
    json_write_member(b, "currency", o->currency);
    json_write_member(b, "channel", o->channel);
    render_refund(b, o);
}

static void write_what(struct buf *b, const struct event *e)
{
    write_order_fields(b, e);
    if (e->item_count || (e->order.has_items && str_has(e->order.order_id))) {
        json_write_key(b, "items");
        render_items(b, e->items, e->item_count);
    }
    json_write_member(b, "shared_by", e->shared_by);
    json_write_member(b, "group_id", e->group_id);
    json_write_member(b, "previous_id", e->previous_id);
    render_verbatim(b, "properties", e->type == EVENT_ORDER ? e->extra : e->properties);
}

void render_event_members(struct buf *b, const struct render_event *in)
{
    const struct event *e = in->event;

    json_write_member(b, "message_id", e->message_id);
    json_write_member(b, "type", str_of(render_type(e->type)));
    if (e->type != EVENT_ORDER)
        json_write_member(b, "name", e->name);
    render_time_member(b, "time", e->time);
    render_time_member(b, "received_at", e->received);
    if (e->original_time != e->time)
        render_time_member(b, "original_time", e->original_time);
    json_write_member(b, "source", e->source);
    write_session(b, in->note);
    write_where(b, in);
    write_what(b, e);
}

void render_event(struct buf *b, const struct render_event *in)
{
    buf_add_char(b, '{');
    render_event_members(b, in);
    buf_add_char(b, '}');
}

/* --- orders --------------------------------------------------------------------------------------------------- */

static void write_history(struct buf *b, const struct order *o)
{
    json_write_key(b, "history");
    buf_add_char(b, '[');
    for (size_t i = 0; i < o->history_count; i++) {
        buf_add_text(b, i ? ",{" : "{");
        json_write_member(b, "status", status_text(o->history[i].status));
        render_time_member(b, "time", o->history[i].time);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void write_refunds(struct buf *b, const struct order *o)
{
    json_write_key(b, "refunds");
    buf_add_char(b, '[');
    for (size_t i = 0; i < o->refund_count; i++) {
        buf_add_text(b, i ? ",{" : "{");
        json_write_member(b, "id", o->refunds[i].id);
        render_time_member(b, "time", o->refunds[i].key.time);
        json_write_key(b, "amount");
        num_write_micros(b, o->refunds[i].amount);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void write_amounts(struct buf *b, const struct order *o)
{
    json_write_member(b, "currency", str_of(o->currency));
    json_write_key(b, "total");
    num_write_micros(b, o->total);
    json_write_key(b, "refunded");
    num_write_micros(b, o->refunded);
    render_micros(b, "revenue", o->revenue);
    render_micros(b, "subtotal", o->subtotal);
    render_micros(b, "discount", o->discount);
    render_micros(b, "shipping", o->shipping);
    render_micros(b, "tax", o->tax);
}

void render_order_members(struct buf *b, const struct order *o, struct str profile)
{
    json_write_member(b, "order_id", o->order_id);
    text_or_null(b, "status", status_text(o->status));
    json_write_key(b, "placed_at");
    render_time(b, o->placed_at);
    json_write_key(b, "counted");
    buf_add_text(b, o->counted ? "true" : "false");
    if (o->credit_note) {
        json_write_key(b, "credit_note");
        buf_add_text(b, "true");
    }
    write_history(b, o);
    write_amounts(b, o);
    write_refunds(b, o);
    json_write_key(b, "items");
    render_items(b, o->items, o->item_count);
    json_write_member(b, "coupon", o->coupon);
    json_write_member(b, "channel", o->channel);
    json_write_member(b, "shared_by", o->shared_by);
    if (render_has_place(&o->place)) {
        json_write_key(b, "place");
        render_place(b, &o->place);
    }
    json_write_member(b, "profile", profile);
}

void render_order(struct buf *b, const struct order *o, struct str profile)
{
    buf_add_char(b, '{');
    render_order_members(b, o, profile);
    buf_add_char(b, '}');
}
