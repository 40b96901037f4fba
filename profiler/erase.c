/* Erasing a profile at its home: a user with all that events say of them and all that was placed with them, or a device
 * that nobody was linked to. Everything is read and worked out first; then the devices and the orders are told; then it
 * is shown. The worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"
#include "profiler/fold_entry.h"
#include "profiler/grave.h"
#include "profiler/grave_search.h"
#include "proto/codec.h"

/* One stream of the profile, as it was and as it will be. */
struct erased_stream {
    struct stream *s;
    struct chunk_entry *all;
    size_t n;
    uint64_t gone;
    struct stream_rewrite rewrite;
};

/* What is left of a statement of an order. */
struct stripped {
    struct str order_id, bytes;
    struct event_key key;
};

/* A link of an event that stays: it is told anew, with the user's name. */
struct kept_link {
    struct str device;
    struct event_key key;
};

struct list {
    void *v;
    size_t n, cap;
};

struct erasing {
    struct partition *p;
    const struct command *command;
    struct str id; /* of the profile; absent: nobody here is meant */
    struct key_hash hash;
    struct tombstone *tombstone;
    int64_t until;
    struct profile *profile;
    struct account *account; /* of a user */
    struct list streams;     /* struct erased_stream */
    struct list devices;     /* struct str, each once when it is told */
    struct list orders;      /* struct stripped */
    struct list links;       /* struct kept_link */
    uint64_t events;         /* that are gone, of those that were folded here */
    uint64_t shown;          /* that are gone of the profile's path */
    uint64_t profile_orders; /* that it has */
    struct arena arena;
    struct err *err;
};

static int list_add(struct list *l, const void *item, size_t size)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        void *v = realloc(l->v, cap * size);

        if (!v)
            return -ENOMEM;
        l->v = v;
        l->cap = cap;
    }
    memcpy((char *)l->v + l->n++ * size, item, size);
    return 0;
}

static bool is_user(const struct erasing *x)
{
    return str_starts(x->id, STR_LIT("user:"));
}

/* --- who is meant --------------------------------------------------------------------------------------------- */

static int keep_id(struct erasing *x, struct str id)
{
    x->id = arena_dup(&x->arena, id);
    return x->id.p ? 0 : -ENOMEM;
}

/* Somebody whom only the hash names. */
static int search(struct erasing *x)
{
    struct str id;
    int rc = grave_search(x->p, &x->hash, false, &id, x->err);

    if (rc == 0 && str_has(id))
        rc = keep_id(x, id);
    free((void *)(uintptr_t)id.p);
    return rc;
}

static int find_whom(struct erasing *x)
{
    const struct command *c = x->command;
    char buf[PROFILE_ID_MAX_BYTES];
    int rc;

    if (str_has(c->device)) {
        rc = grave_meet(x->p, c->device, x->err);
        if (rc < 0)
            return rc;
    }
    if (str_has(c->user) || str_has(c->device)) {
        rc = keep_id(x, profile_id(c->device, c->user, buf));
        x->hash = erasure_hash(x->p, x->id);
        return rc;
    }
    memcpy(x->hash.b, c->hash.p, sizeof x->hash.b);
    return search(x);
}

/* --- what there is -------------------------------------------------------------------------------------------- */

static int open_streams_on_disk(struct erasing *x)
{
    struct key prefix = key_one(KEY_STREAM, x->profile->node.key);
    struct store_iter *it = store_iter_new(x->p->state->store, x->p->number, NULL, true);
    struct stream_id id;
    struct stream *s;
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        if (stream_record_read(value, &id) < 0)
            rc = damaged(x->err, "a stream");
        else
            rc = partition_stream(x->p, &id, stream_hash(x->p, &id), &s, x->err);
    }
    if (rc == 0)
        rc = store_iter_status(it, x->err);
    store_iter_free(it);
    return rc;
}

/* In the order of their hashes: what is told must not depend on what memory happens to hold. */
static int compare_streams(const void *a, const void *b)
{
    const struct erased_stream *x = a, *y = b;

    return memcmp(x->s->node.key.b, y->s->node.key.b, KEY_HASH_BYTES);
}

static int collect_streams(struct erasing *x)
{
    int rc = open_streams_on_disk(x);

    for (struct stream *s = x->profile->streams; s && rc == 0; s = s->next) {
        const struct erased_stream one = {.s = s};

        rc = list_add(&x->streams, &one, sizeof one);
    }
    if (x->streams.n > 1)
        qsort(x->streams.v, x->streams.n, sizeof(struct erased_stream), compare_streams);
    return rc;
}

static int add_device(struct erasing *x, struct str device)
{
    struct str copy = str_has(device) ? arena_dup(&x->arena, device) : STR_NONE;

    if (!str_has(device) || !is_user(x))
        return 0;
    return copy.p ? list_add(&x->devices, &copy, sizeof copy) : -ENOMEM;
}

static int add_order(struct erasing *x, const struct event *ev, unsigned flags)
{
    struct stripped one = {.order_id = stated_order(ev, flags), .key = event_key(ev)};

    if (!str_has(one.order_id))
        return 0;
    buf_reset(&x->p->scratch);
    if (!order_strip(ev, &x->p->scratch))
        return -ENOMEM;
    one.order_id = arena_dup(&x->arena, one.order_id);
    one.bytes = arena_dup(&x->arena, buf_str(&x->p->scratch));
    return one.order_id.p && one.bytes.p ? list_add(&x->orders, &one, sizeof one) : -ENOMEM;
}

static int add_link(struct erasing *x, struct str device, const struct event_key *key)
{
    struct kept_link one = {str_has(device) ? arena_dup(&x->arena, device) : STR_NONE, *key};

    if (!str_has(device))
        return 0;
    return one.device.p ? list_add(&x->links, &one, sizeof one) : -ENOMEM;
}

/* An event at its home. */
static int look_at(struct erasing *x, const struct chunk_entry *e, bool gone)
{
    struct arena *a = &x->p->arena_other;
    struct str previous;
    struct event ev;
    int rc;

    arena_reset(a);
    rc = event_unpack(e->bytes, a, &ev);
    if (rc != CODEC_OK)
        return rc == -ENOMEM ? rc : damaged(x->err, "an event");
    previous = alias_of(&ev);
    if (str_eq(previous, ev.anonymous_id))
        previous = STR_NONE;
    x->events += gone;
    rc = add_device(x, previous);
    if (rc == 0 && gone)
        rc = add_order(x, &ev, e->flags);
    if (rc == 0 && !gone && is_user(x))
        rc = add_link(x, ev.anonymous_id, &e->key);
    if (rc == 0 && !gone && is_user(x))
        rc = add_link(x, previous, &e->key);
    return rc;
}

/* Of a device's own events those that users have are theirs. What was taken back already need not be remembered. */
static bool goes(const struct erasing *x, const struct stream *s, const struct chunk_entry *e)
{
    bool is_home = s->device && !str_has(s->user_id);
    bool others = is_home && device_owner(s->device->users, &s->device->runs, &e->key) != NO_USER;

    return (e->flags & ENTRY_GONE) || (e->key.time <= x->until && !others);
}

static int sift(struct erasing *x, struct erased_stream *one)
{
    const struct chunk_entry **kept;
    size_t k = 0;
    int rc = stream_read_all(x->p, one->s, &x->arena, &one->all, &one->n, x->err);

    kept = rc == 0 ? arena_alloc(&x->arena, (one->n + 1) * sizeof(*kept)) : NULL;
    if (!kept)
        return rc < 0 ? rc : -ENOMEM;
    for (size_t i = 0; i < one->n && rc == 0; i++) {
        bool gone = goes(x, one->s, &one->all[i]);

        x->shown += gone && !(one->all[i].flags & ENTRY_GONE);
        if (!gone)
            kept[k++] = &one->all[i];
        if (one->s->kind == STREAM_STATED)
            rc = look_at(x, &one->all[i], gone);
    }
    one->gone = one->n - k;
    if (rc == 0)
        rc = add_device(x, one->s->anonymous_id);
    return rc == 0 ? stream_rewrite_make(x->p, one->s, kept, k, &one->rewrite) : rc;
}

/* Those that only links or orders name. */
static int add_known_devices(struct erasing *x)
{
    int rc = 0;

    for (size_t i = 0; i < x->profile->member_count && rc == 0; i++)
        rc = add_device(x, x->profile->members[i].device);
    for (size_t i = 0; x->account && i < x->account->pair_count && rc == 0; i++)
        rc = add_device(x, x->account->pairs[i].device);
    for (size_t i = 0; x->account && i < x->account->order_pair_count && rc == 0; i++)
        rc = add_device(x, x->account->order_pairs[i].device);
    return rc;
}

static int compare_texts(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void sort_devices(struct list *l)
{
    struct str *v = l->v;
    size_t n = 0;

    if (l->n > 1)
        qsort(v, l->n, sizeof *v, compare_texts);
    for (size_t i = 0; i < l->n; i++)
        if (n == 0 || !str_eq(v[i], v[n - 1]))
            v[n++] = v[i];
    l->n = n;
}

static int gather(struct erasing *x)
{
    int rc = partition_profile(x->p, x->id, &x->profile, x->err);

    if (rc == 0 && is_user(x))
        rc = partition_account(x->p, profile_log_key(x->id), &x->account, x->err);
    if (rc == 0)
        rc = profile_orders(x->p, x->profile, &x->profile_orders, x->err);
    if (rc == 0)
        rc = collect_streams(x);
    for (size_t i = 0; i < x->streams.n && rc == 0; i++)
        rc = sift(x, &((struct erased_stream *)x->streams.v)[i]);
    if (rc == 0)
        rc = add_known_devices(x);
    if (rc == 0)
        rc = pointers_reserve(&x->p->dirty_streams, x->streams.n);
    if (rc == 0)
        rc = pointers_reserve(&x->p->dirty_profiles, 1);
    if (rc == 0)
        sort_devices(&x->devices);
    return rc;
}

/* --- telling -------------------------------------------------------------------------------------------------- */

static void tell_devices(struct erasing *x)
{
    const struct str *v = x->devices.v;

    for (size_t i = 0; i < x->devices.n; i++)
        tell_erasure(x->p, &x->tombstone->is, v[i], profile_log_key(x->id));
}

static void tell_links(struct erasing *x)
{
    const struct kept_link *v = x->links.v;

    for (size_t i = 0; i < x->links.n; i++) {
        struct internal r = {.kind = INTERNAL_LINK,
                             .device = v[i].device,
                             .user = profile_log_key(x->id),
                             .key = v[i].key,
                             .subject = v[i].key.uid};

        tell(x->p, &r);
        account_evidence(x->p, x->account, v[i].device, &v[i].key);
    }
}

static void tell_orders(struct erasing *x)
{
    const struct stripped *v = x->orders.v;

    for (size_t i = 0; i < x->orders.n; i++)
        tell_stripped(x->p, v[i].order_id, &v[i].key, v[i].bytes);
}

/* --- showing -------------------------------------------------------------------------------------------------- */

/* Those of guests' orders stand in nobody's ids. */
static size_t count_devices(const struct erasing *x)
{
    const struct str *v = x->devices.v;
    size_t n = 0;

    for (size_t i = 0; i < x->devices.n; i++)
        n += !device_is_guest(v[i]);
    return n;
}

/* With the lock. */
static void show_tombstone(struct erasing *x)
{
    struct tombstone *t = x->tombstone;
    struct state_erasure *is = &t->is;
    const struct command *c = x->command;

    if (is->until == INT64_MIN)
        memcpy(is->alias, c->alias.p, sizeof is->alias);
    if (c->until > is->until)
        is->until = c->until;
    tombstone_command(x->p, t, x->p->cascade.cause + 1);
    is->time = c->time;
    is->events += x->shown;
    is->devices += count_devices(x);
    is->orders += x->profile_orders;
    tombstone_touch(x->p, x->tombstone);
    erased_mark(x->p);
}

static void show_account(struct erasing *x)
{
    if (!x->account)
        return;
    pthread_mutex_lock(&x->p->lock);
    account_reset(x->account);
    partition_recount(x->p, &x->account->kept);
    pthread_mutex_unlock(&x->p->lock);
    account_touch(x->p, x->account);
}

/* With the lock. */
static void show_profile(struct erasing *x)
{
    struct profile *r = x->profile;

    profile_touch(x->p, r);
    member_list_free(r->members, r->member_count);
    r->members = NULL;
    r->member_count = 0;
    traits_deinit(&r->traits);
    traits_init(&r->traits);
    facts_deinit(&r->facts);
    facts_init(&r->facts);
    r->refold = true;
    r->version = x->p->cascade.cause + 1;
    erased_profile(x->p, r->id);
    erased_emptied(x->p, r);
    partition_recount(x->p, &r->kept);
}

static void show(struct erasing *x)
{
    struct partition *p = x->p;
    struct erased_stream *v = x->streams.v;

    pthread_mutex_lock(&p->lock);
    show_tombstone(x);
    if (x->profile)
        show_profile(x);
    for (size_t i = 0; i < x->streams.n; i++) {
        stream_rewrite_show(p, v[i].s, &v[i].rewrite);
        v[i].s->erased = x->tombstone;
    }
    p->figures.outcomes[OUTCOME_FOLDED] -= x->events;
    p->figures.outcomes[OUTCOME_ERASED] += x->events;
    pthread_mutex_unlock(&p->lock);
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static int prepare(struct erasing *x)
{
    int rc = find_whom(x);

    if (rc < 0)
        return rc;
    x->tombstone = tombstone_make(x->p, x->hash);
    if (!x->tombstone)
        return -ENOMEM;
    x->until = x->command->until > x->tombstone->is.until ? x->command->until : x->tombstone->is.until;
    return str_has(x->id) ? gather(x) : 0;
}

static void release(struct erasing *x)
{
    struct erased_stream *v = x->streams.v;

    for (size_t i = 0; i < x->streams.n; i++)
        stream_rewrite_drop(&v[i].rewrite);
    free(x->streams.v);
    free(x->devices.v);
    free(x->orders.v);
    free(x->links.v);
    arena_deinit(&x->arena);
}

int erase_profile(struct partition *p, const struct command *c, struct err *e)
{
    struct erasing x = {.p = p, .command = c, .err = e};
    int rc;

    arena_init(&x.arena, SIZE_MAX);
    rc = prepare(&x);
    if (rc == 0) {
        show(&x);
        show_account(&x);
        tell_devices(&x);
        tell_links(&x);
        tell_orders(&x);
    }
    release(&x);
    return rc;
}
