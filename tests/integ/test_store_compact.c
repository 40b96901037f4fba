/* What was deleted or overwritten is in no file of the store once it has been written anew: the files are searched. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "profiler/store.h"

enum { PARTITIONS = 2, RECORDS = 200, COMMITS = 30 };

struct shop {
    char folder[64];
    struct store *s;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static void open_it(struct shop *k)
{
    const struct store_options o = {.path = k->folder, .partitions = PARTITIONS, .block_cache_bytes = 1 << 20};
    struct err e = {0};

    if (store_open(&o, &k->s, &e) != 0 || store_make_families(k->s, &e) != 0)
        fail_msg("%s", e.text);
}

static int setup(void **state)
{
    struct shop *k = calloc(1, sizeof *k);

    assert_non_null(k);
    strcpy(k->folder, "/tmp/waymark-compact-XXXXXX");
    assert_non_null(mkdtemp(k->folder));
    open_it(k);
    *state = k;
    return 0;
}

static int teardown(void **state)
{
    struct shop *k = *state;

    store_close(k->s);
    nftw(k->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(k);
    return 0;
}

/* --- content -------------------------------------------------------------------------------------------------- */

/* Bytes that no compression shortens, and that are the same for the same person and number. */
static void secret_of(const char *person, unsigned n, char out[48])
{
    uint64_t h = 1469598103934665603u + n;

    for (const char *c = person; *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211u;
    for (int i = 0; i < 47; i++) {
        h ^= h << 13, h ^= h >> 7, h ^= h << 17;
        out[i] = (char)('a' + h % 26);
    }
    out[47] = '\0';
}

static void write_batch(struct shop *k, struct store_batch *b)
{
    struct err e = {0};

    if (store_write(k->s, b, &e) != 0)
        fail_msg("%s", e.text);
    store_batch_free(b);
}

static void put(struct shop *k, uint32_t family, const char *person, unsigned from, unsigned n)
{
    struct store_batch *b = store_batch_new(family);

    for (unsigned i = from; i < from + n; i++) {
        char key[48], value[48];

        snprintf(key, sizeof key, "Pprefixprefixpre-%s-%05u", person, i);
        secret_of(person, i, value);
        store_batch_put(b, str_of(key), str_of(value));
    }
    write_batch(k, b);
}

static void erase(struct shop *k, uint32_t family, const char *person, unsigned n)
{
    struct store_batch *b = store_batch_new(family);

    for (unsigned i = 0; i < n; i++) {
        char key[48];

        snprintf(key, sizeof key, "Pprefixprefixpre-%s-%05u", person, i);
        store_batch_delete(b, str_of(key));
    }
    write_batch(k, b);
}

static void check_there(struct shop *k, uint32_t family, const char *person, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct store_value v = {0};
        char key[48], value[48];

        snprintf(key, sizeof key, "Pprefixprefixpre-%s-%05u", person, i);
        secret_of(person, i, value);
        assert_int_equal(store_get(k->s, family, str_of(key), NULL, &v, NULL), 0);
        assert_true(str_is(v.bytes, value));
        store_value_free(&v);
    }
}

static bool file_has(const char *path, const char *text)
{
    FILE *f = fopen(path, "r");
    size_t n = strlen(text), held;
    char *all;

    if (!f)
        return false; /* removed meanwhile */
    fseek(f, 0, SEEK_END);
    held = (size_t)ftell(f);
    rewind(f);
    all = malloc(held + 1);
    held = fread(all, 1, held, f);
    fclose(f);
    bool has = held >= n && memmem(all, held, text, n);
    free(all);
    return has;
}

/* How many of the person's secrets stand in any file. */
static unsigned traces(const struct shop *k, const char *person, unsigned n)
{
    DIR *d = opendir(k->folder);
    const struct dirent *one;
    char path[512], value[48];
    unsigned found = 0;

    assert_non_null(d);
    while ((one = readdir(d))) {
        snprintf(path, sizeof path, "%s/%s", k->folder, one->d_name);
        for (unsigned i = 0; i < n && one->d_type == DT_REG; i++) {
            secret_of(person, i, value);
            found += file_has(path, value);
        }
    }
    closedir(d);
    return found;
}

static int compact(struct shop *k, uint32_t family, struct err *e)
{
    return store_compact(k->s, family, e);
}

static void compact_well(struct shop *k, uint32_t family)
{
    struct err e = {0};

    if (compact(k, family, &e) != 0)
        fail_msg("%s", e.text);
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void what_was_deleted_is_in_no_file(void **state)
{
    struct shop *k = *state;

    put(k, 0, "anna", 0, RECORDS);
    put(k, 0, "berta", 0, RECORDS);
    put(k, 1, "clara", 0, RECORDS);
    erase(k, 0, "anna", RECORDS);
    assert_true(traces(k, "anna", RECORDS) > 0); /* the search finds what is there */
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    check_there(k, 0, "berta", RECORDS);
    check_there(k, 1, "clara", RECORDS);
    store_close(k->s);
    open_it(k);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    check_there(k, 0, "berta", RECORDS);
}

/* One that was compacted before lies in the deepest level, alone. */
static void the_deepest_level_is_written_anew_too(void **state)
{
    struct shop *k = *state;

    put(k, 0, "anna", 0, RECORDS);
    compact_well(k, 0);
    put(k, 0, "berta", 0, RECORDS);
    compact_well(k, 0);
    erase(k, 0, "anna", RECORDS);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    compact_well(k, 0);
    check_there(k, 0, "berta", RECORDS);
}

static void what_was_overwritten_is_in_no_file(void **state)
{
    struct shop *k = *state;
    struct store_batch *b = store_batch_new(0);

    put(k, 0, "anna", 0, RECORDS);
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[48];

        snprintf(key, sizeof key, "Pprefixprefixpre-anna-%05u", i);
        store_batch_put(b, str_of(key), STR_LIT("empty"));
    }
    write_batch(k, b);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
}

static void an_empty_family_is_no_failure(void **state)
{
    struct shop *k = *state;

    compact_well(k, 1);
    compact_well(k, STORE_SHARED);
}

/* Who reads the state as it was is not cut off, and it is not said that everything is gone. */
static void a_snapshot_of_before_hinders(void **state)
{
    struct shop *k = *state;
    struct err e = {0};

    put(k, 0, "anna", 0, RECORDS);
    struct store_snapshot *snap = store_snapshot_new(k->s);
    erase(k, 0, "anna", RECORDS);
    assert_int_equal(compact(k, 0, &e), -EAGAIN);
    assert_non_null(strstr(e.text, "as it was before"));
    store_snapshot_free(k->s, snap);
    snap = store_snapshot_new(k->s); /* of now: nothing of before is in it */
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    store_snapshot_free(k->s, snap);
}

static void a_walk_of_before_hinders(void **state)
{
    struct shop *k = *state;
    struct err e = {0};
    struct str key, value;

    put(k, 0, "anna", 0, RECORDS);
    struct store_iter *it = store_iter_new(k->s, 0, NULL, false);
    store_iter_seek(it, STR_LIT("P"));
    assert_true(store_iter_at(it, &key, &value));
    erase(k, 0, "anna", RECORDS);
    assert_int_equal(compact(k, 0, &e), -EAGAIN);
    assert_non_null(strstr(e.text, "in use"));
    store_iter_free(it);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
}

/* A copy has files of before, in its own folder; ours goes on without them. */
static void a_copy_does_not_hinder(void **state)
{
    struct shop *k = *state;
    char copy[80];
    struct err e = {0};

    put(k, 0, "anna", 0, RECORDS);
    snprintf(copy, sizeof copy, "%s/copy", k->folder);
    assert_int_equal(store_copy(k->s, copy, &e), 0);
    erase(k, 0, "anna", RECORDS);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
}

struct writer {
    struct shop *k;
    _Atomic bool stop;
    unsigned written;
};

static void *write_on(void *arg)
{
    struct writer *w = arg;

    for (unsigned i = 0; i < COMMITS || !atomic_load(&w->stop); i++) {
        put(w->k, 0, "dora", i * 3, 3);
        w->written = i * 3 + 3;
    }
    return NULL;
}

static void beside_a_writer(void **state)
{
    struct shop *k = *state;
    struct writer w = {.k = k};
    pthread_t t;

    put(k, 0, "anna", 0, RECORDS);
    put(k, 0, "berta", 0, RECORDS);
    assert_int_equal(pthread_create(&t, NULL, write_on, &w), 0);
    erase(k, 1, "none", 1);
    for (int i = 0; i < 5; i++)
        compact_well(k, 0);
    atomic_store(&w.stop, true);
    pthread_join(t, NULL);
    erase(k, 0, "anna", RECORDS);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    check_there(k, 0, "berta", RECORDS);
    check_there(k, 0, "dora", w.written);
}

static void none_begins_after_the_stop(void **state)
{
    struct shop *k = *state;
    struct err e = {0};

    put(k, 0, "anna", 0, RECORDS);
    store_compact_stop(k->s);
    assert_int_equal(compact(k, 0, &e), -ECANCELED);
    put(k, 0, "berta", 0, RECORDS);
    check_there(k, 0, "anna", RECORDS);
    check_there(k, 0, "berta", RECORDS);
}

/* A partition that another content takes the place of: what was there is in no file, and it can be written anew. */
static void a_partition_filled_anew(void **state)
{
    struct shop *k = *state;
    struct store_filler *f;
    struct err e = {0};

    put(k, 0, "anna", 0, RECORDS);
    assert_int_equal(store_filler_new(k->s, 0, &f, &e), 0);
    assert_int_equal(store_filler_put(f, STR_LIT("Pprefixprefixpre-other"), STR_LIT("value"), &e), 0);
    assert_int_equal(store_filler_end(f, &e), 0);
    store_filler_swap(f);
    store_filler_free(f);
    put(k, 0, "berta", 0, RECORDS);
    compact_well(k, 0);
    assert_int_equal(traces(k, "anna", RECORDS), 0);
    check_there(k, 0, "berta", RECORDS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(what_was_deleted_is_in_no_file),
                                       TEST(the_deepest_level_is_written_anew_too),
                                       TEST(what_was_overwritten_is_in_no_file),
                                       TEST(an_empty_family_is_no_failure),
                                       TEST(a_snapshot_of_before_hinders),
                                       TEST(a_walk_of_before_hinders),
                                       TEST(a_copy_does_not_hinder),
                                       TEST(beside_a_writer),
                                       TEST(none_begins_after_the_stop),
                                       TEST(a_partition_filled_anew)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
