/* Where a partition goes on: exactly where its state stands, on the log that the state was made from, or not at all. A
 * partition that comes to this process for the first time begins with a backup or with the log's first record. The
 * thread of a follower. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/follower_private.h"
#include "profiler/same_log.h"

#define CHECK_MS 10000 /* for the log to give the record that is to be checked */
#define ENDS_MS 2000   /* and to tell where it ends */

uint64_t part_stint(const struct followers *all, const struct part *p)
{
    return all->o.stint ? all->o.stint(all->o.arg, p->number) : 1;
}

void part_leave(struct followers *all, struct part *p)
{
    p->place = PLACE_AWAY;
    p->restored = p->at_end = false;
    atomic_store(&p->shown, -1);
    atomic_store(&p->ready, false);
    p->mark_count = 0;
    p->folding.retry_at = p->folding.backoff_ms = 0;
    atomic_store(&p->folding.there, false);
    if (p->held > 0)
        cache_end(all->o.cache, p->number, NULL, 0);
    p->held = 0;
}

/* Its place will be looked for again. */
static void unreachable(struct followers *all, struct part *p, const char *why)
{
    enum log_status s = event_log_ready(all->o.log);
    struct err e = {0};

    err_set(&e, "%s%s%s", why, s == LOG_OK ? "" : "; ", s == LOG_OK ? "" : log_status_text(s));
    part_failed(all, p, &p->folding, "the log cannot be reached", &e);
    p->place = PLACE_AWAY;
}

static bool fresh(const struct state_figures *f)
{
    uint64_t seen = 0;

    for (int i = 0; i < OUTCOMES; i++)
        seen += f->outcomes[i];
    return seen == 0 && f->offset == 0;
}

/* --- the same log --------------------------------------------------------------------------------------------- */

/* With its offset on the log. */
static bool last_event(const struct followers *all, const struct part *p, int64_t *offset, struct uid *uid)
{
    struct state_figures f;

    if (!state_last_event(all->o.state, p->number, offset, uid))
        return false;
    state_figures(all->o.state, p->number, &f);
    *offset -= f.base;
    return true;
}

/* Whether the record that the state folded last is still the same on this log: reads it again. One that retention has
 * taken says nothing here, the seek to the place will. One that lies behind the end says that it is not the same,
 * however far the log reaches a moment later. */
enum check { CHECK_NOTHING, CHECK_WAITS, CHECK_SAME, CHECK_OTHER, CHECK_BEHIND_END, CHECK_FAILED };

/* What was heard of the end may be old. */
static enum check check_end(struct follower *me, struct part *p, int64_t offset)
{
    struct event_log *log = me->all->o.log;
    int64_t end = event_log_end(log, LOG_EVENTS, p->number);

    if (end <= offset && event_log_ask_ends(log, LOG_EVENTS, &p->number, 1, ENDS_MS, &end, NULL) != 0) {
        unreachable(me->all, p, "it does not tell where it ends");
        return CHECK_FAILED;
    }
    return end <= offset ? CHECK_BEHIND_END : CHECK_WAITS;
}

static enum check check_begin(struct follower *me, struct part *p)
{
    struct uid uid;
    int64_t offset;

    if (!last_event(me->all, p, &offset, &uid))
        return CHECK_NOTHING;
    int r = log_reader_seek(me->reader, p->number, offset);
    if (r == LOG_READ_GAP)
        return offset < event_log_begin(me->all->o.log, LOG_EVENTS, p->number) ? CHECK_NOTHING : CHECK_BEHIND_END;
    if (r != 0) {
        unreachable(me->all, p, "it does not tell where it stands");
        return CHECK_FAILED;
    }
    p->check_until = clock_monotonic() + CHECK_MS;
    return check_end(me, p, offset);
}

static enum check check_read(struct follower *me, struct part *p)
{
    struct log_record record;
    struct err e = {0};
    struct uid uid;
    int64_t offset;
    int n = log_reader_read(me->reader, p->number, &record, 1, LIMIT_RECORD_BYTES, &e);

    if (n == 0 && clock_monotonic() < p->check_until)
        return CHECK_WAITS;
    if (n <= 0) { /* also when it is gone: the next seek tells how */
        unreachable(me->all, p, n < 0 ? e.text : "it does not give the record before the place");
        return CHECK_FAILED;
    }
    bool known = last_event(me->all, p, &offset, &uid);
    assert(known);
    return same_event(&record, offset, &uid) ? CHECK_SAME : CHECK_OTHER;
}

/* --- the place ------------------------------------------------------------------------------------------------ */

static void follow(struct follower *me, struct part *p, const struct state_figures *f)
{
    struct err e = {0};

    if (!part_ask_ends(me, p, &e)) {
        unreachable(me->all, p, "it does not tell where it ends");
        return;
    }
    p->place = PLACE_FOLLOWED;
    p->next = f->offset;
    p->base = f->base;
    p->target = event_log_end(me->all->o.log, LOG_EVENTS, p->number);
    if (!event_log_shared(me->all->o.log))
        state_catch_up(me->all->o.state, p->number, p->target + p->base);
    part_worked(p, &p->folding, "follows the log");
    part_release(me, p);
    part_publish(me->all, p);
}

/* `backup`: why none could be taken; "" when there is none. */
static void stop_at_gap(struct followers *all, struct part *p, const struct state_figures *f, const char *backup)
{
    long long begin = event_log_begin(all->o.log, LOG_EVENTS, p->number);
    long long end = event_log_end(all->o.log, LOG_EVENTS, p->number);
    char text[256];

    if (*backup)
        snprintf(text, sizeof text,
                 "its state does not reach the log, which begins at offset %lld, and the backup of it "
                 "cannot be taken: %.120s",
                 begin, backup);
    else if (fresh(f))
        snprintf(text, sizeof text,
                 "there is no state of it here, and the log begins at offset %lld: restore a backup in which it stands "
                 "there or later",
                 begin);
    else
        snprintf(text, sizeof text,
                 "the state stands at offset %lld but the log holds %lld up to %lld; it was not made from this log, or "
                 "the log has lost records; see `waymark adopt`",
                 (long long)f->offset, begin, end);
    part_stop(all, p, text);
}

/* Puts a backup in the place of a state that does not reach the log, or of another log, or of none. Returns whether
 * there is another state now; if not, `e` may say why. */
static bool restore(struct followers *all, struct part *p, const struct state_figures *f, struct err *e)
{
    int64_t begin = event_log_begin(all->o.log, LOG_EVENTS, p->number);

    if (!all->o.restore || p->restored || !event_log_shared(all->o.log))
        return false;
    p->restored = true; /* once: what then does not fit will not fit the next time */
    int r = all->o.restore(all->o.arg, p->number, begin, !fresh(f) && f->offset >= begin, e);
    if (r < 0)
        log_error("profiler: partition %u: a backup cannot be taken: %s", p->number, e->text);
    else if (r > 0)
        e->text[0] = '\0';
    if (r != 0)
        return false;
    log_info("profiler: partition %u: goes on from a backup", p->number);
    p->since = clock_monotonic();
    p->place = PLACE_AWAY; /* to be checked like any other state */
    return true;
}

/* To where the state stands. */
static void take_place(struct follower *me, struct part *p)
{
    struct followers *all = me->all;
    struct state_figures f;
    struct err e = {0};

    part_figures(all, p->number, &f);
    int r = log_reader_seek(me->reader, p->number, f.offset);
    if (r != 0 && r != LOG_READ_GAP) {
        unreachable(all, p, "it does not tell where it stands");
        return;
    }
    if ((r == LOG_READ_GAP || fresh(&f)) && restore(all, p, &f, &e))
        return;
    if (r == LOG_READ_GAP && fresh(&f) && !event_log_shared(all->o.log)) {
        state_begin_at(all->o.state, p->number, event_log_begin(all->o.log, LOG_EVENTS, p->number));
        part_figures(all, p->number, &f);
        r = log_reader_seek(me->reader, p->number, f.offset);
    }
    if (r == 0)
        follow(me, p, &f);
    else
        stop_at_gap(all, p, &f, e.text);
}

/* Others may have gone on with it. */
static void stop_at_other(struct followers *all, struct part *p, enum check c)
{
    struct state_figures f;
    struct err e = {0};
    char text[256];

    part_figures(all, p->number, &f);
    if (restore(all, p, &f, &e))
        return;
    if (c == CHECK_BEHIND_END) {
        stop_at_gap(all, p, &f, e.text);
        return;
    }
    snprintf(text, sizeof text,
             "the log was replaced: the record before offset %lld is not the one that the state folded; see "
             "`waymark adopt`",
             (long long)f.offset);
    part_stop(all, p, text);
}

bool part_place(struct follower *me, struct part *p)
{
    assert(p->place == PLACE_AWAY || p->place == PLACE_CHECKING);
    enum check c = p->place == PLACE_AWAY ? check_begin(me, p) : check_read(me, p);

    if (c == CHECK_WAITS) {
        bool begun = p->place == PLACE_AWAY;
        p->place = PLACE_CHECKING;
        return begun;
    }
    if (c == CHECK_OTHER || c == CHECK_BEHIND_END)
        stop_at_other(me->all, p, c);
    else if (c != CHECK_FAILED)
        take_place(me, p);
    return c != CHECK_FAILED && p->place != PLACE_STOPPED;
}
