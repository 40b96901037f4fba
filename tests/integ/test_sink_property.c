/* I1 at the sink: whatever the event log does, and through restarts and kill -9, each record that was reported as kept
 * (on the log or in the spool) is on the event log in the end; each is reported once, and in time. */
#include "tests/support/sink_case.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

enum { SEEDS = 5, ROUNDS = 4, THREADS = 3, APPENDS = 60, KILLS = 12, KILL_IDS = 40000, START_MS = 60000 };

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Of an append: everything that a log may do to it. */
static struct fake_fate random_fate(void *arg, enum log_by by)
{
    static const enum log_status failures[] = {LOG_FAILED, LOG_UNREACHABLE, LOG_QUEUE_FULL, LOG_STOPPED, LOG_TOO_LARGE};
    unsigned *seed = arg, n = next_random(seed) % 100;
    struct fake_fate f = {.delay = next_random(seed) % 10};

    if (n < 10)
        f.delay = next_random(seed) % (4 * SHORT_MS);
    else if (n < 14 && by == LOG_BY_COLLECTOR)
        f.delay = FAKE_NEVER;
    else if (n < 30)
        f.report = failures[next_random(seed) % 5];
    else if (n < 40)
        f.refuse = failures[next_random(seed) % 5];
    f.kept = next_random(seed) % 2 == 0;
    return f;
}

/* --- in one process --- */

struct appender {
    struct sink_case *c;
    unsigned seed;
};

static void *append_some(void *arg)
{
    struct appender *a = arg;

    for (int i = 0; i < APPENDS; i++) {
        enum log_topic topic = next_random(&a->seed) % 5 == 0 ? LOG_BAD : LOG_EVENTS;
        size_t n = 1 + next_random(&a->seed) % 30, size = 8 + next_random(&a->seed) % 500;
        uint64_t first;

        if (case_append(a->c, topic, n, size, &first) != LOG_OK)
            for (size_t k = 0; k < n; k++)
                a->c->told[first + k].status = -1;
        if (next_random(&a->seed) % 4 == 0)
            usleep(next_random(&a->seed) % 5000);
    }
    return NULL;
}

static void run_round(struct sink_case *c, unsigned *seed)
{
    struct appender a[THREADS];
    pthread_t threads[THREADS];

    c->spool->refuse = next_random(seed) % 4 == 0 ? LOG_QUEUE_FULL : LOG_OK;
    for (int i = 0; i < THREADS; i++) {
        a[i] = (struct appender){c, next_random(seed)};
        assert_int_equal(pthread_create(&threads[i], NULL, append_some, &a[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    case_stop(c, next_random(seed) % 2 ? 2000 : 0);
    case_start(c);
}

static void check(struct sink_case *c, uint64_t from)
{
    for (uint64_t id = from; id < c->next_id; id++) {
        struct told *t = &c->told[id];

        if (t->status == -1) {
            assert_int_equal(t->times, 0);
            continue;
        }
        assert_int_equal(t->times, 1);
        assert_true(t->took < LIMIT_ANSWER_MS);
        if (t->status == LOG_OK || t->status == LOG_SPOOLED)
            assert_true(fake_seen(c->log, LOG_EVENTS, id) + fake_seen(c->log, LOG_BAD, id) >= 1);
    }
}

static void what_is_reported_as_kept_is_on_the_log_in_the_end(void **state)
{
    struct sink_case *c = *state;
    unsigned kept = 0;

    case_restart(c, SHORT_MS);
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        unsigned own = seed, fates = seed * 77;
        uint64_t from = c->next_id;

        pthread_mutex_lock(&c->log->lock);
        c->log->choose = random_fate;
        c->log->choose_arg = &fates;
        pthread_mutex_unlock(&c->log->lock);
        for (int i = 0; i < ROUNDS; i++)
            run_round(c, &own);
        c->spool->refuse = LOG_OK;
        fake_set(c->log, (struct fake_fate){.report = LOG_OK});
        case_wait_drained(c);
        check(c, from);
        for (uint64_t id = from; id < c->next_id; id++)
            kept += c->told[id].status == LOG_OK || c->told[id].status == LOG_SPOOLED;
    }
    assert_true(kept > c->next_id / 3); /* the test tests something */
}

/* With the patience of the product the answer comes in the collector's time. */
static void every_report_is_in_time_for_the_answer(void **state)
{
    static const struct fake_fate fates[] = {
        {.delay = FAKE_NEVER}, {.report = LOG_FAILED, .delay = LIMIT_PATIENCE_MS - 20}, {.delay = LIMIT_PATIENCE_MS}};
    struct sink_case *c = *state;
    uint64_t first;

    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        case_restart(c, LIMIT_PATIENCE_MS);
        fake_set(c->log, fates[i]);
        assert_int_equal(case_append(c, LOG_EVENTS, 100, 400, &first), LOG_OK);
        case_wait_told(c, first, 100);
        for (uint64_t id = first; id < first + 100; id++)
            assert_true(c->told[id].took < LIMIT_ANSWER_MS);
    }
}

/* --- kill -9 --- */

static void say_kept(void *arg, uint64_t id)
{
    if (write(*(int *)arg, &id, sizeof id) != sizeof id)
        _exit(3);
}

static void say_acked(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    uint64_t id = (uint64_t)(uintptr_t)arg;

    (void)partition, (void)offset;
    if ((status == LOG_OK || status == LOG_SPOOLED) && write(STDOUT_FILENO, &id, sizeof id) != sizeof id)
        _exit(4);
}

static void append_id(struct sink_case *c, uint64_t id)
{
    char value[64] = {0};
    void *arg = (void *)(uintptr_t)id;

    memcpy(value, &id, sizeof id);
    const struct log_record r = {.key = STR_LIT("k"), .value = {value, sizeof value}};
    (void)sink_append(c->sink, id % 7 ? LOG_EVENTS : LOG_BAD, &r, 1, say_acked, &arg);
}

/* Appends until it is killed; what the event log keeps is told to a file that outlives it. */
static void run_child(const char *folder, const char *file, unsigned round)
{
    static struct sink_case c;
    unsigned seed = round * 31 + 7;
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);

    snprintf(c.folder, sizeof c.folder, "%s", folder);
    c.patience_ms = 20;
    c.limit_bytes = UINT64_C(1) << 30;
    c.log = fake_new();
    c.log->keep = say_kept;
    c.log->keep_arg = &fd;
    c.log->choose = random_fate;
    c.log->choose_arg = &seed;
    case_start(&c);
    for (uint64_t i = 0; i < KILL_IDS; i++) {
        append_id(&c, (uint64_t)round * KILL_IDS + i);
        if (i % 16 == 0)
            usleep(500);
    }
    for (;;)
        pause();
}

static pid_t start_child(const char *folder, const char *file, unsigned round, int *out)
{
    char text[16];
    int fd[2];

    assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
    snprintf(text, sizeof text, "%u", round);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        execl("/proc/self/exe", "child", folder, file, text, (char *)NULL);
        _exit(5);
    }
    close(fd[1]);
    *out = fd[0];
    return pid;
}

/* Kills at some moment after the first ack, and notes what was acked before the end. */
static size_t run_and_kill(const char *folder, const char *file, unsigned round, bool *acked)
{
    int64_t kill_at = clock_monotonic() + START_MS;
    int fd, status, life = 1 + rand() % 120;
    pid_t pid = start_child(folder, file, round, &fd);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    bool killed = false;
    size_t n = 0;
    uint64_t id;

    for (;;) {
        int64_t left = kill_at - clock_monotonic();

        if (!killed && left <= 0)
            killed = kill(pid, SIGKILL) == 0;
        if (poll(&p, 1, killed ? -1 : (int)left) <= 0)
            continue;
        if (read(fd, &id, sizeof id) != sizeof id)
            break;
        assert_true(id < FAKE_IDS);
        acked[id] = true;
        if (n++ == 0)
            kill_at = clock_monotonic() + life;
    }
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return n;
}

static void read_kept(const char *file, bool *kept)
{
    FILE *f = fopen(file, "r");
    uint64_t id;

    assert_non_null(f);
    while (fread(&id, sizeof id, 1, f) == 1) {
        assert_true(id < FAKE_IDS);
        kept[id] = true;
    }
    fclose(f);
}

static void nothing_acked_is_lost_by_kill_9(void **state)
{
    char file[96], folder[] = "/tmp/waymark-sink-XXXXXX";
    bool *acked = calloc(FAKE_IDS, sizeof *acked), *kept = calloc(FAKE_IDS, sizeof *kept);
    struct sink_case *c = calloc(1, sizeof *c);
    size_t n = 0, spooled = 0;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s.kept", folder);
    for (unsigned round = 0; round < KILLS; round++)
        n += run_and_kill(folder, file, round, acked);
    assert_true(n > KILLS * 10);
    read_kept(file, kept);

    strcpy(c->folder, folder);
    c->patience_ms = LONG_MS;
    c->limit_bytes = UINT64_C(1) << 30;
    c->log = fake_new();
    case_start(c);
    case_wait_drained(c);
    for (uint64_t id = 0; id < FAKE_IDS; id++) {
        bool here = fake_seen(c->log, LOG_EVENTS, id) + fake_seen(c->log, LOG_BAD, id) > 0;

        spooled += acked[id] && here && !kept[id];
        if (acked[id] && !kept[id] && !here)
            fail_msg("record %llu of %zu that were acked is lost", (unsigned long long)id, n);
    }
    assert_true(spooled > 0); /* some were only in the spool */
    case_stop(c, 1000);
    event_log_close(&c->log->base);
    nftw(folder, case_remove, 8, FTW_DEPTH | FTW_PHYS);
    unlink(file);
    free(c);
    free(acked);
    free(kept);
}

/* --- the disk --- */

static uint64_t disk_bytes;

static int add_bytes(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)path, (void)ftw;
    disk_bytes += flag == FTW_F ? (uint64_t)st->st_blocks * 512 : 0;
    return 0;
}

static bool is_below(const struct sink_case *c, uint64_t bytes)
{
    disk_bytes = 0;
    nftw(c->folder, add_bytes, 8, FTW_PHYS);
    return disk_bytes < bytes;
}

/* Values that do not compress. */
static void fill(struct sink_case *c, size_t mib)
{
    static char value[64 * 1024];
    static struct told told;
    unsigned seed = 1;

    for (size_t i = 0; i < mib * 16; i++) {
        void *arg = &told;
        for (size_t k = sizeof(uint64_t); k < sizeof value; k++)
            value[k] = (char)next_random(&seed);
        const struct log_record r = {.key = STR_LIT("k"), .value = {value, sizeof value}};
        assert_int_equal(sink_append(c->sink, LOG_EVENTS, &r, 1, case_done, &arg), LOG_OK);
        WAIT_FOR(told.times == (int)i + 1);
        assert_int_equal(told.status, LOG_SPOOLED);
    }
}

static void the_disk_is_given_back(void **state)
{
    struct sink_case *c = *state;

    fake_set(c->log, (struct fake_fate){.refuse = LOG_UNREACHABLE});
    fill(c, 128);
    assert_false(is_below(c, 120 * MIB));
    fake_set(c->log, (struct fake_fate){.report = LOG_OK});
    case_wait_drained(c);
    WAIT_FOR(is_below(c, 40 * MIB));
    WAIT_FOR(event_log_bytes(&c->spool->base) == 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_acked_is_lost_by_kill_9), /* first: it forks */
        cmocka_unit_test_setup_teardown(what_is_reported_as_kept_is_on_the_log_in_the_end, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(every_report_is_in_time_for_the_answer, case_setup, case_teardown),
        cmocka_unit_test_setup_teardown(the_disk_is_given_back, case_setup, case_teardown),
    };

    if (argc == 4)
        run_child(argv[1], argv[2], (unsigned)atoi(argv[3]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
