/* The embedded log as its users see it: order, callbacks, partitions, readers, refusals. Each test has a log
 * in a temporary folder of its own. */
#include "tests/support/log_case.h"

static void test_what_goes_in_comes_out(void **state)
{
    struct fixture *f = *state;
    struct log_record in[4] = {record_of("k", "one", 1111), record_of(NULL, "", 2222), record_of("", NULL, 3333),
                               record_of("k", "four", 0)};
    struct log_record out[8];
    int64_t before = clock_now();

    in[1].kind = LOG_KIND_BAD;
    f->log = open_log(f->folder, 1, 0, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &in[i], NULL, NULL), LOG_OK);
    for (int round = 0; round < 2; round++) {
        struct log_reader *r = open_reader(f->log, NULL);

        assert_int_equal(read_some(r, 0, out, 8), 4);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(out[i].offset, i);
            assert_int_equal(out[i].kind, in[i].kind);
            assert_true(str_eq(out[i].key, in[i].key));
            assert_true(str_eq(out[i].value, in[i].value));
        }
        assert_int_equal(out[0].time, 1111);
        assert_int_equal(out[2].time, 3333);
        assert_true(out[3].time >= before && out[3].time <= clock_now());
        assert_int_equal(read_some(r, 0, out, 8), 0);
        log_reader_close(r);
        reopen(f, 1, 0, 0); /* the second round reads it from the disk */
    }
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 0);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 0), 4);
    assert_int_equal(event_log_end(f->log, LOG_BAD, 0), 0);
}

static void test_topics_are_apart(void **state)
{
    struct fixture *f = *state;
    struct log_record r = record_of("k", "bad", 1), out[2];
    struct log_reader *reader = NULL;
    uint32_t partition = 9;
    int64_t offset = -1;

    f->log = open_log(f->folder, 3, 0, 0);
    put(f->log, "k", "good", 1);
    assert_int_equal(event_log_append_wait(f->log, LOG_BAD, LOG_BY_COLLECTOR, &r, &partition, &offset), LOG_OK);
    assert_int_equal(partition, 0);
    assert_int_equal(offset, 0);
    assert_int_equal(log_reader_open(f->log, LOG_BAD, "watcher", &reader, NULL), 0);
    assert_int_equal(read_some(reader, 0, out, 2), 1);
    assert_true(str_is(out[0].value, "bad"));
    log_reader_close(reader);
    r.kind = LOG_KIND_AUDIT;
    assert_int_equal(event_log_append_wait(f->log, LOG_AUDIT, LOG_BY_PROFILER, &r, &partition, &offset), LOG_OK);
    assert_int_equal(partition, 0);
    assert_int_equal(offset, 0);
    assert_int_equal(log_reader_open(f->log, LOG_AUDIT, NULL, &reader, NULL), 0);
    assert_int_equal(read_some(reader, 0, out, 2), 1);
    assert_int_equal(out[0].kind, LOG_KIND_AUDIT);
    log_reader_close(reader);
    assert_int_equal(event_log_partitions(f->log, LOG_EVENTS), 3);
    assert_int_equal(event_log_partitions(f->log, LOG_BAD), 1);
    assert_int_equal(event_log_partitions(f->log, LOG_AUDIT), 1);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COLLECTOR), 1);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COMMAND), 1);
}

static void test_partition_is_the_keys(void **state)
{
    struct fixture *f = *state;
    char key[16];

    f->log = open_log(f->folder, 7, 0, 0);
    for (int i = 0; i < 100; i++) {
        struct log_record r;
        uint32_t partition = 99;

        snprintf(key, sizeof(key), "key-%d", i);
        r = record_of(key, key, 1);
        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, &partition, NULL), LOG_OK);
        assert_int_equal(partition, event_log_partition(r.key, 7));
    }
    struct log_reader *reader = open_reader(f->log, NULL);
    int sum = 0;
    for (uint32_t p = 0; p < 7; p++) {
        struct log_record out[100];
        int n = read_some(reader, p, out, 100);

        assert_int_equal(n, event_log_end(f->log, LOG_EVENTS, p));
        for (int i = 0; i < n; i++)
            assert_int_equal(event_log_partition(out[i].key, 7), p);
        sum += n;
    }
    assert_int_equal(sum, 100);
    log_reader_close(reader);
}

/* Many appenders: each callback comes once, in offset order within its partition, and the records of one appender keep
 * their order. */
enum { APPENDERS = 8, GROUPS = 150, GROUP = 20, PARTITIONS = 4 };

struct appender {
    struct event_log *log;
    struct tally *tally;
    int number;
};

static void *run_appender(void *arg)
{
    struct appender *a = arg;
    struct log_record records[GROUP];
    char keys[GROUP][16], values[GROUP][32];
    void *args[GROUP];

    for (int g = 0; g < GROUPS; g++) {
        for (int i = 0; i < GROUP; i++) {
            snprintf(keys[i], sizeof(keys[i]), "k%d", i);
            snprintf(values[i], sizeof(values[i]), "%d %d", a->number, g);
            records[i] = record_of(keys[i], values[i], 1);
            args[i] = a->tally;
        }
        if (event_log_append(a->log, LOG_EVENTS, LOG_BY_COLLECTOR, records, GROUP, count_done, args) != LOG_OK)
            abort();
    }
    return NULL;
}

/* Each key's records of one appender are in the order of its groups. */
static void check_orders(struct event_log *log)
{
    struct log_reader *r = open_reader(log, NULL);
    int next[APPENDERS][GROUP] = {0};
    struct log_record out[64];
    int n, sum = 0;

    for (uint32_t p = 0; p < PARTITIONS; p++)
        while ((n = read_some(r, p, out, 64)) > 0) {
            for (int i = 0; i < n; i++) {
                int key, number, group;
                char text[32];

                snprintf(text, sizeof(text), "%.*s", STR_ARG(out[i].value));
                assert_int_equal(sscanf(text, "%d %d", &number, &group), 2);
                snprintf(text, sizeof(text), "%.*s", STR_ARG(out[i].key));
                assert_int_equal(sscanf(text, "k%d", &key), 1);
                assert_int_equal(group, next[number][key]++);
            }
            sum += n;
        }
    assert_int_equal(sum, APPENDERS * GROUPS * GROUP);
    log_reader_close(r);
}

static void test_many_appenders(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct appender a[APPENDERS];
    pthread_t threads[APPENDERS];

    f->log = open_log(f->folder, PARTITIONS, 0, 0);
    for (int i = 0; i < APPENDERS; i++) {
        a[i] = (struct appender){f->log, &t, i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_appender, &a[i]), 0);
    }
    for (int i = 0; i < APPENDERS; i++)
        pthread_join(threads[i], NULL);
    wait_called(&t, APPENDERS * GROUPS * GROUP);
    assert_false(t.out_of_order);
    assert_false(t.failed);
    check_orders(f->log);
    reopen(f, PARTITIONS, 0, 0);
    check_orders(f->log);
}

static void test_close_waits_for_the_queue(void **state)
{
    struct fixture *f = *state;
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct appender a;

    f->log = open_log(f->folder, PARTITIONS, 0, 0);
    a = (struct appender){f->log, &t, 0};
    run_appender(&a);
    event_log_close(f->log);
    f->log = NULL;
    assert_int_equal(t.called, GROUPS * GROUP);
    assert_false(t.failed);
}

static void test_readers_are_independent(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];

    f->log = open_log(f->folder, 1, 0, 0);
    for (int i = 0; i < 10; i++)
        put(f->log, "k", "v", 1);
    struct log_reader *a = open_reader(f->log, "a"), *b = open_reader(f->log, "b");
    assert_int_equal(read_some(a, 0, out, 7), 7);
    assert_int_equal(read_some(b, 0, out, 2), 2);
    assert_int_equal(read_some(a, 0, out, 10), 3);
    assert_int_equal(out[0].offset, 7);
    assert_int_equal(read_some(b, 0, out, 10), 8);
    assert_int_equal(out[0].offset, 2);
    put(f->log, "k", "new", 1);
    assert_int_equal(read_some(a, 0, out, 10), 1);
    assert_true(str_is(out[0].value, "new"));
    assert_int_equal(log_reader_seek(a, 0, 4), 0);
    assert_int_equal(read_some(a, 0, out, 1), 1);
    assert_int_equal(out[0].offset, 4);
    log_reader_close(a);
    log_reader_close(b);
}

static void test_a_read_is_bounded_by_bytes(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};
    char *big = malloc(100 * KIB + 1);

    memset(big, 'x', 100 * KIB);
    big[100 * KIB] = '\0';
    f->log = open_log(f->folder, 1, 0, 0);
    for (int i = 0; i < 5; i++)
        put(f->log, "k", big, 1);
    struct log_reader *r = open_reader(f->log, NULL);
    assert_int_equal(log_reader_read(r, 0, out, 10, 1, &e), 1);
    assert_int_equal(log_reader_read(r, 0, out, 10, 250 * KIB, &e), 2);
    assert_int_equal(out[1].offset, 2);
    assert_memory_equal(out[0].value.p, big, 100 * KIB);
    assert_memory_equal(out[1].value.p, big, 100 * KIB);
    log_reader_close(r);
    free(big);
}

static void test_seek_says_gap(void **state)
{
    struct fixture *f = *state;

    f->log = open_log(f->folder, 1, 0, 0);
    for (int i = 0; i < 3; i++)
        put(f->log, "k", "v", 1);
    struct log_reader *r = open_reader(f->log, NULL);
    assert_int_equal(log_reader_seek(r, 0, 3), 0);
    assert_int_equal(log_reader_seek(r, 0, 4), LOG_READ_GAP);
    assert_int_equal(log_reader_seek(r, 0, -1), LOG_READ_GAP);
    log_reader_close(r);
}

static void *wake_later(void *arg)
{
    log_reader_wake(arg);
    return NULL;
}

static void *put_later(void *arg)
{
    put(arg, "k", "v", 1);
    return NULL;
}

static void test_waiting(void **state)
{
    struct fixture *f = *state;
    uint32_t partitions[] = {0, 1};
    struct log_record out[2];
    int64_t start = clock_monotonic();
    pthread_t t;

    f->log = open_log(f->folder, 2, 0, 0);
    struct log_reader *r = open_reader(f->log, NULL);
    log_reader_wait(r, partitions, 2, 5);
    assert_true(clock_monotonic() - start >= 5);
    pthread_create(&t, NULL, wake_later, r);
    log_reader_wait(r, partitions, 2, WAIT_MS);
    pthread_join(t, NULL);
    pthread_create(&t, NULL, put_later, f->log);
    log_reader_wait(r, partitions, 2, WAIT_MS);
    assert_int_equal(read_some(r, 0, out, 2) + read_some(r, 1, out, 2), 1);
    pthread_join(t, NULL);
    assert_true(clock_monotonic() - start < WAIT_MS);
    log_reader_close(r);
}

/* Refusals */

static void test_wrong_partitions(void **state)
{
    struct fixture *f = *state;
    struct event_log_options o = {.path = f->folder, .partitions = 3};
    struct event_log *log = NULL;
    struct err e = {0};

    f->log = open_log(f->folder, 4, 0, 0);
    event_log_close(f->log);
    f->log = NULL;
    assert_int_equal(event_log_open_local(&o, &log, &e), -EINVAL);
    assert_non_null(strstr(e.text, "has 4 partitions, the configuration says 3"));
    o.partitions = 5;
    assert_int_equal(event_log_open_local(&o, &log, &e), -EINVAL);
    assert_non_null(strstr(e.text, "has 4 partitions, the configuration says 5"));
    o.partitions = LIMIT_PARTITIONS + 1;
    assert_int_equal(event_log_open_local(&o, &log, &e), -EINVAL);
    f->log = open_log(f->folder, 4, 0, 0);
}

static void test_second_opener(void **state)
{
    struct fixture *f = *state;
    struct event_log_options o = {.path = f->folder, .partitions = 1};
    struct event_log *log = NULL;
    struct err e = {0};

    f->log = open_log(f->folder, 1, 0, 0);
    assert_true(event_log_open_local(&o, &log, &e) < 0);
    assert_non_null(strstr(e.text, "in use"));
    put(f->log, "k", "v", 1);
}

static void test_reserve_refuses(void **state)
{
    struct fixture *f = *state;
    struct event_log_options o = {.path = f->folder, .partitions = 1, .reserve_bytes = UINT64_C(1) << 60};
    struct log_record r = record_of("k", "v", 1);
    struct event_log *log = NULL;
    struct err e = {0};

    assert_int_equal(event_log_open_local(&o, &log, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "reserve"));
    f->log = open_log(f->folder, 1, 0, 0);
    local_log(f->log)->o.reserve_bytes =
        (uint64_t)log_disk_free(local_log(f->log)) / 2 * 3; /* the profiler may use half of it */
    assert_int_equal(event_log_ready(f->log), LOG_DISK_FULL);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_DISK_FULL);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_SPOOL, &r, NULL, NULL), LOG_DISK_FULL);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_PROFILER, &r, NULL, NULL), LOG_OK);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL), LOG_OK);
    local_log(f->log)->o.reserve_bytes = 0;
    assert_int_equal(event_log_ready(f->log), LOG_OK);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_OK);
}

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    char *big = calloc(1, LIMIT_RECORD_BYTES + 1);
    struct log_record r[2] = {record_of("k", "v", 1), {.key = STR_LIT("k"), .value = {big, LIMIT_RECORD_BYTES}}};

    f->log = open_log(f->folder, 1, 0, 0);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, 2, NULL, NULL), LOG_TOO_LARGE);
    assert_int_equal(put(f->log, "k", "v", 1), 0); /* none of them was taken */
    r[1].value.n--;
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r[1], NULL, NULL), LOG_OK);
    free(big);
}

/* The writer stands in a callback; what comes in meanwhile fills the queue. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool entered, open;
};

static void stand_at_gate(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct gate *g = arg;

    (void)status, (void)partition, (void)offset;
    pthread_mutex_lock(&g->lock);
    g->entered = true;
    pthread_cond_broadcast(&g->cond);
    while (!g->open)
        pthread_cond_wait(&g->cond, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void test_queue_full(void **state)
{
    struct fixture *f = *state;
    struct gate g = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    char *big = calloc(1, MIB);
    struct log_record first = record_of("k", "v", 1), r = {.key = STR_LIT("k"), .value = {big, MIB}};
    void *gate = &g, *tally = &t;
    enum log_status s;
    uint64_t taken = 0;

    f->log = open_log(f->folder, 1, 0, 0);
    t.next[0] = 1;
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &first, 1, stand_at_gate, &gate), LOG_OK);
    pthread_mutex_lock(&g.lock);
    while (!g.entered)
        pthread_cond_wait(&g.cond, &g.lock);
    pthread_mutex_unlock(&g.lock);
    while ((s = event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count_done, &tally)) == LOG_OK)
        taken++;
    assert_int_equal(s, LOG_QUEUE_FULL);
    assert_int_equal(taken, LIMIT_LOG_QUEUE_BYTES / MIB - 1);
    /* The profiler's own still get in, within a bound. */
    while ((s = event_log_append(f->log, LOG_EVENTS, LOG_BY_PROFILER, &r, 1, count_done, &tally)) == LOG_OK)
        taken++;
    assert_int_equal(s, LOG_QUEUE_FULL);
    assert_in_range(taken, (LIMIT_LOG_QUEUE_BYTES + LIMIT_LOG_QUEUE_OWN) / MIB - 2,
                    (LIMIT_LOG_QUEUE_BYTES + LIMIT_LOG_QUEUE_OWN) / MIB);
    assert_int_equal(event_log_ready(f->log), LOG_QUEUE_FULL);
    pthread_mutex_lock(&g.lock);
    g.open = true;
    pthread_cond_broadcast(&g.cond);
    pthread_mutex_unlock(&g.lock);
    wait_called(&t, taken);
    assert_false(t.failed);
    assert_false(t.out_of_order);
    assert_int_equal(event_log_ready(f->log), LOG_OK);
    assert_int_equal(put(f->log, "k", "v", 1), (int64_t)taken + 1);
    free(big);
}

static void test_most_partitions(void **state)
{
    struct fixture *f = *state;

    f->log = open_log(f->folder, LIMIT_PARTITIONS, 0, 0);
    fill(f->log, 5000, 100, 1);
    reopen(f, LIMIT_PARTITIONS, 0, 0);
    int64_t sum = 0;
    for (uint32_t p = 0; p < LIMIT_PARTITIONS; p++)
        sum += event_log_end(f->log, LOG_EVENTS, p);
    assert_int_equal(sum, 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_goes_in_comes_out),
        TEST(test_topics_are_apart),
        TEST(test_partition_is_the_keys),
        TEST(test_many_appenders),
        TEST(test_close_waits_for_the_queue),
        TEST(test_readers_are_independent),
        TEST(test_a_read_is_bounded_by_bytes),
        TEST(test_seek_says_gap),
        TEST(test_waiting),
        TEST(test_wrong_partitions),
        TEST(test_second_opener),
        TEST(test_reserve_refuses),
        TEST(test_too_large),
        TEST(test_queue_full),
        TEST(test_most_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
