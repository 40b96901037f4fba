/* Facts as canonical bytes: a version, a mask of what is there, then numbers as varints, each in its shortest form, so
 * that equal facts and equal bytes are one. Reading takes hostile bytes. Pure. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/facts_maps.h"

#define FACTS_VERSION 1

enum { HAS_EVENTS = 1, HAS_SEEN = 2, HAS_ORDERS = 4, HAS_REFERRAL = 8, HAS_ALL = 15 };

/* --- numbers ----------------------------------------------------------------------------------------------- */

static void put_money(struct buf *b, money m)
{
    unsigned __int128 v = ((unsigned __int128)m << 1) ^ (unsigned __int128)(m >> 127);
    unsigned char bytes[19];
    size_t n = 0;

    do {
        bytes[n++] = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        v >>= 7;
    } while (v);
    buf_add(b, bytes, n);
}

static void put_key(struct buf *b, const struct event_key *k)
{
    buf_add_svarint(b, k->time);
    buf_add_svarint(b, k->received);
    buf_add_varint(b, k->position);
    buf_add(b, k->uid.b, UID_BYTES);
}

/* Reading: `bad` sticks, values are then 0. */
struct reader {
    const char *p, *end;
    bool bad;
};

static uint64_t take(struct reader *r)
{
    const char *from = r->p;
    uint64_t v = 0;

    if (r->bad || !get_varint(&r->p, r->end, &v) || (r->p - from > 1 && r->p[-1] == 0)) {
        r->bad = true;
        return 0;
    }
    return v;
}

static int64_t take_signed(struct reader *r)
{
    uint64_t v = take(r);

    return (int64_t)((v >> 1) ^ (~(v & 1) + 1));
}

/* A count that never is negative. */
static int64_t take_count(struct reader *r)
{
    uint64_t v = take(r);

    r->bad |= v > INT64_MAX;
    return r->bad ? 0 : (int64_t)v;
}

static money take_money(struct reader *r)
{
    unsigned __int128 v = 0;
    unsigned char byte = 0x80;

    for (unsigned shift = 0; byte & 0x80 && !r->bad; shift += 7) {
        if (r->p == r->end || shift > 126) {
            r->bad = true;
            break;
        }
        byte = (unsigned char)*r->p++;
        if ((shift == 126 && byte > 3) || (shift > 0 && byte == 0))
            r->bad = true;
        v |= (unsigned __int128)(byte & 0x7f) << shift;
    }
    return r->bad ? 0 : (money)((v >> 1) ^ (~(v & 1) + 1));
}

static struct str take_bytes(struct reader *r, uint64_t n)
{
    struct str s = {r->p, (size_t)n};

    if (r->bad || n > (uint64_t)(r->end - r->p)) {
        r->bad = true;
        return (struct str){"", 0};
    }
    r->p += n;
    return s;
}

static struct event_key take_key(struct reader *r)
{
    struct event_key k = {.time = take_signed(r)};
    uint64_t position;
    struct str uid;

    k.received = take_signed(r);
    position = take(r);
    uid = take_bytes(r, UID_BYTES);
    r->bad |= position > UINT32_MAX;
    k.position = (uint32_t)position;
    if (!r->bad)
        memcpy(k.uid.b, uid.p, UID_BYTES);
    return k;
}

/* Two times of which neither or both are there, the greater as its distance from the lesser. */
static void put_span(struct buf *b, int64_t first, int64_t last)
{
    assert(first != TIME_NONE && first <= last);
    buf_add_svarint(b, first);
    buf_add_varint(b, (uint64_t)last - (uint64_t)first);
}

static void take_span(struct reader *r, int64_t *first, int64_t *last)
{
    *first = take_signed(r);
    *last = (int64_t)((uint64_t)*first + take(r));
    r->bad |= *first == TIME_NONE || *last < *first;
}

/* --- maps -------------------------------------------------------------------------------------------------- */

static void put_tally(struct buf *b, enum facts_map map, const struct tally *t)
{
    buf_add_varint(b, t->name.n);
    buf_add_str(b, t->name);
    if (map == BY_MODULE) {
        buf_add_varint(b, (uint64_t)t->pages);
    } else if (map >= ORDER_MAP_FIRST) {
        buf_add_varint(b, (uint64_t)t->orders);
        put_money(b, t->amount);
    } else {
        buf_add_varint(b, (uint64_t)t->views);
        buf_add_varint(b, (uint64_t)t->added);
        buf_add_varint(b, (uint64_t)t->lines);
        if (t->lines) {
            buf_add_svarint(b, t->ordered);
            put_money(b, t->amount);
        }
    }
}

static struct tally take_tally(struct reader *r, enum facts_map map)
{
    struct tally t = {.name = take_bytes(r, take(r))};

    if (map == BY_MODULE) {
        t.pages = take_count(r);
    } else if (map >= ORDER_MAP_FIRST) {
        t.orders = take_count(r);
        t.amount = take_money(r);
    } else {
        t.views = take_count(r);
        t.added = take_count(r);
        t.lines = take_count(r);
        if (t.lines) {
            t.ordered = take_signed(r);
            t.amount = take_money(r);
        }
    }
    r->bad |= t.name.n == 0 || !tally_stands(&t);
    return t;
}

static void put_map(struct buf *b, enum facts_map map, const struct tally_map *m)
{
    buf_add_varint(b, (uint64_t)m->n << 1 | (m->cutoff != NULL));
    for (size_t i = 0; i < m->n; i++)
        put_tally(b, map, &m->v[i]);
}

/* Takes the tallies, sorted as they must be. -ENOMEM or 0. */
static int take_tallies(struct reader *r, enum facts_map map, struct tally_map *m, uint64_t n)
{
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct tally t = take_tally(r, map);
        char *copy;

        if (r->bad || (m->n > 0 && str_cmp(m->v[m->n - 1].name, t.name) >= 0)) {
            r->bad = true;
            return 0;
        }
        copy = malloc(t.name.n);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, t.name.p, t.name.n);
        t.name.p = copy;
        t.prefix = tally_prefix(t.name);
        m->v[m->n++] = t;
        m->name_bytes += t.name.n;
    }
    return 0;
}

static int take_map(struct reader *r, enum facts_map map, struct facts *f)
{
    struct tally_map *m = &f->by[map];
    uint64_t head = take(r), n = head >> 1;
    int rc;

    /* A tally has three bytes at least. */
    if (r->bad || n > (uint64_t)(r->end - r->p) / 3 || n > UINT32_MAX) {
        r->bad = true;
        return 0;
    }
    if (n > 0) {
        m->v = malloc(n * sizeof(*m->v));
        if (!m->v)
            return -ENOMEM;
        m->cap = (uint32_t)n;
    }
    rc = take_tallies(r, map, m, n);
    if (rc != 0 || r->bad || !(head & 1))
        return rc;
    r->bad |= !tally_find(m, NAME_REST);
    /* When its names came is not kept: not later than everything that is there. */
    return tally_widen(m, facts_names_end(f)) ? 0 : -ENOMEM;
}

/* --- counters ---------------------------------------------------------------------------------------------- */

#define COUNTERS 14

/* All plain counters in the order in which they are written. */
static void list_counters(struct facts *f, uint64_t *v[COUNTERS])
{
    uint64_t *all[COUNTERS] = {
        &f->events,           &f->sessions,         &f->pages,           &f->products_viewed,   &f->products_added,
        &f->products_removed, &f->checkouts,        &f->touches,         &f->campaigns,         &f->orders,
        &f->credit_notes,     &f->orders_cancelled, &f->orders_refunded, &f->items_without_cost};

    memcpy(v, all, sizeof(all));
}

/* The counters that are not 0, after a mask of which they are. */
static void put_sparse(struct buf *b, const uint64_t *const *v, size_t n)
{
    uint64_t mask = 0;

    for (size_t i = 0; i < n; i++)
        mask |= (uint64_t)(*v[i] != 0) << i;
    buf_add_varint(b, mask);
    for (size_t i = 0; i < n; i++) {
        if (*v[i])
            buf_add_varint(b, *v[i]);
    }
}

static void take_sparse(struct reader *r, uint64_t *const *v, size_t n)
{
    uint64_t mask = take(r);

    r->bad |= mask >> n != 0;
    for (size_t i = 0; i < n; i++) {
        if (!(mask >> i & 1))
            continue;
        *v[i] = take(r);
        r->bad |= *v[i] == 0;
    }
}

#define CLOCK_COUNTERS (24 + 7)

static void list_clock(struct facts *f, uint64_t *v[CLOCK_COUNTERS])
{
    for (size_t i = 0; i < 24; i++)
        v[i] = &f->hour[i];
    for (size_t i = 0; i < 7; i++)
        v[24 + i] = &f->weekday[i];
}

static void put_currencies(struct buf *b, const struct facts *f)
{
    buf_add_varint(b, f->currency_count);
    for (size_t i = 0; i < f->currency_count; i++) {
        const struct currency_sum *c = &f->currencies[i];

        buf_add(b, c->currency, 3);
        buf_add_varint(b, c->uses);
        put_money(b, c->gross);
        put_money(b, c->refunded);
        put_money(b, c->discount);
    }
}

static int take_currencies(struct reader *r, struct facts *f)
{
    uint64_t n = take(r);
    char before[4] = "";

    /* One has seven bytes at least. */
    if (r->bad || n > (uint64_t)(r->end - r->p) / 7) {
        r->bad = true;
        return 0;
    }
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct str name = take_bytes(r, 3);
        struct currency_sum c = {.uses = take(r)};
        struct currency_sum *at;

        c.gross = take_money(r);
        c.refunded = take_money(r);
        c.discount = take_money(r);
        if (r->bad)
            break;
        memcpy(c.currency, name.p, 3);
        r->bad |= c.uses == 0 || memchr(c.currency, 0, 3) || memcmp(before, c.currency, 4) >= 0;
        memcpy(before, c.currency, 4);
        at = facts_currency(f, c.currency);
        if (!at)
            return -ENOMEM;
        *at = c;
    }
    return 0;
}

/* --- facts ------------------------------------------------------------------------------------------------- */

static void put_head(struct buf *b, const struct facts *f)
{
    unsigned mask = (f->events > 0 ? HAS_EVENTS : 0) | (f->first_seen != TIME_NONE ? HAS_SEEN : 0) |
                    (f->first_order_at != TIME_NONE ? HAS_ORDERS : 0) | (str_has(f->referred_by) ? HAS_REFERRAL : 0);

    buf_add_char(b, FACTS_VERSION);
    buf_add_char(b, (char)mask);
    if (mask & HAS_EVENTS) {
        buf_add_svarint(b, f->first_event_at);
        put_key(b, &f->last_key);
    }
    if (mask & HAS_SEEN)
        put_span(b, f->first_seen, f->last_seen);
    if (mask & HAS_ORDERS)
        put_span(b, f->first_order_at, f->last_order_at);
    if (mask & HAS_REFERRAL) {
        put_key(b, &f->referred_key);
        buf_add_varint(b, f->referred_by.n);
        buf_add_str(b, f->referred_by);
    }
}

static int take_referral(struct reader *r, struct facts *f)
{
    struct str s;
    char *copy;

    f->referred_key = take_key(r);
    s = take_bytes(r, take(r));
    r->bad |= s.n == 0;
    if (r->bad)
        return 0;
    copy = malloc(s.n);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, s.p, s.n);
    f->referred_by = (struct str){copy, s.n};
    return 0;
}

static int take_head(struct reader *r, struct facts *f, uint64_t *mask)
{
    uint64_t version = take(r);

    *mask = take(r);
    r->bad |= version != FACTS_VERSION || *mask > HAS_ALL;
    if (!r->bad && (*mask & HAS_EVENTS)) {
        f->first_event_at = take_signed(r);
        f->last_key = take_key(r);
        f->last_event_at = f->last_key.time;
        r->bad |= f->first_event_at == TIME_NONE || f->first_event_at > f->last_event_at;
    }
    if (!r->bad && (*mask & HAS_SEEN))
        take_span(r, &f->first_seen, &f->last_seen);
    if (!r->bad && (*mask & HAS_ORDERS))
        take_span(r, &f->first_order_at, &f->last_order_at);
    return !r->bad && (*mask & HAS_REFERRAL) ? take_referral(r, f) : 0;
}

bool facts_pack(const struct facts *f, struct buf *b)
{
    uint64_t *counters[COUNTERS], *clock[CLOCK_COUNTERS];

    list_counters((struct facts *)f, counters);
    list_clock((struct facts *)f, clock);
    put_head(b, f);
    put_sparse(b, (const uint64_t *const *)counters, COUNTERS);
    put_sparse(b, (const uint64_t *const *)clock, CLOCK_COUNTERS);
    buf_add_svarint(b, f->items);
    put_money(b, f->gross);
    put_money(b, f->refunded);
    put_money(b, f->discount);
    put_money(b, f->cost);
    put_currencies(b, f);
    for (int map = 0; map < FACTS_MAPS; map++)
        put_map(b, (enum facts_map)map, &f->by[map]);
    return !b->failed;
}

static int take_facts(struct reader *r, struct facts *f)
{
    uint64_t *counters[COUNTERS], *clock[CLOCK_COUNTERS], mask;
    int rc = take_head(r, f, &mask);

    if (rc != 0 || r->bad)
        return rc;
    list_counters(f, counters);
    list_clock(f, clock);
    take_sparse(r, counters, COUNTERS);
    take_sparse(r, clock, CLOCK_COUNTERS);
    r->bad |= (f->events > 0) != ((mask & HAS_EVENTS) != 0);
    f->items = take_signed(r);
    f->gross = take_money(r);
    f->refunded = take_money(r);
    f->discount = take_money(r);
    f->cost = take_money(r);
    rc = take_currencies(r, f);
    for (int map = 0; map < FACTS_MAPS && rc == 0 && !r->bad; map++)
        rc = take_map(r, (enum facts_map)map, f);
    return rc;
}

int facts_unpack(struct str bytes, struct facts *out)
{
    struct reader r = {.p = bytes.p, .end = bytes.p + bytes.n};
    struct facts f;
    int rc;

    facts_init(&f);
    rc = take_facts(&r, &f);
    if (rc == 0 && (r.bad || r.p != r.end))
        rc = 1;
    if (rc == 0) {
        *out = f;
        return 0;
    }
    facts_deinit(&f);
    facts_init(out);
    return rc;
}
