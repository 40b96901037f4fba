/* A connection to Redis over TCP, TLS or a socket of the machine: commands go out as bytes, replies come in one by one,
 * and nothing waits but redis_conn_open, which has a deadline. The one file behind it is the only one that knows
 * hiredis and OpenSSL. A connection belongs to one thread. The program ignores SIGPIPE. */
#ifndef WAYMARK_REDIS_CONN_H
#define WAYMARK_REDIS_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/conf.h"
#include "common/err.h"
#include "common/str.h"

/* --- where to and as whom; const but for what redis_conn_open keeps in it: one thread at a time */

struct redis_target;

/* Checks what can be checked without Redis: the url, the files. `conf` must live as long. */
int redis_target_new(const struct conf_redis *conf, struct redis_target **out, struct err *e);
void redis_target_free(struct redis_target *t);
/* For people: host:port or path, without secrets. */
const char *redis_target_name(const struct redis_target *t);

/* --- commands */

/* Adds a command. False when it does not fit: then `out` is failed. Any thread. */
bool redis_command(struct buf *out, const struct str *words, size_t n);

/* --- replies */

enum redis_kind { REDIS_STRING, REDIS_STATUS, REDIS_ERROR, REDIS_INTEGER, REDIS_NIL, REDIS_ARRAY };

struct redis_reply {
    enum redis_kind kind;
    struct str text; /* of a string, status or error */
    int64_t integer;
    size_t n;           /* elements of an array */
    const void *inside; /* of the array: redis_reply_at */
};

/* `i` below r->n. */
struct redis_reply redis_reply_at(const struct redis_reply *r, size_t i);

/* --- the connection */

struct redis_conn;

/* What Redis said of itself at the start. */
struct redis_hello {
    char run_id[41];
    char version[24];
    int64_t time;    /* of its clock, ms since 1970 */
    int64_t time_at; /* clock_boot when that had come */
};

/* Connects, makes itself known, chooses the database, and checks that it is no replica and of version 6.2 at least.
 * Ends at `deadline` (clock_monotonic), or at once when `stop_fd` is readable. Returns 0 or a negative errno with the
 * reason. */
int redis_conn_open(struct redis_target *t, int64_t deadline, int stop_fd, struct redis_conn **out,
                    struct redis_hello *hello, struct err *e);
void redis_conn_close(struct redis_conn *c);

int redis_conn_fd(const struct redis_conn *c);
/* What to poll for; `unsent`: there are bytes for redis_conn_send. */
short redis_conn_events(const struct redis_conn *c, bool unsent);

/* Sends what goes now; returns how many bytes went (0: none now) or a negative errno: the connection is lost. */
long redis_conn_send(struct redis_conn *c, struct str bytes, struct err *e);
/* Takes in a piece of what has come; returns its size, 0 when there is nothing now, or a negative errno: the connection
 * is lost. To be called until 0, with the replies taken in between. */
long redis_conn_receive(struct redis_conn *c, struct err *e);
/* The next reply; lives until the next call. Returns 1, 0 when none is whole, or a negative errno: this is no Redis. */
int redis_conn_reply(struct redis_conn *c, struct redis_reply *out, struct err *e);

#endif
