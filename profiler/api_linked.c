/* Look-ups of a device that somebody was linked to: its user is answered, who may be another instance's. The owner of
 * the device says who it is; to another instance that asked it says only that, with 421, and that one asks on. Also
 * what becomes of a look-up of a profile that is held: it is asked again when it no longer is. */
#include <assert.h>
#include <errno.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"

bool id_is_device(struct str id)
{
    return str_starts(id, STR_LIT("anon:"));
}

struct str ask_named(const struct ask *ask)
{
    return str_has(ask->named) ? ask->named : ask->id;
}

static void follow(struct ask *ask, struct str user)
{
    if (!str_has(ask->named))
        ask->named = ask->id;
    ask->id = user;
    ask->partition = id_partition(user, ask->api->o.conf->partitions);
}

/* --- the owner of the device ---------------------------------------------------------------------------------- */

/* To another instance, which goes on with it. */
static void answer_user(struct ask *ask, struct str user)
{
    struct buf body;

    buf_init(&body, 4 * KIB);
    buf_add_text(&body, "{\"code\":\"linked\"");
    json_write_member(&body, "id", user);
    buf_add_char(&body, '}');
    ask_answer_status(ask, 421, &body);
    buf_deinit(&body);
}

bool ask_resolve(struct ask *ask)
{
    struct err e = {0};
    struct str user;

    if (!ask->route->personal_id || ask->route->as_named || !id_is_device(ask->id))
        return true;
    int r = state_linked(ask->api->o.state, ask->partition, ask->id, http_arena(ask->request), &user, &e);
    if (r == STATE_NOT_FOUND)
        return true;
    if (r != 0) {
        ask_broken(ask, r, &e);
        return false;
    }
    uint32_t partition = id_partition(user, ask->api->o.conf->partitions);
    if (ask->forwarded && api_owns(ask->api, partition) == OWNERSHIP_ELSEWHERE) {
        answer_user(ask, user);
        return false;
    }
    ask_audit_target(ask, ask->id);
    follow(ask, user);
    return ask_is_here(ask);
}

/* --- who asked it --------------------------------------------------------------------------------------------- */

bool linked_read(struct str asked, const struct buf *body, struct arena *a, struct str *user)
{
    struct json_parser *parser = json_parser_new();
    const struct json *root, *id;
    bool is = false;
    struct buf text;

    buf_init(&text, 64 * KIB);
    if (parser && id_is_device(asked) && buf_add_str(&text, buf_str(body)) && buf_room(&text, JSON_PADDING) &&
        json_parse(parser, text.p, text.n, &root, NULL) == JSON_OK) {
        id = json_get(root, "id");
        if (id && id->type == JSON_STRING && id_valid(id->text) && !id_is_device(id->text)) {
            *user = arena_dup(a, id->text);
            is = str_has(*user);
        }
    }
    buf_deinit(&text);
    json_parser_free(parser);
    return is;
}

bool ask_follow(struct ask *ask, const struct buf *body)
{
    struct str user;

    if (!linked_read(ask->id, body, http_arena(ask->request), &user))
        return false;
    ask_audit_target(ask, ask->id);
    follow(ask, user);
    ask_go_on(ask);
    return true;
}

bool ask_path(const struct ask *ask, struct buf *path)
{
    if (!str_has(ask->named))
        return buf_add_str(path, http_path(ask->request));
    for (int i = 0; ask->route->segments[i]; i++) {
        buf_add_char(path, '/');
        if (ask->route->segments[i][0] == '*')
            http_encode_segment(path, ask->id);
        else
            buf_add_text(path, ask->route->segments[i]);
    }
    return !path->failed;
}

/* --- what is held --------------------------------------------------------------------------------------------- */

static bool free_again(const struct lookup_job *job)
{
    const struct ask *ask = (const struct ask *)job;

    return !state_holds(ask->api->o.state, ask->partition);
}

bool ask_again(struct ask *ask)
{
    int64_t now = clock_monotonic();

    if (ask->again_until == 0)
        ask->again_until = now + LIMIT_HELD_MS;
    ask->job = (struct lookup_job){.run = ask_run_job, .met = free_again, .deadline = ask->again_until};
    if (now < ask->again_until && lookups_submit(ask->api->o.lookups, &ask->job))
        return true;
    ask_error(ask, 503, "not_yet", "what was asked for is changing");
    return false;
}
