/* Getting bytes out of the files of the embedded log that are no longer part of it: records that were made anew in
 * their place, and those that retention has dropped. What is in memory moves into files, the files that hold such bytes
 * are written anew a few at a time, and the old ones and the write-ahead files are removed. That they are gone is
 * looked at in the folder, and only that counts. Called by those who blank and by retention; others read and append
 * meanwhile. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log_local.h"
#include "common/log_wal.h"

#define ROOM (4 * MIB) /* for what the store writes beside records */
#define GONE_MS 10000  /* for files that others still hold */
enum { ROUNDS = 4, LOOK_MS = 10 };

struct clean {
    struct local_log *log;
    uint32_t family;
    struct log_ranges ranges;
    _Atomic bool *stop;
    struct log_file *files; /* that may hold such bytes */
    size_t n;
    struct log_file *left; /* those of them that are still to be written anew */
    size_t n_left;
    uint64_t wal; /* so may the write-ahead files up to this one */
    struct err *e;
};

int log_share_store(struct local_log *log, struct err *e)
{
    pthread_rwlock_rdlock(&log->store_lock);
    if (log->store && !log->broken)
        return 0;
    pthread_rwlock_unlock(&log->store_lock);
    err_set(e, "the log in %s is being opened anew", log->path);
    if (e)
        e->retriable = true;
    return -EAGAIN;
}

/* A log with a limit gets smaller by it: that is no time to keep a reserve. */
int log_room(struct local_log *log, uint64_t bytes, struct err *e)
{
    uint64_t need = bytes + ROOM + (log->o.limit_bytes > 0 ? 0 : log->o.reserve_bytes / 2);

    if ((uint64_t)log_disk_free(log) >= need)
        return 0;
    err_set(e, "writing files of the log in %s anew takes %llu MiB of free disk, there are %lld MiB", log->path,
            (unsigned long long)(need / MIB), (long long)(log_disk_free(log) / (int64_t)MIB));
    if (e)
        e->retriable = true;
    return -ENOSPC;
}

static bool stopped(const struct clean *c)
{
    return c->stop && atomic_load(c->stop);
}

/* Files */

static bool is_touched(const struct log_file *f, const struct log_ranges *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (f->first <= r->at[i].last && r->at[i].first <= f->last)
            return true;
    return false;
}

static void copy_files(struct clean *c)
{
    c->left = calloc(c->n + 1, sizeof(*c->left));
    if (!c->left)
        abort();
    for (size_t i = 0; i < c->n; i++)
        c->left[i] = c->files[i];
    c->n_left = c->n;
}

/* What memory holds goes to files first, so that files are all there is to look at. */
static int find_files(struct clean *c)
{
    struct local_log *log = c->log;
    uint64_t wal = log_wal_bytes(log->path), held = local_bytes(&log->base);
    size_t all = 0;
    int r = log_room(log, wal < held ? wal : held, c->e);

    if (r == 0)
        r = log_share_store(log, c->e);
    if (r < 0)
        return r;
    c->wal = log_wal_newest(log->path);
    r = log_store_flush(log->store, c->e);
    if (r == 0)
        c->files = log_store_files(log->store, c->family, &all);
    pthread_rwlock_unlock(&log->store_lock);
    for (size_t i = 0; i < all; i++)
        if (is_touched(&c->files[i], &c->ranges))
            c->files[c->n++] = c->files[i];
    copy_files(c);
    return r;
}

static bool is_among(const struct log_file *f, const struct log_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(f->name, files[i].name) == 0)
            return true;
    return false;
}

static bool is_on_disk(const struct clean *c, const struct log_file *f)
{
    char path[4096];
    int n = snprintf(path, sizeof(path), "%s/%s", c->log->path, f->name);

    return n < 0 || (size_t)n >= sizeof(path) || access(path, F_OK) == 0;
}

/* Which of the files the store still uses. */
static int find_left(struct clean *c)
{
    size_t n;
    int r = log_share_store(c->log, c->e);

    if (r < 0)
        return r;
    free(c->left);
    c->left = log_store_files(c->log->store, c->family, &n);
    pthread_rwlock_unlock(&c->log->store_lock);
    c->n_left = 0;
    for (size_t i = 0; i < n; i++)
        if (is_among(&c->left[i], c->files, c->n))
            c->left[c->n_left++] = c->left[i];
    return 0;
}

/* Pieces: what lies in one of the deepest files, so that a step is short */

static const struct log_file *deepest_at(const struct clean *c, int64_t offset)
{
    const struct log_file *found = NULL;

    for (size_t i = 0; i < c->n_left; i++)
        if (c->left[i].first <= offset && offset <= c->left[i].last && (!found || c->left[i].level > found->level))
            found = &c->left[i];
    return found;
}

/* The first offset from `at` on that lies in a file; INT64_MAX: none. */
static int64_t first_in_file(const struct clean *c, int64_t at)
{
    int64_t first = INT64_MAX;

    for (size_t i = 0; i < c->n_left; i++)
        if (c->left[i].last >= at && c->left[i].first < first)
            first = c->left[i].first;
    return first > at || first == INT64_MAX ? first : at;
}

/* The next piece from `at` on. False past the last one. */
static bool next_piece(const struct clean *c, int64_t at, struct log_range *out)
{
    for (size_t i = 0; i < c->ranges.n; i++) {
        const struct log_range *r = &c->ranges.at[i];
        int64_t first = first_in_file(c, r->first > at ? r->first : at);

        if (first > r->last)
            continue;
        const struct log_file *f = deepest_at(c, first);
        int64_t last = f ? f->last : r->last;
        *out = (struct log_range){first, last < r->last ? last : r->last};
        for (i++; i < c->ranges.n && c->ranges.at[i].first <= last; i++)
            out->last = last < c->ranges.at[i].last ? last : c->ranges.at[i].last;
        return true;
    }
    return false;
}

static uint64_t piece_bytes(const struct clean *c, const struct log_range *piece)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < c->n_left; i++)
        if (c->left[i].first <= piece->last && piece->first <= c->left[i].last)
            sum += c->left[i].bytes;
    return sum;
}

static int rewrite(struct clean *c, const struct log_range *piece)
{
    struct local_log *log = c->log;
    int r = log_room(log, piece_bytes(c, piece), c->e);

    if (r == 0)
        r = log_share_store(log, c->e);
    if (r < 0)
        return r;
    uint64_t failures = log_store_failures(log->store);
    log_store_rewrite(log->store, c->family, piece->first, piece->last);
    if (log_store_failures(log->store) != failures) {
        err_set(c->e, "files of the log in %s could not be written anew", log->path);
        r = -EIO;
    }
    pthread_rwlock_unlock(&log->store_lock);
    return r;
}

static int rewrite_all(struct clean *c)
{
    struct log_range piece = {.last = -1};
    int r = 0;

    while (r == 0 && piece.last < INT64_MAX && next_piece(c, piece.last + 1, &piece))
        r = stopped(c) ? -ECANCELED : rewrite(c, &piece);
    return r;
}

/* A file that overlaps no other may only have been moved to another level: the next round writes it. Whatever the store
 * does on its own in the first one, everything is written then: its old bytes may stand in a file that it just made. */
static int rewrite_until_gone(struct clean *c)
{
    int r = 0;

    for (int round = 0; round < ROUNDS && (round == 0 || c->n_left > 0) && r == 0; round++) {
        r = rewrite_all(c);
        if (r == 0)
            r = find_left(c);
    }
    if (r == 0 && c->n_left > 0) {
        err_set(c->e, "%zu files of the log in %s were not written anew", c->n_left, c->log->path);
        r = -EIO;
    }
    return r;
}

/* Old files */

/* A walk sees the log as it was when it was made, and keeps the files of then. A write that was under way when memory
 * was moved into files keeps its write-ahead file. */
static int purge(struct clean *c)
{
    struct local_log *log = c->log;

    pthread_rwlock_wrlock(&log->store_lock);
    log_readers_let_go(log);
    pthread_rwlock_unlock(&log->store_lock);
    int r = log_share_store(log, c->e);
    if (r < 0)
        return r;
    if (!log_wal_is_gone(log->path, c->wal))
        r = log_store_flush(log->store, c->e);
    if (r == 0)
        r = log_store_purge(log->store, c->e);
    pthread_rwlock_unlock(&log->store_lock);
    return r;
}

static bool is_gone(const struct clean *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (is_on_disk(c, &c->files[i]))
            return false;
    return log_wal_is_gone(c->log->path, c->wal);
}

static int purge_until_gone(struct clean *c)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    int64_t until = clock_monotonic() + GONE_MS;
    int r = purge(c);

    while (r == 0 && !is_gone(c)) {
        if (stopped(c))
            return -ECANCELED;
        if (clock_monotonic() >= until) {
            err_set(c->e, "old files of the log in %s are still there", c->log->path);
            return -EBUSY;
        }
        nanosleep(&pause, NULL);
        r = purge(c);
    }
    return r;
}

int log_clean(struct local_log *log, uint32_t family, const struct log_ranges *ranges, _Atomic bool *stop,
              struct err *e)
{
    struct clean *c = malloc(sizeof(*c));
    int64_t begin = atomic_load(&log->family[family].begin);
    int r = 0;

    if (!c)
        abort();
    *c = (struct clean){.log = log, .family = family, .ranges = *ranges, .stop = stop, .e = e};
    if (begin > 0)
        log_ranges_add(&c->ranges, 0, begin - 1);
    if (c->ranges.n > 0)
        r = find_files(c);
    if (c->ranges.n > 0 && r == 0)
        r = rewrite_until_gone(c);
    if (c->ranges.n > 0 && r == 0)
        r = purge_until_gone(c);
    free(c->left);
    free(c->files);
    free(c);
    return r;
}
