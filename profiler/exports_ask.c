/* Asking for exports: what is asked for is read, and waits for its turn. Any thread that may wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/disk.h"
#include "profiler/exports_inside.h"

#define HELD_MS 30000 /* for everybody to take their part */

void exports_new_id(char out[EXPORT_ID_BYTES])
{
    unsigned char random[4];
    char hex[9];

    export_random(random, sizeof random);
    export_hex(random, sizeof random, hex);
    snprintf(out, EXPORT_ID_BYTES, "ex_%011llx%s", (unsigned long long)clock_now(), hex);
}

static void copy_text(char *to, size_t room, struct str s)
{
    snprintf(to, room, "%.*s", STR_ARG(s));
}

/* Whose people it has, and who makes the others. */
static bool take_part(struct export_entry *n, const struct export_wanted *w)
{
    if (!str_has(w->makers))
        return true;
    copy_text(n->base, sizeof n->base, w->base);
    n->makers = strndup(w->makers.p, w->makers.n);
    n->partitions = calloc(w->partition_count + 1, sizeof *n->partitions);
    if (!n->makers || !n->partitions)
        return false;
    if (w->partition_count)
        memcpy(n->partitions, w->partitions, w->partition_count * sizeof *n->partitions);
    n->partition_count = w->partition_count;
    n->held_until = w->held ? clock_monotonic() + HELD_MS : 0;
    return true;
}

static struct export_entry *new_entry(const struct export_wanted *w, const struct export_request *r)
{
    struct export_entry *n = calloc(1, sizeof *n);
    struct buf b;

    if (!n)
        return NULL;
    if (str_has(w->id))
        copy_text(n->id, sizeof n->id, w->id);
    else
        exports_new_id(n->id);
    copy_text(n->audience, sizeof n->audience, w->audience);
    snprintf(n->who, sizeof n->who, "%s", w->who);
    n->kind = r->kind;
    n->asked_at = clock_now();
    n->anew = r->anew;
    delta_name(n->delta, n->audience, r);
    buf_init(&b, 4 * MIB);
    export_request_write(r, &b);
    n->request = b.failed ? NULL : strndup(b.p, b.n);
    buf_deinit(&b);
    if (n->request && take_part(n, w))
        return n;
    entry_free(n);
    return NULL;
}

static int read_request(struct exports *x, const struct export_wanted *w, struct export_request **out,
                        const char **code, struct err *e)
{
    struct audience_names names;
    int rc;

    if (!export_name_valid(w->audience)) {
        *code = "audience_not_found";
        err_set(e, "there is no such audience");
        return -ENOENT;
    }
    audiences_names(x->o.audiences, &names);
    if (names.names.audience && !names.names.audience(names.names.arg, w->audience)) {
        *code = "audience_not_found";
        err_set(e, "there is no audience %.*s", STR_ARG(w->audience));
        rc = -ENOENT;
    } else {
        rc = export_request_read(w->body, w->n, &names.names, x->o.conf->profiler.country, out, code, e);
    }
    audiences_names_done(&names);
    return rc;
}

/* Reads it, and whether it may and can be made. On 0 the caller frees the request. */
static int judge(struct exports *x, const struct export_wanted *w, struct export_request **out, const char **code,
                 struct err *e)
{
    int rc;

    *code = "unavailable";
    *out = NULL;
    rc = read_request(x, w, out, code, e);
    if (rc == 0 && (*out)->personal && !w->pii) {
        *code = "forbidden";
        err_set(e, "columns with personal values need a token with the scope pii");
        rc = -EACCES;
    }
    if (rc == 0 && disk_free(x->folder) < x->o.conf->log.reserve_bytes) {
        *code = "disk_full";
        err_set(e, "the disk has less than its reserve");
        rc = -ENOSPC;
    }
    if (rc == 0)
        return 0;
    export_request_free(*out);
    *out = NULL;
    return rc;
}

/* [lock] */
static int enqueue(struct exports *x, struct export_entry *n, const char **code, struct err *e)
{
    unsigned waiting = 0;

    for (const struct export_entry *o = x->entries; o; o = o->next)
        waiting += o->state == ENTRY_WAITING;
    if (waiting > LIMIT_EXPORT_QUEUE || x->stopping) {
        err_set(e, "%u exports wait already", waiting);
        return -EBUSY;
    }
    if (exports_find(x, str_of(n->id))) {
        err_set(e, "there is an export of this id");
        return -EEXIST;
    }
    int rc = entry_save(x->folder, n, e);
    if (rc < 0) {
        *code = rc == -ENOSPC ? "disk_full" : "unavailable";
        return rc == -ENOSPC ? rc : -EIO; /* what is not there is not the audience */
    }
    struct export_entry **at = &x->entries;
    while (*at && strcmp((*at)->id, n->id) > 0)
        at = &(*at)->next;
    n->next = *at;
    *at = n;
    pthread_cond_signal(&x->asked);
    return 0;
}

int exports_check(struct exports *x, const struct export_wanted *w, struct export_asked *out, const char **code,
                  struct err *e)
{
    struct export_request *r;
    char audience[EXPORT_DELTA_BYTES];
    int rc = judge(x, w, &r, code, e);

    if (rc < 0)
        return rc;
    copy_text(audience, sizeof audience, w->audience);
    delta_name(out->delta, audience, r);
    out->anew = r->anew;
    export_request_free(r);
    return 0;
}

int exports_begin(struct exports *x, const struct export_wanted *w, char id[EXPORT_ID_BYTES], const char **code,
                  struct err *e)
{
    struct export_request *r;
    struct export_entry *entry;
    int rc = judge(x, w, &r, code, e);

    if (rc < 0)
        return rc;
    entry = new_entry(w, r);
    rc = entry ? 0 : -ENOMEM;
    if (rc == 0) {
        memcpy(id, entry->id, EXPORT_ID_BYTES);
        pthread_mutex_lock(&x->lock);
        rc = enqueue(x, entry, code, e);
        pthread_mutex_unlock(&x->lock);
        if (rc < 0)
            entry_free(entry);
    }
    export_request_free(r);
    return rc;
}

int exports_go(struct exports *x, struct str id)
{
    pthread_mutex_lock(&x->lock);
    struct export_entry *n = exports_find(x, id);
    bool good = n && n->state != ENTRY_FAILED;
    if (good && n->held_until) {
        n->held_until = 0;
        exports_save(x, n);
        pthread_cond_signal(&x->asked);
    }
    pthread_mutex_unlock(&x->lock);
    return good ? 0 : 1;
}

void exports_cancel(struct exports *x, struct str id)
{
    pthread_mutex_lock(&x->lock);
    struct export_entry *n = exports_find(x, id);
    if (n && n->state == ENTRY_WAITING)
        exports_give_up(x, n, "another profiler did not take its part of it");
    pthread_mutex_unlock(&x->lock);
}
