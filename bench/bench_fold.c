/* How fast the state folds: events of about 330 bytes, Zipf over people who look at 300 products each, 2 % duplicates,
 * 1 % late, some orders; against one plain RocksDB put per event (write-ahead log on) in the same run.
 *
 *   bench_fold [events] [workers] [commit MiB] [folder]
 *
 * Each worker folds a partition of its own; the baseline writes with as many threads. */
#include <inttypes.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/buf.h"
#include "common/limits.h"
#include "profiler/state.h"
#include "proto/codec.h"

enum { BATCH = 1000, WORKERS_MAX = 16 };
#define FIRST_TIME INT64_C(1700000000000)

struct part {
    struct buf bytes;
    struct log_record *records;
    size_t *starts, n, cap;
    struct state *state;
    rocksdb_t *db;
    uint32_t number;
    uint64_t commits;
    double commit_seconds, commit_cpu, cpu;
};

static uint64_t rnd_state = 42;

static uint64_t rnd(void)
{
    uint64_t z = (rnd_state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double unit(void)
{
    return (double)(rnd() >> 11) / 9007199254740992.0;
}

static double seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what, const char *why)
{
    fprintf(stderr, "bench_fold: %s: %s\n", what, why);
    exit(1);
}

/* --- the events ----------------------------------------------------------------------------------------------- */

static double *zipf_new(size_t people)
{
    double *sum = malloc(people * sizeof *sum), total = 0;

    for (size_t i = 0; i < people; i++)
        sum[i] = total += 1.0 / (double)(i + 1);
    return sum;
}

static size_t zipf(const double *sum, size_t people)
{
    double at = unit() * sum[people - 1];
    size_t low = 0, high = people - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (sum[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void keep(struct part *parts, uint32_t partitions, const struct event *e)
{
    struct part *p = &parts[event_log_partition(event_log_key(e), partitions)];

    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 1 << 16;
        p->starts = realloc(p->starts, p->cap * sizeof *p->starts);
        if (!p->starts)
            give_up("events", "out of memory");
    }
    p->starts[p->n++] = p->bytes.n;
    if (!event_pack(e, &p->bytes))
        give_up("events", "out of memory");
}

struct texts {
    char anonymous[48], user[32], message[48], url[96], order[32], product[24];
};

static void fill(struct event *e, struct texts *t, size_t number, size_t person, struct item *item)
{
    unsigned device = (unsigned)(rnd() % 100) < 55 ? 0 : 1;
    uint64_t kind = rnd() % 100;

    snprintf(t->anonymous, sizeof t->anonymous, "a%08zx-%u-4f7c-9d2e-b1c0", person * 2654435761u % 4294967296u, device);
    snprintf(t->user, sizeof t->user, "user-%zu", person);
    snprintf(t->message, sizeof t->message, "ajs-next-%016" PRIx64 "-%zx", rnd(), number);
    snprintf(t->url, sizeof t->url, "https://shop.example/category/%u/product/%u", (unsigned)(rnd() % 40),
             (unsigned)(rnd() % 5000));
    *e = (struct event){.type = kind < 60 ? EVENT_PAGE : EVENT_TRACK,
                        .trust = TRUST_BEACON,
                        .source = STR_LIT("web"),
                        .anonymous_id = str_of(t->anonymous),
                        .message_id = str_of(t->message),
                        .url = str_of(t->url),
                        .original_time = TIME_NONE,
                        .sent = TIME_NONE};
    e->user_id = person % 3 == 0 ? str_of(t->user) : STR_NONE;
    e->library = STR_LIT("analytics.js");
    e->title = STR_LIT("A product that somebody looks at");
    e->path = (struct str){t->url + 20, strlen(t->url) - 20};
    e->user_agent = STR_LIT("Mozilla/5.0 (X11; Linux x86_64) Chrome/119");
    e->time = FIRST_TIME + (int64_t)number * 40;
    if (rnd() % 100 == 0)
        e->time -= (int64_t)(rnd() % (uint64_t)TIME_DAY);
    e->received = FIRST_TIME + (int64_t)number * 40 + 30;
    if (kind >= 60) {
        snprintf(t->product, sizeof t->product, "p%u", (unsigned)((person * 71 + rnd() % 300) % 5000));
        *item = (struct item){.product_id = str_of(t->product),
                              .category = STR_LIT("Shoes"),
                              .price = {true, 19900000},
                              .listed_at = TIME_NONE};
        e->name = kind < 90 ? STR_LIT("Product Viewed") : STR_LIT("Product Added");
        e->items = item;
        e->item_count = 1;
        e->properties = STR_LIT("{\"list\":\"search results\",\"position\":3}");
    }
    if (kind == 99) {
        snprintf(t->order, sizeof t->order, "O%zu", number);
        e->name = STR_LIT("Order Completed");
        e->order.order_id = str_of(t->order);
        e->order.has_items = true;
        e->order.total = (struct opt){true, 19900000};
    }
    e->uid = event_uid(e->source, e->anonymous_id, e->user_id, e->message_id);
}

static void make_events(struct part *parts, uint32_t partitions, size_t events)
{
    size_t people = events / 50 ? events / 50 : 1;
    double *sum = zipf_new(people);
    struct texts texts;
    struct item item;
    struct event e;

    for (uint32_t i = 0; i < partitions; i++)
        buf_init(&parts[i].bytes, SIZE_MAX / 2);
    for (size_t i = 0; i < events; i++) {
        fill(&e, &texts, i, zipf(sum, people), &item);
        keep(parts, partitions, &e);
        if (rnd() % 100 < 2) {
            e.received += 3000;
            keep(parts, partitions, &e);
        }
    }
    for (uint32_t i = 0; i < partitions; i++) {
        struct part *p = &parts[i];

        p->number = i;
        p->records = malloc((p->n + 1) * sizeof *p->records);
        for (size_t k = 0; k < p->n; k++) {
            size_t end = k + 1 < p->n ? p->starts[k + 1] : p->bytes.n;

            p->records[k] =
                (struct log_record){.value = {p->bytes.p + p->starts[k], end - p->starts[k]}, .offset = (int64_t)k};
        }
    }
    free(sum);
}

/* --- the fold ------------------------------------------------------------------------------------------------- */

static void commit(struct part *p)
{
    double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    struct err e = {0};

    if (state_commit(p->state, p->number, &e) != 0)
        give_up("commit", e.text);
    p->commits++;
    p->commit_seconds += seconds(CLOCK_MONOTONIC) - wall;
    p->commit_cpu += seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
}

static void *fold(void *arg)
{
    struct part *p = arg;
    struct err e = {0};

    for (size_t i = 0; i < p->n; i += BATCH) {
        int rc = state_fold(p->state, p->number, p->records + i, p->n - i < BATCH ? p->n - i : BATCH, &e);

        if (rc < 0)
            give_up("fold", e.text);
        if (rc == STATE_COMMIT_DUE)
            commit(p);
    }
    commit(p);
    p->cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

/* Wall time and, in *cpu, the CPU of the whole process: RocksDB's threads work too. */
static double run(struct part *parts, uint32_t workers, void *(*work)(void *), double *cpu)
{
    pthread_t threads[WORKERS_MAX];
    double start = seconds(CLOCK_MONOTONIC);

    *cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (uint32_t i = 0; i < workers; i++)
        pthread_create(&threads[i], NULL, work, &parts[i]);
    for (uint32_t i = 0; i < workers; i++)
        pthread_join(threads[i], NULL);
    *cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - *cpu;
    return seconds(CLOCK_MONOTONIC) - start;
}

static double fold_all(struct part *parts, uint32_t workers, uint64_t commit_mib, const char *folder, double *cpu)
{
    static const struct fold_rules rules = {
        .session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP", .touch_window_ms = 30 * TIME_DAY};
    struct state_options o = {.path = folder,
                              .partitions = workers,
                              .rules = &rules,
                              .commit_bytes = commit_mib * MIB,
                              .cache_bytes = 256 * MIB};
    struct state_figures f;
    struct state *s;
    struct err e = {0};
    double took;

    if (state_open(&o, &s, &e) != 0)
        give_up("open", e.text);
    for (uint32_t i = 0; i < workers; i++)
        parts[i].state = s;
    took = run(parts, workers, fold, cpu);
    for (uint32_t i = 0; i < workers; i++) {
        state_figures(s, i, &f);
        printf("  partition %u: %" PRIu64 " folded, %" PRIu64 " duplicates, %" PRIu64 " refolds, %" PRIu64
               " MiB; %" PRIu64 " commits %.2f s (%.2f s of CPU), CPU %.2f s\n",
               (unsigned)i, f.outcomes[OUTCOME_FOLDED], f.outcomes[OUTCOME_DUPLICATE], f.refolds, f.memory / MIB,
               f.commits, parts[i].commit_seconds, parts[i].commit_cpu, parts[i].cpu);
    }
    state_close(s);
    return took;
}

/* --- the baseline --------------------------------------------------------------------------------------------- */

static void *put_each(void *arg)
{
    struct part *p = arg;
    rocksdb_writeoptions_t *o = rocksdb_writeoptions_create();

    for (size_t i = 0; i < p->n; i++) {
        char key[16], *text = NULL;

        memcpy(key, &p->number, 4);
        for (int k = 0; k < 8; k++)
            key[4 + k] = (char)(i >> (56 - 8 * k));
        rocksdb_put(p->db, o, key, 12, p->records[i].value.p, p->records[i].value.n, &text);
        if (text)
            give_up("put", text);
    }
    rocksdb_writeoptions_destroy(o);
    return NULL;
}

static double put_all(struct part *parts, uint32_t workers, const char *folder, double *cpu)
{
    rocksdb_options_t *o = rocksdb_options_create();
    char *text = NULL;
    rocksdb_t *db;
    double took;

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_info_log_level(o, 4);
    db = rocksdb_open(o, folder, &text);
    if (text)
        give_up(folder, text);
    for (uint32_t i = 0; i < workers; i++)
        parts[i].db = db;
    took = run(parts, workers, put_each, cpu);
    rocksdb_close(db);
    rocksdb_options_destroy(o);
    return took;
}

int main(int argc, char **argv)
{
    size_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000, records = 0, bytes = 0;
    uint32_t workers = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 2;
    uint64_t commit_mib = argc > 3 ? strtoull(argv[3], NULL, 10) : 256;
    char base[64] = "/tmp/waymark-bench-XXXXXX", folder[512], command[3000];
    const char *root = argc > 4 ? argv[4] : mkdtemp(base);
    static struct part parts[WORKERS_MAX];
    bool alone = getenv("BENCH_FOLD_ALONE") != NULL; /* without the baseline, for a profiler */
    double fold_took, put_took = 0, fold_cpu, put_cpu = 0;

    if (workers == 0 || workers > WORKERS_MAX || !root)
        give_up("arguments", "events, workers (1-16), commit MiB, folder");
    make_events(parts, workers, events);
    for (uint32_t i = 0; i < workers; i++) {
        records += parts[i].n;
        bytes += parts[i].bytes.n;
    }
    printf("%zu records of %zu bytes, %u workers, commits of %" PRIu64 " MiB\n", records, bytes / records,
           (unsigned)workers, commit_mib);
    snprintf(folder, sizeof folder, "%s/plain", root);
    if (!alone)
        put_took = put_all(parts, workers, folder, &put_cpu);
    printf("plain put:  %.0f events/s (%.2f s, CPU %.2f s)\n", (double)records / put_took, put_took, put_cpu);
    snprintf(folder, sizeof folder, "%s/state", root);
    fold_took = fold_all(parts, workers, commit_mib, folder, &fold_cpu);
    printf("state fold: %.0f events/s (%.2f s, CPU %.2f s)\nratio: %.2f (of CPU %.2f)\n", (double)records / fold_took,
           fold_took, fold_cpu, put_took / fold_took, put_cpu / fold_cpu);
    fflush(stdout);
    snprintf(command, sizeof command, "du -sh %s/plain %s/state; rm -rf %s/plain %s/state; rmdir %s 2>/dev/null; true",
             root, root, root, root, root);
    if (alone)
        snprintf(command, sizeof command, "rm -rf %s/state; rmdir %s 2>/dev/null; true", root, root);
    return system(command) == 0 ? 0 : 1;
}
