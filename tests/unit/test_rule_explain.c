/* Why a rule is what it is; values as JSON; properties, traits and what is personal; paths that are too large to keep.
 */
#include <errno.h>

#include "tests/support/rule_case.h"
#include "tests/support/traits_case.h"

#define NOW INT64_C(1770000000000)

static const char *explained(struct rule_person *p, int64_t now, const char *text, bool pii)
{
    static char out[8192];
    struct rule_subject s = person_subject(p, now);
    struct rule *r = rule_of_text(p, text);
    struct buf b;

    buf_init(&b, sizeof out - 1);
    assert_int_equal(rule_explain(r, &s, pii, &b), 0);
    assert_false(b.failed);
    memcpy(out, b.p, b.n);
    out[b.n] = '\0';
    rule_subject_done(&s);
    rule_free(r);
    buf_deinit(&b);
    return out;
}

static void says_what_each_part_is(void **state)
{
    struct rule_person *p = person_new();

    (void)state;
    person_view(p, NOW - 12 * DAY, "red");
    assert_string_equal(explained(p, NOW, "orders >= 3 && days_since(last_seen) < 30", false),
                        "[{\"expression\":\"orders >= 3\",\"value\":false,\"operands\":[0,3]},"
                        "{\"expression\":\"days_since(last_seen) < 30\",\"value\":true,\"operands\":[12,30]},"
                        "{\"expression\":\"days_since(last_seen)\",\"value\":12,"
                        "\"operands\":[\"2026-01-21T02:40:00.000Z\"]}]");
    assert_string_equal(explained(p, NOW, "!consent.marketing || has(first_order_at)", false),
                        "[{\"expression\":\"consent.marketing\",\"value\":null,\"operands\":[]},"
                        "{\"expression\":\"has(first_order_at)\",\"value\":false,\"operands\":[null]}]");
    assert_string_equal(
        explained(p, NOW, "count(\"Product Viewed\", 30, e.color == \"red\") > 0", false),
        "[{\"expression\":\"count(\\\"Product Viewed\\\", 30, e.color == \\\"red\\\") > 0\",\"value\":true,"
        "\"operands\":[1,0]},"
        "{\"expression\":\"count(\\\"Product Viewed\\\", 30, e.color == \\\"red\\\")\",\"value\":1,"
        "\"operands\":[]}]");
    assert_string_equal(explained(p, NOW, "true", false), "[{\"expression\":\"true\",\"value\":true,\"operands\":[]}]");
    person_free(p);
}

/* --- values ------------------------------------------------------------------------------------------------------ */

static void values_and_json(void **state)
{
    static const char *const same[] = {"null",  "true",       "false", "\"a\\\"b\"",   "12.5",
                                       "[1,2]", "{\"a\":[]}", "[]",    "{\"k\":null}", "-0.000001"};
    struct rule_value v, w;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, MIB);
    buf_init(&b, KIB);
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        buf_reset(&b);
        assert_int_equal(rule_value_read(str_of(same[i]), &a, &v), 0);
        rule_value_write(&v, &b);
        if (!str_is(buf_str(&b), same[i]))
            fail_msg("%s is %.*s", same[i], STR_ARG(buf_str(&b)));
        assert_int_equal(rule_value_read(str_of(same[i]), &a, &w), 0);
        assert_true(rule_value_eq(&v, &w));
    }
    assert_int_equal(rule_value_read(STR_LIT("{"), &a, &v), 1);
    assert_int_equal(rule_value_read(STR_LIT(""), &a, &v), 1);
    assert_int_equal(rule_value_read(STR_LIT("1e999"), &a, &v), 0);
    assert_int_equal(v.type, RULE_ANY);
    buf_deinit(&b);
    arena_deinit(&a);
}

/* --- properties -------------------------------------------------------------------------------------------------- */

static void properties(void **state)
{
    struct rule_person *p = person_new();
    struct event *e = person_event(p, EVENT_TRACK, "Search", NOW - 5);

    (void)state;
    e->url = STR_LIT("https://shop.example/");
    e->campaign.name = STR_LIT("spring");
    e->place.city = STR_LIT("Leeds");
    e->properties = STR_LIT("{\"query\":\"sh\\u00f6es\",\"n\":7,\"deep\":{\"er\":[{\"x\":1.50}]},\"color\":\"red\","
                            "\"url\":\"other\",\"twice\":1,\"twice\":2}");
    person_item(p, e)->price = (struct opt){true, 1500000};
    assert_value(p, NOW, "last(\"Search\").query", "\"sh\u00f6es\"");
    assert_value(p, NOW, "last(\"Search\").n", "7");
    assert_value(p, NOW, "last(\"Search\").deep.er[0].x", "1.5");
    assert_value(p, NOW, "has(last(\"Search\").deep.er[1].x)", "false");
    assert_value(p, NOW, "last(\"Search\").color", "\"red\"");
    assert_value(p, NOW, "last(\"Search\").price", "1.5");
    assert_value(p, NOW, "last(\"Search\").url", "\"https://shop.example/\"");
    assert_value(p, NOW, "last(\"Search\").campaign + last(\"Search\").city + last(\"Search\").source",
                 "\"springLeedsweb\"");
    assert_value(p, NOW, "last(\"Search\").twice", "2");
    assert_value(p, NOW, "has(last(\"Search\").nothing)", "false");
    assert_value(p, NOW, "now - last(\"Search\").time == duration(\"5ms\")", "true");
    assert_value(p, NOW, "size(last(\"Search\").items)", "1");
    assert_value(p, NOW, "count(\"Search\", e.n > 5 && e.n < 8 && e.deep.er[0].x == 1.5)", "1");
    assert_value(p, NOW, "count(\"Search\", e.n == \"7\")", "0");
    person_free(p);
}

/* Properties are what clients send: none of this is an error, nor worth a crash. */
static void odd_properties(void **state)
{
    static const char *const odd[] = {"[]", "7", "null", "{}", "{\"n\":{\"n\":[]}}", "{\"n\":1e400}", "{\"\":1}"};
    struct rule_person *p = person_new();

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        person_event(p, EVENT_TRACK, "Odd", NOW - 100 + (int64_t)i)->properties = str_of(odd[i]);
    assert_value(p, NOW, "count(\"Odd\", e.n > 0 || e.n.n == 1)", "0");
    assert_value(p, NOW, "count(\"Odd\", has(e.n))", "1");
    person_free(p);
}

/* More than is kept taken apart: each is opened anew, and texts do not mix. */
static void large_paths(void **state)
{
    struct rule_person *p = person_new();
    static char text[200][110 * 1024];

    (void)state;
    for (int i = 0; i < 200; i++) {
        const int n = snprintf(text[i], sizeof text[i], "{\"a\":\"v%d\",\"b\":\"v%d\",\"long\":\"", i, i);

        memset(text[i] + n, 'x', sizeof text[i] - (size_t)n - 3);
        memcpy(text[i] + sizeof text[i] - 3, "\"}", 3);
        person_event(p, EVENT_TRACK, "Large", NOW - 1000 + i)->properties = str_of(text[i]);
    }
    for (int i = 0; i < 2; i++) {
        assert_value(p, NOW,
                     "count(\"Large\", e.a == e.b) == 200 && count(\"Large\", e.a + \"x\" == e.b + \"x\") == 200",
                     "true");
        assert_value(p, NOW, "last(\"Large\").a", "\"v199\"");
        assert_value(p, NOW, "count(\"Large\", e.a == \"v180\") + count(\"Large\", e.b == \"v3\")", "2");
        assert_value(p, NOW, "interest(\"Large\", \"a\", 30)", "\"v199\"");
    }
    person_free(p);
}

static void broken_path(void **state)
{
    struct rule_person *p = person_new();
    struct rule_subject s;
    struct rule_result out;
    struct rule *r;

    (void)state;
    person_view(p, NOW - 1, "red");
    s = person_subject(p, NOW);
    p->path[0].bytes = STR_LIT("\xff\xff");
    r = rule_of_text(p, "count(\"Product Viewed\") > 0");
    assert_int_equal(rule_eval(r, &s, &out), -EIO);
    rule_subject_done(&s);
    rule_free(r);
    /* A rule that asks facts only does not look. */
    assert_value(p, NOW, "products_viewed", "1");
    person_free(p);
}

/* --- traits ------------------------------------------------------------------------------------------------------ */

static void traits(void **state)
{
    struct traits_case *c = *state;
    struct rule_person *p = person_new();
    struct event e = says(NOW - 10, 1,
                          "{\"firstName\":\"Ann\",\"birthday\":\"1990-03-04\",\"age\":36,\"zz_logins\":\"7\","
                          "\"zz_plan\":{\"name\":\"gold\",\"seats\":[1,2]},\"zz_since\":\"2026-01-01T00:00:00Z\"}");
    struct traits t;

    e.consent = STR_LIT("{\"marketing\":true,\"profiling\":false}");
    t = folded(c, &e, 1);
    p->rules.traits = &c->rules;
    p->traits = &t;
    person_view(p, NOW - 1, "red");
    assert_value(p, NOW, "traits.zz_plan.name", "\"gold\"");
    assert_value(p, NOW, "traits.zz_plan.seats[1] == 2 && size(traits.zz_plan.seats) == 2", "true");
    assert_value(p, NOW, "traits.zz_logins == \"7\"", "true");
    assert_value(p, NOW, "traits.zz_since < now", "true");
    assert_value(p, NOW, "has(traits.nothing)", "false");
    assert_value(p, NOW, "consent.marketing && !consent.profiling && has(consent.profiling)", "true");
    assert_value(p, NOW, "string(traits.birthday)", "\"1990-03-04\"");
    assert_value(p, NOW, "month(traits.birthday)", "3");
    assert_flips(p, at_time("2026-01-01"), at_time("2026-03-01"), "anniversary(traits.birthday, 3)", "false", "true");
    assert_value(p, NOW, "traits.firstName == \"Ann\"", "true");
    const char *masked = explained(p, NOW, "traits.firstName == \"Bob\" && lower(traits.firstName) != \"x\"", false);
    assert_null(strcasestr(masked, "ann"));
    assert_non_null(strstr(masked, "\"value\":\"***\""));
    assert_non_null(strstr(masked, "\"operands\":[\"***\",\"Bob\"]"));
    const char *clear = explained(p, NOW, "traits.firstName == \"Ann\"", true);
    assert_non_null(strstr(clear, "\"operands\":[\"Ann\",\"Ann\"]"));
    person_free(p);
    traits_deinit(&t);
}

/* --- packed events ----------------------------------------------------------------------------------------------- */

/* What is peeked is what unpacking gives. */
static void peeks(void **state)
{
    struct rule_person *p = person_new();
    enum event_type type;
    struct str name;

    (void)state;
    person_view(p, NOW, "red");
    person_states(p, "A", STATUS_PAID, NOW, 5);
    person_event(p, EVENT_PAGE, "", NOW)->position = 3;
    person_event(p, EVENT_SCREEN, NULL, NOW)->properties = STR_LIT("{}");
    person_make(p);
    for (size_t i = 0; i < p->n; i++) {
        struct event e;

        assert_int_equal(event_unpack(p->path[i].bytes, &p->arena, &e), 0);
        assert_true(event_peek(p->path[i].bytes, &type, &name));
        assert_true(type == e.type && str_eq(name, e.name));
        for (size_t n = 0; n < p->path[i].bytes.n; n++) /* cut anywhere: no reading beyond */
            event_peek((struct str){p->path[i].bytes.p, n}, &type, &name);
    }
    assert_false(event_peek(STR_NONE, &type, &name));
    person_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_each_part_is),
        cmocka_unit_test(values_and_json),
        cmocka_unit_test(properties),
        cmocka_unit_test(odd_properties),
        cmocka_unit_test(large_paths),
        cmocka_unit_test(broken_path),
        cmocka_unit_test_setup_teardown(traits, traits_case_setup, traits_case_teardown),
        cmocka_unit_test(peeks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
