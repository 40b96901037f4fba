/* The file of what was delivered: a line for each hook and partition, HOOK PARTITION NEXT and the offsets before NEXT
 * that still wait. It is written whole, beside the old one. Hooks that are not configured are forgotten by it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/webhooks_inside.h"

#define FILE_NAME "places"
#define PART_NAME "places.part"
#define HEAD "waymark webhooks 1\n"
#define BYTES (64 * MIB)

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_lane(const struct hook *h, uint32_t partition, struct buf *b)
{
    const struct hook_lane *l = &h->lanes[partition];

    if (!l->known)
        return;
    buf_addf(b, "%s %" PRIu32 " %" PRId64, h->conf->name, partition, l->next > l->until ? l->next : l->until);
    for (size_t i = 0; i < l->pending_count; i++)
        buf_addf(b, " %" PRId64, l->pending[i]);
    for (size_t i = 0; i < h->item_count; i++)
        if (h->items[i]->partition == partition && !h->items[i]->dropped)
            buf_addf(b, " %" PRId64, h->items[i]->offset);
    buf_add_char(b, '\n');
}

static int write_file(const char *path, const struct buf *b)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600), rc = 0;

    if (fd < 0)
        return -errno;
    for (size_t at = 0; at < b->n && rc == 0;) {
        ssize_t n = write(fd, b->p + at, b->n - at);

        if (n > 0)
            at += (size_t)n;
        else if (errno != EINTR)
            rc = -errno;
    }
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    close(fd);
    return rc;
}

int places_save(struct webhooks *w, struct err *e)
{
    char path[COPY_PATH_BYTES], part[COPY_PATH_BYTES];
    struct buf b;
    int rc = copy_path(path, w->o.path, FILE_NAME, e);

    buf_init(&b, BYTES);
    buf_add_text(&b, HEAD);
    for (size_t i = 0; i < w->hook_count; i++)
        for (uint32_t p = 0; p < w->partitions; p++)
            write_lane(&w->hooks[i], p, &b);
    if (rc == 0)
        rc = copy_path(part, w->o.path, PART_NAME, e);
    if (rc == 0) {
        rc = b.failed ? -ENOMEM : write_file(part, &b);
        if (rc != 0)
            err_set(e, "%.200s: %s", part, strerror(-rc));
    }
    if (rc == 0)
        rc = copy_rename(part, path, e);
    buf_deinit(&b);
    return rc;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static struct hook *find(struct webhooks *w, const char *name)
{
    for (size_t i = 0; i < w->hook_count; i++)
        if (strcmp(w->hooks[i].conf->name, name) == 0)
            return &w->hooks[i];
    return NULL;
}

static bool read_number(char **rest, int64_t *out)
{
    char *word = strsep(rest, " "), *end;

    if (!word || *word < '0' || *word > '9')
        return false;
    errno = 0;
    *out = strtoll(word, &end, 10);
    return errno == 0 && *end == '\0';
}

static int read_line(struct webhooks *w, char *line)
{
    char *rest = line;
    struct hook *h = find(w, strsep(&rest, " "));
    int64_t partition, next, offset;
    int rc = 0;

    if (!read_number(&rest, &partition) || !read_number(&rest, &next))
        return -EBADMSG;
    if (!h || partition >= w->partitions)
        return 0;
    struct hook_lane *l = &h->lanes[partition];
    l->next = next;
    l->known = true;
    while (rest && rc == 0)
        rc = read_number(&rest, &offset) ? hook_lane_put_back(l, offset) : -EBADMSG;
    return rc;
}

static int read_lines(struct webhooks *w, FILE *f)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t n = getline(&line, &size, f);
    int rc = n > 0 && strcmp(line, HEAD) == 0 ? 0 : -EBADMSG;

    while (rc == 0 && (n = getline(&line, &size, f)) > 0) {
        if (line[n - 1] != '\n')
            rc = -EBADMSG;
        line[n - 1] = '\0';
        if (rc == 0)
            rc = read_line(w, line);
    }
    if (rc == 0 && ferror(f))
        rc = -EIO;
    free(line);
    return rc;
}

int places_load(struct webhooks *w, struct err *e)
{
    char path[COPY_PATH_BYTES];
    int rc = copy_path(path, w->o.path, FILE_NAME, e);
    FILE *f = rc == 0 ? fopen(path, "re") : NULL;

    if (rc != 0)
        return rc;
    if (!f && errno == ENOENT)
        return 0;
    rc = f ? read_lines(w, f) : -errno;
    if (rc == -EBADMSG)
        err_set(e, "%.200s is damaged", path);
    else if (rc != 0)
        err_set(e, "%.200s: %s", path, strerror(-rc));
    if (f)
        fclose(f);
    return rc;
}
