/* The embedded log on a disk that is really full: a small tmpfs in a mount namespace of this process, so that nothing
 * stays behind. Where neither root nor user namespaces can mount, the tests are skipped and say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/event_log_local.h"
#include "common/limits.h"
#include "common/log.h"

enum { PARTITIONS = 3, GROUP = 20, WAIT_MS = 60000, EPISODES = 5 };
#define DISK (480 * MIB)
#define ROOM (40 * MIB)
#define OFFSETS_MAX 1000000

static char disk[] = "/tmp/waymark-full-XXXXXX";
static bool mounted;

static bool write_text(const char *file, const char *text)
{
    int fd = open(file, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0)
        close(fd);
    return ok;
}

/* Before any thread is made. */
static bool own_namespace(void)
{
    char map[32];
    uid_t uid = getuid();

    if (unshare(CLONE_NEWNS) == 0)
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return false;
    snprintf(map, sizeof(map), "0 %u 1", (unsigned)uid);
    return write_text("/proc/self/uid_map", map) && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static bool mount_disk(void)
{
    char options[32];

    snprintf(options, sizeof(options), "size=%zu", DISK);
    return own_namespace() && mkdtemp(disk) && mount("tmpfs", disk, "tmpfs", 0, options) == 0;
}

static uint64_t disk_free(void)
{
    struct statvfs v;

    assert_int_equal(statvfs(disk, &v), 0);
    return v.f_bavail * v.f_frsize;
}

static void file_in(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", disk, name);
}

/* A file that leaves `left` bytes of the disk. */
static void fill_up(uint64_t left)
{
    char file[128];
    uint64_t bytes = disk_free();

    file_in("filler", file, sizeof(file));
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (bytes > left)
        assert_int_equal(posix_fallocate(fd, lseek(fd, 0, SEEK_END), (off_t)(bytes - left)), 0);
    close(fd);
}

static void free_up(void)
{
    char file[128];

    file_in("filler", file, sizeof(file));
    assert_int_equal(unlink(file), 0);
}

/* What was acked, by offset; and how the rest ended. */
struct tally {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t *acked[PARTITIONS]; /* number + 1 */
    int64_t erased[PARTITIONS];  /* offsets below this are */
    uint64_t sent, ok, full, other;
    bool failing; /* expects LOG_FAILED where else the disk is full */
};

struct item {
    struct tally *tally;
    uint64_t number;
};

static void on_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct item *i = arg;
    struct tally *t = i->tally;

    pthread_mutex_lock(&t->lock);
    if (status == LOG_OK && offset >= 0 && offset < OFFSETS_MAX && !t->acked[partition][offset]) {
        t->acked[partition][offset] = i->number + 1;
        t->ok++;
    } else if (status == (t->failing ? LOG_FAILED : LOG_DISK_FULL) && offset == -1) {
        t->full++;
    } else {
        t->other++;
    }
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
    free(i);
}

static struct tally *tally_new(void)
{
    struct tally *t = calloc(1, sizeof(*t));

    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->cond, NULL);
    for (int p = 0; p < PARTITIONS; p++)
        t->acked[p] = calloc(OFFSETS_MAX, sizeof(uint64_t));
    return t;
}

static void tally_free(struct tally *t)
{
    for (int p = 0; p < PARTITIONS; p++)
        free(t->acked[p]);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->cond);
    free(t);
}

/* What was acked there has been blanked since. */
static void forget(struct tally *t, uint32_t partition, int64_t below)
{
    t->erased[partition] = below;
}

static void wait_told(struct tally *t)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&t->lock);
    while (t->ok + t->full + t->other < t->sent)
        if (pthread_cond_timedwait(&t->cond, &t->lock, &until) == ETIMEDOUT)
            break;
    assert_int_equal(t->ok + t->full + t->other, t->sent);
    assert_int_equal(t->other, 0);
    pthread_mutex_unlock(&t->lock);
}

/* A group of records; waits until each is told its fate. */
static enum log_status append_group(struct event_log *log, struct tally *t, size_t size)
{
    struct log_record records[GROUP];
    struct item *items[GROUP];
    void *args[GROUP];
    char keys[GROUP][16], *values = malloc(GROUP * size);
    static uint64_t number;

    for (size_t i = 0; i < GROUP; i++) {
        char *value = values + i * size;

        for (size_t j = 0; j < size; j++)
            value[j] = (char)rand();
        args[i] = items[i] = malloc(sizeof(struct item));
        *items[i] = (struct item){t, number};
        memcpy(value, &number, sizeof(number));
        number++;
        snprintf(keys[i], sizeof(keys[i]), "%d", rand() % 100);
        records[i] = (struct log_record){.key = str_of(keys[i]), .value = {value, size}};
    }
    enum log_status s = event_log_append(log, LOG_EVENTS, LOG_BY_COLLECTOR, records, GROUP, on_done, args);
    if (s == LOG_OK)
        t->sent += GROUP;
    for (size_t i = 0; i < GROUP && s != LOG_OK; i++)
        free(items[i]);
    free(values);
    wait_told(t);
    return s;
}

/* Every acked record is where it was acked; nothing is missing between. */
static void check_all(struct event_log *log, struct tally *t)
{
    struct log_record *out = calloc(1000, sizeof(*out));
    struct log_reader *r;
    struct err e = {0};
    uint64_t found = 0;
    int n;

    assert_int_equal(log_reader_open(log, LOG_EVENTS, NULL, &r, &e), 0);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        int64_t next = 0;

        while ((n = log_reader_read(r, p, out, 1000, MIB, &e)) > 0)
            for (int i = 0; i < n; i++, next++) {
                uint64_t number = 0;

                assert_int_equal(out[i].offset, next);
                found += out[i].kind == LOG_KIND_ERASED && t->erased[p] > next;
                if (out[i].kind == LOG_KIND_ERASED)
                    continue;
                assert_true(t->erased[p] <= next);
                memcpy(&number, out[i].value.p, sizeof(number));
                if (t->acked[p][next])
                    assert_int_equal(t->acked[p][next], number + 1);
                found += t->acked[p][next] != 0;
            }
        if (n < 0)
            fail_msg("%s", e.text);
        assert_int_equal(next, event_log_end(log, LOG_EVENTS, p));
    }
    assert_int_equal(found, t->ok);
    log_reader_close(r);
    free(out);
}

static struct event_log *open_log(uint64_t reserve, uint64_t retain)
{
    char folder[128];
    struct event_log_options o = {
        .path = folder, .partitions = PARTITIONS, .reserve_bytes = reserve, .retain_bytes = retain};
    struct event_log *log = NULL;
    struct err e = {0};

    file_in("log", folder, sizeof(folder));
    if (event_log_open_local(&o, &log, &e) != 0)
        fail_msg("%s", e.text);
    return log;
}

static void clear_disk(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'/*", disk);
    assert_int_equal(system(command), 0);
}

/* The next few of partition 0, in order, by a reader that stays open while the log is opened anew under it. */
static int64_t read_on(struct log_reader *r, int64_t next, size_t max)
{
    struct log_record out[10];
    struct err e = {0};
    int n = log_reader_read(r, 0, out, max, MIB, &e);

    if (n < 0)
        fail_msg("%s", e.text);
    for (int i = 0; i < n; i++)
        assert_int_equal(out[i].offset, next++);
    return next;
}

static int set_up(void **state)
{
    (void)state;
    if (mounted)
        return 0;
    print_message("SKIPPED: no tmpfs can be mounted here (%s), the full disk is not tested\n", strerror(errno));
    return 0;
}

static void wait_writable(struct event_log *log, struct tally *t, size_t size)
{
    int64_t end = clock_monotonic() + WAIT_MS;
    uint64_t ok = t->ok;

    while (t->ok == ok && clock_monotonic() < end) {
        append_group(log, t, size);
        usleep(10000);
    }
    assert_true(t->ok > ok);
    assert_int_equal(event_log_ready(log), LOG_OK);
}

/* Fills what is left by talking on, keeps talking, frees the disk, goes on. */
static void test_writes_meet_a_full_disk(void **state)
{
    struct tally *t;

    (void)state;
    if (!mounted)
        skip();
    t = tally_new();
    struct event_log *log = open_log(0, 0);
    struct log_reader *reader;
    int64_t next = 0;
    assert_int_equal(log_reader_open(log, LOG_EVENTS, "slow", &reader, NULL), 0);
    for (int episode = 0; episode < EPISODES; episode++) {
        size_t size = episode % 2 ? 500 : 20 * KIB;
        uint64_t full = t->full;
        int refused = 0;

        append_group(log, t, size);
        next = read_on(reader, next, 1); /* and is not at the end */
        fill_up(episode % 3 == 2 ? 64 * KIB : (uint64_t)rand() % (16 * MIB));
        for (int64_t end = clock_monotonic() + WAIT_MS; refused < 200 && clock_monotonic() < end;) {
            enum log_status s = append_group(log, t, size);

            assert_true(s == LOG_OK || s == LOG_DISK_FULL);
            refused += s == LOG_DISK_FULL;
        }
        assert_int_equal(refused, 200);
        assert_true(t->full > full);
        assert_int_equal(event_log_ready(log), LOG_DISK_FULL);
        check_all(log, t); /* readable while it is full */
        free_up();
        wait_writable(log, t, size);
        next = read_on(reader, next, 1);
        assert_int_equal(log_reader_commit(reader, 0, next, NULL), 0);
        check_all(log, t);
    }
    while (next < event_log_end(log, LOG_EVENTS, 0))
        next = read_on(reader, next, 10);
    log_reader_close(reader);
    event_log_close(log);
    log = open_log(0, 0);
    check_all(log, t);
    event_log_close(log);
    print_message("%llu acked, %llu told that the disk is full\n", (unsigned long long)t->ok,
                  (unsigned long long)t->full);
    tally_free(t);
    clear_disk();
}

/* Killed in mind: closed while the disk is full, opened when it is not. */
static void test_closing_on_a_full_disk(void **state)
{
    (void)state;
    if (!mounted)
        skip();
    struct tally *t = tally_new();
    struct event_log *log = open_log(0, 0);
    append_group(log, t, 1000);
    fill_up(MIB);
    while (append_group(log, t, 20 * KIB) == LOG_OK)
        ;
    event_log_close(log);
    free_up();
    log = open_log(0, 0);
    check_all(log, t);
    assert_int_equal(append_group(log, t, 1000), LOG_OK);
    check_all(log, t);
    event_log_close(log);
    tally_free(t);
    clear_disk();
}

static void limit_files(rlim_t bytes)
{
    struct rlimit l;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &l), 0);
    l.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &l), 0);
}

/* Any other error than a full disk: a file that may not grow. */
static void test_a_failing_disk(void **state)
{
    (void)state;
    if (!mounted)
        skip();
    struct tally *t = tally_new();
    struct event_log *log = open_log(0, 0);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(2 * MIB);
    int64_t end = clock_monotonic() + WAIT_MS;
    t->failing = true;
    while (t->full == 0 && clock_monotonic() < end)
        append_group(log, t, 20 * KIB);
    assert_true(t->full > 0);
    check_all(log, t);
    limit_files(RLIM_INFINITY);
    wait_writable(log, t, 1000);
    check_all(log, t);
    event_log_close(log);
    tally_free(t);
    clear_disk();
}

static int judge_all(void *arg, const struct log_record *r, struct buf *value)
{
    (void)arg, (void)r, (void)value;
    return LOG_BLANK;
}

/* The log looks at the disk now and then. */
static void wait_known(struct event_log *log)
{
    int64_t until = clock_monotonic() + WAIT_MS;

    while (llabs(log_disk_free(local_log(log)) - (int64_t)disk_free()) > (int64_t)MIB) {
        assert_true(clock_monotonic() < until);
        usleep(1000);
    }
}

/* Refused with words while there is no room, and done when there is; whatever fails in between, nothing but what was to
 * go is gone. */
static void test_blanking_meets_a_full_disk(void **state)
{
    struct err e = {0};
    uint64_t blanked = 0;

    (void)state;
    if (!mounted)
        skip();
    struct tally *t = tally_new();
    struct event_log *log = open_log(ROOM, 0);
    for (int i = 0; i < 100; i++)
        append_group(log, t, 20 * KIB);
    int64_t end = event_log_end(log, LOG_EVENTS, 1);
    fill_up(ROOM / 2);
    wait_known(log);
    assert_int_equal(event_log_blank(log, LOG_EVENTS, 1, end / 2, judge_all, NULL, NULL, &blanked, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "free disk"));
    assert_int_equal(blanked, 0);
    check_all(log, t);
    free_up();
    wait_known(log);
    /* Room to begin with, but not for the files. */
    fill_up(ROOM / 2 + 6 * MIB);
    wait_known(log);
    int r = event_log_blank(log, LOG_EVENTS, 1, end / 2, judge_all, NULL, NULL, &blanked, &e);
    assert_true(r == -ENOSPC || r == 0);
    free_up();
    wait_known(log);
    if (event_log_blank(log, LOG_EVENTS, 1, end / 2, judge_all, NULL, NULL, &blanked, &e) != 0)
        fail_msg("%s", e.text);
    wait_writable(log, t, 1000);
    forget(t, 1, end / 2);
    check_all(log, t);
    event_log_close(log);
    log = open_log(ROOM, 0);
    check_all(log, t);
    event_log_close(log);
    tally_free(t);
    clear_disk();
}

/* The write of whoever is not the writer fails while nobody appends: the log heals all the same. */
static void test_an_idle_log_heals(void **state)
{
    struct err e = {0};

    (void)state;
    if (!mounted)
        skip();
    struct tally *t = tally_new();
    struct event_log *log = open_log(0, 0);
    append_group(log, t, 20 * KIB);
    signal(SIGXFSZ, SIG_IGN);
    limit_files(1 * KIB);
    assert_true(event_log_blank(log, LOG_EVENTS, 0, 1, judge_all, NULL, NULL, NULL, &e) < 0);
    assert_int_equal(event_log_ready(log), LOG_FAILED);
    limit_files(RLIM_INFINITY);
    for (int64_t until = clock_monotonic() + WAIT_MS; event_log_ready(log) != LOG_OK; usleep(10000))
        assert_true(clock_monotonic() < until);
    if (event_log_blank(log, LOG_EVENTS, 0, 1, judge_all, NULL, NULL, NULL, &e) != 0)
        fail_msg("%s", e.text);
    forget(t, 0, 1);
    wait_writable(log, t, 1000);
    check_all(log, t);
    event_log_close(log);
    tally_free(t);
    clear_disk();
}

static void test_the_reserve_keeps_it_from_getting_full(void **state)
{
    struct log_record own = {.key = STR_LIT("k"), .value = STR_LIT("own")};

    (void)state;
    if (!mounted)
        skip();
    struct tally *t = tally_new();
    struct event_log *log = open_log(ROOM, 0);
    fill_up(ROOM + 20 * MIB);
    int64_t end = clock_monotonic() + WAIT_MS;
    while (append_group(log, t, 20 * KIB) == LOG_OK && clock_monotonic() < end)
        ;
    assert_int_equal(event_log_ready(log), LOG_DISK_FULL);
    assert_int_equal(t->full, 0); /* what was taken was kept */
    assert_true(disk_free() > ROOM / 2);
    assert_int_equal(event_log_append_wait(log, LOG_EVENTS, LOG_BY_PROFILER, &own, NULL, NULL), LOG_OK);
    free_up();
    wait_writable(log, t, 1000);
    event_log_close(log);
    tally_free(t);
    clear_disk();
}

static void test_opening_needs_the_reserve(void **state)
{
    char folder[128];
    struct event_log_options o = {.path = folder, .partitions = PARTITIONS, .reserve_bytes = ROOM};
    struct event_log *log = NULL;
    struct err e = {0};

    (void)state;
    if (!mounted)
        skip();
    file_in("log", folder, sizeof(folder));
    fill_up(ROOM / 2);
    assert_int_equal(event_log_open_local(&o, &log, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "reserve"));
    o.reserve_bytes = 0;
    fill_up(0);
    assert_true(event_log_open_local(&o, &log, &e) < 0); /* no room to make it: words, not a crash */
    free_up();
    assert_int_equal(event_log_open_local(&o, &log, &e), 0);
    event_log_close(log);
    clear_disk();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_meet_a_full_disk),
        cmocka_unit_test(test_closing_on_a_full_disk),
        cmocka_unit_test(test_a_failing_disk),
        cmocka_unit_test(test_blanking_meets_a_full_disk),
        cmocka_unit_test(test_an_idle_log_heals),
        cmocka_unit_test(test_the_reserve_keeps_it_from_getting_full),
        cmocka_unit_test(test_opening_needs_the_reserve),
    };

    mounted = mount_disk();
    log_set_level(LOG_ERROR);
    const char *fixed = getenv("SEED");
    unsigned seed = fixed ? (unsigned)strtoul(fixed, NULL, 10) : (unsigned)clock_now();
    print_message("seed %u\n", seed);
    srand(seed);
    int failed = cmocka_run_group_tests(tests, set_up, NULL);
    if (mounted)
        umount2(disk, MNT_DETACH);
    rmdir(disk);
    return failed;
}
