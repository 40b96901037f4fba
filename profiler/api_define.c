/* Definitions on their way: what everybody who folds has to know is appended to every partition. Goes on when it is
 * durable in all of them and folded, also at other instances. Look-up threads; what the log says comes on its own. */
#include "profiler/api_audience.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "common/clock.h"
#include "proto/internal.h"

#define FOLDED_MS 3000 /* so long it may take everywhere, once it is durable */

/* One partition's. */
struct told {
    struct defining *defining;
    int64_t offset;
};

struct defining {
    struct lookup_job job; /* first */
    struct ask *ask;
    struct definition *d;
    struct told *told; /* for each partition */
    _Atomic uint32_t left;
    _Atomic int failed; /* enum log_status of one that was not taken */
};

static void settled(struct ask *ask, bool in_time)
{
    ask->defined->known(ask, ask->defined, in_time);
}

/* "0:812,1:1042,…" */
static char *write_position(struct ask *ask, const struct place_on_log *places, uint32_t n)
{
    struct buf b;
    char *text = NULL;

    buf_init(&b, (size_t)n * 40 + 1);
    for (uint32_t p = 0; p < n; p++)
        buf_addf(&b, "%s%" PRIu32 ":%" PRId64, p ? "," : "", p, places[p].offset);
    if (!b.failed && (text = arena_alloc(http_arena(ask->request), b.n + 1))) {
        memcpy(text, b.p, b.n);
        text[b.n] = '\0';
    }
    buf_deinit(&b);
    return text;
}

/* Durable in every partition, or refused by one. A look-up thread, or the log's when the program ends. */
static void run_appended(struct lookup_job *job, bool in_time)
{
    struct defining *w = (struct defining *)job;
    struct ask *ask = w->ask;
    uint32_t n = ask->api->o.conf->partitions;
    int failed = atomic_load(&w->failed);
    struct place_on_log *places = arena_alloc(http_arena(ask->request), n * sizeof *places);

    (void)in_time;
    if (failed || !places) {
        ask_error(ask, 503, "unavailable", "it may not be on the log: %s",
                  failed ? log_status_text((enum log_status)failed) : "out of memory");
        return;
    }
    for (uint32_t p = 0; p < n; p++)
        places[p] = (struct place_on_log){p, w->told[p].offset};
    w->d->position = write_position(ask, places, n);
    ask->after = places;
    ask->after_count = n;
    ask->wait_ms = clock_monotonic() - ask->arrived + FOLDED_MS;
    ask->settled = settled;
    ask->defined = w->d;
    settle_start(ask);
}

/* On the log's thread. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct told *t = arg;
    struct defining *w = t->defining;

    (void)partition;
    t->offset = offset;
    if (status != LOG_OK)
        atomic_store(&w->failed, (int)status);
    if (atomic_fetch_sub(&w->left, 1) != 1)
        return;
    w->job = (struct lookup_job){.run = run_appended, .urgent = true};
    if (!lookups_submit(w->ask->api->o.lookups, &w->job))
        ask_error(w->ask, 503, "unavailable", "the program ends; it is on the log");
}

/* Of two definitions of one name the later stands: two of the same moment must differ. */
static int64_t next_time(struct api *a, int64_t after)
{
    int64_t last = atomic_load(&a->defined), next;

    do {
        next = clock_now();
        next = next > last ? next : last + 1;
        next = next > after ? next : after + 1;
    } while (!atomic_compare_exchange_weak(&a->defined, &last, next));
    return next;
}

static enum log_status append(struct defining *w, struct str value)
{
    struct ask *ask = w->ask;
    struct arena *a = http_arena(ask->request);
    uint32_t n = ask->api->o.conf->partitions;
    struct log_record *records = arena_zalloc(a, n * sizeof *records);
    void **args = arena_alloc(a, n * sizeof *args);

    w->told = arena_zalloc(a, n * sizeof *w->told);
    if (!records || !args || !w->told)
        return LOG_FAILED;
    for (uint32_t p = 0; p < n; p++) {
        w->told[p].defining = w;
        args[p] = &w->told[p];
        records[p] = (struct log_record){
            .kind = LOG_KIND_COMMAND, .key = STR_LIT(""), .value = value, .placed = true, .partition = p};
    }
    atomic_store(&w->left, n);
    return event_log_append(ask->api->o.log, LOG_EVENTS, LOG_BY_COMMAND, records, n, appended, args);
}

void ask_define(struct ask *ask, struct definition *d)
{
    struct defining *w = arena_zalloc(http_arena(ask->request), sizeof *w);
    enum log_status s = LOG_FAILED;
    struct buf value;

    if (!ask_may_change(ask))
        return;
    d->time = next_time(ask->api, d->time);
    const struct command c = {
        .kind = COMMAND_DEFINE, .time = d->time, .definition = d->kind, .name = d->name, .body = d->body};
    buf_init(&value, 2 * DEFINITION_BODY_BYTES);
    if (w && command_pack(&c, &value)) {
        w->ask = ask;
        w->d = d;
        s = append(w, buf_str(&value));
    }
    buf_deinit(&value);
    if (s != LOG_OK)
        ask_error(ask, 503, "unavailable", "the log does not take it: %s", log_status_text(s));
}
