/* The store under the embedded log, on RocksDB. A column family per row, so that the keys of a family only grow: its
 * files do not overlap, move down the levels without being rewritten and are dropped whole. RocksDB takes long to make
 * and to open hundreds of families, so beyond FAMILIES rows they share. A key is the row and the offset. The default
 * family holds the facts (format, partitions, begins, readers). Called by the threads of the log and by its readers. */
#include "common/log_store.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/log_store_inside.h"
#include "common/num.h"

#define FORMAT "1"
#define MEMTABLES (128 * MIB) /* all families together */
#define WAL_FILES (256 * MIB) /* replayed when opening */
#define FILE_BYTES (32 * MIB) /* what retention can give back at once */
#define CACHE_BYTES (32 * MIB)
#define BLOCK_BYTES (16 * KIB)
#define READAHEAD (1 * MIB)
#define FAMILY_NAME "records."
enum { QUIET = 4, TORN_TAIL_ONLY = 0, KEY = LOG_STORE_KEY, FAMILIES = 64 };

struct log_store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t *cache;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    rocksdb_column_family_handle_t *facts;
    rocksdb_column_family_handle_t *family[FAMILIES];
    uint32_t partitions, rows;
    char *path;
};

int log_store_failed(const struct log_store *s, const char *doing, char *text, struct err *e)
{
    int r = strstr(text, "No space left") || strstr(text, "quota exceeded") ? -ENOSPC
            : strstr(text, "Corruption")                                    ? -EBADMSG
            : strstr(text, "lock")                                          ? -EBUSY
                                                                            : -EIO;

    err_set(e, "%s %s: %s", doing, s->path, text);
    if (e)
        e->retriable = r != -EBADMSG;
    rocksdb_free(text);
    return r;
}

void log_store_key(uint32_t row, int64_t offset, char key[KEY])
{
    uint32_t r = htobe32(row);
    uint64_t v = htobe64((uint64_t)offset);

    assert(offset >= 0);
    memcpy(key, &r, sizeof(r));
    memcpy(key + sizeof(r), &v, sizeof(v));
}

static uint32_t families(const struct log_store *s)
{
    return s->rows < FAMILIES ? s->rows : FAMILIES;
}

rocksdb_column_family_handle_t *log_store_family(const struct log_store *s, uint32_t row)
{
    assert(row < s->rows);
    return s->family[row % FAMILIES];
}

rocksdb_t *log_store_db(const struct log_store *s)
{
    return s->db;
}

/* A memtable takes memory by whole blocks: many families must not pass the bound by their first blocks. */
static size_t arena_block(const struct log_store *s)
{
    size_t n = MEMTABLES / 8 / families(s);

    return n > MIB ? MIB : n;
}

static void set_table(struct log_store *s)
{
    s->cache = rocksdb_cache_create_lru(CACHE_BYTES);
    s->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(s->table, s->cache);
    rocksdb_block_based_options_set_block_size(s->table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(s->table, 5);
    rocksdb_options_set_block_based_table_factory(s->options, s->table);
}

/* The info log is silenced because RocksDB aborts when its own log meets a full disk. */
static void set_options(struct log_store *s)
{
    rocksdb_options_t *o = s->options = rocksdb_options_create();

    rocksdb_options_set_info_log_level(o, QUIET);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_wal_recovery_mode(o, TORN_TAIL_ONLY);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_db_write_buffer_size(o, MEMTABLES);
    rocksdb_options_set_write_buffer_size(o, FILE_BYTES);
    rocksdb_options_set_arena_block_size(o, arena_block(s));
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_max_total_wal_size(o, WAL_FILES);
    rocksdb_options_set_target_file_size_base(o, FILE_BYTES);
    /* Files can be dropped only from below the first level. Where a family has one row its files never overlap, so
     * each is moved down at once without being written again. */
    if (s->rows <= FAMILIES)
        rocksdb_options_set_level0_file_num_compaction_trigger(o, 1);
    rocksdb_options_set_max_background_jobs(o, 2);
    rocksdb_options_set_max_open_files(o, 1000);
    rocksdb_options_set_bytes_per_sync(o, MIB);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    set_table(s);
    s->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(s->write, 1);
    rocksdb_writeoptions_set_memtable_insert_hint_per_batch(s->write, 1);
    s->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(s->read, 1);
    rocksdb_readoptions_set_fill_cache(s->read, 0);
}

static bool has_store(const char *path)
{
    char file[4096];
    int n = snprintf(file, sizeof(file), "%s/CURRENT", path);

    return n > 0 && (size_t)n < sizeof(file) && access(file, F_OK) == 0;
}

static int make_store(struct log_store *s, struct err *e)
{
    char *text = NULL;

    rocksdb_options_set_create_if_missing(s->options, 1);
    s->db = rocksdb_open(s->options, s->path, &text);
    rocksdb_options_set_create_if_missing(s->options, 0);
    if (text)
        return log_store_failed(s, "making the log in", text, e);
    /* Closed and opened again with its facts by the caller: one way of opening. */
    rocksdb_close(s->db);
    s->db = NULL;
    return 0;
}

/* Puts the handle of a named family in its place. False when the name is none of ours. */
static bool place_family(struct log_store *s, const char *name, rocksdb_column_family_handle_t *handle)
{
    struct str text = str_of(name), prefix = STR_LIT(FAMILY_NAME);
    uint64_t number;

    if (strcmp(name, "default") == 0) {
        s->facts = handle;
        return true;
    }
    if (!str_starts(text, prefix) || num_u64((struct str){text.p + prefix.n, text.n - prefix.n}, &number) != 0 ||
        number >= FAMILIES || s->family[number])
        return false;
    s->family[number] = handle;
    return true;
}

static int open_named(struct log_store *s, char **names, size_t n, struct err *e)
{
    rocksdb_column_family_handle_t **handles = calloc(n, sizeof(*handles));
    const rocksdb_options_t **options = calloc(n, sizeof(*options));
    bool ours = true;
    char *text = NULL;

    if (!handles || !options)
        abort();
    for (size_t i = 0; i < n; i++)
        options[i] = s->options;
    s->db =
        rocksdb_open_column_families(s->options, s->path, (int)n, (const char *const *)names, options, handles, &text);
    for (size_t i = 0; i < n && !text; i++)
        if (!place_family(s, names[i], handles[i])) {
            rocksdb_column_family_handle_destroy(handles[i]);
            ours = false;
        }
    free(handles);
    free(options);
    if (text) {
        s->db = NULL;
        return log_store_failed(s, "opening the log in", text, e);
    }
    if (!ours)
        err_set(e, "%s holds something that is not a log", s->path);
    return ours ? 0 : -EINVAL;
}

static int open_families(struct log_store *s, struct err *e)
{
    size_t n;
    char *text = NULL;
    char **names = rocksdb_list_column_families(s->options, s->path, &n, &text);

    if (text)
        return log_store_failed(s, "looking into the log in", text, e);
    int r = open_named(s, names, n, e);
    rocksdb_list_column_families_destroy(names, n);
    return r;
}

/* They are on disk before the first family is made: a store without them was not finished and holds no records. */
static int write_facts(struct log_store *s, struct err *e)
{
    char number[16];
    struct log_batch *b = log_batch_new();

    snprintf(number, sizeof(number), "%u", s->partitions);
    log_batch_put_fact(b, s, STR_LIT("format"), STR_LIT(FORMAT));
    log_batch_put_fact(b, s, STR_LIT("partitions"), str_of(number));
    int r = log_store_commit(s, b, e);
    log_batch_free(b);
    return r;
}

static int check_facts(struct log_store *s, struct err *e)
{
    struct buf value;
    uint64_t partitions = 0;

    buf_init(&value, KIB);
    int r = log_store_fact(s, STR_LIT("format"), &value, e);
    bool fresh = r == -ENOENT;
    if (fresh && s->family[0]) {
        err_set(e, "the log in %s has lost its first write-ahead file", s->path);
        fresh = false;
        r = -EBADMSG;
    }
    if (r == 0 && !str_is(buf_str(&value), FORMAT)) {
        err_set(e, "the log in %s has format %.*s, this program reads " FORMAT, s->path, STR_ARG(buf_str(&value)));
        r = -EINVAL;
    }
    if (r == 0)
        r = log_store_fact(s, STR_LIT("partitions"), &value, e);
    if (r == 0 && (num_u64(buf_str(&value), &partitions) || partitions != s->partitions)) {
        err_set(e, "the log in %s has %.*s partitions, the configuration says %u: the number cannot change", s->path,
                STR_ARG(buf_str(&value)), s->partitions);
        r = -EINVAL;
    }
    buf_deinit(&value);
    return fresh ? write_facts(s, e) : r;
}

static int make_families(struct log_store *s, struct err *e)
{
    char name[32], *text = NULL;

    for (uint32_t f = 0; f < families(s); f++) {
        if (s->family[f])
            continue;
        snprintf(name, sizeof(name), FAMILY_NAME "%u", f);
        rocksdb_column_family_handle_t *made = rocksdb_create_column_family(s->db, s->options, name, &text);
        if (text)
            return log_store_failed(s, "making a partition in", text, e);
        s->family[f] = made;
    }
    return 0;
}

int log_store_open(const char *path, uint32_t partitions, struct log_store **out, struct err *e)
{
    struct log_store *s = calloc(1, sizeof(*s));
    int r = 0;

    assert(partitions > 0 && partitions <= LIMIT_PARTITIONS);
    if (!s || !(s->path = strdup(path)))
        abort();
    s->partitions = partitions;
    s->rows = log_store_rows(partitions);
    set_options(s);
    if (!has_store(path))
        r = make_store(s, e);
    if (r == 0)
        r = open_families(s, e);
    if (r == 0)
        r = check_facts(s, e);
    if (r == 0)
        r = make_families(s, e);
    if (r != 0) {
        log_store_close(s);
        return r;
    }
    *out = s;
    return 0;
}

void log_store_close(struct log_store *s)
{
    if (!s)
        return;
    for (uint32_t f = 0; f < FAMILIES; f++)
        if (s->family[f])
            rocksdb_column_family_handle_destroy(s->family[f]);
    if (s->facts)
        rocksdb_column_family_handle_destroy(s->facts);
    if (s->db)
        rocksdb_close(s->db);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_writeoptions_destroy(s->write);
    rocksdb_options_destroy(s->options);
    rocksdb_block_based_options_destroy(s->table);
    rocksdb_cache_destroy(s->cache);
    free(s->path);
    free(s);
}

/* Batches: a log_batch is RocksDB's under a name of ours. */
static rocksdb_writebatch_t *native(struct log_batch *b)
{
    return (rocksdb_writebatch_t *)b;
}

struct log_batch *log_batch_new(void)
{
    return (struct log_batch *)rocksdb_writebatch_create();
}

void log_batch_free(struct log_batch *b)
{
    if (b)
        rocksdb_writebatch_destroy(native(b));
}

void log_batch_clear(struct log_batch *b)
{
    rocksdb_writebatch_clear(native(b));
}

void log_batch_put(struct log_batch *b, struct log_store *s, uint32_t row, int64_t offset, struct str value)
{
    char key[KEY];

    log_store_key(row, offset, key);
    rocksdb_writebatch_put_cf(native(b), log_store_family(s, row), key, KEY, value.p, value.n);
}

void log_batch_drop(struct log_batch *b, struct log_store *s, uint32_t row, int64_t below)
{
    char from[KEY], to[KEY];

    log_store_key(row, 0, from);
    log_store_key(row, below, to);
    rocksdb_writebatch_delete_range_cf(native(b), log_store_family(s, row), from, KEY, to, KEY);
}

void log_batch_put_fact(struct log_batch *b, struct log_store *s, struct str name, struct str value)
{
    rocksdb_writebatch_put_cf(native(b), s->facts, name.p, name.n, value.p, value.n);
}

void log_batch_delete_fact(struct log_batch *b, struct log_store *s, struct str name)
{
    rocksdb_writebatch_delete_cf(native(b), s->facts, name.p, name.n);
}

int log_store_commit(struct log_store *s, struct log_batch *b, struct err *e)
{
    char *text = NULL;

    rocksdb_write(s->db, s->write, native(b), &text);
    return text ? log_store_failed(s, "writing to the log in", text, e) : 0;
}

/* Failing only leaves the files for a later round. */
void log_store_drop_files(struct log_store *s, uint32_t row, int64_t below)
{
    char from[KEY], to[KEY], *text = NULL;

    log_store_key(row, 0, from);
    log_store_key(row, below, to);
    rocksdb_delete_file_in_range_cf(s->db, log_store_family(s, row), from, KEY, to, KEY, &text);
    rocksdb_free(text);
}

int log_store_flush(struct log_store *s, struct err *e)
{
    rocksdb_flushoptions_t *o = rocksdb_flushoptions_create();
    int r = 0;

    rocksdb_flushoptions_set_wait(o, 1);
    for (uint32_t f = 0; f <= families(s) && r == 0; f++) {
        char *text = NULL;

        rocksdb_flush_cf(s->db, o, f < families(s) ? s->family[f] : s->facts, &text);
        r = text ? log_store_failed(s, "moving records to the files of", text, e) : 0;
    }
    rocksdb_flushoptions_destroy(o);
    return r;
}

int log_store_fact(struct log_store *s, struct str name, struct buf *out, struct err *e)
{
    char *text = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(s->db, s->read, s->facts, name.p, name.n, &text);

    if (text)
        return log_store_failed(s, "reading the log in", text, e);
    if (!slice)
        return -ENOENT;
    size_t n;
    const char *p = rocksdb_pinnableslice_value(slice, &n);
    buf_reset(out);
    bool fits = buf_add(out, p, n);
    rocksdb_pinnableslice_destroy(slice);
    return fits ? 0 : -EBADMSG;
}

struct log_iter {
    rocksdb_iterator_t *native;
    const struct log_store *store;
    uint32_t row;
};

static struct log_iter *new_iter(struct log_store *s, rocksdb_column_family_handle_t *family, uint32_t row)
{
    struct log_iter *i = malloc(sizeof(*i));

    if (!i)
        abort();
    *i = (struct log_iter){rocksdb_create_iterator_cf(s->db, s->read, family), s, row};
    return i;
}

struct log_iter *log_iter_new(struct log_store *s, uint32_t row)
{
    return new_iter(s, log_store_family(s, row), row);
}

struct log_iter *log_iter_new_facts(struct log_store *s)
{
    return new_iter(s, s->facts, 0);
}

void log_iter_free(struct log_iter *i)
{
    if (!i)
        return;
    rocksdb_iter_destroy(i->native);
    free(i);
}

void log_iter_seek(struct log_iter *i, int64_t offset)
{
    char key[KEY];

    log_store_key(i->row, offset, key);
    rocksdb_iter_seek(i->native, key, KEY);
}

void log_iter_seek_fact(struct log_iter *i, struct str name)
{
    rocksdb_iter_seek(i->native, name.p, name.n);
}

void log_iter_seek_last(struct log_iter *i)
{
    char key[KEY];

    log_store_key(i->row, INT64_MAX, key);
    rocksdb_iter_seek_for_prev(i->native, key, KEY);
}

void log_iter_next(struct log_iter *i)
{
    rocksdb_iter_next(i->native);
}

int log_iter_at_fact(struct log_iter *i, struct str *name, struct str *value, struct err *e)
{
    if (!rocksdb_iter_valid(i->native)) {
        char *text = NULL;

        rocksdb_iter_get_error(i->native, &text);
        return text ? log_store_failed(i->store, "reading the log in", text, e) : 0;
    }
    name->p = rocksdb_iter_key(i->native, &name->n);
    value->p = rocksdb_iter_value(i->native, &value->n);
    return 1;
}

int log_iter_at(struct log_iter *i, int64_t *offset, struct str *value, struct err *e)
{
    struct str key, found;
    uint32_t row;
    uint64_t v;
    int r = log_iter_at_fact(i, &key, &found, e);

    if (r != 1)
        return r;
    if (key.n != KEY) {
        err_set(e, "the log in %s has a key that is none", i->store->path);
        return -EBADMSG;
    }
    memcpy(&row, key.p, sizeof(row));
    memcpy(&v, key.p + sizeof(row), sizeof(v));
    if (be32toh(row) != i->row)
        return 0;
    *offset = (int64_t)be64toh(v);
    *value = found;
    return 1;
}
