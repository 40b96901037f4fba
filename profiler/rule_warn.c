/* Warnings about a rule that compiles: a negation that lets the unknown in, and names that nobody uses. Any thread.
 *
 * Every comparison with an absent value is false, so its negation is true: !(days_since(last_order_at) < 30) holds for
 * people who never ordered. Where has(…) of the same value stands beside it in an &&, that was thought of. */
#include <assert.h>
#include <stdio.h>

#include "common/limits.h"
#include "profiler/rule_check.h"
#include "profiler/rule_number.h"

struct walk {
    struct rule_source *source;
    const struct rule_names *names;
    struct rule *rule;
    const struct rule_node *known[LIMIT_RULE_DEPTH]; /* && in whose brackets we are */
    size_t known_count;
};

static struct rule_warning *warning(struct walk *w, unsigned line, unsigned column)
{
    struct rule *r = w->rule;
    struct rule_warning *next;

    if (r->warning_count == LIMIT_RULE_WARNINGS)
        return NULL;
    if (!r->warnings)
        r->warnings = rule_alloc(w->source, LIMIT_RULE_WARNINGS * sizeof *r->warnings);
    if (!r->warnings)
        return NULL;
    next = &r->warnings[r->warning_count++];
    next->line = line;
    next->column = column;
    return next;
}

static bool same(const struct rule_node *a, const struct rule_node *b)
{
    if (a->op != b->op || a->kid_count != b->kid_count || !str_eq(a->text, b->text) || a->type != b->type)
        return false;
    if (a->op == OP_FACT && a->fact != b->fact)
        return false;
    if (a->op == OP_NUMBER && rule_number_cmp(a->number, b->number) != 0)
        return false;
    for (size_t i = 0; i < a->kid_count; i++)
        if (!same(a->kids[i], b->kids[i]))
            return false;
    return true;
}

/* Whether has(n) stands in an && around here. */
static bool is_known(const struct walk *w, const struct rule_node *n)
{
    for (size_t i = 0; i < w->known_count; i++)
        for (size_t k = 0; k < w->known[i]->kid_count; k++) {
            const struct rule_node *beside = w->known[i]->kids[k];
            if (beside->op == OP_HAS && same(beside->kids[0], n))
                return true;
        }
    return false;
}

/* What a person may lack of a value of the rule; NULL: nothing. */
static const struct rule_node *lacking(const struct walk *w, const struct rule_node *n)
{
    const struct rule_node *found = NULL;

    switch (n->op) {
    case OP_HAS:
    case OP_BY:
    case OP_AMOUNTS:
    case OP_COUNT:
        return NULL;
    case OP_FACT:
        return rule_facts[n->fact].may_lack && !is_known(w, n) ? n : NULL;
    case OP_TRAIT:
    case OP_TAG:
    case OP_CONSENT:
    case OP_PROPERTY:
    case OP_LAST:
    case OP_QUINTILE:
    case OP_TOP:
    case OP_INTEREST:
        return is_known(w, n) ? NULL : n;
    case OP_DIV:
    case OP_MOD:
        if (n->kids[1]->op != OP_NUMBER || rule_number_sign(n->kids[1]->number) == 0)
            found = n;
        break;
    default:
        break;
    }
    for (size_t i = 0; i < n->kid_count; i++) {
        const struct rule_node *of_kid = lacking(w, n->kids[i]);
        if (of_kid)
            return of_kid;
    }
    return found && !is_known(w, found) ? found : NULL;
}

static void warn_negation(struct walk *w, const struct rule_node *n)
{
    const struct rule_node *of = lacking(w, n->kids[0]);
    struct rule_warning *out = of ? warning(w, n->line, n->column) : NULL;
    struct str what;

    if (!out)
        return;
    what = rule_excerpt(w->source, of->from, of->to);
    (void)snprintf(out->message, sizeof out->message,
                   "this is true of people for whom %.*s is not known; to leave them out, write has(%.*s) && before it",
                   STR_ARG(what), STR_ARG(what));
}

/* A trait that is not in the vocabulary but has the name of one, nearly. */
static void warn_trait(struct walk *w, const struct rule_node *n)
{
    const struct vocabulary *v = w->names->traits;
    struct rule_near near;
    struct str meant;
    struct rule_warning *out;

    if (!v || traits_find(v, n->text))
        return;
    rule_near_init(&near, n->text);
    for (size_t i = 0; i < vocabulary_count(v); i++)
        rule_near_offer(&near, vocabulary_at(v, i)->name);
    meant = rule_near_best(&near);
    out = meant.p ? warning(w, n->line, n->column) : NULL;
    if (out)
        (void)snprintf(out->message, sizeof out->message, "the trait %.*s is in no vocabulary; %.*s is", (int)n->text.n,
                       n->text.p, STR_ARG(meant));
}

/* A name of events that is nearly one that shops send. */
static void warn_event(struct walk *w, const struct rule_node *n, struct str name)
{
    static const char *const usual[] = {"Product Viewed",
                                        "Product Added",
                                        "Product Removed",
                                        "Checkout Started",
                                        "Order Completed",
                                        "Order Cancelled",
                                        "Order Refunded",
                                        "Order Updated",
                                        "Products Searched",
                                        "Product Clicked",
                                        "Product List Viewed",
                                        "Cart Viewed",
                                        "page",
                                        "screen"};
    struct rule_near near;
    struct str meant;
    struct rule_warning *out;

    rule_near_init(&near, name);
    near.distance = near.distance < 4 ? near.distance : 4;
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        if (str_is(name, usual[i]))
            return;
        rule_near_offer(&near, str_of(usual[i]));
    }
    meant = rule_near_best(&near);
    out = meant.p ? warning(w, n->line, n->column) : NULL;
    if (out)
        (void)snprintf(out->message, sizeof out->message, "shops send \"%.*s\"; is \"%.*s\" an event of yours?",
                       STR_ARG(meant), (int)(name.n < 64 ? name.n : 64), name.p);
}

static void walk(struct walk *w, const struct rule_node *n)
{
    bool chain = n->op == OP_AND && w->known_count < LIMIT_RULE_DEPTH;

    if (n->op == OP_NOT)
        warn_negation(w, n);
    else if (n->op == OP_TRAIT)
        warn_trait(w, n);
    else if (n->op == OP_COUNT || n->op == OP_LAST || n->op == OP_INTEREST || n->op == OP_FOLLOWED_BY ||
             n->op == OP_NOT_FOLLOWED_BY)
        warn_event(w, n, n->text);
    if (n->op == OP_FOLLOWED_BY || n->op == OP_NOT_FOLLOWED_BY)
        warn_event(w, n, n->second);
    if (chain)
        w->known[w->known_count++] = n;
    for (size_t i = 0; i < n->kid_count; i++)
        walk(w, n->kids[i]);
    w->known_count -= chain;
}

bool rule_warn(struct rule_source *s, const struct rule_names *names, struct rule *r)
{
    struct walk w = {.source = s, .names = names, .rule = r};

    walk(&w, r->root);
    return !s->no_memory;
}
