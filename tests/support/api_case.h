/* Three profilers in one process, each with a log and a state of its own that hold only its partitions, so that an
 * answer from the wrong one is a wrong answer. Who has a partition, and what the cache holds, this file plays: it
 * defines the functions of ownership.h and cache.h itself. */
#ifndef WAYMARK_TESTS_API_CASE_H
#define WAYMARK_TESTS_API_CASE_H

#include "profiler/api.h"
#include "profiler/profiler_settings.h"
#include "tests/support/profiler_shop.h"

#define INSTANCES 3
#define NOBODY (-1)

/* --- who has what --------------------------------------------------------------------------------------------- */

struct ownership {
    int self;
};

static struct world {
    pthread_mutex_t lock;
    int owner[INSTANCES][PARTITIONS]; /* as each instance sees it */
    bool not_yet[PARTITIONS];
    uint16_t port[INSTANCES];
} world;

static inline void world_set(int seen_by, uint32_t partition, int owner)
{
    pthread_mutex_lock(&world.lock);
    for (int i = 0; i < INSTANCES; i++)
        if (seen_by < 0 || seen_by == i)
            world.owner[i][partition] = owner;
    pthread_mutex_unlock(&world.lock);
}

static inline void world_not_yet(uint32_t partition, bool not_yet)
{
    pthread_mutex_lock(&world.lock);
    world.not_yet[partition] = not_yet;
    pthread_mutex_unlock(&world.lock);
}

enum ownership_answer ownership_ask(const struct ownership *o, uint32_t partition)
{
    pthread_mutex_lock(&world.lock);
    bool ours = world.owner[o->self][partition] == o->self, not_yet = world.not_yet[partition];
    pthread_mutex_unlock(&world.lock);
    return !ours ? OWNERSHIP_ELSEWHERE : not_yet ? OWNERSHIP_NOT_YET : OWNERSHIP_SERVES;
}

void ownership_why(struct ownership *o, uint32_t partition, struct err *why)
{
    (void)o;
    err_set(why, "partition %u was claimed a moment ago", partition);
}

bool ownership_url(struct ownership *o, uint32_t partition, char *out, size_t size)
{
    pthread_mutex_lock(&world.lock);
    int owner = world.owner[o->self][partition];
    uint16_t port = owner == NOBODY ? 0 : world.port[owner];
    pthread_mutex_unlock(&world.lock);
    if (owner == NOBODY || owner == o->self)
        return false;
    snprintf(out, size, "http://127.0.0.1:%u/", port);
    return true;
}

bool ownership_follows(const struct ownership *o, uint32_t partition)
{
    return ownership_ask(o, partition) != OWNERSHIP_ELSEWHERE;
}

void ownership_figures(const struct ownership *o, struct ownership_figures *out)
{
    (void)o;
    memset(out, 0, sizeof *out);
}

/* --- the cache ------------------------------------------------------------------------------------------------ */

struct kept {
    char id[300];
    char *answer;
    struct kept *next;
};

/* One for all, like Redis. Answers on a thread of its own. */
struct cache {
    pthread_mutex_t lock;
    pthread_cond_t asked;
    pthread_t thread;
    struct cache_question *head, *tail;
    struct kept *kept;
    unsigned reads, hits, fills;
    bool ended;
};

static inline void cache_keep(struct cache *c, struct str id, struct str answer)
{
    struct kept *k = calloc(1, sizeof *k);

    snprintf(k->id, sizeof k->id, "%.*s", STR_ARG(id));
    k->answer = strndup(answer.p, answer.n);
    pthread_mutex_lock(&c->lock);
    k->next = c->kept;
    c->kept = k;
    pthread_mutex_unlock(&c->lock);
}

void cache_read(struct cache *c, struct cache_question *q)
{
    pthread_mutex_lock(&c->lock);
    c->reads++;
    q->next = NULL;
    if (c->tail)
        c->tail->next = q;
    else
        c->head = q;
    c->tail = q;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
}

static inline void *cache_main(void *arg)
{
    struct cache *c = arg;

    pthread_mutex_lock(&c->lock);
    while (!c->ended || c->head) {
        struct cache_question *q = c->head;
        if (!q) {
            pthread_cond_wait(&c->asked, &c->lock);
            continue;
        }
        c->head = q->next;
        c->tail = c->head ? c->tail : NULL;
        struct kept *k = c->kept;
        while (k && !str_is(q->id, k->id))
            k = k->next;
        c->hits += k != NULL;
        pthread_mutex_unlock(&c->lock);
        q->done(q, k ? str_of(k->answer) : STR_NONE, 1);
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

bool cache_wants(struct cache *c, uint32_t partition)
{
    (void)c, (void)partition;
    return true;
}

uint64_t cache_ticket(struct cache *c, uint32_t partition)
{
    (void)c;
    return 70 + partition;
}

void cache_fill(struct cache *c, uint32_t partition, uint64_t ticket, const struct cache_copy *copy)
{
    assert_int_equal(ticket, 70 + partition);
    assert_true(copy->version > 0);
    cache_keep(c, copy->id, copy->answer);
    pthread_mutex_lock(&c->lock);
    c->fills++;
    pthread_mutex_unlock(&c->lock);
}

static inline struct cache *play_cache_start(void)
{
    struct cache *c = calloc(1, sizeof *c);

    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->asked, NULL);
    assert_int_equal(pthread_create(&c->thread, NULL, cache_main, c), 0);
    return c;
}

static inline void play_cache_stop(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    c->ended = true;
    pthread_cond_signal(&c->asked);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
}

static inline void play_cache_free(struct cache *c)
{
    while (c->kept) {
        struct kept *k = c->kept;
        c->kept = k->next;
        free(k->answer);
        free(k);
    }
    free(c);
}

/* --- what no question asks ------------------------------------------------------------------------------------ */

/* The rest of both headers: the linker must not bring their files in beside this one. */
static inline void never(const char *name)
{
    fail_msg("nobody calls %s here", name);
}

#define NEVER(head, ...)                                                                                               \
    head                                                                                                               \
    {                                                                                                                  \
        never(__func__);                                                                                               \
        __VA_ARGS__                                                                                                    \
    }

NEVER(int cache_start(const struct cache_options *o, struct cache **out, struct err *e), (void)o, (void)out, (void)e;
      return -1;)
NEVER(void cache_stop(struct cache *c, int64_t ms), (void)c, (void)ms;)
NEVER(void cache_free(struct cache *c), (void)c;)
NEVER(void cache_lease(struct cache *c, uint32_t p, int64_t until), (void)c, (void)p, (void)until;)
NEVER(void cache_release(struct cache *c, uint32_t p), (void)c, (void)p;)
NEVER(int64_t cache_begin(struct cache *c, uint32_t p, const struct str *ids, size_t n), (void)c, (void)p, (void)ids,
      (void)n;
      return 0;)
NEVER(void cache_end(struct cache *c, uint32_t p, const struct cache_copy *copies, size_t n), (void)c, (void)p,
      (void)copies, (void)n;)
NEVER(int cache_forget(struct cache *c, const struct str *ids, size_t n, int64_t ms), (void)c, (void)ids, (void)n,
      (void)ms;
      return 0;)
NEVER(int ownership_start(const struct ownership_options *o, struct ownership **out, struct err *e), (void)o, (void)out,
      (void)e;
      return -1;)
NEVER(void ownership_set_url(struct ownership *o, const char *url), (void)o, (void)url;)
NEVER(void ownership_stop(struct ownership *o), (void)o;)
NEVER(void ownership_free(struct ownership *o), (void)o;)
NEVER(void ownership_given(void *o, uint32_t p), (void)o, (void)p;)
NEVER(void ownership_taken(void *o, uint32_t p), (void)o, (void)p;)
NEVER(uint64_t ownership_stint(const struct ownership *o, uint32_t p), (void)o, (void)p; return 0;)

/* --- an instance ---------------------------------------------------------------------------------------------- */

struct instance {
    struct shop shop;
    struct ownership ownership;
    struct profiler_settings settings;
    struct state *state;
    struct lookups *lookups;
    struct followers *followers;
    struct meter *meter;
    struct forward *forward;
    struct api *api;
    char name[16];
    bool running;
};

static inline void wake_lookups(void *arg)
{
    lookups_wake(arg);
}

static inline void must(int r, const struct err *e)
{
    if (r != 0)
        fail_msg("%d: %s", r, e->text);
}

static inline void instance_start(struct instance *n, int number, struct cache *cache)
{
    struct shop *s = &n->shop;
    struct err e = {0};

    memset(n, 0, sizeof *n);
    make(s);
    mkdir(s->data, 0700);
    load_conf(s);
    const struct event_log_options o = {.path = s->log_path, .partitions = PARTITIONS};
    must(event_log_open_local(&o, &s->log, &e), &e);
    s->stats = stats_new();
    n->ownership.self = number;
    must(profiler_settings_init(&n->settings, s->conf, &e), &e);
    must(state_open(&n->settings.state, &n->state, &e), &e);
    must(lookups_start(2, &n->lookups, &e), &e);
    must(followers_start(&(struct followers_options){.log = s->log,
                                                     .state = n->state,
                                                     .partitions = PARTITIONS,
                                                     .threads = 1,
                                                     .commit_ms = 10000,
                                                     .rules = &n->settings.rules,
                                                     .shown = wake_lookups,
                                                     .arg = n->lookups},
                         &n->followers, &e),
         &e);
    n->meter = meter_new(&(struct meter_options){.stats = s->stats,
                                                 .log = s->log,
                                                 .state = n->state,
                                                 .lookups = n->lookups,
                                                 .followers = n->followers,
                                                 .ownership = &n->ownership,
                                                 .partitions = PARTITIONS});
    must(forward_start(&n->forward, &e), &e);
    snprintf(n->name, sizeof n->name, "p%d", number);
    must(api_start(&(struct api_options){.conf = s->conf,
                                         .rules = &n->settings.rules,
                                         .log = s->log,
                                         .state = n->state,
                                         .followers = n->followers,
                                         .lookups = n->lookups,
                                         .meter = n->meter,
                                         .stats = s->stats,
                                         .ownership = &n->ownership,
                                         .cache = cache,
                                         .forward = n->forward,
                                         .instance = n->name},
                   &n->api, &e),
         &e);
    s->port = api_port(n->api);
    world.port[number] = s->port;
    n->running = true;
}

/* `cache` is stopped on the way when it is given: it is everybody's. */
static inline void instance_stop(struct instance *n, struct cache *cache)
{
    if (!n->running)
        return;
    n->running = false;
    api_quiesce(n->api);
    assert_int_equal(followers_finish(n->followers, PATIENCE_MS), 0);
    lookups_finish(n->lookups);
    if (cache)
        play_cache_stop(cache);
    forward_stop(n->forward);
    api_stop(n->api, PATIENCE_MS);
    forward_free(n->forward);
    lookups_free(n->lookups);
    meter_free(n->meter);
    followers_free(n->followers);
    state_close(n->state);
    profiler_settings_deinit(&n->settings);
    event_log_close(n->shop.log);
    stats_free(n->shop.stats);
    conf_free(n->shop.conf);
    remove_folder(n->shop.dir);
}

/* --- three of them -------------------------------------------------------------------------------------------- */

struct cluster {
    struct instance at[INSTANCES];
    struct cache *cache;
};

/* To the one that has the partition as all see it at the start, and waits until it is shown there. */
static inline struct shop *put_at_owner(struct cluster *c, struct event e)
{
    uint32_t p = event_log_partition(event_log_key(&e), PARTITIONS);
    struct instance *n = &c->at[p % INSTANCES];
    int64_t until = clock_monotonic() + PATIENCE_MS;

    put(&n->shop, e);
    while (followers_shown(n->followers, n->shop.partition) <= n->shop.offset) {
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return &n->shop;
}

/* A user id of a partition. */
static inline void user_of(uint32_t partition, unsigned number, char out[24])
{
    for (unsigned i = 0, left = number + 1; left > 0; i++) {
        snprintf(out, 24, "u%u", i);
        left -= event_log_partition(str_of(out), PARTITIONS) == partition;
    }
}

static inline int cluster_setup_with(void **state, bool cache)
{
    struct cluster *c = calloc(1, sizeof *c);

    memset(&world, 0, sizeof world);
    pthread_mutex_init(&world.lock, NULL);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        world_set(-1, p, (int)(p % INSTANCES));
    c->cache = cache ? play_cache_start() : NULL;
    for (int i = 0; i < INSTANCES; i++)
        instance_start(&c->at[i], i, c->cache);
    for (int i = 0; i < INSTANCES; i++)
        wait_ready(&c->at[i].shop);
    *state = c;
    return 0;
}

static inline int cluster_setup(void **state)
{
    return cluster_setup_with(state, false);
}

static inline int cluster_setup_cached(void **state)
{
    return cluster_setup_with(state, true);
}

static inline int cluster_teardown(void **state)
{
    struct cluster *c = *state;
    struct cache *cache = c->cache;

    for (int i = 0; i < INSTANCES; i++) {
        instance_stop(&c->at[i], cache);
        cache = NULL;
    }
    if (c->cache)
        play_cache_free(c->cache);
    pthread_mutex_destroy(&world.lock);
    free(c);
    return 0;
}

/* --- questions -------------------------------------------------------------------------------------------------- */

/* Profiles as who may not see personal values, since no others are in the cache. */
static inline struct answer ask(struct cluster *c, int at, const char *path)
{
    const char *token = strncmp(path, "/v1/profiles", 12) == 0 ? "Bearer tk_lookup" : "Bearer tk_all";

    return request(&c->at[at].shop, "GET", token, path, NULL);
}

static inline struct answer ask_ids(struct cluster *c, int at, const char *ids)
{
    char *body;

    assert_true(asprintf(&body, "{\"ids\":[%s]}", ids) > 0);
    struct answer a = request(&c->at[at].shop, "POST", "Bearer tk_lookup", "/v1/profiles:lookup", body);
    free(body);
    return a;
}

static inline void expect_body(struct answer *a, int status, const char *body, size_t n)
{
    if (a->status != status || a->body_n != n || memcmp(a->body, body, n) != 0)
        fail_msg("got %d %s\nnot %d %.*s", a->status, a->body, status, (int)n, body);
    answer_free(a);
}

/* All instances say the same, and it has this status. The first is the first owner. */
static inline void expect_same(struct cluster *c, const char *path, int status)
{
    struct answer first = ask(c, 0, path);

    if (first.status != status)
        fail_msg("%s: %d %s", path, first.status, first.body);
    for (int i = 1; i < INSTANCES; i++) {
        struct answer a = ask(c, i, path);
        expect_body(&a, first.status, first.body, first.body_n);
    }
    answer_free(&first);
}

static inline double forwarded(struct cluster *c, int at, const char *result)
{
    struct answer a = ask(c, at, "/metrics");
    char name[64];

    snprintf(name, sizeof name, "waymark_forwarded_total{result=\"%s\"}", result);
    const char *line = strstr(a.body, name);
    double n = line ? atof(line + strlen(name)) : 0;
    answer_free(&a);
    return n;
}

static inline double forwarded_by_all(struct cluster *c)
{
    double n = 0;

    for (int i = 0; i < INSTANCES; i++)
        n += forwarded(c, i, "answered") + forwarded(c, i, "refused") + forwarded(c, i, "failed");
    return n;
}

static inline struct event order_of(const char *user, const char *order, enum order_status status, int64_t time,
                                    int64_t total)
{
    struct event e = track(user, NULL, time);

    e.type = EVENT_ORDER;
    e.trust = TRUST_SERVER;
    e.source = STR_LIT("backend");
    e.order = (struct order_fields){
        .order_id = str_of(order), .status = status, .total = {true, total}, .currency = STR_LIT("GBP")};
    return e;
}

static inline void put_users(struct cluster *c, unsigned each)
{
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (unsigned i = 0; i < each; i++) {
            char user[24];
            user_of(p, i, user);
            put_at_owner(c, page(user, "https://shop.example/a", T0));
            put_at_owner(c, track(user, "Product Viewed", T0 + 1000));
        }
    }
}

#define PLAIN(f) cmocka_unit_test_setup_teardown(f, cluster_setup, cluster_teardown)
#define CACHED(f) cmocka_unit_test_setup_teardown(f, cluster_setup_cached, cluster_teardown)

#endif
