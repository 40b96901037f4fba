/* Fetching people for rules; see audience_subject.h. */
#include "profiler/audience_subject.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "profiler/cuts.h"
#include "profiler/state_as_of.h"
#include "proto/codec.h"

#define TRIES 4 /* to read profile and path as of one version */

/* --- tags ----------------------------------------------------------------------------------------------------- */

static int see_path(struct person_seen *p, unsigned needs, struct err *e);

bool person_tag(struct person_seen *p, struct str name, struct rule_value *out)
{
    size_t at = p->of.world->tags ? tags_find(p->of.world->tags, name) : SIZE_MAX;

    if (at == SIZE_MAX || person_tags(p) != 0 || p->tags[at].type == RULE_ANY)
        return false;
    *out = p->tags[at];
    return true;
}

static bool tag_of(void *arg, struct str name, struct rule_value *out)
{
    return person_tag(arg, name, out);
}

/* With a subject of its own: the rule that asks may have been promised less than the tags need. */
int person_tags(struct person_seen *p)
{
    const struct tags *t = p->of.world->tags;
    struct rule_subject own;
    int rc = p->failed;

    if (p->tags || !t || rc != 0)
        return rc;
    p->tags_next = TIME_NONE;
    struct rule_value *values = arena_zalloc(p->arena, (tags_count(t) + 1) * sizeof *values);
    if (!values)
        return p->failed = -ENOMEM;
    rc = see_path(p, p->of.world->tag_needs, NULL);
    if (rc == 0) {
        own = p->s;
        own.events = NULL;
        rc = tags_eval(t, &own, values, &p->tags_next);
        rule_subject_done(&own);
    }
    if (rc != 0)
        return p->failed = rc < 0 ? rc : -EAGAIN;
    p->tags = values;
    return 0;
}

/* --- now ------------------------------------------------------------------------------------------------------ */

static unsigned views_of(unsigned needs)
{
    return (needs & RULE_NEEDS_PATH ? VIEW_PATH : 0u) | (needs & RULE_NEEDS_ORDERS ? VIEW_ORDERS : 0u);
}

static void forget_view(struct person_seen *p)
{
    if (p->has_view)
        state_view_free(&p->view);
    p->has_view = false;
    p->viewed = 0;
}

static void forget_profile(struct person_seen *p)
{
    if (!p->has_profile)
        return;
    facts_deinit(&p->profile.facts);
    traits_deinit(&p->profile.traits);
    p->has_profile = false;
}

static void show(struct person_seen *p)
{
    p->s.facts = &p->profile.facts;
    p->s.traits = &p->profile.traits;
    p->s.path = p->viewed & VIEW_PATH ? p->view.path : NULL;
    p->s.path_count = p->viewed & VIEW_PATH ? p->view.path_count : 0;
    p->s.orders = p->viewed & VIEW_ORDERS ? p->view.orders : NULL;
    p->s.order_count = p->viewed & VIEW_ORDERS ? p->view.order_count : 0;
}

static int read_profile(struct person_seen *p, struct err *e)
{
    int rc = p->has_view && str_has(p->view.record)
                 ? state_view_profile(&p->view, p->arena, &p->profile, e)
                 : state_profile(p->of.state, p->of.partition, p->of.id, p->arena, &p->profile, e);

    p->has_profile = rc == 0;
    p->profile.amid = rc == 0 && (p->profile.amid || (p->has_view && p->view.amid));
    return rc;
}

static int read_view(struct person_seen *p, unsigned views, struct err *e)
{
    const struct person_of *of = &p->of;
    int rc = of->reader
                 ? state_reader_view(of->reader, &of->hash, views | VIEW_RECORD, &p->view, e)
                 : state_view_since(of->state, of->partition, of->id, views | VIEW_RECORD, of->fence, &p->view, e);

    if (rc != 0)
        return rc;
    p->has_view = true;
    p->viewed = views;
    p->of.id = arena_dup(p->arena, p->view.id);
    return p->of.id.p ? 0 : -ENOMEM;
}

static int read_now(struct person_seen *p, unsigned views, struct err *e)
{
    int rc = views || p->of.reader ? read_view(p, views, e) : 0;

    return rc == 0 ? read_profile(p, e) : rc;
}

/* Profile and path may be read apart, and are to be of one version. */
static int see_now(struct person_seen *p, unsigned views, struct err *e)
{
    for (int i = 0; i < TRIES; i++) {
        forget_view(p);
        forget_profile(p);
        int rc = read_now(p, views, e);
        if (rc != 0)
            return rc;
        if (!p->has_view || p->view.version == p->profile.version)
            break;
        if (i == TRIES - 1)
            return -EAGAIN;
    }
    show(p);
    return 0;
}

/* What a fold has changed since the profile was read would be of another person: it is as if they had to wait. */
static int see_path(struct person_seen *p, unsigned needs, struct err *e)
{
    unsigned views = views_of(needs) | p->viewed;
    int64_t version = p->profile.version;
    struct state_view more;

    if (views == p->viewed || p->own_fold)
        return 0;
    int rc = state_view(p->of.state, p->of.partition, p->of.id, views, &more, e);
    if (rc != 0)
        return rc;
    if (more.version != version || p->viewed) {
        state_view_free(&more);
        return -EAGAIN;
    }
    forget_view(p);
    p->view = more;
    p->has_view = true;
    p->viewed = views;
    show(p);
    return 0;
}

/* --- as of a time --------------------------------------------------------------------------------------------- */

static int decode(void *arg, const struct path_entry *entry, struct event *out)
{
    struct arena *a = arg;

    arena_reset(a);
    return event_unpack(entry->bytes, a, out) == CODEC_OK ? 0 : -EIO;
}

/* With the marks, which stand in no path that rules see. */
static int fold_traits(struct person_seen *p, struct arena *scratch)
{
    struct state_view all;
    int rc = state_view(p->of.state, p->of.partition, p->of.id, VIEW_PATH | VIEW_MARKS, &all, NULL);

    if (rc != 0)
        return rc < 0 ? rc : -EAGAIN;
    const struct fold_input in = {.path = all.path,
                                  .path_count = path_up_to(all.path, all.path_count, p->of.as_of),
                                  .decode = decode,
                                  .arg = scratch};
    rc = traits_fold(&in, p->of.rules->traits, &p->profile.traits, &p->traits);
    state_view_free(&all);
    return rc;
}

static int fold(struct person_seen *p, size_t path_count, const struct order *orders, size_t order_count)
{
    struct arena scratch;
    int rc;

    arena_init(&scratch, SIZE_MAX);
    const struct fold_input in = {p->view.path, path_count, orders, order_count, decode, &scratch};
    rc = facts_fold(&in, p->of.rules, &p->facts);
    traits_init(&p->traits);
    if (rc == 0 && p->of.rules->traits) {
        rc = fold_traits(p, &scratch);
        if (rc != 0)
            facts_deinit(&p->facts);
    }
    arena_deinit(&scratch);
    p->own_fold = rc == 0;
    return rc;
}

static int see_then(struct person_seen *p, struct err *e)
{
    const struct order *orders = NULL;
    size_t n = 0, count = 0;
    int rc = see_now(p, VIEW_PATH | VIEW_ORDERS, e);

    if (rc == 0) {
        n = path_up_to(p->view.path, p->view.path_count, p->of.as_of);
        rc = n == 0 ? STATE_NOT_FOUND
                    : orders_as_of(p->view.orders, p->view.order_count, p->of.rules, p->of.as_of, p->arena, &orders,
                                   &count);
    }
    if (rc == 0)
        rc = fold(p, n, orders, count);
    if (rc != 0)
        return rc;
    p->s.facts = &p->facts;
    p->s.traits = &p->traits;
    p->s.path_count = n;
    p->s.orders = orders;
    p->s.order_count = count;
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

int person_see(struct person_seen *p, const struct person_of *of, struct arena *a, struct err *e)
{
    bool then = of->as_of != TIME_NONE;
    int rc;

    memset(p, 0, sizeof *p);
    p->of = *of;
    p->arena = a;
    p->tags_next = TIME_NONE;
    p->s = (struct rule_subject){.now = then ? of->as_of : of->now,
                                 .rules = of->rules,
                                 .cuts = then ? cuts_pick(of->world->history, of->world->history_count, of->as_of)
                                              : &of->world->cuts,
                                 .tag = tag_of,
                                 .tag_arg = p,
                                 .arena = a};
    rc = then ? see_then(p, e) : see_now(p, views_of(of->needs), e);
    if (rc != 0)
        person_seen_done(p);
    return rc;
}

void person_seen_done(struct person_seen *p)
{
    rule_subject_done(&p->s);
    if (p->own_fold) {
        facts_deinit(&p->facts);
        traits_deinit(&p->traits);
    }
    p->own_fold = false;
    forget_view(p);
    forget_profile(p);
}
