/* Where the collector's records go: to the event log, and while that cannot take them to the spool, an embedded log on
 * this machine's disk, from where a forwarder of its own brings them to the event log later. A record is reported once,
 * as soon as it is safe in one of the two; one whose fate was unclear is in both, which the fold takes for one event.
 *
 * The circuit. Closed: records go to the event log; each that is not acked within the patience, or fails, goes to the
 * spool and opens the circuit. Open: records go straight to the spool; the forwarder tries the event log, and the first
 * ack within the patience of what was appended since closes the circuit, whether the spool is empty or not. Where the
 * forwarder cannot find out (the spool refuses, it waits or rests), one append a second tries the event log itself. A
 * record that is too large for the event log goes to the spool and says nothing about the log.
 *
 * Without a spool (the event log is the embedded one) it only hands on. Threads: append from any; `done` comes on
 * threads of the logs and of the sink. */
#ifndef WAYMARK_SINK_H
#define WAYMARK_SINK_H

#include "common/err.h"
#include "common/event_log.h"
#include "common/stats.h"

struct sink;

struct sink_options {
    struct event_log *log;
    struct event_log *spool; /* NULL: none; else an embedded log of one partition, the sink's alone */
    uint64_t spool_bytes;    /* that may wait in it */
    int64_t patience_ms;     /* from an append to the spool; well below LIMIT_ANSWER_MS */
    struct stats *stats;     /* gets waymark_spool_*; may be NULL */
};

int sink_start(const struct sink_options *o, struct sink **out, struct err *e);
/* As event_log_append, by the collector. `done` gets LOG_OK with a place on the event log, LOG_SPOOLED without one, or
 * why neither could take the record: then nobody has it. */
enum log_status sink_append(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                            log_done *done, void *const *args);
/* Whether a record that came now would be made durable, and how it stands. */
struct sink_figures {
    enum log_status ready;    /* LOG_OK, or why not */
    bool open;                /* the circuit: new records go to the spool */
    uint64_t bytes, records;  /* in the spool */
    int64_t oldest_ms;        /* age of its oldest record; 0: it is empty */
    enum log_status last_why; /* why the circuit opened last; LOG_OK: it never did */
};
void sink_figures(struct sink *s, struct sink_figures *out);
/* Reports everything that is under way, in `ms` at most: what the event log does not ack by then goes to the spool.
 * What is in the spool stays there for the next start. */
void sink_stop(struct sink *s, int64_t ms);
/* After sink_stop, before the logs are closed. NULL is allowed. */
void sink_free(struct sink *s);

#endif
