/* GET /v1/profiles/{id}/data: everything held about a person, by pages. The first page says what is known of them, and
 * their orders begin there; behind the orders come the events of their path, each with all that is kept of it. Other
 * people are not in it: a device's users are only counted, and of an order that others stated, too, their statements
 * are. The pool thread reads the parameters, a look-up thread the rest. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_identity.h"
#include "profiler/profile_json.h"
#include "profiler/render.h"

static_assert(UID_BYTES >= crypto_generichash_BYTES_MIN, "a hash that BLAKE2b gives");

/* --- parameters ----------------------------------------------------------------------------------------------- */

static bool read_cursor(struct ask *ask)
{
    struct str text = http_query(ask->request, "cursor");
    struct cursor c;

    if (text.n == 0)
        return true;
    if (cursor_read(text, ask_named(ask), &c) != 0 || c.desc || c.from != TIME_NONE || c.to != TIME_NONE) {
        ask_error(ask, 400, "cursor_invalid", "the cursor is not of the data of this profile");
        return false;
    }
    ask->has_cursor = true;
    ask->among_orders = c.orders;
    ask->last = c.last;
    ask->as_of = ask->as_of == TIME_NONE ? c.as_of : ask->as_of;
    return true;
}

bool prepare_data(struct ask *ask)
{
    return ask_read_as_of(ask) && ask_read_limit(ask, LIMIT_PATH_PAGE, LIMIT_PATH_PAGE) && read_cursor(ask);
}

/* --- what is known of the person ------------------------------------------------------------------------------ */

static int write_identity(struct ask *ask, struct buf *b, struct err *e)
{
    struct arena arena;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    json_write_key(b, "identity");
    int r = identity_write(ask, &arena, false, b, e);
    if (r == STATE_NOT_FOUND) {
        buf_add_text(b, "null");
        r = 0;
    }
    arena_deinit(&arena);
    return r;
}

static int write_profile(const struct ask *ask, struct buf *b, const struct state_profile *p)
{
    const struct traits_show all = {.groups = (1u << TRAIT_GROUPS) - 1, .clear = true, .verbose = true};
    struct tags_good good;
    struct buf tags;

    buf_init(&tags, LIMIT_ANSWER_BYTES);
    int r = add_tags(ask, ask->partition, ask->id, &tags, &good);
    if (r == 0) {
        profile_write_ids(b, p);
        json_write_key(b, "profile");
        buf_add_char(b, '{');
        profile_write_known(ask->api->o.rules, &all, b, p, buf_str(&tags));
        buf_add_char(b, '}');
    }
    buf_deinit(&tags);
    return r;
}

/* Facts and traits are those of the view: what was folded since it was taken is not in its events either. */
static int write_person(struct ask *ask, struct view *v, struct buf *b, struct err *e)
{
    struct state_profile p = {.device_count = 0};
    struct arena arena;
    int r;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = state_profile(ask->api->o.state, ask->partition, ask->id, &arena, &p, e);
    if (r == 0) {
        if (ask->as_of != TIME_NONE || p.version != v->state.version)
            r = profile_of_view(ask, v, &p);
        if (r == 0)
            r = write_profile(ask, b, &p);
        traits_deinit(&p.traits);
        facts_deinit(&p.facts);
    }
    arena_deinit(&arena);
    return r == 0 ? write_identity(ask, b, e) : r;
}

/* --- orders --------------------------------------------------------------------------------------------------- */

static struct event_key order_place(const struct order *o)
{
    struct event_key key = {.time = order_time(o)};

    crypto_generichash(key.uid.b, UID_BYTES, (const unsigned char *)o->order_id.p, o->order_id.n, NULL, 0);
    return key;
}

/* The first that is left to give. When the one that the cursor names stands there no more, those of its time are given
 * again: rather twice than never. */
static size_t first_order(const struct ask *ask, const struct view *v)
{
    size_t i = 0;

    if (!ask->has_cursor)
        return 0;
    if (!ask->among_orders)
        return v->order_count;
    while (i < v->order_count && order_time(&v->orders[i]) < ask->last.time)
        i++;
    for (size_t k = i; k < v->order_count && order_time(&v->orders[k]) == ask->last.time; k++) {
        struct event_key place = order_place(&v->orders[k]);
        if (event_key_cmp(&place, &ask->last) == 0)
            return k + 1;
    }
    return i;
}

static int by_key(const void *key, const void *entry)
{
    return event_key_cmp(key, &((const struct path_entry *)entry)->key);
}

static bool in_path(const struct view *v, const struct event *e)
{
    const struct event_key key = event_key(e);

    return bsearch(&key, v->state.path, v->path_count, sizeof *v->state.path, by_key) != NULL;
}

/* By what finds them among the events, where all stands that they say. */
static void write_statements(struct buf *b, const struct view *v, const struct order *o)
{
    size_t given = 0;

    json_write_key(b, "statements");
    buf_add_char(b, '[');
    for (size_t i = 0; i < o->statement_count; i++) {
        const struct event *e = o->statements[i];

        if (!in_path(v, e))
            continue;
        buf_add_text(b, given++ ? ",{" : "{");
        json_write_member(b, "message_id", e->message_id);
        json_write_member(b, "source", e->source);
        render_time_member(b, "time", e->time);
        render_time_member(b, "received_at", e->received);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
    if (given < o->statement_count) {
        json_write_key(b, "statements_of_others");
        buf_addf(b, "%zu", o->statement_count - given);
    }
}

/* Ends behind the order that passes a page's bytes. The index of the first that is left. */
static size_t write_orders(const struct ask *ask, const struct view *v, struct buf *b)
{
    size_t first = first_order(ask, v), i = first, begin = b->n;

    json_write_key(b, "orders");
    buf_add_char(b, '[');
    for (; i < v->order_count && b->n - begin < LIMIT_PAGE_BYTES && !b->failed; i++) {
        buf_add_text(b, i > first ? ",{" : "{");
        render_order_members(b, &v->orders[i], v->state.id);
        write_statements(b, v, &v->orders[i]);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
    return i;
}

/* --- events --------------------------------------------------------------------------------------------------- */

static size_t first_event(const struct ask *ask, const struct view *v)
{
    size_t low = 0, high = v->path_count;

    if (!ask->has_cursor || ask->among_orders)
        return 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (event_key_cmp(&v->state.path[middle].key, &ask->last) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int write_events(const struct ask *ask, const struct view *v, const struct path_note *notes, struct buf *b,
                        size_t *next)
{
    struct path_writer w;
    size_t first = first_event(ask, v), i = first, begin = b->n;
    int r = 0;

    path_writer_init(&w, v->state.path, notes, ask->api->o.rules);
    w.clear = w.whole = true;
    for (; r == 0 && i < v->path_count && i - first < ask->limit && b->n - begin < LIMIT_PAGE_BYTES && !b->failed;
         i++) {
        if (i > first)
            buf_add_char(b, ',');
        r = path_writer_event(&w, b, i);
    }
    path_writer_deinit(&w);
    *next = i;
    return r;
}

/* --- a page --------------------------------------------------------------------------------------------------- */

static void write_head(const struct ask *ask, const struct view *v, struct buf *b)
{
    buf_add_char(b, '{');
    json_write_member(b, "id", ask->id);
    identity_write_time(b, "made_at", clock_now());
    if (ask->as_of != TIME_NONE)
        identity_write_time(b, "as_of", ask->as_of);
    json_write_key(b, "version");
    buf_addf(b, "%" PRId64, v->state.version);
}

static void write_next(const struct ask *ask, const struct event_key *last, bool orders, struct buf *b)
{
    const struct cursor c = {.last = *last, .orders = orders, .from = TIME_NONE, .to = TIME_NONE, .as_of = ask->as_of};

    buf_add_char(b, '"');
    cursor_write(b, &c, ask_named(ask));
    buf_add_char(b, '"');
}

/* Orders first, and events once all of them are given. */
static int write_lists(const struct ask *ask, const struct view *v, const struct path_note *notes, struct buf *b)
{
    size_t orders = write_orders(ask, v, b), events = 0;
    int r = 0;

    json_write_key(b, "events");
    buf_add_char(b, '[');
    if (orders == v->order_count)
        r = write_events(ask, v, notes, b, &events);
    buf_add_char(b, ']');
    json_write_key(b, "next");
    if (orders < v->order_count) {
        struct event_key last = order_place(&v->orders[orders - 1]);
        write_next(ask, &last, true, b);
    } else if (events < v->path_count && events > 0) {
        write_next(ask, &v->state.path[events - 1].key, false, b);
    } else {
        buf_add_text(b, "null");
    }
    return r;
}

static int write_page(struct ask *ask, struct view *v, struct buf *b, struct err *e)
{
    struct path_note *notes = calloc(v->path_count + 1, sizeof *notes);
    uint32_t sessions;
    int r = notes ? 0 : -ENOMEM;

    if (r == 0)
        r = path_annotate(v->state.path, v->path_count, ask->api->o.rules->session_gap_ms, notes, &sessions);
    write_head(ask, v, b);
    if (r == 0 && !ask->has_cursor)
        r = write_person(ask, v, b, e);
    if (r == 0)
        r = write_lists(ask, v, notes, b);
    buf_add_char(b, '}');
    free(notes);
    return r;
}

void run_data(struct ask *ask)
{
    struct err e = {0};
    struct buf body;
    struct view v;
    int r = view_open(ask->api, ask->partition, ask->id, ask->as_of, VIEW_PATH | VIEW_ORDERS | VIEW_MARKS, &v, &e);

    buf_init(&body, LIMIT_ANSWER_BYTES);
    if (r == 0) {
        r = write_page(ask, &v, &body, &e);
        view_close(&v);
    }
    if (r == 0)
        ask_answer(ask, &body);
    else if (r == STATE_NOT_FOUND)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
}
