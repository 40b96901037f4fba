/* The thread that makes backups: one at a time, as asked and by the clock, and whole ones only when it ends. */
#include "tests/support/backup_case.h"

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int done, rc;
    char text[4096];
};
#define WAITING                                                                                                        \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, ""                                                  \
    }

static void told(void *arg, int rc, struct str summary, const struct err *why)
{
    struct waiting *w = arg;

    pthread_mutex_lock(&w->lock);
    w->done++;
    w->rc = rc;
    snprintf(w->text, sizeof w->text, "%.*s", STR_ARG(rc == 0 ? summary : str_of(why->text)));
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void wait_for(struct waiting *w, int done)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_MS / 1000;
    pthread_mutex_lock(&w->lock);
    while (w->done < done && rc == 0)
        rc = pthread_cond_timedwait(&w->cond, &w->lock, &until);
    assert_true(w->done >= done);
    pthread_mutex_unlock(&w->lock);
}

static struct backups *start(struct spot *t, struct conf *conf)
{
    struct backups_options o = {.conf = conf, .instance = "one", .state = t->s, .state_options = &t->o};
    struct backups *b = NULL;
    struct err e = {0};

    conf->profiler.backups = t->backups;
    if (backups_start(&o, &b, &e) != 0)
        fail_msg("%s", e.text);
    return b;
}

static void one_is_made_at_a_time(void **state)
{
    struct spot *t = *state;
    struct conf conf = {0};
    struct backups *b = start(t, &conf);
    struct waiting w = WAITING;
    struct backups_progress p;
    int made = 0, busy = 0;
    char name[16];

    assert_int_equal(backups_begin(b, STR_LIT("a/b"), told, &w), BACKUPS_BAD_NAME);
    for (int i = 0; i < 50 && !busy; i++) {
        snprintf(name, sizeof name, "b%d", i);
        assert_int_equal(backups_begin(b, str_of(name), told, &w), BACKUPS_BEGUN);
        made++;
        busy += backups_begin(b, STR_NONE, told, &w) == BACKUPS_BUSY;
        wait_for(&w, made);
        if (!busy) /* the first one was quick, and the other has begun */
            wait_for(&w, ++made);
    }
    assert_int_equal(busy, 1);
    assert_int_equal(w.rc, 0);
    assert_non_null(strstr(w.text, "\"offset\""));
    backups_progress(b, &p);
    assert_false(p.running);
    /* Who was told may ask again at once. */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(backups_begin(b, STR_NONE, told, &w), BACKUPS_BEGUN);
        wait_for(&w, ++made);
    }
    assert_int_equal(backups_begin(b, STR_LIT("b0"), told, &w), BACKUPS_BEGUN);
    wait_for(&w, made + 1);
    assert_int_equal(w.rc, -EEXIST);
    assert_int_equal(entries(t->backups), made);
    backups_stop(b);
}

/* The end ends what is being made, or lets it be whole; who waits is told. */
static void the_end_leaves_whole_ones_only(void **state)
{
    struct spot *t = *state;
    struct conf conf = {0};

    for (int i = 0; i < 8; i++) {
        struct backups *b = start(t, &conf);
        struct timespec wait = {0, i * 2000000};
        struct waiting w = WAITING;
        char name[16];
        size_t before = entries(t->backups);

        snprintf(name, sizeof name, "b%d", i);
        assert_int_equal(backups_begin(b, str_of(name), told, &w), BACKUPS_BEGUN);
        nanosleep(&wait, NULL); /* the moment is the point */
        backups_stop(b);
        assert_int_equal(w.done, 1);
        assert_int_equal(entries(t->backups), before + (w.rc == 0));
    }
}

static size_t scheduled(struct spot *t, int64_t *newest)
{
    DIR *d = opendir(t->backups);
    const struct dirent *f;
    size_t n = 0;

    while (d && (f = readdir(d)) != NULL) {
        char *path = path_in(t->backups, f->d_name);
        struct manifest *m = NULL;

        if (f->d_name[0] != '.' && manifest_read(path, &m, &(struct err){0}) == 0 && m->scheduled) {
            n++;
            if (m->made_at > *newest)
                *newest = m->made_at;
        }
        manifest_free(m);
        free(path);
    }
    if (d)
        closedir(d);
    return n;
}

static void the_clock_makes_them_and_keeps_some(void **state)
{
    struct spot *t = *state;
    struct conf conf = {.profiler = {.backup_interval_ms = 20, .backup_keep = 2}};
    char *asked = make(t, "asked"), *foreign = path_in(t->backups, "foreign");
    struct manifest *m = manifest_of(asked);
    int64_t newest = 0, first = 0, end = clock_monotonic() + WAIT_MS;
    struct backups *b;
    int changes = 0;

    assert_int_equal(mkdir(foreign, 0700), 0);
    b = start(t, &conf);
    while (changes < 6 && clock_monotonic() < end) {
        struct timespec pause = {0, 2000000};
        int64_t now = first;

        scheduled(t, &now);
        changes += now != first;
        first = now;
        nanosleep(&pause, NULL);
    }
    backups_stop(b);
    assert_true(changes >= 6);
    assert_in_range(scheduled(t, &newest), 2, 3); /* the last may have been made while the end came */
    must_be_whole(asked, m);
    assert_int_equal(access(foreign, F_OK), 0);
    /* A start soon after makes none: the last is young. */
    conf.profiler.backup_interval_ms = TIME_HOUR;
    b = start(t, &conf);
    struct waiting w = WAITING;
    assert_int_equal(backups_begin(b, STR_LIT("asked2"), told, &w), BACKUPS_BEGUN);
    wait_for(&w, 1);
    backups_stop(b);
    first = newest;
    scheduled(t, &newest);
    assert_int_equal(first, newest);
    manifest_free(m);
    free(asked);
    free(foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(one_is_made_at_a_time),
        PLACED(the_end_leaves_whole_ones_only),
        PLACED(the_clock_makes_them_and_keeps_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
