/* Marks on their way to the log. The export's thread; `done` comes on a thread of the log. */
#include "profiler/export_marks.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "proto/codec.h"

#define LOOK_MS 50 /* between looks at `stop`, and tries of a full log */

struct export_marks {
    struct event_log *log;
    const _Atomic bool *stop;
    struct arena arena;
    struct buf bytes;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t flying;        /* [lock] */
    enum log_status failed; /* [lock] sticky */
};

struct export_marks *export_marks_new(struct event_log *log, const _Atomic bool *stop)
{
    struct export_marks *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->log = log;
    m->stop = stop;
    arena_init(&m->arena, LIMIT_EXPORT_ARENA);
    buf_init(&m->bytes, LIMIT_RECORD_BYTES);
    pthread_mutex_init(&m->lock, NULL);
    cond_init(&m->moved);
    return m;
}

static void mark_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct export_marks *m = arg;

    (void)partition;
    (void)offset;
    pthread_mutex_lock(&m->lock);
    m->flying--;
    if (status != LOG_OK)
        m->failed = status;
    pthread_cond_signal(&m->moved);
    pthread_mutex_unlock(&m->lock);
}

static int refused(enum log_status s, struct err *e)
{
    err_set(e, "the log did not take what the campaign notes of people: %s", log_status_text(s));
    return s == LOG_DISK_FULL ? -ENOSPC : -EIO;
}

/* Until at most `most` are under way. */
static int wait_below(struct export_marks *m, uint64_t most, struct err *e)
{
    int64_t until = clock_monotonic() + LIMIT_EXPORT_MARKS_MS;
    enum log_status failed;
    uint64_t flying;

    pthread_mutex_lock(&m->lock);
    while (m->flying > most && m->failed == LOG_OK && !atomic_load(m->stop) && clock_monotonic() < until) {
        struct timespec look = cond_in(LOOK_MS);

        pthread_cond_timedwait(&m->moved, &m->lock, &look);
    }
    failed = m->failed;
    flying = m->flying;
    pthread_mutex_unlock(&m->lock);
    if (failed != LOG_OK)
        return refused(failed, e);
    if (flying <= most)
        return 0;
    if (atomic_load(m->stop))
        return -ECANCELED;
    return refused(LOG_UNREACHABLE, e);
}

static int append(struct export_marks *m, const struct log_record *r, struct err *e)
{
    int64_t until = clock_monotonic() + LIMIT_EXPORT_MARKS_MS;
    void *const args[] = {m};

    for (;;) {
        pthread_mutex_lock(&m->lock);
        m->flying++;
        pthread_mutex_unlock(&m->lock);
        enum log_status s = event_log_append(m->log, LOG_EVENTS, LOG_BY_PROFILER, r, 1, mark_done, args);
        if (s == LOG_OK)
            return 0;
        pthread_mutex_lock(&m->lock);
        m->flying--;
        struct timespec look = cond_in(LOOK_MS);
        if (s == LOG_QUEUE_FULL)
            pthread_cond_timedwait(&m->moved, &m->lock, &look);
        pthread_mutex_unlock(&m->lock);
        if (s != LOG_QUEUE_FULL || clock_monotonic() > until)
            return refused(s, e);
        if (atomic_load(m->stop))
            return -ECANCELED;
    }
}

int export_marks_put(struct export_marks *m, const struct mark *mark, struct str id, struct err *e)
{
    struct event event;
    int rc = wait_below(m, LIMIT_EXPORT_MARKS - 1, e);

    if (rc < 0)
        return rc;
    arena_reset(&m->arena);
    buf_reset(&m->bytes);
    rc = mark_event(mark, id, clock_now(), &m->arena, &event);
    if (rc == 0 && !event_pack(&event, &m->bytes))
        rc = -ENOMEM;
    if (rc < 0) {
        err_set(e, "what the campaign notes of somebody cannot be written: %s", strerror(-rc));
        return rc;
    }
    return append(
        m, &(struct log_record){.kind = LOG_KIND_EVENT, .key = event_log_key(&event), .value = buf_str(&m->bytes)}, e);
}

int export_marks_wait(struct export_marks *m, struct err *e)
{
    return wait_below(m, 0, e);
}

void export_marks_free(struct export_marks *m)
{
    if (!m)
        return;
    pthread_mutex_lock(&m->lock);
    while (m->flying > 0)
        pthread_cond_wait(&m->moved, &m->lock);
    pthread_mutex_unlock(&m->lock);
    pthread_cond_destroy(&m->moved);
    pthread_mutex_destroy(&m->lock);
    arena_deinit(&m->arena);
    buf_deinit(&m->bytes);
    free(m);
}
