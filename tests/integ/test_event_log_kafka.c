/* The log on Kafka against librdkafka's mock brokers: what goes in and how it is reported, what is refused, how a
 * client that failed is replaced. What only a real Kafka does is in test_event_log_kafka_real.c. */
#include "tests/support/kafka_mock.h"

/* --- appending ------------------------------------------------------------------------------------------------------
 */

static void test_what_goes_in_comes_out(void **state)
{
    struct fixture *f = *state;
    struct log_record in[5] = {record_of("k", "one", 1111), record_of(NULL, "", 2222), record_of("", NULL, 3333),
                               record_of("k", "four", 0), record_of("x", "five", 4444)};
    struct log_record out[8];
    int64_t before = clock_now(), offset;
    uint32_t partition;

    in[1].kind = LOG_KIND_BAD;
    in[4].kind = LOG_KIND_CLAIM;
    open_log(f, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &in[i], &partition, &offset),
                         LOG_OK);
        assert_int_equal(partition, 0);
        assert_int_equal(offset, i);
    }
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(read_some(r, 0, out, 1), 1);
        assert_int_equal(out[0].offset, i);
        assert_int_equal(out[0].kind, in[i].kind);
        assert_true(str_eq(out[0].key, in[i].key));
        assert_true(str_eq(out[0].value, in[i].value));
        if (in[i].time)
            assert_int_equal(out[0].time, in[i].time);
        else
            assert_true(out[0].time >= before && out[0].time <= clock_now());
    }
    struct err e = {0};
    assert_int_equal(log_reader_read(r, 0, out, 8, MIB, &e), 0);
    log_reader_close(r);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 0), 5);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COMMAND), 5);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COLLECTOR), 0);
}

/* A record that others wrote, with a header that nobody here knows. */
static void test_unknown_kind(void **state)
{
    struct fixture *f = *state;
    struct log_record out[1];

    open_log(f, 1);
    assert_int_equal(rd_kafka_producev(f->rk, RD_KAFKA_V_TOPIC("nowhere"), RD_KAFKA_V_END), 0); /* has no brokers */
    rd_kafka_purge(f->rk, RD_KAFKA_PURGE_F_QUEUE);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[200];
    assert_int_equal(rd_kafka_conf_set(conf, "bootstrap.servers", f->brokers, text, sizeof(text)), RD_KAFKA_CONF_OK);
    rd_kafka_t *other = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    assert_int_equal(rd_kafka_producev(other, RD_KAFKA_V_TOPIC("t.events"), RD_KAFKA_V_PARTITION(0),
                                       RD_KAFKA_V_VALUE("x", 1), RD_KAFKA_V_HEADER(KAFKA_HEADER, "later", -1),
                                       RD_KAFKA_V_END),
                     0);
    assert_int_equal(rd_kafka_flush(other, WAIT_MS), 0);
    rd_kafka_destroy(other);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    assert_int_equal(read_some(r, 0, out, 1), 1);
    assert_int_equal(out[0].kind, LOG_KIND_UNKNOWN);
    log_reader_close(r);
}

static void test_partition_is_the_keys(void **state)
{
    struct fixture *f = *state;
    char key[16];

    open_log(f, 8);
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "key-%d", i);
        struct log_record r = record_of(key, "v", 0);
        uint32_t partition;
        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, &partition, NULL), LOG_OK);
        assert_int_equal(partition, event_log_partition(str_of(key), 8));
        r.placed = true;
        r.partition = (uint32_t)i % 8;
        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, &partition, NULL), LOG_OK);
        assert_int_equal(partition, i % 8);
    }
    put(f->log, LOG_BAD, 0, "bad");
    put(f->log, LOG_CLAIMS, 7, "claim");
    UNTIL(event_log_end(f->log, LOG_CLAIMS, 7) == 1 && event_log_end(f->log, LOG_BAD, 0) == 1);
}

struct appender {
    struct event_log *log;
    struct tally tally;
    int number;
};

static void *append_many(void *arg)
{
    struct appender *a = arg;
    struct log_record r[7];
    void *args[7];
    char value[7][32];

    for (int i = 0; i < 700; i += 7) {
        for (int j = 0; j < 7; j++) {
            snprintf(value[j], sizeof(value[j]), "%d %d", a->number, i + j);
            r[j] = (struct log_record){
                .key = str_of(value[j]), .value = str_of(value[j]), .placed = true, .partition = (uint32_t)a->number};
            args[j] = &a->tally;
        }
        assert_int_equal(event_log_append(a->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, 7, count, args), LOG_OK);
    }
    return NULL;
}

/* One appender a partition: what it appends comes out in its order, and each report is made once. */
static void test_many_appenders(void **state)
{
    enum { N = 4, EACH = 700 };
    struct fixture *f = *state;
    struct appender a[N] = {0};
    pthread_t thread[N];
    struct log_record out[100];

    open_log(f, N);
    for (int i = 0; i < N; i++) {
        a[i].log = f->log;
        a[i].number = i;
        pthread_create(&thread[i], NULL, append_many, &a[i]);
    }
    for (int i = 0; i < N; i++)
        pthread_join(thread[i], NULL);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (uint32_t p = 0; p < N; p++) {
        UNTIL(a[p].tally.called == EACH);
        assert_int_equal(a[p].tally.acked, EACH);
        assert_false(a[p].tally.out_of_order);
        for (int got = 0; got < EACH;) {
            int n = read_some(r, p, out, 100);
            for (int i = 0; i < n; i++, got++) {
                char want[32];
                snprintf(want, sizeof(want), "%u %d", p, got);
                assert_true(str_is(out[i].value, want));
                assert_int_equal(out[i].offset, got);
            }
        }
    }
    log_reader_close(r);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COLLECTOR), N * EACH);
}

static void test_close_waits_for_what_was_appended(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *arg = &t;
    struct log_record r = record_of("k", "v", 0);

    open_log(f, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg), LOG_OK);
    event_log_close(f->log);
    f->log = NULL;
    assert_int_equal(t.acked, 1000);
}

/* --- refusals -------------------------------------------------------------------------------------------------------
 */

static void test_too_large(void **state)
{
    struct fixture *f = *state;
    char *big = calloc(1, LIMIT_RECORD_BYTES + 1);
    struct log_record r[2] = {record_of("k", "v", 1), {.key = STR_LIT("k"), .value = {big, LIMIT_RECORD_BYTES}}};

    open_log(f, 1);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, 2, NULL, NULL), LOG_TOO_LARGE);
    assert_int_equal(put(f->log, LOG_EVENTS, 0, "v"), 0); /* none of them was taken */
    free(big);
}

static void test_the_largest_comes_out(void **state)
{
    struct fixture *f = *state;
    char *big = malloc(LIMIT_RECORD_BYTES);
    struct log_record out[2];

    for (size_t i = 0; i < LIMIT_RECORD_BYTES; i++)
        big[i] = (char)(rand() % 256); /* does not compress */
    struct log_record r = {.key = STR_LIT("k"), .value = {big, LIMIT_RECORD_BYTES - 1}};
    open_log(f, 1);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_OK);
    struct log_reader *reader = open_reader(f->log, LOG_EVENTS, NULL);
    assert_int_equal(read_some(reader, 0, out, 2), 1);
    assert_true(str_eq(out[0].value, r.value));
    log_reader_close(reader);
    free(big);
}

/* The brokers take their time; what comes in meanwhile fills the queue. */
static void test_queue_full(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *args[3] = {&t, &t, &t};
    char *big = calloc(1, MIB);
    struct log_record r[3];
    enum log_status s;
    uint64_t taken = 0;

    for (int i = 0; i < 3; i++)
        r[i] = (struct log_record){.key = STR_LIT("k"), .value = {big, MIB - 1}};
    open_log(f, 1);
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 2500);
    while ((s = event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, 3, count, args)) == LOG_OK)
        taken += 3;
    assert_int_equal(s, LOG_QUEUE_FULL);
    assert_int_equal(taken, 63);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, 1, count, args), LOG_OK);
    taken++;
    assert_int_equal(event_log_ready(f->log), LOG_QUEUE_FULL);
    while ((s = event_log_append(f->log, LOG_EVENTS, LOG_BY_PROFILER, r, 1, count, args)) == LOG_OK)
        taken++; /* the profiler's own still get in, within a bound */
    assert_int_equal(s, LOG_QUEUE_FULL);
    assert_int_equal(taken, 72);
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 0);
    UNTIL(t.called == taken);
    assert_false(t.out_of_order);
    wait_ready(f->log);
    put(f->log, LOG_EVENTS, 0, "again");
    free(big);
}

static void test_wrong_partition_count(void **state)
{
    struct fixture *f = *state;
    struct log_record r = record_of("k", "v", 0);
    struct err e = {0};

    make_topics(f, 3);
    f->log = open_kafka(f->brokers, "t.", 4, NULL);
    UNTIL(event_log_ready(f->log) == LOG_FAILED);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, NULL, NULL), LOG_FAILED);
    kafka_watch_why(kafka_log(f->log)->watch, LOG_EVENTS, &e);
    assert_non_null(strstr(e.text, "has 3 partitions, the configuration says 4"));
    static struct crew c; /* of the log's thread, also when this test fails */
    join(f->log, "crew", &c);
    /* Nothing is given: a key's records would be elsewhere. */
    for (int64_t end = clock_monotonic() + 4000; clock_monotonic() < end; usleep(20000))
        assert_int_equal(c.calls, 0);
}

static void test_topic_missing(void **state)
{
    struct fixture *f = *state;
    struct log_record r = record_of("k", "v", 0);
    struct err e = {0};

    open_log(f, 1);
    rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    UNTIL(event_log_ready(f->log) == LOG_UNREACHABLE);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, NULL, NULL), LOG_UNREACHABLE);
    kafka_watch_why(kafka_log(f->log)->watch, LOG_EVENTS, &e);
    assert_non_null(strstr(e.text, "t.events is missing"));
    rd_kafka_mock_topic_set_error(f->cluster, "t.events", RD_KAFKA_RESP_ERR_NO_ERROR);
    wait_ready(f->log);
    put(f->log, LOG_EVENTS, 0, "v");
}

static void test_brokers_go_and_come(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *arg = &t;
    struct log_record r = record_of("k", "v", 0);

    open_log(f, 1);
    put(f->log, LOG_EVENTS, 0, "v");
    rd_kafka_mock_broker_set_down(f->cluster, 1);
    enum log_status s = event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg);
    UNTIL(event_log_ready(f->log) == LOG_UNREACHABLE);
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 0, NULL, NULL) == LOG_OK);
    UNTIL(kafka_watch_reachable(kafka_log(f->log)->watch) == false);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg), LOG_UNREACHABLE);
    int64_t end;
    uint32_t partition = 0;
    struct err e = {0};
    int64_t asked = clock_monotonic();
    assert_int_equal(event_log_ask_ends(f->log, LOG_EVENTS, &partition, 1, 300, &end, &e), -EAGAIN);
    assert_in_range(clock_monotonic() - asked, 0, 2000);
    if (s == LOG_OK) { /* it was taken before that was known: reported at last, as unreachable or, if lucky, acked */
        int64_t from = clock_monotonic();
        UNTIL(t.called == 1);
        assert_in_range(clock_monotonic() - from, 0, LIMIT_KAFKA_MS + 3500);
        assert_int_equal(t.last_failure, LOG_UNREACHABLE);
    }
    rd_kafka_mock_broker_set_up(f->cluster, 1);
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK);
    UNTIL(t.acked == 1);
    assert_int_equal(event_log_ready(f->log), LOG_OK);
}

static void test_no_brokers_at_all(void **state)
{
    struct fixture *f = *state;
    struct log_record r = record_of("k", "v", 0), out[1];
    struct tally t = {0};
    void *arg = &t;
    static struct crew c; /* of the log's thread, also when this test fails */
    struct err e = {0};
    int64_t begun = clock_monotonic();

    f->log = open_kafka("127.0.0.1:1", "t.", 4, "one");
    assert_in_range(clock_monotonic() - begun, 0, 2000);
    assert_int_equal(event_log_ready(f->log), LOG_UNREACHABLE);
    enum log_status s = event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg);
    assert_true(s == LOG_OK || s == LOG_UNREACHABLE);
    join(f->log, "crew", &c);
    struct log_reader *named = open_reader(f->log, LOG_EVENTS, "crew"), *peek = open_reader(f->log, LOG_EVENTS, NULL);
    assert_int_equal(log_reader_seek(named, 0, 0), -EAGAIN);
    assert_int_equal(log_reader_read(named, 0, out, 1, MIB, &e), -EAGAIN);
    assert_int_equal(log_reader_seek(peek, 0, 0), -EAGAIN);
    assert_int_equal(log_reader_read(peek, 0, out, 1, MIB, &e), -EAGAIN);
    assert_true(strlen(e.text) > 0);
    log_reader_close(named);
    log_reader_close(peek);
    log_group_leave(f->log, true, 2000);
    begun = clock_monotonic();
    event_log_close(f->log);
    f->log = NULL;
    assert_in_range(clock_monotonic() - begun, 0, 6500);
    assert_int_equal(t.called, s == LOG_OK ? 1 : 0);
    assert_int_equal(t.acked, 0);
}

/* --- a client that cannot go on -------------------------------------------------------------------------------------
 */

static void test_fatal_error(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *arg = &t;
    struct log_record r = record_of("k", "v", 0);
    uint64_t taken = 0;

    open_log(f, 1);
    put(f->log, LOG_EVENTS, 0, "v");
    struct kafka_producer *p = kafka_log(f->log)->producer;
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 300); /* some are under way when it happens */
    for (int i = 0; i < 500; i++)
        taken += event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK;
    kafka_producer_break(p);
    for (int i = 0; i < 500; i++)
        taken += event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK;
    UNTIL(kafka_producer_replaced(p) == 1);
    UNTIL(t.called == taken);
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 0);
    uint64_t before = t.acked;
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK);
    UNTIL(t.acked == before + 1);
    assert_int_equal(t.called, taken + 1);
    assert_int_equal(event_log_ready(f->log), LOG_OK);
    /* And again: one that is broken at once is not replaced without a pause. */
    kafka_producer_break(p);
    UNTIL(kafka_producer_replaced(p) == 2);
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK);
    UNTIL(t.acked == before + 2);
}

struct breaker {
    struct kafka_producer *producer;
    _Atomic bool stop;
};

static void *break_often(void *arg)
{
    struct breaker *b = arg;

    for (unsigned i = 0; i < 3 && !b->stop; i++) {
        kafka_producer_break(b->producer);
        UNTIL(b->stop || kafka_producer_replaced(b->producer) > i);
    }
    return NULL;
}

/* Clients break in the midst of calls: of each call all records are reported, or none was taken. */
static void test_fatal_errors_in_the_midst(void **state)
{
    enum { EACH = 200 };
    struct fixture *f = *state;
    static struct tally t;
    struct log_record r[EACH];
    void *args[EACH];
    pthread_t thread;
    uint64_t taken = 0;

    memset(&t, 0, sizeof(t));
    for (int i = 0; i < EACH; i++) {
        r[i] = record_of("k", "v", 0);
        args[i] = &t;
    }
    open_log(f, 1);
    struct breaker b = {.producer = kafka_log(f->log)->producer};
    pthread_create(&thread, NULL, break_often, &b);
    for (int64_t until = clock_monotonic() + WAIT_MS; kafka_producer_replaced(b.producer) < 3;) {
        assert_true(clock_monotonic() < until);
        if (event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, EACH, count, args) == LOG_OK)
            taken += EACH;
        else
            usleep(1000);
    }
    b.stop = true;
    pthread_join(thread, NULL);
    UNTIL(t.called == taken);
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, r, EACH, count, args) == LOG_OK);
    UNTIL(t.called == taken + EACH);
    assert_true(t.acked >= EACH);
    assert_int_equal(event_log_appends(f->log, LOG_BY_COLLECTOR), t.acked);
}

/* It never says what became of the records, though the brokers answer: they are reported all the same, once, and
 * another one takes over. */
static void test_silent_client(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *arg = &t;
    struct log_record r = record_of("k", "v", 0);

    open_log(f, 1);
    put(f->log, LOG_EVENTS, 0, "v");
    struct kafka_producer *p = kafka_log(f->log)->producer;
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 4000);
    for (int i = 0; i < 100; i++)
        assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg), LOG_OK);
    kafka_producer_patience(p, 300);
    int64_t from = clock_monotonic();
    UNTIL(kafka_producer_replaced(p) == 1);
    UNTIL(t.called == 100);
    assert_in_range(clock_monotonic() - from, 0, 3500); /* not by the brokers' answer */
    assert_int_equal(t.acked, 0);
    assert_int_equal(t.last_failure, LOG_FAILED);
    kafka_producer_patience(p, WAIT_MS);
    rd_kafka_mock_broker_set_rtt(f->cluster, 1, 0);
    UNTIL(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK);
    UNTIL(t.acked == 1);
    assert_int_equal(t.called, 101);
}

/* --- properties -----------------------------------------------------------------------------------------------------
 */

static void test_properties(void **state)
{
    struct err e = {0};

    (void)state;
    const struct kafka_property good[] = {
        {"bootstrap.servers", "a:1,b:2"}, {"linger.ms", "50"},  {"compression.codec", "zstd"},
        {"session.timeout.ms", "20000"},  {"group.id", "shop"}, {"security.protocol", "sasl_ssl"},
        {"sasl.username", "u"},           {"debug", "broker"}};
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_int_equal(event_log_kafka_check(&good[i], &e), 0);
    const struct kafka_property ours[] = {{"acks", "1"},
                                          {"request.required.acks", "1"},
                                          {"enable.idempotence", "false"},
                                          {"message.timeout.ms", "1"},
                                          {"partitioner", "random"},
                                          {"enable.auto.commit", "true"},
                                          {"auto.offset.reset", "latest"},
                                          {"group.instance.id", "x"},
                                          {"client.id", "x"},
                                          {"partition.assignment.strategy", "range"},
                                          {"transactional.id", "x"},
                                          {"queue.buffering.max.messages", "1"}};
    for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++) {
        assert_int_equal(event_log_kafka_check(&ours[i], &e), -EINVAL);
        assert_non_null(strstr(e.text, ours[i].name));
        assert_non_null(strstr(e.text, "leave it out"));
    }
    assert_int_equal(event_log_kafka_check(&(struct kafka_property){"no.such.thing", "1"}, &e), -EINVAL);
    assert_non_null(strstr(e.text, "no.such.thing is no property"));
    assert_int_equal(event_log_kafka_check(&(struct kafka_property){"linger.ms", "soon"}, &e), -EINVAL);
    assert_non_null(strstr(e.text, "linger.ms"));
    assert_int_equal(event_log_kafka_check(&(struct kafka_property){"dr_msg_cb", "x"}, &e), -EINVAL);
}

static void test_wrong_options(void **state)
{
    const struct kafka_property brokers = {"bootstrap.servers", "127.0.0.1:1"};
    const struct kafka_property secure[2] = {brokers, {"ssl.ca.location", "/nonexistent/ca.pem"}};
    const struct kafka_property tls[3] = {secure[0], secure[1], {"security.protocol", "ssl"}};
    struct event_log_kafka_options o = {.prefix = "t.", .partitions = 4};
    struct event_log *log = NULL;
    struct err e = {0};

    (void)state;
    assert_int_equal(event_log_open_kafka(&o, &log, &e), -EINVAL);
    assert_non_null(strstr(e.text, "bootstrap.servers"));
    o.properties = &brokers;
    o.property_count = 1;
    o.partitions = 0;
    assert_int_equal(event_log_open_kafka(&o, &log, &e), -EINVAL);
    o.partitions = LIMIT_PARTITIONS + 1;
    assert_int_equal(event_log_open_kafka(&o, &log, &e), -EINVAL);
    o.partitions = 4;
    o.properties = tls;
    o.property_count = 3;
    assert_int_equal(event_log_open_kafka(&o, &log, &e), -EINVAL);
    if (!strstr(e.text, "ssl.ca.location"))
        fail_msg("%s", e.text);
    assert_null(log);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_goes_in_comes_out),
        TEST(test_unknown_kind),
        TEST(test_partition_is_the_keys),
        TEST(test_many_appenders),
        TEST(test_close_waits_for_what_was_appended),
        TEST(test_too_large),
        TEST(test_the_largest_comes_out),
        TEST(test_queue_full),
        TEST(test_wrong_partition_count),
        TEST(test_topic_missing),
        TEST(test_brokers_go_and_come),
        TEST(test_no_brokers_at_all),
        TEST(test_fatal_error),
        TEST(test_fatal_errors_in_the_midst),
        TEST(test_silent_client),
        TEST(test_properties),
        TEST(test_wrong_options),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
