/* A state that goes on with another log: all that it held stays, offsets and versions only grow, what comes again is
 * known again, and after a crash it stands with the old log or with the new one, whole. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "profiler/state_private.h"
#include "tests/support/shop_case.h"

enum { EVENTS = 900, MANY = 6000, KILLS = 20, AGAIN = 50 };

static const char *self;

struct spot {
    char *folder, *path;
    struct shop_for_test shop;
    struct state *s;
    size_t half[SHOP_PARTITIONS];
};

static void spot_init(struct spot *t, size_t events)
{
    *t = (struct spot){.folder = folder_new()};
    t->path = path_in(t->folder, "state");
    t->s = shop_open(t->path, false);
    shop_add(&t->shop, events);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        t->half[p] = t->shop.logs[p].n / 2;
        shop_fold_to(t->s, &t->shop, p, t->half[p]);
        shop_commit(t->s, p);
    }
}

static void spot_free(struct spot *t)
{
    state_close(t->s);
    shop_free(&t->shop);
    folder_free(t->folder);
    free(t->path);
}

static void reopen(struct spot *t)
{
    state_close(t->s);
    t->s = shop_open(t->path, false);
}

static struct state_figures figures_of(struct state *s, uint32_t partition)
{
    struct state_figures f;

    state_figures(s, partition, &f);
    return f;
}

static void adopt(struct state *s, uint32_t partition, int64_t begin)
{
    struct err e = {0};

    if (state_adopt(s, partition, begin, &e) != 0)
        fail_msg("%s", e.text);
}

/* The records from `from` up to `to` of the shop's log, where the state stands. */
static void fold_on(struct spot *t, uint32_t partition, size_t from, size_t to)
{
    int64_t at = figures_of(t->s, partition).offset;
    struct err e = {0};

    for (size_t i = from; i < to; i++) {
        struct log_record r = t->shop.logs[partition].v[i];

        r.offset = at++;
        if (state_fold(t->s, partition, &r, 1, &e) < 0)
            fail_msg("%s", e.text);
    }
}

static void sums_hold(struct spot *t, uint32_t partition)
{
    struct state_figures f = figures_of(t->s, partition);
    uint64_t sum = 0;

    for (int i = 0; i < OUTCOMES; i++)
        sum += f.outcomes[i];
    assert_int_equal(sum, f.offset - f.began);
}

static int64_t version_of(struct spot *t, uint32_t partition, size_t i)
{
    struct state_profile p;
    struct arena a;
    char id[32];

    snprintf(id, sizeof id, "user:u%u-%zu", (unsigned)partition, i);
    arena_init(&a, MIB);
    int rc = state_profile(t->s, partition, str_of(id), &a, &p, NULL);
    arena_deinit(&a);
    if (rc != 0)
        return 0;
    facts_deinit(&p.facts);
    return p.version;
}

/* --- going on ------------------------------------------------------------------------------------------------------
 */

static void it_goes_on(void **unused)
{
    int64_t before[SHOP_IDS], offset;
    struct uid uid;
    struct spot t;

    (void)unused;
    spot_init(&t, EVENTS);
    size_t half = t.half[0], all = t.shop.logs[0].n;
    uint64_t duplicates = figures_of(t.s, 0).outcomes[OUTCOME_DUPLICATE];
    for (size_t i = 0; i < SHOP_IDS; i++)
        before[i] = version_of(&t, 0, i);
    adopt(t.s, 0, 7);
    for (int round = 0; round < 2; round++) { /* as it is, and read from the disk */
        struct state_figures f = figures_of(t.s, 0);
        assert_int_equal(f.offset - f.base, 7);
        assert_int_equal(f.disk_offset, f.offset);
        assert_int_equal(f.offset, (int64_t)half + STATE_ADOPT_STRETCH);
        assert_false(state_last_event(t.s, 0, &offset, &uid));
        sums_hold(&t, 0);
        shop_check_first(t.s, &t.shop, 0, half);
        for (size_t i = 0; i < SHOP_IDS; i++)
            assert_int_equal(version_of(&t, 0, i), before[i]);
        shop_verify(t.s);
        reopen(&t);
    }
    fold_on(&t, 0, half - AGAIN, half); /* what comes again */
    assert_int_equal(figures_of(t.s, 0).outcomes[OUTCOME_DUPLICATE], duplicates + AGAIN);
    for (size_t i = 0; i < SHOP_IDS; i++)
        assert_int_equal(version_of(&t, 0, i), before[i]);
    fold_on(&t, 0, half, all);
    for (size_t i = 0; i < SHOP_IDS; i++) {
        int64_t version = version_of(&t, 0, i);
        assert_true(version == before[i] || version > STATE_ADOPT_STRETCH);
    }
    shop_commit(t.s, 0);
    shop_check_first(t.s, &t.shop, 0, all);
    assert_true(state_last_event(t.s, 0, &offset, &uid));
    assert_int_equal(offset - figures_of(t.s, 0).base, 7 + AGAIN + (int64_t)(all - half) - 1);
    sums_hold(&t, 0);
    for (uint32_t p = 1; p < SHOP_PARTITIONS; p++) {
        assert_int_equal(figures_of(t.s, p).base, 0);
        shop_fold_to(t.s, &t.shop, p, t.shop.logs[p].n);
        shop_commit(t.s, p);
        shop_check(t.s, &t.shop, p);
    }
    shop_verify(t.s);
    spot_free(&t);
}

/* Each log after the other; the new one may begin anywhere. */
static void it_goes_on_again_and_again(void **unused)
{
    static const int64_t begins[] = {0, 0, 1000000, 3, INT64_C(1) << 40};
    int64_t base = 0, offset = 0;
    struct spot t;

    (void)unused;
    spot_init(&t, EVENTS);
    size_t at = t.half[1];
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++, at += 10) {
        adopt(t.s, 1, begins[i]);
        struct state_figures f = figures_of(t.s, 1);
        assert_int_equal(f.offset - f.base, begins[i]);
        assert_true(f.offset > offset);
        assert_true(begins[i] > STATE_ADOPT_STRETCH || f.base > base);
        base = f.base;
        offset = f.offset;
        fold_on(&t, 1, at, at + 10);
        shop_commit(t.s, 1);
        sums_hold(&t, 1);
    }
    shop_check_first(t.s, &t.shop, 1, at);
    shop_verify(t.s);
    spot_free(&t);
}

/* What the topic of bad events says is where the record stands on the log. */
static void bad_records_are_told_by_the_log(void **unused)
{
    const struct state_emission *v;
    struct bad_event bad;
    struct arena a;
    struct spot t;

    (void)unused;
    spot_init(&t, EVENTS);
    adopt(t.s, 2, 40);
    struct log_record r = {
        .kind = LOG_KIND_EVENT, .key = STR_LIT("k"), .value = STR_LIT("poison"), .offset = figures_of(t.s, 2).offset};
    assert_true(state_fold(t.s, 2, &r, 1, NULL) >= 0);
    assert_int_equal(state_emissions(t.s, 2, &v), 1);
    arena_init(&a, MIB);
    assert_int_equal(bad_event_unpack(v->record.value, &a, &bad), CODEC_OK);
    assert_int_equal(bad.log_offset, 40);
    arena_deinit(&a);
    state_emitted(t.s, 2);
    shop_commit(t.s, 2);
    spot_free(&t);
}

static void a_copy_carries_it(void **unused)
{
    struct err e = {0};
    struct spot t;

    (void)unused;
    spot_init(&t, EVENTS);
    char *copy = path_in(t.folder, "copy"), *path = path_in(t.folder, "another");
    adopt(t.s, 0, 5);
    fold_on(&t, 0, t.half[0], t.half[0] + 20);
    shop_commit(t.s, 0);
    struct state_figures f = figures_of(t.s, 0);
    assert_int_equal(state_copy(t.s, copy, &e), 0);
    struct state *other = shop_open(path, false);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        if (state_take_partition(other, p, copy, &e) != 0)
            fail_msg("%s", e.text);
    assert_int_equal(figures_of(other, 0).offset, f.offset);
    assert_int_equal(figures_of(other, 0).base, f.base);
    assert_int_equal(figures_of(other, 0).began, f.began);
    assert_int_equal(figures_of(other, 1).base, 0);
    shop_check_first(other, &t.shop, 0, t.half[0] + 20);
    shop_verify(other);
    state_close(other);
    free(copy);
    free(path);
    spot_free(&t);
}

/* --- crashes ---------------------------------------------------------------------------------------------------------
 */

/* The other process: adopts partition 1, with at most `limit` bytes in a file. */
static int adopt_main(char **argv)
{
    struct state_options o = shop_options(argv[2]);
    struct rlimit limit = {(rlim_t)atoll(argv[3]), (rlim_t)atoll(argv[3])};
    struct state *s = NULL;
    struct err e = {0};

    if (state_open(&o, &s, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    struct state_figures before = figures_of(s, 1);
    if (limit.rlim_cur > 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    int rc = state_adopt(s, 1, 7, &e);
    if (rc != 0 && (!e.text[0] || figures_of(s, 1).offset != before.offset || figures_of(s, 1).base != before.base))
        rc = -EINVAL;
    state_close(s);
    return rc == 0 ? 0 : rc == -EINVAL ? 3 : 1;
}

static pid_t adopt_elsewhere(const struct spot *t, const char *limit)
{
    pid_t child = fork();

    if (child == 0) {
        execl(self, self, "--adopt", t->path, limit, (char *)NULL);
        _exit(127);
    }
    assert_true(child > 0);
    return child;
}

static int ended(pid_t child)
{
    int status;

    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* After whatever happened to it: as before, or with the other log; which? Then it is put back. */
static bool old_or_new(struct spot *t, const char *before)
{
    struct err e = {0};

    t->s = shop_open(t->path, false);
    struct state_figures f = figures_of(t->s, 1);
    bool adopted = f.base != 0;
    assert_int_equal(f.offset, (int64_t)t->half[1] + (adopted ? STATE_ADOPT_STRETCH : 0));
    assert_int_equal(f.base, adopted ? f.offset - 7 : 0);
    sums_hold(t, 1);
    shop_check_first(t->s, &t->shop, 1, t->half[1]);
    shop_verify(t->s);
    if (state_take_partition(t->s, 1, before, &e) != 0)
        fail_msg("%s", e.text);
    state_close(t->s);
    t->s = NULL;
    return adopted;
}

static void a_crash_leaves_the_old_or_the_new(void **unused)
{
    struct spot t;
    struct err e = {0};
    int news = 0, olds = 0;

    (void)unused;
    spot_init(&t, MANY);
    char *before = path_in(t.folder, "before");
    assert_int_equal(state_copy(t.s, before, &e), 0);
    state_close(t.s);
    t.s = NULL;
    int64_t began = clock_monotonic();
    assert_int_equal(ended(adopt_elsewhere(&t, "0")), 0);
    int64_t took = clock_monotonic() - began + 1;
    assert_true(old_or_new(&t, before));
    for (int i = 0; i < KILLS || (i < 10 * KILLS && (!news || !olds)); i++) {
        int64_t us = took * 1000 * (i % KILLS) / (KILLS - 4);
        struct timespec wait = {us / 1000000, us % 1000000 * 1000};
        pid_t child = adopt_elsewhere(&t, "0");

        nanosleep(&wait, NULL); /* the moment is the point */
        kill(child, SIGKILL);
        ended(child);
        if (old_or_new(&t, before))
            news++;
        else
            olds++;
    }
    assert_true(news > 0 && olds > 0);
    free(before);
    spot_free(&t);
}

static void a_full_disk_changes_nothing(void **unused)
{
    struct err e = {0};
    struct spot t;

    (void)unused;
    spot_init(&t, EVENTS);
    char *before = path_in(t.folder, "before");
    assert_int_equal(state_copy(t.s, before, &e), 0);
    state_close(t.s);
    t.s = NULL;
    int status = ended(adopt_elsewhere(&t, "100"));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_false(old_or_new(&t, before));
    free(before);
    spot_free(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_goes_on),
        cmocka_unit_test(it_goes_on_again_and_again),
        cmocka_unit_test(bad_records_are_told_by_the_log),
        cmocka_unit_test(a_copy_carries_it),
        cmocka_unit_test(a_crash_leaves_the_old_or_the_new),
        cmocka_unit_test(a_full_disk_changes_nothing),
    };

    self = argv[0];
    if (argc == 4 && strcmp(argv[1], "--adopt") == 0)
        return adopt_main(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
