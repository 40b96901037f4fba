/* Reports over several profilers: each adds up its own people, and the sums are added. Everything in a report is a sum,
 * a least or a greatest, but for means and variances, which are joined; intervals are made from the whole. Pure. */
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/exports_report.h"

#define MONEY_DIGITS 39

/* --- writing --------------------------------------------------------------------------------------------------- */

/* A whole number of micros, as wide as it is. */
static void write_money(struct buf *b, money v)
{
    char text[MONEY_DIGITS + 2], *p = text + sizeof text - 1;
    unsigned __int128 rest = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;

    *p = '\0';
    do
        *--p = (char)('0' + (int)(rest % 10));
    while ((rest /= 10) > 0);
    if (v < 0)
        *--p = '-';
    buf_add_text(b, p);
}

static void write_arms(struct buf *b, const struct arm_sum *arms)
{
    for (int i = 0; i < ARMS; i++) {
        buf_addf(b, "%s[%llu,%llu,", i ? "," : "", (unsigned long long)arms[i].people,
                 (unsigned long long)arms[i].conversions);
        write_money(b, arms[i].amount);
        buf_add_char(b, ']');
    }
}

static void write_samples(const struct report *r, struct buf *b)
{
    json_write_key(b, "samples");
    buf_add_char(b, '[');
    for (int i = 0; i < ARMS; i++) {
        buf_addf(b, "%s[%llu,", i ? "," : "", (unsigned long long)r->spent[i].n);
        num_write_double(b, r->spent[i].mean);
        buf_add_char(b, ',');
        num_write_double(b, r->spent[i].squares);
        buf_add_char(b, ']');
    }
    buf_add_char(b, ']');
}

static void write_moment(struct buf *b, const char *key, int64_t time)
{
    json_write_key(b, key);
    if (time == TIME_NONE)
        buf_add_text(b, "null");
    else
        num_write_int(b, time);
}

void report_write_sums(const struct report *r, struct buf *b)
{
    buf_addf(b, "\"days\":%lld,\"open\":[%llu,%llu],\"cut\":%s", (long long)r->days, (unsigned long long)r->open[0],
             (unsigned long long)r->open[1], r->dates_cut ? "true" : "false");
    write_moment(b, "first", r->first);
    write_moment(b, "last", r->last);
    buf_add_text(b, ",\"all\":[");
    write_arms(b, r->all);
    buf_add_char(b, ']');
    write_samples(r, b);
    json_write_key(b, "by_day");
    buf_add_char(b, '[');
    for (int64_t day = 0; day < r->days; day++) {
        buf_add_text(b, day ? ",[" : "[");
        write_arms(b, &r->by_day[day * ARMS]);
        buf_add_char(b, ']');
    }
    buf_add_char(b, ']');
    json_write_key(b, "dates");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->date_count; i++) {
        buf_addf(b, "%s[%lld,", i ? "," : "", (long long)r->dates[i].day);
        write_arms(b, r->dates[i].arms);
        buf_add_char(b, ']');
    }
    buf_add_char(b, ']');
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static bool take_money(const struct json *v, money *to)
{
    unsigned __int128 sum = 0;
    size_t at = 0;

    if (!v || v->type != JSON_NUMBER || v->text.n > MONEY_DIGITS)
        return false;
    bool negative = v->text.p[0] == '-';
    for (at = negative; at < v->text.n; at++) {
        if (v->text.p[at] < '0' || v->text.p[at] > '9')
            return false;
        sum = sum * 10 + (unsigned)(v->text.p[at] - '0');
    }
    *to += negative ? -(money)sum : (money)sum;
    return true;
}

static bool read_int(const struct json *v, int64_t *out)
{
    return v && v->type == JSON_NUMBER && num_integer(v->text, INT64_MAX, out) == NUM_OK;
}

static bool read_moment(const struct json *v, int64_t *out)
{
    *out = TIME_NONE;
    return v && (v->type == JSON_NULL || read_int(v, out));
}

static bool take_count(const struct json *v, uint64_t *to)
{
    int64_t n;

    if (!read_int(v, &n) || n < 0)
        return false;
    *to += (uint64_t)n;
    return true;
}

static bool read_double(const struct json *v, double *out)
{
    char text[64];

    if (!v || v->type != JSON_NUMBER || v->text.n >= sizeof text)
        return false;
    memcpy(text, v->text.p, v->text.n);
    text[v->text.n] = '\0';
    *out = strtod(text, NULL);
    return true;
}

/* Of a list; NULL: it has other than `n`. */
static const struct json *first_of(const struct json *v, size_t n)
{
    return v && v->type == JSON_ARRAY && v->count == n ? v->child : NULL;
}

static bool take_arms(const struct json *at, struct arm_sum *to)
{
    for (int i = 0; i < ARMS; i++, at = at->next) {
        const struct json *v = first_of(at, 3);

        if (!v || !take_count(v, &to[i].people) || !take_count(v->next, &to[i].conversions) ||
            !take_money(v->next->next, &to[i].amount))
            return false;
    }
    return true;
}

static bool take_samples(const struct json *at, struct sample *to)
{
    for (int i = 0; i < ARMS; i++, at = at->next) {
        const struct json *v = first_of(at, 3);
        struct sample s = {0};

        if (!v || !take_count(v, &s.n) || !read_double(v->next, &s.mean) || !read_double(v->next->next, &s.squares))
            return false;
        sample_join(&to[i], &s);
    }
    return true;
}

static bool take_dates(const struct json *list, struct report *r)
{
    int64_t day;

    if (!list || list->type != JSON_ARRAY)
        return false;
    for (const struct json *i = list->child; i; i = i->next) {
        const struct json *v = first_of(i, 1 + ARMS);

        if (!v || !read_int(v, &day))
            return false;
        struct report_day *d = report_date(r, day);
        if (d && !take_arms(v->next, d->arms))
            return false;
    }
    return true;
}

static bool take_days(const struct json *list, struct report *r)
{
    const struct json *at = first_of(list, (size_t)r->days);

    for (int64_t day = 0; day < r->days; day++, at = at->next) {
        const struct json *v = first_of(at, ARMS);

        if (!v || !take_arms(v, &r->by_day[day * ARMS]))
            return false;
    }
    return true;
}

static bool take_moments(const struct json *sums, struct report *r)
{
    int64_t first, last;

    if (!read_moment(json_get(sums, "first"), &first) || !read_moment(json_get(sums, "last"), &last))
        return false;
    if (first != TIME_NONE && (r->first == TIME_NONE || first < r->first))
        r->first = first;
    if (last != TIME_NONE && (r->last == TIME_NONE || last > r->last))
        r->last = last;
    return true;
}

bool report_add_sums(struct report *r, const struct json *sums)
{
    const struct json *all = first_of(json_get(sums, "all"), ARMS), *open = first_of(json_get(sums, "open"), ARMS);
    const struct json *samples = first_of(json_get(sums, "samples"), ARMS), *cut = json_get(sums, "cut");
    int64_t days;

    if (!read_int(json_get(sums, "days"), &days) || days != r->days || !all || !open || !samples)
        return false;
    r->dates_cut = r->dates_cut || (cut && cut->type == JSON_TRUE);
    return take_arms(all, r->all) && take_count(open, &r->open[0]) && take_count(open->next, &r->open[1]) &&
           take_samples(samples, r->spent) && take_days(json_get(sums, "by_day"), r) &&
           take_dates(json_get(sums, "dates"), r) && take_moments(sums, r);
}
