/* A file that changed looks otherwise, however it changed, and one that did not looks the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_look.h"

static char folder[64], path[96], other[96];

static int begin(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/waymark-look-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static void put(const char *where, const char *text)
{
    FILE *f = fopen(where, "w");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* As one that was written long ago. */
static void age(const char *where)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

    assert_int_equal(utimensat(AT_FDCWD, where, times, 0), 0);
}

static void assert_changes(const struct file_look *before)
{
    struct file_look now = file_look(path);

    assert_false(file_look_same(before, &now));
}

static void what_did_not_change_looks_the_same(void **state)
{
    (void)state;
    put(path, "one");
    struct file_look a = file_look(path), b = file_look(path);
    assert_true(a.there && a.fresh && file_look_same(&a, &b));
    age(path);
    a = file_look(path);
    assert_true(a.there && !a.fresh);
    b = a;
    b.fresh = true;
    assert_true(file_look_same(&a, &b));
}

static void any_change_shows(void **state)
{
    (void)state;
    put(path, "one");
    age(path);
    struct file_look before = file_look(path);
    put(path, "two"); /* as long, written now */
    assert_changes(&before);
    age(path);
    before = file_look(path);
    put(other, "two");
    age(other); /* as long and as old, another file */
    assert_int_equal(rename(other, path), 0);
    assert_changes(&before);
    before = file_look(path);
    assert_int_equal(unlink(path), 0);
    assert_changes(&before);
    before = file_look(path);
    assert_false(before.there);
    put(path, "two");
    assert_changes(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_did_not_change_looks_the_same, begin, end),
        cmocka_unit_test_setup_teardown(any_change_shows, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
