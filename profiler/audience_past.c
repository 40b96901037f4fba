/* What is known of the paths of those who have long ones, so that an event more costs what it adds. A path of LONG_PATH
 * events is read whole once more; from then on only its end is, and what is known moves on as the end grows. Anything
 * that changes earlier has it read whole again. Who was judged the longest ago is forgotten first. The judging thread.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "profiler/audience_inside.h"
#include "proto/codec.h"

#define LONG_PATH 500
#define END_SHARE 4 /* of LONG_PATH events the last quarter is read each time: not all come in order */

void pasts_init(struct pasts *p)
{
    if (table_init(&p->table) < 0)
        abort();
}

static void unlink_past(struct pasts *p, struct kept_past *k)
{
    *(k->before ? &k->before->behind : &p->first) = k->behind;
    *(k->behind ? &k->behind->before : &p->last) = k->before;
}

static void link_past(struct pasts *p, struct kept_past *k)
{
    k->before = NULL;
    k->behind = p->first;
    *(p->first ? &p->first->before : &p->last) = k;
    p->first = k;
}

static void count_bytes(struct pasts *p, struct kept_past *k, size_t now)
{
    atomic_fetch_add_explicit(&p->bytes, now - k->bytes, memory_order_relaxed);
    k->bytes = now;
}

void past_forget(struct pasts *p, struct kept_past *k)
{
    count_bytes(p, k, 0);
    unlink_past(p, k);
    table_remove(&p->table, &k->node);
    rule_past_free(k->past);
    arena_deinit(&k->arena);
    free(k);
}

void pasts_clear(struct pasts *p)
{
    while (p->first)
        past_forget(p, p->first);
}

void pasts_deinit(struct pasts *p)
{
    pasts_clear(p);
    table_deinit(&p->table);
}

struct kept_past *past_find(struct pasts *p, const struct key_hash *hash)
{
    struct kept_past *k = p->first ? (struct kept_past *)table_find(&p->table, hash) : NULL;

    _Static_assert(offsetof(struct kept_past, node) == 0, "a node is its past");
    if (k) {
        unlink_past(p, k);
        link_past(p, k);
    }
    return k;
}

void past_reset(struct kept_past *k)
{
    rule_past_reset(k->past);
    k->fence.before = INT64_MIN;
    k->received = INT64_MIN;
}

/* Nothing is known yet but that it is long. NULL: memory is out, and nothing is to be known. */
static struct kept_past *begin(struct pasts *p, const struct key_hash *hash)
{
    struct kept_past *k = calloc(1, sizeof *k);

    if (!k)
        return NULL;
    k->node.key = *hash;
    k->past = rule_past_new();
    if (!k->past || table_add(&p->table, &k->node) < 0) {
        rule_past_free(k->past);
        free(k);
        return NULL;
    }
    arena_init(&k->arena, MIB);
    past_reset(k);
    link_past(p, k);
    return k;
}

/* As find_deciding looks for it: of those that were received at once the first in the order of events. */
static int take_received(struct kept_past *k, const struct path_entry *v, size_t n, struct arena *scratch)
{
    const struct path_entry *best = NULL;
    struct event ev;

    for (size_t i = 0; i < n; i++)
        if (v[i].key.received > k->received) {
            best = &v[i];
            k->received = best->key.received;
        }
    if (!best)
        return 0;
    if (event_unpack(best->bytes, scratch, &ev) != CODEC_OK)
        return -EIO;
    arena_reset(&k->arena);
    k->message_id = arena_dup(&k->arena, ev.message_id);
    k->event_name = arena_dup(&k->arena, ev.name);
    k->event_time = ev.time;
    return 0;
}

/* All but the end, of which nothing stands at the same moment as what is before it. */
static size_t cut_of(const struct person_seen *p, size_t end)
{
    size_t cut = p->s.path_count > end ? p->s.path_count - end : 0;

    while (cut > 0 && p->s.path[cut - 1].key.time == p->s.path[cut].key.time)
        cut--;
    return cut;
}

static int take(struct audiences *a, struct kept_past *k, struct person_seen *p, size_t end)
{
    size_t cut = cut_of(p, end);
    int rc;

    if (cut == 0)
        return 0;
    rc = rule_past_take(k->past, &p->s, p->s.path[cut].key.time);
    if (rc == 0)
        rc = take_received(k, p->s.path, cut, &a->batch.scratch);
    if (rc == 0)
        k->fence.before = p->s.path[cut].key.time;
    return rc;
}

static void shrink(struct pasts *p, size_t most)
{
    while (p->bytes > most)
        past_forget(p, p->last);
}

void past_keep(struct audiences *a, const struct key_hash *hash, struct kept_past *k, struct person_seen *p)
{
    const size_t longest = a->o.long_path ? a->o.long_path : LONG_PATH;
    const size_t end = longest / END_SHARE + 1;

    if (!(p->viewed & VIEW_PATH) || (!k && p->s.path_count < longest))
        return;
    if (!k)
        k = begin(&a->pasts, hash);
    else if (rule_past_useless(k->past))
        past_reset(k);
    else if (k->fence.id != 0 && p->s.path_count >= (k->fence.before == INT64_MIN ? longest : longest + end) &&
             take(a, k, p, end) != 0)
        past_reset(k);
    if (!k)
        return;
    count_bytes(&a->pasts, k, sizeof *k + k->arena.held + rule_past_bytes(k->past));
    shrink(&a->pasts, a->o.past_bytes ? a->o.past_bytes : LIMIT_AUDIENCE_PAST_BYTES);
}
