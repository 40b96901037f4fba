/* What events state of a person, and what it comes to. */
#include "tests/support/traits_case.h"

#define COUNT(v) (sizeof(v) / sizeof(v)[0])

static void last_writer_wins(void **state)
{
    struct event late[] = {says(200, 1, "{\"gender\":\"f\",\"favourite\":{\"a\":1}}"),
                           says(100, 2, "{\"gender\":\"m\"}")};
    struct event removed[] = {says(100, 1, "{\"gender\":\"f\"}"), says(300, 2, "{\"gender\":null}"),
                              says(200, 3, "{\"gender\":\"m\"}")};
    struct event again[] = {says(100, 1, "{\"gender\":null}"), says(300, 2, "{\"gender\":\"x\"}")};
    struct event one_time[] = {says(100, 2, "{\"gender\":\"two\"}"), says(100, 1, "{\"gender\":\"one\"}")};

    assert_says(*state, late, COUNT(late), "{\"favourite\":{\"a\":1},\"gender\":\"f\"}");
    assert_says(*state, removed, COUNT(removed), "{}");
    assert_says(*state, again, COUNT(again), "{\"gender\":\"x\"}");
    assert_says(*state, one_time, COUNT(one_time), "{\"gender\":\"two\"}");
}

static void one_name_has_many_spellings(void **state)
{
    struct event e[] = {says(100, 1, "{\"firstName\":\"Ann\",\"Mobile-Phone\":\"1\"}"),
                        says(200, 2, "{\"first_name\":\"Bea\",\"my own\":1}"), says(300, 3, "{\"my_own\":2}")};

    assert_says(*state, e, COUNT(e), "{\"first_name\":\"Bea\",\"my own\":1,\"my_own\":2,\"phone\":\"1\"}");
}

static void set_once_keeps_the_earliest(void **state)
{
    struct event e[] = {says(300, 1, "{\"$set_once\":{\"ref\":\"c\"}}"),
                        says(100, 2, "{\"$set_once\":{\"ref\":\"a\"}}"),
                        says(200, 3, "{\"$set_once\":{\"ref\":\"b\"}}")};
    struct event removed[] = {says(100, 2, "{\"$set_once\":{\"ref\":\"a\"}}"), says(150, 4, "{\"$unset\":[\"ref\"]}"),
                              says(200, 3, "{\"$set_once\":{\"ref\":\"b\"}}")};
    struct event set[] = {says(100, 2, "{\"$set_once\":{\"ref\":\"a\"}}"), says(50, 4, "{\"ref\":\"set\"}")};
    struct event rule[] = {says(200, 1, "{\"createdAt\":\"2026-01-02\"}"),
                           says(100, 2, "{\"created_at\":\"2026-01-01\"}")};
    struct event beside[] = {says(100, 1, "{}")};

    beside[0].extra = STR_LIT("{\"traitsOnce\":{\"ref\":\"x\"},\"traitsAdd\":{\"n\":2}}");
    assert_says(*state, e, COUNT(e), "{\"ref\":\"a\"}");
    assert_says(*state, removed, COUNT(removed), "{\"ref\":\"b\"}");
    assert_says(*state, set, COUNT(set), "{\"ref\":\"set\"}");
    assert_says(*state, rule, COUNT(rule), "{\"created_at\":\"2026-01-01\"}");
    assert_says(*state, beside, COUNT(beside), "{\"n\":2,\"ref\":\"x\"}");
}

static void increments_add_to_the_latest_set(void **state)
{
    struct event e[] = {says(100, 1, "{\"n\":10}"), says(200, 2, "{\"$add\":{\"n\":1.5}}"), says(300, 3, "{\"n\":20}"),
                        says(400, 4, "{\"$add\":{\"n\":2}}"), says(500, 5, "{\"$add\":{\"n\":-0.25}}")};
    struct event alone[] = {says(100, 1, "{\"$add\":{\"n\":1}}"), says(200, 2, "{\"$add\":{\"n\":\"2.5\"}}")};
    struct event text[] = {says(100, 1, "{\"n\":\"word\"}"), says(200, 2, "{\"$add\":{\"n\":2}}")};
    struct event both[] = {says(100, 1, "{\"n\":1,\"$add\":{\"n\":5}}")};
    struct event null[] = {says(100, 1, "{\"n\":1}"), says(200, 2, "{\"n\":null}"),
                           says(300, 3, "{\"$add\":{\"n\":5}}")};

    assert_says(*state, e, COUNT(e), "{\"n\":21.75}");
    assert_says(*state, alone, COUNT(alone), "{\"n\":3.5}");
    assert_says(*state, text, COUNT(text), "{\"n\":\"word\"}");
    assert_says(*state, both, COUNT(both), "{\"n\":1}");
    assert_says(*state, null, COUNT(null), "{\"n\":5}");
}

static void values_fit_their_types(void **state)
{
    struct event good[] = {says(100, 1,
                                "{\"age\":\"42\",\"gender\":7,\"birthday\":\"1990-05-01\",\"kyc\":\"Yes\","
                                "\"created_at\":1700000000,\"addresses\":{\"city\":\"Bath\"},\"address\":\"x\"}")};
    struct event bad[] = {says(100, 1,
                               "{\"age\":\"old\",\"gender\":{},\"birthday\":\"soon\",\"kyc\":\"perhaps\","
                               "\"created_at\":true,\"address\":3,\"\":1,\"$add\":{\"email\":1},\"$set_once\":4}")};
    struct event long_word = says(100, 1, "{\"kyc\":\"yes, as far as anybody knows\"}");
    struct traits_case *c = *state;

    assert_says(c, good, 1,
                "{\"address\":\"x\",\"age\":42,\"birthday\":\"1990-05-01\",\"created_at\":\"2023-11-14T22:13:20.000Z\","
                "\"gender\":\"7\",\"real_name_verified\":true,\"shipping_addresses\":[{\"city\":\"Bath\"}]}");
    atomic_store(&c->counters.unfit, 0);
    assert_says(c, bad, 1, "{}");
    assert_int_equal(atomic_load(&c->counters.unfit), 2 * 9);
    assert_says(c, &long_word, 1, "{}");
}

static void a_group_has_traits_of_its_own(void **state)
{
    struct event e[] = {says(100, 1, "{\"plan\":\"gold\"}"), says(200, 2, "{\"plan\":\"red\"}"), says(300, 3, NULL)};

    e[1].type = e[2].type = EVENT_GROUP;
    e[2].extra = STR_LIT("{\"traitsOnce\":{\"found_us\":\"fair\"},\"traitsAdd\":{\"points\":1}}");
    e[2].sealed = sealed(*state, "{\"extra\":{\"traitsOnce\":{\"email\":\"z@x.com\"}}}");
    assert_says(*state, e, COUNT(e), "{\"plan\":\"gold\"}");
}

static void any_event_may_state_traits(void **state)
{
    struct event e[] = {says(100, 1, "{\"plan\":\"gold\"}"), says(200, 2, NULL), says(300, 3, NULL)};

    e[1].type = EVENT_PAGE;
    e[1].traits = STR_LIT("{\"plan\":\"red\"}");
    e[2].type = EVENT_TRACK;
    e[2].sealed = sealed(*state, "{\"traits\":{\"email\":\"z@x.com\"},\"properties\":{\"phone\":\"1\"}}");
    assert_says(*state, e, COUNT(e), "{\"email\":\"z@x.com\",\"plan\":\"red\"}");
}

static void consent_is_what_was_said_last(void **state)
{
    struct event e[] = {says(100, 1, "{\"consent\":{\"marketing\":{\"granted\":true},\"odd\":\"x\"}}"),
                        says(300, 2, NULL), says(200, 3, NULL), says(50, 4, "{\"consent\":{\"gone\":true}}"),
                        says(60, 5, "{\"consent\":{\"gone\":null}}")};
    struct traits_case *c = *state;
    struct traits t;

    e[1].consent = STR_LIT("{\"analytics\":true}");
    e[2].consent = STR_LIT("{\"analytics\":false,\"marketing\":false}");
    t = stepped(c, e, COUNT(e), NULL);
    assert_consent(&t, "{\"analytics\":{\"granted\":true,\"time\":\"1970-01-01T00:00:00.300Z\",\"source\":\"crm\"},"
                       "\"marketing\":{\"granted\":false,\"time\":\"1970-01-01T00:00:00.200Z\",\"source\":\"web\"}}");
    assert_int_equal(traits_consent_of(&t, STR_LIT("analytics")), CONSENT_GRANTED);
    assert_int_equal(traits_consent_of(&t, STR_LIT("marketing")), CONSENT_REFUSED);
    assert_int_equal(traits_consent_of(&t, STR_LIT("gone")), CONSENT_UNSTATED);
    assert_shown(c, &t, show_all(true), "{}"); /* it is no trait */
    traits_deinit(&t);
}

static void verbose_says_when_and_who(void **state)
{
    struct event e[] = {says(100, 1, "{\"plan\":\"gold\",\"email\":\"z@x.com\"}"),
                        says(200, 2, "{\"$add\":{\"n\":2}}")};
    struct traits t = stepped(*state, e, COUNT(e), NULL);
    struct traits_show show = {.groups = 1u << TRAITS_CONTACT, .verbose = true};

    assert_shown(*state, &t, show,
                 "{\"email\":{\"value\":\"z***@x.com\",\"time\":\"1970-01-01T00:00:00.100Z\",\"source\":\"web\"},"
                 "\"n\":{\"value\":2,\"time\":\"1970-01-01T00:00:00.200Z\",\"source\":\"crm\"},"
                 "\"plan\":{\"value\":\"gold\",\"time\":\"1970-01-01T00:00:00.100Z\",\"source\":\"web\"}}");
    traits_deinit(&t);
}

static void groups_are_shown_on_demand(void **state)
{
    struct event e[] = {
        says(100, 1, "{\"plan\":\"gold\",\"email\":\"z@x.com\",\"passport\":\"X1234567\",\"name\":\"Ann Lee\"}")};
    struct traits t = stepped(*state, e, COUNT(e), NULL);

    assert_shown(*state, &t, TRAITS_SHOW_PUBLIC, "{\"plan\":\"gold\"}");
    assert_shown(*state, &t, (struct traits_show){.groups = 1u << TRAITS_CONTACT},
                 "{\"email\":\"z***@x.com\",\"plan\":\"gold\"}");
    assert_shown(*state, &t, (struct traits_show){.clear = true}, "{\"plan\":\"gold\"}");
    assert_shown(*state, &t, show_all(false),
                 "{\"email\":\"z***@x.com\",\"name\":\"A***\",\"passport\":\"****4567\",\"plan\":\"gold\"}");
    traits_deinit(&t);
}

static void one_value_is_found(void **state)
{
    struct event e[] = {says(100, 1, "{\"plan\":\"gold\",\"email\":\"z@x.com\"}")};
    struct traits_case *c = *state;
    struct traits t = stepped(c, e, COUNT(e), NULL);

    assert_true(str_is(traits_value(&t, &c->rules, STR_LIT("Mail"), &c->arena), "\"z@x.com\""));
    assert_true(str_is(traits_value(&t, &c->rules, STR_LIT("plan"), &c->arena), "\"gold\""));
    assert_false(str_has(traits_value(&t, &c->rules, STR_LIT("phone"), &c->arena)));
    traits_deinit(&t);
}

static void masks_show_little(void **state)
{
    static const struct {
        const char *name, *value, *want;
    } cases[] = {
        {"phone", "\"138 1234 5678\"", "\"138****5678\""},
        {"phone", "\"+86-138-1234-5678\"", "\"861****5678\""},
        {"phone", "\"1234567\"", "\"****67\""},
        {"phone", "\"911\"", "\"***\""},
        {"phone", "13812345678", "\"138****5678\""},
        {"email", "\"zoe@x.com\"", "\"z***@x.com\""},
        {"email", "\"\xc3\xa9ve@x.com\"", "\"\xc3\xa9***@x.com\""},
        {"email", "\"@x.com\"", "\"***\""},
        {"email", "\"nothing\"", "\"***\""},
        {"name", "\"Zoe Hall\"", "\"Z***\""},
        {"name", "\"\xe5\xbc\xa0\xe4\xb8\x89\"", "\"\xe5\xbc\xa0***\""},
        {"name", "\"X\"", "\"***\""},
        {"name", "\"\"", "\"***\""},
        {"birthday", "\"1990-05-01\"", "\"1990\""},
        {"card_last4", "\"1111\"", "\"****1111\""},
        {"national_id", "\"110101199003070011\"", "\"****0011\""},
        {"national_id", "\"12345\"", "\"***\""},
        {"address", "{\"street\":\"1 High St\",\"city\":\"Bath\",\"Country\":\"UK\"}",
         "{\"city\":\"Bath\",\"Country\":\"UK\"}"},
        {"address", "\"1 High St, Bath\"", "\"***\""},
        {"address", "{\"city\":{\"street\":\"1 High St\"}}", "{}"},
        {"shipping_addresses", "[{\"city\":\"Bath\",\"phone\":\"1\",\"default\":true},\"x\"]",
         "[{\"city\":\"Bath\",\"default\":true},\"***\"]"},
        {"cards", "[{\"brand\":\"visa\"}]", "\"***\""},
        {"card_brand", "\"visa\"", "\"visa\""},
        {"street", "\"1 High St\"", "\"***\""},
        {"wechat", "\"zoe_h\"", "\"z***\""},
    };
    struct traits_show masked = show_all(false);
    char text[300], want[300];

    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(text, sizeof text, "{\"%s\":%s}", cases[i].name, cases[i].value);
        snprintf(want, sizeof want, "{\"%s\":%s}", cases[i].name, cases[i].want);
        struct event e = says(100, 1, text);
        struct traits t = stepped(*state, &e, 1, NULL);
        assert_shown(*state, &t, masked, want);
        traits_deinit(&t);
    }
}

static void what_was_sealed_stays_personal(void **state)
{
    struct event e[] = {says(100, 1, NULL)};
    struct traits t;

    e[0].sealed = sealed(*state, "{\"traits\":{\"plan\":\"gold\",\"mine\":\"x\"}}"); /* by another vocabulary */
    t = stepped(*state, e, 1, NULL);
    assert_shown(*state, &t, TRAITS_SHOW_PUBLIC, "{}");
    assert_shown(*state, &t, show_all(false), "{\"mine\":\"***\",\"plan\":\"***\"}");
    assert_shown(*state, &t, show_all(true), "{\"mine\":\"x\",\"plan\":\"gold\"}");
    traits_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_writer_wins),
        cmocka_unit_test(one_name_has_many_spellings),
        cmocka_unit_test(set_once_keeps_the_earliest),
        cmocka_unit_test(increments_add_to_the_latest_set),
        cmocka_unit_test(values_fit_their_types),
        cmocka_unit_test(a_group_has_traits_of_its_own),
        cmocka_unit_test(any_event_may_state_traits),
        cmocka_unit_test(consent_is_what_was_said_last),
        cmocka_unit_test(verbose_says_when_and_who),
        cmocka_unit_test(groups_are_shown_on_demand),
        cmocka_unit_test(one_value_is_found),
        cmocka_unit_test(masks_show_little),
        cmocka_unit_test(what_was_sealed_stays_personal),
    };
    return cmocka_run_group_tests(tests, traits_case_setup, traits_case_teardown);
}
