/* Copies of devices for look-ups. Under the partition's lock only bytes are copied and a snapshot is made; what stands
 * on disk is read from that. */
#include "profiler/device_copy.h"

#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"

/* A link is a statement of an event, and a device may have any number. */
#define MOST_LINKS 500000
#define COPY_BYTES (256 * MIB)

/* --- under the lock ------------------------------------------------------------------------------------------- */

struct seen {
    struct buf device, fresh; /* as they are on disk; empty when memory does not know the device */
    bool device_known, profile_known;
};

static void see_device(struct partition *p, struct key_hash hash, struct seen *out)
{
    struct table_node *n = table_find(&p->devices, &hash);
    const struct device *d = (const struct device *)n;

    _Static_assert(offsetof(struct device, node) == 0, "a node is its device");
    out->device_known = d != NULL;
    if (!d)
        return;
    device_write(d, &out->device);
    for (size_t i = 0; i < d->fresh.n; i++)
        link_write(&d->fresh.v[i], &out->fresh);
}

static void see_profile(struct device_copy *c, struct str id, struct seen *out)
{
    const struct profile *r = partition_find_profile(c->p, partition_hash(c->p, id));

    out->profile_known = r && r->version > 0;
    c->profile = out->profile_known;
    if (out->profile_known && str_has(r->user))
        c->user = arena_dup(&c->arena, r->user);
}

static int see_home(struct device_copy *c)
{
    const struct stream *s = partition_find_stream(c->p, c->stream);
    size_t n = 0;

    if (!s || !stream_current(c->p, s))
        return 0;
    c->entries = s->entries;
    c->rewritten = s->rewritten;
    for (const struct gone *g = s->gone; g; g = g->next)
        n++;
    c->gone = arena_alloc(&c->arena, (n + 1) * sizeof *c->gone);
    if (!c->gone)
        return -ENOMEM;
    for (const struct gone *g = s->gone; g; g = g->next)
        c->gone[c->gone_count++] = g->key;
    return 0;
}

static int see(struct device_copy *c, struct key_hash hash, struct str profile, struct seen *out)
{
    struct partition *p = c->p;
    int rc;

    pthread_mutex_lock(&p->lock);
    see_device(p, hash, out);
    see_profile(c, profile, out);
    rc = see_home(c);
    c->seen = p->changes;
    c->commit = p->commit;
    c->interval = p->interval;
    interval_ref(c->interval);
    c->snap = store_snapshot_new(p->state->store);
    pthread_mutex_unlock(&p->lock);
    return rc < 0 || !c->snap || out->device.failed || out->fresh.failed ? -ENOMEM : 0;
}

/* --- from disk ------------------------------------------------------------------------------------------------ */

static int get(const struct device_copy *c, enum key_kind kind, struct key_hash hash, struct store_value *v,
               struct err *e)
{
    struct key key = key_one(kind, hash);

    return store_get(c->p->state->store, c->p->number, key_str(&key), c->snap, v, e);
}

static int make_device(struct device_copy *c, struct str id, struct str bytes)
{
    c->device = device_new(c->p, id);
    return c->device ? device_unpack(bytes, c->device) : -ENOMEM;
}

static int load_device(struct device_copy *c, struct key_hash hash, struct str id, const struct seen *seen,
                       struct err *e)
{
    struct store_value v = {0};
    int rc;

    if (seen->device_known) {
        rc = make_device(c, id, buf_str(&seen->device));
    } else {
        rc = get(c, KEY_DEVICE, hash, &v, e);
        if (rc == STORE_NOT_FOUND)
            return 0;
        if (rc == 0)
            rc = make_device(c, id, v.bytes);
        store_value_free(&v);
    }
    return rc == -EIO ? damaged(e, "a device") : rc;
}

static int load_profile(struct device_copy *c, struct str id, struct err *e)
{
    struct profile_record record;
    struct store_value v = {0};
    int rc = get(c, KEY_PROFILE, partition_hash(c->p, id), &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 0 : rc;
    if (profile_record_read(v.bytes, &record) < 0) {
        rc = damaged(e, "a profile");
    } else {
        c->profile = true;
        if (str_has(record.user))
            c->user = arena_dup(&c->arena, record.user);
    }
    store_value_free(&v);
    return rc;
}

/* --- links ---------------------------------------------------------------------------------------------------- */

static int add_links(struct device_copy *c, struct str value)
{
    const char *p = value.p, *end = value.p + value.n;
    struct link link;
    int rc = 0;

    while (p < end && rc == 0) {
        if (!link_read(&p, end, &link))
            return -EIO;
        if (c->device->links.n == MOST_LINKS)
            c->links_cut = true;
        else if (link.user < c->device->user_count) /* else it was said after the moment of this copy */
            rc = links_add(&c->device->links, &link);
    }
    return rc;
}

static int load_parts(struct device_copy *c, struct err *e)
{
    struct key prefix = key_one(KEY_LINKS, c->device->node.key);
    struct store_iter *it = store_iter_new(c->p->state->store, c->p->number, c->snap, true);
    struct str key, value;
    int rc = 0;

    if (!it)
        return -ENOMEM;
    for (store_iter_seek(it, key_str(&prefix)); rc == 0 && store_iter_at(it, &key, &value); store_iter_next(it)) {
        if (!str_starts(key, key_str(&prefix)))
            break;
        rc = add_links(c, value);
    }
    if (rc == 0)
        rc = store_iter_status(it, e);
    store_iter_free(it);
    return rc;
}

static int load_links(struct device_copy *c, const struct seen *seen, struct err *e)
{
    int rc = load_parts(c, e);

    if (rc == 0)
        rc = add_links(c, buf_str(&seen->fresh));
    if (rc == -EIO)
        return damaged(e, "the links of a device");
    links_settle(&c->device->links);
    return rc;
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    return event_key_cmp(a, b);
}

static int load(struct device_copy *c, struct str id, struct seen *seen, struct err *e)
{
    struct stream_id home = {STREAM_STATED, id, STR_NONE};
    char buf[PROFILE_ID_MAX_BYTES];
    struct str profile = profile_id(id, STR_NONE, buf);
    struct key_hash hash = partition_hash(c->p, id);
    int rc;

    c->stream = stream_hash(c->p, &home);
    rc = see(c, hash, profile, seen);
    if (rc == 0 && c->gone_count > 1)
        qsort(c->gone, c->gone_count, sizeof *c->gone, compare_keys);
    if (rc == 0)
        rc = load_device(c, hash, id, seen, e);
    if (rc == 0 && c->device)
        rc = load_links(c, seen, e);
    if (rc == 0 && !seen->profile_known)
        rc = load_profile(c, profile, e);
    return rc;
}

int device_copy_open(struct state *s, uint32_t partition, struct str id, struct device_copy *out, struct err *e)
{
    struct seen seen = {0};
    int rc;

    *out = (struct device_copy){.p = &s->partitions[partition]};
    arena_init(&out->arena, SIZE_MAX);
    buf_init(&seen.device, COPY_BYTES);
    buf_init(&seen.fresh, COPY_BYTES);
    pthread_rwlock_rdlock(&out->p->place);
    rc = load(out, id, &seen, e);
    buf_deinit(&seen.device);
    buf_deinit(&seen.fresh);
    return rc;
}

void device_copy_close(struct device_copy *c)
{
    store_snapshot_free(c->p->state->store, c->snap);
    if (c->interval)
        interval_unref(c->interval);
    pthread_rwlock_unlock(&c->p->place);
    if (c->device)
        device_free(c->device);
    arena_deinit(&c->arena);
}

/* --- events --------------------------------------------------------------------------------------------------- */

struct event_visit {
    const struct device_copy *copy;
    device_event *each;
    void *arg;
    bool stopped;
};

static int visit_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct event_visit *v = arg;
    const struct device_copy *c = v->copy;
    struct chunk_reader r;
    struct chunk_entry e;
    int rc = 0;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (rc == 0 && chunk_next(&r, &e))
        if (!c->gone_count || !bsearch(&e.key, c->gone, c->gone_count, sizeof *c->gone, compare_keys))
            rc = v->each(v->arg, &e.key, e.flags, e.bytes);
    v->stopped = rc > 0;
    return rc != 0 ? rc : r.left ? -EIO : 0;
}

int device_copy_events(const struct device_copy *c, device_event *each, void *arg, struct err *e)
{
    struct event_visit v = {c, each, arg, false};
    struct chunk_range range = {c->stream, INT64_MIN, INT64_MAX, c->commit};
    int rc = c->rewritten ? 0 : chunks_visit(c->p->state, c->p->number, c->snap, &range, visit_chunk, &v, e);

    if (rc == -EIO)
        return damaged(e, "an event of a device");
    for (const struct entry *n = c->entries; n && rc == 0 && !v.stopped; n = n->next) {
        uint64_t dead_at = atomic_load_explicit(&n->dead_at, memory_order_relaxed);

        if (dead_at == 0 || dead_at > c->seen) {
            rc = each(arg, &n->key, n->flags, entry_bytes(n));
            v.stopped = rc > 0;
        }
    }
    return rc < 0 ? rc : 0;
}

/* --- what counts ---------------------------------------------------------------------------------------------- */

void device_count_users(const struct device *d, size_t *all, size_t *by_events)
{
    bool *named = calloc(2 * d->user_count + 1, sizeof *named), *stated = named + d->user_count;

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
    free(named);
}

void device_weigh(const struct device_copy *c, size_t events, struct device_weight *out)
{
    const struct device *d = c->device;
    const struct fold_rules *rules = c->p->state->rules;

    *out = (struct device_weight){0};
    device_count_users(d, &out->users, &out->by_events);
    out->shared = d->crowded || out->users > identity_max_users(rules) || events > identity_max_events(rules);
}
