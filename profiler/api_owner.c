/* Whose partition a request asks for, and what happens to one of another instance's. Before each reading of the state
 * the owner's term is asked (rule `clock` of ownership.h), on the thread that reads. A request of another instance's
 * partition goes on from where it is found out, a pool or a look-up thread, over the cache's thread and the
 * forwarder's; none of them waits. */
#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include "profiler/api_ask.h"

enum ownership_answer api_owns(const struct api *a, uint32_t partition)
{
    return ownership_ask(a->o.ownership, partition);
}

void ask_not_yet(struct ask *ask, uint32_t partition)
{
    const struct api_options *o = &ask->api->o;
    struct err why = {0};

    if (!followers_fault(o->followers, partition, &why))
        ownership_why(o->ownership, partition, &why);
    ask_error(ask, 503, "not_yet", "%s", why.text);
}

void ask_not_owner(struct ask *ask, uint32_t partition)
{
    ask_error(ask, 503, "not_yet", "this instance is not the owner of partition %u", partition);
}

bool ask_may_show(struct ask *ask, uint32_t partition)
{
    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        return true;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, partition);
        return false;
    case OWNERSHIP_ELSEWHERE:
        break;
    }
    ask_not_owner(ask, partition);
    return false;
}

bool ask_is_here(struct ask *ask)
{
    switch (api_owns(ask->api, ask->partition)) {
    case OWNERSHIP_SERVES:
        return true;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, ask->partition);
        return false;
    case OWNERSHIP_ELSEWHERE:
        break;
    }
    ask_elsewhere(ask);
    return false;
}

/* --- sending on ----------------------------------------------------------------------------------------------- */

/* On the forwarder's thread. The call lies in the request's memory, which may be gone once it is answered. */
static void owner_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;
    char why[128];

    if (c->call.status == 421) {
        struct buf body = c->call.body; /* the call may be made again */
        c->call.body = (struct buf){0};
        if (!ask_follow(ask, &body))
            ask_error(ask, 503, "unavailable", "the instance that has partition %u gave no answer", ask->partition);
        buf_deinit(&body);
        return;
    }
    if (c->call.status != 0) {
        ask_pass_on(ask, c);
        return;
    }
    snprintf(why, sizeof why, "%.*s", STR_ARG(buf_str(&c->call.body)));
    buf_deinit(&c->call.body);
    ask_error(ask, 503, "unavailable", "the instance that has partition %u did not answer: %s", ask->partition, why);
}

static void ask_owner(struct ask *ask)
{
    char base[PEER_URL];
    struct buf path;

    if (!peer_of(ask, ask->partition, base, sizeof base)) {
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", ask->partition);
        return;
    }
    buf_init(&path, LIMIT_HEAD);
    if (!ask_path(ask, &path))
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (!peer_ask(ask, &ask->peer, base, buf_str(&path), NULL, owner_answered))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&path);
}

/* On the thread of the cache, or before cache_read returns. */
static void cache_answered(struct cache_question *q, struct str answer, int64_t version)
{
    struct ask *ask = (struct ask *)((char *)q - offsetof(struct ask, question));

    assert(ask->magic == ASK_MAGIC);
    (void)version;
    if (str_has(answer))
        ask_send(ask, &(struct http_answer){.status = 200, .body = answer});
    else
        ask_owner(ask);
}

bool ask_cacheable(const struct ask *ask)
{
    return ask->api->o.cache && !ask_shows_more(ask) && ask->as_of == TIME_NONE && ask->after_count == 0;
}

void ask_elsewhere(struct ask *ask)
{
    if (ask->forwarded) {
        ask_not_owner(ask, ask->partition);
        return;
    }
    if (!ask->route->cached || !ask_cacheable(ask)) {
        ask_owner(ask);
        return;
    }
    ask->question = (struct cache_question){.partition = ask->partition, .id = ask->id, .done = cache_answered};
    cache_read(ask->api->o.cache, &ask->question);
}
