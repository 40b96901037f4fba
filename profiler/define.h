/* Saying a definition to every partition: a COMMAND_DEFINE in each of them (state_watch.h). */
#ifndef WAYMARK_DEFINE_H
#define WAYMARK_DEFINE_H

#include "common/err.h"
#include "common/event_log.h"
#include "proto/internal.h"

/* Appends the definition (`kind` is set here) to every partition of LOG_EVENTS and waits up to `ms` until it is durable
 * in all of them. What was refused by some may stand in others: say it again. 0, -EAGAIN with words, -EINVAL for one
 * that does not fit a record, -ENOMEM. Any thread that may wait. */
int define_everywhere(struct event_log *log, const struct command *definition, int64_t ms, struct err *e);

#endif
