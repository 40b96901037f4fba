/* Where others reach this profiler. */
#ifndef WAYMARK_ADDRESS_H
#define WAYMARK_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* What is configured, without a slash at its end, else "http://HOST:PORT" of the address that is listened on
 * ("host:port",
 * "[::1]:8081") with the port in use; for an address that stands for all of the machine's, its name. 0, or -EINVAL when
 * it does not fit. */
int address_of(const char *advertised, const char *listen, uint16_t port, char *out, size_t size, struct err *e);

#endif
