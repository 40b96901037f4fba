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
#define KNOWN_MS (10 * TIME_MINUTE) /* for people to be known and judged after a start */
#define PART_MS TIME_MINUTE         /* for those of a part, whose partitions may be another's */
#define APPEAR_MS TIME_MINUTE       /* for the audience to be, after a start */

struct walking {
    struct exports *x;
    const struct export_entry *entry;
    const char *audience;
    struct rule *rule;
    bool *known; /* for each partition, whether its people are; and room for as many */
    uint32_t count;
};

static bool goes_on(const struct exports *x, int64_t until)
{
    if (atomic_load(&x->halt) || clock_monotonic() >= until)
        return false;
    usleep(RETRY_MS * 1000);
    return true;
}

uint32_t exports_known(const struct exports *x, bool *known, bool *all)
{
    uint32_t n = 0;

    *all = true;
    for (uint32_t p = 0; p < x->o.partitions; p++) {
        known[p] = audiences_knows(x->o.audiences, p);
        n += known[p];
        *all = *all && (known[p] || (event_log_shared(x->o.log) && !x->o.shows(x->o.arg, p)));
    }
    return n;
}

/* Whether those whose people are wanted are known; of a whole that is everybody who should be here. */
static bool knows_wanted(const struct walking *w, uint32_t known, bool all)
{
    if (!w->entry->makers)
        return all && known > 0;
    for (size_t i = 0; i < w->entry->partition_count; i++)
        if (w->entry->partitions[i] >= w->x->o.partitions || !w->known[w->entry->partitions[i]])
            return false;
    return all;
}

static int64_t patience(const struct walking *w)
{
    return w->entry->makers ? PART_MS : KNOWN_MS;
}

/* After a start people become known by and by; nobody is to be missing because of that. Who is in a part is agreed on
 * with others: nobody else may be. */
static int wait_known(struct walking *w, struct err *e)
{
    const struct exports *x = w->x;
    int64_t until = clock_monotonic() + patience(w);
    bool all, wanted;

    do {
        w->count = exports_known(x, w->known, &all);
        wanted = knows_wanted(w, w->count, all);
    } while (!wanted && goes_on(x, until));
    if (wanted && (!w->entry->makers || w->count == w->entry->partition_count))
        return 0;
    if (w->entry->makers)
        err_set(e, "a partition went to another profiler before it was made: ask for it again");
    else
        err_set(e, "not everybody who should be here is known yet");
    return atomic_load(&x->halt) ? -ECANCELED : -EAGAIN;
}

/* What is folded by now is what is looked at, or later. */
static void note_places(const struct walking *w, int64_t *places)
{
    struct state_figures f;

    for (uint32_t p = 0; p < w->x->o.partitions; p++) {
        places[p] = -1;
        if (!w->known[p])
            continue;
        state_figures(w->x->o.state, p, &f);
        places[p] = f.offset - f.base;
    }
}

/* One that lost a partition on the way is not whole: it is made anew, when somebody asks again. */
static int count_all(void *arg, audience_visitor *each, void *each_arg, const _Atomic bool *stop, struct err *e)
{
    const struct walking *w = arg;
    const uint32_t n = w->x->o.partitions;
    struct audience_count counted;
    bool all, *known = w->known + n;
    int rc = 0;

    if (w->count > 0 && !audiences_await(w->x->o.audiences, patience(w), stop)) {
        err_set(e, "there are people who are not judged yet: ask for it again");
        rc = atomic_load(stop) ? -ECANCELED : -EAGAIN;
    }
    if (rc == 0 && w->count > 0)
        rc = audiences_count(w->x->o.audiences, w->rule, TIME_NONE, each, each_arg, stop, &counted, e);
    if (rc == 0 && (exports_known(w->x, known, &all) != w->count || memcmp(known, w->known, n * sizeof *known) != 0)) {
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
                                       .here = w->known,
                                       .log = x->o.log,
                                       .walk = count_all,
                                       .arg = w,
                                       .stop = &x->halt,
                                       .looked_at = &x->looked_at};

    return export_make(&order, counts, e);
}

static int run(struct walking *w, struct export_request *request, const struct audience_info *info, const char *sent,
               const char *based_on, struct export_made *out, struct err *e)
{
    struct exports *x = w->x;
    struct export_counts counts;
    struct export_facts f = {.entry = w->entry,
                             .request = request,
                             .counts = &counts,
                             .rule = info->rule,
                             .rule_version = info->version,
                             .control_percent = x->o.conf->profiler.control_group,
                             .partitions_here = w->count,
                             .partitions = x->o.partitions,
                             .based_on = based_on,
                             .from_nothing = !sent,
                             .began = clock_now()};

    atomic_store(&x->expected, info->size);
    note_places(w, out->places);
    int rc = make(w, &f, &counts, sent, e);
    f.ended = clock_now();
    if (rc != 0)
        return rc;
    export_manifest_write(&f, &out->manifest);
    out->bytes = counts.bytes;
    out->head = counts.head;
    out->removals = counts.removal_bytes;
    stats_add(x->rows, counts.rows);
    stats_add(x->file_bytes, counts.bytes);
    return 0;
}

int exports_run(struct exports *x, const struct export_entry *n, const char *sent, const char *based_on,
                struct export_made *out, struct err *e)
{
    struct walking w = {.x = x, .entry = n, .audience = n->audience};
    struct export_request *request = NULL;
    struct audience_info info;
    struct arena a;

    arena_init(&a, LIMIT_EXPORT_ARENA);
    atomic_store(&x->looked_at, 0);
    w.known = calloc(2 * (size_t)x->o.partitions, sizeof *w.known);
    out->places = calloc(x->o.partitions, sizeof *out->places);
    int rc = w.known && out->places ? wait_known(&w, e) : -ENOMEM;
    if (rc == 0)
        rc = find(&w, &a, &info, e);
    if (rc == 0)
        rc = compile(&w, n, &request, e);
    if (rc == 0)
        rc = run(&w, request, &info, sent, based_on, out, e);
    if (rc != 0) {
        free(out->places);
        out->places = NULL;
    }
    free(w.known);
    rule_free(w.rule);
    export_request_free(request);
    arena_deinit(&a);
    return rc > 0 ? -EIO : rc;
}
