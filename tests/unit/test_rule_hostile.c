/* Rules made to hurt: deep, huge, quadratic, with bytes that are no text. Each is refused with the reason, or compiled
 * within its bounds of time and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>

#include "common/clock.h"
#include "common/json_text.h"
#include "common/limits.h"
#include "profiler/rule.h"
#include "profiler/rule_check.h"

#define TAKES_MS 2000 /* for one rule, under sanitizers and beside other work */

static struct vocabulary *vocabulary;

static int compile(struct str text, struct rule **out, struct rule_error *e)
{
    struct rule_names names = {.traits = vocabulary};
    int64_t start = clock_monotonic();
    int result = rule_compile(text, RULE_BOOL, &names, out, e);

    assert_true(clock_monotonic() - start < TAKES_MS);
    return result;
}

/* `before`, `count` times `piece`, `after`. */
static struct buf repeated(const char *before, const char *piece, size_t count, const char *after)
{
    struct buf b;

    buf_init(&b, 4 * MIB);
    buf_add_text(&b, before);
    for (size_t i = 0; i < count; i++)
        buf_add_text(&b, piece);
    buf_add_text(&b, after);
    assert_false(b.failed);
    return b;
}

static void refused(struct str text, const char *reason)
{
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(text, &r, &e) != -EINVAL)
        fail_msg("%.*s… compiles", (int)(text.n < 60 ? text.n : 60), text.p);
    if (!strstr(e.message, reason))
        fail_msg("%.*s…: %u:%u: %s", (int)(text.n < 60 ? text.n : 60), text.p, e.line, e.column, e.message);
    assert_true(e.line > 0 && e.column > 0);
}

static void refused_repeated(const char *before, const char *piece, size_t count, const char *after, const char *reason)
{
    struct buf b = repeated(before, piece, count, after);

    refused(buf_str(&b), reason);
    buf_deinit(&b);
}

static void compiles(const char *before, const char *piece, size_t count, const char *after)
{
    struct buf b = repeated(before, piece, count, after);
    struct rule *r = NULL;
    struct rule_error e;

    if (compile(buf_str(&b), &r, &e) != 0)
        fail_msg("%s%s…: %u:%u: %s", before, piece, e.line, e.column, e.message);
    assert_true(r->arena.held <= LIMIT_RULE_ARENA);
    rule_free(r);
    buf_deinit(&b);
}

static void test_deep(void **state)
{
    (void)state;
    refused_repeated("", "(", 5000, "1", "too deep");
    refused_repeated("", "[", 5000, "1", "too deep");
    refused_repeated("", "{1:", 5000, "1", "too deep");
    refused_repeated("", "!", 5000, "true", "too deep");
    refused_repeated("", "-", 5000, "1", "too deep");
    refused_repeated("", "has(", 3000, "1", "too deep");
    refused_repeated("", "true ? true : ", 1000, "true", "too deep");
    refused_repeated("", "true ? ", 1000, "true", "does not fit here");
    refused_repeated("1", " + 1", 1000, " > 1", "too deep");
    refused_repeated("traits", ".x", 3000, " == 1", "too deep");
    refused_repeated("[1]", "[0]", 3000, " == 1", "too deep");
    refused_repeated("traits.a", ".trim()", 2000, " == 'a'", "too deep");
    refused_repeated("true", " == true", 1500, "", "too deep");
}

static void test_large(void **state)
{
    (void)state;
    refused_repeated("orders > 1", " || 1>0", 1000, "", "too large");
    refused_repeated("orders in [1", ",1", 5000, "]", "too large");
    refused_repeated("", " ", 20000, "orders > 1", "too long");
    refused_repeated("traits.city == '", "x", 17000, "'", "too long");
    refused_repeated("true", " || count('a')>1", 250, "", "look through events");
    refused_repeated("true", " || traits.a + traits.b == 'x'", 65, "", "of texts or lists");
    compiles("true", " || traits.a + traits.b == 'x'", 64, "");
    compiles("true", " || orders + pages == 3", 300, "");
    compiles("orders > 1", " || true", 1900, "");
    compiles("orders in [1", ",1", 1900, "]");
    compiles("traits.city == '", "x", 16000, "'");
    compiles("true", " || count('a', 3, e.b == 'x') > 1", 190, "");
    compiles("", "\n", 16000, "orders > 1");
    compiles("", "((((((((((((((((((((((((((((((((((((((((((((((((((", 1,
             "1 > 0))))))))))))))))))))))))))))))))))))))))))))))))))");
}

/* Work that grows with the square of the text, if it did. */
static void test_quadratic(void **state)
{
    (void)state;
    refused_repeated("", "traits.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa == 1 || ", 300, "false &", "& is no operator");
    compiles("", "!(traits.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa == 1) || ", 300, "false");
    compiles("", "has(traits.b) && !(traits.b == 1) && ", 190, "true");
    compiles("!(!(!(!(!(!(!(!(!(!(", "has(traits.b) && !(traits.b == 1) && ", 150, "true))))))))))");
    compiles("orders > 1", " && (orders > 1)", 480, "");
    refused_repeated("", "count('a', 3, ", 20,
                     "true) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1) > 1)"
                     " > 1) > 1) > 1) > 1) > 1",
                     "cannot stand in a condition");
}

static void test_bytes(void **state)
{
    static const struct {
        struct str text;
        const char *reason;
    } rows[] = {
        {{"orders > 1\0", 11}, "NUL"},
        {{"\0", 1}, "NUL"},
        {{"traits.city == 'a\0b'", 20}, "NUL"},
        {{"// \0\norders > 1", 15}, "NUL"},
        {{"orders > 1 // \xff", 15}, "UTF-8"},
        {{"traits.city == '\xc3'", 18}, "UTF-8"},
        {{"traits.city == '\xed\xa0\x80'", 20}, "UTF-8"},
        {{"traits.city == '\xc0\xaf'", 19}, "UTF-8"},
        {{"traits.city == '\xf5\x80\x80\x80'", 21}, "UTF-8"},
        {{"traits.city == \"\\ud800\"", 23}, "escape"},
        {{"traits.city == \"\\U00110000\"", 27}, "escape"},
        {{"traits.city == \"\\u12\"", 21}, "escape"},
        {{"traits.city == \"\\400\"", 21}, "escape"},
        {{"traits.city == \"\\", 17}, "no end"},
        {{"traits.city == '''\n''", 21}, "no end"},
        {{"\xe2\x98\x83 > 1", 7}, "no place"},
    };
    struct rule *r;
    struct rule_error e;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        refused(rows[i].text, rows[i].reason);
    assert_int_equal(compile(STR_LIT("traits.city == \"\\u0000\\377\\U0001F600\""), &r, &e), 0);
    assert_int_equal(r->root->kids[1]->text.n, 7);
    assert_memory_equal(r->root->kids[1]->text.p, "\0\xc3\xbf\xf0\x9f\x98\x80", 7);
    rule_free(r);
}

/* A name of any length and kind stands in a message whole or cut between characters, and never beyond its bounds. */
static void test_messages(void **state)
{
    static const char *const rows[][2] = {{"orders == traits.city + '", "' - 3"},
                                          {"orders + '", "' > 3"},
                                          {"in_audience('", "') + 1"},
                                          {"traits['", "'].lower(1)"},
                                          {"nam", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t count = 0; count < 80; count++) {
            struct buf b = repeated(rows[i][0], i == 4 ? "m" : "\xe2\x98\x83", count, rows[i][1]);
            struct rule *r = NULL;
            struct rule_error e;
            size_t bad, step;
            assert_int_equal(compile(buf_str(&b), &r, &e), -EINVAL);
            for (const char *p = e.message; *p; p += step)
                assert_true((step = json_utf8_length(p, strlen(p), &bad)) > 0);
            buf_deinit(&b);
        }
}

/* Memory that runs out anywhere is said, and leaves nothing behind. */
static void test_without_memory(void **state)
{
    struct rule_names names = {.traits = vocabulary};
    struct buf b = repeated("!(traits.city == 'a\\u00e9') && exported('x')",
                            " && count('Product View', 3, e.color in ['red', 'green']) > 1", 60, "");
    struct rule *r;
    struct rule_error e;
    size_t refusals = 0;
    int result = -ENOMEM;

    (void)state;
    for (size_t bytes = 0; result != 0; bytes += 512) {
        assert_true(bytes < 1 * MIB);
        r = NULL;
        result = rule_compile_within(bytes, buf_str(&b), RULE_BOOL, &names, &r, &e);
        assert_true(result == 0 ? r != NULL : result == -ENOMEM && !r);
        refusals += result != 0;
    }
    assert_true(refusals > 10);
    rule_free(r);
    buf_deinit(&b);
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
        cmocka_unit_test(test_deep),  cmocka_unit_test(test_large),    cmocka_unit_test(test_quadratic),
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_messages), cmocka_unit_test(test_without_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
