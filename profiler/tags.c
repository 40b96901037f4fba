/* A set of tags: asked by name, evaluated about a person. Pure; any thread. */
#include "profiler/tags.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/marks.h"
#include "profiler/tags_inside.h"

struct tags *tags_new(void)
{
    struct tags *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    atomic_init(&t->readers, 1);
    arena_init(&t->arena, LIMIT_TAGS_BYTES);
    return t;
}

struct tags *tags_ref(struct tags *t)
{
    if (t)
        atomic_fetch_add(&t->readers, 1);
    return t;
}

void tags_unref(struct tags *t)
{
    if (!t || atomic_fetch_sub(&t->readers, 1) != 1)
        return;
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; k < t->tags[i].rule_count; k++)
            rule_free(t->tags[i].rules[k].rule);
    arena_deinit(&t->arena);
    free(t);
}

/* --- the set ---------------------------------------------------------------------------------------------------- */

size_t tags_count(const struct tags *t)
{
    return t->count;
}

const struct tag *tags_at(const struct tags *t, size_t i)
{
    assert(i < t->count);
    return &t->tags[i];
}

size_t tags_find(const struct tags *t, struct str name)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = str_cmp(t->tags[t->sorted[middle]].name, name);
        if (c == 0)
            return t->sorted[middle];
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

const struct rule_tag *tags_names(const struct tags *t, size_t *n)
{
    *n = t->count;
    return t->names;
}

unsigned tags_needs(const struct tags *t)
{
    return t->needs;
}

uint64_t tags_version(const struct tags *t)
{
    return t->version;
}

bool tags_is_name(struct str name)
{
    if (name.n == 0 || name.n > MARK_NAME_BYTES || name.p[0] < 'a' || name.p[0] > 'z')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '_')
            return false;
    }
    return true;
}

/* --- what is asked of a whole set ------------------------------------------------------------------------------- */

/* Insertion: a file has some dozens. */
static void sort_names(struct tags *t)
{
    for (size_t i = 0; i < t->count; i++) {
        size_t k = i;
        for (; k > 0 && str_cmp(t->tags[t->sorted[k - 1]].name, t->tags[i].name) > 0; k--)
            t->sorted[k] = t->sorted[k - 1];
        t->sorted[k] = i;
    }
}

/* Every part with its length before it, so that no two sets read the same. */
static void add_part(struct buf *b, struct str s)
{
    buf_add_varint(b, s.n);
    buf_add_str(b, s);
}

static bool write_meaning(const struct tags *t, struct buf *b)
{
    struct buf text;

    buf_init(&text, 64 * LIMIT_RULE_BYTES);
    for (size_t i = 0; i < t->count; i++) {
        const struct tag *g = &t->tags[i];
        add_part(b, g->name);
        buf_add_varint(b, g->type);
        buf_add_varint(b, g->rule_count);
        for (size_t k = 0; k < g->rule_count; k++) {
            buf_reset(&text);
            if (!rule_canonical(g->rules[k].rule, &text))
                b->failed = true;
            add_part(b, g->rules[k].value);
            add_part(b, buf_str(&text));
        }
    }
    buf_deinit(&text);
    return !b->failed;
}

static uint64_t hash_of(struct str s)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * UINT64_C(0x100000001b3);
    return h;
}

int tags_finish(struct tags *t)
{
    struct buf b;

    t->sorted = arena_alloc(&t->arena, (t->count + 1) * sizeof *t->sorted);
    if (!t->sorted)
        return -ENOMEM;
    sort_names(t);
    for (size_t i = 0; i < t->count; i++)
        for (size_t k = 0; k < t->tags[i].rule_count; k++)
            t->needs |= rule_needs(t->tags[i].rules[k].rule);
    buf_init(&b, LIMIT_TAGS_BYTES);
    bool good = write_meaning(t, &b);
    t->version = hash_of(buf_str(&b));
    buf_deinit(&b);
    return good ? 0 : -ENOMEM;
}

/* --- set by hand ------------------------------------------------------------------------------------------------ */

struct by_hand {
    struct mark *marks; /* sorted by name */
    size_t n;
};

static int find_marks(const struct rule_subject *s, struct by_hand *out)
{
    *out = (struct by_hand){0};
    if (!s->traits || traits_empty(s->traits))
        return 0;
    return marks_all(s->traits, MARK_TAG, s->arena, &out->marks, &out->n) ? 0 : -ENOMEM;
}

static bool lasts(const struct mark *m, int64_t now)
{
    return str_has(m->value) && (m->until == TIME_NONE || m->until > now);
}

static const struct mark *mark_of(const struct by_hand *h, struct str name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_eq(h->marks[i].name, name))
            return &h->marks[i];
    return NULL;
}

bool tags_fits(const struct tags *t, struct str name, struct str value, struct err *e)
{
    struct rule_value v;
    struct arena a;
    size_t i = tags_find(t, name);

    arena_init(&a, LIMIT_TAGS_BYTES);
    bool good = value.n <= LIMIT_TAG_VALUE_BYTES && rule_value_read(value, &a, &v) == 0 &&
                (v.type == RULE_STRING || v.type == RULE_NUMBER || v.type == RULE_BOOL);
    arena_deinit(&a);
    if (!good) {
        err_set(e, "a tag's value is a string, a number or a boolean of at most %d bytes", LIMIT_TAG_VALUE_BYTES);
        return false;
    }
    if (i == SIZE_MAX || t->tags[i].type == v.type)
        return true;
    err_set(e, "%.*s is a %s", STR_ARG(name), rule_type_names[t->tags[i].type]);
    return false;
}

/* --- evaluating ------------------------------------------------------------------------------------------------- */

/* What s->tag looks into, while tags are evaluated and after. */
struct known {
    const struct tags *tags;
    const struct rule_value *values;
};

static bool known_tag(void *arg, struct str name, struct rule_value *out)
{
    const struct known *k = arg;
    size_t i = tags_find(k->tags, name);

    if (i == SIZE_MAX || k->values[i].type == RULE_ANY)
        return false;
    *out = k->values[i];
    return true;
}

static void sooner(int64_t *next, int64_t other)
{
    if (other != TIME_NONE && (*next == TIME_NONE || other < *next))
        *next = other;
}

/* The value that the rules give. Those behind the one that gives it cannot change anything before it does. */
static int eval_rules(const struct tag *g, struct rule_subject *s, struct rule_value *out, int64_t *next)
{
    struct rule_result r;

    for (size_t i = 0; i < g->rule_count; i++) {
        int e = rule_eval(g->rules[i].rule, s, &r);
        if (e != 0)
            return e;
        sooner(next, r.next_change);
        if (!str_has(g->rules[i].value)) {
            if (r.value.type == g->type)
                *out = r.value;
        } else if (r.value.type == RULE_BOOL && r.value.truth) {
            *out = g->rules[i].constant;
            return 0;
        }
    }
    return 0;
}

/* True when the tag is one set by hand. What does not fit the tag, which had another type when it was set, is none. */
static int eval_mark(const struct tag *g, const struct by_hand *h, struct rule_subject *s, struct rule_value *out,
                     bool *set)
{
    const struct mark *m = mark_of(h, g->name);
    struct rule_value v;

    *set = false;
    if (!m || !lasts(m, s->now))
        return 0;
    int r = rule_value_read(m->value, s->arena, &v);
    if (r < 0)
        return r;
    *set = r == 0 && v.type == g->type;
    if (*set)
        *out = v;
    return 0;
}

static int eval_tag(const struct tag *g, const struct by_hand *h, struct rule_subject *s, struct rule_value *out,
                    int64_t *next)
{
    bool set;
    int r = eval_mark(g, h, s, out, &set);

    return r != 0 || set ? r : eval_rules(g, s, out, next);
}

int tags_eval(const struct tags *t, struct rule_subject *s, struct rule_value *out, int64_t *next_change)
{
    struct known *k = arena_alloc(s->arena, sizeof *k);
    struct by_hand h;

    *next_change = TIME_NONE;
    int r = k ? find_marks(s, &h) : -ENOMEM;
    if (r != 0)
        return r;
    *k = (struct known){t, out};
    s->tag = known_tag;
    s->tag_arg = k;
    for (size_t i = 0; i < t->count; i++)
        out[i] = (struct rule_value){.type = RULE_ANY};
    for (size_t i = 0; r == 0 && i < t->count; i++)
        r = eval_tag(&t->tags[i], &h, s, &out[i], next_change);
    for (size_t i = 0; i < h.n; i++)
        if (lasts(&h.marks[i], s->now))
            sooner(next_change, h.marks[i].until);
    return r;
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

/* Those that rules give. Their values stand in `b` one behind the other. */
static size_t say_given(const struct tags *t, const struct rule_value *values, struct buf *b, struct tag_said *v)
{
    size_t n = 0, at = b->n;

    for (size_t i = 0; i < t->count; i++) {
        size_t from = b->n;

        if (values[i].type == RULE_ANY)
            continue;
        rule_value_write(&values[i], b);
        v[n++] = (struct tag_said){t->tags[i].name, {NULL, b->n - from}};
    }
    for (size_t i = 0; i < n; at += v[i++].value.n)
        v[i].value.p = b->p + at;
    return n;
}

int tags_say(const struct tags *t, const struct rule_value *values, const struct rule_subject *s, struct buf *b,
             struct tag_said **out, size_t *n)
{
    struct by_hand h;
    int r = find_marks(s, &h);

    *n = 0;
    *out = r == 0 ? arena_alloc(s->arena, (t->count + h.n + 1) * sizeof **out) : NULL;
    if (!*out)
        return r != 0 ? r : -ENOMEM;
    *n = say_given(t, values, b, *out);
    for (size_t i = 0; i < h.n; i++)
        if (lasts(&h.marks[i], s->now) && tags_find(t, h.marks[i].name) == SIZE_MAX)
            (*out)[(*n)++] = (struct tag_said){h.marks[i].name, h.marks[i].value};
    return b->failed ? -ENOMEM : 0;
}

int tags_write_json(const struct tags *t, const struct rule_value *values, const struct rule_subject *s, struct buf *b)
{
    struct tag_said *v;
    struct buf texts;
    size_t n;

    buf_init(&texts, LIMIT_TAGS_BYTES);
    int r = tags_say(t, values, s, &texts, &v, &n);

    buf_add_char(b, '{');
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        json_write_str(b, v[i].name);
        buf_add_char(b, ':');
        buf_add_str(b, v[i].value);
    }
    buf_deinit(&texts);
    return r != 0 ? r : buf_add_char(b, '}') ? 0 : -ENOMEM;
}
