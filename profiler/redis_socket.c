/* Opens sockets to Redis. Everything waits in poll, until its deadline; getaddrinfo knows none, so that it runs beside
 * and a look-up that is late is left to end by itself. Any thread. */
#include "profiler/redis_socket.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define RESOLVE_TICK_MS 20

/* --- waiting */

int redis_wait(int fd, short events, const struct redis_patience *p)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = fd, .events = events}, {.fd = p->stop_fd, .events = POLLIN}};
        int64_t left = p->deadline - clock_monotonic();
        int n = left > 0 ? poll(fds, 2, (int)left) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ETIMEDOUT;
        return fds[1].revents ? -ECANCELED : 0;
    }
}

int redis_lost(struct err *e, const char *what, int error)
{
    err_set(e, "%s: %s", what, error == ETIMEDOUT ? "no answer in time" : strerror(error));
    return -error;
}

/* --- addresses */

struct redis_lookup {
    struct gaicb request;
    struct addrinfo hints;
    char host[256], port[6];
};

static bool lookup_ended(struct redis_lookup *l)
{
    return gai_error(&l->request) != EAI_INPROGRESS;
}

void redis_lookup_free(struct redis_lookup *l)
{
    if (!l)
        return;
    /* One that cannot be ended keeps its memory: its thread still writes there. */
    if (!lookup_ended(l) && gai_cancel(&l->request) != EAI_CANCELED)
        return;
    if (l->request.ar_result)
        freeaddrinfo(l->request.ar_result);
    free(l);
}

static int lookup_begin(const struct redis_url *url, struct redis_lookup **out, struct err *e)
{
    struct redis_lookup *l = calloc(1, sizeof *l);
    struct gaicb *list[1];

    if (!l)
        return -ENOMEM;
    memcpy(l->host, url->host, sizeof l->host);
    memcpy(l->port, url->port, sizeof l->port);
    l->hints.ai_socktype = SOCK_STREAM;
    l->request = (struct gaicb){.ar_name = l->host, .ar_service = l->port, .ar_request = &l->hints};
    list[0] = &l->request;
    int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    if (error != 0) {
        free(l);
        err_set(e, "looking up %s: %s", url->host, gai_strerror(error));
        return -EAGAIN;
    }
    *out = l;
    return 0;
}

/* Waits for the addresses. -ETIMEDOUT and -ECANCELED leave it under way. */
static int lookup_wait(struct redis_lookup *l, const struct redis_patience *p, struct err *e)
{
    const struct gaicb *list[1] = {&l->request};
    const struct timespec tick = {.tv_nsec = RESOLVE_TICK_MS * 1000000};

    while (!lookup_ended(l)) {
        struct pollfd stop = {.fd = p->stop_fd, .events = POLLIN};
        if (poll(&stop, 1, 0) > 0)
            return -ECANCELED;
        if (clock_monotonic() >= p->deadline) {
            err_set(e, "looking up %s: no answer in time", l->host);
            return -ETIMEDOUT;
        }
        gai_suspend(list, 1, &tick);
    }
    int error = gai_error(&l->request);
    if (error != 0) {
        err_set(e, "looking up %s: %s", l->host, gai_strerror(error));
        return -EHOSTUNREACH;
    }
    return 0;
}

/* --- the socket */

static int finish_connect(int fd, const struct redis_patience *p)
{
    int error = 0, result = redis_wait(fd, POLLOUT, p);
    socklen_t n = sizeof error;

    if (result < 0)
        return result;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        return -errno;
    return -error;
}

/* Returns the socket or a negative errno. */
static int connect_to(const struct sockaddr *address, socklen_t n, const struct redis_patience *p)
{
    int on = 1, result = 0;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (connect(fd, address, n) != 0)
        result = errno == EINPROGRESS ? finish_connect(fd, p) : -errno;
    if (result < 0) {
        close(fd);
        return result;
    }
    if (address->sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    return fd;
}

static int connect_local(const struct redis_url *url, const struct redis_patience *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, url->path, sizeof address.sun_path);
    return connect_to((const struct sockaddr *)&address, sizeof address, p);
}

/* The first address that answers. */
static int connect_any(const struct addrinfo *list, const struct redis_patience *p)
{
    int fd = -EHOSTUNREACH;

    for (const struct addrinfo *a = list; a && fd < 0 && fd != -ECANCELED; a = a->ai_next) {
        struct redis_patience share = *p;
        if (a->ai_next) /* half of what is left, so that the others have their turn */
            share.deadline -= (p->deadline - clock_monotonic()) / 2;
        fd = connect_to(a->ai_addr, a->ai_addrlen, &share);
    }
    return fd;
}

/* An address needs no looking up; false when it is a name. */
static bool connect_address(const struct redis_url *url, const struct redis_patience *p, int *fd)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list = NULL;

    if (getaddrinfo(url->host, url->port, &hints, &list) != 0)
        return false;
    *fd = connect_any(list, p);
    freeaddrinfo(list);
    return true;
}

static int connect_name(const struct redis_url *url, struct redis_lookup **lookup, const struct redis_patience *p,
                        struct err *e)
{
    int result = *lookup ? 0 : lookup_begin(url, lookup, e);

    if (result == 0)
        result = lookup_wait(*lookup, p, e);
    if (result == -ETIMEDOUT || result == -ECANCELED || !*lookup)
        return result;
    if (result == 0) {
        int fd = connect_any((*lookup)->request.ar_result, p);
        result = fd < 0 ? redis_lost(e, "connecting", -fd) : fd;
    }
    redis_lookup_free(*lookup);
    *lookup = NULL;
    return result;
}

int redis_socket_open(const struct redis_url *url, struct redis_lookup **lookup, const struct redis_patience *p,
                      struct err *e)
{
    int fd;

    if (url->local)
        fd = connect_local(url, p);
    else if (!connect_address(url, p, &fd))
        return connect_name(url, lookup, p, e);
    return fd < 0 ? redis_lost(e, "connecting", -fd) : fd;
}
