/* RocksDB behind store.h. Called by fold workers (writes) and look-up threads (reads); RocksDB's own threads compact.
 */
#include "profiler/store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/limits.h"
#include "proto/keys.h"

enum {
    INFO_LOG_SILENT = 4,
    BLOOM_BITS = 10,
    BLOCK_BYTES = 16384,
    FORMAT_VERSION = 5,
    NAME_BYTES = 16,
    PATH_BYTES = 4096
};
/* Sorted files of a family above which a commit waits for compaction, up to a second. */
enum { FILES_MAX = 40, COMPACTION_WAITS = 100, COMPACTION_WAIT_NS = 10000000 };

#define HUGE_PAGE_BYTES (2 * MIB)
#define BATCH_BLOCK_BYTES (4 * MIB)
#define BATCH_SMALL_BYTES (64 * KIB)

struct store {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_column_family_handle_t **families; /* partitions, then the shared one */
    uint32_t partitions, found;
    rocksdb_ingestexternalfileoptions_t *ingest;
    rocksdb_envoptions_t *env;
    char *path;
    rocksdb_readoptions_t *read;
};

struct store_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
};

struct store_snapshot {
    const rocksdb_snapshot_t *s;
    rocksdb_readoptions_t *read;
};

/* RocksDB's words become an errno; takes the text. */
static int failed(char *text, struct err *e)
{
    bool full = strstr(text, "No space left") || strstr(text, "Out of space") || strstr(text, "quota");

    err_set(e, "%s", text);
    if (e)
        e->retriable = full;
    rocksdb_free(text);
    return full ? -ENOSPC : -EIO;
}

static void file_name(const struct store *s, uint32_t family, char *to)
{
    snprintf(to, PATH_BYTES, "%s/commit-%u.new", s->path, (unsigned)family);
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static rocksdb_options_t *make_options(const struct store_options *o, rocksdb_cache_t *cache)
{
    rocksdb_options_t *r = rocksdb_options_create();
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_universal_compaction_options_t *u = rocksdb_universal_compaction_options_create();

    rocksdb_options_set_create_if_missing(r, !o->read_only);
    /* A talkative RocksDB ends the process on a full disk. */
    rocksdb_options_set_info_log_level(r, INFO_LOG_SILENT);
    rocksdb_options_set_max_background_jobs(r, 2);
    rocksdb_options_set_compression(r, rocksdb_lz4_compression);
    rocksdb_options_set_compaction_style(r, rocksdb_universal_compaction);
    rocksdb_options_set_universal_compaction_options(r, u);
    rocksdb_options_set_prefix_extractor(r, rocksdb_slicetransform_create_fixed_prefix(KEY_PREFIX_BYTES));
    rocksdb_block_based_options_set_block_size(t, BLOCK_BYTES);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_filter_policy(t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(t, 1);
    rocksdb_block_based_options_set_format_version(t, FORMAT_VERSION);
    rocksdb_options_set_block_based_table_factory(r, t);
    rocksdb_block_based_options_destroy(t);
    rocksdb_universal_compaction_options_destroy(u);
    return r;
}

/* Whether another process has the folder open: a read-only open does not ask. */
static bool is_locked(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char name[4096];
    int fd;
    bool held;

    snprintf(name, sizeof name, "%s/LOCK", path);
    fd = open(name, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    held = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
    close(fd);
    return held;
}

static void family_name(char *to, uint32_t partition)
{
    snprintf(to, NAME_BYTES, "p%u", (unsigned)partition);
}

/* The number of partition families on disk, or a negative errno; 0 when there is no database. */
static int families_on_disk(const struct store_options *o, const rocksdb_options_t *options, struct err *e)
{
    char name[4096], *text = NULL, **names;
    size_t n = 0;

    snprintf(name, sizeof name, "%s/CURRENT", o->path);
    if (access(name, F_OK) != 0)
        return 0;
    names = rocksdb_list_column_families(options, o->path, &n, &text);
    if (text)
        return failed(text, e);
    rocksdb_list_column_families_destroy(names, n);
    return (int)n - 1;
}

struct family_list {
    char (*text)[NAME_BYTES];
    const char **names;
    const rocksdb_options_t **options;
    rocksdb_column_family_handle_t **handles;
};

static void list_deinit(struct family_list *l)
{
    free(l->text);
    free(l->names);
    free(l->options);
    free(l->handles);
}

static bool list_init(struct family_list *l, uint32_t partitions, const rocksdb_options_t *options)
{
    l->text = calloc(partitions + 1, sizeof *l->text);
    l->names = calloc(partitions + 1, sizeof *l->names);
    l->options = calloc(partitions + 1, sizeof *l->options);
    l->handles = calloc(partitions + 1, sizeof *l->handles);
    if (!l->text || !l->names || !l->options || !l->handles) {
        list_deinit(l);
        return false;
    }
    for (uint32_t i = 0; i < partitions; i++)
        family_name(l->text[i], i);
    snprintf(l->text[partitions], NAME_BYTES, "default");
    for (uint32_t i = 0; i <= partitions; i++) {
        l->names[i] = l->text[i];
        l->options[i] = options;
    }
    return true;
}

static int open_families(struct store *s, const struct store_options *o, struct err *e)
{
    struct family_list l = {0};
    char *text = NULL;

    if (!list_init(&l, s->found, s->options))
        return -ENOMEM;
    if (o->read_only)
        s->db = rocksdb_open_for_read_only_column_families(s->options, o->path, (int)s->found + 1, l.names, l.options,
                                                           l.handles, 0, &text);
    else
        s->db =
            rocksdb_open_column_families(s->options, o->path, (int)s->found + 1, l.names, l.options, l.handles, &text);
    if (!text) {
        memcpy(s->families, l.handles, s->found * sizeof(rocksdb_column_family_handle_t *));
        s->families[s->partitions] = l.handles[s->found];
    }
    list_deinit(&l);
    if (!text)
        return 0;
    if (strstr(text, "LOCK") || strstr(text, "lock")) {
        err_set(e, "the state in %s is in use by another process", o->path);
        rocksdb_free(text);
        return -EBUSY;
    }
    return failed(text, e);
}

int store_make_families(struct store *s, struct err *e)
{
    char name[NAME_BYTES], *text = NULL;

    for (uint32_t i = s->found; i < s->partitions; i++) {
        family_name(name, i);
        s->families[i] = rocksdb_create_column_family(s->db, s->options, name, &text);
        if (text)
            return failed(text, e);
        s->found = i + 1;
    }
    return 0;
}

/* What a commit left that was not finished. */
static void remove_leftovers(const struct store *s)
{
    char name[PATH_BYTES];

    for (uint32_t i = 0; i < s->partitions; i++) {
        file_name(s, i, name);
        unlink(name);
    }
    file_name(s, STORE_SHARED, name);
    unlink(name);
}

static int open_db(struct store *s, const struct store_options *o, struct err *e)
{
    int rc = families_on_disk(o, s->options, e);

    if (rc < 0)
        return rc;
    s->found = (uint32_t)rc;
    if (o->read_only && s->found == 0) {
        err_set(e, "there is no state in %s", o->path);
        return -ENOENT;
    }
    if (o->read_only && is_locked(o->path)) {
        err_set(e, "the state in %s is in use by another process", o->path);
        return -EBUSY;
    }
    if (s->found > s->partitions || (o->read_only && s->found < s->partitions)) {
        err_set(e,
                "the state in %s has %u partitions, not %u: use the number it was made with, or remove the folder "
                "to have it rebuilt from the log",
                o->path, (unsigned)s->found, (unsigned)s->partitions);
        return -EINVAL;
    }
    rc = open_families(s, o, e);
    if (rc == 0 && !o->read_only)
        remove_leftovers(s);
    return rc;
}

int store_open(const struct store_options *o, struct store **out, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return -ENOMEM;
    s->partitions = o->partitions;
    s->cache = rocksdb_cache_create_lru(o->block_cache_bytes);
    s->options = make_options(o, s->cache);
    s->families = calloc(o->partitions + 1, sizeof(*s->families));
    s->env = rocksdb_envoptions_create();
    s->ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(s->ingest, 1);
    s->path = strdup(o->path);
    s->read = rocksdb_readoptions_create();
    if (!s->families || !s->path)
        rc = -ENOMEM;
    else if (!o->read_only && mkdir(o->path, 0700) != 0 && errno != EEXIST)
        rc = -errno, err_set(e, "cannot make %s: %s", o->path, strerror(-rc));
    else
        rc = open_db(s, o, e);
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; s->families && i <= s->partitions; i++)
        if (s->families[i])
            rocksdb_column_family_handle_destroy(s->families[i]);
    if (s->db)
        rocksdb_close(s->db);
    free(s->families);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_ingestexternalfileoptions_destroy(s->ingest);
    rocksdb_envoptions_destroy(s->env);
    free(s->path);
    rocksdb_options_destroy(s->options);
    rocksdb_cache_destroy(s->cache);
    free(s);
}

static rocksdb_column_family_handle_t *family_of(const struct store *s, uint32_t family)
{
    assert(family < s->partitions || family == STORE_SHARED);
    return s->families[family == STORE_SHARED ? s->partitions : family];
}

/* --- reading -------------------------------------------------------------------------------------------------- */

int store_get(struct store *s, uint32_t family, struct str key, const struct store_snapshot *snap,
              struct store_value *out, struct err *e)
{
    char *text = NULL;
    rocksdb_pinnableslice_t *pin =
        rocksdb_get_pinned_cf(s->db, snap ? snap->read : s->read, family_of(s, family), key.p, key.n, &text);
    size_t n;

    if (text)
        return failed(text, e);
    if (!pin)
        return STORE_NOT_FOUND;
    out->pin = pin;
    out->bytes.p = rocksdb_pinnableslice_value(pin, &n);
    out->bytes.n = n;
    return 0;
}

void store_value_free(struct store_value *v)
{
    if (v->pin)
        rocksdb_pinnableslice_destroy(v->pin);
    v->pin = NULL;
}

struct store_snapshot *store_snapshot_new(struct store *s)
{
    struct store_snapshot *snap = malloc(sizeof *snap);

    if (!snap)
        return NULL;
    snap->s = rocksdb_create_snapshot(s->db);
    snap->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snap->read, snap->s);
    return snap;
}

void store_snapshot_free(struct store *s, struct store_snapshot *snap)
{
    if (!snap)
        return;
    rocksdb_readoptions_destroy(snap->read);
    rocksdb_release_snapshot(s->db, snap->s);
    free(snap);
}

struct store_iter *store_iter_new(struct store *s, uint32_t family, const struct store_snapshot *snap, bool prefix_scan)
{
    struct store_iter *it = malloc(sizeof *it);

    if (!it)
        return NULL;
    it->read = rocksdb_readoptions_create();
    if (snap)
        rocksdb_readoptions_set_snapshot(it->read, snap->s);
    rocksdb_readoptions_set_total_order_seek(it->read, !prefix_scan);
    it->it = rocksdb_create_iterator_cf(s->db, it->read, family_of(s, family));
    return it;
}

void store_iter_free(struct store_iter *it)
{
    if (!it)
        return;
    rocksdb_iter_destroy(it->it);
    rocksdb_readoptions_destroy(it->read);
    free(it);
}

void store_iter_seek(struct store_iter *it, struct str key)
{
    rocksdb_iter_seek(it->it, key.p, key.n);
}

void store_iter_seek_back(struct store_iter *it, struct str key)
{
    rocksdb_iter_seek_for_prev(it->it, key.p, key.n);
}

void store_iter_next(struct store_iter *it)
{
    rocksdb_iter_next(it->it);
}

bool store_iter_at(struct store_iter *it, struct str *key, struct str *value)
{
    if (!rocksdb_iter_valid(it->it))
        return false;
    key->p = rocksdb_iter_key(it->it, &key->n);
    if (value)
        value->p = rocksdb_iter_value(it->it, &value->n);
    return true;
}

int store_iter_status(struct store_iter *it, struct err *e)
{
    char *text = NULL;

    rocksdb_iter_get_error(it->it, &text);
    return text ? failed(text, e) : 0;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

/* A batch is put down as one sorted file and taken in whole: no memtable, no second copy, and on disk when that has
 * returned. Keys and values stand in blocks that are used again. */
struct block {
    struct block *next;
    size_t size, used;
    char bytes[];
};

struct record {
    struct str key, value; /* value absent: a deletion */
    size_t place;          /* in the order of adding */
};

struct store_batch {
    struct block *full, *spare;
    struct record *records;
    size_t n, cap, bytes;
    uint32_t family;
    bool failed; /* memory was out */
};

struct store_batch *store_batch_new(uint32_t family)
{
    struct store_batch *b = calloc(1, sizeof *b);

    if (b)
        b->family = family;
    return b;
}

static void blocks_free(struct block *b)
{
    struct block *next;

    for (; b; b = next) {
        next = b->next;
        free(b);
    }
}

void store_batch_free(struct store_batch *b)
{
    if (!b)
        return;
    blocks_free(b->full);
    blocks_free(b->spare);
    free(b->records);
    free(b);
}

void store_batch_clear(struct store_batch *b)
{
    while (b->full) {
        struct block *next = b->full->next;

        b->full->next = b->spare;
        b->spare = b->full;
        b->full = next;
    }
    b->n = b->bytes = 0;
    b->failed = false;
}

static struct block *block_new(struct store_batch *b, size_t n)
{
    size_t whole = b->bytes < BATCH_BLOCK_BYTES / 4 ? BATCH_SMALL_BYTES : BATCH_BLOCK_BYTES;
    void *p;

    if (b->spare && b->spare->size >= n) {
        struct block *k = b->spare;

        b->spare = k->next;
        return k;
    }
    if (n + sizeof(struct block) > whole)
        whole = n + sizeof(struct block);
    if (posix_memalign(&p, whole < BATCH_BLOCK_BYTES ? 64 : HUGE_PAGE_BYTES, whole) != 0)
        return NULL;
    if (whole >= BATCH_BLOCK_BYTES)
        madvise(p, whole, MADV_HUGEPAGE);
    ((struct block *)p)->size = whole - sizeof(struct block);
    return p;
}

static struct str keep(struct store_batch *b, struct str bytes)
{
    struct block *k = b->full;
    char *to;

    if (!k || k->size - k->used < bytes.n) {
        k = block_new(b, bytes.n);
        if (!k) {
            b->failed = true;
            return STR_NONE;
        }
        k->used = 0;
        k->next = b->full;
        b->full = k;
    }
    to = k->bytes + k->used;
    if (bytes.n)
        memcpy(to, bytes.p, bytes.n);
    k->used += bytes.n;
    b->bytes += bytes.n;
    return (struct str){to, bytes.n};
}

static void add(struct store_batch *b, struct str key, struct str value, bool deletion)
{
    if (b->n == b->cap) {
        size_t cap = b->cap ? 2 * b->cap : 64;
        struct record *more = realloc(b->records, cap * sizeof *more);

        if (!more) {
            b->failed = true;
            return;
        }
        b->records = more;
        b->cap = cap;
    }
    b->records[b->n] = (struct record){keep(b, key), deletion ? STR_NONE : keep(b, value), b->n};
    b->n++;
}

void store_batch_put(struct store_batch *b, struct str key, struct str value)
{
    add(b, key, value, false);
}

void store_batch_delete(struct store_batch *b, struct str key)
{
    add(b, key, STR_NONE, true);
}

size_t store_batch_bytes(const struct store_batch *b)
{
    return b->bytes;
}

/* By key, then in the order of adding. */
static int compare_records(const void *x, const void *y)
{
    const struct record *a = x, *b = y;
    int c = str_cmp(a->key, b->key);

    return c ? c : (a->place > b->place) - (a->place < b->place);
}

/* Of several records of one key the last one stands. */
static char *write_records(rocksdb_sstfilewriter_t *w, const struct store_batch *b)
{
    char *text = NULL;

    for (size_t i = 0; i < b->n && !text; i++) {
        const struct record *r = &b->records[i];

        if (i + 1 < b->n && str_eq(r->key, r[1].key))
            continue;
        if (str_has(r->value))
            rocksdb_sstfilewriter_put(w, r->key.p, r->key.n, r->value.p, r->value.n, &text);
        else
            rocksdb_sstfilewriter_delete(w, r->key.p, r->key.n, &text);
    }
    return text;
}

/* Writes the file and waits until it is on disk. */
static char *write_file(struct store *s, const struct store_batch *b, const char *name)
{
    rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(s->env, s->options);
    char *text = NULL;

    rocksdb_sstfilewriter_open(w, name, &text);
    if (!text)
        text = write_records(w, b);
    if (!text)
        rocksdb_sstfilewriter_finish(w, &text);
    rocksdb_sstfilewriter_destroy(w);
    return text;
}

/* Files that are taken in know no stall of writes: when compaction falls behind, the one who commits waits a little, or
 * reading would have to look into more and more of them. */
static void wait_for_compaction(struct store *s, uint32_t family)
{
    uint64_t files = 0;

    for (int i = 0; i < COMPACTION_WAITS; i++) {
        struct timespec pause = {0, COMPACTION_WAIT_NS};

        if (rocksdb_property_int_cf(s->db, family_of(s, family), "rocksdb.num-files-at-level0", &files) != 0 ||
            files <= FILES_MAX)
            return;
        nanosleep(&pause, NULL);
    }
}

int store_write(struct store *s, struct store_batch *b, struct err *e)
{
    char name[PATH_BYTES], *text;
    const char *names[] = {name};

    if (b->failed)
        return -ENOMEM;
    if (b->n > 1)
        qsort(b->records, b->n, sizeof *b->records, compare_records);
    file_name(s, b->family, name);
    text = write_file(s, b, name);
    if (!text)
        rocksdb_ingest_external_file_cf(s->db, family_of(s, b->family), names, 1, s->ingest, &text);
    if (text) {
        unlink(name);
        return failed(text, e);
    }
    wait_for_compaction(s, b->family);
    return 0;
}
