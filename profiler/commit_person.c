/* Devices and accounts in a commit. The links of a device are written in parts, one for each commit in which it got
 * some, and now and then all in one. The worker's thread. */
#include <errno.h>

#include "common/limits.h"
#include "profiler/commit_stream.h"

/* A part of links is read with its device; so many of them are made one. */
enum { MOST_LINK_PARTS = 32 };

static int put_links(struct commit *c, struct device *d, const struct links *links, uint32_t parts)
{
    struct key_place place = {.kind = KEY_LINKS, .stream = d->node.key, .commit = c->number};
    struct buf *b = &c->p->scratch;

    buf_reset(b);
    for (size_t i = 0; i < links->n; i++)
        if (!link_write(&links->v[i], b))
            return -ENOMEM;
    commit_put(c, key_placed(&place), buf_str(b));
    d->link_parts_next = parts;
    return 0;
}

static int commit_device(struct commit *c, struct device *d)
{
    struct buf *b = &c->p->scratch;
    int rc = 0;

    d->link_parts_next = d->link_parts;
    if (d->links_changed || (d->fresh.n > 0 && d->link_parts >= MOST_LINK_PARTS)) {
        rc = device_load_links(c->p, d, c->err);
        if (rc == 0)
            rc = commit_take_all(c, key_one(KEY_LINKS, d->node.key));
        if (rc == 0)
            rc = put_links(c, d, &d->links, 1);
    } else if (d->fresh.n > 0) {
        rc = put_links(c, d, &d->fresh, d->link_parts + 1);
    }
    if (rc < 0)
        return rc;
    buf_reset(b);
    if (!device_write(d, b))
        return -ENOMEM;
    commit_put(c, key_one(KEY_DEVICE, d->node.key), buf_str(b));
    return 0;
}

static int commit_account(struct commit *c, const struct account *a)
{
    struct buf *b = &c->p->scratch;

    if (a->pair_count == 0 && a->order_pair_count == 0) {
        commit_take(c, key_one(KEY_ACCOUNT, a->node.key));
        return 0;
    }
    buf_reset(b);
    if (!account_write(a, b))
        return -ENOMEM;
    commit_put(c, key_one(KEY_ACCOUNT, a->node.key), buf_str(b));
    return 0;
}

int commit_persons(struct commit *c)
{
    struct partition *p = c->p;
    int rc = 0;

    for (size_t i = 0; i < p->dirty_devices.n && rc == 0; i++)
        rc = commit_device(c, p->dirty_devices.v[i]);
    for (size_t i = 0; i < p->dirty_accounts.n && rc == 0; i++)
        rc = commit_account(c, p->dirty_accounts.v[i]);
    return rc;
}

static void settle_device(struct partition *p, struct device *d)
{
    d->link_parts = d->link_parts_next;
    d->fresh.n = 0;
    d->links_changed = false;
    partition_recount(p, &d->kept);
}

void settle_persons(struct partition *p)
{
    for (size_t i = 0; i < p->dirty_devices.n;) {
        pthread_mutex_lock(&p->lock);
        for (size_t end = i + SETTLE_SLICE; i < p->dirty_devices.n && i < end; i++)
            settle_device(p, p->dirty_devices.v[i]);
        pthread_mutex_unlock(&p->lock);
    }
    p->dirty_devices.n = p->dirty_accounts.n = 0;
}
