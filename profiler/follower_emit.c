/* What folding asks to be put on the log, on its way there while folding goes on. A record is shown to those who wait
 * for it, and counted, once all that it set off is acked; it is committed only while nothing is under way. The thread
 * of a follower, but for what says otherwise. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "profiler/follower_private.h"

#define ENDS_MS 1000 /* for the log to say where it ends */

/* --- emitting ------------------------------------------------------------------------------------------------- */

static void wake_follower(void *arg)
{
    struct follower *me = arg;

    log_reader_wake(me->reader);
}

int part_emit_init(struct followers *all, struct follower *me, struct part *p)
{
    struct emitter_options o = {.log = all->o.log, .partitions = all->o.partitions, .wake = wake_follower, .arg = me};

    if (all->o.stats) {
        o.records = stats_counter(all->o.stats, "waymark_internal_records_total", NULL,
                                  "Records by which partitions told each other of links and moved events.");
        o.bytes = stats_counter(all->o.stats, "waymark_internal_bytes_total", NULL,
                                "Bytes of these records, keys and values.");
    }
    p->emitter = emitter_new(&o);
    if (event_log_shared(all->o.log) && all->o.partitions > 1)
        p->ends = calloc(all->o.partitions, sizeof *p->ends);
    return p->emitter && (p->ends || !event_log_shared(all->o.log) || all->o.partitions == 1) ? 0 : -ENOMEM;
}

void part_emit_deinit(struct part *p)
{
    emitter_free(p->emitter);
    free(p->ends);
}

bool part_emitting(const struct part *p)
{
    return emitter_taken(p->emitter) > emitter_acked(p->emitter);
}

/* --- showing -------------------------------------------------------------------------------------------------- */

static void show(struct followers *all, struct part *p, const struct state_figures *f)
{
    pthread_mutex_lock(&all->lock);
    p->figures = *f;
    pthread_mutex_unlock(&all->lock);
    int64_t before = atomic_exchange(&p->shown, f->offset);
    assert(f->offset >= before);
    if (!atomic_load(&p->ready) && f->offset >= p->target)
        atomic_store(&p->ready, true);
    if (f->offset > before && all->o.shown)
        all->o.shown(all->o.arg);
}

/* The last mark whose emissions are acked, and forgets those before. */
static void show_marks(struct followers *all, struct part *p)
{
    uint64_t acked = emitter_acked(p->emitter);
    size_t n = 0;

    while (n < p->mark_count && p->marks[n].taken <= acked)
        n++;
    if (n == 0)
        return;
    show(all, p, &p->marks[n - 1].figures);
    p->mark_count -= n;
    memmove(p->marks, p->marks + n, p->mark_count * sizeof *p->marks);
}

void part_publish(struct followers *all, struct part *p)
{
    if (p->place != PLACE_FOLLOWED || p->announcing)
        return;
    if (p->mark_count == MARKS)
        p->mark_count--; /* it is shown with this one */
    struct mark *m = &p->marks[p->mark_count++];
    m->taken = emitter_taken(p->emitter);
    part_figures(all, p->number, &m->figures);
    show_marks(all, p);
}

void part_emit(struct followers *all, struct part *p)
{
    const struct state_emission *v;
    enum log_status why = LOG_OK;
    struct err e = {0};
    size_t n = state_emissions(all->o.state, p->number, &v);

    if (n > 0) {
        emitter_take(p->emitter, v, n);
        state_emissions_taken(all->o.state, p->number);
    }
    if (p->emitted == emitter_taken(p->emitter) || clock_monotonic() < p->emits.retry_at)
        return;
    enum emitted r = emitter_drive(p->emitter, &why);
    uint64_t acked = emitter_acked(p->emitter);
    if (acked > p->emitted)
        part_worked(p, &p->emits, "emits");
    p->emitted = acked;
    if (r == EMITTED_FAILED) {
        err_set(&e, "%s", log_status_text(why));
        part_failed(all, p, &p->emits, "cannot put on the log what follows from a record", &e);
    }
    show_marks(all, p);
}

/* --- following what was moved --------------------------------------------------------------------------------- */

bool part_ask_ends(struct follower *me, struct part *p, struct err *e)
{
    struct followers *all = me->all;
    uint32_t n = all->o.partitions;

    if (!p->ends)
        return true;
    if (me->ends_at <= p->since) { /* within one millisecond they may have been asked for before it was given */
        int64_t now = clock_monotonic();
        if (event_log_ask_ends(all->o.log, LOG_EVENTS, me->numbers, n, ENDS_MS, me->ends, e) != 0)
            return false;
        me->ends_at = now;
    }
    pthread_mutex_lock(&all->lock);
    memcpy(p->ends, me->ends, n * sizeof *p->ends);
    pthread_mutex_unlock(&all->lock);
    return true;
}

/* Any thread. */
void followers_sent(struct followers *all, uint32_t partition, int64_t *places)
{
    const struct part *p = &all->parts[partition];

    assert(partition < all->o.partitions);
    if (p->ends) {
        pthread_mutex_lock(&all->lock);
        for (uint32_t i = 0; i < all->o.partitions; i++)
            if (i != partition && p->ends[i] > places[i])
                places[i] = p->ends[i];
        pthread_mutex_unlock(&all->lock);
    }
    emitter_places(p->emitter, places);
}
