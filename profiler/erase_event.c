/* Events of the erased: which they are, and what is done with one that comes late. The worker's thread. */
#include <errno.h>
#include <stdlib.h>

#include "profiler/fold_entry.h"
#include "proto/codec.h"

bool event_is_erased(const struct stream *s, const struct event_key *key)
{
    bool up_to = s->erased && key->time <= s->erased->is.until;
    uint32_t owner;

    if (!s->device || str_has(s->user_id))
        return up_to;
    owner = device_owner(s->device->users, &s->device->runs, key);
    return owner == USER_ERASED || (owner == NO_USER && up_to);
}

/* The shop keeps what was sold for how much, when and where; the texts of the person's go. */
bool strip_order(const struct event *ev, struct buf *b)
{
    struct item *items = NULL;
    struct event left = {
        .type = ev->type,
        .trust = ev->trust,
        .name = ev->name,
        .source = ev->source,
        .uid = ev->uid,
        .time = ev->time,
        .received = ev->received,
        .position = ev->position,
        .original_time = TIME_NONE,
        .sent = TIME_NONE,
        .place = {.store_id = ev->place.store_id, .store_name = ev->place.store_name},
        .item_count = ev->item_count,
        .order = ev->order,
        .erased = true,
    };
    struct buf device;
    bool ok;

    buf_init(&device, 2 * KEY_ID_MAX_BYTES);
    buf_add_str(&device, STR_LIT(ORDER_DEVICE_PREFIX));
    buf_add_str(&device, ev->order.order_id);
    items = malloc((ev->item_count + 1) * sizeof *items);
    ok = items && !device.failed;
    for (size_t i = 0; ok && i < ev->item_count; i++) {
        items[i] = ev->items[i];
        items[i].extra = STR_NONE;
    }
    left.items = items;
    left.anonymous_id = buf_str(&device);
    left.order.coupon = STR_NONE;
    ok = ok && event_pack(&left, b);
    free(items);
    buf_deinit(&device);
    return ok;
}

void tell_stripped(struct partition *p, struct str order_id, const struct event_key *key, struct str bytes)
{
    char buf[PROFILE_ID_MAX_BYTES];
    size_t n = 0;
    static const char prefix[] = "anon:" ORDER_DEVICE_PREFIX;

    memcpy(buf, prefix, sizeof prefix - 1);
    n += sizeof prefix - 1;
    memcpy(buf + n, order_id.p, order_id.n);
    n += order_id.n;
    tell_statement(p, order_id, (struct str){buf, n}, key, bytes);
}

static void tell_link(struct partition *p, const struct stream *s, const struct event *ev, struct str device)
{
    const struct state_erasure *is = &s->erased->is;
    struct internal r = {.kind = INTERNAL_LINK,
                         .device = device,
                         .user = {(const char *)is->alias, sizeof is->alias},
                         .key = event_key(ev),
                         .subject = ev->uid,
                         .erased = true,
                         .until = is->until};

    tell(p, &r);
}

int fold_erased(struct partition *p, const struct stream *s, const struct event *ev, unsigned flags)
{
    struct str order = stated_order(ev, flags), previous = alias_of(ev);
    struct event_key key = event_key(ev);
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    if (str_has(order) && !strip_order(ev, &b)) {
        buf_deinit(&b);
        return -ENOMEM;
    }
    if (str_has(ev->user_id) && str_has(ev->anonymous_id))
        tell_link(p, s, ev, ev->anonymous_id);
    if (str_has(previous) && !str_eq(previous, ev->anonymous_id))
        tell_link(p, s, ev, previous);
    if (str_has(order))
        tell_stripped(p, order, &key, buf_str(&b));
    buf_deinit(&b);
    pthread_mutex_lock(&p->lock);
    erased_mark(p);
    pthread_mutex_unlock(&p->lock);
    return 0;
}
