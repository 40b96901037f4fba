/* Records between partitions that no partition wrote: they change nothing and stop nothing, and what is told
 * of people that nobody knows does no harm. */
#include "tests/support/person_play.h"

static struct play play;

static struct event_key key_of(unsigned n)
{
    struct event_key k = {(int64_t)n * 1000, (int64_t)n * 1000 + 5, 0, {{0}}};

    memset(k.uid.b, (int)n, UID_BYTES);
    return k;
}

static int setup(void **state)
{
    struct event page = event_at("d", NULL, "m1", 1000), login = event_at("d", "u", "m2", 2000);

    (void)state;
    play = (struct play){.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                                   .currency = "GBP",
                                   .touch_window_ms = TIME_DAY,
                                   .max_users_per_device = 3,
                                   .max_devices_per_user = 2,
                                   .max_device_events = 8}};
    play_start(&play, 2, 1 << 20, 1 << 20);
    play_event(&play, &page);
    play_event(&play, &login);
    play_finish(&play);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    play_end(&play);
    return 0;
}

/* Puts the record where it belongs, from the other partition, and folds it. Returns its outcome. */
static enum outcome outcome_of(struct internal *r)
{
    struct state_figures before, after;
    const struct state_emission *v;
    struct buf value, key;
    struct err e = {0};
    uint32_t p;

    buf_init(&value, MIB);
    buf_init(&key, KIB);
    p = event_log_partition(internal_key(r, &key), play.partitions);
    r->sender = r->sender == UINT32_MAX ? p : r->sender ? r->sender : 1 - p;
    if (r->version.cause == 0)
        r->version = (struct internal_version){100000, 1};
    assert_true(internal_pack(r, &value));
    play_append(&play, LOG_KIND_INTERNAL, internal_key(r, &key), buf_str(&value));
    state_figures(play.state, p, &before);
    assert_true(state_fold(play.state, p, play.logs[p].v + play.folded[p], 1, &e) >= 0);
    play.folded[p]++;
    state_figures(play.state, p, &after);
    assert_int_equal(after.offset, before.offset + 1);
    bool said = false;
    size_t n = state_emissions(play.state, p, &v);
    for (size_t i = 0; i < n; i++)
        said = said || v[i].topic == LOG_BAD;
    state_emitted(play.state, p);
    buf_deinit(&value);
    buf_deinit(&key);
    for (int i = 0; i < OUTCOMES; i++) {
        if (after.outcomes[i] == before.outcomes[i])
            continue;
        assert_int_equal(i == OUTCOME_BAD, said);
        return (enum outcome)i;
    }
    fail_msg("the record has no outcome");
    return OUTCOME_BAD;
}

/* That the state is as it was, in memory, on disk and after a restart. */
static void nothing_changed(void)
{
    struct log_record *records;
    struct verify_report report;
    struct oracle o;
    struct err e = {0};

    play_oracle(&play, &o, &records);
    for (int again = 0; again < 2; again++) {
        play_check(&play, &o, STR_LIT("user:u"));
        play_check(&play, &o, STR_LIT("anon:d"));
        play_check(&play, &o, STR_LIT("user:nobody"));
        play_check(&play, &o, STR_LIT("anon:nobody"));
        for (uint32_t p = 0; p < play.partitions; p++)
            play_commit(&play, p);
        if (again == 0) {
            state_close(play.state);
            play_open(&play);
        }
    }
    assert_int_equal(state_verify(play.state, say_line, NULL, NULL, &report, &e), 0);
    assert_int_equal(report.differences, 0);
    oracle_deinit(&o);
    free(records);
}

static struct str packed(struct event *e, char *to, size_t room)
{
    struct buf b;

    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(event_pack(e, &b) && b.n <= room);
    memcpy(to, b.p, b.n);
    struct str out = {to, b.n};
    buf_deinit(&b);
    return out;
}

static void a_sender_that_is_none_is_bad(void **state)
{
    struct internal r = {.kind = INTERNAL_VERDICT, .sender = 2, .device = STR_LIT("d"), .user = STR_LIT("u")};

    (void)state;
    assert_int_equal(outcome_of(&r), OUTCOME_BAD);
    r.sender = UINT32_MAX; /* itself */
    r.version = (struct internal_version){0};
    assert_int_equal(outcome_of(&r), OUTCOME_BAD);
    nothing_changed();
}

static void items_that_are_no_event_change_nothing(void **state)
{
    struct internal_item item = {key_of(7), STR_LIT("no event")};
    struct internal placement = {
        .kind = INTERNAL_PLACEMENT, .device = STR_LIT("d"), .user = STR_LIT("u"), .items = &item, .item_count = 1};
    struct internal order = {
        .kind = INTERNAL_ORDER, .order_id = STR_LIT("O"), .owner = STR_LIT("user:u"), .items = &item, .item_count = 1};

    (void)state;
    assert_int_equal(outcome_of(&placement), OUTCOME_MOVED);
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    order.kind = INTERNAL_STATEMENT;
    order.version = (struct internal_version){0};
    order.sender = 0;
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    nothing_changed();
}

/* The event is another than the item and the record say. */
static void items_of_another_event_change_nothing(void **state)
{
    struct event others[] = {event_at("d", NULL, "m9", 3000), event_at("e", NULL, "m9", 3000),
                             event_at("d", "u", "m9", 3000)};
    char bytes[1000];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct internal_item item = {key_of(7), packed(&others[i], bytes, sizeof bytes)};
        struct internal r = {
            .kind = INTERNAL_PLACEMENT, .device = STR_LIT("d"), .user = STR_LIT("u"), .items = &item, .item_count = 1};

        if (i > 0) /* the key is right, and the device or the user is wrong */
            item.key = event_key(&others[i]);
        assert_int_equal(outcome_of(&r), OUTCOME_MOVED);
    }
    nothing_changed();
}

static void statements_of_another_order_change_nothing(void **state)
{
    struct event page = event_at("d", NULL, "m9", 3000), other = event_at(NULL, "u", "m10", 3000);
    char bytes[1000];

    (void)state;
    other.type = EVENT_ORDER;
    other.trust = TRUST_SERVER;
    other.order = (struct order_fields){.order_id = STR_LIT("X"), .status = STATUS_PAID, .total = {true, 5000000}};
    for (int i = 0; i < 4; i++) {
        struct event *e = i % 2 ? &other : &page;
        struct internal_item item = {.bytes = packed(e, bytes, sizeof bytes)};
        struct internal r = {.kind = i < 2 ? INTERNAL_ORDER : INTERNAL_STATEMENT,
                             .order_id = STR_LIT("O"),
                             .owner = STR_LIT("user:u"),
                             .items = &item,
                             .item_count = 1};

        item.key = event_key(e);
        assert_int_equal(outcome_of(&r), OUTCOME_MOVED);
    }
    nothing_changed();
}

static void what_is_taken_back_before_it_was_said_is_taken_back(void **state)
{
    struct internal_item item = {key_of(7), STR_NONE};
    struct internal gone = {.kind = INTERNAL_PLACEMENT,
                            .device = STR_LIT("nobody"),
                            .user = STR_LIT("nobody"),
                            .items = &item,
                            .item_count = 1};
    struct internal order = {.kind = INTERNAL_ORDER,
                             .order_id = STR_LIT("O"),
                             .owner = STR_LIT("user:nobody"),
                             .items = &item,
                             .item_count = 1};
    struct internal member = {
        .kind = INTERNAL_MEMBER, .device = STR_LIT("nobody"), .user = STR_LIT("nobody"), .removed = true};
    struct internal link = {.kind = INTERNAL_LINK,
                            .device = STR_LIT("nobody"),
                            .user = STR_LIT("nobody"),
                            .key = key_of(3),
                            .subject = key_of(3).uid,
                            .removed = true};
    struct internal verdict = {.kind = INTERNAL_VERDICT, .device = STR_LIT("nobody"), .user = STR_LIT("nobody")};

    (void)state;
    assert_int_equal(outcome_of(&gone), OUTCOME_MOVED);
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    order.kind = INTERNAL_STATEMENT;
    order.sender = 0;
    order.version = (struct internal_version){0};
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    assert_int_equal(outcome_of(&member), OUTCOME_MOVED);
    assert_int_equal(outcome_of(&link), OUTCOME_MOVED);
    assert_int_equal(outcome_of(&verdict), OUTCOME_MOVED);
    nothing_changed();
}

/* The log may begin behind what the owner was told of the order. */
static void an_order_is_taken_back_from_an_owner_of_whom_nothing_is_known(void **state)
{
    struct internal_item item = {key_of(7), STR_NONE};
    struct internal order = {.kind = INTERNAL_ORDER, .order_id = STR_LIT("O"), .items = &item, .item_count = 1};

    (void)state;
    order.owner = STR_LIT("user:nobody");
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    order.owner = STR_LIT("anon:nobody");
    order.version = (struct internal_version){0};
    order.sender = 0;
    assert_int_equal(outcome_of(&order), OUTCOME_MOVED);
    nothing_changed();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_sender_that_is_none_is_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(items_that_are_no_event_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(items_of_another_event_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(statements_of_another_order_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_taken_back_before_it_was_said_is_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(an_order_is_taken_back_from_an_owner_of_whom_nothing_is_known, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
