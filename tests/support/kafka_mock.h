/* A log on librdkafka's mock brokers, which are made for each test. Include after, or instead of, kafka_case.h. */
#ifndef WAYMARK_KAFKA_MOCK_H
#define WAYMARK_KAFKA_MOCK_H

#include "tests/support/kafka_case.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

struct fixture {
    rd_kafka_t *rk; /* whose mock cluster it is */
    rd_kafka_mock_cluster_t *cluster;
    const char *brokers;
    struct event_log *log;
};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    char text[200];

    f->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof(text));
    assert_non_null(f->rk);
    f->cluster = rd_kafka_mock_cluster_new(f->rk, 1);
    assert_non_null(f->cluster);
    f->brokers = rd_kafka_mock_cluster_bootstraps(f->cluster);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    event_log_close(f->log);
    rd_kafka_mock_cluster_destroy(f->cluster);
    rd_kafka_destroy(f->rk);
    free(f);
    return 0;
}

static inline void make_topics(struct fixture *f, int partitions)
{
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "t.events", partitions, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "t.claims", partitions, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(f->cluster, "t.bad", 1, 1), 0);
}

static inline void open_log(struct fixture *f, int partitions)
{
    make_topics(f, partitions);
    f->log = open_kafka(f->brokers, "t.", (uint32_t)partitions, NULL);
    wait_ready(f->log);
}

static inline struct log_record record_of(const char *key, const char *value, int64_t time)
{
    return (struct log_record){.key = str_of(key), .value = str_of(value), .time = time};
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
