/* The collector: takes events over HTTP, checks them, and answers when they are durable on the event log or, while that
 * is away, in the spool. */
#ifndef WAYMARK_COLLECTOR_H
#define WAYMARK_COLLECTOR_H

#include <stdint.h>

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"

struct collector;

/* All must outlive it. `spool` as of the sink: NULL where the event log is the embedded one. */
int collector_start(const struct conf *conf, struct event_log *log, struct event_log *spool, struct stats *stats,
                    struct collector **out, struct err *e);
uint16_t collector_port(const struct collector *c);
/* Refuses new requests, waits up to `ms` until those in flight are answered, stops. What the event log has not acked by
 * then is in the spool. NULL is allowed. */
void collector_stop(struct collector *c, int64_t ms);

#endif
