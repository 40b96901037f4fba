/* Look-ups while the worker goes on, and of people of whom there is a lot: an answer is of one moment, and nobody waits
 * for long. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "proto/internal.h"
#include "tests/support/state_place.h"

enum { RECORDS = 30000, READERS = 8, MANY = 40000, LINKS = 100000, ORDERS = 3000, TAKEN = 3000 };

static void start_again(struct place_for_test *t, const struct fold_rules *with)
{
    state_close(t->state);
    folder_free(t->folder);
    t->folder = folder_new();
    t->o.path = t->folder;
    t->o.rules = with;
    open_it(t);
}

/* An earlier copy of the one event of the user: its profile has to be folded anew. */
static void earlier_copy(struct place_for_test *t)
{
    struct event e = event_at(NULL, "u", "m1", AT(0) - (int64_t)t->log.n);

    log_event(&t->log, &e);
}

/* --- one moment ------------------------------------------------------------------------------------------------- */

static void what_is_seen_has_a_number_of_its_own(void **state)
{
    struct place_for_test *t = *state;
    uint64_t last = 0;

    state_close(t->state);
    t->o.cache_bytes = 1; /* a commit forgets everything */
    open_it(t);
    for (int i = 0; i < 4; i++) {
        struct state_view view;
        struct err e = {0};

        earlier_copy(t);
        fold(t);
        assert_int_equal(state_view(t->state, 0, STR_LIT("user:u"), VIEW_PATH, &view, &e), 0);
        assert_int_not_equal(view.changes, last);
        last = view.changes;
        state_view_free(&view);
        commit(t);
    }
}

/* From another partition: whether the user has the device. */
static void member(struct place_for_test *t, bool removed)
{
    struct internal r = {.kind = INTERNAL_MEMBER,
                         .sender = 1,
                         .version = {(int64_t)t->log.n, 1},
                         .device = STR_LIT("d"),
                         .user = STR_LIT("u"),
                         .removed = removed};
    struct buf b;

    buf_init(&b, KIB);
    assert_true(internal_pack(&r, &b));
    log_add(&t->log, buf_str(&b));
    t->log.v[t->log.n - 1].kind = LOG_KIND_INTERNAL;
    buf_deinit(&b);
}

struct reader {
    struct state *state;
    const bool *has; /* by version, whether the user has the device */
    _Atomic bool stop;
    _Atomic size_t reads, wrong;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    struct state_profile profile;
    struct err e = {0};
    struct arena a;

    arena_init(&a, SIZE_MAX);
    while (!atomic_load(&r->stop)) {
        int rc = state_profile(r->state, 0, STR_LIT("user:u"), &a, &profile, &e);

        if (rc == 0) {
            atomic_fetch_add(&r->wrong, (profile.device_count == 1) != r->has[profile.version]);
            facts_deinit(&profile.facts);
            traits_deinit(&profile.traits);
        }
        atomic_fetch_add(&r->reads, rc == 0);
        arena_reset(&a);
    }
    arena_deinit(&a);
    return NULL;
}

static void devices_are_those_of_the_version(void **state)
{
    struct place_for_test *t = *state;
    struct reader r = {0};
    bool *has = calloc(RECORDS + 1, sizeof *has);
    pthread_t threads[READERS];

    t->o.partitions = 2;
    start_again(t, &rules);
    assert_non_null(has);
    for (int i = 0; i < RECORDS; i++) {
        if (i % 4 == 0)
            earlier_copy(t);
        else
            member(t, i % 2 == 0);
        has[i + 1] = i % 4 == 0 ? has[i] : i % 2 == 1;
    }
    r.state = t->state;
    r.has = has;
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (size_t i = 0; i < RECORDS; i++) {
        struct err e = {0};

        assert_true(state_fold(t->state, 0, &t->log.v[i], 1, &e) >= 0);
        t->folded++;
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&r.reads) > 0);
    assert_int_equal(atomic_load(&r.wrong), 0);
    free(has);
}

/* The events of whom they are asked for, all the time. */
struct watcher {
    struct state *state;
    _Atomic int of;
    _Atomic bool stop;
    _Atomic size_t reads, wrong;
};

/* What the user's event, three of the device and one of the next user leave of the first one's events. */
enum { TAKEN_RECORDS = 5 };
static const uint64_t left[TAKEN_RECORDS] = {1, 2, 3, 4, 1};

static void *watch_on(void *arg)
{
    struct watcher *w = arg;
    struct state_profile profile;
    struct err e = {0};
    struct arena a;
    char id[32];

    arena_init(&a, SIZE_MAX);
    while (!atomic_load(&w->stop)) {
        snprintf(id, sizeof id, "user:u%d", atomic_load(&w->of));
        if (state_profile(w->state, 0, str_of(id), &a, &profile, &e) == 0) {
            bool right = profile.facts.events == left[(profile.version - 1) % TAKEN_RECORDS];
            atomic_fetch_add(&w->wrong, !right && !profile.amid);
            facts_deinit(&profile.facts);
            traits_deinit(&profile.traits);
            atomic_fetch_add(&w->reads, 1);
        }
        arena_reset(&a);
    }
    arena_deinit(&a);
    return NULL;
}

static void one_more(struct place_for_test *t, const char *device, const char *user, int n, int64_t time)
{
    char message[32];

    snprintf(message, sizeof message, "m%d", n);
    struct event e = event_at(device, user, message, time);
    log_event(&t->log, &e);
    fold(t);
}

static bool has_events(struct place_for_test *t, const char *user, uint64_t n)
{
    struct state_profile p;
    struct arena a;
    char id[32];

    snprintf(id, sizeof id, "user:%s", user);
    arena_init(&a, MIB);
    p = profile_of(t, id, &a);
    bool has = p.facts.events == n;
    facts_deinit(&p.facts);
    traits_deinit(&p.traits);
    arena_deinit(&a);
    return has;
}

/* A record gives an event of one user to another one in steps. Who looks at one of them between two steps leaves what
 * was folded for others, who must not find what that step took. */
static void who_looks_between_the_steps_of_a_record_spoils_nothing(void **state)
{
    struct place_for_test *t = *state;
    struct watcher w = {.state = t->state};
    pthread_t threads[READERS];
    char device[32], first[32], second[32];
    size_t wrong = 0;

    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, watch_on, &w), 0);
    for (int i = 0; i < TAKEN; i++) {
        snprintf(device, sizeof device, "d%d", i);
        snprintf(first, sizeof first, "u%d", i);
        snprintf(second, sizeof second, "v%d", i);
        atomic_store(&w.of, i);
        one_more(t, device, first, TAKEN_RECORDS * i, AT(0));
        for (int k = 1; k < TAKEN_RECORDS - 1; k++)
            one_more(t, device, NULL, TAKEN_RECORDS * i + k, AT(20 + k));
        one_more(t, device, second, TAKEN_RECORDS * i + TAKEN_RECORDS - 1, AT(10)); /* those before are theirs then */
        wrong += !has_events(t, first, left[TAKEN_RECORDS - 1]) || !has_events(t, second, TAKEN_RECORDS - 1);
    }
    atomic_store(&w.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&w.reads) > 0);
    assert_int_equal(wrong, 0);
    assert_int_equal(atomic_load(&w.wrong), 0);
    verify(t, 0);
}

/* --- a lot ------------------------------------------------------------------------------------------------------ */

static double seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* An event of a device with a user; `n` makes it another one. */
static void happen(struct place_for_test *t, const char *device, const char *user, int n)
{
    char message[32];
    struct event e;

    snprintf(message, sizeof message, "m%d", n);
    e = event_at(device, user, message, AT(0) + n);
    log_event(&t->log, &e);
}

/* Anybody can name a user on any number of devices. */
static void a_user_of_very_many_devices_is_seen_at_once(void **state)
{
    struct place_for_test *t = *state;
    struct fold_rules few = rules;
    struct state_view view;
    struct err e = {0};

    few.max_devices_per_user = 2;
    start_again(t, &few);
    for (int i = 0; i < MANY; i++) {
        char device[32];

        snprintf(device, sizeof device, "device-%06d", i);
        happen(t, device, "u", i);
    }
    fold(t);
    for (int again = 0; again < 2; again++) {
        double began = seconds();

        assert_int_equal(state_view(t->state, 0, STR_LIT("user:u"), VIEW_PATH, &view, &e), 0);
        assert_int_equal(view.path_count, MANY);
        assert_true(view.path[0].device != view.path[MANY - 1].device);
        state_view_free(&view);
        assert_true(seconds() - began < 2);
        commit(t);
    }
    start_again(t, &rules);
}

/* Every event of a device with a user is a link; one of another user has all of them looked at. */
static void a_device_of_very_many_links_changes_hands_at_once(void **state)
{
    struct place_for_test *t = *state;

    for (int i = 0; i < LINKS; i++)
        happen(t, "d", "u", i);
    fold(t);
    for (int again = 0; again < 2; again++) {
        double began = seconds();

        happen(t, "d", again ? "v" : "w", LINKS + again);
        fold(t);
        commit(t);
        assert_true(seconds() - began < 2);
        happen(t, "d", again ? "v" : "w", LINKS + 10 + again); /* the links are forgotten */
        fold(t);
    }
}

/* Anybody can state orders of a user, and of each the device of somebody else. */
static void a_user_whom_very_many_orders_pair_is_counted_at_once(void **state)
{
    struct place_for_test *t = *state;
    struct fold_rules few = rules;
    double began;

    few.max_devices_per_user = 2;
    few.link_by_order = true;
    start_again(t, &few);
    for (int i = 0; i < 2 * ORDERS; i++) {
        char device[32], order[32], message[32];
        struct event e;

        snprintf(device, sizeof device, "device-%06d", i / 2);
        snprintf(order, sizeof order, "order-%06d", i / 2);
        snprintf(message, sizeof message, "m%d", i);
        e = event_at(i % 2 ? NULL : device, i % 2 ? "u" : NULL, message, AT(0) + i);
        e.type = EVENT_ORDER;
        e.order = (struct order_fields){.order_id = str_of(order), .status = STATUS_PAID};
        log_event(&t->log, &e);
    }
    began = seconds();
    fold(t);
    assert_true(seconds() - began < 8);
    verify(t, 0);
    start_again(t, &rules);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(what_is_seen_has_a_number_of_its_own),
        T(devices_are_those_of_the_version),
        T(who_looks_between_the_steps_of_a_record_spoils_nothing),
        T(a_user_of_very_many_devices_is_seen_at_once),
        T(a_device_of_very_many_links_changes_hands_at_once),
        T(a_user_whom_very_many_orders_pair_is_counted_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
