/* HTTP serving; http_mhd.c behind this header is the only file that knows libmicrohttpd. A handler gets each request
 * once, whole, on a pool thread; it answers at once or keeps the request and answers later from any thread (the
 * connection is suspended meanwhile). Handlers must not block. Requests that smuggle (two Content-Lengths, a
 * Content-Length beside chunked, odd Transfer-Encodings), that are too large or too slow are answered or dropped here
 * and never reach a handler. */
#ifndef WAYMARK_HTTP_H
#define WAYMARK_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

struct http_server;
struct http_request;
struct tls; /* common/tls.h */

struct http_field {
    const char *name;
    const char *value;
};

/* A part of a file as a body; whatever becomes of the answer, the file is closed. */
struct http_file {
    int fd;
    uint64_t from, n;
};

struct http_answer {
    unsigned status;
    const char *content_type; /* NULL: application/json */
    const struct http_field *fields;
    size_t field_count;
    struct str body;              /* copied unless body_buf is given */
    struct buf *body_buf;         /* taken: emptied by the call; then `body` is ignored */
    const struct http_file *file; /* taken; then both are ignored. NULL: none */
};

struct http_options {
    const char *listen; /* "127.0.0.1:8080", "[::1]:8080", "0.0.0.0:0"; port 0: a free one */
    unsigned threads;
    int64_t head_ms, body_ms, idle_ms; /* 0: the bounds of limits.h. A handshake of TLS counts to the head */
    struct tls *tls;                   /* must outlive the server; NULL: plain HTTP */
    /* Called on a pool thread when the head has been read: the greatest body that this request may have, in bytes. */
    size_t (*body_limit)(struct http_request *r, void *arg);
    /* Called on a pool thread with the whole request. Exactly one http_answer_send must follow. */
    void (*handle)(struct http_request *r, void *arg);
    /* Called once per answer sent by us, also for the refusals made here. `route_label` is what http_set_route gave,
     * else "other". May be NULL. */
    void (*done)(const char *route_label, unsigned status, double seconds, void *arg);
    /* Fields for answers that are made here (CORS on a 413, say). Returns how many it wrote, at most `max`; values
     * must live as long as the request (its arena). May be NULL. */
    size_t (*common_fields)(struct http_request *r, struct http_field *out, size_t max, void *arg);
    void *arg;
};

/* Listens and serves. 0, or a negative errno with `e` filled (address in use, no such address, …). */
int http_server_start(const struct http_options *o, struct http_server **out, struct err *e);
/* The port that was bound. */
uint16_t http_server_port(const struct http_server *s);
/* Takes no new connections or requests from now on; those being handled may still be answered. */
void http_server_quiesce(struct http_server *s);
/* Waits up to `ms` for kept requests to be answered, answers the rest 503 itself, and frees. After it has begun, a late
 * http_answer_send on a request that was answered here is harmless and does nothing. NULL is allowed. */
void http_server_stop(struct http_server *s, int64_t ms);

struct str http_method(const struct http_request *r);
/* As sent, still percent-encoded, without the query. */
struct str http_path(const struct http_request *r);
/* Whatever the case of the name; several of one name are joined by ", " in their order. Absent when there is none. */
struct str http_header(const struct http_request *r, const char *name);
/* A query parameter, percent-decoded ('+' is a space); the first of that name; absent when there is none. */
struct str http_query(const struct http_request *r, const char *name);
/* All of them in order, decoded. */
size_t http_query_count(const struct http_request *r);
void http_query_at(const struct http_request *r, size_t i, struct str *name, struct str *value);
/* The body; JSON_PADDING bytes behind it are readable, and it may be written to. */
char *http_body(struct http_request *r, size_t *n);
/* The peer's address as text, without the port. */
struct str http_peer(const struct http_request *r);
/* Memory that lives until the answer was sent. */
struct arena *http_arena(struct http_request *r);
/* Wall clock (ms) when the body was complete. */
int64_t http_received_at(const struct http_request *r);
/* A bounded label for metrics; must be a literal. */
void http_set_route(struct http_request *r, const char *label);
/* Room for the handler's own pointer. */
void http_set_context(struct http_request *r, void *context);
void *http_context(const struct http_request *r);

/* Sends the answer and lets go of the request. From any thread, exactly once. A HEAD request gets the head only. */
void http_answer_send(struct http_request *r, const struct http_answer *a);

/* Splits a raw path at '/' and decodes each segment ('%2F' and '%00' stay inside theirs). "/v1/x" has two, "/" none,
 * "/x/" an empty one at its end. Returns the number of segments, or -1 for a path that does not begin with '/', a bad
 * escape, more than `max`, or memory out. */
int http_path_segments(struct str raw, struct arena *a, struct str *out, size_t max);

/* Appends `s` percent-encoded so that it is one segment. */
void http_encode_segment(struct buf *b, struct str s);

#endif
