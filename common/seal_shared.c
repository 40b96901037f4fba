/* Keys that a sealer and the profilers share: X25519 costs fifty times what sealing a few hundred bytes does, so a
 * sealer keeps its ephemeral pair for a while, and an opener remembers what it found. Any thread. */
#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/seal_inside.h"

#define SEALER_MS (10 * TIME_MINUTE)
#define OPENER_SLOTS 256 /* remembered; more sealers at once only cost time */

static_assert(crypto_box_BEFORENMBYTES == SEAL_KEY_BYTES, "the shared key is one of the cipher");

struct seal_cache {
    pthread_mutex_t lock;
    /* of the sealer */
    struct seal_shared own;
    int64_t until;
    unsigned char nonce[SEAL_NONCE_BYTES]; /* random, and a counter in its last eight bytes */
    /* of the opener, by the ephemeral key */
    struct seal_shared slots[OPENER_SLOTS];
};

struct seal_cache *seal_cache_new(void)
{
    struct seal_cache *c = calloc(1, sizeof *c);

    if (c)
        pthread_mutex_init(&c->lock, NULL);
    return c;
}

void seal_cache_free(struct seal_cache *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    sodium_memzero(c, sizeof *c);
    free(c);
}

static bool renew(struct seal_cache *c, const struct seal_key *to, int64_t now)
{
    unsigned char secret[SEAL_KEY_BYTES];

    int failed = crypto_box_keypair(c->own.ephemeral, secret) || crypto_box_beforenm(c->own.key, to->pub, secret);
    sodium_memzero(secret, sizeof secret);
    c->own.id = to->id;
    c->until = failed ? 0 : now + SEALER_MS;
    randombytes_buf(c->nonce, sizeof c->nonce);
    memset(c->nonce + SEAL_NONCE_BYTES - 8, 0, 8);
    return !failed;
}

bool seal_cache_sealer(struct seal_cache *c, const struct seal_key *to, struct seal_shared *out,
                       unsigned char nonce[SEAL_NONCE_BYTES])
{
    int64_t now = clock_monotonic();
    bool good = true;

    pthread_mutex_lock(&c->lock);
    if (now >= c->until || memcmp(&c->own.id, &to->id, sizeof to->id) != 0)
        good = renew(c, to, now);
    if (good) {
        sodium_increment(c->nonce + SEAL_NONCE_BYTES - 8, 8);
        memcpy(nonce, c->nonce, SEAL_NONCE_BYTES);
        *out = c->own;
    }
    pthread_mutex_unlock(&c->lock);
    return good;
}

bool seal_cache_opener(struct seal_cache *c, const struct seal_key *own, const unsigned char *ephemeral,
                       struct seal_shared *out)
{
    struct seal_shared *slot = &c->slots[ephemeral[0] % OPENER_SLOTS];

    pthread_mutex_lock(&c->lock);
    *out = *slot;
    pthread_mutex_unlock(&c->lock);
    if (memcmp(out->ephemeral, ephemeral, SEAL_KEY_BYTES) == 0 && memcmp(&out->id, &own->id, sizeof own->id) == 0)
        return true;
    memcpy(out->ephemeral, ephemeral, SEAL_KEY_BYTES);
    out->id = own->id;
    if (crypto_box_beforenm(out->key, ephemeral, own->key) != 0)
        return false;
    pthread_mutex_lock(&c->lock);
    *slot = *out;
    pthread_mutex_unlock(&c->lock);
    return true;
}
