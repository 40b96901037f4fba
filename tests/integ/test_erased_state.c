/* What a partition's state says and does after many erasures: a command is found by its place, and the files are
 * written anew once, however much was erased and whatever is committed meanwhile. */
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

static void hash_user(unsigned user, unsigned char out[ERASURE_HASH_BYTES])
{
    static const unsigned char no_key[ERASURE_KEY_BYTES];
    char buf[PROFILE_ID_MAX_BYTES], id[ID];

    snprintf(id, sizeof id, "user-%u", user);
    struct key_hash hash = key_hash_erasure(no_key, profile_id(STR_NONE, str_of(id), buf));
    memcpy(out, hash.b, ERASURE_HASH_BYTES);
}

static void erase(struct play *p, unsigned user)
{
    unsigned char hash[ERASURE_HASH_BYTES];
    char id[ID];
    struct buf b;

    snprintf(id, sizeof id, "user-%u", user);
    hash_user(user, hash);
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = TIME_DAY,
                              .user = str_of(id),
                              .until = TIME_DAY,
                              .hash = {(char *)hash, sizeof hash},
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

/* Of commands that stand behind each other on the log; -1 when none is known. */
static int whose(struct play *p, int64_t offset)
{
    struct state_erasure got;
    unsigned char hash[ERASURE_HASH_BYTES];

    if (state_erasure(p->state, 0, offset, &got) != 0)
        return -1;
    assert_int_equal(got.offset, offset);
    for (unsigned i = 0; i < PEOPLE; i++) {
        hash_user(i, hash);
        if (memcmp(hash, got.hash, sizeof hash) == 0)
            return (int)i;
    }
    fail_msg("nobody has the hash");
    return -1;
}

/* One command for everybody in the order of their numbers; then the first one's again and again. */
static void check_places(struct play *p, int64_t first, int again)
{
    assert_int_equal(whose(p, first - 1), -1);
    assert_int_equal(whose(p, first), again < TOMBSTONE_COMMANDS ? 0 : -1);
    for (int i = 1; i < PEOPLE; i++)
        assert_int_equal(whose(p, first + i), i);
    for (int i = 0; i < again; i++)
        assert_int_equal(whose(p, first + PEOPLE + i), again - i <= TOMBSTONE_COMMANDS ? 0 : -1);
    assert_int_equal(whose(p, first + PEOPLE + again), -1);
}

static void a_command_is_found_by_its_place(void **state)
{
    static struct play p;
    const int64_t first = PEOPLE;

    (void)state;
    p = (struct play){.rules = {.traits = &no_traits, .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"}};
    play_start(&p, 1, 1 << 20, 1 << 20);
    for (unsigned i = 0; i < PEOPLE; i++)
        put(&p, i, i);
    for (unsigned i = 0; i < PEOPLE; i++)
        erase(&p, i);
    play_finish(&p);
    check_places(&p, first, 0);
    for (int again = 1; again < 3 * TOMBSTONE_COMMANDS; again++) {
        erase(&p, 0);
        play_finish(&p);
        check_places(&p, first, again);
        if (again % 5 == 0)
            play_kill(&p, false);
        check_places(&p, first, again);
    }
    play_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(once_beside_commits),
        cmocka_unit_test(a_command_is_found_by_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
