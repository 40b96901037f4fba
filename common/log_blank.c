/* Making records of the embedded log anew in their place. The records are read like any reader reads them and shown to
 * the judge; what it says is written a few records at a time, in one synced write each. With them goes a fact that says
 * which offsets have old bytes in files:
 *
 *   blank/FAMILY  pairs of 8 bytes, big-endian: ranges of offsets, first and last
 *
 * It goes when the files are clean, so that a call after a crash cleans what the one before it has left. Runs on the
 * thread of the caller; others read and append meanwhile. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/event_log_local.h"
#include "common/log_record.h"

#define BATCH_BYTES (1 * MIB) /* and one record more */
enum { READ = 256, FACT_NAME = 32 };

struct blanker {
    struct local_log *log;
    enum log_topic topic;
    uint32_t partition, family;
    int64_t below;
    log_judge *judge;
    void *arg;
    _Atomic bool *stop;
    uint64_t *blanked;
    struct err *e;
    struct log_ranges ranges; /* with old bytes in files */
    struct buf value;         /* the judge's */
    /* What waits to be written, each record in `bytes` as the store will have it. */
    struct buf bytes;
    struct anew {
        int64_t offset; /* -1: retention was faster */
        size_t at, size;
    } anew[READ];
    size_t n;
    struct log_record read[READ];
};

/* The fact */

static void fact_name(const struct blanker *b, char name[FACT_NAME])
{
    snprintf(name, FACT_NAME, "blank/%u", b->family);
}

static void put_ranges(struct blanker *b, struct log_batch *batch)
{
    char name[FACT_NAME], value[LOG_RANGES * 16];

    fact_name(b, name);
    for (size_t i = 0; i < b->ranges.n; i++) {
        log_put64(value + 16 * i, (uint64_t)b->ranges.at[i].first);
        log_put64(value + 16 * i + 8, (uint64_t)b->ranges.at[i].last);
    }
    log_batch_put_fact(batch, b->log->store, str_of(name), (struct str){value, 16 * b->ranges.n});
}

static int take_ranges(struct blanker *b, struct str value)
{
    for (size_t i = 0; i + 16 <= value.n; i += 16) {
        int64_t first = (int64_t)log_get64(value.p + i), last = (int64_t)log_get64(value.p + i + 8);

        if (first < 0 || last < first) {
            err_set(b->e, "the log in %s has a range of blanked records that is none", b->log->path);
            return -EBADMSG;
        }
        log_ranges_add(&b->ranges, first, last);
    }
    return 0;
}

static int load_ranges(struct blanker *b)
{
    char name[FACT_NAME];
    struct buf value;
    int r = log_share_store(b->log, b->e);

    if (r < 0)
        return r;
    fact_name(b, name);
    buf_init(&value, LOG_RANGES * 16);
    r = log_store_fact(b->log->store, str_of(name), &value, b->e);
    pthread_rwlock_unlock(&b->log->store_lock);
    if (r == 0)
        r = take_ranges(b, buf_str(&value));
    buf_deinit(&value);
    return r == -ENOENT ? 0 : r;
}

static int drop_ranges(struct blanker *b)
{
    char name[FACT_NAME];
    int r = log_share_store(b->log, b->e);

    if (r < 0)
        return r;
    struct log_batch *batch = log_batch_new();
    fact_name(b, name);
    log_batch_delete_fact(batch, b->log->store, str_of(name));
    r = log_write(b->log, batch, b->e);
    log_batch_free(batch);
    pthread_rwlock_unlock(&b->log->store_lock);
    return r;
}

/* Writing */

/* What only the record that is there knows: the bytes before it and its own. */
static int complete(struct blanker *b, struct anew *a, struct log_iter *walk)
{
    struct log_record there;
    struct str bytes;
    uint64_t before;
    int64_t offset;

    log_iter_seek(walk, a->offset);
    int r = log_iter_at(walk, &offset, &bytes, b->e);
    if (r < 0)
        return r;
    if (r == 0 || offset != a->offset) {
        a->offset = -1;
        return 0;
    }
    if (!log_record_read(bytes, &there, &before)) {
        err_set(b->e, "record %lld of the log cannot be read", (long long)offset);
        return -EBADMSG;
    }
    log_put64(b->bytes.p + a->at, before);
    log_put64(b->bytes.p + a->at + a->size - LOG_RECORD_TAIL, log_record_span(bytes));
    return 0;
}

static int complete_all(struct blanker *b)
{
    struct log_iter *walk = log_iter_new(b->log->store, b->family);
    int r = 0;

    for (size_t i = 0; i < b->n && r == 0; i++)
        r = complete(b, &b->anew[i], walk);
    log_iter_free(walk);
    return r;
}

/* Under write_lock the begin can still move, but what it passes is dropped by a write that comes after this one. */
static int write_alone(struct blanker *b, struct log_batch *batch, uint64_t *written)
{
    int64_t begin = atomic_load(&b->log->family[b->family].begin);

    for (size_t i = 0; i < b->n; i++) {
        const struct anew *a = &b->anew[i];

        if (a->offset < begin)
            continue;
        log_batch_put(batch, b->log->store, b->family, a->offset, (struct str){b->bytes.p + a->at, a->size});
        ++*written;
    }
    put_ranges(b, batch);
    return log_write_alone(b->log, batch, b->e);
}

static int write_shared(struct blanker *b)
{
    struct log_batch *batch = log_batch_new();
    uint64_t written = 0;
    int r = complete_all(b);

    if (r == 0) {
        pthread_mutex_lock(&b->log->write_lock);
        r = write_alone(b, batch, &written);
        pthread_mutex_unlock(&b->log->write_lock);
        if (r < 0)
            log_wake_writer(b->log);
    }
    if (r == 0)
        *b->blanked += written;
    log_batch_free(batch);
    return r;
}

/* Writes what waits. */
static int write_anew(struct blanker *b)
{
    int r = b->n > 0 ? log_share_store(b->log, b->e) : 0;

    if (b->n == 0 || r < 0)
        return r;
    for (size_t i = 0; i < b->n; i++)
        log_ranges_add(&b->ranges, b->anew[i].offset, b->anew[i].offset);
    r = write_shared(b);
    pthread_rwlock_unlock(&b->log->store_lock);
    b->n = 0;
    buf_reset(&b->bytes);
    return r;
}

/* Judging */

static int add_anew(struct blanker *b, const struct log_record *there, const struct log_record *anew)
{
    size_t size = log_record_size(anew) + LOG_RECORD_TAIL;

    assert(b->n < READ);
    if (!buf_room(&b->bytes, size)) {
        err_set(b->e, "what is to stand in the place of record %lld is too large", (long long)there->offset);
        return -EFBIG;
    }
    log_record_write_anew(b->bytes.p + b->bytes.n, anew, 0, 0);
    b->anew[b->n++] = (struct anew){there->offset, b->bytes.n, size};
    b->bytes.n += size;
    return 0;
}

static int judge_one(struct blanker *b, const struct log_record *r)
{
    struct log_record anew = {.time = r->time};

    if (r->kind == LOG_KIND_ERASED)
        return 0;
    buf_reset(&b->value);
    int said = b->judge(b->arg, r, &b->value);
    if (said < 0)
        return said; /* the words are the judge's, who knows why */
    if (b->value.failed) {
        err_set(b->e, "partition %u: what is to stand in the place of record %lld is too large", b->partition,
                (long long)r->offset);
        return -EFBIG;
    }
    anew.kind = said == LOG_REPLACE ? r->kind : LOG_KIND_ERASED;
    anew.value = said == LOG_REPLACE ? buf_str(&b->value) : STR_NONE;
    if (said == LOG_KEEP || (said == LOG_REPLACE && r->key.n == 0 && str_eq(r->value, anew.value)))
        return 0;
    return add_anew(b, r, &anew);
}

static bool stopped(const struct blanker *b)
{
    return b->stop && atomic_load(b->stop);
}

static int judge_some(struct blanker *b, size_t n)
{
    int r = 0;

    for (size_t i = 0; i < n && r == 0 && b->read[i].offset < b->below; i++) {
        r = stopped(b) ? -ECANCELED : judge_one(b, &b->read[i]);
        if (r == 0 && b->bytes.n >= BATCH_BYTES)
            r = write_anew(b);
    }
    return r == 0 ? write_anew(b) : r;
}

static int walk(struct blanker *b, struct log_reader *reader)
{
    int64_t next = 0;
    int r = 0;

    while (r == 0 && next < b->below) {
        int n = log_reader_read(reader, b->partition, b->read, READ, BATCH_BYTES, b->e);

        if (n == 0)
            break;
        if (n == -ESTALE) { /* retention passed by; in the meantime it may again */
            (void)log_reader_seek(reader, b->partition, atomic_load(&b->log->family[b->family].begin));
            continue;
        }
        if (n < 0)
            return n;
        next = b->read[n - 1].offset + 1;
        r = judge_some(b, (size_t)n);
    }
    return r;
}

static int blank(struct blanker *b)
{
    struct log_reader *reader = NULL;
    int r = log_room(b->log, 0, b->e);

    if (r == 0)
        r = load_ranges(b);
    if (r == 0)
        r = local_reader_open(&b->log->base, b->topic, NULL, &reader, b->e);
    if (r == 0)
        r = walk(b, reader);
    log_reader_close(reader);
    if (r == 0)
        r = log_clean(b->log, b->family, &b->ranges, b->stop, b->e);
    if (r == 0 && b->ranges.n > 0)
        r = drop_ranges(b);
    return r;
}

int local_blank(struct event_log *seam, enum log_topic topic, uint32_t partition, int64_t below, log_judge *judge,
                void *arg, _Atomic bool *stop, uint64_t *blanked, struct err *e)
{
    struct local_log *log = local_log(seam);
    struct blanker *b = malloc(sizeof(*b));
    struct err own = {0};

    if (!b)
        abort();
    *b = (struct blanker){.log = log, .topic = topic, .partition = partition, .below = below};
    b->family = log_family_of(log, topic, partition);
    b->judge = judge;
    b->arg = arg;
    b->stop = stop;
    b->blanked = blanked;
    b->e = e ? e : &own;
    buf_init(&b->value, LIMIT_RECORD_BYTES);
    buf_init(&b->bytes, 2 * BATCH_BYTES + LIMIT_RECORD_BYTES);
    pthread_mutex_lock(&log->blank_lock);
    int r = blank(b);
    pthread_mutex_unlock(&log->blank_lock);
    if (r == -ECANCELED)
        err_set(b->e, "stopped");
    buf_deinit(&b->value);
    buf_deinit(&b->bytes);
    free(b);
    return r;
}
