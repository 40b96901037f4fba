/* The look-up queue: everything taken is run exactly once, waiting ends when it is met, in time, or at the end. */
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
#include "profiler/lookup.h"

#define PATIENCE_MS 20000

/* A job that says when it ran. */
struct probe {
    struct lookup_job job;
    _Atomic int64_t *shown; /* met once this is more than `offset` */
    int64_t offset;
    _Atomic int runs;
    _Atomic bool in_time;
    pthread_mutex_t *hold; /* taken and let go in the run */
};

static void run_probe(struct lookup_job *job, bool in_time)
{
    struct probe *p = (struct probe *)job;

    if (p->hold) {
        pthread_mutex_lock(p->hold);
        pthread_mutex_unlock(p->hold);
    }
    atomic_store(&p->in_time, in_time);
    atomic_fetch_add(&p->runs, 1);
}

static bool probe_met(const struct lookup_job *job)
{
    const struct probe *p = (const struct probe *)job;

    return atomic_load(p->shown) > p->offset;
}

static void probe_init(struct probe *p, _Atomic int64_t *shown, int64_t offset, int64_t wait_ms)
{
    *p = (struct probe){.job = {.run = run_probe}, .shown = shown, .offset = offset};
    if (shown) {
        p->job.met = probe_met;
        p->job.deadline = clock_monotonic() + wait_ms;
    }
}

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void wait_ran(struct probe *p)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    while (atomic_load(&p->runs) == 0 && clock_monotonic() < until)
        pause_a_moment();
    assert_int_equal(atomic_load(&p->runs), 1);
}

static struct lookups *start(unsigned threads)
{
    struct lookups *l;

    assert_int_equal(lookups_start(threads, &l, NULL), 0);
    return l;
}

static void stop(struct lookups *l)
{
    lookups_finish(l);
    lookups_free(l);
}

static void test_runs(void **state)
{
    struct lookups *l = start(3);
    struct probe p[500];

    (void)state;
    for (int i = 0; i < 500; i++) {
        probe_init(&p[i], NULL, 0, 0);
        assert_true(lookups_submit(l, &p[i].job));
    }
    stop(l);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(p[i].runs, 1);
        assert_true(p[i].in_time);
    }
}

static void test_met_at_once_and_later(void **state)
{
    _Atomic int64_t shown = 5;
    struct lookups *l = start(1);
    struct probe now, later;
    uint64_t queued, waiting;

    (void)state;
    probe_init(&now, &shown, 4, 1);
    probe_init(&later, &shown, 5, PATIENCE_MS);
    assert_true(lookups_submit(l, &later.job));
    assert_true(lookups_submit(l, &now.job));
    wait_ran(&now);
    assert_true(now.in_time);
    assert_int_equal(later.runs, 0);
    lookups_figures(l, &queued, &waiting);
    assert_int_equal(waiting, 1);
    atomic_store(&shown, 6);
    lookups_wake(l);
    wait_ran(&later);
    assert_true(later.in_time);
    stop(l);
}

static void test_time_runs_out(void **state)
{
    _Atomic int64_t shown = 0;
    struct lookups *l = start(1);
    struct probe p;
    int64_t begin = clock_monotonic();

    (void)state;
    probe_init(&p, &shown, 0, 60);
    assert_true(lookups_submit(l, &p.job));
    wait_ran(&p);
    assert_false(p.in_time);
    assert_true(clock_monotonic() - begin >= 60);
    stop(l);
}

/* Nobody wakes: the list is looked through by itself. */
static void test_polls(void **state)
{
    _Atomic int64_t shown = 0;
    struct lookups *l = start(1);
    struct probe p;

    (void)state;
    probe_init(&p, &shown, 0, PATIENCE_MS);
    p.job.poll = true;
    assert_true(lookups_submit(l, &p.job));
    atomic_store(&shown, 1);
    wait_ran(&p);
    assert_true(p.in_time);
    stop(l);
}

static void test_full(void **state)
{
    pthread_mutex_t hold = PTHREAD_MUTEX_INITIALIZER;
    struct lookups *l = start(1);
    struct probe *p = calloc(LIMIT_LOOKUP_QUEUE + 3, sizeof *p), urgent;
    size_t taken = 0;

    (void)state;
    pthread_mutex_lock(&hold);
    for (size_t i = 0; i < LIMIT_LOOKUP_QUEUE + 3; i++) {
        probe_init(&p[i], NULL, 0, 0);
        p[i].hold = &hold;
        taken += lookups_submit(l, &p[i].job);
    }
    /* One may be with the thread already. */
    assert_true(taken == LIMIT_LOOKUP_QUEUE || taken == LIMIT_LOOKUP_QUEUE + 1);
    probe_init(&urgent, NULL, 0, 0);
    urgent.job.urgent = true;
    assert_true(lookups_submit(l, &urgent.job));
    pthread_mutex_unlock(&hold);
    stop(l);
    for (size_t i = 0; i < LIMIT_LOOKUP_QUEUE + 3; i++)
        taken -= (size_t)p[i].runs;
    assert_int_equal(taken, 0);
    assert_int_equal(urgent.runs, 1);
    free(p);
}

static void test_end_lets_all_go(void **state)
{
    _Atomic int64_t shown = 0;
    struct lookups *l = start(2);
    struct probe p[50], late;

    (void)state;
    for (int i = 0; i < 50; i++) {
        probe_init(&p[i], &shown, i % 2 ? 0 : -1, PATIENCE_MS * 10);
        assert_true(lookups_submit(l, &p[i].job));
    }
    lookups_finish(l);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(p[i].runs, 1);
        assert_int_equal(p[i].in_time, i % 2 == 0);
    }
    probe_init(&late, NULL, 0, 0);
    assert_false(lookups_submit(l, &late.job));
    lookups_free(l);
    lookups_free(NULL);
}

/* Jobs park while somebody else moves on what they wait for: nobody is forgotten. */
struct mover {
    struct lookups *l;
    _Atomic int64_t shown;
    int64_t end;
};

static void *move(void *arg)
{
    struct mover *m = arg;

    for (int64_t i = 1; i <= m->end; i++) {
        atomic_store(&m->shown, i);
        lookups_wake(m->l);
    }
    return NULL;
}

static void test_no_wake_is_lost(void **state)
{
    enum { N = 4000 };
    struct probe *p = calloc(N, sizeof *p);
    struct mover m = {.l = start(2), .end = N};
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, move, &m), 0);
    for (int i = 0; i < N; i++) {
        probe_init(&p[i], &m.shown, i, PATIENCE_MS);
        assert_true(lookups_submit(m.l, &p[i].job));
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < N; i++) {
        wait_ran(&p[i]);
        assert_true(p[i].in_time);
    }
    stop(m.l);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_met_at_once_and_later),
        cmocka_unit_test(test_time_runs_out),
        cmocka_unit_test(test_polls),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_end_lets_all_go),
        cmocka_unit_test(test_no_wake_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
