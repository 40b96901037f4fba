/* What orders add to a commit: those at their owners and those at their homes. The worker's thread. */
#include <errno.h>

#include "profiler/commit_stream.h"
#include "profiler/erased.h"
#include "profiler/order_doc.h"
#include "profiler/order_home.h"

static struct key head_key(const struct order_home *h)
{
    return key_homed(&(struct key_home){.order = h->node.key, .part = HOME_HEAD});
}

static struct key uid_key(const struct statement *s)
{
    return key_homed(&(struct key_home){s->home->node.key, HOME_UID, {.key = {.uid = s->place.key.uid}}});
}

static struct key place_key(const struct statement *s, const struct event_rank *place)
{
    return key_homed(&(struct key_home){s->home->node.key, HOME_PLACE, *place});
}

static int put_statement(struct commit *c, const struct statement *s)
{
    struct buf *b = &c->p->scratch;

    if (s->stands_on_disk && (s->removed || counting_cmp(&s->place, &s->disk_place) != 0))
        commit_take(c, place_key(s, &s->disk_place));
    buf_reset(b);
    if (!statement_place_write(s, b))
        return -ENOMEM;
    commit_put(c, uid_key(s), buf_str(b));
    if (s->removed)
        return 0;
    buf_reset(b);
    if (!statement_record_write(s, b))
        return -ENOMEM;
    commit_put(c, place_key(s, &s->place), buf_str(b));
    return 0;
}

static int put_home(struct commit *c, const struct order_home *h)
{
    struct buf *b = &c->p->scratch;
    int rc = 0;

    for (const struct statement *s = h->fresh; s && rc == 0; s = s->next_fresh)
        rc = put_statement(c, s);
    if (rc < 0)
        return rc;
    buf_reset(b);
    if (!home_record_write(h, b))
        return -ENOMEM;
    commit_put(c, head_key(h), buf_str(b));
    return 0;
}

/* Whether only who had it once could be told from it, who is erased. */
static int is_of_nobody(struct commit *c, struct str doc, bool *out)
{
    struct arena *a = &c->p->arena_other;
    struct order_parts parts;
    int rc;

    *out = false;
    if (c->p->erased.through == 0)
        return 0;
    arena_reset(a);
    rc = order_doc_read(doc, a, 0, &parts);
    return rc < 0 || parts.count > 0 ? rc : profile_was_erased(c->p, parts.owner, out, c->err);
}

static int put_order(struct commit *c, const struct kept_order *o)
{
    struct key key = key_two(KEY_ORDER, o->profile, o->order);
    struct str doc = {o->doc->bytes, o->doc->n};
    bool nobody;
    int rc = is_of_nobody(c, doc, &nobody);

    if (rc < 0)
        return rc;
    if (nobody)
        commit_take(c, key);
    else
        commit_put(c, key, doc);
    return 0;
}

int commit_orders(struct commit *c)
{
    struct partition *p = c->p;
    int rc = 0;

    for (size_t i = 0; i < p->dirty_orders.n && rc == 0; i++)
        rc = put_order(c, p->dirty_orders.v[i]);
    for (size_t i = 0; i < p->dirty_order_homes.n && rc == 0; i++)
        rc = put_home(c, p->dirty_order_homes.v[i]);
    return rc;
}

static void settle_home(struct partition *p, struct order_home *h)
{
    struct statement *next;

    for (struct statement *s = h->fresh; s; s = next) {
        next = s->next_fresh;
        s->fresh = false;
        s->on_disk = true;
        s->stands_on_disk = !s->removed;
        s->disk_place = s->place;
        if (!s->counts)
            statement_free(p, s);
    }
    h->fresh = NULL;
    h->on_disk = true;
    partition_recount(p, &h->kept);
}

void settle_orders(struct partition *p)
{
    for (size_t i = 0; i < p->dirty_order_homes.n;) {
        pthread_mutex_lock(&p->lock); /* for the counts */
        for (size_t end = i + SETTLE_SLICE; i < p->dirty_order_homes.n && i < end; i++)
            settle_home(p, p->dirty_order_homes.v[i]);
        pthread_mutex_unlock(&p->lock);
    }
    p->dirty_orders.n = p->dirty_order_homes.n = 0;
}
