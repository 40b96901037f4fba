/* What a change of who has a device tells: events to the users who gain or lose them, orders to their homes, and users
 * what is in their ids. The worker's thread. */
#include "profiler/cascade.h"
#include "profiler/device_change.h"
#include "profiler/erased.h"

struct batch {
    struct device_change *c;
    uint32_t user;
    struct internal_item items[INTERNAL_ITEMS];
    size_t n, bytes;
};

static void tell_batch(struct batch *b)
{
    struct internal r = {.kind = INTERNAL_PLACEMENT,
                         .device = b->c->d->id,
                         .user = b->c->d->users[b->user].id,
                         .items = b->items,
                         .item_count = b->n};

    if (b->n > 0)
        tell(b->c->p, &r);
    b->n = b->bytes = 0;
}

static void add_to_batch(struct batch *b, const struct device_move *m, bool gain)
{
    struct str bytes = gain ? m->bytes : STR_NONE;

    if (b->n == INTERNAL_ITEMS || (b->n > 0 && b->bytes + bytes.n > INTERNAL_ITEM_BYTES))
        tell_batch(b);
    b->items[b->n++] = (struct internal_item){m->key, bytes};
    b->bytes += bytes.n;
}

/* Who is erased has dropped what was theirs already. */
static bool concerns(const struct device_change *c, const struct device_move *m, uint32_t user, bool gain)
{
    bool dropped = user == c->erasure.user && m->key.time <= c->erasure.until;

    return gain ? m->to == user : m->from == user && !dropped;
}

static void tell_user(struct device_change *c, uint32_t user, bool gain)
{
    struct batch b = {.c = c, .user = user};

    for (size_t i = 0; i < c->moved_count; i++)
        if (concerns(c, &c->moved[i], user, gain))
            add_to_batch(&b, &c->moved[i], gain);
    tell_batch(&b);
}

void tell_statement(struct partition *p, struct str order_id, struct str owner, const struct event_key *key,
                    struct str bytes)
{
    struct internal_item item = {*key, bytes};
    struct internal r = {
        .kind = INTERNAL_STATEMENT, .order_id = order_id, .owner = owner, .items = &item, .item_count = 1};

    tell(p, &r);
}

/* Orders go with the events that state them. */
static void tell_orders(struct device_change *c)
{
    char buf[PROFILE_ID_MAX_BYTES];

    for (size_t i = 0; i < c->moved_count; i++) {
        const struct device_move *m = &c->moved[i];
        struct str user = m->to >= USER_ERASED ? STR_NONE : c->d->users[m->to].id;

        if (str_has(m->order_id) && m->to == USER_ERASED && !c->holds)
            tell_stripped(c->p, m->order_id, &m->key, m->bytes);
        else if (str_has(m->order_id))
            tell_statement(c->p, m->order_id, profile_id(c->d->id, user, buf), &m->key, m->bytes);
    }
}

static void tell_members(struct device_change *c)
{
    for (size_t i = 0; i < c->d->user_count; i++) {
        struct internal r = {.kind = INTERNAL_MEMBER,
                             .device = c->d->id,
                             .user = c->d->users[i].id,
                             .removed = !device_change_member(c, i)};

        bool anew = c->lets_go && !c->after[i].erased;

        if ((anew || device_change_member(c, i) != c->d->users[i].told) && !device_is_guest(c->d->id))
            tell(c->p, &r);
    }
}

void device_change_tell(struct device_change *c)
{
    for (uint32_t u = 0; u < c->d->user_count; u++)
        tell_user(c, u, true);
    for (uint32_t u = 0; u < c->d->user_count; u++)
        tell_user(c, u, false);
    tell_orders(c);
    tell_members(c);
}
