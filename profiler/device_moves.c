/* Which events of a device get another owner when it changes who has it. The worker's thread. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/device_change.h"
#include "proto/codec.h"

static int name_order(struct device_change *c, struct device_move *m)
{
    enum order_status status;
    struct event ev;
    int rc;

    m->order_id = STR_NONE;
    if (!(m->flags & ENTRY_ORDER))
        return 0;
    arena_reset(&c->p->arena_other);
    rc = event_unpack(m->bytes, &c->p->arena_other, &ev);
    if (rc != CODEC_OK)
        return rc == -ENOMEM ? rc : -EIO;
    if (!order_stated(&ev, &status) || ev.order.order_id.n > ORDER_ID_MAX_BYTES)
        return 0;
    m->order_id = arena_dup(&c->arena, ev.order.order_id);
    if (!str_has(m->order_id))
        return -ENOMEM;
    if (m->to != USER_ERASED || c->holds)
        return 0;
    buf_reset(&c->p->scratch);
    m->bytes = order_strip(&ev, &c->p->scratch) ? arena_dup(&c->arena, buf_str(&c->p->scratch)) : STR_NONE;
    return m->bytes.p ? 0 : -ENOMEM;
}

static int consider(struct device_change *c, const struct event_key *key, unsigned flags, struct str bytes)
{
    struct device_move m = {.key = *key, .flags = flags};

    if (key->time < c->from || key->time > c->to)
        return 0;
    m.from = device_owner(c->d->users, &c->d->runs, key);
    m.to = device_owner(c->after, &c->runs, key);
    c->held = c->held || (m.to == USER_ERASED && c->holds);
    if ((m.from == m.to && !c->lets_go) ||
        (c->erasure.back != NO_USER && m.from == c->erasure.user && m.to == c->erasure.back))
        return 0;
    c->erases = c->erases || (m.to == USER_ERASED && !c->holds);
    if (m.from == m.to)
        m.from = NO_USER; /* it is told once more */
    if (c->moved_count == c->moved_cap) {
        size_t cap = c->moved_cap ? 2 * c->moved_cap : 64;
        struct device_move *v = realloc(c->moved, cap * sizeof *v);

        if (!v)
            return -ENOMEM;
        c->moved = v;
        c->moved_cap = cap;
    }
    m.bytes = arena_dup(&c->arena, bytes);
    if (!m.bytes.p)
        return -ENOMEM;
    c->moved[c->moved_count++] = m;
    return name_order(c, &c->moved[c->moved_count - 1]);
}

static int consider_chunk(void *arg, const struct key_place *place, struct str value)
{
    struct device_change *c = arg;
    struct chunk_reader r;
    struct chunk_entry e;
    int rc = 0;

    (void)place;
    if (!chunk_open(value, &r))
        return -EIO;
    while (rc == 0 && chunk_next(&r, &e))
        if (!stream_entry(c->home, &e.key.uid)) /* else memory has the copy that stands */
            rc = consider(c, &e.key, e.flags, e.bytes);
    return rc < 0 ? rc : r.left ? -EIO : 0;
}

static int compare_moved(const void *a, const void *b)
{
    return event_key_cmp(&((const struct device_move *)a)->key, &((const struct device_move *)b)->key);
}

static bool has_erased(const struct device_change *c)
{
    for (size_t i = 0; i < c->d->user_count; i++)
        if (c->after[i].erased)
            return true;
    return false;
}

/* What comes after the time up to which a user was erased falls to the next one, however much later that one came. */
static bool find_range(struct device_change *c)
{
    bool differ = runs_differ(&c->d->runs, &c->runs, &c->from, &c->to);

    if (!has_erased(c))
        return differ;
    c->from = INT64_MIN;
    c->to = INT64_MAX;
    return differ || c->erasure.user != NO_USER || c->lets_go;
}

int device_change_moves(struct device_change *c)
{
    struct partition *p = c->p;
    struct chunk_range range = {c->home->node.key, INT64_MIN, INT64_MAX, UINT32_MAX};
    int rc;

    if (!find_range(c))
        return 0;
    range.from = c->from;
    range.to = c->to;
    rc = stream_current(p, c->home) && c->home->rewritten
             ? 0
             : chunks_visit(p->state, p->number, NULL, &range, consider_chunk, c, c->err);
    for (const struct entry *e = stream_current(p, c->home) ? c->home->entries : NULL; e && rc == 0; e = e->next)
        if (!atomic_load_explicit(&e->dead_at, memory_order_relaxed))
            rc = consider(c, &e->key, e->flags, entry_bytes(e));
    if (rc == -EIO)
        return damaged(c->err, "an event of a device");
    /* What is told must not depend on where commits have cut the stream. */
    if (c->moved_count > 1)
        qsort(c->moved, c->moved_count, sizeof *c->moved, compare_moved);
    return rc;
}
