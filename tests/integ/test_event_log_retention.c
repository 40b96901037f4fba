/* Retention of the embedded log: by age and by size, and never past what a name has not committed. */
#include "tests/support/log_case.h"

static void run_retention(struct event_log *log, int64_t now)
{
    struct err e = {0};

    if (log_retention_run(local_log(log), now, &e) != 0)
        fail_msg("%s", e.text);
}

static void test_age(void **state)
{
    struct fixture *f = *state;
    struct log_record out[4];
    struct err e = {0};

    f->log = open_log(f->folder, 1, 1000, 0);
    for (int64_t t = 1; t <= 10; t++)
        put(f->log, "k", "v", t * 100);
    struct log_reader *r = open_reader(f->log, NULL);
    run_retention(f->log, 1000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 0);
    run_retention(f->log, 1450); /* older than 450 goes */
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 4);
    assert_int_equal(log_reader_seek(r, 0, 3), LOG_READ_GAP);
    assert_int_equal(log_reader_read(r, 0, out, 4, MIB, &e), -ESTALE);
    assert_int_equal(log_reader_seek(r, 0, 4), 0);
    assert_int_equal(read_some(r, 0, out, 1), 1);
    assert_int_equal(out[0].time, 500);
    log_reader_close(r);
    /* All of it goes, and no offset comes twice, not after opening anew either. */
    run_retention(f->log, 100000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 10);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 0), 10);
    reopen(f, 1, 1000, 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 10);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 0), 10);
    assert_int_equal(put(f->log, "k", "v", 200000), 10);
    run_retention(f->log, 200000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 10);
}

static void commit(struct log_reader *r, uint32_t partition, int64_t offset)
{
    struct err e = {0};

    if (log_reader_commit(r, partition, offset, &e) != 0)
        fail_msg("%s", e.text);
}

static void test_age_never_passes_the_slowest(void **state)
{
    struct fixture *f = *state;

    f->log = open_log(f->folder, 2, 1000, 0);
    const char *key[2] = {"a", "b"};
    for (int i = 0; event_log_partition(str_of(key[1]), 2) == event_log_partition(str_of(key[0]), 2); i++)
        key[1] = (const char *[]){"c", "d", "e", "f"}[i];
    uint32_t p0 = event_log_partition(str_of(key[0]), 2), p1 = 1 - p0;
    for (int i = 0; i < 20; i++)
        put(f->log, key[i % 2], "v", 1);
    struct log_reader *slow = open_reader(f->log, "slow"), *fast = open_reader(f->log, "fast");
    commit(fast, p0, 10);
    commit(fast, p1, 10);
    run_retention(f->log, 1000000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p0), 0); /* registered, nothing committed */
    commit(slow, p0, 3);
    run_retention(f->log, 1000000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p0), 3);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p1), 0);
    log_reader_close(slow);
    log_reader_close(fast);
    /* A name holds while nobody reads under it, and over a restart. */
    reopen(f, 2, 1000, 0);
    run_retention(f->log, 1000000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p0), 3);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p1), 0);
    slow = open_reader(f->log, "slow");
    commit(slow, p0, 7);
    commit(slow, p1, 10);
    log_reader_close(slow);
    reopen(f, 2, 1000, 0);
    run_retention(f->log, 1000000);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p0), 7);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p1), 10);
    slow = open_reader(f->log, "slow");
    struct log_record out[8];
    assert_int_equal(read_some(slow, p0, out, 8), 3); /* goes on where it committed */
    assert_int_equal(out[0].offset, 7);
    log_reader_close(slow);
}

static void test_commit_is_checked(void **state)
{
    struct fixture *f = *state;
    struct err e = {0};
    struct log_reader *r = NULL;

    f->log = open_log(f->folder, 1, 0, 0);
    put(f->log, "k", "v", 1);
    r = open_reader(f->log, NULL);
    assert_int_equal(log_reader_commit(r, 0, 1, &e), -EINVAL);
    log_reader_close(r);
    r = open_reader(f->log, "x");
    assert_int_equal(log_reader_commit(r, 0, 2, &e), -EINVAL);
    assert_int_equal(log_reader_commit(r, 0, -1, &e), -EINVAL);
    assert_int_equal(log_reader_commit(r, 0, 1, &e), 0);
    log_reader_close(r);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "no/slash", &r, &e), -EINVAL);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "", &r, &e), -EINVAL);
}

static void test_names_are_bounded(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r[LIMIT_LOG_READERS], *extra = NULL;
    struct err e = {0};
    char name[16];

    f->log = open_log(f->folder, 1, 0, 0);
    for (int i = 0; i < LIMIT_LOG_READERS; i++) {
        snprintf(name, sizeof(name), "r%d", i);
        r[i] = open_reader(f->log, name);
    }
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "more", &extra, &e), -ENOSPC);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "r0", &extra, &e), 0);
    log_reader_close(extra);
    for (int i = 0; i < LIMIT_LOG_READERS; i++)
        log_reader_close(r[i]);
}

static uint64_t folder_bytes(const char *folder)
{
    char command[128], line[64] = "";

    snprintf(command, sizeof(command), "du -sb --exclude='*.log' '%s'", folder);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(line, sizeof(line), p));
    pclose(p);
    return strtoull(line, NULL, 10);
}

static void test_size(void **state)
{
    struct fixture *f = *state;
    enum { N = 20000, SIZE = 10000, P = 2 };
    uint64_t keep = 40 * MIB, kept = 0;

    f->log = open_log(f->folder, P, 0, keep);
    struct log_reader *r = open_reader(f->log, "slow"); /* before the log's own thread finds that it is too large */
    for (int i = 0; i < 4; i++)
        fill(f->log, N / 4, SIZE, 1 + i * N / 4);
    run_retention(f->log, 1);
    for (uint32_t p = 0; p < P; p++)
        assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p), 0);
    commit(r, 0, event_log_end(f->log, LOG_EVENTS, 0));
    commit(r, 1, event_log_end(f->log, LOG_EVENTS, 1));
    run_retention(f->log, 1);
    for (uint32_t p = 0; p < P; p++) {
        struct log_record out[1];

        kept += (uint64_t)(event_log_end(f->log, LOG_EVENTS, p) - event_log_begin(f->log, LOG_EVENTS, p)) * SIZE;
        assert_int_equal(log_reader_seek(r, p, event_log_begin(f->log, LOG_EVENTS, p)), 0);
        assert_int_equal(read_some(r, p, out, 1), 1);
        assert_true(out[0].time > N / 2); /* the oldest went, from both */
    }
    assert_in_range(kept, keep - keep / 64, keep);
    log_reader_close(r);
    reopen(f, P, 0, keep);
    run_retention(f->log, 1);
    /* 200 MB came in; files are given back, all but those that hold something else too. */
    for (int64_t end = clock_monotonic() + WAIT_MS; folder_bytes(f->folder) > 3 * keep && clock_monotonic() < end;)
        usleep(20000);
    assert_in_range(folder_bytes(f->folder), 0, 3 * keep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_age),
        TEST(test_age_never_passes_the_slowest),
        TEST(test_commit_is_checked),
        TEST(test_names_are_bounded),
        TEST(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
