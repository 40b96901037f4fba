/* What the parts of the Kafka log share. Only event_log_kafka.c and kafka_*.c include this; the latter alone know
 * librdkafka.
 *
 * Parts, each with what it owns:
 *   kafka_client.c    properties, librdkafka's log lines, the end of a client within a time
 *   kafka_producer.c  appending and reports; a client that is replaced when it can no longer work
 *   kafka_watch.c     a client that asks: brokers, topics, begins and ends
 *   kafka_fetch.c     clients that fetch partitions; kafka_reader.c has the readers on top
 *   kafka_group.c     a client that is the member of the consumer group, and reads nothing
 *   kafka_topics.c    making, checking and listing topics
 *
 * Threads of ours: kafka-report calls `done`, kafka-watch asks once a second, kafka-group calls given and taken. No
 * thread of librdkafka runs our code. Locks: each part has its own, none is held while another part is called but by
 * readers, who look at the watch's atomics. */
#ifndef WAYMARK_KAFKA_INSIDE_H
#define WAYMARK_KAFKA_INSIDE_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "common/event_log_inside.h"
#include "common/limits.h"

struct rd_kafka_s;
struct rd_kafka_message_s;
struct rd_kafka_topic_partition_list_s;

#define KAFKA_LOG_MAGIC UINT32_C(0x4b61666b)
#define KAFKA_HEADER "waymark-kind"

struct kafka_producer;
struct kafka_watch;
struct kafka_fetch;
struct kafka_group;

/* What is known of a partition. `lost` counts how often its end was found to have gone back. */
struct kafka_range {
    _Atomic int64_t begin, end;
    _Atomic uint32_t lost;
};

/* What was said of how long a topic keeps its records, and until when that counts. */
struct kafka_kept {
    int64_t ms, until; /* monotonic */
    struct err err;
    int status;
};

struct kafka_log {
    struct event_log base;
    uint32_t magic;
    struct event_log_kafka_options o; /* copies */
    char *topic[LOG_TOPICS];
    struct kafka_range *range[LOG_TOPICS];
    struct kafka_producer *producer;
    struct kafka_watch *watch;
    pthread_mutex_t fetch_lock;          /* the making of `fetch` */
    struct kafka_fetch *fetch;           /* of the named readers; NULL until the first */
    _Atomic(struct kafka_group *) group; /* NULL until it is joined */
    pthread_mutex_t kept_lock;           /* of `kept`; held while the brokers are asked, so that one asks for all */
    struct kafka_kept kept[LOG_TOPICS];
    _Atomic unsigned readers, peekers; /* open; peekers are those without a name */
};

static inline struct kafka_log *kafka_log(struct event_log *seam)
{
    struct kafka_log *log = (struct kafka_log *)seam;

    assert(log->magic == KAFKA_LOG_MAGIC);
    return log;
}

uint32_t kafka_partitions(const struct kafka_log *log, enum log_topic topic);
struct kafka_range *kafka_range(struct kafka_log *log, enum log_topic topic, uint32_t partition);

/* --- kafka_client.c ----------------------------------------------------------------------------------------------- */

enum kafka_role {
    KAFKA_PRODUCER,
    KAFKA_ASKER,   /* asks for offsets and topics */
    KAFKA_FETCHER, /* of the named readers */
    KAFKA_PEEKER,  /* of one unnamed reader */
    KAFKA_MEMBER   /* of the consumer group */
};
/* What a client calls, on the thread that polls it. */
struct kafka_client_calls {
    void *arg; /* rd_kafka_opaque */
    void (*report)(struct rd_kafka_s *rk, const struct rd_kafka_message_s *m, void *arg);
    void (*trouble)(struct rd_kafka_s *rk, int error, const char *reason, void *arg);
    void (*rebalance)(struct rd_kafka_s *rk, int error, struct rd_kafka_topic_partition_list_s *list, void *arg);
};
/* What the brokers call the group of that name: the topics' prefix and the name, since several shops may share brokers;
 * or what the user calls it. */
#define KAFKA_GROUP_ID 300
void kafka_group_id(const struct event_log_kafka_options *o, const char *group, char *out, size_t size);
/* `group` is the group's name of a member, else NULL. 0 or -EINVAL. */
int kafka_client_new(const struct event_log_kafka_options *o, enum kafka_role role, const char *group,
                     const struct kafka_client_calls *calls, struct rd_kafka_s **out, struct err *e);
/* Ends a client on a thread of its own and waits for that at most `ms`: librdkafka may hang in it, and is then left to
 * itself. It calls nothing any more. Whether it ended. NULL is allowed. */
bool kafka_client_end(struct rd_kafka_s *rk, int64_t ms);
/* What an error of librdkafka means for an append. */
enum log_status kafka_status(int error);
bool kafka_property_is_set(const struct event_log_kafka_options *o, const char *name);

/* --- kafka_producer.c --------------------------------------------------------------------------------------------- */

int kafka_producer_new(struct kafka_log *log, struct kafka_producer **out, struct err *e);
/* Starts its thread; the watch must be there, which it asks to look. */
void kafka_producer_run(struct kafka_producer *p);
enum log_status kafka_producer_append(struct kafka_producer *p, enum log_topic topic, enum log_by by,
                                      const struct log_record *records, size_t n, log_done *done, void *const *args);
/* Reports everything, in `ms` at most. Appends are refused from now on. */
void kafka_producer_stop(struct kafka_producer *p, int64_t ms);
void kafka_producer_free(struct kafka_producer *p);
uint64_t kafka_producer_appends(const struct kafka_producer *p, enum log_by by);
/* Why an append would not be taken or acked, as far as the producer knows; LOG_OK: nothing against it. */
enum log_status kafka_producer_state(const struct kafka_producer *p);
/* Monotonic time of the last ack; INT64_MIN: none. */
int64_t kafka_producer_acked(const struct kafka_producer *p);
/* Tests: makes the present client fail for good. */
void kafka_producer_break(struct kafka_producer *p);
/* Tests: how long a client may hold records without a word. */
void kafka_producer_patience(struct kafka_producer *p, int64_t ms);
/* Clients that were replaced since the start. */
uint64_t kafka_producer_replaced(const struct kafka_producer *p);

/* --- kafka_watch.c ------------------------------------------------------------------------------------------------ */

int kafka_watch_start(struct kafka_log *log, struct kafka_watch **out, struct err *e);
/* Tells its thread to end; stop waits for that. */
void kafka_watch_finish(struct kafka_watch *w);
void kafka_watch_stop(struct kafka_watch *w);
void kafka_watch_free(struct kafka_watch *w);
/* Looks again at once. Any thread. */
void kafka_watch_kick(struct kafka_watch *w);
/* How a topic stands, as seen last. Until the first look LOG_OK with *known false. */
enum log_status kafka_watch_topic(const struct kafka_watch *w, enum log_topic topic, bool *known);
/* Whether the brokers answered last time. */
bool kafka_watch_reachable(const struct kafka_watch *w);
/* How many partitions a topic has: 0 when it is missing, -1 when that is not known. */
int kafka_watch_count(const struct kafka_watch *w, enum log_topic topic);
/* How often it was seen to be missing after it had been there. */
uint32_t kafka_watch_gone(const struct kafka_watch *w, enum log_topic topic);
/* Whether a group has a member of that instance: 1, 0, or -EAGAIN when nobody says. */
int kafka_watch_member(struct kafka_watch *w, const char *group, const char *instance, int64_t ms);
/* As event_log_ask_committed, of that group. */
int kafka_watch_committed(struct kafka_watch *w, const char *group, const uint32_t *partitions, size_t n, int64_t ms,
                          int64_t *out, struct err *e);
/* In words, for errors. */
void kafka_watch_why(const struct kafka_watch *w, enum log_topic topic, struct err *e);
/* Asks for the ends, or for begin and end of one partition. 0 or negative errno; -EAGAIN when it is not known now. */
int kafka_watch_ends(struct kafka_watch *w, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                     int64_t *ends, struct err *e);
int kafka_watch_range(struct kafka_watch *w, enum log_topic topic, uint32_t partition, int64_t ms, int64_t *begin,
                      int64_t *end, struct err *e);
/* When all begins and ends were heard last, monotonic; INT64_MIN: never. */
int64_t kafka_watch_heard(const struct kafka_watch *w);
/* Of the cluster and the name of the events; 0 as long as the brokers have not said which cluster they are. */
uint64_t kafka_watch_identity(const struct kafka_watch *w);

/* --- kafka_topics.c ----------------------------------------------------------------------------------------------- */

/* Asks the brokers through a client of its own, up to `ms` and a second for its end. As event_log_retention. */
int kafka_ask_retention(const struct event_log_kafka_options *o, enum log_topic topic, int64_t ms, int64_t *out,
                        struct err *e);

/* --- kafka_fetch.c, kafka_reader.c -------------------------------------------------------------------------------- */

int kafka_reader_open(struct event_log *seam, enum log_topic topic, const char *name, struct log_reader **out,
                      struct err *e);
void kafka_fetch_free(struct kafka_fetch *f);
/* The partition is no longer to be read; quick. */
void kafka_fetch_taken(struct kafka_fetch *f, uint32_t partition);
/* The watch's share: stops what was taken, and polls the client. */
void kafka_fetch_tend(struct kafka_fetch *f);

/* --- kafka_group.c ------------------------------------------------------------------------------------------------ */

int kafka_group_join(struct event_log *seam, const struct log_group_options *o, struct err *e);
void kafka_group_leave(struct event_log *seam, bool for_good, int64_t ms);
/* Whether its thread has ended; only then may it and what it uses be freed. */
bool kafka_group_over(const struct kafka_group *g);
void kafka_group_free(struct kafka_group *g);
/* NULL: not joined. */
const char *kafka_group_name(const struct kafka_group *g);
bool kafka_group_has(const struct kafka_group *g, uint32_t partition);
void kafka_group_commit(struct kafka_group *g, uint32_t partition, int64_t offset);

#endif
