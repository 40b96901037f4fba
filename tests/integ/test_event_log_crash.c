/* The embedded log through kill -9 at random moments, and through torn and damaged write-ahead files. The process that
 * is killed is this program, started again with arguments: RocksDB does not survive a fork. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/event_log_local.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/log_wal.h"

enum { PARTITIONS = 3, ROUNDS = 24, THREADS = 3, GROUP_MAX = 40, VALUE_MAX = 3000 };
#define OFFSETS_MAX 2000000
#define START_MS 30000

/* What the child says: a record is durable, or a reader's commit is about to be made. */
struct report {
    uint32_t is_commit;
    uint32_t partition;
    int64_t offset;
    uint64_t id;
};

static void die(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s\n", what, text);
    exit(3);
}

/* The child */

static void report(struct report r)
{
    if (write(STDOUT_FILENO, &r, sizeof(r)) != sizeof(r)) /* under PIPE_BUF: whole or not at all */
        exit(4);
}

static void on_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    uint64_t *id = arg;

    if (status != LOG_OK)
        die("append", log_status_text(status));
    report((struct report){0, partition, offset, *id});
    free(id);
}

struct appender {
    struct event_log *log;
    uint64_t first_id;
    unsigned seed;
};

static void *append_for_ever(void *arg)
{
    struct appender *a = arg;
    char *values = calloc(GROUP_MAX, VALUE_MAX), keys[GROUP_MAX][16];
    struct log_record records[GROUP_MAX];
    void *args[GROUP_MAX];

    for (;;) {
        size_t n = 1 + (size_t)rand_r(&a->seed) % GROUP_MAX;

        for (size_t i = 0; i < n; i++) {
            uint64_t *id = malloc(sizeof(*id));
            char *value = values + i * VALUE_MAX;

            *id = a->first_id++;
            memcpy(value, id, sizeof(*id));
            snprintf(keys[i], sizeof(keys[i]), "%d", rand_r(&a->seed) % 100);
            records[i] = (struct log_record){.key = str_of(keys[i]),
                                             .value = {value, 8 + (size_t)rand_r(&a->seed) % (VALUE_MAX - 8)}};
            args[i] = id;
        }
        if (event_log_append(a->log, LOG_EVENTS, LOG_BY_COLLECTOR, records, n, on_done, args) == LOG_QUEUE_FULL)
            for (size_t i = 0; i < n; i++)
                free(args[i]);
    }
    return NULL;
}

static void *read_and_drop(void *arg)
{
    struct event_log *log = arg;
    struct log_record out[100];
    struct log_reader *r;
    uint32_t all[PARTITIONS] = {0, 1, 2};
    struct err e = {0};

    if (log_reader_open(log, LOG_EVENTS, "folder", &r, &e) != 0)
        die("reader", e.text);
    for (;;) {
        log_reader_wait(r, all, PARTITIONS, 1000);
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            int n = log_reader_read(r, p, out, 100, MIB, &e);

            if (n < 0)
                die("read", e.text);
            if (n == 0)
                continue;
            report((struct report){1, p, out[n - 1].offset + 1, 0});
            if (log_reader_commit(r, p, out[n - 1].offset + 1, &e) != 0)
                die("commit", e.text);
        }
        if (log_retention_run(local_log(log), clock_now() + TIME_HOUR, &e) != 0)
            die("retention", e.text);
    }
    return NULL;
}

static void run_child(const char *folder, unsigned round, unsigned seed, bool dropping)
{
    struct event_log_options o = {.path = folder, .partitions = PARTITIONS, .retain_ms = dropping ? 1 : 0};
    struct appender a[THREADS];
    struct event_log *log;
    struct err e = {0};
    pthread_t t;

    if (event_log_open_local(&o, &log, &e) != 0)
        die("open", e.text);
    for (unsigned i = 0; i < THREADS; i++) {
        a[i] = (struct appender){log, (uint64_t)round << 40 | (uint64_t)i << 32, seed + i};
        pthread_create(&t, NULL, append_for_ever, &a[i]);
    }
    if (dropping)
        pthread_create(&t, NULL, read_and_drop, log);
    for (;;)
        pause();
}

/* The parent */

struct known {
    uint64_t *acked[PARTITIONS]; /* id + 1 by offset, 0: not acked */
    int64_t committed[PARTITIONS];
    uint64_t n;
};

static pid_t start_child(const char *folder, unsigned round, unsigned seed, bool dropping, int *out)
{
    char r[16], s[16];
    int fd[2];

    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    snprintf(r, sizeof(r), "%u", round);
    snprintf(s, sizeof(s), "%u", seed);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        execl("/proc/self/exe", "child", folder, r, s, dropping ? "1" : "0", (char *)NULL);
        _exit(5);
    }
    close(fd[1]);
    *out = fd[0];
    return pid;
}

static void note(struct known *k, const struct report *r)
{
    assert_in_range(r->partition, 0, PARTITIONS - 1);
    assert_in_range(r->offset, 0, OFFSETS_MAX - 1);
    if (r->is_commit) {
        k->committed[r->partition] = r->offset;
        return;
    }
    assert_int_equal(k->acked[r->partition][r->offset], 0); /* no offset is given out twice */
    k->acked[r->partition][r->offset] = r->id + 1;
    k->n++;
}

/* Reads reports; kills at the given moment after the first one; reads what was said before the end. */
static void run_round(struct known *k, const char *folder, unsigned round, unsigned seed, bool dropping)
{
    int fd, status, life = 1 + rand() % 150;
    pid_t pid = start_child(folder, round, seed, dropping, &fd);
    int64_t kill_at = clock_monotonic() + START_MS;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool first = true, killed = false;
    struct report r;

    for (;;) {
        int64_t left = kill_at - clock_monotonic();

        if (!killed && left <= 0) {
            kill(pid, SIGKILL);
            killed = true;
        }
        if (poll(&p, 1, killed ? -1 : (int)left) <= 0)
            continue;
        if (read(fd, &r, sizeof(r)) != sizeof(r))
            break;
        note(k, &r);
        if (first)
            kill_at = clock_monotonic() + life;
        first = false;
    }
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(first);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* Everything acked is where it was acked, once; what retention took was committed before. */
static void check_log(const struct known *k, const char *folder, bool dropping)
{
    struct event_log_options o = {.path = folder, .partitions = PARTITIONS};
    struct log_record *out = calloc(1000, sizeof(*out));
    uint64_t *ids = calloc(OFFSETS_MAX, sizeof(*ids)), total = 0;
    struct event_log *log;
    struct log_reader *reader;
    struct err e = {0};
    int n;

    if (event_log_open_local(&o, &log, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(log_reader_open(log, LOG_EVENTS, NULL, &reader, &e), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t next = event_log_begin(log, LOG_EVENTS, p), end = event_log_end(log, LOG_EVENTS, p);

        assert_true(next <= (dropping ? k->committed[p] : 0));
        while ((n = log_reader_read(reader, p, out, 1000, 4 * MIB, &e)) > 0)
            for (int i = 0; i < n; i++, next++) {
                uint64_t id;

                assert_int_equal(out[i].offset, next);
                memcpy(&id, out[i].value.p, sizeof(id));
                if (k->acked[p][next])
                    assert_int_equal(k->acked[p][next], id + 1);
                ids[total++] = id;
            }
        if (n < 0)
            fail_msg("%s", e.text);
        assert_int_equal(next, end);
        for (int64_t offset = end; offset < OFFSETS_MAX; offset++)
            assert_int_equal(k->acked[p][offset], 0);
    }
    qsort(ids, total, sizeof(*ids), compare_ids);
    for (uint64_t i = 1; i < total; i++)
        assert_true(ids[i] != ids[i - 1]);
    log_reader_close(reader);
    event_log_close(log);
    free(ids);
    free(out);
}

static void remove_folder(const char *folder)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void kill_rounds(bool dropping)
{
    char folder[] = "/tmp/waymark-crash-XXXXXX";
    const char *fixed = getenv("SEED");
    unsigned seed = fixed ? (unsigned)strtoul(fixed, NULL, 10) : (unsigned)clock_now();
    struct known k = {0};

    assert_non_null(mkdtemp(folder));
    print_message("seed %u\n", seed);
    srand(seed);
    for (int p = 0; p < PARTITIONS; p++)
        k.acked[p] = calloc(OFFSETS_MAX, sizeof(uint64_t));
    for (unsigned round = 1; round <= ROUNDS; round++) {
        run_round(&k, folder, round, seed + round * THREADS, dropping);
        if (round % 4 == 0) /* else the next child recovers it */
            check_log(&k, folder, dropping);
    }
    print_message("%u rounds, %llu records acked\n", ROUNDS, (unsigned long long)k.n);
    for (int p = 0; p < PARTITIONS; p++)
        free(k.acked[p]);
    remove_folder(folder);
}

static void test_kill_loses_nothing(void **state)
{
    (void)state;
    kill_rounds(false);
}

static void test_kill_while_dropping(void **state)
{
    (void)state;
    kill_rounds(true);
}

/* Torn and damaged files */

struct fixture {
    char folder[64];
    char wal[400]; /* the newest write-ahead file that holds something */
    off_t size;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    strcpy(f->folder, "/tmp/waymark-torn-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    remove_folder(f->folder);
    free(f);
    return 0;
}

static int try_open(const struct fixture *f, struct event_log **log, struct err *e)
{
    struct event_log_options o = {.path = f->folder, .partitions = 1};

    return event_log_open_local(&o, log, e);
}

static struct event_log *must_open(const struct fixture *f)
{
    struct event_log *log = NULL;
    struct err e = {0};

    if (try_open(f, &log, &e) != 0)
        fail_msg("%s", e.text);
    return log;
}

/* Its size is 0 when all of them are empty. */
static void find_wal(struct fixture *f)
{
    DIR *dir = opendir(f->folder);
    struct dirent *entry;
    unsigned long newest = 0;

    assert_non_null(dir);
    f->size = 0;
    while ((entry = readdir(dir))) {
        char *end, file[400];
        unsigned long number = strtoul(entry->d_name, &end, 10);
        struct stat st;

        snprintf(file, sizeof(file), "%s/%s", f->folder, entry->d_name);
        if (strcmp(end, ".log") == 0 && number >= newest && stat(file, &st) == 0 && st.st_size > 0) {
            newest = number;
            f->size = st.st_size;
            strcpy(f->wal, file);
        }
    }
    closedir(dir);
}

/* `n` records of `size` bytes, a write each; then the write-ahead file lies there. Returns the file's size before the
 * last record. */
static off_t write_records(struct fixture *f, int n, size_t size)
{
    struct event_log *log = must_open(f);
    char *value = malloc(size);
    off_t before = 0;

    for (int i = 0; i < n; i++) {
        struct log_record r = {.key = STR_LIT("k"), .value = {value, size}, .time = 1};

        for (size_t j = 0; j < size; j++)
            value[j] = (char)rand();
        find_wal(f);
        before = f->size;
        assert_int_equal(event_log_append_wait(log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL), LOG_OK);
    }
    event_log_close(log);
    find_wal(f);
    assert_true(f->size > before);
    free(value);
    return before;
}

static void patch(const struct fixture *f, off_t at, const void *p, size_t n)
{
    int fd = open(f->wal, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, at), n);
    close(fd);
}

static void flip(const struct fixture *f, off_t at)
{
    unsigned char c;
    int fd = open(f->wal, O_RDWR);

    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= (unsigned char)(1 + rand() % 255);
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* The log opens and holds `n` records, and the next one follows them. */
static void expect_records(struct fixture *f, int n)
{
    struct event_log *log = must_open(f);
    struct log_record r = {.key = STR_LIT("k"), .value = STR_LIT("v")}, *out = calloc(1000, sizeof(*out));
    struct log_reader *reader;
    struct err e = {0};
    int64_t offset = -1;

    assert_int_equal(event_log_end(log, LOG_EVENTS, 0), n);
    assert_int_equal(log_reader_open(log, LOG_EVENTS, NULL, &reader, &e), 0);
    assert_int_equal(log_reader_read(reader, 0, out, 1000, 100 * MIB, &e), n);
    assert_int_equal(event_log_append_wait(log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, &offset), LOG_OK);
    assert_int_equal(offset, n);
    log_reader_close(reader);
    event_log_close(log);
    log = must_open(f);
    assert_int_equal(event_log_end(log, LOG_EVENTS, 0), n + 1);
    event_log_close(log);
    free(out);
}

static void expect_refusal(const struct fixture *f, const char *text)
{
    struct event_log *log = NULL;
    struct err e = {0};

    for (int i = 0; i < 2; i++) { /* trying does not mend what must not be mended */
        assert_true(try_open(f, &log, &e) < 0);
        assert_null(log);
        assert_non_null(strstr(e.text, text));
    }
}

static void test_cut_tail(void **state)
{
    struct fixture *f = *state;
    off_t cuts[] = {1, 5, 40, 100};
    int n = 0;

    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        write_records(f, 10, 100);
        assert_int_equal(truncate(f->wal, f->size - cuts[i]), 0);
        n += 9;
        expect_records(f, n++);
    }
}

static void test_garbage_after_the_tail(void **state)
{
    struct fixture *f = *state;
    size_t sizes[] = {1, 6, 7, 8, 100, 5000, 70000};
    char *garbage = malloc(70000);
    int n = 0;

    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        write_records(f, 3, 100);
        for (size_t j = 0; j < 70000; j++)
            garbage[j] = (char)(i % 2 ? rand() : 0);
        patch(f, f->size, garbage, sizes[i / 2]);
        n += 3;
        expect_records(f, n++);
    }
    free(garbage);
}

/* Power went while a large write was on its way: its pages are there in any order. */
static void test_holes_in_the_last_write(void **state)
{
    struct fixture *f = *state;
    char page[4096] = {0};
    int n = 0;

    for (int i = 0; i < 6; i++) {
        off_t before = write_records(f, 4, 300 * KIB);
        off_t at = (before / 4096 + 1 + rand() % 60) * 4096;

        if (i == 0) /* its very first byte */
            at = before;
        assert_true(at + 4096 < f->size);
        if (i % 2)
            for (size_t j = 0; j < sizeof(page); j++)
                page[j] = (char)rand();
        patch(f, at, page, sizeof(page));
        n += 3;
        expect_records(f, n++);
    }
}

static void test_damage_in_the_middle(void **state)
{
    struct fixture *f = *state;
    off_t last = write_records(f, 20, 100);

    flip(f, last / 2);
    expect_refusal(f, "damaged");
}

static void test_zeros_in_the_middle(void **state)
{
    struct fixture *f = *state;
    char zeros[4096] = {0};

    write_records(f, 4, 100 * KIB);
    patch(f, 2 * 32768 + 4096, zeros, sizeof(zeros));
    expect_refusal(f, "damaged");
}

/* Any one byte of any finished write, its header too. */
static void damage_everywhere(struct fixture *f, off_t last, off_t step)
{
    struct err e = {0};
    char *copy = malloc((size_t)f->size);
    int fd = open(f->wal, O_RDWR);

    assert_int_equal(pread(fd, copy, (size_t)f->size, 0), f->size);
    assert_int_equal(log_wal_mend(f->folder, &e), 0);
    for (off_t at = 0; at < last; at += 1 + (step > 1 ? rand() % step : 0)) {
        flip(f, at);
        if (log_wal_mend(f->folder, &e) != -EBADMSG)
            fail_msg("damage at byte %lld of %lld was not seen", (long long)at, (long long)f->size);
        patch(f, at, copy + at, 1);
    }
    /* In the last write it cannot be told from a torn one; what is before it stays. */
    for (off_t at = last; at < f->size; at += 1 + (step > 1 ? rand() % step : 0)) {
        struct stat st;

        flip(f, at);
        assert_int_equal(log_wal_mend(f->folder, &e), 0);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, last);
        assert_int_equal(pwrite(fd, copy + last, (size_t)(f->size - last), last), f->size - last);
    }
    close(fd);
    free(copy);
}

static void test_damage_anywhere(void **state)
{
    struct fixture *f = *state;

    damage_everywhere(f, write_records(f, 20, 100), 1);
}

static void test_damage_anywhere_over_blocks(void **state)
{
    struct fixture *f = *state;

    damage_everywhere(f, write_records(f, 6, 50 * KIB), 2000);
}

static void flip_sorted_file(const struct fixture *f)
{
    char command[256], file[512];
    struct fixture largest = *f;
    struct stat st;

    snprintf(command, sizeof(command), "ls -S '%s'/*.sst", f->folder);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    assert_non_null(fgets(file, sizeof(file), p));
    pclose(p);
    file[strcspn(file, "\n")] = '\0';
    assert_int_equal(stat(file, &st), 0);
    snprintf(largest.wal, sizeof(largest.wal), "%.399s", file);
    flip(&largest, st.st_size / 2);
}

/* What was flushed is checked where it is read: what is damaged is an error, never other records or fewer. */
static void test_damage_in_a_sorted_file(void **state)
{
    struct fixture *f = *state;
    struct log_record *out = calloc(1000, sizeof(*out));
    struct log_reader *r;
    struct err e = {0};
    int sum = 0, n;

    write_records(f, 200, 5000);
    event_log_close(must_open(f)); /* recovering writes it */
    flip_sorted_file(f);
    struct event_log *log = must_open(f);
    assert_int_equal(log_reader_open(log, LOG_EVENTS, NULL, &r, &e), 0);
    while ((n = log_reader_read(r, 0, out, 10, MIB, &e)) > 0)
        for (int i = 0; i < n; i++)
            assert_int_equal(out[i].offset, sum++);
    assert_int_equal(n, -EBADMSG);
    assert_false(e.retriable);
    assert_in_range(sum, 10, 190);
    log_reader_close(r);
    event_log_close(log);
    free(out);
}

static void test_lost_current(void **state)
{
    struct fixture *f = *state;
    char file[128];

    write_records(f, 3, 100);
    snprintf(file, sizeof(file), "%s/CURRENT", f->folder);
    assert_int_equal(unlink(file), 0);
    expect_refusal(f, "CURRENT");
}

static void test_lost_wal(void **state)
{
    struct fixture *f = *state;

    write_records(f, 3, 100);
    assert_int_equal(unlink(f->wal), 0);
    expect_refusal(f, "lost");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kill_loses_nothing),
        cmocka_unit_test(test_kill_while_dropping),
        TEST(test_cut_tail),
        TEST(test_garbage_after_the_tail),
        TEST(test_holes_in_the_last_write),
        TEST(test_damage_in_the_middle),
        TEST(test_zeros_in_the_middle),
        TEST(test_damage_anywhere),
        TEST(test_damage_anywhere_over_blocks),
        TEST(test_damage_in_a_sorted_file),
        TEST(test_lost_current),
        TEST(test_lost_wal),
    };

    if (argc == 5)
        run_child(argv[1], (unsigned)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10),
                  argv[4][0] == '1');
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
