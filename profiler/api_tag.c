/* Tags that are set by hand, or by another system: one by PUT and DELETE, many by POST. Each is a mark, an event of the
 * person's on the log; answered when it is durable. Pool threads, and for the answer the log's. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "profiler/api_audience.h"
#include "profiler/marks.h"
#include "profiler/render.h"
#include "profiler/tags.h"
#include "proto/codec.h"

#define VALUE_BYTES 1024
#define REJECTED_SHOWN 1000

/* A tag of a person as a request states it. */
struct tagging {
    struct str id;
    struct mark mark;
};

/* What is wrong with one. */
struct fault {
    const char *code;
    char message[160];
};

static bool faulty(struct fault *f, const char *code, const char *format, ...) __attribute__((format(printf, 3, 4)));

static bool faulty(struct fault *f, const char *code, const char *format, ...)
{
    va_list ap;

    f->code = code;
    va_start(ap, format);
    vsnprintf(f->message, sizeof f->message, format, ap);
    va_end(ap);
    return false;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static bool check_id(const struct ask *ask, struct str id, struct fault *f)
{
    const struct conf *conf = ask->api->o.conf;

    if (!id_valid(id))
        return faulty(f, "id_invalid", "an id is user:… or anon:… with 1 to %d bytes behind the colon", LIMIT_ID_BYTES);
    struct str bare = {id.p + 5, id.n - 5};
    if (conf_blocked(conf->blocked, bare) || (id_is_device(id) && str_starts(bare, STR_LIT("order:"))))
        return faulty(f, "id_invalid", "the id stands for nobody");
    return true;
}

/* Whether the value is one of the tag. */
static bool check_value(const struct ask *ask, const struct json *v, const struct mark *m, struct fault *f)
{
    struct err why = {0};
    bool fits = true;

    if (v->type >= JSON_ARRAY || v->raw.n > VALUE_BYTES || (v->type == JSON_STRING && v->text.n == 0))
        return faulty(f, "value_invalid", "value is a text, a number, true or false, of up to %d bytes", VALUE_BYTES);
    if (ask->api->o.audiences) {
        struct tags *set = audiences_tagset(ask->api->o.audiences);
        fits = tags_fits(set, m->name, v->raw, &why);
        tags_unref(set);
    }
    return fits || faulty(f, "value_invalid", "%s", why.text);
}

/* {"value":…,"until":"…"}; null takes the tag away. */
static bool read_value(const struct ask *ask, const struct json *o, struct mark *m, struct fault *f)
{
    const struct json *value = json_get(o, "value"), *until = json_get(o, "until");

    m->until = TIME_NONE;
    if (until && until->type != JSON_NULL && (until->type != JSON_STRING || time_parse(until->text, &m->until) != 0))
        return faulty(f, "parameter_invalid", "until is a time: it looks like \"2026-01-31T23:59:59Z\"");
    if (!value)
        return faulty(f, "parameter_invalid", "a value is needed; null takes the tag away");
    if (value->type == JSON_NULL)
        return true;
    m->value = arena_dup(http_arena(ask->request), value->raw);
    if (!str_has(m->value))
        return faulty(f, "unavailable", "out of memory");
    return check_value(ask, value, m, f);
}

static bool set_name(struct str name, struct mark *m, struct fault *f)
{
    if (!tags_is_name(name))
        return faulty(f, "parameter_invalid", "a tag's name is a small letter, then small letters, digits and _");
    m->name = name;
    return true;
}

static struct mark mark_new(const struct ask *ask)
{
    return (struct mark){
        .kind = MARK_TAG, .time = http_received_at(ask->request), .until = TIME_NONE, .source = str_of(ask->who)};
}

/* --- appending ------------------------------------------------------------------------------------------------ */

/* Some on their way to the log; in the request's arena. */
struct tags_way {
    struct ask *ask;
    struct buf records; /* packed events, one behind the other */
    size_t count;
    struct log_record *list;
    size_t most;
    _Atomic size_t left;
    _Atomic int failed;
    _Atomic int64_t *last; /* for each partition, the greatest offset + 1 */
    void (*answer)(struct ask *ask, const char *position);
};

/* "0:812,3:1042" of those partitions that have got something. */
static char *write_position(struct tags_way *w)
{
    uint32_t n = w->ask->api->o.conf->partitions;
    char *text = NULL;
    struct buf b;

    buf_init(&b, (size_t)n * 40 + 1);
    for (uint32_t p = 0; p < n; p++)
        if (atomic_load(&w->last[p]) > 0)
            buf_addf(&b, "%s%" PRIu32 ":%" PRId64, b.n ? "," : "", p, atomic_load(&w->last[p]) - 1);
    if (!b.failed && (text = arena_alloc(http_arena(w->ask->request), b.n + 1))) {
        if (b.n)
            memcpy(text, b.p, b.n);
        text[b.n] = '\0';
    }
    buf_deinit(&b);
    return text;
}

/* On the log's threads. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct tags_way *w = arg;

    if (status != LOG_OK) {
        atomic_store(&w->failed, (int)status);
    } else {
        int64_t last = atomic_load(&w->last[partition]);
        while (last < offset + 1 && !atomic_compare_exchange_weak(&w->last[partition], &last, offset + 1))
            ;
    }
    if (atomic_fetch_sub(&w->left, 1) != 1)
        return;
    int failed = atomic_load(&w->failed);
    if (failed)
        ask_error(w->ask, 503, "unavailable", "it may not be on the log: %s", log_status_text((enum log_status)failed));
    else
        w->answer(w->ask, write_position(w));
}

static struct tags_way *way_new(struct ask *ask, size_t most)
{
    struct arena *a = http_arena(ask->request);
    struct tags_way *w = arena_zalloc(a, sizeof *w);

    if (!w)
        return NULL;
    w->ask = ask;
    w->most = most;
    w->list = arena_zalloc(a, most * sizeof *w->list);
    w->last = arena_zalloc(a, ask->api->o.conf->partitions * sizeof *w->last);
    return w->list && w->last ? w : NULL;
}

/* Makes the record of one. 0 or a negative errno. */
static int add(struct tags_way *w, const struct tagging *t)
{
    struct arena *a = http_arena(w->ask->request);
    struct event e;
    struct buf b;
    int r = mark_event(&t->mark, t->id, http_received_at(w->ask->request), a, &e);

    if (r != 0)
        return r;
    buf_init(&b, LIMIT_RECORD_BYTES);
    struct log_record *record = &w->list[w->count];
    assert(w->count < w->most);
    if (event_pack(&e, &b)) {
        *record =
            (struct log_record){.kind = LOG_KIND_EVENT, .key = event_log_key(&e), .value = arena_dup(a, buf_str(&b))};
        w->count++;
    }
    buf_deinit(&b);
    return str_has(record->value) ? 0 : -ENOMEM;
}

static void append(struct tags_way *w)
{
    struct ask *ask = w->ask;
    void **args = arena_alloc(http_arena(ask->request), w->count * sizeof *args);

    if (!args) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    if (!ask_may_change(ask))
        return;
    for (size_t i = 0; i < w->count; i++)
        args[i] = w;
    atomic_store(&w->left, w->count);
    enum log_status s =
        event_log_append(ask->api->o.log, LOG_EVENTS, LOG_BY_COMMAND, w->list, w->count, appended, args);
    if (s != LOG_OK)
        ask_error(ask, 503, "unavailable", "the log does not take it: %s", log_status_text(s));
}

/* --- one ------------------------------------------------------------------------------------------------------ */

/* Whether rules give values of it, too; else it is by hand alone, which may be a misspelling. */
static bool is_defined(struct ask *ask)
{
    struct tags *set = ask->api->o.audiences ? audiences_tagset(ask->api->o.audiences) : NULL;
    bool defined = set && tags_find(set, ask->name) != SIZE_MAX;

    tags_unref(set);
    return defined;
}

static void answer_one(struct ask *ask, const char *position)
{
    const struct http_field field = {"X-Waymark-Position", position};
    const struct mark *m = ask->mark;
    struct buf b;

    buf_init(&b, 8 * KIB);
    buf_add_char(&b, '{');
    json_write_member(&b, "id", ask->id);
    json_write_member(&b, "tag", m->name);
    json_write_key(&b, "value");
    buf_add_str(&b, str_has(m->value) ? m->value : STR_LIT("null"));
    if (str_has(m->value)) {
        json_write_key(&b, "until");
        render_time(&b, m->until);
    }
    buf_addf(&b, ",\"defined\":%s", is_defined(ask) ? "true" : "false");
    json_write_member(&b, "position", str_of(position));
    buf_add_char(&b, '}');
    ask_send(ask,
             &(struct http_answer){.status = 200, .fields = &field, .field_count = position != NULL, .body_buf = &b});
    buf_deinit(&b);
}

static void append_one(struct ask *ask, struct mark *m)
{
    struct tags_way *w = way_new(ask, 1);
    const struct tagging t = {ask->id, *m};
    int r = w ? add(w, &t) : -ENOMEM;

    if (r == -EINVAL) {
        ask_error(ask, 400, "parameter_invalid", "the tag cannot be set");
    } else if (r != 0) {
        ask_error(ask, 503, "unavailable", "out of memory");
    } else {
        ask->mark = m;
        w->answer = answer_one;
        append(w);
    }
}

static bool read_put(struct ask *ask, struct mark *m, struct fault *f)
{
    static const char *const members[] = {"value", "until", NULL};
    struct json_parser *parser = json_parser_new();
    const struct json *root = ask_read_object(ask, parser, members);
    bool good = root && read_value(ask, root, m, f);

    json_parser_free(parser);
    if (root && !good)
        ask_error(ask, 400, f->code, "%s", f->message);
    return good;
}

bool prepare_tag(struct ask *ask)
{
    struct mark *m = arena_zalloc(http_arena(ask->request), sizeof *m);
    struct fault f = {NULL, ""};

    if (!m) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    *m = mark_new(ask);
    if (!check_id(ask, ask->id, &f) || !set_name(ask->name, m, &f)) {
        ask_error(ask, 400, f.code, "%s", f.message);
        return false;
    }
    if (str_is(http_method(ask->request), "DELETE") || read_put(ask, m, &f))
        append_one(ask, m);
    return false;
}

/* --- many ----------------------------------------------------------------------------------------------------- */

/* An import: each good one goes through. */
struct import {
    struct ask *ask;
    struct tags_way *way;
    struct buf rejected; /* while it is read */
    struct str rejected_text;
    size_t index, refused;
    bool failed; /* memory */
};

static void reject(struct import *x, const struct fault *f)
{
    x->refused++;
    if (x->refused > REJECTED_SHOWN)
        return;
    buf_addf(&x->rejected, "%s{\"index\":%zu", x->refused > 1 ? "," : "", x->index);
    json_write_member(&x->rejected, "code", str_of(f->code));
    json_write_member(&x->rejected, "message", str_of(f->message));
    buf_add_char(&x->rejected, '}');
}

static bool read_text(struct ask *ask, const struct json *o, const char *name, struct str *out)
{
    const struct json *v = json_get(o, name);

    *out = v && v->type == JSON_STRING ? arena_dup(http_arena(ask->request), v->text) : STR_NONE;
    return str_has(*out);
}

static void import_one(struct import *x, const struct json *o)
{
    struct tagging t = {.mark = mark_new(x->ask)};
    struct fault f = {NULL, ""};
    struct str name;
    bool good;

    if (o->type != JSON_OBJECT)
        good = faulty(&f, "not_object", "it is {\"id\":…,\"name\":…,\"value\":…}");
    else if (!read_text(x->ask, o, "id", &t.id) || !read_text(x->ask, o, "name", &name))
        good = faulty(&f, "parameter_invalid", "id and name are texts");
    else
        good = check_id(x->ask, t.id, &f) && set_name(name, &t.mark, &f) && read_value(x->ask, o, &t.mark, &f);
    if (good) {
        int r = add(x->way, &t);
        x->failed = x->failed || (r != 0 && r != -EINVAL);
        good = r == 0 || faulty(&f, "parameter_invalid", "the tag cannot be set");
    }
    if (good)
        ask_audit_target(x->ask, t.id);
    else
        reject(x, &f);
    x->index++;
}

static void answer_import(struct ask *ask, const char *position)
{
    const struct http_field field = {"X-Waymark-Position", position};
    struct import *x = ask->import;
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_addf(&b, "{\"accepted\":%zu,\"refused\":%zu,\"rejected\":[", x->way->count, x->refused);
    buf_add_str(&b, x->rejected_text);
    buf_add_text(&b, "]}");
    ask_audit_count(ask, x->way->count);
    if (b.failed)
        ask_error(ask, 503, "unavailable", "out of memory; the tags are set");
    else
        ask_send(ask, &(struct http_answer){
                          .status = 200, .fields = &field, .field_count = position && *position, .body_buf = &b});
    buf_deinit(&b);
}

/* The first line of a text with several. */
static size_t line_of(const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);

    return end ? (size_t)(end - p) : n;
}

static void import_line(struct import *x, struct json_parser *parser, const char *p, size_t n)
{
    struct fault f = {NULL, ""};
    const struct json *root;
    struct err e = {0};
    struct buf line;

    buf_init(&line, n + JSON_PADDING);
    buf_add(&line, p, n);
    if (!buf_room(&line, JSON_PADDING)) {
        x->failed = true;
    } else if (json_parse(parser, line.p, line.n, &root, &e) != JSON_OK) {
        faulty(&f, "json_invalid", "%s", e.text);
        reject(x, &f);
        x->index++;
    } else {
        import_one(x, root);
    }
    buf_deinit(&line);
}

static bool is_blank(const char *p, size_t n)
{
    while (n > 0 && strchr(" \t\r", *p))
        p++, n--;
    return n == 0;
}

static void import_lines(struct import *x, struct json_parser *parser, const char *p, size_t n)
{
    while (n > 0 && !x->failed) {
        size_t line = line_of(p, n);
        if (!is_blank(p, line))
            import_line(x, parser, p, line);
        line += line < n;
        p += line;
        n -= line;
    }
}

/* {"tags":[…]}, or one object a line. False when it has answered. */
static bool read_import(struct import *x, struct json_parser *parser)
{
    const struct json *root, *list;
    size_t n;
    char *body = http_body(x->ask->request, &n);
    /* The parse of a whole body may write into it. */
    struct str lines =
        n <= LIMIT_BODY_LOOKUP ? arena_dup(http_arena(x->ask->request), (struct str){body, n}) : STR_NONE;

    if (!parser || !str_has(lines)) {
        x->failed = true;
        return true;
    }
    if (json_parse(parser, body, n, &root, NULL) != JSON_OK || !(list = json_get(root, "tags"))) {
        import_lines(x, parser, lines.p, lines.n);
        return true;
    }
    if (list->type != JSON_ARRAY) {
        ask_error(x->ask, 400, "parameter_invalid", "the body is {\"tags\":[…]}, or one object a line");
        return false;
    }
    for (const struct json *o = list->child; o && !x->failed; o = o->next)
        import_one(x, o);
    return true;
}

/* More good ones cannot stand in a body. */
static size_t most_of(size_t bytes)
{
    return bytes / (sizeof "{\"id\":\"user:1\",\"name\":\"a\",\"value\":1}" - 1) + 1;
}

bool prepare_import_tags(struct ask *ask)
{
    struct import *x = arena_zalloc(http_arena(ask->request), sizeof *x);
    struct json_parser *parser;
    size_t n;

    http_body(ask->request, &n);
    if (x)
        x->way = way_new(ask, most_of(n));
    if (!x || !x->way) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    x->ask = ask;
    ask->import = x;
    buf_init(&x->rejected, MIB);
    parser = json_parser_new();
    bool read = read_import(x, parser);
    json_parser_free(parser);
    x->rejected_text = arena_dup(http_arena(ask->request), buf_str(&x->rejected));
    x->failed = x->failed || x->rejected.failed || (x->rejected.n > 0 && !str_has(x->rejected_text));
    buf_deinit(&x->rejected);
    if (read && x->failed)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (read && x->index == 0)
        ask_error(ask, 400, "json_invalid", "the body names no tag: {\"tags\":[{\"id\":…,\"name\":…,\"value\":…}]}");
    if (!read || x->failed || x->index == 0)
        return false;
    x->way->answer = answer_import;
    if (x->way->count == 0)
        answer_import(ask, NULL);
    else
        append(x->way);
    return false;
}
