/* The secret of userHash and the check. The pool threads look at the file at most once a second: a stat call. */
#include "collector/user_hash.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/file_look.h"
#include "common/log.h"

#define SECRET_BYTES 1024
#define SECRET_LEAST 8 /* shorter ones can be guessed */
#define LOOK_MS 1000

struct secret {
    size_t n;
    unsigned char bytes[SECRET_BYTES];
};

struct user_hash {
    char *file;
    pthread_rwlock_t lock; /* around `secret` */
    struct secret secret;
    struct file_look seen; /* of who looks */
    _Atomic int64_t next_look;
    pthread_mutex_t looking;
};

static int secret_read(const char *file, struct secret *out, struct err *e)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, out->bytes, sizeof out->bytes) : -1;
    int r = got < 0 ? -errno : 0;
    size_t n = got > 0 ? (size_t)got : 0;

    if (fd >= 0)
        close(fd);
    if (r != 0) {
        err_set(e, "the secret of userHash in %s cannot be read: %s", file, strerror(-r));
        return r;
    }
    const unsigned char *end = memchr(out->bytes, '\n', n);
    out->n = end ? (size_t)(end - out->bytes) : n;
    if (out->n > 0 && out->bytes[out->n - 1] == '\r')
        out->n--;
    if (out->n >= SECRET_LEAST && out->n < SECRET_BYTES)
        return 0;
    err_set(e, "the first line of %s, the secret of userHash, needs %d to %d bytes", file, SECRET_LEAST,
            SECRET_BYTES - 1);
    return -EINVAL;
}

int user_hash_open(const char *file, struct user_hash **out, struct err *e)
{
    struct user_hash *u = calloc(1, sizeof *u);

    if (!u || !(u->file = strdup(file))) {
        free(u);
        return -ENOMEM;
    }
    u->seen = file_look(file);
    int r = secret_read(file, &u->secret, e);
    if (r != 0) {
        free(u->file);
        free(u);
        return r;
    }
    pthread_rwlock_init(&u->lock, NULL);
    pthread_mutex_init(&u->looking, NULL);
    atomic_init(&u->next_look, clock_monotonic() + LOOK_MS);
    *out = u;
    return 0;
}

void user_hash_free(struct user_hash *u)
{
    if (!u)
        return;
    pthread_rwlock_destroy(&u->lock);
    pthread_mutex_destroy(&u->looking);
    sodium_memzero(&u->secret, sizeof u->secret);
    free(u->file);
    free(u);
}

static void refresh(struct user_hash *u)
{
    struct secret fresh;
    struct err e = {0};

    pthread_mutex_lock(&u->looking);
    struct file_look now = file_look(u->file);
    if (!file_look_same(&now, &u->seen)) {
        u->seen = now;
        if (secret_read(u->file, &fresh, &e) == 0) {
            pthread_rwlock_wrlock(&u->lock);
            u->secret = fresh;
            pthread_rwlock_unlock(&u->lock);
            log_info("collector: the secret of userHash was read again");
        } else {
            log_warn("collector: %s; the one from before stays", e.text);
        }
        sodium_memzero(&fresh, sizeof fresh);
    }
    pthread_mutex_unlock(&u->looking);
}

static void look(struct user_hash *u)
{
    int64_t now = clock_monotonic(), due = atomic_load_explicit(&u->next_look, memory_order_relaxed);

    if (now >= due && atomic_compare_exchange_strong(&u->next_look, &due, now + LOOK_MS))
        refresh(u);
}

bool user_hash_is(struct user_hash *u, struct str id, struct str hex)
{
    unsigned char want[crypto_auth_hmacsha256_BYTES], got[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state h;
    size_t n = 0;

    look(u);
    if (hex.n != 2 * sizeof got || sodium_hex2bin(got, sizeof got, hex.p, hex.n, NULL, &n, NULL) != 0 ||
        n != sizeof got)
        return false;
    pthread_rwlock_rdlock(&u->lock);
    crypto_auth_hmacsha256_init(&h, u->secret.bytes, u->secret.n);
    pthread_rwlock_unlock(&u->lock);
    crypto_auth_hmacsha256_update(&h, (const unsigned char *)(id.p ? id.p : ""), id.n);
    crypto_auth_hmacsha256_final(&h, want);
    return sodium_memcmp(want, got, sizeof got) == 0;
}
