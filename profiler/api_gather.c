/* Questions about everybody, of whom each instance has a part: this one's answer and those of the others, joined. An
 * answer says of which partitions it speaks; only when all of them together speak of each partition once is the whole
 * told, else it is 503: a number with a hole would be taken for the truth. Look-up threads. */
#include <inttypes.h>
#include <stdlib.h>

#include "common/num.h"
#include "profiler/api_audience.h"
#include "profiler/api_circle.h"

struct gather {
    struct ask *ask;
    gather_join *join;
    struct buf body; /* the own answer */
    struct json_parser *parser;
    const struct json *root;
    bool *told; /* for each partition */
};

/* --- what is here --------------------------------------------------------------------------------------------- */

const bool *partitions_here(struct ask *ask)
{
    uint32_t n = ask->api->o.conf->partitions;
    bool *here = arena_zalloc(http_arena(ask->request), n * sizeof *here);

    if (!here) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return NULL;
    }
    for (uint32_t p = 0; p < n; p++) {
        enum ownership_answer owns = api_owns(ask->api, p);
        if (owns == OWNERSHIP_NOT_YET) {
            ask_not_yet(ask, p);
            return NULL;
        }
        here[p] = owns == OWNERSHIP_SERVES;
        if (here[p] && !audiences_knows(ask->api->o.audiences, p)) {
            ask_error(ask, 503, "not_yet", "the people of partition %u are not known yet", p);
            return NULL;
        }
    }
    return here;
}

bool partitions_same(struct ask *ask, const bool *here)
{
    for (uint32_t p = 0; p < ask->api->o.conf->partitions; p++) {
        bool still = api_owns(ask->api, p) == OWNERSHIP_SERVES && audiences_knows(ask->api->o.audiences, p);
        if (here[p] == still)
            continue;
        ask_error(ask, 503, "not_yet", "partition %u is changing its owner", p);
        return false;
    }
    return true;
}

void partitions_write(const struct ask *ask, const bool *here, struct buf *b)
{
    const char *comma = "";

    buf_add_text(b, "{\"partitions\":[");
    for (uint32_t p = 0; p < ask->api->o.conf->partitions; p++) {
        if (!here[p])
            continue;
        buf_addf(b, "%s%" PRIu32, comma, p);
        comma = ",";
    }
    buf_add_char(b, ']');
}

/* --- the answers ---------------------------------------------------------------------------------------------- */

static void gather_free(struct gather *g)
{
    buf_deinit(&g->body);
    json_parser_free(g->parser);
    free(g->told);
    free(g);
}

bool partitions_told(const struct json *answer, uint32_t partitions, bool *told)
{
    const struct json *list = answer ? json_get(answer, "partitions") : NULL;
    uint64_t n;

    if (!list || list->type != JSON_ARRAY)
        return false;
    for (const struct json *i = list->child; i; i = i->next) {
        if (i->type != JSON_NUMBER || num_u64(i->text, &n) != NUM_OK || n >= partitions || told[n])
            return false;
        told[n] = true;
    }
    return true;
}

static bool all_told(const struct gather *g)
{
    for (uint32_t p = 0; p < g->ask->api->o.conf->partitions; p++)
        if (!g->told[p])
            return false;
    return true;
}

/* The own answer and those of others, which may be none. */
static void join(struct gather *g, const struct circle *c)
{
    const struct json *answers[LIMIT_FORWARDS_OF_ONE + 1] = {g->root};
    size_t n = 1;

    for (size_t i = 0; c && i < c->count; i++)
        answers[n++] = c->answers[i].root;
    if (all_told(g))
        g->join(g->ask, answers, n);
    else
        ask_error(g->ask, 503, "not_yet", "a partition is changing its owner");
}

static void answered(struct circle *c)
{
    struct gather *g = c->arg;
    const struct circle_answer *away = NULL, *silent = NULL;

    for (size_t i = 0; i < c->count; i++) {
        const struct circle_answer *a = &c->answers[i];
        if (a->status != 200)
            away = a;
        else if (!partitions_told(a->root, g->ask->api->o.conf->partitions, g->told))
            silent = a;
    }
    if (away)
        ask_error(g->ask, 503, "unavailable",
                  "the profiler at %s, which has a part of what was asked for, did not answer", circle_name(away));
    else if (silent)
        ask_error(g->ask, 503, "not_yet", "the profiler at %s, which has a part of what was asked for, cannot tell now",
                  circle_name(silent));
    else
        join(g, c);
    circle_free(c);
    gather_free(g);
}

/* --- asking others -------------------------------------------------------------------------------------------- */

bool circle_add_owners(struct circle *c, const bool *told)
{
    char base[PEER_URL];

    for (uint32_t p = 0; p < c->ask->api->o.conf->partitions; p++)
        if (!told[p] && (!peer_of(c->ask, p, base, sizeof base) || !circle_add(c, base))) {
            ask_error(c->ask, 503, "not_yet", "nobody is known to have partition %u", p);
            return false;
        }
    return true;
}

static void ask_others(struct gather *g, const char *more, struct str body, int64_t ms)
{
    struct circle *c = circle_new(g->ask, answered, g);

    if (c && circle_add_owners(c, g->told)) {
        circle_ask(c, &(struct circle_question){http_path(g->ask->request), more, body, ms});
        return;
    }
    circle_free(c);
    gather_free(g);
}

/* Takes the own answer over. NULL: out of memory. */
static struct gather *gather_new(struct ask *ask, struct buf *here, gather_join *joins)
{
    struct gather *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->ask = ask;
    g->join = joins;
    g->body = *here;
    *here = (struct buf){.max = here->max};
    g->told = calloc(ask->api->o.conf->partitions, sizeof *g->told);
    g->parser = json_parser_new();
    if (g->told && g->parser && !g->body.failed && buf_room(&g->body, JSON_PADDING) &&
        json_parse(g->parser, g->body.p, g->body.n, &g->root, NULL) == JSON_OK &&
        partitions_told(g->root, ask->api->o.conf->partitions, g->told))
        return g;
    gather_free(g);
    return NULL;
}

void ask_gather_more(struct ask *ask, struct buf *here, const char *more, struct str body, int64_t ms,
                     gather_join *joins)
{
    struct gather *g;

    if (ask->forwarded) {
        ask_answer(ask, here);
        return;
    }
    g = gather_new(ask, here, joins);
    if (!g) {
        ask_error(ask, 503, "unavailable", "out of memory");
    } else if (all_told(g)) {
        join(g, NULL);
        gather_free(g);
    } else {
        ask_others(g, more, body, ms);
    }
}

void ask_gather(struct ask *ask, struct buf *here, struct str body, int64_t ms, gather_join *joins)
{
    ask_gather_more(ask, here, ask->after_count > 0 ? "judged=true" : NULL, body, ms, joins);
}
