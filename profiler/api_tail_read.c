/* Reading a page of a tail, on a thread of its own: the log may be on other machines, and a look-up must not wait for
 * it. The thread keeps a reader of each topic, for the next page mostly goes on where the last one ended. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

#define READ_AT_ONCE 64
#define PAGE_MS 1000 /* for records that are known to be there */

/* A reader of one topic, and where it stands in each partition; -1: nowhere. */
struct kept_reader {
    struct log_reader *reader;
    int64_t *at;
};

struct tails {
    struct lookups *thread; /* one */
    struct kept_reader kept[LOG_TOPICS];
    uint32_t partitions;
};

/* --- readers -------------------------------------------------------------------------------------------------- */

static void kept_close(struct kept_reader *k)
{
    log_reader_close(k->reader);
    free(k->at);
    *k = (struct kept_reader){0};
}

static int kept_open(struct tails *t, struct event_log *log, enum log_topic topic, struct err *e)
{
    struct kept_reader *k = &t->kept[topic];

    if (k->reader)
        return 0;
    k->at = malloc(t->partitions * sizeof *k->at);
    int r = k->at ? log_reader_open(log, topic, NULL, &k->reader, e) : -ENOMEM;
    if (r != 0) {
        free(k->at);
        *k = (struct kept_reader){0};
        return r;
    }
    for (uint32_t p = 0; p < t->partitions; p++)
        k->at[p] = -1;
    return 0;
}

/* --- a page -------------------------------------------------------------------------------------------------- */

/* One page while it is made. */
struct page {
    struct ask *ask;
    struct kept_reader *kept;
    const bool *told; /* for each partition, whether the page speaks of it */
    int64_t until;    /* monotonic ms */
    struct buf *b;
    struct arena arena;
    size_t given;
};

/* To the place asked for, or where the log begins when that is gone. 0, 1 where there is nothing to read, or a negative
 * errno. */
static int seek(struct page *p, uint32_t partition, int64_t end)
{
    struct ask *ask = p->ask;
    int64_t begin = event_log_begin(ask->api->o.log, ask->topic, partition);

    if (ask->next[partition] < begin)
        ask->next[partition] = begin;
    if (ask->next[partition] >= end)
        return 1;
    if (p->kept->at[partition] == ask->next[partition])
        return 0;
    int r = log_reader_seek(p->kept->reader, partition, ask->next[partition]);
    if (r == 0)
        p->kept->at[partition] = ask->next[partition];
    return r == LOG_READ_GAP ? 1 : r;
}

/* The next records of a partition that has some: they may still be on their way here. How many, 0 when they did not
 * come in time, or a negative errno. */
static int read_some(struct page *p, uint32_t partition, struct log_record *records, size_t most, struct err *e)
{
    for (;;) {
        int got = log_reader_read(p->kept->reader, partition, records, most, MIB, e);
        int64_t left = p->until - clock_monotonic();
        if (got != 0 || left <= 0)
            return got;
        log_reader_wait(p->kept->reader, &partition, 1, left);
    }
}

/* What partitions tell each other, commands, and what is left of the erased, are no events. */
static bool is_shown(const struct log_record *r)
{
    return r->kind != LOG_KIND_INTERNAL && r->kind != LOG_KIND_COMMAND && r->kind != LOG_KIND_CLAIM &&
           r->kind != LOG_KIND_ERASED;
}

static bool add_record(struct page *p, const struct log_record *r, uint32_t partition)
{
    size_t before = p->b->n;

    if (p->given)
        buf_add_char(p->b, ',');
    if (tail_write_record(p->ask, p->b, r, partition, &p->arena))
        return true;
    p->b->n = before;
    return false;
}

static int read_partition(struct page *p, uint32_t partition, size_t most, struct err *e)
{
    struct log_record records[READ_AT_ONCE];
    struct ask *ask = p->ask;
    int64_t end = tail_end(ask, partition), *at = &p->kept->at[partition];
    int r = seek(p, partition, end);

    if (r != 0)
        return r < 0 ? r : 0;
    while (most > 0 && ask->next[partition] < end && p->b->n < LIMIT_PAGE_BYTES) {
        int64_t left = end - ask->next[partition];
        size_t n = most < READ_AT_ONCE ? most : READ_AT_ONCE;
        int got = read_some(p, partition, records, (int64_t)n < left ? n : (size_t)left, e);
        if (got <= 0)
            return got;
        *at = records[got - 1].offset + 1;
        for (int i = 0; i < got && p->b->n < LIMIT_PAGE_BYTES; i++) {
            ask->next[partition] = records[i].offset + 1;
            if (!is_shown(&records[i]) || !add_record(p, &records[i], partition))
                continue;
            p->given++;
            most--;
        }
        if (clock_monotonic() >= p->until) /* perhaps nothing but what is not shown */
            return 0;
    }
    return 0;
}

/* Each partition gets its share of the page, so that a busy one does not hide the others. */
static int read_page(struct page *p, struct err *e)
{
    uint32_t n = tail_partitions(p->ask);
    int r = 0;

    for (uint32_t i = 0; r == 0 && i < n && p->given < p->ask->limit; i++) {
        if (!p->told[i])
            continue;
        size_t share = (p->ask->limit - p->given) / (n - i);
        r = read_partition(p, i, share ? share : 1, e);
    }
    return r;
}

static void write_position(const struct ask *ask, struct buf *b)
{
    bool first = true;

    json_write_key(b, "position");
    buf_add_char(b, '"');
    for (uint32_t p = 0; p < tail_partitions(ask); p++) {
        if (ask->next[p] == 0)
            continue;
        buf_addf(b, "%s%" PRIu32 ":%" PRId64, first ? "" : ",", p, ask->next[p] - 1);
        first = false;
    }
    buf_add_char(b, '"');
}

/* Of events: those partitions that the answer speaks of, which where several instances share the log are not all. */
static void write_partitions(const struct page *p)
{
    bool first = true;

    if (p->ask->topic == LOG_BAD)
        return;
    json_write_key(p->b, "partitions");
    buf_add_char(p->b, '[');
    for (uint32_t i = 0; i < tail_partitions(p->ask); i++) {
        if (!p->told[i])
            continue;
        buf_addf(p->b, "%s%" PRIu32, first ? "" : ",", i);
        first = false;
    }
    buf_add_char(p->b, ']');
}

/* --- the route ------------------------------------------------------------------------------------------------ */

/* False when it has answered: all that is followed here must be caught up, as for every look-up. */
static bool find_told(struct ask *ask)
{
    bool *told = arena_zalloc(http_arena(ask->request), ask->api->o.conf->partitions * sizeof *told);

    if (!told) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    for (uint32_t p = 0; p < ask->api->o.conf->partitions; p++) {
        enum ownership_answer owns = api_owns(ask->api, p);
        if (owns == OWNERSHIP_NOT_YET) {
            ask_not_yet(ask, p);
            return false;
        }
        told[p] = owns == OWNERSHIP_SERVES || ask->topic == LOG_BAD;
    }
    ask->told = told;
    return true;
}

static int write_page(struct page *p, struct err *e)
{
    buf_add_text(p->b, "{\"events\":[");
    int r = read_page(p, e);
    buf_add_char(p->b, ']');
    write_partitions(p);
    write_position(p->ask, p->b);
    buf_add_char(p->b, '}');
    return r;
}

/* On the tails' thread. After an error the reader is opened anew. */
static void read_tail(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    struct tails *t = ask->api->tails;
    struct buf body;
    struct page p = {
        .ask = ask, .kept = &t->kept[ask->topic], .told = ask->told, .until = clock_monotonic() + PAGE_MS, .b = &body};
    struct err e = {0};

    (void)in_time;
    arena_init(&p.arena, LIMIT_LOOKUP_ARENA);
    buf_init(&body, LIMIT_ANSWER_BYTES);
    int r = kept_open(t, ask->api->o.log, ask->topic, &e);
    if (r == 0)
        r = write_page(&p, &e);
    if (p.given == 0)
        ask_audit_nothing(ask);
    ask_audit_count(ask, p.given);
    if (r == 0)
        ask_answer(ask, &body);
    else if (r == -EAGAIN)
        ask_error(ask, 503, "unavailable", "the event log does not answer now");
    else
        ask_broken(ask, r, &e);
    if (r != 0)
        kept_close(p.kept); /* the request may be gone */
    buf_deinit(&body);
    arena_deinit(&p.arena);
}

void run_tail(struct ask *ask)
{
    if (!find_told(ask))
        return;
    ask->job = (struct lookup_job){.run = read_tail};
    if (!lookups_submit(ask->api->tails->thread, &ask->job))
        ask_error(ask, 503, "unavailable", "too many requests are waiting");
}

int tails_start(struct api *a, struct err *e)
{
    a->tails = calloc(1, sizeof *a->tails);
    if (!a->tails)
        return -ENOMEM;
    a->tails->partitions = a->o.conf->partitions;
    return lookups_start(1, &a->tails->thread, e);
}

void tails_stop(struct api *a)
{
    struct tails *t = a->tails;

    if (!t)
        return;
    if (t->thread)
        lookups_finish(t->thread);
    lookups_free(t->thread);
    for (int i = 0; i < LOG_TOPICS; i++)
        kept_close(&t->kept[i]);
    free(t);
    a->tails = NULL;
}
