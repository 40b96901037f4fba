/* A page of a path. The pool thread reads the parameters, a look-up thread the path. */
#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

#define LIMIT_STANDARD 100

/* What the first request said stands in the cursor; what this one says wins. */
static bool read_cursor(struct ask *ask, bool order_given)
{
    struct str text = http_query(ask->request, "cursor");
    struct cursor c;

    if (text.n == 0)
        return true;
    if (cursor_read(text, ask_named(ask), &c) != 0 || c.orders || (order_given && c.desc != ask->desc)) {
        ask_error(ask, 400, "cursor_invalid", "the cursor is not of this path and order");
        return false;
    }
    ask->has_cursor = true;
    ask->last = c.last;
    ask->desc = c.desc;
    ask->from = ask->from == TIME_NONE ? c.from : ask->from;
    ask->to = ask->to == TIME_NONE ? c.to : ask->to;
    ask->as_of = ask->as_of == TIME_NONE ? c.as_of : ask->as_of;
    return true;
}

bool prepare_path(struct ask *ask)
{
    struct str order = http_query(ask->request, "order");

    if (order.n && !str_is(order, "asc") && !str_is(order, "desc")) {
        ask_error(ask, 400, "parameter_invalid", "order is asc or desc");
        return false;
    }
    ask->desc = str_is(order, "desc");
    return ask_read_as_of(ask) && ask_read_time(ask, "from", &ask->from) && ask_read_time(ask, "to", &ask->to) &&
           ask_read_limit(ask, LIMIT_STANDARD, LIMIT_PATH_PAGE) && read_cursor(ask, order.n != 0);
}

/* First index whose key is not less than `key`, or greater when `past`. */
static size_t find(const struct path_entry *path, size_t n, const struct event_key *key, bool past)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = event_key_cmp(&path[middle].key, key);
        if (c < 0 || (past && c == 0))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First index at or after a time. */
static size_t find_time(const struct path_entry *path, size_t n, int64_t time)
{
    const struct event_key key = {.time = time, .received = INT64_MIN};

    return find(path, n, &key, false);
}

/* The half-open range of indices that is left to give: [from, to) and what is beyond the cursor. */
static void range_of(const struct ask *ask, const struct view *v, size_t *first, size_t *end)
{
    const struct path_entry *path = v->state.path;
    size_t n = v->path_count;

    *first = ask->from == TIME_NONE ? 0 : find_time(path, n, ask->from);
    *end = ask->to == TIME_NONE ? n : find_time(path, n, ask->to);
    if (ask->has_cursor && !ask->desc) {
        size_t next = find(path, n, &ask->last, true);
        *first = next > *first ? next : *first;
    } else if (ask->has_cursor) {
        size_t next = find(path, n, &ask->last, false);
        *end = next < *end ? next : *end;
    }
    if (*first > *end)
        *first = *end;
}

static void write_next(const struct ask *ask, struct buf *b, const struct path_entry *last)
{
    const struct cursor c = {
        .last = last->key, .desc = ask->desc, .from = ask->from, .to = ask->to, .as_of = ask->as_of};

    buf_add_char(b, '"');
    cursor_write(b, &c, ask_named(ask));
    buf_add_char(b, '"');
}

static int write_page(const struct ask *ask, const struct view *v, const struct path_note *notes, struct buf *b)
{
    struct path_writer w;
    size_t first, end, given = 0;
    int r = 0;

    range_of(ask, v, &first, &end);
    size_t count = end - first, i = 0;
    path_writer_init(&w, v->state.path, notes, ask->api->o.rules);
    w.clear = ask_sees_pii(ask);
    buf_add_text(b, "{\"events\":[");
    for (; r == 0 && given < count && given < ask->limit && b->n < LIMIT_PAGE_BYTES; given++) {
        i = ask->desc ? end - 1 - given : first + given;
        if (given)
            buf_add_char(b, ',');
        r = path_writer_event(&w, b, i);
    }
    path_writer_deinit(&w);
    buf_add_text(b, "],\"next\":");
    if (given < count)
        write_next(ask, b, &v->state.path[i]);
    else
        buf_add_text(b, "null");
    buf_add_char(b, '}');
    return r;
}

static int answer_page(struct ask *ask, const struct view *v, struct err *e)
{
    struct path_note *notes = calloc(v->path_count + 1, sizeof *notes);
    struct buf body;
    uint32_t sessions;
    int r = notes ? 0 : -ENOMEM;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    if (r == 0)
        r = path_annotate(v->state.path, v->path_count, ask->api->o.rules->session_gap_ms, notes, &sessions);
    if (r == 0)
        r = write_page(ask, v, notes, &body);
    if (r == 0)
        ask_answer(ask, &body);
    else
        err_set(e, "a path cannot be read");
    buf_deinit(&body);
    free(notes);
    return r;
}

void run_path(struct ask *ask)
{
    struct err e = {0};
    struct view v;
    int r = view_open(ask->api, ask->partition, ask->id, ask->as_of, VIEW_PATH, &v, &e);

    if (r == 0) {
        r = answer_page(ask, &v, &e);
        view_close(&v);
    }
    if (r == STATE_NOT_FOUND)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else if (r != 0)
        ask_broken(ask, r, &e);
}
