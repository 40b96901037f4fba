/* Connections and their deadlines. libmicrohttpd's time-out is about silence only: a byte a second lives for ever.
 * Here each connection has one deadline at a time, moved by its pool thread with each step of a request; the timer
 * thread shuts down the sockets of those that are late, and libmicrohttpd then finds them closed. It also reads on
 * from connections that were answered before their body had come, so that the client sees the answer and not a
 * reset. */
#include <assert.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/http_internal.h"
#include "common/limits.h"

/* The kernel's number; the header that names it cannot be included beside the one that has bytes_received. */
#define TCP_STATE_CLOSE_WAIT 8
#define GREATEST_TICK_MS 500
#define LINGER_TICK_MS 10

/* --- steps; the pool thread, or the thread that answers while the connection is suspended */

static void set_deadline(struct http_conn *c, int64_t ms)
{
    atomic_store_explicit(&c->deadline, ms, memory_order_relaxed);
}

void http_conn_head_begins(struct http_conn *c)
{
    atomic_store_explicit(&c->idle_until, 0, memory_order_relaxed);
    if (!c->fresh)
        set_deadline(c, clock_monotonic() + c->server->o.head_ms);
    c->fresh = false;
    c->linger = true;
}

void http_conn_body_begins(struct http_conn *c)
{
    set_deadline(c, clock_monotonic() + c->server->o.body_ms);
}

void http_conn_handled(struct http_conn *c)
{
    set_deadline(c, HTTP_NO_DEADLINE);
}

void http_conn_answers(struct http_conn *c, size_t bytes)
{
    set_deadline(c, clock_monotonic() + LIMIT_SEND_MS + (int64_t)(bytes / LIMIT_SEND_RATE));
}

void http_conn_idle(struct http_conn *c)
{
    int64_t until = clock_monotonic() + c->server->o.idle_ms;

    atomic_store_explicit(&c->idle_until, until, memory_order_relaxed);
    set_deadline(c, until);
}

/* --- opening and closing; pool threads */

bool http_conn_room(struct http_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    /* Some more than are served, so that those get an answer. */
    bool room = s->conn_count < s->max_connections + s->max_connections / 4 + 1;
    pthread_mutex_unlock(&s->conns_lock);
    return room;
}

struct http_conn *http_conn_open(struct http_server *s, int fd, const char *peer)
{
    struct http_conn *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->server = s;
    c->fd = fd;
    c->fresh = true;
    c->linger = true; /* libmicrohttpd may refuse the head by itself */
    memcpy(c->peer, peer, strnlen(peer, sizeof c->peer - 1));
    set_deadline(c, clock_monotonic() + s->o.head_ms);
    pthread_mutex_lock(&s->conns_lock);
    c->next = s->conns;
    if (s->conns)
        s->conns->prev = c;
    s->conns = c;
    c->refused = s->conn_count++ >= s->max_connections;
    pthread_mutex_unlock(&s->conns_lock);
    return c;
}

/* Keeps the socket open a while behind libmicrohttpd's back; it has sent its end of the stream already. */
static void begin_linger(struct http_server *s, int fd)
{
    int copy;

    if (s->lingering_count == LIMIT_LINGERING || s->timer_stop)
        return;
    copy = dup(fd);
    if (copy < 0)
        return;
    shutdown(copy, SHUT_WR);
    s->lingering[s->lingering_count++] =
        (struct http_lingering){.fd = copy, .until = clock_monotonic() + LIMIT_LINGER_MS, .left = LIMIT_DRAIN_BYTES};
    pthread_cond_signal(&s->timer_wake);
}

void http_conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;

    pthread_mutex_lock(&s->conns_lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    assert(s->conn_count > 0);
    s->conn_count--;
    if (c->linger)
        begin_linger(s, c->fd);
    pthread_mutex_unlock(&s->conns_lock);
    free(c);
}

bool http_conns_hang_up(struct http_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    for (struct http_conn *c = s->conns; c; c = c->next)
        shutdown(c->fd, SHUT_RDWR);
    bool open = s->conn_count > 0;
    pthread_mutex_unlock(&s->conns_lock);
    return open;
}

/* --- the timer; conns_lock is held */

/* Bytes that the peer has sent so far, and whether it has ended its side; nothing when the kernel does not say. */
static uint64_t bytes_received(int fd, bool *ended)
{
    struct tcp_info info;
    socklen_t n = sizeof info;

    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) != 0)
        return 0;
    *ended = info.tcpi_state == TCP_STATE_CLOSE_WAIT;
    return info.tcpi_bytes_received;
}

/* libmicrohttpd tells of a request only when its first line is whole: a kept-alive connection on which bytes arrive
 * has the head's time from then on, not the idle time. It also overlooks that a client ended its side while its
 * request was kept; that connection has no use any more. Returns the deadline that holds instead of `until`. */
static int64_t watch_idle(struct http_conn *c, int64_t until, int64_t now)
{
    bool ended = false;
    uint64_t bytes = bytes_received(c->fd, &ended);

    if (c->seen_idle_until != until) {
        c->seen_idle_until = until;
        c->seen_bytes = bytes;
        return until;
    }
    if (bytes == c->seen_bytes)
        return ended ? now : until;
    return now + c->server->o.head_ms < until ? now + c->server->o.head_ms : until;
}

/* A deadline is changed here only while the pool thread has not moved it. */
static void check_connection(struct http_conn *c, int64_t now)
{
    int64_t deadline = atomic_load_explicit(&c->deadline, memory_order_relaxed);
    int64_t sooner = deadline;

    if (deadline == atomic_load_explicit(&c->idle_until, memory_order_relaxed))
        sooner = watch_idle(c, deadline, now);
    if (sooner != deadline && !atomic_compare_exchange_strong(&c->deadline, &deadline, sooner))
        return;
    if (now >= sooner && atomic_compare_exchange_strong(&c->deadline, &sooner, HTTP_NO_DEADLINE))
        shutdown(c->fd, SHUT_RDWR);
}

static void check_connections(struct http_server *s, int64_t now)
{
    for (struct http_conn *c = s->conns; c; c = c->next)
        check_connection(c, now);
}

/* Reads what is there and throws it away; false when there is no more to wait for. */
static bool drain(struct http_lingering *l, int64_t now)
{
    static _Thread_local char scratch[64 * KIB];
    ssize_t n = 1;

    while (l->left > 0 && now < l->until) {
        n = recv(l->fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (n <= 0)
            break;
        l->left -= (size_t)n < l->left ? (size_t)n : l->left;
    }
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

static void check_lingering(struct http_server *s, int64_t now)
{
    for (size_t i = 0; i < s->lingering_count;) {
        if (drain(&s->lingering[i], now)) {
            i++;
            continue;
        }
        close(s->lingering[i].fd);
        s->lingering[i] = s->lingering[--s->lingering_count];
    }
}

static int64_t tick_ms(const struct http_server *s)
{
    int64_t least = s->o.head_ms < s->o.body_ms ? s->o.head_ms : s->o.body_ms;

    if (s->lingering_count > 0)
        return LINGER_TICK_MS;
    if (s->o.idle_ms < least)
        least = s->o.idle_ms;
    if (least / 8 > GREATEST_TICK_MS)
        return GREATEST_TICK_MS;
    return least / 8 > 10 ? least / 8 : 10;
}

static void *timer_main(void *arg)
{
    struct http_server *s = arg;

    pthread_mutex_lock(&s->conns_lock);
    while (!s->timer_stop) {
        int64_t wake = clock_monotonic() + tick_ms(s);
        struct timespec t = cond_at(wake);
        pthread_cond_timedwait(&s->timer_wake, &s->conns_lock, &t);
        check_connections(s, clock_monotonic());
        check_lingering(s, clock_monotonic());
    }
    while (s->lingering_count > 0)
        close(s->lingering[--s->lingering_count].fd);
    pthread_mutex_unlock(&s->conns_lock);
    return NULL;
}

int http_timer_start(struct http_server *s)
{
    return -pthread_create(&s->timer, NULL, timer_main, s);
}

void http_timer_stop(struct http_server *s)
{
    pthread_mutex_lock(&s->conns_lock);
    s->timer_stop = true;
    pthread_cond_signal(&s->timer_wake);
    pthread_mutex_unlock(&s->conns_lock);
    pthread_join(s->timer, NULL);
}
