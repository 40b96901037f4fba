/* The file audit.sent: one number. */
#include "profiler/audit_sent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/num.h"

#define DIGITS 20

int audit_sent_open(struct audit_sent *s, const char *folder, struct err *e)
{
    char path[4200], text[DIGITS] = "";
    int r = 0;

    snprintf(path, sizeof path, "%s/audit.sent", folder);
    *s = (struct audit_sent){.fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (s->fd < 0)
        r = -errno;
    ssize_t n = r == 0 ? pread(s->fd, text, DIGITS, 0) : 0;
    if (n < 0)
        r = -errno;
    if (n != DIGITS || num_u64((struct str){text, DIGITS}, &s->number) != NUM_OK)
        s->number = 0;
    if (r != 0)
        err_set(e, "cannot open %s: %s", path, strerror(-r));
    return r;
}

void audit_sent_close(struct audit_sent *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

void audit_sent_write(struct audit_sent *s, uint64_t number)
{
    char text[DIGITS + 1];

    snprintf(text, sizeof text, "%0*" PRIu64, DIGITS, number);
    if (pwrite(s->fd, text, DIGITS, 0) == DIGITS)
        s->number = number;
}
