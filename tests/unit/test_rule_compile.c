/* Rules compile or say where they do not: places, suggestions, types, what they need, one canonical text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "profiler/rule.h"
#include "profiler/rule_tree.h"

static struct vocabulary *vocabulary;
static const struct rule_tag tags[] = {{{"lifecycle", 9}, RULE_STRING}, {{"rfm", 3}, RULE_NUMBER}};

static bool audience(void *arg, struct str name)
{
    (void)arg;
    return str_is(name, "loyal") || str_is(name, "vip");
}

static struct rule_names names(void)
{
    return (struct rule_names){.traits = vocabulary, .tags = tags, .tag_count = 2, .audience = audience};
}

static int compile(const char *text, enum rule_type want, struct rule **out, struct rule_error *e)
{
    struct rule_names n = names();

    return rule_compile(str_of(text), want, &n, out, e);
}

static struct rule *good(const char *text)
{
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(text, RULE_ANY, &r, &e) != 0)
        fail_msg("%s: %u:%u: %s", text, e.line, e.column, e.message);
    return r;
}

static struct rule_error bad(const char *text)
{
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(text, RULE_BOOL, &r, &e) != -EINVAL)
        fail_msg("%s: it compiles", text);
    assert_null(r);
    assert_true(e.line > 0 && e.column > 0 && e.message[0] != '\0');
    return e;
}

static void test_places(void **state)
{
    static const struct {
        const char *text;
        unsigned line, column;
        const char *suggestion;
    } rows[] = {
        {"orders >", 1, 9, ""},
        {"ordrs > 1", 1, 1, "orders"},
        {"orders > \"x\"", 1, 8, ""},
        {"orders", 1, 1, ""},
        {"count(5)", 1, 1, ""},
        {"orders > 1 &&\n spnt > 2", 2, 2, "spent"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule_error e = bad(rows[i].text);
        if (e.line != rows[i].line || e.column != rows[i].column || strcmp(e.suggestion, rows[i].suggestion) != 0)
            fail_msg("%s: %u:%u: %s (%s)", rows[i].text, e.line, e.column, e.message, e.suggestion);
    }
}

static void test_canonical(void **state)
{
    static const char *const rows[][2] = {
        {"orders>=3&&(days_since(last_seen)<30)", "orders >= 3 && days_since(last_seen) < 30"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rule *r = good(rows[i][0]);
        struct buf b;
        buf_init(&b, 1 << 20);
        assert_true(rule_canonical(r, &b));
        if (!str_is(buf_str(&b), rows[i][1]))
            fail_msg("%s: %.*s", rows[i][0], STR_ARG(buf_str(&b)));
        buf_deinit(&b);
        rule_free(r);
    }
}

static int setup(void **state)
{
    struct buf errors;

    (void)state;
    buf_init(&errors, 1 << 16);
    vocabulary = vocabulary_load(NULL, &errors);
    buf_deinit(&errors);
    return vocabulary ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    vocabulary_free(vocabulary);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_canonical),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
