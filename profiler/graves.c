/* The rows of graves: by the hash of a device what the log says of it, as long as nobody has spoken of it by its name;
 * by the hash of a record that this partition said it, until it is read back. The worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/commit_stream.h"
#include "profiler/erased.h"
#include "profiler/grave.h"
#include "profiler/grave_search.h"

int graves_init(struct graves *g)
{
    *g = (struct graves){0};
    return table_init(&g->table);
}

static void free_grave(struct table_node *n)
{
    _Static_assert(offsetof(struct grave, node) == 0, "a node is its grave");
    free(((struct grave *)n)->v);
    free(n);
}

void graves_deinit(struct graves *g)
{
    table_drain(&g->table, free_grave);
    table_deinit(&g->table);
    assert(!g->names);
    free(g->dirty.v);
    *g = (struct graves){0};
}

struct grave *graves_find(const struct partition *p, const struct key_hash *hash)
{
    struct grave *g = p->graves.table.count ? (struct grave *)table_find(&p->graves.table, hash) : NULL;

    return g && !g->gone ? g : NULL;
}

static void touch(struct partition *p, struct grave *g)
{
    if (!g->dirty)
        pointers_add(&p->graves.dirty, g);
    g->dirty = true;
}

static void count(struct partition *p, const struct grave *g, size_t n)
{
    if (g->kind == GRAVE_WAITS)
        p->graves.waiting += n;
    else if (g->kind == GRAVE_HOLDS)
        p->graves.held += n;
}

struct grave *graves_make(struct partition *p, const struct key_hash *hash, enum grave_kind kind)
{
    struct grave *g = (struct grave *)table_find(&p->graves.table, hash);

    if ((g && !g->gone) || pointers_reserve(&p->graves.dirty, 1) < 0)
        return g && !g->gone ? g : NULL;
    if (!g) {
        g = calloc(1, sizeof *g);
        if (!g)
            return NULL;
        g->node.key = *hash;
        if (table_add(&p->graves.table, &g->node) < 0) {
            free(g);
            return NULL;
        }
    }
    if (!g->v) {
        g->v = malloc(1);
        g->n = 0;
    }
    if (!g->v)
        return NULL;
    g->gone = false;
    g->kind = kind;
    count(p, g, 1);
    touch(p, g);
    return g;
}

/* Memory that is out ends the process: what was worked off must not be worked off again. */
void graves_drop(struct partition *p, struct grave *g)
{
    if (pointers_reserve(&p->graves.dirty, 1) < 0)
        abort();
    count(p, g, (size_t)-1);
    g->gone = true;
    free(g->v);
    g->v = NULL;
    g->n = 0;
    touch(p, g);
}

/* --- records -------------------------------------------------------------------------------------------------- */

bool graves_next(const char **p, const char *end, struct str *record)
{
    uint64_t n;

    if (*p == end || !get_varint(p, end, &n) || n > (size_t)(end - *p))
        return false;
    *record = (struct str){*p, (size_t)n};
    *p += n;
    return true;
}

static bool has(const struct grave *g, struct str record)
{
    const char *p = g->v, *end = g->v + g->n;
    struct str there;

    while (graves_next(&p, end, &there))
        if (str_eq(there, record))
            return true;
    return false;
}

int graves_add(struct partition *p, struct grave *g, struct str record)
{
    struct buf b;
    char *v;

    if (has(g, record))
        return 0;
    buf_init(&b, 16);
    if (pointers_reserve(&p->graves.dirty, 1) < 0 || !buf_add_varint(&b, record.n) ||
        !(v = realloc(g->v, g->n + b.n + record.n))) {
        buf_deinit(&b);
        return -ENOMEM;
    }
    g->v = v;
    memcpy(v + g->n, b.p, b.n);
    memcpy(v + g->n + b.n, record.p, record.n);
    g->n += b.n + record.n;
    buf_deinit(&b);
    touch(p, g);
    return 0;
}

/* --- on disk -------------------------------------------------------------------------------------------------- */

static bool read_row(struct str bytes, enum grave_kind *kind, struct str *records)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, number;

    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_varint(&p, end, &number) ||
        number > GRAVE_HOLDS)
        return false;
    *kind = (enum grave_kind)number;
    *records = (struct str){p, (size_t)(end - p)};
    return true;
}

int graves_fetch(struct partition *p, struct grave *g, struct err *e)
{
    struct key key = key_one(KEY_GRAVE, g->node.key);
    struct store_value v = {0};
    struct str records;
    enum grave_kind kind;
    int rc = g->v ? 1 : store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc > 0 && !g->v ? damaged(e, "what is left of an erased person's device") : rc < 0 ? rc : 0;
    if (!read_row(v.bytes, &kind, &records))
        rc = damaged(e, "what is left of an erased person's device");
    g->v = rc == 0 ? malloc(records.n + 1) : NULL;
    if (rc == 0 && !g->v)
        rc = -ENOMEM;
    if (rc == 0) {
        memcpy(g->v, records.p, records.n);
        g->n = records.n;
    }
    store_value_free(&v);
    return rc;
}

static int take(struct partition *p, struct str key, struct str value, struct err *e)
{
    struct key_hash hash;
    struct str records;
    struct grave *g;
    enum grave_kind kind;

    if (key.n != KEY_PREFIX_BYTES || !read_row(value, &kind, &records))
        return damaged(e, "what is left of an erased person's device");
    memcpy(hash.b, key.p + 1, sizeof hash.b);
    g = graves_make(p, &hash, kind);
    if (!g)
        return -ENOMEM;
    free(g->v);
    g->v = NULL;
    g->dirty = false;
    p->graves.dirty.n = 0;
    return 0;
}

int graves_load(struct partition *p, struct err *e)
{
    return partition_load_rows(p, KEY_GRAVE, take, e);
}

int commit_graves(struct commit *c)
{
    struct pointers *dirty = &c->p->graves.dirty;

    for (size_t i = 0; i < dirty->n; i++) {
        const struct grave *g = dirty->v[i];
        struct key key = key_one(KEY_GRAVE, g->node.key);

        if (g->gone) {
            store_batch_delete(c->batch, key_str(&key));
            continue;
        }
        buf_reset(&c->p->scratch);
        buf_add_varint(&c->p->scratch, STATE_FORMAT);
        buf_add_varint(&c->p->scratch, g->kind);
        if (!buf_add(&c->p->scratch, g->v, g->n))
            return -ENOMEM;
        commit_put(c, key, buf_str(&c->p->scratch));
    }
    return 0;
}

void settle_graves(struct partition *p)
{
    for (size_t i = 0; i < p->graves.dirty.n; i++) {
        struct grave *g = p->graves.dirty.v[i];

        g->dirty = false;
        if (g->gone) {
            table_remove(&p->graves.table, &g->node);
            free_grave(&g->node);
            continue;
        }
        free(g->v);
        g->v = NULL;
        g->n = 0;
    }
    p->graves.dirty.n = 0;
    grave_search_settle(p);
}
