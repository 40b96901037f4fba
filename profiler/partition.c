/* What a partition keeps in memory: the ring of all objects, finding and loading profiles, dropping. All of it on the
 * worker's thread, but for partition_hash and partition_find_profile. Objects come from disk without the lock and go
 * into the tables under it. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/device_users.h"
#include "profiler/erased.h"
#include "profiler/grave_search.h"
#include "profiler/order_home.h"

enum { EVICT_SLICE = 256 }; /* objects looked at in one go with the lock */

/* A record decoded; and the statements of two orders before and after it, which LIMIT_STATEMENTS_BYTES bounds. */
#define ARENA_BYTES (1024 * MIB)
#define SCRATCH_BYTES ((size_t)2048 * MIB)

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct stream *kept_stream(struct kept *k)
{
    assert(k->kind == KEPT_STREAM);
    return container(k, struct stream, kept);
}

struct profile *kept_profile(struct kept *k)
{
    assert(k->kind == KEPT_PROFILE);
    return container(k, struct profile, kept);
}

int pointers_reserve(struct pointers *v, size_t more)
{
    size_t cap = v->cap ? v->cap : 64;
    void **p;

    if (v->n + more <= v->cap)
        return 0;
    while (cap < v->n + more)
        cap *= 2;
    p = realloc(v->v, cap * sizeof *p);
    if (!p)
        return -ENOMEM;
    v->v = p;
    v->cap = cap;
    return 0;
}

void pointers_add(struct pointers *v, void *item)
{
    assert(v->n < v->cap);
    v->v[v->n++] = item;
}

struct key_hash partition_hash(const struct partition *p, struct str bytes)
{
    return key_hash_of(&p->secret, bytes);
}

/* --- the ring ------------------------------------------------------------------------------------------------- */

static size_t bytes_of(struct kept *k)
{
    if (k->kind == KEPT_STREAM)
        return stream_bytes(kept_stream(k));
    if (k->kind == KEPT_PROFILE) {
        struct profile *r = kept_profile(k);

        return sizeof *r + r->id.n + r->user.n + members_bytes(r) + facts_bytes(&r->facts) + traits_bytes(&r->traits);
    }
    if (k->kind == KEPT_DEVICE)
        return device_bytes(kept_device(k));
    if (k->kind == KEPT_ACCOUNT)
        return account_bytes(kept_account(k));
    if (k->kind == KEPT_ORDER_HOME)
        return order_home_bytes(kept_order_home(k));
    return order_bytes(kept_order_of(k));
}

void profile_touch(struct partition *p, struct profile *r)
{
    profile_touch_from(p, r, INT64_MIN);
}

void profile_touch_from(struct partition *p, struct profile *r, int64_t from)
{
    if (from < r->fence_low)
        r->fence_low = from;
    r->kept.touched = true;
    r->changes = ++p->changes;
    if (p->state->announce && !str_eq(profile_log_key(r->id), p->record_key))
        profile_hold(p, r);
    if (p->state->watch && r->watch_round != p->watch.round)
        watch_note(p, r);
    if (profile_current(p, r))
        return;
    r->interval = p->interval_number;
    r->dirty_streams = NULL;
    r->dirty_orders = NULL;
    pointers_add(&p->dirty_profiles, r);
}

void partition_recount(struct partition *p, struct kept *k)
{
    size_t now = bytes_of(k);

    p->memory += now - k->bytes;
    k->bytes = now;
}

static void ring_add(struct partition *p, struct kept *k)
{
    k->touched = true;
    k->prev = p->ring.prev;
    k->next = &p->ring;
    k->prev->next = k->next->prev = k;
    p->kept_count++;
    partition_recount(p, k);
}

int partition_keep(struct partition *p, struct table *t, struct table_node *node, struct kept *k)
{
    int rc;

    pthread_mutex_lock(&p->lock);
    rc = table_add(t, node);
    if (rc == 0)
        ring_add(p, k);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static void ring_remove(struct partition *p, struct kept *k)
{
    if (p->hand == k)
        p->hand = k->next;
    k->prev->next = k->next;
    k->next->prev = k->prev;
    p->kept_count--;
    p->memory -= k->bytes;
}

/* --- making and loading --------------------------------------------------------------------------------------- */

struct profile *partition_find_profile(struct partition *p, struct key_hash hash)
{
    struct table_node *n = table_find(&p->profiles, &hash);

    return n ? container(n, struct profile, node) : NULL;
}

static void profile_free(struct profile *r)
{
    facts_deinit(&r->facts);
    traits_deinit(&r->traits);
    free((void *)(uintptr_t)r->user.p);
    member_list_free(r->members, r->member_count);
    free(r);
}

/* From disk; what is not there is new. */
static int profile_load(struct partition *p, struct profile *r, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, r->node.key);
    struct store_value v = {0};
    struct profile_record record;
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    if (profile_record_read(v.bytes, &record) < 0 || !str_eq(record.id, r->id))
        rc = damaged(e, "a profile");
    else if ((rc = facts_unpack(record.facts, &r->facts)) > 0)
        rc = damaged(e, "the facts of a profile");
    else if ((rc = traits_unpack(record.traits, &r->traits)) > 0)
        rc = damaged(e, "the traits of a profile");
    else if (!(rc = get_members(record.members, &r->members, &r->member_count)) &&
             !(rc = text_copy(record.user, &r->user))) {
        r->version = record.version;
        r->own_after = record.own_after;
    }
    store_value_free(&v);
    return rc;
}

struct str copy_behind(char **at, struct str s)
{
    struct str copy = {*at, s.n};

    if (!str_has(s))
        return s;
    if (s.n)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

int partition_profile(struct partition *p, struct str id, struct profile **out, struct err *e)
{
    struct key_hash hash = partition_hash(p, id);
    struct profile *r = partition_find_profile(p, hash);
    char *behind;
    int rc;

    if (r) {
        *out = r;
        return 0;
    }
    r = calloc(1, sizeof *r + id.n + 1);
    if (!r)
        return -ENOMEM;
    behind = (char *)(r + 1);
    r->id = copy_behind(&behind, id);
    r->node.key = hash;
    r->kept.kind = KEPT_PROFILE;
    r->own_after = INT64_MIN;
    facts_init(&r->facts);
    rc = profile_load(p, r, e);
    if (rc == 0)
        rc = partition_keep(p, &p->profiles, &r->node, &r->kept);
    if (rc < 0) {
        profile_free(r);
        return rc;
    }
    grave_search_add(p, KEY_PROFILE, &r->node.key, r->id);
    *out = r;
    return 0;
}

/* --- dropping ------------------------------------------------------------------------------------------------- */

static void drop(struct partition *p, struct kept *k)
{
    ring_remove(p, k);
    if (k->kind == KEPT_STREAM) {
        struct stream *s = kept_stream(k);

        table_remove(&p->streams, &s->node);
        stream_drop(s);
    } else if (k->kind == KEPT_PROFILE) {
        table_remove(&p->profiles, &kept_profile(k)->node);
        profile_free(kept_profile(k));
    } else if (k->kind == KEPT_DEVICE) {
        table_remove(&p->devices, &kept_device(k)->node);
        device_free(kept_device(k));
    } else if (k->kind == KEPT_ACCOUNT) {
        table_remove(&p->accounts, &kept_account(k)->node);
        account_free(kept_account(k));
    } else if (k->kind == KEPT_ORDER_HOME) {
        table_remove(&p->order_homes, &kept_order_home(k)->node);
        order_home_free(p, kept_order_home(k));
    } else {
        table_remove(&p->orders, &kept_order_of(k)->node);
        order_free(kept_order_of(k));
    }
}

static bool droppable(const struct partition *p, struct kept *k)
{
    if (k->kind == KEPT_STREAM)
        return !stream_current(p, kept_stream(k));
    if (k->kind == KEPT_PROFILE)
        return !profile_current(p, kept_profile(k)) && !kept_profile(k)->streams;
    if (k->kind == KEPT_DEVICE)
        return kept_device(k)->interval != p->interval_number && !kept_device(k)->stream;
    if (k->kind == KEPT_ACCOUNT)
        return kept_account(k)->interval != p->interval_number && kept_account(k)->streams == 0;
    if (k->kind == KEPT_ORDER_HOME)
        return order_home_droppable(p, kept_order_home(k));
    return kept_order_of(k)->interval != p->interval_number;
}

/* Gives each object a second chance; true when there is more to do. */
static bool evict_slice(struct partition *p, size_t *rounds)
{
    for (size_t end = *rounds > EVICT_SLICE ? *rounds - EVICT_SLICE : 0; *rounds > end; (*rounds)--) {
        struct kept *k = p->hand == &p->ring ? p->ring.next : p->hand;

        if (k == &p->ring || p->memory <= p->state->cache_bytes)
            return false;
        p->hand = k->next;
        if (k->touched)
            k->touched = false;
        else if (droppable(p, k))
            drop(p, k);
    }
    return *rounds > 0;
}

void partition_evict(struct partition *p)
{
    /* A profile goes in the round after its last stream. */
    size_t rounds = 4 * p->kept_count;
    bool more = true;

    while (more) {
        pthread_mutex_lock(&p->lock);
        more = evict_slice(p, &rounds);
        pthread_mutex_unlock(&p->lock);
    }
    p->memory_base = p->memory;
}

/* --- rows ------------------------------------------------------------------------------------------------------ */

int partition_load_rows(struct partition *p, char kind, partition_row *take, struct err *e)
{
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, false);
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, (struct str){&kind, 1}); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (key.n == 0 || key.p[0] != kind)
            break;
        rc = take(p, key, value, e);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static int tables_init(struct partition *p)
{
    int rc = table_init(&p->streams);

    if (rc == 0)
        rc = table_init(&p->profiles);
    if (rc == 0)
        rc = table_init(&p->orders);
    if (rc == 0)
        rc = table_init(&p->devices);
    if (rc == 0)
        rc = table_init(&p->accounts);
    if (rc == 0)
        rc = table_init(&p->order_homes);
    if (rc == 0)
        rc = table_init(&p->statements);
    if (rc == 0)
        rc = table_init(&p->erased.tombstones);
    if (rc == 0)
        rc = graves_init(&p->graves);
    return rc;
}

int partition_init(struct partition *p, struct state *s, uint32_t number, struct err *e)
{
    int rc;

    p->state = s;
    p->number = number;
    p->ring.prev = p->ring.next = p->hand = &p->ring;
    p->interval_number = 1; /* 0: objects that never changed */
    p->last_offset = -1;
    randombytes_buf(p->secret.b, sizeof p->secret.b); /* unless one is on disk */
    watch_init(p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->place, NULL);
    arena_init(&p->cascade.arena, SIZE_MAX);
    p->sent = calloc(s->partition_count, sizeof *p->sent);
    p->heard = calloc(s->partition_count, sizeof *p->heard);
    for (size_t i = 0; i < DECODE_AHEAD; i++)
        arena_init(&p->ahead[i].arena, ARENA_BYTES);
    arena_init(&p->order_arena, ARENA_BYTES);
    arena_init(&p->arena_other, ARENA_BYTES);
    buf_init(&p->scratch, SCRATCH_BYTES);
    p->interval = interval_new();
    rc = p->interval && p->sent && p->heard ? tables_init(p) : -ENOMEM;
    if (rc == 0)
        rc = meta_load(p, e);
    if (rc == 0)
        rc = erased_load(p, e);
    if (rc == 0)
        rc = graves_load(p, e);
    return rc < 0 ? rc : definitions_load(p, e);
}

/* Nothing is dirty any more: it was committed or is to be forgotten. */
static void drop_all(struct partition *p)
{
    p->interval_number++;
    for (int round = 0; round < 2; round++) /* what streams keep there after them */
        for (struct kept *k = p->ring.next, *next; k != &p->ring; k = next) {
            next = k->next;
            if (droppable(p, k))
                drop(p, k);
        }
    assert(p->kept_count == 0);
}

void partition_restart(struct partition *p, const struct meta *meta, struct interval *fresh)
{
    struct interval *old = p->interval;

    pthread_mutex_lock(&p->lock);
    drop_all(p);
    p->dirty_streams.n = p->dirty_profiles.n = p->dirty_orders.n = 0;
    p->dirty_devices.n = p->dirty_accounts.n = p->dirty_order_homes.n = 0;
    p->unannounced.n = 0;
    cascade_clear(&p->cascade);
    emissions_clear(&p->emissions);
    p->memory_base = p->memory;
    p->interval = fresh;
    erased_deinit(&p->erased);
    grave_search_drop(p);
    graves_deinit(&p->graves);
    if (table_init(&p->erased.tombstones) < 0 || graves_init(&p->graves) < 0)
        abort();
    meta_apply(p, meta);
    watch_restart(p);
    definitions_clear(p);
    pthread_mutex_unlock(&p->lock);
    interval_unref(old);
}

void partition_deinit(struct partition *p)
{
    if (!p->state)
        return;
    drop_all(p);
    erased_deinit(&p->erased);
    grave_search_drop(p);
    graves_deinit(&p->graves);
    watch_deinit(p);
    definitions_clear(p);
    free(p->definitions.v);
    table_deinit(&p->streams);
    table_deinit(&p->profiles);
    table_deinit(&p->orders);
    table_deinit(&p->devices);
    table_deinit(&p->accounts);
    table_deinit(&p->order_homes);
    table_deinit(&p->statements);
    free(p->dirty_devices.v);
    free(p->dirty_accounts.v);
    free(p->dirty_order_homes.v);
    free(p->unannounced.v);
    free(p->unannounced_ids);
    free(p->sent);
    free(p->heard);
    arena_deinit(&p->cascade.arena);
    free(p->dirty_streams.v);
    free(p->dirty_profiles.v);
    free(p->dirty_orders.v);
    if (p->interval)
        interval_unref(p->interval);
    store_batch_free(p->batch);
    for (size_t i = 0; i < DECODE_AHEAD; i++)
        arena_deinit(&p->ahead[i].arena);
    arena_deinit(&p->order_arena);
    arena_deinit(&p->arena_other);
    buf_deinit(&p->scratch);
    emissions_clear(&p->emissions);
    pthread_rwlock_destroy(&p->place);
    pthread_mutex_destroy(&p->lock);
    sodium_memzero(&p->secret, sizeof p->secret);
}
