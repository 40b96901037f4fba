/* Copies of the store, and partitions filled anew. Copies on any thread; a partition is filled by its worker. */
#include <assert.h>
#include <errno.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/limits.h"
#include "profiler/store_inside.h"
#include "profiler/store_names.h"

/* Of one file of those that fill a partition. */
#define FILL_FILE_BYTES (128 * MIB)

/* --- copies --------------------------------------------------------------------------------------------------- */

int store_copy(struct store *s, const char *folder, struct err *e)
{
    char *text = NULL;
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(s->db, &text);

    if (!text)
        rocksdb_checkpoint_create(c, folder, 0, &text);
    if (c)
        rocksdb_checkpoint_object_destroy(c);
    return text ? store_failed(text, e) : 0;
}

void store_files(struct store *s, store_file_visitor *each, void *arg)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(s->db);

    for (int i = 0; i < rocksdb_livefiles_count(files); i++) {
        const char *file = rocksdb_livefiles_name(files, i);
        struct store_name name;

        if (!store_name_read(rocksdb_livefiles_column_family_name(files, i), &name))
            name.partition = STORE_SHARED;
        each(arg, file + (*file == '/'), name.partition);
    }
    rocksdb_livefiles_destroy(files);
}

/* --- filling a partition anew --------------------------------------------------------------------------------- */

struct store_filler {
    struct store *s;
    uint32_t partition;
    rocksdb_column_family_handle_t *family; /* that is to take the place; NULL: it has */
    rocksdb_sstfilewriter_t *w;             /* of the last file; NULL: none is open */
    char (*files)[STORE_PATH_BYTES];
    size_t n, cap;
};

int store_filler_new(struct store *s, uint32_t partition, struct store_filler **out, struct err *e)
{
    struct store_name name = {partition, atomic_fetch_add(&s->generation, 1) + 1};
    struct store_filler *f = calloc(1, sizeof *f);
    char text[STORE_NAME_BYTES], *why = NULL;

    assert(partition < s->partitions);
    if (!f)
        return -ENOMEM;
    *f = (struct store_filler){.s = s, .partition = partition};
    store_name_write(name, text);
    f->family = rocksdb_create_column_family(s->db, s->options, text, &why);
    if (why) {
        f->family = NULL;
        store_filler_free(f);
        return store_failed(why, e);
    }
    *out = f;
    return 0;
}

static char *end_file(struct store_filler *f)
{
    char *text = NULL;

    if (f->w)
        rocksdb_sstfilewriter_finish(f->w, &text);
    if (f->w)
        rocksdb_sstfilewriter_destroy(f->w);
    f->w = NULL;
    return text;
}

static int begin_file(struct store_filler *f, struct err *e)
{
    char *text = NULL;

    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 4;
        void *more = realloc(f->files, cap * sizeof *f->files);

        if (!more)
            return -ENOMEM;
        f->files = more;
        f->cap = cap;
    }
    store_new_file(f->s->path, f->partition, f->n + 1, f->files[f->n]);
    f->w = rocksdb_sstfilewriter_create(f->s->env, f->s->options);
    rocksdb_sstfilewriter_open(f->w, f->files[f->n++], &text);
    return text ? store_failed(text, e) : 0;
}

int store_filler_put(struct store_filler *f, struct str key, struct str value, struct err *e)
{
    uint64_t bytes = 0;
    char *text = NULL;
    int rc = 0;

    if (f->w)
        rocksdb_sstfilewriter_file_size(f->w, &bytes);
    if (bytes >= FILL_FILE_BYTES)
        text = end_file(f);
    if (!text && !f->w)
        rc = begin_file(f, e);
    if (!text && rc == 0)
        rocksdb_sstfilewriter_put(f->w, key.p, key.n, value.p, value.n, &text);
    return text ? store_failed(text, e) : rc;
}

int store_filler_end(struct store_filler *f, struct err *e)
{
    const char **names = calloc(f->n + 1, sizeof *names);
    char *text = names ? end_file(f) : NULL;

    if (!names)
        return -ENOMEM;
    for (size_t i = 0; i < f->n; i++)
        names[i] = f->files[i];
    if (!text && f->n > 0)
        rocksdb_ingest_external_file_cf(f->s->db, f->family, names, f->n, f->s->ingest, &text);
    free(names);
    return text ? store_failed(text, e) : 0;
}

void store_filler_swap(struct store_filler *f)
{
    rocksdb_column_family_handle_t **at = &f->s->families[f->partition];

    store_compact_halt(f->s);
    store_drop(f->s, *at, false);
    *at = f->family;
    f->family = NULL;
    atomic_fetch_add(&f->s->writes[f->partition], 1);
    store_compact_go_on(f->s);
}

void store_filler_free(struct store_filler *f)
{
    if (!f)
        return;
    if (f->w)
        rocksdb_sstfilewriter_destroy(f->w);
    for (size_t i = 0; i < f->n; i++)
        unlink(f->files[i]);
    free(f->files);
    if (f->family)
        store_drop(f->s, f->family, false);
    free(f);
}
