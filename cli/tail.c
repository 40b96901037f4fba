/* waymark tail: events as they are folded, or refused, until interrupted. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/limits.h"

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

/* From a position on; from now on when it is empty. */
static void write_path(struct buf *path, bool bad, struct str position)
{
    buf_reset(path);
    buf_addf(path, "/v1/tail?topic=%s&wait=10s", bad ? "bad" : "events");
    if (position.n > 0) {
        buf_add_text(path, "&after=");
        buf_add_str(path, position);
    }
    buf_add_char(path, '\0');
}

static int follow(struct cli_talk *t, bool bad, bool json, uint64_t limit)
{
    uint64_t shown = 0;
    int code = EXIT_OK;
    struct buf path;

    buf_init(&path, LIMIT_HEAD);
    write_path(&path, bad, STR_NONE);
    while (code == EXIT_OK && (!limit || shown < limit)) {
        code = path.failed ? cli_error("the position is too long") : cli_talk_ask(t, "GET", path.p, STR_NONE);
        if (code != EXIT_OK)
            break;
        const struct json *root = client_json(t->parser, &t->answer);
        const struct json *events = json_get(root, "events"), *at = json_get(root, "position");
        if (!events || !at) {
            code = cli_error("the answer has no events");
            break;
        }
        for (const struct json *e = events->child; e && (!limit || shown < limit); e = e->next, shown++) {
            if (json)
                printf("%.*s\n", STR_ARG(e->raw));
            else
                show_one(e, bad);
        }
        fflush(stdout);
        write_path(&path, bad, at->text);
    }
    buf_deinit(&path);
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
    struct cli_talk t;
    code = cli_talk_open(&t, config) ? follow(&t, bad, json, n) : EXIT_FAILED;
    cli_talk_close(&t);
    return code;
}
