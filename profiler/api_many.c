/* Many profiles in one question. A look-up thread reads those that are here; the others are asked of the cache, all at
 * once, and what it misses of the instances that have them, a few at a time, in the callbacks of the cache and the
 * forwarder. The last callback hands the question back to a look-up thread, which joins the answers. One id that cannot
 * be answered makes the whole answer an error: a list with holes would be taken for the truth. */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

/* WANTED_NEXT: not looked at yet, or another instance said that it is a linked device, and named the user. */
enum wanted_state { WANTED_NEXT, WANTED_HERE, WANTED_MISSING, WANTED_ELSEWHERE, WANTED_COPY };

/* One id of the question. */
struct wanted {
    struct many *many;
    struct str id;    /* in the parser's memory, or the request's */
    struct str named; /* the device that was asked for, when `id` is its user; else absent */
    uint32_t partition;
    enum wanted_state state;
    size_t at, n;    /* WANTED_HERE: in many->here */
    struct buf copy; /* WANTED_COPY: of another instance or the cache */
    struct cache_question question;
    struct peer_call peer;
};

struct many {
    struct ask *ask;
    struct json_parser *parser;
    struct wanted *ids;
    size_t count, elsewhere;
    struct buf here; /* one behind the other */

    pthread_mutex_t lock; /* of what follows, and of `state` and `copy` once others are asked */
    size_t under_way;     /* callbacks that will come, and those who hold it meanwhile */
    size_t next;          /* id to send on */
    bool again;           /* there are some WANTED_NEXT */
    size_t bytes;         /* of all copies */
    const char *failure;  /* code of the whole answer; NULL: none */
    char why[200];
};

static void many_free(struct many *m)
{
    for (size_t i = 0; i < m->count; i++)
        buf_deinit(&m->ids[i].copy);
    free(m->ids);
    buf_deinit(&m->here);
    json_parser_free(m->parser);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* --- the question --------------------------------------------------------------------------------------------- */

/* The array `ids` of the body; NULL when an error was answered. */
static const struct json *read_ids(struct ask *ask, struct json_parser *parser)
{
    const struct json *root, *ids = NULL;
    struct err e = {0};
    size_t n;
    char *body = http_body(ask->request, &n);
    int r = json_parse(parser, body, n, &root, &e);

    if (r < 0) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return NULL;
    }
    if (r != JSON_OK) {
        ask_error(ask, 400, "json_invalid", "%s", e.text);
        return NULL;
    }
    if (!ask_read_show_of(ask, root))
        return NULL;
    ids = json_get(root, "ids");
    if (!ids || ids->type != JSON_ARRAY || ids->count > LIMIT_LOOKUP_IDS) {
        ask_error(ask, 400, "parameter_invalid", "the body is {\"ids\":[…]} with at most %d ids", LIMIT_LOOKUP_IDS);
        return NULL;
    }
    size_t i = 0;
    for (const struct json *id = ids->child; id; id = id->next, i++) {
        if (id->type == JSON_STRING && id_valid(id->text))
            continue;
        ask_error(ask, 400, "id_invalid", "ids[%zu] is no user:… or anon:…", i);
        return NULL;
    }
    return ids;
}

/* NULL when an error was answered. */
static struct many *many_new(struct ask *ask)
{
    struct many *m = calloc(1, sizeof *m);
    const struct json *ids;

    if (m) {
        m->ask = ask;
        pthread_mutex_init(&m->lock, NULL);
        buf_init(&m->here, LIMIT_ANSWER_BYTES);
        m->parser = json_parser_new();
    }
    if (!m || !m->parser) {
        if (m)
            many_free(m);
        ask_error(ask, 503, "unavailable", "out of memory");
        return NULL;
    }
    ids = read_ids(ask, m->parser);
    if (ids && !(m->ids = calloc(ids->count + 1, sizeof *m->ids)))
        ask_error(ask, 503, "unavailable", "out of memory");
    if (!m->ids) {
        many_free(m);
        return NULL;
    }
    for (const struct json *id = ids->child; id; id = id->next) {
        uint32_t partition = id_partition(id->text, ask->api->o.conf->partitions);
        m->ids[m->count++] = (struct wanted){.many = m, .id = id->text, .partition = partition};
    }
    return m;
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

/* A profile's object; with the device where that was asked for. */
static void add_object(const struct wanted *w, struct str object, struct buf *b)
{
    if (str_has(w->named) && object.n > 1) {
        buf_add_char(b, '{');
        json_write_member(b, "asked", w->named);
        buf_add_char(b, ',');
        object = (struct str){object.p + 1, object.n - 1};
    }
    buf_add_str(b, object);
}

static void add_found(const struct many *m, struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < m->count; i++) {
        const struct wanted *w = &m->ids[i];
        if (w->state == WANTED_MISSING)
            continue;
        if (!first)
            buf_add_char(b, ',');
        first = false;
        add_object(w, w->state == WANTED_HERE ? (struct str){m->here.p + w->at, w->n} : buf_str(&w->copy), b);
    }
}

static struct str named_id(const struct wanted *w)
{
    return str_has(w->named) ? w->named : w->id;
}

static void add_missing(const struct many *m, struct buf *b)
{
    bool first = true;

    for (size_t i = 0; i < m->count; i++) {
        if (m->ids[i].state != WANTED_MISSING)
            continue;
        if (!first)
            buf_add_char(b, ',');
        first = false;
        json_write_str(b, named_id(&m->ids[i]));
    }
}

/* Found or not: who asks for whom is what the audit log is for. */
static void add_targets(const struct many *m)
{
    uint64_t found = 0;

    for (size_t i = 0; i < m->count; i++) {
        ask_audit_target(m->ask, m->ids[i].id);
        if (str_has(m->ids[i].named))
            ask_audit_target(m->ask, m->ids[i].named);
        found += m->ids[i].state != WANTED_MISSING;
    }
    ask_audit_count(m->ask, found);
}

/* Both lists keep the order of the question. Ends it. */
static void answer(struct many *m)
{
    struct ask *ask = m->ask;
    struct buf body;

    buf_init(&body, 2 * LIMIT_ANSWER_BYTES + KIB);
    buf_add_text(&body, "{\"profiles\":[");
    add_found(m, &body);
    buf_add_text(&body, "],\"not_found\":[");
    add_missing(m, &body);
    buf_add_text(&body, "]}");
    body.failed = body.failed || m->here.failed;
    add_targets(m);
    many_drop(ask);
    ask_answer(ask, &body);
    buf_deinit(&body);
}

/* --- asking others -------------------------------------------------------------------------------------------- */

/* With the lock. The first failure stands. */
static void fail(struct many *m, const char *code, const struct wanted *w, const char *why)
{
    if (m->failure)
        return;
    m->failure = code;
    snprintf(m->why, sizeof m->why, "%.*s: %s", w->id.n < 64 ? (int)w->id.n : 64, w->id.p, why);
}

/* With the lock. `body` is taken, but for an answer that is lost already. */
static void keep(struct many *m, struct wanted *w, struct buf *body)
{
    if (m->bytes + body->n + m->here.n > LIMIT_ANSWER_BYTES)
        fail(m, "parameter_invalid", w, "the answer would be too large: ask for less");
    if (m->failure)
        return;
    m->bytes += body->n;
    w->copy = *body;
    w->state = WANTED_COPY;
    *body = (struct buf){0};
}

/* With the lock. The id is a linked device's: the user, who may be anywhere, is looked for on a look-up thread. */
static void follow_user(struct many *m, struct wanted *w, const struct buf *body)
{
    struct ask *ask = m->ask;
    struct str user;

    if (str_has(w->named) || !linked_read(w->id, body, http_arena(ask->request), &user)) {
        fail(m, "unavailable", w, "the instance that has it gave no answer");
        return;
    }
    w->named = w->id;
    w->id = user;
    w->partition = id_partition(user, ask->api->o.conf->partitions);
    w->state = WANTED_NEXT;
    m->again = true;
}

/* A device's profile is another's when the device is linked. */
static void name_user(struct wanted *w)
{
    struct buf begin;

    if (!id_is_device(w->id))
        return;
    buf_init(&begin, 8 * KIB);
    buf_add_char(&begin, '{');
    json_write_member(&begin, "id", w->id);
    if (!str_starts(buf_str(&w->copy), buf_str(&begin)))
        w->named = w->id;
    buf_deinit(&begin);
}

static void look_at_all(struct many *m);

/* On a look-up thread again, or where it could not be handed back. */
static void answer_all(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    struct many *m = ask->many;
    char why[sizeof m->why];

    assert(ask->magic == ASK_MAGIC && m && m->under_way == 0);
    if (!m->failure && m->again && in_time) {
        m->elsewhere = 0;
        look_at_all(m);
        return;
    }
    if (!m->failure && !m->again) {
        answer(m);
        return;
    }
    const char *code = m->failure ? m->failure : "unavailable";
    snprintf(why, sizeof why, "%s", m->failure ? m->why : "the program ends");
    many_drop(ask);
    ask_error(ask, str_is(str_of(code), "parameter_invalid") ? 400 : 503, code, "%s", why);
}

static void drop_hold(struct many *m)
{
    struct ask *ask = m->ask;

    pthread_mutex_lock(&m->lock);
    assert(m->under_way > 0);
    bool last = --m->under_way == 0;
    pthread_mutex_unlock(&m->lock);
    if (!last)
        return;
    /* It was let into the queue once and holds all that it needs: it goes first. */
    ask->job = (struct lookup_job){.run = answer_all, .urgent = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        answer_all(&ask->job, false);
}

static void send_more(struct many *m);

/* On the forwarder's thread. */
static void owner_answered(struct peer_call *c)
{
    struct wanted *w = (struct wanted *)((char *)c - offsetof(struct wanted, peer));
    struct many *m = w->many;

    pthread_mutex_lock(&m->lock);
    switch (c->call.status) {
    case 200:
        keep(m, w, &c->call.body);
        name_user(w);
        break;
    case 421:
        follow_user(m, w, &c->call.body);
        break;
    case 404:
        w->state = WANTED_MISSING;
        break;
    case 0:
        fail(m, "unavailable", w, "the instance that has it did not answer");
        break;
    default:
        fail(m, c->call.status == 503 ? "not_yet" : "unavailable", w, "the instance that has it cannot show it now");
    }
    pthread_mutex_unlock(&m->lock);
    buf_deinit(&c->call.body);
    send_more(m);
    drop_hold(m);
}

static void send_one(struct many *m, struct wanted *w)
{
    struct ask *ask = m->ask;
    char base[PEER_URL];
    const char *code = NULL, *why = NULL;
    struct buf path;

    buf_init(&path, 4 * KIB);
    buf_add_text(&path, "/v1/profiles/");
    http_encode_segment(&path, w->id);
    if (!peer_of(ask, w->partition, base, sizeof base)) {
        code = "not_yet";
        why = "nobody is known to have its partition";
    } else if (!peer_ask(ask, &w->peer, base, buf_str(&path), NULL, owner_answered)) {
        code = "unavailable";
        why = "too many requests are with other instances";
    }
    buf_deinit(&path);
    if (!code)
        return;
    pthread_mutex_lock(&m->lock);
    fail(m, code, w, why);
    m->under_way--; /* never the last: the caller has one */
    assert(m->under_way > 0);
    pthread_mutex_unlock(&m->lock);
}

/* The next id to send on, counted as under way; NULL when there is none, or enough are. */
static struct wanted *take_next(struct many *m)
{
    struct wanted *w = NULL;

    pthread_mutex_lock(&m->lock);
    while (!m->failure && m->next < m->count && m->ids[m->next].state != WANTED_ELSEWHERE)
        m->next++;
    if (!m->failure && m->next < m->count && m->under_way <= LIMIT_FORWARDS_OF_ONE) {
        w = &m->ids[m->next++];
        m->under_way++;
    }
    pthread_mutex_unlock(&m->lock);
    return w;
}

/* By somebody who is counted as under way. */
static void send_more(struct many *m)
{
    for (struct wanted *w = take_next(m); w; w = take_next(m))
        send_one(m, w);
}

/* On the thread of the cache, or before cache_read returns. The last one goes on to the owners. */
static void cache_answered(struct cache_question *q, struct str copy, int64_t version)
{
    struct wanted *w = (struct wanted *)((char *)q - offsetof(struct wanted, question));
    struct many *m = w->many;
    struct buf body;

    (void)version;
    buf_init(&body, LIMIT_ANSWER_BYTES);
    pthread_mutex_lock(&m->lock);
    if (str_has(copy) && !m->failure) {
        if (!buf_add_str(&body, copy))
            fail(m, "unavailable", w, "out of memory");
        keep(m, w, &body);
        buf_deinit(&body);
    }
    bool last = m->under_way == 1;
    if (!last)
        m->under_way--;
    pthread_mutex_unlock(&m->lock);
    if (last) {
        send_more(m);
        drop_hold(m);
    }
}

/* Asks the cache for all at once, then, by the last answer, the owners. */
static void ask_others(struct many *m)
{
    m->under_way = 1;
    if (!ask_cacheable(m->ask)) {
        send_more(m);
        drop_hold(m);
        return;
    }
    m->under_way = m->elsewhere;
    for (size_t i = 0, left = m->elsewhere; left > 0; i++) {
        struct wanted *w = &m->ids[i];
        if (w->state != WANTED_ELSEWHERE)
            continue;
        left--; /* from the last one on the question may be gone */
        w->question = (struct cache_question){.partition = w->partition, .id = w->id, .done = cache_answered};
        cache_read(m->ask->api->o.cache, &w->question);
    }
}

/* --- what is here --------------------------------------------------------------------------------------------- */

/* Puts the user in the place of a linked device. 0 or negative errno. */
static int resolve(struct many *m, struct wanted *w, struct err *e)
{
    const struct api_options *o = &m->ask->api->o;
    struct str user;

    if (!id_is_device(w->id))
        return 0;
    int r = state_linked(o->state, w->partition, w->id, http_arena(m->ask->request), &user, e);
    if (r == 0) {
        w->named = w->id;
        w->id = user;
        w->partition = id_partition(user, o->conf->partitions);
    }
    return r < 0 ? r : 0;
}

/* Whether it is to be read here. Else it is another's, or *answered. */
static bool is_here(struct many *m, struct wanted *w, bool *answered)
{
    struct ask *ask = m->ask;
    uint32_t partition = w->partition;
    enum ownership_answer owns = api_owns(ask->api, partition);

    *answered = false;
    if (owns == OWNERSHIP_SERVES)
        return true;
    if (owns == OWNERSHIP_ELSEWHERE && !ask->forwarded) {
        w->state = WANTED_ELSEWHERE;
        m->elsewhere++;
        return false;
    }
    *answered = true;
    many_drop(ask);
    if (owns == OWNERSHIP_NOT_YET)
        ask_not_yet(ask, partition);
    else
        ask_not_owner(ask, partition);
    return false;
}

/* What is held, or was linked a moment ago, is looked at again. */
static void broken(struct many *m, uint32_t partition, int r, const struct err *e)
{
    struct ask *ask = m->ask;

    ask->partition = partition;
    if (r != -EAGAIN && r != STATE_LINKED) {
        many_drop(ask);
        ask_broken(ask, r, e);
    } else if (!ask_again(ask)) {
        many_free(m); /* the request may be gone */
    }
}

/* False when it has answered, or will run again. */
static bool read_here(struct many *m, struct wanted *w)
{
    struct ask *ask = m->ask;
    struct err e = {0};
    struct tags_good good;
    int64_t version;
    bool answered;

    if (!is_here(m, w, &answered))
        return !answered;
    int r = resolve(m, w, &e);
    if (r == 0 && !is_here(m, w, &answered))
        return !answered;
    w->at = m->here.n;
    if (r == 0)
        r = add_profile(ask, w->partition, w->id, &m->here, &version, &good, &e);
    if (r != 0 && r != STATE_NOT_FOUND) {
        m->here.n = w->at;
        broken(m, w->partition, r, &e);
        return false;
    }
    w->n = m->here.n - w->at;
    w->state = r == 0 ? WANTED_HERE : WANTED_MISSING;
    return true;
}

static void look_at_all(struct many *m)
{
    m->again = false;
    m->next = 0;
    for (size_t i = 0; i < m->count; i++)
        if (m->ids[i].state == WANTED_NEXT && !read_here(m, &m->ids[i]))
            return;
    if (m->elsewhere == 0)
        answer(m);
    else
        ask_others(m);
}

void run_profiles(struct ask *ask)
{
    struct many *m = ask->many ? ask->many : many_new(ask);

    if (!m)
        return; /* it is answered, and perhaps gone */
    ask->many = m;
    look_at_all(m);
}

void many_drop(struct ask *ask)
{
    if (ask->many)
        many_free(ask->many);
    ask->many = NULL;
}
