/* What the files of the facts share: which name an item, an order or an event has in each map, and the sorted maps. For
 * profiler/facts*.c alone. Pure. */
#ifndef WAYMARK_FACTS_MAPS_H
#define WAYMARK_FACTS_MAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "profiler/facts.h"

/* The maps by what they count. */
#define ITEM_MAP_FIRST BY_CATEGORY
#define ITEM_MAP_END BY_STORE
#define ORDER_MAP_FIRST BY_STORE
#define ORDER_MAP_END BY_MODULE

/* Collects what has no place of its own, and what a client calls so. */
#define NAME_REST STR_LIT("*")

extern const char *const facts_map_names[FACTS_MAPS];

/* Names that a map keeps. */
size_t facts_map_limit(const struct fold_rules *rules);

/* The name of an item in an item map, absent (never empty) for none. */
struct str facts_item_name(const struct item *it, enum facts_map map);
/* The name of an order in an order map but BY_CAMPAIGN. */
struct str facts_order_name(const struct order *o, enum facts_map map);
/* Absent for an empty span. */
struct str facts_name(struct str s);
/* The key at which an order's names are first seen. */
struct event_key facts_order_key(const struct order *o);
/* A key at or after the first mention of every name so far. */
struct event_key facts_names_end(const struct facts *f);
/* Local hour 0-23 and weekday 1-7. */
void facts_hour_weekday(const struct fold_rules *rules, int64_t ms, int *hour, int *weekday);

/* Names that differ here stand in the order of these numbers. */
static inline uint64_t tally_prefix(struct str name)
{
    const size_t n = name.n < sizeof(uint64_t) ? name.n : sizeof(uint64_t);
    uint64_t v = 0;

    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)name.p[i];
    return n ? v << 8 * (sizeof(v) - n) : 0;
}

/* Whether something counts under it. */
bool tally_stands(const struct tally *t);
/* Adds all counts. */
void tally_add(struct tally *t, const struct tally *more);

/* NULL when the map has no such name. */
struct tally *tally_find(const struct tally_map *m, struct str name);
/* Finds or makes; the name is copied. NULL when memory is out. */
struct tally *tally_put(struct tally_map *m, struct str name);
/* Takes it out. */
void tally_remove(struct tally_map *m, struct tally *t);
/* Names but for NAME_REST. */
size_t tally_names(const struct tally_map *m);
/* Says that the map has more names than it may keep. False when memory is out. */
bool tally_widen(struct tally_map *m, struct event_key cutoff);
void tally_map_deinit(struct tally_map *m);

/* The sum of that currency, found or made. NULL when memory is out. */
struct currency_sum *facts_currency(struct facts *f, const char currency[4]);

#endif
