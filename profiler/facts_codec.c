/* Facts as a waymark.v1 Profile by protobuf-c, and back. Pure.
 *
 * Equal facts have equal bytes, and no others are taken: what was read is packed again and compared, which refuses
 * unknown fields, numbers in a longer form and whatever else would be lost. */
#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/facts_maps.h"
#include "proto/codec.h"
#include "proto/pb.h"
#include "waymark.pb-c.h"

#define FACTS_VERSION 1

/* A map has no more than its names and NAME_REST. */
#define MAP_MAX (LIMIT_MAP_NAMES + 1)

/* Lists that serve both directions, so that nothing is forgotten in one. */
#define COUNTERS(X)                                                                                                    \
    X(sessions)                                                                                                        \
    X(pages)                                                                                                           \
    X(products_viewed)                                                                                                 \
    X(products_added)                                                                                                  \
    X(products_removed)                                                                                                \
    X(checkouts)                                                                                                       \
    X(touches)                                                                                                         \
    X(campaigns)                                                                                                       \
    X(orders)                                                                                                          \
    X(orders_cancelled)                                                                                                \
    X(orders_refunded)                                                                                                 \
    X(credit_notes)                                                                                                    \
    X(items)                                                                                                           \
    X(items_without_cost)
#define AMOUNTS(X) X(gross) X(refunded) X(discount) X(cost)
#define CURRENCY_AMOUNTS(X) X(gross) X(refunded) X(discount)

#define PUT_NUMBER(field)                                                                                              \
    m->field = from->field;                                                                                            \
    m->has_##field = from->field != 0;
#define PUT_AMOUNT(field)                                                                                              \
    m->field = low_half(from->field);                                                                                  \
    m->has_##field = m->field != 0;                                                                                    \
    m->field##_high = high_half(from->field);                                                                          \
    m->has_##field##_high = !fits_half(from->field);
#define GET_NUMBER(field) to->field = m->field;
#define GET_AMOUNT(field) to->field = amount_of(m->field, m->has_##field##_high ? m->field##_high : -(m->field < 0));

#define MAP_AT(name) offsetof(Waymark__V1__Profile, by_##name)

static const size_t map_at[FACTS_MAPS] = {
    [BY_CATEGORY] = MAP_AT(category), [BY_BRAND] = MAP_AT(brand),       [BY_STYLE] = MAP_AT(style),
    [BY_COLOR] = MAP_AT(color),       [BY_SIZE] = MAP_AT(size),         [BY_PRODUCT] = MAP_AT(product),
    [BY_STORE] = MAP_AT(store),       [BY_CITY] = MAP_AT(city),         [BY_DISTRICT] = MAP_AT(district),
    [BY_CHANNEL] = MAP_AT(channel),   [BY_CAMPAIGN] = MAP_AT(campaign), [BY_MODULE] = MAP_AT(module),
};

static Waymark__V1__Tallies **map_slot(const Waymark__V1__Profile *m, int map)
{
    return (Waymark__V1__Tallies **)((uintptr_t)m + map_at[map]);
}

static inline int64_t low_half(money v)
{
    return (int64_t)(uint64_t)v;
}

static inline int64_t high_half(money v)
{
    return (int64_t)(v >> 64);
}

/* Whether the lower half alone says it. */
static inline bool fits_half(money v)
{
    return v == low_half(v);
}

static inline money amount_of(int64_t low, int64_t high)
{
    return (money)((unsigned __int128)(uint64_t)high << 64 | (uint64_t)low);
}

static ProtobufCBinaryData binary(const void *p, size_t n)
{
    return (ProtobufCBinaryData){n, (uint8_t *)(uintptr_t)p}; /* protobuf-c takes no const; packing only reads */
}

/* --- packing -------------------------------------------------------------------------------------------------- */

/* Scratch for a profile of some fifty names. */
#define FEW_BYTES (4 * KIB)

/* The messages inside a profile, built beside it. What has no fixed number lies in one scratch block. */
struct box {
    Waymark__V1__Profile profile;
    Waymark__V1__EventKey last_event, referral;
    Waymark__V1__Tallies maps[FACTS_MAPS];
    uint32_t hours[24], weekdays[7];
    uint64_t hour_counts[24], weekday_counts[7];
    char *scratch, *next, *end;
    alignas(max_align_t) char few[FEW_BYTES];
};

/* What a name takes of the scratch in all columns. */
struct column_sizes {
    ProtobufCBinaryData name;
    uint64_t counts, added, lines;
    int64_t ordered, amount, amount_high;
};

struct currency_box {
    Waymark__V1__CurrencySum *pointer;
    Waymark__V1__CurrencySum sum;
};

static void *take(struct box *box, size_t n)
{
    void *p = box->next;

    assert(n <= (size_t)(box->end - box->next) && n % sizeof(uint64_t) == 0);
    box->next += n;
    return p;
}

static bool open_box(struct box *box, const struct facts *f)
{
    size_t n = f->currency_count * sizeof(struct currency_box);

    for (int map = 0; map < FACTS_MAPS; map++) {
        assert(f->by[map].n <= MAP_MAX);
        n += f->by[map].n * sizeof(struct column_sizes);
    }
    box->scratch = box->next = n <= FEW_BYTES ? box->few : malloc(n);
    box->end = box->next + (box->next ? n : 0);
    return box->scratch;
}

static void close_box(struct box *box)
{
    if (box->scratch != box->few)
        free(box->scratch);
}

static Waymark__V1__EventKey *put_key(Waymark__V1__EventKey *m, const struct event_key *from)
{
    waymark__v1__event_key__init(m);
    m->time = from->time;
    m->received = from->received;
    PUT_NUMBER(position)
    m->uid = binary(from->uid.b, UID_BYTES);
    return m;
}

/* The column of the numbers at that place of a tally, left out when it says nothing. */
static void *put_column(struct box *box, const struct tally_map *from, size_t at, size_t *count)
{
    uint64_t *v = take(box, from->n * sizeof(*v)), any = 0;

    for (size_t i = 0; i < from->n; i++) {
        memcpy(&v[i], (const char *)&from->v[i] + at, sizeof(v[i]));
        any |= v[i];
    }
    *count = any ? from->n : 0;
    return v;
}

static void put_amounts(Waymark__V1__Tallies *m, struct box *box, const struct tally_map *from)
{
    int64_t *low = take(box, from->n * sizeof(*low)), *high = take(box, from->n * sizeof(*high)), any = 0;
    bool fit = true;

    for (size_t i = 0; i < from->n; i++) {
        low[i] = low_half(from->v[i].amount);
        high[i] = high_half(from->v[i].amount);
        any |= low[i];
        fit &= fits_half(from->v[i].amount);
    }
    m->amounts = low;
    m->n_amounts = any ? from->n : 0;
    m->amounts_high = high;
    m->n_amounts_high = fit ? 0 : from->n;
}

/* What is ordered stands while there is a line. */
static void put_lines(Waymark__V1__Tallies *m, struct box *box, const struct tally_map *from)
{
    m->added = put_column(box, from, offsetof(struct tally, added), &m->n_added);
    m->lines = put_column(box, from, offsetof(struct tally, lines), &m->n_lines);
    if (m->n_lines == 0)
        return;
    m->ordered = put_column(box, from, offsetof(struct tally, ordered), &m->n_ordered);
    put_amounts(m, box, from);
}

static void put_map(struct box *box, int map, const struct tally_map *from)
{
    Waymark__V1__Tallies *m = &box->maps[map];

    if (from->n == 0 && !from->cutoff)
        return;
    waymark__v1__tallies__init(m);
    *map_slot(&box->profile, map) = m;
    m->names = take(box, from->n * sizeof(*m->names));
    m->n_names = from->n;
    for (size_t i = 0; i < from->n; i++)
        m->names[i] = binary(from->v[i].name.p, from->v[i].name.n);
    m->counts = put_column(box, from, offsetof(struct tally, views), &m->n_counts);
    if (map < ITEM_MAP_END)
        put_lines(m, box, from);
    else if (map < ORDER_MAP_END)
        put_amounts(m, box, from);
    m->wide = m->has_wide = from->cutoff != NULL;
}

static void put_currencies(struct box *box, const struct facts *f)
{
    Waymark__V1__CurrencySum **pointers = take(box, f->currency_count * sizeof(Waymark__V1__CurrencySum *));

    for (size_t i = 0; i < f->currency_count; i++) {
        const struct currency_sum *from = &f->currencies[i];
        Waymark__V1__CurrencySum *m = take(box, sizeof(*m));

        waymark__v1__currency_sum__init(m);
        m->currency = binary(from->currency, 3);
        m->uses = from->uses;
        CURRENCY_AMOUNTS(PUT_AMOUNT)
        pointers[i] = m;
    }
    box->profile.currencies = pointers;
    box->profile.n_currencies = f->currency_count;
}

/* Those that are not 0, numbered from `first`. */
static size_t put_clock(uint32_t *keys, uint64_t *counts, const uint64_t *from, size_t n, uint32_t first)
{
    size_t there = 0;

    for (size_t i = 0; i < n; i++) {
        if (!from[i])
            continue;
        keys[there] = first + (uint32_t)i;
        counts[there++] = from[i];
    }
    return there;
}

static void put_clocks(struct box *box, const struct facts *f)
{
    Waymark__V1__Profile *m = &box->profile;

    m->hours = box->hours;
    m->hour_counts = box->hour_counts;
    m->n_hours = m->n_hour_counts = put_clock(m->hours, m->hour_counts, f->hour, 24, 0);
    m->weekdays = box->weekdays;
    m->weekday_counts = box->weekday_counts;
    m->n_weekdays = m->n_weekday_counts = put_clock(m->weekdays, m->weekday_counts, f->weekday, 7, 1);
}

static void put_times(struct box *box, const struct facts *f)
{
    Waymark__V1__Profile *m = &box->profile;

    if (f->events > 0) {
        m->last_event = put_key(&box->last_event, &f->last_key);
        m->first_event_at = f->first_event_at;
        m->has_first_event_at = f->first_event_at != f->last_key.time;
    }
    m->first_seen = f->first_seen;
    m->has_first_seen = f->first_seen != TIME_NONE;
    m->last_seen = f->last_seen;
    m->has_last_seen = f->last_seen != f->first_seen;
    m->first_order_at = f->first_order_at;
    m->has_first_order_at = f->first_order_at != TIME_NONE;
    m->last_order_at = f->last_order_at;
    m->has_last_order_at = f->last_order_at != f->first_order_at;
}

static void put_facts(struct box *box, const struct facts *from)
{
    Waymark__V1__Profile *m = &box->profile;

    waymark__v1__profile__init(m);
    m->version = FACTS_VERSION;
    m->events = from->events;
    put_times(box, from);
    COUNTERS(PUT_NUMBER)
    AMOUNTS(PUT_AMOUNT)
    put_clocks(box, from);
    put_currencies(box, from);
    if (str_has(from->referred_by)) {
        m->referral = put_key(&box->referral, &from->referred_key);
        m->has_referred_by = true;
        m->referred_by = binary(from->referred_by.p, from->referred_by.n);
    }
    for (int map = 0; map < FACTS_MAPS; map++)
        put_map(box, map, &from->by[map]);
}

/* No profile packs into more than this. */
static size_t facts_bound(const struct facts *f)
{
    size_t n = (64 + 31 + FACTS_MAPS * 9) * PB_FIELD_BYTES + 2 * UID_BYTES + f->referred_by.n;

    n += f->currency_count * 10 * PB_FIELD_BYTES;
    for (int map = 0; map < FACTS_MAPS; map++)
        n += f->by[map].n * 7 * PB_FIELD_BYTES + f->by[map].name_bytes;
    return n;
}

bool facts_pack(const struct facts *f, struct buf *b)
{
    struct box box;

    if (!open_box(&box, f)) {
        b->failed = true;
        return false;
    }
    put_facts(&box, f);
    bool ok = pb_pack(&box.profile.base, facts_bound(f), b);
    close_box(&box);
    return ok;
}

/* --- unpacking ------------------------------------------------------------------------------------------------ */

/* What reads gives 0, 1 for what no facts have, or -ENOMEM. What only has another form is found by packing again. */

static int copy_bytes(const ProtobufCBinaryData *from, struct str *to)
{
    char *copy;

    if (from->len == 0)
        return 1;
    copy = malloc(from->len);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, from->data, from->len);
    *to = (struct str){copy, from->len};
    return 0;
}

static bool get_key(const Waymark__V1__EventKey *m, struct event_key *to)
{
    if (!m || m->uid.len != UID_BYTES)
        return false;
    *to = (struct event_key){.time = m->time, .received = m->received, .position = m->position};
    memcpy(to->uid.b, m->uid.data, UID_BYTES);
    return true;
}

static bool get_times(const Waymark__V1__Profile *m, struct facts *to)
{
    if (m->events > 0) {
        if (!get_key(m->last_event, &to->last_key))
            return false;
        to->last_event_at = to->last_key.time;
        to->first_event_at = m->has_first_event_at ? m->first_event_at : to->last_event_at;
        if (to->first_event_at == TIME_NONE || to->first_event_at > to->last_event_at)
            return false;
    }
    if (m->has_first_seen) {
        to->first_seen = m->first_seen;
        to->last_seen = m->has_last_seen ? m->last_seen : m->first_seen;
    }
    if (m->has_first_order_at) {
        to->first_order_at = m->first_order_at;
        to->last_order_at = m->has_last_order_at ? m->last_order_at : m->first_order_at;
    }
    return to->first_seen <= to->last_seen && to->first_order_at <= to->last_order_at;
}

static bool get_clock(const uint32_t *keys, size_t n, const uint64_t *counts, size_t n_counts, uint64_t *to,
                      size_t room, uint32_t first)
{
    if (n != n_counts)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (keys[i] < first || keys[i] - first >= room)
            return false;
        to[keys[i] - first] = counts[i];
    }
    return true;
}

static bool get_numbers(const Waymark__V1__Profile *m, struct facts *to)
{
    to->events = m->events;
    COUNTERS(GET_NUMBER)
    AMOUNTS(GET_AMOUNT)
    return get_clock(m->hours, m->n_hours, m->hour_counts, m->n_hour_counts, to->hour, 24, 0) &&
           get_clock(m->weekdays, m->n_weekdays, m->weekday_counts, m->n_weekday_counts, to->weekday, 7, 1);
}

static bool get_currency(const Waymark__V1__CurrencySum *m, struct currency_sum *to)
{
    if (m->currency.len != 3 || m->uses == 0 || memchr(m->currency.data, 0, 3))
        return false;
    *to = (struct currency_sum){.uses = m->uses};
    memcpy(to->currency, m->currency.data, 3);
    CURRENCY_AMOUNTS(GET_AMOUNT)
    return true;
}

static int get_currencies(const Waymark__V1__Profile *m, struct facts *to)
{
    size_t n = m->n_currencies;

    if (n == 0)
        return 0;
    to->currencies = malloc(n * sizeof(*to->currencies));
    if (!to->currencies)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct currency_sum *c = &to->currencies[i];

        if (!get_currency(m->currencies[i], c) || (i > 0 && memcmp(c[-1].currency, c->currency, 4) >= 0))
            return 1;
    }
    to->currency_count = n;
    return 0;
}

/* A column has all or nothing. */
static bool columns_stand(const Waymark__V1__Tallies *m)
{
    const size_t n[] = {m->n_counts, m->n_added, m->n_lines, m->n_ordered, m->n_amounts, m->n_amounts_high};

    for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
        if (n[i] != 0 && n[i] != m->n_names)
            return false;
    }
    return m->n_names <= MAP_MAX;
}

/* False for a count that is none. */
static bool get_tally(const Waymark__V1__Tallies *m, size_t i, struct tally *to)
{
    uint64_t counts = m->n_counts ? m->counts[i] : 0, added = m->n_added ? m->added[i] : 0;
    uint64_t lines = m->n_lines ? m->lines[i] : 0;
    int64_t low = m->n_amounts ? m->amounts[i] : 0;

    *to = (struct tally){.views = (int64_t)counts, .added = (int64_t)added, .lines = (int64_t)lines};
    to->ordered = m->n_ordered ? m->ordered[i] : 0;
    to->amount = amount_of(low, m->n_amounts_high ? m->amounts_high[i] : -(low < 0));
    return (counts | added | lines) <= INT64_MAX && tally_stands(to);
}

static bool sorted(const struct tally *a, const struct tally *b)
{
    return a->prefix != b->prefix ? a->prefix < b->prefix : str_cmp(a->name, b->name) < 0;
}

static int get_tallies(const Waymark__V1__Tallies *m, bool of_items, struct tally_map *to)
{
    for (size_t i = 0; i < m->n_names; i++) {
        struct tally *t = &to->v[i];
        int rc;

        if (!get_tally(m, i, t) || (of_items && t->lines == 0 && (t->ordered || t->amount)))
            return 1;
        rc = copy_bytes(&m->names[i], &t->name);
        if (rc != 0)
            return rc;
        t->prefix = tally_prefix(t->name);
        to->n++;
        to->name_bytes += t->name.n;
        if (i > 0 && !sorted(&t[-1], t))
            return 1;
    }
    return 0;
}

static int get_map(const Waymark__V1__Profile *profile, int map, struct facts *f)
{
    const Waymark__V1__Tallies *m = *map_slot(profile, map);
    struct tally_map *to = &f->by[map];
    int rc;

    if (!m)
        return 0;
    if (m->n_names == 0 || !columns_stand(m))
        return 1;
    to->v = malloc(m->n_names * sizeof(*to->v));
    if (!to->v)
        return -ENOMEM;
    to->cap = (uint32_t)m->n_names;
    rc = get_tallies(m, map < ITEM_MAP_END, to);
    if (rc != 0 || !m->wide)
        return rc;
    if (!tally_find(to, NAME_REST))
        return 1;
    /* When its names came is not kept: not later than everything that is there. */
    return tally_widen(to, facts_names_end(f)) ? 0 : -ENOMEM;
}

static int get_facts(const Waymark__V1__Profile *m, struct facts *to)
{
    int rc;

    if (m->version != FACTS_VERSION || !get_times(m, to) || !get_numbers(m, to))
        return 1;
    if (m->has_referred_by) {
        if (!get_key(m->referral, &to->referred_key))
            return 1;
        rc = copy_bytes(&m->referred_by, &to->referred_by);
        if (rc != 0)
            return rc;
    }
    rc = get_currencies(m, to);
    for (int map = 0; map < FACTS_MAPS && rc == 0; map++)
        rc = get_map(m, map, to);
    return rc;
}

/* Whether these are the bytes of the facts: 0, 1 or -ENOMEM. */
static int compare_bytes(const struct facts *f, struct str bytes)
{
    size_t bound = facts_bound(f);
    char few[2 * FEW_BYTES];
    char *room = bound <= sizeof(few) ? few : malloc(bound);
    struct buf b = {.p = room, .cap = bound, .max = bound};
    int rc = -ENOMEM;

    if (room && facts_pack(f, &b))
        rc = str_eq(buf_str(&b), bytes) ? 0 : 1;
    if (room != few)
        free(room);
    return rc;
}

int facts_unpack_own(struct str bytes, struct facts *out)
{
    const Waymark__V1__Profile *m;
    struct arena a;
    int rc;

    facts_init(out);
    arena_init(&a, CODEC_UNPACK_BYTES(bytes.n));
    m = (const Waymark__V1__Profile *)pb_unpack(&waymark__v1__profile__descriptor, bytes, a.max, &a);
    if (m)
        rc = get_facts(m, out);
    else
        rc = errno == ENOMEM ? -ENOMEM : 1;
    arena_deinit(&a);
    if (rc != 0)
        facts_deinit(out);
    return rc;
}

int facts_unpack(struct str bytes, struct facts *out)
{
    int rc = facts_unpack_own(bytes, out);

    if (rc != 0)
        return rc;
    rc = compare_bytes(out, bytes);
    if (rc != 0)
        facts_deinit(out);
    return rc;
}

/* The number of events stands last, in its shortest form. */
bool facts_packed_any(struct str bytes)
{
    return bytes.n > 0 && bytes.p[bytes.n - 1] != 0;
}
