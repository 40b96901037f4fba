/* When the state of a partition that is another's may go, with a log and a state that are played. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/event_log_inside.h"
#include "profiler/lost.h"

#define PARTITIONS 3
#define PATIENCE_MS 30000

static struct play {
    int64_t offset[PARTITIONS], base[PARTITIONS]; /* the state's own, on disk */
    int64_t through[PARTITIONS];                  /* 0: nothing was erased that is not off the disk */
    int64_t committed[PARTITIONS];
    bool follows[PARTITIONS];
    int64_t forget[PARTITIONS]; /* what was told */
    int questions;
    bool away;
    bool rows[PARTITIONS], rows_forgotten[PARTITIONS]; /* what is beside the state */
    int clearings;
    bool stuck;
} play;

void state_figures(struct state *s, uint32_t partition, struct state_figures *out)
{
    (void)s;
    *out = (struct state_figures){
        .offset = play.offset[partition], .disk_offset = play.offset[partition], .base = play.base[partition]};
}

bool state_erasing(struct state *s, uint32_t partition, int64_t *through)
{
    (void)s;
    *through = play.through[partition];
    return play.through[partition] > 0;
}

static int ask_committed(struct event_log *log, const uint32_t *partitions, size_t n, int64_t ms, int64_t *out,
                         struct err *e)
{
    (void)log;
    assert_true(n > 0 && ms > 0);
    play.questions++;
    if (play.away) {
        err_set(e, "the brokers do not answer");
        return -EAGAIN;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = play.committed[partitions[i]];
    return 0;
}

static bool follows(void *arg, uint32_t partition)
{
    (void)arg;
    return play.follows[partition];
}

static void forget(void *arg, uint32_t partition, int64_t below)
{
    (void)arg;
    assert_false(play.follows[partition]);
    play.forget[partition] = below;
}

static bool rows(void *arg, uint32_t partition)
{
    (void)arg;
    return play.rows[partition];
}

static void forget_rows(void *arg, uint32_t partition)
{
    (void)arg;
    assert_false(play.follows[partition]);
    play.rows_forgotten[partition] = true;
}

static int clear_rows(void *arg, struct err *e)
{
    (void)arg;
    play.clearings++;
    if (play.stuck) {
        err_set(e, "the disk does not write");
        return -EIO;
    }
    for (int i = 0; i < PARTITIONS; i++)
        play.rows[i] = play.rows[i] && !play.rows_forgotten[i];
    return 0;
}

static const struct event_log_ops ops = {.ask_committed = ask_committed};
static struct event_log play_log = {&ops};

/* Partition 0 stands at 20 and is another's, 1 is followed, 2 was never here. */
static struct lost *start(int64_t keep_ms)
{
    struct lost *l = lost_new(&(struct lost_options){.log = &play_log,
                                                     .partitions = PARTITIONS,
                                                     .keep_ms = keep_ms,
                                                     .follows = follows,
                                                     .forget = forget,
                                                     .rows = rows,
                                                     .forget_rows = forget_rows,
                                                     .clear_rows = clear_rows});

    memset(&play, 0, sizeof play);
    play.offset[0] = play.offset[1] = 20;
    play.committed[0] = play.committed[1] = 30;
    play.committed[2] = -1;
    play.follows[1] = true;
    assert_non_null(l);
    return l;
}

static void tick_until(struct lost *l, const int *what, int value)
{
    for (int64_t until = clock_monotonic() + PATIENCE_MS; *what < value;) {
        assert_true(clock_monotonic() < until);
        lost_tick(l);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

static void one_that_is_old_goes(void **unused)
{
    struct lost *l = start(1);

    (void)unused;
    tick_until(l, &play.questions, 2);
    assert_int_equal(play.forget[0], 30);
    assert_int_equal(play.forget[1] + play.forget[2], 0);
    lost_free(l);
}

static void it_stays_for_a_while(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_int_equal(play.questions, 0);
    lost_free(l);
}

/* Since when, is forgotten when it comes back. */
static void the_while_begins_when_it_is_lost(void **unused)
{
    struct lost *l = start(300);
    int64_t began;

    (void)unused;
    lost_tick(l);
    nanosleep(&(struct timespec){0, 310000000}, NULL); /* longer than it may stay: time itself is what counts here */
    play.follows[0] = true;
    lost_tick(l);
    assert_int_equal(play.questions, 0);
    play.follows[0] = false;
    began = clock_monotonic();
    tick_until(l, &play.questions, 1);
    assert_true(clock_monotonic() - began >= 300);
    lost_free(l);
}

/* Nobody else may have what would be lost with it. */
static void the_newest_stays(void **unused)
{
    struct lost *l = start(1);

    (void)unused;
    play.committed[0] = 20;
    tick_until(l, &play.questions, 2);
    play.committed[0] = -1;
    tick_until(l, &play.questions, 3);
    play.away = true;
    play.committed[0] = 1000;
    tick_until(l, &play.questions, 4);
    assert_int_equal(play.forget[0], 0);
    lost_free(l);
}

/* The state's offsets are more than those of the log. */
static void offsets_are_of_the_log(void **unused)
{
    struct lost *l = start(1);

    (void)unused;
    play.base[0] = 1000;
    play.offset[0] = 1040;
    tick_until(l, &play.questions, 1);
    assert_int_equal(play.forget[0], 0);
    play.offset[0] = 1029;
    tick_until(l, &play.questions, 2);
    assert_int_equal(play.forget[0], 30);
    lost_free(l);
}

static void an_erasure_does_not_wait(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    assert_true(lost_is_clean(l, 2, 25)); /* there is nothing of it */
    assert_false(lost_is_clean(l, 0, 25));
    assert_true(lost_is_clean(l, 0, 20)); /* it has folded that, and nothing is left */
    assert_false(lost_is_clean(l, 0, 22));
    tick_until(l, &play.questions, 1);
    assert_int_equal(play.forget[0], 30);
    play.offset[0] = 0; /* it went */
    assert_true(lost_is_clean(l, 0, 25));
    int questions = play.questions;
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_int_equal(play.questions, questions);
    lost_free(l);
}

/* What folded the erasure itself stays, once it is off its files. */
static void one_that_knows_of_it_stays(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    play.offset[0] = play.through[0] = 25;
    assert_false(lost_is_clean(l, 0, 25));
    play.through[0] = 0;
    assert_true(lost_is_clean(l, 0, 25));
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_int_equal(play.questions, 0);
    lost_free(l);
}

/* One that is followed again folds the erasure: nothing goes. */
static void one_that_is_back_stays(void **unused)
{
    struct lost *l = start(1);

    (void)unused;
    assert_false(lost_is_clean(l, 1, 25));
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_int_equal(play.forget[1], 0);
    play.offset[1] = 30;
    assert_true(lost_is_clean(l, 1, 25));
    lost_free(l);
}

/* A state that knows of the erasure, or is none, is not all. */
static void rows_beside_it_go_at_once(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    play.rows[0] = true;
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_false(play.rows_forgotten[0]); /* nobody was erased: they stay for as long as the state */
    assert_false(lost_is_clean(l, 0, 20));
    lost_tick(l);
    assert_true(play.rows_forgotten[0]);
    assert_false(play.rows[0]);
    assert_true(lost_is_clean(l, 0, 20));
    lost_free(l);
}

static void rows_go_with_the_state(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    play.rows[0] = true;
    play.offset[0] = 0;
    play.stuck = true;
    assert_false(lost_is_clean(l, 0, 25));
    lost_tick(l);
    assert_true(play.rows_forgotten[0]);
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_in_range(play.clearings, 1, 3); /* once a second, not at every look */
    assert_false(lost_is_clean(l, 0, 25));
    play.stuck = false;
    tick_until(l, &play.clearings, play.clearings + 1);
    assert_true(lost_is_clean(l, 0, 25));
    lost_free(l);
}

/* Who follows it again has not taken them in yet: they are not to go, and nothing is clean. */
static void rows_of_one_that_is_back_stay(void **unused)
{
    struct lost *l = start(TIME_HOUR);

    (void)unused;
    play.rows[1] = true;
    assert_false(lost_is_clean(l, 1, 20));
    for (int i = 0; i < 100; i++)
        lost_tick(l);
    assert_false(play.rows_forgotten[1]);
    play.rows[1] = false;
    assert_true(lost_is_clean(l, 1, 20));
    lost_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_is_old_goes),
        cmocka_unit_test(it_stays_for_a_while),
        cmocka_unit_test(the_newest_stays),
        cmocka_unit_test(offsets_are_of_the_log),
        cmocka_unit_test(an_erasure_does_not_wait),
        cmocka_unit_test(one_that_knows_of_it_stays),
        cmocka_unit_test(the_while_begins_when_it_is_lost),
        cmocka_unit_test(one_that_is_back_stays),
        cmocka_unit_test(rows_beside_it_go_at_once),
        cmocka_unit_test(rows_go_with_the_state),
        cmocka_unit_test(rows_of_one_that_is_back_stay),
    };

    return cmocka_run_group_tests_name("lost partitions", tests, NULL, NULL);
}
