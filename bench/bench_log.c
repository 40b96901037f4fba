/* Durable appends to the embedded log against the same bytes appended to a bare RocksDB, in one run.
 *
 *   bench_log [RECORDS [FOLDER]]
 *
 * The log: two threads append records of 400 bytes (key included) in groups of 1 and of 50, and a record counts when
 * its callback has said that it is durable. The bare store: one thread, one write batch per sync, keys that only grow,
 * with batches as large as the log's largest commit. Prints records a second, the ratio and the CPU time. */
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/event_log.h"
#include "common/limits.h"

enum { THREADS = 2, RECORD = 400, PARTITIONS = 4, IN_FLIGHT = 60000, ROUNDS = 3, KEYS = 10000 };

static void die(const char *text)
{
    fprintf(stderr, "bench_log: %s\n", text);
    exit(1);
}

struct flow {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t sent, done;
};

struct appender {
    struct event_log *log;
    struct flow flow;
    size_t records, group;
};

/* Half JSON-like text, half noise: compresses about as events do. */
static void make_value(char *p, size_t n, unsigned *seed)
{
    static const char words[] = "\"type\":\"track\",\"name\":\"Product Viewed\",\"url\":\"https://shop.example/p/";

    for (size_t i = 0; i < n; i++)
        p[i] = i < n / 2 ? words[i % (sizeof(words) - 1)] : (char)('0' + rand_r(seed) % 64);
}

static void on_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct flow *f = arg;

    (void)partition, (void)offset;
    if (status != LOG_OK)
        die(log_status_text(status));
    pthread_mutex_lock(&f->lock);
    if (++f->done == f->sent || f->sent - f->done == IN_FLIGHT / 2)
        pthread_cond_signal(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void wait_flow(struct flow *f, size_t sending, size_t most)
{
    pthread_mutex_lock(&f->lock);
    if (f->sent - f->done + sending > IN_FLIGHT || most == 0)
        while (f->sent - f->done > most)
            pthread_cond_wait(&f->cond, &f->lock);
    f->sent += sending;
    pthread_mutex_unlock(&f->lock);
}

static void *run_appender(void *arg)
{
    struct appender *a = arg;
    struct log_record *records = calloc(a->group, sizeof(*records));
    void **args = calloc(a->group, sizeof(*args));
    char *value = malloc(a->group * RECORD), *keys = malloc(a->group * 16);
    unsigned seed = 1;

    for (size_t i = 0; i < a->group; i++) {
        make_value(value + i * RECORD, RECORD, &seed);
        args[i] = &a->flow;
    }
    for (size_t n = 0; n < a->records; n += a->group) {
        for (size_t i = 0; i < a->group; i++) {
            int k = snprintf(keys + i * 16, 16, "person-%d", rand_r(&seed) % KEYS);

            records[i] = (struct log_record){
                .key = {keys + i * 16, (size_t)k}, .value = {value + i * RECORD, RECORD - (size_t)k}, .time = 1};
        }
        wait_flow(&a->flow, a->group, IN_FLIGHT / 2);
        if (event_log_append(a->log, LOG_EVENTS, LOG_BY_COLLECTOR, records, a->group, on_done, args) != LOG_OK)
            die("append refused");
    }
    wait_flow(&a->flow, 0, 0);
    free(records);
    free(args);
    free(value);
    free(keys);
    return NULL;
}

static double run_log(const char *folder, size_t records, size_t group)
{
    struct event_log_options o = {.path = folder, .partitions = PARTITIONS};
    struct appender a[THREADS];
    pthread_t threads[THREADS];
    struct event_log *log;
    struct err e = {0};

    if (event_log_open_local(&o, &log, &e) != 0)
        die(e.text);
    int64_t start = clock_monotonic();
    for (int i = 0; i < THREADS; i++) {
        a[i] = (struct appender){.log = log, .records = records / THREADS, .group = group};
        pthread_mutex_init(&a[i].flow.lock, NULL);
        pthread_cond_init(&a[i].flow.cond, NULL);
        if (pthread_create(&threads[i], NULL, run_appender, &a[i]) != 0)
            die("no thread");
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    double seconds = (double)(clock_monotonic() - start) / 1000;
    event_log_close(log);
    return (double)records / seconds;
}

static double run_read(const char *folder, size_t *records)
{
    struct event_log_options o = {.path = folder, .partitions = PARTITIONS};
    struct log_record *out = calloc(1000, sizeof(*out));
    struct log_reader *r;
    struct event_log *log;
    struct err e = {0};
    int n;

    if (event_log_open_local(&o, &log, &e) != 0 || log_reader_open(log, LOG_EVENTS, NULL, &r, &e) != 0)
        die(e.text);
    int64_t start = clock_monotonic();
    *records = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++)
        while ((n = log_reader_read(r, p, out, 1000, MIB, &e)) > 0)
            *records += (size_t)n;
    double seconds = (double)(clock_monotonic() - start) / 1000;
    log_reader_close(r);
    event_log_close(log);
    free(out);
    return (double)*records / seconds;
}

static double run_raw(const char *folder, size_t records, size_t batch)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_writeoptions_t *w = rocksdb_writeoptions_create();
    rocksdb_writebatch_t *b = rocksdb_writebatch_create();
    char value[RECORD], *text = NULL;
    unsigned seed = 1;

    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_lz4_compression);
    rocksdb_writeoptions_set_sync(w, 1);
    make_value(value, sizeof(value), &seed);
    rocksdb_t *db = rocksdb_open(o, folder, &text);
    int64_t start = clock_monotonic();
    for (size_t n = 0; n < records && !text; n++) {
        unsigned char key[8];

        for (int i = 0; i < 8; i++)
            key[i] = (unsigned char)(n >> (56 - 8 * i));
        rocksdb_writebatch_put(b, (char *)key, sizeof(key), value, sizeof(value) - sizeof(key));
        if ((n + 1) % batch == 0 || n + 1 == records) {
            rocksdb_write(db, w, b, &text);
            rocksdb_writebatch_clear(b);
        }
    }
    double seconds = (double)(clock_monotonic() - start) / 1000;
    if (text)
        die(text);
    rocksdb_writebatch_destroy(b);
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(w);
    rocksdb_options_destroy(o);
    return (double)records / seconds;
}

static double cpu_seconds(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

struct figure {
    double rate; /* the best of the rounds */
    double cpu;  /* seconds of its round, all threads, the store's too */
};

static void note(struct figure *f, double rate, double cpu)
{
    if (rate > f->rate)
        *f = (struct figure){rate, cpu};
}

static void print_figure(const char *what, struct figure f, struct figure raw, size_t records)
{
    printf("%-34s %8.0f records/s, %.2f of raw, %.2f us of CPU a record\n", what, f.rate, f.rate / raw.rate,
           f.cpu * 1e6 / (double)records);
}

int main(int argc, char **argv)
{
    size_t records = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000, n = 0, sum = 0;
    char folder[256], sub[300], command[600];
    struct figure figure[4] = {{0}};

    snprintf(folder, sizeof(folder), "%s/waymark-bench-XXXXXX", argc > 2 ? argv[2] : "/tmp");
    if (!mkdtemp(folder))
        die("no temporary folder");
    records -= records % (THREADS * 50);
    for (int i = 0; i < 3 * ROUNDS; i++) {
        double before = cpu_seconds(), rate;

        snprintf(sub, sizeof(sub), "%s/%d", folder, i);
        if (i % 3 == 0)
            rate = run_raw(sub, records, LIMIT_LOG_COMMIT_BYTES / RECORD);
        else
            rate = run_log(sub, records, i % 3 == 1 ? 1 : 50);
        note(&figure[i % 3], rate, cpu_seconds() - before);
        if (i % 3 == 2) {
            before = cpu_seconds();
            rate = run_read(sub, &n);
            note(&figure[3], rate, cpu_seconds() - before);
            sum += n;
        }
        sync(); /* the next one does not pay for this one's pages */
    }
    printf("%zu records of %d bytes, best of %d rounds; raw: a sync per %zu records\n", records, RECORD, ROUNDS,
           LIMIT_LOG_COMMIT_BYTES / RECORD);
    print_figure("raw RocksDB", figure[0], figure[0], records);
    print_figure("event log, 2 threads, groups of 1", figure[1], figure[0], records);
    print_figure("event log, 2 threads, groups of 50", figure[2], figure[0], records);
    print_figure("event log, read from the start", figure[3], figure[0], records);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command) == 0 && sum == ROUNDS * records ? 0 : 1;
}
