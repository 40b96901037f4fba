/* Our reader of JSON against Python's: json_check.py, beside this file, makes the documents and judges the trees that
 * this program writes with --serve. Skipped where there is no python3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/json.h"

static const char *program;

static void write_hex(struct buf *b, struct str s)
{
    buf_add_char(b, '"');
    for (size_t i = 0; i < s.n; i++)
        buf_addf(b, "%02x", (unsigned char)s.p[i]);
}

static void dump(struct buf *b, const struct json *v)
{
    uint32_t count = 0, height = 0;
    bool object = v->type == JSON_OBJECT;

    switch (v->type) {
    case JSON_NULL:
        buf_add_char(b, 'n');
        return;
    case JSON_TRUE:
        buf_add_char(b, 't');
        return;
    case JSON_FALSE:
        buf_add_char(b, 'f');
        return;
    case JSON_NUMBER:
        buf_addf(b, "#%.*s", STR_ARG(v->text));
        return;
    case JSON_STRING:
        write_hex(b, v->text);
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    }
    buf_add_char(b, object ? '{' : '[');
    for (const struct json *c = v->child; c; c = c->next) {
        if (count++ > 0)
            buf_add_char(b, ',');
        if (object) {
            write_hex(b, c->key);
            buf_add_char(b, ':');
        }
        dump(b, c);
        height = c->height > height ? c->height : height;
    }
    buf_add_char(b, object ? '}' : ']');
    if (count != v->count || v->height != height + 1)
        buf_add_text(b, " count or height is wrong");
}

/* The slice that each value was read from must itself read as that value. */
static void check_raw(struct json_parser *again, const struct json *v, struct buf *b, int left)
{
    struct buf mine, other;
    const struct json *copy;
    char *bytes = malloc(v->raw.n + JSON_PADDING);

    buf_init(&mine, 64 * 1024 * 1024);
    buf_init(&other, 64 * 1024 * 1024);
    memcpy(bytes, v->raw.p, v->raw.n);
    dump(&mine, v);
    if (json_parse(again, bytes, v->raw.n, &copy, NULL) == JSON_OK)
        dump(&other, copy);
    if (!str_eq(buf_str(&mine), buf_str(&other)) || copy->raw.n != v->raw.n)
        buf_add_text(b, " raw is wrong");
    buf_deinit(&mine);
    buf_deinit(&other);
    free(bytes);
    for (const struct json *c = v->child; c && left > 0; c = c->next)
        check_raw(again, c, b, left - 1);
}

static int serve(void)
{
    struct json_parser *p = json_parser_new(), *again = json_parser_new();
    struct buf out;
    uint32_t n;

    buf_init(&out, 64 * 1024 * 1024);
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        char *bytes = malloc(n + JSON_PADDING);
        const struct json *root;
        if (fread(bytes, 1, n, stdin) != n)
            return 1;
        buf_reset(&out);
        if (json_parse(p, bytes, n, &root, NULL) == JSON_OK) {
            dump(&out, root);
            check_raw(again, root, &out, 4);
        } else {
            buf_add_text(&out, "invalid");
        }
        buf_add_char(&out, '\n');
        fwrite(out.p, 1, out.n, stdout);
        free(bytes);
    }
    buf_deinit(&out);
    json_parser_free(p);
    json_parser_free(again);
    return 0;
}

static void same_as_python(void **state)
{
    char command[4096], folder[2048] = __FILE__;
    char *slash = strrchr(folder, '/');

    (void)state;
    if (system("command -v python3 >/dev/null") != 0)
        skip();
    assert_non_null(slash);
    *slash = '\0';
    snprintf(command, sizeof command, "python3 '%s/json_check.py' '%s'", folder, program);
    assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_as_python)};

    program = argv[0];
    if (argc > 1 && strcmp(argv[1], "--serve") == 0)
        return serve();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
