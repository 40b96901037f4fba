/* What folding asks to be put on the log: each record that is no event, with its bytes and its place, the same again
 * after a crash, and nothing else. */
#include "tests/support/state_case.h"

#define PARTITIONS 4

static const struct fold_rules rules = {.session_gap_ms = 1800000, .currency = "GBP"};

struct test {
    char *dir;
    struct state *state;
    struct test_log log;
    char key[16]; /* of partition 2 */
};

static void open_state(struct test *t)
{
    const struct state_options o = {.path = t->dir,
                                    .partitions = PARTITIONS,
                                    .rules = &rules,
                                    .commit_bytes = 64 * MIB,
                                    .cache_bytes = 1 * MIB,
                                    .keyed = true};
    struct err e = {0};

    if (state_open(&o, &t->state, &e) < 0)
        fail_msg("open: %s", e.text);
}

static int begin(void **state)
{
    struct test *t = calloc(1, sizeof *t);

    t->dir = folder_new();
    open_state(t);
    for (int i = 0; i == 0 || event_log_partition(str_of(t->key), PARTITIONS) != 2; i++)
        snprintf(t->key, sizeof t->key, "u%d", i);
    *state = t;
    return 0;
}

static int end(void **state)
{
    struct test *t = *state;

    state_close(t->state);
    log_free(&t->log);
    folder_free(t->dir);
    free(t);
    return 0;
}

/* An event of the user, under a key. */
static void add(struct test *t, const char *user, const char *key, const char *message_id)
{
    struct event e = event_at(NULL, user, message_id, 1000);

    log_event(&t->log, &e);
    t->log.v[t->log.n - 1].key = str_of(key);
    t->log.v[t->log.n - 1].time = 5000;
}

static void add_bytes(struct test *t, enum log_kind kind, struct str bytes)
{
    log_add(&t->log, bytes);
    t->log.v[t->log.n - 1].kind = kind;
    t->log.v[t->log.n - 1].key = str_of(t->key);
    t->log.v[t->log.n - 1].time = 5000;
}

static void fold(struct test *t)
{
    struct err e = {0};

    if (state_fold(t->state, 2, t->log.v, t->log.n, &e) < 0)
        fail_msg("fold: %s", e.text);
}

static void expect_bad(const struct state_emission *m, int64_t offset, struct str bytes, uint64_t size, const char *why)
{
    struct bad_event bad;
    struct arena a;

    assert_int_equal(m->topic, LOG_BAD);
    assert_int_equal(m->record.kind, LOG_KIND_BAD);
    arena_init(&a, 64 * MIB);
    assert_int_equal(bad_event_unpack(m->record.value, &a, &bad), CODEC_OK);
    assert_true(str_is(bad.code, "record_invalid"));
    assert_non_null(memmem(bad.message.p, bad.message.n, why, strlen(why)));
    assert_true(bad.from_log);
    assert_int_equal(bad.log_partition, 2);
    assert_int_equal(bad.log_offset, offset);
    assert_int_equal(bad.received, 5000);
    assert_int_equal(bad.full_size, size);
    assert_int_equal(bad.bytes.n, bytes.n);
    assert_true(bytes.n == 0 || memcmp(bad.bytes.p, bytes.p, bytes.n) == 0);
    arena_deinit(&a);
}

static void test_bad_records(void **state)
{
    struct test *t = *state;
    const struct state_emission *v;
    struct state_figures f;
    char *large = malloc(2 * MIB);

    memset(large, 'x', 2 * MIB);
    add(t, t->key, t->key, "m1");
    add_bytes(t, LOG_KIND_EVENT, STR_LIT("poison"));
    add_bytes(t, LOG_KIND_UNKNOWN, STR_LIT(""));
    add_bytes(t, LOG_KIND_CLAIM, STR_LIT("internal"));
    add_bytes(t, LOG_KIND_EVENT, (struct str){large, 2 * MIB});
    add(t, t->key, "another", "m2");
    add(t, "u-of-another-partition", "u-of-another-partition", "m3");
    add(t, t->key, t->key, "m1");
    add(t, t->key, t->key, "m4");
    assert_int_not_equal(event_log_partition(STR_LIT("u-of-another-partition"), PARTITIONS), 2);
    t->log.v[5].key = STR_NONE; /* as who writes without one */
    fold(t);
    assert_int_equal(state_emissions(t->state, 2, &v), 5);
    expect_bad(&v[0], 1, STR_LIT("poison"), 6, "cannot be read");
    expect_bad(&v[1], 2, STR_LIT(""), 0, "kind");
    expect_bad(&v[2], 4, (struct str){large, MIB}, 2 * MIB, "cannot be read");
    expect_bad(&v[3], 5, t->log.v[5].value, t->log.v[5].value.n, "its key is not");
    expect_bad(&v[4], 6, t->log.v[6].value, t->log.v[6].value.n, "another partition");
    state_figures(t->state, 2, &f);
    assert_int_equal(f.offset, 9);
    assert_int_equal(f.outcomes[OUTCOME_FOLDED], 2);
    assert_int_equal(f.outcomes[OUTCOME_DUPLICATE], 1);
    assert_int_equal(f.outcomes[OUTCOME_BAD], 5);
    assert_int_equal(f.outcomes[OUTCOME_MOVED], 1);
    state_emitted(t->state, 2);
    assert_int_equal(state_emissions(t->state, 2, &v), 0);
    assert_int_equal(state_emissions(t->state, 1, &v), 0);
    free(large);
}

/* What was not committed is asked for again, and nothing of what was. */
static void test_crash_between(void **state)
{
    struct test *t = *state;
    const struct state_emission *v;
    struct err e = {0};

    add_bytes(t, LOG_KIND_EVENT, STR_LIT("one"));
    assert_true(state_fold(t->state, 2, t->log.v, 1, &e) >= 0);
    assert_int_equal(state_emissions(t->state, 2, &v), 1);
    state_emitted(t->state, 2);
    assert_int_equal(state_commit(t->state, 2, &e), 0);
    add_bytes(t, LOG_KIND_EVENT, STR_LIT("two"));
    assert_true(state_fold(t->state, 2, t->log.v + 1, 1, &e) >= 0);
    assert_int_equal(state_emissions(t->state, 2, &v), 1);
    expect_bad(&v[0], 1, STR_LIT("two"), 3, "");
    state_close(t->state); /* with what was not put on the log */
    open_state(t);
    assert_int_equal(state_emissions(t->state, 2, &v), 0);
    assert_true(state_fold(t->state, 2, t->log.v + 1, 1, &e) >= 0);
    assert_int_equal(state_emissions(t->state, 2, &v), 1);
    expect_bad(&v[0], 1, STR_LIT("two"), 3, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bad_records, begin, end),
        cmocka_unit_test_setup_teardown(test_crash_between, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
