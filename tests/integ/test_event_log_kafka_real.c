/* The log on a real Kafka: making and checking topics, fresh ends, retention, topics that are deleted and made again,
 * groups of several processes, brokers that pause and restart. WAYMARK_KAFKA is the broker's address; for pauses and
 * restarts WAYMARK_KAFKA_DIR and WAYMARK_KAFKA_SCRIPT say whose (test_event_log_kafka.py sets all). Without them the
 * tests are skipped. */
#include "tests/support/kafka_case.h"

#include <librdkafka/rdkafka.h>
#include <signal.h>

#include "common/kafka_fetch.h"

struct fixture {
    const char *brokers;
    char prefix[64];
    char events[80];
    rd_kafka_t *admin;
    struct event_log *log, *other;
};

static char said[8][300];
static int lines;

static void hear(void *arg, const char *line)
{
    (void)arg;
    if (lines < 8)
        snprintf(said[lines++], sizeof(said[0]), "%s", line);
}

static int create(struct fixture *f, uint32_t partitions, struct err *e)
{
    const struct kafka_property p = {"bootstrap.servers", f->brokers};
    const struct event_log_kafka_options o = {
        .properties = &p, .property_count = 1, .prefix = f->prefix, .partitions = partitions};

    lines = 0;
    return event_log_kafka_create(&o, 1, WAIT_MS, hear, NULL, e);
}

static void must_create(struct fixture *f, uint32_t partitions)
{
    struct err e = {0};

    if (create(f, partitions, &e) != 0)
        fail_msg("%s", e.text);
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    struct fixture *f = *state;

    event_log_close(f->log);
    event_log_close(f->other);
    if (f->admin)
        rd_kafka_destroy(f->admin);
    free(f);
    return 0;
}

static bool absent(struct fixture *f)
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

static void open_log(struct fixture *f, uint32_t partitions, const char *instance)
{
    must_create(f, partitions);
    f->log = open_kafka(f->brokers, f->prefix, partitions, instance);
    wait_ready(f->log);
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
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(tool);
    log_reader_close(r);
}

/* --- brokers that go ------------------------------------------------------------------------------------------------
 */

static pid_t broker(void)
{
    char path[256];
    long pid = 0;

    snprintf(path, sizeof(path), "%s/pid", getenv("WAYMARK_KAFKA_DIR"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &pid), 1);
    fclose(file);
    return (pid_t)pid;
}

#define NEEDS_BROKER(f)                                                                                                \
    do {                                                                                                               \
        NEEDS_KAFKA(f);                                                                                                \
        if (!getenv("WAYMARK_KAFKA_DIR") || !getenv("WAYMARK_KAFKA_SCRIPT")) {                                         \
            print_message("skipped: WAYMARK_KAFKA_DIR and _SCRIPT do not say which broker may be stopped\n");          \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* Appends one after the other, counts what was acked and reads all of it: nothing acked is missing, whatever was not
 * acked may be there too. */
static void check_acked_is_read(struct event_log *log, uint64_t acked)
{
    struct log_reader *r = open_reader(log, LOG_EVENTS, NULL);
    struct log_record out[500];
    uint32_t zero = 0;
    int64_t end;
    struct err e = {0};
    bool *seen = calloc(acked + 1, 1);

    UNTIL(event_log_ask_ends(log, LOG_EVENTS, &zero, 1, 1000, &end, &e) == 0);
    for (int64_t next = 0; next < end;) {
        int n = read_some(r, 0, out, 500);
        for (int i = 0; i < n; i++) {
            uint64_t number = strtoull(out[i].value.p, NULL, 10);
            if (number <= acked)
                seen[number] = true;
        }
        next = out[n - 1].offset + 1;
    }
    for (uint64_t i = 1; i <= acked; i++)
        assert_true(seen[i]);
    free(seen);
    log_reader_close(r);
}

static uint64_t numbered(struct event_log *log, uint64_t number, int64_t *took)
{
    char value[32];
    int64_t from = clock_monotonic();
    enum log_status s;

    snprintf(value, sizeof(value), "%llu ", (unsigned long long)number);
    struct log_record r = {.key = STR_LIT("k"), .value = str_of(value)};
    s = event_log_append_wait(log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL);
    *took = clock_monotonic() - from;
    return s == LOG_OK;
}

static void test_paused_broker(void **state)
{
    struct fixture *f = *state;
    static struct crew c; /* of the log's thread, also when this test fails */
    int64_t took, longest = 0;
    uint64_t acked = 0;

    NEEDS_BROKER(f);
    open_log(f, 1, "a");
    join(f->log, f->prefix, &c);
    UNTIL(c.count == 1);
    pid_t pid = broker();
    for (int i = 0; i < 200; i++)
        acked += numbered(f->log, acked + 1, &took);
    kill(pid, SIGSTOP);
    for (int64_t until = clock_monotonic() + 13000; clock_monotonic() < until;) {
        acked += numbered(f->log, acked + 1, &took);
        longest = took > longest ? took : longest;
        usleep(20000);
    }
    assert_int_equal(event_log_ready(f->log), LOG_UNREACHABLE);
    kill(pid, SIGCONT);
    assert_in_range(longest, 0, LIMIT_KAFKA_MS + 3500);
    wait_ready(f->log);
    for (int i = 0; i < 200; i++)
        acked += numbered(f->log, acked + 1, &took);
    assert_true(acked >= 400);
    UNTIL(c.count == 1);
    check_acked_is_read(f->log, acked);
}

static void test_restarted_broker(void **state)
{
    struct fixture *f = *state;
    struct log_record out[500];
    char command[700];
    static struct crew c; /* of the log's thread, also when this test fails */
    int64_t took, next = 0;
    uint64_t acked = 0;
    struct err e = {0};

    NEEDS_BROKER(f);
    open_log(f, 1, "a");
    join(f->log, f->prefix, &c);
    UNTIL(c.count == 1);
    struct log_reader *r = open_reader(f->log, LOG_EVENTS, f->prefix);
    seek_to(r, 0, 0);
    for (int i = 0; i < 200; i++)
        acked += numbered(f->log, acked + 1, &took);
    while (next < 200)
        next += read_some(r, 0, out, 500);
    int calls = c.calls;
    snprintf(command, sizeof(command), "'%s' stop '%s' </dev/null >/dev/null 2>&1", getenv("WAYMARK_KAFKA_SCRIPT"),
             getenv("WAYMARK_KAFKA_DIR"));
    assert_int_equal(system(command), 0);
    UNTIL(event_log_ready(f->log) == LOG_UNREACHABLE);
    UNTIL(log_reader_read(r, 0, out, 500, MIB, &e) == -EAGAIN);
    assert_true(strlen(e.text) > 0);
    snprintf(command, sizeof(command), "'%s' start '%s' '%s' </dev/null >/dev/null 2>&1",
             getenv("WAYMARK_KAFKA_SCRIPT"), getenv("WAYMARK_KAFKA_DIR"), strrchr(f->brokers, ':') + 1);
    assert_int_equal(system(command), 0);
    wait_ready(f->log);
    for (int i = 0; i < 200; i++)
        acked += numbered(f->log, acked + 1, &took);
    assert_true(acked >= 400);
    /* The reader goes on by itself, with no record lost or told twice, unless the group took the partition. */
    int64_t until = clock_monotonic() + WAIT_MS;
    for (uint64_t got = 0; got < acked - 200;) {
        uint32_t zero = 0;
        int n = log_reader_read(r, 0, out, 500, MIB, &e);
        if (n == -EAGAIN && c.calls > calls) /* its session was over: it is told anew where to read */
            UNTIL(c.count == 1 && log_reader_seek(r, 0, next) == 0);
        assert_true(n >= 0 || n == -EAGAIN);
        assert_true(clock_monotonic() < until);
        log_reader_wait(r, &zero, 1, 50);
        if (n <= 0)
            continue;
        assert_int_equal(out[0].offset, next);
        next = out[n - 1].offset + 1;
        got += (uint64_t)n;
    }
    log_reader_close(r);
    check_acked_is_read(f->log, acked);
}

static void test_close_while_paused(void **state)
{
    struct fixture *f = *state;
    struct tally t = {0};
    void *arg = &t;
    static struct crew c; /* of the log's thread, also when this test fails */

    NEEDS_BROKER(f);
    open_log(f, 1, "a");
    join(f->log, f->prefix, &c);
    UNTIL(c.count == 1);
    put(f->log, LOG_EVENTS, 0, "v");
    pid_t pid = broker();
    kill(pid, SIGSTOP);
    uint64_t taken = 0;
    struct log_record r = {.key = STR_LIT("k"), .value = STR_LIT("v")};
    for (int i = 0; i < 100; i++)
        taken += event_log_append(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count, &arg) == LOG_OK;
    int64_t from = clock_monotonic();
    log_group_leave(f->log, true, 2000);
    assert_in_range(clock_monotonic() - from, 0, 2500);
    from = clock_monotonic();
    event_log_close(f->log);
    f->log = NULL;
    int64_t took = clock_monotonic() - from;
    kill(pid, SIGCONT);
    print_message("closed within %lld ms\n", (long long)took);
    assert_in_range(took, 0, 6500);
    assert_int_equal(t.called, taken);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_create_checks_what_is_there),
        TEST(test_what_goes_in_comes_out),
        TEST(test_asked_ends_are_fresh),
        TEST(test_retention),
        TEST(test_topic_made_anew_shorter),
        TEST(test_topic_made_anew_longer),
        TEST(test_two_members),
        TEST(test_restart_keeps_the_place),
        TEST(test_same_instance),
        TEST(test_commits_are_seen_by_others),
        TEST(test_paused_broker),
        TEST(test_restarted_broker),
        TEST(test_close_while_paused),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
