/* Between kafka_fetch.c and kafka_reader.c: a client that fetches, and the places of its partitions. */
#ifndef WAYMARK_KAFKA_FETCH_H
#define WAYMARK_KAFKA_FETCH_H

#include "common/kafka_inside.h"

struct rd_kafka_topic_s;
struct rd_kafka_queue_s;

/* A partition that may be fetched. Under its lock, but for `taken`. */
struct kafka_place {
    pthread_mutex_t lock;
    const void *reader; /* whose it is; NULL: it is not fetched */
    int wake_fd;        /* of that reader: written to when the queue is no longer empty */
    struct rd_kafka_queue_s *queue;
    int64_t next;      /* offset to be read next */
    int64_t last;      /* offset of the record before `next`, -1: none */
    uint64_t sum;      /* by which that is told again */
    bool summed;       /* `sum` is known */
    bool compare;      /* it is fetched from `last` on, to be compared or to get its sum */
    uint32_t lost;     /* of the range, when it was sought */
    uint32_t gone;     /* how often the topic was missing until it was fetched */
    int stale;         /* 0 or the error that stands until it is sought again */
    int64_t retry_at;  /* monotonic: when it is to be fetched anew after an error; 0: there was none */
    char trouble[200]; /* that error in words */
    struct rd_kafka_message_s *pending[LIMIT_KAFKA_PENDING];
    size_t pending_at, pending_n;
    _Atomic bool taken;
};

struct kafka_fetch {
    struct kafka_log *log;
    enum log_topic topic;
    struct kafka_client_calls calls;
    struct rd_kafka_s *rk;
    struct rd_kafka_topic_s *rkt;
    uint32_t partitions;
    struct kafka_place place[];
};

/* Of a reader; for tests. */
struct kafka_fetch *kafka_reader_fetch(struct log_reader *r);
int kafka_fetch_new(struct kafka_log *log, enum log_topic topic, bool shared, struct kafka_fetch **out, struct err *e);
/* Fetches a partition from its `next` on, or from `last` to compare it; the place's lock is held. */
int kafka_place_start(struct kafka_fetch *f, uint32_t partition, struct err *e);
/* Stops it and forgets what was fetched; the same. Also where nothing is fetched. */
void kafka_place_stop(struct kafka_fetch *f, uint32_t partition);
/* Takes over what the client has fetched, as much as there is room for. The same. */
void kafka_place_fill(struct kafka_place *p);
/* Whether there is something to take, which is then taken over; the same. */
bool kafka_place_has(struct kafka_place *p);

#endif
