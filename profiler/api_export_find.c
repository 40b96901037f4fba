/* Finding an export that several profilers have parts of: everybody who is known to have people is asked, and then
 * whoever the parts name as makers. Look-up threads. */
#include <stdio.h>
#include <stdlib.h>

#include "profiler/api_export_parts.h"

static void ask_round(struct whole *w, struct circle *c);

void whole_free(struct whole *w)
{
    for (size_t i = 0; i < w->rounds; i++)
        circle_free(w->circles[i]);
    json_parser_free(w->parser);
    buf_deinit(&w->own);
    free(w);
}

/* --- who has what ----------------------------------------------------------------------------------------------- */

struct found {
    const struct json *roots[4 * LIMIT_FORWARDS_OF_ONE + 1];
    const char *bases[4 * LIMIT_FORWARDS_OF_ONE + 1];
    size_t count;
};

static void add(struct found *f, const struct json *root, const char *base)
{
    f->roots[f->count] = root;
    f->bases[f->count++] = base;
}

static void collect(const struct whole *w, struct found *f)
{
    f->count = 0;
    if (w->root)
        add(f, w->root, "");
    for (size_t r = 0; r < w->rounds; r++)
        for (size_t i = 0; i < w->circles[r]->count; i++) {
            const struct circle_answer *a = &w->circles[r]->answers[i];
            if (a->status == 200 && a->root && str_eq(part_text(a->root, "id"), w->id))
                add(f, a->root, a->base);
        }
}

/* Who was asked at that address; NULL: nobody. */
static const struct circle_answer *asked_at(const struct whole *w, struct str url)
{
    for (size_t r = 0; r < w->rounds; r++)
        for (size_t i = 0; i < w->circles[r]->count; i++)
            if (str_is(url, w->circles[r]->answers[i].base))
                return &w->circles[r]->answers[i];
    return NULL;
}

static const struct circle_answer *anybody_away(const struct whole *w)
{
    for (size_t r = 0; r < w->rounds; r++)
        for (size_t i = 0; i < w->circles[r]->count; i++) {
            const struct circle_answer *a = &w->circles[r]->answers[i];
            if (a->status != 200 && a->status != 404)
                return a;
        }
    return NULL;
}

static void none(struct whole *w)
{
    const struct circle_answer *away = anybody_away(w);
    struct ask *ask = w->ask;

    if (away)
        ask_error(ask, 503, "unavailable", "the profiler at %s, which may have the export, does not answer",
                  circle_name(away));
    else
        ask_error(ask, 404, "export_not_found", "there is no export of this id");
    whole_free(w);
}

/* --- the makers ------------------------------------------------------------------------------------------------- */

static void maker_away(struct whole *w, const struct json *maker)
{
    ask_error(
        w->ask, 503, "unavailable",
        "the profiler %.*s at %.*s, which has a part of the export, does not answer: start it, or ask for another "
        "export",
        STR_ARG(part_text(maker, "instance")), STR_ARG(part_text(maker, "url")));
    whole_free(w);
}

/* The parts in the order of the makers. What is not here yet may be had from who is asked next. False: somebody is away
 * (*away). */
static bool match(struct whole *w, const struct json *makers, const struct found *f, struct circle *next,
                  const struct json **away)
{
    char url[PEER_URL];

    w->count = 0;
    for (const struct json *m = makers->child; m && w->count < EXPORT_PARTS; m = m->next) {
        struct export_part *p = &w->parts[w->count++];
        const struct circle_answer *a = asked_at(w, part_text(m, "url"));

        *p = (struct export_part){.root = part_of_maker(m, f->roots, f->count), .maker = m};
        for (size_t i = 0; i < f->count; i++)
            if (p->root == f->roots[i])
                p->base = f->bases[i];
        snprintf(url, sizeof url, "%.*s", STR_ARG(part_text(m, "url")));
        *away = m;
        if (p->root)
            continue;
        if (!a && (w->rounds == sizeof w->circles / sizeof *w->circles || !next || !circle_add(next, url)))
            return false;
        if (a && a->status != 200 && a->status != 404)
            return false;
    }
    return true;
}

static void match_all(struct whole *w, const struct json *makers, const struct found *f)
{
    struct circle *next = circle_new(w->ask, NULL, w);
    const struct json *away = NULL;

    if (!next) {
        whole_free(w);
    } else if (!match(w, makers, f, next, &away)) {
        circle_free(next);
        maker_away(w, away);
    } else if (next->count > 0) {
        ask_round(w, next);
    } else {
        circle_free(next);
        w->found(w);
    }
}

static void step(struct whole *w)
{
    struct found f;

    collect(w, &f);
    if (f.count == 0) {
        none(w);
        return;
    }
    const struct json *makers = json_get(f.roots[0], "makers");
    if (makers && makers->type == JSON_ARRAY && makers->count > 0 && makers->count <= EXPORT_PARTS) {
        match_all(w, makers, &f);
        return;
    }
    w->parts[0] = (struct export_part){.root = f.roots[0], .base = f.bases[0]};
    w->count = 1;
    w->found(w);
}

static void answered(struct circle *c)
{
    struct whole *w = c->arg;

    w->circles[w->rounds++] = c;
    step(w);
}

static void ask_round(struct whole *w, struct circle *c)
{
    char path[64];

    snprintf(path, sizeof path, EXPORTS_INSIDE "/%.*s", STR_ARG(w->id));
    c->done = answered;
    c->arg = w;
    circle_ask(c, &(struct circle_question){str_of(path), w->more, STR_NONE, EXPORT_ASK_MS});
}

/* --- beginning -------------------------------------------------------------------------------------------------- */

/* False: out of memory. */
static bool look_here(struct whole *w)
{
    buf_init(&w->own, LIMIT_ANSWER_BYTES);
    if (exports_show(w->ask->api->o.exports, w->id, EXPORT_INSIDE, &w->own) != 0)
        return true;
    w->parser = json_parser_new();
    return w->parser && !w->own.failed && buf_room(&w->own, JSON_PADDING) &&
           json_parse(w->parser, w->own.p, w->own.n, &w->root, NULL) == JSON_OK;
}

bool export_id_good(struct str id)
{
    return str_starts(id, STR_LIT("ex_")) && id.n < EXPORT_ID_BYTES && audience_name_good(id);
}

void whole_find(struct ask *ask, struct str id, int64_t hold_ms, void (*found)(struct whole *w))
{
    struct whole *w = calloc(1, sizeof *w);
    struct circle *c = NULL;

    if (!w || !export_id_good(id)) {
        if (w)
            ask_error(ask, 404, "export_not_found", "there is no export of this id");
        else
            ask_error(ask, 503, "unavailable", "out of memory");
        free(w);
        return;
    }
    w->ask = ask;
    w->id = id;
    w->found = found;
    snprintf(w->more, sizeof w->more, "hold=%lld", (long long)hold_ms);
    if (!look_here(w)) {
        ask_error(ask, 503, "unavailable", "out of memory");
        whole_free(w);
        return;
    }
    c = circle_new(ask, answered, w);
    if (!c) {
        whole_free(w);
    } else if (!circle_add_known(c)) {
        circle_free(c);
        whole_free(w);
        ask_error(ask, 503, "unavailable", "there are too many profilers");
    } else {
        ask_round(w, c);
    }
}
