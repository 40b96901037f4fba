/* Rules without an audience: whether one compiles, and which names there are. Look-up threads. */
#include <stdio.h>

#include "profiler/api_audience.h"

static const char *const need_names[] = {"traits", "path", "orders", "marks", "cuts", "tags", "audiences", "now"};

static void write_names(struct buf *b, const char *key, const struct str *names, size_t n)
{
    json_write_key(b, key);
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, names[i]);
    }
    buf_add_char(b, ']');
}

static void write_needs(struct buf *b, unsigned needs)
{
    bool first = true;

    json_write_key(b, "needs");
    buf_add_char(b, '[');
    for (size_t i = 0; i < sizeof need_names / sizeof *need_names; i++) {
        if (!(needs >> i & 1))
            continue;
        buf_addf(b, "%s\"%s\"", first ? "" : ",", need_names[i]);
        first = false;
    }
    buf_add_char(b, ']');
}

static void write_warnings(struct buf *b, const struct rule *rule)
{
    const struct rule_warning *w;
    size_t n = rule_warnings(rule, &w);

    json_write_key(b, "warnings");
    buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_addf(b, "%s{\"line\":%u,\"column\":%u", i ? "," : "", w[i].line, w[i].column);
        json_write_member(b, "message", str_of(w[i].message));
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void answer(struct ask *ask, const struct rule *rule)
{
    const struct str *names;
    struct buf b, canonical;
    size_t n;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_init(&canonical, MIB);
    buf_addf(&b, "{\"ok\":true,\"type\":\"%s\",\"personal\":%s", rule_type_names[rule_type(rule)],
             rule_personal(rule) ? "true" : "false");
    write_needs(&b, rule_needs(rule));
    n = rule_tags(rule, &names);
    write_names(&b, "tags", names, n);
    n = rule_audiences(rule, &names);
    write_names(&b, "audiences", names, n);
    n = rule_campaigns(rule, &names);
    write_names(&b, "campaigns", names, n);
    if (rule_canonical(rule, &canonical))
        json_write_member(&b, "canonical", buf_str(&canonical));
    write_warnings(&b, rule);
    buf_add_char(&b, '}');
    ask_answer(ask, &b);
    buf_deinit(&canonical);
    buf_deinit(&b);
}

void run_check_rule(struct ask *ask)
{
    static const char *const members[] = {"rule", NULL};
    struct json_parser *parser = json_parser_new();
    struct str text = STR_NONE;
    struct rule *rule = NULL;
    const struct json *root = ask_read_object(ask, parser, members);
    bool good = root && ask_read_text(ask, root, "rule", &text);

    json_parser_free(parser);
    if (!good)
        return;
    if (!str_has(text))
        ask_error(ask, 400, "parameter_invalid", "the body is {\"rule\":\"…\"}");
    else if (ask_compile(ask, text, &rule))
        answer(ask, rule);
    rule_free(rule);
}

void run_catalog(struct ask *ask)
{
    struct audience_names names;
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    audiences_names(ask->api->o.audiences, &names);
    rule_catalog_write(&names.names, &b);
    audiences_names_done(&names);
    ask_answer(ask, &b);
    buf_deinit(&b);
}
