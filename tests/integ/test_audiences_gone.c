/* Those whose profiles go, seen from their rows: who leaves, by which word, and that nothing is called gone before. */
#include <errno.h>

#include "common/event_log_inside.h"
#include "common/event_log_local.h"
#include "profiler/audience_inside.h"
#include "tests/support/audience_few.h"

static const unsigned char no_key[ERASURE_KEY_BYTES];
static unsigned alias_count;

static void erase(struct audience_play *t, unsigned user)
{
    struct key_hash hash = key_hash_erasure(no_key, str_of(t->people[user]));
    const struct str name = {t->people[user] + 5, 2};
    char alias[ERASURE_ALIAS_BYTES + 1];
    struct buf b;

    snprintf(alias, sizeof alias, "alias-of-nr-%04u", ++alias_count);
    const struct command c = {.kind = COMMAND_ERASE,
                              .time = atomic_load(&t->now),
                              .user = name,
                              .until = atomic_load(&t->now),
                              .hash = {(char *)hash.b, sizeof hash.b},
                              .alias = {alias, ERASURE_ALIAS_BYTES}};
    buf_init(&b, KIB);
    assert_true(command_pack(&c, &b));
    play_append(&t->p, LOG_KIND_COMMAND, name, buf_str(&b));
    buf_deinit(&b);
}

struct said {
    unsigned entered, left;
};

/* What the topic says of somebody and an audience; `id` NULL: of those whom nothing names. */
static struct said said_of(struct audience_play *t, const char *audience, const char *id)
{
    struct log_reader *reader;
    struct log_record records[64];
    struct said s = {0};
    struct err e = {0};
    struct arena a;
    int n;

    arena_init(&a, MIB);
    assert_int_equal(log_reader_open(t->log, LOG_AUDIENCES, NULL, &reader, &e), 0);
    assert_int_equal(log_reader_seek(reader, 0, event_log_begin(t->log, LOG_AUDIENCES, 0)), 0);
    while ((n = log_reader_read(reader, 0, records, 64, MIB, &e)) > 0)
        for (int i = 0; i < n; i++) {
            struct audience_change c;

            assert_int_equal(audience_change_read(records[i].value, &a, &c), 0);
            assert_true(str_has(c.id) == str_has(records[i].key));
            assert_true(str_has(c.id) || c.because == BECAUSE_ERASED);
            if (!str_is(c.audience, audience) || (id ? !str_is(c.id, id) : str_has(c.id)))
                continue;
            s.entered += c.entered;
            s.left += !c.entered;
        }
    log_reader_close(reader);
    arena_deinit(&a);
    return s;
}

static void drop_topic(struct audience_play *t)
{
    struct err e = {0};

    event_log_close(t->log);
    if (event_log_open_local(&(struct event_log_options){.path = t->topic, .partitions = 1, .retain_ms = 1}, &t->log,
                             &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(log_retention_run(local_log(t->log), clock_now() + TIME_DAY, &e), 0);
    assert_int_equal(event_log_begin(t->log, LOG_AUDIENCES, 0), event_log_end(t->log, LOG_AUDIENCES, 0));
}

static uint64_t size_of(struct audience_play *t, const char *name)
{
    struct audience_info info;
    struct arena a;

    arena_init(&a, MIB);
    assert_int_equal(audiences_get(t->a, str_of(name), &a, &info), 0);
    arena_deinit(&a);
    return info.size;
}

/* Too many changed for notes. */
static void lose_notes(struct audience_play *t)
{
    struct state_changed *changed;
    struct arena a;
    bool all;
    size_t n;

    arena_init(&a, MIB);
    assert_int_equal(state_watch_take(t->p.state, 0, &a, &changed, &n, &all), 0);
    arena_deinit(&a);
}

static void wait_for(_Atomic unsigned *what, unsigned value)
{
    for (int64_t until = clock_monotonic() + SETTLE_MS; atomic_load(what) < value;) {
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

/* --- a log that refuses, or is that of others -------------------------------------------------------------------- */

static struct event_log_ops played;
static const struct event_log_ops *whole;
static _Atomic bool away;
static _Atomic unsigned refusals;

static enum log_status append_unless_away(struct event_log *log, enum log_topic topic, enum log_by by,
                                          const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    if (topic == LOG_AUDIENCES && atomic_load(&away)) {
        atomic_fetch_add(&refusals, 1);
        return LOG_UNREACHABLE;
    }
    return whole->append(log, topic, by, records, n, done, args);
}

static void play_log(struct audience_play *t)
{
    whole = t->log->ops;
    played = *whole;
    t->log->ops = &played;
    atomic_store(&away, false);
    atomic_store(&refusals, 0);
}

static void make_refusing(struct audience_play *t)
{
    audience_end(t);
    play_log(t);
    played.append = append_unless_away;
    audience_begin(t);
}

static int join(struct event_log *log, const struct log_group_options *o, struct err *e)
{
    (void)log;
    (void)o;
    (void)e;
    return 0;
}

/* Before the audiences begin. */
static void make_shared(struct audience_play *t)
{
    play_log(t);
    played.join = join;
}

/* --- a group that gives and takes --------------------------------------------------------------------------------- */

static _Atomic uint64_t stint;
static _Atomic bool is_elsewhere;
static _Atomic unsigned looks;

static uint64_t stint_of(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition;
    atomic_fetch_add(&looks, 1);
    return atomic_load(&stint);
}

static bool elsewhere(void *arg, uint32_t partition)
{
    (void)arg;
    (void)partition;
    return atomic_load(&is_elsewhere);
}

/* As after a start of which the group knows nothing yet. */
static void begin_apart(struct audience_play *t)
{
    struct err e = {0};

    atomic_store(&stint, 0);
    atomic_store(&t->shows, false);
    atomic_store(&is_elsewhere, false);
    t->stats = stats_new();
    if (audiences_start(&(struct audiences_options){.path = t->rows,
                                                    .rules = &t->p.rules,
                                                    .log = t->log,
                                                    .state = t->p.state,
                                                    .stats = t->stats,
                                                    .tags = t->tags,
                                                    .partitions = 1,
                                                    .shows = audience_shows,
                                                    .stint = stint_of,
                                                    .elsewhere = elsewhere,
                                                    .arg = t,
                                                    .now = audience_now},
                        &t->a, &e) != 0)
        fail_msg("%s", e.text);
}

static void let_it_go_round(struct audience_play *t, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        unsigned before = atomic_load(&looks);

        audiences_wake(t->a);
        wait_for(&looks, before + 2);
    }
}

/* --- in the midst of judging others ------------------------------------------------------------------------------ */

/* What happens then is noted after the notes were taken. */
static struct {
    _Atomic bool armed, seen;
    unsigned device; /* becomes somebody's */
} between;

static const struct person *person_of_device(struct audience_play *t, unsigned device)
{
    char id[NAME];

    snprintf(id, sizeof id, "anon:d%u", device);
    struct key_hash hash = state_watch_hash(t->p.state, 0, str_of(id));
    uint32_t number = people_find(&t->a->parts[0].people, &hash);
    return number == PERSON_NONE ? NULL : &t->a->parts[0].people.v[number];
}

static void device_event(struct audience_play *t, unsigned device, const char *user);

/* On the judging thread. */
static int64_t between_now(void *arg)
{
    struct audience_play *t = arg;
    const struct crowd *p = t->a ? &t->a->parts[0] : NULL;
    const struct person *who = p && p->here ? person_of_device(t, between.device) : NULL;

    if (who && who->missed)
        atomic_store(&between.seen, true);
    if (p && p->taken == t->a->round && p->changed_at > 0 && atomic_exchange(&between.armed, false)) {
        device_event(t, between.device, "u3");
        fold(t);
    }
    return atomic_load(&t->now);
}

static void device_event(struct audience_play *t, unsigned device, const char *user)
{
    static char devices[MESSAGES][NAME];
    struct event e = event_at(NULL, NULL, NULL, atomic_load(&t->now) - TIME_HOUR);
    unsigned n = message_count;

    assert_true(n < MESSAGES);
    snprintf(messages[n], NAME, "m%u", n);
    snprintf(devices[n], NAME, "d%u", device);
    e.message_id = str_of(messages[message_count++]);
    e.received = atomic_load(&t->now) + message_count;
    e.trust = TRUST_SERVER;
    e.anonymous_id = str_of(devices[n]);
    e.user_id = user ? str_of(user) : STR_NONE;
    e.type = EVENT_PAGE;
    play_event(&t->p, &e);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

/* Their time comes in the round in which they go: nobody is there, and the note that says who it was comes with the
 * next. Where the machine was too slow for that, another is tried. */
static void who_went_is_waited_for_until_the_note_comes(void **unused)
{
    static struct audience_play t;
    unsigned tries = 0;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "days_since(last_seen) < 15");
    fold_and_judge(&t);
    t.a->o.now = between_now;
    for (; tries < 8 && !atomic_load(&between.seen); tries++) {
        between.device = tries;
        device_event(&t, tries, NULL);
        fold_and_judge(&t);
        atomic_fetch_add(&t.now, 20 * TIME_DAY);
        view(&t, 1, 1);
        fold(&t);
        atomic_store(&between.armed, true);
        audience_settle(&t);
        atomic_store(&between.armed, false);
    }
    for (unsigned i = 0; i < tries; i++) {
        char id[NAME];
        struct said s;

        snprintf(id, sizeof id, "anon:d%u", i);
        s = said_of(&t, "a0", id);
        assert_int_equal(s.entered, 1);
        assert_int_equal(s.left, 1);
    }
    audience_play_end(&t);
}

struct forgetting {
    struct audience_play *t;
    pthread_t thread;
    int rc;
    bool row_left;
    _Atomic unsigned done;
};

static bool has_row(struct audience_play *t, const char *id)
{
    struct key_hash hash = state_watch_hash(t->p.state, 0, str_of(id));
    struct err e = {0};
    struct arena a;
    struct str row;

    arena_init(&a, MIB);
    pthread_rwlock_rdlock(&t->a->lock);
    int rc = row_store_get(t->a->rows, 0, &hash, &a, &row, &e);
    pthread_rwlock_unlock(&t->a->lock);
    arena_deinit(&a);
    return rc == 0;
}

/* As the eraser does: again and again. */
static int forget_in_the_end(struct audience_play *t)
{
    int64_t until = clock_monotonic() + SETTLE_MS;
    struct err e = {0};
    int rc;

    while ((rc = audiences_forget(t->a, &e)) == -EAGAIN && clock_monotonic() < until)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return rc;
}

static void *forget_main(void *arg)
{
    struct forgetting *f = arg;

    f->rc = forget_in_the_end(f->t);
    f->row_left = has_row(f->t, "user:u0");
    atomic_store(&f->done, 1);
    return NULL;
}

/* Whoever cannot be judged yet is not over. */
static void nobody_is_called_gone_while_the_topic_is_away(void **unused)
{
    static struct audience_play t;
    static struct forgetting f;

    (void)unused;
    begin_play(&t);
    make_refusing(&t);
    audience_define(&t, 0, "pages >= 1");
    view(&t, 0, 1);
    view(&t, 1, 1);
    fold_and_judge(&t);
    assert_true(has_row(&t, "user:u0"));
    atomic_store(&away, true);
    erase(&t, 0);
    fold(&t);
    f = (struct forgetting){.t = &t};
    assert_int_equal(pthread_create(&f.thread, NULL, forget_main, &f), 0);
    wait_for(&refusals, 4);
    atomic_store(&away, false);
    pthread_join(f.thread, NULL);
    assert_int_equal(f.rc, 0);
    assert_false(f.row_left);
    assert_int_equal(said_of(&t, "a0", NULL).left, 1);
    audience_play_end(&t);
}

/* An erasure is pending after a start, and the group says only later whose the partition is: it is ours, and its people
 * are who they were. Nothing names who was erased. */
static void what_comes_back_is_taken_in_as_it_was(void **unused)
{
    static struct audience_play t;
    struct err e = {0};

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    view(&t, 0, 1);
    view(&t, 1, 1);
    fold_and_judge(&t);
    audience_end(&t);
    erase(&t, 1);
    fold(&t);
    play_kill(&t.p, false);
    drop_topic(&t);
    begin_apart(&t);
    let_it_go_round(&t, 2);
    assert_int_equal(audiences_forget(t.a, &e), -EAGAIN);
    let_it_go_round(&t, 3);
    assert_true(audiences_leave_rows(t.a, 0));
    atomic_store(&stint, 1);
    atomic_store(&t.shows, true);
    audience_settle(&t);
    struct said s = said_of(&t, "a0", NULL);
    assert_int_equal(s.entered, 0);
    assert_int_equal(s.left, 1);
    assert_int_equal(size_of(&t, "a0"), 1);
    assert_int_equal(forget_in_the_end(&t), 0);
    assert_false(audiences_leave_rows(t.a, 0));
    assert_false(has_row(&t, "user:u1"));
    assert_true(has_row(&t, "user:u0"));
    audience_play_end(&t);
}

static void what_is_anothers_goes(void **unused)
{
    static struct audience_play t;
    struct err e = {0};

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    view(&t, 0, 1);
    view(&t, 1, 1);
    fold_and_judge(&t);
    audience_end(&t);
    erase(&t, 1);
    fold(&t);
    begin_apart(&t);
    let_it_go_round(&t, 2);
    assert_int_equal(audiences_forget(t.a, &e), -EAGAIN);
    let_it_go_round(&t, 2);
    assert_true(audiences_leave_rows(t.a, 0));
    atomic_store(&is_elsewhere, true);
    assert_int_equal(forget_in_the_end(&t), 0);
    assert_int_equal(audiences_tidy(t.a, &e), 0);
    assert_false(audiences_leave_rows(t.a, 0));
    assert_false(has_row(&t, "user:u0") || has_row(&t, "user:u1"));
    audience_play_end(&t);
}

/* Another life has begun by the time they are judged: it is in nothing since before it was. */
static void who_lives_anew_has_left_before(void **unused)
{
    static struct audience_play t;
    struct said s;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    audience_define(&t, 1, "pages >= 2");
    view(&t, 0, 1);
    view(&t, 0, 1);
    view(&t, 1, 1);
    fold_and_judge(&t);
    audience_end(&t);
    erase(&t, 0);
    atomic_fetch_add(&t.now, TIME_DAY);
    view(&t, 0, 1);
    fold(&t);
    audience_begin(&t);
    audience_settle(&t);
    assert_int_equal(said_of(&t, "a0", NULL).left, 1);
    assert_int_equal(said_of(&t, "a1", NULL).left, 1);
    s = said_of(&t, "a0", "user:u0");
    assert_int_equal(s.entered, 2);
    assert_int_equal(s.left, 0);
    assert_int_equal(said_of(&t, "a1", "user:u0").entered, 1);
    assert_int_equal(size_of(&t, "a0"), 2);
    assert_int_equal(size_of(&t, "a1"), 0);
    view(&t, 0, 1);
    fold_and_judge(&t);
    assert_int_equal(said_of(&t, "a0", NULL).left, 1); /* once */
    assert_int_equal(size_of(&t, "a1"), 1);
    audience_play_end(&t);
}

/* They went when too many had changed for notes, and the topic does not name them any more: on a log of others they
 * leave by name all the same. */
static void on_a_log_of_others_the_erased_leave_by_name(void **unused)
{
    static struct audience_play t;

    (void)unused;
    begin_play(&t);
    audience_define(&t, 0, "pages >= 1");
    view(&t, 0, 1);
    view(&t, 1, 1);
    fold_and_judge(&t);
    audience_end(&t);
    erase(&t, 1);
    fold(&t);
    lose_notes(&t);
    drop_topic(&t);
    make_shared(&t);
    audience_begin(&t);
    audience_settle(&t);
    struct said s = said_of(&t, "a0", "user:u1");
    assert_int_equal(s.left, 1);
    assert_int_equal(said_of(&t, "a0", NULL).left, 0);
    audience_play_end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_went_is_waited_for_until_the_note_comes),
        cmocka_unit_test(nobody_is_called_gone_while_the_topic_is_away),
        cmocka_unit_test(what_comes_back_is_taken_in_as_it_was),
        cmocka_unit_test(what_is_anothers_goes),
        cmocka_unit_test(who_lives_anew_has_left_before),
        cmocka_unit_test(on_a_log_of_others_the_erased_leave_by_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
