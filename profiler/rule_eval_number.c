/* Arithmetic of numbers, times and durations, joining of texts and lists, and numbers made of other things. Pure; any
 * thread. */
#include <errno.h>

#include "common/calendar.h"
#include "profiler/rule_day.h"
#include "profiler/rule_eval_inside.h"

#define TEXT_MAX (64 * KIB) /* of what texts are joined to */

/* --- numbers ----------------------------------------------------------------------------------------------------- */

static enum motion_kind motion_of(enum rule_op op)
{
    switch (op) {
    case OP_ADD:
        return MOTION_ADD;
    case OP_SUB:
        return MOTION_SUB;
    case OP_MUL:
        return MOTION_MUL;
    default:
        return MOTION_DIV;
    }
}

static bool compute(enum rule_op op, struct rule_number a, struct rule_number b, struct rule_number *out)
{
    switch (op) {
    case OP_ADD:
        return rule_number_add(a, b, out);
    case OP_SUB:
        return rule_number_sub(a, b, out);
    case OP_MUL:
        return rule_number_mul(a, b, out);
    case OP_DIV:
        return rule_number_div(a, b, out);
    default:
        return rule_number_mod(a, b, out);
    }
}

static int join_motion(struct eval *e, enum rule_op op, const struct cell *l, const struct cell *r,
                       const struct motion **out)
{
    struct motion *a, *b;

    *out = NULL;
    if (!l->moves && !r->moves)
        return 0;
    a = arena_alloc(e->arena, 2 * sizeof *a);
    if (!a)
        return -ENOMEM;
    b = a + 1;
    *out = motion_join(motion_of(op), cell_motion(l, a), cell_motion(r, b), e->arena);
    return *out ? 0 : -ENOMEM;
}

/* A divisor that moves through zero makes the quotient absent for that moment. */
static void watch_divisor(struct eval *e, const struct cell *divisor)
{
    if (divisor->moves)
        cell_watch(e, divisor->moves, rule_number_of_int(0), MOTION_EQUAL);
}

/* A whole part stands still until the next whole number is reached. */
static void watch_cut(struct eval *e, const struct motion *m, __int128 cut)
{
    if (cut >= 0)
        cell_watch(e, m, rule_number_of_int(cut + 1), MOTION_EQUAL | MOTION_GREATER);
    else
        cell_watch(e, m, rule_number_of_int(cut), MOTION_GREATER);
    if (cut <= 0)
        cell_watch(e, m, rule_number_of_int(cut - 1), MOTION_EQUAL | MOTION_LESS);
    else
        cell_watch(e, m, rule_number_of_int(cut), MOTION_LESS);
}

/* x % y is x - y * k, where k stands still for a while. */
static int eval_rest(struct eval *e, const struct cell *l, const struct cell *r, struct cell *out)
{
    struct rule_number quotient, whole;
    struct cell times, cut;
    const struct motion *m;
    int rc;

    cell_absent(out);
    if (!rule_number_div(*l->v.number, *r->v.number, &quotient))
        return 0;
    whole = rule_number_of_int(rule_number_cut(quotient));
    rc = join_motion(e, OP_DIV, l, r, &m);
    if (rc == 0 && m)
        watch_cut(e, m, whole.above);
    if (rc == 0)
        rc = cell_number(e, &cut, whole);
    if (rc != 0 || !rule_number_mul(*r->v.number, whole, &whole))
        return rc;
    rc = cell_number(e, &times, whole);
    if (rc == 0)
        rc = join_motion(e, OP_MUL, r, &cut, &times.moves);
    if (rc != 0 || !rule_number_sub(*l->v.number, whole, &whole))
        return rc;
    rc = cell_number(e, out, whole);
    if (rc == 0)
        rc = join_motion(e, OP_SUB, l, &times, &out->moves);
    return rc;
}

static int eval_numbers(struct eval *e, enum rule_op op, const struct cell *l, const struct cell *r, struct cell *out)
{
    struct rule_number v;
    int rc;

    cell_absent(out);
    if (op == OP_DIV || op == OP_MOD)
        watch_divisor(e, r);
    if (op == OP_MOD)
        return eval_rest(e, l, r, out);
    if (!compute(op, *l->v.number, *r->v.number, &v))
        return 0;
    rc = cell_number(e, out, v);
    if (rc == 0)
        rc = join_motion(e, op, l, r, &out->moves);
    return rc;
}

/* --- times ------------------------------------------------------------------------------------------------------- */

/* A day and whole days make a day; everything else is about moments. */
static int to_same(struct eval *e, struct cell *l, struct cell *r)
{
    int rc = 0;

    if (l->v.type == RULE_TIME && r->v.type == RULE_TIME) {
        if (l->v.day != r->v.day) {
            rc = cell_to_moment(e, l);
            if (rc == 0)
                rc = cell_to_moment(e, r);
        }
    } else if (l->v.type == RULE_TIME && l->v.day && (r->moves || r->v.ms % TIME_DAY != 0)) {
        rc = cell_to_moment(e, l);
    } else if (r->v.type == RULE_TIME && r->v.day && (l->moves || l->v.ms % TIME_DAY != 0)) {
        rc = cell_to_moment(e, r);
    }
    return rc;
}

static int eval_times(struct eval *e, enum rule_op op, struct cell *l, struct cell *r, struct cell *out)
{
    const bool span = (l->v.type == RULE_TIME) == (r->v.type == RULE_TIME); /* time - time, or of two durations */
    int64_t ms;
    int rc = to_same(e, l, r);

    cell_absent(out);
    if (rc != 0)
        return rc;
    if (op == OP_ADD ? __builtin_add_overflow(l->v.ms, r->v.ms, &ms) : __builtin_sub_overflow(l->v.ms, r->v.ms, &ms))
        return 0;
    if (span)
        cell_duration(out, ms);
    else
        cell_time(out, ms);
    if (!cell_has(out))
        return 0;
    out->v.day = !span && (l->v.day || r->v.day);
    return join_motion(e, op, l, r, &out->moves);
}

/* --- texts and lists --------------------------------------------------------------------------------------------- */

static int join_texts(struct eval *e, struct str a, struct str b, struct cell *out)
{
    char *p;

    cell_absent(out);
    if (a.n + b.n > TEXT_MAX)
        return 0;
    p = arena_alloc(e->arena, a.n + b.n + 1);
    if (!p)
        return -ENOMEM;
    memcpy(p, a.p, a.n);
    memcpy(p + a.n, b.p, b.n);
    cell_text(out, (struct str){p, a.n + b.n});
    return 0;
}

static int join_lists(struct eval *e, const struct rule_value *a, const struct rule_value *b, struct cell *out)
{
    struct rule_value *v;

    cell_absent(out);
    if (a->n + b->n > TEXT_MAX)
        return 0;
    v = arena_alloc(e->arena, (a->n + b->n + 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    if (a->n)
        memcpy(v, a->list, a->n * sizeof *v);
    if (b->n)
        memcpy(v + a->n, b->list, b->n * sizeof *v);
    out->v = (struct rule_value){.type = RULE_LIST, .list = v, .n = a->n + b->n};
    return 0;
}

static bool is_time(const struct cell *c)
{
    return c->v.type == RULE_TIME || c->v.type == RULE_DURATION;
}

static int eval_binary(struct eval *e, enum rule_op op, struct cell *l, struct cell *r, struct cell *out)
{
    if (l->v.type == RULE_NUMBER && r->v.type == RULE_NUMBER)
        return eval_numbers(e, op, l, r, out);
    cell_absent(out);
    if (is_time(l) && is_time(r)) {
        bool times = l->v.type == RULE_TIME && r->v.type == RULE_TIME;
        bool backwards = l->v.type == RULE_DURATION && r->v.type == RULE_TIME;

        if ((op == OP_ADD && !times) || (op == OP_SUB && !backwards))
            return eval_times(e, op, l, r, out);
    } else if (op == OP_ADD && l->v.type == RULE_STRING && r->v.type == RULE_STRING) {
        return join_texts(e, l->v.text, r->v.text, out);
    } else if (op == OP_ADD && l->v.type == RULE_LIST && r->v.type == RULE_LIST) {
        return join_lists(e, &l->v, &r->v, out);
    }
    return 0;
}

static int eval_neg(struct eval *e, struct cell *kid, struct cell *out)
{
    struct cell zero;
    int rc = 0;

    cell_absent(out);
    if (kid->v.type == RULE_NUMBER)
        rc = cell_int(e, &zero, 0);
    else if (kid->v.type == RULE_DURATION)
        cell_duration(&zero, 0);
    else
        return 0;
    return rc ? rc : eval_binary(e, OP_SUB, &zero, kid, out);
}

/* --- numbers made of other things -------------------------------------------------------------------------------- */

static int number_of(struct eval *e, struct cell *c)
{
    struct rule_number v;

    c->moves = c->v.type == RULE_NUMBER ? c->moves : NULL;
    if (c->v.type == RULE_NUMBER)
        return 0;
    if (c->v.type == RULE_STRING && rule_number_read(str_trim(c->v.text), &v))
        return cell_number(e, c, v);
    if (c->v.type == RULE_BOOL)
        return cell_int(e, c, c->v.truth);
    cell_absent(c);
    return 0;
}

/* Of a time its seconds since 1970, as CEL has it. */
static int eval_to_int(struct eval *e, struct cell *c, struct cell *out)
{
    __int128 cut;
    int rc;

    if (c->v.type == RULE_TIME) {
        if (c->moves)
            eval_wake_in(e, 1);
        rc = cell_to_moment(e, c);
        return rc ? rc : cell_int(e, out, floor_div(c->v.ms, TIME_SECOND));
    }
    rc = number_of(e, c);
    cell_absent(out);
    if (rc != 0 || !cell_has(c))
        return rc;
    cut = rule_number_cut(*c->v.number);
    rc = cell_int(e, out, cut);
    if (rc != 0 || !c->moves)
        return rc;
    if (c->moves->way == MOTION_ANY_WAY) {
        watch_cut(e, c->moves, cut);
        return 0;
    }
    out->moves = motion_local(MOTION_CUT, c->moves, NULL, e->arena);
    return out->moves ? 0 : -ENOMEM;
}

int eval_arithmetic(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell l, r;
    int rc = eval_kid(e, n, 0, &l);

    if (rc != 0)
        return rc;
    if (n->op == OP_NEG)
        return eval_neg(e, &l, out);
    if (n->op == OP_TO_INT)
        return eval_to_int(e, &l, out);
    if (n->op == OP_TO_DOUBLE) {
        *out = l;
        return number_of(e, out);
    }
    rc = eval_kid(e, n, 1, &r);
    return rc ? rc : eval_binary(e, n->op, &l, &r, out);
}
