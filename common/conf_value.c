/* Readers of the options that are one value. Each reports what is wrong in words that show a right value. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf_inside.h"
#include "common/num.h"

#define TEXT_BYTES 1024

static const char *kind_name(const struct conf_node *n)
{
    if (n->kind == CONF_SCALAR)
        return conf_null(n) ? "nothing" : "a text";
    return n->kind == CONF_LIST_NODE ? "a list" : "a map";
}

bool conf_text(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, size_t longest,
               const char *what, struct str *out)
{
    if (n->kind != CONF_SCALAR || conf_null(n)) {
        conf_error(s, n, "%s: needs %s, not %s", row->path, what, kind_name(n));
        return false;
    }
    if (n->text.n == 0 || n->text.n > longest) {
        conf_error(s, n, "%s: needs %s, from 1 to %zu bytes long", row->path, what, longest);
        return false;
    }
    for (size_t i = 0; i < n->text.n; i++) {
        if ((unsigned char)n->text.p[i] < 0x20 || n->text.p[i] == 0x7f) {
            conf_error(s, n, "%s: holds a control character: %s", row->path, conf_shown(s, n->text));
            return false;
        }
    }
    *out = n->text;
    return true;
}

static bool refuse(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, const char *what)
{
    conf_error(s, n, "%s: needs %s, not %s", row->path, what, conf_shown(s, n->text));
    return false;
}

/* A text that is a number or the like: in quotes it would be a text. */
static bool plain_text(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, const char *what,
                       struct str *out)
{
    if (!conf_text(s, row, n, TEXT_BYTES, what, out))
        return false;
    if (n->quoted) {
        conf_error(s, n, "%s: needs %s without quotes", row->path, what);
        return false;
    }
    return true;
}

static bool in_range(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, uint64_t v)
{
    struct buf least, greatest;

    if (v >= row->min && v <= row->max)
        return true;
    buf_init(&least, 64);
    buf_init(&greatest, 64);
    row->type->write_bound(&least, row->min);
    row->type->write_bound(&greatest, row->max);
    conf_error(s, n, "%s: %s is out of range: from %.*s to %.*s", row->path, conf_shown(s, n->text),
               STR_ARG(buf_str(&least)), STR_ARG(buf_str(&greatest)));
    buf_deinit(&least);
    buf_deinit(&greatest);
    return false;
}

/* --- choices --- */

/* The place of the word among the choices; -1 after an error. */
static int choice_of(struct conf_state *s, const struct conf_row *row, const struct conf_node *n)
{
    struct str text;
    struct buf all;

    if (!conf_text(s, row, n, TEXT_BYTES, "a word", &text))
        return -1;
    for (int i = 0; row->choices[i]; i++)
        if (str_is(text, row->choices[i]))
            return i;
    buf_init(&all, 256);
    for (int i = 0; row->choices[i]; i++)
        buf_addf(&all, "%s%s", i ? " or " : "", row->choices[i]);
    conf_error(s, n, "%s: must be %.*s, not %s", row->path, STR_ARG(buf_str(&all)), conf_shown(s, text));
    buf_deinit(&all);
    return -1;
}

static bool read_choice(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    bool *field = conf_field(row, base);
    int i = choice_of(s, row, n);

    if (i >= 0 && field)
        *field = row->truth && strcmp(row->choices[i], row->truth) == 0;
    return i >= 0;
}

static bool read_index(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    int i = choice_of(s, row, n);

    if (i >= 0)
        *(unsigned *)conf_field(row, base) = (unsigned)i;
    return i >= 0;
}

static bool read_boolean(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char *const words[] = {"false", "False", "FALSE", "true", "True", "TRUE"};
    struct str text;
    bool *field = conf_field(row, base);

    if (!plain_text(s, row, n, "true or false", &text))
        return false;
    for (size_t i = 0; i < 6; i++) {
        if (str_is(text, words[i])) {
            if (field)
                *field = i >= 3;
            return true;
        }
    }
    return refuse(s, row, n, "true or false");
}

/* --- numbers --- */

static void write_count(struct buf *out, uint64_t bound)
{
    buf_addf(out, "%llu", (unsigned long long)bound);
}

static bool read_number(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, uint64_t *out)
{
    struct str text;

    if (!plain_text(s, row, n, "a whole number", &text))
        return false;
    int result = num_u64(text, out);
    if (result == NUM_BAD)
        return refuse(s, row, n, "a whole number");
    return in_range(s, row, n, result == NUM_RANGE ? UINT64_MAX : *out);
}

static bool read_count(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    uint64_t v;

    assert(row->max <= UINT_MAX);
    if (!read_number(s, row, n, &v))
        return false;
    *(unsigned *)conf_field(row, base) = (unsigned)v;
    return true;
}

static bool read_big_count(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    uint64_t v;

    if (!read_number(s, row, n, &v))
        return false;
    *(uint64_t *)conf_field(row, base) = v;
    return true;
}

static void write_duration(struct buf *out, uint64_t bound)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"d", TIME_DAY}, {"h", TIME_HOUR}, {"m", TIME_MINUTE}, {"s", TIME_SECOND}, {"ms", 1}};
    size_t i = 0;

    if (bound == 0) {
        buf_add_char(out, '0');
        return;
    }
    while (bound % (uint64_t)units[i].ms != 0)
        i++;
    buf_addf(out, "%llu%s", (unsigned long long)(bound / (uint64_t)units[i].ms), units[i].unit);
}

static bool read_duration(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char what[] = "a duration such as 500ms, 30m or 400d";
    struct str text;
    int64_t ms;

    if (!conf_text(s, row, n, TEXT_BYTES, what, &text))
        return false;
    if (time_parse_duration(text, &ms) != 0)
        return refuse(s, row, n, what);
    if (!in_range(s, row, n, (uint64_t)ms))
        return false;
    *(int64_t *)conf_field(row, base) = ms;
    return true;
}

static const char *const size_units[] = {"", "KiB", "MiB", "GiB", "TiB"};
#define SIZE_UNITS (sizeof size_units / sizeof size_units[0])

static void write_size(struct buf *out, uint64_t bound)
{
    unsigned unit = 0;

    while (bound > 0 && bound % 1024 == 0 && unit + 1 < SIZE_UNITS) {
        bound /= 1024;
        unit++;
    }
    buf_addf(out, "%llu%s", (unsigned long long)bound, size_units[unit]);
}

static bool parse_size(struct str text, uint64_t *out)
{
    size_t digits = 0;
    uint64_t v;

    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    int result = num_u64((struct str){text.p, digits}, &v);
    if (result == NUM_BAD)
        return false;
    for (unsigned i = 0; i < SIZE_UNITS; i++) {
        if (!str_is((struct str){text.p + digits, text.n - digits}, size_units[i]))
            continue;
        *out = result == NUM_RANGE || v > UINT64_MAX >> 10 * i ? UINT64_MAX : v << 10 * i;
        return true;
    }
    return false;
}

static bool read_size(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char what[] = "a size such as 64KiB, 4MiB or 2GiB";
    struct str text;
    uint64_t v;

    if (!conf_text(s, row, n, TEXT_BYTES, what, &text))
        return false;
    if (!parse_size(text, &v))
        return refuse(s, row, n, what);
    if (!in_range(s, row, n, v))
        return false;
    *(uint64_t *)conf_field(row, base) = v;
    return true;
}

/* --- texts with a meaning --- */

static bool store_text(struct conf_state *s, const struct conf_row *row, struct str text, void *base)
{
    const char *copy = conf_copy(s, text);

    *(const char **)conf_field(row, base) = copy;
    return copy != NULL;
}

/* host:port with a numeric host, one of IPv6 in brackets. */
static bool good_address(struct str text)
{
    char host[64];
    struct in6_addr address;
    const char *colon = memrchr(text.p, ':', text.n);
    uint64_t port;

    if (!colon)
        return false;
    struct str digits = {colon + 1, (size_t)(text.p + text.n - colon - 1)};
    if (digits.n > 5 || num_u64(digits, &port) != NUM_OK || port > 65535)
        return false;
    struct str name = {text.p, (size_t)(colon - text.p)};
    bool v6 = name.n >= 2 && name.p[0] == '[' && name.p[name.n - 1] == ']';
    if (v6)
        name = (struct str){name.p + 1, name.n - 2};
    if (name.n == 0 || name.n >= sizeof host)
        return false;
    memcpy(host, name.p, name.n);
    host[name.n] = '\0';
    return inet_pton(v6 ? AF_INET6 : AF_INET, host, &address) == 1;
}

static bool read_listen(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char what[] = "an address and a port such as 127.0.0.1:8080 or [::1]:8080";
    struct str text;

    if (!row->fallback && conf_null(n)) {
        *(const char **)conf_field(row, base) = NULL;
        return true;
    }
    if (!conf_text(s, row, n, TEXT_BYTES, what, &text))
        return false;
    return good_address(text) ? store_text(s, row, text, base) : refuse(s, row, n, what);
}

/* The folder of the configuration's file, absolute, without a slash at its end. */
static bool file_folder(const char *file, char *out)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(file, '/');
    int n = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - file) + 1 : 1, slash ? file : ".");

    if (n < 0 || (size_t)n >= sizeof folder || !realpath(folder, out))
        return false;
    if (strcmp(out, "/") == 0)
        out[0] = '\0';
    return true;
}

static bool read_folder(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    char folder[PATH_MAX], path[2 * PATH_MAX];
    struct str text;

    if (!row->fallback && conf_null(n))
        return true;
    if (!conf_text(s, row, n, PATH_MAX - 1, "a folder", &text))
        return false;
    if (text.p[0] == '/')
        return store_text(s, row, text, base);
    if (!file_folder(s->file, folder)) {
        conf_error(s, n, "%s: the folder of this file cannot be found, give an absolute path", row->path);
        return false;
    }
    while (str_starts(text, STR_LIT("./")))
        text = (struct str){text.p + 2, text.n - 2};
    int length = snprintf(path, sizeof path, "%s/%.*s", folder, STR_ARG(text));
    if (length < 0 || length >= PATH_MAX) {
        conf_error(s, n, "%s: the path is too long", row->path);
        return false;
    }
    return store_text(s, row, str_of(path), base);
}

/* A code of `n` capital letters, with a NUL behind it. */
static bool read_code(struct conf_state *s, const struct conf_row *row, const struct conf_node *node, void *base,
                      size_t n, const char *what)
{
    struct str text;

    if (!conf_text(s, row, node, TEXT_BYTES, what, &text))
        return false;
    for (size_t i = 0; i < n; i++)
        if (text.n != n || text.p[i] < 'A' || text.p[i] > 'Z')
            return refuse(s, row, node, what);
    char *field = conf_field(row, base);
    memcpy(field, text.p, n);
    field[n] = '\0';
    return true;
}

static bool read_currency(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return read_code(s, row, n, base, 3, "an ISO 4217 code of three capital letters such as GBP");
}

static bool read_country(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    return conf_null(n) || read_code(s, row, n, base, 2, "an ISO 3166 code of two capital letters such as GB");
}

static bool read_zone(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    struct str text;

    if (!conf_text(s, row, n, TEXT_BYTES, "a time zone such as Europe/London", &text))
        return false;
    if (!store_text(s, row, text, base))
        return false;
    struct zone *zone = zone_new(*(const char **)conf_field(row, base));
    if (!zone)
        conf_error(s, n, "%s: no time zone %s in this machine's tz database (package tzdata)", row->path,
                   conf_shown(s, text));
    zone_free(zone);
    return zone != NULL;
}

static bool read_name(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    struct str text;

    return conf_text(s, row, n, 64, "a name", &text) && store_text(s, row, text, base);
}

/* What a write key may be made of: it is sent as a user name of HTTP's basic authentication and in query strings. */
static bool read_write_key(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    struct str text;

    if (!conf_text(s, row, n, 256, "a key", &text))
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == ':')
            return refuse(s, row, n, "a key of ASCII letters, digits and signs, without spaces and colons");
    return store_text(s, row, text, base);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return (c | 32) - 'a' + 10;
    return -1;
}

static bool read_sha256(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char what[] = "a SHA-256 in 64 hexadecimal digits";
    unsigned char *field = conf_field(row, base);
    struct str text;

    if (!conf_text(s, row, n, TEXT_BYTES, what, &text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.n != 64 || hex_digit(text.p[i]) < 0) { /* not shown: it may be the secret itself */
            conf_error(s, n, "%s: needs %s, not a text of %zu bytes", row->path, what, text.n);
            return false;
        }
    }
    for (size_t i = 0; i < 32; i++)
        field[i] = (unsigned char)(hex_digit(text.p[2 * i]) << 4 | hex_digit(text.p[2 * i + 1]));
    return true;
}

/* Names of topics, keys and members of a group are made of these. */
static bool read_word(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char signs[] = "._-:";
    struct str text;

    if (!row->fallback && conf_null(n))
        return true;
    if (!conf_text(s, row, n, 64, "a name", &text))
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = (char)(text.p[i] | 32);
        bool good = (c >= 'a' && c <= 'z') || (text.p[i] >= '0' && text.p[i] <= '9') ||
                    memchr(signs, text.p[i], row->offset == offsetof(struct conf, redis.prefix) ? 4 : 3);
        if (!good)
            return refuse(s, row, n, row->range);
    }
    return store_text(s, row, text, base);
}

static bool read_file(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    if (conf_null(n))
        return true;
    if (!read_folder(s, row, n, base))
        return false;
    const char *path = *(const char **)conf_field(row, base);
    if (access(path, R_OK) == 0)
        return true;
    conf_error(s, n, "%s: %s cannot be read: %s", row->path, path, strerror(errno));
    return false;
}

/* Of a server. It must be there, but who only asks that server need not be allowed to read it. */
static bool read_private_file(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    if (conf_null(n))
        return true;
    if (!read_folder(s, row, n, base))
        return false;
    const char *path = *(const char **)conf_field(row, base);
    if (access(path, F_OK) == 0 || errno == EACCES)
        return true;
    conf_error(s, n, "%s: there is no %s: %s", row->path, path, strerror(errno));
    return false;
}

static bool read_url(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base,
                     const char *const *schemes, const char *what)
{
    struct str text;

    if (conf_null(n))
        return true;
    if (!conf_text(s, row, n, TEXT_BYTES, what, &text))
        return false;
    for (; *schemes; schemes++)
        if (str_starts(text, str_of(*schemes)) && text.n > strlen(*schemes) && !memchr(text.p, ' ', text.n))
            return store_text(s, row, text, base);
    conf_error(s, n, "%s: needs %s", row->path, what); /* not shown: it may hold a password */
    return false;
}

static bool read_http(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char *const schemes[] = {"http://", "https://", NULL};

    return read_url(s, row, n, base, schemes, "a URL such as http://10.0.0.5:8081");
}

static bool read_redis(struct conf_state *s, const struct conf_row *row, const struct conf_node *n, void *base)
{
    static const char *const schemes[] = {"redis://", "rediss://", "unix://", NULL};

    return read_url(s, row, n, base, schemes, "a URL such as redis://127.0.0.1:6379/0, rediss://… or unix:///path");
}

const struct conf_type conf_type_choice = {"one of", read_choice, NULL};
const struct conf_type conf_type_index = {"one of", read_index, NULL};
const struct conf_type conf_type_boolean = {"true or false", read_boolean, NULL};
const struct conf_type conf_type_count = {"whole number", read_count, write_count};
const struct conf_type conf_type_big_count = {"whole number", read_big_count, write_count};
const struct conf_type conf_type_duration = {"duration", read_duration, write_duration};
const struct conf_type conf_type_size = {"size", read_size, write_size};
const struct conf_type conf_type_listen = {"address:port", read_listen, NULL};
const struct conf_type conf_type_folder = {"folder", read_folder, NULL};
const struct conf_type conf_type_country = {"ISO 3166 code", read_country, NULL};
const struct conf_type conf_type_currency = {"ISO 4217 code", read_currency, NULL};
const struct conf_type conf_type_zone = {"time zone", read_zone, NULL};
const struct conf_type conf_type_name = {"text", read_name, NULL};
const struct conf_type conf_type_write_key = {"text", read_write_key, NULL};
const struct conf_type conf_type_sha256 = {"SHA-256 in hex", read_sha256, NULL};
const struct conf_type conf_type_word = {"text", read_word, NULL};
const struct conf_type conf_type_file = {"file", read_file, NULL};
const struct conf_type conf_type_private_file = {"file", read_private_file, NULL};
const struct conf_type conf_type_http = {"URL", read_http, NULL};
const struct conf_type conf_type_redis = {"URL", read_redis, NULL};
