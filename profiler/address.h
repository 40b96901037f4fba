/* Where others reach this profiler. */
#ifndef WAYMARK_ADDRESS_H
#define WAYMARK_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/str.h"

/* What is configured, without a slash at its end, else "http://HOST:PORT", of a server with TLS "https://…", of the
 * address that is listened on ("host:port", "[::1]:8081") with the port in use; for an address that stands for all of
 * the machine's, its name. 0, or -EINVAL when it does not fit or address_is_valid would refuse it. */
int address_of(const char *advertised, bool tls, const char *listen, uint16_t port, char *out, size_t size,
               struct err *e);
/* Whether look-ups, and with them the tokens of those who ask, may go to a URL that stands in a claim: http or https, a
 * host, perhaps the begin of a path, and no login, query or fragment. It says nothing about who wrote it. Pure. */
bool address_is_valid(struct str url);

#endif
