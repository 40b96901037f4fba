/* Rows of people on disk, in a RocksDB of the audiences' own: what was found out about each and when that is to be done
 * again. Keys are the state's hashes; no ids stand there. What is written waits in memory, for a second at most, and
 * goes to disk in one step for each partition, together with the place on LOG_AUDIENCES that it goes with. The judging
 * thread writes; questions may read rows under the lock of the audiences.
 *
 *   'M'        place on the topic (8 bytes), the hash of a fixed text, which is another one when the hashes are
 *   'R' hash   a row
 *   'W'        rows were removed that may stand in files
 * and in the family that all share:
 *   'S' number (4 bytes)   a set of people: "a" NAME, or "t" TAG 0 VALUE as JSON */
#ifndef WAYMARK_AUDIENCE_ROWS_H
#define WAYMARK_AUDIENCE_ROWS_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "proto/keys.h"

struct row_store;

struct membership {
    uint32_t set;
    int64_t entered_at;
};

struct row {
    uint32_t number;
    int64_t version; /* of the profile; -1: not judged */
    uint64_t world;
    int64_t due;
    struct membership *in; /* audiences, by set */
    size_t in_count;
    uint32_t *tags; /* sets of values of tags, by set */
    size_t tag_count;
    struct str more_tags; /* members of a JSON object, of values that have no set: "city":"X","n":1 */
};

bool row_pack(const struct row *r, struct buf *b);
/* What it points to lies in the arena or in `bytes`. 0, 1: it is none, -ENOMEM. */
int row_unpack(struct str bytes, struct arena *a, struct row *out);
/* NULL: not in it. */
const struct membership *row_membership(const struct row *r, uint32_t set);

int row_store_open(const char *path, uint32_t partitions, struct row_store **out, struct err *e);
/* Writes nothing. NULL is allowed. */
void row_store_close(struct row_store *r);

/* 0, 1: there is none, negative errno. The bytes are in the arena. */
int row_store_get(struct row_store *r, uint32_t partition, const struct key_hash *hash, struct arena *a,
                  struct str *out, struct err *e);
/* Takes a copy; absent bytes remove it. Memory that is out ends the process. */
void row_store_put(struct row_store *r, uint32_t partition, const struct key_hash *hash, struct str bytes);
/* Bytes that wait to be written, over all partitions. */
size_t row_store_waiting(const struct row_store *r);
/* Forgets what waits for a partition. */
void row_store_forget(struct row_store *r, uint32_t partition);
/* Writes what waits, with the place and the mark. 0 or negative errno, and then it waits on. */
int row_store_write(struct row_store *r, uint32_t partition, int64_t place, const struct key_hash *mark, struct err *e);
/* 0, 1: nothing was ever written, negative errno. */
int row_store_place(struct row_store *r, uint32_t partition, int64_t *place, struct key_hash *mark, struct err *e);
/* All rows on disk of a partition, by hash; `each` returns 0 to go on. */
typedef int row_visitor(void *arg, const struct key_hash *hash, struct str bytes);
int row_store_walk(struct row_store *r, uint32_t partition, row_visitor *each, void *arg, struct err *e);
/* Removes them, and the place. They may stand in files until row_store_compact. */
int row_store_wipe(struct row_store *r, uint32_t partition, struct err *e);
/* Whether there are rows of it on disk. Any thread; quick. */
bool row_store_keeps(const struct row_store *r, uint32_t partition);
/* Whether rows of it were removed that may stand in files still. Any thread; quick. */
bool row_store_unclean(const struct row_store *r, uint32_t partition);
/* How often the rows of each partition were removed. Any thread. */
void row_store_wipes(const struct row_store *r, uint32_t *wipes);

/* Names a set, or forgets the name (absent): on disk with the next row_store_write, before its rows. */
void row_store_put_set(struct row_store *r, uint32_t set, struct str name);
/* Writes names that wait. 0 or negative errno. */
int row_store_write_sets(struct row_store *r, struct err *e);
/* Writes anew the files of all partitions, or of those that are unclean, and of the names of sets: what was removed
 * stands in none of them any more. `wipes` was asked for before names were written last: rows that were removed since
 * then stay unclean. Any thread that may wait, one at a time. 0 or negative errno. */
int row_store_compact(struct row_store *r, bool all, const uint32_t *wipes, struct err *e);
void row_store_compact_stop(struct row_store *r);
typedef int set_visitor(void *arg, uint32_t set, struct str name);
int row_store_sets(struct row_store *r, set_visitor *each, void *arg, struct err *e);

#endif
