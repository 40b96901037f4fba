/* The file of an export. One that was made here is sent as it is; of one made in parts what is asked for is put
 * together first, in a file without a name, so that an answer that begins is whole. Look-up threads go from step to
 * step; nobody waits on a thread for others. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/api_export_parts.h"

/* --- ranges --------------------------------------------------------------------------------------------------- */

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
    const char *type;
    unsigned status;
    uint64_t from; /* of what is asked for */
    char tag[EXPORT_ID_BYTES + 3], range[80], name[160];
};

static void no_export(struct ask *ask)
{
    ask_error(ask, 404, "export_not_found", "there is no file of an export of this id");
}

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

/* How much of a file of that size is asked for, from where. False: it has answered. */
static bool choose(struct ask *ask, struct file_answer *f, uint64_t size)
{
    struct str range = http_header(ask->request, "Range"), condition = http_header(ask->request, "If-Range");
    int r = RANGE_NONE;

    f->status = 200;
    f->from = 0;
    f->file.n = size;
    if (str_has(range) && (!str_has(condition) || str_is(condition, f->tag)))
        r = read_range(range, size, &f->from, &f->file.n);
    if (r == RANGE_BEYOND) {
        answer_beyond(ask, f, size);
        return false;
    }
    if (r == RANGE_GOOD) {
        f->status = 206;
        snprintf(f->range, sizeof f->range, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, f->from, f->from + f->file.n - 1,
                 size);
        add_field(f, "Content-Range", f->range);
    }
    return true;
}

static void send(struct ask *ask, struct file_answer *f)
{
    ask_send(ask, &(struct http_answer){.status = f->status,
                                        .content_type = f->type,
                                        .fields = f->fields,
                                        .field_count = f->count,
                                        .file = &f->file});
}

/* --- one that is here ------------------------------------------------------------------------------------------ */

static void answer_here(struct ask *ask, struct file_answer *f)
{
    char name[96] = "";
    uint64_t size = 0;
    int fd;

    if (exports_open(ask->api->o.exports, ask->name, &f->file.fd, &size, &f->type, name, sizeof name) != 0) {
        no_export(ask);
        return;
    }
    fd = f->file.fd; /* an answer may take the request's memory along */
    exports_taken(ask->api->o.exports, ask->name);
    describe(f, ask->name, name);
    if (choose(ask, f, size)) {
        f->file.from = f->from;
        send(ask, f);
    } else {
        close(fd);
    }
}

/* --- one in parts ---------------------------------------------------------------------------------------------- */

/* A piece of the file, in the file of a part. */
struct piece {
    size_t part;
    uint64_t from, n;
};

struct fetching {
    struct lookup_job job; /* first */
    struct api *api;       /* outlives the request */
    struct whole *whole;
    struct file_answer *f;
    struct piece pieces[2 * EXPORT_PARTS + 1];
    size_t count, at;
    struct peer_call call;
    struct circle *taken;
};

static void step(struct fetching *g);

/* The request is answered before or after. */
static struct ask *end(struct fetching *g)
{
    struct ask *ask = g->whole->ask;

    atomic_fetch_sub(&g->api->fetches, 1);
    whole_free(g->whole);
    free(g);
    return ask;
}

static void fail(struct fetching *g, unsigned status, const char *why)
{
    char text[300];

    close(g->f->file.fd);
    snprintf(text, sizeof text, "%s", why);
    struct ask *ask = end(g);
    if (status == 404)
        no_export(ask);
    else
        ask_error(ask, status, status == 507 ? "disk_full" : "unavailable", "%s", text);
}

static void away(struct fetching *g, size_t part)
{
    char text[300];

    snprintf(text, sizeof text, "the profiler at %.150s, which has a part of the export, does not answer: ask again",
             g->whole->parts[part].base);
    fail(g, 503, text);
}

/* All bytes of a part from one place up to another. */
static void add_piece(struct fetching *g, size_t part, uint64_t from, uint64_t to)
{
    if (to > from)
        g->pieces[g->count++] = (struct piece){part, from, to - from};
}

static void cut_whole(struct fetching *g)
{
    const struct whole *w = g->whole;

    add_piece(g, 0, 0, part_number(w->parts[0].root, "head"));
    for (size_t i = 0; i < w->count; i++) {
        uint64_t head = part_number(w->parts[i].root, "head");
        add_piece(g, i, head, head + part_number(w->parts[i].root, "removals"));
    }
    for (size_t i = 0; i < w->count; i++) {
        const struct json *p = w->parts[i].root;
        add_piece(g, i, part_number(p, "head") + part_number(p, "removals"), part_number(p, "bytes"));
    }
}

/* Leaves only what is asked for. */
static void cut_range(struct fetching *g, uint64_t from, uint64_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < g->count; i++) {
        struct piece p = g->pieces[i];
        uint64_t skip = from < p.n ? from : p.n;

        from -= skip;
        p.from += skip;
        p.n -= skip;
        p.n = p.n < n ? p.n : n;
        n -= p.n;
        if (p.n > 0)
            g->pieces[kept++] = p;
    }
    g->count = kept;
}

static uint64_t size_of(const struct fetching *g)
{
    uint64_t all = 0;

    for (size_t i = 0; i < g->count; i++)
        all += g->pieces[i].n;
    return all;
}

/* --- its bytes ------------------------------------------------------------------------------------------------- */

static int write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? -errno : -EIO;
        p += done;
        n -= (size_t)done;
    }
    return 0;
}

/* The piece is shorter by that. Goes on with the next step, after whoever else waits for the thread. */
static void run_step(struct lookup_job *job, bool in_time)
{
    struct fetching *g = (struct fetching *)job;

    if (in_time)
        step(g);
    else
        fail(g, 503, "the program ends");
}

static void advance(struct fetching *g, uint64_t n)
{
    struct piece *p = &g->pieces[g->at];

    p->from += n;
    p->n -= n;
    g->at += p->n == 0;
    g->job = (struct lookup_job){.run = run_step};
    if (!lookups_submit(g->whole->ask->api->o.lookups, &g->job))
        fail(g, 503, "too many requests are waiting");
}

static uint64_t next_bytes(const struct fetching *g)
{
    const struct piece *p = &g->pieces[g->at];

    return p->n < LIMIT_EXPORT_FETCH_BYTES ? p->n : LIMIT_EXPORT_FETCH_BYTES;
}

/* -ENOENT: an erasure has taken it back. */
static int copy_bytes(struct fetching *g, uint64_t n)
{
    const struct ask *ask = g->whole->ask;
    char *room = malloc(LIMIT_KEPT_BYTES), name[96];
    uint64_t at = g->pieces[g->at].from, size;
    const char *type;
    int fd = -1, rc = room ? 0 : -ENOMEM;

    if (rc == 0 && exports_open(ask->api->o.exports, ask->name, &fd, &size, &type, name, sizeof name) != 0)
        rc = -ENOENT;
    while (rc == 0 && n > 0) {
        ssize_t got = pread(fd, room, n < LIMIT_KEPT_BYTES ? n : LIMIT_KEPT_BYTES, (off_t)at);

        rc = got <= 0 ? -EIO : write_all(g->f->file.fd, room, (size_t)got);
        n -= got > 0 ? (uint64_t)got : 0;
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (fd >= 0)
        close(fd);
    free(room);
    return rc;
}

static void copy_here(struct fetching *g)
{
    uint64_t n = next_bytes(g);
    int rc = copy_bytes(g, n);

    if (rc == 0)
        advance(g, n);
    else
        fail(g, rc == -ENOENT ? 404 : rc == -ENOSPC ? 507 : 503, "the file cannot be put together here");
}

static void run_fetched(struct lookup_job *job, bool in_time)
{
    struct fetching *g = (struct fetching *)job;
    struct forward_call *call = &g->call.call;
    uint64_t n = next_bytes(g);
    int rc = call->status == 200 && call->body.n == n && in_time ? write_all(g->f->file.fd, call->body.p, n) : -EIO;
    unsigned status = call->status;
    bool whole = call->body.n == n;

    buf_deinit(&call->body);
    if (rc == 0)
        advance(g, n);
    else if (status == 404)
        fail(g, 404, "");
    else if (status == 200 && whole)
        fail(g, rc == -ENOSPC ? 507 : 503, "the file cannot be put together here");
    else
        away(g, g->pieces[g->at].part);
}

/* On the forwarder's thread. */
static void fetched(struct peer_call *c)
{
    struct fetching *g = (struct fetching *)((char *)c - offsetof(struct fetching, call));

    g->job = (struct lookup_job){.run = run_fetched, .urgent = true};
    if (!lookups_submit(g->whole->ask->api->o.lookups, &g->job))
        run_fetched(&g->job, false);
}

static void fetch(struct fetching *g, const char *base)
{
    const struct piece *p = &g->pieces[g->at];
    struct ask *ask = g->whole->ask;
    char path[80], more[64];
    int64_t ms = clock_monotonic() - ask->arrived + LIMIT_EXPORT_FETCH_MS;

    snprintf(path, sizeof path, EXPORTS_INSIDE "/%.*s/part", STR_ARG(ask->name));
    snprintf(more, sizeof more, "first=%" PRIu64 "&bytes=%" PRIu64, p->from, next_bytes(g));
    if (!peer_ask_for(ask, &g->call, base, str_of(path), more, STR_NONE, ms, fetched))
        fail(g, 503, "too many questions to other profilers are under way");
}

static void step(struct fetching *g)
{
    if (g->at == g->count) {
        struct file_answer *f = g->f;
        send(end(g), f);
        return;
    }
    const char *base = g->whole->parts[g->pieces[g->at].part].base;
    if (base[0])
        fetch(g, base);
    else
        copy_here(g);
}

/* --- the way there ---------------------------------------------------------------------------------------------- */

/* All have noted that somebody takes the file: the next delta may begin from it. */
static void noted(struct circle *c)
{
    struct fetching *g = c->arg;
    const struct circle_answer *gone = NULL;
    char text[300];

    for (size_t i = 0; i < c->count; i++)
        gone = c->answers[i].status == 200 ? gone : &c->answers[i];
    if (gone)
        snprintf(text, sizeof text,
                 "the profiler at %.150s, which has a part of the export, does not answer: ask again",
                 circle_name(gone));
    circle_free(c);
    if (gone)
        fail(g, 503, text);
    else
        step(g);
}

static void note_taken(struct fetching *g)
{
    struct whole *w = g->whole;
    int fd = g->f->file.fd;
    struct circle *c = circle_new(w->ask, noted, g);
    char path[64];

    if (!c) { /* it has answered */
        close(fd);
        end(g);
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        if (part_truth(w->parts[i].root, "fetched"))
            continue;
        if (w->parts[i].base[0])
            circle_add(c, w->parts[i].base);
        else
            exports_taken(w->ask->api->o.exports, w->id);
    }
    snprintf(path, sizeof path, EXPORTS_INSIDE "/%.*s", STR_ARG(w->id));
    circle_ask(c, &(struct circle_question){str_of(path), "taken=true", STR_NONE, EXPORT_ASK_MS});
}

static bool only_head(const struct ask *ask)
{
    return str_is(http_method(ask->request), "HEAD");
}

/* Room for what is asked for. A HEAD gets the length alone. */
static void begin(struct fetching *g)
{
    struct ask *ask = g->whole->ask;
    uint64_t n = g->f->file.n;
    int rc = exports_temporary(ask->api->o.exports, only_head(ask) ? 0 : n, &g->f->file.fd);

    if (rc == 0 && only_head(ask) && ftruncate(g->f->file.fd, (off_t)n) == 0) {
        g->count = 0;
        step(g);
    } else if (rc == 0) {
        note_taken(g);
    } else {
        end(g);
        ask_error(ask, rc == -ENOSPC ? 507 : 503, rc == -ENOSPC ? "disk_full" : "unavailable",
                  "there is no room to put the file together");
    }
}

static struct fetching *fetching_new(struct whole *w, struct file_answer *f)
{
    struct api *a = w->ask->api;
    struct fetching *g = NULL;

    if (atomic_fetch_add(&a->fetches, 1) < LIMIT_EXPORT_FETCHES)
        g = calloc(1, sizeof *g);
    if (!g) {
        atomic_fetch_sub(&a->fetches, 1);
        ask_error(w->ask, 503, "unavailable", "%d files are being put together already", LIMIT_EXPORT_FETCHES);
        whole_free(w);
        return NULL;
    }
    g->api = a;
    g->whole = w;
    g->f = f;
    return g;
}

static void put_together(struct whole *w, struct file_answer *f)
{
    struct ask *ask = w->ask;
    const struct json *first = w->parts[0].root;
    struct str type = arena_dup(http_arena(ask->request), part_text(first, "content_type"));
    struct fetching *g;
    char name[160];

    snprintf(name, sizeof name, "%.*s-%.*s.%.*s", STR_ARG(part_text(first, "audience")), STR_ARG(w->id),
             STR_ARG(part_text(first, "extension")));
    f->type = type.p;
    describe(f, w->id, name);
    g = fetching_new(w, f);
    if (!g)
        return;
    cut_whole(g);
    if (!choose(ask, f, size_of(g))) {
        end(g);
        return;
    }
    cut_range(g, f->from, f->file.n);
    f->file.from = 0;
    begin(g);
}

static void found(struct whole *w)
{
    struct ask *ask = w->ask;
    enum export_whole state = export_whole_state(w->parts, w->count);
    struct file_answer *f = arena_zalloc(http_arena(ask->request), sizeof *f);

    if (!f || state != WHOLE_DONE) {
        if (!f)
            ask_error(ask, 503, "unavailable", "out of memory");
        else if (state == WHOLE_RUNNING)
            ask_error(ask, 409, "not_finished", "the export is not finished");
        else
            no_export(ask);
        whole_free(w);
    } else if (w->count == 1 && !w->parts[0].base[0]) {
        whole_free(w);
        answer_here(ask, f);
    } else {
        put_together(w, f);
    }
}

void run_export_file(struct ask *ask)
{
    whole_find(ask, ask->name, 0, found);
}

/* --- for another profiler ---------------------------------------------------------------------------------------- */

void run_inside_part(struct ask *ask)
{
    struct file_answer *f = arena_zalloc(http_arena(ask->request), sizeof *f);
    const char *instance = ask->api->o.instance, *type;
    uint64_t size, from, n;
    char name[96];

    if (!f || num_u64(http_query(ask->request, "first"), &from) != NUM_OK ||
        num_u64(http_query(ask->request, "bytes"), &n) != NUM_OK) {
        ask_error(ask, 400, "parameter_invalid", "needs first and bytes");
        return;
    }
    if (exports_open(ask->api->o.exports, ask->name, &f->file.fd, &size, &type, name, sizeof name) != 0) {
        no_export(ask);
    } else if (from > size || n > size - from) {
        close(f->file.fd);
        no_export(ask);
    } else {
        f->status = 200;
        f->type = type;
        f->file.from = from;
        f->file.n = n;
        add_field(f, "X-Waymark-Instance", instance && instance[0] ? instance : "waymark");
        add_field(f, "Cache-Control", "no-store");
        send(ask, f);
    }
}
