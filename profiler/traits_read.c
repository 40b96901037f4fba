/* What one event states of a person: traits in the clear and sealed, set-once, increments, consent. Pure but for the
 * keys; the thread of the caller. */
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "profiler/traits_inside.h"

struct reading {
    const struct traits_rules *rules;
    struct arena *arena;
    struct statements *out;
    bool sealed; /* by the collector, because of its own name */
    bool no_memory;
};

static void count(atomic_ullong *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void unfit(const struct reading *r)
{
    if (r->rules->counters)
        count(&r->rules->counters->unfit);
}

/* Set-once or increments, as far as a quick look tells. */
static bool in_extra(const struct event *e)
{
    return str_has(e->extra) && memmem(e->extra.p, e->extra.n, "\"traits", 7);
}

/* A group states its own traits, and of the person only the consent. */
static bool is_of_person(const struct event *e)
{
    return e->type != EVENT_GROUP && e->type != EVENT_MARK;
}

bool traits_in_event(const struct event *e)
{
    return str_has(e->consent) || e->type == EVENT_MARK ||
           (is_of_person(e) && (str_has(e->sealed) || str_has(e->traits) || in_extra(e)));
}

static void add(struct reading *r, struct statement s)
{
    struct statements *l = r->out;

    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        struct statement *v = arena_alloc(r->arena, cap * sizeof *v);
        if (!v) {
            r->no_memory = true;
            return;
        }
        if (l->n)
            memcpy(v, l->v, l->n * sizeof *v);
        l->v = v;
        l->cap = cap;
    }
    s.number = (uint32_t)l->n;
    l->v[l->n++] = s;
}

/* The tree goes with its parser: what is kept of it is copied. */
static struct str keep(struct reading *r, struct str s)
{
    struct str copy = arena_dup(r->arena, s);

    if (!str_has(copy))
        r->no_memory = true;
    return copy;
}

/* --- traits ---------------------------------------------------------------------------------------------------- */

static void read_add(struct reading *r, const struct json *v, struct statement s)
{
    bool number = v->type == JSON_NUMBER || v->type == JSON_STRING;

    s.how = STATED_ADD;
    if (s.personal || !number || num_micros(v->text, v->type == JSON_STRING, &s.add) != NUM_OK)
        unfit(r);
    else
        add(r, s);
}

static void read_value(struct reading *r, enum trait_type type, const struct json *v, struct statement s)
{
    if (v->type != JSON_NULL) {
        if (!trait_fit(type, v, r->arena, &s.value) || s.value.n > LIMIT_TRAIT_BYTES) {
            unfit(r);
            return;
        }
        if (!str_has(s.value)) {
            r->no_memory = true;
            return;
        }
    } else if (s.how == STATED_ONCE) { /* the first value is kept, and this is none */
        return;
    }
    add(r, s);
}

/* One name with what is said of it. `how` is that of the place where it stands. */
static void read_trait(struct reading *r, struct str name, const struct json *v, enum stated how)
{
    const struct trait_kind *kind = traits_find(r->rules->vocabulary, name);
    struct statement s = {.how = how, .personal = r->sealed || (kind && kind->personal)};

    if (name.n == 0 || name.n > LIMIT_NAME_BYTES || (s.personal && !r->rules->keys)) {
        unfit(r);
        return;
    }
    s.name = keep(r, kind ? kind->name : name);
    if (r->no_memory)
        return;
    bool plain = how == STATED_SET && kind && v->type != JSON_NULL;
    if (plain && kind->rule == TRAIT_ONCE)
        s.how = STATED_ONCE;
    if (how == STATED_ADD || (plain && kind->rule == TRAIT_SUM))
        read_add(r, v, s);
    else
        read_value(r, kind ? kind->type : TRAIT_ANY, v, s);
}

/* The collector seals such an object whole when anything in it is personal: then each name says for itself. */
static void read_all(struct reading *r, const struct json *o, enum stated how)
{
    bool was = r->sealed;

    if (o->type != JSON_OBJECT) {
        unfit(r);
        return;
    }
    r->sealed = false;
    for (const struct json *m = o->child; m && !r->no_memory; m = m->next)
        read_trait(r, m->key, m, how);
    r->sealed = was;
}

/* A list of names that are removed. */
static void read_unset(struct reading *r, const struct json *list)
{
    static const struct json null = {.type = JSON_NULL};

    if (list->type != JSON_ARRAY) {
        unfit(r);
        return;
    }
    for (const struct json *v = list->child; v && !r->no_memory; v = v->next)
        if (v->type == JSON_STRING)
            read_trait(r, v->text, &null, STATED_SET);
}

/* --- consent --------------------------------------------------------------------------------------------------- */

/* true and false, also as {"granted": true}; null: nothing is said of the purpose any more. */
static void read_purpose(struct reading *r, const struct json *m)
{
    const struct json *granted = m->type == JSON_OBJECT ? json_get(m, "granted") : m;
    struct statement s = {.in = IN_CONSENTS};

    if (!granted || granted->type > JSON_TRUE || m->key.n == 0 || m->key.n > LIMIT_PURPOSE_BYTES) {
        unfit(r);
        return;
    }
    s.name = keep(r, m->key);
    if (granted->type != JSON_NULL)
        s.value = granted->type == JSON_TRUE ? STR_LIT("true") : STR_LIT("false");
    if (!r->no_memory)
        add(r, s);
}

static void read_consent(struct reading *r, const struct json *o)
{
    if (o->type != JSON_OBJECT) {
        unfit(r);
        return;
    }
    for (const struct json *m = o->child; m && !r->no_memory; m = m->next)
        read_purpose(r, m);
}

/* --- marks ----------------------------------------------------------------------------------------------------- */

static bool say_mark(void *arg, struct str name, struct str value)
{
    struct reading *r = arg;

    add(r, (struct statement){.in = IN_MARKS, .name = name, .value = value});
    return !r->no_memory;
}

static void read_marks(struct reading *r, const struct json *o)
{
    struct marks_said to = {.say = say_mark, .arg = r, .arena = r->arena};

    marks_read(&to, o);
    r->no_memory = r->no_memory || to.no_memory;
    for (unsigned i = 0; i < to.unfit; i++)
        unfit(r);
}

/* --- documents ------------------------------------------------------------------------------------------------- */

/* Set-once and increments; true when the member was one of these. */
static bool read_special(struct reading *r, const struct json *m)
{
    if (str_is(m->key, "$set_once") || str_is(m->key, "traitsOnce") || str_is(m->key, "traits_once"))
        read_all(r, m, STATED_ONCE);
    else if (str_is(m->key, "$add") || str_is(m->key, "traitsAdd") || str_is(m->key, "traits_add"))
        read_all(r, m, STATED_ADD);
    else
        return false;
    return true;
}

static void read_traits(struct reading *r, const struct json *o)
{
    for (const struct json *m = o->child; m && !r->no_memory; m = m->next) {
        if (read_special(r, m))
            continue;
        if (str_is(m->key, "$set"))
            read_all(r, m, STATED_SET);
        else if (str_is(m->key, "$unset"))
            read_unset(r, m);
        else if (str_is(m->key, "consent"))
            read_consent(r, m);
        else
            read_trait(r, m->key, m, STATED_SET);
    }
}

static void read_extra(struct reading *r, const struct json *o)
{
    for (const struct json *m = o->child; m && !r->no_memory; m = m->next)
        read_special(r, m);
}

/* What the collector took out of the event and sealed. */
static void read_parts(struct reading *r, const struct json *o)
{
    const struct json *traits = json_get(o, "traits"), *extra = json_get(o, "extra");

    if (traits && traits->type == JSON_OBJECT)
        read_traits(r, traits);
    if (extra && extra->type == JSON_OBJECT)
        read_extra(r, extra);
}

static void read_document(struct reading *r, struct str text, void (*read)(struct reading *, const struct json *))
{
    struct json_parser *parser = NULL;
    const struct json *root;

    if (text.n <= 2 || r->no_memory) /* {} */
        return;
    root = trait_parse(text, r->arena, &parser);
    if (root && root->type == JSON_OBJECT)
        read(r, root);
    else if (!parser)
        r->no_memory = true;
    json_parser_free(parser);
}

static void read_sealed(struct reading *r, struct str sealed)
{
    static struct log_limit limit;
    struct str plain = STR_NONE;
    int rc = r->rules->keys ? seal_open(r->rules->keys, sealed, r->arena, &plain) : SEAL_KEY_UNKNOWN;

    if (rc == -ENOMEM) {
        r->no_memory = true;
        return;
    }
    if (rc != SEAL_OK) {
        log_limited(&limit, LOG_ERROR, "profiler: the personal part of an event is not folded: %s",
                    rc == SEAL_DAMAGED ? "its bytes are damaged" : "the key it was sealed with is not in profiler.key");
        if (r->rules->counters)
            count(&r->rules->counters->unopened);
        return;
    }
    r->sealed = true;
    read_document(r, plain, read_parts);
    r->sealed = false;
}

/* --- the whole ------------------------------------------------------------------------------------------------- */

static int by_place(const struct statement *a, const struct statement *b)
{
    if (a->in != b->in)
        return a->in < b->in ? -1 : 1;
    int c = str_cmp(a->name, b->name);
    if (c != 0)
        return c;
    return a->how < b->how ? -1 : a->how > b->how;
}

static int by_place_and_number(const void *a, const void *b)
{
    const struct statement *x = a, *y = b;
    int c = by_place(x, y);

    return c ? c : x->number < y->number ? -1 : x->number > y->number;
}

/* Of those that are alike the last one is left. */
static void settle(struct statements *l)
{
    size_t n = 0;

    if (l->n > 1)
        qsort(l->v, l->n, sizeof *l->v, by_place_and_number);
    for (size_t i = 0; i < l->n; i++) {
        if (n > 0 && by_place(&l->v[n - 1], &l->v[i]) == 0)
            n--;
        l->v[n++] = l->v[i];
    }
    l->n = n;
}

int traits_read(const struct event *e, const struct traits_rules *rules, struct arena *a, struct statements *out)
{
    struct reading r = {.rules = rules, .arena = a, .out = out};

    *out = (struct statements){0};
    if (e->type == EVENT_MARK)
        read_document(&r, e->properties, read_marks);
    else if (str_has(e->consent))
        read_document(&r, e->consent, read_consent);
    if (is_of_person(e)) {
        if (str_has(e->traits))
            read_document(&r, e->traits, read_traits);
        if (in_extra(e))
            read_document(&r, e->extra, read_extra);
        if (str_has(e->sealed))
            read_sealed(&r, e->sealed);
    }
    settle(out);
    return r.no_memory ? -ENOMEM : 0;
}
