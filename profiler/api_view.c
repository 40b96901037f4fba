/* A profile's path and orders as of a time, and their fold. Identity and who has an order are as known now: the view
 * gives both, and what happened later is left out. Look-up threads. */
#include <errno.h>

#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/render.h"
#include "profiler/state_as_of.h"
#include "proto/codec.h"

int entry_decode(const struct path_entry *entry, struct arena *a, struct event *out)
{
    return event_unpack(entry->bytes, a, out) == CODEC_OK ? 0 : -EBADMSG;
}

/* --- as of ---------------------------------------------------------------------------------------------------- */

/* Who has nothing but marks is nobody. */
static bool is_somebody(const struct view *v)
{
    size_t i = 0;

    while (i < v->path_count && (v->state.path[i].flags & ENTRY_MARK))
        i++;
    return i < v->path_count;
}

int view_limit(const struct api *a, struct view *v, int64_t as_of, unsigned what)
{
    int r = 0;

    if (what & VIEW_PATH)
        v->path_count = path_up_to(v->state.path, v->state.path_count, as_of);
    if (what & VIEW_ORDERS)
        r = orders_as_of(v->state.orders, v->state.order_count, a->o.rules, as_of, &v->arena, &v->orders,
                         &v->order_count);
    return r == 0 && (what & VIEW_PATH) && !(what & VIEW_NOBODY) && !is_somebody(v) ? STATE_NOT_FOUND : r;
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
