/* The vocabulary of traits: the built-in one, names in all their spellings, and every mistake a file can have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka's header needs the ones above. */
#include <cmocka.h>

#include "common/limits.h"
#include "common/traits_vocabulary.h"

static struct vocabulary *parse(const char *text, const char *want_errors)
{
    struct buf errors;

    buf_init(&errors, MIB);
    struct vocabulary *v = vocabulary_parse("t.yaml", str_of(text), &errors);
    buf_add_char(&errors, '\0');
    if (want_errors) {
        assert_null(v);
        if (!strstr(errors.p, want_errors))
            fail_msg("%s is not in: %s", want_errors, errors.p);
    } else if (!v) {
        fail_msg("%s", errors.p);
    }
    buf_deinit(&errors);
    return v;
}

static int setup(void **state)
{
    struct buf errors;

    buf_init(&errors, MIB);
    *state = vocabulary_load(NULL, &errors);
    assert_non_null(*state);
    assert_int_equal(errors.n, 0);
    buf_deinit(&errors);
    return 0;
}

static int teardown(void **state)
{
    vocabulary_free(*state);
    return 0;
}

static void assert_is(const struct vocabulary *v, const char *name, const char *want, enum trait_group group,
                      bool personal)
{
    const struct trait_kind *k = traits_find(v, str_of(name));

    if (!k)
        fail_msg("%s is not known", name);
    assert_true(str_is(k->name, want));
    assert_int_equal(k->group, group);
    assert_int_equal(k->personal, personal);
    assert_int_equal(traits_personal(v, str_of(name)), personal);
}

/* What Segment reserves, and what shops of the seed list state. */
static void the_built_in_one_knows(void **state)
{
    static const struct {
        const char *name, *want;
        enum trait_group group;
        bool personal;
    } cases[] = {
        {"address", "address", TRAITS_DEMOGRAPHIC, true},
        {"age", "age", TRAITS_DEMOGRAPHIC, false},
        {"avatar", "avatar", TRAITS_PLATFORM, true},
        {"birthday", "birthday", TRAITS_DEMOGRAPHIC, true},
        {"company", "company", TRAITS_DEMOGRAPHIC, false},
        {"createdAt", "created_at", TRAITS_PLATFORM, false},
        {"description", "description", TRAITS_DEMOGRAPHIC, true},
        {"email", "email", TRAITS_CONTACT, true},
        {"firstName", "first_name", TRAITS_DEMOGRAPHIC, true},
        {"gender", "gender", TRAITS_DEMOGRAPHIC, false},
        {"lastName", "last_name", TRAITS_DEMOGRAPHIC, true},
        {"name", "name", TRAITS_DEMOGRAPHIC, true},
        {"phone", "phone", TRAITS_CONTACT, true},
        {"title", "title", TRAITS_DEMOGRAPHIC, false},
        {"username", "username", TRAITS_PLATFORM, true},
        {"website", "website", TRAITS_PLATFORM, false},
        {"plan", "plan", TRAITS_PLATFORM, false},
        {"logins", "logins", TRAITS_PLATFORM, false},
        {"industry", "industry", TRAITS_DEMOGRAPHIC, false},
        {"province", "province", TRAITS_DEMOGRAPHIC, false},
        {"City", "city", TRAITS_DEMOGRAPHIC, false},
        {"district", "district", TRAITS_DEMOGRAPHIC, false},
        {"street", "street", TRAITS_DEMOGRAPHIC, true},
        {"marital_status", "marital_state", TRAITS_DEMOGRAPHIC, false},
        {"Nick-Name", "nickname", TRAITS_PLATFORM, false},
        {"registered_at", "created_at", TRAITS_PLATFORM, false},
        {"membership type", "member_type", TRAITS_PLATFORM, false},
        {"memberLevel", "member_level", TRAITS_PLATFORM, false},
        {"QQ", "qq", TRAITS_CONTACT, true},
        {"WeChat", "wechat", TRAITS_CONTACT, true},
        {"$weibo", "weibo", TRAITS_CONTACT, true},
        {"linkedAccounts", "linked_accounts", TRAITS_CONTACT, true},
        {"receivers", "shipping_addresses", TRAITS_SHIPPING, true},
        {"cards", "cards", TRAITS_PAYMENT, true},
        {"student", "student", TRAITS_CERTIFICATION, true},
        {"licence", "driving_licence", TRAITS_CERTIFICATION, true},
        {"credit_certification", "credit", TRAITS_CERTIFICATION, true},
        {"occupation", "occupation", TRAITS_DEMOGRAPHIC, false},
        {"education", "education", TRAITS_DEMOGRAPHIC, false},
        {"household", "household", TRAITS_DEMOGRAPHIC, false},
        {"personality", "personality", TRAITS_DEMOGRAPHIC, false},
        {"values", "values", TRAITS_DEMOGRAPHIC, false},
        {"手机", "phone", TRAITS_CONTACT, true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_is(*state, cases[i].name, cases[i].want, cases[i].group, cases[i].personal);
}

/* Groups whose values are personal have none that is not. */
static void the_sealed_groups_are_personal(void **state)
{
    for (size_t i = 0; i < vocabulary_count(*state); i++) {
        const struct trait_kind *k = vocabulary_at(*state, i);
        if (k->group >= TRAITS_CONTACT && k->group <= TRAITS_CERTIFICATION)
            assert_true(k->personal);
    }
}

static void spellings_are_one(void **state)
{
    static const char *const same[] = {"first_name", "firstName",  "FIRSTNAME",
                                       "First Name", "first-name", "$first.name"};
    static const char *const none[] = {"", "_", "$", "firstname2", "first/name", "fïrstname"};
    char longest[200];

    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
        assert_is(*state, same[i], "first_name", TRAITS_DEMOGRAPHIC, true);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_null(traits_find(*state, str_of(none[i])));
    memset(longest, 'x', sizeof longest);
    assert_null(traits_find(*state, (struct str){longest, sizeof longest}));
    assert_null(traits_find(*state, (struct str){"na\0me", 5}));
    assert_null(traits_find(NULL, STR_LIT("email")));
}

/* The name of a product is no person's. */
static void properties_are_not_traits(void **state)
{
    assert_true(traits_personal(*state, STR_LIT("name")));
    assert_false(traits_personal_property(*state, STR_LIT("name")));
    assert_true(traits_personal_property(*state, STR_LIT("email")));
    assert_false(traits_personal_property(*state, STR_LIT("payment_method")));
    assert_false(traits_personal_property(*state, STR_LIT("color")));
}

static void mistakes_have_their_place(void **state)
{
    (void)state;
    parse("- a", "t.yaml:1:1: a map of groups");
    parse("people: {}", "t.yaml:1:1: unknown group 'people'");
    parse("contact: 3", "t.yaml:1:10: contact: needs a map");
    parse("contact:\n  email: 3", "t.yaml:2:10: 'email': needs a map");
    parse("contact:\n  email: {typ: string}", "t.yaml:2:11: unknown member 'typ'");
    parse("contact:\n  email: {type: text}", "t.yaml:2:17: type: is one of any, string");
    parse("contact:\n  email: {mask: [x]}", "t.yaml:2:17: mask: is one of");
    parse("contact:\n  email: {rule: latest}", "t.yaml:2:17: rule: is one of last, once, sum");
    parse("contact:\n  email: {personal: maybe}", "t.yaml:2:21: personal: is one of");
    parse("contact:\n  email: {aliases: mail}", "t.yaml:2:20: aliases: needs a list");
    parse("contact:\n  email: {aliases: [[]]}", "t.yaml:2:21: a name must stand here");
    parse("contact:\n  email: {aliases: [E-Mail]}", "t.yaml:2:21: 'E-Mail' stands for email already");
    parse("contact:\n  email: {aliases: ['-']}", "t.yaml:2:21: '-' is no name");
    parse("contact: {a: }\nother: {A: }", "t.yaml:2:9: 'A' stands for a already");
    parse("other:\n  x: {rule: sum}", "t.yaml:2:3: rule: sum needs type: number");
    parse("payment:\n  x: {rule: sum, type: number}", "t.yaml:2:3: rule: sum is not for personal traits");
    parse("a: b: c", "t.yaml:1:");
    parse("contact: {email: {typ: 1}, email: {}}\npeople: {}", "t.yaml:2:1: unknown group"); /* all of them at once */
}

static void many_names_are_too_many(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, MIB);
    buf_add_text(&b, "other:\n");
    for (int i = 0; i < 2001; i++)
        buf_addf(&b, "  n%d:\n", i);
    buf_add_char(&b, '\0');
    parse(b.p, "there are more than 2000 traits");
    buf_reset(&b);
    buf_add_text(&b, "other:\n  x:\n    aliases:\n");
    for (int i = 0; i < 8000; i++)
        buf_addf(&b, "      - n%d\n", i);
    buf_add_char(&b, '\0');
    struct vocabulary *v = parse(b.p, NULL);
    assert_true(str_is(traits_find(v, STR_LIT("n7999"))->name, "x"));
    vocabulary_free(v);
    buf_deinit(&b);
}

/* The number of what the fold goes by changes with it, and with nothing else. */
static void the_print_tells(void **state)
{
    static const char *const texts[] = {"other: {a: {type: number}, b: }",
                                        "other: {a: , b: }",
                                        "other: {a: }",
                                        "other: {a: {type: number, personal: true}, b: }",
                                        "other: {a: {type: number, aliases: [c]}, b: }",
                                        "other: {a: {type: number, rule: once}, b: }"};
    struct vocabulary *same = parse("platform: {b: {mask: year}}\nother: {A: {type: number}}", NULL), *v[6];

    (void)state;
    for (int i = 0; i < 6; i++) {
        v[i] = parse(texts[i], NULL);
        for (int j = 0; j < i; j++)
            assert_true(vocabulary_print(v[i]) != vocabulary_print(v[j]));
    }
    assert_true(vocabulary_print(same) != vocabulary_print(v[0])); /* the name answers as it is written */
    vocabulary_free(same);
    same = parse("platform: {b: {mask: year}}\nother: {a: {type: number}}", NULL);
    assert_true(vocabulary_print(same) == vocabulary_print(v[0]));
    vocabulary_free(same);
    for (int i = 0; i < 6; i++)
        vocabulary_free(v[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_built_in_one_knows),    cmocka_unit_test(the_sealed_groups_are_personal),
        cmocka_unit_test(spellings_are_one),         cmocka_unit_test(properties_are_not_traits),
        cmocka_unit_test(mistakes_have_their_place), cmocka_unit_test(many_names_are_too_many),
        cmocka_unit_test(the_print_tells),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
