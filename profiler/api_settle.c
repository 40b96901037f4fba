/* Reading one's own writes: a request waits until the positions that it names are folded, and then until what their
 * folds moved to other partitions is folded there, and what those moved on, and so on. That goes in rounds. Each waits
 * for places that were fixed when it began: those of the partitions that are here by waiting for the followers, those
 * of other instances by asking them (/v1/internal/settled), which answer with what they moved on. A round whose folds
 * moved nothing is the last, but that an erasure waits in one more until all these places are clean, and in another
 * until no instance has an older state of one that it had before.
 *
 * Look-up threads go from step to step; nobody waits on a thread. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

#define RETRY_MS 100 /* after an instance said that it cannot tell now */

/* Another instance, and what it is asked for. */
struct settle_peer {
    struct settle *settle;
    char base[PEER_URL];
    struct buf after; /* "1:44,7:12" */
    struct peer_call call;
};

/* What a round waits for. */
enum stage {
    STAGE_FOLDED,
    STAGE_CLEAN, /* and nothing that was erased is in a file of who has the partition */
    STAGE_LOST   /* ... nor of any other instance that is known */
};

/* All of it in the request's arena, but for the buffers. Places are one past an offset. */
struct settle {
    struct ask *ask;
    uint32_t partitions;
    int64_t *wanted; /* in this round, for each partition */
    int64_t *done;   /* what was waited for in the rounds before */
    int64_t *next;   /* what this round's folds moved */
    bool *asked;     /* for each partition: of one of `peers` */
    bool *settled;   /* another instance said so, in this round */
    unsigned round;
    int64_t deadline;
    bool retry; /* in a moment */
    enum stage stage;
    bool others_are_clean; /* STAGE_LOST */

    struct settle_peer *peers; /* room for as many as there are partitions; NULL at first */
    size_t peer_count;
    pthread_mutex_t lock; /* of what follows, and of `next` while others are asked */
    size_t under_way;     /* callbacks that will come, and who sends */
    bool refused, failed;
};

static void run_step(struct lookup_job *job, bool in_time);

/* --- waiting here --------------------------------------------------------------------------------------------- */

static bool is_wanted(const struct settle *s, uint32_t p)
{
    return s->wanted[p] > s->done[p] && !s->settled[p];
}

/* What was erased is in no file any more. */
static bool is_clean(const struct settle *s, uint32_t p)
{
    int64_t through;

    return s->stage != STAGE_CLEAN || !state_erasing(s->ask->api->o.state, p, &through);
}

/* Of all, so that each begins to see to it. Files of people stay with who made them, wherever a partition goes. */
static bool is_lost_clean(const struct settle *s)
{
    const struct api_options *o = &s->ask->api->o;
    bool clean = true;

    for (uint32_t p = 0; o->lost && p < s->partitions; p++) {
        if (s->wanted[p] <= s->done[p])
            continue;
        if (!lost_is_clean(o->lost, p, s->wanted[p]))
            clean = false;
        if (o->exports && !exports_clean(o->exports, p, s->wanted[p]))
            clean = false;
    }
    return clean;
}

static bool is_folded_here(const struct settle *s)
{
    if (s->stage == STAGE_LOST)
        return is_lost_clean(s);
    for (uint32_t p = 0; p < s->partitions; p++)
        if (is_wanted(s, p) && (followers_shown(s->ask->api->o.followers, p) < s->wanted[p] || !is_clean(s, p)))
            return false;
    return true;
}

/* A partition that has become another's is to be asked for there. */
static bool is_lost(const struct settle *s)
{
    if (s->stage == STAGE_LOST)
        return false;
    for (uint32_t p = 0; p < s->partitions; p++)
        if (is_wanted(s, p) && api_owns(s->ask->api, p) == OWNERSHIP_ELSEWHERE)
            return true;
    return false;
}

static bool met(const struct lookup_job *job)
{
    const struct settle *s = ((const struct ask *)job)->settle;

    return !s->retry && (is_lost(s) || is_folded_here(s));
}

static void forget_peers(struct settle *s)
{
    for (size_t i = 0; i < s->peer_count; i++)
        buf_deinit(&s->peers[i].after);
    s->peer_count = 0;
    memset(s->asked, 0, s->partitions * sizeof *s->asked);
}

static void fail(struct settle *s, const char *code, const char *why)
{
    struct ask *ask = s->ask;

    forget_peers(s);
    pthread_mutex_destroy(&s->lock);
    if (ask->settled)
        ask->settled(ask, false);
    else
        ask_error(ask, 503, code, "%s", why);
}

static void end(struct settle *s)
{
    struct ask *ask = s->ask;

    pthread_mutex_destroy(&s->lock);
    if (ask->settled)
        ask->settled(ask, true);
    else
        ask_run(ask);
}

/* Goes on with the next step when what is waited for here is there, or in a moment. */
static void wait(struct settle *s, bool retry)
{
    struct ask *ask = s->ask;
    int64_t now = clock_monotonic();

    if (now >= s->deadline) {
        fail(s, "not_yet", "what was asked for is not folded yet");
        return;
    }
    s->retry = retry;
    ask->job =
        (struct lookup_job){.run = run_step, .met = met, .deadline = s->deadline, .poll = s->stage != STAGE_FOLDED};
    if (retry && now + RETRY_MS < s->deadline)
        ask->job.deadline = now + RETRY_MS;
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        fail(s, "unavailable", "too many requests are waiting");
}

/* --- asking others -------------------------------------------------------------------------------------------- */

/* What another instance's folds moved: {"moved":"1:44,7:12"}. With the lock. */
static bool read_moved(struct settle *s, const struct buf *body)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root, *moved;
    bool read = false;
    struct buf text;

    buf_init(&text, LIMIT_ANSWER_BYTES);
    if (parser && buf_add_str(&text, buf_str(body)) && buf_room(&text, JSON_PADDING) &&
        json_parse(parser, text.p, text.n, &root, NULL) == JSON_OK) {
        moved = json_get(root, "moved");
        read = moved && moved->type == JSON_STRING;
        for (struct str rest = read ? moved->text : STR_NONE; read && rest.n > 0;) {
            struct place_on_log place;
            read = place_next(&rest, s->partitions, &place);
            if (read && place.offset > s->next[place.partition])
                s->next[place.partition] = place.offset;
        }
    }
    buf_deinit(&text);
    json_parser_free(parser);
    return read;
}

static void drop_hold(struct settle *s)
{
    struct ask *ask = s->ask;

    pthread_mutex_lock(&s->lock);
    assert(s->under_way > 0);
    bool last = --s->under_way == 0;
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    ask->job = (struct lookup_job){.run = run_step, .urgent = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        fail(s, "unavailable", "the program ends");
}

/* On the forwarder's thread. */
static void peer_answered(struct peer_call *c)
{
    struct settle_peer *peer = (struct settle_peer *)((char *)c - offsetof(struct settle_peer, call));
    struct settle *s = peer->settle;

    pthread_mutex_lock(&s->lock);
    if (c->call.status == 0)
        s->failed = true;
    else if (c->call.status != 200 || !read_moved(s, &c->call.body))
        s->refused = true;
    pthread_mutex_unlock(&s->lock);
    buf_deinit(&c->call.body);
    drop_hold(s);
}

/* The one at `base`, perhaps for the first time. */
static struct settle_peer *peer_at(struct settle *s, const char *base)
{
    size_t i = 0;

    while (i < s->peer_count && strcmp(s->peers[i].base, base) != 0)
        i++;
    struct settle_peer *peer = &s->peers[i];
    if (i == s->peer_count) {
        s->peer_count++;
        peer->settle = s;
        snprintf(peer->base, sizeof peer->base, "%s", base);
        buf_init(&peer->after, LIMIT_PARTITIONS * 32);
    }
    return peer;
}

/* Adds the partition to what the instance is asked for. */
static void add_place(const struct settle *s, struct settle_peer *peer, uint32_t partition)
{
    buf_addf(&peer->after, "%s%" PRIu32 ":%" PRId64, peer->after.n ? "," : "", partition, s->wanted[partition] - 1);
}

static bool make_peers(struct settle *s)
{
    if (!s->peers)
        s->peers = arena_zalloc(http_arena(s->ask->request), s->partitions * sizeof *s->peers);
    return s->peers != NULL;
}

/* All that have claimed a partition last, for all places. False when memory is out. */
static bool find_others(struct settle *s)
{
    struct ask *ask = s->ask;
    char base[PEER_URL];

    if (s->others_are_clean || ask->forwarded || !ask->api->o.lost)
        return true;
    if (!make_peers(s))
        return false;
    for (uint32_t p = 0; p < s->partitions; p++)
        if (ownership_url(ask->api->o.ownership, p, base, sizeof base))
            peer_at(s, base);
    for (size_t i = 0; i < s->peer_count; i++)
        for (uint32_t p = 0; p < s->partitions; p++)
            if (s->wanted[p] > s->done[p])
                add_place(s, &s->peers[i], p);
    return true;
}

/* Finds out who has what is not here. False when that is not known of a partition, or memory is out. */
static bool find_peers(struct settle *s)
{
    struct ask *ask = s->ask;
    char base[PEER_URL];

    if (s->stage == STAGE_LOST)
        return find_others(s);
    for (uint32_t p = 0; p < s->partitions; p++) {
        if (!is_wanted(s, p) || api_owns(ask->api, p) != OWNERSHIP_ELSEWHERE)
            continue;
        if (ask->forwarded || !peer_of(ask, p, base, sizeof base) || !make_peers(s))
            return false;
        add_place(s, peer_at(s, base), p);
        s->asked[p] = true;
    }
    return true;
}

static void ask_peers(struct settle *s)
{
    static const char *const clean[] = {NULL, "true", "lost"};

    s->under_way = 1 + s->peer_count;
    for (size_t i = 0; i < s->peer_count; i++) {
        struct settle_peer *peer = &s->peers[i];
        if (peer_ask_settled(s->ask, &peer->call, peer->base, &peer->after, clean[s->stage], peer_answered))
            continue;
        pthread_mutex_lock(&s->lock);
        s->failed = true;
        s->under_way--;
        pthread_mutex_unlock(&s->lock);
    }
    drop_hold(s);
}

/* All that were asked have answered. */
static void take_answers(struct settle *s)
{
    for (uint32_t p = 0; p < s->partitions && !s->refused; p++)
        s->settled[p] = s->settled[p] || s->asked[p];
    if (s->stage == STAGE_LOST && s->peer_count > 0 && !s->refused)
        s->others_are_clean = true;
    forget_peers(s);
}

/* --- rounds --------------------------------------------------------------------------------------------------- */

/* Everything that this round waited for is folded. */
static void add_sent(struct settle *s)
{
    for (uint32_t p = 0; p < s->partitions; p++)
        if (is_wanted(s, p))
            followers_sent(s->ask->api->o.followers, p, s->next);
}

/* The last ones are of all places at once: to clean takes its time, and each need not wait for those before. */
static bool clean_round(struct settle *s)
{
    if (!s->ask->until_clean || s->ask->forwarded || s->stage == STAGE_LOST)
        return false;
    if (s->stage == STAGE_FOLDED)
        memcpy(s->wanted, s->done, s->partitions * sizeof *s->wanted);
    s->stage++;
    memset(s->done, 0, s->partitions * sizeof *s->done);
    memset(s->settled, 0, s->partitions * sizeof *s->settled);
    return true;
}

/* Whether there is one; another instance goes no further than the first. */
static bool next_round(struct settle *s)
{
    bool more = false;

    if (s->stage != STAGE_LOST)
        add_sent(s);
    if (s->stage != STAGE_FOLDED)
        return clean_round(s);
    for (uint32_t p = 0; p < s->partitions; p++) {
        if (s->wanted[p] > s->done[p])
            s->done[p] = s->wanted[p];
        s->wanted[p] = s->next[p];
        more = more || s->wanted[p] > s->done[p];
    }
    memset(s->settled, 0, s->partitions * sizeof *s->settled);
    return (more && !s->ask->forwarded && ++s->round < LIMIT_SETTLE_ROUNDS) || clean_round(s);
}

/* Goes on as far as it can without waiting. Look-up threads. */
static void step(struct settle *s)
{
    bool refused = s->refused;

    if (s->failed) {
        fail(s, "unavailable", "an instance that has a part of what was asked for did not answer");
        return;
    }
    take_answers(s);
    s->refused = false;
    if (refused) {
        wait(s, true);
        return;
    }
    do {
        if (!find_peers(s)) {
            forget_peers(s);
            wait(s, true);
            return;
        }
        if (s->peer_count > 0) {
            ask_peers(s);
            return;
        }
        if (!is_folded_here(s)) {
            wait(s, false);
            return;
        }
    } while (next_round(s));
    end(s);
}

static void run_step(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;

    struct settle *s = ask->settle;

    assert(ask->magic == ASK_MAGIC);
    bool ends = !in_time && !s->retry && clock_monotonic() < s->deadline; /* the program does */
    s->retry = false;
    if (ends)
        fail(s, "not_yet", "what was asked for is not folded yet");
    else
        step(s);
}

void settle_start(struct ask *ask)
{
    uint32_t n = ask->api->o.conf->partitions;
    struct arena *a = http_arena(ask->request);
    struct settle *s = arena_zalloc(a, sizeof *s);

    if (s) {
        s->wanted = arena_zalloc(a, n * sizeof *s->wanted);
        s->done = arena_zalloc(a, n * sizeof *s->done);
        s->next = arena_zalloc(a, n * sizeof *s->next);
        s->asked = arena_zalloc(a, n * sizeof *s->asked);
        s->settled = arena_zalloc(a, n * sizeof *s->settled);
    }
    if (!s || !s->wanted || !s->done || !s->next || !s->asked || !s->settled) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    s->ask = ask;
    s->partitions = n;
    s->deadline = ask->arrived + ask->wait_ms;
    if (ask->forwarded)
        s->stage = ask->until_lost ? STAGE_LOST : ask->until_clean ? STAGE_CLEAN : STAGE_FOLDED;
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < ask->after_count; i++)
        s->wanted[ask->after[i].partition] = ask->after[i].offset + 1;
    ask->settle = s;
    ask->job =
        (struct lookup_job){.run = run_step, .met = met, .deadline = s->deadline, .poll = s->stage != STAGE_FOLDED};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        fail(s, "unavailable", "too many requests are waiting");
}

/* --- the route ------------------------------------------------------------------------------------------------ */

bool prepare_settled(struct ask *ask)
{
    ask->until_clean = str_is(http_query(ask->request, "clean"), "true");
    ask->until_lost = str_is(http_query(ask->request, "clean"), "lost");
    if (!ask->forwarded || ask->after_count == 0)
        ask_error(ask, 404, "not_found", "there is no such route");
    else if (ask->until_lost && !(ask->scopes & SCOPE_ADMIN)) /* it lets states go */
        ask_error(ask, 403, "scope_missing", "the token lacks the scope admin");
    else
        return true;
    return false;
}

void run_settled(struct ask *ask)
{
    const struct settle *s = ask->settle;
    const char *comma = "";
    struct buf body;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    buf_add_text(&body, "{\"moved\":\"");
    for (uint32_t p = 0; p < s->partitions; p++) {
        if (s->next[p] == 0)
            continue;
        buf_addf(&body, "%s%" PRIu32 ":%" PRId64, comma, p, s->next[p]);
        comma = ",";
    }
    buf_add_text(&body, "\"}");
    ask_answer(ask, &body);
    buf_deinit(&body);
}
