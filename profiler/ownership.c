/* Who owns the partitions: an asking thread that appends claims, asks the log every quarter of a second and renews
 * leases; and, where the log is shared, a finding thread (ownership_find.c) that reads where the other owners are. The
 * rules themselves stand in claim.c; here is what drives them. Each partition has a lock of its own, which is held for
 * moments and under which only the cache and `shown` are called. */
#include "profiler/ownership.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/ownership_private.h"
#include "proto/codec.h"

/* The answer to a question that takes longer is worth nothing. */
#define ASK_MS CLAIM_TERM_MS

/* --- helpers -------------------------------------------------------------------------------------------------- */

static int64_t clock_of(const struct ownership *o)
{
    return o->o.clock ? o->o.clock() : clock_boot();
}

static struct owned *lock(const struct ownership *o, uint32_t partition)
{
    assert(partition < o->o.partitions);
    pthread_mutex_lock(&o->owned[partition].lock);
    return &o->owned[partition];
}

static void unlock(struct owned *p)
{
    pthread_mutex_unlock(&p->lock);
}

static void changed(struct ownership *o, uint32_t partition)
{
    if (o->o.changed)
        o->o.changed(o->o.arg, partition);
}

/* With the lock. */
static int64_t shown(const struct ownership *o, const struct owned *p, uint32_t partition)
{
    return claim_follows(&p->claim) ? o->o.shown(o->o.arg, partition) : -1;
}

/* No longer ours, or not for sure. With the lock. */
static void hide(struct ownership *o, struct owned *p, uint32_t partition)
{
    p->serving = false;
    if (o->o.cache)
        cache_release(o->o.cache, partition);
}

static void wake(struct ownership *o)
{
    pthread_mutex_lock(&o->beat_lock);
    o->woken = true;
    pthread_cond_signal(&o->beat);
    pthread_mutex_unlock(&o->beat_lock);
}

void ownership_unref(struct ownership *o)
{
    if (atomic_fetch_sub(&o->refs, 1) > 1)
        return;
    for (uint32_t i = 0; o->owned && i < o->o.partitions; i++)
        pthread_mutex_destroy(&o->owned[i].lock);
    pthread_mutex_destroy(&o->beat_lock);
    pthread_cond_destroy(&o->beat);
    free(o->owned);
    free(o->asked.numbers);
    free(o->asked.serials);
    free(o->asked.ends);
    free(o);
}

/* --- given and taken ------------------------------------------------------------------------------------------ */

/* The lock on the log's folder is the term, and `wait` is for the copies that a process before this one has leased. */
static void given_for_good(struct ownership *o, struct owned *p, uint32_t partition)
{
    int64_t now = clock_of(o), target = event_log_end(o->o.log, LOG_EVENTS, partition);

    claim_given_for_good(&p->claim, o->o.cache ? now + CLAIM_WAIT_MS : now, target);
}

void ownership_given(void *ownership, uint32_t partition)
{
    struct ownership *o = ownership;

    if (partition >= o->o.partitions) { /* the log refuses such a topic, too, in words of its own */
        log_error("profiler: partition %u of the log is beyond those of the configuration", partition);
        return;
    }
    struct owned *p = lock(o, partition);
    hide(o, p, partition);
    if (o->shared)
        claim_given(&p->claim, clock_of(o));
    else
        given_for_good(o, p, partition);
    unlock(p);
    wake(o);
    changed(o, partition);
}

void ownership_taken(void *ownership, uint32_t partition)
{
    struct ownership *o = ownership;

    if (partition >= o->o.partitions)
        return;
    struct owned *p = lock(o, partition);
    claim_taken(&p->claim);
    hide(o, p, partition);
    unlock(p);
    changed(o, partition);
}

/* --- claims --------------------------------------------------------------------------------------------------- */

struct append {
    struct ownership *ownership; /* a reference */
    uint32_t partition;
    uint64_t serial;
};

/* On a thread of the log, perhaps after the end. */
static void appended(void *arg, enum log_status status, uint32_t partition, int64_t offset)
{
    struct append *a = arg;
    struct ownership *o = a->ownership;
    struct owned *p = lock(o, a->partition);

    assert(status != LOG_OK || partition == a->partition);
    if (status == LOG_OK) {
        claim_acked(&p->claim, a->serial, offset, clock_of(o));
        atomic_fetch_add(&o->claims, 1);
    } else {
        claim_failed(&p->claim, a->serial, clock_of(o));
    }
    unlock(p);
    if (status != LOG_OK)
        log_limited(&o->limit, LOG_WARN, "profiler: partition %u: its claim may not be on the log (%s); once more",
                    a->partition, log_status_text(status));
    wake(o);
    free(a);
    ownership_unref(o);
}

static void append_claim(struct ownership *o, uint32_t partition, uint64_t serial)
{
    struct append *a = malloc(sizeof *a);
    char key[16];
    struct buf b;

    if (!a)
        abort();
    *a = (struct append){o, partition, serial};
    snprintf(key, sizeof key, "%u", partition);
    buf_init(&b, LIMIT_RECORD_BYTES);
    claim_pack(&(struct claim_record){str_of(o->o.instance), str_of(o->url), clock_now()}, &b);
    const struct log_record record = {.kind = LOG_KIND_CLAIM,
                                      .key = str_of(key), /* one for all, so that compaction keeps the last */
                                      .value = buf_str(&b),
                                      .placed = true,
                                      .partition = partition};
    atomic_fetch_add(&o->refs, 1);
    enum log_status s = LOG_FAILED;
    if (!b.failed)
        s = event_log_append(o->o.log, LOG_CLAIMS, LOG_BY_PROFILER, &record, 1, appended, (void *[]){a});
    buf_deinit(&b);
    if (s != LOG_OK)
        appended(a, s, partition, -1);
}

static void append_due(struct ownership *o)
{
    for (uint32_t i = 0; i < o->o.partitions; i++) {
        struct owned *p = lock(o, i);
        uint64_t before = p->claim.stint, serial = 0;

        if (claim_due(&p->claim, clock_of(o)))
            serial = claim_append(&p->claim);
        bool anew = p->claim.stint != before;
        unlock(p);
        if (serial)
            append_claim(o, i, serial);
        if (anew)
            changed(o, i);
    }
}

/* --- asking --------------------------------------------------------------------------------------------------- */

/* Those of which the wanted kind of end is to be asked. */
static size_t gather(struct ownership *o, bool targets)
{
    size_t n = 0;

    for (uint32_t i = 0; i < o->o.partitions; i++) {
        struct owned *p = lock(o, i);
        const struct claim *c = &p->claim;
        bool wanted = targets ? claim_wants_target(c, clock_of(o)) : claim_follows(c) && c->offset >= 0;
        if (wanted) {
            o->asked.numbers[n] = i;
            o->asked.serials[n++] = c->serial;
        }
        unlock(p);
    }
    return n;
}

static bool ask(struct ownership *o, enum log_topic topic, size_t n)
{
    struct err e = {0};

    if (n == 0)
        return false;
    if (event_log_ask_ends(o->o.log, topic, o->asked.numbers, n, ASK_MS, o->asked.ends, &e) == 0)
        return true;
    log_limited(&o->limit, LOG_WARN, "profiler: the log does not confirm the claims: %s", e.text);
    return false;
}

/* Says a fault once; called without the lock. */
static void report(struct ownership *o, uint32_t partition, enum claim_told told)
{
    if (told == CLAIM_LOST) {
        atomic_fetch_add(&o->lost, 1);
        log_warn("profiler: partition %u was claimed by another profiler", partition);
        changed(o, partition);
    } else if (told == CLAIM_GONE) {
        log_error("profiler: partition %u: the claim is no longer on the log; claiming again", partition);
    }
}

static void ask_claims(struct ownership *o)
{
    size_t n = gather(o, false);
    int64_t asked = clock_of(o); /* rule `asked`: before the question is on its way */

    if (!ask(o, LOG_CLAIMS, n))
        return;
    for (size_t i = 0; i < n; i++) {
        uint32_t number = o->asked.numbers[i];
        struct owned *p = lock(o, number);
        enum claim_told told = claim_told(&p->claim, o->asked.serials[i], o->asked.ends[i], asked, clock_of(o));
        if (told == CLAIM_LOST || told == CLAIM_GONE)
            hide(o, p, number);
        unlock(p);
        report(o, number, told);
    }
}

/* Rule `fold`. */
static void ask_targets(struct ownership *o)
{
    size_t n = gather(o, true);

    if (!ask(o, LOG_EVENTS, n))
        return;
    for (size_t i = 0; i < n; i++) {
        struct owned *p = lock(o, o->asked.numbers[i]);
        claim_set_target(&p->claim, o->asked.serials[i], o->asked.ends[i]);
        unlock(p);
    }
}

/* What serves gets its lease; what began to is said to those who wait for it. */
static void look_after(struct ownership *o, uint32_t partition)
{
    struct owned *p = lock(o, partition);
    int64_t now = clock_of(o);
    bool serves = claim_serves(&p->claim, shown(o, p, partition), now), began = serves && !p->serving;

    if (p->serving && !serves && now >= p->claim.term)
        atomic_fetch_add(&o->terms_lost, 1);
    p->serving = serves;
    if (serves && o->o.cache)
        cache_lease(o->o.cache, partition, o->shared ? p->claim.term : now + CLAIM_TERM_MS);
    unlock(p);
    if (began)
        changed(o, partition);
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

static int64_t next_due(struct ownership *o)
{
    int64_t now = clock_of(o), due = CLAIM_EVERY_MS;

    for (uint32_t i = 0; i < o->o.partitions; i++) {
        struct owned *p = lock(o, i);
        int64_t at = claim_next(&p->claim, now);
        if (at < now + due)
            due = at > now ? at - now : 1;
        unlock(p);
    }
    return due;
}

/* Until it is woken or so much time has passed on the clock, which may be another one than that of the system: then it
 * looks often. */
static void wait_beat(struct ownership *o, int64_t ms)
{
    int64_t end = clock_of(o) + ms, left = ms;

    pthread_mutex_lock(&o->beat_lock);
    while (!o->woken && !atomic_load(&o->stopping) && left > 0) {
        struct timespec until = cond_in(o->o.clock ? 1 : left);
        pthread_cond_timedwait(&o->beat, &o->beat_lock, &until);
        left = end - clock_of(o);
    }
    o->woken = false;
    pthread_mutex_unlock(&o->beat_lock);
}

static void *asker_main(void *arg)
{
    struct ownership *o = arg;

    while (!atomic_load(&o->stopping)) {
        if (o->shared && atomic_load(&o->addressed)) {
            append_due(o);
            ask_claims(o);
            ask_targets(o);
        }
        for (uint32_t i = 0; i < o->o.partitions; i++)
            look_after(o, i);
        wait_beat(o, next_due(o));
    }
    return NULL;
}

/* --- starting and ending -------------------------------------------------------------------------------------- */

static struct ownership *new_ownership(const struct ownership_options *options)
{
    struct ownership *o = calloc(1, sizeof *o);
    uint32_t n = options->partitions;

    if (!o)
        return NULL;
    o->o = *options;
    atomic_init(&o->refs, 1);
    o->shared = event_log_shared(options->log);
    pthread_mutex_init(&o->beat_lock, NULL);
    cond_init(&o->beat);
    o->owned = calloc(n, sizeof *o->owned);
    o->asked.numbers = calloc(n, sizeof *o->asked.numbers);
    o->asked.serials = calloc(n, sizeof *o->asked.serials);
    o->asked.ends = calloc(n, sizeof *o->asked.ends);
    for (uint32_t i = 0; o->owned && i < n; i++) {
        pthread_mutex_init(&o->owned[i].lock, NULL);
        claim_init(&o->owned[i].claim);
    }
    if (o->owned && o->asked.numbers && o->asked.serials && o->asked.ends)
        return o;
    ownership_unref(o);
    return NULL;
}

int ownership_start(const struct ownership_options *options, struct ownership **out, struct err *e)
{
    assert(options->partitions > 0 && options->partitions <= LIMIT_PARTITIONS && options->shown);
    struct ownership *o = new_ownership(options);

    if (!o)
        return -ENOMEM;
    if (options->url)
        ownership_set_url(o, options->url);
    int r = o->shared ? ownership_find_start(o, e) : 0;
    if (r == 0 && (o->shared || o->o.cache)) { /* else the lock on the folder says it all */
        r = -pthread_create(&o->asker, NULL, asker_main, o);
        o->asker_started = r == 0;
    }
    if (r != 0) {
        ownership_stop(o);
        ownership_free(o);
        return r;
    }
    *out = o;
    return 0;
}

void ownership_set_url(struct ownership *o, const char *url)
{
    assert(!atomic_load(&o->addressed) && strlen(url) < sizeof o->url);
    snprintf(o->url, sizeof o->url, "%s", url);
    atomic_store(&o->addressed, true);
    wake(o);
}

void ownership_stop(struct ownership *o)
{
    if (atomic_exchange(&o->stopping, true))
        return;
    wake(o);
    if (o->asker_started)
        pthread_join(o->asker, NULL);
    ownership_find_stop(o);
    for (uint32_t i = 0; i < o->o.partitions; i++) {
        struct owned *p = lock(o, i);
        hide(o, p, i);
        if (o->shared)
            claim_taken(&p->claim);
        unlock(p);
    }
}

void ownership_free(struct ownership *o)
{
    if (!o)
        return;
    assert(atomic_load(&o->stopping));
    ownership_unref(o);
}

/* --- questions ------------------------------------------------------------------------------------------------ */

uint64_t ownership_stint(const struct ownership *o, uint32_t partition)
{
    struct owned *p = lock(o, partition);
    uint64_t stint = claim_follows(&p->claim) ? p->claim.stint : 0;

    unlock(p);
    return stint;
}

bool ownership_follows(const struct ownership *o, uint32_t partition)
{
    return ownership_stint(o, partition) != 0;
}

enum ownership_answer ownership_ask(const struct ownership *o, uint32_t partition)
{
    struct owned *p = lock(o, partition);
    int64_t now = clock_of(o); /* rule `clock` */
    bool follows = claim_follows(&p->claim);
    bool serves = !atomic_load(&o->stopping) && claim_serves(&p->claim, shown(o, p, partition), now);

    unlock(p);
    return serves ? OWNERSHIP_SERVES : follows ? OWNERSHIP_NOT_YET : OWNERSHIP_ELSEWHERE;
}

void ownership_why(struct ownership *o, uint32_t partition, struct err *why)
{
    struct owned *p = lock(o, partition);
    const char *text = claim_why(&p->claim, shown(o, p, partition), clock_of(o));

    unlock(p);
    err_set(why, "partition %u %s", partition, *text ? text : atomic_load(&o->stopping) ? "is let go" : "is here");
}

bool ownership_url(struct ownership *o, uint32_t partition, char *out, size_t size)
{
    struct owned *p = lock(o, partition);
    bool known = p->url[0] && strlen(p->url) < size;

    if (known)
        memcpy(out, p->url, strlen(p->url) + 1);
    unlock(p);
    return known;
}

void ownership_figures(const struct ownership *o, struct ownership_figures *out)
{
    *out = (struct ownership_figures){
        .claims = atomic_load(&o->claims), .lost = atomic_load(&o->lost), .terms_lost = atomic_load(&o->terms_lost)};
}
