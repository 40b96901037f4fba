/* Restoring: it gives the state of the backup, or leaves the one that was there, whatever ends it. */
#include "tests/support/backup_case.h"

enum { KILLS = 16 };

/* --- restoring ---------------------------------------------------------------------------------------------------- */

static int restore(struct spot *t, const char *backup, const char *to, const uint32_t *partitions, size_t n,
                   struct err *e)
{
    struct manifest *m = manifest_of(backup);
    struct state_options so = shop_options(to);
    struct restore_options o = {
        .state = &so, .backup = backup, .manifest = m, .partitions = partitions, .partition_count = n};
    int rc;

    (void)t;
    *e = (struct err){0};
    rc = restore_run(&o, e);
    manifest_free(m);
    return rc;
}

static void close_state(struct spot *t)
{
    state_close(t->s);
    t->s = NULL;
}

static void must_restore(struct spot *t, const char *backup, const char *to, const uint32_t *partitions, size_t n)
{
    struct err e;

    if (restore(t, backup, to, partitions, n, &e) != 0)
        fail_msg("%s", e.text);
}

static void a_restored_state_catches_up(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first"), *elsewhere = path_in(t->folder, "elsewhere");
    struct state *s;

    shop_fold_all(t->s, &t->shop);
    close_state(t);
    must_restore(t, backup, t->state, NULL, 0);
    must_restore(t, backup, elsewhere, NULL, 0);
    for (int i = 0; i < 2; i++) {
        s = shop_open(i ? elsewhere : t->state, false);
        assert_int_equal(shop_offset(s, 0), t->shop.logs[0].n / 2);
        shop_verify(s);
        shop_fold_all(s, &t->shop);
        for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
            shop_check(s, &t->shop, p);
        shop_verify(s);
        state_close(s);
    }
    /* The state before is kept beside; what was restored took nothing from the backup. */
    assert_int_equal(entries(t->folder), 4);
    struct manifest *m = manifest_of(backup);
    must_be_whole(backup, m);
    manifest_free(m);
    free(elsewhere);
    free(backup);
}

static void some_partitions_are_restored(void **state)
{
    struct spot *t = *state;
    static const uint32_t two[] = {0, 2};
    char *backup = make(t, "first"), *other = path_in(t->folder, "other");
    struct state *s;

    shop_fold_all(t->s, &t->shop);
    close_state(t);
    must_restore(t, backup, t->state, two, 2);
    must_restore(t, backup, other, two, 2);
    s = shop_open(t->state, false);
    assert_int_equal(shop_offset(s, 0), t->shop.logs[0].n / 2);
    assert_int_equal(shop_offset(s, 1), t->shop.logs[1].n);
    assert_int_equal(shop_offset(s, 2), t->shop.logs[2].n / 2);
    shop_verify(s);
    shop_fold_all(s, &t->shop);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        shop_check(s, &t->shop, p);
    state_close(s);
    s = shop_open(other, false);
    assert_int_equal(shop_offset(s, 1), 0);
    shop_verify(s);
    state_close(s);
    free(other);
    free(backup);
}

static void damaged_backups_change_nothing(void **state)
{
    struct spot *t = *state;
    static const uint32_t one[] = {1}, none[] = {2};
    char *backup = make(t, "first"), *copy = path_in(backup, "state");
    struct manifest *m = manifest_of(backup);
    struct state *s;
    struct err e;

    shop_fold_all(t->s, &t->shop);
    close_state(t);
    for (size_t i = 0; i < m->file_count; i++) {
        char *path = path_in(copy, m->files[i].name);
        size_t n;
        char *bytes = read_file(path, &n);

        bytes[n / 3] ^= 4;
        write_file(path, bytes, n);
        assert_int_equal(restore(t, backup, t->state, NULL, 0, &e), -EBADMSG);
        assert_non_null(strstr(e.text, m->files[i].name));
        if (m->files[i].partition == 1 || m->files[i].partition == MANIFEST_SHARED) {
            assert_int_equal(restore(t, backup, t->state, one, 1, &e), -EBADMSG);
            assert_non_null(strstr(e.text, m->files[i].name));
        }
        bytes[n / 3] ^= 4;
        write_file(path, bytes, n);
        free(bytes);
        free(path);
    }
    assert_int_equal(entries(t->folder), 2);
    s = shop_open(t->state, true);
    for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
        assert_int_equal(shop_offset(s, p), t->shop.logs[p].n);
    shop_verify(s);
    state_close(s);
    (void)none;
    manifest_free(m);
    free(copy);
    free(backup);
}

static void other_settings_are_refused(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first");
    struct manifest *m = manifest_of(backup);
    struct fold_rules rules = shop_rules;
    struct state_options so = shop_options(t->state);
    struct restore_options o = {.state = &so, .backup = backup, .manifest = m};
    struct err e = {0};

    close_state(t);
    memcpy(rules.currency, "EUR", 4);
    so.rules = &rules;
    assert_int_equal(restore_run(&o, &e), -EINVAL);
    assert_non_null(strstr(e.text, "currency"));
    so.rules = &shop_rules;
    so.partitions = 2;
    assert_int_equal(restore_run(&o, &e), -EINVAL);
    so.partitions = SHOP_PARTITIONS;
    o.reserve_bytes = UINT64_MAX / 2;
    assert_int_equal(restore_run(&o, &e), -ENOSPC);
    assert_int_equal(entries(t->folder), 2);
    manifest_free(m);
    free(backup);
}

/* The other process: restores a whole backup. */
static int restore_main(char **argv)
{
    struct err e;

    return restore(NULL, argv[2], argv[3], NULL, 0, &e) == 0 ? 0 : 1;
}

static pid_t restore_elsewhere(const char *backup, const char *to)
{
    pid_t child = fork();

    if (child == 0) {
        execl("/proc/self/exe", "test_backup", "--restore", backup, to, (char *)NULL);
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

static void a_crash_leaves_a_whole_state(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first");
    int64_t began, took;
    int olds = 0, news = 0;

    shop_fold_all(t->s, &t->shop);
    close_state(t);
    began = clock_monotonic();
    assert_int_equal(ended(restore_elsewhere(backup, t->state)), 0);
    took = clock_monotonic() - began + 1;
    for (int i = 0; i < KILLS || (i < 10 * KILLS && (!olds || !news)); i++) {
        int64_t us = took * 1000 * (i % KILLS) / (KILLS - 4);
        struct timespec wait = {us / 1000000, us % 1000000 * 1000};
        pid_t child;

        t->s = shop_open(t->state, false);
        shop_fold_all(t->s, &t->shop);
        close_state(t);
        child = restore_elsewhere(backup, t->state);
        nanosleep(&wait, NULL); /* the moment is the point */
        kill(child, SIGKILL);
        ended(child);
        t->s = shop_open(t->state, true);
        shop_verify(t->s);
        if (shop_offset(t->s, 0) == (int64_t)t->shop.logs[0].n)
            olds++;
        else
            news++;
        for (uint32_t p = 0; p < SHOP_PARTITIONS; p++)
            assert_int_equal(shop_offset(t->s, p) == (int64_t)t->shop.logs[p].n,
                             shop_offset(t->s, 0) == (int64_t)t->shop.logs[0].n);
        close_state(t);
    }
    assert_true(olds > 0 && news > 0);
    free(backup);
}

static void a_state_in_use_is_not_replaced(void **state)
{
    struct spot *t = *state;
    char *backup = make(t, "first");
    int status = ended(restore_elsewhere(backup, t->state));

    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(entries(t->folder), 2);
    shop_fold_all(t->s, &t->shop);
    shop_verify(t->s);
    free(backup);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        PLACED(a_restored_state_catches_up),    PLACED(some_partitions_are_restored),
        PLACED(damaged_backups_change_nothing), PLACED(other_settings_are_refused),
        PLACED(a_crash_leaves_a_whole_state),   PLACED(a_state_in_use_is_not_replaced),
    };

    if (argc == 4 && strcmp(argv[1], "--restore") == 0)
        return restore_main(argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
