/* Takes the url of a Redis apart. Pure. */
#include "profiler/redis_url.h"

#include <errno.h>
#include <string.h>

#include "common/num.h"
#include "common/str.h"

#define DEFAULT_PORT "6379"
#define GREATEST_DB INT32_MAX

static int bad(struct err *e, const char *why)
{
    err_set(e, "redis.url: %s", why);
    return -EINVAL;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies with %XX undone, NUL-terminated. False when it does not fit or is no such text. */
static bool decode(struct str in, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];
        if (c == '%') {
            int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(in.p[i + 2]) : -1;
            if (low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0 || n + 1 >= size)
            return false;
        out[n++] = (char)c;
    }
    out[n] = '\0';
    return true;
}

/* What stands before the first `c`, which is taken away with it; false leaves `rest` as it is. */
static bool cut(struct str *rest, char c, struct str *before)
{
    const char *at = rest->n ? memchr(rest->p, c, rest->n) : NULL;

    if (!at)
        return false;
    *before = (struct str){rest->p, (size_t)(at - rest->p)};
    *rest = (struct str){at + 1, rest->n - before->n - 1};
    return true;
}

/* "user:password", either may be missing. */
static int parse_login(struct str login, struct redis_url *out, struct err *e)
{
    struct str user = login, password = login;

    if (cut(&password, ':', &user)) {
        if (!decode(password, out->password, sizeof out->password))
            return bad(e, "the password is too long or has a wrong %XX");
        out->has_password = true;
    }
    if (!decode(user, out->user, sizeof out->user))
        return bad(e, "the user is too long or has a wrong %XX");
    return 0;
}

static int parse_db(struct str text, struct redis_url *out, struct err *e)
{
    uint64_t db;

    if (num_u64(text, &db) != 0 || db > GREATEST_DB)
        return bad(e, "the number of the database is no number");
    out->db = (uint32_t)db;
    return 0;
}

static int parse_port(struct str text, struct redis_url *out, struct err *e)
{
    uint64_t port;

    if (num_u64(text, &port) != 0 || port == 0 || port > UINT16_MAX || text.n >= sizeof out->port)
        return bad(e, "the port is none");
    memcpy(out->port, text.p, text.n);
    out->port[text.n] = '\0';
    return 0;
}

/* host, host:port, [v6] or [v6]:port. */
static int parse_place(struct str place, struct redis_url *out, struct err *e)
{
    struct str host = place, port = place;

    memcpy(out->port, DEFAULT_PORT, sizeof DEFAULT_PORT);
    if (place.n && place.p[0] == '[') {
        port = (struct str){place.p + 1, place.n - 1};
        if (!cut(&port, ']', &host) || (port.n && port.p[0] != ':'))
            return bad(e, "the address in brackets has no end");
        port = port.n ? (struct str){port.p + 1, port.n - 1} : STR_NONE;
    } else if (!cut(&port, ':', &host)) {
        port = STR_NONE;
    }
    if (host.n == 0)
        return bad(e, "it names no host");
    if (host.n >= sizeof out->host || memchr(host.p, '\0', host.n))
        return bad(e, "the host is too long");
    memcpy(out->host, host.p, host.n);
    out->host[host.n] = '\0';
    return str_has(port) ? parse_port(port, out, e) : 0;
}

/* After "unix://": [login@]/path[?db=N]. */
static int parse_local(struct str rest, struct redis_url *out, struct err *e)
{
    struct str path = rest, before;
    const struct str option = STR_LIT("db=");

    if (rest.n && rest.p[0] != '/') {
        int result = cut(&path, '@', &before) ? parse_login(before, out, e) : bad(e, "a path begins with /");
        if (result < 0)
            return result;
    }
    if (path.n == 0 || path.p[0] != '/')
        return bad(e, "a path begins with /");
    out->local = true;
    if (cut(&path, '?', &before)) {
        if (!str_starts(path, option))
            return bad(e, "after a path only ?db=N may stand");
        int result = parse_db((struct str){path.p + option.n, path.n - option.n}, out, e);
        if (result < 0)
            return result;
        path = before;
    }
    return decode(path, out->path, sizeof out->path) ? 0 : bad(e, "the path is too long or has a wrong %XX");
}

/* After "redis://": [login@]place[/db]. */
static int parse_remote(struct str rest, struct redis_url *out, struct err *e)
{
    struct str place = rest, before, db = rest;
    int result = 0;

    if (cut(&db, '/', &before)) {
        place = before;
        result = db.n ? parse_db(db, out, e) : 0;
    }
    if (result == 0 && cut(&place, '@', &before))
        result = parse_login(before, out, e);
    return result < 0 ? result : parse_place(place, out, e);
}

int redis_url_parse(const char *text, struct redis_url *out, struct err *e)
{
    struct str url = str_of(text);
    struct redis_url made = {0};
    static const struct {
        struct str scheme;
        bool tls, local;
    } schemes[] = {
        {STR_LIT("redis://"), false, false}, {STR_LIT("rediss://"), true, false}, {STR_LIT("unix://"), false, true}};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        struct str rest = url;
        if (!str_starts(url, schemes[i].scheme))
            continue;
        rest = (struct str){url.p + schemes[i].scheme.n, url.n - schemes[i].scheme.n};
        made.tls = schemes[i].tls;
        int result = schemes[i].local ? parse_local(rest, &made, e) : parse_remote(rest, &made, e);
        if (result == 0)
            *out = made;
        return result;
    }
    return bad(e, "it begins with redis://, rediss:// or unix://");
}
