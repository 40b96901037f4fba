/* What goes wrong outside: a disk that fills up, records that are damaged behind the state's back. */
#include <errno.h>
#include <sys/mount.h>

#include "profiler/store.h"
#include "proto/keys.h"
#include "tests/support/state_case.h"

static const struct fold_rules rules = {
    .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};

#define AT(minutes) (INT64_C(1700000000000) + (minutes)*TIME_MINUTE)

static struct state_options options_of(const char *path)
{
    return (struct state_options){
        .path = path, .partitions = 1, .rules = &rules, .commit_bytes = 8 * MIB, .cache_bytes = 8 * MIB};
}

static struct state *open_at(const char *path)
{
    struct state_options o = options_of(path);
    struct state *s;
    struct err e = {0};

    if (state_open(&o, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

/* --- damage --------------------------------------------------------------------------------------------------- */

static void fill_log(struct test_log *l)
{
    char a[16], id[16];

    for (int i = 0; i < 3000; i++) {
        struct event e;

        snprintf(a, sizeof a, "a%d", i % 5 < 4 ? 0 : 4); /* the first is large */
        snprintf(id, sizeof id, "m%d", i);
        e = event_at(a, i % 3 ? NULL : "u", id, AT(i * 7919 % 3000));
        if (i % 10 == 0) {
            e.type = EVENT_ORDER;
            e.trust = TRUST_SERVER;
            e.order.order_id = i % 20 ? STR_LIT("O1") : STR_LIT("O2");
            e.order.status = STATUS_CREATED;
            e.order.total = (struct opt){true, i * MICROS};
        }
        log_event(l, &e);
    }
}

static uint64_t differences(const char *path)
{
    struct verify_report report;
    struct state *s = open_at(path);
    struct err e = {0};
    int rc = state_verify(s, NULL, NULL, NULL, &report, &e);

    assert_int_equal(rc, 0);
    state_close(s);
    return report.differences;
}

static struct store *open_store(const char *path)
{
    struct store_options o = {.path = path, .partitions = 1, .block_cache_bytes = MIB};
    struct store *s;
    struct err e = {0};

    if (store_open(&o, &s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

/* Changes the n-th record of a kind: `flip` a byte of its value (from the end), or take it away. */
static void damage(struct store *s, char kind, int n, int flip)
{
    struct store_batch *b = store_batch_new(0);
    struct store_iter *it = store_iter_new(s, 0, NULL, false);
    struct str key, value;
    struct err e;
    char *copy;

    store_iter_seek(it, (struct str){&kind, 1});
    while (n-- > 0)
        store_iter_next(it);
    assert_true(store_iter_at(it, &key, &value));
    assert_int_equal(key.p[0], kind);
    if (flip) {
        assert_true(value.n >= (size_t)flip);
        copy = malloc(value.n);
        memcpy(copy, value.p, value.n);
        copy[value.n - (size_t)flip] ^= 1;
        store_batch_put(b, key, (struct str){copy, value.n});
        free(copy);
    } else {
        store_batch_delete(b, key);
    }
    store_iter_free(it);
    assert_int_equal(store_write(s, b, &e), 0);
    store_batch_free(b);
}

static void verify_finds_damage(void **state)
{
    static const struct {
        char kind;
        int n, flip;
    } cases[] = {
        {'F', 0, 0}, {'F', 2, 0}, {'F', 1, 1}, {'F', 0, 5}, {'S', 1, 0}, {'S', 0, 1}, {'P', 0, 0},
        {'P', 3, 0}, {'P', 2, 1}, {'L', 1, 0}, {'U', 0, 0}, {'U', 1, 1}, {'U', 1, 9}, {'O', 0, 0},
        {'O', 1, 0}, {'D', 0, 0}, {'D', 0, 1}, {'K', 0, 0}, {'A', 0, 1}, {'H', 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_log l = {0};
        char *folder = folder_new();
        struct state *s = open_at(folder);
        struct store *store;
        struct err e = {0};
        bool any;

        fill_log(&l);
        for (size_t at = 0; at < l.n; at += 600) {
            assert_true(state_fold(s, 0, l.v + at, 600, &e) >= 0);
            assert_int_equal(state_commit(s, 0, &e), 0);
        }
        state_close(s);
        if (i == 0)
            assert_int_equal(differences(folder), 0);
        store = open_store(folder);
        damage(store, cases[i].kind, cases[i].n, cases[i].flip);
        store_close(store);
        any = differences(folder) > 0;
        if (!any)
            fail_msg("verify did not see damage %zu: %c", i, cases[i].kind);
        folder_free(folder);
        log_free(&l);
    }
}

/* --- a full disk ---------------------------------------------------------------------------------------------- */

static char *full_disk; /* a small tmpfs; needs the right to mount */

/* After a failure too. */
static int unmount_all(void **state)
{
    (void)state;
    if (full_disk) {
        umount2(full_disk, MNT_DETACH);
        rmdir(full_disk);
        free(full_disk);
        full_disk = NULL;
    }
    return 0;
}

static char *full_disk_new(void)
{
    char *folder = folder_new();

    if (mount("none", folder, "tmpfs", 0, "size=48m") != 0) {
        folder_free(folder);
        return NULL;
    }
    return full_disk = folder;
}

static void fill_disk(const char *folder, char *name, size_t size)
{
    char block[4096] = {1};
    FILE *f;

    snprintf(name, size, "%s/ballast", folder);
    f = fopen(name, "w");
    assert_non_null(f);
    setvbuf(f, NULL, _IONBF, 0);
    while (fwrite(block, sizeof block, 1, f) == 1)
        ;
    fclose(f);
}

static void check_everything(struct state *s, const struct test_log *l, size_t n)
{
    const char *ids[] = {"anon:a0", "anon:a1", "user:u", "anon:a4"};
    struct model m;

    model_init(&m, l->v, n, &rules);
    for (size_t i = 0; i < 4; i++) {
        const char *what = profile_differs(s, 0, &m, str_of(ids[i]));

        if (what)
            fail_msg("%s: %s", ids[i], what);
    }
    model_deinit(&m);
}

static int commit_within(struct state *s, int64_t ms, struct err *e)
{
    int64_t end = clock_monotonic() + ms;
    int rc;

    do {
        rc = state_commit(s, 0, e);
        if (rc < 0)
            usleep(50000);
    } while (rc < 0 && clock_monotonic() < end);
    return rc;
}

static void a_full_disk_loses_nothing(void **state)
{
    struct test_log l = {0};
    char *folder = full_disk_new(), path[300], ballast[300];
    struct state_figures f;
    struct err e = {0};
    struct state *s;

    (void)state;
    if (!folder)
        skip();
    snprintf(path, sizeof path, "%s/state", folder);
    s = open_at(path);
    fill_log(&l);
    assert_true(state_fold(s, 0, l.v, 1000, &e) >= 0);
    assert_int_equal(state_commit(s, 0, &e), 0);
    fill_disk(folder, ballast, sizeof ballast);
    assert_true(state_fold(s, 0, l.v + 1000, 1000, &e) >= 0);
    assert_int_equal(state_commit(s, 0, &e), -ENOSPC);
    assert_true(e.retriable && e.text[0]);
    assert_true(state_dirty(s, 0));
    state_figures(s, 0, &f);
    assert_int_equal(f.offset, 2000);
    assert_int_equal(f.disk_offset, 1000);
    check_everything(s, &l, 2000);
    assert_true(state_fold(s, 0, l.v + 2000, 1000, &e) >= 0);
    assert_true(state_commit(s, 0, &e) < 0);
    check_everything(s, &l, 3000);
    unlink(ballast);
    if (commit_within(s, 20000, &e) != 0)
        fail_msg("after there was room again: %s", e.text);
    assert_false(state_dirty(s, 0));
    check_everything(s, &l, 3000);
    state_close(s);
    assert_int_equal(differences(path), 0);
    log_free(&l);
}

/* A crash while the disk is full comes back to what was committed. */
static void a_crash_on_a_full_disk(void **state)
{
    struct test_log l = {0};
    char *folder = full_disk_new(), path[300], ballast[300];
    struct state_figures f;
    struct err e = {0};
    struct state *s;

    (void)state;
    if (!folder)
        skip();
    snprintf(path, sizeof path, "%s/state", folder);
    s = open_at(path);
    fill_log(&l);
    assert_true(state_fold(s, 0, l.v, 1000, &e) >= 0);
    assert_int_equal(state_commit(s, 0, &e), 0);
    fill_disk(folder, ballast, sizeof ballast);
    assert_true(state_fold(s, 0, l.v + 1000, 1000, &e) >= 0);
    assert_int_equal(state_commit(s, 0, &e), -ENOSPC);
    state_close(s);
    unlink(ballast);
    s = open_at(path);
    state_figures(s, 0, &f);
    assert_true(f.offset == 1000 || f.offset == 2000);
    check_everything(s, &l, (size_t)f.offset);
    assert_true(state_fold(s, 0, l.v + f.offset, l.n - (size_t)f.offset, &e) >= 0);
    assert_int_equal(state_commit(s, 0, &e), 0);
    check_everything(s, &l, l.n);
    state_close(s);
    assert_int_equal(differences(path), 0);
    log_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verify_finds_damage),
        cmocka_unit_test_teardown(a_full_disk_loses_nothing, unmount_all),
        cmocka_unit_test_teardown(a_crash_on_a_full_disk, unmount_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
