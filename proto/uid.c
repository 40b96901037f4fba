/* Names by content: BLAKE2b of 128 bits over fields that each stand behind their length. Pure; any thread. */
#include <assert.h>
#include <sodium.h>

#include "proto/codec.h"

static_assert(UID_BYTES >= crypto_generichash_BYTES_MIN, "a uid is a whole hash");

/* Domains: hashes of different things never meet, whatever their fields. */
#define DOMAIN_UID "waymark.uid.1"
#define DOMAIN_ORDER "waymark.order.1"
#define DOMAIN_ALIAS "waymark.alias.1"
#define DOMAIN_LINK "waymark.order-link.1"

typedef crypto_generichash_state hash_state;

static void hash_begin(hash_state *h)
{
    int failed = crypto_generichash_init(h, NULL, 0, UID_BYTES);
    assert(!failed);
}

static void hash_bytes(hash_state *h, const void *p, size_t n)
{
    int failed = crypto_generichash_update(h, p, n);
    assert(!failed);
}

static struct uid hash_end(hash_state *h)
{
    struct uid out;
    int failed = crypto_generichash_final(h, out.b, sizeof out.b);

    assert(!failed);
    return out;
}

static void write_be64(unsigned char *p, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (56 - 8 * i));
}

static void hash_u64(hash_state *h, uint64_t v)
{
    unsigned char p[8];

    write_be64(p, v);
    hash_bytes(h, p, sizeof p);
}

/* Length plus one, then the bytes; absent is a zero. */
static void hash_str(hash_state *h, struct str s)
{
    hash_u64(h, str_has(s) ? (uint64_t)s.n + 1 : 0);
    if (s.n)
        hash_bytes(h, s.p, s.n);
}

static void hash_opt(hash_state *h, struct opt v)
{
    hash_u64(h, v.has);
    if (v.has)
        hash_u64(h, (uint64_t)v.v);
}

static void hash_time(hash_state *h, int64_t t)
{
    hash_opt(h, (struct opt){t != TIME_NONE, t});
}

/* Fields gathered in one piece: hashing a few long pieces costs less than many short ones. */
struct gathered {
    unsigned char bytes[2048];
    size_t n;
};

static bool gather(struct gathered *g, struct str s)
{
    if (s.n + 8 > sizeof g->bytes - g->n)
        return false;
    write_be64(g->bytes + g->n, str_has(s) ? (uint64_t)s.n + 1 : 0);
    g->n += 8;
    if (s.n)
        memcpy(g->bytes + g->n, s.p, s.n);
    g->n += s.n;
    return true;
}

static struct uid hash_strs(const struct str *v, size_t n)
{
    struct gathered g;
    hash_state h;
    struct uid out;
    size_t i = 0;

    g.n = 0;
    while (i < n && gather(&g, v[i]))
        i++;
    if (i == n) {
        int failed = crypto_generichash(out.b, sizeof out.b, g.bytes, g.n, NULL, 0);
        assert(!failed);
        return out;
    }
    hash_begin(&h);
    for (i = 0; i < n; i++)
        hash_str(&h, v[i]);
    return hash_end(&h);
}

struct uid event_uid(struct str source, struct str anonymous_id, struct str user_id, struct str message_id)
{
    const struct str fields[] = {STR_LIT(DOMAIN_UID), source, anonymous_id, user_id, message_id};

    return hash_strs(fields, sizeof fields / sizeof *fields);
}

struct uid order_link_uid(struct str order_id, struct str device)
{
    const struct str fields[] = {STR_LIT(DOMAIN_LINK), order_id, device};

    return hash_strs(fields, sizeof fields / sizeof *fields);
}

struct uid alias_uid(struct str source, struct str anonymous_id, struct str user_id, struct str message_id,
                     struct str previous_id)
{
    const struct str fields[] = {STR_LIT(DOMAIN_ALIAS), source, anonymous_id, user_id, message_id, previous_id};

    return hash_strs(fields, sizeof fields / sizeof *fields);
}

static void hash_items(hash_state *h, bool given, const struct item *items, size_t n)
{
    hash_u64(h, given ? (uint64_t)n + 1 : 0);
    for (size_t k = 0; given && k < n; k++) {
        const struct item *i = &items[k];
        const struct str texts[] = {i->product_id, i->sku, i->name, i->category, i->style, i->brand, i->color, i->size};
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            hash_str(h, texts[t]);
        hash_opt(h, i->price);
        hash_opt(h, i->quantity);
        hash_opt(h, i->cost);
        hash_time(h, i->listed_at);
    }
}

static void hash_place(hash_state *h, const struct place *p)
{
    hash_str(h, p->store_id);
    hash_str(h, p->store_name);
    hash_str(h, p->city);
    hash_str(h, p->district);
    hash_str(h, p->address);
}

void order_content_id(const struct event *e, char hex[33])
{
    const struct order_fields *o = &e->order;
    hash_state h;

    hash_begin(&h);
    hash_str(&h, STR_LIT(DOMAIN_ORDER));
    hash_str(&h, o->order_id);
    hash_u64(&h, (uint64_t)o->status);
    hash_time(&h, e->original_time);
    hash_str(&h, e->user_id);
    hash_str(&h, e->anonymous_id);
    hash_str(&h, o->currency);
    hash_opt(&h, o->total);
    hash_opt(&h, o->revenue);
    hash_opt(&h, o->subtotal);
    hash_opt(&h, o->discount);
    hash_opt(&h, o->shipping);
    hash_opt(&h, o->tax);
    hash_str(&h, o->coupon);
    hash_str(&h, o->channel);
    hash_str(&h, e->shared_by);
    hash_place(&h, &e->place);
    hash_items(&h, o->has_items, e->items, e->item_count);
    hash_u64(&h, o->has_refund);
    hash_str(&h, o->refund_id);
    hash_opt(&h, o->refund_amount);
    hash_items(&h, o->has_refund_items, o->refund_items, o->refund_item_count);
    struct uid id = hash_end(&h);
    sodium_bin2hex(hex, 33, id.b, sizeof id.b);
}

struct uid content_hash(struct str packed)
{
    struct uid out;
    int failed = crypto_generichash(out.b, sizeof out.b, (const unsigned char *)packed.p, packed.n, NULL, 0);

    assert(!failed);
    return out;
}
