/* Cut points of quintiles: made of values, written, read, picked. Pure. */
#include "profiler/cuts.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/rule_tree.h"

const unsigned cuts_facts[CUTS_FACTS] = {FACT_ORDERS,   FACT_ITEMS,    FACT_GROSS,          FACT_SPENT,
                                         FACT_DISCOUNT, FACT_SESSIONS, FACT_FIRST_ORDER_AT, FACT_LAST_ORDER_AT};

#define TEXT_BYTES (DEFINITION_BODY_BYTES + 4 * KIB)

/* --- values ----------------------------------------------------------------------------------------------------- */

void cuts_values_init(struct cuts_values *v)
{
    memset(v, 0, sizeof *v);
}

void cuts_values_deinit(struct cuts_values *v)
{
    for (size_t i = 0; i < CUTS_FACTS; i++)
        free(v->of[i].v);
    memset(v, 0, sizeof *v);
}

/* Sums of more than nine billion billion micros are all the greatest there is. */
static int64_t narrow(money m)
{
    if (m > INT64_MAX)
        return INT64_MAX;
    return m < -INT64_MAX ? -INT64_MAX : (int64_t)m;
}

bool cuts_value(const struct facts *f, unsigned fact, int64_t *out)
{
    switch (fact) {
    case FACT_ORDERS:
        *out = (int64_t)f->orders;
        return true;
    case FACT_ITEMS:
        *out = f->items;
        return true;
    case FACT_GROSS:
        *out = narrow(f->gross);
        return true;
    case FACT_SPENT:
        *out = narrow(f->gross - f->refunded);
        return true;
    case FACT_DISCOUNT:
        *out = narrow(f->discount);
        return true;
    case FACT_SESSIONS:
        *out = (int64_t)f->sessions;
        return true;
    case FACT_FIRST_ORDER_AT:
        *out = f->first_order_at;
        return f->first_order_at != TIME_NONE;
    case FACT_LAST_ORDER_AT:
        *out = f->last_order_at;
        return f->last_order_at != TIME_NONE;
    default:
        return false;
    }
}

int cuts_values_put(struct cuts_values *v, unsigned place, int64_t value)
{
    assert(place < CUTS_FACTS);
    struct cuts_column *c = &v->of[place];

    if (c->n == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 1024;
        int64_t *p = c->n < LIMIT_CUTS_PEOPLE ? realloc(c->v, cap * sizeof *p) : NULL;
        if (!p)
            return c->n < LIMIT_CUTS_PEOPLE ? -ENOMEM : -EFBIG;
        c->v = p;
        c->cap = cap;
    }
    c->v[c->n++] = value;
    return 0;
}

int cuts_values_add(struct cuts_values *v, const struct facts *f)
{
    int64_t value;
    int r = 0;

    if (f->orders == 0)
        return 0;
    for (unsigned i = 0; r == 0 && i < CUTS_FACTS; i++)
        if (cuts_value(f, cuts_facts[i], &value))
            r = cuts_values_put(v, i, value);
    v->people += r == 0;
    return r;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* 1 to 5, of a value that `less` others are below and `equal` (itself too) share, of n. */
static unsigned quintile(size_t less, size_t equal, size_t n)
{
    return 1 + (unsigned)(5 * (2 * (unsigned __int128)less + equal) / (2 * (unsigned __int128)n));
}

/* cuts[k] is the greatest value of a quintile up to k + 1; below all of them where there is none. */
static void cut_column(struct cuts_column *c, struct rule_quintile *out)
{
    *out = (struct rule_quintile){.has = c->n > 0};
    if (c->n == 0)
        return;
    qsort(c->v, c->n, sizeof *c->v, compare);
    for (unsigned k = 0; k < 4; k++)
        out->cuts[k] = (__int128)c->v[0] - 1;
    for (size_t i = 0, end; i < c->n; i = end) {
        for (end = i + 1; end < c->n && c->v[end] == c->v[i];)
            end++;
        for (unsigned k = quintile(i, end - i, c->n) - 1; k < 4; k++)
            out->cuts[k] = c->v[i];
    }
}

void cuts_values_make(struct cuts_values *v, int64_t made_at, struct rule_cuts *out)
{
    memset(out, 0, sizeof *out);
    out->made_at = made_at;
    for (size_t i = 0; i < CUTS_FACTS; i++)
        cut_column(&v->of[i], &out->of[cuts_facts[i]]);
}

/* --- text ------------------------------------------------------------------------------------------------------- */

bool cuts_write(const struct rule_cuts *c, uint64_t people, struct buf *b)
{
    buf_add_text(b, "{\"made_at\":\"");
    time_write(b, c->made_at);
    buf_addf(b, "\",\"people\":%" PRIu64 ",\"cuts\":{", people);
    for (size_t i = 0; i < CUTS_FACTS; i++) {
        const struct rule_quintile *q = &c->of[cuts_facts[i]];
        if (!q->has)
            continue;
        json_write_key(b, rule_facts[cuts_facts[i]].name);
        for (unsigned k = 0; k < 4; k++)
            buf_addf(b, "%c%" PRId64, k ? ',' : '[', (int64_t)q->cuts[k]);
        buf_add_char(b, ']');
    }
    return buf_add_text(b, "}}");
}

static bool read_quintile(const struct json *list, struct rule_quintile *out)
{
    unsigned k = 0;

    if (list->type != JSON_ARRAY || list->count != 4)
        return false;
    for (const struct json *n = list->child; n; n = n->next) {
        int64_t v;
        if (n->type != JSON_NUMBER || num_integer(n->text, INT64_MAX, &v) != NUM_OK)
            return false;
        out->cuts[k++] = v;
    }
    for (k = 1; k < 4; k++)
        if (out->cuts[k] < out->cuts[k - 1])
            return false;
    out->has = true;
    return true;
}

static bool read_body(const struct json *root, struct rule_cuts *out, uint64_t *people)
{
    const struct json *made = json_get(root, "made_at"), *n = json_get(root, "people"), *cuts = json_get(root, "cuts");

    if (!made || made->type != JSON_STRING || time_parse(made->text, &out->made_at) != 0)
        return false;
    if (!n || n->type != JSON_NUMBER || num_u64(n->text, people) != NUM_OK || !cuts || cuts->type != JSON_OBJECT)
        return false;
    for (size_t i = 0; i < CUTS_FACTS; i++) {
        const struct json *list = json_get(cuts, rule_facts[cuts_facts[i]].name);
        if (list && !read_quintile(list, &out->of[cuts_facts[i]]))
            return false;
    }
    return true;
}

/* A body, parsed; to be freed whatever became of it. */
struct parsed {
    struct json_parser *parser;
    struct buf text;
    const struct json *root;
};

/* 0, 1: it is no JSON, -ENOMEM. */
static int parse(struct str body, struct parsed *p)
{
    *p = (struct parsed){.parser = json_parser_new()};
    buf_init(&p->text, TEXT_BYTES);
    if (body.n > TEXT_BYTES - JSON_PADDING)
        return 1;
    if (!p->parser || !buf_add_str(&p->text, body) || !buf_room(&p->text, JSON_PADDING))
        return -ENOMEM;
    int r = json_parse(p->parser, p->text.p, p->text.n, &p->root, NULL);
    return r < 0 ? r : r != JSON_OK;
}

static void parsed_free(struct parsed *p)
{
    json_parser_free(p->parser);
    buf_deinit(&p->text);
}

int cuts_read(struct str body, struct rule_cuts *out, uint64_t *people)
{
    struct rule_cuts c = {0};
    struct parsed p;
    uint64_t n = 0;
    int r = parse(body, &p);

    if (r == 0 && !read_body(p.root, &c, &n))
        r = 1;
    if (r == 0) {
        *out = c;
        if (people)
            *people = n;
    }
    parsed_free(&p);
    return r;
}

/* --- values of others ------------------------------------------------------------------------------------------- */

static size_t different(const struct cuts_column *c)
{
    size_t n = c->n > 0;

    for (size_t i = 1; i < c->n; i++)
        n += c->v[i] != c->v[i - 1];
    return n;
}

static void write_point(struct buf *b, int64_t value, size_t n)
{
    buf_addf(b, "%s[%" PRId64 ",%zu]", b->p[b->n - 1] == '[' ? "" : ",", value, n);
}

static void write_column(const struct cuts_column *c, struct buf *b)
{
    bool each = different(c) <= CUTS_POINTS;

    for (size_t i = 0, end; each && i < c->n; i = end) {
        for (end = i + 1; end < c->n && c->v[end] == c->v[i];)
            end++;
        write_point(b, c->v[i], end - i);
    }
    for (size_t k = 0; !each && k < CUTS_POINTS; k++) {
        size_t from = c->n * k / CUTS_POINTS, to = c->n * (k + 1) / CUTS_POINTS;
        write_point(b, c->v[from + (to - from) / 2], to - from);
    }
}

bool cuts_values_write(struct cuts_values *v, struct str day, struct buf *b)
{
    buf_add_text(b, "{\"day\":");
    json_write_str(b, day);
    buf_addf(b, ",\"people\":%" PRIu64 ",\"values\":{", v->people);
    for (size_t i = 0; i < CUTS_FACTS && !b->failed; i++) {
        struct cuts_column *c = &v->of[i];
        if (c->n > 0)
            qsort(c->v, c->n, sizeof *c->v, compare);
        json_write_key(b, rule_facts[cuts_facts[i]].name);
        buf_add_char(b, '[');
        write_column(c, b);
        buf_add_char(b, ']');
    }
    return buf_add_text(b, "}}");
}

/* 0, 1, -ENOMEM, -EFBIG. */
static int read_point(const struct json *pair, unsigned place, struct cuts_values *v)
{
    int64_t value, n;
    int r = 0;

    if (pair->type != JSON_ARRAY || pair->count != 2 || pair->child->type != JSON_NUMBER ||
        pair->child->next->type != JSON_NUMBER || num_integer(pair->child->text, INT64_MAX, &value) != NUM_OK ||
        num_integer(pair->child->next->text, LIMIT_CUTS_PEOPLE, &n) != NUM_OK)
        return 1;
    for (; r == 0 && n > 0; n--)
        r = cuts_values_put(v, place, value);
    return r;
}

static int read_values(const struct json *root, struct str day, struct cuts_values *v)
{
    const struct json *of = json_get(root, "day"), *n = json_get(root, "people"), *all = json_get(root, "values");
    uint64_t people;
    int r = 0;

    if (!of || of->type != JSON_STRING || (str_has(day) && !str_eq(of->text, day)) || !n || n->type != JSON_NUMBER ||
        num_u64(n->text, &people) != NUM_OK || !all || all->type != JSON_OBJECT)
        return 1;
    for (unsigned i = 0; v && r == 0 && i < CUTS_FACTS; i++) {
        const struct json *list = json_get(all, rule_facts[cuts_facts[i]].name);
        for (const struct json *p = list && list->type == JSON_ARRAY ? list->child : NULL; r == 0 && p; p = p->next)
            r = read_point(p, i, v);
    }
    if (v && r == 0)
        v->people += people;
    return r;
}

int cuts_values_read(struct str body, struct str day, struct cuts_values *v)
{
    struct parsed p;
    int r = parse(body, &p);

    if (r == 0)
        r = read_values(p.root, day, v);
    parsed_free(&p);
    return r;
}

/* --- the one that counts ---------------------------------------------------------------------------------------- */

void cuts_name(const struct zone *zone, int64_t at, char out[CUTS_NAME_BYTES + 1])
{
    struct buf b;

    buf_init(&b, 64);
    time_write(&b, at + (zone ? zone_offset(zone, at) : 0));
    assert(b.n > CUTS_NAME_BYTES);
    memcpy(out, b.p, CUTS_NAME_BYTES);
    out[CUTS_NAME_BYTES] = '\0';
    buf_deinit(&b);
}

int cuts_at(const struct state_definition *d, size_t n, int64_t at, struct rule_cuts *out)
{
    char last[CUTS_NAME_BYTES + 1];

    *out = (struct rule_cuts){.made_at = TIME_NONE};
    cuts_name(NULL, at + TIME_DAY, last); /* local days are at most one ahead */
    for (size_t i = n; i > 0; i--) {
        struct rule_cuts c;
        if (d[i - 1].kind != DEFINITION_CUTS || str_cmp(d[i - 1].name, str_of(last)) > 0)
            continue;
        int r = cuts_read(d[i - 1].body, &c, NULL);
        if (r < 0)
            return r;
        if (r == 0 && c.made_at <= at) {
            *out = c;
            return 0;
        }
    }
    return 0;
}

static int by_time(const void *a, const void *b)
{
    const struct rule_cuts *x = a, *y = b;

    return (x->made_at > y->made_at) - (x->made_at < y->made_at);
}

int cuts_history(const struct state_definition *d, size_t n, struct arena *a, struct rule_cuts **out, size_t *count)
{
    size_t most = 0, k = 0;

    for (size_t i = 0; i < n; i++)
        most += d[i].kind == DEFINITION_CUTS && d[i].name.n == CUTS_NAME_BYTES;
    struct rule_cuts *v = arena_alloc(a, (most + 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (d[i].kind != DEFINITION_CUTS || d[i].name.n != CUTS_NAME_BYTES)
            continue;
        int r = cuts_read(d[i].body, &v[k], NULL);
        if (r < 0)
            return r;
        k += r == 0;
    }
    if (k > 0)
        qsort(v, k, sizeof *v, by_time);
    *out = v;
    *count = k;
    return 0;
}

const struct rule_cuts *cuts_pick(const struct rule_cuts *history, size_t count, int64_t at)
{
    while (count > 0 && history[count - 1].made_at > at)
        count--;
    return count ? &history[count - 1] : NULL;
}
