/* Sealing and opening. Any thread; the keys are those of seal_keys.c. */
#include "common/seal.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>

#include "common/json.h"
#include "common/seal_inside.h"

#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES

static_assert(SEAL_OVERHEAD == 1 + SEAL_ID_BYTES + SEAL_KEY_BYTES + NONCE_BYTES + TAG_BYTES &&
                  SEAL_NONCE_BYTES == NONCE_BYTES,
              "as the header says");
static_assert(SEAL_WRAPPED_BYTES == 1 + SEAL_ID_BYTES + NONCE_BYTES + SEAL_KEY_BYTES + TAG_BYTES, "as the header says");
static_assert(SEAL_VALUE_OVERHEAD == 1 + NONCE_BYTES + TAG_BYTES, "as the header says");
static_assert(SEAL_KEY_BYTES == crypto_box_SECRETKEYBYTES && SEAL_KEY_BYTES == crypto_box_PUBLICKEYBYTES &&
                  SEAL_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES &&
                  SEAL_KEY_BYTES == crypto_kdf_KEYBYTES && SEAL_KEY_BYTES == crypto_generichash_KEYBYTES,
              "all keys are of one size");

/* What is hashed for one thing never meets what is hashed for another. */
#define DOMAIN_WRAP "waymark.wrap.1"
#define DOMAIN_VALUE "waymark.value.1"
#define KDF_CONTEXT "waymark1"
enum { KDF_CIPHER = 1, KDF_NONCE = 2 };

static const unsigned char *bytes_of(struct str s)
{
    return (const unsigned char *)(s.p ? s.p : "");
}

/* Bytes of the arena that a JSON parser may be given. */
static unsigned char *plain_room(struct arena *a, size_t n)
{
    unsigned char *p = arena_alloc(a, n + JSON_PADDING);

    if (p)
        memset(p + n, 0, JSON_PADDING);
    return p;
}

/* --- to the profilers ------------------------------------------------------------------------------------------ */

/* format | id | ephemeral key | nonce | cipher text and tag; what stands before the nonce is authenticated, too. */
#define HEAD_BYTES (1 + SEAL_ID_BYTES + SEAL_KEY_BYTES)

struct seal_work_plain {
    struct seal_keys *keys;
    struct str in;
    struct buf *out;
    struct arena *arena;
    struct str *plain;
};

static int seal_to(const struct seal_set *set, void *arg)
{
    struct seal_work_plain *w = arg;
    struct buf *b = w->out;
    struct seal_shared shared;

    if (!buf_room(b, SEAL_OVERHEAD + w->in.n))
        return -ENOMEM;
    unsigned char *p = (unsigned char *)b->p + b->n;
    if (!seal_cache_sealer(seal_cache_of(w->keys), set->sealing, &shared, p + HEAD_BYTES)) {
        b->failed = true;
        return -EINVAL;
    }
    p[0] = SEAL_FORMAT;
    memcpy(p + 1, shared.id.b, SEAL_ID_BYTES);
    memcpy(p + 1 + SEAL_ID_BYTES, shared.ephemeral, SEAL_KEY_BYTES);
    int failed = crypto_aead_xchacha20poly1305_ietf_encrypt(p + HEAD_BYTES + NONCE_BYTES, NULL, bytes_of(w->in),
                                                            w->in.n, p, HEAD_BYTES, NULL, p + HEAD_BYTES, shared.key);
    assert(!failed);
    sodium_memzero(&shared, sizeof shared);
    b->n += SEAL_OVERHEAD + w->in.n;
    return 0;
}

bool seal_for_profilers(struct seal_keys *k, struct str plain, struct buf *out)
{
    struct seal_work_plain w = {.keys = k, .in = plain, .out = out};

    return seal_with(k, seal_to, &w) == 0;
}

static int open_with(const struct seal_set *set, void *arg)
{
    struct seal_work_plain *w = arg;
    const unsigned char *p = bytes_of(w->in);
    struct seal_shared shared;

    if (w->in.n < SEAL_OVERHEAD || p[0] != SEAL_FORMAT)
        return SEAL_DAMAGED;
    const struct seal_key *key = seal_find(&set->profiler, p + 1);
    if (!key)
        return SEAL_KEY_UNKNOWN;
    size_t n = w->in.n - SEAL_OVERHEAD;
    unsigned char *plain = plain_room(w->arena, n);
    if (!plain)
        return -ENOMEM;
    if (!seal_cache_opener(seal_cache_of(w->keys), key, p + 1 + SEAL_ID_BYTES, &shared))
        return SEAL_DAMAGED;
    int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, p + HEAD_BYTES + NONCE_BYTES,
                                                            n + TAG_BYTES, p, HEAD_BYTES, p + HEAD_BYTES, shared.key);
    sodium_memzero(&shared, sizeof shared);
    if (failed)
        return SEAL_DAMAGED;
    *w->plain = (struct str){(const char *)plain, n};
    return SEAL_OK;
}

/* A key that is not known may just have been brought. */
static int with_fresh_keys(struct seal_keys *k, seal_work *work, void *arg)
{
    int rc = seal_with(k, work, arg);

    if (rc != SEAL_KEY_UNKNOWN)
        return rc;
    seal_keys_refresh(k);
    return seal_with(k, work, arg);
}

int seal_open(struct seal_keys *k, struct str sealed, struct arena *a, struct str *plain)
{
    struct seal_work_plain w = {.keys = k, .in = sealed, .arena = a, .plain = plain};

    return with_fresh_keys(k, open_with, &w);
}

/* --- authenticated encryption with a nonce that follows from what is said ---------------------------------------- */

/* Two messages have one nonce only if they are one message. */
static void derive_nonce(const unsigned char key[SEAL_KEY_BYTES], const char *domain, struct str name, struct str plain,
                         unsigned char nonce[NONCE_BYTES])
{
    crypto_generichash_state h;
    unsigned char length[8];

    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)name.n >> (56 - 8 * i));
    int failed = crypto_generichash_init(&h, key, SEAL_KEY_BYTES, NONCE_BYTES);
    failed |= crypto_generichash_update(&h, (const unsigned char *)domain, strlen(domain) + 1);
    failed |= crypto_generichash_update(&h, length, sizeof length);
    failed |= crypto_generichash_update(&h, bytes_of(name), name.n);
    failed |= crypto_generichash_update(&h, bytes_of(plain), plain.n);
    failed |= crypto_generichash_final(&h, nonce, NONCE_BYTES);
    assert(!failed);
}

static void subkey(const unsigned char key[SEAL_KEY_BYTES], uint64_t which, unsigned char out[SEAL_KEY_BYTES])
{
    int failed = crypto_kdf_derive_from_key(out, SEAL_KEY_BYTES, which, KDF_CONTEXT, key);

    assert(!failed);
}

/* Writes nonce, cipher text and tag at `p`, which has room. */
static void encrypt(const unsigned char key[SEAL_KEY_BYTES], const char *domain, struct str name, struct str plain,
                    unsigned char *p)
{
    unsigned char sub[SEAL_KEY_BYTES];

    subkey(key, KDF_NONCE, sub);
    derive_nonce(sub, domain, name, plain, p);
    subkey(key, KDF_CIPHER, sub);
    int failed = crypto_aead_xchacha20poly1305_ietf_encrypt(p + NONCE_BYTES, NULL, bytes_of(plain), plain.n,
                                                            bytes_of(name), name.n, NULL, p, sub);
    assert(!failed);
    sodium_memzero(sub, sizeof sub);
}

/* The other way; `n` bytes of nonce, cipher text and tag. False when they were changed. */
static bool decrypt(const unsigned char key[SEAL_KEY_BYTES], struct str name, const unsigned char *p, size_t n,
                    unsigned char *plain)
{
    unsigned char sub[SEAL_KEY_BYTES];

    subkey(key, KDF_CIPHER, sub);
    int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(plain, NULL, NULL, p + NONCE_BYTES, n - NONCE_BYTES,
                                                            bytes_of(name), name.n, p, sub);
    sodium_memzero(sub, sizeof sub);
    return !failed;
}

/* --- keys of persons --------------------------------------------------------------------------------------------- */

struct seal_work_key {
    const struct seal_person *person;
    struct seal_person *to;
    struct str wrapped;
    struct buf *out;
};

void seal_person_new(struct seal_person *out)
{
    int failed = sodium_init() < 0;

    assert(!failed);
    randombytes_buf(out->key, sizeof out->key);
}

void seal_person_clear(struct seal_person *p)
{
    sodium_memzero(p, sizeof *p);
}

static const struct seal_key *newest(const struct seal_keys_file *f)
{
    return f->n ? &f->keys[f->n - 1] : NULL;
}

static int wrap_with(const struct seal_set *set, void *arg)
{
    struct seal_work_key *w = arg;
    const struct seal_key *master = newest(&set->master);

    assert(master);
    if (!buf_room(w->out, SEAL_WRAPPED_BYTES))
        return -ENOMEM;
    unsigned char *p = (unsigned char *)w->out->p + w->out->n;
    p[0] = SEAL_FORMAT;
    memcpy(p + 1, master->id.b, SEAL_ID_BYTES);
    encrypt(master->key, DOMAIN_WRAP, STR_LIT(DOMAIN_WRAP),
            (struct str){(const char *)w->person->key, sizeof w->person->key}, p + 1 + SEAL_ID_BYTES);
    w->out->n += SEAL_WRAPPED_BYTES;
    return 0;
}

bool seal_person_wrap(struct seal_keys *k, const struct seal_person *p, struct buf *out)
{
    struct seal_work_key w = {.person = p, .out = out};

    return seal_with(k, wrap_with, &w) == 0;
}

static int unwrap_with(const struct seal_set *set, void *arg)
{
    struct seal_work_key *w = arg;
    const unsigned char *p = bytes_of(w->wrapped);

    if (w->wrapped.n != SEAL_WRAPPED_BYTES || p[0] != SEAL_FORMAT)
        return SEAL_DAMAGED;
    const struct seal_key *master = seal_find(&set->master, p + 1);
    if (!master)
        return SEAL_KEY_UNKNOWN;
    return decrypt(master->key, STR_LIT(DOMAIN_WRAP), p + 1 + SEAL_ID_BYTES, w->wrapped.n - 1 - SEAL_ID_BYTES,
                   w->to->key)
               ? SEAL_OK
               : SEAL_DAMAGED;
}

int seal_person_unwrap(struct seal_keys *k, struct str wrapped, struct seal_person *out)
{
    struct seal_work_key w = {.wrapped = wrapped, .to = out};

    return with_fresh_keys(k, unwrap_with, &w);
}

static int is_old_with(const struct seal_set *set, void *arg)
{
    struct seal_work_key *w = arg;
    const struct seal_key *master = newest(&set->master);
    const unsigned char *p = bytes_of(w->wrapped);

    return w->wrapped.n == SEAL_WRAPPED_BYTES && p[0] == SEAL_FORMAT && master &&
           memcmp(p + 1, master->id.b, SEAL_ID_BYTES) != 0;
}

bool seal_person_is_old(struct seal_keys *k, struct str wrapped)
{
    struct seal_work_key w = {.wrapped = wrapped};

    return seal_with(k, is_old_with, &w) != 0;
}

bool seal_person_seal(const struct seal_person *p, struct str name, struct str plain, struct buf *out)
{
    if (!buf_room(out, SEAL_VALUE_OVERHEAD + plain.n))
        return false;
    unsigned char *to = (unsigned char *)out->p + out->n;
    *to = SEAL_FORMAT;
    encrypt(p->key, DOMAIN_VALUE, name, plain, to + 1);
    out->n += SEAL_VALUE_OVERHEAD + plain.n;
    return true;
}

int seal_person_open(const struct seal_person *p, struct str name, struct str sealed, struct arena *a,
                     struct str *plain)
{
    if (sealed.n < SEAL_VALUE_OVERHEAD || sealed.p[0] != SEAL_FORMAT)
        return SEAL_DAMAGED;
    size_t n = sealed.n - SEAL_VALUE_OVERHEAD;
    unsigned char *to = plain_room(a, n);
    if (!to)
        return -ENOMEM;
    if (!decrypt(p->key, name, bytes_of(sealed) + 1, sealed.n - 1, to))
        return SEAL_DAMAGED;
    *plain = (struct str){(const char *)to, n};
    return SEAL_OK;
}
