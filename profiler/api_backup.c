/* /v1/backups: asks for one and answers when it is whole; tells how far the one is that is being made. Pool threads,
 * and for the answer the backup's thread. */
#include <errno.h>
#include <inttypes.h>

#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_ask.h"
#include "profiler/backup.h"

/* --- how far ---------------------------------------------------------------------------------------------------- */

static void answer_progress(struct ask *ask)
{
    struct backups *b = ask->api->o.backups;
    struct backups_progress p;
    struct buf body;

    backups_progress(b, &p);
    buf_init(&body, LIMIT_ANSWER_BYTES);
    buf_add_text(&body, "{\"folder\":");
    json_write_str(&body, str_of(backups_folder(b)));
    buf_addf(&body, ",\"running\":%s,\"bytes\":%" PRIu64 ",\"bytes_to_do\":%" PRIu64 "}", p.running ? "true" : "false",
             p.bytes, p.bytes_to_do);
    ask_answer(ask, &body);
    buf_deinit(&body);
}

/* --- one -------------------------------------------------------------------------------------------------------- */

static void done(void *arg, int rc, struct str summary, const struct err *why)
{
    struct ask *ask = arg;

    if (rc == 0)
        ask_send(ask, &(struct http_answer){.status = 201, .body = summary});
    else if (rc == -EEXIST)
        ask_error(ask, 409, "backup_exists", "%s", why->text);
    else
        ask_error(ask, 503, "unavailable", "the backup failed: %s", why->text);
}

/* The name in a body such as {"name":"before-upgrade"}; absent in an empty one, or without. False when it has answered.
 */
static bool read_name(struct ask *ask, struct json_parser *parser, struct str *out)
{
    const struct json *root, *name;
    size_t n;
    char *bytes = http_body(ask->request, &n);

    *out = STR_NONE;
    if (n == 0)
        return true;
    if (!parser || json_parse(parser, bytes, n, &root, NULL) != JSON_OK || root->type != JSON_OBJECT) {
        ask_error(ask, 400, "json_invalid", "the body is no JSON object");
        return false;
    }
    name = json_get(root, "name");
    if (!name || name->type == JSON_NULL)
        return true;
    if (name->type != JSON_STRING) {
        ask_error(ask, 400, "parameter_invalid", "name: needs a text");
        return false;
    }
    *out = name->text;
    return true;
}

/* Once begun, the ask is the backup's. */
static void begin(struct ask *ask, struct str name)
{
    switch (backups_begin(ask->api->o.backups, name, done, ask)) {
    case BACKUPS_BEGUN:
        break;
    case BACKUPS_BUSY:
        ask_error(ask, 409, "unavailable", "another backup is being made");
        break;
    case BACKUPS_BAD_NAME:
        ask_error(ask, 400, "parameter_invalid",
                  "name: needs 1 to %d letters, digits, - _ and . which does not come first", LIMIT_BACKUP_NAME);
        break;
    case BACKUPS_STOPPED:
        ask_error(ask, 503, "unavailable", "the program ends");
        break;
    }
}

bool prepare_backups(struct ask *ask)
{
    struct json_parser *parser;
    struct str name;

    if (!ask->api->o.backups) {
        ask_error(ask, 503, "unavailable", "no backups are made here");
        return false;
    }
    if (!str_is(http_method(ask->request), "POST")) {
        answer_progress(ask);
        return false;
    }
    parser = json_parser_new();
    if (read_name(ask, parser, &name))
        begin(ask, name);
    json_parser_free(parser);
    return false;
}
