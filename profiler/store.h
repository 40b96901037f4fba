/* The state's RocksDB: one column family for each partition and one for what they share. A batch goes into one family,
 * as one sorted file that is taken in whole: there is no write-ahead log and nothing in a memtable, so all of a batch
 * is on disk or none of it. Only store.c and store_fill.c know RocksDB. Any thread, but one writer for each family. */
#ifndef WAYMARK_STORE_H
#define WAYMARK_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/str.h"

struct store;
struct store_batch;
struct store_iter;
struct store_snapshot;

struct store_options {
    const char *path;
    uint32_t partitions;
    uint64_t block_cache_bytes;
    bool read_only;
    const uint32_t *only; /* read_only: of the partitions' families just this one's; NULL: all */
};

/* The family that all partitions share. */
#define STORE_SHARED UINT32_MAX

enum { STORE_NOT_FOUND = 1 };

/* Opens the shared family, making the database when there is none (never when read_only), and the partitions' families
 * that are there. Fails with a text that says so when somebody else has the folder open. */
int store_open(const struct store_options *o, struct store **out, struct err *e);
/* Iterators, values and snapshots must be gone. NULL is allowed. */
void store_close(struct store *s);

/* Makes the partitions' families that are missing. */
int store_make_families(struct store *s, struct err *e);

/* A value read; `bytes` lives until store_value_free. */
struct store_value {
    struct str bytes;
    void *pin;
};
/* 0, STORE_NOT_FOUND or a negative errno. `snap` NULL: the newest. */
int store_get(struct store *s, uint32_t family, struct str key, const struct store_snapshot *snap,
              struct store_value *out, struct err *e);
void store_value_free(struct store_value *v);

/* What is there now, kept readable. Made in about a microsecond. */
struct store_snapshot *store_snapshot_new(struct store *s);
void store_snapshot_free(struct store *s, struct store_snapshot *snap);

/* Walks keys. With `prefix_scan` only keys with the prefix of the one sought are sure to be met, and the walk can pass
 * files that have none; without it every key. NULL when memory is out. */
struct store_iter *store_iter_new(struct store *s, uint32_t family, const struct store_snapshot *snap,
                                  bool prefix_scan);
void store_iter_free(struct store_iter *it);
void store_iter_seek(struct store_iter *it, struct str key);
/* To the last key at or before `key`. */
void store_iter_seek_back(struct store_iter *it, struct str key);
void store_iter_next(struct store_iter *it);
/* True while it stands on a key; key and value live until it moves. */
bool store_iter_at(struct store_iter *it, struct str *key, struct str *value);
/* After store_iter_at said false: 0 at the end, negative errno when reading failed. */
int store_iter_status(struct store_iter *it, struct err *e);

/* What is to be written to one family. Keys and values are copied; of two records of one key the later stands. */
struct store_batch *store_batch_new(uint32_t family);
void store_batch_free(struct store_batch *b);
void store_batch_put(struct store_batch *b, struct str key, struct str value);
void store_batch_delete(struct store_batch *b, struct str key);
size_t store_batch_bytes(const struct store_batch *b);
/* Empties it and keeps its memory. */
void store_batch_clear(struct store_batch *b);
/* All of it or nothing becomes readable at once, and is on disk when this returns. 0 or negative errno: then nothing
 * was written and it may be tried again. */
int store_write(struct store *s, struct store_batch *b, struct err *e);

/* Writes anew all files of the family: when it returns 0, what was deleted or overwritten before the call stands in no
 * file of the folder, but for copies that store_copy made; at once when nothing was written since the last time. Takes
 * time and room on the disk as the family is large, all of it for whatever was deleted, since RocksDB's universal
 * compaction knows no ranges; one call at a time. -EAGAIN with words while somebody reads what was there before,
 * -ENOSPC when there is no room, -ECANCELED after store_compact_stop. Any thread that may wait, beside the family's
 * writer. */
int store_compact(struct store *s, uint32_t family, struct err *e);
/* Ends one that is under way, soon, and lets none begin. Any thread. */
void store_compact_stop(struct store *s);

/* A consistent copy of everything, in a folder that is made: by hard links on the same file system. Any thread, while
 * others read and write. */
int store_copy(struct store *s, const char *folder, struct err *e);
/* The names in the folder of all sorted files, each with its family. */
typedef void store_file_visitor(void *arg, const char *name, uint32_t family);
void store_files(struct store *s, store_file_visitor *each, void *arg);

/* Another content for a partition's family, which takes the place of the old one in one step: after a crash there is
 * the one or the other. Until the swap the old one is read and written as before. The thread of the partition's writer.
 */
struct store_filler;
int store_filler_new(struct store *s, uint32_t partition, struct store_filler **out, struct err *e);
/* In the order of keys, no key twice; key_meta() among them. */
int store_filler_put(struct store_filler *f, struct str key, struct str value, struct err *e);
/* From here on a crash comes back to the content that was put; to that of before while it is none. */
int store_filler_end(struct store_filler *f, struct err *e);
/* After a store_filler_end that worked; nobody may read or write the partition meanwhile. */
void store_filler_swap(struct store_filler *f);
/* What was not swapped is forgotten. NULL is allowed. */
void store_filler_free(struct store_filler *f);

#endif
