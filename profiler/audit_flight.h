/* Records of the audit log on their way to the event log. The log may answer later than anybody waits, even after the
 * audit is gone: what it answers to lives until its last answer. */
#ifndef WAYMARK_AUDIT_FLIGHT_H
#define WAYMARK_AUDIT_FLIGHT_H

#include <stdbool.h>

#include "common/event_log.h"
#include "common/str.h"

struct audit_flight;

/* For up to `n` records; NULL when memory is out. */
struct audit_flight *audit_flight_new(size_t n);
/* Adds a record's bytes, which are copied. False when memory is out. */
bool audit_flight_add(struct audit_flight *f, struct str value);
/* Appends those that the log has not taken yet. The one before it is over. */
void audit_flight_start(struct audit_flight *f, struct event_log *log);
/* Whether the log has answered to all, within `ms`: then *out is LOG_OK, or why some were not taken. */
bool audit_flight_wait(struct audit_flight *f, int64_t ms, enum log_status *out);
/* NULL is allowed. */
void audit_flight_let_go(struct audit_flight *f);

#endif
