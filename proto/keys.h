/* The keys of the profiler's state in RocksDB, all layouts in one place. Keys hold keyed hashes of ids, never ids: an
 * erased key can stand in RocksDB's MANIFEST for ever. Numbers are big-endian, so that keys sort as numbers do. Pure.
 *
 *   'M'                                offset, commit number, counters, the secret of the hashes
 *   'F' profile                        a profile: id, version, facts
 *   'S' profile stream                 a stream of it: its anonymous and user id; never changes
 *   'P' stream last-time commit part   a chunk of the path: entries up to last-time, none before the last time of the
 *                                      chunk before it
 *   'L' stream last-time commit part   a chunk of entries that came late: spans at most LATE_SPAN_MS
 *   'U' stream commit part             uids of a large stream
 *   'D' device                         a device that somebody was linked to: its users and who had it when
 *   'K' device commit part             links of a device
 *   'A' account                        the devices that a user is paired with
 *   'O' profile order                  an order of a profile: its statements
 *   'H' order 0                        an order at its home: who has it, which links it makes
 *   'H' order 1 uid                    what was said last of the statement with that uid: where it stands, or that it
 *                                      is gone
 *   'H' order 2 place                  a statement that stands, with its owner. The place is trust, turned round, and
 *                                      the order of events: those that count first come first
 *
 *   'N' definition                     what is defined under a kind and a name: text and when it was said
 *   'E' hash                           that a person was erased: until when. The hash is of the profile's id under the
 *                                      shop's key, not the partition's
 *   'G' hash                           of the erased: what the log says of a device that nobody has spoken of by its
 *                                      name; the hash is as that of 'E'. Or that what has the hash is said already
 *
 * The kind and the first hash are the prefix that bloom filters and scans go by. */
#ifndef WAYMARK_KEYS_H
#define WAYMARK_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/str.h"
#include "proto/event.h"

#define KEY_HASH_BYTES 16
#define KEY_PREFIX_BYTES (1 + KEY_HASH_BYTES)
#define KEY_MAX_BYTES 72

struct key_hash {
    unsigned char b[KEY_HASH_BYTES];
};

/* Random, made with a partition's state and kept in it, so that a partition can be moved by itself. */
struct key_secret {
    unsigned char b[16];
};

struct key {
    size_t n;
    unsigned char b[KEY_MAX_BYTES];
};

enum key_kind {
    KEY_META = 'M',
    KEY_PROFILE = 'F',
    KEY_STREAM = 'S',
    KEY_CHUNK = 'P',
    KEY_LATE = 'L',
    KEY_UIDS = 'U',
    KEY_DEVICE = 'D',
    KEY_LINKS = 'K',
    KEY_ACCOUNT = 'A',
    KEY_ORDER = 'O',
    KEY_ORDER_HOME = 'H',
    KEY_DEFINITION = 'N',
    KEY_TOMBSTONE = 'E',
    KEY_GRAVE = 'G'
};

/* Where a chunk stands; of KEY_UIDS and KEY_LINKS `time` is 0, and `stream` of the latter the device. */
struct key_place {
    enum key_kind kind; /* KEY_CHUNK, KEY_LATE, KEY_UIDS or KEY_LINKS */
    struct key_hash stream;
    int64_t time;
    uint32_t commit, part;
};

enum key_home_part { HOME_HEAD = 0, HOME_UID = 1, HOME_PLACE = 2 };

/* Of an order at its home. */
struct key_home {
    struct key_hash order;
    enum key_home_part part;
    struct event_rank place; /* HOME_PLACE; of HOME_UID only the uid */
};

/* Longest ids that a stream may have, each. */
#define KEY_ID_MAX_BYTES 1024

struct key_hash key_hash_of(const struct key_secret *secret, struct str bytes);
/* Of the pair, absent apart from empty. Both at most KEY_ID_MAX_BYTES. */
struct key_hash key_hash_stream(const struct key_secret *secret, struct str anonymous_id, struct str user_id);
/* Of the stream of a device's events that were placed with a user. */
struct key_hash key_hash_placed(const struct key_secret *secret, struct str device, struct str user);
/* Of two hashes, where one is to stand for both in memory. */
struct key_hash key_hash_pair(const struct key_secret *secret, struct key_hash a, struct key_hash b);
/* By which an erased profile ("user:U", "anon:D") is known, wherever it may turn up; `key` has ERASURE_KEY_BYTES. */
#define ERASURE_KEY_BYTES 32
struct key_hash key_hash_erasure(const unsigned char *key, struct str profile);
/* The first bytes as a number: hashes are evenly spread already. */
uint64_t key_hash_number(const struct key_hash *h);
bool key_hash_eq(const struct key_hash *a, const struct key_hash *b);

struct key key_meta(void);
/* Kind and one hash: the whole key of a profile, the prefix of the others. */
struct key key_one(enum key_kind kind, struct key_hash h);
/* Kind and two hashes: a stream, an order. */
struct key key_two(enum key_kind kind, struct key_hash first, struct key_hash second);
/* A chunk, uids or links. */
struct key key_placed(const struct key_place *place);
/* Of an order at its home. */
struct key key_homed(const struct key_home *home);
/* Before all places of the order. */
struct key key_home_places(struct key_hash order);
/* Before every chunk of that kind and stream whose last time is `time` or later. */
struct key key_seek(enum key_kind kind, struct key_hash stream, int64_t time);

/* Readers; false when the bytes are no such key. */
bool key_read_two(struct str key, enum key_kind kind, struct key_hash *first, struct key_hash *second);
bool key_read_placed(struct str key, struct key_place *out);
bool key_read_homed(struct str key, struct key_home *out);
static inline struct str key_str(const struct key *k)
{
    return (struct str){(const char *)k->b, k->n};
}

#endif
