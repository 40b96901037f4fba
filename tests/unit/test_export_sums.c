/* Reports in parts: whatever people are split over profilers, their sums together are those of one that has all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/exports_report.h"

#define DAY INT64_C(86400000)
#define T0 (INT64_C(1700000000) * 1000)
#define NOW (T0 + 30 * DAY)
#define DAYS 14
#define PARTS 3

static const struct fold_rules rules = {.currency = "GBP"};
static uint64_t seed = 42;

static uint64_t draw(uint64_t below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % below;
}

static void begin(struct report *r)
{
    assert_int_equal(report_init(r, &rules, DAYS, NOW), 0);
}

/* What another profiler is told, and reads. */
static bool pass_on(struct report *to, const struct report *from, const char *instead)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    struct buf b;

    buf_init(&b, 4 * MIB);
    if (instead) {
        buf_add_text(&b, instead);
    } else {
        buf_add_char(&b, '{');
        report_write_sums(from, &b);
        buf_add_char(&b, '}');
    }
    assert_true(!b.failed && buf_room(&b, JSON_PADDING));
    assert_int_equal(json_parse(parser, b.p, b.n, &root, NULL), JSON_OK);
    bool good = report_add_sums(to, root);
    json_parser_free(parser);
    buf_deinit(&b);
    return good;
}

static void same_arms(const struct arm_sum *a, const struct arm_sum *b)
{
    for (int i = 0; i < ARMS; i++) {
        assert_int_equal(a[i].people, b[i].people);
        assert_int_equal(a[i].conversions, b[i].conversions);
        assert_true(a[i].amount == b[i].amount);
    }
}

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * (1 + fabs(want))))
        fail_msg("got %.17g, expected %.17g", got, want);
}

static void same(const struct report *got, const struct report *want)
{
    same_arms(got->all, want->all);
    for (int i = 0; i < ARMS; i++) {
        assert_int_equal(got->open[i], want->open[i]);
        assert_int_equal(got->spent[i].n, want->spent[i].n);
        near(got->spent[i].mean, want->spent[i].mean);
        near(sample_variance(&got->spent[i]), sample_variance(&want->spent[i]));
    }
    for (int64_t day = 0; day < DAYS; day++)
        same_arms(&got->by_day[day * ARMS], &want->by_day[day * ARMS]);
    assert_int_equal(got->first, want->first);
    assert_int_equal(got->last, want->last);
    assert_int_equal(got->date_count, want->date_count);
    for (size_t i = 0; i < got->date_count; i++) {
        assert_int_equal(got->dates[i].day, want->dates[i].day);
        same_arms(got->dates[i].arms, want->dates[i].arms);
    }
    assert_true(got->dates_cut == want->dates_cut);
}

static void add_somebody(struct report *part, struct report *whole)
{
    struct order_refund refund;
    struct order o[4];
    int64_t assigned = T0 + (int64_t)draw(25) * DAY;
    enum arm arm = draw(3) ? ARM_EXPORTED : ARM_HELD_OUT;
    size_t n = draw(4);

    for (size_t i = 0; i < n; i++)
        o[i] = (struct order){.placed_at = assigned - DAY + (int64_t)draw(20 * DAY),
                              .counted = draw(5) > 0,
                              .home_currency = draw(9) > 0,
                              .total = (money)draw(1000000000)};
    if (n > 0) {
        refund = (struct order_refund){.key = {.time = assigned + (int64_t)draw(10 * DAY)}, .amount = 2 * o[0].total};
        o[0].refunds = &refund; /* more comes back than was paid: sums below nothing */
        o[0].refund_count = draw(2) ? 1 : 0;
    }
    assert_int_equal(report_add(part, arm, assigned, o, n), 0);
    assert_int_equal(report_add(whole, arm, assigned, o, n), 0);
}

static void parts_are_the_whole(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct report parts[PARTS], whole, joined;
        uint64_t people = draw(300);

        begin(&whole);
        begin(&joined);
        for (int i = 0; i < PARTS; i++)
            begin(&parts[i]);
        for (uint64_t i = 0; i < people; i++)
            add_somebody(&parts[draw(round % 2 ? PARTS : 1)], &whole); /* also with nobody in some */
        for (int i = 0; i < PARTS; i++)
            assert_true(pass_on(&joined, &parts[i], NULL));
        same(&joined, &whole);
        for (int i = 0; i < PARTS; i++)
            report_deinit(&parts[i]);
        report_deinit(&whole);
        report_deinit(&joined);
    }
}

static void sums_are_wide(void **state)
{
    const money most = (money)INT64_MAX * 1000 * MICROS;
    struct report a, b;

    (void)state;
    begin(&a);
    begin(&b);
    a.all[ARM_EXPORTED] = (struct arm_sum){.people = INT64_MAX, .conversions = 1, .amount = most};
    a.all[ARM_HELD_OUT].amount = -most;
    assert_true(pass_on(&b, &a, NULL));
    same(&b, &a);
    report_deinit(&a);
    report_deinit(&b);
}

/* More dates together than a report holds, and one that was cut already. */
static void cut_parts_are_a_cut_whole(void **state)
{
    struct report parts[2], joined;

    (void)state;
    begin(&joined);
    for (int i = 0; i < 2; i++) {
        begin(&parts[i]);
        for (int64_t day = i; day < LIMIT_CAMPAIGN_DAYS + 2; day += 2)
            assert_int_equal(report_add(&parts[i], ARM_EXPORTED, T0 - day * DAY, NULL, 0), 0);
        assert_false(parts[i].dates_cut);
        assert_true(pass_on(&joined, &parts[i], NULL));
    }
    assert_true(joined.dates_cut);
    assert_int_equal(joined.date_count, LIMIT_CAMPAIGN_DAYS);
    assert_int_equal(joined.all[ARM_EXPORTED].people, LIMIT_CAMPAIGN_DAYS + 2);
    struct report again;
    begin(&again);
    assert_true(pass_on(&again, &joined, NULL));
    assert_true(again.dates_cut);
    report_deinit(&again);
    report_deinit(&joined);
    for (int i = 0; i < 2; i++)
        report_deinit(&parts[i]);
}

static void what_is_none_is_refused(void **state)
{
    static const char no_days[] = "{\"days\":14,\"open\":[0,0],\"first\":null,\"last\":null,\"all\":[[0,0,0],[0,0,0]],"
                                  "\"samples\":[[0,0,0],[0,0,0]],\"by_day\":[],\"dates\":[]}";
    static const char *const v[] = {"{}", "[]", "{\"days\":14}",
                                    "{\"days\":14,\"open\":[0,0],\"all\":[[-1,0,0],[0,0,0]],\"samples\":[[0,0,0]]}",
                                    no_days};
    struct report r, other;

    (void)state;
    begin(&r);
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        assert_false(pass_on(&r, NULL, v[i]));
    assert_int_equal(report_init(&other, &rules, DAYS + 1, NOW), 0);
    assert_false(pass_on(&r, &other, NULL)); /* of other days */
    report_deinit(&other);
    report_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_the_whole),
        cmocka_unit_test(sums_are_wide),
        cmocka_unit_test(cut_parts_are_a_cut_whole),
        cmocka_unit_test(what_is_none_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
