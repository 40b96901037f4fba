/* Asking for audiences, and telling what is wrong with a rule where it is wrong. */
#include "cli/audience.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/show.h"
#include "common/http.h"

#define TIMEOUT_MS 130000 /* a count may go through everybody */

void audience_path(struct buf *b, const char *folder, const char *name, const char *rest)
{
    buf_add_text(b, folder);
    http_encode_segment(b, str_of(name));
    buf_add_text(b, rest);
    buf_add_char(b, '\0');
}

struct str audience_text(const struct json *o, const char *key)
{
    const struct json *v = json_get(o, key);

    return v && (v->type == JSON_STRING || v->type == JSON_NUMBER) ? v->text : STR_NONE;
}

void show_number(const struct json *n)
{
    struct str s = n && n->type == JSON_NUMBER ? n->text : STR_LIT("?");

    for (size_t i = 0; i < s.n; i++) {
        if (i > 0 && (s.n - i) % 3 == 0 && s.p[i - 1] != '-' && !memchr(s.p, '.', s.n))
            putchar(',');
        putchar(s.p[i]);
    }
}

/* --- mistakes ------------------------------------------------------------------------------------------------- */

static unsigned long number(const struct json *o, const char *key)
{
    struct str s = audience_text(o, key);
    char text[24];

    snprintf(text, sizeof text, "%.*s", STR_ARG(s));
    return strtoul(text, NULL, 10);
}

/* The line of the text with that number; empty when there is none. */
static struct str line_of(const char *text, unsigned long line)
{
    while (line > 1 && *text) {
        size_t n = strcspn(text, "\n");
        text += n + (text[n] == '\n');
        line--;
    }
    return (struct str){text, strcspn(text, "\n")};
}

/* A tab would move what stands under it. */
static void print_line(struct str line)
{
    fputs("  ", stderr);
    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        fputc(c < ' ' || c == 0x7f ? ' ' : c, stderr);
    }
    fputc('\n', stderr);
}

static void show_place(const char *rule, unsigned long line, unsigned long column)
{
    struct str text = line_of(rule, line);

    if (line == 0 || column == 0 || column > text.n + 1)
        return;
    print_line(text);
    fprintf(stderr, "  %*s\n", (int)column, "^");
}

static int say_rule(const struct json *root, const char *rule)
{
    struct str message = audience_text(root, "message"), near = audience_text(root, "suggestion");
    unsigned long line = number(root, "line"), column = number(root, "column");

    show_place(rule, line, column);
    cli_error("line %lu, column %lu: %.*s%s%.*s%s", line, column, STR_ARG(message),
              str_has(near) ? "; did you mean " : "", STR_ARG(near), str_has(near) ? "?" : "");
    return EXIT_FAILED;
}

int audience_ask(struct cli_talk *t, const char *method, const char *path, struct str body, const char *rule)
{
    const struct json *root;

    client_send(t->client, method, path, body, TIMEOUT_MS, &t->answer);
    if (t->answer.status == 200 || t->answer.status == 201)
        return EXIT_OK;
    root = t->answer.status == 400 && rule ? client_json(t->parser, &t->answer) : NULL;
    if (root && str_is(audience_text(root, "code"), "rule_invalid"))
        return say_rule(root, rule);
    return cli_talk_failed(t);
}
