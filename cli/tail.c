/* waymark tail: events as they are folded, or refused, until interrupted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show.h"

#define TAIL_TIMEOUT_MS 30000

static void show_one(const struct json *e, bool bad)
{
    static const char *const good_fields[] = {"time", "profile", "type", "name", "message_id"};
    static const char *const bad_fields[] = {"received_at", "source", "code", "message"};
    const char *const *fields = bad ? bad_fields : good_fields;
    size_t n = bad ? sizeof bad_fields / sizeof *bad_fields : sizeof good_fields / sizeof *good_fields;

    for (size_t i = 0; i < n; i++) {
        const struct json *v = json_get(e, fields[i]);
        if (v && v->type == JSON_STRING) {
            printf("%s", i ? "  " : "");
            show_text(v->text);
        }
    }
    putchar('\n');
}

static int follow(struct client *client, struct json_parser *parser, bool bad, bool json, uint64_t limit)
{
    struct client_answer a = {0};
    char path[1024], position[512] = "";
    uint64_t shown = 0;
    int code = EXIT_OK;

    while (code == EXIT_OK && (!limit || shown < limit)) {
        snprintf(path, sizeof path, "/v1/tail?topic=%s&wait=10s%s%s", bad ? "bad" : "events",
                 position[0] ? "&after=" : "", position);
        client_send(client, "GET", path, STR_NONE, TAIL_TIMEOUT_MS, &a);
        const struct json *root = a.status == 200 ? client_json(parser, &a) : NULL;
        const struct json *events = json_get(root, "events"), *at = json_get(root, "position");
        if (!events || !at) {
            code = cli_error("%.*s", STR_ARG(client_problem(parser, &a)));
            break;
        }
        for (const struct json *e = events->child; e && (!limit || shown < limit); e = e->next, shown++) {
            if (json)
                printf("%.*s\n", STR_ARG(e->raw));
            else
                show_one(e, bad);
        }
        fflush(stdout);
        snprintf(position, sizeof position, "%.*s", STR_ARG(at->text));
    }
    client_answer_free(&a);
    return code;
}

int cli_tail(const struct cli_command *c, int argc, char **argv)
{
    const char *config, *limit = NULL;
    bool bad = false, json = false;
    const struct cli_option options[] = {
        {"bad", NULL, "refused events with the reason", &bad, NULL},
        {"json", NULL, "one JSON object a line", &json, NULL},
        {"limit", "N", "end after N events", NULL, &limit},
    };
    uint64_t n;
    int code;

    if (!cli_args(c, options, 3, &argc, argv, &config, &code))
        return code;
    if (argc)
        return cli_usage_error(c, "no arguments are taken");
    if (!cli_number(c, "limit", limit, 0, 1, UINT32_MAX, &n))
        return EXIT_USAGE;
    struct conf *conf = cli_conf(config);
    char *token = conf ? cli_secret(conf, "token") : NULL, *bearer = token ? client_bearer(token) : NULL;
    struct client *client = bearer ? client_new(conf->profiler.listen, &conf->profiler.tls, bearer) : NULL;
    struct json_parser *parser = json_parser_new();
    code = client && parser ? follow(client, parser, bad, json, n) : EXIT_FAILED;
    json_parser_free(parser);
    client_free(client);
    free(bearer);
    free(token);
    conf_free(conf);
    return code;
}
