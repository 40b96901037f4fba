/* The keys that a running program holds, read again when their files change, and the making of them. Who seals looks at
 * the files at most once a second, on its own thread: a few stat calls. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/seal_inside.h"

#define LOOK_MS 1000

struct seal_keys {
    char *folder;
    enum seal_part part;
    pthread_rwlock_t lock; /* around `set` */
    struct seal_set *set;
    struct seal_cache *cache;
    _Atomic int64_t next_look;
    pthread_mutex_t looking; /* around `seen`; taken before `lock` */
    struct file_look seen[SEAL_NAMES];
};

static void set_free(struct seal_set *s)
{
    if (s)
        sodium_memzero(s, sizeof *s);
    free(s);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static int missing(const char *folder, enum seal_name name, struct err *e)
{
    err_set(e, "%s is missing in %s: bring it there, or make keys with `waymark keys init`", seal_names[name], folder);
    return -ENOENT;
}

/* Which key seals: the newest public one. */
static int choose_sealing(const char *folder, enum seal_part part, struct seal_set *s, struct err *e)
{
    if (s->pub.n > 0)
        s->sealing = &s->pub.keys[s->pub.n - 1];
    else if (s->profiler.n > 0)
        s->sealing = &s->profiler.keys[s->profiler.n - 1];
    else
        return missing(folder, SEAL_NAME_PUB, e);
    if (part == SEAL_COLLECTOR || seal_find(&s->profiler, s->sealing->id.b))
        return 0;
    err_set(e, "the newest key of profiler.pub is not in profiler.key in %s", folder);
    return -EINVAL;
}

static int set_read(const char *folder, enum seal_part part, struct seal_set *s, struct err *e)
{
    int r = seal_file_read(folder, SEAL_NAME_PUB, &s->pub, e);

    if (r != 0)
        return r;
    if (part == SEAL_COLLECTOR)
        return s->pub.n > 0 ? choose_sealing(folder, part, s, e) : missing(folder, SEAL_NAME_PUB, e);
    r = seal_file_read(folder, SEAL_NAME_PROFILER, &s->profiler, e);
    if (r == 0 && s->profiler.n == 0)
        r = missing(folder, SEAL_NAME_PROFILER, e);
    if (r == 0)
        r = seal_file_read(folder, SEAL_NAME_MASTER, &s->master, e);
    if (r == 0 && s->master.n == 0)
        r = missing(folder, SEAL_NAME_MASTER, e);
    if (r == 0)
        r = seal_file_read(folder, SEAL_NAME_ERASURE, &s->erasure, e);
    if (r == 0)
        r = seal_file_read(folder, SEAL_NAME_RECEIPT, &s->receipt, e);
    return r == 0 ? choose_sealing(folder, part, s, e) : r;
}

static int set_new(const char *folder, enum seal_part part, struct seal_set **out, struct err *e)
{
    struct seal_set *s = calloc(1, sizeof *s);
    int r = s ? set_read(folder, part, s, e) : -ENOMEM;

    if (r != 0)
        set_free(s);
    else
        *out = s;
    return r;
}

/* Whether a file is another one than before; before they are read: what changes meanwhile is seen the next time. */
static bool look_at_files(const char *folder, struct file_look seen[SEAL_NAMES])
{
    bool changed = false;

    for (int i = 0; i < SEAL_NAMES; i++) {
        struct file_look now = seal_file_look(folder, (enum seal_name)i);

        changed = changed || !file_look_same(&now, &seen[i]);
        seen[i] = now;
    }
    return changed;
}

static void half_free(struct seal_keys *k)
{
    if (!k)
        return;
    seal_cache_free(k->cache);
    free(k->folder);
    free(k);
}

int seal_keys_open(const char *folder, enum seal_part part, struct seal_keys **out, struct err *e)
{
    struct seal_keys *k = sodium_init() >= 0 ? calloc(1, sizeof *k) : NULL;

    if (!k || !(k->folder = strdup(folder)) || !(k->cache = seal_cache_new())) {
        err_set(e, "keys: out of memory or randomness");
        half_free(k);
        return -ENOMEM;
    }
    k->part = part;
    look_at_files(folder, k->seen);
    int r = set_new(folder, part, &k->set, e);
    if (r != 0) {
        err_prefix(e, "keys");
        half_free(k);
        return r;
    }
    pthread_rwlock_init(&k->lock, NULL);
    pthread_mutex_init(&k->looking, NULL);
    atomic_init(&k->next_look, clock_monotonic() + LOOK_MS);
    *out = k;
    return 0;
}

void seal_keys_free(struct seal_keys *k)
{
    if (!k)
        return;
    pthread_rwlock_destroy(&k->lock);
    pthread_mutex_destroy(&k->looking);
    set_free(k->set);
    half_free(k);
}

struct seal_cache *seal_cache_of(struct seal_keys *k)
{
    return k->cache;
}

/* --- changes ----------------------------------------------------------------------------------------------------- */

static void set_replace(struct seal_keys *k, struct seal_set *fresh)
{
    pthread_rwlock_wrlock(&k->lock);
    struct seal_set *old = k->set;
    k->set = fresh;
    pthread_rwlock_unlock(&k->lock);
    set_free(old);
}

void seal_keys_refresh(struct seal_keys *k)
{
    struct seal_set *fresh;
    struct err e = {0};

    pthread_mutex_lock(&k->looking);
    if (look_at_files(k->folder, k->seen)) {
        if (set_new(k->folder, k->part, &fresh, &e) == 0) {
            set_replace(k, fresh);
            log_info("keys: read again from %s", k->folder);
        } else {
            log_warn("keys: %s; those from before stay", e.text);
        }
    }
    pthread_mutex_unlock(&k->looking);
}

static void look(struct seal_keys *k)
{
    int64_t now = clock_monotonic(), due = atomic_load_explicit(&k->next_look, memory_order_relaxed);

    if (now >= due && atomic_compare_exchange_strong(&k->next_look, &due, now + LOOK_MS))
        seal_keys_refresh(k);
}

int seal_with(struct seal_keys *k, seal_work *work, void *arg)
{
    look(k);
    pthread_rwlock_rdlock(&k->lock);
    int rc = work(k->set, arg);
    pthread_rwlock_unlock(&k->lock);
    return rc;
}

/* --- making ------------------------------------------------------------------------------------------------------ */

/* A key more in the file, which may be missing. */
static int add_key(const char *folder, enum seal_name name, bool fresh, struct seal_keys_file *f, struct err *e)
{
    if (f->n == SEAL_KEYS_MAX) {
        err_set(e, "%s has %d keys, the most there may be; take out old ones that sealed nothing still kept",
                seal_names[name], SEAL_KEYS_MAX);
        return -ENOSPC;
    }
    seal_key_new(name, &f->keys[f->n++]);
    return seal_file_write(folder, name, f, fresh, e);
}

/* All files as they are. The caller frees with set_free. */
static int read_all(const char *folder, struct seal_set **out, struct err *e)
{
    struct seal_set *s = sodium_init() >= 0 ? calloc(1, sizeof *s) : NULL;
    int r = s ? 0 : -ENOMEM;

    for (int i = 0; i < SEAL_NAMES && r == 0; i++)
        r = seal_file_read(folder, (enum seal_name)i, seal_file_of(s, (enum seal_name)i), e);
    if (r == 0)
        *out = s;
    else
        set_free(s);
    return r;
}

static int make_folder(const char *folder, struct err *e)
{
    char path[4200];

    if (strlen(folder) >= sizeof path)
        return -ENAMETOOLONG;
    strcpy(path, folder);
    for (char *p = path + 1; *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return 0;
    int r = -errno;
    err_set(e, "cannot make the folder %s: %s", folder, strerror(-r));
    return r;
}

/* One of the two secret files without the other is a loss, which fresh keys would only hide. */
static int check_whole(const char *folder, const struct seal_set *s, struct err *e)
{
    if ((s->profiler.n == 0) == (s->master.n == 0))
        return 0;
    err_set(e, "%s has %s but no %s: bring it back from your copy", folder,
            s->profiler.n ? "profiler.key" : "master.key", s->profiler.n ? "master.key" : "profiler.key");
    return -ENOENT;
}

/* The key of the hashes is made before those of receipts: without it, when these are there, it was lost, and another
 * would let in again who was erased. */
static int check_erasing(const char *folder, const struct seal_set *s, struct err *e)
{
    bool receipt = s->receipt.n > 0, pub = s->receipt_pub.n > 0;
    bool lost = s->erasure.n == 0 && (receipt || pub);

    if (!lost && (receipt || !pub))
        return 0;
    err_set(e, "%s has %s but no %s: bring it back from your copy", folder, receipt ? "receipt.key" : "receipt.pub",
            lost ? "erasure.key" : "receipt.key");
    return -ENOENT;
}

/* The keys of erasure, beside the secret ones. */
static int make_erasing(const char *folder, struct seal_set *s, bool *made, struct err *e)
{
    bool pub = s->receipt_pub.n > 0;
    int r = check_erasing(folder, s, e);

    if (r != 0)
        return r;
    *made = *made || s->erasure.n == 0 || !pub;
    if (s->erasure.n == 0)
        r = add_key(folder, SEAL_NAME_ERASURE, true, &s->erasure, e);
    if (r == 0 && s->receipt.n == 0)
        r = add_key(folder, SEAL_NAME_RECEIPT, true, &s->receipt, e);
    if (r == 0 && !pub)
        r = seal_file_write(folder, SEAL_NAME_RECEIPT_PUB, &s->receipt, true, e);
    return r;
}

static int make_missing(const char *folder, struct seal_set *s, bool *made, struct err *e)
{
    int r = check_whole(folder, s, e);

    if (r != 0 || (s->pub.n > 0 && s->profiler.n == 0))
        return r;
    if (s->profiler.n == 0) {
        *made = true;
        r = add_key(folder, SEAL_NAME_MASTER, true, &s->master, e);
        if (r == 0)
            r = add_key(folder, SEAL_NAME_PROFILER, true, &s->profiler, e);
    }
    if (r == 0 && s->pub.n == 0) {
        *made = true;
        r = seal_file_write(folder, SEAL_NAME_PUB, &s->profiler, true, e);
    }
    return r == 0 ? make_erasing(folder, s, made, e) : r;
}

int seal_keys_init(const char *folder, bool *made, struct err *e)
{
    struct seal_set *s = NULL;
    int r = make_folder(folder, e);

    *made = false;
    if (r == 0)
        r = read_all(folder, &s, e);
    if (r == 0)
        r = make_missing(folder, s, made, e);
    set_free(s);
    if (r == -EEXIST)
        err_set(e, "somebody else makes keys in %s at this moment", folder);
    return r;
}

/* The secret file first: what is sealed with the public half can then be opened. */
static int rotate(const char *folder, enum seal_file file, struct seal_set *s, struct err *e)
{
    enum seal_name name = file == SEAL_FILE_MASTER ? SEAL_NAME_MASTER : SEAL_NAME_PROFILER;
    struct seal_keys_file *f = file == SEAL_FILE_MASTER ? &s->master : &s->profiler;

    if (f->n == 0)
        return missing(folder, name, e);
    int r = add_key(folder, name, false, f, e);
    return r == 0 && file == SEAL_FILE_PROFILER ? seal_file_write(folder, SEAL_NAME_PUB, f, false, e) : r;
}

/* Held from reading to writing, so that of two who add a key neither overwrites the other's. A folder that is not there
 * is told of by who reads it. */
static int folder_lock(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    while (fd >= 0 && flock(fd, LOCK_EX) != 0 && errno == EINTR)
        ;
    return fd;
}

int seal_keys_rotate(const char *folder, enum seal_file file, char id[17], struct err *e)
{
    struct seal_set *s = NULL;
    int lock = folder_lock(folder), r = read_all(folder, &s, e);

    if (r == 0)
        r = rotate(folder, file, s, e);
    if (lock >= 0)
        close(lock);
    if (r == 0) {
        const struct seal_keys_file *f = file == SEAL_FILE_MASTER ? &s->master : &s->profiler;
        sodium_bin2hex(id, 17, f->keys[f->n - 1].id.b, SEAL_ID_BYTES);
    }
    set_free(s);
    return r;
}

int seal_keys_list(const char *folder, struct seal_key_info *out, size_t max, size_t *n, struct err *e)
{
    struct seal_set *s = NULL;
    int r = read_all(folder, &s, e);

    *n = 0;
    if (r != 0)
        return r;
    for (int i = 0; i < SEAL_NAMES; i++) {
        const struct seal_keys_file *f = seal_file_of(s, (enum seal_name)i);
        for (size_t j = 0; j < f->n && *n < max; j++) {
            struct seal_key_info *info = &out[(*n)++];
            *info = (struct seal_key_info){.file = seal_names[i], .newest = j + 1 == f->n};
            sodium_bin2hex(info->id, sizeof info->id, f->keys[j].id.b, SEAL_ID_BYTES);
        }
    }
    set_free(s);
    return 0;
}
