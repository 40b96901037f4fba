/* Events of which any field may be there or not, with any values, from a seed; and comparing two of them field by
 * field. After cmocka.h. */
#ifndef WAYMARK_TESTS_ANY_EVENT_H
#define WAYMARK_TESTS_ANY_EVENT_H

#include "proto/codec.h"
#include "tests/support/str_case.h"

/* --- random events -------------------------------------------------------------------------------------------- */

struct random {
    uint64_t x;
};

static inline uint64_t next(struct random *r)
{
    r->x += 0x9e3779b97f4a7c15u;
    uint64_t z = r->x;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t below(struct random *r, uint64_t n)
{
    return next(r) % n;
}

static inline struct str random_text(struct random *r)
{
    static const struct str texts[] = {
        STR_LIT(""),
        STR_LIT("a"),
        STR_LIT("a\0b"),
        STR_LIT("\0"),
        STR_LIT("天宇"),
        STR_LIT("𝒳😀"),
        STR_LIT("\xe2\x80\xa8"),
        STR_LIT("{\"nul\":\"a\\u0000b\",\"线\":[1e400]}"),
        STR_LIT("\xff\xfe"),
        STR_LIT("a long text that needs a length of more than one byte: 0123456789 0123456789 "
                "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"),
    };
    size_t i = below(r, 2 * sizeof texts / sizeof *texts);

    return i < sizeof texts / sizeof *texts ? texts[i] : STR_NONE;
}

static inline struct opt random_opt(struct random *r, int64_t max)
{
    static const int64_t edges[] = {0, 1, -1};
    if (below(r, 2))
        return (struct opt){0};
    if (below(r, 4) == 0)
        return (struct opt){true, below(r, 2) ? max : -max};
    if (below(r, 3) == 0)
        return (struct opt){true, edges[below(r, 3)]};
    return (struct opt){true, (int64_t)below(r, (uint64_t)max)};
}

static inline struct opt random_amount(struct random *r)
{
    return random_opt(r, LIMIT_AMOUNT * 1000000);
}

static inline int64_t random_time(struct random *r, bool may_lack)
{
    static const int64_t edges[] = {0, -1, LIMIT_TIME_FIRST, LIMIT_TIME_LAST};
    if (may_lack && below(r, 2))
        return TIME_NONE;
    return below(r, 8) ? 1700000000000 + (int64_t)below(r, 100000000000) : edges[below(r, 4)];
}

#define SOME_ITEMS 12

static inline size_t random_items(struct random *r, struct item *out)
{
    size_t n = below(r, 3) ? below(r, 3) : below(r, SOME_ITEMS + 1);

    for (size_t i = 0; i < n; i++)
        out[i] = (struct item){.product_id = random_text(r),
                               .sku = random_text(r),
                               .name = random_text(r),
                               .category = random_text(r),
                               .style = random_text(r),
                               .brand = random_text(r),
                               .color = random_text(r),
                               .size = random_text(r),
                               .extra = random_text(r),
                               .price = random_amount(r),
                               .cost = random_amount(r),
                               .quantity = random_opt(r, LIMIT_QUANTITY),
                               .listed_at = random_time(r, true)};
    return n;
}

static inline void random_order(struct random *r, struct order_fields *o, struct item *refund_items)
{
    o->order_id = random_text(r);
    o->status = (enum order_status)below(r, 7);
    o->total = random_amount(r);
    o->revenue = random_amount(r);
    o->subtotal = random_amount(r);
    o->discount = random_amount(r);
    o->shipping = random_amount(r);
    o->tax = random_amount(r);
    o->currency = below(r, 2) ? STR_LIT("GBP") : STR_NONE;
    o->coupon = random_text(r);
    o->channel = random_text(r);
    o->has_items = below(r, 2);
    o->has_refund = below(r, 2);
    if (!o->has_refund)
        return;
    o->refund_id = random_text(r);
    o->refund_amount = random_amount(r);
    o->has_refund_items = below(r, 2);
    if (!o->has_refund_items)
        return;
    o->refund_item_count = random_items(r, refund_items);
    o->refund_items = o->refund_item_count ? refund_items : NULL;
}

static inline void random_event(struct random *r, struct event *e, struct item *items, struct item *refund_items)
{
    *e = (struct event){.type = (enum event_type)(1 + below(r, 7)), .trust = (enum event_trust)(1 + below(r, 2))};
    struct str *texts[] = {&e->name,
                           &e->source,
                           &e->message_id,
                           &e->anonymous_id,
                           &e->user_id,
                           &e->library,
                           &e->library_version,
                           &e->consent,
                           &e->ip,
                           &e->user_agent,
                           &e->locale,
                           &e->shared_by,
                           &e->previous_id,
                           &e->group_id,
                           &e->url,
                           &e->path,
                           &e->title,
                           &e->module,
                           &e->came_from,
                           &e->referrer,
                           &e->properties,
                           &e->traits,
                           &e->context,
                           &e->extra,
                           &e->campaign.name,
                           &e->campaign.term,
                           &e->campaign.content,
                           &e->campaign.click_id,
                           &e->place.city,
                           &e->place.address,
                           &e->place.store_id,
                           &e->place.store_name};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        *texts[i] = random_text(r);
    if (event_log_key(e).n == 0)
        e->user_id = STR_LIT("u");
    for (size_t i = 0; i < UID_BYTES; i++)
        e->uid.b[i] = (unsigned char)next(r);
    e->time = random_time(r, false);
    e->received = random_time(r, false);
    e->original_time = random_time(r, true);
    e->sent = random_time(r, true);
    e->position = below(r, 2) ? (uint32_t)next(r) : 0;
    e->item_count = random_items(r, items);
    e->items = e->item_count ? items : NULL;
    if (below(r, 2))
        random_order(r, &e->order, refund_items);
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

#define assert_opt(a, b)                                                                                               \
    do {                                                                                                               \
        assert_int_equal((a).has, (b).has);                                                                            \
        assert_true((a).v == (b).v);                                                                                   \
    } while (0)
#define SAME(f) assert_str(a->f, b->f)
#define SAME_NUMBER(f) assert_opt(a->f, b->f)

static inline void assert_items(const struct item *a, size_t n, const struct item *b, size_t m)
{
    assert_int_equal(n, m);
    for (size_t i = 0; i < n; i++, a++, b++) {
        SAME(product_id);
        SAME(sku);
        SAME(name);
        SAME(category);
        SAME(style);
        SAME(brand);
        SAME(color);
        SAME(size);
        SAME(extra);
        SAME_NUMBER(price);
        SAME_NUMBER(quantity);
        SAME_NUMBER(cost);
        assert_true(a->listed_at == b->listed_at);
    }
}

static inline void assert_orders(const struct order_fields *a, const struct order_fields *b)
{
    SAME(order_id);
    SAME(currency);
    SAME(coupon);
    SAME(channel);
    SAME(refund_id);
    SAME_NUMBER(total);
    SAME_NUMBER(revenue);
    SAME_NUMBER(subtotal);
    SAME_NUMBER(discount);
    SAME_NUMBER(shipping);
    SAME_NUMBER(tax);
    SAME_NUMBER(refund_amount);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->has_items, b->has_items);
    assert_int_equal(a->has_refund, b->has_refund);
    assert_int_equal(a->has_refund_items, b->has_refund_items);
    assert_items(a->refund_items, a->refund_item_count, b->refund_items, b->refund_item_count);
}

static inline void assert_events(const struct event *a, const struct event *b)
{
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->trust, b->trust);
    assert_memory_equal(a->uid.b, b->uid.b, UID_BYTES);
    assert_true(a->time == b->time && a->received == b->received && a->position == b->position);
    assert_true(a->original_time == b->original_time && a->sent == b->sent);
    SAME(name);
    SAME(source);
    SAME(message_id);
    SAME(anonymous_id);
    SAME(user_id);
    SAME(library);
    SAME(library_version);
    SAME(consent);
    SAME(ip);
    SAME(user_agent);
    SAME(locale);
    SAME(shared_by);
    SAME(previous_id);
    SAME(group_id);
    SAME(url);
    SAME(path);
    SAME(title);
    SAME(module);
    SAME(came_from);
    SAME(referrer);
    SAME(campaign.name);
    SAME(campaign.source);
    SAME(campaign.medium);
    SAME(campaign.term);
    SAME(campaign.content);
    SAME(campaign.click_id);
    SAME(place.store_id);
    SAME(place.store_name);
    SAME(place.city);
    SAME(place.district);
    SAME(place.address);
    SAME(properties);
    SAME(traits);
    SAME(context);
    SAME(extra);
    assert_items(a->items, a->item_count, b->items, b->item_count);
    assert_orders(&a->order, &b->order);
}

#endif
