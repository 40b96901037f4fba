/* Folding a profile anew from a view of it. Any thread. */
#include <errno.h>

#include "profiler/state_private.h"
#include "proto/codec.h"

static int decode_entry(void *arg, const struct path_entry *entry, struct event *out)
{
    struct arena *a = arg;

    arena_reset(a);
    return event_unpack(entry->bytes, a, out) == CODEC_OK ? 0 : -EIO;
}

static struct fold_input input_of(const struct state_view *v, struct arena *a)
{
    arena_init(a, SIZE_MAX);
    return (struct fold_input){v->path, v->path_count, v->orders, v->order_count, decode_entry, a};
}

int state_view_fold(const struct state_view *v, const struct fold_rules *rules, struct facts *out)
{
    struct arena a;
    struct fold_input in = input_of(v, &a);
    int rc = facts_fold(&in, rules, out);

    arena_deinit(&a);
    return rc;
}

int state_view_traits(const struct state_view *v, const struct fold_rules *rules, const struct traits *was,
                      struct traits *out)
{
    struct arena a;
    struct fold_input in = input_of(v, &a);
    int rc = 0;

    traits_init(out);
    if (rules->traits)
        rc = traits_fold(&in, rules->traits, was, out);
    arena_deinit(&a);
    return rc;
}

int state_view_fold_all(const struct state_view *v, const struct fold_rules *rules, const struct traits *was,
                        struct facts *facts, struct traits *traits)
{
    int rc = state_view_fold(v, rules, facts);

    if (rc < 0)
        return rc;
    rc = state_view_traits(v, rules, was, traits);
    if (rc < 0)
        facts_deinit(facts);
    return rc;
}
