/* What followers put on the log and what they tell the cache: on a log, a state and a cache that are played, each of
 * which can fail. */
#include <sched.h>

#include "tests/support/follower_play.h"

/* --- emissions ------------------------------------------------------------------------------------------------ */

static void give_acks(enum log_status status)
{
    struct waiting_append waiting[64];

    pthread_mutex_lock(&play.lock);
    size_t n = play.append_count;
    memcpy(waiting, play.appends, sizeof waiting);
    play.append_count = 0;
    for (size_t i = 0; i < n; i++)
        play.unacked[waiting[i].partition] -= status == LOG_OK;
    pthread_mutex_unlock(&play.lock);
    for (size_t i = 0; i < n; i++)
        waiting[i].done(waiting[i].arg, status, 0, status == LOG_OK ? 0 : -1);
}

/* Folding goes on while what it emitted is on its way; what caused it is shown and committed when it is acked, and not
 * before. */
static void test_emissions(void **state)
{
    struct state_figures figures;

    (void)state;
    play_begin();
    play.poison = play.keep_acks = true;
    append(0, 25);
    append(1, 5);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.append_count == 4); /* of offsets 0, 10 and 20, and one of the other partition */
    append(2, 1);
    WAIT_FOR(play.append_count == 5);
    WAIT_FOR(play.offset[0] == 25);
    assert_int_equal(play.disk[0], 0);
    assert_int_equal(followers_shown(f, 0), 0);
    followers_figures(f, 0, &figures);
    assert_int_equal(figures.offset, 0);
    give_acks(LOG_FAILED); /* their fate is not clear: again */
    WAIT_FOR(play.append_count == 5);
    assert_int_equal(followers_shown(f, 0), 0);
    give_acks(LOG_OK);
    wait_shown(f, 0, 25);
    wait_shown(f, 1, 5);
    followers_figures(f, 0, &figures);
    assert_int_equal(figures.offset, 25);
    wait_no_fault(f, 0);
    finish_on_disk(f);
    assert_int_equal(play.appended, 10);
}

/* What is acked is shown while what came later is not. */
static void test_emissions_shown_in_turn(void **state)
{
    (void)state;
    play_begin();
    play.poison = play.keep_acks = true;
    append(0, 10);
    struct followers *f = start(1, 1000000);
    WAIT_FOR(play.append_count == 1);
    WAIT_FOR(play.offset[0] == 10);
    append(0, 10);
    WAIT_FOR(play.append_count == 2);
    pthread_mutex_lock(&play.lock);
    struct waiting_append first = play.appends[0];
    play.appends[0] = play.appends[1];
    play.append_count = 1;
    play.unacked[0]--;
    pthread_mutex_unlock(&play.lock);
    first.done(first.arg, LOG_OK, 0, 0);
    wait_shown(f, 0, 10);
    give_acks(LOG_OK);
    wait_shown(f, 0, 20);
    finish_on_disk(f);
}

/* A commit that is due waits for the acks, and folding for the commit: else there would always be something under way.
 */
static void test_commit_waits_for_emissions(void **state)
{
    (void)state;
    play_begin();
    play.poison = play.keep_acks = true;
    append(0, 5);
    struct followers *f = start(1, 1);
    WAIT_FOR(play.append_count == 1);
    pause_a_moment();
    pause_a_moment();
    append(0, 50);
    append(1, 5); /* while another goes on */
    WAIT_FOR(play.append_count == 2);
    assert_int_equal(play.offset[0], 5);
    assert_int_equal(play.disk[0], 0);
    give_acks(LOG_OK);
    WAIT_FOR(play.disk[0] == 5);
    pthread_mutex_lock(&play.lock);
    play.keep_acks = false;
    pthread_mutex_unlock(&play.lock);
    give_acks(LOG_OK);
    WAIT_FOR(play.disk[0] == 55);
    finish_on_disk(f);
}

/* A log that takes nothing: said, tried again, and nothing is committed meanwhile. */
static void test_emissions_refused(void **state)
{
    struct err e;

    (void)state;
    play_begin();
    play.poison = true;
    play.refuse_appends = 3;
    append(0, 25);
    struct followers *f = start(1, 1);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "cannot put on the log what follows from a record: the queue of the log is full"));
    wait_shown(f, 0, 25);
    finish_on_disk(f);
    assert_int_equal(play.appended, 3);
}

/* A crash between: nothing of it was committed, so the same is folded and emitted again. The acks come when the
 * followers have gone. */
static void test_end_with_emissions(void **state)
{
    (void)state;
    play_begin();
    play.poison = play.keep_acks = true;
    append(0, 5);
    struct followers *f = start(1, 1);
    WAIT_FOR(play.append_count == 1);
    assert_int_equal(followers_finish(f, 100), -ETIMEDOUT);
    followers_free(f);
    assert_int_equal(play.disk[0], 0);
    give_acks(LOG_OK);
}

/* What an owner before put on the other partitions stands before their ends, which are asked for when a partition is
 * given: until they are told it is not followed. */
static void test_sent_by_the_owner_before(void **state)
{
    int64_t places[PARTITIONS] = {0}, until = clock_monotonic() + PATIENCE_MS;
    struct err e;

    (void)state;
    play_begin();
    play.shared = true;
    play.fail_asks = 1 << 30;
    append(0, 5);
    append(1, 7);
    append(2, 3);
    struct followers *f = start(1, 1000000);
    wait_fault(f, 0, &e);
    assert_non_null(strstr(e.text, "it does not tell where it ends"));
    assert_int_equal(followers_shown(f, 0), -1);
    assert_false(followers_ready(f, 0));
    pthread_mutex_lock(&play.lock);
    play.fail_asks = 0;
    pthread_mutex_unlock(&play.lock);
    wait_shown(f, 0, 5);
    wait_shown(f, 1, 7);
    wait_shown(f, 2, 3);
    append(1, 10); /* not before it was given */
    wait_shown(f, 1, 17);
    followers_sent(f, 0, places);
    assert_int_equal(places[0], 0);
    assert_int_equal(places[1], 7);
    assert_int_equal(places[2], 3);
    set(&play.stint[0], 9); /* and again: others may have had it */
    followers_wake(f, 0);
    while (followers_sent(f, 0, places), places[1] != 17) {
        assert_true(clock_monotonic() < until);
        pause_a_moment();
    }
    assert_int_equal(places[0], 0);
    assert_int_equal(places[2], 3);
    finish_on_disk(f);
}

/* Also when it comes in the very millisecond in which ends were asked for. */
static void test_sent_before_each_coming(void **state)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    (void)state;
    play_begin();
    play.shared = true;
    append(0, 1);
    struct followers *f = start(1, 1000000);
    wait_shown(f, 0, 1);
    for (int64_t i = 1; i <= 300; i++) {
        int64_t places[PARTITIONS] = {0};

        append(1, 1);
        set(&play.stint[0], (uint64_t)i + 1);
        followers_wake(f, 0);
        while (followers_sent(f, 0, places), places[1] != i) {
            assert_true(clock_monotonic() < until);
            sched_yield();
        }
    }
    finish_on_disk(f);
}

/* --- the cache ------------------------------------------------------------------------------------------------ */

static void test_cache(void **state)
{
    (void)state;
    play_begin();
    append(0, 25);
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    wait_shown(f, 0, 25);
    assert_int_equal(play.begun, 3);
    WAIT_FOR(play.ended == 3);
    assert_int_equal(play.copied, 0);
    pthread_mutex_lock(&play.lock);
    play.wants = true;
    pthread_mutex_unlock(&play.lock);
    append(0, 2);
    WAIT_FOR(play.copied == 1);
    finish_on_disk(f);
}

/* To make a copy all of a path may have to be read, and folding would wait for it. */
static void test_cache_of_long_paths(void **state)
{
    (void)state;
    play_begin();
    play.wants = true;
    play.events = 100000;
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    append(0, 5);
    WAIT_FOR(play.ended == 1);
    assert_int_equal(play.copied, 0);
    pthread_mutex_lock(&play.lock);
    play.events = 1000;
    pthread_mutex_unlock(&play.lock);
    append(0, 2);
    WAIT_FOR(play.copied == 1);
    finish_on_disk(f);
}

/* The cache does not let a batch be shown yet: it is folded then, and not asked about again; others go on. */
static void test_cache_holds(void **state)
{
    (void)state;
    play_begin();
    append(0, 5);
    play.hold_until = clock_boot() + 300;
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    WAIT_FOR(play.begun == 1);
    assert_int_equal(followers_shown(f, 0), 0);
    append(0, 5); /* not of the batch that waits */
    wait_shown(f, 0, 10);
    assert_true(clock_boot() >= play.hold_until);
    assert_false(play.folded_early);
    assert_int_equal(play.begun, 2);
    finish_on_disk(f);
    assert_int_equal(play.ended, 2);
}

/* Taken while a batch waits: the cache is told that nothing is under way, and it is begun anew when given again. */
static void test_cache_holds_what_is_taken(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    append(0, 5);
    play.hold_until = INT64_MAX / 2;
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    WAIT_FOR(play.begun == 1);
    set(&play.stint[0], 0);
    followers_wake(f, 0);
    WAIT_FOR(play.ended == 1);
    assert_int_equal(play.offset[0], 0);
    pthread_mutex_lock(&play.lock);
    play.hold_until = 0;
    play.stint[0] = 9;
    pthread_mutex_unlock(&play.lock);
    followers_wake(f, 0);
    wait_shown(f, 0, 5);
    assert_int_equal(play.begun, 2);
    finish(f);
    assert_int_equal(play.ended, 2);
}

/* What others' records moved: the cache forgets it, then it is shown and copied. */
static void test_cache_moved(void **state)
{
    (void)state;
    play_begin();
    play.wants = true;
    play.move = 1;
    append(0, 5);
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    wait_shown(f, 0, 5);
    WAIT_FOR(play.announced == 1 && play.copied_moved == 1 && play.copied == 2);
    assert_int_equal(play.begun, 2);
    finish_on_disk(f);
    assert_int_equal(play.ended, 2);
}

/* The cache does not forget it at once: it is held so long, and the partition neither folds nor commits; others do. */
static void test_cache_holds_moved(void **state)
{
    (void)state;
    play_begin();
    play.wants = true;
    play.move = 1;
    append(0, 5);
    play.hold_moved_until = clock_boot() + 300;
    struct followers *f = start_with(1, 1, (struct cache *)&play);
    WAIT_FOR(play.begun == 2);
    append(0, 5);
    assert_int_equal(followers_shown(f, 0), 0);
    wait_shown(f, 0, 10);
    assert_true(clock_boot() >= play.hold_moved_until);
    assert_int_equal(play.announced, 1);
    assert_false(play.too_early);
    finish_on_disk(f);
    assert_int_equal(play.begun, 3);
    assert_int_equal(play.ended, 3);
}

/* Taken meanwhile: held until the time has come all the same, since the copies may still be believed. */
static void test_cache_holds_moved_and_taken(void **state)
{
    (void)state;
    play_begin();
    play.shared = true;
    play.move = 1;
    append(0, 5);
    play.hold_moved_until = clock_boot() + 300;
    struct followers *f = start_with(1, 1000000, (struct cache *)&play);
    WAIT_FOR(play.begun == 2);
    set(&play.stint[0], 0);
    followers_wake(f, 0);
    pause_a_moment();
    set(&play.stint[0], 9);
    followers_wake(f, 0);
    wait_shown(f, 0, 5);
    assert_true(clock_boot() >= play.hold_moved_until);
    assert_int_equal(play.announced, 1);
    finish(f);
    assert_int_equal(play.ended, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emissions),
        cmocka_unit_test(test_emissions_shown_in_turn),
        cmocka_unit_test(test_commit_waits_for_emissions),
        cmocka_unit_test(test_emissions_refused),
        cmocka_unit_test(test_end_with_emissions),
        cmocka_unit_test(test_sent_by_the_owner_before),
        cmocka_unit_test(test_sent_before_each_coming),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_of_long_paths),
        cmocka_unit_test(test_cache_holds),
        cmocka_unit_test(test_cache_holds_what_is_taken),
        cmocka_unit_test(test_cache_moved),
        cmocka_unit_test(test_cache_holds_moved),
        cmocka_unit_test(test_cache_holds_moved_and_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
