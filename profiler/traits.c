/* A person's traits, changed step by step: one event more, in any order. What a step cannot tell, because what it would
 * need was not kept, is left to the fold of everything. Pure but for the keys; the thread of the caller. */
#include "profiler/traits.h"

#include <errno.h>
#include <stdlib.h>

#include "profiler/traits_inside.h"

void traits_init(struct traits *t)
{
    *t = (struct traits){0};
}

void traits_deinit(struct traits *t)
{
    free(t->bytes);
    traits_init(t);
}

size_t traits_bytes(const struct traits *t)
{
    return t->n;
}

static struct str packed(const struct traits *t)
{
    return (struct str){(const char *)t->bytes, t->n};
}

bool traits_pack(const struct traits *t, struct buf *b)
{
    return buf_add_str(b, packed(t));
}

static int take_copy(struct str bytes, struct traits *out)
{
    traits_init(out);
    if (bytes.n == 0)
        return 0;
    out->bytes = malloc(bytes.n);
    if (!out->bytes)
        return -ENOMEM;
    memcpy(out->bytes, bytes.p, bytes.n);
    out->n = (uint32_t)bytes.n;
    return 0;
}

int traits_copy(const struct traits *from, struct traits *out)
{
    return take_copy(packed(from), out);
}

int traits_unpack(struct str bytes, struct traits *out)
{
    struct open_traits o;
    struct arena a;
    int rc;

    arena_init(&a, LIMIT_TRAITS_ARENA);
    open_traits_init(&o, &a);
    rc = open_traits_read(&o, bytes);
    arena_deinit(&a);
    traits_init(out);
    return rc != 0 ? rc : take_copy(bytes, out);
}

/* --- a step ---------------------------------------------------------------------------------------------------- */

struct step {
    struct open_traits *o;
    uint32_t stamp;
    struct event_key key;
};

static int compare(const struct step *s, uint32_t stamp)
{
    return event_key_cmp(&s->key, stamp_key(s->o, stamp));
}

static void hold(const struct step *s, const struct statement *st, struct held *h)
{
    *h = (struct held){s->stamp, st->personal ? HELD_TO_SEAL : HELD_CLEAR, st->value};
}

/* What is after the new set stays, what is before it goes; of what is on both sides only the ends are known. */
static int set(const struct step *s, const struct statement *st, struct trait *t)
{
    if (t->has_set && compare(s, t->set.stamp) <= 0)
        return TRAITS_OK;
    if (t->has_once && compare(s, t->once.stamp) >= 0) {
        if (compare(s, t->once_last) < 0)
            return TRAITS_REFOLD;
        t->has_once = false;
    }
    if (t->has_add && compare(s, t->add_first) >= 0) {
        if (compare(s, t->add_last) < 0)
            return TRAITS_REFOLD;
        t->has_add = false;
        t->sum = 0;
    }
    t->has_set = true;
    hold(s, st, &t->set);
    return TRAITS_OK;
}

static void once(const struct step *s, const struct statement *st, struct trait *t)
{
    if (!t->has_once) {
        t->has_once = true;
        t->once_last = s->stamp;
        hold(s, st, &t->once);
        return;
    }
    if (compare(s, t->once.stamp) < 0)
        hold(s, st, &t->once);
    if (compare(s, t->once_last) > 0)
        t->once_last = s->stamp;
}

static void increase(const struct step *s, const struct statement *st, struct trait *t)
{
    if (!t->has_add)
        t->add_first = t->add_last = s->stamp;
    else if (compare(s, t->add_first) < 0)
        t->add_first = s->stamp;
    else if (compare(s, t->add_last) > 0)
        t->add_last = s->stamp;
    t->has_add = true;
    t->sum += st->add;
}

/* Whether one of the names that are kept would have to go for this one. */
static bool displaces(const struct step *s, const struct trait_list *l, struct str name)
{
    for (size_t i = 0; i < l->n; i++) {
        int c = compare(s, l->v[i].first);
        if (c < 0 || (c == 0 && str_cmp(name, l->v[i].name) < 0))
            return true;
    }
    return false;
}

static int apply(const struct step *s, const struct statement *st)
{
    struct trait_list *l = open_traits_list(s->o, st->in);
    struct trait *t = trait_list_find(l, st->name);
    bool no_memory;

    if (!t) {
        t = trait_list_add(s->o, l, st->name, &no_memory);
        if (!t)
            return no_memory ? -ENOMEM : displaces(s, l, st->name) ? TRAITS_REFOLD : TRAITS_OK;
        t->first = s->stamp;
    } else if (compare(s, t->first) < 0) {
        t->first = s->stamp;
    }
    if (st->how == STATED_SET)
        return set(s, st, t);
    if (t->has_set && compare(s, t->set.stamp) <= 0)
        return TRAITS_OK;
    if (st->how == STATED_ONCE)
        once(s, st, t);
    else
        increase(s, st, t);
    return TRAITS_OK;
}

static int apply_all(struct open_traits *o, const struct event *e, const struct statements *l)
{
    int64_t stamp = open_traits_stamp(o, e);
    int rc = stamp < 0 ? (int)stamp : 0;

    for (size_t i = 0; i < l->n && rc == 0; i++)
        rc = apply(&(struct step){o, (uint32_t)stamp, event_key(e)}, &l->v[i]);
    return rc;
}

static int add_event(struct traits *t, const struct event *e, const struct traits_rules *r, struct arena *a)
{
    struct statements l;
    struct open_traits o;
    struct traits now;
    int rc = traits_read(e, r, a, &l);

    if (rc != 0 || l.n == 0)
        return rc;
    open_traits_init(&o, a);
    rc = open_traits_read(&o, packed(t));
    if (rc == 0)
        rc = apply_all(&o, e, &l);
    if (rc == 0)
        rc = open_traits_write(&o, r, &now);
    if (rc > 0)
        return TRAITS_REFOLD;
    if (rc < 0)
        return rc;
    traits_deinit(t);
    *t = now;
    return TRAITS_OK;
}

int traits_add_event(struct traits *t, const struct event *e, const struct traits_rules *r)
{
    struct arena a;

    if (!traits_in_event(e))
        return TRAITS_OK;
    arena_init(&a, LIMIT_TRAITS_ARENA);
    int rc = add_event(t, e, r, &a);
    arena_deinit(&a);
    return rc;
}

/* --- reading values -------------------------------------------------------------------------------------------- */

bool open_traits_person(const struct open_traits *o, const struct traits_rules *r, struct seal_person *out)
{
    return str_has(o->wrapped) && r->keys && seal_person_unwrap(r->keys, o->wrapped, out) == SEAL_OK;
}

struct str held_open(const struct held *h, struct str name, const struct seal_person *person, struct arena *a)
{
    struct str plain = STR_NONE;

    if (h->form != HELD_SEALED || !str_has(h->bytes))
        return h->bytes;
    if (!person || seal_person_open(person, name, h->bytes, a, &plain) != SEAL_OK)
        return STR_NONE;
    return plain;
}

/* Base and increments; the base where they do not add up to an amount. */
static struct str sum_of(struct str base, money sum, struct arena *a)
{
    int64_t micros = 0;
    struct buf b;

    if (str_has(base) && num_micros(base, false, &micros) != NUM_OK)
        return base;
    buf_init(&b, 64);
    num_write_micros(&b, micros + sum);
    struct str text = b.failed ? STR_NONE : arena_dup(a, buf_str(&b));
    buf_deinit(&b);
    return text;
}

struct str trait_value_of(const struct open_traits *o, const struct trait *t, const struct seal_person *person,
                          struct arena *a, const struct stamp **at, bool *personal)
{
    bool is_set = t->has_set && str_has(t->set.bytes);
    const struct held *h = is_set ? &t->set : t->has_once ? &t->once : NULL;
    struct str base = h ? held_open(h, t->name, person, a) : STR_NONE;
    const struct stamp *when = h ? &o->stamps[h->stamp] : NULL;

    if (t->has_add && (!h || h->form == HELD_CLEAR)) {
        const struct stamp *last = &o->stamps[t->add_last];
        struct str sum = sum_of(base, t->sum, a);
        if (!when || (sum.p != base.p && event_key_cmp(&last->key, &when->key) > 0))
            when = last;
        base = sum;
    }
    if (at)
        *at = when;
    if (personal)
        *personal = h && h->form != HELD_CLEAR;
    return base;
}

struct str traits_value(const struct traits *t, const struct traits_rules *r, struct str name, struct arena *a)
{
    const struct trait_kind *kind = traits_find(r->vocabulary, name);
    struct open_traits o;
    struct seal_person person;
    const struct trait *found;
    struct str value = STR_NONE;

    open_traits_init(&o, a);
    if (open_traits_read(&o, packed(t)) != 0)
        return STR_NONE;
    found = trait_list_find(&o.traits, kind ? kind->name : name);
    if (found) {
        bool open = open_traits_person(&o, r, &person);
        value = trait_value_of(&o, found, open ? &person : NULL, a, NULL, NULL);
        if (open)
            seal_person_clear(&person);
        if (str_has(value)) /* it may lie in the packed bytes */
            value = arena_dup(a, value);
    }
    return value;
}

enum traits_consent traits_consent_of(const struct traits *t, struct str purpose)
{
    enum traits_consent consent = CONSENT_UNSTATED;
    struct open_traits o;
    struct arena a;

    arena_init(&a, LIMIT_TRAITS_ARENA);
    open_traits_init(&o, &a);
    if (open_traits_read(&o, packed(t)) == 0) {
        const struct trait *found = trait_list_find(&o.consents, purpose);
        if (found && str_has(found->set.bytes))
            consent = str_is(found->set.bytes, "true") ? CONSENT_GRANTED : CONSENT_REFUSED;
    }
    arena_deinit(&a);
    return consent;
}

/* --- comparing ------------------------------------------------------------------------------------------------- */

struct side {
    struct open_traits o;
    struct seal_person person;
    bool open;
};

static bool same_stamp(const struct side *a, uint32_t x, const struct side *b, uint32_t y)
{
    const struct stamp *p = &a->o.stamps[x], *q = &b->o.stamps[y];

    return event_key_cmp(&p->key, &q->key) == 0 && str_eq(p->source, q->source);
}

static bool same_held(const struct side *a, const struct held *x, const struct side *b, const struct held *y,
                      struct str name)
{
    if (!same_stamp(a, x->stamp, b, y->stamp) || str_has(x->bytes) != str_has(y->bytes))
        return false;
    struct str p = held_open(x, name, a->open ? &a->person : NULL, a->o.arena);
    struct str q = held_open(y, name, b->open ? &b->person : NULL, b->o.arena);
    return !str_has(p) || !str_has(q) || str_eq(p, q);
}

static bool same_trait(const struct side *a, const struct trait *x, const struct side *b, const struct trait *y)
{
    if (!str_eq(x->name, y->name) || x->has_set != y->has_set || x->has_once != y->has_once ||
        x->has_add != y->has_add || !same_stamp(a, x->first, b, y->first))
        return false;
    if (x->has_set && !same_held(a, &x->set, b, &y->set, x->name))
        return false;
    if (x->has_once && (!same_held(a, &x->once, b, &y->once, x->name) || !same_stamp(a, x->once_last, b, y->once_last)))
        return false;
    return !x->has_add || (x->sum == y->sum && same_stamp(a, x->add_first, b, y->add_first) &&
                           same_stamp(a, x->add_last, b, y->add_last));
}

static bool same_list(const struct side *a, const struct trait_list *x, const struct side *b,
                      const struct trait_list *y)
{
    if (x->n != y->n)
        return false;
    for (size_t i = 0; i < x->n; i++)
        if (!same_trait(a, &x->v[i], b, &y->v[i]))
            return false;
    return true;
}

static int open_side(struct side *s, const struct traits *t, const struct traits_rules *r, struct arena *a)
{
    open_traits_init(&s->o, a);
    int rc = open_traits_read(&s->o, packed(t));
    s->open = rc == 0 && open_traits_person(&s->o, r, &s->person);
    return rc;
}

int traits_differ(const struct traits *a, const struct traits *b, const struct traits_rules *r)
{
    struct side x = {.open = false}, y = {.open = false};
    struct arena arena;
    int rc;

    if (str_eq(packed(a), packed(b)) || a->n + b->n == 0)
        return 0;
    arena_init(&arena, LIMIT_TRAITS_ARENA);
    rc = open_side(&x, a, r, &arena);
    if (rc == 0)
        rc = open_side(&y, b, r, &arena);
    if (rc == 0)
        rc = !same_list(&x, &x.o.traits, &y, &y.o.traits) || !same_list(&x, &x.o.consents, &y, &y.o.consents) ||
             !same_list(&x, &x.o.marks, &y, &y.o.marks);
    seal_person_clear(&x.person);
    seal_person_clear(&y.person);
    arena_deinit(&arena);
    return rc;
}
