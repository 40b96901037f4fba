/* Meaning for names in a rule, with the fields and keys behind them: facts, by, traits, tags, consent, amounts, e. Any
 * thread. */
#include <assert.h>
#include <stdio.h>

#include "common/limits.h"
#include "common/num.h"
#include "profiler/rule_check.h"
#include "profiler/rule_number.h"

typedef struct rule_node *name_check(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps);

static name_check check_by, check_traits, check_tags, check_consent, check_amounts, check_property;

/* Names that stand for nothing without a field or a key. */
static const struct {
    const char *name;
    name_check *check;
    const char *example;
} groups[] = {
    {"by", check_by, "by.category[\"Shoes\"].views"},
    {"traits", check_traits, "traits.city"},
    {"tags", check_tags, "tags.lifecycle"},
    {"consent", check_consent, "consent.email"},
    {"amounts_by_currency", check_amounts, "amounts_by_currency[\"EUR\"].spent"},
    {"e", check_property, "e.category"},
};
#define GROUPS (sizeof groups / sizeof *groups)

struct rule_place rule_step_place(const struct rule_ast *step)
{
    return step->kind == AST_FIELD ? step->name : rule_ast_place(step);
}

struct str rule_step_name(struct rule_checker *c, const struct rule_ast *step)
{
    const struct rule_ast *key;

    if (step->kind == AST_FIELD)
        return step->text;
    key = step->kids[1];
    if (key->kind == AST_CONSTANT && key->op == OP_STRING && key->text.n <= LIMIT_NAME_BYTES)
        return key->text;
    rule_fail(c->source, rule_ast_place(step), "a name in quotes must stand in the brackets");
    return STR_NONE;
}

/* From the root of a chain of fields and indexes on. Their number is bounded by the depth of what is parsed. */
static void find_steps(const struct rule_ast *a, struct rule_steps *out)
{
    const struct rule_ast *at;

    out->n = 0;
    for (at = a; at->kind == AST_FIELD || at->kind == AST_INDEX; at = at->kids[0])
        out->n++;
    out->root = at;
    assert(out->n <= RULE_STEPS);
    at = a;
    for (size_t i = out->n; i > 0; i--, at = at->kids[0])
        out->step[i - 1] = at;
}

bool rule_check_path(struct rule_checker *c, struct rule_node *n, const struct rule_steps *steps, size_t i)
{
    size_t count = steps->n - i;

    assert(i <= steps->n);
    n->kid_count = count;
    n->kids = rule_alloc(c->source, (count ? count : 1) * sizeof(struct rule_node *));
    if (!n->kids)
        return false;
    for (size_t k = 0; k < count; k++) {
        const struct rule_ast *step = steps->step[i + k];
        if (step->kind == AST_INDEX) {
            n->kids[k] = rule_check(c, step->kids[1]);
            if (n->kids[k] && n->kids[k]->type != RULE_STRING && n->kids[k]->type != RULE_NUMBER &&
                n->kids[k]->type != RULE_ANY)
                return rule_fail(c->source, rule_ast_place(step), "[ ] takes a text or a number");
        } else {
            n->kids[k] = rule_node_make(c, step, OP_STRING, RULE_STRING, 0);
            if (n->kids[k])
                n->kids[k]->text = step->text;
        }
        if (!n->kids[k])
            return false;
    }
    return true;
}

/* Further fields behind what has none. */
static struct rule_node *fail_step(struct rule_checker *c, const struct rule_ast *step, struct str of)
{
    return rule_fail(c->source, rule_step_place(step), "%.*s has no fields", STR_ARG(of));
}

static struct rule_node *check_hour_key(struct rule_checker *c, const struct rule_ast *index, unsigned group)
{
    int64_t first = group == BY_HOUR ? 0 : 1, last = group == BY_HOUR ? 23 : 7;
    struct rule_node *key = rule_check(c, index->kids[1]);
    uint64_t v;

    if (!key)
        return NULL;
    if (key->op == OP_STRING && num_u64(key->text, &v) == NUM_OK) {
        key->op = OP_NUMBER;
        key->type = RULE_NUMBER;
        key->number = rule_number_of_int(v);
    }
    if (key->type != RULE_NUMBER && key->type != RULE_ANY)
        return rule_fail(c->source, rule_ast_place(index), "by.%s takes a number", rule_by_names[group]);
    if (key->op == OP_NUMBER && (key->number.below != 1 || key->number.above < first || key->number.above > last))
        return rule_fail(c->source, rule_ast_place(index->kids[1]), "by.%s has the numbers %d to %d",
                         rule_by_names[group], (int)first, (int)last);
    return key;
}

static struct rule_node *check_key(struct rule_checker *c, const struct rule_ast *index, unsigned group)
{
    if (group == BY_HOUR || group == BY_WEEKDAY)
        return check_hour_key(c, index, group);
    return rule_check_as(c, index->kids[1], RULE_STRING, index);
}

/* The key and figure of by.GROUP (group RULE_BYS: amounts_by_currency) from the step `i` on. */
static struct rule_node *check_figure(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps,
                                      size_t i, unsigned group)
{
    bool counts_only = group == BY_HOUR || group == BY_WEEKDAY;
    struct str what = group == RULE_BYS ? STR_LIT("amounts_by_currency") : str_of(rule_by_names[group]);
    struct str figure;
    struct rule_node *n;

    if (steps->n <= i || steps->step[i]->kind != AST_INDEX)
        return rule_fail(c->source, steps->n > i ? rule_step_place(steps->step[i]) : rule_ast_place(a),
                         "%s%.*s needs a key: %s", group == RULE_BYS ? "" : "by.", STR_ARG(what),
                         counts_only ? "by.hour[9]" : "[\"Name\"].figure");
    n = rule_node_make(c, a, group == RULE_BYS ? OP_AMOUNTS : OP_BY, RULE_NUMBER, 1);
    if (!n || !(n->kids[0] = check_key(c, steps->step[i], group)))
        return NULL;
    n->by.group = group;
    n->by.figure = FIGURE_COUNT;
    if (counts_only)
        return steps->n == i + 1 ? n : fail_step(c, steps->step[i + 1], STR_LIT("a number"));
    if (steps->n <= i + 1)
        return rule_fail_figure(c, rule_ast_place(a), group, STR_LIT(""));
    figure = rule_step_name(c, steps->step[i + 1]);
    if (!figure.p)
        return NULL;
    n->by.figure = rule_figure_find(figure);
    if (n->by.figure == FIGURES_NONE ||
        (group == RULE_BYS ? !rule_amounts_have(n->by.figure) : !rule_by_has(group, n->by.figure)))
        return rule_fail_figure(c, rule_step_place(steps->step[i + 1]), group, figure);
    return steps->n == i + 2 ? n : fail_step(c, steps->step[i + 2], figure);
}

static struct rule_node *check_by(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    struct str name = rule_step_name(c, steps->step[0]);
    unsigned group;

    if (!name.p)
        return NULL;
    group = rule_by_find(name);
    if (group == RULE_BYS)
        return rule_fail_group(c, rule_step_place(steps->step[0]), name);
    return check_figure(c, a, steps, 1, group);
}

static struct rule_node *check_amounts(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    return check_figure(c, a, steps, 0, RULE_BYS);
}

enum rule_type rule_trait_type(const struct trait_kind *kind)
{
    static const enum rule_type types[TRAIT_TYPES] = {[TRAIT_STRING] = RULE_STRING,
                                                      [TRAIT_NUMBER] = RULE_NUMBER,
                                                      [TRAIT_BOOLEAN] = RULE_BOOL,
                                                      [TRAIT_DATE] = RULE_TIME,
                                                      [TRAIT_LIST] = RULE_LIST};

    return kind ? types[kind->type] : RULE_ANY;
}

static struct rule_node *check_traits(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    struct str name = rule_step_name(c, steps->step[0]);
    const struct trait_kind *kind = name.p ? traits_find(c->names->traits, name) : NULL;
    struct rule_node *n;

    if (!name.p)
        return NULL;
    n = rule_node_make(c, a, OP_TRAIT, steps->n == 1 ? rule_trait_type(kind) : RULE_ANY, 0);
    if (!n || !rule_check_path(c, n, steps, 1))
        return NULL;
    n->text = rule_copy(c->source, kind ? kind->name : name);
    n->personal = kind && kind->personal;
    c->rule->personal |= n->personal;
    rule_need(c, RULE_NEEDS_TRAITS);
    return n->text.p ? n : NULL;
}

static struct rule_node *check_tags(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    struct str name = rule_step_name(c, steps->step[0]);
    const struct rule_tag *tag = NULL;
    struct rule_near near;
    struct rule_node *n;

    if (!name.p)
        return NULL;
    rule_near_init(&near, name);
    for (size_t i = 0; i < c->names->tag_count && !tag; i++) {
        rule_near_offer(&near, c->names->tags[i].name);
        if (str_eq(c->names->tags[i].name, name))
            tag = &c->names->tags[i];
    }
    if (!tag)
        return rule_fail_near(c->source, rule_step_place(steps->step[0]), rule_near_best(&near), "there is no tag %.*s",
                              (int)(name.n < 64 ? name.n : 64), name.p);
    if (steps->n > 1)
        return fail_step(c, steps->step[1], name);
    n = rule_node_make(c, a, OP_TAG, tag->type, 0);
    if (!n)
        return NULL;
    n->text = rule_copy(c->source, name);
    rule_need(c, RULE_NEEDS_TAGS);
    return n->text.p && rule_list_name(c, &c->rule->tags, &c->rule->tag_count, n->text) ? n : NULL;
}

static struct rule_node *check_consent(struct rule_checker *c, const struct rule_ast *a, const struct rule_steps *steps)
{
    struct str name = rule_step_name(c, steps->step[0]);
    struct rule_node *n;

    if (!name.p)
        return NULL;
    if (steps->n > 1)
        return fail_step(c, steps->step[1], name);
    n = rule_node_make(c, a, OP_CONSENT, RULE_BOOL, 0);
    if (!n)
        return NULL;
    n->text = rule_copy(c->source, name);
    rule_need(c, RULE_NEEDS_TRAITS);
    return n->text.p ? n : NULL;
}

static struct rule_node *check_property(struct rule_checker *c, const struct rule_ast *a,
                                        const struct rule_steps *steps)
{
    struct str name = rule_step_name(c, steps->step[0]);
    struct rule_node *n;

    if (!name.p)
        return NULL;
    if (!c->in_condition)
        return rule_fail(c->source, rule_ast_place(steps->root),
                         "e is the event of a condition: count(\"Product Viewed\", 30, e.category == \"Shoes\")");
    n = rule_node_make(c, a, OP_PROPERTY, steps->n == 1 ? rule_property_type(name) : RULE_ANY, 0);
    if (!n || !rule_check_path(c, n, steps, 1))
        return NULL;
    n->text = rule_copy(c->source, name);
    n->personal = traits_personal_property(c->names->traits, name);
    c->rule->personal |= n->personal;
    return n->text.p ? n : NULL;
}

/* The nearest of a group's names, which are written GROUP.NAME. */
static void offer_group(struct rule_near *best, char *text, size_t room, const char *group, struct rule_near *near)
{
    struct str name = rule_near_best(near);
    int n;

    if (!name.p || near->distance >= best->distance)
        return;
    n = snprintf(text, room, "%s.%.*s", group, STR_ARG(name));
    best->distance = near->distance;
    best->best = (struct str){text, n < 0 || (size_t)n >= room ? 0 : (size_t)n};
}

static struct rule_node *fail_unknown(struct rule_checker *c, const struct rule_ast *a)
{
    char text[RULE_SUGGESTION];
    struct rule_near near, tags, traits;
    struct str name = {a->text.p, a->text.n < 64 ? a->text.n : 64};

    rule_near_init(&near, a->text);
    rule_near_init(&tags, a->text);
    rule_near_init(&traits, a->text);
    for (size_t i = 0; i < RULE_FACTS; i++)
        rule_near_offer(&near, str_of(rule_facts[i].name));
    for (size_t i = 0; i < GROUPS; i++)
        rule_near_offer(&near, str_of(groups[i].name));
    rule_near_offer(&near, STR_LIT("now"));
    for (size_t i = 0; i < rule_function_count; i++)
        rule_near_offer(&near, str_of(rule_functions[i].name));
    for (size_t i = 0; i < c->names->tag_count; i++)
        rule_near_offer(&tags, c->names->tags[i].name);
    for (size_t i = 0; c->names->traits && i < vocabulary_count(c->names->traits); i++)
        rule_near_offer(&traits, vocabulary_at(c->names->traits, i)->name);
    offer_group(&near, text, sizeof text, "tags", &tags);
    offer_group(&near, text, sizeof text, "traits", &traits);
    return rule_fail_near(c->source, rule_ast_place(a), rule_near_best(&near), "there is nothing called %.*s",
                          STR_ARG(name));
}

/* A name without anything behind it. */
static struct rule_node *check_bare(struct rule_checker *c, const struct rule_ast *a)
{
    enum rule_fact fact = rule_fact_find(a->text);
    struct rule_node *n;

    if (fact < RULE_FACTS) {
        n = rule_node_make(c, a, OP_FACT, rule_facts[fact].type, 0);
        if (n)
            n->fact = fact;
        return n;
    }
    if (str_is(a->text, "now")) {
        rule_need(c, RULE_NEEDS_NOW);
        return rule_node_make(c, a, OP_NOW, RULE_TIME, 0);
    }
    for (size_t i = 0; i < GROUPS; i++)
        if (str_is(a->text, groups[i].name))
            return rule_fail(c->source, rule_ast_place(a), "%s needs a name behind it: %s", groups[i].name,
                             groups[i].example);
    for (size_t i = 0; i < rule_function_count; i++)
        if (str_is(a->text, rule_functions[i].name))
            return rule_fail(c->source, rule_ast_place(a), "%s is a function: %s", rule_functions[i].name,
                             rule_functions[i].signature);
    return fail_unknown(c, a);
}

/* .NAME and [KEY] of a list or a map that the rule makes itself. */
static struct rule_node *check_index(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_node *of = rule_check(c, a->kids[0]), *key, *n;

    if (!of)
        return NULL;
    if (of->type != RULE_ANY && of->type != RULE_LIST && of->type != RULE_MAP)
        return rule_fail(c->source, rule_step_place(a), "%s has no fields", rule_type_words(of->type));
    if (a->kind == AST_FIELD) {
        if (of->type == RULE_LIST)
            return rule_fail(c->source, rule_step_place(a), "a list has no fields, only numbers in [ ]");
        key = rule_node_make(c, a, OP_STRING, RULE_STRING, 0);
        if (key)
            key->text = a->text;
    } else if (of->type == RULE_LIST) {
        key = rule_check_as(c, a->kids[1], RULE_NUMBER, a);
    } else {
        key = rule_check(c, a->kids[1]);
    }
    n = key ? rule_node_make(c, a, OP_INDEX, RULE_ANY, 2) : NULL;
    if (!n)
        return NULL;
    n->kids[0] = of;
    n->kids[1] = key;
    return n;
}

struct rule_node *rule_check_name(struct rule_checker *c, const struct rule_ast *a)
{
    struct rule_steps steps;

    find_steps(a, &steps);
    if (steps.root->kind == AST_CALL && str_is(steps.root->text, "last"))
        return rule_check_last(c, a, &steps);
    if (steps.n == 0)
        return check_bare(c, a);
    for (size_t i = 0; steps.root->kind == AST_NAME && i < GROUPS; i++)
        if (str_is(steps.root->text, groups[i].name))
            return groups[i].check(c, a, &steps);
    if (a->kind == AST_NAME)
        return check_bare(c, a);
    return check_index(c, a);
}
