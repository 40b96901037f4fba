/* What the files of sealing share: a set of keys as it was read at one moment. */
#ifndef WAYMARK_SEAL_INSIDE_H
#define WAYMARK_SEAL_INSIDE_H

#include <stdint.h>

#include "common/err.h"
#include "common/file_look.h"
#include "common/seal.h"

#define SEAL_ID_BYTES 8
#define SEAL_KEY_BYTES 32
#define SEAL_FORMAT 1 /* the first byte of all that is sealed or wrapped */

struct seal_id {
    unsigned char b[SEAL_ID_BYTES];
};

/* A line of a file. Of profiler.key and receipt.key `key` is the secret half and `pub` follows from it; of profiler.pub
 * and receipt.pub only `pub` is filled; of master.key and erasure.key only `key`. */
struct seal_key {
    struct seal_id id;
    unsigned char key[SEAL_KEY_BYTES], pub[SEAL_KEY_BYTES];
};

/* One file, the newest last. n is 0 for one that is missing. */
struct seal_keys_file {
    struct seal_key keys[SEAL_KEYS_MAX];
    size_t n;
};

/* Never changed once made; cleared before it is freed. */
struct seal_set {
    struct seal_keys_file profiler, pub, master;
    struct seal_keys_file erasure, receipt, receipt_pub; /* of profilers; may be empty */
    const struct seal_key *sealing;                      /* the one that seals: its public half */
};

enum seal_name {
    SEAL_NAME_PROFILER,
    SEAL_NAME_PUB,
    SEAL_NAME_MASTER,
    SEAL_NAME_ERASURE,
    SEAL_NAME_RECEIPT,
    SEAL_NAME_RECEIPT_PUB,
    SEAL_NAMES
};
extern const char *const seal_names[SEAL_NAMES];

/* What one ephemeral key of a sealer and one key of the profilers share. */
struct seal_shared {
    struct seal_id id;                       /* of the profilers' key */
    unsigned char ephemeral[SEAL_KEY_BYTES]; /* public */
    unsigned char key[SEAL_KEY_BYTES];
};
#define SEAL_NONCE_BYTES 24

struct seal_cache;
struct seal_cache *seal_cache_new(void);
void seal_cache_free(struct seal_cache *c);
/* The one to seal with, and a nonce that no other call gets. False for a public key that cannot be used. */
bool seal_cache_sealer(struct seal_cache *c, const struct seal_key *to, struct seal_shared *out,
                       unsigned char nonce[SEAL_NONCE_BYTES]);
/* The one to open with. False for an ephemeral key that is none. */
bool seal_cache_opener(struct seal_cache *c, const struct seal_key *own, const unsigned char *ephemeral,
                       struct seal_shared *out);
struct seal_cache *seal_cache_of(struct seal_keys *k);

/* Runs `work` with the newest set, which lives until it returns. */
typedef int seal_work(const struct seal_set *set, void *arg);
int seal_with(struct seal_keys *k, seal_work *work, void *arg);

/* Makes a key of such a file; its id follows from it. */
void seal_key_new(enum seal_name name, struct seal_key *out);
/* NULL when it is not in the file. */
const struct seal_key *seal_find(const struct seal_keys_file *f, const unsigned char *id);

/* --- files ----------------------------------------------------------------------------------------------------- */

/* Whether others may read it: it holds public halves. */
bool seal_name_public(enum seal_name name);
/* The file of that name in a set. */
struct seal_keys_file *seal_file_of(struct seal_set *s, enum seal_name name);
/* Reads a file of the folder; a missing one is empty. 0 or a negative errno with the words in `e`. */
int seal_file_read(const char *folder, enum seal_name name, struct seal_keys_file *out, struct err *e);
/* Writes it whole and durably. `fresh`: -EEXIST when it is there. */
int seal_file_write(const char *folder, enum seal_name name, const struct seal_keys_file *f, bool fresh, struct err *e);
struct file_look seal_file_look(const char *folder, enum seal_name name);

#endif
