/* The seam of the event log: hands each call to the implementation, and what is the same for all of them. */
#include "common/event_log.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#include "common/event_log_inside.h"

const char *log_status_text(enum log_status s)
{
    switch (s) {
    case LOG_OK:
        return "ok";
    case LOG_QUEUE_FULL:
        return "the queue of the log is full";
    case LOG_DISK_FULL:
        return "the disk of the log is full";
    case LOG_FAILED:
        return "the log cannot be written";
    case LOG_TOO_LARGE:
        return "larger than a record of the log may be";
    case LOG_STOPPED:
        return "the log is closing";
    case LOG_UNREACHABLE:
        return "the log cannot be reached";
    case LOG_SPOOLED:
        return "spooled";
    }
    return "unknown";
}

uint32_t log_record_partition(const struct log_record *r, uint32_t partitions)
{
    assert(!r->placed || r->partition < partitions);
    return r->placed ? r->partition : event_log_partition(r->key, partitions);
}

void event_log_close(struct event_log *log)
{
    if (log)
        log->ops->close(log);
}

enum log_status event_log_append(struct event_log *log, enum log_topic topic, enum log_by by,
                                 const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    return log->ops->append(log, topic, by, records, n, done, args);
}

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool called;
    enum log_status status;
    uint32_t partition;
    int64_t offset;
};

static void wake_waiter(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct waiter *w = arg;

    pthread_mutex_lock(&w->lock);
    w->called = true;
    w->status = status;
    w->partition = partition;
    w->offset = offset;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

enum log_status event_log_append_wait(struct event_log *log, enum log_topic topic, enum log_by by,
                                      const struct log_record *record, uint32_t *partition, int64_t *offset)
{
    struct waiter w = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    void *arg = &w;
    enum log_status s = event_log_append(log, topic, by, record, 1, wake_waiter, &arg);

    if (s == LOG_OK) {
        pthread_mutex_lock(&w.lock);
        while (!w.called)
            pthread_cond_wait(&w.cond, &w.lock);
        pthread_mutex_unlock(&w.lock);
        s = w.status;
    }
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.cond);
    if (s == LOG_OK && partition)
        *partition = w.partition;
    if (s == LOG_OK && offset)
        *offset = w.offset;
    return s;
}

uint32_t event_log_partitions(const struct event_log *log, enum log_topic topic)
{
    assert(topic < LOG_TOPICS);
    return log->ops->partitions(log, topic);
}

int64_t event_log_begin(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    return log->ops->begin(log, topic, partition);
}

int64_t event_log_end(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    return log->ops->end(log, topic, partition);
}

int event_log_ask_ends(struct event_log *log, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                       int64_t *ends, struct err *e)
{
    if (log->ops->ask_ends)
        return log->ops->ask_ends(log, topic, partitions, n, ms, ends, e);
    for (size_t i = 0; i < n; i++)
        ends[i] = log->ops->end(log, topic, partitions[i]);
    return 0;
}

int event_log_ask_committed(struct event_log *log, const uint32_t *partitions, size_t n, int64_t ms, int64_t *out,
                            struct err *e)
{
    if (log->ops->ask_committed)
        return log->ops->ask_committed(log, partitions, n, ms, out, e);
    err_set(e, "nobody else follows this log");
    return -ENOTSUP;
}

uint64_t event_log_bytes(struct event_log *log)
{
    return log->ops->bytes ? log->ops->bytes(log) : 0;
}

uint64_t event_log_appends(struct event_log *log, enum log_by by)
{
    assert(by < LOG_BYS);
    return log->ops->appends(log, by);
}

enum log_status event_log_ready(struct event_log *log)
{
    return log->ops->ready(log);
}

uint64_t event_log_identity(struct event_log *log)
{
    return log->ops->identity ? log->ops->identity(log) : 0;
}

bool event_log_shared(const struct event_log *log)
{
    return log->ops->join != NULL;
}

int event_log_blank(struct event_log *log, enum log_topic topic, uint32_t partition, int64_t below, log_judge *judge,
                    void *arg, _Atomic bool *stop, uint64_t *blanked, struct err *e)
{
    uint64_t own;

    if (!blanked)
        blanked = &own;
    *blanked = 0;
    if (log->ops->blank)
        return log->ops->blank(log, topic, partition, below, judge, arg, stop, blanked, e);
    err_set(e, "records of this log cannot be made anew: they go with its retention");
    return -ENOTSUP;
}

int event_log_retention(struct event_log *log, enum log_topic topic, int64_t ms, int64_t *retention, struct err *e)
{
    *retention = 0;
    return log->ops->retention ? log->ops->retention(log, topic, ms, retention, e) : 0;
}

int log_group_join(struct event_log *log, const struct log_group_options *o, struct err *e)
{
    if (log->ops->join)
        return log->ops->join(log, o, e);
    for (uint32_t p = 0; p < event_log_partitions(log, LOG_EVENTS); p++)
        o->given(o->arg, p);
    return 0;
}

void log_group_leave(struct event_log *log, bool for_good, int64_t ms)
{
    if (log->ops->leave)
        log->ops->leave(log, for_good, ms);
}

int log_reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                    struct err *e)
{
    return log->ops->reader_open(log, topic, name, out, e);
}

void log_reader_close(struct log_reader *r)
{
    if (r)
        r->ops->close(r);
}

int log_reader_seek(struct log_reader *r, uint32_t partition, int64_t offset)
{
    return r->ops->seek(r, partition, offset);
}

int log_reader_read(struct log_reader *r, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                    struct err *e)
{
    return r->ops->read(r, partition, out, max, max_bytes, e);
}

void log_reader_wait(struct log_reader *r, const uint32_t *partitions, size_t n, int64_t ms)
{
    r->ops->wait(r, partitions, n, ms);
}

void log_reader_wake(struct log_reader *r)
{
    r->ops->wake(r);
}

int log_reader_commit(struct log_reader *r, uint32_t partition, int64_t offset, struct err *e)
{
    return r->ops->commit(r, partition, offset, e);
}
