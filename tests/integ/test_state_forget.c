/* A partition is taken off the disk: nothing of it is shown or stands in a file, others do not notice, it begins anew,
 * and a crash on the way leaves all of it or nothing. */
#include <assert.h>
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "common/clock.h"
#include "tests/support/shop_case.h"

enum { EVENTS = 900, MANY = 6000, KILLS = 20 };

static const char mark[] = "m4rk0f0n3wh0w4sh3r3";

static void forget(struct state *s, uint32_t partition)
{
    struct err e = {0};

    if (state_forget(s, partition, &e) != 0)
        fail_msg("%s", e.text);
}

/* Somebody of partition 1 who is found by name. */
static void add_marked(struct shop_for_test *shop, char *who, size_t size)
{
    shop_name(who, size, "", mark, 1, 1);
    struct event e = event_at(NULL, who, "marked", INT64_C(1700000000000));
    e.url = STR_LIT("https://shop.example/m4rk0f0n3wh0w4sh3r3");
    log_event(&shop->logs[1], &e);
}

static bool holds(const char *path, const char *needle)
{
    FILE *f = fopen(path, "re");
    struct stat st;

    if (!f || fstat(fileno(f), &st) != 0 || st.st_size == 0) {
        if (f)
            fclose(f);
        return false;
    }
    char *bytes = malloc((size_t)st.st_size);
    assert_non_null(bytes);
    size_t n = fread(bytes, 1, (size_t)st.st_size, f);
    bool has = memmem(bytes, n, needle, strlen(needle)) != NULL;
    free(bytes);
    fclose(f);
    return has;
}

static bool stands_in_a_file(const char *folder, const char *needle)
{
    DIR *d = opendir(folder);
    const struct dirent *f;
    bool has = false;

    assert_non_null(d);
    while ((f = readdir(d)) != NULL) {
        char path[4096];

        snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        has = has || holds(path, needle);
    }
    closedir(d);
    return has;
}

static void nothing_of_it_is_left(void **unused)
{
    struct shop_for_test shop = {0};
    char *folder = folder_new(), *path = path_in(folder, "state"), who[64];
    struct state *s = shop_open(path, false);

    (void)unused;
    shop_add(&shop, EVENTS);
    add_marked(&shop, who, sizeof who);
    shop_fold_all(s, &shop);
    assert_true(stands_in_a_file(path, mark));
    forget(s, 1);
    assert_false(stands_in_a_file(path, mark));
    assert_int_equal(shop_offset(s, 1), 0);
    assert_false(state_dirty(s, 1));
    shop_check(s, &shop, 0);
    shop_check(s, &shop, 1); /* nobody is known */
    shop_check(s, &shop, 2);
    state_close(s);
    s = shop_open(path, false);
    assert_int_equal(shop_offset(s, 1), 0);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        shop_check(s, &shop, p);
    shop_verify(s);
    assert_false(stands_in_a_file(path, mark));
    state_close(s);
    free(path);
    folder_free(folder);
    shop_free(&shop);
}

static void it_begins_anew(void **unused)
{
    struct shop_for_test shop = {0};
    char *folder = folder_new(), *path = path_in(folder, "state"), *copy = path_in(folder, "copy");
    struct state *s = shop_open(path, false);
    struct err e = {0};

    (void)unused;
    shop_add(&shop, EVENTS);
    shop_fold_all(s, &shop);
    assert_int_equal(state_copy(s, copy, &e), 0);
    for (int i = 0; i < 3; i++) {
        forget(s, 1);
        forget(s, 1); /* again, of nothing */
        shop_fold_to(s, &shop, 1, shop.logs[1].n / 2);
        shop_commit(s, 1);
        shop_check(s, &shop, 1);
    }
    forget(s, 1);
    if (state_take_partition(s, 1, copy, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(shop_offset(s, 1), shop.logs[1].n);
    shop_add(&shop, EVENTS);
    shop_fold_all(s, &shop);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        shop_check(s, &shop, p);
    shop_verify(s);
    state_close(s);
    s = shop_open(path, false);
    shop_check(s, &shop, 1);
    shop_verify(s);
    state_close(s);
    free(path);
    free(copy);
    folder_free(folder);
    shop_free(&shop);
}

/* --- meanwhile -------------------------------------------------------------------------------------------------- */

struct reader {
    struct state *s;
    char id[80];
    _Atomic bool end;
    _Atomic uint64_t found, missed;
};

/* Nobody is to look at it; who does so all the same finds it or not. */
static void *look_up(void *arg)
{
    struct reader *r = arg;

    while (!atomic_load(&r->end)) {
        struct state_view v;
        struct err e = {0};
        int rc = state_view(r->s, 1, str_of(r->id), VIEW_PATH | VIEW_ORDERS, &v, &e);

        assert(rc == 0 || rc == STATE_NOT_FOUND);
        atomic_fetch_add(rc == 0 ? &r->found : &r->missed, 1);
        if (rc == 0)
            state_view_free(&v);
    }
    return NULL;
}

static void wait_more(const _Atomic uint64_t *what)
{
    uint64_t before = atomic_load(what);
    int64_t until = clock_monotonic() + 30000;

    while (atomic_load(what) == before)
        assert_true(clock_monotonic() < until);
}

static void who_looks_meanwhile(void **unused)
{
    struct shop_for_test shop = {0};
    char *folder = folder_new(), *path = path_in(folder, "state"), who[64];
    struct reader r = {.s = shop_open(path, false)};
    pthread_t thread;

    (void)unused;
    shop_add(&shop, EVENTS);
    add_marked(&shop, who, sizeof who);
    snprintf(r.id, sizeof r.id, "user:%s", who);
    shop_fold_all(r.s, &shop);
    assert_int_equal(pthread_create(&thread, NULL, look_up, &r), 0);
    for (int i = 0; i < 10; i++) {
        wait_more(&r.found);
        forget(r.s, 1);
        wait_more(&r.missed);
        shop_fold_to(r.s, &shop, 1, shop.logs[1].n);
        shop_commit(r.s, 1);
    }
    atomic_store(&r.end, true);
    pthread_join(thread, NULL);
    shop_check(r.s, &shop, 1);
    shop_verify(r.s);
    state_close(r.s);
    free(path);
    folder_free(folder);
    shop_free(&shop);
}

/* --- crashes ---------------------------------------------------------------------------------------------------- */

/* The other process: opens the state and forgets partition 1. */
static int forget_main(const char *path)
{
    struct state_options o = shop_options(path);
    struct state *s = NULL;
    struct err e = {0};

    if (state_open(&o, &s, &e) != 0 || state_forget(s, 1, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        return 2;
    }
    state_close(s);
    return 0;
}

static pid_t forget_elsewhere(const char *path)
{
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", "test_state_forget", "--forget", path, (char *)NULL);
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

/* Of the shop whose partition 1 may be forgotten; whether it is. Fills it again. */
static bool is_forgotten(const char *path, const struct shop_for_test *shop)
{
    struct state *s = shop_open(path, false);
    int64_t at = shop_offset(s, 1);

    assert_true(at == 0 || at == (int64_t)shop->logs[1].n);
    assert_int_equal(stands_in_a_file(path, mark), at != 0);
    shop_verify(s);
    shop_fold_all(s, shop);
    shop_check(s, shop, 1);
    state_close(s);
    return at == 0;
}

static void a_crash_leaves_all_or_nothing(void **unused)
{
    struct shop_for_test shop = {0};
    char *folder = folder_new(), *path = path_in(folder, "state"), who[64];
    struct state *s = shop_open(path, false);
    int gone = 0, kept = 0;

    (void)unused;
    shop_add(&shop, MANY);
    add_marked(&shop, who, sizeof who);
    shop_fold_all(s, &shop);
    state_close(s);
    int64_t began = clock_monotonic();
    assert_int_equal(ended(forget_elsewhere(path)), 0);
    int64_t took = clock_monotonic() - began + 1;
    assert_true(is_forgotten(path, &shop));
    for (int i = 0; i < KILLS || (i < 10 * KILLS && (!gone || !kept)); i++) {
        int64_t us = took * 1000 * (i % KILLS) / (KILLS - 4);
        struct timespec wait = {us / 1000000, us % 1000000 * 1000};
        pid_t child = forget_elsewhere(path);

        nanosleep(&wait, NULL); /* the moment is the point */
        kill(child, SIGKILL);
        ended(child);
        if (is_forgotten(path, &shop))
            gone++;
        else
            kept++;
    }
    assert_true(gone > 0 && kept > 0);
    free(path);
    folder_free(folder);
    shop_free(&shop);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_of_it_is_left),
        cmocka_unit_test(it_begins_anew),
        cmocka_unit_test(who_looks_meanwhile),
        cmocka_unit_test(a_crash_leaves_all_or_nothing),
    };

    if (argc == 3 && strcmp(argv[1], "--forget") == 0)
        return forget_main(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
