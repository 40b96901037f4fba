/* Orders over partitions: whoever states them, in whatever order statements, copies and unlinks arrive, through kills
 * and stale owners, every order stands with the owner of its best statement and nowhere else, and its home names that
 * one.
 *
 * A failing seed is printed; WAYMARK_SEED=N runs it alone, WAYMARK_RUNS=N sets how many. */
#include "tests/support/person_play.h"
#include "tests/support/seeds.h"

enum { DEVICES = 4, USERS = 3, ORDERS = 3, MOST = 400, ID = 16 };

#define START INT64_C(1700000000000)

static const uint32_t counts[] = {1, 3, 4};

struct cast {
    char devices[DEVICES][ID], users[USERS][ID], orders[ORDERS][ID], guests[ORDERS][ID + 8];
};

static void make_cast(struct cast *c)
{
    for (int i = 0; i < DEVICES; i++)
        snprintf(c->devices[i], ID, "d%d", i);
    for (int i = 0; i < USERS; i++)
        snprintf(c->users[i], ID, "u%d", i);
    for (int i = 0; i < ORDERS; i++) {
        snprintf(c->orders[i], ID, "o%d", i);
        snprintf(c->guests[i], sizeof c->guests[i], "order:o%d", i);
    }
}

/* --- random statements ---------------------------------------------------------------------------------------- */

static void state_order_of(struct event *e, struct str order_id)
{
    static const char *const tracks[] = {"Order Completed", "Order Updated", "Order Cancelled", "Order Refunded"};

    e->type = chance(60) ? EVENT_ORDER : EVENT_TRACK;
    e->trust = e->type == EVENT_ORDER || chance(50) ? TRUST_SERVER : TRUST_BEACON;
    if (e->type == EVENT_TRACK)
        e->name = str_of(tracks[below(4)]);
    e->order = (struct order_fields){.order_id = order_id,
                                     .status = e->type == EVENT_ORDER ? (enum order_status)(1 + below(6)) : STATUS_NONE,
                                     .total = {chance(70), (int64_t)below(50) * MICROS}};
}

/* One uid in one to three copies, which may differ in their order, or state none. */
static void some_copies(const struct cast *c, unsigned number, struct event *out, size_t *n)
{
    static char messages[MOST][ID];
    unsigned who = below(10), order = below(ORDERS);
    struct event e = event_at(NULL, NULL, NULL, 0);

    snprintf(messages[number % MOST], ID, "m%u", number);
    e.message_id = str_of(messages[number % MOST]);
    if (who < 8)
        e.anonymous_id = str_of(who < 2 ? c->guests[order] : c->devices[below(DEVICES)]);
    if (who >= 5)
        e.user_id = str_of(c->users[below(USERS)]);
    for (size_t copies = chance(65) ? 1 : 1 + below(3); copies > 0; copies--) {
        e.time = START + (int64_t)below(30) * TIME_MINUTE;
        e.received = e.time + below(3);
        e.name = STR_NONE;
        e.type = EVENT_PAGE;
        e.trust = TRUST_BEACON;
        e.order = (struct order_fields){0};
        if (chance(85))
            state_order_of(&e, str_of(c->orders[who < 2 || chance(80) ? order : below(ORDERS)]));
        out[(*n)++] = e;
    }
}

static void shuffle(struct event *v, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t k = below((unsigned)i);
        struct event swap = v[k];

        v[k] = v[i - 1];
        v[i - 1] = swap;
    }
}

/* --- checking ------------------------------------------------------------------------------------------------- */

/* The owner of the order, as an id, by the oracle; absent when nobody states it. */
static struct str owner_of(struct oracle *o, struct str order_id)
{
    struct order order = {0};

    if (!model_order(&o->m, order_id, &order))
        return STR_NONE;
    for (size_t i = 0; i < o->m.n; i++)
        if (&o->m.v[i].ev == order.best)
            return model_profile(&o->m.v[i]);
    return STR_NONE;
}

static void check_order(struct play *p, struct oracle *o, struct str order_id)
{
    struct str want = owner_of(o, order_id), got = STR_NONE;
    struct state_view view;
    const struct order *order;
    struct order model;
    struct err e = {0};
    struct arena a;
    int rc;

    arena_init(&a, MIB);
    rc = state_order(p->state, state_order_partition(p->state, order_id), order_id, &a, &got, &e);
    assert_int_equal(rc, str_has(want) ? 0 : STATE_NOT_FOUND);
    if (!str_eq(want, got))
        fail_msg("%u partitions, %.*s: its home says it is %.*s's, not %.*s's", (unsigned)p->partitions,
                 STR_ARG(order_id), STR_ARG(got), STR_ARG(want));
    arena_deinit(&a);
    if (rc != 0)
        return;
    assert_int_equal(find_order(p->state, order_id, &view, &order, &e), 0);
    assert_true(model_order(&o->m, order_id, &model));
    if (!same_order(order, &model))
        fail_msg("%u partitions, %.*s: %zu statements, not %zu", (unsigned)p->partitions, STR_ARG(order_id),
                 order->statement_count, model.statement_count);
    state_view_free(&view);
}

static void check_everything(struct play *p, const struct cast *c)
{
    struct log_record *records;
    struct oracle o;
    char id[ID + 16];

    play_oracle(p, &o, &records);
    for (int i = 0; i < ORDERS; i++) {
        check_order(p, &o, str_of(c->orders[i]));
        snprintf(id, sizeof id, "anon:%s", c->guests[i]);
        play_check(p, &o, str_of(id));
    }
    for (int i = 0; i < DEVICES; i++) {
        snprintf(id, sizeof id, "anon:%s", c->devices[i]);
        play_check(p, &o, str_of(id));
    }
    for (int i = 0; i < USERS; i++) {
        snprintf(id, sizeof id, "user:%s", c->users[i]);
        play_check(p, &o, str_of(id));
    }
    oracle_deinit(&o);
    free(records);
}

/* --- a run ---------------------------------------------------------------------------------------------------- */

static void go_on(struct play *p)
{
    uint32_t partition = below(p->partitions);
    unsigned x = below(100);

    if (play_has_unread(p, partition))
        play_fold(p, partition, 1 + below(25));
    if (chance(40))
        play_deliver(p, partition, p->outbox[partition].n);
    if (x < 12)
        play_commit(p, partition);
    else if (x < 13)
        play_kill(p, false);
    else if (x < 14)
        play_stale(p, partition, 1 + below(20));
}

static void start(struct play *p, uint32_t partitions)
{
    *p = (struct play){.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                                 .currency = "GBP",
                                 .touch_window_ms = 30 * TIME_DAY,
                                 .count_from_paid = chance(30),
                                 .link_by_order = chance(60),
                                 .max_users_per_device = chance(30) ? 1 : 20,
                                 .max_devices_per_user = chance(30) ? 1 : 1000,
                                 .max_device_events = LIMIT_DEVICE_EVENTS},
                       .disturbed = chance(50)};
    play_start(p, partitions, chance(50) ? 20000 : 1 << 20, chance(50) ? 0 : 1 << 20);
}

static void run_once(uint64_t seed, uint32_t partitions)
{
    static struct event events[3 * MOST];
    static struct play p;
    struct cast c;
    size_t n = 0;
    unsigned uids;

    rnd_state = seed;
    make_cast(&c);
    uids = 5 + below(50);
    for (unsigned i = 0; i < uids; i++)
        some_copies(&c, i, events, &n);
    rnd_state = seed * 31 + partitions;
    shuffle(events, n);
    start(&p, partitions);
    for (size_t i = 0; i < n; i++) {
        if (chance(4))
            play_unlink(&p, str_of(chance(20) ? c.guests[below(ORDERS)] : c.devices[below(DEVICES)]),
                        str_of(c.users[below(USERS)]), START + (int64_t)below(30) * TIME_MINUTE);
        for (unsigned times = chance(90) ? 1 : 2; times > 0; times--)
            play_event(&p, &events[i]);
        go_on(&p);
    }
    play_finish(&p);
    play_verify(&p);
    check_everything(&p, &c);
    state_close(p.state);
    play_open(&p);
    check_everything(&p, &c);
    play_end(&p);
}

static void orders_stand_with_the_owner_of_their_best_statement(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    uint64_t runs = 15;
#else
    uint64_t runs = 60;
#endif

    (void)state;
    runs = seed_runs(runs);
    for (uint64_t i = 0; i < runs; i++)
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            run_once(seed_of(i, 7000), counts[k]);
        }
    seed_now = 0;
}

/* --- more statements than count ------------------------------------------------------------------------------- */

enum { CROWD = LIMIT_STATEMENTS + 120 };

/* Statement `i` of the crowd, of somebody of their own; every fifth of a server key. */
static struct event of_crowd(char *message, int i, int64_t time, const char *order)
{
    static char devices[7][ID];
    struct event e;

    snprintf(devices[i % 7], ID, "c%d", i % 7);
    snprintf(message, ID, "m%d", i);
    e = event_at(i % 5 ? devices[i % 7] : NULL, i % 5 ? NULL : "buyer", message, time);
    e.type = EVENT_TRACK;
    e.trust = i % 5 ? TRUST_BEACON : TRUST_SERVER;
    e.name = STR_LIT("Order Updated");
    e.order = (struct order_fields){.order_id = str_of(order), .total = {true, (1 + i) * MICROS}};
    return e;
}

static void check_crowd(struct play *p)
{
    struct log_record *records;
    struct oracle o;

    play_finish(p);
    play_oracle(p, &o, &records);
    check_order(p, &o, STR_LIT("o1"));
    check_order(p, &o, STR_LIT("o2"));
    oracle_deinit(&o);
    free(records);
    play_verify(p);
}

/* Some that counted state another order from then on: the next in line count, from memory and from disk. */
static void the_next_in_line_count(struct play *p)
{
    char message[ID];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 60; i++) {
            int k = (int)below(CROWD);
            struct event e = of_crowd(message, k, START - (1 + i + 60 * round) * TIME_MINUTE, chance(70) ? "o2" : "o1");

            play_event(p, &e);
            if (chance(20))
                go_on(p);
        }
        check_crowd(p);
    }
}

static void a_crowd_states_one_order(void **state)
{
    static struct play p;

    (void)state;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        rnd_state = 99 + k;
        p = (struct play){.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                                    .currency = "GBP",
                                    .touch_window_ms = 30 * TIME_DAY,
                                    .max_users_per_device = 20,
                                    .max_devices_per_user = 1000,
                                    .max_device_events = LIMIT_DEVICE_EVENTS}};
        play_start(&p, counts[k], 1 << 20, 1 << 20);
        for (int i = 0; i < CROWD; i++) {
            char message[ID];
            struct event e = of_crowd(message, i * 7 % CROWD, START + i * 31 % CROWD * TIME_MINUTE, "o1");

            play_event(&p, &e);
            if (i % 40 == 0)
                go_on(&p);
        }
        check_crowd(&p);
        the_next_in_line_count(&p);
        play_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(orders_stand_with_the_owner_of_their_best_statement, say_seed),
        cmocka_unit_test(a_crowd_states_one_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
