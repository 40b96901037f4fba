/* Many who are erased one after the other: they share turns of the eraser, and none waits longer than it has to. */
#include "profiler/state_private.h"
#include "profiler/store_inside.h"
#include "tests/support/eraser_case.h"

enum { PEOPLE = 1000, FEW = 100, MOST_MS = 60000 };

static double gauge(struct shop *k, const char *name)
{
    char line[64];
    struct buf b;
    double value = -1;

    buf_init(&b, MIB);
    stats_write(k->stats, &b);
    assert_true(buf_add(&b, "", 1));
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(b.p, line);
    assert_non_null(at);
    value = atof(at + strlen(line));
    buf_deinit(&b);
    return value;
}

static void each_has_some_events(struct shop *k)
{
    char id[32];

    for (int i = 0; i < PEOPLE; i++) {
        snprintf(id, sizeof id, "u-%d", i);
        put(k, page(NULL, id, PAGE, T0 + i));
    }
    put(k, page(NULL, OTHER, "https://shop.example/neighbour", T0));
    wait_shown(k);
    write_down(k);
}

/* A thousand, as fast as the log takes them. */
static void they_share_turns(void **state)
{
    struct shop *k = *state;
    char id[32];

    each_has_some_events(k);
    start_eraser(k);
    int64_t began = clock_monotonic();
    for (int i = 0; i < PEOPLE; i++) {
        snprintf(id, sizeof id, "u-%d", i);
        put_erasure(k, id, NULL);
    }
    wait_shown(k);
    WAIT_UNTIL(is_clean(k));
    int64_t took = clock_monotonic() - began;
    unsigned turns = atomic_load(&k->cleaned);
    print_message("%d erased in %lld ms, %u turns\n", PEOPLE, (long long)took, turns);
    assert_true(turns <= 5 + took / 1000); /* of which each has some rest behind it */
    assert_int_equal(search(k->folder, true), 0);
    assert_int_equal(events_of(k, "user:u-7"), 0);
    assert_int_equal(events_of(k, "user:" OTHER), 1);
}

/* There is always somebody who waits, and nobody does for long. */
static void nobody_waits_as_long_as_there_is_somebody(void **state)
{
    struct shop *k = *state;
    char id[32];
    double oldest = 0;
    int i = 0;

    each_has_some_events(k);
    start_eraser(k);
    assert_true(gauge(k, "waymark_erasures_pending") == 0 && gauge(k, "waymark_erasure_oldest_seconds") == 0);
    int64_t began = clock_monotonic();
    for (; atomic_load(&k->cleaned) < 3 && clock_monotonic() - began < MOST_MS; i++) {
        snprintf(id, sizeof id, "u-%d", i);
        if (i >= PEOPLE)
            put(k, page(NULL, id, PAGE, T0 + i));
        put_erasure(k, id, NULL);
        wait_shown(k);
    }
    double elapsed = (double)(clock_monotonic() - began) / 1000;
    oldest = gauge(k, "waymark_erasure_oldest_seconds");
    print_message("%d erased in %.2f s, the oldest for %.2f s\n", i, elapsed, oldest);
    assert_true(atomic_load(&k->cleaned) >= 3 && oldest < elapsed);
    WAIT_UNTIL(is_clean(k));
    assert_true(gauge(k, "waymark_erasures_pending") == 0 && gauge(k, "waymark_erasure_oldest_seconds") == 0);
}

/* While others go on, too, and what they do is committed all the time. */
static void a_turn_writes_a_partition_anew_once(void **state)
{
    struct shop *k = *state;
    char id[32];
    int64_t sent = 0;

    each_has_some_events(k);
    start_eraser(k);
    for (int i = 0; i < FEW; i++) {
        snprintf(id, sizeof id, "u-%d", i);
        put_erasure(k, id, NULL);
    }
    wait_shown(k);
    do {
        snprintf(id, sizeof id, "u-other-%d", (int)(sent % 16));
        put(k, page(NULL, id, "https://shop.example/meanwhile", T0 + sent++));
        for (uint32_t p = 0; p < PARTITIONS; p++)
            followers_commit(k->followers, p);
    } while (!is_clean(k) && sent < 100000);
    WAIT_UNTIL(is_clean(k));
    unsigned turns = atomic_load(&k->cleaned);
    uint64_t rewrites = atomic_load(&k->state->store->rewrites);
    print_message("%d erased in %u turns, %u partitions written anew\n", FEW, turns, (unsigned)rewrites);
    assert_true(rewrites <= (turns + 1) * PARTITIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(they_share_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_turn_writes_a_partition_anew_once, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_waits_as_long_as_there_is_somebody, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
