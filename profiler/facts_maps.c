/* Names and the sorted maps of the facts. Pure. */
#include "profiler/facts_maps.h"

#include <assert.h>
#include <stdlib.h>

#include "common/limits.h"

const char *const facts_map_names[FACTS_MAPS] = {
    [BY_CATEGORY] = "category", [BY_BRAND] = "brand",     [BY_STYLE] = "style",       [BY_COLOR] = "color",
    [BY_SIZE] = "size",         [BY_PRODUCT] = "product", [BY_STORE] = "store",       [BY_CITY] = "city",
    [BY_DISTRICT] = "district", [BY_CHANNEL] = "channel", [BY_CAMPAIGN] = "campaign", [BY_MODULE] = "module",
};

size_t facts_map_limit(const struct fold_rules *rules)
{
    return rules->map_names ? rules->map_names : LIMIT_MAP_NAMES;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

struct str facts_name(struct str s)
{
    return s.n ? s : STR_NONE;
}

static struct str first_of(struct str a, struct str b)
{
    return a.n ? a : facts_name(b);
}

struct str facts_item_name(const struct item *it, enum facts_map map)
{
    switch (map) {
    case BY_CATEGORY:
        return facts_name(it->category);
    case BY_BRAND:
        return facts_name(it->brand);
    case BY_STYLE:
        return facts_name(it->style);
    case BY_COLOR:
        return facts_name(it->color);
    case BY_SIZE:
        return facts_name(it->size);
    case BY_PRODUCT:
        return first_of(it->product_id, first_of(it->sku, it->name));
    default:
        return STR_NONE;
    }
}

struct str facts_order_name(const struct order *o, enum facts_map map)
{
    switch (map) {
    case BY_STORE:
        return first_of(o->place.store_id, o->place.store_name);
    case BY_CITY:
        return facts_name(o->place.city);
    case BY_DISTRICT:
        return facts_name(o->place.district);
    case BY_CHANNEL:
        return facts_name(o->channel);
    default:
        return STR_NONE;
    }
}

struct event_key facts_order_key(const struct order *o)
{
    return (struct event_key){.time = o->placed_at};
}

void facts_hour_weekday(const struct fold_rules *rules, int64_t ms, int *hour, int *weekday)
{
    int64_t day;

    if (rules->zone) {
        zone_hour_weekday(rules->zone, ms, hour, weekday);
        return;
    }
    day = ms / TIME_DAY - (ms % TIME_DAY < 0);
    *hour = (int)((ms - day * TIME_DAY) / TIME_HOUR);
    *weekday = (int)(((day + 3) % 7 + 7) % 7) + 1; /* 1970-01-01 was a Thursday */
}

/* --- maps ----------------------------------------------------------------------------------------------------- */

bool tally_stands(const struct tally *t)
{
    return t->views || t->added || t->lines;
}

void tally_add(struct tally *t, const struct tally *more)
{
    t->views += more->views;
    t->added += more->added;
    t->ordered += more->ordered;
    t->lines += more->lines;
    t->amount += more->amount;
}

static int compare(const struct tally *t, uint64_t prefix, struct str name)
{
    if (t->prefix != prefix)
        return t->prefix < prefix ? -1 : 1;
    return str_cmp(t->name, name);
}

/* Where the name stands or would stand. */
static size_t position(const struct tally_map *m, struct str name, bool *found)
{
    uint64_t prefix = tally_prefix(name);
    size_t low = 0, high = m->n;

    *found = false;
    while (low < high && !*found) {
        size_t mid = low + (high - low) / 2;
        int c = compare(&m->v[mid], prefix, name);

        *found = c == 0;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return *found ? high : low;
}

struct tally *tally_find(const struct tally_map *m, struct str name)
{
    bool found;
    size_t i = position(m, name, &found);

    return found ? &m->v[i] : NULL;
}

static bool room_for_one(struct tally_map *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : 4;
    struct tally *v;

    if (m->n < m->cap)
        return true;
    v = realloc(m->v, cap * sizeof(*v));
    if (!v)
        return false;
    m->v = v;
    m->cap = cap;
    return true;
}

struct tally *tally_put(struct tally_map *m, struct str name)
{
    bool found;
    size_t i = position(m, name, &found);
    char *copy;

    if (found)
        return &m->v[i];
    assert(name.n > 0);
    if (!room_for_one(m) || !(copy = malloc(name.n)))
        return NULL;
    memcpy(copy, name.p, name.n);
    memmove(&m->v[i + 1], &m->v[i], (m->n - i) * sizeof(*m->v));
    m->v[i] = (struct tally){.name = {copy, name.n}, .prefix = tally_prefix(name)};
    m->n++;
    m->name_bytes += name.n;
    return &m->v[i];
}

void tally_remove(struct tally_map *m, struct tally *t)
{
    size_t i = (size_t)(t - m->v);

    assert(i < m->n);
    m->name_bytes -= t->name.n;
    free((char *)t->name.p);
    memmove(t, t + 1, (m->n - i - 1) * sizeof(*t));
    m->n--;
}

size_t tally_names(const struct tally_map *m)
{
    return m->n - (tally_find(m, NAME_REST) != NULL);
}

bool tally_widen(struct tally_map *m, struct event_key cutoff)
{
    if (!m->cutoff && !(m->cutoff = malloc(sizeof(*m->cutoff))))
        return false;
    *m->cutoff = cutoff;
    return true;
}

void tally_map_deinit(struct tally_map *m)
{
    for (size_t i = 0; i < m->n; i++)
        free((char *)m->v[i].name.p);
    free(m->v);
    free(m->cutoff);
    *m = (struct tally_map){0};
}

/* --- currencies ----------------------------------------------------------------------------------------------- */

struct currency_sum *facts_currency(struct facts *f, const char currency[4])
{
    struct currency_sum *v;
    size_t i = 0;

    while (i < f->currency_count && memcmp(f->currencies[i].currency, currency, 4) < 0)
        i++;
    if (i < f->currency_count && memcmp(f->currencies[i].currency, currency, 4) == 0)
        return &f->currencies[i];
    v = realloc(f->currencies, (f->currency_count + 1) * sizeof(*v));
    if (!v)
        return NULL;
    f->currencies = v;
    memmove(&v[i + 1], &v[i], (f->currency_count - i) * sizeof(*v));
    v[i] = (struct currency_sum){0};
    memcpy(v[i].currency, currency, 4);
    f->currency_count++;
    return &v[i];
}
