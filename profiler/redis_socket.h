/* Sockets to Redis, with deadlines. Any thread. */
#ifndef WAYMARK_REDIS_SOCKET_H
#define WAYMARK_REDIS_SOCKET_H

#include <stdint.h>

#include "common/err.h"
#include "profiler/redis_url.h"

/* Until when to wait (clock_monotonic), and what ends it before by being readable. */
struct redis_patience {
    int64_t deadline;
    int stop_fd;
};

/* Returns 0 when the socket is ready, -ETIMEDOUT or -ECANCELED. */
int redis_wait(int fd, short events, const struct redis_patience *p);
/* The words for an errno; returns -error. */
int redis_lost(struct err *e, const char *what, int error);

/* A host name that is being looked up: it may take longer than anybody waits for it, and is not asked for twice. */
struct redis_lookup;
void redis_lookup_free(struct redis_lookup *l);

/* Returns a connected socket that does not block, or a negative errno with the reason. `*lookup` is NULL at first and
 * kept by the caller for the next call. */
int redis_socket_open(const struct redis_url *url, struct redis_lookup **lookup, const struct redis_patience *p,
                      struct err *e);

#endif
