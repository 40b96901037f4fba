/* Meaning for functions that look through events, and for those about tags, audiences and groups. Any thread.
 *
 * Each that looks through events costs a pass over those of its name, so their number is bounded, and none stands in
 * the condition of another: that would cost a pass for every event. */
#include <assert.h>
#include <stdio.h>

#include "common/limits.h"
#include "profiler/cuts.h"
#include "profiler/rule_check.h"

static bool is_order_event(struct str name)
{
    return str_is(name, "Order Completed") || str_is(name, "Order Cancelled") || str_is(name, "Order Refunded");
}

/* Notes a pass over events of that name. */
static bool scan(struct rule_checker *c, const struct rule_ast *a, unsigned needs)
{
    if (c->in_condition)
        return rule_fail(c->source, rule_ast_place(a),
                         "%.*s cannot stand in a condition: it would look through the events for each event",
                         STR_ARG(a->text));
    if (++c->scans > LIMIT_RULE_SCANS)
        return rule_fail(c->source, rule_ast_place(a), "more than %d functions that look through events",
                         LIMIT_RULE_SCANS);
    rule_need(c, needs);
    return true;
}

/* The name of events that is argument `i`. */
static bool event_name(struct rule_checker *c, const struct rule_ast *a, size_t i, struct str *out)
{
    struct str name = rule_check_text(c, a->kids[i], a, "the name of an event");

    if (!name.p)
        return false;
    *out = rule_copy(c->source, name);
    rule_need(c, is_order_event(name) ? RULE_NEEDS_ORDERS : RULE_NEEDS_PATH);
    return out->p != NULL;
}

static struct rule_node *make_scan(struct rule_checker *c, const struct rule_ast *a, enum rule_op op,
                                   enum rule_type type)
{
    struct rule_node *n;

    if (!scan(c, a, 0))
        return NULL;
    n = rule_node_make(c, a, op, type, 0);
    return n && event_name(c, a, 0, &n->text) ? n : NULL;
}

static bool window(struct rule_checker *c, const struct rule_ast *a, size_t i, struct rule_node *n)
{
    rule_need(c, RULE_NEEDS_NOW);
    return rule_check_window(c, a->kids[i], a, &n->window_ms);
}

static bool condition(struct rule_checker *c, const struct rule_ast *a, size_t i, struct rule_node *n)
{
    n->kids = rule_alloc(c->source, sizeof(struct rule_node *));
    if (!n->kids)
        return false;
    c->in_condition = true;
    n->kids[0] = rule_check_as(c, a->kids[i], RULE_BOOL, a);
    c->in_condition = false;
    n->kid_count = 1;
    return n->kids[0] != NULL;
}

/* Whether an argument is a condition rather than a number of days, by its looks. */
static bool looks_true(const struct rule_ast *a)
{
    if (a->kind == AST_OPERATOR)
        return a->op < OP_ADD && (a->op != OP_TERNARY || looks_true(a->kids[1]));
    if (a->kind == AST_CALL)
        return !str_is(a->text, "days") && !str_is(a->text, "hours") && !str_is(a->text, "minutes") &&
               !str_is(a->text, "duration");
    return a->kind != AST_NAME && (a->kind != AST_CONSTANT || a->op == OP_BOOL);
}

struct rule_node *rule_call_count(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = make_scan(c, a, OP_COUNT, RULE_NUMBER);
    bool days = a->kid_count > 1 && !(a->kid_count == 2 && looks_true(a->kids[1]));

    if (!n || (days && !window(c, a, 1, n)))
        return NULL;
    if (a->kid_count > 1 + (size_t)days && !condition(c, a, 1 + (size_t)days, n))
        return NULL;
    return n;
}

struct rule_node *rule_call_sum(struct rule_checker *c, const struct rule_ast *a)
{
    static const char *const sums[] = {[SUM_SPENT] = "spent", [SUM_GROSS] = "gross", [SUM_ITEMS] = "items"};
    struct str what = rule_check_text(c, a->kids[0], a, "\"spent\", \"gross\" or \"items\"");
    struct rule_node *n;
    struct rule_near near;

    if (!what.p || !scan(c, a, a->kid_count > 1 ? RULE_NEEDS_ORDERS : 0))
        return NULL;
    n = rule_node_make(c, a, OP_SUM, RULE_NUMBER, 0);
    if (!n || (a->kid_count > 1 && !window(c, a, 1, n)))
        return NULL;
    rule_near_init(&near, what);
    for (enum rule_money i = SUM_SPENT; i <= SUM_ITEMS; i++) {
        rule_near_offer(&near, str_of(sums[i]));
        n->money = i;
        if (str_is(what, sums[i]))
            return n;
    }
    return rule_fail_near(c->source, rule_ast_place(a), rule_near_best(&near),
                          "sum is of \"spent\", \"gross\" or \"items\"");
}

/* Without a property behind it. */
struct rule_node *rule_call_last(struct rule_checker *c, const struct rule_ast *a)
{
    return rule_fail(c->source, rule_ast_place(a), "say what of it: last(\"Product Viewed\").category");
}

struct rule_node *rule_check_last(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    struct rule_node *n;
    struct str name;

    if (steps->n == 0 || steps->root->kid_count != 1)
        return rule_call_last(c, steps->root);
    n = make_scan(c, steps->root, OP_LAST, RULE_ANY);
    if (!n)
        return NULL;
    n->from = a->from;
    n->to = a->to;
    name = rule_step_name(c, steps->step[0]);
    if (!name.p || !rule_check_path(c, n, steps, 0))
        return NULL;
    if (steps->n == 1)
        n->type = rule_property_type(name);
    n->personal = traits_personal_property(c->names->traits, name);
    c->rule->personal |= n->personal;
    return n;
}

struct rule_node *rule_call_followed_by(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = make_scan(c, a, OP_FOLLOWED_BY, RULE_BOOL);

    if (!n || !event_name(c, a, 1, &n->second) || !rule_check_duration(c, a->kids[2], a, &n->within_ms))
        return NULL;
    return n;
}

#define NOT_FOLLOWED_DAYS 7 /* unless the rule says how far back to look */

struct rule_node *rule_call_not_followed_by(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = make_scan(c, a, OP_NOT_FOLLOWED_BY, RULE_BOOL);

    if (!n || !event_name(c, a, 1, &n->second) || !rule_check_duration(c, a->kids[2], a, &n->within_ms))
        return NULL;
    n->window_ms = NOT_FOLLOWED_DAYS * INT64_C(86400000);
    if (a->kid_count > 3 && !window(c, a, 3, n))
        return NULL;
    rule_need(c, RULE_NEEDS_NOW);
    if (n->window_ms <= n->within_ms)
        return rule_fail(c->source, rule_ast_place(a),
                         "nobody is ever meant: it looks back no further than the time in which the second may follow");
    return n;
}

struct rule_node *rule_call_in_audience(struct rule_checker *c, const struct rule_ast *a)
{
    struct str name = rule_check_text(c, a->kids[0], a, "the name of an audience");
    struct rule_node *n;

    if (!name.p)
        return NULL;
    if (c->names->audience && !c->names->audience(c->names->arg, name))
        return rule_fail(c->source, rule_ast_place(a), "there is no audience %.*s", (int)(name.n < 64 ? name.n : 64),
                         name.p);
    n = rule_node_make(c, a, OP_IN_AUDIENCE, RULE_BOOL, 0);
    if (!n)
        return NULL;
    n->text = rule_copy(c->source, name);
    rule_need(c, RULE_NEEDS_AUDIENCES);
    return n->text.p && rule_list_name(c, &c->rule->audiences, &c->rule->audience_count, n->text) ? n : NULL;
}

struct rule_node *rule_call_exported(struct rule_checker *c, const struct rule_ast *a)
{
    struct str name = rule_check_text(c, a->kids[0], a, "the name of a campaign");
    struct rule_node *n = name.p ? rule_node_make(c, a, OP_EXPORTED, RULE_BOOL, 0) : NULL;

    if (!n)
        return NULL;
    n->text = rule_copy(c->source, name);
    rule_need(c, RULE_NEEDS_MARKS);
    return n->text.p && rule_list_name(c, &c->rule->campaigns, &c->rule->campaign_count, n->text) ? n : NULL;
}

static bool has_quintiles(enum rule_fact fact)
{
    for (size_t i = 0; i < CUTS_FACTS; i++)
        if (cuts_facts[i] == fact)
            return true;
    return false;
}

static struct rule_node *fail_quintile(struct rule_checker *c, const struct rule_ast *a)
{
    char list[160];
    size_t n = 0;

    for (size_t i = 0; i < CUTS_FACTS; i++) {
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", rule_facts[cuts_facts[i]].name);
        assert(n < sizeof list);
    }
    return rule_fail(c->source, rule_ast_place(a), "quintile is of one of: %s", list);
}

struct rule_node *rule_call_quintile(struct rule_checker *c, const struct rule_ast *a)
{
    const struct rule_ast *of = a->kids[0];
    enum rule_fact fact = of->kind == AST_NAME ? rule_fact_find(of->text) : RULE_FACTS;
    struct rule_node *n;

    if (!has_quintiles(fact))
        return fail_quintile(c, a);
    n = rule_node_make(c, a, OP_QUINTILE, RULE_NUMBER, 0);
    if (n)
        n->fact = fact;
    rule_need(c, RULE_NEEDS_CUTS);
    return n;
}

/* The group and figure of top() and names(). */
static bool group_and_figure(struct rule_checker *c, const struct rule_ast *a, struct rule_node *n)
{
    struct str group = rule_check_text(c, a->kids[0], a, "a group of by"), figure;

    if (!group.p)
        return false;
    n->by.figure = FIGURES_NONE;
    n->by.group = rule_by_find(group);
    if (n->by.group == RULE_BYS)
        return rule_fail_group(c, rule_ast_place(a), group);
    if (a->kid_count == 1)
        return true;
    figure = rule_check_text(c, a->kids[1], a, "a figure");
    if (!figure.p)
        return false;
    n->by.figure = rule_figure_find(figure);
    if (n->by.figure == FIGURES_NONE || !rule_by_has(n->by.group, n->by.figure))
        return rule_fail_figure(c, rule_ast_place(a), n->by.group, figure);
    return true;
}

struct rule_node *rule_call_top(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_TOP, RULE_STRING, 0);

    if (!n || !group_and_figure(c, a, n))
        return NULL;
    for (enum rule_figure i = 0; n->by.figure == FIGURES_NONE; i++)
        if (rule_by_has(n->by.group, i))
            n->by.figure = i;
    if (n->by.group == BY_HOUR || n->by.group == BY_WEEKDAY)
        n->type = RULE_NUMBER;
    return n;
}

struct rule_node *rule_call_names(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_NAMES, RULE_NUMBER, 0);

    return n && group_and_figure(c, a, n) ? n : NULL;
}

struct rule_node *rule_call_interest(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = make_scan(c, a, OP_INTEREST, RULE_STRING);
    struct str property = n ? rule_check_text(c, a->kids[1], a, "the name of a property") : STR_NONE;

    if (!property.p)
        return NULL;
    n->second = rule_copy(c->source, property);
    n->personal = traits_personal_property(c->names->traits, property);
    c->rule->personal |= n->personal;
    if (!n->second.p || !rule_check_window(c, a->kids[2], a, &n->within_ms) ||
        (a->kid_count > 3 && !window(c, a, 3, n)))
        return NULL;
    return n;
}
