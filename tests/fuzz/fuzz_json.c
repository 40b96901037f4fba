/* The reader of JSON on any bytes: what it accepts must be whole. Each raw slice and each value written again must read
 * as the same tree. */
#include <stdint.h>
#include <stdlib.h>

#include "common/inflate.h"
#include "common/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool held)
{
    if (!held)
        abort();
}

static void write_value(struct buf *b, const struct json *v)
{
    bool object = v->type == JSON_OBJECT;

    if (v->type == JSON_STRING) {
        json_write_str(b, v->text);
        return;
    }
    if (!object && v->type != JSON_ARRAY) {
        buf_add_str(b, v->raw);
        return;
    }
    buf_add_char(b, object ? '{' : '[');
    for (const struct json *c = v->child; c; c = c->next) {
        if (c != v->child)
            buf_add_char(b, ',');
        if (object) {
            json_write_str(b, c->key);
            buf_add_char(b, ':');
        }
        write_value(b, c);
    }
    buf_add_char(b, object ? '}' : ']');
}

static void same(const struct json *a, const struct json *b)
{
    must(a->type == b->type && a->count == b->count && a->height == b->height);
    must(str_eq(a->key, b->key) && str_eq(a->text, b->text));
    for (a = a->child, b = b->child; a && b; a = a->next, b = b->next)
        same(a, b);
    must(!a && !b);
}

/* Parses a copy with exactly the padding that is promised; the copy lives as long as the tree. */
static const struct json *parse(struct json_parser *p, const char *data, size_t n, char **copy)
{
    const struct json *root = NULL;
    struct err e;

    *copy = malloc(n + JSON_PADDING);
    must(*copy != NULL);
    memcpy(*copy, data, n);
    memset(*copy + n, '"', JSON_PADDING);
    return json_parse(p, *copy, n, &root, &e) == JSON_OK ? root : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char none[1];
    struct json_parser *p = json_parser_new(), *again = json_parser_new();
    char *copy, *second;
    const struct json *root, *other;
    struct buf b;

    must(p && again);
    buf_init(&b, 16 << 20);
    root = parse(p, n ? (const char *)data : none, n, &copy);
    if (root) {
        write_value(&b, root);
        other = parse(again, b.p, b.n, &second);
        must(!b.failed && other);
        same(root, other);
        free(second);
        other = parse(again, root->raw.p, root->raw.n, &second);
        must(other != NULL);
        same(root, other);
        free(second);
    }
    free(copy);
    buf_deinit(&b);
    buf_init(&b, (1 << 16) + JSON_PADDING);
    (void)inflate_all((struct str){n ? (const char *)data : none, n}, 1 << 16, &b);
    buf_deinit(&b);
    json_parser_free(p);
    json_parser_free(again);
    return 0;
}
