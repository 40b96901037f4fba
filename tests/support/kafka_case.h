/* What the tests of the Kafka log share: opening it, appending and being told, reading until there is something, and a
 * group whose partitions are watched. */
#ifndef WAYMARK_TESTS_KAFKA_CASE_H
#define WAYMARK_TESTS_KAFKA_CASE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/kafka_inside.h"
#include "common/limits.h"
#include "common/log.h"

#define WAIT_MS 60000

/* Runs `condition` again and again until it holds; fails the test after a minute. */
#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        int64_t until_ = clock_monotonic() + WAIT_MS;                                                                  \
        while (!(condition)) {                                                                                         \
            if (clock_monotonic() > until_)                                                                            \
                fail_msg("not within a minute: %s", #condition);                                                       \
            usleep(5000);                                                                                              \
        }                                                                                                              \
    } while (0)

static inline struct event_log *open_kafka(const char *brokers, const char *prefix, uint32_t partitions,
                                           const char *instance)
{
    const struct kafka_property p = {"bootstrap.servers", brokers};
    const struct event_log_kafka_options o = {
        .properties = &p, .property_count = 1, .prefix = prefix, .partitions = partitions, .instance = instance};
    struct event_log *log = NULL;
    struct err e = {0};

    if (event_log_open_kafka(&o, &log, &e) != 0)
        fail_msg("%s", e.text);
    return log;
}

static inline void wait_ready(struct event_log *log)
{
    UNTIL(event_log_ready(log) == LOG_OK);
}

static inline int64_t put(struct event_log *log, enum log_topic topic, uint32_t partition, const char *value)
{
    struct log_record r = {
        .key = STR_LIT("k"), .value = str_of(value), .placed = true, .partition = partition, .time = clock_now()};
    int64_t offset = -1;
    uint32_t where = UINT32_MAX;
    enum log_status s = event_log_append_wait(log, topic, LOG_BY_COMMAND, &r, &where, &offset);

    if (s != LOG_OK)
        fail_msg("%s", log_status_text(s));
    assert_int_equal(where, partition);
    return offset;
}

/* Counts reports, and checks that each partition's offsets go up. One struct for many appends. */
struct tally {
    _Atomic uint64_t called, acked;
    _Atomic int last_failure;
    _Atomic bool out_of_order;
    int64_t next[64]; /* of the log's thread */
};

static inline void count(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct tally *t = arg;

    if (status == LOG_OK) {
        if (offset < t->next[partition % 64])
            t->out_of_order = true;
        t->next[partition % 64] = offset + 1;
        t->acked++;
    } else {
        t->last_failure = status;
    }
    t->called++;
}

static inline struct log_reader *open_reader(struct event_log *log, enum log_topic topic, const char *name)
{
    struct log_reader *r = NULL;
    struct err e = {0};

    if (log_reader_open(log, topic, name, &r, &e) != 0)
        fail_msg("%s", e.text);
    return r;
}

/* Reads until there is something, over what may pass. */
static inline int read_some(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max)
{
    int64_t until = clock_monotonic() + WAIT_MS;
    struct err e = {0};
    int n;

    while ((n = log_reader_read(r, partition, out, max, MIB, &e)) == 0 || n == -EAGAIN) {
        if (clock_monotonic() > until)
            fail_msg("nothing to read within a minute: %s", e.text);
        log_reader_wait(r, &partition, 1, 100);
        if (n == -EAGAIN)
            usleep(20000);
    }
    if (n < 0)
        fail_msg("%d: %s", n, e.text);
    return n;
}

static inline void seek_to(struct log_reader *r, uint32_t partition, int64_t offset)
{
    int x;

    UNTIL((x = log_reader_seek(r, partition, offset)) != -EAGAIN);
    assert_int_equal(x, 0);
}

/* What a group has given and not taken again. */
struct crew {
    _Atomic int has[64];
    _Atomic int count, calls;
};

static inline void crew_given(void *arg, uint32_t partition)
{
    struct crew *c = arg;

    c->has[partition]++;
    c->count++;
    c->calls++;
}

static inline void crew_taken(void *arg, uint32_t partition)
{
    struct crew *c = arg;

    c->has[partition]--;
    c->count--;
    c->calls++;
}

static inline void join(struct event_log *log, const char *name, struct crew *c)
{
    const struct log_group_options o = {.name = name, .given = crew_given, .taken = crew_taken, .arg = c};
    struct err e = {0};

    memset(c, 0, sizeof(*c));
    if (log_group_join(log, &o, &e) != 0)
        fail_msg("%s", e.text);
}

#endif
