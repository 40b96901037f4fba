/* What was erased is in no file: a state, an embedded log and the followers between them, and the eraser; the files are
 * searched. */
#include "tests/support/eraser_case.h"

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void a_user_is_in_no_file(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    wait_shown(k);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        followers_commit(k->followers, p);
    assert_true(search(k->folder, false) > 0); /* the search finds what is there */
    start_eraser(k);
    int64_t began = clock_monotonic();
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    print_message("clean after %lld ms\n", (long long)(clock_monotonic() - began));
    assert_true(atomic_load(&k->cleaned) > 0);
    check_gone(k);
    close_shop(k);
    assert_int_equal(search(k->folder, true), 0); /* what is written at the end */
    open_shop(k);
    start_eraser(k);
    WAIT_UNTIL(all_shown(k) && is_clean(k)); /* what was not known on disk yet is done again */
    check_gone(k);
}

static void a_device_is_in_no_file(void **state)
{
    struct shop *k = *state;

    for (int i = 0; i < 20; i++)
        put(k, page(ALONE, NULL, PAGE, T0 + i));
    put(k, page(NULL, OTHER, "https://shop.example/neighbour", T0));
    start_eraser(k);
    put_erasure(k, NULL, ALONE);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "anon:" ALONE), 0);
    assert_int_equal(events_of(k, "user:" OTHER), 1);
    check_log(k);
}

/* The program ended before anything was cleaned. */
static void it_is_done_after_a_restart(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    assert_true(is_erasing(k));
    close_shop(k);
    assert_true(search(k->folder, false) > 0);
    open_shop(k);
    assert_true(is_erasing(k));
    start_eraser(k);
    WAIT_UNTIL(is_clean(k));
    check_gone(k);
}

/* Refused as erased when it is folded, it stands on the log all the same. */
static void what_comes_late_goes_too(void **state)
{
    struct shop *k = *state;

    k->late_ms = 50;
    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    put(k, page(NULL, USER, PAGE "/late", T0 + 7));
    WAIT_UNTIL(search(k->folder, false) == 0);
    check_gone(k);
}

/* A life after keeps its events, through the next erasure of somebody else. */
static void a_later_life_stays(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    put(k, page(NULL, USER, "https://shop.example/again", UNTIL + 5));
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(events_of(k, "user:" USER), 1);
    put_erasure(k, OTHER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(events_of(k, "user:" USER), 1);
    assert_int_equal(events_of(k, "user:" OTHER), 0);
    check_log(k);
}

static void events_come_meanwhile(void **state)
{
    struct shop *k = *state;
    uint64_t n = 0;

    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    while (!is_clean(k) && n < 100000) {
        put(k, page(NULL, "u-other", "https://shop.example/meanwhile", T0 + (int64_t)n));
        n++;
    }
    WAIT_UNTIL(is_clean(k));
    wait_shown(k);
    assert_int_equal(events_of(k, "user:u-other"), n);
    check_gone(k);
}

/* --- orders ----------------------------------------------------------------------------------------------------- */

struct sold {
    char owner[64];
    int64_t placed_at;
    money total;
    size_t statements;
};

static void take_order(struct shop *k, struct str owner, const char *id, struct sold *out)
{
    struct state_view v;
    struct err e = {0};
    struct str key = {owner.p + 5, owner.n - 5};

    assert_int_equal(
        state_view(k->state, event_log_partition(key, PARTITIONS), owner, VIEW_ORDERS | VIEW_NOBODY, &v, &e), 0);
    for (size_t i = 0; i < v.order_count; i++)
        if (str_is(v.orders[i].order_id, id)) {
            out->placed_at = v.orders[i].placed_at;
            out->total = v.orders[i].total;
            out->statements = v.orders[i].statement_count;
        }
    state_view_free(&v);
}

static struct sold sold(struct shop *k, const char *id)
{
    struct sold out;
    struct str owner;
    struct arena a;
    struct err e = {0};

    memset(&out, 0, sizeof out);
    arena_init(&a, MIB);
    assert_int_equal(state_order(k->state, state_order_partition(k->state, str_of(id)), str_of(id), &a, &owner, &e), 0);
    snprintf(out.owner, sizeof out.owner, "%.*s", STR_ARG(owner));
    take_order(k, owner, id, &out);
    arena_deinit(&a);
    return out;
}

static void put_shipped(struct shop *k, const char *user, const char *order, int64_t time)
{
    struct event e = page(NULL, user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order = (struct order_fields){.order_id = str_of(order), .status = STATUS_SHIPPED};
    put(k, e);
}

/* A guest's, which is known to be theirs by another statement, and one that a neighbour speaks of, too. */
static void fill_orders(struct shop *k)
{
    put_order(k, "order:order-2", NULL, "order-2", T0 + 500);
    put_order(k, NULL, USER, "order-2", T0 + 510);
    put_order(k, NULL, USER, "order-3", T0 + 600);
    put_shipped(k, OTHER, "order-3", T0 + 610);
}

/* While its home learns that they are erased it names them, after the erasure. */
static void an_order_on_its_way_names_nobody(void **state)
{
    struct shop *k = *state;

    fill_shop(k);
    fill_orders(k);
    wait_shown(k);
    assert_string_equal(sold(k, "order-2").owner, "user:" USER);
    write_down(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    check_log(k);
}

/* Their statement of an order that is a neighbour's, in a partition where nothing else is theirs. */
static void a_neighbours_order_has_no_trace(void **state)
{
    struct shop *k = *state;
    char neighbour[16];
    unsigned n = 0;

    do
        snprintf(neighbour, sizeof neighbour, "u-next-%u", n++);
    while (event_log_partition(str_of(neighbour), PARTITIONS) == event_log_partition(STR_LIT(USER), PARTITIONS) ||
           event_log_partition(str_of(neighbour), PARTITIONS) == state_order_partition(k->state, STR_LIT("order-6")));
    put_order(k, NULL, USER, "order-6", T0);
    put_shipped(k, neighbour, "order-6", T0 + 10);
    wait_shown(k);
    write_down(k);
    assert_true(search(k->state_path, false) > 0);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
}

/* The cleaned log gives the same orders as the state had, to nobody. */
static void amounts_survive_folding_anew(void **state)
{
    static const char *const ids[] = {"order-1", "order-2", "order-3"};
    struct shop *k = *state;
    struct sold before[3];

    fill_shop(k);
    fill_orders(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    for (size_t i = 0; i < 3; i++)
        before[i] = sold(k, ids[i]);
    assert_string_equal(before[0].owner, "anon:order:order-1");
    assert_true(before[0].total == 120500000 && before[0].placed_at == T0 + 200);
    assert_string_equal(before[1].owner, "anon:order:order-2");
    assert_string_equal(before[2].owner, "user:" OTHER);
    assert_int_equal(before[2].placed_at, T0 + 600);
    close_shop(k);
    folder_free(strdup(k->state_path));
    open_shop(k);
    start_eraser(k);
    wait_shown(k);
    for (size_t i = 0; i < 3; i++) {
        struct sold now = sold(k, ids[i]);

        assert_memory_equal(&now, &before[i], sizeof now);
    }
    WAIT_UNTIL(is_clean(k));
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "user:" USER), 0);
}

/* --- with Redis ------------------------------------------------------------------------------------------------- */

static void the_cache_has_no_copy(void **state)
{
    struct shop *k = *state;
    struct cache_case c;

    cache_case_begin(&c);
    k->cache = c.c;
    redis_case_do(&c.redis, "SET", "wm:profile:user:" USER, "x");
    redis_case_do(&c.redis, "SET", "wm:profile:user:" OTHER, "x");
    fill_shop(k);
    start_eraser(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "0");
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" OTHER), "1");
    check_gone(k);
    eraser_stop(k->eraser);
    cache_case_end(&c);
}

/* Nothing is called clean while it may have a copy; what else there is to do is done. */
static void redis_is_away(void **state)
{
    struct shop *k = *state;
    struct cache_case c;

    cache_case_begin(&c);
    redis_case_do(&c.redis, "SET", "wm:profile:user:" USER, "x");
    fill_shop(k);
    put_erasure(k, USER, NULL);
    wait_shown(k);
    close_shop(k); /* and whose copies there are is not known any more, but by the log */
    atomic_store(&c.proxy.refuse, true);
    atomic_store(&c.proxy.cut, 2);
    WAIT_UNTIL(!cache_is_up(c.c));
    k->cache = c.c;
    open_shop(k);
    start_eraser(k);
    WAIT_UNTIL(link_told(c.c, &c.c->writer.link, "") && search(k->state_path, false) == 0);
    assert_false(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "1");
    atomic_store(&c.proxy.refuse, false);
    WAIT_UNTIL(is_clean(k));
    assert_string_equal(redis_case_do(&c.redis, "EXISTS", "wm:profile:user:" USER), "0");
    check_gone(k);
    eraser_stop(k->eraser);
    cache_case_end(&c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_user_is_in_no_file),
                                       TEST(a_device_is_in_no_file),
                                       TEST(it_is_done_after_a_restart),
                                       TEST(what_comes_late_goes_too),
                                       TEST(a_later_life_stays),
                                       TEST(events_come_meanwhile),
                                       TEST(an_order_on_its_way_names_nobody),
                                       TEST(amounts_survive_folding_anew),
                                       TEST(a_neighbours_order_has_no_trace),
                                       TEST(the_cache_has_no_copy),
                                       TEST(redis_is_away)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
