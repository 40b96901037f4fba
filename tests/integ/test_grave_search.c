/* What a state that is folded anew from a cleaned log costs with many erasures: how often it looks through everybody
 * for those of whom it knows a hash alone, and that it finds them as if it had looked each time.
 *
 * WAYMARK_PEOPLE and WAYMARK_ERASURES set how many; the CPU time of the fold is printed. */
#include <time.h>

#include "profiler/erased.h"
#include "profiler/grave_search.h"
#include "tests/support/person_clean.h"

enum { ID = 48, BATCH = 1024 };

static size_t number(const char *name, size_t otherwise)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : otherwise;
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- a shop --------------------------------------------------------------------------------------------------- */

struct names {
    char device[ID], user[ID];
};

static struct names names_of(size_t i)
{
    struct names n;

    snprintf(n.device, ID, "device-%zu-a1b2c3d4e5f6", i);
    snprintf(n.user, ID, "user-%zu-f6e5d4c3b2a1", i);
    return n;
}

static void put(struct play *p, const char *device, const char *user, size_t number, int64_t time)
{
    struct event e = event_at(NULL, NULL, NULL, time);
    char message[ID];

    snprintf(message, sizeof message, "message-%zu", number);
    e.type = EVENT_PAGE;
    e.trust = TRUST_BEACON;
    e.message_id = str_of(message);
    e.anonymous_id = str_of(device);
    e.user_id = str_of(user);
    e.received = time + 1;
    play_event(p, &e);
}

static void put_erasure(struct play *p, const char *user, size_t i, int64_t until)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char buf[PROFILE_ID_MAX_BYTES], alias[ERASURE_ALIAS_BYTES + 1];
    struct key_hash hash = key_hash_erasure(no_key, profile_id(STR_NONE, str_of(user), buf));
    struct buf b;

    snprintf(alias, sizeof alias, "alias-%010u", (unsigned)(i % 1000000000));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = until,
                              .user = str_of(user),
                              .until = until,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, c.user, buf_str(&b));
    buf_deinit(&b);
}

/* Everybody has a device and a user; of those who are erased every other goes on with the device, so that it is found
 * when the log is read again. */
static void fill(struct play *p, size_t people, size_t erasures)
{
    for (size_t i = 0; i < people; i++) {
        struct names n = names_of(i);

        put(p, n.device, NULL, 3 * i, TIME_MINUTE);
        put(p, n.device, n.user, 3 * i + 1, 2 * TIME_MINUTE);
        if (i >= erasures || i % 2)
            put(p, n.device, NULL, 3 * i + 2, 9 * TIME_HOUR);
    }
    for (size_t i = 0; i < erasures; i++)
        put_erasure(p, names_of(i).user, i, TIME_HOUR);
}

static void fold_all(struct play *p)
{
    for (uint32_t i = 0; i < p->partitions; i++)
        while (play_has_unread(p, i))
            play_fold(p, i, BATCH);
}

/* --- what it costs -------------------------------------------------------------------------------------------- */

static uint64_t events_of(struct play *p, const char *kind, const char *id)
{
    char text[2 * ID];
    struct state_profile got;
    struct err e = {0};
    struct arena a;
    uint64_t n = 0;
    int rc;

    snprintf(text, sizeof text, "%s:%s", kind, id);
    arena_init(&a, 64 * MIB);
    rc = state_profile(p->state, play_partition(p, str_of(text)), str_of(text), &a, &got, &e);
    assert_true(rc >= 0);
    if (rc == 0) {
        n = got.facts.events;
        facts_deinit(&got.facts);
        traits_deinit(&got.traits);
    }
    arena_deinit(&a);
    return n;
}

static void check(struct play *p, size_t people, size_t erasures)
{
    for (size_t i = 0; i < people; i++) {
        struct names n = names_of(i);

        assert_int_equal(events_of(p, "user", n.user), i < erasures ? 0 : 3);
        assert_int_equal(events_of(p, "anon", n.device), i < erasures ? i % 2 : 0);
    }
}

static const struct traits_rules no_traits = {0};
static const struct fold_rules rules = {.traits = &no_traits,
                                        .session_gap_ms = 30 * TIME_MINUTE,
                                        .currency = "GBP",
                                        .touch_window_ms = TIME_DAY,
                                        .max_users_per_device = 100,
                                        .max_devices_per_user = 100,
                                        .max_device_events = 1000};

static void the_cost_does_not_grow_with_people_times_erasures(void **state)
{
    static struct play p, anew;
    size_t people = number("WAYMARK_PEOPLE", 3000), erasures = number("WAYMARK_ERASURES", 300);
    double began;

    (void)state;
    p = anew = (struct play){.rules = rules};
    play_start(&p, 1, 64 * MIB, 64 * MIB);
    fill(&p, people, erasures);
    began = seconds();
    fold_all(&p);
    play_finish(&p);
    print_message("folded: %zu records, %.2f s\n", p.logs[0].n, seconds() - began);
    check(&p, people, erasures);
    play_start(&anew, 1, 64 * MIB, 64 * MIB);
    play_clean(&p, &anew, SIZE_MAX);
    state_catch_up(anew.state, 0, (int64_t)anew.logs[0].n);
    began = seconds();
    fold_all(&anew);
    play_finish(&anew);
    print_message("folded anew: %zu records, %.2f s\n", anew.logs[0].n, seconds() - began);
    check(&anew, people, erasures);
    assert_true(anew.state->partitions[0].graves.walks <= 2);
    assert_null(anew.state->partitions[0].graves.names);
    play_end(&p);
    play_end(&anew);
}

/* --- what it finds -------------------------------------------------------------------------------------------- */

static struct str search(struct partition *p, const struct key_hash *hash, bool devices)
{
    struct str id;
    struct err e = {0};

    assert_int_equal(grave_search(p, hash, devices, &id, &e), 0);
    return id;
}

/* By a look through everybody. */
static struct str search_all(struct partition *p, const struct key_hash *hash, bool devices)
{
    struct grave_names *names = p->graves.names;
    struct str id;

    p->graves.names = NULL;
    p->graves.crowded = true;
    id = search(p, hash, devices);
    p->graves.names = names;
    p->graves.crowded = false;
    return id;
}

static size_t compare(struct play *play, size_t people)
{
    struct names n = names_of(below((unsigned)(2 * people)));
    bool device = chance(70), devices = chance(50);
    struct partition *p = &play->state->partitions[0];
    char buf[PROFILE_ID_MAX_BYTES];
    struct str id = device ? profile_id(str_of(n.device), STR_NONE, buf) : profile_id(STR_NONE, str_of(n.user), buf);
    const struct key_hash hash = erasure_hash(p, id);
    struct str found = search(p, &hash, devices), all = search_all(p, &hash, devices);
    bool is = str_has(found);

    assert_int_equal(is, str_has(all));
    assert_true(!is || (str_eq(found, id) && str_eq(all, id)));
    free((void *)(uintptr_t)found.p);
    free((void *)(uintptr_t)all.p);
    return is;
}

/* Events, some of two ids, so that there are devices and profiles, those that moved among them; erasures; commits, and
 * memory that is too small for all of them. */
static void stir(struct play *p, size_t people, size_t *sent)
{
    for (unsigned i = below(20); i > 0; i--) {
        struct names n = names_of(below((unsigned)people));
        unsigned which = 1 + below(3);

        put(p, which & 1 ? n.device : NULL, which & 2 ? n.user : NULL, (*sent)++, (int64_t)below(100) * TIME_MINUTE);
    }
    if (chance(10))
        put_erasure(p, names_of(below((unsigned)people)).user, (*sent)++, (int64_t)below(100) * TIME_MINUTE);
    fold_all(p);
    if (chance(20))
        play_commit(p, 0);
    if (chance(3))
        play_kill(p, false);
}

static void it_finds_what_a_look_through_everybody_finds(void **state)
{
    const size_t people = 60;

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        static struct play p;
        size_t sent = 0, found = 0;

        rnd_state = seed;
        p = (struct play){.rules = rules};
        play_start(&p, 1, 1 << 20, chance(50) ? 0 : 50000);
        if (chance(50))
            state_catch_up(p.state, 0, INT64_MAX);
        for (int i = 0; i < 150; i++) {
            stir(&p, people, &sent);
            for (unsigned k = below(6); k > 0; k--)
                found += compare(&p, people);
        }
        assert_true(found > 50);
        play_finish(&p);
        play_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cost_does_not_grow_with_people_times_erasures),
        cmocka_unit_test(it_finds_what_a_look_through_everybody_finds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
