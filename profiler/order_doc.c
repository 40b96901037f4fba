/* An order at its owner: its statements and what was taken back of them, as one value that is made anew for each
 * change, so that a view can hold on to it. The worker makes it; reading is anybody's. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/order_doc.h"
#include "proto/codec.h"

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* --- the value ------------------------------------------------------------------------------------------------ */

struct order_doc *order_doc_new(struct str bytes)
{
    struct order_doc *d = malloc(sizeof *d + bytes.n);

    if (!d)
        return NULL;
    atomic_init(&d->refs, 1);
    d->n = bytes.n;
    if (bytes.n)
        memcpy(d->bytes, bytes.p, bytes.n);
    return d;
}

struct order_doc *order_doc_ref(struct order_doc *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

void order_doc_unref(struct order_doc *d)
{
    if (d && atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        free(d);
}

static bool read_head(const char **p, const char *end, struct order_parts *out)
{
    uint64_t format;

    return get_varint(p, end, &format) && format == STATE_FORMAT && get_text(p, end, &out->owner) &&
           profile_id_valid(out->owner) && get_text(p, end, &out->order_id) && str_has(out->order_id) &&
           get_version(p, end, &out->floor);
}

static bool read_markers(const char **p, const char *end, struct order_parts *out)
{
    for (size_t i = 0; i < out->marker_count; i++) {
        struct order_marker *m = &out->markers[i];

        if (!get_uid(p, end, &m->uid) || !get_version(p, end, &m->version))
            return false;
    }
    return true;
}

static bool read_statements(const char **p, const char *end, struct order_parts *out)
{
    struct chunk_reader r;
    size_t i = 0;

    for (size_t k = 0; k < out->count; k++)
        if (!get_version(p, end, &out->versions[k]))
            return false;
    if (out->count == 0)
        return *p == end;
    if (!chunk_open((struct str){*p, (size_t)(end - *p)}, &r) || r.left != out->count)
        return false;
    while (i < out->count && chunk_next(&r, &out->statements[i]))
        i++;
    return i == out->count;
}

int order_doc_read(struct str bytes, struct arena *a, size_t more, struct order_parts *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t markers, count;

    if (!read_head(&p, end, out) || !get_varint(&p, end, &markers) || markers > bytes.n ||
        !get_varint(&p, end, &count) || count > bytes.n)
        return -EIO;
    out->marker_count = (size_t)markers;
    out->count = (size_t)count;
    if (order_parts_alloc(out, a, more) < 0)
        return -ENOMEM;
    return read_markers(&p, end, out) && read_statements(&p, end, out) ? 0 : -EIO;
}

int order_parts_alloc(struct order_parts *out, struct arena *a, size_t more)
{
    out->markers = arena_alloc(a, (out->marker_count + more + 1) * sizeof *out->markers);
    out->statements = arena_alloc(a, (out->count + more + 1) * sizeof *out->statements);
    out->versions = arena_alloc(a, (out->count + more + 1) * sizeof *out->versions);
    return out->markers && out->statements && out->versions ? 0 : -ENOMEM;
}

bool order_doc_write(const struct order_parts *parts, struct arena *a, struct buf *b)
{
    const struct chunk_entry **v = arena_alloc(a, (parts->count + 1) * sizeof(*v));

    if (!v)
        return false;
    for (size_t i = 0; i < parts->count; i++)
        v[i] = &parts->statements[i];
    buf_add_varint(b, STATE_FORMAT);
    put_text(b, parts->owner);
    put_text(b, parts->order_id);
    put_version(b, parts->floor);
    buf_add_varint(b, parts->marker_count);
    buf_add_varint(b, parts->count);
    for (size_t i = 0; i < parts->marker_count; i++) {
        buf_add(b, parts->markers[i].uid.b, UID_BYTES);
        put_version(b, parts->markers[i].version);
    }
    for (size_t i = 0; i < parts->count; i++)
        put_version(b, parts->versions[i]);
    return parts->count > 0 ? chunk_write(v, parts->count, b) : !b->failed;
}

int order_parts_build(const struct order_parts *parts, const struct fold_rules *rules, struct arena *a,
                      struct order *out)
{
    struct event *events = arena_alloc(a, parts->count * sizeof *events);
    const struct event **v = arena_alloc(a, parts->count * sizeof(*v));

    assert(parts->count > 0);
    if (!events || !v)
        return -ENOMEM;
    for (size_t i = 0; i < parts->count; i++) {
        int rc = event_unpack(parts->statements[i].bytes, a, &events[i]);

        if (rc != CODEC_OK)
            return rc == -ENOMEM ? rc : -EIO;
        v[i] = &events[i];
    }
    return order_build(v, parts->count, rules, a, out);
}

/* --- in memory ------------------------------------------------------------------------------------------------ */

struct kept_order *kept_order_of(struct kept *k)
{
    assert(k->kind == KEPT_ORDER);
    return container(k, struct kept_order, kept);
}

size_t order_bytes(const struct kept_order *o)
{
    return sizeof *o + (o->doc ? o->doc->n : 0);
}

void order_free(struct kept_order *o)
{
    order_doc_unref(o->doc);
    free(o);
}

static int order_load(struct partition *p, struct kept_order *o, struct err *e)
{
    struct key key = key_two(KEY_ORDER, o->profile, o->order);
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? 0 : rc;
    o->doc = order_doc_new(v.bytes);
    store_value_free(&v);
    return o->doc ? 0 : -ENOMEM;
}

int partition_order(struct partition *p, struct key_hash profile, struct key_hash order, struct kept_order **out,
                    struct err *e)
{
    struct key_hash both = key_hash_pair(&p->secret, profile, order);
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
    o->profile = profile;
    o->order = order;
    o->kept.kind = KEPT_ORDER;
    rc = order_load(p, o, e);
    if (rc == 0)
        rc = partition_keep(p, &p->orders, &o->node, &o->kept);
    if (rc < 0) {
        order_free(o);
        return rc;
    }
    *out = o;
    return 0;
}
