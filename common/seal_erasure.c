/* The keys of erasure: hashes of erased profiles, and signatures of receipts. Any thread. */
#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/seal_inside.h"

static_assert(SEAL_ERASURE_KEY_BYTES == SEAL_KEY_BYTES && SEAL_RECEIPT_PUB_BYTES == SEAL_KEY_BYTES, "one size");
static_assert(SEAL_SIGNATURE_BYTES == crypto_sign_BYTES && SEAL_KEY_BYTES == crypto_sign_SEEDBYTES, "Ed25519");

/* --- hashes ------------------------------------------------------------------------------------------------------ */

static int copy_key(const struct seal_set *set, void *out)
{
    if (set->erasure.n == 0)
        return SEAL_KEY_UNKNOWN;
    memcpy(out, set->erasure.keys[0].key, SEAL_ERASURE_KEY_BYTES);
    return SEAL_OK;
}

int seal_erasure_key(struct seal_keys *k, unsigned char out[SEAL_ERASURE_KEY_BYTES])
{
    return seal_with(k, copy_key, out);
}

void seal_erasure_hash(const unsigned char *key, struct str profile, unsigned char out[SEAL_ERASURE_HASH_BYTES])
{
    static const unsigned char zeros[SEAL_ERASURE_KEY_BYTES];
    int failed = crypto_generichash(out, SEAL_ERASURE_HASH_BYTES, (const unsigned char *)profile.p, profile.n,
                                    key ? key : zeros, SEAL_ERASURE_KEY_BYTES);

    assert(!failed);
}

/* --- receipts ---------------------------------------------------------------------------------------------------- */

struct signing {
    struct str bytes;
    struct seal_signature *out;
};

static void write_id(const struct seal_key *k, char id[17])
{
    sodium_bin2hex(id, 17, k->id.b, SEAL_ID_BYTES);
}

static int sign(const struct seal_set *set, void *arg)
{
    const struct signing *s = arg;
    unsigned char secret[crypto_sign_SECRETKEYBYTES];

    if (set->receipt.n == 0)
        return SEAL_KEY_UNKNOWN;
    const struct seal_key *k = &set->receipt.keys[set->receipt.n - 1];
    int failed = crypto_sign_seed_keypair(s->out->pub, secret, k->key);
    if (!failed)
        failed = crypto_sign_detached(s->out->bytes, NULL, (const unsigned char *)s->bytes.p, s->bytes.n, secret);
    sodium_memzero(secret, sizeof secret);
    assert(!failed);
    write_id(k, s->out->id);
    return SEAL_OK;
}

int seal_receipt_sign(struct seal_keys *k, struct str bytes, struct seal_signature *out)
{
    return seal_with(k, sign, &(struct signing){bytes, out});
}

void seal_receipt_der(const unsigned char pub[SEAL_RECEIPT_PUB_BYTES], unsigned char out[SEAL_RECEIPT_DER_BYTES])
{
    /* RFC 8410: a sequence of the algorithm 1.3.101.112 and a string of 32 bytes. */
    static const unsigned char head[] = {0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00};

    static_assert(sizeof head + SEAL_RECEIPT_PUB_BYTES == SEAL_RECEIPT_DER_BYTES, "its length");
    memcpy(out, head, sizeof head);
    memcpy(out + sizeof head, pub, SEAL_RECEIPT_PUB_BYTES);
}

static int read_pub(const char *folder, struct seal_keys_file **out, struct err *e)
{
    struct seal_keys_file *f = sodium_init() >= 0 ? calloc(1, sizeof *f) : NULL;
    int r = f ? seal_file_read(folder, SEAL_NAME_RECEIPT_PUB, f, e) : -ENOMEM;

    if (r == 0 && f->n == 0) {
        err_set(e, "%s is missing in %s", seal_names[SEAL_NAME_RECEIPT_PUB], folder);
        r = -ENOENT;
    }
    if (r == 0)
        *out = f;
    else
        free(f);
    return r;
}

int seal_receipt_pub(const char *folder, char id[17], unsigned char pub[SEAL_RECEIPT_PUB_BYTES], struct err *e)
{
    struct seal_keys_file *f;
    int r = read_pub(folder, &f, e);

    if (r != 0)
        return r;
    write_id(&f->keys[f->n - 1], id);
    memcpy(pub, f->keys[f->n - 1].pub, SEAL_RECEIPT_PUB_BYTES);
    free(f);
    return 0;
}

int seal_receipt_verify(const char *folder, struct str bytes, const struct seal_signature *s, struct err *e)
{
    struct seal_keys_file *f;
    unsigned char id[SEAL_ID_BYTES];
    size_t n = 0;
    int r = read_pub(folder, &f, e);

    if (r != 0)
        return r;
    const struct seal_key *k = NULL;
    if (sodium_hex2bin(id, sizeof id, s->id, strlen(s->id), NULL, &n, NULL) == 0 && n == sizeof id)
        k = seal_find(f, id);
    if (!k)
        r = SEAL_KEY_UNKNOWN;
    else if (crypto_sign_verify_detached(s->bytes, (const unsigned char *)bytes.p, bytes.n, k->pub) != 0)
        r = SEAL_DAMAGED;
    free(f);
    return r;
}
