/* The log on a real Kafka: making and checking topics, fresh ends, retention, topics that are deleted and made again,
 * groups of several processes. WAYMARK_KAFKA is the broker's address (test_event_log_kafka.py sets it); without it the
 * tests are skipped. */
#include "tests/support/kafka_real.h"

static rd_kafka_event_t *answer(rd_kafka_queue_t *queue)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);

    assert_non_null(event);
    if (rd_kafka_event_error(event))
        fail_msg("%s", rd_kafka_event_error_string(event));
    return event;
}

static void delete_topic(struct fixture *f, const char *name)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(f->admin);
    rd_kafka_DeleteTopic_t *t = rd_kafka_DeleteTopic_new(name);

    rd_kafka_DeleteTopics(f->admin, &t, 1, NULL, queue);
    rd_kafka_event_destroy(answer(queue));
    rd_kafka_DeleteTopic_destroy(t);
    rd_kafka_queue_destroy(queue);
}

static void make_topic(struct fixture *f, const char *name, int partitions, const char *setting, const char *value)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(f->admin);
    char text[200];
    rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(name, partitions, 1, text, sizeof(text));

    if (setting)
        rd_kafka_NewTopic_set_config(t, setting, value);
    rd_kafka_CreateTopics(f->admin, &t, 1, NULL, queue);
    rd_kafka_event_destroy(answer(queue));
    rd_kafka_NewTopic_destroy(t);
    rd_kafka_queue_destroy(queue);
}

/* As retention does: the partition begins at `offset`. */
static void drop_before(struct fixture *f, uint32_t partition, int64_t offset)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(f->admin);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, f->events, (int32_t)partition)->offset = offset;
    rd_kafka_DeleteRecords_t *d = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(f->admin, &d, 1, NULL, queue);
    rd_kafka_event_destroy(answer(queue));
    rd_kafka_DeleteRecords_destroy(d);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
}

/* --- topics ---------------------------------------------------------------------------------------------------------
 */

static void test_create(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    char text[200];

    NEEDS_KAFKA(f);
    must_create(f, 3);
    assert_int_equal(lines, LOG_TOPICS);
    snprintf(text, sizeof(text), "%sevents: made, 3 partitions", f->prefix);
    assert_string_equal(said[0], text);
    snprintf(text, sizeof(text), "%sbad: made, 1 partition", f->prefix);
    assert_string_equal(said[1], text);
    snprintf(text, sizeof(text), "%saudit: made, 1 partition", f->prefix);
    assert_string_equal(said[3], text);
    must_create(f, 3);
    snprintf(text, sizeof(text), "%sclaims: is there, 3 partitions", f->prefix);
    assert_string_equal(said[2], text);
    snprintf(text, sizeof(text), "%saudit: is there, 1 partition", f->prefix);
    assert_string_equal(said[3], text);
    assert_int_equal(lines, LOG_TOPICS); /* and no warning */
    assert_int_equal(create(f, 4, &e), -EINVAL);
    assert_non_null(strstr(e.text, "has 3 partitions, the configuration says 4"));
}

static void test_create_checks_what_is_there(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};

    NEEDS_KAFKA(f);
    make_topic(f, f->events, 2, "max.message.bytes", "1000000");
    assert_int_equal(create(f, 2, &e), -EINVAL);
    assert_non_null(strstr(e.text, "max.message.bytes is 1000000"));
    strcat(f->prefix, "x.");
    snprintf(f->events, sizeof(f->events), "%sevents", f->prefix);
    make_topic(f, f->events, 2, "cleanup.policy", "compact");
    assert_int_equal(create(f, 2, &e), -EINVAL);
    assert_non_null(strstr(e.text, "cleanup.policy is compact"));
    const struct kafka_property nowhere = {"bootstrap.servers", "127.0.0.1:1"};
    const struct event_log_kafka_options o = {
        .properties = &nowhere, .property_count = 1, .prefix = f->prefix, .partitions = 2};
    int64_t from = clock_monotonic();
    assert_int_equal(event_log_kafka_create(&o, 0, 700, hear, NULL, &e), -EAGAIN);
    assert_in_range(clock_monotonic() - from, 0, 5000);
}

static void test_how_long_records_are_kept(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    int64_t ms = -1;

    NEEDS_KAFKA(f);
    must_create(f, 2);
    f->log = open_kafka(f->brokers, f->prefix, 2, "a");
    wait_ready(f->log);
    if (event_log_retention(f->log, LOG_EVENTS, 10000, &ms, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(ms, 30 * TIME_DAY); /* as `topics create` makes it */
    assert_int_equal(event_log_retention(f->log, LOG_AUDIT, 10000, &ms, &e), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(event_log_retention(f->log, LOG_CLAIMS, 10000, &ms, &e), 0);
    assert_int_equal(ms, 0); /* compacted */
    int64_t from = clock_monotonic();
    for (int i = 0; i < 1000; i++)
        assert_int_equal(event_log_retention(f->log, LOG_EVENTS, 10000, &ms, &e), 0);
    assert_in_range(clock_monotonic() - from, 0, 2000); /* nobody was asked again */
    assert_int_equal(ms, 30 * TIME_DAY);
    assert_int_equal(event_log_blank(f->log, LOG_EVENTS, 0, 1, NULL, NULL, NULL, NULL, &e), -ENOTSUP);
    assert_non_null(strstr(e.text, "retention"));
    strcat(f->prefix, "x.");
    snprintf(f->events, sizeof(f->events), "%sevents", f->prefix);
    make_topic(f, f->events, 2, "retention.ms", "172800000");
    f->other = open_kafka(f->brokers, f->prefix, 2, "a");
    assert_int_equal(event_log_retention(f->other, LOG_EVENTS, 10000, &ms, &e), 0);
    assert_int_equal(ms, 2 * TIME_DAY);
    assert_int_equal(event_log_retention(f->other, LOG_BAD, 10000, &ms, &e), -EACCES); /* it is missing */
    /* Brokers that are away: words, within the time, and others do not wait behind. */
    struct event_log *away = open_kafka("127.0.0.1:1", f->prefix, 2, "b");
    from = clock_monotonic();
    for (int i = 0; i < 20; i++)
        assert_int_equal(event_log_retention(away, LOG_EVENTS, 300, &ms, &e), -EAGAIN);
    assert_in_range(clock_monotonic() - from, 0, 3000);
    assert_true(e.text[0] && ms == 0);
    event_log_close(away);
}

/* --- records --------------------------------------------------------------------------------------------------------
 */

static void test_what_goes_in_comes_out(void **state)
{
    struct fixture *f = *state;
    struct log_record out[8];
    struct tally t = {0};
    void *args[3] = {&t, &t, &t};
    int64_t before = clock_now();

    NEEDS_KAFKA(f);
    char *big = malloc(LIMIT_RECORD_BYTES);
    for (size_t i = 0; i < LIMIT_RECORD_BYTES; i++)
        big[i] = (char)(rand() % 256); /* does not compress */
    struct log_record in[3] = {{.key = STR_LIT("k"), .value = {big, LIMIT_RECORD_BYTES - 1}},
                               {.key = STR_LIT(""), .value = STR_NONE, .kind = LOG_KIND_BAD},
                               {.key = STR_NONE, .value = STR_LIT(""), .time = 1000}};
    open_log(f, 1, NULL);
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, in, 3, count, args), LOG_OK);
    UNTIL(t.called == 3);
    assert_int_equal(t.acked, 3);
    assert_false(t.out_of_order);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_some(r, 0, out, 1), 1);
        assert_int_equal(out[0].offset, i);
        assert_int_equal(out[0].kind, in[i].kind);
        assert_true(str_eq(out[0].key, in[i].key));
        assert_true(str_eq(out[0].value, in[i].value));
        /* By the brokers' clock: a record that says it is of 1970 must not be dropped for its age. */
        assert_in_range(out[0].time, before - 1000, clock_now() + 1000);
    }
    log_reader_close(r);
    free(big);
}

static void test_asked_ends_are_fresh(void **state)
{
    struct fixture *f = *state;
    uint32_t all[8];
    int64_t ends[8], want[8] = {0};
    struct err e = {0};

    NEEDS_KAFKA(f);
    for (uint32_t i = 0; i < 8; i++)
        all[i] = 7 - i;
    open_log(f, 8, NULL);
    for (int i = 0; i < 100; i++) {
        uint32_t p = (uint32_t)rand() % 8;
        want[p] = put(f->log, LOG_EVENTS, p, "v") + 1;
        if (event_log_ask_ends(f->log, LOG_EVENTS, all, 8, 2000, ends, &e) != 0)
            fail_msg("%s", e.text);
        for (int j = 0; j < 8; j++)
            assert_int_equal(ends[j], want[7 - j]);
    }
    int64_t from = clock_monotonic();
    for (int i = 0; i < 20; i++)
        assert_int_equal(event_log_ask_ends(f->log, LOG_CLAIMS, all, 8, 2000, ends, &e), 0);
    print_message("20 asked ends of 8 partitions: %lld ms\n", (long long)(clock_monotonic() - from));
    assert_in_range(clock_monotonic() - from, 0, 4000);
}

static void test_retention(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};
    static struct crew c; /* of the log's thread, also when this test fails */
    int x = 0;

    NEEDS_KAFKA(f);
    open_log(f, 1, "one");
    for (int i = 0; i < 20; i++)
        put(f->log, LOG_EVENTS, 0, "v");
    join(f->log, f->prefix, &c);
    UNTIL(c.count == 1);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, f->prefix);
    drop_before(f, 0, 10);
    UNTIL(event_log_begin(f->log, LOG_EVENTS, 0) == 10);
    assert_int_equal(log_reader_seek(r, 0, 9), LOG_READ_GAP);
    assert_int_equal(log_reader_seek(r, 0, 21), LOG_READ_GAP);
    seek_to(r, 0, 10);
    assert_true(read_some(r, 0, out, 10) > 0);
    assert_int_equal(out[0].offset, 10);
    seek_to(r, 0, 20);
    assert_int_equal(log_reader_read(r, 0, out, 10, MIB, &e), 0);
    /* A place that went while the reader was about to read it, though the seek may not have known it. */
    drop_before(f, 0, 15);
    if ((x = log_reader_seek(r, 0, 12)) == 0)
        UNTIL((x = log_reader_read(r, 0, out, 10, MIB, &e)) != 0 && x != -EAGAIN);
    assert_true(x == LOG_READ_GAP || x == -ESTALE);
    log_reader_close(r);
}

/* --- topics that go -------------------------------------------------------------------------------------------------
 */

/* Reads on until reading fails for good. */
static int read_to_failure(struct log_reader *r, struct err *e)
{
    struct log_record out[10];
    int x;

    UNTIL((x = log_reader_read(r, 0, out, 10, MIB, e)) < 0 && x != -EAGAIN);
    return x;
}

static void remake_events(struct fixture *f)
{
    delete_topic(f, f->events);
    UNTIL(event_log_ready(f->log) == LOG_UNREACHABLE);
    struct log_record r = {.key = STR_LIT("k"), .value = STR_LIT("v")};
    assert_int_equal(event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, NULL, NULL), LOG_UNREACHABLE);
    must_create(f, 1);
    wait_ready(f->log);
}

static void test_topic_made_anew_shorter(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};

    NEEDS_KAFKA(f);
    open_log(f, 1, NULL);
    for (int i = 0; i < 5; i++)
        put(f->log, LOG_EVENTS, 0, "old");
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    for (int got = 0; got < 5;)
        got += read_some(r, 0, out, 10);
    remake_events(f);
    UNTIL(event_log_end(f->log, LOG_EVENTS, 0) == 0);
    put(f->log, LOG_EVENTS, 0, "new");
    assert_int_equal(read_to_failure(r, &e), -ESTALE);
    assert_int_equal(log_reader_read(r, 0, out, 10, MIB, &e), -ESTALE); /* it stands */
    assert_int_equal(log_reader_seek(r, 0, 5), LOG_READ_GAP);
    seek_to(r, 0, 0);
    assert_int_equal(read_some(r, 0, out, 10), 1);
    assert_true(str_is(out[0].value, "new"));
    log_reader_close(r);
}

/* The other one is as long as the first was before anybody looks. */
static void test_topic_made_anew_longer(void **state)
{
    struct fixture *f = *state;
    struct log_record out[10];
    struct err e = {0};

    NEEDS_KAFKA(f);
    open_log(f, 1, NULL);
    put(f->log, LOG_EVENTS, 0, "old");
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, NULL);
    assert_int_equal(read_some(r, 0, out, 10), 1);
    remake_events(f);
    for (int i = 0; i < 5; i++)
        put(f->log, LOG_EVENTS, 0, "new");
    assert_int_equal(read_to_failure(r, &e), -ESTALE);
    assert_non_null(strstr(e.text, "made anew"));
    log_reader_close(r);
}

/* --- groups ---------------------------------------------------------------------------------------------------------
 */

static void second_log(struct fixture *f, uint32_t partitions, const char *instance)
{
    f->other = open_kafka(f->brokers, f->prefix, partitions, instance);
    wait_ready(f->other);
}

static bool is_split(const struct crew *a, const struct crew *b, uint32_t partitions)
{
    for (uint32_t p = 0; p < partitions; p++)
        if (a->has[p] + b->has[p] != 1)
            return false;
    return true;
}

static void test_two_members(void **state)
{
    struct fixture *f = *state;
    static struct crew a, b;

    NEEDS_KAFKA(f);
    open_log(f, 6, "a");
    int64_t from = clock_monotonic();
    join(f->log, f->prefix, &a);
    UNTIL(a.count == 6);
    print_message("a group of one has its partitions after %lld ms\n", (long long)(clock_monotonic() - from));
    second_log(f, 6, "b");
    from = clock_monotonic();
    join(f->other, f->prefix, &b);
    UNTIL(a.count == 3 && b.count == 3 && is_split(&a, &b, 6));
    print_message("a second one has its half after %lld ms\n", (long long)(clock_monotonic() - from));
    /* Left for good: the other has all at once, long before a session would be over. */
    from = clock_monotonic();
    log_group_leave(f->other, true, 5000);
    assert_in_range(clock_monotonic() - from, 0, 5500);
    assert_int_equal(b.count, 0);
    UNTIL(a.count == 6);
    print_message("the first has all again %lld ms after the second left\n", (long long)(clock_monotonic() - from));
    assert_in_range(clock_monotonic() - from, 0, 8500);
}

/* A member that only stops keeps its place for its session: when it is back within it, nobody else was given anything.
 */
static void test_restart_keeps_the_place(void **state)
{
    struct fixture *f = *state;
    static struct crew a, b;

    NEEDS_KAFKA(f);
    open_log(f, 4, "a");
    join(f->log, f->prefix, &a);
    second_log(f, 4, "b");
    join(f->other, f->prefix, &b);
    UNTIL(a.count == 2 && b.count == 2);
    int calls = a.calls;
    log_group_leave(f->other, false, 2000);
    event_log_close(f->other);
    f->other = NULL;
    second_log(f, 4, "b");
    join(f->other, f->prefix, &b);
    UNTIL(b.count == 2);
    assert_true(is_split(&a, &b, 4));
    assert_int_equal(a.calls, calls);
}

/* Two with one name: the first loses all, says so, and is back when the name is free. */
static void test_same_instance(void **state)
{
    struct fixture *f = *state;
    static struct crew a, b;

    NEEDS_KAFKA(f);
    open_log(f, 2, "a");
    join(f->log, f->prefix, &a);
    UNTIL(a.count == 2);
    second_log(f, 2, "a");
    join(f->other, f->prefix, &b);
    UNTIL(b.count == 2 && a.count == 0);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, f->prefix);
    assert_int_equal(log_reader_seek(r, 0, 0), -EAGAIN);
    log_reader_close(r);
    log_group_leave(f->other, true, 5000);
    UNTIL(a.count == 2);
}

static void test_commits_are_seen_by_others(void **state)
{
    struct fixture *f = *state;
    static struct crew c; /* of the log's thread, also when this test fails */
    struct err e = {0};
    char text[200], id[300];
    int64_t seen = -1;

    NEEDS_KAFKA(f);
    open_log(f, 1, "a");
    for (int i = 0; i < 10; i++)
        put(f->log, LOG_EVENTS, 0, "v");
    join(f->log, f->prefix, &c);
    UNTIL(c.count == 1);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, f->prefix);
    assert_int_equal(log_reader_commit(r, 0, 7, &e), 0);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", f->brokers, text, sizeof(text));
    snprintf(id, sizeof(id), "%s%s", f->prefix, f->prefix); /* the prefix of the topics, and the group's name */
    rd_kafka_conf_set(conf, "group.id", id, text, sizeof(text));
    rd_kafka_t *tool = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, f->events, 0);
    for (int64_t until = clock_monotonic() + WAIT_MS; seen != 7 && clock_monotonic() < until;) {
        rd_kafka_committed(tool, list, 1000);
        seen = list->elems[0].offset;
    }
    assert_int_equal(seen, 7);
    const uint32_t asked[2] = {1, 0};
    int64_t committed[2] = {-7, -7};
    assert_int_equal(event_log_ask_committed(f->log, asked, 2, 5000, committed, &e), 0);
    assert_int_equal(committed[0], -1); /* nobody said anything of it */
    assert_int_equal(committed[1], 7);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(tool);
    log_reader_close(r);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_create_checks_what_is_there),
        TEST(test_how_long_records_are_kept),
        TEST(test_what_goes_in_comes_out),
        TEST(test_asked_ends_are_fresh),
        TEST(test_retention),
        TEST(test_topic_made_anew_shorter),
        TEST(test_topic_made_anew_longer),
        TEST(test_two_members),
        TEST(test_restart_keeps_the_place),
        TEST(test_same_instance),
        TEST(test_commits_are_seen_by_others),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
