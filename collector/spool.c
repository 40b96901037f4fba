/* The forwarder: the one thread that brings what lies in the spool to the event log, a window of records at a time, and
 * lets go of them once all of a window are acked. A crash between the acks and the commit forwards the window again,
 * which makes duplicates and loses nothing.
 *
 * What the event log refuses for its size goes to the end of the spool, so that what comes behind it can pass. When the
 * forwarder meets the first of these again it rests, the longer the more there is of them, before it tries them once
 * more. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "collector/sink_inside.h"
#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"

#define READER "forwarder"
#define FIRST_PAUSE_MS 100
#define REST_PATIENCES 8      /* of a rest, at least */
#define WAITED_MS TIME_MINUTE /* for acks, before a line says so */

/* One topic of the spool. */
struct lane {
    enum log_topic topic;
    struct log_reader *reader;
    int64_t next; /* offset */
    /* Of the records that were put back since the last rest: */
    int64_t back_offset; /* of the first; 0: there are none (the first one stands behind another) */
    int64_t back_time;   /* of the oldest */
    size_t back_bytes;
    int64_t rest_until; /* monotonic; 0: it does not rest */
};

struct forwarder {
    struct sink *sink;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stop;
    _Atomic bool work; /* the spool has got records since it was looked through */
    struct lane lanes[SPOOL_TOPICS];
    struct log_record records[LIMIT_SPOOL_RECORDS]; /* of the window; they live until the next read of its lane */
    int64_t pause_ms;                               /* the next one */
    struct log_limit too_large_limit, damaged_limit, waiting_limit;
};

/* What became of the records of a window. It outlives the forwarder's interest in it. */
struct window {
    struct forwarder *forwarder;
    atomic_uint refs;
    unsigned owed; /* reports; under the forwarder's lock */
    int64_t appended_at;
    int64_t back_offset; /* least offset at which one was put back; -1: none */
    size_t n;
    struct attempt {
        struct window *window;
        enum log_status status;
        bool put_back;
    } at[];
};

/* Waiting */

static bool is_stopping(struct forwarder *f)
{
    pthread_mutex_lock(&f->lock);
    bool stop = f->stop;
    pthread_mutex_unlock(&f->lock);
    return stop;
}

/* For `ms`, or with `for_work` until the spool gets something. False when the forwarder stops. */
static bool pause_for(struct forwarder *f, int64_t ms, bool for_work)
{
    int64_t until = clock_monotonic() + ms;
    struct timespec t = cond_at(until);
    int status = 0;

    pthread_mutex_lock(&f->lock);
    while (!f->stop && status == 0 && !(for_work && atomic_load(&f->work)))
        status = pthread_cond_timedwait(&f->changed, &f->lock, &t);
    bool go_on = !f->stop;
    pthread_mutex_unlock(&f->lock);
    return go_on;
}

/* After something failed: each time longer, up to a bound. */
static bool back_off(struct forwarder *f)
{
    int64_t ms = f->pause_ms ? f->pause_ms : FIRST_PAUSE_MS;

    f->pause_ms = 2 * ms < LIMIT_SPOOL_PAUSE_MS ? 2 * ms : LIMIT_SPOOL_PAUSE_MS;
    return pause_for(f, ms, false);
}

void forwarder_wake(struct forwarder *f)
{
    if (atomic_exchange(&f->work, true))
        return;
    pthread_mutex_lock(&f->lock);
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* Windows */

static struct window *new_window(struct forwarder *f, size_t n)
{
    struct window *w = malloc(sizeof *w + n * sizeof w->at[0]);

    if (!w)
        return NULL;
    *w = (struct window){.forwarder = f, .n = n, .back_offset = -1};
    atomic_init(&w->refs, 1);
    for (size_t i = 0; i < n; i++)
        w->at[i] = (struct attempt){w, LOG_UNREACHABLE, false};
    sink_ref(f->sink);
    return w;
}

static void unref(struct window *w)
{
    struct sink *s = w->forwarder->sink;

    if (atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    free(w);
    sink_unref(s);
}

/* Waits for the reports that are owed. False when the forwarder stops first. */
static bool wait_reports(struct forwarder *f, struct window *w)
{
    pthread_mutex_lock(&f->lock);
    while (!f->stop && w->owed > 0) {
        int64_t until = clock_monotonic() + WAITED_MS;
        struct timespec t = cond_at(until);

        if (pthread_cond_timedwait(&f->changed, &f->lock, &t) == ETIMEDOUT)
            log_limited(&f->waiting_limit, LOG_WARN, "collector: %u records of the spool wait for the event log",
                        w->owed);
    }
    bool go_on = !f->stop;
    pthread_mutex_unlock(&f->lock);
    return go_on;
}

static void note_report(struct attempt *a, enum log_status status, bool put_back, int64_t offset)
{
    struct window *w = a->window;
    struct forwarder *f = w->forwarder;

    pthread_mutex_lock(&f->lock);
    if (!put_back)
        a->status = status;
    else if (status == LOG_OK) {
        a->put_back = true;
        if (w->back_offset < 0 || offset < w->back_offset)
            w->back_offset = offset;
    }
    if (--w->owed == 0)
        pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

/* log_done of the event log. */
static void log_reported(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct attempt *a = arg;
    struct window *w = a->window;

    (void)partition;
    if (status == LOG_OK)
        sink_note_ack(w->forwarder->sink, w->appended_at);
    note_report(a, status, false, offset);
    unref(w);
}

/* log_done of the spool. */
static void put_back_reported(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct attempt *a = arg;
    struct window *w = a->window;

    (void)partition;
    note_report(a, status, true, offset);
    unref(w);
}

/* Appends one record, whose report is then owed. */
static enum log_status append(struct forwarder *f, struct event_log *log, enum log_topic topic, struct attempt *a,
                              const struct log_record *record, log_done *done)
{
    struct window *w = a->window;
    void *arg = a;

    atomic_fetch_add(&w->refs, 1);
    pthread_mutex_lock(&f->lock);
    w->owed++;
    pthread_mutex_unlock(&f->lock);
    enum log_status status = event_log_append(log, topic, LOG_BY_SPOOL, record, 1, done, &arg);
    if (status == LOG_OK)
        return LOG_OK;
    pthread_mutex_lock(&f->lock);
    w->owed--;
    pthread_mutex_unlock(&f->lock);
    unref(w);
    return status;
}

/* Appends what is not on the event log yet. Returns whether all of it is now, or is too large for it. Stops at the
 * first that is refused: those behind it would be, too. */
static bool try_window(struct forwarder *f, struct lane *l, struct window *w)
{
    bool done = true;

    w->appended_at = clock_monotonic();
    atomic_store(&f->sink->tried_at, w->appended_at);
    for (size_t i = 0; i < w->n; i++) {
        struct attempt *a = &w->at[i];

        if (!sink_is_trouble(a->status))
            continue;
        enum log_status status = append(f, f->sink->o.log, l->topic, a, &f->records[i], log_reported);
        if (status == LOG_TOO_LARGE)
            a->status = status;
        else if (status != LOG_OK)
            break;
    }
    if (!wait_reports(f, w))
        return false;
    for (size_t i = 0; i < w->n; i++)
        done = done && !sink_is_trouble(w->at[i].status);
    return done;
}

/* Appends to the end of the spool what is too large. Returns whether all of it is there. */
static bool put_back(struct forwarder *f, struct lane *l, struct window *w)
{
    bool done = true;

    for (size_t i = 0; i < w->n; i++) {
        struct attempt *a = &w->at[i];

        if (a->status == LOG_TOO_LARGE && !a->put_back &&
            append(f, f->sink->o.spool, l->topic, a, &f->records[i], put_back_reported) != LOG_OK)
            break;
    }
    if (!wait_reports(f, w))
        return false;
    for (size_t i = 0; i < w->n; i++)
        done = done && (w->at[i].status == LOG_OK || w->at[i].put_back);
    return done;
}

/* Keeps what was put back in mind, and returns how many were not. */
static size_t count_forwarded(struct forwarder *f, struct lane *l, const struct window *w)
{
    size_t forwarded = 0;

    for (size_t i = 0; i < w->n; i++) {
        const struct log_record *r = &f->records[i];

        if (w->at[i].status == LOG_OK) {
            forwarded++;
            continue;
        }
        l->back_bytes += r->key.n + r->value.n;
        if (l->back_time == 0 || r->time < l->back_time)
            l->back_time = r->time;
    }
    if (w->back_offset >= 0 && l->back_offset == 0)
        l->back_offset = w->back_offset;
    if (forwarded < w->n)
        log_limited(&f->too_large_limit, LOG_ERROR,
                    "collector: the event log refuses %zu records as too large; they stay in the spool and are tried "
                    "again: raise max.message.bytes of its topics, and message.max.bytes of ours",
                    w->n - forwarded);
    return forwarded;
}

/* Lanes */

static void set_oldest(struct forwarder *f, const struct lane *l, int64_t time)
{
    if (l->back_time > 0 && (time == 0 || l->back_time < time))
        time = l->back_time;
    atomic_store(&f->sink->oldest_time[l->topic], time);
}

static void commit(struct forwarder *f, struct lane *l, int64_t next)
{
    struct err e = {0};
    int r = log_reader_commit(l->reader, 0, next, &e);

    assert(r == 0); /* it was read there */
    (void)r;
    l->next = next;
    atomic_store(&f->sink->forwarded[l->topic], next);
}

/* Until all of the window is on the event log or put back. False when the forwarder stops. */
static bool bring(struct forwarder *f, struct lane *l, struct window *w)
{
    while (!try_window(f, l, w))
        if (!back_off(f))
            return false;
    f->pause_ms = 0;
    while (!put_back(f, l, w))
        if (!back_off(f))
            return false;
    f->pause_ms = 0;
    return true;
}

static bool forward_window(struct forwarder *f, struct lane *l, size_t n)
{
    struct window *w = new_window(f, n);

    if (!w)
        return back_off(f);
    set_oldest(f, l, f->records[0].time);
    bool done = bring(f, l, w);
    if (done) {
        size_t forwarded = count_forwarded(f, l, w);
        if (f->sink->o.stats)
            stats_add(f->sink->forwarded_total, forwarded);
        commit(f, l, l->next + (int64_t)n);
    }
    unref(w);
    return done;
}

/* Whether the lane stands before what was put back, and it is not yet time to try that again. */
static bool is_resting(const struct forwarder *f, struct lane *l)
{
    int64_t now = clock_monotonic();

    if (l->back_offset == 0 || l->next < l->back_offset)
        return false;
    if (l->rest_until == 0)
        l->rest_until = now + REST_PATIENCES * f->sink->o.patience_ms + (int64_t)(l->back_bytes / MIB) * TIME_SECOND;
    if (now < l->rest_until)
        return true;
    l->rest_until = l->back_offset = l->back_time = 0;
    l->back_bytes = 0;
    return false;
}

static size_t window_size(const struct forwarder *f, const struct lane *l)
{
    size_t max = atomic_load(&f->sink->open) ? LIMIT_SPOOL_PROBE : LIMIT_SPOOL_RECORDS;

    if (l->back_offset > l->next && (uint64_t)(l->back_offset - l->next) < max)
        max = (size_t)(l->back_offset - l->next);
    return max;
}

/* Forwards a window. Returns how many records were read; negative: trouble, or the forwarder stops. */
static int run_lane(struct forwarder *f, struct lane *l)
{
    struct err e = {0};
    int n = log_reader_read(l->reader, 0, f->records, window_size(f, l), LIMIT_SPOOL_BYTES, &e);

    if (n < 0) {
        if (n != -EAGAIN) /* it is being opened anew */
            log_limited(&f->damaged_limit, LOG_ERROR, "collector: the spool cannot be read: %s", e.text);
        back_off(f);
        return n;
    }
    if (n == 0)
        set_oldest(f, l, 0);
    else if (!forward_window(f, l, (size_t)n))
        return -ECANCELED;
    if (n > 0 && f->records[0].offset == l->next) /* memory was out: read again */
        (void)log_reader_seek(l->reader, 0, l->next);
    return n;
}

/* Looks through the lanes once. Returns ms until there may be more to do without anything new in the spool. */
static int64_t run_lanes(struct forwarder *f)
{
    int64_t wait = TIME_MINUTE;

    atomic_store(&f->work, false);
    for (int t = 0; t < SPOOL_TOPICS; t++) {
        struct lane *l = &f->lanes[t];

        if (!is_resting(f, l) && run_lane(f, l) != 0)
            wait = 0;
        if (l->rest_until > 0 && l->rest_until - clock_monotonic() < wait)
            wait = l->rest_until - clock_monotonic();
    }
    return wait > 0 ? wait : 0;
}

static void *run_forwarder(void *arg)
{
    struct forwarder *f = arg;

    while (!is_stopping(f)) {
        int64_t ms = run_lanes(f);
        if (ms > 0)
            pause_for(f, ms, true);
    }
    return NULL;
}

/* Life */

/* Opens the reader and finds out where it stands. */
static int open_lane(struct forwarder *f, struct lane *l, struct err *e)
{
    struct event_log *spool = f->sink->o.spool;
    int r = log_reader_open(spool, l->topic, READER, &l->reader, e);
    int n = r == 0 ? log_reader_read(l->reader, 0, f->records, 1, 1, e) : r;

    if (n < 0)
        return n;
    l->next = n > 0 ? f->records[0].offset : event_log_end(spool, l->topic, 0);
    atomic_store(&f->sink->forwarded[l->topic], l->next);
    atomic_store(&f->sink->oldest_time[l->topic], n > 0 ? f->records[0].time : 0);
    return log_reader_seek(l->reader, 0, l->next) == 0 ? 0 : -EBADMSG;
}

static struct forwarder *new_forwarder(struct sink *s)
{
    struct forwarder *f = calloc(1, sizeof *f);

    if (!f)
        return NULL;
    f->sink = s;
    f->too_large_limit.period_ms = f->damaged_limit.period_ms = f->waiting_limit.period_ms = TIME_MINUTE;
    pthread_mutex_init(&f->lock, NULL);
    cond_init(&f->changed);
    return f;
}

static void close_lanes(struct forwarder *f)
{
    for (int t = 0; t < SPOOL_TOPICS; t++) {
        log_reader_close(f->lanes[t].reader);
        f->lanes[t].reader = NULL;
    }
}

int forwarder_start(struct sink *s, struct forwarder **out, struct err *e)
{
    struct forwarder *f = new_forwarder(s);
    int r = f ? 0 : -ENOMEM;

    for (int t = 0; t < SPOOL_TOPICS && r == 0; t++) {
        f->lanes[t].topic = (enum log_topic)t;
        r = open_lane(f, &f->lanes[t], e);
    }
    if (r == 0 && pthread_create(&f->thread, NULL, run_forwarder, f) != 0) {
        err_set(e, "collector: out of threads");
        r = -EAGAIN;
    }
    if (r == 0) {
        pthread_setname_np(f->thread, "spool-forwarder");
        *out = f;
        return 0;
    }
    if (f)
        close_lanes(f);
    forwarder_free(f);
    return r;
}

void forwarder_stop(struct forwarder *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    bool running = !f->stop;
    f->stop = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (!running)
        return;
    pthread_join(f->thread, NULL);
    close_lanes(f);
}

void forwarder_free(struct forwarder *f)
{
    if (!f)
        return;
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
