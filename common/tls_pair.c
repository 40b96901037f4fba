/* A certificate with its chain and its key; the only file that knows GnuTLS. Reading runs on the thread of the caller,
 * the hand-over to a handshake on pool threads.
 *
 * A handshake gets copies, which GnuTLS frees with the session: so a pair that was exchanged can be freed at once,
 * however long its last handshakes take. A copy costs some 25 µs, a handshake's signature 50 to 1,500. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/tls_inside.h"

struct tls_pair {
    gnutls_x509_crt_t *chain; /* the server's own first */
    unsigned count;
    gnutls_datum_t *der; /* of each */
    gnutls_x509_privkey_t key;
};

/* --- reading */

static void forget(gnutls_datum_t *text)
{
    if (text->data)
        sodium_memzero(text->data, text->size);
    free(text->data);
    text->data = NULL;
}

static ssize_t read_all(int fd, unsigned char *to, size_t room)
{
    size_t n = 0;
    ssize_t got = 1;

    while (n < room && (got = read(fd, to + n, room - n)) > 0)
        n += (size_t)got;
    return got < 0 ? -errno : (ssize_t)n;
}

/* The whole file; forget() frees. Not a pipe or a device, which might never end. */
static int read_file(const char *path, gnutls_datum_t *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat s;
    ssize_t n;

    *out = (gnutls_datum_t){0};
    if (fd < 0 || fstat(fd, &s) != 0)
        n = -errno;
    else if (!S_ISREG(s.st_mode))
        n = -EINVAL;
    else if (!(out->data = malloc(LIMIT_TLS_FILE_BYTES + 1)))
        n = -ENOMEM;
    else
        n = read_all(fd, out->data, LIMIT_TLS_FILE_BYTES + 1);
    if (fd >= 0)
        close(fd);
    if (n > (ssize_t)LIMIT_TLS_FILE_BYTES)
        n = -EFBIG;
    out->size = n > 0 ? (unsigned)n : 0;
    if (n >= 0)
        return 0;
    err_set(e, "%s: %s", path, n == -EINVAL ? "not a file" : strerror((int)-n));
    forget(out);
    return (int)n;
}

static int read_chain(struct tls_pair *p, const char *path, struct err *e)
{
    gnutls_datum_t text;
    int r = read_file(path, &text, e);

    if (r != 0)
        return r;
    r = gnutls_x509_crt_list_import2(&p->chain, &p->count, &text, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT);
    forget(&text);
    if (r >= 0 && p->count > LIMIT_TLS_CHAIN)
        r = GNUTLS_E_SHORT_MEMORY_BUFFER;
    if (r >= 0 && p->count > 0)
        return 0;
    if (r == GNUTLS_E_SHORT_MEMORY_BUFFER)
        err_set(e, "%s: more than %d certificates", path, LIMIT_TLS_CHAIN);
    else
        err_set(e, "%s: no certificates in PEM: %s", path, gnutls_strerror(r));
    return -EINVAL;
}

static int read_key(struct tls_pair *p, const char *path, struct err *e)
{
    gnutls_datum_t text;
    int r = read_file(path, &text, e);

    if (r != 0)
        return r;
    r = gnutls_x509_privkey_init(&p->key);
    if (r >= 0)
        r = gnutls_x509_privkey_import2(p->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    forget(&text);
    if (r >= 0)
        return 0;
    if (r == GNUTLS_E_DECRYPTION_FAILED)
        err_set(e, "%s: the key has a password; one without is needed", path);
    else
        err_set(e, "%s: no private key in PEM: %s", path, gnutls_strerror(r));
    return -EINVAL;
}

/* What is signed with the key, the certificate must say to be right: also of a key that is damaged. */
static int prove(const struct tls_pair *p)
{
    gnutls_datum_t text = {(unsigned char *)(size_t) "waymark", 7}, signature = {0};
    gnutls_privkey_t key = NULL;
    gnutls_pubkey_t public_key = NULL;
    int algorithm = 0, r = gnutls_privkey_init(&key);

    if (r >= 0)
        r = gnutls_privkey_import_x509(key, p->key, 0);
    if (r >= 0)
        r = gnutls_pubkey_init(&public_key);
    if (r >= 0)
        r = gnutls_pubkey_import_x509(public_key, p->chain[0], 0);
    if (r >= 0)
        r = algorithm = (int)gnutls_pk_to_sign((gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(public_key, NULL),
                                               GNUTLS_DIG_SHA256);
    if (r >= 0 && algorithm == GNUTLS_SIGN_UNKNOWN) /* it has a hash of its own, as Ed25519 does */
        r = algorithm = (int)gnutls_pk_to_sign((gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(public_key, NULL),
                                               GNUTLS_DIG_SHA512);
    if (r >= 0)
        r = gnutls_privkey_sign_data2(key, (gnutls_sign_algorithm_t)algorithm, 0, &text, &signature);
    if (r >= 0)
        r = gnutls_pubkey_verify_data2(public_key, (gnutls_sign_algorithm_t)algorithm, 0, &text, &signature);
    gnutls_free(signature.data);
    gnutls_pubkey_deinit(public_key);
    gnutls_privkey_deinit(key);
    return r;
}

static int export_chain(struct tls_pair *p)
{
    int r = 0;

    p->der = calloc(p->count, sizeof *p->der);
    for (unsigned i = 0; p->der && r >= 0 && i < p->count; i++)
        r = gnutls_x509_crt_export2(p->chain[i], GNUTLS_X509_FMT_DER, &p->der[i]);
    return p->der && r >= 0 ? 0 : -ENOMEM;
}

int tls_pair_read(const struct conf_tls *files, struct tls_pair **out, struct err *e)
{
    struct tls_pair *p = calloc(1, sizeof *p);
    int r = p ? read_chain(p, files->certificate, e) : -ENOMEM;

    if (r == 0)
        r = read_key(p, files->key, e);
    if (r == 0 && prove(p) < 0) {
        err_set(e, "%s is not the key of %s", files->key, files->certificate);
        r = -EINVAL;
    }
    if (r == 0)
        r = export_chain(p);
    if (r == -ENOMEM)
        err_set(e, "out of memory");
    if (r == 0)
        *out = p;
    else
        tls_pair_free(p);
    return r;
}

void tls_pair_free(struct tls_pair *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->count; i++) {
        gnutls_x509_crt_deinit(p->chain[i]);
        if (p->der)
            gnutls_free(p->der[i].data);
    }
    gnutls_free(p->chain);
    free(p->der);
    gnutls_x509_privkey_deinit(p->key);
    free(p);
}

int64_t tls_pair_begins(const struct tls_pair *p)
{
    return (int64_t)gnutls_x509_crt_get_activation_time(p->chain[0]) * 1000;
}

int64_t tls_pair_ends(const struct tls_pair *p)
{
    return (int64_t)gnutls_x509_crt_get_expiration_time(p->chain[0]) * 1000;
}

bool tls_pair_is_weak(const struct tls_pair *p)
{
    unsigned bits = 0;
    int algorithm = gnutls_x509_crt_get_pk_algorithm(p->chain[0], &bits);

    return gnutls_pk_bits_to_sec_param((gnutls_pk_algorithm_t)algorithm, bits) < GNUTLS_SEC_PARAM_MEDIUM;
}

int tls_pin(const char *certificate, char out[TLS_PIN_BYTES], struct err *e)
{
    struct tls_pair p = {0};
    gnutls_pubkey_t key = NULL;
    gnutls_datum_t der = {0};
    unsigned char hash[crypto_hash_sha256_BYTES];
    int r = read_chain(&p, certificate, e);

    if (r != 0)
        return r;
    if (gnutls_pubkey_init(&key) < 0 || gnutls_pubkey_import_x509(key, p.chain[0], 0) < 0 ||
        gnutls_pubkey_export2(key, GNUTLS_X509_FMT_DER, &der) < 0) {
        err_set(e, "%s: the public key cannot be read", certificate);
        r = -EINVAL;
    } else {
        crypto_hash_sha256(hash, der.data, der.size);
        strcpy(out, "sha256//");
        sodium_bin2base64(out + 8, TLS_PIN_BYTES - 8, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
    }
    gnutls_free(der.data);
    gnutls_pubkey_deinit(key);
    for (unsigned i = 0; i < p.count; i++)
        gnutls_x509_crt_deinit(p.chain[i]);
    gnutls_free(p.chain);
    return r;
}

/* --- the hand-over */

struct hand_over {
    gnutls_pcert_st *chain;
    unsigned count;
    gnutls_privkey_t key;
};

static int copy_chain(const struct tls_pair *p, struct hand_over *h)
{
    int r = 0;

    h->chain = gnutls_malloc(p->count * sizeof *h->chain);
    if (!h->chain)
        return GNUTLS_E_MEMORY_ERROR;
    while (h->count < p->count && r >= 0) {
        r = gnutls_pcert_import_x509_raw(&h->chain[h->count], &p->der[h->count], GNUTLS_X509_FMT_DER, 0);
        h->count += r >= 0;
    }
    return r;
}

static int copy_pair(const struct tls_pair *p, void *arg)
{
    struct hand_over *h = arg;
    int r = copy_chain(p, h);

    if (r >= 0)
        r = gnutls_privkey_init(&h->key);
    if (r >= 0)
        r = gnutls_privkey_import_x509(h->key, p->key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (r >= 0)
        return r;
    while (h->count > 0)
        gnutls_pcert_deinit(&h->chain[--h->count]);
    gnutls_free(h->chain);
    gnutls_privkey_deinit(h->key);
    return r;
}

static _Thread_local struct tls *shown_here;

void tls_thread_shows(struct tls *t)
{
    shown_here = t;
}

static gnutls_certificate_retrieve_function3 retrieve;

static int retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **chain,
                    unsigned *count, gnutls_ocsp_data_st **ocsp, unsigned *ocsp_count, gnutls_privkey_t *key,
                    unsigned *flags)
{
    struct hand_over h = {0};

    (void)session, (void)info;
    assert(shown_here);
    if (tls_use(shown_here, copy_pair, &h) < 0)
        return -1;
    *chain = h.chain;
    *count = h.count;
    *key = h.key;
    *ocsp = NULL;
    *ocsp_count = 0;
    *flags = GNUTLS_CERT_RETR_DEINIT_ALL;
    return 0;
}

tls_retrieve *tls_retriever(void)
{
    return (tls_retrieve *)retrieve;
}
