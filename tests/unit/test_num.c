/* Decimal arithmetic against 128-bit integers, the text of amounts, the text of doubles. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/num.h"
#include "common/num_text.h"

#define UNTOUCHED 987654321

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct row {
    const char *text;
    int result;
    int64_t value;
};

static const struct row micros[] = {
    {"0", NUM_OK, 0},
    {"-0", NUM_OK, 0},
    {"-0.0", NUM_OK, 0},
    {"5", NUM_OK, 5000000},
    {"59.970000000000006", NUM_OK, 59970000},
    {"0.1", NUM_OK, 100000},
    {"0.000001", NUM_OK, 1},
    {"0.0000005", NUM_OK, 1},
    {"-0.0000005", NUM_OK, -1},
    {"0.00000049999999999999999999999999999999999999", NUM_OK, 0},
    {"-0.0000004", NUM_OK, 0},
    {"2.5000005", NUM_OK, 2500001},
    {"-2.5000005", NUM_OK, -2500001},
    {"9.9999995", NUM_OK, 10000000},
    {"1e2", NUM_OK, 100000000},
    {"1E+2", NUM_OK, 100000000},
    {"12345e-3", NUM_OK, 12345000},
    {"0.00012e4", NUM_OK, 1200000},
    {"1000000000", NUM_OK, 1000000000000000},
    {"-1000000000", NUM_OK, -1000000000000000},
    {"1e9", NUM_OK, 1000000000000000},
    {"0.1e10", NUM_OK, 1000000000000000},
    {"1000000000.0000004", NUM_OK, 1000000000000000},
    {"1000000000.000001", NUM_RANGE, 0},
    {"1000000001", NUM_RANGE, 0},
    {"1e10", NUM_RANGE, 0},
    {"1e300", NUM_RANGE, 0},
    {"-1e300", NUM_RANGE, 0},
    {"1e-400", NUM_OK, 0},
    {"-1e-400", NUM_OK, 0},
    {"0e300", NUM_OK, 0},
    {"1e999999999999", NUM_RANGE, 0},
    {"1e-999999999999", NUM_OK, 0},
    {"1e99999999999999999999999999999999999999", NUM_RANGE, 0},
    {"1e-99999999999999999999999999999999999999", NUM_OK, 0},
    {"0.0e99999999999999999999", NUM_OK, 0},
    {"9223372036854775808", NUM_RANGE, 0},
    {"18446744073709551616", NUM_RANGE, 0},
    {"100000000000000000000000000000000000000e-30", NUM_OK, 100000000000000},
    {"00012.50", NUM_OK, 12500000},
    {"", NUM_BAD, 0},
    {"-", NUM_BAD, 0},
    {"+1", NUM_BAD, 0},
    {".5", NUM_BAD, 0},
    {"5.", NUM_BAD, 0},
    {"1e", NUM_BAD, 0},
    {"1e+", NUM_BAD, 0},
    {"1.e2", NUM_BAD, 0},
    {"1 ", NUM_BAD, 0},
    {" 1", NUM_BAD, 0},
    {"1,5", NUM_BAD, 0},
    {"1.2.3", NUM_BAD, 0},
    {"--1", NUM_BAD, 0},
    {"0x10", NUM_BAD, 0},
    {"NaN", NUM_BAD, 0},
    {"Infinity", NUM_BAD, 0},
    {"1_000", NUM_BAD, 0},
    {"\xd9\xa1", NUM_BAD, 0},
};

static const struct row strict[] = {
    {"59.97", NUM_OK, 59970000},
    {"-59.970000", NUM_OK, -59970000},
    {"0.000001", NUM_OK, 1},
    {"1000000000.000000", NUM_OK, 1000000000000000},
    {"1000000000.000001", NUM_RANGE, 0},
    {"12345678901234567890", NUM_RANGE, 0},
    {"59.9700000", NUM_BAD, 0},
    {"0.0000001", NUM_BAD, 0},
    {"1e2", NUM_BAD, 0},
    {"1.5E0", NUM_BAD, 0},
    {"", NUM_BAD, 0},
    {"12.", NUM_BAD, 0},
    {"GBP 12", NUM_BAD, 0},
};

static const struct row integers[] = {
    {"3", NUM_OK, 3},
    {"3.0", NUM_OK, 3},
    {"3e0", NUM_OK, 3},
    {"30e-1", NUM_OK, 3},
    {"0.3e1", NUM_OK, 3},
    {"-3", NUM_OK, -3},
    {"-0", NUM_OK, 0},
    {"1e6", NUM_OK, 1000000},
    {"1000000.000", NUM_OK, 1000000},
    {"1000001", NUM_RANGE, 0},
    {"1e300", NUM_RANGE, 0},
    {"99999999999999999999999999", NUM_RANGE, 0},
    {"3.5", NUM_BAD, 0},
    {"3.0000000000000000000000001", NUM_BAD, 0},
    {"1e-400", NUM_BAD, 0},
    {"0e-400", NUM_OK, 0},
    {"33e-1", NUM_BAD, 0},
    {"", NUM_BAD, 0},
    {"three", NUM_BAD, 0},
};

static void check_row(const struct row *r, int result, int64_t value)
{
    if (result != r->result || value != (result == NUM_OK ? r->value : UNTOUCHED))
        fail_msg("'%s' gave %d, %lld", r->text, result, (long long)value);
}

static void tables(void **state)
{
    int64_t v;

    (void)state;
    for (size_t i = 0; i < sizeof micros / sizeof micros[0]; i++) {
        v = UNTOUCHED;
        int result = num_micros(str_of(micros[i].text), false, &v);
        check_row(&micros[i], result, v);
    }
    for (size_t i = 0; i < sizeof strict / sizeof strict[0]; i++) {
        v = UNTOUCHED;
        int result = num_micros(str_of(strict[i].text), true, &v);
        check_row(&strict[i], result, v);
    }
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        v = UNTOUCHED;
        int result = num_integer(str_of(integers[i].text), 1000000, &v);
        check_row(&integers[i], result, v);
    }
    v = UNTOUCHED;
    assert_int_equal(num_micros(STR_NONE, false, &v), NUM_BAD);
    assert_int_equal(num_integer(STR_LIT("9223372036854775807"), INT64_MAX, &v), NUM_OK);
    assert_true(v == INT64_MAX);
    assert_int_equal(num_integer(STR_LIT("-9223372036854775807"), INT64_MAX, &v), NUM_OK);
    assert_true(v == -INT64_MAX);
    assert_int_equal(num_integer(STR_LIT("9223372036854775808"), INT64_MAX, &v), NUM_RANGE);
}

static void whole_numbers(void **state)
{
    uint64_t v = UNTOUCHED;

    (void)state;
    assert_int_equal(num_u64(STR_LIT("18446744073709551615"), &v), NUM_OK);
    assert_true(v == UINT64_MAX);
    v = UNTOUCHED;
    assert_int_equal(num_u64(STR_LIT("18446744073709551616"), &v), NUM_RANGE);
    assert_int_equal(num_u64(STR_LIT("99999999999999999999999999"), &v), NUM_RANGE);
    assert_int_equal(num_u64(STR_LIT("99999999999999999999999999x"), &v), NUM_BAD);
    assert_int_equal(num_u64(STR_LIT(""), &v), NUM_BAD);
    assert_int_equal(num_u64(STR_NONE, &v), NUM_BAD);
    assert_int_equal(num_u64(STR_LIT("-1"), &v), NUM_BAD);
    assert_int_equal(num_u64(STR_LIT("1.0"), &v), NUM_BAD);
    assert_true(v == UNTOUCHED);
    assert_int_equal(num_u64(STR_LIT("00"), &v), NUM_OK);
    assert_true(v == 0);
}

/* --- against 128-bit integers --- */

struct sample {
    bool negative;
    unsigned __int128 digits; /* up to 24 of them */
    int scale;                /* behind the point */
    int exponent;
    char text[100];
};

/* A random number and one of the ways to write it. */
static struct sample make_sample(uint64_t seed)
{
    struct sample s = {0};
    int n = 1 + (int)(next_random(&seed) % 24);
    char digits[25];

    for (int i = 0; i < n; i++) {
        static const char likely[] = "0123456789000555999";
        digits[i] = likely[next_random(&seed) % (sizeof likely - 1)];
        s.digits = 10 * s.digits + (unsigned)(digits[i] - '0');
    }
    s.negative = next_random(&seed) % 2;
    s.scale = (int)(next_random(&seed) % (uint64_t)n);
    s.exponent = next_random(&seed) % 3 ? 0 : (int)(next_random(&seed) % 25) - 12;
    int m = snprintf(s.text, sizeof s.text, "%s%.*s", s.negative ? "-" : "", n - s.scale, digits);
    if (s.scale)
        m += snprintf(s.text + m, sizeof s.text - (size_t)m, ".%.*s", s.scale, digits + n - s.scale);
    if (s.exponent)
        snprintf(s.text + m, sizeof s.text - (size_t)m, "e%d", s.exponent);
    return s;
}

/* digits x 10^power, in size, rounded; *whole says whether nothing was cut. At most 24 + 24 digits: cut at 10^30. */
static unsigned __int128 scaled(const struct sample *s, int decimals, enum num_round round, bool *whole)
{
    unsigned __int128 v = s->digits, divisor = 1;
    int power = s->exponent - s->scale + decimals;

    *whole = true;
    for (; power > 0; power--) {
        if (v > (unsigned __int128)1000000000000000 * 1000000000000000)
            return v;
        v *= 10;
    }
    for (; power < 0 && divisor <= v * 100; power++)
        divisor *= 10;
    unsigned __int128 rest = v % divisor;
    *whole = rest == 0;
    v /= divisor;
    if ((round == NUM_HALF_AWAY && rest * 2 >= divisor && rest > 0) || (round == NUM_FLOOR && s->negative && rest > 0))
        v++;
    return v;
}

static void check_sample(uint64_t seed, int decimals, enum num_round round, int64_t max)
{
    struct sample s = make_sample(seed);
    bool whole;
    unsigned __int128 want = scaled(&s, decimals, round, &whole);
    int64_t got = UNTOUCHED;
    int result = num_scaled(str_of(s.text), decimals, round, max, &got);
    int right = round == NUM_EXACT && !whole ? NUM_BAD : want > (unsigned __int128)max ? NUM_RANGE : NUM_OK;
    int64_t value = right != NUM_OK ? UNTOUCHED : s.negative ? -(int64_t)want : (int64_t)want;

    if (result != right || got != value)
        fail_msg("seed %llu: '%s' to %d decimals, rounding %d: got %d %lld, want %d %lld", (unsigned long long)seed,
                 s.text, decimals, round, result, (long long)got, right, (long long)value);
}

static void scaling_is_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 200000; seed++) {
        enum num_round round = (enum num_round)(seed % 4);
        check_sample(seed, 6, round, INT64_C(1000000000000000));
        check_sample(seed, 3, round, INT64_MAX);
        check_sample(seed, 0, round, 1000000);
    }
}

static void any_bytes_are_answered(void **state)
{
    static const char alphabet[] = "0123456789.-+eE x";

    (void)state;
    for (uint64_t seed = 0; seed < 200000; seed++) {
        uint64_t r = seed;
        size_t n = next_random(&r) % 12;
        char *text = malloc(n ? n : 1);
        int64_t loose = UNTOUCHED, tight = UNTOUCHED;
        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[next_random(&r) % (sizeof alphabet - 1)];
        int a = num_micros((struct str){text, n}, false, &loose);
        int b = num_micros((struct str){text, n}, true, &tight);
        /* What the strict form takes, the other takes too and alike. */
        if (b != NUM_BAD && (a != b || loose != tight))
            fail_msg("seed %llu", (unsigned long long)seed);
        free(text);
    }
}

static void long_numbers_are_quick(void **state)
{
    size_t n = 1 << 20;
    char *text = malloc(n);
    int64_t v;
    struct timespec from, to;

    (void)state;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    memset(text, '9', n);
    assert_int_equal(num_micros((struct str){text, n}, false, &v), NUM_RANGE);
    memset(text, '0', n);
    text[n - 1] = '7';
    assert_int_equal(num_micros((struct str){text, n}, false, &v), NUM_OK);
    assert_int_equal(v, 7000000);
    text[1] = '.';
    text[n - 9] = 'e'; /* 0.000…e00000007 */
    assert_int_equal(num_micros((struct str){text, n}, false, &v), NUM_OK);
    assert_int_equal(v, 0);
    text[n - 10] = '3';
    assert_int_equal(num_micros((struct str){text, n}, false, &v), NUM_OK);
    memcpy(text + n - 9, "e1048566", 8); /* the 3 stands 1048566 places behind the point */
    assert_int_equal(num_micros((struct str){text, n - 1}, false, &v), NUM_OK);
    assert_int_equal(num_micros(STR_LIT("1e999999999999"), false, &v), NUM_RANGE);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_true(to.tv_sec - from.tv_sec <= 1);
    free(text);
}

/* --- writing --- */

static const char *micros_text(struct buf *b, money v)
{
    buf_reset(b);
    num_write_micros(b, v);
    buf_add_char(b, '\0');
    return b->p;
}

static void amounts_are_written_shortest(void **state)
{
    struct buf b;
    money most = (money)(~(unsigned __int128)0 >> 1);

    (void)state;
    buf_init(&b, 1000);
    assert_string_equal(micros_text(&b, 0), "0");
    assert_string_equal(micros_text(&b, 5 * MICROS), "5");
    assert_string_equal(micros_text(&b, -5 * MICROS), "-5");
    assert_string_equal(micros_text(&b, 1), "0.000001");
    assert_string_equal(micros_text(&b, -1), "-0.000001");
    assert_string_equal(micros_text(&b, 120500000), "120.5");
    assert_string_equal(micros_text(&b, INT64_C(8300065814000)), "8300065.814");
    assert_string_equal(micros_text(&b, most), "170141183460469231731687303715884.105727");
    assert_string_equal(micros_text(&b, -most - 1), "-170141183460469231731687303715884.105728");
    buf_deinit(&b);
}

static void amounts_come_back(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (uint64_t seed = 0; seed < 50000; seed++) {
        uint64_t r = seed;
        int64_t v = (int64_t)(next_random(&r) % 1000000000000001) >> next_random(&r) % 50, back;
        if (seed % 2)
            v = -v;
        buf_reset(&b);
        num_write_micros(&b, v);
        assert_int_equal(num_micros(buf_str(&b), true, &back), NUM_OK);
        assert_true(back == v);
    }
    buf_deinit(&b);
}

static const char *double_text(struct buf *b, double v)
{
    buf_reset(b);
    num_write_double(b, v);
    buf_add_char(b, '\0');
    return b->p;
}

static void doubles_are_written_shortest(void **state)
{
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0, "0"},
                {-0.0, "0"},
                {5, "5"},
                {-2.5, "-2.5"},
                {0.1, "0.1"},
                {0.3, "0.3"},
                {0.1 + 0.2, "0.30000000000000004"},
                {1.0 / 3, "0.3333333333333333"},
                {100, "100"},
                {1234567.875, "1234567.875"},
                {1e20, "100000000000000000000"},
                {1e21, "1e21"},
                {1.5e21, "1.5e21"},
                {123456789012345680.0, "123456789012345680"},
                {1e-7, "0.0000001"},
                {1e-8, "1e-8"},
                {-1.25e-9, "-1.25e-9"},
                {5e-324, "5e-324"},
                {2.2250738585072014e-308, "2.2250738585072014e-308"},
                {1.7976931348623157e308, "1.7976931348623157e308"},
                {0x1p-44, "5.684341886080802e-14"}, /* the nearest text of 16 digits does not read back */
                {9007199254740993.0, "9007199254740992"},
                {INFINITY, "null"},
                {-INFINITY, "null"},
                {NAN, "null"}};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(double_text(&b, rows[i].v), rows[i].text);
    buf_deinit(&b);
}

static int significant(const char *text)
{
    int n = 0, zeros = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (n == 0 && *text == '0'))
            continue;
        n++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

static void doubles_come_back(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (uint64_t seed = 0; seed < 60000; seed++) {
        uint64_t r = seed, bits = next_random(&r);
        double v;
        char nearest[64];
        if (seed % 3 == 0)
            bits &= UINT64_C(0xfff0000000000000) | (seed % 9 == 0 ? 0 : 0xff); /* powers of two and next to them */
        if (seed % 3 == 1)
            v = (double)(int64_t)(bits >> 20) / 1000;
        else
            memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        const char *text = double_text(&b, v);
        if (strtod(text, NULL) != v)
            fail_msg("seed %llu: %.17g became %s", (unsigned long long)seed, v, text);
        snprintf(nearest, sizeof nearest, "%.*e", 15, v); /* 16 digits, if they do, are enough */
        if (strtod(nearest, NULL) == v && significant(text) > significant(nearest))
            fail_msg("seed %llu: %s is longer than %s", (unsigned long long)seed, text, nearest);
    }
    buf_deinit(&b);
}

static void integers_are_written(void **state)
{
    static const int64_t values[] = {0, 7, -7, 10, 1000000007, INT64_MAX, INT64_MIN};
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char want[32];
        buf_reset(&b);
        num_write_int(&b, values[i]);
        int n = snprintf(want, sizeof want, "%lld", (long long)values[i]);
        assert_int_equal(b.n, n);
        assert_memory_equal(b.p, want, b.n);
    }
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(whole_numbers),
        cmocka_unit_test(scaling_is_exact),
        cmocka_unit_test(any_bytes_are_answered),
        cmocka_unit_test(long_numbers_are_quick),
        cmocka_unit_test(amounts_are_written_shortest),
        cmocka_unit_test(amounts_come_back),
        cmocka_unit_test(integers_are_written),
        cmocka_unit_test(doubles_are_written_shortest),
        cmocka_unit_test(doubles_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
