/* Marks: what is set by hand, or by an export, stands apart from what clients state, whatever order it comes in. */
#include <errno.h>

#include "common/clock.h"
#include "profiler/marks.h"
#include "proto/codec.h"
#include "tests/support/traits_case.h"

#define COUNT(v) (sizeof(v) / sizeof(v)[0])
#define ID STR_LIT("user:42")

static uint64_t random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

static struct event marks(struct traits_case *c, struct mark m)
{
    struct event e;

    assert_int_equal(mark_event(&m, ID, m.time + 3, &c->arena, &e), 0);
    return e;
}

static struct mark tag(const char *name, const char *value, int64_t time)
{
    return (struct mark){
        .name = str_of(name), .value = str_of(value), .time = time, .until = TIME_NONE, .source = STR_LIT("crm")};
}

static struct mark campaign(const char *name, const char *value, int64_t time)
{
    struct mark m = tag(name, value, time);

    m.kind = MARK_CAMPAIGN;
    return m;
}

static void is(struct traits_case *c, const struct traits *t, const struct mark *want)
{
    struct mark got;

    assert_int_equal(marks_find(t, want->kind, want->name, &c->arena, &got), 0);
    assert_int_equal(got.kind, want->kind);
    assert_true(str_eq(got.name, want->name));
    assert_true(str_eq(got.value, want->value));
    assert_true(str_eq(got.source, want->source));
    assert_int_equal(got.time, want->time);
    assert_int_equal(got.until, want->until);
}

static void is_none(struct traits_case *c, const struct traits *t, enum mark_kind kind, const char *name)
{
    struct mark got;

    assert_int_equal(marks_find(t, kind, str_of(name), &c->arena, &got), 1);
}

/* --- events ---------------------------------------------------------------------------------------------------- */

static void an_event_says_it(void **state)
{
    struct traits_case *c = *state;
    struct mark m = tag("v\"i\np", "{\"a\":[1,\"x\"]}", INT64_C(1700000000000));
    struct event e, back, again;
    struct buf b;

    m.until = INT64_C(1800000000000);
    e = marks(c, m);
    assert_true(e.type == EVENT_MARK && e.trust == TRUST_SERVER);
    assert_true(str_is(e.user_id, "42") && !str_has(e.anonymous_id));
    buf_init(&b, MIB);
    assert_true(event_pack(&e, &b));
    assert_int_equal(event_unpack(buf_str(&b), &c->arena, &back), CODEC_OK);
    struct traits t = stepped(c, &back, 1, NULL);
    is(c, &t, &m);
    traits_deinit(&t);
    again = marks(c, m);
    assert_memory_equal(&again.uid, &e.uid, sizeof e.uid); /* said twice it is one */
    m.time++;
    again = marks(c, m);
    assert_memory_not_equal(&again.uid, &e.uid, sizeof e.uid);
    m.time--;
    m.until = TIME_NONE;
    again = marks(c, m);
    assert_memory_not_equal(&again.uid, &e.uid, sizeof e.uid);
    assert_int_equal(mark_event(&m, STR_LIT("anon:d"), 1, &c->arena, &e), 0);
    assert_true(str_is(e.anonymous_id, "d") && !str_has(e.user_id));
    buf_deinit(&b);
}

static void what_is_no_mark_is_refused(void **state)
{
    static char text[LIMIT_ID_BYTES + 8];
    struct traits_case *c = *state;
    struct mark m = tag("vip", "true", 1);
    struct event e;

    assert_int_equal(mark_event(&m, STR_LIT("user:"), 1, &c->arena, &e), -EINVAL);
    assert_int_equal(mark_event(&m, STR_LIT("order:1"), 1, &c->arena, &e), -EINVAL);
    assert_int_equal(mark_event(&m, STR_LIT(""), 1, &c->arena, &e), -EINVAL);
    memset(text, 'x', sizeof text);
    memcpy(text, "user:", 5);
    assert_int_equal(mark_event(&m, (struct str){text, LIMIT_ID_BYTES + 5}, 1, &c->arena, &e), 0);
    assert_int_equal(mark_event(&m, (struct str){text, LIMIT_ID_BYTES + 6}, 1, &c->arena, &e), -EINVAL);
    m.name = STR_LIT("");
    assert_int_equal(mark_event(&m, ID, 1, &c->arena, &e), -EINVAL);
    m.name = (struct str){text, MARK_NAME_BYTES + 1};
    assert_int_equal(mark_event(&m, ID, 1, &c->arena, &e), -EINVAL);
    m.name.n--;
    assert_int_equal(mark_event(&m, ID, 1, &c->arena, &e), 0);
}

static void what_does_not_fit_is_as_not_said(void **state)
{
    static const char *const unfit[] = {
        "{\"tags\":{\"x\":1}}",
        "{\"tags\":{\"x\":{}}}",
        "{\"tags\":{\"x\":{\"value\":null}}}",
        "{\"tags\":{\"x\":[true]}}",
        "{\"tags\":{\"\":{\"value\":1}}}",
        "{\"tags\":{\"x\":{\"value\":1,\"until\":\"2026\"}}}",
        "{\"tags\":{\"x\":{\"value\":1,\"until\":1.5}}}",
        "{\"tags\":{\"x\":{\"value\":1,\"until\":253402300800000}}}",
        "{\"campaigns\":{\"0123456789012345678901234567890123456789012345678901234567890123x\":{\"value\":1}}}",
    };
    static const char *const none[] = {"{}", "[]", "{\"tags\":[]}", "{\"x\":{\"x\":{\"value\":1}}}", "", "{\"tags\":"};
    struct traits_case *c = *state;
    unsigned long long before = atomic_load(&c->counters.unfit);
    struct event e = marks(c, tag("x", "1", 5));
    struct traits t;

    for (size_t i = 0; i < COUNT(unfit); i++) {
        e.properties = str_of(unfit[i]);
        t = stepped(c, &e, 1, NULL);
        assert_true(traits_empty(&t));
    }
    assert_int_equal(atomic_load(&c->counters.unfit), before + COUNT(unfit));
    for (size_t i = 0; i < COUNT(none); i++) {
        e.properties = str_of(none[i]);
        t = stepped(c, &e, 1, NULL);
        assert_true(traits_empty(&t));
    }
    char *text = malloc(LIMIT_TRAIT_BYTES + 64);
    int at = snprintf(text, 64, "{\"tags\":{\"x\":{\"value\":\"");
    memset(text + at, 'x', LIMIT_TRAIT_BYTES - 9);
    strcpy(text + at + LIMIT_TRAIT_BYTES - 9, "\"}}}");
    e.properties = str_of(text);
    t = stepped(c, &e, 1, NULL);
    assert_true(traits_empty(&t));
    free(text);
}

/* --- folding --------------------------------------------------------------------------------------------------- */

static void the_last_one_stands(void **state)
{
    struct traits_case *c = *state;
    struct mark first = tag("vip", "\"gold\"", 100), second = tag("vip", "\"silver\"", 200),
                other = campaign("vip", "{\"arm\":\"held_out\"}", 150), gone = tag("vip", NULL, 300);
    struct event e[] = {marks(c, second), marks(c, other), marks(c, first)};
    struct traits t = stepped(c, e, COUNT(e), NULL);
    struct event removal = marks(c, gone), late = marks(c, tag("vip", "1", 250));

    is(c, &t, &second);
    is(c, &t, &other);
    is_none(c, &t, MARK_CAMPAIGN, "gold");
    assert_int_equal(traits_add_event(&t, &removal, &c->rules), TRAITS_OK);
    is_none(c, &t, MARK_TAG, "vip");
    assert_int_equal(traits_add_event(&t, &late, &c->rules), TRAITS_OK);
    is_none(c, &t, MARK_TAG, "vip");
    is(c, &t, &other);
    traits_deinit(&t);
}

static struct event random_event(struct traits_case *c, unsigned number)
{
    static const char *const traits[] = {"{\"tvip\":1,\"vip\":2}",       "{\"$tag.vip\":3}",
                                         "{\"$set_once\":{\"a\":1}}",    "{\"$add\":{\"a\":1}}",
                                         "{\"consent\":{\"vip\":true}}", "{\"tvip\":null}"};
    static const char *const names[] = {"vip", "a", "b"};
    static const char *const values[] = {"true", "\"x\"", "3", NULL};
    struct mark m;

    if (random_below(2))
        return says(100 + random_below(12), number, traits[random_below(COUNT(traits))]);
    m = tag(names[random_below(3)], values[random_below(4)], 100 + random_below(12));
    m.kind = random_below(3) ? MARK_TAG : MARK_CAMPAIGN;
    m.until = random_below(2) ? TIME_NONE : 100 + (int64_t)random_below(1000);
    struct event e = marks(c, m);
    memcpy(e.uid.b, &number, sizeof number);
    return e;
}

static void any_order_says_the_same(void **state)
{
    struct traits_case *c = *state;
    struct event e[24];
    size_t refolds = 0;

    for (unsigned seed = 1; seed <= 150; seed++) {
        random_state = seed * UINT64_C(0x9e3779b97f4a7c15);
        size_t n = 1 + random_below(COUNT(e));
        for (size_t i = 0; i < n; i++)
            e[i] = random_event(c, (unsigned)i + 1);
        struct traits want = folded(c, e, n);
        for (int round = 0; round < 4; round++) {
            for (size_t i = n; i > 1; i--) {
                size_t j = random_below((unsigned)i);
                struct event swap = e[i - 1];
                e[i - 1] = e[j];
                e[j] = swap;
            }
            struct traits got = stepped(c, e, n, &refolds);
            if (traits_differ(&want, &got, &c->rules) != 0)
                fail_msg("seed %u: steps say another thing than the fold", seed);
            assert_true(got.n == want.n && (got.n == 0 || memcmp(got.bytes, want.bytes, got.n) == 0));
            traits_deinit(&got);
        }
        traits_deinit(&want);
    }
}

/* --- apart from what clients state ----------------------------------------------------------------------------- */

static void clients_cannot_make_them(void **state)
{
    static const char *const texts[] = {
        "{\"$tag.vip\":true,\"$campaign.vip\":1,\"tvip\":true,\"cvip\":2,\"tags\":{\"vip\":{\"value\":true}}}",
        "{\"tags\":{\"vip\":{\"value\":true}},\"campaigns\":{\"vip\":{\"value\":true}}}",
        ("{\"$set\":{\"tvip\":{\"value\":true}},\"$set_once\":{\"tvip\":1},\"$add\":{\"tx\":1},\"consent\":{\"tvip\":"
         "true}}"),
    };
    struct traits_case *c = *state;

    for (enum event_trust trust = TRUST_BEACON; trust <= TRUST_SERVER; trust++)
        for (size_t i = 0; i < COUNT(texts); i++) {
            struct event e = says(100, 1, texts[i]);
            struct mark *v;
            size_t n;

            e.trust = trust;
            e.properties = e.extra = str_of(texts[i]);
            struct traits t = stepped(c, &e, 1, NULL);
            assert_false(traits_empty(&t));
            for (enum mark_kind kind = MARK_TAG; kind <= MARK_CAMPAIGN; kind++) {
                is_none(c, &t, kind, "vip");
                is_none(c, &t, kind, "x");
                assert_true(marks_all(&t, kind, &c->arena, &v, &n));
                assert_int_equal(n, 0);
            }
            assert_int_equal(t.bytes[0], 1); /* without marks the bytes are those of ever */
            traits_deinit(&t);
        }
}

static void traits_do_not_show_them(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {marks(c, tag("vip", "\"secret\"", 100)), says(100, 2, "{\"plan\":\"a\"}"),
                        says(100, 3, "{\"$tag.vip\":\"own\"}")};
    struct traits t = stepped(c, e, COUNT(e), NULL);
    struct mark *v;
    size_t n;

    assert_shown(c, &t, show_all(true), "{\"$tag.vip\":\"own\",\"plan\":\"a\"}");
    assert_false(str_has(traits_value(&t, &c->rules, STR_LIT("tvip"), &c->arena)));
    assert_false(str_has(traits_value(&t, &c->rules, STR_LIT("vip"), &c->arena)));
    assert_true(marks_all(&t, MARK_TAG, &c->arena, &v, &n));
    assert_true(n == 1 && str_is(v[0].value, "\"secret\""));
    traits_deinit(&t);
}

/* What a mark's event says beside the mark is nothing. */
static void a_mark_states_no_trait(void **state)
{
    struct traits_case *c = *state;
    struct event e = marks(c, tag("vip", "1", 100));

    e.traits = STR_LIT("{\"plan\":\"a\"}");
    e.extra = STR_LIT("{\"traitsOnce\":{\"plan\":\"a\"}}");
    e.consent = STR_LIT("{\"marketing\":true}");
    struct traits t = stepped(c, &e, 1, NULL);
    assert_shown(c, &t, show_all(true), "{}");
    assert_int_equal(traits_consent_of(&t, STR_LIT("marketing")), CONSENT_UNSTATED);
    traits_deinit(&t);
}

/* --- bounds and bytes ------------------------------------------------------------------------------------------- */

static void the_first_are_kept(void **state)
{
    struct traits_case *c = *state;
    size_t n = MARKS_PER_PERSON + 20, refolds = 0, count;
    struct event *e = calloc(n, sizeof *e);
    struct traits t, other;
    struct mark *v;
    char name[16];

    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "m%zu", i);
        struct mark m = tag(name, "true", 1000 + (int64_t)i);
        m.name = arena_dup(&c->arena, m.name);
        e[i] = marks(c, m);
    }
    t = folded(c, e, n);
    assert_true(marks_all(&t, MARK_TAG, &c->arena, &v, &count));
    assert_int_equal(count, MARKS_PER_PERSON);
    is_none(c, &t, MARK_TAG, "m1000");
    struct event swap = e[0];
    e[0] = e[n - 1];
    e[n - 1] = swap;
    other = stepped(c, e, n, &refolds);
    assert_int_equal(traits_differ(&t, &other, &c->rules), 0);
    assert_true(refolds > 0);
    traits_deinit(&other);
    struct event trait = says(5000, 1, "{\"plan\":\"a\"}"); /* has room of its own */
    assert_int_equal(traits_add_event(&t, &trait, &c->rules), TRAITS_OK);
    assert_true(str_is(traits_value(&t, &c->rules, STR_LIT("plan"), &c->arena), "\"a\""));
    traits_deinit(&t);
    free(e);
}

static void bytes_come_back(void **state)
{
    struct traits_case *c = *state;
    struct event e[] = {marks(c, tag("vip", "true", 100)), marks(c, campaign("spring", "{\"arm\":\"exported\"}", 90)),
                        says(7, 2, "{\"email\":\"z@x.com\",\"a\":1}"), marks(c, tag("gone", NULL, 60))};
    struct traits t = stepped(c, e, COUNT(e), NULL), back;
    struct arena a;
    struct buf b;

    arena_init(&a, 8 * MIB);
    buf_init(&b, MIB);
    assert_true(traits_pack(&t, &b));
    assert_int_equal(traits_unpack(buf_str(&b), &back), 0);
    assert_int_equal(traits_differ(&t, &back, &c->rules), 0);
    traits_deinit(&back);
    for (size_t n = 1; n < b.n; n++)
        assert_int_equal(traits_unpack((struct str){b.p, n}, &back), 1);
    for (int i = 0; i < 20000; i++) {
        size_t at = random_below((unsigned)b.n), n;
        char was = b.p[at];
        struct mark *v;

        b.p[at] = (char)random_below(256);
        int rc = traits_unpack(buf_str(&b), &back);
        assert_true(rc == 0 || rc == 1);
        if (rc == 0 && i % 10 == 0) {
            arena_reset(&a);
            assert_true(marks_all(&back, MARK_TAG, &a, &v, &n));
            for (size_t k = 0; k < n; k++)
                assert_true(v[k].name.n > 0 && v[k].name.n < LIMIT_NAME_BYTES);
        }
        traits_deinit(&back);
        b.p[at] = was;
    }
    b.p[0] = 2;
    b.n -= 1;
    assert_int_equal(traits_unpack(buf_str(&b), &back), 1);
    traits_deinit(&t);
    arena_deinit(&a);
    buf_deinit(&b);
}

static void which_differ_is_told(void **state)
{
    struct traits_case *c = *state;
    struct event base = marks(c, tag("vip", "1", 100)),
                 others[] = {marks(c, tag("vip", "2", 100)), marks(c, tag("vip", "1", 101)),
                             marks(c, tag("vap", "1", 100)), marks(c, campaign("vip", "1", 100)),
                             marks(c, tag("vip", NULL, 100))};
    struct traits a = folded(c, &base, 1);

    for (size_t i = 0; i < COUNT(others); i++) {
        struct traits b = folded(c, &others[i], 1);
        assert_int_equal(traits_differ(&a, &b, &c->rules), 1);
        traits_deinit(&b);
    }
    traits_deinit(&a);
}

static void without_memory_it_says_so(void **state)
{
    struct traits_case *c = *state;
    struct event e = marks(c, tag("vip", "1", 100));
    struct traits t = stepped(c, &e, 1, NULL);
    struct arena small;
    struct mark m, *v;
    size_t n;

    arena_init(&small, 1);
    assert_int_equal(marks_find(&t, MARK_TAG, STR_LIT("vip"), &small, &m), -ENOMEM);
    assert_false(marks_all(&t, MARK_TAG, &small, &v, &n));
    m = tag("vip", "1", 100);
    assert_int_equal(mark_event(&m, ID, 1, &small, &e), -ENOMEM);
    arena_deinit(&small);
    traits_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_says_it),
        cmocka_unit_test(what_is_no_mark_is_refused),
        cmocka_unit_test(what_does_not_fit_is_as_not_said),
        cmocka_unit_test(the_last_one_stands),
        cmocka_unit_test(any_order_says_the_same),
        cmocka_unit_test(clients_cannot_make_them),
        cmocka_unit_test(traits_do_not_show_them),
        cmocka_unit_test(a_mark_states_no_trait),
        cmocka_unit_test(the_first_are_kept),
        cmocka_unit_test(bytes_come_back),
        cmocka_unit_test(which_differ_is_told),
        cmocka_unit_test(without_memory_it_says_so),
    };
    return cmocka_run_group_tests(tests, traits_case_setup, traits_case_teardown);
}
