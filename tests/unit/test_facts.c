/* The facts of small paths and orders, worked by hand: each is folded anew and step by step, and both are held against
 * the table. */
#include "tests/support/facts_case.h"

/* --- events --------------------------------------------------------------------------------------------------- */

static void test_nothing(void **state)
{
    struct facts f = fold(NULL, 0, NULL, 0);

    (void)state;
    assert_true(f.first_seen == TIME_NONE && f.last_event_at == TIME_NONE && f.first_order_at == TIME_NONE);
    assert_int_equal(f.events, 0);
    facts_deinit(&f);
}

static void test_counts_of_events(void **state)
{
    struct event v[] = {
        event_of(EVENT_IDENTIFY, NULL, 1000),
        event_of(EVENT_PAGE, "Home", 2000),
        event_of(EVENT_SCREEN, "Home", 3000),
        event_of(EVENT_TRACK, "Product Viewed", 4000),
        event_of(EVENT_TRACK, "Product Viewed", 4001),
        event_of(EVENT_TRACK, "Product Added", 5000),
        event_of(EVENT_TRACK, "Product Removed", 6000),
        event_of(EVENT_TRACK, "Checkout Started", 7000),
        event_of(EVENT_TRACK, "product viewed", 8000),
        event_of(EVENT_PAGE, "Product Viewed", 9000),
        event_of(EVENT_GROUP, NULL, 10000),
    };
    struct facts f;

    (void)state;
    v[0].shared_by = STR_LIT("");
    v[4].shared_by = STR_LIT("ann");
    v[7].shared_by = STR_LIT("bob");
    f = fold(v, COUNT(v), NULL, 0);
    assert_int_equal(f.events, 11);
    assert_int_equal(f.pages, 3);
    assert_int_equal(f.sessions, 1);
    assert_int_equal(f.products_viewed, 2);
    assert_int_equal(f.products_added, 1);
    assert_int_equal(f.products_removed, 1);
    assert_int_equal(f.checkouts, 1);
    assert_int_equal(f.first_event_at, 1000);
    assert_int_equal(f.first_seen, 2000);
    assert_int_equal(f.last_seen, 9000);
    assert_int_equal(f.last_event_at, 10000);
    assert_true(str_is(f.referred_by, "ann"));
    facts_deinit(&f);
}

static void test_hours_and_weekdays(void **state)
{
    /* 1969-12-31T23:59:59.999Z Wednesday; 1970-01-01 Thursday; 1970-01-05T13:00Z Monday */
    struct event v[] = {event_of(EVENT_PAGE, NULL, -1), event_of(EVENT_PAGE, NULL, 0),
                        event_of(EVENT_IDENTIFY, NULL, 5), event_of(EVENT_PAGE, NULL, 4 * TIME_DAY + 13 * TIME_HOUR)};
    struct facts f = fold(v, COUNT(v), NULL, 0);

    (void)state;
    assert_int_equal(f.hour[23], 1);
    assert_int_equal(f.hour[0], 1);
    assert_int_equal(f.hour[13], 1);
    assert_int_equal(f.weekday[2], 1);
    assert_int_equal(f.weekday[3], 1);
    assert_int_equal(f.weekday[0], 1);
    facts_deinit(&f);
}

static void test_local_hours(void **state)
{
    struct zone *london = zone_new("Europe/London");
    struct fold_rules local = rules;
    /* 2026-07-01T23:30Z is 00:30 on Thursday in London */
    struct event e = event_of(EVENT_PAGE, NULL, INT64_C(1782948600000));
    struct facts f;

    (void)state;
    assert_non_null(london);
    local.zone = london;
    f = fold_with(&local, &e, 1, NULL, 0);
    assert_int_equal(f.hour[0], 1);
    assert_int_equal(f.weekday[3], 1);
    facts_deinit(&f);
    zone_free(london);
}

static void test_names_count_once_an_event(void **state)
{
    struct item two[2] = {{.product_id = STR_LIT("p1"), .category = STR_LIT("shoes"), .color = STR_LIT("red")},
                          {.sku = STR_LIT("s2"), .category = STR_LIT("shoes"), .color = STR_LIT("")}};
    struct item third = {.name = STR_LIT("Boot"),
                         .sku = STR_LIT(""),
                         .brand = STR_LIT("a\0b"),
                         .style = STR_LIT("st"),
                         .size = STR_LIT("42")};
    struct event v[] = {track_with("Product Viewed", 1, two, 2), track_with("Product Added", 2, &third, 1),
                        track_with("Product Viewed", 3, &third, 1), track_with("Product Removed", 4, two, 2)};
    struct facts f = fold(v, COUNT(v), NULL, 0);

    (void)state;
    assert_int_equal(f.by[BY_CATEGORY].n, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("shoes"))->views, 1);
    assert_int_equal(f.by[BY_COLOR].n, 1);   /* an empty name is none */
    assert_int_equal(f.by[BY_PRODUCT].n, 3); /* product id, else sku, else name */
    assert_int_equal(tally(&f, BY_PRODUCT, STR_LIT("p1"))->views, 1);
    assert_int_equal(tally(&f, BY_PRODUCT, STR_LIT("s2"))->views, 1);
    assert_int_equal(tally(&f, BY_PRODUCT, STR_LIT("Boot"))->added, 1);
    assert_int_equal(tally(&f, BY_BRAND, STR_LIT("a\0b"))->views, 1);
    assert_int_equal(tally(&f, BY_BRAND, STR_LIT("a\0b"))->added, 1);
    assert_int_equal(tally(&f, BY_STYLE, STR_LIT("st"))->added, 1);
    assert_int_equal(tally(&f, BY_SIZE, STR_LIT("42"))->added, 1);
    facts_deinit(&f);
}

static void test_modules(void **state)
{
    struct event v[] = {event_of(EVENT_PAGE, NULL, 1), event_of(EVENT_SCREEN, NULL, 2),
                        event_of(EVENT_TRACK, "Product Viewed", 3), event_of(EVENT_PAGE, NULL, 4)};
    struct facts f;

    (void)state;
    v[0].module = v[1].module = v[2].module = STR_LIT("home");
    f = fold(v, COUNT(v), NULL, 0);
    assert_int_equal(f.by[BY_MODULE].n, 1);
    assert_int_equal(tally(&f, BY_MODULE, STR_LIT("home"))->pages, 2);
    facts_deinit(&f);
}

/* --- orders --------------------------------------------------------------------------------------------------- */

static void test_money(void **state)
{
    struct order v[] = {
        counted_order("GBP", 1 * TIME_DAY, 100),
        with_refund(counted_order("GBP", 4 * TIME_DAY, 50), 50), /* wholly refunded */
        with_refund(counted_order("GBP", 2 * TIME_DAY, 30), 10),
        with_refund(counted_order("EUR", 9 * TIME_DAY, 70), 20),
        with_refund(cancelled_order(12 * TIME_DAY, 1000), 1000), /* counts nowhere but as cancelled */
        credit_note("GBP", 7),
        credit_note("USD", 3),
        with_refund(cancelled_order(TIME_NONE, 5), 5), /* never placed: not placed, then cancelled */
    };
    struct facts f;

    (void)state;
    v[0].discount = AMOUNT(4);
    v[3].discount = AMOUNT(9);
    v[4].discount = AMOUNT(99);
    f = fold(NULL, 0, v, COUNT(v));
    assert_int_equal(f.orders, 4);
    assert_int_equal(f.orders_cancelled, 1);
    assert_int_equal(f.orders_refunded, 1);
    assert_int_equal(f.credit_notes, 2);
    IS(f.gross, 180);
    IS(f.refunded, 67);
    IS(f.discount, 4);
    assert_int_equal(f.first_order_at, 1 * TIME_DAY);
    assert_int_equal(f.last_order_at, 9 * TIME_DAY);
    assert_int_equal(f.currency_count, 3);
    assert_string_equal(f.currencies[0].currency, "EUR");
    IS(f.currencies[0].gross, 70);
    IS(f.currencies[0].refunded, 20);
    IS(f.currencies[0].discount, 9);
    IS(f.currencies[1].gross, 180);
    assert_string_equal(f.currencies[2].currency, "USD");
    IS(f.currencies[2].gross, 0);
    IS(f.currencies[2].refunded, 3);
    facts_deinit(&f);
}

static void test_items_and_costs(void **state)
{
    struct item items[] = {
        {.category = STR_LIT("shoes"), .price = AMOUNT(10), .quantity = PIECES(3), .cost = AMOUNT(6)},
        {.category = STR_LIT("shoes"), .price = AMOUNT(5), .cost = AMOUNT(1)},
        {.category = STR_LIT("hats"), .quantity = PIECES(-2), .cost = AMOUNT(1)},
        {.category = STR_LIT("bags"), .quantity = PIECES(0)},
    };
    struct item seen = {.category = STR_LIT("shoes")};
    struct event e = track_with("Product Viewed", 5, &seen, 1);
    struct order v[] = {counted_order("GBP", 10, 100), counted_order("EUR", 20, 40), cancelled_order(30, 5)};
    struct facts f;

    (void)state;
    v[0].items = v[1].items = v[2].items = items;
    v[0].item_count = 3;
    v[1].item_count = 2;
    v[2].item_count = 4;
    f = fold(&e, 1, v, COUNT(v));
    assert_int_equal(f.items, 3 + 1 - 2 + 3 + 1);
    IS(f.cost, 18 + 1 - 2);
    assert_int_equal(f.items_without_cost, 0);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("shoes"))->views, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("shoes"))->ordered, 8); /* units of all */
    IS(tally(&f, BY_CATEGORY, STR_LIT("shoes"))->amount, 35);               /* amounts of ours */
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("hats"))->ordered, -2);
    assert_null(tally(&f, BY_CATEGORY, STR_LIT("bags")));
    facts_deinit(&f);
    v[1].item_count = 4; /* now something has no cost, be it abroad; and a name stands though it comes to 0 */
    f = fold(&e, 1, v, COUNT(v));
    assert_int_equal(f.items_without_cost, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("bags"))->ordered, 0);
    facts_deinit(&f);
}

static void test_order_maps(void **state)
{
    struct order v[] = {counted_order("GBP", 10, 100), counted_order("GBP", 20, 40), counted_order("EUR", 30, 7),
                        cancelled_order(40, 5), credit_note("GBP", 5)};
    struct facts f;

    (void)state;
    for (size_t i = 0; i < COUNT(v); i++)
        v[i].channel = STR_LIT("web");
    v[0].place = (struct place){.store_id = STR_LIT("s1"),
                                .store_name = STR_LIT("York"),
                                .city = STR_LIT("York"),
                                .district = STR_LIT("North")};
    v[1].place = (struct place){.store_name = STR_LIT("York"), .address = STR_LIT("1 Road")};
    f = fold(NULL, 0, v, COUNT(v));
    assert_int_equal(tally(&f, BY_CHANNEL, STR_LIT("web"))->orders, 3);
    IS(tally(&f, BY_CHANNEL, STR_LIT("web"))->amount, 140);
    assert_int_equal(f.by[BY_STORE].n, 2); /* id, else name */
    IS(tally(&f, BY_STORE, STR_LIT("s1"))->amount, 100);
    IS(tally(&f, BY_STORE, STR_LIT("York"))->amount, 40);
    assert_int_equal(tally(&f, BY_CITY, STR_LIT("York"))->orders, 1);
    assert_int_equal(tally(&f, BY_DISTRICT, STR_LIT("North"))->orders, 1);
    facts_deinit(&f);
}

/* --- touches -------------------------------------------------------------------------------------------------- */

static void test_campaign_of_the_last_touch(void **state)
{
    const int64_t day = TIME_DAY;
    struct event v[] = {
        campaign_page("spring", 1 * day),  campaign_page("inside", 1 * day + 1), /* starts no session: no touch */
        campaign_page("summer", 10 * day), referred_page(20 * day),
        campaign_page("late", 60 * day),
    };
    struct order orders[] = {
        counted_order("GBP", 1 * day + 5, 1),    /* spring */
        counted_order("GBP", 10 * day, 2),       /* summer: up to placed_at */
        counted_order("GBP", 10 * day - 1, 4),   /* spring */
        counted_order("GBP", 25 * day, 8),       /* by a search: no campaign */
        counted_order("GBP", 50 * day, 16),      /* the search, exactly 30 days before */
        counted_order("GBP", 50 * day + 1, 32),  /* direct */
        counted_order("EUR", 60 * day + 9, 64),  /* late */
        counted_order("GBP", 90 * day, 256),     /* late, exactly 30 days before */
        counted_order("GBP", 90 * day + 1, 512), /* direct */
        cancelled_order(60 * day + 9, 128),
    };
    struct facts f = fold(v, COUNT(v), orders, COUNT(orders));

    (void)state;
    assert_int_equal(f.touches, 5);
    assert_int_equal(f.campaigns, 4);
    assert_int_equal(f.by[BY_CAMPAIGN].n, 3);
    assert_int_equal(tally(&f, BY_CAMPAIGN, STR_LIT("spring"))->orders, 2);
    IS(tally(&f, BY_CAMPAIGN, STR_LIT("spring"))->amount, 5);
    IS(tally(&f, BY_CAMPAIGN, STR_LIT("summer"))->amount, 2);
    assert_int_equal(tally(&f, BY_CAMPAIGN, STR_LIT("late"))->orders, 2);
    IS(tally(&f, BY_CAMPAIGN, STR_LIT("late"))->amount, 256);
    facts_deinit(&f);
}

static void test_first_and_last_touch(void **state)
{
    const int64_t day = TIME_DAY;
    static const struct {
        int64_t placed_at, first, last;
    } rows[] = {
        {TIME_DAY - 1, -1, -1},    {TIME_DAY, 0, 0},      {10 * TIME_DAY, 0, 2},       {31 * TIME_DAY, 0, 2},
        {31 * TIME_DAY + 1, 2, 2}, {40 * TIME_DAY, 2, 2}, {40 * TIME_DAY + 1, -1, -1}, {TIME_NONE, -1, -1},
    };
    struct event v[] = {campaign_page("spring", 1 * day), campaign_page("inside", 1 * day + 1), referred_page(10 * day),
                        event_of(EVENT_PAGE, NULL, 11 * day)};
    struct path_entry path[4] = {0};
    struct path_note notes[4];
    uint32_t sessions;

    (void)state;
    for (size_t i = 0; i < 4; i++)
        path[i] = (struct path_entry){.key = event_key(&v[i]), .flags = entry_flags(&v[i], &rules)};
    assert_int_equal(path_annotate(path, 4, rules.session_gap_ms, notes, &sessions), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct touches t = facts_touches(path, notes, 4, rows[i].placed_at, 30 * TIME_DAY);

        if (t.first != rows[i].first || t.last != rows[i].last)
            fail_msg("row %zu: %lld %lld", i, (long long)t.first, (long long)t.last);
    }
}

static void test_when_touches_matter(void **state)
{
    const unsigned page = ENTRY_SESSION | ENTRY_PAGE, touch = page | ENTRY_TOUCH, campaign = touch | ENTRY_CAMPAIGN;
    struct event e = campaign_page("spring", 100);
    struct order o = counted_order("GBP", 200, 1);
    struct facts_order now = {&o, STR_NONE};
    struct facts f;

    (void)state;
    facts_init(&f);
    assert_false(facts_touch_matters(&f, touch, false, true)); /* no campaign, nothing to credit */
    assert_true(facts_touch_matters(&f, campaign, true, true));
    assert_int_equal(facts_add_event(&f, &e, campaign, &rules), FACTS_OK);
    assert_false(facts_touch_matters(&f, campaign, false, false)); /* no order */
    assert_true(facts_touch_matters(&f, 0, true, true));
    assert_int_equal(facts_change_order(&f, NULL, &now, &rules), FACTS_OK);
    assert_true(facts_touch_matters(&f, page, false, false));  /* may join sessions */
    assert_true(facts_touch_matters(&f, touch, false, false)); /* may hide a campaign */
    assert_false(facts_touch_matters(&f, 0, false, false));
    assert_false(facts_touch_matters(&f, page, true, false));
    assert_true(facts_touch_matters(&f, touch, true, false)); /* the order was placed later, in another path */
    e.time = 300;
    assert_int_equal(facts_add_event(&f, &e, page, &rules), FACTS_OK);
    assert_false(facts_touch_matters(&f, touch, true, false));
    facts_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_counts_of_events),
        cmocka_unit_test(test_hours_and_weekdays),
        cmocka_unit_test(test_local_hours),
        cmocka_unit_test(test_names_count_once_an_event),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_money),
        cmocka_unit_test(test_items_and_costs),
        cmocka_unit_test(test_order_maps),
        cmocka_unit_test(test_campaign_of_the_last_touch),
        cmocka_unit_test(test_first_and_last_touch),
        cmocka_unit_test(test_when_touches_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
