/* What the commands that ask the profiler share: the token, a client, and how an answer is told. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/cli.h"

#define TIMEOUT_MS 30000

bool cli_talk_open(struct cli_talk *t, const char *config)
{
    *t = (struct cli_talk){.conf = cli_conf(config)};
    char *token = t->conf ? cli_secret(t->conf, "token") : NULL, *bearer = token ? client_bearer(token) : NULL;

    if (bearer) {
        t->client = client_new(t->conf->profiler.listen, &t->conf->profiler.tls, bearer);
        t->parser = json_parser_new();
    }
    free(token);
    free(bearer);
    return t->client && t->parser;
}

void cli_talk_close(struct cli_talk *t)
{
    client_answer_free(&t->answer);
    client_free(t->client);
    json_parser_free(t->parser);
    conf_free(t->conf);
}

int cli_talk_failed(struct cli_talk *t)
{
    cli_error("%.*s", STR_ARG(client_problem(t->parser, &t->answer)));
    return t->answer.status == 404 ? EXIT_NOT_FOUND : EXIT_FAILED;
}

int cli_talk_ask(struct cli_talk *t, const char *method, const char *path, struct str body)
{
    client_send(t->client, method, path, body, TIMEOUT_MS, &t->answer);
    return t->answer.status == 200 ? EXIT_OK : cli_talk_failed(t);
}

int cli_talk_show(struct cli_talk *t, bool json, void (*show)(const struct json *root))
{
    if (json) {
        fwrite(t->answer.body.p, 1, t->answer.body.n, stdout);
        putchar('\n');
        return EXIT_OK;
    }
    const struct json *root = client_json(t->parser, &t->answer);
    if (!root)
        return cli_error("the answer is no JSON");
    show(root);
    return EXIT_OK;
}
