/* Finding an order by its id alone: its home knows whose it is. Any thread. */
#include <assert.h>
#include <errno.h>

#include "profiler/order_home.h"

#define container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* 1 when memory does not know the order. */
static int owner_in_memory(struct partition *p, struct key_hash order, struct arena *a, struct str *owner)
{
    struct table_node *n;
    int rc = 1;

    pthread_mutex_lock(&p->lock);
    n = table_find(&p->order_homes, &order);
    if (n) {
        const struct order_home *h = container(n, struct order_home, node);

        *owner = arena_dup(a, h->owner);
        rc = !str_has(h->owner) ? STATE_NOT_FOUND : owner->p ? 0 : -ENOMEM;
    }
    pthread_mutex_unlock(&p->lock);
    return n ? rc : 2;
}

static int owner_on_disk(struct partition *p, struct key_hash order, struct arena *a, struct str *owner, struct err *e)
{
    struct key key = key_homed(&(struct key_home){.order = order, .part = HOME_HEAD});
    struct home_record record;
    struct store_value v = {0};
    int rc = store_get(p->state->store, p->number, key_str(&key), NULL, &v, e);

    if (rc != 0)
        return rc == STORE_NOT_FOUND ? STATE_NOT_FOUND : rc;
    if (home_record_read(v.bytes, &record) < 0)
        rc = damaged(e, "the home of an order");
    else if (!str_has(record.owner))
        rc = STATE_NOT_FOUND;
    else
        *owner = arena_dup(a, record.owner);
    store_value_free(&v);
    return rc == 0 && !owner->p ? -ENOMEM : rc;
}

uint32_t state_order_partition(const struct state *s, struct str order_id)
{
    struct buf b;
    uint32_t partition;

    buf_init(&b, sizeof ORDER_DEVICE_PREFIX + order_id.n);
    buf_add_str(&b, STR_LIT(ORDER_DEVICE_PREFIX));
    partition = buf_add_str(&b, order_id) ? event_log_partition(buf_str(&b), s->partition_count) : 0;
    buf_deinit(&b);
    return partition;
}

int state_order(struct state *s, uint32_t partition, struct str order_id, struct arena *a, struct str *owner,
                struct err *e)
{
    struct partition *p = &s->partitions[partition];
    struct key_hash order;
    int rc;

    assert(partition < s->partition_count);
    pthread_rwlock_rdlock(&p->place);
    order = partition_hash(p, order_id);
    rc = owner_in_memory(p, order, a, owner);
    if (rc == 2)
        rc = owner_on_disk(p, order, a, owner, e);
    pthread_rwlock_unlock(&p->place);
    return rc;
}
