/* Files of tags: what is read, every mistake at its place, and the values that people get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/tags.h"

static struct tags *parse(const char *text, const char *want_errors, const char *want_warnings)
{
    struct buf errors, warnings;
    struct tags *t = NULL;

    buf_init(&errors, 1 << 20);
    buf_init(&warnings, 1 << 20);
    int r = tags_parse("t.yaml", str_of(text), NULL, &t, &errors, &warnings);
    buf_add_char(&errors, '\0');
    buf_add_char(&warnings, '\0');
    assert_string_equal(errors.p, want_errors ? want_errors : "");
    if (want_warnings)
        assert_string_equal(warnings.p, want_warnings);
    assert_int_equal(r, want_errors ? -EINVAL : 0);
    assert_int_equal(t != NULL, !want_errors);
    buf_deinit(&errors);
    buf_deinit(&warnings);
    return t;
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static void a_file_is_read(void **state)
{
    struct tags *t = parse("lifecycle:\n"
                           "  description: Words\n"
                           "  owner: marketing\n"
                           "  values:\n"
                           "    - potential: orders == 0\n"
                           "    - known: 'true'\n"
                           "points: {rule: 2 * orders + 1}\n"
                           "level: {values: [{1: orders > 5}, {0.5: orders > 1}]}\n"
                           "good: {values: [{true: tags.lifecycle == \"known\"}]}\n"
                           "vip: {type: bool}\n",
                           NULL, NULL);

    (void)state;
    assert_int_equal(tags_count(t), 5);
    assert_true(str_is(tags_at(t, 0)->description, "Words"));
    assert_true(str_is(tags_at(t, 0)->owner, "marketing"));
    assert_false(str_has(tags_at(t, 1)->owner));
    assert_int_equal(tags_at(t, 0)->type, RULE_STRING);
    assert_int_equal(tags_at(t, 1)->type, RULE_NUMBER);
    assert_int_equal(tags_at(t, 2)->type, RULE_NUMBER);
    assert_int_equal(tags_at(t, 3)->type, RULE_BOOL);
    assert_int_equal(tags_at(t, 4)->type, RULE_BOOL);
    assert_int_equal(tags_at(t, 4)->rule_count, 0);
    assert_true(str_is(tags_at(t, 0)->rules[1].value, "\"known\""));
    assert_true(str_is(tags_at(t, 2)->rules[1].value, "0.5"));
    assert_int_equal(tags_find(t, STR_LIT("level")), 2);
    assert_int_equal(tags_find(t, STR_LIT("vip")), 4);
    assert_true(tags_find(t, STR_LIT("lif")) == SIZE_MAX);
    assert_true(tags_find(t, STR_LIT("zzz")) == SIZE_MAX);
    assert_true(tags_needs(t) & RULE_NEEDS_TAGS);
    assert_false(tags_needs(t) & RULE_NEEDS_PATH);
    tags_unref(t);
    tags_unref(parse("{}\n", NULL, ""));
}

static void the_set_built_in_is_good(void **state)
{
    struct buf errors, warnings;
    struct tags *t = NULL;

    (void)state;
    buf_init(&errors, 1 << 20);
    buf_init(&warnings, 1 << 20);
    int r = tags_load(NULL, NULL, &t, &errors, &warnings);
    if (r != 0)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    if (warnings.n > 0)
        fail_msg("%.*s", STR_ARG(buf_str(&warnings)));
    assert_int_not_equal(tags_find(t, STR_LIT("lifecycle")), SIZE_MAX);
    for (size_t i = 0; i < tags_count(t); i++) {
        assert_true(str_has(tags_at(t, i)->description));
        assert_true(str_has(tags_at(t, i)->owner));
    }
    tags_unref(t);
    buf_deinit(&errors);
    buf_deinit(&warnings);
}

static void a_file_that_is_not_there_is_refused(void **state)
{
    struct buf errors;
    struct tags *t = NULL;

    (void)state;
    buf_init(&errors, 1 << 20);
    assert_int_equal(tags_load("/nowhere/tags.yaml", NULL, &t, &errors, NULL), -EINVAL);
    assert_true(errors.n > 0);
    assert_null(t);
    buf_deinit(&errors);
}

/* --- mistakes --------------------------------------------------------------------------------------------------- */

static void mistakes_have_their_places(void **state)
{
    (void)state;
    parse("- a\n", "t.yaml:1:1: a map of tags must stand here; {} has none\n", NULL);
    parse("Big: {rule: orders}\nfine: {rule: orders}\nfine: {rule: orders}\n",
          "t.yaml:1:1: 'Big' is no name of a tag: small letters, digits and underscores, a letter first\n"
          "t.yaml:3:1: 'fine' stands here a second time, first in line 2\n",
          NULL);
    parse("a: 5\nb: {}\nc: {rule: orders, values: []}\nd: {rul: orders}\ne: {type: map}\n",
          "t.yaml:1:4: 'a': needs a map such as {rule: orders > 0}\n"
          "t.yaml:2:1: 'b' needs rule: or values:, or for one that is set by hand alone type:\n"
          "t.yaml:3:11: a tag has rule: or values:, not both\n"
          "t.yaml:4:1: 'd' needs rule: or values:, or for one that is set by hand alone type:\n"
          "t.yaml:4:5: unknown member 'rul'; a tag has description, owner, type, and rule or values\n"
          "t.yaml:5:11: type: is one of string, number, bool\n",
          NULL);
    parse("a: {values: [{x: orders > 1}, {5: orders > 2}, y, {p: orders > 1, q: orders > 1}]}\n",
          "t.yaml:1:32: '5' is a number, and the values before it or its type: say string\n"
          "t.yaml:1:48: a value and its rule must stand here, such as gold: spent > 1000\n"
          "t.yaml:1:51: a value and its rule must stand here, such as gold: spent > 1000\n",
          NULL);
    parse("a: {rule: [orders]}\n",
          "t.yaml:1:11: a rule must stand here; one with ': ', '#' or brackets at its start needs quotes\n", NULL);
}

/* The place of what is wrong in a rule, as it is written in the file in several ways. */
static void places_in_rules_are_those_of_the_file(void **state)
{
    static const struct {
        const char *text, *place;
    } cases[] = {
        {"a:\n  rule: 1 + ordrs\n", "t.yaml:2:13: "},
        {"a:\n  rule: '1 + ordrs'\n", "t.yaml:2:14: "},
        {"a:\n  rule: \"1 + ordrs\"\n", "t.yaml:2:14: "},
        {"ä: {}\na: {description: äöü, rule: 1 + ordrs}\n", "t.yaml:2:33: "},
        {"a:\n  rule: |\n    1 +\n      ordrs\n", "t.yaml:4:7: "},
        {"a:\n  rule: 1 +\n    ordrs\n", "t.yaml:2:9: line 1, column 5 of the rule: "},
        {"a:\n  rule: >\n    1 +\n    ordrs\n", "t.yaml:2:9: line 1, column 5 of the rule: "},
        {"a:\n  rule: \"'\\u0020' + ordrs\"\n", "t.yaml:2:9: line 1, column 7 of the rule: "},
        {"a:\n  values:\n    - x: true\n    - y: ordrs > 1\n", "t.yaml:4:10: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf errors;
        struct tags *t = NULL;
        buf_init(&errors, 1 << 20);
        assert_int_equal(tags_parse("t.yaml", str_of(cases[i].text), NULL, &t, &errors, NULL), -EINVAL);
        buf_add_char(&errors, '\0');
        if (!strstr(errors.p, cases[i].place) || !strstr(errors.p, "orders"))
            fail_msg("case %zu: %s", i, errors.p);
        buf_deinit(&errors);
    }
}

static void a_tag_asks_for_no_audience_and_no_later_tag(void **state)
{
    (void)state;
    parse("a: {values: [{x: in_audience(\"loyal\")}]}\n",
          "t.yaml:1:18: tags are given before audiences are judged, so a tag's rule cannot ask for one\n", NULL);
    struct buf errors;
    struct tags *t = NULL;
    buf_init(&errors, 1 << 20);
    assert_int_equal(tags_parse("t", STR_LIT("a: {rule: tags.b + 1}\nb: {rule: orders}\n"), NULL, &t, &errors, NULL),
                     -EINVAL);
    buf_deinit(&errors);
}

static void what_is_too_much_is_refused(void **state)
{
    struct buf text, errors;
    struct tags *t = NULL;

    (void)state;
    buf_init(&text, 8 << 20);
    buf_init(&errors, 1 << 20);
    for (int i = 0; i <= LIMIT_TAGS; i++)
        buf_addf(&text, "t%d: {rule: orders}\n", i);
    assert_int_equal(tags_parse("t", buf_str(&text), NULL, &t, &errors, NULL), -EINVAL);
    assert_true(str_starts(buf_str(&errors), STR_LIT("t:1:1: has 501 tags, the most is 500")));
    buf_reset(&text);
    buf_reset(&errors);
    buf_add_text(&text, "a:\n  values:\n");
    for (int i = 0; i <= LIMIT_TAG_RULES; i++)
        buf_addf(&text, "    - v%d: orders > %d\n", i, i);
    assert_int_equal(tags_parse("t", buf_str(&text), NULL, &t, &errors, NULL), -EINVAL);
    buf_reset(&text);
    buf_reset(&errors);
    buf_add_text(&text, "a: {values: [{");
    for (int i = 0; i <= LIMIT_TAG_VALUE_BYTES; i++)
        buf_add_char(&text, 'x');
    buf_add_text(&text, ": orders > 1}]}\n");
    assert_int_equal(tags_parse("t", buf_str(&text), NULL, &t, &errors, NULL), -EINVAL);
    buf_reset(&text);
    for (int i = 0; i < 1200000; i++)
        buf_add_char(&text, '#');
    assert_int_equal(tags_parse("t", buf_str(&text), NULL, &t, &errors, NULL), -EINVAL);
    buf_deinit(&text);
    buf_deinit(&errors);
}

/* --- versions --------------------------------------------------------------------------------------------------- */

static uint64_t version_of(const char *text)
{
    struct tags *t = parse(text, NULL, NULL);
    uint64_t v = tags_version(t);

    tags_unref(t);
    return v;
}

static void the_version_is_that_of_the_meaning(void **state)
{
    uint64_t v = version_of("a: {values: [{x: orders > 1 && pages > 2}]}\n");

    (void)state;
    assert_true(v == version_of("# words\na: {description: d, values: [{x: (orders>1)&&  pages > 2}]}\n"));
    assert_true(v != version_of("a: {values: [{x: orders > 1 && pages > 3}]}\n"));
    assert_true(v != version_of("a: {values: [{y: orders > 1 && pages > 2}]}\n"));
    assert_true(v != version_of("b: {values: [{x: orders > 1 && pages > 2}]}\n"));
    assert_true(v != version_of("a: {rule: orders > 1 && pages > 2}\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(the_set_built_in_is_good),
        cmocka_unit_test(a_file_that_is_not_there_is_refused),
        cmocka_unit_test(mistakes_have_their_places),
        cmocka_unit_test(places_in_rules_are_those_of_the_file),
        cmocka_unit_test(a_tag_asks_for_no_audience_and_no_later_tag),
        cmocka_unit_test(what_is_too_much_is_refused),
        cmocka_unit_test(the_version_is_that_of_the_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
