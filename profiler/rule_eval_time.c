/* Moments and days: now, today, days since, yearly returns. Pure; any thread. */
#include <errno.h>

#include "common/calendar.h"
#include "profiler/rule_day.h"
#include "profiler/rule_eval_inside.h"

static const struct zone *zone_of(const struct eval *e)
{
    return e->s->rules->zone;
}

static int eval_now(struct eval *e, struct cell *out)
{
    struct motion *m = arena_alloc(e->arena, sizeof *m);

    if (!m)
        return -ENOMEM;
    motion_line(m, rule_number_of_int(e->s->now), rule_number_of_int(1));
    cell_time(out, e->s->now);
    out->moves = cell_has(out) ? m : NULL;
    return 0;
}

/* The local day of a moment; a day is its own. */
static int eval_date(struct eval *e, struct cell *t, struct cell *out)
{
    cell_to_time(t);
    *out = *t;
    if (!cell_has(t) || t->v.day)
        return 0;
    cell_day(out, rule_day(zone_of(e), t->v.ms));
    if (!t->moves)
        return 0;
    out->moves = motion_local(MOTION_DAY, t->moves, zone_of(e), e->arena);
    return out->moves ? 0 : -ENOMEM;
}

static int eval_today(struct eval *e, struct cell *out)
{
    struct cell now;
    int rc = eval_now(e, &now);

    return rc ? rc : eval_date(e, &now, out);
}

static int64_t day_of(struct eval *e, const struct cell *t)
{
    return t->v.day ? floor_div(t->v.ms, TIME_DAY) : rule_day(zone_of(e), t->v.ms);
}

/* A month that moves is another one when its days have gone by. */
static int watch_month(struct eval *e, struct cell *t, int64_t year, int month)
{
    const int64_t first = calendar_days(year, month, 1) * TIME_DAY;
    const int64_t end = first + calendar_month_days(year, month) * TIME_DAY;
    struct cell date;
    int rc = eval_date(e, t, &date);

    if (rc != 0)
        return rc;
    cell_watch(e, date.moves, rule_number_of_int(end), MOTION_EQUAL | MOTION_GREATER);
    cell_watch(e, date.moves, rule_number_of_int(first), MOTION_LESS);
    return 0;
}

static int eval_month(struct eval *e, struct cell *t, struct cell *out)
{
    int64_t year;
    int month, day, rc = 0;

    cell_to_time(t);
    cell_absent(out);
    if (!cell_has(t))
        return 0;
    calendar_date(day_of(e, t), &year, &month, &day);
    if (t->moves)
        rc = watch_month(e, t, year, month);
    return rc ? rc : cell_int(e, out, month);
}

static int eval_days_since(struct eval *e, struct cell *t, struct cell *out)
{
    const struct rule_number day = rule_number_of(1, TIME_DAY);
    const struct motion *moves;
    struct motion *m;
    int rc = cell_to_moment(e, t);

    cell_absent(out);
    if (rc != 0 || !cell_has(t))
        return rc;
    rc = cell_number(e, out, rule_number_of((__int128)e->s->now - t->v.ms, TIME_DAY));
    m = arena_alloc(e->arena, 2 * sizeof *m);
    if (rc != 0 || !m)
        return -ENOMEM;
    if (!t->moves) {
        motion_line(m, *out->v.number, day);
        out->moves = m;
        return 0;
    }
    motion_line(m, rule_number_of_int(e->s->now), rule_number_of_int(1));
    motion_line(m + 1, day, rule_number_of_int(0));
    moves = motion_join(MOTION_SUB, m, t->moves, e->arena);
    out->moves = moves ? motion_join(MOTION_MUL, moves, m + 1, e->arena) : NULL;
    return out->moves ? 0 : -ENOMEM;
}

/* --- yearly returns ---------------------------------------------------------------------------------------------- */

/* The day in that year; of the 29th of February the last day of the month. */
static int64_t return_in(int64_t year, int month, int day)
{
    const int last = calendar_month_days(year, month);

    return calendar_days(year, month, day < last ? day : last);
}

/* The first return of a day, after its own year, that is not before `today`. */
static int64_t next_return(int64_t of, int64_t today)
{
    int64_t year, now_year;
    int month, day, unused;

    calendar_date(of, &year, &month, &day);
    calendar_date(today, &now_year, &unused, &unused);
    year = year + 1 > now_year ? year + 1 : now_year;
    return return_in(year, month, day) >= today ? return_in(year, month, day) : return_in(year + 1, month, day);
}

static int eval_anniversary(struct eval *e, struct cell *t, const struct cell *days, struct cell *out)
{
    const int64_t now = e->s->now, today = rule_day(zone_of(e), now);
    int64_t back;
    __int128 within;

    cell_to_time(t);
    cell_absent(out);
    if (!cell_has(t) || days->v.type != RULE_NUMBER)
        return 0;
    if (t->moves || days->moves)
        eval_wake_in(e, 1);
    within = rule_number_floor(*days->v.number);
    back = next_return(day_of(e, t), today);
    cell_bool(out, within >= 0 && back - today <= within);
    if (cell_true(out))
        eval_wake(e, rule_day_start(zone_of(e), back + 1));
    else if (within >= 0)
        eval_wake(e, rule_day_start(zone_of(e), back - (int64_t)within));
    return 0;
}

static int eval_timestamp(struct eval *e, struct cell *c)
{
    if (c->v.type == RULE_NUMBER) { /* seconds since 1970 */
        const __int128 s = rule_number_floor(*c->v.number);

        if (c->moves)
            eval_wake_in(e, 1);
        if (s > LIMIT_TIME_LAST || s < LIMIT_TIME_FIRST)
            cell_absent(c);
        else
            cell_time(c, (int64_t)s * TIME_SECOND);
        return 0;
    }
    cell_to_time(c);
    return 0;
}

int eval_time(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell t, days;
    int rc;

    if (n->op == OP_NOW)
        return eval_now(e, out);
    if (n->op == OP_TODAY)
        return eval_today(e, out);
    rc = eval_kid(e, n, 0, &t);
    if (rc != 0)
        return rc;
    switch (n->op) {
    case OP_DATE:
        return eval_date(e, &t, out);
    case OP_MONTH:
        return eval_month(e, &t, out);
    case OP_DAYS_SINCE:
        return eval_days_since(e, &t, out);
    case OP_ANNIVERSARY:
        rc = eval_kid(e, n, 1, &days);
        return rc ? rc : eval_anniversary(e, &t, &days, out);
    default:
        *out = t;
        return eval_timestamp(e, out);
    }
}
