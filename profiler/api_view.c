/* A profile's path and orders as of a time, and their fold. Identity and who has an order are as known now: the view
 * gives both, and what happened later is left out. Look-up threads. */
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"
#include "proto/codec.h"

int entry_decode(const struct path_entry *entry, struct arena *a, struct event *out)
{
    return event_unpack(entry->bytes, a, out) == CODEC_OK ? 0 : -EBADMSG;
}

/* --- as of ---------------------------------------------------------------------------------------------------- */

/* How many entries are not after the time. The order of events begins with time. */
static size_t entries_up_to(const struct path_entry *path, size_t n, int64_t time)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (path[middle].key.time <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The orders again, from the statements made up to then. An order that nobody had spoken of is left out. */
static int orders_as_of(const struct fold_rules *rules, int64_t as_of, struct view *v)
{
    struct order *orders = arena_alloc(&v->arena, (v->state.order_count + 1) * sizeof *orders);

    if (!orders)
        return -ENOMEM;
    v->order_count = 0;
    for (size_t i = 0; i < v->state.order_count; i++) {
        const struct order *o = &v->state.orders[i];
        size_t n = 0;
        while (n < o->statement_count && o->statements[n]->time <= as_of)
            n++;
        if (n == 0)
            continue;
        int r = order_build(o->statements, n, rules, &v->arena, &orders[v->order_count]);
        if (r != 0)
            return r;
        v->order_count++;
    }
    qsort(orders, v->order_count, sizeof *orders, order_cmp); /* one that was placed later stood elsewhere then */
    v->orders = orders;
    return 0;
}

int view_limit(const struct api *a, struct view *v, int64_t as_of, unsigned what)
{
    int r = 0;

    if (what & VIEW_PATH)
        v->path_count = entries_up_to(v->state.path, v->state.path_count, as_of);
    if (what & VIEW_ORDERS)
        r = orders_as_of(a->o.rules, as_of, v);
    return r == 0 && (what & VIEW_PATH) && !(what & VIEW_NOBODY) && v->path_count == 0 ? STATE_NOT_FOUND : r;
}

int view_open(const struct api *a, uint32_t partition, struct str id, int64_t as_of, unsigned what, struct view *out,
              struct err *e)
{
    int r = state_view(a->o.state, partition, id, what, &out->state, e);

    if (r != 0)
        return r;
    arena_init(&out->arena, LIMIT_LOOKUP_ARENA);
    out->path_count = out->state.path_count;
    out->orders = out->state.orders;
    out->order_count = out->state.order_count;
    if (as_of != TIME_NONE)
        r = view_limit(a, out, as_of, what);
    if (r != 0)
        view_close(out);
    return r;
}

void view_close(struct view *v)
{
    arena_deinit(&v->arena);
    state_view_free(&v->state);
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

static int decode_for_fold(void *arg, const struct path_entry *entry, struct event *out)
{
    struct arena *arena = arg;

    arena_reset(arena);
    return entry_decode(entry, arena, out);
}

int view_facts(const struct api *a, struct view *v, struct facts *out)
{
    struct arena scratch;

    arena_init(&scratch, LIMIT_LOOKUP_ARENA);
    const struct fold_input in = {.path = v->state.path,
                                  .path_count = v->path_count,
                                  .orders = v->orders,
                                  .order_count = v->order_count,
                                  .decode = decode_for_fold,
                                  .arg = &scratch};
    int r = facts_fold(&in, a->o.rules, out);
    arena_deinit(&scratch);
    return r;
}

/* --- writing path events -------------------------------------------------------------------------------------- */

void path_writer_init(struct path_writer *w, const struct path_entry *path, const struct path_note *notes,
                      const struct fold_rules *rules)
{
    *w = (struct path_writer){.path = path, .notes = notes, .rules = rules};
    arena_init(&w->event, LIMIT_LOOKUP_ARENA);
    arena_init(&w->before, LIMIT_LOOKUP_ARENA);
}

void path_writer_deinit(struct path_writer *w)
{
    arena_deinit(&w->event);
    arena_deinit(&w->before);
}

int path_writer_event(struct path_writer *w, struct buf *b, size_t i)
{
    struct event event, before;
    int64_t page = w->notes[i].page_before;
    int r, sealed = 0;

    arena_reset(&w->event);
    arena_reset(&w->before);
    r = entry_decode(&w->path[i], &w->event, &event);
    if (r == 0 && w->clear && (sealed = traits_unseal(&event, w->rules->traits, &w->event)) < 0)
        r = -ENOMEM;
    /* The page before matters only to an event that does not say itself where it came from. */
    bool ask_before = r == 0 && page >= 0 && !str_has(event.came_from);
    if (ask_before)
        r = entry_decode(&w->path[page], &w->before, &before);
    if (r != 0)
        return r;
    const struct render_event in = {
        .event = &event, .note = &w->notes[i], .page_before = ask_before ? &before : NULL, .rules = w->rules};
    if (w->whole)
        render_event_whole(b, &in, sealed != 0);
    else
        render_event(b, &in);
    return 0;
}
