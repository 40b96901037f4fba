/* Reading and writing JSON: a table of documents, the tree, bounds, and what is written back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/json.h"
#include "common/limits.h"

/* A parser and one text with exactly the padding that is promised. */
struct reading {
    struct json_parser *parser;
    char *bytes;
    const struct json *root;
    struct err e;
    int result;
};

static struct reading read_text(struct str text)
{
    struct reading r = {.parser = json_parser_new(), .bytes = malloc(text.n + JSON_PADDING)};

    assert_non_null(r.parser);
    assert_non_null(r.bytes);
    if (text.n)
        memcpy(r.bytes, text.p, text.n);
    memset(r.bytes + text.n, 'x', JSON_PADDING); /* what stands behind must not matter */
    r.result = json_parse(r.parser, r.bytes, text.n, &r.root, &r.e);
    return r;
}

static void free_reading(struct reading *r)
{
    json_parser_free(r->parser);
    free(r->bytes);
}

static int result_of(struct str text)
{
    struct reading r = read_text(text);

    if (r.result == JSON_INVALID)
        assert_non_null(strstr(r.e.text, " at byte "));
    free_reading(&r);
    return r.result;
}

#define OK(s)                                                                                                          \
    {                                                                                                                  \
        STR_LIT(s), JSON_OK                                                                                            \
    }
#define BAD(s)                                                                                                         \
    {                                                                                                                  \
        STR_LIT(s), JSON_INVALID                                                                                       \
    }

static const struct {
    struct str text;
    int result;
} table[] = {
    /* scalars, alone and with white space */
    OK("null"),
    OK("true"),
    OK("false"),
    OK("0"),
    OK("\"\""),
    OK("[]"),
    OK("{}"),
    OK(" null"),
    OK("null "),
    OK("\t\r\n null \t\r\n"),
    OK(" [ ] "),
    OK("{ }"),
    OK("\"a\"  "),
    OK("  1  "),
    BAD(""),
    BAD(" "),
    BAD("\n\t\r "),
    BAD("nul"),
    BAD("nulll"),
    BAD("null null"),
    BAD("Null"),
    BAD("NULL"),
    BAD("tru"),
    BAD("truefalse"),
    BAD("True"),
    BAD("undefined"),
    BAD("None"),
    BAD("a"),
    BAD("'a'"),
    BAD("null\0"),
    BAD("\0null"),
    BAD("\0"),
    BAD("\f1"),
    BAD("1\v"),
    BAD("\xc2\xa0"
        "1"),
    BAD("\xef\xbb\xbf{}"),
    BAD("/**/1"),
    BAD("1//"),
    BAD("#1"),
    BAD("\x1a"),
    BAD("[\x0c]"),
    BAD("{\"a\"\x1a"
        "1}"),
    /* numbers */
    OK("-0"),
    OK("-1"),
    OK("10"),
    OK("1.5"),
    OK("-1.50"),
    OK("1e5"),
    OK("1E5"),
    OK("1e+5"),
    OK("1e-5"),
    OK("1.5e-07"),
    OK("1e400"),
    OK("-1e-400"),
    OK("18446744073709551616"),
    OK("-9223372036854775809"),
    OK("123456789012345678901234567890123456789012345678901234567890"),
    OK("0.0000000000000000000000000000000000001"),
    OK("59.970000000000006"),
    OK("0e0"),
    BAD("01"),
    BAD("-01"),
    BAD("00"),
    BAD("1."),
    BAD("1.e5"),
    BAD(".5"),
    BAD("-"),
    BAD("-.5"),
    BAD("+1"),
    BAD("--1"),
    BAD("1e"),
    BAD("1e+"),
    BAD("1e+-5"),
    BAD("1e5.5"),
    BAD("1.2.3"),
    BAD("0x10"),
    BAD("1_000"),
    BAD("1,000"),
    BAD("1a"),
    BAD("1\"a\""),
    BAD("NaN"),
    BAD("-NaN"),
    BAD("Infinity"),
    BAD("-Infinity"),
    BAD("1 2"),
    BAD("1-"),
    BAD("[1-2]"),
    BAD("\xef\xbc\x91"),
    BAD("1\0"),
    /* strings */
    OK("\"a\\\"b\""),
    OK("\"\\\\\""),
    OK("\"\\/\\b\\f\\n\\r\\t\""),
    OK("\"\\u0000\""),
    OK("\"\\u00e9\\u4E2d\""),
    OK("\"\\ud83d\\ude00\""),
    OK("\"\\ud83d\""),
    OK("\"\\ude00\""),
    OK("\"\xf0\x9f\x98\x80\""),
    OK("\"\x7f\""),
    OK("\"\xe2\x80\xa8\""),
    OK("\"\xef\xbf\xbf\""),
    OK("\"\xef\xbb\xbf\""),
    OK("\"{}[],:\""),
    OK("\"'//\""),
    BAD("\""),
    BAD("\"a"),
    BAD("a\""),
    BAD("\"\\\""),
    BAD("\"a\\"),
    BAD("\"\\x\""),
    BAD("\"\\u\""),
    BAD("\"\\u12\""),
    BAD("\"\\u12g4\""),
    BAD("\"\\u 123\""),
    BAD("\"\\u+123\""),
    BAD("\"\\U0041\""),
    BAD("\"\\a\""),
    BAD("\"\\0\""),
    BAD("\"\\\n\""),
    BAD("\"\n\""),
    BAD("\"\t\""),
    BAD("\"\0\""),
    BAD("\"\x1f\""),
    BAD("\"\xff\""),
    BAD("\"\xc0\x80\""),
    BAD("\"\xc1\xbf\""),
    BAD("\"\xe0\x80\x80\""),
    BAD("\"\xed\xa0\x80\""),
    BAD("\"\xf0\x80\x80\x80\""),
    BAD("\"\xf4\x90\x80\x80\""),
    BAD("\"\xf5\x80\x80\x80\""),
    BAD("\"\xe4\xb8\""),
    BAD("\"\x80\""),
    BAD("\"a\" \"b\""),
    BAD("\"a\"\"b\""),
    BAD("\"a\"b"),
    BAD("\"a\"1"),
    BAD("\xff"),
    BAD("[1]\xff"),
    BAD("\"\\ud83d\\u\""),
    BAD("\"\\ud83d\\x\""),
    BAD("\"\\\xc3\xa9\""),
    /* arrays and objects */
    OK("[1,2]"),
    OK("[[],[[]],{}]"),
    OK("[ 1 , 2 ]"),
    OK("{\"a\":1}"),
    OK("{\"a\":{\"a\":{}}}"),
    OK("{\"\":\"\"}"),
    OK("{\"a\":1,\"a\":2}"),
    OK("{ \"a\" : [ ] , \"b\" : null }"),
    OK("[null,true,false,0,\"\"]"),
    BAD("["),
    BAD("]"),
    BAD("{"),
    BAD("}"),
    BAD("[1"),
    BAD("[1,"),
    BAD("[1,]"),
    BAD("[,1]"),
    BAD("[,]"),
    BAD("[1,,2]"),
    BAD("[1 2]"),
    BAD("[\"a\" \"b\"]"),
    BAD("[1}"),
    BAD("{\"a\":1]"),
    BAD("[1]]"),
    BAD("[]]"),
    BAD("{}}"),
    BAD("{}{}"),
    BAD("[][]"),
    BAD("{\"a\"}"),
    BAD("{\"a\":}"),
    BAD("{\"a\":1,}"),
    BAD("{,}"),
    BAD("{\"a\" 1}"),
    BAD("{\"a\"::1}"),
    BAD("{\"a\":1 \"b\":2}"),
    BAD("{\"a\":1,,\"b\":2}"),
    BAD("{a:1}"),
    BAD("{1:2}"),
    BAD("{null:1}"),
    BAD("{[]:1}"),
    BAD("{'a':1}"),
    BAD("{:1}"),
    BAD("{\"a\",\"b\"}"),
    BAD("[\"a\":1]"),
    BAD(":"),
    BAD(","),
    BAD("1,2"),
    BAD("\"a\":1"),
    BAD("{\"a\":1"),
    BAD("{\"a\":"),
    BAD("{\"a\""),
    BAD("{\"a"),
    BAD("[[[]]"),
    BAD("{\"a\":tru}"),
    BAD("[nul]"),
    BAD("[1,2"),
    BAD("{\"a\":01}"),
    BAD("{\"\\x\":1}"),
};

static void documents(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int r = result_of(table[i].text);
        if (r != table[i].result)
            print_error("%.*s\n", STR_ARG(table[i].text));
        assert_int_equal(r, table[i].result);
    }
}

/* The same inside of containers, pushed through every place of a block of 64 bytes. */
static void documents_in_every_place(void **state)
{
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct str t = table[i].text;
        /* Inside of an array nothing and a list of values are something else. */
        if (t.n == strspn(t.p, " \t\r\n") || str_is(t, "1,2") || str_is(t, "1,000"))
            continue;
        for (size_t shift = 0; shift < 70; shift++) {
            memset(text, ' ', shift);
            text[shift] = '[';
            memcpy(text + shift + 1, t.p, t.n);
            text[shift + 1 + t.n] = ']';
            int r = result_of((struct str){text, shift + t.n + 2});
            if (r != table[i].result)
                print_error("%zu %.*s\n", shift, STR_ARG(t));
            assert_int_equal(r, table[i].result);
        }
    }
}

static void the_tree(void **state)
{
    struct reading r =
        read_text(STR_LIT(" {\"a\" : [1, {\"b\":null} ,[] ] , \"k\\u00e9\":\"x\\ny\",\"e\":{}, \"t\":true} "));
    const struct json *a, *v;

    (void)state;
    assert_int_equal(r.result, JSON_OK);
    assert_int_equal(r.root->type, JSON_OBJECT);
    assert_int_equal(r.root->count, 4);
    assert_int_equal(r.root->height, 3);
    assert_false(str_has(r.root->key));
    assert_null(r.root->next);
    assert_int_equal(r.root->raw.p[0], '{');
    assert_int_equal(r.root->raw.p[r.root->raw.n - 1], '}');
    a = r.root->child;
    assert_true(str_is(a->key, "a"));
    assert_int_equal(a->type, JSON_ARRAY);
    assert_int_equal(a->count, 3);
    assert_int_equal(a->height, 2);
    assert_true(str_is(a->raw, "[1, {\"b\":null} ,[] ]"));
    assert_int_equal(a->child->type, JSON_NUMBER);
    assert_true(str_is(a->child->text, "1"));
    assert_int_equal(a->child->height, 0);
    assert_true(str_is(a->child->next->raw, "{\"b\":null}"));
    assert_int_equal(a->child->next->child->type, JSON_NULL);
    v = a->child->next->next;
    assert_true(str_is(v->raw, "[]"));
    assert_int_equal(v->height, 1);
    assert_int_equal(v->count, 0);
    assert_null(v->child);
    v = a->next;
    assert_true(str_is(v->key, "k\xc3\xa9"));
    assert_true(str_is(v->text, "x\ny"));
    assert_true(str_is(v->raw, "\"x\\ny\""));
    assert_int_equal(json_get(r.root, "e")->height, 1);
    assert_int_equal(json_get(r.root, "t")->type, JSON_TRUE);
    assert_true(str_is(json_get(r.root, "t")->raw, "true"));
    assert_null(json_get(r.root, "none"));
    assert_null(json_get(a, "a"));
    assert_null(json_get(NULL, "a"));
    free_reading(&r);
}

static void repeated_members(void **state)
{
    struct reading r = read_text(STR_LIT("{\"a\":1,\"\\u0061\":2,\"b\":3,\"a\\u0000\":4}"));

    (void)state;
    assert_int_equal(r.result, JSON_OK);
    assert_int_equal(r.root->count, 4);
    assert_true(str_is(json_get(r.root, "a")->text, "2"));
    assert_true(str_eq(r.root->child->next->next->next->key, STR_LIT("a\0")));
    free_reading(&r);
}

static void check_string(struct str text, struct str want, struct str raw)
{
    struct reading r = read_text(text);

    assert_int_equal(r.result, JSON_OK);
    assert_true(str_eq(r.root->text, want));
    assert_true(str_eq(r.root->raw, raw));
    free_reading(&r);
}

static void strings(void **state)
{
    (void)state;
#define SAME_RAW(text, want) check_string(STR_LIT(text), STR_LIT(want), STR_LIT(text))
    SAME_RAW("\"\\u0000a\\u0000\"", "\0a\0");
    SAME_RAW("\"\xe2\x80\xa8\\u2028\"", "\xe2\x80\xa8\xe2\x80\xa8");
    SAME_RAW("\"\xf0\x9f\x98\x80\\uD83D\\uDE00\\ud83d\\ude00\"", "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80");
    SAME_RAW("\"\\udbff\\udfff\\ud800\\udc00\"", "\xf4\x8f\xbf\xbf\xf0\x90\x80\x80");
    SAME_RAW("\"\\u007f\\u0080\\u07ff\\u0800\\uffff\"", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf");
    SAME_RAW("\"\xe4\xb8\xad\xe6\x96\x87\"", "\xe4\xb8\xad\xe6\x96\x87");
    SAME_RAW("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t");
    SAME_RAW("\"\\\\u0041\"", "\\u0041");
#undef SAME_RAW
}

#define FFFD "\xef\xbf\xbd"

/* What is kept of a cut emoji must be readable by everybody, in the tree and in the source. */
static void lone_surrogates(void **state)
{
    static const struct {
        struct str text, want, raw;
    } cases[] = {
        {STR_LIT("\"\\ud83d\""), STR_LIT(FFFD), STR_LIT("\"\\ufffd\"")},
        {STR_LIT("\"\\uDE00\""), STR_LIT(FFFD), STR_LIT("\"\\ufffd\"")},
        {STR_LIT("\"\\ud83dx\""), STR_LIT(FFFD "x"), STR_LIT("\"\\ufffdx\"")},
        {STR_LIT("\"\\ud83d\\n\""), STR_LIT(FFFD "\n"), STR_LIT("\"\\ufffd\\n\"")},
        {STR_LIT("\"\\ud83d\\u0041\""), STR_LIT(FFFD "A"), STR_LIT("\"\\ufffd\\u0041\"")},
        {STR_LIT("\"\\ude00\\ud83d\""), STR_LIT(FFFD FFFD), STR_LIT("\"\\ufffd\\ufffd\"")},
        {STR_LIT("\"\\ud83d\\ud83d\\ude00\""), STR_LIT(FFFD "\xf0\x9f\x98\x80"), STR_LIT("\"\\ufffd\\ud83d\\ude00\"")},
        {STR_LIT("\"\\ud83d\\ude00\\ude00\""), STR_LIT("\xf0\x9f\x98\x80" FFFD), STR_LIT("\"\\ud83d\\ude00\\ufffd\"")},
        {STR_LIT("\"\\ud83d\\\\ude00\""), STR_LIT(FFFD "\\ude00"), STR_LIT("\"\\ufffd\\\\ude00\"")},
        {STR_LIT("\"\\\\ud83d\""), STR_LIT("\\ud83d"), STR_LIT("\"\\\\ud83d\"")},
    };
    struct reading r;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_string(cases[i].text, cases[i].want, cases[i].raw);
    r = read_text(STR_LIT("{\"\\ud83d\":[\"\\ud83d\"]}"));
    assert_int_equal(r.result, JSON_OK);
    assert_true(str_is(r.root->child->key, FFFD));
    assert_true(str_is(r.root->raw, "{\"\\ufffd\":[\"\\ufffd\"]}"));
    free_reading(&r);
}

static void numbers_keep_their_text(void **state)
{
    static const char *const texts[] = {"1e400", "-0", "123456789012345678901234567890", "59.970000000000006",
                                        "1.50E+03"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct reading r = read_text(str_of(texts[i]));
        assert_int_equal(r.result, JSON_OK);
        assert_int_equal(r.root->type, JSON_NUMBER);
        assert_true(str_is(r.root->text, texts[i]));
        assert_true(str_is(r.root->raw, texts[i]));
        free_reading(&r);
    }
}

static int nested(size_t depth, const char *open, const char *middle, const char *close)
{
    struct buf b;
    int r;

    buf_init(&b, 64 * MIB);
    for (size_t i = 0; i < depth; i++)
        buf_add_text(&b, open);
    buf_add_text(&b, middle);
    for (size_t i = 0; i < depth; i++)
        buf_add_text(&b, close);
    r = result_of(buf_str(&b));
    buf_deinit(&b);
    return r;
}

static void depth(void **state)
{
    (void)state;
    assert_int_equal(nested(LIMIT_JSON_DEPTH, "[", "", "]"), JSON_OK);
    assert_int_equal(nested(LIMIT_JSON_DEPTH, "[", "1", "]"), JSON_OK);
    assert_int_equal(nested(LIMIT_JSON_DEPTH + 1, "[", "", "]"), JSON_INVALID);
    assert_int_equal(nested(LIMIT_JSON_DEPTH, "{\"a\":", "1", "}"), JSON_OK);
    assert_int_equal(nested(LIMIT_JSON_DEPTH + 1, "{\"a\":", "1", "}"), JSON_INVALID);
    assert_int_equal(nested(100000, "[", "", ""), JSON_INVALID);
    assert_int_equal(nested(1000000, "[", "", "]"), JSON_INVALID);
    assert_int_equal(nested(1000000, "{\"a\":", "", ""), JSON_INVALID);
}

/* The last value that is taken, and one more. */
static void too_many_values(void **state)
{
    size_t n = 1 + 2 * (size_t)(LIMIT_JSON_NODES - 1);
    char *text = malloc(n + 2);

    (void)state;
    text[0] = '[';
    for (size_t i = 1; i < n; i += 2)
        memcpy(text + i, "0,", 2);
    text[n - 1] = ']';
    assert_int_equal(result_of((struct str){text, n}), JSON_OK);
    memcpy(text + n - 1, ",0]", 3);
    struct reading r = read_text((struct str){text, n + 2});
    assert_int_equal(r.result, JSON_TOO_LARGE);
    assert_true(r.e.text[0] != '\0');
    free_reading(&r);
    free(text);
}

/* One parser for many texts, large and small, good and bad. */
static void one_parser(void **state)
{
    struct json_parser *p = json_parser_new();
    size_t large = 3 * MIB;
    char *bytes = malloc(large + JSON_PADDING);
    const struct json *root;

    (void)state;
    for (int i = 0; i < 20; i++) {
        static const char small[] = "{\"a\":[\"\\n\",\"\\ud83d\"]} ";
        size_t n = i % 3 == 2 ? large : sizeof small - 1;
        for (size_t at = 0; at < n; at += sizeof small - 1)
            memcpy(bytes + at, small, at + sizeof small - 1 <= n ? sizeof small - 1 : n - at);
        if (n > large - 1) {
            bytes[0] = '"';
            for (size_t at = 1; at < n - 1; at += 2)
                memcpy(bytes + at, "\\n", 2);
            bytes[n - 1] = '"';
            bytes[n - 2] = 'n';
            bytes[n - 3] = 'n';
        }
        int want = i % 5 == 4 ? JSON_INVALID : JSON_OK;
        if (want == JSON_INVALID)
            bytes[n / 2] = '\x01';
        assert_int_equal(json_parse(p, bytes, n, &root, NULL), want);
        if (i % 7 == 0)
            json_parser_trim(p);
    }
    free(bytes);
    json_parser_free(p);
    json_parser_free(NULL);
}

static void faults_have_places(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"[1,,2]", "a value is missing at byte 3"},
        {"{\"a\":1,}", "a member's name is missing at byte 7"},
        {"[1 2]", "a comma or a closing bracket is missing at byte 3"},
        {"{\"a\" 1}", "a colon is missing at byte 5"},
        {"[01]", "bad number at byte 1"},
        {"[\"ab\\x\"]", "bad escape in a string at byte 4"},
        {"[\"a\nb\"]", "control character in a string at byte 3"},
        {"[\"a\\\\\", \"bcd]", "string without an end at byte 8"},
        {"[\"\xff\"]", "bad UTF-8 at byte 2"},
        {"{} x", "something follows the value at byte 3"},
        {"[", "a value is missing at byte 1"},
        {"", "empty at byte 0"},
        {"nul", "no JSON value at byte 0"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct reading r = read_text(str_of(cases[i].text));
        assert_int_equal(r.result, JSON_INVALID);
        assert_null(r.root);
        assert_string_equal(r.e.text, cases[i].words);
        free_reading(&r);
    }
}

static void writing(void **state)
{
    static const struct {
        struct str s, want;
    } cases[] = {
        {STR_LIT(""), STR_LIT("\"\"")},
        {STR_LIT("a\"b\\c/d"), STR_LIT("\"a\\\"b\\\\c/d\"")},
        {STR_LIT("\0\x01\b\t\n\v\f\r\x1f\x7f"), STR_LIT("\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f\x7f\"")},
        {STR_LIT("\xe4\xb8\xad\xf0\x9f\x98\x80\xe2\x80\xa8"), STR_LIT("\"\xe4\xb8\xad\xf0\x9f\x98\x80\xe2\x80\xa8\"")},
        {STR_LIT("a\xff"
                 "b"),
         STR_LIT("\"a" FFFD "b\"")},
        {STR_LIT("\xc0\x80"), STR_LIT("\"" FFFD FFFD "\"")},
        {STR_LIT("\xed\xa0\x80"), STR_LIT("\"" FFFD FFFD FFFD "\"")},
        {STR_LIT("\xf0\x9f\x98"), STR_LIT("\"" FFFD "\"")},
        {STR_LIT("\xf0\x9f\x98x"), STR_LIT("\"" FFFD "x\"")},
        {STR_LIT("\xe4\xb8\xe4\xb8\xad"), STR_LIT("\"" FFFD "\xe4\xb8\xad\"")},
        {STR_LIT("\xf4\x90\x80\x80"), STR_LIT("\"" FFFD FFFD FFFD FFFD "\"")},
        {STR_LIT("\xf4\x8f\xbf\xbf"), STR_LIT("\"\xf4\x8f\xbf\xbf\"")},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_reset(&b);
        json_write_str(&b, cases[i].s);
        assert_true(str_eq(buf_str(&b), cases[i].want));
    }
    buf_reset(&b);
    buf_add_char(&b, '{');
    json_write_member(&b, "none", STR_NONE);
    json_write_key(&b, "a");
    buf_add_text(&b, "{");
    json_write_member(&b, "b", STR_LIT(""));
    json_write_member(&b, "c", STR_LIT("x"));
    buf_add_text(&b, "}");
    json_write_key(&b, "d");
    buf_add_text(&b, "1}");
    assert_true(str_is(buf_str(&b), "{\"a\":{\"b\":\"\",\"c\":\"x\"},\"d\":1}"));
    buf_deinit(&b);
}

/* Any bytes, written and read: the same, but for what was no UTF-8. */
static void written_is_read(void **state)
{
    static const char *const pieces[] = {"a", "\"", "\\", "\n", "\x1f", "\xc3\xa9", "\xe2\x80\xa8", "\xf0\x9f\x98\x80",
                                         "/"};
    unsigned seed = 5;
    struct buf text, b;

    (void)state;
    buf_init(&text, 1 << 20);
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 3000; i++) {
        buf_reset(&text);
        buf_reset(&b);
        bool clean = i % 2;
        for (int j = rand_r(&seed) % 20; j > 0; j--) {
            if (!clean && rand_r(&seed) % 3 == 0)
                buf_add_char(&text, (char)(rand_r(&seed) >> 5));
            else if (rand_r(&seed) % 10 == 0)
                buf_add_char(&text, '\0');
            else
                buf_add_text(&text, pieces[(size_t)rand_r(&seed) % (sizeof pieces / sizeof *pieces)]);
        }
        json_write_str(&b, buf_str(&text));
        struct reading r = read_text(buf_str(&b));
        assert_int_equal(r.result, JSON_OK);
        if (clean)
            assert_true(r.root->text.n == text.n && memcmp(r.root->text.p, text.n ? text.p : "", text.n) == 0);
        free_reading(&r);
    }
    buf_deinit(&text);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents),
        cmocka_unit_test(documents_in_every_place),
        cmocka_unit_test(the_tree),
        cmocka_unit_test(repeated_members),
        cmocka_unit_test(strings),
        cmocka_unit_test(lone_surrogates),
        cmocka_unit_test(numbers_keep_their_text),
        cmocka_unit_test(depth),
        cmocka_unit_test(too_many_values),
        cmocka_unit_test(one_parser),
        cmocka_unit_test(faults_have_places),
        cmocka_unit_test(writing),
        cmocka_unit_test(written_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
