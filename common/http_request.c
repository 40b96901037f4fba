/* A request: its memory, its head, its body, and what handlers ask of it. Runs on pool threads until the handler has
 * it, then wherever the handler is. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/http_internal.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"

#define FIRST_BODY_ROOM (64 * KIB) /* however much is announced: it must be sent first */

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

double http_request_seconds(const struct http_request *r)
{
    return (double)(now_us() - r->started_us) / 1e6;
}

/* Proxies may send the target with scheme and authority in front. */
static struct str without_authority(struct str target)
{
    const char *slash;
    size_t scheme = str_starts(target, STR_LIT("http://")) ? 7 : str_starts(target, STR_LIT("https://")) ? 8 : 0;

    if (scheme == 0)
        return target;
    slash = memchr(target.p + scheme, '/', target.n - scheme);
    return slash ? (struct str){slash, (size_t)(target.p + target.n - slash)} : STR_LIT("/");
}

static void split_target(struct http_request *r)
{
    struct str target = without_authority(r->target);
    const char *mark = memchr(target.p, '?', target.n);

    r->path = (struct str){target.p, mark ? (size_t)(mark - target.p) : target.n};
    if (mark)
        r->query = (struct str){mark + 1, target.n - r->path.n - 1};
}

struct http_request *http_request_new(struct http_server *s, struct http_conn *c, const char *target)
{
    struct http_request *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->magic = HTTP_REQUEST_MAGIC;
    r->server = s;
    r->conn = c;
    r->refs = 1;
    r->started_us = now_us();
    memcpy(r->peer, c->peer, sizeof r->peer);
    arena_init(&r->arena, LIMIT_REQUEST_ARENA);
    atomic_fetch_add(&s->refs, 1);
    r->target = arena_dup(&r->arena, str_of(target));
    if (!str_has(r->target)) {
        http_request_unref(r);
        return NULL;
    }
    split_target(r);
    return r;
}

void http_server_unref(struct http_server *s)
{
    size_t before = atomic_fetch_sub(&s->refs, 1);

    assert(before > 0);
    if (before > 1)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->conns_lock);
    pthread_cond_destroy(&s->timer_wake);
    free(s);
}

static void drop_body(struct http_request *r)
{
    atomic_fetch_sub(&r->server->body_bytes, r->body_held);
    r->body_held = 0;
    buf_deinit(&r->body);
}

void http_request_unref(struct http_request *r)
{
    struct http_server *s = r->server;
    unsigned before;

    assert(r->magic == HTTP_REQUEST_MAGIC);
    before = atomic_fetch_sub(&r->refs, 1);
    assert(before > 0);
    if (before > 1)
        return; /* somebody else frees it, perhaps now */
    assert(!r->response);
    drop_body(r);
    arena_deinit(&r->arena);
    r->magic = 0;
    free(r);
    http_server_unref(s);
}

/* --- head */

bool http_request_add_header(struct http_request *r, size_t room, struct str name, struct str value)
{
    struct http_pair *h;

    if (!r->headers)
        r->headers = arena_alloc(&r->arena, room * sizeof *r->headers);
    if (!r->headers)
        return false;
    assert(r->header_count < room);
    h = &r->headers[r->header_count++];
    h->name = arena_dup(&r->arena, name);
    h->value = arena_dup(&r->arena, value);
    return str_has(h->name) && str_has(h->value);
}

static bool same_name(struct str a, const char *name)
{
    return a.n == strlen(name) && strncasecmp(a.p, name, a.n) == 0;
}

static bool same_pair_name(const struct http_pair *a, const struct http_pair *b)
{
    return b->name.n == a->name.n && strncasecmp(a->name.p, b->name.p, a->name.n) == 0;
}

static void join_into(struct http_request *r, size_t i, char *to)
{
    struct str value = r->headers[i].value;

    memcpy(to, value.p, value.n);
    to += value.n;
    for (size_t j = i + 1; j < r->header_count; j++) {
        if (!same_pair_name(&r->headers[i], &r->headers[j]))
            continue;
        value = r->headers[j].value;
        memcpy(to, ", ", 2);
        memcpy(to + 2, value.p, value.n);
        to += 2 + value.n;
        r->headers[j].name.n = 0; /* found no more */
    }
}

/* Puts the values of headers of the same name into the first of them, as if they had come in one line: what a proxy
 * adds in a line of its own must not be overlooked behind what the client wrote. */
bool http_request_join_headers(struct http_request *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        struct http_pair *first = &r->headers[i];
        size_t n = first->value.n;
        for (size_t j = i + 1; j < r->header_count; j++)
            n += same_pair_name(first, &r->headers[j]) ? 2 + r->headers[j].value.n : 0;
        if (n == first->value.n)
            continue;
        char *to = arena_alloc(&r->arena, n);
        if (!to)
            return false;
        join_into(r, i, to);
        first->value = (struct str){to, n};
    }
    return true;
}

static size_t count_headers(const struct http_request *r, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < r->header_count; i++)
        n += same_name(r->headers[i].name, name);
    return n;
}

static size_t count_parameters(struct str query)
{
    size_t n = query.n > 0;

    for (size_t i = 0; i < query.n; i++)
        n += query.p[i] == '&';
    return n;
}

/* libmicrohttpd takes the first and the last of these without a word; whoever stands before us may see another end of
 * the request than we do. */
const char *http_request_check_head(const struct http_request *r, unsigned *status)
{
    size_t lengths = count_headers(r, "Content-Length"), codings = count_headers(r, "Transfer-Encoding");

    *status = 400;
    if (lengths > 1)
        return "more than one Content-Length";
    if (lengths > 0 && codings > 0)
        return "Content-Length beside Transfer-Encoding";
    if (codings > 1 || (codings == 1 && !same_name(http_header(r, "Transfer-Encoding"), "chunked")))
        return "Transfer-Encoding is not chunked";
    if (codings > 0 && strcmp(r->version, "HTTP/1.1") != 0)
        return "Transfer-Encoding before HTTP/1.1";
    if (count_headers(r, "Host") > 1)
        return "more than one Host";
    if (r->path.n == 0 || (r->path.p[0] != '/' && !str_is(r->path, "*")))
        return "the target is no path";
    if (count_parameters(r->query) > LIMIT_QUERY_PARAMETERS)
        return "too many query parameters";
    return NULL;
}

size_t http_request_length(const struct http_request *r, bool *known)
{
    uint64_t n = 0;
    struct str text = http_header(r, "Content-Length");

    *known = !str_has(http_header(r, "Transfer-Encoding"));
    if (str_has(text) && num_u64(text, &n) != NUM_OK)
        n = UINT64_MAX;
    return n;
}

/* --- query */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* '+' is a space; a '%' without two digits stands for itself. */
static bool decode(struct http_request *r, struct str raw, struct str *out)
{
    char *to = arena_alloc(&r->arena, raw.n + 1);

    if (!to)
        return false;
    out->p = to;
    for (size_t i = 0; i < raw.n; i++) {
        int high = i + 2 < raw.n ? hex(raw.p[i + 1]) : -1, low = i + 2 < raw.n ? hex(raw.p[i + 2]) : -1;
        if (raw.p[i] == '%' && high >= 0 && low >= 0) {
            *to++ = (char)(high * 16 + low);
            i += 2;
        } else {
            *to++ = raw.p[i] == '+' ? ' ' : raw.p[i];
        }
    }
    out->n = (size_t)(to - out->p);
    return true;
}

static bool add_parameter(struct http_request *r, struct str piece)
{
    struct http_pair *p = &r->parameters[r->parameter_count];
    const char *equals = piece.n ? memchr(piece.p, '=', piece.n) : NULL;
    struct str name = {piece.p, equals ? (size_t)(equals - piece.p) : piece.n};
    struct str value = {piece.p + name.n + (equals != NULL), piece.n - name.n - (equals != NULL)};

    if (piece.n == 0)
        return true;
    r->parameter_count++;
    return decode(r, name, &p->name) && decode(r, value, &p->value);
}

bool http_request_parse_query(struct http_request *r)
{
    size_t room = count_parameters(r->query), start = 0;

    assert(room <= LIMIT_QUERY_PARAMETERS);
    if (room == 0)
        return true;
    r->parameters = arena_alloc(&r->arena, room * sizeof *r->parameters);
    if (!r->parameters)
        return false;
    for (size_t i = 0; i <= r->query.n; i++) {
        if (i < r->query.n && r->query.p[i] != '&')
            continue;
        if (!add_parameter(r, (struct str){r->query.p + start, i - start}))
            return false;
        start = i + 1;
    }
    return true;
}

/* --- body */

static void refuse_body(struct http_request *r, unsigned status)
{
    r->refusal = status;
    drop_body(r);
}

bool http_request_body_room(struct http_request *r, size_t n)
{
    size_t held, want = n < FIRST_BODY_ROOM ? n : FIRST_BODY_ROOM;

    if (r->body.max == 0)
        buf_init(&r->body, r->body_max + JSON_PADDING);
    else
        want = n;
    if (!buf_room(&r->body, want + JSON_PADDING)) {
        refuse_body(r, 503);
        return false;
    }
    held = atomic_fetch_add(&r->server->body_bytes, r->body.cap - r->body_held) + r->body.cap - r->body_held;
    r->body_held = r->body.cap;
    if (held > LIMIT_BODIES_BYTES) {
        refuse_body(r, 503);
        return false;
    }
    return true;
}

bool http_request_add_body(struct http_request *r, const char *p, size_t n)
{
    if (r->refusal == 0 && n > r->body_max - r->body.n)
        refuse_body(r, 413);
    if (r->refusal == 0 && http_request_body_room(r, n))
        buf_add(&r->body, p, n);
    if (r->refusal == 0)
        return true;
    r->drained += n;
    return r->drained <= LIMIT_DRAIN_BYTES;
}

/* --- what handlers ask */

struct str http_method(const struct http_request *r)
{
    return r->method;
}

struct str http_path(const struct http_request *r)
{
    return r->path;
}

struct str http_header(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->header_count; i++) {
        if (same_name(r->headers[i].name, name))
            return r->headers[i].value;
    }
    return STR_NONE;
}

struct str http_query(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->parameter_count; i++) {
        if (str_is(r->parameters[i].name, name))
            return r->parameters[i].value;
    }
    return STR_NONE;
}

size_t http_query_count(const struct http_request *r)
{
    return r->parameter_count;
}

void http_query_at(const struct http_request *r, size_t i, struct str *name, struct str *value)
{
    assert(i < r->parameter_count);
    *name = r->parameters[i].name;
    *value = r->parameters[i].value;
}

char *http_body(struct http_request *r, size_t *n)
{
    *n = r->body.n;
    if (r->body.p)
        return r->body.p;
    return arena_zalloc(&r->arena, JSON_PADDING);
}

struct str http_peer(const struct http_request *r)
{
    return str_of(r->peer);
}

struct arena *http_arena(struct http_request *r)
{
    return &r->arena;
}

int64_t http_received_at(const struct http_request *r)
{
    return r->received_at;
}

void http_set_route(struct http_request *r, const char *label)
{
    r->route = label;
}

void http_set_context(struct http_request *r, void *context)
{
    r->context = context;
}

void *http_context(const struct http_request *r)
{
    return r->context;
}
