/* The parts of the audit log: its key, its lines, its records on the wire, its files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "profiler/audit.h"
#include "profiler/audit_file.h"
#include "profiler/audit_key.h"
#include "profiler/audit_line.h"
#include "profiler/audit_sent.h"

#define FULL 200

struct shelf {
    char folder[64];
};

static int set_up(void **state)
{
    struct shelf *p = calloc(1, sizeof *p);

    strcpy(p->folder, "/tmp/waymark-audit-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct shelf *p = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", p->folder);
    assert_int_equal(system(command), 0);
    free(p);
    return 0;
}

/* --- lines and records ---------------------------------------------------------------------------------------- */

static const unsigned char hashes[2][AUDIT_TARGET_BYTES] = {{1, 2, 0xab}, {0xff}};

static struct audit_record sample(void)
{
    return (struct audit_record){.time = 1769900399123,
                                 .number = 7,
                                 .instance = STR_LIT("one"),
                                 .kind = AUDIT_IDENTITY,
                                 .who = STR_LIT("crm \"x\"\n"),
                                 .from = STR_LIT("::1"),
                                 .method = STR_LIT("POST"),
                                 .route = STR_LIT("/v1/identity:unlink"),
                                 .targets = hashes,
                                 .target_count = 2,
                                 .count = 3,
                                 .status = 202,
                                 .request = STR_LIT("0123456789abcdef"),
                                 .forwarded = true,
                                 .erases = true,
                                 .erasure = {{1, 2, 3}, {0xfe}, -1769900399123, 1023}};
}

static void assert_same(const struct audit_record *a, const struct audit_record *b)
{
    assert_int_equal(a->time, b->time);
    assert_int_equal(a->number, b->number);
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->forwarded, b->forwarded);
    assert_true(str_eq(a->instance, b->instance) && str_eq(a->who, b->who) && str_eq(a->from, b->from));
    assert_true(str_eq(a->method, b->method) && str_eq(a->route, b->route) && str_eq(a->request, b->request));
    assert_int_equal(a->target_count, b->target_count);
    for (size_t i = 0; i < a->target_count; i++)
        assert_memory_equal(a->targets[i], b->targets[i], AUDIT_TARGET_BYTES);
    assert_int_equal(a->erases, b->erases);
    if (!a->erases)
        return;
    assert_memory_equal(a->erasure.hash, b->erasure.hash, ERASURE_HASH_BYTES);
    assert_memory_equal(a->erasure.alias, b->erasure.alias, ERASURE_ALIAS_BYTES);
    assert_true(a->erasure.until == b->erasure.until && a->erasure.partition == b->erasure.partition);
}

static bool read_line(struct str text, struct arena *a, struct json_parser *p, struct audit_record *out)
{
    char *line = arena_alloc(a, text.n + JSON_PADDING);

    memcpy(line, text.p, text.n);
    memset(line + text.n, 0, JSON_PADDING);
    return audit_line_read(p, line, text.n, a, out);
}

static void test_lines_there_and_back(void **state)
{
    struct audit_record r = sample(), got;
    struct json_parser *p = json_parser_new();
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, MIB);
    buf_init(&b, MIB);
    for (int i = 0; i < 2; i++) {
        buf_reset(&b);
        audit_line_write(&b, &r);
        assert_int_equal(b.p[b.n - 1], '\n');
        assert_null(memchr(b.p, '\n', b.n - 1));
        assert_true(read_line((struct str){b.p, b.n - 1}, &a, p, &got));
        assert_same(&r, &got);
        r.request = STR_NONE;
        r.target_count = 0;
        r.forwarded = r.erases = false;
    }
    for (size_t n = 0; n < b.n - 1; n++) /* what was cut off is none */
        assert_false(read_line((struct str){b.p, n}, &a, p, &got));
    buf_deinit(&b);
    arena_deinit(&a);
    json_parser_free(p);
}

static void test_no_lines(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[]",
        "7",
        "null",
        "{\"time\":\"x\",\"number\":1,\"instance\":\"i\",\"kind\":\"read\",\"who\":\"w\",\"from\":\"f\",\"method\":"
        "\"m\","
        "\"route\":\"r\",\"targets\":[],\"count\":1,\"status\":200}",
        "{\"time\":\"2026-01-01T00:00:00Z\",\"number\":1,\"instance\":\"i\",\"kind\":\"look\",\"who\":\"w\",\"from\":"
        "\"f\",\"method\":\"m\",\"route\":\"r\",\"targets\":[],\"count\":1,\"status\":200}",
        "{\"time\":\"2026-01-01T00:00:00Z\",\"number\":1,\"instance\":\"i\",\"kind\":\"read\",\"who\":\"w\",\"from\":"
        "\"f\",\"method\":\"m\",\"route\":\"r\",\"targets\":[\"zz\"],\"count\":1,\"status\":200}",
        "{\"time\":\"2026-01-01T00:00:00Z\",\"number\":1,\"instance\":\"i\",\"kind\":\"erasure\",\"who\":\"w\","
        "\"from\":\"f\",\"method\":\"m\",\"route\":\"r\",\"targets\":[],\"count\":1,\"status\":202,"
        "\"erasure\":{\"hash\":\"00112233445566778899aabbccddeeff\",\"until\":\"2026-01-01T00:00:00Z\","
        "\"partition\":0}}"};
    struct json_parser *p = json_parser_new();
    struct audit_record got;
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(read_line(str_of(bad[i]), &a, p, &got));
    arena_deinit(&a);
    json_parser_free(p);
}

static void test_records_there_and_back(void **state)
{
    struct audit_record r = sample(), got;
    struct arena a;
    struct buf b;

    (void)state;
    arena_init(&a, MIB);
    buf_init(&b, MIB);
    assert_true(audit_record_pack(&r, &b));
    assert_int_equal(audit_record_unpack(buf_str(&b), &a, &got), CODEC_OK);
    assert_same(&r, &got);
    for (size_t n = 0; n < b.n; n++) /* hostile bytes: whatever comes of them, nothing is read behind them */
        (void)audit_record_unpack((struct str){b.p, n}, &a, &got);
    b.p[1] = 2; /* the version */
    assert_int_equal(audit_record_unpack(buf_str(&b), &a, &got), CODEC_VERSION_UNKNOWN);
    buf_deinit(&b);
    arena_deinit(&a);
}

static void test_the_largest_line_fits(void **state)
{
    static unsigned char targets[LIMIT_AUDIT_TARGETS][AUDIT_TARGET_BYTES];
    static char name[4 * LIMIT_TOKEN_NAME];
    struct audit_record r = sample();
    struct buf b;

    (void)state;
    memset(name, 1, sizeof name); /* escaped, six for one */
    r.who = (struct str){name, LIMIT_TOKEN_NAME};
    r.instance = (struct str){name, sizeof name};
    r.targets = (const unsigned char(*)[AUDIT_TARGET_BYTES])targets;
    r.target_count = LIMIT_AUDIT_TARGETS;
    buf_init(&b, LIMIT_AUDIT_LINE);
    audit_line_write(&b, &r);
    assert_false(b.failed);
    buf_reset(&b);
    assert_true(audit_record_pack(&r, &b));
    buf_deinit(&b);
}

/* --- the key -------------------------------------------------------------------------------------------------- */

static void test_key(void **state)
{
    const struct shelf *p = *state;
    unsigned char key[AUDIT_KEY_BYTES], again[AUDIT_KEY_BYTES], one[AUDIT_HASH_BYTES], two[AUDIT_HASH_BYTES];
    struct err e = {0};
    char path[128];
    struct stat st;

    assert_int_equal(audit_key_load(p->folder, false, key, &e), -ENOENT);
    assert_int_equal(audit_key_load(p->folder, true, key, &e), 0);
    assert_int_equal(audit_key_load(p->folder, true, again, &e), 0);
    assert_memory_equal(key, again, sizeof key);
    snprintf(path, sizeof path, "%s/audit.key", p->folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    audit_hash(key, STR_LIT("user:1"), one);
    audit_hash(key, STR_LIT("user:1"), two);
    assert_memory_equal(one, two, sizeof one);
    again[0] ^= 1;
    audit_hash(again, STR_LIT("user:1"), two);
    assert_memory_not_equal(one, two, sizeof one);
    assert_int_equal(truncate(path, 20), 0); /* not made anew: what was recorded could not be found again */
    assert_int_equal(audit_key_load(p->folder, true, key, &e), -EBADMSG);
    assert_non_null(strstr(e.text, "audit.key"));
}

/* --- files ---------------------------------------------------------------------------------------------------- */

static void open_file(struct audit_file *f, const struct shelf *p)
{
    struct err e = {0};

    assert_int_equal(audit_file_open(f, p->folder, FULL, 2, &e), 0);
}

static void append(struct audit_file *f, const char *text)
{
    struct err e = {0};

    if (audit_file_append(f, str_of(text), &e) != 0)
        fail_msg("%s", e.text);
}

static void assert_holds(const struct shelf *p, uint64_t number, const char *want)
{
    char path[128], got[1024] = "";

    assert_true(audit_file_path(p->folder, number, path, sizeof path));
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0 && read(fd, got, sizeof got - 1) >= 0);
    close(fd);
    assert_string_equal(got, want);
}

static void test_what_a_crash_left_half_is_cut_off(void **state)
{
    const struct shelf *p = *state;
    struct audit_file f;
    struct buf tail;
    char path[128];
    struct stat st;

    buf_init(&tail, KIB);
    open_file(&f, p);
    assert_int_equal(audit_file_tail(&f, 100, &tail, NULL), 0);
    assert_int_equal(tail.n, 0);
    append(&f, "one\ntwo\n");
    audit_file_close(&f);
    assert_true(audit_file_path(p->folder, 0, path, sizeof path));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "thr", 3), 3);
    close(fd);
    open_file(&f, p);
    append(&f, "four\n");
    assert_holds(p, 0, "one\ntwo\nfour\n");
    assert_int_equal(audit_file_tail(&f, 8, &tail, NULL), 0);
    assert_true(str_is(buf_str(&tail), "four\n"));
    audit_file_close(&f);
    assert_int_equal(truncate(path, 2), 0); /* not a whole line is left */
    open_file(&f, p);
    append(&f, "five\n");
    assert_holds(p, 0, "five\n");
    audit_file_close(&f);
    buf_deinit(&tail);
}

static void test_full_files_are_closed_and_the_oldest_go(void **state)
{
    const struct shelf *p = *state;
    struct audit_file f;
    uint64_t *numbers;
    char line[102], path[128];
    struct buf tail;

    buf_init(&tail, KIB);
    open_file(&f, p);
    for (int i = 0; i < 9; i++) {
        memset(line, 'a' + i, 99);
        strcpy(line + 99, "\n");
        append(&f, line);
    }
    assert_int_equal(audit_file_list(p->folder, &numbers, NULL), 2);
    assert_int_equal(numbers[0], 3);
    assert_int_equal(numbers[1], 4);
    free(numbers);
    assert_holds(p, 0, line);
    audit_file_close(&f);
    assert_true(audit_file_path(p->folder, 0, path, sizeof path));
    assert_int_equal(unlink(path), 0);
    open_file(&f, p); /* goes on behind the closed ones */
    assert_int_equal(f.youngest, 4);
    assert_int_equal(audit_file_tail(&f, 150, &tail, NULL), 0);
    assert_int_equal(tail.n, 100);
    assert_int_equal(tail.p[0], 'h');
    append(&f, "x\n");
    assert_holds(p, 0, "x\n");
    audit_file_close(&f);
    buf_deinit(&tail);
}

static void test_a_file_that_was_moved_is_made_anew(void **state)
{
    const struct shelf *p = *state;
    struct audit_file f;
    char path[128], other[160];

    open_file(&f, p);
    append(&f, "one\n");
    assert_true(audit_file_path(p->folder, 0, path, sizeof path));
    snprintf(other, sizeof other, "%s/elsewhere", p->folder);
    assert_int_equal(rename(path, other), 0);
    append(&f, "two\n");
    assert_holds(p, 0, "two\n");
    audit_file_close(&f);
}

static void test_a_full_disk(void **state)
{
    const struct shelf *p = *state;
    struct rlimit before, small;
    struct audit_file f;
    struct err e = {0};

    open_file(&f, p);
    append(&f, "one\n");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 8; /* half of what comes next */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 3; i++)
        assert_true(audit_file_append(&f, STR_LIT("two two two\n"), &e) < 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_holds(p, 0, "one\n");
    append(&f, "two two two\n");
    assert_holds(p, 0, "one\ntwo two two\n");
    audit_file_close(&f);
}

static void test_sent(void **state)
{
    const struct shelf *p = *state;
    struct audit_sent s;
    char path[128];

    assert_int_equal(audit_sent_open(&s, p->folder, NULL), 0);
    assert_int_equal(s.number, 0);
    audit_sent_write(&s, 18446744073709551615u);
    audit_sent_write(&s, 12);
    audit_sent_close(&s);
    assert_int_equal(audit_sent_open(&s, p->folder, NULL), 0);
    assert_int_equal(s.number, 12);
    audit_sent_close(&s);
    snprintf(path, sizeof path, "%s/audit.sent", p->folder);
    assert_int_equal(truncate(path, 3), 0);
    assert_int_equal(audit_sent_open(&s, p->folder, NULL), 0);
    assert_int_equal(s.number, 0);
    audit_sent_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_there_and_back),
        cmocka_unit_test(test_no_lines),
        cmocka_unit_test(test_records_there_and_back),
        cmocka_unit_test(test_the_largest_line_fits),
        cmocka_unit_test_setup_teardown(test_key, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_crash_left_half_is_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_files_are_closed_and_the_oldest_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_was_moved_is_made_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_disk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sent, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
