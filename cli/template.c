/* Templates: {Column} is that column's value, {Column|filter:argument|…} after filters. A brace that is not closed
 * stands for itself. */
#include <string.h>

#include "cli/template.h"
#include "common/limits.h"
#include "common/num.h"

/* --- filters: each appends its result, and returns NULL or why not ------------------------------------------ */

/* Cuts that ending. */
static const char *filter_strip(struct str value, struct str ending, struct buf *out)
{
    if (value.n >= ending.n && str_eq((struct str){value.p + value.n - ending.n, ending.n}, ending))
        value.n -= ending.n;
    buf_add_str(out, value);
    return NULL;
}

/* Zeros on the left. */
static const char *filter_pad(struct str value, struct str argument, struct buf *out)
{
    uint64_t width;

    if (num_u64(argument, &width) != NUM_OK || width > 20)
        return "pad_invalid";
    for (size_t i = value.n; i < width; i++)
        buf_add_char(out, '0');
    buf_add_str(out, value);
    return NULL;
}

static const char *add_number(struct str value, int64_t sign, struct buf *out)
{
    int64_t micros;

    if (num_micros(value, false, &micros) != NUM_OK)
        return "number_invalid";
    num_write_micros(out, sign * micros);
    return NULL;
}

static const char *filter_number(struct str value, struct str argument, struct buf *out)
{
    (void)argument;
    return add_number(value, 1, out);
}

static const char *filter_negate(struct str value, struct str argument, struct buf *out)
{
    (void)argument;
    return add_number(value, -1, out);
}

/* Seconds since midnight as HH:MM:SS: click n of a visit, `step` seconds apart. */
static const char *filter_clock(struct str value, struct str step, struct buf *out)
{
    uint64_t n, s;

    if (num_u64(value, &n) != NUM_OK || num_u64(step, &s) != NUM_OK || n < 1 || n > 86400 || s > 86400 ||
        (n - 1) * s >= 86400)
        return "clock_out_of_range";
    n = (n - 1) * s;
    buf_addf(out, "%02d:%02d:%02d", (int)(n / 3600), (int)(n / 60 % 60), (int)(n % 60));
    return NULL;
}

struct filter {
    const char *name;
    const char *(*apply)(struct str value, struct str argument, struct buf *out);
    enum template_kind makes;
};

static const struct filter filters[] = {
    {"strip", filter_strip, TEMPLATE_TEXT},     {"pad", filter_pad, TEMPLATE_TEXT},
    {"number", filter_number, TEMPLATE_NUMBER}, {"negate", filter_negate, TEMPLATE_NUMBER},
    {"clock", filter_clock, TEMPLATE_TEXT},
};

static const struct filter *find_filter(struct str name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (str_is(name, filters[i].name))
            return &filters[i];
    return NULL;
}

/* --- references --------------------------------------------------------------------------------------------- */

/* What stands before the first separator; *rest is what stands behind it, absent without one. */
static struct str cut(struct str *rest, char separator)
{
    const char *p = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
    struct str head = *rest;

    if (p) {
        head.n = (size_t)(p - rest->p);
        *rest = (struct str){p + 1, rest->n - head.n - 1};
    } else {
        *rest = STR_NONE;
    }
    return head;
}

/* The next filter of a reference and its argument; false when there is none left. */
static bool next_filter(struct str *rest, struct str *name, struct str *argument)
{
    if (!str_has(*rest))
        return false;
    *argument = cut(rest, '|');
    *name = cut(argument, ':');
    return true;
}

/* The next reference of a template: the text before it and what is inside. False when only text is left. */
static bool next_reference(struct str *t, struct str *before, struct str *inner)
{
    const char *open = t->n ? memchr(t->p, '{', t->n) : NULL;
    const char *close = open ? memchr(open, '}', t->n - (size_t)(open - t->p)) : NULL;

    if (!close)
        return false;
    *before = (struct str){t->p, (size_t)(open - t->p)};
    *inner = (struct str){open + 1, (size_t)(close - open - 1)};
    *t = (struct str){close + 1, t->n - (size_t)(close + 1 - t->p)};
    return true;
}

static void swap_bufs(struct buf *a, struct buf *b)
{
    struct buf c = *a;

    *a = *b;
    *b = c;
}

/* One {…}: its value to `out`. */
static enum template_kind render_reference(struct str inner, const struct rows *r, struct buf *out, const char **why)
{
    struct str column = cut(&inner, '|'), value = rows_value(r, column), name, argument;
    enum template_kind kind = TEMPLATE_TEXT;
    struct buf now, next;

    if (!str_has(value))
        return TEMPLATE_ABSENT;
    buf_init(&now, LIMIT_EVENT_BYTES);
    buf_init(&next, LIMIT_EVENT_BYTES);
    buf_add_str(&now, value);
    while (!*why && next_filter(&inner, &name, &argument)) {
        const struct filter *f = find_filter(name);
        buf_reset(&next);
        *why = f ? f->apply(buf_str(&now), argument, &next) : "filter_unknown";
        kind = f ? f->makes : kind;
        swap_bufs(&now, &next);
    }
    if (now.failed || next.failed)
        *why = "event_too_large";
    buf_add_str(out, buf_str(&now));
    buf_deinit(&now);
    buf_deinit(&next);
    return kind;
}

enum template_kind template_render(struct str t, const struct rows *r, struct buf *out, const char **why)
{
    enum template_kind kind = TEMPLATE_TEXT;
    struct str before, inner;
    bool first = true;

    for (; next_reference(&t, &before, &inner); first = false) {
        buf_add_str(out, before);
        enum template_kind k = render_reference(inner, r, out, why);
        if (k == TEMPLATE_ABSENT || *why)
            return TEMPLATE_ABSENT;
        kind = first && before.n == 0 && t.n == 0 ? k : TEMPLATE_TEXT;
    }
    buf_add_str(out, t);
    return kind;
}

const char *template_fault(struct str t, const struct rows *r, struct str *what)
{
    struct str before, inner, argument;

    while (next_reference(&t, &before, &inner)) {
        *what = cut(&inner, '|');
        if (r && !rows_has_column(r, *what))
            return "the file has no such column";
        while (next_filter(&inner, what, &argument))
            if (!find_filter(*what))
                return "there is no such filter";
    }
    return NULL;
}
