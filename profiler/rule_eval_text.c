/* Functions of texts, and texts made of other things. Pure; any thread. */
#include <errno.h>

#include "profiler/rule_eval_inside.h"

#define WRITTEN_MAX (64 * KIB) /* of a value as text */

/* --- size -------------------------------------------------------------------------------------------------------- */

static size_t characters(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

static int eval_size(struct eval *e, const struct cell *c, struct cell *out)
{
    switch (c->v.type) {
    case RULE_STRING:
        return cell_int(e, out, (__int128)characters(c->v.text));
    case RULE_LIST:
        return cell_int(e, out, (__int128)c->v.n);
    case RULE_MAP:
        return cell_int(e, out, (__int128)(c->v.n / 2));
    default:
        cell_absent(out);
        return 0;
    }
}

/* --- parts ------------------------------------------------------------------------------------------------------- */

static bool contains(struct str s, struct str part)
{
    return part.n == 0 || memmem(s.p, s.n, part.p, part.n) != NULL;
}

static bool ends_with(struct str s, struct str part)
{
    return s.n >= part.n && (part.n == 0 || memcmp(s.p + s.n - part.n, part.p, part.n) == 0);
}

/* Absent where one of the two is no text, so that a part of nothing is not found. */
static void eval_part(enum rule_op op, const struct cell *s, const struct cell *part, struct cell *out)
{
    cell_absent(out);
    if (s->v.type != RULE_STRING || part->v.type != RULE_STRING)
        return;
    if (op == OP_CONTAINS)
        cell_bool(out, contains(s->v.text, part->v.text));
    else if (op == OP_STARTS_WITH)
        cell_bool(out, str_starts(s->v.text, part->v.text));
    else
        cell_bool(out, ends_with(s->v.text, part->v.text));
}

/* --- other letters ----------------------------------------------------------------------------------------------- */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static int eval_letters(struct eval *e, enum rule_op op, const struct cell *s, struct cell *out)
{
    const struct str from = s->v.text;
    char *p;

    cell_absent(out);
    if (s->v.type != RULE_STRING)
        return 0;
    p = arena_alloc(e->arena, from.n + 1);
    if (!p)
        return -ENOMEM;
    for (size_t i = 0; i < from.n; i++)
        p[i] = op == OP_LOWER ? lower(from.p[i]) : upper(from.p[i]);
    cell_text(out, (struct str){p, from.n});
    return 0;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void eval_trim(const struct cell *s, struct cell *out)
{
    struct str t = s->v.text;

    cell_absent(out);
    if (s->v.type != RULE_STRING)
        return;
    while (t.n > 0 && is_blank(t.p[0]))
        t = (struct str){t.p + 1, t.n - 1};
    while (t.n > 0 && is_blank(t.p[t.n - 1]))
        t.n--;
    cell_text(out, t);
}

/* --- string() ---------------------------------------------------------------------------------------------------- */

/* As JSON has it, without the quotes of times and durations. */
static int eval_to_string(struct eval *e, struct cell *c, struct cell *out)
{
    struct buf b;
    struct str text;
    int rc = 0;

    if (c->moves)
        eval_wake_in(e, 1);
    if (!cell_has(c) || c->v.type == RULE_STRING) {
        *out = *c;
        return 0;
    }
    cell_absent(out);
    buf_init(&b, WRITTEN_MAX);
    rule_value_write(&c->v, &b);
    if (!b.failed) {
        text = arena_dup(e->arena, buf_str(&b));
        if (!text.p)
            rc = -ENOMEM;
        else if (c->v.type == RULE_TIME || c->v.type == RULE_DURATION)
            cell_text(out, (struct str){text.p + 1, text.n - 2});
        else
            cell_text(out, text);
    }
    buf_deinit(&b);
    return rc;
}

int eval_text(struct eval *e, const struct rule_node *n, struct cell *out)
{
    struct cell s, part;
    int rc = eval_kid(e, n, 0, &s);

    if (rc != 0)
        return rc;
    switch (n->op) {
    case OP_SIZE:
        return eval_size(e, &s, out);
    case OP_LOWER:
    case OP_UPPER:
        return eval_letters(e, n->op, &s, out);
    case OP_TRIM:
        eval_trim(&s, out);
        return 0;
    case OP_TO_STRING:
        return eval_to_string(e, &s, out);
    default:
        rc = eval_kid(e, n, 1, &part);
        if (rc == 0)
            eval_part(n->op, &s, &part, out);
        return rc;
    }
}
