/* Making the topics, checking those that are there, and listing them, for commands; and how long one keeps its records.
 * On the thread of the caller, which waits. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/kafka_inside.h"
#include "common/num.h"

#define RETAIN_MS (30 * TIME_DAY)

struct work {
    const struct event_log_kafka_options *o;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int64_t until;
    void (*say)(void *arg, const char *line);
    void *arg;
    struct err *e;
};

struct topic {
    char name[256];
    enum log_topic topic;
    int partitions;
};

static int left_ms(const struct work *w)
{
    int64_t ms = w->until - clock_monotonic();

    return ms > 0 ? (int)ms : 0;
}

static void say(const struct work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct work *w, const char *format, ...)
{
    char line[512];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    w->say(w->arg, line);
}

static void name_topic(const struct event_log_kafka_options *o, enum log_topic t, struct topic *out)
{
    static const char *const names[LOG_TOPICS] = {"events", "bad", "claims", "audit", "audiences"};

    snprintf(out->name, sizeof(out->name), "%s%s", o->prefix, names[t]);
    out->topic = t;
    out->partitions = log_topic_is_single(t) ? 1 : (int)o->partitions;
}

static int open_work(struct work *w, const struct kafka_client_calls *calls)
{
    int r = kafka_client_new(w->o, KAFKA_ASKER, NULL, calls, &w->rk, w->e);

    if (r == 0)
        w->queue = rd_kafka_queue_new(w->rk);
    return r;
}

static void close_work(struct work *w)
{
    if (w->queue)
        rd_kafka_queue_destroy(w->queue);
    kafka_client_end(w->rk, 1000);
}

/* --- asking ---------------------------------------------------------------------------------------------------------
 */

/* How many partitions it has; 0: it is missing. */
static int count_partitions(const struct work *w, const struct topic *t)
{
    const struct rd_kafka_metadata *m = NULL;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(w->rk, t->name, NULL);
    rd_kafka_resp_err_t error = rd_kafka_metadata(w->rk, 0, rkt, &m, left_ms(w));
    int n = 0;

    if (!error) {
        error = m->topic_cnt == 1 ? m->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        n = error ? 0 : m->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(m);
    }
    rd_kafka_topic_destroy(rkt);
    if (!error || error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        return n;
    err_set(w->e, "%s: %s", t->name, rd_kafka_err2str(error));
    return -EAGAIN;
}

struct settings {
    int64_t retain_ms, message_bytes;
    bool compacts, deletes;
};

static void take_setting(struct settings *s, const char *name, const char *value)
{
    if (strcmp(name, "retention.ms") == 0)
        s->retain_ms = strtoll(value, NULL, 10);
    else if (strcmp(name, "max.message.bytes") == 0)
        s->message_bytes = strtoll(value, NULL, 10);
    else if (strcmp(name, "cleanup.policy") == 0) {
        s->compacts = strstr(value, "compact") != NULL;
        s->deletes = strstr(value, "delete") != NULL;
    }
}

static int take_settings(const struct work *w, rd_kafka_event_t *event, struct settings *s)
{
    size_t n = 0, entries = 0;

    if (!event || rd_kafka_event_error(event)) {
        err_set(w->e, "the settings of the topics cannot be asked: %s",
                event ? rd_kafka_event_error_string(event) : "the brokers do not answer");
        return -EAGAIN;
    }
    const rd_kafka_ConfigResource_t **list =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    if (n != 1 || rd_kafka_ConfigResource_error(list[0])) {
        err_set(w->e, "the settings of the topics cannot be asked: %s",
                n == 1 ? rd_kafka_ConfigResource_error_string(list[0]) : "no answer");
        return -EACCES;
    }
    const rd_kafka_ConfigEntry_t **entry = rd_kafka_ConfigResource_configs(list[0], &entries);
    for (size_t i = 0; i < entries; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entry[i]);

        if (value)
            take_setting(s, rd_kafka_ConfigEntry_name(entry[i]), value);
    }
    return 0;
}

static int ask_settings(const struct work *w, const struct topic *t, struct settings *s)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, t->name);

    rd_kafka_DescribeConfigs(w->rk, &resource, 1, NULL, w->queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(w->queue, left_ms(w));
    int r = take_settings(w, event, s);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy(resource);
    return r;
}

/* --- checking -------------------------------------------------------------------------------------------------------
 */

static int wrong(const struct work *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int wrong(const struct work *w, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    err_set(w->e, "%s", text);
    return -EINVAL;
}

static void warn(const struct work *w, const struct topic *t, const struct settings *s)
{
    if (t->topic == LOG_AUDIT && s->retain_ms >= 0)
        say(w, "%s: warning: retention.ms is %lld: who read and changed what is to be kept for ever, with -1", t->name,
            (long long)s->retain_ms);
    else if (t->topic != LOG_CLAIMS && s->retain_ms >= 0 && s->retain_ms < RETAIN_MS)
        say(w, "%s: warning: retention.ms is %lld, less than the 30 days within which a state can be rebuilt", t->name,
            (long long)s->retain_ms);
    if (t->topic == LOG_CLAIMS && !s->compacts)
        say(w, "%s: warning: cleanup.policy is not compact: it grows until its records are old", t->name);
}

static int check_settings(const struct work *w, const struct topic *t)
{
    struct settings s = {.retain_ms = -1, .message_bytes = -1, .deletes = true};
    int r = ask_settings(w, t, &s);

    if (r != 0)
        return r;
    if (t->topic != LOG_CLAIMS && s.compacts)
        return wrong(w, "%s: cleanup.policy is compact, by which events of one person are lost; it must be delete",
                     t->name);
    if (s.message_bytes >= 0 && s.message_bytes < (int64_t)LIMIT_KAFKA_TOPIC_BYTES)
        return wrong(w, "%s: max.message.bytes is %lld, but an event may need %zu", t->name, (long long)s.message_bytes,
                     (size_t)LIMIT_KAFKA_TOPIC_BYTES);
    warn(w, t, &s);
    return 0;
}

static int check(const struct work *w, const struct topic *t, int has)
{
    if (has != t->partitions)
        return wrong(w, "%s has %d partitions, the configuration says %d", t->name, has, t->partitions);
    say(w, "%s: is there, %d partition%s", t->name, has, has == 1 ? "" : "s");
    return check_settings(w, t);
}

/* --- making ---------------------------------------------------------------------------------------------------------
 */

static void set(rd_kafka_NewTopic_t *t, const char *name, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    rd_kafka_NewTopic_set_config(t, name, text);
}

/* The brokers' clock dates the records: one collector's wrong clock must not make retention drop what is fresh. */
static rd_kafka_NewTopic_t *describe(const struct topic *t, int replicas, char *text, size_t size)
{
    rd_kafka_NewTopic_t *n = rd_kafka_NewTopic_new(t->name, t->partitions, replicas > 0 ? replicas : -1, text, size);

    if (!n)
        return NULL;
    set(n, "max.message.bytes", (int64_t)LIMIT_KAFKA_TOPIC_BYTES);
    rd_kafka_NewTopic_set_config(n, "message.timestamp.type", "LogAppendTime");
    rd_kafka_NewTopic_set_config(n, "compression.type", "producer");
    rd_kafka_NewTopic_set_config(n, "unclean.leader.election.enable", "false");
    if (replicas > 0)
        set(n, "min.insync.replicas", replicas >= 3 ? 2 : 1);
    rd_kafka_NewTopic_set_config(n, "cleanup.policy", t->topic == LOG_CLAIMS ? "compact" : "delete");
    if (t->topic != LOG_CLAIMS)
        set(n, "retention.ms", t->topic == LOG_AUDIT ? -1 : RETAIN_MS);
    return n;
}

/* `there`: it was there all the same: somebody was faster, or the brokers had not heard of it yet. */
static int take_created(const struct work *w, const struct topic *t, rd_kafka_event_t *event, bool *there)
{
    size_t n = 0;

    if (!event || rd_kafka_event_error(event)) {
        err_set(w->e, "%s cannot be made: %s", t->name,
                event ? rd_kafka_event_error_string(event) : "the brokers do not answer");
        return -EAGAIN;
    }
    const rd_kafka_topic_result_t **list =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    *there = n == 1 && rd_kafka_topic_result_error(list[0]) == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    if (n == 1 && !*there && rd_kafka_topic_result_error(list[0])) {
        const char *why = rd_kafka_topic_result_error_string(list[0]);

        return wrong(w, "%s cannot be made: %s", t->name,
                     why ? why : rd_kafka_err2str(rd_kafka_topic_result_error(list[0])));
    }
    return 0;
}

/* The brokers hear of a topic a moment after it was made; whoever is told of it should find it. */
static int wait_made(const struct work *w, const struct topic *t, bool there)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    int has;

    while ((has = count_partitions(w, t)) == 0 && left_ms(w) > 0)
        nanosleep(&pause, NULL);
    if (has < 0)
        return has;
    if (there)
        return check(w, t, has);
    if (has != t->partitions)
        return wrong(w, "%s has %d partitions after it was made with %d", t->name, has, t->partitions);
    say(w, "%s: made, %d partition%s", t->name, t->partitions, t->partitions == 1 ? "" : "s");
    return 0;
}

static int make(const struct work *w, const struct topic *t, int replicas)
{
    char text[200] = "";
    bool there = false;
    rd_kafka_NewTopic_t *new = describe(t, replicas, text, sizeof(text));
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(w->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);

    if (!new) {
        rd_kafka_AdminOptions_destroy(o);
        return wrong(w, "%s cannot be made: %s", t->name, text);
    }
    rd_kafka_AdminOptions_set_operation_timeout(o, left_ms(w), text, sizeof(text));
    rd_kafka_CreateTopics(w->rk, &new, 1, o, w->queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(w->queue, left_ms(w));
    int r = take_created(w, t, event, &there);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_NewTopic_destroy(new);
    return r == 0 ? wait_made(w, t, there) : r;
}

int event_log_kafka_create(const struct event_log_kafka_options *o, int replicas, int64_t ms,
                           void (*tell)(void *arg, const char *line), void *arg, struct err *e)
{
    const struct kafka_client_calls calls = {0};
    struct work w = {.o = o, .until = clock_monotonic() + ms, .say = tell, .arg = arg, .e = e};
    int r = open_work(&w, &calls);

    for (enum log_topic i = 0; i < LOG_TOPICS && r == 0; i++) {
        struct topic t;

        name_topic(o, i, &t);
        int has = count_partitions(&w, &t);
        r = has < 0 ? has : has > 0 ? check(&w, &t, has) : make(&w, &t, replicas);
    }
    close_work(&w);
    return r;
}

/* --- retention ------------------------------------------------------------------------------------------------------
 */

int kafka_ask_retention(const struct event_log_kafka_options *o, enum log_topic topic, int64_t ms, int64_t *out,
                        struct err *e)
{
    const struct kafka_client_calls calls = {0};
    struct work w = {.o = o, .until = clock_monotonic() + ms, .e = e};
    struct settings s = {.retain_ms = -1, .deletes = true};
    struct topic t;
    int r = open_work(&w, &calls);

    name_topic(o, topic, &t);
    if (r == 0)
        r = ask_settings(&w, &t, &s);
    close_work(&w);
    if (r == 0)
        *out = s.deletes && s.retain_ms > 0 ? s.retain_ms : 0;
    return r;
}

/* --- listing --------------------------------------------------------------------------------------------------------
 */

static int ask(const struct work *w, const struct topic *t, int has, int64_t at, rd_kafka_topic_partition_list_t **out)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(has);

    for (int i = 0; i < has; i++)
        rd_kafka_topic_partition_list_add(list, t->name, i)->offset = at;
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(w->rk, list, left_ms(w));
    for (int i = 0; i < list->cnt && !error; i++)
        error = list->elems[i].err;
    if (error) {
        rd_kafka_topic_partition_list_destroy(list);
        err_set(w->e, "%s: %s", t->name, rd_kafka_err2str(error));
        return -EAGAIN;
    }
    *out = list;
    return 0;
}

static int list_topic(const struct work *w, const struct topic *t, int has)
{
    rd_kafka_topic_partition_list_t *begins = NULL, *ends = NULL;

    if (has == 0) {
        say(w, "%s: missing", t->name);
        return 0;
    }
    int r = ask(w, t, has, RD_KAFKA_OFFSET_BEGINNING, &begins);
    if (r == 0)
        r = ask(w, t, has, RD_KAFKA_OFFSET_END, &ends);
    for (int i = 0; i < has && r == 0; i++) {
        const rd_kafka_topic_partition_t *b = rd_kafka_topic_partition_list_find(begins, t->name, i);
        const rd_kafka_topic_partition_t *z = rd_kafka_topic_partition_list_find(ends, t->name, i);

        say(w, "%s  partition %d  begin %lld  end %lld", t->name, i, (long long)b->offset, (long long)z->offset);
    }
    if (begins)
        rd_kafka_topic_partition_list_destroy(begins);
    if (ends)
        rd_kafka_topic_partition_list_destroy(ends);
    return r;
}

int event_log_kafka_list(const struct event_log_kafka_options *o, int64_t ms, void (*tell)(void *arg, const char *line),
                         void *arg, struct err *e)
{
    const struct kafka_client_calls calls = {0};
    struct work w = {.o = o, .until = clock_monotonic() + ms, .say = tell, .arg = arg, .e = e};
    int r = open_work(&w, &calls);

    for (enum log_topic i = 0; i < LOG_TOPICS && r == 0; i++) {
        struct topic t;

        name_topic(o, i, &t);
        int has = count_partitions(&w, &t);
        r = has < 0 ? has : list_topic(&w, &t, has);
    }
    close_work(&w);
    return r;
}
