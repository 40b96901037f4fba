/* Several traits of a person at once, for who reads many: the key of the person is unwrapped once. Pure but for the
 * keys; any thread. */
#include <errno.h>

#include "profiler/traits_inside.h"

static struct str value_of(const struct open_traits *o, const struct traits_rules *r, struct str name,
                           const struct seal_person *person, struct arena *a)
{
    const struct trait_kind *kind = traits_find(r->vocabulary, name);
    const struct trait *found = trait_list_find(&o->traits, kind ? kind->name : name);

    return found ? trait_value_of(o, found, person, a, NULL, NULL) : STR_NONE;
}

int traits_values(const struct traits *t, const struct traits_rules *r, const struct str *names, size_t n,
                  struct arena *a, struct str *out)
{
    struct open_traits o;
    struct seal_person person;

    for (size_t i = 0; i < n; i++)
        out[i] = STR_NONE;
    if (traits_empty(t))
        return 0;
    open_traits_init(&o, a);
    int rc = open_traits_read(&o, (struct str){(const char *)t->bytes, t->n});
    if (rc != 0)
        return rc < 0 ? rc : 0;
    bool open = open_traits_person(&o, r, &person);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct str v = value_of(&o, r, names[i], open ? &person : NULL, a);

        out[i] = str_has(v) ? arena_dup(a, v) : STR_NONE; /* it may lie in the packed bytes */
        rc = str_has(v) && !out[i].p ? -ENOMEM : 0;
    }
    if (open)
        seal_person_clear(&person);
    return rc;
}
