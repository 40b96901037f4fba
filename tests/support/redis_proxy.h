/* A way to Redis that a test can disturb: what a client sends is held back and delivered late, even after the client
 * has gone; connections are cut with what is under way lost or not. Order within a connection is kept. One thread.
 * Include after <cmocka.h>. */
#ifndef WAYMARK_REDIS_PROXY_H
#define WAYMARK_REDIS_PROXY_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"

#define PROXY_LINKS 128

/* Bytes with the time from which on they may go. */
struct proxy_piece {
    struct proxy_piece *next;
    int64_t at;
    size_t n, sent;
    char p[16384];
};

struct proxy_way {
    struct proxy_piece *first, *last;
    int64_t at; /* of the last piece */
};

struct proxy_link {
    int client, server; /* -1: closed */
    struct proxy_way there, back;
};

struct redis_proxy {
    int listener;
    unsigned port, to;
    char url[64];
    pthread_t thread;
    atomic_bool stop;
    _Atomic int64_t hold_until; /* clock_monotonic: nothing reaches Redis before */
    _Atomic int64_t hold_back;  /* nothing reaches the clients before */
    atomic_bool refuse;         /* connections are closed at once */
    atomic_int cut;             /* 1: the clients' ends are closed and what they sent arrives; 2: and is lost */
    atomic_int cut_chance;      /* in 1000, for a link, instead of all; 0: all */
    atomic_int disorder;        /* in 1000: pieces that are late by up to late_ms */
    atomic_int late_ms;
    unsigned seed;
    struct proxy_link links[PROXY_LINKS];
};

static inline void proxy_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline void proxy_drop(struct proxy_way *w)
{
    for (struct proxy_piece *p = w->first, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    *w = (struct proxy_way){NULL, NULL, 0};
}

static inline void proxy_take(struct redis_proxy *x, struct proxy_way *w, int *from, int64_t hold)
{
    struct proxy_piece *p = malloc(sizeof *p);
    int64_t at = clock_monotonic();

    assert_non_null(p);
    ssize_t n = recv(*from, p->p, sizeof p->p, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            proxy_close(from);
        free(p);
        return;
    }
    if (rand_r(&x->seed) % 1000 < atomic_load(&x->disorder))
        at += rand_r(&x->seed) % (atomic_load(&x->late_ms) + 1);
    at = at < hold ? hold : at;
    at = at < w->at ? w->at : at;
    p->next = NULL;
    p->at = w->at = at;
    p->n = (size_t)n;
    p->sent = 0;
    if (w->first)
        w->last->next = p;
    else
        w->first = p;
    w->last = p;
}

/* Sends what is due. False when the other end has gone. */
static inline bool proxy_give(struct proxy_way *w, int to, int64_t hold)
{
    int64_t now = clock_monotonic();

    while (w->first && w->first->at <= now && hold <= now) {
        struct proxy_piece *p = w->first;
        ssize_t n = to < 0 ? -1 : send(to, p->p + p->sent, p->n - p->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return to >= 0 && errno == EAGAIN;
        p->sent += (size_t)n;
        if (p->sent < p->n)
            return true;
        w->first = p->next;
        free(p);
    }
    return true;
}

static inline void proxy_end_link(struct proxy_link *l)
{
    proxy_close(&l->client);
    proxy_close(&l->server);
    proxy_drop(&l->there);
    proxy_drop(&l->back);
}

static inline void proxy_accept(struct redis_proxy *x)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)x->to)};
    int client = accept4(x->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
    struct proxy_link *l = x->links;

    if (client < 0)
        return;
    while (l < x->links + PROXY_LINKS && (l->client >= 0 || l->server >= 0))
        l++;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l == x->links + PROXY_LINKS || atomic_load(&x->refuse) ||
        connect(server, (struct sockaddr *)&a, sizeof a) != 0) {
        close(client);
        close(server);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *l = (struct proxy_link){.client = client, .server = server};
}

static inline void proxy_pump(struct redis_proxy *x, struct proxy_link *l)
{
    int64_t hold = atomic_load(&x->hold_until), hold_back = atomic_load(&x->hold_back);

    if (l->client >= 0)
        proxy_take(x, &l->there, &l->client, hold);
    if (l->server >= 0 && !proxy_give(&l->there, l->server, hold))
        proxy_close(&l->server);
    if (l->server >= 0)
        proxy_take(x, &l->back, &l->server, hold_back);
    if (l->client < 0)
        proxy_drop(&l->back);
    else if (!proxy_give(&l->back, l->client, hold_back))
        proxy_close(&l->client);
    /* A client that has gone leaves what it has sent; a server that has gone leaves its last replies. */
    if ((l->client < 0 && !l->there.first) || (l->server < 0 && !l->back.first))
        proxy_end_link(l);
}

static inline void *proxy_run(void *arg)
{
    struct redis_proxy *x = arg;

    while (!atomic_load(&x->stop)) {
        struct pollfd fds[1 + 2 * PROXY_LINKS] = {{.fd = x->listener, .events = POLLIN}};
        int n = 1, cut = atomic_exchange(&x->cut, 0);
        for (int i = 0; i < PROXY_LINKS; i++) {
            struct proxy_link *l = &x->links[i];
            if (l->client < 0 && l->server < 0)
                continue;
            int chance = atomic_load(&x->cut_chance);
            if (cut && (chance == 0 || rand_r(&x->seed) % 1000 < chance)) {
                proxy_close(&l->client);
                if (cut == 2)
                    proxy_drop(&l->there);
            }
            proxy_pump(x, l);
            if (l->client >= 0)
                fds[n++] = (struct pollfd){.fd = l->client, .events = POLLIN};
            if (l->server >= 0)
                fds[n++] = (struct pollfd){.fd = l->server, .events = POLLIN};
        }
        if (poll(fds, (nfds_t)n, 1) > 0 && fds[0].revents)
            proxy_accept(x);
    }
    return NULL;
}

static inline void proxy_start(struct redis_proxy *x, unsigned to)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;

    memset(x, 0, sizeof *x);
    x->to = to;
    for (int i = 0; i < PROXY_LINKS; i++)
        x->links[i].client = x->links[i].server = -1;
    x->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(bind(x->listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(x->listener, 64) == 0);
    assert_true(getsockname(x->listener, (struct sockaddr *)&a, &n) == 0);
    x->port = ntohs(a.sin_port);
    snprintf(x->url, sizeof x->url, "redis://127.0.0.1:%u", x->port);
    assert_int_equal(pthread_create(&x->thread, NULL, proxy_run, x), 0);
}

static inline void proxy_stop(struct redis_proxy *x)
{
    atomic_store(&x->stop, true);
    pthread_join(x->thread, NULL);
    for (int i = 0; i < PROXY_LINKS; i++)
        proxy_end_link(&x->links[i]);
    close(x->listener);
}

#endif
