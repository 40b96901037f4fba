/* The store under RocksDB's own work: what compaction must leave as it is. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "profiler/store.h"

enum { FIRST = 20, COMMITS = 12, WAIT_MS = 20000 };

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

/* What is written a second time to a key makes RocksDB count its sequence numbers up. */
static void commit(struct store *s, const char *name, unsigned n)
{
    struct store_batch *b = store_batch_new(0);
    struct err e = {0};
    char key[32];

    assert_non_null(b);
    store_batch_put(b, STR_LIT("again"), str_of(name));
    for (unsigned i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%s-%u", name, i);
        store_batch_put(b, str_of(key), STR_LIT("value"));
    }
    if (store_write(s, b, &e) != 0)
        fail_msg("%s", e.text);
    store_batch_free(b);
}

static void count_file(void *arg, const char *name, uint32_t family)
{
    unsigned *n = arg;

    (void)name;
    *n += family == 0;
}

static unsigned files(struct store *s)
{
    unsigned n = 0;

    store_files(s, count_file, &n);
    return n;
}

static void check_key(struct store *s, const char *name, unsigned i)
{
    struct store_value v = {0};
    char key[32];

    snprintf(key, sizeof key, "%s-%u", name, i);
    if (store_get(s, 0, str_of(key), NULL, &v, NULL) != 0)
        fail_msg("%s is gone", key);
    store_value_free(&v);
}

static struct store *open_store(const char *folder)
{
    const struct store_options o = {.path = folder, .partitions = 1, .block_cache_bytes = 1 << 20};
    struct store *s;
    struct err e = {0};

    if (store_open(&o, &s, &e) != 0 || store_make_families(s, &e) != 0)
        fail_msg("%s", e.text);
    return s;
}

/* A look-up that began before the second commit of a fresh state may go on for long. */
static void compaction_keeps_what_the_first_snapshot_sees(void **unused)
{
    char folder[] = "/tmp/waymark-store-XXXXXX", name[16];
    int64_t until = clock_monotonic() + WAIT_MS;

    (void)unused;
    assert_non_null(mkdtemp(folder));
    struct store *s = open_store(folder);
    commit(s, "first", FIRST);
    struct store_snapshot *snap = store_snapshot_new(s);
    assert_non_null(snap);
    for (unsigned i = 0; i < COMMITS; i++) {
        snprintf(name, sizeof name, "c%u", i);
        commit(s, name, 1);
    }
    while (files(s) > COMMITS && clock_monotonic() < until)
        usleep(1000);
    assert_true(files(s) <= COMMITS);
    for (unsigned i = 0; i < FIRST; i++)
        check_key(s, "first", i);
    for (unsigned i = 0; i < COMMITS; i++) {
        snprintf(name, sizeof name, "c%u", i);
        check_key(s, name, 0);
    }
    store_snapshot_free(s, snap);
    store_close(s);
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(compaction_keeps_what_the_first_snapshot_sees)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
