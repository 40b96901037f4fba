/* The URL of this profiler for others. The thread that starts it. */
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

int address_of(const char *advertised, const char *listen, uint16_t port, char *out, size_t size, struct err *e)
{
    const char *colon = strrchr(listen, ':');
    size_t n = colon ? (size_t)(colon - listen) : strlen(listen);
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
        length = snprintf(out, size, "http://%s:%u", name, port);
    } else {
        length = snprintf(out, size, "http://%.*s:%u", (int)n, listen, port);
    }
    if (length > 0 && (size_t)length < size)
        return 0;
    err_set(e, "the address at which others reach this profiler is too long or empty: set profiler.advertise");
    return -EINVAL;
}
