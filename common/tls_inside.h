/* What the files of TLS share with each other and with http_mhd.c. */
#ifndef WAYMARK_TLS_INSIDE_H
#define WAYMARK_TLS_INSIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "common/tls.h"

/* What TLS is spoken: 1.2 and 1.3, ephemeral keys and authenticated ciphers only. In GnuTLS' words. */
#define TLS_PRIORITIES                                                                                                 \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:-MAC-ALL:"    \
    "+AEAD:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:%SERVER_PRECEDENCE"

/* --- tls_pair.c: a certificate with its chain, and its key */

struct tls_pair;

/* Reads both and proves that they belong together. */
int tls_pair_read(const struct conf_tls *files, struct tls_pair **out, struct err *e);
void tls_pair_free(struct tls_pair *p);
/* Wall clock, ms. */
int64_t tls_pair_begins(const struct tls_pair *p);
int64_t tls_pair_ends(const struct tls_pair *p);
/* Whether clients would refuse its key as too short. */
bool tls_pair_is_weak(const struct tls_pair *p);

/* GnuTLS asks for the certificate by a function that is given a session and nothing of ours. Every handshake runs on
 * the pool thread that accepted its connection, and a pool thread belongs to one server: it says here whose certificate
 * it shows, whenever it has accepted one. */
void tls_thread_shows(struct tls *t);
/* That function, for libmicrohttpd; of the type gnutls_certificate_retrieve_function3. */
typedef void tls_retrieve(void);
tls_retrieve *tls_retriever(void);

/* --- tls.c */

/* Calls `use` with the pair that is shown now; it stays as it is meanwhile. Any thread. */
int tls_use(struct tls *t, int (*use)(const struct tls_pair *p, void *arg), void *arg);

#endif
