/* The profiler's metrics. Gauges are made on a look-up thread; requests are counted on pool threads. */
#include "profiler/meter.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define ROUTES 16
#define STATUSES 12
#define ASK_MS 500 /* for the log to tell its ends */

static const unsigned statuses[STATUSES] = {200, 400, 401, 403, 404, 405, 408, 413, 414, 431, 500, 503};

/* Series are found once and then kept: asking the registry by name is not for hot paths. */
struct route_series {
    _Atomic(const char *) name;
    _Atomic(struct stats_histogram *) duration;
    _Atomic(struct stats_counter *) requests[STATUSES + 1];
};

struct meter {
    struct meter_options o;
    struct route_series routes[ROUTES];
    pthread_mutex_t lock;          /* of all below */
    struct log_reader *reader;     /* for the age of what is unread; NULL where looking takes too long */
    struct state_figures *figures; /* one reading of each partition */
    uint32_t *followed;            /* numbers of the partitions in this answer */
    uint32_t count;
    int64_t *ends; /* of those */
};

/* --- requests ------------------------------------------------------------------------------------------------- */

static struct route_series *series_of(struct meter *m, const char *route)
{
    for (size_t i = 0; i < ROUTES; i++) {
        const char *name = NULL;
        if (atomic_compare_exchange_strong(&m->routes[i].name, &name, route))
            return &m->routes[i];
        if (name == route || strcmp(name, route) == 0)
            return &m->routes[i];
    }
    return &m->routes[ROUTES - 1]; /* more routes than there are: they share */
}

static struct stats_counter *counter_of(struct meter *m, struct route_series *s, unsigned status)
{
    size_t i = 0;
    char labels[128];

    while (i < STATUSES && statuses[i] != status)
        i++;
    struct stats_counter *c = atomic_load(&s->requests[i]);
    if (c)
        return c;
    if (i < STATUSES)
        snprintf(labels, sizeof labels, "route=\"%s\",status=\"%u\"", atomic_load(&s->name), status);
    else
        snprintf(labels, sizeof labels, "route=\"%s\",status=\"other\"", atomic_load(&s->name));
    c = stats_counter(m->o.stats, "waymark_requests_total", labels, "Requests answered, by route and status.");
    atomic_store(&s->requests[i], c);
    return c;
}

void meter_request(struct meter *m, const char *route, unsigned status, double seconds)
{
    struct route_series *s = series_of(m, route);
    struct stats_histogram *h = atomic_load(&s->duration);

    if (!h) {
        char labels[96];
        snprintf(labels, sizeof labels, "route=\"%s\"", atomic_load(&s->name));
        h = stats_histogram(m->o.stats, "waymark_request_duration_seconds", labels,
                            "Time from a request's first byte to its answer.");
        atomic_store(&s->duration, h);
    }
    if (h)
        stats_observe(h, seconds);
    struct stats_counter *c = counter_of(m, s, status);
    if (c)
        stats_add(c, 1);
}

/* --- gauges --------------------------------------------------------------------------------------------------- */

static void partition_line(struct buf *out, const char *name, uint32_t partition, double value)
{
    char labels[48];

    snprintf(labels, sizeof labels, "partition=\"%u\"", partition);
    stats_gauge_line(out, name, labels, value);
}

static void write_outcomes(const struct meter *m, struct buf *out)
{
    stats_gauge_head(out, "waymark_state_events", "Records of the log by what became of them, since the state began.");
    for (int i = 0; i < OUTCOMES; i++) {
        char labels[48];
        uint64_t sum = 0;
        for (uint32_t k = 0; k < m->count; k++)
            sum += m->figures[m->followed[k]].outcomes[i];
        snprintf(labels, sizeof labels, "outcome=\"%s\"", outcome_names[i]);
        stats_gauge_line(out, "waymark_state_events", labels, (double)sum);
    }
}

static double sum_identity(const struct meter *m, enum identity_figure which)
{
    uint64_t sum = 0;

    for (uint32_t k = 0; k < m->count; k++)
        sum += m->figures[m->followed[k]].identity[which];
    return (double)sum;
}

static void write_identity(const struct meter *m, struct buf *out)
{
    stats_gauge_head(out, "waymark_identity_shared_devices",
                     "Devices with more users or events than one may have: none of their links counts.");
    stats_gauge_line(out, "waymark_identity_shared_devices", NULL, sum_identity(m, IDENTITY_SHARED));
    stats_gauge_head(out, "waymark_identity_refused",
                     "Pairs of a user and a device that is not shared whose links are void: beyond the user's cap, or "
                     "undone.");
    stats_gauge_line(out, "waymark_identity_refused", "reason=\"cap\"", sum_identity(m, IDENTITY_CAP));
    stats_gauge_line(out, "waymark_identity_refused", "reason=\"unlinked\"", sum_identity(m, IDENTITY_UNLINKED));
}

static void write_offsets(const struct meter *m, struct buf *out)
{
    stats_gauge_head(out, "waymark_state_offset", "Next offset to read, as shown to look-ups.");
    for (uint32_t k = 0; k < m->count; k++)
        partition_line(out, "waymark_state_offset", m->followed[k], (double)m->figures[m->followed[k]].offset);
    stats_gauge_head(out, "waymark_state_disk_offset", "Next offset to read after a crash.");
    for (uint32_t k = 0; k < m->count; k++)
        partition_line(out, "waymark_state_disk_offset", m->followed[k],
                       (double)m->figures[m->followed[k]].disk_offset);
    stats_gauge_head(out, "waymark_state_began_offset",
                     "Offset at which the state began; below 0 when it began before the log did.");
    for (uint32_t k = 0; k < m->count; k++)
        partition_line(out, "waymark_state_began_offset", m->followed[k], (double)m->figures[m->followed[k]].began);
}

static void write_sums(const struct meter *m, struct buf *out)
{
    uint64_t memory = 0, commits = 0, refolds = 0;

    for (uint32_t p = 0; p < m->o.partitions; p++) {
        struct state_figures f;
        state_figures(m->o.state, p, &f);
        memory += f.memory;
        commits += f.commits;
        refolds += f.refolds;
    }
    stats_gauge_head(out, "waymark_state_memory_bytes", "Memory of uncommitted events and of cached profiles.");
    stats_gauge_line(out, "waymark_state_memory_bytes", NULL, (double)memory);
    stats_gauge_head(out, "waymark_state_commits", "Commits of the state since the start.");
    stats_gauge_line(out, "waymark_state_commits", NULL, (double)commits);
    stats_gauge_head(out, "waymark_state_refolds", "Profiles folded anew since the start.");
    stats_gauge_line(out, "waymark_state_refolds", NULL, (double)refolds);
}

/* When the first record not yet folded was appended; TIME_NONE when there is none. Where that cannot be looked up, the
 * time of the record before it, which is not later. */
static int64_t oldest_unread(struct meter *m, uint32_t partition, int64_t end)
{
    struct log_record record;
    int64_t offset = m->figures[partition].offset;

    if (offset >= end)
        return TIME_NONE;
    if (!m->reader)
        return followers_time(m->o.followers, partition);
    if (log_reader_seek(m->reader, partition, offset) != 0)
        return TIME_NONE;
    return log_reader_read(m->reader, partition, &record, 1, 1, NULL) == 1 ? record.time : TIME_NONE;
}

/* The log itself is asked, after the state's offsets, so that end - offset is never too small; when it does not answer,
 * what was heard of it last stands. */
static void ask_ends(struct meter *m)
{
    bool asked = event_log_ask_ends(m->o.log, LOG_EVENTS, m->followed, m->count, ASK_MS, m->ends, NULL) == 0;

    for (uint32_t k = 0; k < m->count; k++) {
        int64_t offset = m->figures[m->followed[k]].offset;
        if (!asked)
            m->ends[k] = event_log_end(m->o.log, LOG_EVENTS, m->followed[k]);
        if (m->ends[k] < offset)
            m->ends[k] = offset;
    }
}

static void write_log(struct meter *m, struct buf *out)
{
    int64_t now = clock_now(), oldest = now;

    ask_ends(m);
    stats_gauge_head(out, "waymark_log_end_offset", "Next offset to write.");
    for (uint32_t k = 0; k < m->count; k++) {
        int64_t time = oldest_unread(m, m->followed[k], m->ends[k]);
        partition_line(out, "waymark_log_end_offset", m->followed[k], (double)m->ends[k]);
        if (time != TIME_NONE && time < oldest)
            oldest = time;
    }
    stats_gauge_head(out, "waymark_fold_lag_seconds", "Age of the oldest event not yet folded.");
    stats_gauge_line(out, "waymark_fold_lag_seconds", NULL, (double)(now - oldest) / 1000);
}

/* --- ownership ------------------------------------------------------------------------------------------------ */

static void counter_head(struct buf *out, const char *name, const char *help)
{
    buf_addf(out, "# HELP %s %s\n# TYPE %s counter\n", name, help, name);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    counter_head(out, name, help);
    buf_addf(out, "%s %" PRIu64 "\n", name, value);
}

static void write_partitions(struct meter *m, struct buf *out)
{
    stats_gauge_head(out, "waymark_partition_owned", "1 for a partition that this process follows.");
    for (uint32_t p = 0; p < m->o.partitions; p++)
        partition_line(out, "waymark_partition_owned", p, ownership_follows(m->o.ownership, p));
    stats_gauge_head(out, "waymark_partition_ready", "1 for a partition of which look-ups are answered here now.");
    for (uint32_t p = 0; p < m->o.partitions; p++)
        partition_line(out, "waymark_partition_ready", p, ownership_ask(m->o.ownership, p) == OWNERSHIP_SERVES);
    stats_gauge_head(out, "waymark_partition_fault", "1 for a partition that does not go on; the log says why.");
    for (uint32_t p = 0; p < m->o.partitions; p++)
        partition_line(out, "waymark_partition_fault", p, followers_fault(m->o.followers, p, NULL));
}

/* Beside the embedded log there is a collector, which tells the same of it. */
static void write_shared(const struct meter *m, struct buf *out)
{
    static const char *const by[LOG_BYS] = {"collector", "spool", "profiler", "command"};
    struct ownership_figures f;

    if (!event_log_shared(m->o.log))
        return;
    ownership_figures(m->o.ownership, &f);
    counter(out, "waymark_claims_total", "Claims of partitions that are on the log.", f.claims);
    counter(out, "waymark_claims_lost_total", "Partitions that another process claimed while they were followed here.",
            f.lost);
    counter(out, "waymark_terms_lost_total",
            "Times that look-ups of a partition had to stop since the log did not confirm its owner in time.",
            f.terms_lost);
    counter_head(out, "waymark_log_appends_total", "Records appended to the event log since the start, by writer.");
    for (int i = 0; i < LOG_BYS; i++)
        buf_addf(out, "waymark_log_appends_total{by=\"%s\"} %" PRIu64 "\n", by[i],
                 event_log_appends(m->o.log, (enum log_by)i));
}

static void write_lookups(struct meter *m, struct buf *out)
{
    uint64_t queued, waiting;

    lookups_figures(m->o.lookups, &queued, &waiting);
    stats_gauge_head(out, "waymark_lookups_queued", "Look-ups waiting for a thread.");
    stats_gauge_line(out, "waymark_lookups_queued", NULL, (double)queued);
    stats_gauge_head(out, "waymark_lookups_waiting", "Look-ups and tails waiting for an event to be folded.");
    stats_gauge_line(out, "waymark_lookups_waiting", NULL, (double)waiting);
    stats_gauge_head(out, "waymark_build_info", "The program that answers.");
    stats_gauge_line(out, "waymark_build_info", "version=\"" WAYMARK_VERSION "\",revision=\"" WAYMARK_REVISION "\"", 1);
}

static void write_gauges(struct buf *out, void *arg)
{
    struct meter *m = arg;

    pthread_mutex_lock(&m->lock);
    /* Outcomes and offset of a partition come from one reading: their sum must hold while folding goes on. */
    m->count = 0;
    for (uint32_t p = 0; p < m->o.partitions; p++) {
        if (!ownership_follows(m->o.ownership, p))
            continue;
        m->followed[m->count++] = p;
        followers_figures(m->o.followers, p, &m->figures[p]);
    }
    write_outcomes(m, out);
    write_identity(m, out);
    write_offsets(m, out);
    write_log(m, out);
    write_sums(m, out);
    pthread_mutex_unlock(&m->lock);
    write_partitions(m, out);
    write_shared(m, out);
    write_lookups(m, out);
}

static void free_all(struct meter *m)
{
    free(m->figures);
    free(m->followed);
    free(m->ends);
    free(m);
}

struct meter *meter_new(const struct meter_options *o)
{
    struct meter *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->o = *o;
    m->figures = calloc(o->partitions, sizeof *m->figures);
    m->followed = calloc(o->partitions, sizeof *m->followed);
    m->ends = calloc(o->partitions, sizeof *m->ends);
    if (!m->figures || !m->followed || !m->ends) {
        free_all(m);
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    if (event_log_shared(o->log) || log_reader_open(o->log, LOG_EVENTS, NULL, &m->reader, NULL) != 0)
        m->reader = NULL;
    stats_add_gauges(o->stats, write_gauges, m);
    return m;
}

void meter_free(struct meter *m)
{
    if (!m)
        return;
    log_reader_close(m->reader);
    pthread_mutex_destroy(&m->lock);
    free_all(m);
}
