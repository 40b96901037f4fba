/* waymark traits: what is stated about a person, and stating it. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

#define EVERYTHING "?verbose=true&include=demographic,platform,contact,shipping,payment,certification,other"

static int ask(struct cli_talk *t, const char *method, const char *id, const char *rest, struct str body)
{
    struct buf path;
    int code;

    buf_init(&path, 4 * KIB);
    buf_add_text(&path, "/v1/profiles/");
    http_encode_segment(&path, str_of(id));
    buf_add_text(&path, rest);
    buf_add_char(&path, '\0');
    code = path.failed ? cli_error("the id is too long") : cli_talk_ask(t, method, path.p, body);
    buf_deinit(&path);
    return code;
}

static int show(struct cli_talk *t, const char *id, bool json)
{
    int code = ask(t, "GET", id, EVERYTHING, STR_NONE);

    if (code != EXIT_OK)
        return code;
    const struct json *root = client_json(t->parser, &t->answer);
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

static int state(struct cli_talk *t, const char *id, char *const *words, int n)
{
    struct buf body;
    int code;

    buf_init(&body, LIMIT_BODY_LOOKUP);
    write_body(t->parser, words, n, &body);
    if (body.failed)
        code = cli_error("this is more than one request may state");
    else
        code = ask(t, "PUT", id, "/traits", buf_str(&body));
    buf_deinit(&body);
    return code;
}

int cli_traits(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    bool json = false;
    const struct cli_option options[] = {{"json", NULL, "print them as the answer has them", &json, NULL}};
    struct cli_talk t;
    int code;

    if (!cli_args(c, options, 1, &argc, argv, &config, &code))
        return code;
    if (argc < 1 || argc == 2 || (argc > 2 && strcmp(argv[1], "set") != 0))
        return cli_usage_error(c, "an ID is needed, and behind it nothing or set NAME=VALUE...");
    for (int i = 2; i < argc; i++)
        if (!strchr(argv[i], '=') || argv[i][0] == '=')
            return cli_usage_error(c, "NAME=VALUE is needed, not %s", argv[i]);
    if (!cli_talk_open(&t, config))
        code = EXIT_FAILED;
    else
        code = argc > 2 ? state(&t, argv[0], argv + 2, argc - 2) : show(&t, argv[0], json);
    cli_talk_close(&t);
    return code;
}
