/* The JSON of answers: path events, orders, items, touches. Writes into a bounded buffer and nothing else; JSON that a
 * client sent is inserted as it was kept. Pure. */
#ifndef WAYMARK_RENDER_H
#define WAYMARK_RENDER_H

#include "common/buf.h"
#include "profiler/order.h"
#include "profiler/path.h"
#include "profiler/rules.h"
#include "proto/event.h"

/* An event as its path has it. */
struct render_event {
    const struct event *event;
    const struct path_note *note;    /* NULL: outside a path (tail), nothing of sessions is written */
    const struct event *page_before; /* the page or screen before it in its session, NULL for none */
    const struct fold_rules *rules;
};

/* An object; fields without a value are left out, traits and context are never written. */
void render_event(struct buf *b, const struct render_event *in);
/* The members of that object without its braces, for callers that add their own. */
void render_event_members(struct buf *b, const struct render_event *in);
/* An object of everything that is kept of the event (render_whole.c): those members, and who it names, what they
 * stated, from where, traits, context and all that it says of an order. `unopened`: no key opens its personal part. */
void render_event_whole(struct buf *b, const struct render_event *in, bool unopened);

/* An object. `profile` is who has the order. */
void render_order(struct buf *b, const struct order *o, struct str profile);
/* The same without its braces. */
void render_order_members(struct buf *b, const struct order *o, struct str profile);
/* An array. */
void render_items(struct buf *b, const struct item *items, size_t n);
/* Key and object, nothing when an event states none. */
void render_refund(struct buf *b, const struct order_fields *o);

bool render_has_place(const struct place *p);
/* Objects without the members that have no value. */
void render_place(struct buf *b, const struct place *p);
bool render_has_campaign(const struct campaign *c);
void render_campaign(struct buf *b, const struct campaign *c);

/* {"type":"touch",…} of the event that started the session, {"type":"direct"} for NULL. */
void render_touch(struct buf *b, const struct event *e);

/* Key and amount, nothing when there is none. */
void render_micros(struct buf *b, const char *key, struct opt amount);
/* Key and what a client sent as JSON and we kept as it was; nothing when it is absent or empty. */
void render_verbatim(struct buf *b, const char *key, struct str json);

/* A time with its quotes; null for TIME_NONE. */
void render_time(struct buf *b, int64_t ms);
/* Key and time, nothing when there is none. */
void render_time_member(struct buf *b, const char *key, int64_t ms);

const char *render_type(enum event_type type);
/* NULL for STATUS_NONE. */
const char *render_status(enum order_status status);

#endif
