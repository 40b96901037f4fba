/* What an order gives to the facts, and what changes when it changes. Pure; one thread at a time. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/facts_maps.h"

/* --- sums ----------------------------------------------------------------------------------------------------- */

static void sum_items(struct facts *f, const struct order *o, int sign)
{
    for (size_t i = 0; i < o->item_count; i++) {
        const struct item *it = &o->items[i];
        int64_t pieces = order_pieces(it);

        f->items += sign * pieces;
        if (!it->cost.has)
            f->items_without_cost += (uint64_t)(int64_t)sign;
        else if (o->home_currency)
            f->cost += sign * order_cost(it);
    }
}

static void sum_counts(struct facts *f, const struct order *o, int sign)
{
    uint64_t step = (uint64_t)(int64_t)sign;

    f->orders += o->counted ? step : 0;
    f->orders_cancelled += o->placed_at != TIME_NONE && !o->counted ? step : 0;
    f->orders_refunded += o->counted && o->refund_count > 0 && o->refunded >= o->total ? step : 0;
    f->credit_notes += o->credit_note ? step : 0;
}

/* Adds (or with sign -1 takes away) all that is a sum. 0 or -ENOMEM. */
static int sum_order(struct facts *f, const struct order *o, int sign)
{
    struct currency_sum *c;
    money gross = o->counted ? o->total : 0;
    money discount = o->counted && o->discount.has ? o->discount.v : 0;

    sum_counts(f, o, sign);
    if (!o->counted && !o->credit_note)
        return 0;
    c = facts_currency(f, o->currency);
    if (!c)
        return -ENOMEM;
    c->gross += sign * gross;
    c->refunded += sign * o->refunded;
    c->discount += sign * discount;
    c->uses += (uint64_t)(int64_t)sign;
    if (o->home_currency) {
        f->gross += sign * gross;
        f->refunded += sign * o->refunded;
        f->discount += sign * discount;
    }
    if (o->counted)
        sum_items(f, o, sign);
    return 0;
}

static void drop_unused_currencies(struct facts *f)
{
    size_t n = 0;

    for (size_t i = 0; i < f->currency_count; i++) {
        if (f->currencies[i].uses > 0)
            f->currencies[n++] = f->currencies[i];
    }
    f->currency_count = n;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

/* What the change of an order does under one name of a map. */
struct change {
    struct tally d;
    bool had, has;
};

static int compare_changes(const void *a, const void *b)
{
    return str_cmp(((const struct change *)a)->d.name, ((const struct change *)b)->d.name);
}

/* Sorts by name and makes those of one name one. Returns how many are left. */
static size_t merge_changes(struct change *v, size_t n)
{
    size_t left = 0;

    if (n > 1)
        qsort(v, n, sizeof(*v), compare_changes);
    for (size_t i = 0; i < n; i++) {
        if (left > 0 && str_eq(v[left - 1].d.name, v[i].d.name)) {
            tally_add(&v[left - 1].d, &v[i].d);
            v[left - 1].had |= v[i].had;
            v[left - 1].has |= v[i].has;
        } else {
            v[left++] = v[i];
        }
    }
    return left;
}

/* The two sides of a change, as far as they count; NULL or not counted: nothing. */
struct sides {
    const struct order *before, *now;
    struct event_key key_before, key_now;
    size_t limit;
};

/* One change to a map that has more names than it may keep. */
static int change_wide(struct tally_map *m, const struct change *c, const struct sides *s)
{
    struct tally *t = tally_find(m, c->d.name);
    int later = c->had && c->has ? event_key_cmp(&s->key_now, &s->key_before) : 0;

    /* A mention that goes may take the name's place with it, and nobody here knows who comes next. */
    if (c->had && (!c->has || later > 0))
        return FACTS_REFOLD;
    if (!t && (!c->had || later < 0) && event_key_cmp(&s->key_now, m->cutoff) <= 0)
        return FACTS_REFOLD;
    t = t ? t : tally_find(m, NAME_REST);
    if (!t)
        return FACTS_REFOLD;
    tally_add(t, &c->d);
    return FACTS_OK;
}

static int change_narrow(struct tally_map *m, const struct change *c, const struct sides *s)
{
    struct tally *t = tally_find(m, c->d.name);

    if (!t) {
        if (!c->has || (tally_names(m) >= s->limit && !str_eq(c->d.name, NAME_REST)))
            return FACTS_REFOLD;
        t = tally_put(m, c->d.name);
        if (!t)
            return -ENOMEM;
    }
    tally_add(t, &c->d);
    if (!tally_stands(t))
        tally_remove(m, t);
    return FACTS_OK;
}

static int change_rest(struct tally_map *m, const struct change *c)
{
    struct tally *t = tally_put(m, NAME_REST);

    if (!t)
        return -ENOMEM;
    tally_add(t, &c->d);
    if (!tally_stands(t))
        tally_remove(m, t);
    return FACTS_OK;
}

/* Names that go first: they may make room for those that come. */
static int change_map(struct tally_map *m, struct change *v, size_t n, const struct sides *s)
{
    int rc = FACTS_OK;

    n = merge_changes(v, n);
    for (int coming = 0; coming < 2; coming++) {
        for (size_t i = 0; i < n && rc == FACTS_OK; i++) {
            if (v[i].has != (coming == 1))
                continue;
            if (str_eq(v[i].d.name, NAME_REST))
                rc = change_rest(m, &v[i]);
            else
                rc = m->cutoff ? change_wide(m, &v[i], s) : change_narrow(m, &v[i], s);
        }
    }
    return rc;
}

/* --- maps of items and of orders ------------------------------------------------------------------------------ */

static size_t item_changes(const struct order *o, enum facts_map map, int sign, struct change *v)
{
    size_t n = 0;

    for (size_t i = 0; o && i < o->item_count; i++) {
        const struct item *it = &o->items[i];
        struct str name = facts_item_name(it, map);

        if (!str_has(name))
            continue;
        v[n++] = (struct change){
            .d = {.name = name,
                  .lines = sign,
                  .ordered = sign * order_pieces(it),
                  .amount = o->home_currency ? sign * order_line(it) : 0},
            .had = sign<0, .has = sign> 0,
        };
    }
    return n;
}

static int change_item_maps(struct facts *f, const struct sides *s)
{
    size_t max = (s->before ? s->before->item_count : 0) + (s->now ? s->now->item_count : 0);
    struct change *v;
    int rc = FACTS_OK;

    if (max == 0)
        return FACTS_OK;
    v = malloc(max * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (int map = ITEM_MAP_FIRST; map < ITEM_MAP_END && rc == FACTS_OK; map++) {
        size_t n = item_changes(s->before, (enum facts_map)map, -1, v);

        n += item_changes(s->now, (enum facts_map)map, 1, v + n);
        rc = change_map(&f->by[map], v, n, s);
    }
    free(v);
    return rc;
}

static size_t order_change(const struct order *o, struct str name, int sign, struct change *out)
{
    if (!o || !str_has(name))
        return 0;
    *out = (struct change){
        .d = {.name = name, .orders = sign, .amount = o->home_currency ? sign * o->total : 0},
        .had = sign<0, .has = sign> 0,
    };
    return 1;
}

static struct str name_in(const struct facts_order *side, enum facts_map map)
{
    if (!side)
        return STR_NONE;
    return map == BY_CAMPAIGN ? facts_name(side->campaign) : facts_order_name(side->order, map);
}

static int change_order_maps(struct facts *f, const struct facts_order *before, const struct facts_order *now,
                             const struct sides *s)
{
    int rc = FACTS_OK;

    for (int map = ORDER_MAP_FIRST; map < ORDER_MAP_END && rc == FACTS_OK; map++) {
        struct change v[2];
        size_t n = order_change(s->before, name_in(before, (enum facts_map)map), -1, v);

        n += order_change(s->now, name_in(now, (enum facts_map)map), 1, v + n);
        rc = change_map(&f->by[map], v, n, s);
    }
    return rc;
}

/* --- times ---------------------------------------------------------------------------------------------------- */

/* First and last time of the counted orders; `others`: how many there are besides this one. */
static int change_times(struct facts *f, const struct sides *s, uint64_t others)
{
    int64_t first = f->first_order_at, last = f->last_order_at;
    int64_t now = s->now ? s->now->placed_at : TIME_NONE;

    if (others == 0) {
        first = last = TIME_NONE;
    } else if (s->before && others == 1) {
        /* The other one stands at the other end. */
        first = last = s->before->placed_at == first ? last : first;
    } else if (s->before) {
        int64_t was = s->before->placed_at;

        if ((was == first && (!s->now || now > was)) || (was == last && (!s->now || now < was)))
            return FACTS_REFOLD;
    }
    if (s->now) {
        first = first == TIME_NONE || now < first ? now : first;
        last = last == TIME_NONE || now > last ? now : last;
    }
    f->first_order_at = first;
    f->last_order_at = last;
    return FACTS_OK;
}

static const struct order *counted(const struct facts_order *side)
{
    return side && side->order->counted ? side->order : NULL;
}

int facts_change_order(struct facts *f, const struct facts_order *before, const struct facts_order *now,
                       const struct fold_rules *rules)
{
    struct sides s = {.before = counted(before), .now = counted(now), .limit = facts_map_limit(rules)};
    uint64_t others = f->orders - (s.before != NULL);
    int rc;

    assert(!s.before || f->orders > 0);
    if (s.before)
        s.key_before = facts_order_key(s.before);
    if (s.now)
        s.key_now = facts_order_key(s.now);
    rc = change_item_maps(f, &s);
    if (rc == FACTS_OK)
        rc = change_order_maps(f, before, now, &s);
    if (rc == FACTS_OK)
        rc = change_times(f, &s, others);
    if (rc == FACTS_OK && before)
        rc = sum_order(f, before->order, -1);
    if (rc == FACTS_OK && now)
        rc = sum_order(f, now->order, 1);
    drop_unused_currencies(f);
    return rc;
}
