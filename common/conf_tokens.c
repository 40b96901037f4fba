/* A file of tokens: a YAML list of the shape of profiler.tokens, which is read again while the program runs. Any
 * thread. */
#include <stdlib.h>
#include <string.h>

#include "common/conf_inside.h"

#define MEMORY (16 * MIB)

/* What conf_tokens_load returns is the first member. */
struct whole {
    struct conf_tokens list;
    struct arena arena;
};

static void compare_beside(struct conf_state *s, const struct conf_node *at, const struct conf_token *t,
                           const struct conf_token *beside, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (t->name && strcmp(t->name, beside[i].name) == 0)
            conf_error(s, at, "the configuration has a token with the name %s too", conf_shown(s, str_of(t->name)));
        if (memcmp(t->sha256, beside[i].sha256, sizeof t->sha256) == 0)
            conf_error(s, at, "the configuration has this token too, as %s", conf_shown(s, str_of(beside[i].name)));
    }
}

/* A file without anything in it is one that is being written, not one without tokens. */
static void read_list(struct conf_state *s, struct str text, const struct conf_token *beside, size_t n,
                      struct conf_tokens *out)
{
    const struct conf_node *root = conf_yaml(s, text);

    if (!root)
        return;
    if (root->kind != CONF_LIST_NODE) {
        conf_error(s, root, "needs a list of tokens such as - {name: site, sha256: …, scopes: [lookup]}; [] is none");
        return;
    }
    if (root->n > CONF_TOKENS) {
        conf_error(s, root, "has %zu tokens, the most is %d", root->n, CONF_TOKENS);
        return;
    }
    out->tokens = conf_token_list(s, root);
    out->count = out->tokens ? root->n : 0;
    for (size_t i = 0; i < out->count; i++)
        compare_beside(s, root->items[i], &out->tokens[i], beside, n);
}

struct conf_tokens *conf_tokens_parse(const char *file, struct str text, const struct conf_token *beside, size_t n,
                                      struct buf *errors)
{
    struct whole *w = calloc(1, sizeof *w);
    struct conf_state *s = calloc(1, sizeof *s);

    if (!w || !s) {
        buf_addf(errors, "%s: out of memory\n", file);
        free(w);
        free(s);
        return NULL;
    }
    arena_init(&w->arena, MEMORY);
    *s = (struct conf_state){.file = file, .arena = &w->arena};
    if (text.n > CONF_FILE_BYTES)
        conf_error(s, NULL, "larger than %zu bytes", CONF_FILE_BYTES);
    else
        read_list(s, text, beside, n, &w->list);
    bool good = s->error_count == 0;
    conf_write_errors(s, errors);
    free(s);
    if (good)
        return &w->list;
    conf_tokens_free(&w->list);
    return NULL;
}

struct conf_tokens *conf_tokens_load(const char *file, const struct conf_token *beside, size_t n, struct buf *errors)
{
    size_t size;
    char *text = conf_read_file(file, &size, errors);
    struct conf_tokens *t = text ? conf_tokens_parse(file, (struct str){text, size}, beside, n, errors) : NULL;

    free(text);
    return t;
}

void conf_tokens_free(struct conf_tokens *t)
{
    struct whole *w = (struct whole *)t;

    if (!w)
        return;
    arena_deinit(&w->arena);
    free(w);
}
