/* What every partition has to know: of what is said about one name the latest stands, whatever the order in which it is
 * read, after crashes, in copies and on another log; it is bounded, and what is refused is said. */
#include <errno.h>

#include "profiler/state_private.h"
#include "profiler/state_watch.h"
#include "tests/support/person_play.h"

#define T0 INT64_C(1700000000000)

struct spot {
    struct play p;
    struct arena a;
    struct state_definition *v;
    size_t n;
    uint64_t changes;
};

static void spot_init(struct spot *t)
{
    *t = (struct spot){.p = {.rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}}};
    play_start(&t->p, 1, 512 * MIB, 64 * MIB);
    arena_init(&t->a, 256 * MIB);
}

static void spot_free(struct spot *t)
{
    arena_deinit(&t->a);
    play_end(&t->p);
}

static void say(struct spot *t, enum definition_kind kind, struct str name, struct str body, int64_t time)
{
    const struct command c = {.kind = COMMAND_DEFINE, .time = time, .definition = kind, .name = name, .body = body};
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, STR_LIT(""), buf_str(&b));
    buf_deinit(&b);
}

static void audience(struct spot *t, const char *name, const char *body, int64_t time)
{
    say(t, DEFINITION_AUDIENCE, str_of(name), str_of(body), T0 + time);
}

static void look(struct spot *t)
{
    arena_reset(&t->a);
    assert_int_equal(state_definitions(t->p.state, 0, &t->a, &t->v, &t->n, &t->changes), 0);
}

static void fold(struct spot *t)
{
    play_fold(&t->p, 0, SIZE_MAX);
    look(t);
}

static void is(struct spot *t, size_t i, enum definition_kind kind, const char *name, const char *body, int64_t time)
{
    assert_true(i < t->n);
    assert_int_equal(t->v[i].kind, kind);
    assert_true(str_is(t->v[i].name, name));
    assert_true(str_is(t->v[i].body, body));
    assert_int_equal(t->v[i].time, T0 + time);
}

static uint64_t changes_now(struct spot *t)
{
    uint64_t changes;

    assert_int_equal(state_definitions(t->p.state, 0, NULL, NULL, NULL, &changes), 0);
    return changes;
}

static void the_latest_stands(void **state)
{
    uint64_t before;
    struct spot t;

    (void)state;
    spot_init(&t);
    look(&t);
    assert_true(t.n == 0 && t.changes > 0);
    before = t.changes;
    audience(&t, "loyal", "{\"rule\":\"orders >= 3\"}", 20);
    audience(&t, "big", "{}", 5);
    say(&t, DEFINITION_CUTS, STR_LIT("loyal"), STR_LIT("[1]"), T0 + 7);
    fold(&t);
    assert_int_equal(t.n, 3);
    is(&t, 0, DEFINITION_AUDIENCE, "big", "{}", 5);
    is(&t, 1, DEFINITION_AUDIENCE, "loyal", "{\"rule\":\"orders >= 3\"}", 20);
    is(&t, 2, DEFINITION_CUTS, "loyal", "[1]", 7);
    assert_int_equal(t.v[1].version, 1);
    assert_int_equal(t.v[2].version, 3);
    assert_true(t.changes != before);
    before = t.changes;
    audience(&t, "loyal", "{\"rule\":\"older\"}", 19);
    audience(&t, "loyal", NULL, 19);
    audience(&t, "loyal", "{\"rule\":\"orders >= 3\"}", 20);
    fold(&t);
    is(&t, 1, DEFINITION_AUDIENCE, "loyal", "{\"rule\":\"orders >= 3\"}", 20);
    assert_int_equal(changes_now(&t), before);
    audience(&t, "loyal", NULL, 21);
    fold(&t);
    assert_int_equal(t.n, 2);
    assert_true(changes_now(&t) != before);
    audience(&t, "loyal", "{\"rule\":\"between\"}", 20);
    audience(&t, "loyal", "{\"rule\":\"again\"}", 22);
    fold(&t);
    is(&t, 1, DEFINITION_AUDIENCE, "loyal", "{\"rule\":\"again\"}", 22);
    spot_free(&t);
}

enum { SAID = 60, NAMES = 5 };

static void say_one(struct spot *t, const unsigned said[3])
{
    static const char *const bodies[] = {NULL, "{}", "{\"a\":1}", ""};
    static const char *const names[NAMES] = {"a", "b", "bb", "c", "\xc3\xbc"};

    audience(t, names[said[0]], bodies[said[1]], said[2]);
}

static bool same(const struct spot *a, const struct spot *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (a->v[i].kind != b->v[i].kind || !str_eq(a->v[i].name, b->v[i].name) ||
            !str_eq(a->v[i].body, b->v[i].body) || a->v[i].time != b->v[i].time)
            return false;
    return true;
}

/* Two partitions hear the same in different orders, one of them with crashes between. */
static void the_order_does_not_matter(void **state)
{
    unsigned said[SAID][3];
    struct spot one, two;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rnd_state = seed;
        spot_init(&one);
        spot_init(&two);
        for (int i = 0; i < SAID; i++) {
            said[i][0] = below(NAMES);
            said[i][1] = below(4);
            said[i][2] = below(12);
            say_one(&one, said[i]);
        }
        for (int i = SAID; i > 1; i--) {
            unsigned k = below((unsigned)i), swap[3];

            memcpy(swap, said[k], sizeof swap);
            memcpy(said[k], said[i - 1], sizeof swap);
            memcpy(said[i - 1], swap, sizeof swap);
        }
        for (int i = 0; i < SAID; i++) {
            say_one(&two, said[i]);
            if (chance(30))
                play_fold(&two.p, 0, 1 + below(4));
            if (chance(20))
                play_commit(&two.p, 0);
            if (chance(10))
                play_kill(&two.p, false);
        }
        fold(&one);
        fold(&two);
        assert_true(one.n > 0 && same(&one, &two));
        play_finish(&two.p);
        play_kill(&two.p, false);
        look(&two);
        assert_true(same(&one, &two));
        play_verify(&two.p);
        spot_free(&one);
        spot_free(&two);
    }
}

static void they_go_where_the_partition_goes(void **state)
{
    uint64_t before;
    char path[64];
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t);
    audience(&t, "kept", "{}", 1);
    audience(&t, "removed", "{}", 1);
    audience(&t, "removed", NULL, 3);
    play_finish(&t.p);
    play_backup(&t.p);
    audience(&t, "later", "{}", 1);
    play_finish(&t.p);
    look(&t);
    assert_int_equal(t.n, 2);
    before = t.changes;
    snprintf(path, sizeof path, "%s/copy", t.p.backup);
    assert_int_equal(state_take_partition(t.p.state, 0, path, &e), 0);
    look(&t);
    assert_int_equal(t.n, 1);
    is(&t, 0, DEFINITION_AUDIENCE, "kept", "{}", 1);
    assert_true(t.changes != before);
    assert_int_equal(state_adopt(t.p.state, 0, 100, &e), 0);
    look(&t);
    assert_int_equal(t.n, 1);
    state_close(t.p.state);
    play_open(&t.p);
    look(&t);
    assert_int_equal(t.n, 1);
    t.p.logs[0].v[3].offset = t.p.folded[0];
    audience(&t, "removed", "{}", 2); /* that it was is remembered */
    t.p.logs[0].v[4].offset = t.p.folded[0];
    assert_true(state_fold(t.p.state, 0, &t.p.logs[0].v[4], 1, &e) == 0);
    look(&t);
    assert_int_equal(t.n, 1);
    spot_free(&t);
}

/* --- what is refused ------------------------------------------------------------------------------------------ */

static void refused(struct spot *t, const char *why)
{
    const struct state_emission *v;
    struct bad_event bad;
    struct state_figures f;
    struct err e = {0};
    size_t n, left = t->p.logs[0].n - (size_t)t->p.folded[0];
    uint64_t before;

    state_figures(t->p.state, 0, &f);
    before = f.outcomes[OUTCOME_BAD];
    assert_true(left > 0);
    assert_true(state_fold(t->p.state, 0, t->p.logs[0].v + t->p.folded[0], left, &e) >= 0);
    t->p.folded[0] += (int64_t)left;
    n = state_emissions(t->p.state, 0, &v);
    assert_int_equal(n, 1);
    assert_int_equal(v[0].topic, LOG_BAD);
    arena_reset(&t->a);
    assert_int_equal(bad_event_unpack(v[0].record.value, &t->a, &bad), CODEC_OK);
    if (!strstr(bad.message.p, why))
        fail_msg("says \"%.*s\", not \"%s\"", STR_ARG(bad.message), why);
    state_emitted(t->p.state, 0);
    state_figures(t->p.state, 0, &f);
    assert_int_equal(f.outcomes[OUTCOME_BAD], before + 1);
    look(t);
}

static void there_are_not_too_many(void **state)
{
    char name[16];
    struct spot t;

    (void)state;
    spot_init(&t);
    for (int i = 0; i < DEFINITIONS_MAX; i++) {
        snprintf(name, sizeof name, "n%d", i);
        audience(&t, name, i % 2 ? "{}" : NULL, 1);
    }
    fold(&t);
    assert_int_equal(t.n, DEFINITIONS_MAX / 2);
    audience(&t, "one more", "{}", 1);
    refused(&t, "too many definitions");
    audience(&t, "n0", "{}", 2);
    fold(&t);
    assert_int_equal(t.n, DEFINITIONS_MAX / 2 + 1);
    play_finish(&t.p);
    play_kill(&t.p, false);
    look(&t);
    assert_int_equal(t.n, DEFINITIONS_MAX / 2 + 1);
    spot_free(&t);
}

static void they_do_not_take_too_much_memory(void **state)
{
    static char text[DEFINITION_BODY_BYTES + 1];
    struct str body = {text, DEFINITION_BODY_BYTES};
    char name[16];
    struct spot t;
    size_t most = LIMIT_DEFINITIONS_BYTES / DEFINITION_BODY_BYTES - 1;

    (void)state;
    memset(text, 'x', sizeof text);
    spot_init(&t);
    for (size_t i = 0; i < most; i++) {
        snprintf(name, sizeof name, "n%zu", i);
        say(&t, DEFINITION_AUDIENCE, str_of(name), body, T0);
    }
    fold(&t);
    assert_int_equal(t.n, most);
    say(&t, DEFINITION_AUDIENCE, STR_LIT("one more"), body, T0);
    refused(&t, "too much memory");
    say(&t, DEFINITION_AUDIENCE, STR_LIT("n1"), STR_NONE, T0 + 1);
    say(&t, DEFINITION_AUDIENCE, STR_LIT("one more"), body, T0);
    fold(&t);
    assert_int_equal(t.n, most);
    body.n++;
    say(&t, DEFINITION_AUDIENCE, STR_LIT("n2"), body, T0 + 1);
    refused(&t, "cannot be read");
    assert_int_equal(t.v[t.n - 1].body.n, DEFINITION_BODY_BYTES);
    spot_free(&t);
}

static void what_is_no_definition_is_refused(void **state)
{
    static const char text[DEFINITION_NAME_BYTES + 2] = {0};
    struct spot t;

    (void)state;
    spot_init(&t);
    say(&t, DEFINITION_AUDIENCE, STR_LIT(""), STR_LIT("{}"), T0);
    refused(&t, "cannot be read");
    say(&t, DEFINITION_AUDIENCE, (struct str){text, DEFINITION_NAME_BYTES + 1}, STR_LIT("{}"), T0);
    refused(&t, "cannot be read");
    say(&t, DEFINITION_KINDS, STR_LIT("x"), STR_LIT("{}"), T0);
    refused(&t, "cannot be read");
    say(&t, 0, STR_LIT("x"), STR_LIT("{}"), T0);
    refused(&t, "cannot be read");
    say(&t, DEFINITION_AUDIENCE, (struct str){text, DEFINITION_NAME_BYTES}, STR_LIT("{}"), T0);
    fold(&t);
    assert_int_equal(t.n, 1);
    spot_free(&t);
}

/* A record under a key that does not mean it, or cut short, stops the state with words. */
static void damage_is_found(void **state)
{
    struct store_batch *b;
    struct key key = key_one(KEY_DEFINITION, (struct key_hash){{1}});
    struct state *s;
    struct err e = {0};
    struct spot t;

    (void)state;
    spot_init(&t);
    audience(&t, "kept", "{}", 1);
    play_finish(&t.p);
    b = store_batch_new(0);
    store_batch_put(b, key_str(&key), STR_LIT("nonsense"));
    assert_int_equal(store_write(t.p.state->store, b, &e), 0);
    store_batch_free(b);
    struct verify_report report;
    assert_int_equal(state_verify(t.p.state, NULL, NULL, NULL, &report, &e), 0);
    assert_int_equal(report.differences, 1);
    state_close(t.p.state);
    t.p.o.path = t.p.folder;
    assert_int_equal(state_open(&t.p.o, &s, &e), -EIO);
    assert_non_null(strstr(e.text, "a definition"));
    t.p.state = NULL;
    spot_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_stands),
        cmocka_unit_test(the_order_does_not_matter),
        cmocka_unit_test(they_go_where_the_partition_goes),
        cmocka_unit_test(there_are_not_too_many),
        cmocka_unit_test(they_do_not_take_too_much_memory),
        cmocka_unit_test(what_is_no_definition_is_refused),
        cmocka_unit_test(damage_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
