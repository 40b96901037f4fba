/* Streams from which something was erased: what stays is put into memory whole, as if it had just come, and what is on
 * disk of the stream goes with the next commit. The worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/erased.h"

struct gather {
    struct stream *s;
    struct arena *arena;
    struct chunk_entry *v;
    size_t n, cap;
};

static int add(struct gather *g, const struct chunk_entry *e)
{
    if (g->n == g->cap) {
        size_t cap = g->cap ? 2 * g->cap : 64;
        struct chunk_entry *v = realloc(g->v, cap * sizeof *v);

        if (!v)
            return -ENOMEM;
        g->v = v;
        g->cap = cap;
    }
    g->v[g->n] = *e;
    g->v[g->n].bytes = arena_dup(g->arena, e->bytes);
    return g->v[g->n++].bytes.p ? 0 : -ENOMEM;
}

static int add_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct gather *g = arg;
    struct chunk_reader r;
    struct chunk_entry e;
    int rc = 0;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (rc == 0 && chunk_next(&r, &e))
        if (!stream_entry(g->s, &e.key.uid)) /* else memory has the copy that stands */
            rc = add(g, &e);
    return rc < 0 ? rc : r.left ? -EIO : 0;
}

static int compare(const void *a, const void *b)
{
    return event_key_cmp(&((const struct chunk_entry *)a)->key, &((const struct chunk_entry *)b)->key);
}

static int gather(struct partition *p, struct gather *g, struct err *e)
{
    struct chunk_range range = {g->s->node.key, INT64_MIN, INT64_MAX, UINT32_MAX};
    bool current = stream_current(p, g->s);
    int rc = 0;

    if (!current || !g->s->rewritten)
        rc = chunks_visit(p->state, p->number, NULL, &range, add_chunk, g, e);
    for (const struct entry *n = current ? g->s->entries : NULL; n && rc == 0; n = n->next) {
        struct chunk_entry one = {n->key, n->flags, entry_bytes(n)};

        if (!atomic_load_explicit(&n->dead_at, memory_order_relaxed))
            rc = add(g, &one);
    }
    return rc == -EIO ? damaged(e, "a chunk of a path") : rc;
}

int stream_read_all(struct partition *p, struct stream *s, struct arena *a, struct chunk_entry **out, size_t *n,
                    struct err *e)
{
    struct gather g = {.s = s, .arena = a};
    int rc = gather(p, &g, e);

    if (g.n > 1)
        qsort(g.v, g.n, sizeof *g.v, compare);
    *out = arena_alloc(a, (g.n + 1) * sizeof **out);
    if (rc == 0 && !*out)
        rc = -ENOMEM;
    if (rc == 0 && g.n)
        memcpy(*out, g.v, g.n * sizeof **out);
    *n = rc == 0 ? g.n : 0;
    free(g.v);
    return rc;
}

static struct entry *copy_entry(struct partition *p, const struct chunk_entry *from)
{
    struct entry *e = interval_alloc(p->interval, sizeof *e + from->bytes.n);

    if (!e)
        return NULL;
    e->next = NULL;
    e->key = from->key;
    e->flags = from->flags;
    e->length = (uint32_t)from->bytes.n;
    atomic_init(&e->dead_at, 0);
    if (from->bytes.n)
        memcpy(e->bytes, from->bytes.p, from->bytes.n);
    return e;
}

int stream_rewrite_make(struct partition *p, struct stream *s, const struct chunk_entry *const *kept, size_t n,
                        struct stream_rewrite *out)
{
    struct stream like = {.uids.seed = s->uids.seed}; /* for its slots */
    int rc = pointers_reserve(&p->dirty_streams, 1);

    *out = (struct stream_rewrite){0};
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct entry *e = copy_entry(p, kept[i]);

        rc = e ? stream_entry_reserve(&like) : -ENOMEM;
        if (rc < 0)
            break;
        e->next = out->entries;
        out->entries = e;
        stream_entry_put(&like, e);
    }
    out->slots = like.slots;
    out->slot_count = like.slot_count;
    out->slot_cap = like.slot_cap;
    if (rc < 0)
        stream_rewrite_drop(out);
    return rc;
}

void stream_rewrite_drop(struct stream_rewrite *w)
{
    free(w->slots);
    *w = (struct stream_rewrite){0};
}

void stream_rewrite_show(struct partition *p, struct stream *s, struct stream_rewrite *w)
{
    stream_touch(p, s, INT64_MIN);
    free(s->slots);
    free(s->spans);
    uidset_deinit(&s->uids);
    s->entries = w->entries;
    s->slots = w->slots;
    s->slot_count = s->fresh = w->slot_count;
    s->slot_cap = w->slot_cap;
    s->gone = NULL;
    s->spans = NULL;
    s->span_count = s->span_cap = 0;
    s->spans_inexact = true;
    s->rewritten = true;
    s->large = false;
    s->uid_parts = s->uid_parts_next = 0;
    s->disk_last = s->session_last = TIME_NONE;
    s->session_floor = INT64_MIN;
    partition_recount(p, &s->kept);
    *w = (struct stream_rewrite){0};
}
