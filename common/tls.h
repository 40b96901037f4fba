/* The certificate of a server: read at the start, watched, and exchanged while the server runs. A good pair of files
 * serves the next handshake, connections that are open go on; a bad one changes nothing, is logged and counted. The
 * files are looked at by a thread of its own; tls_pair.c is the only file that knows GnuTLS. */
#ifndef WAYMARK_TLS_H
#define WAYMARK_TLS_H

#include <stddef.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/stats.h"

#define TLS_PIN_BYTES 64

struct tls;

/* Reads the files and begins to watch them. `name` ("collector.tls") stands in messages and must live as long; so must
 * `files`. NULL in `out` when no files are configured. 0, or a negative errno with `e` filled. */
int tls_start(const struct conf_tls *files, const char *name, struct stats *stats, struct tls **out, struct err *e);
/* After the servers that use it, and when nobody reads the metrics any more. NULL is allowed. */
void tls_stop(struct tls *t);

/* Whether a server would start with these files; without files it would. What is not wrong, but soon will be or ought
 * not to be, goes to `warnings`, a line each. 0, or a negative errno with `e` filled. */
int tls_check(const struct conf_tls *files, const char *name, struct buf *warnings, struct err *e);

/* "sha256//…" of the public key of the first certificate in the file, for clients that know it. 0, or a negative errno
 * with `e` filled. */
int tls_pin(const char *certificate, char out[TLS_PIN_BYTES], struct err *e);

#endif
