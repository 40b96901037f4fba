/* Reading the log on Kafka, against librdkafka's mock brokers: the group and its readers, places, bounds, waiting, and
 * what is asked of the log. What only a real Kafka does is in test_event_log_kafka_real.c. */
#include "tests/support/kafka_mock.h"

#include "common/kafka_fetch.h"

static void test_group_gives_and_reads(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    static struct crew c; /* of the log's thread, also when this test fails */
    struct err e = {0};

    open_log(f, 3);
    for (int i = 0; i < 20; i++)
        put(f->log, LOG_EVENTS, (uint32_t)i % 2, "v");
    join(f->log, "crew", &c);
    struct log_reader *a = open_reader(f->log, LOG_EVENTS, "crew"), *b = open_reader(f->log, LOG_EVENTS, "crew");
    struct log_reader *other = NULL;
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "others", &other, &e), -EINVAL);
    UNTIL(c.count == 3);
    assert_int_equal(log_reader_read(a, 0, out, 10, MIB, &e), -EAGAIN); /* nobody sought it */
    assert_int_equal(log_reader_seek(a, 0, 11), LOG_READ_GAP);
    assert_int_equal(log_reader_seek(a, 0, -1), LOG_READ_GAP);
    seek_to(a, 0, 4);
    seek_to(b, 1, 10);
    int got = 0;
    while (got < 6) {
        int n = read_some(a, 0, out, 10);
        assert_int_equal(out[0].offset, 4 + got);
        got += n;
    }
    assert_int_equal(log_reader_read(b, 1, out, 10, MIB, &e), 0); /* the end */
    assert_int_equal(put(f->log, LOG_EVENTS, 1, "last"), 10);
    assert_int_equal(read_some(b, 1, out, 10), 1);
    assert_true(str_is(out[0].value, "last"));
    /* The other takes it over, and the first is told. */
    seek_to(b, 0, 0);
    assert_int_equal(log_reader_read(a, 0, out, 10, MIB, &e), -EAGAIN);
    assert_true(read_some(b, 0, out, 10) > 0);
    assert_int_equal(out[0].offset, 0);
    assert_int_equal(log_reader_commit(a, 0, 7, &e), 0);
    log_reader_close(a);
    log_reader_close(b);
    log_group_leave(f->log, true, 3000);
    assert_int_equal(c.count, 0);
    int calls = c.calls;
    put(f->log, LOG_EVENTS, 1, "after");
    assert_int_equal(c.calls, calls);
}

/* What is not wanted is not fetched: the member of the group is paused, and a partition is fetched when it is sought.
 */
static void test_nothing_is_fetched_that_nobody_sought(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    static struct crew c; /* of the log's thread, also when this test fails */

    open_log(f, 2);
    for (int i = 0; i < 10; i++)
        put(f->log, LOG_EVENTS, (uint32_t)i % 2, "v");
    join(f->log, "crew", &c);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, "crew");
    UNTIL(c.count == 2);
    seek_to(r, 0, 0);
    assert_true(read_some(r, 0, out, 10) > 0);
    assert_null(kafka_log(f->log)->fetch->place[1].queue);
    log_reader_close(r);
    assert_null(kafka_log(f->log)->fetch->place[0].queue);
}

/* A topic that was missing for a while and is the same again: reading goes on, with nothing told twice or left out. */
static void test_topic_comes_back(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};

    open_log(f, 1);
    for (int i = 0; i < 3; i++)
        put(f->log, LOG_EVENTS, 0, "v");
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int64_t next = 0; next < 3;)
        next += read_some(r, 0, out, 10);
    for (int round = 0; round < 2; round++) {
        rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        UNTIL(event_log_ready(f->log) == LOG_UNREACHABLE);
        rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_NO_ERROR);
        wait_ready(f->log);
        int64_t offset = put(f->log, LOG_EVENTS, 0, "more");
        assert_int_equal(read_some(r, 0, out, 10), 1);
        assert_int_equal(out[0].offset, offset);
        int n = log_reader_read(r, 0, out, 10, MIB, &e);
        assert_true(n == 0 || n == -EAGAIN);
    }
    assert_int_equal(kafka_watch_gone(kafka_log(f->log)->watch, LOG_EVENTS), 2);
    log_reader_close(r);
}

/* The record before the place is another than the one that was read. */
static void test_another_record_stands_there(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};
    int x;

    open_log(f, 1);
    for (int i = 0; i < 3; i++)
        put(f->log, LOG_EVENTS, 0, "v");
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int64_t next = 0; next < 3;)
        next += read_some(r, 0, out, 10);
    struct kafka_watch *w = kafka_log(f->log)->watch;
    rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    UNTIL(kafka_watch_gone(w, LOG_EVENTS) == 1);
    struct kafka_fetch *fetch = kafka_reader_fetch(r);
    fetch->place[0].sum++; /* as if another had been read */
    rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_ready(f->log);
    UNTIL((x = log_reader_read(r, 0, out, 10, MIB, &e)) != 0 && x != -EAGAIN);
    assert_int_equal(x, -ESTALE);
    assert_non_null(strstr(e.text, "made anew"));
    log_reader_close(r);
}

static void test_readers_are_bounded(void **state)
{
    struct fixture *f = *state;
    static struct log_reader *r[LIMIT_KAFKA_PEEKERS];
    struct log_reader *extra = NULL;
    struct err e = {0};

    open_log(f, 1);
    for (int i = 0; i < LIMIT_KAFKA_PEEKERS; i++)
        r[i] = open_reader(f->log, LOG_BAD, NULL);
    assert_int_equal(log_reader_open(f->log, LOG_BAD, NULL, &extra, &e), -EBUSY);
    log_reader_close(r[0]);
    r[0] = open_reader(f->log, LOG_BAD, NULL);
    for (int i = 0; i < LIMIT_KAFKA_PEEKERS; i++)
        log_reader_close(r[i]);
}

static void test_a_read_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};
    char *value = calloc(1, 1001);

    memset(value, 'x', 1000);
    open_log(f, 1);
    for (int i = 0; i < 10; i++)
        put(f->log, LOG_EVENTS, 0, value);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    int64_t next = 0;
    while (next < 10) {
        uint32_t p = 0;
        int n = log_reader_read(r, 0, out, 10, next < 5 ? 2500 : 1, &e);
        if (n == 0)
            log_reader_wait(r, &p, 1, 100);
        assert_in_range(n, 0, next < 5 ? 2 : 1);
        for (int i = 0; i < n; i++)
            assert_int_equal(out[i].offset, next++);
    }
    log_reader_close(r);
    free(value);
}

struct waker {
    struct event_log *log;
    struct log_reader *reader;
};

static void *append_later(void *arg)
{
    struct waker *w = arg;

    usleep(300000);
    put(w->log, LOG_EVENTS, 1, "v");
    return NULL;
}

static void *wake_later(void *arg)
{
    struct waker *w = arg;

    usleep(300000);
    log_reader_wake(w->reader);
    return NULL;
}

static void test_waiting(void **state)
{
    struct fixture *f = *state;
    uint32_t both[2] = {0, 1}, first = 0;
    struct log_record out[4];
    struct err e = {0};
    pthread_t thread;

    open_log(f, 2);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    seek_to(r, 0, 0);
    seek_to(r, 1, 0);
    int64_t from = clock_monotonic();
    log_reader_wait(r, both, 2, 200);
    assert_in_range(clock_monotonic() - from, 199, 5000);
    struct waker w = {f->log, r};
    from = clock_monotonic();
    pthread_create(&thread, NULL, append_later, &w);
    log_reader_wait(r, both, 2, WAIT_MS);
    assert_in_range(clock_monotonic() - from, 250, 20000);
    pthread_join(thread, NULL);
    from = clock_monotonic();
    log_reader_wait(r, both, 2, WAIT_MS); /* it is still there */
    assert_in_range(clock_monotonic() - from, 0, 5000);
    from = clock_monotonic();
    log_reader_wait(r, &first, 1, 200); /* but not in this one */
    assert_in_range(clock_monotonic() - from, 199, 5000);
    assert_int_equal(log_reader_read(r, 1, out, 4, MIB, &e), 1);
    from = clock_monotonic();
    pthread_create(&thread, NULL, wake_later, &w);
    log_reader_wait(r, both, 2, WAIT_MS);
    assert_in_range(clock_monotonic() - from, 250, 20000);
    pthread_join(thread, NULL);
    log_reader_close(r);
}

static void test_ask_ends(void **state)
{
    struct fixture *f = *state;
    uint32_t all[3] = {2, 0, 1};
    int64_t ends[3];
    struct err e = {0};

    open_log(f, 3);
    for (int i = 1; i <= 30; i++) {
        int64_t offset = put(f->log, LOG_EVENTS, 2, "v");
        assert_int_equal(event_log_ask_ends(f->log, LOG_EVENTS, all, 3, 2000, ends, &e), 0);
        assert_int_equal(ends[0], offset + 1);
        assert_int_equal(ends[1], 0);
        assert_int_equal(ends[2], 0);
    }
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 2), 30);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 2), 0);
}

/* The partition moves to another broker: appends, asked ends and reads go on. */
static void test_leader_moves(void **state)
{
    struct fixture *f = *state;
    rd_kafka_mock_cluster_t *two = rd_kafka_mock_cluster_new(f->rk, 2);
    uint32_t zero = 0;
    int64_t end = -1, offset = -1;
    struct log_record out[10];
    struct err e = {0};

    rd_kafka_mock_topic_create(two, "t.events", 1, 2);
    rd_kafka_mock_topic_create(two, "t.claims", 1, 2);
    rd_kafka_mock_topic_create(two, "t.bad", 1, 2);
    f->log = open_kafka(rd_kafka_mock_cluster_bootstraps(two), "t.", 1, NULL);
    wait_ready(f->log);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int round = 0; round < 4; round++) {
        rd_kafka_mock_partition_set_leader(two, "t.events", 0, round % 2 + 1);
        offset = put(f->log, LOG_EVENTS, 0, "v");
        UNTIL(event_log_ask_ends(f->log, LOG_EVENTS, &zero, 1, 500, &end, &e) == 0);
        assert_int_equal(end, offset + 1);
        assert_int_equal(read_some(r, 0, out, 10), 1);
        assert_int_equal(out[0].offset, offset);
    }
    log_reader_close(r);
    event_log_close(f->log);
    f->log = NULL;
    rd_kafka_mock_cluster_destroy(two);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_group_gives_and_reads),
        TEST(test_nothing_is_fetched_that_nobody_sought),
        TEST(test_topic_comes_back),
        TEST(test_another_record_stands_there),
        TEST(test_readers_are_bounded),
        TEST(test_a_read_is_bounded),
        TEST(test_waiting),
        TEST(test_ask_ends),
        TEST(test_leader_moves),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
