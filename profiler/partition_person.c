/* Devices and accounts in memory: what a partition knows of the identity of those whose home it is. The worker's
 * thread; tables and the ring change under the lock. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/grave_search.h"
#include "profiler/state_private.h"

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct device *kept_device(struct kept *k)
{
    assert(k->kind == KEPT_DEVICE);
    return container(k, struct device, kept);
}

struct account *kept_account(struct kept *k)
{
    assert(k->kind == KEPT_ACCOUNT);
    return container(k, struct account, kept);
}

static void text_free(struct str s)
{
    free((void *)(uintptr_t)s.p);
}

void device_free(struct device *d)
{
    for (size_t i = 0; i < d->user_count; i++)
        text_free(d->users[i].id);
    free(d->users);
    runs_deinit(&d->runs);
    links_deinit(&d->links);
    links_deinit(&d->fresh);
    free(d);
}

void account_free(struct account *a)
{
    for (size_t i = 0; i < a->pair_count; i++)
        text_free(a->pairs[i].device);
    for (size_t i = 0; i < a->order_pair_count; i++)
        text_free(a->order_pairs[i].device);
    free(a->pairs);
    free(a->order_pairs);
    free(a);
}

size_t device_bytes(const struct device *d)
{
    size_t n = sizeof *d + d->id.n + d->user_cap * sizeof *d->users + d->runs.cap * sizeof *d->runs.v;

    for (size_t i = 0; i < d->user_count; i++)
        n += d->users[i].id.n;
    return n + (d->links.cap + d->fresh.cap) * sizeof(struct link);
}

size_t account_bytes(const struct account *a)
{
    size_t n = sizeof *a + a->id.n + a->pair_cap * sizeof *a->pairs + a->order_pair_cap * sizeof *a->order_pairs;

    for (size_t i = 0; i < a->pair_count; i++)
        n += a->pairs[i].device.n;
    for (size_t i = 0; i < a->order_pair_count; i++)
        n += a->order_pairs[i].device.n;
    return n;
}

size_t members_bytes(const struct profile *r)
{
    size_t n = r->member_count * sizeof *r->members;

    for (size_t i = 0; i < r->member_count; i++)
        n += r->members[i].device.n;
    return n;
}

static void touch(struct partition *p, struct kept *k, uint64_t *interval, struct pointers *dirty, void *object)
{
    k->touched = true;
    if (*interval == p->interval_number)
        return;
    if (pointers_reserve(dirty, 1) < 0)
        abort();
    *interval = p->interval_number;
    pointers_add(dirty, object);
}

void device_touch(struct partition *p, struct device *d)
{
    touch(p, &d->kept, &d->interval, &p->dirty_devices, d);
}

void account_touch(struct partition *p, struct account *a)
{
    touch(p, &a->kept, &a->interval, &p->dirty_accounts, a);
}

/* --- what stands on disk -------------------------------------------------------------------------------------- */

/* Of things that are at least a byte each. */
static bool get_count(const char **p, const char *end, size_t *out)
{
    uint64_t n;

    if (!get_varint(p, end, &n) || n > (size_t)(end - *p))
        return false;
    *out = (size_t)n;
    return true;
}

enum {
    USER_BEYOND = 1,
    USER_TOLD = 2,
    USER_GONE = 4,
    DEVICE_CROWDED = 1,
    DEVICE_SHARED = 2,
    PAIR_BY_EVENTS = 1,
    PAIR_BEYOND = 2
};

/* What only erased users had does not say what it was. */
static bool is_named(const struct device *d)
{
    bool named = d->user_count == 0;

    for (size_t i = 0; i < d->user_count; i++)
        named = named || !d->users[i].erased;
    return named;
}

bool device_write(const struct device *d, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    put_text(b, is_named(d) ? d->id : STR_NONE);
    buf_add_varint(b, (d->crowded ? DEVICE_CROWDED : 0) | (d->shared ? DEVICE_SHARED : 0));
    for (int i = 0; i < IDENTITY_FIGURES; i++)
        buf_add_varint(b, d->figures[i]);
    buf_add_varint(b, d->user_count);
    for (size_t i = 0; i < d->user_count; i++) {
        const struct device_user *u = &d->users[i];

        put_text(b, u->id);
        buf_add_varint(b, (u->beyond ? USER_BEYOND : 0) | (u->told ? USER_TOLD : 0) | (u->erased ? USER_GONE : 0));
        put_version(b, u->verdict);
        buf_add_svarint(b, u->unlinked_until);
        buf_add_svarint(b, u->erased_until);
        buf_add(b, u->was.b, sizeof u->was.b);
    }
    buf_add_varint(b, d->runs.n);
    for (size_t i = 0; i < d->runs.n; i++) {
        put_key(b, &d->runs.v[i].from);
        buf_add_varint(b, d->runs.v[i].user);
    }
    return !b->failed;
}

static bool read_user(const char **p, const char *end, struct device_user *out)
{
    struct str id;
    uint64_t flags;

    if (!get_text(p, end, &id) || !get_varint(p, end, &flags) || !get_version(p, end, &out->verdict) ||
        !get_svarint(p, end, &out->unlinked_until) || !get_svarint(p, end, &out->erased_until) ||
        end - *p < (ptrdiff_t)sizeof out->was.b || text_copy(id, &out->id) < 0)
        return false;
    memcpy(out->was.b, *p, sizeof out->was.b);
    *p += sizeof out->was.b;
    out->beyond = flags & USER_BEYOND;
    out->told = flags & USER_TOLD;
    out->erased = flags & USER_GONE;
    return true;
}

static bool read_runs(const char **p, const char *end, struct device *d)
{
    size_t n;
    uint64_t user;

    if (!get_count(p, end, &n))
        return false;
    d->runs.v = calloc(n + 1, sizeof *d->runs.v);
    d->runs.cap = d->runs.v ? n + 1 : 0;
    for (; d->runs.v && d->runs.n < n; d->runs.n++) {
        if (!get_key(p, end, &d->runs.v[d->runs.n].from) || !get_varint(p, end, &user) || user >= d->user_count)
            return false;
        d->runs.v[d->runs.n].user = (uint32_t)user;
    }
    return d->runs.v != NULL;
}

static bool read_figures(const char **p, const char *end, struct device *d)
{
    uint64_t n;

    for (int i = 0; i < IDENTITY_FIGURES; i++) {
        if (!get_varint(p, end, &n) || n > UINT32_MAX)
            return false;
        d->figures[i] = (uint32_t)n;
    }
    return true;
}

int device_unpack(struct str bytes, struct device *d)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, flags;
    struct str id;
    size_t n;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_text(&p, end, &id) ||
        (str_has(id) && !str_eq(id, d->id)) || !get_varint(&p, end, &flags) || !read_figures(&p, end, d) ||
        !get_count(&p, end, &n))
        return -EIO;
    d->crowded = flags & DEVICE_CROWDED;
    d->shared = flags & DEVICE_SHARED;
    d->users = calloc(n + 1, sizeof *d->users);
    if (!d->users)
        return -ENOMEM;
    d->user_cap = n + 1;
    for (; d->user_count < n; d->user_count++)
        if (!read_user(&p, end, &d->users[d->user_count]))
            return -EIO;
    return read_runs(&p, end, d) && p == end ? 0 : -EIO;
}

bool account_write(const struct account *a, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    put_text(b, a->id);
    buf_add_varint(b, a->capped);
    buf_add_varint(b, a->pair_count);
    for (size_t i = 0; i < a->pair_count; i++) {
        const struct pair *pair = &a->pairs[i];

        put_text(b, pair->device);
        buf_add_varint(b, (pair->by_events ? PAIR_BY_EVENTS : 0) | (pair->beyond ? PAIR_BEYOND : 0));
        put_key(b, &pair->evidence);
    }
    buf_add_varint(b, a->order_pair_count);
    for (size_t i = 0; i < a->order_pair_count; i++) {
        const struct order_pair *pair = &a->order_pairs[i];

        put_text(b, pair->device);
        put_key(b, &pair->key);
        buf_add(b, pair->subject.b, UID_BYTES);
        put_version(b, pair->version);
        buf_add_varint(b, pair->removed);
    }
    return !b->failed;
}

static bool read_pairs(const char **p, const char *end, struct account *a, size_t n)
{
    struct str device;
    uint64_t flags;

    for (; a->pair_count < n; a->pair_count++) {
        struct pair *pair = &a->pairs[a->pair_count];

        if (!get_text(p, end, &device) || !get_varint(p, end, &flags) || !get_key(p, end, &pair->evidence) ||
            text_copy(device, &pair->device) < 0)
            return false;
        pair->by_events = flags & PAIR_BY_EVENTS;
        pair->beyond = flags & PAIR_BEYOND;
    }
    return true;
}

static bool read_order_pairs(const char **p, const char *end, struct account *a, size_t n)
{
    struct str device;
    uint64_t removed;

    for (; a->order_pair_count < n; a->order_pair_count++) {
        struct order_pair *pair = &a->order_pairs[a->order_pair_count];

        if (!get_text(p, end, &device) || !get_key(p, end, &pair->key) || !get_uid(p, end, &pair->subject) ||
            !get_version(p, end, &pair->version) || !get_varint(p, end, &removed) ||
            text_copy(device, &pair->device) < 0)
            return false;
        pair->removed = removed != 0;
    }
    return true;
}

int account_read(struct str bytes, struct account *a)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, capped;
    struct str id;
    size_t n;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_text(&p, end, &id) || !str_eq(id, a->id) ||
        !get_varint(&p, end, &capped) || !get_count(&p, end, &n))
        return -EIO;
    a->capped = capped != 0;
    a->pairs = calloc(n + 1, sizeof *a->pairs);
    if (!a->pairs)
        return -ENOMEM;
    a->pair_cap = n + 1;
    if (!read_pairs(&p, end, a, n) || !get_count(&p, end, &n))
        return -EIO;
    a->order_pairs = calloc(n + 1, sizeof *a->order_pairs);
    if (!a->order_pairs)
        return -ENOMEM;
    a->order_pair_cap = n + 1;
    return read_order_pairs(&p, end, a, n) && p == end ? 0 : -EIO;
}

/* --- finding and loading -------------------------------------------------------------------------------------- */

struct device *device_new(const struct partition *p, struct str id)
{
    struct device *d = calloc(1, sizeof *d + id.n + 1);

    if (!d)
        return NULL;
    memcpy(d + 1, id.p, id.n);
    d->id = (struct str){(char *)(d + 1), id.n};
    d->node.key = partition_hash(p, id);
    d->kept.kind = KEPT_DEVICE;
    return d;
}

struct account *account_new(const struct partition *p, struct str id)
{
    struct account *a = calloc(1, sizeof *a + id.n + 1);

    if (!a)
        return NULL;
    memcpy(a + 1, id.p, id.n);
    a->id = (struct str){(char *)(a + 1), id.n};
    a->node.key = partition_hash(p, id);
    a->kept.kind = KEPT_ACCOUNT;
    return a;
}

static int device_fetch(struct partition *p, struct device *d, struct err *e)
{
    struct key key = key_one(KEY_DEVICE, d->node.key);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    d->links_known = rc == STORE_NOT_FOUND;
    if (rc == 0) {
        rc = device_unpack(v.bytes, d);
        store_value_free(&v);
    }
    return rc == -EIO ? damaged(e, "a device") : rc;
}

int partition_device(struct partition *p, struct str id, bool make, struct device **out, struct err *e)
{
    struct key_hash hash = partition_hash(p, id);
    struct table_node *n = table_find(&p->devices, &hash);
    struct stream_id home = {STREAM_STATED, id, STR_NONE};
    char profile[PROFILE_ID_MAX_BYTES];
    struct device *d;
    int rc;

    *out = n ? container(n, struct device, node) : NULL;
    if (n)
        return 0;
    d = device_new(p, id);
    if (!d)
        return -ENOMEM;
    rc = device_fetch(p, d, e);
    if (rc == 0 || (rc == STORE_NOT_FOUND && make))
        rc = partition_keep(p, &p->devices, &d->node, &d->kept);
    if (rc != 0) {
        device_free(d);
        return rc == STORE_NOT_FOUND ? 0 : rc;
    }
    grave_search_add(p, KEY_DEVICE, &d->node.key, profile_id(id, STR_NONE, profile));
    d->stream = partition_find_stream(p, stream_hash(p, &home));
    if (d->stream)
        d->stream->device = d;
    *out = d;
    return 0;
}

static int account_fetch(struct partition *p, struct account *a, struct err *e)
{
    struct key key = key_one(KEY_ACCOUNT, a->node.key);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc == STORE_NOT_FOUND)
        return 0;
    if (rc == 0) {
        rc = account_read(v.bytes, a);
        store_value_free(&v);
    }
    return rc == -EIO ? damaged(e, "the devices of a user") : rc;
}

int partition_account(struct partition *p, struct str id, struct account **out, struct err *e)
{
    struct key_hash hash = partition_hash(p, id);
    struct table_node *n = table_find(&p->accounts, &hash);
    struct account *a;
    int rc;

    if (n) {
        *out = container(n, struct account, node);
        return 0;
    }
    a = account_new(p, id);
    if (!a)
        return -ENOMEM;
    rc = account_fetch(p, a, e);
    if (rc == 0)
        rc = partition_keep(p, &p->accounts, &a->node, &a->kept);
    if (rc < 0) {
        account_free(a);
        return rc;
    }
    *out = a;
    return 0;
}

/* --- links ---------------------------------------------------------------------------------------------------- */

static int read_links(struct device *d, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    struct link link;

    while (p < end) {
        if (!link_read(&p, end, &link) || link.user >= d->user_count)
            return -EIO;
        if (links_add(&d->links, &link) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_fresh(struct device *d)
{
    for (size_t i = 0; i < d->fresh.n; i++)
        if (links_add(&d->links, &d->fresh.v[i]) < 0)
            return -ENOMEM;
    return 0;
}

int device_load_links(struct partition *p, struct device *d, struct err *e)
{
    struct key prefix = key_one(KEY_LINKS, d->node.key);
    struct store_iter *it;
    struct str key, value;
    uint32_t parts = 0;
    int rc = 0;

    if (d->links_known)
        return 0;
    d->links.n = 0;
    it = store_iter_new(p->state->store, p->number, NULL, true);
    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        parts++;
        rc = read_links(d, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    if (rc == 0)
        rc = add_fresh(d);
    links_settle(&d->links);
    d->link_parts = parts;
    d->links_known = rc == 0;
    return rc == -EIO ? damaged(e, "the links of a device") : rc;
}
