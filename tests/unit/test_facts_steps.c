/* What changing facts step by step must give, and what it must refuse. */
#include "tests/support/facts_case.h"

/* --- steps ---------------------------------------------------------------------------------------------------- */

static int change(struct facts *f, const struct order *before, const struct order *now, const struct fold_rules *r)
{
    struct facts_order b = {before, STR_NONE}, n = {now, STR_NONE};

    return facts_change_order(f, before ? &b : NULL, now ? &n : NULL, r);
}

static void test_order_comes_and_goes(void **state)
{
    struct item items[] = {{.category = STR_LIT("shoes"), .price = AMOUNT(10), .quantity = PIECES(3)}};
    struct order first = with_refund(counted_order("EUR", 10, 100), 7), then = cancelled_order(10, 100);
    struct facts f, empty;

    (void)state;
    facts_init(&f);
    facts_init(&empty);
    first.items = then.items = items;
    first.item_count = then.item_count = 1;
    first.channel = then.channel = STR_LIT("web");
    assert_int_equal(change(&f, NULL, &first, &rules), FACTS_OK);
    assert_int_equal(f.currency_count, 1);
    assert_int_equal(change(&f, &first, &then, &rules), FACTS_OK);
    assert_int_equal(f.orders, 0);
    assert_int_equal(f.orders_cancelled, 1);
    assert_int_equal(f.currency_count, 0);
    assert_int_equal(f.by[BY_CATEGORY].n, 0);
    assert_int_equal(change(&f, &then, &first, &rules), FACTS_OK);
    assert_int_equal(change(&f, &first, NULL, &rules), FACTS_OK);
    assert_same_facts(&f, &empty);
    facts_deinit(&f);
    facts_deinit(&empty);
}

static void test_order_times(void **state)
{
    struct order a = counted_order("GBP", 10, 1), b = counted_order("GBP", 20, 1), c = counted_order("GBP", 30, 1);
    struct order earlier = counted_order("GBP", 5, 1), gone = cancelled_order(10, 1);
    struct facts f;

    (void)state;
    facts_init(&f);
    assert_int_equal(change(&f, NULL, &a, &rules), FACTS_OK);
    assert_int_equal(change(&f, NULL, &b, &rules), FACTS_OK);
    assert_int_equal(change(&f, &a, &earlier, &rules), FACTS_OK); /* two: the other one is known */
    assert_true(f.first_order_at == 5 && f.last_order_at == 20);
    assert_int_equal(change(&f, &b, NULL, &rules), FACTS_OK);
    assert_true(f.first_order_at == 5 && f.last_order_at == 5);
    assert_int_equal(change(&f, NULL, &b, &rules), FACTS_OK);
    assert_int_equal(change(&f, NULL, &c, &rules), FACTS_OK);
    assert_int_equal(change(&f, &b, &a, &rules), FACTS_OK); /* from the middle */
    assert_true(f.first_order_at == 5 && f.last_order_at == 30);
    assert_int_equal(change(&f, &earlier, &gone, &rules), FACTS_REFOLD); /* which is first now? */
    facts_deinit(&f);
    facts_init(&f);
    assert_int_equal(change(&f, NULL, &a, &rules), FACTS_OK);
    assert_int_equal(change(&f, NULL, &b, &rules), FACTS_OK);
    assert_int_equal(change(&f, NULL, &c, &rules), FACTS_OK);
    assert_int_equal(change(&f, &c, &earlier, &rules), FACTS_REFOLD); /* and which is last? */
    facts_deinit(&f);
}

static void test_wide_map(void **state)
{
    struct facts f = wide_facts();

    (void)state;
    assert_int_equal(f.by[BY_CATEGORY].n, 3);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("*"))->views, 1);
    assert_int_equal(view(&f, "b", 400), FACTS_OK);
    assert_int_equal(view(&f, "a", 350), FACTS_OK); /* late, but after all that are kept */
    assert_int_equal(view(&f, "y", 50), FACTS_OK);
    assert_int_equal(view(&f, "*", 10), FACTS_OK); /* what a client calls so stands with the rest */
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("*"))->views, 4);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("y"))->views, 2);
    assert_int_equal(view(&f, "b", 150), FACTS_REFOLD);
    facts_deinit(&f);
    facts_init(&f);
    assert_int_equal(view(&f, "*", 10), FACTS_OK); /* takes no place */
    assert_int_equal(view(&f, "x", 100), FACTS_OK);
    assert_int_equal(view(&f, "y", 200), FACTS_OK);
    assert_null(f.by[BY_CATEGORY].cutoff);
    assert_int_equal(view(&f, "z", 50), FACTS_REFOLD);
    facts_deinit(&f);
}

static void test_wide_map_read_again(void **state)
{
    struct facts f = wide_facts(), again;
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_int_equal(facts_unpack(packed(&f, &b), &again), 0);
    assert_int_equal(view(&again, "b", 301), FACTS_OK);
    assert_int_equal(view(&again, "x", 250), FACTS_OK);
    assert_int_equal(view(&again, "c", 250), FACTS_REFOLD); /* after those kept, but nobody knows any more */
    facts_deinit(&again);
    facts_deinit(&f);
    buf_deinit(&b);
}

/* The names of an order that was placed after the last event here, as another path states it. */
static void test_wide_map_after_a_later_order(void **state)
{
    struct item items[] = {{.category = STR_LIT("x")}, {.category = STR_LIT("y")}};
    struct order o = counted_order("GBP", 500, 1);
    struct facts f;

    (void)state;
    facts_init(&f);
    o.items = items;
    o.item_count = 2;
    assert_int_equal(view(&f, "x", 100), FACTS_OK);
    assert_int_equal(change(&f, NULL, &o, &two_names), FACTS_OK);
    assert_int_equal(view(&f, "z", 400), FACTS_REFOLD); /* z came before y */
    facts_deinit(&f);
    facts_init(&f);
    assert_int_equal(change(&f, NULL, &o, &two_names), FACTS_OK);
    assert_int_equal(view(&f, "z", 600), FACTS_OK);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("*"))->views, 1);
    facts_deinit(&f);
}

static void test_orders_in_wide_maps(void **state)
{
    struct item of_x = {.category = STR_LIT("x"), .price = AMOUNT(1)}, of_q = {.category = STR_LIT("q")};
    struct order x = counted_order("GBP", 350, 1), late_x = counted_order("GBP", 360, 1);
    struct order q = counted_order("GBP", 350, 1), early_q = counted_order("GBP", 150, 1);
    struct {
        const struct order *before, *now;
        int rc;
    } rows[] = {
        {&x, &x, FACTS_OK},      {&x, NULL, FACTS_REFOLD},     {&x, &late_x, FACTS_REFOLD},
        {&late_x, &x, FACTS_OK}, {&q, &q, FACTS_OK},           {&q, NULL, FACTS_REFOLD},
        {&x, &q, FACTS_REFOLD},  {&q, &early_q, FACTS_REFOLD}, {NULL, &early_q, FACTS_REFOLD},
        {NULL, &q, FACTS_OK},
    };

    (void)state;
    x.items = late_x.items = &of_x;
    q.items = early_q.items = &of_q;
    x.item_count = late_x.item_count = q.item_count = early_q.item_count = 1;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct facts f = wide_facts();

        if (rows[i].before)
            assert_int_equal(change(&f, NULL, rows[i].before, &two_names), FACTS_OK);
        if (change(&f, rows[i].before, rows[i].now, &two_names) != rows[i].rc)
            fail_msg("row %zu", i);
        facts_deinit(&f);
    }
}

/* First in the order of events; of one event, and of one order, the lesser names. */
static void test_names_kept(void **state)
{
    struct item many[] = {{.category = STR_LIT("c")}, {.category = STR_LIT("b")}, {.category = STR_LIT("d")}};
    struct event v[] = {track_with("Product Viewed", 100, &many[0], 1), track_with("Product Viewed", 200, many, 3)};
    struct order o = counted_order("GBP", 100, 1);
    struct facts f = fold_with(&two_names, v, 2, NULL, 0), steps;

    (void)state;
    facts_init(&steps);
    assert_int_equal(facts_add_event(&steps, &v[0], ENTRY_SESSION, &two_names), FACTS_OK);
    assert_int_equal(facts_add_event(&steps, &v[1], ENTRY_SESSION, &two_names), FACTS_OK);
    facts_add_sessions(&steps, 1);
    assert_same_facts(&f, &steps);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("b"))->views, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("c"))->views, 2);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("*"))->views, 1);
    facts_deinit(&f);
    facts_deinit(&steps);
    o.items = &many[1]; /* b and d at 100, before any event of that time */
    o.item_count = 2;
    f = fold_with(&two_names, v, 2, &o, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("b"))->ordered, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("d"))->ordered, 1);
    assert_int_equal(tally(&f, BY_CATEGORY, STR_LIT("*"))->views, 2);
    assert_null(tally(&f, BY_CATEGORY, STR_LIT("c")));
    facts_deinit(&f);
}

static void test_default_limit(void **state)
{
    struct facts f;
    char name[16];

    (void)state;
    facts_init(&f);
    for (int i = 0; i < LIMIT_MAP_NAMES + 500; i++) {
        struct item it;
        struct event e;

        snprintf(name, sizeof(name), "%d", i);
        it = (struct item){.brand = str_of(name)};
        e = track_with("Product Added", i, &it, 1);
        assert_int_equal(facts_add_event(&f, &e, ENTRY_SESSION, &rules), FACTS_OK);
    }
    assert_int_equal(f.by[BY_BRAND].n, LIMIT_MAP_NAMES + 1);
    assert_int_equal(tally(&f, BY_BRAND, STR_LIT("*"))->added, 500);
    assert_non_null(tally(&f, BY_BRAND, STR_LIT("999")));
    assert_null(tally(&f, BY_BRAND, STR_LIT("1000")));
    assert_true(facts_bytes(&f) > LIMIT_MAP_NAMES * sizeof(struct tally));
    facts_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_comes_and_goes),
        cmocka_unit_test(test_order_times),
        cmocka_unit_test(test_wide_map),
        cmocka_unit_test(test_wide_map_read_again),
        cmocka_unit_test(test_wide_map_after_a_later_order),
        cmocka_unit_test(test_orders_in_wide_maps),
        cmocka_unit_test(test_names_kept),
        cmocka_unit_test(test_default_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
