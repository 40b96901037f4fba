/* Adding up what a campaign earned. A person counts by the group that they were drawn into, whatever reached them: that
 * is what makes the groups comparable. Amounts are as the fact `spent`: totals of counted orders that were placed in
 * the days after the assignment, minus refunds and credit notes of these days. Pure. */
#include "profiler/exports_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/calendar.h"
#include "common/json.h"
#include "common/limits.h"

static const char *const arm_names[ARMS] = {"exported", "held_out"};

int report_init(struct report *r, const struct fold_rules *rules, int64_t days, int64_t now)
{
    *r = (struct report){.days = days, .now = now, .rules = rules, .first = TIME_NONE, .last = TIME_NONE};
    r->by_day = calloc((size_t)days * ARMS, sizeof *r->by_day);
    r->dates = calloc(LIMIT_CAMPAIGN_DAYS, sizeof *r->dates);
    return r->by_day && r->dates ? 0 : -ENOMEM;
}

void report_deinit(struct report *r)
{
    free(r->by_day);
    free(r->dates);
    r->by_day = NULL;
    r->dates = NULL;
}

/* --- adding ---------------------------------------------------------------------------------------------------- */

struct report_day *report_date(struct report *r, int64_t day)
{
    size_t at = 0;

    while (at < r->date_count && r->dates[at].day < day)
        at++;
    if (at < r->date_count && r->dates[at].day == day)
        return &r->dates[at];
    if (r->date_count == LIMIT_CAMPAIGN_DAYS) {
        r->dates_cut = true;
        return NULL;
    }
    memmove(&r->dates[at + 1], &r->dates[at], (r->date_count++ - at) * sizeof *r->dates);
    r->dates[at] = (struct report_day){.day = day};
    return &r->dates[at];
}

static struct report_day *date_of(struct report *r, int64_t time)
{
    int64_t local = time + (r->rules->zone ? zone_offset(r->rules->zone, time) : 0);

    return report_date(r, floor_div(local, TIME_DAY));
}

struct person_sum {
    int64_t first; /* when their first order was placed; TIME_NONE: none */
    money amount;
};

/* The day after the assignment, from 0; -1: outside. */
static int64_t day_after(const struct report *r, int64_t assigned, int64_t time)
{
    if (time <= assigned || time > assigned + r->days * TIME_DAY || time > r->now)
        return -1;
    return (time - assigned - 1) / TIME_DAY;
}

static void add_amount(struct report *r, enum arm arm, int64_t day, money v, struct person_sum *sum)
{
    sum->amount += v;
    r->by_day[day * ARMS + (int)arm].amount += v;
}

static void add_order(struct report *r, enum arm arm, int64_t assigned, const struct order *o, struct person_sum *sum)
{
    int64_t day = o->counted ? day_after(r, assigned, o->placed_at) : -1;

    if (day >= 0 && (sum->first == TIME_NONE || o->placed_at < sum->first))
        sum->first = o->placed_at;
    if (day >= 0 && o->home_currency)
        add_amount(r, arm, day, o->total, sum);
    if (!(o->counted || o->credit_note) || !o->home_currency)
        return;
    for (size_t i = 0; i < o->refund_count; i++) {
        day = day_after(r, assigned, o->refunds[i].key.time);
        if (day >= 0)
            add_amount(r, arm, day, -o->refunds[i].amount, sum);
    }
}

static void add_person(struct arm_sum *to, const struct person_sum *sum)
{
    to->people++;
    to->conversions += sum->first != TIME_NONE;
    to->amount += sum->amount;
}

int report_add(struct report *r, enum arm arm, int64_t assigned, const struct order *orders, size_t n)
{
    struct person_sum sum = {.first = TIME_NONE};
    struct report_day *date;

    for (size_t i = 0; i < n; i++)
        add_order(r, arm, assigned, &orders[i], &sum);
    add_person(&r->all[arm], &sum);
    sample_add(&r->spent[arm], (double)sum.amount / (double)MICROS);
    r->open[arm] += assigned + r->days * TIME_DAY > r->now;
    if (sum.first != TIME_NONE)
        r->by_day[day_after(r, assigned, sum.first) * ARMS + (int)arm].conversions++;
    if (r->first == TIME_NONE || assigned < r->first)
        r->first = assigned;
    if (r->last == TIME_NONE || assigned > r->last)
        r->last = assigned;
    date = date_of(r, assigned);
    if (date)
        add_person(&date->arms[arm], &sum);
    return 0;
}

/* --- writing --------------------------------------------------------------------------------------------------- */

static void whole(struct buf *b, const char *key, uint64_t v)
{
    json_write_key(b, key);
    num_write_int(b, (int64_t)v);
}

static void real(struct buf *b, const char *key, double v)
{
    json_write_key(b, key);
    num_write_double(b, v);
}

static void amount(struct buf *b, const char *key, money v)
{
    json_write_key(b, key);
    num_write_micros(b, v);
}

static void moment(struct buf *b, const char *key, int64_t ms)
{
    json_write_key(b, key);
    if (ms == TIME_NONE) {
        buf_add_text(b, "null");
        return;
    }
    buf_add_char(b, '"');
    time_write(b, ms);
    buf_add_char(b, '"');
}

static void open_object(struct buf *b, const char *key)
{
    json_write_key(b, key);
    buf_add_char(b, '{');
}

static void write_lift(struct buf *b, const struct lift *l, const char *method)
{
    if (l->known) {
        real(b, "lift", l->difference);
        json_write_key(b, "interval");
        buf_add_char(b, '[');
        num_write_double(b, l->low);
        buf_add_char(b, ',');
        num_write_double(b, l->high);
        buf_add_char(b, ']');
    } else {
        json_write_key(b, "lift");
        buf_add_text(b, "null");
        json_write_key(b, "interval");
        buf_add_text(b, "null");
    }
    real(b, "level", LIFT_LEVEL);
    json_write_member(b, "method", str_of(method));
}

static void write_conversions(const struct report *r, struct buf *b)
{
    const struct arm_sum *x = &r->all[ARM_EXPORTED], *h = &r->all[ARM_HELD_OUT];
    struct lift l = lift_of_shares(x->conversions, x->people, h->conversions, h->people);

    open_object(b, "conversions");
    for (int i = 0; i < ARMS; i++)
        whole(b, arm_names[i], r->all[i].conversions);
    open_object(b, "rate");
    for (int i = 0; i < ARMS; i++)
        real(b, arm_names[i], r->all[i].people ? (double)r->all[i].conversions / (double)r->all[i].people : NAN);
    buf_add_char(b, '}');
    write_lift(b, &l, "newcombe");
    buf_add_char(b, '}');
}

static void write_amounts(const struct report *r, struct buf *b)
{
    struct lift l = lift_of_means(&r->spent[ARM_EXPORTED], &r->spent[ARM_HELD_OUT]);

    open_object(b, "amount");
    json_write_member(b, "currency", str_of(r->rules->currency));
    for (int i = 0; i < ARMS; i++)
        amount(b, arm_names[i], r->all[i].amount);
    open_object(b, "per_head");
    for (int i = 0; i < ARMS; i++)
        real(b, arm_names[i], r->all[i].people ? r->spent[i].mean : NAN);
    buf_add_char(b, '}');
    write_lift(b, &l, "welch");
    buf_add_char(b, '}');
}

static void write_arms(const struct arm_sum *v, bool people, struct buf *b)
{
    for (int i = 0; i < ARMS; i++) {
        open_object(b, arm_names[i]);
        if (people)
            whole(b, "people", v[i].people);
        whole(b, "conversions", v[i].conversions);
        amount(b, "amount", v[i].amount);
        buf_add_char(b, '}');
    }
}

static void write_by_day(const struct report *r, struct buf *b)
{
    json_write_key(b, "by_day");
    buf_add_char(b, '[');
    for (int64_t day = 0; day < r->days; day++) {
        buf_add_text(b, day ? ",{" : "{");
        whole(b, "day", (uint64_t)day + 1);
        write_arms(&r->by_day[day * ARMS], false, b);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void write_by_assignment(const struct report *r, struct buf *b)
{
    int64_t year;
    int month, day;

    json_write_key(b, "by_assignment");
    buf_add_char(b, '[');
    for (size_t i = 0; i < r->date_count; i++) {
        calendar_date(r->dates[i].day, &year, &month, &day);
        buf_add_text(b, i ? ",{" : "{");
        buf_addf(b, "\"date\":\"%04d-%02d-%02d\"", (int)year, month, day);
        write_arms(r->dates[i].arms, true, b);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
    if (r->dates_cut)
        buf_add_text(b, ",\"by_assignment_cut\":true");
}

static void write_heads(const struct report *r, struct buf *b)
{
    open_object(b, "reach");
    for (int i = 0; i < ARMS; i++)
        whole(b, arm_names[i], r->all[i].people);
    buf_add_char(b, '}');
    open_object(b, "days_not_over");
    for (int i = 0; i < ARMS; i++)
        whole(b, arm_names[i], r->open[i]);
    buf_add_char(b, '}');
}

void report_write(const struct report *r, struct buf *b)
{
    whole(b, "days", (uint64_t)r->days);
    moment(b, "as_of", r->now);
    moment(b, "first_assigned_at", r->first);
    moment(b, "last_assigned_at", r->last);
    write_heads(r, b);
    write_conversions(r, b);
    write_amounts(r, b);
    write_by_day(r, b);
    write_by_assignment(r, b);
}
