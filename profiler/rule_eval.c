/* The evaluation of a rule about one person at one moment: constants, logic and the way to everything else. The depth
 * of the tree is bounded where it is made (LIMIT_RULE_DEPTH). Whichever thread judges or looks up. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/rule_eval_inside.h"

void eval_wake(struct eval *e, int64_t at)
{
    if (at <= e->s->now)
        at = e->s->now + 1;
    if (at < e->next)
        e->next = at;
}

void eval_wake_in(struct eval *e, int64_t ms)
{
    if (ms != MOTION_NEVER && ms < LIMIT_TIME_LAST)
        eval_wake(e, e->s->now + ms);
}

int eval_kid(struct eval *e, const struct rule_node *n, size_t i, struct cell *out)
{
    assert(i < n->kid_count);
    return eval_node(e, n->kids[i], out);
}

/* --- logic ------------------------------------------------------------------------------------------------------- */

/* && and ||. The first kid that decides is the only one whose change can change the whole: the others may flip as they
 * like until then. */
static int eval_logic(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const bool decisive = n->op == OP_OR;
    const int64_t before = e->next;
    struct cell kid;
    int64_t all = before;

    for (size_t i = 0; i < n->kid_count; i++) {
        int rc;

        e->next = INT64_MAX;
        rc = eval_kid(e, n, i, &kid);
        if (rc != 0)
            return rc;
        if (cell_true(&kid) == decisive) {
            e->next = e->next < before ? e->next : before;
            cell_bool(out, decisive);
            return 0;
        }
        all = e->next < all ? e->next : all;
    }
    e->next = all;
    cell_bool(out, !decisive);
    return 0;
}

static int eval_not(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell kid;
    int rc = eval_kid(e, n, 0, &kid);

    cell_bool(out, !cell_true(&kid));
    return rc;
}

static int eval_ternary(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell kid;
    int rc = eval_kid(e, n, 0, &kid);

    return rc ? rc : eval_kid(e, n, cell_true(&kid) ? 1 : 2, out);
}

static int eval_comparison(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell l, r;
    bool truth = false;
    int rc = eval_kid(e, n, 0, &l);

    if (rc == 0)
        rc = eval_kid(e, n, 1, &r);
    if (rc == 0)
        rc = cell_compare(e, n->op, &l, &r, &truth);
    cell_bool(out, truth);
    return rc;
}

static int in_value(struct eval *e, struct cell *what, const struct cell *where, bool *out)
{
    const size_t step = where->v.type == RULE_MAP ? 2 : 1; /* of a map the keys */
    int rc = 0;

    *out = false;
    for (size_t i = 0; i < where->v.n && rc == 0 && !*out; i += step) {
        struct cell left = *what, right;

        cell_still(&right, &where->v.list[i]);
        rc = cell_compare(e, OP_EQ, &left, &right, out);
    }
    return rc;
}

/* `x in [a, b]`: kids of a list written in the rule are compared as they come, so that they may move with time. */
static int in_kids(struct eval *e, struct cell *what, const struct rule_node *list, bool *out)
{
    const size_t step = list->op == OP_MAP ? 2 : 1;
    int rc = 0;

    *out = false;
    for (size_t i = 0; i < list->kid_count && rc == 0 && !*out; i += step) {
        struct cell left = *what, right;

        rc = eval_kid(e, list, i, &right);
        if (rc == 0)
            rc = cell_compare(e, OP_EQ, &left, &right, out);
    }
    return rc;
}

static int eval_in(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct rule_node *where = n->kids[1];
    struct cell what, container;
    bool in = false;
    int rc = eval_kid(e, n, 0, &what);

    if (rc == 0 && (where->op == OP_LIST || where->op == OP_MAP)) {
        rc = in_kids(e, &what, where, &in);
    } else if (rc == 0) {
        rc = eval_kid(e, n, 1, &container);
        if (rc == 0 && (container.v.type == RULE_LIST || container.v.type == RULE_MAP))
            rc = in_value(e, &what, &container, &in);
    }
    cell_bool(out, in);
    return rc;
}

/* --- lists and maps ---------------------------------------------------------------------------------------------- */

/* What moves stands still in a list: then the list is another one at once. */
static int eval_list(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_value *v = arena_alloc(e->arena, (n->kid_count + 1) * sizeof *v);
    struct cell kid;

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n->kid_count; i++) {
        int rc = eval_kid(e, n, i, &kid);

        if (rc != 0)
            return rc;
        if (kid.moves)
            eval_wake_in(e, 1);
        v[i] = kid.v;
    }
    *out = (struct cell){.v = {.type = n->op == OP_MAP ? RULE_MAP : RULE_LIST, .list = v, .n = n->kid_count}};
    return 0;
}

static int eval_index(struct eval *e, const struct rule_node *n, struct cell *out)
{
    int rc = eval_kid(e, n, 0, out);

    return rc ? rc : value_further(e, n, 1, &out->v);
}

static int eval_has(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell kid;
    int rc = eval_kid(e, n, 0, &kid);

    cell_bool(out, cell_has(&kid));
    return rc;
}

/* --- the way to everything else ---------------------------------------------------------------------------------- */

static int eval_constant(struct eval *e, const struct rule_node *n, struct cell *out)
{
    (void)e;
    switch (n->op) {
    case OP_BOOL:
        cell_bool(out, n->truth);
        break;
    case OP_NUMBER:
        *out = (struct cell){.v = {.type = RULE_NUMBER, .number = &n->number}};
        break;
    case OP_STRING:
        cell_text(out, n->text);
        break;
    case OP_DURATION:
        cell_duration(out, n->ms);
        break;
    default:
        cell_absent(out);
    }
    return 0;
}

typedef int evaluator(struct eval *e, const struct rule_node *n, struct cell *out);

/* clang-format off */
static evaluator *const evaluators[OP_COUNT_OF_OPS] = {
    [OP_BOOL] = eval_constant, [OP_NUMBER] = eval_constant, [OP_STRING] = eval_constant,
    [OP_DURATION] = eval_constant, [OP_NULL] = eval_constant, [OP_LIST] = eval_list, [OP_MAP] = eval_list,
    [OP_NOW] = eval_time, [OP_FACT] = eval_name, [OP_BY] = eval_name, [OP_AMOUNTS] = eval_name,
    [OP_TRAIT] = eval_name, [OP_TAG] = eval_name, [OP_CONSENT] = eval_name, [OP_PROPERTY] = eval_name,
    [OP_AND] = eval_logic, [OP_OR] = eval_logic, [OP_NOT] = eval_not, [OP_TERNARY] = eval_ternary,
    [OP_EQ] = eval_comparison, [OP_NE] = eval_comparison, [OP_LT] = eval_comparison, [OP_LE] = eval_comparison,
    [OP_GT] = eval_comparison, [OP_GE] = eval_comparison, [OP_IN] = eval_in,
    [OP_ADD] = eval_arithmetic, [OP_SUB] = eval_arithmetic, [OP_MUL] = eval_arithmetic, [OP_DIV] = eval_arithmetic,
    [OP_MOD] = eval_arithmetic, [OP_NEG] = eval_arithmetic, [OP_INDEX] = eval_index,
    [OP_SIZE] = eval_text, [OP_CONTAINS] = eval_text, [OP_STARTS_WITH] = eval_text, [OP_ENDS_WITH] = eval_text,
    [OP_LOWER] = eval_text, [OP_UPPER] = eval_text, [OP_TRIM] = eval_text, [OP_TO_INT] = eval_arithmetic,
    [OP_TO_DOUBLE] = eval_arithmetic, [OP_TO_STRING] = eval_text, [OP_TIMESTAMP] = eval_time,
    [OP_HAS] = eval_has, [OP_TODAY] = eval_time, [OP_DATE] = eval_time, [OP_MONTH] = eval_time,
    [OP_DAYS_SINCE] = eval_time, [OP_ANNIVERSARY] = eval_time, [OP_COUNT] = eval_window, [OP_SUM] = eval_window,
    [OP_LAST] = eval_window, [OP_FOLLOWED_BY] = eval_window, [OP_NOT_FOLLOWED_BY] = eval_window,
    [OP_IN_AUDIENCE] = eval_name, [OP_EXPORTED] = eval_name, [OP_QUINTILE] = eval_name, [OP_TOP] = eval_name,
    [OP_NAMES] = eval_name, [OP_INTEREST] = eval_interest,
};
/* clang-format on */

int eval_node(struct eval *e, const struct rule_node *n, struct cell *out)
{
    assert((unsigned)n->op < OP_COUNT_OF_OPS && evaluators[n->op]);
    return evaluators[n->op](e, n, out);
}

int eval_condition(struct eval *e, const struct rule_node *n, struct rule_event *event, bool *out)
{
    struct rule_events *shared = rule_events_of(e->s);
    struct arena *arena = e->arena;
    struct rule_event *before = e->event;
    struct cell c;
    int rc;

    if (!shared)
        return -ENOMEM;
    e->arena = &shared->scratch;
    e->event = event;
    rc = eval_node(e, n, &c);
    *out = rc == 0 && cell_true(&c);
    e->event = before;
    e->arena = arena;
    arena_reset(&shared->scratch);
    return rc;
}

/* When the value of the whole is another one: of most that move at once. */
static void wake_of_value(struct eval *e, const struct cell *c)
{
    struct motion now;

    motion_line(&now, c->v.type == RULE_NUMBER ? *c->v.number : rule_number_of_int(c->v.ms), rule_number_of_int(0));
    eval_wake_in(e, motion_flip(c->moves, &now, MOTION_EQUAL));
}

int rule_eval(const struct rule *r, struct rule_subject *s, struct rule_result *out)
{
    struct eval e = {.s = s, .arena = s->arena, .next = INT64_MAX};
    struct cell c;
    int rc = eval_node(&e, r->root, &c);

    /* Its texts may be those of events, which go before the arena does. */
    if (rc == 0)
        rc = value_dup(s->arena, &c.v);
    if (rc != 0)
        return rc;
    if (c.moves)
        wake_of_value(&e, &c);
    *out = (struct rule_result){.value = c.v, .next_change = e.next == INT64_MAX ? TIME_NONE : e.next};
    return 0;
}
