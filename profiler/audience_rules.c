/* Worlds: definitions become compiled rules in the order in which they are to be judged. Any thread. */
#include "profiler/audience_rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/cuts.h"

#define WORLD_BYTES (512 * MIB) /* of definitions, at most */

/* --- definitions ---------------------------------------------------------------------------------------------- */

static struct str text_of(const struct json *o, const char *key, struct arena *a)
{
    const struct json *v = json_get(o, key);

    return v && v->type == JSON_STRING ? arena_dup(a, v->text) : STR_NONE;
}

/* A body that is no JSON has no rule, and so is broken. */
static int read_body(struct json_parser *p, struct world *w, struct audience *a)
{
    const struct json *root;
    char *copy = malloc(a->body.n + JSON_PADDING);
    int rc = -ENOMEM;

    if (copy) {
        memcpy(copy, a->body.p, a->body.n);
        memset(copy + a->body.n, 0, JSON_PADDING);
        rc = json_parse(p, copy, a->body.n, &root, NULL);
    }
    if (rc == JSON_OK) {
        a->text = text_of(root, "rule", &w->arena);
        a->description = text_of(root, "description", &w->arena);
    }
    free(copy);
    return rc < 0 ? rc : 0;
}

static int keep_canonical(struct world *w, struct audience *a)
{
    struct buf b;
    bool fine;

    buf_init(&b, MIB);
    fine = rule_canonical(a->rule, &b);
    a->canonical = fine ? arena_dup(&w->arena, buf_str(&b)) : STR_NONE;
    buf_deinit(&b);
    return fine && !a->canonical.p ? -ENOMEM : 0;
}

static int compile(struct world *w, struct audience *a, const struct rule_names *names)
{
    struct rule_error why = {0};
    struct rule *r;
    int rc = str_has(a->text) ? rule_compile(a->text, RULE_BOOL, names, &r, &why) : -EINVAL;

    if (rc == 0) {
        a->rule = r;
        return keep_canonical(w, a);
    }
    a->broken = arena_dup(&w->arena, str_has(a->text) ? str_of(why.message) : STR_LIT("the definition has no rule"));
    return rc == -EINVAL && a->broken.p ? 0 : -ENOMEM;
}

static int take_one(struct world *w, const struct state_definition *d, struct json_parser *p,
                    const struct rule_names *names)
{
    struct audience *a = &w->v[w->n++];

    *a = (struct audience){
        .name = arena_dup(&w->arena, d->name), .body = arena_dup(&w->arena, d->body), .version = d->time};
    if (!a->name.p || !a->body.p)
        return -ENOMEM;
    int rc = read_body(p, w, a);
    return rc == 0 ? compile(w, a, names) : rc;
}

static int take_audiences(struct world *w, const struct state_definition *d, size_t n, const struct vocabulary *traits)
{
    struct rule_names names = {.traits = traits};
    struct json_parser *p = json_parser_new();
    int rc = p ? 0 : -ENOMEM;

    if (w->tags)
        names.tags = tags_names(w->tags, &names.tag_count);
    w->v = arena_zalloc(&w->arena, LIMIT_AUDIENCES * sizeof *w->v);
    if (!w->v)
        rc = -ENOMEM;
    for (size_t i = 0; i < n && rc == 0 && w->n < LIMIT_AUDIENCES; i++)
        if (d[i].kind == DEFINITION_AUDIENCE && str_has(d[i].body))
            rc = take_one(w, &d[i], p, &names);
    json_parser_free(p);
    return rc;
}

/* --- addresses ------------------------------------------------------------------------------------------------ */

const char *const reach_names[REACH_NONE] = {[REACH_EMAIL] = "email", [REACH_PHONE] = "phone"};

static int take_reach(struct world *w, const struct vocabulary *traits)
{
    static const char *const texts[] = {[REACH_EMAIL] = "has(traits.email)", [REACH_PHONE] = "has(traits.phone)"};
    struct rule_names names = {.traits = traits};
    struct rule_error why;
    int rc = 0;

    for (enum reach r = 0; r < REACH_NONE && rc == 0; r++) {
        rc = rule_compile(str_of(texts[r]), RULE_BOOL, &names, &w->reach[r], &why);
        rc = rc == -EINVAL ? 0 : rc; /* a vocabulary without it */
    }
    return rc;
}

/* --- order ---------------------------------------------------------------------------------------------------- */

enum { UNSEEN, OPEN, DONE };

struct visit {
    uint32_t at;
    size_t next;
};

static void break_cycle(struct world *w, struct audience *a)
{
    rule_free(a->rule);
    a->rule = NULL;
    a->broken = arena_dup(&w->arena, STR_LIT("its rule names, in the end, the audience itself"));
}

/* Depth first, without recursion: rules may name one another a thousand deep. */
static void walk_from(struct world *w, uint32_t first, unsigned char *seen, struct visit *stack)
{
    size_t depth = 0;

    stack[depth++] = (struct visit){first, 0};
    seen[first] = OPEN;
    while (depth > 0) {
        struct visit *v = &stack[depth - 1];
        struct audience *a = &w->v[v->at];
        const struct str *names;
        size_t n = a->rule ? rule_audiences(a->rule, &names) : 0, to = SIZE_MAX;

        if (v->next < n)
            to = world_find(w, names[v->next++]);
        else {
            seen[v->at] = DONE;
            if (a->rule)
                w->order[w->order_count++] = v->at;
            depth--;
            continue;
        }
        if (to != SIZE_MAX && seen[to] == OPEN)
            break_cycle(w, a);
        else if (to != SIZE_MAX && seen[to] == UNSEEN) {
            seen[to] = OPEN;
            stack[depth++] = (struct visit){(uint32_t)to, 0};
        }
    }
}

static int put_in_order(struct world *w)
{
    unsigned char *seen = arena_zalloc(&w->arena, w->n + 1);
    struct visit *stack = arena_alloc(&w->arena, (w->n + 1) * sizeof *stack);

    w->order = arena_alloc(&w->arena, (w->n + 1) * sizeof *w->order);
    if (!seen || !stack || !w->order)
        return -ENOMEM;
    for (uint32_t i = 0; i < w->n; i++)
        if (seen[i] == UNSEEN)
            walk_from(w, i, seen, stack);
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------------------------ */

/* FNV-1a, with the length so that it matters where a text ends. */
static uint64_t mix(uint64_t hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * 0x100000001b3;
    for (size_t i = 0; i < sizeof n; i++)
        hash = (hash ^ ((n >> (8 * i)) & 0xff)) * 0x100000001b3;
    return hash;
}

static uint64_t mix_str(uint64_t hash, struct str s)
{
    return mix(hash, s.p ? s.p : "", s.n);
}

static void finish(struct world *w)
{
    uint64_t hash = mix_str(0xcbf29ce484222325, STR_LIT("reach")), tags = w->tags ? tags_version(w->tags) : 0;

    w->tag_needs = w->tags ? tags_needs(w->tags) : 0;
    w->needs = w->tag_needs;
    hash = mix(hash, &tags, sizeof tags);
    w->tags_id = w->tag_needs & RULE_NEEDS_CUTS ? mix(hash, &w->cuts.made_at, sizeof w->cuts.made_at) : hash;
    w->tags_id += w->tags_id == 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct audience *a = &w->v[i];

        hash = mix_str(hash, a->name);
        hash = mix_str(hash, a->rule ? a->canonical : STR_LIT("broken"));
        if (a->rule)
            w->needs |= rule_needs(a->rule);
    }
    if (w->needs & RULE_NEEDS_CUTS)
        hash = mix(hash, &w->cuts.made_at, sizeof w->cuts.made_at);
    w->id = hash ? hash : 1;
}

int world_new(const struct state_definition *d, size_t n, struct tags *tags, const struct vocabulary *traits,
              int64_t now, struct world **out)
{
    struct world *w = calloc(1, sizeof *w);
    int rc;

    if (!w)
        return -ENOMEM;
    atomic_init(&w->refs, 1);
    arena_init(&w->arena, WORLD_BYTES);
    w->cuts.made_at = TIME_NONE;
    w->tags = tags ? tags_ref(tags) : NULL;
    rc = take_audiences(w, d, n, traits);
    if (rc == 0)
        rc = take_reach(w, traits);
    if (rc == 0)
        rc = put_in_order(w);
    if (rc == 0)
        rc = cuts_history(d, n, &w->arena, &w->history, &w->history_count);
    if (rc == 0 && cuts_pick(w->history, w->history_count, now))
        w->cuts = *cuts_pick(w->history, w->history_count, now);
    if (rc != 0) {
        world_unref(w);
        return rc;
    }
    finish(w);
    *out = w;
    return 0;
}

struct world *world_ref(struct world *w)
{
    atomic_fetch_add(&w->refs, 1);
    return w;
}

void world_unref(struct world *w)
{
    if (!w || atomic_fetch_sub(&w->refs, 1) != 1)
        return;
    for (size_t i = 0; i < w->n; i++)
        rule_free(w->v[i].rule);
    for (enum reach r = 0; r < REACH_NONE; r++)
        rule_free(w->reach[r]);
    tags_unref(w->tags);
    arena_deinit(&w->arena);
    free(w);
}

size_t world_find(const struct world *w, struct str name)
{
    size_t low = 0, high = w->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int c = str_cmp(w->v[middle].name, name);

        if (c == 0)
            return middle;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}

static bool differs(const struct world *was, const struct world *now, const struct audience *a, const bool *changed)
{
    size_t at = was ? world_find(was, a->name) : SIZE_MAX, n;
    const struct str *names;

    if (at == SIZE_MAX || !was->v[at].rule || !str_eq(was->v[at].canonical, a->canonical))
        return true;
    n = rule_audiences(a->rule, &names);
    for (size_t i = 0; i < n; i++) {
        size_t other = world_find(now, names[i]);

        if (other == SIZE_MAX ? world_find(was, names[i]) != SIZE_MAX : changed[other])
            return true;
    }
    return (rule_needs(a->rule) & RULE_NEEDS_TAGS) && was->tags != now->tags;
}

/* In the order of judging, so that what a rule names has been looked at. */
void world_changed(const struct world *was, const struct world *now, bool *changed)
{
    for (size_t i = 0; i < now->n; i++)
        changed[i] = false;
    for (size_t i = 0; i < now->order_count; i++)
        changed[now->order[i]] = differs(was, now, &now->v[now->order[i]], changed);
}
