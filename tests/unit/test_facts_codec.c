/* Facts as bytes, also hostile ones, and as JSON. */
#include "tests/support/facts_case.h"

/* --- bytes ------------------------------------------------------------------------------------------------- */

#define LEAST ((money)((unsigned __int128)1 << 127))

/* Facts with something in every place. */
static struct facts full_facts(void)
{
    struct item items[] = {
        {.product_id = STR_LIT("p1"), .category = STR_LIT("shoes"), .brand = STR_LIT("a\0b"), .price = AMOUNT(10)},
        {.product_id = STR_LIT("p2"), .category = STR_LIT("hats"), .quantity = PIECES(-3), .cost = AMOUNT(2)},
        {.product_id = STR_LIT("p3"), .category = STR_LIT("bags"), .color = STR_LIT("*")},
    };
    struct event v[] = {campaign_page("spring", 1000), track_with("Product Viewed", 2000, items, 3),
                        track_with("Product Added", 3000, items, 1), event_of(EVENT_TRACK, "Checkout Started", 4000)};
    struct order orders[] = {counted_order("GBP", 5000, 12345), with_refund(counted_order("EUR", 9000, 7), 7),
                             credit_note("USD", 3), cancelled_order(9500, 1)};
    struct facts f;

    v[0].module = STR_LIT("home");
    v[3].shared_by = STR_LIT("ann");
    orders[0].items = items;
    orders[0].item_count = 2;
    orders[0].channel = STR_LIT("web");
    orders[1].place.city = STR_LIT("York");
    f = fold_with(&two_names, v, COUNT(v), orders, COUNT(orders));
    f.gross = LEAST; /* as far as sums go */
    return f;
}

static void test_bytes_come_back(void **state)
{
    struct facts f = full_facts(), again;
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_int_equal(facts_unpack(packed(&f, &b), &again), 0);
    assert_same_facts(&f, &again);
    assert_true(again.gross == LEAST);
    assert_true(str_is(again.referred_by, "ann"));
    assert_true(event_key_cmp(&again.last_key, &f.last_key) == 0);
    assert_true(event_key_cmp(&again.referred_key, &f.referred_key) == 0);
    assert_true(again.touches == 1 && again.campaigns == 1 && again.last_event_at == 4000);
    assert_non_null(again.by[BY_CATEGORY].cutoff);
    assert_null(again.by[BY_BRAND].cutoff);
    assert_true(again.by[BY_BRAND].name_bytes == 3);
    facts_deinit(&again);
    facts_deinit(&f);
    buf_deinit(&b);
}

/* Whatever is read must write the same bytes: nothing has two forms. */
static void check_hostile(struct str bytes, struct buf *b, bool *taken)
{
    char *copy = malloc(bytes.n + 1); /* so that reading past the end is seen */
    struct facts f;
    int rc;

    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    rc = facts_unpack((struct str){copy, bytes.n}, &f);
    assert_true(rc == 0 || rc == 1);
    if (rc == 0)
        assert_true(str_eq(packed(&f, b), bytes));
    *taken = rc == 0;
    facts_deinit(&f);
    free(copy);
}

static void test_hostile_bytes(void **state)
{
    struct facts f = full_facts();
    struct buf b, other;
    char bytes[2048];
    uint32_t random = 12345;
    size_t n;
    bool taken;

    (void)state;
    buf_init(&b, MIB);
    buf_init(&other, MIB);
    n = packed(&f, &b).n;
    assert_true(n < sizeof(bytes) - 1);
    for (size_t cut = 0; cut < n; cut++) { /* every prefix */
        check_hostile((struct str){b.p, cut}, &other, &taken);
        assert_false(taken);
    }
    memcpy(bytes, b.p, n);
    bytes[n] = 0;
    check_hostile((struct str){bytes, n + 1}, &other, &taken);
    assert_false(taken);
    for (size_t i = 0; i < n; i++) { /* every byte changed to everything */
        for (int v = 0; v < 256; v++) {
            bytes[i] = (char)v;
            check_hostile((struct str){bytes, n}, &other, &taken);
        }
        bytes[i] = b.p[i];
    }
    for (int round = 0; round < 20000; round++) { /* several bytes */
        memcpy(bytes, b.p, n);
        for (int k = 0; k < 3; k++) {
            random = random * 1664525 + 1013904223;
            bytes[(random >> 8) % n] = (char)(random >> 24);
        }
        check_hostile((struct str){bytes, n}, &other, &taken);
    }
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

/* Two names of one map in the wrong order. */
static void test_unsorted_names(void **state)
{
    struct facts f = full_facts();
    struct buf b, other;
    char *bags, *hats;
    bool taken;

    (void)state;
    buf_init(&b, MIB);
    buf_init(&other, MIB);
    packed(&f, &b);
    bags = memmem(b.p, b.n, "bags", 4);
    hats = memmem(b.p, b.n, "hats", 4);
    assert_true(bags && hats && bags < hats);
    memcpy(bags, "hats", 4);
    memcpy(hats, "bags", 4);
    check_hostile(buf_str(&b), &other, &taken);
    assert_false(taken);
    memcpy(hats, "hats", 4); /* twice the same */
    check_hostile(buf_str(&b), &other, &taken);
    assert_false(taken);
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

/* More names than are kept, and yet no rest. */
static void test_wide_without_rest(void **state)
{
    struct event e = event_of(EVENT_PAGE, NULL, 1);
    struct facts f;
    struct buf b, other;
    bool taken;

    (void)state;
    e.module = STR_LIT("m");
    f = fold_with(&rules, &e, 1, NULL, 0);
    buf_init(&b, MIB);
    buf_init(&other, MIB);
    packed(&f, &b);
    assert_memory_equal(b.p + b.n - 4, "\2\1m\1", 4); /* the last map: one name, not wide */
    b.p[b.n - 4] = 3;
    check_hostile(buf_str(&b), &other, &taken);
    assert_false(taken);
    facts_deinit(&f);
    buf_deinit(&b);
    buf_deinit(&other);
}

static void test_equal_facts_equal_bytes(void **state)
{
    struct facts a = wide_facts(), b = wide_facts();

    (void)state;
    /* Later by another way to the same. */
    assert_int_equal(view(&a, "x", 310), FACTS_OK);
    assert_int_equal(view(&a, "b", 320), FACTS_OK);
    assert_int_equal(view(&b, "b", 320), FACTS_OK);
    assert_int_equal(view(&b, "x", 310), FACTS_OK);
    assert_same_facts(&a, &b);
    facts_deinit(&a);
    facts_deinit(&b);
}

static void test_small_bytes(void **state)
{
    struct event e = event_of(EVENT_PAGE, NULL, INT64_C(1782948600000));
    struct facts f = fold_with(&rules, &e, 1, NULL, 0);
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    assert_true(packed(&f, &b).n < 80);
    facts_deinit(&f);
    buf_deinit(&b);
}

/* --- JSON -------------------------------------------------------------------------------------------------- */

static void assert_json(const struct facts *f, const char *want)
{
    struct buf b;

    buf_init(&b, MIB);
    facts_write_json(f, &rules, &b);
    if (b.n != strlen(want) || memcmp(b.p, want, b.n) != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&b)));
    buf_deinit(&b);
}

static void test_json_of_nothing(void **state)
{
    struct facts f;

    (void)state;
    facts_init(&f);
    assert_json(&f,
                "{\"first_seen\":null,\"last_seen\":null,\"first_event_at\":null,\"last_event_at\":null,\"events\":0,"
                "\"sessions\":0,\"pages\":0,\"products_viewed\":0,\"products_added\":0,\"products_removed\":0,"
                "\"checkouts\":0,\"orders\":0,\"orders_cancelled\":0,\"orders_refunded\":0,\"credit_notes\":0,"
                "\"items\":0,\"gross\":0,\"refunded\":0,\"spent\":0,\"amounts_by_currency\":{},\"discount\":0,"
                "\"cost\":0,\"margin\":0,\"first_order_at\":null,\"last_order_at\":null,"
                "\"mean_days_between_orders\":null,\"referred_by\":null,\"by\":{\"category\":{},\"brand\":{},"
                "\"style\":{},\"color\":{},\"size\":{},\"product\":{},\"store\":{},\"city\":{},\"district\":{},"
                "\"channel\":{},\"campaign\":{},\"module\":{},\"hour\":{},\"weekday\":{}}}");
    facts_deinit(&f);
}

static void test_json(void **state)
{
    struct item items[] = {
        {.category = STR_LIT("kids & \"b\""), .price = {true, 100}, .quantity = PIECES(2), .cost = {true, 50}}};
    struct event v[] = {event_of(EVENT_PAGE, NULL, 0), track_with("Product Viewed", 1, items, 1),
                        event_of(EVENT_TRACK, "x", 2), event_of(EVENT_IDENTIFY, NULL, 61123)};
    struct order orders[] = {counted_order("GBP", 10, 9), counted_order("EUR", 10 + TIME_DAY, 3),
                             counted_order("GBP", 10 + 3 * TIME_DAY, 2)};
    struct facts f;

    (void)state;
    v[0].module = STR_LIT("home");
    v[2].shared_by = STR_LIT("ann");
    orders[0].items = items;
    orders[0].item_count = 1;
    orders[0].channel = STR_LIT("web");
    orders[2] = with_refund(orders[2], 2);
    orders[1].discount = AMOUNT(1);
    f = fold(v, COUNT(v), orders, COUNT(orders));
    assert_json(&f, "{\"first_seen\":\"1970-01-01T00:00:00.000Z\",\"last_seen\":\"1970-01-01T00:00:00.002Z\","
                    "\"first_event_at\":\"1970-01-01T00:00:00.000Z\",\"last_event_at\":\"1970-01-01T00:01:01.123Z\","
                    "\"events\":4,\"sessions\":1,\"pages\":1,\"products_viewed\":1,\"products_added\":0,"
                    "\"products_removed\":0,\"checkouts\":0,\"orders\":3,\"orders_cancelled\":0,\"orders_refunded\":1,"
                    "\"credit_notes\":0,\"items\":2,\"gross\":11,\"refunded\":2,\"spent\":9,"
                    "\"amounts_by_currency\":{\"EUR\":{\"gross\":3,\"refunded\":0,\"spent\":3,\"discount\":1},"
                    "\"GBP\":{\"gross\":11,\"refunded\":2,\"spent\":9,\"discount\":0}},\"discount\":0,"
                    "\"cost\":0.0001,\"margin\":8.9999,\"first_order_at\":\"1970-01-01T00:00:00.010Z\","
                    "\"last_order_at\":\"1970-01-04T00:00:00.010Z\",\"mean_days_between_orders\":1.5,"
                    "\"referred_by\":\"ann\",\"by\":{\"category\":{\"kids & \\\"b\\\"\":{\"views\":1,\"added\":0,"
                    "\"ordered\":2,\"amount\":0.0002}},\"brand\":{},\"style\":{},\"color\":{},\"size\":{},"
                    "\"product\":{},\"store\":{},\"city\":{},\"district\":{},\"channel\":{\"web\":{\"orders\":1,"
                    "\"amount\":9}},\"campaign\":{},\"module\":{\"home\":{\"pages\":1}},\"hour\":{\"0\":3},"
                    "\"weekday\":{\"4\":3}}}");
    f.items_without_cost = 1;
    {
        struct buf b;

        buf_init(&b, MIB);
        facts_write_json(&f, &rules, &b);
        assert_true(buf_add_char(&b, 0));
        assert_non_null(strstr(b.p, "\"cost\":null,\"margin\":null,"));
        buf_deinit(&b);
    }
    facts_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_back),         cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_unsorted_names),          cmocka_unit_test(test_wide_without_rest),
        cmocka_unit_test(test_equal_facts_equal_bytes), cmocka_unit_test(test_small_bytes),
        cmocka_unit_test(test_json_of_nothing),         cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
