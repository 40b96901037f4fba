/* The sink: its life, the circuit and the figures. Any thread appends; the main thread starts and stops it. */
#include "collector/sink.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "collector/sink_inside.h"
#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"

#define PROBE_MS 1000
#define QUIET_MS 2500      /* more than the forwarder pauses between its tries */
#define SPOOL_GRACE_MS 500 /* of a stop's time, for the spool to write what the event log did not ack */
#define NUDGE_MS 10

void sink_ref(struct sink *s)
{
    atomic_fetch_add(&s->refs, 1);
}

void sink_unref(struct sink *s)
{
    if (atomic_fetch_sub(&s->refs, 1) != 1)
        return;
    forwarder_free(s->forwarder);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    s->magic = 0;
    free(s);
}

/* The circuit */

void sink_note_trouble(struct sink *s, enum log_status why, const char *text)
{
    if (atomic_load_explicit(&s->open, memory_order_relaxed) || atomic_load(&s->stopping))
        return;
    atomic_store(&s->last_why, (int)why);
    atomic_store(&s->opened_at, clock_monotonic());
    if (!atomic_exchange(&s->open, true))
        log_limited(&s->opened_limit, LOG_WARN, "collector: events go to the spool: %s", text);
}

/* Acks of what was appended before the circuit opened say nothing, and neither do those that took too long: closed for
 * them it would open again at once. */
void sink_note_ack(struct sink *s, int64_t appended_at)
{
    if (!atomic_load_explicit(&s->open, memory_order_relaxed) || atomic_load(&s->stopping))
        return;
    if (appended_at < atomic_load(&s->opened_at) || clock_monotonic() - appended_at > s->o.patience_ms)
        return;
    if (atomic_exchange(&s->open, false))
        log_limited(&s->closed_limit, LOG_INFO, "collector: the event log takes events again");
}

/* Whether the forwarder has not tried the event log for long: it rests, or waits for reports that are slow to come. */
static bool is_quiet(struct sink *s)
{
    int64_t opened = atomic_load(&s->opened_at), tried = atomic_load(&s->tried_at);

    return clock_monotonic() - (opened > tried ? opened : tried) >= QUIET_MS;
}

/* Once a second, while nothing else would find out that the event log is back. */
static bool take_probe(struct sink *s)
{
    int64_t now = clock_monotonic(), next = atomic_load(&s->next_probe);

    return now >= next && atomic_compare_exchange_strong(&s->next_probe, &next, now + PROBE_MS);
}

enum log_status sink_append(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                            log_done *done, void *const *args)
{
    assert(s->magic == SINK_MAGIC && (int)topic < SPOOL_TOPICS);
    if (!s->o.spool)
        return event_log_append(s->o.log, topic, LOG_BY_COLLECTOR, records, n, done, args);
    if (n == 0)
        return LOG_OK;
    if (!atomic_load(&s->open) || (is_quiet(s) && take_probe(s)))
        return parcel_send(s, topic, records, n, done, args);
    enum log_status status = parcel_spool(s, topic, records, n, done, args, SPOOL_OPEN);
    /* An empty spool that is out of room would leave the forwarder nothing to try. */
    if (status != LOG_OK && status != LOG_STOPPED && take_probe(s))
        return parcel_send(s, topic, records, n, done, args);
    return status;
}

/* Figures */

void sink_figures(struct sink *s, struct sink_figures *out)
{
    enum log_status ready = event_log_ready(s->o.log);
    int64_t oldest = INT64_MAX;

    *out = (struct sink_figures){.ready = ready};
    if (!s->o.spool)
        return;
    out->open = atomic_load(&s->open);
    out->last_why = (enum log_status)atomic_load(&s->last_why);
    out->ready = event_log_ready(s->o.spool);
    if (out->ready != LOG_OK && !out->open)
        out->ready = ready;
    for (int t = 0; t < SPOOL_TOPICS; t++) {
        int64_t next = atomic_load(&s->forwarded[t]), time = atomic_load(&s->oldest_time[t]);
        int64_t end = event_log_end(s->o.spool, (enum log_topic)t, 0);

        out->records += end > next ? (uint64_t)(end - next) : 0;
        if (end > next && time > 0 && time < oldest)
            oldest = time;
    }
    if (out->records == 0)
        return; /* what it still holds is on its way out */
    out->bytes = event_log_bytes(s->o.spool);
    int64_t age = oldest == INT64_MAX ? 0 : clock_now() - oldest;
    out->oldest_ms = age > 0 ? age : 1;
}

static void write_gauge(struct buf *out, const char *name, const char *help, double value)
{
    stats_gauge_head(out, name, help);
    stats_gauge_line(out, name, NULL, value);
}

static void write_gauges(struct buf *out, void *arg)
{
    struct sink_figures f;

    sink_figures(arg, &f);
    write_gauge(out, "waymark_spool_bytes", "Bytes of records that wait in the spool.", (double)f.bytes);
    write_gauge(out, "waymark_spool_limit_bytes", "Bytes that may wait in the spool; beyond them events are refused.",
                (double)((struct sink *)arg)->o.spool_bytes);
    write_gauge(out, "waymark_spool_records", "Records that wait in the spool.", (double)f.records);
    write_gauge(out, "waymark_spool_oldest_seconds", "Age of the oldest record in the spool; 0 when it is empty.",
                (double)f.oldest_ms / 1000);
    write_gauge(out, "waymark_spool_circuit_open", "1 while records go to the spool, 0 while to the event log.",
                f.open ? 1 : 0);
}

static void add_stats(struct sink *s, struct stats *stats)
{
    static const char *const labels[SPOOL_REASONS] = {
        "reason=\"timeout\"", "reason=\"failed\"", "reason=\"queue_full\"", "reason=\"open\"", "reason=\"too_large\""};

    for (int i = 0; i < SPOOL_REASONS; i++)
        s->spooled[i] = stats_counter(stats, "waymark_spool_events_total", labels[i],
                                      "Records that were put into the spool, by reason.");
    s->forwarded_total =
        stats_counter(stats, "waymark_spool_forwarded_total", NULL, "Records brought from the spool to the event log.");
}

/* Life */

static void end_timer(struct sink *s)
{
    pthread_mutex_lock(&s->lock);
    s->stop_timer = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->timer, NULL);
}

static int start_threads(struct sink *s, struct err *e)
{
    if (pthread_create(&s->timer, NULL, parcels_timer, s) != 0) {
        err_set(e, "collector: out of threads");
        return -EAGAIN;
    }
    pthread_setname_np(s->timer, "sink-timer");
    int r = forwarder_start(s, &s->forwarder, e);
    if (r != 0)
        end_timer(s);
    return r;
}

int sink_start(const struct sink_options *o, struct sink **out, struct err *e)
{
    struct sink *s = calloc(1, sizeof *s);
    int r = 0;

    if (!s) {
        err_set(e, "collector: out of memory");
        return -ENOMEM;
    }
    assert(!o->spool || o->patience_ms > 0);
    s->magic = SINK_MAGIC;
    s->o = *o;
    atomic_init(&s->refs, 1);
    pthread_mutex_init(&s->lock, NULL);
    cond_init(&s->changed);
    if (o->spool) {
        if (o->stats)
            add_stats(s, o->stats);
        r = start_threads(s, e);
    }
    if (r != 0) {
        sink_unref(s);
        return r;
    }
    if (o->spool && o->stats)
        stats_add_gauges(o->stats, write_gauges, s);
    *out = s;
    return 0;
}

static bool wait_idle(struct sink *s, int64_t until)
{
    struct timespec t = cond_at(until);

    pthread_mutex_lock(&s->lock);
    while (s->under_way > 0 && clock_monotonic() < until)
        pthread_cond_timedwait(&s->changed, &s->lock, &t);
    bool idle = s->under_way == 0;
    pthread_mutex_unlock(&s->lock);
    return idle;
}

void sink_stop(struct sink *s, int64_t ms)
{
    int64_t until = clock_monotonic() + ms;

    if (!s->o.spool)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    forwarder_stop(s->forwarder);
    if (!wait_idle(s, until - (ms < 2 * SPOOL_GRACE_MS ? ms / 2 : SPOOL_GRACE_MS))) {
        parcels_expire_all(s);
        wait_idle(s, until);
    }
    do /* somebody may be in the middle of an append: short */
        parcels_give_up(s);
    while (!wait_idle(s, clock_monotonic() + NUDGE_MS));
}

void sink_free(struct sink *s)
{
    if (!s)
        return;
    if (s->o.spool) {
        assert(s->stopping && s->under_way == 0);
        end_timer(s);
    }
    sink_unref(s);
}
