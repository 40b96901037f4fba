/* The file of what was given up: NDJSON, mode 0600, bounded; when it is full it becomes the old one, in the place of
 * the one before. It names the record, not the person, so that nothing of an erased one stays in it: whoever wants to
 * deliver it reads the record. The thread of the webhooks. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "profiler/webhooks_inside.h"

#define FILE_NAME "given-up.ndjson"
#define OLD_NAME "given-up.old.ndjson"
#define LINE_BYTES (8 * KIB)

static void write_line(struct hook *h, const struct hook_item *i, const char *id, struct buf *b)
{
    struct audience_change c;

    arena_reset(&h->w->arena);
    buf_add_text(b, "{\"time\":\"");
    time_write(b, clock_now());
    buf_add_char(b, '"');
    json_write_member(b, "hook", str_of(h->conf->name));
    json_write_member(b, "webhook_id", str_of(id));
    if (audience_change_read((struct str){i->record, i->bytes}, &h->w->arena, &c) == 0) {
        json_write_member(b, "audience", c.audience);
        json_write_member(b, "action", str_of(c.entered ? "entered" : "left"));
    }
    buf_add_text(b, ",\"changed\":\"");
    time_write(b, i->time);
    buf_addf(b, "\",\"partition\":%u,\"offset\":%lld,\"tries\":%u", i->partition, (long long)i->offset, i->tries);
    json_write_member(b, "reason", str_of(i->why));
    buf_add_text(b, "}\n");
}

static int append(struct webhooks *w, const struct buf *b, struct err *e)
{
    char path[COPY_PATH_BYTES], old[COPY_PATH_BYTES];
    struct stat st;
    int rc = copy_path(path, w->o.path, FILE_NAME, e);

    if (rc == 0)
        rc = copy_path(old, w->o.path, OLD_NAME, e);
    if (rc != 0)
        return rc;
    if (stat(path, &st) == 0 && (uint64_t)st.st_size + b->n > LIMIT_WEBHOOK_DEAD_BYTES && rename(path, old) != 0)
        return -errno;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, b->p, b->n);
    rc = n == (ssize_t)b->n ? 0 : n < 0 ? -errno : -ENOSPC;
    if (rc == 0 && fdatasync(fd) != 0)
        rc = -errno;
    close(fd);
    return rc;
}

/* One that the disk does not take is told to the operators' log, and given up all the same. */
void hook_bury(struct hook *h, const struct hook_item *i, const char *id)
{
    struct err e = {0};
    struct buf b;

    buf_init(&b, LINE_BYTES);
    write_line(h, i, id, &b);
    int rc = b.failed ? -ENOMEM : append(h->w, &b, &e);
    buf_deinit(&b);
    if (rc != 0)
        log_error("webhook %s: %s is given up (%s), and that cannot be written down: %s", h->conf->name, id, i->why,
                  e.text[0] ? e.text : strerror(-rc));
    else
        log_limited(&h->limit, LOG_WARN, "webhook %s: %s is given up: %s", h->conf->name, id, i->why);
}
