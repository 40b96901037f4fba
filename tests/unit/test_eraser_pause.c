/* The rest between turns of the eraser: whoever is erased one after the other shares turns, and a turn that takes long
 * leaves the disk to others for longer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profiler/eraser_pause.h"

#define MINUTE INT64_C(60000)

/* Turns in so many milliseconds in which somebody is erased all the time. */
static int64_t turns(int64_t ms, int64_t took)
{
    struct eraser_pause p = {0};
    int64_t n = 0;

    for (int64_t at = 1; at <= ms; n++)
        at += took + eraser_pause_after(&p, true, at, at + took);
    return n;
}

static void turns_share_the_disk(void **state)
{
    (void)state;
    assert_true(turns(MINUTE, 1) <= 65);
    assert_true(turns(MINUTE, 1000) <= 31);
    assert_true(turns(MINUTE, 20000) == 1);
    assert_true(turns(24 * 60 * MINUTE, 10 * MINUTE) <= 36);
    assert_true(turns(24 * 60 * MINUTE, 60 * MINUTE) <= 16);
}

static void nobody_waits_for_ever(void **state)
{
    (void)state;
    for (int64_t took = 0; took < 48 * 60 * MINUTE; took += 1 + took / 7) {
        struct eraser_pause p = {0};
        int64_t ms = eraser_pause_after(&p, true, 1, 1 + took);

        assert_true(ms >= ERASER_TICK_MS && ms <= 30 * MINUTE);
        assert_true(ms >= took || ms == 30 * MINUTE);
    }
}

/* Who is erased when nobody was for a while does not wait for those of before. */
static void a_turn_alone_is_over_at_once(void **state)
{
    struct eraser_pause p = {0};
    int64_t last = 0;

    (void)state;
    for (int64_t at = 1; at < MINUTE; at += 10 + last) {
        last = eraser_pause_after(&p, true, at, at + 10);
        assert_true(last <= 1000);
    }
    assert_int_equal(last, 1000);
    assert_int_equal(eraser_pause_after(&p, true, 2 * MINUTE, 2 * MINUTE + 10), ERASER_TICK_MS);
}

static void what_failed_is_tried_again_later_and_later(void **state)
{
    struct eraser_pause p = {0};
    int64_t last = 0;

    (void)state;
    for (int i = 0; i < 20; i++) {
        int64_t ms = eraser_pause_after(&p, false, 0, 10);

        assert_true(ms >= last && ms <= MINUTE);
        last = ms;
    }
    assert_int_equal(last, MINUTE);
    assert_int_equal(eraser_pause_after(&p, false, 0, 60 * MINUTE), MINUTE);
    assert_int_equal(eraser_pause_after(&p, true, 0, 10), ERASER_TICK_MS);
    assert_int_equal(eraser_pause_after(&p, false, 0, 10), 4 * ERASER_TICK_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_share_the_disk),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(a_turn_alone_is_over_at_once),
        cmocka_unit_test(what_failed_is_tried_again_later_and_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
