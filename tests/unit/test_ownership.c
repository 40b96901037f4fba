/* The ownership on a log and a clock that are played: what drives the claims, who gets leases, what others are told,
 * and that no answer of the log, however late or missing, lets anything be shown too long. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/event_log_inside.h"
#include "common/limits.h"
#include "profiler/claim.h"
#include "profiler/ownership.h"
#include "proto/codec.h"

#define PARTITIONS 3
#define PATIENCE_MS 30000
#define CLAIMS 64

/* --- the play ------------------------------------------------------------------------------------------------- */

struct kept {
    log_done *done;
    void *arg;
    uint32_t partition;
    int64_t offset;
};

struct reader {
    struct log_reader base;
    int64_t place[PARTITIONS];
    bool woken;
};

static struct play {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct str claims[PARTITIONS][CLAIMS]; /* malloc'ed */
    int64_t begin[PARTITIONS], end[PARTITIONS], events[PARTITIONS];
    bool away;      /* the log answers nothing */
    bool hang;      /* ... after a while: questions wait until it is taken back */
    int asked;      /* questions answered */
    int questions;  /* of the asker that are waiting */
    bool keep_acks; /* until the test gives them */
    struct kept kept[CLAIMS];
    size_t kept_count;
    bool refuse;
    int64_t leased[PARTITIONS]; /* until; 0: none */
    int leases, releases;
    int64_t shown[PARTITIONS];
    _Atomic int64_t now;
    _Atomic int changes;
} play;

static int64_t play_clock(void)
{
    return atomic_load(&play.now);
}

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

/* In steps that let everybody do what is due, as time does. */
static void pass(int64_t ms)
{
    for (int64_t left = ms; left > 0; left -= 10) {
        atomic_fetch_add(&play.now, left < 10 ? left : 10);
        pause_a_moment();
    }
}

static void play_begin(void)
{
    for (int p = 0; p < PARTITIONS; p++)
        for (int64_t i = 0; i < play.end[p]; i++)
            free((void *)(uintptr_t)play.claims[p][i].p);
    memset(&play, 0, sizeof play);
    pthread_mutex_init(&play.lock, NULL);
    pthread_cond_init(&play.changed, NULL);
    atomic_store(&play.now, 100000);
}

#define WAIT_FOR(condition)                                                                                            \
    do {                                                                                                               \
        int64_t until_ = clock_monotonic() + PATIENCE_MS;                                                              \
        for (bool met_ = false; !met_;) {                                                                              \
            pthread_mutex_lock(&play.lock);                                                                            \
            met_ = (condition);                                                                                        \
            pthread_mutex_unlock(&play.lock);                                                                          \
            if (clock_monotonic() > until_)                                                                            \
                fail_msg("never: %s", #condition);                                                                     \
            if (!met_)                                                                                                 \
                pass(1);                                                                                               \
        }                                                                                                              \
    } while (0)

/* Under the lock. */
static int64_t put_claim(uint32_t partition, struct str value)
{
    char *copy = malloc(value.n + 1);

    assert_non_null(copy);
    assert_true(play.end[partition] < CLAIMS);
    memcpy(copy, value.p, value.n);
    play.claims[partition][play.end[partition]] = (struct str){copy, value.n};
    pthread_cond_broadcast(&play.changed);
    return play.end[partition]++;
}

static void others_claim(uint32_t partition, const char *instance, const char *url)
{
    struct buf b;

    buf_init(&b, 4096);
    assert_true(claim_pack(&(struct claim_record){str_of(instance), str_of(url), 1}, &b));
    pthread_mutex_lock(&play.lock);
    put_claim(partition, buf_str(&b));
    pthread_mutex_unlock(&play.lock);
    buf_deinit(&b);
}

static enum log_status log_append(struct event_log *log, enum log_topic topic, enum log_by by,
                                  const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    (void)log;
    assert_int_equal(topic, LOG_CLAIMS);
    assert_int_equal(by, LOG_BY_PROFILER);
    assert_int_equal(n, 1);
    assert_int_equal(records[0].kind, LOG_KIND_CLAIM);
    assert_true(records[0].placed);
    assert_true(str_has(records[0].key)); /* what is compacted has a key */
    pthread_mutex_lock(&play.lock);
    if (play.refuse) {
        pthread_mutex_unlock(&play.lock);
        return LOG_UNREACHABLE;
    }
    const struct kept k = {done, args[0], records[0].partition, put_claim(records[0].partition, records[0].value)};
    bool keep = play.keep_acks;
    if (keep)
        play.kept[play.kept_count++] = k;
    pthread_mutex_unlock(&play.lock);
    if (!keep)
        done(k.arg, LOG_OK, k.partition, k.offset);
    return LOG_OK;
}

static void give_acks(enum log_status status)
{
    struct kept kept[CLAIMS];

    pthread_mutex_lock(&play.lock);
    size_t n = play.kept_count;
    memcpy(kept, play.kept, sizeof kept);
    play.kept_count = 0;
    pthread_mutex_unlock(&play.lock);
    for (size_t i = 0; i < n; i++)
        kept[i].done(kept[i].arg, status, kept[i].partition, status == LOG_OK ? kept[i].offset : -1);
}

static int log_ask_ends(struct event_log *log, enum log_topic topic, const uint32_t *partitions, size_t n, int64_t ms,
                        int64_t *ends, struct err *e)
{
    (void)log;
    assert_true(ms > 0 && n > 0);
    pthread_mutex_lock(&play.lock);
    for (size_t i = 0; i < n; i++)
        ends[i] = topic == LOG_CLAIMS ? play.end[partitions[i]] : play.events[partitions[i]];
    bool of_asker = n == 1; /* who asks for the URLs asks for all */
    play.questions += of_asker;
    while (play.hang)
        pthread_cond_wait(&play.changed, &play.lock);
    play.questions -= of_asker;
    bool away = play.away;
    play.asked += !away;
    pthread_mutex_unlock(&play.lock);
    if (away)
        err_set(e, "the brokers do not answer");
    return away ? -EAGAIN : 0;
}

static int64_t log_end(struct event_log *log, enum log_topic topic, uint32_t partition)
{
    (void)log;
    assert_int_equal(topic, LOG_EVENTS);
    return play.events[partition];
}

static int log_join(struct event_log *log, const struct log_group_options *o, struct err *e)
{
    (void)log, (void)o, (void)e;
    return 0;
}

static void reader_close(struct log_reader *r)
{
    free(r);
}

static int reader_seek(struct log_reader *base, uint32_t partition, int64_t offset)
{
    struct reader *r = (struct reader *)base;
    int status = 0;

    pthread_mutex_lock(&play.lock);
    if (play.away)
        status = -EAGAIN;
    else if (offset < play.begin[partition] || offset > play.end[partition])
        status = LOG_READ_GAP;
    else
        r->place[partition] = offset;
    pthread_mutex_unlock(&play.lock);
    return status;
}

static int reader_read(struct log_reader *base, uint32_t partition, struct log_record *out, size_t max, size_t bytes,
                       struct err *e)
{
    struct reader *r = (struct reader *)base;
    int n = 0;

    (void)bytes, (void)e;
    pthread_mutex_lock(&play.lock);
    for (; (size_t)n < max && r->place[partition] < play.end[partition]; n++) {
        int64_t at = r->place[partition]++;
        out[n] = (struct log_record){.kind = LOG_KIND_CLAIM, .offset = at, .value = play.claims[partition][at]};
    }
    if (play.away)
        n = -EAGAIN;
    pthread_mutex_unlock(&play.lock);
    return n;
}

static void reader_wait(struct log_reader *base, const uint32_t *partitions, size_t n, int64_t ms)
{
    struct reader *r = (struct reader *)base;
    struct timespec until;

    (void)partitions, (void)n;
    assert_true(ms > 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000; /* often: the clock is played */
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&play.lock);
    while (!r->woken && pthread_cond_timedwait(&play.changed, &play.lock, &until) == 0)
        ;
    r->woken = false;
    pthread_mutex_unlock(&play.lock);
}

static void reader_wake(struct log_reader *base)
{
    pthread_mutex_lock(&play.lock);
    ((struct reader *)base)->woken = true;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
}

static const struct log_reader_ops reader_ops = {
    .close = reader_close, .seek = reader_seek, .read = reader_read, .wait = reader_wait, .wake = reader_wake};

static int reader_open(struct event_log *log, enum log_topic topic, const char *name, struct log_reader **out,
                       struct err *e)
{
    (void)log, (void)e;
    assert_int_equal(topic, LOG_CLAIMS);
    assert_null(name);
    struct reader *r = calloc(1, sizeof *r);
    assert_non_null(r);
    r->base.ops = &reader_ops;
    *out = &r->base;
    return 0;
}

static const struct event_log_ops shared_ops = {
    .append = log_append, .end = log_end, .ask_ends = log_ask_ends, .reader_open = reader_open, .join = log_join};
static const struct event_log_ops own_ops = {.end = log_end};
static struct event_log shared_log = {&shared_ops}, own_log = {&own_ops};

void cache_lease(struct cache *c, uint32_t partition, int64_t until)
{
    (void)c;
    pthread_mutex_lock(&play.lock);
    play.leased[partition] = until;
    play.leases++;
    pthread_mutex_unlock(&play.lock);
}

void cache_release(struct cache *c, uint32_t partition)
{
    (void)c;
    pthread_mutex_lock(&play.lock);
    play.leased[partition] = 0;
    play.releases++;
    pthread_mutex_unlock(&play.lock);
}

/* --- helpers -------------------------------------------------------------------------------------------------- */

static int64_t shown(void *arg, uint32_t partition)
{
    (void)arg;
    pthread_mutex_lock(&play.lock);
    int64_t shown = play.shown[partition];
    pthread_mutex_unlock(&play.lock);
    return shown;
}

static void changed(void *arg, uint32_t partition)
{
    (void)arg, (void)partition;
    atomic_fetch_add(&play.changes, 1);
}

#define SET(what, value)                                                                                               \
    do {                                                                                                               \
        pthread_mutex_lock(&play.lock);                                                                                \
        what = value;                                                                                                  \
        pthread_mutex_unlock(&play.lock);                                                                              \
    } while (0)

static struct ownership *start_on(struct event_log *log, struct cache *cache)
{
    struct ownership *o;

    assert_int_equal(ownership_start(&(struct ownership_options){.log = log,
                                                                 .cache = cache,
                                                                 .partitions = PARTITIONS,
                                                                 .instance = "me",
                                                                 .url = "http://me:1",
                                                                 .shown = shown,
                                                                 .changed = changed,
                                                                 .clock = play_clock},
                                     &o, NULL),
                     0);
    return o;
}

static struct ownership *start(void)
{
    return start_on(&shared_log, (struct cache *)&play);
}

static void stop(struct ownership *o)
{
    ownership_stop(o);
    ownership_free(o);
}

static void wait_answer(const struct ownership *o, uint32_t partition, enum ownership_answer answer)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    while (ownership_ask(o, partition) != answer) {
        assert_true(clock_monotonic() < until);
        atomic_fetch_add(&play.now, 1);
        pause_a_moment();
    }
}

/* Given, claimed, and shown. */
static struct ownership *serving(void)
{
    struct ownership *o = start();

    ownership_given(o, 0);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    return o;
}

static bool why_is(struct ownership *o, uint32_t partition, const char *words)
{
    struct err why;

    ownership_why(o, partition, &why);
    return strstr(why.text, words) != NULL;
}

/* --- tests ---------------------------------------------------------------------------------------------------- */

static void test_begins(void **state)
{
    struct ownership_figures f;

    (void)state;
    play_begin();
    SET(play.events[0], 7);
    play.keep_acks = true;
    struct ownership *o = start();
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_ELSEWHERE);
    assert_false(ownership_follows(o, 0));
    ownership_given(o, 0);
    assert_true(ownership_follows(o, 0));
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    WAIT_FOR(play.kept_count == 1);
    assert_true(why_is(o, 0, "claim"));
    int64_t acked = play_clock();
    give_acks(LOG_OK);
    SET(play.shown[0], 3);
    SET(play.events[0], 9); /* put there while it waits: counts, too */
    WAIT_FOR(play.asked >= 2);
    assert_true(why_is(o, 0, "silent"));
    pass(acked + CLAIM_WAIT_MS - 1 - play_clock());
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET); /* rule `wait` */
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (!why_is(o, 0, "folding") && clock_monotonic() < until)
        pass(10);
    assert_true(why_is(o, 0, "still folding"));
    assert_int_equal(play.leases, 0);
    SET(play.shown[0], 8);
    pass(300);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET); /* rule `fold` */
    SET(play.shown[0], 9);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    WAIT_FOR(play.leased[0] > 0);
    assert_int_equal(ownership_ask(o, 1), OWNERSHIP_ELSEWHERE);
    ownership_figures(o, &f);
    assert_int_equal(f.claims, 1);
    assert_int_equal(f.lost, 0);
    stop(o);
    assert_int_equal(play.leased[0], 0);
}

static void test_log_is_away(void **state)
{
    struct ownership_figures f;

    (void)state;
    play_begin();
    struct ownership *o = serving();
    pthread_mutex_lock(&play.lock);
    play.away = true;
    pthread_mutex_unlock(&play.lock);
    WAIT_FOR(play.leased[0] > 0);
    pass(CLAIM_TERM_MS + 10);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    assert_true(why_is(o, 0, "not confirmed"));
    assert_true(ownership_follows(o, 0)); /* it goes on folding what it can get */
    assert_true(play.leased[0] <= play_clock());
    WAIT_FOR((ownership_figures(o, &f), f.terms_lost >= 1));
    pthread_mutex_lock(&play.lock);
    play.away = false;
    pthread_mutex_unlock(&play.lock);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    ownership_figures(o, &f);
    assert_int_equal(f.claims, 1);
    stop(o);
}

/* Rule `asked`: what comes back after two seconds says that it was ours two seconds ago. */
static void test_late_answer(void **state)
{
    (void)state;
    play_begin();
    struct ownership *o = serving();
    pthread_mutex_lock(&play.lock);
    play.hang = true;
    pthread_mutex_unlock(&play.lock);
    WAIT_FOR(play.questions >= 1);
    pass(2000);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    int asked = play.asked, leases = play.leases;
    SET(play.end[0], play.end[0] - 1); /* none of the next ones confirms */
    pthread_mutex_lock(&play.lock);
    play.hang = false;
    pthread_cond_broadcast(&play.changed);
    pthread_mutex_unlock(&play.lock);
    WAIT_FOR(play.asked > asked);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    assert_int_equal(play.leases, leases);
    SET(play.end[0], play.end[0] + 1);
    stop(o);
}

static void test_newer_claim(void **state)
{
    struct ownership_figures f;
    char url[LIMIT_URL_BYTES];

    (void)state;
    play_begin();
    struct ownership *o = serving();
    uint64_t stint = ownership_stint(o, 0);
    assert_false(ownership_url(o, 0, url, sizeof url)); /* nobody else's */
    int releases = play.releases, changes = atomic_load(&play.changes);
    others_claim(0, "other", "http://other:2");
    wait_answer(o, 0, OWNERSHIP_ELSEWHERE);
    assert_false(ownership_follows(o, 0));
    assert_true(play.releases > releases);
    WAIT_FOR(atomic_load(&play.changes) > changes);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (!ownership_url(o, 0, url, sizeof url) && clock_monotonic() < until)
        pause_a_moment();
    assert_string_equal(url, "http://other:2");
    assert_false(ownership_url(o, 0, url, 5)); /* no half of it */
    ownership_figures(o, &f);
    assert_int_equal(f.lost, 1);
    /* The group still says that it is ours: the other one may be gone. */
    pass(CLAIM_LOST_MS - 1000);
    assert_int_equal(play.end[0], 2);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    assert_int_equal(play.end[0], 3);
    assert_true(ownership_stint(o, 0) > stint);
    until = clock_monotonic() + PATIENCE_MS;
    while (ownership_url(o, 0, url, sizeof url) && clock_monotonic() < until)
        pause_a_moment();
    assert_false(ownership_url(o, 0, url, sizeof url));
    stop(o);
}

static void test_taken(void **state)
{
    (void)state;
    play_begin();
    struct ownership *o = serving();
    uint64_t stint = ownership_stint(o, 0);
    ownership_taken(o, 0);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_ELSEWHERE); /* at once */
    assert_int_equal(play.leased[0], 0);
    assert_int_equal(ownership_stint(o, 0), 0);
    ownership_given(o, 0);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    assert_true(ownership_stint(o, 0) > stint);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    assert_int_equal(play.end[0], 2); /* another claim */
    ownership_given(o, PARTITIONS);   /* a topic with more than are configured */
    ownership_taken(o, PARTITIONS);
    stop(o);
}

/* An append whose fate is unclear is done again, and the last one counts. */
static void test_unclear_append(void **state)
{
    struct ownership_figures f;

    (void)state;
    play_begin();
    play.refuse = true;
    struct ownership *o = start();
    ownership_given(o, 0);
    pass(100);
    assert_int_equal(play.end[0], 0);
    pthread_mutex_lock(&play.lock);
    play.refuse = false;
    play.keep_acks = true;
    pthread_mutex_unlock(&play.lock);
    WAIT_FOR(play.kept_count == 1);
    give_acks(LOG_FAILED); /* but it is there */
    WAIT_FOR(play.kept_count == 1);
    give_acks(LOG_OK);
    assert_int_equal(play.end[0], 2);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    ownership_figures(o, &f);
    assert_int_equal(f.claims, 1);
    assert_int_equal(f.lost, 0);
    stop(o);
}

/* The fate of an append is told when nobody is there any more. */
static void test_ack_after_the_end(void **state)
{
    (void)state;
    play_begin();
    play.keep_acks = true;
    struct ownership *o = start();
    for (uint32_t p = 0; p < PARTITIONS; p++)
        ownership_given(o, p);
    WAIT_FOR(play.kept_count == PARTITIONS);
    stop(o);
    give_acks(LOG_OK);
}

static void test_flapping(void **state)
{
    (void)state;
    play_begin();
    struct ownership *o = start();
    for (int i = 0; i < 20; i++) {
        ownership_given(o, 0);
        pass(10 * (i % 4));
        ownership_taken(o, 0);
        assert_int_equal(ownership_ask(o, 0), OWNERSHIP_ELSEWHERE);
    }
    ownership_given(o, 0);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    stop(o);
}

/* Where the last claims stand is known without their history, and hostile bytes are no claims. */
static void test_urls(void **state)
{
    char url[LIMIT_URL_BYTES], large[LIMIT_URL_BYTES + 1];

    (void)state;
    play_begin();
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    others_claim(0, "a", "http://a:1");
    others_claim(0, "b", "http://b:2");
    others_claim(1, "b", large);
    pthread_mutex_lock(&play.lock);
    put_claim(2, STR_LIT("\xff\xff\xff no claim"));
    play.away = true;
    pthread_mutex_unlock(&play.lock);
    struct ownership *o = start();
    pass(50);
    assert_false(ownership_url(o, 0, url, sizeof url));
    pthread_mutex_lock(&play.lock);
    play.away = false;
    pthread_mutex_unlock(&play.lock);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (!ownership_url(o, 0, url, sizeof url) && clock_monotonic() < until)
        pause_a_moment();
    assert_string_equal(url, "http://b:2");
    others_claim(2, "c", "http://c:3");
    while (!ownership_url(o, 2, url, sizeof url) && clock_monotonic() < until)
        pause_a_moment();
    assert_string_equal(url, "http://c:3");
    assert_false(ownership_url(o, 1, url, sizeof url));
    others_claim(2, "c", "http://somebody@else:80/?to=");
    while (ownership_url(o, 2, url, sizeof url) && clock_monotonic() < until)
        pause_a_moment();
    assert_false(ownership_url(o, 2, url, sizeof url));
    stop(o);
}

/* Nothing is claimed before it is known where look-ups are answered. */
static void test_address(void **state)
{
    struct ownership *o;
    struct claim_record claim;
    struct arena a;

    (void)state;
    play_begin();
    assert_int_equal(
        ownership_start(
            &(struct ownership_options){
                .log = &shared_log, .partitions = PARTITIONS, .instance = "me", .shown = shown, .clock = play_clock},
            &o, NULL),
        0);
    ownership_given(o, 0);
    pass(600);
    assert_int_equal(play.end[0], 0);
    ownership_set_url(o, "http://me:9");
    WAIT_FOR(play.end[0] == 1);
    arena_init(&a, 64 * MIB);
    assert_int_equal(claim_unpack(play.claims[0][0], &a, &claim), CODEC_OK);
    assert_true(str_is(claim.instance, "me"));
    assert_true(str_is(claim.url, "http://me:9"));
    arena_deinit(&a);
    wait_answer(o, 0, OWNERSHIP_SERVES);
    stop(o);
}

/* --- the embedded log ----------------------------------------------------------------------------------------- */

static void test_own_log(void **state)
{
    (void)state;
    play_begin();
    SET(play.events[0], 5);
    struct ownership *o = start_on(&own_log, NULL);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        ownership_given(o, p);
    assert_int_equal(ownership_ask(o, 1), OWNERSHIP_SERVES); /* at once: there is nothing to fold and nobody else */
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    assert_true(why_is(o, 0, "partition 0 is still folding what was there before the start"));
    SET(play.shown[0], 5);
    SET(play.events[0], 9); /* what came since does not count */
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_SERVES);
    atomic_fetch_add(&play.now, TIME_DAY); /* the machine slept */
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_SERVES);
    SET(play.shown[0], -1); /* stopped */
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET);
    stop(o);
}

static void test_own_log_with_cache(void **state)
{
    (void)state;
    play_begin();
    struct ownership *o = start_on(&own_log, (struct cache *)&play);
    ownership_given(o, 0);
    pass(CLAIM_WAIT_MS - 20);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_NOT_YET); /* what was leased before the start may be believed */
    pass(30);
    assert_int_equal(ownership_ask(o, 0), OWNERSHIP_SERVES);
    int64_t before = 0, now = 0;
    for (int renewals = 0; renewals < 3; renewals++) {
        WAIT_FOR((now = play.leased[0]) > before);
        assert_true(now <= play_clock() + CLAIM_TERM_MS);
        before = now;
    }
    stop(o);
    assert_int_equal(play.leased[0], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begins),
        cmocka_unit_test(test_log_is_away),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_newer_claim),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_unclear_append),
        cmocka_unit_test(test_ack_after_the_end),
        cmocka_unit_test(test_flapping),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_own_log),
        cmocka_unit_test(test_own_log_with_cache),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    play_begin(); /* frees */
    return failed;
}
