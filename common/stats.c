/* Metrics. A counter is a few cache lines, each thread adding to one of them, so that no two wait for each other; the
 * reader sums. Registering takes a lock, adding none. Any thread. */
#include "common/stats.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/num.h"

#define SHARDS 8
#define CACHE_LINE 64

static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
#define BOUNDS (sizeof bounds / sizeof bounds[0])
#define GREATEST_SECONDS 1e6 /* of one observation, so that a sum of nanoseconds never wraps */

struct counter_shard {
    alignas(CACHE_LINE) _Atomic uint64_t n;
};

struct stats_counter {
    struct counter_shard shards[SHARDS];
};

struct histogram_shard {
    alignas(CACHE_LINE) _Atomic uint64_t buckets[BOUNDS + 1];
    _Atomic uint64_t nanoseconds;
};

struct stats_histogram {
    struct histogram_shard shards[SHARDS];
};

struct series {
    struct series *next;
    char *labels; /* "" for none */
    void *cell;   /* stats_counter or stats_histogram, by the family's kind */
};

enum kind { COUNTER, HISTOGRAM };

/* All series of one name. */
struct family {
    struct family *next;
    char *name, *help;
    enum kind kind;
    struct series *series, **tail;
};

struct gauges {
    struct gauges *next;
    stats_gauges *write;
    void *arg;
};

struct stats {
    pthread_mutex_t lock; /* of the lists; what stands in them is never taken out */
    struct family *families, **family_tail;
    struct gauges *gauges, **gauges_tail;
};

/* The shard of this thread: threads take them in turn. */
static unsigned own_shard(void)
{
    static _Atomic unsigned next;
    static _Thread_local unsigned mine; /* 0: not yet taken */

    if (mine == 0)
        mine = 1 + atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % SHARDS;
    return mine - 1;
}

/* Objects made at start-up: when memory is out there, the program cannot run. */
static void *must(void *p)
{
    if (!p)
        abort();
    return p;
}

static void *new_cell(size_t size)
{
    return memset(must(aligned_alloc(CACHE_LINE, size)), 0, size);
}

struct stats *stats_new(void)
{
    struct stats *s = must(calloc(1, sizeof *s));

    pthread_mutex_init(&s->lock, NULL);
    s->family_tail = &s->families;
    s->gauges_tail = &s->gauges;
    return s;
}

static void family_free(struct family *f)
{
    for (struct series *s = f->series, *next; s; s = next) {
        next = s->next;
        free(s->labels);
        free(s->cell);
        free(s);
    }
    free(f->name);
    free(f->help);
    free(f);
}

void stats_free(struct stats *s)
{
    if (!s)
        return;
    for (struct family *f = s->families, *next; f; f = next) {
        next = f->next;
        family_free(f);
    }
    for (struct gauges *g = s->gauges, *next; g; g = next) {
        next = g->next;
        free(g);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct family *get_family(struct stats *s, enum kind kind, const char *name, const char *help)
{
    struct family *f = s->families;

    while (f && strcmp(f->name, name) != 0)
        f = f->next;
    if (!f) {
        f = must(calloc(1, sizeof *f));
        f->name = must(strdup(name));
        f->help = must(strdup(help));
        f->kind = kind;
        f->tail = &f->series;
        *s->family_tail = f;
        s->family_tail = &f->next;
    }
    assert(f->kind == kind);
    return f;
}

static void *get_cell(struct stats *s, enum kind kind, const char *name, const char *labels, const char *help)
{
    size_t size = kind == COUNTER ? sizeof(struct stats_counter) : sizeof(struct stats_histogram);

    if (!labels)
        labels = "";
    pthread_mutex_lock(&s->lock);
    struct family *f = get_family(s, kind, name, help);
    struct series *one = f->series;
    while (one && strcmp(one->labels, labels) != 0)
        one = one->next;
    if (!one) {
        one = must(calloc(1, sizeof *one));
        one->labels = must(strdup(labels));
        one->cell = new_cell(size);
        *f->tail = one;
        f->tail = &one->next;
    }
    pthread_mutex_unlock(&s->lock);
    return one->cell;
}

struct stats_counter *stats_counter(struct stats *s, const char *name, const char *labels, const char *help)
{
    return get_cell(s, COUNTER, name, labels, help);
}

void stats_add(struct stats_counter *c, uint64_t n)
{
    atomic_fetch_add_explicit(&c->shards[own_shard()].n, n, memory_order_relaxed);
}

uint64_t stats_get(const struct stats_counter *c)
{
    uint64_t sum = 0;

    for (int i = 0; i < SHARDS; i++)
        sum += atomic_load_explicit(&c->shards[i].n, memory_order_relaxed);
    return sum;
}

struct stats_histogram *stats_histogram(struct stats *s, const char *name, const char *labels, const char *help)
{
    return get_cell(s, HISTOGRAM, name, labels, help);
}

void stats_observe(struct stats_histogram *h, double seconds)
{
    struct histogram_shard *shard = &h->shards[own_shard()];
    size_t bucket = 0;

    if (!(seconds > 0)) /* a clock that stepped back, or no number */
        seconds = 0;
    if (seconds > GREATEST_SECONDS)
        seconds = GREATEST_SECONDS;
    while (bucket < BOUNDS && seconds > bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&shard->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&shard->nanoseconds, (uint64_t)(seconds * 1e9), memory_order_relaxed);
}

void stats_add_gauges(struct stats *s, stats_gauges *write, void *arg)
{
    struct gauges *g = must(calloc(1, sizeof *g));

    g->write = write;
    g->arg = arg;
    pthread_mutex_lock(&s->lock);
    *s->gauges_tail = g;
    s->gauges_tail = &g->next;
    pthread_mutex_unlock(&s->lock);
}

static void write_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_addf(out, "# HELP %s ", name);
    for (const char *p = help; *p; p++) {
        if (*p == '\\')
            buf_add_text(out, "\\\\");
        else if (*p == '\n')
            buf_add_text(out, "\\n");
        else
            buf_add_char(out, *p);
    }
    buf_addf(out, "\n# TYPE %s %s\n", name, type);
}

static void write_value(struct buf *out, double v)
{
    if (isnan(v))
        buf_add_text(out, "NaN");
    else if (isinf(v))
        buf_add_text(out, v < 0 ? "-Inf" : "+Inf");
    else
        num_write_double(out, v);
}

void stats_gauge_head(struct buf *out, const char *name, const char *help)
{
    write_head(out, name, "gauge", help);
}

void stats_gauge_line(struct buf *out, const char *name, const char *labels, double value)
{
    buf_add_text(out, name);
    if (labels && *labels)
        buf_addf(out, "{%s}", labels);
    buf_add_char(out, ' ');
    write_value(out, value);
    buf_add_char(out, '\n');
}

static void write_counter(struct buf *out, const char *name, const struct series *s)
{
    buf_add_text(out, name);
    if (*s->labels)
        buf_addf(out, "{%s}", s->labels);
    buf_addf(out, " %llu\n", (unsigned long long)stats_get(s->cell));
}

/* name_suffix{labels} */
static void write_sample_name(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    buf_addf(out, "%s%s", name, suffix);
    if (*labels)
        buf_addf(out, "{%s}", labels);
    buf_add_char(out, ' ');
}

static void write_histogram(struct buf *out, const char *name, const struct series *s)
{
    const struct stats_histogram *h = s->cell;
    uint64_t count = 0, nanoseconds = 0;

    for (size_t b = 0; b <= BOUNDS; b++) {
        for (int i = 0; i < SHARDS; i++)
            count += atomic_load_explicit(&h->shards[i].buckets[b], memory_order_relaxed);
        buf_addf(out, "%s_bucket{%s%sle=\"", name, s->labels, *s->labels ? "," : "");
        write_value(out, b < BOUNDS ? bounds[b] : INFINITY);
        buf_addf(out, "\"} %llu\n", (unsigned long long)count);
    }
    for (int i = 0; i < SHARDS; i++)
        nanoseconds += atomic_load_explicit(&h->shards[i].nanoseconds, memory_order_relaxed);
    write_sample_name(out, name, "_sum", s->labels);
    write_value(out, (double)nanoseconds / 1e9);
    buf_add_char(out, '\n');
    write_sample_name(out, name, "_count", s->labels);
    buf_addf(out, "%llu\n", (unsigned long long)count);
}

static void write_family(struct buf *out, const struct family *f)
{
    write_head(out, f->name, f->kind == COUNTER ? "counter" : "histogram", f->help);
    for (const struct series *s = f->series; s; s = s->next) {
        if (f->kind == COUNTER)
            write_counter(out, f->name, s);
        else
            write_histogram(out, f->name, s);
    }
}

static const char help_mark[] = "# HELP ";

/* Where the section after the one at `p` begins. */
static const char *next_section(const char *p, const char *end)
{
    for (;;) {
        p = memchr(p, '\n', (size_t)(end - p));
        if (!p || ++p == end)
            return end;
        if (str_starts((struct str){p, (size_t)(end - p)}, STR_LIT(help_mark)))
            return p;
    }
}

static struct str section_name(const char *p, const char *end)
{
    const char *from = p + sizeof help_mark - 1;
    const char *stop = from < end ? memchr(from, ' ', (size_t)(end - from)) : NULL;

    return stop ? (struct str){from, (size_t)(stop - from)} : STR_NONE;
}

/* The lines of a section behind its HELP and TYPE. */
static struct str section_lines(const char *p, const char *end)
{
    for (int i = 0; i < 2 && p < end; i++) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        p = line_end ? line_end + 1 : end;
    }
    return (struct str){p, (size_t)(end - p)};
}

static bool seen_before(const char *from, const char *p, struct str name)
{
    for (const char *q = from; q < p; q = next_section(q, p))
        if (str_eq(section_name(q, p), name))
            return true;
    return false;
}

/* Several writers may have lines of one name; Prometheus wants them together under one head. */
static void write_gauges(struct buf *out, struct str text)
{
    const char *end = text.p + text.n;

    for (const char *p = text.p, *next; p < end; p = next) {
        struct str name = section_name(p, end);
        next = next_section(p, end);
        if (seen_before(text.p, p, name))
            continue;
        buf_add(out, p, (size_t)(next - p));
        for (const char *q = next, *after; q < end; q = after) {
            after = next_section(q, end);
            if (str_eq(section_name(q, end), name))
                buf_add_str(out, section_lines(q, after));
        }
    }
}

void stats_write(struct stats *s, struct buf *out)
{
    struct buf text;

    buf_init(&text, out->max);
    pthread_mutex_lock(&s->lock);
    const struct gauges *first = s->gauges;
    for (const struct family *f = s->families; f; f = f->next)
        write_family(out, f);
    pthread_mutex_unlock(&s->lock);

    /* Outside the lock: a writer may register. The list only grows at its end. */
    for (const struct gauges *g = first; g;) {
        g->write(&text, g->arg);
        pthread_mutex_lock(&s->lock);
        g = g->next;
        pthread_mutex_unlock(&s->lock);
    }
    if (text.failed)
        out->failed = true;
    else
        write_gauges(out, buf_str(&text));
    buf_deinit(&text);
}
