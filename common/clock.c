/* Clocks, and the text of times and durations. All but the two clocks is pure; the calendar is the proleptic Gregorian
 * one, counted in days since 1970-01-01. */
#include "common/clock.h"

#include <assert.h>
#include <stdbool.h>
#include <time.h>

#include "common/calendar.h"
#include "common/num.h"
#include "common/num_text.h"

#define FIRST_MS (INT64_C(-62135596800) * TIME_SECOND)    /* 0001-01-01 */
#define LAST_MS (INT64_C(253402300800) * TIME_SECOND - 1) /* the end of 9999 */
#define EPOCH_SECONDS_BELOW INT64_C(100000000000)         /* 10^11: year 5138 in seconds, 1973 in milliseconds */

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    int result = clock_gettime(id, &t);

    assert(result == 0);
    (void)result;
    return (int64_t)t.tv_sec * TIME_SECOND + t.tv_nsec / 1000000;
}

int64_t clock_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t clock_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_boot(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

/* Years begin in March here, so that the leap day is the last one of a year; 400 years are 146097 days. */
int64_t calendar_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void calendar_date(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t d = z - era * 146097;
    int64_t y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
    int64_t of_year = d - (365 * y + y / 4 - y / 100);
    int64_t m = (5 * of_year + 2) / 153;

    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = y + era * 400 + (*month <= 2);
}

int calendar_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    assert(month >= 1 && month <= 12);
    return month == 2 && leap ? 29 : days[month - 1];
}

/* A reader of the text: each step that does not fit makes it fail for good. */
struct scan {
    const char *p, *end;
    bool bad;
};

/* Exactly `n` digits whose value lies between the two. */
static int scan_number(struct scan *s, int n, int least, int greatest)
{
    int v = 0;

    if (s->end - s->p < n)
        s->bad = true;
    for (int i = 0; i < n && !s->bad; i++, s->p++) {
        if (*s->p < '0' || *s->p > '9')
            s->bad = true;
        else
            v = 10 * v + (*s->p - '0');
    }
    if (v < least || v > greatest)
        s->bad = true;
    return v;
}

static bool scan_if(struct scan *s, const char *any_of)
{
    if (s->bad || s->p == s->end || *s->p == '\0' || !strchr(any_of, *s->p))
        return false;
    s->p++;
    return true;
}

static void scan_must(struct scan *s, const char *any_of)
{
    if (!scan_if(s, any_of))
        s->bad = true;
}

static int64_t scan_date(struct scan *s)
{
    int year = scan_number(s, 4, 1, 9999);
    scan_must(s, "-");
    int month = scan_number(s, 2, 1, 12);
    scan_must(s, "-");
    int day = scan_number(s, 2, 1, 31);

    if (s->bad || day > calendar_month_days(year, month)) {
        s->bad = true;
        return 0;
    }
    return calendar_days(year, month, day) * TIME_DAY;
}

/* The digits behind the point: three count, the rest must only be digits. */
static int64_t scan_fraction(struct scan *s)
{
    int64_t ms = 0, unit = 100;

    ms += unit * scan_number(s, 1, 0, 9);
    while (!s->bad && s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        unit /= 10;
        ms += unit * (*s->p++ - '0');
    }
    return ms;
}

static int64_t scan_time_of_day(struct scan *s)
{
    int64_t ms = scan_number(s, 2, 0, 23) * TIME_HOUR;

    scan_must(s, ":");
    ms += scan_number(s, 2, 0, 59) * TIME_MINUTE;
    if (scan_if(s, ":")) {
        ms += scan_number(s, 2, 0, 59) * TIME_SECOND;
        if (scan_if(s, "."))
            ms += scan_fraction(s);
    }
    return ms;
}

static int64_t scan_offset(struct scan *s)
{
    if (s->p == s->end || scan_if(s, "Zz"))
        return 0;
    bool west = *s->p == '-';
    scan_must(s, "+-");
    int64_t ms = scan_number(s, 2, 0, 23) * TIME_HOUR;
    if (scan_if(s, ":") || s->p < s->end)
        ms += scan_number(s, 2, 0, 59) * TIME_MINUTE;
    return west ? -ms : ms;
}

int time_parse(struct str text, int64_t *out)
{
    struct scan s = {.p = text.p, .end = str_end(text)};
    int64_t ms = scan_date(&s);

    if (!s.bad && s.p < s.end) {
        scan_must(&s, "Tt ");
        ms += scan_time_of_day(&s);
        if (!s.bad)
            ms -= scan_offset(&s);
    }
    /* An offset may lead out of the years that can be written. */
    if (s.bad || s.p != s.end || ms < FIRST_MS || ms > LAST_MS)
        return 1;
    *out = ms;
    return 0;
}

int time_parse_epoch(struct str number, int64_t *out)
{
    int64_t ms;

    /* Both are cut towards the past, as the digits of an ISO time are: one moment is one time however it is written. */
    if (num_scaled(number, 3, NUM_CUT, EPOCH_SECONDS_BELOW * TIME_SECOND - 1, &ms) == NUM_OK) {
        if (num_scaled(number, 3, NUM_FLOOR, INT64_MAX, &ms) != NUM_OK)
            return 1;
    } else if (num_scaled(number, 0, NUM_FLOOR, LAST_MS, &ms) != NUM_OK) {
        return 1;
    }
    if (ms < FIRST_MS || ms > LAST_MS)
        return 1;
    *out = ms;
    return 0;
}

static char *put_digits(char *p, int64_t v, int n)
{
    for (int i = n - 1; i >= 0; i--, v /= 10)
        p[i] = (char)('0' + v % 10);
    return p + n;
}

void time_write(struct buf *b, int64_t ms)
{
    char text[40], *p = text;
    int64_t days = floor_div(ms, TIME_DAY), of_day = floor_rest(ms, TIME_DAY), year;
    int month, day;

    assert(ms != TIME_NONE);
    calendar_date(days, &year, &month, &day);
    if (year >= 0 && year <= 9999) {
        p = put_digits(p, year, 4);
    } else { /* as JavaScript writes it, wider where it must be */
        *p++ = year < 0 ? '-' : '+';
        p = put_digits(p, year < 0 ? -year : year, year > -1000000 && year < 1000000 ? 6 : 9);
    }
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, of_day / TIME_HOUR, 2);
    *p++ = ':';
    p = put_digits(p, of_day / TIME_MINUTE % 60, 2);
    *p++ = ':';
    p = put_digits(p, of_day / TIME_SECOND % 60, 2);
    *p++ = '.';
    p = put_digits(p, of_day % TIME_SECOND, 3);
    *p++ = 'Z';
    buf_add(b, text, (size_t)(p - text));
}

int time_parse_duration(struct str text, int64_t *ms)
{
    static const struct {
        struct str unit;
        int64_t ms;
    } units[] = {{{"ms", sizeof "ms" - 1}, 1},
                 {{"s", sizeof "s" - 1}, TIME_SECOND},
                 {{"m", sizeof "m" - 1}, TIME_MINUTE},
                 {{"h", sizeof "h" - 1}, TIME_HOUR},
                 {{"d", sizeof "d" - 1}, TIME_DAY}};
    size_t digits = 0;
    uint64_t v;

    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (num_u64((struct str){text.p, digits}, &v) != NUM_OK)
        return 1;
    if (digits == text.n && v == 0) {
        *ms = 0;
        return 0;
    }
    struct str unit = {text.p + digits, text.n - digits};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!str_eq(unit, units[i].unit))
            continue;
        if (v > (uint64_t)(INT64_MAX / units[i].ms))
            return 1;
        *ms = (int64_t)v * units[i].ms;
        return 0;
    }
    return 1;
}
