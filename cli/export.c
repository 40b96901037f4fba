/* waymark export, and the export of an audience: made by the server, watched here, fetched with Range. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/audience.h"
#include "cli/show.h"
#include "common/clock.h"
#include "common/limits.h"

/* --- looking -------------------------------------------------------------------------------------------------- */

static void show_excluded(const struct json *excluded)
{
    for (const struct json *m = excluded && excluded->type == JSON_OBJECT ? excluded->child : NULL; m; m = m->next) {
        if (str_is(m->raw, "0"))
            continue;
        fputs("  left out, ", stdout);
        show_text(m->key);
        printf(": ");
        show_number(m);
        putchar('\n');
    }
}

static void show_export(const struct json *o)
{
    const struct json *manifest = json_get(o, "manifest");
    struct str why = audience_text(o, "error");

    show_text(audience_text(o, "id"));
    printf("  %.*s", STR_ARG(audience_text(o, "state")));
    if (manifest && json_get(manifest, "rows")) {
        printf("  ");
        show_number(json_get(manifest, "rows"));
        printf(" rows");
    }
    putchar('\n');
    if (str_has(why)) {
        fputs("  ", stdout);
        show_text(why);
        putchar('\n');
    }
    const struct json *from_nothing = manifest ? json_get(manifest, "from_nothing") : NULL;
    if (from_nothing && from_nothing->type == JSON_TRUE)
        puts("  a delta that begins from nothing: it takes the place of all that was told before");
    show_excluded(json_get(manifest, "excluded"));
}

static void show_exports(const struct json *root)
{
    const struct json *list = json_get(root, "exports");

    for (const struct json *o = list && list->type == JSON_ARRAY ? list->child : NULL; o; o = o->next)
        show_export(o);
}

static void rest(void)
{
    const struct timespec pause = {.tv_nsec = 300000000};

    nanosleep(&pause, NULL);
}

static double share_of(const struct json *o)
{
    struct str s = audience_text(o, "progress");
    char text[32];

    snprintf(text, sizeof text, "%.*s", STR_ARG(s));
    return strtod(text, NULL);
}

/* The last answer speaks of the export. */
int export_follow(struct cli_talk *t, const char *id, bool json)
{
    struct cli_progress progress;
    char path[128];
    int code = EXIT_OK;

    cli_progress_begin(&progress, "% done");
    snprintf(path, sizeof path, "/v1/exports/%s", id);
    while (code == EXIT_OK) {
        const struct json *root = client_json(t->parser, &t->answer);
        struct str state = audience_text(root, "state");
        bool running = str_is(state, "running");
        uint64_t percent = (uint64_t)(share_of(root) * 100);
        if (running || progress.drawn)
            cli_progress_show(&progress, running ? percent : 100, 100, running ? percent : 100, !running);
        if (!running) {
            bool good = str_is(state, "done");
            code = cli_talk_show(t, json, show_export);
            return good ? code : EXIT_FAILED;
        }
        rest();
        code = audience_ask(t, "GET", path, STR_NONE, NULL);
    }
    return code;
}

/* --- fetching ------------------------------------------------------------------------------------------------- */

struct fetching {
    struct cli_progress progress;
    uint64_t before;
};

static void fetched(void *arg, uint64_t done, uint64_t total)
{
    struct fetching *f = arg;

    cli_progress_show(&f->progress, f->before + done, f->before + total, (f->before + done) / KIB, false);
}

/* Opened to be written behind what is there; *size is how much that is. */
static int open_output(const char *output, bool resume, uint64_t *size)
{
    struct stat st;
    int fd = open(output, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (resume ? O_APPEND : O_EXCL), 0600);

    *size = 0;
    if (fd < 0)
        cli_error("%s: %s", output, strerror(errno));
    else if (fstat(fd, &st) == 0)
        *size = (uint64_t)st.st_size;
    return fd;
}

int export_fetch(struct cli_talk *t, const char *id, const char *output, bool resume)
{
    bool to_file = output && strcmp(output, "-") != 0;
    struct fetching f = {.before = 0};
    char path[128];
    int fd = to_file ? open_output(output, resume, &f.before) : STDOUT_FILENO;

    if (fd < 0)
        return EXIT_FAILED;
    cli_progress_begin(&f.progress, "KiB");
    snprintf(path, sizeof path, "/v1/exports/%s/file", id);
    bool good = client_fetch(t->client, path, fd, f.before, to_file ? fetched : NULL, &f, &t->answer);
    if (f.progress.drawn)
        fputc('\n', stderr);
    if (to_file && good && (fsync(fd) != 0 || close(fd) != 0))
        return cli_error("%s: %s", output, strerror(errno));
    if (good)
        return EXIT_OK;
    if (to_file)
        close(fd);
    if (t->answer.status == 416 && f.before > 0) /* all of it is there */
        return EXIT_OK;
    if (to_file && f.before == 0 && t->answer.status >= 300)
        unlink(output);
    return cli_talk_failed(t);
}

/* --- of an audience ------------------------------------------------------------------------------------------- */

static void add_words(struct buf *b, const char *key, const char *text)
{
    bool first = true;

    if (!text)
        return;
    json_write_key(b, key);
    buf_add_char(b, '[');
    for (; *text; first = false) {
        size_t n = strcspn(text, ",");
        if (!first)
            buf_add_char(b, ',');
        json_write_str(b, (struct str){text, n});
        text += n + (text[n] == ',');
    }
    buf_add_char(b, ']');
}

static void write_wish(struct buf *b, const struct export_wish *w)
{
    buf_add_char(b, '{');
    json_write_member(b, "format", str_of(w->format ? w->format : "csv"));
    add_words(b, "columns", w->columns);
    json_write_member(b, "campaign", str_of(w->campaign));
    json_write_member(b, "channel", str_of(w->channel));
    json_write_member(b, "purpose", str_of(w->purpose));
    add_words(b, "suppress", w->suppress);
    if (w->hold_out)
        buf_addf(b, ",\"hold_out\":%s", w->hold_out);
    if (w->delta)
        buf_add_text(b, ",\"delta\":true");
    if (w->anew)
        buf_add_text(b, ",\"anew\":true");
    buf_add_char(b, '}');
}

int audience_export(struct cli_talk *t, const char *name, const struct export_wish *w)
{
    char id[64] = "";
    struct buf path, body;
    int code;

    buf_init(&path, 4 * KIB);
    buf_init(&body, 64 * KIB);
    audience_path(&path, "/v1/audiences/", name, "/exports");
    write_wish(&body, w);
    if (path.failed || body.failed)
        code = cli_error("it is too large");
    else
        code = audience_ask(t, "POST", path.p, buf_str(&body), NULL);
    buf_deinit(&path);
    buf_deinit(&body);
    if (code != EXIT_OK)
        return code;
    snprintf(id, sizeof id, "%.*s", STR_ARG(audience_text(client_json(t->parser, &t->answer), "id")));
    if (!id[0])
        return cli_error("the answer names no export");
    code = export_follow(t, id, w->json);
    return code == EXIT_OK && w->output ? export_fetch(t, id, w->output, false) : code;
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static int show_report(struct cli_talk *t, const char *campaign, const char *days, bool json)
{
    struct buf path;
    int code;

    buf_init(&path, 4 * KIB);
    audience_path(&path, "/v1/campaigns/", campaign, days ? "/report?days=" : "/report");
    if (days) {
        path.n--;
        buf_add_text(&path, days);
        buf_add_char(&path, '\0');
    }
    code = path.failed ? cli_error("the name is too long") : audience_ask(t, "GET", path.p, STR_NONE, NULL);
    buf_deinit(&path);
    (void)json; /* a table of figures: it reads well as it is */
    if (code == EXIT_OK)
        printf("%.*s\n", STR_ARG(buf_str(&t->answer.body)));
    return code;
}

static int show_one(struct cli_talk *t, const char *id, bool json)
{
    struct buf path;
    int code;

    buf_init(&path, 4 * KIB);
    audience_path(&path, "/v1/exports/", id, "");
    code = path.failed ? cli_error("the id is too long") : audience_ask(t, "GET", path.p, STR_NONE, NULL);
    buf_deinit(&path);
    return code == EXIT_OK ? cli_talk_show(t, json, show_export) : code;
}

static bool id_good(const char *id)
{
    return strlen(id) < 64 &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == strlen(id);
}

int cli_export(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *output = NULL, *days = NULL;
    bool json = false, resume = false;
    const struct cli_option options[] = {
        {"json", NULL, "print the answer as it is", &json, NULL},
        {"output", "FILE", "get: write there instead of to standard output", NULL, &output},
        {"continue", NULL, "get: go on where the file ends", &resume, NULL},
        {"days", "N", "report: after an export (14)", NULL, &days},
    };
    struct cli_talk t = {.conf = NULL};
    int code;

    if (!cli_args(c, options, sizeof options / sizeof *options, &argc, argv, &config, &code))
        return code;
    bool list = argc == 1 && !strcmp(argv[0], "list");
    bool one = argc == 2 && (!strcmp(argv[0], "show") || !strcmp(argv[0], "get") || !strcmp(argv[0], "report"));
    if (!list && !(one && id_good(argv[1])) && !(one && !strcmp(argv[0], "report")))
        return cli_usage_error(c, "list, show ID, get ID or report CAMPAIGN is needed");
    if (!cli_talk_open(&t, config))
        code = EXIT_FAILED;
    else if (list && (code = audience_ask(&t, "GET", "/v1/exports", STR_NONE, NULL)) == EXIT_OK)
        code = cli_talk_show(&t, json, show_exports);
    else if (!list && !strcmp(argv[0], "show"))
        code = show_one(&t, argv[1], json);
    else if (!list && !strcmp(argv[0], "report"))
        code = show_report(&t, argv[1], days, json);
    else if (!list)
        code = export_fetch(&t, argv[1], output, resume);
    cli_talk_close(&t);
    return code;
}
