/* Facts changed step by step equal the fold of everything, whatever the set of events and the order in which they
 * arrive. A small engine stands in for the real one: it keeps the path sorted and the statements of each order, and
 * folds anew when told to.
 *
 * A failing seed is printed; `test_fold_property SEED` or WAYMARK_SEED=SEED runs it alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/limits.h"
#include "profiler/facts.h"

#define EVENTS_MAX 80
#define ORDERS 3
#define ITEMS_MAX 3
#define BYTES_MAX (1 * MIB)

static uint64_t only_seed; /* 0: all */

/* --- a random set of events ----------------------------------------------------------------------------------- */

static uint64_t rnd_state;

static uint64_t rnd(void)
{
    uint64_t z = (rnd_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static unsigned below(unsigned n)
{
    return (unsigned)(rnd() % n);
}

static bool chance(unsigned percent)
{
    return below(100) < percent;
}

struct world {
    struct fold_rules rules;
    struct event events[EVENTS_MAX];
    struct item items[EVENTS_MAX][ITEMS_MAX];
    struct item refund_items[EVENTS_MAX][ITEMS_MAX];
    bool elsewhere[EVENTS_MAX]; /* of somebody else: only its statement matters here */
    size_t n;
    unsigned names;
    int64_t step, span;
};

static struct str some_name(struct world *w)
{
    static const struct str names[] = {
        {"a", 1}, {"b", 1}, {"*", 1}, {"", 0}, {"a\0b", 3}, {"z", 1}, {"\xff", 1}, {"aa", 2}, {"y", 1}, {"x", 1},
    };
    unsigned i = below(w->names + 2);

    return i < w->names ? names[i] : STR_NONE;
}

static struct opt some_amount(unsigned percent)
{
    if (!chance(percent))
        return (struct opt){0};
    return (struct opt){true, ((int64_t)below(12) - 2) * 500000};
}

static void some_items(struct world *w, struct item *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = (struct item){
            .product_id = some_name(w),
            .sku = some_name(w),
            .name = some_name(w),
            .category = some_name(w),
            .brand = some_name(w),
            .color = some_name(w),
            .price = some_amount(80),
            .cost = some_amount(70),
            .listed_at = TIME_NONE,
        };
        if (chance(60))
            v[i].quantity = (struct opt){true, (int64_t)below(6) - 1};
    }
}

static void make_statement(struct world *w, size_t i, struct event *e)
{
    static const struct str ids[ORDERS] = {{"o1", 2}, {"o2", 2}, {"o3", 2}};
    static const struct str refunds[] = {{"r1", 2}, {"r2", 2}, {NULL, 0}, {"", 0}};
    static const struct str currencies[] = {{"GBP", 3}, {"EUR", 3}, {"USD", 3}, {NULL, 0}, {NULL, 0}};
    struct order_fields *o = &e->order;

    o->order_id = ids[below(ORDERS)];
    o->status = e->type == EVENT_ORDER ? (enum order_status)(1 + below(6)) : STATUS_NONE;
    o->total = some_amount(30);
    o->revenue = some_amount(20);
    o->subtotal = some_amount(20);
    o->discount = some_amount(30);
    o->shipping = some_amount(20);
    o->tax = some_amount(20);
    o->currency = currencies[below(chance(60) ? 5 : 2)];
    o->channel = some_name(w);
    o->has_items = chance(50);
    o->has_refund = chance(70);
    o->refund_id = refunds[below(4)];
    o->refund_amount = some_amount(50);
    o->has_refund_items = chance(20);
    o->refund_items = w->refund_items[i];
    o->refund_item_count = below(ITEMS_MAX + 1);
    some_items(w, w->refund_items[i], o->refund_item_count);
    e->place = (struct place){.store_id = some_name(w), .store_name = some_name(w), .city = some_name(w)};
    w->elsewhere[i] = chance(15);
}

static void make_event(struct world *w, size_t i)
{
    static const struct str tracks[] = {
        {"Product Viewed", 14},  {"Product Added", 13},   {"Product Removed", 15}, {"Checkout Started", 16},
        {"Order Completed", 15}, {"Order Cancelled", 15}, {"Order Refunded", 14},  {"Order Updated", 13},
        {"Product Viewed", 14},  {"Parcel Packed", 13},   {"Product Added", 13},   {"Product Viewed", 14},
    };
    static const enum event_type types[] = {EVENT_PAGE,  EVENT_PAGE,     EVENT_SCREEN, EVENT_TRACK, EVENT_TRACK,
                                            EVENT_TRACK, EVENT_IDENTIFY, EVENT_ORDER,  EVENT_ORDER};
    static const struct str devices[] = {{"d1", 2}, {"d2", 2}, {NULL, 0}};
    struct event *e = &w->events[i];

    *e = (struct event){.original_time = TIME_NONE, .sent = TIME_NONE};
    e->type = types[below(9)];
    e->trust = e->type == EVENT_ORDER || chance(30) ? TRUST_SERVER : TRUST_BEACON;
    e->anonymous_id = devices[below(3)];
    e->user_id = STR_LIT("u");
    e->time = (int64_t)below((unsigned)w->span) * w->step + (chance(10) ? (int64_t)below(3) - 1 : 0);
    e->received = below(3);
    e->position = below(2);
    for (size_t k = 0; k < UID_BYTES; k++)
        e->uid.b[k] = (unsigned char)rnd();
    e->uid.b[UID_BYTES - 1] = (unsigned char)i;
    if (chance(10))
        e->shared_by = some_name(w);
    if (chance(15))
        e->campaign = (struct campaign){.name = some_name(w), .source = chance(50) ? STR_LIT("s") : STR_NONE};
    if (chance(20)) {
        e->url = STR_LIT("https://shop.example/a");
        e->referrer = chance(50) ? STR_LIT("https://search.example/") : STR_LIT("https://pay.example/x");
    }
    e->module = some_name(w);
    e->item_count = below(ITEMS_MAX + 1);
    e->items = w->items[i];
    some_items(w, w->items[i], e->item_count);
    if (e->type == EVENT_TRACK)
        e->name = tracks[below(12)];
    if (e->type == EVENT_ORDER || (str_starts(e->name, STR_LIT("Order")) && chance(90)))
        make_statement(w, i, e);
}

static void make_world(struct world *w, uint64_t seed)
{
    static const char *const payment[] = {"pay.example"};
    static const unsigned limits[] = {0, 1, 2, 3, 5, 8};
    static const int64_t windows[] = {TIME_DAY, 30 * TIME_MINUTE, 90 * TIME_MINUTE};

    rnd_state = seed;
    memset(w, 0, sizeof(*w));
    w->rules = (struct fold_rules){
        .session_gap_ms = 30 * TIME_MINUTE,
        .count_from_paid = chance(25),
        .currency = "GBP",
        .touch_window_ms = windows[below(3)],
        .payment_hosts = payment,
        .payment_host_count = 1,
        .map_names = limits[below(6)],
    };
    w->names = 3 + below(8);
    w->step = chance(50) ? 10 * TIME_MINUTE : 15 * TIME_MINUTE;
    w->span = 1 + below(chance(50) ? 60 : 12);
    w->n = 1 + below(chance(20) ? EVENTS_MAX : 30);
    for (size_t i = 0; i < w->n; i++)
        make_event(w, i);
}

static void shuffle(struct world *w, size_t *order)
{
    unsigned disorder = chance(20) ? 0 : chance(40) ? 3 : 100;

    for (size_t i = 0; i < w->n; i++)
        order[i] = i;
    for (size_t i = 1; i < w->n; i++) { /* by the order of events */
        for (size_t k = i; k > 0; k--) {
            struct event_key a = event_key(&w->events[order[k - 1]]), b = event_key(&w->events[order[k]]);
            size_t swap = order[k];

            if (event_key_cmp(&a, &b) < 0)
                break;
            order[k] = order[k - 1];
            order[k - 1] = swap;
        }
    }
    for (size_t i = w->n; i > 1; i--) {
        size_t k = below((unsigned)i), swap = order[k];

        if (disorder < 100 && (!chance(disorder * 10) || k + disorder < i))
            continue;
        order[k] = order[i - 1];
        order[i - 1] = swap;
    }
}

/* --- the engine ----------------------------------------------------------------------------------------------- */

struct known_order {
    const struct event *statements[EVENTS_MAX];
    size_t n;
    struct order order;
    bool mine;
    struct str campaign;
    struct arena arena;
};

struct engine {
    const struct world *w;
    struct path_entry path[EVENTS_MAX];
    size_t n;
    struct known_order orders[ORDERS];
    struct facts facts;
    bool tell_campaigns; /* instead of folding anew */
};

static struct {
    uint64_t steps, refolds, wide;
} seen;

static int decode(void *arg, const struct path_entry *entry, struct event *out)
{
    (void)arg;
    *out = *(const struct event *)entry->owner;
    return 0;
}

static size_t owned(const struct engine *g, struct order *out)
{
    size_t n = 0;

    for (size_t i = 0; i < ORDERS; i++) {
        if (g->orders[i].mine)
            out[n++] = g->orders[i].order;
    }
    return n;
}

static void oracle(const struct engine *g, struct facts *out)
{
    struct order orders[ORDERS];
    struct fold_input in = {.path = g->path, .path_count = g->n, .orders = orders, .decode = decode};

    in.order_count = owned(g, orders);
    assert_int_equal(facts_fold(&in, &g->w->rules, out), 0);
}

static void refold(struct engine *g)
{
    seen.refolds++;
    facts_deinit(&g->facts);
    oracle(g, &g->facts);
}

static uint32_t device_number(const struct event *e)
{
    return str_has(e->anonymous_id) ? (uint32_t)e->anonymous_id.p[1] * 77 : 7;
}

static size_t insert(struct engine *g, const struct event *e)
{
    struct path_entry entry = {.key = event_key(e), .device = device_number(e), .owner = (void *)e};
    size_t at = g->n;

    entry.flags = entry_flags(e, &g->w->rules);
    while (at > 0 && path_entry_cmp(&g->path[at - 1], &entry) > 0)
        at--;
    memmove(&g->path[at + 1], &g->path[at], (g->n - at) * sizeof(entry));
    g->path[at] = entry;
    g->n++;
    return at;
}

static int64_t neighbour(const struct engine *g, size_t at, int way)
{
    for (size_t i = at + (size_t)way; i < g->n; i += (size_t)way) {
        if ((g->path[i].flags & ENTRY_SESSION) && g->path[i].device == g->path[at].device)
            return g->path[i].key.time;
    }
    return TIME_NONE;
}

static struct str campaign_of(const struct engine *g, const struct order *o)
{
    struct path_note notes[EVENTS_MAX];
    struct touches t;
    uint32_t sessions;
    struct str name;

    assert_int_equal(path_annotate(g->path, g->n, g->w->rules.session_gap_ms, notes, &sessions), 0);
    t = facts_touches(g->path, notes, g->n, o->placed_at, g->w->rules.touch_window_ms);
    if (t.last < 0)
        return STR_NONE;
    name = ((const struct event *)g->path[t.last].owner)->campaign.name;
    return name.n ? name : STR_NONE;
}

/* Takes the statement and says what order was and is. Returns FACTS_REFOLD as facts_change_order does. */
static int change_order(struct engine *g, struct known_order *o, const struct event *e)
{
    struct order was = o->order;
    struct facts_order before = {&was, o->campaign}, now = {&o->order, STR_NONE};
    struct arena old = o->arena;
    bool had = o->mine;
    int rc;

    if (e)
        o->statements[o->n++] = e;
    if (o->n == 0)
        return FACTS_OK;
    arena_init(&o->arena, MIB);
    assert_int_equal(order_build(o->statements, o->n, &g->w->rules, &o->arena, &o->order), 0);
    o->mine = !g->w->elsewhere[o->order.best - g->w->events];
    o->campaign = g->tell_campaigns && o->mine && o->order.counted ? campaign_of(g, &o->order) : STR_NONE;
    now.campaign = o->campaign;
    rc = facts_change_order(&g->facts, had ? &before : NULL, o->mine ? &now : NULL, &g->w->rules);
    arena_deinit(&old);
    return rc;
}

static struct known_order *order_of(struct engine *g, const struct event *e)
{
    enum order_status s;

    return order_stated(e, &s) ? &g->orders[e->order.order_id.p[1] - '1'] : NULL;
}

static int change_orders(struct engine *g, const struct event *e, unsigned flags, bool in_order)
{
    struct known_order *o = order_of(g, e);
    bool matters = facts_touch_matters(&g->facts, flags, in_order, o != NULL);
    int rc = o ? change_order(g, o, e) : FACTS_OK;

    if (!matters)
        return rc;
    if (!g->tell_campaigns)
        return FACTS_REFOLD;
    for (size_t i = 0; i < ORDERS && rc == FACTS_OK; i++)
        rc = change_order(g, &g->orders[i], NULL);
    return rc;
}

static void arrive(struct engine *g, const struct event *e)
{
    unsigned flags = 0;
    bool in_order = g->n == 0 || e->time > g->path[g->n - 1].key.time;
    int rc = FACTS_OK;

    seen.steps++;
    if (!g->w->elsewhere[e - g->w->events]) {
        size_t at = insert(g, e);

        flags = g->path[at].flags;
        rc = facts_add_event(&g->facts, e, flags, &g->w->rules);
        if (rc == FACTS_OK && (flags & ENTRY_SESSION))
            facts_add_sessions(&g->facts, path_session_change(neighbour(g, at, -1), e->time, neighbour(g, at, 1),
                                                              g->w->rules.session_gap_ms));
    }
    assert_true(rc == FACTS_OK || rc == FACTS_REFOLD);
    if (rc == FACTS_OK) {
        rc = change_orders(g, e, flags, in_order);
    } else if (order_of(g, e)) {
        change_order(g, order_of(g, e), e);
        rc = FACTS_REFOLD;
    }
    assert_true(rc == FACTS_OK || rc == FACTS_REFOLD);
    if (rc == FACTS_REFOLD) {
        refold(g);
        for (size_t i = 0; i < ORDERS && g->tell_campaigns; i++)
            g->orders[i].campaign =
                g->orders[i].mine && g->orders[i].order.counted ? campaign_of(g, &g->orders[i].order) : STR_NONE;
    }
}

/* As if it had been evicted and read again. */
static void reload(struct engine *g, struct buf *bytes)
{
    buf_reset(bytes);
    assert_true(facts_pack(&g->facts, bytes));
    facts_deinit(&g->facts);
    assert_int_equal(facts_unpack(buf_str(bytes), &g->facts), 0);
}

static bool same_as_oracle(const struct engine *g, struct buf *got, struct buf *want)
{
    struct facts f;
    bool same;

    oracle(g, &f);
    for (int i = 0; i < FACTS_MAPS; i++)
        seen.wide += f.by[i].cutoff != NULL;
    buf_reset(got);
    buf_reset(want);
    assert_true(facts_pack(&g->facts, got) && facts_pack(&f, want));
    same = str_eq(buf_str(got), buf_str(want));
    if (!same) {
        buf_reset(got);
        buf_reset(want);
        facts_write_json(&g->facts, &g->w->rules, got);
        facts_write_json(&f, &g->w->rules, want);
        fprintf(stderr, "step by step: %.*s\nfolded anew:  %.*s\n", STR_ARG(buf_str(got)), STR_ARG(buf_str(want)));
    }
    facts_deinit(&f);
    return same;
}

static bool run(uint64_t seed)
{
    struct world w;
    struct engine *g = calloc(1, sizeof(*g));
    size_t order[EVENTS_MAX];
    struct buf got, want;
    bool same = true;

    make_world(&w, seed);
    shuffle(&w, order);
    assert_non_null(g);
    g->w = &w;
    g->tell_campaigns = chance(50);
    facts_init(&g->facts);
    buf_init(&got, BYTES_MAX);
    buf_init(&want, BYTES_MAX);
    for (size_t i = 0; i < w.n && same; i++) {
        arrive(g, &w.events[order[i]]);
        if (chance(10))
            reload(g, &got);
        same = same_as_oracle(g, &got, &want);
        if (!same)
            fprintf(stderr, "seed %llu: differs after %zu of %zu events\n", (unsigned long long)seed, i + 1, w.n);
    }
    for (size_t i = 0; i < ORDERS; i++)
        arena_deinit(&g->orders[i].arena);
    facts_deinit(&g->facts);
    buf_deinit(&got);
    buf_deinit(&want);
    free(g);
    return same;
}

static void test_steps_equal_fold(void **state)
{
    uint64_t rounds = getenv("WAYMARK_ROUNDS") ? strtoull(getenv("WAYMARK_ROUNDS"), NULL, 10) : 4000;

    (void)state;
    if (only_seed) {
        assert_true(run(only_seed));
        return;
    }
    for (uint64_t seed = 1; seed <= rounds; seed++)
        assert_true(run(seed));
    print_message("%llu steps, %llu folded anew, %llu wide maps met\n", (unsigned long long)seen.steps,
                  (unsigned long long)seen.refolds, (unsigned long long)seen.wide);
    /* Most steps must be steps, or nothing was tested. */
    assert_true(seen.refolds * 2 < seen.steps);
    assert_true(seen.wide > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps_equal_fold)};
    const char *seed = argc > 1 ? argv[1] : getenv("WAYMARK_SEED");

    only_seed = seed ? strtoull(seed, NULL, 10) : 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
