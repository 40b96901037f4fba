/* The embedded log with a limit on its bytes: what would pass it is refused, who empties it keeps room to work, what
 * its readers have passed makes room at once, whatever time it carries (I5), and leaves the disk a moment later. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/event_log_local.h"
#include "common/limits.h"
#include "common/log_wal.h"
#include "tests/support/log_bytes.h"

#define LIMIT (2 * MIB)
#define WAIT_MS 20000

struct fixture {
    char folder[64];
    struct event_log *log;
};

static void open_log(struct fixture *f)
{
    const struct event_log_options o = {.path = f->folder, .partitions = 2, .limit_bytes = LIMIT};
    struct err e = {0};

    if (event_log_open_local(&o, &f->log, &e) != 0)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    strcpy(f->folder, "/tmp/waymark-limit-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    open_log(f);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    event_log_close(f->log);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

static enum log_status append(struct fixture *f, enum log_by by, unsigned i, int64_t time)
{
    static char value[4000];
    const struct log_record r = {
        .value = {value, sizeof value}, .placed = true, .partition = i % 2, .kind = LOG_KIND_EVENT, .time = time};

    return event_log_append_wait(f->log, LOG_EVENTS, by, &r, NULL, NULL);
}

static enum log_status fill(struct fixture *f, enum log_by by, int64_t time)
{
    enum log_status s;

    for (unsigned i = 0; (s = append(f, by, i, time)) == LOG_OK; i++) {
        assert_true(event_log_bytes(f->log) <= LIMIT);
        assert_true(i < 2 * LIMIT / 4000);
    }
    return s;
}

static void nobody_passes_it_and_the_collector_stops_before(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r;
    struct err e = {0};

    /* Its name holds everything; what no name holds is dropped at once. */
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    log_reader_close(r);
    assert_int_equal(event_log_bytes(f->log), 0);
    assert_int_equal(fill(f, LOG_BY_COLLECTOR, 0), LOG_DISK_FULL);
    uint64_t bytes = event_log_bytes(f->log);
    assert_true(bytes > LIMIT / 8 * 6 && bytes <= LIMIT / 8 * 7);
    assert_int_equal(append(f, LOG_BY_SPOOL, 0, 0), LOG_OK);
    assert_int_equal(append(f, LOG_BY_PROFILER, 0, 0), LOG_OK);
    assert_int_equal(fill(f, LOG_BY_COMMAND, 0), LOG_DISK_FULL);
    assert_int_equal(event_log_ready(f->log), LOG_DISK_FULL);
    bytes = event_log_bytes(f->log);
    assert_true(bytes > LIMIT / 8 * 7 && bytes <= LIMIT);
    event_log_close(f->log);
    open_log(f);
    assert_int_equal(event_log_bytes(f->log), bytes);
    assert_int_equal(append(f, LOG_BY_COLLECTOR, 0, 0), LOG_DISK_FULL);
}

static void wait_bytes(struct fixture *f, uint64_t most)
{
    int64_t until = clock_monotonic() + WAIT_MS;

    while (event_log_bytes(f->log) > most) {
        assert_true(clock_monotonic() < until);
        usleep(2000);
    }
}

/* Times from a clock that has stepped back since do not keep what is read. */
static void what_was_read_makes_room(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r;
    struct err e = {0};

    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    assert_int_equal(fill(f, LOG_BY_COLLECTOR, clock_now() + TIME_DAY), LOG_DISK_FULL);
    uint64_t full = event_log_bytes(f->log);
    assert_int_equal(log_reader_commit(r, 0, event_log_end(f->log, LOG_EVENTS, 0), &e), 0);
    wait_bytes(f, full / 2 + 8000); /* the other partition is held */
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 1), 0);
    assert_int_equal(append(f, LOG_BY_COLLECTOR, 0, 0), LOG_OK);
    for (uint32_t p = 0; p < 2; p++)
        assert_int_equal(log_reader_commit(r, p, event_log_end(f->log, LOG_EVENTS, p), &e), 0);
    wait_bytes(f, 0);
    assert_int_equal(event_log_ready(f->log), LOG_OK);
    log_reader_close(r);
}

static void append_texts(struct fixture *f, const char *text, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct log_record r = {.key = str_of(text), .value = str_of(text), .placed = true, .partition = i % 2};

        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, NULL, NULL), LOG_OK);
    }
}

static void pass_all(struct fixture *f, struct log_reader *r, int64_t but)
{
    struct err e = {0};

    for (uint32_t p = 0; p < 2; p++)
        assert_int_equal(log_reader_commit(r, p, event_log_end(f->log, LOG_EVENTS, p) - but, &e), 0);
}

static void wait_clean(struct fixture *f)
{
    int64_t until = clock_monotonic() + WAIT_MS;

    while (atomic_load(&local_log(f->log)->unclean)) {
        assert_true(clock_monotonic() < until);
        usleep(2000);
    }
}

static void wait_gone(struct fixture *f, const char *text, int64_t ms)
{
    int64_t until = clock_monotonic() + ms;

    while (files_with(f->folder, "", text) > 0) {
        if (clock_monotonic() >= until)
            fail_msg("%d files still have it", files_with(f->folder, "", text));
        usleep(5000);
    }
}

/* Both from the write-ahead file and from others; a reader's walk that stands in them holds nothing up. */
static void what_was_read_leaves_the_disk(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r, *slow;
    struct log_record out[4];
    char text[33];
    struct err e = {0};

    random_text(text);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    log_reader_close(r);
    append_texts(f, text, 100);
    event_log_close(f->log);
    open_log(f);
    append_texts(f, text, 100);
    assert_true(files_with(f->folder, ".sst", text) > 0 && files_with(f->folder, ".log", text) > 0);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, NULL, &slow, &e), 0);
    assert_int_equal(log_reader_read(slow, 0, out, 4, MIB, &e), 4);
    pass_all(f, r, 0);
    wait_gone(f, text, 8000);
    assert_int_equal(log_reader_read(slow, 0, out, 4, MIB, &e), -ESTALE);
    log_reader_close(slow);
    /* Closing does not wait for its turn. */
    append_texts(f, text, 100);
    pass_all(f, r, 0);
    log_reader_close(r);
    event_log_close(f->log);
    assert_int_equal(files_with(f->folder, "", text), 0);
    open_log(f);
    append_texts(f, text, 2);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 0), 151);
}

/* What stays keeps its own bytes, not those of what has gone on. */
static void what_is_held_keeps_no_others(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r;
    struct log_record out[4];
    char text[33], last[33];
    struct err e = {0};

    random_text(text);
    random_text(last);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    append_texts(f, text, 100);
    append_texts(f, last, 2);
    pass_all(f, r, 1);
    wait_bytes(f, 500);
    assert_true(files_with(f->folder, "", text) > 0);
    if (log_retention_clean(local_log(f->log), INT64_MAX, &e) != 0)
        fail_msg("%s", e.text);
    wait_gone(f, text, 8000);
    assert_true(files_with(f->folder, "", last) > 0);
    assert_int_equal(log_reader_seek(r, 1, 50), 0);
    assert_int_equal(log_reader_read(r, 1, out, 4, MIB, &e), 1);
    assert_true(str_is(out[0].value, last));
    log_reader_close(r);
}

static void after_a_kill_it_leaves_the_disk_too(void **state)
{
    struct fixture *f = *state;
    char text[33];
    int status;

    random_text(text);
    event_log_close(f->log);
    pid_t pid = fork();
    if (pid == 0) {
        struct log_reader *r;
        struct err e = {0};

        open_log(f);
        if (log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e) == 0) {
            append_texts(f, text, 100);
            pass_all(f, r, 0);
            wait_bytes(f, 0);
        }
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    open_log(f);
    struct log_reader *r;
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, NULL), 0);
    pass_all(f, r, 0);
    log_reader_close(r);
    wait_gone(f, text, 8000);
}

/* A log that is filled and emptied all the time is cleaned now and then, and an empty one not at all. */
static void it_is_not_cleaned_all_the_time(void **state)
{
    struct fixture *f = *state;
    struct log_reader *r;
    char text[33];
    struct err e = {0};

    random_text(text);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, "empties", &r, &e), 0);
    append_texts(f, text, 2);
    pass_all(f, r, 0);
    wait_gone(f, text, 8000);
    wait_clean(f);
    uint64_t wal = log_wal_newest(f->folder);
    int64_t from = clock_monotonic();
    int rounds = 0;
    for (; clock_monotonic() < from + 5000; rounds++) {
        append_texts(f, text, 2);
        pass_all(f, r, 0);
        wait_bytes(f, 0);
    }
    uint64_t took = (uint64_t)(clock_monotonic() - from), used = log_wal_newest(f->folder) - wal;
    print_message("%d rounds in %llu ms, %llu files\n", rounds, (unsigned long long)took, (unsigned long long)used);
    assert_true(rounds > 2);
    assert_true(used <= (took / 2000 + 1) * 30);
    log_reader_close(r);
    wait_gone(f, text, 8000);
    wait_clean(f);
    wal = log_wal_newest(f->folder);
    for (from = clock_monotonic(); clock_monotonic() < from + 3000; usleep(20000))
        assert_int_equal(log_wal_newest(f->folder), wal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_passes_it_and_the_collector_stops_before, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_leaves_the_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_held_keeps_no_others, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_kill_it_leaves_the_disk_too, setup, teardown),
        cmocka_unit_test_setup_teardown(it_is_not_cleaned_all_the_time, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
