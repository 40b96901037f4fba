/* The state, rule by rule, on a real store in a temporary folder. */
#include "tests/support/state_place.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- copies --------------------------------------------------------------------------------------------------- */

static void a_copy_counts_once(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(0)), again = event_at("a", NULL, "m1", AT(1));

    add(t, e);
    add(t, e);
    add(t, again);
    outcomes(t, 1, 2, 0);
    commit(t);
    add(t, e);
    add(t, again);
    reopen(t);
    add(t, e);
    outcomes(t, 1, 5, 0);
    assert_int_equal(version_of(t, "anon:a"), 1);
    check_everywhere(t);
}

static void the_same_message_of_others_is_another_event(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(0));

    add(t, e);
    add(t, event_at("b", NULL, "m1", AT(0)));
    add(t, event_at("a", "u", "m1", AT(0)));
    e.source = STR_LIT("app");
    add(t, e);
    outcomes(t, 4, 0, 0);
    check_everywhere(t);
}

static void an_earlier_copy_replaces_in_memory(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(10));

    add(t, event_at("a", NULL, "m0", AT(0)));
    add(t, e);
    e.time = AT(5);
    e.url = STR_LIT("https://shop.example/other");
    add(t, e);
    e.received--;
    add(t, e);
    outcomes(t, 2, 2, 0);
    assert_int_equal(version_of(t, "anon:a"), 4);
    check_everywhere(t);
}

static void an_earlier_copy_replaces_on_disk(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(60));

    add(t, event_at("a", NULL, "m0", AT(0)));
    add(t, e);
    add(t, event_at("a", NULL, "m2", AT(90)));
    commit(t);
    e.time = AT(20);
    add(t, e);
    check(t);
    assert_int_equal(sessions_of(t, "anon:a"), 2);
    check_everywhere(t);
    e.time = AT(10);
    add(t, e);
    check_everywhere(t);
    outcomes(t, 3, 2, 0);
}

static void of_equal_copies_the_least_hash_stands(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(0));
    char url[16];

    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof url, "/%d", i * 7 % 20);
        e.url = str_of(url);
        add(t, e);
        if (i % 5 == 4)
            commit(t);
    }
    outcomes(t, 1, 19, 0);
    check_everywhere(t);
}

static void a_copy_may_speak_of_another_order(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", "u", "m1", AT(30));

    for (int round = 0; round < 2; round++) {
        e.type = EVENT_ORDER;
        e.trust = TRUST_SERVER;
        e.message_id = round ? STR_LIT("n1") : STR_LIT("m1");
        e.time = AT(30);
        e.order.order_id = STR_LIT("O1");
        e.order.status = STATUS_CREATED;
        e.order.total = (struct opt){true, 10 * MICROS};
        add(t, e);
        if (round)
            commit(t);
        e.time = AT(20);
        e.order.order_id = STR_LIT("O2");
        add(t, e);
        check(t);
        e.time = AT(10);
        e.type = EVENT_PAGE;
        e.order = (struct order_fields){0};
        add(t, e);
        check_everywhere(t);
    }
}

/* --- sessions ------------------------------------------------------------------------------------------------- */

static void late_events_join_sessions(void **state)
{
    struct place_for_test *t = *state;

    add(t, event_at("a", NULL, "m1", AT(0)));
    add(t, event_at("a", NULL, "m2", AT(50)));
    add(t, event_at("a", NULL, "m3", AT(100)));
    assert_int_equal(sessions_of(t, "anon:a"), 3);
    add(t, event_at("a", NULL, "m4", AT(25)));
    assert_int_equal(sessions_of(t, "anon:a"), 2);
    commit(t);
    add(t, event_at("a", NULL, "m5", AT(75)));
    assert_int_equal(sessions_of(t, "anon:a"), 1);
    commit(t);
    add(t, event_at("a", NULL, "m6", AT(131)));
    assert_int_equal(sessions_of(t, "anon:a"), 2);
    reopen(t);
    commit(t);
    add(t, event_at("a", NULL, "m7", AT(-31)));
    assert_int_equal(sessions_of(t, "anon:a"), 3);
    check_everywhere(t);
}

static void late_events_across_many_commits(void **state)
{
    struct place_for_test *t = *state;
    char id[16];

    for (int i = 0; i < 400; i++) {
        snprintf(id, sizeof id, "m%d", i);
        add(t, event_at("a", NULL, id, AT((int64_t)(i * 7919 % 400) * 17)));
        if (i % 9 == 0)
            commit(t);
        if (i % 50 == 0)
            reopen(t);
        if (i % 20 == 0)
            check(t);
    }
    check_everywhere(t);
}

/* --- streams and orders --------------------------------------------------------------------------------------- */

static void devices_of_one_user_have_sessions_of_their_own(void **state)
{
    struct place_for_test *t = *state;

    add(t, event_at("a", "u", "m1", AT(0)));
    add(t, event_at("b", "u", "m1", AT(1)));
    add(t, event_at(NULL, "u", "m1", AT(2)));
    add(t, event_at("a", "u", "m2", AT(3)));
    assert_int_equal(sessions_of(t, "user:u"), 3);
    commit(t);
    add(t, event_at("b", "u", "m2", AT(4)));
    assert_int_equal(sessions_of(t, "user:u"), 3);
    check_everywhere(t);
}

/* --- large and small ------------------------------------------------------------------------------------------ */

static void a_large_stream_keeps_its_uids(void **state)
{
    struct place_for_test *t = *state;
    char id[16];
    struct event e;

    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "m%d", i);
        e = event_at("a", NULL, id, AT(i));
        log_event(&t->log, &e);
        if (i % 97 == 0) {
            fold(t);
            commit(t);
        }
    }
    fold(t);
    commit(t);
    reopen(t);
    for (int i = 0; i < 5000; i += 13) {
        snprintf(id, sizeof id, "m%d", i);
        add(t, event_at("a", NULL, id, AT(i)));
    }
    outcomes(t, 5000, (5000 + 12) / 13, 0);
    for (int i = 0; i < 5000; i += 499) {
        snprintf(id, sizeof id, "m%d", i);
        add(t, event_at("a", NULL, id, AT(i - 40)));
    }
    check_everywhere(t);
    add(t, event_at("a", NULL, "m499", AT(499)));
    outcomes(t, 5000, (5000 + 12) / 13 + 12, 0);
}

static void a_tiny_budget_gives_the_same_answers(void **state)
{
    struct place_for_test *t = *state;
    struct state_figures f;
    char a[16], u[16], id[16];

    state_close(t->state);
    t->o.cache_bytes = 3000;
    t->o.commit_bytes = 20000;
    open_it(t);
    for (int i = 0; i < 3000; i++) {
        struct event e;

        snprintf(a, sizeof a, "a%d", i * 31 % 97);
        snprintf(u, sizeof u, "u%d", i % 13);
        snprintf(id, sizeof id, "m%d", i % 2500);
        e = event_at(a, i % 3 ? NULL : u, id, AT(i * 17 % 3000));
        if (i % 29 == 0)
            e = order_log(a, u, id, AT(i), STATUS_CREATED, i);
        log_event(&t->log, &e);
    }
    while (t->folded < t->log.n) {
        size_t n = t->log.n - t->folded < 50 ? t->log.n - t->folded : 50;
        struct err e = {0};
        int rc = state_fold(t->state, 0, t->log.v + t->folded, n, &e);

        assert_true(rc >= 0);
        t->folded += n;
        if (rc == STATE_COMMIT_DUE)
            commit(t);
    }
    commit(t);
    state_figures(t->state, 0, &f);
    assert_true(f.commits > 20);
    assert_true(f.memory < 200000); /* the batch and a block of the interval are kept for the next commit */
    check_everywhere(t);
}

static void what_is_no_event_is_bad(void **state)
{
    struct place_for_test *t = *state;

    log_add(&t->log, STR_LIT("nonsense"));
    log_add(&t->log, STR_LIT(""));
    fold(t);
    add(t, event_at("a", NULL, "m", AT(0)));
    outcomes(t, 1, 0, 2);
    assert_true(state_dirty(t->state, 0));
    check_everywhere(t);
    assert_false(state_dirty(t->state, 0));
}

/* --- looking while it folds ----------------------------------------------------------------------------------- */

struct lookers {
    struct place_for_test *t;
    _Atomic bool stop;
    _Atomic uint64_t views, wrong;
};

/* Records n·2 and n·2+1 go to one profile each; a view must hold exactly the events up to its version. */
static void *look(void *arg)
{
    struct lookers *l = arg;
    struct arena a;

    arena_init(&a, MIB);
    while (!l->stop) {
        struct state_view v;
        struct state_profile p;
        struct err e = {0};
        const char *id = l->views % 2 ? "user:u" : "anon:a";
        int rc = state_view(l->t->state, 0, str_of(id), VIEW_PATH | VIEW_ORDERS, &v, &e);

        if (rc == 0) {
            size_t expected = (size_t)(v.version + 1) / 2;

            l->wrong += v.path_count != expected;
            for (size_t i = 1; i < v.path_count; i++)
                l->wrong += event_key_cmp(&v.path[i - 1].key, &v.path[i].key) >= 0;
            state_view_free(&v);
        }
        if (state_profile(l->t->state, 0, str_of(id), &a, &p, &e) == 0) {
            l->wrong += p.facts.events != (uint64_t)(p.version + 1) / 2;
            facts_deinit(&p.facts);
        }
        arena_reset(&a);
        l->views++;
    }
    arena_deinit(&a);
    return NULL;
}

static void views_are_whole_while_it_commits(void **state)
{
    struct place_for_test *t = *state;
    struct lookers l = {.t = t};
    pthread_t threads[4];
    char id[16];

    for (int i = 0; i < 1500; i++) {
        struct event e;

        snprintf(id, sizeof id, "m%d", i);
        e = event_at(i % 2 ? NULL : "a", i % 2 ? "u" : NULL, id, AT(i * 7919 % 1500));
        log_event(&t->log, &e);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, &l), 0);
    while (t->folded < t->log.n) {
        struct err e = {0};

        assert_true(state_fold(t->state, 0, t->log.v + t->folded, 10, &e) >= 0);
        t->folded += 10;
        commit(t);
    }
    while (l.views < 50)
        sched_yield();
    l.stop = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(l.wrong, 0);
    check_everywhere(t);
}

/* --- opening -------------------------------------------------------------------------------------------------- */

/* A single look-up may read what it must; several share a bound, and small ones are always answered. */
static void large_views_wait_for_each_other(void **state)
{
    struct place_for_test *t = *state;
    struct state_view a, b, small;
    struct err err = {0};
    char id[16];

    state_close(t->state);
    t->o.view_bytes = MIB;
    open_it(t);
    for (int i = 0; i < 10000; i++) {
        struct event e;

        snprintf(id, sizeof id, "m%d", i);
        e = event_at(i % 2 ? "a" : "b", NULL, id, AT(i));
        log_event(&t->log, &e);
    }
    fold(t);
    add(t, event_at("c", NULL, "m1", AT(0)));
    commit(t);
    assert_int_equal(state_view(t->state, 0, STR_LIT("anon:a"), VIEW_PATH, &a, &err), 0);
    assert_int_equal(a.path_count, 5000);
    assert_int_equal(state_view(t->state, 0, STR_LIT("anon:b"), VIEW_PATH, &b, &err), -EBUSY);
    assert_int_equal(state_view(t->state, 0, STR_LIT("anon:c"), VIEW_PATH, &small, &err), 0);
    state_view_free(&small);
    state_view_free(&a);
    assert_int_equal(state_view(t->state, 0, STR_LIT("anon:b"), VIEW_PATH, &b, &err), 0);
    /* The worker's own do not wait: an earlier copy makes it fold the whole path again. */
    add(t, event_at("a", NULL, "m1", AT(-1)));
    commit(t);
    state_view_free(&b);
    verify(t, 0);
}

static void a_crash_comes_back_to_the_last_commit(void **state)
{
    struct place_for_test *t = *state;
    struct state_figures f;

    add(t, event_at("a", NULL, "m1", AT(0)));
    commit(t);
    add(t, event_at("a", NULL, "m2", AT(1)));
    add(t, order_log("b", NULL, "m2", AT(1), STATUS_PAID, 5));
    state_figures(t->state, 0, &f);
    assert_int_equal(f.offset, 3);
    assert_int_equal(f.disk_offset, 1);
    state_close(t->state);
    open_it(t);
    assert_int_equal(t->folded, 1);
    check(t);
    fold(t);
    check_everywhere(t);
}

static void a_fresh_partition_begins_where_it_is_told(void **state)
{
    struct place_for_test *t = *state;
    struct event e = event_at("a", NULL, "m1", AT(0));
    struct state_figures f;

    state_begin_at(t->state, 0, 7);
    log_event(&t->log, &e);
    t->log.v[0].offset = 7;
    fold(t);
    commit(t);
    state_close(t->state);
    open_it(t);
    state_figures(t->state, 0, &f);
    assert_int_equal(f.began, 7);
    assert_int_equal(f.offset, 8);
    assert_int_equal(version_of(t, "anon:a"), 8);
    verify(t, 0);
}

static void refuses(struct place_for_test *t, const char *word)
{
    struct state *other = NULL;
    struct err e = {0};

    assert_true(state_open(&t->o, &other, &e) < 0);
    assert_null(other);
    if (!strstr(e.text, word))
        fail_msg("no \"%s\" in: %s", word, e.text);
}

static void it_is_opened_as_it_was_made(void **state)
{
    struct place_for_test *t = *state;
    struct fold_rules changed = rules;

    add(t, event_at("a", NULL, "m1", AT(0)));
    commit(t);
    refuses(t, "in use");
    state_close(t->state);
    t->o.rules = &changed;
    changed.session_gap_ms++;
    refuses(t, "session_gap");
    changed = rules;
    memcpy(changed.currency, "EUR", 4);
    refuses(t, "currency (GBP, now EUR)");
    changed = rules;
    changed.count_from_paid = true;
    refuses(t, "orders_count_from");
    changed = rules;
    changed.touch_window_ms = 1;
    refuses(t, "window");
    changed = rules;
    changed.map_names = 7;
    refuses(t, "names of a map");
    struct zone *zone = zone_new("Europe/London");
    changed = rules;
    changed.zone = zone;
    refuses(t, "timezone");
    zone_free(zone);
    changed = rules;
    t->o.partitions = 2;
    refuses(t, "partitions");
    t->o.partitions = 1;
    zone = zone_new("UTC");
    changed.zone = zone;
    open_it(t);
    check(t);
    t->o.rules = &rules;
    state_close(t->state);
    zone_free(zone);
    open_it(t);
}

static void a_stopped_instance_can_be_read(void **state)
{
    struct place_for_test *t = *state;
    struct verify_report report;
    struct state *reader;
    struct err e = {0};

    add(t, event_at("a", NULL, "m1", AT(0)));
    add(t, order_log("b", "u", "m2", AT(1), STATUS_PAID, 5));
    commit(t);
    state_close(t->state);
    t->o.read_only = true;
    assert_int_equal(state_open(&t->o, &reader, &e), 0);
    assert_int_equal(state_verify(reader, say_line, NULL, NULL, &report, &e), 0);
    assert_int_equal(report.differences, 0);
    assert_int_equal(report.profiles, 3); /* the device b is u's */
    assert_int_equal(report.events, 2);
    assert_int_equal(report.streams, 2);
    assert_int_equal(report.orders, 1);
    state_close(reader);
    t->o.path = "/tmp/waymark-no-such-folder";
    refuses(t, "no state");
    t->o.path = t->folder;
    t->o.read_only = false;
    open_it(t);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_copy_counts_once),
        T(the_same_message_of_others_is_another_event),
        T(an_earlier_copy_replaces_in_memory),
        T(an_earlier_copy_replaces_on_disk),
        T(of_equal_copies_the_least_hash_stands),
        T(a_copy_may_speak_of_another_order),
        T(late_events_join_sessions),
        T(late_events_across_many_commits),
        T(devices_of_one_user_have_sessions_of_their_own),
        T(a_large_stream_keeps_its_uids),
        T(a_tiny_budget_gives_the_same_answers),
        T(what_is_no_event_is_bad),
        T(views_are_whole_while_it_commits),
        T(large_views_wait_for_each_other),
        T(a_crash_comes_back_to_the_last_commit),
        T(a_fresh_partition_begins_where_it_is_told),
        T(it_is_opened_as_it_was_made),
        T(a_stopped_instance_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
