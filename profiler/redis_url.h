/* Where a Redis listens and who asks it, out of one text:
 *
 *   redis://[user[:password]@]host[:port][/db]     rediss:// the same over TLS
 *   unix://[user[:password]@]/path[?db=N]
 *
 * %XX stands for a byte in user, password and path. An IPv6 address stands in brackets. Pure. */
#ifndef WAYMARK_REDIS_URL_H
#define WAYMARK_REDIS_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

struct redis_url {
    bool tls;
    bool local; /* a socket of this machine, at `path`; else `host` and `port` */
    char host[256];
    char port[6];
    char path[108]; /* as long as a socket's name may be */
    char user[256]; /* "": none */
    char password[1024];
    bool has_password;
    uint32_t db;
};

/* Returns 0, or -EINVAL with the reason, which does not repeat the url: it may hold a password. */
int redis_url_parse(const char *text, struct redis_url *out, struct err *e);

#endif
