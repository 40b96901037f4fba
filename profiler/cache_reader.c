/* The thread that asks Redis for look-ups. What waits is asked with few commands: one MGET has the leases of the
 * partitions and then the copies of some questions, so that one round trip answers all of them, and each copy is read
 * after its lease. Several such groups are under way at once. A question that Redis has not answered in time ends the
 * connection: what waits behind it would be late too. While there is none every question is a miss at once. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/clock.h"
#include "profiler/cache_inside.h"

#define KEYS_BYTES (2 * LIMIT_CACHE_GROUP * (size_t)(LIMIT_CACHE_ID + LIMIT_CACHE_PREFIX + 64))
#define OUT_BYTES (LIMIT_CACHE_GROUPS * (KEYS_BYTES + 4 * KIB))

/* Questions asked with one command. */
struct group {
    struct cache_question *questions[LIMIT_CACHE_GROUP];
    unsigned lease_of[LIMIT_CACHE_GROUP]; /* index among the leases */
    uint32_t partitions[LIMIT_CACHE_GROUP];
    unsigned n, leases;
};

struct asking {
    struct cache *c;
    struct redis_conn *conn;
    char run_id[41];
    struct group groups[LIMIT_CACHE_GROUPS]; /* a ring */
    unsigned first, count;
    struct buf out, keys;
    size_t sent;
};

/* --- answering */

/* Any thread, without a lock; the question is its owner's from then on. */
static void answer(struct cache *c, struct cache_question *q, enum cache_result result, struct str text,
                   int64_t version)
{
    stats_add(c->figures.reads[result], 1);
    q->done(q, result == CACHE_HIT ? text : STR_NONE, version);
}

static void count_answered(struct cache_reader *r, size_t n)
{
    pthread_mutex_lock(&r->lock);
    assert(r->asked >= n);
    r->asked -= n;
    pthread_mutex_unlock(&r->lock);
}

/* Rule `shop` */
static bool is_ours(struct cache *c, struct str lease)
{
    char shop[SHOP_DIGITS + 1];

    if (!c->shop)
        return true;
    if (!cache_shop(c, shop))
        return false;
    if (lease.n >= SHOP_DIGITS && memcmp(lease.p, shop, SHOP_DIGITS) == 0)
        return true;
    log_limited(&c->reader.foreign, LOG_ERROR,
                "cache: another shop uses the prefix %s on this Redis, too: set redis.prefix, to another for each",
                c->conf->prefix);
    return false;
}

/* Rule `tags`. */
static bool tags_hold(const struct cache *c, const struct cache_head *head)
{
    if (!c->tags)
        return head->tags == 0;
    return head->tags != 0 && head->tags == c->tags(c->arg) && (head->until == 0 || clock_now() < head->until);
}

/* Rules `run` and `fresh` at the reader: the copy's generation must be that of the lease. */
static void judge(struct cache *c, struct cache_question *q, const struct redis_reply *lease,
                  const struct redis_reply *copy, int64_t now)
{
    struct str text = STR_NONE;
    struct cache_head head = {0};
    enum cache_result result = CACHE_MISS;

    if (now - q->asked > c->read_ms)
        result = CACHE_LATE;
    else if (lease->kind == REDIS_STRING && copy->kind == REDIS_STRING && is_ours(c, lease->text) &&
             cache_value_read(copy->text, lease->text, &head, &text) && tags_hold(c, &head))
        result = CACHE_HIT;
    answer(c, q, result, text, head.version);
}

/* An error answers its group only: Redis loads its data, or this key holds something else. */
static bool take_reply(struct asking *a, const struct redis_reply *r)
{
    struct group *g = &a->groups[a->first];
    bool whole = r->kind == REDIS_ARRAY && a->count > 0 && r->n == g->leases + g->n;
    int64_t now = clock_monotonic();

    if (a->count == 0 || (!whole && r->kind != REDIS_ERROR))
        return false;
    count_answered(&a->c->reader, g->n);
    for (unsigned i = 0; i < g->n; i++) {
        if (!whole) {
            answer(a->c, g->questions[i], CACHE_ERROR, STR_NONE, 0);
            continue;
        }
        struct redis_reply lease = redis_reply_at(r, g->lease_of[i]), copy = redis_reply_at(r, g->leases + i);
        judge(a->c, g->questions[i], &lease, &copy, now);
    }
    a->first = (a->first + 1) % LIMIT_CACHE_GROUPS;
    a->count--;
    return true;
}

/* --- asking */

static unsigned lease_index(struct group *g, uint32_t partition)
{
    unsigned i = 0;

    while (i < g->leases && g->partitions[i] != partition)
        i++;
    if (i == g->leases)
        g->partitions[g->leases++] = partition;
    return i;
}

static void write_question(struct asking *a, struct group *g)
{
    struct str words[1 + 2 * LIMIT_CACHE_GROUP] = {STR_LIT("MGET")};
    size_t ends[2 * LIMIT_CACHE_GROUP], n = 0;
    const char *run = a->c->without & CACHE_WITHOUT_RUN ? NULL : a->run_id, *prefix = a->c->conf->prefix;

    buf_reset(&a->keys);
    for (unsigned i = 0; i < g->leases; i++) {
        cache_key_lease(&a->keys, prefix, g->partitions[i], run);
        ends[n++] = a->keys.n;
    }
    for (unsigned i = 0; i < g->n; i++) {
        cache_key_profile(&a->keys, prefix, g->questions[i]->id);
        ends[n++] = a->keys.n;
    }
    for (size_t i = 0, from = 0; i < n; from = ends[i++])
        words[1 + i] = (struct str){a->keys.p + from, ends[i] - from};
    redis_command(&a->out, words, 1 + n);
}

/* Makes groups of what waits, as many as may be under way. */
static void take_waiting(struct asking *a)
{
    struct cache_reader *r = &a->c->reader;

    pthread_mutex_lock(&r->lock);
    while (r->first && a->count < LIMIT_CACHE_GROUPS) {
        struct group *g = &a->groups[(a->first + a->count++) % LIMIT_CACHE_GROUPS];
        g->n = g->leases = 0;
        while (r->first && g->n < LIMIT_CACHE_GROUP) {
            struct cache_question *q = r->first;
            r->first = q->next;
            g->lease_of[g->n] = lease_index(g, q->partition);
            g->questions[g->n++] = q;
        }
        if (!r->first)
            r->last = &r->first;
        write_question(a, g);
    }
    r->asleep = true;
    pthread_mutex_unlock(&r->lock);
}

/* Until the first question under way is late, or negative when nothing is under way. */
static int64_t patience(const struct asking *a)
{
    if (a->count == 0)
        return -1;
    int64_t left = a->groups[a->first].questions[0]->asked + a->c->read_ms - clock_monotonic();
    return left > 0 ? left : 0;
}

static int send_some(struct asking *a, struct err *e)
{
    if (a->out.n == a->sent)
        return 0;
    long n = redis_conn_send(a->conn, (struct str){a->out.p + a->sent, a->out.n - a->sent}, e);
    if (n < 0)
        return (int)n;
    a->sent += (size_t)n;
    if (a->sent == a->out.n) {
        buf_reset(&a->out);
        a->sent = 0;
    }
    return 0;
}

static int receive(struct asking *a, struct err *e)
{
    struct redis_reply r;
    int got = 0;
    long n;

    while ((n = redis_conn_receive(a->conn, e)) > 0) {
        while ((got = redis_conn_reply(a->conn, &r, e)) == 1) {
            if (!take_reply(a, &r)) {
                err_set(e, "Redis answered what was not asked");
                return -EPROTO;
            }
        }
        if (got < 0)
            return got;
        if (patience(a) == 0)
            break;
    }
    return (int)n < 0 ? (int)n : 0;
}

static int step(struct asking *a, struct err *e)
{
    take_waiting(a);
    if (a->out.failed || a->keys.failed) {
        err_set(e, "out of memory");
        return -ENOMEM;
    }
    int result = send_some(a, e);
    if (result < 0)
        return result;
    cache_poll(a->c, a->conn, a->out.n > 0, a->c->reader.wake_fd, patience(a));
    result = receive(a, e);
    if (result == 0 && patience(a) == 0) {
        err_set(e, "no answer in time");
        result = -ETIMEDOUT;
    }
    return result;
}

/* Everything that waits or is under way is a miss. */
static void answer_all(struct asking *a)
{
    struct cache_reader *r = &a->c->reader;
    int64_t now = clock_monotonic();

    pthread_mutex_lock(&r->lock);
    struct cache_question *q = r->first;
    r->up = r->asleep = false;
    r->first = NULL;
    r->last = &r->first;
    r->asked = 0;
    pthread_mutex_unlock(&r->lock);

    for (; a->count > 0; a->count--, a->first = (a->first + 1) % LIMIT_CACHE_GROUPS) {
        const struct group *g = &a->groups[a->first];
        for (unsigned i = 0; i < g->n; i++) {
            bool late = now - g->questions[i]->asked >= a->c->read_ms;
            answer(a->c, g->questions[i], late ? CACHE_LATE : CACHE_ERROR, STR_NONE, 0);
        }
    }
    for (struct cache_question *next; q; q = next) {
        next = q->next;
        answer(a->c, q, CACHE_ERROR, STR_NONE, 0);
    }
}

static void serve(struct asking *a, const struct redis_hello *hello)
{
    struct cache_reader *r = &a->c->reader;
    struct err e = {.text = "the cache stops"};

    memcpy(a->run_id, hello->run_id, sizeof a->run_id);
    buf_reset(&a->out);
    a->sent = 0;
    pthread_mutex_lock(&r->lock);
    r->up = !atomic_load(&a->c->stopping);
    pthread_mutex_unlock(&r->lock);
    while (!atomic_load(&a->c->stopping) && step(a, &e) == 0)
        ;
    answer_all(a);
    cache_link_lost(a->c, &r->link, e.text);
}

void *cache_reader_run(void *cache)
{
    struct cache *c = cache;
    struct asking a = {.c = c};
    struct redis_hello hello;

    buf_init(&a.out, OUT_BYTES);
    buf_init(&a.keys, KEYS_BYTES);
    while (cache_link_open(c, &c->reader.link, &a.conn, &hello)) {
        serve(&a, &hello);
        redis_conn_close(a.conn);
    }
    buf_deinit(&a.out);
    buf_deinit(&a.keys);
    cache_thread_ends(c);
    return NULL;
}

void cache_read(struct cache *c, struct cache_question *q)
{
    struct cache_reader *r = &c->reader;

    assert(q->partition < c->partitions && q->done);
    q->asked = clock_monotonic();
    q->next = NULL;
    pthread_mutex_lock(&r->lock);
    bool taken = r->up && r->asked < LIMIT_CACHE_READS && q->id.n <= LIMIT_CACHE_ID;
    if (taken) {
        *r->last = q;
        r->last = &q->next;
        r->asked++;
        if (r->asleep) {
            r->asleep = false;
            cache_wake(r->wake_fd);
        }
    }
    pthread_mutex_unlock(&r->lock);
    if (!taken)
        answer(c, q, CACHE_ERROR, STR_NONE, 0);
}
