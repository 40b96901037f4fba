/* The only file that knows libyaml: makes our tree of a document. libyaml lets duplicate keys, cycles and foreign tags
 * pass; here they are reported. It stops at the first mistake of syntax, and so do we. */
#include <assert.h>
#include <stdlib.h>
#include <yaml.h>

#include "common/conf_inside.h"

struct maker {
    struct conf_state *s;
    yaml_document_t *document;
    struct conf_node **made; /* by node number: an anchor's node is one, however often it is named */
    unsigned depth;
    unsigned char *open; /* by node number: on the way from the root to here */
};

static struct conf_node *make_node(struct maker *m, int number);

static int by_text(const void *a, const void *b)
{
    const struct conf_node *x = *(struct conf_node *const *)a, *y = *(struct conf_node *const *)b;
    int c = str_cmp(x->text, y->text);

    if (c != 0)
        return c;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static void refuse_duplicates(struct conf_state *s, const struct conf_node *map)
{
    struct conf_node **sorted = map->n > 1 ? conf_alloc(s, map->n * sizeof *sorted) : NULL;

    if (!sorted)
        return;
    memcpy(sorted, map->keys, map->n * sizeof *sorted);
    qsort(sorted, map->n, sizeof *sorted, by_text);
    for (size_t i = 1; i < map->n; i++)
        if (str_eq(sorted[i]->text, sorted[i - 1]->text))
            conf_error(s, sorted[i], "%s stands here a second time, first in line %u", conf_shown(s, sorted[i]->text),
                       sorted[i - 1]->line);
}

static bool make_list(struct maker *m, const yaml_node_t *from, struct conf_node *to)
{
    size_t n = (size_t)(from->data.sequence.items.top - from->data.sequence.items.start);

    to->kind = CONF_LIST_NODE;
    to->items = conf_alloc(m->s, n * sizeof *to->items);
    if (!to->items)
        return false;
    for (; to->n < n; to->n++) {
        to->items[to->n] = make_node(m, from->data.sequence.items.start[to->n]);
        if (!to->items[to->n])
            return false;
    }
    return true;
}

static bool make_map(struct maker *m, const yaml_node_t *from, struct conf_node *to)
{
    size_t n = (size_t)(from->data.mapping.pairs.top - from->data.mapping.pairs.start);

    to->kind = CONF_MAP_NODE;
    to->keys = conf_alloc(m->s, n * sizeof *to->keys);
    to->items = conf_alloc(m->s, n * sizeof *to->items);
    if (!to->keys || !to->items)
        return false;
    for (size_t i = 0; i < n; i++) {
        struct conf_node *key = make_node(m, from->data.mapping.pairs.start[i].key);
        struct conf_node *value = make_node(m, from->data.mapping.pairs.start[i].value);
        if (!key || !value)
            return false;
        if (key->kind != CONF_SCALAR) {
            conf_error(m->s, key, "a key must be a word");
            continue;
        }
        to->keys[to->n] = key;
        to->items[to->n++] = value;
    }
    refuse_duplicates(m->s, to);
    return true;
}

static void refuse_foreign_tag(struct conf_state *s, const yaml_node_t *from, const struct conf_node *to)
{
    const char *tag = (const char *)from->tag;

    if (tag && !str_starts(str_of(tag), STR_LIT("tag:yaml.org,2002:")))
        conf_error(s, to, "the tag %s is not known here", conf_shown(s, str_of(tag)));
}

static bool fill_node(struct maker *m, const yaml_node_t *from, struct conf_node *to)
{
    switch (from->type) {
    case YAML_SCALAR_NODE:
        to->kind = CONF_SCALAR;
        to->quoted = from->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        to->text =
            arena_dup(m->s->arena, (struct str){(const char *)from->data.scalar.value, from->data.scalar.length});
        return str_has(to->text);
    case YAML_SEQUENCE_NODE:
        return make_list(m, from, to);
    case YAML_MAPPING_NODE:
        return make_map(m, from, to);
    default:
        return false;
    }
}

/* NULL after a mistake that ends everything: a cycle, too deep, or memory. */
static struct conf_node *make_node(struct maker *m, int number)
{
    const yaml_node_t *from = yaml_document_get_node(m->document, number);
    assert(from);

    unsigned line = (unsigned)from->start_mark.line + 1, column = (unsigned)from->start_mark.column + 1;
    if (m->open[number]) {
        conf_error_at(m->s, line, column, "this contains itself by an alias");
        return NULL;
    }
    if (m->made[number])
        return m->made[number];
    if (m->depth == CONF_DEPTH) {
        conf_error_at(m->s, line, column, "nested deeper than %d levels", CONF_DEPTH);
        return NULL;
    }
    struct conf_node *to = conf_alloc(m->s, sizeof *to);
    if (!to)
        return NULL;
    *to = (struct conf_node){.line = line, .column = column};
    refuse_foreign_tag(m->s, from, to);
    m->open[number] = 1;
    m->depth++;
    bool good = fill_node(m, from, to);
    m->depth--;
    m->open[number] = 0;
    m->made[number] = good ? to : NULL;
    return m->made[number];
}

static struct conf_node *make_tree(struct conf_state *s, yaml_document_t *document)
{
    size_t n = (size_t)(document->nodes.top - document->nodes.start) + 1; /* numbers begin at 1 */
    struct maker m = {.s = s, .document = document};

    if (n > CONF_NODES) {
        conf_error(s, NULL, "more than %d values", CONF_NODES);
        return NULL;
    }
    m.made = conf_alloc(s, n * sizeof *m.made);
    m.open = conf_alloc(s, n);
    if (!m.made || !m.open)
        return NULL;
    memset(m.made, 0, n * sizeof *m.made);
    memset(m.open, 0, n);
    return make_node(&m, 1);
}

static struct conf_node *empty_map(struct conf_state *s)
{
    struct conf_node *n = conf_alloc(s, sizeof *n);

    if (n)
        *n = (struct conf_node){.kind = CONF_MAP_NODE, .line = 1, .column = 1};
    return n;
}

/* Bytes that are no text come with an offset instead of a line. */
static void report_reader_error(struct conf_state *s, const yaml_parser_t *parser, struct str text)
{
    size_t offset = parser->problem_offset < text.n ? parser->problem_offset : text.n;
    unsigned line = 1, column = 1;

    for (size_t i = 0; i < offset; i++) {
        column++;
        if (text.p[i] == '\n') {
            line++;
            column = 1;
        }
    }
    conf_error_at(s, line, column, "%s", parser->problem ? parser->problem : "not readable");
}

static size_t characters(struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += ((unsigned char)text.p[i] & 0xc0) != 0x80;
    return n;
}

static void report_syntax(struct conf_state *s, const yaml_parser_t *parser, struct str text)
{
    const yaml_mark_t *at = &parser->problem_mark;

    /* What is never closed is met at the end of the text: where it begins says more. */
    if (parser->context && parser->context_mark.index < at->index && at->index >= characters(text))
        at = &parser->context_mark;
    if (parser->error == YAML_READER_ERROR) {
        report_reader_error(s, parser, text);
    } else if (parser->error == YAML_MEMORY_ERROR) {
        conf_error(s, NULL, "out of memory");
    } else {
        conf_error_at(s, (unsigned)at->line + 1, (unsigned)at->column + 1, "%s%s%s",
                      parser->context ? parser->context : "", parser->context ? ": " : "",
                      parser->problem ? parser->problem : "not YAML");
    }
}

/* A second document would be read by nobody. */
static void refuse_second(struct conf_state *s, yaml_parser_t *parser, struct str text)
{
    yaml_document_t second;

    if (!yaml_parser_load(parser, &second)) {
        report_syntax(s, parser, text);
        return;
    }
    const yaml_node_t *root = yaml_document_get_root_node(&second);
    if (root)
        conf_error_at(s, (unsigned)second.start_mark.line + 1, (unsigned)second.start_mark.column + 1,
                      "a second document: one file is one document");
    yaml_document_delete(&second);
}

static bool few_brackets(struct str text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '[' || text.p[i] == '{';
    return n <= CONF_BRACKETS;
}

struct conf_node *conf_yaml(struct conf_state *s, struct str text)
{
    yaml_parser_t parser;
    yaml_document_t document;
    struct conf_node *root = NULL;

    if (!few_brackets(text)) {
        conf_error(s, NULL, "more than %d opening brackets", CONF_BRACKETS);
        return NULL;
    }
    if (!yaml_parser_initialize(&parser)) {
        conf_error(s, NULL, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.n);
    if (yaml_parser_load(&parser, &document)) {
        bool empty = !yaml_document_get_root_node(&document);
        root = empty ? empty_map(s) : make_tree(s, &document);
        yaml_document_delete(&document);
        if (!empty)
            refuse_second(s, &parser, text);
    } else {
        report_syntax(s, &parser, text);
    }
    yaml_parser_delete(&parser);
    return root;
}

bool conf_null(const struct conf_node *n)
{
    return n->kind == CONF_SCALAR && !n->quoted &&
           (n->text.n == 0 || str_is(n->text, "~") || str_is(n->text, "null") || str_is(n->text, "Null") ||
            str_is(n->text, "NULL"));
}
