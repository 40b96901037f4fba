/* Client addresses and CORS. Called on the pool threads. */
#include "collector/origin.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Long enough for any address with a zone. */
#define ADDRESS_TEXT 80

static bool is_address(struct str s)
{
    char text[ADDRESS_TEXT];
    unsigned char bytes[sizeof(struct in6_addr)];

    if (s.n == 0 || s.n >= sizeof text)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return strlen(text) == s.n && (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1);
}

/* "1.2.3.4:567" and "[::1]:567" without the port and the brackets. */
static struct str without_port(struct str s)
{
    const char *end;

    if (s.n > 0 && s.p[0] == '[' && (end = memchr(s.p, ']', s.n)))
        return (struct str){s.p + 1, (size_t)(end - s.p) - 1};
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    if (colon && !memchr(colon + 1, ':', s.n - (size_t)(colon + 1 - s.p))) /* one colon only: no IPv6 */
        return (struct str){s.p, (size_t)(colon - s.p)};
    return s;
}

/* The last entry of a list, cut from it. */
static struct str take_last(struct str *list)
{
    size_t n = list->n;

    while (n > 0 && list->p[n - 1] != ',')
        n--;
    struct str entry = {list->p + n, list->n - n};
    list->n = n > 0 ? n - 1 : 0;
    return str_trim(entry);
}

struct str origin_address(struct str peer, struct str forwarded_for, unsigned hops)
{
    struct str list = str_trim(forwarded_for), entry = STR_NONE;

    if (hops == 0 || list.n == 0)
        return peer;
    for (unsigned i = 0; i < hops && list.n > 0; i++)
        entry = take_last(&list);
    entry = without_port(entry);
    return is_address(entry) ? entry : peer;
}

/* A value may go back to the client only if it cannot be taken for something else. */
static const char *safe_value(struct str s, struct arena *a)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x20 || s.p[i] > 0x7e)
            return NULL;
    return str_has(s) ? arena_dup(a, s).p : NULL;
}

size_t origin_cors(struct str origin, bool preflight, struct str wants, struct arena *a, struct http_field *out)
{
    const char *from = safe_value(origin, a), *fields = safe_value(wants, a);
    size_t n = 0;

    out[n++] = (struct http_field){"Vary", "Origin"};
    if (!from)
        return n;
    out[n++] = (struct http_field){"Access-Control-Allow-Origin", from};
    out[n++] = (struct http_field){"Access-Control-Allow-Credentials", "true"};
    out[n++] = (struct http_field){"Access-Control-Expose-Headers", "Retry-After, X-Waymark-Ack, X-Waymark-Position"};
    if (!preflight)
        return n;
    out[n++] = (struct http_field){"Access-Control-Allow-Methods", "GET, POST, OPTIONS, HEAD"};
    out[n++] = (struct http_field){"Access-Control-Max-Age", "86400"};
    if (fields)
        out[n++] = (struct http_field){"Access-Control-Allow-Headers", fields};
    return n;
}

bool origin_is_loopback(const char *listen)
{
    char host[ADDRESS_TEXT];
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : strlen(listen);
    struct in_addr four;
    struct in6_addr six;

    if (n >= 2 && listen[0] == '[' && listen[n - 1] == ']')
        listen++, n -= 2;
    if (n >= sizeof host)
        return false;
    memcpy(host, listen, n);
    host[n] = '\0';
    if (inet_pton(AF_INET, host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six);
    return strcasecmp(host, "localhost") == 0;
}
