/* An order from its statements: who wins field by field, when it was placed, what it comes to. Its refunds stand in
 * order_refunds.c. Pure; runs on whichever thread has the statements. */
#include "profiler/order.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/order_refunds.h"
#include "proto/codec.h"
#include "proto/internal.h"

static const struct {
    const char *name;
    enum order_status status;
    bool beacon; /* whether a beacon may say it */
} order_tracks[] = {
    {"Order Completed", STATUS_CREATED, true},
    {"Order Updated", STATUS_NONE, true},
    {"Order Cancelled", STATUS_CANCELLED, false},
    {"Order Refunded", STATUS_REFUNDED, false},
};

bool order_stated(const struct event *e, enum order_status *status)
{
    if (e->order.order_id.n == 0)
        return false;
    if (e->type == EVENT_ORDER) {
        *status = e->order.status;
        return true;
    }
    if (e->type != EVENT_TRACK)
        return false;
    for (size_t i = 0; i < sizeof(order_tracks) / sizeof(order_tracks[0]); i++) {
        if (!str_is(e->name, order_tracks[i].name))
            continue;
        *status = order_tracks[i].status;
        return order_tracks[i].beacon || e->trust == TRUST_SERVER;
    }
    return false;
}

static int64_t clamp(int64_t v, int64_t max)
{
    return v > max ? max : v < -max ? -max : v;
}

int64_t order_pieces(const struct item *it)
{
    return it->quantity.has ? clamp(it->quantity.v, LIMIT_QUANTITY) : 1;
}

static money times_pieces(const struct item *it, struct opt each)
{
    return each.has ? (money)clamp(each.v, LIMIT_AMOUNT * MICROS) * order_pieces(it) : 0;
}

money order_line(const struct item *it)
{
    return times_pieces(it, it->price);
}

money order_cost(const struct item *it)
{
    return times_pieces(it, it->cost);
}

money order_lines(const struct item *items, size_t n)
{
    money sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += order_line(&items[i]);
    return sum;
}

/* Per field the statement that gives it. */
struct picks {
    const struct event *total, *revenue, *subtotal, *discount, *shipping, *tax;
    const struct event *currency, *coupon, *channel, *shared_by, *place, *items;
    const struct event *best; /* of all that may own the order */
};

/* Statements come in the order of events: the later beats the earlier unless that is trusted more. */
static void pick(const struct event **p, const struct event *e, bool gives)
{
    if (gives && (!*p || e->trust >= (*p)->trust))
        *p = e;
}

static bool place_given(const struct place *p)
{
    return str_has(p->store_id) || str_has(p->store_name) || str_has(p->city) || str_has(p->district) ||
           str_has(p->address);
}

static void pick_fields(struct picks *p, const struct event *e)
{
    const struct order_fields *o = &e->order;
    /* Its total and products are those of the refund. */
    bool refund_track = e->type == EVENT_TRACK && str_is(e->name, "Order Refunded");

    pick(&p->best, e, true);
    pick(&p->total, e, o->total.has && !refund_track);
    pick(&p->revenue, e, o->revenue.has);
    pick(&p->subtotal, e, o->subtotal.has);
    pick(&p->discount, e, o->discount.has);
    pick(&p->shipping, e, o->shipping.has);
    pick(&p->tax, e, o->tax.has);
    pick(&p->currency, e, o->currency.n == 3);
    pick(&p->coupon, e, str_has(o->coupon));
    pick(&p->channel, e, str_has(o->channel));
    pick(&p->shared_by, e, str_has(e->shared_by));
    pick(&p->place, e, place_given(&e->place));
    pick(&p->items, e, o->has_items && !refund_track);
}

/* The best status of a run over statements in the order of events. */
struct standing {
    enum order_status status;
    enum event_trust trust;
    int64_t time;
};

static void pick_status(struct standing *s, const struct event *e, enum order_status status)
{
    bool better;

    if (s->status == STATUS_NONE || e->trust != s->trust)
        better = s->status == STATUS_NONE || e->trust > s->trust;
    else
        better = e->time > s->time || status > s->status;
    if (better)
        *s = (struct standing){status, e->trust, e->time};
}

static bool places(enum order_status s, bool from_paid)
{
    return s >= (from_paid ? STATUS_PAID : STATUS_CREATED) && s <= STATUS_DELIVERED;
}

static int compare_statements(const void *a, const void *b)
{
    const struct event *x = *(const struct event *const *)a;
    const struct event *y = *(const struct event *const *)b;
    struct event_key kx = event_key(x), ky = event_key(y);

    return event_key_cmp(&kx, &ky);
}

static int compare_counting(const void *a, const void *b)
{
    const struct event *x = *(const struct event *const *)a, *y = *(const struct event *const *)b;

    return x->trust != y->trust ? (x->trust > y->trust ? -1 : 1) : compare_statements(a, b);
}

/* The statements that count, sorted. Those of a server key count first: anybody can make as many as they like with the
 * key of a page, and must not crowd out the shop's own. */
static int take_statements(const struct event *const *statements, size_t n, struct arena *a, struct order *out)
{
    const struct event **v = arena_alloc(a, n * sizeof(*v));

    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        v[i] = statements[i];
    if (n > LIMIT_STATEMENTS) {
        qsort(v, n, sizeof(*v), compare_counting);
        n = LIMIT_STATEMENTS;
    }
    qsort(v, n, sizeof(*v), compare_statements);
    out->statements = v;
    out->statement_count = n;
    return 0;
}

/* History, status, placed_at. Returns whether some statement says that it was bought at all. */
static int run_statuses(struct order *o, const struct fold_rules *rules, struct arena *a, bool *bought)
{
    struct order_moment *history = arena_alloc(a, o->statement_count * sizeof(*history));
    struct standing all = {0}, standing = {0};

    if (!history)
        return -ENOMEM;
    *bought = false;
    o->placed_at = TIME_NONE;
    for (size_t i = 0; i < o->statement_count; i++) {
        const struct event *e = o->statements[i];
        enum order_status s = STATUS_NONE;

        if (!order_stated(e, &s) || s == STATUS_NONE)
            continue;
        history[o->history_count++] = (struct order_moment){s, e->time};
        pick_status(&all, e, s);
        if (s != STATUS_REFUNDED)
            pick_status(&standing, e, s);
        *bought |= places(s, false);
        if (places(s, rules->count_from_paid) && o->placed_at == TIME_NONE)
            o->placed_at = e->time;
    }
    o->history = history;
    o->status = all.status;
    o->standing = standing.status;
    o->counted = o->placed_at != TIME_NONE && o->standing != STATUS_CANCELLED;
    return 0;
}

static money total_of(const struct order *o, struct opt total)
{
    money net;

    if (total.has)
        return total.v;
    if (o->revenue.has)
        net = o->revenue.v;
    else if (o->subtotal.has)
        net = o->subtotal.v;
    else
        net = order_lines(o->items, o->item_count) - (o->discount.has ? o->discount.v : 0);
    return net + (o->shipping.has ? o->shipping.v : 0) + (o->tax.has ? o->tax.v : 0);
}

static void fill_fields(struct order *o, const struct picks *p, const struct fold_rules *rules)
{
#define FIELD(name) (p->name ? p->name->order.name : (struct opt){0})
    o->discount = FIELD(discount);
    o->shipping = FIELD(shipping);
    o->tax = FIELD(tax);
    o->subtotal = FIELD(subtotal);
    o->revenue = FIELD(revenue);
    o->coupon = p->coupon ? p->coupon->order.coupon : STR_NONE;
    o->channel = p->channel ? p->channel->order.channel : STR_NONE;
    o->shared_by = p->shared_by ? p->shared_by->shared_by : STR_NONE;
    if (p->place)
        o->place = p->place->place;
    if (p->items) {
        o->items = p->items->items;
        o->item_count = p->items->item_count;
    }
    memcpy(o->currency, p->currency ? p->currency->order.currency.p : rules->currency, 3);
    o->home_currency = memcmp(o->currency, rules->currency, 3) == 0;
    o->best = p->best;
    o->total = total_of(o, FIELD(total));
#undef FIELD
}

int order_build(const struct event *const *statements, size_t n, const struct fold_rules *rules, struct arena *a,
                struct order *out)
{
    struct order o = {0};
    struct picks picks = {0};
    bool bought;
    int rc;

    assert(n >= 1);
    rc = take_statements(statements, n, a, &o);
    if (rc == 0)
        rc = run_statuses(&o, rules, a, &bought);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < o.statement_count; i++) {
        enum order_status s = STATUS_NONE;

        /* Of a bought order a refund tells nothing but itself: neither what it was nor whose. */
        order_stated(o.statements[i], &s);
        if (!bought || s != STATUS_REFUNDED)
            pick_fields(&picks, o.statements[i]);
    }
    o.order_id = o.statements[0]->order.order_id;
    fill_fields(&o, &picks, rules);
    rc = order_refunds(&o, bought, a);
    if (rc != 0)
        return rc;
    *out = o;
    return 0;
}

int64_t order_time(const struct order *o)
{
    return o->placed_at != TIME_NONE ? o->placed_at : o->statements[0]->time;
}

int order_cmp(const void *a, const void *b)
{
    const struct order *x = a, *y = b;
    int64_t s = order_time(x), t = order_time(y);

    return s != t ? (s < t ? -1 : 1) : str_cmp(x->order_id, y->order_id);
}

/* --- of the erased -------------------------------------------------------------------------------------------- */

/* The shop keeps what was sold for how much, when and where; the texts of the person's go. */
bool order_strip(const struct event *ev, struct buf *b)
{
    struct item *items = NULL;
    struct event left = {
        .type = ev->type,
        .trust = ev->trust,
        .name = ev->name,
        .source = ev->source,
        .uid = ev->uid,
        .time = ev->time,
        .received = ev->received,
        .position = ev->position,
        .original_time = TIME_NONE,
        .sent = TIME_NONE,
        .place = {.store_id = ev->place.store_id, .store_name = ev->place.store_name},
        .item_count = ev->item_count,
        .order = ev->order,
        .erased = true,
    };
    struct buf device;
    bool ok;

    buf_init(&device, 2 * KEY_ID_MAX_BYTES);
    buf_add_str(&device, STR_LIT(ORDER_DEVICE_PREFIX));
    buf_add_str(&device, ev->order.order_id);
    items = malloc((ev->item_count + 1) * sizeof *items);
    ok = items && !device.failed;
    for (size_t i = 0; ok && i < ev->item_count; i++) {
        items[i] = ev->items[i];
        items[i].extra = STR_NONE;
    }
    left.items = items;
    left.anonymous_id = buf_str(&device);
    left.order.coupon = STR_NONE;
    ok = ok && event_pack(&left, b);
    free(items);
    buf_deinit(&device);
    return ok;
}

bool order_is_stripped(const struct event *ev)
{
    const size_t n = sizeof ORDER_DEVICE_PREFIX - 1;
    const struct str id = ev->order.order_id, device = ev->anonymous_id;
    enum order_status status;

    return ev->erased && order_stated(ev, &status) && id.n <= ORDER_ID_MAX_BYTES && !str_has(ev->user_id) &&
           str_starts(device, STR_LIT(ORDER_DEVICE_PREFIX)) && str_eq((struct str){device.p + n, device.n - n}, id);
}
