/* What the tests of the embedded log share: a log in a temporary folder, appending and being told, and reading. */
#ifndef WAYMARK_TESTS_LOG_CASE_H
#define WAYMARK_TESTS_LOG_CASE_H

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
#include "common/event_log_local.h"
#include "common/limits.h"

#define WAIT_MS 60000

struct fixture {
    char folder[64];
    struct event_log *log;
};

static inline struct event_log *open_log(const char *folder, uint32_t partitions, int64_t retain_ms,
                                         uint64_t retain_bytes)
{
    struct event_log_options o = {
        .path = folder, .partitions = partitions, .retain_ms = retain_ms, .retain_bytes = retain_bytes};
    struct event_log *log = NULL;
    struct err e = {0};

    if (event_log_open_local(&o, &log, &e) != 0)
        fail_msg("%s", e.text);
    return log;
}

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->folder, "/tmp/waymark-log-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;
    char command[128];

    event_log_close(f->log);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static inline void reopen(struct fixture *f, uint32_t partitions, int64_t retain_ms, uint64_t retain_bytes)
{
    event_log_close(f->log);
    f->log = open_log(f->folder, partitions, retain_ms, retain_bytes);
}

static inline struct log_record record_of(const char *key, const char *value, int64_t time)
{
    return (struct log_record){.key = str_of(key), .value = str_of(value), .time = time};
}

static inline int64_t put(struct event_log *log, const char *key, const char *value, int64_t time)
{
    struct log_record r = record_of(key, value, time);
    int64_t offset = -1;

    assert_int_equal(event_log_append_wait(log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, &offset), LOG_OK);
    return offset;
}

static inline int read_some(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max)
{
    struct err e = {0};
    int n = log_reader_read(r, partition, out, max, MIB, &e);

    if (n < 0)
        fail_msg("%s", e.text);
    return n;
}

static inline struct log_reader *open_reader(struct event_log *log, const char *name)
{
    struct log_reader *r = NULL;
    struct err e = {0};

    if (log_reader_open(log, LOG_EVENTS, name, &r, &e) != 0)
        fail_msg("%s", e.text);
    return r;
}

/* Counts reports, and checks that each partition's offsets go up by one. */
struct tally {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int64_t next[LIMIT_PARTITIONS];
    uint64_t called;
    bool out_of_order;
    bool failed;
};

static inline void count_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct tally *t = arg;

    pthread_mutex_lock(&t->lock);
    t->called++;
    if (status != LOG_OK)
        t->failed = true;
    else if (offset != t->next[partition]++)
        t->out_of_order = true;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

static inline uint64_t called(struct tally *t)
{
    pthread_mutex_lock(&t->lock);
    uint64_t n = t->called;
    pthread_mutex_unlock(&t->lock);
    return n;
}

static inline void wait_called(struct tally *t, uint64_t n)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&t->lock);
    while (t->called < n)
        if (pthread_cond_timedwait(&t->cond, &t->lock, &until) == ETIMEDOUT)
            break;
    assert_int_equal(t->called, n);
    pthread_mutex_unlock(&t->lock);
}

/* Appends many without waiting for each. */
static inline void fill(struct event_log *log, int n, size_t size, int64_t time)
{
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    char *value = malloc(size), key[16];
    void *arg = &t;

    for (size_t i = 0; i < size; i++)
        value[i] = (char)(rand() % 256); /* does not compress */
    for (int i = 0; i < n; i++) {
        struct log_record r = {.value = {value, size}, .time = time + i};

        snprintf(key, sizeof(key), "key-%d", i);
        r.key = str_of(key);
        if ((uint64_t)i - called(&t) > 30 * MIB / size)
            wait_called(&t, (uint64_t)i);
        assert_int_equal(event_log_append(log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count_done, &arg), LOG_OK);
    }
    wait_called(&t, (uint64_t)n);
    free(value);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
