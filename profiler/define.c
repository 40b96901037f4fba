/* A definition on its way to all partitions. The thread of the caller waits; the log's threads answer. */
#include "profiler/define.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/cond.h"

#define VALUE_BYTES (128 * KIB)

/* The waiting thread and each append under way hold it; whoever leaves last frees it. */
struct way {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    unsigned holders, pending;
    enum log_status status; /* the last that was not LOG_OK */
};

static void let_go(struct way *w)
{
    pthread_mutex_lock(&w->lock);
    bool last = --w->holders == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->cond);
    free(w);
}

/* On the log's thread. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct way *w = arg;

    (void)partition;
    (void)offset;
    pthread_mutex_lock(&w->lock);
    if (status != LOG_OK)
        w->status = status;
    if (--w->pending == 0)
        pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
    let_go(w);
}

static struct way *way_new(unsigned pending)
{
    struct way *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    pthread_mutex_init(&w->lock, NULL);
    cond_init(&w->cond);
    w->holders = 1 + pending;
    w->pending = pending;
    w->status = LOG_OK;
    return w;
}

static int wait_for(struct way *w, int64_t ms, struct err *e)
{
    struct timespec until = cond_in(ms);
    int status = 0, r = 0;

    pthread_mutex_lock(&w->lock);
    while (w->pending > 0 && status == 0)
        status = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    if (w->status != LOG_OK || w->pending > 0) {
        r = -EAGAIN;
        err_set(e, "the log did not take it: %s", w->status != LOG_OK ? log_status_text(w->status) : "no answer yet");
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

/* One record a partition, all with the same value. */
static enum log_status append(struct event_log *log, uint32_t partitions, struct str value, struct way *w)
{
    struct log_record *records = calloc(partitions, sizeof *records);
    void **args = calloc(partitions, sizeof *args);
    enum log_status s = LOG_FAILED;

    for (uint32_t i = 0; records && args && i < partitions; i++) {
        records[i] = (struct log_record){
            .kind = LOG_KIND_COMMAND, .key = STR_LIT(""), .value = value, .placed = true, .partition = i};
        args[i] = w;
    }
    if (records && args)
        s = event_log_append(log, LOG_EVENTS, LOG_BY_COMMAND, records, partitions, appended, args);
    free(records);
    free(args);
    return s;
}

int define_everywhere(struct event_log *log, const struct command *definition, int64_t ms, struct err *e)
{
    uint32_t partitions = event_log_partitions(log, LOG_EVENTS);
    struct command c = *definition;
    struct buf value;
    int r = -ENOMEM;

    c.kind = COMMAND_DEFINE;
    buf_init(&value, VALUE_BYTES);
    if (!command_pack(&c, &value)) {
        buf_deinit(&value);
        err_set(e, "the definition does not fit a record");
        return -EINVAL;
    }
    struct way *w = way_new(partitions);
    enum log_status s = w ? append(log, partitions, buf_str(&value), w) : LOG_FAILED;
    buf_deinit(&value);
    if (!w)
        return r;
    if (s == LOG_OK) {
        r = wait_for(w, ms, e);
    } else { /* then nobody is called */
        err_set(e, "the log did not take it: %s", log_status_text(s));
        w->holders = 1;
        r = -EAGAIN;
    }
    let_go(w);
    return r;
}
