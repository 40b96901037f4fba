/* One backup: a copy of the state in a folder of its own, its files hashed, the manifest written last, the folder
 * renamed into its place. The backup's thread. */
#include "profiler/backup_make.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/limits.h"

static const char MAKING[] = ".making-", REMOVING[] = ".removing-";

#define SMALL_BYTES (64 * MIB) /* a manifest and what a copy by links takes */
#define COPY_CACHE_BYTES (16 * MIB)

struct making {
    const struct backup_order *o;
    char folder[COPY_PATH_BYTES]; /* .making-NAME */
    char state[COPY_PATH_BYTES];  /* in it */
    char from[COPY_PATH_BYTES];   /* where the copy of the state is: there, or on the state's own file system */
    bool links;                   /* the latter */
    bool made;                    /* the folder is there, and ours */
    int lock;                     /* on the folder, so that nobody tidies it away; -1: none */
    struct manifest m;
    struct manifest_file *files;
    size_t cap;
    uint64_t bytes;
};

bool backup_name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              (c == '.' && i > 0)))
            return false;
    }
    return name.n > 0 && name.n <= LIMIT_BACKUP_NAME;
}

/* --- folders -------------------------------------------------------------------------------------------------- */

/* With those above it. */
static int make_folders(const char *path, struct err *e)
{
    char part[COPY_PATH_BYTES];
    int rc = copy_path(part, path, "", e);

    for (char *p = part + 1; rc == 0 && *p; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            rc = -errno;
            err_set(e, "cannot make the folder %.180s: %s", part, strerror(-rc));
        }
        *p = '/';
    }
    return rc;
}

/* What a process that lives works in is locked. */
static void tidy_one(const char *folder, const char *name)
{
    char path[COPY_PATH_BYTES];
    int fd;

    if (copy_path(path, folder, name, NULL) < 0)
        return;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        copy_remove(path);
    close(fd);
}

void backup_tidy(const char *folder)
{
    DIR *d = opendir(folder);
    const struct dirent *f;

    if (!d)
        return;
    while ((f = readdir(d)) != NULL)
        if (strncmp(f->d_name, MAKING, sizeof MAKING - 1) == 0 ||
            strncmp(f->d_name, REMOVING, sizeof REMOVING - 1) == 0)
            tidy_one(folder, f->d_name);
    closedir(d);
}

int backup_remove(const char *folder, const char *name, struct err *e)
{
    char from[COPY_PATH_BYTES], hidden[COPY_PATH_BYTES], to[COPY_PATH_BYTES];
    int rc = copy_path(from, folder, name, e);

    snprintf(hidden, sizeof hidden, "%s%s", REMOVING, name);
    if (rc == 0)
        rc = copy_path(to, folder, hidden, e);
    if (rc == 0)
        rc = copy_rename(from, to, e);
    if (rc == 0)
        copy_remove(to);
    return rc;
}

static int is_other_device(const char *a, const char *b, bool *out, struct err *e)
{
    struct stat x, y;

    if (stat(a, &x) != 0 || stat(b, &y) != 0) {
        int rc = -errno;

        err_set(e, "cannot look at %.90s and %.90s: %s", a, b, strerror(-rc));
        return rc;
    }
    *out = x.st_dev != y.st_dev;
    return 0;
}

static int begin(struct making *m, struct err *e)
{
    const struct backup_order *o = m->o;
    char hidden[COPY_PATH_BYTES], whole[COPY_PATH_BYTES];
    int rc = make_folders(o->folder, e);

    if (rc == 0)
        backup_tidy(o->folder);
    snprintf(hidden, sizeof hidden, "%s%s", MAKING, o->name);
    if (rc == 0)
        rc = copy_path(whole, o->folder, o->name, e);
    if (rc == 0 && access(whole, F_OK) == 0) {
        err_set(e, "there is a backup of that name: %.200s", whole);
        rc = -EEXIST;
    }
    if (rc == 0)
        rc = copy_path(m->folder, o->folder, hidden, e);
    if (rc == 0)
        rc = copy_path(m->state, m->folder, MANIFEST_STATE, e);
    if (rc == 0)
        rc = is_other_device(o->options->path, o->folder, &m->links, e);
    if (rc == 0)
        rc = copy_path(m->from, m->links ? o->options->path : m->folder, m->links ? BACKUP_LINKS : MANIFEST_STATE, e);
    return rc;
}

static int check_space(struct making *m, struct err *e)
{
    const struct backup_order *o = m->o;
    uint64_t bytes = 0;
    int rc = m->links ? copy_folder_bytes(m->from, &bytes, e) : 0;

    if (rc == 0)
        rc = copy_check_space(o->folder, bytes + SMALL_BYTES, o->reserve_bytes, e);
    return rc;
}

static int make_folder(struct making *m, struct err *e)
{
    int rc = copy_make_folder(m->folder, e);

    if (rc < 0)
        return rc == -EEXIST ? -EBUSY : rc;
    m->made = true;
    m->lock = open(m->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (m->lock >= 0)
        flock(m->lock, LOCK_EX | LOCK_NB);
    return m->links ? copy_make_folder(m->state, e) : 0;
}

/* --- files ---------------------------------------------------------------------------------------------------- */

static int add_file(void *arg, const char *name, struct err *e)
{
    struct making *m = arg;

    if (m->m.file_count == LIMIT_BACKUP_FILES) {
        err_set(e, "the state has too many files");
        return -EFBIG;
    }
    if (m->m.file_count == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        struct manifest_file *more = realloc(m->files, cap * sizeof *more);

        if (!more)
            return -ENOMEM;
        m->files = more;
        m->cap = cap;
    }
    m->files[m->m.file_count] = (struct manifest_file){.name = strdup(name), .partition = MANIFEST_SHARED};
    if (!m->files[m->m.file_count].name)
        return -ENOMEM;
    m->m.file_count++;
    return 0;
}

/* Hashes the files, and where the copy is elsewhere brings them here. */
static int take_files(struct making *m, struct err *e)
{
    int rc = 0;

    for (size_t i = 0; i < m->m.file_count && rc == 0; i++) {
        struct manifest_file *f = &m->files[i];
        char from[COPY_PATH_BYTES], to[COPY_PATH_BYTES];

        rc = copy_path(from, m->from, f->name, e);
        if (rc == 0)
            rc = copy_path(to, m->state, f->name, e);
        if (rc == 0)
            rc = copy_hash(from, m->links ? to : NULL, &m->o->progress, f->hash, &f->size, e);
    }
    return rc;
}

/* --- what is in it -------------------------------------------------------------------------------------------- */

static void note_partition(void *arg, const char *name, uint32_t partition)
{
    struct making *m = arg;

    for (size_t i = 0; i < m->m.file_count; i++)
        if (strcmp(m->files[i].name, name) == 0)
            m->files[i].partition = partition;
}

static int note_offsets(struct making *m, struct state *copy)
{
    m->m.partitions = calloc(m->o->options->partitions, sizeof *m->m.partitions);
    if (!m->m.partitions)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->o->options->partitions; i++) {
        struct state_figures f;
        uint64_t seen = 0;

        state_figures(copy, i, &f);
        for (int k = 0; k < OUTCOMES; k++)
            seen += f.outcomes[k];
        if (seen > 0 || f.offset > 0)
            m->m.partitions[m->m.partitions_held++] = (struct manifest_partition){
                .number = i, .offset = f.offset - f.base, .began = f.began - f.base, .base = f.base};
    }
    return 0;
}

/* The copy as one would find it who opens it. */
static int look_inside(struct making *m, struct err *e)
{
    struct state_options o = *m->o->options;
    struct state *copy = NULL;
    int rc;

    o.path = m->from;
    o.read_only = true;
    o.cache_bytes = 0;
    rc = state_open(&o, &copy, e);
    if (rc == 0) {
        state_files(copy, note_partition, m);
        rc = note_offsets(m, copy);
    }
    state_close(copy);
    return rc;
}

static int write_manifest(struct making *m, struct err *e)
{
    char path[COPY_PATH_BYTES];
    struct buf b;
    int rc = copy_path(path, m->folder, MANIFEST_NAME, e), fd;

    if (rc < 0)
        return rc;
    m->m.files = m->files;
    buf_init(&b, LIMIT_MANIFEST_BYTES);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (!manifest_write(&m->m, &b))
        rc = -ENOMEM;
    else if (fd < 0 || write(fd, b.p, b.n) != (ssize_t)b.n || fsync(fd) != 0)
        rc = errno ? -errno : -EIO;
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc < 0)
        err_set(e, "cannot write %.200s: %s", path, strerror(-rc));
    buf_deinit(&b);
    return rc;
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static int copy_state(struct making *m, struct err *e)
{
    int rc;

    if (m->links)
        copy_remove(m->from);
    rc = state_copy(m->o->state, m->from, e);
    if (rc == 0)
        rc = copy_each_file(m->from, add_file, m, e);
    if (rc == 0)
        rc = copy_folder_bytes(m->from, &m->bytes, e);
    if (rc == 0 && m->o->bytes_to_do)
        atomic_store(m->o->bytes_to_do, m->bytes);
    return rc;
}

static int finish(struct making *m, struct err *e)
{
    char whole[COPY_PATH_BYTES];
    int rc = copy_sync_folder(m->state, e);

    if (rc == 0)
        rc = write_manifest(m, e);
    if (rc == 0)
        rc = copy_sync_folder(m->folder, e);
    if (rc == 0)
        rc = copy_path(whole, m->o->folder, m->o->name, e);
    if (rc == 0)
        rc = copy_rename(m->folder, whole, e);
    return rc;
}

static int make(struct making *m, struct err *e)
{
    int rc = begin(m, e);

    if (rc == 0 && !m->links)
        rc = check_space(m, e);
    if (rc == 0)
        rc = make_folder(m, e);
    if (rc == 0)
        rc = copy_state(m, e);
    if (rc == 0 && m->links)
        rc = check_space(m, e);
    if (rc == 0)
        rc = look_inside(m, e);
    if (rc == 0)
        rc = take_files(m, e);
    return rc == 0 ? finish(m, e) : rc;
}

int backup_make(const struct backup_order *o, void (*each)(void *arg, const struct manifest *m), void *arg,
                struct err *e)
{
    struct making m = {.o = o,
                       .lock = -1,
                       .m = {.version = WAYMARK_VERSION,
                             .instance = o->instance,
                             .event_log = o->event_log,
                             .topic_prefix = o->topic_prefix,
                             .made_at = clock_now(),
                             .scheduled = o->scheduled,
                             .partition_count = o->options->partitions}};
    int rc = make(&m, e);

    if (rc == 0)
        each(arg, &m.m);
    else if (m.made)
        copy_remove(m.folder);
    if (m.links && m.made)
        copy_remove(m.from);
    if (m.lock >= 0)
        close(m.lock);
    for (size_t i = 0; i < m.m.file_count; i++)
        free((void *)m.files[i].name);
    free(m.files);
    free(m.m.partitions);
    return rc;
}
