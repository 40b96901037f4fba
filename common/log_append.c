/* Appending to the embedded log: what is refused at once, and the queue that the writer takes from. Any thread; never
 * waits for the disk. */
#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/event_log_local.h"
#include "common/log_record.h"

/* The profiler's records and commands may use half of the reserve, or what fills the disk could never drain. */
static bool below_reserve(struct local_log *log, enum log_by by)
{
    uint64_t reserve = log->o.reserve_bytes;

    if (by == LOG_BY_PROFILER || by == LOG_BY_COMMAND)
        reserve /= 2;
    if (reserve == 0 || (uint64_t)log_disk_free(log) >= reserve)
        return false;
    log_limited(&log->disk_limit, LOG_WARN, "appends are refused: the disk of %s has less than the reserve free",
                log->path);
    return true;
}

static bool queue_add(struct log_queue *q, const struct log_record *record, struct log_waiting w)
{
    w.size = (uint32_t)log_record_size(record);
    w.at = q->bytes.n;
    if (q->n == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : 1024;
        struct log_waiting *more = realloc(q->waiting, cap * sizeof(*more));

        if (!more)
            return false;
        q->waiting = more;
        q->cap = cap;
    }
    if (!buf_room(&q->bytes, w.size))
        return false;
    log_record_write(q->bytes.p + w.at, record, record->time ? record->time : clock_now());
    q->bytes.n += w.size;
    q->waiting[q->n++] = w;
    return true;
}

/* All or none; the caller has the queue's lock. */
static bool queue_add_all(struct local_log *log, enum log_topic topic, enum log_by by, const struct log_record *records,
                          size_t n, log_done *done, void *const *args)
{
    struct log_queue *q = log->filling;
    size_t n_before = q->n, bytes_before = q->bytes.n;
    uint32_t partitions = local_partitions(log, topic);

    for (size_t i = 0; i < n; i++) {
        struct log_waiting w = {.done = done, .arg = args ? args[i] : NULL, .by = by, .offset = -1};

        w.family = log_family_of(log, topic, log_record_partition(&records[i], partitions));
        if (!queue_add(q, &records[i], w)) {
            q->n = n_before;
            q->bytes.n = bytes_before;
            q->bytes.failed = false;
            return false;
        }
    }
    return true;
}

static enum log_status check_records(const struct log_record *records, size_t n, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (records[i].key.n > LIMIT_RECORD_BYTES || records[i].value.n > LIMIT_RECORD_BYTES - records[i].key.n)
            return LOG_TOO_LARGE;
        *bytes += log_waiting_bytes((uint32_t)log_record_size(&records[i]));
    }
    return *bytes > LIMIT_LOG_QUEUE_BYTES ? LOG_TOO_LARGE : LOG_OK;
}

static enum log_status may_write(struct local_log *log, enum log_by by)
{
    enum log_status trouble = (enum log_status)atomic_load(&log->trouble);

    if (trouble != LOG_OK)
        return trouble;
    return below_reserve(log, by) ? LOG_DISK_FULL : LOG_OK;
}

/* With what waits, and with what was dropped meanwhile counted a moment longer: never too little. The caller has the
 * queue's lock. */
static uint64_t held_bytes(struct local_log *log)
{
    uint64_t sum = log->queued_bytes;

    for (uint32_t f = 0; f < log->families; f++) {
        uint64_t begins = atomic_load(&log->family[f].bytes_begin), ends = atomic_load(&log->family[f].bytes_end);

        sum += ends > begins ? ends - begins : 0; /* both change while the store is opened anew */
    }
    return sum;
}

static bool over_limit(struct local_log *log, enum log_by by, size_t bytes)
{
    uint64_t limit = log->o.limit_bytes;

    if (limit == 0)
        return false;
    if (by == LOG_BY_COLLECTOR)
        limit -= limit / 8;
    if (held_bytes(log) + bytes <= limit)
        return false;
    log_limited(&log->full_limit, LOG_WARN, "appends are refused: the log in %s holds as much as it may, %llu MiB",
                log->path, (unsigned long long)(log->o.limit_bytes / MIB));
    return true;
}

static size_t queue_limit(enum log_by by)
{
    return LIMIT_LOG_QUEUE_BYTES + (by == LOG_BY_PROFILER || by == LOG_BY_COMMAND ? LIMIT_LOG_QUEUE_OWN : 0);
}

enum log_status local_append(struct event_log *seam, enum log_topic topic, enum log_by by,
                             const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    struct local_log *log = local_log(seam);
    size_t bytes;
    enum log_status s = check_records(records, n, &bytes);

    assert(by < LOG_BYS && topic != LOG_CLAIMS);
    if (s == LOG_OK && n > 0)
        s = may_write(log, by);
    if (s != LOG_OK || n == 0)
        return s;
    pthread_mutex_lock(&log->queue_lock);
    bool first = log->filling->n == 0;
    if (log->stopping)
        s = LOG_STOPPED;
    else if (over_limit(log, by, bytes))
        s = LOG_DISK_FULL;
    else if (log->queued_bytes + bytes > queue_limit(by) || !queue_add_all(log, topic, by, records, n, done, args))
        s = LOG_QUEUE_FULL;
    else
        log->queued_bytes += bytes;
    if (first && s == LOG_OK)
        pthread_cond_signal(&log->queue_cond);
    pthread_mutex_unlock(&log->queue_lock);
    return s;
}

enum log_status local_ready(struct event_log *seam)
{
    struct local_log *log = local_log(seam);
    enum log_status s = may_write(log, LOG_BY_COLLECTOR);

    if (s != LOG_OK)
        return s;
    pthread_mutex_lock(&log->queue_lock);
    if (log->stopping)
        s = LOG_STOPPED;
    else if (over_limit(log, LOG_BY_COLLECTOR, KIB)) /* a small record is an event, too */
        s = LOG_DISK_FULL;
    else if (log->queued_bytes >= LIMIT_LOG_QUEUE_BYTES)
        s = LOG_QUEUE_FULL;
    pthread_mutex_unlock(&log->queue_lock);
    return s;
}

uint64_t local_bytes(struct event_log *seam)
{
    struct local_log *log = local_log(seam);

    pthread_mutex_lock(&log->queue_lock);
    uint64_t sum = held_bytes(log);
    pthread_mutex_unlock(&log->queue_lock);
    return sum;
}
