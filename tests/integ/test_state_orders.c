/* Orders in the state: their statements meet, change hands, and are found by the order id alone. */
#include "tests/support/state_place.h"

#include <time.h>

static bool is_owner(const struct state_view *v, const char *profile)
{
    return str_is(v->id, profile);
}

/* --- one order ------------------------------------------------------------------------------------------------ */

static void statements_meet_across_streams(void **state)
{
    struct place_for_test *t = *state;
    struct event e = order_log("a", "u", "m1", AT(1), STATUS_CREATED, 0);
    const struct order *found;
    struct state_view view;
    struct err err = {0};

    e.type = EVENT_TRACK;
    e.trust = TRUST_BEACON;
    e.name = STR_LIT("Order Completed");
    e.order.status = STATUS_NONE;
    e.order.total = (struct opt){true, 90 * MICROS};
    add(t, e);
    check(t);
    commit(t);
    add(t, order_log("b", "u", "m2", AT(0), STATUS_CREATED, 100));
    check(t);
    add(t, order_log(NULL, "u", "m3", AT(5), STATUS_PAID, 0));
    check(t);
    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), 0);
    assert_true(found->total == 100 * MICROS && found->best->trust == TRUST_SERVER);
    assert_true(is_owner(&view, "user:u"));
    assert_int_equal(found->statement_count, 3);
    state_view_free(&view);
    check_everywhere(t);
}

/* An order goes to the person of its best statement, and those who state it less well have none. */
static void an_order_changes_hands(void **state)
{
    struct place_for_test *t = *state;
    const struct order *found;
    struct state_view view;
    struct err err = {0};

    add(t, order_log("x", NULL, "m1", AT(0), STATUS_CREATED, 10));
    check(t);
    commit(t);
    add(t, order_log(NULL, "x", "m1", AT(1), STATUS_PAID, 20));
    assert_int_equal(version_of(t, "anon:x"), 2);
    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), 0);
    assert_true(is_owner(&view, "user:x"));
    state_view_free(&view);
    check(t);
    reopen(t);
    check(t);
    commit(t);
    add(t, order_log("x", NULL, "m2", AT(2), STATUS_SHIPPED, 30));
    check_everywhere(t);
    assert_int_equal(version_of(t, "user:x"), 3);
    add(t, order_log(NULL, "y", "m2", AT(3), STATUS_DELIVERED, 30));
    check_everywhere(t);
}

static void an_order_is_found_by_its_id(void **state)
{
    struct place_for_test *t = *state;
    const struct order *found;
    struct state_view view;
    struct err err = {0};

    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), STATE_NOT_FOUND);
    add(t, order_log("a", NULL, "m1", AT(3), STATUS_CREATED, 10));
    commit(t);
    reopen(t);
    add(t, order_log("b", NULL, "m1", AT(5), STATUS_CREATED, 20));
    add(t, order_log("c", NULL, "m1", AT(4), STATUS_CREATED, 30));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), 0);
        assert_true(is_owner(&view, "anon:b"));
        assert_int_equal(found->statement_count, 3);
        state_view_free(&view);
        round == 0 ? commit(t) : reopen(t);
    }
    check_everywhere(t);
}

/* Its only statement becomes one of something else: the order is nobody's. */
static void an_order_ends_with_its_last_statement(void **state)
{
    struct place_for_test *t = *state;
    struct event e = order_log("a", NULL, "m1", AT(3), STATUS_CREATED, 10);
    const struct order *found;
    struct state_view view;
    struct err err = {0};

    add(t, e);
    commit(t);
    e.time = AT(2);
    e.order.order_id = STR_LIT("O2");
    add(t, e);
    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), STATE_NOT_FOUND);
    check_everywhere(t);
    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &err), STATE_NOT_FOUND);
    e.time = AT(1);
    e.order.order_id = STR_LIT("O1");
    add(t, e);
    check_everywhere(t);
    assert_int_equal(find_order(t->state, STR_LIT("O2"), &view, &found, &err), STATE_NOT_FOUND);
}

static void statements_beyond_the_limit_wait_in_line(void **state)
{
    struct place_for_test *t = *state;
    struct event e;
    char id[16];

    for (int i = 0; i < LIMIT_STATEMENTS + 30; i++) {
        snprintf(id, sizeof id, "m%d", i);
        e = order_log(i % 2 ? "x" : NULL, i % 2 ? NULL : "x", id, AT(i * 7919 % (LIMIT_STATEMENTS + 30)),
                      STATUS_CREATED, i + 1);
        log_event(&t->log, &e);
    }
    fold(t);
    check(t);
    commit(t);
    /* One that counted moves earlier and one stops to be a statement: the next in line comes in. */
    e = order_log(NULL, "x", "m0", AT(-1), STATUS_CREATED, 1);
    add(t, e);
    check(t);
    e.time = AT(-2);
    e.type = EVENT_PAGE;
    e.order = (struct order_fields){0};
    add(t, e);
    check_everywhere(t);
}

/* --- heavy statements ----------------------------------------------------------------------------------------- */

enum { HEAVY = 120 };

/* Small on the log, large unpacked. */
static void heavy_statement(struct test_log *l, int i, int64_t time)
{
    static struct item items[LIMIT_ITEMS];
    struct event e;
    char id[16];

    for (size_t k = 0; k < LIMIT_ITEMS; k++)
        items[k] = (struct item){.price = {true, (int64_t)k}, .listed_at = TIME_NONE};
    snprintf(id, sizeof id, "m%d", i);
    e = order_log(i % 3 ? "x" : NULL, i % 3 ? NULL : "x", id, time, STATUS_CREATED, i + 1);
    e.items = items;
    e.item_count = i % 10 == 9 ? 10 : LIMIT_ITEMS;
    e.order.has_items = true;
    log_event(l, &e);
}

static void same_in_both(struct place_for_test *t, struct place_for_test *other)
{
    const struct order *a, *b;
    struct state_view v, w;
    struct err e = {0};

    assert_int_equal(find_order(t->state, STR_LIT("O1"), &v, &a, &e), 0);
    assert_int_equal(find_order(other->state, STR_LIT("O1"), &w, &b, &e), 0);
    assert_true(a->statement_count < HEAVY / 2);
    if (!same_order(a, b))
        fail_msg("%zu statements count, %zu in the other order", a->statement_count, b->statement_count);
    state_view_free(&v);
    state_view_free(&w);
}

/* The fold must not stop at them, and what counts must not depend on who came first. */
static void heavy_statements_wait_in_line(void **state)
{
    struct place_for_test *t = *state, *other;
    void *second;

    assert_int_equal(setup(&second), 0);
    other = second;
    for (int i = 0; i < HEAVY; i++) {
        heavy_statement(&t->log, i, AT(i));
        heavy_statement(&other->log, i * 53 % HEAVY, AT(i * 53 % HEAVY));
    }
    fold(t);
    fold(other);
    same_in_both(t, other);
    commit(t);
    /* Some that count and some that did not become the earliest. */
    for (int i = 0; i < 60; i += 7)
        heavy_statement(&t->log, i, AT(-i - 1));
    for (int i = 56; i >= 0; i -= 7)
        heavy_statement(&other->log, i, AT(-i - 1));
    fold(t);
    commit(other);
    fold(other);
    same_in_both(t, other);
    verify(t, 0);
    verify(other, 0);
    reopen(t);
    same_in_both(t, other);
    teardown(&second);
}

/* --- many with one id ------------------------------------------------------------------------------------------ */

enum { DEVICES = 50000, BATCH = 1000 };

/* What anybody may send who knows the key of a shop's site. */
static struct event beacon_order(char *device, size_t n, int i)
{
    struct event e;

    snprintf(device, n, "d%d", i);
    e = order_log(device, NULL, "m1", AT(i), STATUS_NONE, 1 + i);
    e.type = EVENT_TRACK;
    e.trust = TRUST_BEACON;
    e.name = STR_LIT("Order Completed");
    return e;
}

/* Folds what the log has as a follower does. */
static void follow(struct place_for_test *t)
{
    while (t->folded < t->log.n) {
        size_t n = t->log.n - t->folded < BATCH ? t->log.n - t->folded : BATCH;
        struct err e = {0};
        int rc = state_fold(t->state, 0, t->log.v + t->folded, n, &e);

        assert_true(rc >= 0);
        t->folded += n;
        if (rc == STATE_COMMIT_DUE)
            commit(t);
    }
}

static void finds(struct place_for_test *t, const char *profile, enum event_trust trust)
{
    const struct order *found;
    struct state_view view;
    struct err e = {0};

    assert_int_equal(find_order(t->state, STR_LIT("O1"), &view, &found, &e), 0);
    if (!is_owner(&view, profile))
        fail_msg("%.*s has the order, not %s", STR_ARG(view.id), profile);
    assert_int_equal(found->best->trust, trust);
    assert_true(found->statement_count <= LIMIT_STATEMENTS);
    state_view_free(&view);
}

/* Time that this thread works, of the quickest of some look-ups: neither other processes nor waiting count. */
static int64_t work_of_a_look_up(struct place_for_test *t)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < 20; i++) {
        struct timespec a, b;
        struct err e = {0};
        struct arena arena;
        struct str owner;
        int64_t took;

        arena_init(&arena, MIB);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        assert_int_equal(state_order(t->state, 0, STR_LIT("O1"), &arena, &owner, &e), 0);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        arena_deinit(&arena);
        took = (int64_t)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
        least = took < least ? took : least;
    }
    return least;
}

/* A stranger states the shop's order id under very many devices: the shop's own word counts, and finding it takes no
 * longer than before. */
static void many_devices_state_one_order(void **state)
{
    struct place_for_test *t = *state;
    int64_t alone, among_many;
    char device[16];
    struct event e;

    e = order_log(NULL, "buyer", "m1", AT(DEVICES + 7), STATUS_PAID, 99);
    add(t, e);
    commit(t);
    alone = work_of_a_look_up(t);
    for (int i = 0; i < DEVICES; i++) {
        e = beacon_order(device, sizeof device, i * 7919 % DEVICES);
        log_event(&t->log, &e);
    }
    follow(t);
    finds(t, "user:buyer", TRUST_SERVER);
    commit(t);
    finds(t, "user:buyer", TRUST_SERVER);
    among_many = work_of_a_look_up(t);
    if (among_many > 20 * alone + 1000000)
        fail_msg("a look-up takes %lld ns, %lld before", (long long)among_many, (long long)alone);
    reopen(t);
    finds(t, "user:buyer", TRUST_SERVER);
    /* The shop's statement becomes one of something else: the latest of the strangers' that count has it. */
    e = event_at(NULL, "buyer", "m1", AT(6));
    e.trust = TRUST_SERVER;
    add(t, e);
    finds(t, "anon:d999", TRUST_BEACON);
    verify(t, 0);
    finds(t, "anon:d999", TRUST_BEACON);
    /* A better one among many on disk, then a worse one. */
    e = order_log("late", NULL, "m1", AT(DEVICES + 1), STATUS_PAID, 1);
    add(t, e);
    finds(t, "anon:late", TRUST_SERVER);
    verify(t, 0);
    finds(t, "anon:late", TRUST_SERVER);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(statements_meet_across_streams),
        T(an_order_changes_hands),
        T(an_order_is_found_by_its_id),
        T(an_order_ends_with_its_last_statement),
        T(statements_beyond_the_limit_wait_in_line),
        T(heavy_statements_wait_in_line),
        T(many_devices_state_one_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
