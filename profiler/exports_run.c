/* Makes what was asked for: the request is read again, the audience is walked. The exports' thread, without the lock.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "profiler/exports_inside.h"

#define RETRY_MS 50
#define KNOWN_MS (10 * TIME_MINUTE) /* for people to be known after a start */
#define APPEAR_MS TIME_MINUTE       /* for the audience to be, after a start */

struct walking {
    struct exports *x;
    const char *audience;
    struct rule *rule;
    uint32_t known; /* partitions whose people are */
};

static bool goes_on(const struct exports *x, int64_t until)
{
    if (atomic_load(&x->halt) || clock_monotonic() >= until)
        return false;
    usleep(RETRY_MS * 1000);
    return true;
}

uint32_t exports_known(const struct exports *x, bool *all)
{
    uint32_t n = 0;

    *all = true;
    for (uint32_t p = 0; p < x->o.partitions; p++) {
        bool known = audiences_knows(x->o.audiences, p);

        n += known;
        *all = *all && (known || (event_log_shared(x->o.log) && !x->o.shows(x->o.arg, p)));
    }
    return n;
}

/* After a start people become known by and by; nobody is to be missing because of that. */
static int wait_known(const struct exports *x, uint32_t *known, struct err *e)
{
    int64_t until = clock_monotonic() + KNOWN_MS;
    bool all;

    do {
        *known = exports_known(x, &all);
    } while (!(all && *known > 0) && goes_on(x, until));
    if (all && *known > 0)
        return 0;
    err_set(e, "not everybody who should be here is known yet");
    return atomic_load(&x->halt) ? -ECANCELED : -EAGAIN;
}

/* One that lost a partition on the way is not whole: it is made anew, when somebody asks again. */
static int count_all(void *arg, audience_visitor *each, void *each_arg, const _Atomic bool *stop, struct err *e)
{
    const struct walking *w = arg;
    struct audience_count counted;
    bool all;
    int rc = audiences_count(w->x->o.audiences, w->rule, TIME_NONE, each, each_arg, stop, &counted, e);

    if (rc == 0 && exports_known(w->x, &all) != w->known) {
        err_set(e, "a partition came or went while it was made: ask for it again");
        rc = -EAGAIN;
    }
    return rc;
}

/* The audience, and what it is; after a start it may not be known at once. */
static int find(struct walking *w, struct arena *a, struct audience_info *info, struct err *e)
{
    int64_t until = clock_monotonic() + APPEAR_MS;
    int rc;

    do {
        rc = audiences_get(w->x->o.audiences, str_of(w->audience), a, info);
    } while (rc == AUDIENCE_NOT_FOUND && goes_on(w->x, until));
    if (rc == AUDIENCE_NOT_FOUND) {
        err_set(e, "there is no audience %s", w->audience);
        rc = atomic_load(&w->x->halt) ? -ECANCELED : -ENOENT;
    }
    return rc;
}

static int compile(struct walking *w, const struct export_entry *n, struct export_request **out, struct err *e)
{
    struct exports *x = w->x;
    struct audience_names names;
    struct rule_error why;
    const char *code;
    char text[128];
    size_t bytes = strlen(n->request);
    char *body = calloc(1, bytes + JSON_PADDING);
    int rc;

    if (!body)
        return -ENOMEM;
    memcpy(body, n->request, bytes);
    snprintf(text, sizeof text, "in_audience(\"%s\")", n->audience);
    audiences_names(x->o.audiences, &names);
    rc = export_request_read(body, bytes, &names.names, x->o.conf->profiler.country, out, &code, e);
    if (rc == 0) {
        rc = rule_compile(str_of(text), RULE_BOOL, &names.names, &w->rule, &why);
        if (rc == -EINVAL)
            err_set(e, "%s: %.150s", text, why.message);
    }
    audiences_names_done(&names);
    free(body);
    return rc;
}

static int make(struct walking *w, struct export_facts *f, struct export_counts *counts, const char *sent,
                struct err *e)
{
    struct exports *x = w->x;
    const struct export_order order = {.request = f->request,
                                       .rules = x->o.rules,
                                       .country = x->o.conf->profiler.country,
                                       .key = x->key,
                                       .control_percent = f->control_percent,
                                       .reserve = x->o.conf->log.reserve_bytes,
                                       .folder = x->folder,
                                       .id = f->entry->id,
                                       .sent = sent,
                                       .who = f->entry->who,
                                       .now = f->began,
                                       .partitions = x->o.partitions,
                                       .log = x->o.log,
                                       .walk = count_all,
                                       .arg = w,
                                       .stop = &x->halt,
                                       .looked_at = &x->looked_at};

    return export_make(&order, counts, e);
}

int exports_run(struct exports *x, const struct export_entry *n, const char *sent, const char *based_on,
                struct buf *manifest, uint64_t *bytes, struct err *e)
{
    struct walking w = {.x = x, .audience = n->audience};
    struct export_request *request = NULL;
    struct export_counts counts;
    struct audience_info info;
    struct arena a;

    arena_init(&a, LIMIT_EXPORT_ARENA);
    atomic_store(&x->looked_at, 0);
    int rc = wait_known(x, &w.known, e);
    if (rc == 0)
        rc = find(&w, &a, &info, e);
    if (rc == 0)
        rc = compile(&w, n, &request, e);
    if (rc == 0) {
        struct export_facts f = {.entry = n,
                                 .request = request,
                                 .counts = &counts,
                                 .rule = info.rule,
                                 .rule_version = info.version,
                                 .control_percent = x->o.conf->profiler.control_group,
                                 .partitions = x->o.partitions,
                                 .based_on = based_on,
                                 .began = clock_now()};

        atomic_store(&x->expected, info.size);
        f.partitions_here = w.known;
        rc = make(&w, &f, &counts, sent, e);
        f.ended = clock_now();
        if (rc == 0) {
            export_manifest_write(&f, manifest);
            *bytes = counts.bytes;
            stats_add(x->rows, counts.rows);
            stats_add(x->file_bytes, counts.bytes);
        }
    }
    rule_free(w.rule);
    export_request_free(request);
    arena_deinit(&a);
    return rc > 0 ? -EIO : rc;
}
