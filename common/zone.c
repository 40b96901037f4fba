/* Time zones: a table of steps read once from the tz database's compiled files (TZif, RFC 8536), continued by the rule
 * at the file's end over one whole cycle of the calendar, 400 years, which then repeats. zone_new reads a file; the
 * rest is pure. */
#include "common/zone.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/calendar.h"
#include "common/clock.h"

#define FILE_BYTES (256 * 1024)
#define HEAD_BYTES 44
#define STEPS_OF_FILE 4096
#define CYCLE_YEARS 400
#define CYCLE_SECONDS (INT64_C(146097) * 86400)
#define STEPS_OF_RULE (2 * (CYCLE_YEARS + 2))

struct zone {
    int64_t first_offset; /* before the first step */
    int64_t cycle_end;    /* seconds from which on the steps of the cycle before repeat */
    size_t n;
    struct zone_step steps[];
};

/* A part of a TZif file, with what its head says. */
struct block {
    const unsigned char *p;
    size_t width; /* bytes of a time */
    uint32_t utc_n, standard_n, leap_n, time_n, type_n, char_n;
};

static uint32_t be32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t read_time(const unsigned char *p, size_t width)
{
    if (width == 4)
        return (int32_t)be32(p);
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static size_t block_bytes(const struct block *b)
{
    return (size_t)b->time_n * (b->width + 1) + (size_t)b->type_n * 6 + b->char_n + (size_t)b->leap_n * (b->width + 4) +
           b->standard_n + b->utc_n;
}

/* Reads the head at *p and steps over the block; false when it does not fit. */
static bool read_block(const unsigned char **p, const unsigned char *end, size_t width, struct block *b)
{
    const unsigned char *h = *p;

    if (end - h < HEAD_BYTES || memcmp(h, "TZif", 4) != 0)
        return false;
    *b = (struct block){.p = h + HEAD_BYTES, .width = width};
    b->utc_n = be32(h + 20);
    b->standard_n = be32(h + 24);
    b->leap_n = be32(h + 28);
    b->time_n = be32(h + 32);
    b->type_n = be32(h + 36);
    b->char_n = be32(h + 40);
    if (b->time_n > STEPS_OF_FILE || b->type_n == 0 || b->type_n > 256 || (size_t)(end - b->p) < block_bytes(b))
        return false;
    *p = b->p + block_bytes(b);
    return true;
}

static int64_t type_offset(const struct block *b, unsigned type)
{
    return (int32_t)be32(b->p + (size_t)b->time_n * (b->width + 1) + 6 * (size_t)type);
}

static bool take_steps(struct zone *z, const struct block *b)
{
    const unsigned char *types = b->p + (size_t)b->time_n * b->width;

    z->first_offset = type_offset(b, 0);
    for (uint32_t i = 0; i < b->time_n; i++) {
        struct zone_step s = {.at = read_time(b->p + i * b->width, b->width)};
        if (types[i] >= b->type_n || (z->n > 0 && s.at <= z->steps[z->n - 1].at))
            return false;
        s.offset = type_offset(b, types[i]);
        z->steps[z->n++] = s;
    }
    return true;
}

static int64_t year_of(int64_t seconds)
{
    int64_t year;
    int month, day;

    calendar_date(floor_div(seconds, 86400), &year, &month, &day);
    return year;
}

/* Continues the table by the rule between the two newlines at the end of the file. */
static bool take_rule(struct zone *z, const unsigned char *p, const unsigned char *end)
{
    char rule[128];
    const unsigned char *stop = p < end && *p == '\n' ? memchr(p + 1, '\n', (size_t)(end - p - 1)) : NULL;

    if (!stop || (size_t)(stop - p) > sizeof rule)
        return false;
    size_t n = (size_t)(stop - p - 1);
    memcpy(rule, p + 1, n);
    rule[n] = '\0';
    if (n == 0) /* the last offset holds for ever */
        return true;

    int64_t last = z->n > 0 ? z->steps[z->n - 1].at : INT64_MIN;
    int64_t from = z->n > 0 ? year_of(last) : 1970;
    struct zone_step *steps = z->steps + z->n;
    int count = zone_rule_steps(rule, from, from + CYCLE_YEARS + 2, steps, STEPS_OF_RULE);
    if (count < 0)
        return false;
    /* A rule without summer only says what the last step did. */
    if (count == 1 && z->n > 0)
        return true;
    int skip = 0;
    while (skip < count && steps[skip].at <= last)
        skip++;
    memmove(steps, steps + skip, (size_t)(count - skip) * sizeof *steps);
    z->n += (size_t)(count - skip);
    if (count > 1)
        z->cycle_end = calendar_days(from + CYCLE_YEARS + 1, 1, 1) * 86400;
    return true;
}

static struct zone *zone_alloc(size_t room)
{
    struct zone *z = calloc(1, sizeof *z + room * sizeof z->steps[0]);

    if (z)
        z->cycle_end = INT64_MAX;
    return z;
}

static struct zone *zone_read(const unsigned char *p, size_t size)
{
    const unsigned char *end = p + size;
    struct block b;
    bool good = read_block(&p, end, 4, &b);

    if (!good)
        return NULL;
    bool modern = p[-(ptrdiff_t)block_bytes(&b) - HEAD_BYTES + 4] >= '2';
    if (modern && !read_block(&p, end, 8, &b))
        return NULL;
    if (b.leap_n > 0) /* "right/…": its seconds are not those of our clocks */
        return NULL;
    struct zone *z = zone_alloc((size_t)b.time_n + STEPS_OF_RULE);
    if (z && (!take_steps(z, &b) || (modern && !take_rule(z, p, end)))) {
        free(z);
        return NULL;
    }
    return z;
}

/* Names go into a path: only what names of the tz database are made of. */
static bool good_name(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > 64 || name[0] == '/' || strstr(name, ".."))
        return false;
    return strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/") == n;
}

static struct zone *zone_load(const char *name)
{
    const char *folder = getenv("TZDIR");
    char path[1024];
    struct zone *z = NULL;

    int n = snprintf(path, sizeof path, "%s/%s", folder && *folder ? folder : "/usr/share/zoneinfo", name);
    if (n < 0 || (size_t)n >= sizeof path)
        return NULL;
    FILE *f = fopen(path, "rb");
    if (!f)
        return NULL;
    unsigned char *bytes = malloc(FILE_BYTES);
    if (bytes)
        z = zone_read(bytes, fread(bytes, 1, FILE_BYTES, f));
    free(bytes);
    fclose(f);
    return z;
}

struct zone *zone_new(const char *name)
{
    if (!good_name(name))
        return NULL;
    /* These need no database. */
    if (strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0)
        return zone_alloc(0);
    return zone_load(name);
}

void zone_free(struct zone *z)
{
    free(z);
}

int64_t zone_offset(const struct zone *z, int64_t ms)
{
    int64_t seconds = floor_div(ms, TIME_SECOND);

    if (seconds >= z->cycle_end)
        seconds -= ((seconds - z->cycle_end) / CYCLE_SECONDS + 1) * CYCLE_SECONDS;
    /* The number of steps at or before it. */
    size_t low = 0, high = z->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->steps[middle].at <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    return (low > 0 ? z->steps[low - 1].offset : z->first_offset) * TIME_SECOND;
}

void zone_hour_weekday(const struct zone *z, int64_t ms, int *hour, int *weekday)
{
    int64_t local = ms + (z ? zone_offset(z, ms) : 0);
    int64_t days = floor_div(local, TIME_DAY);

    *hour = (int)(floor_rest(local, TIME_DAY) / TIME_HOUR);
    *weekday = (int)floor_rest(days + 3, 7) + 1;
    assert(*hour >= 0 && *hour <= 23 && *weekday >= 1 && *weekday <= 7);
}
