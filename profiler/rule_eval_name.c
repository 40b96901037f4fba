/* What a rule names: facts, traits, consent, tags, audiences, properties of the event at hand. Pure but for the keys of
 * personal traits; any thread. */
#include <assert.h>
#include <errno.h>

#include "profiler/facts_maps.h"
#include "profiler/marks.h"
#include "profiler/rule_eval_inside.h"

/* --- facts ------------------------------------------------------------------------------------------------------- */

static int amount(struct eval *e, struct cell *out, money micros)
{
    return cell_number(e, out, rule_number_of(micros, MICROS));
}

static int fact_amount(struct eval *e, const struct facts *f, enum rule_fact fact, struct cell *out)
{
    const money spent = f->gross - f->refunded;

    switch (fact) {
    case FACT_GROSS:
        return amount(e, out, f->gross);
    case FACT_REFUNDED:
        return amount(e, out, f->refunded);
    case FACT_SPENT:
        return amount(e, out, spent);
    case FACT_DISCOUNT:
        return amount(e, out, f->discount);
    default:
        cell_absent(out);
        if (f->items_without_cost > 0)
            return 0;
        return amount(e, out, fact == FACT_COST ? f->cost : spent - f->cost);
    }
}

static bool fact_time(const struct facts *f, enum rule_fact fact, int64_t *out)
{
    switch (fact) {
    case FACT_FIRST_SEEN:
        *out = f->first_seen;
        return true;
    case FACT_LAST_SEEN:
        *out = f->last_seen;
        return true;
    case FACT_FIRST_EVENT_AT:
        *out = f->first_event_at;
        return true;
    case FACT_LAST_EVENT_AT:
        *out = f->last_event_at;
        return true;
    case FACT_FIRST_ORDER_AT:
        *out = f->first_order_at;
        return true;
    case FACT_LAST_ORDER_AT:
        *out = f->last_order_at;
        return true;
    default:
        return false;
    }
}

static bool fact_count(const struct facts *f, enum rule_fact fact, __int128 *out)
{
    switch (fact) {
#define COUNT(which, field)                                                                                            \
    case which:                                                                                                        \
        *out = f->field;                                                                                               \
        return true;
        COUNT(FACT_EVENTS, events)
        COUNT(FACT_SESSIONS, sessions)
        COUNT(FACT_PAGES, pages)
        COUNT(FACT_PRODUCTS_VIEWED, products_viewed)
        COUNT(FACT_PRODUCTS_ADDED, products_added)
        COUNT(FACT_PRODUCTS_REMOVED, products_removed)
        COUNT(FACT_CHECKOUTS, checkouts)
        COUNT(FACT_ORDERS, orders)
        COUNT(FACT_ORDERS_CANCELLED, orders_cancelled)
        COUNT(FACT_ORDERS_REFUNDED, orders_refunded)
        COUNT(FACT_CREDIT_NOTES, credit_notes)
        COUNT(FACT_ITEMS, items)
#undef COUNT
    default:
        return false;
    }
}

static int mean_days(struct eval *e, const struct facts *f, struct cell *out)
{
    cell_absent(out);
    if (f->orders < 2)
        return 0;
    return cell_number(e, out,
                       rule_number_of(f->last_order_at - f->first_order_at, (__int128)TIME_DAY * (f->orders - 1)));
}

static int eval_fact(struct eval *e, enum rule_fact fact, struct cell *out)
{
    const struct facts *f = e->s->facts;
    int64_t time;
    __int128 count;

    if (fact_time(f, fact, &time)) {
        cell_time(out, time);
        return 0;
    }
    if (fact_count(f, fact, &count))
        return cell_int(e, out, count);
    if (fact == FACT_MEAN_DAYS_BETWEEN_ORDERS)
        return mean_days(e, f, out);
    if (fact == FACT_REFERRED_BY) {
        cell_text(out, f->referred_by);
        return 0;
    }
    return fact_amount(e, f, fact, out);
}

/* --- maps of the facts ------------------------------------------------------------------------------------------- */

/* The figure in millionths: of an amount its micros. */
static money figure_of(const struct tally *t, enum rule_figure figure)
{
    switch (figure) {
    case FIGURE_VIEWS:
        return (money)t->views * MICROS;
    case FIGURE_ORDERS:
        return (money)t->orders * MICROS;
    case FIGURE_PAGES:
        return (money)t->pages * MICROS;
    case FIGURE_ADDED:
        return (money)t->added * MICROS;
    case FIGURE_ORDERED:
        return (money)t->ordered * MICROS;
    default:
        assert(figure == FIGURE_AMOUNT);
        return t->amount;
    }
}

static uint64_t clock_count(const struct facts *f, unsigned group, const struct rule_value *key)
{
    struct rule_number v;
    const __int128 first = group == BY_HOUR ? 0 : 1, end = group == BY_HOUR ? 24 : 8;

    if (key->type == RULE_NUMBER)
        v = *key->number;
    else if (key->type != RULE_STRING || !rule_number_read(key->text, &v))
        return 0;
    if (!rule_number_whole(v) || rule_number_cut(v) < first || rule_number_cut(v) >= end)
        return 0;
    const size_t at = (size_t)(rule_number_cut(v) - first);
    return group == BY_HOUR ? f->hour[at] : f->weekday[at];
}

static int eval_by(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct facts *f = e->s->facts;
    const struct tally *t;
    struct cell key;
    int rc = eval_kid(e, n, 0, &key);

    cell_absent(out);
    if (rc != 0 || !cell_has(&key))
        return rc;
    if (key.moves)
        eval_wake_in(e, 1);
    if (n->by.group >= FACTS_MAPS)
        return cell_int(e, out, clock_count(f, n->by.group, &key.v));
    t = key.v.type == RULE_STRING ? tally_find(&f->by[n->by.group], key.v.text) : NULL;
    return t ? amount(e, out, figure_of(t, n->by.figure)) : cell_int(e, out, 0);
}

static int eval_amounts(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct facts *f = e->s->facts;
    money v = 0;
    struct cell key;
    int rc = eval_kid(e, n, 0, &key);

    cell_absent(out);
    if (rc != 0 || !cell_has(&key))
        return rc;
    for (size_t i = 0; i < f->currency_count; i++) {
        const struct currency_sum *c = &f->currencies[i];

        if (key.v.type != RULE_STRING || !str_is(key.v.text, c->currency))
            continue;
        v = n->by.figure == FIGURE_GROSS      ? c->gross
            : n->by.figure == FIGURE_REFUNDED ? c->refunded
            : n->by.figure == FIGURE_DISCOUNT ? c->discount
                                              : c->gross - c->refunded;
    }
    return amount(e, out, v);
}

static int top_of_clock(struct eval *e, const uint64_t *v, int n, int first, struct cell *out)
{
    int best = -1;

    for (int i = 0; i < n; i++)
        if (v[i] > 0 && (best < 0 || v[i] > v[best]))
            best = i;
    cell_absent(out);
    return best < 0 ? 0 : cell_int(e, out, best + first);
}

static int eval_top(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct facts *f = e->s->facts;
    const struct tally *best = NULL;

    if (n->by.group == BY_HOUR)
        return top_of_clock(e, f->hour, 24, 0, out);
    if (n->by.group == BY_WEEKDAY)
        return top_of_clock(e, f->weekday, 7, 1, out);
    for (size_t i = 0; i < f->by[n->by.group].n; i++) {
        const struct tally *t = &f->by[n->by.group].v[i];

        if (str_eq(t->name, NAME_REST) || figure_of(t, n->by.figure) <= 0)
            continue;
        if (!best || figure_of(t, n->by.figure) > figure_of(best, n->by.figure))
            best = t; /* of equal ones the first by name */
    }
    cell_text(out, best ? best->name : STR_NONE);
    return 0;
}

static int eval_names(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct facts *f = e->s->facts;
    __int128 count = 0;

    if (n->by.group >= FACTS_MAPS) {
        const bool hour = n->by.group == BY_HOUR;

        for (int i = 0; i < (hour ? 24 : 7); i++)
            count += (hour ? f->hour[i] : f->weekday[i]) > 0;
        return cell_int(e, out, count);
    }
    for (size_t i = 0; i < f->by[n->by.group].n; i++) {
        const struct tally *t = &f->by[n->by.group].v[i];

        count += !str_eq(t->name, NAME_REST) && (n->by.figure == FIGURES_NONE || figure_of(t, n->by.figure) > 0);
    }
    return cell_int(e, out, count);
}

/* The fact in its own unit, as cut points have it. */
static bool fact_in_units(const struct facts *f, enum rule_fact fact, __int128 *out)
{
    int64_t time;

    if (fact_time(f, fact, &time)) {
        *out = time;
        return time != TIME_NONE;
    }
    if (fact_count(f, fact, out))
        return true;
    *out = fact == FACT_GROSS      ? f->gross
           : fact == FACT_REFUNDED ? f->refunded
           : fact == FACT_DISCOUNT ? f->discount
           : fact == FACT_COST     ? f->cost
           : fact == FACT_MARGIN   ? f->gross - f->refunded - f->cost
                                   : f->gross - f->refunded;
    if (fact == FACT_COST || fact == FACT_MARGIN)
        return f->items_without_cost == 0;
    return fact != FACT_MEAN_DAYS_BETWEEN_ORDERS && fact != FACT_REFERRED_BY;
}

static int eval_quintile(struct eval *e, enum rule_fact fact, struct cell *out)
{
    const struct rule_cuts *cuts = e->s->cuts;
    __int128 v;
    int in = 1;

    cell_absent(out);
    if (!cuts || cuts->made_at == TIME_NONE || !cuts->of[fact].has || e->s->facts->orders == 0 ||
        !fact_in_units(e->s->facts, fact, &v))
        return 0;
    for (int i = 0; i < 4; i++)
        in += v > cuts->of[fact].cuts[i];
    return cell_int(e, out, in);
}

/* --- traits ------------------------------------------------------------------------------------------------------ */

static int read_trait(struct eval *e, const struct rule_node *n, struct rule_value *out)
{
    const struct rule_subject *s = e->s;
    struct str json = STR_NONE;
    int rc;

    *out = (struct rule_value){0};
    if (s->traits && s->rules->traits)
        json = traits_value(s->traits, s->rules->traits, n->text, s->arena);
    if (!str_has(json))
        return 0;
    rc = rule_value_read(json, s->arena, out);
    return rc < 0 ? rc : 0;
}

/* Opening traits costs more than everything else: each is opened once for all rules. */
static int remembered_trait(struct eval *e, const struct rule_node *n, struct rule_value *out)
{
    struct rule_events *shared = rule_events_of(e->s);
    int rc;

    if (!shared)
        return -ENOMEM;
    for (size_t i = 0; i < shared->memo_count; i++)
        if (str_eq(shared->memos[i].name, n->text)) {
            *out = shared->memos[i].value;
            return 0;
        }
    rc = read_trait(e, n, out);
    if (rc == 0 && shared->memo_count < RULE_TRAIT_MEMOS)
        shared->memos[shared->memo_count++] = (struct rule_trait_memo){n->text, *out};
    return rc;
}

static int eval_trait(struct eval *e, const struct rule_node *n, struct cell *out)
{
    int rc;

    cell_absent(out);
    rc = remembered_trait(e, n, &out->v);
    if (rc == 0)
        rc = value_further(e, n, 0, &out->v);
    if (rc == 0)
        value_as(n->type, &out->v);
    return rc;
}

static void eval_consent(struct eval *e, const struct rule_node *n, struct cell *out)
{
    enum traits_consent c = CONSENT_UNSTATED;

    if (e->s->traits)
        c = traits_consent_of(e->s->traits, n->text);
    cell_absent(out);
    if (c != CONSENT_UNSTATED)
        cell_bool(out, c == CONSENT_GRANTED);
}

/* --- who the person is to others --------------------------------------------------------------------------------- */

static void eval_tag(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_value v;

    cell_absent(out);
    if (e->s->tag && e->s->tag(e->s->tag_arg, n->text, &v))
        cell_still(out, &v);
    value_as(n->type, &out->v);
}

/* Whether a campaign's mark says that an export took the person. */
static int was_exported(struct eval *e, const struct mark *m, bool *out)
{
    struct rule_value v;
    int rc = rule_value_read(m->value, e->arena, &v);

    *out = false;
    if (rc != 0 || v.type != RULE_MAP)
        return rc < 0 ? rc : 0;
    for (size_t i = 0; i + 1 < v.n; i += 2)
        if (str_is(v.list[i].text, "arm") && v.list[i + 1].type == RULE_STRING)
            *out = str_is(v.list[i + 1].text, "exported");
    return 0;
}

static int eval_exported(struct eval *e, const struct rule_node *n, struct cell *out)
{
    bool exported = false;
    struct mark m;
    int rc = 1;

    if (e->s->traits && !traits_empty(e->s->traits))
        rc = marks_find(e->s->traits, MARK_CAMPAIGN, n->text, e->arena, &m);
    if (rc == 0 && str_has(m.value))
        rc = was_exported(e, &m, &exported);
    cell_bool(out, exported);
    return rc < 0 ? rc : 0;
}

/* --- properties -------------------------------------------------------------------------------------------------- */

static int eval_property(struct eval *e, const struct rule_node *n, struct cell *out)
{
    int rc;

    assert(e->event); /* checked: only inside a condition */
    cell_absent(out);
    rc = event_property(e, e->event, n->text, n->personal, &out->v);
    if (rc == 0)
        rc = value_further(e, n, 0, &out->v);
    if (rc == 0)
        value_as(n->type, &out->v);
    return rc;
}

int eval_name(struct eval *e, const struct rule_node *n, struct cell *out)
{
    switch (n->op) {
    case OP_FACT:
        return eval_fact(e, n->fact, out);
    case OP_BY:
        return eval_by(e, n, out);
    case OP_AMOUNTS:
        return eval_amounts(e, n, out);
    case OP_TOP:
        return eval_top(e, n, out);
    case OP_NAMES:
        return eval_names(e, n, out);
    case OP_QUINTILE:
        return eval_quintile(e, n->fact, out);
    case OP_TRAIT:
        return eval_trait(e, n, out);
    case OP_CONSENT:
        eval_consent(e, n, out);
        return 0;
    case OP_TAG:
        eval_tag(e, n, out);
        return 0;
    case OP_IN_AUDIENCE:
        cell_bool(out, e->s->in_audience && e->s->in_audience(e->s->arg, n->text));
        return 0;
    case OP_EXPORTED:
        return eval_exported(e, n, out);
    default:
        assert(n->op == OP_PROPERTY);
        return eval_property(e, n, out);
    }
}
