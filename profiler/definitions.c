/* What a partition knows of definitions: all of them stand in memory, the few that there are, and on disk with the
 * offset that they were said at. The worker's thread under the lock; state_definitions from any. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/commit_stream.h"
#include "profiler/state_watch.h"

/* --- finding -------------------------------------------------------------------------------------------------- */

static int compare(const struct definition *d, enum definition_kind kind, struct str name)
{
    return d->kind != kind ? (d->kind < kind ? -1 : 1) : str_cmp(d->name, name);
}

/* Its place, or the one that it would have. */
static size_t place_of(const struct definitions *l, enum definition_kind kind, struct str name)
{
    size_t low = 0, high = l->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare(l->v[middle], kind, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct definition *at(const struct definitions *l, size_t place, enum definition_kind kind, struct str name)
{
    return place < l->n && compare(l->v[place], kind, name) == 0 ? l->v[place] : NULL;
}

static struct definition *definition_new(const struct definition *is)
{
    struct definition *d = malloc(sizeof *d + is->name.n + is->body.n + 1);
    char *behind = (char *)(d + 1);

    if (!d)
        return NULL;
    *d = *is;
    d->name = copy_behind(&behind, is->name);
    d->body = copy_behind(&behind, is->body);
    return d;
}

static size_t bytes_of(const struct definition *d)
{
    return d->name.n + d->body.n;
}

static int reserve(struct definitions *l)
{
    size_t cap = l->cap ? 2 * l->cap : 64;
    struct definition **v;

    if (l->n < l->cap)
        return 0;
    v = malloc(cap * sizeof(*v)); /* who reads has the old list until it is the new one */
    if (!v)
        return -ENOMEM;
    if (l->n)
        memcpy(v, l->v, l->n * sizeof(*v));
    free(l->v);
    l->v = v;
    l->cap = cap;
    return 0;
}

/* Takes `d`; room must be there. With the lock. */
static void put(struct definitions *l, size_t place, struct definition *d)
{
    struct definition *old = at(l, place, d->kind, d->name);

    if (!old) {
        assert(l->n < l->cap);
        memmove(l->v + place + 1, l->v + place, (l->n - place) * sizeof(*l->v));
        l->n++;
    }
    l->v[place] = d;
    l->bytes += bytes_of(d) - (old ? bytes_of(old) : 0);
    l->dirty += d->dirty;
    l->dirty -= old && old->dirty;
    l->changes++;
    free(old);
}

/* --- folding -------------------------------------------------------------------------------------------------- */

/* Of two the later one stands, of one time that with the greater text; what is removed has the least. */
static bool stands(const struct definition *d, const struct command *c)
{
    return d->time != c->time ? d->time > c->time : str_cmp(d->body, c->body) >= 0;
}

static const char *too_much(const struct definitions *l, const struct definition *old, const struct command *c)
{
    if (!old && l->n >= DEFINITIONS_MAX)
        return "there are too many definitions";
    if (l->bytes - (old ? bytes_of(old) : 0) + c->name.n + c->body.n > LIMIT_DEFINITIONS_BYTES)
        return "the definitions take too much memory together";
    return NULL;
}

int define(struct partition *p, const struct command *c, const char **why)
{
    struct definitions *l = &p->definitions;
    size_t place = place_of(l, c->definition, c->name);
    const struct definition *old = at(l, place, c->definition, c->name);
    struct definition *d;
    int rc;

    if (old && stands(old, c))
        return 0;
    *why = too_much(l, old, c);
    if (*why)
        return 0;
    d = definition_new(&(struct definition){c->definition, c->name, c->body, c->time, p->cascade.cause + 1, true});
    pthread_mutex_lock(&p->lock);
    rc = d ? reserve(l) : -ENOMEM;
    if (rc == 0)
        put(l, place, d);
    pthread_mutex_unlock(&p->lock);
    if (rc < 0)
        free(d);
    return rc;
}

/* --- on disk -------------------------------------------------------------------------------------------------- */

static struct key key_of(const struct partition *p, enum definition_kind kind, struct str name)
{
    char bytes[1 + DEFINITION_NAME_BYTES];

    assert(name.n <= DEFINITION_NAME_BYTES);
    bytes[0] = (char)kind;
    memcpy(bytes + 1, name.p, name.n);
    return key_one(KEY_DEFINITION, partition_hash(p, (struct str){bytes, 1 + name.n}));
}

static bool write_definition(const struct definition *d, struct buf *b)
{
    buf_add_varint(b, STATE_FORMAT);
    buf_add_varint(b, d->kind);
    put_text(b, d->name);
    buf_add_svarint(b, d->time);
    buf_add_svarint(b, d->version);
    buf_add_char(b, str_has(d->body));
    return buf_add_str(b, d->body);
}

static bool read_definition(struct str bytes, struct definition *out)
{
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    uint64_t format, kind;

    *out = (struct definition){.body = STR_NONE};
    if (!get_varint(&p, end, &format) || format != STATE_FORMAT || !get_varint(&p, end, &kind) ||
        kind < DEFINITION_AUDIENCE || kind >= DEFINITION_KINDS || !get_text(&p, end, &out->name) || out->name.n == 0 ||
        out->name.n > DEFINITION_NAME_BYTES || !get_svarint(&p, end, &out->time) ||
        !get_svarint(&p, end, &out->version) || p == end)
        return false;
    out->kind = (enum definition_kind)kind;
    if (*p++)
        out->body = (struct str){p, (size_t)(end - p)};
    return out->body.n <= DEFINITION_BODY_BYTES && (str_has(out->body) || p == end);
}

const char *definition_wrong(const struct partition *p, struct str key, struct str value)
{
    struct definition d;
    struct key is;

    if (!read_definition(value, &d))
        return "cannot be read";
    is = key_of(p, d.kind, d.name);
    if (!str_eq(key_str(&is), key))
        return "stands under another key";
    return d.version > p->figures.offset ? "is newer than the state" : NULL;
}

static int take(struct partition *p, struct str key, struct str value, struct err *e)
{
    struct definitions *l = &p->definitions;
    struct definition is, *d;
    size_t place;
    int rc;

    if (definition_wrong(p, key, value))
        return damaged(e, "a definition");
    read_definition(value, &is);
    place = place_of(l, is.kind, is.name);
    d = definition_new(&is);
    pthread_mutex_lock(&p->lock);
    rc = d ? reserve(l) : -ENOMEM;
    if (rc == 0)
        put(l, place, d);
    pthread_mutex_unlock(&p->lock);
    if (rc < 0)
        free(d);
    return rc;
}

int definitions_load(struct partition *p, struct err *e)
{
    return partition_load_rows(p, KEY_DEFINITION, take, e);
}

void definitions_clear(struct partition *p)
{
    struct definitions *l = &p->definitions;

    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    l->n = l->bytes = l->dirty = 0;
    l->changes++;
}

int commit_definitions(struct commit *c)
{
    const struct definitions *l = &c->p->definitions;

    for (size_t i = 0; i < l->n && l->dirty > 0; i++) {
        const struct definition *d = l->v[i];

        if (!d->dirty)
            continue;
        buf_reset(&c->p->scratch);
        if (!write_definition(d, &c->p->scratch))
            return -ENOMEM;
        commit_put(c, key_of(c->p, d->kind, d->name), buf_str(&c->p->scratch));
    }
    return 0;
}

void settle_definitions(struct partition *p)
{
    struct definitions *l = &p->definitions;

    for (size_t i = 0; i < l->n && l->dirty > 0; i++)
        l->v[i]->dirty = false;
    l->dirty = 0;
}

/* --- questions ------------------------------------------------------------------------------------------------ */

static int copy(const struct definition *d, struct arena *a, struct state_definition *out)
{
    *out = (struct state_definition){d->kind, arena_dup(a, d->name), arena_dup(a, d->body), d->time, d->version};
    return out->name.p && out->body.p ? 0 : -ENOMEM;
}

static int copy_all(const struct definitions *l, struct arena *a, struct state_definition **out, size_t *n)
{
    struct state_definition *v = arena_alloc(a, (l->n + 1) * sizeof *v);
    size_t k = 0;
    int rc = v ? 0 : -ENOMEM;

    for (size_t i = 0; i < l->n && rc == 0; i++)
        if (str_has(l->v[i]->body))
            rc = copy(l->v[i], a, &v[k++]);
    if (rc == 0) {
        *out = v;
        *n = k;
    }
    return rc;
}

int state_definitions(struct state *s, uint32_t partition, struct arena *a, struct state_definition **out, size_t *n,
                      uint64_t *changes)
{
    struct partition *p = &s->partitions[partition];
    int rc = 0;

    assert(partition < s->partition_count && (!out || (a && n)));
    pthread_mutex_lock(&p->lock);
    *changes = p->definitions.changes + 1;
    if (out)
        rc = copy_all(&p->definitions, a, out, n);
    pthread_mutex_unlock(&p->lock);
    return rc;
}
