/* Traits and consent as answers show them. Pure but for the keys; any thread. */
#include <errno.h>

#include "common/clock.h"
#include "profiler/traits_inside.h"

struct showing {
    const struct open_traits *o;
    const struct traits_rules *rules;
    const struct traits_show *show;
    const struct seal_person *person; /* NULL: nothing personal is opened */
    struct arena *arena;
    struct buf *b;
    bool first;
};

static void write_stamp(struct buf *b, const struct stamp *s)
{
    json_write_key(b, "time");
    buf_add_char(b, '"');
    time_write(b, s->key.time);
    buf_add_char(b, '"');
    json_write_member(b, "source", s->source);
}

static void write_name(struct showing *s, struct str name)
{
    if (!s->first)
        buf_add_char(s->b, ',');
    s->first = false;
    json_write_str(s->b, name);
    buf_add_char(s->b, ':');
}

static void write_value(struct showing *s, const struct trait_kind *kind, bool personal, struct str value)
{
    if (personal && !s->show->clear)
        trait_mask_write(kind ? kind->mask : MASK_HIDE, value, s->b);
    else
        buf_add_str(s->b, value);
}

/* Personal is what the vocabulary says, and what was sealed when it came. */
static bool is_personal(const struct trait *t, const struct trait_kind *kind)
{
    return (kind && kind->personal) || (t->has_set && t->set.form != HELD_CLEAR) ||
           (t->has_once && t->once.form != HELD_CLEAR);
}

static void write_trait(struct showing *s, const struct trait *t)
{
    const struct trait_kind *kind = traits_find(s->rules->vocabulary, t->name);
    bool personal = is_personal(t, kind);
    enum trait_group group = kind ? kind->group : TRAITS_OTHER;
    const struct stamp *at;

    if (personal && !(s->show->groups & 1u << group))
        return;
    struct str value = trait_value_of(s->o, t, s->person, s->arena, &at, NULL);
    if (!str_has(value))
        return;
    write_name(s, t->name);
    if (!s->show->verbose) {
        write_value(s, kind, personal, value);
        return;
    }
    buf_add_text(s->b, "{\"value\":");
    write_value(s, kind, personal, value);
    write_stamp(s->b, at);
    buf_add_char(s->b, '}');
}

void traits_write_json(const struct traits *t, const struct traits_rules *r, const struct traits_show *show,
                       struct buf *b)
{
    struct seal_person person;
    struct open_traits o;
    struct arena a;
    bool open = false;

    arena_init(&a, LIMIT_TRAITS_ARENA);
    open_traits_init(&o, &a);
    buf_add_char(b, '{');
    if (open_traits_read(&o, (struct str){(const char *)t->bytes, t->n}) == 0) {
        open = traits_show_personal(show) && open_traits_person(&o, r, &person);
        struct showing s = {&o, r, show, open ? &person : NULL, &a, b, true};
        for (size_t i = 0; i < o.traits.n; i++)
            write_trait(&s, &o.traits.v[i]);
    }
    buf_add_char(b, '}');
    if (open)
        seal_person_clear(&person);
    arena_deinit(&a);
}

void traits_write_consent(const struct traits *t, struct buf *b)
{
    struct open_traits o;
    struct arena a;
    bool first = true;

    arena_init(&a, LIMIT_TRAITS_ARENA);
    open_traits_init(&o, &a);
    buf_add_char(b, '{');
    if (open_traits_read(&o, (struct str){(const char *)t->bytes, t->n}) == 0)
        for (size_t i = 0; i < o.consents.n; i++) {
            const struct trait *c = &o.consents.v[i];
            if (!c->has_set || !str_has(c->set.bytes))
                continue;
            if (!first)
                buf_add_char(b, ',');
            first = false;
            json_write_str(b, c->name);
            buf_add_text(b, ":{\"granted\":");
            buf_add_str(b, c->set.bytes);
            write_stamp(b, &o.stamps[c->set.stamp]);
            buf_add_char(b, '}');
        }
    buf_add_char(b, '}');
    arena_deinit(&a);
}
