/* The embedded log with a limit on its bytes: what would pass it is refused, who empties it keeps room to work, and
 * what its readers have passed makes room at once, whatever time it carries. I5. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/limits.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_passes_it_and_the_collector_stops_before, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_makes_room, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
