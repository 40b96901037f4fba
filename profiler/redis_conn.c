/* Connections to Redis. hiredis 0.14 has no TLS and its time-outs are per system call, so that the sockets are our own
 * and never block: hiredis writes the commands and reads the replies, OpenSSL stands between where asked for. Only
 * redis_conn_open waits, in poll, until its deadline. A connection is used by the one thread that opened it. */
#include "profiler/redis_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/redis_hello.h"
#include "profiler/redis_socket.h"

#define PIECE (16 * KIB) /* taken in at once: hiredis moves what it has not read yet with every reply */
#define WORDS 1024       /* of one command */
#define NAME_BYTES 300

struct redis_target {
    struct redis_url url;
    const char *password_file; /* NULL: none */
    SSL_CTX *tls;              /* NULL: none */
    struct redis_lookup *lookup;
    char name[NAME_BYTES];
};

struct redis_conn {
    int fd;
    SSL *tls;
    bool send_waits_for_read, read_waits_for_send; /* what TLS wants first */
    redisReader *reader;
    redisReply *reply; /* the one handed out */
    size_t unread;     /* bytes taken in since a reply was whole */
};

/* --- the target */

static void tls_words(struct err *e, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    err_set(e, "%s: %s", what, reason ? reason : "no reason given");
    ERR_clear_error();
}

/* A key with a password would ask for it at the terminal. */
static int no_password(char *out, int size, int writing, void *arg)
{
    (void)out, (void)size, (void)writing, (void)arg;
    return 0;
}

static int load_certificate(SSL_CTX *tls, const struct conf_redis *conf, struct err *e)
{
    const char *key = conf->key_file ? conf->key_file : conf->cert_file;

    SSL_CTX_set_default_passwd_cb(tls, no_password);
    if (SSL_CTX_use_certificate_chain_file(tls, conf->cert_file) != 1) {
        tls_words(e, "redis.cert_file");
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(tls) != 1) {
        tls_words(e, "redis.key_file");
        return -EINVAL;
    }
    return 0;
}

/* The other side must have a certificate of the given or of the system's authorities, for the name in the url. */
static int make_tls(struct redis_target *t, const struct conf_redis *conf, struct err *e)
{
    t->tls = SSL_CTX_new(TLS_client_method());
    if (!t->tls) {
        tls_words(e, "TLS");
        return -ENOMEM;
    }
    SSL_CTX_set_min_proto_version(t->tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(t->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(t->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    int loaded = conf->ca_file ? SSL_CTX_load_verify_locations(t->tls, conf->ca_file, NULL)
                               : SSL_CTX_set_default_verify_paths(t->tls);
    if (loaded != 1) {
        tls_words(e, conf->ca_file ? "redis.ca_file" : "the system's authorities");
        return -EINVAL;
    }
    return conf->cert_file ? load_certificate(t->tls, conf, e) : 0;
}

static void write_name(struct redis_target *t)
{
    const struct redis_url *u = &t->url;

    if (u->local)
        snprintf(t->name, sizeof t->name, "%s", u->path);
    else
        snprintf(t->name, sizeof t->name, strchr(u->host, ':') ? "[%s]:%s" : "%s:%s", u->host, u->port);
}

void redis_target_free(struct redis_target *t)
{
    if (!t)
        return;
    redis_lookup_free(t->lookup);
    if (t->tls)
        SSL_CTX_free(t->tls);
    OPENSSL_cleanse(&t->url, sizeof t->url);
    free(t);
}

int redis_target_new(const struct conf_redis *conf, struct redis_target **out, struct err *e)
{
    struct redis_target *t = calloc(1, sizeof *t);
    int result;

    if (!t)
        return -ENOMEM;
    t->password_file = conf->password_file;
    const struct redis_login login = {&t->url, t->password_file};
    result = redis_url_parse(conf->url, &t->url, e);
    if (result == 0)
        result = redis_login_check(&login, e);
    if (result == 0 && t->url.tls)
        result = make_tls(t, conf, e);
    if (result < 0) {
        redis_target_free(t);
        return result;
    }
    write_name(t);
    *out = t;
    return 0;
}

const char *redis_target_name(const struct redis_target *t)
{
    return t->name;
}

/* --- TLS */

/* By address or by name: a certificate of another host is refused. */
static bool expect_name(SSL *tls, const char *host)
{
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET, host, &four) == 1 || inet_pton(AF_INET6, host, &six) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host) == 1;
    SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(tls, host) == 1 && SSL_set1_host(tls, host) == 1;
}

static int refuse_tls(struct redis_conn *c, struct err *e)
{
    long verdict = SSL_get_verify_result(c->tls);

    if (verdict != X509_V_OK) {
        err_set(e, "TLS: %s", X509_verify_cert_error_string(verdict));
        ERR_clear_error();
    } else {
        tls_words(e, "TLS");
    }
    return -EPROTO;
}

static int begin_tls(struct redis_conn *c, const struct redis_target *t, const struct redis_patience *p, struct err *e)
{
    c->tls = SSL_new(t->tls);
    if (!c->tls || SSL_set_fd(c->tls, c->fd) != 1 || !expect_name(c->tls, t->url.host)) {
        tls_words(e, "TLS");
        return -ENOMEM;
    }
    for (;;) {
        int n = SSL_connect(c->tls);
        int want = n == 1 ? SSL_ERROR_NONE : SSL_get_error(c->tls, n);
        if (n == 1)
            return 0;
        if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
            return refuse_tls(c, e);
        int result = redis_wait(c->fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, p);
        if (result < 0)
            return redis_lost(e, "TLS", -result);
    }
}

/* --- bytes */

static int tls_lost(struct redis_conn *c, int error, struct err *e)
{
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && errno == 0)) {
        err_set(e, "closed by the other side");
        return -ECONNRESET;
    }
    if (error == SSL_ERROR_SYSCALL)
        return redis_lost(e, "the connection", errno);
    return refuse_tls(c, e);
}

static long send_tls(struct redis_conn *c, struct str bytes, struct err *e)
{
    c->send_waits_for_read = false;
    errno = 0;
    int n = SSL_write(c->tls, bytes.p, bytes.n > PIECE ? (int)PIECE : (int)bytes.n);
    if (n > 0)
        return n;
    int error = SSL_get_error(c->tls, n);
    if (error == SSL_ERROR_WANT_WRITE)
        return 0;
    c->send_waits_for_read = error == SSL_ERROR_WANT_READ;
    return c->send_waits_for_read ? 0 : tls_lost(c, error, e);
}

long redis_conn_send(struct redis_conn *c, struct str bytes, struct err *e)
{
    size_t sent = 0;

    while (sent < bytes.n) {
        struct str rest = {bytes.p + sent, bytes.n - sent};
        long n = c->tls ? send_tls(c, rest, e) : send(c->fd, rest.p, rest.n, MSG_NOSIGNAL);
        if (c->tls && n < 0)
            return n;
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0 || (n < 0 && errno == EAGAIN))
            break;
        if (n < 0)
            return redis_lost(e, "sending", errno);
        sent += (size_t)n;
    }
    return (long)sent;
}

static long receive_tls(struct redis_conn *c, char *piece, struct err *e)
{
    c->read_waits_for_send = false;
    errno = 0;
    int n = SSL_read(c->tls, piece, PIECE);
    if (n > 0) {
        c->send_waits_for_read = false;
        return n;
    }
    int error = SSL_get_error(c->tls, n);
    if (error == SSL_ERROR_WANT_READ)
        return 0;
    c->read_waits_for_send = error == SSL_ERROR_WANT_WRITE;
    return c->read_waits_for_send ? 0 : tls_lost(c, error, e);
}

static long receive_plain(struct redis_conn *c, char *piece, struct err *e)
{
    long n;

    do
        n = recv(c->fd, piece, PIECE, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        return n;
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0)
        return redis_lost(e, "receiving", errno);
    err_set(e, "closed by the other side");
    return -ECONNRESET;
}

long redis_conn_receive(struct redis_conn *c, struct err *e)
{
    char piece[PIECE];
    long n = c->tls ? receive_tls(c, piece, e) : receive_plain(c, piece, e);

    if (n <= 0)
        return n;
    c->unread += (size_t)n;
    if (c->unread > LIMIT_CACHE_REPLY_BYTES) {
        err_set(e, "a reply of more than %zu bytes", (size_t)LIMIT_CACHE_REPLY_BYTES);
        return -EMSGSIZE;
    }
    if (redisReaderFeed(c->reader, piece, (size_t)n) != REDIS_OK) {
        err_set(e, "reply: %s", c->reader->errstr);
        return -EPROTO;
    }
    return n;
}

int redis_conn_fd(const struct redis_conn *c)
{
    return c->fd;
}

short redis_conn_events(const struct redis_conn *c, bool unsent)
{
    bool out = (unsent && !c->send_waits_for_read) || c->read_waits_for_send;

    return out ? POLLIN | POLLOUT : POLLIN;
}

/* --- commands and replies */

bool redis_command(struct buf *out, const struct str *words, size_t n)
{
    const char *p[WORDS];
    size_t sizes[WORDS];
    char *text = NULL;

    assert(n > 0 && n <= WORDS);
    for (size_t i = 0; i < n; i++) {
        p[i] = words[i].n ? words[i].p : "";
        sizes[i] = words[i].n;
    }
    int size = redisFormatCommandArgv(&text, (int)n, p, sizes);
    bool fits = size > 0 && buf_add(out, text, (size_t)size);
    if (size > 0)
        redisFreeCommand(text);
    else
        out->failed = true;
    return fits;
}

static struct redis_reply show(const redisReply *r)
{
    struct redis_reply out = {.kind = REDIS_NIL};

    if (!r)
        return out;
    switch (r->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
    case REDIS_REPLY_ERROR:
        out.kind = r->type == REDIS_REPLY_STRING   ? REDIS_STRING
                   : r->type == REDIS_REPLY_STATUS ? REDIS_STATUS
                                                   : REDIS_ERROR;
        out.text = (struct str){r->str, r->len};
        break;
    case REDIS_REPLY_INTEGER:
        out.kind = REDIS_INTEGER;
        out.integer = r->integer;
        break;
    case REDIS_REPLY_ARRAY:
        out.kind = REDIS_ARRAY;
        out.n = r->elements;
        out.inside = r;
        break;
    default:
        break;
    }
    return out;
}

struct redis_reply redis_reply_at(const struct redis_reply *r, size_t i)
{
    assert(r->kind == REDIS_ARRAY && i < r->n);
    return show(((const redisReply *)r->inside)->element[i]);
}

int redis_conn_reply(struct redis_conn *c, struct redis_reply *out, struct err *e)
{
    void *reply = NULL;

    if (c->reply)
        freeReplyObject(c->reply);
    c->reply = NULL;
    if (redisReaderGetReply(c->reader, &reply) != REDIS_OK) {
        err_set(e, "reply: %s", c->reader->errstr);
        return -EPROTO;
    }
    if (!reply)
        return 0;
    c->reply = reply;
    c->unread = c->reader->len - c->reader->pos;
    *out = show(reply);
    return 1;
}

/* --- life */

void redis_conn_close(struct redis_conn *c)
{
    if (!c)
        return;
    if (c->tls)
        SSL_free(c->tls); /* says no goodbye: whoever closes here does not wait for the other side */
    if (c->reply)
        freeReplyObject(c->reply);
    if (c->reader)
        redisReaderFree(c->reader);
    close(c->fd);
    free(c);
}

int redis_conn_open(struct redis_target *t, int64_t deadline, int stop_fd, struct redis_conn **out,
                    struct redis_hello *hello, struct err *e)
{
    const struct redis_patience p = {.deadline = deadline, .stop_fd = stop_fd};
    const struct redis_login login = {&t->url, t->password_file};
    struct redis_hello heard = {.time = 0};
    int fd = redis_socket_open(&t->url, &t->lookup, &p, e), result = 0;

    if (fd < 0)
        return fd;
    struct redis_conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return redis_lost(e, "connecting", ENOMEM);
    }
    c->fd = fd;
    c->reader = redisReaderCreate();
    if (!c->reader)
        result = redis_lost(e, "connecting", ENOMEM);
    if (result == 0 && t->tls)
        result = begin_tls(c, t, &p, e);
    if (result == 0)
        result = redis_say_hello(c, &login, &p, &heard, e);
    if (result < 0) {
        redis_conn_close(c);
        return result;
    }
    *out = c;
    *hello = heard;
    return 0;
}
