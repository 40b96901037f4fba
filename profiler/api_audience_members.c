/* Who is in an audience, by pages, and why somebody is or is not. Members go partition by partition: a page begins in
 * the partition that its cursor names, and goes on through those that are here; the instance that has the next one is
 * asked for a page of its own. Look-up threads. */
#include <errno.h>
#include <stdlib.h>

#include "common/clock.h"
#include "profiler/api_audience.h"
#include "profiler/render.h"

#define MEMBERS_STANDARD 100
#define MEMBERS_MOST 1000

/* --- pages ---------------------------------------------------------------------------------------------------- */

/* To what cursors are bound. */
static struct str binding(struct ask *ask)
{
    return id_join("audience:", ask->name, http_arena(ask->request));
}

/* A place is kept in the members that a cursor of a path has for its own. Another instance says from where on. */
static bool read_place(struct ask *ask)
{
    struct str text = http_query(ask->request, ask->forwarded ? "place" : "cursor"), bound = binding(ask);
    struct cursor c;

    ask->place = (struct audience_place){0, 0};
    if (text.n == 0)
        return true;
    if (!str_has(bound) || cursor_read(text, bound, &c) != 0 || c.last.time < 0 ||
        c.last.time >= ask->api->o.conf->partitions) {
        ask_error(ask, 400, "cursor_invalid", "the cursor is not of the members of this audience");
        return false;
    }
    ask->place = (struct audience_place){(uint32_t)c.last.time, c.last.position};
    return true;
}

static void write_cursor(struct ask *ask, struct buf *b)
{
    const struct cursor c = {.last = {.time = ask->place.partition, .position = ask->place.number},
                             .from = TIME_NONE,
                             .to = TIME_NONE,
                             .as_of = TIME_NONE};

    cursor_write(b, &c, binding(ask));
}

static void write_next(struct ask *ask, struct buf *b)
{
    if (ask->place.partition >= ask->api->o.conf->partitions) {
        buf_add_text(b, "null");
        return;
    }
    buf_add_char(b, '"');
    write_cursor(ask, b);
    buf_add_char(b, '"');
}

bool prepare_members(struct ask *ask)
{
    return prepare_named(ask) && ask_read_limit(ask, MEMBERS_STANDARD, MEMBERS_MOST) && read_place(ask);
}

/* A page that begins elsewhere: that instance's answer. On the forwarder's thread. */
static void owner_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;

    if (c->call.status != 0) {
        ask_pass_on(ask, c);
        return;
    }
    buf_deinit(&c->call.body);
    ask_error(ask, 503, "unavailable", "the instance that has partition %u did not answer", ask->place.partition);
}

static void ask_owner(struct ask *ask)
{
    char base[PEER_URL];
    struct buf more;

    buf_init(&more, KIB);
    buf_add_text(&more, ask->after_count > 0 ? "judged=true&place=" : "place=");
    write_cursor(ask, &more);
    buf_add_char(&more, '\0');
    if (!peer_of(ask, ask->place.partition, base, sizeof base))
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", ask->place.partition);
    else if (more.failed || !peer_ask(ask, &ask->peer, base, http_path(ask->request), more.p, owner_answered))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&more);
}

static void write_ids(struct ask *ask, struct buf *b, const struct str *ids, size_t n, size_t given)
{
    for (size_t i = 0; i < n; i++) {
        if (given + i > 0)
            buf_add_char(b, ',');
        json_write_str(b, ids[i]);
        ask_audit_target(ask, ids[i]);
    }
}

enum { PAGE_FULL = 0, PAGE_ELSEWHERE = 2 };

/* Adds members of the partition of the place, which moves on. */
static int add_members(struct ask *ask, struct buf *b, size_t *given, struct err *e)
{
    uint32_t partition = ask->place.partition;
    struct str *ids = NULL;
    struct arena arena;
    size_t n = 0;

    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        break;
    case OWNERSHIP_NOT_YET:
        return -ENOTCONN;
    case OWNERSHIP_ELSEWHERE:
        return PAGE_ELSEWHERE;
    }
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    int r = audiences_members(ask->api->o.audiences, ask->name, &ask->place, ask->limit - *given, &arena, &ids, &n, e);
    if (r == 0 && api_owns(ask->api, partition) != OWNERSHIP_SERVES)
        r = -ENOTCONN; /* somebody else may have shown more by now */
    if (r == 0) {
        write_ids(ask, b, ids, n, *given);
        *given += n;
    }
    arena_deinit(&arena);
    return r;
}

static void answer_members(struct ask *ask, struct buf *b, size_t given)
{
    buf_add_text(b, "],\"next\":");
    write_next(ask, b);
    buf_add_char(b, '}');
    ask_audit_count(ask, given);
    if (given == 0)
        ask_audit_nothing(ask);
    ask_answer(ask, b);
}

void run_members(struct ask *ask)
{
    uint32_t first = ask->place.partition;
    struct err e = {0};
    size_t given = 0;
    struct buf b;
    int r = 0;

    if (!ask_is_judged(ask))
        return;
    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_text(&b, "{\"members\":[");
    while (r == 0 && given < ask->limit && ask->place.partition < ask->api->o.conf->partitions)
        r = add_members(ask, &b, &given, &e);
    if (r == PAGE_ELSEWHERE && given == 0 && !ask->forwarded)
        ask_owner(ask);
    else if (r == PAGE_ELSEWHERE && ask->forwarded && ask->place.partition == first)
        ask_not_owner(ask, first);
    else if (r == 0 || r == PAGE_ELSEWHERE)
        answer_members(ask, &b, given);
    else if (r == -ENOTCONN)
        ask_error(ask, 503, "not_yet", "the people of partition %u are not known yet", ask->place.partition);
    else if (r == AUDIENCE_NOT_FOUND)
        ask_error(ask, 404, "audience_not_found", "there is no audience of this name");
    else
        ask_broken(ask, r, &e);
    buf_deinit(&b);
}
