/* The collector's figures. Counted on the pool threads and the log's callback thread, read by whoever scrapes. */
#include "collector/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX 24
#define STATUSES_MAX 24

static const char *const reason_codes[REASONS] = {
    [REASON_NOT_OBJECT] = "not_object",         [REASON_TYPE_UNKNOWN] = "type_unknown",
    [REASON_ID_MISSING] = "id_missing",         [REASON_ID_INVALID] = "id_invalid",
    [REASON_NAME_MISSING] = "name_missing",     [REASON_TIMESTAMP_INVALID] = "timestamp_invalid",
    [REASON_TOO_LARGE] = "too_large",           [REASON_TOO_DEEP] = "too_deep",
    [REASON_VALUE_INVALID] = "value_invalid",   [REASON_ORDER_INVALID] = "order_invalid",
    [REASON_UNAVAILABLE] = "unavailable",       [REASON_RATE_LIMITED] = "rate_limited",
    [REASON_BODY_TOO_LARGE] = "body_too_large",
};

/* The series of one route: those of the statuses that it has answered. Slots are only ever filled. */
struct route_series {
    _Atomic(const char *) label;
    _Atomic(struct stats_histogram *) seconds;
    struct {
        _Atomic unsigned status;
        _Atomic(struct stats_counter *) count;
    } answers[STATUSES_MAX];
};

struct metrics {
    struct stats *stats;
    struct event_log *log;
    _Atomic uint64_t received, accepted, refused[REASONS];
    pthread_mutex_t grow; /* around the first use of a series */
    struct route_series routes[ROUTES_MAX];
};

enum reason reason_of(const char *code)
{
    int i = 0;

    while (i < REASONS && strcmp(code, reason_codes[i]) != 0)
        i++;
    assert(i < REASONS);
    return (enum reason)i;
}

static void write_head(struct buf *out, const char *name, const char *help, const char *type)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Accepted and refused are read before received and are raised after it, so that none is ever more than was received;
 * what lies between is in flight by definition. */
static void write_events(struct metrics *m, struct buf *out)
{
    uint64_t refused[REASONS], settled = atomic_load(&m->accepted), accepted = settled;

    for (int i = 0; i < REASONS; i++)
        settled += refused[i] = atomic_load(&m->refused[i]);
    uint64_t received = atomic_load(&m->received);
    assert(received >= settled);

    write_head(out, "waymark_events_received_total", "Events seen inside readable requests.", "counter");
    buf_addf(out, "waymark_events_received_total %" PRIu64 "\n", received);
    write_head(out, "waymark_events_accepted_total", "Events answered as accepted.", "counter");
    buf_addf(out, "waymark_events_accepted_total %" PRIu64 "\n", accepted);
    write_head(out, "waymark_events_refused_total", "Events refused, by reason.", "counter");
    for (int i = 0; i < REASONS; i++)
        buf_addf(out, "waymark_events_refused_total{reason=\"%s\"} %" PRIu64 "\n", reason_codes[i], refused[i]);
    stats_gauge_head(out, "waymark_events_in_flight", "Events received and not yet answered.");
    stats_gauge_line(out, "waymark_events_in_flight", NULL, (double)(received - settled));
}

static void write_all(struct buf *out, void *arg)
{
    static const char *const by[LOG_BYS] = {"collector", "spool", "profiler", "command"};
    struct metrics *m = arg;

    write_events(m, out);
    write_head(out, "waymark_log_appends_total", "Records appended to the event log since the start, by writer.",
               "counter");
    for (int i = 0; i < LOG_BYS; i++)
        buf_addf(out, "waymark_log_appends_total{by=\"%s\"} %" PRIu64 "\n", by[i],
                 event_log_appends(m->log, (enum log_by)i));
    stats_gauge_head(out, "waymark_build_info", "The program that runs.");
    stats_gauge_line(out, "waymark_build_info", "version=\"" WAYMARK_VERSION "\",revision=\"" WAYMARK_REVISION "\"", 1);
}

struct metrics *metrics_new(struct stats *stats, struct event_log *log)
{
    struct metrics *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->stats = stats;
    m->log = log;
    pthread_mutex_init(&m->grow, NULL);
    stats_add_gauges(stats, write_all, m);
    return m;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    pthread_mutex_destroy(&m->grow);
    free(m);
}

void metrics_received(struct metrics *m, uint32_t events)
{
    atomic_fetch_add(&m->received, events);
}

void metrics_settled(struct metrics *m, const struct tally *t)
{
    if (t->accepted)
        atomic_fetch_add(&m->accepted, t->accepted);
    for (int i = 0; i < REASONS; i++)
        if (t->refused[i])
            atomic_fetch_add(&m->refused[i], t->refused[i]);
}

void metrics_refused(struct metrics *m, enum reason why, uint32_t events)
{
    atomic_fetch_add(&m->refused[why], events);
}

void metrics_totals(const struct metrics *m, uint64_t *received, uint64_t *accepted, uint64_t *refused)
{
    *accepted = atomic_load(&m->accepted);
    *refused = 0;
    for (int i = 0; i < REASONS; i++)
        *refused += atomic_load(&m->refused[i]);
    *received = atomic_load(&m->received);
}

/* Finds or makes the slot of a route; NULL when the table is full. */
static struct route_series *series_of(struct metrics *m, const char *label)
{
    for (int i = 0; i < ROUTES_MAX; i++) {
        const char *have = atomic_load_explicit(&m->routes[i].label, memory_order_acquire);
        if (!have)
            return NULL;
        if (have == label || strcmp(have, label) == 0)
            return &m->routes[i];
    }
    return NULL;
}

static struct stats_counter *count_of(struct route_series *r, unsigned status)
{
    for (int i = 0; i < STATUSES_MAX; i++)
        if (atomic_load_explicit(&r->answers[i].status, memory_order_acquire) == status)
            return atomic_load_explicit(&r->answers[i].count, memory_order_relaxed);
    return NULL;
}

static struct route_series *add_route(struct metrics *m, const char *label)
{
    struct route_series *r = series_of(m, label);
    char labels[96];

    for (int i = 0; !r && i < ROUTES_MAX; i++)
        if (!atomic_load(&m->routes[i].label))
            r = &m->routes[i];
    if (!r || atomic_load(&r->label))
        return r;
    snprintf(labels, sizeof labels, "route=\"%s\"", label);
    atomic_store(&r->seconds, stats_histogram(m->stats, "waymark_request_duration_seconds", labels,
                                              "Time from a request's first line to its answer."));
    atomic_store_explicit(&r->label, label, memory_order_release);
    return r;
}

static struct stats_counter *add_status(struct metrics *m, struct route_series *r, unsigned status)
{
    struct stats_counter *c = count_of(r, status);
    char labels[128];

    for (int i = 0; !c && i < STATUSES_MAX; i++) {
        if (atomic_load(&r->answers[i].status))
            continue;
        snprintf(labels, sizeof labels, "route=\"%s\",status=\"%u\"", atomic_load(&r->label), status);
        c = stats_counter(m->stats, "waymark_requests_total", labels, "Requests answered.");
        atomic_store_explicit(&r->answers[i].count, c, memory_order_relaxed);
        atomic_store_explicit(&r->answers[i].status, status, memory_order_release);
    }
    return c;
}

void metrics_request(struct metrics *m, const char *route, unsigned status, double seconds)
{
    struct route_series *r = series_of(m, route);
    struct stats_counter *c = r ? count_of(r, status) : NULL;

    if (!c) {
        pthread_mutex_lock(&m->grow);
        r = add_route(m, route);
        c = r ? add_status(m, r, status) : NULL;
        pthread_mutex_unlock(&m->grow);
    }
    if (r && c) {
        stats_add(c, 1);
        stats_observe(atomic_load_explicit(&r->seconds, memory_order_relaxed), seconds);
    }
}
