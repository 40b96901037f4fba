/* The first words on a connection: AUTH, SELECT, INFO and TIME in one go, and what their replies must be. On the thread
 * that opens the connection. */
#include "profiler/redis_hello.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/num.h"

#define LOGIN_BYTES (16 * KIB)

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

int redis_login_check(const struct redis_login *l, struct err *e)
{
    char password[sizeof l->url->password];
    int result = l->password_file ? read_password(l->password_file, password, sizeof password, e) : 0;

    explicit_bzero(password, sizeof password);
    if (result == 0 && l->url->user[0] && !l->url->has_password && !l->password_file) {
        err_set(e, "redis.url: a user without a password");
        result = -EINVAL;
    }
    return result;
}

enum hello_step { HELLO_AUTH, HELLO_SELECT, HELLO_SERVER, HELLO_ROLE, HELLO_TIME, HELLO_STEPS };

static bool add_auth(const struct redis_login *l, const char *password, struct buf *out)
{
    struct str words[3] = {STR_LIT("AUTH")};
    size_t n = 1;

    if (l->url->user[0])
        words[n++] = str_of(l->url->user);
    words[n++] = str_of(password);
    return redis_command(out, words, n);
}

/* Writes the commands; `steps` are those that a reply will come to, in order. */
static int write_hello(const struct redis_login *l, struct buf *out, enum hello_step *steps, size_t *n, struct err *e)
{
    char password[sizeof l->url->password], db[12];
    struct str select[] = {STR_LIT("SELECT"), {db, (size_t)snprintf(db, sizeof db, "%u", l->url->db)}};
    const struct str server[] = {STR_LIT("INFO"), STR_LIT("server")};
    const struct str role[] = {STR_LIT("INFO"), STR_LIT("replication")}, ask_time[] = {STR_LIT("TIME")};
    bool fits = true;
    int result = 0;

    memcpy(password, l->url->password, sizeof password);
    if (l->password_file)
        result = read_password(l->password_file, password, sizeof password, e);
    if (result == 0) {
        if (l->password_file || l->url->has_password) {
            fits = add_auth(l, password, out);
            steps[(*n)++] = HELLO_AUTH;
        }
        if (l->url->db != 0) {
            fits = fits && redis_command(out, select, 2);
            steps[(*n)++] = HELLO_SELECT;
        }
        fits = fits && redis_command(out, server, 2) && redis_command(out, role, 2) && redis_command(out, ask_time, 1);
        steps[(*n)++] = HELLO_SERVER;
        steps[(*n)++] = HELLO_ROLE;
        steps[(*n)++] = HELLO_TIME;
    }
    explicit_bzero(password, sizeof password);
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
static int pump(struct redis_conn *c, struct str *unsent, const struct redis_patience *p, struct err *e)
{
    long n = redis_conn_send(c, *unsent, e);

    if (n < 0)
        return (int)n;
    *unsent = (struct str){unsent->p + n, unsent->n - (size_t)n};
    n = redis_conn_receive(c, e);
    if (n != 0)
        return n < 0 ? (int)n : 0;
    int result = redis_wait(redis_conn_fd(c), redis_conn_events(c, unsent->n > 0), p);
    return result < 0 ? redis_lost(e, "the first words", -result) : 0;
}

int redis_say_hello(struct redis_conn *c, const struct redis_login *l, const struct redis_patience *p,
                    struct redis_hello *hello, struct err *e)
{
    enum hello_step steps[HELLO_STEPS];
    size_t n = 0, done = 0;
    struct buf out;

    buf_init(&out, LOGIN_BYTES);
    int result = write_hello(l, &out, steps, &n, e);
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
            result = redis_lost(e, "the first words", ETIMEDOUT);
    }
    if (out.p)
        explicit_bzero(out.p, out.n);
    buf_deinit(&out);
    return result;
}
