/* The topic of the audit log on the embedded log: it is kept for ever, and a log that was made before there was one
 * gets it. */
#include <rocksdb/c.h>

#include "tests/support/log_case.h"

static void put_in(struct fixture *f, enum log_topic topic, const char *value, size_t n)
{
    const struct log_record r = {.kind = topic == LOG_AUDIT ? LOG_KIND_AUDIT : LOG_KIND_EVENT,
                                 .key = STR_LIT("k"),
                                 .value = {value, n},
                                 .time = 100};

    assert_int_equal(event_log_append_wait(f->log, topic, LOG_BY_PROFILER, &r, NULL, NULL), LOG_OK);
}

static void test_it_is_kept(void **state)
{
    struct fixture *f = *state;
    static char large[200000];
    struct log_record out[8];
    struct log_reader *r;
    struct err e = {0};
    uint32_t p;

    memset(large, 'x', sizeof large);
    reopen(f, 2, 1000, 1000000);
    p = event_log_partition(STR_LIT("k"), 2);
    for (int i = 0; i < 8; i++) {
        put_in(f, LOG_AUDIT, large, sizeof large); /* alone more than the log may hold of events */
        put_in(f, LOG_EVENTS, large, 1000);
    }
    assert_int_equal(log_retention_run(local_log(f->log), 500, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p), 0); /* and it takes nothing of their room */
    assert_int_equal(log_retention_run(local_log(f->log), 1000000, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, p), 8);
    assert_int_equal(event_log_begin(f->log, LOG_AUDIT, 0), 0);
    reopen(f, 2, 1000, 1000000);
    assert_int_equal(log_retention_run(local_log(f->log), 1000000, &e), 0);
    assert_int_equal(event_log_end(f->log, LOG_AUDIT, 0), 8);
    assert_int_equal(log_reader_open(f->log, LOG_AUDIT, NULL, &r, &e), 0);
    assert_int_equal(log_reader_read(r, 0, out, 8, 4 * MIB, &e), 8);
    assert_int_equal(out[7].offset, 7);
    log_reader_close(r);
}

/* Takes the row of the audit log away, as in a log that was made without. */
static void drop_row(const struct fixture *f)
{
    rocksdb_options_t *o = rocksdb_options_create();
    char *e = NULL;
    size_t n;
    char **names = rocksdb_list_column_families(o, f->folder, &n, &e);
    rocksdb_column_family_handle_t *handles[8];
    const rocksdb_options_t *options[8];
    int dropped = 0;

    assert_null(e);
    assert_in_range(n, 1, 8);
    for (size_t i = 0; i < n; i++)
        options[i] = o;
    rocksdb_t *db =
        rocksdb_open_column_families(o, f->folder, (int)n, (const char *const *)names, options, handles, &e);
    assert_null(e);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "records.3") == 0) {
            rocksdb_drop_column_family(db, handles[i], &e);
            assert_null(e);
            dropped++;
        }
        rocksdb_column_family_handle_destroy(handles[i]);
    }
    assert_int_equal(dropped, 1);
    rocksdb_close(db);
    rocksdb_list_column_families_destroy(names, n);
    rocksdb_options_destroy(o);
}

static void test_a_log_without_one_gets_it(void **state)
{
    struct fixture *f = *state;

    reopen(f, 2, 0, 0);
    put_in(f, LOG_EVENTS, "v", 1);
    put_in(f, LOG_BAD, "b", 1);
    event_log_close(f->log);
    f->log = NULL;
    drop_row(f);
    reopen(f, 2, 0, 0);
    assert_int_equal(event_log_end(f->log, LOG_EVENTS, event_log_partition(STR_LIT("k"), 2)), 1);
    assert_int_equal(event_log_end(f->log, LOG_BAD, 0), 1);
    assert_int_equal(event_log_end(f->log, LOG_AUDIT, 0), 0);
    put_in(f, LOG_AUDIT, "a", 1);
    reopen(f, 2, 0, 0);
    assert_int_equal(event_log_end(f->log, LOG_AUDIT, 0), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_it_is_kept),
        TEST(test_a_log_without_one_gets_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
