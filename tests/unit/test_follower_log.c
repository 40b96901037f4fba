/* Followers and the log behind a state, on parts that are played: one that does not reach the state, that is another
 * log, or that has lost records, is never followed; a backup takes the state's place where there is one. */
#include "tests/support/follower_play.h"

/* On a shared log a state that is not there is not made up: others may have had the partition. */
static void test_fresh_behind_the_begin(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = true;
    play.begin[0] = 40;
    play.end[0] = 50;
    play.offset[1] = play.disk[1] = 30; /* a state that retention has overtaken */
    play.begin[1] = 40;
    play.end[1] = 50;
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "the log begins at offset 40: restore a backup"));
    wait_fault(f, 1, &e);
    assert_non_null(strstr(e.text, "stands at offset 30 but the log holds 40 up to 50"));
    wait_shown(f, 2, 0);
    assert_int_equal(play.offset[0], 0);
    assert_int_equal(play.restores, 3); /* each was looked for once; the third is fresh, too */
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
}

static void test_backup(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    play.begin[0] = 40;
    play.end[0] = 50;
    play.offset[1] = play.disk[1] = 30;
    play.begin[1] = 40;
    play.end[1] = 50;
    play.end[2] = 46; /* reaches back, but the backup is nearer */
    play.backup = 45;
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 50);
    wait_shown(f, 1, 50);
    wait_shown(f, 2, 46);
    for (int p = 0; p < PARTITIONS; p++)
        assert_int_equal(play.began[p], 45);
    finish_on_disk(f);
}

/* It is said why; a log that reaches back is folded from its begin instead. */
static void test_damaged_backup(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = play.damaged = true;
    play.begin[0] = 40;
    play.end[0] = 50;
    play.end[1] = 46;
    play.backup = 45;
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(
        strstr(e.text, "begins at offset 40, and the backup of it cannot be taken: a file of it is damaged"));
    wait_shown(f, 1, 46);
    assert_int_equal(play.began[1], 0);
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[0], 0);
    assert_false(play.disorder);
}

/* A state that is on the log goes on by itself. */
static void test_backup_not_needed(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    for (int p = 0; p < PARTITIONS; p++)
        play.offset[p] = play.disk[p] = play.end[p] = 3;
    play.backup = 45;
    append(0, 4);
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 7);
    assert_int_equal(play.restores, 0);
    finish(f);
}

/* Another topic of the same name, longer than the one before. */
static void test_other_log(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = play.has_last = true;
    play.offset[0] = play.disk[0] = 4;
    append(0, 20);
    play.offset[1] = play.disk[1] = 4;
    append(1, 20);
    play_event("m2");
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "partition 0: the log was replaced"));
    wait_fault(f, 1, &e);
    assert_int_equal(play.offset[0], 4);
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[1], 4);

    play_begin(); /* the same one */
    play.shared = play.has_last = true;
    play.offset[0] = play.disk[0] = 4;
    append(0, 20);
    f = start(1, 1000000);
    wait_shown(f, 0, 20);
    finish_on_disk(f);
}

/* Another topic of the same name that fills while it is looked at: it is shorter than the place, then longer. */
static void test_other_log_grows(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = play.has_last = true;
    play.offset[0] = play.disk[0] = 10;
    play.end[0] = 5;
    play.grows_by = 20;
    play_event("m2");
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "partition 0: the state stands at offset 10"));
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[0], 10);

    play_begin(); /* the record to be checked goes while it is read */
    play.shared = play.has_last = true;
    play.offset[0] = play.disk[0] = 10;
    play.stale_reads = 3;
    append(0, 20);
    play_event("m2");
    f = start(1, 1000000);
    do {
        wait_fault(f, 0, &e);
    } while (strstr(e.text, "the log cannot be reached") && (pause_a_moment(), true));
    assert_non_null(strstr(e.text, "partition 0: the log was replaced"));
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[0], 10);
    assert_int_equal(play.stale_reads, 0);
}

/* What was heard of the end is older than what the state has folded: the log is asked before it is called another. */
static void test_end_heard_late(void **state)
{
    (void)state;
    play_begin();
    play.shared = play.has_last = true;
    play.offset[0] = play.disk[0] = 10;
    play.heard_end = 0;
    play.fail_asks = 1;
    append(0, 20);
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 20);
    finish(f);
    assert_int_equal(play.fail_asks, 0);
    assert_false(play.disorder);
}

/* What is asked of the log, told of it and shown is in its own offsets, whatever the state counts. */
static void test_base(void **state)
{
    struct state_figures f;

    (void)state;
    play_begin();
    play.shared = play.has_last = true;
    play.base[0] = 1000;
    play.offset[0] = play.disk[0] = 1004;
    play.began[0] = 990;
    append(0, 20);
    struct followers *all = start(1, 1);
    wait_shown(all, 0, 20);
    wait_ready(all, 0);
    WAIT_FOR(play.released[0] == 20);
    followers_figures(all, 0, &f);
    assert_int_equal(f.offset, 20);
    assert_int_equal(f.disk_offset, 20);
    assert_int_equal(f.began, -10);
    append(0, 3);
    wait_shown(all, 0, 23);
    finish(all);
    assert_int_equal(play.offset[0], 1023);
    assert_int_equal(play.disk[0], 1023);
    assert_false(play.disorder);

    play_begin(); /* a batch that fails in the middle is read again from where the state stands */
    play.base[0] = 1000;
    play.offset[0] = play.disk[0] = play.began[0] = 1004;
    play.fail_folds = 2;
    play.half = 3;
    append(0, 20);
    all = start(1, 1);
    wait_shown(all, 0, 20);
    finish(all);
    assert_int_equal(play.failed_folds, 2);
    assert_int_equal(play.offset[0], 1020);
    assert_false(play.disorder);
}

/* A state of another log: only a backup that went on with this one will do. */
static void test_backup_of_this_log(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.shared = true;
    play.offset[0] = play.disk[0] = 60;
    append(0, 50);
    play.backup = 70;
    struct followers *f = start(1, 1);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "stands at offset 60 but the log holds 0 up to 50"));
    assert_non_null(strstr(e.text, "waymark adopt"));
    assert_int_equal(play.offset[0], 60);
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);

    play_begin();
    play.shared = true;
    play.offset[0] = play.disk[0] = 60;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        append(p, 50);
    play.backup = 1045;
    play.backup_base = 1000;
    f = start(1, 1);
    wait_shown(f, 0, 50);
    finish(f);
    assert_int_equal(play.offset[0], 1050);
    assert_int_equal(play.released[0], 50);
    assert_false(play.disorder);
}

/* Retention overtakes a partition that is being followed. */
static void test_overtaken(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    append(0, 5);
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 5);
    pthread_mutex_lock(&play.lock);
    play.begin[0] = 10;
    play.end[0] = 20;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
    wait_fault(f, 0, &e);
    WAIT_FOR(play.failed_reads == 0); /* it was no such failure */
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (!strstr(e.text, "stands at offset 5 but the log holds 10 up to 20")) {
        assert_true(clock_monotonic() < until);
        wait_fault(f, 0, &e);
    }
    assert_int_equal(followers_shown(f, 0), -1);
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[0], 5);
    assert_int_equal(play.disk[0], 5); /* what was folded is kept */
}

static void test_missing_record(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.skip_at = 12;
    append(0, 30);
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "no record of offset 12: one of 13"));
    assert_int_equal(followers_finish(f, PATIENCE_MS), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.offset[0], 10); /* the batch before */
    assert_false(play.disorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_behind_the_begin),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_damaged_backup),
        cmocka_unit_test(test_backup_not_needed),
        cmocka_unit_test(test_other_log),
        cmocka_unit_test(test_other_log_grows),
        cmocka_unit_test(test_end_heard_late),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_backup_of_this_log),
        cmocka_unit_test(test_overtaken),
        cmocka_unit_test(test_missing_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
