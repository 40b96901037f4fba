/* Dropping what is old or too much, on a thread of its own, every few seconds; never what a registered name still
 * holds. The begin of a partition moves first, for readers; then the records go in one synced write, and at once the
 * files that held nothing else.
 *
 * By age: times grow with offsets but for steps of the clock, so the first record that is young enough is found by
 * halving. By size: the oldest records over all partitions go first, a step at a time; counted are records uncompressed
 * with their headers. A log with a limit is emptied by its readers: all that they have passed goes. Nothing is dropped
 * for less than a 256th of what is there, so that the store does not fill with small deletions: the bounds are kept
 * that exactly. The audit log is kept for ever.
 *
 * The files of a log with a limit are cleaned of what was dropped, so that nothing that went on from there stays on the
 * disk: a moment after it got empty, and from time to time while it does not. It may stand idle for months then. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/event_log_local.h"
#include "common/log.h"
#include "common/log_record.h"

#define TICK_MS 5000
#define TICK_LIMITED_MS 500 /* of a log that is to be empty again soon */
#define STEP_BYTES (64 * KIB)
#define CLEAN_MS 2000       /* from one cleaning of an empty log to the next */
#define CLEAN_HELD_MS 60000 /* of one that is not */
enum { COARSE = 256, STEPS = 16 };

/* Of one partition: what may go and what shall. */
struct cut {
    struct log_iter *walk;
    int64_t begin, limit; /* what may go is before the limit */
    int64_t at;           /* what shall go is before this */
    int64_t time;         /* of the record at `at` */
    uint64_t bytes_begin, bytes_at, bytes_end;
};

static int look(struct cut *c, int64_t offset, int64_t *time, uint64_t *before, uint64_t *after, struct err *e)
{
    struct log_record record;
    struct str value;
    int64_t found;

    log_iter_seek(c->walk, offset);
    int r = log_iter_at(c->walk, &found, &value, e);
    if (r < 0)
        return r;
    if (r == 0 || found != offset || !log_record_read(value, &record, before)) {
        err_set(e, "record %lld of the log is missing", (long long)offset);
        return -EBADMSG;
    }
    *time = record.time;
    *after = *before + log_record_span(value);
    return 0;
}

static int set_at(struct cut *c, int64_t at, struct err *e)
{
    int64_t time;
    uint64_t before, after;
    bool past = at == c->limit; /* perhaps no record stands there */
    int r = look(c, past ? at - 1 : at, &time, &before, &after, e);

    if (r < 0)
        return r;
    c->at = at;
    c->time = time;
    c->bytes_at = past ? after : before;
    return 0;
}

/* The first offset from `at` up to the limit whose record is young enough and has `bytes` before it. */
static int search(struct cut *c, int64_t horizon, uint64_t bytes, int64_t *found, struct err *e)
{
    int64_t low = c->at, high = c->limit, time;
    uint64_t before, after;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int r = look(c, middle, &time, &before, &after, e);

        if (r < 0)
            return r;
        if (time < horizon || before < bytes)
            low = middle + 1;
        else
            high = middle;
    }
    *found = low;
    return 0;
}

static int start_cut(struct local_log *log, uint32_t family, struct cut *c, struct err *e)
{
    struct log_family *f = &log->family[family];
    int64_t end = atomic_load_explicit(&f->end, memory_order_acquire);

    *c = (struct cut){.begin = atomic_load(&f->begin)};
    c->bytes_begin = c->bytes_at = atomic_load(&f->bytes_begin);
    c->bytes_end = atomic_load(&f->bytes_end);
    c->at = c->begin;
    c->limit = log_names_least(log, family, end);
    if (c->limit <= c->begin) {
        c->limit = c->begin;
        return 0;
    }
    c->walk = log_iter_new(log->store, family);
    return set_at(c, c->begin, e);
}

static int cut_by_age(struct cut *c, int64_t horizon, struct err *e)
{
    struct cut before = *c;
    int64_t at;

    if (c->at == c->limit || c->time >= horizon)
        return 0;
    int r = search(c, horizon, 0, &at, e);
    if (r == 0)
        r = set_at(c, at, e);
    if (r == 0 && c->bytes_at - c->bytes_begin < (c->bytes_end - c->bytes_begin) / COARSE)
        *c = before;
    return r;
}

static struct cut *oldest(struct cut *cuts, uint32_t n)
{
    struct cut *found = NULL;

    for (uint32_t i = 0; i < n; i++)
        if (cuts[i].at < cuts[i].limit && (!found || cuts[i].time < found->time))
            found = &cuts[i];
    return found;
}

static uint64_t left(const struct cut *cuts, uint32_t n)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += cuts[i].bytes_end - cuts[i].bytes_at;
    return sum;
}

static int cut_by_size(struct cut *cuts, uint32_t n, uint64_t most, struct err *e)
{
    uint64_t have = left(cuts, n), step;
    struct cut *c;
    int64_t at;
    int r = 0;

    if (have <= most + most / COARSE)
        return 0;
    step = (have - most) / STEPS > STEP_BYTES ? (have - most) / STEPS : STEP_BYTES;
    while (r == 0 && (have = left(cuts, n)) > most && (c = oldest(cuts, n))) {
        uint64_t bytes = have - most < step ? have - most : step;

        r = search(c, INT64_MIN, c->bytes_at + bytes, &at, e);
        if (r == 0)
            r = set_at(c, at, e);
    }
    return r;
}

static void put_begin(struct local_log *log, struct log_batch *b, uint32_t family, int64_t begin)
{
    char name[32], value[8];

    snprintf(name, sizeof(name), "begin/%u", family);
    log_put64(value, (uint64_t)begin);
    log_batch_put_fact(b, log->store, str_of(name), (struct str){value, sizeof(value)});
    log_batch_drop(b, log->store, family, begin);
}

/* Moves the begins as far as names still let them, and drops. */
static int apply(struct local_log *log, struct cut *cuts, struct err *e)
{
    struct log_batch *b = log_batch_new();
    bool any = false;
    int r = 0;

    for (uint32_t f = 0; f < log->families && r == 0; f++) {
        struct cut *c = &cuts[f];

        if (c->at == c->begin)
            continue;
        int64_t begin = log_names_pass(log, f, c->at);
        if (begin < c->at && begin > c->begin)
            r = set_at(c, begin, e);
        if (r == 0 && begin > c->begin) {
            atomic_store(&log->family[f].bytes_begin, c->bytes_at);
            put_begin(log, b, f, begin);
            any = true;
        }
    }
    if (any && r == 0)
        r = log_write(log, b, e);
    for (uint32_t f = 0; f < log->families && any && r == 0; f++)
        if (cuts[f].at > cuts[f].begin)
            log_store_drop_files(log->store, f, atomic_load(&log->family[f].begin));
    log_batch_free(b);
    if (any)
        log->unclean = true;
    return r;
}

static int run_open(struct local_log *log, int64_t now, struct err *e)
{
    struct cut *cuts = calloc(log->families, sizeof(*cuts));
    int r = 0;

    if (!cuts)
        return -ENOMEM;
    for (uint32_t f = 0; f < log->families && r == 0; f++) {
        if (f == log_family_of(log, LOG_AUDIT, 0))
            continue; /* it stays */
        r = start_cut(log, f, &cuts[f], e);
        if (r == 0 && (log->o.retain_ms > 0 || log->o.limit_bytes > 0))
            r = cut_by_age(&cuts[f], log->o.limit_bytes > 0 ? INT64_MAX : now - log->o.retain_ms, e);
    }
    if (r == 0 && log->o.retain_bytes > 0)
        r = cut_by_size(cuts, log->families, log->o.retain_bytes, e);
    if (r == 0)
        r = apply(log, cuts, e);
    for (uint32_t f = 0; f < log->families; f++)
        log_iter_free(cuts[f].walk);
    free(cuts);
    return r;
}

int log_retention_run(struct local_log *log, int64_t now, struct err *e)
{
    struct err own = {0};
    int r = 0;

    if (log->o.retain_ms == 0 && log->o.retain_bytes == 0 && log->o.limit_bytes == 0)
        return 0;
    pthread_rwlock_rdlock(&log->store_lock);
    if (log->store && !log->broken)
        r = run_open(log, now, e ? e : &own);
    pthread_rwlock_unlock(&log->store_lock);
    return r;
}

static bool is_empty(struct local_log *log)
{
    for (uint32_t f = 0; f < log->families; f++)
        if (atomic_load(&log->family[f].begin) < atomic_load(&log->family[f].end))
            return false;
    return true;
}

int log_retention_clean(struct local_log *log, int64_t now, struct err *e)
{
    const struct log_ranges none = {0};
    int r = 0;

    if (log->o.limit_bytes == 0 || !log->unclean || now - log->cleaned_at < (is_empty(log) ? CLEAN_MS : CLEAN_HELD_MS))
        return 0;
    pthread_mutex_lock(&log->blank_lock);
    for (uint32_t f = 0; f < log->families && r == 0; f++)
        r = log_clean(log, f, &none, NULL, e);
    pthread_mutex_unlock(&log->blank_lock);
    log->cleaned_at = clock_monotonic();
    log->unclean = r < 0;
    return r;
}

static bool wait_tick(struct local_log *log)
{
    struct timespec until = cond_in(log->o.limit_bytes > 0 ? TICK_LIMITED_MS : TICK_MS);
    int status = 0;

    pthread_mutex_lock(&log->tick_lock);
    while (!log->tick_stop && status == 0)
        status = pthread_cond_timedwait(&log->tick_cond, &log->tick_lock, &until);
    bool go_on = !log->tick_stop;
    pthread_mutex_unlock(&log->tick_lock);
    return go_on;
}

/* Once more when the log is closed: what its readers have passed is not to stand there until it is opened again. */
void *log_retention_main(void *arg)
{
    struct local_log *log = arg;
    struct log_limit limit = {.period_ms = TIME_MINUTE}, clean_limit = limit;
    struct err e = {0};
    bool more = true;

    log->unclean = true; /* of a log that was killed it is not known */
    while (more) {
        more = wait_tick(log);
        if (!more && log->o.limit_bytes == 0)
            break;
        if (log_retention_run(log, clock_now(), &e) < 0)
            log_limited(&limit, LOG_ERROR, "old records of the log could not be dropped: %s", e.text);
        if ((more || is_empty(log)) && log_retention_clean(log, more ? clock_monotonic() : INT64_MAX, &e) < 0)
            log_limited(&clean_limit, LOG_ERROR, "records that were dropped still stand in files: %s", e.text);
    }
    return NULL;
}
