/* POST /v1/tags/cuts: cut points of quintiles, now or as of a moment. They are of everybody, so the thread of the scans
 * makes them. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "profiler/api_audience.h"
#include "profiler/tag_keeper.h"

struct cutting {
    struct lookup_job job; /* first */
    struct ask *ask;
};

static void run(struct lookup_job *job, bool in_time)
{
    struct cutting *c = (struct cutting *)job;
    struct ask *ask = c->ask;
    struct err e = {0};
    struct buf b;

    free(c);
    buf_init(&b, LIMIT_ANSWER_BYTES);
    int r = in_time ? tag_keeper_cut(ask->api->o.tag_keeper, ask->as_of, &b, &e) : -ECANCELED;
    if (r == 0)
        ask_answer(ask, &b);
    else if (r == -ENODATA)
        ask_error(ask, 409, "no_people", "nobody has a counted order");
    else
        ask_error(ask, 503, r == -EAGAIN ? "not_yet" : "unavailable", "there are no cut points now: %s", e.text);
    buf_deinit(&b);
}

/* Nothing, or {"as_of":"…"}. */
static bool read_body(struct ask *ask)
{
    static const char *const members[] = {"as_of", NULL};
    struct str text = STR_NONE;
    size_t n;

    ask->as_of = TIME_NONE;
    http_body(ask->request, &n);
    if (n == 0)
        return true;
    struct json_parser *parser = json_parser_new();
    const struct json *root = ask_read_object(ask, parser, members);
    bool good = root && ask_read_text(ask, root, "as_of", &text);
    json_parser_free(parser);
    if (!good || !str_has(text) || time_parse(text, &ask->as_of) == 0)
        return good;
    ask_error(ask, 400, "parameter_invalid", "as_of is no time: it looks like 2026-01-31T23:59:59Z");
    return false;
}

void run_cuts(struct ask *ask)
{
    struct cutting *c;

    if (!ask->api->o.tag_keeper) {
        ask_error(ask, 503, "unavailable", "no cut points are made here");
        return;
    }
    if (!read_body(ask) || !ask_may_change(ask))
        return;
    c = calloc(1, sizeof *c);
    if (c)
        *c = (struct cutting){.job = {.run = run}, .ask = ask};
    if (c && ask_scan(ask, &c->job))
        return;
    free(c);
    ask_error(ask, 503, "unavailable", "too many counts are waiting");
}
