/* An event with everything that is kept of it, for who asks what is held about a person. Pure; look-up threads. */
#include "common/json.h"
#include "profiler/render.h"

static const char *trust_name(enum event_trust trust)
{
    return trust == TRUST_SERVER ? "server" : "beacon";
}

static void write_library(struct buf *b, const struct event *e)
{
    if (!str_has(e->library) && !str_has(e->library_version))
        return;
    json_write_key(b, "library");
    buf_add_char(b, '{');
    json_write_member(b, "name", e->library);
    json_write_member(b, "version", e->library_version);
    buf_add_char(b, '}');
}

static void write_who(struct buf *b, const struct event *e)
{
    json_write_member(b, "anonymous_id", e->anonymous_id);
    json_write_member(b, "user_id", e->user_id);
    json_write_member(b, "trust", str_of(trust_name(e->trust)));
    render_time_member(b, "sent_at", e->sent);
    write_library(b, e);
    json_write_member(b, "ip", e->ip);
    json_write_member(b, "user_agent", e->user_agent);
    json_write_member(b, "locale", e->locale);
}

static bool says_order(const struct order_fields *o)
{
    return str_has(o->order_id) || o->total.has || o->revenue.has || o->subtotal.has || o->discount.has ||
           o->shipping.has || o->tax.has || str_has(o->currency) || str_has(o->coupon) || str_has(o->channel) ||
           o->has_refund;
}

/* As it was stated, whether or not it counts. */
static void write_order(struct buf *b, const struct order_fields *o)
{
    if (!says_order(o))
        return;
    json_write_key(b, "order");
    buf_add_char(b, '{');
    json_write_member(b, "order_id", o->order_id);
    json_write_member(b, "status", str_of(render_status(o->status)));
    render_micros(b, "total", o->total);
    render_micros(b, "revenue", o->revenue);
    render_micros(b, "subtotal", o->subtotal);
    render_micros(b, "discount", o->discount);
    render_micros(b, "shipping", o->shipping);
    render_micros(b, "tax", o->tax);
    json_write_member(b, "currency", o->currency);
    json_write_member(b, "coupon", o->coupon);
    json_write_member(b, "channel", o->channel);
    render_refund(b, o);
    buf_add_char(b, '}');
}

/* Of an order log a path has `extra` as its properties and no name. */
static void write_rest(struct buf *b, const struct event *e)
{
    bool is_log = e->type == EVENT_ORDER;

    if (is_log)
        json_write_member(b, "name", e->name);
    render_verbatim(b, "consent", e->consent);
    render_verbatim(b, "traits", e->traits);
    render_verbatim(b, "context", e->context);
    render_verbatim(b, "extra", is_log ? e->properties : e->extra);
}

void render_event_whole(struct buf *b, const struct render_event *in, bool unopened)
{
    const struct event *e = in->event;

    buf_add_char(b, '{');
    render_event_members(b, in);
    write_who(b, e);
    write_order(b, &e->order);
    write_rest(b, e);
    if (unopened)
        buf_add_text(b, ",\"unopened\":true");
    buf_add_char(b, '}');
}
