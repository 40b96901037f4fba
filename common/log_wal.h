/* What a crash may leave at the end of RocksDB's write-ahead files, and what only damage can leave. Called with the
 * folder locked and the store closed. */
#ifndef WAYMARK_LOG_WAL_H
#define WAYMARK_LOG_WAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"

/* Cuts a write that was not finished off the end of every write-ahead file. Returns 0, -EBADMSG when a finished write
 * is damaged or the folder has lost what leads to its data, or another negative errno. */
int log_wal_mend(const char *path, struct err *e);
/* Bytes of the write-ahead files together: what opening the store may have to write again. */
uint64_t log_wal_bytes(const char *path);
/* The number of the newest write-ahead file that has anything in it, 0: there is none; and whether all up to a number
 * are gone or empty. While the store is open. */
uint64_t log_wal_newest(const char *path);
bool log_wal_is_gone(const char *path, uint64_t up_to);

#endif
