/* What one record of the log sets off: records for other partitions become emissions, those for this one are worked off
 * in the order in which they were told, before the next record. The worker's thread. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "proto/codec.h"

static void *take(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n + 1);

    if (!p)
        abort(); /* half of what a record sets off must not be shown, and the log has it all */
    return p;
}

static struct str keep(struct arena *a, struct str s)
{
    char *p;

    if (!str_has(s))
        return s;
    p = take(a, s.n);
    if (s.n)
        memcpy(p, s.p, s.n);
    return (struct str){p, s.n};
}

static void enqueue(struct cascade *c, const struct internal *r)
{
    struct told *t = take(&c->arena, sizeof *t);
    struct internal_item *items = take(&c->arena, r->item_count * sizeof *items);

    *t = (struct told){.r = *r};
    t->r.device = keep(&c->arena, r->device);
    t->r.user = keep(&c->arena, r->user);
    t->r.order_id = keep(&c->arena, r->order_id);
    t->r.owner = keep(&c->arena, r->owner);
    t->r.alias = keep(&c->arena, r->alias);
    t->r.links = keep(&c->arena, r->links);
    for (size_t i = 0; i < r->item_count; i++)
        items[i] = (struct internal_item){r->items[i].key, keep(&c->arena, r->items[i].bytes)};
    t->r.items = items;
    if (c->last)
        c->last->next = t;
    else
        c->first = t;
    c->last = t;
}

static void count_sent(struct partition *p, uint32_t to, struct internal_version v)
{
    pthread_mutex_lock(&p->lock);
    p->sent[to] = v;
    pthread_mutex_unlock(&p->lock);
}

void tell(struct partition *p, struct internal *r)
{
    struct buf b;
    struct str key;
    uint32_t to;

    assert(!p->state->read_only);
    r->sender = p->number;
    r->version = (struct internal_version){p->cascade.cause, ++p->cascade.index};
    buf_init(&b, 64 * KIB);
    key = internal_key(r, &b);
    to = event_log_partition(key, p->state->partition_count);
    if (to == p->number) {
        enqueue(&p->cascade, r);
    } else {
        emit_internal(p, key, r);
        count_sent(p, to, r->version);
    }
    buf_deinit(&b);
}

/* --- working it off ------------------------------------------------------------------------------------------- */

static int work_off(struct partition *p, struct told *t, struct err *e)
{
    switch (t->r.kind) {
    case INTERNAL_LINK:
        return device_linked(p, &t->r, e);
    case INTERNAL_VERDICT:
        return device_verdict(p, &t->r, e);
    case INTERNAL_MEMBER:
        return account_member(p, &t->r, e);
    case INTERNAL_PLACEMENT:
        return place_events(p, &t->r, &t->done, e);
    case INTERNAL_PAIR:
        return account_pair(p, &t->r, e);
    case INTERNAL_STATEMENT:
        return order_statements(p, &t->r, &t->done, e);
    case INTERNAL_ORDER:
        return order_placed(p, &t->r, &t->done, e);
    case INTERNAL_ERASE:
        return device_erase(p, &t->r, e);
    case INTERNAL_GRAVE:
        return grave_heard(p, &t->r, e);
    case INTERNAL_RECOUNT:
        return device_recount(p, t->r.device, e);
    }
    abort(); /* a kind that is not handled is not told either */
}

void cascade_begin(struct partition *p, int64_t offset)
{
    assert(!p->cascade.open && !p->cascade.first);
    p->cascade.cause = offset;
    p->cascade.index = p->cascade.graves = 0;
    p->cascade.sender = NOBODY;
}

int cascade_run(struct partition *p, struct err *e)
{
    struct cascade *c = &p->cascade;

    while (c->first) {
        int rc = work_off(p, c->first, e);

        if (rc < 0)
            return rc;
        c->first = c->first->next;
        if (!c->first)
            c->last = NULL;
    }
    if (c->arena.used)
        arena_reset(&c->arena);
    return 0;
}

void cascade_clear(struct cascade *c)
{
    c->first = c->last = NULL;
    c->open = false;
    arena_reset(&c->arena);
}

/* --- a record that is one ------------------------------------------------------------------------------------- */

int cascade_take(struct partition *p, const struct internal *r)
{
    bool own = r->kind == INTERNAL_GRAVE;

    if (r->sender >= p->state->partition_count || (r->sender == p->number) != own)
        return -EINVAL;
    enqueue(&p->cascade, r);
    if (own)
        return 0;
    p->cascade.sender = r->sender;
    p->cascade.version = r->version;
    return 0;
}

/* With the lock. */
void cascade_heard(struct partition *p)
{
    struct cascade *c = &p->cascade;

    if (c->sender != NOBODY && internal_version_cmp(c->version, p->heard[c->sender]) > 0)
        p->heard[c->sender] = c->version;
}

struct internal_version state_sent(struct state *s, uint32_t partition, uint32_t to)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count && to < s->partition_count);
    pthread_mutex_lock(&p->lock);
    struct internal_version v = p->sent[to];
    pthread_mutex_unlock(&p->lock);
    return v;
}

struct internal_version state_heard(struct state *s, uint32_t partition, uint32_t from)
{
    struct partition *p = &s->partitions[partition];

    assert(partition < s->partition_count && from < s->partition_count);
    pthread_mutex_lock(&p->lock);
    struct internal_version v = p->heard[from];
    pthread_mutex_unlock(&p->lock);
    return v;
}
