/* Hashes of exports: of identifiers for ad networks, and by which people are drawn into groups. Pure. */
#ifndef WAYMARK_EXPORT_HASH_H
#define WAYMARK_EXPORT_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/str.h"

#define EXPORT_HEX 64 /* digits of a SHA-256 */
#define EXPORT_KEY_BYTES 32
#define EXPORT_PERSON_BYTES 16

struct export_person_hash {
    unsigned char b[EXPORT_PERSON_BYTES];
};

/* Whether somebody has hashed it already: 64 hex digits. */
bool export_hashed(struct str s);
/* SHA-256 of the bytes as 64 lower-case hex digits and a NUL. Nothing is hashed twice, and nothing gives no hash: false
 * of an absent or empty value. What is hashed already is only written in lower case. */
bool export_sha256(struct str s, char out[EXPORT_HEX + 1]);
/* Whether a person is in the share (in millionths) of a group: the same for the same names always, wherever it is
 * asked, and independent of every other group. SHA-256 of group, NUL, name, NUL, id. */
bool export_drawn(const char *group, struct str name, struct str id, uint32_t millionths);
/* What stands for a person in what is kept of exports: nobody without the key can tell who it is, or try all ids. */
struct export_person_hash export_person_hash(const unsigned char key[EXPORT_KEY_BYTES], struct str id);
/* The first 16 bytes of the SHA-256, to tell rows apart. */
struct export_person_hash export_digest(struct str bytes);
void export_hex(const unsigned char *p, size_t n, char *out); /* 2 n digits and a NUL */
/* Random bytes, for keys and names. */
void export_random(unsigned char *p, size_t n);
/* A SHA-256 in steps. */
struct export_hasher {
    _Alignas(16) unsigned char state[128];
};
void export_hasher_begin(struct export_hasher *h);
void export_hasher_add(struct export_hasher *h, const void *p, size_t n);
void export_hasher_end(struct export_hasher *h, char out[EXPORT_HEX + 1]);

#endif
