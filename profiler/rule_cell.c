/* Cells: what a node is for this person, and comparing two of them. Pure; any thread. */
#include <assert.h>
#include <errno.h>

#include "common/calendar.h"
#include "profiler/rule_day.h"
#include "profiler/rule_eval_inside.h"

void cell_absent(struct cell *c)
{
    *c = (struct cell){0};
}

void cell_bool(struct cell *c, bool v)
{
    *c = (struct cell){.v = {.type = RULE_BOOL, .truth = v}};
}

void cell_text(struct cell *c, struct str text)
{
    *c = (struct cell){0};
    if (str_has(text))
        c->v = (struct rule_value){.type = RULE_STRING, .text = text};
}

int cell_number(struct eval *e, struct cell *c, struct rule_number v)
{
    struct rule_number *copy = arena_alloc(e->arena, sizeof *copy);

    *c = (struct cell){0};
    if (!copy)
        return -ENOMEM;
    *copy = v;
    c->v = (struct rule_value){.type = RULE_NUMBER, .number = copy};
    return 0;
}

static bool time_sane(int64_t ms)
{
    return ms >= LIMIT_TIME_FIRST && ms <= LIMIT_TIME_LAST;
}

void cell_time(struct cell *c, int64_t ms)
{
    *c = (struct cell){0};
    if (time_sane(ms))
        c->v = (struct rule_value){.type = RULE_TIME, .ms = ms};
}

void cell_day(struct cell *c, int64_t day)
{
    cell_time(c, day * TIME_DAY);
    c->v.day = cell_has(c);
}

void cell_duration(struct cell *c, int64_t ms)
{
    *c = (struct cell){.v = {.type = RULE_DURATION, .ms = ms}};
}

void cell_still(struct cell *c, const struct rule_value *v)
{
    *c = (struct cell){.v = *v};
}

const struct motion *cell_motion(const struct cell *c, struct motion *room)
{
    if (c->moves)
        return c->moves;
    motion_line(room, c->v.type == RULE_NUMBER ? *c->v.number : rule_number_of_int(c->v.ms), rule_number_of_int(0));
    return room;
}

void cell_to_time(struct cell *c)
{
    struct rule_value v;

    if (c->v.type == RULE_TIME)
        return;
    if (c->v.type == RULE_STRING && value_time(c->v.text, &v))
        cell_still(c, &v);
    else
        cell_absent(c);
}

int cell_to_moment(struct eval *e, struct cell *c)
{
    const struct zone *zone = e->s->rules->zone;

    cell_to_time(c);
    if (!cell_has(c) || !c->v.day)
        return 0;
    c->v.day = false;
    c->v.ms = rule_day_start(zone, floor_div(c->v.ms, TIME_DAY));
    if (!c->moves)
        return 0;
    c->moves = motion_local(MOTION_MIDNIGHT, c->moves, zone, e->arena);
    return c->moves ? 0 : -ENOMEM;
}

void cell_watch(struct eval *e, const struct motion *m, struct rule_number with, unsigned holds)
{
    struct motion still;

    motion_line(&still, with, rule_number_of_int(0));
    eval_wake_in(e, motion_flip(m, &still, holds));
}

/* --- comparing --------------------------------------------------------------------------------------------------- */

static unsigned holds_of(enum rule_op op)
{
    switch (op) {
    case OP_EQ:
        return MOTION_EQUAL;
    case OP_NE:
        return MOTION_LESS | MOTION_GREATER;
    case OP_LT:
        return MOTION_LESS;
    case OP_LE:
        return MOTION_LESS | MOTION_EQUAL;
    case OP_GT:
        return MOTION_GREATER;
    default:
        assert(op == OP_GE);
        return MOTION_GREATER | MOTION_EQUAL;
    }
}

static bool holds(unsigned which, int sign)
{
    return which & (sign < 0 ? MOTION_LESS : sign > 0 ? MOTION_GREATER : MOTION_EQUAL);
}

static bool is_ordered(const struct cell *c)
{
    return c->v.type == RULE_NUMBER || c->v.type == RULE_TIME || c->v.type == RULE_DURATION;
}

static int sign_of(const struct cell *l, const struct cell *r)
{
    if (l->v.type == RULE_NUMBER)
        return rule_number_cmp(*l->v.number, *r->v.number);
    return (l->v.ms > r->v.ms) - (l->v.ms < r->v.ms);
}

/* Two numbers, times or durations. */
static void compare_ordered(struct eval *e, unsigned which, const struct cell *l, const struct cell *r, bool *out)
{
    struct motion a, b;

    *out = holds(which, sign_of(l, r));
    if (l->moves || r->moves)
        eval_wake_in(e, motion_flip(cell_motion(l, &a), cell_motion(r, &b), which));
}

/* A day compares with a day as such and with a moment by its first one. A text that says a time is one beside a time.
 */
static int to_same(struct eval *e, struct cell *l, struct cell *r)
{
    int rc = 0;

    if (l->v.type == RULE_TIME && r->v.type == RULE_STRING)
        cell_to_time(r);
    else if (r->v.type == RULE_TIME && l->v.type == RULE_STRING)
        cell_to_time(l);
    if (l->v.type == RULE_TIME && r->v.type == RULE_TIME && l->v.day != r->v.day) {
        rc = cell_to_moment(e, l);
        if (rc == 0)
            rc = cell_to_moment(e, r);
    }
    return rc;
}

int cell_compare(struct eval *e, enum rule_op op, struct cell *l, struct cell *r, bool *out)
{
    const unsigned which = holds_of(op);
    int rc = to_same(e, l, r);

    *out = false;
    if (rc != 0 || !cell_has(l) || !cell_has(r))
        return rc;
    if (l->v.type != r->v.type)
        *out = op == OP_NE;
    else if (is_ordered(l))
        compare_ordered(e, which, l, r, out);
    else if (op == OP_EQ || op == OP_NE)
        *out = rule_value_eq(&l->v, &r->v) == (op == OP_EQ);
    else if (l->v.type == RULE_STRING)
        *out = holds(which, str_cmp(l->v.text, r->v.text));
    else if (l->v.type == RULE_BOOL)
        *out = holds(which, (int)l->v.truth - (int)r->v.truth);
    return 0;
}
