/* POST of an export over several profilers: who has which people is asked, and what a delta begins from; then each
 * takes its part, this one last, and only when all have theirs are they told to make them: what one refuses leaves
 * nothing at the others, no marks of a campaign either. Look-up threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/num.h"
#include "profiler/api_export_parts.h"

#define ROUNDS 4

struct beginning {
    struct ask *ask;
    const struct export_asked *asked;
    char more[32 + EXPORT_DELTA_BYTES];
    struct buf own; /* what this profiler says of itself */
    struct json_parser *parser;
    const struct json *root;
    struct circle *circles[ROUNDS];
    size_t rounds;
    const struct json *answers[ROUNDS * LIMIT_FORWARDS_OF_ONE + 1];
    const char *bases[ROUNDS * LIMIT_FORWARDS_OF_ONE + 1]; /* of them; "": this profiler */
    size_t count;
    struct base base;
    char id[EXPORT_ID_BYTES];
    struct buf makers, post;
    int failed; /* why it is not begun: as exports_begin */
    const char *code;
    struct err why;
};

static void beginning_free(struct beginning *g)
{
    for (size_t i = 0; i < g->rounds; i++)
        circle_free(g->circles[i]);
    json_parser_free(g->parser);
    buf_deinit(&g->own);
    buf_deinit(&g->makers);
    buf_deinit(&g->post);
    free(g);
}

/* It is answered. */
static void give_up(struct beginning *g)
{
    beginning_free(g);
}

/* --- the parts --------------------------------------------------------------------------------------------------- */

static bool takes_part(const struct beginning *g, size_t i)
{
    const struct json *list = json_get(g->answers[i], "partitions");

    if (list && list->count > 0)
        return true;
    /* Whoever has nobody any more tells the removal of those it had. */
    for (const struct json *m = g->base.makers ? g->base.makers->child : NULL; m; m = m->next) {
        const struct json *had = json_get(m, "partitions");
        if (had && had->count > 0 && str_eq(part_text(m, "instance"), part_text(g->answers[i], "instance")))
            return true;
    }
    return false;
}

static void write_makers(struct beginning *g)
{
    struct buf *b = &g->makers;

    buf_add_char(b, '[');
    for (size_t i = 0; i < g->count; i++) {
        if (!takes_part(g, i))
            continue;
        buf_add_text(b, b->n > 1 ? ",{" : "{");
        json_write_member(b, "instance", part_text(g->answers[i], "instance"));
        json_write_member(b, "url", part_text(g->answers[i], "url"));
        json_write_key(b, "partitions");
        buf_add_str(b, json_get(g->answers[i], "partitions")->raw);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

/* {"id":…,"audience":…,"base":…,"makers":[…],"request":{…}} */
static bool write_post(struct beginning *g)
{
    struct buf *b = &g->post;
    size_t n;
    const char *body = http_body(g->ask->request, &n);

    buf_init(&g->makers, LIMIT_EXPORT_MANIFEST);
    buf_init(b, LIMIT_BODY_LOOKUP + LIMIT_BODY_INSIDE);
    write_makers(g);
    exports_new_id(g->id);
    buf_add_char(b, '{');
    json_write_member(b, "id", str_of(g->id));
    json_write_member(b, "audience", g->ask->name);
    json_write_member(b, "base", str_has(g->base.id) ? g->base.id : STR_LIT(""));
    json_write_key(b, "makers");
    buf_add_str(b, buf_str(&g->makers));
    json_write_key(b, "request");
    buf_add(b, body, n);
    buf_add_char(b, '}');
    return !g->makers.failed && !b->failed && buf_room(b, JSON_PADDING);
}

/* --- a part here ------------------------------------------------------------------------------------------------- */

/* The partitions of a maker; false: they are none. */
static bool read_partitions(struct ask *ask, const struct json *maker, struct export_wanted *w)
{
    const struct json *list = json_get(maker, "partitions");
    uint32_t *out;
    uint64_t p;

    if (!list || list->type != JSON_ARRAY || list->count > ask->api->o.conf->partitions)
        return false;
    out = arena_alloc(http_arena(ask->request), (list->count + 1) * sizeof *out);
    if (!out)
        return false;
    for (const struct json *i = list->child; i; i = i->next) {
        if (i->type != JSON_NUMBER || num_u64(i->text, &p) != NUM_OK || p >= ask->api->o.conf->partitions)
            return false;
        out[w->partition_count++] = (uint32_t)p;
    }
    w->partitions = out;
    return true;
}

static const struct json *own_maker(const struct ask *ask, const struct json *makers)
{
    const char *instance = ask->api->o.instance;

    for (const struct json *m = makers && makers->type == JSON_ARRAY ? makers->child : NULL; m; m = m->next)
        if (str_is(part_text(m, "instance"), instance ? instance : "waymark"))
            return m;
    return NULL;
}

static bool is_known(struct ask *ask, struct str url)
{
    char base[PEER_URL];

    for (uint32_t p = 0; p < ask->api->o.conf->partitions; p++)
        if (ownership_url(ask->api->o.ownership, p, base, sizeof base) && str_is(url, base))
            return true;
    return false;
}

/* They will be sent tokens: who may export must not choose where these go. Whoever has nobody left is known by the
 * export before. */
static bool makers_known(struct ask *ask, const struct json *makers, const struct json *own, struct str base)
{
    for (const struct json *m = makers->child; m; m = m->next)
        if (m != own && !is_known(ask, part_text(m, "url")) &&
            !exports_made_by(ask->api->o.exports, base, part_text(m, "url")))
            return false;
    return true;
}

/* 1: there is no part here. Else as exports_begin. */
static int begin_part(struct ask *ask, const struct json *post, const char **code, struct err *e)
{
    const struct json *request = json_get(post, "request"), *makers = json_get(post, "makers");
    const struct json *own = own_maker(ask, makers);
    struct export_wanted w = {.audience = part_text(post, "audience"),
                              .who = ask->who,
                              .pii = ask_sees_pii(ask),
                              .id = part_text(post, "id"),
                              .base = part_text(post, "base"),
                              .held = true};
    char id[EXPORT_ID_BYTES];

    if (!own)
        return 1;
    *code = "parameter_invalid";
    err_set(e, "that is no part of an export");
    if (!request || !export_id_good(w.id) || !str_has(w.base) || !read_partitions(ask, own, &w))
        return -EINVAL;
    if (!makers_known(ask, makers, own, w.base)) {
        err_set(e, "one who makes a part of it is not known here: ask again soon, or with \"anew\":true");
        return -EAGAIN;
    }
    w.makers = makers->raw;
    w.n = request->raw.n;
    w.body = arena_zalloc(http_arena(ask->request), w.n + JSON_PADDING);
    if (!w.body)
        return -ENOMEM;
    memcpy(w.body, request->raw.p, w.n);
    e->text[0] = '\0';
    return exports_begin(ask->api->o.exports, &w, id, code, e);
}

static int begin_own(struct beginning *g, const char **code, struct err *e)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    int r = -ENOMEM;

    if (parser && json_parse(parser, g->post.p, g->post.n, &root, e) == JSON_OK)
        r = begin_part(g->ask, root, code, e);
    json_parser_free(parser);
    return r;
}

static void ask_parts(struct beginning *g, struct circle *c, const char *more)
{
    char path[64];

    snprintf(path, sizeof path, EXPORTS_INSIDE "/%s", g->id);
    circle_ask(c, &(struct circle_question){str_of(path), more, STR_NONE, EXPORT_ASK_MS});
}

/* --- it is not begun ---------------------------------------------------------------------------------------------- */

static void stopped(struct circle *c)
{
    struct beginning *g = c->arg;

    export_not_begun(g->ask, g->failed, g->code, &g->why);
    circle_free(c);
    give_up(g);
}

/* Not everybody makes a part: those who have taken theirs leave it. What does not hear it fails by and by. */
static void stop(struct beginning *g, const struct circle *taken)
{
    struct circle *c = circle_new(g->ask, stopped, g);

    exports_cancel(g->ask->api->o.exports, str_of(g->id));
    if (!c) {
        give_up(g);
        return;
    }
    for (size_t i = 0; i < taken->count; i++)
        if (taken->answers[i].status == 200 || taken->answers[i].status == 201)
            circle_add(c, taken->answers[i].base);
    ask_parts(g, c, "stop=true");
}

/* Whether all have answered as they should; else why not is kept. */
static bool all_took(struct beginning *g, const struct circle *c, unsigned status)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct circle_answer *a = &c->answers[i];
        if (a->status == status)
            continue;
        struct str why = str_has(part_text(a->root, "message")) ? part_text(a->root, "message") : STR_LIT("no answer");
        g->failed = a->status == 507 ? -ENOSPC : -EAGAIN;
        err_set(&g->why, "the profiler at %s does not make its part: %.*s", circle_name(a), STR_ARG(why));
        return false;
    }
    return true;
}

/* --- all take their parts, and then make them ----------------------------------------------------------------------
 */

static void went(struct circle *c)
{
    struct beginning *g = c->arg;
    struct ask *ask = g->ask;
    char id[EXPORT_ID_BYTES];

    if (all_took(g, c, 200)) {
        exports_go(ask->api->o.exports, str_of(g->id)); /* 1 when there is no part here */
        memcpy(id, g->id, sizeof id);
        give_up(g);
        export_begun(ask, id);
    } else {
        stop(g, c);
    }
    circle_free(c);
}

static void told(struct circle *c)
{
    struct beginning *g = c->arg;
    struct circle *next = NULL;

    if (all_took(g, c, 201)) {
        g->failed = begin_own(g, &g->code, &g->why);
        next = g->failed < 0 ? NULL : circle_new(g->ask, went, g);
        if (g->failed >= 0 && !next) { /* it has answered; what is held fails by and by */
            circle_free(c);
            give_up(g);
            return;
        }
    }
    if (next) {
        for (size_t i = 0; i < c->count; i++)
            circle_add(next, c->answers[i].base);
        ask_parts(g, next, "go=true");
    } else {
        stop(g, c);
    }
    circle_free(c);
}

static void tell(struct beginning *g)
{
    struct circle *c = circle_new(g->ask, told, g);

    if (!c) {
        give_up(g);
        return;
    }
    if (!write_post(g)) {
        ask_error(g->ask, 503, "unavailable", "out of memory");
        circle_free(c);
        give_up(g);
        return;
    }
    for (size_t i = 0; i < g->count; i++)
        if (g->bases[i][0] && takes_part(g, i))
            circle_add(c, g->bases[i]); /* as many at most as have answered */
    circle_ask(c, &(struct circle_question){STR_LIT(EXPORTS_INSIDE), NULL, buf_str(&g->post), EXPORT_ASK_MS});
}

/* --- who has what ------------------------------------------------------------------------------------------------ */

static void ask_round(struct beginning *g, struct circle *c);

/* Whom the delta before was made by, and who has nobody by now. */
static void ask_maker(struct beginning *g)
{
    struct circle *c = g->rounds < ROUNDS ? circle_new(g->ask, NULL, g) : NULL;
    char url[PEER_URL];

    if (!c) {
        if (g->rounds == ROUNDS)
            ask_error(g->ask, 503, "unavailable", "who made the delta before it cannot be found out");
        give_up(g);
        return;
    }
    snprintf(url, sizeof url, "%.*s", STR_ARG(part_text(g->base.ask, "url")));
    circle_add(c, url);
    ask_round(g, c);
}

static void find_base(struct beginning *g)
{
    if (!g->asked->delta[0] || g->asked->anew) {
        tell(g);
        return;
    }
    switch (base_find(g->ask, g->answers, g->count, &g->base)) {
    case BASE_ASK:
        ask_maker(g);
        break;
    case BASE_ANSWERED:
        give_up(g);
        break;
    default:
        tell(g);
    }
}

/* Every partition is told of once. */
static bool all_told(struct beginning *g)
{
    uint32_t n = g->ask->api->o.conf->partitions;
    bool *told_of = arena_zalloc(http_arena(g->ask->request), n * sizeof *told_of);
    bool good = told_of != NULL;

    for (size_t i = 0; good && i < g->count; i++)
        good = partitions_told(g->answers[i], n, told_of);
    for (uint32_t p = 0; good && p < n; p++)
        good = told_of[p];
    if (!good)
        ask_error(g->ask, 503, "not_yet", "a partition is changing its owner");
    return good;
}

/* False: it has answered. */
static bool take_answers(struct beginning *g, const struct circle *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct circle_answer *a = &c->answers[i];
        if (a->status == 200 && str_has(part_text(a->root, "url")) && json_get(a->root, "partitions")) {
            g->answers[g->count] = a->root;
            g->bases[g->count++] = a->base;
        } else if (g->base.ask) {
            ask_error(
                g->ask, 503, "unavailable",
                "the profiler at %s, which made a part of the delta before, does not answer: start it, or ask with "
                "\"anew\":true and put the file in the place of all that was told before",
                circle_name(a));
            return false;
        } else {
            ask_error(g->ask, 503, a->status == 503 ? "not_yet" : "unavailable",
                      "the profiler at %s, which has a part of the people, %s: ask again soon", circle_name(a),
                      a->status == 0 ? "does not answer" : "cannot make it now");
            return false;
        }
    }
    return true;
}

static void answered(struct circle *c)
{
    struct beginning *g = c->arg;

    g->circles[g->rounds++] = c;
    if (!take_answers(g, c) || !all_told(g))
        give_up(g);
    else
        find_base(g);
}

static void ask_round(struct beginning *g, struct circle *c)
{
    c->done = answered;
    c->arg = g;
    circle_ask(c, &(struct circle_question){STR_LIT(EXPORTS_INSIDE), g->more, STR_NONE, EXPORT_ASK_MS});
}

/* What this one says. False: it has answered. */
static bool look_here(struct beginning *g, const bool *here)
{
    buf_init(&g->own, LIMIT_ANSWER_BYTES);
    if (!write_inside(g->ask, here, g->asked->anew ? "" : g->asked->delta, &g->own))
        return false;
    g->parser = json_parser_new();
    if (!g->parser || !buf_room(&g->own, JSON_PADDING) ||
        json_parse(g->parser, g->own.p, g->own.n, &g->root, NULL) != JSON_OK) {
        ask_error(g->ask, 503, "unavailable", "out of memory");
        return false;
    }
    g->answers[g->count] = g->root;
    g->bases[g->count++] = "";
    return true;
}

void export_begin_all(struct ask *ask, const struct export_asked *asked)
{
    const bool *here = partitions_here(ask);
    struct beginning *g = here ? calloc(1, sizeof *g) : NULL;
    struct circle *c = NULL;

    if (!g) {
        if (here)
            ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    g->ask = ask;
    g->asked = asked;
    snprintf(g->more, sizeof g->more, "delta=%s", asked->anew ? "" : asked->delta);
    if (look_here(g, here))
        c = circle_new(ask, answered, g);
    if (c && circle_add_owners(c, here)) {
        ask_round(g, c);
        return;
    }
    circle_free(c);
    give_up(g);
}

/* --- what another profiler asks for ------------------------------------------------------------------------------- */

bool prepare_inside(struct ask *ask)
{
    if (ask->forwarded)
        return prepare_exports(ask);
    ask_error(ask, 404, "not_found", "there is no such route");
    return false;
}

bool write_inside(struct ask *ask, const bool *here, const char *delta, struct buf *b)
{
    struct exports *x = ask->api->o.exports;

    partitions_write(ask, here, b);
    exports_who(x, b);
    json_write_key(b, "exports");
    if (delta && !delta[0])
        buf_add_text(b, "[]");
    else
        exports_list(x, delta, EXPORT_INSIDE, b);
    buf_add_char(b, '}');
    if (b->failed)
        ask_error(ask, 503, "unavailable", "out of memory");
    return !b->failed;
}

/* GET …?delta=: those of that name; "": none; without it: all. */
void run_inside_exports(struct ask *ask)
{
    struct str text = http_query(ask->request, "delta");
    char delta[EXPORT_DELTA_BYTES];
    const bool *here = partitions_here(ask);
    struct buf b;

    if (!here)
        return;
    snprintf(delta, sizeof delta, "%.*s", STR_ARG(text));
    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (write_inside(ask, here, str_has(text) ? delta : NULL, &b))
        ask_answer(ask, &b);
    buf_deinit(&b);
}

void run_inside_begin(struct ask *ask)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    const char *code = NULL;
    struct err e = {0};
    struct buf b;
    size_t n;
    char *body = http_body(ask->request, &n);

    if (!ask_may_change(ask)) {
        json_parser_free(parser);
        return;
    }
    int r = parser && json_parse(parser, body, n, &root, &e) == JSON_OK ? begin_part(ask, root, &code, &e) : -EINVAL;
    json_parser_free(parser);
    if (r == 0) {
        buf_init(&b, KIB);
        buf_add_text(&b, "{\"begun\":true}");
        ask_answer_status(ask, 201, &b);
        buf_deinit(&b);
    } else if (r > 0) {
        ask_error(ask, 503, "not_yet", "this profiler makes no part of it");
    } else {
        export_not_begun(ask, r, code, &e);
    }
}
