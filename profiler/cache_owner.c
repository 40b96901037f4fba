/* The owner's side of the cache: when a lease may be sent, what must be deleted before a batch is shown, and which
 * copies may be made. Any thread; everything under the cache's lock.
 *
 * Generations are of one partition on one connection, so that a partition that moves does not cost the others their
 * copies. A partition's tenure is `live` while its generation may be leased and copied with. It ends for good
 *
 *   - with the connection (`fresh`): what was on its way may arrive at any time, or never;
 *   - when the owner gives the partition up;
 *   - when it has lapsed, that is when its last lease is over before the next is sent: another owner may have shown
 *     something meanwhile, after which the copies of before must not be believed again.
 *
 * The next one begins only when `lease_over` has passed: until then a reader may believe the generation before, whose
 * lease may even come late and replace the next one's. `lease_over` counts the leases as they are put into the queue,
 * which is before they are sent (`sent`). A copy is believed only under its own generation, which is leased last until
 * `lease_over`; so a partition without a tenure has nothing to delete: its batch is shown when `lease_over` has passed
 * (`over`). And with a lapsed tenure at once: what it copied is never leased again.
 *
 * Why nothing older than what was shown is believed (`before`, `fill`): a reader asks for the lease first and for the
 * copy then. While a generation is leased, each command of it goes through one connection in order; a delete of a
 * profile is put there after its changes have been marked, a copy only while there is no mark, so that a copy in the
 * queue behind a delete is of what is shown then. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "common/clock.h"
#include "common/cond.h"
#include "profiler/cache_inside.h"

/* Rule `deadline`: clocks run at rates that differ by less than this. */
#define KEPT_PERCENT 98
#define KEY_BYTES (LIMIT_CACHE_ID + LIMIT_CACHE_PREFIX + (size_t)128)
/* Room for key, value and the words around them. */
#define COMMAND_BYTES (LIMIT_CACHE_COPY_BYTES + 8 * KIB)
#define DELETE_BYTES (LIMIT_CACHE_DELETE_KEYS * (KEY_BYTES + 32) + KIB)

static struct tenure *tenure_of(struct cache *c, uint32_t partition)
{
    assert(partition < c->partitions);
    return &c->tenures[partition];
}

static void make_random(struct generation *g)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[GENERATION_DIGITS / 2];
    ssize_t n;

    do
        n = getrandom(bytes, sizeof bytes, 0);
    while (n < 0 && errno == EINTR);
    assert(n == sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        g->digits[2 * i] = digits[bytes[i] >> 4];
        g->digits[2 * i + 1] = digits[bytes[i] & 15];
    }
}

void cache_generations_end(struct cache *c)
{
    for (uint32_t p = 0; p < c->partitions; p++)
        c->tenures[p].live = false;
}

/* --- leases */

/* Whether a reader may believe the tenure's copies now, or will after the next lease. */
static bool believed(struct tenure *t, int64_t now)
{
    if (t->live && now >= t->lease_over)
        t->live = false; /* lapsed */
    return t->live;
}

static void begin_generation(struct cache *c, struct tenure *t, const char *shop)
{
    if (!(c->without & CACHE_WITHOUT_FRESH) || t->generation.digits[0] == '\0')
        make_random(&t->generation);
    if (c->shop)
        memcpy(t->generation.digits, shop, SHOP_DIGITS);
    t->live = true;
    t->since = changes_step(&c->changes);
    stats_add(c->figures.generations, 1);
}

/* Asks for TIME too, for the next one. */
static bool send_lease(struct cache *c, uint32_t partition, const struct tenure *t)
{
    const struct cache_writer *w = &c->writer;
    /* Redis' clock had this time or a later one when the answer came. */
    int64_t end = w->time + (t->until - w->time_at) * KEPT_PERCENT / 100;
    char digits[24];
    struct buf key, text;

    buf_init(&key, KEY_BYTES);
    buf_init(&text, COMMAND_BYTES);
    cache_key_lease(&key, c->conf->prefix, partition, c->without & CACHE_WITHOUT_RUN ? NULL : w->run_id);
    bool relative = c->without & CACHE_WITHOUT_DEADLINE;
    if (relative)
        end = t->until - clock_boot();
    int n = snprintf(digits, sizeof digits, "%lld", (long long)end);
    const struct str words[] = {STR_LIT("SET"),
                                buf_str(&key),
                                {t->generation.digits, GENERATION_DIGITS},
                                relative ? STR_LIT("PX") : STR_LIT("PXAT"),
                                {digits, (size_t)n}};
    bool sent = !key.failed && end > 0 && redis_command(&text, words, 5) && cache_queue(c, CACHE_LEASE, &text, false);
    buf_deinit(&key);
    buf_deinit(&text);
    return sent;
}

static void ask_time(struct cache *c)
{
    const struct str words[] = {STR_LIT("TIME")};
    struct buf text;

    if (c->writer.time_asked)
        return;
    buf_init(&text, KIB);
    c->writer.time_asked = redis_command(&text, words, 1) && cache_queue(c, CACHE_TIME, &text, false);
    buf_deinit(&text);
}

void cache_lease(struct cache *c, uint32_t partition, int64_t until)
{
    struct tenure *t = tenure_of(c, partition);
    char shop[SHOP_DIGITS + 1];

    pthread_mutex_lock(&c->lock);
    int64_t now = clock_boot();
    t->until = until;
    if (c->writer.up && until > now) {
        if (!believed(t, now) && now >= t->lease_over && !t->waiting && cache_shop(c, shop))
            begin_generation(c, t, shop);
        if (t->live) {
            ask_time(c);
            if (until > t->lease_over)
                t->lease_over = until; /* rule `sent` */
            send_lease(c, partition, t);
        }
    }
    pthread_mutex_unlock(&c->lock);
}

void cache_release(struct cache *c, uint32_t partition)
{
    struct tenure *t = tenure_of(c, partition);

    pthread_mutex_lock(&c->lock);
    t->until = 0;
    t->live = false;
    pthread_mutex_unlock(&c->lock);
}

/* --- a batch */

/* One command for as many keys as it may have; *done counts the ids. False when memory is out. */
static bool write_delete(const struct cache *c, const struct str *ids, size_t n, struct buf *text)
{
    struct str words[LIMIT_CACHE_DELETE_KEYS + 1] = {STR_LIT("DEL")};
    size_t ends[LIMIT_CACHE_DELETE_KEYS];
    struct buf keys;

    assert(n <= LIMIT_CACHE_DELETE_KEYS);
    buf_init(&keys, DELETE_BYTES);
    for (size_t i = 0; i < n; i++) {
        cache_key_profile(&keys, c->conf->prefix, ids[i]);
        ends[i] = keys.n;
    }
    for (size_t i = 0, from = 0; i < n && !keys.failed; from = ends[i++])
        words[i + 1] = (struct str){keys.p + from, ends[i] - from};
    bool written = !keys.failed && redis_command(text, words, n + 1);
    buf_deinit(&keys);
    return written;
}

/* Puts the deletes into the queue; *last is the count of commands with them. False when there is no relying on it, and
 * with `must` on the connection neither. */
static bool queue_deletes(struct cache *c, uint64_t connection, const struct str *ids, size_t n, bool must,
                          uint64_t *last)
{
    bool queued = true;
    struct buf text;

    buf_init(&text, DELETE_BYTES);
    for (size_t i = 0, some; i < n && queued; i += some) {
        some = n - i < LIMIT_CACHE_DELETE_KEYS ? n - i : LIMIT_CACHE_DELETE_KEYS;
        buf_reset(&text);
        bool written = write_delete(c, ids + i, some, &text);
        pthread_mutex_lock(&c->lock);
        queued = c->writer.up && c->writer.connection == connection;
        if (queued && !(written && cache_queue(c, CACHE_DELETE, &text, false))) {
            if (must)
                cache_give_up(c, "the queue before it is full");
            queued = false;
        }
        *last = c->writer.queued;
        pthread_mutex_unlock(&c->lock);
    }
    buf_deinit(&text);
    return queued;
}

/* Waits for the replies to everything up to `last`. Whether they came. With the lock. */
static bool wait_answered(struct cache *c, uint64_t connection, uint64_t last, const struct timespec *until)
{
    int error = 0;

    while (c->writer.connection == connection && c->writer.answered < last && error == 0)
        error = pthread_cond_timedwait(&c->confirmed, &c->lock, until);
    return c->writer.connection == connection && c->writer.answered >= last;
}

/* The same for a batch, which does not wait long: then the connection is of no use. With the lock. */
static bool wait_confirmed(struct cache *c, uint64_t connection, uint64_t last)
{
    struct timespec until = cond_in(c->confirm_ms);

    if (wait_answered(c, connection, last, &until))
        return true;
    if (c->writer.connection == connection) {
        cache_give_up(c, "a delete was not confirmed in time");
    }
    return false;
}

/* Rule `over`: what to wait for when there is no confirmation. With the lock. */
static int64_t when_over(struct cache *c, struct tenure *t)
{
    if (c->without & CACHE_WITHOUT_OVER)
        return 0;
    int64_t over = t->lease_over > clock_boot() ? t->lease_over : 0;
    t->waiting = over != 0;
    return over;
}

int64_t cache_begin(struct cache *c, uint32_t partition, const struct str *ids, size_t n)
{
    struct tenure *t = tenure_of(c, partition);
    uint64_t last = 0;
    int64_t over = 0;

    pthread_mutex_lock(&c->lock);
    assert(!t->changing);
    t->changing = true;
    changes_begin(&c->changes, ids, n, &t->set); /* from here on no copy of them is put into the queue */
    bool wants = believed(t, clock_boot()) && !(c->without & CACHE_WITHOUT_BEFORE);
    uint64_t connection = c->writer.connection;
    if (!wants && !(c->without & CACHE_WITHOUT_BEFORE))
        over = when_over(c, t);
    pthread_mutex_unlock(&c->lock);
    if (!wants || n == 0)
        return over;

    bool queued = queue_deletes(c, connection, ids, n, true, &last);
    pthread_mutex_lock(&c->lock);
    if (!queued || !wait_confirmed(c, connection, last)) {
        stats_add(c->figures.unconfirmed, 1);
        over = when_over(c, t);
    }
    pthread_mutex_unlock(&c->lock);
    return over;
}

/* Waits for a connection. With the lock. */
static bool wait_up(struct cache *c, const struct timespec *until)
{
    int error = 0;

    while (!c->writer.up && !atomic_load(&c->stopping) && error == 0)
        error = pthread_cond_timedwait(&c->confirmed, &c->lock, until);
    return c->writer.up;
}

/* The same without those that are too long for a key, of which there are no copies. */
static bool queue_forgets(struct cache *c, uint64_t connection, const struct str *ids, size_t n, uint64_t *last)
{
    bool queued = true;

    for (size_t i = 0, some; i < n && queued; i += some + 1) {
        for (some = 0; i + some < n && ids[i + some].n <= KEY_BYTES;)
            some++;
        queued = queue_deletes(c, connection, ids + i, some, false, last);
    }
    return queued;
}

int cache_forget(struct cache *c, const struct str *ids, size_t n, int64_t ms)
{
    struct timespec until = cond_in(ms);
    bool gone = false, up = true;

    while (n > 0 && !gone && up) {
        uint64_t last = 0;

        pthread_mutex_lock(&c->lock);
        up = wait_up(c, &until);
        uint64_t connection = c->writer.connection;
        pthread_mutex_unlock(&c->lock);
        bool queued = up && queue_forgets(c, connection, ids, n, &last);
        pthread_mutex_lock(&c->lock);
        gone = queued && wait_answered(c, connection, last, &until);
        /* A connection that was lost is worth another try, one that is slow or full is not. */
        up = up && c->writer.connection != connection;
        pthread_mutex_unlock(&c->lock);
    }
    return gone || n == 0 ? 0 : -EAGAIN;
}

bool cache_wants(struct cache *c, uint32_t partition)
{
    struct tenure *t = tenure_of(c, partition);

    pthread_mutex_lock(&c->lock);
    const struct cache_writer *w = &c->writer;
    bool wants = w->up && believed(t, clock_boot()) && w->queued - w->answered < LIMIT_CACHE_QUEUE / 2 &&
                 w->pending.n + w->sending < LIMIT_CACHE_QUEUE_BYTES / 2 - LIMIT_CACHE_COPY_BYTES;
    pthread_mutex_unlock(&c->lock);
    return wants;
}

/* --- copies */

/* The generation to copy with; false when there is none. */
static bool current_generation(struct cache *c, struct tenure *t, struct generation *out)
{
    pthread_mutex_lock(&c->lock);
    bool live = c->writer.up && believed(t, clock_boot());
    if (live)
        *out = t->generation;
    pthread_mutex_unlock(&c->lock);
    return live;
}

static bool write_copy(const struct cache *c, const struct generation *g, const struct cache_copy *copy,
                       struct buf *text)
{
    char ttl[24];
    int digits = snprintf(ttl, sizeof ttl, "%lld", (long long)c->conf->ttl_ms);
    struct buf key, value;

    if (copy->answer.n > LIMIT_CACHE_COPY_BYTES - CACHE_HEAD_BYTES)
        return false;
    buf_init(&key, KEY_BYTES);
    buf_init(&value, LIMIT_CACHE_COPY_BYTES);
    cache_key_profile(&key, c->conf->prefix, copy->id);
    cache_value_write(&value, g, &(struct cache_head){copy->version, copy->tags, copy->until}, copy->answer);
    const struct str words[] = {STR_LIT("SET"), buf_str(&key), buf_str(&value), STR_LIT("PX"), {ttl, (size_t)digits}};
    bool written = !key.failed && !value.failed && redis_command(text, words, c->conf->ttl_ms > 0 ? 5 : 3);
    buf_deinit(&key);
    buf_deinit(&value);
    return written;
}

/* Whether copies made with `g` may still be put into the queue. With the lock. */
static bool still_current(const struct tenure *t, const struct generation *g)
{
    return t->live && memcmp(&t->generation, g, sizeof *g) == 0;
}

/* With the lock. */
static bool queue_copy(struct cache *c, const struct buf *text)
{
    bool queued = cache_queue(c, CACHE_COPY, text, true);

    stats_add(queued ? c->figures.copies : c->figures.dropped, 1);
    return queued;
}

static void copy_all(struct cache *c, struct tenure *t, const struct cache_copy *copies, size_t n)
{
    struct generation g;
    struct buf text;

    if (n == 0 || !current_generation(c, t, &g))
        return;
    buf_init(&text, COMMAND_BYTES);
    for (size_t i = 0; i < n; i++) {
        buf_reset(&text);
        if (!write_copy(c, &g, &copies[i], &text))
            continue;
        pthread_mutex_lock(&c->lock);
        if (still_current(t, &g))
            queue_copy(c, &text);
        pthread_mutex_unlock(&c->lock);
    }
    buf_deinit(&text);
}

void cache_end(struct cache *c, uint32_t partition, const struct cache_copy *copies, size_t n)
{
    struct tenure *t = tenure_of(c, partition);

    copy_all(c, t, copies, n);
    pthread_mutex_lock(&c->lock);
    assert(t->changing);
    t->changing = t->waiting = false;
    changes_end(&c->changes, &t->set);
    pthread_mutex_unlock(&c->lock);
}

uint64_t cache_ticket(struct cache *c, uint32_t partition)
{
    assert(partition < c->partitions);
    pthread_mutex_lock(&c->lock);
    uint64_t ticket = changes_ticket(&c->changes);
    pthread_mutex_unlock(&c->lock);
    return ticket;
}

/* Rule `fill`. A ticket from before the tenure says nothing of what another owner showed before it. With the lock. */
static bool may_fill(const struct cache *c, const struct tenure *t, struct str id, uint64_t ticket)
{
    return (c->without & CACHE_WITHOUT_FILL) || (ticket >= t->since && changes_none_since(&c->changes, id, ticket));
}

void cache_fill(struct cache *c, uint32_t partition, uint64_t ticket, const struct cache_copy *copy)
{
    struct tenure *t = tenure_of(c, partition);
    enum cache_fill_result result = FILL_DROPPED;
    struct generation g;
    struct buf text;

    buf_init(&text, COMMAND_BYTES);
    if (current_generation(c, t, &g) && write_copy(c, &g, copy, &text)) {
        pthread_mutex_lock(&c->lock);
        if (!may_fill(c, t, copy->id, ticket))
            result = FILL_CHANGED;
        else if (still_current(t, &g) && queue_copy(c, &text))
            result = FILL_TAKEN;
        pthread_mutex_unlock(&c->lock);
    }
    buf_deinit(&text);
    stats_add(c->figures.fills[result], 1);
}
