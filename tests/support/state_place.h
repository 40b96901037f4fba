/* For the tests of the state that go step by step: one partition on a real store in a temporary folder, and its log. */
#ifndef WAYMARK_TESTS_STATE_PLACE_H
#define WAYMARK_TESTS_STATE_PLACE_H

#include "tests/support/state_case.h"

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

static inline void open_it(struct place_for_test *t)
{
    struct state_figures f;
    struct err e = {0};

    if (state_open(&t->o, &t->state, &e) != 0)
        fail_msg("%s", e.text);
    state_figures(t->state, 0, &f);
    t->folded = (size_t)f.offset;
}

static inline int setup(void **state)
{
    struct place_for_test *t = calloc(1, sizeof *t);

    t->folder = folder_new();
    t->o = (struct state_options){
        .path = t->folder, .partitions = 1, .rules = &rules, .commit_bytes = 64 * MIB, .cache_bytes = 64 * MIB};
    open_it(t);
    *state = t;
    return 0;
}

static inline int teardown(void **state)
{
    struct place_for_test *t = *state;

    state_close(t->state);
    log_free(&t->log);
    folder_free(t->folder);
    free(t);
    return 0;
}

static inline void fold(struct place_for_test *t)
{
    struct err e = {0};

    if (state_fold(t->state, 0, t->log.v + t->folded, t->log.n - t->folded, &e) < 0)
        fail_msg("%s", e.text);
    t->folded = t->log.n;
}

static inline void add(struct place_for_test *t, struct event e)
{
    log_event(&t->log, &e);
    fold(t);
}

static inline void commit(struct place_for_test *t)
{
    struct err e = {0};

    if (state_commit(t->state, 0, &e) != 0)
        fail_msg("%s", e.text);
}

static inline void reopen(struct place_for_test *t)
{
    state_close(t->state);
    open_it(t);
    fold(t);
}

static inline void verify(struct place_for_test *t, uint64_t differences)
{
    struct verify_report report;
    struct err e = {0};

    commit(t);
    if (state_verify(t->state, differences ? NULL : say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(report.differences > 0, differences > 0);
}

/* Everything about everybody, against the model. */
static inline void check(struct place_for_test *t)
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
static inline void check_everywhere(struct place_for_test *t)
{
    check(t);
    commit(t);
    check(t);
    reopen(t);
    check(t);
    verify(t, 0);
}

static inline struct state_profile profile_of(struct place_for_test *t, const char *id, struct arena *a)
{
    struct state_profile p;
    struct err e = {0};

    assert_int_equal(state_profile(t->state, 0, str_of(id), a, &p, &e), 0);
    return p;
}

static inline int64_t version_of(struct place_for_test *t, const char *id)
{
    struct state_profile p;
    struct arena a;

    arena_init(&a, MIB);
    p = profile_of(t, id, &a);
    facts_deinit(&p.facts);
    arena_deinit(&a);
    return p.version;
}

static inline uint64_t sessions_of(struct place_for_test *t, const char *id)
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

static inline void outcomes(struct place_for_test *t, uint64_t folded, uint64_t duplicate, uint64_t bad)
{
    struct state_figures f;

    state_figures(t->state, 0, &f);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], folded);
    assert_int_equal(f.outcomes[OUTCOME_DUPLICATE], duplicate);
    assert_int_equal(f.outcomes[OUTCOME_BAD], bad);
}

static inline struct event order_log(const char *anonymous_id, const char *user_id, const char *message_id,
                                     int64_t time, enum order_status status, int64_t total)
{
    struct event e = event_at(anonymous_id, user_id, message_id, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order.order_id = STR_LIT("O1");
    e.order.status = status;
    e.order.total = (struct opt){total > 0, total * MICROS};
    return e;
}

#endif
