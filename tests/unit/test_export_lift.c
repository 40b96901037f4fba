/* Differences of two groups: against published examples and values computed elsewhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "common/limits.h"
#include "profiler/exports_report.h"

static void near(double got, double want, double within, const char *of)
{
    if (!(fabs(got - want) <= within))
        fail_msg("%s: got %.10g, expected %.10g", of, got, want);
}

/* Newcombe 1998, table II: the eight contrasts, method 10, to the four places that are printed. */
static void newcombes_own_examples(void **state)
{
    static const struct {
        uint64_t a, m, b, n;
        double low, high;
    } v[] = {{56, 70, 48, 80, 0.0524, 0.3339}, {9, 10, 3, 10, 0.1705, 0.8090},  {6, 7, 2, 7, 0.0582, 0.8062},
             {5, 56, 0, 29, -0.0381, 0.1926},  {0, 10, 0, 20, -0.1611, 0.2775}, {0, 10, 0, 10, -0.2775, 0.2775},
             {10, 10, 0, 20, 0.6791, 1.0000},  {10, 10, 0, 10, 0.6075, 1.0000}};

    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        struct lift l = lift_of_shares(v[i].a, v[i].m, v[i].b, v[i].n);

        assert_true(l.known);
        near(l.low, v[i].low, 0.00005, "low");
        near(l.high, v[i].high, 0.00005, "high");
        near(l.difference, (double)v[i].a / (double)v[i].m - (double)v[i].b / (double)v[i].n, 1e-12, "difference");
    }
    assert_false(lift_of_shares(0, 0, 1, 5).known);
    assert_false(lift_of_shares(1, 5, 0, 0).known);
}

static struct sample sample_of(const double *v, size_t n)
{
    struct sample s = {0};

    for (size_t i = 0; i < n; i++)
        sample_add(&s, v[i]);
    return s;
}

/* The first example of the article on Welch's test in Wikipedia: t = -2.46, 25.0 degrees of freedom, P = 0.021. */
static void welchs_example(void **state)
{
    static const double a[] = {27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1,
                               21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4};
    static const double b[] = {27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0,
                               24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4};
    struct sample x = sample_of(a, 15), y = sample_of(b, 15);
    double t = (x.mean - y.mean) / sqrt(sample_variance(&x) / 15 + sample_variance(&y) / 15);
    double freedom = welch_freedom(&x, &y);

    (void)state;
    near(t, -2.46, 0.005, "t");
    near(freedom, 25.0, 0.05, "degrees of freedom");
    near(2 * student_below(t, freedom), 0.021, 0.0005, "p");
    struct lift l = lift_of_means(&x, &y);
    assert_true(l.known && l.low < l.difference && l.high < 0); /* p below 0.05: the interval has no 0 in it */
}

/* Critical values as every table of Student's t prints them. */
static void quantiles_of_student(void **state)
{
    static const struct {
        double p, freedom, t;
    } v[] = {{0.975, 1, 12.7062}, {0.975, 2, 4.30265},   {0.975, 10, 2.22814},  {0.975, 30, 2.04227},
             {0.95, 5, 2.01505},  {0.995, 120, 2.61742}, {0.975, 1e6, 1.95997}, {0.025, 10, -2.22814}};

    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        near(student_quantile(v[i].p, v[i].freedom), v[i].t, 0.00006, "t");
    near(student_below(0, 7), 0.5, 1e-12, "middle");
}

static void small_or_equal_groups(void **state)
{
    static const double one[] = {3}, two[] = {5, 5};
    struct sample a = sample_of(one, 1), b = sample_of(two, 2);

    (void)state;
    assert_false(lift_of_means(&a, &b).known);
    struct lift l = lift_of_means(&b, &b);
    assert_true(l.known && l.difference == 0 && l.low == 0 && l.high == 0);
}

/* --- the report ------------------------------------------------------------------------------------------------ */

#define DAY INT64_C(86400000)
#define T0 (INT64_C(1700000000) * 1000) /* 2023-11-14T22:13:20Z */

static struct order placed(int64_t at, int64_t units)
{
    return (struct order){.placed_at = at, .counted = true, .home_currency = true, .total = units * MICROS};
}

static void orders_count_in_their_days(void **state)
{
    struct fold_rules rules = {.currency = "GBP"};
    struct report r;
    struct order_refund refund = {.key = {.time = T0 + 2 * DAY}, .amount = 4 * MICROS};
    struct order o[5];
    struct buf b;

    (void)state;
    assert_int_equal(report_init(&r, &rules, 14, T0 + 30 * DAY), 0);
    o[0] = placed(T0, 100);               /* at the assignment: not after it */
    o[1] = placed(T0 + 1, 10);            /* day 1 */
    o[2] = placed(T0 + 14 * DAY, 20);     /* the last moment of day 14 */
    o[3] = placed(T0 + 14 * DAY + 1, 40); /* too late */
    o[4] = placed(T0 - DAY, 80);          /* before; its refund is within */
    o[4].refunds = &refund;
    o[4].refund_count = 1;
    assert_int_equal(report_add(&r, ARM_EXPORTED, T0, o, 5), 0);
    o[1].counted = false;
    assert_int_equal(report_add(&r, ARM_HELD_OUT, T0, o, 2), 0);
    assert_int_equal(report_add(&r, ARM_HELD_OUT, T0 + 20 * DAY, NULL, 0), 0);
    assert_int_equal(r.all[ARM_EXPORTED].conversions, 1);
    assert_true(r.all[ARM_EXPORTED].amount == 26 * MICROS);
    assert_int_equal(r.all[ARM_HELD_OUT].people, 2);
    assert_int_equal(r.all[ARM_HELD_OUT].conversions, 0);
    assert_int_equal(r.open[ARM_HELD_OUT], 1);
    assert_int_equal(r.by_day[0].conversions, 1);
    assert_true(r.by_day[0].amount == 10 * MICROS);
    assert_true(r.by_day[1 * ARMS].amount == -4 * MICROS);
    assert_true(r.by_day[13 * ARMS].amount == 20 * MICROS);
    buf_init(&b, 1 * MIB);
    buf_add_char(&b, '{');
    report_write(&r, &b);
    buf_add_char(&b, '\0');
    assert_non_null(strstr(b.p, "\"reach\":{\"exported\":1,\"held_out\":2}"));
    assert_non_null(
        strstr(b.p, "{\"date\":\"2023-11-14\",\"exported\":{\"people\":1,\"conversions\":1,\"amount\":26}"));
    assert_non_null(strstr(b.p, "\"date\":\"2023-12-04\""));
    assert_non_null(strstr(b.p, "\"rate\":{\"exported\":1,\"held_out\":0}"));
    buf_deinit(&b);
    report_deinit(&r);
}

static void more_dates_than_a_report_holds(void **state)
{
    struct fold_rules rules = {.currency = "GBP"};
    struct report r;

    (void)state;
    assert_int_equal(report_init(&r, &rules, 1, T0), 0);
    for (int64_t i = 0; i < LIMIT_CAMPAIGN_DAYS + 10; i++)
        assert_int_equal(report_add(&r, ARM_EXPORTED, T0 - i * DAY, NULL, 0), 0);
    assert_true(r.dates_cut);
    assert_int_equal(r.date_count, LIMIT_CAMPAIGN_DAYS);
    assert_int_equal(r.all[ARM_EXPORTED].people, LIMIT_CAMPAIGN_DAYS + 10);
    for (size_t i = 1; i < r.date_count; i++)
        assert_true(r.dates[i - 1].day < r.dates[i].day);
    report_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newcombes_own_examples),     cmocka_unit_test(welchs_example),
        cmocka_unit_test(quantiles_of_student),       cmocka_unit_test(small_or_equal_groups),
        cmocka_unit_test(orders_count_in_their_days), cmocka_unit_test(more_dates_than_a_report_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
