/* The tail: what was folded or refused behind a position, as it comes. A client asks again and again with the position
 * of the last answer, and each time waits a little. Parameters on pool threads, reading on look-up threads. */
#include <inttypes.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"
#include "proto/codec.h"

#define LIMIT_STANDARD 100
#define READ_AT_ONCE 64

static uint32_t partitions_of(const struct ask *ask)
{
    return ask->topic == LOG_BAD ? 1 : ask->api->o.conf->partitions;
}

/* One past the last record that may be shown: of events what is folded, of refused ones what is durable. */
static int64_t end_of(const struct ask *ask, uint32_t partition)
{
    if (ask->topic == LOG_BAD)
        return event_log_end(ask->api->o.log, LOG_BAD, 0);
    return followers_shown(ask->api->o.followers, partition);
}

/* Events are shown where they are folded; what others fold they tell. */
static bool is_told(const struct ask *ask, uint32_t partition)
{
    return ask->topic == LOG_BAD || api_owns(ask->api, partition) != OWNERSHIP_ELSEWHERE;
}

bool met_tail(const struct ask *ask)
{
    for (uint32_t p = 0; p < partitions_of(ask); p++)
        if (end_of(ask, p) > ask->next[p] && is_told(ask, p))
            return true;
    return false;
}

/* Without a position from now on; a partition that a position does not name had nothing yet. */
static bool read_start(struct ask *ask)
{
    struct api *a = ask->api;
    bool given = http_query(ask->request, "after").n > 0;

    ask->next = arena_zalloc(http_arena(ask->request), partitions_of(ask) * sizeof *ask->next);
    if (!ask->next) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    if (!ask_read_places(ask, "after", &ask->after, &ask->after_count))
        return false;
    for (uint32_t p = 0; p < partitions_of(ask); p++)
        ask->next[p] = given ? event_log_begin(a->o.log, ask->topic, p) : end_of(ask, p);
    for (size_t i = 0; i < ask->after_count; i++)
        if (ask->next[ask->after[i].partition] <= ask->after[i].offset)
            ask->next[ask->after[i].partition] = ask->after[i].offset + 1;
    return true;
}

bool prepare_tail(struct ask *ask)
{
    struct str topic = http_query(ask->request, "topic");

    if (topic.n && !str_is(topic, "events") && !str_is(topic, "bad")) {
        ask_error(ask, 400, "parameter_invalid", "topic is events or bad");
        return false;
    }
    ask->topic = str_is(topic, "bad") ? LOG_BAD : LOG_EVENTS;
    return ask_read_limit(ask, LIMIT_STANDARD, LIMIT_TAIL_PAGE) && read_start(ask);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

/* Once persons are joined this is still who the event named, not who has it. */
static void write_profile_id(struct buf *b, const struct event *e, struct arena *a)
{
    struct str id = event_log_key(e);
    struct str prefix = str_has(e->user_id) ? STR_LIT("user:") : STR_LIT("anon:");
    char *text = arena_alloc(a, prefix.n + id.n);

    if (!text)
        return;
    memcpy(text, prefix.p, prefix.n);
    memcpy(text + prefix.n, id.p, id.n);
    json_write_member(b, "profile", (struct str){text, prefix.n + id.n});
}

static void write_event(const struct ask *ask, struct buf *b, struct str bytes, struct arena *a)
{
    struct event e;

    if (event_unpack(bytes, a, &e) != CODEC_OK) {
        json_write_member(b, "unreadable", STR_LIT("not an event of this version"));
        return;
    }
    render_event_members(b, &(struct render_event){.event = &e, .rules = ask->api->o.rules});
    write_profile_id(b, &e, a);
}

static void write_bad(struct buf *b, struct str bytes, struct arena *a)
{
    struct bad_event e;

    if (bad_event_unpack(bytes, a, &e) != CODEC_OK) {
        json_write_member(b, "unreadable", STR_LIT("not a refused event of this version"));
        return;
    }
    render_time_member(b, "received_at", e.received);
    json_write_member(b, "source", e.source);
    json_write_member(b, "route", e.route);
    json_write_key(b, "index");
    buf_addf(b, "%" PRIu32, e.position);
    json_write_member(b, "code", e.code);
    json_write_member(b, "message", e.message);
    json_write_member(b, "bytes", e.bytes);
    json_write_key(b, "size");
    buf_addf(b, "%" PRIu64, e.full_size);
}

static void write_record(const struct ask *ask, struct buf *b, const struct log_record *r, uint32_t partition,
                         struct arena *a)
{
    arena_reset(a);
    buf_add_char(b, '{');
    if (r->kind == LOG_KIND_BAD)
        write_bad(b, r->value, a);
    else
        write_event(ask, b, r->value, a);
    json_write_key(b, "partition");
    buf_addf(b, "%" PRIu32, partition);
    json_write_key(b, "offset");
    buf_addf(b, "%" PRId64 "}", r->offset);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

/* One page while it is made. */
struct page {
    struct ask *ask;
    struct log_reader *reader;
    const bool *told; /* for each partition, whether the page speaks of it */
    struct buf *b;
    struct arena arena;
    size_t given;
};

/* At the place asked for, or where the log begins when that is gone; false where there is nothing to read. */
static bool seek(struct page *p, uint32_t partition, int64_t end)
{
    struct ask *ask = p->ask;
    int64_t begin = event_log_begin(ask->api->o.log, ask->topic, partition);

    if (ask->next[partition] < begin)
        ask->next[partition] = begin;
    return ask->next[partition] < end && log_reader_seek(p->reader, partition, ask->next[partition]) == 0;
}

static int read_partition(struct page *p, uint32_t partition, size_t most, struct err *e)
{
    struct log_record records[READ_AT_ONCE];
    struct ask *ask = p->ask;
    int64_t end = end_of(ask, partition);

    if (!seek(p, partition, end))
        return 0;
    while (most > 0 && ask->next[partition] < end && p->b->n < LIMIT_PAGE_BYTES) {
        int64_t left = end - ask->next[partition];
        size_t n = most < READ_AT_ONCE ? most : READ_AT_ONCE;
        int got = log_reader_read(p->reader, partition, records, (int64_t)n < left ? n : (size_t)left, MIB, e);
        if (got <= 0)
            return got;
        for (int i = 0; i < got && p->b->n < LIMIT_PAGE_BYTES; i++) {
            if (p->given++)
                buf_add_char(p->b, ',');
            write_record(ask, p->b, &records[i], partition, &p->arena);
            ask->next[partition] = records[i].offset + 1;
            most--;
        }
    }
    return 0;
}

/* Each partition gets its share of the page, so that a busy one does not hide the others. */
static int read_page(struct page *p, struct err *e)
{
    uint32_t n = partitions_of(p->ask);
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
    for (uint32_t p = 0; p < partitions_of(ask); p++) {
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
    for (uint32_t i = 0; i < partitions_of(p->ask); i++) {
        if (!p->told[i])
            continue;
        buf_addf(p->b, "%s%" PRIu32, first ? "" : ",", i);
        first = false;
    }
    buf_add_char(p->b, ']');
}

/* False when it has answered: all that is followed here must be caught up, as for every look-up. */
static bool find_told(struct ask *ask, const bool **out)
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
    *out = told;
    return true;
}

void run_tail(struct ask *ask)
{
    struct err e = {0};
    struct buf body;
    struct page p = {.ask = ask, .b = &body};

    if (!find_told(ask, &p.told))
        return;
    int r = log_reader_open(ask->api->o.log, ask->topic, NULL, &p.reader, &e);
    if (r != 0) {
        ask_broken(ask, r, &e);
        return;
    }
    arena_init(&p.arena, LIMIT_LOOKUP_ARENA);
    buf_init(&body, LIMIT_ANSWER_BYTES);
    buf_add_text(&body, "{\"events\":[");
    r = read_page(&p, &e);
    buf_add_char(&body, ']');
    write_partitions(&p);
    write_position(ask, &body);
    buf_add_char(&body, '}');
    if (r == 0)
        ask_answer(ask, &body);
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
    arena_deinit(&p.arena);
    log_reader_close(p.reader);
}
