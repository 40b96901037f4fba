/* A span of bytes that somebody else owns. Any thread; pure. */
#ifndef WAYMARK_STR_H
#define WAYMARK_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* `p` NULL means absent, which is not the same as empty. Not NUL-terminated; may hold NUL. */
struct str {
    const char *p;
    size_t n;
};

#define STR_LIT(s) ((struct str){(s), sizeof(s) - 1})
#define STR_NONE ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *s)
{
    return s ? (struct str){s, strlen(s)} : STR_NONE;
}

static inline bool str_has(struct str s)
{
    return s.p != NULL;
}

/* One past the last byte; of an absent one NULL, to which C allows nothing to be added. */
static inline const char *str_end(struct str s)
{
    return s.n ? s.p + s.n : s.p;
}

/* Absent equals only absent. */
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.p != NULL) == (b.p != NULL) && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_is(struct str a, const char *b)
{
    return str_eq(a, str_of(b));
}

static inline bool str_starts(struct str a, struct str prefix)
{
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

/* Without the spaces and tabs around it. */
static inline struct str str_trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Bytewise order, a prefix first; absent before empty. */
static inline int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;

    if (c != 0)
        return c;
    if (a.n != b.n)
        return a.n < b.n ? -1 : 1;
    return (a.p != NULL) - (b.p != NULL);
}

#endif
