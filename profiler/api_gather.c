/* Questions about everybody, of whom each instance has a part: this one's answer and those of the others, joined. An
 * answer says of which partitions it speaks; only when all of them together speak of each partition once is the whole
 * told, else it is 503: a number with a hole would be taken for the truth. Look-up threads; answers of others come on
 * the forwarder's, and the last one hands the question back to a look-up thread. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/num.h"
#include "profiler/api_audience.h"

/* One answer. */
struct part {
    struct gather *gather;
    char base[PEER_URL]; /* "" of the own */
    struct peer_call call;
    struct buf body;
    struct json_parser *parser;
    const struct json *root;
};

struct gather {
    struct lookup_job job; /* first */
    struct ask *ask;
    gather_join *join;
    struct part *parts; /* the first is the own */
    size_t count;
    bool *told; /* for each partition */
    pthread_mutex_t lock;
    size_t under_way; /* with the lock; and who sends */
    bool failed;
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
    for (size_t i = 0; i < g->count; i++) {
        buf_deinit(&g->parts[i].body);
        json_parser_free(g->parts[i].parser);
    }
    free(g->parts);
    free(g->told);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static void give_up(struct gather *g, const char *code, const char *why)
{
    struct ask *ask = g->ask;

    gather_free(g);
    ask_error(ask, 503, code, "%s", why);
}

/* Notes of which partitions it speaks. False when it is no answer, or speaks of one that another does too. */
static bool read_part(struct gather *g, struct part *p)
{
    const struct json *list;
    uint64_t n;

    p->parser = json_parser_new();
    if (!p->parser || p->body.failed || !buf_room(&p->body, JSON_PADDING) ||
        json_parse(p->parser, p->body.p, p->body.n, &p->root, NULL) != JSON_OK)
        return false;
    list = json_get(p->root, "partitions");
    if (!list || list->type != JSON_ARRAY)
        return false;
    for (const struct json *i = list->child; i; i = i->next) {
        if (i->type != JSON_NUMBER || num_u64(i->text, &n) != NUM_OK || n >= g->ask->api->o.conf->partitions ||
            g->told[n])
            return false;
        g->told[n] = true;
    }
    return true;
}

static void join(struct gather *g)
{
    const struct json **answers = calloc(g->count, sizeof *answers);
    struct ask *ask = g->ask;

    for (uint32_t p = 0; p < ask->api->o.conf->partitions; p++) {
        if (g->told[p])
            continue;
        free(answers);
        give_up(g, "not_yet", "a partition is changing its owner");
        return;
    }
    if (!answers) {
        give_up(g, "unavailable", "out of memory");
        return;
    }
    for (size_t i = 0; i < g->count; i++)
        answers[i] = g->parts[i].root;
    g->join(ask, answers, g->count);
    free(answers);
    gather_free(g);
}

/* Everybody has answered. */
static void run_join(struct lookup_job *job, bool in_time)
{
    struct gather *g = (struct gather *)job;

    (void)in_time;
    if (g->failed) {
        give_up(g, "unavailable", "an instance that has a part of what was asked for did not answer");
        return;
    }
    for (size_t i = 1; i < g->count; i++) {
        if (read_part(g, &g->parts[i]))
            continue;
        give_up(g, "not_yet", "an instance that has a part of what was asked for cannot tell now");
        return;
    }
    join(g);
}

/* --- asking others -------------------------------------------------------------------------------------------- */

static void drop_hold(struct gather *g)
{
    pthread_mutex_lock(&g->lock);
    assert(g->under_way > 0);
    bool last = --g->under_way == 0;
    pthread_mutex_unlock(&g->lock);
    if (!last)
        return;
    g->job = (struct lookup_job){.run = run_join, .urgent = true};
    if (!lookups_submit(g->ask->api->o.lookups, &g->job))
        run_join(&g->job, false);
}

/* On the forwarder's thread. */
static void answered(struct peer_call *c)
{
    struct part *p = (struct part *)((char *)c - offsetof(struct part, call));

    pthread_mutex_lock(&p->gather->lock);
    if (c->call.status == 200)
        p->body = c->call.body;
    else
        p->gather->failed = true;
    pthread_mutex_unlock(&p->gather->lock);
    if (c->call.status != 200)
        buf_deinit(&c->call.body);
    drop_hold(p->gather);
}

/* A part for each instance that has something which is not here. False when one is not known, or they are too many. */
static bool find_parts(struct gather *g)
{
    uint32_t n = g->ask->api->o.conf->partitions;
    char base[PEER_URL];

    for (uint32_t p = 0; p < n; p++) {
        size_t i = 1;
        if (g->told[p])
            continue;
        if (!peer_of(g->ask, p, base, sizeof base))
            return false;
        while (i < g->count && strcmp(g->parts[i].base, base) != 0)
            i++;
        if (i > LIMIT_FORWARDS_OF_ONE)
            return false;
        if (i == g->count) {
            g->parts[i].gather = g;
            memcpy(g->parts[i].base, base, sizeof base);
            g->count++;
        }
    }
    return true;
}

static void ask_others(struct gather *g, struct str body, int64_t ms)
{
    const char *more = g->ask->after_count > 0 ? "judged=true" : NULL;

    g->under_way = g->count; /* the own one's is who sends */
    for (size_t i = 1; i < g->count; i++) {
        struct part *p = &g->parts[i];
        if (peer_ask_for(g->ask, &p->call, p->base, http_path(g->ask->request), more, body, ms, answered))
            continue;
        pthread_mutex_lock(&g->lock);
        g->failed = true;
        g->under_way--;
        pthread_mutex_unlock(&g->lock);
    }
    drop_hold(g);
}

static struct gather *gather_new(struct ask *ask, gather_join *joins)
{
    uint32_t n = ask->api->o.conf->partitions;
    struct gather *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    pthread_mutex_init(&g->lock, NULL);
    g->ask = ask;
    g->join = joins;
    g->told = calloc(n, sizeof *g->told);
    g->parts = calloc((size_t)(n < LIMIT_FORWARDS_OF_ONE ? n : LIMIT_FORWARDS_OF_ONE) + 2, sizeof *g->parts);
    if (g->told && g->parts)
        return g;
    gather_free(g);
    return NULL;
}

static bool all_told(const struct gather *g)
{
    for (uint32_t p = 0; p < g->ask->api->o.conf->partitions; p++)
        if (!g->told[p])
            return false;
    return true;
}

void ask_gather(struct ask *ask, struct buf *here, struct str body, int64_t ms, gather_join *joins)
{
    struct gather *g;

    if (ask->forwarded) {
        ask_answer(ask, here);
        return;
    }
    g = gather_new(ask, joins);
    if (!g) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    g->count = 1;
    g->parts[0].body = *here;
    *here = (struct buf){.max = here->max};
    if (!read_part(g, &g->parts[0]))
        give_up(g, "unavailable", "out of memory");
    else if (all_told(g))
        join(g);
    else if (!ask->api->o.forward || !find_parts(g))
        give_up(g, "not_yet", "nobody is known to have a part of what was asked for");
    else
        ask_others(g, body, ms);
}
