/* The log on Kafka: its life, and which part answers what. Any thread calls in. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_inside.h"
#include "common/log.h"

#define KEPT_MS (5 * TIME_MINUTE) /* how long what the brokers said of retention counts */
#define UNKNOWN_MS 2000           /* and that they said nothing: many may ask */
#define CLOSE_MS 3000             /* for what was appended; the clients' ends come on top, a second at most */

uint32_t kafka_partitions(const struct kafka_log *log, enum log_topic topic)
{
    assert(topic < LOG_TOPICS);
    return log_topic_is_single(topic) ? 1 : log->o.partitions;
}

struct kafka_range *kafka_range(struct kafka_log *log, enum log_topic topic, uint32_t partition)
{
    assert(partition < kafka_partitions(log, topic));
    return &log->range[topic][partition];
}

/* The seam */

static enum log_status append(struct event_log *seam, enum log_topic topic, enum log_by by,
                              const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    return kafka_producer_append(kafka_log(seam)->producer, topic, by, records, n, done, args);
}

static uint32_t partitions(const struct event_log *seam, enum log_topic topic)
{
    return kafka_partitions((const struct kafka_log *)seam, topic);
}

static int64_t begin(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    return atomic_load(&kafka_range(kafka_log(seam), topic, partition)->begin);
}

static int64_t end(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    return atomic_load(&kafka_range(kafka_log(seam), topic, partition)->end);
}

static int ask_ends(struct event_log *seam, enum log_topic topic, const uint32_t *list, size_t n, int64_t ms,
                    int64_t *ends, struct err *e)
{
    return kafka_watch_ends(kafka_log(seam)->watch, topic, list, n, ms, ends, e);
}

static int ask_committed(struct event_log *seam, const uint32_t *list, size_t n, int64_t ms, int64_t *out,
                         struct err *e)
{
    struct kafka_log *log = kafka_log(seam);
    const char *group = kafka_group_name(log->group);

    if (group)
        return kafka_watch_committed(log->watch, group, list, n, ms, out, e);
    err_set(e, "no group was joined");
    return -EAGAIN;
}

static uint64_t appends(struct event_log *seam, enum log_by by)
{
    return kafka_producer_appends(kafka_log(seam)->producer, by);
}

/* The claims are the profilers' business: who only collects can do without. */
static uint64_t identity(struct event_log *seam)
{
    return kafka_watch_identity(kafka_log(seam)->watch);
}

static enum log_status ready(struct event_log *seam)
{
    struct kafka_log *log = kafka_log(seam);
    enum log_status s = kafka_producer_state(log->producer);
    bool known;

    for (enum log_topic t = LOG_EVENTS; t <= LOG_BAD && s == LOG_OK; t++) {
        s = kafka_watch_topic(log->watch, t, &known);
        if (!known)
            s = LOG_UNREACHABLE;
    }
    return s;
}

static int retention(struct event_log *seam, enum log_topic topic, int64_t ms, int64_t *out, struct err *e)
{
    struct kafka_log *log = kafka_log(seam);
    struct kafka_kept *k = &log->kept[topic];

    pthread_mutex_lock(&log->kept_lock);
    if (clock_monotonic() >= k->until) {
        k->err = (struct err){0};
        k->status = kafka_ask_retention(&log->o, topic, ms, &k->ms, &k->err);
        k->until = clock_monotonic() + (k->status == 0 ? KEPT_MS : UNKNOWN_MS);
    }
    int r = k->status;
    if (r == 0)
        *out = k->ms;
    else if (e)
        *e = k->err;
    pthread_mutex_unlock(&log->kept_lock);
    return r;
}

static void free_log(struct kafka_log *log)
{
    kafka_watch_free(log->watch);
    kafka_group_free(log->group);
    kafka_fetch_free(log->fetch);
    kafka_producer_free(log->producer);
    for (size_t i = 0; i < log->o.property_count && log->o.properties; i++) {
        free((char *)log->o.properties[i].name);
        free((char *)log->o.properties[i].value);
    }
    for (int t = 0; t < LOG_TOPICS; t++) {
        free(log->topic[t]);
        free(log->range[t]);
    }
    free((void *)log->o.properties);
    free((char *)log->o.prefix);
    free((char *)log->o.instance);
    pthread_mutex_destroy(&log->fetch_lock);
    pthread_mutex_destroy(&log->kept_lock);
    log->magic = 0;
    free(log);
}

static void close_log(struct event_log *seam)
{
    struct kafka_log *log = kafka_log(seam);

    assert(atomic_load(&log->readers) == 0); /* what they hold is the clients' */
    kafka_watch_finish(log->watch);
    kafka_producer_stop(log->producer, CLOSE_MS);
    kafka_group_leave(seam, false, 500);
    kafka_watch_stop(log->watch);
    if (kafka_group_over(log->group))
        free_log(log);
    else
        log_warn("kafka: a part of the log hangs, and is left to itself");
}

static const struct event_log_ops ops = {.close = close_log,
                                         .append = append,
                                         .partitions = partitions,
                                         .begin = begin,
                                         .end = end,
                                         .ask_ends = ask_ends,
                                         .ask_committed = ask_committed,
                                         .appends = appends,
                                         .ready = ready,
                                         .identity = identity,
                                         .retention = retention,
                                         .reader_open = kafka_reader_open,
                                         .join = kafka_group_join,
                                         .leave = kafka_group_leave};

static char *copy(const char *s)
{
    char *c = s ? strdup(s) : NULL;

    if (s && !c)
        abort();
    return c;
}

static void copy_options(struct kafka_log *log, const struct event_log_kafka_options *o)
{
    struct kafka_property *properties = calloc(o->property_count + 1, sizeof(*properties));

    if (!properties)
        abort();
    for (size_t i = 0; i < o->property_count; i++)
        properties[i] =
            (struct kafka_property){.name = copy(o->properties[i].name), .value = copy(o->properties[i].value)};
    log->o = *o;
    log->o.properties = properties;
    log->o.prefix = copy(o->prefix);
    log->o.instance = copy(o->instance);
}

static struct kafka_log *new_log(const struct event_log_kafka_options *o)
{
    static const char *const names[LOG_TOPICS] = {"events", "bad", "claims", "audit", "audiences"};
    struct kafka_log *log = calloc(1, sizeof(*log));

    if (!log)
        abort();
    log->base.ops = &ops;
    log->magic = KAFKA_LOG_MAGIC;
    pthread_mutex_init(&log->fetch_lock, NULL);
    pthread_mutex_init(&log->kept_lock, NULL);
    copy_options(log, o);
    for (enum log_topic t = 0; t < LOG_TOPICS; t++) {
        log->range[t] = calloc(kafka_partitions(log, t), sizeof(*log->range[t]));
        if (!log->range[t] || asprintf(&log->topic[t], "%s%s", log->o.prefix, names[t]) < 0)
            abort();
    }
    return log;
}

static int check_options(const struct event_log_kafka_options *o, struct err *e)
{
    if (o->partitions < 1 || o->partitions > LIMIT_PARTITIONS || !o->prefix || strlen(o->prefix) > 200) {
        err_set(e, "the log wants a prefix for its topics and 1 to %d partitions", LIMIT_PARTITIONS);
        return -EINVAL;
    }
    for (size_t i = 0; i < o->property_count; i++)
        if (event_log_kafka_check(&o->properties[i], e) != 0)
            return -EINVAL;
    if (kafka_property_is_set(o, "bootstrap.servers") || kafka_property_is_set(o, "metadata.broker.list"))
        return 0;
    err_set(e, "where the brokers are is not said: set bootstrap.servers under kafka");
    return -EINVAL;
}

int event_log_open_kafka(const struct event_log_kafka_options *o, struct event_log **out, struct err *e)
{
    int r = check_options(o, e);

    if (r < 0)
        return r;
    struct kafka_log *log = new_log(o);
    r = kafka_producer_new(log, &log->producer, e);
    if (r == 0)
        r = kafka_watch_start(log, &log->watch, e);
    if (r != 0) {
        free_log(log);
        return r;
    }
    kafka_producer_run(log->producer);
    *out = &log->base;
    return 0;
}
