/* The facts, changed event by event. Each step gives exactly what folding everything anew would give, or says that it
 * cannot (FACTS_REFOLD). What an order changes stands in facts_orders.c. Pure; one thread at a time. */
#include "profiler/facts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/facts_maps.h"

void facts_init(struct facts *f)
{
    *f = (struct facts){
        .first_seen = TIME_NONE,
        .last_seen = TIME_NONE,
        .first_event_at = TIME_NONE,
        .last_event_at = TIME_NONE,
        .first_order_at = TIME_NONE,
        .last_order_at = TIME_NONE,
    };
}

void facts_deinit(struct facts *f)
{
    for (int i = 0; i < FACTS_MAPS; i++)
        tally_map_deinit(&f->by[i]);
    free(f->currencies);
    free((char *)f->referred_by.p);
    facts_init(f);
}

size_t facts_bytes(const struct facts *f)
{
    const size_t heap = 16; /* what malloc keeps beside a block */
    size_t n = sizeof(*f) + f->currency_count * sizeof(*f->currencies) + f->referred_by.n + 2 * heap;

    for (int i = 0; i < FACTS_MAPS; i++) {
        const struct tally_map *m = &f->by[i];

        n += m->cap * sizeof(*m->v) + m->name_bytes + m->n * heap;
        n += m->cutoff ? sizeof(*m->cutoff) + heap : 0;
    }
    return n;
}

struct event_key facts_names_end(const struct facts *f)
{
    struct event_key order = {.time = f->last_order_at};

    return f->events > 0 && event_key_cmp(&f->last_key, &order) > 0 ? f->last_key : order;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

/* Counts `more` under a name that an event mentions. Names of one event come in their order: of those first seen at
 * one key the lesser are kept. `end`: at or after the first mention of every name, this event apart. */
static int mention(struct tally_map *m, struct str name, const struct tally *more, const struct event_key *key,
                   const struct event_key *end, size_t limit)
{
    struct tally *t = tally_find(m, name);

    if (!t && !str_eq(name, NAME_REST) && (m->cutoff || (m->n >= limit && tally_names(m) >= limit))) {
        /* Only a name that is newer than all that are kept is sure to have no place. In a map that this very event
         * made wide, those it mentions from here on come after it. */
        if (m->cutoff ? event_key_cmp(key, m->cutoff) < 0 : event_key_cmp(key, end) <= 0)
            return FACTS_REFOLD;
        if (!m->cutoff && !tally_widen(m, *key))
            return -ENOMEM;
        name = NAME_REST;
    }
    t = t ? t : tally_put(m, name);
    if (!t)
        return -ENOMEM;
    tally_add(t, more);
    return FACTS_OK;
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* The distinct names that the items have in a map, sorted. `v` has room for all. */
static size_t item_names(const struct event *e, enum facts_map map, struct str *v)
{
    size_t n = 0, distinct = 0;

    for (size_t i = 0; i < e->item_count; i++) {
        v[n] = facts_item_name(&e->items[i], map);
        n += str_has(v[n]);
    }
    if (n > 1)
        qsort(v, n, sizeof(*v), compare_names);
    for (size_t i = 0; i < n; i++) {
        if (distinct == 0 || !str_eq(v[distinct - 1], v[i]))
            v[distinct++] = v[i];
    }
    return distinct;
}

static int mention_items(struct facts *f, const struct event *e, const struct tally *more, const struct event_key *end,
                         const struct fold_rules *rules)
{
    struct str few[8];
    struct str *names = few;
    struct event_key key = event_key(e);
    int rc = 0;

    if (e->item_count > sizeof(few) / sizeof(few[0]) && !(names = malloc(e->item_count * sizeof(*names))))
        return -ENOMEM;
    for (int map = ITEM_MAP_FIRST; map < ITEM_MAP_END && rc == 0; map++) {
        size_t n = item_names(e, (enum facts_map)map, names);

        for (size_t i = 0; i < n && rc == 0; i++)
            rc = mention(&f->by[map], names[i], more, &key, end, facts_map_limit(rules));
    }
    if (names != few)
        free(names);
    return rc;
}

/* --- events --------------------------------------------------------------------------------------------------- */

static void widen(int64_t *first, int64_t *last, int64_t time)
{
    if (*first == TIME_NONE || time < *first)
        *first = time;
    if (*last == TIME_NONE || time > *last)
        *last = time;
}

static void add_session_event(struct facts *f, const struct event *e, unsigned flags, const struct fold_rules *rules)
{
    int hour, weekday;

    widen(&f->first_seen, &f->last_seen, e->time);
    facts_hour_weekday(rules, e->time, &hour, &weekday);
    assert(hour >= 0 && hour < 24 && weekday >= 1 && weekday <= 7);
    f->hour[hour]++;
    f->weekday[weekday - 1]++;
    if (flags & ENTRY_TOUCH) {
        f->touches++;
        f->campaigns += (flags & ENTRY_CAMPAIGN) != 0;
    }
}

/* Whoever shared it first counts. */
static int add_referral(struct facts *f, const struct event *e)
{
    struct event_key key = event_key(e);
    char *copy;

    if (e->shared_by.n == 0 || (str_has(f->referred_by) && event_key_cmp(&f->referred_key, &key) <= 0))
        return 0;
    copy = malloc(e->shared_by.n);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, e->shared_by.p, e->shared_by.n);
    free((char *)f->referred_by.p);
    f->referred_by = (struct str){copy, e->shared_by.n};
    f->referred_key = key;
    return 0;
}

static int add_track(struct facts *f, const struct event *e, const struct event_key *end,
                     const struct fold_rules *rules)
{
    if (str_is(e->name, "Product Viewed")) {
        f->products_viewed++;
        return mention_items(f, e, &(struct tally){.views = 1}, end, rules);
    }
    if (str_is(e->name, "Product Added")) {
        f->products_added++;
        return mention_items(f, e, &(struct tally){.added = 1}, end, rules);
    }
    if (str_is(e->name, "Product Removed"))
        f->products_removed++;
    else if (str_is(e->name, "Checkout Started"))
        f->checkouts++;
    return 0;
}

static int add_page(struct facts *f, const struct event *e, const struct event_key *end, const struct fold_rules *rules)
{
    struct event_key key = event_key(e);

    f->pages++;
    if (e->module.n == 0)
        return 0;
    return mention(&f->by[BY_MODULE], e->module, &(struct tally){.pages = 1}, &key, end, facts_map_limit(rules));
}

int facts_add_event(struct facts *f, const struct event *e, unsigned flags, const struct fold_rules *rules)
{
    struct event_key key = event_key(e), end = facts_names_end(f);
    int rc = add_referral(f, e);

    if (rc == 0 && (flags & ENTRY_PAGE))
        rc = add_page(f, e, &end, rules);
    if (rc == 0 && e->type == EVENT_TRACK)
        rc = add_track(f, e, &end, rules);
    if (rc != 0)
        return rc;
    if (flags & ENTRY_SESSION)
        add_session_event(f, e, flags, rules);
    widen(&f->first_event_at, &f->last_event_at, e->time);
    if (f->events == 0 || event_key_cmp(&key, &f->last_key) > 0)
        f->last_key = key;
    f->events++;
    return FACTS_OK;
}

void facts_add_sessions(struct facts *f, int change)
{
    assert(change >= 0 || f->sessions > 0);
    f->sessions += (uint64_t)(int64_t)change;
}

bool facts_touch_matters(const struct facts *f, unsigned flags, bool in_order, bool order_changed)
{
    bool touch = (flags & (ENTRY_SESSION | ENTRY_TOUCH)) == (ENTRY_SESSION | ENTRY_TOUCH);

    if (f->campaigns == 0 && !(touch && (flags & ENTRY_CAMPAIGN)))
        return false;
    if (order_changed)
        return true;
    if (f->orders == 0)
        return false;
    /* Out of order it may start, end or join sessions, and so make or unmake a touch before an order. */
    if (!in_order)
        return (flags & ENTRY_SESSION) != 0;
    /* In order only a touch that an order comes after: one that was placed in another path. */
    return touch && f->last_order_at >= f->last_event_at;
}

struct touches facts_touches(const struct path_entry *path, const struct path_note *notes, size_t n, int64_t placed_at,
                             int64_t window_ms)
{
    struct touches t = {-1, -1};

    for (size_t i = n; i-- > 0;) {
        int64_t time = path[i].key.time;

        if (time > placed_at)
            continue;
        if ((uint64_t)placed_at - (uint64_t)time > (uint64_t)window_ms)
            break;
        if (!notes[i].starts || !(path[i].flags & ENTRY_TOUCH))
            continue;
        t.first = (int64_t)i;
        if (t.last < 0)
            t.last = (int64_t)i;
    }
    return t;
}

bool facts_comes_last(const struct facts *facts, int64_t time)
{
    return time > facts->last_event_at && time > facts->last_order_at;
}
