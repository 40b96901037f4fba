/* The files of the audit log. What is appended is synced; what was not written whole is cut off again, at once or when
 * the file is opened next. */
#include "profiler/audit_file.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/num.h"

#define NAME "audit.log"
#define MOST_FILES 100000 /* looked at in one folder */

bool audit_file_path(const char *folder, uint64_t number, char *out, size_t size)
{
    int n = number ? snprintf(out, size, "%s/" NAME ".%06" PRIu64, folder, number)
                   : snprintf(out, size, "%s/" NAME, folder);

    return n > 0 && (size_t)n < size;
}

static int failed(const struct audit_file *f, const char *doing, struct err *e)
{
    int r = errno ? -errno : -EIO;

    err_set(e, "%s %s/" NAME ": %s", doing, f->folder, strerror(-r));
    return r;
}

static int sync_folder(const struct audit_file *f, struct err *e)
{
    int fd = open(f->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : failed(f, "syncing the folder of", e);

    if (fd >= 0)
        close(fd);
    return r;
}

/* --- closed files --------------------------------------------------------------------------------------------- */

static bool number_of(const char *name, uint64_t *out)
{
    struct str text = str_of(name), prefix = STR_LIT(NAME ".");

    if (!str_starts(text, prefix))
        return false;
    return num_u64((struct str){text.p + prefix.n, text.n - prefix.n}, out) == NUM_OK && *out > 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

int audit_file_list(const char *folder, uint64_t **out, struct err *e)
{
    uint64_t *numbers = malloc(MOST_FILES * sizeof *numbers), number;
    DIR *d = opendir(folder);
    struct dirent *entry;
    int n = 0;

    if (!numbers || !d) {
        int r = -errno;
        err_set(e, "cannot look into %s: %s", folder, strerror(-r));
        free(numbers);
        if (d)
            closedir(d);
        return r;
    }
    while ((entry = readdir(d)) && n < MOST_FILES)
        if (number_of(entry->d_name, &number))
            numbers[n++] = number;
    closedir(d);
    qsort(numbers, (size_t)n, sizeof *numbers, by_number);
    *out = numbers;
    return n;
}

/* What cannot be removed stays until the next time. */
static void drop_oldest(struct audit_file *f)
{
    char path[4200];
    uint64_t *numbers;
    int n = audit_file_list(f->folder, &numbers, NULL);

    if (n < 0)
        return;
    for (int i = 0; i + (int)f->kept < n; i++)
        if (audit_file_path(f->folder, numbers[i], path, sizeof path))
            unlink(path);
    free(numbers);
}

/* --- audit.log ------------------------------------------------------------------------------------------------ */

/* The place behind the last newline. */
static int end_of_lines(struct audit_file *f, uint64_t size, uint64_t *end, struct err *e)
{
    char block[4096];

    for (*end = size; *end > 0;) {
        uint64_t from = *end > sizeof block ? *end - sizeof block : 0;
        ssize_t n = pread(f->fd, block, (size_t)(*end - from), (off_t)from);
        if (n != (ssize_t)(*end - from))
            return failed(f, "reading", e);
        const char *newline = memrchr(block, '\n', (size_t)n);
        *end = newline ? from + (uint64_t)(newline - block) + 1 : from;
        if (newline)
            break;
    }
    return 0;
}

static int open_log(struct audit_file *f, struct err *e)
{
    char path[4200];
    struct stat st;

    if (!audit_file_path(f->folder, 0, path, sizeof path)) {
        errno = ENAMETOOLONG;
        return failed(f, "opening", e);
    }
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (f->fd < 0)
        return failed(f, "opening", e);
    int r = fstat(f->fd, &st) == 0 ? 0 : failed(f, "opening", e);
    if (r == 0)
        r = end_of_lines(f, (uint64_t)st.st_size, &f->size, e);
    if (r == 0 && (uint64_t)st.st_size > f->size && ftruncate(f->fd, (off_t)f->size) != 0)
        r = failed(f, "cutting", e);
    if (r == 0)
        r = sync_folder(f, e);
    if (r != 0)
        audit_file_close(f);
    return r;
}

int audit_file_open(struct audit_file *f, const char *folder, uint64_t full, unsigned kept, struct err *e)
{
    uint64_t *numbers;

    *f = (struct audit_file){.fd = -1, .full = full, .kept = kept};
    if ((size_t)snprintf(f->folder, sizeof f->folder, "%s", folder) >= sizeof f->folder) {
        err_set(e, "the path of the data folder is too long");
        return -ENAMETOOLONG;
    }
    int n = audit_file_list(folder, &numbers, e);
    if (n < 0)
        return n;
    f->youngest = n > 0 ? numbers[n - 1] : 0;
    free(numbers);
    return open_log(f, e);
}

void audit_file_close(struct audit_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static int rotate(struct audit_file *f, struct err *e)
{
    char from[4200], to[4200];

    if (!audit_file_path(f->folder, 0, from, sizeof from) ||
        !audit_file_path(f->folder, f->youngest + 1, to, sizeof to)) {
        errno = ENAMETOOLONG;
        return failed(f, "closing", e);
    }
    if (rename(from, to) != 0)
        return failed(f, "closing", e);
    f->youngest++;
    audit_file_close(f);
    drop_oldest(f);
    return open_log(f, e);
}

static int write_all(struct audit_file *f, struct str lines)
{
    for (size_t at = 0; at < lines.n;) {
        errno = 0;
        ssize_t n = pwrite(f->fd, lines.p + at, lines.n - at, (off_t)(f->size + at));
        if (n <= 0 && errno != EINTR)
            return -1;
        at += n > 0 ? (size_t)n : 0;
    }
    return fdatasync(f->fd);
}

/* Nobody knows what of it is on disk. */
static int append_failed(struct audit_file *f, struct err *e)
{
    int r = failed(f, "writing to", e);

    f->torn = ftruncate(f->fd, (off_t)f->size) != 0 || fdatasync(f->fd) != 0;
    if (f->torn)
        audit_file_close(f);
    return r;
}

/* Somebody may have moved or removed the file: what goes on into it would be seen by nobody. */
static bool is_moved(const struct audit_file *f)
{
    char path[4200];
    struct stat there, here;

    return audit_file_path(f->folder, 0, path, sizeof path) && fstat(f->fd, &here) == 0 &&
           (stat(path, &there) != 0 || there.st_ino != here.st_ino || there.st_dev != here.st_dev);
}

/* Whole lines of a failed append are cut off, too: they come again. */
static int open_again(struct audit_file *f, struct err *e)
{
    uint64_t size = f->size;

    audit_file_close(f);
    int r = open_log(f, e);
    if (r == 0 && f->torn && f->size > size) {
        if (ftruncate(f->fd, (off_t)size) != 0)
            return failed(f, "cutting", e);
        f->size = size;
    }
    if (r == 0)
        f->torn = false;
    return r;
}

int audit_file_append(struct audit_file *f, struct str lines, struct err *e)
{
    int r = 0;

    assert(lines.n > 0 && lines.p[lines.n - 1] == '\n');
    if (f->fd < 0 || is_moved(f))
        r = open_again(f, e);
    if (r == 0 && f->size > 0 && f->size + lines.n > f->full)
        r = rotate(f, e);
    if (r != 0)
        return r;
    if (write_all(f, lines) != 0)
        return append_failed(f, e);
    f->size += lines.n;
    return 0;
}

/* The file may be a closed one: there is at least one line in it then. */
static int read_tail(int fd, uint64_t size, size_t bytes, struct buf *out)
{
    uint64_t from = size > bytes ? size - bytes : 0;
    size_t n = (size_t)(size - from);

    if (!buf_room(out, n))
        return -ENOMEM;
    if (pread(fd, out->p, n, (off_t)from) != (ssize_t)n)
        return errno ? -errno : -EIO;
    out->n = n;
    if (from == 0)
        return 0;
    const char *newline = memchr(out->p, '\n', out->n);
    size_t cut = newline ? (size_t)(newline - out->p) + 1 : out->n;
    memmove(out->p, out->p + cut, out->n - cut);
    out->n -= cut;
    return 0;
}

int audit_file_tail(struct audit_file *f, size_t bytes, struct buf *out, struct err *e)
{
    char path[4200];
    struct stat st;

    buf_reset(out);
    if (f->size > 0 || f->youngest == 0)
        return f->size == 0 ? 0 : read_tail(f->fd, f->size, bytes, out) == 0 ? 0 : failed(f, "reading", e);
    if (!audit_file_path(f->folder, f->youngest, path, sizeof path))
        return 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int r = fd >= 0 && fstat(fd, &st) == 0 && read_tail(fd, (uint64_t)st.st_size, bytes, out) == 0
                ? 0
                : failed(f, "reading what came before", e);
    if (fd >= 0)
        close(fd);
    return r;
}
