/* What it costs to judge a person with a long path after one event more, by the shipped tags and by audiences with
 * windows; and how long everybody else waits while such people send without a pause.
 *
 *   bench_judge [longest path] [long people] [folder]
 *
 * One thread folds; the audiences judge in theirs. Times are wall clock from the fold to the end of the judging. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/limits.h"
#include "profiler/audiences.h"
#include "proto/codec.h"
#include "proto/internal.h"

enum { BATCH = 500, ROUNDS = 20, OTHERS = 60 };

static const char *const rules[][2] = {
    {"none", NULL},
    {"counts", "count(\"Product Viewed\", 30) >= 3 && count(\"page\", 7) > 1000000"},
    {"red", "count(\"Product Viewed\", 90, e.color == \"red\") >= 5"},
    {"left", "not_followed_by(\"Product Added\", \"Order Completed\", hours(24), days(14))"},
    {"other", "count(\"Ping\", 30) >= 1"},
};
enum { RULES = sizeof rules / sizeof *rules };

struct run {
    struct state *state;
    struct audiences *a;
    struct event_log *log;
    struct fold_rules rules;
    int64_t offset, time;
    uint64_t made;
};

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_judge: %s: %s\n", what, why);
    exit(1);
}

static void commit(struct run *r)
{
    struct err e = {0};

    if (state_commit(r->state, 0, &e) != 0)
        give_up("commit", e.text);
}

static void fold(struct run *r, struct log_record *v, size_t n)
{
    struct err e = {0};
    int rc = state_fold(r->state, 0, v, n, &e);

    if (rc < 0)
        give_up("fold", e.text);
    state_emitted(r->state, 0);
    if (rc == STATE_COMMIT_DUE)
        commit(r);
}

/* --- events --------------------------------------------------------------------------------------------------- */

static void pack(struct run *r, const char *device, const char *name, struct buf *b)
{
    char message[32], properties[200];
    struct event e = {.trust = TRUST_BEACON, .source = STR_LIT("web"), .original_time = TIME_NONE, .sent = TIME_NONE};

    snprintf(message, sizeof message, "m%" PRIu64, r->made++);
    snprintf(properties, sizeof properties, "{\"color\":\"%s\",\"category\":\"c%u\",\"position\":%u,\"price\":12.5}",
             r->made % 3 ? "blue" : "red", (unsigned)(r->made % 20), (unsigned)(r->made % 50));
    e.type = name ? EVENT_TRACK : EVENT_PAGE;
    e.name = name ? str_of(name) : STR_NONE;
    e.anonymous_id = str_of(device);
    e.message_id = str_of(message);
    e.url = STR_LIT("https://shop.example/product/1234?colour=red");
    e.title = STR_LIT("A product that somebody looks at");
    e.properties = str_of(properties);
    e.time = r->time += 20;
    e.received = e.time + 5;
    e.uid = event_uid(e.source, e.anonymous_id, e.user_id, e.message_id);
    if (!event_pack(&e, b))
        give_up("events", "out of memory");
}

static const char *kind_of(uint64_t i)
{
    return i % 10 == 0 ? "Product Added" : i % 10 < 5 ? "Product Viewed" : NULL;
}

static void send(struct run *r, const char *device, const char *name, size_t n)
{
    static struct log_record records[BATCH];
    static size_t ends[BATCH + 1];
    struct buf b;

    buf_init(&b, 64 * MIB);
    while (n > 0) {
        size_t k = n < BATCH ? n : BATCH;

        buf_reset(&b);
        for (size_t i = 0; i < k; i++) {
            pack(r, device, name ? name : kind_of(r->made), &b);
            ends[i + 1] = b.n;
        }
        for (size_t i = 0; i < k; i++)
            records[i] = (struct log_record){.kind = LOG_KIND_EVENT,
                                             .key = str_of(device),
                                             .value = {b.p + ends[i], ends[i + 1] - ends[i]},
                                             .offset = r->offset++};
        fold(r, records, k);
        n -= k;
    }
    buf_deinit(&b);
}

static void define(struct run *r, const char *name, const char *rule)
{
    char body[400];
    struct buf b;
    size_t n = (size_t)snprintf(body, sizeof body, "{\"rule\":\"");

    for (const char *p = rule; *p; p++) {
        if (*p == '"')
            body[n++] = '\\';
        body[n++] = *p;
    }
    snprintf(body + n, sizeof body - n, "\"}");
    const struct command c = {.kind = COMMAND_DEFINE,
                              .time = r->time,
                              .definition = DEFINITION_AUDIENCE,
                              .name = str_of(name),
                              .body = str_of(body)};
    buf_init(&b, 64 * KIB);
    if (!command_pack(&c, &b))
        give_up("define", "out of memory");
    struct log_record record = {
        .kind = LOG_KIND_COMMAND, .key = STR_LIT("define"), .value = buf_str(&b), .offset = r->offset++};
    fold(r, &record, 1);
    buf_deinit(&b);
}

/* --- measuring ------------------------------------------------------------------------------------------------ */

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void settle(struct run *r)
{
    audiences_wake(r->a);
    uint64_t moment = audiences_moment(r->a);
    while (!audiences_settled(r->a, moment))
        nap();
}

static int64_t now_of(void *arg)
{
    const struct run *r = arg;

    return r->time;
}

static void open_run(struct run *r, const char *folder, bool tags, bool audiences)
{
    char path[600];
    struct err e = {0};
    struct buf errors;
    struct tags *set = NULL;

    *r = (struct run){.time = INT64_C(1700000000000)};
    r->rules = (struct fold_rules){.session_gap_ms = 30 * TIME_MINUTE,
                                   .currency = "GBP",
                                   .touch_window_ms = 30 * TIME_DAY,
                                   .zone = zone_new("Europe/London")};
    snprintf(path, sizeof path, "%s/state", folder);
    struct state_options o = {.path = path,
                              .partitions = 1,
                              .rules = &r->rules,
                              .commit_bytes = 64 * MIB,
                              .cache_bytes = 256 * MIB,
                              .watch = true};
    if (state_open(&o, &r->state, &e) != 0)
        give_up("state", e.text);
    snprintf(path, sizeof path, "%s/log", folder);
    if (event_log_open_local(&(struct event_log_options){.path = path, .partitions = 1}, &r->log, &e) != 0)
        give_up("log", e.text);
    buf_init(&errors, MIB);
    if (tags && tags_load(NULL, NULL, &set, &errors, NULL) != 0)
        give_up("tags", errors.p);
    buf_deinit(&errors);
    for (unsigned i = 1; audiences && i < RULES; i++)
        define(r, rules[i][0], rules[i][1]);
    snprintf(path, sizeof path, "%s/audiences", folder);
    if (audiences_start(&(struct audiences_options){.path = path,
                                                    .rules = &r->rules,
                                                    .log = r->log,
                                                    .state = r->state,
                                                    .stats = stats_new(),
                                                    .tags = set,
                                                    .partitions = 1,
                                                    .arg = r,
                                                    .now = now_of},
                        &r->a, &e) != 0)
        give_up("audiences", e.text);
    tags_unref(set);
}

static void close_run(struct run *r)
{
    audiences_stop(r->a);
    audiences_free(r->a);
    event_log_close(r->log);
    state_close(r->state);
    zone_free((struct zone *)(uintptr_t)r->rules.zone);
}

static double judge_once(struct run *r)
{
    double from = seconds();

    send(r, "robot-0", NULL, 1);
    settle(r);
    return (seconds() - from) * 1e3;
}

static void measure(const char *root, size_t longest, bool tags, bool audiences)
{
    static unsigned number;
    char folder[560], command[600];
    struct run r;
    size_t n = 0;

    snprintf(folder, sizeof folder, "%s/%u", root, number++);
    snprintf(command, sizeof command, "mkdir %s", folder);
    if (system(command) != 0)
        give_up("folder", folder);
    open_run(&r, folder, tags, audiences);
    for (size_t length = 100; length <= longest; length *= 10) {
        double sum = 0, most = 0;

        send(&r, "robot-0", NULL, length - n);
        n = length + ROUNDS;
        commit(&r);
        settle(&r);
        for (unsigned i = 0; i < ROUNDS; i++) {
            double ms = judge_once(&r);

            sum += ms;
            most = ms > most ? ms : most;
        }
        printf("%s%s, path of %zu: %.3f ms an event, at most %.3f\n", tags ? "shipped tags" : "no tags",
               audiences ? " and audiences" : "", length, sum / ROUNDS, most);
        fflush(stdout);
    }
    close_run(&r);
}

/* --- the others ----------------------------------------------------------------------------------------------- */

static uint64_t size_of(struct run *r, const char *name)
{
    struct audience_info info = {0};
    struct arena a;

    arena_init(&a, MIB);
    audiences_get(r->a, str_of(name), &a, &info);
    arena_deinit(&a);
    return info.size;
}

/* Robots send 100 events a second each; every 100 ms somebody else comes, who is to be in `other`. */
static void measure_others(const char *root, size_t length, unsigned robots)
{
    char folder[560], command[600], device[32];
    double sum = 0, most = 0;
    struct run r;

    snprintf(folder, sizeof folder, "%s/others", root);
    snprintf(command, sizeof command, "mkdir %s", folder);
    if (system(command) != 0)
        give_up("folder", folder);
    open_run(&r, folder, true, true);
    for (unsigned i = 0; i < robots; i++) {
        snprintf(device, sizeof device, "robot-%u", i);
        send(&r, device, NULL, length);
    }
    commit(&r);
    settle(&r);
    for (unsigned i = 0; i < OTHERS; i++) {
        double from = seconds(), came = -1, next = from;

        snprintf(device, sizeof device, "other-%u", i);
        send(&r, device, "Ping", 1);
        audiences_wake(r.a);
        while (came < 0 || seconds() - from < 0.1) {
            for (unsigned k = 0; seconds() >= next && k < robots; k++) {
                snprintf(device, sizeof device, "robot-%u", k);
                send(&r, device, NULL, 1);
                audiences_wake(r.a);
                next += k + 1 == robots ? 0.01 : 0;
            }
            if (came < 0 && size_of(&r, "other") > i)
                came = seconds() - from;
            nap();
        }
        sum += came;
        most = came > most ? came : most;
    }
    printf("%u robots with paths of %zu send 100 events a second each: others are judged after %.1f ms, at most %.1f\n",
           robots, length, sum * 1e3 / OTHERS, most * 1e3);
    close_run(&r);
}

int main(int argc, char **argv)
{
    size_t longest = argc > 1 ? strtoull(argv[1], NULL, 10) : 100000;
    unsigned robots = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
    char base[64] = "/tmp/waymark-bench-XXXXXX", command[600];
    const char *root = argc > 3 ? argv[3] : mkdtemp(base);

    if (longest < 100 || !root)
        give_up("arguments", "longest path, long people, folder");
    measure(root, longest, true, false);
    measure(root, longest, false, true);
    measure(root, longest, true, true);
    if (robots > 0)
        measure_others(root, longest, robots);
    if (argc <= 3) {
        snprintf(command, sizeof command, "rm -rf %s", root);
        return system(command) != 0;
    }
    return 0;
}
