/* The erasures that the audit log knows: read from its topic and its files, each once, in order, and put on a log. */
#include "tests/support/log_case.h"

#include <sys/stat.h>

#include "profiler/audit.h"
#include "profiler/audit_line.h"
#include "profiler/erasures.h"
#include "proto/internal.h"

static struct audit_record noted(unsigned number, unsigned char hash, uint32_t partition)
{
    struct audit_record r = {.time = 1769900399000 + number,
                             .number = number,
                             .instance = STR_LIT("one"),
                             .kind = hash ? AUDIT_ERASURE : AUDIT_READ,
                             .who = STR_LIT("crm"),
                             .from = STR_LIT("::1"),
                             .method = STR_LIT("DELETE"),
                             .route = STR_LIT("/v1/profiles/{id}"),
                             .count = 1,
                             .status = 202};

    r.erases = hash != 0;
    memset(r.erasure.hash, hash, sizeof r.erasure.hash);
    memset(r.erasure.alias, (int)number, sizeof r.erasure.alias);
    r.erasure.until = r.time;
    r.erasure.partition = partition;
    return r;
}

static void on_topic(struct event_log *log, struct audit_record r)
{
    struct buf b;

    buf_init(&b, MIB);
    assert_true(audit_record_pack(&r, &b));
    const struct log_record record = {.kind = LOG_KIND_AUDIT, .key = STR_LIT(""), .value = buf_str(&b), .placed = true};
    assert_int_equal(event_log_append_wait(log, LOG_AUDIT, LOG_BY_PROFILER, &record, NULL, NULL), LOG_OK);
    buf_deinit(&b);
}

static void in_file(const char *folder, const char *name, struct audit_record r, const char *more)
{
    char path[128];
    struct buf b;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "ae");
    assert_non_null(f);
    buf_init(&b, MIB);
    audit_line_write(&b, &r);
    assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
    assert_true(fputs(more, f) >= 0);
    assert_int_equal(fclose(f), 0);
    buf_deinit(&b);
}

static void remove_files(const char *folder)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void test_topic_and_files(void **state)
{
    struct fixture *f = *state;
    struct erasures v = {0};
    struct err e = {0};
    char files[80];

    snprintf(files, sizeof files, "%s.files", f->folder);
    assert_int_equal(mkdir(files, 0700), 0);
    f->log = open_log(f->folder, 4, 0, 0);
    for (unsigned i = 1; i <= 1000; i++) /* more than one page; most erase nobody */
        on_topic(f->log, noted(i, i % 250 == 0 ? (unsigned char)(i / 250) : 0, i % 4));
    assert_int_equal(erasures_of_log(f->log, WAIT_MS, &v, &e), 0);
    assert_int_equal(v.n, 4);
    in_file(files, "audit.log.000001", noted(7, 9, 3), "no record\n");
    in_file(files, "audit.log", noted(500, 2, 0), "");
    in_file(files, "audit.log", noted(2000, 8, 99), "{\"cut");
    assert_int_equal(erasures_of_files(files, &v, &e), 0);
    assert_int_equal(v.n, 7);
    erasures_sort(&v);
    static const unsigned char order[] = {9, 1, 2, 3, 4, 8};
    assert_int_equal(v.n, sizeof order);
    for (size_t i = 0; i < sizeof order; i++) {
        assert_int_equal(v.v[i].erasure.hash[0], order[i]);
        assert_true(i == 0 || v.v[i - 1].time < v.v[i].time);
    }
    erasures_free(&v);
    remove_files(files);
}

/* Each stands in its partition, and names nobody. */
static void test_on_the_log_again(void **state)
{
    struct fixture *f = *state;
    struct erasures v = {0};
    struct err e = {0};
    struct log_reader *reader;
    struct log_record got[2];
    struct command c;
    struct arena a;
    size_t n, beyond;

    f->log = open_log(f->folder, 4, 0, 0);
    on_topic(f->log, noted(1, 5, 3));
    on_topic(f->log, noted(2, 6, 4));
    assert_int_equal(erasures_of_log(f->log, WAIT_MS, &v, &e), 0);
    assert_int_equal(erasures_append(&v, f->log, &n, &beyond, &e), 0);
    assert_true(n == 1 && beyond == 1);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, 3), 1);
    assert_int_equal(log_reader_open(f->log, LOG_EVENTS, NULL, &reader, &e), 0);
    assert_int_equal(log_reader_seek(reader, 3, 0), 0);
    assert_int_equal(log_reader_read(reader, 3, got, 2, MIB, &e), 1);
    arena_init(&a, MIB);
    assert_int_equal(got[0].kind, LOG_KIND_COMMAND);
    assert_int_equal(got[0].key.n, 0);
    assert_int_equal(command_unpack(got[0].value, &a, &c), 0);
    assert_int_equal(c.kind, COMMAND_ERASE);
    assert_false(str_has(c.user) || str_has(c.device));
    assert_true(c.time == v.v[0].time && c.until == v.v[0].erasure.until);
    assert_memory_equal(c.hash.p, v.v[0].erasure.hash, ERASURE_HASH_BYTES);
    assert_memory_equal(c.alias.p, v.v[0].erasure.alias, ERASURE_ALIAS_BYTES);
    arena_deinit(&a);
    log_reader_close(reader);
    erasures_free(&v);
}

static void test_nothing_there(void **state)
{
    struct fixture *f = *state;
    struct erasures v = {0};
    struct err e = {0};
    size_t n, beyond;

    f->log = open_log(f->folder, 1, 0, 0);
    assert_int_equal(erasures_of_log(f->log, WAIT_MS, &v, &e), 0);
    assert_int_equal(erasures_of_files(f->folder, &v, &e), 0);
    erasures_sort(&v);
    assert_int_equal(v.n, 0);
    assert_int_equal(erasures_append(&v, f->log, &n, &beyond, &e), 0);
    assert_int_equal(erasures_of_files("/nowhere", &v, &e), -ENOENT);
    erasures_free(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_topic_and_files, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_on_the_log_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_there, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
