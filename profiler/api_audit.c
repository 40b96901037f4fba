/* Where answers leave: what must stand in the audit log is noted here, in one place, before it goes. A personal read is
 * answered when its record waits to be written; when it may not wait, it is not answered at all. What changes a person
 * is answered when its record is durable. Any thread, and for the latter the audit's. */
#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "profiler/api_ask.h"

#define MOST_FIELDS 8
#define CHANGES_MS (LIMIT_KAFKA_MS + 5000) /* longer than the log takes to say what became of an append */

/* An answer that waits for its record. Names and values of its fields live as long as the request. */
struct held_answer {
    struct http_answer answer;
    struct http_field fields[MOST_FIELDS];
    struct buf body;
};

/* A profile or order beside the one of the path. */
struct audit_target {
    struct audit_target *next;
    struct str id;
};

void ask_audit_target(struct ask *ask, struct str id)
{
    struct audit_target *t;

    if (!ask->api->o.audit || ask->audit_targets >= LIMIT_AUDIT_TARGETS - 1)
        return;
    t = arena_zalloc(http_arena(ask->request), sizeof *t);
    if (t)
        t->id = arena_dup(http_arena(ask->request), id);
    if (!t || !str_has(t->id)) {
        ask->audit_broken = true;
        return;
    }
    t->next = ask->audit_first;
    ask->audit_first = t;
    ask->audit_targets++;
}

void ask_audit_count(struct ask *ask, uint64_t n)
{
    ask->audit_count = n;
    ask->audit_counted = true;
}

void ask_audit_nothing(struct ask *ask)
{
    ask->audit_nothing = true;
}

/* --- what is recorded ----------------------------------------------------------------------------------------- */

static bool only_reads(const struct ask *ask)
{
    struct str method = http_method(ask->request);

    return str_is(method, "GET") || str_is(method, "HEAD");
}

/* AUDIT_NEVER: nothing. */
static enum audit_kind kind_of(const struct ask *ask)
{
    enum audit_kind kind = ask->route->audit;

    if (!ask->api->o.audit || !ask->route->scope)
        return AUDIT_NEVER;
    if (kind > AUDIT_READ && only_reads(ask))
        kind = AUDIT_BY_TOKEN;
    if (kind == AUDIT_BY_TOKEN)
        kind = ask_sees_pii(ask) ? AUDIT_READ : AUDIT_NEVER;
    return kind;
}

/* A 404 tells something, too. Of a change that was answered 5xx nobody knows whether it was made. */
static bool is_recorded(const struct ask *ask, enum audit_kind kind, unsigned status)
{
    if (kind == AUDIT_NEVER || (kind == AUDIT_READ && ask->audit_nothing) || (ask->audit_before && status < 500))
        return false;
    return (status >= 200 && status < 300) || status == 404 || (kind > AUDIT_READ && status >= 500);
}

/* The id of the path, and those that were added. NULL: out of memory. */
static const struct str *targets_of(struct ask *ask, size_t *n)
{
    struct arena *a = http_arena(ask->request);
    struct str *list = arena_alloc(a, (ask->audit_targets + 1) * sizeof *list);

    *n = 0;
    if (!list || ask->audit_broken)
        return NULL;
    if (ask->route->personal_id) {
        list[(*n)++] = ask->id;
    } else if (str_has(ask->id)) {
        list[*n] = id_join("order:", ask->id, a);
        if (!str_has(list[(*n)++]))
            return NULL;
    }
    for (const struct audit_target *t = ask->audit_first; t; t = t->next)
        list[(*n)++] = t->id;
    return list;
}

/* Of `enum audit_note`'s outcomes; AUDIT_FULL also when memory is out. */
static int note(struct ask *ask, enum audit_kind kind, unsigned status, const struct audit_erasure *erasure,
                audit_done *done)
{
    struct audit_entry e = {.kind = kind,
                            .who = str_of(ask->who),
                            .from = http_peer(ask->request),
                            .method = http_method(ask->request),
                            .route = str_of(ask->route->label),
                            .count = ask->audit_counted ? ask->audit_count : status < 300,
                            .status = status,
                            .request = ask->request_id[0] ? str_of(ask->request_id) : STR_NONE,
                            .erasure = erasure,
                            .forwarded = ask->forwarded};

    e.targets = targets_of(ask, &e.target_count);
    return e.targets ? audit_note(ask->api->o.audit, &e, done, ask) : AUDIT_FULL;
}

/* --- answering ------------------------------------------------------------------------------------------------ */

/* Instead of an answer, which is taken, or NULL: neither recorded nor sent. */
static void refuse(struct ask *ask, const struct http_answer *lost, const char *message)
{
    if (lost && lost->body_buf)
        buf_deinit(lost->body_buf);
    if (lost && lost->file)
        close(lost->file->fd);
    request_error(ask->request, 503, "unavailable", NULL, message);
}

/* On the audit's thread. */
static void recorded(void *arg, bool durable)
{
    struct ask *ask = arg;
    struct held_answer *h = ask->held;

    assert(ask->magic == ASK_MAGIC);
    if (durable) {
        http_answer_send(ask->request, &h->answer);
        return;
    }
    refuse(ask, &h->answer, "the audit log cannot be written: what was asked for may have been done; ask again");
}

/* Takes the answer over. False: out of memory. */
static bool hold(struct ask *ask, const struct http_answer *answer)
{
    struct held_answer *h = arena_zalloc(http_arena(ask->request), sizeof *h);

    assert(answer->field_count <= MOST_FIELDS);
    if (!h)
        return false;
    h->answer = *answer;
    if (answer->field_count)
        memcpy(h->fields, answer->fields, answer->field_count * sizeof h->fields[0]);
    h->answer.fields = h->fields;
    buf_init(&h->body, answer->body.n + 1);
    if (answer->body_buf) {
        h->body = *answer->body_buf;
        *answer->body_buf = (struct buf){.max = h->body.max};
    } else if (!buf_add_str(&h->body, answer->body)) {
        return false;
    }
    h->answer.body_buf = &h->body;
    ask->held = h;
    return true;
}

static void send_change(struct ask *ask, const struct http_answer *answer, enum audit_kind kind)
{
    unsigned status = answer->status;

    if (!hold(ask, answer)) {
        refuse(ask, answer, "out of memory; what was asked for may have been done; ask again");
        return;
    }
    if (note(ask, kind, status, NULL, recorded) == AUDIT_NOTED)
        return;
    refuse(ask, &ask->held->answer,
           "the audit log cannot be written: what was asked for may have been done; ask again");
}

bool ask_may_change(struct ask *ask)
{
    if (kind_of(ask) <= AUDIT_READ || audit_takes(ask->api->o.audit)) {
        ask->changing = true;
        atomic_fetch_add(&ask->api->changing, 1);
        return true;
    }
    refuse(ask, NULL, "the audit log cannot be written");
    return false;
}

bool ask_audit_first(struct ask *ask, const struct audit_erasure *e, audit_done *done)
{
    enum audit_kind kind = kind_of(ask);

    assert(kind > AUDIT_READ || !ask->api->o.audit);
    if (kind == AUDIT_NEVER) {
        done(ask, true);
        return true;
    }
    ask->audit_before = true; /* before `done` may be called */
    if (note(ask, kind, 202, e, done) == AUDIT_NOTED)
        return true;
    ask->audit_before = false;
    ask_error(ask, 503, "unavailable", "the audit log cannot be written; nothing was done");
    return false;
}

/* It says only that nobody knows whether the change was made: that need not wait for the record, which would wait for
 * the log that has just failed. */
static void send_failure(struct ask *ask, const struct http_answer *answer, enum audit_kind kind)
{
    note(ask, kind, answer->status, NULL, NULL);
    http_answer_send(ask->request, answer);
}

void ask_send(struct ask *ask, const struct http_answer *answer)
{
    enum audit_kind kind = kind_of(ask);
    struct api *a = ask->api;
    bool changing = ask->changing; /* once it is answered, the request's memory may be gone */

    ask->changing = false;
    if (!is_recorded(ask, kind, answer->status))
        http_answer_send(ask->request, answer);
    else if (kind != AUDIT_READ && answer->status < 500)
        send_change(ask, answer, kind);
    else if (kind != AUDIT_READ)
        send_failure(ask, answer, kind);
    else if (note(ask, kind, answer->status, NULL, NULL) == AUDIT_NOTED)
        http_answer_send(ask->request, answer);
    else
        refuse(ask, answer, "the audit log cannot be written, and personal values are not shown without it");
    if (changing)
        atomic_fetch_sub(&a->changing, 1);
}

bool api_changes_end(struct api *a)
{
    const struct timespec pause = {.tv_nsec = 5000000};

    for (int64_t end = clock_monotonic() + CHANGES_MS; atomic_load(&a->changing) > 0; nanosleep(&pause, NULL))
        if (clock_monotonic() > end)
            return false;
    return true;
}
