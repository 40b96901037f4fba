/* What librdkafka does with the records of a topic when nobody does anything with them: reads them all into memory,
 * then produces the same keys and values into another topic, as the collector does: idempotent, acked by all, lz4. The
 * baselines of bench_kafka.py.
 *
 *   bench_kafka BROKER TOPIC SCRATCH-TOPIC RECORDS
 *
 * Prints a line for each: name, records, seconds. One thread, beside librdkafka's own. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PATIENCE_MS 30000

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_kafka: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *const *properties)
{
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    for (; *properties; properties += 2)
        if (rd_kafka_conf_set(conf, properties[0], properties[1], error, sizeof error) != RD_KAFKA_CONF_OK)
            die(properties[0], error);
    rd_kafka_t *rk = rd_kafka_new(type, conf, error, sizeof error);
    if (!rk)
        die("a client", error);
    return rk;
}

static rd_kafka_topic_partition_list_t *all_partitions(rd_kafka_t *rk, const char *topic)
{
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    const struct rd_kafka_metadata *m;

    if (rd_kafka_metadata(rk, 0, t, &m, PATIENCE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR || m->topic_cnt != 1)
        die(topic, "no metadata");
    for (int i = 0; i < m->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_metadata_destroy(m);
    rd_kafka_topic_destroy(t);
    return list;
}

static rd_kafka_message_t **consume(const char *broker, const char *topic, size_t n)
{
    const char *const properties[] = {"bootstrap.servers",  broker,  "group.id", "bench",
                                      "enable.auto.commit", "false", NULL};
    rd_kafka_message_t **messages = calloc(n, sizeof(rd_kafka_message_t *));
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, properties);
    rd_kafka_topic_partition_list_t *list = all_partitions(rk, topic);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    double start = 0;

    if (!messages)
        die(topic, "out of memory");
    rd_kafka_assign(rk, list);
    for (size_t got = 0; got < n;) {
        ssize_t some =
            rd_kafka_consume_batch_queue(queue, PATIENCE_MS, messages + got, n - got < 1024 ? n - got : 1024);
        if (some <= 0)
            die(topic, "ended early");
        if (start == 0)
            start = seconds();
        for (size_t end = got + (size_t)some; got < end; got++)
            if (messages[got]->err)
                die(topic, rd_kafka_message_errstr(messages[got]));
    }
    printf("consume %zu %.3f\n", n, seconds() - start);
    rd_kafka_topic_partition_list_destroy(list);
    return messages;
}

static void count_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *left)
{
    (void)rk;
    if (m->err)
        die("produce", rd_kafka_err2str(m->err));
    --*(size_t *)left;
}

static void produce(const char *broker, const char *topic, rd_kafka_message_t *const *messages, size_t n)
{
    char error[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    const char *const properties[] = {"bootstrap.servers",
                                      broker,
                                      "enable.idempotence",
                                      "true",
                                      "acks",
                                      "all",
                                      "compression.type",
                                      "lz4",
                                      "linger.ms",
                                      "5",
                                      "queue.buffering.max.messages",
                                      "1000000",
                                      NULL};
    size_t left = n;

    for (const char *const *p = properties; *p; p += 2)
        if (rd_kafka_conf_set(conf, p[0], p[1], error, sizeof error) != RD_KAFKA_CONF_OK)
            die(p[0], error);
    rd_kafka_conf_set_dr_msg_cb(conf, count_report);
    rd_kafka_conf_set_opaque(conf, &left);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!rk)
        die("a producer", error);
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    double start = seconds();
    for (size_t i = 0; i < n; i++) {
        while (rd_kafka_produce(t, messages[i]->partition, RD_KAFKA_MSG_F_COPY, messages[i]->payload, messages[i]->len,
                                messages[i]->key, messages[i]->key_len, NULL) != 0) {
            if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                die(topic, rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_poll(rk, 10);
        }
        if (i % 256 == 0)
            rd_kafka_poll(rk, 0);
    }
    while (left > 0)
        rd_kafka_poll(rk, 100);
    printf("produce %zu %.3f\n", n, seconds() - start);
    rd_kafka_topic_destroy(t);
    rd_kafka_destroy(rk);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        die("usage", "bench_kafka BROKER TOPIC SCRATCH-TOPIC RECORDS");
    size_t n = strtoul(argv[4], NULL, 10);
    rd_kafka_message_t **messages = consume(argv[1], argv[2], n);

    produce(argv[1], argv[3], messages, n);
    fflush(stdout);
    _Exit(0); /* the messages belong to the consumer; the system takes all of it back */
}
