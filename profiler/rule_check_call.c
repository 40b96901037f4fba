/* Meaning for functions and methods in a rule. Any thread. */
#include <assert.h>

#include "profiler/rule_check.h"

/* One argument of a type. */
static struct rule_node *call_one(struct rule_checker *c, const struct rule_ast *a, enum rule_op op,
                                  enum rule_type takes, enum rule_type gives)
{
    struct rule_node *n = rule_node_make(c, a, op, gives, 1);

    if (n)
        n->kids[0] = rule_check_as(c, a->kids[0], takes, a);
    return n && n->kids[0] ? n : NULL;
}

static struct rule_node *call_today(struct rule_checker *c, const struct rule_ast *a)
{
    rule_need(c, RULE_NEEDS_NOW);
    return rule_node_make(c, a, OP_TODAY, RULE_TIME, 0);
}

static struct rule_node *call_days_since(struct rule_checker *c, const struct rule_ast *a)
{
    rule_need(c, RULE_NEEDS_NOW);
    return call_one(c, a, OP_DAYS_SINCE, RULE_TIME, RULE_NUMBER);
}

static struct rule_node *call_date(struct rule_checker *c, const struct rule_ast *a)
{
    return call_one(c, a, OP_DATE, RULE_TIME, RULE_TIME);
}

static struct rule_node *call_month(struct rule_checker *c, const struct rule_ast *a)
{
    return call_one(c, a, OP_MONTH, RULE_TIME, RULE_NUMBER);
}

static struct rule_node *call_anniversary(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_node_make(c, a, OP_ANNIVERSARY, RULE_BOOL, 2);

    rule_need(c, RULE_NEEDS_NOW);
    if (!n || !(n->kids[0] = rule_check_as(c, a->kids[0], RULE_TIME, a)))
        return NULL;
    n->kids[1] = rule_check_as(c, a->kids[1], RULE_NUMBER, a);
    return n->kids[1] ? n : NULL;
}

static struct rule_node *call_has(struct rule_checker *c, const struct rule_ast *a)
{
    return call_one(c, a, OP_HAS, RULE_ANY, RULE_BOOL);
}

static struct rule_node *call_size(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = call_one(c, a, OP_SIZE, RULE_ANY, RULE_NUMBER);
    enum rule_type of = n ? n->kids[0]->type : RULE_ANY;

    if (of != RULE_ANY && of != RULE_STRING && of != RULE_LIST && of != RULE_MAP)
        return rule_fail(c->source, rule_ast_place(a), "size is of a text, a list or a map, and this is %s",
                         rule_type_words(of));
    return n;
}

static struct rule_node *call_lower(struct rule_checker *c, const struct rule_ast *a)
{
    return call_one(c, a, OP_LOWER, RULE_STRING, RULE_STRING);
}

static struct rule_node *call_upper(struct rule_checker *c, const struct rule_ast *a)
{
    return call_one(c, a, OP_UPPER, RULE_STRING, RULE_STRING);
}

static struct rule_node *call_number(struct rule_checker *c, const struct rule_ast *a, enum rule_op op)
{
    struct rule_node *n = call_one(c, a, op, RULE_ANY, RULE_NUMBER);
    enum rule_type of = n ? n->kids[0]->type : RULE_ANY;

    if (of != RULE_ANY && of != RULE_STRING && of != RULE_NUMBER)
        return rule_fail(c->source, rule_ast_place(a), "%.*s takes a number or a text, and this is %s",
                         STR_ARG(a->text), rule_type_words(of));
    return n;
}

static struct rule_node *call_int(struct rule_checker *c, const struct rule_ast *a)
{
    return call_number(c, a, OP_TO_INT);
}

static struct rule_node *call_double(struct rule_checker *c, const struct rule_ast *a)
{
    return call_number(c, a, OP_TO_DOUBLE);
}

static struct rule_node *call_string(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = call_one(c, a, OP_TO_STRING, RULE_ANY, RULE_STRING);

    if (n && (n->kids[0]->type == RULE_LIST || n->kids[0]->type == RULE_MAP))
        return rule_fail(c->source, rule_ast_place(a), "string takes no list and no map");
    return n;
}

const struct rule_function rule_functions[] = {
    {"has", "has(x)", "whether x has a value", 1, 1, call_has},
    {"days_since", "days_since(time)", "days from then to now, with fraction", 1, 1, call_days_since},
    {"today", "today()", "the local day of now", 0, 0, call_today},
    {"date", "date(time)", "the local day of a time", 1, 1, call_date},
    {"month", "month(time)", "the local month of a time, 1 to 12", 1, 1, call_month},
    {"anniversary", "anniversary(time, days)", "whether its day comes round within so many days", 2, 2,
     call_anniversary},
    {"count", "count(\"Event\", days, condition)",
     "events of that name in the last days (ever without) that fulfil the condition, in which e is the event", 1, 3,
     rule_call_count},
    {"sum", "sum(\"spent\", days)", "what orders of the last days came to: \"spent\", \"gross\" or \"items\"", 1, 2,
     rule_call_sum},
    {"last", "last(\"Event\").property", "a property of the latest event of that name", 1, 1, rule_call_last},
    {"followed_by", "followed_by(\"First\", \"Second\", hours(24))",
     "whether the latest first event has a second one after it within that time", 3, 3, rule_call_followed_by},
    {"not_followed_by", "not_followed_by(\"First\", \"Second\", hours(24), days(7))",
     "whether the latest first event is older than the first time, not older than the second (7 days unless given), "
     "and no second event has followed",
     3, 4, rule_call_not_followed_by},
    {"in_audience", "in_audience(\"name\")", "whether the person is in that audience", 1, 1, rule_call_in_audience},
    {"exported", "exported(\"campaign\")", "whether the person was in an export for that campaign", 1, 1,
     rule_call_exported},
    {"quintile", "quintile(spent)",
     "1 to 5: where the person stands among people with an order, 5 is best; of orders, items, gross, spent, discount, "
     "sessions, first_order_at, last_order_at",
     1, 1, rule_call_quintile},
    {"top", "top(\"category\", \"views\")",
     "the name in that group of by with the greatest figure (the group's first one unless given)", 1, 2, rule_call_top},
    {"names", "names(\"category\", \"ordered\")", "how many names in that group of by have that figure", 1, 2,
     rule_call_names},
    {"interest", "interest(\"Event\", \"property\", days)",
     "the value of that property with the most events, where each counts half after so many days; a fourth argument "
     "bounds the days looked back",
     3, 4, rule_call_interest},
    {"days", "days(7)", "a duration", 1, 1, rule_call_days},
    {"hours", "hours(24)", "a duration", 1, 1, rule_call_hours},
    {"minutes", "minutes(30)", "a duration", 1, 1, rule_call_minutes},
    {"duration", "duration(\"1h30m\")", "a duration", 1, 1, rule_call_duration},
    {"timestamp", "timestamp(\"2026-05-01\")", "a time, or the beginning of a local day", 1, 1, rule_call_timestamp},
    {"size", "size(text)", "characters of a text, elements of a list or map", 1, 1, call_size},
    {"lower", "lower(text)", "in small letters", 1, 1, call_lower},
    {"upper", "upper(text)", "in capital letters", 1, 1, call_upper},
    {"int", "int(x)", "a whole number, cut towards zero", 1, 1, call_int},
    {"double", "double(x)", "a number", 1, 1, call_double},
    {"string", "string(x)", "a text", 1, 1, call_string},
};
const size_t rule_function_count = sizeof rule_functions / sizeof *rule_functions;

const struct rule_method rule_methods[] = {
    {"contains", OP_CONTAINS, 1, RULE_BOOL},  {"startsWith", OP_STARTS_WITH, 1, RULE_BOOL},
    {"endsWith", OP_ENDS_WITH, 1, RULE_BOOL}, {"size", OP_SIZE, 0, RULE_NUMBER},
    {"lower", OP_LOWER, 0, RULE_STRING},      {"upper", OP_UPPER, 0, RULE_STRING},
    {"lowerAscii", OP_LOWER, 0, RULE_STRING}, {"upperAscii", OP_UPPER, 0, RULE_STRING},
    {"trim", OP_TRIM, 0, RULE_STRING},
};
const size_t rule_method_count = sizeof rule_methods / sizeof *rule_methods;

static struct str shown(struct str name)
{
    return (struct str){name.p, name.n < 64 ? name.n : 64};
}

/* What CEL has and rules do not, with the reason; absent for other names. */
static const char *left_out(struct str name)
{
    static const struct {
        const char *name, *why;
    } rows[] = {
        {"matches", "patterns are not part of the language: contains, startsWith and endsWith are"},
        {"all", "loops are not part of the language: count(…) with a condition looks through events"},
        {"exists", "loops are not part of the language: count(…) with a condition looks through events"},
        {"exists_one", "loops are not part of the language: count(…) with a condition looks through events"},
        {"filter", "loops are not part of the language: count(…) with a condition looks through events"},
        {"map", "loops are not part of the language: count(…) with a condition looks through events"},
        {"getMonth", "write month(t), which counts from 1"},
        {"getDate", "write date(t)"},
        {"uint", "there is one type of numbers: write int(x)"},
        {"bytes", "bytes are not part of the language"},
        {"dyn", "types are known or found at evaluation: leave dyn out"},
        {"type", "types cannot be asked for"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_is(name, rows[i].name))
            return rows[i].why;
    return NULL;
}

static struct rule_node *fail_function(struct rule_checker *c, const struct rule_ast *a)
{
    const char *why = left_out(a->text);
    struct str name = shown(a->text);
    struct rule_near near;

    if (why)
        return rule_fail(c->source, rule_ast_place(a), "%s", why);
    if (rule_fact_find(a->text) < RULE_FACTS)
        return rule_fail_near(c->source, rule_ast_place(a), a->text, "%.*s is no function: write it without ( )",
                              STR_ARG(name));
    rule_near_init(&near, a->text);
    for (size_t i = 0; i < rule_function_count; i++)
        rule_near_offer(&near, str_of(rule_functions[i].name));
    for (size_t i = 0; i < rule_method_count; i++)
        if (str_is(a->text, rule_methods[i].name))
            return rule_fail(c->source, rule_ast_place(a), "%.*s stands behind a text: traits.city.%.*s(…)",
                             STR_ARG(name), STR_ARG(name));
    return rule_fail_near(c->source, rule_ast_place(a), rule_near_best(&near), "there is no function %.*s",
                          STR_ARG(name));
}

struct rule_node *rule_check_call(struct rule_checker *c, const struct rule_ast *a)
{
    const struct rule_function *f = rule_functions, *end = f + rule_function_count;

    while (f < end && !str_is(a->text, f->name))
        f++;
    if (f == end)
        return fail_function(c, a);
    if (a->kid_count < f->least || a->kid_count > f->most)
        return rule_fail(c->source, rule_ast_place(a), "%s takes %zu%s%s, not %zu: %s", f->name, f->most,
                         f->most == 1 ? " argument" : " arguments", f->least < f->most ? " at most" : "", a->kid_count,
                         f->signature);
    return f->check(c, a);
}

static struct rule_node *fail_method(struct rule_checker *c, const struct rule_ast *a)
{
    const char *why = left_out(a->text);
    struct str name = shown(a->text);
    struct rule_near near;

    if (why)
        return rule_fail(c->source, rule_ast_place(a), "%s", why);
    rule_near_init(&near, a->text);
    for (size_t i = 0; i < rule_method_count; i++)
        rule_near_offer(&near, str_of(rule_methods[i].name));
    return rule_fail_near(c->source, rule_ast_place(a), rule_near_best(&near), "a text has no function %.*s",
                          STR_ARG(name));
}

struct rule_node *rule_check_method(struct rule_checker *c, const struct rule_ast *a)
{
    const struct rule_method *m = rule_methods, *end = m + rule_method_count;
    struct rule_node *n;

    while (m < end && !str_is(a->text, m->name))
        m++;
    if (m == end)
        return fail_method(c, a);
    if (a->kid_count != m->arguments + 1)
        return rule_fail(c->source, rule_ast_place(a), "%s takes %zu argument%s", m->name, m->arguments,
                         m->arguments == 1 ? "" : "s");
    if (m->op == OP_SIZE)
        return call_size(c, a);
    n = rule_node_make(c, a, m->op, m->type, a->kid_count);
    for (size_t i = 0; n && i < a->kid_count; i++)
        if (!(n->kids[i] = rule_check_as(c, a->kids[i], RULE_STRING, a)))
            return NULL;
    return n;
}
