/* Finding the order whose scene is asked for, in two steps: the order's home says whose it is, and with the owner's
 * profile the scene is written. Both may be another instance's. A look-up thread reads what is here; what is elsewhere
 * is asked for by the forwarder, whose thread hands the request back to the look-ups.
 *
 * Between the two steps the order may move from one profile to another: then the home is asked again, a few times. */
#include <assert.h>
#include <errno.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

enum { TRIES = 8, PAUSE_MS = 25 };

static void find_owner(struct ask *ask);
static void show_scene(struct ask *ask);

static void not_found(struct ask *ask)
{
    ask_error(ask, 404, "order_not_found", "nothing is known of this order");
}

/* --- another time, on a look-up thread ------------------------------------------------------------------------ */

static void run_again(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;

    (void)in_time;
    assert(ask->magic == ASK_MAGIC);
    run_scene(ask);
}

static bool never(const struct lookup_job *job)
{
    (void)job;
    return false;
}

/* From any thread. */
static void hand_back(struct ask *ask, int64_t pause_ms)
{
    ask->job.run = run_again;
    ask->job.met = pause_ms ? never : NULL;
    ask->job.deadline = clock_monotonic() + pause_ms;
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        ask_error(ask, 503, "unavailable", "too many requests are waiting");
}

/* The owner that the home named does not have the order. Who asked for another instance decides what to do. */
static void try_again(struct ask *ask)
{
    if (ask->forwarded) {
        not_found(ask);
    } else if (++ask->tries == TRIES) {
        ask_error(ask, 503, "not_yet", "the order is on its way from one profile to another");
    } else {
        ask->owner = STR_NONE;
        hand_back(ask, PAUSE_MS);
    }
}

/* --- other instances: on the forwarder's thread --------------------------------------------------------------- */

static bool has_failed(struct ask *ask, struct peer_call *c)
{
    if (c->call.status != 0)
        return false;
    buf_deinit(&c->call.body);
    ask_error(ask, 503, "unavailable", "the instance that has the order did not answer");
    return true;
}

static void home_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;
    struct str body = buf_str(&c->call.body);

    if (has_failed(ask, c))
        return;
    if (c->call.status != 200) {
        ask_pass_on(ask, c);
        return;
    }
    ask->owner = id_valid(body) ? arena_dup(http_arena(ask->request), body) : STR_NONE;
    buf_deinit(&c->call.body);
    if (str_has(ask->owner))
        hand_back(ask, 0);
    else
        ask_error(ask, 503, "unavailable", "the instance that has the order did not say whose it is");
}

static void owner_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;

    if (has_failed(ask, c))
        return;
    if (c->call.status != 404) {
        ask_pass_on(ask, c);
        return;
    }
    buf_deinit(&c->call.body);
    try_again(ask);
}

/* Asks the instance that has the partition; `name` and `value` tell it what for. */
static void ask_instance(struct ask *ask, uint32_t partition, const char *name, struct str value,
                         void (*done)(struct peer_call *c))
{
    char base[PEER_URL];
    struct buf more;

    if (ask->forwarded) {
        ask_not_owner(ask, partition);
        return;
    }
    if (!peer_of(ask, partition, base, sizeof base)) {
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", partition);
        return;
    }
    buf_init(&more, 4 * LIMIT_HEAD);
    buf_addf(&more, "%s=", name);
    http_encode_segment(&more, value);
    buf_add_char(&more, '\0');
    if (more.failed || !peer_ask(ask, &ask->peer, base, http_path(ask->request), more.p, done))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&more);
}

/* --- here ----------------------------------------------------------------------------------------------------- */

static void answer_owner(struct ask *ask)
{
    struct buf body;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    buf_add_str(&body, ask->owner);
    ask_audit_target(ask, ask->owner);
    ask_answer(ask, &body);
    buf_deinit(&body);
}

static void find_here(struct ask *ask, uint32_t partition)
{
    struct err e = {0};
    int r = state_order(ask->api->o.state, partition, ask->id, http_arena(ask->request), &ask->owner, &e);

    if (r < 0)
        ask_broken(ask, r, &e);
    else if (r == STATE_NOT_FOUND)
        not_found(ask);
    else if (ask->names_owner)
        answer_owner(ask);
    else
        show_scene(ask);
}

static void find_owner(struct ask *ask)
{
    uint32_t partition = state_order_partition(ask->api->o.state, ask->id);

    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        find_here(ask, partition);
        return;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, partition);
        return;
    case OWNERSHIP_ELSEWHERE:
        ask_instance(ask, partition, "find", STR_LIT("owner"), home_answered);
        return;
    }
}

static void show_here(struct ask *ask, uint32_t partition)
{
    struct err e = {0};
    struct buf body;
    int r;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    ask->partition = partition;
    r = scene_write(ask, partition, ask->owner, &body, &e);
    if (r == 0)
        ask_answer(ask, &body);
    else if (r > 0)
        try_again(ask);
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
}

static void show_scene(struct ask *ask)
{
    uint32_t partition = id_partition(ask->owner, ask->api->o.conf->partitions);

    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        show_here(ask, partition);
        return;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, partition);
        return;
    case OWNERSHIP_ELSEWHERE:
        ask_instance(ask, partition, "owner", ask->owner, owner_answered);
        return;
    }
}

/* --- the route ------------------------------------------------------------------------------------------------ */

/* What another instance asks for: whose the order is, or the scene with the profile that it was told of. */
bool prepare_scene(struct ask *ask)
{
    struct str owner = http_query(ask->request, "owner");

    if (!ask->forwarded)
        return true;
    ask->names_owner = str_is(http_query(ask->request, "find"), "owner");
    if (!str_has(owner))
        return true;
    if (!id_valid(owner)) {
        ask_error(ask, 400, "parameter_invalid", "the owner is user:… or anon:…");
        return false;
    }
    ask->owner = owner;
    return true;
}

void run_scene(struct ask *ask)
{
    if (str_has(ask->owner))
        show_scene(ask);
    else
        find_owner(ask);
}
