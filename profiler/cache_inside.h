/* What the files of the cache share; nobody else includes it but tests of the protocol.
 *
 *   cache.c          life and figures
 *   cache_owner.c    the owner's side: leases, deletes, copies and their rules
 *   cache_writer.c   the thread with the writing connection, and the queue before it
 *   cache_reader.c   the thread that asks for look-ups
 *   cache_link.c     what both threads do around their connections
 *
 * Two locks, never held at once: `lock` is of everything but `reader`, which has its own. */
#ifndef WAYMARK_CACHE_INSIDE_H
#define WAYMARK_CACHE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/buf.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/cache.h"
#include "profiler/cache_changes.h"
#include "profiler/cache_value.h"
#include "profiler/redis_conn.h"

/* A rule that a test does without, to see that it is needed. */
enum cache_without {
    CACHE_WITHOUT_BEFORE = 1,   /* nothing is deleted */
    CACHE_WITHOUT_OVER = 2,     /* unconfirmed deletes hold nothing back */
    CACHE_WITHOUT_FILL = 4,     /* a fill is always taken */
    CACHE_WITHOUT_RUN = 8,      /* the lease has no run in its name */
    CACHE_WITHOUT_FRESH = 16,   /* the next connection goes on with the generation */
    CACHE_WITHOUT_DEADLINE = 32 /* a lease lasts from when Redis gets it */
};

/* The partition's side of the protocol. Times are of clock_boot. */
struct tenure {
    int64_t until;                /* the term as confirmed last; 0: not the owner */
    int64_t lease_over;           /* end of the last term for which a lease was sent, in any generation */
    bool live;                    /* `generation` may be leased and copies be made of it */
    struct generation generation; /* while live */
    uint64_t since;               /* ticket of its beginning */
    bool changing;                /* between cache_begin and cache_end */
    bool waiting;                 /* ... and told to wait until lease_over */
    struct change_set set;        /* of that batch */
};

/* A thread's way to Redis. Of that thread, but `told`, which it writes under the lock. */
struct cache_link {
    const char *use; /* "read" or "write" */
    struct redis_target *target;
    int64_t back_off; /* ms before the next try; 0: none */
    int64_t since;    /* clock_monotonic of the connection */
    char told[256];   /* why it is away, as the log has it; "": it is not, or nothing has been tried yet */
    struct log_limit away, back;
};

enum cache_command { CACHE_TIME, CACHE_LEASE, CACHE_DELETE, CACHE_COPY };

struct cache_writer {
    struct cache_link link;
    pthread_t thread;
    bool up;             /* connected, and not given up */
    uint64_t connection; /* counts them; another number: what was sent before is not confirmed any more */
    char run_id[41];
    int64_t time, time_at; /* Redis' TIME as last answered, and when that answer came */
    bool time_asked;
    struct buf pending;                        /* commands, whole */
    size_t sending;                            /* bytes that the thread has taken and not sent yet */
    unsigned char commands[LIMIT_CACHE_QUEUE]; /* a ring of those that wait for their reply */
    uint64_t queued, answered;                 /* counts of all time; between them lies the ring */
    int64_t heard_at;                          /* clock_monotonic of the last reply, or of the first command after it */
    int wake_fd;
    bool asleep;
    char why[256]; /* the connection was given up */
};

struct cache_reader {
    struct cache_link link;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows down to `asleep` */
    bool up;
    struct cache_question *first, **last; /* wait to be asked */
    size_t asked;                         /* taken and not answered, these included */
    struct log_limit foreign;             /* of another shop's leases, read by the thread alone */
    bool asleep;
    int wake_fd;
};

enum cache_result { CACHE_HIT, CACHE_MISS, CACHE_ERROR, CACHE_LATE, CACHE_RESULTS };
enum cache_fill_result { FILL_TAKEN, FILL_CHANGED, FILL_DROPPED, FILL_RESULTS };

struct cache_figures {
    struct stats *own; /* where nobody wants them */
    struct stats_counter *reads[CACHE_RESULTS], *fills[FILL_RESULTS];
    struct stats_counter *generations, *unconfirmed, *copies, *dropped, *refused;
};

struct cache {
    const struct conf_redis *conf;
    uint32_t partitions;
    uint64_t (*shop)(void *arg);
    uint64_t (*tags)(void *arg);
    void *arg;
    _Atomic unsigned without;
    int64_t confirm_ms,
        read_ms; /* LIMIT_CACHE_CONFIRM_MS and LIMIT_CACHE_READ_MS, but where a test has more patience */
    int stop_fd; /* readable from cache_stop on */
    atomic_bool stopping;
    bool ended; /* both threads, and joined */
    struct cache_figures figures;

    pthread_mutex_t lock;
    pthread_cond_t confirmed; /* `answered`, `connection`, `up` or `running` has moved */
    unsigned running;         /* threads */
    struct tenure *tenures;
    struct changes changes;
    struct cache_writer writer;

    struct cache_reader reader;
};

/* --- cache_writer.c; with `lock` */

/* Puts commands that redis_command wrote behind the others; `copy`: only while half of the queue is free. False when
 * they do not fit or there is no connection. */
bool cache_queue(struct cache *c, enum cache_command command, const struct buf *text, bool copy);
/* Rule `fresh`: the connection is not used any more, and no generation of it. */
void cache_give_up(struct cache *c, const char *why);
/* Without the lock. */
void *cache_writer_run(void *cache);

/* --- cache.c */

/* Rule `shop`: how its generations begin. False while that is not known. */
#define SHOP_DIGITS 8
bool cache_shop(const struct cache *c, char digits[SHOP_DIGITS + 1]);

/* --- cache_owner.c; with `lock` */

/* No generation is leased or copied with any more. */
void cache_generations_end(struct cache *c);

/* --- cache_reader.c */

void *cache_reader_run(void *cache);

/* --- cache_link.c */

/* Tries until there is a connection; false when the cache stops. */
bool cache_link_open(struct cache *c, struct cache_link *link, struct redis_conn **out, struct redis_hello *hello);
/* The connection was lost; `why` goes to the log. */
void cache_link_lost(struct cache *c, struct cache_link *link, const char *why);
/* The last thing that a thread does. */
void cache_thread_ends(struct cache *c);
/* A thread in poll is woken by its eventfd. */
void cache_wake(int wake_fd);
/* Polls for the connection, the eventfd and the stop, and takes what woke it; `ms` negative: no limit. */
void cache_poll(const struct cache *c, const struct redis_conn *conn, bool unsent, int wake_fd, int64_t ms);

#endif
