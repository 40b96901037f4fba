/* What a batch may change, for the cache: the profiles of the records' keys before it is folded, and copies of those
 * that changed once it is shown. The thread of a follower. */
#include <assert.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/follower_private.h"
#include "profiler/profile_json.h"
#include "proto/keys.h"

#define KINDS 2 /* a key of the log may be that of a user and of a device */
#define SLOTS 4096
#define COPY_MS 5        /* for the copies of one batch; the others are made when somebody asks for them */
#define COPY_EVENTS 1000 /* of whom has more, too: their path may have to be read, and folding would wait for it */

static_assert(SLOTS >= 2 * LIMIT_FOLD_BATCH, "the table is never full");

struct batch_ids {
    uint16_t slots[SLOTS]; /* 1 + place in `keys` */
    struct str keys[LIMIT_FOLD_BATCH];
    size_t key_count;
    struct str ids[KINDS * LIMIT_FOLD_BATCH];
    struct cache_copy copies[KINDS * LIMIT_FOLD_BATCH];
    size_t at[KINDS * LIMIT_FOLD_BATCH]; /* where the answer of a copy begins */
    size_t id_count;
    struct buf text; /* of the ids */
    struct buf answers, tags;
};

struct batch_ids *batch_ids_new(void)
{
    struct batch_ids *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    buf_init(&b->text, KINDS * LIMIT_FOLD_BATCH * (size_t)(KEY_ID_MAX_BYTES + 5));
    buf_init(&b->answers, LIMIT_BATCH_COPY_BYTES);
    buf_init(&b->tags, LIMIT_CACHE_COPY_BYTES);
    return b;
}

void batch_ids_free(struct batch_ids *b)
{
    if (!b)
        return;
    buf_deinit(&b->text);
    buf_deinit(&b->answers);
    buf_deinit(&b->tags);
    free(b);
}

/* --- before --------------------------------------------------------------------------------------------------- */

static void add_key(struct batch_ids *b, struct str key)
{
    uint32_t h = 2166136261u;

    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * 16777619u;
    for (h ^= h >> 15;; h++) {
        uint16_t *slot = &b->slots[h % SLOTS];
        if (*slot && !str_eq(b->keys[*slot - 1], key))
            continue;
        if (!*slot) {
            b->keys[b->key_count++] = key;
            *slot = (uint16_t)b->key_count;
        }
        return;
    }
}

static void add_id(struct batch_ids *b, struct str kind, struct str key)
{
    size_t before = b->text.n;

    buf_add_str(&b->text, kind);
    buf_add_str(&b->text, key);
    b->ids[b->id_count++] = (struct str){b->text.p + before, b->text.n - before};
}

/* Both profiles of every key: which of them a record changes is known when it is folded. A key that is longer than an
 * id can be is that of no event. */
static void gather(struct batch_ids *b, const struct log_record *records, size_t n)
{
    size_t bytes = 0;

    memset(b->slots, 0, sizeof b->slots);
    b->key_count = b->id_count = 0;
    buf_reset(&b->text);
    for (size_t i = 0; i < n; i++)
        if (str_has(records[i].key) && records[i].key.n <= KEY_ID_MAX_BYTES)
            add_key(b, records[i].key);
    for (size_t i = 0; i < b->key_count; i++)
        bytes += KINDS * (b->keys[i].n + 5);
    if (!buf_room(&b->text, bytes)) /* the ids point into it: it must not move */
        abort();
    for (size_t i = 0; i < b->key_count; i++) {
        add_id(b, STR_LIT("user:"), b->keys[i]);
        add_id(b, STR_LIT("anon:"), b->keys[i]);
    }
}

void batch_gather(struct follower *me, size_t n)
{
    assert(n <= LIMIT_FOLD_BATCH);
    gather(me->ids, me->records, n);
}

int64_t batch_begin(struct follower *me, const struct part *p)
{
    return cache_begin(me->all->o.cache, p->number, me->ids->ids, me->ids->id_count);
}

/* --- after ---------------------------------------------------------------------------------------------------- */

static void write_copy(struct follower *me, const struct part *p, struct str id, const struct state_profile *profile,
                       size_t *count)
{
    const struct followers_options *o = &me->all->o;
    struct batch_ids *b = me->ids;
    size_t at = b->answers.n;
    uint64_t by = 0;
    int64_t until = 0;

    buf_reset(&b->tags);
    if (o->tags && (!o->tags(o->arg, p->number, id, &b->tags, &by, &until) || b->tags.failed))
        return;
    profile_write(o->rules, &b->answers, profile, o->tags ? buf_str(&b->tags) : STR_NONE);
    b->at[*count] = at;
    b->copies[(*count)++] = (struct cache_copy){
        .id = id, .answer = {NULL, b->answers.n - at}, .version = profile->version, .tags = by, .until = until};
}

/* Adds the copy of a profile that has changed from offset `from` on. False when there is no room for more. */
static bool add_copy(struct follower *me, const struct part *p, struct str id, int64_t from, size_t *count)
{
    struct batch_ids *b = me->ids;
    struct state_profile profile;
    struct arena arena;

    if (state_profile_events(me->all->o.state, p->number, id) > COPY_EVENTS)
        return true;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    if (state_profile(me->all->o.state, p->number, id, &arena, &profile, NULL) == 0) {
        if (profile.version > from)
            write_copy(me, p, id, &profile, count);
        traits_deinit(&profile.traits);
        facts_deinit(&profile.facts);
    }
    arena_deinit(&arena);
    return !b->answers.failed;
}

/* While it catches up nobody is shown anything, and what is copied would change at once. */
static bool near_end(const struct follower *me, const struct part *p)
{
    return event_log_end(me->all->o.log, LOG_EVENTS, p->number) - p->next <= LIMIT_FOLD_BATCH;
}

/* Ends what the cache was told of, with copies of the ids gathered. */
static void end(struct follower *me, const struct part *p, int64_t from)
{
    struct cache *cache = me->all->o.cache;
    struct batch_ids *b = me->ids;
    int64_t until = clock_monotonic() + COPY_MS;
    size_t count = 0;

    buf_reset(&b->answers);
    if (near_end(me, p) && cache_wants(cache, p->number))
        for (size_t i = 0; i < b->id_count && clock_monotonic() < until; i++)
            if (!add_copy(me, p, b->ids[i], from, &count)) {
                count--; /* its answer is cut */
                break;
            }
    for (size_t i = 0; i < count; i++) /* the answers may have moved while they grew */
        b->copies[i].answer.p = b->answers.p + b->at[i];
    cache_end(cache, p->number, b->copies, count);
}

/* --- profiles that no key of the batch names ------------------------------------------------------------------ */

/* Adds ids of the state's, which it forgets, behind those gathered: as many as there is room for. */
static void add_moved(struct batch_ids *b, const struct str *ids, size_t n)
{
    for (size_t i = 0; i < n && b->id_count < KINDS * LIMIT_FOLD_BATCH; i++) {
        if (ids[i].n > b->text.cap - b->text.n) /* the ids point into it: it must not move */
            return;
        buf_add_str(&b->text, ids[i]);
        b->ids[b->id_count++] = (struct str){b->text.p + b->text.n - ids[i].n, ids[i].n};
    }
}

static void announced(struct follower *me, struct part *p)
{
    struct followers *all = me->all;
    const struct str *ids;
    size_t n = state_unannounced(all->o.state, p->number, &ids);

    add_moved(me->ids, ids, n);
    state_announced(all->o.state, p->number);
    p->announcing = false;
    end(me, p, p->changed_from);
    if (all->o.shown)
        all->o.shown(all->o.arg);
}

void batch_announced(struct follower *me, struct part *p)
{
    me->ids->id_count = 0; /* another batch's */
    buf_reset(&me->ids->text);
    announced(me, p);
    part_publish(me->all, p);
}

void batch_end(struct follower *me, struct part *p, int64_t from, bool folded)
{
    struct cache *cache = me->all->o.cache;
    const struct str *ids;
    size_t n = state_unannounced(me->all->o.state, p->number, &ids);

    if (n == 0 && folded) {
        end(me, p, from);
        return;
    }
    cache_end(cache, p->number, NULL, 0);
    if (n == 0)
        return;
    p->announcing = true;
    p->changed_from = from;
    p->held_until = cache_begin(cache, p->number, ids, n);
    if (p->held_until <= clock_boot())
        announced(me, p);
}
