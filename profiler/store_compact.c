/* Writing a family's files anew, so that what was deleted or overwritten stands in none. Any thread that may wait,
 * beside the family's writer and readers. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "common/clock.h"
#include "profiler/store_inside.h"
#include "profiler/store_names.h"

enum { REWRITE_DEEPEST_TOO = 2 }; /* RocksDB's BottommostLevelCompaction::kForce */
/* A file that is the only one of its level is moved to the deepest as it is; the next time it is written anew. */
enum { ROUNDS = 3 };
/* For those who read what is replaced: look-ups last milliseconds, a copy's links a little longer. */
enum { HELD_MS = 2000, HELD_BUSY_MS = 60000, LOOK_NS = 5000000 };
/* Beyond the size of the family: what is committed meanwhile. */
#define ROOM_BYTES (64ull << 20)

/* --- sets of files -------------------------------------------------------------------------------------------- */

struct names {
    char (*v)[STORE_NAME_BYTES];
    size_t n, cap;
    uint64_t bytes;
    bool failed; /* memory is out */
};

static void names_add(struct names *l, const char *name)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 64;
        void *more = realloc(l->v, cap * sizeof *l->v);

        l->failed = l->failed || !more;
        if (!more)
            return;
        l->v = more;
        l->cap = cap;
    }
    snprintf(l->v[l->n++], STORE_NAME_BYTES, "%s", name);
}

static void names_free(struct names *l)
{
    free(l->v);
    *l = (struct names){0};
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void names_sort(struct names *l)
{
    if (l->n > 0)
        qsort(l->v, l->n, sizeof *l->v, compare);
}

static bool names_have(const struct names *l, const char *name)
{
    return l->n > 0 && bsearch(name, l->v, l->n, sizeof *l->v, compare);
}

/* The files that are read of a family, or of all. */
static void live_files(const struct store *s, const char *family, struct names *out)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(s->db);

    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        const char *name = rocksdb_livefiles_name(files, i);

        if (family && strcmp(rocksdb_livefiles_column_family_name(files, i), family) != 0)
            continue;
        out->bytes += rocksdb_livefiles_size(files, i);
        names_add(out, name + (*name == '/'));
    }
    rocksdb_livefiles_destroy(files);
    names_sort(out);
}

static bool is_sorted_file(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && n < STORE_NAME_BYTES && strcmp(name + n - 4, ".sst") == 0;
}

/* The sorted files in the folder, read by anybody or not. */
static int folder_files(const struct store *s, struct names *out, struct err *e)
{
    DIR *d = opendir(s->path);
    const struct dirent *one;

    if (!d) {
        int rc = -errno;
        err_set(e, "cannot read %s: %s", s->path, strerror(-rc));
        return rc;
    }
    while ((one = readdir(d)))
        if (is_sorted_file(one->d_name))
            names_add(out, one->d_name);
    closedir(d);
    names_sort(out);
    return out->failed ? -ENOMEM : 0;
}

/* --- what stands in the way ----------------------------------------------------------------------------------- */

static void look_again(void)
{
    const struct timespec pause = {0, LOOK_NS};

    nanosleep(&pause, NULL);
}

static bool halted(const struct store *s)
{
    return atomic_load(&s->compact_halt) != 0;
}

/* What a snapshot sees of before is kept by every compaction. */
static int wait_for_snapshots(const struct store *s, struct err *e)
{
    uint64_t latest = rocksdb_get_latest_sequence_number(s->db), oldest = 0;
    int64_t until = clock_monotonic() + HELD_MS;

    while (rocksdb_property_int(s->db, "rocksdb.oldest-snapshot-sequence", &oldest) == 0 && oldest != 0 &&
           oldest < latest) {
        if (clock_monotonic() >= until || halted(s)) {
            err_set(e, "somebody reads the state as it was before");
            return halted(s) ? -ECANCELED : -EAGAIN;
        }
        look_again();
    }
    return 0;
}

static int check_room(const struct store *s, uint64_t bytes, struct err *e)
{
    struct statvfs v;

    if (statvfs(s->path, &v) != 0 || (uint64_t)v.f_bavail * v.f_frsize >= bytes + ROOM_BYTES)
        return 0;
    err_set(e, "the disk of %s has not the %llu bytes that writing the state's files anew takes", s->path,
            (unsigned long long)(bytes + ROOM_BYTES));
    return -ENOSPC;
}

/* Whether a file that was there before still is, and nobody's. */
static int any_left(const struct store *s, const struct names *before, bool *left, struct err *e)
{
    struct names live = {0}, there = {0};
    int rc = folder_files(s, &there, e);

    live_files(s, NULL, &live);
    *left = false;
    for (size_t i = 0; rc == 0 && i < there.n; i++)
        *left = *left || (names_have(before, there.v[i]) && !names_have(&live, there.v[i]));
    if (live.failed)
        rc = -ENOMEM;
    names_free(&live);
    names_free(&there);
    return rc;
}

/* Allowing deletions again removes what has gathered, on this thread. */
static int purge(const struct store *s, struct err *e)
{
    char *text = NULL;

    rocksdb_disable_file_deletions(s->db, &text);
    if (!text)
        rocksdb_enable_file_deletions(s->db, 0, &text);
    return text ? store_failed(text, e) : 0;
}

/* A file that a compaction of another family writes is nobody's until it is done. */
static bool is_compacting(const struct store *s)
{
    uint64_t n = 0;

    return rocksdb_property_int(s->db, "rocksdb.num-running-compactions", &n) == 0 && n > 0;
}

static int wait_until_gone(const struct store *s, const struct names *before, struct err *e)
{
    int64_t now = clock_monotonic(), until = now + HELD_MS, last = now + HELD_BUSY_MS;
    bool left;

    for (;; now = clock_monotonic()) {
        int rc = purge(s, e);

        if (is_compacting(s))
            until = now + HELD_MS < last ? now + HELD_MS : last;

        if (rc == 0)
            rc = any_left(s, before, &left, e);
        if (rc < 0 || !left)
            return rc;
        if (now >= until || halted(s)) {
            err_set(e, "files of the state that were replaced are still in use");
            return halted(s) ? -ECANCELED : -EAGAIN;
        }
        look_again();
    }
}

/* --- writing anew --------------------------------------------------------------------------------------------- */

static void compact(struct store *s, rocksdb_column_family_handle_t *family)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();

    rocksdb_compactoptions_set_bottommost_level_compaction(o, REWRITE_DEEPEST_TOO);
    rocksdb_compactoptions_set_exclusive_manual_compaction(o, 0); /* other families go on */
    rocksdb_compact_range_cf_opt(s->db, family, o, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(o);
}

/* Whether a file of before is read in the family as it was. */
static int any_kept(const struct store *s, const char *family, const struct names *before, bool *kept)
{
    struct names live = {0};

    live_files(s, family, &live);
    *kept = false;
    for (size_t i = 0; i < live.n; i++)
        *kept = *kept || names_have(before, live.v[i]);
    bool failed = live.failed;
    names_free(&live);
    return failed ? -ENOMEM : 0;
}

static void family_name(rocksdb_column_family_handle_t *family, char out[STORE_NAME_BYTES])
{
    size_t n;
    char *text = rocksdb_column_family_handle_get_name(family, &n);

    snprintf(out, STORE_NAME_BYTES, "%.*s", (int)n, text);
    rocksdb_free(text);
}

static int rewrite(struct store *s, rocksdb_column_family_handle_t *family, const char *name, struct err *e)
{
    struct names before = {0};
    bool kept;
    int rc = 0;

    live_files(s, name, &before);
    if (before.failed)
        rc = -ENOMEM;
    if (rc == 0)
        rc = check_room(s, before.bytes, e);
    for (int i = 0; rc == 0 && i < ROUNDS; i++) {
        if (halted(s))
            rc = -ECANCELED;
        else
            compact(s, family);
        if (rc == 0)
            rc = any_kept(s, name, &before, &kept);
        if (rc == 0 && !kept)
            break;
        if (rc == 0 && i + 1 == ROUNDS) {
            err_set(e, "files of the state were not written anew");
            rc = halted(s) ? -ECANCELED : -EAGAIN;
        }
    }
    names_free(&before);
    return rc;
}

static int compact_family(struct store *s, uint32_t at, struct err *e)
{
    struct names there = {0};
    char name[STORE_NAME_BYTES];

    atomic_fetch_add(&s->rewrites, 1);
    family_name(s->families[at], name);
    int rc = wait_for_snapshots(s, e);
    if (rc == 0)
        rc = purge(s, e);
    if (rc == 0)
        rc = folder_files(s, &there, e);
    if (rc == 0)
        rc = rewrite(s, s->families[at], name, e);
    if (rc == 0)
        rc = wait_until_gone(s, &there, e);
    names_free(&there);
    return rc;
}

int store_compact(struct store *s, uint32_t family, struct err *e)
{
    uint32_t at = family == STORE_SHARED ? s->partitions : family;
    int rc = -ECANCELED;

    assert(at <= s->partitions);
    pthread_mutex_lock(&s->compacting);
    uint64_t writes = atomic_load(&s->writes[at]);
    if (s->compacted[at] == writes)
        rc = 0;
    else if (!halted(s))
        rc = compact_family(s, at, e);
    if (rc == 0)
        s->compacted[at] = writes;
    if (rc == -ECANCELED)
        err_set(e, "the state is being closed, or a part of it replaced");
    pthread_mutex_unlock(&s->compacting);
    return rc;
}

void store_compact_stop(struct store *s)
{
    atomic_fetch_add(&s->compact_halt, 1);
    rocksdb_disable_manual_compaction(s->db);
}

void store_compact_halt(struct store *s)
{
    store_compact_stop(s);
    pthread_mutex_lock(&s->compacting);
}

void store_compact_go_on(struct store *s)
{
    rocksdb_enable_manual_compaction(s->db);
    atomic_fetch_sub(&s->compact_halt, 1);
    pthread_mutex_unlock(&s->compacting);
}
