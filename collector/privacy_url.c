/* Parameters that are cut from urls: of the query, of the fragment, of urls inside parameters. Pure; any thread. */
#include <assert.h>

#include "collector/privacy.h"

#define NAME_BYTES 64      /* of a parameter that may be cut */
#define INSIDE_BYTES 16384 /* of a parameter's value that is looked into */
#define INSIDE_DEPTH 3     /* urls in each other */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Percent-decoded, at most `max` bytes; the number of them. A bad escape stays as it is. */
static size_t decode(struct str in, char *out, size_t max)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n && n < max; i++) {
        int high = in.p[i] == '%' && i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
        if (low >= 0) {
            out[n++] = (char)(high << 4 | low);
            i += 2;
        } else {
            out[n++] = in.p[i];
        }
    }
    return n;
}

static bool is_end(char c)
{
    return c == '&' || c == ';' || c == '?' || c == '#';
}

/* The words of a name like user[email], each of which may be what is cut. */
static bool cuts_word(const struct privacy *p, struct str name)
{
    size_t from = 0;

    for (size_t i = 0; i <= name.n; i++) {
        if (i < name.n && name.p[i] != '[' && name.p[i] != ']' && name.p[i] != '.' && name.p[i] != '/' &&
            name.p[i] != '!')
            continue;
        if (i > from && privacy_cuts(p, (struct str){name.p + from, i - from}))
            return true;
        from = i + 1;
    }
    return false;
}

static bool has_cut(const struct privacy *p, struct str text, bool query, unsigned depth);

/* Whether the value, decoded, is a url with something to cut. */
static bool cuts_inside(const struct privacy *p, struct str value, unsigned depth)
{
    char text[INSIDE_BYTES];

    if (depth == 0 || value.n < 4 || !memchr(value.p, '%', value.n))
        return false;
    if (value.n > sizeof text)
        return true; /* too long to be looked into, too long to be trusted */
    return has_cut(p, (struct str){text, decode(value, text, sizeof text)}, false, depth - 1);
}

/* Whether a "name=value" is to go. */
static bool cuts_pair(const struct privacy *p, struct str pair, unsigned depth)
{
    const char *equals = memchr(pair.p, '=', pair.n);
    char name[NAME_BYTES];

    if (!equals)
        return false;
    struct str raw = {pair.p, (size_t)(equals - pair.p)};
    if (raw.n > 0 && raw.n <= 3 * NAME_BYTES && cuts_word(p, (struct str){name, decode(raw, name, sizeof name)}))
        return true;
    return cuts_inside(p, (struct str){equals + 1, pair.n - raw.n - 1}, depth);
}

/* Where the first parameter's mark stands, or the end where there is none; with `query` the first has no mark. */
static size_t parameters_at(struct str text, bool query)
{
    size_t i = 0;

    while (!query && i < text.n && !is_end(text.p[i]))
        i++;
    return i;
}

/* The next pair and the mark before it (a NUL where there is none) from *at on, which moves behind them. */
static struct str next_pair(struct str text, size_t *at, char *mark)
{
    size_t i = *at, from;

    *mark = is_end(text.p[i]) ? text.p[i++] : '\0';
    from = i;
    while (i < text.n && !is_end(text.p[i]))
        i++;
    *at = i;
    return (struct str){text.p + from, i - from};
}

/* What stands between "://" and "@" of the host, before the first parameter: a name and a password. */
static struct str credentials(struct str text, size_t head)
{
    const char *host = head > 3 ? memmem(text.p, head, "://", 3) : NULL, *end = text.p + head, *at = NULL;

    if (!host)
        return STR_NONE;
    for (const char *c = host += 3; c < end && *c != '/' && *c != ' '; c++)
        if (*c == '@')
            at = c;
    return at ? (struct str){host, (size_t)(at + 1 - host)} : STR_NONE;
}

static bool has_cut(const struct privacy *p, struct str text, bool query, unsigned depth)
{
    char mark;

    if (text.n && memchr(text.p, '@', text.n) && str_has(credentials(text, parameters_at(text, query))))
        return true;
    if (!text.n || !memchr(text.p, '=', text.n))
        return false;
    for (size_t at = parameters_at(text, query); at < text.n;)
        if (cuts_pair(p, next_pair(text, &at, &mark), depth))
            return true;
    return false;
}

/* Copies what stays of the parameters from `at` on; the length. Where the first one behind ? or # goes, the next takes
 * that mark over. */
static size_t copy_parameters(const struct privacy *p, struct str text, size_t at, char *out)
{
    bool pending = false; /* the mark `opener` is yet to be written */
    char opener = '\0', mark;
    size_t n = 0;

    while (at < text.n) {
        struct str pair = next_pair(text, &at, &mark);
        bool opens = mark != '&' && mark != ';';
        if (cuts_pair(p, pair, INSIDE_DEPTH)) {
            opener = opens ? mark : opener;
            pending |= opens;
            continue;
        }
        if (pending && !opens)
            mark = opener;
        pending = false;
        if (mark)
            out[n++] = mark;
        memcpy(out + n, pair.p, pair.n);
        n += pair.n;
    }
    return n;
}

struct str privacy_url(const struct privacy *p, struct str text, bool query, struct arena *a)
{
    if (!has_cut(p, text, query, INSIDE_DEPTH))
        return text;
    char *out = arena_alloc(a, text.n);
    if (!out)
        return STR_NONE;
    size_t head = parameters_at(text, query), skip = head, n;
    struct str secret = credentials(text, head);
    if (str_has(secret))
        skip = (size_t)(secret.p - text.p);
    memcpy(out, text.p, skip);
    n = skip;
    if (skip < head) {
        size_t rest = skip + secret.n;
        memcpy(out + n, text.p + rest, head - rest);
        n += head - rest;
    }
    n += copy_parameters(p, text, head, out + n);
    assert(n <= text.n);
    return (struct str){out, n};
}
