/* What others published on the topic of changes, and when it is found: an owner before may append late, and one without
 * rows has nothing but the topic. */
#include <fcntl.h>
#include <unistd.h>

#include "common/event_log_local.h"
#include "profiler/audience_inside.h"
#include "tests/support/audience_few.h"

/* While it is closed nobody is judged once the rows were compared. */
static _Atomic bool gate_closed;

static void lose_rows(struct audience_play *t)
{
    audience_end(t);
    folder_free(t->rows);
    t->rows = folder_new();
}

/* As another profiler would. */
static void other_says(struct audience_play *t, const char *audience, const char *id, bool entered)
{
    struct audience_change c = {.audience = str_of(audience),
                                .id = str_of(id),
                                .entered = entered,
                                .time = atomic_load(&t->now),
                                .entered_at = atomic_load(&t->now),
                                .version = 1,
                                .rule_version = START + 1,
                                .because = BECAUSE_EVENT,
                                .event_time = TIME_NONE};
    struct buf b;

    buf_init(&b, KIB);
    assert_true(audience_change_write(&c, &b));
    const struct log_record r = {.kind = LOG_KIND_CHANGE, .key = str_of(id + 5), .value = buf_str(&b), .placed = true};
    assert_int_equal(event_log_append_wait(t->log, LOG_AUDIENCES, LOG_BY_PROFILER, &r, NULL, NULL), LOG_OK);
    buf_deinit(&b);
}

/* The last word about somebody on the topic; its strings are in the arena. */
static void last_word(struct audience_play *t, const char *audience, const char *id, struct arena *a,
                      struct audience_change *out)
{
    struct log_reader *reader;
    struct log_record records[64];
    struct err e = {0};
    bool any = false;
    int n;

    assert_int_equal(log_reader_open(t->log, LOG_AUDIENCES, NULL, &reader, &e), 0);
    assert_int_equal(log_reader_seek(reader, 0, 0), 0);
    while ((n = log_reader_read(reader, 0, records, 64, MIB, &e)) > 0)
        for (int i = 0; i < n; i++) {
            struct audience_change c;

            assert_int_equal(audience_change_read(records[i].value, a, &c), 0);
            if (str_is(c.audience, audience) && str_is(c.id, id)) {
                *out = c;
                any = true;
            }
        }
    log_reader_close(reader);
    assert_true(any);
}

static void check_word(struct audience_play *t, const char *audience, const char *id, bool entered,
                       enum change_because because)
{
    struct audience_change c;
    struct arena a;

    arena_init(&a, MIB);
    last_word(t, audience, id, &a, &c);
    if (c.entered != entered || c.because != because)
        fail_msg("%s %s %s because of %s", id, c.entered ? "entered" : "left", audience,
                 audience_change_because(c.because));
    assert_true((c.because == BECAUSE_EVENT) == str_has(c.message_id));
    arena_deinit(&a);
}

static uint64_t size_of(struct audience_play *t, const char *name, bool *partial)
{
    struct audience_info info;
    struct arena a;

    arena_init(&a, MIB);
    assert_int_equal(audiences_get(t->a, str_of(name), &a, &info), 0);
    arena_deinit(&a);
    *partial = info.partial;
    return info.size;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

/* Its record stands between those of ours, and is known before anything more is told. */
static void what_another_says_late_is_taken(void **unused)
{
    static struct audience_play t;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 2");
    view(&t, 0, 1);
    view(&t, 1, 2);
    fold_and_judge(&t);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u1"), false), 1);
    other_says(&t, "a0", "user:u0", true);  /* who is not in it */
    other_says(&t, "a0", "user:u1", false); /* who is */
    view(&t, 2, 2);
    fold_and_judge(&t);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u0"), false), 0);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u1"), false), 1);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u2"), false), 1);
    view(&t, 0, 1);
    fold_and_judge(&t);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u0"), false), 1);
    audience_play_end(&t);
}

/* One who is not there at all leaves by name. */
static void who_is_not_there_leaves(void **unused)
{
    static struct audience_play t;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    view(&t, 0, 1);
    fold_and_judge(&t);
    other_says(&t, "a0", "user:u3", true);
    view(&t, 1, 1);
    fold_and_judge(&t);
    assert_int_equal(published(&t, "a0", STR_LIT("user:u3"), false), 0);
    audience_play_end(&t);
}

static void without_rows_what_decided_is_told(void **unused)
{
    static struct audience_play t;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "days_since(last_seen) < 15");
    audience_define(&t, 1, "pages >= 2");
    audience_define(&t, 2, "pages >= 3");
    fold_and_judge(&t);
    view(&t, 0, 1);
    view(&t, 1, 1);
    view(&t, 3, 3);
    fold_and_judge(&t);
    check_word(&t, "a0", "user:u0", true, BECAUSE_EVENT);
    lose_rows(&t);
    atomic_fetch_add(&t.now, 20 * TIME_DAY);
    view(&t, 1, 1);                       /* of whom the topic says something */
    view(&t, 2, 2);                       /* and of whom it does not */
    audience_define(&t, 2, "pages >= 9"); /* another rule */
    fold(&t);
    audience_begin(&t);
    audience_settle(&t);
    check_word(&t, "a0", "user:u0", false, BECAUSE_TIME);
    check_word(&t, "a1", "user:u1", true, BECAUSE_EVENT);
    check_word(&t, "a1", "user:u2", true, BECAUSE_EVENT);
    check_word(&t, "a2", "user:u3", false, BECAUSE_RULE);
    audience_play_end(&t);
}

/* Whoever was there before a rule is in it by the rule, also where there are no rows. */
static void without_rows_a_rule_that_came_last_decided(void **unused)
{
    static struct audience_play t;

    (void)unused;
    begin_play(&t);
    view(&t, 0, 2);
    fold_and_judge(&t);
    lose_rows(&t);
    t.said = 200 * TIME_DAY;
    audience_define(&t, 0, "pages >= 2");
    fold(&t);
    audience_begin(&t);
    audience_settle(&t);
    check_word(&t, "a0", "user:u0", true, BECAUSE_RULE);
    audience_play_end(&t);
}

static int64_t gated_now(void *arg)
{
    struct audience_play *t = arg;

    while (atomic_load(&gate_closed) && t->a && t->a->parts[0].known)
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    return atomic_load(&t->now);
}

/* A number of those who were judged so far would be too low. */
static void without_rows_nothing_is_told_before_all_are_judged(void **unused)
{
    static struct audience_play t;
    bool partial;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    for (unsigned i = 0; i < USERS; i++)
        view(&t, i, 1);
    fold_and_judge(&t);
    assert_true(audiences_knows(t.a, 0));
    lose_rows(&t);
    view(&t, 0, 1);
    fold(&t);
    atomic_store(&t.shows, false);
    audience_begin(&t);
    t.a->o.now = gated_now;
    atomic_store(&gate_closed, true);
    atomic_store(&t.shows, true);
    audiences_wake(t.a);
    for (int64_t until = clock_monotonic() + SETTLE_MS; !t.a->parts[0].known;) {
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    assert_false(audiences_knows(t.a, 0));
    size_of(&t, "a0", &partial);
    assert_true(partial);
    assert_false(audiences_await(t.a, 50, NULL));
    const _Atomic bool stop = true;
    int64_t since = clock_monotonic();
    assert_false(audiences_await(t.a, TIME_HOUR, &stop));
    assert_true(clock_monotonic() - since < SETTLE_MS);
    atomic_store(&gate_closed, false);
    audience_settle(&t);
    assert_true(audiences_await(t.a, SETTLE_MS, NULL));
    assert_true(audiences_knows(t.a, 0));
    assert_int_equal(size_of(&t, "a0", &partial), USERS);
    assert_false(partial);
    audience_play_end(&t);
}

/* What is written to the log from here on goes to the file. */
static int divert(const char *file)
{
    int was = dup(STDERR_FILENO), to = open(file, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(was >= 0 && to >= 0 && dup2(to, STDERR_FILENO) >= 0);
    close(to);
    return was;
}

static void divert_back(int was, const char *file, char *text, size_t size)
{
    dup2(was, STDERR_FILENO);
    close(was);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    text[fread(text, 1, size - 1, f)] = '\0';
    fclose(f);
    unlink(file);
}

static void drop_topic(struct audience_play *t)
{
    struct err e = {0};

    event_log_close(t->log);
    if (event_log_open_local(&(struct event_log_options){.path = t->topic, .partitions = 1, .retain_ms = 1}, &t->log,
                             &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(log_retention_run(local_log(t->log), clock_now() + TIME_DAY, &e), 0);
    assert_true(event_log_begin(t->log, LOG_AUDIENCES, 0) > 0);
    assert_int_equal(event_log_begin(t->log, LOG_AUDIENCES, 0), event_log_end(t->log, LOG_AUDIENCES, 0));
}

/* Whoever runs the shop is told how many: nothing knows that they were in it before. */
static void without_rows_and_records_people_enter_again_and_the_log_says_so(void **unused)
{
    static struct audience_play t;
    char file[] = "/tmp/waymark-log-XXXXXX", text[4096];
    int was;

    (void)unused;
    close(mkstemp(file));
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    for (unsigned i = 0; i < 3; i++)
        view(&t, i, 1);
    fold_and_judge(&t);
    lose_rows(&t);
    drop_topic(&t);
    was = divert(file);
    audience_begin(&t);
    audience_settle(&t);
    divert_back(was, file, text, sizeof text);
    if (!strstr(text, "3 times somebody entered who may have entered before"))
        fail_msg("%s", text);
    audience_play_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_another_says_late_is_taken),
        cmocka_unit_test(who_is_not_there_leaves),
        cmocka_unit_test(without_rows_what_decided_is_told),
        cmocka_unit_test(without_rows_a_rule_that_came_last_decided),
        cmocka_unit_test(without_rows_and_records_people_enter_again_and_the_log_says_so),
        cmocka_unit_test(without_rows_nothing_is_told_before_all_are_judged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
