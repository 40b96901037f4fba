/* Making exports while the log, the disk and the program fail: what is declared done is whole, what is not leaves
 * nothing behind. */
#include <dirent.h>
#include <errno.h>

#include "tests/support/traits_case.h"

#include "profiler/copy_files.h"
#include "profiler/export_make.h"
#include "tests/support/fake_log.h"

#define PEOPLE 2000

struct making_case {
    struct traits_case *traits;
    struct fake_log *log;
    char folder[64];
    struct fold_rules rules;
    _Atomic bool stop;
    _Atomic uint64_t looked_at;
    int stop_at; /* sets `stop` at that person; -1 never */
    struct export_request *request;
    struct export_counts counts;
    struct err e;
};

static int setup(void **state)
{
    struct making_case *c = calloc(1, sizeof *c);

    assert_non_null(c);
    traits_case_setup((void **)&c->traits);
    strcpy(c->folder, "/tmp/waymark-export-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    c->log = fake_new();
    c->log->uncounted = true;
    c->rules = (struct fold_rules){.currency = "GBP", .traits = &c->traits->rules};
    c->stop_at = -1;
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct making_case *c = *state;

    export_request_free(c->request);
    event_log_close(&c->log->base);
    copy_remove(c->folder);
    traits_case_teardown((void **)&c->traits);
    free(c);
    return 0;
}

/* Everybody has one address, consent, and a name that is a number. */
static int walk(void *arg, audience_visitor *each, void *each_arg, const _Atomic bool *stop, struct err *e)
{
    struct making_case *c = arg;
    struct facts facts;
    struct traits traits;
    struct arena a;
    int rc = 0;

    (void)e;
    facts_init(&facts);
    traits_init(&traits);
    arena_init(&a, 16 * MIB);
    struct event ev = says(100, 1, "{\"nickname\":\"x\",\"consent\":{\"marketing\":true}}");
    ev.sealed = sealed(c->traits, "{\"traits\":{\"email\":\"a@x.example\"}}");
    assert_int_equal(traits_add_event(&traits, &ev, &c->traits->rules), 0);
    for (int i = 0; i < PEOPLE && rc == 0 && !atomic_load(stop); i++) {
        struct rule_subject s = {.now = 1000, .rules = &c->rules, .facts = &facts, .traits = &traits, .arena = &a};
        char id[32];

        if (i == c->stop_at)
            atomic_store(&c->stop, true);
        snprintf(id, sizeof id, "user:%d", i);
        rc = each(each_arg, str_of(id), &s);
    }
    facts_deinit(&facts);
    traits_deinit(&traits);
    arena_deinit(&a);
    return atomic_load(stop) ? -ECANCELED : rc;
}

static void ask(struct making_case *c, const char *text)
{
    const struct rule_names names = {.traits = c->traits->vocabulary};
    size_t n = strlen(text);
    char *body = calloc(1, n + JSON_PADDING);
    const char *code;

    memcpy(body, text, n);
    export_request_free(c->request);
    c->request = NULL;
    if (export_request_read(body, n, &names, "", &c->request, &code, &c->e) != 0)
        fail_msg("%s", c->e.text);
    free(body);
}

static int make(struct making_case *c, const char *id, const char *sent, uint64_t reserve)
{
    static const unsigned char key[EXPORT_KEY_BYTES] = {1};
    const struct export_order o = {.request = c->request,
                                   .rules = &c->rules,
                                   .country = "",
                                   .key = key,
                                   .reserve = reserve,
                                   .folder = c->folder,
                                   .id = id,
                                   .sent = sent,
                                   .who = "test",
                                   .now = 1000,
                                   .partitions = 1,
                                   .log = &c->log->base,
                                   .walk = walk,
                                   .arg = c,
                                   .stop = &c->stop,
                                   .looked_at = &c->looked_at};

    c->e = (struct err){0};
    return export_make(&o, &c->counts, &c->e);
}

static unsigned files(const struct making_case *c)
{
    DIR *d = opendir(c->folder);
    unsigned n = 0;

    for (const struct dirent *f; (f = readdir(d)) != NULL;)
        n += strcmp(f->d_name, ".") != 0 && strcmp(f->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void whole_with_all_that_the_campaign_notes(void **state)
{
    struct making_case *c = *state;

    ask(c, "{\"format\":\"csv\",\"campaign\":\"spring\",\"hold_out\":0.5,\"columns\":[\"id\",\"traits.nickname\"]}");
    assert_int_equal(make(c, "ex_1", NULL, 0), 0);
    assert_int_equal(c->counts.people, PEOPLE);
    assert_int_equal(c->counts.rows + c->counts.excluded[EXPORT_HELD_OUT], PEOPLE);
    assert_int_equal(c->counts.marked, PEOPLE);
    assert_int_equal(c->log->kept[LOG_BY_PROFILER], PEOPLE);
    assert_int_equal(files(c), 1);
}

static void a_log_that_fails_makes_no_export(void **state)
{
    struct making_case *c = *state;
    static const struct fake_fate fates[] = {
        {.report = LOG_FAILED}, {.refuse = LOG_UNREACHABLE}, {.report = LOG_DISK_FULL}};

    ask(c, "{\"format\":\"google\",\"campaign\":\"spring\",\"delta\":true}");
    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        c->log->fate = fates[i];
        int rc = make(c, "ex_2", NULL, 0);
        assert_true(rc == -EIO || rc == -ENOSPC);
        assert_non_null(strstr(c->e.text, "the log did not take"));
        assert_int_equal(files(c), 0);
    }
    c->log->fate = (struct fake_fate){0};
    assert_int_equal(make(c, "ex_2", NULL, 0), 0); /* another try */
    assert_int_equal(files(c), 2);
}

static void a_log_that_is_slow_is_waited_for(void **state)
{
    struct making_case *c = *state;

    ask(c, "{\"format\":\"google\",\"campaign\":\"spring\"}");
    c->log->fate = (struct fake_fate){.delay = 20};
    assert_int_equal(make(c, "ex_3", NULL, 0), 0);
    assert_int_equal(c->log->kept[LOG_BY_PROFILER], PEOPLE);
    c->log->fate = (struct fake_fate){0};
}

static void a_full_disk_leaves_nothing(void **state)
{
    struct making_case *c = *state;

    ask(c, "{\"format\":\"csv\"}");
    assert_int_equal(make(c, "ex_4", NULL, UINT64_MAX / 2), -ENOSPC);
    assert_non_null(strstr(c->e.text, "disk is full"));
    assert_int_equal(files(c), 0);
}

static void stopped_it_leaves_nothing(void **state)
{
    struct making_case *c = *state;

    ask(c, "{\"format\":\"meta\",\"campaign\":\"c\",\"delta\":true}");
    c->stop_at = PEOPLE / 2;
    assert_int_equal(make(c, "ex_5", NULL, 0), -ECANCELED);
    assert_int_equal(files(c), 0);
    assert_int_equal(c->log->kept[LOG_BY_PROFILER], 0); /* nobody is marked by an export that is not */
}

static void a_damaged_memory_of_the_one_before_is_told(void **state)
{
    struct making_case *c = *state;
    char path[128];
    FILE *f;

    ask(c, "{\"format\":\"meta\",\"delta\":true}");
    snprintf(path, sizeof path, "%s/ex_0.sent", c->folder);
    f = fopen(path, "wb");
    fputs("WMSENT1\nshort", f);
    fclose(f);
    assert_int_equal(make(c, "ex_6", path, 0), -EBADMSG);
    assert_non_null(strstr(c->e.text, "the export before"));
    assert_int_equal(files(c), 1);
}

static void nobody_told_twice(void **state)
{
    struct making_case *c = *state;
    char path[128];

    ask(c, "{\"format\":\"meta\",\"delta\":true}");
    assert_int_equal(make(c, "ex_7", NULL, 0), 0);
    assert_int_equal(c->counts.added, PEOPLE);
    snprintf(path, sizeof path, "%s/ex_7.sent", c->folder);
    assert_int_equal(make(c, "ex_8", path, 0), 0);
    assert_int_equal(c->counts.rows, 0);
    assert_int_equal(c->counts.unchanged, PEOPLE);
    ask(c, "{\"format\":\"meta\",\"delta\":true,\"purpose\":\"other\"}"); /* nobody consented to that */
    assert_int_equal(make(c, "ex_9", path, 0), 0);
    assert_int_equal(c->counts.removed, PEOPLE);
    assert_int_equal(c->counts.removals[EXPORT_NO_CONSENT], PEOPLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_with_all_that_the_campaign_notes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_fails_makes_no_export, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_is_slow_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(stopped_it_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_memory_of_the_one_before_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_told_twice, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
