/* A device at its home: what is said of it, worked off. A link, a verdict of a user's home, an unlinking, an erasure:
 * each becomes part of what is known of the device, and where it may change who has it that is worked out anew.
 * INTERFACE's "Identity". The worker's thread. */
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/grave.h"

bool device_is_guest(struct str id)
{
    return str_starts(id, STR_LIT(ORDER_DEVICE_PREFIX));
}

/* The device with all that is known of it; made where nothing is. */
static int meet(struct partition *p, struct str id, struct device **out, struct err *e)
{
    int rc = grave_meet(p, id, e);

    return rc < 0 ? rc : partition_device(p, id, true, out, e);
}

static int recompute(struct partition *p, struct device *d, struct err *e)
{
    static const struct device_erasure none = {.user = NO_USER, .back = NO_USER};

    return device_recompute(p, d, &none, e);
}

/* Whether the link changes nothing but the list: it is one more of the user who has the device then anyway, or of a
 * device that is shared already. One of an order may take the place of another. */
static bool is_plain(const struct device *d, const struct link *l)
{
    const struct device_user *u = &d->users[l->user];

    if (l->removed || l->by_order)
        return false;
    if (d->shared)
        return !u->erased;
    return (!u->beyond && l->key.time > u->unlinked_until && u->told && !u->erased &&
            runs_user(&d->runs, &l->key) == l->user);
}

static void add_fresh(struct partition *p, struct device *d, const struct link *l)
{
    pthread_mutex_lock(&p->lock);
    if (d->fresh.n == d->fresh.cap) {
        size_t cap = d->fresh.cap ? 2 * d->fresh.cap : 4;
        struct link *v = realloc(d->fresh.v, cap * sizeof *v);

        if (!v)
            abort();
        d->fresh.v = v;
        d->fresh.cap = cap;
    }
    d->fresh.v[d->fresh.n++] = *l;
    partition_recount(p, &d->kept);
    pthread_mutex_unlock(&p->lock);
    device_touch(p, d);
}

/* To be read again when they are needed: looking through many for each new one takes longer. */
static void forget_links(struct device *d)
{
    links_deinit(&d->links);
    d->links_known = false;
}

/* Nothing that is said of it changes anything any more. */
static bool is_lost(const struct device *d)
{
    return d->crowded && d->shared;
}

/* What is to be erased with the link, whose user was. */
static struct device_erasure erasure_of(const struct device *d, const struct internal *r, uint32_t user)
{
    const struct device_user *u = &d->users[user];

    if (!r->erased || (u->erased && u->erased_until >= r->until))
        return (struct device_erasure){.user = NO_USER, .back = NO_USER};
    return (struct device_erasure){.user = user, .back = NO_USER, .until = r->until, .alias = u->id};
}

int device_erase(struct partition *p, const struct internal *r, struct err *e)
{
    struct device_erasure erasure = {.back = NO_USER, .until = r->until, .alias = r->alias};
    struct device *d;
    int rc = meet(p, r->device, &d, e);

    if (rc < 0)
        return rc;
    rc = device_load_links(p, d, e);
    if (rc < 0)
        return rc;
    erasure.user = device_find_user_then(p, d, r->user, r->until);
    if (erasure.user != NO_USER && d->users[erasure.user].erased)
        return 0; /* it was heard before */
    if (erasure.user == NO_USER)
        erasure.user = device_user_number(p, d, r->user);
    erasure.back = device_split_links(p, d, erasure.user, r->until);
    rc = device_recompute(p, d, &erasure, e);
    if (rc == 0)
        grave_leave(p, d, erasure.user, NULL);
    return rc;
}

/* The order's link goes because its user was erased: what it covered goes with it, and who is told so first does not
 * matter. */
static int erase_linked(struct partition *p, const struct internal *r, struct err *e)
{
    const struct key_hash hash = partition_hash(p, r->user);
    const struct internal said = {
        .device = r->device, .user = r->user, .until = r->key.time, .alias = {(const char *)hash.b, sizeof hash.b}};

    return device_erase(p, &said, e);
}

/* One that changes who has the device, or may. The links are known. */
static int put_link(struct partition *p, struct device *d, const struct link *l, const struct device_erasure *erasure,
                    struct err *e)
{
    int rc = links_put(&d->links, l);
    bool fresh = rc > 0 || d->behind || erasure->user != NO_USER;

    if (rc < 0)
        return rc;
    d->behind = fresh;
    rc = device_recompute(p, d, erasure, e);
    if (rc < 0)
        return rc;
    d->behind = false;
    add_fresh(p, d, l);
    if (d->users[l->user].erased && fresh)
        grave_leave(p, d, l->user, l);
    return 0;
}

int device_linked(struct partition *p, const struct internal *r, struct err *e)
{
    struct device_erasure erasure;
    struct link l = {
        .key = r->key, .subject = r->subject, .removed = r->removed, .by_order = r->by_order, .version = r->version};
    struct device *d;
    int rc = meet(p, r->device, &d, e);

    if (rc < 0 || is_lost(d))
        return rc;
    if (r->removed && r->erased)
        return erase_linked(p, r, e);
    l.user = device_find_user_then(p, d, r->user, r->key.time);
    if (r->removed && l.user != NO_USER && d->users[l.user].erased)
        return 0; /* what it covered stays erased */
    if (l.user == NO_USER && d->user_count >= identity_max_users(p->state->rules) + LIMIT_DEVICE_USERS) {
        pthread_mutex_lock(&p->lock);
        d->crowded = true;
        pthread_mutex_unlock(&p->lock);
        return recompute(p, d, e);
    }
    if (l.user == NO_USER)
        l.user = device_user_number(p, d, r->user);
    erasure = erasure_of(d, r, l.user);
    if (erasure.user == NO_USER && is_plain(d, &l)) {
        if (d->links_known && !d->links_changed && d->links.n >= LIMIT_DEVICE_LINKS)
            forget_links(d);
        if (d->links_known && links_put(&d->links, &l) < 0)
            return -ENOMEM;
        add_fresh(p, d, &l);
        return 0;
    }
    rc = device_load_links(p, d, e);
    return rc < 0 ? rc : put_link(p, d, &l, &erasure, e);
}

int device_verdict(struct partition *p, const struct internal *r, struct err *e)
{
    struct device *d;
    struct device_user *u;
    uint32_t number;
    int rc = meet(p, r->device, &d, e);

    if (rc < 0 || is_lost(d))
        return rc;
    number = device_find_user(d, r->user);
    if (number == NO_USER)
        number = device_find_user_then(p, d, r->user, INT64_MIN);
    if (number == NO_USER)
        number = device_user_number(p, d, r->user); /* which may move the list */
    u = &d->users[number];
    if (u->erased || internal_version_cmp(r->version, u->verdict) < 0)
        return 0;
    pthread_mutex_lock(&p->lock);
    u->verdict = r->version;
    u->beyond = r->removed;
    pthread_mutex_unlock(&p->lock);
    return recompute(p, d, e);
}

int device_recount(struct partition *p, struct str id, struct err *e)
{
    struct device *d;
    int rc = partition_device(p, id, true, &d, e);

    if (rc < 0 || !d->shared)
        return rc < 0 ? rc : recompute(p, d, e);
    if (grave_lets_go(p, d))
        grave_let_go(p, d); /* nothing of it falls to anybody */
    return 0;
}

bool device_is_full(const struct partition *p, const struct stream *home)
{
    return home->uids.count + home->fresh >= identity_max_events(p->state->rules);
}

int device_unlink(struct partition *p, const struct command *c, struct err *e)
{
    struct device *d;
    struct device_user *u;
    uint32_t number;
    int rc = meet(p, c->device, &d, e);

    if (rc < 0)
        return rc;
    number = device_find_user_then(p, d, c->user, c->until);
    if (number == NO_USER)
        number = device_user_number(p, d, c->user); /* which may move the list */
    u = &d->users[number];
    if (u->erased)
        return 0; /* what it covered stays erased */
    if (c->until > u->unlinked_until) {
        pthread_mutex_lock(&p->lock);
        u->unlinked_until = c->until;
        pthread_mutex_unlock(&p->lock);
    }
    return recompute(p, d, e);
}
