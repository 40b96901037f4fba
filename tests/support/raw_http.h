/* A client of HTTP on plain sockets, for tests that send what no library would. Include after <cmocka.h>. */
#ifndef WAYMARK_RAW_HTTP_H
#define WAYMARK_RAW_HTTP_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RAW_LIMIT_MS 20000 /* no wait of a test is longer */

struct raw_reply {
    int status; /* 0: the connection ended before a whole answer */
    char head[16384];
    char *body;
    size_t n;
};

static inline int64_t raw_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static inline int raw_connect(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

/* False when the peer has closed. */
static inline bool raw_send(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

static inline bool raw_text(int fd, const char *text)
{
    return raw_send(fd, text, strlen(text));
}

static inline bool raw_sendf(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool raw_sendf(int fd, const char *format, ...)
{
    static _Thread_local char text[128 * 1024];
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof text);
    return raw_send(fd, text, (size_t)n);
}

/* 1: something to read, or the end; 0: nothing within the time. */
static inline int raw_wait(int fd, int64_t ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, (int)ms);
}

/* Reads up to `n` bytes exactly; false at the end of the stream or a time-out. */
static inline bool raw_read(int fd, char *p, size_t n)
{
    while (n > 0) {
        ssize_t got = raw_wait(fd, RAW_LIMIT_MS) == 1 ? recv(fd, p, n, 0) : -1;
        if (got <= 0)
            return false;
        p += got;
        n -= (size_t)got;
    }
    return true;
}

/* True when the peer closes, with or without a reset, before the time is out; what comes before is thrown away. */
static inline bool raw_ends(int fd, int64_t ms)
{
    char scratch[4096];
    int64_t until = raw_now() + ms;

    while (raw_now() < until) {
        if (raw_wait(fd, until - raw_now()) == 1 && recv(fd, scratch, sizeof scratch, 0) <= 0)
            return true;
    }
    return false;
}

/* The value of a header in an answer, NULL when it is not there; overwritten by the next call. */
static inline const char *raw_field(const struct raw_reply *r, const char *name)
{
    static _Thread_local char value[1024];
    size_t n = strlen(name);

    for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, n) != 0 || line[2 + n] != ':')
            continue;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(line + 2 + n + 2, "\r"), line + 2 + n + 2);
        return value;
    }
    return NULL;
}

static inline bool raw_read_head(int fd, struct raw_reply *r)
{
    size_t n = 0;

    r->status = 0;
    while (n < 4 || memcmp(r->head + n - 4, "\r\n\r\n", 4) != 0) {
        assert_true(n + 1 < sizeof r->head);
        if (!raw_read(fd, r->head + n, 1))
            return false;
        n++;
    }
    r->head[n] = '\0';
    return sscanf(r->head, "HTTP/1.%*d %d", &r->status) == 1;
}

/* One answer with its body (without one after HEAD, 1xx and 204). Free with raw_free. */
static inline void raw_reply(int fd, struct raw_reply *r, bool head_only)
{
    const char *length;

    memset(r, 0, sizeof *r);
    if (!raw_read_head(fd, r))
        return;
    length = raw_field(r, "Content-Length");
    r->n = length && !head_only ? strtoul(length, NULL, 10) : 0;
    r->body = calloc(1, r->n + 1);
    assert_non_null(r->body);
    if (!raw_read(fd, r->body, r->n))
        r->status = 0;
}

static inline void raw_free(struct raw_reply *r)
{
    free(r->body);
    r->body = NULL;
}

/* Reads one answer and returns its status, 0 for none. */
static inline int raw_status(int fd)
{
    struct raw_reply r;

    raw_reply(fd, &r, false);
    raw_free(&r);
    return r.status;
}

#endif
