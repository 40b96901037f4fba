/* What the files of the sink share; nobody else includes it. sink.c has its life, the circuit and the figures,
 * sink_parcel.c the records that are under way, spool.c the forwarder.
 *
 * Threads: appenders, one timer, one forwarder, and those of the two logs that report. Locks: the sink's and the
 * forwarder's, each for a moment and never with another; no log is called and nothing is reported under them. The sink
 * lives until its owner has let go of it and both logs have reported all that they owe it. */
#ifndef WAYMARK_SINK_INSIDE_H
#define WAYMARK_SINK_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "collector/sink.h"
#include "common/log.h"

#define SINK_MAGIC 0x73696e6bu

/* Why a record went to the spool: the labels of waymark_spool_events_total. */
enum spool_reason { SPOOL_TIMEOUT, SPOOL_FAILED, SPOOL_QUEUE_FULL, SPOOL_OPEN, SPOOL_TOO_LARGE, SPOOL_REASONS };

enum { SPOOL_TOPICS = 2 }; /* events and bad ones */

struct parcel;
struct forwarder;

struct parcels {
    struct parcel *first, *last;
};

struct sink {
    unsigned magic;
    struct sink_options o;
    atomic_uint refs; /* the owner's, and one for each parcel and window */

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a first parcel waits for the event log, the last one is gone, or something stops */
    struct parcels waiting; /* for the event log, by deadline */
    struct parcels spooling;
    unsigned under_way; /* appends that are not reported in whole */
    size_t bytes;       /* of the copies */
    _Atomic bool stopping;
    bool stop_timer;
    pthread_t timer;

    _Atomic bool open;
    _Atomic int last_why; /* enum log_status */
    _Atomic int64_t opened_at;
    _Atomic int64_t next_probe; /* see sink_append */
    struct log_limit opened_limit, closed_limit;

    struct forwarder *forwarder;
    _Atomic int64_t tried_at;                /* when it last tried the event log; monotonic, as all but the next ones */
    _Atomic int64_t forwarded[SPOOL_TOPICS]; /* offset that is forwarded next */
    _Atomic int64_t oldest_time[SPOOL_TOPICS]; /* of the records that wait; 0: not known */

    struct stats_counter *spooled[SPOOL_REASONS], *forwarded_total;
};

/* sink.c */
void sink_ref(struct sink *s);
void sink_unref(struct sink *s);
/* The event log took a record that was appended at that time (monotonic): closes the circuit if it was quick. */
void sink_note_ack(struct sink *s, int64_t appended_at);
/* The event log did not: opens it. `text` says what happened. */
void sink_note_trouble(struct sink *s, enum log_status why, const char *text);

/* Whether a status says something about the log, and not about one record. */
static inline bool sink_is_trouble(enum log_status s)
{
    return s != LOG_OK && s != LOG_TOO_LARGE;
}

/* sink_parcel.c: both as sink_append */
/* To the event log with a copy kept; what it does not take goes to the spool. */
enum log_status parcel_send(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                            log_done *done, void *const *args);
/* To the spool alone. */
enum log_status parcel_spool(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                             log_done *done, void *const *args, enum spool_reason why);
/* The timer's main. */
void *parcels_timer(void *sink);
/* Everything that waits for the event log goes to the spool. */
void parcels_expire_all(struct sink *s);
/* Reports as failed what the spool has not reported yet. */
void parcels_give_up(struct sink *s);

/* spool.c */
int forwarder_start(struct sink *s, struct forwarder **out, struct err *e);
/* The spool has another record. Any thread. */
void forwarder_wake(struct forwarder *f);
/* Ends it at once; what it has under way is forwarded again after the next start. NULL is allowed. */
void forwarder_stop(struct forwarder *f);
/* When nothing refers to it. NULL is allowed. */
void forwarder_free(struct forwarder *f);

#endif
