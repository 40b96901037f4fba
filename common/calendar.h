/* Days and dates, for clock.c and zone.c. Pure. */
#ifndef WAYMARK_CALENDAR_H
#define WAYMARK_CALENDAR_H

#include <stdint.h>

/* Towards minus infinity; `b` above 0. */
static inline int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* What floor_div leaves: 0 to b - 1. */
static inline int64_t floor_rest(int64_t a, int64_t b)
{
    return a % b + (a % b < 0 ? b : 0);
}

/* Days from 1970-01-01 to a date that exists, and back. */
int64_t calendar_days(int64_t year, int month, int day);
void calendar_date(int64_t days, int64_t *year, int *month, int *day);
int calendar_month_days(int64_t year, int month);

#endif
