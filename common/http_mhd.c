/* The only file that knows libmicrohttpd: its daemon, its callbacks, its responses. Callbacks run on pool threads.
 *
 * Life of a request: target_seen (first line) makes it; on_access is called with the head, with each piece of the
 * body, and at the end; on_completed ends libmicrohttpd's part in it, whether it was answered or the client left. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/http_internal.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/tls_inside.h"

/* A connection's memory: the head and a table of its headers. libmicrohttpd clears all of it for each request, which
 * is what a larger one costs. */
#define CONNECTION_MEMORY (LIMIT_HEAD + 8 * KIB)
#define CONNECTION_STEP (8 * KIB)

/* --- answers */

/* A value with a line end in it would let its author write headers, and a body. */
static bool is_line(const char *s)
{
    return s && !strpbrk(s, "\r\n");
}

static struct MHD_Response *make_file_response(const struct http_file *f)
{
    struct MHD_Response *m = MHD_create_response_from_fd_at_offset64(f->n, f->fd, f->from);

    if (!m)
        close(f->fd);
    return m;
}

static struct MHD_Response *make_response(const struct http_answer *a)
{
    struct buf *b = a->body_buf;
    struct MHD_Response *m;

    if (a->file)
        return make_file_response(a->file);
    if (!b)
        return MHD_create_response_from_buffer(a->body.n, (void *)(size_t)a->body.p, MHD_RESPMEM_MUST_COPY);
    if (b->n == 0) {
        buf_deinit(b);
        return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    }
    m = MHD_create_response_from_buffer(b->n, b->p, MHD_RESPMEM_MUST_FREE);
    if (m)
        *b = (struct buf){.max = b->max};
    else
        buf_deinit(b);
    return m;
}

bool http_mhd_make(struct http_request *r, const struct http_answer *a)
{
    size_t bytes = a->file ? a->file->n : a->body_buf ? a->body_buf->n : a->body.n;
    struct MHD_Response *m = make_response(a);

    assert(!r->response && a->status >= 200 && a->status < 600);
    if (!m)
        return false;
    r->status = a->status;
    r->answer_bytes = bytes;
    if (a->content_type || bytes > 0)
        MHD_add_response_header(m, "Content-Type", is_line(a->content_type) ? a->content_type : "application/json");
    for (size_t i = 0; i < a->field_count; i++) {
        if (is_line(a->fields[i].name) && is_line(a->fields[i].value))
            MHD_add_response_header(m, a->fields[i].name, a->fields[i].value);
    }
    if (r->must_close || atomic_load(&r->server->quiesced))
        MHD_add_response_header(m, "Connection", "close");
    r->response = m;
    return true;
}

bool http_mhd_queue(struct http_request *r)
{
    struct MHD_Response *m = r->response;
    enum MHD_Result queued;

    r->response = NULL;
    if (!m)
        return false;
    http_conn_answers(r->conn, r->answer_bytes);
    r->queued = true;
    atomic_fetch_add(&r->server->answering, 1);
    queued = MHD_queue_response(r->connection, r->status, m);
    MHD_destroy_response(m);
    return queued == MHD_YES;
}

/* Without an answer (memory was out) libmicrohttpd calls on_access again, which then closes the connection. */
void http_mhd_resume(struct http_request *r)
{
    MHD_resume_connection(r->connection);
}

/* --- requests */

/* libmicrohttpd calls this with the raw target when the first line is whole. */
static void *target_seen(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct http_server *s = cls;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_conn *c = info ? info->socket_context : NULL;
    struct http_request *r;

    if (!c)
        return NULL;
    http_conn_head_begins(c);
    r = http_request_new(s, c, target);
    if (r)
        r->connection = connection;
    return r;
}

struct header_walk {
    struct http_request *r;
    size_t room;
    bool failed;
};

static enum MHD_Result add_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_size,
                                  const char *value, size_t value_size)
{
    struct header_walk *w = cls;

    (void)kind;
    if (!http_request_add_header(w->r, w->room, (struct str){key, key_size},
                                 (struct str){value ? value : "", value_size}))
        w->failed = true;
    return w->failed ? MHD_NO : MHD_YES;
}

/* Copies what libmicrohttpd has of the head: a handler may hold the request longer than libmicrohttpd holds these. */
static bool copy_head(struct http_request *r, const char *method, const char *version)
{
    int room = MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, NULL, NULL);
    struct header_walk w = {.r = r, .room = room > 0 ? (size_t)room : 0};

    r->method = arena_dup(&r->arena, str_of(method));
    r->version = strcmp(version, "HTTP/1.1") == 0 ? "HTTP/1.1" : "HTTP/1.0";
    if (room > 0)
        MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND, add_header, &w);
    return !w.failed && str_has(r->method);
}

/* Answers on the pool thread, before any handler saw the request. */
static enum MHD_Result answer_here(struct http_request *r, unsigned status, const char *message)
{
    atomic_store(&r->claimed, true);
    http_refuse(r, status, message, true);
    http_conn_handled(r->conn);
    return http_mhd_queue(r) ? MHD_YES : MHD_NO;
}

/* Before the body: the connection cannot be used again, since the body is still to come (and lingers, from its head
 * on). */
static enum MHD_Result answer_early(struct http_request *r, unsigned status, const char *message)
{
    r->must_close = true;
    return answer_here(r, status, message);
}

static bool head_too_large(struct http_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    return info && info->header_size > LIMIT_HEAD;
}

/* The head is whole: everything that can be refused now is. */
static enum MHD_Result on_head(struct http_request *r, const char *method, const char *version)
{
    struct http_server *s = r->server;
    unsigned status;
    bool known;

    if (!copy_head(r, method, version))
        return MHD_NO;
    const char *fault = http_request_check_head(r, &status);
    if (fault)
        return answer_early(r, status, fault);
    if (head_too_large(r))
        return answer_early(r, 431, "the head is too large");
    if (atomic_load(&s->quiesced))
        return answer_early(r, 503, "the server is stopping");
    if (r->conn->refused)
        return answer_early(r, 503, "too many connections");
    if (!http_request_join_headers(r) || !http_request_parse_query(r))
        return answer_early(r, 503, "out of memory");
    r->body_max = s->o.body_limit(r, s->o.arg);
    size_t n = http_request_length(r, &known);
    if (known && n > r->body_max)
        return answer_early(r, 413, "the body is too large");
    if (n > 0 && !http_request_body_room(r, n))
        return answer_early(r, 503, "too many bodies");
    r->conn->linger = false;
    http_conn_body_begins(r->conn);
    return MHD_YES;
}

/* The pool thread has the request back, or never gave it away: the answer goes out without a suspension. */
static enum MHD_Result finish_here(struct http_request *r)
{
    enum MHD_Result queued = http_mhd_queue(r) ? MHD_YES : MHD_NO;

    atomic_fetch_sub(&r->server->handled, 1);
    return queued;
}

static enum MHD_Result run_handler(struct http_request *r)
{
    struct http_server *s = r->server;

    r->received_at = clock_now();
    http_conn_handled(r->conn);
    if (r->refusal)
        return answer_here(r, r->refusal, r->refusal == 413 ? "the body is too large" : "too many bodies");
    /* Counted before `stopping` is looked at, and the stop sets it before it looks at the count. */
    atomic_fetch_add(&s->handled, 1);
    if (atomic_load(&s->stopping)) {
        atomic_fetch_sub(&s->handled, 1);
        return answer_here(r, 503, "the server is stopping");
    }
    atomic_fetch_add(&r->refs, 1);
    s->o.handle(r, s->o.arg);
    if (atomic_load(&r->state) == HTTP_READY)
        return finish_here(r);
    MHD_suspend_connection(r->connection);
    if (http_keep(r))
        return MHD_YES;
    /* Answered in between. */
    MHD_resume_connection(r->connection);
    return finish_here(r);
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *data, size_t *size, void **context)
{
    struct http_request *r = *context;

    (void)cls, (void)url;
    if (!r)
        return MHD_NO;
    assert(r->magic == HTTP_REQUEST_MAGIC && r->connection == connection);
    if (!r->head_done) {
        r->head_done = true;
        return on_head(r, method, version);
    }
    if (*size > 0) {
        size_t n = *size;
        *size = 0;
        return http_request_add_body(r, data, n) ? MHD_YES : MHD_NO;
    }
    /* Resumed without an answer. */
    if (atomic_load(&r->claimed))
        return MHD_NO;
    return run_handler(r);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *context;

    (void)cls, (void)connection, (void)code;
    if (!r)
        return;
    *context = NULL;
    assert(r->magic == HTTP_REQUEST_MAGIC);
    http_conn_idle(r->conn);
    r->conn = NULL;
    r->connection = NULL;
    if (r->queued)
        atomic_fetch_sub(&r->server->answering, 1);
    http_request_unref(r);
}

/* --- connections */

static void write_peer(const struct sockaddr *a, char *out, size_t size)
{
    out[0] = '\0';
    if (a && a->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)a)->sin_addr, out, (socklen_t)size);
    } else if (a && a->sa_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(six))
            inet_ntop(AF_INET, six->s6_addr + 12, out, (socklen_t)size);
        else
            inet_ntop(AF_INET6, six, out, (socklen_t)size);
    }
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    const union MHD_ConnectionInfo *fd, *address;
    char peer[HTTP_PEER_BYTES];

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*context)
            http_conn_close(*context);
        *context = NULL;
        return;
    }
    tls_thread_shows(((struct http_server *)cls)->o.tls);
    fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    address = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    write_peer(address ? address->client_addr : NULL, peer, sizeof peer);
    *context = fd ? http_conn_open(cls, fd->connect_fd, peer) : NULL;
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t n)
{
    (void)address, (void)n;
    return http_conn_room(cls) ? MHD_YES : MHD_NO;
}

/* --- the daemon */

/* Paths are split before they are decoded, so nothing is decoded here. */
static size_t keep_escapes(void *cls, struct MHD_Connection *connection, char *s)
{
    (void)cls, (void)connection;
    return strlen(s);
}

static void on_log(void *cls, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void on_log(void *cls, const char *format, va_list args)
{
    static struct log_limit limit;
    char text[256];

    (void)cls;
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_limited(&limit, LOG_DEBUG, "libmicrohttpd: %s", text);
}

int http_mhd_start(struct http_server *s, int listen_fd, struct err *e)
{
    /* With epoll libmicrohttpd 0.9.75 spins while a handshake waits for its client; with poll it sleeps. */
    unsigned flags = (s->o.tls ? MHD_USE_TLS | MHD_USE_POLL_INTERNAL_THREAD : MHD_USE_EPOLL_INTERNAL_THREAD) |
                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    /* Its limit is divided over the pool and makes clients hang: ours is met long before. */
    unsigned limit = (unsigned)s->max_connections * 2 * s->o.threads;

    /* An option without its flag would be an error. */
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(size_t)TLS_PRIORITIES},
        {MHD_OPTION_HTTPS_CERT_CALLBACK2, 0, (void *)(size_t)tls_retriever()},
        {MHD_OPTION_END, 0, NULL},
    };

    if (!s->o.tls)
        tls[0].option = MHD_OPTION_END;
    s->daemon =
        MHD_start_daemon(flags, 0, on_accept, s, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                         MHD_OPTION_LISTEN_SOCKET, listen_fd, MHD_OPTION_THREAD_POOL_SIZE, s->o.threads,
                         MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
                         CONNECTION_STEP, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
                         NULL, MHD_OPTION_URI_LOG_CALLBACK, target_seen, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                         NULL, MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (s->daemon)
        return 0;
    err_set(e, "cannot start the HTTP threads");
    return -EIO;
}

void http_mhd_stop(struct http_server *s)
{
    MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
}
