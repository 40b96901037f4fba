/* What identity costs: events of devices without a user, of which some name the user, too, and so link the device;
 * against the same events without a user, in the same run. What partitions tell each other goes through their logs.
 *
 *   bench_person [events] [% of links] [folder]
 *
 * One thread folds all partitions in turn: times are its CPU and that of RocksDB's threads. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/buf.h"
#include "common/limits.h"
#include "profiler/state.h"
#include "proto/codec.h"

enum { BATCH = 1000, PARTITIONS_MAX = 16, EVENTS_EACH = 50 };
#define FIRST_TIME INT64_C(1700000000000)

/* One partition of a log. */
struct part {
    struct log_record *records;
    size_t n, cap;
    size_t folded;
};

struct run {
    struct part parts[PARTITIONS_MAX];
    uint32_t partitions;
    struct state *state;
    size_t events, event_bytes, internal, internal_bytes;
};

static uint64_t rnd_state = 42;

static uint64_t rnd(void)
{
    uint64_t z = (rnd_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_person: %s: %s\n", what, why);
    exit(1);
}

static struct str copy_of(struct str s)
{
    char *copy = malloc(s.n + 1);

    if (!copy)
        give_up("records", "out of memory");
    memcpy(copy, s.p, s.n);
    return (struct str){copy, s.n};
}

static void append(struct run *r, enum log_kind kind, struct str key, struct str value)
{
    struct part *p = &r->parts[event_log_partition(key, r->partitions)];

    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1 << 14;
        p->records = realloc(p->records, p->cap * sizeof *p->records);
        if (!p->records)
            give_up("records", "out of memory");
    }
    p->records[p->n] =
        (struct log_record){.kind = kind, .key = copy_of(key), .value = copy_of(value), .offset = (int64_t)p->n};
    p->n++;
}

/* --- the events ----------------------------------------------------------------------------------------------- */

struct texts {
    char device[48], user[32], message[48], url[96], product[24];
};

static void fill(struct event *e, struct texts *t, size_t number, size_t people, bool link)
{
    size_t person = rnd() % people;
    bool viewed = rnd() % 100 < 40;

    snprintf(t->device, sizeof t->device, "a%08zx-%u-4f7c-9d2e-b1c0", person * 2654435761u % 4294967296u,
             (unsigned)(rnd() % 2));
    snprintf(t->user, sizeof t->user, "user-%zu", person);
    snprintf(t->message, sizeof t->message, "ajs-next-%016" PRIx64 "-%zx", rnd(), number);
    snprintf(t->url, sizeof t->url, "https://shop.example/product/%u", (unsigned)(rnd() % 5000));
    snprintf(t->product, sizeof t->product, "p%u", (unsigned)(rnd() % 300));
    *e = (struct event){.trust = TRUST_BEACON, .source = STR_LIT("web"), .original_time = TIME_NONE, .sent = TIME_NONE};
    e->type = viewed ? EVENT_TRACK : EVENT_PAGE;
    e->name = viewed ? STR_LIT("Product Viewed") : STR_NONE;
    e->anonymous_id = str_of(t->device);
    e->user_id = link ? str_of(t->user) : STR_NONE;
    e->message_id = str_of(t->message);
    e->url = str_of(t->url);
    e->title = STR_LIT("A product that somebody looks at");
    e->user_agent = STR_LIT("Mozilla/5.0 (X11; Linux x86_64) Chrome/119");
    e->time = FIRST_TIME + (int64_t)number * 40;
    e->received = e->time + 30;
    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
}

static void make_events(struct run *r, size_t events, unsigned percent)
{
    struct texts texts;
    struct event e;
    struct buf b;

    rnd_state = 42;
    buf_init(&b, LIMIT_RECORD_BYTES);
    for (size_t i = 0; i < events; i++) {
        fill(&e, &texts, i, events / EVENTS_EACH + 1, rnd() % 100 < percent);
        buf_reset(&b);
        if (!event_pack(&e, &b))
            give_up("events", "out of memory");
        append(r, LOG_KIND_EVENT, event_log_key(&e), buf_str(&b));
        r->event_bytes += b.n;
    }
    r->events = events;
    buf_deinit(&b);
}

/* --- folding -------------------------------------------------------------------------------------------------- */

static void pass_on(struct run *r, uint32_t partition)
{
    const struct state_emission *v;
    size_t n = state_emissions(r->state, partition, &v);

    for (size_t i = 0; i < n; i++) {
        append(r, v[i].record.kind, v[i].record.key, v[i].record.value);
        r->internal++;
        r->internal_bytes += v[i].record.key.n + v[i].record.value.n;
    }
    state_emitted(r->state, partition);
}

static void commit(struct run *r, uint32_t partition)
{
    struct err e = {0};

    if (state_commit(r->state, partition, &e) != 0)
        give_up("commit", e.text);
}

static void fold_some(struct run *r, uint32_t partition)
{
    struct part *p = &r->parts[partition];
    size_t n = p->n - p->folded < BATCH ? p->n - p->folded : BATCH;
    struct err e = {0};
    int rc = state_fold(r->state, partition, p->records + p->folded, n, &e);

    if (rc < 0)
        give_up("fold", e.text);
    p->folded += n;
    pass_on(r, partition);
    if (rc == STATE_COMMIT_DUE)
        commit(r, partition);
}

static void fold_all(struct run *r)
{
    bool more = true;

    while (more) {
        more = false;
        for (uint32_t i = 0; i < r->partitions; i++) {
            if (r->parts[i].folded < r->parts[i].n)
                fold_some(r, i);
            more = more || r->parts[i].folded < r->parts[i].n;
        }
        for (uint32_t i = 0; i < r->partitions; i++)
            more = more || r->parts[i].folded < r->parts[i].n;
    }
    for (uint32_t i = 0; i < r->partitions; i++)
        commit(r, i);
}

static void free_run(struct run *r)
{
    for (uint32_t i = 0; i < r->partitions; i++) {
        for (size_t k = 0; k < r->parts[i].n; k++) {
            free((void *)(uintptr_t)r->parts[i].records[k].key.p);
            free((void *)(uintptr_t)r->parts[i].records[k].value.p);
        }
        free(r->parts[i].records);
    }
}

/* CPU in microseconds an event. `base`: of the run that it is compared with; 0: it is that. */
static double measure(uint32_t partitions, size_t events, unsigned percent, const char *root, double base)
{
    static const struct fold_rules rules = {
        .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};
    struct run r = {.partitions = partitions};
    struct err e = {0};
    char folder[512];

    snprintf(folder, sizeof folder, "%s/%u-%u", root, partitions, percent);
    struct state_options o = {.path = folder,
                              .partitions = partitions,
                              .rules = &rules,
                              .commit_bytes = 256 * MIB / partitions,
                              .cache_bytes = 256 * MIB / partitions};
    if (state_open(&o, &r.state, &e) != 0)
        give_up("open", e.text);
    make_events(&r, events, percent);
    double cpu = cpu_seconds();
    fold_all(&r);
    cpu = (cpu_seconds() - cpu) * 1e6 / (double)events;
    printf("%u %% links, %2u partitions: %.2f us of CPU an event (%.2f of no links); %.2f internal records and %.0f "
           "bytes an "
           "event of %.0f bytes\n",
           percent, (unsigned)partitions, cpu, base > 0 ? cpu / base : 1, (double)r.internal / (double)events,
           (double)r.internal_bytes / (double)events, (double)r.event_bytes / (double)events);
    fflush(stdout);
    state_close(r.state);
    free_run(&r);
    return cpu;
}

int main(int argc, char **argv)
{
    size_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    unsigned percent = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
    char base[64] = "/tmp/waymark-bench-XXXXXX", command[600];
    const char *root = argc > 3 ? argv[3] : mkdtemp(base);

    if (events == 0 || percent > 100 || !root)
        give_up("arguments", "events, % of links, folder");
    static const uint32_t counts[] = {1, 4, 16};
    for (int i = 0; i < 3; i++) {
        double without = measure(counts[i], events, 0, root, 0);
        measure(counts[i], events, percent, root, without);
    }
    if (argc <= 3) {
        snprintf(command, sizeof command, "rm -rf %s", root);
        return system(command) != 0;
    }
    return 0;
}
