/* The thread that has the writing connection. Commands come to it through a queue, in order; it sends them, matches the
 * replies by their order, and tells those who wait for the confirmation of a delete. When the connection is lost or
 * somebody gives it up, its generations are over for good, and it makes another one. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/num.h"
#include "profiler/cache_inside.h"

/* --- the queue; with the lock, any thread */

static size_t unanswered(const struct cache_writer *w)
{
    return w->queued - w->answered;
}

bool cache_queue(struct cache *c, enum cache_command command, const struct buf *text, bool copy)
{
    struct cache_writer *w = &c->writer;
    size_t share = copy ? 2 : 1;

    if (!w->up || text->failed || unanswered(w) >= LIMIT_CACHE_QUEUE / share ||
        w->pending.n + w->sending + text->n > LIMIT_CACHE_QUEUE_BYTES / share ||
        !buf_add_str(&w->pending, buf_str(text)))
        return false;
    if (unanswered(w) == 0)
        w->heard_at = clock_monotonic();
    w->commands[w->queued++ % LIMIT_CACHE_QUEUE] = (unsigned char)command;
    if (w->asleep) {
        w->asleep = false;
        cache_wake(w->wake_fd);
    }
    return true;
}

void cache_give_up(struct cache *c, const char *why)
{
    struct cache_writer *w = &c->writer;

    if (!w->up)
        return;
    w->up = false;
    w->connection++;
    w->answered = w->queued;
    w->sending = 0;
    w->time_asked = false;
    buf_reset(&w->pending);
    snprintf(w->why, sizeof w->why, "%s", why);
    cache_generations_end(c);
    pthread_cond_broadcast(&c->confirmed);
    cache_wake(w->wake_fd);
}

/* --- replies; with the lock, on the thread */

static bool take_time(struct cache_writer *w, const struct redis_reply *r)
{
    uint64_t seconds, micros;

    if (r->kind != REDIS_ARRAY || r->n != 2 || num_u64(redis_reply_at(r, 0).text, &seconds) != 0 ||
        num_u64(redis_reply_at(r, 1).text, &micros) != 0 || seconds > (uint64_t)LIMIT_TIME_LAST / 1000)
        return false;
    w->time = (int64_t)(seconds * 1000 + micros / 1000);
    w->time_at = clock_boot();
    w->time_asked = false;
    return true;
}

/* A Redis that is full takes no copies and leases, but deletes. */
static bool is_full(const struct redis_reply *r)
{
    return r->kind == REDIS_ERROR && str_starts(r->text, STR_LIT("OOM"));
}

/* The reply to the oldest command that waits. False when the connection is of no use. */
static bool take_reply(struct cache *c, const struct redis_reply *r)
{
    struct cache_writer *w = &c->writer;
    bool good = false;

    if (unanswered(w) == 0)
        return false;
    enum cache_command command = w->commands[w->answered % LIMIT_CACHE_QUEUE];
    switch (command) {
    case CACHE_TIME:
        good = take_time(w, r);
        break;
    case CACHE_DELETE:
        good = r->kind == REDIS_INTEGER;
        break;
    case CACHE_LEASE:
    case CACHE_COPY:
        if (is_full(r))
            stats_add(c->figures.refused, 1);
        good = r->kind == REDIS_STATUS || is_full(r);
        break;
    }
    if (!good)
        return false;
    w->answered++;
    w->heard_at = clock_monotonic();
    if (command == CACHE_DELETE)
        pthread_cond_broadcast(&c->confirmed);
    return true;
}

/* --- the thread */

struct serving {
    struct redis_conn *conn;
    uint64_t connection;
    struct buf out; /* being sent */
    size_t sent;    /* of it */
};

static void give_up(struct cache *c, const struct serving *s, const char *why)
{
    pthread_mutex_lock(&c->lock);
    if (c->writer.connection == s->connection)
        cache_give_up(c, why);
    pthread_mutex_unlock(&c->lock);
}

/* With the lock. */
static void refuse(struct cache *c, const struct redis_reply *r)
{
    char why[sizeof c->writer.why];

    if (r->kind == REDIS_ERROR)
        snprintf(why, sizeof why, "Redis answered: %.*s", STR_ARG(r->text));
    else
        snprintf(why, sizeof why, "Redis answered what was not asked");
    cache_give_up(c, why);
}

static bool receive(struct cache *c, struct serving *s)
{
    struct redis_reply r;
    struct err e;
    long n;
    int got;

    while ((n = redis_conn_receive(s->conn, &e)) > 0) {
        while ((got = redis_conn_reply(s->conn, &r, &e)) == 1) {
            pthread_mutex_lock(&c->lock);
            bool current = c->writer.connection == s->connection;
            if (current && !take_reply(c, &r))
                refuse(c, &r);
            pthread_mutex_unlock(&c->lock);
            if (!current)
                return false;
        }
        if (got < 0)
            n = -1;
        if (n < 0)
            break;
    }
    if (n < 0)
        give_up(c, s, e.text);
    return n == 0;
}

/* Takes what is in the queue when the last taken is sent. Returns how long to wait, or -2 when it is over. */
static int64_t next_step(struct cache *c, struct serving *s)
{
    struct cache_writer *w = &c->writer;
    int64_t wait = -1;

    pthread_mutex_lock(&c->lock);
    if (w->connection == s->connection) {
        if (s->sent == s->out.n) {
            struct buf empty = s->out;
            s->out = w->pending;
            w->pending = empty;
            buf_reset(&w->pending);
            s->sent = 0;
        }
        w->sending = s->out.n - s->sent;
        w->asleep = true;
        if (unanswered(w) > 0) {
            wait = w->heard_at + LIMIT_CACHE_SILENT_MS - clock_monotonic();
            if (wait <= 0)
                cache_give_up(c, "no answer in time");
        }
    }
    if (w->connection != s->connection || atomic_load(&c->stopping))
        wait = -2;
    pthread_mutex_unlock(&c->lock);
    return wait;
}

static bool send_some(struct cache *c, struct serving *s)
{
    struct err e;

    if (s->out.n == s->sent)
        return true;
    long n = redis_conn_send(s->conn, (struct str){s->out.p + s->sent, s->out.n - s->sent}, &e);
    if (n < 0) {
        give_up(c, s, e.text);
        return false;
    }
    s->sent += (size_t)n;
    return true;
}

static void serve(struct cache *c, struct serving *s)
{
    int64_t wait;

    while ((wait = next_step(c, s)) != -2) {
        if (!send_some(c, s))
            break;
        cache_poll(c, s->conn, s->sent < s->out.n, c->writer.wake_fd, wait);
        if (!receive(c, s))
            break;
    }
    give_up(c, s, "the cache stops");
}

static void begin(struct cache *c, const struct redis_hello *hello, struct serving *s)
{
    struct cache_writer *w = &c->writer;

    pthread_mutex_lock(&c->lock);
    assert(!w->up && w->pending.n == 0 && unanswered(w) == 0);
    memcpy(w->run_id, hello->run_id, sizeof w->run_id);
    w->time = hello->time;
    w->time_at = hello->time_at;
    w->up = !atomic_load(&c->stopping);
    s->connection = w->connection;
    pthread_cond_broadcast(&c->confirmed); /* somebody may wait for a connection */
    pthread_mutex_unlock(&c->lock);
}

void *cache_writer_run(void *cache)
{
    struct cache *c = cache;
    struct cache_writer *w = &c->writer;
    struct redis_hello hello;
    struct serving s = {.conn = NULL};

    buf_init(&s.out, LIMIT_CACHE_QUEUE_BYTES);
    while (cache_link_open(c, &w->link, &s.conn, &hello)) {
        buf_reset(&s.out);
        s.sent = 0;
        begin(c, &hello, &s);
        serve(c, &s);
        redis_conn_close(s.conn);
        cache_link_lost(c, &w->link, w->why);
    }
    buf_deinit(&s.out);
    cache_thread_ends(c);
    return NULL;
}
