/* Backups looked at and found. Commands, and the fold worker of a partition that needs one. */
#include "profiler/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/log.h"

enum { LEVELS = 2 };

/* --- one backup ----------------------------------------------------------------------------------------------- */

static int check_file(const char *state, const struct manifest_file *f, const struct copy_progress *p, struct err *e)
{
    unsigned char hash[MANIFEST_HASH_BYTES];
    char path[COPY_PATH_BYTES];
    uint64_t size = 0;
    struct stat st;
    int rc = copy_path(path, state, f->name, e);

    if (rc < 0)
        return rc;
    if (lstat(path, &st) != 0 && errno == ENOENT) {
        err_set(e, "%.200s is missing", path);
        return -EBADMSG;
    }
    rc = copy_hash(path, NULL, p, hash, &size, e);
    if (rc == -EINVAL)
        return -EBADMSG;
    if (rc == 0 && size != f->size) {
        err_set(e, "%.180s is damaged: it has %llu bytes, not %llu", path, (unsigned long long)size,
                (unsigned long long)f->size);
        rc = -EBADMSG;
    } else if (rc == 0 && memcmp(hash, f->hash, sizeof hash) != 0) {
        err_set(e, "%.180s is damaged: its hash is not that of the manifest", path);
        rc = -EBADMSG;
    }
    return rc;
}

static int compare_names(const void *a, const void *b)
{
    const struct manifest_file *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

static int compare_name(const void *name, const void *file)
{
    const struct manifest_file *const *f = file;

    return strcmp(name, (*f)->name);
}

struct listed {
    const char *state;
    const struct manifest_file **by_name;
    size_t n;
};

static int must_be_listed(void *arg, const char *name, struct err *e)
{
    const struct listed *l = arg;

    if (bsearch(name, l->by_name, l->n, sizeof *l->by_name, compare_name))
        return 0;
    err_set(e, "%.150s/%.80s does not belong to the backup", l->state, name);
    return -EBADMSG;
}

/* RocksDB would take some files that it finds for its own. */
static int check_none_beside(const char *state, const struct manifest *m, struct err *e)
{
    struct listed l = {state, calloc(m->file_count + 1, sizeof(*l.by_name)), m->file_count};
    int rc = l.by_name ? 0 : -ENOMEM;

    for (size_t i = 0; rc == 0 && i < m->file_count; i++)
        l.by_name[i] = &m->files[i];
    if (rc == 0 && l.n > 1)
        qsort(l.by_name, l.n, sizeof *l.by_name, compare_names);
    if (rc == 0)
        rc = copy_each_file(state, must_be_listed, &l, e);
    free(l.by_name);
    return rc == -EINVAL || rc == -ENOENT ? -EBADMSG : rc;
}

int checkpoint_check(const char *backup, const struct manifest *m, const uint32_t *only, const struct copy_progress *p,
                     struct err *e)
{
    char state[COPY_PATH_BYTES];
    int rc = copy_path(state, backup, MANIFEST_STATE, e);

    if (rc == 0)
        rc = check_none_beside(state, m, e);
    for (size_t i = 0; i < m->file_count && rc == 0; i++) {
        const struct manifest_file *f = &m->files[i];

        if (!only || f->partition == *only || f->partition == MANIFEST_SHARED)
            rc = check_file(state, f, p, e);
    }
    return rc;
}

/* --- all of them ---------------------------------------------------------------------------------------------- */

struct walk {
    checkpoint_visitor *each;
    void *arg;
    size_t seen;
};

static int visit_backup(const struct walk *w, const char *path)
{
    struct manifest *m = NULL;
    struct err why = {0};
    int rc = manifest_read(path, &m, &why);

    if (rc == -ENOMEM)
        return rc;
    rc = w->each(w->arg, path, m, rc < 0 ? &why : NULL);
    manifest_free(m);
    return rc;
}

/* Names that begin with a dot are those of backups being made. */
static int walk_folder(struct walk *w, const char *folder, int levels, struct err *e)
{
    char path[COPY_PATH_BYTES], manifest[COPY_PATH_BYTES];
    const struct dirent *f;
    DIR *d = opendir(folder);
    int rc = 0;

    if (!d && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (!d) {
        rc = -errno;
        err_set(e, "cannot read the folder %.180s: %s", folder, strerror(-rc));
        return rc;
    }
    while (rc == 0 && (f = readdir(d)) != NULL && w->seen < LIMIT_BACKUPS) {
        if (f->d_name[0] == '.' || copy_path(path, folder, f->d_name, NULL) < 0 ||
            copy_path(manifest, path, MANIFEST_NAME, NULL) < 0)
            continue;
        w->seen++;
        if (access(manifest, F_OK) == 0)
            rc = visit_backup(w, path);
        else if (levels > 1)
            rc = walk_folder(w, path, levels - 1, e);
    }
    closedir(d);
    return rc;
}

int checkpoint_each(const char *folder, checkpoint_visitor *each, void *arg, struct err *e)
{
    struct walk w = {each, arg, 0};

    return walk_folder(&w, folder, LEVELS, e);
}

/* --- finding one ---------------------------------------------------------------------------------------------- */

struct candidate {
    char *path;
    int64_t offset, made_at; /* the state's own; wall ms */
};

struct search {
    const struct checkpoint_log *log;
    uint32_t partition;
    int64_t log_begin;
    int64_t base; /* the greatest that was seen */
    struct candidate *v;
    size_t n, cap;
};

struct checkpoint_log checkpoint_log_of(const struct conf *conf)
{
    return (struct checkpoint_log){.event_log = conf->kafka ? "kafka" : "embedded",
                                   .topic_prefix = conf->kafka ? conf->topic_prefix : "",
                                   .partitions = conf->partitions};
}

static bool is_of_log(const struct manifest *m, const struct checkpoint_log *log)
{
    return strcmp(m->event_log, log->event_log) == 0 && strcmp(m->topic_prefix, log->topic_prefix) == 0 &&
           m->partition_count == log->partitions;
}

static void forget(struct search *s)
{
    while (s->n > 0)
        free(s->v[--s->n].path);
}

static int consider(void *arg, const char *path, const struct manifest *m, const struct err *why)
{
    struct search *s = arg;
    const struct manifest_partition *p = m ? manifest_partition(m, s->partition) : NULL;

    if (!m)
        log_warn("profiler: a backup is passed over: %s", why->text);
    if (!p || !is_of_log(m, s->log) || p->base < s->base)
        return 0;
    if (p->base > s->base)
        forget(s);
    s->base = p->base;
    if (p->offset < s->log_begin)
        return 0;
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct candidate *more = realloc(s->v, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        s->v = more;
        s->cap = cap;
    }
    s->v[s->n] = (struct candidate){strdup(path), p->base + p->offset, m->made_at};
    if (!s->v[s->n].path)
        return -ENOMEM;
    s->n++;
    return 0;
}

/* The greatest offset first; of equals the youngest. */
static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset > y->offset ? -1 : 1;
    return (x->made_at < y->made_at) - (x->made_at > y->made_at);
}

static int check_candidate(const struct candidate *c, uint32_t partition, struct err *e)
{
    struct manifest *m = NULL;
    int rc = manifest_read(c->path, &m, e);

    if (rc == 0)
        rc = checkpoint_check(c->path, m, &partition, NULL, e);
    manifest_free(m);
    return rc;
}

static int choose(struct search *s, char *path, size_t size, int64_t *offset, struct err *e)
{
    struct err why;

    if (s->n > 1)
        qsort(s->v, s->n, sizeof *s->v, compare_candidates);
    for (size_t i = 0; i < s->n; i++) {
        const struct candidate *c = &s->v[i];
        int rc = check_candidate(c, s->partition, &why);

        if (rc < 0) {
            log_warn("profiler: partition %u: the backup %s is passed over: %s", (unsigned)s->partition, c->path,
                     why.text);
            continue;
        }
        if ((size_t)snprintf(path, size, "%s/%s", c->path, MANIFEST_STATE) >= size) {
            err_set(e, "the path is too long: %.200s", c->path);
            return -ENAMETOOLONG;
        }
        *offset = c->offset;
        return 0;
    }
    return CHECKPOINT_NONE;
}

int checkpoint_find(const char *folder, const struct checkpoint_log *log, uint32_t partition, int64_t log_begin,
                    int64_t base, char *path, size_t size, int64_t *offset, struct err *e)
{
    struct search s = {.log = log, .partition = partition, .log_begin = log_begin, .base = base};
    int rc = checkpoint_each(folder, consider, &s, e);

    if (rc == 0)
        rc = choose(&s, path, size, offset, e);
    forget(&s);
    free(s.v);
    return rc;
}

int checkpoint_newest(const char *folder, const struct checkpoint_log *log, uint32_t partition, char *path, size_t size,
                      int64_t *offset, struct err *e)
{
    struct search s = {.log = log, .partition = partition};
    int rc = checkpoint_each(folder, consider, &s, e);

    if (rc == 0 && s.n == 0)
        rc = CHECKPOINT_NONE;
    if (rc == 0) {
        qsort(s.v, s.n, sizeof *s.v, compare_candidates);
        snprintf(path, size, "%s", s.v[0].path);
        *offset = s.v[0].offset;
    }
    forget(&s);
    free(s.v);
    return rc;
}
