/* Profiles: one, and many at once. Look-up threads. */
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/profile_json.h"

bool prepare_profile(struct ask *ask)
{
    return ask_read_as_of(ask);
}

static int profile_as_of(const struct ask *ask, uint32_t partition, struct str id, struct arena *arena,
                         struct state_profile *out, struct err *e)
{
    struct view v;
    int r = view_open(ask->api, partition, id, ask->as_of, VIEW_PATH | VIEW_ORDERS, &v, e);

    if (r != 0)
        return r;
    out->id = arena_dup(arena, v.state.id);
    out->version = v.state.version;
    r = view_facts(ask->api, &v, &out->facts);
    view_close(&v);
    return r;
}

/* Appends the profile's object. 0, STATE_NOT_FOUND (nothing is written), negative errno. */
static int add_profile(const struct ask *ask, uint32_t partition, struct str id, struct buf *b, struct err *e)
{
    struct state_profile p;
    struct arena arena;
    int r;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    if (ask->as_of == TIME_NONE)
        r = state_profile(ask->api->o.state, partition, id, &arena, &p, e);
    else
        r = profile_as_of(ask, partition, id, &arena, &p, e);
    if (r == 0) {
        profile_write(ask->api->o.rules, b, &p);
        facts_deinit(&p.facts);
    }
    arena_deinit(&arena);
    return r;
}

void run_profile(struct ask *ask)
{
    struct err e = {0};
    struct buf body;

    buf_init(&body, LIMIT_ANSWER_BYTES);
    int r = add_profile(ask, ask->partition, ask->id, &body, &e);
    if (r == 0)
        ask_answer(ask, &body);
    else if (r == STATE_NOT_FOUND)
        ask_error(ask, 404, "profile_not_found", "nothing is known of this id");
    else
        ask_broken(ask, r, &e);
    buf_deinit(&body);
}

/* --- many ----------------------------------------------------------------------------------------------------- */

/* The array `ids` of the body; NULL when an error was answered. */
static const struct json *read_ids(struct ask *ask, struct json_parser *parser)
{
    const struct json *root, *ids = NULL;
    struct err e = {0};
    size_t n;
    char *body = http_body(ask->request, &n);
    int r = json_parse(parser, body, n, &root, &e);

    if (r < 0) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return NULL;
    }
    if (r != JSON_OK) {
        ask_error(ask, 400, "json_invalid", "%s", e.text);
        return NULL;
    }
    ids = json_get(root, "ids");
    if (!ids || ids->type != JSON_ARRAY || ids->count > LIMIT_LOOKUP_IDS) {
        ask_error(ask, 400, "parameter_invalid", "the body is {\"ids\":[…]} with at most %d ids", LIMIT_LOOKUP_IDS);
        return NULL;
    }
    size_t i = 0;
    for (const struct json *id = ids->child; id; id = id->next, i++) {
        if (id->type == JSON_STRING && id_valid(id->text))
            continue;
        ask_error(ask, 400, "id_invalid", "ids[%zu] is no user:… or anon:…", i);
        return NULL;
    }
    return ids;
}

/* Both lists keep the order of the question. */
static int add_profiles(struct ask *ask, const struct json *ids, struct buf *found, struct buf *missing, struct err *e)
{
    for (const struct json *id = ids->child; id; id = id->next) {
        size_t before = found->n;
        if (before)
            buf_add_char(found, ',');
        int r = add_profile(ask, id_partition(id->text, ask->api->o.conf->partitions), id->text, found, e);
        if (r < 0)
            return r;
        if (r == 0)
            continue;
        found->n = before;
        if (missing->n)
            buf_add_char(missing, ',');
        json_write_str(missing, id->text);
    }
    return 0;
}

void run_profiles(struct ask *ask)
{
    struct json_parser *parser = json_parser_new();
    const struct json *ids = NULL;
    struct buf found, missing, body;
    struct err e = {0};

    buf_init(&found, LIMIT_ANSWER_BYTES);
    buf_init(&missing, LIMIT_ANSWER_BYTES);
    buf_init(&body, 2 * LIMIT_ANSWER_BYTES + KIB);
    if (!parser)
        ask_error(ask, 503, "unavailable", "out of memory");
    else
        ids = read_ids(ask, parser);
    if (ids) {
        int r = add_profiles(ask, ids, &found, &missing, &e);
        buf_add_text(&body, "{\"profiles\":[");
        buf_add_str(&body, buf_str(&found));
        buf_add_text(&body, "],\"not_found\":[");
        buf_add_str(&body, buf_str(&missing));
        buf_add_text(&body, "]}");
        body.failed = body.failed || found.failed || missing.failed;
        if (r < 0)
            ask_broken(ask, r, &e);
        else
            ask_answer(ask, &body);
    }
    buf_deinit(&found);
    buf_deinit(&missing);
    buf_deinit(&body);
    json_parser_free(parser);
}
