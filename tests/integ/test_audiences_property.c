/* Whatever is folded, defined and done to the processes, and wherever the clock goes: who is in which audience is what
 * evaluating everybody from scratch says, and the topic tells of each that they enter, leave, enter, … in turn.
 *
 * A failing seed is printed; WAYMARK_SEED=N runs it alone, WAYMARK_RUNS=N sets how many. */
#include <errno.h>
#include <time.h>

#include "common/json.h"
#include "profiler/audience_inside.h"
#include "tests/support/audience_play.h"
#include "tests/support/seeds.h"

enum { DEVICES = 6, USERS = 5, STEPS = 120, CHECKS = 6 };

static const struct traits_rules traits_rules = {0};

static const char *const texts[] = {
    "pages >= 3",
    "count(\"page\", 20) >= 2",
    "days_since(last_seen) < 15",
    "days_since(last_seen) >= 9 && days_since(last_seen) < 31",
    "!(days_since(first_seen) > 40)",
    "orders >= 1",
    "sum(\"spent\", 25) > 3",
    "count(\"Order Completed\", 33) == 1",
    "has(first_order_at) || count(\"Viewed\", 12) == 1",
    "followed_by(\"Viewed\", \"Order Completed\", hours(100))",
    "not_followed_by(\"Viewed\", \"Order Completed\", hours(24), days(14))",
    "tags.visits == \"many\"",
    "tags.recent || orders > 1",
    "in_audience(\"a0\") && sessions > 1",
    "!in_audience(\"a1\")",
    "in_audience(\"a0\") || in_audience(\"a1\")",
    "last(\"Viewed\").color == \"red\"",
    "count(\"Viewed\", 18, e.color == \"red\") >= 1",
    "true",
};
enum { TEXTS = sizeof texts / sizeof *texts, FREE_TEXTS = 13 };

static char messages[STEPS * 8][NAME];
static char orders[6][NAME];
static unsigned message_count;
static char alias[ERASURE_ALIAS_BYTES + 1];

/* --- what happens ----------------------------------------------------------------------------------------------- */

static void some_event(struct audience_play *t)
{
    unsigned x = below(100), kind = below(100);
    int64_t time = START + (int64_t)below(60 * 24) * TIME_HOUR + below(1000);
    struct event e = event_at(NULL, NULL, NULL, time);

    assert_true(message_count < STEPS * 8);
    snprintf(messages[message_count], NAME, "m%u", message_count);
    e.message_id = str_of(messages[message_count++]);
    e.received = atomic_load(&t->now) + message_count;
    e.trust = TRUST_SERVER;
    if (x < 70)
        e.anonymous_id = (struct str){t->people[USERS + below(DEVICES)] + 5, 2};
    if (x >= 45)
        e.user_id = (struct str){t->people[below(USERS)] + 5, 2};
    if (kind < 45)
        e.type = EVENT_PAGE;
    else if (kind < 80) {
        e.type = EVENT_TRACK;
        e.name = STR_LIT("Viewed");
        e.properties = chance(50) ? STR_LIT("{\"color\":\"red\"}") : STR_LIT("{\"color\":\"blue\"}");
    } else if (kind < 95 && str_has(e.user_id)) {
        e.type = EVENT_ORDER;
        e.order = (struct order_fields){.order_id = str_of(orders[below(6)]),
                                        .status = chance(85) ? STATUS_CREATED : STATUS_CANCELLED,
                                        .total = {true, (int64_t)(1 + below(9)) * 1000000}};
    } else {
        e.type = EVENT_IDENTIFY;
    }
    play_event(&t->p, &e);
}

static void some_definition(struct audience_play *t)
{
    unsigned i = below(RULES);

    /* The first two name nobody, so that there is no cycle. */
    audience_define(t, i, chance(20) ? NULL : texts[below(i < 2 ? FREE_TEXTS : TEXTS)]);
}

static void some_erasure(struct audience_play *t)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    unsigned i = below(USERS);
    struct str id = str_of(t->people[i]), user = {id.p + 5, 2};
    struct key_hash hash = key_hash_erasure(no_key, id);
    struct buf b;

    snprintf(alias, sizeof alias, "alias-of-nr-%04u", i);
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = START + 60 * TIME_DAY,
                              .user = user,
                              .until = START + (int64_t)below(60) * TIME_DAY,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, user, buf_str(&b));
    buf_deinit(&b);
}

static void copy_folder(const char *from, char **to)
{
    char command[300];

    if (*to)
        folder_free(*to);
    *to = folder_new();
    snprintf(command, sizeof command, "cp -r %s/. %s/", from, *to);
    assert_int_equal(system(command), 0);
}

/* The audiences die; the rows that they come back to are those of now, of some time ago, or none. */
static void some_restart(struct audience_play *t, bool state_too)
{
    unsigned x = below(100);

    audience_end(t);
    if (x < 30 && t->older) {
        folder_free(t->rows);
        t->rows = t->older;
        t->older = NULL;
    } else if (x < 40) {
        folder_free(t->rows);
        t->rows = folder_new();
    } else if (x < 70) {
        copy_folder(t->rows, &t->older);
    }
    if (state_too) {
        atomic_store(&t->shows, false); /* until everything shown before is folded again */
        play_kill(&t->p, false);
    }
    audience_begin(t);
}

/* --- a walk ------------------------------------------------------------------------------------------------------ */

/* A walk through everybody who is known, whether or not they were judged since something changed. */
struct walk {
    struct audience_play *t;
    struct rule *rules[FREE_TEXTS];
    size_t seen;
};

static int check_one(void *arg, struct str id, struct rule_subject *s)
{
    struct walk *w = arg;
    bool want[FREE_TEXTS];
    struct rule_result result;
    struct buf tags;

    buf_init(&tags, MIB);
    assert_true(expect_rules(w->t, id, texts, FREE_TEXTS, want, &tags));
    buf_deinit(&tags);
    for (size_t i = 0; i < FREE_TEXTS; i++) {
        assert_int_equal(rule_eval(w->rules[i], s, &result), 0);
        bool is = result.value.type == RULE_BOOL && result.value.truth;
        if (is != want[i])
            fail_msg("a walk finds that %.*s %s: %s", STR_ARG(id), is ? "is" : "is not", texts[i]);
    }
    w->seen++;
    return 0;
}

/* How many it came by; nobody while somebody is held, who would be waited for. */
static size_t check_walk(struct audience_play *t)
{
    struct rule_names names = {0};
    struct walk w = {.t = t};
    struct rule_error why;
    struct err e = {0};
    unsigned needs = 0;

    for (uint32_t i = 0; i < t->p.partitions; i++)
        if (state_holds(t->p.state, i))
            return 0;
    names.tags = tags_names(t->tags, &names.tag_count);
    for (size_t i = 0; i < FREE_TEXTS; i++) {
        assert_int_equal(rule_compile(str_of(texts[i]), RULE_BOOL, &names, &w.rules[i], &why), 0);
        needs |= rule_needs(w.rules[i]);
    }
    int rc = audiences_scan(t->a, needs, TIME_NONE, check_one, &w, NULL, &e);
    if (rc != 0 && rc != -EAGAIN) /* the audiences have only begun */
        fail_msg("a walk: %d %s", rc, e.text);
    for (size_t i = 0; i < FREE_TEXTS; i++)
        rule_free(w.rules[i]);
    return w.seen;
}

static void stir(struct audience_play *t)
{
    uint32_t partition = below(t->p.partitions);

    if (play_has_unread(&t->p, partition))
        play_fold(&t->p, partition, 1 + below(20));
    if (chance(20))
        check_walk(t);
    if (chance(50))
        play_deliver(&t->p, partition, t->p.outbox[partition].n);
    if (chance(20))
        play_commit(&t->p, partition);
    if (chance(60))
        audiences_wake(t->a);
}

static void pass_time(struct audience_play *t)
{
    atomic_fetch_add(&t->now, (int64_t)below(4 * 24) * TIME_HOUR + below(2000));
    if (chance(50))
        check_walk(t);
}

static void step(struct audience_play *t)
{
    unsigned x = below(100);

    if (x < 55)
        some_event(t);
    else if (x < 65)
        some_definition(t);
    else if (x < 73)
        pass_time(t);
    else if (x < 76)
        some_restart(t, chance(50));
    else if (x < 78)
        some_erasure(t);
    else
        stir(t);
}

/* Of whom something was erased, the device of an erased user too: they leave without a name. */
static bool is_forgiven(struct audience_play *t, struct str id)
{
    const struct event_key ever = {.time = TIME_NONE};
    struct err e = {0};
    bool gone;

    assert_int_equal(state_is_erased(t->p.state, id, &ever, &gone, &e), 0);
    return gone;
}

/* --- checking --------------------------------------------------------------------------------------------------- */

static void check_tags(struct audience_play *t, struct str id, const struct buf *want)
{
    struct tags_good good;
    struct buf got;

    buf_init(&got, MIB);
    assert_int_equal(audiences_tags(t->a, play_partition(&t->p, id), id, TIME_NONE, &got, &good), 0);
    if (!str_eq(buf_str(&got), buf_str(want)))
        fail_msg("tags of %.*s: %.*s, should be %.*s", STR_ARG(id), STR_ARG(buf_str(&got)), STR_ARG(buf_str(want)));
    buf_deinit(&got);
}

static void check_count(struct audience_play *t, unsigned i, size_t want)
{
    struct rule_names names = {0};
    struct audience_count count;
    struct rule_error why;
    struct err e = {0};
    struct rule *r;

    names.tags = tags_names(t->tags, &names.tag_count);
    assert_int_equal(rule_compile(str_of(t->defined[i].text), RULE_BOOL, &names, &r, &why), 0);
    assert_int_equal(audiences_count(t->a, r, TIME_NONE, NULL, NULL, NULL, &count, &e), 0);
    assert_int_equal(count.count, want);
    assert_false(count.partial);
    rule_free(r);
}

static void check_audience(struct audience_play *t, unsigned i, bool (*in)[RULES], const bool *is)
{
    struct member_list l = {.n = 0};
    struct audience_info info;
    size_t want = 0;

    arena_init(&l.arena, MIB);
    audience_list(t, t->defined[i].name, &l);
    for (size_t k = 0; k < t->person_count; k++) {
        struct str id = str_of(t->people[k]);
        bool should = is[k] && in[k][i];

        want += should;
        if (should != is_listed(&l, id))
            fail_msg("%.*s %s in %s: %s", STR_ARG(id), should ? "should be" : "should not be", t->defined[i].name,
                     t->defined[i].text);
        bool forgiven = is_forgiven(t, id), by_topic = published(t, t->defined[i].name, id, forgiven);
        if (!forgiven && by_topic != should)
            fail_msg("%.*s %s in %s, the topic says something else", STR_ARG(id), should ? "is" : "is not",
                     t->defined[i].name);
    }
    assert_int_equal(l.n, want);
    assert_int_equal(audiences_get(t->a, str_of(t->defined[i].name), &l.arena, &info), 0);
    assert_int_equal(info.size, want);
    assert_false(info.building || info.partial || str_has(info.broken));
    check_count(t, i, want);
    arena_deinit(&l.arena);
}

static void check_absent(struct audience_play *t, unsigned i)
{
    struct audience_info info;
    struct arena a;

    arena_init(&a, MIB);
    assert_int_equal(audiences_get(t->a, str_of(t->defined[i].name), &a, &info), AUDIENCE_NOT_FOUND);
    for (size_t k = 0; k < t->person_count; k++)
        if (!is_forgiven(t, str_of(t->people[k])) && published(t, t->defined[i].name, str_of(t->people[k]), false))
            fail_msg("%s has not left the removed %s", t->people[k], t->defined[i].name);
    arena_deinit(&a);
}

static bool is_known(struct audience_play *t, struct str id)
{
    uint32_t partition = play_partition(&t->p, id);
    struct key_hash hash = state_watch_hash(t->p.state, partition, id);

    return people_find(&t->a->parts[partition].people, &hash) != PERSON_NONE;
}

static void check(struct audience_play *t)
{
    bool in[PEOPLE][RULES] = {{false}}, is[PEOPLE];
    struct err e = {0};
    size_t people = 0;
    struct buf tags;

    play_finish(&t->p);
    check_walk(t);
    atomic_store(&t->shows, true);
    audience_settle(t);
    if (chance(30) && audiences_forget(t->a, &e) != 0) /* changes nothing of who is in what */
        fail_msg("%s", e.text);
    buf_init(&tags, MIB);
    for (size_t k = 0; k < t->person_count; k++) {
        buf_reset(&tags);
        is[k] = expect_person(t, str_of(t->people[k]), in[k], &tags);
        if (is[k])
            check_tags(t, str_of(t->people[k]), &tags);
        if (is[k] != is_known(t, str_of(t->people[k])))
            fail_msg("%s %s known to the audiences", t->people[k], is[k] ? "is not" : "is");
        people += is[k];
    }
    assert_int_equal(check_walk(t), people);
    buf_deinit(&tags);
    for (unsigned i = 0; i < RULES; i++)
        if (t->defined[i].text)
            check_audience(t, i, in, is);
        else
            check_absent(t, i);
}

static void run_once(uint64_t seed, uint32_t partitions)
{
    static struct audience_play t;

    rnd_state = seed * 31 + partitions;
    message_count = 0;
    t = (struct audience_play){.p = {.rules = {.traits = &traits_rules,
                                               .session_gap_ms = 30 * TIME_MINUTE,
                                               .currency = "GBP",
                                               .touch_window_ms = TIME_DAY,
                                               .max_users_per_device = 100,
                                               .max_devices_per_user = 100,
                                               .max_device_events = 1000}},
                               .slow_us = seed % 2, /* everybody who was judged before waits for a turn */
                               .long_path = (size_t)(seed % 3 ? 1 + seed % 5 : 0)}; /* and most have a long path */
    for (unsigned i = 0; i < RULES; i++)
        snprintf(t.defined[i].name, NAME, "a%u", i);
    for (unsigned i = 0; i < 6; i++)
        snprintf(orders[i], NAME, "o%u", i);
    for (unsigned i = 0; i < USERS + DEVICES; i++)
        snprintf(t.people[t.person_count++], NAME, i < USERS ? "user:u%u" : "anon:d%u", i < USERS ? i : i - USERS);
    audience_play_start(&t, partitions);
    for (unsigned c = 0; c < CHECKS; c++) {
        for (unsigned i = 0; i < STEPS / CHECKS; i++)
            step(&t);
        check(&t);
    }
    some_restart(&t, true);
    check(&t);
    audience_play_end(&t);
}

/* --- seeds ------------------------------------------------------------------------------------------------------ */

static void members_are_what_evaluating_everybody_says(void **state)
{
    static const uint32_t counts[] = {1, 3};
    uint64_t runs = seed_runs(12);

    (void)state;
    for (uint64_t i = 0; i < runs; i++)
        for (int k = 0; k < 2; k++) {
            run_once(seed_of(i, 500), counts[k]);
        }
    seed_now = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_are_what_evaluating_everybody_says, NULL, say_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
