/* Records under way: what one append brought is a parcel, and each record in it is reported once, by whoever moves its
 * state to REPORTED. A parcel is in the list of those that wait for the event log until its deadline, then in that of
 * those that wait for the spool, and in none once all of it is reported; its memory goes when both logs have reported
 * all that they were given of it. Runs on the appenders' threads, those of the logs, and the sink's timer. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collector/sink_inside.h"
#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"

/* Of a record. From WAITING to SPOOLING goes who will append it to the spool. */
enum { WAITING, SPOOLING, REPORTED };

struct item {
    struct parcel *parcel;
    void *arg;
    atomic_uchar state;
    unsigned char why; /* enum spool_reason, by who moved it to SPOOLING */
};

struct parcel {
    struct sink *sink;
    struct parcels *list; /* that it is in; NULL: none */
    struct parcel *prev, *next;
    int64_t appended_at, deadline;
    log_done *done;
    enum log_topic topic;
    bool complete;          /* all is reported; under the sink's lock, as is: */
    bool given_up;          /* somebody may still be copying out of it */
    atomic_uint unreported; /* records */
    atomic_uint refs;       /* reports that the logs owe, and who works on it */
    size_t n;
    struct item *items;
    void **args;                /* of the logs: each points to its item */
    struct log_record *records; /* into `bytes` */
    char *bytes;                /* the copy, until all is reported; NULL: none */
    size_t size;                /* of it */
};

/* Lists, under the sink's lock */

static void link_last(struct parcels *list, struct parcel *p)
{
    p->list = list;
    p->prev = list->last;
    p->next = NULL;
    *(list->last ? &list->last->next : &list->first) = p;
    list->last = p;
}

static void unlink_parcel(struct parcel *p)
{
    struct parcels *list = p->list;

    *(p->prev ? &p->prev->next : &list->first) = p->next;
    *(p->next ? &p->next->prev : &list->last) = p->prev;
    p->list = NULL;
}

/* Life */

static void unref(struct parcel *p)
{
    if (atomic_fetch_sub(&p->refs, 1) != 1)
        return;
    struct sink *s = p->sink;
    assert(p->complete || atomic_load(&p->unreported) == p->n); /* else it was never taken */
    free(p->bytes);
    free(p);
    sink_unref(s);
}

static size_t bytes_of(const struct log_record *records, size_t n)
{
    size_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += records[i].key.n + records[i].value.n;
    return sum;
}

static struct str copy(char **to, struct str from)
{
    struct str s = {*to, from.n};

    if (!from.p)
        return STR_NONE;
    if (from.n > 0)
        memcpy(*to, from.p, from.n);
    *to += from.n;
    return s;
}

static bool copy_records(struct parcel *p, const struct log_record *records, size_t size)
{
    char *to = p->bytes = malloc(size + 1);

    if (!to)
        return false;
    p->size = size;
    for (size_t i = 0; i < p->n; i++) {
        p->records[i] = records[i];
        p->records[i].key = copy(&to, records[i].key);
        p->records[i].value = copy(&to, records[i].value);
    }
    return true;
}

/* With room for copies when `kept`; one reference is the caller's. NULL when memory is out. */
static struct parcel *new_parcel(struct sink *s, enum log_topic topic, size_t n, log_done *done, void *const *args,
                                 bool kept)
{
    size_t each = sizeof(struct item) + sizeof(void *) + (kept ? sizeof(struct log_record) : 0);
    struct parcel *p = n < SIZE_MAX / 2 / each ? malloc(sizeof *p + n * each) : NULL;

    if (!p)
        return NULL;
    *p = (struct parcel){.sink = s, .done = done, .topic = topic, .n = n};
    p->records = (struct log_record *)(p + 1);
    p->items = (struct item *)(p->records + (kept ? n : 0));
    p->args = (void **)(p->items + n);
    for (size_t i = 0; i < n; i++) {
        p->items[i].parcel = p;
        p->items[i].arg = args ? args[i] : NULL;
        p->items[i].why = 0;
        atomic_init(&p->items[i].state, WAITING);
        p->args[i] = &p->items[i];
    }
    atomic_init(&p->unreported, (unsigned)n);
    atomic_init(&p->refs, 1);
    sink_ref(s);
    return p;
}

/* Counts an append as under way. `size` is what it wants to copy. */
static enum log_status enter(struct sink *s, size_t size)
{
    enum log_status status = LOG_OK;

    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->stopping))
        status = LOG_STOPPED;
    else if (size > 0 && s->bytes > 0 && s->bytes + size > LIMIT_SINK_BYTES)
        status = LOG_QUEUE_FULL;
    if (status == LOG_OK) {
        s->under_way++;
        s->bytes += size;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* With the lock held. */
static void count_out(struct sink *s, size_t size)
{
    assert(s->under_way > 0 && s->bytes >= size);
    s->bytes -= size;
    if (--s->under_way == 0)
        pthread_cond_broadcast(&s->changed);
}

static void leave(struct sink *s, size_t size)
{
    pthread_mutex_lock(&s->lock);
    count_out(s, size);
    pthread_mutex_unlock(&s->lock);
}

/* The last record was reported. The event log may take much longer to say what became of the records than anybody
 * needs the copy. */
static void complete(struct parcel *p)
{
    struct sink *s = p->sink;
    char *bytes = NULL;

    pthread_mutex_lock(&s->lock);
    p->complete = true;
    if (!p->given_up) {
        bytes = p->bytes;
        p->bytes = NULL;
    }
    if (p->list)
        unlink_parcel(p);
    count_out(s, p->size);
    pthread_mutex_unlock(&s->lock);
    free(bytes);
}

/* Puts it into a list, unless it was reported in whole meanwhile. */
static void enlist(struct parcel *p, struct parcels *list)
{
    struct sink *s = p->sink;

    pthread_mutex_lock(&s->lock);
    if (!p->complete) {
        p->deadline = clock_monotonic() + s->o.patience_ms;
        if (list == &s->waiting && !list->first)
            pthread_cond_broadcast(&s->changed);
        link_last(list, p);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Reports */

static bool move(struct item *i, unsigned char from, unsigned char to)
{
    return atomic_compare_exchange_strong(&i->state, &from, to);
}

/* By the one who moved it to REPORTED. */
static void report(struct item *i, enum log_status status, uint32_t partition, int64_t offset)
{
    struct parcel *p = i->parcel;

    p->done(i->arg, status, partition, offset);
    if (atomic_fetch_sub(&p->unreported, 1) == 1)
        complete(p);
}

/* log_done of the spool. */
static void spool_done(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct item *i = arg;
    struct parcel *p = i->parcel;
    struct sink *s = p->sink;

    (void)partition, (void)offset;
    if (status == LOG_OK) {
        if (s->o.stats)
            stats_add(s->spooled[i->why], 1);
        forwarder_wake(s->forwarder);
    }
    if (move(i, SPOOLING, REPORTED))
        report(i, status == LOG_OK ? LOG_SPOOLED : status, 0, -1);
    unref(p);
}

/* Appends a run of records, all in SPOOLING, and reports them when the spool refuses. */
static void spool_run(struct parcel *p, size_t from, size_t to)
{
    size_t n = to - from;

    if (n == 0)
        return;
    atomic_fetch_add(&p->refs, (unsigned)n);
    enum log_status status = event_log_append(p->sink->o.spool, p->topic, LOG_BY_COLLECTOR, p->records + from, n,
                                              spool_done, p->args + from);
    if (status == LOG_OK)
        return;
    for (size_t i = from; i < to; i++) {
        if (move(&p->items[i], SPOOLING, REPORTED))
            report(&p->items[i], status, 0, -1);
        unref(p);
    }
}

static bool take(struct item *i, enum spool_reason why)
{
    if (!move(i, WAITING, SPOOLING))
        return false;
    i->why = (unsigned char)why;
    return true;
}

/* Whatever still waits goes to the spool. Returns how much that was. */
static size_t spool_waiting(struct parcel *p, enum spool_reason why)
{
    size_t taken = 0, from = 0;

    for (size_t i = 0; i < p->n; i++) {
        if (take(&p->items[i], why)) {
            taken++;
            continue;
        }
        spool_run(p, from, i);
        from = i + 1;
    }
    spool_run(p, from, p->n);
    return taken;
}

static enum spool_reason reason_of_status(enum log_status s)
{
    switch (s) {
    case LOG_QUEUE_FULL:
        return SPOOL_QUEUE_FULL;
    case LOG_TOO_LARGE:
        return SPOOL_TOO_LARGE;
    default:
        return SPOOL_FAILED;
    }
}

/* log_done of the event log. */
static void log_reported(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct item *i = arg;
    struct parcel *p = i->parcel;
    size_t at = (size_t)(i - p->items);

    if (status == LOG_OK) {
        sink_note_ack(p->sink, p->appended_at);
        if (move(i, WAITING, REPORTED))
            report(i, LOG_OK, partition, offset);
    } else if (take(i, reason_of_status(status))) { /* else it was given up already, and its trouble is old */
        if (sink_is_trouble(status))
            sink_note_trouble(p->sink, status, log_status_text(status));
        spool_run(p, at, at + 1);
    }
    unref(p);
}

/* Appending */

/* A parcel of which neither log has heard. */
static void drop(struct parcel *p)
{
    leave(p->sink, p->size);
    unref(p);
}

enum log_status parcel_spool(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                             log_done *done, void *const *args, enum spool_reason why)
{
    struct parcel *p;
    enum log_status status = enter(s, 0);

    if (status != LOG_OK)
        return status;
    if (!(p = new_parcel(s, topic, n, done, args, false))) {
        leave(s, 0);
        return LOG_QUEUE_FULL;
    }
    for (size_t i = 0; i < n; i++)
        (void)take(&p->items[i], why);
    atomic_fetch_add(&p->refs, (unsigned)n);
    status = event_log_append(s->o.spool, topic, LOG_BY_COLLECTOR, records, n, spool_done, p->args);
    if (status == LOG_OK) {
        enlist(p, &s->spooling);
        unref(p);
    } else {
        atomic_fetch_sub(&p->refs, (unsigned)n);
        drop(p);
    }
    return status;
}

/* Copies, and appends to the event log. What it says must be dealt with when it is not LOG_OK. */
static enum log_status send(struct sink *s, struct parcel *p, const struct log_record *records, size_t size)
{
    if (!copy_records(p, records, size))
        return LOG_QUEUE_FULL;
    p->appended_at = clock_monotonic();
    atomic_fetch_add(&p->refs, (unsigned)p->n);
    enum log_status status =
        event_log_append(s->o.log, p->topic, LOG_BY_COLLECTOR, p->records, p->n, log_reported, p->args);
    if (status != LOG_OK)
        atomic_fetch_sub(&p->refs, (unsigned)p->n);
    return status;
}

enum log_status parcel_send(struct sink *s, enum log_topic topic, const struct log_record *records, size_t n,
                            log_done *done, void *const *args)
{
    size_t size = bytes_of(records, n);
    struct parcel *p;
    enum log_status status = enter(s, size);

    if (status == LOG_STOPPED)
        return status;
    if (status == LOG_OK) {
        if (!(p = new_parcel(s, topic, n, done, args, true))) {
            leave(s, size);
            return LOG_QUEUE_FULL;
        }
        if ((status = send(s, p, records, size)) == LOG_OK) {
            enlist(p, &s->waiting);
            unref(p);
            return LOG_OK;
        }
        p->size = size; /* even if it was not copied, it was counted */
        drop(p);
    }
    if (sink_is_trouble(status))
        sink_note_trouble(s, status, log_status_text(status));
    return parcel_spool(s, topic, records, n, done, args, reason_of_status(status));
}

/* Time */

/* With the lock held, which is let go meanwhile: the first parcel of those that wait goes to the spool. */
static void expire_first(struct sink *s)
{
    struct parcel *p = s->waiting.first;
    char text[96];

    unlink_parcel(p);
    link_last(&s->spooling, p);
    atomic_fetch_add(&p->refs, 1); /* it is in a list, so not all of it is reported, so somebody still holds it */
    pthread_mutex_unlock(&s->lock);
    if (spool_waiting(p, SPOOL_TIMEOUT) > 0) {
        snprintf(text, sizeof text, "the event log did not confirm within %lld ms", (long long)s->o.patience_ms);
        sink_note_trouble(s, LOG_UNREACHABLE, text);
    }
    unref(p);
    pthread_mutex_lock(&s->lock);
}

void *parcels_timer(void *arg)
{
    struct sink *s = arg;

    pthread_mutex_lock(&s->lock);
    while (!s->stop_timer) {
        int64_t until = s->waiting.first ? s->waiting.first->deadline : 0;
        struct timespec t = cond_at(until);

        if (!s->waiting.first)
            pthread_cond_wait(&s->changed, &s->lock);
        else if (until <= clock_monotonic())
            expire_first(s);
        else
            pthread_cond_timedwait(&s->changed, &s->lock, &t);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void parcels_expire_all(struct sink *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->waiting.first)
        expire_first(s);
    pthread_mutex_unlock(&s->lock);
}

/* Whoever else would have reported them finds them reported. */
static void give_up(struct parcel *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (atomic_exchange(&p->items[i].state, REPORTED) != REPORTED)
            report(&p->items[i], LOG_FAILED, 0, -1);
}

void parcels_give_up(struct sink *s)
{
    struct parcel *p;

    pthread_mutex_lock(&s->lock);
    while ((p = s->spooling.first ? s->spooling.first : s->waiting.first)) {
        unlink_parcel(p);
        p->given_up = true;
        atomic_fetch_add(&p->refs, 1);
        pthread_mutex_unlock(&s->lock);
        give_up(p);
        unref(p);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
}
