/* A command on its way to the log: it goes on when the log says that it is durable, and no thread waits for that: the
 * log's callback wakes a job of the look-ups. */
#include "profiler/api_command.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"

#define DURABLE_MS 2000 /* longer nobody waits for the log */

/* The request and the log's callback share it, whoever leaves last frees it. */
struct way {
    struct lookup_job job; /* first */
    struct ask *ask;
    command_done *done;
    struct lookups *lookups;
    pthread_mutex_t lock; /* of what follows */
    unsigned holders;
    bool left; /* the request has gone on: the look-ups may be gone */
    _Atomic bool known;
    struct command_fate fate;
};

static void let_go(struct way *w)
{
    pthread_mutex_lock(&w->lock);
    bool last = --w->holders == 0;
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* On the log's thread. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct way *w = arg;

    pthread_mutex_lock(&w->lock);
    w->fate = (struct command_fate){true, status, partition, offset};
    atomic_store(&w->known, true);
    if (!w->left)
        lookups_wake(w->lookups);
    pthread_mutex_unlock(&w->lock);
    let_go(w);
}

static bool is_known(const struct lookup_job *job)
{
    return atomic_load(&((const struct way *)job)->known);
}

/* A look-up thread, when it is durable, refused, or too late. */
static void run_done(struct lookup_job *job, bool in_time)
{
    struct way *w = (struct way *)job;

    (void)in_time; /* the end of the program, too: what is done is done */
    pthread_mutex_lock(&w->lock);
    w->left = true;
    const struct command_fate fate = w->fate;
    pthread_mutex_unlock(&w->lock);
    w->done(w->ask, &fate);
    let_go(w);
}

static enum log_status append(struct way *w, const struct command *c, struct str key)
{
    struct log_record record = {.kind = LOG_KIND_COMMAND, .key = key};
    enum log_status s = LOG_FAILED;
    struct buf value;

    buf_init(&value, 64 * KIB);
    if (command_pack(c, &value)) {
        record.value = buf_str(&value);
        s = event_log_append(w->ask->api->o.log, LOG_EVENTS, LOG_BY_COMMAND, &record, 1, appended, (void *[]){w});
    }
    buf_deinit(&value);
    return s;
}

static struct way *way_new(struct ask *ask, command_done *done)
{
    struct way *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->job = (struct lookup_job){
        .run = run_done, .met = is_known, .deadline = clock_monotonic() + DURABLE_MS, .urgent = true};
    w->ask = ask;
    w->done = done;
    w->lookups = ask->api->o.lookups;
    pthread_mutex_init(&w->lock, NULL);
    w->holders = 2;
    return w;
}

void command_order(struct ask *ask, const struct command *c, struct str key, command_done *done)
{
    struct way *w = way_new(ask, done);
    enum log_status s = w ? append(w, c, key) : LOG_FAILED;

    if (s != LOG_OK) {
        if (w) {
            let_go(w);
            let_go(w);
        }
        done(ask, &(struct command_fate){.known = true, .status = s});
        return;
    }
    if (!lookups_submit(ask->api->o.lookups, &w->job))
        run_done(&w->job, false);
}

bool command_taken(struct ask *ask, const struct command_fate *fate)
{
    if (fate->known && fate->status == LOG_OK)
        return true;
    if (fate->known)
        ask_error(ask, 503, "unavailable", "the log did not take it: %s; ask again", log_status_text(fate->status));
    else
        ask_error(ask, 503, "unavailable", "the log has not taken it yet; it may still do so; ask again");
    return false;
}

char *command_position(struct ask *ask, const struct command_fate *fate)
{
    char *text = arena_alloc(http_arena(ask->request), 48);

    if (text)
        snprintf(text, 48, "%" PRIu32 ":%" PRId64, fate->partition, fate->offset);
    return text;
}
