/* waymark data: everything held about a person as one JSON document, written while its pages come, so that a path of
 * any length runs through. A file gets its name when it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/http.h"
#include "common/limits.h"

#define TIMEOUT_MS 120000
#define MOST_TRIES 30 /* a second each, while partitions move from one instance to another */

struct copy {
    struct cli_talk talk;
    FILE *out;
    char cursor[1024];
    char version[32]; /* of the first page */
    bool moved;       /* a later page had another */
    bool in_events;   /* the list of orders is closed */
    size_t given;     /* in the list that is open */
};

/* --- asking --------------------------------------------------------------------------------------------------- */

static bool write_path(const struct copy *c, const char *id, const char *as_of, struct buf *path)
{
    buf_reset(path);
    buf_add_text(path, "/v1/profiles/");
    http_encode_segment(path, str_of(id));
    buf_addf(path, "/data?limit=%d", LIMIT_PATH_PAGE);
    if (c->cursor[0])
        buf_addf(path, "&cursor=%s", c->cursor);
    if (as_of) {
        buf_add_text(path, "&as_of=");
        http_encode_segment(path, str_of(as_of));
    }
    buf_add_char(path, '\0');
    return !path->failed;
}

static int ask_page(struct cli_talk *t, const char *path)
{
    const struct timespec pause = {.tv_sec = 1};

    for (int tries = 1;; tries++) {
        client_send(t->client, "GET", path, STR_NONE, TIMEOUT_MS, &t->answer);
        if (t->answer.status == 200)
            return EXIT_OK;
        if (t->answer.status != 503 || tries == MOST_TRIES)
            return cli_talk_failed(t);
        nanosleep(&pause, NULL);
    }
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static bool is_list(const struct json *member)
{
    return str_is(member->key, "orders") || str_is(member->key, "events") || str_is(member->key, "next");
}

/* What the first page says beside the lists, which come last. */
static void write_head(const struct copy *c, const struct json *root)
{
    fputc('{', c->out);
    for (const struct json *m = root->child; m; m = m->next)
        if (!is_list(m))
            fprintf(c->out, "\"%.*s\":%.*s,\n", STR_ARG(m->key), STR_ARG(m->raw));
    fputs("\"orders\":[", c->out);
}

static void write_elements(struct copy *c, const struct json *list)
{
    for (const struct json *e = list->child; e; e = e->next) {
        fputs(c->given++ ? ",\n" : "\n", c->out);
        fwrite(e->raw.p, 1, e->raw.n, c->out);
    }
}

/* Orders come before all events. */
static void write_lists(struct copy *c, const struct json *orders, const struct json *events)
{
    if (!c->in_events)
        write_elements(c, orders);
    if (!c->in_events && events->count) {
        fputs("],\n\"events\":[", c->out);
        c->in_events = true;
        c->given = 0;
    }
    write_elements(c, events);
}

static void write_end(struct copy *c)
{
    fputs(c->in_events ? "]" : "],\n\"events\":[]", c->out);
    fprintf(c->out, ",\n\"changed_meanwhile\":%s}\n", c->moved ? "true" : "false");
    if (c->moved)
        fputs("waymark: something came in or moved while the pages were read; run it again for a copy of one moment\n",
              stderr);
}

static void note_version(struct copy *c, const struct json *root, bool first)
{
    const struct json *version = json_get(root, "version");
    char text[sizeof c->version];

    snprintf(text, sizeof text, "%.*s", STR_ARG(version ? version->raw : STR_NONE));
    if (first)
        memcpy(c->version, text, sizeof text);
    c->moved = c->moved || strcmp(c->version, text) != 0;
}

static int take_page(struct copy *c, bool first)
{
    const struct json *root = client_json(c->talk.parser, &c->talk.answer);
    const struct json *orders = json_get(root, "orders"), *events = json_get(root, "events");
    const struct json *next = json_get(root, "next");

    if (!orders || !events || !next)
        return cli_error("the answer is no page of somebody's data");
    note_version(c, root, first);
    if (first)
        write_head(c, root);
    write_lists(c, orders, events);
    snprintf(c->cursor, sizeof c->cursor, "%.*s", STR_ARG(next->type == JSON_STRING ? next->text : STR_LIT("")));
    if (ferror(c->out))
        return cli_error("it cannot be written: %s", strerror(errno));
    return EXIT_OK;
}

static int write_pages(struct copy *c, const char *id, const char *as_of)
{
    struct buf path;
    bool first = true;
    int code;

    buf_init(&path, 8 * KIB);
    do {
        if (!write_path(c, id, as_of, &path))
            code = cli_error("the id is too long");
        else
            code = ask_page(&c->talk, path.p);
        if (code == EXIT_OK)
            code = take_page(c, first);
        first = false;
    } while (code == EXIT_OK && c->cursor[0]);
    if (code == EXIT_OK)
        write_end(c);
    if (code == EXIT_OK && (fflush(c->out) != 0 || ferror(c->out)))
        code = cli_error("it cannot be written: %s", strerror(errno));
    buf_deinit(&path);
    return code;
}

/* --- into a file ---------------------------------------------------------------------------------------------- */

static int finish_file(struct copy *c, int code, const char *beside, const char *file)
{
    if (code == EXIT_OK && fsync(fileno(c->out)) != 0)
        code = cli_error("%s: %s", beside, strerror(errno));
    if (fclose(c->out) != 0 && code == EXIT_OK)
        code = cli_error("%s: %s", beside, strerror(errno));
    if (code == EXIT_OK && rename(beside, file) != 0)
        code = cli_error("%s: %s", file, strerror(errno));
    if (code != EXIT_OK)
        unlink(beside);
    return code;
}

/* Beside it under another name first: nobody takes half a document for a whole one. */
static int write_file(struct copy *c, const char *id, const char *as_of, const char *file)
{
    char beside[4200];

    if ((size_t)snprintf(beside, sizeof beside, "%s.part", file) >= sizeof beside)
        return cli_error("the name of the file is too long");
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return cli_error("%s: %s", beside, strerror(errno));
    c->out = fdopen(fd, "w");
    if (!c->out) {
        close(fd);
        unlink(beside);
        return cli_error("out of memory");
    }
    return finish_file(c, write_pages(c, id, as_of), beside, file);
}

int cli_data(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *output = NULL, *as_of = NULL;
    const struct cli_option options[] = {
        {"output", "FILE", "write there, readable by its owner only, instead of to standard output", NULL, &output},
        {"as-of", "TIME", "what was known of up to then, as 2026-01-31T10:00:00Z", NULL, &as_of},
    };
    struct copy copy = {.out = stdout};
    int code;

    if (!cli_args(c, options, 2, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "exactly one ID is needed");
    code = EXIT_FAILED;
    if (cli_talk_open(&copy.talk, config))
        code = output ? write_file(&copy, argv[0], as_of, output) : write_pages(&copy, argv[0], as_of);
    cli_talk_close(&copy.talk);
    return code;
}
