/* The key of the audit log: made once, kept in the data folder. Start-up, and commands. */
#include "profiler/audit_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEX (2 * AUDIT_KEY_BYTES)

static_assert(AUDIT_HASH_BYTES >= crypto_generichash_BYTES_MIN, "a hash that BLAKE2b gives");

static int read_key(const char *path, unsigned char *key, struct err *e)
{
    char text[HEX + 2] = "";
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got >= HEX && sodium_hex2bin(key, AUDIT_KEY_BYTES, text, HEX, NULL, &n, NULL) == 0 && n == AUDIT_KEY_BYTES)
        return 0;
    err_set(e, "%s holds no key of %d hex digits: put back the one that it held", path, HEX);
    return -EBADMSG;
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : -errno;

    if (fd >= 0)
        close(fd);
    return r;
}

/* Whole or not at all, and of two that are made at once one stands. */
static int make_key(const char *folder, const char *path)
{
    char beside[4200], text[HEX + 2];
    unsigned char key[AUDIT_KEY_BYTES];

    randombytes_buf(key, sizeof key);
    sodium_bin2hex(text, sizeof text, key, sizeof key);
    sodium_memzero(key, sizeof key);
    text[HEX] = '\n';
    snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int r = fd >= 0 && write(fd, text, HEX + 1) == HEX + 1 && fsync(fd) == 0 ? 0 : errno ? -errno : -EIO;
    if (fd >= 0)
        close(fd);
    if (r == 0 && link(beside, path) != 0 && errno != EEXIST)
        r = -errno;
    unlink(beside);
    return r == 0 ? sync_folder(folder) : r;
}

int audit_key_load(const char *folder, bool make, unsigned char key[AUDIT_KEY_BYTES], struct err *e)
{
    char path[4096];

    if (sodium_init() < 0 || (size_t)snprintf(path, sizeof path, "%s/audit.key", folder) >= sizeof path) {
        err_set(e, "the key of the audit log cannot be read");
        return -EINVAL;
    }
    int r = read_key(path, key, e);
    if (r != -ENOENT && r != -EBADMSG && r != 0)
        err_set(e, "cannot read %s: %s", path, strerror(-r));
    if (r != -ENOENT)
        return r;
    err_set(e, "there is no %s", path);
    if (!make)
        return r;
    r = make_key(folder, path);
    if (r != 0)
        err_set(e, "cannot write %s: %s", path, strerror(-r));
    return r == 0 ? read_key(path, key, e) : r;
}

void audit_hash(const unsigned char key[AUDIT_KEY_BYTES], struct str target, unsigned char out[AUDIT_HASH_BYTES])
{
    crypto_generichash(out, AUDIT_HASH_BYTES, (const unsigned char *)target.p, target.n, key, AUDIT_KEY_BYTES);
}
