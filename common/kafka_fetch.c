/* Fetching partitions from explicit offsets, each into a queue of its own. The readers of the group share one client;
 * a reader without a name has its own, since a client can fetch a partition only once. Which partitions the group has
 * given is not librdkafka's business here: that is another client (kafka_group.c), so what goes wrong with the
 * membership never disturbs what is being read, and nothing is fetched that nobody sought.
 *
 * Threads: those of the readers; kafka-watch stops what was taken; kafka-group only marks it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/kafka_fetch.h"
#include "common/log.h"

static void take_trouble(rd_kafka_t *rk, int error, const char *reason, void *arg)
{
    struct kafka_fetch *f = arg;

    (void)rk, (void)error, (void)reason;
    kafka_watch_kick(f->log->watch);
}

int kafka_fetch_new(struct kafka_log *log, enum log_topic topic, bool shared, struct kafka_fetch **out, struct err *e)
{
    uint32_t n = kafka_partitions(log, topic);
    struct kafka_fetch *f = calloc(1, sizeof(*f) + n * sizeof(struct kafka_place));

    if (!f)
        return -ENOMEM;
    f->log = log;
    f->topic = topic;
    f->calls = (struct kafka_client_calls){.arg = f, .trouble = take_trouble};
    f->partitions = n;
    for (uint32_t i = 0; i < n; i++) {
        pthread_mutex_init(&f->place[i].lock, NULL);
        f->place[i].last = -1;
    }
    int r = kafka_client_new(&log->o, shared ? KAFKA_FETCHER : KAFKA_PEEKER, NULL, &f->calls, &f->rk, e);
    if (r != 0) {
        kafka_fetch_free(f);
        return r;
    }
    f->rkt = rd_kafka_topic_new(f->rk, log->topic[topic], NULL);
    *out = f;
    return 0;
}

void kafka_fetch_free(struct kafka_fetch *f)
{
    if (!f)
        return;
    for (uint32_t i = 0; i < f->partitions; i++) {
        kafka_place_stop(f, i);
        pthread_mutex_destroy(&f->place[i].lock);
    }
    if (f->rkt)
        rd_kafka_topic_destroy(f->rkt);
    if (!kafka_client_end(f->rk, 1000))
        log_warn("kafka: a client that fetches does not end, and is left to itself");
    free(f);
}

int kafka_place_start(struct kafka_fetch *f, uint32_t partition, struct err *e)
{
    static const uint64_t one = 1;
    struct kafka_place *p = &f->place[partition];
    int64_t from = p->compare ? p->last : p->next;

    assert(!p->queue && p->reader);
    p->queue = rd_kafka_queue_new(f->rk);
    rd_kafka_queue_io_event_enable(p->queue, p->wake_fd, &one, sizeof(one));
    if (rd_kafka_consume_start_queue(f->rkt, (int32_t)partition, from, p->queue) == 0)
        return 0;
    err_set(e, "%s, partition %u: %s", f->log->topic[f->topic], partition, rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
    return -EAGAIN;
}

void kafka_place_stop(struct kafka_fetch *f, uint32_t partition)
{
    struct kafka_place *p = &f->place[partition];

    while (p->pending_at < p->pending_n)
        rd_kafka_message_destroy(p->pending[p->pending_at++]);
    if (!p->queue)
        return;
    rd_kafka_consume_stop(f->rkt, (int32_t)partition);
    rd_kafka_queue_io_event_enable(p->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(p->queue);
    p->queue = NULL;
}

void kafka_place_fill(struct kafka_place *p)
{
    assert(p->queue && p->pending_at == p->pending_n);
    ssize_t n = rd_kafka_consume_batch_queue(p->queue, 0, p->pending, LIMIT_KAFKA_PENDING);

    p->pending_at = 0;
    p->pending_n = n > 0 ? (size_t)n : 0;
}

bool kafka_place_has(struct kafka_place *p)
{
    if (p->pending_at == p->pending_n && p->queue && rd_kafka_queue_length(p->queue) > 0)
        kafka_place_fill(p); /* what is there may be librdkafka's own */
    return p->pending_at < p->pending_n;
}

void kafka_fetch_taken(struct kafka_fetch *f, uint32_t partition)
{
    atomic_store(&f->place[partition].taken, true);
}

void kafka_fetch_tend(struct kafka_fetch *f)
{
    for (uint32_t i = 0; i < f->partitions; i++) {
        struct kafka_place *p = &f->place[i];

        if (!atomic_load(&p->taken))
            continue;
        pthread_mutex_lock(&p->lock);
        if (atomic_exchange(&p->taken, false)) {
            kafka_place_stop(f, i);
            p->reader = NULL;
        }
        pthread_mutex_unlock(&p->lock);
    }
    while (rd_kafka_poll(f->rk, 0) > 0)
        ;
}
