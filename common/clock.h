/* Time: reading clocks, and the text of times. Everything pure takes a time as an argument; only programs and threads
 * read clocks. Milliseconds since 1970 UTC unless said otherwise. */
#ifndef WAYMARK_CLOCK_H
#define WAYMARK_CLOCK_H

#include <stdint.h>

#include "common/buf.h"
#include "common/str.h"

#define TIME_NONE INT64_MIN
#define TIME_SECOND INT64_C(1000)
#define TIME_MINUTE (60 * TIME_SECOND)
#define TIME_HOUR (60 * TIME_MINUTE)
#define TIME_DAY (24 * TIME_HOUR)

int64_t clock_now(void);       /* wall clock, may step */
int64_t clock_monotonic(void); /* ms since some moment, never steps; for deadlines */
int64_t clock_boot(void);      /* the same, and goes on while the machine sleeps; for what others rely on */

/* Reads ISO 8601: YYYY-MM-DD, with T or a space and HH:MM[:SS[.fraction]], with Z, +HH:MM, +HHMM, +HH or nothing (then
 * UTC). Digits of the fraction past milliseconds are cut off. The day must exist in its month; 24:00 and second 60 are
 * refused; years 0001 to 9999. Returns 0, or 1 when it is no such time. */
int time_parse(struct str text, int64_t *out);
/* From a JSON number: seconds since 1970 when below 10^11 in size, else milliseconds; fractions cut. Returns 0 or 1. */
int time_parse_epoch(struct str number, int64_t *out);
/* 2026-01-31T23:59:59.123Z; "null" without quotes is the caller's business. */
void time_write(struct buf *b, int64_t ms);
/* 500ms, 30m, 400d, 2h, 10s; a bare 0. Returns 0 or 1. */
int time_parse_duration(struct str text, int64_t *ms);

/* A time zone with its daylight saving, as a table, so that asking is pure and quick. */
struct zone;
/* `name` as in the tz database (Europe/London, UTC). NULL when there is none. Call before threads start. */
struct zone *zone_new(const char *name);
void zone_free(struct zone *z);
/* Milliseconds to add to UTC at that moment. */
int64_t zone_offset(const struct zone *z, int64_t ms);
/* Local hour 0-23 and weekday 1-7, Monday 1. */
void zone_hour_weekday(const struct zone *z, int64_t ms, int *hour, int *weekday);

#endif
