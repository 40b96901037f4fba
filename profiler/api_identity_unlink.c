/* POST /v1/identity:unlink: a command on the log, which the device's home folds like any record. Answered when it is
 * durable; no thread waits for that: the log's callback wakes a job of the look-ups, which answers. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/limits.h"
#include "profiler/api_identity.h"

#define DURABLE_MS 2000 /* longer nobody waits for the log */

/* One command on its way. The request and the log's callback share it, whoever leaves last frees it. */
struct unlink {
    struct lookup_job job; /* first */
    struct ask *ask;
    struct identity_step step;
    struct lookups *lookups;
    pthread_mutex_t lock; /* of what follows */
    unsigned holders;
    bool left; /* the request is answered: the look-ups may be gone */
    _Atomic bool done;
    enum log_status status;
    uint32_t partition;
    int64_t offset;
};

static void let_go(struct unlink *u)
{
    pthread_mutex_lock(&u->lock);
    bool last = --u->holders == 0;
    pthread_mutex_unlock(&u->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&u->lock);
    free(u);
}

/* On the log's thread. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct unlink *u = arg;

    pthread_mutex_lock(&u->lock);
    u->status = status;
    u->partition = partition;
    u->offset = offset;
    atomic_store(&u->done, true);
    if (!u->left)
        lookups_wake(u->lookups);
    pthread_mutex_unlock(&u->lock);
    let_go(u);
}

static bool is_done(const struct lookup_job *job)
{
    return atomic_load(&((const struct unlink *)job)->done);
}

/* --- the answer ----------------------------------------------------------------------------------------------- */

static void answer(struct ask *ask, const struct unlink *u)
{
    char *position = arena_alloc(http_arena(ask->request), 48);
    struct buf body;

    if (!position) {
        ask_error(ask, 503, "unavailable", "out of memory; the links are undone");
        return;
    }
    snprintf(position, 48, "%" PRIu32 ":%" PRId64, u->partition, u->offset);
    const struct http_field field = {"X-Waymark-Position", position};
    buf_init(&body, 64 * KIB);
    buf_add_char(&body, '{');
    json_write_member(&body, "anonymous_id", u->step.device);
    json_write_member(&body, "user_id", u->step.user);
    identity_write_time(&body, "until", u->step.time);
    buf_add_char(&body, '}');
    if (body.failed)
        ask_error(ask, 503, "unavailable", "out of memory; the links are undone");
    else
        ask_send(ask, &(struct http_answer){.status = 200, .fields = &field, .field_count = 1, .body_buf = &body});
    buf_deinit(&body);
}

/* A look-up thread, when it is durable, refused, or too late. */
static void run_answer(struct lookup_job *job, bool in_time)
{
    struct unlink *u = (struct unlink *)job;

    (void)in_time; /* the end of the program, too: what is done is done */
    pthread_mutex_lock(&u->lock);
    u->left = true;
    bool done = atomic_load(&u->done);
    pthread_mutex_unlock(&u->lock);
    if (done && u->status == LOG_OK)
        answer(u->ask, u);
    else if (done)
        ask_error(u->ask, 503, "unavailable", "the log did not take it: %s; ask again", log_status_text(u->status));
    else
        ask_error(u->ask, 503, "unavailable", "the log has not taken it yet; it may still do so; ask again");
    let_go(u);
}

/* --- the command ---------------------------------------------------------------------------------------------- */

static enum log_status append(struct unlink *u)
{
    const struct command c = {.kind = COMMAND_UNLINK,
                              .time = clock_now(),
                              .device = u->step.device,
                              .user = u->step.user,
                              .until = u->step.time};
    struct log_record record = {.kind = LOG_KIND_COMMAND, .key = u->step.device};
    enum log_status s = LOG_FAILED;
    struct buf value;

    buf_init(&value, 64 * KIB);
    if (command_pack(&c, &value)) {
        record.value = buf_str(&value);
        s = event_log_append(u->ask->api->o.log, LOG_EVENTS, LOG_BY_COMMAND, &record, 1, appended, (void *[]){u});
    }
    buf_deinit(&value);
    return s;
}

static struct unlink *unlink_new(struct ask *ask, const struct identity_step *step)
{
    struct unlink *u = calloc(1, sizeof *u);

    if (!u)
        return NULL;
    u->job = (struct lookup_job){
        .run = run_answer, .met = is_done, .deadline = clock_monotonic() + DURABLE_MS, .urgent = true};
    u->ask = ask;
    u->step = *step;
    u->lookups = ask->api->o.lookups;
    pthread_mutex_init(&u->lock, NULL);
    u->holders = 2;
    return u;
}

static void order(struct ask *ask, const struct identity_step *step)
{
    struct unlink *u = unlink_new(ask, step);
    enum log_status s = u ? append(u) : LOG_FAILED;

    if (s != LOG_OK) {
        if (u) {
            let_go(u);
            let_go(u);
        }
        ask_error(ask, 503, "unavailable", "the log does not take it now: %s", log_status_text(s));
        return;
    }
    if (!lookups_submit(ask->api->o.lookups, &u->job))
        run_answer(&u->job, false);
}

static bool read_unlink(struct ask *ask, const struct json *root, struct identity_step *out)
{
    out->unlink = true;
    return step_read(ask, root, &(struct step_rule){"until", false}, out);
}

bool prepare_unlink(struct ask *ask)
{
    struct identity_step step = {0};
    size_t n;
    char *body = http_body(ask->request, &n);

    if (!step_parse(ask, body, n, read_unlink, &step) || !ask_may_change(ask))
        return false;
    step_audit(ask, &step);
    order(ask, &step);
    return false;
}
