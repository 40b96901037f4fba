/* What is to be told of a person: which audiences they entered and left between two rows, and because of what. Nothing
 * is changed here; changes gather in the batch. The judging thread. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/audience_inside.h"
#include "proto/codec.h"

/* --- what changes by it ---------------------------------------------------------------------------------------- */

static int add_change(struct batch *b, const struct batch_change *c)
{
    if (b->change_count == b->change_cap) {
        size_t cap = b->change_cap ? b->change_cap * 2 : 256;
        struct batch_change *v = realloc(b->changes, cap * sizeof *v);

        if (!v)
            return -ENOMEM;
        b->changes = v;
        b->change_cap = cap;
    }
    b->changes[b->change_count++] = *c;
    return 0;
}

/* The key of the person's events. */
static struct str key_of(struct str id)
{
    const char *colon = id.n ? memchr(id.p, ':', id.n) : NULL;

    return colon ? (struct str){colon + 1, (size_t)(str_end(id) - colon - 1)} : id;
}

static int64_t version_of_rule(const struct audiences *a, struct str name)
{
    size_t at = world_find(a->world, name);

    return at == SIZE_MAX ? TIME_NONE : a->world->v[at].version;
}

/* Nothing has happened since the rule was said. */
static void by_rule(struct audience_change *c)
{
    c->because = BECAUSE_RULE;
    c->message_id = c->event_name = STR_NONE;
    c->event_time = TIME_NONE;
}

/* Of a person whose profile is what it was: rules have changed since they were judged, but not what this one says. That
 * is so where everybody was judged by it, and of one that names nothing else, where it was said before they entered. */
static bool only_time_has_passed(const struct audiences *a, struct str name, int64_t entered_at)
{
    const unsigned others = RULE_NEEDS_CUTS | RULE_NEEDS_TAGS | RULE_NEEDS_AUDIENCES;
    size_t at = world_find(a->world, name);
    const struct audience *x = at == SIZE_MAX ? NULL : &a->world->v[at];
    unsigned needs = x && x->rule ? rule_needs(x->rule) : 0;

    if (!(needs & RULE_NEEDS_NOW))
        return false;
    return !a->building[at] || (x->version < entered_at && !(needs & others));
}

static int add_differences(struct audiences *a, struct verdict *v, struct batch_change c)
{
    const struct row *was = &v->was, *now = &v->now;
    size_t i = 0, k = 0;
    int rc = 0;

    while (rc == 0 && (i < was->in_count || k < now->in_count)) {
        bool only_was = k == now->in_count || (i < was->in_count && was->in[i].set < now->in[k].set);
        bool only_now = i == was->in_count || (k < now->in_count && now->in[k].set < was->in[i].set);
        const struct membership *m = only_was ? &was->in[i] : &now->in[k];

        i += !only_now;
        k += !only_was;
        if (!only_was && !only_now)
            continue;
        c.c.audience = set_audience(&a->sets, m->set);
        c.c.entered = only_now;
        c.c.entered_at = m->entered_at;
        c.c.rule_version = version_of_rule(a, c.c.audience);
        struct batch_change one = c;
        if (c.c.rule_version == TIME_NONE && c.c.because != BECAUSE_ERASED)
            one.c.because = BECAUSE_RULE; /* the audience was removed */
        if (c.guessed && !(c.received != TIME_NONE && c.received > c.c.rule_version))
            by_rule(&one.c);
        if (one.c.because == BECAUSE_RULE && was->version == now->version &&
            only_time_has_passed(a, c.c.audience, only_was ? m->entered_at : TIME_NONE))
            one.c.because = BECAUSE_TIME;
        if (str_has(c.c.audience))
            rc = add_change(&a->batch, &one);
    }
    return rc;
}

/* The event that was received last: it is the one by which the profile changed. */
static int find_deciding(struct audiences *a, const struct kept_past *k, const struct person_seen *p,
                         struct batch_change *to)
{
    const bool past = k && k->fence.before != INT64_MIN;
    int64_t received = past ? k->received : INT64_MIN;
    struct audience_change *c = &to->c;
    const struct path_entry *best = NULL;
    struct state_view view = {0};
    struct event ev;
    struct err e = {0};
    bool own = !(p->viewed & VIEW_PATH);
    int rc = own ? state_view(a->o.state, p->of.partition, p->of.id, VIEW_PATH, &view, &e) : 0;
    const struct state_view *v = own ? &view : &p->view;

    if (rc != 0)
        return rc < 0 ? rc : 0;
    for (size_t i = 0; i < v->path_count; i++)
        if ((!best && received == INT64_MIN) || v->path[i].key.received > received) {
            best = &v->path[i];
            received = best->key.received;
        }
    to->received = received;
    if (best && event_unpack(best->bytes, &a->batch.scratch, &ev) == CODEC_OK) {
        c->message_id = arena_dup(&a->batch.arena, ev.message_id);
        c->event_name = arena_dup(&a->batch.arena, ev.name);
        c->event_time = ev.time;
    } else if (!best && past) {
        c->message_id = arena_dup(&a->batch.arena, k->message_id);
        c->event_name = arena_dup(&a->batch.arena, k->event_name);
        c->event_time = k->event_time;
    }
    if (own)
        state_view_free(&view);
    return 0;
}

static bool differs(const struct verdict *v)
{
    if (v->was.in_count != v->now.in_count)
        return true;
    for (size_t i = 0; i < v->was.in_count; i++)
        if (v->was.in[i].set != v->now.in[i].set)
            return true;
    return false;
}

int verdict_changes(struct audiences *a, struct verdict *v, struct kept_past *k, struct person_seen *p, struct str id,
                    bool told)
{
    struct batch_change c = {.part = v->part, .verdict = a->batch.n, .key = key_of(id), .offset = -1};

    if (!differs(v))
        return 0;
    c.c = (struct audience_change){.id = id, .time = p->s.now, .version = v->now.version, .event_time = TIME_NONE};
    if (v->was.version == v->now.version)
        c.c.because = v->was.world == v->now.world ? BECAUSE_TIME : BECAUSE_RULE;
    else
        c.c.because = told || v->was.version >= 0 || v->part->bare ? BECAUSE_EVENT : BECAUSE_RULE;
    c.guessed = c.c.because == BECAUSE_EVENT && !told && v->was.version < 0;
    int rc = c.c.because == BECAUSE_EVENT ? find_deciding(a, k, p, &c) : 0;
    return rc == 0 ? add_differences(a, v, c) : rc;
}

/* --- who leaves since they are gone ---------------------------------------------------------------------------- */

/* A device that is somebody's by now has not gone for what was erased of it ever. */
static bool is_linked(struct audiences *a, const struct verdict *v, struct str id)
{
    struct state_profile p;
    int rc = state_profile(a->o.state, v->part->number, id, &a->batch.scratch, &p, NULL);

    if (rc == 0) {
        facts_deinit(&p.facts);
        traits_deinit(&p.traits);
    }
    return rc == STATE_LINKED;
}

static bool is_erased(struct audiences *a, const struct verdict *v, struct str id)
{
    const struct event_key ever = {.time = TIME_NONE};
    bool erased = false;

    return str_has(id) && state_is_erased(a->o.state, id, &ever, &erased, NULL) == 0 && erased && !is_linked(a, v, id);
}

/* Nothing names them: what their records said is past its retention, or was made empty. Where something was erased that
 * is not over yet they are who was erased, since that waits for everybody to be judged. */
static bool is_erased_nameless(struct audiences *a, const struct verdict *v, struct str id)
{
    int64_t through;

    return !str_has(id) && state_erasing(a->o.state, v->part->number, &through);
}

bool verdict_erased(struct audiences *a, const struct verdict *v, struct str id)
{
    return is_erased(a, v, id) || is_erased_nameless(a, v, id);
}

/* On a log that is our own nothing may name who was erased. */
int verdict_leaves(struct audiences *a, struct verdict *v, struct str id, bool erased)
{
    bool nameless = erased && !event_log_shared(a->o.log);
    struct batch_change c = {.part = v->part, .verdict = a->batch.n, .offset = -1};

    v->now = (struct row){.version = v->was.version};
    if (!str_has(id) && !erased)
        return 0;
    c.key = nameless ? STR_NONE : key_of(id);
    c.c = (struct audience_change){.id = nameless ? STR_NONE : id,
                                   .time = wall(a),
                                   .version = v->was.version,
                                   .because = erased ? BECAUSE_ERASED : BECAUSE_EVENT,
                                   .event_time = TIME_NONE};
    return add_differences(a, v, c);
}
