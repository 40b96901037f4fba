/* Meaning for windows and durations in a rule. Any thread. */
#include <assert.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/rule_check.h"
#include "profiler/rule_number.h"

#define DAY_MS INT64_C(86400000)

/* A number of units in whole ms, cut; false when it is not within LIMIT_RULE_DAYS. */
static bool in_ms(struct rule_number n, int64_t unit, int64_t *ms)
{
    const struct rule_number longest = rule_number_of_int(LIMIT_RULE_DAYS * DAY_MS);

    if (!rule_number_mul(n, rule_number_of_int(unit), &n) || rule_number_cmp(n, longest) > 0 ||
        rule_number_cmp(n, rule_number_neg(longest)) < 0)
        return false;
    *ms = (int64_t)rule_number_cut(n);
    return true;
}

static bool check_span(struct rule_checker *c, const struct rule_node *n, const struct rule_ast *by, int64_t *ms)
{
    bool constant = n->op == OP_NUMBER || n->op == OP_DURATION;

    *ms = n->ms;
    if (!constant)
        return rule_fail(c->source, rule_ast_place(by), "the time of %.*s must be a constant", STR_ARG(by->text));
    if ((n->op == OP_NUMBER && !in_ms(n->number, DAY_MS, ms)) || *ms <= 0 || *ms > LIMIT_RULE_DAYS * DAY_MS)
        return rule_fail(c->source, rule_ast_place(by), "the time of %.*s must be above 0 and at most %d days",
                         STR_ARG(by->text), LIMIT_RULE_DAYS);
    return true;
}

bool rule_check_window(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by, int64_t *ms)
{
    struct rule_node *n = rule_check(c, a);

    if (!n)
        return false;
    if (n->type != RULE_NUMBER && n->type != RULE_DURATION)
        return rule_fail(c->source, rule_ast_place(by), "%.*s takes a number of days here, and %.*s is %s",
                         STR_ARG(by->text), STR_ARG(rule_excerpt(c->source, a->from, a->to)), rule_type_words(n->type));
    return check_span(c, n, by, ms);
}

bool rule_check_duration(struct rule_checker *c, const struct rule_ast *a, const struct rule_ast *by, int64_t *ms)
{
    struct rule_node *n = rule_check(c, a);

    if (!n)
        return false;
    if (n->type != RULE_DURATION)
        return rule_fail(c->source, rule_ast_place(by),
                         "%.*s takes a duration here, such as hours(24) or days(7), and %.*s is %s", STR_ARG(by->text),
                         STR_ARG(rule_excerpt(c->source, a->from, a->to)), rule_type_words(n->type));
    return check_span(c, n, by, ms);
}

static struct rule_node *make_duration(struct rule_checker *c, const struct rule_ast *a, int64_t ms)
{
    struct rule_node *n = rule_node_make(c, a, OP_DURATION, RULE_DURATION, 0);

    if (n)
        n->ms = ms;
    return n;
}

static struct rule_node *call_units(struct rule_checker *c, const struct rule_ast *a, int64_t unit)
{
    struct rule_node *n = rule_check_as(c, a->kids[0], RULE_NUMBER, a);
    int64_t ms;

    if (!n)
        return NULL;
    if (n->op != OP_NUMBER)
        return rule_fail(c->source, rule_ast_place(a),
                         "%.*s takes a constant; days that differ from person to person are compared as numbers: "
                         "days_since(last_order_at) > 2 * mean_days_between_orders",
                         STR_ARG(a->text));
    if (!in_ms(n->number, unit, &ms))
        return rule_fail(c->source, rule_ast_place(a), "a duration is at most %d days", LIMIT_RULE_DAYS);
    return make_duration(c, a, ms);
}

struct rule_node *rule_call_days(struct rule_checker *c, const struct rule_ast *a)
{
    return call_units(c, a, DAY_MS);
}

struct rule_node *rule_call_hours(struct rule_checker *c, const struct rule_ast *a)
{
    return call_units(c, a, DAY_MS / 24);
}

struct rule_node *rule_call_minutes(struct rule_checker *c, const struct rule_ast *a)
{
    return call_units(c, a, DAY_MS / 24 / 60);
}

/* A number and a unit of a duration's text, in ns would be exact; ms are what times are counted in. */
static bool read_part(struct str *text, struct rule_number *ms)
{
    static const struct {
        const char *unit;
        int64_t above, below;
    } units[] = {{"ms", 1, 1},     {"us", 1, 1000},   {"\xc2\xb5s", 1, 1000}, {"ns", 1, 1000000},
                 {"d", DAY_MS, 1}, {"h", 3600000, 1}, {"m", 60000, 1},        {"s", 1000, 1}};
    struct rule_number n;
    size_t digits = 0;

    while (digits < text->n && ((text->p[digits] >= '0' && text->p[digits] <= '9') || text->p[digits] == '.'))
        digits++;
    if (digits == 0 || !rule_number_read((struct str){text->p, digits}, &n))
        return false;
    *text = (struct str){text->p + digits, text->n - digits};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (!str_starts(*text, str_of(units[i].unit)))
            continue;
        *text = (struct str){text->p + strlen(units[i].unit), text->n - strlen(units[i].unit)};
        return rule_number_mul(n, rule_number_of(units[i].above, units[i].below), &n) && rule_number_add(*ms, n, ms);
    }
    return false;
}

/* 36h, 1h30m, -1.5h, 90s, 250ms; days too, which CEL does not have. */
static bool read_duration(struct str text, int64_t *ms)
{
    bool negative = text.n > 0 && text.p[0] == '-';
    struct rule_number sum = rule_number_of_int(0);

    if (negative)
        text = (struct str){text.p + 1, text.n - 1};
    if (text.n == 0)
        return false;
    while (text.n > 0)
        if (!read_part(&text, &sum))
            return false;
    return in_ms(negative ? rule_number_neg(sum) : sum, 1, ms);
}

struct rule_node *rule_call_duration(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *n = rule_check_as(c, a->kids[0], RULE_STRING, a);
    int64_t ms;

    if (!n)
        return NULL;
    if (n->op != OP_STRING || !read_duration(n->text, &ms))
        return rule_fail(c->source, rule_ast_place(a),
                         "duration takes a text such as \"36h\" or \"1h30m\", at most %d days", LIMIT_RULE_DAYS);
    return make_duration(c, a, ms);
}

/* A day alone is that day's midnight where the shop is. */
struct rule_node *rule_call_timestamp(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *kid = rule_check(c, a->kids[0]), *n;
    int64_t ms;

    if (!kid)
        return NULL;
    if (kid->type != RULE_STRING && kid->type != RULE_TIME && kid->type != RULE_ANY)
        return rule_fail(c->source, rule_ast_place(a), "timestamp takes a text, and this is %s",
                         rule_type_words(kid->type));
    if (kid->op == OP_STRING && time_parse(kid->text, &ms) != 0)
        return rule_fail(c->source, rule_ast_place(a),
                         "timestamp takes a day or a time: \"2026-05-01\" or \"2026-05-01T09:30:00Z\"");
    n = rule_node_make(c, a, OP_TIMESTAMP, RULE_TIME, 1);
    if (n)
        n->kids[0] = kid;
    return n;
}
