/* PUT, GET and DELETE of an audience, and the list of all. A definition is checked here, said to every partition, and
 * answered when everybody knows it. Look-up threads. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "profiler/api_audience.h"

#define KNOWN_MS 3000 /* for this instance to take up what is folded */
#define DESCRIPTION_BYTES 1000

/* --- what there is -------------------------------------------------------------------------------------------- */

/* {"partitions":[…],"audiences":[…]} of all, or of one. False when it is answered. */
static bool write_here(struct ask *ask, struct str only, struct buf *b)
{
    const bool *here = partitions_here(ask);
    struct audience_info *list = NULL, one;
    struct arena arena;
    size_t n = 0;
    int r;

    if (!here)
        return false;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    if (str_has(only)) {
        r = audiences_get(ask->api->o.audiences, only, &arena, &one);
        list = &one;
        n = r == 0;
    } else {
        r = audiences_list(ask->api->o.audiences, &arena, &list, &n);
    }
    partitions_write(ask, here, b);
    buf_add_text(b, ",\"audiences\":[");
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        audience_write(b, &list[i]);
    }
    buf_add_text(b, "]}");
    arena_deinit(&arena);
    if (r < 0) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    return partitions_same(ask, here);
}

static void show(struct ask *ask, struct str only, gather_join *join)
{
    struct buf b;

    if (!ask_is_judged(ask))
        return;
    buf_init(&b, LIMIT_ANSWER_BYTES);
    if (write_here(ask, only, &b))
        ask_gather(ask, &b, STR_NONE, LIMIT_FORWARD_MS, join);
    buf_deinit(&b);
}

static void answer_list(struct ask *ask, const struct json *const *answers, size_t n)
{
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_add_text(&b, "{\"audiences\":");
    audiences_join(answers, n, STR_NONE, &b);
    buf_add_char(&b, '}');
    ask_answer(ask, &b);
    buf_deinit(&b);
}

/* Also of a PUT, once it is known. */
static void answer_one(struct ask *ask, const struct json *const *answers, size_t n)
{
    const struct definition *d = ask->defined;
    struct http_field field = {"X-Waymark-Position", d ? d->position : NULL};
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    audiences_join(answers, n, ask->name, &b);
    if (b.n == 0)
        ask_error(ask, d ? 503 : 404, d ? "not_yet" : "audience_not_found", "there is no audience of this name%s",
                  d ? " yet" : "");
    else if (d && !b.failed)
        ask_send(ask, &(struct http_answer){.status = d->created ? 201 : 200,
                                            .fields = &field,
                                            .field_count = field.value != NULL,
                                            .body_buf = &b});
    else
        ask_answer(ask, &b);
    buf_deinit(&b);
}

bool prepare_audiences(struct ask *ask)
{
    return ask_has_audiences(ask);
}

void run_audiences(struct ask *ask)
{
    show(ask, STR_NONE, answer_list);
}

void run_audience(struct ask *ask)
{
    show(ask, ask->name, answer_one);
}

/* --- when a change is known ----------------------------------------------------------------------------------- */

/* Those that are served here are known, too; how many. */
static bool all_known(const struct api *a, uint32_t *served)
{
    *served = 0;
    for (uint32_t p = 0; p < a->o.conf->partitions; p++) {
        if (api_owns(a, p) != OWNERSHIP_SERVES)
            continue;
        if (!audiences_knows(a->o.audiences, p))
            return false;
        ++*served;
    }
    return true;
}

/* An instance that has no partition learns of nothing, and answers what others say. */
static bool is_known(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;
    const struct definition *d = ask->defined;
    struct audience_info info = {.version = 0};
    struct arena arena;
    uint32_t served;

    if (!all_known(ask->api, &served))
        return false;
    if (served == 0)
        return true;
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    int r = audiences_get(ask->api->o.audiences, d->name, &arena, &info);
    arena_deinit(&arena);
    return str_has(d->body) ? r == 0 && info.version >= d->time : r == AUDIENCE_NOT_FOUND || info.version > d->time;
}

static void run_known(struct lookup_job *job, bool in_time)
{
    struct ask *ask = (struct ask *)job;
    const struct http_field field = {"X-Waymark-Position", ask->defined->position};
    struct buf b;

    (void)in_time;
    ask->after_count = 0;
    if (str_has(ask->defined->body)) {
        show(ask, ask->name, answer_one);
        return;
    }
    buf_init(&b, KIB);
    buf_add_char(&b, '{');
    json_write_member(&b, "name", ask->name);
    buf_add_text(&b, ",\"removed\":true}");
    ask_send(ask, &(struct http_answer){
                      .status = 200, .fields = &field, .field_count = field.value != NULL, .body_buf = &b});
    buf_deinit(&b);
}

static void folded(struct ask *ask, const struct definition *d, bool in_time)
{
    (void)d, (void)in_time; /* it is durable: when it takes long, the answer says what is known meanwhile */
    ask->job = (struct lookup_job){
        .run = run_known, .met = is_known, .poll = true, .deadline = clock_monotonic() + KNOWN_MS, .urgent = true};
    if (!lookups_submit(ask->api->o.lookups, &ask->job))
        run_known(&ask->job, false);
}

/* --- checking a definition ------------------------------------------------------------------------------------ */

/* What the definition says, always in the same way. */
static struct str write_body(struct ask *ask, struct str rule, struct str description)
{
    struct str copy = STR_NONE;
    struct buf b;

    buf_init(&b, DEFINITION_BODY_BYTES);
    buf_add_char(&b, '{');
    json_write_member(&b, "rule", rule);
    if (str_has(description))
        json_write_member(&b, "description", description);
    buf_add_char(&b, '}');
    if (!b.failed)
        copy = arena_dup(http_arena(ask->request), buf_str(&b));
    buf_deinit(&b);
    if (!str_has(copy))
        ask_error(ask, 400, "parameter_invalid", "the definition is too large");
    return copy;
}

static bool read_definition(struct ask *ask, struct str *rule, struct str *body)
{
    static const char *const members[] = {"rule", "description", "name", NULL};
    struct json_parser *parser = json_parser_new();
    const struct json *root = ask_read_object(ask, parser, members);
    struct str description = STR_NONE, name = STR_NONE;
    bool good = root && ask_read_text(ask, root, "rule", rule) &&
                ask_read_text(ask, root, "description", &description) && ask_read_text(ask, root, "name", &name);

    if (good && (!str_has(*rule) || description.n > DESCRIPTION_BYTES || (str_has(name) && !str_eq(name, ask->name)))) {
        ask_error(ask, 400, "parameter_invalid", "%s",
                  !str_has(*rule)                     ? "the body is {\"rule\":\"…\",\"description\":\"…\"}"
                  : description.n > DESCRIPTION_BYTES ? "the description is over 1000 bytes"
                                                      : "the body has another name than the path");
        good = false;
    }
    if (good)
        good = str_has(*body = write_body(ask, *rule, description));
    json_parser_free(parser);
    return good;
}

/* --- cycles --------------------------------------------------------------------------------------------------- */

/* The way from one audience over those that its rule names. */
struct way {
    struct audiences *audiences;
    struct str target;
    struct arena *arena;
    struct str seen[LIMIT_AUDIENCES + 1];
    size_t seen_count;
    struct buf *path; /* "a → b → c" */
};

static bool leads_back(struct way *w, struct str from)
{
    struct audience_rule *ref;
    const struct rule *rule;
    const struct str *names;
    size_t before = w->path->n;

    buf_addf(w->path, " → %.*s", STR_ARG(from));
    if (str_eq(from, w->target))
        return true;
    for (size_t i = 0; i < w->seen_count; i++)
        if (str_eq(w->seen[i], from))
            goto no;
    if (w->seen_count > LIMIT_AUDIENCES)
        goto no;
    w->seen[w->seen_count++] = arena_dup(w->arena, from);
    rule = audience_rule_get(w->audiences, from, &ref);
    if (!rule)
        goto no;
    size_t n = rule_audiences(rule, &names);
    bool back = false;
    for (size_t i = 0; i < n && !back; i++)
        back = leads_back(w, names[i]);
    audience_rule_release(ref);
    if (back)
        return true;
no:
    w->path->n = before;
    return false;
}

/* Characters of the text up to a place, for people. */
static void place_of(struct str text, size_t at, struct rule_error *e)
{
    e->line = 1;
    e->column = 1;
    for (size_t i = 0; i < at; i++) {
        if (text.p[i] == '\n') {
            e->line++;
            e->column = 1;
        } else if (((unsigned char)text.p[i] & 0xc0) != 0x80) {
            e->column++;
        }
    }
}

/* Where the rule first names the audience: at the function. */
static size_t find_use(struct str text, struct str name)
{
    static const char call[] = "in_audience";
    size_t best = 0;

    for (size_t i = 0; i + name.n <= text.n; i++) {
        if (i + sizeof call - 1 <= text.n && memcmp(text.p + i, call, sizeof call - 1) == 0)
            best = i;
        if (i > 0 && (text.p[i - 1] == '"' || text.p[i - 1] == '\'') && memcmp(text.p + i, name.p, name.n) == 0)
            return best;
    }
    return 0;
}

/* Whether some audience would be its own member because it is: answers then. */
static bool has_cycle(struct ask *ask, const struct rule *rule)
{
    struct rule_error e = {.line = 1, .column = 1};
    const struct str *names;
    size_t n = rule_audiences(rule, &names);
    struct way *w = calloc(1, sizeof *w);
    bool cycle = false;
    struct buf path;

    if (!w) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return true;
    }
    buf_init(&path, 64 * KIB);
    *w = (struct way){
        .audiences = ask->api->o.audiences, .target = ask->name, .arena = http_arena(ask->request), .path = &path};
    for (size_t i = 0; i < n && !cycle; i++) {
        if (!(cycle = leads_back(w, names[i])))
            continue;
        place_of(rule_text(rule), find_use(rule_text(rule), names[i]), &e);
        snprintf(e.message, sizeof e.message, "the audience would depend on itself: %.*s%.*s", STR_ARG(ask->name),
                 STR_ARG(buf_str(&path)));
        ask_rule_error(ask, &e);
    }
    buf_deinit(&path);
    free(w);
    return cycle;
}

/* --- PUT ------------------------------------------------------------------------------------------------------ */

/* Whether it may be made, and what stands there. False when it is answered. */
static bool look_before(struct ask *ask, struct definition *d)
{
    struct audience_info info, *all;
    struct arena arena;
    size_t n = 0;
    bool good = true;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    int r = audiences_get(ask->api->o.audiences, d->name, &arena, &info);
    d->created = r == AUDIENCE_NOT_FOUND;
    d->time = r == 0 ? info.version : 0;
    d->same = r == 0 && str_eq(info.body, d->body);
    if (d->created)
        r = audiences_list(ask->api->o.audiences, &arena, &all, &n);
    if (r < 0 || n >= LIMIT_AUDIENCES) {
        if (r < 0)
            ask_error(ask, 503, "unavailable", "out of memory");
        else
            ask_error(ask, 409, "too_many", "there are %d audiences: no more are kept", LIMIT_AUDIENCES);
        good = false;
    }
    arena_deinit(&arena);
    return good;
}

static void put(struct ask *ask, struct str rule, struct str body)
{
    struct definition *d = arena_zalloc(http_arena(ask->request), sizeof *d);
    struct rule *compiled = NULL;

    if (!d) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    if (!ask_compile(ask, rule, &compiled))
        return;
    bool good = !has_cycle(ask, compiled);
    rule_free(compiled);
    if (!good)
        return; /* it is answered, and perhaps gone */
    *d = (struct definition){.kind = DEFINITION_AUDIENCE, .name = ask->name, .body = body, .known = folded};
    if (!look_before(ask, d))
        return;
    if (d->same)
        show(ask, ask->name, answer_one);
    else
        ask_define(ask, d);
}

void run_put_audience(struct ask *ask)
{
    struct str rule, body;

    if (read_definition(ask, &rule, &body))
        put(ask, rule, body);
}

/* --- DELETE --------------------------------------------------------------------------------------------------- */

/* Whether another one's rule names it; answers then. */
static bool is_used(struct ask *ask)
{
    struct audience_info *all = NULL;
    struct audience_rule *ref;
    const struct str *names;
    struct arena arena;
    bool used = false;
    size_t n = 0;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    if (audiences_list(ask->api->o.audiences, &arena, &all, &n) != 0)
        n = 0;
    for (size_t i = 0; i < n && !used; i++) {
        const struct rule *rule = audience_rule_get(ask->api->o.audiences, all[i].name, &ref);
        if (!rule)
            continue;
        size_t count = rule_audiences(rule, &names);
        for (size_t k = 0; k < count && !used; k++)
            used = str_eq(names[k], ask->name);
        audience_rule_release(ref);
        if (used)
            ask_error(ask, 409, "audience_in_use", "the rule of %.*s names it", STR_ARG(all[i].name));
    }
    arena_deinit(&arena);
    return used;
}

void run_delete_audience(struct ask *ask)
{
    struct definition *d = arena_zalloc(http_arena(ask->request), sizeof *d);
    struct audience_info info;
    struct arena arena;

    if (!d) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    int r = audiences_get(ask->api->o.audiences, ask->name, &arena, &info);
    *d = (struct definition){
        .kind = DEFINITION_AUDIENCE, .name = ask->name, .time = r == 0 ? info.version : 0, .known = folded};
    arena_deinit(&arena);
    if (r == AUDIENCE_NOT_FOUND)
        ask_error(ask, 404, "audience_not_found", "there is no audience of this name");
    else if (r != 0)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (!is_used(ask))
        ask_define(ask, d);
}
