/* The tail: what was folded or refused behind a position, as it comes. A client asks again and again with the position
 * of the last answer, and each time waits a little. Here is what a client asks for, on pool threads, and how a record
 * is written; api_tail_read.c reads. */
#include <inttypes.h>

#include "common/json.h"
#include "common/limits.h"
#include "common/seal.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"
#include "profiler/traits.h"
#include "proto/codec.h"

#define LIMIT_STANDARD 100

uint32_t tail_partitions(const struct ask *ask)
{
    return ask->topic == LOG_BAD ? 1 : ask->api->o.conf->partitions;
}

int64_t tail_end(const struct ask *ask, uint32_t partition)
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
    for (uint32_t p = 0; p < tail_partitions(ask); p++)
        if (tail_end(ask, p) > ask->next[p] && is_told(ask, p))
            return true;
    return false;
}

/* Behind what is there now. Of a partition that is not followed here the log's end stands for what is shown: when it
 * comes here, its past is not told. */
static int64_t now_at(const struct ask *ask, uint32_t partition)
{
    int64_t shown = tail_end(ask, partition);

    return shown >= 0 ? shown : event_log_end(ask->api->o.log, ask->topic, partition);
}

/* Without a position from now on; a partition that a position does not name had nothing yet. */
static bool read_start(struct ask *ask)
{
    struct api *a = ask->api;
    bool given = http_query(ask->request, "after").n > 0;

    ask->next = arena_zalloc(http_arena(ask->request), tail_partitions(ask) * sizeof *ask->next);
    if (!ask->next) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    if (!ask_read_places(ask, "after", &ask->after, &ask->after_count))
        return false;
    for (uint32_t p = 0; p < tail_partitions(ask); p++)
        ask->next[p] = given ? event_log_begin(a->o.log, ask->topic, p) : now_at(ask, p);
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

/* A log of others keeps their records. What cannot be found out is not shown. */
static bool is_erased(const struct ask *ask, const struct event *e, struct str profile)
{
    const struct event_key key = event_key(e);
    bool erased = true;
    struct err why = {0};

    return !str_has(profile) || state_is_erased(ask->api->o.state, profile, &key, &erased, &why) != 0 || erased;
}

static bool write_event(const struct ask *ask, struct buf *b, struct str bytes, struct arena *a)
{
    struct event e;

    buf_add_char(b, '{');
    if (event_unpack(bytes, a, &e) != CODEC_OK) {
        json_write_member(b, "unreadable", STR_LIT("not an event of this version"));
        return true;
    }
    /* Once persons are joined this is still who the event named, not who has it. */
    struct str profile = e.erased ? STR_NONE : id_join(str_has(e.user_id) ? "user:" : "anon:", event_log_key(&e), a);
    if (e.type == EVENT_MARK || is_erased(ask, &e, profile))
        return false;
    render_event_members(b, &(struct render_event){.event = &e, .rules = ask->api->o.rules});
    json_write_member(b, "profile", profile);
    return true;
}

/* What was sent may hold personal values, so collectors seal it, and who asks needs the scope pii to see it. */
static void write_bad_bytes(const struct ask *ask, struct buf *b, struct bad_event *e, struct arena *a)
{
    const struct traits_rules *rules = ask->api->o.rules->traits;

    if (!e->sealed) {
        json_write_member(b, "bytes", e->bytes);
        return;
    }
    if (!ask_sees_pii(ask))
        json_write_member(b, "sealed", STR_LIT("the bytes are sealed; a token with the scope pii shows them"));
    else if (!rules || !rules->keys || seal_open(rules->keys, e->bytes, a, &e->bytes) != SEAL_OK)
        json_write_member(b, "sealed", STR_LIT("the bytes are sealed, and no key of this profiler opens them"));
    else
        json_write_member(b, "bytes", e->bytes);
}

static void write_bad(const struct ask *ask, struct buf *b, struct str bytes, struct arena *a)
{
    struct bad_event e;

    buf_add_char(b, '{');
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
    write_bad_bytes(ask, b, &e, a);
    json_write_key(b, "size");
    buf_addf(b, "%" PRIu64, e.full_size);
}

bool tail_write_record(const struct ask *ask, struct buf *b, const struct log_record *r, uint32_t partition,
                       struct arena *a)
{
    arena_reset(a);
    if (r->kind == LOG_KIND_BAD)
        write_bad(ask, b, r->value, a);
    else if (!write_event(ask, b, r->value, a))
        return false;
    json_write_key(b, "partition");
    buf_addf(b, "%" PRIu32, partition);
    json_write_key(b, "offset");
    buf_addf(b, "%" PRId64 "}", r->offset);
    return true;
}
