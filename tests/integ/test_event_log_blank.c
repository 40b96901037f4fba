/* Records of the embedded log made anew in their place: the old bytes stand in no file afterwards, and everything else
 * is as it was. */
#include <signal.h>
#include <sys/wait.h>

#include "tests/support/log_bytes.h"
#include "tests/support/log_case.h"

/* One that judges by what a record has in it. */
struct wish {
    const char *text;
    const char *instead; /* NULL: blank */
    int64_t cancel_at;   /* an offset; 0: none */
    int64_t fail_at;
    _Atomic bool stop;
    uint64_t shown, erased_shown;
};

static int judge(void *arg, const struct log_record *r, struct buf *value)
{
    struct wish *w = arg;

    w->shown++;
    w->erased_shown += r->kind == LOG_KIND_ERASED;
    assert_int_equal(value->n, 0);
    if (w->cancel_at && r->offset >= w->cancel_at)
        atomic_store(&w->stop, true);
    if (w->fail_at && r->offset >= w->fail_at)
        return -EIO;
    bool his = (r->value.n && memmem(r->value.p, r->value.n, w->text, strlen(w->text))) ||
               (r->key.n && memmem(r->key.p, r->key.n, w->text, strlen(w->text)));
    if (!his)
        return LOG_KEEP;
    if (!w->instead)
        return LOG_BLANK;
    buf_add_text(value, w->instead);
    return LOG_REPLACE;
}

static uint64_t blank_below(struct event_log *log, struct wish *w, uint32_t partition, int64_t below)
{
    uint64_t n = 0;
    struct err e = {0};

    if (event_log_blank(log, LOG_EVENTS, partition, below, judge, w, &w->stop, &n, &e) != 0)
        fail_msg("%s", e.text);
    return n;
}

static uint64_t blank(struct event_log *log, struct wish *w)
{
    uint64_t n = 0;

    for (uint32_t p = 0; p < event_log_partitions(log, LOG_EVENTS); p++)
        n += blank_below(log, w, p, event_log_end(log, LOG_EVENTS, p));
    return n;
}

/* Values of about 2 KB that do not compress, every `every`th with the text in it. */
static void put_many(struct event_log *log, int n, int every, const char *text, int64_t time)
{
    struct tally t = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
    void *arg = &t;
    char value[2048], key[48];

    for (uint32_t p = 0; p < event_log_partitions(log, LOG_EVENTS); p++)
        t.next[p] = event_log_end(log, LOG_EVENTS, p);
    for (int i = 0; i < n; i++) {
        bool his = i % every == 0;

        for (size_t j = 0; j < sizeof(value); j++)
            value[j] = (char)(rand() % 256);
        memcpy(value, his ? text : "somebody else", his ? 32 : 13);
        snprintf(key, sizeof(key), "%d-%s", i, his ? text : "else");
        struct log_record r = {.key = str_of(key), .value = {value, sizeof(value)}, .time = time + i};
        assert_int_equal(event_log_append(log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, 1, count_done, &arg), LOG_OK);
        if (i % 1000 == 999)
            wait_called(&t, (uint64_t)i + 1);
    }
    wait_called(&t, (uint64_t)n);
    assert_false(t.failed || t.out_of_order);
}

/* What is to be as it was: a hash of everything of the others, and each record's place and time. */
struct contents {
    uint64_t records, others, erased, with_text, hash, times;
};

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char *c = p;

    for (size_t i = 0; i < n; i++)
        h = (h ^ c[i]) * 0x100000001b3;
    return h;
}

static struct contents look(struct event_log *log, const char *text)
{
    struct contents c = {.hash = 0xcbf29ce484222325, .times = 0xcbf29ce484222325};
    struct log_reader *reader = open_reader(log, NULL);
    struct log_record out[100];

    for (uint32_t p = 0; p < event_log_partitions(log, LOG_EVENTS); p++) {
        int64_t next = event_log_begin(log, LOG_EVENTS, p);

        for (int n; (n = read_some(reader, p, out, 100)) > 0;)
            for (int i = 0; i < n; i++) {
                const struct log_record *r = &out[i];
                bool his = (r->value.n && memmem(r->value.p, r->value.n, text, 32)) != 0;

                assert_int_equal(r->offset, next++);
                c.records++;
                c.times = mix(mix(c.times, &r->offset, 8), &r->time, 8);
                c.with_text += his;
                c.erased += r->kind == LOG_KIND_ERASED;
                if (r->kind == LOG_KIND_ERASED)
                    assert_true(r->key.n == 0 && r->value.n == 0);
                if (his || r->kind == LOG_KIND_ERASED)
                    continue;
                c.others++;
                c.hash = mix(mix(c.hash, r->key.p, r->key.n), r->value.p, r->value.n);
            }
        assert_int_equal(next, event_log_end(log, LOG_EVENTS, p));
    }
    log_reader_close(reader);
    return c;
}

static void check_same(struct contents a, struct contents b)
{
    assert_int_equal(a.records, b.records);
    assert_int_equal(a.others, b.others);
    assert_int_equal(a.hash, b.hash);
    assert_int_equal(a.times, b.times);
}

static void check_gone(struct fixture *f, const char *text)
{
    assert_int_equal(files_with(f->folder, "", text), 0);
}

/* From memory and write-ahead file. */
static void test_small(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish w = {.text = text};

    random_text(text);
    f->log = open_log(f->folder, 3, 0, 0);
    put_many(f->log, 300, 7, text, 1000);
    assert_true(files_with(f->folder, ".log", text) > 0);
    struct contents before = look(f->log, text);
    uint64_t bytes = event_log_bytes(f->log);
    assert_int_equal(blank(f->log, &w), 43);
    check_gone(f, text);
    struct contents after = look(f->log, text);
    check_same(before, after);
    assert_int_equal(after.erased, 43);
    assert_int_equal(after.with_text, 0);
    assert_int_equal(event_log_bytes(f->log), bytes);
    /* Once more: there is nothing to do, and what is erased is not shown. */
    w.shown = 0;
    assert_int_equal(blank(f->log, &w), 0);
    assert_int_equal(w.shown, 300 - 43);
    assert_int_equal(w.erased_shown, 0);
    reopen(f, 3, 0, 0);
    check_gone(f, text);
    check_same(before, look(f->log, text));
    assert_int_equal(event_log_bytes(f->log), bytes);
    put_many(f->log, 10, 100, "neighbour-neighbour-neighbour-ne", 1);
    assert_int_equal(look(f->log, text).records, 310);
}

/* From files of all levels, with readers that stand in the range. */
static void test_large(void **state)
{
    struct fixture *f = *state;
    enum { N = 60000 };
    char text[33];
    struct wish w = {.text = text};
    struct log_record out[10];

    random_text(text);
    f->log = open_log(f->folder, 2, 0, 0);
    put_many(f->log, N / 2, 997, text, 1000);
    reopen(f, 2, 0, 0);
    put_many(f->log, N / 2, 997, text, 1000);
    assert_true(files_with(f->folder, ".sst", text) > 0);
    assert_true(files_with(f->folder, ".log", text) > 0);
    struct log_reader *reader[2] = {open_reader(f->log, "slow"), open_reader(f->log, NULL)};
    for (int i = 0; i < 2; i++)
        for (uint32_t p = 0; p < 2; p++)
            assert_int_equal(read_some(reader[i], p, out, 10), 10);
    struct contents before = look(f->log, text);
    int64_t from = clock_monotonic();
    assert_int_equal(blank(f->log, &w), 2 * (N / 2 / 997 + 1));
    print_message("blanking took %lld ms\n", (long long)(clock_monotonic() - from));
    check_gone(f, text);
    for (int i = 0; i < 2; i++)
        for (uint32_t p = 0; p < 2; p++) {
            assert_int_equal(read_some(reader[i], p, out, 10), 10);
            assert_int_equal(out[0].offset, 10);
        }
    log_reader_close(reader[0]);
    log_reader_close(reader[1]);
    check_same(before, look(f->log, text));
    reopen(f, 2, 0, 0);
    check_gone(f, text);
    check_same(before, look(f->log, text));
}

static void test_replaced(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish w = {.text = text, .instead = "a command without a name"};
    struct log_record out[4], command = {.kind = LOG_KIND_COMMAND, .placed = true, .time = 77};

    random_text(text);
    f->log = open_log(f->folder, 1, 0, 0);
    put(f->log, "before", "b", 5);
    command.key = command.value = str_of(text);
    assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &command, NULL, NULL), LOG_OK);
    uint64_t bytes = event_log_bytes(f->log);
    assert_int_equal(blank(f->log, &w), 1);
    check_gone(f, text);
    w.text = w.instead; /* and so it stays */
    assert_int_equal(blank(f->log, &w), 0);
    for (int again = 0; again < 2; again++) {
        struct log_reader *r = open_reader(f->log, NULL);

        assert_int_equal(read_some(r, 0, out, 4), 2);
        assert_true(str_is(out[0].key, "before") && str_is(out[0].value, "b"));
        assert_int_equal(out[1].kind, LOG_KIND_COMMAND);
        assert_int_equal(out[1].time, 77);
        assert_int_equal(out[1].key.n, 0);
        assert_true(str_is(out[1].value, w.instead));
        assert_int_equal(event_log_bytes(f->log), bytes);
        log_reader_close(r);
        reopen(f, 1, 0, 0);
    }
    /* The last record is one that was made anew, and now once more: counts go on where they were. */
    w.instead = NULL;
    assert_int_equal(blank(f->log, &w), 1);
    check_gone(f, w.text);
    reopen(f, 1, 0, 0);
    assert_int_equal(event_log_bytes(f->log), bytes);
    put(f->log, "after", "a", 6);
    assert_int_equal(event_log_bytes(f->log), bytes + 22 + 6);
}

static void test_below(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish w = {.text = text};

    random_text(text);
    f->log = open_log(f->folder, 1, 0, 0);
    put_many(f->log, 20, 1, text, 1);
    assert_int_equal(blank_below(f->log, &w, 0, 0), 0);
    assert_int_equal(blank_below(f->log, &w, 0, 10), 10);
    assert_int_equal(w.shown, 10);
    assert_int_equal(look(f->log, text).with_text, 10);
    assert_int_equal(blank_below(f->log, &w, 0, 1000), 10);
    check_gone(f, text);
    /* An empty partition, and the other topics. */
    assert_int_equal(event_log_blank(f->log, LOG_BAD, 0, 10, judge, &w, NULL, NULL, NULL), 0);
    assert_int_equal(event_log_blank(f->log, LOG_AUDIT, 0, 10, judge, &w, NULL, NULL, NULL), 0);
}

/* Stopped, failed, killed in mind: what is left is done by the next call, though nothing is left to be judged. */
static void test_goes_on(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish w = {.text = text, .cancel_at = 3000};
    struct err e = {0};
    uint64_t n = 0;

    random_text(text);
    f->log = open_log(f->folder, 1, 0, 0);
    put_many(f->log, 4000, 3, text, 1);
    assert_int_equal(event_log_blank(f->log, LOG_EVENTS, 0, 4000, judge, &w, &w.stop, &n, &e), -ECANCELED);
    assert_in_range(n, 500, 1001);
    w = (struct wish){.text = text, .fail_at = 3500};
    e.text[0] = '\0';
    assert_int_equal(event_log_blank(f->log, LOG_EVENTS, 0, 4000, judge, &w, &w.stop, &n, &e), -EIO);
    assert_int_equal(e.text[0], '\0'); /* why is the judge's to say */
    w = (struct wish){.text = text};
    atomic_store(&w.stop, true); /* at once */
    assert_int_equal(event_log_blank(f->log, LOG_EVENTS, 0, 4000, judge, &w, &w.stop, &n, &e), -ECANCELED);
    atomic_store(&w.stop, false);
    reopen(f, 1, 0, 0);
    assert_true(files_with(f->folder, "", text) > 0);
    assert_true(look(f->log, text).with_text > 0);
    assert_true(blank(f->log, &w) > 0);
    check_gone(f, text);
}

/* Nothing is left to be judged, but files are: with many partitions the store leaves them alone. */
static void test_files_are_left(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish w = {.text = text, .cancel_at = 2}, keep = {.text = "nobody"};
    struct err e = {0};
    uint64_t n = 0;

    random_text(text);
    f->log = open_log(f->folder, 100, 0, 0);
    for (int i = 0; i < 3; i++) {
        struct log_record r = {.value = str_of(text), .placed = true, .partition = 5};

        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL), LOG_OK);
    }
    reopen(f, 100, 0, 0);
    assert_int_equal(event_log_blank(f->log, LOG_EVENTS, 5, 3, judge, &w, &w.stop, &n, &e), -ECANCELED);
    assert_int_equal(n, 3);
    reopen(f, 100, 0, 0);
    assert_int_equal(look(f->log, text).with_text, 0);
    assert_int_equal(files_with(f->folder, ".sst", text), 1);
    assert_int_equal(blank_below(f->log, &keep, 5, 3), 0);
    check_gone(f, text);
}

/* What retention has dropped from files that hold something else, too. */
static void test_dropped_files_are_left(void **state)
{
    struct fixture *f = *state;
    char text[33];
    struct wish keep = {.text = "nobody"};
    struct err e = {0};

    random_text(text);
    f->log = open_log(f->folder, 100, 1000, 0);
    for (int64_t i = 0; i < 6; i++) {
        struct log_record r = {
            .value = str_of(i < 3 ? text : "another"), .placed = true, .partition = 5, .time = 1 + 5000 * (i / 3)};

        assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL), LOG_OK);
    }
    reopen(f, 100, 1000, 0);
    assert_int_equal(log_retention_run(local_log(f->log), 5500, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 5), 3);
    assert_int_equal(files_with(f->folder, ".sst", text), 1);
    assert_int_equal(blank_below(f->log, &keep, 5, 6), 0);
    check_gone(f, text);
    assert_int_equal(look(f->log, text).records, 3);
}

/* What retention has dropped stands in files for a while; not after this. */
static void test_dropped(void **state)
{
    struct fixture *f = *state;
    char text[33], newer[33];
    struct wish w = {.text = newer};
    struct err e = {0};

    random_text(text);
    random_text(newer);
    f->log = open_log(f->folder, 1, 1000, 0);
    put_many(f->log, 500, 2, text, 1000);
    put_many(f->log, 500, 2, newer, 10000);
    assert_int_equal(log_retention_run(local_log(f->log), 11001, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 501);
    assert_true(files_with(f->folder, "", text) > 0);
    assert_int_equal(blank(f->log, &w), 249);
    check_gone(f, text);
    check_gone(f, newer);
    /* By what has been made anew retention finds its way, to the last byte. */
    assert_int_equal(log_retention_run(local_log(f->log), 11100, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 600);
    assert_int_equal(log_retention_run(local_log(f->log), 1000000, &e), 0);
    assert_int_equal(event_log_begin(f->log, LOG_EVENTS, 0), 1000);
    assert_int_equal(event_log_bytes(f->log), 0);
}

struct appender {
    struct event_log *log;
    _Atomic bool stop;
    uint64_t appended;
    int64_t longest;
};

static void *append_on(void *arg)
{
    struct appender *a = arg;
    char value[500];

    memset(value, 'x', sizeof(value));
    for (; !atomic_load(&a->stop); a->appended++) {
        struct log_record r = {.key = STR_LIT("k"), .value = {value, sizeof(value)}};
        int64_t from = clock_monotonic();

        if (event_log_append_wait(a->log, LOG_EVENTS, LOG_BY_COLLECTOR, &r, NULL, NULL) != LOG_OK)
            break;
        if (clock_monotonic() - from > a->longest)
            a->longest = clock_monotonic() - from;
    }
    return NULL;
}

/* Reads from the begin to the end again and again. */
static void *read_on(void *arg)
{
    struct appender *a = arg;
    struct log_record out[50];
    struct err e = {0};
    bool good = true;

    while (!atomic_load(&a->stop) && good) {
        struct log_reader *r = NULL;
        int64_t next = 0;
        int n = 0;

        if (log_reader_open(a->log, LOG_EVENTS, NULL, &r, &e) != 0)
            break;
        while (!atomic_load(&a->stop) && (n = log_reader_read(r, 0, out, 50, MIB, &e)) > 0)
            for (int i = 0; i < n; i++)
                good = good && out[i].offset == next++;
        good = good && n >= 0;
        log_reader_close(r);
    }
    return (void *)(intptr_t)good;
}

static void test_others_go_on(void **state)
{
    struct fixture *f = *state;
    pthread_t appends, reads;
    char text[33];
    void *good;

    f->log = open_log(f->folder, 1, 0, 0);
    struct appender a = {.log = f->log};
    random_text(text);
    put_many(f->log, 5000, 11, text, 1);
    assert_int_equal(pthread_create(&appends, NULL, append_on, &a), 0);
    assert_int_equal(pthread_create(&reads, NULL, read_on, &a), 0);
    for (int round = 0; round < 5; round++) {
        struct wish w = {.text = text};

        assert_true(blank(f->log, &w) > 0);
        check_gone(f, text);
        random_text(text);
        put(f->log, text, text, 1);
    }
    atomic_store(&a.stop, true);
    pthread_join(appends, NULL);
    pthread_join(reads, &good);
    assert_true((bool)(intptr_t)good);
    assert_true(a.appended > 0);
    print_message("%llu appends meanwhile, the longest took %lld ms\n", (unsigned long long)a.appended,
                  (long long)a.longest);
    assert_int_equal(look(f->log, text).records, 5005 + a.appended);
}

/* Killed anywhere: the next call finishes it. */
static void test_killed(void **state)
{
    struct fixture *f = *state;
    char text[33];
    int finished = 0;

    f->log = open_log(f->folder, 2, 0, 0);
    for (int round = 0; round < 8; round++) {
        struct wish w = {.text = text};
        int status;

        random_text(text);
        put_many(f->log, 3000, 5, text, 1);
        reopen(f, 2, 0, 0);
        put_many(f->log, 1000, 5, text, 1);
        struct contents before = look(f->log, text);
        event_log_close(f->log);
        pid_t pid = fork();
        if (pid == 0) {
            f->log = open_log(f->folder, 2, 0, 0);
            (void)blank(f->log, &w);
            _exit(0);
        }
        usleep((useconds_t)(rand() % 900000));
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        finished += WIFEXITED(status);
        f->log = open_log(f->folder, 2, 0, 0);
        check_same(before, look(f->log, text));
        (void)blank(f->log, &w);
        check_gone(f, text);
        check_same(before, look(f->log, text));
        assert_int_equal(look(f->log, text).with_text, 0);
    }
    print_message("%d of 8 were not killed\n", finished);
}

/* More rows than files' families: what is cleaned is of one row, what is beside it stays. */
static void test_many_partitions(void **state)
{
    struct fixture *f = *state;
    char text[33], other[33];
    struct wish w = {.text = text};

    random_text(text);
    random_text(other);
    f->log = open_log(f->folder, 200, 0, 0);
    for (uint32_t p = 0; p < 200; p++)
        for (int i = 0; i < 3; i++) {
            struct log_record r = {.value = str_of(i == 1 && p == 70 ? text : other), .placed = true, .partition = p};

            assert_int_equal(event_log_append_wait(f->log, LOG_EVENTS, LOG_BY_COMMAND, &r, NULL, NULL), LOG_OK);
        }
    assert_int_equal(blank_below(f->log, &w, 70, 3), 1);
    check_gone(f, text);
    assert_true(files_with(f->folder, ".sst", other) > 0);
    struct contents c = look(f->log, other);
    assert_int_equal(c.with_text, 599);
    assert_int_equal(c.erased, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_small),
        TEST(test_large),
        TEST(test_replaced),
        TEST(test_below),
        TEST(test_goes_on),
        TEST(test_files_are_left),
        TEST(test_dropped_files_are_left),
        TEST(test_dropped),
        TEST(test_others_go_on),
        TEST(test_killed),
        TEST(test_many_partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
