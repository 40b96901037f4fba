/* What the files of the store share: store.c opens, reads and writes, store_fill.c copies and fills partitions anew,
 * store_compact.c writes files anew. Nobody else includes it. */
#ifndef WAYMARK_STORE_INSIDE_H
#define WAYMARK_STORE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "profiler/store.h"

struct rocksdb_column_family_handle_t;

struct store {
    struct rocksdb_t *db;
    struct rocksdb_options_t *options;
    struct rocksdb_cache_t *cache;
    struct rocksdb_column_family_handle_t **families; /* partitions, then the shared one */
    uint32_t partitions;
    _Atomic uint32_t generation; /* the latest that a family was made with */
    struct rocksdb_ingestexternalfileoptions_t *ingest;
    struct rocksdb_envoptions_t *env;
    char *path;
    struct rocksdb_readoptions_t *read;
    pthread_mutex_t compacting;    /* held by store_compact, and by who takes a family away */
    _Atomic unsigned compact_halt; /* not 0: store_compact is not to go on */
    _Atomic uint64_t *writes;      /* to each family, as in `families` */
    uint64_t *compacted;           /* under `compacting`: as many were there, and the family was written anew since */
    _Atomic uint64_t rewrites;     /* of families by store_compact, begun ever */
};

/* RocksDB's words become an errno; takes the text. */
int store_failed(char *text, struct err *e);
/* Forgets a family, and unless others read here too, the files of it. */
void store_drop(const struct store *s, struct rocksdb_column_family_handle_t *family, bool read_only);
/* store_compact.c: nobody writes a family anew between the two. */
void store_compact_halt(struct store *s);
void store_compact_go_on(struct store *s);

#endif
