/* What the state says of devices and users for people to look at: the same from memory and from disk, the same as the
 * events say, while the worker goes on; and a preview says what then happens. */
#include <pthread.h>
#include <stdatomic.h>

#include "profiler/state_identity.h"
#include "tests/support/state_case.h"

enum { DEVICES = 4, USERS = 5, EVENTS = 300, MANY = 2500, EVENTS_CAP = 40, USERS_CAP = 3, DEVICES_CAP = 2 };

static const char *const devices[DEVICES] = {"d0", "d1", "d2", "d3"};
static const char *const users[USERS] = {"u0", "u1", "u2", "u3", "u4"};

struct scene {
    struct fold_rules rules;
    struct state_options o;
    struct state *s;
    struct test_log log;
    size_t folded;
    char *folder;
    size_t links[DEVICES][USERS], anonymous[DEVICES];
};

static void open_state(struct scene *c)
{
    struct err e = {0};

    c->o.path = c->folder;
    c->o.rules = &c->rules;
    if (state_open(&c->o, &c->s, &e) != 0)
        fail_msg("%s", e.text);
}

static void start(struct scene *c, uint64_t cache_bytes)
{
    *c = (struct scene){.folder = folder_new()};
    c->rules = (struct fold_rules){.session_gap_ms = 1800000,
                                   .currency = "GBP",
                                   .max_users_per_device = USERS_CAP,
                                   .max_devices_per_user = DEVICES_CAP,
                                   .max_device_events = EVENTS_CAP};
    c->o = (struct state_options){.partitions = 1, .commit_bytes = 64 * MIB, .cache_bytes = cache_bytes};
    open_state(c);
    state_begin_at(c->s, 0, 0);
}

static void commit(struct scene *c)
{
    struct err e = {0};

    if (state_commit(c->s, 0, &e) != 0)
        fail_msg("%s", e.text);
}

static void fold(struct scene *c)
{
    struct err e = {0};

    if (state_fold(c->s, 0, c->log.v + c->folded, c->log.n - c->folded, &e) < 0)
        fail_msg("%s", e.text);
    c->folded = c->log.n;
    state_emitted(c->s, 0);
}

static void verify(struct scene *c)
{
    struct verify_report report;
    struct err e = {0};

    if (state_verify(c->s, say_line, NULL, NULL, &report, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(report.differences, 0);
}

static void end(struct scene *c)
{
    commit(c);
    verify(c);
    state_close(c->s);
    log_free(&c->log);
    folder_free(c->folder);
}

static void reopen(struct scene *c)
{
    commit(c);
    state_close(c->s);
    open_state(c);
}

/* An event of the device, of the user, or of both (-1: neither). */
static void happen(struct scene *c, int device, int user, int64_t time)
{
    char message[32];
    struct event e;

    snprintf(message, sizeof message, "m%zu", c->log.n);
    e = event_at(device < 0 ? NULL : devices[device], user < 0 ? NULL : users[user], message, time);
    log_event(&c->log, &e);
    if (device >= 0 && user >= 0)
        c->links[device][user]++;
    else if (device >= 0)
        c->anonymous[device]++;
}

static void happen_somehow(struct scene *c)
{
    int kind = (int)below(10), device = (int)below(DEVICES), user = (int)below(USERS);

    happen(c, kind < 9 ? device : -1, kind < 6 ? -1 : user, 1000000 + (int64_t)below(100000));
}

static int device_of(struct scene *c, int device, struct arena *a, struct state_device *out)
{
    struct err e = {0};
    int rc = state_device(c->s, 0, str_of(devices[device]), true, a, out, &e);

    if (rc < 0)
        fail_msg("%d %s", rc, e.text);
    return rc;
}

/* --- against the events ----------------------------------------------------------------------------------------- */

static void check_device(struct scene *c, int device)
{
    struct state_device d;
    struct arena a;
    size_t named = 0, found = 0, most = c->anonymous[device];

    arena_init(&a, SIZE_MAX);
    for (int u = 0; u < USERS; u++)
        named += c->links[device][u] > 0;
    if (device_of(c, device, &a, &d) == STATE_NOT_FOUND) {
        assert_true(named == 0 && c->anonymous[device] == 0);
        arena_deinit(&a);
        return;
    }
    assert_int_equal(d.events, most > EVENTS_CAP + 1 ? EVENTS_CAP + 1 : most);
    assert_int_equal(d.shared, named > USERS_CAP || (named > 0 && most > EVENTS_CAP));
    assert_true(!d.shared || d.by_users || d.by_events);
    for (size_t i = 0; i < d.pair_count; i++)
        for (int u = 0; u < USERS; u++)
            if (str_is(d.pairs[i].user, users[u])) {
                assert_true(named > USERS_CAP || d.pairs[i].links == c->links[device][u]);
                assert_true(d.pairs[i].first <= d.pairs[i].last);
                assert_int_equal(d.shared, d.pairs[i].why == PAIR_SHARED);
                found++;
            }
    assert_int_equal(found, d.pair_count);
    assert_true(named > USERS_CAP || found == named);
    assert_true(!d.shared || d.run_count == 0);
    arena_deinit(&a);
}

static void check(struct scene *c)
{
    for (int d = 0; d < DEVICES; d++)
        check_device(c, d);
}

static void it_says_what_the_events_say(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct scene c;

        rnd_state = seed;
        start(&c, seed % 2 ? 64 * MIB : 1);
        for (int i = 0; i < EVENTS; i++) {
            happen_somehow(&c);
            if (chance(40))
                continue;
            fold(&c);
            if (chance(30))
                commit(&c);
            if (chance(5))
                reopen(&c);
            check(&c);
        }
        fold(&c);
        end(&c);
    }
}

/* --- a preview -------------------------------------------------------------------------------------------------- */

static size_t events_of(struct scene *c, struct str profile)
{
    struct state_view v;
    struct err e = {0};
    int rc = state_view(c->s, 0, profile, VIEW_PATH, &v, &e);
    size_t n = rc == 0 ? v.path_count : 0;

    assert_true(rc >= 0);
    if (rc == 0)
        state_view_free(&v);
    return n;
}

static size_t share(const struct moved_events *v, size_t n, struct str profile)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].profile, profile))
            return v[i].events;
    return 0;
}

static void count_all(struct scene *c, size_t *out)
{
    char id[16];

    for (int i = 0; i < DEVICES + USERS; i++) {
        if (i < DEVICES)
            snprintf(id, sizeof id, "anon:%s", devices[i]);
        else
            snprintf(id, sizeof id, "user:%s", users[i - DEVICES]);
        out[i] = events_of(c, str_of(id));
    }
}

static void unlink_now(struct scene *c, const struct identity_step *step)
{
    const struct command command = {
        .kind = COMMAND_UNLINK, .time = step->time, .device = step->device, .user = step->user, .until = step->time};
    struct buf b;

    buf_init(&b, LIMIT_RECORD_BYTES);
    assert_true(command_pack(&command, &b));
    log_add(&c->log, buf_str(&b));
    c->log.v[c->log.n - 1].kind = LOG_KIND_COMMAND;
    buf_deinit(&b);
}

/* The event that links has the user's, so that one more there is no surprise. */
static void step_and_compare(struct scene *c, bool unlink)
{
    int device = (int)below(DEVICES), user = (int)below(USERS);
    struct identity_step step = {unlink, str_of(devices[device]), str_of(users[user]),
                                 1000000 + (int64_t)below(100000)};
    size_t before[DEVICES + USERS], after[DEVICES + USERS];
    struct state_preview p;
    struct err e = {0};
    struct arena a;
    char id[16];

    arena_init(&a, SIZE_MAX);
    count_all(c, before);
    if (state_preview(c->s, 0, &step, &a, &p, &e) != 0)
        fail_msg("%s", e.text);
    if (unlink)
        unlink_now(c, &step);
    else
        happen(c, device, user, step.time);
    fold(c);
    count_all(c, after);
    if (!unlink)
        after[DEVICES + user]--;
    for (int i = 0; i < DEVICES + USERS; i++) {
        snprintf(id, sizeof id, i < DEVICES ? "anon:%s" : "user:%s", i < DEVICES ? devices[i] : users[i - DEVICES]);
        assert_int_equal(after[i],
                         before[i] - share(p.from, p.from_count, str_of(id)) + share(p.to, p.to_count, str_of(id)));
    }
    arena_deinit(&a);
}

static void a_preview_says_what_then_happens(void **unused)
{
    (void)unused;
    for (uint64_t seed = 11; seed <= 18; seed++) {
        struct scene c;

        rnd_state = seed;
        start(&c, seed % 2 ? 64 * MIB : 1);
        c.rules.max_devices_per_user = DEVICES; /* whether a user may keep it only the user's home knows */
        for (int i = 0; i < EVENTS / 2; i++) {
            happen_somehow(&c);
            fold(&c);
            if (chance(20))
                commit(&c);
            step_and_compare(&c, chance(40));
        }
        end(&c);
    }
}

static void a_preview_of_a_crowded_device_is_bounded(void **unused)
{
    struct scene c;
    struct state_preview p;
    struct err e = {0};
    struct arena a;

    (void)unused;
    start(&c, 64 * MIB);
    arena_init(&a, SIZE_MAX);
    for (int i = 0; i < 3 * EVENTS_CAP; i++)
        happen(&c, 0, -1, 1000 + i);
    fold(&c);
    assert_int_equal(
        state_preview(c.s, 0, &(struct identity_step){false, STR_LIT("d0"), STR_LIT("u0"), 1000}, &a, &p, &e), 0);
    assert_true(p.shared_after && !p.linked_after && p.events == 0);
    arena_deinit(&a);
    end(&c);
}

/* --- while the worker goes on ------------------------------------------------------------------------------------- */

struct reader {
    struct scene *scene;
    _Atomic bool stop;
    _Atomic size_t reads;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    struct state_account account;
    struct state_preview p;
    struct state_device d;
    struct err e = {0};
    struct arena a;
    size_t last[DEVICES] = {0};

    arena_init(&a, SIZE_MAX);
    for (int i = 0; !atomic_load(&r->stop); i = (i + 1) % DEVICES) {
        const struct identity_step step = {i % 2, str_of(devices[i]), str_of(users[i]), 1050000};
        size_t links = 0;

        arena_reset(&a);
        assert_true(state_device(r->scene->s, 0, str_of(devices[i]), true, &a, &d, &e) >= 0);
        for (size_t k = 0; k < d.pair_count; k++)
            links += d.pairs[k].links;
        assert_true(links >= last[i]); /* none is ever missed between memory and disk */
        last[i] = links;
        assert_true(state_account(r->scene->s, 0, str_of(users[i]), &a, &account, &e) >= 0);
        assert_true(state_preview(r->scene->s, 0, &step, &a, &p, &e) == 0);
        atomic_fetch_add(&r->reads, 1);
    }
    arena_deinit(&a);
    return NULL;
}

static void readers_see_one_moment(void **unused)
{
    struct reader r = {0};
    struct scene c;
    pthread_t thread;

    (void)unused;
    rnd_state = 99;
    start(&c, 1);
    c.rules.max_users_per_device = 100;
    r.scene = &c;
    assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
    for (int i = 0; i < MANY || atomic_load(&r.reads) < 100; i++) {
        happen(&c, (int)below(DEVICES), i % 10 ? (int)below(USERS) : -1, 1000000 + (int64_t)below(100000));
        if (chance(50))
            fold(&c);
        if (chance(1))
            commit(&c);
    }
    fold(&c);
    atomic_store(&r.stop, true);
    pthread_join(thread, NULL);
    end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_what_the_events_say),
        cmocka_unit_test(a_preview_says_what_then_happens),
        cmocka_unit_test(a_preview_of_a_crowded_device_is_bounded),
        cmocka_unit_test(readers_see_one_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
