/* The text of a rule while it is compiled: its first mistake, its memory, and names that are near. Any thread. */
#include "profiler/rule_source.h"

#include <stdarg.h>
#include <stdio.h>

#define NEAR_BYTES 64 /* longer names are not compared */

static void note(struct rule_source *s, struct rule_place at, struct str near, const char *format, va_list arguments)
    __attribute__((format(printf, 4, 0)));

static void note(struct rule_source *s, struct rule_place at, struct str near, const char *format, va_list arguments)
{
    if (s->failed || s->no_memory)
        return;
    s->failed = true;
    s->err->line = at.line;
    s->err->column = at.column;
    (void)vsnprintf(s->err->message, sizeof s->err->message, format, arguments);
    (void)snprintf(s->err->suggestion, sizeof s->err->suggestion, "%.*s", STR_ARG(near));
}

void *rule_fail(struct rule_source *s, struct rule_place at, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note(s, at, STR_NONE, format, arguments);
    va_end(arguments);
    return NULL;
}

void *rule_fail_near(struct rule_source *s, struct rule_place at, struct str near, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note(s, at, near, format, arguments);
    va_end(arguments);
    return NULL;
}

static void *alloc(struct rule_source *s, struct arena *arena, size_t n)
{
    void *p = arena_zalloc(arena, n);

    if (!p)
        s->no_memory = true;
    return p;
}

void *rule_alloc(struct rule_source *s, size_t n)
{
    return alloc(s, s->arena, n);
}

void *rule_scratch(struct rule_source *s, size_t n)
{
    return alloc(s, s->scratch, n);
}

struct str rule_copy(struct rule_source *s, struct str text)
{
    struct str copy = arena_dup(s->arena, text);

    if (!copy.p)
        s->no_memory = true;
    return copy;
}

/* The letters that names are compared by: lower case, without what separates words. */
static size_t fold_name(struct str name, char *out)
{
    size_t n = 0;

    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '_' || c == '-' || c == ' ')
            continue;
        out[n++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return n;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Letters put in, left out, changed or swapped with their neighbour. */
static unsigned edits(const char *a, size_t n, const char *b, size_t m)
{
    unsigned rows[3][NEAR_BYTES + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= m; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        unsigned *unused = before;
        before = above;
        above = row;
        row = unused;
    }
    return above[m];
}

void rule_near_init(struct rule_near *near, struct str wanted)
{
    *near = (struct rule_near){.wanted = wanted, .best = STR_NONE, .distance = (unsigned)(wanted.n / 3 + 1)};
}

void rule_near_offer(struct rule_near *near, struct str name)
{
    char a[NEAR_BYTES], b[NEAR_BYTES];
    size_t n, m;
    unsigned distance;

    if (near->wanted.n > NEAR_BYTES || name.n > NEAR_BYTES || name.n == 0)
        return;
    n = fold_name(near->wanted, a);
    m = fold_name(name, b);
    if (n == 0 || (n > m ? n - m : m - n) >= near->distance)
        return;
    distance = edits(a, n, b, m);
    if (distance < near->distance && distance < m) {
        near->distance = distance;
        near->best = name;
    }
}

struct str rule_near_best(const struct rule_near *near)
{
    return near->best;
}
