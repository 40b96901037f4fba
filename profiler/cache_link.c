/* What the two threads of the cache do around their connections: try until there is one, with longer and longer waits,
 * tell the log when it comes and goes, and sleep. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "profiler/cache_inside.h"

#define FIRST_BACK_OFF_MS 20
#define STEADY_MS 500 /* a connection that lived so long was a good one */

static void remember(struct cache *c, struct cache_link *link, const char *why)
{
    pthread_mutex_lock(&c->lock);
    snprintf(link->told, sizeof link->told, "%s", why);
    pthread_mutex_unlock(&c->lock);
}

/* Once for each reason, not for each try. */
static void tell(struct cache *c, struct cache_link *link, const char *why)
{
    if (strcmp(link->told, why) == 0)
        return;
    remember(c, link, why);
    log_limited(&link->away, LOG_WARN, "cache: no connection to %s to %s: %s", redis_target_name(link->target),
                link->use, why);
}

/* Waits before the next try; false when the cache stops. */
static bool pause_before(const struct cache *c, struct cache_link *link)
{
    struct pollfd stop = {.fd = c->stop_fd, .events = POLLIN};

    if (link->back_off > 0)
        poll(&stop, 1, (int)link->back_off);
    link->back_off = link->back_off ? 2 * link->back_off : FIRST_BACK_OFF_MS;
    if (link->back_off > LIMIT_CACHE_BACK_OFF_MS)
        link->back_off = LIMIT_CACHE_BACK_OFF_MS;
    return !atomic_load(&c->stopping);
}

bool cache_link_open(struct cache *c, struct cache_link *link, struct redis_conn **out, struct redis_hello *hello)
{
    while (pause_before(c, link)) {
        struct err e = {.text = ""};
        int64_t deadline = clock_monotonic() + LIMIT_CACHE_CONNECT_MS;
        int result = redis_conn_open(link->target, deadline, c->stop_fd, out, hello, &e);
        if (result == 0) {
            remember(c, link, "");
            link->since = clock_monotonic();
            log_limited(&link->back, LOG_INFO, "cache: connected to %s to %s: Redis %s, run %s",
                        redis_target_name(link->target), link->use, hello->version, hello->run_id);
            return true;
        }
        if (!atomic_load(&c->stopping))
            tell(c, link, e.text[0] ? e.text : strerror(-result));
    }
    return false;
}

void cache_link_lost(struct cache *c, struct cache_link *link, const char *why)
{
    if (atomic_load(&c->stopping))
        return;
    if (clock_monotonic() - link->since >= STEADY_MS)
        link->back_off = 0;
    tell(c, link, why);
}

void cache_thread_ends(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    c->running--;
    pthread_cond_broadcast(&c->confirmed);
    pthread_mutex_unlock(&c->lock);
}

void cache_wake(int wake_fd)
{
    uint64_t one = 1;
    ssize_t n;

    do
        n = write(wake_fd, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

void cache_poll(const struct cache *c, const struct redis_conn *conn, bool unsent, int wake_fd, int64_t ms)
{
    struct pollfd fds[] = {{.fd = redis_conn_fd(conn), .events = redis_conn_events(conn, unsent)},
                           {.fd = wake_fd, .events = POLLIN},
                           {.fd = c->stop_fd, .events = POLLIN}};
    uint64_t count;

    if (poll(fds, 3, (int)ms) > 0 && fds[1].revents && read(wake_fd, &count, sizeof count) < 0)
        return; /* somebody else's wake-up was taken with it */
}
