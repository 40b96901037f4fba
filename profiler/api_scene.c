/* Writing the scene of an order: who, what, where, and how they came to it, as of the moment at which it was placed.
 * Look-up threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"

#define SCENE_PATH 50      /* events that are shown of the path */
#define SCENE_SESSION 1000 /* events of the session that are read for its modules */
#define SCENE_MODULES 50

/* What is at hand while a scene is written. Everything of the view is as of `moment`. */
struct scene {
    struct ask *ask;
    const struct order *order;
    struct str profile;
    int64_t moment; /* placed, else first stated */
    struct view view;
    struct path_note *notes;
    struct facts facts;
    uint32_t session; /* that led to the order; 0: none */
    struct arena arena;
};

/* --- reading -------------------------------------------------------------------------------------------------- */

/* Decodes into the scene's arena, which is emptied first. */
static int decode(struct scene *s, size_t i, struct event *out)
{
    arena_reset(&s->arena);
    return entry_decode(&s->view.state.path[i], &s->arena, out);
}

/* The session in which the order was stated, else the one that was still open then. */
static int find_session(struct scene *s)
{
    const struct path_entry *path = s->view.state.path;
    struct event e;

    for (size_t i = s->view.path_count; i-- > 0 && s->view.path_count - i <= SCENE_PATH;) {
        if (!(path[i].flags & ENTRY_ORDER) || s->notes[i].session == 0)
            continue;
        int r = decode(s, i, &e);
        if (r != 0)
            return r;
        if (str_eq(e.order.order_id, s->order->order_id)) {
            s->session = s->notes[i].session;
            return 0;
        }
    }
    for (size_t i = s->view.path_count; i-- > 0;) {
        if (s->moment - path[i].key.time > s->ask->api->o.rules->session_gap_ms)
            break;
        if (s->notes[i].session != 0) {
            s->session = s->notes[i].session;
            break;
        }
    }
    return 0;
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static void write_who(struct scene *s, struct buf *b)
{
    struct str shared_by = str_has(s->order->shared_by) ? s->order->shared_by : s->facts.referred_by;

    json_write_key(b, "who");
    buf_add_char(b, '{');
    json_write_member(b, "id", s->profile);
    json_write_member(b, "shared_by", shared_by);
    json_write_key(b, "facts");
    facts_write_json(&s->facts, s->ask->api->o.rules, b);
    buf_add_char(b, '}');
}

/* How the session began. */
static void write_entry(struct buf *b, const struct event *e)
{
    json_write_key(b, "entry");
    buf_add_char(b, '{');
    render_time_member(b, "time", e->time);
    json_write_member(b, "url", e->url);
    json_write_member(b, "referrer", e->referrer);
    if (render_has_campaign(&e->campaign)) {
        json_write_key(b, "campaign");
        render_campaign(b, &e->campaign);
    }
    buf_add_char(b, '}');
}

static void write_last_page(struct buf *b, const struct event *e)
{
    json_write_key(b, "last_page");
    buf_add_char(b, '{');
    render_time_member(b, "time", e->time);
    json_write_member(b, "name", e->name);
    json_write_member(b, "url", e->url);
    json_write_member(b, "title", e->title);
    json_write_member(b, "module", e->module);
    buf_add_char(b, '}');
}

/* Adds a module to the list unless it is there; `kept` holds those written, in memory of the list's own. */
static void add_module(struct buf *list, struct arena *kept_in, struct str *kept, size_t *n, struct str module)
{
    if (module.n == 0 || *n == SCENE_MODULES)
        return;
    for (size_t i = 0; i < *n; i++)
        if (str_eq(kept[i], module))
            return;
    kept[*n] = arena_dup(kept_in, module);
    if (!str_has(kept[*n]))
        return;
    (*n)++;
    if (list->n)
        buf_add_char(list, ',');
    json_write_str(list, module);
}

/* Reads the session from its first event on and writes how it began, where it ended and what was used on the way. */
static int write_online(struct scene *s, struct buf *b)
{
    struct str kept[SCENE_MODULES];
    size_t kept_n = 0, read = 0, last_page = SIZE_MAX;
    struct arena names;
    struct buf modules;
    struct event e;
    int r = 0;

    arena_init(&names, MIB);
    buf_init(&modules, MIB);
    buf_add_text(b, "{\"session\":");
    buf_addf(b, "%u", s->session);
    for (size_t i = 0; r == 0 && i < s->view.path_count; i++) {
        const struct path_note *note = &s->notes[i];
        if (note->session != s->session)
            continue;
        if (s->view.state.path[i].flags & ENTRY_PAGE)
            last_page = i;
        if (read++ >= SCENE_SESSION || (r = decode(s, i, &e)) != 0)
            continue;
        if (note->starts) {
            render_time_member(b, "session_start", note->session_start);
            write_entry(b, &e);
        }
        add_module(&modules, &names, kept, &kept_n, e.module);
    }
    if (r == 0 && last_page != SIZE_MAX && (r = decode(s, last_page, &e)) == 0)
        write_last_page(b, &e);
    json_write_key(b, "modules");
    buf_add_char(b, '[');
    buf_add_str(b, buf_str(&modules));
    buf_add_text(b, "]}");
    arena_deinit(&names);
    buf_deinit(&modules);
    return r;
}

static int write_where(struct scene *s, struct buf *b)
{
    int r = 0;

    json_write_key(b, "where");
    buf_add_text(b, "{\"online\":");
    if (s->session)
        r = write_online(s, b);
    else
        buf_add_text(b, "null");
    json_write_key(b, "offline");
    if (render_has_place(&s->order->place))
        render_place(b, &s->order->place);
    else
        buf_add_text(b, "null");
    buf_add_char(b, '}');
    return r;
}

/* The last events up to the order, as far back as a touch may lie. */
static int write_path(struct scene *s, struct buf *b)
{
    const struct path_entry *path = s->view.state.path;
    const struct fold_rules *rules = s->ask->api->o.rules;
    size_t end = s->view.path_count, first = end;
    struct path_writer w;
    int r = 0;

    while (first > 0 && end - first < SCENE_PATH && s->moment - path[first - 1].key.time <= rules->touch_window_ms)
        first--;
    json_write_key(b, "path");
    buf_add_char(b, '[');
    path_writer_init(&w, path, s->notes, rules);
    w.clear = ask_sees_pii(s->ask);
    for (size_t i = first; r == 0 && i < end; i++) {
        if (i > first)
            buf_add_char(b, ',');
        r = path_writer_event(&w, b, i);
    }
    path_writer_deinit(&w);
    buf_add_char(b, ']');
    return r;
}

static int write_touch(struct scene *s, struct buf *b, const char *key, int64_t index)
{
    struct event e;
    int r = 0;

    json_write_key(b, key);
    if (index >= 0)
        r = decode(s, (size_t)index, &e);
    if (r == 0)
        render_touch(b, index >= 0 ? &e : NULL);
    return r;
}

/* From the start of the session that led to the order. */
static void write_took(const struct scene *s, struct buf *b)
{
    json_write_key(b, "took_ms");
    for (size_t i = s->view.path_count; s->session && i-- > 0;) {
        if (s->notes[i].session == s->session) {
            buf_addf(b, "%" PRId64, s->moment - s->notes[i].session_start);
            return;
        }
    }
    buf_add_text(b, "null");
}

static int write_scene(struct scene *s, struct buf *b)
{
    const struct touches t = facts_touches(s->view.state.path, s->notes, s->view.path_count, s->moment,
                                           s->ask->api->o.rules->touch_window_ms);

    buf_add_text(b, "{\"order\":");
    render_order(b, s->order, s->profile);
    write_who(s, b);
    json_write_key(b, "what");
    render_items(b, s->order->items, s->order->item_count);
    int r = write_where(s, b);
    if (r == 0)
        r = write_path(s, b);
    if (r == 0)
        r = write_touch(s, b, "first_touch", t.first);
    if (r == 0)
        r = write_touch(s, b, "last_touch", t.last);
    write_took(s, b);
    buf_add_char(b, '}');
    return r;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

/* Notes, session and facts of an open view, then the scene. */
static int write_view(struct scene *s, struct buf *b)
{
    uint32_t sessions;
    int r;

    s->notes = calloc(s->view.path_count + 1, sizeof *s->notes);
    if (!s->notes)
        return -ENOMEM;
    r = path_annotate(s->view.state.path, s->view.path_count, s->ask->api->o.rules->session_gap_ms, s->notes,
                      &sessions);
    if (r == 0)
        r = find_session(s);
    if (r == 0)
        r = view_facts(s->ask->api, &s->view, &s->facts);
    if (r == 0) {
        r = write_scene(s, b);
        facts_deinit(&s->facts);
    }
    free(s->notes);
    return r;
}

static const struct order *find_order(const struct scene *s, struct str id)
{
    const struct state_view *v = &s->view.state;

    for (size_t i = 0; i < v->order_count; i++)
        if (str_eq(v->orders[i].order_id, id))
            return &v->orders[i];
    return NULL;
}

/* The order in the open view, and the view as of then. */
static int find_moment(struct scene *s, unsigned what)
{
    s->order = find_order(s, s->ask->id);
    if (!s->order)
        return STATE_NOT_FOUND;
    s->moment = order_time(s->order);
    return view_limit(s->ask->api, &s->view, s->moment, what);
}

/* The profile that has the orders of guests and of erased people. */
static bool is_of_nobody(struct str profile)
{
    return str_starts(profile, STR_LIT("anon:" ORDER_DEVICE_PREFIX));
}

int scene_write(struct ask *ask, uint32_t partition, struct str profile, struct buf *out, struct err *e)
{
    struct scene s = {.ask = ask, .profile = profile};
    unsigned what = VIEW_PATH | VIEW_ORDERS | (is_of_nobody(profile) ? VIEW_NOBODY : 0);
    int r = view_open(ask->api, partition, profile, TIME_NONE, what, &s.view, e);

    if (r != 0)
        return r;
    arena_init(&s.arena, LIMIT_LOOKUP_ARENA);
    r = find_moment(&s, what);
    if (r == 0) {
        ask_audit_target(ask, profile);
        r = write_view(&s, out);
    }
    arena_deinit(&s.arena);
    view_close(&s.view);
    return r;
}
