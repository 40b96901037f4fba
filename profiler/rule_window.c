/* What happened in a window of time, and what came after what. A window holds what is later than now minus its length;
 * time alone only takes out of it. Pure; the thread of the evaluation. */
#include <assert.h>
#include <errno.h>

#include "profiler/rule_eval_inside.h"

/* What goes out of a window next, moment by moment; made while the events in it are looked at, the oldest first. */
struct leaving {
    int64_t at[MOTION_STEPS_MAX];
    struct rule_number then[MOTION_STEPS_MAX];
    size_t n;
    bool open;
};

/* Gives the cell the steps that it will take. */
static int set_steps(struct eval *e, struct cell *c, const struct leaving *l, int way, int keeps)
{
    struct motion *m;
    struct rule_number *then;
    int64_t *at;

    if (l->n == 0)
        return 0;
    m = arena_alloc(e->arena, sizeof *m);
    at = arena_alloc(e->arena, l->n * sizeof *at);
    then = arena_alloc(e->arena, l->n * sizeof *then);
    if (!m || !at || !then)
        return -ENOMEM;
    memcpy(at, l->at, l->n * sizeof *at);
    memcpy(then, l->then, l->n * sizeof *then);
    *m = (struct motion){.kind = MOTION_STEPS,
                         .way = way,
                         .keeps = keeps,
                         .n = *c->v.number,
                         .now = e->s->now,
                         .count = l->n,
                         .at = at,
                         .then = then,
                         .open = l->open};
    c->moves = m;
    return 0;
}

static int64_t window_begin(const struct eval *e, const struct rule_node *n)
{
    return n->window_ms == RULE_EVER ? INT64_MIN : e->s->now - n->window_ms;
}

/* --- count ------------------------------------------------------------------------------------------------------- */

static void leaves(struct leaving *out, const struct rule_node *n, const struct event_key *key)
{
    if (n->window_ms == RULE_EVER)
        return;
    if (out->n < MOTION_STEPS_MAX)
        out->at[out->n++] = key->time + n->window_ms;
    else
        out->open = true;
}

/* All of them; the first leave first. */
static void count_all(const struct rule_node *n, const struct rule_event_list *l, size_t from, struct leaving *out,
                      size_t *count)
{
    const size_t end = rule_events_count(l);

    *count = end - from;
    for (size_t i = from; i < end && !out->open; i++)
        leaves(out, n, rule_events_key(l, i));
}

static int count_past(struct eval *e, const struct rule_node *n, const struct rule_event_list *l, size_t from,
                      struct leaving *out, size_t *count)
{
    struct past_memo *m;
    int rc = past_memo(e->s->past, l->past, n, from, &m);

    if (rc != 0)
        return rc;
    *count = past_matching(m, from);
    for (size_t i = past_next(m, from); i != SIZE_MAX && !out->open; i = past_next(m, i + 1))
        leaves(out, n, rule_events_key(l, i));
    return 0;
}

/* Those of a list from `from` on that fulfil the condition. */
static int count_matching(struct eval *e, const struct rule_node *n, const struct rule_event_list *l, size_t from,
                          struct leaving *out, size_t *count)
{
    int rc = l->past ? count_past(e, n, l, from, out, count) : 0;

    for (size_t i = from > l->before ? from - l->before : 0; i < l->n && rc == 0; i++) {
        bool matches;

        rc = eval_condition(e, n->kids[0], &l->v[i], &matches);
        if (rc != 0 || !matches)
            continue;
        ++*count;
        leaves(out, n, l->v[i].key);
    }
    return rc;
}

static int count_events(struct eval *e, const struct rule_node *n, const struct rule_event_list *l, struct leaving *out,
                        size_t *count)
{
    const size_t from = rule_events_after(l, window_begin(e, n));
    int rc = 0;

    *count = 0;
    out->n = 0;
    out->open = false;
    if (n->kid_count)
        rc = count_matching(e, n, l, from, out, count);
    else
        count_all(n, l, from, out, count);
    for (size_t i = 0; i < out->n; i++)
        out->then[i] = rule_number_of_int((__int128)(*count - 1 - i));
    return rc;
}

static int eval_count(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_event_list l;
    struct leaving leaving;
    size_t count;
    int rc = rule_events_named(e->s, n->text, &l);

    cell_absent(out);
    if (rc == 0)
        rc = count_events(e, n, &l, &leaving, &count);
    if (rc == 0)
        rc = cell_int(e, out, (__int128)count);
    if (rc == 0)
        rc = set_steps(e, out, &leaving, MOTION_DOWN, 1);
    return rc;
}

/* --- sum --------------------------------------------------------------------------------------------------------- */

static __int128 moved(const struct rule_money_moved *m, enum rule_money which)
{
    return which == SUM_SPENT ? m->spent : which == SUM_GROSS ? m->gross : m->items;
}

static int sum_of_facts(struct eval *e, enum rule_money which, struct cell *out)
{
    const struct facts *f = e->s->facts;

    if (which == SUM_ITEMS)
        return cell_int(e, out, f->items);
    return cell_number(e, out, rule_number_of(which == SUM_GROSS ? f->gross : f->gross - f->refunded, MICROS));
}

static int eval_sum(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const __int128 unit = n->money == SUM_ITEMS ? 1 : MICROS;
    const int64_t begin = window_begin(e, n);
    const struct rule_money_moved *v;
    struct leaving leaving = {0};
    __int128 sum = 0, left;
    size_t count, from;
    int rc;

    if (n->window_ms == RULE_EVER)
        return sum_of_facts(e, n->money, out);
    cell_absent(out);
    rc = rule_money_of(e->s, &v, &count);
    if (rc != 0)
        return rc;
    for (from = count; from > 0 && v[from - 1].time > begin; from--)
        sum += moved(&v[from - 1], n->money);
    left = sum;
    for (size_t i = from; i < count; i++) {
        if (leaving.n == MOTION_STEPS_MAX) {
            leaving.open = true;
            break;
        }
        left -= moved(&v[i], n->money);
        leaving.at[leaving.n] = v[i].time + n->window_ms;
        leaving.then[leaving.n++] = rule_number_of(left, unit);
    }
    rc = cell_number(e, out, rule_number_of(sum, unit));
    return rc ? rc : set_steps(e, out, &leaving, MOTION_ANY_WAY, 0);
}

/* --- last -------------------------------------------------------------------------------------------------------- */

static int eval_last(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_event_list l;
    struct past_memo *m = NULL;
    int rc = rule_events_named(e->s, n->text, &l);

    cell_absent(out);
    if (rc != 0)
        return rc;
    assert(n->kid_count > 0 && n->kids[0]->op == OP_STRING); /* checked: last() is of a property */
    if (l.past)
        rc = past_memo(e->s->past, l.past, n, l.n || !l.before ? l.before : l.before - 1, &m);
    if (rc != 0 || rule_events_count(&l) == 0)
        return rc;
    if (l.n)
        rc = event_property(e, &l.v[l.n - 1], n->kids[0]->text, n->personal, &out->v);
    else
        out->v = past_value(m);
    if (rc == 0)
        rc = value_further(e, n, 1, &out->v);
    if (rc == 0)
        value_as(n->type, &out->v);
    return rc;
}

/* --- what came after what ---------------------------------------------------------------------------------------- */

/* The latest of the first name, and the first of the second name behind it; NULL: none. */
static int latest_and_next(struct eval *e, const struct rule_node *n, const struct event_key **latest,
                           const struct event_key **next)
{
    struct rule_event_list first, second;
    size_t at;
    int rc = rule_events_named(e->s, n->text, &first);

    *latest = *next = NULL;
    if (rc == 0)
        rc = rule_events_named(e->s, n->second, &second);
    if (rc != 0 || rule_events_count(&first) == 0)
        return rc;
    *latest = rule_events_key(&first, rule_events_count(&first) - 1);
    at = rule_events_behind(&second, *latest);
    *next = at < rule_events_count(&second) ? rule_events_key(&second, at) : NULL;
    return 0;
}

static int eval_followed(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct event_key *latest, *next;
    int rc = latest_and_next(e, n, &latest, &next);

    cell_bool(out, latest && next && next->time - latest->time <= n->within_ms);
    return rc;
}

/* True from one ms after the time within which it should have come until the window is over. */
static int eval_not_followed(struct eval *e, const struct rule_node *n, struct cell *out)
{
    const struct event_key *latest, *next;
    int rc = latest_and_next(e, n, &latest, &next);
    int64_t age;

    cell_bool(out, false);
    if (rc != 0 || !latest || next)
        return rc;
    age = e->s->now - latest->time;
    cell_bool(out, age > n->within_ms && age <= n->window_ms);
    if (age <= n->within_ms)
        eval_wake(e, latest->time + n->within_ms + 1);
    else if (age <= n->window_ms)
        eval_wake(e, latest->time + n->window_ms + 1);
    return 0;
}

int eval_window(struct eval *e, const struct rule_node *n, struct cell *out)
{
    switch (n->op) {
    case OP_COUNT:
        return eval_count(e, n, out);
    case OP_SUM:
        return eval_sum(e, n, out);
    case OP_LAST:
        return eval_last(e, n, out);
    case OP_FOLLOWED_BY:
        return eval_followed(e, n, out);
    default:
        assert(n->op == OP_NOT_FOLLOWED_BY);
        return eval_not_followed(e, n, out);
    }
}
