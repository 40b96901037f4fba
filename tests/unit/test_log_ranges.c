/* Ranges in bounded memory: everything that was added lies in one, they are sorted and apart, and what lies between
 * counts only where they are close or many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "common/event_log_local.h"

enum { SPACE = 200000 };

static bool covered(const struct log_ranges *r, int64_t at)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->at[i].first <= at && at <= r->at[i].last)
            return true;
    return false;
}

static void check_form(const struct log_ranges *r)
{
    assert_in_range(r->n, 1, LOG_RANGES);
    for (size_t i = 0; i < r->n; i++) {
        assert_true(r->at[i].first <= r->at[i].last);
        if (i > 0)
            assert_true(r->at[i].first - r->at[i - 1].last > r->apart);
    }
}

static void test_few(void **state)
{
    struct log_ranges r = {0};

    (void)state;
    log_ranges_add(&r, 1000, 1000);
    log_ranges_add(&r, 0, 0);
    log_ranges_add(&r, 5000, 6000);
    assert_int_equal(r.n, 3);
    log_ranges_add(&r, 1064, 1064); /* close */
    assert_int_equal(r.n, 3);
    assert_true(r.at[1].first == 1000 && r.at[1].last == 1064);
    log_ranges_add(&r, 1129, 1129); /* no longer */
    assert_int_equal(r.n, 4);
    log_ranges_add(&r, 900, 7000); /* over three */
    assert_int_equal(r.n, 2);
    assert_true(r.at[0].last == 0 && r.at[1].first == 900 && r.at[1].last == 7000);
    log_ranges_add(&r, 950, 960);
    assert_int_equal(r.n, 2);
    log_ranges_add(&r, 0, INT64_MAX - 1);
    assert_int_equal(r.n, 1);
}

static void run(unsigned seed, int n, bool sorted)
{
    static char added[SPACE];
    struct log_ranges r = {0};
    int64_t at = 0;

    srand(seed);
    memset(added, 0, sizeof(added));
    for (int i = 0; i < n; i++) {
        at = sorted ? at + rand() % (2 * SPACE / n) : rand() % SPACE;
        int64_t last = at + (rand() % 8 ? 0 : rand() % 500);
        if (last >= SPACE)
            break;
        log_ranges_add(&r, at, last);
        memset(added + at, 1, (size_t)(last - at + 1));
        check_form(&r);
    }
    for (int64_t i = 0; i < SPACE; i++)
        if (added[i])
            assert_true(covered(&r, i));
    /* At the edges of each stands something that was added. */
    for (size_t i = 0; i < r.n; i++)
        assert_true(added[r.at[i].first] && added[r.at[i].last]);
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        run(seed, 50, false);
        run(seed, 3000, seed % 2);
        run(seed, 400, seed % 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_few),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
