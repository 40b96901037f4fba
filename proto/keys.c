/* The state's keys, written and read. Pure; any thread. */
#include "proto/keys.h"

#include <assert.h>
#include <sodium.h>

_Static_assert(crypto_shorthash_siphashx24_BYTES == KEY_HASH_BYTES, "hash size");
_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == sizeof(struct key_secret), "secret size");

struct key_hash key_hash_of(const struct key_secret *secret, struct str bytes)
{
    struct key_hash h;

    crypto_shorthash_siphashx24(h.b, (const unsigned char *)(bytes.n ? bytes.p : ""), bytes.n, secret->b);
    return h;
}

static size_t add_id(unsigned char *to, struct str id)
{
    assert(id.n <= KEY_ID_MAX_BYTES);
    to[0] = str_has(id);
    to[1] = (unsigned char)(id.n >> 8);
    to[2] = (unsigned char)id.n;
    if (id.n)
        memcpy(to + 3, id.p, id.n);
    return 3 + id.n;
}

struct key_hash key_hash_stream(const struct key_secret *secret, struct str anonymous_id, struct str user_id)
{
    unsigned char b[2 * (3 + KEY_ID_MAX_BYTES)];
    size_t n = add_id(b, anonymous_id);

    n += add_id(b + n, user_id);
    return key_hash_of(secret, (struct str){(const char *)b, n});
}

struct key_hash key_hash_placed(const struct key_secret *secret, struct str device, struct str user)
{
    return key_hash_pair(secret, key_hash_stream(secret, device, user), key_hash_of(secret, STR_LIT("placed")));
}

struct key_hash key_hash_erasure(const unsigned char *key, struct str profile)
{
    struct key_hash h;

    crypto_generichash(h.b, sizeof h.b, (const unsigned char *)(profile.n ? profile.p : ""), profile.n, key,
                       ERASURE_KEY_BYTES);
    return h;
}

struct key_hash key_hash_pair(const struct key_secret *secret, struct key_hash a, struct key_hash b)
{
    unsigned char both[2 * KEY_HASH_BYTES];

    memcpy(both, a.b, KEY_HASH_BYTES);
    memcpy(both + KEY_HASH_BYTES, b.b, KEY_HASH_BYTES);
    return key_hash_of(secret, (struct str){(const char *)both, sizeof both});
}

uint64_t key_hash_number(const struct key_hash *h)
{
    uint64_t v;

    memcpy(&v, h->b, sizeof v);
    return v;
}

bool key_hash_eq(const struct key_hash *a, const struct key_hash *b)
{
    return memcmp(a->b, b->b, KEY_HASH_BYTES) == 0;
}

static void add_bytes(struct key *k, const void *p, size_t n)
{
    assert(k->n + n <= KEY_MAX_BYTES);
    memcpy(k->b + k->n, p, n);
    k->n += n;
}

static void add_number(struct key *k, uint64_t v, int bytes)
{
    assert(k->n + (size_t)bytes <= KEY_MAX_BYTES);
    for (int i = bytes - 1; i >= 0; i--)
        k->b[k->n++] = (unsigned char)(v >> (8 * i));
}

/* Signed times sort as unsigned numbers when the sign bit is turned over. */
static uint64_t sortable(int64_t time)
{
    return (uint64_t)time ^ (UINT64_C(1) << 63);
}

static int64_t unsortable(uint64_t number)
{
    return (int64_t)(number ^ (UINT64_C(1) << 63));
}

struct key key_meta(void)
{
    return (struct key){1, {KEY_META}};
}

struct key key_one(enum key_kind kind, struct key_hash h)
{
    struct key k = {1, {(unsigned char)kind}};

    add_bytes(&k, h.b, KEY_HASH_BYTES);
    return k;
}

struct key key_two(enum key_kind kind, struct key_hash first, struct key_hash second)
{
    struct key k = key_one(kind, first);

    add_bytes(&k, second.b, KEY_HASH_BYTES);
    return k;
}

static bool has_time(enum key_kind kind)
{
    return kind == KEY_CHUNK || kind == KEY_LATE;
}

struct key key_placed(const struct key_place *place)
{
    struct key k = key_one(place->kind, place->stream);

    if (has_time(place->kind))
        add_number(&k, sortable(place->time), 8);
    add_number(&k, place->commit, 4);
    add_number(&k, place->part, 4);
    return k;
}

static void add_key(struct key *k, const struct event_key *key)
{
    add_number(k, sortable(key->time), 8);
    add_number(k, sortable(key->received), 8);
    add_number(k, key->position, 4);
    add_bytes(k, key->uid.b, UID_BYTES);
}

struct key key_homed(const struct key_home *home)
{
    struct key k = key_one(KEY_ORDER_HOME, home->order);

    add_number(&k, home->part, 1);
    if (home->part == HOME_UID)
        add_bytes(&k, home->place.key.uid.b, UID_BYTES);
    if (home->part != HOME_PLACE)
        return k;
    add_number(&k, ~(uint64_t)home->place.trust & 0xff, 1);
    add_key(&k, &home->place.key);
    return k;
}

struct key key_home_places(struct key_hash order)
{
    struct key k = key_one(KEY_ORDER_HOME, order);

    add_number(&k, HOME_PLACE, 1);
    return k;
}

struct key key_seek(enum key_kind kind, struct key_hash stream, int64_t time)
{
    struct key k = key_one(kind, stream);

    add_number(&k, sortable(time), 8);
    return k;
}

bool key_read_two(struct str key, enum key_kind kind, struct key_hash *first, struct key_hash *second)
{
    if (key.n != KEY_PREFIX_BYTES + KEY_HASH_BYTES || (unsigned char)key.p[0] != kind)
        return false;
    memcpy(first->b, key.p + 1, KEY_HASH_BYTES);
    memcpy(second->b, key.p + KEY_PREFIX_BYTES, KEY_HASH_BYTES);
    return true;
}

static uint64_t read_number(const char **p, int bytes)
{
    uint64_t v = 0;

    for (int i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)*(*p)++;
    return v;
}

bool key_read_placed(struct str key, struct key_place *out)
{
    const char *p = key.p + KEY_PREFIX_BYTES;
    struct key_place place = {0};

    if (key.n < KEY_PREFIX_BYTES)
        return false;
    place.kind = (enum key_kind)(unsigned char)key.p[0];
    if (!has_time(place.kind) && place.kind != KEY_UIDS && place.kind != KEY_LINKS)
        return false;
    if (key.n != (size_t)KEY_PREFIX_BYTES + (has_time(place.kind) ? 16 : 8))
        return false;
    memcpy(place.stream.b, key.p + 1, KEY_HASH_BYTES);
    if (has_time(place.kind))
        place.time = unsortable(read_number(&p, 8));
    place.commit = (uint32_t)read_number(&p, 4);
    place.part = (uint32_t)read_number(&p, 4);
    *out = place;
    return true;
}

bool key_read_homed(struct str key, struct key_home *out)
{
    static const size_t bytes[] = {0, UID_BYTES, 1 + 8 + 8 + 4 + UID_BYTES};
    const char *p = key.p + KEY_PREFIX_BYTES;
    struct event_key *place = &out->place.key;

    *out = (struct key_home){0};
    if (key.n <= KEY_PREFIX_BYTES || (unsigned char)key.p[0] != KEY_ORDER_HOME || (unsigned char)*p > HOME_PLACE)
        return false;
    out->part = (enum key_home_part) * p++;
    if (key.n != KEY_PREFIX_BYTES + 1 + bytes[out->part])
        return false;
    memcpy(out->order.b, key.p + 1, KEY_HASH_BYTES);
    if (out->part == HOME_PLACE) {
        out->place.trust = (enum event_trust)(~read_number(&p, 1) & 0xff);
        place->time = unsortable(read_number(&p, 8));
        place->received = unsortable(read_number(&p, 8));
        place->position = (uint32_t)read_number(&p, 4);
    }
    if (out->part != HOME_HEAD)
        memcpy(place->uid.b, p, UID_BYTES);
    return true;
}
