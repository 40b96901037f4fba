/* After an erasure a partition's files are written anew once, however much was erased and whatever is committed
 * meanwhile. */
#include <pthread.h>
#include <stdatomic.h>

#include "profiler/state_private.h"
#include "profiler/store_inside.h"
#include "tests/support/person_play.h"

enum { PEOPLE = 60, ID = 48 };

static const struct traits_rules no_traits = {0};

static void put(struct play *p, unsigned user, size_t number)
{
    struct event e = event_at(NULL, NULL, NULL, (int64_t)number * 1000);
    char message[ID], id[ID];

    snprintf(message, sizeof message, "message-%zu", number);
    snprintf(id, sizeof id, "user-%u", user);
    e.type = EVENT_PAGE;
    e.trust = TRUST_BEACON;
    e.message_id = str_of(message);
    e.user_id = str_of(id);
    e.received = e.time + 1;
    play_event(p, &e);
}

static void erase(struct play *p, unsigned user)
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char buf[PROFILE_ID_MAX_BYTES], id[ID];
    struct key_hash hash;
    struct buf b;

    snprintf(id, sizeof id, "user-%u", user);
    hash = key_hash_erasure(no_key, profile_id(STR_NONE, str_of(id), buf));
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = TIME_DAY,
                              .user = str_of(id),
                              .until = TIME_DAY,
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = STR_LIT("0123456789abcdef")};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(p, LOG_KIND_COMMAND, c.user, buf_str(&b));
    buf_deinit(&b);
}

struct busy {
    struct play *p;
    _Atomic bool stop;
    _Atomic unsigned commits;
};

/* The worker of the partition goes on. */
static void *go_on(void *arg)
{
    struct busy *b = arg;

    for (size_t n = 10000; !atomic_load(&b->stop); n++) {
        put(b->p, (unsigned)(PEOPLE + n % 7), n);
        play_fold(b->p, 0, SIZE_MAX);
        play_commit(b->p, 0);
        atomic_fetch_add(&b->commits, 1);
    }
    return NULL;
}

static void once_beside_commits(void **state)
{
    static struct play p;
    struct busy busy = {.p = &p};
    pthread_t thread;
    struct err e = {0};

    (void)state;
    p = (struct play){.rules = {.traits = &no_traits, .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}};
    play_start(&p, 1, 1 << 20, 1 << 20);
    for (unsigned i = 0; i < PEOPLE; i++)
        put(&p, i, i);
    play_finish(&p);
    for (unsigned i = 0; i < PEOPLE; i++)
        erase(&p, i);
    play_finish(&p);
    assert_int_equal(pthread_create(&thread, NULL, go_on, &busy), 0);
    for (int i = 0; i < 5; i++) {
        unsigned before = atomic_load(&busy.commits);

        while (atomic_load(&busy.commits) == before)
            sched_yield();
        assert_int_equal(state_compact(p.state, 0, &e), 0);
        assert_int_equal(atomic_load(&p.state->store->rewrites), i + 1);
    }
    atomic_store(&busy.stop, true);
    pthread_join(thread, NULL);
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_beside_commits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
