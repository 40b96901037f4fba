/* Finding the order whose scene is asked for. Statements of one order id may stand in several partitions; the one whose
 * best statement is believed most is answered. A look-up thread looks in the partitions that are here; each other
 * instance is asked once, for all partitions that it has, and the best of their answers is chosen in the callback of
 * the last one. When one cannot be asked nothing is said: it might have had a better one.
 *
 * The request to another instance names the partitions that it is to look in: when one of them has moved on meanwhile
 * it says so, and not that there is no such order. */
#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/num.h"
#include "profiler/api_ask.h"

/* An instance and what it is asked for. */
struct peer_place {
    struct scattered *scattered;
    char base[PEER_URL];
    struct buf partitions; /* "1,4,7" */
    struct peer_call peer;
};

/* A question to several instances. */
struct scattered {
    struct ask *ask;
    struct peer_place *places;
    size_t count;
    struct buf best; /* the answer so far; its rank is ask->rank, "" for none */

    pthread_mutex_t lock; /* of what follows, and of `best` once others are asked */
    size_t under_way;     /* callbacks that will come, and who sends */
    unsigned failure;     /* status of an answer that spoils all; 0: none */
    bool failed;
};

/* --- ranks as text -------------------------------------------------------------------------------------------- */

void rank_write(char out[RANK_TEXT], const struct event_rank *r)
{
    const uint64_t sign = UINT64_C(1) << 63;
    int n = snprintf(out, RANK_TEXT, "%02x%016" PRIx64 "%016" PRIx64 "%08" PRIx32, (unsigned)r->trust,
                     (uint64_t)r->key.time ^ sign, (uint64_t)r->key.received ^ sign, r->key.position);

    for (size_t i = 0; i < UID_BYTES; i++, n += 2)
        snprintf(out + n, RANK_TEXT - (size_t)n, "%02x", r->key.uid.b[i]);
    assert(n < RANK_TEXT);
}

/* --- here ----------------------------------------------------------------------------------------------------- */

/* What a look through the partitions has found. */
struct finding {
    struct ask *ask;
    bool found;
    struct state_order best;
    uint32_t partition;     /* of the best */
    bool *elsewhere;        /* for each partition: another instance is to be asked */
    size_t elsewhere_count; /* of these */
};

enum { FIND_ANSWERED = 1 };

/* Whether the partition is to be looked in here, right now. 0, 1 when not, or -1 when it has answered. */
static int is_here(struct finding *f, uint32_t partition)
{
    struct ask *ask = f->ask;

    if (ask->asked && !ask->asked[partition])
        return 1;
    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        return 0;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, partition);
        return -1;
    case OWNERSHIP_ELSEWHERE:
        break;
    }
    if (ask->asked) {
        ask_not_owner(ask, partition);
        return -1;
    }
    if (!ask->forwarded) {
        f->elsewhere[partition] = true;
        f->elsewhere_count++;
    }
    return 1;
}

/* 0, FIND_ANSWERED or a negative errno. */
static int look_in(struct finding *f, uint32_t partition, struct err *e)
{
    struct state_order one;
    int here = is_here(f, partition);

    if (here != 0)
        return here < 0 ? FIND_ANSWERED : 0;
    int r = state_order(f->ask->api->o.state, partition, f->ask->id, &one, e);
    if (r != 0)
        return r == STATE_NOT_FOUND ? 0 : r;
    if (f->found && event_rank_cmp(&one.rank, &f->best.rank) <= 0) {
        state_order_free(&one);
        return 0;
    }
    if (f->found)
        state_order_free(&f->best);
    f->best = one;
    f->partition = partition;
    f->found = true;
    return 0;
}

/* The scene of the best order that is here, with its rank in the request; nothing where none is. As look_in. */
static int write_here(struct finding *f, struct buf *b, struct err *e)
{
    struct ask *ask = f->ask;
    int r = 0;

    for (uint32_t p = 0; r == 0 && p < ask->api->o.conf->partitions; p++)
        r = look_in(f, p, e);
    if (f->found && r == 0) {
        rank_write(ask->rank, &f->best.rank);
        r = scene_write(ask, &f->best, f->partition, b, e);
        if (r == STATE_NOT_FOUND) {
            ask->rank[0] = '\0';
            r = 0;
        }
    }
    if (f->found)
        state_order_free(&f->best);
    return r;
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

static void answer_scene(struct ask *ask, struct buf *body)
{
    if (ask->rank[0])
        ask_answer(ask, body);
    else
        ask_error(ask, 404, "order_not_found", "nothing is known of this order");
    buf_deinit(body);
}

static void scattered_free(struct scattered *s)
{
    for (size_t i = 0; i < s->count; i++)
        buf_deinit(&s->places[i].partitions);
    free(s->places);
    buf_deinit(&s->best);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* All have answered, or cannot. */
static void end(struct scattered *s)
{
    struct ask *ask = s->ask;
    struct buf best = s->best;
    bool failed = s->failed;
    unsigned status = s->failure;

    s->best = (struct buf){0};
    scattered_free(s);
    if (!failed) {
        answer_scene(ask, &best);
        return;
    }
    buf_deinit(&best);
    if (status)
        ask_error(ask, 503, "not_yet", "an instance that may have the order answered %u", status);
    else
        ask_error(ask, 503, "unavailable", "an instance that may have the order did not answer");
}

static void drop_hold(struct scattered *s)
{
    pthread_mutex_lock(&s->lock);
    assert(s->under_way > 0);
    bool last = --s->under_way == 0;
    pthread_mutex_unlock(&s->lock);
    if (last)
        end(s);
}

/* --- elsewhere ------------------------------------------------------------------------------------------------ */

/* With the lock. Takes the body when it is the best so far. */
static void compare(struct scattered *s, struct forward_call *c)
{
    struct ask *ask = s->ask;

    if (strcmp(c->rank, ask->rank) <= 0)
        return;
    snprintf(ask->rank, sizeof ask->rank, "%s", c->rank);
    buf_deinit(&s->best);
    s->best = c->body;
    c->body = (struct buf){0};
}

/* On the forwarder's thread. */
static void place_answered(struct peer_call *c)
{
    struct peer_place *place = (struct peer_place *)((char *)c - offsetof(struct peer_place, peer));
    struct scattered *s = place->scattered;

    pthread_mutex_lock(&s->lock);
    if (c->call.status == 200 && c->call.rank[0]) {
        compare(s, &c->call);
    } else if (c->call.status != 404) {
        s->failed = true;
        s->failure = c->call.status;
    }
    pthread_mutex_unlock(&s->lock);
    buf_deinit(&c->call.body);
    drop_hold(s);
}

static void ask_places(struct scattered *s)
{
    struct ask *ask = s->ask;

    s->under_way = 1 + s->count;
    for (size_t i = 0; i < s->count; i++) {
        struct peer_place *place = &s->places[i];
        if (peer_ask(ask, &place->peer, place->base, http_path(ask->request), place->partitions.p, place_answered))
            continue;
        pthread_mutex_lock(&s->lock);
        s->failed = true;
        s->under_way--;
        pthread_mutex_unlock(&s->lock);
    }
    drop_hold(s);
}

/* Adds the partition to what the instance at `base` is asked for; false when memory is out. */
static bool add_place(struct scattered *s, const char *base, uint32_t partition)
{
    size_t i = 0;

    while (i < s->count && strcmp(s->places[i].base, base) != 0)
        i++;
    struct buf *list = &s->places[i].partitions;
    if (i == s->count) {
        s->places[i].scattered = s;
        snprintf(s->places[i].base, sizeof s->places[i].base, "%s", base);
        buf_init(list, 8 * LIMIT_PARTITIONS);
        s->count++;
    } else {
        list->n--; /* the NUL */
        buf_add_char(list, ',');
    }
    buf_addf(list, "%" PRIu32, partition);
    return buf_add_char(list, '\0');
}

/* Who has the partitions that are not here; false when it has answered. */
static bool find_places(struct scattered *s, const struct finding *f)
{
    struct ask *ask = s->ask;
    char base[PEER_URL];
    bool ok = true;

    for (uint32_t p = 0; ok && p < ask->api->o.conf->partitions; p++) {
        if (!f->elsewhere[p])
            continue;
        if (!peer_of(ask, p, base, sizeof base)) {
            ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", p);
            return false;
        }
        ok = add_place(s, base, p);
    }
    if (!ok)
        ask_error(ask, 503, "unavailable", "out of memory");
    return ok;
}

/* `body`, the best that is here, is taken. */
static void ask_others(struct finding *f, struct buf *body)
{
    struct scattered *s = calloc(1, sizeof *s);

    if (s) {
        s->ask = f->ask;
        pthread_mutex_init(&s->lock, NULL);
        s->best = *body;
        *body = (struct buf){0};
        s->places = calloc(f->elsewhere_count, sizeof *s->places);
    }
    if (!s || !s->places) {
        if (s)
            scattered_free(s);
        ask_error(f->ask, 503, "unavailable", "out of memory");
    } else if (!find_places(s, f)) {
        scattered_free(s);
    } else {
        ask_places(s);
    }
}

/* --- the route ------------------------------------------------------------------------------------------------ */

/* Another instance says where to look. */
static bool read_asked(struct ask *ask, struct str text)
{
    uint32_t partitions = ask->api->o.conf->partitions;
    bool *asked = arena_zalloc(http_arena(ask->request), partitions * sizeof *asked);
    uint64_t one;

    if (!asked) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    while (text.n > 0) {
        const char *comma = memchr(text.p, ',', text.n);
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        if (num_u64((struct str){text.p, n}, &one) != NUM_OK || one >= partitions) {
            ask_error(ask, 400, "parameter_invalid", "partitions are numbers below %u", partitions);
            return false;
        }
        asked[one] = true;
        n += comma ? 1 : 0;
        text = (struct str){text.p + n, text.n - n};
    }
    ask->asked = asked;
    return true;
}

bool prepare_scene(struct ask *ask)
{
    struct str text = http_query(ask->request, "partitions");

    return !ask->forwarded || !str_has(text) || read_asked(ask, text);
}

void run_scene(struct ask *ask)
{
    struct finding f = {.ask = ask};
    struct err e = {0};
    struct buf body;

    f.elsewhere = arena_zalloc(http_arena(ask->request), ask->api->o.conf->partitions * sizeof *f.elsewhere);
    if (!f.elsewhere) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    buf_init(&body, LIMIT_ANSWER_BYTES);
    int r = write_here(&f, &body, &e);
    if (r < 0)
        ask_broken(ask, r, &e);
    else if (r == 0 && f.elsewhere_count == 0)
        answer_scene(ask, &body);
    else if (r == 0)
        ask_others(&f, &body);
    buf_deinit(&body);
}
