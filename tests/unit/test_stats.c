/* Metrics: what is added is summed to the unit, and the text is what Prometheus reads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/limits.h"
#include "common/stats.h"

#define THREADS 12 /* more than a counter has shards */
#define ROUNDS 20000

/* The whole text, NUL-terminated. Free it. */
static char *text_of(struct stats *s)
{
    struct buf b;

    buf_init(&b, MIB);
    stats_write(s, &b);
    buf_add_char(&b, '\0');
    assert_false(b.failed);
    return b.p;
}

static void same_name_and_labels_are_one(void **state)
{
    struct stats *s = stats_new();
    struct stats_counter *a = stats_counter(s, "x_total", "reason=\"a\"", "help");

    (void)state;
    assert_ptr_equal(a, stats_counter(s, "x_total", "reason=\"a\"", "other help"));
    assert_ptr_not_equal(a, stats_counter(s, "x_total", "reason=\"b\"", "help"));
    assert_ptr_not_equal(a, stats_counter(s, "x_total", NULL, "help"));
    assert_ptr_equal(stats_counter(s, "y_total", NULL, "help"), stats_counter(s, "y_total", "", "help"));
    assert_ptr_equal(stats_histogram(s, "h_seconds", NULL, "help"), stats_histogram(s, "h_seconds", NULL, "help"));
    stats_add(a, 3);
    stats_add(a, UINT64_C(10000000000));
    assert_true(stats_get(a) == UINT64_C(10000000003));
    stats_free(s);
    stats_free(NULL);
}

static void names_stand_together(void **state)
{
    struct stats *s = stats_new();

    (void)state;
    stats_add(stats_counter(s, "a_total", "reason=\"one\"", "Counts a."), 1);
    stats_add(stats_counter(s, "b_total", NULL, "Counts b\\c\nd."), 2);
    stats_add(stats_counter(s, "a_total", "reason=\"two\"", "never shown"), 3);
    char *text = text_of(s);
    assert_string_equal(text, "# HELP a_total Counts a.\n"
                              "# TYPE a_total counter\n"
                              "a_total{reason=\"one\"} 1\n"
                              "a_total{reason=\"two\"} 3\n"
                              "# HELP b_total Counts b\\\\c\\nd.\n"
                              "# TYPE b_total counter\n"
                              "b_total 2\n");
    free(text);
    stats_free(s);
}

static void histogram_counts_up(void **state)
{
    struct stats *s = stats_new();
    struct stats_histogram *h = stats_histogram(s, "h_seconds", "route=\"x\"", "Time.");

    (void)state;
    stats_observe(h, 0.0001); /* the bound itself belongs to its bucket */
    stats_observe(h, 0.003);
    stats_observe(h, 99);
    stats_observe(h, -1); /* a stepped clock */
    char *text = text_of(s);
    assert_non_null(strstr(text, "# TYPE h_seconds histogram\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{route=\"x\",le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{route=\"x\",le=\"0.0025\"} 2\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{route=\"x\",le=\"0.005\"} 3\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{route=\"x\",le=\"10\"} 3\n"));
    assert_non_null(strstr(text, "h_seconds_bucket{route=\"x\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "h_seconds_sum{route=\"x\"} 99.0031\n"));
    assert_non_null(strstr(text, "h_seconds_count{route=\"x\"} 4\n"));
    free(text);
    stats_free(s);
}

static void write_lag(struct buf *out, void *arg)
{
    stats_gauge_head(out, "lag_seconds", "Lag.");
    stats_gauge_line(out, "lag_seconds", "partition=\"0\"", *(double *)arg);
    stats_gauge_head(out, "up", "Up.");
    stats_gauge_line(out, "up", NULL, 1);
}

static void write_more(struct buf *out, void *arg)
{
    (void)arg;
    stats_gauge_head(out, "up", "Up.");
    stats_gauge_line(out, "up", "part=\"b\"", 0);
    stats_gauge_head(out, "lag", "Another name that begins alike.");
    stats_gauge_line(out, "lag", NULL, -1);
}

static void gauges_are_asked_each_time(void **state)
{
    struct stats *s = stats_new();
    double lag = 0.25;

    (void)state;
    stats_add_gauges(s, write_lag, &lag);
    stats_add_gauges(s, write_more, NULL);
    char *text = text_of(s);
    assert_string_equal(text, "# HELP lag_seconds Lag.\n"
                              "# TYPE lag_seconds gauge\n"
                              "lag_seconds{partition=\"0\"} 0.25\n"
                              "# HELP up Up.\n"
                              "# TYPE up gauge\n"
                              "up 1\n"
                              "up{part=\"b\"} 0\n"
                              "# HELP lag Another name that begins alike.\n"
                              "# TYPE lag gauge\n"
                              "lag -1\n");
    free(text);
    lag = 1e300 * 1e300;
    text = text_of(s);
    assert_non_null(strstr(text, "lag_seconds{partition=\"0\"} +Inf\n"));
    free(text);
    stats_free(s);
}

static void register_late(struct buf *out, void *arg)
{
    (void)out;
    stats_add(stats_counter(arg, "late_total", NULL, "Late."), 1);
}

static void a_writer_may_register(void **state)
{
    struct stats *s = stats_new();

    (void)state;
    stats_add_gauges(s, register_late, s);
    free(text_of(s));
    char *text = text_of(s);
    assert_non_null(strstr(text, "late_total 1\n")); /* the first text's; that of this one comes after it was written */
    free(text);
    stats_free(s);
}

static void a_small_buffer_fails(void **state)
{
    struct stats *s = stats_new();
    double lag = 1;

    (void)state;
    stats_add(stats_counter(s, "a_total", NULL, "Counts."), 1);
    stats_add_gauges(s, write_lag, &lag);
    char *text = text_of(s);
    for (size_t max = 0; max < strlen(text); max++) {
        struct buf b;
        buf_init(&b, max);
        stats_write(s, &b);
        assert_true(b.failed);
        buf_deinit(&b);
    }
    free(text);
    stats_free(s);
}

struct adder {
    pthread_t thread;
    struct stats *s;
};

static void *add_many(void *arg)
{
    struct adder *a = arg;
    struct stats_counter *c = stats_counter(a->s, "c_total", "k=\"v\"", "Counts.");
    struct stats_histogram *h = stats_histogram(a->s, "h_seconds", NULL, "Time.");

    for (int i = 0; i < ROUNDS; i++) {
        stats_add(c, 1);
        stats_observe(h, 0.5);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    struct stats *s = stats_new();
    struct adder adders[THREADS];
    char want[100];

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        adders[i].s = s;
        assert_int_equal(pthread_create(&adders[i].thread, NULL, add_many, &adders[i]), 0);
    }
    for (int i = 0; i < 20; i++) /* reading meanwhile does no harm */
        free(text_of(s));
    for (int i = 0; i < THREADS; i++)
        pthread_join(adders[i].thread, NULL);
    assert_true(stats_get(stats_counter(s, "c_total", "k=\"v\"", "")) == THREADS * ROUNDS);
    char *text = text_of(s);
    snprintf(want, sizeof want, "h_seconds_count %d\n", THREADS * ROUNDS);
    assert_non_null(strstr(text, want));
    snprintf(want, sizeof want, "h_seconds_sum %d\n", THREADS * ROUNDS / 2);
    assert_non_null(strstr(text, want));
    free(text);
    stats_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_name_and_labels_are_one), cmocka_unit_test(names_stand_together),
        cmocka_unit_test(histogram_counts_up),          cmocka_unit_test(gauges_are_asked_each_time),
        cmocka_unit_test(a_writer_may_register),        cmocka_unit_test(a_small_buffer_fails),
        cmocka_unit_test(threads_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
