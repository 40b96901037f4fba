/* waymark tag: tags of people, set by hand or from a file, and the set in use. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/audience.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

#define BATCH_BYTES (512 * KIB)
#define BATCH_LINES 2000
#define SHOWN_FAULTS 20

/* JSON where it reads as such, else a text: 3, true, gold. */
static void write_value(struct json_parser *parser, const char *text, struct buf *b)
{
    const struct json *v;
    struct buf copy;
    size_t n = strlen(text);

    buf_init(&copy, n + JSON_PADDING);
    buf_add(&copy, text, n);
    if (buf_room(&copy, JSON_PADDING) && json_parse(parser, copy.p, n, &v, NULL) == JSON_OK && v->type < JSON_ARRAY)
        buf_add_str(b, v->raw);
    else
        json_write_str(b, str_of(text));
    buf_deinit(&copy);
}

static void show_set(const struct json *o)
{
    const struct json *value = json_get(o, "value"), *defined = json_get(o, "defined");

    show_text(audience_text(o, "id"));
    printf("  ");
    show_text(audience_text(o, "tag"));
    printf(" = ");
    show_text(value ? value->raw : STR_LIT("null"));
    putchar('\n');
    if (defined && defined->type == JSON_FALSE)
        fprintf(stderr, "waymark: no rule gives a tag of this name; it is by hand alone\n");
}

static int set(struct cli_talk *t, const char *id, const char *name, const char *value, const char *until, bool json)
{
    struct buf path, body;
    int code;

    buf_init(&path, 8 * KIB);
    buf_init(&body, 64 * KIB);
    buf_add_text(&path, "/v1/profiles/");
    http_encode_segment(&path, str_of(id));
    audience_path(&path, "/tags/", name, "");
    if (value) {
        buf_add_text(&body, "{\"value\":");
        write_value(t->parser, value, &body);
        json_write_member(&body, "until", str_of(until));
        buf_add_char(&body, '}');
    }
    if (path.failed || body.failed)
        code = cli_error("it is too long");
    else
        code = audience_ask(t, value ? "PUT" : "DELETE", path.p, value ? buf_str(&body) : STR_NONE, NULL);
    buf_deinit(&path);
    buf_deinit(&body);
    return code == EXIT_OK ? cli_talk_show(t, json, show_set) : code;
}

/* --- the set -------------------------------------------------------------------------------------------------- */

static void show_tag(const struct json *o)
{
    const struct json *values = json_get(o, "values");

    printf("%-22.*s ", STR_ARG(audience_text(o, "name")));
    show_text(audience_text(o, "description"));
    putchar('\n');
    for (const struct json *v = values && values->type == JSON_OBJECT ? values->child : NULL; v; v = v->next) {
        fputs("    ", stdout);
        show_number(v);
        putchar('\t');
        show_text(v->key);
        putchar('\n');
    }
}

static void show_tags(const struct json *root)
{
    const struct json *list = json_get(root, "tags");

    for (const struct json *o = list && list->type == JSON_ARRAY ? list->child : NULL; o; o = o->next)
        show_tag(o);
}

/* --- a file --------------------------------------------------------------------------------------------------- */

/* Lines of NDJSON, sent some at a time. */
struct import {
    struct cli_talk *talk;
    FILE *file;
    uint64_t size, read, lines, first, accepted, refused, shown;
    struct buf batch;
    size_t batched;
    struct cli_progress progress;
};

static uint64_t number(const struct json *o, const char *key)
{
    char text[24];

    snprintf(text, sizeof text, "%.*s", STR_ARG(audience_text(o, key)));
    return strtoull(text, NULL, 10);
}

static void tell_faults(struct import *x, const struct json *root)
{
    const struct json *list = json_get(root, "rejected");

    for (const struct json *r = list && list->type == JSON_ARRAY ? list->child : NULL; r; r = r->next)
        if (x->shown++ < SHOWN_FAULTS)
            cli_error("entry %llu: %.*s", (unsigned long long)(x->first + number(r, "index") + 1),
                      STR_ARG(audience_text(r, "message")));
}

static int send_batch(struct import *x)
{
    int code;

    if (x->batched == 0)
        return EXIT_OK;
    code = audience_ask(x->talk, "POST", "/v1/profiles:tag", buf_str(&x->batch), NULL);
    if (code != EXIT_OK)
        return code;
    const struct json *root = client_json(x->talk->parser, &x->talk->answer);
    x->accepted += number(root, "accepted");
    x->refused += number(root, "refused");
    tell_faults(x, root);
    x->first += x->batched;
    x->batched = 0;
    buf_reset(&x->batch);
    cli_progress_show(&x->progress, x->read, x->size, x->first, false);
    return EXIT_OK;
}

static bool is_blank(const char *s)
{
    return s[strspn(s, " \t\r\n")] == '\0';
}

static int read_lines(struct import *x)
{
    char *line = NULL;
    size_t room = 0;
    int code = EXIT_OK;
    ssize_t n;

    while (code == EXIT_OK && (n = getline(&line, &room, x->file)) > 0) {
        x->read += (uint64_t)n;
        x->lines++;
        if (is_blank(line))
            continue;
        if ((size_t)n > BATCH_BYTES)
            code = cli_error("line %llu is over %zu KiB", (unsigned long long)x->lines, BATCH_BYTES / KIB);
        else if (x->batch.n + (size_t)n + 1 > BATCH_BYTES || x->batched >= BATCH_LINES)
            code = send_batch(x);
        if (code != EXIT_OK)
            break;
        buf_add(&x->batch, line, (size_t)n);
        if (line[n - 1] != '\n')
            buf_add_char(&x->batch, '\n');
        x->batched++;
    }
    free(line);
    if (code == EXIT_OK && ferror(x->file))
        code = cli_error("it cannot be read: %s", strerror(errno));
    return code == EXIT_OK ? send_batch(x) : code;
}

static int import(struct cli_talk *t, const char *file)
{
    struct import x = {.talk = t, .file = fopen(file, "r")};
    struct stat st;
    int code;

    if (!x.file)
        return cli_error("%s: %s", file, strerror(errno));
    x.size = fstat(fileno(x.file), &st) == 0 ? (uint64_t)st.st_size : 0;
    buf_init(&x.batch, 2 * BATCH_BYTES);
    cli_progress_begin(&x.progress, "tags");
    code = read_lines(&x);
    if (x.progress.drawn)
        cli_progress_show(&x.progress, x.read, x.size, x.first, true);
    buf_deinit(&x.batch);
    fclose(x.file);
    fprintf(stderr, "waymark: %llu set, %llu refused\n", (unsigned long long)x.accepted, (unsigned long long)x.refused);
    return code == EXIT_OK && x.refused > 0 ? EXIT_FAILED : code;
}

/* --- the command ---------------------------------------------------------------------------------------------- */

int cli_tag(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *until = NULL;
    bool json = false;
    const struct cli_option options[] = {
        {"json", NULL, "print the answer as it is", &json, NULL},
        {"until", "TIME", "set: it ends then", NULL, &until},
    };
    struct cli_talk t = {.conf = NULL};
    int code;

    if (!cli_args(c, options, sizeof options / sizeof *options, &argc, argv, &config, &code))
        return code;
    const char *action = argc > 0 ? argv[0] : "";
    bool sets = !strcmp(action, "set") && argc == 4, removes = !strcmp(action, "remove") && argc == 3;
    bool imports = !strcmp(action, "import") && argc == 2, lists = !strcmp(action, "list") && argc == 1;
    if (!sets && !removes && !imports && !lists)
        return cli_usage_error(c, "list, set ID NAME VALUE, remove ID NAME or import FILE is needed");
    if (!cli_talk_open(&t, config))
        code = EXIT_FAILED;
    else if (imports)
        code = import(&t, argv[1]);
    else if (lists && (code = audience_ask(&t, "GET", "/v1/tags", STR_NONE, NULL)) == EXIT_OK)
        code = cli_talk_show(&t, json, show_tags);
    else if (!lists)
        code = set(&t, argv[1], argv[2], sets ? argv[3] : NULL, until, json);
    cli_talk_close(&t);
    return code;
}
