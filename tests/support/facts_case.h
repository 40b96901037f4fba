/* Makers of events, orders and facts for the tests of the facts. */
#ifndef WAYMARK_TESTS_FACTS_CASE_H
#define WAYMARK_TESTS_FACTS_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/limits.h"
#include "profiler/facts.h"

#define M MICROS
#define AMOUNT(v) ((struct opt){true, (v)*M})
#define PIECES(v) ((struct opt){true, (v)})
#define COUNT(s) (sizeof(s) / sizeof((s)[0]))
#define IS(amount, units) assert_true((amount) == (money)(units)*M)

static const struct fold_rules rules = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};
static const struct fold_rules two_names = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY, .map_names = 2};

static inline struct event event_of(enum event_type type, const char *name, int64_t time)
{
    struct event e = {.type = type, .trust = TRUST_BEACON, .name = str_of(name), .time = time};

    e.anonymous_id = STR_LIT("d");
    memset(e.uid.b, 1, UID_BYTES);
    return e;
}

static inline struct event track_with(const char *name, int64_t time, const struct item *items, size_t n)
{
    struct event e = event_of(EVENT_TRACK, name, time);

    e.items = items;
    e.item_count = n;
    return e;
}

static inline int decode(void *arg, const struct path_entry *entry, struct event *out)
{
    (void)arg;
    *out = *(const struct event *)entry->owner;
    return 0;
}

/* Folds events, given in the order of events, anew. */
static inline struct facts fold_with(const struct fold_rules *r, const struct event *v, size_t n,
                                     const struct order *orders, size_t order_count)
{
    struct path_entry path[32] = {0};
    struct fold_input in = {.path = path, .path_count = n, .orders = orders, .order_count = order_count};
    struct facts f;

    in.decode = decode;
    for (size_t i = 0; i < n; i++)
        path[i] = (struct path_entry){.key = event_key(&v[i]), .flags = entry_flags(&v[i], r), .owner = (void *)&v[i]};
    assert_int_equal(facts_fold(&in, r, &f), 0);
    return f;
}

static inline struct str packed(const struct facts *f, struct buf *b)
{
    buf_reset(b);
    assert_true(facts_pack(f, b));
    return buf_str(b);
}

static inline void assert_same_facts(const struct facts *a, const struct facts *b)
{
    struct buf x, y;

    buf_init(&x, MIB);
    buf_init(&y, MIB);
    assert_true(str_eq(packed(a, &x), packed(b, &y)));
    buf_deinit(&x);
    buf_deinit(&y);
}

/* The same events backwards, step by step. */
static inline struct facts step_backwards(const struct event *v, size_t n, const struct order *orders,
                                          size_t order_count)
{
    struct facts f;

    facts_init(&f);
    for (size_t i = n; i-- > 0;)
        assert_int_equal(facts_add_event(&f, &v[i], entry_flags(&v[i], &rules), &rules), FACTS_OK);
    for (size_t i = order_count; i-- > 0;) {
        struct facts_order now = {&orders[i], STR_NONE};

        assert_int_equal(facts_change_order(&f, NULL, &now, &rules), FACTS_OK);
    }
    return f;
}

static inline struct facts fold(const struct event *v, size_t n, const struct order *orders, size_t order_count)
{
    struct facts f = fold_with(&rules, v, n, orders, order_count);
    struct facts steps = step_backwards(v, n, orders, order_count);

    facts_add_sessions(&steps, (int)f.sessions);
    if (f.by[BY_CAMPAIGN].n == 0)
        assert_same_facts(&f, &steps);
    facts_deinit(&steps);
    return f;
}

static inline const struct tally *tally(const struct facts *f, enum facts_map map, struct str name)
{
    for (size_t i = 0; i < f->by[map].n; i++) {
        if (str_eq(f->by[map].v[i].name, name))
            return &f->by[map].v[i];
    }
    return NULL;
}

static inline struct order counted_order(const char *currency, int64_t placed_at, int64_t total)
{
    struct order o = {.status = STATUS_PAID, .standing = STATUS_PAID, .placed_at = placed_at, .counted = true};

    o.order_id = STR_LIT("o");
    memcpy(o.currency, currency, 4);
    o.home_currency = strcmp(currency, "GBP") == 0;
    o.total = (money)total * M;
    return o;
}

static inline struct order with_refund(struct order o, int64_t amount)
{
    static const struct order_refund some;

    o.refunds = &some;
    o.refund_count = 1;
    o.refunded = (money)amount * M;
    return o;
}

static inline struct order credit_note(const char *currency, int64_t amount)
{
    struct order o = with_refund(counted_order(currency, TIME_NONE, amount), amount);

    o.counted = false;
    o.credit_note = true;
    o.status = STATUS_REFUNDED;
    o.standing = STATUS_NONE;
    return o;
}

static inline struct order cancelled_order(int64_t placed_at, int64_t total)
{
    struct order o = counted_order("GBP", placed_at, total);

    o.counted = false;
    o.status = o.standing = STATUS_CANCELLED;
    return o;
}

static inline struct event campaign_page(const char *name, int64_t time)
{
    struct event e = event_of(EVENT_PAGE, NULL, time);

    e.campaign.name = str_of(name);
    return e;
}

static inline struct event referred_page(int64_t time)
{
    struct event e = event_of(EVENT_PAGE, NULL, time);

    e.url = STR_LIT("https://shop.example/");
    e.referrer = STR_LIT("https://search.example/");
    return e;
}

static inline int view(struct facts *f, const char *category, int64_t time)
{
    struct item it = {.category = str_of(category)};
    struct event e = track_with("Product Viewed", time, &it, 1);

    return facts_add_event(f, &e, ENTRY_SESSION, &two_names);
}

static inline struct facts wide_facts(void)
{
    struct facts f;

    facts_init(&f);
    assert_int_equal(view(&f, "x", 100), FACTS_OK);
    assert_int_equal(view(&f, "y", 200), FACTS_OK);
    assert_int_equal(view(&f, "a", 300), FACTS_OK); /* in the order of events: has no place */
    return f;
}

#endif
