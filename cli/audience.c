/* waymark audience: who is meant, how many they are, and why somebody is among them. */
#include "cli/audience.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"
#include "common/http.h"
#include "common/limits.h"

#define RULE_FILE_BYTES (64 * KIB)

/* What the options say, for all actions. */
struct audience_wish {
    const char *as_of, *audience, *description, *file;
    bool json;
    struct export_wish export;
};

/* --- showing -------------------------------------------------------------------------------------------------- */

static void show_line(const struct json *o)
{
    struct str state = audience_text(o, "state"), broken = audience_text(o, "broken");

    printf("%-24.*s ", STR_ARG(audience_text(o, "name")));
    printf("%-9.*s ", STR_ARG(str_has(broken) ? STR_LIT("broken") : state));
    show_number(json_get(o, "size"));
    putchar('\t');
    show_text(audience_text(o, "description"));
    putchar('\n');
}

static void show_list(const struct json *root)
{
    const struct json *list = json_get(root, "audiences");

    for (const struct json *o = list ? list->child : NULL; o; o = o->next)
        show_line(o);
}

static void show_member(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    if (!v)
        return;
    printf("  %-14s ", key);
    show_text(v->type == JSON_STRING ? v->text : v->raw);
    putchar('\n');
}

static void show_one(const struct json *o)
{
    static const char *const members[] = {"rule",   "description", "state",      "progress",
                                          "broken", "size",        "updated_at", "rule_version"};

    show_text(audience_text(o, "name"));
    putchar('\n');
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        show_member(o, members[i]);
}

static void show_count(const struct json *root)
{
    const struct json *reach = json_get(root, "reachable"), *clauses = json_get(root, "clauses");

    show_number(json_get(root, "count"));
    printf(" people (%.*s, %.*s ms)\n", STR_ARG(audience_text(root, "method")),
           STR_ARG(audience_text(root, "took_ms")));
    if (json_get(root, "behind"))
        puts("  some who have just changed are not counted yet: ask again in a moment");
    printf("  by email       ");
    show_number(json_get(reach, "email"));
    printf("\n  by phone       ");
    show_number(json_get(reach, "phone"));
    putchar('\n');
    for (const struct json *c = clauses && clauses->count > 1 ? clauses->child : NULL; c; c = c->next) {
        printf("  ");
        show_number(json_get(c, "count"));
        printf("\t");
        show_text(audience_text(c, "expression"));
        putchar('\n');
    }
}

static void show_because(const struct json *b)
{
    const struct json *value = json_get(b, "value"), *operands = json_get(b, "operands");

    printf("  %-6.*s ", STR_ARG(value ? value->raw : STR_LIT("?")));
    show_text(audience_text(b, "expression"));
    if (operands) {
        fputs("   ", stdout);
        show_text(operands->raw);
    }
    putchar('\n');
}

static void show_explain(const struct json *root)
{
    const struct json *member = json_get(root, "member"), *because = json_get(root, "because");
    struct str next = audience_text(root, "next_change_at");

    show_text(audience_text(root, "id"));
    printf(" is %s\n", member && member->type == JSON_TRUE ? "in" : "not in");
    for (const struct json *b = because ? because->child : NULL; b; b = b->next)
        show_because(b);
    if (str_has(next)) {
        fputs("  time alone may change it: ", stdout);
        show_text(next);
        putchar('\n');
    }
}

/* --- actions -------------------------------------------------------------------------------------------------- */

static int ask_and_show(struct cli_talk *t, const char *method, const char *name, const char *rest, bool json,
                        void (*show)(const struct json *root))
{
    struct buf path;
    int code;

    buf_init(&path, 4 * KIB);
    audience_path(&path, "/v1/audiences/", name, rest);
    code = path.failed ? cli_error("the name is too long") : audience_ask(t, method, path.p, STR_NONE, NULL);
    buf_deinit(&path);
    return code == EXIT_OK ? cli_talk_show(t, json, show) : code;
}

static void show_removed(const struct json *root)
{
    show_text(audience_text(root, "name"));
    puts(" is removed");
}

static int put(struct cli_talk *t, const char *name, const char *rule, const struct audience_wish *w)
{
    struct buf path, body;
    int code;

    buf_init(&path, 4 * KIB);
    buf_init(&body, MIB);
    audience_path(&path, "/v1/audiences/", name, "");
    buf_add_char(&body, '{');
    json_write_member(&body, "rule", str_of(rule));
    json_write_member(&body, "description", str_of(w->description));
    buf_add_char(&body, '}');
    if (path.failed || body.failed)
        code = cli_error("it is too large");
    else
        code = audience_ask(t, "PUT", path.p, buf_str(&body), rule);
    buf_deinit(&path);
    buf_deinit(&body);
    return code == EXIT_OK ? cli_talk_show(t, w->json, show_one) : code;
}

static int count(struct cli_talk *t, const char *rule, const struct audience_wish *w)
{
    struct buf body;
    int code;

    buf_init(&body, MIB);
    buf_add_char(&body, '{');
    json_write_member(&body, "rule", str_of(rule));
    json_write_member(&body, "audience", str_of(w->audience));
    json_write_member(&body, "as_of", str_of(w->as_of));
    buf_add_char(&body, '}');
    code = body.failed ? cli_error("the rule is too long")
                       : audience_ask(t, "POST", "/v1/audiences:count", buf_str(&body), rule);
    buf_deinit(&body);
    return code == EXIT_OK ? cli_talk_show(t, w->json, show_count) : code;
}

/* The members of a page; the cursor of the next one in `next`, "" at the end. */
static int print_page(struct cli_talk *t, bool json, char *next, size_t size)
{
    const struct json *root = client_json(t->parser, &t->answer), *list = json_get(root, "members");
    struct str cursor = audience_text(root, "next");

    if (!list || list->type != JSON_ARRAY || cursor.n >= size)
        return cli_error("the answer has no members");
    for (const struct json *m = list->child; m; m = m->next) {
        if (json)
            printf("%.*s", STR_ARG(m->raw));
        else
            show_text(m->text);
        putchar('\n');
    }
    snprintf(next, size, "%.*s", STR_ARG(cursor));
    return EXIT_OK;
}

static int members(struct cli_talk *t, const char *name, bool json)
{
    char next[512] = "";
    struct buf path;
    int code;

    buf_init(&path, 8 * KIB);
    do {
        buf_reset(&path);
        audience_path(&path, "/v1/audiences/", name, "/members?limit=1000");
        if (*next) {
            path.n--;
            buf_addf(&path, "&cursor=%s", next);
            buf_add_char(&path, '\0');
        }
        code = path.failed ? cli_error("the name is too long") : audience_ask(t, "GET", path.p, STR_NONE, NULL);
        if (code == EXIT_OK)
            code = print_page(t, json, next, sizeof next);
    } while (code == EXIT_OK && *next);
    buf_deinit(&path);
    return code;
}

static int explain(struct cli_talk *t, const char *name, const char *id, const struct audience_wish *w)
{
    struct buf rest;
    int code;

    buf_init(&rest, 4 * KIB);
    buf_add_text(&rest, "/explain?id=");
    http_encode_segment(&rest, str_of(id));
    if (w->as_of) {
        buf_add_text(&rest, "&as_of=");
        http_encode_segment(&rest, str_of(w->as_of));
    }
    buf_add_char(&rest, '\0');
    code = rest.failed ? cli_error("the id is too long") : ask_and_show(t, "GET", name, rest.p, w->json, show_explain);
    buf_deinit(&rest);
    return code;
}

/* --- the command ---------------------------------------------------------------------------------------------- */

/* The rule of --file; what is given beside it wins. */
static char *read_rule(const char *file)
{
    FILE *f = fopen(file, "r");
    char *text = f ? calloc(1, RULE_FILE_BYTES + 1) : NULL;
    size_t n = text ? fread(text, 1, RULE_FILE_BYTES, f) : 0;

    if (f)
        fclose(f);
    if (!text || n == 0 || memchr(text, '\0', n)) {
        cli_error("no rule can be read from %s%s%s", file, f ? "" : ": ", f ? "" : strerror(errno));
        free(text);
        return NULL;
    }
    while (n > 0 && strchr(" \t\r\n", text[n - 1]))
        text[--n] = '\0';
    return text;
}

static int act(const struct cli_command *c, struct cli_talk *t, char **argv, int argc, const char *rule,
               struct audience_wish *w)
{
    const char *action = argv[0], *name = argc > 1 ? argv[1] : NULL;

    if (!strcmp(action, "list"))
        return audience_ask(t, "GET", "/v1/audiences", STR_NONE, NULL) == EXIT_OK ? cli_talk_show(t, w->json, show_list)
                                                                                  : EXIT_FAILED;
    if (!strcmp(action, "show"))
        return ask_and_show(t, "GET", name, "", w->json, show_one);
    if (!strcmp(action, "put"))
        return put(t, name, rule, w);
    if (!strcmp(action, "remove"))
        return ask_and_show(t, "DELETE", name, "", w->json, show_removed);
    if (!strcmp(action, "count"))
        return count(t, rule, w);
    if (!strcmp(action, "members"))
        return members(t, name, w->json);
    if (!strcmp(action, "explain"))
        return explain(t, name, argv[2], w);
    if (!strcmp(action, "export"))
        return audience_export(t, name, &w->export);
    return cli_usage_error(c, "there is no action '%s'", action);
}

/* How many words stand behind each action; the rule may come from a file. */
static bool words_good(int argc, char **argv, bool has_rule, const char *audience)
{
    static const struct {
        const char *action;
        int words;
    } actions[] = {{"list", 1},  {"show", 2},    {"put", 3},     {"remove", 2},
                   {"count", 2}, {"members", 2}, {"explain", 3}, {"export", 2}};

    for (size_t i = 0; argc > 0 && i < sizeof actions / sizeof *actions; i++) {
        bool takes_rule = !strcmp(argv[0], "put") || !strcmp(argv[0], "count");
        if (strcmp(argv[0], actions[i].action) != 0)
            continue;
        if (argc == actions[i].words)
            return true;
        return takes_rule && argc == actions[i].words - 1 && (has_rule || (audience && !strcmp(argv[0], "count")));
    }
    return false;
}

int cli_audience(const struct cli_command *c, int argc, char **argv)
{
    const char *config;
    struct audience_wish w = {.json = false};
    const struct cli_option options[] = {
        {"json", NULL, "print the answer as it is", &w.json, NULL},
        {"file", "FILE", "put, count: the rule stands there", NULL, &w.file},
        {"description", "TEXT", "put: for people", NULL, &w.description},
        {"audience", "NAME", "count: only among its members", NULL, &w.audience},
        {"as-of", "TIME", "count, explain: as of then", NULL, &w.as_of},
        {"format", "F", "export: csv, ndjson, google or meta", NULL, &w.export.format},
        {"columns", "A,B", "export: such as id,traits.email,spent", NULL, &w.export.columns},
        {"campaign", "NAME", "export: of this campaign, which can be reported on", NULL, &w.export.campaign},
        {"channel", "C", "export: email, sms, call or ads", NULL, &w.export.channel},
        {"hold-out", "SHARE", "export: that share is left out, to compare with (0.1)", NULL, &w.export.hold_out},
        {"purpose", "P", "export: what they must have agreed to (marketing)", NULL, &w.export.purpose},
        {"suppress", "A,B", "export: not who is in these audiences", NULL, &w.export.suppress},
        {"delta", NULL, "export: only who came or went since the last one", &w.export.delta, NULL},
        {"anew", NULL, "export: a delta that begins from nothing", &w.export.anew, NULL},
        {"output", "FILE", "export: fetch the file, too", NULL, &w.export.output},
    };
    char *text = NULL;
    struct cli_talk t = {.conf = NULL};
    int code;

    if (!cli_args(c, options, sizeof options / sizeof *options, &argc, argv, &config, &code))
        return code;
    if (!words_good(argc, argv, w.file != NULL, w.audience))
        return cli_usage_error(c, "list, show NAME, put NAME RULE, remove NAME, count RULE, members NAME, "
                                  "explain NAME ID or export NAME is needed");
    if (w.file && !(text = read_rule(w.file)))
        return EXIT_FAILED;
    bool put_rule = !strcmp(argv[0], "put") && argc == 3, count_rule = !strcmp(argv[0], "count") && argc == 2;
    const char *rule = put_rule ? argv[2] : count_rule ? argv[1] : text;
    w.export.json = w.json;
    code = cli_talk_open(&t, config) ? act(c, &t, argv, argc, rule, &w) : EXIT_FAILED;
    cli_talk_close(&t);
    free(text);
    return code;
}
