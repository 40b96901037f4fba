/* Mapping files: from a row's columns to an event's JSON, by templates.
 *
 *   format: csv | ndjson      delimiter: ","      to: /v1/orders      group_by: COLUMN      group_window: 10000
 *   event: {…}                or   cases: [{when: {column: C, starts: TEXT}, event: {…}}, {event: {…}}]
 *
 * A text in an event is a template (template.h). A member with an empty column is left out. A list of one element is
 * repeated for each row of the group. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>
#include <yaml.h>

#include "cli/cli.h"
#include "cli/mapping.h"
#include "cli/template.h"
#include "common/limits.h"
#include "common/num.h"

#define MAPPING_FILE_BYTES (1u << 20)
#define DEPTH 32 /* of an event; also ends aliases that contain themselves */

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

/* --- events ------------------------------------------------------------------------------------------------ */

static bool render_node(const struct mapping *m, const yaml_node_t *n, const struct rows *r, struct mapping_event *e,
                        struct buf *out, const char **why);

static bool render_scalar(const yaml_node_t *n, const struct rows *r, struct buf *out, const char **why)
{
    struct buf text;

    buf_init(&text, LIMIT_EVENT_BYTES);
    enum template_kind kind = template_render(scalar(n), r, &text, why);
    if (text.failed)
        *why = "event_too_large";
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

static int case_count(const struct mapping *m)
{
    return m->event ? 1 : (int)(m->cases->data.sequence.items.top - m->cases->data.sequence.items.start);
}

static yaml_node_t *case_at(const struct mapping *m, int i)
{
    return m->event ? NULL : node_at(m, m->cases->data.sequence.items.start[i]);
}

static yaml_node_t *shape_at(const struct mapping *m, int i)
{
    return m->event ? m->event : member(m, case_at(m, i), "event");
}

static bool case_fits(const struct mapping *m, int i, const struct rows *r)
{
    yaml_node_t *when = member(m, case_at(m, i), "when");

    return !when || str_starts(rows_value(r, scalar(member(m, when, "column"))), scalar(member(m, when, "starts")));
}

static void event_begin(struct mapping_event *e)
{
    buf_reset(&e->open);
    buf_reset(&e->rows);
    e->at = SIZE_MAX;
    e->shape = MAPPING_NONE;
}

void mapping_event_init(struct mapping_event *e)
{
    buf_init(&e->open, LIMIT_EVENT_BYTES);
    buf_init(&e->rows, LIMIT_EVENT_BYTES);
    event_begin(e);
}

void mapping_event_deinit(struct mapping_event *e)
{
    buf_deinit(&e->open);
    buf_deinit(&e->rows);
}

/* Everything but the rows of its list. */
static const char *open_event(const struct mapping *m, const struct rows *r, struct mapping_event *e)
{
    const char *why = NULL;
    int i = 0;

    while (i < case_count(m) && !case_fits(m, i, r))
        i++;
    if (i == case_count(m))
        return "no_case_fits";
    render_node(m, shape_at(m, i), r, e, &e->open, &why);
    if (!why && e->open.failed)
        why = "event_too_large";
    if (why)
        event_begin(e); /* the next row of the group may do */
    else
        e->shape = i;
    return why;
}

/* The element of the list that this row adds; an element that says nothing adds none. */
static const char *add_element(const struct mapping *m, const yaml_node_t *list, const struct rows *r,
                               struct mapping_event *e)
{
    const char *why = NULL;
    size_t before = e->rows.n;

    if (before)
        buf_add_char(&e->rows, ',');
    bool written = render_node(m, node_at(m, list->data.sequence.items.start[0]), r, e, &e->rows, &why);
    if (!why && e->rows.failed)
        why = "event_too_large";
    if (why || !written) {
        e->rows.n = before;
        e->rows.failed = false;
    }
    return why;
}

const char *mapping_add(const struct mapping *m, const struct rows *r, struct mapping_event *e)
{
    bool fresh = e->shape == MAPPING_NONE;
    const char *why = fresh ? open_event(m, r, e) : NULL;
    yaml_node_t *list = why ? NULL : find_list(m, shape_at(m, e->shape));

    if (list)
        why = add_element(m, list, r, e);
    if (why && fresh && e->shape != MAPPING_NONE) { /* a list of none would say that there was nothing */
        buf_reset(&e->open);
        e->at = SIZE_MAX;
        e->shape = MAPPING_NONE;
    }
    return why;
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

/* The values of a shape: with `r` their columns; without, whether they can be used at all: known filters, at most one
 * list, of one element. */
static void check_shape(struct mapping *m, const yaml_node_t *n, const struct rows *r, int *lists, int depth)
{
    struct str what = STR_NONE;
    const char *fault = n->type == YAML_SCALAR_NODE ? template_fault(scalar(n), r, &what) : NULL;

    if (depth > DEPTH)
        fault = "an event is nested too deep";
    else if (n->type == YAML_SEQUENCE_NODE &&
             (n->data.sequence.items.top - n->data.sequence.items.start != 1 || ++*lists > 1))
        fault = "an event may have one list, of one element, which is repeated for each row";
    if (fault) {
        complain(m, n, fault, what);
    } else if (n->type == YAML_SEQUENCE_NODE) {
        check_shape(m, node_at(m, n->data.sequence.items.start[0]), r, lists, depth + 1);
    } else if (n->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = n->data.mapping.pairs.start; p < n->data.mapping.pairs.top; p++)
            check_shape(m, node_at(m, p->value), r, lists, depth + 1);
    }
}

static void check_when(struct mapping *m, const yaml_node_t *when, const struct rows *r)
{
    yaml_node_t *column = member(m, when, "column");

    if (!str_has(scalar(column)) || !str_has(scalar(member(m, when, "starts"))))
        complain(m, when, "`when` is {column: NAME, starts: TEXT}", STR_NONE);
    else if (r && !rows_has_column(r, scalar(column)))
        complain(m, column, "the file has no such column", scalar(column));
}

static void check_cases(struct mapping *m, const struct rows *r)
{
    for (int i = 0; i < case_count(m); i++) {
        yaml_node_t *shape = shape_at(m, i), *when = member(m, case_at(m, i), "when");
        int lists = 0;
        if (when)
            check_when(m, when, r);
        if (!shape || shape->type != YAML_MAPPING_NODE)
            complain(m, shape ? shape : case_at(m, i), "an `event` that is a mapping is needed", STR_NONE);
        else
            check_shape(m, shape, r, &lists, 0);
        if (shape && shape->type == YAML_MAPPING_NODE && !r && strcmp(m->route, "/v1/batch") == 0 &&
            !member(m, shape, "messageId"))
            complain(m, shape, "an event needs a messageId made of its columns, or sending it again counts it again",
                     STR_NONE);
    }
}

bool mapping_fits(const struct mapping *m, const struct rows *r)
{
    struct mapping copy = *m;

    check_cases(&copy, r);
    if (str_has(m->group) && !rows_has_column(r, m->group))
        copy.failed = cli_error("%s: group_by names a column that the file has not: %.*s", m->file, STR_ARG(m->group));
    return !copy.failed;
}

static void read_shapes(struct mapping *m, yaml_node_t *root)
{
    m->event = member(m, root, "event");
    m->cases = member(m, root, "cases");
    if (!m->event == !m->cases || (m->cases && m->cases->type != YAML_SEQUENCE_NODE))
        complain(m, root, "one of `event` and `cases` (a list) is needed", STR_NONE);
    else
        check_cases(m, NULL);
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
        good = !ferror(f) && getc(f) == EOF;
        if (!good)
            cli_error("cannot read %s: %s", file, ferror(f) ? strerror(errno) : "larger than a mapping may be");
        else
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
