/* Rules about one person: what each name and function is, and when it becomes another. */
#include "tests/support/rule_case.h"

static int64_t base;

static int setup(void **state)
{
    base = at_time("2026-03-02T10:00:00Z"); /* a Monday */
    *state = person_new();
    return 0;
}

static int teardown(void **state)
{
    person_free(*state);
    return 0;
}

/* --- facts ------------------------------------------------------------------------------------------------------- */

static void facts_by_their_names(void **state)
{
    struct rule_person *p = *state;

    person_view(p, base, "red");
    person_states(p, "A", STATUS_PAID, base + DAY, 100);
    person_states(p, "B", STATUS_CREATED, base + 4 * DAY, 20);
    person_refund(p, "A", base + 5 * DAY, 30);
    person_states(p, "C", STATUS_CREATED, base + 6 * DAY, 7);
    person_states(p, "C", STATUS_CANCELLED, base + 7 * DAY, 0);
    const int64_t now = base + 10 * DAY;
    assert_stays(p, now, "orders", "2");
    assert_stays(p, now, "orders_cancelled", "1");
    assert_stays(p, now, "gross", "120");
    assert_stays(p, now, "refunded", "30");
    assert_stays(p, now, "spent", "90");
    assert_stays(p, now, "spent / orders", "45");
    assert_stays(p, now, "mean_days_between_orders", "3");
    assert_stays(p, now, "string(first_order_at)", "\"2026-03-03T10:00:00.000Z\"");
    assert_stays(p, now, "products_viewed == 1 && by.color[\"red\"].views == 1", "true");
    assert_stays(p, now, "by.color[\"blue\"].views", "0");
    assert_stays(p, now, "by.hour[10]", "1");
    assert_stays(p, now, "by.weekday[\"1\"]", "1");
    assert_stays(p, now, "has(referred_by)", "false");
    assert_stays(p, now, "referred_by != \"x\"", "false");
    assert_stays(p, now, "amounts_by_currency[\"GBP\"].spent", "90");
    assert_stays(p, now, "amounts_by_currency[\"EUR\"].spent", "0");
    assert_stays(p, now, "top(\"color\")", "\"red\"");
    assert_stays(p, now, "names(\"color\")", "1");
    assert_stays(p, now, "has(top(\"brand\"))", "false");
    assert_stays(p, now, "top(\"weekday\")", "1");
}

static void cost_and_margin(void **state)
{
    struct rule_person *p = *state;
    struct event *e = person_states(p, "A", STATUS_PAID, base, 10);
    struct item *it = person_item(p, e);

    it->price = (struct opt){true, 10 * MICROS};
    e->order.has_items = true;
    assert_stays(p, base, "has(cost) || has(margin)", "false");
    person_unmake(p);
    it->cost = (struct opt){true, 4 * MICROS};
    assert_stays(p, base, "margin", "6");
    assert_stays(p, base, "items", "1");
}

static void quintiles(void **state)
{
    struct rule_person *p = *state;

    person_states(p, "A", STATUS_PAID, base, 100);
    assert_stays(p, base, "has(quintile(spent))", "false");
    p->cuts.made_at = base;
    assert_stays(p, base, "has(quintile(spent))", "false"); /* none of this fact */
    for (size_t i = 0; i < 32; i++) {
        p->cuts.of[i].has = true;
        for (int k = 0; k < 4; k++)
            p->cuts.of[i].cuts[k] = (__int128)(50 * (k + 1)) * MICROS;
    }
    assert_stays(p, base, "quintile(spent)", "2"); /* at most the second cut */
    person_unmake(p);
    person_states(p, "B", STATUS_PAID, base + 1, 1);
    assert_stays(p, base, "quintile(spent)", "3");
}

/* --- absent ------------------------------------------------------------------------------------------------------ */

static void absent(void **state)
{
    struct rule_person *p = *state;

    person_view(p, base, "red");
    assert_stays(p, base, "days_since(last_order_at) > 0", "false");
    assert_stays(p, base, "days_since(last_order_at) <= 0", "false");
    assert_stays(p, base, "last_order_at != first_order_at", "false");
    assert_stays(p, base, "!(days_since(last_order_at) > 0)", "true");
    assert_stays(p, base, "has(spent / orders)", "false");
    assert_stays(p, base, "spent / orders != 3", "false");
    assert_stays(p, base, "has(mean_days_between_orders)", "false");
    assert_stays(p, base, "consent.marketing", "null");
    assert_stays(p, base, "!consent.marketing", "true");
    assert_stays(p, base, "consent.marketing ? 1 : 2", "2");
    assert_stays(p, base, "referred_by in [\"x\"]", "false");
    assert_stays(p, base, "has(last(\"Order Completed\").total)", "false");
    assert_stays(p, base, "referred_by + \"x\" == \"x\"", "false");
    assert_stays(p, base, "-(spent / orders) == 0", "false");
    assert_stays(p, base, "in_audience(\"x\") || exported(\"y\")", "false");
}

/* --- arithmetic and texts ---------------------------------------------------------------------------------------- */

static void operators(void **state)
{
    struct rule_person *p = *state;

    static const char *const same[][2] = {
        {"1 / 2", "0.5"},
        {"7 % 4", "3"},
        {"-7 % 4", "-3"},
        {"0.1 + 0.2 == 0.3", "true"},
        {"1 / 3 * 3 == 1", "true"},
        {"2 - 5", "-3"},
        {"1 == 1.0", "true"},
        {"\"a\" < \"b\"", "true"},
        {"\"b\" + \"a\"", "\"ba\""},
        {"true ? \"x\" : \"y\"", "\"x\""},
        {"3 in [1, 2, 3]", "true"},
        {"\"k\" in {\"k\": 1}", "true"},
        {"[1, 2, 3][1]", "2"},
        {"has([1][1])", "false"},
        {"{\"a\": 5}[\"a\"]", "5"},
        {"size(\"h\u00e9llo\")", "5"},
        {"size([1, 2])", "2"},
        {"\"hello\".contains(\"ell\")", "true"},
        {"\"hello\".startsWith(\"he\") && \"hello\".endsWith(\"lo\")", "true"},
        {"\" Ab \".trim().lowerAscii()", "\"ab\""},
        {"\"ab\".upperAscii()", "\"AB\""},
        {"int(2.9)", "2"},
        {"int(-2.9)", "-2"},
        {"int(\"12\")", "12"},
        {"double(\"1.5\")", "1.5"},
        {"has(double(\"x\"))", "false"},
        {"string(1.50)", "\"1.5\""},
        {"string(true)", "\"true\""},
        {"timestamp(\"2026-03-02T10:00:00Z\") + days(1) == timestamp(\"2026-03-03T10:00:00Z\")", "true"},
        {"timestamp(\"2026-03-03T10:00:00Z\") - timestamp(\"2026-03-02T10:00:00Z\") == hours(24)", "true"},
        {"[1, 2] + [3] == [1, 2, 3]", "true"},
        {"{\"a\": 1, \"b\": 2} == {\"b\": 2, \"a\": 1}", "true"},
        {"[1] == [2]", "false"},
        {"1000000000000000000000000 * 1000000000000 / 1000000000000 == 1000000000000000000000000", "true"},
    };

    person_view(p, base, "red");
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_stays(p, base, same[i][0], same[i][1]);
}

/* --- time -------------------------------------------------------------------------------------------------------- */

static void days_since_flips(void **state)
{
    struct rule_person *p = *state;

    person_view(p, base, "red");
    person_view(p, base + 2 * DAY, "red");
    const int64_t now = base + 2 * DAY + 5;
    assert_flips(p, now, base + 3 * DAY, "days_since(last_seen) >= 1", "false", "true");
    assert_flips(p, now, base + 3 * DAY + 1, "days_since(last_seen) > 1", "false", "true");
    assert_flips(p, now, base + 3 * DAY, "days_since(last_seen) < 1", "true", "false");
    assert_flips(p, now, base + 3 * DAY, "days_since(last_seen) == 1", "false", "true");
    assert_flips(p, base + 3 * DAY, base + 3 * DAY + 1, "days_since(last_seen) == 1", "true", "false");
    assert_flips(p, now, base + 3 * DAY, "1 <= days_since(last_seen)", "false", "true");
    assert_flips(p, now, base + 2 * DAY + DAY / 2, "days_since(last_seen) * 2 >= 1", "false", "true");
    assert_flips(p, now, base + 3 * DAY, "now - last_seen >= days(1)", "false", "true");
    assert_flips(p, now, base + 3 * DAY, "last_seen + days(1) <= now", "false", "true");
    assert_flips(p, now, base + 3 * DAY, "last_seen > now - days(1)", "true", "false");
    assert_flips(p, now, base + 4 * DAY, "(days_since(last_seen) + days_since(first_seen)) / 2 >= 3", "false", "true");
    assert_stays(p, now, "days_since(first_seen) - days_since(last_seen) == 2", "true");
    assert_flips(p, now, base + 4 * DAY, "days_since(last_seen) / days_since(first_seen) >= 0.5", "false", "true");
    assert_flips(p, now, base + 8 * DAY, "events / days_since(first_seen) <= 0.25", "false", "true");
    assert_flips(p, now, base + 5 * DAY, "int(days_since(last_seen)) % 7 == 3", "false", "true");
    assert_flips(p, now, base + 12 * DAY, "int(days_since(last_seen)) >= 10", "false", "true");
    assert_flips(p, now, base + 32 * DAY, "int(days_since(last_seen) / 30)", "0", "1");
    assert_stays(p, base + 9 * DAY, "days_since(last_seen) >= 1", "true");
    assert_flips(p, base + 9 * DAY, base + 9 * DAY + 1, "days_since(last_seen)", "7", "7.000000011574074");
}

static void only_what_decides_wakes(void **state)
{
    struct rule_person *p = *state;

    person_view(p, base, "red");
    assert_flips(p, base + 1, base + 9 * DAY, "days_since(last_seen) >= 9 && days_since(last_seen) > 3", "false",
                 "true");
    assert_stays(p, base + 1, "orders > 3 && days_since(last_seen) >= 9", "false");
    assert_stays(p, base + 1, "orders == 0 || days_since(last_seen) >= 9", "true");
    assert_flips(p, base + 1, base + 9 * DAY, "orders > 0 || days_since(last_seen) >= 9", "false", "true");
    assert_flips(p, base + 1, base + 9 * DAY, "!(days_since(last_seen) >= 9)", "true", "false");
    assert_flips(p, base + 1, base + 9 * DAY, "days_since(last_seen) >= 9 ? 1 : 2", "2", "1");
    assert_flips(p, base + 1, base + 9 * DAY, "(days_since(last_seen) >= 9) == true", "false", "true");
}

static void local_days(void **state)
{
    struct rule_person *p = *state;
    struct zone *z = zone_new("Europe/London");

    p->rules.zone = z;
    person_view(p, at_time("2026-03-28T23:30:00Z"), "red"); /* the clocks go forward an hour and a half later */
    const int64_t seen = at_time("2026-03-28T23:30:00Z");
    const int64_t midnight = at_time("2026-03-29T00:00:00Z"), next = at_time("2026-03-29T23:00:00Z");
    assert_flips(p, seen + 1, midnight, "date(last_seen) == today()", "true", "false");
    assert_flips(p, midnight, next, "today() - date(last_seen) >= days(2)", "false", "true");
    assert_flips(p, midnight, next, "today() == date(timestamp(\"2026-03-30\"))", "false", "true");
    assert_flips(p, midnight, next, "now >= timestamp(\"2026-03-30\")", "false", "true");
    assert_flips(p, midnight, next, "today() > timestamp(\"2026-03-29T12:00:00Z\")", "false", "true");
    assert_flips(p, midnight, at_time("2026-03-31T23:00:00Z"), "month(now) < 4", "true", "false");
    assert_stays(p, midnight, "month(last_seen)", "3");
    assert_value(p, midnight, "date(last_seen) == timestamp(\"2026-03-28\")", "true");
    assert_flips(p, midnight, next, "days_since(timestamp(\"2026-03-30\")) >= 0", "false", "true");
    assert_flips(p, midnight, at_time("2026-04-01"), "date(now - days(3)) > date(last_seen)", "false", "true");
    person_unmake(p);
    p->rules.zone = NULL;
    zone_free(z);
}

static void anniversaries(void **state)
{
    struct rule_person *p = *state;

    person_view(p, at_time("2024-02-29T12:00:00Z"), "red");
    assert_flips(p, at_time("2026-01-01"), at_time("2026-02-25"), "anniversary(first_seen, 3)", "false", "true");
    assert_flips(p, at_time("2026-02-25"), at_time("2026-03-01"), "anniversary(first_seen, 3)", "true", "false");
    assert_flips(p, at_time("2026-03-01"), at_time("2027-02-25"), "anniversary(first_seen, 3)", "false", "true");
    assert_flips(p, at_time("2028-02-20"), at_time("2028-02-29"), "anniversary(first_seen, 0)", "false", "true");
    assert_flips(p, at_time("2028-12-30"), at_time("2029-02-26"), "anniversary(first_seen, 2)", "false", "true");
    /* The day itself is no return of it. */
    assert_value(p, at_time("2024-02-29T13:00:00Z"), "anniversary(first_seen, 3)", "false");
    assert_flips(p, at_time("2026-12-30T12:00:00Z"), at_time("2026-12-31"), "anniversary(timestamp(\"2020-01-01\"), 1)",
                 "false", "true");
}

/* --- windows ----------------------------------------------------------------------------------------------------- */

static void counts(void **state)
{
    struct rule_person *p = *state;

    for (int i = 0; i < 5; i++)
        person_view(p, base + i * DAY, i % 2 ? "blue" : "red");
    person_event(p, EVENT_PAGE, "Home", base)->url = STR_LIT("https://shop.example/a");
    person_event(p, EVENT_SCREEN, "Start", base + 1);
    const int64_t now = base + 5 * DAY;
    assert_stays(p, now, "count(\"Product Viewed\")", "5");
    assert_stays(p, now, "count(\"page\") == pages && pages == 2", "true");
    assert_stays(p, now, "count(\"screen\") + count(\"Home\") + count(\"Nothing\")", "2");
    assert_stays(p, now, "count(\"page\", e.url == \"https://shop.example/a\")", "1");
    assert_value(p, now, "count(\"Product Viewed\", 3)", "2"); /* later than, not at, now - 3 days */
    assert_flips(p, now, base + 7 * DAY, "count(\"Product Viewed\", 4) >= 2", "true", "false");
    assert_flips(p, now, base + 8 * DAY, "count(\"Product Viewed\", 4) > 0", "true", "false");
    assert_flips(p, now, base + 8 * DAY, "count(\"Product Viewed\", 4) != 0", "true", "false");
    assert_flips(p, now, base + 7 * DAY, "count(\"Product Viewed\", 4, e.color == \"blue\") >= 1", "true", "false");
    assert_flips(p, now, base + 6 * DAY, "count(\"Product Viewed\", 4) == 2", "false", "true");
    assert_value(p, now, "count(\"Product Viewed\", e.time >= last_seen)", "1");
    assert_flips(p, now, base + 6 * DAY, "count(\"Product Viewed\", days_since(e.time) < 4) >= 3", "true", "false");
    assert_stays(p, now, "count(\"Product Viewed\", 4) >= 0", "true");
    assert_stays(p, now, "count(\"Product Viewed\", 100) > 5", "false");
}

/* More leave than are looked ahead: the last of those is a moment to look again. */
static void many_leave(void **state)
{
    struct rule_person *p = *state;
    int64_t next;

    for (int i = 0; i < 200; i++)
        person_view(p, base + i, "red");
    assert_value(p, base + 200, "count(\"Product Viewed\", 30) > 3", "true");
    value_at(p, base + 200, "count(\"Product Viewed\", 30) > 3", &next);
    assert_true(next > base + 30 * DAY && next <= base + 30 * DAY + 196);
    assert_flips(p, base + 30 * DAY + 150, base + 30 * DAY + 196, "count(\"Product Viewed\", 30) > 3", "true", "false");
}

static void sums(void **state)
{
    struct rule_person *p = *state;

    person_states(p, "A", STATUS_PAID, base, 100);
    person_states(p, "B", STATUS_PAID, base + 2 * DAY, 50);
    person_refund(p, "A", base + 3 * DAY, 40);
    person_states(p, "X", STATUS_PAID, base + 2 * DAY, 500)->order.currency = STR_LIT("EUR");
    person_refund(p, "N", base + 4 * DAY, 5); /* a credit note */
    person_states(p, "C", STATUS_PAID, base + 2 * DAY, 70);
    person_states(p, "C", STATUS_CANCELLED, base + 3 * DAY, 0);
    const int64_t now = base + 5 * DAY;
    assert_stays(p, now, "sum(\"spent\") == spent && spent == 105", "true");
    assert_stays(p, now, "sum(\"gross\")", "150");
    assert_value(p, now, "sum(\"spent\", 30)", "105");
    assert_value(p, now, "sum(\"gross\", 30)", "150");
    assert_value(p, now, "sum(\"spent\", 5)", "5"); /* A is out, its refund is not */
    assert_value(p, now, "sum(\"gross\", 5)", "50");
    assert_flips(p, now, base + 10 * DAY, "sum(\"spent\", 10) >= 100", "true", "false");
    assert_flips(p, now, base + 12 * DAY, "sum(\"spent\", 10) < 0", "false", "true");
    assert_flips(p, base + 12 * DAY, base + 14 * DAY, "sum(\"spent\", 10) < 0", "true", "false");
    assert_stays(p, now, "sum(\"spent\", 10) > 1000", "false");
}

static void orders_are_events(void **state)
{
    struct rule_person *p = *state;
    struct event *track = person_event(p, EVENT_TRACK, "Order Completed", base);

    track->order.order_id = STR_LIT("A");
    track->order.total = (struct opt){true, 10 * MICROS};
    track->properties = STR_LIT("{\"gift\":true}");
    person_states(p, "A", STATUS_PAID, base + DAY, 10); /* the same order */
    person_states(p, "B", STATUS_PAID, base + 2 * DAY, 20);
    person_states(p, "B", STATUS_CANCELLED, base + 3 * DAY, 0);
    person_refund(p, "A", base + 4 * DAY, 3);
    person_refund(p, "A", base + 5 * DAY, 2);
    const int64_t now = base + 6 * DAY;
    assert_stays(p, now, "count(\"Order Completed\")", "1");
    assert_stays(p, now, "count(\"Order Cancelled\") == orders_cancelled && orders_cancelled == 1", "true");
    assert_stays(p, now, "count(\"Order Refunded\")", "2");
    assert_stays(p, now, "count(\"Order Refunded\", e.amount >= 3 && e.total == 10)", "1");
    assert_stays(p, now, "count(\"Order Completed\", e.status == \"refunded\")", "1");
    assert_stays(p, now, "last(\"Order Completed\").order_id", "\"A\"");
    assert_stays(p, now, "last(\"Order Completed\").refunded", "5");
    assert_stays(p, now, "last(\"Order Cancelled\").currency", "\"GBP\"");
    assert_flips(p, now, base + 7 * DAY, "count(\"Order Completed\", 7) > 0", "true", "false");
    assert_flips(p, now, base + 10 * DAY, "count(\"Order Cancelled\", 7) > 0", "true", "false");
}

/* Of a path with more in it than is kept taken apart, what was read of an event outlives the next one. */
static void events_of_a_long_path_are_compared(void **state)
{
    enum { FILLERS = 12, FILLER_BYTES = LIMIT_RULE_KEPT / 8 };
    struct rule_person *p = *state;
    struct buf filler;

    buf_init(&filler, MIB + FILLER_BYTES);
    buf_add_text(&filler, "{\"x\":\"");
    for (size_t i = 0; i < FILLER_BYTES; i++)
        buf_add_char(&filler, 'x');
    buf_add_text(&filler, "\"}");
    assert_false(filler.failed);
    for (int i = 0; i < FILLERS; i++)
        person_event(p, EVENT_TRACK, "Filler", base + i)->properties = buf_str(&filler);
    person_event(p, EVENT_TRACK, "A", base + DAY)->properties = STR_LIT("{\"points\":7}");
    person_event(p, EVENT_TRACK, "B", base + DAY)->properties = STR_LIT("{\"points\":5}");
    assert_stays(p, base + 2 * DAY, "count(\"Filler\", e.x == \"\") == 0 && last(\"A\").points > last(\"B\").points",
                 "true");
    buf_deinit(&filler);
}

static void sequences(void **state)
{
    struct rule_person *p = *state;
    const char *const followed = "followed_by(\"Product Added\", \"Order Completed\", hours(24))";
    const char *const left = "not_followed_by(\"Product Added\", \"Order Completed\", hours(24), days(7))";

    person_event(p, EVENT_TRACK, "Product Added", base);
    assert_stays(p, base + DAY, followed, "false");
    assert_flips(p, base + 1, base + DAY + 1, left, "false", "true");
    assert_flips(p, base + 2 * DAY, base + 7 * DAY + 1, left, "true", "false");
    assert_stays(p, base + 8 * DAY, left, "false");
    person_unmake(p);
    person_states(p, "A", STATUS_PAID, base + DAY, 10);
    assert_stays(p, base + 2 * DAY, followed, "true");
    assert_stays(p, base + 2 * DAY, left, "false");
    person_unmake(p);
    person_event(p, EVENT_TRACK, "Product Added", base + DAY + 1); /* the latest one has none behind it */
    assert_stays(p, base + 2 * DAY, followed, "false");
    assert_flips(p, base + 2 * DAY, base + 2 * DAY + 2, left, "false", "true");
    person_unmake(p);
    person_states(p, "B", STATUS_PAID, base + 2 * DAY + 2, 10); /* one ms too late */
    assert_stays(p, base + 3 * DAY, followed, "false");
    assert_stays(p, base + 3 * DAY, left, "false");
}

static void interests(void **state)
{
    struct rule_person *p = *state;

    person_view(p, base, "red");
    person_view(p, base + 1, "red");
    person_view(p, base + 2, "red");
    person_view(p, base + 40 * DAY, "blue");
    person_view(p, base + 40 * DAY + 1, "blue");
    const int64_t now = base + 41 * DAY;
    assert_stays(p, now, "interest(\"Product Viewed\", \"color\", 10)", "\"blue\"");
    assert_stays(p, now, "interest(\"Product Viewed\", \"color\", 300)", "\"red\"");
    assert_stays(p, now, "has(interest(\"Product Viewed\", \"brand\", 300))", "false");
    assert_flips(p, now, base + 50 * DAY, "interest(\"Product Viewed\", \"color\", 300, 50)", "\"red\"", "\"blue\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(facts_by_their_names, setup, teardown),
        cmocka_unit_test_setup_teardown(cost_and_margin, setup, teardown),
        cmocka_unit_test_setup_teardown(quintiles, setup, teardown),
        cmocka_unit_test_setup_teardown(absent, setup, teardown),
        cmocka_unit_test_setup_teardown(operators, setup, teardown),
        cmocka_unit_test_setup_teardown(days_since_flips, setup, teardown),
        cmocka_unit_test_setup_teardown(only_what_decides_wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(local_days, setup, teardown),
        cmocka_unit_test_setup_teardown(anniversaries, setup, teardown),
        cmocka_unit_test_setup_teardown(counts, setup, teardown),
        cmocka_unit_test_setup_teardown(many_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(sums, setup, teardown),
        cmocka_unit_test_setup_teardown(orders_are_events, setup, teardown),
        cmocka_unit_test_setup_teardown(events_of_a_long_path_are_compared, setup, teardown),
        cmocka_unit_test_setup_teardown(sequences, setup, teardown),
        cmocka_unit_test_setup_teardown(interests, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
