/* What a link or an unlink is asked for with: reading it, and POST /v1/identity:preview, which says what it would move.
 * The device's home answers; another instance is asked with the step in its path. Look-up threads. */
#include <errno.h>
#include <string.h>

#include "common/json.h"
#include "common/limits.h"
#include "common/num.h"
#include "profiler/api_identity.h"

static const struct step_rule link_rule = {"time", true}, unlink_rule = {"until", false};

/* --- reading -------------------------------------------------------------------------------------------------- */

void step_audit(struct ask *ask, const struct identity_step *step)
{
    struct arena *a = http_arena(ask->request);

    ask_audit_target(ask, id_join("anon:", step->device, a));
    ask_audit_target(ask, id_join("user:", step->user, a));
}

/* Integers count as their digits, as they do in events. */
static struct str text_of(const struct json *v)
{
    uint64_t n;

    if (v && v->type == JSON_STRING)
        return v->text;
    return v && v->type == JSON_NUMBER && num_u64(v->text, &n) == NUM_OK ? v->text : STR_NONE;
}

static bool read_id(struct ask *ask, const struct json *object, const char *name, struct str *out)
{
    struct str id = text_of(json_get(object, name));

    if (!str_has(id) || id.n == 0 || id.n > LIMIT_ID_BYTES) {
        ask_error(ask, 400, "id_invalid", "%s is an id with 1 to %d bytes, without user: or anon:", name,
                  LIMIT_ID_BYTES);
        return false;
    }
    if (conf_blocked(ask->api->o.conf->blocked, id)) {
        ask_error(ask, 400, "id_invalid", "%s is a blocked id: it names nobody", name);
        return false;
    }
    *out = arena_dup(http_arena(ask->request), id);
    if (out->p)
        return true;
    ask_error(ask, 503, "unavailable", "out of memory");
    return false;
}

static bool read_time(struct ask *ask, const struct json *object, const struct step_rule *rule, int64_t *out)
{
    const struct json *v = json_get(object, rule->time_name);

    *out = clock_now();
    if ((!v || v->type == JSON_NULL) && !rule->time_needed)
        return true;
    if (v && v->type == JSON_STRING && time_parse(v->text, out) == 0)
        return true;
    ask_error(ask, 400, "parameter_invalid", "%s is a time: it looks like \"2026-01-31T23:59:59Z\"", rule->time_name);
    return false;
}

static bool known_members(struct ask *ask, const struct json *object, const struct step_rule *rule)
{
    if (object && object->type == JSON_OBJECT) {
        const struct json *m = object->child;

        while (m && (str_is(m->key, "anonymous_id") || str_is(m->key, "user_id") || str_is(m->key, rule->time_name)))
            m = m->next;
        if (!m)
            return true;
    }
    ask_error(ask, 400, "parameter_invalid", "it is {\"anonymous_id\":\"…\",\"user_id\":\"…\",\"%s\":\"…\"}",
              rule->time_name);
    return false;
}

bool step_read(struct ask *ask, const struct json *object, const struct step_rule *rule, struct identity_step *out)
{
    return known_members(ask, object, rule) && read_id(ask, object, "anonymous_id", &out->device) &&
           read_id(ask, object, "user_id", &out->user) && read_time(ask, object, rule, &out->time);
}

bool step_parse(struct ask *ask, char *bytes, size_t n, step_reader *read, struct identity_step *out)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root;
    struct err e = {0};
    int r = parser ? json_parse(parser, bytes, n, &root, &e) : -ENOMEM;
    bool good = false;

    if (r < 0)
        ask_error(ask, 503, "unavailable", "out of memory");
    else if (r != JSON_OK)
        ask_error(ask, 400, "json_invalid", "%s", e.text);
    else
        good = read(ask, root, out);
    json_parser_free(parser);
    return good;
}

/* {"link":{…}} or {"unlink":{…}} */
static bool read_preview(struct ask *ask, const struct json *root, struct identity_step *out)
{
    const struct json *link = json_get(root, "link"), *unlink = json_get(root, "unlink");

    if (root->type != JSON_OBJECT || root->count != 1 || (!link && !unlink)) {
        ask_error(ask, 400, "parameter_invalid", "the body is {\"link\":{…}} or {\"unlink\":{…}}");
        return false;
    }
    out->unlink = unlink != NULL;
    return step_read(ask, link ? link : unlink, link ? &link_rule : &unlink_rule, out);
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

static void write_moved(struct buf *b, const char *key, const struct moved_events *v, size_t n)
{
    json_write_key(b, key);
    buf_add_char(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        json_write_str(b, v[i].profile);
        buf_addf(b, ":%zu", v[i].events);
    }
    buf_add_char(b, '}');
}

static void answer(struct ask *ask, const struct state_preview *p)
{
    struct buf b;

    buf_init(&b, LIMIT_ANSWER_BYTES);
    buf_addf(&b, "{\"events\":%zu", p->events);
    write_moved(&b, "from", p->from, p->from_count);
    write_moved(&b, "to", p->to, p->to_count);
    json_write_key(&b, "orders");
    buf_addf(&b, "%zu", p->orders);
    identity_write_time(&b, "first", p->first);
    identity_write_time(&b, "last", p->last);
    buf_addf(&b, ",\"linked_after\":%s,\"shared_after\":%s}", p->linked_after ? "true" : "false",
             p->shared_after ? "true" : "false");
    ask_answer(ask, &b);
    buf_deinit(&b);
}

static void preview_here(struct ask *ask, uint32_t partition, const struct identity_step *step)
{
    struct state_preview preview;
    struct err e = {0};
    struct arena arena;
    int r;

    arena_init(&arena, LIMIT_LOOKUP_ARENA);
    r = state_preview(ask->api->o.state, partition, step, &arena, &preview, &e);
    if (r == 0)
        answer(ask, &preview);
    else
        ask_broken(ask, r, &e);
    arena_deinit(&arena);
}

/* --- another instance ----------------------------------------------------------------------------------------- */

/* /v1/internal/preview/{step}, the step as a body would say it. */
static void write_path(struct buf *path, const struct identity_step *step)
{
    struct buf b;

    buf_init(&b, LIMIT_HEAD);
    buf_addf(&b, "{\"%s\":{", step->unlink ? "unlink" : "link");
    json_write_member(&b, "anonymous_id", step->device);
    json_write_member(&b, "user_id", step->user);
    identity_write_time(&b, step->unlink ? unlink_rule.time_name : link_rule.time_name, step->time);
    buf_add_text(&b, "}}");
    buf_add_text(path, "/v1/internal/preview/");
    http_encode_segment(path, buf_str(&b));
    path->failed = path->failed || b.failed;
    buf_deinit(&b);
}

/* On the forwarder's thread. */
static void home_answered(struct peer_call *c)
{
    struct ask *ask = c->ask;

    if (c->call.status != 0) {
        ask_pass_on(ask, c);
        return;
    }
    buf_deinit(&c->call.body);
    ask_error(ask, 503, "unavailable", "the instance that has the device did not answer");
}

static void ask_home(struct ask *ask, uint32_t partition, const struct identity_step *step)
{
    char base[PEER_URL];
    struct buf path;

    buf_init(&path, 4 * LIMIT_HEAD);
    write_path(&path, step);
    if (path.failed)
        ask_error(ask, 400, "id_invalid", "the ids are too long to be sent on");
    else if (!peer_of(ask, partition, base, sizeof base))
        ask_error(ask, 503, "not_yet", "nobody is known to have partition %u", partition);
    else if (!peer_ask(ask, &ask->peer, base, buf_str(&path), NULL, home_answered))
        ask_error(ask, 503, "unavailable", "too many requests are with other instances");
    buf_deinit(&path);
}

static void run_step(struct ask *ask, const struct identity_step *step)
{
    uint32_t partition = event_log_partition(step->device, ask->api->o.conf->partitions);

    step_audit(ask, step);
    switch (api_owns(ask->api, partition)) {
    case OWNERSHIP_SERVES:
        preview_here(ask, partition, step);
        return;
    case OWNERSHIP_NOT_YET:
        ask_not_yet(ask, partition);
        return;
    case OWNERSHIP_ELSEWHERE:
        break;
    }
    if (ask->forwarded)
        ask_not_owner(ask, partition);
    else
        ask_home(ask, partition, step);
}

/* --- routes --------------------------------------------------------------------------------------------------- */

void run_preview(struct ask *ask)
{
    struct identity_step step = {0};
    size_t n;
    char *body = http_body(ask->request, &n);

    if (step_parse(ask, body, n, read_preview, &step))
        run_step(ask, &step);
}

/* The same with the body in the path, for other instances. */
void run_preview_step(struct ask *ask)
{
    struct identity_step step = {0};
    struct str text = ask->id;
    char *bytes = arena_zalloc(http_arena(ask->request), text.n + JSON_PADDING);

    ask->id = STR_NONE; /* of nobody */
    if (!bytes) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return;
    }
    if (text.n > 0)
        memcpy(bytes, text.p, text.n);
    if (step_parse(ask, bytes, text.n, read_preview, &step))
        run_step(ask, &step);
}
