/* I2 with identity: whoever an event belongs to, whatever the number of partitions, the order of arrival, duplicates,
 * batches, commits, kills, old backups and second owners, every profile is what the oracle says.
 *
 * Each seed makes a shop of a few worlds that share no ids; the same events are played over 1, 2, 4 and 16 partitions
 * in different orders. A failing seed is printed; WAYMARK_SEED=N runs it alone, WAYMARK_RUNS=N sets how many. */
#include <signal.h>

#include "profiler/state_private.h"
#include "tests/support/person_play.h"
#include "tests/support/seeds.h"

enum { WORLDS = 4, DEVICES = 5, USERS = 5, ORDERS = 4, MOST_EVENTS = 700, MOST_COPIES = 3, ID = 24 };

struct world {
    char devices[DEVICES][ID], users[USERS][ID], orders[ORDERS][ID], guests[ORDERS][ID + 6];
};

/* What will arrive: a copy of an event, or an unlink. */
struct arrival {
    struct event e;
    char message[ID];
    bool unlink;
    int64_t until;
};

struct shop {
    struct fold_rules rules;
    struct world worlds[WORLDS];
    struct arrival v[MOST_EVENTS];
    size_t n, unlinks;
    uint64_t commit_bytes, cache_bytes;
};

/* --- a shop --------------------------------------------------------------------------------------------------- */

static struct arrival *add(struct shop *s)
{
    assert_true(s->n < MOST_EVENTS);
    return &s->v[s->n++];
}

/* From the front of the list: they meet often, which fills the caps. */
static struct str one_of(char (*ids)[ID], unsigned n)
{
    return str_of(ids[below(1 + below(n))]);
}

static int64_t some_time(void)
{
    return (int64_t)below(40) * 7 * TIME_MINUTE;
}

static void say_order(struct event *e, struct str order_id)
{
    static const char *const tracks[] = {"Order Completed", "Order Updated", "Order Cancelled", "Order Refunded"};

    e->type = chance(60) ? EVENT_ORDER : EVENT_TRACK;
    e->trust = e->type == EVENT_ORDER || chance(40) ? TRUST_SERVER : TRUST_BEACON;
    if (e->type == EVENT_TRACK)
        e->name = str_of(tracks[below(4)]);
    e->order = (struct order_fields){.order_id = order_id,
                                     .status = e->type == EVENT_ORDER ? (enum order_status)(1 + below(6)) : STATUS_NONE,
                                     .total = {chance(60), (int64_t)below(9) * 1000000},
                                     .has_refund = chance(20),
                                     .refund_amount = {chance(50), (int64_t)below(4) * 500000}};
}

static void mark(struct event *e)
{
    static const char *const said[] = {"{\"tags\":{\"vip\":{\"value\":true},\"colour\":null}}",
                                       "{\"tags\":{\"vip\":null,\"colour\":{\"value\":\"red\",\"until\":5}}}",
                                       "{\"campaigns\":{\"spring\":{\"value\":{\"arm\":\"held_out\"}}}}"};

    e->type = EVENT_MARK;
    e->trust = TRUST_SERVER;
    e->properties = str_of(said[below(3)]);
    if (str_has(e->user_id))
        e->anonymous_id = STR_NONE;
}

static void visit(struct event *e)
{
    static const char *const tracks[] = {"Product Viewed", "Product Added", "Parcel Packed"};
    static const char *const traits[] = {"{\"colour\":\"red\"}", "{\"colour\":null,\"size\":3}",
                                         "{\"$add\":{\"size\":2},\"$set_once\":{\"shop\":\"x\"}}"};

    e->type = chance(40) ? EVENT_PAGE : chance(70) ? EVENT_TRACK : EVENT_IDENTIFY;
    if (e->type == EVENT_IDENTIFY)
        e->traits = str_of(traits[below(3)]);
    e->trust = chance(80) ? TRUST_BEACON : TRUST_SERVER;
    if (e->type == EVENT_TRACK)
        e->name = str_of(tracks[below(3)]);
    if (e->type == EVENT_PAGE && chance(30))
        e->campaign = (struct campaign){.name = STR_LIT("spring")};
}

static void some_ids(struct world *w, struct event *e)
{
    unsigned x = below(100);
    struct str device = one_of(w->devices, DEVICES), user = one_of(w->users, USERS);
    unsigned order = below(ORDERS), y = below(100);

    e->anonymous_id = x < 65 || (x >= 75 && x < 82 && chance(80)) ? device : STR_NONE;
    e->user_id = x >= 40 && x < 82 ? user : STR_NONE;
    if (x < 75 && chance(12)) {
        mark(e);
    } else if (x < 75) {
        visit(e);
    } else if (x < 82) {
        e->type = EVENT_ALIAS;
        e->previous_id = one_of(w->devices, DEVICES);
    } else {
        say_order(e, str_of(w->orders[order]));
        e->anonymous_id = y < 20 ? str_of(w->guests[order]) : y >= 50 && y < 80 ? STR_NONE : device;
        e->user_id = y >= 50 ? user : STR_NONE;
    }
}

/* A copy at another time, perhaps of another content; never of other ids. */
static void add_copy(struct shop *s, struct world *w, const struct arrival *first)
{
    struct arrival *a = add(s);

    *a = *first;
    a->e.time += (int64_t)below(3) * TIME_MINUTE;
    a->e.received = a->e.time + below(3);
    a->e.module = chance(50) ? STR_LIT("again") : STR_NONE;
    if (str_has(a->e.order.order_id) && !str_starts(a->e.anonymous_id, STR_LIT("order:")) && chance(15))
        a->e.order.order_id = str_of(w->orders[below(ORDERS)]);
}

static void add_event(struct shop *s, struct world *w)
{
    struct arrival *a = add(s);

    *a = (struct arrival){.e = event_at(NULL, NULL, NULL, some_time())};
    snprintf(a->message, sizeof a->message, "m%zu", s->n);
    a->e.received = a->e.time + below(3);
    a->e.position = below(2);
    some_ids(w, &a->e);
    for (unsigned copies = chance(30) ? 1 + chance(30) : 0; copies > 0; copies--)
        add_copy(s, w, a);
}

static void add_unlink(struct shop *s, struct world *w)
{
    struct arrival *a = add(s);

    *a = (struct arrival){.unlink = true, .until = some_time()};
    a->e.anonymous_id = one_of(w->devices, DEVICES);
    a->e.user_id = one_of(w->users, USERS);
    s->unlinks++;
}

static void make_world(struct shop *s, unsigned number)
{
    struct world *w = &s->worlds[number];

    for (int i = 0; i < DEVICES; i++)
        snprintf(w->devices[i], ID, "d%u-%d", number, i);
    for (int i = 0; i < USERS; i++)
        snprintf(w->users[i], ID, "u%u-%d", number, i);
    for (int i = 0; i < ORDERS; i++) {
        snprintf(w->orders[i], ID, "o%u-%d", number, i);
        snprintf(w->guests[i], ID + 6, "order:o%u-%d", number, i);
    }
    for (unsigned left = 5 + below(40); left > 0; left--) {
        if (chance(93) || s->unlinks == PLAY_UNLINKS)
            add_event(s, w);
        else
            add_unlink(s, w);
    }
}

static void make_shop(struct shop *s, uint64_t seed)
{
    static const uint64_t caches[] = {0, 20000, 100000000};
    static const struct traits_rules traits = {0};

    *s = (struct shop){0};
    rnd_state = seed;
    s->rules = (struct fold_rules){.session_gap_ms = 30 * TIME_MINUTE,
                                   .currency = "GBP",
                                   .touch_window_ms = TIME_DAY,
                                   .traits = &traits,
                                   .link_by_order = chance(60),
                                   .max_users_per_device = 3,
                                   .max_devices_per_user = 2,
                                   .max_device_events = chance(50) ? 8 : 1000};
    for (unsigned i = 0; i < WORLDS; i++)
        make_world(s, i);
    s->commit_bytes = chance(50) ? 20000 : 1 << 20;
    s->cache_bytes = caches[below(3)];
}

static void shuffle(struct shop *s)
{
    for (size_t i = s->n; i > 1; i--) {
        size_t k = below((unsigned)i);
        struct arrival swap = s->v[k];

        s->v[k] = s->v[i - 1];
        s->v[i - 1] = swap;
    }
}

/* --- a play --------------------------------------------------------------------------------------------------- */

static void arrive(struct play *p, struct shop *s, size_t at)
{
    struct arrival *a = &s->v[at];

    a->e.message_id = str_of(a->message);
    if (a->unlink) {
        play_unlink(p, a->e.anonymous_id, a->e.user_id, a->until);
        return;
    }
    for (unsigned times = chance(90) ? 1 : 2; times > 0; times--)
        play_event(p, &a->e);
}

static void trouble(struct play *p)
{
    unsigned x = below(100);

    if (x < 30 && !p->backup)
        play_backup(p);
    else if (x < 60)
        play_kill(p, chance(40));
    else
        play_stale(p, below(p->partitions), 1 + below(30));
}

/* At any moment, facts that were kept step by step are those of a fold of what is there. */
static void check_fold(struct play *p, struct str id)
{
    uint32_t partition = play_partition(p, id);
    struct state_profile got;
    struct state_view view;
    struct facts facts;
    struct arena a;
    struct err e = {0};

    if (state_view(p->state, partition, id, VIEW_PATH | VIEW_ORDERS, &view, &e) != 0)
        return;
    if (view.path_count == 0) { /* what was told of it is on its way to it, or from it */
        state_view_free(&view);
        return;
    }
    arena_init(&a, MIB);
    assert_int_equal(state_view_fold(&view, &p->rules, &facts), 0);
    if (state_profile(p->state, partition, id, &a, &got, &e) != 0)
        fail_msg("%u partitions, %.*s: it has a view of %zu events, %zu orders, but no facts", (unsigned)p->partitions,
                 STR_ARG(id), view.path_count, view.order_count);
    if (!same_facts(&got.facts, &facts))
        fail_msg("%u partitions, %.*s: its facts are not the fold of its path", (unsigned)p->partitions, STR_ARG(id));
    facts_deinit(&got.facts);
    traits_deinit(&got.traits);
    facts_deinit(&facts);
    state_view_free(&view);
    arena_deinit(&a);
}

static void look(struct play *p, const struct shop *s)
{
    const struct world *w = &s->worlds[below(WORLDS)];
    char id[ID + 6];

    if (chance(70))
        snprintf(id, sizeof id, "user:%s", w->users[below(USERS)]);
    else
        snprintf(id, sizeof id, "anon:%s", w->devices[below(DEVICES)]);
    check_fold(p, str_of(id));
}

static void play_through(struct play *p, struct shop *s)
{
    unsigned troubles = 4;
    size_t next = 0;

    while (next < s->n) {
        uint32_t partition = below(p->partitions);

        for (unsigned n = below(12); n > 0 && next < s->n; n--)
            arrive(p, s, next++);
        if (play_has_unread(p, partition))
            play_fold(p, partition, 1 + below(30));
        if (chance(40))
            play_deliver(p, partition, p->outbox[partition].n);
        if (chance(15))
            play_commit(p, partition);
        if (chance(30))
            look(p, s);
        if (troubles > 0 && chance(8)) {
            troubles--;
            trouble(p);
        }
    }
    play_finish(p);
}

static void check_everything(struct play *p, struct shop *s)
{
    struct log_record *records;
    struct oracle o;
    char id[ID + 16];

    play_oracle(p, &o, &records);
    for (unsigned k = 0; k < WORLDS; k++) {
        const struct world *w = &s->worlds[k];

        for (int i = 0; i < DEVICES; i++) {
            snprintf(id, sizeof id, "anon:%s", w->devices[i]);
            play_check(p, &o, str_of(id));
        }
        for (int i = 0; i < USERS; i++) {
            snprintf(id, sizeof id, "user:%s", w->users[i]);
            play_check(p, &o, str_of(id));
        }
        for (int i = 0; i < ORDERS; i++) {
            snprintf(id, sizeof id, "anon:%s", w->guests[i]);
            play_check(p, &o, str_of(id));
        }
    }
    oracle_deinit(&o);
    free(records);
}

static void run_once(uint64_t seed, uint32_t partitions)
{
    static struct shop s;
    static struct play p;

    make_shop(&s, seed);
    rnd_state = seed * 31 + partitions;
    shuffle(&s);
    p = (struct play){.rules = s.rules, .disturbed = chance(50)};
    play_start(&p, partitions, s.commit_bytes, s.cache_bytes);
    play_through(&p, &s);
    check_everything(&p, &s);
    play_verify(&p);
    state_close(p.state);
    play_open(&p);
    check_everything(&p, &s);
    play_end(&p);
}

/* --- seeds ---------------------------------------------------------------------------------------------------- */

static uint32_t partitions_now;

/* An assert of the state ends the process. */
static void say_abort(int sig)
{
    fprintf(stderr, "ended with WAYMARK_SEED=%llu WAYMARK_PARTITIONS=%u\n", (unsigned long long)seed_now,
            (unsigned)partitions_now);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void profiles_are_those_of_the_set_of_events(void **state)
{
    static const uint32_t counts[] = {1, 2, 4, 16};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    uint64_t runs = 10;
#else
    uint64_t runs = 24;
#endif
    uint64_t partitions = number_set("WAYMARK_PARTITIONS", 0);

    (void)state;
    signal(SIGABRT, say_abort);
    runs = seed_runs(runs);
    for (uint64_t i = 0; i < runs; i++) {
        for (int k = 0; k < 4; k++) {
            if (partitions && partitions != counts[k])
                continue;
            partitions_now = counts[k];
            run_once(seed_of(i, 2000), partitions_now);
        }
    }
    seed_now = 0;
}

static int say_seed_and_partitions(void **state)
{
    (void)state;
    if (seed_now)
        fprintf(stderr, "failed with WAYMARK_SEED=%llu WAYMARK_PARTITIONS=%u\n", (unsigned long long)seed_now,
                (unsigned)partitions_now);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(profiles_are_those_of_the_set_of_events, NULL, say_seed_and_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
