/* The body of a change as one hook is told it: the record, and beside it what the person has now of the traits and tags
 * that the hook asks for. It is made for every try, so that nothing of a person who is erased meanwhile waits here. The
 * thread of the webhooks. */
#include <errno.h>

#include "profiler/webhooks_inside.h"

#define TRAITS_BYTES (1 * MIB)
#define EVERY_GROUP ((1u << TRAIT_GROUPS) - 1)

static int choose(struct str all, const char *const *names, size_t n, struct arena *a, struct buf *out)
{
    int rc = webhook_choose(all, names, n, a, out);

    if (rc > 0)
        buf_add_text(out, "{}");
    return rc < 0 ? rc : out->failed ? -ENOMEM : 0;
}

static int write_traits(struct hook *h, const struct traits *t, struct buf *out)
{
    const struct traits_show show = {.groups = h->conf->pii ? EVERY_GROUP : 0, .clear = h->conf->pii};
    struct buf all;

    buf_init(&all, TRAITS_BYTES);
    if (h->w->o.rules->traits)
        traits_write_json(t, h->w->o.rules->traits, &show, &all);
    int rc = choose(all.failed ? STR_NONE : buf_str(&all), h->conf->traits, h->conf->trait_count, &h->w->arena, out);
    buf_deinit(&all);
    return rc;
}

static int write_tags(struct hook *h, uint32_t partition, struct str id, struct buf *out)
{
    struct tags_good good;
    struct buf all;

    if (h->conf->tag_count == 0) {
        buf_add_text(out, "{}");
        return 0;
    }
    buf_init(&all, TRAITS_BYTES);
    int rc = audiences_tags(h->w->o.audiences, partition, id, TIME_NONE, &all, &good);
    if (rc == 0)
        rc = choose(buf_str(&all), h->conf->tags, h->conf->tag_count, &h->w->arena, out);
    buf_deinit(&all);
    return rc < 0 ? rc : 0;
}

/* Who left since the profile is gone, or has become another's, has neither traits nor tags. */
static int look_up(struct hook *h, uint32_t partition, const struct audience_change *c, struct buf *traits,
                   struct buf *tags, struct err *e)
{
    struct state_profile p;
    int rc = state_profile(h->w->o.state, partition, c->id, &h->w->arena, &p, e);

    if (rc == STATE_NOT_FOUND && c->entered)
        return PERSON_LEFT_OUT;
    if (rc == STATE_NOT_FOUND || rc == STATE_LINKED) {
        buf_add_text(traits, "{}");
        buf_add_text(tags, "{}");
        return 0;
    }
    if (rc != 0)
        return rc;
    rc = write_traits(h, &p.traits, traits);
    facts_deinit(&p.facts);
    traits_deinit(&p.traits);
    return rc == 0 ? write_tags(h, partition, c->id, tags) : rc;
}

int hook_body(struct hook *h, const struct hook_item *i, struct buf *out, struct err *e)
{
    struct buf traits, tags;
    struct audience_change c;

    arena_reset(&h->w->arena);
    int rc = audience_change_read((struct str){i->record, i->bytes}, &h->w->arena, &c);
    if (rc != 0)
        return rc < 0 ? rc : PERSON_LEFT_OUT;
    buf_init(&traits, TRAITS_BYTES);
    buf_init(&tags, TRAITS_BYTES);
    rc = look_up(h, i->partition, &c, &traits, &tags, e);
    if (rc == 0 && !webhook_body_write(&c, buf_str(&traits), buf_str(&tags), out))
        rc = -E2BIG;
    buf_deinit(&traits);
    buf_deinit(&tags);
    return rc;
}
