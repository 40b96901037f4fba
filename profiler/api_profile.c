/* One profile. Look-up threads. */
#include <errno.h>

#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/profile_json.h"

bool prepare_profile(struct ask *ask)
{
    return ask_read_as_of(ask) && ask_read_show(ask);
}

static int decode(void *arg, const struct path_entry *entry, struct event *out)
{
    struct arena *arena = arg;

    arena_reset(arena);
    return entry_decode(entry, arena, out);
}

static int view_traits(const struct fold_rules *rules, const struct view *v, struct traits *out)
{
    struct arena scratch;

    traits_init(out);
    if (!rules->traits)
        return 0;
    arena_init(&scratch, LIMIT_LOOKUP_ARENA);
    const struct fold_input in = {
        .path = v->state.path, .path_count = v->path_count, .decode = decode, .arg = &scratch};
    int r = traits_fold(&in, rules->traits, NULL, out);
    arena_deinit(&scratch);
    return r;
}

int profile_of_view(const struct ask *ask, struct view *v, struct state_profile *out)
{
    struct facts facts;
    struct traits traits;
    int r;

    out->version = v->state.version;
    r = view_facts(ask->api, v, &facts);
    if (r == 0) {
        facts_deinit(&out->facts);
        out->facts = facts;
        r = view_traits(ask->api->o.rules, v, &traits);
    }
    if (r == 0) {
        traits_deinit(&out->traits);
        out->traits = traits;
    }
    return r;
}

/* Facts and traits as of then, instead of those of now. */
static int profile_as_of(const struct ask *ask, uint32_t partition, struct str id, struct state_profile *out,
                         struct err *e)
{
    struct view v;
    int r = view_open(ask->api, partition, id, ask->as_of, VIEW_PATH | VIEW_ORDERS | VIEW_MARKS, &v, e);

    if (r != 0)
        return r;
    r = profile_of_view(ask, &v, out);
    view_close(&v);
    return r;
}

int add_tags(const struct ask *ask, uint32_t partition, struct str id, struct buf *b, struct tags_good *good)
{
    struct audiences *a = ask->api->o.audiences;

    *good = (struct tags_good){.until = TIME_NONE};
    if (!a)
        return buf_add_text(b, "{}") ? 0 : -ENOMEM;
    return audiences_tags(a, partition, id, ask->as_of, b, good);
}

static int write_profile(const struct ask *ask, uint32_t partition, const struct state_profile *p, struct buf *b,
                         struct tags_good *good)
{
    struct buf tags;

    buf_init(&tags, LIMIT_ANSWER_BYTES);
    int r = add_tags(ask, partition, p->id, &tags, good);
    if (r == 0)
        profile_write_shown(ask->api->o.rules, &ask->show, b, p, buf_str(&tags));
    buf_deinit(&tags);
    return r;
}

int add_profile(const struct ask *ask, uint32_t partition, struct str id, struct buf *b, int64_t *version,
                struct tags_good *good, struct err *e)
{
    struct state_profile p = {.device_count = 0};
    struct arena arena;
    int r;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = state_profile(ask->api->o.state, partition, id, &arena, &p, e);
    if (r == 0) {
        if (ask->as_of != TIME_NONE)
            r = profile_as_of(ask, partition, id, &p, e);
        if (r == 0)
            r = write_profile(ask, partition, &p, b, good);
        *version = p.version;
        traits_deinit(&p.traits);
        facts_deinit(&p.facts);
    }
    arena_deinit(&arena);
    return r;
}

/* Another instance asked because the cache did not have it: the next one finds it there. The ticket is older than what
 * was read, so that a copy which has changed since is dropped (rule `fill`). */
static void fill_cache(const struct ask *ask, uint64_t ticket, const struct buf *body, int64_t version,
                       const struct tags_good *good)
{
    const struct cache_copy copy = {.id = ask->id,
                                    .answer = buf_str(body),
                                    .version = version,
                                    .tags = good->by,
                                    .until = good->until == TIME_NONE ? 0 : good->until};

    cache_fill(ask->api->o.cache, ask->partition, ticket, &copy);
}

void run_profile(struct ask *ask)
{
    struct cache *cache = ask->forwarded && ask_cacheable(ask) ? ask->api->o.cache : NULL;
    bool fill = cache && cache_wants(cache, ask->partition);
    uint64_t ticket = fill ? cache_ticket(cache, ask->partition) : 0;
    int64_t version = 0;
    struct tags_good good;
    struct err e = {0};
    struct buf body;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    int r = add_profile(ask, ask->partition, ask->id, &body, &version, &good, &e);
    if (r == 0 && fill && !body.failed && (good.by != 0 || !ask->api->o.audiences))
        fill_cache(ask, ticket, &body, version, &good);
    if (r == 0)
        ask_answer(ask, &body);
    else if (r == STATE_NOT_FOUND)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
}
