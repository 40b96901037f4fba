/* RocksDB behind store.h: opening, reading, writing. Called by fold workers (writes) and look-up threads (reads);
 * RocksDB's own threads compact. */
#include "profiler/store.h"

#include <assert.h>
#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/limits.h"
#include "profiler/store_batch.h"
#include "profiler/store_inside.h"
#include "profiler/store_names.h"
#include "proto/keys.h"

enum { INFO_LOG_SILENT = 4, BLOOM_BITS = 10, BLOCK_BYTES = 16384, FORMAT_VERSION = 5 };
/* Sorted files of a family above which a commit waits for compaction, up to a second. */
enum { FILES_MAX = 40, COMPACTION_WAITS = 100, COMPACTION_WAIT_NS = 10000000 };
struct store_iter {
    rocksdb_iterator_t *it;
    rocksdb_readoptions_t *read;
};

struct store_snapshot {
    const rocksdb_snapshot_t *s;
    rocksdb_readoptions_t *read;
};

int store_failed(char *text, struct err *e)
{
    bool full = strstr(text, "No space left") || strstr(text, "Out of space") || strstr(text, "quota");

    err_set(e, "%s", text);
    if (e)
        e->retriable = full;
    rocksdb_free(text);
    return full ? -ENOSPC : -EIO;
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
    rocksdb_options_set_max_background_jobs(r, 3); /* a family that is written anew does not hold up the others */
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

/* The families on disk that are wanted, and what RocksDB makes of them. The first is the one that all share. */
struct family_list {
    size_t n;
    char (*text)[STORE_NAME_BYTES];
    struct store_name *parsed;
    const char **names;
    const rocksdb_options_t **options;
    rocksdb_column_family_handle_t **handles;
};

static void list_deinit(struct family_list *l)
{
    free(l->text);
    free(l->parsed);
    free(l->names);
    free(l->options);
    free(l->handles);
}

static int list_add(struct family_list *l, const char *text, const struct store_options *o, struct err *e)
{
    struct store_name *name = &l->parsed[l->n];

    if (!store_name_read(text, name)) {
        err_set(e, "the state in %s has a part of unknown name: %.40s", o->path, text);
        return -EINVAL;
    }
    if (o->only && name->partition != *o->only)
        return 0;
    snprintf(l->text[l->n], STORE_NAME_BYTES, "%s", text);
    l->n++;
    return 0;
}

static int list_fill(struct family_list *l, char **names, size_t n, const struct store_options *o,
                     const rocksdb_options_t *options, struct err *e)
{
    int rc = 0;

    l->text = calloc(n + 1, sizeof *l->text);
    l->parsed = calloc(n + 1, sizeof *l->parsed);
    l->names = calloc(n + 1, sizeof *l->names);
    l->options = calloc(n + 1, sizeof *l->options);
    l->handles = calloc(n + 1, sizeof *l->handles);
    if (!l->text || !l->parsed || !l->names || !l->options || !l->handles)
        return -ENOMEM;
    snprintf(l->text[l->n++], STORE_NAME_BYTES, "default");
    for (size_t i = 0; i < n && rc == 0; i++)
        if (strcmp(names[i], "default") != 0)
            rc = list_add(l, names[i], o, e);
    for (size_t i = 0; i < l->n; i++) {
        l->names[i] = l->text[i];
        l->options[i] = options;
    }
    return rc;
}

/* Only the shared one when there is no database. */
static int list_read(struct family_list *l, const struct store_options *o, const rocksdb_options_t *options,
                     struct err *e)
{
    char name[STORE_PATH_BYTES], *text = NULL, **names = NULL;
    size_t n = 0;
    int rc;

    snprintf(name, sizeof name, "%s/CURRENT", o->path);
    if (access(name, F_OK) == 0)
        names = rocksdb_list_column_families(options, o->path, &n, &text);
    if (text)
        return store_failed(text, e);
    rc = list_fill(l, names, n, o, options, e);
    if (names)
        rocksdb_list_column_families_destroy(names, n);
    return rc;
}

/* As many as there must be, and none beyond them. */
static int list_check(const struct family_list *l, const struct store_options *o, struct err *e)
{
    uint32_t end = 0;

    if (o->read_only && l->n == 1) {
        err_set(e, "there is no state in %s", o->path);
        return -ENOENT;
    }
    for (size_t i = 1; i < l->n; i++)
        if (l->parsed[i].partition >= end)
            end = l->parsed[i].partition + 1;
    if (end > o->partitions || (o->read_only && !o->only && end < o->partitions)) {
        err_set(e,
                "the state in %s has %u partitions, not %u: use the number it was made with, or remove the folder "
                "to have it rebuilt from the log",
                o->path, (unsigned)end, (unsigned)o->partitions);
        return -EINVAL;
    }
    return 0;
}

static int open_list(struct store *s, const struct store_options *o, struct family_list *l, struct err *e)
{
    char *text = NULL;

    if (o->read_only)
        s->db = rocksdb_open_for_read_only_column_families(s->options, o->path, (int)l->n, l->names, l->options,
                                                           l->handles, 0, &text);
    else
        s->db = rocksdb_open_column_families(s->options, o->path, (int)l->n, l->names, l->options, l->handles, &text);
    if (!text)
        return 0;
    if (strstr(text, "LOCK") || strstr(text, "lock")) {
        err_set(e, "the state in %s is in use by another process", o->path);
        rocksdb_free(text);
        return -EBUSY;
    }
    return store_failed(text, e);
}

/* A family that was to take another's place is whole when it has an offset: all of it came in one step. */
static int is_whole(const struct store *s, rocksdb_column_family_handle_t *family, struct err *e)
{
    struct key key = key_meta();
    char *text = NULL;
    rocksdb_pinnableslice_t *pin = rocksdb_get_pinned_cf(s->db, s->read, family, (const char *)key.b, key.n, &text);

    if (text)
        return store_failed(text, e);
    if (pin)
        rocksdb_pinnableslice_destroy(pin);
    return pin != NULL;
}

void store_drop(const struct store *s, struct rocksdb_column_family_handle_t *family, bool read_only)
{
    char *text = NULL;

    if (!read_only)
        rocksdb_drop_column_family(s->db, family, &text);
    rocksdb_free(text); /* then the next who opens does it */
    rocksdb_column_family_handle_destroy(family);
}

/* Of two families of a partition the later one that is whole. What is not is that of a process that ended while it
 * filled it. */
static int choose_families(struct store *s, struct family_list *l, bool read_only, struct err *e)
{
    uint32_t generations[LIMIT_PARTITIONS] = {0};
    int rc = 0;

    s->families[s->partitions] = l->handles[0];
    for (size_t i = 1; i < l->n; i++) {
        struct store_name name = l->parsed[i];
        rocksdb_column_family_handle_t **at = &s->families[name.partition], *loser = l->handles[i];
        uint32_t *generation = &generations[name.partition];

        if (name.generation > s->generation)
            s->generation = name.generation;
        if (*at && rc >= 0)
            rc = is_whole(s, name.generation > *generation ? loser : *at, e);
        if (!*at || (rc >= 0 && (rc > 0) == (name.generation > *generation))) {
            loser = *at;
            *at = l->handles[i];
            *generation = name.generation;
        }
        if (loser)
            store_drop(s, loser, read_only || rc < 0);
    }
    return rc < 0 ? rc : 0;
}

static int open_families(struct store *s, const struct store_options *o, struct family_list *l, struct err *e)
{
    int rc = list_read(l, o, s->options, e);

    if (rc == 0)
        rc = list_check(l, o, e);
    if (rc == 0 && o->read_only && store_is_locked(o->path)) {
        err_set(e, "the state in %s is in use by another process", o->path);
        rc = -EBUSY;
    }
    if (rc == 0)
        rc = open_list(s, o, l, e);
    if (rc == 0)
        rc = choose_families(s, l, o->read_only, e);
    return rc;
}

int store_make_families(struct store *s, struct err *e)
{
    char name[STORE_NAME_BYTES], *text = NULL;

    for (uint32_t i = 0; i < s->partitions; i++) {
        if (s->families[i])
            continue;
        store_name_write((struct store_name){i, 0}, name);
        s->families[i] = rocksdb_create_column_family(s->db, s->options, name, &text);
        if (text)
            return store_failed(text, e);
    }
    return 0;
}

/* A file that is taken in and covers nothing gets the sequence number 0, and so does a snapshot while nothing has got a
 * greater one. A compaction that meets both takes what the file holds for hidden and drops it. A file that is taken in
 * beside a snapshot always gets a number of its own: with one that deletes what is not there, 0 is over for good. */
static int leave_sequence_zero(struct store *s, struct err *e)
{
    if (rocksdb_get_latest_sequence_number(s->db) > 0)
        return 0;
    struct store_snapshot *snap = store_snapshot_new(s);
    struct store_batch *b = store_batch_new(STORE_SHARED);
    int rc = -ENOMEM;

    if (snap && b) {
        store_batch_delete(b, STR_LIT("sequence"));
        rc = store_write(s, b, e);
    }
    assert(rc < 0 || rocksdb_get_latest_sequence_number(s->db) > 0);
    store_batch_free(b);
    store_snapshot_free(s, snap);
    return rc;
}

static int open_db(struct store *s, const struct store_options *o, struct err *e)
{
    struct family_list l = {0};
    int rc = open_families(s, o, &l, e);

    list_deinit(&l);
    if (rc == 0 && !o->read_only)
        store_remove_new_files(o->path);
    if (rc == 0 && !o->read_only)
        rc = leave_sequence_zero(s, e);
    return rc;
}

int store_open(const struct store_options *o, struct store **out, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    int rc;

    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->compacting, NULL);
    s->partitions = o->partitions;
    s->cache = rocksdb_cache_create_lru(o->block_cache_bytes);
    s->options = make_options(o, s->cache);
    s->families = calloc(o->partitions + 1, sizeof(*s->families));
    s->writes = calloc(o->partitions + 1, sizeof *s->writes);
    s->compacted = calloc(o->partitions + 1, sizeof *s->compacted);
    s->env = rocksdb_envoptions_create();
    s->ingest = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(s->ingest, 1);
    s->path = strdup(o->path);
    s->read = rocksdb_readoptions_create();
    for (uint32_t i = 0; s->writes && i <= o->partitions; i++)
        atomic_init(&s->writes[i], 1); /* of before it was opened */
    if (!s->families || !s->path || !s->writes || !s->compacted)
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
    free((void *)s->writes);
    free(s->compacted);
    rocksdb_readoptions_destroy(s->read);
    rocksdb_ingestexternalfileoptions_destroy(s->ingest);
    rocksdb_envoptions_destroy(s->env);
    free(s->path);
    rocksdb_options_destroy(s->options);
    rocksdb_cache_destroy(s->cache);
    pthread_mutex_destroy(&s->compacting);
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
        return store_failed(text, e);
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
    return text ? store_failed(text, e) : 0;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

/* A batch is put down as one sorted file and taken in whole: no memtable, no second copy, and on disk when that has
 * returned. */
static char *write_records(rocksdb_sstfilewriter_t *w, const struct batch_record *v, size_t n)
{
    char *text = NULL;

    for (size_t i = 0; i < n && !text; i++) {
        if (str_has(v[i].value))
            rocksdb_sstfilewriter_put(w, v[i].key.p, v[i].key.n, v[i].value.p, v[i].value.n, &text);
        else
            rocksdb_sstfilewriter_delete(w, v[i].key.p, v[i].key.n, &text);
    }
    return text;
}

/* Writes the file and waits until it is on disk. */
static char *write_file(struct store *s, const struct batch_record *v, size_t n, const char *name)
{
    rocksdb_sstfilewriter_t *w = rocksdb_sstfilewriter_create(s->env, s->options);
    char *text = NULL;

    rocksdb_sstfilewriter_open(w, name, &text);
    if (!text)
        text = write_records(w, v, n);
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
    uint32_t family = store_batch_family(b);
    char name[STORE_PATH_BYTES], *text;
    const char *names[] = {name};
    const struct batch_record *v;
    size_t n;
    int rc = store_batch_records(b, &v, &n);

    if (rc < 0)
        return rc;
    store_new_file(s->path, family, 0, name);
    text = write_file(s, v, n, name);
    if (!text)
        rocksdb_ingest_external_file_cf(s->db, family_of(s, family), names, 1, s->ingest, &text);
    if (text) {
        unlink(name);
        return store_failed(text, e);
    }
    atomic_fetch_add(&s->writes[family == STORE_SHARED ? s->partitions : family], 1);
    wait_for_compaction(s, family);
    return 0;
}
