/* Times, durations and time zones, against tables and against libc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "common/calendar.h"
#include "common/clock.h"
#include "common/zone.h"

#define UNTOUCHED INT64_C(42424242)

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* The moment as it is written back; NULL: refused. */
static const struct {
    const char *text, *back;
} times[] = {
    {"1970-01-01", "1970-01-01T00:00:00.000Z"},
    {"2026-01-31", "2026-01-31T00:00:00.000Z"},
    {"2026-01-31T23:59", "2026-01-31T23:59:00.000Z"},
    {"2026-01-31T23:59:58", "2026-01-31T23:59:58.000Z"},
    {"2026-01-31 23:59:58", "2026-01-31T23:59:58.000Z"},
    {"2026-01-31t23:59:58z", "2026-01-31T23:59:58.000Z"},
    {"2026-01-31T23:59:59.1Z", "2026-01-31T23:59:59.100Z"},
    {"2026-01-31T23:59:59.12", "2026-01-31T23:59:59.120Z"},
    {"2026-01-31T23:59:59.123Z", "2026-01-31T23:59:59.123Z"},
    {"2026-01-31T23:59:59.1239999999999999999999999Z", "2026-01-31T23:59:59.123Z"},
    {"2026-01-31T23:59:59.9999999Z", "2026-01-31T23:59:59.999Z"},
    {"1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"},
    {"1960-02-29T00:00:00.0009Z", "1960-02-29T00:00:00.000Z"},
    {"2026-01-31T23:59:59+00:00", "2026-01-31T23:59:59.000Z"},
    {"2026-01-31T23:59:59-00:00", "2026-01-31T23:59:59.000Z"},
    {"2026-01-31T23:59:59+05:30", "2026-01-31T18:29:59.000Z"},
    {"2026-01-31T23:59:59.5-0330", "2026-02-01T03:29:59.500Z"},
    {"2026-01-31T23:59+01", "2026-01-31T22:59:00.000Z"},
    {"2026-01-01T00:30+14:00", "2025-12-31T10:30:00.000Z"},
    {"2024-02-29", "2024-02-29T00:00:00.000Z"},
    {"2000-02-29T12:00Z", "2000-02-29T12:00:00.000Z"},
    {"2024-12-31T23:59:59.999Z", "2024-12-31T23:59:59.999Z"},
    {"0001-01-01", "0001-01-01T00:00:00.000Z"},
    {"9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"},
    {"2026-02-30", NULL},
    {"2026-02-30T10:00:00Z", NULL},
    {"2026-02-29", NULL},
    {"1900-02-29", NULL},
    {"2026-04-31", NULL},
    {"2026-00-10", NULL},
    {"2026-13-10", NULL},
    {"2026-01-00", NULL},
    {"2026-01-32", NULL},
    {"0000-01-01", NULL},
    {"10000-01-01", NULL},
    {"-2026-01-01", NULL},
    {"+002026-01-01", NULL},
    {"26-01-01", NULL},
    {"2026-1-1", NULL},
    {"2026-01", NULL},
    {"2026", NULL},
    {"20260131", NULL},
    {"2026/01/31", NULL},
    {"2026-01-31T", NULL},
    {"2026-01-31T1", NULL},
    {"2026-01-31T12", NULL},
    {"2026-01-31T12:", NULL},
    {"2026-01-31T12:00:", NULL},
    {"2026-01-31T24:00", NULL},
    {"2026-01-31T24:00:00Z", NULL},
    {"2026-01-31T23:60", NULL},
    {"2026-12-31T23:59:60Z", NULL},
    {"2026-01-31T12:00:00.", NULL},
    {"2026-01-31T12:00:00.Z", NULL},
    {"2026-01-31T12:00:00,5", NULL},
    {"2026-01-31T12:00.5", NULL},
    {"2026-01-31T12:00:00ZZ", NULL},
    {"2026-01-31T12:00:00 Z", NULL},
    {"2026-01-31Z", NULL},
    {"2026-01-31+01:00", NULL},
    {"2026-01-31T12:00:00+1", NULL},
    {"2026-01-31T12:00:00+01:", NULL},
    {"2026-01-31T12:00:00+01:0", NULL},
    {"2026-01-31T12:00:00+01:000", NULL},
    {"2026-01-31T12:00:00+24:00", NULL},
    {"2026-01-31T12:00:00+01:60", NULL},
    {"2026-01-31T12:00:00+-1:00", NULL},
    {"0001-01-01T00:00+01:00", NULL},
    {"9999-12-31T23:59:59-00:01", NULL},
    {" 2026-01-31", NULL},
    {"2026-01-31 ", NULL},
    {"2026-01-31  12:00", NULL},
    {"now", NULL},
    {"", NULL},
};

static void times_by_table(void **state)
{
    struct buf b;
    int64_t v;

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        v = UNTOUCHED;
        int result = time_parse(str_of(times[i].text), &v);
        if (!times[i].back) {
            if (result != 1 || v != UNTOUCHED)
                fail_msg("'%s' was taken", times[i].text);
            continue;
        }
        buf_reset(&b);
        time_write(&b, v);
        if (result != 0 || !str_is(buf_str(&b), times[i].back))
            fail_msg("'%s' became %d %.*s", times[i].text, result, STR_ARG(buf_str(&b)));
    }
    assert_int_equal(time_parse(STR_NONE, &v), 1);
    assert_int_equal(time_parse((struct str){"2026-01-31T12:00:00\0", 20}, &v), 1);
    buf_deinit(&b);
}

static void every_day_comes_back(void **state)
{
    struct buf b;
    int64_t year = 1, v;
    int month = 1, day = 1;

    (void)state;
    buf_init(&b, 100);
    for (int64_t d = calendar_days(1, 1, 1); d <= calendar_days(9999, 12, 31); d++) {
        int64_t y;
        int m, a;
        calendar_date(d, &y, &m, &a);
        assert_true(y == year && m == month && a == day);
        assert_true(calendar_days(y, m, a) == d);
        if (d % 97 == 0) {
            buf_reset(&b);
            time_write(&b, d * TIME_DAY + 12345678);
            assert_int_equal(time_parse(buf_str(&b), &v), 0);
            assert_true(v == d * TIME_DAY + 12345678);
        }
        if (++day > calendar_month_days(year, month)) {
            day = 1;
            month = month % 12 + 1;
            year += month == 1;
        }
    }
    buf_deinit(&b);
}

static void any_time_is_written(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    time_write(&b, INT64_MAX);
    assert_true(str_is(buf_str(&b), "+292278994-08-17T07:12:55.807Z"));
    buf_reset(&b);
    time_write(&b, INT64_MIN + 1);
    assert_true(str_is(buf_str(&b), "-292275055-05-16T16:47:04.193Z"));
    buf_reset(&b);
    time_write(&b, INT64_C(253402300800000));
    assert_true(str_is(buf_str(&b), "+010000-01-01T00:00:00.000Z"));
    buf_deinit(&b);
}

static void any_text_is_answered(void **state)
{
    static const char alphabet[] = "0123456789-:T .Z+";
    static const char good[] = "2026-01-31T23:59:59.123+05:30";

    (void)state;
    for (uint64_t seed = 0; seed < 200000; seed++) {
        uint64_t r = seed;
        size_t n = next_random(&r) % sizeof good;
        char *text = malloc(n ? n : 1); /* exact, so that a sanitizer sees a read past it */
        struct buf b;
        int64_t v, back;
        memcpy(text, good, n);
        for (int i = (int)(next_random(&r) % 4); i > 0 && n > 0; i--)
            text[next_random(&r) % n] = alphabet[next_random(&r) % (sizeof alphabet - 1)];
        if (time_parse((struct str){text, n}, &v) == 0) {
            buf_init(&b, 100);
            time_write(&b, v);
            assert_int_equal(time_parse(buf_str(&b), &back), 0);
            assert_true(back == v);
            buf_deinit(&b);
        }
        free(text);
    }
}

static void epochs_by_table(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t ms;
    } rows[] = {{"0", 0, 0},
                {"1700000000", 0, 1700000000000},
                {"1700000000.1239", 0, 1700000000123},
                {"1.7e9", 0, 1700000000000},
                {"1700000000123", 0, 1700000000123},
                {"1700000000123.9", 0, 1700000000123},
                {"1.700000000123e12", 0, 1700000000123},
                {"99999999999", 0, 99999999999000},
                {"99999999999.9999", 0, 99999999999999},
                {"100000000000", 0, 100000000000},
                {"-1", 0, -1000},
                {"-0.0001", 0, -1},
                {"-1.5", 0, -1500},
                {"-100000000000", 0, -100000000000},
                {"-100000000000.5", 0, -100000000001},
                {"253402300799999", 0, 253402300799999},
                {"253402300800000", 1, 0},
                {"-62135596800", 0, -62135596800000},
                {"-62135596801", 1, 0},
                {"1e300", 1, 0},
                {"-1e300", 1, 0},
                {"1e-400", 0, 0},
                {"", 1, 0},
                {"now", 1, 0},
                {"12:00", 1, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t v = UNTOUCHED;
        int result = time_parse_epoch(str_of(rows[i].text), &v);
        if (result != rows[i].result || v != (result ? UNTOUCHED : rows[i].ms))
            fail_msg("'%s' gave %d %lld", rows[i].text, result, (long long)v);
    }
}

static void durations_by_table(void **state)
{
    static const struct {
        const char *text;
        int result;
        int64_t ms;
    } rows[] = {{"500ms", 0, 500},
                {"10s", 0, 10000},
                {"30m", 0, 1800000},
                {"2h", 0, 7200000},
                {"400d", 0, INT64_C(34560000000)},
                {"0", 0, 0},
                {"00", 0, 0},
                {"0d", 0, 0},
                {"106751991167d", 0, INT64_C(9223372036828800000)},
                {"106751991168d", 1, 0},
                {"99999999999999999999s", 1, 0},
                {"30", 1, 0},
                {"30parsecs", 1, 0},
                {"30M", 1, 0},
                {"1.5h", 1, 0},
                {"-1s", 1, 0},
                {"m", 1, 0},
                {"30 m", 1, 0},
                {"30m ", 1, 0},
                {"1h30m", 1, 0},
                {"", 1, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t v = UNTOUCHED;
        int result = time_parse_duration(str_of(rows[i].text), &v);
        if (result != rows[i].result || v != (result ? UNTOUCHED : rows[i].ms))
            fail_msg("'%s' gave %d %lld", rows[i].text, result, (long long)v);
    }
}

static void clocks_go_forward(void **state)
{
    int64_t before = clock_monotonic(), now = clock_now();

    (void)state;
    assert_true(clock_monotonic() >= before);
    assert_true(now > INT64_C(1700000000000));
}

/* --- zones --- */

/* Northern and southern summers, half hours, a summer of half an hour, negative summers, a day left out, a zone that
 * changed its mind twice a year for Ramadan, none at all. */
static const char *const zones[] = {
    "Europe/London", "America/New_York",  "Australia/Sydney",    "Asia/Shanghai",     "Asia/Kolkata",
    "UTC",           "America/Sao_Paulo", "Pacific/Apia",        "Africa/Casablanca", "Antarctica/Troll",
    "America/Nuuk",  "Europe/Dublin",     "Australia/Lord_Howe", "Asia/Kathmandu",    "Etc/GMT+5"};

static void zones_agree_with_libc(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        struct zone *z = zone_new(zones[i]);
        uint64_t seed = i;
        assert_non_null(z);
        setenv("TZ", zones[i], 1);
        tzset();
        for (int k = 0; k < 20000; k++) {
            /* 1900 to 2100, and now and then to 3900 */
            uint64_t span = k % 8 ? UINT64_C(6311433600) : UINT64_C(63000000000);
            time_t t = (time_t)(next_random(&seed) % span) - 2208988800;
            struct tm tm;
            int hour, weekday;
            localtime_r(&t, &tm);
            zone_hour_weekday(z, (int64_t)t * 1000 + 999, &hour, &weekday);
            if (zone_offset(z, (int64_t)t * 1000) != tm.tm_gmtoff * 1000 || hour != tm.tm_hour ||
                weekday != (tm.tm_wday ? tm.tm_wday : 7))
                fail_msg("%s at %lld: %lld, not %ld", zones[i], (long long)t, (long long)zone_offset(z, t * 1000),
                         tm.tm_gmtoff);
        }
        zone_free(z);
    }
    unsetenv("TZ");
    tzset();
}

static void london_changes_at_one(void **state)
{
    struct zone *z = zone_new("Europe/London");
    int64_t spring, autumn;

    (void)state;
    assert_non_null(z);
    time_parse(STR_LIT("2026-03-29T01:00Z"), &spring);
    time_parse(STR_LIT("2026-10-25T01:00Z"), &autumn);
    assert_int_equal(zone_offset(z, spring - 1), 0);
    assert_int_equal(zone_offset(z, spring), TIME_HOUR);
    assert_int_equal(zone_offset(z, autumn - 1), TIME_HOUR);
    assert_int_equal(zone_offset(z, autumn), 0);
    /* By the rule at the file's end, past its table and past the cycle. */
    time_parse(STR_LIT("2099-07-01"), &spring);
    assert_int_equal(zone_offset(z, spring), TIME_HOUR);
    time_parse(STR_LIT("9999-12-31"), &spring);
    assert_int_equal(zone_offset(z, spring), 0);
    time_parse(STR_LIT("9999-07-01"), &spring);
    assert_int_equal(zone_offset(z, spring), TIME_HOUR);
    zone_free(z);
}

static void unknown_zones_are_refused(void **state)
{
    static const char *const names[] = {
        "",         "Nowhere/City",   "../etc/passwd", "/etc/localtime",          "Europe",  "right/UTC", "tzdata.zi",
        "zone.tab", "Europe/London ", "GBP0",          "Europe/../Europe/London", "europe\n"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (zone_new(names[i]))
            fail_msg("'%s' was taken", names[i]);
    zone_free(NULL);
}

static void utc_needs_no_database(void **state)
{
    int hour, weekday;

    (void)state;
    setenv("TZDIR", "/nonexistent", 1);
    struct zone *z = zone_new("UTC");
    assert_non_null(z);
    assert_null(zone_new("Europe/London"));
    unsetenv("TZDIR");
    assert_int_equal(zone_offset(z, INT64_C(1700000000000)), 0);
    zone_hour_weekday(z, 0, &hour, &weekday);
    assert_true(hour == 0 && weekday == 4);
    zone_hour_weekday(z, -1, &hour, &weekday);
    assert_true(hour == 23 && weekday == 3);
    zone_hour_weekday(NULL, INT64_C(1769990400000), &hour, &weekday); /* 2026-02-02, a Monday */
    assert_true(hour == 0 && weekday == 1);
    zone_free(z);
}

static void rules_are_read_or_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "X1",
                                      "GMT",
                                      "GMT0BST",
                                      "GMT0BST,M3.5.0",
                                      "GMT0BST,M3.6.0,M10.5.0",
                                      "GMT0BST,M13.5.0,M10.5.0",
                                      "GMT0BST,J0,J5",
                                      "GMT0BST,M3.5.0/1,M10.5.0x",
                                      "GMT0BST,M3.5.0/200,M10.5.0",
                                      "<+03-3",
                                      "GMT0:60"};
    struct zone_step steps[10];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (zone_rule_steps(bad[i], 2026, 2027, steps, 10) != -1)
            fail_msg("'%s' was taken", bad[i]);
    assert_int_equal(zone_rule_steps("<+0545>-5:45", 2026, 2030, steps, 10), 1);
    assert_int_equal(steps[0].offset, 5 * 3600 + 45 * 60);
    assert_int_equal(zone_rule_steps("A-1B,M3.5.0,M10.5.0", 2026, 2030, steps, 7), -1);        /* too short a name */
    assert_int_equal(zone_rule_steps("CET-1CEST,M3.5.0,M10.5.0/3", 2026, 2030, steps, 7), -1); /* no room */
    assert_int_equal(zone_rule_steps("CET-1CEST,M3.5.0,M10.5.0/3", 2026, 2030, steps, 10), 8);
    assert_int_equal(steps[0].at, INT64_C(1774746000)); /* 2026-03-29T01:00Z */
    assert_int_equal(steps[0].offset, 7200);
    /* Days of the year, with and without 29 February. */
    assert_int_equal(zone_rule_steps("AAA0BBB,J60/0,365/0", 2024, 2025, steps, 10), 2);
    assert_int_equal(steps[0].at, calendar_days(2024, 3, 1) * 86400);
    assert_int_equal(steps[1].at, calendar_days(2024, 12, 31) * 86400 - 3600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_by_table),        cmocka_unit_test(every_day_comes_back),
        cmocka_unit_test(any_time_is_written),   cmocka_unit_test(any_text_is_answered),
        cmocka_unit_test(epochs_by_table),       cmocka_unit_test(durations_by_table),
        cmocka_unit_test(clocks_go_forward),     cmocka_unit_test(zones_agree_with_libc),
        cmocka_unit_test(london_changes_at_one), cmocka_unit_test(unknown_zones_are_refused),
        cmocka_unit_test(utc_needs_no_database), cmocka_unit_test(rules_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
