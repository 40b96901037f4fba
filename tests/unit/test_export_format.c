/* What an export is asked to be, its rows, and what deltas remember. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/limits.h"
#include "profiler/export_format.h"
#include "profiler/export_sent.h"

static struct arena arena;
static struct json_parser *parser;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 16 * MIB);
    parser = json_parser_new();
    return parser ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    arena_deinit(&arena);
    return 0;
}

static struct export_request *asked(const char *text, struct err *e)
{
    static const struct rule_names names;
    struct export_request *r = NULL;
    const char *code = NULL;
    size_t n = strlen(text);
    char *body = calloc(1, n + JSON_PADDING);

    memcpy(body, text, n);
    *e = (struct err){0};
    int rc = export_request_read(body, n, &names, "GB", &r, &code, e);
    free(body);
    if (rc != 0) {
        assert_int_equal(rc, -EINVAL);
        assert_string_equal(code, "parameter_invalid");
        assert_true(e->text[0] != '\0');
    }
    return r;
}

static struct export_request *good(const char *text)
{
    struct err e;
    struct export_request *r = asked(text, &e);

    if (!r)
        fail_msg("%s: %s", text, e.text);
    return r;
}

/* --- requests -------------------------------------------------------------------------------------------------- */

static void defaults_are_the_careful_ones(void **state)
{
    struct export_request *r = good("{\"format\":\"google\"}");

    (void)state;
    assert_true(str_is(r->purpose, "marketing"));
    assert_int_equal(r->channel, CHANNEL_ADS);
    assert_int_equal(r->gmail, GMAIL_DOTS_TAG);
    assert_false(r->delta || r->personal || str_has(r->campaign));
    export_request_free(r);
    r = good("{\"format\":\"csv\"}");
    assert_int_equal(r->column_count, 1);
    assert_int_equal(r->columns[0].kind, COLUMN_ID);
    export_request_free(r);
    export_request_free(NULL);
}

static void personal_columns_are_known(void **state)
{
    static const struct {
        const char *columns;
        bool personal;
    } v[] = {{"[\"id\",\"facts.spent\"]", false},
             {"[\"email\"]", true},
             {"[\"phone\"]", true},
             {"[\"consent.sms\"]", false}};

    (void)state;
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        char text[200];

        snprintf(text, sizeof text, "{\"format\":\"csv\",\"columns\":%s}", v[i].columns);
        struct export_request *r = good(text);
        assert_int_equal(r->personal, v[i].personal);
        export_request_free(r);
    }
}

static void mistakes_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "[]",
                                      "{",
                                      "{}",
                                      "{\"format\":7}",
                                      "{\"format\":\"csv\",\"hold_out\":-0.1,\"campaign\":\"c\"}",
                                      "{\"format\":\"csv\",\"campaign\":\"\"}",
                                      "{\"format\":\"csv\",\"delta\":1}",
                                      "{\"format\":\"csv\",\"columns\":[1]}",
                                      "{\"format\":\"csv\",\"columns\":[\"facts.\"]}",
                                      "{\"format\":\"csv\",\"purpose\":\"\"}",
                                      "{\"format\":\"meta\",\"gmail_mode\":\"all\"}",
                                      "{\"format\":\"csv\",\"channel\":\"\"}",
                                      "{\"format\":\"csv\",\"cap\":{\"times\":0}}",
                                      "{\"format\":\"csv\",\"suppress\":\"a\"}",
                                      "{\"format\":\"csv\",\"destination\":\"a/b\"}"};
    struct err e;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(asked(bad[i], &e));
}

static void lists_hold_any_form(void **state)
{
    struct export_request *r = good("{\"format\":\"csv\",\"suppress_list\":[\"user:7\",\" A@X.com \",\"020 7946 0958\","
                                    "\"62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f\"]}");

    (void)state;
    assert_true(export_request_lists(r, STR_LIT("user:7")));
    assert_true(export_request_lists(r, STR_LIT("a@x.com")));
    assert_true(export_request_lists(r, STR_LIT("+442079460958")));
    assert_true(export_request_lists(r, STR_LIT("john_smith@gmail.com")));
    assert_false(export_request_lists(r, STR_LIT("user:8")));
    assert_false(export_request_lists(r, STR_NONE));
    export_request_free(r);
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

static void rows_are(const char *request, const char *const *cells, size_t n, const char *want)
{
    struct export_request *r = good(request);
    struct str v[8];
    struct buf line, out;

    for (size_t i = 0; i < n; i++)
        v[i] = str_of(cells[i]);
    buf_init(&line, 64 * KIB);
    buf_init(&out, 64 * KIB);
    assert_int_equal(r->column_count, n);
    assert_true(export_head(r, &out));
    assert_true(r->kind == EXPORT_CSV ? export_line_csv(r, v, parser, &arena, &line) : export_line_ndjson(r, v, &line));
    assert_true(export_row(r, buf_str(&line), false, "k1", &out));
    if (r->delta)
        assert_true(export_row(r, STR_NONE, true, "k2", &out));
    if (!str_is(buf_str(&out), want))
        fail_msg("got %.*s, expected %s", STR_ARG(buf_str(&out)), want);
    buf_deinit(&line);
    buf_deinit(&out);
    export_request_free(r);
}

#define THREE "\"columns\":[\"id\",\"traits.nickname\",\"facts.spent\"]}"

static void csv_is_quoted_and_no_formula(void **state)
{
    static const char *const texts[] = {"=1+1", "+1", "-1", "@x", "\\tx", "\\rx"};
    const char *plain[] = {"\"user:1\"", "\"a \\\"b\\\", c\\nd\"", "-12.5"};
    const char *null[] = {"\"user:1\"", NULL, "null"};

    (void)state;
    rows_are("{\"format\":\"csv\"," THREE, plain, 3,
             "id,traits.nickname,facts.spent\r\nuser:1,\"a \"\"b\"\", c\nd\",-12.5\r\n");
    rows_are("{\"format\":\"csv\"," THREE, null, 3, "id,traits.nickname,facts.spent\r\nuser:1,,\r\n");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char json[32], want[128];
        const char *cells[] = {"\"user:1\"", json, "{\"a\":1}"};
        const char *raw = texts[i][0] != '\\' ? texts[i] : texts[i][1] == 't' ? "\tx" : "\rx";

        snprintf(json, sizeof json, "\"%s\"", texts[i]);
        snprintf(want, sizeof want, "id,traits.nickname,facts.spent\r\nuser:1,%s%s%s,\"{\"\"a\"\":1}\"\r\n",
                 strcmp(raw, "+1") == 0 ? "" : "\"'", raw, strcmp(raw, "+1") == 0 ? "" : "\"");
        rows_are("{\"format\":\"csv\"," THREE, cells, 3, want);
    }
}

static void deltas_say_what_to_do(void **state)
{
    const char *cells[] = {"\"user:1\"", "\"x\"", "5"};

    (void)state;
    rows_are("{\"format\":\"csv\",\"delta\":true," THREE, cells, 3,
             "action,key,id,traits.nickname,facts.spent\r\nadd,k1,user:1,x,5\r\nremove,k2,,,\r\n");
    rows_are("{\"format\":\"ndjson\",\"delta\":true," THREE, cells, 3,
             "{\"action\":\"add\",\"key\":\"k1\",\"id\":\"user:1\",\"traits.nickname\":\"x\",\"facts.spent\":5}\n"
             "{\"action\":\"remove\",\"key\":\"k2\"}\n");
}

static void least(const char *request, const char *line, const char *want)
{
    struct export_request *r = good(request);
    struct buf b;

    buf_init(&b, 4 * KIB);
    assert_true(export_line_least(r, str_of(line), &b));
    if (!str_is(buf_str(&b), want))
        fail_msg("got %.*s, expected %s", STR_ARG(buf_str(&b)), want);
    buf_deinit(&b);
    export_request_free(r);
}

static void only_what_removes_is_kept(void **state)
{
    (void)state;
    least("{\"format\":\"google\"}", "e,,,p,,f,l,GB,Z", "e,,,p,,,,,");
    least("{\"format\":\"google\"}", ",,,,,f,l,GB,Z", ",,,,,f,l,GB,Z");
    least("{\"format\":\"meta\"}", ",,,,,m,f,l,z,c,s,g,y,n", ",,,,,m,,,,,,,,");
    least("{\"format\":\"meta\",\"value\":true}", "e,,,,,,f,l,z,c,s,g,y,n,5", "e,,,,,,,,,,,,,,");
}

/* --- what was told --------------------------------------------------------------------------------------------- */

struct gone {
    size_t n;
    unsigned reasons[8];
    char least[8][16];
};

static int note_gone(void *arg, const struct export_person_hash *who, struct str kept, unsigned reason)
{
    struct gone *g = arg;

    (void)who;
    g->reasons[g->n] = reason;
    snprintf(g->least[g->n++], sizeof g->least[0], "%.*s", STR_ARG(kept));
    return 0;
}

static struct export_person_hash person(const char *id)
{
    static const unsigned char key[EXPORT_KEY_BYTES] = {7};

    return export_person_hash(key, str_of(id));
}

static void write_sent(const char *path, size_t cut)
{
    static const char *const v[][3] = {{"a", "line a", "least a"},
                                       {"b", "line b", "least b"},
                                       {"c", "line c", "least c"},
                                       {"d", "line d", "least d"},
                                       {"e", "line e", ""}};
    struct buf b;
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    buf_init(&b, 64 * KIB);
    sent_head(&b);
    for (size_t i = 0; i < 5; i++) {
        struct export_person_hash who = person(v[i][0]);

        sent_write(&b, &who, (uint32_t)i, str_of(v[i][1]), str_of(v[i][2]));
    }
    assert_int_equal(fwrite(b.p, 1, b.n - cut, f), b.n - cut);
    fclose(f);
    buf_deinit(&b);
}

static void a_delta_is_what_differs(void **state)
{
    char path[] = "/tmp/waymark-sent-XXXXXX";
    int fd = mkstemp(path);
    struct export_person_hash a = person("a"), b = person("b"), c = person("c"), e5 = person("e"), n = person("new");
    struct gone g = {0};
    struct err e = {0};
    struct sent *s;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_sent(path, 0);
    assert_int_equal(sent_open(path, &s, &e), 0);
    assert_int_equal(sent_look(s, &a, STR_LIT("line a"), STR_LIT("least a")), SENT_SAME);
    assert_int_equal(sent_look(s, &b, STR_LIT("line B"), STR_LIT("least B")), SENT_CHANGED);
    assert_int_equal(sent_look(s, &e5, STR_LIT("line E"), STR_LIT("")), SENT_CHANGED);
    assert_int_equal(sent_look(s, &n, STR_LIT("line n"), STR_LIT("least n")), SENT_NEW);
    sent_left_out(s, &c, 3);
    sent_left_out(s, &n, 3);
    assert_int_equal(sent_each_gone(s, NULL, 0, note_gone, &g, &e), 0);
    assert_int_equal(g.n, 3);
    assert_int_equal(g.reasons[0], SENT_REPLACED);
    assert_string_equal(g.least[0], "least b");
    assert_int_equal(g.reasons[1], 3);
    assert_int_equal(g.reasons[2], SENT_GONE);
    assert_string_equal(g.least[2], "least d");
    sent_close(s);
    for (size_t cut = 1; cut < 30; cut++) {
        write_sent(path, cut);
        assert_int_equal(sent_open(path, &s, &e), -EBADMSG);
    }
    unlink(path);
    assert_int_equal(sent_open(path, &s, &e), -ENOENT);
    assert_int_equal(sent_open(NULL, &s, &e), 0);
    assert_int_equal(sent_look(s, &a, STR_LIT("x"), STR_LIT("y")), SENT_NEW);
    sent_close(s);
}

/* Whoever is of a partition that was not looked at is not said to have left. */
static void who_moved_did_not_leave(void **state)
{
    static const bool here[] = {true, false, true, false};
    char path[] = "/tmp/waymark-sent-XXXXXX";
    int fd = mkstemp(path);
    struct export_person_hash b = person("b");
    struct gone g = {0};
    struct err e = {0};
    struct sent *s;

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    write_sent(path, 0); /* a to e, of the partitions 0 to 4 */
    assert_int_equal(sent_open(path, &s, &e), 0);
    sent_left_out(s, &b, 3); /* was met here: its reason is known */
    assert_int_equal(sent_each_gone(s, here, 4, note_gone, &g, &e), 0);
    assert_int_equal(g.n, 5);
    assert_int_equal(g.reasons[0], SENT_GONE);
    assert_int_equal(g.reasons[1], 3);
    assert_int_equal(g.reasons[2], SENT_GONE);
    assert_int_equal(g.reasons[3], SENT_MOVED);
    assert_string_equal(g.least[3], "least d");
    assert_int_equal(g.reasons[4], SENT_GONE); /* there is no such partition */
    sent_close(s);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_careful_ones), cmocka_unit_test(personal_columns_are_known),
        cmocka_unit_test(mistakes_are_refused),          cmocka_unit_test(lists_hold_any_form),
        cmocka_unit_test(csv_is_quoted_and_no_formula),  cmocka_unit_test(deltas_say_what_to_do),
        cmocka_unit_test(only_what_removes_is_kept),     cmocka_unit_test(a_delta_is_what_differs),
        cmocka_unit_test(who_moved_did_not_leave),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
