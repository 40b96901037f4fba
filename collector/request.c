/* Splitting a body. The common case is parsed once: whether a body is NDJSON is seen from its first lines, and only a
 * body that cannot be read as one document is looked at a second time. Called on the pool threads. */
#include "collector/request.h"

#include <errno.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct str trim(struct str s)
{
    while (s.n > 0 && is_blank(s.p[0]))
        s.p++, s.n--;
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* The next line that is not blank, without the blanks around it, cut from `left`. False at the end. */
static bool take_line(struct str *left, struct str *line)
{
    while (left->n > 0) {
        const char *end = memchr(left->p, '\n', left->n);
        size_t n = end ? (size_t)(end - left->p) : left->n;
        *line = trim((struct str){left->p, n});
        left->p += end ? n + 1 : n;
        left->n -= end ? n + 1 : n;
        if (line->n > 0)
            return true;
    }
    return false;
}

static uint32_t count_lines(struct str all)
{
    struct str line;
    uint32_t n = 0;

    while (take_line(&all, &line))
        n++;
    return n;
}

/* The bytes are the caller's own and may be written to; spans are const only in passing. */
static int parse(struct json_parser *p, struct str s, const struct json **out, struct err *e)
{
    return json_parse(p, (char *)s.p, s.n, out, e);
}

static int parse_object(struct json_parser *p, struct str s, const struct json **out, struct err *e)
{
    int r = parse(p, s, out, e);

    if (r == JSON_OK && (*out)->type != JSON_OBJECT) {
        err_set(e, "a line must be an object");
        r = JSON_INVALID;
    }
    return r;
}

static void open_lines(struct request *r, struct str all, const struct json *first)
{
    r->lines = true;
    r->left = all;
    r->first = first;
    r->first_parsed = first != NULL;
    r->count = count_lines(all);
}

/* Whether two lines can be NDJSON at a glance: no document has a line that ends an object before one that is not its
 * continuation. */
static bool looks_like_lines(struct str first, struct str second)
{
    return first.p[0] == '{' && first.p[first.n - 1] == '}' && second.p[0] == '{';
}

/* A document that was cut off or is broken in its middle also has lines; then a line ends with something open. */
static bool may_be_broken_line(struct str line)
{
    char end = line.p[line.n - 1];

    return end != '[' && end != '{' && end != ',' && end != ':';
}

/* The first line alone is an object, and more follows. */
static int try_lines(struct request *r, struct str all, struct err *e)
{
    struct str left = all, line, second;
    const struct json *first;

    if (!take_line(&left, &line) || !take_line(&left, &second) || !looks_like_lines(line, second))
        return JSON_INVALID;
    int rc = parse_object(r->parser, line, &first, e);
    if (rc == JSON_OK)
        open_lines(r, all, first);
    return rc;
}

/* The whole is no document: NDJSON all the same when the first line is an object, or broken and the second is one. */
static int try_broken_lines(struct request *r, struct str all)
{
    struct str left = all, line, second;
    const struct json *v;

    if (!take_line(&left, &line) || !take_line(&left, &second))
        return JSON_INVALID;
    int rc = parse_object(r->parser, line, &v, NULL);
    if (rc == JSON_OK) {
        open_lines(r, all, v);
    } else if (rc == JSON_INVALID && may_be_broken_line(line)) {
        rc = parse_object(r->parser, second, &v, NULL);
        if (rc == JSON_OK)
            open_lines(r, all, NULL);
    }
    return rc;
}

static int open_array(struct request *r, const struct json *array)
{
    r->first = r->next = array->child;
    r->count = array->count;
    return REQUEST_OK;
}

static int open_document(struct request *r, const struct json *top, bool orders, struct err *e)
{
    const struct json *batch;

    r->top = top;
    if (top->type == JSON_ARRAY)
        return open_array(r, top);
    if (top->type != JSON_OBJECT) {
        err_set(e, "the body must be an object or an array of objects");
        return REQUEST_NOT_EVENTS;
    }
    batch = orders && json_get(top, "orderId") ? NULL : json_get(top, "batch");
    if (!batch) {
        r->single = true;
        r->first = r->next = top;
        r->count = 1;
        return REQUEST_OK;
    }
    if (batch->type != JSON_ARRAY) {
        err_set(e, "batch must be an array");
        return REQUEST_NOT_EVENTS;
    }
    r->batch = top;
    return open_array(r, batch);
}

int request_open(struct request *r, struct json_parser *parser, char *bytes, size_t n, bool orders, struct err *e)
{
    struct str all = trim((struct str){bytes, n});
    const struct json *top;

    *r = (struct request){.parser = parser};
    if (all.n == 0) {
        err_set(e, "the body is empty");
        return REQUEST_NOT_JSON;
    }
    int rc = try_lines(r, all, e);
    if (rc == JSON_INVALID) {
        rc = parse(parser, all, &top, e);
        if (rc == JSON_OK)
            return open_document(r, top, orders, e);
    }
    if (rc == JSON_INVALID)
        rc = try_broken_lines(r, all);
    switch (rc) {
    case JSON_OK:
        return REQUEST_OK;
    case JSON_INVALID:
        return REQUEST_NOT_JSON;
    case JSON_TOO_LARGE:
        return REQUEST_TOO_LARGE;
    default:
        return rc;
    }
}

static bool next_line(struct request *r, struct request_item *out)
{
    if (!take_line(&r->left, &out->bytes))
        return false;
    if (r->index == 0 && r->first_parsed)
        out->value = r->first;
    else if (parse(r->parser, out->bytes, &out->value, &out->why) != JSON_OK)
        out->value = NULL;
    out->index = r->index++;
    return true;
}

bool request_next(struct request *r, struct request_item *out)
{
    out->value = NULL;
    out->why.text[0] = '\0';
    if (r->lines)
        return next_line(r, out);
    if (!r->next)
        return false;
    out->value = r->next;
    out->bytes = r->next->raw;
    out->index = r->index++;
    r->next = r->single ? NULL : r->next->next;
    return true;
}

struct str request_text(const struct json *object, const char *member)
{
    const struct json *v = object ? json_get(object, member) : NULL;

    return v && v->type == JSON_STRING ? v->text : STR_NONE;
}
