/* Exports over HTTP: begun by POST, looked at, and fetched with Range; and what became of a campaign. Look-up threads;
 * reports, which go through everybody, on that of the scans. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/exports.h"

#define BEGIN_MS 2000 /* a small one is done by then, and its manifest in the answer */
#define REPORT_DAYS 14
#define REPORT_DAYS_MOST 365

bool prepare_exports(struct ask *ask)
{
    if (ask->api->o.exports)
        return true;
    ask_error(ask, 503, "unavailable", "no exports are made here");
    return false;
}

/* --- POST ----------------------------------------------------------------------------------------------------- */

bool prepare_begin_export(struct ask *ask)
{
    if (!prepare_exports(ask) || !prepare_named(ask))
        return false;
    if (!str_has(http_query(ask->request, "wait")))
        ask->wait_ms = BEGIN_MS;
    return true;
}

/* Whether it goes on no more. */
static bool is_over(struct ask *ask, struct str id)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root, *state;
    bool over = true;
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (parser && exports_show(ask->api->o.exports, id, &b) == 0 && buf_room(&b, JSON_PADDING) &&
        json_parse(parser, b.p, b.n, &root, NULL) == JSON_OK) {
        state = json_get(root, "state");
        over = !state || !str_is(state->text, "running");
    }
    buf_deinit(&b);
    json_parser_free(parser);
    return over;
}

static bool met(const struct lookup_job *job)
{
    struct ask *ask = (struct ask *)job;

    return is_over(ask, ask->name);
}

static void run_begun(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    const size_t size = sizeof "/v1/exports/" + EXPORT_ID_BYTES;
    char *location = arena_alloc(http_arena(ask->request), size); /* the answer may wait for its record */
    const struct http_field field = {"Location", location};
    struct buf b;

    (void)in_time; /* it goes on, and is looked at by its id */
    if (location)
        snprintf(location, size, "/v1/exports/%.*s", STR_ARG(ask->name));
    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (exports_show(ask->api->o.exports, ask->name, &b) != 0 || b.failed)
        ask_error(ask, 503, "unavailable", "the export %.*s was begun and cannot be shown", STR_ARG(ask->name));
    else
        ask_send(ask, &(struct http_answer){
                          .status = 201, .fields = &field, .field_count = location != NULL, .body_buf = &b});
    buf_deinit(&b);
}

static void begun(struct ask *ask, const char *id)
{
    ask->name = arena_dup(http_arena(ask->request), str_of(id));
    if (!str_has(ask->name)) {
        ask_error(ask, 503, "unavailable", "out of memory; the export %s was begun", id);
        return;
    }
    ask->job = (struct lookup_job){
        .run = run_begun, .met = met, .poll = true, .deadline = clock_monotonic() + ask->wait_ms, .urgent = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        run_begun(&ask->job, false);
}

static void not_begun(struct ask *ask, int r, const char *code, const struct err *e)
{
    const char *text = e->text[0] ? e->text : "the export cannot be made";

    switch (r) {
    case -EINVAL:
        ask_error(ask, 400, code ? code : "parameter_invalid", "%s", text);
        break;
    case -ENOENT:
        ask_error(ask, 404, code ? code : "audience_not_found", "%s", text);
        break;
    case -EACCES:
        ask_error(ask, 403, "scope_missing", "%s", text);
        break;
    case -ENOSPC:
        ask_error(ask, 507, code ? code : "disk_full", "%s", text);
        break;
    default:
        ask_error(ask, 503, "unavailable", "%s", text);
    }
}

void run_begin_export(struct ask *ask)
{
    char id[EXPORT_ID_BYTES + 1] = "";
    const char *code = NULL;
    struct err e = {0};
    size_t n;
    char *body = http_body(ask->request, &n);

    if (!ask_is_judged(ask) || !ask_may_change(ask))
        return;
    int r = exports_begin(ask->api->o.exports, ask->name, body, n, ask->who, ask_sees_pii(ask), id, &code, &e);
    if (r == 0)
        begun(ask, id);
    else
        not_begun(ask, r, code, &e);
}

/* --- looking at them ------------------------------------------------------------------------------------------ */

void run_exports(struct ask *ask)
{
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_text(&b, "{\"exports\":");
    int r = exports_list(ask->api->o.exports, &b);
    buf_add_char(&b, '}');
    if (r == 0)
        ask_answer(ask, &b);
    else
        ask_error(ask, 503, "unavailable", "the exports cannot be listed now");
    buf_deinit(&b);
}

static void no_export(struct ask *ask)
{
    ask_error(ask, 404, "export_not_found", "there is no export of this id");
}

void run_export(struct ask *ask)
{
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (exports_show(ask->api->o.exports, ask->name, &b) == 0)
        ask_answer(ask, &b);
    else
        no_export(ask);
    buf_deinit(&b);
}

/* --- the file ------------------------------------------------------------------------------------------------- */

enum { RANGE_NONE, RANGE_GOOD, RANGE_BEYOND };

/* "bytes=5-", "bytes=5-9", "bytes=-3"; of several ranges, and what is none, the whole is answered. */
static int read_range(struct str text, uint64_t size, uint64_t *from, uint64_t *n)
{
    static const struct str unit = {"bytes=", 6};
    uint64_t a = 0, b = 0;

    if (!str_starts(text, unit) || memchr(text.p, ',', text.n))
        return RANGE_NONE;
    text = str_trim((struct str){text.p + unit.n, text.n - unit.n});
    const char *dash = memchr(text.p, '-', text.n);
    if (!dash)
        return RANGE_NONE;
    struct str first = {text.p, (size_t)(dash - text.p)}, last = {dash + 1, text.n - first.n - 1};
    if ((first.n && num_u64(first, &a) != NUM_OK) || (last.n && num_u64(last, &b) != NUM_OK) || first.n + last.n == 0)
        return RANGE_NONE;
    if (first.n && last.n && b < a)
        return RANGE_NONE;
    if (first.n ? a >= size : b == 0 || size == 0)
        return RANGE_BEYOND;
    if (first.n == 0) {
        *from = b < size ? size - b : 0;
        *n = size - *from;
    } else {
        *from = a;
        *n = last.n && b < size - 1 ? b - a + 1 : size - a;
    }
    return RANGE_GOOD;
}

/* What an answer says of the file; in the request's arena. */
struct file_answer {
    struct http_file file;
    struct http_field fields[6];
    size_t count;
    char tag[EXPORT_ID_BYTES + 3], range[80], name[160];
};

static void add_field(struct file_answer *f, const char *name, const char *value)
{
    f->fields[f->count++] = (struct http_field){name, value};
}

/* An export's file never changes: its id is as good as its bytes. */
static void describe(struct file_answer *f, struct str id, const char *file_name)
{
    snprintf(f->tag, sizeof f->tag, "\"%.*s\"", STR_ARG(id));
    snprintf(f->name, sizeof f->name, "attachment; filename=\"%s\"", file_name);
    add_field(f, "ETag", f->tag);
    add_field(f, "Accept-Ranges", "bytes");
    add_field(f, "Content-Disposition", f->name);
    add_field(f, "Cache-Control", "no-store");
}

static void answer_beyond(struct ask *ask, struct file_answer *f, uint64_t size)
{
    struct buf b;

    close(f->file.fd);
    snprintf(f->range, sizeof f->range, "bytes */%" PRIu64, size);
    const struct http_field field = {"Content-Range", f->range};
    buf_init(&b, KIB);
    buf_add_char(&b, '{');
    json_write_member(&b, "code", STR_LIT("range_invalid"));
    json_write_member(&b, "message", STR_LIT("the range lies behind the end of the file"));
    buf_add_char(&b, '}');
    ask_send(ask, &(struct http_answer){.status = 416, .fields = &field, .field_count = 1, .body_buf = &b});
    buf_deinit(&b);
}

static void answer_file(struct ask *ask, struct file_answer *f, uint64_t size, const char *type)
{
    struct str range = http_header(ask->request, "Range"), condition = http_header(ask->request, "If-Range");
    unsigned status = 200;
    int r = RANGE_NONE;

    f->file.n = size;
    if (str_has(range) && (!str_has(condition) || str_is(condition, f->tag)))
        r = read_range(range, size, &f->file.from, &f->file.n);
    if (r == RANGE_BEYOND) {
        answer_beyond(ask, f, size);
        return;
    }
    if (r == RANGE_GOOD) {
        status = 206;
        snprintf(f->range, sizeof f->range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, f->file.from,
                 f->file.from + f->file.n - 1, size);
        add_field(f, "Content-Range", f->range);
    }
    ask_send(
        ask,
        &(struct http_answer){
            .status = status, .content_type = type, .fields = f->fields, .field_count = f->count, .file = &f->file});
}

void run_export_file(struct ask *ask)
{
    struct file_answer *f = arena_zalloc(http_arena(ask->request), sizeof *f);
    const char *type = NULL;
    char name[96] = "";
    uint64_t size = 0;

    if (!f) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    int r = exports_open(ask->api->o.exports, ask->name, &f->file.fd, &size, &type, name, sizeof name);
    if (r == -EBUSY) {
        ask_error(ask, 409, "not_finished", "the export is not finished");
    } else if (r != 0) {
        no_export(ask);
    } else {
        describe(f, ask->name, name);
        answer_file(ask, f, size, type);
    }
}

/* --- campaigns ------------------------------------------------------------------------------------------------ */

struct reporting {
    struct lookup_job job; /* first */
    struct ask *ask;
    int64_t days;
};

static void run_report(struct lookup_job *job, bool in_time)
{
    struct reporting *p = (struct reporting *)job;
    struct ask *ask = p->ask;
    struct err e = {0};
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    int r = in_time ? exports_campaign_report(ask->api->o.exports, ask->name, p->days, &b, &e) : -ECANCELED;
    free(p);
    if (r == 0)
        ask_answer(ask, &b);
    else if (r == 1)
        ask_error(ask, 404, "campaign_not_found", "no export was of a campaign of this name");
    else
        ask_error(ask, 503, r == -EAGAIN ? "not_yet" : "unavailable", "there is no report now: %s", e.text);
    buf_deinit(&b);
}

void run_campaign(struct ask *ask)
{
    struct str text = http_query(ask->request, "days");
    struct reporting *p;
    uint64_t days = REPORT_DAYS;

    if (!audience_name_good(ask->name)) {
        ask_error(ask, 404, "campaign_not_found", "no export was of a campaign of this name");
        return;
    }
    if (str_has(text) && (num_u64(text, &days) != NUM_OK || days < 1 || days > REPORT_DAYS_MOST)) {
        ask_error(ask, 400, "parameter_invalid", "days is a number from 1 to %d", REPORT_DAYS_MOST);
        return;
    }
    p = calloc(1, sizeof *p);
    if (!p) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    p->job = (struct lookup_job){.run = run_report};
    p->ask = ask;
    p->days = (int64_t)days;
    if (!ask_scan(ask, &p->job)) {
        free(p);
        ask_error(ask, 503, "unavailable", "too many counts are waiting");
    }
}
