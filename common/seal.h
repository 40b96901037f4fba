/* Sealing of personal values, over libsodium. Two kinds of keys, in a folder of text files with a line "ID base64" for
 * each key, the newest last:
 *
 *   profiler.key  X25519, secret: what collectors sealed is opened with these. Profilers only, mode 0600.
 *   profiler.pub  their public halves: the last one is what everybody seals to. All that a collector needs.
 *   master.key    wraps the data keys of persons. Profilers only, mode 0600.
 *   erasure.key   of the hashes by which erased persons are known. Profilers only, mode 0600, the same for all of them.
 *   receipt.key   Ed25519, secret: signs receipts of erasures. Profilers only, mode 0600.
 *   receipt.pub   its public half, for whoever verifies a receipt.
 *
 * Rotation adds a key to the first three; the older ones still open. The last three are not rotated. A file that
 * changes is read again within a second or two, and one that cannot be read changes nothing, which the log says. All
 * calls from any thread; none waits for anything but the disk of the key files. */
#ifndef WAYMARK_SEAL_H
#define WAYMARK_SEAL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

/* --- key files ------------------------------------------------------------------------------------------------- */

struct seal_keys;

enum seal_part {
    SEAL_COLLECTOR, /* needs profiler.pub */
    SEAL_PROFILER   /* needs profiler.key and master.key; without profiler.pub it seals to its newest key */
};

/* Reads the keys in a folder. 0 or a negative errno with the words in `e`: -ENOENT when a file is missing. Free with
 * seal_keys_free. */
int seal_keys_open(const char *folder, enum seal_part part, struct seal_keys **out, struct err *e);
void seal_keys_free(struct seal_keys *k);
/* Looks for changed files now, not within the next second. */
void seal_keys_refresh(struct seal_keys *k);

/* --- from collectors to profilers ------------------------------------------------------------------------------ */

enum {
    SEAL_OK = 0,
    SEAL_KEY_UNKNOWN = 1, /* sealed with a key that is not here, and may be brought */
    SEAL_DAMAGED = 2      /* no sealed bytes, cut or changed: no key will ever open them */
};

/* What sealing adds to the bytes. */
#define SEAL_OVERHEAD ((size_t)(1 + 8 + 32 + 24 + 16))

/* Appends the sealed bytes; each call gives other ones. An ephemeral key pair of the sealer serves for some minutes, so
 * that a seal costs about a microsecond; it is forgotten then. False (out->failed) when they do not fit. The bytes on
 * the log are what a copy of an event is: of two copies that are equal in the order of events the least content hash
 * stands, over the sealed bytes as they are, so the result is a function of the records on the log. */
bool seal_for_profilers(struct seal_keys *k, struct str plain, struct buf *out);
/* The plain bytes, in the arena, with a NUL and JSON_PADDING readable bytes behind them. A SEAL_ outcome or -ENOMEM. */
int seal_open(struct seal_keys *k, struct str sealed, struct arena *a, struct str *plain);

/* --- values of a person at rest -------------------------------------------------------------------------------- */

/* The data key of one person. Whoever drops its wrapped form makes every value sealed with it unreadable. */
struct seal_person {
    unsigned char key[32];
};

/* Length of a wrapped key, and what sealing adds to a value. */
#define SEAL_WRAPPED_BYTES ((size_t)(1 + 8 + 24 + 32 + 16))
#define SEAL_VALUE_OVERHEAD ((size_t)(1 + 24 + 16))

/* A random key. Clear it with seal_person_clear when it is no longer needed. */
void seal_person_new(struct seal_person *out);
void seal_person_clear(struct seal_person *p);
/* Appends the key wrapped by the newest master key, whose id stands beside it; one key and one master key always give
 * the same bytes. False (out->failed) when they do not fit. */
bool seal_person_wrap(struct seal_keys *k, const struct seal_person *p, struct buf *out);
/* A SEAL_ outcome. */
int seal_person_unwrap(struct seal_keys *k, struct str wrapped, struct seal_person *out);
/* Whether it was wrapped by an older master key than the newest, so that it should be wrapped again when next written.
 * False for what is no wrapped key. */
bool seal_person_is_old(struct seal_keys *k, struct str wrapped);

/* Appends the sealed value. `name` says what it is (of whom, which trait): a value opened under another name is
 * damaged. Equal key, name and value give equal bytes, so that what follows from one set of events is one state. */
bool seal_person_seal(const struct seal_person *p, struct str name, struct str plain, struct buf *out);
/* The value, in the arena, with a NUL and JSON_PADDING readable bytes behind it. SEAL_OK, SEAL_DAMAGED or -ENOMEM. */
int seal_person_open(const struct seal_person *p, struct str name, struct str sealed, struct arena *a,
                     struct str *plain);

/* --- erasure --------------------------------------------------------------------------------------------------- */

#define SEAL_ERASURE_KEY_BYTES 32
#define SEAL_ERASURE_HASH_BYTES 16

/* The key of erasure.key. SEAL_OK, or SEAL_KEY_UNKNOWN when there is none. */
int seal_erasure_key(struct seal_keys *k, unsigned char out[SEAL_ERASURE_KEY_BYTES]);
/* What stands for a profile ("user:42") once it is erased: BLAKE2b of 16 bytes under the key; NULL: under zeros. Pure.
 */
void seal_erasure_hash(const unsigned char *key, struct str profile, unsigned char out[SEAL_ERASURE_HASH_BYTES]);

#define SEAL_SIGNATURE_BYTES 64
#define SEAL_RECEIPT_PUB_BYTES 32
/* An Ed25519 signature of the bytes, and the key that it was made with. SEAL_OK, or SEAL_KEY_UNKNOWN when there is
 * none. */
struct seal_signature {
    char id[17]; /* of the key, as seal_keys_list has it */
    unsigned char pub[SEAL_RECEIPT_PUB_BYTES];
    unsigned char bytes[SEAL_SIGNATURE_BYTES];
};
int seal_receipt_sign(struct seal_keys *k, struct str bytes, struct seal_signature *out);
/* The public key as others' programs know it: SubjectPublicKeyInfo in DER, which in base64 is the body of a PEM file.
 */
#define SEAL_RECEIPT_DER_BYTES 44
void seal_receipt_der(const unsigned char pub[SEAL_RECEIPT_PUB_BYTES], unsigned char out[SEAL_RECEIPT_DER_BYTES]);
/* The newest public key of a folder's receipt.pub. 0 or a negative errno with the words in `e`. */
int seal_receipt_pub(const char *folder, char id[17], unsigned char pub[SEAL_RECEIPT_PUB_BYTES], struct err *e);
/* Whether the signature is one of the bytes by a key of the folder's receipt.pub: SEAL_OK, SEAL_KEY_UNKNOWN when its id
 * is none of them, SEAL_DAMAGED, or a negative errno with the words in `e`. Only `id` and `bytes` of it are read. */
int seal_receipt_verify(const char *folder, struct str bytes, const struct seal_signature *s, struct err *e);

/* --- making and changing key files: for commands and the first start --------------------------------------------- */

/* Makes the folder and the files that are missing (public ones from secret ones that are there); *made says whether any
 * was. A profiler.pub alone is left alone: it is of keys that are elsewhere. 0 or a negative errno. */
int seal_keys_init(const char *folder, bool *made, struct err *e);

enum seal_file { SEAL_FILE_PROFILER, SEAL_FILE_MASTER };

/* Adds a fresh key to profiler.key and profiler.pub, or to master.key. Programs that run take it up by themselves.
 * `id` gets 16 characters and a NUL. */
int seal_keys_rotate(const char *folder, enum seal_file file, char id[17], struct err *e);

/* One key of a folder as `waymark keys list` shows it. */
struct seal_key_info {
    const char *file; /* "profiler.key", … */
    char id[17];
    bool newest; /* the one that seals or wraps */
};
#define SEAL_KEYS_MAX 100 /* of one file */
#define SEAL_FILES 6
/* The keys of the files that are there, `max` at most; *n is their number. 0 or a negative errno for a bad file. */
int seal_keys_list(const char *folder, struct seal_key_info *out, size_t max, size_t *n, struct err *e);

#endif
