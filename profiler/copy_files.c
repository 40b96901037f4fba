/* What backups do with files. Blocking: the backup's thread, commands. */
#include "profiler/copy_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/limits.h"

#define STEP_BYTES (1 * MIB)

static int failed(struct err *e, const char *what, const char *path)
{
    int rc = -errno;

    err_set(e, "cannot %s %.180s: %s", what, path, strerror(-rc));
    return rc;
}

bool copy_goes_on(const struct copy_progress *p, uint64_t bytes)
{
    return !p || !p->more || p->more(p->arg, bytes);
}

int copy_path(char out[COPY_PATH_BYTES], const char *folder, const char *name, struct err *e)
{
    if (snprintf(out, COPY_PATH_BYTES, "%s/%s", folder, name) < COPY_PATH_BYTES)
        return 0;
    err_set(e, "the path is too long: %.100s/%.100s", folder, name);
    return -ENAMETOOLONG;
}

/* --- one file ------------------------------------------------------------------------------------------------- */

static int write_whole(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

struct hashing {
    const char *from, *to;
    int in, out; /* out -1: none */
    crypto_generichash_state state;
    char *step;
    uint64_t bytes;
};

static int hash_all(struct hashing *h, const struct copy_progress *p, struct err *e)
{
    for (;;) {
        ssize_t n = read(h->in, h->step, STEP_BYTES);

        if (n == 0)
            return 0;
        if (n < 0)
            return failed(e, "read", h->from);
        crypto_generichash_update(&h->state, (const unsigned char *)h->step, (size_t)n);
        h->bytes += (uint64_t)n;
        if (h->out >= 0 && write_whole(h->out, h->step, (size_t)n) < 0)
            return failed(e, "write", h->to);
        if (!copy_goes_on(p, (uint64_t)n)) {
            err_set(e, "it was ended");
            return -ECANCELED;
        }
    }
}

static int open_both(struct hashing *h, struct err *e)
{
    struct stat st;

    /* What lies there instead of a file may make an open wait. */
    h->in = open(h->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (h->in < 0 || fstat(h->in, &st) != 0)
        return failed(e, "open", h->from);
    if (!S_ISREG(st.st_mode)) {
        err_set(e, "%.200s is not a plain file", h->from);
        return -EINVAL;
    }
    if (h->to)
        h->out = open(h->to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (h->to && h->out < 0)
        return failed(e, "make", h->to);
    return 0;
}

static int close_both(struct hashing *h, int rc, struct err *e)
{
    /* A file system for reading alone cannot sync, and need not. */
    if (rc == 0 && fsync(h->out >= 0 ? h->out : h->in) != 0 && errno != EROFS && errno != EINVAL)
        rc = failed(e, "sync", h->out >= 0 ? h->to : h->from);
    if (h->in >= 0)
        close(h->in);
    if (h->out >= 0 && close(h->out) != 0 && rc == 0)
        rc = failed(e, "write", h->to);
    free(h->step);
    return rc;
}

int copy_hash(const char *from, const char *to, const struct copy_progress *p, unsigned char hash[MANIFEST_HASH_BYTES],
              uint64_t *size, struct err *e)
{
    struct hashing h = {.from = from, .to = to, .in = -1, .out = -1, .step = malloc(STEP_BYTES)};
    int rc = h.step ? open_both(&h, e) : -ENOMEM;

    if (rc == 0) {
        crypto_generichash_init(&h.state, NULL, 0, MANIFEST_HASH_BYTES);
        rc = hash_all(&h, p, e);
    }
    rc = close_both(&h, rc, e);
    if (rc == 0) {
        crypto_generichash_final(&h.state, hash, MANIFEST_HASH_BYTES);
        *size = h.bytes;
    }
    return rc;
}

/* --- folders -------------------------------------------------------------------------------------------------- */

int copy_make_folder(const char *path, struct err *e)
{
    return mkdir(path, 0700) == 0 ? 0 : failed(e, "make the folder", path);
}

int copy_sync_folder(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0)
        return failed(e, "open", path);
    if (fsync(fd) != 0 && errno != EROFS && errno != EINVAL)
        rc = failed(e, "sync", path);
    close(fd);
    return rc;
}

int copy_rename(const char *from, const char *to, struct err *e)
{
    char folder[COPY_PATH_BYTES];
    char *end;

    if (rename(from, to) != 0)
        return failed(e, "rename to", to);
    snprintf(folder, sizeof folder, "%s", to);
    end = strrchr(folder, '/');
    if (!end)
        return copy_sync_folder(".", e);
    end[end == folder] = '\0';
    return copy_sync_folder(folder, e);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

void copy_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int visit(int fd, const char *path, const char *name, int (*each)(void *, const char *, struct err *), void *arg,
                 struct err *e)
{
    struct stat st;

    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return 0;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(e, "look at", name);
    if (!S_ISREG(st.st_mode)) {
        err_set(e, "%.150s/%.80s is not a plain file", path, name);
        return -EINVAL;
    }
    return each(arg, name, e);
}

int copy_each_file(const char *path, int (*each)(void *arg, const char *name, struct err *e), void *arg, struct err *e)
{
    DIR *d = opendir(path);
    const struct dirent *f;
    int rc = 0;

    if (!d)
        return failed(e, "read the folder", path);
    errno = 0;
    while (rc == 0 && (f = readdir(d)) != NULL)
        rc = visit(dirfd(d), path, f->d_name, each, arg, e);
    closedir(d);
    return rc;
}

struct sum {
    const char *folder;
    uint64_t bytes;
};

static int add_size(void *arg, const char *name, struct err *e)
{
    struct sum *sum = arg;
    char path[COPY_PATH_BYTES];
    struct stat st;
    int rc = copy_path(path, sum->folder, name, e);

    if (rc == 0 && stat(path, &st) == 0) /* what compaction removes meanwhile takes no room */
        sum->bytes += (uint64_t)st.st_size;
    return rc;
}

int copy_folder_bytes(const char *path, uint64_t *out, struct err *e)
{
    struct sum sum = {path, 0};
    int rc = copy_each_file(path, add_size, &sum, e);

    *out = sum.bytes;
    return rc;
}

int copy_check_space(const char *folder, uint64_t bytes, uint64_t reserve, struct err *e)
{
    struct statvfs v;
    uint64_t left;

    if (statvfs(folder, &v) != 0)
        return failed(e, "look at", folder);
    left = (uint64_t)v.f_bavail * v.f_frsize;
    if (left >= reserve && left - reserve >= bytes)
        return 0;
    err_set(e, "too little space in %.120s: %llu MiB are free, %llu MiB are needed", folder,
            (unsigned long long)(left / MIB), (unsigned long long)((bytes + reserve) / MIB + 1));
    return -ENOSPC;
}
