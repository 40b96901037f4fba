/* The rule by which a time zone goes on for ever, as POSIX writes it in the variable TZ. Pure. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/calendar.h"
#include "common/zone.h"

#define DAY_SECONDS 86400

/* The day of a year on which the clocks change, and the second of that day by the clock until then. */
struct change {
    char kind; /* M: month, week, weekday; J: day 1-365 without leap days; 0: day 0-365 */
    int month, week, weekday;
    int day;
    int64_t time;
};

struct rule {
    int64_t standard, summer; /* seconds to add to UTC */
    bool has_summer;
    struct change begin, end; /* of summer */
};

/* Moves past a number of 1 to 3 digits within the bounds. */
static bool read_number(const char **p, int least, int greatest, int *out)
{
    int v = 0, n = 0;

    for (; n < 3 && isdigit((unsigned char)**p); n++)
        v = 10 * v + (*(*p)++ - '0');
    *out = v;
    return n > 0 && v >= least && v <= greatest;
}

/* The name of a zone: three letters or more, or anything between < and >. It is not kept. */
static bool skip_name(const char **p)
{
    const char *from = *p;

    if (**p == '<') {
        const char *close = strchr(*p, '>');
        if (!close)
            return false;
        *p = close + 1;
        return true;
    }
    while (isalpha((unsigned char)**p))
        ++*p;
    return *p - from >= 3;
}

/* [+-]h[:mm[:ss]] in seconds. */
static bool read_clock_time(const char **p, int64_t *out)
{
    int sign = **p == '-' ? -1 : 1, hours, minutes = 0, seconds = 0;

    if (**p == '-' || **p == '+')
        ++*p;
    if (!read_number(p, 0, 167, &hours))
        return false;
    if (**p == ':') {
        ++*p;
        if (!read_number(p, 0, 59, &minutes))
            return false;
    }
    if (**p == ':') {
        ++*p;
        if (!read_number(p, 0, 59, &seconds))
            return false;
    }
    *out = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool read_month_rule(const char **p, struct change *c)
{
    if (!read_number(p, 1, 12, &c->month) || *(*p)++ != '.')
        return false;
    if (!read_number(p, 1, 5, &c->week) || *(*p)++ != '.')
        return false;
    return read_number(p, 0, 6, &c->weekday);
}

/* ,date[/time] */
static bool read_change(const char **p, struct change *c)
{
    bool good;

    *c = (struct change){.time = 2 * 3600};
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M' || **p == 'J')
        c->kind = *(*p)++;
    if (c->kind == 'M')
        good = read_month_rule(p, c);
    else
        good = read_number(p, c->kind == 'J' ? 1 : 0, 365, &c->day);
    if (good && **p == '/') {
        ++*p;
        good = read_clock_time(p, &c->time);
    }
    return good;
}

static bool read_rule(const char *p, struct rule *r)
{
    int64_t west;

    *r = (struct rule){0};
    if (!skip_name(&p) || !read_clock_time(&p, &west))
        return false;
    r->standard = -west;
    if (*p == '\0')
        return true;
    r->has_summer = true;
    r->summer = r->standard + 3600;
    if (!skip_name(&p))
        return false;
    if (*p != ',') {
        if (!read_clock_time(&p, &west))
            return false;
        r->summer = -west;
    }
    /* Without dates the change is the local law of nobody: such a rule stands in no zone's file. */
    return read_change(&p, &r->begin) && read_change(&p, &r->end) && *p == '\0';
}

/* Days from 1970 of the change's day in that year. */
static int64_t change_day(const struct change *c, int64_t year)
{
    int64_t first = calendar_days(year, 1, 1);

    if (c->kind == 'J') {
        bool leap = calendar_month_days(year, 2) == 29;
        return first + c->day - 1 + (leap && c->day >= 60);
    }
    if (c->kind != 'M')
        return first + c->day;

    first = calendar_days(year, c->month, 1);
    int64_t weekday = floor_rest(first + 4, 7); /* 1970-01-01 was a Thursday, 4 */
    int64_t day = (c->weekday - weekday + 7) % 7 + 7 * (c->week - 1);
    while (day >= calendar_month_days(year, c->month)) /* the fifth is the last */
        day -= 7;
    return first + day;
}

static int by_time(const void *a, const void *b)
{
    const struct zone_step *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

int zone_rule_steps(const char *rule, int64_t from, int64_t to, struct zone_step *out, size_t room)
{
    struct rule r;
    size_t n = 0;

    if (!read_rule(rule, &r))
        return -1;
    if (!r.has_summer) {
        if (room < 1)
            return -1;
        out[0] = (struct zone_step){calendar_days(from, 1, 1) * DAY_SECONDS, r.standard};
        return 1;
    }
    for (int64_t year = from; year < to; year++) {
        if (room - n < 2)
            return -1;
        /* Each moment is told by the clock that goes until then. */
        out[n++] = (struct zone_step){change_day(&r.begin, year) * DAY_SECONDS + r.begin.time - r.standard, r.summer};
        out[n++] = (struct zone_step){change_day(&r.end, year) * DAY_SECONDS + r.end.time - r.summer, r.standard};
    }
    qsort(out, n, sizeof *out, by_time);
    return (int)n;
}
