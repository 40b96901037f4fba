/* What a partition knows of those who were erased: tombstones, which are kept for ever and stand in memory, and where
 * the bytes of what was erased may still be. The worker's thread under the lock; state_erase.c has what others ask. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/commit_stream.h"
#include "profiler/erased.h"
#include "profiler/order_doc.h"

/* Of the shop's key where there is none. */
static const unsigned char no_key[ERASURE_KEY_BYTES];

struct key_hash erasure_hash(const struct partition *p, struct str profile)
{
    const unsigned char *key = p->state->rules->erasure_key;

    return key_hash_erasure(key ? key : no_key, profile);
}

static struct tombstone *find(const struct partition *p, const struct key_hash *hash)
{
    _Static_assert(offsetof(struct tombstone, node) == 0, "a node is its tombstone");
    return (struct tombstone *)table_find(&p->erased.tombstones, hash);
}

struct tombstone *tombstone_find(const struct partition *p, struct str profile)
{
    struct key_hash hash;

    if (p->erased.tombstones.count == 0)
        return NULL;
    hash = erasure_hash(p, profile);
    return find(p, &hash);
}

bool user_is_erased(const struct partition *p, struct str user, int64_t time)
{
    char buf[PROFILE_ID_MAX_BYTES];
    const struct tombstone *t = tombstone_find(p, profile_id(STR_NONE, user, buf));

    return t && time <= t->is.until;
}

/* --- commands by their places --------------------------------------------------------------------------------- */

/* Room for those of one more tombstone. */
static int reserve_commands(struct partition *p)
{
    struct erased *x = &p->erased;
    size_t cap = x->command_cap ? 2 * x->command_cap : 64;
    struct erased_command *v = NULL;

    if (x->command_count + TOMBSTONE_COMMANDS <= x->command_cap)
        return 0;
    pthread_mutex_lock(&p->lock);
    v = realloc(x->commands, cap * sizeof *v);
    if (v) {
        x->commands = v;
        x->command_cap = cap;
    }
    pthread_mutex_unlock(&p->lock);
    return v ? 0 : -ENOMEM;
}

static void add_command(struct erased *x, struct tombstone *t, int64_t at)
{
    assert(x->command_count < x->command_cap);
    x->commands[x->command_count++] = (struct erased_command){at, t};
}

void tombstone_command(struct partition *p, struct tombstone *t, int64_t at)
{
    const struct erased *x = &p->erased;

    assert(x->command_count == 0 || x->commands[x->command_count - 1].at < at);
    memmove(t->commands + 1, t->commands, sizeof t->commands - sizeof *t->commands);
    t->commands[0] = at;
    add_command(&p->erased, t, at);
}

static int compare_commands(const void *a, const void *b)
{
    const struct erased_command *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

const struct tombstone *tombstone_of(const struct partition *p, int64_t at)
{
    const struct erased *x = &p->erased;
    const struct erased_command key = {.at = at};
    const struct erased_command *c =
        x->command_count ? bsearch(&key, x->commands, x->command_count, sizeof *x->commands, compare_commands) : NULL;

    for (int i = 0; c && i < TOMBSTONE_COMMANDS; i++)
        if (c->tombstone->commands[i] == at)
            return c->tombstone;
    return NULL;
}

/* --- tombstones ----------------------------------------------------------------------------------------------- */

struct tombstone *tombstone_make(struct partition *p, struct key_hash hash)
{
    struct tombstone *t = find(p, &hash);
    int rc = pointers_reserve(&p->erased.dirty, 1);

    if (rc == 0)
        rc = reserve_commands(p);
    if (t || rc < 0)
        return rc < 0 ? NULL : t;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->node.key = hash;
    t->is.until = INT64_MIN;
    memcpy(t->is.hash, hash.b, sizeof t->is.hash);
    pthread_mutex_lock(&p->lock);
    rc = table_add(&p->erased.tombstones, &t->node);
    pthread_mutex_unlock(&p->lock);
    if (rc < 0) {
        free(t);
        return NULL;
    }
    return t;
}

void tombstone_touch(struct partition *p, struct tombstone *t)
{
    if (t->interval == p->interval_number)
        return;
    t->interval = p->interval_number;
    pointers_add(&p->erased.dirty, t);
}

/* --- where the bytes may still be ----------------------------------------------------------------------------- */

void erased_mark(struct partition *p)
{
    if (p->erased.through <= p->cascade.cause)
        p->erased.through = p->cascade.cause + 1;
}

static bool grow(void **v, size_t *cap, size_t size)
{
    size_t more = *cap ? 2 * *cap : 64;
    void *p = more <= LIMIT_ERASED_NOTES ? realloc(*v, more * size) : NULL;

    if (!p)
        return false;
    *v = p;
    *cap = more;
    return true;
}

void erased_profile(struct partition *p, struct str id)
{
    struct erased *x = &p->erased;
    struct str copy;

    if (x->profile_count == x->profile_cap && !grow((void **)&x->profiles, &x->profile_cap, sizeof *x->profiles))
        return;
    if (text_copy(id, &copy) == 0)
        x->profiles[x->profile_count++] = copy;
}

void erased_emptied(struct partition *p, struct profile *r)
{
    if (pointers_reserve(&p->erased.emptied, 1) < 0)
        abort();
    pointers_add(&p->erased.emptied, r);
}

int profile_was_erased(struct partition *p, struct str id, bool *out, struct err *e)
{
    struct device *d = NULL;
    int rc = 0;

    *out = tombstone_find(p, id) != NULL;
    if (!*out && p->erased.through > 0 && str_starts(id, STR_LIT("anon:")))
        rc = partition_device(p, profile_log_key(id), false, &d, e);
    for (size_t i = 0; d && i < d->user_count; i++)
        *out = *out || d->users[i].erased;
    return rc;
}

static int count_order(struct partition *p, struct str doc, uint64_t *out)
{
    struct order_parts parts;
    int rc;

    arena_reset(&p->arena_other);
    rc = order_doc_read(doc, &p->arena_other, 0, &parts);
    *out += rc == 0 && parts.count > 0;
    return rc;
}

static bool is_dirty(const struct partition *p, const struct profile *r, struct str key)
{
    struct key_hash profile, order;

    if (!profile_current(p, r) || !key_read_two(key, KEY_ORDER, &profile, &order))
        return false;
    for (const struct kept_order *o = r->dirty_orders; o; o = o->next_dirty)
        if (key_hash_eq(&o->order, &order))
            return true;
    return false;
}

int profile_orders(struct partition *p, const struct profile *r, uint64_t *out, struct err *e)
{
    struct key prefix = key_one(KEY_ORDER, r->node.key);
    struct store_iter *it = store_iter_new(p->state->store, p->number, NULL, true);
    struct str key, value;
    int rc = 0;

    *out = 0;
    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        if (!is_dirty(p, r, key))
            rc = count_order(p, value, out);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    for (const struct kept_order *o = profile_current(p, r) ? r->dirty_orders : NULL; o && rc == 0; o = o->next_dirty)
        rc = count_order(p, (struct str){o->doc->bytes, o->doc->n}, out);
    return rc == -EIO ? damaged(e, "an order") : rc;
}

/* --- on disk -------------------------------------------------------------------------------------------------- */

static bool write_tombstone(const struct tombstone *t, struct buf *b)
{
    const struct state_erasure *is = &t->is;

    buf_add_varint(b, STATE_FORMAT);
    for (int i = 0; i < TOMBSTONE_COMMANDS; i++)
        buf_add_svarint(b, t->commands[i]);
    buf_add_svarint(b, is->time);
    buf_add_svarint(b, is->until);
    buf_add(b, is->alias, sizeof is->alias);
    buf_add_varint(b, is->events);
    buf_add_varint(b, is->devices);
    return buf_add_varint(b, is->orders);
}

static bool read_tombstone(struct str bytes, struct tombstone *t)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    struct state_erasure *is = &t->is;
    uint64_t format;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT)
        return false;
    for (int i = 0; i < TOMBSTONE_COMMANDS; i++)
        if (!get_svarint(&p, end, &t->commands[i]))
            return false;
    if (!get_svarint(&p, end, &is->time) || !get_svarint(&p, end, &is->until) || end - p < (ptrdiff_t)sizeof is->alias)
        return false;
    memcpy(is->alias, p, sizeof is->alias);
    p += sizeof is->alias;
    return get_varint(&p, end, &is->events) && get_varint(&p, end, &is->devices) && get_varint(&p, end, &is->orders) &&
           p == end;
}

static int take_tombstone(struct partition *p, struct str key, struct str value, struct err *e)
{
    struct tombstone *t;
    struct key_hash hash;

    if (key.n != KEY_PREFIX_BYTES)
        return damaged(e, "that somebody was erased");
    memcpy(hash.b, key.p + 1, sizeof hash.b);
    t = tombstone_make(p, hash);
    if (!t)
        return -ENOMEM;
    if (!read_tombstone(value, t))
        return damaged(e, "that somebody was erased");
    for (int i = 0; i < TOMBSTONE_COMMANDS; i++)
        if (t->commands[i])
            add_command(&p->erased, t, t->commands[i]);
    return 0;
}

int erased_load(struct partition *p, struct err *e)
{
    int rc = partition_load_rows(p, KEY_TOMBSTONE, take_tombstone, e);

    if (p->erased.command_count > 1)
        qsort(p->erased.commands, p->erased.command_count, sizeof *p->erased.commands, compare_commands);
    return rc;
}

static void free_notes(struct erased *x)
{
    for (size_t i = 0; i < x->profile_count; i++)
        free((void *)(uintptr_t)x->profiles[i].p);
    free(x->profiles);
}

static void free_tombstone(struct table_node *n)
{
    free(n);
}

void erased_deinit(struct erased *x)
{
    table_drain(&x->tombstones, free_tombstone);
    table_deinit(&x->tombstones);
    free(x->dirty.v);
    free(x->emptied.v);
    free(x->commands);
    free_notes(x);
    *x = (struct erased){0};
}

static int take_order(struct commit *c, const struct profile *r, struct str key, struct str doc)
{
    uint64_t stands = 0;
    int rc = is_dirty(c->p, r, key) ? 0 : count_order(c->p, doc, &stands);

    if (rc == 0 && stands == 0 && !is_dirty(c->p, r, key))
        store_batch_delete(c->batch, key);
    return rc;
}

static int take_orders(struct commit *c, const struct profile *r)
{
    struct key prefix = key_one(KEY_ORDER, r->node.key);
    struct store_iter *it = store_iter_new(c->p->state->store, c->p->number, NULL, true);
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        rc = take_order(c, r, key, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, c->err);
    store_iter_free(it);
    return rc;
}

int commit_tombstones(struct commit *c)
{
    struct pointers *emptied = &c->p->erased.emptied;
    struct pointers *dirty = &c->p->erased.dirty;

    for (size_t i = 0; i < dirty->n; i++) {
        const struct tombstone *t = dirty->v[i];

        buf_reset(&c->p->scratch);
        if (!write_tombstone(t, &c->p->scratch))
            return -ENOMEM;
        commit_put(c, key_one(KEY_TOMBSTONE, t->node.key), buf_str(&c->p->scratch));
    }
    for (size_t i = 0; i < emptied->n; i++) {
        int rc = take_orders(c, emptied->v[i]);

        if (rc < 0)
            return rc;
    }
    return 0;
}

void settle_tombstones(struct partition *p)
{
    p->erased.dirty.n = p->erased.emptied.n = 0;
}
