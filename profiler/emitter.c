/* One partition's emissions on their way. A follower drives it; acks come on the log's thread, perhaps after the
 * follower has gone, so that it is freed by whoever leaves last.
 *
 * Order: they are appended in the order in which they were taken on. When one fails nothing more is appended until all
 * that are under way have their answers; then the failed ones, and all behind one of them to the same partition, wait
 * to be appended again. */
#include "profiler/emitter.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/limits.h"

enum fate { FATE_WAITS, FATE_UNDER_WAY, FATE_ACKED, FATE_FAILED };

struct parcel {
    struct emitter *emitter;
    struct state_emission emission;
    uint32_t lane;
    enum fate fate;
};

/* Those taken on at once. */
struct batch {
    struct batch *next;
    size_t n;
    struct parcel parcels[];
};

/* A place among the parcels: `at` may be the batch's end while there is no next one. */
struct spot {
    struct batch *batch;
    size_t at;
};

/* What goes to one partition of a topic. */
struct lane {
    bool broken;   /* while the failed ones are collected */
    int64_t place; /* one past the last record that was put there */
};

struct emitter {
    struct emitter_options o;
    pthread_mutex_t lock;  /* of all below */
    bool left;             /* by its owner */
    bool woken;            /* the owner was woken and has not come yet */
    struct batch *last;    /* in the list that begins at `first` */
    struct spot first;     /* not acked */
    struct spot next;      /* to be appended */
    uint64_t taken, acked; /* the first `acked` are gone from the list */
    size_t bytes;          /* of the list */
    size_t under_way, bytes_under_way;
    bool failed;             /* one of those under way */
    enum log_status refused; /* why */
    struct lane lanes[];     /* the bad events', then one for each partition */
};

struct emitter *emitter_new(const struct emitter_options *o)
{
    struct emitter *e = calloc(1, sizeof *e + (o->partitions + (size_t)1) * sizeof *e->lanes);

    if (!e)
        return NULL;
    e->o = *o;
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

static void parcel_free(struct parcel *i)
{
    free((void *)(uintptr_t)i->emission.record.key.p);
    free((void *)(uintptr_t)i->emission.record.value.p);
}

static void destroy(struct emitter *e)
{
    for (struct spot s = e->first; s.batch;) {
        struct batch *next = s.batch->next;

        for (; s.at < s.batch->n; s.at++)
            parcel_free(&s.batch->parcels[s.at]);
        free(s.batch);
        s = (struct spot){next, 0};
    }
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void emitter_free(struct emitter *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->left = true;
    bool last = e->under_way == 0;
    pthread_mutex_unlock(&e->lock);
    if (last)
        destroy(e);
}

/* --- the list, with the lock ---------------------------------------------------------------------------------- */

static size_t parcel_bytes(const struct parcel *i)
{
    return i->emission.record.key.n + i->emission.record.value.n;
}

/* The parcel there; NULL at the end. */
static struct parcel *parcel_at(struct spot *s)
{
    while (s->batch && s->at == s->batch->n && s->batch->next)
        *s = (struct spot){s->batch->next, 0};
    return s->batch && s->at < s->batch->n ? &s->batch->parcels[s->at] : NULL;
}

static uint32_t lane_of(const struct emitter *e, const struct state_emission *m)
{
    return m->topic == LOG_EVENTS ? 1 + log_record_partition(&m->record, e->o.partitions) : 0;
}

void emitter_take(struct emitter *e, const struct state_emission *v, size_t n)
{
    struct batch *b = n > 0 ? calloc(1, sizeof *b + n * sizeof *b->parcels) : NULL;

    if (n == 0)
        return;
    if (!b)
        abort();
    b->n = n;
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < n; i++) {
        b->parcels[i] = (struct parcel){.emitter = e, .emission = v[i], .lane = lane_of(e, &v[i])};
        e->bytes += parcel_bytes(&b->parcels[i]);
    }
    if (e->last)
        e->last->next = b;
    e->last = b;
    if (!e->first.batch)
        e->first = (struct spot){b, 0};
    if (!e->next.batch)
        e->next = (struct spot){b, 0};
    e->taken += n;
    pthread_mutex_unlock(&e->lock);
}

/* Lets go of the first ones, as far as they are acked. */
static void pass_acked(struct emitter *e)
{
    for (struct parcel *i = parcel_at(&e->first); i && i->fate == FATE_ACKED;) {
        struct batch *done = NULL;

        e->bytes -= parcel_bytes(i);
        e->acked++;
        parcel_free(i);
        if (++e->first.at == e->first.batch->n) {
            done = e->first.batch;
            e->first = (struct spot){done->next, 0};
        }
        if (done && e->next.batch == done) /* what is acked was appended: the next one is behind it */
            e->next = e->first;
        if (done && e->last == done)
            e->last = NULL;
        free(done);
        i = parcel_at(&e->first);
    }
}

/* All those under way have their answers, and some have failed. */
static void begin_again(struct emitter *e)
{
    struct spot s = e->first;

    for (struct parcel *i = parcel_at(&s); i; s.at++, i = parcel_at(&s)) {
        struct lane *lane = &e->lanes[i->lane];

        lane->broken = lane->broken || i->fate == FATE_FAILED;
        if (lane->broken)
            i->fate = FATE_WAITS;
    }
    for (uint32_t i = 0; i <= e->o.partitions; i++)
        e->lanes[i].broken = false;
    e->next = e->first;
    e->failed = false;
}

/* --- appending ------------------------------------------------------------------------------------------------ */

static void count_acked(struct emitter *e, const struct parcel *i, int64_t offset)
{
    struct lane *lane = &e->lanes[i->lane];

    if (offset + 1 > lane->place)
        lane->place = offset + 1;
    if (i->emission.topic != LOG_EVENTS || !e->o.records)
        return;
    stats_add(e->o.records, 1);
    stats_add(e->o.bytes, parcel_bytes(i));
}

static void answered(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct parcel *i = arg;
    struct emitter *e = i->emitter;

    (void)partition;
    pthread_mutex_lock(&e->lock);
    assert(e->under_way > 0 && i->fate == FATE_UNDER_WAY);
    i->fate = status == LOG_OK ? FATE_ACKED : FATE_FAILED;
    e->bytes_under_way -= parcel_bytes(i);
    if (status == LOG_OK) {
        count_acked(e, i, offset);
    } else {
        e->failed = true;
        e->refused = status;
    }
    bool last = --e->under_way == 0 && e->left;
    if (!e->left && !e->woken) {
        e->woken = true;
        e->o.wake(e->o.arg);
    }
    pthread_mutex_unlock(&e->lock);
    if (last)
        destroy(e);
}

/* The next to be appended, as one that is under way; NULL when there is none now. With the lock. */
static struct parcel *take_next(struct emitter *e)
{
    struct parcel *i = parcel_at(&e->next);

    for (; i && i->fate == FATE_ACKED; i = parcel_at(&e->next))
        e->next.at++;
    if (!i || e->failed || e->under_way >= LIMIT_EMITTING_RECORDS || e->bytes_under_way >= LIMIT_EMITTING_BYTES)
        return NULL;
    assert(i->fate == FATE_WAITS);
    i->fate = FATE_UNDER_WAY;
    e->under_way++;
    e->bytes_under_way += parcel_bytes(i);
    e->next.at++;
    return i;
}

/* It was refused at once; nothing behind it was appended. With the lock. */
static void put_back(struct emitter *e, struct parcel *i)
{
    i->fate = FATE_WAITS;
    e->under_way--;
    e->bytes_under_way -= parcel_bytes(i);
    assert(e->next.at > 0);
    e->next.at--;
}

/* Until one is not taken, for the reason that is returned. With the lock, which it lets go of meanwhile: an answer may
 * come at once. */
static enum log_status append(struct emitter *e)
{
    for (struct parcel *i = take_next(e); i; i = take_next(e)) {
        pthread_mutex_unlock(&e->lock);
        enum log_status s = event_log_append(e->o.log, i->emission.topic, LOG_BY_PROFILER, &i->emission.record, 1,
                                             answered, (void *[]){i});
        pthread_mutex_lock(&e->lock);
        if (s == LOG_OK)
            continue;
        put_back(e, i);
        return s;
    }
    return LOG_OK;
}

enum emitted emitter_drive(struct emitter *e, enum log_status *why)
{
    enum emitted r = EMITTED_WAITING;

    pthread_mutex_lock(&e->lock);
    e->woken = false;
    if (e->failed && e->under_way == 0) {
        begin_again(e);
        *why = e->refused;
        r = EMITTED_FAILED;
    } else if (!e->failed) {
        enum log_status s = append(e);
        if (s != LOG_OK && e->under_way == 0) { /* else an answer wakes */
            *why = s;
            r = EMITTED_FAILED;
        }
    }
    pass_acked(e);
    if (r == EMITTED_WAITING && e->acked == e->taken)
        r = EMITTED_ALL;
    pthread_mutex_unlock(&e->lock);
    return r;
}

/* --- how it stands -------------------------------------------------------------------------------------------- */

uint64_t emitter_taken(const struct emitter *e)
{
    return e->taken;
}

uint64_t emitter_acked(struct emitter *e)
{
    pthread_mutex_lock(&e->lock);
    uint64_t acked = e->acked;
    pthread_mutex_unlock(&e->lock);
    return acked;
}

bool emitter_full(struct emitter *e)
{
    pthread_mutex_lock(&e->lock);
    bool full = e->taken - e->acked >= LIMIT_EMITTED_RECORDS || e->bytes >= LIMIT_EMITTED_BYTES;
    pthread_mutex_unlock(&e->lock);
    return full;
}

void emitter_places(struct emitter *e, int64_t *places)
{
    pthread_mutex_lock(&e->lock);
    for (uint32_t p = 0; p < e->o.partitions; p++)
        if (e->lanes[1 + p].place > places[p])
            places[p] = e->lanes[1 + p].place;
    pthread_mutex_unlock(&e->lock);
}
