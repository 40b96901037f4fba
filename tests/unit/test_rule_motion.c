/* Values that move with time, against looking at every moment; and local days, against every hour. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka's header needs the ones above. */
#include <cmocka.h>

#include "common/limits.h"
#include "profiler/rule_day.h"
#include "profiler/rule_motion.h"

static uint64_t seed = 7;

static int64_t below(int64_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

/* --- days -------------------------------------------------------------------------------------------------------- */

static void check_zone(const char *name, int64_t from, int64_t to)
{
    struct zone *z = zone_new(name);
    int64_t end = INT64_MIN;

    assert_non_null(z);
    for (int64_t ms = from; ms < to; ms += TIME_HOUR / 2) {
        const int64_t day = rule_day(z, ms), at = rule_day_end(z, ms);

        if (rule_day(z, at) == day || rule_day(z, at - 1) != day || at <= ms || at - ms > 26 * TIME_HOUR)
            fail_msg("%s: the day of %lld ends at %lld", name, (long long)ms, (long long)at);
        if (ms < end && rule_day(z, ms) != rule_day(z, ms - TIME_HOUR / 2) && at == end)
            fail_msg("%s: a day that came twice", name);
        end = at;
        const int64_t start = rule_day_start(z, day);
        if (rule_day(z, start) < day || rule_day(z, start - 1) >= day)
            fail_msg("%s: the day of %lld starts at %lld", name, (long long)ms, (long long)start);
    }
    zone_free(z);
}

static void days_of_zones(void **state)
{
    static const char *const zones[] = {"UTC",
                                        "Europe/London",
                                        "America/New_York",
                                        "Asia/Kolkata",
                                        "Asia/Kathmandu",
                                        "America/Sao_Paulo",
                                        "Pacific/Kiritimati",
                                        "Asia/Shanghai",
                                        "Australia/Lord_Howe"};

    (void)state;
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        check_zone(zones[i], INT64_C(1140000000000), INT64_C(1140000000000) + 400 * TIME_DAY);
        check_zone(zones[i], INT64_C(1760000000000), INT64_C(1760000000000) + 400 * TIME_DAY);
    }
    assert_true(rule_day(NULL, -1) == -1 && rule_day_end(NULL, -1) == 0 && rule_day_start(NULL, -1) == -TIME_DAY);
}

/* --- motions ----------------------------------------------------------------------------------------------------- */

#define SPAN 400 /* ms that are looked at one by one */

struct play {
    struct arena arena;
    int64_t at[8][MOTION_STEPS_MAX];
    struct rule_number then[8][MOTION_STEPS_MAX];
    size_t steps;
};

static struct rule_number small(void)
{
    return rule_number_of(below(41) - 20, 1 + below(3));
}

static const struct motion *random_leaf(struct play *p)
{
    struct motion *m = arena_alloc(&p->arena, sizeof *m);

    assert_non_null(m);
    if (below(3) > 0 || p->steps == 8) {
        motion_line(m, small(), below(3) ? rule_number_of(below(9) - 4, 1 + below(5)) : rule_number_of_int(0));
        return m;
    }
    /* Steps that go down by one, as a count does, or anywhere. */
    const bool count = below(2);
    const size_t k = p->steps++, n = 1 + (size_t)below(6);
    int64_t at = 0;
    *m = (struct motion){.kind = MOTION_STEPS,
                         .way = count ? MOTION_DOWN : MOTION_ANY_WAY,
                         .keeps = count,
                         .n = rule_number_of_int((int64_t)n),
                         .now = 0,
                         .count = n,
                         .at = p->at[k],
                         .then = p->then[k],
                         .open = false};
    for (size_t i = 0; i < n; i++) {
        at += below(60) + (i == 0);
        p->at[k][i] = at;
        p->then[k][i] = count ? rule_number_of_int((int64_t)(n - 1 - i)) : small();
    }
    return m;
}

static const struct motion *random_motion(struct play *p, int depth)
{
    const struct motion *m;

    if (depth == 0 || below(3) == 0)
        return random_leaf(p);
    if (below(5) == 0) {
        const struct motion *a = random_motion(p, depth - 1);

        m = a->way == MOTION_ANY_WAY ? a : motion_local(MOTION_CUT, a, NULL, &p->arena);
        assert_non_null(m);
        return m;
    }
    m = motion_join((enum motion_kind)(MOTION_ADD + below(4)), random_motion(p, depth - 1), random_motion(p, depth - 1),
                    &p->arena);
    assert_non_null(m);
    return m;
}

static bool holds(const struct motion *l, const struct motion *r, int64_t at, unsigned which)
{
    struct rule_number a, b;

    if (!motion_at(l, at, &a) || !motion_at(r, at, &b))
        return false;
    int c = rule_number_cmp(a, b);
    return which & (c < 0 ? MOTION_LESS : c > 0 ? MOTION_GREATER : MOTION_EQUAL);
}

/* As the evaluation does it: what a divisor does at zero is watched by itself. */
static int64_t watched(const struct motion *m)
{
    struct motion zero;
    int64_t at, kid;

    if (m->kind == MOTION_LINE || m->kind == MOTION_STEPS)
        return MOTION_NEVER;
    at = watched(m->a);
    if (!m->b)
        return at;
    kid = watched(m->b);
    at = kid < at ? kid : at;
    if (m->kind == MOTION_DIV) {
        motion_line(&zero, rule_number_of_int(0), rule_number_of_int(0));
        kid = motion_flip(m->b, &zero, MOTION_EQUAL);
        at = kid < at ? kid : at;
    }
    return at;
}

static void flips_are_not_missed(void **state)
{
    size_t exact = 0, early = 0;

    (void)state;
    for (int i = 0; i < 60000; i++) {
        struct play p = {.steps = 0};
        const unsigned which = 1 + (unsigned)below(6);
        int64_t at, kid, flip = MOTION_NEVER;

        arena_init(&p.arena, MIB);
        const struct motion *l = random_motion(&p, 2), *r = below(2) ? random_leaf(&p) : random_motion(&p, 1);
        at = motion_flip(l, r, which);
        kid = watched(l);
        at = kid < at ? kid : at;
        kid = watched(r);
        at = kid < at ? kid : at;
        for (int64_t t = 1; t <= SPAN && flip == MOTION_NEVER; t++)
            if (holds(l, r, t, which) != holds(l, r, 0, which))
                flip = t;
        if (at < 1 || at > flip)
            fail_msg("%d: flips in %lld, said %lld", i, (long long)flip, (long long)at);
        *(at == flip ? &exact : &early) += flip != MOTION_NEVER;
        arena_deinit(&p.arena);
    }
    if (exact < early)
        fail_msg("%zu exact, %zu early", exact, early);
}

static const struct motion *line(struct motion *m, int64_t n, int64_t rate)
{
    motion_line(m, rule_number_of_int(n), rule_number_of_int(rate));
    return m;
}

/* What cannot be told at once is come near to quickly: each look halves what is left, or better. */
static void early_is_not_often(void **state)
{
    struct motion a, b, limit;
    struct arena arena;
    int64_t now = 0;
    int looks = 0;

    (void)state;
    arena_init(&arena, MIB);
    /* (now + 1000) * (now - 10^9) reaches zero after 10^9 ms. */
    while (now < 1000000000) {
        const struct motion *m =
            motion_join(MOTION_MUL, line(&a, 1000 + now, 1), line(&b, now - 1000000000, 1), &arena);
        const int64_t in = motion_flip(m, line(&limit, 0, 0), MOTION_EQUAL | MOTION_GREATER);

        assert_true(in >= 1 && now + in <= 1000000000);
        now += in;
        looks++;
    }
    if (looks > 100)
        fail_msg("%d looks", looks);
    arena_deinit(&arena);
}

static void far_and_never(void **state)
{
    struct motion a, b;

    (void)state;
    assert_true(motion_flip(line(&a, 5, 0), line(&b, 6, 0), MOTION_LESS) == MOTION_NEVER);
    assert_true(motion_flip(line(&a, 5, 1), line(&b, 4, 0), MOTION_GREATER) == MOTION_NEVER);
    assert_true(motion_flip(line(&a, 5, 1), line(&b, 6, 1), MOTION_LESS) == MOTION_NEVER);
    assert_true(motion_flip(line(&a, 5, 1), line(&b, 6, 0), MOTION_LESS) == 1);
    assert_true(motion_flip(line(&a, 0, 1), line(&b, 0, 0), MOTION_EQUAL) == 1);
    assert_true(motion_flip(line(&a, 0, 1), line(&b, 0, 0), MOTION_EQUAL | MOTION_GREATER) == MOTION_NEVER);
    assert_true(motion_flip(line(&a, 0, 2), line(&b, 7, 0), MOTION_EQUAL) == MOTION_NEVER);
    assert_true(motion_flip(line(&a, 0, 2), line(&b, 8, 0), MOTION_EQUAL) == 4);
    assert_true(motion_flip(line(&a, 0, -1), line(&b, -100, 0), MOTION_LESS) == 101);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(days_of_zones),
        cmocka_unit_test(flips_are_not_missed),
        cmocka_unit_test(early_is_not_often),
        cmocka_unit_test(far_and_never),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
