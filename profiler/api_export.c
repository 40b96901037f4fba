/* Exports over HTTP: begun by POST, and looked at. Several profilers answer as one. Look-up threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/api_export_parts.h"

#define BEGIN_MS 2000 /* a small one is done by then, and its manifest in the answer */

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

static bool met(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;

    return !exports_runs(ask->api->o.exports, ask->name);
}

/* Waits until the part here, if there is one, is over, and goes on. */
static void wait_here(struct ask *ask, int64_t ms, void (*run)(struct lookup_job *job, bool in_time))
{
    ask->job =
        (struct lookup_job){.run = run, .met = met, .poll = true, .deadline = clock_monotonic() + ms, .urgent = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        run(&ask->job, false);
}

static void found_begun(struct whole *w)
{
    struct ask *ask = w->ask;
    const size_t size = sizeof "/v1/exports/" + EXPORT_ID_BYTES;
    char *location = arena_alloc(http_arena(ask->request), size); /* the answer may wait for its record */
    const struct http_field field = {"Location", location};
    struct buf b;

    if (location)
        snprintf(location, size, "/v1/exports/%.*s", STR_ARG(ask->name));
    buf_init(&b, LIMIT_ANSWER_BYTES);
    export_join(w->parts, w->count, &b);
    whole_free(w);
    if (b.failed)
        ask_error(ask, 503, "unavailable", "the export %.*s was begun and cannot be shown", STR_ARG(ask->name));
    else
        ask_send(ask, &(struct http_answer){
                          .status = 201, .fields = &field, .field_count = location != NULL, .body_buf = &b});
    buf_deinit(&b);
}

/* What is not done goes on, and is looked at by its id. */
static void run_begun(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    const int64_t most = EXPORT_ASK_MS - 1000; /* an answer of others that says "running" is one in time */
    int64_t rest = job->deadline - clock_monotonic();

    (void)in_time;
    whole_find(ask, ask->name, rest < 0 ? 0 : rest < most ? rest : most, found_begun);
}

void export_begun(struct ask *ask, const char *id)
{
    ask->name = arena_dup(http_arena(ask->request), str_of(id));
    if (str_has(ask->name))
        wait_here(ask, ask->wait_ms, run_begun);
    else
        ask_error(ask, 503, "unavailable", "out of memory; the export %s was begun", id);
}

void export_not_begun(struct ask *ask, int r, const char *code, const struct err *e)
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

static void begin_here(struct ask *ask, struct export_wanted *w)
{
    char id[EXPORT_ID_BYTES];
    const char *code = NULL;
    struct err e = {0};

    w->body = http_body(ask->request, &w->n);
    int r = exports_begin(ask->api->o.exports, w, id, &code, &e);
    if (r == 0)
        export_begun(ask, id);
    else
        export_not_begun(ask, r, code, &e);
}

/* The body is read here first: it goes on to others as it came. False: it has answered. */
static bool check(struct ask *ask, struct export_wanted *w, struct export_asked *out)
{
    struct err e = {0};
    const char *code = NULL, *body = http_body(ask->request, &w->n);
    int r = -ENOMEM;

    w->body = arena_zalloc(http_arena(ask->request), w->n + JSON_PADDING);
    if (w->body) {
        memcpy(w->body, body, w->n);
        r = exports_check(ask->api->o.exports, w, out, &code, &e);
    }
    if (r < 0)
        export_not_begun(ask, r, code, &e);
    return r == 0;
}

void run_begin_export(struct ask *ask)
{
    struct export_wanted w = {.audience = ask->name, .who = ask->who, .pii = ask_sees_pii(ask)};
    struct export_asked *asked = arena_zalloc(http_arena(ask->request), sizeof *asked);
    bool partial = str_is(http_query(ask->request, "partial"), "true");

    if (!ask_is_judged(ask) || !ask_may_change(ask))
        return;
    if (!ask->api->o.forward)
        begin_here(ask, &w);
    else if (!asked)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (!check(ask, &w, asked))
        return;
    else if (partial && asked->delta[0])
        ask_error(ask, 400, "parameter_invalid", "a delta cannot be partial: what others told would be lost");
    else if (partial)
        begin_here(ask, &w);
    else
        export_begin_all(ask, asked);
}

/* --- looking at them ------------------------------------------------------------------------------------------ */

static void found_shown(struct whole *w)
{
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    export_join(w->parts, w->count, &b);
    ask_answer(w->ask, &b);
    buf_deinit(&b);
    whole_free(w);
}

void run_export(struct ask *ask)
{
    whole_find(ask, ask->name, 0, found_shown);
}

/* For another profiler, which may wait for it to be over. */
static void run_shown(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    struct buf b;

    (void)in_time;
    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (exports_show(ask->api->o.exports, ask->name, EXPORT_INSIDE, &b) == 0)
        ask_answer(ask, &b);
    else
        ask_error(ask, 404, "export_not_found", "there is no part of it here");
    buf_deinit(&b);
}

void run_inside_export(struct ask *ask)
{
    uint64_t hold = 0;

    if (str_is(http_query(ask->request, "taken"), "true"))
        exports_taken(ask->api->o.exports, ask->name);
    if (str_is(http_query(ask->request, "stop"), "true"))
        exports_cancel(ask->api->o.exports, ask->name);
    if (str_is(http_query(ask->request, "go"), "true") && exports_go(ask->api->o.exports, ask->name) != 0) {
        ask_error(ask, 503, "unavailable", "there is no part of it here to be made");
        return;
    }
    if (num_u64(http_query(ask->request, "hold"), &hold) != NUM_OK || hold > LIMIT_WAIT_MS)
        hold = 0;
    wait_here(ask, (int64_t)hold, run_shown);
}

/* --- the list ------------------------------------------------------------------------------------------------- */

/* All parts of which an answer tells, behind those that are there. */
static size_t add_parts(const struct json *answer, const struct json **parts, size_t n, size_t most)
{
    const struct json *list = json_get(answer, "exports");

    for (const struct json *p = list && list->type == JSON_ARRAY ? list->child : NULL; p && n < most; p = p->next)
        parts[n++] = p;
    return n;
}

static void answer_list(struct ask *ask, const struct json *own, const struct circle *c)
{
    size_t most = (c->count + 1) * (LIMIT_EXPORTS + LIMIT_EXPORT_QUEUE + 2), n;
    const struct json **parts = calloc(most, sizeof *parts);
    struct buf b;

    if (!parts) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    n = add_parts(own, parts, 0, most);
    for (size_t i = 0; i < c->count; i++)
        n = add_parts(c->answers[i].root, parts, n, most);
    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_text(&b, "{\"exports\":");
    export_join_list(parts, n, &b);
    buf_add_char(&b, '}');
    ask_answer(ask, &b);
    buf_deinit(&b);
    free(parts);
}

static void listed(struct circle *c)
{
    struct ask *ask = c->ask;
    struct json_parser *parser = json_parser_new();
    const struct circle_answer *away = NULL;
    const struct json *own;
    struct buf b;

    for (size_t i = 0; i < c->count; i++)
        away = c->answers[i].status == 200 && c->answers[i].root ? away : &c->answers[i];
    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_text(&b, "{\"exports\":");
    exports_list(ask->api->o.exports, NULL, EXPORT_INSIDE, &b);
    buf_add_char(&b, '}');
    if (away)
        ask_error(ask, 503, "unavailable", "the profiler at %s, which may have exports, does not answer",
                  circle_name(away));
    else if (parser && !b.failed && buf_room(&b, JSON_PADDING) && json_parse(parser, b.p, b.n, &own, NULL) == JSON_OK)
        answer_list(ask, own, c);
    else
        ask_error(ask, 503, "unavailable", "the exports cannot be listed now");
    json_parser_free(parser);
    buf_deinit(&b);
    circle_free(c);
}

void run_exports(struct ask *ask)
{
    struct circle *c = circle_new(ask, listed, NULL);

    if (!c)
        return;
    if (circle_add_known(c)) {
        circle_ask(c, &(struct circle_question){STR_LIT(EXPORTS_INSIDE), NULL, STR_NONE, EXPORT_ASK_MS});
        return;
    }
    circle_free(c);
    ask_error(ask, 503, "unavailable", "there are too many profilers");
}
