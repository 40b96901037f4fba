/* What falls to the erased while a log is caught up with, and is kept for now: see grave.c. The worker's thread. */
#include <assert.h>
#include <errno.h>

#include "profiler/cascade.h"
#include "profiler/grave.h"

bool grave_holds(const struct partition *p)
{
    return p->cascade.cause + 1 < p->graves.until;
}

int grave_hold(struct partition *p, const struct device *d, struct err *e)
{
    struct grave *g = graves_find(p, &d->node.key);
    int rc;

    if (g)
        return 0;
    g = graves_make(p, &d->node.key, GRAVE_HOLDS);
    if (!g)
        return -ENOMEM;
    rc = graves_fetch(p, g, e);
    return rc == 0 ? graves_add(p, g, d->id) : rc;
}

bool grave_lets_go(const struct partition *p, const struct device *d)
{
    return p->graves.held > 0 && !grave_holds(p) && graves_find(p, &d->node.key);
}

void grave_let_go(struct partition *p, const struct device *d)
{
    struct grave *g = graves_find(p, &d->node.key);

    if (g)
        graves_drop(p, g);
}

void state_catch_up(struct state *s, uint32_t partition, int64_t offset)
{
    assert(partition < s->partition_count);
    s->partitions[partition].graves.until = offset;
}

struct held {
    struct partition *p;
    struct err *e;
    int rc;
};

static void fetch_held(void *arg, const struct table_node *n)
{
    struct held *h = arg;
    struct grave *g = (struct grave *)(uintptr_t)n;

    if (h->rc == 0 && g->kind == GRAVE_HOLDS && !g->gone)
        h->rc = graves_fetch(h->p, g, h->e);
}

int graves_prepare(struct partition *p, int64_t offset, struct err *e)
{
    struct held h = {.p = p, .e = e};

    if (p->graves.held > 0 && offset + 1 >= p->graves.until)
        table_each(&p->graves.table, fetch_held, &h);
    return h.rc;
}

static void tell_held(void *arg, const struct table_node *n)
{
    struct held *h = arg;
    const struct grave *g = (const struct grave *)n;
    const char *p = g->v;
    struct internal r = {.kind = INTERNAL_RECOUNT};

    if (g->kind == GRAVE_HOLDS && !g->gone && graves_next(&p, g->v + g->n, &r.device))
        tell(h->p, &r);
}

void graves_release(struct partition *p, int64_t offset)
{
    struct held h = {.p = p};

    if (p->graves.held > 0 && offset + 1 >= p->graves.until)
        table_each(&p->graves.table, tell_held, &h);
}
