/* The store under the embedded log: rows of records by offset, and named facts, in one RocksDB. The only
 * files of `common` that know RocksDB are log_store.c and log_store_files.c.
 *
 * Every write is synced, and the caller lets no two run at the same time: so a record of the write-ahead file begins
 * only when the one before it is on disk, which is what log_wal.c builds on. Reading is free to run beside writing.
 *
 * Errors: -ENOSPC the disk is full, -EBADMSG what is stored is damaged, -EBUSY somebody else has it, -EIO the rest.
 * After a failed commit the store takes no other: close it and open it again, then what is in it is what is on disk. */
#ifndef WAYMARK_LOG_STORE_H
#define WAYMARK_LOG_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/str.h"

struct log_store;

/* Opens the store in a folder that exists and that the caller has locked, or makes it. Rows 0 to partitions - 1 are
 * those of the events, then come the row of the bad events, that of the audit log, and as many as the events for the
 * changes of audiences; those that are missing are made. -EINVAL when it holds another number. */
#define LOG_SINGLE_FAMILIES 2
static inline uint32_t log_store_rows(uint32_t partitions)
{
    return 2 * partitions + LOG_SINGLE_FAMILIES;
}
int log_store_open(const char *path, uint32_t partitions, struct log_store **out, struct err *e);
/* All iterators and batches must be gone. NULL is allowed. */
void log_store_close(struct log_store *s);

/* What is to be written in one piece. One thread at a time. */
struct log_batch;

struct log_batch *log_batch_new(void);
void log_batch_free(struct log_batch *b);
void log_batch_clear(struct log_batch *b);
void log_batch_put(struct log_batch *b, struct log_store *s, uint32_t row, int64_t offset, struct str value);
/* Removes the records below an offset. */
void log_batch_drop(struct log_batch *b, struct log_store *s, uint32_t row, int64_t below);
void log_batch_put_fact(struct log_batch *b, struct log_store *s, struct str name, struct str value);
void log_batch_delete_fact(struct log_batch *b, struct log_store *s, struct str name);
/* On disk when it returns 0. The batch stays as it is. */
int log_store_commit(struct log_store *s, struct log_batch *b, struct err *e);

/* Gives back the space of whole files that hold only records below an offset. */
void log_store_drop_files(struct log_store *s, uint32_t row, int64_t below);

/* Moves what is in memory into files, so that the write-ahead files can go. */
int log_store_flush(struct log_store *s, struct err *e);

/* A file that holds records of a row, or what says that some were removed. */
struct log_file {
    char name[32];       /* in the folder */
    int level;           /* files of one level, but for 0, do not overlap; the deeper, the older */
    int64_t first, last; /* at least these offsets of the row lie between */
    uint64_t bytes;
};
/* Those of a row, in no order, with room for `n` of them; free() them. The row's: where rows share files, only their
 * parts that may hold records of this one count. */
struct log_file *log_store_files(struct log_store *s, uint32_t row, size_t *n);
/* Writes the files anew that hold any of the records from `first` to `last` of a row, without what has been replaced or
 * removed. What failed is only seen by which files are still there. Waits for other such work. */
void log_store_rewrite(struct log_store *s, uint32_t row, int64_t first, int64_t last);
/* Removes the files that are no longer needed, before it returns; all but those that a walk still holds. */
int log_store_purge(struct log_store *s, struct err *e);
/* How often the store has failed in what it does on its own since it was opened. */
uint64_t log_store_failures(struct log_store *s);

/* A fact by its name into `out` (emptied first). Returns 0 or -ENOENT or another negative errno. */
int log_store_fact(struct log_store *s, struct str name, struct buf *out, struct err *e);

/* A walk over one row as it was when the walk was made. It keeps the files of that moment from being freed: end it
 * soon. One thread at a time. */
struct log_iter;

struct log_iter *log_iter_new(struct log_store *s, uint32_t row);
/* Over the facts, by name. */
struct log_iter *log_iter_new_facts(struct log_store *s);
/* NULL is allowed. */
void log_iter_free(struct log_iter *i);
/* To the first record at or after the offset. */
void log_iter_seek(struct log_iter *i, int64_t offset);
void log_iter_seek_fact(struct log_iter *i, struct str name);
void log_iter_seek_last(struct log_iter *i);
void log_iter_next(struct log_iter *i);
/* Where the walk stands: 1 and the outputs, 0 past the last one of the row, or a negative errno. Key and value live
 * until the next step. */
int log_iter_at(struct log_iter *i, int64_t *offset, struct str *value, struct err *e);
int log_iter_at_fact(struct log_iter *i, struct str *name, struct str *value, struct err *e);

#endif
