/* The refunds of an order: one per refund id, cut where the order's total is reached. Pure. */
#include "profiler/order_refunds.h"

#include <errno.h>

/* What a refund statement says it comes to; false when it leaves that to the order's total. */
static bool amount_given(const struct event *e, money *out)
{
    const struct order_fields *f = &e->order;

    if (f->has_refund && f->refund_amount.has)
        *out = f->refund_amount.v;
    else if (f->has_refund && f->has_refund_items && f->refund_item_count > 0)
        *out = order_lines(f->refund_items, f->refund_item_count);
    else if (f->has_items && e->item_count > 0)
        *out = order_lines(e->items, e->item_count);
    else
        return false;
    return true;
}

/* The refund that this statement is about: the one of its id, else a new one. */
static size_t find_refund(const struct order_refund *v, size_t n, struct str id)
{
    for (size_t i = 0; id.n && i < n; i++) {
        if (str_eq(v[i].id, id))
            return i;
    }
    return n;
}

static bool is_refund(const struct event *e)
{
    enum order_status s = STATUS_NONE;

    return order_stated(e, &s) && s == STATUS_REFUNDED;
}

/* Statements come in the order of events, and so do the refunds by their earliest statement. */
static size_t merge_refunds(const struct order *o, struct order_refund *v, bool *given)
{
    size_t n = 0;

    for (size_t i = 0; i < o->statement_count; i++) {
        const struct event *e = o->statements[i];
        struct str id = e->order.has_refund && e->order.refund_id.n ? e->order.refund_id : STR_NONE;
        size_t at;
        money amount;

        if (!is_refund(e))
            continue;
        at = find_refund(v, n, id);
        if (at == n) {
            v[n] = (struct order_refund){.key = event_key(e), .id = id};
            given[n++] = false;
        }
        if (amount_given(e, &amount)) {
            v[at].amount = amount;
            given[at] = true;
        }
    }
    return n;
}

static size_t count_refund_statements(const struct order *o)
{
    size_t n = 0;

    for (size_t i = 0; i < o->history_count; i++)
        n += o->history[i].status == STATUS_REFUNDED;
    return n;
}

int order_refunds(struct order *o, bool bought, struct arena *a)
{
    size_t max = count_refund_statements(o), n;
    money left = o->total > 0 ? o->total : 0;
    struct order_refund *v;
    bool *given;

    if (max == 0)
        return 0;
    v = arena_alloc(a, max * sizeof(*v));
    given = arena_alloc(a, max * sizeof(*given));
    if (!v || !given)
        return -ENOMEM;
    n = merge_refunds(o, v, given);
    for (size_t i = 0; i < n; i++) {
        if (!given[i])
            v[i].amount = o->total;
        if (v[i].amount < 0)
            v[i].amount = 0;
        if (bought && v[i].amount > left)
            v[i].amount = left;
        left -= v[i].amount;
        o->refunded += v[i].amount;
    }
    o->refunds = v;
    o->refund_count = n;
    o->credit_note = !bought;
    return 0;
}
