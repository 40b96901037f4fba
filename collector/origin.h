/* Where a request comes from: the client's address behind proxies, and the fields that a browser wants before it lets
 * a page of another origin talk to us. Pure. */
#ifndef WAYMARK_ORIGIN_H
#define WAYMARK_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/http.h"
#include "common/str.h"

/* The client's address: with `hops` proxies of ours in front, what the outermost of them saw: the hops-th entry of
 * X-Forwarded-For from its end, or its first when there are fewer. Entries are read with a port and brackets too. The
 * peer when there are no proxies or that entry is no address: what a client wrote itself is never believed. */
struct str origin_address(struct str peer, struct str forwarded_for, unsigned hops);

#define CORS_FIELDS 7

/* Writes the CORS fields for a request with that Origin (absent: only Vary) and returns how many, at most CORS_FIELDS.
 * A preflight is also told what it may send: the fields it asked for in `wants`. Values live in the arena. */
size_t origin_cors(struct str origin, bool preflight, struct str wants, struct arena *a, struct http_field *out);

/* Whether a listen address ("127.0.0.1:8080", "[::1]:0", "localhost:80") can be reached from this machine only. */
bool origin_is_loopback(const char *listen);

#endif
