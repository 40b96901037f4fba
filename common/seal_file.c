/* The files of keys: text with a line "ID base64" for each key, the newest last; # begins a comment. A file is written
 * beside its place and moved there, so that readers see the old one or the new one. Called when keys are read or made;
 * any thread. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/seal_inside.h"

#define FILE_BYTES (64 * KIB)
#define BASE64_BYTES (sodium_base64_ENCODED_LEN(SEAL_KEY_BYTES, sodium_base64_VARIANT_ORIGINAL))
#define ID_TEXT (2 * SEAL_ID_BYTES)

const char *const seal_names[SEAL_NAMES] = {"profiler.key", "profiler.pub", "master.key",
                                            "erasure.key",  "receipt.key",  "receipt.pub"};

/* Which key is meant by an id. */
static const char *const domains[SEAL_NAMES] = {"waymark.profiler.1", "waymark.profiler.1", "waymark.master.1",
                                                "waymark.erasure.1",  "waymark.receipt.1",  "waymark.receipt.1"};

bool seal_name_public(enum seal_name name)
{
    return name == SEAL_NAME_PUB || name == SEAL_NAME_RECEIPT_PUB;
}

struct seal_keys_file *seal_file_of(struct seal_set *s, enum seal_name name)
{
    switch (name) {
    case SEAL_NAME_PROFILER:
        return &s->profiler;
    case SEAL_NAME_PUB:
        return &s->pub;
    case SEAL_NAME_MASTER:
        return &s->master;
    case SEAL_NAME_ERASURE:
        return &s->erasure;
    case SEAL_NAME_RECEIPT:
        return &s->receipt;
    case SEAL_NAME_RECEIPT_PUB:
        return &s->receipt_pub;
    case SEAL_NAMES:
        break;
    }
    assert(name < SEAL_NAMES);
    return NULL;
}

/* --- keys -------------------------------------------------------------------------------------------------------- */

static struct seal_id id_of(const char *domain, const unsigned char key[SEAL_KEY_BYTES])
{
    unsigned char hash[crypto_generichash_BYTES_MIN];
    struct seal_id id;
    int failed =
        crypto_generichash(hash, sizeof hash, (const unsigned char *)domain, strlen(domain), key, SEAL_KEY_BYTES);

    assert(!failed);
    memcpy(id.b, hash, sizeof id.b);
    return id;
}

/* The public half, where there is one. */
static void fill_pub(enum seal_name name, struct seal_key *k)
{
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    int failed = 0;

    if (name == SEAL_NAME_PROFILER)
        failed = crypto_scalarmult_base(k->pub, k->key);
    else if (name == SEAL_NAME_RECEIPT)
        failed = crypto_sign_seed_keypair(k->pub, secret, k->key);
    sodium_memzero(secret, sizeof secret);
    assert(!failed);
}

/* Fills what follows from the 32 bytes of a line. */
static void key_fill(enum seal_name name, const unsigned char bytes[SEAL_KEY_BYTES], struct seal_key *out)
{
    bool secret_only = name == SEAL_NAME_MASTER || name == SEAL_NAME_ERASURE;

    *out = (struct seal_key){0};
    memcpy(seal_name_public(name) ? out->pub : out->key, bytes, SEAL_KEY_BYTES);
    fill_pub(name, out);
    out->id = id_of(domains[name], secret_only ? out->key : out->pub);
}

void seal_key_new(enum seal_name name, struct seal_key *out)
{
    unsigned char bytes[SEAL_KEY_BYTES];

    assert(!seal_name_public(name));
    randombytes_buf(bytes, sizeof bytes);
    key_fill(name, bytes, out);
    sodium_memzero(bytes, sizeof bytes);
}

const struct seal_key *seal_find(const struct seal_keys_file *f, const unsigned char *id)
{
    for (size_t i = f->n; i > 0; i--)
        if (memcmp(f->keys[i - 1].id.b, id, SEAL_ID_BYTES) == 0)
            return &f->keys[i - 1];
    return NULL;
}

static int path_of(const char *folder, enum seal_name name, const char *more, char *out, size_t size, struct err *e)
{
    if ((size_t)snprintf(out, size, "%s/%s%s", folder, seal_names[name], more) < size)
        return 0;
    err_set(e, "the name of the folder %s is too long", folder);
    return -ENAMETOOLONG;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

/* The id stands before the key so that a damaged line is seen. */
static bool parse_line(enum seal_name name, struct str line, struct seal_key *out)
{
    unsigned char bytes[SEAL_KEY_BYTES], id[SEAL_ID_BYTES];
    size_t id_n = 0, n = 0;
    const char *space = memchr(line.p, ' ', line.n);

    if (!space || (size_t)(space - line.p) != ID_TEXT ||
        sodium_hex2bin(id, sizeof id, line.p, ID_TEXT, NULL, &id_n, NULL) != 0 || id_n != sizeof id)
        return false;
    struct str key = str_trim((struct str){space, (size_t)(line.p + line.n - space)});
    bool good =
        sodium_base642bin(bytes, sizeof bytes, key.p, key.n, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
        n == sizeof bytes;
    if (good)
        key_fill(name, bytes, out);
    sodium_memzero(bytes, sizeof bytes);
    return good && memcmp(out->id.b, id, sizeof id) == 0;
}

static int parse_file(enum seal_name name, struct str text, struct seal_keys_file *out, struct err *e)
{
    unsigned number = 0;

    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        struct str line = str_trim((struct str){text.p, n});
        text.p += end ? n + 1 : n;
        text.n -= end ? n + 1 : n;
        number++;
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (out->n == SEAL_KEYS_MAX || !parse_line(name, line, &out->keys[out->n])) {
            err_set(e,
                    out->n == SEAL_KEYS_MAX ? "%s:%u: more than %d keys"
                                            : "%s:%u: is no key: a line is an id, a space and base64",
                    seal_names[name], number, SEAL_KEYS_MAX);
            return -EINVAL;
        }
        out->n++;
    }
    if (out->n > 0)
        return 0;
    err_set(e, "%s holds no key", seal_names[name]);
    return -EINVAL;
}

static int read_text(int fd, enum seal_name name, char *text, size_t *n, struct err *e)
{
    struct stat st;
    ssize_t got;

    *n = 0;
    while ((got = read(fd, text + *n, FILE_BYTES - *n)) > 0)
        *n += (size_t)got;
    int r = got < 0 ? -errno : *n == FILE_BYTES ? -EFBIG : fstat(fd, &st) != 0 ? -errno : 0;
    if (r != 0)
        err_set(e, "%s cannot be read: %s", seal_names[name], strerror(-r));
    if (r == 0 && !seal_name_public(name) && st.st_mode & 07) {
        err_set(e, "%s may be read by everybody on this machine: chmod 600 it", seal_names[name]);
        r = -EPERM;
    }
    return r;
}

int seal_file_read(const char *folder, enum seal_name name, struct seal_keys_file *out, struct err *e)
{
    char path[4200];
    size_t n;
    int r = path_of(folder, name, "", path, sizeof path, e);

    out->n = 0;
    if (r != 0)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    char *text = fd >= 0 ? malloc(FILE_BYTES) : NULL;
    if (!text) {
        r = fd >= 0 ? -ENOMEM : -errno;
        err_set(e, "%s cannot be read: %s", path, strerror(-r));
    } else {
        r = read_text(fd, name, text, &n, e);
        if (r == 0)
            r = parse_file(name, (struct str){text, n}, out, e);
        sodium_memzero(text, FILE_BYTES);
    }
    free(text);
    if (fd >= 0)
        close(fd);
    return r;
}

struct file_look seal_file_look(const char *folder, enum seal_name name)
{
    char path[4200];

    if (path_of(folder, name, "", path, sizeof path, NULL) != 0)
        return (struct file_look){0};
    return file_look(path);
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static void add_lines(struct buf *b, enum seal_name name, const struct seal_keys_file *f)
{
    static const char *const heads[SEAL_NAMES] = {
        [SEAL_NAME_PROFILER] =
            "# Secret keys of the profilers, the newest last. Without them personal values of events are lost.\n",
        [SEAL_NAME_PUB] = "# Public keys of the profilers, the newest last: all that a collector needs.\n",
        [SEAL_NAME_MASTER] =
            "# Keys that wrap those of persons, the newest last. Without them personal values are lost.\n",
        [SEAL_NAME_ERASURE] =
            "# The key of the hashes by which erased persons are known. With another they would be let in again.\n",
        [SEAL_NAME_RECEIPT] = "# The secret key that signs receipts of erasures (Ed25519, its seed).\n",
        [SEAL_NAME_RECEIPT_PUB] = "# The public key that receipts of erasures are verified with (Ed25519).\n",
    };

    buf_add_text(b, heads[name]);
    for (size_t i = 0; i < f->n; i++) {
        char id[ID_TEXT + 1], text[BASE64_BYTES];
        sodium_bin2hex(id, sizeof id, f->keys[i].id.b, SEAL_ID_BYTES);
        sodium_bin2base64(text, sizeof text, seal_name_public(name) ? f->keys[i].pub : f->keys[i].key, SEAL_KEY_BYTES,
                          sodium_base64_VARIANT_ORIGINAL);
        buf_addf(b, "%s %s\n", id, text);
        sodium_memzero(text, sizeof text);
    }
}

static int sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = fd >= 0 && fsync(fd) == 0 ? 0 : -errno;

    if (fd >= 0)
        close(fd);
    return r;
}

static int write_beside(const char *path, mode_t mode, struct str text)
{
    unlink(path); /* of a try that was cut off */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text.p, text.n);
    int r = n == (ssize_t)text.n ? 0 : n < 0 ? -errno : -ENOSPC;
    if (r == 0 && fsync(fd) != 0)
        r = -errno;
    if (close(fd) != 0 && r == 0)
        r = -errno;
    return r;
}

/* The file in its place by rename, or where it must be fresh by link, which fails when there is one. */
static int put_in_place(const char *beside, const char *path, bool fresh)
{
    if (!fresh)
        return rename(beside, path) == 0 ? 0 : -errno;
    int r = link(beside, path) == 0 ? 0 : -errno;
    unlink(beside);
    return r;
}

int seal_file_write(const char *folder, enum seal_name name, const struct seal_keys_file *f, bool fresh, struct err *e)
{
    char path[4200], beside[4300], more[32];
    struct buf text;

    snprintf(more, sizeof more, ".%d", (int)getpid());
    int r = path_of(folder, name, "", path, sizeof path, e);
    if (r == 0)
        r = path_of(folder, name, more, beside, sizeof beside, e);
    if (r != 0)
        return r;
    buf_init(&text, FILE_BYTES);
    bool room = buf_room(&text, FILE_BYTES); /* one piece, so that no copy stays behind uncleared */
    if (room)
        add_lines(&text, name, f);
    r = text.failed ? -ENOMEM : write_beside(beside, seal_name_public(name) ? 0644 : 0600, buf_str(&text));
    if (r == 0)
        r = put_in_place(beside, path, fresh);
    if (r == 0)
        r = sync_folder(folder);
    else
        unlink(beside);
    if (room)
        sodium_memzero(text.p, text.cap);
    buf_deinit(&text);
    if (r != 0 && r != -EEXIST)
        err_set(e, "%s cannot be written: %s", path, strerror(-r));
    return r;
}
