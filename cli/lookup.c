/* waymark profile, path, orders and scene: look-ups for people; --json gives the answer as it came. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

/* /v1/WHAT/{id}SUFFIX */
static void lookup_path(struct buf *out, const char *what, const char *id, const char *suffix)
{
    buf_addf(out, "/v1/%s/", what);
    http_encode_segment(out, str_of(id));
    buf_addf(out, "%s", suffix);
    buf_add_char(out, '\0');
}

static int show_one(const char *config, const char *path, bool json, void (*show)(const struct json *))
{
    struct cli_talk t;
    int code = cli_talk_open(&t, config) ? cli_talk_ask(&t, "GET", path, STR_NONE) : EXIT_FAILED;

    if (code == EXIT_OK)
        code = cli_talk_show(&t, json, show);
    cli_talk_close(&t);
    return code;
}

int cli_show_one(const struct cli_command *c, int argc, char **argv, const char *what, const char *suffix,
                 void (*show)(const struct json *))
{
    const char *config;
    bool json = false;
    const struct cli_option options[] = {{"json", NULL, "print the answer as it came", &json, NULL}};
    struct buf path;
    int code;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "exactly one %s is needed", c->arguments);
    buf_init(&path, 4096);
    lookup_path(&path, what, argv[0], suffix);
    code = path.failed ? cli_error("the id is too long") : show_one(config, path.p, json, show);
    buf_deinit(&path);
    return code;
}

int cli_profile(const struct cli_command *c, int argc, char **argv)
{
    return cli_show_one(c, argc, argv, "profiles", "", show_profile);
}

int cli_orders(const struct cli_command *c, int argc, char **argv)
{
    return cli_show_one(c, argc, argv, "profiles", "/orders", show_orders);
}

int cli_scene(const struct cli_command *c, int argc, char **argv)
{
    return cli_show_one(c, argc, argv, "orders", "/scene", show_scene);
}

/* Page by page, so that a path of any length runs through. */
static int show_pages(struct cli_talk *t, const char *id, const char *query, uint64_t limit, bool json)
{
    struct buf path;
    uint64_t shown = 0;
    uint32_t session = 0;
    int code = EXIT_OK;
    char cursor[1024] = "";

    buf_init(&path, 8192);
    do {
        uint64_t page = limit && limit - shown < LIMIT_PATH_PAGE ? limit - shown : LIMIT_PATH_PAGE;
        buf_reset(&path);
        lookup_path(&path, "profiles", id, "/path");
        path.n--; /* the NUL */
        buf_addf(&path, "?limit=%" PRIu64 "%s%s%s", page, query, cursor[0] ? "&cursor=" : "", cursor);
        buf_add_char(&path, '\0');
        if (path.failed) {
            code = cli_error("the id is too long");
            break;
        }
        if ((code = cli_talk_ask(t, "GET", path.p, STR_NONE)) != EXIT_OK)
            break;
        const struct json *root = client_json(t->parser, &t->answer), *events = json_get(root, "events");
        const struct json *next = json_get(root, "next");
        if (!events) {
            code = cli_error("the answer has no events");
            break;
        }
        for (const struct json *e = events->child; e; e = e->next) {
            if (json)
                printf("%.*s\n", STR_ARG(e->raw));
            else
                show_event(e, &session);
        }
        shown += events->count;
        struct str more = next && next->type == JSON_STRING ? next->text : STR_LIT("");
        snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(more));
    } while (cursor[0] && (!limit || shown < limit));
    buf_deinit(&path);
    return code;
}

int cli_path(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *from = NULL, *to = NULL, *limit = NULL;
    bool json = false, newest = false;
    const struct cli_option options[] = {
        {"json", NULL, "one JSON object a line", &json, NULL},
        {"from", "TIME", "not before, as 2026-01-31T10:00:00Z", NULL, &from},
        {"to", "TIME", "not after", NULL, &to},
        {"limit", "N", "at most N events", NULL, &limit},
        {"newest", NULL, "newest first", &newest, NULL},
    };
    int code;
    uint64_t n;
    struct cli_talk t;
    struct buf query;

    if (!cli_args(c, options, 5, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "exactly one ID is needed");
    if (!cli_number(c, "limit", limit, 0, 1, UINT32_MAX, &n))
        return EXIT_USAGE;
    buf_init(&query, 1024);
    buf_addf(&query, "%s", newest ? "&order=desc" : "");
    if (from) {
        buf_add_text(&query, "&from=");
        http_encode_segment(&query, str_of(from));
    }
    if (to) {
        buf_add_text(&query, "&to=");
        http_encode_segment(&query, str_of(to));
    }
    buf_add_char(&query, '\0');
    if (query.failed) {
        code = cli_usage_error(c, "a time is too long");
    } else {
        code = cli_talk_open(&t, config) ? show_pages(&t, argv[0], query.p, n, json) : EXIT_FAILED;
        cli_talk_close(&t);
    }
    buf_deinit(&query);
    return code;
}
