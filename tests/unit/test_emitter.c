/* Emissions on their way to a log that is played: they arrive in order for each partition, whatever fails; nothing is
 * lost, nothing counts as acked that something unacked stands before, and what is under way has a bound. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/event_log_inside.h"
#include "common/limits.h"
#include "profiler/emitter.h"

#define PARTITIONS 4
#define MOST 30000

/* --- a log ---------------------------------------------------------------------------------------------------- */

struct waiting {
    log_done *done;
    void *arg;
    unsigned number; /* of the emission */
    uint32_t partition;
};

/* One thread, but where a test says otherwise. */
static struct played {
    struct event_log base;
    struct waiting *waiting; /* appended and not answered, in order */
    size_t n;
    enum log_status refuse; /* the next appends, at once */
    size_t room;            /* how many are taken before that; SIZE_MAX: all */
    int64_t end[PARTITIONS];
    unsigned last[PARTITIONS];           /* number of the last record there, from 1 */
    unsigned kept[PARTITIONS][4 * MOST]; /* numbers, as they stand there */
    size_t appends;
    int wakes;
    uint64_t order; /* of a random generator */
} played;

static enum log_status append(struct event_log *log, enum log_topic topic, enum log_by by, const struct log_record *r,
                              size_t n, log_done *done, void *const *args)
{
    unsigned number;

    (void)log;
    assert_int_equal(by, LOG_BY_PROFILER);
    assert_int_equal(n, 1);
    assert_true(topic == LOG_EVENTS || topic == LOG_BAD);
    if (played.room == 0)
        return played.refuse;
    played.room -= played.room != SIZE_MAX;
    assert_int_equal(sscanf(r->value.p, "%u", &number), 1);
    uint32_t partition = topic == LOG_BAD ? 0 : log_record_partition(r, PARTITIONS);
    played.waiting[played.n++] = (struct waiting){done, args[0], number, partition};
    played.appends++;
    return LOG_OK;
}

static const struct event_log_ops ops = {.append = append};

/* Answers the i-th of those that wait. `kept`: it is on the log, whatever the answer. */
static void answer(size_t i, enum log_status status, bool kept)
{
    struct waiting w = played.waiting[i];
    int64_t offset = -1;

    memmove(&played.waiting[i], &played.waiting[i + 1], (--played.n - i) * sizeof w);
    if (kept) {
        offset = played.end[w.partition]++;
        played.kept[w.partition][offset] = w.number;
        played.last[w.partition] = w.number;
    }
    w.done(w.arg, status, w.partition, status == LOG_OK ? offset : -1);
}

static void answer_all(void)
{
    while (played.n > 0)
        answer(0, LOG_OK, true);
}

static void wake(void *arg)
{
    (void)arg;
    played.wakes++;
}

static struct emitter *begin(void)
{
    struct waiting *room = played.waiting ? played.waiting : calloc(MOST, sizeof *room);

    memset(&played, 0, sizeof played);
    played.base.ops = &ops;
    played.waiting = room;
    played.room = SIZE_MAX;
    return emitter_new(&(struct emitter_options){.log = &played.base, .partitions = PARTITIONS, .wake = wake});
}

/* --- emissions ------------------------------------------------------------------------------------------------ */

static struct str heap(const char *text, size_t n)
{
    char *p = calloc(1, n + 1);

    memcpy(p, text, strlen(text) < n ? strlen(text) : n);
    return (struct str){p, n};
}

static struct state_emission emission(unsigned number, uint32_t partition, size_t bytes)
{
    char text[16], key[16];

    snprintf(text, sizeof text, "%u", number);
    for (int i = 0;; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (event_log_partition(str_of(key), PARTITIONS) == partition)
            break;
    }
    return (struct state_emission){
        .topic = LOG_EVENTS,
        .record = {.kind = LOG_KIND_INTERNAL, .key = heap(key, strlen(key)), .value = heap(text, bytes)}};
}

static void take(struct emitter *e, unsigned number, uint32_t partition)
{
    struct state_emission v = emission(number, partition, 16);

    emitter_take(e, &v, 1);
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void test_in_order(void **state)
{
    struct emitter *e = begin();
    enum log_status why = LOG_OK;
    int64_t places[PARTITIONS] = {0, 0, 0, 7};

    (void)state;
    assert_int_equal(emitter_drive(e, &why), EMITTED_ALL);
    for (unsigned i = 1; i <= 6; i++)
        take(e, i, i % 2);
    assert_int_equal(emitter_taken(e), 6);
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(played.n, 6);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(played.waiting[i].number, i + 1);
    assert_int_equal(played.wakes, 0);
    answer(1, LOG_OK, true);
    assert_int_equal(played.wakes, 1);
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(emitter_acked(e), 0); /* the first is not */
    answer(0, LOG_OK, true);
    answer(0, LOG_OK, true);
    assert_int_equal(played.wakes, 2); /* once until it is driven */
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(emitter_acked(e), 3);
    answer_all();
    assert_int_equal(emitter_drive(e, &why), EMITTED_ALL);
    assert_int_equal(emitter_acked(e), 6);
    emitter_places(e, places);
    assert_int_equal(places[0], 3);
    assert_int_equal(places[1], 3);
    assert_int_equal(places[2], 0);
    assert_int_equal(places[3], 7);
    emitter_free(e);
}

/* One fails: it and what is behind it to the same partition is appended again, others not; and nothing more is appended
 * before all have their answers. */
static void test_failure(void **state)
{
    struct emitter *e = begin();
    enum log_status why = LOG_OK;

    (void)state;
    for (unsigned i = 1; i <= 6; i++)
        take(e, i, i % 2);
    emitter_drive(e, &why);
    answer(0, LOG_OK, true);          /* 1, to 1 */
    answer(0, LOG_UNREACHABLE, true); /* 2, to 0; it is on the log all the same */
    take(e, 7, 3);
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(played.n, 4);
    answer_all();
    assert_int_equal(emitter_drive(e, &why), EMITTED_FAILED);
    assert_int_equal(why, LOG_UNREACHABLE);
    assert_int_equal(emitter_acked(e), 1);
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(played.n, 4); /* 2, 4 and 6 again, and 7 */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(played.waiting[i].number, 2 * i + 2);
    assert_int_equal(played.waiting[3].number, 7);
    answer_all();
    assert_int_equal(emitter_drive(e, &why), EMITTED_ALL);
    assert_int_equal(emitter_acked(e), 7);
    assert_int_equal(played.last[0], 6);
    assert_int_equal(played.last[1], 5);
    emitter_free(e);
}

/* Refused at once: in order, too; said when no answer will wake. */
static void test_refused(void **state)
{
    struct emitter *e = begin();
    enum log_status why = LOG_OK;

    (void)state;
    played.room = 2;
    played.refuse = LOG_QUEUE_FULL;
    for (unsigned i = 1; i <= 4; i++)
        take(e, i, 1);
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    answer_all();
    assert_int_equal(emitter_drive(e, &why), EMITTED_FAILED);
    assert_int_equal(why, LOG_QUEUE_FULL);
    assert_int_equal(emitter_acked(e), 2);
    played.room = SIZE_MAX;
    assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
    assert_int_equal(played.waiting[0].number, 3);
    assert_int_equal(played.waiting[1].number, 4);
    answer_all();
    assert_int_equal(emitter_drive(e, &why), EMITTED_ALL);
    emitter_free(e);
}

static void test_bounds(void **state)
{
    struct emitter *e = begin();
    enum log_status why = LOG_OK;
    unsigned n = 0;

    (void)state;
    for (; !emitter_full(e); n++)
        take(e, n + 1, n % PARTITIONS);
    assert_int_equal(n, LIMIT_EMITTED_RECORDS);
    emitter_drive(e, &why);
    assert_int_equal(played.n, LIMIT_EMITTING_RECORDS);
    answer(0, LOG_OK, true);
    emitter_drive(e, &why);
    assert_int_equal(played.n, LIMIT_EMITTING_RECORDS);
    assert_false(emitter_full(e));
    while (emitter_drive(e, &why) == EMITTED_WAITING)
        answer_all();
    assert_int_equal(emitter_acked(e), n);
    /* By size: one that is larger than all goes, too. */
    struct state_emission large[3] = {emission(1, 0, 3 * MIB), emission(2, 0, 3 * MIB), emission(3, 0, 12 * MIB)};
    emitter_take(e, large, 3);
    assert_true(emitter_full(e));
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(emitter_drive(e, &why), EMITTED_WAITING);
        assert_int_equal(played.n, 1);
        assert_int_equal(played.waiting[0].number, i);
        answer_all();
    }
    assert_int_equal(emitter_drive(e, &why), EMITTED_ALL);
    emitter_free(e);
}

/* Its owner goes while some are under way, one of which fails: what it holds is given back by the last answer. */
static void test_leaves(void **state)
{
    struct emitter *e = begin();
    enum log_status why = LOG_OK;

    (void)state;
    for (unsigned i = 1; i <= 3; i++)
        take(e, i, 1);
    emitter_drive(e, &why);
    take(e, 4, 2);
    emitter_free(e);
    answer(1, LOG_FAILED, false);
    answer_all();
    assert_int_equal(played.wakes, 0);
    e = begin();
    take(e, 1, 1);
    emitter_free(e); /* nothing is under way */
}

static unsigned dice(unsigned n)
{
    played.order = played.order * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(played.order >> 33) % n;
}

/* Each number to the partition is there, and the last copy of each stands behind the last copies of those before. */
static void expect_all(uint32_t partition, const uint32_t *to, unsigned taken)
{
    int64_t at = -1;

    for (unsigned number = 1; number <= taken; number++) {
        if (to[number] != partition)
            continue;
        int64_t i = played.end[partition] - 1;
        while (i >= 0 && played.kept[partition][i] != number)
            i--;
        assert_true(i > at);
        at = i;
    }
}

/* Whatever is answered, in whatever order over the partitions: at the end each partition has all of them, in
 * order. */
static void play_at_random(uint64_t seed)
{
    struct emitter *e = begin();
    unsigned taken = 0, tail[PARTITIONS] = {0};
    uint32_t to[1000];
    enum log_status why = LOG_OK;
    uint64_t acked = 0;

    played.order = seed;
    for (unsigned turn = 0; turn < 400 || emitter_acked(e) < taken; turn++) {
        assert_true(turn < 100000);
        if (turn < 400 && dice(3) == 0) {
            uint32_t p = dice(PARTITIONS);
            take(e, ++taken, p);
            tail[p] = taken;
            to[taken] = p;
        }
        played.room = turn < 400 && dice(8) == 0 ? dice(3) : SIZE_MAX;
        played.refuse = LOG_DISK_FULL;
        emitter_drive(e, &why);
        assert_true(emitter_acked(e) >= acked);
        acked = emitter_acked(e);
        for (unsigned i = dice(6); i > 0 && played.n > 0; i--) {
            size_t at = 0; /* the first of some partition: a partition answers in order */
            uint32_t p = dice(PARTITIONS);
            while (at < played.n && played.waiting[at].partition != p)
                at++;
            bool fails = turn < 400 && dice(5) == 0;
            if (at < played.n)
                answer(at, fails ? LOG_FAILED : LOG_OK, !fails || dice(2));
        }
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        assert_int_equal(played.last[p], tail[p]);
        expect_all(p, to, taken);
    }
    emitter_free(e);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        play_at_random(seed);
    free(played.waiting);
    played.waiting = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order), cmocka_unit_test(test_failure), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounds),   cmocka_unit_test(test_leaves),  cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
