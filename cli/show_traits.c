/* Traits and consent as a person reads them. */
#include <stdio.h>

#include "cli/show.h"

static struct str member(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_STRING ? v->text : STR_LIT("");
}

/* A text without its quotes, anything else as JSON. */
static void show_value(const struct json *v)
{
    if (v)
        show_text(v->type == JSON_STRING ? v->text : v->raw);
}

static void show_statement(const struct json *s, const struct json *value)
{
    struct str time = member(s, "time");

    printf("  %-22.*s ", STR_ARG(s->key));
    show_value(value);
    if (time.n >= 19) {
        printf("  (%.10s %.8s, ", time.p, time.p + 11);
        show_text(member(s, "source"));
        putchar(')');
    }
    putchar('\n');
}

void show_traits(const struct json *traits)
{
    for (const struct json *t = traits->child; t; t = t->next) {
        const struct json *value = json_get(t, "value");
        show_statement(t, value && json_get(t, "time") ? value : t);
    }
}

void show_consent(const struct json *consent)
{
    for (const struct json *c = consent->child; c; c = c->next) {
        const struct json *granted = json_get(c, "granted");
        const struct json words = {.type = JSON_STRING,
                                   .text = granted && granted->type == JSON_TRUE ? STR_LIT("may") : STR_LIT("may not")};
        show_statement(c, &words);
    }
}
