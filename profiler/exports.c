/* Exports: the queue, the thread that makes them one after another, what is kept of them and for how long. What others
 * see is under the lock, which is not held while one is made. */
#include "profiler/exports.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cond.h"
#include "common/disk.h"
#include "common/json.h"
#include "common/log.h"
#include "profiler/exports_inside.h"

#define TICK_MS 1000
#define NICE 5
#define KEY_FILE "people.key"

/* --- deltas ---------------------------------------------------------------------------------------------------- */

/* Whether whoever reads the files knows what this one told. */
static bool is_told(const struct export_entry *n)
{
    return n->has_sent && (n->fetched || n->state == ENTRY_DONE);
}

/* The export that a delta begins from. [lock] */
static struct export_entry *base_of(const struct exports *x, const struct export_entry *n)
{
    for (struct export_entry *b = x->entries; b && n->delta[0]; b = b->next)
        if (b != n && strcmp(b->delta, n->delta) == 0 && is_told(b))
            return b;
    return NULL;
}

static void drop_sent(struct exports *x, struct export_entry *n)
{
    char path[COPY_PATH_BYTES];

    if (n->has_sent && entry_path(x->folder, n, "sent", path))
        unlink(path);
    n->has_sent = false;
}

/* What was told before the latest that somebody has taken is of no use any more. [lock] */
static void tidy_sent(struct exports *x, const struct export_entry *taken)
{
    for (struct export_entry *n = taken->next; n; n = n->next)
        if (strcmp(n->delta, taken->delta) == 0)
            drop_sent(x, n);
}

static void delta_name(struct export_entry *n, const struct export_request *r)
{
    char text[1024];
    int length = snprintf(text, sizeof text, "%s|%s|%.*s|%.*s|%.*s", n->audience, export_kind_names[r->kind],
                          STR_ARG(r->purpose), STR_ARG(r->campaign), STR_ARG(r->destination));

    if (r->delta && length > 0)
        export_sha256((struct str){text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1}, n->delta);
}

/* --- ending ---------------------------------------------------------------------------------------------------- */

static void save(struct exports *x, struct export_entry *n)
{
    struct err e = {0};

    if (entry_save(x->folder, n, &e) < 0)
        log_error("profiler: the record of export %s could not be written: %s", n->id, e.text);
}

static void remove_file(struct exports *x, struct export_entry *n, const char *extension)
{
    char path[COPY_PATH_BYTES];

    if (entry_path(x->folder, n, extension, path) && unlink(path) != 0 && errno != ENOENT)
        log_error("profiler: %s cannot be removed: %s", path, strerror(errno));
}

/* The file goes; what is said of it stays. [lock] */
static void take_back(struct exports *x, struct export_entry *n, enum entry_state state, const char *why)
{
    remove_file(x, n, export_extension(n->kind));
    n->state = state;
    snprintf(n->error, sizeof n->error, "%s", why);
    if (!is_told(n))
        drop_sent(x, n);
    save(x, n);
}

static void forget(struct exports *x, struct export_entry **at)
{
    struct export_entry *n = *at;

    drop_sent(x, n);
    remove_file(x, n, export_extension(n->kind));
    remove_file(x, n, "json");
    *at = n->next;
    entry_free(n);
}

/* [lock] */
static void expire(struct exports *x)
{
    int64_t before = clock_now() - x->o.conf->profiler.exports_keep_ms;
    size_t kept = 0;

    for (struct export_entry **at = &x->entries; *at;) {
        struct export_entry *n = *at;
        bool over = n->state != ENTRY_WAITING && (n->ended_at < before || kept >= LIMIT_EXPORTS);

        if (over && n->state == ENTRY_DONE)
            take_back(x, n, ENTRY_EXPIRED, "it was kept as long as exports are kept");
        if (over && (!n->has_sent || kept >= LIMIT_EXPORTS)) {
            forget(x, at);
            continue;
        }
        kept++;
        at = &n->next;
    }
}

/* [lock] */
static void conclude(struct exports *x, struct export_entry *n, int rc, const struct buf *manifest, const struct err *e)
{
    n->ended_at = clock_now();
    if (rc == 0)
        n->manifest = manifest->failed ? NULL : strndup(manifest->p, manifest->n);
    if (rc == 0 && !n->manifest)
        rc = -ENOMEM;
    n->state = rc == 0 ? ENTRY_DONE : ENTRY_FAILED;
    n->has_sent = rc == 0 && n->delta[0];
    free(n->request);
    n->request = NULL;
    if (rc < 0) {
        snprintf(n->error, sizeof n->error, "%s", e->text[0] ? e->text : strerror(-rc));
        remove_file(x, n, export_extension(n->kind));
        remove_file(x, n, "sent");
        log_warn("profiler: export %s of %s failed: %s", n->id, n->audience, n->error);
    }
    stats_add(rc == 0 ? x->made : x->failures, 1);
    save(x, n);
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

/* The oldest that waits. [lock] */
static struct export_entry *next_job(const struct exports *x)
{
    struct export_entry *job = NULL;

    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_WAITING)
            job = n;
    return job;
}

/* With the lock, given up meanwhile. What was stopped by an erasure, or by the end of the program, waits on. */
static void run(struct exports *x, struct export_entry *n)
{
    const struct export_entry *base = base_of(x, n);
    char sent[COPY_PATH_BYTES], based_on[EXPORT_ID_BYTES];
    struct buf manifest;
    struct err e = {0};

    if (base && !entry_path(x->folder, base, "sent", sent))
        base = NULL;
    snprintf(based_on, sizeof based_on, "%s", base ? base->id : "");
    buf_init(&manifest, LIMIT_EXPORT_MANIFEST);
    x->running = n;
    x->again = false;
    atomic_store(&x->halt, x->stopping);
    pthread_mutex_unlock(&x->lock);
    int rc = exports_run(x, n, base ? sent : NULL, base ? based_on : NULL, &manifest, &n->bytes, &e);
    pthread_mutex_lock(&x->lock);
    x->running = NULL;
    if (x->again || (rc == -ECANCELED && x->stopping)) {
        remove_file(x, n, export_extension(n->kind));
        remove_file(x, n, "sent");
    } else {
        conclude(x, n, rc, &manifest, &e);
    }
    buf_deinit(&manifest);
    pthread_cond_broadcast(&x->rested);
}

static void *exports_main(void *arg)
{
    struct exports *x = arg;

    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    pthread_mutex_lock(&x->lock);
    while (!x->stopping) {
        struct export_entry *n = next_job(x);

        expire(x);
        if (n) {
            run(x, n);
        } else {
            struct timespec until = cond_in(TICK_MS);

            pthread_cond_timedwait(&x->asked, &x->lock, &until);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

static void write_gauges(struct buf *out, void *arg)
{
    struct exports *x = arg;
    unsigned waiting = 0;
    double bytes = 0;

    pthread_mutex_lock(&x->lock);
    for (const struct export_entry *n = x->entries; n; n = n->next) {
        waiting += n->state == ENTRY_WAITING;
        bytes += n->state == ENTRY_DONE ? (double)n->bytes : 0;
    }
    bool running = x->running != NULL;
    pthread_mutex_unlock(&x->lock);
    stats_gauge_head(out, "waymark_export_running", "Whether an export is being made");
    stats_gauge_line(out, "waymark_export_running", NULL, running);
    stats_gauge_head(out, "waymark_export_waiting", "Exports that are asked for and not over");
    stats_gauge_line(out, "waymark_export_waiting", NULL, waiting);
    stats_gauge_head(out, "waymark_export_kept_bytes", "Size of the files that can be fetched");
    stats_gauge_line(out, "waymark_export_kept_bytes", NULL, bytes);
}

static void count(struct exports *x)
{
    static const char name[] = "waymark_exports_total", help[] = "Exports made, and those that failed";

    x->made = stats_counter(x->o.stats, name, "outcome=\"made\"", help);
    x->failures = stats_counter(x->o.stats, name, "outcome=\"failed\"", help);
    x->rows = stats_counter(x->o.stats, "waymark_export_rows_total", NULL, "Rows written into exports");
    x->file_bytes = stats_counter(x->o.stats, "waymark_export_bytes_total", NULL, "Bytes written into exports");
    stats_add_gauges(x->o.stats, write_gauges, x);
}

/* The key by which people are known in what is kept; made once. */
static int take_key(struct exports *x, struct err *e)
{
    char path[COPY_PATH_BYTES], unused[EXPORT_HEX + 1];
    struct export_file f = {.fd = -1};
    int rc = copy_path(path, x->folder, KEY_FILE, e);
    int fd = rc == 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd >= 0) {
        ssize_t n = read(fd, x->key, sizeof x->key);

        close(fd);
        if (n == (ssize_t)sizeof x->key)
            return 0;
        err_set(e, "%.200s is damaged: remove it, and deltas begin anew", path);
        return -EBADMSG;
    }
    export_random(x->key, sizeof x->key);
    if (rc == 0)
        rc = export_file_begin(&f, x->folder, ".ex_key", 0, e);
    if (rc == 0) {
        buf_add(export_file_out(&f), x->key, sizeof x->key);
        rc = export_file_end(&f, unused, e);
    }
    if (rc == 0)
        rc = copy_rename(f.path, path, e);
    export_file_drop(&f);
    return rc;
}

static int open_folder(struct exports *x, struct err *e)
{
    if (snprintf(x->folder, sizeof x->folder, "%s", x->o.path) >= (int)sizeof x->folder)
        return -ENAMETOOLONG;
    if (mkdir(x->folder, 0700) != 0 && errno != EEXIST) {
        int rc = -errno;

        err_set(e, "cannot make the folder %.180s: %s", x->folder, strerror(-rc));
        return rc;
    }
    int rc = entries_load(x->folder, &x->entries, e);
    return rc == 0 ? take_key(x, e) : rc;
}

int exports_start(const struct exports_options *o, struct exports **out, struct err *e)
{
    struct exports *x = calloc(1, sizeof *x);

    if (!x)
        return -ENOMEM;
    x->o = *o;
    pthread_mutex_init(&x->lock, NULL);
    cond_init(&x->asked);
    cond_init(&x->rested);
    int rc = open_folder(x, e);
    if (rc == 0) {
        count(x);
        rc = -pthread_create(&x->thread, NULL, exports_main, x);
    }
    x->started = rc == 0;
    if (rc < 0) {
        exports_stop(x);
        exports_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

void exports_stop(struct exports *x)
{
    if (!x)
        return;
    pthread_mutex_lock(&x->lock);
    x->stopping = true;
    atomic_store(&x->halt, true);
    atomic_store(&x->ending, true);
    pthread_cond_broadcast(&x->asked);
    while (x->reports > 0)
        pthread_cond_wait(&x->rested, &x->lock);
    pthread_mutex_unlock(&x->lock);
    if (x->started)
        pthread_join(x->thread, NULL);
    x->started = false;
}

void exports_free(struct exports *x)
{
    if (!x)
        return;
    assert(!x->started);
    while (x->entries) {
        struct export_entry *n = x->entries;

        x->entries = n->next;
        entry_free(n);
    }
    pthread_cond_destroy(&x->asked);
    pthread_cond_destroy(&x->rested);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

/* --- erasure --------------------------------------------------------------------------------------------------- */

void exports_erase(struct exports *x)
{
    pthread_mutex_lock(&x->lock);
    for (struct export_entry *n = x->entries; n; n = n->next)
        if (n->state == ENTRY_DONE)
            take_back(x, n, ENTRY_ERASED, "somebody was erased who may have been in it");
    if (x->running) {
        x->again = true;
        atomic_store(&x->halt, true);
    }
    while (x->running && x->again && x->started)
        pthread_cond_wait(&x->rested, &x->lock);
    pthread_mutex_unlock(&x->lock);
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

static void new_id(char out[EXPORT_ID_BYTES])
{
    unsigned char random[4];
    char hex[9];

    export_random(random, sizeof random);
    export_hex(random, sizeof random, hex);
    snprintf(out, EXPORT_ID_BYTES, "ex_%011llx%s", (unsigned long long)clock_now(), hex);
}

static struct export_entry *new_entry(struct str audience, const struct export_request *r, const char *who)
{
    struct export_entry *n = calloc(1, sizeof *n);
    struct buf b;

    if (!n)
        return NULL;
    new_id(n->id);
    snprintf(n->audience, sizeof n->audience, "%.*s", STR_ARG(audience));
    snprintf(n->who, sizeof n->who, "%s", who);
    n->kind = r->kind;
    n->asked_at = clock_now();
    delta_name(n, r);
    buf_init(&b, 4 * MIB);
    export_request_write(r, &b);
    n->request = b.failed ? NULL : strndup(b.p, b.n);
    buf_deinit(&b);
    if (n->request)
        return n;
    entry_free(n);
    return NULL;
}

static int read_request(struct exports *x, struct str audience, char *body, size_t n, struct export_request **out,
                        const char **code, struct err *e)
{
    struct audience_names names;
    int rc;

    if (!export_name_valid(audience)) {
        *code = "audience_not_found";
        err_set(e, "there is no such audience");
        return -ENOENT;
    }
    audiences_names(x->o.audiences, &names);
    if (names.names.audience && !names.names.audience(names.names.arg, audience)) {
        *code = "audience_not_found";
        err_set(e, "there is no audience %.*s", STR_ARG(audience));
        rc = -ENOENT;
    } else {
        rc = export_request_read(body, n, &names.names, x->o.conf->profiler.country, out, code, e);
    }
    audiences_names_done(&names);
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
    int rc = entry_save(x->folder, n, e);
    if (rc < 0) {
        *code = rc == -ENOSPC ? "disk_full" : "unavailable";
        return rc;
    }
    struct export_entry **at = &x->entries;
    while (*at && strcmp((*at)->id, n->id) > 0)
        at = &(*at)->next;
    n->next = *at;
    *at = n;
    pthread_cond_signal(&x->asked);
    return 0;
}

int exports_begin(struct exports *x, struct str audience, char *body, size_t n, const char *who, bool pii, char *id,
                  const char **code, struct err *e)
{
    struct export_request *r = NULL;
    struct export_entry *entry = NULL;

    *code = "unavailable";
    int rc = read_request(x, audience, body, n, &r, code, e);
    if (rc == 0 && r->personal && !pii) {
        *code = "forbidden";
        err_set(e, "columns with personal values need a token with the scope pii");
        rc = -EACCES;
    }
    if (rc == 0 && disk_free(x->folder) < x->o.conf->log.reserve_bytes) {
        *code = "disk_full";
        err_set(e, "the disk has less than its reserve");
        rc = -ENOSPC;
    }
    if (rc == 0) {
        entry = new_entry(audience, r, who);
        rc = entry ? 0 : -ENOMEM;
    }
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

/* --- looking --------------------------------------------------------------------------------------------------- */

/* [lock] */
static struct export_entry *find(const struct exports *x, struct str id)
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

/* [lock] */
static void write_entry(struct exports *x, const struct export_entry *n, struct buf *b)
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
    buf_add_char(b, '}');
}

int exports_show(struct exports *x, struct str id, struct buf *out)
{
    pthread_mutex_lock(&x->lock);
    const struct export_entry *n = find(x, id);
    if (n)
        write_entry(x, n, out);
    pthread_mutex_unlock(&x->lock);
    return n ? 0 : 1;
}

int exports_list(struct exports *x, struct buf *out)
{
    buf_add_char(out, '[');
    pthread_mutex_lock(&x->lock);
    for (const struct export_entry *n = x->entries; n; n = n->next) {
        if (n != x->entries)
            buf_add_char(out, ',');
        write_entry(x, n, out);
    }
    pthread_mutex_unlock(&x->lock);
    buf_add_char(out, ']');
    return out->failed ? -ENOMEM : 0;
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
    if (!n->fetched) {
        n->fetched = true;
        save(x, n);
        if (n->has_sent)
            tidy_sent(x, n);
    }
    return 0;
}

int exports_open(struct exports *x, struct str id, int *fd, uint64_t *size, const char **content_type, char *file_name,
                 size_t file_name_size)
{
    int rc = 1;

    pthread_mutex_lock(&x->lock);
    struct export_entry *n = find(x, id);
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
