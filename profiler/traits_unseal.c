/* An event as it was stated, with what the collector took out and sealed. Pure but for the keys; any thread. */
#include <errno.h>

#include "profiler/traits_inside.h"

/* Two objects as one, by their text. */
static struct str joined(struct str a, struct str b, struct arena *arena)
{
    struct buf out;

    if (!str_has(a) || a.n <= 2)
        return arena_dup(arena, b);
    buf_init(&out, a.n + b.n);
    buf_add(&out, a.p, a.n - 1); /* without its brace */
    buf_add_char(&out, ',');
    buf_add(&out, b.p + 1, b.n - 1);
    struct str copy = out.failed ? STR_NONE : arena_dup(arena, buf_str(&out));
    buf_deinit(&out);
    return copy;
}

static int join(const struct json *root, const char *part, struct str *field, struct arena *a)
{
    const struct json *v = json_get(root, part);

    if (!v || v->type != JSON_OBJECT || v->count == 0)
        return 0;
    struct str all = joined(*field, v->raw, a);
    if (!str_has(all))
        return -ENOMEM;
    *field = all;
    return 0;
}

int traits_unseal(struct event *e, const struct traits_rules *r, struct arena *a)
{
    struct json_parser *parser = NULL;
    const struct json *root;
    struct str plain;
    int rc;

    if (!str_has(e->sealed))
        return 0;
    rc = r && r->keys ? seal_open(r->keys, e->sealed, a, &plain) : 1;
    if (rc != 0)
        return rc < 0 ? rc : 1;
    root = trait_parse(plain, a, &parser);
    rc = parser ? root ? 0 : 1 : -ENOMEM;
    if (rc == 0)
        rc = join(root, "traits", &e->traits, a);
    if (rc == 0)
        rc = join(root, "context", &e->context, a);
    if (rc == 0)
        rc = join(root, "properties", &e->properties, a);
    if (rc == 0)
        rc = join(root, "extra", &e->extra, a);
    json_parser_free(parser);
    return rc;
}
