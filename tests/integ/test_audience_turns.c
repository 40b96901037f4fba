/* People who take long to be judged: everybody else is judged at once while they change all the time, whoever they are
 * has what is true of them in the end, and one who is erased waits for nobody. */
#include <time.h>

#include "tests/support/audience_play.h"

enum { LONG = 20000, ROUNDS = 100 };

static const struct traits_rules traits_rules = {0};
static unsigned messages;

static void begin(struct audience_play *t, int64_t slow_us)
{
    rnd_state = 7;
    messages = 0;
    *t = (struct audience_play){.p = {.rules = {.traits = &traits_rules,
                                                .session_gap_ms = 30 * TIME_MINUTE,
                                                .currency = "GBP",
                                                .touch_window_ms = TIME_DAY,
                                                .max_users_per_device = 100,
                                                .max_devices_per_user = 100,
                                                .max_device_events = 100000}},
                                .slow_us = slow_us};
    for (unsigned i = 0; i < RULES; i++)
        snprintf(t->defined[i].name, NAME, "a%u", i);
    audience_play_start(t, 1);
}

static void send(struct audience_play *t, const char *device, const char *name, unsigned n)
{
    static char ids[2 * LONG][NAME];

    for (unsigned i = 0; i < n; i++) {
        struct event e = event_at(NULL, NULL, NULL, START + messages * TIME_SECOND);

        assert_true(messages < 2 * LONG);
        snprintf(ids[messages], NAME, "m%u", messages);
        e.message_id = str_of(ids[messages++]);
        e.received = e.time + 1;
        e.type = EVENT_TRACK;
        e.name = str_of(name);
        e.anonymous_id = str_of(device);
        e.properties = STR_LIT("{\"color\":\"red\"}");
        play_event(&t->p, &e);
    }
    play_finish(&t->p);
    audiences_wake(t->a);
}

static uint64_t size_of(struct audience_play *t, const char *name)
{
    struct audience_info info;
    struct arena a;

    arena_init(&a, MIB);
    assert_int_equal(audiences_get(t->a, str_of(name), &a, &info), 0);
    arena_deinit(&a);
    return info.size;
}

static void await_size(struct audience_play *t, const char *name, uint64_t size)
{
    int64_t until = clock_monotonic() + SETTLE_MS;

    while (size_of(t, name) != size) {
        if (clock_monotonic() > until)
            fail_msg("%s has %llu members", name, (unsigned long long)size_of(t, name));
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

static void nobody_waits_for_a_robot(void **state)
{
    static struct audience_play t;
    char device[NAME];
    double before, judged;

    (void)state;
    begin(&t, 0);
    audience_define(&t, 0, "count(\"Seen\", 90, e.color == \"red\") >= 20050");
    audience_define(&t, 1, "count(\"Ping\", 90) >= 1");
    send(&t, "robot", "Seen", LONG);
    audience_settle(&t);
    before = audience_metric(&t, "waymark_audience_judged_total{because=\"event\"} ");
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(device, sizeof device, "d%u", i);
        send(&t, "robot", "Seen", 1);
        send(&t, device, "Ping", 1);
        await_size(&t, "a1", i + 1);
    }
    judged = audience_metric(&t, "waymark_audience_judged_total{because=\"event\"} ") - before;
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 1);
    if (judged >= 2 * ROUNDS)
        fail_msg("the robot was judged at each of its events");
    audience_play_end(&t);
}

/* Everybody who was judged once is one who takes long: of many none is forgotten, and all are as they should be. */
static void all_of_many_have_their_turn(void **state)
{
    static struct audience_play t;
    char device[NAME];

    (void)state;
    begin(&t, 1);
    audience_define(&t, 0, "count(\"Seen\", 90) >= 3");
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned i = 0; i < 100; i++) {
            snprintf(device, sizeof device, "d%u", i);
            send(&t, device, "Seen", 1);
        }
        audiences_wake(t.a);
    }
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 100);
    atomic_fetch_add(&t.now, 90 * TIME_DAY); /* and time alone */
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 0);
    audience_define(&t, 0, "count(\"Seen\", 365) == 3"); /* and another rule */
    play_finish(&t.p);
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 100);
    audience_play_end(&t);
}

/* What waits for a turn when its partition is left is found again. */
static void a_restart_forgets_no_turn(void **state)
{
    static struct audience_play t;

    (void)state;
    begin(&t, 1);
    audience_define(&t, 0, "count(\"Seen\", 90) >= 500");
    for (unsigned i = 0; i < 5; i++)
        send(&t, "robot", "Seen", 100);
    audience_end(&t);
    audience_begin(&t);
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 1);
    audience_play_end(&t);
}

static void erase(struct audience_play *t, const char *device)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char id[NAME], alias[ERASURE_ALIAS_BYTES + 1];
    struct buf b;

    snprintf(id, sizeof id, "anon:%s", device);
    snprintf(alias, sizeof alias, "alias-of-nr-%04u", 1u);
    struct key_hash hash = key_hash_erasure(no_key, str_of(id));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = START + 60 * TIME_DAY,
                              .device = str_of(device),
                              .until = START + 60 * TIME_DAY,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, str_of(device), buf_str(&b));
    buf_deinit(&b);
}

static void the_erased_wait_for_nobody(void **state)
{
    static struct audience_play t;
    struct err e = {0};

    (void)state;
    begin(&t, 1);
    audience_define(&t, 0, "count(\"Seen\", 90) >= 1");
    send(&t, "robot", "Seen", LONG / 4);
    audience_settle(&t);
    assert_int_equal(size_of(&t, "a0"), 1);
    send(&t, "robot", "Seen", 1); /* from now on it waits */
    erase(&t, "robot");
    play_finish(&t.p);
    if (audiences_forget(t.a, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(size_of(&t, "a0"), 0);
    audience_play_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_waits_for_a_robot),
        cmocka_unit_test(all_of_many_have_their_turn),
        cmocka_unit_test(a_restart_forgets_no_turn),
        cmocka_unit_test(the_erased_wait_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
