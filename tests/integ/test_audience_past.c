/* What is remembered of long paths: whoever acts, in whatever order, and whatever else happens to their path, they are
 * in the audiences that evaluating their whole path says; and mostly only its end was read for that.
 *
 * A failing seed is printed; WAYMARK_SEED=N runs it alone, WAYMARK_RUNS=N sets how many. */
#include "tests/support/audience_play.h"
#include "tests/support/seeds.h"

enum { DEVICES = 3, USERS = 2, STEPS = 300, TEXTS = 24 };

static const struct traits_rules traits_rules = {0};

static const char *const texts[TEXTS] = {
    "count(\"Viewed\") >= 12",
    "count(\"Viewed\", 10) >= 4",
    "count(\"Viewed\", 12, e.color == \"red\") >= 3",
    "count(\"Viewed\", e.color == \"red\" && e.n > 2) > count(\"Viewed\", 30) / 3",
    "count(\"Viewed\", 40, e.n > orders) >= 2", /* of the person, too */
    "count(\"Viewed\", 20, days_since(e.time) > 3) >= 2",
    "count(\"page\", 9) > count(\"screen\", 9)",
    "count(\"screen\") > 3 && count(\"page\", 30) == count(\"page\", 20)",
    "count(\"Home\", 15) == 0",
    "last(\"Viewed\").color == \"red\"",
    "last(\"Viewed\").n >= 3",
    "last(\"Viewed\").more.list[1] == 3 || last(\"Home\").title == \"x\"",
    "last(\"Added\").n > last(\"Viewed\").n",
    "interest(\"Viewed\", \"color\", 10) == \"red\"",
    "interest(\"Viewed\", \"color\", 3, 12) == \"blue\"",
    "interest(\"Viewed\", \"n\", 30) == \"3\"",
    "followed_by(\"Viewed\", \"Added\", hours(30))",
    "followed_by(\"Viewed\", \"Order Completed\", hours(40))",
    "not_followed_by(\"Added\", \"Viewed\", hours(10), days(20))",
    "not_followed_by(\"Added\", \"Order Completed\", hours(10), days(20))",
    "pages % 2 == 0 && count(\"Added\", 25, e.n == 2) >= 2", /* not always asked */
    "pages % 3 == 0 || last(\"Added\").color == \"red\"",
    "events % 5 == 0 && count(\"Rare\", 300) == 2",
    "count(\"Order Completed\", 30) >= 1 && sum(\"spent\", 20) > 3",
};

static char messages[STEPS * 2][NAME];
static unsigned message_count;
static double ends, wholes;

static void some_event(struct audience_play *t)
{
    static const char *const names[] = {"Viewed", "Viewed", "Viewed", "Added", "page", "screen", "Rare"};
    unsigned kind = below(100), message = message_count;
    int64_t time = atomic_load(&t->now) - (int64_t)(chance(94) ? 1 : 1 + below(30 * 24)) * TIME_HOUR + below(1000);
    bool again = message_count > 0 && chance(3);
    struct event e = event_at(NULL, NULL, NULL, chance(20) ? time / TIME_HOUR * TIME_HOUR : time);

    if (again)
        message = below(message_count);
    else
        snprintf(messages[message_count++], NAME, "m%u", message);
    assert_true(message_count < STEPS * 2);
    e.message_id = str_of(messages[message]);
    e.received = atomic_load(&t->now);
    e.trust = TRUST_SERVER;
    e.anonymous_id = (struct str){t->people[USERS + (chance(80) ? 0 : below(DEVICES))] + 5, 2};
    if (chance(3))
        e.user_id = (struct str){t->people[below(USERS)] + 5, 2};
    if (kind < 15) {
        e.type = chance(70) ? EVENT_PAGE : EVENT_SCREEN;
        e.name = chance(50) ? STR_LIT("Home") : STR_NONE;
        e.title = STR_LIT("x");
    } else if (kind < 94) {
        e.type = EVENT_TRACK;
        e.name = str_of(names[below(sizeof names / sizeof *names)]);
        e.properties = chance(50) ? STR_LIT("{\"color\":\"red\",\"n\":3,\"more\":{\"list\":[1,3]}}")
                                  : STR_LIT("{\"color\":\"blue\",\"n\":2}");
    } else {
        e.type = EVENT_ORDER;
        e.order = (struct order_fields){.order_id = chance(50) ? STR_LIT("o1") : STR_LIT("o2"),
                                        .status = chance(85) ? STATUS_CREATED : STATUS_CANCELLED,
                                        .total = {true, 2000000}};
    }
    play_event(&t->p, &e);
}

static void some_command(struct audience_play *t)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    struct str device = {t->people[USERS + below(DEVICES)] + 5, 2}, user = {t->people[below(USERS)] + 5, 2};
    struct str id = str_of(t->people[USERS - 1]);
    int64_t until = atomic_load(&t->now) - (int64_t)below(20) * TIME_DAY;

    if (chance(60)) {
        if (t->p.unlink_count < PLAY_UNLINKS)
            play_unlink(&t->p, device, user, until);
        return;
    }
    struct key_hash hash = key_hash_erasure(no_key, id);
    struct buf b;
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = atomic_load(&t->now),
                              .user = {id.p + 5, 2},
                              .until = until,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = STR_LIT("alias-of-nr-0001")};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, c.user, buf_str(&b));
    buf_deinit(&b);
}

static void end(struct audience_play *t)
{
    ends += audience_metric(t, "waymark_audience_paths_total{read=\"end\"} ");
    wholes += audience_metric(t, "waymark_audience_paths_total{read=\"whole\"} ");
    audience_end(t);
}

static void disturb(struct audience_play *t)
{
    unsigned x = below(1000);

    if (x < 6) {
        end(t);
        audience_begin(t);
    } else if (x < 14) {
        audience_define(t, below(RULES), texts[below(TEXTS)]);
    } else if (x < 30) {
        some_command(t);
    } else if (x < 80) {
        play_commit(&t->p, 0);
    }
}

static void check(struct audience_play *t, unsigned step)
{
    for (unsigned i = 0; i < RULES; i++) {
        struct member_list l = {.n = 0};

        arena_init(&l.arena, MIB);
        audience_list(t, t->defined[i].name, &l);
        for (size_t k = 0; k < t->person_count; k++) {
            struct str id = str_of(t->people[k]);
            bool in[RULES] = {false};
            struct buf tags;

            buf_init(&tags, MIB);
            if (expect_person(t, id, in, &tags) ? is_listed(&l, id) != in[i] : is_listed(&l, id))
                fail_msg("at step %u %.*s should%s be in %s", step, STR_ARG(id), in[i] ? "" : " not",
                         t->defined[i].text);
            buf_deinit(&tags);
        }
        arena_deinit(&l.arena);
    }
}

static void run_once(uint64_t seed)
{
    static struct audience_play t;

    rnd_state = seed;
    message_count = 0;
    t = (struct audience_play){.p = {.rules = {.traits = &traits_rules,
                                               .session_gap_ms = 30 * TIME_MINUTE,
                                               .currency = "GBP",
                                               .touch_window_ms = TIME_DAY,
                                               .max_users_per_device = 100,
                                               .max_devices_per_user = 100,
                                               .max_device_events = 1000}},
                               .slow_us = seed % 2,
                               .long_path = 2 + seed % 7,
                               .past_bytes = seed % 3 ? 0 : 3000,
                               .roomy = true};
    for (unsigned i = 0; i < RULES; i++)
        snprintf(t.defined[i].name, NAME, "a%u", i);
    for (unsigned i = 0; i < USERS + DEVICES; i++)
        snprintf(t.people[t.person_count++], NAME, i < USERS ? "user:u%u" : "anon:d%u", i < USERS ? i : i - USERS);
    audience_play_start(&t, 1);
    for (unsigned i = 0; i < RULES; i++)
        audience_define(&t, i, texts[(seed * RULES + i) % TEXTS]);
    for (unsigned i = 0; i < STEPS; i++) {
        atomic_fetch_add(&t.now, (int64_t)below(8) * TIME_HOUR / 2);
        some_event(&t);
        disturb(&t);
        do {
            play_fold(&t.p, 0, SIZE_MAX);
            play_deliver(&t.p, 0, t.p.outbox[0].n);
        } while (play_has_unread(&t.p, 0));
        audience_settle(&t);
        if (i % 4 == 3)
            check(&t, i);
    }
    end(&t);
    audience_begin(&t);
    audience_play_end(&t);
}

/* --- seeds ------------------------------------------------------------------------------------------------------ */

static void members_are_what_whole_paths_say(void **state)
{
    uint64_t runs = seed_runs(12);

    (void)state;
    for (uint64_t i = 0; i < runs; i++) {
        run_once(seed_of(i, 700));
    }
    seed_now = 0;
    if (ends < wholes / 4)
        fail_msg("%.0f paths were read whole, of %.0f only the end", wholes, ends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(members_are_what_whole_paths_say, say_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
