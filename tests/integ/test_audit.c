/* The audit log over an event log that fails as it is told: when a record counts, what is refused, what a crash leaves,
 * and that nobody waits for ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/arena.h"
#include "common/clock.h"
#include "profiler/audit.h"
#include "profiler/audit_key.h"
#include "profiler/audit_line.h"
#include "tests/support/fake_log.h"

#define WAIT_MS 30000

struct shop {
    char folder[64];
    struct fake_log *log;
    struct stats *stats;
    struct audit *audit;
    _Atomic int durable, late;
};

static int set_up(void **state)
{
    struct shop *s = calloc(1, sizeof *s);

    strcpy(s->folder, "/tmp/waymark-audit-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    s->log = fake_new();
    s->log->uncounted = true;
    s->stats = stats_new();
    *state = s;
    return 0;
}

static void end(struct shop *s)
{
    audit_stop(s->audit, 100);
    audit_free(s->audit);
    s->audit = NULL;
}

static int tear_down(void **state)
{
    struct shop *s = *state;
    char command[128];

    end(s);
    fake_close(&s->log->base);
    stats_free(s->stats);
    snprintf(command, sizeof command, "rm -rf %s", s->folder);
    assert_int_equal(system(command), 0);
    free(s);
    return 0;
}

static void start(struct shop *s)
{
    struct err e = {0};
    const struct audit_options o = {.folder = s->folder,
                                    .instance = "one",
                                    .file_bytes = 64 * MIB,
                                    .files = 3,
                                    .log = &s->log->base,
                                    .stats = s->stats};

    if (audit_start(&o, &s->audit, &e) != 0)
        fail_msg("%s", e.text);
}

static void done(void *arg, bool durable)
{
    struct shop *s = arg;

    atomic_fetch_add(durable ? &s->durable : &s->late, 1);
}

static int note(struct shop *s, enum audit_kind kind, const char *who, audit_done *call)
{
    static const struct str targets[] = {{"user:42", 7}, {"anon:d", 6}};

    return audit_note(s->audit,
                      &(struct audit_entry){.kind = kind,
                                            .who = str_of(who),
                                            .from = STR_LIT("127.0.0.1"),
                                            .method = STR_LIT("GET"),
                                            .route = STR_LIT("/v1/profiles/{id}"),
                                            .targets = targets,
                                            .target_count = 2,
                                            .count = 1,
                                            .status = 200},
                      call, s);
}

#define UNTIL(condition)                                                                                               \
    do {                                                                                                               \
        const struct timespec pause_ = {.tv_nsec = 2000000};                                                           \
        int64_t end_ = clock_monotonic() + WAIT_MS;                                                                    \
        while (!(condition)) {                                                                                         \
            if (clock_monotonic() > end_)                                                                              \
                fail_msg("waited in vain for %s", #condition);                                                         \
            nanosleep(&pause_, NULL);                                                                                  \
        }                                                                                                              \
    } while (0)

static uint64_t kept(struct shop *s)
{
    return fake_appends(&s->log->base, LOG_BY_PROFILER);
}

/* The records of audit.log; *numbers_in_row whether they count 1, 2, 3. */
static size_t lines(struct shop *s, bool *numbers_in_row)
{
    char path[128], line[4096];
    struct json_parser *p = json_parser_new();
    struct audit_record r;
    struct arena a;
    size_t n = 0;

    snprintf(path, sizeof path, "%s/audit.log", s->folder);
    FILE *f = fopen(path, "re");
    *numbers_in_row = true;
    arena_init(&a, MIB);
    while (f && fgets(line, sizeof line - JSON_PADDING, f)) {
        assert_true(audit_line_read(p, line, strlen(line) - 1, &a, &r));
        assert_null(strstr(line, "user:42")); /* ids stand in no file */
        *numbers_in_row = *numbers_in_row && r.number == ++n;
    }
    if (f)
        fclose(f);
    arena_deinit(&a);
    json_parser_free(p);
    return n;
}

static void test_durable_when_file_and_log_have_it(void **state)
{
    struct shop *s = *state;
    bool in_row;

    fake_set(s->log, (struct fake_fate){.delay = FAKE_NEVER});
    start(s);
    assert_int_equal(note(s, AUDIT_IDENTITY, "ops", done), AUDIT_NOTED);
    UNTIL(fake_tried(s->log, LOG_BY_PROFILER) == 1);
    assert_int_equal(lines(s, &in_row), 1); /* the file has it, the log does not */
    assert_int_equal(atomic_load(&s->durable), 0);
    fake_release(s->log, LOG_OK);
    UNTIL(atomic_load(&s->durable) == 1);
    assert_int_equal(s->log->last.kind, LOG_KIND_AUDIT);
    assert_int_equal(atomic_load(&s->late), 0);
    fake_set(s->log, (struct fake_fate){0});
    for (int i = 0; i < 1000; i++)
        assert_int_equal(note(s, AUDIT_READ, "crm", i % 2 ? done : NULL), AUDIT_NOTED);
    UNTIL(kept(s) == 1001);
    UNTIL(atomic_load(&s->durable) == 501);
    assert_int_equal(lines(s, &in_row), 1001);
    assert_true(in_row);
}

static void test_a_log_that_refuses_for_a_while(void **state)
{
    struct shop *s = *state;
    bool in_row;

    fake_set(s->log, (struct fake_fate){.refuse = LOG_UNREACHABLE});
    start(s);
    assert_true(audit_takes(s->audit));
    for (int i = 0; i < 10; i++)
        assert_int_equal(note(s, AUDIT_READ, "crm", done), AUDIT_NOTED);
    UNTIL(!audit_takes(s->audit)); /* nothing is changed that could not be recorded */
    fake_set(s->log, (struct fake_fate){.report = LOG_FAILED});
    uint64_t tried = fake_tried(s->log, LOG_BY_PROFILER);
    UNTIL(fake_tried(s->log, LOG_BY_PROFILER) > tried + 10);
    assert_int_equal(atomic_load(&s->durable), 0);
    fake_set(s->log, (struct fake_fate){0});
    UNTIL(atomic_load(&s->durable) == 10);
    UNTIL(audit_takes(s->audit));
    assert_int_equal(kept(s), 10);
    assert_int_equal(lines(s, &in_row), 10); /* once each, however often the log was tried */
    assert_true(in_row);
}

static void test_more_than_may_wait_is_refused(void **state)
{
    struct shop *s = *state;
    size_t n = 0;
    bool in_row;

    fake_set(s->log, (struct fake_fate){.delay = FAKE_NEVER});
    start(s);
    while (note(s, AUDIT_READ, "crm", NULL) == AUDIT_NOTED)
        n++;
    assert_int_equal(n, LIMIT_AUDIT_QUEUE);
    assert_false(audit_takes(s->audit));
    fake_set(s->log, (struct fake_fate){0});
    fake_release(s->log, LOG_OK);
    UNTIL(kept(s) == n);
    UNTIL(note(s, AUDIT_READ, "crm", NULL) == AUDIT_NOTED);
    UNTIL(kept(s) == n + 1);
    UNTIL(lines(s, &in_row) == n + 1);
    assert_true(in_row);
}

static void test_large_records_count_by_their_size(void **state)
{
    struct shop *s = *state;
    static struct str targets[2 * LIMIT_AUDIT_TARGETS];
    struct audit_entry e = {.kind = AUDIT_READ,
                            .who = STR_LIT("crm"),
                            .from = STR_LIT("::1"),
                            .method = STR_LIT("POST"),
                            .route = STR_LIT("/v1/profiles:lookup"),
                            .targets = targets,
                            .target_count = 2 * LIMIT_AUDIT_TARGETS,
                            .count = 2 * LIMIT_AUDIT_TARGETS,
                            .status = 200};
    size_t n = 0;

    for (size_t i = 0; i < 2 * LIMIT_AUDIT_TARGETS; i++)
        targets[i] = STR_LIT("user:somebody");
    fake_set(s->log, (struct fake_fate){.delay = FAKE_NEVER});
    start(s);
    while (audit_note(s->audit, &e, NULL, NULL) == AUDIT_NOTED)
        n++;
    assert_true(n > 500 && n * LIMIT_AUDIT_TARGETS * AUDIT_HASH_BYTES <= LIMIT_AUDIT_BYTES);
}

static void test_a_change_is_not_waited_for_for_ever(void **state)
{
    struct shop *s = *state;

    fake_set(s->log, (struct fake_fate){.delay = FAKE_NEVER});
    start(s);
    int64_t begun = clock_monotonic();
    assert_int_equal(note(s, AUDIT_IDENTITY, "ops", done), AUDIT_NOTED);
    UNTIL(fake_tried(s->log, LOG_BY_PROFILER) == 1);
    assert_int_equal(note(s, AUDIT_ERASURE, "ops", done), AUDIT_NOTED); /* still in the queue */
    UNTIL(atomic_load(&s->late) == 2);
    assert_true(clock_monotonic() - begun >= LIMIT_AUDIT_MS);
    fake_set(s->log, (struct fake_fate){0});
    fake_release(s->log, LOG_OK);
    UNTIL(kept(s) == 2); /* it gets there all the same, and nobody is told twice */
    assert_int_equal(atomic_load(&s->durable), 0);
}

static void test_the_stop_is_bounded_and_tells_everybody(void **state)
{
    struct shop *s = *state;

    fake_set(s->log, (struct fake_fate){.delay = FAKE_NEVER});
    start(s);
    for (int i = 0; i < 700; i++)
        assert_int_equal(note(s, AUDIT_IDENTITY, "ops", done), AUDIT_NOTED);
    int64_t begun = clock_monotonic();
    audit_stop(s->audit, 300);
    assert_true(clock_monotonic() - begun < 5000);
    assert_int_equal(atomic_load(&s->late), 700);
    assert_int_equal(note(s, AUDIT_READ, "crm", done), AUDIT_STOPPED);
    assert_int_equal(atomic_load(&s->late), 700);
    end(s);
    fake_release(s->log, LOG_OK); /* the log answers when the audit is gone */
    UNTIL(kept(s) > 0 && kept(s) == fake_tried(s->log, LOG_BY_PROFILER));
}

static void test_the_stop_writes_what_waits(void **state)
{
    struct shop *s = *state;
    bool in_row;

    start(s);
    for (int i = 0; i < 700; i++)
        assert_int_equal(note(s, AUDIT_READ, "crm", done), AUDIT_NOTED);
    audit_stop(s->audit, 20000);
    assert_int_equal(atomic_load(&s->durable), 700);
    assert_int_equal(kept(s), 700);
    assert_int_equal(lines(s, &in_row), 700);
}

static void test_what_only_the_file_has_goes_to_the_log_again(void **state)
{
    struct shop *s = *state;
    bool in_row;

    start(s);
    for (int i = 0; i < 5; i++)
        assert_int_equal(note(s, AUDIT_READ, "crm", NULL), AUDIT_NOTED);
    UNTIL(kept(s) == 5);
    fake_set(s->log, (struct fake_fate){.refuse = LOG_UNREACHABLE});
    for (int i = 0; i < 3; i++)
        assert_int_equal(note(s, AUDIT_READ, "crm", NULL), AUDIT_NOTED);
    UNTIL(lines(s, &in_row) >= 6); /* a batch of the three, or of the first of them */
    end(s);
    size_t n = lines(s, &in_row);
    fake_set(s->log, (struct fake_fate){0});
    start(s);
    UNTIL(kept(s) == n);
    assert_int_equal(note(s, AUDIT_READ, "crm", NULL), AUDIT_NOTED);
    UNTIL(kept(s) == n + 1);
    end(s);
    start(s);
    assert_int_equal(note(s, AUDIT_READ, "crm", NULL), AUDIT_NOTED);
    UNTIL(kept(s) == n + 2); /* and what both have does not */
    assert_int_equal(lines(s, &in_row), n + 2);
    assert_true(in_row);
}

/* The folder of the file cannot be written, as on a full or broken disk. */
static void test_without_a_disk_nothing_counts(void **state)
{
    struct shop *s = *state;
    char away[80];
    bool in_row;

    start(s);
    assert_int_equal(note(s, AUDIT_READ, "crm", done), AUDIT_NOTED);
    UNTIL(atomic_load(&s->durable) == 1);
    snprintf(away, sizeof away, "%s.away", s->folder);
    assert_int_equal(rename(s->folder, away), 0);
    assert_int_equal(note(s, AUDIT_READ, "crm", done), AUDIT_NOTED);
    UNTIL(!audit_takes(s->audit));
    assert_int_equal(kept(s), 1);
    assert_int_equal(rename(away, s->folder), 0);
    UNTIL(atomic_load(&s->durable) == 2);
    assert_int_equal(kept(s), 2);
    assert_int_equal(lines(s, &in_row), 2);
    assert_true(in_row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_durable_when_file_and_log_have_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_log_that_refuses_for_a_while, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_may_wait_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_records_count_by_their_size, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_change_is_not_waited_for_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_stop_is_bounded_and_tells_everybody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_stop_writes_what_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_only_the_file_has_goes_to_the_log_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_a_disk_nothing_counts, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
