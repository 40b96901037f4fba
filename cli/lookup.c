/* waymark profile, path, orders and scene: look-ups for people; --json gives the answer as it came. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

#define LOOKUP_TIMEOUT_MS 30000

struct lookup {
    struct conf *conf;
    struct client *client;
    struct client_answer answer;
    struct json_parser *parser;
};

static void lookup_close(struct lookup *l)
{
    client_answer_free(&l->answer);
    client_free(l->client);
    json_parser_free(l->parser);
    conf_free(l->conf);
}

static bool lookup_open(struct lookup *l, const char *config)
{
    *l = (struct lookup){.conf = cli_conf(config)};
    char *token = l->conf ? cli_secret(l->conf, "token") : NULL, *bearer = token ? client_bearer(token) : NULL;

    if (bearer) {
        l->client = client_new(l->conf->profiler.listen, &l->conf->profiler.tls, bearer);
        l->parser = json_parser_new();
    }
    free(token);
    free(bearer);
    return l->client && l->parser;
}

/* Asks and says what went wrong. */
static int lookup_ask(struct lookup *l, const char *path)
{
    client_send(l->client, "GET", path, STR_NONE, LOOKUP_TIMEOUT_MS, &l->answer);
    if (l->answer.status == 200)
        return EXIT_OK;
    cli_error("%.*s", STR_ARG(client_problem(l->parser, &l->answer)));
    return l->answer.status == 404 ? EXIT_NOT_FOUND : EXIT_FAILED;
}

/* /v1/WHAT/{id}SUFFIX */
static void lookup_path(struct buf *out, const char *what, const char *id, const char *suffix)
{
    buf_addf(out, "/v1/%s/", what);
    http_encode_segment(out, str_of(id));
    buf_addf(out, "%s", suffix);
    buf_add_char(out, '\0');
}

static int lookup_one(const char *config, const char *what, const char *id, const char *suffix, bool json,
                      void (*show)(const struct json *))
{
    struct lookup l;
    struct buf path;
    int code = EXIT_FAILED;

    buf_init(&path, 4096);
    lookup_path(&path, what, id, suffix);
    if (path.failed)
        cli_error("the id is too long");
    else if (lookup_open(&l, config))
        code = lookup_ask(&l, path.p);
    if (code == EXIT_OK && json) {
        fwrite(l.answer.body.p, 1, l.answer.body.n, stdout);
        putchar('\n');
    } else if (code == EXIT_OK) {
        const struct json *root = client_json(l.parser, &l.answer);
        if (root)
            show(root);
        else
            code = cli_error("the answer is no JSON");
    }
    if (!path.failed)
        lookup_close(&l);
    buf_deinit(&path);
    return code;
}

static int lookup_command(const struct cli_command *c, int argc, char **argv, const char *what, const char *suffix,
                          void (*show)(const struct json *))
{
    const char *config;
    bool json = false;
    const struct cli_option options[] = {{"json", NULL, "print the answer as it came", &json, NULL}};
    int code;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc != 1)
        return cli_usage_error(c, "exactly one %s is needed", c->arguments);
    return lookup_one(config, what, argv[0], suffix, json, show);
}

int cli_profile(const struct cli_command *c, int argc, char **argv)
{
    return lookup_command(c, argc, argv, "profiles", "", show_profile);
}

int cli_orders(const struct cli_command *c, int argc, char **argv)
{
    return lookup_command(c, argc, argv, "profiles", "/orders", show_orders);
}

int cli_scene(const struct cli_command *c, int argc, char **argv)
{
    return lookup_command(c, argc, argv, "orders", "/scene", show_scene);
}

/* Page by page, so that a path of any length runs through. */
static int show_pages(struct lookup *l, const char *id, const char *query, uint64_t limit, bool json)
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
        if ((code = lookup_ask(l, path.p)) != EXIT_OK)
            break;
        const struct json *root = client_json(l->parser, &l->answer), *events = json_get(root, "events");
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
    struct lookup l;
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
    code = EXIT_FAILED;
    if (query.failed)
        code = cli_usage_error(c, "a time is too long");
    else if (lookup_open(&l, config))
        code = show_pages(&l, argv[0], query.p, n, json);
    if (!query.failed)
        lookup_close(&l);
    buf_deinit(&query);
    return code;
}
