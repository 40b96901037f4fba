/* Orders from their statements, against tables worked by hand. Each order is built from its statements in every
 * rotation of the array: what was stated when decides, never where it stood. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/limits.h"
#include "profiler/order.h"

#define M MICROS
#define AMOUNT(v) ((struct opt){true, (v)*M})
#define COUNT(s) (sizeof(s) / sizeof((s)[0]))

static const struct fold_rules rules = {.session_gap_ms = 1000, .currency = "GBP"};
static const struct fold_rules from_paid = {.session_gap_ms = 1000, .currency = "GBP", .count_from_paid = true};

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 16 * MIB);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_deinit(&arena);
    return 0;
}

/* --- statements ----------------------------------------------------------------------------------------------- */

static struct event log_of(enum order_status status, int64_t time)
{
    struct event e = {.type = EVENT_ORDER, .trust = TRUST_SERVER, .user_id = STR_LIT("u"), .time = time};

    e.order = (struct order_fields){.order_id = STR_LIT("o"), .status = status};
    e.uid.b[0] = (unsigned char)time;
    e.uid.b[1] = (unsigned char)(255 - status); /* further along, yet earlier in the order of events */
    return e;
}

static struct event track_of(enum event_trust trust, const char *name, int64_t time)
{
    struct event e = {.type = EVENT_TRACK, .trust = trust, .name = str_of(name), .time = time};

    e.anonymous_id = STR_LIT("d");
    e.order.order_id = STR_LIT("o");
    e.uid.b[0] = (unsigned char)time;
    e.uid.b[2] = 1;
    return e;
}

static struct event with_total(struct event e, int64_t total)
{
    e.order.total = AMOUNT(total);
    return e;
}

static struct event with_items(struct event e, const struct item *items, size_t n)
{
    e.order.has_items = true;
    e.items = items;
    e.item_count = n;
    return e;
}

static struct event refund_of(const char *id, int64_t amount, int64_t time)
{
    struct event e = log_of(STATUS_REFUNDED, time);

    e.order.has_refund = true;
    e.order.refund_id = str_of(id);
    if (amount != INT64_MIN)
        e.order.refund_amount = AMOUNT(amount);
    if (id)
        e.uid.b[3] = (unsigned char)id[0];
    return e;
}

#define NO_AMOUNT INT64_MIN

static void same_order(const struct order *a, const struct order *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->standing, b->standing);
    assert_true(a->placed_at == b->placed_at && a->counted == b->counted && a->credit_note == b->credit_note);
    assert_true(a->total == b->total && a->refunded == b->refunded && a->refund_count == b->refund_count);
    assert_ptr_equal(a->best, b->best);
    assert_ptr_equal(a->items, b->items);
    assert_int_equal(a->history_count, b->history_count);
    for (size_t i = 0; i < a->refund_count; i++)
        assert_true(a->refunds[i].amount == b->refunds[i].amount);
}

static struct order build_by(const struct fold_rules *r, const struct event *events, size_t n)
{
    const struct event *v[16];
    struct order first, o;

    for (size_t turn = 0; turn < n; turn++) {
        for (size_t i = 0; i < n; i++)
            v[i] = &events[(i + turn) % n];
        assert_int_equal(order_build(v, n, r, &arena, &o), 0);
        if (turn == 0)
            first = o;
        same_order(&first, &o);
    }
    return first;
}

static struct order build(const struct event *events, size_t n)
{
    return build_by(&rules, events, n);
}

#define IS(amount, units) assert_true((amount) == (money)(units)*M)

/* --- what states an order ------------------------------------------------------------------------------------- */

static void test_stated(void **state)
{
    static const struct {
        const char *name;
        bool beacon, server;
        enum order_status status;
    } rows[] = {
        {"Order Completed", true, true, STATUS_CREATED},    {"Order Updated", true, true, STATUS_NONE},
        {"Order Cancelled", false, true, STATUS_CANCELLED}, {"Order Refunded", false, true, STATUS_REFUNDED},
        {"order completed", false, false, STATUS_NONE},     {"Product Viewed", false, false, STATUS_NONE},
    };
    struct event e;
    enum order_status s;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (int server = 0; server < 2; server++) {
            e = track_of(server ? TRUST_SERVER : TRUST_BEACON, rows[i].name, 1);
            s = STATUS_NONE;
            assert_int_equal(order_stated(&e, &s), server ? rows[i].server : rows[i].beacon);
            if (server ? rows[i].server : rows[i].beacon)
                assert_int_equal(s, rows[i].status);
            e.order.order_id = STR_NONE;
            assert_false(order_stated(&e, &s));
        }
    }
    e = log_of(STATUS_SHIPPED, 1);
    assert_true(order_stated(&e, &s));
    assert_int_equal(s, STATUS_SHIPPED);
    e.type = EVENT_IDENTIFY;
    assert_false(order_stated(&e, &s));
}

/* --- fields --------------------------------------------------------------------------------------------------- */

static void test_server_beats_later_beacon(void **state)
{
    struct item two[2] = {{.price = AMOUNT(1)}, {.price = AMOUNT(2)}};
    struct event v[] = {with_total(log_of(STATUS_CREATED, 10), 5),
                        with_total(with_items(track_of(TRUST_BEACON, "Order Completed", 20), two, 2), 9)};
    struct order o;

    (void)state;
    v[1].order.coupon = STR_LIT("SPRING");
    o = build(v, 2);
    IS(o.total, 5);
    assert_int_equal(o.item_count, 2); /* the beacon's word where the back end is silent */
    assert_true(str_is(o.coupon, "SPRING"));
    assert_ptr_equal(o.best, &v[0]);
    assert_int_equal(o.placed_at, 10);
    assert_true(o.counted);
}

static void test_later_wins_within_trust(void **state)
{
    struct item none, one = {.price = AMOUNT(1)};
    struct event v[] = {with_items(log_of(STATUS_CREATED, 10), &one, 1), log_of(STATUS_PAID, 20),
                        with_items(log_of(STATUS_SHIPPED, 30), &none, 0)};
    struct order o;

    (void)state;
    v[0].order.channel = STR_LIT("web");
    v[1].order.channel = STR_LIT("store");
    v[0].place = (struct place){.store_id = STR_LIT("s1"), .city = STR_LIT("York")};
    v[1].place = (struct place){.store_id = STR_LIT("s2")};
    v[0].shared_by = STR_LIT("ann");
    o = build(v, 3);
    assert_true(str_is(o.channel, "store"));
    assert_int_equal(o.item_count, 0); /* given, and none */
    assert_true(str_is(o.place.store_id, "s2"));
    assert_false(str_has(o.place.city)); /* a place is one field: store 2 is not in York */
    assert_true(str_is(o.shared_by, "ann"));
    assert_ptr_equal(o.best, &v[2]);
}

static void test_ties_by_the_order_of_events(void **state)
{
    struct event v[] = {with_total(log_of(STATUS_CREATED, 10), 1), with_total(log_of(STATUS_CREATED, 10), 2),
                        with_total(log_of(STATUS_CREATED, 10), 3)};
    struct order o;

    (void)state;
    v[0].received = 5; /* received beats position beats uid */
    v[1].position = 7;
    v[2].uid.b[0] = 255;
    o = build(v, 3);
    IS(o.total, 1);
    v[0].received = 0;
    IS(build(v, 3).total, 2);
    v[1].position = 0;
    IS(build(v, 3).total, 3);
}

static void test_currency(void **state)
{
    struct event v[] = {log_of(STATUS_CREATED, 10), log_of(STATUS_PAID, 20)};
    struct order o = build(v, 2);

    (void)state;
    assert_string_equal(o.currency, "GBP");
    assert_true(o.home_currency);
    v[0].order.currency = STR_LIT("EUR");
    o = build(v, 2);
    assert_string_equal(o.currency, "EUR");
    assert_false(o.home_currency);
}

/* --- status --------------------------------------------------------------------------------------------------- */

static void test_status(void **state)
{
    static const struct {
        struct {
            enum order_status status;
            int64_t time;
            bool beacon;
        } v[4];
        size_t n;
        enum order_status status, standing;
        int64_t placed_at, from_paid_at;
        bool counted;
    } rows[] = {
        {{{STATUS_CREATED, 10, 0}, {STATUS_PAID, 20, 0}}, 2, STATUS_PAID, STATUS_PAID, 10, 20, true},
        /* the later, though less far along */
        {{{STATUS_SHIPPED, 10, 0}, {STATUS_PAID, 20, 0}}, 2, STATUS_PAID, STATUS_PAID, 10, 10, true},
        /* at one time the one further along */
        {{{STATUS_PAID, 10, 0}, {STATUS_CREATED, 10, 0}}, 2, STATUS_PAID, STATUS_PAID, 10, 10, true},
        {{{STATUS_DELIVERED, 10, 0}, {STATUS_SHIPPED, 10, 0}}, 2, STATUS_DELIVERED, STATUS_DELIVERED, 10, 10, true},
        {{{STATUS_CANCELLED, 10, 0}, {STATUS_REFUNDED, 10, 0}, {STATUS_CREATED, 10, 0}},
         3,
         STATUS_CANCELLED,
         STATUS_CANCELLED,
         10,
         TIME_NONE,
         false},
        {{{STATUS_REFUNDED, 10, 0}, {STATUS_DELIVERED, 10, 0}}, 2, STATUS_REFUNDED, STATUS_DELIVERED, 10, 10, true},
        /* the back end's word stands against a later one of a page */
        {{{STATUS_CANCELLED, 10, 0}, {STATUS_CREATED, 20, 1}},
         2,
         STATUS_CANCELLED,
         STATUS_CANCELLED,
         20,
         TIME_NONE,
         false},
        {{{STATUS_CREATED, 10, 1}, {STATUS_CANCELLED, 20, 0}},
         2,
         STATUS_CANCELLED,
         STATUS_CANCELLED,
         10,
         TIME_NONE,
         false},
        /* cancelled, then refunded: still cancelled */
        {{{STATUS_CREATED, 10, 0}, {STATUS_CANCELLED, 20, 0}, {STATUS_REFUNDED, 30, 0}},
         3,
         STATUS_REFUNDED,
         STATUS_CANCELLED,
         10,
         TIME_NONE,
         false},
        {{{STATUS_CREATED, 10, 0}, {STATUS_REFUNDED, 20, 0}, {STATUS_CANCELLED, 30, 0}},
         3,
         STATUS_CANCELLED,
         STATUS_CANCELLED,
         10,
         TIME_NONE,
         false},
        /* taken up again after it was cancelled */
        {{{STATUS_CREATED, 10, 0}, {STATUS_CANCELLED, 20, 0}, {STATUS_PAID, 30, 0}},
         3,
         STATUS_PAID,
         STATUS_PAID,
         10,
         30,
         true},
        /* placed by whatever comes first of the four */
        {{{STATUS_DELIVERED, 10, 0}, {STATUS_SHIPPED, 20, 0}}, 2, STATUS_SHIPPED, STATUS_SHIPPED, 10, 10, true},
        {{{STATUS_CANCELLED, 10, 0}}, 1, STATUS_CANCELLED, STATUS_CANCELLED, TIME_NONE, TIME_NONE, false},
        {{{STATUS_CREATED, 10, 1}}, 1, STATUS_CREATED, STATUS_CREATED, 10, TIME_NONE, true},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct event v[4];
        struct order o;

        for (size_t k = 0; k < rows[i].n; k++)
            v[k] = rows[i].v[k].beacon ? track_of(TRUST_BEACON, "Order Completed", rows[i].v[k].time)
                                       : log_of(rows[i].v[k].status, rows[i].v[k].time);
        o = build(v, rows[i].n);
        if (o.status != rows[i].status || o.standing != rows[i].standing || o.placed_at != rows[i].placed_at ||
            o.counted != rows[i].counted)
            fail_msg("row %zu: status %d standing %d placed %lld counted %d", i, o.status, o.standing,
                     (long long)o.placed_at, o.counted);
        assert_int_equal(o.history_count, rows[i].n);
        o = build_by(&from_paid, v, rows[i].n);
        assert_int_equal(o.placed_at, rows[i].from_paid_at);
        assert_int_equal(o.counted, rows[i].from_paid_at != TIME_NONE && rows[i].counted);
    }
}

static void test_history_has_all_with_a_status(void **state)
{
    struct event v[] = {track_of(TRUST_BEACON, "Order Completed", 10), track_of(TRUST_BEACON, "Order Updated", 15),
                        log_of(STATUS_PAID, 20), log_of(STATUS_PAID, 30)};
    struct order o = build(v, 4);

    (void)state;
    assert_int_equal(o.history_count, 3);
    assert_int_equal(o.history[0].status, STATUS_CREATED);
    assert_int_equal(o.history[0].time, 10);
    assert_int_equal(o.history[2].time, 30);
    o = build(&v[1], 1); /* nobody gave a status */
    assert_int_equal(o.status, STATUS_NONE);
    assert_int_equal(o.placed_at, TIME_NONE);
    assert_false(o.counted || o.credit_note);
}

/* --- total ---------------------------------------------------------------------------------------------------- */

static void test_total(void **state)
{
    struct item items[2] = {{.price = AMOUNT(10), .quantity = {true, 3}}, {.price = AMOUNT(5)}};
    struct event e = with_items(log_of(STATUS_CREATED, 10), items, 2);

    (void)state;
    IS(build(&e, 1).total, 35); /* a quantity not given is 1 */
    e.order.discount = AMOUNT(4);
    e.order.shipping = AMOUNT(2);
    e.order.tax = AMOUNT(1);
    IS(build(&e, 1).total, 35 - 4 + 2 + 1);
    e.order.subtotal = AMOUNT(100);
    IS(build(&e, 1).total, 100 + 2 + 1); /* discount is in the subtotal */
    e.order.revenue = AMOUNT(50);
    IS(build(&e, 1).total, 50 + 2 + 1);
    e.order.total = AMOUNT(0);
    IS(build(&e, 1).total, 0);
    e = log_of(STATUS_CREATED, 10);
    IS(build(&e, 1).total, 0);
}

static void test_total_from_several_statements(void **state)
{
    struct event v[] = {track_of(TRUST_BEACON, "Order Completed", 10), log_of(STATUS_PAID, 20)};

    (void)state;
    v[0].order.revenue = AMOUNT(50);
    v[0].order.tax = AMOUNT(9);
    v[1].order.tax = AMOUNT(1);
    v[1].order.subtotal = AMOUNT(70);
    IS(build(v, 2).total, 51); /* field by field: nobody else gave a revenue */
    v[0].order.total = AMOUNT(1000);
    IS(build(v, 2).total, 1000);
}

static void test_wide_sums(void **state)
{
    struct item it = {.price = {true, LIMIT_AMOUNT * MICROS}, .quantity = {true, LIMIT_QUANTITY}};
    struct item broken = {.price = {true, INT64_MIN}, .quantity = {true, INT64_MAX}};
    struct item *many = calloc(LIMIT_ITEMS, sizeof(*many));
    money line = (money)LIMIT_AMOUNT * MICROS * LIMIT_QUANTITY;

    (void)state;
    for (size_t i = 0; i < LIMIT_ITEMS; i++)
        many[i] = it;
    assert_true(order_lines(many, LIMIT_ITEMS) == line * LIMIT_ITEMS);
    for (size_t i = 0; i < LIMIT_ITEMS; i++)
        many[i] = broken; /* what no collector of ours lets through must not overflow either */
    assert_true(order_lines(many, LIMIT_ITEMS) == -line * LIMIT_ITEMS);
    free(many);
}

/* --- refunds -------------------------------------------------------------------------------------------------- */

static void test_refund_speaks_only_of_itself(void **state)
{
    struct item other = {.price = AMOUNT(7)};
    struct event v[] = {with_total(log_of(STATUS_CREATED, 10), 100), refund_of("r1", 30, 20)};
    struct order o;

    (void)state;
    v[1] = with_total(with_items(v[1], &other, 1), 30);
    v[1].user_id = STR_LIT("somebody else");
    v[1].order.currency = STR_LIT("EUR");
    v[1].order.channel = STR_LIT("phone");
    o = build(v, 2);
    IS(o.total, 100);
    IS(o.refunded, 30);
    assert_int_equal(o.item_count, 0);
    assert_true(o.home_currency);
    assert_false(str_has(o.channel));
    assert_ptr_equal(o.best, &v[0]);
    assert_int_equal(o.status, STATUS_REFUNDED);
    assert_true(o.counted && !o.credit_note);
    assert_int_equal(o.history_count, 2);
    /* The same where orders count only from paid on. */
    o = build_by(&from_paid, v, 2);
    IS(o.total, 100);
    assert_ptr_equal(o.best, &v[0]);
    assert_false(o.counted || o.credit_note);
}

static void test_refund_before_the_order(void **state)
{
    struct event v[] = {refund_of("r1", 30, 5), with_total(log_of(STATUS_CREATED, 10), 100)};
    struct order o = build(v, 2);

    (void)state;
    IS(o.refunded, 30);
    IS(o.total, 100);
    assert_int_equal(o.status, STATUS_CREATED);
    assert_int_equal(o.refunds[0].key.time, 5);
}

static void test_refunds_merge_by_id(void **state)
{
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100), refund_of("a", 20, 20), refund_of("b", 10, 30),
                        refund_of("a", 25, 40), refund_of("a", NO_AMOUNT, 50)};
    struct order o = build(v, 5);

    (void)state;
    assert_int_equal(o.refund_count, 2);
    assert_int_equal(o.refunds[0].key.time, 20); /* its earliest statement, the latest amount given */
    IS(o.refunds[0].amount, 25);
    IS(o.refunds[1].amount, 10);
    IS(o.refunded, 35);
    /* Without an id each is its own; an empty id is none. */
    v[1].order.refund_id = v[2].order.refund_id = STR_NONE;
    v[3].order.refund_id = STR_LIT("");
    o = build(v, 5);
    assert_int_equal(o.refund_count, 4);
    IS(o.refunds[0].amount, 20);
    IS(o.refunds[3].amount, 100 - 55); /* none given: the total, cut at what is left */
    IS(o.refunded, 100);
}

static void test_refund_amounts(void **state)
{
    struct item back = {.price = AMOUNT(3), .quantity = {true, 2}}, all = {.price = AMOUNT(11)};
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100), log_of(STATUS_REFUNDED, 20)};

    (void)state;
    IS(build(v, 2).refunded, 100); /* nothing said: all of it */
    v[1] = with_items(v[1], &all, 1);
    IS(build(v, 2).refunded, 11);
    v[1].order.has_refund = true;
    v[1].order.has_refund_items = true;
    IS(build(v, 2).refunded, 11); /* no items of the refund */
    v[1].order.refund_items = &back;
    v[1].order.refund_item_count = 1;
    IS(build(v, 2).refunded, 6);
    v[1].order.refund_amount = AMOUNT(4);
    IS(build(v, 2).refunded, 4);
    v[1].order.refund_amount = AMOUNT(-4);
    IS(build(v, 2).refunded, 0); /* never below 0 */
}

static void test_refund_cut(void **state)
{
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100), refund_of("a", 70, 20), refund_of("b", 50, 30),
                        refund_of("c", 5, 40)};
    struct order o = build(v, 4);

    (void)state;
    IS(o.refunded, 100);
    IS(o.refunds[0].amount, 70); /* in the order of events */
    IS(o.refunds[1].amount, 30);
    IS(o.refunds[2].amount, 0);
    v[0].order.total = AMOUNT(-10); /* a total below 0 leaves nothing to give back */
    IS(build(v, 4).refunded, 0);
    v[0].order.status = STATUS_CANCELLED; /* not placed: nothing to cut at */
    IS(build(v, 4).refunded, 125);
}

static void test_refund_in_another_status_is_none(void **state)
{
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100)};
    struct order o;

    (void)state;
    v[0].order.has_refund = true;
    v[0].order.refund_amount = AMOUNT(5);
    o = build(v, 1);
    assert_int_equal(o.refund_count, 0);
    IS(o.refunded, 0);
}

static void test_order_refunded_track(void **state)
{
    struct item back = {.price = AMOUNT(8)};
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100), track_of(TRUST_SERVER, "Order Refunded", 20)};
    struct order o;

    (void)state;
    v[1].order.has_refund = true;
    v[1].order.refund_amount = AMOUNT(12);
    v[1].order.total = AMOUNT(12); /* of the refund, should a decoder leave it there */
    v[1] = with_items(v[1], &back, 1);
    o = build(v, 2);
    IS(o.refunded, 12);
    IS(o.total, 100);
    o = build(&v[1], 1);
    assert_true(o.credit_note);
    IS(o.refunded, 12);
    IS(o.total, 0);
    assert_int_equal(o.item_count, 0);
}

static void test_credit_notes(void **state)
{
    struct item it = {.price = AMOUNT(9), .quantity = {true, 2}};
    struct event v[] = {with_items(log_of(STATUS_REFUNDED, 10), &it, 1), log_of(STATUS_CANCELLED, 20)};
    struct order o;

    (void)state;
    v[0].order.currency = STR_LIT("EUR");
    v[0].order.channel = STR_LIT("till");
    o = build(v, 1);
    assert_true(o.credit_note && !o.counted);
    assert_int_equal(o.placed_at, TIME_NONE);
    IS(o.refunded, 18);
    IS(o.total, 18);
    assert_string_equal(o.currency, "EUR"); /* not placed: its fields are the order's */
    assert_true(str_is(o.channel, "till"));
    assert_ptr_equal(o.best, &v[0]);
    o = build(v, 2); /* cancelled without having been placed */
    assert_true(o.credit_note);
    assert_ptr_equal(o.best, &v[1]);
    v[1] = log_of(STATUS_SHIPPED, 20); /* and when its purchase turns up it is none */
    o = build(v, 2);
    assert_false(o.credit_note);
    assert_true(o.counted);
    assert_int_equal(o.item_count, 0);
    IS(o.refunded, 0); /* nothing is known that could be given back */
}

/* --- bounds --------------------------------------------------------------------------------------------------- */

static void test_statements_beyond_the_limit(void **state)
{
    enum { N = LIMIT_STATEMENTS + 50 };
    struct event *v = calloc(N, sizeof(*v));
    const struct event **p = calloc(N, sizeof(*p));
    struct order o;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        v[i] = with_total(log_of(STATUS_CREATED, 1000 + (int64_t)i), (int64_t)i);
        p[N - 1 - i] = &v[i]; /* the latest first */
    }
    assert_int_equal(order_build(p, N, &rules, &arena, &o), 0);
    assert_int_equal(o.statement_count, LIMIT_STATEMENTS);
    assert_ptr_equal(o.statements[0], &v[0]);
    IS(o.total, LIMIT_STATEMENTS - 1);
    assert_ptr_equal(o.best, &v[LIMIT_STATEMENTS - 1]);
    free(p);
    free(v);
}

static void test_arena_out(void **state)
{
    struct event v[] = {with_total(log_of(STATUS_PAID, 10), 100), refund_of("a", 70, 20)};
    const struct event *p[] = {&v[0], &v[1]};
    struct arena small;
    struct order o;

    (void)state;
    arena_init(&small, 8);
    assert_int_equal(order_build(p, 2, &rules, &small, &o), -ENOMEM);
    arena_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stated),
        cmocka_unit_test(test_server_beats_later_beacon),
        cmocka_unit_test(test_later_wins_within_trust),
        cmocka_unit_test(test_ties_by_the_order_of_events),
        cmocka_unit_test(test_currency),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_history_has_all_with_a_status),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_total_from_several_statements),
        cmocka_unit_test(test_wide_sums),
        cmocka_unit_test(test_refund_speaks_only_of_itself),
        cmocka_unit_test(test_refund_before_the_order),
        cmocka_unit_test(test_refunds_merge_by_id),
        cmocka_unit_test(test_refund_amounts),
        cmocka_unit_test(test_refund_cut),
        cmocka_unit_test(test_refund_in_another_status_is_none),
        cmocka_unit_test(test_order_refunded_track),
        cmocka_unit_test(test_credit_notes),
        cmocka_unit_test(test_statements_beyond_the_limit),
        cmocka_unit_test(test_arena_out),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
