/* Exact numbers of rules: arithmetic against 64-bit fractions, bounds, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka's header needs the ones above. */
#include <cmocka.h>

#include "common/limits.h"
#include "profiler/rule_number.h"

static uint64_t seed = 1;

static uint64_t rnd(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 16;
}

static struct rule_number number(const char *text)
{
    struct rule_number n;

    if (!rule_number_read(str_of(text), &n))
        fail_msg("%s is none", text);
    return n;
}

static void expect(struct rule_number n, const char *text)
{
    struct buf b;

    buf_init(&b, KIB);
    rule_number_write(n, &b);
    buf_add_char(&b, '\0');
    assert_string_equal(b.p, text);
    buf_deinit(&b);
}

static void reads_and_writes(void **state)
{
    static const char *const same[] = {"0",
                                       "1",
                                       "-1",
                                       "0.1",
                                       "-0.000001",
                                       "8300065.814",
                                       "12345678901234567890",
                                       "0.5",
                                       "100000",
                                       "123456.789",
                                       "99.99999999999999999999"};
    struct rule_number n;

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        expect(number(same[i]), same[i]);
    expect(number("1e3"), "1000");
    expect(number("-0"), "0");
    expect(number("-0.0e5"), "0");
    expect(number("1.50"), "1.5");
    expect(number("15e-1"), "1.5");
    expect(number("0e999999999999"), "0");
    expect(number("100000000000000000000000000000000000"), "100000000000000000000000000000000000");
    assert_true(rule_number_div(number("1"), number("3"), &n));
    expect(n, "0.3333333333333333");
    static const char *const bad[] = {"",     "-",     ".",     "1.",
                                      "x",    "1e",    "1e+",   "--1",
                                      "1 ",   "1e40",  "1e-40", "1000000000000000000000000000000000000000",
                                      "0x10", "1.2.3", "+1",    "1e99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (rule_number_read(str_of(bad[i]), &n))
            fail_msg("%s is read", bad[i]);
}

static void computes_exactly(void **state)
{
    struct rule_number n, third;

    (void)state;
    assert_true(rule_number_add(number("0.1"), number("0.2"), &n));
    assert_int_equal(rule_number_cmp(n, number("0.3")), 0);
    assert_true(rule_number_div(number("1"), number("3"), &third));
    assert_true(rule_number_mul(third, number("3"), &n));
    assert_int_equal(rule_number_cmp(n, number("1")), 0);
    assert_true(rule_number_mod(number("-7.5"), number("2"), &n));
    expect(n, "-1.5");
    assert_true(rule_number_mod(number("7"), number("-2"), &n));
    expect(n, "1");
    assert_false(rule_number_div(number("1"), number("0"), &n));
    assert_false(rule_number_mod(number("1"), number("0"), &n));
    assert_true(rule_number_floor(number("-1.5")) == -2);
    assert_true(rule_number_floor(number("1.5")) == 1);
    assert_true(rule_number_cut(number("-1.5")) == -1);
}

/* Small fractions, in 128 bits without any care. */
static void agrees_with_small_fractions(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        int64_t a = (int64_t)(rnd() % 2001) - 1000, b = 1 + (int64_t)(rnd() % 1000);
        int64_t c = (int64_t)(rnd() % 2001) - 1000, d = 1 + (int64_t)(rnd() % 1000);
        struct rule_number x = {a, b}, y = {c, d}, n;

        assert_true(rule_number_add(x, y, &n) && n.below > 0);
        assert_true(n.above * (b * d) == (__int128)(a * d + c * b) * n.below);
        assert_true(rule_number_sub(x, y, &n) && n.below > 0);
        assert_true(n.above * (b * d) == (__int128)(a * d - c * b) * n.below);
        assert_true(rule_number_mul(x, y, &n) && n.below > 0);
        assert_true(n.above * (b * d) == (__int128)(a * c) * n.below);
        assert_int_equal(rule_number_div(x, y, &n), c != 0);
        if (c != 0)
            assert_true(n.below > 0 && n.above * (b * c) == (__int128)(a * d) * n.below);
        assert_int_equal(rule_number_cmp(x, y), (a * d > c * b) - (a * d < c * b));
    }
}

static struct rule_number any_number(void)
{
    __int128 above = (__int128)rnd() << (rnd() % 78), below = ((__int128)rnd() << (rnd() % 78)) | 1;

    above >>= rnd() % 120;
    below >>= rnd() % 120;
    return (struct rule_number){rnd() % 2 ? -above : above, below ? below : 1};
}

static bool near(long double got, long double want)
{
    long double size = want < 0 ? -want : want, off = got > want ? got - want : want - got;

    return off <= size * 1e-15L;
}

static bool in_bounds(struct rule_number n)
{
    const __int128 max = (__int128)1 << 126;

    return n.below > 0 && n.below <= max && n.above >= -max && n.above <= max;
}

/* Both halves have more bits than are promised to be right. */
static bool is_long(struct rule_number n)
{
    const __int128 many = (__int128)1 << 62;

    return n.below > many && (n.above > many || n.above < -many);
}

/* Of any size: never beyond the bounds, and as near as a long double can tell. */
static void large_ones_stay_in_bounds(void **state)
{
    (void)state;
    for (int i = 0; i < 100000; i++) {
        struct rule_number a = any_number(), b = any_number(), n;
        long double x = rule_number_float(a), y = rule_number_float(b);

        if (rule_number_mul(a, b, &n))
            assert_true(in_bounds(n) && (!is_long(n) || near(rule_number_float(n), x * y)));
        if (rule_number_add(a, b, &n))
            assert_true(in_bounds(n) && ((x < 0) != (y < 0) || !is_long(n) || near(rule_number_float(n), x + y)));
        if (x != y)
            assert_int_equal(rule_number_cmp(a, b), x < y ? -1 : 1);
        assert_int_equal(rule_number_cmp(a, b), -rule_number_cmp(b, a));
        assert_int_equal(rule_number_cmp(a, a), 0);
    }
}

/* Each step may round; chains of them end somewhere and never trap. */
static void chains_end(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        struct rule_number n = any_number();

        for (int k = 0; k < 50; k++) {
            struct rule_number m = any_number();
            bool ok = rnd() % 2 ? rule_number_mul(n, m, &n) : rule_number_add(n, m, &n);

            if (!ok)
                break;
            assert_true(in_bounds(n));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_and_writes),
        cmocka_unit_test(computes_exactly),
        cmocka_unit_test(agrees_with_small_fractions),
        cmocka_unit_test(large_ones_stay_in_bounds),
        cmocka_unit_test(chains_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
