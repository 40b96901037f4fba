/* The gauges of a disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <cmocka.h>

#include "common/disk.h"
#include "common/limits.h"

static double told(struct stats *s, const char *name)
{
    char line[96];
    struct buf text;
    double value = -1;

    buf_init(&text, MIB);
    stats_write(s, &text);
    buf_add_char(&text, '\0');
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text.p, line);
    if (at)
        value = strtod(at + strlen(line), NULL);
    buf_deinit(&text);
    return value;
}

static void test_gauges(void **state)
{
    (void)state;
    struct stats *s = stats_new();
    struct disk_gauges g = {.folder = "/", .reserve = 12345};
    struct statvfs disk;

    disk_gauges_add(s, &g);
    assert_int_equal(statvfs("/", &disk), 0);
    double whole = (double)disk.f_blocks * (double)disk.f_frsize, free_bytes = told(s, "waymark_disk_free_bytes");
    assert_true(free_bytes > 0 && free_bytes <= whole);
    assert_true(told(s, "waymark_disk_reserve_bytes") == 12345);
    stats_free(s);
}

static void test_folder_not_made_yet(void **state)
{
    (void)state;
    assert_true(disk_free("/nobody/made/this") > 0 || disk_free("/") == 0);
    assert_true(disk_free("/proc") == 0); /* a disk without room */
    assert_int_equal(disk_free("nowhere"), 0);
}

static void test_name_too_long(void **state)
{
    (void)state;
    char path[5000];

    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_int_equal(disk_free(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_folder_not_made_yet),
        cmocka_unit_test(test_name_too_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
