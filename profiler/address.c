/* The URL of this profiler for others, and theirs. Any thread. */
#include "profiler/address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Addresses that mean all of the machine's. */
static int everywhere(const char *host, size_t n)
{
    static const char *const all[] = {"", "0.0.0.0", "[::]", "*"};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strlen(all[i]) == n && memcmp(all[i], host, n) == 0)
            return 1;
    return 0;
}

bool address_is_valid(struct str url)
{
    static const struct str schemes[] = {STR_LIT("http://"), STR_LIT("https://")};
    size_t from = 0;

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (str_starts(url, schemes[i]))
            from = schemes[i].n;
    if (from == 0 || from == url.n || url.p[from] == '/' || url.p[from] == ':')
        return false;
    for (size_t i = from; i < url.n; i++)
        if (url.p[i] <= ' ' || url.p[i] > '~' || strchr("\"#<>?@\\^`{|}", url.p[i]))
            return false;
    return true;
}

int address_of(const char *advertised, bool tls, const char *listen, uint16_t port, char *out, size_t size,
               struct err *e)
{
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : strlen(listen);
    const char *scheme = tls ? "https" : "http";
    char name[256] = {0};
    int length;

    if (advertised) {
        n = strlen(advertised);
        while (n > 0 && advertised[n - 1] == '/')
            n--;
        length = snprintf(out, size, "%.*s", (int)n, advertised);
    } else if (everywhere(listen, n)) {
        if (gethostname(name, sizeof name - 1) != 0)
            strcpy(name, "localhost");
        length = snprintf(out, size, "%s://%s:%u", scheme, name, port);
    } else {
        length = snprintf(out, size, "%s://%.*s:%u", scheme, (int)n, listen, port);
    }
    if (length <= 0 || (size_t)length >= size)
        err_set(e, "the address at which others reach this profiler is too long or empty: set profiler.advertise");
    else if (!address_is_valid(str_of(out)))
        err_set(e, "others cannot reach this profiler at %.200s: set profiler.advertise to %s://HOST:PORT", out,
                scheme);
    else
        return 0;
    return -EINVAL;
}
