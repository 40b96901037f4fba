/* A file of an export while it is written. The export's thread. */
#include "profiler/export_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/disk.h"
#include "common/limits.h"

#define FLUSH_BYTES (1 * MIB)
#define CHECK_BYTES (64 * MIB) /* written between two looks at the free space */
#define ROOM_BYTES (FLUSH_BYTES + 8 * MIB)

static int fail(struct export_file *f, int rc, const char *what, struct err *e)
{
    f->error = rc;
    err_set(e, "cannot %s %.150s: %s", what, f->path, strerror(-rc));
    return rc;
}

static int check_space(struct export_file *f, struct err *e)
{
    if (f->bytes < f->checked)
        return 0;
    f->checked = f->bytes + CHECK_BYTES;
    if (f->reserve == 0 || disk_free(f->path) >= f->reserve + CHECK_BYTES)
        return 0;
    f->error = -ENOSPC;
    err_set(e, "the disk is full: the export would leave less than the reserve (log.reserve_bytes)");
    return -ENOSPC;
}

int export_file_begin(struct export_file *f, const char *folder, const char *name, uint64_t reserve, struct err *e)
{
    *f = (struct export_file){.fd = -1, .reserve = reserve};
    buf_init(&f->out, ROOM_BYTES);
    export_hasher_begin(&f->hasher);
    if (snprintf(f->path, sizeof f->path, "%s/%s", folder, name) >= (int)sizeof f->path)
        return fail(f, -ENAMETOOLONG, "make", e);
    unlink(f->path);
    f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f->fd < 0)
        return fail(f, -errno, "make", e);
    return check_space(f, e);
}

int export_file_flush(struct export_file *f, struct err *e)
{
    size_t done = 0;

    if (f->error)
        return f->error;
    if (f->out.failed)
        return fail(f, -ENOMEM, "hold a row of", e);
    while (done < f->out.n) {
        ssize_t n = write(f->fd, f->out.p + done, f->out.n - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(f, n < 0 ? -errno : -EIO, "write", e);
        done += (size_t)n;
    }
    export_hasher_add(&f->hasher, f->out.p, f->out.n);
    f->bytes += f->out.n;
    buf_reset(&f->out);
    return check_space(f, e);
}

int export_file_flow(struct export_file *f, struct err *e)
{
    return f->out.n >= FLUSH_BYTES || f->out.failed || f->error ? export_file_flush(f, e) : 0;
}

int export_file_append(struct export_file *f, struct export_file *from, struct err *e)
{
    int rc = export_file_flush(from, e);

    for (off_t at = 0; rc == 0;) {
        if (!buf_room(&f->out, FLUSH_BYTES))
            return fail(f, -ENOMEM, "copy to", e);
        ssize_t n = pread(from->fd, f->out.p + f->out.n, FLUSH_BYTES, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(from, -errno, "read", e);
        if (n == 0)
            break;
        f->out.n += (size_t)n;
        at += n;
        rc = export_file_flush(f, e);
    }
    return rc;
}

static void shut(struct export_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    buf_deinit(&f->out);
}

int export_file_end(struct export_file *f, char sha256[EXPORT_HEX + 1], struct err *e)
{
    int rc = export_file_flush(f, e);

    if (rc == 0 && fsync(f->fd) != 0)
        rc = fail(f, -errno, "write", e);
    if (rc < 0) {
        export_file_drop(f);
        return rc;
    }
    export_hasher_end(&f->hasher, sha256);
    shut(f);
    return 0;
}

void export_file_drop(struct export_file *f)
{
    if (f->fd >= 0)
        unlink(f->path);
    shut(f);
}
