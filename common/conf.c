/* Reading the configuration: the file, the walk over its tree by the table, what several options must agree on, and
 * the list of mistakes in the order of the file. One thread, at start-up. */
#include "common/conf.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/conf_inside.h"
#include "common/event_log.h"
#include "common/traits_vocabulary.h"

/* What conf_load returns is the first member. */
struct whole {
    struct conf conf;
    struct arena arena;
};

/* --- mistakes --- */

static void add_error(struct conf_state *s, unsigned line, unsigned column, const char *format, va_list args)
{
    char text[400];

    if (s->error_count < CONF_ERRORS) {
        vsnprintf(text, sizeof text, format, args);
        struct str copy = arena_dup(s->arena, str_of(text));
        s->errors[s->error_count] = (struct conf_error){line, column, copy.p ? copy.p : "out of memory"};
    }
    s->error_count++;
}

void conf_error_at(struct conf_state *s, unsigned line, unsigned column, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_error(s, line, column, format, args);
    va_end(args);
}

void conf_error(struct conf_state *s, const struct conf_node *at, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_error(s, at ? at->line : 0, at ? at->column : 0, format, args);
    va_end(args);
}

const char *conf_shown(struct conf_state *s, struct str text)
{
    struct buf b;
    size_t n = text.n < 60 ? text.n : 60;

    while (n < text.n && n > 50 && ((unsigned char)text.p[n] & 0xc0) == 0x80) /* not within a character */
        n--;
    buf_init(&b, 4 * 60 + 16);
    buf_add_char(&b, '\'');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == 0x7f)
            buf_addf(&b, "\\x%02x", c);
        else
            buf_add_char(&b, text.p[i]);
    }
    buf_add_text(&b, n < text.n ? "…'" : "'");
    struct str copy = arena_dup(s->arena, buf_str(&b));
    buf_deinit(&b);
    return copy.p ? copy.p : "?";
}

void *conf_alloc(struct conf_state *s, size_t n)
{
    void *p = arena_alloc(s->arena, n);

    if (!p)
        conf_error(s, NULL, "out of memory");
    return p;
}

const char *conf_copy(struct conf_state *s, struct str text)
{
    struct str copy = arena_dup(s->arena, text);

    if (!copy.p)
        conf_error(s, NULL, "out of memory");
    return copy.p;
}

static int by_place(const void *a, const void *b)
{
    const struct conf_error *x = a, *y = b;

    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return strcmp(x->text, y->text);
}

void conf_write_errors(struct conf_state *s, struct buf *out)
{
    size_t n = s->error_count < CONF_ERRORS ? s->error_count : CONF_ERRORS;

    qsort(s->errors, n, sizeof s->errors[0], by_place);
    for (size_t i = 0; i < n; i++) {
        const struct conf_error *e = &s->errors[i];
        if (i > 0 && by_place(e - 1, e) == 0) /* by an alias, the same again */
            continue;
        if (e->line > 0)
            buf_addf(out, "%s:%u:%u: %s\n", s->file, e->line, e->column, e->text);
        else
            buf_addf(out, "%s: %s\n", s->file, e->text);
    }
    if (s->error_count > n)
        buf_addf(out, "%s: and %zu mistakes more\n", s->file, s->error_count - n);
}

/* --- the walk --- */

/* How many letters must be put in, taken out or changed to make one of the other; at most 32 letters are looked at. */
static unsigned distance(struct str a, struct str b)
{
    unsigned row[33];

    if (a.n > 32 || b.n > 32)
        return 33;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned changed = corner + (a.p[i - 1] != b.p[j - 1]);
            unsigned moved = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            corner = row[j];
            row[j] = changed < moved ? changed : moved;
        }
    }
    return row[b.n];
}

/* The name at this level that a row's path goes through: "listen" of "collector.listen" under "collector.". */
static struct str level_name(const struct conf_row *row, struct str prefix)
{
    struct str path = str_of(row->path);

    if (!str_starts(path, prefix))
        return STR_NONE;
    const char *from = path.p + prefix.n, *dot = strchr(from, '.');
    return (struct str){from, dot ? (size_t)(dot - from) : strlen(from)};
}

static void report_unknown(struct conf_state *s, const struct conf_row *rows, size_t count, struct str prefix,
                           const struct conf_node *key)
{
    struct str best = STR_NONE;
    unsigned least = key->text.n < 6 ? 2 : 3; /* more letters wrong is another word */

    for (size_t i = 0; i < count; i++) {
        struct str name = level_name(&rows[i], prefix);
        unsigned d = str_has(name) ? distance(key->text, name) : least;
        if (d < least) {
            least = d;
            best = name;
        }
    }
    if (str_has(best))
        conf_error(s, key, "unknown option %s; is %.*s meant?", conf_shown(s, key->text), STR_ARG(best));
    else
        conf_error(s, key, "unknown option %s", conf_shown(s, key->text));
}

void *conf_field(const struct conf_row *row, void *base)
{
    return row->offset == CONF_NOWHERE ? NULL : (char *)base + row->offset;
}

static bool same_text(const struct conf_node *a, const struct conf_node *b)
{
    return a->text.n == b->text.n && strncasecmp(a->text.p, b->text.p, a->text.n) == 0;
}

static void read_row(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    if (!row->type->read(s, row, n, base) || !row->unbuilt)
        return;
    const struct conf_node *fallback = conf_fallback_node(s, row);
    if (fallback && !same_text(n, fallback))
        conf_error(s, n, "%s: %s is not built in this version, only %s", row->path, conf_shown(s, n->text),
                   row->fallback);
}

static void read_pair(struct conf_state *s, const struct conf_row *rows, size_t count, struct str prefix,
                      const struct conf_node *key, const struct conf_node *value, void *base,
                      const struct conf_node **seen)
{
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(level_name(&rows[i], prefix), key->text))
            continue;
        if (rows[i].path[prefix.n + key->text.n] == '.') { /* a section */
            struct buf deeper;
            buf_init(&deeper, 256);
            buf_addf(&deeper, "%.*s%.*s.", STR_ARG(prefix), STR_ARG(key->text));
            buf_add_char(&deeper, '\0');
            if (!deeper.failed)
                conf_read_map(s, rows, count, deeper.p, value, base, seen);
            buf_deinit(&deeper);
        } else {
            seen[i] = value;
            read_row(s, &rows[i], value, base);
        }
        return;
    }
    report_unknown(s, rows, count, prefix, key);
}

void conf_read_map(struct conf_state *s, const struct conf_row *rows, size_t count, const char *prefix,
                   const struct conf_node *n, void *base, const struct conf_node **seen)
{
    if (conf_null(n)) /* a section of which everything is commented out */
        return;
    if (n->kind != CONF_MAP_NODE) {
        conf_error(s, n, "%.*s%sa map of options must stand here", (int)(*prefix ? strlen(prefix) - 1 : 0), prefix,
                   *prefix ? ": " : "");
        return;
    }
    for (size_t i = 0; i < n->n; i++)
        read_pair(s, rows, count, str_of(prefix), n->keys[i], n->items[i], base, seen);
}

static const char *skip_spaces(const char *p)
{
    while (*p == ' ')
        p++;
    return p;
}

/* Fallbacks of lists are words with commas between; none of them holds a comma itself. */
static struct conf_node *fallback_list(struct conf_state *s, const char *text)
{
    struct conf_node *list = conf_alloc(s, sizeof *list);
    size_t n = 1;

    for (const char *p = text; *p; p++)
        n += *p == ',';
    struct conf_node **items = conf_alloc(s, n * sizeof *items), *words = conf_alloc(s, n * sizeof *words);
    if (!list || !items || !words)
        return NULL;
    *list = (struct conf_node){.kind = CONF_LIST_NODE, .items = items};
    for (const char *p = skip_spaces(text); *p; p = skip_spaces(p)) {
        size_t length = strcspn(p, ",");
        words[list->n] = (struct conf_node){.kind = CONF_SCALAR, .quoted = true, .text = {p, length}};
        items[list->n] = &words[list->n];
        list->n++;
        p += length + (p[length] == ',');
    }
    return list;
}

struct conf_node *conf_fallback_node(struct conf_state *s, const struct conf_row *row)
{
    if (!row->fallback)
        return NULL;
    if (row->type == &conf_type_hosts || row->type == &conf_type_ids || row->type == &conf_type_parameters)
        return fallback_list(s, row->fallback);
    struct conf_node *n = conf_alloc(s, sizeof *n);
    if (n)
        *n = (struct conf_node){.kind = CONF_SCALAR, .text = str_of(row->fallback)};
    return n;
}

void conf_read_fallbacks(struct conf_state *s, const struct conf_row *rows, size_t count, void *base)
{
    for (size_t i = 0; i < count; i++) {
        const struct conf_node *n = conf_fallback_node(s, &rows[i]);
        if (!n)
            continue;
        bool good = rows[i].type->read(s, &rows[i], n, base);
        assert(good || s->error_count > 0);
        (void)good;
    }
}

/* --- what several options must agree on --- */

static const struct conf_node *node_of(const struct conf_node *const *seen, const char *path)
{
    for (size_t i = 0; i < conf_row_count; i++)
        if (strcmp(conf_rows[i].path, path) == 0)
            return seen[i];
    assert(false);
    return NULL;
}

/* Several port 0 are several ports. */
static bool same_address(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0 && !str_eq(str_of(strrchr(a, ':')), STR_LIT(":0"));
}

static void check_metrics(struct conf_state *s, const struct conf_node *at, const char *listen, const char *metrics)
{
    if (at && same_address(listen, metrics))
        conf_error(s, at,
                   "metrics_listen: %s is the address of `listen`; leave metrics_listen out to have /metrics "
                   "there (on a loopback address only), or name another port",
                   metrics);
}

static void check_kafka(struct conf_state *s, const struct conf *c, const struct conf_node *const *seen)
{
    if (!c->kafka || s->error_count > 0)
        return;
    for (size_t i = 0; i < c->kafka_property_count; i++)
        if (strcmp(c->kafka_properties[i].name, "bootstrap.servers") == 0 ||
            strcmp(c->kafka_properties[i].name, "metadata.broker.list") == 0)
            return;
    conf_error(s, node_of(seen, "event_log"), "event_log: kafka needs kafka: {bootstrap.servers: HOST:PORT,…}");
}

static void check_tls(struct conf_state *s, const char *part, const struct conf_node *certificate,
                      const struct conf_node *key)
{
    const struct conf_node *given = certificate ? certificate : key;

    if (given && (!certificate || !key || conf_null(certificate) != conf_null(key)))
        conf_error(s, given, "%s.tls: needs certificate and key, or neither", part);
}

static void check_agreement(struct conf_state *s, const struct conf *c, const struct conf_node *const *seen)
{
    check_kafka(s, c, seen);
    check_tls(s, "collector", node_of(seen, "collector.tls.certificate"), node_of(seen, "collector.tls.key"));
    check_tls(s, "profiler", node_of(seen, "profiler.tls.certificate"), node_of(seen, "profiler.tls.key"));
    if (c->collector.require_user_hash && !c->collector.user_hash_secret_file)
        conf_error(s, node_of(seen, "collector.require_user_hash"),
                   "collector.require_user_hash: needs user_hash_secret_file beside it");
    check_metrics(s, node_of(seen, "collector.metrics_listen"), c->collector.listen, c->collector.metrics_listen);
    check_metrics(s, node_of(seen, "profiler.metrics_listen"), c->profiler.listen, c->profiler.metrics_listen);
    const struct conf_node *at = node_of(seen, "profiler.listen");
    if (!at)
        at = node_of(seen, "collector.listen");
    if (at && same_address(c->collector.listen, c->profiler.listen))
        conf_error(s, at, "listen: %s is the collector's and the profiler's address; name another port for one of them",
                   c->profiler.listen);
}

/* --- the whole --- */

static const char *conf_within(struct conf_state *s, const char *folder, const char *name)
{
    char path[PATH_MAX + 64];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);

    return conf_copy(s, (struct str){path, n > 0 && (size_t)n < sizeof path ? (size_t)n : 0});
}

static void read_all(struct conf_state *s, struct str text, struct conf *c)
{
    const struct conf_node **seen = conf_alloc(s, conf_row_count * sizeof *seen);

    if (!seen)
        return;
    memset(seen, 0, conf_row_count * sizeof *seen);
    c->file = conf_copy(s, str_of(s->file));
    conf_read_fallbacks(s, conf_rows, conf_row_count, c);
    struct conf_node *root = conf_yaml(s, text);
    if (!root)
        return;
    conf_read_map(s, conf_rows, conf_row_count, "", root, c, seen);
    check_agreement(s, c, seen);
    if (!c->keys && s->error_count == 0)
        c->keys = conf_within(s, c->data, "keys");
    if (!c->profiler.backups && s->error_count == 0)
        c->profiler.backups = conf_within(s, c->data, "backups");
}

struct conf *conf_parse(const char *file, struct str text, struct buf *errors)
{
    return conf_parse_within(file, text, errors, CONF_MEMORY);
}

struct conf *conf_parse_within(const char *file, struct str text, struct buf *errors, size_t memory)
{
    struct whole *w = calloc(1, sizeof *w);
    struct conf_state *s = calloc(1, sizeof *s);

    if (!w || !s) {
        buf_addf(errors, "%s: out of memory\n", file);
        free(w);
        free(s);
        return NULL;
    }
    arena_init(&w->arena, memory);
    *s = (struct conf_state){.file = file, .arena = &w->arena};
    if (text.n > CONF_FILE_BYTES)
        conf_error(s, NULL, "larger than %zu bytes", CONF_FILE_BYTES);
    else
        read_all(s, text, &w->conf);
    bool good = s->error_count == 0;
    conf_write_errors(s, errors);
    free(s);
    /* A file of its own, with mistakes of its own. */
    if (good || w->conf.traits_file)
        w->conf.vocabulary = vocabulary_load(w->conf.traits_file, errors);
    if (good && w->conf.vocabulary)
        return &w->conf;
    conf_free(&w->conf);
    return NULL;
}

char *conf_read_file(const char *file, size_t *n, struct buf *errors)
{
    FILE *f = fopen(file, "rb");
    char *text = malloc(CONF_FILE_BYTES + 1);
    bool good;

    *n = f && text ? fread(text, 1, CONF_FILE_BYTES + 1, f) : 0;
    good = f && text && !ferror(f);
    if (!good)
        buf_addf(errors, "%s: cannot be read: %s\n", file, strerror(errno));
    if (f)
        fclose(f);
    if (good)
        return text;
    free(text);
    return NULL;
}

struct conf *conf_load(const char *file, struct buf *errors)
{
    size_t n;
    char *text = conf_read_file(file, &n, errors);
    struct conf *c = text ? conf_parse(file, (struct str){text, n}, errors) : NULL;

    free(text);
    return c;
}

void conf_free(struct conf *c)
{
    struct whole *w = (struct whole *)c;

    if (!w)
        return;
    vocabulary_free(w->conf.vocabulary);
    arena_deinit(&w->arena);
    free(w);
}
