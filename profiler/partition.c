/* What a partition keeps in memory: finding, loading and dropping profiles, streams and orders. All of it on the
 * worker's thread, but for partition_hash and partition_find_profile. Objects come from disk without the lock and go
 * into the tables under it. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/state_private.h"

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

struct kept_order *kept_order_of(struct kept *k)
{
    assert(k->kind == KEPT_ORDER);
    return container(k, struct kept_order, kept);
}

struct kept_order *kept_order_by_id(struct table_node *by_id)
{
    return container(by_id, struct kept_order, by_id);
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

        return sizeof *r + r->id.n + facts_bytes(&r->facts);
    }
    return sizeof(struct kept_order) + (kept_order_of(k)->doc ? kept_order_of(k)->doc->n : 0);
}

void profile_touch(struct partition *p, struct profile *r)
{
    r->kept.touched = true;
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
    free(r);
}

/* From disk; what is not there is new. */
static int profile_load(struct partition *p, struct profile *r, struct err *e)
{
    struct key key = key_one(KEY_PROFILE, r->node.key);
    struct store_value v = {0};
    struct profile_record record;
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND) {
        facts_init(&r->facts);
        return 0;
    }
    if (rc < 0)
        return rc;
    if (profile_record_read(v.bytes, &record) < 0 || !str_eq(record.id, r->id))
        rc = damaged(e, "a profile");
    else if ((rc = facts_unpack(record.facts, &r->facts)) > 0)
        rc = damaged(e, "the facts of a profile");
    else
        r->version = record.version;
    store_value_free(&v);
    return rc;
}

static struct str copy_behind(char **at, struct str s)
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
    rc = profile_load(p, r, e);
    if (rc < 0) {
        free(r);
        return rc;
    }
    pthread_mutex_lock(&p->lock);
    rc = table_add(&p->profiles, &r->node);
    if (rc == 0)
        ring_add(p, &r->kept);
    pthread_mutex_unlock(&p->lock);
    if (rc < 0) {
        profile_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

static void stream_free(struct stream *s)
{
    stream_deinit(s);
    free(s);
}

static struct stream *stream_new(struct partition *p, struct key_hash hash, struct str anonymous_id, struct str user_id)
{
    struct stream *s = calloc(1, sizeof *s + anonymous_id.n + user_id.n + 1);
    char *behind = (char *)(s + 1);

    if (!s)
        return NULL;
    s->node.key = hash;
    s->kept.kind = KEPT_STREAM;
    s->anonymous_id = copy_behind(&behind, anonymous_id);
    s->user_id = copy_behind(&behind, user_id);
    s->uids.seed = p->state->seed;
    s->disk_last = s->session_last = TIME_NONE;
    s->session_floor = INT64_MIN;
    return s;
}

/* Whether the stream is on disk, and then what it holds there. */
static int stream_fetch(struct partition *p, struct stream *s, struct err *e)
{
    struct key key = key_two(KEY_STREAM, s->profile->node.key, s->node.key);
    struct store_value v = {0};
    int rc;

    if (s->profile->version == 0)
        return 0; /* nobody has a stream whose profile is not there */
    rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);
    store_value_free(&v);
    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 0 : rc;
    s->on_disk = true;
    return stream_load(p, s, e);
}

struct stream *partition_find_stream(struct partition *p, struct key_hash hash)
{
    struct table_node *n = table_find(&p->streams, &hash);

    return n ? container(n, struct stream, node) : NULL;
}

int partition_stream(struct partition *p, const struct event *ev, struct key_hash hash, struct stream **out,
                     struct err *e)
{
    struct stream *s = partition_find_stream(p, hash);
    char id[PROFILE_ID_MAX_BYTES];
    int rc;

    if (s) {
        *out = s;
        return 0;
    }
    s = stream_new(p, hash, ev->anonymous_id, ev->user_id);
    if (!s)
        return -ENOMEM;
    rc = partition_profile(p, profile_id(ev->anonymous_id, ev->user_id, id), &s->profile, e);
    if (rc == 0)
        rc = stream_fetch(p, s, e);
    if (rc == 0) {
        pthread_mutex_lock(&p->lock);
        rc = table_add(&p->streams, &s->node);
        if (rc == 0)
            ring_add(p, &s->kept);
        pthread_mutex_unlock(&p->lock);
    }
    if (rc < 0) {
        stream_free(s);
        return rc;
    }
    s->profile->streams++;
    *out = s;
    return 0;
}

static void order_free(struct kept_order *o)
{
    order_doc_unref(o->doc);
    free(o);
}

static int order_load(struct partition *p, struct kept_order *o, struct err *e)
{
    struct key key = key_two(KEY_ORDER, o->log_key, o->by_id.key);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 0 : rc;
    if (order_doc_rank(v.bytes, &o->rank) < 0) {
        rc = damaged(e, "an order");
    } else {
        o->on_disk = true;
        o->disk_rank = o->rank;
        o->doc = order_doc_new(v.bytes);
        rc = o->doc ? 0 : -ENOMEM;
    }
    store_value_free(&v);
    return rc;
}

static int order_keep(struct partition *p, struct kept_order *o)
{
    int rc;

    pthread_mutex_lock(&p->lock);
    rc = table_add(&p->orders, &o->node);
    if (rc == 0)
        ring_add(p, &o->kept);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int partition_order(struct partition *p, struct key_hash log_key, struct key_hash order, struct kept_order **out,
                    struct err *e)
{
    struct key_hash both = key_hash_pair(&p->secret, log_key, order);
    struct table_node *n = table_find(&p->orders, &both);
    struct kept_order *o;
    int rc;

    if (n) {
        *out = container(n, struct kept_order, node);
        return 0;
    }
    o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    o->node.key = both;
    o->by_id.key = order;
    o->log_key = log_key;
    o->kept.kind = KEPT_ORDER;
    rc = order_load(p, o, e);
    if (rc == 0)
        rc = order_keep(p, o);
    if (rc < 0) {
        order_free(o);
        return rc;
    }
    *out = o;
    return 0;
}

/* --- dropping ------------------------------------------------------------------------------------------------- */

static void drop(struct partition *p, struct kept *k)
{
    ring_remove(p, k);
    if (k->kind == KEPT_STREAM) {
        struct stream *s = kept_stream(k);

        table_remove(&p->streams, &s->node);
        s->profile->streams--;
        stream_free(s);
    } else if (k->kind == KEPT_PROFILE) {
        table_remove(&p->profiles, &kept_profile(k)->node);
        profile_free(kept_profile(k));
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
        return !profile_current(p, kept_profile(k)) && kept_profile(k)->streams == 0;
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

/* --- life ----------------------------------------------------------------------------------------------------- */

static int tables_init(struct partition *p)
{
    int rc = table_init(&p->streams);

    if (rc == 0)
        rc = table_init(&p->profiles);
    if (rc == 0)
        rc = table_init(&p->orders);
    if (rc == 0)
        rc = table_init(&p->changed_orders);
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
    pthread_mutex_init(&p->lock, NULL);
    pthread_rwlock_init(&p->place, NULL);
    for (size_t i = 0; i < DECODE_AHEAD; i++)
        arena_init(&p->ahead[i].arena, ARENA_BYTES);
    arena_init(&p->order_arena, ARENA_BYTES);
    arena_init(&p->arena_other, ARENA_BYTES);
    buf_init(&p->scratch, SCRATCH_BYTES);
    p->interval = interval_new();
    rc = p->interval ? tables_init(p) : -ENOMEM;
    return rc < 0 ? rc : meta_load(p, e);
}

/* Nothing is dirty any more: it was committed or is to be forgotten. */
static void drop_all(struct partition *p)
{
    p->interval_number++;
    for (int round = 0; round < 2; round++) /* profiles after their streams */
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
    for (size_t i = 0; i < p->dirty_orders.n; i++) {
        struct kept_order *o = p->dirty_orders.v[i];

        if (o->is_head)
            table_remove(&p->changed_orders, &o->by_id);
    }
    drop_all(p);
    p->dirty_streams.n = p->dirty_profiles.n = p->dirty_orders.n = 0;
    p->most_same = 0;
    emissions_clear(&p->emissions);
    p->memory_base = p->memory;
    p->interval = fresh;
    meta_apply(p, meta);
    pthread_mutex_unlock(&p->lock);
    interval_unref(old);
}

void partition_deinit(struct partition *p)
{
    if (!p->state)
        return;
    drop_all(p);
    table_deinit(&p->streams);
    table_deinit(&p->profiles);
    table_deinit(&p->orders);
    table_deinit(&p->changed_orders);
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
