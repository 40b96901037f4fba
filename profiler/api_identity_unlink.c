/* POST /v1/identity:unlink: a command on the log, which the device's home folds like any record. Answered when it is
 * durable. Pool threads, and for the answer look-up threads. */
#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_command.h"
#include "profiler/api_identity.h"

static void answer(struct ask *ask, const struct identity_step *step, char *position)
{
    const struct http_field field = {"X-Waymark-Position", position};
    struct buf body;

    buf_init(&body, 64 * KIB);
    buf_add_char(&body, '{');
    json_write_member(&body, "anonymous_id", step->device);
    json_write_member(&body, "user_id", step->user);
    identity_write_time(&body, "until", step->time);
    buf_add_char(&body, '}');
    if (body.failed || !position)
        ask_error(ask, 503, "unavailable", "out of memory; the links are undone");
    else
        ask_send(ask, &(struct http_answer){.status = 200, .fields = &field, .field_count = 1, .body_buf = &body});
    buf_deinit(&body);
}

static void ordered(struct ask *ask, const struct command_fate *fate)
{
    if (command_taken(ask, fate))
        answer(ask, ask->step, command_position(ask, fate));
}

static bool read_unlink(struct ask *ask, const struct json *root, struct identity_step *out)
{
    out->unlink = true;
    return step_read(ask, root, &(struct step_rule){"until", false}, out);
}

bool prepare_unlink(struct ask *ask)
{
    struct identity_step *step = arena_zalloc(http_arena(ask->request), sizeof *step);
    size_t n;
    char *body = http_body(ask->request, &n);

    if (!step) {
        ask_error(ask, 503, "unavailable", "out of memory");
        return false;
    }
    if (!step_parse(ask, body, n, read_unlink, step) || !ask_may_change(ask))
        return false;
    step_audit(ask, step);
    ask->step = step;
    const struct command c = {
        .kind = COMMAND_UNLINK, .time = clock_now(), .device = step->device, .user = step->user, .until = step->time};
    command_order(ask, &c, step->device, ordered);
    return false;
}
