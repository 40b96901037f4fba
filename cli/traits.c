/* waymark traits: what is stated about a person, and stating it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

#define TIMEOUT_MS 30000
#define EVERYTHING "?verbose=true&include=demographic,platform,contact,shipping,payment,certification,other"

struct asking {
    struct conf *conf;
    struct client *client;
    struct json_parser *parser;
    struct client_answer answer;
};

static bool begin(struct asking *a, const char *config)
{
    *a = (struct asking){.conf = cli_conf(config)};
    char *token = a->conf ? cli_secret(a->conf, "token") : NULL, *bearer = token ? client_bearer(token) : NULL;

    if (bearer) {
        a->client = client_new(a->conf->profiler.listen, &a->conf->profiler.tls, bearer);
        a->parser = json_parser_new();
    }
    free(token);
    free(bearer);
    return a->client && a->parser;
}

static void end(struct asking *a)
{
    client_answer_free(&a->answer);
    client_free(a->client);
    json_parser_free(a->parser);
    conf_free(a->conf);
}

static int ask(struct asking *a, const char *method, const char *id, const char *rest, struct str body)
{
    struct buf path;
    int code = EXIT_FAILED;

    buf_init(&path, 4 * KIB);
    buf_add_text(&path, "/v1/profiles/");
    http_encode_segment(&path, str_of(id));
    buf_add_text(&path, rest);
    buf_add_char(&path, '\0');
    if (path.failed) {
        cli_error("the id is too long");
    } else {
        client_send(a->client, method, path.p, body, TIMEOUT_MS, &a->answer);
        code = a->answer.status == 200 ? EXIT_OK : a->answer.status == 404 ? EXIT_NOT_FOUND : EXIT_FAILED;
        if (code != EXIT_OK)
            cli_error("%.*s", STR_ARG(client_problem(a->parser, &a->answer)));
    }
    buf_deinit(&path);
    return code;
}

static int show(struct asking *a, const char *id, bool json)
{
    int code = ask(a, "GET", id, EVERYTHING, STR_NONE);

    if (code != EXIT_OK)
        return code;
    const struct json *root = client_json(a->parser, &a->answer);
    const struct json *traits = json_get(root, "traits"), *consent = json_get(root, "consent");
    if (!traits || !consent)
        return cli_error("the answer has no traits");
    if (json) {
        printf("{\"traits\":%.*s,\"consent\":%.*s}\n", STR_ARG(traits->raw), STR_ARG(consent->raw));
        return EXIT_OK;
    }
    show_traits(traits);
    show_consent(consent);
    return EXIT_OK;
}

/* JSON where it reads as such, else a text: 42, true, null, {"city":"Bath"}, gold. */
static void write_value(struct json_parser *parser, const char *text, struct buf *b)
{
    const struct json *v;
    struct buf copy;
    size_t n = strlen(text);

    buf_init(&copy, n + JSON_PADDING);
    buf_add(&copy, text, n);
    if (buf_room(&copy, JSON_PADDING) && json_parse(parser, copy.p, n, &v, NULL) == JSON_OK)
        buf_add_str(b, v->raw);
    else
        json_write_str(b, str_of(text));
    buf_deinit(&copy);
}

/* {"traits":{…}} of words NAME=VALUE. */
static void write_body(struct json_parser *parser, char *const *words, int n, struct buf *b)
{
    buf_add_text(b, "{\"traits\":{");
    for (int i = 0; i < n; i++) {
        const char *equals = strchr(words[i], '=');
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, (struct str){words[i], (size_t)(equals - words[i])});
        buf_add_char(b, ':');
        write_value(parser, equals + 1, b);
    }
    buf_add_text(b, "}}");
}

static int state(struct asking *a, const char *id, char *const *words, int n)
{
    struct buf body;
    int code;

    buf_init(&body, LIMIT_BODY_LOOKUP);
    write_body(a->parser, words, n, &body);
    if (body.failed)
        code = cli_error("this is more than one request may state");
    else
        code = ask(a, "PUT", id, "/traits", buf_str(&body));
    buf_deinit(&body);
    return code;
}

int cli_traits(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    bool json = false;
    const struct cli_option options[] = {{"json", NULL, "print them as the answer has them", &json, NULL}};
    struct asking a;
    int code;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc < 1 || argc == 2 || (argc > 2 && strcmp(argv[1], "set") != 0))
        return cli_usage_error(c, "an ID is needed, and behind it nothing or set NAME=VALUE...");
    for (int i = 2; i < argc; i++)
        if (!strchr(argv[i], '=') || argv[i][0] == '=')
            return cli_usage_error(c, "NAME=VALUE is needed, not %s", argv[i]);
    code = EXIT_FAILED;
    if (begin(&a, config))
        code = argc > 2 ? state(&a, argv[0], argv + 2, argc - 2) : show(&a, argv[0], json);
    end(&a);
    return code;
}
