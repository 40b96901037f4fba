/* A device at its home: which links count, who had it when, and what that moves. INTERFACE's "Identity" and step S2 of
 * the protocol over partitions. The worker's thread.
 *
 * Everything is read and worked out first; then those are told who gain or lose events; then it is shown. Gains are
 * told before losses, so that an event is never nowhere. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/device_users.h"
#include "profiler/grave.h"
#include "proto/codec.h"

/* An event that gets another owner. */
struct moved {
    struct event_key key;
    unsigned flags;
    struct str bytes;
    struct str order_id; /* that it states; or absent */
    uint32_t from, to;
};

/* What becomes of a device. */
struct change {
    struct partition *p;
    struct device *d;
    struct stream *home;     /* its events without a user */
    struct profile *profile; /* anon:D */
    bool crowded, shared;
    bool *counts; /* of each user: has a link that counts */
    uint32_t figures[IDENTITY_FIGURES];
    struct runs runs;
    struct moved *moved;
    size_t moved_count, moved_cap;
    struct device_erasure erasure;
    struct device_user *after; /* its users with the erasure, in the arena; texts are the device's */
    bool holds;                /* what falls to the erased stays for now, */
    bool held;                 /* and something does */
    bool lets_go;              /* or is erased after all, and others are told anew what they have, see grave.c */
    bool erases;               /* some of its events are gone: */
    struct stream_rewrite rewrite;
    uint64_t gone;
    struct arena arena;
    int64_t from, to; /* times between which owners differ */
    struct err *err;
};

bool device_is_guest(struct str id)
{
    return str_starts(id, STR_LIT(ORDER_DEVICE_PREFIX));
}

/* --- which links count ---------------------------------------------------------------------------------------- */

static bool link_counts(const struct change *c, const struct link *l)
{
    const struct device_user *u = &c->d->users[l->user];

    return !c->shared && !l->removed && !u->beyond && l->key.time > u->unlinked_until;
}

static bool counts(void *arg, const struct link *l)
{
    return link_counts(arg, l);
}

/* How many users its links name, and how many those that events state. */
static void count_users(struct change *c, size_t *all, size_t *by_events)
{
    const struct device *d = c->d;
    bool *named = arena_zalloc(&c->arena, 2 * d->user_count + 1), *stated = named + d->user_count;

    if (!named)
        abort();
    *all = *by_events = 0;
    for (size_t i = 0; i < d->links.n; i++) {
        const struct link *l = &d->links.v[i];

        if (l->removed)
            continue;
        *all += !named[l->user];
        named[l->user] = true;
        *by_events += !l->by_order && !stated[l->user];
        stated[l->user] = stated[l->user] || !l->by_order;
    }
}

static int find_runs(struct change *c)
{
    const struct device *d = c->d;

    memset(c->counts, 0, d->user_count * sizeof *c->counts);
    for (size_t i = 0; i < d->links.n; i++)
        if (link_counts(c, &d->links.v[i]))
            c->counts[d->links.v[i].user] = true;
    return runs_make(&d->links, counts, c, &c->runs);
}

/* What does not count. */
static int count_void(struct change *c)
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

static int decide(struct change *c)
{
    const struct device *d = c->d;
    size_t all, by_events;
    int rc;

    count_users(c, &all, &by_events);
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

/* --- what moves ----------------------------------------------------------------------------------------------- */

static int name_order(struct change *c, struct moved *m)
{
    enum order_status status;
    struct event ev;
    int rc;

    m->order_id = STR_NONE;
    if (!(m->flags & ENTRY_ORDER))
        return 0;
    arena_reset(&c->p->arena_other);
    rc = event_unpack(m->bytes, &c->p->arena_other, &ev);
    if (rc != CODEC_OK)
        return rc == -ENOMEM ? rc : -EIO;
    if (!order_stated(&ev, &status) || ev.order.order_id.n > ORDER_ID_MAX_BYTES)
        return 0;
    m->order_id = arena_dup(&c->arena, ev.order.order_id);
    if (!str_has(m->order_id))
        return -ENOMEM;
    if (m->to != USER_ERASED || c->holds)
        return 0;
    buf_reset(&c->p->scratch);
    m->bytes = order_strip(&ev, &c->p->scratch) ? arena_dup(&c->arena, buf_str(&c->p->scratch)) : STR_NONE;
    return m->bytes.p ? 0 : -ENOMEM;
}

static int consider(struct change *c, const struct event_key *key, unsigned flags, struct str bytes)
{
    struct moved m = {.key = *key, .flags = flags};

    if (key->time < c->from || key->time > c->to)
        return 0;
    m.from = device_owner(c->d->users, &c->d->runs, key);
    m.to = device_owner(c->after, &c->runs, key);
    c->held = c->held || (m.to == USER_ERASED && c->holds);
    if ((m.from == m.to && !c->lets_go) ||
        (c->erasure.back != NO_USER && m.from == c->erasure.user && m.to == c->erasure.back))
        return 0;
    c->erases = c->erases || (m.to == USER_ERASED && !c->holds);
    if (m.from == m.to)
        m.from = NO_USER; /* it is told once more */
    if (c->moved_count == c->moved_cap) {
        size_t cap = c->moved_cap ? 2 * c->moved_cap : 64;
        struct moved *v = realloc(c->moved, cap * sizeof *v);

        if (!v)
            return -ENOMEM;
        c->moved = v;
        c->moved_cap = cap;
    }
    m.bytes = arena_dup(&c->arena, bytes);
    if (!m.bytes.p)
        return -ENOMEM;
    c->moved[c->moved_count++] = m;
    return name_order(c, &c->moved[c->moved_count - 1]);
}

static int consider_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct change *c = arg;
    struct chunk_reader r;
    struct chunk_entry e;
    int rc = 0;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (rc == 0 && chunk_next(&r, &e))
        if (!stream_entry(c->home, &e.key.uid)) /* else memory has the copy that stands */
            rc = consider(c, &e.key, e.flags, e.bytes);
    return rc < 0 ? rc : r.left ? -EIO : 0;
}

static int compare_moved(const void *a, const void *b)
{
    return event_key_cmp(&((const struct moved *)a)->key, &((const struct moved *)b)->key);
}

static bool has_erased(const struct change *c)
{
    for (size_t i = 0; i < c->d->user_count; i++)
        if (c->after[i].erased)
            return true;
    return false;
}

/* What comes after the time up to which a user was erased falls to the next one, however much later that one came. */
static bool find_range(struct change *c)
{
    bool differ = runs_differ(&c->d->runs, &c->runs, &c->from, &c->to);

    if (!has_erased(c))
        return differ;
    c->from = INT64_MIN;
    c->to = INT64_MAX;
    return differ || c->erasure.user != NO_USER || c->lets_go;
}

static int gather(struct change *c)
{
    struct partition *p = c->p;
    struct chunk_range range = {c->home->node.key, INT64_MIN, INT64_MAX, UINT32_MAX};
    int rc;

    if (!find_range(c))
        return 0;
    range.from = c->from;
    range.to = c->to;
    rc = stream_current(p, c->home) && c->home->rewritten
             ? 0
             : chunks_visit(p->state, p->number, NULL, &range, consider_chunk, c, c->err);
    for (const struct entry *e = stream_current(p, c->home) ? c->home->entries : NULL; e && rc == 0; e = e->next)
        if (!atomic_load_explicit(&e->dead_at, memory_order_relaxed))
            rc = consider(c, &e->key, e->flags, entry_bytes(e));
    if (rc == -EIO)
        return damaged(c->err, "an event of a device");
    /* What is told must not depend on where commits have cut the stream. */
    if (c->moved_count > 1)
        qsort(c->moved, c->moved_count, sizeof *c->moved, compare_moved);
    return rc;
}

/* --- what is erased ------------------------------------------------------------------------------------------- */

/* Whoever was erased before and came back. */
static void erase_again(struct change *c, const struct device_user *u)
{
    for (size_t i = 0; i < c->d->user_count; i++) {
        struct device_user *other = &c->after[i];

        if (other->erased && key_hash_eq(&other->was, &u->was) && other->erased_until < u->erased_until)
            other->erased_until = u->erased_until;
    }
}

static int copy_users(struct change *c)
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
static int rewrite_home(struct change *c)
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

/* --- telling -------------------------------------------------------------------------------------------------- */

struct batch {
    struct change *c;
    uint32_t user;
    struct internal_item items[INTERNAL_ITEMS];
    size_t n, bytes;
};

static void tell_batch(struct batch *b)
{
    struct internal r = {.kind = INTERNAL_PLACEMENT,
                         .device = b->c->d->id,
                         .user = b->c->d->users[b->user].id,
                         .items = b->items,
                         .item_count = b->n};

    if (b->n > 0)
        tell(b->c->p, &r);
    b->n = b->bytes = 0;
}

static void add_to_batch(struct batch *b, const struct moved *m, bool gain)
{
    struct str bytes = gain ? m->bytes : STR_NONE;

    if (b->n == INTERNAL_ITEMS || (b->n > 0 && b->bytes + bytes.n > INTERNAL_ITEM_BYTES))
        tell_batch(b);
    b->items[b->n++] = (struct internal_item){m->key, bytes};
    b->bytes += bytes.n;
}

/* Who is erased has dropped what was theirs already. */
static bool concerns(const struct change *c, const struct moved *m, uint32_t user, bool gain)
{
    bool dropped = user == c->erasure.user && m->key.time <= c->erasure.until;

    return gain ? m->to == user : m->from == user && !dropped;
}

static void tell_user(struct change *c, uint32_t user, bool gain)
{
    struct batch b = {.c = c, .user = user};

    for (size_t i = 0; i < c->moved_count; i++)
        if (concerns(c, &c->moved[i], user, gain))
            add_to_batch(&b, &c->moved[i], gain);
    tell_batch(&b);
}

void tell_statement(struct partition *p, struct str order_id, struct str owner, const struct event_key *key,
                    struct str bytes)
{
    struct internal_item item = {*key, bytes};
    struct internal r = {
        .kind = INTERNAL_STATEMENT, .order_id = order_id, .owner = owner, .items = &item, .item_count = 1};

    tell(p, &r);
}

/* Orders go with the events that state them. */
static void tell_orders(struct change *c)
{
    char buf[PROFILE_ID_MAX_BYTES];

    for (size_t i = 0; i < c->moved_count; i++) {
        const struct moved *m = &c->moved[i];
        struct str user = m->to >= USER_ERASED ? STR_NONE : c->d->users[m->to].id;

        if (str_has(m->order_id) && m->to == USER_ERASED && !c->holds)
            tell_stripped(c->p, m->order_id, &m->key, m->bytes);
        else if (str_has(m->order_id))
            tell_statement(c->p, m->order_id, profile_id(c->d->id, user, buf), &m->key, m->bytes);
    }
}

/* Whether the user is to have the device in its ids. */
static bool is_member(const struct change *c, size_t user)
{
    return c->counts[user] && !c->after[user].erased;
}

static void tell_members(struct change *c)
{
    for (size_t i = 0; i < c->d->user_count; i++) {
        struct internal r = {
            .kind = INTERNAL_MEMBER, .device = c->d->id, .user = c->d->users[i].id, .removed = !is_member(c, i)};

        bool anew = c->lets_go && !c->after[i].erased;

        if ((anew || is_member(c, i) != c->d->users[i].told) && !device_is_guest(c->d->id))
            tell(c->p, &r);
    }
}

static void tell_all(struct change *c)
{
    for (uint32_t u = 0; u < c->d->user_count; u++)
        tell_user(c, u, true);
    for (uint32_t u = 0; u < c->d->user_count; u++)
        tell_user(c, u, false);
    tell_orders(c);
    tell_members(c);
}

/* --- showing -------------------------------------------------------------------------------------------------- */

/* With the lock. The profile of a device with links stands for its user's. */
static void show_profile(struct change *c, struct str user)
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
static void show_figures(struct change *c)
{
    for (int i = 0; i < IDENTITY_FIGURES; i++) {
        c->p->figures.identity[i] += c->figures[i];
        c->p->figures.identity[i] -= c->d->figures[i];
        c->d->figures[i] = c->figures[i];
    }
}

/* With the lock. The user that was is known by the alias alone from here on. */
static void show_alias(struct change *c)
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
    erased_range(c->p, key_one(KEY_DEVICE, c->d->node.key));
    erased_range(c->p, key_one(KEY_LINKS, c->d->node.key));
    erased_profile_ranges(c->p, c->profile->node.key);
    erased_profile(c->p, c->profile->id);
    profile_touch(c->p, c->profile);
    if (c->profile->version == 0)
        c->profile->version = c->p->cascade.cause + 1; /* to be taken off the disk, if it stands there */
    erased_emptied(c->p, c->profile);
}

/* With the lock. What is gone of the home's events, and what of them is the device's own. */
static void show_erased(struct change *c)
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

static void show(struct change *c)
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
        d->users[i].told = is_member(c, i);
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

static int prepare(struct change *c)
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
        rc = decide(c);
    if (rc == 0)
        rc = copy_users(c);
    if (rc == 0)
        rc = gather(c);
    if (rc == 0 && c->held)
        rc = grave_hold(p, c->d, c->err);
    return rc == 0 ? rewrite_home(c) : rc;
}

int device_recompute(struct partition *p, struct device *d, const struct device_erasure *erasure, struct err *e)
{
    struct change c = {
        .p = p, .d = d, .holds = grave_holds(p), .lets_go = grave_lets_go(p, d), .erasure = *erasure, .err = e};
    int rc;

    arena_init(&c.arena, SIZE_MAX);
    rc = prepare(&c);
    if (rc == 0) {
        tell_all(&c);
        show(&c);
    }
    runs_deinit(&c.runs);
    stream_rewrite_drop(&c.rewrite);
    free(c.moved);
    arena_deinit(&c.arena);
    return rc;
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
