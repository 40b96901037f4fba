/* A real Kafka for the tests of the log on it: WAYMARK_KAFKA is its address; without it the tests are skipped. */
#ifndef WAYMARK_TESTS_KAFKA_REAL_H
#define WAYMARK_TESTS_KAFKA_REAL_H

#include <librdkafka/rdkafka.h>

#include "tests/support/kafka_case.h"

struct fixture {
    const char *brokers;
    char prefix[64];
    char events[80];
    rd_kafka_t *admin;
    struct event_log *log, *other;
};

static char said[8][300];
static int lines;

static inline void hear(void *arg, const char *line)
{
    (void)arg;
    if (lines < 8)
        snprintf(said[lines++], sizeof(said[0]), "%s", line);
}

static inline int create(struct fixture *f, uint32_t partitions, struct err *e)
{
    const struct kafka_property p = {"bootstrap.servers", f->brokers};
    const struct event_log_kafka_options o = {
        .properties = &p, .property_count = 1, .prefix = f->prefix, .partitions = partitions};

    lines = 0;
    return event_log_kafka_create(&o, 1, WAIT_MS, hear, NULL, e);
}

static inline void must_create(struct fixture *f, uint32_t partitions)
{
    struct err e = {0};

    if (create(f, partitions, &e) != 0)
        fail_msg("%s", e.text);
}

static inline int set_up(void **state)
{
    static int number;
    const char *brokers = getenv("WAYMARK_KAFKA");
    struct fixture *f = calloc(1, sizeof(*f));
    char text[200];

    *state = f;
    if (!brokers)
        return 0;
    f->brokers = brokers;
    snprintf(f->prefix, sizeof(f->prefix), "c%d-%d.", (int)getpid(), number++);
    snprintf(f->events, sizeof(f->events), "%sevents", f->prefix);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text));
    rd_kafka_conf_set(conf, "log_level", "0", text, sizeof(text));
    f->admin = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    return f->admin ? 0 : -1;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    event_log_close(f->log);
    event_log_close(f->other);
    if (f->admin)
        rd_kafka_destroy(f->admin);
    free(f);
    return 0;
}

static inline bool absent(struct fixture *f)
{
    if (f->brokers)
        return false;
    print_message("skipped: WAYMARK_KAFKA does not say where a Kafka is\n");
    return true;
}

/* cmocka's skip() does not return. */
#define NEEDS_KAFKA(f)                                                                                                 \
    do {                                                                                                               \
        if (absent(f))                                                                                                 \
            skip();                                                                                                    \
    } while (0)

static inline void open_log(struct fixture *f, uint32_t partitions, const char *instance)
{
    must_create(f, partitions);
    f->log = open_kafka(f->brokers, f->prefix, partitions, instance);
    wait_ready(f->log);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
