/* Erasure over partitions, against what the set of events says: whoever is erased is gone up to that time, whatever
 * comes when and however often, and everybody else is as if it had been so; what they were called stands nowhere.
 *
 * A failing seed is printed; WAYMARK_SEED=N runs it alone, WAYMARK_RUNS=N sets how many. */
#include "profiler/state_private.h"
#include "tests/support/person_clean.h"
#include "tests/support/seeds.h"

enum { DEVICES = 6, USERS = 5, ORDERS = 4, EVENTS = 70, LATE = 30, ALL = EVENTS + LATE, ERASURES = 3, ID = 40 };

struct erasure {
    unsigned user;
    int64_t until;
    bool ordered;
};

struct shop {
    char devices[DEVICES][ID], users[USERS][ID], orders[ORDERS][ID], messages[ALL][ID];
    struct event v[ALL]; /* the late ones behind the others */
    struct erasure erasures[ERASURES];
    size_t erasure_at[ERASURES]; /* before which event it comes */
    bool has_orders;
};

/* --- a shop --------------------------------------------------------------------------------------------------- */

static int64_t some_time(void)
{
    return (int64_t)below(60) * 7 * TIME_MINUTE;
}

static const struct traits_rules traits_rules = {0};

static void say_order(struct event *e, struct str order_id)
{
    e->type = EVENT_ORDER;
    e->trust = TRUST_SERVER;
    e->order = (struct order_fields){.order_id = order_id,
                                     .status = (enum order_status)(1 + below(4)),
                                     .coupon = STR_LIT("PERSONAL-COUPON"),
                                     .total = {true, (int64_t)(1 + below(9)) * 1000000}};
}

static void make_event(struct shop *s, size_t i)
{
    struct event *e = &s->v[i];
    unsigned x = below(100);

    *e = event_at(NULL, NULL, NULL, some_time());
    snprintf(s->messages[i], ID, "message-of-the-event-%zu", i);
    e->message_id = str_of(s->messages[i]);
    e->received = e->time + 1;
    e->type = chance(70) ? EVENT_PAGE : EVENT_IDENTIFY;
    e->trust = TRUST_BEACON;
    if (x < 75)
        e->anonymous_id = str_of(s->devices[below(DEVICES)]);
    if (x >= 50)
        e->user_id = str_of(s->users[below(USERS)]);
    if (x >= 90 && s->has_orders)
        say_order(e, str_of(s->orders[below(ORDERS)]));
    else if (x >= 70 && x < 75) {
        e->type = EVENT_ALIAS;
        e->previous_id = str_of(s->devices[below(DEVICES)]);
    } else if ((x < 50 || x >= 75) && chance(15)) {
        e->type = EVENT_MARK;
        e->trust = TRUST_SERVER;
        e->properties = STR_LIT("{\"tags\":{\"vip\":{\"value\":true}},\"campaigns\":{\"spring\":{\"value\":1}}}");
    }
}

static void make_shop(struct shop *s, uint64_t seed)
{
    *s = (struct shop){0};
    rnd_state = seed;
    s->has_orders = chance(50);
    for (int i = 0; i < DEVICES; i++)
        snprintf(s->devices[i], ID, "device-%d-a1b2c3d4e5f6", i);
    for (int i = 0; i < USERS; i++)
        snprintf(s->users[i], ID, "user-%d-f6e5d4c3b2a1", i);
    for (int i = 0; i < ORDERS; i++)
        snprintf(s->orders[i], ID, "order-%d", i);
    for (size_t i = 0; i < ALL; i++)
        make_event(s, i);
    for (unsigned i = 0; i < ERASURES; i++) {
        s->erasures[i] = (struct erasure){i, some_time(), false};
        s->erasure_at[i] = below(EVENTS);
    }
}

/* --- what should be ------------------------------------------------------------------------------------------- */

/* The time up to which the user is erased; INT64_MIN: not. */
static int64_t erased_until(const struct shop *s, struct str user)
{
    int64_t until = INT64_MIN;

    for (unsigned i = 0; i < ERASURES; i++)
        if (str_eq(str_of(s->users[s->erasures[i].user]), user) && s->erasures[i].until > until)
            until = s->erasures[i].until;
    return until;
}

static bool link_is_erased(const struct shop *s, const struct oracle_link *l)
{
    return l->key.time <= erased_until(s, l->user);
}

static int compare_links(const void *a, const void *b)
{
    return event_key_cmp(&((const struct oracle_link *)a)->key, &((const struct oracle_link *)b)->key);
}

/* The owner of an event of the device without a user. False: it is gone. */
static bool owner_of(const struct shop *s, const struct oracle *o, const struct event *e, struct str *user)
{
    struct event_key key = event_key(e);
    const struct oracle_link *links[4 * ALL];
    size_t n = 0, at = 0;

    for (size_t i = 0; i < o->link_count; i++)
        if (str_eq(o->links[i].device, e->anonymous_id))
            links[n++] = &o->links[i];
    for (size_t i = 0; i < n; i++)
        if (event_key_cmp(&links[i]->key, &key) <= 0)
            at = i;
    *user = STR_NONE;
    for (; at < n; at++) {
        *user = links[at]->user;
        if (e->time <= erased_until(s, *user))
            return false;
        if (!link_is_erased(s, links[at]))
            return true;
    }
    *user = STR_NONE;
    return true;
}

/* As whose the event is to be found, "user:…" or "anon:…"; nobody's: absent. */
static struct str expected(const struct shop *s, const struct oracle *o, const struct event *e, char *buf)
{
    struct str user = e->user_id;

    if (str_has(user) ? e->time <= erased_until(s, user) : !owner_of(s, o, e, &user))
        return STR_NONE;
    return profile_id(e->anonymous_id, user, buf);
}

/* Whether the event may have fallen to an erased user for a time, before a link that came later: then it is gone. */
static bool may_be_gone(const struct shop *s, const struct oracle *o, const struct event *e)
{
    for (size_t i = 0; i < o->link_count && !str_has(e->user_id); i++)
        if (str_eq(o->links[i].device, e->anonymous_id) && e->time <= erased_until(s, o->links[i].user))
            return true;
    return false;
}

/* --- the play ------------------------------------------------------------------------------------------------- */

static void say(const struct shop *s)
{
    for (unsigned i = 0; i < ERASURES; i++)
        fprintf(stderr, "erase %s until %lld before %zu\n", s->users[s->erasures[i].user],
                (long long)s->erasures[i].until / 60000, s->erasure_at[i]);
    for (size_t i = 0; i < ALL; i++)
        fprintf(stderr, "%3zu t=%lld %.*s type %d a=%.*s u=%.*s prev=%.*s\n", i, (long long)s->v[i].time / 60000,
                STR_ARG(s->v[i].message_id), (int)s->v[i].type, STR_ARG(s->v[i].anonymous_id), STR_ARG(s->v[i].user_id),
                STR_ARG(s->v[i].previous_id));
}

static void erase(struct play *p, struct shop *s, unsigned i, bool by_hash)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char buf[PROFILE_ID_MAX_BYTES], alias[ERASURE_ALIAS_BYTES + 1];
    struct str user = str_of(s->users[s->erasures[i].user]);
    struct key_hash hash;
    struct buf b;

    snprintf(alias, sizeof alias, "alias-of-nr-%04u", i % 100);
    hash = key_hash_erasure(no_key, profile_id(STR_NONE, user, buf));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = s->erasures[i].until,
                              .user = by_hash ? STR_NONE : user,
                              .until = s->erasures[i].until,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, user, buf_str(&b)); /* the key chooses the partition */
    p->logs[event_log_partition(user, p->partitions)]
        .v[p->logs[event_log_partition(user, p->partitions)].n - 1]
        .key.n -= by_hash ? user.n : 0;
    buf_deinit(&b);
    s->erasures[i].ordered = true;
}

static void stir(struct play *p)
{
    uint32_t partition = below(p->partitions);

    if (play_has_unread(p, partition))
        play_fold(p, partition, 1 + below(20));
    if (chance(50))
        play_deliver(p, partition, p->outbox[partition].n);
    if (chance(20))
        play_commit(p, partition);
    if (chance(4))
        play_kill(p, false);
}

static void play_through(struct play *p, struct shop *s)
{
    for (size_t i = 0; i < EVENTS; i++) {
        for (unsigned k = 0; k < ERASURES; k++)
            if (s->erasure_at[k] == i)
                erase(p, s, k, chance(30));
        for (unsigned times = chance(90) ? 1 : 2; times > 0; times--)
            play_event(p, &s->v[i]);
        if (chance(60))
            stir(p);
    }
    play_finish(p);
}

/* --- checking ------------------------------------------------------------------------------------------------- */

static size_t count_expected(const struct shop *s, const struct oracle *o, struct str id)
{
    char buf[PROFILE_ID_MAX_BYTES];
    size_t n = 0;

    for (size_t i = 0; i < o->m.n; i++)
        n += str_eq(expected(s, o, &o->m.v[i].ev, buf), id);
    return n;
}

static void check_facts(struct play *p, struct str id, const struct state_view *view)
{
    struct state_profile got;
    struct facts facts;
    struct traits traits;
    struct err e = {0};
    struct arena a;

    arena_init(&a, 64 * MIB);
    assert_int_equal(state_view_fold(view, &p->rules, &facts), 0);
    assert_int_equal(state_profile(p->state, play_partition(p, id), id, &a, &got, &e), 0);
    assert_true(same_facts(&got.facts, &facts));
    assert_int_equal(state_view_traits(view, &p->rules, NULL, &traits), 0);
    assert_int_equal(traits_differ(&got.traits, &traits, p->rules.traits), 0);
    traits_deinit(&traits);
    facts_deinit(&got.facts);
    traits_deinit(&got.traits);
    facts_deinit(&facts);
    arena_deinit(&a);
}

static void check_profile(struct play *p, const struct shop *s, const struct oracle *o, struct str id)
{
    char buf[PROFILE_ID_MAX_BYTES];
    size_t want = count_expected(s, o, id);
    struct state_view view;
    struct err e = {0};
    int rc = state_view(p->state, play_partition(p, id), id, VIEW_PATH | VIEW_ORDERS | VIEW_MARKS, &view, &e);

    if (rc == STATE_LINKED || rc == STATE_NOT_FOUND) {
        for (size_t k = 0; k < o->m.n && want; k++)
            want -= str_eq(expected(s, o, &o->m.v[k].ev, buf), id) &&
                    (o->m.v[k].ev.type == EVENT_MARK || may_be_gone(s, o, &o->m.v[k].ev));
        if (want)
            fail_msg("%u partitions, %.*s: %zu events should be there, it is %s", (unsigned)p->partitions, STR_ARG(id),
                     want, rc == STATE_LINKED ? "linked" : "unknown");
        return;
    }
    assert_int_equal(rc, 0);
    for (size_t k = 0; k < o->m.n && view.path_count < want; k++) {
        struct event_key key = event_key(&o->m.v[k].ev);
        bool there = false;

        for (size_t i = 0; i < view.path_count; i++)
            there = there || event_key_cmp(&key, &view.path[i].key) == 0;
        if (!there && str_eq(expected(s, o, &o->m.v[k].ev, buf), id) && may_be_gone(s, o, &o->m.v[k].ev))
            want--;
    }
    for (size_t i = 0; i < view.path_count && getenv("WAYMARK_SAY"); i++)
        fprintf(stderr, "in %.*s: t=%lld\n", STR_ARG(id), (long long)view.path[i].key.time / 60000);
    if (view.path_count != want)
        fail_msg("%u partitions, %.*s: %zu events, should be %zu", (unsigned)p->partitions, STR_ARG(id),
                 view.path_count, want);
    for (size_t i = 0; i < view.path_count; i++) {
        const struct model_event *m = NULL;

        for (size_t k = 0; k < o->m.n && !m; k++) {
            struct event_key key = event_key(&o->m.v[k].ev);
            m = event_key_cmp(&key, &view.path[i].key) == 0 ? &o->m.v[k] : NULL;
        }
        assert_non_null(m);
        assert_true(str_eq(expected(s, o, &m->ev, buf), id));
    }
    check_facts(p, id, &view);
    state_view_free(&view);
}

/* Whether anything that is not erased speaks of it. */
static bool is_spoken_of(const struct shop *s, const struct oracle *o, struct str id)
{
    char buf[PROFILE_ID_MAX_BYTES];

    for (size_t i = 0; i < o->m.n; i++) {
        const struct event *e = &o->m.v[i].ev;

        if (str_has(expected(s, o, e, buf)) &&
            (str_eq(e->anonymous_id, id) || str_eq(e->user_id, id) || str_eq(e->previous_id, id)))
            return true;
    }
    for (size_t i = 0; i < o->link_count; i++)
        if (!link_is_erased(s, &o->links[i]) && (str_eq(o->links[i].device, id) || str_eq(o->links[i].user, id)))
            return true;
    return false;
}

static void check_absent(struct play *p, struct str id)
{
    for (uint32_t i = 0; i < p->partitions; i++) {
        struct store_iter *it = store_iter_new(p->state->store, i, NULL, false);
        struct str key, value;

        for (store_iter_seek(it, STR_LIT("")); store_iter_at(it, &key, &value); store_iter_next(it))
            if (memmem(value.p, value.n, id.p, id.n))
                fail_msg("%u partitions: %.*s stands in a value of kind %c", (unsigned)p->partitions, STR_ARG(id),
                         key.p[0]);
        store_iter_free(it);
    }
}

/* Of devices only those that an erased user had: one that nobody was ever linked to is nobody's to be erased. */
static bool was_erased(const struct shop *s, const struct oracle *o, struct str device)
{
    for (size_t i = 0; i < o->link_count; i++)
        if (str_eq(o->links[i].device, device) && link_is_erased(s, &o->links[i]))
            return true;
    return false;
}

/* What is on the logs of `told` is what there is to be known. */
static void check_against(struct play *p, struct play *told, const struct shop *s)
{
    struct log_record *records;
    struct oracle o;
    char id[ID + 8];

    play_oracle(told, &o, &records);
    qsort(o.links, o.link_count, sizeof *o.links, compare_links);
    for (int i = 0; i < DEVICES; i++) {
        snprintf(id, sizeof id, "anon:%s", s->devices[i]);
        check_profile(p, s, &o, str_of(id));
        if (!is_spoken_of(s, &o, str_of(s->devices[i])) && was_erased(s, &o, str_of(s->devices[i])))
            check_absent(p, str_of(s->devices[i]));
    }
    for (int i = 0; i < USERS; i++) {
        snprintf(id, sizeof id, "user:%s", s->users[i]);
        check_profile(p, s, &o, str_of(id));
        if (erased_until(s, str_of(s->users[i])) != INT64_MIN && !is_spoken_of(s, &o, str_of(s->users[i])))
            check_absent(p, str_of(s->users[i]));
    }
    oracle_deinit(&o);
    free(records);
}

static void check_everything(struct play *p, const struct shop *s)
{
    check_against(p, p, s);
}

/* Every order keeps its amounts, whoever is erased. */
static void check_orders(struct play *p, const struct shop *s, size_t events)
{
    for (int i = 0; i < ORDERS; i++) {
        bool stated = false;
        struct str owner, id = str_of(s->orders[i]);
        struct err e = {0};
        struct arena a;

        for (size_t k = 0; k < events; k++)
            stated = stated || str_eq(s->v[k].order.order_id, id);
        if (!stated)
            continue;
        arena_init(&a, MIB);
        assert_int_equal(state_order(p->state, state_order_partition(p->state, id), id, &a, &owner, &e), 0);
        assert_false(str_starts(owner, STR_LIT("user:")) &&
                     erased_until(s, (struct str){owner.p + 5, owner.n - 5}) == INT64_MAX);
        arena_deinit(&a);
    }
}

/* --- a log that was cleaned ----------------------------------------------------------------------------------- */

/* Whatever was said is read back, and nothing is kept that is erased. */
static void check_graves(const struct play *p)
{
    for (uint32_t i = 0; i < p->partitions; i++) {
        const struct graves *g = &p->state->partitions[i].graves;

        assert_int_equal(g->held, 0);
        assert_int_equal(g->table.count, g->waiting);
    }
}

/* Late events, and all those of before once more, come to the state that was and to one that only knows what is left:
 * both have to answer as if it had never happened. */
static void fold_anew(struct play *p, struct shop *s)
{
    static struct play anew;
    size_t records = 0;

    anew = (struct play){.rules = p->rules};
    play_start(&anew, p->partitions, chance(50) ? 20000 : 1 << 20, chance(50) ? 0 : 1 << 20);
    for (uint32_t i = 0; i < p->partitions; i++)
        records += p->logs[i].n;
    play_clean(p, &anew, chance(70) ? records : below((unsigned)records));
    for (uint32_t i = 0; i < p->partitions; i++)
        state_catch_up(anew.state, i, (int64_t)anew.logs[i].n);
    play_finish(&anew);
    check_against(&anew, p, s);
    check_orders(&anew, s, EVENTS);
    play_verify(&anew);
    if (chance(50))
        play_kill(&anew, false);
    for (size_t i = 0; i < ALL; i++) {
        size_t at = chance(50) ? below(ALL) : i;

        play_event(&anew, &s->v[at]);
        play_event(p, &s->v[at]);
        play_event(&anew, &s->v[i]);
        play_event(p, &s->v[i]);
        if (chance(60))
            stir(&anew);
    }
    play_finish(p);
    play_finish(&anew);
    check_everything(p, s);
    check_against(&anew, p, s);
    check_orders(&anew, s, ALL);
    play_verify(&anew);
    check_graves(p);
    check_graves(&anew);
    play_end(&anew);
}

static void run_once(uint64_t seed, uint32_t partitions)
{
    static struct shop s;
    static struct play p;

    make_shop(&s, seed);
    rnd_state = seed * 31 + partitions;
    for (size_t i = EVENTS; i > 1; i--) {
        size_t k = below((unsigned)i);
        struct event swap = s.v[k];

        s.v[k] = s.v[i - 1];
        s.v[i - 1] = swap;
    }
    p = (struct play){.rules = {.traits = &traits_rules,
                                .session_gap_ms = 30 * TIME_MINUTE,
                                .currency = "GBP",
                                .touch_window_ms = TIME_DAY,
                                .max_users_per_device = 100,
                                .max_devices_per_user = 100,
                                .max_device_events = 1000}};
    if (getenv("WAYMARK_SAY"))
        say(&s);
    play_start(&p, partitions, chance(50) ? 20000 : 1 << 20, chance(50) ? 0 : 1 << 20);
    play_through(&p, &s);
    check_everything(&p, &s);
    check_orders(&p, &s, EVENTS);
    play_verify(&p);
    state_close(p.state);
    play_open(&p);
    check_everything(&p, &s);
    fold_anew(&p, &s);
    play_end(&p);
}

/* --- seeds ---------------------------------------------------------------------------------------------------- */

static void the_erased_are_gone_and_nobody_else(void **state)
{
    static const uint32_t counts[] = {1, 2, 4, 16};
    uint64_t runs = seed_runs(30);

    (void)state;
    for (uint64_t i = 0; i < runs; i++)
        for (int k = 0; k < 4; k++) {
            run_once(seed_of(i, 7000), counts[k]);
        }
    seed_now = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_erased_are_gone_and_nobody_else, NULL, say_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
