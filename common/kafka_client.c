/* A client of librdkafka: its properties, its log lines, its end. Whoever polls a client runs what it calls. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/kafka_inside.h"
#include "common/log.h"

/* --- properties -----------------------------------------------------------------------------------------------------
 */

/* What Waymark decides itself, and why. */
static const struct {
    const char *name, *why;
} decided[] = {
    {"acks", "an answer promises that every in-sync replica has the event"},
    {"request.required.acks", "an answer promises that every in-sync replica has the event"},
    {"enable.idempotence", "without it a retry could reorder what was appended"},
    {"enable.gapless.guarantee", "one event that cannot be written must not stop the others"},
    {"retries", "message.timeout.ms bounds them, which is fixed"},
    {"message.send.max.retries", "message.timeout.ms bounds them, which is fixed"},
    {"message.timeout.ms", "the fate of every event must be known within it"},
    {"delivery.timeout.ms", "the fate of every event must be known within it"},
    {"message.max.bytes", "every event that is taken must fit"},
    {"queue.buffering.max.messages", "what may wait is bounded by Waymark"},
    {"queue.buffering.max.kbytes", "what may wait is bounded by Waymark"},
    {"delivery.report.only.error", "every event is reported"},
    {"transactional.id", "Waymark writes without transactions"},
    {"partitioner", "a key's partition is murmur2's, in all of Waymark"},
    {"client.id", "it is the setting `instance`"},
    {"group.instance.id", "it is the setting `instance`"},
    {"group.protocol.type", "it must be `consumer`"},
    {"partition.assignment.strategy", "all profilers of a group must use cooperative-sticky"},
    {"enable.auto.commit", "the place on the log is kept with the state"},
    {"auto.commit.enable", "the place on the log is kept with the state"},
    {"enable.auto.offset.store", "the place on the log is kept with the state"},
    {"auto.offset.reset", "a place that is not on the log must be an error, never a jump"},
    {"enable.partition.eof", "Waymark asks for the end itself"},
    {"isolation.level", "Waymark reads up to the high watermark"},
    {"check.crcs", "damage must be seen"},
    {"log.queue", "log lines come on Waymark's threads"},
};

static const char *why_decided(const char *name)
{
    for (size_t i = 0; i < sizeof(decided) / sizeof(*decided); i++)
        if (strcmp(decided[i].name, name) == 0)
            return decided[i].why;
    return NULL;
}

int event_log_kafka_check(const struct kafka_property *p, struct err *e)
{
    const char *why = why_decided(p->name);
    char text[200] = "";

    if (why) {
        err_set(e, "%s is not for the configuration: %s; leave it out", p->name, why);
        return -EINVAL;
    }
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_res_t r = rd_kafka_conf_set(conf, p->name, p->value, text, sizeof(text));
    rd_kafka_conf_destroy(conf);
    if (r == RD_KAFKA_CONF_OK)
        return 0;
    if (r == RD_KAFKA_CONF_UNKNOWN)
        err_set(e, "%s is no property of librdkafka: see the list in its CONFIGURATION.md", p->name);
    else
        err_set(e, "%s: %s", p->name, text);
    return -EINVAL;
}

bool kafka_property_is_set(const struct event_log_kafka_options *o, const char *name)
{
    for (size_t i = 0; i < o->property_count; i++)
        if (strcmp(o->properties[i].name, name) == 0)
            return true;
    return false;
}

void kafka_group_id(const struct event_log_kafka_options *o, const char *group, char *out, size_t size)
{
    snprintf(out, size, "%s%s", o->prefix, group);
    for (size_t i = 0; i < o->property_count; i++)
        if (strcmp(o->properties[i].name, "group.id") == 0)
            snprintf(out, size, "%s", o->properties[i].value);
}

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *e)
{
    char text[200] = "";

    if (rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK)
        return 0;
    err_set(e, "%s", text);
    return -EINVAL;
}

static int set_number(rd_kafka_conf_t *conf, const char *name, int64_t value, struct err *e)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return set(conf, name, text, e);
}

struct property {
    const char *name, *value;
};

static int set_all(rd_kafka_conf_t *conf, const struct property *list, struct err *e)
{
    for (; list->name; list++)
        if (set(conf, list->name, list->value, e) != 0)
            return -EINVAL;
    return 0;
}

/* Brokers that come back are found within a second, and connections that only look alive are given up. */
static const struct property defaults[] = {{"reconnect.backoff.ms", "50"},
                                           {"reconnect.backoff.max.ms", "1000"},
                                           {"socket.timeout.ms", "6000"},
                                           {"socket.connection.setup.timeout.ms", "5000"},
                                           {"socket.keepalive.enable", "true"},
                                           {"socket.nagle.disable", "true"},
                                           {"log.connection.close", "false"},
                                           {"topic.metadata.refresh.interval.ms", "10000"},
                                           {NULL, NULL}};
static const struct property producer_defaults[] = {
    {"linger.ms", "5"}, {"compression.codec", "lz4"}, {"request.timeout.ms", "5000"}, {NULL, NULL}};
static const struct property producer_fixed[] = {{"enable.idempotence", "true"}, {"acks", "all"}, {NULL, NULL}};
static const struct property consumer_defaults[] = {{"fetch.wait.max.ms", "200"},
                                                    {"fetch.error.backoff.ms", "100"},
                                                    {"session.timeout.ms", "10000"},
                                                    {"heartbeat.interval.ms", "1000"},
                                                    {NULL, NULL}};
static const struct property consumer_fixed[] = {{"enable.auto.commit", "false"},
                                                 {"enable.auto.offset.store", "false"},
                                                 {"auto.offset.reset", "error"},
                                                 {"isolation.level", "read_uncommitted"},
                                                 {"check.crcs", "true"},
                                                 {"partition.assignment.strategy", "cooperative-sticky"},
                                                 {NULL, NULL}};

static int set_producer(rd_kafka_conf_t *conf, struct err *e)
{
    int64_t kib = (int64_t)((LIMIT_LOG_QUEUE_BYTES + LIMIT_LOG_QUEUE_OWN) / KIB);
    int r = set_all(conf, producer_fixed, e);

    /* Ours is the bound; these only have to lie beyond it. */
    if (r == 0)
        r = set_number(conf, "queue.buffering.max.kbytes", 4 * kib, e);
    if (r == 0)
        r = set_number(conf, "queue.buffering.max.messages", 4 * LIMIT_LOG_QUEUE_RECORDS, e);
    if (r == 0)
        r = set_number(conf, "message.timeout.ms", LIMIT_KAFKA_MS, e);
    return r;
}

/* Each partition that is read has its share of what may be fetched ahead. */
static int set_fetching(rd_kafka_conf_t *conf, const struct event_log_kafka_options *o, enum kafka_role role,
                        struct err *e)
{
    size_t share = (role == KAFKA_FETCHER ? LIMIT_KAFKA_AHEAD_BYTES : LIMIT_KAFKA_PEEK_BYTES) / o->partitions;
    size_t most = role == KAFKA_FETCHER ? 16 * MIB : MIB;
    int r;

    share = share > most ? most : share < 128 * KIB ? 128 * KIB : share;
    r = set_number(conf, "queued.max.messages.kbytes", (int64_t)(share / KIB), e);
    if (r == 0)
        r = set_number(conf, "fetch.message.max.bytes", (int64_t)(share > MIB ? MIB : share), e);
    return r;
}

/* A member reads nothing: what it may fetch before its partitions are paused is as good as nothing. */
static int set_member(rd_kafka_conf_t *conf, const struct event_log_kafka_options *o, const char *group, struct err *e)
{
    static const struct property list[] = {
        {"queued.min.messages", "1"}, {"queued.max.messages.kbytes", "1"}, {"fetch.message.max.bytes", "1"}, {0}};
    char id[KAFKA_GROUP_ID];
    int r = set_all(conf, list, e);

    kafka_group_id(o, group, id, sizeof(id));
    if (r == 0)
        r = set(conf, "group.id", id, e);
    if (r == 0 && o->instance)
        r = set(conf, "group.instance.id", o->instance, e);
    return r;
}

static int set_users(rd_kafka_conf_t *conf, const struct event_log_kafka_options *o, enum kafka_role role,
                     struct err *e)
{
    for (size_t i = 0; i < o->property_count; i++) {
        const char *name = o->properties[i].name;

        /* Another client with the group's name would look for its coordinator. */
        if (strcmp(name, "group.id") == 0 && role != KAFKA_MEMBER)
            continue;
        if (set(conf, name, o->properties[i].value, e) != 0)
            return -EINVAL;
    }
    return 0;
}

static int set_properties(rd_kafka_conf_t *conf, const struct event_log_kafka_options *o, enum kafka_role role,
                          const char *group, struct err *e)
{
    int r = set_all(conf, defaults, e);

    if (r == 0)
        r = set_all(conf, role == KAFKA_PRODUCER ? producer_defaults : consumer_defaults, e);
    if (r == 0 && (role == KAFKA_FETCHER || role == KAFKA_PEEKER))
        r = set_fetching(conf, o, role, e);
    if (r == 0)
        r = set_users(conf, o, role, e);
    if (r == 0)
        r = set_number(conf, "message.max.bytes", LIMIT_KAFKA_MESSAGE_BYTES, e);
    if (r == 0 && o->instance)
        r = set(conf, "client.id", o->instance, e);
    if (r == 0)
        r = role == KAFKA_PRODUCER ? set_producer(conf, e) : set_all(conf, consumer_fixed, e);
    if (r == 0 && role == KAFKA_MEMBER)
        r = set_member(conf, o, group, e);
    if (r == 0)
        r = set(conf, "log.queue", "true", e);
    if (r == 0 && role == KAFKA_PEEKER) /* the others say it already, and nobody may be polling this one */
        r = set(conf, "log_level", "0", e);
    return r;
}

/* --- log lines ------------------------------------------------------------------------------------------------------
 */

static void take_line(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    static struct log_limit warnings, infos;

    (void)rk;
    if (strcmp(facility, "CONFWARN") == 0) /* properties are given to all clients, whatever their role */
        return;
    if (level >= 7) /* only where the property `debug` asks for it */
        log_info("kafka: %s: %s", facility, text);
    else if (level >= 5)
        log_limited(&infos, LOG_INFO, "kafka: %s: %s", facility, text);
    else
        log_limited(&warnings, LOG_WARN, "kafka: %s: %s", facility, text);
}

/* --- life ------------------------------------------------------------------------------------------------------------
 */

/* The opaque of librdkafka must hold the calls, since its callbacks have one argument; so they live as long. */
static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    const struct kafka_client_calls *c = opaque;

    c->report(rk, m, c->arg);
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    const struct kafka_client_calls *c = opaque;

    if (c->trouble)
        c->trouble(rk, error, reason, c->arg);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    const struct kafka_client_calls *c = opaque;

    c->rebalance(rk, error, list, c->arg);
}

int kafka_client_new(const struct event_log_kafka_options *o, enum kafka_role role, const char *group,
                     const struct kafka_client_calls *calls, rd_kafka_t **out, struct err *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[200] = "";
    int r = set_properties(conf, o, role, group, e);

    if (r != 0) {
        rd_kafka_conf_destroy(conf);
        return r;
    }
    rd_kafka_conf_set_opaque(conf, (void *)calls);
    rd_kafka_conf_set_log_cb(conf, take_line);
    rd_kafka_conf_set_error_cb(conf, on_error);
    if (calls->report)
        rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    if (calls->rebalance)
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_t *rk =
        rd_kafka_new(role == KAFKA_PRODUCER ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        err_set(e, "%s", text);
        return -EINVAL;
    }
    rd_kafka_set_log_queue(rk, NULL);
    *out = rk;
    return 0;
}

/* What the thread that ends a client shares with whom waits; the last one frees it. */
struct ending {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    rd_kafka_t *rk;
    bool over, left_alone;
};

static void ending_free(struct ending *x)
{
    pthread_mutex_destroy(&x->lock);
    pthread_cond_destroy(&x->cond);
    free(x);
}

static void *end_client(void *arg)
{
    struct ending *x = arg;

    rd_kafka_destroy_flags(x->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    pthread_mutex_lock(&x->lock);
    x->over = true;
    pthread_cond_signal(&x->cond);
    bool mine = x->left_alone;
    pthread_mutex_unlock(&x->lock);
    if (mine)
        ending_free(x);
    return NULL;
}

bool kafka_client_end(rd_kafka_t *rk, int64_t ms)
{
    struct ending *x = rk ? calloc(1, sizeof(*x)) : NULL;
    struct timespec until = cond_in(ms);
    pthread_t thread;
    int r = 0;

    if (!rk)
        return true;
    if (!x)
        abort();
    x->rk = rk;
    pthread_mutex_init(&x->lock, NULL);
    cond_init(&x->cond);
    if (pthread_create(&thread, NULL, end_client, x) != 0) { /* here it could hang for ever */
        ending_free(x);
        return false;
    }
    pthread_detach(thread);
    pthread_mutex_lock(&x->lock);
    while (!x->over && r == 0)
        r = pthread_cond_timedwait(&x->cond, &x->lock, &until);
    bool over = x->over;
    x->left_alone = !over;
    pthread_mutex_unlock(&x->lock);
    if (over)
        ending_free(x);
    return over;
}

enum log_status kafka_status(int error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return LOG_OK;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
        return LOG_QUEUE_FULL;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
        return LOG_TOO_LARGE;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return LOG_UNREACHABLE;
    default:
        return LOG_FAILED;
    }
}
