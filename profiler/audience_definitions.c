/* The definitions of all partitions here become the world that people are judged by. The judging thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "profiler/audience_inside.h"

struct gathering {
    struct arena arena, one;
    struct state_definition *v; /* by kind and name */
    size_t n, cap;
};

static int compare_key(const struct state_definition *x, const struct state_definition *y)
{
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind) : str_cmp(x->name, y->name);
}

static size_t find_place(const struct gathering *g, const struct state_definition *d)
{
    size_t low = 0, high = g->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_key(&g->v[middle], d) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool keep(struct gathering *g, struct state_definition *to, const struct state_definition *d)
{
    *to = *d;
    to->name = arena_dup(&g->arena, d->name);
    to->body = arena_dup(&g->arena, d->body);
    return to->name.p && to->body.p;
}

/* Of two about one name the later stands, as in the state. */
static int gather_one(struct gathering *g, const struct state_definition *d)
{
    size_t at = find_place(g, d);
    struct state_definition *v = g->v;

    if (at < g->n && compare_key(&g->v[at], d) == 0) {
        bool later = d->time > v[at].time || (d->time == v[at].time && str_cmp(d->body, v[at].body) > 0);

        return !later || keep(g, &v[at], d) ? 0 : -ENOMEM;
    }
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 256;
        v = realloc(g->v, g->cap * sizeof *v);
        if (!v)
            return -ENOMEM;
        g->v = v;
    }
    memmove(v + at + 1, v + at, (g->n - at) * sizeof *v);
    g->n++;
    return keep(g, &v[at], d) ? 0 : -ENOMEM;
}

/* One whose term has run out for a moment is still ours. */
static bool counts(struct audiences *a, uint32_t partition)
{
    const struct crowd *p = &a->parts[partition];

    return p->here ? crowd_stint(a, partition) == p->stint : crowd_shows(a, partition);
}

static int gather(struct audiences *a, struct gathering *g)
{
    struct state_definition *d;
    size_t n;
    int rc = 0;

    for (uint32_t p = 0; p < a->o.partitions && rc == 0; p++) {
        a->parts[p].gathered = false;
        if (!counts(a, p))
            continue;
        arena_reset(&g->one);
        rc = state_definitions(a->o.state, p, &g->one, &d, &n, &a->parts[p].definitions);
        a->parts[p].gathered = rc == 0;
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = str_has(d[i].body) ? gather_one(g, &d[i]) : 0;
    }
    return rc;
}

bool other_definitions(struct audiences *a)
{
    uint64_t changes;

    for (uint32_t p = 0; p < a->o.partitions; p++)
        if (counts(a, p) && state_definitions(a->o.state, p, NULL, NULL, NULL, &changes) == 0 &&
            (changes != a->parts[p].definitions || !a->parts[p].gathered))
            return true;
    return false;
}

/* Those that go on unchanged stay what they were: live, or being built. */
static void carry_building(const struct audiences *a, const struct world *now, bool *building)
{
    bool changed[LIMIT_AUDIENCES];

    world_changed(a->world, now, changed);
    for (size_t i = 0; i < now->n; i++) {
        size_t was = a->world ? world_find(a->world, now->v[i].name) : SIZE_MAX;

        building[i] = changed[i] || (was != SIZE_MAX && a->building[was]);
    }
}

static void log_broken(const struct world *was, const struct world *now)
{
    for (size_t i = 0; i < now->n; i++) {
        size_t before = was ? world_find(was, now->v[i].name) : SIZE_MAX;

        if (!now->v[i].rule && (before == SIZE_MAX || was->v[before].rule))
            log_error("audiences: the rule of %.*s does not compile any more, and its members stay as they are: %.*s",
                      STR_ARG(now->v[i].name), STR_ARG(now->v[i].broken));
    }
}

static void take_world(struct audiences *a, struct world *now)
{
    bool building[LIMIT_AUDIENCES] = {false}, first = !a->world, other = first || a->world->id != now->id;
    struct world *was = a->world;

    carry_building(a, now, building);
    log_broken(was, now);
    pthread_rwlock_wrlock(&a->lock);
    memcpy(a->building, building, sizeof building);
    a->world = now;
    atomic_store(&a->tags_by, now->tags_id);
    for (uint32_t p = 0; p < a->o.partitions && other; p++)
        crowd_lap(&a->parts[p]);
    pthread_rwlock_unlock(&a->lock);
    pasts_clear(&a->pasts);
    world_unref(was);
}

static struct tags *take_tags(struct audiences *a)
{
    pthread_mutex_lock(&a->wake_lock);
    struct tags *t = a->next_tags;
    a->next_tags = NULL;
    pthread_mutex_unlock(&a->wake_lock);
    return t;
}

/* Whether there is another world now. */
bool follow_rules(struct audiences *a)
{
    struct tags *t = take_tags(a);
    struct gathering g = {0};
    struct world *now;

    if (!t && a->world && !other_definitions(a))
        return false;
    arena_init(&g.arena, SIZE_MAX);
    arena_init(&g.one, SIZE_MAX);
    int rc = gather(a, &g);
    if (rc == 0)
        rc = world_new(g.v, g.n,
                       t          ? t
                       : a->world ? a->world->tags
                                  : a->o.tags,
                       a->o.rules->traits ? a->o.rules->traits->vocabulary : NULL, wall(a), &now);
    if (rc == 0)
        take_world(a, now);
    else
        log_limited(&a->limit, LOG_ERROR, "audiences: the definitions cannot be read: %s", strerror(-rc));
    if (rc != 0 && t)
        audiences_retag(a, t);
    tags_unref(t);
    free(g.v);
    arena_deinit(&g.arena);
    arena_deinit(&g.one);
    return rc == 0;
}
