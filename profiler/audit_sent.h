/* How far the topic has what the file of the audit log has: the number of the last record, in audit.sent. It may lag
 * after a loss of power; then some records go to the topic once more. The audit's thread, and start-up. */
#ifndef WAYMARK_AUDIT_SENT_H
#define WAYMARK_AUDIT_SENT_H

#include <stdint.h>

#include "common/err.h"

struct audit_sent {
    int fd;
    uint64_t number; /* 0: none yet */
};

/* Opens or makes it. 0 or a negative errno with `e` filled. */
int audit_sent_open(struct audit_sent *s, const char *folder, struct err *e);
void audit_sent_close(struct audit_sent *s);
/* What cannot be written lags. */
void audit_sent_write(struct audit_sent *s, uint64_t number);

#endif
