/* The audit log's queue and its thread: takes what waits in batches, each first into the file and then on the log, and
 * does not begin the next before both have it. So what a crash leaves in the file and not on the log is the last batch
 * at most: it is appended again at the next start, under the same numbers. */
#include "profiler/audit.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/audit_file.h"
#include "profiler/audit_flight.h"
#include "profiler/audit_key.h"
#include "profiler/audit_line.h"
#include "profiler/audit_sent.h"

#define TAIL_BYTES (16 * MIB) /* of the file, read at the start: more than a batch */
#define RETRY_MS 200          /* after a failure, and to look whose patience is over */

static_assert(AUDIT_HASH_BYTES == AUDIT_TARGET_BYTES, "one hash");

struct note {
    struct note *next;
    struct audit_record r; /* its texts lie in `bytes` */
    audit_done *done;      /* NULL: nobody waits, or it was told */
    void *arg;
    int64_t deadline; /* monotonic */
    bool in_file;
    size_t n; /* of `bytes` */
    char bytes[];
};

struct audit {
    struct audit_options o;
    unsigned char key[AUDIT_KEY_BYTES];
    struct audit_file file;
    struct audit_sent sent;
    uint64_t number; /* of the next record; the thread's */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct note *first, **end;
    size_t waiting, bytes;  /* with the batch */
    bool stopping, failing; /* the last try to write failed */
    int64_t stop_by;        /* monotonic */
    bool started;
    pthread_t thread;
    struct note *batch[LIMIT_AUDIT_BATCH];
    size_t batch_n;
    struct buf lines;
    struct log_limit limit;
    struct stats_counter *records[AUDIT_KINDS], *full, *late, *no_file, *no_log;
};

/* --- notes ---------------------------------------------------------------------------------------------------- */

static struct str put(char **at, struct str s)
{
    struct str copy = str_has(s) ? (struct str){*at, s.n} : STR_NONE;

    if (s.n > 0)
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

/* Copies the record with all it points to. */
static struct note *note_new(const struct audit_record *r, audit_done *done, void *arg)
{
    size_t targets = r->target_count * AUDIT_TARGET_BYTES;
    size_t n = targets + r->instance.n + r->who.n + r->from.n + r->method.n + r->route.n + r->request.n;
    struct note *note = malloc(sizeof *note + n);

    if (!note)
        return NULL;
    *note = (struct note){.r = *r, .done = done, .arg = arg, .deadline = clock_monotonic() + LIMIT_AUDIT_MS, .n = n};
    if (targets)
        memcpy(note->bytes, r->targets, targets);
    note->r.targets = (const unsigned char(*)[AUDIT_TARGET_BYTES])note->bytes;
    char *at = note->bytes + targets;
    note->r.instance = put(&at, r->instance);
    note->r.who = put(&at, r->who);
    note->r.from = put(&at, r->from);
    note->r.method = put(&at, r->method);
    note->r.route = put(&at, r->route);
    note->r.request = put(&at, r->request);
    return note;
}

static size_t size_of(const struct note *n)
{
    return sizeof *n + n->n;
}

/* The caller has the lock. */
static void push(struct audit *a, struct note *n)
{
    n->next = NULL;
    *a->end = n;
    a->end = &n->next;
    a->waiting++;
    a->bytes += size_of(n);
}

static struct note *note_of(const struct audit *a, const struct audit_entry *e, audit_done *done, void *arg)
{
    unsigned char targets[LIMIT_AUDIT_TARGETS][AUDIT_TARGET_BYTES];
    size_t n = e->target_count < LIMIT_AUDIT_TARGETS ? e->target_count : LIMIT_AUDIT_TARGETS;

    for (size_t i = 0; i < n; i++)
        audit_hash(a->key, e->targets[i], targets[i]);
    return note_new(&(struct audit_record){.time = clock_now(),
                                           .instance = str_of(a->o.instance),
                                           .kind = e->kind,
                                           .who = e->who,
                                           .from = e->from,
                                           .method = e->method,
                                           .route = e->route,
                                           .request = e->request,
                                           .targets = (const unsigned char(*)[AUDIT_TARGET_BYTES])targets,
                                           .target_count = n,
                                           .count = e->count,
                                           .status = e->status,
                                           .forwarded = e->forwarded,
                                           .erases = e->erasure != NULL,
                                           .erasure = e->erasure ? *e->erasure : (struct audit_erasure){.until = 0}},
                    done, arg);
}

int audit_note(struct audit *a, const struct audit_entry *entry, audit_done *done, void *arg)
{
    int r = AUDIT_NOTED;

    assert(entry->kind >= AUDIT_READ && entry->kind < AUDIT_KINDS);
    struct note *note = note_of(a, entry, done, arg);
    pthread_mutex_lock(&a->lock);
    if (a->stopping)
        r = AUDIT_STOPPED;
    else if (!note || a->waiting >= LIMIT_AUDIT_QUEUE || a->bytes + size_of(note) > LIMIT_AUDIT_BYTES)
        r = AUDIT_FULL;
    else
        push(a, note);
    if (r == AUDIT_NOTED)
        pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
    if (r == AUDIT_NOTED)
        return r;
    stats_add(a->full, 1);
    free(note);
    return r;
}

bool audit_takes(struct audit *a)
{
    pthread_mutex_lock(&a->lock);
    bool takes = !a->stopping && !a->failing && a->waiting < LIMIT_AUDIT_QUEUE / 2;
    pthread_mutex_unlock(&a->lock);
    return takes;
}

/* --- batches -------------------------------------------------------------------------------------------------- */

/* What has been waited for too long is told so, once; it stays in the queue. The callbacks take no lock of ours. */
static void tell_late(struct audit *a, bool all)
{
    int64_t now = clock_monotonic();

    for (size_t i = 0; i < a->batch_n; i++) {
        struct note *n = a->batch[i];
        if (!n->done || (!all && now < n->deadline))
            continue;
        stats_add(a->late, 1);
        n->done(n->arg, false);
        n->done = NULL;
    }
    for (;;) {
        audit_done *done = NULL;
        void *arg = NULL;
        pthread_mutex_lock(&a->lock);
        for (struct note *n = a->first; n && !done; n = n->next)
            if (n->done && (all || now >= n->deadline)) {
                done = n->done;
                arg = n->arg;
                n->done = NULL;
            }
        pthread_mutex_unlock(&a->lock);
        if (!done)
            break;
        stats_add(a->late, 1);
        done(arg, false);
    }
}

/* False when the thread is to end: all is written, or its time is over. */
static bool take_batch(struct audit *a)
{
    pthread_mutex_lock(&a->lock);
    while (!a->first && !a->stopping)
        pthread_cond_wait(&a->cond, &a->lock);
    bool go_on = a->first && (!a->stopping || clock_monotonic() < a->stop_by);
    for (a->batch_n = 0; go_on && a->first && a->batch_n < LIMIT_AUDIT_BATCH;) {
        struct note *n = a->first;
        a->first = n->next;
        a->batch[a->batch_n++] = n;
    }
    if (!a->first)
        a->end = &a->first;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static bool is_over(struct audit *a)
{
    pthread_mutex_lock(&a->lock);
    bool over = a->stopping && clock_monotonic() >= a->stop_by;
    pthread_mutex_unlock(&a->lock);
    return over;
}

/* A moment before the next try. False: the time to stop is over. */
static bool rest(struct audit *a)
{
    struct timespec until = cond_in(RETRY_MS);
    int status = 0;

    tell_late(a, false);
    pthread_mutex_lock(&a->lock);
    a->failing = true;
    bool stopping = a->stopping;
    while (status == 0 && a->stopping == stopping)
        status = pthread_cond_timedwait(&a->cond, &a->lock, &until);
    pthread_mutex_unlock(&a->lock);
    return !is_over(a);
}

static void write_lines(struct audit *a)
{
    buf_reset(&a->lines);
    for (size_t i = 0; i < a->batch_n; i++) {
        struct note *n = a->batch[i];
        if (n->in_file)
            continue;
        if (n->r.number == 0)
            n->r.number = a->number++;
        audit_line_write(&a->lines, &n->r);
    }
}

static bool to_file(struct audit *a)
{
    struct err e = {0};

    write_lines(a);
    for (int r = 0; a->lines.n > 0;) {
        r = a->lines.failed ? -ENOMEM : audit_file_append(&a->file, buf_str(&a->lines), &e);
        if (r == 0)
            break;
        stats_add(a->no_file, 1);
        log_limited(&a->limit, LOG_ERROR,
                    "profiler: the audit log cannot be written, personal reads will be refused: %s",
                    a->lines.failed ? "out of memory" : e.text);
        if (!rest(a))
            return false;
        if (a->lines.failed)
            write_lines(a);
    }
    for (size_t i = 0; i < a->batch_n; i++)
        a->batch[i]->in_file = true;
    return true;
}

/* Those that the log does not have yet. */
static struct audit_flight *flight_of(struct audit *a)
{
    struct audit_flight *f = audit_flight_new(a->batch_n);
    struct buf value;

    buf_init(&value, LIMIT_AUDIT_LINE);
    for (size_t i = 0; f && i < a->batch_n; i++) {
        buf_reset(&value);
        if (!audit_record_pack(&a->batch[i]->r, &value) || !audit_flight_add(f, buf_str(&value))) {
            audit_flight_let_go(f);
            f = NULL;
        }
    }
    buf_deinit(&value);
    return f;
}

/* False: not all of it was taken; or the time to stop is over. */
static bool try_log(struct audit *a, struct audit_flight *f, enum log_status *s)
{
    audit_flight_start(f, a->o.log);
    while (!audit_flight_wait(f, RETRY_MS, s)) {
        tell_late(a, false);
        if (is_over(a))
            return false;
    }
    return *s == LOG_OK;
}

static bool to_log(struct audit *a)
{
    struct audit_flight *f = NULL;
    enum log_status s = LOG_FAILED;
    bool good;

    for (;;) {
        if (!f)
            f = flight_of(a);
        good = f && try_log(a, f, &s);
        if (good || is_over(a))
            break;
        stats_add(a->no_log, 1);
        log_limited(&a->limit, LOG_ERROR, "profiler: the audit log does not reach its topic: %s",
                    f ? log_status_text(s) : "out of memory");
        if (!rest(a))
            break;
    }
    audit_flight_let_go(f);
    return good;
}

static void finish(struct audit *a)
{
    size_t bytes = 0;

    audit_sent_write(&a->sent, a->batch[a->batch_n - 1]->r.number);
    for (size_t i = 0; i < a->batch_n; i++) {
        struct note *n = a->batch[i];
        stats_add(a->records[n->r.kind], 1);
        if (n->done)
            n->done(n->arg, true);
        bytes += size_of(n);
        free(n);
    }
    pthread_mutex_lock(&a->lock);
    a->failing = false;
    a->waiting -= a->batch_n;
    a->bytes -= bytes;
    pthread_mutex_unlock(&a->lock);
    a->batch_n = 0;
}

static void *run(void *arg)
{
    struct audit *a = arg;

    while (take_batch(a) && to_file(a) && to_log(a))
        finish(a);
    tell_late(a, true);
    return NULL;
}

/* --- life ----------------------------------------------------------------------------------------------------- */

static void write_gauges(struct buf *out, void *arg)
{
    struct audit *a = arg;

    pthread_mutex_lock(&a->lock);
    size_t waiting = a->waiting;
    pthread_mutex_unlock(&a->lock);
    stats_gauge_head(out, "waymark_audit_waiting", "Records of the audit log that are not on disk and on the log yet.");
    stats_gauge_line(out, "waymark_audit_waiting", NULL, (double)waiting);
}

static void add_figures(struct audit *a)
{
    static const char name[] = "waymark_audit_failed_total";
    static const char help[] = "Records refused, so that what they are of was not answered (refused); answered 503 "
                               "before they were durable (late); tries to write the file or the log that failed.";
    char labels[32];

    for (unsigned k = AUDIT_READ; k < AUDIT_KINDS; k++) {
        snprintf(labels, sizeof labels, "kind=\"%s\"", audit_kind_name(k));
        a->records[k] = stats_counter(a->o.stats, "waymark_audit_records_total", labels,
                                      "Records of the audit log on disk and on the log.");
    }
    a->full = stats_counter(a->o.stats, name, "reason=\"refused\"", help);
    a->late = stats_counter(a->o.stats, name, "reason=\"late\"", help);
    a->no_file = stats_counter(a->o.stats, name, "reason=\"file\"", help);
    a->no_log = stats_counter(a->o.stats, name, "reason=\"log\"", help);
    stats_add_gauges(a->o.stats, write_gauges, a);
}

/* What the last lines of the file say: which number is next, and what the log may lack. */
static int take_line(struct audit *a, struct json_parser *p, struct arena *arena, char *line, size_t n)
{
    struct audit_record r;

    arena_reset(arena);
    if (!audit_line_read(p, line, n, arena, &r))
        return 0; /* somebody has written into the file */
    if (r.number >= a->number)
        a->number = r.number + 1;
    if (r.number <= a->sent.number || a->waiting >= LIMIT_AUDIT_QUEUE)
        return 0;
    struct note *note = note_new(&r, NULL, NULL);
    if (!note)
        return -ENOMEM;
    note->in_file = true;
    push(a, note);
    return 0;
}

static int take_lines(struct audit *a, struct buf *tail)
{
    struct json_parser *p = json_parser_new();
    struct arena arena;
    int r = p ? 0 : -ENOMEM;

    arena_init(&arena, MIB);
    for (char *line = tail->p, *end = tail->p + tail->n; r == 0 && line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        size_t n = (size_t)((newline ? newline : end) - line);
        r = take_line(a, p, &arena, line, n);
        line += n + 1;
    }
    arena_deinit(&arena);
    json_parser_free(p);
    return r;
}

static int resume(struct audit *a, struct err *e)
{
    struct buf tail;

    buf_init(&tail, TAIL_BYTES + JSON_PADDING);
    int r = audit_file_tail(&a->file, TAIL_BYTES, &tail, e);
    if (r == 0 && !buf_room(&tail, JSON_PADDING))
        r = -ENOMEM;
    if (r == 0)
        memset(tail.p + tail.n, 0, JSON_PADDING);
    a->number = a->sent.number + 1;
    if (r == 0)
        r = take_lines(a, &tail);
    if (r == 0 && a->waiting > 0)
        log_info("profiler: the last %zu records of the audit log go to its topic again", a->waiting);
    buf_deinit(&tail);
    return r;
}

static int open_files(struct audit *a, struct err *e)
{
    int r = audit_key_load(a->o.folder, true, a->key, e);

    if (r == 0)
        r = audit_file_open(&a->file, a->o.folder, a->o.file_bytes, a->o.files, e);
    if (r == 0)
        r = audit_sent_open(&a->sent, a->o.folder, e);
    return r == 0 ? resume(a, e) : r;
}

int audit_start(const struct audit_options *o, struct audit **out, struct err *e)
{
    struct audit *a = calloc(1, sizeof *a);

    if (!a)
        abort();
    a->o = *o;
    a->file.fd = a->sent.fd = -1;
    a->end = &a->first;
    a->limit.period_ms = TIME_MINUTE;
    buf_init(&a->lines, (size_t)LIMIT_AUDIT_BATCH * LIMIT_AUDIT_LINE);
    pthread_mutex_init(&a->lock, NULL);
    cond_init(&a->cond);
    int r = open_files(a, e);
    if (r != 0) {
        audit_free(a);
        return r;
    }
    add_figures(a);
    if (pthread_create(&a->thread, NULL, run, a) != 0)
        abort();
    pthread_setname_np(a->thread, "audit");
    a->started = true;
    *out = a;
    return 0;
}

void audit_stop(struct audit *a, int64_t ms)
{
    if (!a || !a->started)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    a->stop_by = clock_monotonic() + ms;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->started = false;
    if (a->waiting > 0)
        log_error("profiler: %zu records of the audit log did not reach its topic before the stop", a->waiting);
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    assert(!a->started);
    for (size_t i = 0; i < a->batch_n; i++)
        free(a->batch[i]);
    for (struct note *n = a->first, *next; n; n = next) {
        next = n->next;
        free(n);
    }
    audit_file_close(&a->file);
    audit_sent_close(&a->sent);
    sodium_memzero(a->key, sizeof a->key);
    buf_deinit(&a->lines);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->cond);
    free(a);
}
