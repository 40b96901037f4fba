/* Reading a file of tags: YAML whose rules are compiled, with every mistake in one run. Any thread.
 *
 * A mistake in a rule stands at its own place in the file where the rule is on one line there; else at the beginning of
 * the rule, and the words say where in it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/conf_inside.h"
#include "common/json.h"
#include "common/json_text.h"
#include "common/limits.h"
#include "profiler/tags_inside.h"

extern const char tags_yaml[]; /* config/tags.yaml, made at build */
extern const size_t tags_yaml_size;

struct reading {
    struct conf_state *s;
    struct str text; /* of the file */
    struct tags *t;
    const struct vocabulary *traits;
    const char *file;
    struct buf *warnings; /* may be NULL */
};

struct str tags_builtin_text(void)
{
    return (struct str){tags_yaml, tags_yaml_size};
}

/* --- places ----------------------------------------------------------------------------------------------------- */

struct rule_place {
    unsigned line, column;
    bool exact; /* else of the rule's beginning */
};

/* The line of the file, from 1. */
static struct str line_of(struct str text, unsigned line)
{
    size_t from = 0;

    for (; line > 1 && from < text.n; line--) {
        const char *end = memchr(text.p + from, '\n', text.n - from);
        from = end ? (size_t)(end - text.p) + 1 : text.n;
    }
    const char *end = from < text.n ? memchr(text.p + from, '\n', text.n - from) : NULL;
    return (struct str){text.p + from, (end ? (size_t)(end - text.p) : text.n) - from};
}

/* The text of a line from a character on; columns count characters from 1. */
static struct str from_column(struct str line, unsigned column)
{
    size_t i = 0;

    for (; column > 1 && i < line.n; column--)
        for (i++; i < line.n && ((unsigned char)line.p[i] & 0xc0) == 0x80;)
            i++;
    return (struct str){line.p + i, line.n - i};
}

/* A rule as it stands in the file without a change: plain, in quotes without any escape, or a block of lines. */
static struct rule_place place_in(const struct reading *r, const struct conf_node *n, unsigned line, unsigned column)
{
    struct str at = from_column(line_of(r->text, n->line), n->column);
    struct rule_place start = {n->line, n->column, line == 1 && column == 1};

    if (!n->quoted || (at.n > 0 && (at.p[0] == '"' || at.p[0] == '\''))) {
        struct str inside = n->quoted ? (struct str){at.p + 1, at.n - 1} : at;
        if (line == 1 && str_starts(inside, n->text))
            return (struct rule_place){n->line, n->column + (n->quoted ? 1 : 0) + column - 1, true};
        return start;
    }
    if (at.n == 0 || at.p[0] != '|') /* folded lines are not where they were */
        return start;
    struct str below = line_of(r->text, n->line + line);
    struct str first = line_of(r->text, n->line + 1);
    unsigned indent = 0;
    while (indent < first.n && first.p[indent] == ' ')
        indent++;
    return indent <= below.n ? (struct rule_place){n->line + line, indent + column, true} : start;
}

static void refuse_rule(struct reading *r, const struct conf_node *n, const struct rule_error *e)
{
    struct rule_place at = place_in(r, n, e->line, e->column);
    char where[64] = "";

    if (!at.exact)
        snprintf(where, sizeof where, "line %u, column %u of the rule: ", e->line, e->column);
    if (e->suggestion[0])
        conf_error_at(r->s, at.line, at.column, "%s%s; did you mean %s?", where, e->message, e->suggestion);
    else
        conf_error_at(r->s, at.line, at.column, "%s%s", where, e->message);
}

static void warn(struct reading *r, const struct conf_node *n, const struct rule *rule)
{
    const struct rule_warning *w;
    size_t count = rule_warnings(rule, &w);

    for (size_t i = 0; r->warnings && i < count; i++) {
        struct rule_place at = place_in(r, n, w[i].line, w[i].column);
        buf_addf(r->warnings, "%s:%u:%u: %s\n", r->file, at.line, at.column, w[i].message);
    }
}

/* --- rules ------------------------------------------------------------------------------------------------------ */

/* NULL after a mistake. */
static struct rule *read_rule(struct reading *r, const struct conf_node *n, enum rule_type want)
{
    const struct rule_names names = {.traits = r->traits, .tags = r->t->names, .tag_count = r->t->count};
    struct rule_error e = {0};
    struct rule *rule = NULL;

    if (n->kind != CONF_SCALAR) {
        conf_error(r->s, n, "a rule must stand here; one with ': ', '#' or brackets at its start needs quotes");
        return NULL;
    }
    int status = rule_compile(n->text, want, &names, &rule, &e);
    if (status == -EINVAL)
        refuse_rule(r, n, &e);
    else if (status != 0)
        conf_error(r->s, NULL, "out of memory");
    else if (rule_needs(rule) & RULE_NEEDS_AUDIENCES)
        conf_error(r->s, n, "tags are given before audiences are judged, so a tag's rule cannot ask for one");
    else {
        warn(r, n, rule);
        return rule;
    }
    rule_free(rule);
    return NULL;
}

/* The value as JSON, and its type. */
static bool write_value(const struct conf_node *n, struct buf *json, enum rule_type *type)
{
    if (!n->quoted && (str_is(n->text, "true") || str_is(n->text, "false"))) {
        *type = RULE_BOOL;
        return buf_add_str(json, n->text);
    }
    if (!n->quoted && n->text.n > 0 && json_number_length(n->text.p, n->text.n) == n->text.n) {
        *type = RULE_NUMBER;
        return buf_add_str(json, n->text);
    }
    *type = RULE_STRING;
    json_write_str(json, n->text);
    return !json->failed;
}

static void read_constant(struct reading *r, const struct conf_node *n, struct tag *g, struct tag_value_rule *out)
{
    enum rule_type type = RULE_STRING;
    struct buf json;

    buf_init(&json, 8 * LIMIT_TAG_VALUE_BYTES);
    if (n->text.n == 0 || n->text.n > LIMIT_TAG_VALUE_BYTES) {
        conf_error(r->s, n, "a value has 1 to %d bytes", LIMIT_TAG_VALUE_BYTES);
    } else if (!write_value(n, &json, &type)) {
        conf_error(r->s, NULL, "out of memory");
    } else if (g->type != RULE_ANY && g->type != type) {
        conf_error(r->s, n, "%s is a %s, and the values before it or its type: say %s", conf_shown(r->s, n->text),
                   rule_type_names[type], rule_type_names[g->type]);
    } else {
        g->type = type;
        out->value = arena_dup(&r->t->arena, buf_str(&json));
        if (!str_has(out->value) || rule_value_read(out->value, &r->t->arena, &out->constant) != 0)
            conf_error(r->s, n, "%s cannot be kept as a value", conf_shown(r->s, n->text));
    }
    buf_deinit(&json);
}

static void read_values(struct reading *r, const struct conf_node *n, struct tag *g)
{
    struct tag_value_rule *rules;

    if (n->kind != CONF_LIST_NODE || n->n == 0 || n->n > LIMIT_TAG_RULES) {
        conf_error(r->s, n, "values: needs a list of 1 to %d entries such as - gold: spent > 1000", LIMIT_TAG_RULES);
        return;
    }
    rules = arena_zalloc(&r->t->arena, n->n * sizeof *rules);
    if (!rules) {
        conf_error(r->s, NULL, "out of memory");
        return;
    }
    g->rules = rules;
    for (size_t i = 0; i < n->n; i++) {
        const struct conf_node *one = n->items[i];
        if (one->kind != CONF_MAP_NODE || one->n != 1) {
            conf_error(r->s, one, "a value and its rule must stand here, such as gold: spent > 1000");
            continue;
        }
        struct tag_value_rule *v = &rules[g->rule_count];
        read_constant(r, one->keys[0], g, v);
        v->rule = read_rule(r, one->items[0], RULE_BOOL);
        g->rule_count += v->rule != NULL;
    }
}

static void read_expression(struct reading *r, const struct conf_node *n, struct tag *g)
{
    struct tag_value_rule *one = arena_zalloc(&r->t->arena, sizeof *one);

    if (!one) {
        conf_error(r->s, NULL, "out of memory");
        return;
    }
    one->rule = read_rule(r, n, g->type);
    if (!one->rule)
        return;
    g->rules = one;
    g->rule_count = 1;
    if (g->type == RULE_ANY)
        g->type = rule_type(one->rule);
    if (g->type != RULE_BOOL && g->type != RULE_NUMBER && g->type != RULE_STRING)
        conf_error(r->s, n,
                   "what this gives is known only when it is evaluated: type: must say string, number or bool");
    if (g->type != RULE_BOOL && rule_personal(one->rule))
        conf_error(r->s, n,
                   "a tag is shown to everybody who may look somebody up: it cannot be a personal value; "
                   "values: with rules may ask for one");
}

/* --- tags ------------------------------------------------------------------------------------------------------- */

static void read_type(struct reading *r, const struct conf_node *n, struct tag *g)
{
    static const enum rule_type types[] = {RULE_STRING, RULE_NUMBER, RULE_BOOL};

    for (size_t i = 0; n->kind == CONF_SCALAR && i < sizeof types / sizeof types[0]; i++)
        if (str_is(n->text, rule_type_names[types[i]]))
            g->type = types[i];
    if (g->type == RULE_ANY)
        conf_error(r->s, n, "type: is one of %s, %s, %s", rule_type_names[RULE_STRING], rule_type_names[RULE_NUMBER],
                   rule_type_names[RULE_BOOL]);
}

static struct str read_words(struct reading *r, const struct conf_node *key, const struct conf_node *n)
{
    if (n->kind != CONF_SCALAR) {
        conf_error(r->s, n, "%s: words must stand here", conf_shown(r->s, key->text));
        return STR_NONE;
    }
    struct str copy = arena_dup(&r->t->arena, n->text);
    if (!str_has(copy))
        conf_error(r->s, NULL, "out of memory");
    return copy;
}

struct members {
    const struct conf_node *type, *rule, *values;
};

static void sort_member(struct reading *r, const struct conf_node *key, const struct conf_node *n, struct tag *g,
                        struct members *m)
{
    if (str_is(key->text, "description"))
        g->description = read_words(r, key, n);
    else if (str_is(key->text, "owner"))
        g->owner = read_words(r, key, n);
    else if (str_is(key->text, "type"))
        m->type = n;
    else if (str_is(key->text, "rule"))
        m->rule = n;
    else if (str_is(key->text, "values"))
        m->values = n;
    else
        conf_error(r->s, key, "unknown member %s; a tag has description, owner, type, and rule or values",
                   conf_shown(r->s, key->text));
}

static void read_members(struct reading *r, const struct conf_node *key, const struct conf_node *n, struct tag *g)
{
    struct members m = {0};

    if (n->kind != CONF_MAP_NODE) {
        conf_error(r->s, n, "%s: needs a map such as {rule: orders > 0}", conf_shown(r->s, key->text));
        return;
    }
    for (size_t i = 0; i < n->n; i++)
        sort_member(r, n->keys[i], n->items[i], g, &m);
    if (m.type)
        read_type(r, m.type, g);
    if (m.rule && m.values)
        conf_error(r->s, m.rule, "a tag has rule: or values:, not both");
    else if (m.values)
        read_values(r, m.values, g);
    else if (m.rule)
        read_expression(r, m.rule, g);
    else if (!m.type)
        conf_error(r->s, key, "%s needs rule: or values:, or for one that is set by hand alone type:",
                   conf_shown(r->s, key->text));
}

static void read_tag(struct reading *r, const struct conf_node *key, const struct conf_node *n)
{
    struct tags *t = r->t;
    struct tag *g = &t->tags[t->count];

    *g = (struct tag){.name = arena_dup(&t->arena, key->text), .type = RULE_ANY};
    if (!tags_is_name(key->text))
        conf_error(r->s, key, "%s is no name of a tag: small letters, digits and underscores, a letter first",
                   conf_shown(r->s, key->text));
    if (!str_has(g->name))
        conf_error(r->s, NULL, "out of memory");
    else
        read_members(r, key, n, g);
    t->names[t->count] = (struct rule_tag){g->name, g->type};
    t->count++;
}

static bool make_room(struct reading *r, size_t n)
{
    struct tags *t = r->t;

    t->tags = arena_zalloc(&t->arena, (n + 1) * sizeof *t->tags);
    t->names = arena_zalloc(&t->arena, (n + 1) * sizeof *t->names);
    if (!t->tags || !t->names)
        conf_error(r->s, NULL, "out of memory");
    return t->tags && t->names;
}

static void read_all(struct reading *r)
{
    if (r->text.n > CONF_FILE_BYTES) {
        conf_error(r->s, NULL, "larger than %zu bytes", CONF_FILE_BYTES);
        return;
    }
    const struct conf_node *root = conf_yaml(r->s, r->text);
    if (!root)
        return;
    if (root->kind != CONF_MAP_NODE) {
        conf_error(r->s, root, "a map of tags must stand here; {} has none");
        return;
    }
    if (root->n > LIMIT_TAGS) {
        conf_error(r->s, root, "has %zu tags, the most is %d", root->n, LIMIT_TAGS);
        return;
    }
    if (!make_room(r, root->n))
        return;
    for (size_t i = 0; i < root->n; i++)
        read_tag(r, root->keys[i], root->items[i]);
    if (r->s->error_count == 0 && tags_finish(r->t) != 0)
        conf_error(r->s, NULL, "out of memory");
}

int tags_parse(const char *file, struct str text, const struct vocabulary *traits, struct tags **out,
               struct buf *errors, struct buf *warnings)
{
    struct tags *t = tags_new();
    struct conf_state *s = calloc(1, sizeof *s);
    struct arena scratch;

    arena_init(&scratch, CONF_MEMORY);
    if (t && s) {
        *s = (struct conf_state){.file = file, .arena = &scratch};
        read_all(&(struct reading){.s = s, .text = text, .t = t, .traits = traits, .file = file, .warnings = warnings});
        conf_write_errors(s, errors);
    } else {
        buf_addf(errors, "%s: out of memory\n", file);
    }
    bool good = t && s && s->error_count == 0;
    free(s);
    arena_deinit(&scratch);
    if (good)
        *out = t;
    else
        tags_unref(t);
    return good ? 0 : -EINVAL;
}

int tags_load(const char *path, const struct vocabulary *traits, struct tags **out, struct buf *errors,
              struct buf *warnings)
{
    size_t n;

    if (!path)
        return tags_parse("the built-in tags", tags_builtin_text(), traits, out, errors, warnings);
    char *text = conf_read_file(path, &n, errors);
    int r = text ? tags_parse(path, (struct str){text, n}, traits, out, errors, warnings) : -EINVAL;
    free(text);
    return r;
}
