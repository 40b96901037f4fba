/* The oracle: the traits of a whole path, the straightforward way. Events are gone through in their order, each name
 * holding what stands at that point. Pure but for the keys; the thread of the caller. */
#include <errno.h>

#include "profiler/traits_inside.h"

#define ROUND_BYTES (4 * MIB) /* of values and stamps that may have been overtaken */

struct folding {
    const struct traits_rules *rules;
    struct arena kept, event; /* of what stands; of what one event states */
    struct open_traits o;
    struct traits packed; /* to which `o` points after a round */
};

static int fold_statement(struct folding *f, const struct statement *st, uint32_t stamp)
{
    struct trait_list *l = open_traits_list(&f->o, st->in);
    struct trait *t = trait_list_find(l, st->name);
    bool no_memory = false, is_new = !t;
    struct held now = {stamp, st->personal ? HELD_TO_SEAL : HELD_CLEAR, arena_dup(&f->kept, st->value)};

    if (str_has(st->value) && !str_has(now.bytes))
        return -ENOMEM;
    if (is_new)
        t = trait_list_add(&f->o, l, st->name, &no_memory);
    if (!t) /* those of later events find no room */
        return no_memory ? -ENOMEM : 0;
    if (is_new)
        t->first = stamp;
    switch (st->how) {
    case STATED_SET: /* first of the three in each event */
        t->has_set = true;
        t->set = now;
        t->has_once = t->has_add = false;
        t->sum = 0;
        return 0;
    case STATED_ONCE:
        if (t->has_set && t->set.stamp == stamp)
            return 0;
        if (!t->has_once)
            t->once = now;
        t->has_once = true;
        t->once_last = stamp;
        return 0;
    case STATED_ADD:
        if (t->has_set && t->set.stamp == stamp)
            return 0;
        if (!t->has_add)
            t->add_first = stamp;
        t->has_add = true;
        t->add_last = stamp;
        t->sum += st->add;
        return 0;
    }
    return 0;
}

/* Packs what stands and spreads it again, without what was overtaken. */
static int go_round(struct folding *f)
{
    struct traits packed;
    int rc = open_traits_write(&f->o, f->rules, &packed);

    if (rc < 0)
        return rc;
    if (rc > 0)
        return -EIO; /* the key was made or opened here */
    traits_deinit(&f->packed);
    f->packed = packed;
    arena_deinit(&f->kept);
    open_traits_init(&f->o, &f->kept);
    rc = open_traits_read(&f->o, (struct str){(const char *)packed.bytes, packed.n});
    return rc > 0 ? -EIO : rc;
}

static int fold_event(struct folding *f, const struct event *e)
{
    struct statements l;
    int64_t stamp = 0;

    if (!traits_in_event(e))
        return 0;
    arena_reset(&f->event);
    int rc = traits_read(e, f->rules, &f->event, &l);
    if (rc == 0 && l.n > 0 && (stamp = open_traits_stamp(&f->o, e)) < 0)
        rc = (int)stamp;
    for (size_t i = 0; i < l.n && rc == 0; i++)
        rc = fold_statement(f, &l.v[i], (uint32_t)stamp);
    if (rc == 0 && f->kept.used > ROUND_BYTES)
        rc = go_round(f);
    return rc;
}

/* The key that the person has, if it opens. */
static int take_key(struct folding *f, const struct traits *was)
{
    struct open_traits o;
    struct seal_person person;
    int rc;

    if (!was || was->n == 0)
        return 0;
    open_traits_init(&o, &f->event);
    rc = open_traits_read(&o, (struct str){(const char *)was->bytes, was->n});
    if (rc == 0 && open_traits_person(&o, f->rules, &person)) {
        seal_person_clear(&person);
        f->o.wrapped = arena_dup(&f->kept, o.wrapped);
        if (!str_has(f->o.wrapped))
            rc = -ENOMEM;
    }
    return rc < 0 ? rc : 0;
}

int traits_fold(const struct fold_input *in, const struct traits_rules *r, const struct traits *was, struct traits *out)
{
    struct folding f = {.rules = r};
    int rc;

    arena_init(&f.kept, 4 * LIMIT_TRAITS_ARENA);
    arena_init(&f.event, LIMIT_TRAITS_ARENA);
    open_traits_init(&f.o, &f.kept);
    traits_init(&f.packed);
    rc = take_key(&f, was);
    for (size_t i = 0; i < in->path_count && rc == 0; i++) {
        struct event e;
        rc = in->decode(in->arg, &in->path[i], &e);
        if (rc == 0)
            rc = fold_event(&f, &e);
    }
    if (rc == 0)
        rc = open_traits_write(&f.o, r, out);
    traits_deinit(&f.packed);
    arena_deinit(&f.event);
    arena_deinit(&f.kept);
    return rc > 0 ? -EIO : rc;
}
