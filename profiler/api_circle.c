/* Asking several instances the same. Answers come on the forwarder's thread, and the last one hands them all over to a
 * look-up thread. */
#include "profiler/api_circle.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

struct circle *circle_new(struct ask *ask, void (*done)(struct circle *c), void *arg)
{
    struct circle *c = calloc(1, sizeof *c);

    if (!c) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return NULL;
    }
    c->ask = ask;
    c->done = done;
    c->arg = arg;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void circle_free(struct circle *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++) {
        buf_deinit(&c->answers[i].body);
        json_parser_free(c->answers[i].parser);
    }
    pthread_mutex_destroy(&c->lock);
    free(c);
}

bool circle_add(struct circle *c, const char *base)
{
    size_t i = 0;

    while (i < c->count && strcmp(c->answers[i].base, base) != 0)
        i++;
    if (i < c->count)
        return true;
    if (i == LIMIT_FORWARDS_OF_ONE)
        return false;
    c->answers[i].circle = c;
    snprintf(c->answers[i].base, sizeof c->answers[i].base, "%s", base);
    c->count++;
    return true;
}

bool circle_add_known(struct circle *c)
{
    const struct api_options *o = &c->ask->api->o;
    char base[PEER_URL];

    for (uint32_t p = 0; o->forward && p < o->conf->partitions; p++)
        if (api_owns(c->ask->api, p) == OWNERSHIP_ELSEWHERE && ownership_url(o->ownership, p, base, sizeof base) &&
            !circle_add(c, base))
            return false;
    return true;
}

/* What is no JSON has no root. */
static void read_answer(struct circle_answer *a)
{
    if (a->status == 0 || a->body.failed || !buf_room(&a->body, JSON_PADDING))
        return;
    a->parser = json_parser_new();
    if (!a->parser || json_parse(a->parser, a->body.p, a->body.n, &a->root, NULL) != JSON_OK)
        a->root = NULL;
}

static void run_done(struct lookup_job *job, bool in_time)
{
    struct circle *c = (struct circle *)job;

    (void)in_time;
    for (size_t i = 0; i < c->count; i++)
        read_answer(&c->answers[i]);
    c->done(c);
}

static void drop_hold(struct circle *c)
{
    pthread_mutex_lock(&c->lock);
    assert(c->under_way > 0);
    bool last = --c->under_way == 0;
    pthread_mutex_unlock(&c->lock);
    if (!last)
        return;
    c->job = (struct lookup_job){.run = run_done, .urgent = true};
    if (!lookups_submit(c->ask->api->o.lookups, &c->job))
        run_done(&c->job, false);
}

static void answered(struct peer_call *call)
{
    struct circle_answer *a = (struct circle_answer *)((char *)call - offsetof(struct circle_answer, call));

    a->status = call->call.status;
    a->body = call->call.body;
    snprintf(a->instance, sizeof a->instance, "%s", call->call.instance);
    drop_hold(a->circle);
}

void circle_ask(struct circle *c, const struct circle_question *q)
{
    int64_t ms = clock_monotonic() - c->ask->arrived + q->ms;
    bool may_ask = c->ask->api->o.forward && !c->ask->forwarded; /* a client may say that it was */

    c->under_way = c->count + 1;
    for (size_t i = 0; i < c->count; i++) {
        struct circle_answer *a = &c->answers[i];
        if (may_ask && peer_ask_for(c->ask, &a->call, a->base, q->path, q->more, q->post, ms, answered))
            continue;
        pthread_mutex_lock(&c->lock);
        c->under_way--;
        pthread_mutex_unlock(&c->lock);
    }
    drop_hold(c);
}

const char *circle_name(const struct circle_answer *a)
{
    char text[PEER_URL + sizeof a->instance + 4];

    snprintf(text, sizeof text, a->instance[0] ? "%s (%s)" : "%s", a->base, a->instance);
    struct str s = arena_dup(http_arena(a->circle->ask->request), str_of(text));
    return s.p ? s.p : "one of them";
}
