/* What the files of the store share; nobody else includes it. RocksDB's types are only named here. */
#ifndef WAYMARK_LOG_STORE_INSIDE_H
#define WAYMARK_LOG_STORE_INSIDE_H

#include "common/log_store.h"

struct rocksdb_t;
struct rocksdb_column_family_handle_t;

enum { LOG_STORE_KEY = 12 };

struct rocksdb_t *log_store_db(const struct log_store *s);
struct rocksdb_column_family_handle_t *log_store_family(const struct log_store *s, uint32_t row);
void log_store_key(uint32_t row, int64_t offset, char key[LOG_STORE_KEY]);
/* Takes over RocksDB's text and says which kind of failure it is. */
int log_store_failed(const struct log_store *s, const char *doing, char *text, struct err *e);

#endif
