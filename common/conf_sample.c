/* The sample and the reference of the configuration, written from its table. One thread. */
#include <stdio.h>

#include "common/conf.h"
#include "common/conf_inside.h"

#define WRAP 100 /* columns of the sample's comments and lists */

/* --- shared --- */

/* "1s to 1d", "embedded or kafka", words; nothing where there is no range. */
static void write_range(struct buf *out, const struct conf_row *row)
{
    if (row->type->write_bound) {
        row->type->write_bound(out, row->min);
        buf_add_text(out, " to ");
        row->type->write_bound(out, row->max);
        return;
    }
    for (int i = 0; i < 4 && row->choices[i]; i++)
        buf_addf(out, "%s%s", i ? " or " : "", row->choices[i]);
    if (row->range)
        buf_addf(out, "%s%s", row->choices[0] ? "; " : "", row->range);
}

static const char *change_words(enum conf_change change)
{
    switch (change) {
    case CONF_FIXED:
        return "no, once data exists";
    case CONF_REFOLD:
        return "needs a refold once data exists";
    case CONF_ONWARD:
        return "yes, for events from then on";
    default:
        return "yes";
    }
}

/* --- the sample --- */

static void write_indent(struct buf *out, unsigned level)
{
    for (unsigned i = 0; i < level; i++)
        buf_add_text(out, "  ");
}

/* Words in lines that begin with `indent` and "# ". */
static void write_comment(struct buf *out, unsigned level, struct str text)
{
    size_t column = WRAP;

    while (text.n > 0) {
        const char *space = memchr(text.p, ' ', text.n);
        size_t n = space ? (size_t)(space - text.p) : text.n;
        if (column + 1 + n > WRAP) {
            if (column < WRAP || out->p[out->n - 1] != '\n')
                buf_add_char(out, '\n');
            write_indent(out, level);
            buf_add_char(out, '#');
            column = 2 * level + 1;
        }
        buf_add_char(out, ' ');
        buf_add(out, text.p, n);
        column += 1 + n;
        n += space != NULL;
        text = (struct str){text.p + n, text.n - n};
    }
    buf_add_char(out, '\n');
}

static void write_row_comment(struct buf *out, unsigned level, const struct conf_row *row)
{
    struct buf text;

    buf_init(&text, 4096);
    buf_add_text(&text, row->why);
    size_t before = text.n;
    buf_add_text(&text, " (");
    size_t inside = text.n;
    write_range(&text, row);
    if (row->unbuilt)
        buf_addf(&text, "%snot built yet", text.n > inside ? "; " : "");
    if (row->change == CONF_FIXED || row->change == CONF_REFOLD)
        buf_addf(&text, "%s%s", text.n > inside ? "; " : "",
                 row->change == CONF_FIXED ? "fixed once data exists" : "a change needs a refold");
    if (text.n > inside)
        buf_add_char(&text, ')');
    else
        text.n = before;
    if (text.failed)
        out->failed = true;
    else
        write_comment(out, level, buf_str(&text));
    buf_deinit(&text);
}

/* A word of a list, in quotes unless it is surely a plain text in YAML. */
static void write_word(struct buf *out, struct str word)
{
    size_t i = 0;

    while (i < word.n && ((word.p[i] >= 'a' && word.p[i] <= 'z') || word.p[i] == '_' || (i > 0 && word.p[i] == '.')))
        i++;
    if (i == word.n)
        buf_add_str(out, word);
    else
        buf_addf(out, "\"%.*s\"", STR_ARG(word));
}

static void write_list(struct buf *out, unsigned level, const char *text)
{
    size_t line = out->n;
    bool first = true;

    buf_add_char(out, '[');
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        if (!first)
            buf_add_char(out, ',');
        if (out->n - line + n + 4 > WRAP - 20) {
            buf_add_char(out, '\n');
            line = out->n;
            write_indent(out, level + 1);
        } else if (!first) {
            buf_add_char(out, ' ');
        }
        write_word(out, (struct str){p, n});
        first = false;
        p += n + (p[n] == ',');
        while (*p == ' ')
            p++;
    }
    buf_add_text(out, "]\n");
}

static void write_keys(struct buf *out, unsigned level, const struct conf_sample *s)
{
    buf_add_text(out, "\n");
    if (s->beacon_key) {
        write_comment(out, level + 1,
                      STR_LIT("Public: stands in web pages. origins: [https://www.example.com] would "
                              "take it from that site only."));
        write_indent(out, level + 1);
        buf_addf(out, "- {name: web, source: web, kind: beacon, key: %s}\n", s->beacon_key);
    }
    if (s->server_sha256) {
        write_comment(out, level + 1, STR_LIT("Secret: only its SHA-256 stands here (printf %s KEY | sha256sum)."));
        write_indent(out, level + 1);
        buf_addf(out, "- {name: backend, source: backend, kind: server, sha256: %s}\n", s->server_sha256);
    }
}

static void write_tokens(struct buf *out, unsigned level, const struct conf_sample *s)
{
    buf_add_text(out, "\n");
    if (!s->token_sha256)
        return;
    write_indent(out, level + 1);
    buf_addf(out, "- {name: commands, sha256: %s, scopes: [lookup, admin]}\n", s->token_sha256);
}

static void write_sample_row(struct buf *out, unsigned level, const struct conf_row *row, const struct conf_sample *s)
{
    const char *name = strrchr(row->path, '.');

    write_row_comment(out, level, row);
    write_indent(out, level);
    buf_addf(out, "%s:%s", name ? name + 1 : row->path,
             row->type == &conf_type_keys || row->type == &conf_type_tokens || row->type == &conf_type_webhooks ? ""
                                                                                                                : " ");
    if (row->type == &conf_type_keys)
        write_keys(out, level, s);
    else if (row->type == &conf_type_tokens)
        write_tokens(out, level, s);
    else if (row->type == &conf_type_webhooks)
        buf_add_text(out, "\n");
    else if (row->type == &conf_type_hosts || row->type == &conf_type_ids || row->type == &conf_type_parameters)
        write_list(out, level, row->fallback);
    else if (row->type == &conf_type_properties)
        buf_add_text(out, "{}\n");
    else if (row->type == &conf_type_currency && s->currency)
        buf_addf(out, "%s\n", s->currency);
    else if (row->type == &conf_type_zone && s->timezone)
        buf_addf(out, "%s\n", s->timezone);
    else if (row->type == &conf_type_word && row->fallback)
        buf_addf(out, "\"%s\"\n", row->fallback); /* it may end in a colon */
    else
        buf_addf(out, "%s\n", row->fallback ? row->fallback : "null");
}

/* Heads of the sections that begin at this row; the level at which its name stands. */
static unsigned write_sections(struct buf *out, const char *path, const char *before)
{
    unsigned level = 0;
    const char *from = path;

    for (const char *dot; (dot = strchr(from, '.')); from = dot + 1, level++) {
        size_t n = (size_t)(dot - path) + 1;
        if (strncmp(path, before, n) == 0)
            continue;
        if (level == 0)
            buf_add_char(out, '\n');
        write_indent(out, level);
        buf_addf(out, "%.*s:\n", (int)(dot - from), from);
    }
    /* A blank line where a section ends. */
    if (level == 0 && strchr(before, '.'))
        buf_add_char(out, '\n');
    return level;
}

void conf_write_sample(struct buf *out, const struct conf_sample *s)
{
    const char *before = "";

    buf_add_text(
        out, "# The configuration of Waymark. Every option stands here at its default; what is left out is at its\n"
             "# default too. `waymark check` tells all mistakes. Durations: 500ms, 10s, 30m, 2h, 400d; sizes: 64KiB,\n"
             "# 4MiB, 2GiB. A relative path starts at this file's folder.\n\n");
    for (size_t i = 0; i < conf_row_count; i++) {
        unsigned level = write_sections(out, conf_rows[i].path, before);
        write_sample_row(out, level, &conf_rows[i], s);
        before = conf_rows[i].path;
    }
}

/* --- the reference --- */

/* Within a table a bar would end the cell. */
static void write_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void write_reference_row(struct buf *out, const char *prefix, const struct conf_row *row)
{
    buf_addf(out, "| `%s%s` | %s | ", prefix, row->path, row->type->name);
    if (row->fallback && strlen(row->fallback) > 40)
        buf_add_text(out, "see below");
    else if (row->fallback)
        buf_addf(out, "`%s`", row->fallback);
    buf_add_text(out, " | ");
    write_range(out, row);
    buf_addf(out, " | %s | ", change_words(row->change));
    write_cell(out, row->why);
    if (row->unbuilt)
        buf_add_text(out, " Not built in this version: only the default is taken.");
    buf_add_text(out, " |\n");
}

static void write_reference_rows(struct buf *out, const char *prefix, const struct conf_row *rows, size_t count)
{
    buf_add_text(out, "| option | type | default | range | may change | why |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++)
        write_reference_row(out, prefix, &rows[i]);
    buf_add_char(out, '\n');
}

static void write_long_fallbacks(struct buf *out)
{
    for (size_t i = 0; i < conf_row_count; i++) {
        const struct conf_row *row = &conf_rows[i];
        if (!row->fallback || strlen(row->fallback) <= 40)
            continue;
        buf_addf(out, "Default of `%s`:", row->path);
        for (const char *p = row->fallback; *p;) {
            size_t n = strcspn(p, ",");
            buf_addf(out, "%s `%.*s`", p == row->fallback ? "" : ",", (int)n, p);
            p += n + (p[n] == ',');
            while (*p == ' ')
                p++;
        }
        buf_add_text(out, ".\n\n");
    }
}

struct bound {
    const char *what;
    uint64_t value;
    const struct conf_type *type;
};

/* The bounds of limits.h that people meet. */
static void write_bounds(struct buf *out)
{
    const struct bound bounds[] = {
        {"request line and headers", LIMIT_HEAD, &conf_type_size},
        {"body under a beacon key, also inflated", LIMIT_BODY_BEACON, &conf_type_size},
        {"body under a server key, also inflated", LIMIT_BODY_SERVER, &conf_type_size},
        {"body sent to the profiler", LIMIT_BODY_LOOKUP, &conf_type_size},
        {"connections open at once, a server", LIMIT_CONNECTIONS, &conf_type_count},
        {"time for the head of a request", LIMIT_HEAD_MS, &conf_type_duration},
        {"time for its body", LIMIT_BODY_MS, &conf_type_duration},
        {"silence of a connection that is kept", LIMIT_IDLE_MS, &conf_type_duration},
        {"time from the body's end to the collector's answer", LIMIT_ANSWER_MS, &conf_type_duration},
        {"events of one request", LIMIT_EVENTS_PER_REQUEST, &conf_type_count},
        {"one event", LIMIT_EVENT_BYTES, &conf_type_size},
        {"nesting of an event", LIMIT_EVENT_DEPTH, &conf_type_count},
        {"an id, in bytes", LIMIT_ID_BYTES, &conf_type_count},
        {"a known text field", LIMIT_TEXT_BYTES, &conf_type_size},
        {"items of one event", LIMIT_ITEMS, &conf_type_count},
        {"an amount, in units of its currency", LIMIT_AMOUNT, &conf_type_count},
        {"a quantity", LIMIT_QUANTITY, &conf_type_count},
        {"names of one map of facts", LIMIT_MAP_NAMES, &conf_type_count},
        {"statements of one order that count", LIMIT_STATEMENTS, &conf_type_count},
        {"ids of one look-up", LIMIT_LOOKUP_IDS, &conf_type_count},
        {"events of one page of a path", LIMIT_PATH_PAGE, &conf_type_count},
        {"`wait` of a look-up", LIMIT_WAIT_MS, &conf_type_duration},
        {"look-ups that wait for a thread", LIMIT_LOOKUP_QUEUE, &conf_type_count},
        {"appended to the embedded log and not yet on disk", LIMIT_LOG_QUEUE_BYTES, &conf_type_size},
        {"the configuration file", CONF_FILE_BYTES, &conf_type_size},
    };

    buf_add_text(out, "## Fixed bounds\n\n| what | at most |\n|---|---|\n");
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        buf_addf(out, "| %s | ", bounds[i].what);
        bounds[i].type->write_bound(out, bounds[i].value);
        buf_add_text(out, " |\n");
    }
}

void conf_write_reference(struct buf *out)
{
    buf_add_text(
        out,
        "# Reference of the configuration\n\n"
        "Written from the table in `common/conf_table.c`; `config/waymark.yaml` is a file with every option at its "
        "default.\n\n"
        "One YAML file for all programs, found by `--config FILE`, else `./waymark.yaml`. Relative paths start at "
        "the file's folder. Durations are written `500ms`, `10s`, `30m`, `2h`, `400d`; sizes as bytes or with "
        "`KiB`, `MiB`, `GiB`, `TiB`. Mistakes are all shown in one run, as `file:line:column: text`. A changed "
        "option takes effect with the next start. *Refold* means that the option is part of what the profiles "
        "are: once data exists they must be folded again from the event log.\n\n"
        "## Options\n\n");
    write_reference_rows(out, "", conf_rows, conf_row_count);
    write_long_fallbacks(out);
    buf_add_text(out, "## Entries of `collector.keys`\n\n");
    write_reference_rows(out, "", conf_key_rows, conf_key_row_count);
    buf_add_text(out, "## Entries of `profiler.tokens`\n\n");
    write_reference_rows(out, "", conf_token_rows, conf_token_row_count);
    buf_add_text(out, "## Entries of `profiler.webhooks`\n\n");
    write_reference_rows(out, "", conf_webhook_rows, conf_webhook_row_count);
    write_bounds(out);
}
