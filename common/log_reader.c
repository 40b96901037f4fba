/* Reading the embedded log. A reader keeps a walk per partition only while it has something to catch up with: a walk
 * keeps files from being freed. What it hands out is copied, so that nothing of the store is seen outside. Called by
 * the reader's own thread; wake by any. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/cond.h"
#include "common/event_log_local.h"
#include "common/log_record.h"

#define MEMORY_MAX (SIZE_MAX / 4)
enum { FEW = 256 };

struct local_reader {
    struct log_reader base; /* first: the seam hands it back */
    unsigned magic;
    struct local_log *log;
    enum log_topic topic;
    uint32_t partitions;
    struct log_name *name;  /* NULL: holds nothing back */
    int64_t *place;         /* next offset to read, per partition */
    struct log_iter **walk; /* at `place` when there is one */
    char *memory;           /* of the records handed out last */
    size_t memory_size;
    bool woken; /* under ends_lock */
    struct local_reader *next, **link;
};

static struct local_reader *local_reader(struct log_reader *seam)
{
    struct local_reader *r = (struct local_reader *)seam;

    assert(r->magic == LOG_READER_MAGIC);
    return r;
}

static struct log_family *family_of(const struct local_reader *r, uint32_t partition)
{
    return &r->log->family[log_family_of(r->log, r->topic, partition)];
}

static void set_first_places(struct local_reader *r)
{
    for (uint32_t p = 0; p < r->partitions; p++) {
        int64_t held = r->name ? log_names_held(r->log, r->name, p) : -1;
        int64_t begin = atomic_load(&family_of(r, p)->begin);

        r->place[p] = held > begin ? held : begin;
    }
}

static void link_reader(struct local_reader *r)
{
    struct local_log *log = r->log;

    pthread_mutex_lock(&log->readers_lock);
    r->next = log->readers;
    r->link = &log->readers;
    if (r->next)
        r->next->link = &r->next;
    log->readers = r;
    pthread_mutex_unlock(&log->readers_lock);
}

static void end_walk(struct local_reader *r, uint32_t partition)
{
    log_iter_free(r->walk[partition]);
    r->walk[partition] = NULL;
}

static void end_walks(struct local_reader *r)
{
    for (uint32_t p = 0; p < r->partitions; p++)
        end_walk(r, p);
}

void log_readers_let_go(struct local_log *log)
{
    pthread_mutex_lock(&log->readers_lock);
    for (struct local_reader *r = log->readers; r; r = r->next)
        end_walks(r);
    pthread_mutex_unlock(&log->readers_lock);
}

static void local_close(struct log_reader *seam)
{
    struct local_reader *r = local_reader(seam);
    struct local_log *log = r->log;

    assert(log->magic == EVENT_LOG_MAGIC);
    pthread_rwlock_rdlock(&log->store_lock);
    end_walks(r);
    pthread_mutex_lock(&log->readers_lock);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    pthread_mutex_unlock(&log->readers_lock);
    pthread_rwlock_unlock(&log->store_lock);
    free(r->memory);
    free(r->place);
    free(r->walk);
    r->magic = 0;
    free(r);
}

static int local_seek(struct log_reader *seam, uint32_t partition, int64_t offset)
{
    struct local_reader *r = local_reader(seam);
    const struct log_family *f = family_of(r, partition);

    if (offset < atomic_load(&f->begin) || offset > atomic_load(&f->end))
        return LOG_READ_GAP;
    pthread_rwlock_rdlock(&r->log->store_lock);
    end_walk(r, partition);
    pthread_rwlock_unlock(&r->log->store_lock);
    r->place[partition] = offset;
    return 0;
}

static int gone(const struct local_reader *r, uint32_t partition, struct err *e)
{
    err_set(e, "partition %u: offset %lld was dropped before it was read, the log begins at %lld", partition,
            (long long)r->place[partition], (long long)atomic_load(&family_of(r, partition)->begin));
    return -ESTALE;
}

/* The record at the reader's place under the walk, made or moved as needed. */
static int stand(struct local_reader *r, uint32_t partition, struct str *value, struct err *e)
{
    struct local_log *log = r->log;
    int64_t place = r->place[partition], offset = -1;

    for (int attempt = 0; attempt < 2; attempt++) {
        bool fresh = !r->walk[partition];

        if (fresh) {
            r->walk[partition] = log_iter_new(log->store, log_family_of(log, r->topic, partition));
            log_iter_seek(r->walk[partition], place);
        }
        int status = log_iter_at(r->walk[partition], &offset, value, e);
        if (status == 1 && offset == place)
            return 0;
        end_walk(r, partition); /* as old as its making: it may have ended before the log */
        if (status < 0)
            return status;
        if (fresh)
            break;
    }
    if (place < atomic_load(&family_of(r, partition)->begin))
        return gone(r, partition, e);
    err_set(e, "partition %u: offset %lld is missing from the log", partition, (long long)place);
    return -EBADMSG;
}

static void make_room(struct local_reader *r, size_t need)
{
    if (need <= r->memory_size)
        return;
    size_t size = r->memory_size ? r->memory_size : 64 * KIB;
    assert(need < MEMORY_MAX);
    while (size < need)
        size *= 2;
    char *p = realloc(r->memory, size);
    if (!p)
        abort();
    r->memory = p;
    r->memory_size = size;
}

/* The records were copied one behind the other, in memory that may have moved meanwhile: now it stands still. */
static void point(const struct local_reader *r, struct log_record *out, const size_t *size, size_t n)
{
    const char *p = r->memory;
    uint64_t before;

    for (size_t i = 0; i < n; i++) {
        bool read = log_record_read((struct str){p, size[i]}, &out[i], &before);

        assert(read); /* it was when it was copied */
        p += size[i];
    }
}

/* Copies records into the memory; of `out` only the offsets stand then, and `size` has their sizes. */
static int copy_some(struct local_reader *r, uint32_t partition, size_t max, size_t max_bytes, struct log_record *out,
                     size_t *size, struct err *e)
{
    int64_t end = atomic_load_explicit(&family_of(r, partition)->end, memory_order_acquire);
    struct str value;
    uint64_t before;
    size_t n = 0, used = 0;

    while (n < max && r->place[partition] < end) {
        int status = stand(r, partition, &value, e);

        if (status == 0 && !log_record_read(value, &out[n], &before)) {
            err_set(e, "partition %u: record %lld cannot be read", partition, (long long)r->place[partition]);
            status = -EBADMSG;
        }
        if (status < 0)
            return n > 0 ? (int)n : status; /* what came before is good; the next read says it */
        if (n > 0 && used + value.n > max_bytes)
            break;
        make_room(r, used + value.n);
        memcpy(r->memory + used, value.p, value.n);
        used += value.n;
        size[n] = value.n;
        out[n++].offset = r->place[partition]++;
        log_iter_next(r->walk[partition]);
    }
    if (r->place[partition] >= end)
        end_walk(r, partition);
    return (int)n;
}

static int read_open(struct local_reader *r, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                     struct err *e)
{
    size_t few[FEW], *size = max <= FEW ? few : malloc(max * sizeof(*size));

    if (!size)
        return -ENOMEM;
    int n = copy_some(r, partition, max, max_bytes, out, size, e);
    if (n > 0)
        point(r, out, size, (size_t)n);
    if (size != few)
        free(size);
    return n;
}

static int local_read(struct log_reader *seam, uint32_t partition, struct log_record *out, size_t max, size_t max_bytes,
                      struct err *e)
{
    struct local_reader *r = local_reader(seam);
    struct log_family *f = family_of(r, partition);
    int n;

    assert(max > 0 && max <= INT32_MAX);
    if (r->place[partition] >= atomic_load(&f->end))
        return 0;
    if (r->place[partition] < atomic_load(&f->begin))
        return gone(r, partition, e);
    pthread_rwlock_rdlock(&r->log->store_lock);
    if (r->log->store) {
        n = read_open(r, partition, out, max, max_bytes, e);
    } else {
        err_set(e, "the log is being opened anew");
        n = -EAGAIN;
    }
    pthread_rwlock_unlock(&r->log->store_lock);
    if (n < 0 && e)
        e->retriable = n == -EAGAIN || n == -EIO;
    return n;
}

static bool has_more(const struct local_reader *r, const uint32_t *partitions, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (r->place[partitions[i]] < atomic_load(&family_of(r, partitions[i])->end))
            return true;
    return false;
}

static void local_wait(struct log_reader *seam, const uint32_t *partitions, size_t n, int64_t ms)
{
    struct local_reader *r = local_reader(seam);
    struct local_log *log = r->log;
    struct timespec until = cond_in(ms < 0 ? 0 : ms);
    int status = 0;

    pthread_mutex_lock(&log->ends_lock);
    while (status == 0 && !r->woken && !has_more(r, partitions, n))
        status = pthread_cond_timedwait(&log->ends_cond, &log->ends_lock, &until);
    r->woken = false;
    pthread_mutex_unlock(&log->ends_lock);
}

static void local_wake(struct log_reader *seam)
{
    struct local_reader *r = local_reader(seam);

    pthread_mutex_lock(&r->log->ends_lock);
    r->woken = true;
    pthread_cond_broadcast(&r->log->ends_cond);
    pthread_mutex_unlock(&r->log->ends_lock);
}

static int local_commit(struct log_reader *seam, uint32_t partition, int64_t offset, struct err *e)
{
    struct local_reader *r = local_reader(seam);

    if (!r->name) {
        err_set(e, "a reader without a name has nothing to commit");
        return -EINVAL;
    }
    if (offset < 0 || offset > atomic_load(&family_of(r, partition)->end)) {
        err_set(e, "partition %u: cannot commit offset %lld, the log ends at %lld", partition, (long long)offset,
                (long long)atomic_load(&family_of(r, partition)->end));
        return -EINVAL;
    }
    log_names_hold(r->log, r->name, partition, offset);
    return 0;
}

static const struct log_reader_ops reader_ops = {.close = local_close,
                                                 .seek = local_seek,
                                                 .read = local_read,
                                                 .wait = local_wait,
                                                 .wake = local_wake,
                                                 .commit = local_commit};

int local_reader_open(struct event_log *seam, enum log_topic topic, const char *name, struct log_reader **out,
                      struct err *e)
{
    struct local_log *log = local_log(seam);
    struct log_name *registered = NULL;

    assert(topic != LOG_CLAIMS);
    int status = name ? log_names_register(log, topic, name, &registered, e) : 0;
    if (status < 0)
        return status;
    struct local_reader *r = calloc(1, sizeof(*r));
    uint32_t n = local_partitions(log, topic);
    if (!r || !(r->place = calloc(n, sizeof(*r->place))) || !(r->walk = calloc(n, sizeof(struct log_iter *))))
        abort();
    r->base.ops = &reader_ops;
    r->magic = LOG_READER_MAGIC;
    r->log = log;
    r->topic = topic;
    r->partitions = n;
    r->name = registered;
    set_first_places(r);
    link_reader(r);
    *out = &r->base;
    return 0;
}
