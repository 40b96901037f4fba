/* Hashes of exports, over libsodium. Pure; any thread. */
#include "profiler/export_hash.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(struct export_hasher), "a hash in steps fits");
static_assert(EXPORT_HEX == 2 * crypto_hash_sha256_BYTES, "hex of the whole hash");

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool export_hashed(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_hex(s.p[i]))
            return false;
    return s.n == EXPORT_HEX;
}

void export_hex(const unsigned char *p, size_t n, char *out)
{
    sodium_bin2hex(out, 2 * n + 1, p, n);
}

bool export_sha256(struct str s, char out[EXPORT_HEX + 1])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    if (s.n == 0)
        return false;
    if (export_hashed(s)) {
        for (size_t i = 0; i < EXPORT_HEX; i++)
            out[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'F' ? s.p[i] + ('a' - 'A') : s.p[i]);
        out[EXPORT_HEX] = '\0';
        return true;
    }
    crypto_hash_sha256(hash, (const unsigned char *)s.p, s.n);
    export_hex(hash, sizeof hash, out);
    return true;
}

bool export_drawn(const char *group, struct str name, struct str id, uint32_t millionths)
{
    crypto_hash_sha256_state h;
    unsigned char hash[crypto_hash_sha256_BYTES];
    uint64_t number = 0;

    if (millionths == 0)
        return false;
    crypto_hash_sha256_init(&h);
    crypto_hash_sha256_update(&h, (const unsigned char *)group, strlen(group) + 1);
    if (name.n)
        crypto_hash_sha256_update(&h, (const unsigned char *)name.p, name.n);
    crypto_hash_sha256_update(&h, (const unsigned char *)"", 1);
    crypto_hash_sha256_update(&h, (const unsigned char *)id.p, id.n);
    crypto_hash_sha256_final(&h, hash);
    for (int i = 0; i < 8; i++)
        number = number << 8 | hash[i];
    return (unsigned __int128)number * 1000000 < (unsigned __int128)millionths << 64;
}

struct export_person_hash export_person_hash(const unsigned char key[EXPORT_KEY_BYTES], struct str id)
{
    struct export_person_hash out;

    crypto_generichash(out.b, sizeof out.b, (const unsigned char *)id.p, id.n, key, EXPORT_KEY_BYTES);
    return out;
}

struct export_person_hash export_digest(struct str bytes)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct export_person_hash out;

    crypto_hash_sha256(hash, (const unsigned char *)bytes.p, bytes.n);
    memcpy(out.b, hash, sizeof out.b);
    return out;
}

void export_random(unsigned char *p, size_t n)
{
    randombytes_buf(p, n);
}

static crypto_hash_sha256_state *inside(struct export_hasher *h)
{
    return (crypto_hash_sha256_state *)(void *)h->state;
}

void export_hasher_begin(struct export_hasher *h)
{
    crypto_hash_sha256_init(inside(h));
}

void export_hasher_add(struct export_hasher *h, const void *p, size_t n)
{
    if (n)
        crypto_hash_sha256_update(inside(h), p, n);
}

void export_hasher_end(struct export_hasher *h, char out[EXPORT_HEX + 1])
{
    unsigned char hash[crypto_hash_sha256_BYTES];

    crypto_hash_sha256_final(inside(h), hash);
    export_hex(hash, sizeof hash, out);
}
