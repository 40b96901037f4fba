/* States of partitions that are another's go when they are told to, and only then. */
#include <string.h>

#include "tests/support/follower_play.h"

static int start_play(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    return 0;
}

/* Partition 0 is folded up to there, and lost. */
static struct followers *start_and_lose(int64_t records)
{
    append(0, records);
    struct followers *f = start(1, 1);
    wait_shown(f, 0, records);
    WAIT_FOR(play.disk[0] == records);
    set(&play.stint[0], 0);
    followers_wake(f, 0);
    wait_shown(f, 0, -1);
    return f;
}

static void it_goes_and_begins_anew(void **unused)
{
    struct followers *f = start_and_lose(20);
    struct state_figures figures;

    (void)unused;
    followers_forget(f, 0, 21);
    WAIT_FOR(play.forgotten[0] == 1);
    assert_int_equal(followers_shown(f, 0), -1);
    for (int64_t until = clock_monotonic() + PATIENCE_MS;; pause_a_moment()) {
        followers_figures(f, 0, &figures);
        if (figures.offset == 0)
            break;
        assert_true(clock_monotonic() < until);
    }
    play.backup = -1;
    set(&play.stint[0], 2);
    followers_wake(f, 0);
    wait_shown(f, 0, 20);
    assert_int_equal(play.restores, PARTITIONS + 1); /* each looks for a backup first, this one once more */
    assert_false(play.forgot_early);
    finish_on_disk(f);
}

static void what_is_newer_stays(void **unused)
{
    struct followers *f = start_and_lose(20);

    (void)unused;
    followers_forget(f, 0, 20);
    followers_forget(f, 1, 1); /* it is followed */
    append(1, 5);
    wait_shown(f, 1, 5);
    set(&play.stint[0], 2);
    followers_wake(f, 0);
    wait_shown(f, 0, 20);
    assert_int_equal(play.forgotten[0] + play.forgotten[1], 0);
    finish_on_disk(f);
}

/* What was asked for while it was another's does not count when it is lost again. */
static void one_that_is_back_is_asked_for_anew(void **unused)
{
    struct followers *f = start_and_lose(20);

    (void)unused;
    set(&play.stint[0], 2);
    followers_wake(f, 0);
    wait_shown(f, 0, 20);
    followers_forget(f, 0, 100);
    append(0, 5);
    wait_shown(f, 0, 25);
    set(&play.stint[0], 0);
    followers_wake(f, 0);
    wait_shown(f, 0, -1);
    append(1, 5);
    wait_shown(f, 1, 5);
    assert_int_equal(play.forgotten[0], 0);
    followers_forget(f, 0, 100);
    WAIT_FOR(play.forgotten[0] == 1);
    assert_false(play.forgot_early);
    finish(f);
}

static void it_waits_for_what_is_under_way(void **unused)
{
    (void)unused;
    play.poison = play.keep_acks = true;
    append(0, 5);
    struct followers *f = start(1, 1);
    WAIT_FOR(play.append_count == 1);
    set(&play.stint[0], 0);
    followers_forget(f, 0, 100);
    followers_wake(f, 0);
    append(1, 1);
    wait_shown(f, 0, -1);
    WAIT_FOR(play.offset[1] == 1);
    assert_int_equal(play.forgotten[0], 0);
    pthread_mutex_lock(&play.lock);
    size_t n = play.append_count;
    play.keep_acks = false;
    pthread_mutex_unlock(&play.lock);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&play.lock);
        play.unacked[play.appends[i].partition]--;
        pthread_mutex_unlock(&play.lock);
        play.appends[i].done(play.appends[i].arg, LOG_OK, 0, 0);
    }
    WAIT_FOR(play.forgotten[0] == 1);
    assert_false(play.forgot_early);
    assert_false(play.too_early);
    finish(f);
}

static void it_is_tried_again(void **unused)
{
    struct followers *f = start_and_lose(20);
    struct err e;

    (void)unused;
    pthread_mutex_lock(&play.lock);
    play.fail_forgets = 2;
    pthread_mutex_unlock(&play.lock);
    followers_forget(f, 0, 21);
    WAIT_FOR(play.forgotten[0] == 1);
    wait_no_fault(f, 0);
    assert_false(followers_fault(f, 0, &e));
    finish(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_goes_and_begins_anew, start_play),
        cmocka_unit_test_setup(what_is_newer_stays, start_play),
        cmocka_unit_test_setup(one_that_is_back_is_asked_for_anew, start_play),
        cmocka_unit_test_setup(it_waits_for_what_is_under_way, start_play),
        cmocka_unit_test_setup(it_is_tried_again, start_play),
    };

    return cmocka_run_group_tests_name("follower forgets", tests, NULL, NULL);
}
