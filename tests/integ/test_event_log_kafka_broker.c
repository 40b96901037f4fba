/* The log on a real Kafka whose broker pauses and restarts. WAYMARK_KAFKA is its address; WAYMARK_KAFKA_DIR and
 * WAYMARK_KAFKA_SCRIPT say which one may be stopped (test_event_log_kafka.py sets all). Without them the tests are
 * skipped. */
#include <signal.h>

#include "tests/support/kafka_real.h"

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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_paused_broker),
        TEST(test_restarted_broker),
        TEST(test_close_while_paused),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
