/* Reading the erasures of the audit log, from its topic and its files, and putting their commands on a log. Commands;
 * one thread. */
#include "profiler/erasures.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/audit_file.h"
#include "profiler/audit_line.h"
#include "proto/internal.h"

#define POLL_MS 100
#define READ_BATCH 256
#define LINE_BYTES (2 * LIMIT_AUDIT_LINE)

static int no_memory(struct err *e)
{
    err_set(e, "out of memory");
    return -ENOMEM;
}

static int add(struct erasures *v, const struct audit_record *r, struct err *e)
{
    if (!r->erases)
        return 0;
    if (v->n == v->room) {
        size_t room = v->room ? 2 * v->room : 64;
        struct erasure_noted *more = realloc(v->v, room * sizeof *more);

        if (!more)
            return no_memory(e);
        v->v = more;
        v->room = room;
    }
    v->v[v->n++] = (struct erasure_noted){r->time, r->erasure};
    return 0;
}

void erasures_free(struct erasures *v)
{
    free(v->v);
    *v = (struct erasures){0};
}

/* --- the topic ------------------------------------------------------------------------------------------------ */

struct reading {
    struct event_log *log;
    struct log_reader *reader;
    int64_t ms;
    struct erasures *out;
};

static int silent(const struct reading *r, const char *why, struct err *e)
{
    enum log_status status = event_log_ready(r->log);

    err_set(e, "the audit topic cannot be read: %s",
            *why               ? why
            : status == LOG_OK ? "the log does not answer"
                               : log_status_text(status));
    return -EAGAIN;
}

/* 0, LOG_READ_GAP, or -EAGAIN with words. */
static int seek(const struct reading *r, int64_t offset, struct err *e)
{
    const uint32_t partition = 0;

    for (int64_t end = clock_monotonic() + r->ms;;) {
        int found = log_reader_seek(r->reader, partition, offset);

        if (found >= 0)
            return found;
        if (clock_monotonic() > end)
            return silent(r, "", e);
        log_reader_wait(r->reader, &partition, 1, POLL_MS);
    }
}

static int take(const struct reading *r, const struct log_record *records, size_t n, struct err *e)
{
    struct arena a;
    int rc = 0;

    arena_init(&a, 16 * MIB);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct audit_record record;

        arena_reset(&a);
        if (records[i].kind == LOG_KIND_AUDIT && audit_record_unpack(records[i].value, &a, &record) == CODEC_OK)
            rc = add(r->out, &record, e);
    }
    arena_deinit(&a);
    return rc;
}

static int read_to(const struct reading *r, int64_t next, int64_t end, struct err *e)
{
    struct log_record *records = calloc(READ_BATCH, sizeof *records);
    const uint32_t partition = 0;
    int64_t until = clock_monotonic() + r->ms;
    int rc = records ? 0 : no_memory(e);

    while (rc == 0 && next < end) {
        struct err why = {0};
        int n = log_reader_read(r->reader, partition, records, READ_BATCH, MIB, &why);

        if (n > 0) {
            rc = take(r, records, (size_t)n, e);
            next = records[n - 1].offset + 1;
            until = clock_monotonic() + r->ms;
        } else if ((n < 0 && n != -EAGAIN) || clock_monotonic() > until) {
            rc = silent(r, why.text, e);
        } else {
            log_reader_wait(r->reader, &partition, 1, POLL_MS);
        }
    }
    free(records);
    return rc;
}

/* Where it begins and ends is known once it was asked for a place that it does not have. */
int erasures_of_log(struct event_log *log, int64_t ms, struct erasures *out, struct err *e)
{
    struct reading r = {.log = log, .ms = ms, .out = out};
    int rc = log_reader_open(log, LOG_AUDIT, NULL, &r.reader, e);

    if (rc != 0)
        return rc;
    rc = seek(&r, INT64_MAX, e);
    if (rc >= 0) {
        int64_t begin = event_log_begin(log, LOG_AUDIT, 0), end = event_log_end(log, LOG_AUDIT, 0);

        rc = seek(&r, begin, e);
        if (rc == LOG_READ_GAP)
            rc = silent(&r, "it changes; try again", e);
        else if (rc == 0)
            rc = read_to(&r, begin, end, e);
    }
    log_reader_close(r.reader);
    return rc;
}

/* --- the files ------------------------------------------------------------------------------------------------ */

/* A line that is none, or is being written, says nothing. */
static int read_lines(FILE *f, struct json_parser *p, struct arena *a, char *line, struct erasures *out, struct err *e)
{
    struct audit_record r;
    int rc = 0;

    while (rc == 0 && fgets(line, LINE_BYTES, f)) {
        size_t n = strlen(line);

        if (n == 0 || line[n - 1] != '\n')
            continue;
        memset(line + n, 0, JSON_PADDING);
        arena_reset(a);
        if (audit_line_read(p, line, n - 1, a, &r))
            rc = add(out, &r, e);
    }
    return rc;
}

static int read_file(const char *folder, uint64_t number, struct erasures *out, struct err *e)
{
    char path[4200], *line = malloc(LINE_BYTES + JSON_PADDING);
    struct json_parser *p = json_parser_new();
    FILE *f = audit_file_path(folder, number, path, sizeof path) ? fopen(path, "re") : NULL;
    struct arena a;
    int rc = line && p ? 0 : no_memory(e);

    arena_init(&a, MIB);
    if (rc == 0 && f)
        rc = read_lines(f, p, &a, line, out, e);
    else if (rc == 0 && errno != ENOENT)
        rc = -errno;
    if (rc != 0 && !e->text[0])
        err_set(e, "%s: %s", path, strerror(-rc));
    if (f)
        fclose(f);
    arena_deinit(&a);
    json_parser_free(p);
    free(line);
    return rc;
}

int erasures_of_files(const char *folder, struct erasures *out, struct err *e)
{
    uint64_t *numbers = NULL;
    int n = audit_file_list(folder, &numbers, e), rc = n < 0 ? n : 0;

    for (int i = 0; i < n && rc == 0; i++)
        rc = read_file(folder, numbers[i], out, e);
    if (rc == 0)
        rc = read_file(folder, 0, out, e);
    free(numbers);
    return rc;
}

/* --- the list ------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct erasure_noted *x = a, *y = b;
    int r = x->time < y->time ? -1 : x->time > y->time;

    if (r == 0)
        r = memcmp(x->erasure.hash, y->erasure.hash, sizeof x->erasure.hash);
    return r ? r : memcmp(x->erasure.alias, y->erasure.alias, sizeof x->erasure.alias);
}

void erasures_sort(struct erasures *v)
{
    size_t n = 0;

    if (v->n == 0)
        return;
    qsort(v->v, v->n, sizeof *v->v, compare);
    for (size_t i = 1; i < v->n; i++)
        if (compare(&v->v[n], &v->v[i]) != 0)
            v->v[++n] = v->v[i];
    v->n = n + 1;
}

/* --- again on the log ----------------------------------------------------------------------------------------- */

static enum log_status append(struct event_log *log, const struct erasure_noted *n, struct buf *value)
{
    const struct audit_erasure *x = &n->erasure;
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = n->time,
                              .device = STR_NONE,
                              .user = STR_NONE,
                              .until = x->until,
                              .hash = {(const char *)x->hash, sizeof x->hash},
                              .alias = {(const char *)x->alias, sizeof x->alias}};

    buf_reset(value);
    if (!command_pack(&c, value))
        return LOG_FAILED;
    return event_log_append_wait(log, LOG_EVENTS, LOG_BY_COMMAND,
                                 &(struct log_record){.kind = LOG_KIND_COMMAND,
                                                      .key = STR_LIT(""),
                                                      .value = buf_str(value),
                                                      .placed = true,
                                                      .partition = x->partition},
                                 NULL, NULL);
}

int erasures_append(const struct erasures *v, struct event_log *log, size_t *appended, size_t *beyond, struct err *e)
{
    enum log_status s = LOG_OK;
    struct buf value;

    *appended = *beyond = 0;
    buf_init(&value, 4 * KIB);
    for (size_t i = 0; i < v->n && s == LOG_OK; i++) {
        if (v->v[i].erasure.partition >= event_log_partitions(log, LOG_EVENTS)) {
            ++*beyond;
            continue;
        }
        s = append(log, &v->v[i], &value);
        *appended += s == LOG_OK;
    }
    buf_deinit(&value);
    if (s == LOG_OK)
        return 0;
    err_set(e, "the log did not take an erasure: %s", log_status_text(s));
    return -EIO;
}
