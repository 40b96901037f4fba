/* Committing: everything that changed since the last commit, and the offset, in one batch. The worker's thread;
 * look-ups go on, since memory and disk change places in one step under the lock. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/commit_stream.h"
#include "profiler/erased.h"
#include "profiler/order_home.h"

/* --- what is counted ------------------------------------------------------------------------------------------ */

static bool meta_write(const struct partition *p, uint32_t commit, struct buf *b)
{
    const struct state_figures *f = &p->figures;

    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, commit);
    buf_add_svarint(b, f->offset);
    buf_add_svarint(b, f->began);
    for (int i = 0; i < OUTCOMES; i++)
        buf_add_varint(b, f->outcomes[i]);
    for (int i = 0; i < IDENTITY_FIGURES; i++)
        buf_add_varint(b, f->identity[i]);
    buf_add_svarint(b, p->last_offset);
    buf_add(b, p->last_uid.b, UID_BYTES);
    buf_add(b, p->secret.b, sizeof p->secret.b);
    buf_add_svarint(b, f->base);
    buf_add_svarint(b, p->erased.through);
    buf_add_svarint(b, p->erased.cleaned);
    for (uint32_t i = 0; i < p->state->partition_count; i++) {
        put_version(b, p->sent[i]);
        put_version(b, p->heard[i]);
    }
    return !b->failed;
}

bool meta_read(struct str bytes, struct meta *out)
{
    const char *at = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, commit;

    if (!get_varint(&at, end, &format) || format != STATE_FORMAT || !get_varint(&at, end, &commit) ||
        commit > UINT32_MAX || !get_svarint(&at, end, &out->offset) || !get_svarint(&at, end, &out->began))
        return false;
    for (int i = 0; i < OUTCOMES; i++)
        if (!get_varint(&at, end, &out->outcomes[i]))
            return false;
    for (int i = 0; i < IDENTITY_FIGURES; i++)
        if (!get_varint(&at, end, &out->identity[i]))
            return false;
    if (!get_svarint(&at, end, &out->last_offset) || end - at < UID_BYTES + (ptrdiff_t)sizeof out->secret.b)
        return false;
    memcpy(out->last_uid.b, at, UID_BYTES);
    memcpy(out->secret.b, at + UID_BYTES, sizeof out->secret.b);
    at += UID_BYTES + sizeof out->secret.b;
    out->commit = (uint32_t)commit;
    if (!get_svarint(&at, end, &out->base) || !get_svarint(&at, end, &out->erased_through) ||
        !get_svarint(&at, end, &out->erased_cleaned))
        return false;
    for (out->flows = 0; at < end && out->flows < LIMIT_PARTITIONS; out->flows++)
        if (!get_version(&at, end, &out->sent[out->flows]) || !get_version(&at, end, &out->heard[out->flows]))
            return false;
    return at == end;
}

void meta_apply(struct partition *p, const struct meta *m)
{
    p->commit = m->commit;
    p->figures.offset = p->figures.disk_offset = m->offset;
    p->figures.began = m->began;
    p->figures.base = m->base;
    p->erased.through = m->erased_through;
    p->erased.cleaned = m->erased_cleaned;
    memcpy(p->figures.outcomes, m->outcomes, sizeof m->outcomes);
    memcpy(p->figures.identity, m->identity, sizeof m->identity);
    p->last_offset = m->last_offset;
    p->last_uid = m->last_uid;
    p->secret = m->secret;
    assert(m->flows == p->state->partition_count);
    memcpy(p->sent, m->sent, m->flows * sizeof *p->sent);
    memcpy(p->heard, m->heard, m->flows * sizeof *p->heard);
}

int meta_load(struct partition *p, struct err *e)
{
    struct key key = key_meta();
    struct store_value v = {0};
    struct meta meta;
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    if (meta_read(v.bytes, &meta) && meta.flows == p->state->partition_count)
        meta_apply(p, &meta);
    else
        rc = damaged(e, "the offset of a partition");
    store_value_free(&v);
    return rc;
}

/* --- everything of a commit ----------------------------------------------------------------------------------- */

/* Whether it has no events, as one whose events are others' by now, and nobody has it. */
static bool is_empty(const struct profile *r)
{
    return r->facts.events == 0 && r->member_count == 0 && !str_has(r->user) && traits_empty(&r->traits);
}

/* Whether a stream of it will be on disk; that may hold what is others'. */
static int has_streams(struct commit *c, const struct profile *r, bool *out)
{
    struct key prefix = key_one(KEY_STREAM, r->node.key);
    struct store_iter *it = store_iter_new(c->p->state->store, c->p->number, NULL, true);
    struct key_hash profile, stream;
    struct str key;
    int rc;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); store_iter_at(it, &key, NULL) && !*out; store_iter_next(it)) {
        const struct stream *s;

        if (!str_starts(key, key_str(&prefix)) || !key_read_two(key, KEY_STREAM, &profile, &stream))
            break;
        s = partition_find_stream(c->p, stream);
        *out = !s || !s->rewritten || s->slot_count > 0;
    }
    rc = store_iter_status(it, c->err);
    store_iter_free(it);
    for (const struct stream *s = r->dirty_streams; s && !*out; s = s->next_dirty)
        *out = s->slot_count > 0;
    return rc;
}

/* Its id must not stand there for nothing. */
static int take_erased(struct commit *c, const struct profile *r, bool *taken)
{
    uint64_t orders = 0;
    bool streams = false;
    int rc = is_empty(r) ? profile_was_erased(c->p, r->id, taken, c->err) : 0;

    if (rc == 0 && *taken)
        rc = profile_orders(c->p, r, &orders, c->err);
    if (rc == 0 && *taken)
        rc = has_streams(c, r, &streams);
    *taken = *taken && orders == 0 && !streams;
    if (rc == 0 && *taken)
        commit_take(c, key_one(KEY_PROFILE, r->node.key));
    return rc;
}

static int put_profile(struct commit *c, const struct profile *r)
{
    struct buf *b = &c->p->scratch, members;
    bool failed, taken = false;
    int rc = take_erased(c, r, &taken);

    assert(!r->refold && r->version > 0);
    if (rc < 0 || taken)
        return rc;
    buf_reset(b);
    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, r->id.n);
    buf_add_str(b, r->id);
    buf_add_svarint(b, r->version);
    put_text(b, r->user);
    buf_add_svarint(b, r->own_after);
    buf_init(&members, 64 * MIB);
    put_members(r->members, r->member_count, &members);
    buf_add_varint(b, members.n);
    buf_add_str(b, buf_str(&members));
    buf_reset(&members);
    failed = !traits_pack(&r->traits, &members) && !traits_empty(&r->traits);
    buf_add_varint(b, members.n);
    buf_add_str(b, buf_str(&members));
    failed = failed || members.failed;
    buf_deinit(&members);
    if (failed || !facts_pack(&r->facts, b))
        return -ENOMEM;
    commit_put(c, key_one(KEY_PROFILE, r->node.key), buf_str(b));
    return 0;
}

static int put_meta(struct commit *c)
{
    struct partition *p = c->p;

    buf_reset(&p->scratch);
    if (!meta_write(p, c->number, &p->scratch))
        return -ENOMEM;
    commit_put(c, key_meta(), buf_str(&p->scratch));
    return 0;
}

static int compare_nodes(const void *a, const void *b)
{
    const struct table_node *x = *(const struct table_node *const *)a, *y = *(const struct table_node *const *)b;

    return memcmp(x->key.b, y->key.b, KEY_HASH_BYTES);
}

/* In the order of their keys, so that the batch is nearly sorted. */
static void sort_by_key(struct pointers *v)
{
    _Static_assert(offsetof(struct stream, node) == 0 && offsetof(struct profile, node) == 0, "node first");
    if (v->n > 1)
        qsort(v->v, v->n, sizeof *v->v, compare_nodes);
}

static int fill(struct commit *c)
{
    struct partition *p = c->p;
    int rc = 0;

    sort_by_key(&p->dirty_streams);
    sort_by_key(&p->dirty_profiles);
    for (size_t i = 0; i < p->dirty_streams.n && rc == 0; i++)
        rc = commit_stream(c, p->dirty_streams.v[i]);
    for (size_t i = 0; i < p->dirty_profiles.n && rc == 0; i++)
        rc = put_profile(c, p->dirty_profiles.v[i]);
    if (rc == 0)
        rc = commit_persons(c);
    if (rc == 0)
        rc = commit_orders(c);
    if (rc == 0)
        rc = commit_tombstones(c);
    if (rc == 0)
        rc = commit_graves(c);
    if (rc == 0)
        rc = commit_definitions(c);
    return rc == 0 ? put_meta(c) : rc;
}

/* --- folding anew what could not be kept step by step --------------------------------------------------------- */

void profile_take(struct partition *p, struct profile *r, struct facts *facts, struct traits *traits)
{
    struct facts old = r->facts;
    struct traits was = r->traits;

    r->facts = *facts;
    r->traits = *traits;
    *facts = old;
    *traits = was;
    r->refold = false;
    p->figures.refolds++;
    partition_recount(p, &r->kept);
}

/* A copy: look-ups that fold it put theirs in their place. */
static int keep_traits(struct partition *p, const struct profile *r, struct traits *out)
{
    int rc;

    pthread_mutex_lock(&p->lock);
    rc = traits_copy(&r->traits, out);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

static int refold(struct partition *p, struct profile *r, struct err *e)
{
    struct state_view view;
    struct facts facts;
    struct traits was, traits;
    int rc = state_view(p->state, p->number, r->id, VIEW_PATH | VIEW_ORDERS | VIEW_UNCOUNTED | VIEW_MARKS, &view, e);

    assert(rc != STATE_NOT_FOUND);
    if (rc < 0)
        return rc;
    rc = keep_traits(p, r, &was);
    if (rc == 0)
        rc = state_view_fold_all(&view, p->state->rules, &was, &facts, &traits);
    traits_deinit(&was);
    state_view_free(&view);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&p->lock);
    if (r->refold)
        profile_take(p, r, &facts, &traits);
    pthread_mutex_unlock(&p->lock);
    facts_deinit(&facts);
    traits_deinit(&traits);
    return 0;
}

static int refold_all(struct partition *p, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < p->dirty_profiles.n && rc == 0; i++) {
        struct profile *r = p->dirty_profiles.v[i];
        bool needed;

        pthread_mutex_lock(&p->lock); /* look-ups fold them too */
        needed = r->refold;
        pthread_mutex_unlock(&p->lock);
        if (needed)
            rc = refold(p, r, e);
    }
    return rc;
}

/* --- the steps ------------------------------------------------------------------------------------------------ */

/* From here on views read the batch instead of memory. */
static void change_places(struct partition *p, const struct commit *c, struct interval *fresh)
{
    struct interval *old = p->interval;

    pthread_mutex_lock(&p->lock);
    p->commit = c->number;
    p->interval_number++;
    p->interval = fresh;
    p->figures.commits++;
    p->figures.disk_offset = p->figures.offset;
    pthread_mutex_unlock(&p->lock);
    interval_recycle(fresh, old);
}

/* The lock is for the counts: nobody else reads what settles. */
static void settle_streams(struct partition *p)
{
    for (size_t i = 0; i < p->dirty_streams.n;) {
        pthread_mutex_lock(&p->lock);
        for (size_t end = i + SETTLE_SLICE; i < p->dirty_streams.n && i < end; i++) {
            struct stream *s = p->dirty_streams.v[i];

            stream_settle(s);
            partition_recount(p, &s->kept);
        }
        pthread_mutex_unlock(&p->lock);
    }
}

static void settle(struct partition *p)
{
    settle_streams(p);
    settle_persons(p);
    settle_orders(p);
    settle_tombstones(p);
    settle_graves(p);
    settle_definitions(p);
    p->dirty_streams.n = p->dirty_profiles.n = 0;
}

/* The batch of a busy partition keeps its memory for the next commit. */
static void put_away(struct partition *p, struct store_batch *b)
{
    size_t held = store_batch_bytes(b);

    if (held < p->state->commit_bytes / 4) {
        store_batch_free(b);
        return;
    }
    atomic_store_explicit(&p->batch_held, held, memory_order_relaxed);
    store_batch_clear(b);
    p->batch = b;
}

static int write_batch(struct partition *p, struct err *e)
{
    struct commit c = {.p = p, .batch = p->batch, .number = p->commit + 1, .err = e};
    struct interval *fresh = interval_new();
    int rc = -ENOMEM;

    p->batch = NULL;
    atomic_store_explicit(&p->batch_held, 0, memory_order_relaxed);
    if (!c.batch)
        c.batch = store_batch_new(p->number);
    if (fresh && c.batch)
        rc = fill(&c);
    if (rc == 0)
        rc = store_write(p->state->store, c.batch, e);
    if (c.batch)
        put_away(p, c.batch);
    free(c.entries);
    free(c.sorted);
    if (rc < 0) {
        if (fresh)
            interval_unref(fresh);
        return rc;
    }
    change_places(p, &c, fresh);
    settle(p);
    return 0;
}

int state_commit(struct state *s, uint32_t partition, struct err *e)
{
    struct partition *p = &s->partitions[partition];
    int rc = 0;

    assert(partition < s->partition_count && !s->read_only);
    if (p->cascade.open) {
        err_set(e, "a record is half folded");
        return -EBUSY;
    }
    if (p->figures.offset != p->figures.disk_offset) {
        rc = refold_all(p, e);
        if (rc == 0)
            rc = write_batch(p, e);
    }
    if (rc == 0)
        partition_evict(p);
    return rc;
}

bool state_dirty(struct state *s, uint32_t partition)
{
    struct state_figures f;

    assert(partition < s->partition_count);
    state_figures(s, partition, &f);
    return f.offset != f.disk_offset;
}
