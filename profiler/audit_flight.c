/* Records of the audit log on their way. The audit's thread, and for the answers threads of the event log. */
#include "profiler/audit_flight.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/cond.h"
#include "common/limits.h"

struct item {
    struct audit_flight *flight;
    char *p;
    size_t n;
    bool taken;
};

struct audit_flight {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool held;      /* by the audit */
    size_t pending; /* answers of the log to come */
    enum log_status status;
    size_t n, most;
    struct item item[];
};

struct audit_flight *audit_flight_new(size_t n)
{
    struct audit_flight *f = calloc(1, sizeof *f + n * sizeof f->item[0]);

    if (!f)
        return NULL;
    f->held = true;
    f->most = n;
    pthread_mutex_init(&f->lock, NULL);
    cond_init(&f->cond);
    return f;
}

static void flight_free(struct audit_flight *f)
{
    for (size_t i = 0; i < f->n; i++)
        free(f->item[i].p);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f);
}

bool audit_flight_add(struct audit_flight *f, struct str value)
{
    char *copy = malloc(value.n);

    assert(f->n < f->most && value.n > 0);
    if (!copy)
        return false;
    memcpy(copy, value.p, value.n);
    f->item[f->n++] = (struct item){.flight = f, .p = copy, .n = value.n};
    return true;
}

static void answered(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct item *item = arg;
    struct audit_flight *f = item->flight;

    (void)partition;
    (void)offset;
    pthread_mutex_lock(&f->lock);
    item->taken = status == LOG_OK;
    if (status != LOG_OK)
        f->status = status;
    bool over = --f->pending == 0, gone = over && !f->held;
    if (over)
        pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
    if (gone)
        flight_free(f);
}

void audit_flight_start(struct audit_flight *f, struct event_log *log)
{
    struct log_record records[LIMIT_AUDIT_BATCH];
    void *args[LIMIT_AUDIT_BATCH];
    size_t n = 0;

    assert(f->most <= LIMIT_AUDIT_BATCH && f->pending == 0);
    for (size_t i = 0; i < f->n; i++) {
        if (f->item[i].taken)
            continue;
        records[n] = (struct log_record){
            .kind = LOG_KIND_AUDIT, .key = STR_LIT(""), .value = {f->item[i].p, f->item[i].n}, .placed = true};
        args[n++] = &f->item[i];
    }
    f->status = LOG_OK;
    f->pending = n;
    enum log_status s = event_log_append(log, LOG_AUDIT, LOG_BY_PROFILER, records, n, answered, args);
    if (s == LOG_OK)
        return;
    f->pending = 0; /* then nobody is called */
    f->status = s;
}

bool audit_flight_wait(struct audit_flight *f, int64_t ms, enum log_status *out)
{
    struct timespec until = cond_in(ms);
    int status = 0;

    pthread_mutex_lock(&f->lock);
    while (f->pending > 0 && status == 0)
        status = pthread_cond_timedwait(&f->cond, &f->lock, &until);
    bool over = f->pending == 0;
    *out = f->status;
    pthread_mutex_unlock(&f->lock);
    return over;
}

void audit_flight_let_go(struct audit_flight *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->held = false;
    bool gone = f->pending == 0;
    pthread_mutex_unlock(&f->lock);
    if (gone)
        flight_free(f);
}
