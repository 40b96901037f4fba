/* What the http files share and nobody else sees.
 *
 * Threads: the pool (libmicrohttpd's, one epoll or poll each) reads requests and runs handlers; any thread answers; the
 * timer enforces deadlines; the caller's thread starts and stops. A request belongs to its pool thread until its
 * handler is called and to the handler until it is answered. Lock order: http_server.lock before libmicrohttpd's own.
 */
#ifndef WAYMARK_HTTP_INTERNAL_H
#define WAYMARK_HTTP_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "common/http.h"
#include "common/limits.h"

struct MHD_Connection;
struct MHD_Daemon;
struct MHD_Response;

#define HTTP_NO_DEADLINE INT64_MAX
#define HTTP_PEER_BYTES 64
#define HTTP_FIELDS 16 /* common fields of an answer made here */

/* A connection, from accept to close. */
struct http_conn {
    struct http_server *server;
    struct http_conn *prev, *next; /* under conns_lock */
    int fd;
    bool refused;               /* over the limit: its request gets 503 */
    bool fresh;                 /* no request yet: the head's deadline runs since accept. Pool thread only */
    bool linger;                /* more of a refused request may come: read on after the close. Pool thread only */
    _Atomic int64_t deadline;   /* monotonic ms */
    _Atomic int64_t idle_until; /* the deadline that was set when it became idle, else 0 */
    int64_t seen_idle_until;    /* timer only: the idle time that seen_bytes belongs to */
    uint64_t seen_bytes;
    char peer[HTTP_PEER_BYTES];
};

struct http_lingering {
    int fd; /* ours, a duplicate */
    int64_t until;
    size_t left; /* bytes that may still come */
};

struct http_server {
    struct http_options o;
    struct MHD_Daemon *daemon;
    int listen_fd; /* libmicrohttpd closes it */
    uint16_t port;
    size_t max_connections;
    _Atomic bool quiesced;
    _Atomic bool stopping;
    _Atomic size_t refs;       /* the owner's and one for each request */
    _Atomic size_t handled;    /* requests given to a handler and not yet answered */
    _Atomic size_t answering;  /* answers queued and not yet taken */
    _Atomic size_t body_bytes; /* memory of all bodies */

    pthread_mutex_t lock; /* kept */
    struct http_request *kept;

    pthread_mutex_t conns_lock; /* conns, conn_count, lingering, timer_stop */
    pthread_cond_t timer_wake;
    pthread_t timer;
    bool timer_stop;
    struct http_conn *conns;
    size_t conn_count;
    struct http_lingering lingering[LIMIT_LINGERING];
    size_t lingering_count;
};

/* Who has the request: its pool thread is inside the handler; it is suspended; its answer is made. */
enum http_state { HTTP_HANDLING, HTTP_KEPT, HTTP_READY };

struct http_pair {
    struct str name, value;
};

struct http_request {
    unsigned magic;
    struct http_server *server;
    struct http_conn *conn;            /* until the answer is queued */
    struct MHD_Connection *connection; /* likewise */
    struct MHD_Response *response;
    _Atomic unsigned refs; /* libmicrohttpd's, and the handler's */
    _Atomic bool claimed;  /* somebody answers it */
    _Atomic int state;     /* enum http_state */
    bool head_done;
    bool queued;      /* an answer, counted in `answering` */
    bool must_close;  /* what follows on the connection cannot be trusted */
    unsigned refusal; /* status to answer once the rest of the body was read; 0: none */
    unsigned status;
    size_t answer_bytes;
    const char *version;                        /* a literal */
    struct http_request *kept_prev, *kept_next; /* under server->lock */
    struct arena arena;
    struct str method, target, path, query;
    struct http_pair *headers, *parameters;
    size_t header_count, parameter_count;
    struct buf body;
    size_t body_max;
    size_t body_held; /* counted in server->body_bytes */
    size_t drained;
    int64_t started_us;
    int64_t received_at;
    const char *route;
    void *context;
    char peer[HTTP_PEER_BYTES];
};

#define HTTP_REQUEST_MAGIC 0x71e5c0deu

/* --- http_request.c: a request's memory and what stands in its head. Pure but for clocks and counters. */
struct http_request *http_request_new(struct http_server *s, struct http_conn *c, const char *target);
void http_request_unref(struct http_request *r);
void http_server_unref(struct http_server *s);
/* Copies a header; false when memory is out. `room` is how many there will be. */
bool http_request_add_header(struct http_request *r, size_t room, struct str name, struct str value);
/* After the check of the head; false when memory is out. */
bool http_request_join_headers(struct http_request *r);
/* Looks for what must not reach a handler. NULL when all is well, else the words; *status says which answer. */
const char *http_request_check_head(const struct http_request *r, unsigned *status);
/* The declared length of the body; *known is false when it is chunked. 0 when there is none. */
size_t http_request_length(const struct http_request *r, bool *known);
/* Splits and decodes the query; false when memory is out. */
bool http_request_parse_query(struct http_request *r);
/* Takes a piece of the body. false: too much was sent, drop the connection. May set r->refusal. */
bool http_request_add_body(struct http_request *r, const char *p, size_t n);
/* Room for `n` more bytes and the padding, within the bounds; else sets r->refusal and lets the body go. */
bool http_request_body_room(struct http_request *r, size_t n);
double http_request_seconds(const struct http_request *r);

/* --- http_answer.c: answers. */
/* Makes an answer in our error shape and counts it; the caller has claimed the request. */
void http_refuse(struct http_request *r, unsigned status, const char *message, bool common_fields);
/* The answer is made: leaves it to the pool thread that is inside the handler, or queues it and resumes. */
void http_hand_over(struct http_request *r);
/* After the handler returned and the connection was suspended: false when the answer was made meanwhile. */
bool http_keep(struct http_request *r);
/* Answers 503 to every kept request that nobody is answering. */
void http_answer_kept(struct http_server *s);

/* --- http_mhd.c: the only file that knows libmicrohttpd. */
int http_mhd_start(struct http_server *s, int listen_fd, struct err *e);
void http_mhd_stop(struct http_server *s);
/* Makes r->response; false when memory is out. Takes a->body_buf in any case. */
bool http_mhd_make(struct http_request *r, const struct http_answer *a);
/* Gives the made answer to libmicrohttpd; on the pool thread inside its callback, or from any thread while the
 * connection is suspended. */
bool http_mhd_queue(struct http_request *r);
void http_mhd_resume(struct http_request *r);

/* --- http_deadline.c: connections and their deadlines. */
int http_timer_start(struct http_server *s);
void http_timer_stop(struct http_server *s);
/* Ends every connection that is open, as its client could; true when there were any. */
bool http_conns_hang_up(struct http_server *s);
/* NULL when memory is out. */
struct http_conn *http_conn_open(struct http_server *s, int fd, const char *peer);
/* The socket is still open and about to be closed. */
void http_conn_close(struct http_conn *c);
/* Steps of a request on the connection. */
void http_conn_head_begins(struct http_conn *c);
void http_conn_body_begins(struct http_conn *c);
void http_conn_handled(struct http_conn *c);
void http_conn_answers(struct http_conn *c, size_t bytes);
void http_conn_idle(struct http_conn *c);
bool http_conn_room(struct http_server *s);

#endif
