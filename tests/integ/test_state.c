/* The state, rule by rule, on a real store in a temporary folder. */
#include "tests/support/state_case.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct fold_rules rules = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};

#define AT(minutes) (INT64_C(1700000000000) + (minutes)*TIME_MINUTE)

struct place_for_test {
    char *folder;
    struct state_options o;
    struct state *state;
    struct test_log log;
    size_t folded;
};

static void open_it(struct place_for_test *t)
{
    struct state_figures f;
    struct err e = {0};

    if (state_open(&t->o, &t->state, &e) != 0)
        fail_msg("%s", e.text);
    state_figures(t->state, 0, &f);
    t->folded = (size_t)f.offset;
}

static int setup(void **state)
{
    struct place_for_test *t = calloc(1, sizeof *t);

    t->folder = folder_new();
    t->o = (struct state_options){
        .path = t->folder, .partitions = 1, .rules = &rules, .commit_bytes = 64 * MIB, .cache_bytes = 64 * MIB};
    open_it(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct place_for_test *t = *state;

    state_close(t->state);
    log_free(&t->log);
    folder_free(t->folder);
    free(t);
    return 0;
}

static void fold(struct place_for_test *t)
{
    struct err e = {0};

    if (state_fold(t->state, 0, t->log.v + t->folded, t->log.n - t->folded, &e) < 0)
        fail_msg("%s", e.text);
    t->folded = t->log.n;
}

static void add(struct place_for_test *t, struct event e)
{
    log_event(&t->log, &e);
    fold(t);
}

static void commit(struct place_for_test *t)
{
    struct err e = {0};

    if (state_commit(t->state, 0, &e) != 0)
        fail_msg("%s", e.text);
}

static void reopen(struct place_for_test *t)
{
    state_close(t->state);
    open_it(t);
    fold(t);
}

static void verify(struct place_for_test *t, uint64_t differences)
{
    struct verify_report report;
    struct err e = {0};

    commit(t);
    if (state_verify(t->state, differences ? NULL : say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(report.differences > 0, differences > 0);
}

/* Everything about everybody, against the model. */
static void check(struct place_for_test *t)
{
    struct str before = STR_NONE;
    struct state_figures f;
    struct model m;

    model_init(&m, t->log.v, t->folded, &rules);
    for (size_t i = 0; i < m.n; i++) {
        const char *what;

        if (str_eq(before, model_profile(&m.v[i])))
            continue;
        before = model_profile(&m.v[i]);
        what = profile_differs(t->state, 0, &m, before);
        if (what)
            fail_msg("%.*s: %s", STR_ARG(before), what);
    }
    state_figures(t->state, 0, &f);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], m.n);
    assert_int_equal(f.offset, t->folded);
    model_deinit(&m);
}

/* In memory, after a commit, after opening again. */
static void check_everywhere(struct place_for_test *t)
{
    check(t);
    commit(t);
    check(t);
    reopen(t);
    check(t);
    verify(t, 0);
}

static struct state_profile profile_of(struct place_for_test *t, const char *id, struct arena *a)
{
    struct state_profile p;
    struct err e = {0};

    assert_int_equal(state_profile(t->state, 0, str_of(id), a, &p, &e), 0);
    return p;
}

static int64_t version_of(struct place_for_test *t, const char *id)
{
    struct state_profile p;
    struct arena a;

    arena_init(&a, MIB);
    p = profile_of(t, id, &a);
    facts_deinit(&p.facts);
    arena_deinit(&a);
    return p.version;
}

static uint64_t sessions_of(struct place_for_test *t, const char *id)
{
    struct state_profile p;
    uint64_t sessions;
    struct arena a;

    arena_init(&a, MIB);
    p = profile_of(t, id, &a);
    sessions = p.facts.sessions;
    facts_deinit(&p.facts);
    arena_deinit(&a);
    return sessions;
}

static void outcomes(struct place_for_test *t, uint64_t folded, uint64_t duplicate, uint64_t bad)
{
    struct state_figures f;

    state_figures(t->state, 0, &f);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], folded);
    assert_int_equal(f.outcomes[OUTCOME_DUPLICATE], duplicate);
    assert_int_equal(f.outcomes[OUTCOME_BAD], bad);
}

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

static struct event order_log(const char *anonymous_id, const char *user_id, const char *message_id, int64_t time,
                              enum order_status status, int64_t total)
{
    struct event e = event_at(anonymous_id, user_id, message_id, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order.order_id = STR_LIT("O1");
    e.order.status = status;
    e.order.total = (struct opt){total > 0, total * MICROS};
    return e;
}

static void statements_meet_across_streams(void **state)
{
    struct place_for_test *t = *state;
    struct event e = order_log("a", "u", "m1", AT(1), STATUS_CREATED, 0);
    struct state_order found;
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
    assert_int_equal(state_order(t->state, 0, STR_LIT("O1"), &found, &err), 0);
    assert_true(found.order.total == 100 * MICROS && found.trust == TRUST_SERVER);
    assert_true(str_is(found.profile, "user:u"));
    assert_int_equal(found.order.statement_count, 3);
    state_order_free(&found);
    check_everywhere(t);
}

/* "user:x" and "anon:x" stand under one log key: an order goes to the person of its best statement. */
static void an_order_changes_hands(void **state)
{
    struct place_for_test *t = *state;
    struct state_order found;
    struct err err = {0};

    add(t, order_log("x", NULL, "m1", AT(0), STATUS_CREATED, 10));
    check(t);
    commit(t);
    add(t, order_log(NULL, "x", "m1", AT(1), STATUS_PAID, 20));
    assert_int_equal(version_of(t, "anon:x"), 2);
    assert_int_equal(state_order(t->state, 0, STR_LIT("O1"), &found, &err), 0);
    assert_true(str_is(found.profile, "user:x"));
    state_order_free(&found);
    check(t);
    reopen(t);
    check(t);
    commit(t);
    add(t, order_log("x", NULL, "m2", AT(2), STATUS_SHIPPED, 30));
    check_everywhere(t);
    assert_int_equal(version_of(t, "user:x"), 3);
}

static void an_order_is_found_by_its_id(void **state)
{
    struct place_for_test *t = *state;
    struct state_order found;
    struct err err = {0};

    assert_int_equal(state_order(t->state, 0, STR_LIT("O1"), &found, &err), STATE_NOT_FOUND);
    add(t, order_log("a", NULL, "m1", AT(3), STATUS_CREATED, 10));
    commit(t);
    reopen(t);
    add(t, order_log("b", NULL, "m1", AT(5), STATUS_CREATED, 20));
    add(t, order_log("c", NULL, "m1", AT(4), STATUS_CREATED, 30));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(state_order(t->state, 0, STR_LIT("O1"), &found, &err), 0);
        assert_true(str_is(found.profile, "anon:b"));
        state_order_free(&found);
        round == 0 ? commit(t) : reopen(t);
    }
    check_everywhere(t);
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
    assert_true(f.memory < 100000);
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
    assert_int_equal(report.profiles, 2);
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
        T(statements_meet_across_streams),
        T(an_order_changes_hands),
        T(an_order_is_found_by_its_id),
        T(statements_beyond_the_limit_wait_in_line),
        T(a_large_stream_keeps_its_uids),
        T(a_tiny_budget_gives_the_same_answers),
        T(what_is_no_event_is_bad),
        T(views_are_whole_while_it_commits),
        T(a_crash_comes_back_to_the_last_commit),
        T(a_fresh_partition_begins_where_it_is_told),
        T(it_is_opened_as_it_was_made),
        T(a_stopped_instance_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
