/* Connections to Redis. hiredis 0.14 has no TLS and its time-outs are per system call, so that the sockets are our own
 * and never block: hiredis writes the commands and reads the replies, OpenSSL stands between where asked for. Only
 * redis_conn_open waits, in poll, until its deadline. A connection is used by the one thread that opened it. */
#include "profiler/redis_conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/redis_url.h"

#define PIECE (16 * KIB) /* taken in at once: hiredis moves what it has not read yet with every reply */
#define WORDS 1024       /* of one command */
#define LOGIN_BYTES (16 * KIB)
#define NAME_BYTES 300
#define RESOLVE_TICK_MS 20

struct lookup; /* of a host name */

struct redis_target {
    struct redis_url url;
    const char *password_file; /* NULL: none */
    SSL_CTX *tls;              /* NULL: none */
    struct lookup *lookup;     /* under way: it may take longer than anybody waits for it */
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

/* Until when to wait, and what ends it before. */
struct patience {
    int64_t deadline;
    int stop_fd;
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

/* The file's first line. Read for each connection, so that a password can be replaced. */
static int read_password(const char *file, char *out, size_t size, struct err *e)
{
    FILE *f = fopen(file, "re");
    int result = 0;

    if (!f) {
        result = -errno;
        err_set(e, "redis.password_file %s: %s", file, strerror(errno));
        return result;
    }
    if (!fgets(out, (int)size, f)) {
        err_set(e, "redis.password_file %s: it is empty", file);
        result = -EINVAL;
    } else {
        out[strcspn(out, "\r\n")] = '\0';
        if (strlen(out) + 2 > size) {
            err_set(e, "redis.password_file %s: the first line is too long", file);
            result = -EINVAL;
        }
    }
    fclose(f);
    return result;
}

static int check_login(const struct redis_target *t, struct err *e)
{
    char password[sizeof t->url.password];
    int result = t->password_file ? read_password(t->password_file, password, sizeof password, e) : 0;

    OPENSSL_cleanse(password, sizeof password);
    if (result == 0 && t->url.user[0] && !t->url.has_password && !t->password_file) {
        err_set(e, "redis.url: a user without a password");
        result = -EINVAL;
    }
    return result;
}

int redis_target_new(const struct conf_redis *conf, struct redis_target **out, struct err *e)
{
    struct redis_target *t = calloc(1, sizeof *t);
    int result;

    if (!t)
        return -ENOMEM;
    t->password_file = conf->password_file;
    result = redis_url_parse(conf->url, &t->url, e);
    if (result == 0)
        result = check_login(t, e);
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

/* --- waiting */

/* Returns 0 when the socket is ready, -ETIMEDOUT or -ECANCELED. */
static int wait_for(int fd, short events, const struct patience *p)
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

static int lost(struct err *e, const char *what, int error)
{
    err_set(e, "%s: %s", what, error == ETIMEDOUT ? "no answer in time" : strerror(error));
    return -error;
}

/* --- addresses. getaddrinfo knows no deadline; a look-up that is late is left to end by itself, and until it has, no
 * other is begun. */

struct lookup {
    struct gaicb request;
    struct addrinfo hints;
    char host[256], port[6];
};

static bool lookup_ended(struct lookup *l)
{
    return gai_error(&l->request) != EAI_INPROGRESS;
}

static void lookup_free(struct lookup *l)
{
    if (l && l->request.ar_result)
        freeaddrinfo(l->request.ar_result);
    free(l);
}

void redis_target_free(struct redis_target *t)
{
    if (!t)
        return;
    /* One that cannot be ended keeps its memory: its thread still writes there. */
    if (t->lookup && (lookup_ended(t->lookup) || gai_cancel(&t->lookup->request) == EAI_CANCELED))
        lookup_free(t->lookup);
    if (t->tls)
        SSL_CTX_free(t->tls);
    OPENSSL_cleanse(&t->url, sizeof t->url);
    free(t);
}

static int lookup_begin(struct redis_target *t, struct err *e)
{
    struct lookup *l = calloc(1, sizeof *l);
    struct gaicb *list[1];

    if (!l)
        return -ENOMEM;
    memcpy(l->host, t->url.host, sizeof l->host);
    memcpy(l->port, t->url.port, sizeof l->port);
    l->hints.ai_socktype = SOCK_STREAM;
    l->request = (struct gaicb){.ar_name = l->host, .ar_service = l->port, .ar_request = &l->hints};
    list[0] = &l->request;
    int error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    if (error != 0) {
        free(l);
        err_set(e, "looking up %s: %s", t->url.host, gai_strerror(error));
        return -EAGAIN;
    }
    t->lookup = l;
    return 0;
}

/* Waits for the addresses; *out is the caller's then. */
static int lookup_wait(struct redis_target *t, const struct patience *p, struct lookup **out, struct err *e)
{
    const struct gaicb *list[1] = {&t->lookup->request};
    const struct timespec tick = {.tv_nsec = RESOLVE_TICK_MS * 1000000};

    while (!lookup_ended(t->lookup)) {
        struct pollfd stop = {.fd = p->stop_fd, .events = POLLIN};
        if (poll(&stop, 1, 0) > 0)
            return -ECANCELED;
        if (clock_monotonic() >= p->deadline) {
            err_set(e, "looking up %s: no answer in time", t->url.host);
            return -ETIMEDOUT;
        }
        gai_suspend(list, 1, &tick);
    }
    int error = gai_error(&t->lookup->request);
    struct lookup *l = t->lookup;
    t->lookup = NULL;
    if (error != 0) {
        lookup_free(l);
        err_set(e, "looking up %s: %s", t->url.host, gai_strerror(error));
        return -EHOSTUNREACH;
    }
    *out = l;
    return 0;
}

/* --- the socket */

static int finish_connect(int fd, const struct patience *p)
{
    int error = 0, result = wait_for(fd, POLLOUT, p);
    socklen_t n = sizeof error;

    if (result < 0)
        return result;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) != 0)
        return -errno;
    return -error;
}

/* Returns the socket or a negative errno. */
static int connect_to(const struct sockaddr *address, socklen_t n, const struct patience *p)
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

static int connect_local(const struct redis_target *t, const struct patience *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, t->url.path, sizeof address.sun_path);
    return connect_to((const struct sockaddr *)&address, sizeof address, p);
}

/* The first address that answers. */
static int connect_remote(struct redis_target *t, const struct patience *p, struct err *e)
{
    struct lookup *l = NULL;
    int result = t->lookup ? 0 : lookup_begin(t, e);
    int fd = -EHOSTUNREACH;

    if (result == 0)
        result = lookup_wait(t, p, &l, e);
    if (result < 0)
        return result;
    for (struct addrinfo *a = l->request.ar_result; a && fd < 0; a = a->ai_next) {
        struct patience share = *p;
        if (a->ai_next) /* half of what is left, so that the others have their turn */
            share.deadline -= (p->deadline - clock_monotonic()) / 2;
        fd = connect_to(a->ai_addr, a->ai_addrlen, &share);
        if (fd == -ECANCELED)
            break;
    }
    lookup_free(l);
    return fd < 0 ? lost(e, "connecting", -fd) : fd;
}

static int open_socket(struct redis_target *t, const struct patience *p, struct err *e)
{
    int fd;

    if (!t->url.local)
        return connect_remote(t, p, e);
    fd = connect_local(t, p);
    return fd < 0 ? lost(e, "connecting", -fd) : fd;
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

static int begin_tls(struct redis_conn *c, const struct redis_target *t, const struct patience *p, struct err *e)
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
        int result = wait_for(c->fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, p);
        if (result < 0)
            return lost(e, "TLS", -result);
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
        return lost(e, "the connection", errno);
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
            return lost(e, "sending", errno);
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
        return lost(e, "receiving", errno);
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

/* --- the first words */

enum hello_step { HELLO_AUTH, HELLO_SELECT, HELLO_SERVER, HELLO_ROLE, HELLO_TIME, HELLO_STEPS };

static bool add_auth(const struct redis_target *t, const char *password, struct buf *out)
{
    struct str words[3] = {STR_LIT("AUTH")};
    size_t n = 1;

    if (t->url.user[0])
        words[n++] = str_of(t->url.user);
    words[n++] = str_of(password);
    return redis_command(out, words, n);
}

/* Writes the commands; `steps` are those that a reply will come to, in order. */
static int write_hello(const struct redis_target *t, struct buf *out, enum hello_step *steps, size_t *n, struct err *e)
{
    char password[sizeof t->url.password], db[12];
    struct str select[] = {STR_LIT("SELECT"), {db, (size_t)snprintf(db, sizeof db, "%u", t->url.db)}};
    const struct str server[] = {STR_LIT("INFO"), STR_LIT("server")};
    const struct str role[] = {STR_LIT("INFO"), STR_LIT("replication")}, ask_time[] = {STR_LIT("TIME")};
    bool fits = true;
    int result = 0;

    memcpy(password, t->url.password, sizeof password);
    if (t->password_file)
        result = read_password(t->password_file, password, sizeof password, e);
    if (result == 0) {
        if (t->password_file || t->url.has_password) {
            fits = add_auth(t, password, out);
            steps[(*n)++] = HELLO_AUTH;
        }
        if (t->url.db != 0) {
            fits = fits && redis_command(out, select, 2);
            steps[(*n)++] = HELLO_SELECT;
        }
        fits = fits && redis_command(out, server, 2) && redis_command(out, role, 2) && redis_command(out, ask_time, 1);
        steps[(*n)++] = HELLO_SERVER;
        steps[(*n)++] = HELLO_ROLE;
        steps[(*n)++] = HELLO_TIME;
    }
    OPENSSL_cleanse(password, sizeof password);
    return fits ? result : -ENOMEM;
}

/* The value of a line "name:value" of INFO. */
static struct str info_value(struct str info, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = info.p, *end = str_end(info); p < end;) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        struct str line = {p, (size_t)((line_end ? line_end : end) - p)};
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n > n && line.p[n] == ':' && memcmp(line.p, name, n) == 0)
            return (struct str){line.p + n + 1, line.n - n - 1};
        p = line_end ? line_end + 1 : end;
    }
    return STR_NONE;
}

static bool copy_text(struct str in, char *out, size_t size)
{
    if (in.n == 0 || in.n >= size)
        return false;
    memcpy(out, in.p, in.n);
    out[in.n] = '\0';
    return true;
}

/* PXAT came with 6.2. */
static bool version_serves(const char *version)
{
    unsigned major = 0, minor = 0;

    return sscanf(version, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 2));
}

static int take_server(const struct redis_reply *r, struct redis_hello *hello, struct err *e)
{
    struct str run = info_value(r->text, "run_id");

    if (!copy_text(info_value(r->text, "redis_version"), hello->version, sizeof hello->version) ||
        !copy_text(run, hello->run_id, sizeof hello->run_id) ||
        strspn(hello->run_id, "0123456789abcdef") != sizeof hello->run_id - 1) {
        err_set(e, "INFO server tells no version and run_id as Redis does");
        return -EPROTO;
    }
    if (!version_serves(hello->version)) {
        err_set(e, "Redis %s is too old: 6.2 or later is needed", hello->version);
        return -EPROTO;
    }
    return 0;
}

static int take_role(const struct redis_reply *r, struct err *e)
{
    struct str role = info_value(r->text, "role");

    if (str_is(role, "master"))
        return 0;
    err_set(e, "this Redis is a replica (role %.*s): the url must name the master", STR_ARG(role));
    return -EROFS;
}

static int take_time(const struct redis_reply *r, struct redis_hello *hello, struct err *e)
{
    uint64_t seconds, micros;

    hello->time_at = clock_boot();
    if (r->kind != REDIS_ARRAY || r->n != 2 || num_u64(redis_reply_at(r, 0).text, &seconds) != 0 ||
        num_u64(redis_reply_at(r, 1).text, &micros) != 0 || seconds > (uint64_t)LIMIT_TIME_LAST / 1000) {
        err_set(e, "TIME tells no time");
        return -EPROTO;
    }
    hello->time = (int64_t)(seconds * 1000 + micros / 1000);
    return 0;
}

static int take_hello(enum hello_step step, const struct redis_reply *r, struct redis_hello *hello, struct err *e)
{
    static const char *const names[HELLO_STEPS] = {"AUTH", "SELECT", "INFO server", "INFO replication", "TIME"};

    if (r->kind == REDIS_ERROR) {
        err_set(e, "%s: %.*s", names[step], STR_ARG(r->text));
        return -EACCES;
    }
    switch (step) {
    case HELLO_SERVER:
        return take_server(r, hello, e);
    case HELLO_ROLE:
        return take_role(r, e);
    case HELLO_TIME:
        return take_time(r, hello, e);
    default:
        return 0;
    }
}

/* Sends the rest and takes what has come. */
static int pump(struct redis_conn *c, struct str *unsent, const struct patience *p, struct err *e)
{
    long n = redis_conn_send(c, *unsent, e);

    if (n < 0)
        return (int)n;
    *unsent = (struct str){unsent->p + n, unsent->n - (size_t)n};
    n = redis_conn_receive(c, e);
    if (n != 0)
        return n < 0 ? (int)n : 0;
    int result = wait_for(c->fd, redis_conn_events(c, unsent->n > 0), p);
    return result < 0 ? lost(e, "the first words", -result) : 0;
}

static int say_hello(struct redis_conn *c, const struct redis_target *t, const struct patience *p,
                     struct redis_hello *hello, struct err *e)
{
    enum hello_step steps[HELLO_STEPS];
    size_t n = 0, done = 0;
    struct buf out;

    buf_init(&out, LOGIN_BYTES);
    int result = write_hello(t, &out, steps, &n, e);
    struct str unsent = buf_str(&out);
    while (result == 0 && done < n) {
        struct redis_reply reply;
        int got = redis_conn_reply(c, &reply, e);
        if (got == 1)
            result = take_hello(steps[done++], &reply, hello, e);
        else
            result = got < 0 ? got : pump(c, &unsent, p, e);
        /* A flood of bytes that never make a reply is no reason to go on for longer. */
        if (result == 0 && clock_monotonic() >= p->deadline && done < n)
            result = lost(e, "the first words", ETIMEDOUT);
    }
    if (out.p)
        OPENSSL_cleanse(out.p, out.n);
    buf_deinit(&out);
    return result;
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
    const struct patience p = {.deadline = deadline, .stop_fd = stop_fd};
    struct redis_hello heard = {.time = 0};
    int fd = open_socket(t, &p, e), result = 0;

    if (fd < 0)
        return fd;
    struct redis_conn *c = calloc(1, sizeof *c);
    if (!c) {
        close(fd);
        return lost(e, "connecting", ENOMEM);
    }
    c->fd = fd;
    c->reader = redisReaderCreate();
    if (!c->reader)
        result = lost(e, "connecting", ENOMEM);
    if (result == 0 && t->tls)
        result = begin_tls(c, t, &p, e);
    if (result == 0)
        result = say_hello(c, t, &p, &heard, e);
    if (result < 0) {
        redis_conn_close(c);
        return result;
    }
    *out = c;
    *hello = heard;
    return 0;
}
