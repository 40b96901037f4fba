/* What the eraser leaves of orders on the log: it is folded for nobody, known again, and believed nowhere else. */
#include "profiler/order.h"
#include "profiler/same_log.h"
#include "profiler/state_private.h"
#include "tests/support/person_play.h"

static struct play play;

static int setup(void **state)
{
    (void)state;
    play = (struct play){.rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}};
    play_start(&play, 1, 1 << 20, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    play_end(&play);
    return 0;
}

static struct event order_of(const char *device, const char *user)
{
    struct event e = event_at(device, user, "m1", 1000);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.order = (struct order_fields){
        .order_id = STR_LIT("O"), .status = STATUS_PAID, .coupon = STR_LIT("theirs"), .total = {true, 5000000}};
    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    return e;
}

static void fold(const char *key, struct str bytes, enum outcome want)
{
    struct state_figures before, after;
    struct err e = {0};

    play_append(&play, LOG_KIND_EVENT, str_of(key), bytes);
    state_figures(play.state, 0, &before);
    assert_true(state_fold(play.state, 0, play.logs[0].v + play.folded[0], 1, &e) >= 0);
    play.folded[0]++;
    state_figures(play.state, 0, &after);
    state_emitted(play.state, 0);
    for (int i = 0; i < OUTCOMES; i++)
        assert_int_equal(after.outcomes[i] - before.outcomes[i], i == (int)want);
}

static void fold_event_of(const char *key, const struct event *e, enum outcome want)
{
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(e, &b));
    fold(key, buf_str(&b), want);
    buf_deinit(&b);
}

static int owner(struct arena *a, struct str *out)
{
    struct err e = {0};

    arena_reset(a);
    return state_order(play.state, 0, STR_LIT("O"), a, out, &e);
}

static void it_is_nobodys(void **state)
{
    struct event e = order_of("d", "u");
    struct verify_report report;
    struct err err = {0};
    struct state_view v;
    struct str whose;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, MIB);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(order_strip(&e, &b));
    fold("", buf_str(&b), OUTCOME_ERASED);
    assert_int_equal(owner(&a, &whose), 0);
    assert_true(str_is(whose, "anon:order:O"));
    assert_int_equal(state_view(play.state, 0, whose, VIEW_ORDERS | VIEW_NOBODY, &v, &err), 0);
    assert_int_equal(v.order_count, 1);
    assert_true(v.orders[0].total == 5000000 && !str_has(v.orders[0].coupon));
    state_view_free(&v);
    assert_int_equal(state_view(play.state, 0, STR_LIT("user:u"), VIEW_ORDERS, &v, &err), STATE_NOT_FOUND);
    play_commit(&play, 0);
    assert_int_equal(state_verify(play.state, say_line, NULL, NULL, &report, &err), 0);
    assert_int_equal(report.differences, 0);
    buf_deinit(&b);
    arena_deinit(&a);
}

static void it_is_known_again(void **state)
{
    struct event e = order_of("d", "u");
    struct uid other = e.uid;
    struct buf b;

    (void)state;
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(order_strip(&e, &b));
    const struct log_record r = {.offset = 7, .kind = LOG_KIND_EVENT, .value = buf_str(&b)};
    assert_true(same_event(&r, 7, &e.uid));
    assert_false(same_event(&r, 8, &e.uid));
    other.b[0] ^= 1;
    assert_false(same_event(&r, 7, &other));
    buf_deinit(&b);
}

/* Whoever may write to the log must not pass a statement off as an erased person's. */
static void it_is_believed_nowhere_else(void **state)
{
    struct event e = order_of("order:O", NULL);
    struct str whose;
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    e.erased = true;
    fold_event_of("order:O", &e, OUTCOME_BAD);
    e.anonymous_id = STR_LIT("order:P");
    fold_event_of("", &e, OUTCOME_BAD);
    e.anonymous_id = STR_LIT("d");
    fold_event_of("", &e, OUTCOME_BAD);
    e = order_of("order:O", "u");
    e.erased = true;
    fold_event_of("", &e, OUTCOME_BAD);
    e = order_of("order:O", NULL);
    e.erased = true;
    e.type = EVENT_PAGE;
    fold_event_of("", &e, OUTCOME_BAD);
    e.type = EVENT_ORDER;
    e.order.order_id = STR_NONE;
    fold_event_of("", &e, OUTCOME_BAD);
    e = order_of("d", "u"); /* and a key is missed as ever */
    fold_event_of("", &e, OUTCOME_BAD);
    assert_int_equal(owner(&a, &whose), STATE_NOT_FOUND);
    arena_deinit(&a);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(it_is_nobodys), TEST(it_is_known_again), TEST(it_is_believed_nowhere_else)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
