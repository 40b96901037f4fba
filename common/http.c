/* A server's life: listening, refusing new work, stopping. The thread that owns the server. */
#include "common/http.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/http_internal.h"
#include "common/limits.h"

#define BACKLOG 1024
#define OTHER_FILES 512 /* descriptors left to the rest of the program */
#define POLL_MS 2       /* between looks at a count that falls */

/* "host:port" or "[host]:port". */
static bool split_listen(const char *listen, char host[256], char port[16])
{
    const char *colon = strrchr(listen, ':'), *start = listen, *end = colon;

    if (!colon || colon == listen || colon[1] == '\0' || strlen(colon + 1) >= 16)
        return false;
    if (listen[0] == '[') {
        start++;
        if (*--end != ']')
            return false;
    }
    if (end <= start || (size_t)(end - start) >= 256)
        return false;
    memcpy(host, start, (size_t)(end - start));
    host[end - start] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return true;
}

static int bind_one(const struct addrinfo *a)
{
    int one = 1, saved, fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);

    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    saved = errno;
    close(fd);
    return -saved;
}

/* A listening socket, or a negative errno. */
static int open_listen(const char *listen, struct err *e)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    char host[256], port[16];
    int fd, r;

    if (!split_listen(listen, host, port)) {
        err_set(e, "%s: not an address and a port", listen);
        return -EINVAL;
    }
    r = getaddrinfo(host, port, &hints, &found);
    if (r != 0) {
        err_set(e, "%s: %s", listen, gai_strerror(r));
        return -EADDRNOTAVAIL;
    }
    fd = bind_one(found);
    freeaddrinfo(found);
    if (fd < 0)
        err_set(e, "%s: %s", listen, strerror(-fd));
    return fd;
}

static uint16_t port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } a;
    socklen_t n = sizeof a;

    if (getsockname(fd, &a.any, &n) != 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.six.sin6_port : a.four.sin_port);
}

/* As many connections as descriptors allow; asks for more of them first. */
static size_t connection_bound(void)
{
    struct rlimit l;
    size_t want = 2 * LIMIT_CONNECTIONS + OTHER_FILES;

    if (getrlimit(RLIMIT_NOFILE, &l) != 0)
        return LIMIT_CONNECTIONS;
    if (l.rlim_cur < want) {
        l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
        setrlimit(RLIMIT_NOFILE, &l);
        getrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur >= want)
        return LIMIT_CONNECTIONS;
    return l.rlim_cur > 2 * OTHER_FILES ? (l.rlim_cur - OTHER_FILES) / 2 : l.rlim_cur / 4;
}

static struct http_server *server_new(const struct http_options *o)
{
    struct http_server *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->o = *o;
    s->o.threads = o->threads ? o->threads : 1;
    s->o.head_ms = o->head_ms ? o->head_ms : LIMIT_HEAD_MS;
    s->o.body_ms = o->body_ms ? o->body_ms : LIMIT_BODY_MS;
    s->o.idle_ms = o->idle_ms ? o->idle_ms : LIMIT_IDLE_MS;
    s->refs = 1;
    s->max_connections = connection_bound();
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->conns_lock, NULL);
    cond_init(&s->timer_wake);
    return s;
}

int http_server_start(const struct http_options *o, struct http_server **out, struct err *e)
{
    struct http_server *s;
    int r, fd = open_listen(o->listen, e);

    assert(o->handle && o->body_limit);
    if (fd < 0)
        return fd;
    s = server_new(o);
    if (!s) {
        err_set(e, "out of memory");
        close(fd);
        return -ENOMEM;
    }
    s->port = port_of(fd);
    r = http_timer_start(s);
    if (r != 0) {
        err_set(e, "cannot start a thread: %s", strerror(-r));
        goto fail;
    }
    r = http_mhd_start(s, fd, e);
    if (r != 0) {
        fd = -1; /* libmicrohttpd has closed it */
        http_timer_stop(s);
        goto fail;
    }
    s->listen_fd = fd;
    *out = s;
    return 0;

fail:
    if (fd >= 0)
        close(fd);
    http_server_unref(s);
    return r;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

/* Takes the listening socket away from under libmicrohttpd, and leaves at its number what is never ready. Its own way
 * of doing that, MHD_quiesce_daemon, ends the process in 0.9.75 when a pool thread wakes meanwhile: both take the
 * socket out of epoll, and the second is not forgiven. */
void http_server_quiesce(struct http_server *s)
{
    if (atomic_exchange(&s->quiesced, true))
        return;
    shutdown(s->listen_fd, SHUT_RDWR); /* wakes those who poll it */
    int nothing = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (nothing < 0)
        return; /* refused all the same; the pool only does not sleep until the stop */
    dup3(nothing, s->listen_fd, O_CLOEXEC);
    close(nothing);
}

static void wait_zero(_Atomic size_t *count, int64_t until)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

    while (atomic_load(count) > 0 && clock_monotonic() < until)
        nanosleep(&pause, NULL);
}

/* libmicrohttpd 0.9.75 reads through NULL when it refuses a broken head while it is being stopped: its own answer is
 * not queued any more and is then built all the same. So no connection is left by then. */
static void hang_up(struct http_server *s)
{
    struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    int64_t until = clock_monotonic() + LIMIT_FLUSH_MS;

    while (http_conns_hang_up(s) && clock_monotonic() < until)
        nanosleep(&pause, NULL);
}

void http_server_stop(struct http_server *s, int64_t ms)
{
    if (!s)
        return;
    http_server_quiesce(s);
    wait_zero(&s->handled, clock_monotonic() + ms);
    atomic_store(&s->stopping, true);
    /* libmicrohttpd aborts when it is stopped with a suspended connection. Handlers still inside a pool thread may
     * keep their request yet; from `stopping` on no further one is called. */
    while (atomic_load(&s->handled) > 0) {
        http_answer_kept(s);
        wait_zero(&s->handled, clock_monotonic() + 10 * POLL_MS);
    }
    wait_zero(&s->answering, clock_monotonic() + LIMIT_FLUSH_MS);
    hang_up(s);
    http_mhd_stop(s);
    http_timer_stop(s);
    assert(s->conn_count == 0 && !s->kept);
    http_server_unref(s);
}
