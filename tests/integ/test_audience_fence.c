/* Somebody with a long path, of which only the end is read when they act: after whatever changes what came before, and
 * whatever else makes what is remembered of it worth nothing, they are in the audiences that their whole path says.
 * Each test makes one such thing happen, and looks that it makes a difference. */
#include "tests/support/audience_play.h"

enum { DAYS = 50, LONG = 20, MESSAGES = 2000 };

static const struct traits_rules traits_rules = {0};
static struct audience_play t;
static char messages[MESSAGES][NAME];
static unsigned message_count;

static const char *const texts[RULES] = {
    "count(\"Rare\") >= 1",
    "count(\"Seen\", 30, e.color == \"red\") >= 12",
    "last(\"Seen\").color == \"red\"",
    "interest(\"Seen\", \"color\", 10) == \"red\"",
    "followed_by(\"Seen\", \"Done\", hours(2))",
    "count(\"Seen\") >= 45",
    "count(\"Seen\", 10, e.color == \"red\") >= 3",
    "not_followed_by(\"Rare\", \"Done\", hours(1), days(59))",
};
enum { RARE, RED_MONTH, LAST_RED, INTEREST, FOLLOWED, MANY, RED_TEN, UNFOLLOWED };

/* --- what happens ----------------------------------------------------------------------------------------------- */

static int64_t day(double n)
{
    return START + (int64_t)(n * TIME_DAY);
}

static void settle(void)
{
    play_finish(&t.p);
    audience_settle(&t);
}

static struct event an_event(const char *name, const char *color, int64_t time)
{
    struct event e = event_at(NULL, NULL, NULL, time);

    assert_true(message_count < MESSAGES);
    snprintf(messages[message_count], NAME, "m%u", message_count);
    e.message_id = str_of(messages[message_count++]);
    e.received = atomic_load(&t.now);
    e.type = EVENT_TRACK;
    e.name = str_of(name);
    e.trust = TRUST_SERVER;
    e.properties =
        str_eq(str_of(color), STR_LIT("red")) ? STR_LIT("{\"color\":\"red\"}") : STR_LIT("{\"color\":\"blue\"}");
    return e;
}

static void track(const char *device, const char *user, const char *name, const char *color, int64_t time)
{
    struct event e = an_event(name, color, time);

    e.anonymous_id = device ? str_of(device) : STR_NONE;
    e.user_id = user ? str_of(user) : STR_NONE;
    play_event(&t.p, &e);
}

/* --- what is looked at ------------------------------------------------------------------------------------------ */

static double ends(void)
{
    return audience_metric(&t, "waymark_audience_paths_total{read=\"end\"} ");
}

static double wholes(void)
{
    return audience_metric(&t, "waymark_audience_paths_total{read=\"whole\"} ");
}

static double kept_bytes(void)
{
    return audience_metric(&t, "waymark_audience_past_bytes ");
}

static bool is_in(unsigned i, const char *id)
{
    struct member_list l = {.n = 0};
    bool in;

    arena_init(&l.arena, MIB);
    audience_list(&t, t.defined[i].name, &l);
    in = is_listed(&l, str_of(id));
    arena_deinit(&l.arena);
    return in;
}

static void check(void)
{
    for (size_t k = 0; k < t.person_count; k++) {
        bool in[RULES] = {false};
        struct buf tags;

        buf_init(&tags, MIB);
        if (!expect_person(&t, str_of(t.people[k]), in, &tags))
            memset(in, 0, sizeof in);
        for (unsigned i = 0; i < RULES; i++)
            if (is_in(i, t.people[k]) != in[i])
                fail_msg("%s should%s be in %s", t.people[k], in[i] ? "" : " not", t.defined[i].text);
        buf_deinit(&tags);
    }
}

/* Whether all that is judged next is judged by the end alone. */
static void only_the_end_is_read(const char *device, const char *user)
{
    double whole = wholes(), end = ends();

    track(device, user, "Seen", "blue", atomic_load(&t.now) - TIME_MINUTE);
    settle();
    assert_true(wholes() == whole);
    assert_true(ends() > end);
    check();
}

/* --- the play --------------------------------------------------------------------------------------------------- */

static void begin(const char *device, const char *user)
{
    rnd_state = 3;
    message_count = 0;
    t = (struct audience_play){.p = {.rules = {.traits = &traits_rules,
                                               .session_gap_ms = 30 * TIME_MINUTE,
                                               .currency = "GBP",
                                               .touch_window_ms = TIME_DAY,
                                               .max_users_per_device = 100,
                                               .max_devices_per_user = 100,
                                               .max_device_events = 1000}},
                               .slow_us = 1000000,
                               .long_path = LONG,
                               .roomy = true};
    for (unsigned i = 0; i < RULES; i++)
        snprintf(t.defined[i].name, NAME, "a%u", i);
    for (const char *const *id = (const char *[]){"user:u0", "user:u1", "anon:d0", "anon:d1", NULL}; *id; id++)
        snprintf(t.people[t.person_count++], NAME, "%s", *id);
    audience_play_start(&t, 1);
    for (unsigned i = 0; i < RULES; i++)
        audience_define(&t, i, texts[i]);
    for (unsigned i = 0; i < DAYS; i++)
        track(device, user, "Seen", i % 2 ? "red" : "blue", day(i));
    settle();
    track(device, user, "Seen", "blue", day(DAYS));
    settle(); /* with this one all but the end is remembered */
    only_the_end_is_read(device, user);
}

static void end(void)
{
    audience_play_end(&t);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void a_late_event_is_seen(void **state)
{
    (void)state;
    begin("d0", NULL);
    track("d0", NULL, "Rare", "red", day(3.5));
    settle();
    check();
    assert_true(is_in(RARE, "anon:d0"));
    assert_true(is_in(UNFOLLOWED, "anon:d0"));
    track("d0", NULL, "Seen", "red", day(44.5)); /* on the edge of the window of the month, and in the end or not */
    settle();
    check();
    track("d0", NULL, "Done", "red", day(7.5));
    settle();
    check();
    assert_false(is_in(UNFOLLOWED, "anon:d0"));
    only_the_end_is_read("d0", NULL);
    end();
}

/* The copy that was earlier stands: what was in the end moves to before it, or within what is before it. */
static void an_earlier_copy_is_seen(void **state)
{
    struct event e;

    (void)state;
    begin("d0", NULL);
    for (unsigned i = 0; i < 3; i++) {
        bool from_end = i == 2;
        double late = from_end ? 55 : 31.25 + i, early = from_end ? 52 : 12.5 + i;

        e = an_event("Seen", "red", day(late));
        e.anonymous_id = STR_LIT("d0");
        play_event(&t.p, &e);
        settle();
        check();
        only_the_end_is_read("d0", NULL);
        e.time = day(early);
        play_event(&t.p, &e);
        settle();
        check();
        only_the_end_is_read("d0", NULL);
    }
    end();
}

static void links_and_their_end_are_seen(void **state)
{
    (void)state;
    begin(NULL, "u0");
    track("d1", NULL, "Rare", "red", day(5)); /* of a device that nobody has yet */
    track("d1", NULL, "Done", "red", day(56));
    settle();
    check();
    assert_false(is_in(RARE, "user:u0"));
    only_the_end_is_read(NULL, "u0");
    track("d1", "u0", "Seen", "red", day(57));
    settle();
    check();
    assert_true(is_in(RARE, "user:u0"));
    only_the_end_is_read(NULL, "u0");
    play_unlink(&t.p, STR_LIT("d1"), STR_LIT("u0"), day(58));
    settle();
    check();
    assert_false(is_in(RARE, "user:u0"));
    assert_true(is_in(RARE, "anon:d1"));
    only_the_end_is_read(NULL, "u0");
    end();
}

/* A device with a long path becomes a user's, and its own again. */
static void a_long_path_changes_hands(void **state)
{
    (void)state;
    begin("d0", NULL);
    assert_true(is_in(MANY, "anon:d0"));
    track("d0", "u0", "Seen", "red", day(57));
    settle();
    check();
    assert_true(is_in(MANY, "user:u0"));
    assert_false(is_in(MANY, "anon:d0"));
    track("d0", NULL, "Seen", "red", day(57.5));
    settle();
    only_the_end_is_read("d0", NULL); /* theirs, too */
    play_unlink(&t.p, STR_LIT("d0"), STR_LIT("u0"), day(58));
    settle();
    check();
    assert_true(is_in(MANY, "anon:d0"));
    track("d0", NULL, "Seen", "red", day(58.5));
    settle();
    only_the_end_is_read("d0", NULL);
    track("d0", "u1", "Seen", "red", day(59)); /* and another's */
    settle();
    check();
    assert_true(is_in(MANY, "user:u1"));
    end();
}

static void erase(const char *user, int64_t until, unsigned number)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char id[NAME], alias[ERASURE_ALIAS_BYTES + 1];
    struct buf b;

    snprintf(id, sizeof id, "user:%s", user);
    snprintf(alias, sizeof alias, "alias-of-nr-%04u", number);
    struct key_hash hash = key_hash_erasure(no_key, str_of(id));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = atomic_load(&t.now),
                              .user = str_of(user),
                              .until = until,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t.p, LOG_KIND_COMMAND, str_of(user), buf_str(&b));
    buf_deinit(&b);
}

static void an_erasure_is_seen_and_nothing_is_kept(void **state)
{
    (void)state;
    begin(NULL, "u0");
    assert_true(is_in(MANY, "user:u0"));
    erase("u0", day(10.5), 1); /* what was said after that is of whom they are from then on */
    settle();
    check();
    assert_false(is_in(MANY, "user:u0"));
    track(NULL, "u0", "Seen", "red", day(58));
    settle();
    only_the_end_is_read(NULL, "u0");
    assert_true(kept_bytes() > 0);
    erase("u0", atomic_load(&t.now) + TIME_DAY, 2);
    settle();
    check();
    assert_false(is_in(RED_MONTH, "user:u0"));
    assert_true(kept_bytes() == 0);
    end();
}

/* Of the audiences, and of the state with what it had in memory. */
static void restarts_begin_anew(void **state)
{
    double whole;

    (void)state;
    begin("d0", NULL);
    audience_end(&t);
    track("d0", NULL, "Rare", "red", day(4));
    play_finish(&t.p);
    audience_begin(&t);
    settle();
    check();
    track("d0", NULL, "Seen", "red", day(57));
    settle();
    track("d0", NULL, "Seen", "red", day(57.1));
    settle();
    only_the_end_is_read("d0", NULL);
    audience_end(&t);
    play_kill(&t.p, false);
    audience_begin(&t);
    whole = wholes();
    track("d0", NULL, "Seen", "red", day(57.5));
    settle();
    check();
    assert_true(wholes() > whole);
    end();
}

/* The same place of the rules, another name, another condition; and one that is asked only now and then. */
static void other_rules_are_evaluated_on_the_whole(void **state)
{
    static const char *const others[] = {
        "count(\"Seen\", 30, e.color == \"blue\") >= 16",
        "count(\"Seen\", 45, e.color == \"red\") >= 16",
        "events % 2 == 0 && count(\"Seen\", 40, e.color == \"red\") >= 14",
        "events % 3 == 0 || count(\"Rare\") == 0",
        "count(\"Seen\", 80, days_since(e.time) > 20) % 2 == 0", /* which no one can remember */
        "count(\"Seen\", 30, e.color == \"red\") >= 12",
    };
    (void)state;
    begin("d0", NULL);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        audience_define(&t, RED_MONTH, others[i]);
        settle();
        check();
        for (unsigned k = 0; k < 6; k++) {
            track("d0", NULL, "Seen", "red", day(54 + (double)(6 * i + k) / 10));
            atomic_fetch_add(&t.now, TIME_DAY / 2);
            settle();
            check();
        }
    }
    only_the_end_is_read("d0", NULL);
    end();
}

/* A window that reaches further back than what is known of it. */
static void a_clock_that_goes_back_is_noticed(void **state)
{
    (void)state;
    begin("d0", NULL);
    atomic_fetch_add(&t.now, 40 * TIME_DAY);
    settle();
    check();
    for (unsigned i = 0; i < 3 * LONG; i++) {
        track("d0", NULL, "Seen", "blue", day(90 + (double)i / 10));
        settle();
    }
    check();
    only_the_end_is_read("d0", NULL);
    for (unsigned i = 0; i < 4; i++) {
        atomic_fetch_sub(&t.now, 12 * TIME_DAY);
        track("d0", NULL, "Seen", "blue", day(96.5 + (double)i / 10));
        settle();
        check();
    }
    end();
}

/* Whoever was judged the longest ago is forgotten, and judged rightly. */
static void memory_is_bounded(void **state)
{
    (void)state;
    begin("d0", NULL);
    audience_end(&t);
    t.past_bytes = 16 * KIB;
    audience_begin(&t);
    for (unsigned i = 0; i < 12 * 6; i++) {
        char device[NAME];

        snprintf(device, sizeof device, "e%u", i % 12);
        for (unsigned k = 0; k < LONG; k++)
            track(device, NULL, "Seen", k % 2 ? "red" : "blue", day(10 + (double)i / 4 + (double)k / 100));
        settle();
        assert_true(kept_bytes() <= 16 * KIB);
    }
    assert_true(kept_bytes() > 0);
    check();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_late_event_is_seen),
        cmocka_unit_test(an_earlier_copy_is_seen),
        cmocka_unit_test(links_and_their_end_are_seen),
        cmocka_unit_test(a_long_path_changes_hands),
        cmocka_unit_test(an_erasure_is_seen_and_nothing_is_kept),
        cmocka_unit_test(restarts_begin_anew),
        cmocka_unit_test(other_rules_are_evaluated_on_the_whole),
        cmocka_unit_test(a_clock_that_goes_back_is_noticed),
        cmocka_unit_test(memory_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
