/* An order at its home: statements come and go, and whoever has to do with it is told what follows. Steps S4 and S5 of
 * the protocol over partitions. The worker's thread.
 *
 * First every statement of the record is taken in, then it is worked out which count; both read the disk, and after a
 * failure go on where they stopped. Then others are told, which cannot fail. What is told follows from the statements
 * and from what was told before, so that after a crash it is the same. */
#include "profiler/order_home.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/cascade.h"
#include "profiler/erased.h"
#include "proto/codec.h"

/* --- those that count ----------------------------------------------------------------------------------------- */

static size_t place_of(const struct order_home *h, const struct event_rank *place)
{
    size_t low = 0, high = h->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (counting_cmp(&h->counting[middle]->place, place) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void leave(struct statement *s)
{
    s->counts = false;
    if (!s->told || s->leaves)
        return;
    s->leaves = true;
    s->next_leaving = s->home->leaving;
    s->home->leaving = s;
}

static void take_out(struct statement *s)
{
    struct order_home *h = s->home;
    size_t at = place_of(h, &s->place);

    assert(at < h->count && h->counting[at] == s);
    h->count--;
    memmove(h->counting + at, h->counting + at + 1, (h->count - at) * sizeof(*h->counting));
    h->gap = h->gap || h->beyond;
    leave(s);
}

/* There is room. */
static void put_in(struct statement *s)
{
    struct order_home *h = s->home;
    size_t at = place_of(h, &s->place);

    assert(h->count < h->cap);
    memmove(h->counting + at + 1, h->counting + at, (h->count - at) * sizeof(*h->counting));
    h->counting[at] = s;
    h->count++;
    s->counts = true;
}

static size_t cost_of(const struct order_home *h)
{
    size_t cost = 0;

    for (size_t i = 0; i < h->count; i++)
        cost += h->counting[i]->cost;
    return cost;
}

/* Of one that is on disk as it is, nothing is kept unless it counts. */
static void drop_unused(struct partition *p, struct statement *s)
{
    if (!s->fresh && !s->counts && !s->leaves)
        statement_free(p, s);
}

/* Leaves out those at the end that do not count. */
static void trim(struct partition *p, struct order_home *h)
{
    size_t cost = 0, n = 0;

    for (; n < h->count; n++) {
        if (n > 0 && (n >= LIMIT_STATEMENTS || cost + h->counting[n]->cost > LIMIT_STATEMENTS_BYTES))
            break;
        cost += h->counting[n]->cost;
    }
    if (n == h->count)
        return;
    h->beyond = true;
    h->cut = h->counting[n]->place;
    for (size_t i = n; i < h->count; i++) {
        leave(h->counting[i]);
        drop_unused(p, h->counting[i]);
    }
    h->count = n;
}

/* --- the next in line ----------------------------------------------------------------------------------------- */

/* Of those beyond, in the order in which they count: on disk, where memory does not speak for them, and in memory. */
struct line {
    struct partition *p;
    struct order_home *h;
    struct store_iter *it;
    struct statement read; /* from disk; its spans live until the walk moves */
    bool has_read;
    struct statement *kept; /* in memory, or NULL */
    struct err *err;
};

static int read_on(struct line *l)
{
    struct key prefix = key_home_places(l->h->node.key);
    struct str key, value;
    int rc;

    l->has_read = false;
    for (; store_iter_at(l->it, &key, &value); store_iter_next(l->it)) {
        if (!str_starts(key, key_str(&prefix)))
            return 0;
        rc = home_place_read(l->h, key, value, &l->read, l->err);
        if (rc < 0)
            return rc;
        if (!statement_in_memory(l->p, l->h, &l->read.place.key.uid)) {
            l->has_read = true;
            return 0;
        }
    }
    return store_iter_status(l->it, l->err);
}

/* The first in memory that is not before `from`. */
static struct statement *first_kept(const struct order_home *h, const struct event_rank *from)
{
    struct statement *best = NULL;

    for (struct statement *s = h->fresh; s; s = s->next_fresh)
        if (!s->removed && !s->counts && counting_cmp(&s->place, from) >= 0 &&
            (!best || counting_cmp(&s->place, &best->place) < 0))
            best = s;
    return best;
}

static int line_begin(struct line *l)
{
    struct key_home from = {l->h->node.key, HOME_PLACE, l->h->cut};
    struct key key = key_homed(&from);

    l->it = store_iter_new(l->p->state->store, l->p->number, NULL, true);
    if (!l->it)
        return -ENOMEM;
    store_iter_seek(l->it, key_str(&key));
    l->kept = first_kept(l->h, &l->h->cut);
    return read_on(l);
}

/* Takes the next one in. */
static int line_take(struct line *l)
{
    struct event_rank place;
    int rc = order_home_reserve(l->h);

    if (rc < 0)
        return rc;
    if (l->has_read && (!l->kept || counting_cmp(&l->read.place, &l->kept->place) < 0)) {
        rc = order_home_append(l->p, l->h, &l->read);
        store_iter_next(l->it);
        return rc == 0 ? read_on(l) : rc;
    }
    place = l->kept->place;
    put_in(l->kept);
    l->kept = first_kept(l->h, &place);
    return 0;
}

static int refill_from(struct line *l)
{
    struct order_home *h = l->h;
    size_t cost = cost_of(h);
    int rc = 0;

    while (rc == 0 && (l->has_read || l->kept)) {
        const struct statement *next =
            l->has_read && (!l->kept || counting_cmp(&l->read.place, &l->kept->place) < 0) ? &l->read : l->kept;

        if (!order_home_has_room(h, cost, next->cost)) {
            h->cut = next->place;
            return 0;
        }
        cost += next->cost;
        rc = line_take(l);
    }
    if (rc == 0)
        h->beyond = false;
    return rc;
}

/* One that counted does no more, so that others may. */
static int refill(struct partition *p, struct order_home *h, struct err *e)
{
    struct line l = {.p = p, .h = h, .err = e};
    int rc = line_begin(&l);

    if (rc == 0)
        rc = refill_from(&l);
    if (l.it)
        store_iter_free(l.it);
    if (rc == 0)
        h->gap = false;
    return rc;
}

/* --- taking statements in ------------------------------------------------------------------------------------- */

static bool before_cut(const struct order_home *h, const struct event_rank *place)
{
    return !h->beyond || counting_cmp(place, &h->cut) < 0;
}

/* What was said of it before does not hold any more. */
static void detach(struct statement *s)
{
    struct order_home *h = s->home;

    if (s->counts)
        take_out(s);
    else if (h->beyond && !s->removed && counting_cmp(&s->place, &h->cut) == 0)
        h->gap = true;
}

static int take_gone(struct partition *p, struct statement *s, const struct internal_version *version)
{
    detach(s);
    s->removed = true;
    s->version = *version;
    statement_touch(p, s);
    return 0;
}

static int take_standing(struct partition *p, struct statement *s, const struct statement *says)
{
    struct statement was = *s;
    bool leaves = says->erased && str_has(s->user_id) && !str_has(says->user_id);
    int rc;

    if (leaves && !str_has(s->home->left) && text_copy(s->user_id, &s->home->left) < 0)
        return -ENOMEM;
    if (!s->counts || !str_eq(s->bytes, says->bytes))
        s->changed = true;
    detach(s);
    rc = statement_set(s, says);
    if (rc < 0) {
        if (was.counts)
            put_in(s);
        s->changed = was.changed;
        return rc;
    }
    statement_touch(p, s);
    if (before_cut(s->home, &s->place))
        put_in(s);
    if (says->erased) {
        pthread_mutex_lock(&p->lock);
        erased_mark(p);
        pthread_mutex_unlock(&p->lock);
    }
    return 0;
}

/* `s` is NULL for a uid of which nothing was said. */
static int take_newer(struct partition *p, struct order_home *h, const struct internal *r,
                      const struct internal_item *item, struct statement *s)
{
    struct statement says = {.version = r->version, .owner = r->owner};
    int rc = str_has(item->bytes) ? statement_decode(p, h->id, item, &says) : 0;

    if (rc != 0)
        return rc < 0 ? rc : 0; /* what states no order here says nothing */
    if (order_home_reserve(h) < 0)
        return -ENOMEM;
    if (!s) {
        s = statement_new(p, h, &item->key.uid);
        if (!s)
            return -ENOMEM;
        s->removed = true; /* until it is known */
        s->version = (struct internal_version){INT64_MIN, 0};
        statement_touch(p, s);
    }
    return str_has(item->bytes) ? take_standing(p, s, &says) : take_gone(p, s, &r->version);
}

static int take_item(struct partition *p, struct order_home *h, const struct internal *r,
                     const struct internal_item *item, struct err *e)
{
    struct statement *s;
    int rc = statement_find(p, h, &item->key.uid, &s, e);

    if (rc == 0 && (!s || internal_version_cmp(r->version, s->version) > 0))
        rc = take_newer(p, h, r, item, s);
    if (s)
        drop_unused(p, s);
    return rc;
}

/* --- whose it is ---------------------------------------------------------------------------------------------- */

static bool buys(enum order_status s)
{
    return s >= STATUS_CREATED && s <= STATUS_DELIVERED;
}

/* That of the best statement; of a bought order those of its refunds give none. */
struct str order_home_best(const struct order_home *h)
{
    const struct statement *best = NULL;
    bool bought = false;

    for (size_t i = 0; i < h->count && !bought; i++)
        bought = buys(h->counting[i]->status);
    for (size_t i = 0; i < h->count; i++) {
        const struct statement *s = h->counting[i];

        if ((!bought || s->status != STATUS_REFUNDED) && (!best || event_rank_cmp(&s->place, &best->place) > 0))
            best = s;
    }
    return best ? best->owner : STR_NONE;
}

/* --- telling the owner ---------------------------------------------------------------------------------------- */

struct batch {
    struct partition *p;
    struct internal r;
    struct internal_item items[INTERNAL_ITEMS];
    size_t bytes;
};

static void batch_end(struct batch *b)
{
    b->r.items = b->items;
    if (b->r.item_count > 0)
        tell(b->p, &b->r);
    b->r.item_count = b->bytes = 0;
}

static void batch_add(struct batch *b, const struct statement *s, bool stands)
{
    struct str bytes = stands ? s->bytes : STR_NONE;

    if (b->r.item_count == INTERNAL_ITEMS || (b->r.item_count > 0 && b->bytes + bytes.n > INTERNAL_ITEM_BYTES))
        batch_end(b);
    b->items[b->r.item_count++] = (struct internal_item){s->place.key, bytes};
    b->bytes += bytes.n;
}

/* Those that count: all, or only those that it has not got; then those that count no more. */
static void tell_now(struct batch *b, const struct order_home *h, bool all)
{
    for (size_t i = 0; i < h->count; i++)
        if (all || !h->counting[i]->told || h->counting[i]->changed)
            batch_add(b, h->counting[i], true);
    for (const struct statement *s = h->leaving; s && !all; s = s->next_leaving)
        if (!s->counts)
            batch_add(b, s, false);
    batch_end(b);
}

/* It was the owner's: all that it was told is taken back. */
static void tell_former(struct batch *b, const struct order_home *h)
{
    for (size_t i = 0; i < h->count; i++)
        if (h->counting[i]->told)
            batch_add(b, h->counting[i], false);
    for (const struct statement *s = h->leaving; s; s = s->next_leaving)
        if (!s->counts)
            batch_add(b, s, false);
    batch_end(b);
}

static void forget_leaving(struct partition *p, struct order_home *h)
{
    struct statement *next;

    for (struct statement *s = h->leaving; s; s = next) {
        next = s->next_leaving;
        s->leaves = false;
        if (s->counts)
            continue;
        s->told = s->changed = false;
        if (!s->fresh)
            statement_free(p, s);
    }
    h->leaving = NULL;
    for (size_t i = 0; i < h->count; i++) {
        h->counting[i]->told = true;
        h->counting[i]->changed = false;
    }
}

static void change_owner(struct partition *p, struct order_home *h, struct str owner)
{
    struct str copy = STR_NONE, old = h->owner;

    if (text_copy(owner, &copy) < 0)
        abort();
    pthread_mutex_lock(&p->lock);
    h->owner = copy;
    pthread_mutex_unlock(&p->lock);
    free((void *)(uintptr_t)old.p);
}

static void tell_owner(struct partition *p, struct order_home *h)
{
    struct batch b = {.p = p, .r = {.kind = INTERNAL_ORDER, .order_id = h->id}};
    struct str owner = order_home_best(h);
    bool stays = str_eq(owner, h->owner);

    if (str_has(owner)) {
        b.r.owner = owner;
        tell_now(&b, h, !stays);
    }
    if (!stays && str_has(h->owner)) {
        b.r.owner = h->owner;
        tell_former(&b, h);
    }
    if (!stays) {
        change_owner(p, h, owner);
        order_home_touch(p, h);
    }
    forget_leaving(p, h);
}

/* --- links ---------------------------------------------------------------------------------------------------- */

static void keep_earlier(const struct statement **best, const struct statement *s, bool fits)
{
    if (fits && (!*best || event_key_cmp(&s->place.key, &(*best)->place.key) < 0))
        *best = s;
}

static bool is_guest(const struct order_home *h, struct str device)
{
    size_t n = sizeof ORDER_DEVICE_PREFIX - 1;

    return str_starts(device, STR_LIT(ORDER_DEVICE_PREFIX)) && str_eq((struct str){device.p + n, device.n - n}, h->id);
}

/* Spans are the statements'; nothing where one of the two is missing. */
static struct order_link link_of(const struct statement *device, const struct statement *user)
{
    const struct statement *first = device;

    if (!device || !user)
        return (struct order_link){0};
    keep_earlier(&first, user, true);
    return (struct order_link){device->anonymous_id, user->user_id, first->place.key};
}

static void tell_link(struct partition *p, const struct order_home *h, const struct order_link *l, bool removed)
{
    bool erased = removed && str_has(h->left) && str_eq(h->left, l->user);
    struct internal r = {.kind = INTERNAL_LINK,
                         .device = l->device,
                         .user = l->user,
                         .key = l->key,
                         .subject = order_link_uid(h->id, l->device),
                         .removed = removed,
                         .erased = erased,
                         .until = erased ? l->key.time : 0,
                         .by_order = true};

    tell(p, &r);
}

static void tell_pair(struct partition *p, const struct order_home *h, const struct order_link *l, bool removed)
{
    struct internal r = {.kind = INTERNAL_PAIR,
                         .device = l->device,
                         .user = l->user,
                         .key = l->key,
                         .subject = order_link_uid(h->id, l->device),
                         .removed = removed};

    tell(p, &r);
}

static void keep_link(struct partition *p, struct order_home *h, struct order_link *kept, const struct order_link *now)
{
    struct order_link copy = {.key = now->key};

    if (text_copy(now->device, &copy.device) < 0 || text_copy(now->user, &copy.user) < 0)
        abort();
    free((void *)(uintptr_t)kept->device.p);
    free((void *)(uintptr_t)kept->user.p);
    *kept = copy;
    order_home_touch(p, h);
}

/* What takes its place is told before it is taken back, so that nothing falls to nobody in between. */
static void replace_link(struct partition *p, struct order_home *h, struct order_link *kept,
                         const struct order_link *now, bool pairs)
{
    bool had = str_has(kept->device), has = str_has(now->device);
    bool same_device = had && has && str_eq(kept->device, now->device);
    bool same_user = had && has && str_eq(kept->user, now->user);

    if (had == has && (!has || (same_device && same_user && event_key_cmp(&kept->key, &now->key) == 0)))
        return;
    if (has)
        tell_link(p, h, now, false);
    if (has && pairs)
        tell_pair(p, h, now, false);
    if (had && !same_device)
        tell_link(p, h, kept, true);
    if (had && pairs && !(same_device && same_user))
        tell_pair(p, h, kept, true);
    keep_link(p, h, kept, now);
}

void order_home_links(const struct order_home *h, const struct fold_rules *rules, struct order_link *link,
                      struct order_link *guest)
{
    const struct statement *by_device = NULL, *by_guest = NULL, *by_user = NULL;

    for (size_t i = 0; i < h->count; i++) {
        const struct statement *s = h->counting[i];
        bool has_user = str_has(s->user_id), of_guest = str_has(s->anonymous_id) && is_guest(h, s->anonymous_id);

        keep_earlier(&by_user, s, has_user);
        keep_earlier(&by_guest, s, !has_user && of_guest && !s->erased);
        keep_earlier(&by_device, s, !has_user && !of_guest);
    }
    *link = rules->link_by_order ? link_of(by_device, by_user) : (struct order_link){0};
    *guest = link_of(by_guest, by_user);
}

static void tell_links(struct partition *p, struct order_home *h)
{
    struct order_link link, guest;

    order_home_links(h, p->state->rules, &link, &guest);
    replace_link(p, h, &h->link, &link, true);
    replace_link(p, h, &h->guest, &guest, false);
}

/* --- a record ------------------------------------------------------------------------------------------------- */

static int take_items(struct partition *p, struct order_home *h, const struct internal *r, size_t *done, struct err *e)
{
    int rc = 0;

    for (; rc == 0 && *done < r->item_count; *done += rc == 0)
        rc = take_item(p, h, r, &r->items[*done], e);
    if (rc == 0 && h->gap)
        rc = refill(p, h, e);
    return rc;
}

int order_statements(struct partition *p, const struct internal *r, size_t *done, struct err *e)
{
    struct order_home *h;
    int rc = partition_order_home(p, r->order_id, &h, e);

    if (rc < 0)
        return rc;
    rc = take_items(p, h, r, done, e);
    if (rc == 0) {
        trim(p, h);
        tell_owner(p, h);
        tell_links(p, h);
        free((void *)(uintptr_t)h->left.p);
        h->left = STR_NONE;
    }
    pthread_mutex_lock(&p->lock);
    partition_recount(p, &h->kept);
    pthread_mutex_unlock(&p->lock);
    return rc;
}
