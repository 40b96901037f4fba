/* Copies of a state that is being folded, and partitions taken out of them by another state: what a copy holds is the
 * fold of the log up to its offsets, and a partition is the old one or that of the copy, whole, whatever happens. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "tests/support/shop_case.h"

enum { EVENTS = 900, COPIES = 6, KILLS = 24, MANY = 12000 };

static const char *self;

static char *copy_of(struct state *s, const char *folder, const char *name)
{
    char *path = path_in(folder, name);
    struct err e = {0};

    if (state_copy(s, path, &e) != 0)
        fail_msg("%s", e.text);
    return path;
}

static void take(struct state *s, uint32_t partition, const char *copy)
{
    struct err e = {0};

    if (state_take_partition(s, partition, copy, &e) != 0)
        fail_msg("%s", e.text);
}

/* --- copies ----------------------------------------------------------------------------------------------------- */

struct load {
    struct state *s;
    struct shop_for_test *shop;
    _Atomic bool copied, ended;
    _Atomic unsigned commits;
    uint64_t chance; /* of its own: rnd() is the main thread's */
};

static unsigned load_below(struct load *l, unsigned n)
{
    l->chance = l->chance * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(l->chance >> 33) % n;
}

/* Folds and commits as a worker does, until the copies are made. */
static void *fold_on(void *arg)
{
    struct load *l = arg;
    bool more = true;

    while (more && !atomic_load(&l->copied)) {
        more = false;
        for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
            size_t at = (size_t)shop_offset(l->s, p), end = at + 1 + load_below(l, 5);

            if (end > l->shop->logs[p].n)
                end = l->shop->logs[p].n;
            more |= end < l->shop->logs[p].n;
            shop_fold_to(l->s, l->shop, p, end);
            if (load_below(l, 3) != 0)
                continue;
            shop_commit(l->s, p);
            atomic_fetch_add(&l->commits, 1);
        }
    }
    atomic_store(&l->ended, true);
    return NULL;
}

/* So that each copy has something that the one before had not. */
static void wait_commit(struct load *l)
{
    unsigned before = atomic_load(&l->commits);

    while (atomic_load(&l->commits) == before && !atomic_load(&l->ended))
        usleep(200);
}

static void a_copy_is_the_fold_of_a_prefix(void **unused)
{
    struct shop_for_test shop = {0};
    char *folder = folder_new(), *state = path_in(folder, "state"), *copies[COPIES], name[16];
    struct load l = {.shop = &shop, .chance = 7};
    int64_t before = -1, grown = 0;
    pthread_t thread;

    (void)unused;
    shop_add(&shop, EVENTS);
    l.s = shop_open(state, false);
    assert_int_equal(pthread_create(&thread, NULL, fold_on, &l), 0);
    for (int i = 0; i < COPIES; i++) {
        snprintf(name, sizeof name, "copy%d", i);
        wait_commit(&l);
        copies[i] = copy_of(l.s, folder, name);
    }
    atomic_store(&l.copied, true);
    pthread_join(thread, NULL);
    for (int i = 0; i < COPIES; i++) {
        struct state *s = shop_open(copies[i], true);
        int64_t sum = 0;

        shop_verify(s);
        for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
            shop_check(s, &shop, p);
            sum += shop_offset(s, p);
        }
        assert_true(sum >= before);
        grown += sum > before;
        before = sum;
        state_close(s);
        free(copies[i]);
    }
    assert_true(grown > 1);
    /* The copied one was not disturbed. */
    shop_fold_all(l.s, &shop);
    shop_verify(l.s);
    state_close(l.s);
    free(state);
    folder_free(folder);
    shop_free(&shop);
}

static void a_copy_needs_a_fresh_folder(void **unused)
{
    char *folder = folder_new(), *state = path_in(folder, "state"), *copy;
    struct state *s = shop_open(state, false);
    struct err e = {0};

    (void)unused;
    copy = copy_of(s, folder, "copy");
    assert_true(state_copy(s, copy, &e) < 0);
    assert_true(e.text[0] != '\0');
    state_close(s);
    s = shop_open(copy, true);
    state_close(s);
    free(copy);
    free(state);
    folder_free(folder);
}

/* --- partitions taken ------------------------------------------------------------------------------------------- */

/* Two states of one log: `a` is far, `b` is not. */
struct two {
    struct shop_for_test shop;
    char *folder, *path_a, *path_b, *copy;
    struct state *b;
    int64_t far[SHOP_PARTITIONS];
};

static void two_init(struct two *t, size_t events)
{
    struct state *a;

    *t = (struct two){.folder = folder_new()};
    t->path_a = path_in(t->folder, "a");
    t->path_b = path_in(t->folder, "b");
    shop_add(&t->shop, events);
    a = shop_open(t->path_a, false);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        t->far[p] = (int64_t)(t->shop.logs[p].n * (p + 2) / 4);
        shop_fold_to(a, &t->shop, p, (size_t)t->far[p] / 2);
        shop_commit(a, p);
        shop_fold_to(a, &t->shop, p, (size_t)t->far[p]);
        shop_commit(a, p);
    }
    t->copy = copy_of(a, t->folder, "copy");
    state_close(a);
    t->b = shop_open(t->path_b, false);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        shop_fold_to(t->b, &t->shop, p, t->shop.logs[p].n / 4);
        shop_commit(t->b, p);
    }
}

static void two_free(struct two *t)
{
    state_close(t->b);
    free(t->path_a);
    free(t->path_b);
    free(t->copy);
    folder_free(t->folder);
    shop_free(&t->shop);
}

static void two_reopen(struct two *t)
{
    state_close(t->b);
    t->b = shop_open(t->path_b, false);
}

static void all_is_as_its_log(struct two *t)
{
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        shop_check(t->b, &t->shop, p);
}

static void a_partition_comes_from_another_state(void **unused)
{
    struct two t;

    (void)unused;
    two_init(&t, EVENTS);
    /* What was folded and not committed goes with the old partition. */
    shop_fold_to(t.b, &t.shop, 1, t.shop.logs[1].n / 4 + 20);
    take(t.b, 1, t.copy);
    assert_int_equal(shop_offset(t.b, 1), t.far[1]);
    assert_int_equal(shop_offset(t.b, 0), t.shop.logs[0].n / 4);
    assert_false(state_dirty(t.b, 1));
    all_is_as_its_log(&t);
    two_reopen(&t);
    assert_int_equal(shop_offset(t.b, 1), t.far[1]);
    shop_verify(t.b);
    all_is_as_its_log(&t);
    shop_fold_all(t.b, &t.shop);
    all_is_as_its_log(&t);
    two_reopen(&t);
    all_is_as_its_log(&t);
    shop_verify(t.b);
    two_free(&t);
}

static void a_partition_is_taken_again_and_again(void **unused)
{
    struct two t;
    char *of_b;

    (void)unused;
    two_init(&t, EVENTS);
    for (int i = 0; i < 3; i++) {
        take(t.b, 2, t.copy);
        shop_fold_to(t.b, &t.shop, 2, t.shop.logs[2].n);
        shop_commit(t.b, 2);
        if (i == 1)
            two_reopen(&t);
        all_is_as_its_log(&t);
    }
    /* A copy of a state that took one is as any other. */
    of_b = copy_of(t.b, t.folder, "copy-of-b");
    take(t.b, 2, t.copy);
    take(t.b, 0, of_b);
    take(t.b, 2, of_b);
    assert_int_equal(shop_offset(t.b, 2), t.shop.logs[2].n);
    all_is_as_its_log(&t);
    two_reopen(&t);
    shop_verify(t.b);
    all_is_as_its_log(&t);
    free(of_b);
    two_free(&t);
}

struct others {
    struct two *t;
    _Atomic bool end;
    _Atomic uint64_t found;
};

/* The worker of the other partitions. */
static void *fold_others(void *arg)
{
    struct others *o = arg;

    for (uint32_t p = 0; p < SHOP_PARTITIONS; p += 2)
        for (size_t at = (size_t)shop_offset(o->t->b, p); at < o->t->shop.logs[p].n; at++) {
            shop_fold_to(o->t->b, &o->t->shop, p, at + 1);
            if (at % 16 == 0)
                shop_commit(o->t->b, p);
        }
    return NULL;
}

/* Nobody is to look at a partition that is replaced; who does so all the same meets the one or the other. */
static void *look_up(void *arg)
{
    struct others *o = arg;
    struct err e;

    for (unsigned i = 0; !atomic_load(&o->end); i++) {
        struct state_profile profile;
        struct state_view view;
        struct str owner;
        struct arena a;
        char who[32], id[40], order_id[32];

        shop_name(who, sizeof who, "", "u", 1, i % SHOP_IDS);
        snprintf(id, sizeof id, "user:%s", who);
        shop_name(order_id, sizeof order_id, "order:", "o", 1, i % 100);
        arena_init(&a, 64 * MIB);
        if (state_profile(o->t->b, 1, str_of(id), &a, &profile, &e) == 0) {
            atomic_fetch_add(&o->found, 1);
            facts_deinit(&profile.facts);
        }
        if (state_order(o->t->b, 1, str_of(order_id), &a, &owner, &e) == 0)
            assert_true(str_starts(owner, STR_LIT("user:")));
        arena_deinit(&a);
        if (state_view(o->t->b, 1, str_of(id), VIEW_PATH | VIEW_ORDERS, &view, &e) == 0)
            state_view_free(&view);
    }
    return NULL;
}

static void others_go_on_meanwhile(void **unused)
{
    struct two t;
    struct others o = {.t = &t};
    pthread_t folds, looks;

    (void)unused;
    two_init(&t, EVENTS);
    assert_int_equal(pthread_create(&folds, NULL, fold_others, &o), 0);
    assert_int_equal(pthread_create(&looks, NULL, look_up, &o), 0);
    for (int i = 0; i < 6 || atomic_load(&o.found) == 0; i++) {
        take(t.b, 1, t.copy);
        shop_fold_to(t.b, &t.shop, 1, (size_t)t.far[1] + 10);
    }
    pthread_join(folds, NULL);
    atomic_store(&o.end, true);
    pthread_join(looks, NULL);
    all_is_as_its_log(&t);
    shop_fold_all(t.b, &t.shop);
    all_is_as_its_log(&t);
    shop_verify(t.b);
    two_free(&t);
}

/* --- what is refused -------------------------------------------------------------------------------------------- */

static void refused(struct two *t, uint32_t partition, const char *copy, int rc, const char *words)
{
    struct err e = {0};
    int64_t before = shop_offset(t->b, partition);

    assert_int_equal(state_take_partition(t->b, partition, copy, &e), rc);
    if (!strstr(e.text, words))
        fail_msg("says \"%s\", not \"%s\"", e.text, words);
    assert_int_equal(shop_offset(t->b, partition), before);
    shop_check(t->b, &t->shop, partition);
}

static void copies_that_do_not_fit_are_refused(void **unused)
{
    struct two t;
    char *other, *none, *fresh;
    struct fold_rules rules = shop_rules;
    struct state_options o;
    struct state *s;
    struct err e = {0};

    (void)unused;
    two_init(&t, 300);
    other = path_in(t.folder, "other");
    none = path_in(t.folder, "none");
    fresh = path_in(t.folder, "fresh");
    rules.session_gap_ms = TIME_HOUR;
    o = shop_options(other);
    o.rules = &rules;
    assert_int_equal(state_open(&o, &s, &e), 0);
    state_close(s);
    refused(&t, 0, other, -EINVAL, "profiler.session_gap (3600000ms, now 1800000ms)");
    refused(&t, 0, none, -ENOENT, "there is no state in");
    s = shop_open(fresh, false);
    state_close(s);
    refused(&t, 0, fresh, -ENOENT, "holds nothing of partition 0");
    free(other);
    free(none);
    free(fresh);
    two_free(&t);
}

static void another_number_of_partitions_is_refused(void **unused)
{
    struct two t;
    char *other;
    struct state_options o;
    struct state *s;
    struct err e = {0};

    (void)unused;
    two_init(&t, 300);
    for (uint32_t n = 2; n <= 4; n += 2) {
        other = path_in(t.folder, n == 2 ? "less" : "more");
        o = shop_options(other);
        o.partitions = n;
        assert_int_equal(state_open(&o, &s, &e), 0);
        state_close(s);
        refused(&t, 1, other, -EINVAL, "partitions");
        free(other);
    }
    two_free(&t);
}

/* The greatest file of a folder whose name ends so. */
static char *largest(const char *folder, const char *end)
{
    char *best = NULL;
    off_t size = -1;
    DIR *d = opendir(folder);
    struct dirent *f;
    struct stat st;

    assert_non_null(d);
    while ((f = readdir(d)) != NULL) {
        char *path = path_in(folder, f->d_name);
        size_t n = strlen(path), m = strlen(end);

        if (n > m && strcmp(path + n - m, end) == 0 && stat(path, &st) == 0 && st.st_size > size) {
            free(best);
            best = path;
            size = st.st_size;
        } else {
            free(path);
        }
    }
    closedir(d);
    assert_non_null(best);
    return best;
}

static void a_damaged_copy_leaves_the_partition_as_it_was(void **unused)
{
    struct two t;
    char *file, bytes[64];
    int fd, refusals = 0;

    (void)unused;
    two_init(&t, EVENTS);
    /* Blocks are checked as they are read, whoever checked the file before. */
    file = largest(t.copy, ".sst");
    fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    memset(bytes, 0xa5, sizeof bytes);
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 500), sizeof bytes);
    close(fd);
    free(file);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++) {
        struct err e = {0};
        int64_t before = shop_offset(t.b, p);

        if (state_take_partition(t.b, p, t.copy, &e) < 0) {
            assert_int_equal(shop_offset(t.b, p), before);
            assert_true(e.text[0] != '\0');
            refusals++;
        }
    }
    assert_int_equal(refusals, 1);
    all_is_as_its_log(&t);
    two_reopen(&t);
    all_is_as_its_log(&t);
    shop_verify(t.b);
    two_free(&t);
}

/* --- crashes ---------------------------------------------------------------------------------------------------- */

/* The other process: opens the state, takes partition 1 of the copy, with at most `limit` bytes in a file. */
static int take_main(char **argv)
{
    struct state_options o = shop_options(argv[2]);
    struct rlimit limit = {(rlim_t)atoll(argv[4]), (rlim_t)atoll(argv[4])};
    struct state *s = NULL;
    struct err e = {0};

    if (state_open(&o, &s, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    if (limit.rlim_cur > 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    int rc = state_take_partition(s, 1, argv[3], &e);
    if (rc == 0)
        rc = shop_offset(s, 1) > 0 ? 0 : -1;
    state_close(s);
    return rc == 0 ? 0 : 1;
}

static pid_t take_elsewhere(const struct two *t, const char *limit)
{
    pid_t child = fork();

    if (child == 0) {
        execl(self, self, "--take", t->path_b, t->copy, limit, (char *)NULL);
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

static size_t files_named(const char *folder, const char *part)
{
    DIR *d = opendir(folder);
    const struct dirent *f;
    size_t n = 0;

    assert_non_null(d);
    while ((f = readdir(d)) != NULL)
        n += strstr(f->d_name, part) != NULL;
    closedir(d);
    return n;
}

/* After whatever happened to the taking: the old partition or the new one; which? */
static bool old_or_new(struct two *t, int64_t old)
{
    int64_t is;

    t->b = shop_open(t->path_b, false);
    assert_int_equal(files_named(t->path_b, ".new"), 0);
    is = shop_offset(t->b, 1);
    assert_true(is == old || is == t->far[1]);
    shop_verify(t->b);
    return is == t->far[1];
}

/* Puts partition 1 back to where it was. */
static void put_back(struct two *t, const char *before)
{
    take(t->b, 1, before);
    state_close(t->b);
    t->b = NULL;
}

static int64_t time_of_one(struct two *t, const char *before)
{
    int64_t began = clock_monotonic();

    assert_int_equal(ended(take_elsewhere(t, "0")), 0);
    int64_t took = clock_monotonic() - began;
    assert_true(old_or_new(t, -1));
    put_back(t, before);
    return took;
}

static void a_crash_leaves_the_old_or_the_new(void **unused)
{
    struct two t;
    char *before;
    int64_t old, took;
    int news = 0, olds = 0;

    (void)unused;
    two_init(&t, MANY);
    old = shop_offset(t.b, 1);
    before = copy_of(t.b, t.folder, "before");
    state_close(t.b);
    t.b = NULL;
    took = time_of_one(&t, before) + 1;
    for (int i = 0; i < KILLS || (i < 10 * KILLS && (!news || !olds)); i++) {
        int64_t us = took * 1000 * (i % KILLS) / (KILLS - 4);
        struct timespec wait = {us / 1000000, us % 1000000 * 1000};
        pid_t child = take_elsewhere(&t, "0");

        nanosleep(&wait, NULL); /* the moment is the point */
        kill(child, SIGKILL);
        ended(child);
        if (old_or_new(&t, old))
            news++;
        else
            olds++;
        put_back(&t, before);
    }
    assert_true(news > 0 && olds > 0);
    t.b = shop_open(t.path_b, false);
    shop_fold_all(t.b, &t.shop);
    shop_verify(t.b);
    free(before);
    two_free(&t);
}

static void a_file_that_cannot_be_written_changes_nothing(void **unused)
{
    struct two t;
    int64_t old;
    int status;

    (void)unused;
    two_init(&t, MANY);
    old = shop_offset(t.b, 1);
    state_close(t.b);
    t.b = NULL;
    status = ended(take_elsewhere(&t, "20000"));
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_false(old_or_new(&t, old));
    shop_fold_all(t.b, &t.shop);
    shop_verify(t.b);
    two_free(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_fold_of_a_prefix),
        cmocka_unit_test(a_copy_needs_a_fresh_folder),
        cmocka_unit_test(a_partition_comes_from_another_state),
        cmocka_unit_test(a_partition_is_taken_again_and_again),
        cmocka_unit_test(others_go_on_meanwhile),
        cmocka_unit_test(copies_that_do_not_fit_are_refused),
        cmocka_unit_test(another_number_of_partitions_is_refused),
        cmocka_unit_test(a_damaged_copy_leaves_the_partition_as_it_was),
        cmocka_unit_test(a_crash_leaves_the_old_or_the_new),
        cmocka_unit_test(a_file_that_cannot_be_written_changes_nothing),
    };

    if (argc == 5 && strcmp(argv[1], "--take") == 0)
        return take_main(argv);
    self = "/proc/self/exe";
    return cmocka_run_group_tests(tests, NULL, NULL);
}
