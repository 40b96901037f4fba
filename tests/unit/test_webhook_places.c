/* The files of webhooks. Places: what is written is read, whatever waits; a damaged one is refused, with words. What
 * was given up: without the person, and bounded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "profiler/webhooks_inside.h"

#define PARTITIONS 3

static const struct conf_webhook confs[] = {{.name = "crm"}, {.name = "mail.x-y_z"}};

struct world {
    char folder[64], file[96];
    struct webhooks w;
    struct hook hooks[2];
    struct hook_lane lanes[2][PARTITIONS];
};

static void world_init(struct world *x, const char *folder)
{
    memset(x, 0, sizeof *x);
    snprintf(x->folder, sizeof x->folder, "%s", folder);
    snprintf(x->file, sizeof x->file, "%s/places", folder);
    x->w = (struct webhooks){.o = {.path = x->folder}, .partitions = PARTITIONS, .hooks = x->hooks, .hook_count = 2};
    for (size_t i = 0; i < 2; i++) {
        x->hooks[i].w = &x->w;
        x->hooks[i].conf = &confs[i];
        x->hooks[i].lanes = x->lanes[i];
    }
}

static void world_deinit(struct world *x)
{
    for (size_t i = 0; i < 2; i++)
        for (uint32_t p = 0; p < PARTITIONS; p++)
            hook_lane_forget(&x->lanes[i][p]);
}

static void make_folder(char folder[32])
{
    strcpy(folder, "/tmp/waymark-places-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void remove_folder(const char *folder)
{
    copy_remove(folder);
    assert_int_not_equal(access(folder, F_OK), 0);
}

static void written_is_read(void **state)
{
    char folder[32];
    struct world x, y;
    struct hook_item waits = {.partition = 1, .offset = 90}, dropped = {.partition = 1, .offset = 91, .dropped = true};
    struct stat st;

    (void)state;
    make_folder(folder);
    world_init(&x, folder);
    x.lanes[0][1] = (struct hook_lane){.known = true, .next = 100, .until = 95};
    x.hooks[0].items[0] = &waits;
    x.hooks[0].items[1] = &dropped;
    x.hooks[0].item_count = 2;
    assert_int_equal(hook_lane_put_back(&x.lanes[0][1], 91), 0);
    /* Reads again what an earlier run left: what it had read stands. */
    x.lanes[1][2] = (struct hook_lane){.known = true, .next = 5, .until = INT64_MAX};
    assert_int_equal(places_save(&x.w, NULL), 0);
    assert_int_equal(places_save(&x.w, NULL), 0);
    assert_int_equal(stat(x.file, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    world_init(&y, folder);
    assert_int_equal(places_load(&y.w, NULL), 0);
    assert_true(y.lanes[0][1].known && y.lanes[0][1].next == 100);
    assert_int_equal(y.lanes[0][1].pending_count, 2);
    assert_int_equal(y.lanes[0][1].pending[0] + y.lanes[0][1].pending[1], 181);
    assert_true(y.lanes[1][2].known && y.lanes[1][2].next == INT64_MAX && y.lanes[1][2].pending_count == 0);
    assert_false(y.lanes[0][0].known || y.lanes[0][2].known || y.lanes[1][0].known);
    world_deinit(&y);
    world_deinit(&x);
    remove_folder(folder);
}

static void put(const struct world *x, const char *text)
{
    FILE *f = fopen(x->file, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void none_is_no_mistake(void **state)
{
    char folder[32];
    struct world x;
    struct err e = {0};

    (void)state;
    make_folder(folder);
    world_init(&x, folder);
    assert_int_equal(places_load(&x.w, &e), 0);
    assert_false(x.lanes[0][0].known);
    /* Of hooks and partitions that are no more. */
    put(&x, "waymark webhooks 1\ngone 1 5\ncrm 77 5 4\ncrm 2 6\n");
    assert_int_equal(places_load(&x.w, &e), 0);
    assert_true(x.lanes[0][2].known && x.lanes[0][2].next == 6);
    world_deinit(&x);
    remove_folder(folder);
}

static void damaged_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "waymark webhooks 2\n",
                                        "waymark webhooks 1",
                                        "waymark webhooks 1\ncrm\n",
                                        "waymark webhooks 1\ncrm 1\n",
                                        "waymark webhooks 1\ncrm 1 5",
                                        "waymark webhooks 1\ncrm 1 -5\n",
                                        "waymark webhooks 1\ncrm 1 5 x\n",
                                        "waymark webhooks 1\ncrm 1 5  3\n",
                                        "waymark webhooks 1\n\n",
                                        "waymark webhooks 1\ncrm 1 99999999999999999999\n"};
    char folder[32];
    struct world x;

    (void)state;
    make_folder(folder);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e = {0};

        world_init(&x, folder);
        put(&x, texts[i]);
        if (places_load(&x.w, &e) != -EBADMSG || !strstr(e.text, "is damaged"))
            fail_msg("taken: %s (%s)", texts[i], e.text);
        world_deinit(&x);
    }
    remove_folder(folder);
}

#define RECORD                                                                                                         \
    "{\"audience\":\"loyal\",\"action\":\"left\",\"id\":\"user:ann\",\"time\":\"2026-01-31T12:00:00.000Z\","           \
    "\"version\":1,\"because\":\"time\"}"

static off_t size_of(const char *folder, const char *name)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (stat(path, &st) != 0)
        return -1;
    assert_int_equal(st.st_mode & 0777, 0600);
    return st.st_size;
}

static void given_up(void **state)
{
    char record[] = RECORD;
    struct hook_item i = {.partition = 3,
                          .offset = 17,
                          .time = 1700000000123,
                          .tries = 9,
                          .record = record,
                          .bytes = sizeof record - 1,
                          .why = "the answer is \"500\""};
    char folder[32], path[96], line[1024] = "";
    struct world x;

    (void)state;
    make_folder(folder);
    world_init(&x, folder);
    arena_init(&x.w.arena, MIB);
    hook_bury(&x.hooks[0], &i, "evt_a-3-17");
    snprintf(path, sizeof path, "%s/given-up.ndjson", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    fclose(f);
    assert_non_null(strstr(line, "\"hook\":\"crm\",\"webhook_id\":\"evt_a-3-17\",\"audience\":\"loyal\",\"action\":"
                                 "\"left\",\"changed\":\"2023-11-14T22:13:20.123Z\",\"partition\":3,\"offset\":17,"
                                 "\"tries\":9,\"reason\":\"the answer is \\\"500\\\"\"}\n"));
    assert_null(strstr(line, "ann"));
    /* Full: one old file is kept. */
    for (int k = 0; k < 2; k++) {
        assert_int_equal(truncate(path, (off_t)LIMIT_WEBHOOK_DEAD_BYTES), 0);
        hook_bury(&x.hooks[0], &i, "evt_a-3-17");
        assert_int_equal(size_of(folder, "given-up.old.ndjson"), LIMIT_WEBHOOK_DEAD_BYTES);
        assert_int_equal(size_of(folder, "given-up.ndjson"), strlen(line));
    }
    arena_deinit(&x.w.arena);
    world_deinit(&x);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(none_is_no_mistake),
        cmocka_unit_test(damaged_is_refused),
        cmocka_unit_test(given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
