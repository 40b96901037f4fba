/* Working out anew who has a device, and what that moves. Step S2 of the protocol over partitions. The worker's
 * thread. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/device_change.h"
#include "profiler/erased.h"
#include "profiler/grave.h"

/* --- what is erased ------------------------------------------------------------------------------------------- */

/* Whoever was erased before and came back. */
static void erase_again(struct device_change *c, const struct device_user *u)
{
    for (size_t i = 0; i < c->d->user_count; i++) {
        struct device_user *other = &c->after[i];

        if (other->erased && key_hash_eq(&other->was, &u->was) && other->erased_until < u->erased_until)
            other->erased_until = u->erased_until;
    }
}

static int copy_users(struct device_change *c)
{
    struct device_user *u;

    c->after = arena_alloc(&c->arena, (c->d->user_count + 1) * sizeof *c->after);
    if (!c->after)
        return -ENOMEM;
    if (c->d->user_count)
        memcpy(c->after, c->d->users, c->d->user_count * sizeof *c->after);
    if (c->erasure.user == NO_USER)
        return 0;
    u = &c->after[c->erasure.user];
    if (c->erasure.was)
        u->was = *c->erasure.was;
    else if (!u->erased)
        u->was = device_user_hash(c->p, u->id);
    if (!u->erased || u->erased_until < c->erasure.until)
        u->erased_until = c->erasure.until;
    u->erased = true;
    erase_again(c, u);
    return 0;
}

/* The home's events without those that are gone. */
static int rewrite_home(struct device_change *c)
{
    struct chunk_entry *all;
    const struct chunk_entry **kept;
    size_t n, k = 0;
    int rc;

    if (!c->erases)
        return 0;
    rc = stream_read_all(c->p, c->home, &c->arena, &all, &n, c->err);
    kept = rc == 0 ? arena_alloc(&c->arena, (n + 1) * sizeof(*kept)) : NULL;
    if (!kept)
        return rc < 0 ? rc : -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (device_owner(c->after, &c->runs, &all[i].key) != USER_ERASED)
            kept[k++] = &all[i];
    c->gone = n - k;
    return stream_rewrite_make(c->p, c->home, kept, k, &c->rewrite);
}

/* --- showing -------------------------------------------------------------------------------------------------- */

/* With the lock. The profile of a device with links stands for its user's. */
static void show_profile(struct device_change *c, struct str user)
{
    struct profile *r = c->profile;
    bool was = str_has(r->user), is = str_has(user);

    if (was == is && (!is || str_eq(r->user, user))) {
        free((void *)(uintptr_t)user.p);
        return;
    }
    profile_touch(c->p, r);
    r->version = c->p->cascade.cause + 1;
    if (was != is)
        r->refold = true;
    free((void *)(uintptr_t)r->user.p);
    r->user = user;
    partition_recount(c->p, &r->kept);
}

/* With the lock. */
static void show_figures(struct device_change *c)
{
    for (int i = 0; i < IDENTITY_FIGURES; i++) {
        c->p->figures.identity[i] += c->figures[i];
        c->p->figures.identity[i] -= c->d->figures[i];
        c->d->figures[i] = c->figures[i];
    }
}

/* With the lock. The user that was is known by the alias alone from here on. */
static void show_alias(struct device_change *c)
{
    struct device_user *u = &c->d->users[c->erasure.user];
    struct str alias;

    if (text_copy(c->erasure.alias, &alias) < 0)
        abort();
    free((void *)(uintptr_t)u->id.p);
    u->id = alias;
    u->erased = true;
    for (size_t i = 0; i < c->d->user_count; i++) {
        c->d->users[i].erased_until = c->after[i].erased_until;
        c->d->users[i].was = c->after[i].was;
    }
    if (c->erasure.nameless)
        return;
    erased_mark(c->p);
    erased_profile(c->p, c->profile->id);
    profile_touch(c->p, c->profile);
    if (c->profile->version == 0)
        c->profile->version = c->p->cascade.cause + 1; /* to be taken off the disk, if it stands there */
    erased_emptied(c->p, c->profile);
}

/* With the lock. What is gone of the home's events, and what of them is the device's own. */
static void show_erased(struct device_change *c)
{
    struct profile *r = c->profile;
    struct state_figures *f = &c->p->figures;
    int64_t own_after = device_own_after(c->after, &c->runs);

    if (!c->erases && own_after == r->own_after)
        return;
    if (c->erases) {
        stream_rewrite_show(c->p, c->home, &c->rewrite);
        f->outcomes[OUTCOME_FOLDED] -= c->gone;
        f->outcomes[OUTCOME_ERASED] += c->gone;
        erased_mark(c->p);
    }
    profile_touch(c->p, r);
    r->own_after = own_after;
    r->refold = true;
    r->version = c->p->cascade.cause + 1;
    partition_recount(c->p, &r->kept);
}

static void show(struct device_change *c)
{
    struct device *d = c->d;
    struct runs old = d->runs;
    struct event_key end = {.time = INT64_MAX};
    uint32_t last = device_owner(c->after, &c->runs, &end);
    struct str user = STR_NONE;

    if (last < USER_ERASED && text_copy(d->users[last].id, &user) < 0)
        abort();
    if (pointers_reserve(&c->p->dirty_profiles, 1) < 0)
        abort();
    pthread_mutex_lock(&c->p->lock);
    show_figures(c);
    for (size_t i = 0; i < d->user_count; i++)
        d->users[i].told = device_change_member(c, i);
    if (c->erasure.user != NO_USER)
        show_alias(c);
    d->crowded = c->crowded;
    d->shared = c->shared;
    show_profile(c, user);
    show_erased(c);
    d->runs = c->runs;
    partition_recount(c->p, &d->kept);
    pthread_mutex_unlock(&c->p->lock);
    if (c->lets_go)
        grave_let_go(c->p, d);
    c->runs = old;
    device_touch(c->p, d);
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static int prepare(struct device_change *c)
{
    struct partition *p = c->p;
    struct stream_id home = {STREAM_STATED, c->d->id, STR_NONE};
    char buf[PROFILE_ID_MAX_BYTES];
    int rc = device_load_links(p, c->d, c->err);

    if (rc == 0)
        rc = partition_stream(p, &home, stream_hash(p, &home), &c->home, c->err);
    if (rc == 0)
        rc = partition_profile(p, profile_id(c->d->id, STR_NONE, buf), &c->profile, c->err);
    if (rc == 0)
        rc = device_change_runs(c);
    if (rc == 0)
        rc = copy_users(c);
    if (rc == 0)
        rc = device_change_moves(c);
    if (rc == 0 && c->held)
        rc = grave_hold(p, c->d, c->err);
    return rc == 0 ? rewrite_home(c) : rc;
}

int device_recompute(struct partition *p, struct device *d, const struct device_erasure *erasure, struct err *e)
{
    struct device_change c = {
        .p = p, .d = d, .holds = grave_holds(p), .lets_go = grave_lets_go(p, d), .erasure = *erasure, .err = e};
    int rc;

    arena_init(&c.arena, SIZE_MAX);
    rc = prepare(&c);
    if (rc == 0) {
        device_change_tell(&c);
        show(&c);
    }
    runs_deinit(&c.runs);
    stream_rewrite_drop(&c.rewrite);
    free(c.moved);
    arena_deinit(&c.arena);
    return rc;
}
