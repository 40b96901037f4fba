/* The whole protocol against a real Redis, at random: two owners in turn, with terms as profiler/ownership.h has them,
 * change a few profiles while readers look them up through Redis and at the owners, and everything that may go wrong
 * does: owners that stand still, connections that are slow, late or cut, a Redis that is paused, flushed, robbed of
 * keys or started again with an old dump. No look-up may get a version older than one that a look-up or an owner had
 * shown before it began. Then the same with each of four rules taken away: that must be noticed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/cache_case.h"

#define TERM_MS 300
#define ASK_MS 40
#define PROFILES 4
#define OWNERS 2
#define READERS 4
#define LOG_RECORDS 200000
#define CLAIM (-1)
#define FAULT_RESTART 1
#define FAULT_EVICT 4
#define FAULT_HOLD 5
#define FAULT_LATE 10
#define RUN_MS 8000
#define BROKEN_MS 60000
/* Beside enum cache_without: what was moved is shown while the cache may have it as it was. */
#define WITHOUT_HOLDING 1024

struct world;

/* A process that may own the partition. What it may show lies below `shown`. */
struct owner {
    struct world *w;
    struct cache *c;
    pthread_t folding, asking;
    pthread_mutex_t lock;
    int64_t claim; /* offset of its claim while it thinks that it owns, or -1 */
    int64_t fold_to, show_from, term;
    int64_t shown, folded_claim;
    int64_t versions[PROFILES];
    bool held[PROFILES]; /* look-ups of it wait: a record changed it that does not name it */
    _Atomic int64_t paused_until;
};

struct world {
    struct redis_case redis;
    struct redis_proxy proxy;
    struct conf_redis conf;
    struct owner owners[OWNERS];
    struct cache *third; /* an instance that owns nothing */
    pthread_t readers[READERS], writing;
    atomic_bool stop;
    bool holds_nothing;
    _Atomic int assigned; /* the owner that the group would name */

    pthread_mutex_t lock; /* of the log */
    signed char log[LOG_RECORDS];
    int64_t end, last_claim;

    _Atomic int64_t seen[PROFILES];
    atomic_ulong answers, hits;
    atomic_int violations;
    char words[200];
};

static const char *const names[PROFILES] = {"user:a", "user:b", "anon:c", "user:d"};

static unsigned pick(unsigned *seed, unsigned n)
{
    return (unsigned)rand_r(seed) % n;
}

static void nap(unsigned ms)
{
    if (ms > 0)
        redis_case_sleep((int)ms);
}

/* Where the process may stand still. */
static void may_pause(struct owner *o)
{
    while (clock_monotonic() < atomic_load(&o->paused_until) && !atomic_load(&o->w->stop))
        redis_case_sleep(1);
}

/* --- the log */

static int64_t append(struct world *w, int what)
{
    pthread_mutex_lock(&w->lock);
    int64_t at = w->end < LOG_RECORDS ? w->end++ : -1;
    if (at >= 0)
        w->log[at] = (signed char)what;
    if (at >= 0 && what == CLAIM)
        w->last_claim = at;
    pthread_mutex_unlock(&w->lock);
    return at;
}

static int64_t log_end(struct world *w, int64_t *last_claim)
{
    pthread_mutex_lock(&w->lock);
    int64_t end = w->end;
    *last_claim = w->last_claim;
    pthread_mutex_unlock(&w->lock);
    return end;
}

/* --- owners */

static bool may_answer(struct owner *o)
{
    pthread_mutex_lock(&o->lock);
    int64_t now = clock_boot();
    bool may = o->claim >= 0 && o->shown >= o->fold_to && now >= o->show_from && now < o->term;
    pthread_mutex_unlock(&o->lock);
    return may;
}

static bool claims(struct owner *o)
{
    pthread_mutex_lock(&o->lock);
    bool yes = o->claim >= 0;
    pthread_mutex_unlock(&o->lock);
    return yes;
}

static void assign(struct owner *o)
{
    int64_t at = append(o->w, CLAIM);

    atomic_store(&o->w->assigned, (int)(o - o->w->owners));
    if (at < 0)
        return;
    cache_release(o->c, 0);
    pthread_mutex_lock(&o->lock);
    o->claim = at;
    o->fold_to = at + 1;
    o->term = 0;
    o->show_from = clock_boot() + TERM_MS + TERM_MS / 50 + 1;
    pthread_mutex_unlock(&o->lock);
}

static void depose(struct owner *o, int64_t claim)
{
    pthread_mutex_lock(&o->lock);
    bool own = o->claim == claim;
    if (own)
        o->claim = -1;
    pthread_mutex_unlock(&o->lock);
    if (own)
        cache_release(o->c, 0);
}

/* Rules asked and claim. */
static void *ask_log(void *arg)
{
    struct owner *o = arg;
    unsigned seed = 11 + (unsigned)(o - o->w->owners);

    while (!atomic_load(&o->w->stop)) {
        int64_t last, claim, asked = clock_boot();
        pthread_mutex_lock(&o->lock);
        claim = o->claim;
        pthread_mutex_unlock(&o->lock);
        log_end(o->w, &last);
        nap(pick(&seed, 20) == 0 ? pick(&seed, 500) : pick(&seed, 3)); /* an answer that is late */
        may_pause(o);
        if (claim >= 0 && last > claim)
            depose(o, claim);
        pthread_mutex_lock(&o->lock);
        bool current = claim >= 0 && claim == o->claim && last == claim;
        if (current && asked + TERM_MS > o->term)
            o->term = asked + TERM_MS;
        int64_t term = o->term;
        pthread_mutex_unlock(&o->lock);
        if (current && may_answer(o)) {
            may_pause(o);
            cache_lease(o->c, 0, term);
        }
        nap(ASK_MS);
    }
    return NULL;
}

static size_t copies_of(struct owner *o, const bool *changed, struct cache_copy *copies, char (*texts)[32])
{
    size_t n = 0;

    for (int p = 0; p < PROFILES; p++)
        if (changed[p]) {
            copies[n] = copy_of(names[p], o->versions[p], texts[n], sizeof texts[n]);
            n++;
        }
    return n;
}

/* Rules before and over, for those of `which`. */
static void begin_batch(struct owner *o, const bool *which)
{
    struct str ids[PROFILES];
    size_t n = 0;

    for (int p = 0; p < PROFILES; p++)
        if (which[p])
            ids[n++] = str_of(names[p]);
    may_pause(o);
    int64_t over = cache_begin(o->c, 0, ids, n);
    while (over > 0 && clock_boot() < over && !atomic_load(&o->w->stop))
        redis_case_sleep(1);
    may_pause(o);
}

static void end_batch(struct owner *o, const bool *which)
{
    struct cache_copy copies[PROFILES];
    char texts[PROFILES][32];

    may_pause(o);
    cache_end(o->c, 0, copies, cache_wants(o->c, 0) ? copies_of(o, which, copies, texts) : 0);
}

/* One batch. What its records name is forgotten before it is folded; what else they turn out to have changed, as links
 * do, after that, and is held until then. */
static void fold_once(struct owner *o, unsigned *seed)
{
    int64_t last, claim, end = log_end(o->w, &last), next[PROFILES];
    bool named[PROFILES] = {false}, moved[PROFILES] = {false}, moves = false;

    pthread_mutex_lock(&o->lock);
    claim = o->claim;
    pthread_mutex_unlock(&o->lock);
    if (claim < 0 || o->shown == end)
        return;
    end = o->shown + 1 + pick(seed, (unsigned)(end - o->shown));
    memcpy(next, o->versions, sizeof next);
    for (int64_t at = o->shown; at < end; at++) {
        if (o->w->log[at] == CLAIM && at > claim) {
            depose(o, claim);
            return;
        }
        if (o->w->log[at] != CLAIM) {
            bool *which = pick(seed, 3) ? named : moved;
            which[o->w->log[at]] = true;
            next[o->w->log[at]] = at + 1;
            moves = moves || which == moved;
        }
    }
    begin_batch(o, named);
    pthread_mutex_lock(&o->lock);
    memcpy(o->versions, next, sizeof next);
    if (!o->w->holds_nothing)
        memcpy(o->held, moved, sizeof moved);
    o->shown = moves ? o->shown : end;
    pthread_mutex_unlock(&o->lock);
    if (moves)
        memset(named, 0, sizeof named); /* what is held is not copied */
    end_batch(o, named);
    if (!moves)
        return;
    begin_batch(o, moved);
    pthread_mutex_lock(&o->lock);
    memset(o->held, 0, sizeof o->held);
    o->shown = end;
    pthread_mutex_unlock(&o->lock);
    end_batch(o, moved);
}

static void *fold(void *arg)
{
    struct owner *o = arg;
    unsigned seed = 21 + (unsigned)(o - o->w->owners);

    while (!atomic_load(&o->w->stop)) {
        may_pause(o);
        fold_once(o, &seed);
        nap(pick(&seed, 4) ? pick(&seed, 4) : pick(&seed, 15));
    }
    return NULL;
}

/* --- look-ups */

static void check(struct world *w, int p, int64_t floor, int64_t version, const char *by)
{
    int64_t before = atomic_load(&w->seen[p]);

    atomic_fetch_add(&w->answers, 1);
    if (version < floor && atomic_fetch_add(&w->violations, 1) == 0)
        snprintf(w->words, sizeof w->words, "%s: version %lld by %s after %lld", names[p], (long long)version, by,
                 (long long)floor);
    while (before < version && !atomic_compare_exchange_weak(&w->seen[p], &before, version))
        ;
}

/* Rule clock; a miss fills. */
static void ask_owner(struct owner *o, int p, int64_t floor, unsigned *seed)
{
    may_pause(o);
    if (!may_answer(o))
        return;
    uint64_t ticket = cache_ticket(o->c, 0);
    pthread_mutex_lock(&o->lock);
    int64_t version = o->versions[p];
    bool held = o->held[p];
    pthread_mutex_unlock(&o->lock);
    if (held)
        return;
    nap(pick(seed, 4) == 0 ? pick(seed, 12) : 0);
    may_pause(o);
    fill(o->c, 0, ticket, names[p], version);
    check(o->w, p, floor, version, "the owner");
}

static void look_up(struct world *w, unsigned *seed)
{
    int p = (int)pick(seed, PROFILES);
    unsigned at = pick(seed, OWNERS + 2);
    int64_t floor = atomic_load(&w->seen[p]);
    struct asked a;

    if (at < OWNERS && claims(&w->owners[at])) {
        ask_owner(&w->owners[at], p, floor, seed);
        return;
    }
    asked_init(&a, 0, names[p]);
    cache_read(at < OWNERS ? w->owners[at].c : w->third, &a.q);
    asked_wait(&a);
    if (a.version >= 0) {
        atomic_fetch_add(&w->hits, 1);
        check(w, p, floor, a.version, "Redis");
        return;
    }
    ask_owner(&w->owners[pick(seed, 10) < 8 ? (unsigned)atomic_load(&w->assigned) : pick(seed, OWNERS)], p, floor,
              seed);
}

static void *read_on(void *arg)
{
    struct world *w = arg;
    unsigned seed = (unsigned)(uintptr_t)pthread_self() ^ (unsigned)clock_monotonic();

    while (!atomic_load(&w->stop)) {
        look_up(w, &seed);
        nap(pick(&seed, 3));
    }
    return NULL;
}

static void *write_on(void *arg)
{
    struct world *w = arg;
    unsigned seed = 31;

    while (!atomic_load(&w->stop)) {
        append(w, (int)pick(&seed, PROFILES));
        nap(pick(&seed, 3) ? pick(&seed, 10) : pick(&seed, 60));
    }
    return NULL;
}

/* --- faults */

static void pause_redis(struct world *w, unsigned span)
{
    kill(w->redis.pid, SIGSTOP);
    nap(span);
    kill(w->redis.pid, SIGCONT);
}

static void restart_redis(struct world *w, unsigned span)
{
    redis_case_do(&w->redis, "SAVE");
    nap(span);
    redis_case_kill(&w->redis);
    redis_case_start(&w->redis);
}

/* `only` says which, where it is one. */
static void fault(struct world *w, int only, unsigned *seed)
{
    static const unsigned spans[] = {10, 30, 60, 100, 250, 500};
    unsigned span = spans[pick(seed, 6)] + pick(seed, 20);
    char key[64];

    switch (only >= 0 ? (unsigned)only : pick(seed, 12)) {
    case 0:
        pause_redis(w, span);
        break;
    case FAULT_RESTART:
    case 2:
        restart_redis(w, pick(seed, 80));
        break;
    case 3:
        redis_case_do(&w->redis, "FLUSHALL");
        break;
    case FAULT_EVICT:
        snprintf(key, sizeof key, "wm:profile:%s", names[pick(seed, PROFILES)]);
        redis_case_do(&w->redis, "DEL", key);
        break;
    case FAULT_HOLD:
        atomic_store(&w->proxy.hold_until, clock_monotonic() + span);
        break;
    case 6:
        atomic_store(&w->proxy.hold_back, clock_monotonic() + span);
        break;
    case 7: /* and what is held arrives later, on a connection that was cut */
        atomic_store(&w->proxy.hold_until, clock_monotonic() + span);
        nap(pick(seed, 60));
        atomic_store(&w->proxy.cut, 1);
        break;
    case 8:
        atomic_store(&w->proxy.cut_chance, pick(seed, 2) ? 500 : 0);
        atomic_store(&w->proxy.cut, 1 + (int)pick(seed, 2));
        break;
    case 9:
        atomic_store(&w->owners[pick(seed, OWNERS)].paused_until, clock_monotonic() + span + pick(seed, 400));
        break;
    case FAULT_LATE:
        atomic_store(&w->proxy.disorder, pick(seed, 3) ? 0 : (int)pick(seed, 60));
        atomic_store(&w->proxy.late_ms, (int)span);
        break;
    default:
        if (pick(seed, 2))
            assign(&w->owners[pick(seed, OWNERS)]);
        break;
    }
}

/* --- a run */

static void begin_world(struct world *w, unsigned without)
{
    redis_case_make(&w->redis);
    redis_case_start(&w->redis);
    proxy_start(&w->proxy, w->redis.port);
    w->conf = w->redis.conf;
    w->conf.url = w->proxy.url;
    w->last_claim = -1;
    pthread_mutex_init(&w->lock, NULL);
    w->third = cache_of(&w->conf, NULL);
    w->holds_nothing = without & WITHOUT_HOLDING;
    w->third->without = without;
    cache_is_hasty(w->third);
    for (int i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        o->w = w;
        o->claim = -1;
        pthread_mutex_init(&o->lock, NULL);
        o->c = cache_of(&w->conf, NULL);
        o->c->without = without;
        cache_is_hasty(o->c);
        WAIT_UNTIL(cache_is_up(o->c));
    }
    assign(&w->owners[0]);
    for (int i = 0; i < OWNERS; i++) {
        pthread_create(&w->owners[i].folding, NULL, fold, &w->owners[i]);
        pthread_create(&w->owners[i].asking, NULL, ask_log, &w->owners[i]);
    }
    for (int i = 0; i < READERS; i++)
        pthread_create(&w->readers[i], NULL, read_on, w);
    pthread_create(&w->writing, NULL, write_on, w);
}

static void end_world(struct world *w)
{
    atomic_store(&w->stop, true);
    pthread_join(w->writing, NULL);
    for (int i = 0; i < READERS; i++)
        pthread_join(w->readers[i], NULL);
    for (int i = 0; i < OWNERS; i++) {
        pthread_join(w->owners[i].folding, NULL);
        pthread_join(w->owners[i].asking, NULL);
        cache_stop(w->owners[i].c, 5000);
        cache_free(w->owners[i].c);
    }
    cache_stop(w->third, 5000);
    cache_free(w->third);
    proxy_stop(&w->proxy);
    redis_case_end(&w->redis);
}

/* Returns whether a look-up was too old. */
static bool run(unsigned without, int only, int64_t ms, unsigned seed, unsigned long *hits)
{
    struct world *w = calloc(1, sizeof *w);

    assert_non_null(w);
    begin_world(w, without);
    for (int64_t until = clock_monotonic() + ms; clock_monotonic() < until && !atomic_load(&w->violations);) {
        if (only >= 0)
            nap(500 + pick(&seed, 400)); /* time for leases and copies */
        else
            nap(pick(&seed, 3) ? pick(&seed, 120) : pick(&seed, 900));
        fault(w, only, &seed);
    }
    end_world(w);
    bool failed = atomic_load(&w->violations) > 0;
    *hits = atomic_load(&w->hits);
    print_message("%lu look-ups answered, %lu of them from Redis%s%s\n", atomic_load(&w->answers), *hits,
                  failed ? "; " : "", w->words);
    free(w);
    return failed;
}

static unsigned seed_of(void)
{
    const char *given = getenv("CACHE_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();

    print_message("CACHE_SEED=%u\n", seed);
    return seed;
}

static void no_look_up_is_too_old(void **state)
{
    const char *given = getenv("CACHE_RUN_MS");
    unsigned long hits;

    (void)state;
    assert_false(run(0, -1, given ? atol(given) : RUN_MS, seed_of(), &hits));
    assert_true(hits > 200); /* or it has shown nothing */
}

/* With the fault that shows it most surely, and time for the cache to be full in between. */
static void assert_notices(unsigned without, int only)
{
    unsigned long hits;

    assert_true(run(without, only, BROKEN_MS, seed_of(), &hits));
}

static void without_before(void **state)
{
    (void)state;
    assert_notices(CACHE_WITHOUT_BEFORE, FAULT_LATE);
}

static void without_over(void **state)
{
    (void)state;
    assert_notices(CACHE_WITHOUT_OVER, FAULT_HOLD);
}

static void without_fill(void **state)
{
    (void)state;
    assert_notices(CACHE_WITHOUT_FILL, FAULT_EVICT);
}

static void without_run(void **state)
{
    (void)state;
    assert_notices(CACHE_WITHOUT_RUN, FAULT_RESTART);
}

static void without_holding(void **state)
{
    (void)state;
    assert_notices(WITHOUT_HOLDING, FAULT_LATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_look_up_is_too_old), cmocka_unit_test(without_before), cmocka_unit_test(without_over),
        cmocka_unit_test(without_fill),          cmocka_unit_test(without_run),    cmocka_unit_test(without_holding),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
