/* Marks with the rest of a person: they follow the device's events, go with an erasure, count in nothing, and come back
 * after crashes. A profile that has nothing else is nobody. */
#include <errno.h>

#include "profiler/marks.h"
#include "profiler/state_private.h"
#include "tests/support/person_play.h"

#define T0 INT64_C(1700000000000)
#define AT(minutes) (T0 + (minutes)*TIME_MINUTE)

static const struct traits_rules traits_rules = {0};

struct spot {
    struct play p;
    struct arena a;
    unsigned said;
    char message[16];
};

static void spot_init(struct spot *t, uint32_t partitions)
{
    *t = (struct spot){.p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE,
                                       .currency = "GBP",
                                       .touch_window_ms = TIME_DAY,
                                       .traits = &traits_rules}}};
    play_start(&t->p, partitions, 512 * MIB, 0);
    arena_init(&t->a, 64 * MIB);
}

static void spot_free(struct spot *t)
{
    arena_deinit(&t->a);
    play_end(&t->p);
}

static void event(struct spot *t, const char *device, const char *user, int64_t time)
{
    struct event e;

    snprintf(t->message, sizeof t->message, "m%u", ++t->said);
    e = event_at(device, user, t->message, time);
    play_event(&t->p, &e);
    play_finish(&t->p);
}

static struct event marked(struct spot *t, const char *id, const char *name, const char *value, int64_t time)
{
    const struct mark m = {
        .name = str_of(name), .value = str_of(value), .time = time, .until = TIME_NONE, .source = STR_LIT("crm")};
    struct event e;

    assert_int_equal(mark_event(&m, str_of(id), time + 1, &t->a, &e), 0);
    return e;
}

static void mark(struct spot *t, const char *id, const char *name, const char *value, int64_t time)
{
    struct event e = marked(t, id, name, value, time);

    play_event(&t->p, &e);
    play_finish(&t->p);
}

static int profile(struct spot *t, const char *id, struct state_profile *out)
{
    struct err e = {0};
    int rc = state_profile(t->p.state, play_partition(&t->p, str_of(id)), str_of(id), &t->a, out, &e);

    assert_true(rc >= 0);
    return rc;
}

/* The tag's value of the person; NULL: none, or nobody. */
static const char *tag_of(struct spot *t, const char *id, const char *name)
{
    struct state_profile p;
    struct mark m;
    const char *value = NULL;

    if (profile(t, id, &p) != 0)
        return NULL;
    if (marks_find(&p.traits, MARK_TAG, str_of(name), &t->a, &m) == 0)
        value = m.value.p;
    facts_deinit(&p.facts);
    traits_deinit(&p.traits);
    return value;
}

static void has(struct spot *t, const char *id, const char *name, const char *value)
{
    const char *got = tag_of(t, id, name);

    if (!got || strcmp(got, value) != 0)
        fail_msg("%s has %s as %s, not %s", id, got ? got : "nothing", name, value);
}

static void has_none(struct spot *t, const char *id, const char *name)
{
    assert_null(tag_of(t, id, name));
}

static void erase(struct spot *t, const char *user, int64_t until)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    struct key_hash hash;
    char id[64];
    struct buf b;

    snprintf(id, sizeof id, "user:%s", user);
    hash = key_hash_erasure(no_key, str_of(id));
    const struct command c = {.kind = COMMAND_ERASE,
                              .user = str_of(user),
                              .until = until,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = STR_LIT("sixteen letters!")};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, str_of(user), buf_str(&b));
    buf_deinit(&b);
    play_finish(&t->p);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void they_count_in_nothing(void **state)
{
    struct state_profile before, after;
    struct state_view view;
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t, 1);
    event(&t, NULL, "u", AT(10));
    event(&t, NULL, "u", AT(20));
    assert_int_equal(profile(&t, "user:u", &before), 0);
    mark(&t, "user:u", "vip", "true", AT(1));
    mark(&t, "user:u", "vip", "\"gold\"", AT(15));
    mark(&t, "user:u", "late", "1", AT(9000));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(profile(&t, "user:u", &after), 0);
        assert_true(same_facts(&before.facts, &after.facts));
        assert_true(after.version > before.version); /* whoever watches sees it */
        facts_deinit(&after.facts);
        traits_deinit(&after.traits);
        has(&t, "user:u", "vip", "\"gold\"");
        has(&t, "user:u", "late", "1");
        assert_int_equal(state_view(t.p.state, 0, STR_LIT("user:u"), VIEW_PATH, &view, &e), 0);
        assert_int_equal(view.path_count, 2);
        state_view_free(&view);
        assert_int_equal(state_view(t.p.state, 0, STR_LIT("user:u"), VIEW_PATH | VIEW_MARKS, &view, &e), 0);
        assert_int_equal(view.path_count, 5);
        assert_int_equal(view.path[0].flags, ENTRY_MARK);
        state_view_free(&view);
        play_kill(&t.p, false);
    }
    play_verify(&t.p);
    facts_deinit(&before.facts);
    traits_deinit(&before.traits);
    spot_free(&t);
}

static void who_has_nothing_else_is_nobody(void **state)
{
    struct state_profile p;
    struct state_view view;
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t, 1);
    mark(&t, "user:u", "vip", "true", AT(1));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(profile(&t, "user:u", &p), STATE_NOT_FOUND);
        assert_int_equal(state_view(t.p.state, 0, STR_LIT("user:u"), VIEW_PATH, &view, &e), STATE_NOT_FOUND);
        assert_int_equal(state_view(t.p.state, 0, STR_LIT("user:u"), VIEW_PATH | VIEW_MARKS, &view, &e),
                         STATE_NOT_FOUND);
        play_kill(&t.p, false);
    }
    event(&t, NULL, "u", AT(10));
    has(&t, "user:u", "vip", "true");
    play_kill(&t.p, false);
    has(&t, "user:u", "vip", "true");
    play_verify(&t.p);
    spot_free(&t);
}

/* A link takes the device's marks to the user, an unlink brings them back. */
static void they_move_with_the_device(void **state)
{
    (void)state;
    for (uint32_t partitions = 1; partitions <= 16; partitions *= 4) {
        struct spot t;

        spot_init(&t, partitions);
        event(&t, "d", NULL, AT(10));
        mark(&t, "anon:d", "vip", "true", AT(11));
        has(&t, "anon:d", "vip", "true");
        mark(&t, "user:u", "own", "1", AT(5));
        event(&t, "d", "u", AT(20));
        has(&t, "user:u", "vip", "true");
        has(&t, "user:u", "own", "1");
        mark(&t, "anon:d", "vip", "\"later\"", AT(30));
        has(&t, "user:u", "vip", "\"later\"");
        mark(&t, "user:u", "vip", "\"own\"", AT(40));
        play_kill(&t.p, false);
        has(&t, "user:u", "vip", "\"own\"");
        play_unlink(&t.p, STR_LIT("d"), STR_LIT("u"), AT(25));
        play_finish(&t.p);
        has(&t, "anon:d", "vip", "\"later\"");
        has(&t, "user:u", "vip", "\"own\"");
        has_none(&t, "anon:d", "own");
        play_verify(&t.p);
        spot_free(&t);
    }
}

static void check_absent(struct play *p, struct str text)
{
    for (uint32_t i = 0; i < p->partitions; i++) {
        struct store_iter *it = store_iter_new(p->state->store, i, NULL, false);
        struct str key, value;

        for (store_iter_seek(it, STR_LIT("")); store_iter_at(it, &key, &value); store_iter_next(it))
            if (memmem(value.p, value.n, text.p, text.n))
                fail_msg("%.*s stands in a value of kind %c", STR_ARG(text), key.p[0]);
        store_iter_free(it);
    }
}

static void they_are_erased(void **state)
{
    (void)state;
    for (uint32_t partitions = 1; partitions <= 4; partitions *= 4) {
        struct state_figures f;
        struct spot t;

        spot_init(&t, partitions);
        event(&t, "d", "u", AT(10));
        mark(&t, "user:u", "of-the-erased", "\"gold-of-the-erased\"", AT(11));
        mark(&t, "anon:d", "of-the-device", "true", AT(12));
        mark(&t, "user:u", "after", "true", AT(60));
        has(&t, "user:u", "of-the-device", "true");
        erase(&t, "u", AT(50));
        assert_null(tag_of(&t, "user:u", "of-the-erased"));
        check_absent(&t.p, STR_LIT("of-the-erased"));
        check_absent(&t.p, STR_LIT("of-the-device"));
        mark(&t, "user:u", "too-late", "true", AT(40)); /* of a time that is erased */
        event(&t, NULL, "u", AT(70));
        has_none(&t, "user:u", "too-late");
        has_none(&t, "user:u", "of-the-erased");
        has(&t, "user:u", "after", "true");
        state_figures(t.p.state, event_log_partition(STR_LIT("u"), partitions), &f);
        assert_true(f.outcomes[OUTCOME_ERASED] > 0);
        play_kill(&t.p, false);
        has(&t, "user:u", "after", "true");
        play_verify(&t.p);
        spot_free(&t);
    }
}

/* --- what is refused ------------------------------------------------------------------------------------------- */

static void refused(struct spot *t, struct event *e, const char *why)
{
    const struct state_emission *v;
    struct bad_event bad;
    struct err err = {0};

    play_event(&t->p, e);
    assert_true(state_fold(t->p.state, 0, &t->p.logs[0].v[t->p.folded[0]], 1, &err) >= 0);
    t->p.folded[0]++;
    assert_int_equal(state_emissions(t->p.state, 0, &v), 1);
    assert_int_equal(v[0].topic, LOG_BAD);
    assert_int_equal(bad_event_unpack(v[0].record.value, &t->a, &bad), CODEC_OK);
    if (!strstr(bad.message.p, why))
        fail_msg("says \"%.*s\", not \"%s\"", STR_ARG(bad.message), why);
    state_emitted(t->p.state, 0);
}

static void only_servers_make_them(void **state)
{
    struct event e;
    struct spot t;

    (void)state;
    spot_init(&t, 1);
    event(&t, NULL, "u", AT(1));
    e = marked(&t, "user:u", "vip", "true", AT(2));
    e.trust = TRUST_BEACON;
    refused(&t, &e, "not from a server");
    e = marked(&t, "user:u", "vip", "true", AT(2));
    e.anonymous_id = STR_LIT("d");
    refused(&t, &e, "two ids");
    has_none(&t, "user:u", "vip");
    e = event_at("d", "u", "x", AT(3)); /* no client's member of any name is one */
    e.type = EVENT_IDENTIFY;
    e.traits = e.extra = e.properties = e.context =
        STR_LIT("{\"$tag.vip\":true,\"tvip\":{\"value\":1},\"tags\":{\"vip\":{\"value\":true}},\"type\":\"mark\"}");
    play_event(&t.p, &e);
    play_finish(&t.p);
    has_none(&t, "user:u", "vip");
    play_kill(&t.p, false);
    has_none(&t, "user:u", "vip");
    spot_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_count_in_nothing),     cmocka_unit_test(who_has_nothing_else_is_nobody),
        cmocka_unit_test(they_move_with_the_device), cmocka_unit_test(they_are_erased),
        cmocka_unit_test(only_servers_make_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
