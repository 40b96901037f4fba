/* The followers on a log and a state that are played, so that both can fail: nothing is skipped, nothing is folded
 * twice, the log is let go only of what is on disk, and trouble is said and over when it is over; however often a
 * partition is given and taken. */
#include "tests/support/follower_play.h"

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
        finish_on_disk(f);
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
    finish_on_disk(f);
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
    (void)state;
    play_begin();
    play.fail_reads = 3;
    append(0, 10);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.offset[0] == 10);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        wait_no_fault(f, p);
    finish_on_disk(f);
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
    wait_fault(f, 1, &e);
    assert_non_null(strstr(e.text, "partition 1: the state stands at offset 30 but the log holds 40 up to 50"));
    wait_fault(f, 2, &e);
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
    wait_ready(f, 1); /* it held nothing */
    append(1, 5);
    assert_true(followers_ready(f, 1));
    pthread_mutex_lock(&play.lock);
    play.fail_folds = 0;
    pthread_mutex_unlock(&play.lock);
    wait_ready(f, 0);
    finish(f);
}

/* --- given and taken ------------------------------------------------------------------------------------------ */

/* However often and however long a partition is away: it goes on exactly where it stood, and what was folded is on disk
 * soon after it left. */
static void test_given_and_taken(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    set(&play.stint[1], 0); /* never ours */
    append(0, 25);
    append(1, 25);
    struct followers *f = start(2, 1000000);
    for (uint64_t round = 1; round < 20; round++) {
        WAIT_FOR(play.offset[0] == play.end[0]);
        wait_shown(f, 0, play.end[0]);
        assert_true(play.disk[0] < play.end[0]);
        int64_t there = play.end[0];
        set(&play.stint[0], 0);
        followers_wake(f, 0);
        WAIT_FOR(play.disk[0] == there); /* committed, though its time has not come */
        wait_shown(f, 0, -1);
        assert_false(followers_ready(f, 0));
        append(0, (int64_t)(round % 7) + 1); /* others fold that */
        append(2, 1);
        wait_shown(f, 2, (int64_t)round); /* the thread has been round */
        assert_int_equal(play.offset[0], there);
        int seeks = play.seeks[0];
        set(&play.stint[0], 2 * round);
        followers_wake(f, 0);
        wait_shown(f, 0, play.end[0]);
        assert_true(play.seeks[0] > seeks);
    }
    assert_int_equal(play.offset[1], 0);
    assert_int_equal(followers_shown(f, 1), -1);
    assert_false(followers_fault(f, 1, NULL));
    for (int p = 0; p < PARTITIONS; p++)
        set(&play.stint[p], 0);
    finish(f);
    assert_false(play.disorder);
    assert_int_equal(play.disk[0], play.end[0]);
    assert_int_equal(play.disk[2], play.end[2]);
    assert_int_equal(play.released[1], -1);
}

/* Taken and given again before the thread has looked: the reader's place is not relied on. */
static void test_given_anew(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    append(0, 5);
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 5);
    int seeks = play.seeks[0];
    set(&play.stint[0], 7);
    followers_wake(f, 0);
    WAIT_FOR(play.seeks[0] > seeks);
    append(0, 5);
    wait_shown(f, 0, 10);
    finish_on_disk(f);
}

/* The brokers are away when the partition is given: it says so, and goes on when they are back. */
static void test_unreachable(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = true;
    play.fail_seeks = 1 << 30;
    append(0, 5);
    int64_t before = clock_now();
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "the log cannot be reached"));
    assert_int_equal(followers_shown(f, 0), -1);
    assert_true(followers_time(f, 0) >= before); /* it has been behind since then at least */
    pthread_mutex_lock(&play.lock);
    play.fail_seeks = 0;
    pthread_mutex_unlock(&play.lock);
    wait_shown(f, 0, 5);
    wait_no_fault(f, 0);
    finish(f);
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
        cmocka_unit_test(test_given_and_taken),
        cmocka_unit_test(test_given_anew),
        cmocka_unit_test(test_unreachable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
