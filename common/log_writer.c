/* The one thread that writes records: it takes all that waits, gives out offsets, writes with one sync per commit,
 * then shows the new ends to readers and tells the appenders. While one commit is on its way to the disk the next one
 * gathers, so the pace of the disk sets the size of the group.
 *
 * After a failed write it opens the store anew when that may help. What was on its way then may be in the store or
 * not: it was never acked, and the ends are taken from what is there. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/event_log_local.h"
#include "common/log.h"
#include "common/log_record.h"
#include "common/log_wal.h"

#define SAVE_MS 1000      /* how long a reader's commit may wait for company */
#define HEAL_MS 250       /* between looks at a full disk */
#define HEAL_MAX_MS 30000 /* between tries to open a failed store */
#define HEAL_ROOM (4 * MIB)

struct writer {
    struct local_log *log;
    struct log_batch *batch;
    int64_t heal_at;
    int64_t heal_wait;
};

/* Waits for something to do, and takes what waits. False when it was the last. */
static bool take(struct writer *w)
{
    struct local_log *log = w->log;

    assert(log->writing->n == 0);
    pthread_mutex_lock(&log->queue_lock);
    while (log->filling->n == 0 && !log->stopping) {
        int64_t ms = log->broken ? HEAL_MS : SAVE_MS;
        struct timespec until = cond_in(ms);

        if (!log->broken && !log->unsaved)
            pthread_cond_wait(&log->queue_cond, &log->queue_lock);
        else if (pthread_cond_timedwait(&log->queue_cond, &log->queue_lock, &until) == ETIMEDOUT)
            break;
    }
    struct log_queue *q = log->filling;
    log->filling = log->writing;
    log->writing = q;
    bool more = !log->stopping || q->n > 0;
    pthread_mutex_unlock(&log->queue_lock);
    return more;
}

/* Fills the batch with the records from `from` on that make up one commit. Returns where the next begins. */
static size_t fill_batch(struct writer *w, struct log_queue *q, size_t from)
{
    struct local_log *log = w->log;
    size_t bytes = 0, i = from;

    log_batch_clear(w->batch);
    for (; i < q->n && (i == from || bytes + q->waiting[i].size <= LIMIT_LOG_COMMIT_BYTES); i++) {
        struct log_waiting *r = &q->waiting[i];
        struct log_family *f = &log->family[r->family];

        r->offset = f->next++;
        log_record_set_before(q->bytes.p + r->at, f->bytes_next);
        f->bytes_next += r->size;
        log_batch_put(w->batch, log->store, r->family, r->offset, (struct str){q->bytes.p + r->at, r->size});
        bytes += r->size;
    }
    return i;
}

static void wake_readers(struct local_log *log)
{
    pthread_mutex_lock(&log->ends_lock);
    pthread_cond_broadcast(&log->ends_cond);
    pthread_mutex_unlock(&log->ends_lock);
}

static void publish(struct local_log *log, const struct log_queue *q, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        struct log_family *f = &log->family[q->waiting[i].family];

        atomic_store_explicit(&f->end, q->waiting[i].offset + 1, memory_order_release);
        atomic_fetch_add_explicit(&log->appends[q->waiting[i].by], 1, memory_order_relaxed);
    }
    for (uint32_t f = 0; f < log->families; f++)
        atomic_store(&log->family[f].bytes_end, log->family[f].bytes_next);
    wake_readers(log);
}

static void take_back(struct local_log *log)
{
    for (uint32_t f = 0; f < log->families; f++) {
        log->family[f].next = log->family[f].end;
        log->family[f].bytes_next = log->family[f].bytes_end;
    }
}

static void tell(struct local_log *log, const struct log_queue *q, size_t from, size_t to, enum log_status status)
{
    size_t bytes = 0;

    for (size_t i = from; i < to; i++)
        bytes += log_waiting_bytes(q->waiting[i].size);
    pthread_mutex_lock(&log->queue_lock);
    assert(log->queued_bytes >= bytes);
    log->queued_bytes -= bytes;
    pthread_mutex_unlock(&log->queue_lock);
    for (size_t i = from; i < to; i++) {
        const struct log_waiting *r = &q->waiting[i];
        uint32_t partition = r->family < log->o.partitions ? r->family : 0;

        if (r->done)
            r->done(r->arg, status, partition, status == LOG_OK ? r->offset : -1);
    }
}

/* One commit, with what readers have committed meanwhile. */
static enum log_status write_batch(struct writer *w)
{
    struct err e = {0};
    bool names = log_names_save(w->log, w->batch);
    int r = log_write(w->log, w->batch, &e);

    if (r == 0)
        return LOG_OK;
    if (names)
        log_names_save_failed(w->log);
    enum log_status s = (enum log_status)atomic_load(&w->log->trouble);
    return s == LOG_OK ? LOG_FAILED : s;
}

/* Records that got in before the trouble was known, and all behind a commit that failed, share its fate. */
static void write_all(struct writer *w)
{
    struct local_log *log = w->log;
    struct log_queue *q = log->writing;
    enum log_status s = (enum log_status)atomic_load(&log->trouble);
    size_t to;

    for (size_t from = 0; from < q->n; from = to) {
        to = q->n;
        if (s == LOG_OK) {
            pthread_rwlock_rdlock(&log->store_lock);
            to = fill_batch(w, q, from);
            s = write_batch(w);
            pthread_rwlock_unlock(&log->store_lock);
            if (s == LOG_OK)
                publish(log, q, from, to);
            else
                take_back(log);
        }
        tell(log, q, from, to, s);
    }
    q->n = 0;
    if (q->bytes.cap > 2 * LIMIT_LOG_COMMIT_BYTES && q->bytes.n < q->bytes.cap / 4)
        buf_deinit(&q->bytes); /* a burst is over */
    buf_reset(&q->bytes);
}

static void save_names(struct writer *w)
{
    struct local_log *log = w->log;

    if (log->broken || !log->unsaved)
        return;
    pthread_rwlock_rdlock(&log->store_lock);
    log_batch_clear(w->batch);
    write_batch(w);
    pthread_rwlock_unlock(&log->store_lock);
}

/* Opening writes the memtables that the write-ahead files hold. */
static bool has_room(struct local_log *log)
{
    uint64_t need = log->o.reserve_bytes + log_wal_bytes(log->path) + HEAL_ROOM;

    return (uint64_t)log_disk_free(log) >= need;
}

static int open_anew(struct local_log *log, struct err *e)
{
    pthread_rwlock_wrlock(&log->store_lock);
    log_readers_let_go(log);
    log_store_close(log->store);
    log->store = NULL;
    int r = log_take_store(log, e);
    pthread_rwlock_unlock(&log->store_lock);
    return r;
}

static void heal(struct writer *w)
{
    struct local_log *log = w->log;
    struct err e = {0};

    if (clock_monotonic() < w->heal_at)
        return;
    if (atomic_load(&log->trouble) == LOG_DISK_FULL && !has_room(log)) {
        w->heal_at = clock_monotonic() + HEAL_MS;
        return;
    }
    int r = open_anew(log, &e);
    if (r == 0) {
        pthread_mutex_lock(&log->write_lock);
        log->broken = false;
        atomic_store(&log->trouble, LOG_OK);
        pthread_mutex_unlock(&log->write_lock);
        w->heal_wait = HEAL_MS;
        log_info("the log in %s takes records again", log->path);
        wake_readers(log);
        return;
    }
    atomic_store(&log->trouble, r == -ENOSPC ? LOG_DISK_FULL : LOG_FAILED);
    log_error("appends are still refused: %s", e.text);
    w->heal_wait = 2 * w->heal_wait > HEAL_MAX_MS ? HEAL_MAX_MS : 2 * w->heal_wait;
    w->heal_at = clock_monotonic() + w->heal_wait;
}

void *log_writer_main(void *arg)
{
    struct writer w = {.log = arg, .batch = log_batch_new(), .heal_wait = HEAL_MS};
    bool more = true;

    while (more) {
        more = take(&w);
        if (w.log->broken && more)
            heal(&w);
        write_all(&w);
        save_names(&w);
    }
    log_batch_free(w.batch);
    return NULL;
}
