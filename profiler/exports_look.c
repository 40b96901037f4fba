/* Looking at exports, and taking their files. Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/disk.h"
#include "common/json.h"
#include "profiler/exports_inside.h"

struct export_entry *exports_find(const struct exports *x, struct str id)
{
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (str_is(id, n->id))
            return n;
    return NULL;
}

static double progress(struct exports *x, const struct export_entry *n)
{
    double looked_at = (double)atomic_load(&x->looked_at), expected = (double)atomic_load(&x->expected);

    if (n->state != ENTRY_WAITING)
        return 1;
    if (n != x->running || expected == 0)
        return 0;
    return looked_at < expected ? looked_at / expected : 1;
}

static void write_time(struct buf *b, const char *key, int64_t ms)
{
    json_write_key(b, key);
    buf_add_char(b, '"');
    time_write(b, ms);
    buf_add_char(b, '"');
}

static void write_truth(struct buf *b, const char *key, bool v)
{
    json_write_key(b, key);
    buf_add_text(b, v ? "true" : "false");
}

static void write_number(struct buf *b, const char *key, uint64_t v)
{
    json_write_key(b, key);
    num_write_int(b, (int64_t)v);
}

/* [lock] */
static void write_who(const struct exports *x, struct buf *b)
{
    json_write_member(b, "instance", str_of(x->o.instance));
    json_write_member(b, "url", str_of(x->url));
}

/* What other profilers have to know of it. [lock] */
static void write_part(const struct exports *x, const struct export_entry *n, struct buf *b)
{
    write_who(x, b);
    json_write_key(b, "makers");
    buf_add_text(b, n->makers ? n->makers : "null");
    json_write_member(b, "delta", str_of(n->delta));
    json_write_member(b, "content_type", str_of(export_content_type(n->kind)));
    json_write_member(b, "extension", str_of(export_extension(n->kind)));
    write_truth(b, "fetched", n->fetched);
    write_truth(b, "told", delta_is_told(n));
    write_number(b, "bytes", n->bytes);
    write_number(b, "head", n->head);
    write_number(b, "removals", n->removals);
}

/* [lock] */
static void write_entry(struct exports *x, const struct export_entry *n, enum export_look look, struct buf *b)
{
    static const char *const states[ENTRY_STATES] = {"running", "done", "failed", "expired", "erased"};

    buf_add_char(b, '{');
    json_write_member(b, "id", str_of(n->id));
    json_write_member(b, "audience", str_of(n->audience));
    json_write_member(b, "state", str_of(states[n->state]));
    json_write_member(b, "format", str_of(export_kind_names[n->kind]));
    json_write_member(b, "by", str_of(n->who));
    write_time(b, "asked_at", n->asked_at);
    if (n->ended_at)
        write_time(b, "ended_at", n->ended_at);
    json_write_key(b, "progress");
    num_write_double(b, progress(x, n));
    if (n->error[0])
        json_write_member(b, "error", str_of(n->error));
    if (n->manifest) {
        json_write_key(b, "manifest");
        buf_add_text(b, n->manifest);
    }
    if (look == EXPORT_INSIDE)
        write_part(x, n, b);
    buf_add_char(b, '}');
}

void exports_who(struct exports *x, struct buf *out)
{
    pthread_mutex_lock(&x->lock);
    write_who(x, out);
    pthread_mutex_unlock(&x->lock);
}

bool exports_made_by(struct exports *x, struct str id, struct str url)
{
    char text[sizeof x->url + 16];

    snprintf(text, sizeof text, "\"url\":\"%.*s\"", STR_ARG(url));
    pthread_mutex_lock(&x->lock);
    const struct export_entry *n = str_has(id) ? exports_find(x, id) : NULL;
    bool made = n && n->makers && str_has(url) && strstr(n->makers, text) != NULL;
    pthread_mutex_unlock(&x->lock);
    return made;
}

void exports_set_url(struct exports *x, const char *url)
{
    pthread_mutex_lock(&x->lock);
    snprintf(x->url, sizeof x->url, "%s", url);
    pthread_mutex_unlock(&x->lock);
}

bool exports_runs(struct exports *x, struct str id)
{
    pthread_mutex_lock(&x->lock);
    const struct export_entry *n = exports_find(x, id);
    bool runs = n && n->state == ENTRY_WAITING;
    pthread_mutex_unlock(&x->lock);
    return runs;
}

int exports_show(struct exports *x, struct str id, enum export_look look, struct buf *out)
{
    pthread_mutex_lock(&x->lock);
    const struct export_entry *n = exports_find(x, id);
    if (n)
        write_entry(x, n, look, out);
    pthread_mutex_unlock(&x->lock);
    return n ? 0 : 1;
}

int exports_list(struct exports *x, const char *delta, enum export_look look, struct buf *out)
{
    const char *comma = "";

    buf_add_char(out, '[');
    pthread_mutex_lock(&x->lock);
    for (const struct export_entry *n = x->entries; n; n = n->next) {
        if (delta && strcmp(n->delta, delta) != 0)
            continue;
        buf_add_text(out, comma);
        write_entry(x, n, look, out);
        comma = ",";
    }
    pthread_mutex_unlock(&x->lock);
    buf_add_char(out, ']');
    return out->failed ? -ENOMEM : 0;
}

/* --- files ----------------------------------------------------------------------------------------------------- */

/* [lock] */
static void take(struct exports *x, struct export_entry *n)
{
    if (n->fetched)
        return;
    n->fetched = true;
    exports_save(x, n);
    delta_tidy(x, n);
}

void exports_taken(struct exports *x, struct str id)
{
    pthread_mutex_lock(&x->lock);
    struct export_entry *n = exports_find(x, id);
    if (n && n->state == ENTRY_DONE)
        take(x, n);
    pthread_mutex_unlock(&x->lock);
}

int exports_temporary(struct exports *x, uint64_t bytes, int *fd)
{
    char path[COPY_PATH_BYTES], id[EXPORT_ID_BYTES];

    if (disk_free(x->folder) < x->o.conf->log.reserve_bytes + bytes)
        return -ENOSPC;
    exports_new_id(id); /* a name that a start removes, should the program end right here */
    if (snprintf(path, sizeof path, "%s/.%s.fetch", x->folder, id) >= (int)sizeof path)
        return -ENAMETOOLONG;
    *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return -errno;
    unlink(path);
    return 0;
}

/* [lock] */
static int open_file(struct exports *x, struct export_entry *n, int *fd, uint64_t *size)
{
    char path[COPY_PATH_BYTES];
    struct stat st;

    if (!entry_path(x->folder, n, export_extension(n->kind), path))
        return -ENAMETOOLONG;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0)
        return errno == ENOENT ? 1 : -errno;
    if (fstat(*fd, &st) != 0) {
        int rc = -errno;

        close(*fd);
        return rc;
    }
    *size = (uint64_t)st.st_size;
    if (!n->makers)
        take(x, n);
    return 0;
}

int exports_open(struct exports *x, struct str id, int *fd, uint64_t *size, const char **content_type, char *file_name,
                 size_t file_name_size)
{
    int rc = 1;

    pthread_mutex_lock(&x->lock);
    struct export_entry *n = exports_find(x, id);
    if (n && n->state == ENTRY_WAITING)
        rc = -EBUSY;
    else if (n && n->state == ENTRY_DONE)
        rc = open_file(x, n, fd, size);
    if (rc == 0) {
        *content_type = export_content_type(n->kind);
        snprintf(file_name, file_name_size, "%s-%s.%s", n->audience, n->id, export_extension(n->kind));
    }
    pthread_mutex_unlock(&x->lock);
    return rc;
}
