/* What is said first on a connection to Redis: who asks, which database, and what kind of Redis this is. */
#ifndef WAYMARK_REDIS_HELLO_H
#define WAYMARK_REDIS_HELLO_H

#include "profiler/redis_conn.h"
#include "profiler/redis_socket.h"

struct redis_login {
    const struct redis_url *url;
    const char *password_file; /* its first line is the password; NULL: what the url says */
};

/* Whether there is a password where one is needed. */
int redis_login_check(const struct redis_login *l, struct err *e);

/* Ends with the patience. */
int redis_say_hello(struct redis_conn *c, const struct redis_login *l, const struct redis_patience *p,
                    struct redis_hello *hello, struct err *e);

#endif
