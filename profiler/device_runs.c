/* Which links of a device count, and who had it when by them. INTERFACE's "Identity". The worker's thread. */
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/device_change.h"
#include "profiler/device_copy.h"

static bool link_counts(const struct device_change *c, const struct link *l)
{
    return !c->shared && link_stands(c->d, l);
}

static bool counts(void *arg, const struct link *l)
{
    return link_counts(arg, l);
}

static int find_runs(struct device_change *c)
{
    const struct device *d = c->d;

    memset(c->counts, 0, d->user_count * sizeof *c->counts);
    for (size_t i = 0; i < d->links.n; i++)
        if (link_counts(c, &d->links.v[i]))
            c->counts[d->links.v[i].user] = true;
    return runs_make(&d->links, counts, c, &c->runs);
}

/* What does not count. */
static int count_void(struct device_change *c)
{
    const struct device *d = c->d;
    bool *seen = arena_zalloc(&c->arena, d->user_count + 1);

    if (!seen)
        return -ENOMEM;
    c->figures[IDENTITY_SHARED] = c->shared;
    for (size_t i = 0; !c->shared && i < d->links.n; i++) {
        const struct link *l = &d->links.v[i];

        if (l->removed || c->counts[l->user] || seen[l->user])
            continue;
        seen[l->user] = true;
        c->figures[d->users[l->user].beyond ? IDENTITY_CAP : IDENTITY_UNLINKED]++;
    }
    return 0;
}

int device_change_runs(struct device_change *c)
{
    const struct device *d = c->d;
    size_t all, by_events;
    int rc;

    device_count_users(c->d, &all, &by_events);
    c->crowded = d->crowded || by_events > identity_max_users(c->p->state->rules);
    c->shared = c->crowded || all > identity_max_users(c->p->state->rules) ||
                c->home->uids.count + c->home->fresh > identity_max_events(c->p->state->rules);
    c->counts = arena_zalloc(&c->arena, d->user_count + 1);
    if (!c->counts)
        return -ENOMEM;
    rc = find_runs(c);
    if (rc == 0 && c->runs.n > LIMIT_DEVICE_RUNS) {
        c->shared = true;
        rc = find_runs(c);
    }
    return rc == 0 ? count_void(c) : rc;
}
