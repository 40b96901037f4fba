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

int interest_text(struct eval *e, const struct rule_node *n, struct rule_event *event, struct str *out)
{
    struct rule_value value;
    int rc = event_property(e, event, n->second, n->personal, &value);

    if (rc == 0)
        rc = text_of(e, &value, out);
    if (rc == 0 && (out->n == 0 || out->n > LIMIT_NAME_BYTES))
        *out = STR_NONE;
    return rc;
}

static int meet(struct eval *e, const struct rule_node *n, const struct rule_event_list *l, size_t from, struct met *v,
                size_t *count)
{
    const size_t end = rule_events_count(l);
    const int64_t latest = rule_events_key(l, end - 1)->time;
    struct past_memo *m = NULL;
    int rc = l->past ? past_memo(e->s->past, l->past, n, from, &m) : 0;

    *count = 0;
    for (size_t i = from; i < end && rc == 0; i++) {
        const double age = (double)(latest - rule_events_key(l, i)->time);
        struct str text = STR_NONE;

        if (i < l->before)
            text = past_text(m, i);
        else
            rc = interest_text(e, n, &l->v[i - l->before], &text);
        if (rc == 0 && str_has(text))
            v[(*count)++] = (struct met){text, exp2(-age / (double)n->within_ms), i};
    }
    return rc;
}

/* Where the sum of a value stands, or would. */
static struct met *find_sum(struct met *sums, size_t room, struct str value)
{
    uint64_t h = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < value.n; i++)
        h = (h ^ (unsigned char)value.p[i]) * UINT64_C(1099511628211);
    for (size_t at = (size_t)(h ^ h >> 32);; at++) {
        struct met *sum = &sums[at & (room - 1)];

        if (!str_has(sum->value) || str_eq(sum->value, value))
            return sum;
    }
}

/* Of equal ones that which was met last. Weights are added in the order of events. */
static int heaviest(const struct met *v, size_t n, struct str *out)
{
    struct met best = {0}, *sums;
    size_t room = 16;

    while (room < 2 * n)
        room *= 2;
    sums = calloc(room, sizeof *sums);
    if (!sums)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct met *sum = find_sum(sums, room, v[i].value);

        sum->value = v[i].value;
        sum->weight += v[i].weight;
        sum->at = v[i].at;
    }
    for (size_t i = 0; i < room; i++)
        if (str_has(sums[i].value) && (!str_has(best.value) || sums[i].weight > best.weight ||
                                       (sums[i].weight == best.weight && sums[i].at > best.at)))
            best = sums[i];
    free(sums);
    *out = best.value;
    return 0;
}

int eval_interest(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct rule_event_list l;
    struct str best;
    struct met *v;
    size_t from, end, count;
    int rc = rule_events_named(e->s, n->text, &l);

    cell_absent(out);
    if (rc != 0)
        return rc;
    end = rule_events_count(&l);
    from = n->window_ms == RULE_EVER ? 0 : rule_events_after(&l, e->s->now - n->window_ms);
    if (from == end)
        return 0;
    if (end - from > LIMIT_RULE_INTEREST)
        from = end - LIMIT_RULE_INTEREST;
    if (n->window_ms != RULE_EVER)
        eval_wake(e, rule_events_key(&l, from)->time + n->window_ms);
    v = malloc((end - from) * sizeof *v);
    if (!v)
        return -ENOMEM;
    rc = meet(e, n, &l, from, v, &count);
    if (rc == 0)
        rc = heaviest(v, count, &best);
    if (rc == 0)
        cell_text(out, best);
    free(v);
    return rc;
}
