/* What a person is most interested in: of the values of a property the one that was met most, what was long ago
 * counting less. All events are weighed from the latest of them, so time alone changes nothing but by leaving a window.
 * Pure; the thread of the evaluation. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "profiler/rule_eval_inside.h"

/* An event's value; `at` is its place in the order of events. */
struct met {
    struct str value;
    double weight;
    size_t at;
};

static int compare_met(const void *a, const void *b)
{
    const struct met *x = a, *y = b;
    int c = str_cmp(x->value, y->value);

    return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* A number is met as its text. */
static int text_of(struct eval *e, struct rule_value *v, struct str *out)
{
    struct buf b;

    *out = STR_NONE;
    if (v->type == RULE_STRING)
        *out = v->text;
    if (v->type != RULE_NUMBER)
        return 0;
    buf_init(&b, KIB);
    rule_number_write(*v->number, &b);
    *out = arena_dup(e->arena, buf_str(&b));
    buf_deinit(&b);
    return out->p ? 0 : -ENOMEM;
}

static int meet(struct eval *e, const struct rule_node *n, const struct rule_event_list *l, size_t from, struct met *v,
                size_t *count)
{
    const int64_t latest = l->v[l->n - 1].key->time;

    *count = 0;
    for (size_t i = from; i < l->n; i++) {
        const double age = (double)(latest - l->v[i].key->time);
        struct rule_value value;
        struct str text;
        int rc = event_property(e, &l->v[i], n->second, n->personal, &value);

        if (rc == 0)
            rc = text_of(e, &value, &text);
        if (rc != 0)
            return rc;
        if (text.n > 0 && text.n <= LIMIT_NAME_BYTES)
            v[(*count)++] = (struct met){text, exp2(-age / (double)n->within_ms), i};
    }
    return 0;
}

/* Of equal ones that which was met last. */
static struct str heaviest(struct met *v, size_t n)
{
    struct met best = {0};

    if (n > 1)
        qsort(v, n, sizeof *v, compare_met);
    for (size_t i = 0; i < n;) {
        struct met sum = {.value = v[i].value};

        for (; i < n && str_eq(v[i].value, sum.value); i++) {
            sum.weight += v[i].weight;
            sum.at = v[i].at;
        }
        if (!str_has(best.value) || sum.weight > best.weight || (sum.weight == best.weight && sum.at > best.at))
            best = sum;
    }
    return best.value;
}

int eval_interest(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_event_list l;
    struct met *v;
    size_t from, count;
    int rc = rule_events_named(e->s, n->text, &l);

    cell_absent(out);
    if (rc != 0)
        return rc;
    from = n->window_ms == RULE_EVER ? 0 : rule_events_after(&l, e->s->now - n->window_ms);
    if (from == l.n)
        return 0;
    if (l.n - from > LIMIT_RULE_INTEREST)
        from = l.n - LIMIT_RULE_INTEREST;
    if (n->window_ms != RULE_EVER)
        eval_wake(e, l.v[from].key->time + n->window_ms);
    v = malloc((l.n - from) * sizeof *v);
    if (!v)
        return -ENOMEM;
    rc = meet(e, n, &l, from, v, &count);
    if (rc == 0)
        cell_text(out, heaviest(v, count));
    free(v);
    return rc;
}
