/* What every program that runs until a signal does around its parts. The main thread calls these. */
#ifndef WAYMARK_PROCESS_H
#define WAYMARK_PROCESS_H

#include "common/conf.h"
#include "common/err.h"
#include "common/event_log.h"

/* Before the first thread: SIGTERM and SIGINT reach process_wait only, SIGPIPE nobody, and the memory of large requests
 * goes back to the system when it is freed. */
void process_begin(void);
/* Waits for SIGTERM or SIGINT. From then on a second one ends the process at once: nothing acked is lost by it, the
 * next start only has more to replay. */
void process_wait(void);
/* The embedded log of the data folder, which is made when missing. */
int process_open_log(const struct conf *conf, struct event_log **out, struct err *e);

#endif
