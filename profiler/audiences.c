/* The audiences: their start and stop, and the thread that judges. It goes round: takes other rules if there are any,
 * partitions that have come, and then one batch of people, first those who changed, then those whose time has come,
 * then a few of the background, so that what just happened never waits for long. */
#include "profiler/audiences.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "common/cond.h"
#include "profiler/audience_inside.h"

#define READER "audiences"
#define BACKGROUND_MS 20 /* of one batch */
#define IDLE_MS 1000
#define AGAIN_MS 50
#define SKIP_MOST 100000 /* people passed over at once */

/* --- rules ----------------------------------------------------------------------------------------------------- */

struct gathering {
    struct arena arena, one;
    struct state_definition *v; /* by kind and name */
    size_t n, cap;
};

static int compare_key(const struct state_definition *x, const struct state_definition *y)
{
    return x->kind != y->kind ? (x->kind > y->kind) - (x->kind < y->kind) : str_cmp(x->name, y->name);
}

static size_t find_place(const struct gathering *g, const struct state_definition *d)
{
    size_t low = 0, high = g->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_key(&g->v[middle], d) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool keep(struct gathering *g, struct state_definition *to, const struct state_definition *d)
{
    *to = *d;
    to->name = arena_dup(&g->arena, d->name);
    to->body = arena_dup(&g->arena, d->body);
    return to->name.p && to->body.p;
}

/* Of two about one name the later stands, as in the state. */
static int gather_one(struct gathering *g, const struct state_definition *d)
{
    size_t at = find_place(g, d);
    struct state_definition *v = g->v;

    if (at < g->n && compare_key(&g->v[at], d) == 0) {
        bool later = d->time > v[at].time || (d->time == v[at].time && str_cmp(d->body, v[at].body) > 0);

        return !later || keep(g, &v[at], d) ? 0 : -ENOMEM;
    }
    if (g->n == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 256;
        v = realloc(g->v, g->cap * sizeof *v);
        if (!v)
            return -ENOMEM;
        g->v = v;
    }
    memmove(v + at + 1, v + at, (g->n - at) * sizeof *v);
    g->n++;
    return keep(g, &v[at], d) ? 0 : -ENOMEM;
}

/* One whose term has run out for a moment is still ours. */
static bool counts(struct audiences *a, uint32_t partition)
{
    const struct crowd *p = &a->parts[partition];

    return p->here ? crowd_stint(a, partition) == p->stint : crowd_shows(a, partition);
}

static int gather(struct audiences *a, struct gathering *g)
{
    struct state_definition *d;
    size_t n;
    int rc = 0;

    for (uint32_t p = 0; p < a->o.partitions && rc == 0; p++) {
        a->parts[p].gathered = false;
        if (!counts(a, p))
            continue;
        arena_reset(&g->one);
        rc = state_definitions(a->o.state, p, &g->one, &d, &n, &a->parts[p].definitions);
        a->parts[p].gathered = rc == 0;
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = str_has(d[i].body) ? gather_one(g, &d[i]) : 0;
    }
    return rc;
}

static bool other_definitions(struct audiences *a)
{
    uint64_t changes;

    for (uint32_t p = 0; p < a->o.partitions; p++)
        if (counts(a, p) && state_definitions(a->o.state, p, NULL, NULL, NULL, &changes) == 0 &&
            (changes != a->parts[p].definitions || !a->parts[p].gathered))
            return true;
    return false;
}

/* Those that go on unchanged stay what they were: live, or being built. */
static void carry_building(const struct audiences *a, const struct world *now, bool *building)
{
    bool changed[LIMIT_AUDIENCES];

    world_changed(a->world, now, changed);
    for (size_t i = 0; i < now->n; i++) {
        size_t was = a->world ? world_find(a->world, now->v[i].name) : SIZE_MAX;

        building[i] = changed[i] || (was != SIZE_MAX && a->building[was]);
    }
}

static void log_broken(const struct world *was, const struct world *now)
{
    for (size_t i = 0; i < now->n; i++) {
        size_t before = was ? world_find(was, now->v[i].name) : SIZE_MAX;

        if (!now->v[i].rule && (before == SIZE_MAX || was->v[before].rule))
            log_error("audiences: the rule of %.*s does not compile any more, and its members stay as they are: %.*s",
                      STR_ARG(now->v[i].name), STR_ARG(now->v[i].broken));
    }
}

static void take_world(struct audiences *a, struct world *now)
{
    bool building[LIMIT_AUDIENCES] = {false}, first = !a->world, other = first || a->world->id != now->id;
    struct world *was = a->world;

    carry_building(a, now, building);
    log_broken(was, now);
    pthread_rwlock_wrlock(&a->lock);
    memcpy(a->building, building, sizeof building);
    a->world = now;
    atomic_store(&a->tags_by, now->tags_id);
    for (uint32_t p = 0; p < a->o.partitions && other; p++)
        crowd_lap(&a->parts[p]);
    pthread_rwlock_unlock(&a->lock);
    world_unref(was);
}

static struct tags *take_tags(struct audiences *a)
{
    pthread_mutex_lock(&a->wake_lock);
    struct tags *t = a->next_tags;
    a->next_tags = NULL;
    pthread_mutex_unlock(&a->wake_lock);
    return t;
}

/* Whether there is another world now. */
static bool follow_rules(struct audiences *a)
{
    struct tags *t = take_tags(a);
    struct gathering g = {0};
    struct world *now;

    if (!t && a->world && !other_definitions(a))
        return false;
    arena_init(&g.arena, SIZE_MAX);
    arena_init(&g.one, SIZE_MAX);
    int rc = gather(a, &g);
    if (rc == 0)
        rc = world_new(g.v, g.n,
                       t          ? t
                       : a->world ? a->world->tags
                                  : a->o.tags,
                       a->o.rules->traits ? a->o.rules->traits->vocabulary : NULL, wall(a), &now);
    if (rc == 0)
        take_world(a, now);
    else
        log_limited(&a->limit, LOG_ERROR, "audiences: the definitions cannot be read: %s", strerror(-rc));
    if (rc != 0 && t)
        audiences_retag(a, t);
    tags_unref(t);
    free(g.v);
    arena_deinit(&g.arena);
    arena_deinit(&g.one);
    return rc == 0;
}

/* --- who is to be judged --------------------------------------------------------------------------------------- */

/* Whether what comes out may be published. */
static bool ready(struct audiences *a, const struct crowd *p)
{
    return p->here && (!p->unread || !needs_topic(a)) && crowd_shows(a, p->number);
}

/* One by number. Who cannot be judged now is tried again soon. */
static void judge_number(struct audiences *a, struct crowd *p, uint32_t number)
{
    struct err e = {0};
    struct key_hash hash = p->people.v[number].hash;

    if (batch_judge(a, p, &hash, STR_NONE, &e) != 0) {
        p->people.v[number].world = 0;
        crowd_again(p, number);
    }
}

static void judge_changed(struct audiences *a, struct crowd *p)
{
    while (p->changed_at < p->changed_n && !batch_full(&a->batch)) {
        struct state_changed *c = &p->changed[p->changed_at++];
        struct err e = {0};
        uint32_t number;

        if (batch_judge(a, p, &c->hash, c->id, &e) == 0)
            continue;
        number = people_find(&p->people, &c->hash);
        if (number == PERSON_NONE) {
            pthread_rwlock_wrlock(&a->lock);
            number = people_add(&p->people, &c->hash, PERSON_NONE);
            pthread_rwlock_unlock(&a->lock);
        }
        p->people.v[number].world = 0;
        crowd_again(p, number);
    }
}

/* Each stays in the heap until its verdict is applied: those in this batch are passed over by taking them out. */
static void judge_due(struct audiences *a, struct crowd *p, int64_t now)
{
    uint32_t number;

    while (!batch_full(&a->batch) && (number = people_first_due(&p->people)) != PERSON_NONE &&
           p->people.v[number].due <= now) {
        people_set_due(&p->people, number, TIME_NONE);
        judge_number(a, p, number);
    }
}

static void judge_again(struct audiences *a, struct crowd *p)
{
    uint32_t n = p->again_n;

    if (n == 0 || clock_monotonic() < p->again_at)
        return;
    while (n > 0 && !batch_full(&a->batch)) {
        uint32_t number = p->again[--n];

        p->again[n] = p->again[--p->again_n];
        if (n > p->again_n)
            n = p->again_n;
        if (people_has(&p->people, number))
            judge_number(a, p, number);
    }
    p->again_at = clock_monotonic() + AGAIN_MS;
}

static void judge_gone(struct audiences *a, struct crowd *p)
{
    while (p->gone_at < p->gone_n && !batch_full(&a->batch)) {
        uint32_t number = p->gone[p->gone_at++];

        if (people_has(&p->people, number))
            judge_number(a, p, number);
    }
}

static void judge_background(struct audiences *a, struct crowd *p, int64_t until)
{
    for (unsigned passed = 0; p->lap_left > 0 && passed < SKIP_MOST && !batch_full(&a->batch); passed++) {
        if (passed % 8 == 0 && clock_monotonic() >= until)
            return;
        if (p->cursor >= p->people.n)
            p->cursor = 0;
        p->lap_left--;
        uint32_t number = p->cursor++;
        if (people_has(&p->people, number) && p->people.v[number].world != a->world->id)
            judge_number(a, p, number);
    }
}

static bool waits(struct audiences *a, const struct crowd *p, int64_t now)
{
    uint32_t due = people_first_due(&p->people);

    return ready(a, p) && (p->changed_at < p->changed_n || p->gone_at < p->gone_n || p->lap_left > 0 ||
                           (due != PERSON_NONE && p->people.v[due].due <= now));
}

/* Fills a batch. */
static void gather_people(struct audiences *a)
{
    int64_t now = wall(a), until = clock_monotonic() + BACKGROUND_MS;

    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (ready(a, &a->parts[i]) && crowd_take(a, &a->parts[i]))
            judge_changed(a, &a->parts[i]);
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (ready(a, &a->parts[i]))
            judge_due(a, &a->parts[i], now);
    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (ready(a, &a->parts[i])) {
            judge_again(a, &a->parts[i]);
            judge_gone(a, &a->parts[i]);
            judge_background(a, &a->parts[i], until);
        }
}

/* Every lap is over: what was being built is live. */
static void finish_laps(struct audiences *a)
{
    bool any = false;

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        struct crowd *p = &a->parts[i];

        if (p->here ? !p->known || p->unread || p->lap_left || p->again_n || p->gone_at < p->gone_n : crowd_shows(a, i))
            return;
    }
    for (size_t i = 0; i < a->world->n; i++)
        any = any || a->building[i];
    if (!any)
        return;
    pthread_rwlock_wrlock(&a->lock);
    for (size_t i = 0; i < a->world->n; i++)
        a->building[i] = false;
    pthread_rwlock_unlock(&a->lock);
    if (a->o.moved)
        a->o.moved(a->o.arg);
}

/* --- the thread ------------------------------------------------------------------------------------------------ */

static bool anybody_waits(struct audiences *a)
{
    int64_t now = wall(a);

    for (uint32_t i = 0; i < a->o.partitions; i++)
        if (waits(a, &a->parts[i], now))
            return true;
    return false;
}

static bool is_settled(struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        if (p->here ? p->again_n > 0 || !p->known || !ready(a, p) : crowd_shows(a, i))
            return false;
    }
    return true;
}

static void take_least(int64_t *least, int64_t ms)
{
    if (ms < *least)
        *least = ms < 0 ? 0 : ms;
}

/* How long nothing is to be done, ms. */
static int64_t pause_ms(const struct audiences *a)
{
    int64_t least = IDLE_MS, now = wall(a), steady = clock_monotonic();

    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];
        uint32_t due = people_first_due(&p->people);

        if (p->here && due != PERSON_NONE)
            take_least(&least, p->people.v[due].due - now);
        if (p->again_n > 0)
            take_least(&least, p->again_at - steady);
        if (p->retry_at > steady)
            take_least(&least, p->retry_at - steady);
    }
    if (a->write_at != TIME_NONE)
        take_least(&least, a->write_at - steady);
    if (a->retry_at > steady)
        least = a->retry_at - steady;
    return least;
}

static bool wait_woken(struct audiences *a, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int r = 0;

    pthread_mutex_lock(&a->wake_lock);
    while (!a->woken && !a->stopping && !a->next_tags && r == 0)
        r = pthread_cond_timedwait(&a->wake_cond, &a->wake_lock, &until);
    a->woken = false;
    bool go_on = !a->stopping;
    pthread_mutex_unlock(&a->wake_lock);
    return go_on;
}

static void write_when_due(struct audiences *a)
{
    if (a->write_at == TIME_NONE)
        return;
    if (clock_monotonic() >= a->write_at || row_store_waiting(a->rows) > LIMIT_AUDIENCE_ROWS_BYTES)
        row_store_flush(a);
}

static bool has_changed_people(const struct audiences *a)
{
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        const struct crowd *p = &a->parts[i];

        if (p->here ? !p->known || p->unread || p->changed_at < p->changed_n || p->gone_at < p->gone_n
                    : crowd_shows((struct audiences *)a, i))
            return true;
    }
    return false;
}

static void note_progress(struct audiences *a, unsigned long long wakes, bool busy)
{
    if (other_definitions(a))
        return;
    if (!has_changed_people(a))
        atomic_store(&a->caught_up, wakes);
    if (!busy && is_settled(a))
        atomic_store(&a->settled, wakes);
}

/* Somebody waits for everything to be on disk. Names that nobody needs any more go, too. */
static void flush_when_asked(struct audiences *a)
{
    unsigned long long asked = atomic_load(&a->flushes);
    struct err e = {0};

    if (asked == atomic_load(&a->flushed) || !row_store_flush(a) || row_store_waiting(a->rows) > 0)
        return;
    sets_sweep(a);
    if (row_store_write_sets(a->rows, &e) == 0)
        atomic_store(&a->flushed, asked);
}

/* One round. Returns how long to wait before the next. */
static int64_t go_round(struct audiences *a)
{
    unsigned long long wakes = atomic_load(&a->wakes);
    bool moved = follow_rules(a);

    if (!a->world)
        return IDLE_MS;
    moved = crowds_follow(a) || moved;
    if (clock_monotonic() < a->retry_at)
        return a->retry_at - clock_monotonic();
    gather_people(a);
    moved = a->batch.n > 0 || moved;
    batch_finish(a);
    write_when_due(a);
    flush_when_asked(a);
    finish_laps(a);
    bool busy = anybody_waits(a);
    if (!busy && row_store_waiting(a->rows) == 0)
        sets_sweep(a);
    note_progress(a, wakes, busy);
    atomic_store(&a->behind_since, !busy ? 0 : a->behind_since ? a->behind_since : clock_monotonic());
    if (moved && a->o.moved)
        a->o.moved(a->o.arg);
    return busy && clock_monotonic() >= a->retry_at ? 0 : pause_ms(a);
}

static void *judge_main(void *arg)
{
    struct audiences *a = arg;

    while (wait_woken(a, go_round(a)))
        ;
    if (a->write_at != TIME_NONE)
        row_store_flush(a);
    return NULL;
}

/* --- from outside ---------------------------------------------------------------------------------------------- */

void audiences_wake(struct audiences *a)
{
    pthread_mutex_lock(&a->wake_lock);
    atomic_fetch_add(&a->wakes, 1);
    a->woken = true;
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
}

void audiences_retag(struct audiences *a, struct tags *t)
{
    pthread_mutex_lock(&a->wake_lock);
    tags_unref(a->next_tags);
    a->next_tags = tags_ref(t);
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
    audiences_wake(a);
}

bool audiences_await(struct audiences *a, int64_t ms)
{
    unsigned long long wakes = atomic_load(&a->wakes);
    int64_t until = clock_monotonic() + ms;

    while (atomic_load(&a->caught_up) < wakes && clock_monotonic() < until && !atomic_load(&a->hurry))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return atomic_load(&a->caught_up) >= wakes;
}

#define FORGET_MS 10000

static bool await_flush(struct audiences *a)
{
    unsigned long long asked = atomic_fetch_add(&a->flushes, 1) + 1;
    int64_t until = clock_monotonic() + FORGET_MS;

    audiences_wake(a);
    while (atomic_load(&a->flushed) < asked && clock_monotonic() < until && !atomic_load(&a->hurry))
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    return atomic_load(&a->flushed) >= asked;
}

int audiences_forget(struct audiences *a, struct err *e)
{
    int rc = 0;

    if (!audiences_await(a, FORGET_MS) || !await_flush(a)) {
        err_set(e, "people are still judged");
        return -EAGAIN;
    }
    for (uint32_t p = 0; p < a->o.partitions && rc == 0; p++)
        rc = row_store_compact(a->rows, p, e);
    return rc == 0 ? row_store_compact(a->rows, UINT32_MAX, e) : rc;
}

void audiences_hurry(struct audiences *a)
{
    if (!a)
        return;
    atomic_store(&a->hurry, true);
    row_store_compact_stop(a->rows);
}

bool audiences_settled(struct audiences *a)
{
    return atomic_load(&a->settled) >= atomic_load(&a->wakes);
}

/* --- start and stop -------------------------------------------------------------------------------------------- */

static int take_set(void *arg, uint32_t set, struct str bytes)
{
    struct audiences *a = arg;

    if (set < 2 * LIMIT_AUDIENCE_SETS && bytes.n > 1)
        sets_put(&a->sets, set, bytes);
    return 0;
}

static struct audiences *audiences_new(const struct audiences_options *o)
{
    struct audiences *a = calloc(1, sizeof *a);

    if (!a || !(a->parts = calloc(o->partitions, sizeof *a->parts)))
        abort();
    a->o = *o;
    a->write_at = TIME_NONE;
    a->limit.period_ms = TIME_MINUTE;
    atomic_init(&a->wakes, 1);
    pthread_rwlock_init(&a->lock, NULL);
    pthread_mutex_init(&a->wake_lock, NULL);
    cond_init(&a->wake_cond);
    sets_init(&a->sets);
    batch_init(&a->batch);
    for (uint32_t i = 0; i < o->partitions; i++) {
        a->parts[i].number = i;
        arena_init(&a->parts[i].changed_arena, SIZE_MAX);
    }
    return a;
}

void audiences_free(struct audiences *a)
{
    if (!a)
        return;
    assert(!a->started);
    for (uint32_t i = 0; i < a->o.partitions; i++) {
        if (a->parts[i].here)
            crowd_leave(a, &a->parts[i]);
        arena_deinit(&a->parts[i].changed_arena);
    }
    if (a->reader)
        log_reader_close(a->reader);
    row_store_close(a->rows);
    world_unref(a->world);
    tags_unref(a->next_tags);
    batch_deinit(&a->batch);
    sets_deinit(&a->sets);
    pthread_rwlock_destroy(&a->lock);
    pthread_mutex_destroy(&a->wake_lock);
    pthread_cond_destroy(&a->wake_cond);
    free(a->parts);
    free(a);
}

int audiences_start(const struct audiences_options *o, struct audiences **out, struct err *e)
{
    struct audiences *a = audiences_new(o);
    int rc = row_store_open(o->path, o->partitions, &a->rows, e);

    a->o.tags = NULL;
    if (o->tags)
        a->next_tags = tags_ref(o->tags);
    if (rc == 0)
        rc = row_store_sets(a->rows, take_set, a, e);
    /* On a log of our own the topic is kept until the rows know it. */
    if (rc == 0 && !event_log_shared(o->log))
        rc = log_reader_open(o->log, LOG_AUDIENCES, READER, &a->reader, e);
    if (rc != 0) {
        audiences_free(a);
        return rc;
    }
    audiences_meter(a);
    if (pthread_create(&a->thread, NULL, judge_main, a) != 0)
        abort();
    pthread_setname_np(a->thread, "audiences");
    a->started = true;
    *out = a;
    return 0;
}

void audiences_stop(struct audiences *a)
{
    if (!a || !a->started)
        return;
    audiences_hurry(a);
    pthread_mutex_lock(&a->wake_lock);
    a->stopping = true;
    pthread_cond_signal(&a->wake_cond);
    pthread_mutex_unlock(&a->wake_lock);
    pthread_join(a->thread, NULL);
    a->started = false;
}
