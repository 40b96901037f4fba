/* Telling a torn tail from damage in RocksDB's write-ahead files, before RocksDB reads them.
 *
 * RocksDB cannot be told the difference: it takes a bad checksum in the last, never acked write (power was lost while
 * its pages went to disk in any order) for damage, and a damaged length near the end of a file for a torn tail. We can,
 * since every write of ours is synced before the next begins: if the start of another write comes after a bad spot, the
 * bad spot is in a write that was finished, and that is damage. If none comes, it is the write that never was acked,
 * and it is cut off. Runs on the thread that opens the log.
 *
 * The files' form: blocks of 32 KiB; in them pieces with a header of a masked CRC32C, a length and a type. A write is
 * one FULL piece or FIRST, MIDDLE... and LAST. What is left of a block under 7 bytes is zero. */
#include "common/log_wal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/log.h"

#define BLOCK (32 * KIB)
enum { HEADER = 7, FULL = 1, FIRST = 2, MIDDLE = 3, LAST = 4 };

struct crc_table {
    uint32_t t[8][256];
};

static void crc_init(struct crc_table *c)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;

        for (int bit = 0; bit < 8; bit++)
            v = (v >> 1) ^ (v & 1 ? UINT32_C(0x82f63b78) : 0);
        c->t[0][i] = v;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            c->t[k][i] = (c->t[k - 1][i] >> 8) ^ c->t[0][c->t[k - 1][i] & 0xff];
}

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* CRC32C, eight bytes a step. */
static uint32_t crc(const struct crc_table *c, const unsigned char *p, size_t n)
{
    uint32_t v = UINT32_MAX;

    for (; n >= 8; p += 8, n -= 8) {
        uint32_t a = v ^ load32(p), b = load32(p + 4);

        v = c->t[7][a & 0xff] ^ c->t[6][a >> 8 & 0xff] ^ c->t[5][a >> 16 & 0xff] ^ c->t[4][a >> 24] ^
            c->t[3][b & 0xff] ^ c->t[2][b >> 8 & 0xff] ^ c->t[1][b >> 16 & 0xff] ^ c->t[0][b >> 24];
    }
    for (; n > 0; p++, n--)
        v = (v >> 8) ^ c->t[0][(v ^ *p) & 0xff];
    return ~v;
}

/* The type of the whole and undamaged piece at `at`, with its size; 0 when there is none. */
static int piece_at(const struct crc_table *c, const unsigned char *p, size_t n, size_t at, size_t *size)
{
    size_t block_left = BLOCK - at % BLOCK, left = n - at < block_left ? n - at : block_left;

    if (left < HEADER)
        return 0;
    size_t length = p[at + 4] | (size_t)p[at + 5] << 8;
    int type = p[at + 6];
    if (type < FULL || type > LAST || HEADER + length > left)
        return 0;
    uint32_t v = crc(c, p + at + 6, length + 1);
    if ((v >> 15 | v << 17) + UINT32_C(0xa282ead8) != load32(p + at))
        return 0;
    *size = HEADER + length;
    return type;
}

/* Steps over whole writes from the start. Returns where the first one that is not whole begins; `bad` is where it
 * breaks off. */
static size_t whole_writes(const struct crc_table *c, const unsigned char *p, size_t n, size_t *bad)
{
    size_t at = 0, end = 0, size = 0;
    bool inside = false;

    while (at < n) {
        if (BLOCK - at % BLOCK < HEADER) {
            at += BLOCK - at % BLOCK;
            continue;
        }
        int type = piece_at(c, p, n, at, &size);
        bool fits = inside ? type == MIDDLE || type == LAST : type == FULL || type == FIRST;
        if (!fits)
            break;
        at += size;
        inside = type == FIRST || type == MIDDLE;
        if (!inside)
            end = at;
    }
    *bad = at;
    return end;
}

/* Whether a write begins anywhere from `at` on, looking at every byte as lengths cannot be trusted there. */
static bool write_begins_from(const struct crc_table *c, const unsigned char *p, size_t n, size_t at)
{
    size_t size = 0;

    while (at < n) {
        int type = piece_at(c, p, n, at, &size);

        if (type == FULL || type == FIRST)
            return true;
        at += type != 0 ? size : 1;
    }
    return false;
}

static int cut(const char *file, int fd, size_t from, size_t size, struct err *e)
{
    if (ftruncate(fd, (off_t)from) != 0 || fsync(fd) != 0) {
        int r = -errno;

        err_set(e, "cannot cut the torn end off %s: %s", file, strerror(-r));
        return r;
    }
    log_warn("cut %zu bytes of a write that was never acknowledged off the end of %s", size - from, file);
    return 0;
}

static int mend_mapped(const struct crc_table *c, const char *file, int fd, size_t n, struct err *e)
{
    unsigned char *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);

    if (p == MAP_FAILED) {
        int r = -errno;

        err_set(e, "cannot read %s: %s", file, strerror(-r));
        return r;
    }
    size_t bad, end = whole_writes(c, p, n, &bad);
    bool damaged = end < n && write_begins_from(c, p, n, bad);
    munmap(p, n);
    if (damaged) {
        err_set(e, "%s is damaged at byte %zu: writes that were acknowledged come after it", file, bad);
        return -EBADMSG;
    }
    return end < n ? cut(file, fd, end, n, e) : 0;
}

static int mend_file(const struct crc_table *c, const char *file, struct err *e)
{
    struct stat st;
    int fd = open(file, O_RDWR | O_CLOEXEC), r = 0;

    if (fd < 0 || fstat(fd, &st) != 0) {
        r = -errno;
        err_set(e, "cannot open %s: %s", file, strerror(-r));
    } else if (st.st_size > 0) {
        r = mend_mapped(c, file, fd, (size_t)st.st_size, e);
    }
    if (fd >= 0)
        close(fd);
    return r;
}

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), t = strlen(tail);

    return n > t && strcmp(name + n - t, tail) == 0;
}

static bool is_wal(const char *name)
{
    size_t digits = strspn(name, "0123456789");

    return digits > 0 && strcmp(name + digits, ".log") == 0;
}

/* One entry of the folder; what is found goes to the two outputs. */
static int mend_entry(const struct crc_table *c, const char *path, const char *name, bool *current, bool *data,
                      struct err *e)
{
    char file[4096];
    struct stat st;

    if (strcmp(name, "CURRENT") == 0)
        *current = true;
    if (ends_with(name, ".sst"))
        *data = true;
    if (!is_wal(name))
        return 0;
    int n = snprintf(file, sizeof(file), "%s/%s", path, name);
    if (n < 0 || (size_t)n >= sizeof(file)) {
        err_set(e, "the name %s is too long", path);
        return -ENAMETOOLONG;
    }
    if (stat(file, &st) == 0 && st.st_size > 0)
        *data = true;
    return mend_file(c, file, e);
}

int log_wal_mend(const char *path, struct err *e)
{
    struct crc_table *c = malloc(sizeof(*c));
    DIR *dir = opendir(path);
    struct dirent *entry;
    bool current = false, data = false;
    int r = 0;

    if (!c)
        abort();
    if (!dir) {
        r = -errno;
        err_set(e, "cannot open %s: %s", path, strerror(-r));
    } else {
        crc_init(c);
        while (r == 0 && (entry = readdir(dir)))
            r = mend_entry(c, path, entry->d_name, &current, &data, e);
        closedir(dir);
    }
    free(c);
    /* RocksDB would make a new store over what is left of the old one. */
    if (r == 0 && data && !current) {
        err_set(e, "the log in %s has data but its file CURRENT is gone", path);
        r = -EBADMSG;
    }
    return r;
}

/* What the write-ahead files up to a number come to. */
struct wals {
    bool seen;
    uint64_t bytes, newest;
};

static struct wals look_at_wals(const char *path, uint64_t up_to)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    struct stat st;
    struct wals w = {.seen = dir != NULL};

    while (dir && (entry = readdir(dir))) {
        uint64_t number = is_wal(entry->d_name) ? strtoull(entry->d_name, NULL, 10) : 0;

        if (!is_wal(entry->d_name) || number > up_to || fstatat(dirfd(dir), entry->d_name, &st, 0) != 0)
            continue;
        w.bytes += (uint64_t)st.st_size;
        if (st.st_size > 0 && number > w.newest)
            w.newest = number;
    }
    if (dir)
        closedir(dir);
    return w;
}

uint64_t log_wal_bytes(const char *path)
{
    return look_at_wals(path, UINT64_MAX).bytes;
}

uint64_t log_wal_newest(const char *path)
{
    return look_at_wals(path, UINT64_MAX).newest;
}

bool log_wal_is_gone(const char *path, uint64_t up_to)
{
    struct wals w = look_at_wals(path, up_to);

    return w.seen && w.bytes == 0;
}
