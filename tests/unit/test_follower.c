/* The followers on a log and a state that are played by this file, so that both can fail: nothing is skipped, nothing
 * is folded twice, the log is let go only of what is on disk, and trouble is said and over when it is over. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/follower.h"

#define PARTITIONS 3
#define PATIENCE_MS 30000

/* --- the play ------------------------------------------------------------------------------------------------- */

struct log_reader {
    int64_t place[PARTITIONS];
    bool woken;
};

/* One for both, under one lock. */
static struct play {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t begin[PARTITIONS], end[PARTITIONS]; /* of the log */
    int64_t offset[PARTITIONS], disk[PARTITIONS], began[PARTITIONS];
    int64_t released[PARTITIONS]; /* what retention may pass; -1 */
    int uncommitted[PARTITIONS];
    int most_uncommitted; /* the bound of memory */
    int commits, failed_commits, failed_folds, failed_reads;
    int fail_commits, fail_folds, fail_reads; /* how many are still to fail */
    int half;                                 /* records that a failing fold takes before it fails */
    bool disorder;                            /* something was folded that was not next */
    _Atomic int shown;
} play;

static void play_begin(void)
{
    memset(&play, 0, sizeof play);
    pthread_mutex_init(&play.lock, NULL);
    pthread_cond_init(&play.changed, NULL);
    play.most_uncommitted = 1 << 30;
    for (int p = 0; p < PARTITIONS; p++)
        play.released[p] = -1;
}

static void append(uint32_t partition, int64_t n)
{
    pthread_mutex_lock(&play.lock);
    play.end[partition] += n;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
}

int64_t event_log_begin(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    (void)log, (void)topic;
    pthread_mutex_lock(&play.lock);
    int64_t begin = play.begin[partition];
    pthread_mutex_unlock(&play.lock);
    return begin;
}

int64_t event_log_end(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    (void)log, (void)topic;
    pthread_mutex_lock(&play.lock);
    int64_t end = play.end[partition];
    pthread_mutex_unlock(&play.lock);
    return end;
}

int log_reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                    struct err *e)
{
    (void)log, (void)e;
    assert_int_equal(topic, LOG_EVENTS);
    assert_string_equal(name, "profiler");
    *out = calloc(1, sizeof **out);
    return *out ? 0 : -ENOMEM;
}

void log_reader_close(struct log_reader *r)
{
    free(r);
}

int log_reader_seek(struct log_reader *r, uint32_t partition, int64_t offset)
{
    pthread_mutex_lock(&play.lock);
    bool inside = offset >= play.begin[partition] && offset <= play.end[partition];
    pthread_mutex_unlock(&play.lock);
    if (!inside)
        return LOG_READ_GAP;
    r->place[partition] = offset;
    return 0;
}

int log_reader_read(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                    struct err *e)
{
    int n = 0;

    assert_true(max_bytes > 0);
    pthread_mutex_lock(&play.lock);
    if (play.fail_reads > 0) {
        play.fail_reads--;
        play.failed_reads++;
        pthread_mutex_unlock(&play.lock);
        err_set(e, "the disk does not read");
        return -EIO;
    }
    while ((size_t)n < max && n < 10 && r->place[partition] < play.end[partition])
        out[n++] = (struct log_record){.offset = r->place[partition]++};
    pthread_mutex_unlock(&play.lock);
    return n;
}

void log_reader_wait(struct log_reader *r, const uint32_t *partitions, size_t n, int64_t ms)
{
    struct timespec until;

    assert_true(ms > 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&play.lock);
    for (int status = 0; status == 0 && !r->woken;) {
        bool more = false;
        for (size_t i = 0; i < n; i++)
            more |= r->place[partitions[i]] < play.end[partitions[i]];
        if (more)
            break;
        status = pthread_cond_timedwait(&play.changed, &play.lock, &until);
    }
    r->woken = false;
    pthread_mutex_unlock(&play.lock);
}

void log_reader_wake(struct log_reader *r)
{
    pthread_mutex_lock(&play.lock);
    r->woken = true;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
}

int log_reader_commit(struct log_reader *r, uint32_t partition, int64_t offset, struct err *e)
{
    (void)r, (void)e;
    pthread_mutex_lock(&play.lock);
    assert_true(offset <= play.disk[partition]);
    play.released[partition] = offset;
    pthread_mutex_unlock(&play.lock);
    return 0;
}

void state_figures(struct state *s, uint32_t partition, struct state_figures *out)
{
    (void)s;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&play.lock);
    out->offset = play.offset[partition];
    out->disk_offset = play.disk[partition];
    out->began = play.began[partition];
    out->outcomes[OUTCOME_FOLDED] = (uint64_t)(play.offset[partition] - play.began[partition]);
    pthread_mutex_unlock(&play.lock);
}

int state_fold(struct state *s, uint32_t partition, const struct log_record *records, size_t n, struct err *e)
{
    int r = STATE_OK;

    (void)s;
    pthread_mutex_lock(&play.lock);
    bool fails = play.fail_folds > 0;
    if (fails && (size_t)play.half < n)
        n = (size_t)play.half;
    for (size_t i = 0; i < n; i++) {
        play.disorder |= records[i].offset != play.offset[partition];
        play.offset[partition] = records[i].offset + 1;
        play.uncommitted[partition]++;
    }
    if (fails) {
        play.fail_folds--;
        play.failed_folds++;
        err_set(e, "the store does not answer");
        r = -EIO;
    } else if (play.uncommitted[partition] > play.most_uncommitted) {
        r = STATE_COMMIT_DUE;
    }
    /* A batch is ten records: that much over the bound and no more. */
    play.disorder |= play.uncommitted[partition] > play.most_uncommitted + 10;
    pthread_mutex_unlock(&play.lock);
    return r;
}

int state_commit(struct state *s, uint32_t partition, struct err *e)
{
    int r = 0;

    (void)s;
    pthread_mutex_lock(&play.lock);
    if (play.fail_commits > 0) {
        play.fail_commits--;
        play.failed_commits++;
        err_set(e, "the disk is full");
        r = -ENOSPC;
    } else {
        play.disk[partition] = play.offset[partition];
        play.uncommitted[partition] = 0;
        play.commits++;
    }
    pthread_mutex_unlock(&play.lock);
    return r;
}

bool state_dirty(struct state *s, uint32_t partition)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    bool dirty = play.uncommitted[partition] > 0;
    pthread_mutex_unlock(&play.lock);
    return dirty;
}

void state_begin_at(struct state *s, uint32_t partition, int64_t offset)
{
    (void)s;
    pthread_mutex_lock(&play.lock);
    play.offset[partition] = play.began[partition] = play.disk[partition] = offset;
    pthread_mutex_unlock(&play.lock);
}

bool state_last_event(struct state *s, uint32_t partition, int64_t *offset, struct uid *uid)
{
    (void)s, (void)partition, (void)offset, (void)uid;
    return false;
}

/* --- helpers -------------------------------------------------------------------------------------------------- */

static void shown(void *arg)
{
    (void)arg;
    atomic_fetch_add(&play.shown, 1);
}

static struct followers *start(unsigned threads, int64_t commit_ms)
{
    struct followers *f;

    assert_int_equal(followers_start(
                         &(struct followers_options){
                             .partitions = PARTITIONS, .threads = threads, .commit_ms = commit_ms, .shown = shown},
                         &f, NULL),
                     0);
    return f;
}

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t until_ = clock_monotonic() + PATIENCE_MS;                                                              \
        for (bool met_ = false; !met_;) {                                                                              \
            pthread_mutex_lock(&play.lock);                                                                            \
            met_ = (condition);                                                                                        \
            pthread_mutex_unlock(&play.lock);                                                                          \
            if (clock_monotonic() > until_)                                                                            \
                fail_msg("never: %s", #condition);                                                                     \
            if (!met_)                                                                                                 \
                pause_a_moment();                                                                                      \
        }                                                                                                              \
    } while (0)

static void expect_all_on_disk(void)
{
    assert_false(play.disorder);
    for (int p = 0; p < PARTITIONS; p++) {
        assert_int_equal(play.offset[p], play.end[p]);
        assert_int_equal(play.disk[p], play.end[p]);
        assert_int_equal(play.released[p], play.end[p]);
    }
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void test_follows(void **state)
{
    (void)state;
    for (unsigned threads = 1; threads <= 5; threads++) { /* more than partitions too */
        play_begin();
        append(0, 1000);
        append(2, 7);
        struct followers *f = start(threads, 1000000);
        for (int i = 0; i < 50; i++)
            append((uint32_t)i % PARTITIONS, i);
        WAIT_FOR(play.offset[0] == play.end[0] && play.offset[1] == play.end[1] && play.offset[2] == play.end[2]);
        int64_t until = clock_monotonic() + PATIENCE_MS;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            while (followers_shown(f, p) < play.end[p] && clock_monotonic() < until)
                pause_a_moment();
            assert_int_equal(followers_shown(f, p), play.end[p]);
            assert_true(followers_ready(f, p));
            assert_false(followers_fault(f, p, NULL));
            assert_int_equal(play.released[p], 0); /* nothing is on disk yet */
        }
        assert_true(atomic_load(&play.shown) > 0);
        append(1, 100);
        assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
        followers_free(f);
        expect_all_on_disk();
    }
}

static void test_commits_by_time(void **state)
{
    (void)state;
    play_begin();
    struct followers *f = start(1, 20);
    append(1, 5);
    WAIT_FOR(play.disk[1] == 5 && play.released[1] == 5);
    append(1, 5);
    WAIT_FOR(play.disk[1] == 10 && play.released[1] == 10);
    int commits = play.commits;
    assert_int_equal(commits, 2); /* nothing to commit, no commit */
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    assert_int_equal(play.commits, commits);
    followers_free(f);
}

static void test_commits_by_size(void **state)
{
    (void)state;
    play_begin();
    play.most_uncommitted = 25;
    append(0, 300);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.offset[0] == 300);
    assert_true(play.commits >= 9);
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    followers_free(f);
    expect_all_on_disk();
}

static void test_failing_folds(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.fail_folds = 4;
    play.half = 3;
    append(0, 100);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.failed_folds == 2);
    assert_true(followers_fault(f, 0, &e));
    assert_non_null(strstr(e.text, "the store does not answer"));
    assert_false(followers_ready(f, 0));
    WAIT_FOR(play.offset[0] == 100);
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    assert_false(followers_fault(f, 0, &e));
    assert_true(followers_ready(f, 0));
    followers_free(f);
    expect_all_on_disk();
}

static void test_failing_reads(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.fail_reads = 3;
    append(0, 10);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.offset[0] == 10);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        while (followers_fault(f, p, &e) && clock_monotonic() < until)
            pause_a_moment();
    for (uint32_t p = 0; p < PARTITIONS; p++)
        assert_false(followers_fault(f, p, &e));
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    followers_free(f);
    expect_all_on_disk();
}

/* While the disk is full events are shown as long as memory takes them; retention passes nothing. */
static void test_failing_commits(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.fail_commits = 1 << 30;
    play.most_uncommitted = 40;
    struct followers *f = start(1, 1);
    append(0, 5);
    WAIT_FOR(play.failed_commits > 0);
    append(0, 500);
    WAIT_FOR(play.offset[0] > 40); /* the bound, and then no more */
    assert_true(followers_fault(f, 0, &e));
    assert_non_null(strstr(e.text, "the disk is full"));
    int failed = play.failed_commits;
    WAIT_FOR(play.failed_commits > failed);
    assert_int_equal(play.released[0], 0);
    assert_true(play.offset[0] <= 50);
    pthread_mutex_lock(&play.lock);
    play.fail_commits = 0;
    pthread_mutex_unlock(&play.lock);
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    assert_false(followers_fault(f, 0, &e));
    followers_free(f);
    expect_all_on_disk();
}

/* A disk that stays full: the end comes all the same, and says that not all is on disk. */
static void test_end_with_full_disk(void **state)
{
    (void)state;
    play_begin();
    play.fail_commits = 1 << 30;
    append(0, 5);
    struct followers *f = start(2, 1);
    int64_t begin = clock_monotonic();
    assert_int_equal(followers_finish(f, 200), -ETIMEDOUT);
    assert_true(clock_monotonic() - begin < PATIENCE_MS);
    followers_free(f);
    assert_int_equal(play.released[0], 0);
}

static void test_places(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.begin[0] = 40; /* fresh beside an old log: begins where the log does */
    play.end[0] = 50;
    play.offset[1] = play.disk[1] = 30; /* the log has lost records */
    play.begin[1] = 40;
    play.end[1] = 50;
    play.offset[2] = play.disk[2] = 60; /* another log */
    play.end[2] = 50;
    struct followers *f = start(2, 1000000);
    WAIT_FOR(play.offset[0] == 50);
    assert_int_equal(play.began[0], 40);
    assert_true(followers_fault(f, 1, &e));
    assert_non_null(strstr(e.text, "partition 1: the state stands at offset 30 but the log holds 40 up to 50"));
    assert_true(followers_fault(f, 2, &e));
    assert_non_null(strstr(e.text, "partition 2: the state stands at offset 60 but the log holds 0 up to 50"));
    assert_false(followers_ready(f, 1));
    assert_false(followers_ready(f, 2));
    append(1, 10);
    append(2, 100); /* the log grows past the place: still not the same log */
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    assert_int_equal(play.offset[1], 30);
    assert_int_equal(play.offset[2], 60);
    assert_int_equal(play.disk[0], 50);
    assert_int_equal(play.released[1], -1);
    assert_int_equal(play.released[2], -1);
    followers_free(f);
    followers_free(NULL);
}

/* Ready is what the log held at the start, not what came since. */
static void test_ready(void **state)
{
    (void)state;
    play_begin();
    append(0, 10);
    play.fail_folds = 1 << 30;
    struct followers *f = start(1, 1000000);
    assert_false(followers_ready(f, 0));
    assert_true(followers_ready(f, 1)); /* it held nothing */
    append(1, 5);
    assert_true(followers_ready(f, 1));
    pthread_mutex_lock(&play.lock);
    play.fail_folds = 0;
    pthread_mutex_unlock(&play.lock);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (!followers_ready(f, 0) && clock_monotonic() < until)
        pause_a_moment();
    assert_true(followers_ready(f, 0));
    assert_int_equal(followers_finish(f, PATIENCE_MS), 0);
    followers_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_follows),
        cmocka_unit_test(test_commits_by_time),
        cmocka_unit_test(test_commits_by_size),
        cmocka_unit_test(test_failing_folds),
        cmocka_unit_test(test_failing_reads),
        cmocka_unit_test(test_failing_commits),
        cmocka_unit_test(test_end_with_full_disk),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_ready),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
