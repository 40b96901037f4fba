/* I2 on the real state: whatever the order in which a set of events arrives, however often, in whatever batches, with
 * commits, crashes and evictions in between, every profile is the fold of the set.
 *
 * A run folds many small sets at once, each with ids of its own, into one state of one to three partitions, and
 * compares with a model now and then and at the end. A failing seed is printed; WAYMARK_SEED=N runs it alone,
 * WAYMARK_RUNS=N sets how many. */
#include "tests/support/seeds.h"
#include "tests/support/state_case.h"

enum { SETS = 60, ITEMS = 3, PARTITIONS = 3, BATCH = 40 };

struct set {
    char ids[2][24]; /* as devices and as users alike: so profiles have siblings */
    char orders[3][24];
    size_t uids, copies;
    int64_t step;
    unsigned span;
};

struct run {
    struct fold_rules rules;
    struct set sets[SETS];
    uint32_t partitions;
    struct test_log logs[PARTITIONS];
    int64_t folded[PARTITIONS];
    struct state_options o;
    struct state *state;
    char *folder;
    uint64_t commits, crashes, checks;
};

/* --- random events -------------------------------------------------------------------------------------------- */

static struct opt some_amount(unsigned percent)
{
    return chance(percent) ? (struct opt){true, ((int64_t)below(12) - 1) * 500000} : (struct opt){0};
}

static struct str some_name(void)
{
    static const struct str names[] = {{"a", 1},    {"b", 1}, {"c", 1}, {"", 0},
                                       {"d\0e", 3}, {"f", 1}, {"g", 1}, {NULL, 0}};

    return names[below(8)];
}

static size_t some_items(struct item *v)
{
    size_t n = below(ITEMS + 1);

    for (size_t i = 0; i < n; i++)
        v[i] = (struct item){.product_id = some_name(),
                             .category = some_name(),
                             .brand = some_name(),
                             .price = some_amount(80),
                             .quantity = {chance(50), below(5)},
                             .cost = some_amount(60),
                             .listed_at = TIME_NONE};
    return n;
}

static void some_statement(const struct set *set, struct event *e, struct item *refund_items)
{
    static const struct str currencies[] = {{"GBP", 3}, {"EUR", 3}, {NULL, 0}, {NULL, 0}};
    struct order_fields *o = &e->order;

    o->order_id = str_of(set->orders[below(3)]);
    o->status = e->type == EVENT_ORDER ? (enum order_status)(1 + below(6)) : STATUS_NONE;
    o->total = some_amount(40);
    o->discount = some_amount(30);
    o->shipping = some_amount(20);
    o->currency = currencies[below(4)];
    o->channel = some_name();
    o->has_items = chance(50);
    o->has_refund = chance(50);
    o->refund_id = some_name();
    o->refund_amount = some_amount(50);
    o->has_refund_items = chance(20);
    o->refund_items = refund_items;
    o->refund_item_count = some_items(refund_items);
}

static void some_content(const struct set *set, struct event *e, struct item *items, struct item *refund_items)
{
    static const char *const tracks[] = {"Product Viewed",  "Product Added",  "Checkout Started", "Order Completed",
                                         "Order Cancelled", "Order Refunded", "Order Updated",    "Parcel Packed"};
    static const enum event_type types[] = {EVENT_PAGE,  EVENT_PAGE,     EVENT_SCREEN, EVENT_TRACK, EVENT_TRACK,
                                            EVENT_TRACK, EVENT_IDENTIFY, EVENT_ORDER,  EVENT_ORDER};

    e->type = types[below(9)];
    e->trust = e->type == EVENT_ORDER || chance(30) ? TRUST_SERVER : TRUST_BEACON;
    if (e->type == EVENT_TRACK)
        e->name = str_of(tracks[below(8)]);
    e->module = some_name();
    e->shared_by = chance(10) ? some_name() : STR_NONE;
    if (chance(20))
        e->campaign = (struct campaign){.name = some_name(), .source = STR_LIT("s")};
    if (chance(20)) {
        e->url = STR_LIT("https://shop.example/a");
        e->referrer = chance(50) ? STR_LIT("https://search.example/") : STR_LIT("https://pay.example/x");
    }
    e->items = items;
    e->item_count = some_items(items);
    if (e->type == EVENT_ORDER || str_starts(e->name, STR_LIT("Order")))
        some_statement(set, e, refund_items);
}

/* One uid, and one to three copies of it that may differ in everything else. */
static void some_event(struct run *r, const struct set *set, size_t number)
{
    struct item items[ITEMS], refund_items[ITEMS];
    struct event e = event_at(NULL, NULL, NULL, 0);
    size_t copies = chance(70) ? 1 : 1 + below(3);
    char message[24];
    unsigned who = below(10);

    snprintf(message, sizeof message, "m%zu", number);
    e.message_id = str_of(message);
    e.anonymous_id = who < 8 ? str_of(set->ids[below(2)]) : STR_NONE;
    e.user_id = who >= 5 ? str_of(set->ids[below(2)]) : STR_NONE;
    for (size_t i = 0; i < copies; i++) {
        if (i == 0 || chance(60))
            e.time = (int64_t)below(set->span) * set->step + (chance(10) ? (int64_t)below(3) - 1 : 0);
        e.received = e.time + below(3);
        e.position = below(2);
        if (i == 0 || chance(60))
            some_content(set, &e, items, refund_items);
        for (unsigned again = chance(80) ? 1 : 2; again > 0; again--)
            log_event(&r->logs[event_log_partition(event_log_key(&e), r->partitions)], &e);
    }
}

static void make_set(struct run *r, size_t number)
{
    struct set *set = &r->sets[number];
    bool large = number == 0 && chance(20);

    uint32_t home = (uint32_t)(number % r->partitions);
    char stem[24];

    for (int i = 0; i < 2; i++) {
        snprintf(stem, sizeof stem, "s%zu-%d", number, i);
        local_name(set->ids[i], sizeof set->ids[i], "", stem, home, r->partitions);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(stem, sizeof stem, "o%zu-%d", number, i);
        local_name(set->orders[i], sizeof set->orders[i], "order:", stem, home, r->partitions);
    }
    set->step = chance(50) ? 10 * TIME_MINUTE : chance(50) ? 15 * TIME_MINUTE : 3 * TIME_HOUR;
    set->span = 1 + below(chance(50) ? 60 : 12);
    set->uids = large ? 4000 : 1 + below(chance(20) ? 80 : 20);
    for (size_t i = 0; i < set->uids; i++)
        some_event(r, set, i);
}

static void shuffle(struct test_log *l)
{
    unsigned disorder = chance(20) ? 0 : chance(40) ? 10 : 100;

    for (size_t i = l->n; i > 1; i--) {
        size_t k = disorder == 100 ? below((unsigned)i) : i - 1 - below(disorder && i > disorder ? disorder : 1);
        struct str swap = l->v[k].value;

        l->v[k].value = l->v[i - 1].value;
        l->v[i - 1].value = swap;
    }
}

static void make_run(struct run *r, uint64_t seed)
{
    static const char *const payment[] = {"pay.example"};
    static const uint64_t caches[] = {0, 20000, 300000, 100000000};
    static const size_t names[] = {0, 0, 2, 4};

    *r = (struct run){0};
    rnd_state = seed;
    r->partitions = 1 + below(PARTITIONS);
    r->rules = (struct fold_rules){.session_gap_ms = 30 * TIME_MINUTE,
                                   .count_from_paid = chance(25),
                                   .currency = "GBP",
                                   .touch_window_ms = chance(50) ? TIME_DAY : 90 * TIME_MINUTE,
                                   .payment_hosts = payment,
                                   .payment_host_count = 1,
                                   .map_names = names[below(4)]};
    for (size_t i = 0; i < SETS; i++)
        make_set(r, i);
    for (uint32_t i = 0; i < r->partitions; i++) {
        if (chance(50))
            log_add(&r->logs[i], STR_LIT("no event"));
        shuffle(&r->logs[i]);
    }
    r->folder = folder_new();
    r->o = (struct state_options){.path = r->folder,
                                  .partitions = r->partitions,
                                  .rules = &r->rules,
                                  .commit_bytes = chance(50) ? 50000 : 1 << 20,
                                  .cache_bytes = caches[below(4)]};
}

/* --- comparing ------------------------------------------------------------------------------------------------ */

static struct str some_profile(const struct run *r, char *buf, size_t n)
{
    snprintf(buf, n, "%s:%s", chance(50) ? "user" : "anon", r->sets[below(SETS)].ids[below(2)]);
    return str_of(buf);
}

static void model_of(struct run *r, uint32_t partition, struct model *m)
{
    model_init(m, r->logs[partition].v, (size_t)r->folded[partition], &r->rules);
}

static void check_profile(struct run *r, uint32_t partition, struct model *m, struct str id)
{
    const char *what = profile_differs(r->state, partition, m, id);

    r->checks++;
    if (what)
        fail_msg("partition %u, %.*s after %lld records: %s", (unsigned)partition, STR_ARG(id),
                 (long long)r->folded[partition], what);
}

static void check_order(struct run *r, uint32_t partition, struct model *m)
{
    struct str id = str_of(r->sets[below(SETS / r->partitions) * r->partitions + partition].orders[below(3)]);
    const char *what = order_differs(r->state, m, id);

    r->checks++;
    if (what)
        fail_msg("partition %u, %.*s after %lld records: %s", (unsigned)partition, STR_ARG(id),
                 (long long)r->folded[partition], what);
}

static void check_figures(struct run *r, uint32_t partition, const struct model *m)
{
    struct state_figures f;
    uint64_t sum = 0;

    state_figures(r->state, partition, &f);
    for (int i = 0; i < OUTCOMES; i++)
        sum += f.outcomes[i];
    assert_int_equal(f.offset, r->folded[partition]);
    assert_int_equal(sum, r->folded[partition]);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], m->n);
}

static void check_all(struct run *r)
{
    for (uint32_t p = 0; p < r->partitions; p++) {
        struct str before = STR_NONE;
        struct model m;

        model_of(r, p, &m);
        check_figures(r, p, &m);
        for (size_t i = 0; i < m.n; i++) {
            if (str_eq(before, model_profile(&m.v[i])))
                continue;
            before = model_profile(&m.v[i]);
            if (i < 40 || chance(r->logs[p].n > 3000 ? 3 : 30))
                check_profile(r, p, &m, before);
            if (i < 20)
                check_order(r, p, &m);
        }
        model_deinit(&m);
    }
}

static void check_some(struct run *r, uint32_t partition)
{
    struct model m;
    char id[40];

    model_of(r, partition, &m);
    check_figures(r, partition, &m);
    for (int i = 0; i < 5; i++)
        check_profile(r, partition, &m, some_profile(r, id, sizeof id));
    check_order(r, partition, &m);
    model_deinit(&m);
}

/* --- running -------------------------------------------------------------------------------------------------- */

static void open_state(struct run *r)
{
    struct err e = {0};

    if (state_open(&r->o, &r->state, &e) != 0)
        fail_msg("open: %s", e.text);
    for (uint32_t p = 0; p < r->partitions; p++) {
        struct state_figures f;

        state_figures(r->state, p, &f);
        assert_int_equal(f.offset, f.disk_offset);
        r->folded[p] = f.offset;
    }
}

static void commit(struct run *r, uint32_t partition)
{
    struct err e = {0};

    if (state_commit(r->state, partition, &e) != 0)
        fail_msg("commit: %s", e.text);
    assert_false(state_dirty(r->state, partition));
    r->commits++;
}

static void fold_some(struct run *r, uint32_t p)
{
    size_t left = r->logs[p].n - (size_t)r->folded[p], n = 1 + below(r->logs[p].n > 2000 ? 400 : BATCH);
    struct err e = {0};
    int rc;

    n = n < left ? n : left;
    rc = state_fold(r->state, p, r->logs[p].v + r->folded[p], n, &e);
    if (rc < 0)
        fail_msg("fold: %s", e.text);
    r->folded[p] += (int64_t)n;
    if (rc == STATE_COMMIT_DUE && chance(70))
        commit(r, p);
}

static bool finished(const struct run *r)
{
    for (uint32_t p = 0; p < r->partitions; p++)
        if ((size_t)r->folded[p] < r->logs[p].n)
            return false;
    return true;
}

static void verify(struct run *r)
{
    struct verify_report report;
    struct err e = {0};

    if (state_verify(r->state, say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("verify: %s", e.text);
    assert_int_equal(report.differences, 0);
}

static void run_once(uint64_t seed)
{
    static struct run r;

    make_run(&r, seed);
    open_state(&r);
    while (!finished(&r)) {
        uint32_t p = below(r.partitions);

        fold_some(&r, p);
        if (chance(6))
            commit(&r, p);
        if (chance(r.logs[p].n > 3000 ? 1 : 4))
            check_some(&r, p);
        if (chance(1) && r.crashes < 3) {
            state_close(r.state);
            open_state(&r);
            r.crashes++;
        }
    }
    check_all(&r);
    for (uint32_t p = 0; p < r.partitions; p++)
        commit(&r, p);
    check_all(&r);
    verify(&r);
    state_close(r.state);
    open_state(&r);
    check_all(&r);
    state_close(r.state);
    for (uint32_t p = 0; p < r.partitions; p++)
        log_free(&r.logs[p]);
    folder_free(r.folder);
}

static void profiles_depend_on_the_set_of_events_alone(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    uint64_t runs = 12;
#else
    uint64_t runs = 60;
#endif

    (void)state;
    runs = seed_runs(runs);
    for (uint64_t i = 0; i < runs; i++)
        run_once(seed_of(i, 1000));
    seed_now = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(profiles_depend_on_the_set_of_events_alone, NULL, say_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
