/* What is known of the brokers. The thread kafka-watch asks once a second how the topics stand and where their
 * partitions begin and end, says each change once in the operators' log, and tends the client that fetches. Others ask
 * on their own threads for ends that must be fresh. All through one client that reads nothing.
 *
 * An end that is lower than one heard before the question was sent has gone back: the topic was made anew or has lost
 * records, and readers must not go on as if it were the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/kafka_inside.h"
#include "common/log.h"

#define LOOK_MS 1000       /* from one look to the next, and for its answer */
#define AWAY_MS 100        /* the same while the brokers do not answer */
#define ACK_COUNTS_MS 2000 /* an ack says for so long that the brokers answer */

struct kafka_watch {
    struct kafka_log *log;
    struct kafka_client_calls calls;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic[LOG_TOPICS]; /* so that librdkafka asks for all of them at once */
    _Atomic bool looked, answered;
    _Atomic int state[LOG_TOPICS];      /* enum log_status */
    _Atomic int partitions[LOG_TOPICS]; /* that it has */
    _Atomic int error[LOG_TOPICS];      /* librdkafka's */
    _Atomic uint32_t gone[LOG_TOPICS];
    _Atomic int64_t heard;
    _Atomic uint64_t identity;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    _Atomic bool stopping;
    bool kicked, started;
    pthread_t thread;
};

/* --- topics ---------------------------------------------------------------------------------------------------------
 */

void kafka_watch_why(const struct kafka_watch *w, enum log_topic topic, struct err *e)
{
    const char *name = w->log->topic[topic];
    int error = atomic_load(&w->error[topic]), has = atomic_load(&w->partitions[topic]);

    if (!kafka_watch_reachable(w))
        err_set(e, "the brokers do not answer");
    else if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        err_set(e, "the topic %s is missing; `waymark topics create` makes it", name);
    else if (error)
        err_set(e, "the topic %s: %s", name, rd_kafka_err2str(error));
    else if (has != (int)kafka_partitions(w->log, topic))
        err_set(e, "the topic %s has %d partitions, the configuration says %u", name, has,
                kafka_partitions(w->log, topic));
    else
        err_set(e, "the topic %s is there", name);
    if (e)
        e->retriable = true;
}

static enum log_status judge(const struct kafka_watch *w, enum log_topic topic, int error, int has)
{
    uint32_t wanted = kafka_partitions(w->log, topic);

    if (error)
        return kafka_status(error);
    if (log_topic_is_single(topic) ? has < 1 : has != (int)wanted)
        return LOG_FAILED;
    return LOG_OK;
}

static void set_topic(struct kafka_watch *w, enum log_topic topic, int error, int has)
{
    enum log_status s = judge(w, topic, error, has);
    bool changed = atomic_load(&w->error[topic]) != error || atomic_load(&w->partitions[topic]) != has;
    struct err e = {0};

    if (error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && atomic_load(&w->partitions[topic]) > 0)
        atomic_fetch_add(&w->gone[topic], 1);
    atomic_store(&w->error[topic], error);
    atomic_store(&w->partitions[topic], has);
    atomic_store(&w->state[topic], s);
    if (!changed)
        return;
    kafka_watch_why(w, topic, &e);
    if (s == LOG_OK)
        log_info("kafka: %s", e.text);
    else
        log_error("kafka: %s", e.text);
}

/* An error of one partition is one of the topic: what cannot be appended to it would have to wait. */
static void take_topic(struct kafka_watch *w, const struct rd_kafka_metadata_topic *t)
{
    int error = t->err;

    for (int i = 0; i < t->partition_cnt && !error; i++)
        if (t->partitions[i].leader < 0)
            error = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    for (int i = 0; i < LOG_TOPICS; i++)
        if (strcmp(t->topic, w->log->topic[i]) == 0)
            set_topic(w, i, error, t->partition_cnt);
}

static void set_answered(struct kafka_watch *w, bool answered, const char *why)
{
    bool before = atomic_exchange(&w->answered, answered), first = !atomic_load(&w->looked);

    if (answered && (!before || first))
        log_info("kafka: the brokers answer");
    else if (!answered && (before || first))
        log_error("kafka: the brokers do not answer: %s", why);
}

/* FNV-1a */
static uint64_t mix(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return (hash ^ 0xff) * 0x100000001b3; /* so that it matters where one text ends */
}

static void look_at_cluster(struct kafka_watch *w)
{
    char *id = rd_kafka_clusterid(w->rk, 0); /* known with the metadata */

    if (!id)
        return;
    uint64_t hash = mix(mix(0xcbf29ce484222325, id), w->log->topic[LOG_EVENTS]);
    rd_kafka_mem_free(w->rk, id);
    atomic_store(&w->identity, hash ? hash : 1);
}

static void look_at_topics(struct kafka_watch *w)
{
    const struct rd_kafka_metadata *m = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(w->rk, 0, NULL, &m, LOOK_MS);

    set_answered(w, error == 0, rd_kafka_err2str(error));
    if (error)
        return;
    for (int i = 0; i < m->topic_cnt; i++)
        take_topic(w, &m->topics[i]);
    rd_kafka_metadata_destroy(m);
    if (atomic_load(&w->identity) == 0)
        look_at_cluster(w);
}

bool kafka_watch_reachable(const struct kafka_watch *w)
{
    int64_t acked = kafka_producer_acked(w->log->producer);

    return atomic_load(&w->answered) || (acked != INT64_MIN && clock_monotonic() - acked < ACK_COUNTS_MS);
}

enum log_status kafka_watch_topic(const struct kafka_watch *w, enum log_topic topic, bool *known)
{
    *known = atomic_load(&w->looked);
    if (!*known)
        return LOG_OK;
    enum log_status s = (enum log_status)atomic_load(&w->state[topic]);
    return kafka_watch_reachable(w) ? s : LOG_UNREACHABLE;
}

int kafka_watch_count(const struct kafka_watch *w, enum log_topic topic)
{
    return atomic_load(&w->partitions[topic]);
}

uint32_t kafka_watch_gone(const struct kafka_watch *w, enum log_topic topic)
{
    return atomic_load(&w->gone[topic]);
}

/* --- the group ------------------------------------------------------------------------------------------------------
 */

static bool has_member(const rd_kafka_ConsumerGroupDescription_t *group, const char *instance)
{
    size_t n = rd_kafka_ConsumerGroupDescription_member_count(group);
    bool has = false;

    for (size_t i = 0; i < n && !has; i++) {
        const char *id =
            rd_kafka_MemberDescription_group_instance_id(rd_kafka_ConsumerGroupDescription_member(group, i));

        has = id && strcmp(id, instance) == 0;
    }
    return has;
}

int kafka_watch_member(struct kafka_watch *w, const char *group, const char *instance, int64_t ms)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(w->rk);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(w->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    char text[100], id[KAFKA_GROUP_ID];
    const char *ids = id;
    int r = -EAGAIN;

    kafka_group_id(&w->log->o, group, id, sizeof(id));
    rd_kafka_AdminOptions_set_request_timeout(o, (int)ms, text, sizeof(text));
    rd_kafka_DescribeConsumerGroups(w->rk, &ids, 1, o, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)ms);
    if (event && !rd_kafka_event_error(event)) {
        size_t n = 0;
        const rd_kafka_ConsumerGroupDescription_t **groups =
            rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &n);

        if (n == 1 && !rd_kafka_ConsumerGroupDescription_error(groups[0]))
            r = has_member(groups[0], instance);
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(queue);
    return r;
}

static int read_committed(const rd_kafka_group_result_t *group, const char *topic, const uint32_t *partitions, size_t n,
                          int64_t *out)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    int r = list && !rd_kafka_group_result_error(group) ? 0 : -EAGAIN;

    for (size_t i = 0; i < n && r == 0; i++) {
        const rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_find(list, topic, (int32_t)partitions[i]);

        out[i] = p && p->offset >= 0 ? p->offset : -1;
        r = p && p->err ? -EAGAIN : 0;
    }
    return r;
}

static int take_committed(rd_kafka_event_t *event, const char *topic, const uint32_t *partitions, size_t n,
                          int64_t *out)
{
    size_t count = 0;

    if (!event || rd_kafka_event_error(event))
        return -EAGAIN;
    const rd_kafka_group_result_t **groups =
        rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
    return count == 1 ? read_committed(groups[0], topic, partitions, n, out) : -EAGAIN;
}

int kafka_watch_committed(struct kafka_watch *w, const char *group, const uint32_t *partitions, size_t n, int64_t ms,
                          int64_t *out, struct err *e)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(w->rk);
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(w->rk, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    const char *topic = w->log->topic[LOG_EVENTS];
    char text[100], id[KAFKA_GROUP_ID];

    kafka_group_id(&w->log->o, group, id, sizeof(id));
    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topic, (int32_t)partitions[i]);
    rd_kafka_AdminOptions_set_request_timeout(o, (int)ms, text, sizeof(text));
    rd_kafka_ListConsumerGroupOffsets_t *ask = rd_kafka_ListConsumerGroupOffsets_new(id, list);
    rd_kafka_ListConsumerGroupOffsets(w->rk, &ask, 1, o, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, (int)ms);
    int r = take_committed(event, topic, partitions, n, out);
    if (r != 0)
        err_set(e, "the group %s does not say how far it is", id);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ListConsumerGroupOffsets_destroy(ask);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(queue);
    return r;
}

/* --- begins and ends ------------------------------------------------------------------------------------------------
 */

/* Of several partitions of one topic, in one request to each of their brokers. `at` is what librdkafka calls the begin
 * or the end. */
static int ask_offsets(struct kafka_watch *w, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t at,
                       int64_t ms, int64_t *out, struct err *e)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t error;

    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, w->log->topic[topic], (int32_t)partitions[i])->offset = at;
    error = rd_kafka_offsets_for_times(w->rk, list, (int)ms);
    for (size_t i = 0; i < n && !error; i++) {
        const rd_kafka_topic_partition_t *p =
            rd_kafka_topic_partition_list_find(list, w->log->topic[topic], (int32_t)partitions[i]);

        assert(p);
        error = p->err ? p->err : p->offset < 0 ? RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE : 0;
        out[i] = p->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (!error)
        return 0;
    err_set(e, "%s does not say where it begins and ends: %s", w->log->topic[topic], rd_kafka_err2str(error));
    if (e)
        e->retriable = true;
    return -EAGAIN;
}

static void take_end(struct kafka_watch *w, enum log_topic topic, uint32_t partition, int64_t before, int64_t end)
{
    struct kafka_range *r = kafka_range(w->log, topic, partition);
    int64_t known = atomic_load(&r->end);

    if (end >= before) {
        while (known < end && !atomic_compare_exchange_weak(&r->end, &known, end))
            ;
        return;
    }
    log_error("kafka: the end of %s, partition %u, went back from %lld to %lld: the topic was made anew, or it has "
              "lost records",
              w->log->topic[topic], partition, (long long)before, (long long)end);
    atomic_store(&r->end, end);
    atomic_store(&r->begin, 0);
    atomic_fetch_add(&r->lost, 1);
}

int kafka_watch_ends(struct kafka_watch *w, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                     int64_t *ends, struct err *e)
{
    int64_t *before = calloc(2 * n + 1, sizeof(*before)), *found = before ? before + n : NULL;

    if (!before)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        before[i] = atomic_load(&kafka_range(w->log, topic, partitions[i])->end);
    int r = n ? ask_offsets(w, topic, partitions, n, RD_KAFKA_OFFSET_END, ms, found, e) : 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        take_end(w, topic, partitions[i], before[i], found[i]);
        ends[i] = found[i];
    }
    free(before);
    return r;
}

static int ask_begins(struct kafka_watch *w, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                      struct err *e)
{
    int64_t *found = calloc(n + 1, sizeof(*found));

    if (!found)
        return -ENOMEM;
    int r = ask_offsets(w, topic, partitions, n, RD_KAFKA_OFFSET_BEGINNING, ms, found, e);
    for (size_t i = 0; i < n && r == 0; i++)
        atomic_store(&kafka_range(w->log, topic, partitions[i])->begin, found[i]);
    free(found);
    return r;
}

int kafka_watch_range(struct kafka_watch *w, enum log_topic topic, uint32_t partition, int64_t ms, int64_t *begin,
                      int64_t *end, struct err *e)
{
    int64_t until = clock_monotonic() + ms;
    int r = ask_begins(w, topic, &partition, 1, ms, e);

    if (r == 0) {
        int64_t left = until - clock_monotonic();

        r = kafka_watch_ends(w, topic, &partition, 1, left > 0 ? left : 0, end, e);
    }
    if (r == 0)
        *begin = atomic_load(&kafka_range(w->log, topic, partition)->begin);
    return r;
}

int64_t kafka_watch_heard(const struct kafka_watch *w)
{
    return atomic_load(&w->heard);
}

uint64_t kafka_watch_identity(const struct kafka_watch *w)
{
    return atomic_load(&w->identity);
}

static bool look_at_offsets(struct kafka_watch *w, enum log_topic topic)
{
    uint32_t all[LIMIT_PARTITIONS], n = kafka_partitions(w->log, topic);
    int64_t ends[LIMIT_PARTITIONS];

    for (uint32_t i = 0; i < n; i++)
        all[i] = i;
    return atomic_load(&w->state[topic]) == LOG_OK && !atomic_load(&w->stopping) &&
           ask_begins(w, topic, all, n, LOOK_MS, NULL) == 0 &&
           kafka_watch_ends(w, topic, all, n, LOOK_MS, ends, NULL) == 0;
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static bool rest(struct kafka_watch *w)
{
    struct timespec until = cond_in(atomic_load(&w->answered) ? LOOK_MS : AWAY_MS);
    int r = 0;

    pthread_mutex_lock(&w->lock);
    while (!w->stopping && !w->kicked && r == 0)
        r = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    w->kicked = false;
    bool go_on = !w->stopping;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}

static struct kafka_fetch *fetch_of(struct kafka_log *log)
{
    pthread_mutex_lock(&log->fetch_lock);
    struct kafka_fetch *f = log->fetch;
    pthread_mutex_unlock(&log->fetch_lock);
    return f;
}

static void *watch_main(void *arg)
{
    struct kafka_watch *w = arg;

    do {
        int64_t now = clock_monotonic();
        struct kafka_fetch *f = fetch_of(w->log);

        look_at_topics(w);
        atomic_store(&w->looked, true);
        if (atomic_load(&w->answered) && look_at_offsets(w, LOG_EVENTS))
            atomic_store(&w->heard, now);
        for (enum log_topic t = LOG_BAD; t < LOG_TOPICS && atomic_load(&w->answered); t++)
            look_at_offsets(w, t);
        while (rd_kafka_poll(w->rk, 0) > 0)
            ;
        if (f)
            kafka_fetch_tend(f);
    } while (rest(w));
    return NULL;
}

void kafka_watch_kick(struct kafka_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->kicked = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int kafka_watch_start(struct kafka_log *log, struct kafka_watch **out, struct err *e)
{
    struct kafka_watch *w = calloc(1, sizeof(*w));

    if (!w)
        abort();
    w->log = log;
    w->calls.arg = w;
    w->heard = INT64_MIN;
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->cond);
    int r = kafka_client_new(&log->o, KAFKA_ASKER, NULL, &w->calls, &w->rk, e);
    if (r != 0) {
        kafka_watch_free(w);
        return r;
    }
    for (int t = 0; t < LOG_TOPICS; t++) {
        w->topic[t] = rd_kafka_topic_new(w->rk, log->topic[t], NULL);
        w->partitions[t] = -1;
    }
    if (pthread_create(&w->thread, NULL, watch_main, w) != 0)
        abort();
    pthread_setname_np(w->thread, "kafka-watch");
    w->started = true;
    *out = w;
    return 0;
}

void kafka_watch_finish(struct kafka_watch *w)
{
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void kafka_watch_stop(struct kafka_watch *w)
{
    if (!w->started)
        return;
    kafka_watch_finish(w);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void kafka_watch_free(struct kafka_watch *w)
{
    if (!w)
        return;
    assert(!w->started);
    for (int t = 0; t < LOG_TOPICS; t++)
        if (w->topic[t])
            rd_kafka_topic_destroy(w->topic[t]);
    if (!kafka_client_end(w->rk, 500))
        log_warn("kafka: a client does not end, and is left to itself");
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    free(w);
}
