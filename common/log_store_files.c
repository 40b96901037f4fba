/* The files of the store, for those who must know that bytes are gone from them: which hold what, writing some of them
 * anew, and removing what is no longer needed at once. Called by the threads that blank and by retention. */
#include <assert.h>
#include <endian.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log_store_inside.h"

enum { REWRITE_DEEPEST_TOO = 2 }; /* RocksDB's BottommostLevelCompaction::kForce */

/* The offset of a key as seen from a row: keys of the rows before it lie before 0, those behind it past all. */
static int64_t offset_of(const char *key, size_t n, uint32_t row)
{
    uint32_t r;
    uint64_t v;

    if (n != LOG_STORE_KEY)
        return INT64_MAX; /* not ours: nothing is left out by it */
    memcpy(&r, key, sizeof(r));
    memcpy(&v, key + sizeof(r), sizeof(v));
    if (be32toh(r) != row)
        return be32toh(r) < row ? -1 : INT64_MAX;
    return (int64_t)be64toh(v);
}

static bool take_file(const rocksdb_livefiles_t *list, int i, uint32_t row, struct log_file *f)
{
    size_t n;
    const char *key = rocksdb_livefiles_smallestkey(list, i, &n), *name = rocksdb_livefiles_name(list, i);

    *f = (struct log_file){.level = rocksdb_livefiles_level(list, i), .bytes = rocksdb_livefiles_size(list, i)};
    f->first = offset_of(key, n, row);
    key = rocksdb_livefiles_largestkey(list, i, &n);
    f->last = offset_of(key, n, row);
    snprintf(f->name, sizeof(f->name), "%s", *name == '/' ? name + 1 : name);
    if (f->last < 0 || f->first == INT64_MAX)
        return false;
    f->first = f->first < 0 ? 0 : f->first;
    return true;
}

static bool is_family(rocksdb_column_family_handle_t *family, const char *name)
{
    size_t n;
    char *own = rocksdb_column_family_handle_get_name(family, &n);
    bool same = strlen(name) == n && memcmp(own, name, n) == 0;

    rocksdb_free(own);
    return same;
}

struct log_file *log_store_files(struct log_store *s, uint32_t row, size_t *n)
{
    rocksdb_column_family_handle_t *family = log_store_family(s, row);
    const rocksdb_livefiles_t *list = rocksdb_livefiles(log_store_db(s));
    int all = rocksdb_livefiles_count(list);
    struct log_file *files = calloc((size_t)all + 1, sizeof(*files));

    if (!files)
        abort();
    *n = 0;
    for (int i = 0; i < all; i++)
        if (is_family(family, rocksdb_livefiles_column_family_name(list, i)) && take_file(list, i, row, &files[*n]))
            ++*n;
    rocksdb_livefiles_destroy(list);
    return files;
}

void log_store_rewrite(struct log_store *s, uint32_t row, int64_t first, int64_t last)
{
    rocksdb_compactoptions_t *o = rocksdb_compactoptions_create();
    char from[LOG_STORE_KEY], to[LOG_STORE_KEY];

    assert(first <= last);
    log_store_key(row, first, from);
    log_store_key(row, last, to);
    rocksdb_compactoptions_set_bottommost_level_compaction(o, REWRITE_DEEPEST_TOO);
    rocksdb_compact_range_cf_opt(log_store_db(s), log_store_family(s, row), o, from, LOG_STORE_KEY, to, LOG_STORE_KEY);
    rocksdb_compactoptions_destroy(o);
}

/* Allowing deletions again removes what has gathered, on this thread. */
int log_store_purge(struct log_store *s, struct err *e)
{
    char *text = NULL;

    rocksdb_disable_file_deletions(log_store_db(s), &text);
    if (!text)
        rocksdb_enable_file_deletions(log_store_db(s), 0, &text);
    return text ? log_store_failed(s, "removing files of", text, e) : 0;
}

uint64_t log_store_failures(struct log_store *s)
{
    uint64_t n = 0;

    rocksdb_property_int(log_store_db(s), "rocksdb.background-errors", &n);
    return n;
}
