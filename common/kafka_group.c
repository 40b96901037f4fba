/* The membership in the consumer group: a client that subscribes to the events, is given partitions and pauses them at
 * once, since others fetch (kafka_fetch.c). It is a static member: a process that is back within its session keeps what
 * it had. All of it runs on the thread kafka-group, which polls the client, calls given and taken, and commits offsets
 * for those who watch the group; others only set marks.
 *
 * A partition is given when it is assigned and the topic has as many partitions as the configuration says; with another
 * number a key's records would be elsewhere, and who says another number stays outside the group, for what it is given
 * there nobody else would follow. When another process takes over this instance's place, everything is
 * taken, and it joins again only once that place is free: who of the two is right cannot be known here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/kafka_inside.h"
#include "common/log.h"

#define POLL_MS 50
#define COMMIT_MS 1000
#define AGAIN_MS 1000 /* from a client that failed to the next */
#define AGAIN_MOST_MS 30000
#define FENCED_MS 3000 /* between looks whether the place is free */
#define FAREWELL_MS 200
#define END_MS 500 /* for a client to end, at least */

struct member {
    _Atomic bool given;
    _Atomic int64_t offset; /* to be committed; -1: nothing */
    int64_t committed;
    bool assigned;
};

struct kafka_group {
    struct kafka_log *log;
    struct log_group_options o;
    char *name;
    struct kafka_client_calls calls;
    rd_kafka_t *rk; /* NULL: it joins again at again_at */
    int fatal;      /* librdkafka's error, after which the client is of no use */
    int64_t again_at, again_ms, commit_at;
    bool fenced, subscribed;
    bool asked; /* by this client, for what it is to have */
    bool heard; /* and the answer */
    pthread_t thread;
    pthread_mutex_t lock; /* `muted` and the calls of given and taken; `ended` */
    pthread_cond_t cond;
    bool muted, ended;
    bool left, over; /* of whom leaves it */
    _Atomic bool stopping, for_good;
    _Atomic int64_t stop_ms;
    struct log_limit limit;
    struct member member[];
};

/* --- given and taken ------------------------------------------------------------------------------------------------
 */

static void tell(struct kafka_group *g, void (*call)(void *arg, uint32_t partition), uint32_t partition)
{
    pthread_mutex_lock(&g->lock);
    if (!g->muted && call)
        call(g->o.arg, partition);
    pthread_mutex_unlock(&g->lock);
}

static void give(struct kafka_group *g, uint32_t partition)
{
    atomic_store(&g->member[partition].offset, -1);
    g->member[partition].committed = -1;
    atomic_store(&g->member[partition].given, true);
    tell(g, g->o.given, partition);
}

static void take(struct kafka_group *g, uint32_t partition)
{
    atomic_store(&g->member[partition].given, false);
    pthread_mutex_lock(&g->log->fetch_lock);
    if (g->log->fetch)
        kafka_fetch_taken(g->log->fetch, partition);
    pthread_mutex_unlock(&g->log->fetch_lock);
    tell(g, g->o.taken, partition);
}

/* As long as the topic's partitions are not known nothing is given, and nothing taken for it. */
static void settle(struct kafka_group *g)
{
    int has = kafka_watch_count(g->log->watch, LOG_EVENTS), wanted = (int)g->log->o.partitions;

    for (uint32_t p = 0; p < g->log->o.partitions; p++) {
        struct member *m = &g->member[p];

        if (m->given && (!m->assigned || (has > 0 && has != wanted)))
            take(g, p);
        else if (!m->given && m->assigned && has == wanted)
            give(g, p);
    }
}

static void forget_all(struct kafka_group *g)
{
    for (uint32_t p = 0; p < g->log->o.partitions; p++)
        g->member[p].assigned = false;
    settle(g);
}

/* A member that comes back with another prefix is first given what it had under the old one. */
static void mark(struct kafka_group *g, const rd_kafka_topic_partition_list_t *list, bool assigned)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];

        if (strcmp(p->topic, g->log->topic[LOG_EVENTS]) == 0 && p->partition >= 0 &&
            (uint32_t)p->partition < g->log->o.partitions)
            g->member[p->partition].assigned = assigned;
    }
}

static void failed(struct kafka_group *g, const char *what, rd_kafka_error_t *error)
{
    if (!error)
        return;
    log_limited(&g->limit, LOG_WARN, "kafka: %s: %s", what, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
}

/* Where it would fetch from is of no matter, since it is paused before and after. */
static void assign(struct kafka_group *g, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_pause_partitions(g->rk, list);
    failed(g, "partitions cannot be taken on", rd_kafka_incremental_assign(g->rk, list));
    rd_kafka_pause_partitions(g->rk, list);
    mark(g, list, true);
}

static void take_rebalance(rd_kafka_t *rk, int error, rd_kafka_topic_partition_list_t *list, void *arg)
{
    struct kafka_group *g = arg;

    assert(rk == g->rk);
    if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        g->heard = true;
        if (list->cnt > 0)
            log_info("kafka: the group gives %d partitions", list->cnt);
        assign(g, list);
    } else if (error == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        log_info("kafka: the group takes %d partitions%s", list->cnt,
                 rd_kafka_assignment_lost(rk) ? ", since the session was lost" : "");
        mark(g, list, false);
        settle(g); /* before another is told that it has them */
        failed(g, "partitions cannot be given back", rd_kafka_incremental_unassign(rk, list));
    } else {
        log_warn("kafka: the group: %s", rd_kafka_err2str(error));
        forget_all(g);
        rd_kafka_assign(rk, NULL);
    }
}

static void take_trouble(rd_kafka_t *rk, int error, const char *reason, void *arg)
{
    struct kafka_group *g = arg;
    char text[256];

    (void)reason;
    if (error == RD_KAFKA_RESP_ERR__FATAL)
        g->fatal = rd_kafka_fatal_error(rk, text, sizeof(text));
    kafka_watch_kick(g->log->watch);
}

/* --- the client -----------------------------------------------------------------------------------------------------
 */

static void subscribe(struct kafka_group *g)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, g->log->topic[LOG_EVENTS], RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(g->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    g->subscribed = !error;
    g->asked = g->asked || !error;
    if (error)
        log_limited(&g->limit, LOG_ERROR, "kafka: the group cannot be joined: %s", rd_kafka_err2str(error));
}

/* In the group while the topic has the partitions of the configuration, outside while it has others; while it is not
 * known which it has, as it was. */
static void join_or_leave(struct kafka_group *g)
{
    int has = kafka_watch_count(g->log->watch, LOG_EVENTS), wanted = (int)g->log->o.partitions;

    if (!g->subscribed && has == wanted) {
        subscribe(g);
    } else if (g->subscribed && has > 0 && has != wanted) {
        log_error("kafka: this instance leaves the group: %s has %d partitions, the configuration says %d",
                  g->log->topic[LOG_EVENTS], has, wanted);
        rd_kafka_unsubscribe(g->rk);
        g->subscribed = false;
    }
}

static int make_client(struct kafka_group *g, struct err *e)
{
    int r = kafka_client_new(&g->log->o, KAFKA_MEMBER, g->name, &g->calls, &g->rk, e);

    g->subscribed = g->asked = g->heard = false;
    if (r == 0)
        rd_kafka_poll_set_consumer(g->rk); /* log lines and errors come with the rest */
    return r;
}

/* librdkafka before 2.3 aborts when a member ends that has joined and does not know yet what it is given. Whether it
 * has joined is known too late: the brokers' answer may be on its way. */
static void end_client(struct kafka_group *g, int64_t ms)
{
    if ((g->asked && !g->heard) || !kafka_client_end(g->rk, ms))
        log_warn("kafka: a member of the group does not end, and is left to itself");
    g->rk = NULL;
}

/* The client is of no use any more. */
static void give_up(struct kafka_group *g)
{
    g->fenced = g->fatal == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
    if (g->fenced)
        log_error("kafka: another process is in the group as instance %s: this one follows nothing until that place is "
                  "free; give each its own `instance`",
                  g->log->o.instance);
    else
        log_error("kafka: the membership in the group fails: %s; it is made anew", rd_kafka_err2str(g->fatal));
    g->fatal = 0;
    forget_all(g);
    end_client(g, 1000);
    g->again_ms = g->again_ms ? 2 * g->again_ms : AGAIN_MS;
    if (g->again_ms > AGAIN_MOST_MS)
        g->again_ms = AGAIN_MOST_MS;
    g->again_at = clock_monotonic() + (g->fenced ? FENCED_MS : g->again_ms);
}

static void try_again(struct kafka_group *g)
{
    struct err e = {0};

    if (clock_monotonic() < g->again_at)
        return;
    if (g->fenced && kafka_watch_member(g->log->watch, g->name, g->log->o.instance, 500) != 0) {
        g->again_at = clock_monotonic() + FENCED_MS;
        return;
    }
    g->fenced = false;
    if (make_client(g, &e) == 0)
        return;
    log_limited(&g->limit, LOG_ERROR, "kafka: the group cannot be joined: %s", e.text);
    g->again_at = clock_monotonic() + AGAIN_MOST_MS;
}

/* --- commits --------------------------------------------------------------------------------------------------------
 */

/* Asynchronous, and nobody waits for the answer: nothing of ours reads them. */
static void commit(struct kafka_group *g)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);

    for (uint32_t p = 0; p < g->log->o.partitions; p++) {
        struct member *m = &g->member[p];
        int64_t offset = atomic_load(&m->offset);

        if (!m->given || offset < 0 || offset == m->committed)
            continue;
        m->committed = offset;
        rd_kafka_topic_partition_list_add(list, g->log->topic[LOG_EVENTS], (int32_t)p)->offset = offset;
    }
    if (list->cnt > 0)
        rd_kafka_commit(g->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
    g->commit_at = clock_monotonic() + COMMIT_MS;
}

/* --- the thread -----------------------------------------------------------------------------------------------------
 */

static void poll_once(struct kafka_group *g)
{
    rd_kafka_message_t *m = rd_kafka_consumer_poll(g->rk, POLL_MS);

    if (!m)
        return;
    if (m->err == RD_KAFKA_RESP_ERR__FATAL && !g->fatal)
        g->fatal = rd_kafka_fatal_error(g->rk, NULL, 0);
    else if (m->err && m->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
        log_limited(&g->limit, LOG_WARN, "kafka: the group: %s", rd_kafka_message_errstr(m));
    rd_kafka_message_destroy(m);
}

static void rest(void)
{
    const struct timespec t = {.tv_nsec = POLL_MS * 1000000L};

    nanosleep(&t, NULL);
}

static bool is_member(struct kafka_group *g)
{
    char *id = rd_kafka_memberid(g->rk);
    bool is = id && id[0];

    rd_kafka_mem_free(g->rk, id);
    return is;
}

/* So that it can be ended. */
static void hear_out(struct kafka_group *g, int64_t until)
{
    while (g->asked && !g->heard && kafka_watch_reachable(g->log->watch) && clock_monotonic() < until && !g->fatal)
        poll_once(g);
}

/* Leaving for good is said by unsubscribing: at the mere end of a client a static member stays in the group. */
static void say_good_bye(struct kafka_group *g, int64_t until)
{
    rd_kafka_unsubscribe(g->rk);
    while (is_member(g) && clock_monotonic() < until && !g->fatal)
        poll_once(g);
    int64_t sent = clock_monotonic() + FAREWELL_MS;
    while (clock_monotonic() < sent && clock_monotonic() < until)
        poll_once(g);
}

static void *group_main(void *arg)
{
    struct kafka_group *g = arg;

    while (!atomic_load(&g->stopping)) {
        if (g->rk)
            poll_once(g);
        else
            rest();
        if (g->fatal)
            give_up(g);
        settle(g);
        if (g->rk)
            join_or_leave(g);
        if (g->rk && clock_monotonic() >= g->commit_at)
            commit(g);
        if (!g->rk)
            try_again(g);
    }
    int64_t ms = atomic_load(&g->stop_ms), since = clock_monotonic();
    if (g->rk) {
        commit(g);
        hear_out(g, since + ms / 2);
        if (atomic_load(&g->for_good))
            say_good_bye(g, since + ms * 2 / 3);
    }
    forget_all(g);
    end_client(g, ms / 4 > END_MS ? ms / 4 : END_MS);
    pthread_mutex_lock(&g->lock);
    g->ended = true;
    pthread_cond_signal(&g->cond);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* --- the seam -------------------------------------------------------------------------------------------------------
 */

const char *kafka_group_name(const struct kafka_group *g)
{
    return g->name;
}

bool kafka_group_has(const struct kafka_group *g, uint32_t partition)
{
    return g && atomic_load(&g->member[partition].given);
}

void kafka_group_commit(struct kafka_group *g, uint32_t partition, int64_t offset)
{
    if (g)
        atomic_store(&g->member[partition].offset, offset);
}

int kafka_group_join(struct event_log *seam, const struct log_group_options *o, struct err *e)
{
    struct kafka_log *log = kafka_log(seam);
    struct kafka_group *g = calloc(1, sizeof(*g) + log->o.partitions * sizeof(struct member));

    assert(!log->group && o->name);
    if (!g || !(g->name = strdup(o->name)))
        abort();
    g->log = log;
    g->o = *o;
    g->calls = (struct kafka_client_calls){.arg = g, .trouble = take_trouble, .rebalance = take_rebalance};
    pthread_mutex_init(&g->lock, NULL);
    cond_init(&g->cond);
    int r = make_client(g, e);
    if (r != 0) {
        g->over = true;
        kafka_group_free(g);
        return r;
    }
    log->group = g;
    if (pthread_create(&g->thread, NULL, group_main, g) != 0)
        abort();
    pthread_setname_np(g->thread, "kafka-group");
    return 0;
}

void kafka_group_leave(struct event_log *seam, bool for_good, int64_t ms)
{
    struct kafka_group *g = kafka_log(seam)->group;
    struct timespec until = cond_in(ms);
    int r = 0;

    if (!g || g->left)
        return;
    g->left = true;
    atomic_store(&g->stop_ms, ms);
    atomic_store(&g->for_good, for_good);
    atomic_store(&g->stopping, true);
    pthread_mutex_lock(&g->lock);
    while (!g->ended && r == 0)
        r = pthread_cond_timedwait(&g->cond, &g->lock, &until);
    g->muted = true;
    bool ended = g->ended;
    pthread_mutex_unlock(&g->lock);
    for (uint32_t p = 0; p < g->log->o.partitions; p++)
        atomic_store(&g->member[p].given, false);
    if (!ended) {
        log_warn("kafka: the group cannot be left in time; the session will end by itself");
        return;
    }
    pthread_join(g->thread, NULL);
    g->over = true;
}

bool kafka_group_over(const struct kafka_group *g)
{
    return !g || g->over;
}

void kafka_group_free(struct kafka_group *g)
{
    if (!g)
        return;
    assert(g->over);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->cond);
    free(g->name);
    free(g);
}
