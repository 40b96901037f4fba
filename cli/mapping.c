/* Mapping files: from a row's columns to an event's JSON, by templates.
 *
 *   format: csv | ndjson      delimiter: ","      to: /v1/orders      group_by: COLUMN      group_window: 10000
 *   event: {…}                or   cases: [{when: {column: C, starts: TEXT}, event: {…}}, {event: {…}}]
 *
 * A text in an event is a template: {Column} is that column's value, {Column|filter:argument|…} after filters. A member
 * with an empty column is left out. A list of one element is repeated for each row of the group. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <yaml.h>

#include "cli/cli.h"
#include "cli/mapping.h"
#include "common/num.h"

#define MAPPING_FILE_BYTES (1u << 20)
#define EVENT_BYTES (1u << 20)

struct mapping {
    const char *file;
    yaml_document_t doc;
    bool loaded, ndjson, failed;
    char delimiter, route[64];
    struct str group;
    uint64_t window, hash;
    yaml_node_t *event; /* the only shape, or */
    yaml_node_t *cases; /* the list of shapes */
};

static void complain(struct mapping *m, const yaml_node_t *n, const char *text, struct str what)
{
    fprintf(stderr, "%s:%zu:%zu: %s%s%.*s\n", m->file, n->start_mark.line + 1, n->start_mark.column + 1, text,
            what.n ? ": " : "", STR_ARG(what));
    m->failed = true;
}

static struct str scalar(const yaml_node_t *n)
{
    if (!n || n->type != YAML_SCALAR_NODE)
        return STR_NONE;
    return (struct str){(const char *)n->data.scalar.value, n->data.scalar.length};
}

static yaml_node_t *node_at(const struct mapping *m, int index)
{
    return yaml_document_get_node((yaml_document_t *)&m->doc, index);
}

static yaml_node_t *member(const struct mapping *m, const yaml_node_t *map, const char *name)
{
    if (!map || map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++)
        if (str_is(scalar(node_at(m, p->key)), name))
            return node_at(m, p->value);
    return NULL;
}

/* --- templates ------------------------------------------------------------------------------------------- */

/* Seconds since midnight as HH:MM:SS: click n of a visit, `step` seconds apart. */
static const char *filter_clock(struct str value, struct str step, struct buf *out)
{
    uint64_t n, s;

    if (num_u64(value, &n) != NUM_OK || num_u64(step, &s) != NUM_OK || n < 1 || (n - 1) * s >= 86400)
        return "clock_out_of_range";
    n = (n - 1) * s;
    buf_addf(out, "%02d:%02d:%02d", (int)(n / 3600), (int)(n / 60 % 60), (int)(n % 60));
    return NULL;
}

/* Applies one filter to `value`, writing the result to `out`. NULL or why not. */
static const char *apply_filter(struct str filter, struct str argument, struct str value, struct buf *out)
{
    int64_t micros;
    uint64_t width;

    if (str_is(filter, "strip")) { /* cuts that ending */
        if (value.n >= argument.n && !memcmp(value.p + value.n - argument.n, argument.p, argument.n))
            value.n -= argument.n;
        buf_add_str(out, value);
    } else if (str_is(filter, "pad")) { /* zeros on the left */
        if (num_u64(argument, &width) != NUM_OK || width > 20)
            return "pad_invalid";
        for (size_t i = value.n; i < width; i++)
            buf_add_char(out, '0');
        buf_add_str(out, value);
    } else if (str_is(filter, "number")) {
        if (num_micros(value, false, &micros) != NUM_OK)
            return "number_invalid";
        num_write_micros(out, micros);
    } else if (str_is(filter, "negate")) {
        if (num_micros(value, false, &micros) != NUM_OK)
            return "number_invalid";
        num_write_micros(out, -micros);
    } else if (str_is(filter, "clock")) {
        return filter_clock(value, argument, out);
    } else {
        return "filter_unknown";
    }
    return NULL;
}

static bool is_number_filter(struct str f)
{
    return str_is(f, "number") || str_is(f, "negate");
}

/* Splits "a|b|c" or "a:b" at the first separator. */
static struct str cut(struct str *rest, char separator)
{
    const char *p = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
    struct str head = *rest;

    if (p) {
        head.n = (size_t)(p - rest->p);
        *rest = (struct str){p + 1, rest->n - head.n - 1};
    } else {
        *rest = STR_NONE;
    }
    return head;
}

enum { TEMPLATE_ABSENT = 0, TEMPLATE_TEXT = 1, TEMPLATE_NUMBER = 2 };

/* One {…}: its value to `out`. */
static int render_reference(struct str inner, const struct rows *r, struct buf *out, const char **why)
{
    struct str column = cut(&inner, '|'), value = rows_value(r, column);
    struct buf a, b;
    int kind = str_has(value) ? TEMPLATE_TEXT : TEMPLATE_ABSENT;

    buf_init(&a, EVENT_BYTES);
    buf_init(&b, EVENT_BYTES);
    buf_add_str(&a, value);
    while (kind != TEMPLATE_ABSENT && !*why && str_has(inner)) {
        struct str filter = cut(&inner, '|'), argument = filter;
        filter = cut(&argument, ':');
        buf_reset(&b);
        *why = apply_filter(filter, argument, buf_str(&a), &b);
        kind = is_number_filter(filter) ? TEMPLATE_NUMBER : TEMPLATE_TEXT;
        struct buf swap = a;
        a = b;
        b = swap;
    }
    buf_add_str(out, buf_str(&a));
    buf_deinit(&a);
    buf_deinit(&b);
    return kind;
}

/* A whole template. A number only when it is one reference and nothing else. */
static int render_template(struct str t, const struct rows *r, struct buf *out, const char **why)
{
    int kind = TEMPLATE_TEXT;

    while (t.n) {
        const char *open = memchr(t.p, '{', t.n), *close = open ? memchr(open, '}', t.n - (size_t)(open - t.p)) : NULL;
        if (!close) {
            buf_add_str(out, t);
            break;
        }
        bool alone = open == t.p && close + 1 == t.p + t.n && out->n == 0;
        buf_add(out, t.p, (size_t)(open - t.p));
        int k = render_reference((struct str){open + 1, (size_t)(close - open - 1)}, r, out, why);
        if (k == TEMPLATE_ABSENT || *why)
            return TEMPLATE_ABSENT;
        kind = alone ? k : TEMPLATE_TEXT;
        t = (struct str){close + 1, t.n - (size_t)(close + 1 - t.p)};
    }
    return kind;
}

/* --- events ------------------------------------------------------------------------------------------------ */

static bool render_node(const struct mapping *m, const yaml_node_t *n, const struct rows *r, struct mapping_event *e,
                        struct buf *out, const char **why);

static bool render_scalar(const yaml_node_t *n, const struct rows *r, struct buf *out, const char **why)
{
    struct buf text;

    buf_init(&text, EVENT_BYTES);
    int kind = render_template(scalar(n), r, &text, why);
    if (kind == TEMPLATE_NUMBER)
        buf_add_str(out, buf_str(&text));
    else if (kind == TEMPLATE_TEXT)
        json_write_str(out, (struct str){text.p ? text.p : "", text.n});
    buf_deinit(&text);
    return kind != TEMPLATE_ABSENT;
}

static bool render_map(const struct mapping *m, const yaml_node_t *n, const struct rows *r, struct mapping_event *e,
                       struct buf *out, const char **why)
{
    size_t begin = out->n, members = 0;

    buf_add_char(out, '{');
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top && !*why; p++) {
        size_t before = out->n;
        if (members)
            buf_add_char(out, ',');
        json_write_str(out, scalar(node_at(m, p->key)));
        buf_add_char(out, ':');
        if (render_node(m, node_at(m, p->value), r, e, out, why))
            members++;
        else
            out->n = before;
    }
    buf_add_char(out, '}');
    if (!members)
        out->n = begin;
    return members > 0;
}

/* Whether something was written; if not, `out` is as before for scalars and maps. */
static bool render_node(const struct mapping *m, const yaml_node_t *n, const struct rows *r, struct mapping_event *e,
                        struct buf *out, const char **why)
{
    if (n->type == YAML_SCALAR_NODE)
        return render_scalar(n, r, out, why);
    if (n->type == YAML_MAPPING_NODE)
        return render_map(m, n, r, e, out, why);
    buf_add_text(out, "[");
    e->at = out->n;
    buf_add_text(out, "]");
    return true;
}

static yaml_node_t *find_list(const struct mapping *m, yaml_node_t *n)
{
    if (n->type == YAML_SEQUENCE_NODE)
        return n;
    if (n->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++) {
        yaml_node_t *found = find_list(m, node_at(m, p->value));
        if (found)
            return found;
    }
    return NULL;
}

/* The shape of case i, and whether a row fits it. */
static yaml_node_t *shape_at(const struct mapping *m, int i, const struct rows *r, bool *fits)
{
    if (m->event) {
        *fits = true;
        return i == 0 ? m->event : NULL;
    }
    if (i >= m->cases->data.sequence.items.top - m->cases->data.sequence.items.start)
        return NULL;
    yaml_node_t *c = node_at(m, m->cases->data.sequence.items.start[i]), *when = member(m, c, "when");
    struct str column = scalar(member(m, when, "column")), starts = scalar(member(m, when, "starts"));
    *fits = !when || (r && str_starts(rows_value(r, column), starts));
    return member(m, c, "event");
}

void mapping_event_init(struct mapping_event *e)
{
    *e = (struct mapping_event){.at = SIZE_MAX};
    buf_init(&e->open, EVENT_BYTES);
    buf_init(&e->rows, EVENT_BYTES);
}

void mapping_event_deinit(struct mapping_event *e)
{
    buf_deinit(&e->open);
    buf_deinit(&e->rows);
}

const char *mapping_add(const struct mapping *m, const struct rows *r, struct mapping_event *e, bool first)
{
    const char *why = NULL;
    bool fits = false;
    yaml_node_t *shape = NULL;

    if (first) {
        for (e->shape = 0; (shape = shape_at(m, e->shape, r, &fits)) && !fits;)
            e->shape++;
        if (!shape)
            return "no_case_fits";
        render_node(m, shape, r, e, &e->open, &why);
    } else {
        shape = shape_at(m, e->shape, r, &fits);
    }
    yaml_node_t *list = find_list(m, shape);
    if (why || !list)
        return why;
    size_t before = e->rows.n;
    if (before)
        buf_add_char(&e->rows, ',');
    if (!render_node(m, node_at(m, list->data.sequence.items.start[0]), r, e, &e->rows, &why) || why)
        e->rows.n = before;
    return why ? why : e->rows.failed || e->open.failed ? "event_too_large" : NULL;
}

bool mapping_finish(const struct mapping_event *e, struct buf *out)
{
    if (e->at == SIZE_MAX)
        return buf_add_str(out, buf_str(&e->open));
    buf_add(out, e->open.p, e->at);
    buf_add_str(out, buf_str(&e->rows));
    return buf_add(out, e->open.p + e->at, e->open.n - e->at);
}

/* --- loading ------------------------------------------------------------------------------------------------ */

static void check_references(struct mapping *m, const yaml_node_t *n, const struct rows *r)
{
    struct str t = scalar(n);

    while (t.n) {
        const char *open = memchr(t.p, '{', t.n), *close = open ? memchr(open, '}', t.n - (size_t)(open - t.p)) : NULL;
        if (!close)
            return;
        struct str inner = {open + 1, (size_t)(close - open - 1)}, column = cut(&inner, '|');
        if (!rows_has_column(r, column))
            complain(m, n, "the file has no such column", column);
        t = (struct str){close + 1, t.n - (size_t)(close + 1 - t.p)};
    }
}

bool mapping_fits(const struct mapping *m, const struct rows *r)
{
    struct mapping copy = *m;

    copy.failed = false;
    for (yaml_node_t *n = m->doc.nodes.start; n < m->doc.nodes.top; n++)
        if (n->type == YAML_SCALAR_NODE)
            check_references(&copy, n, r);
    if (str_has(m->group) && !rows_has_column(r, m->group))
        copy.failed = cli_error("%s: group_by names a column that the file has not: %.*s", m->file, STR_ARG(m->group));
    return !copy.failed;
}

/* A shape has at most one list, of one element. */
static void check_shape(struct mapping *m, yaml_node_t *shape, int *lists)
{
    if (shape->type == YAML_SEQUENCE_NODE) {
        if (shape->data.sequence.items.top - shape->data.sequence.items.start != 1 || ++*lists > 1)
            complain(m, shape, "an event may have one list, of one element, which is repeated for each row", STR_NONE);
    } else if (shape->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = shape->data.mapping.pairs.start; p < shape->data.mapping.pairs.top; p++)
            check_shape(m, node_at(m, p->value), lists);
    }
}

static void read_shapes(struct mapping *m, yaml_node_t *root)
{
    bool fits;
    yaml_node_t *shape;

    m->event = member(m, root, "event");
    m->cases = member(m, root, "cases");
    if (!m->event == !m->cases || (m->cases && m->cases->type != YAML_SEQUENCE_NODE)) {
        complain(m, root, "one of `event` and `cases` (a list) is needed", STR_NONE);
        return;
    }
    for (int i = 0; (shape = shape_at(m, i, NULL, &fits)); i++) {
        int lists = 0;
        if (shape->type != YAML_MAPPING_NODE)
            complain(m, shape, "an event is a mapping", STR_NONE);
        else
            check_shape(m, shape, &lists);
    }
}

static void read_settings(struct mapping *m, yaml_node_t *root)
{
    static const char *const known[] = {"format", "delimiter", "to", "group_by", "group_window", "event", "cases"};
    struct str format = scalar(member(m, root, "format")), delimiter = scalar(member(m, root, "delimiter"));
    struct str to = scalar(member(m, root, "to")), window = scalar(member(m, root, "group_window"));

    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= str_is(scalar(node_at(m, p->key)), known[i]);
        if (!found)
            complain(m, node_at(m, p->key), "unknown setting", scalar(node_at(m, p->key)));
    }
    m->ndjson = str_is(format, "ndjson");
    if (str_has(format) && !m->ndjson && !str_is(format, "csv"))
        complain(m, member(m, root, "format"), "format is csv or ndjson, not", format);
    m->delimiter = delimiter.n ? delimiter.p[0] : ',';
    if (str_has(delimiter) && delimiter.n != 1)
        complain(m, member(m, root, "delimiter"), "a delimiter is one character", STR_NONE);
    if (!str_is(to, "/v1/orders") && !str_is(to, "/v1/batch"))
        complain(m, root, "`to` is /v1/orders or /v1/batch", STR_NONE);
    snprintf(m->route, sizeof m->route, "%.*s", STR_ARG(to));
    m->group = scalar(member(m, root, "group_by"));
    m->window = 10000;
    if (str_has(window) && num_u64(window, &m->window) != NUM_OK)
        complain(m, member(m, root, "group_window"), "group_window is a number of rows", STR_NONE);
}

static bool parse(struct mapping *m, struct str text)
{
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    m->loaded = yaml_parser_load(&parser, &m->doc);
    if (!m->loaded)
        fprintf(stderr, "%s:%zu:%zu: %s\n", m->file, parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                parser.problem ? parser.problem : "no YAML");
    yaml_parser_delete(&parser);
    yaml_node_t *root = m->loaded ? yaml_document_get_root_node(&m->doc) : NULL;
    if (!root || root->type != YAML_MAPPING_NODE) {
        if (m->loaded)
            fprintf(stderr, "%s:1:1: a mapping is needed\n", m->file);
        return false;
    }
    read_settings(m, root);
    read_shapes(m, root);
    return !m->failed;
}

struct mapping *mapping_load(const char *file)
{
    struct mapping *m = calloc(1, sizeof *m);
    FILE *f = fopen(file, "re");
    struct buf text;

    buf_init(&text, MAPPING_FILE_BYTES);
    bool good = m && f && buf_room(&text, MAPPING_FILE_BYTES);
    if (good) {
        text.n = fread(text.p, 1, MAPPING_FILE_BYTES, f);
        m->file = file;
        m->hash = XXH64(text.p, text.n, 0);
        good = parse(m, buf_str(&text));
    } else {
        cli_error("cannot read %s: %s", file, strerror(errno));
    }
    if (f)
        fclose(f);
    buf_deinit(&text);
    if (!good) {
        mapping_free(m);
        return NULL;
    }
    return m;
}

void mapping_free(struct mapping *m)
{
    if (m && m->loaded)
        yaml_document_delete(&m->doc);
    free(m);
}

bool mapping_ndjson(const struct mapping *m)
{
    return m->ndjson;
}

char mapping_delimiter(const struct mapping *m)
{
    return m->delimiter;
}

const char *mapping_route(const struct mapping *m)
{
    return m->route;
}

struct str mapping_group(const struct mapping *m)
{
    return m->group;
}

uint64_t mapping_window(const struct mapping *m)
{
    return m->window;
}

uint64_t mapping_hash(const struct mapping *m)
{
    return m->hash;
}
