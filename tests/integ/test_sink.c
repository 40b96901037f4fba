/* The sink between an event log that misbehaves and a real spool: patience, the circuit, the forwarder, bounds, the
 * stop. I1 and I5. */
#include "tests/support/sink_case.h"

#define FATE(...) ((struct fake_fate){__VA_ARGS__})

/* --- closed --- */

static void while_the_log_acks_nothing_is_spooled(void **state)
{
    struct sink_case *c = *state;
    uint64_t first;

    assert_int_equal(case_append(c, LOG_EVENTS, 1000, 100, &first), LOG_OK);
    case_wait_told(c, first, 1000);
    for (uint64_t i = first; i < first + 1000; i++) {
        assert_int_equal(c->told[i].status, LOG_OK);
        assert_int_equal(c->told[i].offset, i - first);
    }
    assert_int_equal(event_log_end(&c->spool->base, LOG_EVENTS, 0), 0);
    assert_false(case_figures(c).open);
    assert_int_equal(case_figures(c).last_why, LOG_OK);
    assert_int_equal(case_append(c, LOG_EVENTS, 0, 100, NULL), LOG_OK);
}

static void what_is_not_acked_in_time_is_spooled(void **state)
{
    struct sink_case *c = *state;
    uint64_t id, bad;

    case_restart(c, SHORT_MS);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    assert_int_equal(case_append_one(c, &id), LOG_SPOOLED);
    assert_int_equal(c->told[id].offset, -1);
    assert_true(c->told[id].took >= SHORT_MS && c->told[id].took < LIMIT_ANSWER_MS);
    assert_true(case_figures(c).open);
    assert_int_equal(case_figures(c).last_why, LOG_UNREACHABLE);
    assert_int_equal(case_append(c, LOG_BAD, 1, 100, &bad), LOG_OK);
    case_wait_told(c, bad, 1);
    assert_int_equal(fake_tried(c->log, LOG_BY_COLLECTOR), 1); /* the second one waited for nothing but the disk */
    struct sink_figures f = case_figures(c);
    assert_int_equal(f.ready, LOG_OK);
    assert_int_equal(f.records, 2);
    assert_true(f.bytes > 200 && f.oldest_ms >= 1);
    assert_true(case_figure(c, "waymark_spool_records") == 2);
    assert_true(case_figure(c, "waymark_spool_circuit_open") == 1);
    assert_true(case_figure(c, "waymark_spool_bytes") == (double)f.bytes);
    assert_true(case_figure(c, "waymark_spool_oldest_seconds") > 0);
    assert_true(case_figure(c, "waymark_spool_events_total{reason=\"timeout\"}") == 1);
    assert_true(case_figure(c, "waymark_spool_events_total{reason=\"open\"}") == 1);
}

static void a_late_ack_is_not_reported_again(void **state)
{
    struct sink_case *c = *state;
    uint64_t id;

    case_restart(c, SHORT_MS);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    assert_int_equal(case_append_one(c, &id), LOG_SPOOLED);
    fake_set(c->log, FATE(.report = LOG_OK));
    fake_release(c->log, LOG_OK);
    case_wait_drained(c);
    WAIT_FOR(fake_seen(c->log, LOG_EVENTS, id) == 2); /* the late one and the spooled one: one event to the fold */
    assert_int_equal(c->told[id].times, 1);
    assert_int_equal(c->told[id].status, LOG_SPOOLED);
}

static void half_an_append_may_be_acked_and_half_spooled(void **state)
{
    struct sink_case *c = *state;
    uint64_t first;

    pthread_mutex_lock(&c->log->lock);
    c->log->largest = 200;
    c->log->largest_reported = true;
    pthread_mutex_unlock(&c->log->lock);
    assert_int_equal(case_append(c, LOG_EVENTS, 1, 300, &first), LOG_OK);
    case_wait_told(c, first, 1);
    assert_int_equal(c->told[first].status, LOG_SPOOLED);
    assert_false(case_figures(c).open); /* it says nothing about the log */
    assert_int_equal(case_append_one(c, NULL), LOG_OK);
    assert_true(case_figure(c, "waymark_spool_events_total{reason=\"too_large\"}") == 1);
}

/* --- the circuit --- */

static void each_failure_opens_the_circuit(void **state)
{
    static const struct {
        struct fake_fate fate;
        const char *figure;
    } rows[] = {{{.report = LOG_FAILED}, "waymark_spool_events_total{reason=\"failed\"}"},
                {{.report = LOG_UNREACHABLE, .kept = true}, "waymark_spool_events_total{reason=\"failed\"}"},
                {{.refuse = LOG_UNREACHABLE}, "waymark_spool_events_total{reason=\"failed\"}"},
                {{.refuse = LOG_QUEUE_FULL}, "waymark_spool_events_total{reason=\"queue_full\"}"},
                {{.report = LOG_QUEUE_FULL}, "waymark_spool_events_total{reason=\"queue_full\"}"},
                {{.refuse = LOG_STOPPED}, "waymark_spool_events_total{reason=\"failed\"}"}};
    struct sink_case *c = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double before = case_figure(c, rows[i].figure);
        uint64_t id, tried = fake_tried(c->log, LOG_BY_COLLECTOR);
        int64_t begun = clock_monotonic();

        fake_set(c->log, rows[i].fate);
        assert_int_equal(case_append_one(c, &id), LOG_SPOOLED);
        assert_true(clock_monotonic() - begun < LIMIT_ANSWER_MS);
        assert_true(case_figures(c).open);
        assert_int_equal(case_figures(c).last_why,
                         rows[i].fate.refuse != LOG_OK ? rows[i].fate.refuse : rows[i].fate.report);
        assert_true(case_figure(c, rows[i].figure) == before + 1);
        assert_int_equal(case_append_one(c, NULL), LOG_SPOOLED);
        assert_int_equal(fake_tried(c->log, LOG_BY_COLLECTOR), tried + 1); /* the second one did not try */
        fake_set(c->log, FATE(.report = LOG_OK));
        WAIT_FOR(!case_figures(c).open);
        case_wait_drained(c);
        assert_true(fake_seen(c->log, LOG_EVENTS, id) >= 1);
        assert_int_equal(case_append_one(c, NULL), LOG_OK);
    }
}

static void the_forwarder_brings_all_as_it_was(void **state)
{
    struct sink_case *c = *state;
    uint64_t events, bad;
    int64_t before = clock_now();

    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    assert_int_equal(case_append(c, LOG_EVENTS, 3000, 100, &events), LOG_OK);
    assert_int_equal(case_append(c, LOG_BAD, 700, 100, &bad), LOG_OK);
    case_wait_told(c, events, 3700);
    int64_t after = clock_now();
    assert_int_equal(case_figures(c).records, 3700);
    fake_set(c->log, FATE(.report = LOG_OK));
    case_wait_drained(c);
    for (uint64_t i = events; i < events + 3000; i++)
        assert_int_equal(fake_seen(c->log, LOG_EVENTS, i), 1);
    for (uint64_t i = bad; i < bad + 700; i++)
        assert_int_equal(fake_seen(c->log, LOG_BAD, i), 1);
    assert_int_equal(event_log_appends(&c->log->base, LOG_BY_SPOOL), 3700);
    assert_true(case_figure(c, "waymark_spool_forwarded_total") == 3700);
    assert_string_equal(c->log->last_key, "the key");
    assert_true(c->log->last.time >= before && c->log->last.time <= after);
    assert_true(case_figures(c).oldest_ms == 0);
}

/* A log that acks everything, but too late for the patience, would open the circuit again at once. */
static void slow_acks_do_not_close_the_circuit(void **state)
{
    struct sink_case *c = *state;

    case_restart(c, SHORT_MS);
    fake_set(c->log, FATE(.report = LOG_OK, .delay = 3 * SHORT_MS));
    assert_int_equal(case_append_one(c, NULL), LOG_SPOOLED);
    case_wait_drained(c);
    assert_true(case_figures(c).open);
    fake_set(c->log, FATE(.report = LOG_OK));
    WAIT_FOR(case_append_one(c, NULL) == LOG_OK);
    assert_false(case_figures(c).open);
}

/* The forwarder waits for reports that do not come: records themselves find out that the log is back, and each is safe
 * meanwhile. */
static void a_log_that_forgot_the_forwarder_is_found_again(void **state)
{
    struct sink_case *c = *state;
    uint64_t tried;

    case_restart(c, SHORT_MS);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    assert_int_equal(case_append_one(c, NULL), LOG_SPOOLED);
    WAIT_FOR(fake_tried(c->log, LOG_BY_SPOOL) == 1);
    tried = fake_tried(c->log, LOG_BY_COLLECTOR);
    WAIT_FOR(case_append_one(c, NULL) == LOG_SPOOLED && fake_tried(c->log, LOG_BY_COLLECTOR) > tried);
    fake_set(c->log, FATE(.report = LOG_OK));
    WAIT_FOR(case_append_one(c, NULL) == LOG_OK);
    fake_release(c->log, LOG_FAILED); /* and forwards what is left */
    case_wait_drained(c);
}

/* --- too large for the event log --- */

static void what_is_too_large_lets_the_others_pass(void **state)
{
    struct sink_case *c = *state;
    uint64_t large, small, later;

    case_restart(c, SHORT_MS);
    c->log->largest = 500;
    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    assert_int_equal(case_append(c, LOG_EVENTS, 3, 1000, &large), LOG_OK);
    assert_int_equal(case_append(c, LOG_EVENTS, 50, 100, &small), LOG_OK);
    case_wait_told(c, large, 53);
    fake_set(c->log, FATE(.report = LOG_OK));
    for (uint64_t i = small; i < small + 50; i++)
        WAIT_FOR(fake_seen(c->log, LOG_EVENTS, i) == 1);
    WAIT_FOR(!case_figures(c).open);
    WAIT_FOR(case_figures(c).records == 3);
    assert_true(case_figures(c).oldest_ms >= 1);
    assert_int_equal(case_append(c, LOG_EVENTS, 1, 1000, &later), LOG_OK); /* a direct one */
    case_wait_told(c, later, 1);
    assert_int_equal(c->told[later].status, LOG_SPOOLED);
    uint64_t tried = fake_tried(c->log, LOG_BY_SPOOL);
    assert_true(tried < 200); /* it rests between its tries */
    pthread_mutex_lock(&c->log->lock);
    c->log->largest = 0; /* the operator raises max.message.bytes */
    pthread_mutex_unlock(&c->log->lock);
    case_wait_drained(c);
    for (uint64_t i = large; i < large + 3; i++)
        assert_true(fake_seen(c->log, LOG_EVENTS, i) == 1);
    assert_true(fake_seen(c->log, LOG_EVENTS, later) == 1);
}

/* While the forwarder rests the circuit must find its way back without it. */
static void a_resting_forwarder_does_not_keep_the_circuit_open(void **state)
{
    struct sink_case *c = *state;
    uint64_t large;

    c->log->largest = 500;
    assert_int_equal(case_append(c, LOG_EVENTS, 1, 1000, &large), LOG_OK);
    case_wait_told(c, large, 1);
    WAIT_FOR(event_log_appends(&c->spool->base, LOG_BY_SPOOL) == 1); /* it was put back: from now on it rests */
    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    assert_int_equal(case_append_one(c, NULL), LOG_SPOOLED);
    assert_true(case_figures(c).open);
    fake_set(c->log, FATE(.report = LOG_OK));
    WAIT_FOR(case_append_one(c, NULL) == LOG_OK);
    assert_false(case_figures(c).open);
}

/* --- no room --- */

static void a_full_spool_refuses_and_loses_nothing(void **state)
{
    struct sink_case *c = *state;
    enum log_status s;
    uint64_t id, kept = 0;

    c->limit_bytes = MIB;
    case_restart(c, LONG_MS);
    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    while ((s = case_append(c, LOG_EVENTS, 1, 900, &id)) == LOG_OK) {
        case_wait_told(c, id, 1);
        assert_int_equal(c->told[id].status, LOG_SPOOLED);
        kept = id + 1;
    }
    assert_int_equal(s, LOG_DISK_FULL);
    assert_int_equal(c->told[id].times, 0); /* refused at once: nobody has it and nobody says more */
    assert_true(kept > 800 && kept < 1000);
    assert_true(case_figures(c).bytes <= MIB);
    assert_int_equal(case_figures(c).ready, LOG_DISK_FULL);
    fake_set(c->log, FATE(.report = LOG_OK));
    WAIT_FOR(case_figures(c).ready == LOG_OK);
    case_wait_drained(c);
    for (uint64_t i = 0; i < kept; i++)
        assert_int_equal(fake_seen(c->log, LOG_EVENTS, i), 1);
    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    WAIT_FOR(event_log_bytes(&c->spool->base) == 0); /* what is forwarded is dropped soon */
    assert_int_equal(case_append_one(c, NULL), LOG_SPOOLED);
}

/* The spool is empty and cannot be written, so the forwarder has nothing to try: records themselves do, now and then.
 */
static void a_log_that_is_back_is_found_without_the_spool(void **state)
{
    struct sink_case *c = *state;

    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    c->spool->refuse = LOG_DISK_FULL;
    assert_int_equal(case_append_one(c, NULL), LOG_DISK_FULL);
    assert_true(case_figures(c).open);
    assert_int_equal(case_figures(c).ready, LOG_DISK_FULL);
    fake_set(c->log, FATE(.report = LOG_OK));
    WAIT_FOR(case_append_one(c, NULL) == LOG_OK);
    assert_false(case_figures(c).open);
    assert_int_equal(case_figures(c).ready, LOG_OK);
}

static void when_neither_takes_it_nobody_is_told_otherwise(void **state)
{
    struct sink_case *c = *state;
    uint64_t id;

    c->spool->refuse = LOG_DISK_FULL;
    assert_int_equal(case_append_one(c, NULL), LOG_OK); /* the spool is not needed */
    assert_int_equal(case_figures(c).ready, LOG_OK);
    fake_set(c->log, FATE(.report = LOG_FAILED));
    assert_int_equal(case_append_one(c, &id), LOG_DISK_FULL);
    case_restart(c, SHORT_MS);
    c->spool->refuse = LOG_DISK_FULL;
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    WAIT_FOR(case_append(c, LOG_EVENTS, 1, 100, &id) == LOG_OK); /* one that tries the log */
    case_wait_told(c, id, 1);
    assert_int_equal(c->told[id].status, LOG_DISK_FULL);
    fake_release(c->log, LOG_OK);
    assert_int_equal(c->told[id].times, 1);
}

/* --- bounds --- */

static void copies_are_bounded(void **state)
{
    struct sink_case *c = *state;
    uint64_t first = 0, id = 0, n = 0;

    case_restart(c, 60000);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    while (!case_figures(c).open) {
        assert_int_equal(case_append(c, LOG_EVENTS, 1, MIB, &id), LOG_OK);
        assert_true(++n <= LIMIT_SINK_BYTES / MIB + 1);
    }
    assert_int_equal(case_figures(c).last_why, LOG_QUEUE_FULL);
    case_wait_told(c, id, 1);
    assert_int_equal(c->told[id].status, LOG_SPOOLED);
    fake_release(c->log, LOG_OK);
    case_wait_told(c, first, n);
}

/* --- stopping and starting --- */

static void what_is_under_way_at_the_stop_is_in_the_spool(void **state)
{
    struct sink_case *c = *state;
    int64_t begun = clock_monotonic();
    uint64_t first;

    case_restart(c, 60000);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    assert_int_equal(case_append(c, LOG_EVENTS, 100, 100, &first), LOG_OK);
    sink_stop(c->sink, 2000);
    assert_true(clock_monotonic() - begun < 10000);
    for (uint64_t i = first; i < first + 100; i++) {
        assert_int_equal(c->told[i].times, 1);
        assert_int_equal(c->told[i].status, LOG_SPOOLED);
    }
    assert_int_equal(case_append(c, LOG_EVENTS, 1, 100, NULL), LOG_STOPPED);
    case_stop(c, 0);
    fake_set(c->log, FATE(.report = LOG_OK));
    case_start(c);
    case_wait_drained(c);
    for (uint64_t i = first; i < first + 100; i++)
        assert_int_equal(fake_seen(c->log, LOG_EVENTS, i), 1);
}

static void a_stop_waits_for_neither_log_for_ever(void **state)
{
    struct sink_case *c = *state;
    uint64_t first;

    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    c->spool->hold = true; /* a disk that hangs */
    assert_int_equal(case_append(c, LOG_EVENTS, 10, 100, &first), LOG_OK);
    int64_t begun = clock_monotonic();
    sink_stop(c->sink, 200);
    assert_true(clock_monotonic() - begun < 5000);
    for (uint64_t i = first; i < first + 10; i++) {
        assert_int_equal(c->told[i].times, 1);
        assert_int_equal(c->told[i].status, LOG_FAILED);
    }
    fake_release(c->log, LOG_OK); /* into a sink that has stopped */
}

static void a_start_finds_what_is_there(void **state)
{
    struct sink_case *c = *state;
    uint64_t first;

    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    assert_int_equal(case_append(c, LOG_EVENTS, 10, 100, &first), LOG_OK);
    case_wait_told(c, first, 10);
    for (int i = 0; i < 3; i++) {
        case_stop(c, 0);
        case_start(c);
        assert_int_equal(case_figures(c).records, 10);
        assert_true(case_figures(c).oldest_ms >= 1);
    }
    fake_set(c->log, FATE(.report = LOG_OK));
    case_wait_drained(c);
    for (uint64_t i = first; i < first + 10; i++)
        assert_int_equal(fake_seen(c->log, LOG_EVENTS, i), 1);
}

/* The forwarder stops while its window is on the way: it is forwarded again, and the late report harms nobody. */
static void a_window_under_way_at_the_stop_comes_again(void **state)
{
    struct sink_case *c = *state;
    uint64_t first;

    fake_set(c->log, FATE(.refuse = LOG_UNREACHABLE));
    assert_int_equal(case_append(c, LOG_EVENTS, 10, 100, &first), LOG_OK);
    case_wait_told(c, first, 10);
    fake_set(c->log, FATE(.delay = FAKE_NEVER));
    WAIT_FOR(fake_tried(c->log, LOG_BY_SPOOL) >= 10);
    case_stop(c, 0);
    fake_release(c->log, LOG_OK);
    fake_set(c->log, FATE(.report = LOG_OK));
    case_start(c);
    case_wait_drained(c);
    for (uint64_t i = first; i < first + 10; i++)
        WAIT_FOR(fake_seen(c->log, LOG_EVENTS, i) == 2);
}

/* Without a spool the sink only hands on. */
static void without_a_spool_it_hands_on(void **state)
{
    struct sink_case *c = *state;
    const struct sink_options o = {.log = &c->log->base};
    struct sink *before = c->sink;
    struct err e = {0};

    assert_int_equal(sink_start(&o, &c->sink, &e), 0);
    assert_int_equal(case_append_one(c, NULL), LOG_OK);
    fake_set(c->log, FATE(.report = LOG_FAILED));
    assert_int_equal(case_append_one(c, NULL), LOG_FAILED);
    fake_set(c->log, FATE(.refuse = LOG_QUEUE_FULL));
    assert_int_equal(case_append_one(c, NULL), LOG_QUEUE_FULL);
    assert_int_equal(case_figures(c).ready, LOG_QUEUE_FULL);
    assert_false(case_figures(c).open);
    sink_stop(c->sink, 0);
    sink_free(c->sink);
    c->sink = before;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, case_setup, case_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(while_the_log_acks_nothing_is_spooled),
        TEST(what_is_not_acked_in_time_is_spooled),
        TEST(a_late_ack_is_not_reported_again),
        TEST(half_an_append_may_be_acked_and_half_spooled),
        TEST(each_failure_opens_the_circuit),
        TEST(the_forwarder_brings_all_as_it_was),
        TEST(slow_acks_do_not_close_the_circuit),
        TEST(a_log_that_forgot_the_forwarder_is_found_again),
        TEST(what_is_too_large_lets_the_others_pass),
        TEST(a_resting_forwarder_does_not_keep_the_circuit_open),
        TEST(a_full_spool_refuses_and_loses_nothing),
        TEST(a_log_that_is_back_is_found_without_the_spool),
        TEST(when_neither_takes_it_nobody_is_told_otherwise),
        TEST(copies_are_bounded),
        TEST(what_is_under_way_at_the_stop_is_in_the_spool),
        TEST(a_stop_waits_for_neither_log_for_ever),
        TEST(a_start_finds_what_is_there),
        TEST(a_window_under_way_at_the_stop_comes_again),
        TEST(without_a_spool_it_hands_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
