/* The embedded log: its life and its figures. Any thread calls in; appending is log_append.c's, writing log_writer.c's,
 * reading log_reader.c's, dropping log_retention.c's, making records anew log_blank.c's. */
#include "common/event_log_local.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/log.h"
#include "common/log_record.h"
#include "common/log_wal.h"

#define DISK_AGE_MS 200 /* how old the figure of free space may be */

uint32_t log_family_of(const struct local_log *log, enum log_topic topic, uint32_t partition)
{
    assert(log->magic == EVENT_LOG_MAGIC);
    assert(partition < local_partitions(log, topic));
    switch (topic) {
    case LOG_EVENTS:
        return partition;
    case LOG_BAD:
        return log->o.partitions;
    case LOG_AUDIT:
        return log->o.partitions + 1;
    default:
        assert(topic == LOG_AUDIENCES);
        return log->o.partitions + LOG_SINGLE_FAMILIES + partition;
    }
}

enum log_topic log_topic_of(const struct local_log *log, uint32_t family, uint32_t *partition)
{
    uint32_t n = log->o.partitions;

    assert(family < log->families);
    *partition = family < n ? family : family < n + LOG_SINGLE_FAMILIES ? 0 : family - n - LOG_SINGLE_FAMILIES;
    return family < n                         ? LOG_EVENTS
           : family == n                      ? LOG_BAD
           : family < n + LOG_SINGLE_FAMILIES ? LOG_AUDIT
                                              : LOG_AUDIENCES;
}

/* Disk */

static int64_t measure_free(const char *path)
{
    struct statvfs v;

    if (statvfs(path, &v) != 0)
        return INT64_MAX; /* the write will tell */
    return (int64_t)(v.f_bavail * v.f_frsize);
}

int64_t log_disk_free(struct local_log *log)
{
    int64_t now = clock_monotonic(), checked = atomic_load(&log->disk_checked);

    if (now - checked >= DISK_AGE_MS && atomic_compare_exchange_strong(&log->disk_checked, &checked, now))
        atomic_store(&log->disk_free, measure_free(log->path));
    return atomic_load(&log->disk_free);
}

/* The store and its ends */

static int fact_begin(struct local_log *log, uint32_t family, int64_t *begin, struct err *e)
{
    char name[32];
    struct buf value;

    snprintf(name, sizeof(name), "begin/%u", family);
    buf_init(&value, 64);
    int r = log_store_fact(log->store, str_of(name), &value, e);
    if (r == 0 && value.n == 8)
        *begin = (int64_t)log_get64(value.p);
    else if (r == 0)
        r = -EBADMSG;
    buf_deinit(&value);
    return r == -ENOENT ? 0 : r;
}

static int read_at(struct log_iter *i, int64_t *offset, uint64_t *before, uint64_t *size, struct err *e)
{
    struct str value;
    struct log_record record;
    int r = log_iter_at(i, offset, &value, e);

    if (r != 1)
        return r;
    if (!log_record_read(value, &record, before)) {
        err_set(e, "record %lld of the log cannot be read", (long long)*offset);
        return -EBADMSG;
    }
    *size = log_record_span(value);
    return 1;
}

static int lost(uint32_t family, int64_t from, struct err *e)
{
    err_set(e, "the log has lost records of partition %u from offset %lld on", family, (long long)from);
    return -EBADMSG;
}

/* First and last record of a family, against its begin. Never lets an end go back. */
static int take_ends(struct local_log *log, uint32_t family, struct log_iter *i, struct err *e)
{
    struct log_family *f = &log->family[family];
    int64_t begin = 0, first = 0, last = -1;
    uint64_t before = 0, bytes_begin = 0, size = 0;
    int r = fact_begin(log, family, &begin, e);

    if (r < 0)
        return r;
    if (begin < f->begin)
        begin = f->begin;
    log_iter_seek(i, begin);
    r = read_at(i, &first, &bytes_begin, &size, e);
    if (r < 0)
        return r;
    if (r == 1 && first != begin)
        return lost(family, begin, e);
    if (r == 1) {
        log_iter_seek_last(i);
        r = read_at(i, &last, &before, &size, e);
        if (r < 0)
            return r;
    }
    if ((last < begin ? begin : last + 1) < f->end)
        return lost(family, last < begin ? begin : last + 1, e);
    f->begin = begin;
    f->bytes_begin = bytes_begin;
    f->bytes_end = f->bytes_next = before + size;
    f->end = f->next = last < begin ? begin : last + 1;
    return 0;
}

int log_take_store(struct local_log *log, struct err *e)
{
    int r = log_wal_mend(log->path, e);

    assert(!log->store);
    if (r == 0)
        r = log_store_open(log->path, log->o.partitions, &log->store, e);
    for (uint32_t f = 0; f < log->families && r == 0; f++) {
        struct log_iter *i = log_iter_new(log->store, f);

        r = take_ends(log, f, i, e);
        log_iter_free(i);
    }
    if (r != 0) {
        log_store_close(log->store);
        log->store = NULL;
    }
    return r;
}

int log_write_alone(struct local_log *log, struct log_batch *b, struct err *e)
{
    if (log->broken) {
        err_set(e, "the log waits to be opened anew");
        return -EIO;
    }
    int r = log_store_commit(log->store, b, e);
    if (r < 0) {
        log->broken = true;
        atomic_store(&log->trouble, r == -ENOSPC ? LOG_DISK_FULL : LOG_FAILED);
        log_error("appends are refused: %s", e->text);
    }
    return r;
}

/* Nobody can append to a log that is broken: the writer must hear of it from whoever broke it. */
void log_wake_writer(struct local_log *log)
{
    pthread_mutex_lock(&log->queue_lock);
    pthread_cond_signal(&log->queue_cond);
    pthread_mutex_unlock(&log->queue_lock);
}

int log_write(struct local_log *log, struct log_batch *b, struct err *e)
{
    pthread_mutex_lock(&log->write_lock);
    int r = log_write_alone(log, b, e);
    pthread_mutex_unlock(&log->write_lock);
    if (r < 0)
        log_wake_writer(log);
    return r;
}

/* Opening and closing */

static int name_in(struct local_log *log, const char *name, char *out, size_t size, struct err *e)
{
    int n = snprintf(out, size, "%s/%s", log->path, name);

    if (n > 0 && (size_t)n < size)
        return 0;
    err_set(e, "the name %s is too long", log->path);
    return -ENAMETOOLONG;
}

/* A new folder is on disk only when the one that it is in is. */
static int make_folder(struct local_log *log, struct err *e)
{
    char above[4096];
    int r = name_in(log, "..", above, sizeof(above), e), fd = -1;

    if (r < 0)
        return r;
    if (mkdir(log->path, 0750) != 0)
        r = errno == EEXIST ? 0 : -errno;
    else if ((fd = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || fsync(fd) != 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    if (r < 0)
        err_set(e, "cannot make the folder %s: %s", log->path, strerror(-r));
    return r;
}

static int lock_folder(struct local_log *log, struct err *e)
{
    char file[4096];
    int r = name_in(log, "waymark.lock", file, sizeof(file), e);

    if (r == 0)
        r = make_folder(log, e);
    if (r < 0)
        return r;
    log->lock_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (log->lock_fd < 0 || flock(log->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        r = -errno;
        if (r == -EWOULDBLOCK)
            err_set(e, "the log in %s is in use by another process", log->path);
        else
            err_set(e, "cannot lock %s: %s", file, strerror(-r));
        return r;
    }
    return 0;
}

static int check_reserve(struct local_log *log, struct err *e)
{
    int64_t bytes = measure_free(log->path);

    if ((uint64_t)bytes >= log->o.reserve_bytes)
        return 0;
    err_set(e, "the disk of %s has %lld MiB free, less than the reserve of %llu MiB", log->path,
            (long long)(bytes / (int64_t)MIB), (unsigned long long)(log->o.reserve_bytes / MIB));
    return -ENOSPC;
}

static int check_options(const struct event_log_options *o, struct err *e)
{
    if (o->path && o->path[0] && o->partitions >= 1 && o->partitions <= LIMIT_PARTITIONS && o->retain_ms >= 0)
        return 0;
    err_set(e, "the log wants a folder and 1 to %d partitions", LIMIT_PARTITIONS);
    return -EINVAL;
}

static struct log_queue *queue_new(void)
{
    struct log_queue *q = calloc(1, sizeof(*q));

    if (!q)
        abort();
    buf_init(&q->bytes, LIMIT_LOG_QUEUE_BYTES + LIMIT_LOG_QUEUE_OWN);
    return q;
}

static void queue_free(struct log_queue *q)
{
    buf_deinit(&q->bytes);
    free(q->waiting);
    free(q);
}

static struct local_log *new_log(const struct event_log_options *o)
{
    struct local_log *log = calloc(1, sizeof(*log));
    pthread_rwlockattr_t a;

    if (!log || !(log->path = strdup(o->path)) ||
        !(log->family = calloc(log_store_rows(o->partitions), sizeof(*log->family))))
        abort();
    log->magic = EVENT_LOG_MAGIC;
    log->o = *o;
    log->o.path = log->path;
    log->families = log_store_rows(o->partitions);
    log->lock_fd = -1;
    log->disk_checked = INT64_MIN / 2;
    log->disk_limit.period_ms = log->full_limit.period_ms = TIME_MINUTE;
    log->filling = queue_new();
    log->writing = queue_new();
    pthread_rwlockattr_init(&a);
    pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&log->store_lock, &a);
    pthread_rwlockattr_destroy(&a);
    pthread_mutex_init(&log->write_lock, NULL);
    pthread_mutex_init(&log->blank_lock, NULL);
    pthread_mutex_init(&log->queue_lock, NULL);
    pthread_mutex_init(&log->ends_lock, NULL);
    pthread_mutex_init(&log->readers_lock, NULL);
    pthread_mutex_init(&log->tick_lock, NULL);
    cond_init(&log->queue_cond);
    cond_init(&log->ends_cond);
    cond_init(&log->tick_cond);
    return log;
}

static void free_log(struct local_log *log)
{
    log_store_close(log->store);
    log_names_free(log);
    queue_free(log->filling);
    queue_free(log->writing);
    pthread_rwlock_destroy(&log->store_lock);
    pthread_mutex_destroy(&log->write_lock);
    pthread_mutex_destroy(&log->blank_lock);
    pthread_mutex_destroy(&log->queue_lock);
    pthread_mutex_destroy(&log->ends_lock);
    pthread_mutex_destroy(&log->readers_lock);
    pthread_mutex_destroy(&log->tick_lock);
    pthread_cond_destroy(&log->queue_cond);
    pthread_cond_destroy(&log->ends_cond);
    pthread_cond_destroy(&log->tick_cond);
    if (log->lock_fd >= 0)
        close(log->lock_fd);
    free(log->family);
    free(log->path);
    log->magic = 0;
    free(log);
}

static void start_thread(pthread_t *t, const char *name, void *(*run)(void *), struct local_log *log)
{
    if (pthread_create(t, NULL, run, log) != 0)
        abort();
    pthread_setname_np(*t, name);
}

static void local_close(struct event_log *seam)
{
    struct local_log *log = local_log(seam);

    pthread_mutex_lock(&log->queue_lock);
    log->stopping = true;
    pthread_cond_broadcast(&log->queue_cond);
    pthread_mutex_unlock(&log->queue_lock);
    pthread_join(log->writer, NULL);
    pthread_mutex_lock(&log->tick_lock);
    log->tick_stop = true;
    pthread_cond_broadcast(&log->tick_cond);
    pthread_mutex_unlock(&log->tick_lock);
    pthread_join(log->retention, NULL);
    assert(!log->readers); /* their walks stand in the store */
    free_log(log);
}

/* The seam */

uint32_t local_partitions(const struct local_log *log, enum log_topic topic)
{
    assert(topic != LOG_CLAIMS);
    return log_topic_is_single(topic) ? 1 : log->o.partitions;
}

static uint32_t partitions(const struct event_log *seam, enum log_topic topic)
{
    return topic == LOG_CLAIMS ? 0 : local_partitions((const struct local_log *)seam, topic);
}

static int64_t begin(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    const struct local_log *log = local_log(seam);

    return atomic_load(&log->family[log_family_of(log, topic, partition)].begin);
}

static int64_t end(struct event_log *seam, enum log_topic topic, uint32_t partition)
{
    const struct local_log *log = local_log(seam);

    return atomic_load(&log->family[log_family_of(log, topic, partition)].end);
}

static uint64_t appends(struct event_log *seam, enum log_by by)
{
    return atomic_load(&local_log(seam)->appends[by]);
}

/* Bytes that are too much may let a record go before that; nothing is kept for longer. */
static int retention(struct event_log *seam, enum log_topic topic, int64_t ms, int64_t *out, struct err *e)
{
    (void)ms, (void)e;
    *out = topic == LOG_AUDIT ? 0 : local_log(seam)->o.retain_ms;
    return 0;
}

static const struct event_log_ops local_ops = {.close = local_close,
                                               .append = local_append,
                                               .partitions = partitions,
                                               .begin = begin,
                                               .end = end,
                                               .bytes = local_bytes,
                                               .appends = appends,
                                               .ready = local_ready,
                                               .blank = local_blank,
                                               .retention = retention,
                                               .reader_open = local_reader_open};

int event_log_open_local(const struct event_log_options *o, struct event_log **out, struct err *e)
{
    struct err own = {0}; /* log_write and others want somewhere to put words */
    int r = check_options(o, e);

    if (r < 0)
        return r;
    if (!e)
        e = &own;
    struct local_log *log = new_log(o);
    log->base.ops = &local_ops;
    r = lock_folder(log, e);
    if (r == 0)
        r = check_reserve(log, e);
    if (r == 0)
        r = log_take_store(log, e);
    if (r == 0)
        r = log_names_load(log, e);
    if (r != 0) {
        free_log(log);
        return r;
    }
    start_thread(&log->writer, "log-writer", log_writer_main, log);
    start_thread(&log->retention, "log-retention", log_retention_main, log);
    *out = &log->base;
    return 0;
}
