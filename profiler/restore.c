/* A backup back into a state. Commands, one thread. */
#include "profiler/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/checkpoint.h"

#define LINE_BYTES (COPY_PATH_BYTES + 100)

static void say(const struct restore_options *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct restore_options *o, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (o->say)
        o->say(o->arg, line);
}

static void say_stands(const struct restore_options *o, uint32_t partition, int64_t offset)
{
    say(o, "partition %u stands at offset %" PRId64, (unsigned)partition, offset);
    if (o->stands)
        o->stands(o->arg, partition, offset);
}

/* --- what must be right before anything is touched ------------------------------------------------------------ */

/* As the profiler would open it: settings, partitions, and what RocksDB sees. */
static int open_copy(const struct restore_options *o, const char *folder, struct state **out, struct err *e)
{
    struct state_options so = *o->state;

    so.path = folder;
    so.read_only = true;
    so.cache_bytes = 0;
    return state_open(&so, out, e);
}

static int check_whole(const struct restore_options *o, const char *copy, struct err *e)
{
    struct state *s = NULL;
    int rc = checkpoint_check(o->backup, o->manifest, NULL, &o->progress, e);

    if (rc == 0)
        rc = open_copy(o, copy, &s, e);
    state_close(s);
    return rc;
}

static int check_partitions(const struct restore_options *o, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < o->partition_count && rc == 0; i++) {
        if (!manifest_partition(o->manifest, o->partitions[i])) {
            err_set(e, "the backup holds nothing of partition %u", (unsigned)o->partitions[i]);
            return -ENOENT;
        }
        rc = checkpoint_check(o->backup, o->manifest, &o->partitions[i], &o->progress, e);
    }
    return rc;
}

/* --- the whole state ------------------------------------------------------------------------------------------ */

/* Holds the lock that RocksDB takes, so that no profiler starts on what is being moved. -1 in `fd` when there is no
 * state yet. */
static int lock_state(const char *state, int *fd, struct err *e)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[COPY_PATH_BYTES];
    int rc = copy_path(path, state, "LOCK", e);

    *fd = -1;
    if (rc < 0 || access(state, F_OK) != 0)
        return rc;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd >= 0 && fcntl(*fd, F_SETLK, &lock) == 0)
        return 0;
    rc = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    if (rc == -EBUSY)
        err_set(e, "the state in %.180s is in use: stop the instance first", state);
    else
        err_set(e, "cannot lock %.180s: %s", path, strerror(-rc));
    return rc;
}

/* Checks what it copies once more: the disk may have changed its mind. */
static int copy_file(const struct restore_options *o, const struct manifest_file *f, const char *from_folder,
                     const char *to_folder, struct err *e)
{
    char from[COPY_PATH_BYTES], to[COPY_PATH_BYTES];
    unsigned char hash[MANIFEST_HASH_BYTES];
    uint64_t size = 0;
    int rc = copy_path(from, from_folder, f->name, e);

    if (rc == 0)
        rc = copy_path(to, to_folder, f->name, e);
    if (rc == 0)
        rc = copy_hash(from, to, &o->progress, hash, &size, e);
    if (rc == 0 && (size != f->size || memcmp(hash, f->hash, sizeof hash) != 0)) {
        err_set(e, "%.200s changed while it was copied", from);
        rc = -EBADMSG;
    }
    return rc;
}

static int copy_all(const struct restore_options *o, const char *from, const char *to, struct err *e)
{
    int rc = copy_make_folder(to, e);

    for (size_t i = 0; i < o->manifest->file_count && rc == 0; i++)
        rc = copy_file(o, &o->manifest->files[i], from, to, e);
    return rc == 0 ? copy_sync_folder(to, e) : rc;
}

static void aside_name(const char *state, char *to)
{
    struct buf b;
    size_t n;

    buf_init(&b, 64);
    time_write(&b, clock_now());
    n = (size_t)snprintf(to, COPY_PATH_BYTES, "%s.before-restore-", state);
    for (size_t i = 0; i < b.n && n + 1 < COPY_PATH_BYTES; i++)
        if (b.p[i] != ':')
            to[n++] = b.p[i];
    to[n] = '\0';
    buf_deinit(&b);
}

/* The two change places in one step where the file system can do that, so that there is always a state. */
static int swap(const struct restore_options *o, const char *fresh, struct err *e)
{
    const char *state = o->state->path;
    char aside[COPY_PATH_BYTES];
    int rc;

    aside_name(state, aside);
    if (renameat2(AT_FDCWD, fresh, AT_FDCWD, state, RENAME_EXCHANGE) == 0) {
        /* From here on it is the old one that is called fresh. */
        bool kept = copy_rename(fresh, aside, e) == 0;

        say(o, "the state that was there is kept in %s", kept ? aside : fresh);
        return 0;
    }
    rc = copy_rename(state, aside, e);
    if (rc == 0)
        rc = copy_rename(fresh, state, e);
    if (rc == 0)
        say(o, "the state that was there is kept in %s", aside);
    else
        copy_rename(aside, state, NULL);
    return rc;
}

static int put_in_place(const struct restore_options *o, const char *fresh, bool there, struct err *e)
{
    struct state *s = NULL;
    int rc = open_copy(o, fresh, &s, e);

    if (rc < 0)
        return rc;
    state_close(s);
    rc = there ? swap(o, fresh, e) : copy_rename(fresh, o->state->path, e);
    for (uint32_t i = 0; i < o->manifest->partition_count && rc == 0; i++) {
        const struct manifest_partition *p = manifest_partition(o->manifest, i);

        if (!p)
            say(o, "the backup holds nothing of partition %u", (unsigned)i);
        say_stands(o, i, p ? p->offset : 0);
    }
    return rc;
}

static int restore_whole(const struct restore_options *o, const char *copy, struct err *e)
{
    char fresh[COPY_PATH_BYTES];
    int lock, rc = lock_state(o->state->path, &lock, e);

    if (rc == 0 && snprintf(fresh, sizeof fresh, "%s.restoring", o->state->path) >= (int)sizeof fresh)
        rc = -ENAMETOOLONG;
    if (rc == 0) {
        copy_remove(fresh); /* of one that was cut off */
        rc = copy_all(o, copy, fresh, e);
        if (rc == 0)
            rc = put_in_place(o, fresh, lock >= 0, e);
        if (rc < 0)
            copy_remove(fresh);
    }
    if (lock >= 0)
        close(lock);
    return rc;
}

/* --- some partitions ------------------------------------------------------------------------------------------ */

static int restore_partitions(const struct restore_options *o, const char *copy, struct err *e)
{
    struct state *s = NULL;
    int rc = state_open(o->state, &s, e);

    for (size_t i = 0; i < o->partition_count && rc == 0; i++) {
        rc = state_take_partition(s, o->partitions[i], copy, e);
        if (rc == 0) {
            struct state_figures f;

            state_figures(s, o->partitions[i], &f);
            say_stands(o, o->partitions[i], f.offset - f.base);
        }
    }
    state_close(s);
    return rc;
}

/* --- both ------------------------------------------------------------------------------------------------------- */

static uint64_t bytes_needed(const struct restore_options *o)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < o->manifest->file_count; i++)
        for (size_t k = 0; k < o->partition_count; k++)
            if (o->manifest->files[i].partition == o->partitions[k])
                sum += o->manifest->files[i].size;
    return o->partition_count ? sum : manifest_bytes(o->manifest);
}

/* The folder in which the state's stands. */
static void parent(const char *path, char *to)
{
    char *end;

    snprintf(to, COPY_PATH_BYTES, "%s", path);
    end = strrchr(to, '/');
    if (end && end != to)
        *end = '\0';
    else
        snprintf(to, COPY_PATH_BYTES, "%s", end ? "/" : ".");
}

int restore_run(const struct restore_options *o, struct err *e)
{
    char copy[COPY_PATH_BYTES], folder[COPY_PATH_BYTES];
    int lock, rc = copy_path(copy, o->backup, MANIFEST_STATE, e);

    parent(o->state->path, folder);
    if (rc == 0) /* a running one is told so before a long check */
        rc = lock_state(o->state->path, &lock, e);
    if (rc == 0 && lock >= 0)
        close(lock);
    if (rc == 0)
        rc = o->partition_count ? check_partitions(o, e) : check_whole(o, copy, e);
    if (rc == 0)
        rc = copy_check_space(folder, bytes_needed(o), o->reserve_bytes, e);
    if (rc < 0)
        return rc;
    return o->partition_count ? restore_partitions(o, copy, e) : restore_whole(o, copy, e);
}
