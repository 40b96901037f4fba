/* Appending to Kafka. Any thread appends: the records of a call are reserved in the bound on what may wait, all or
 * none, and handed to librdkafka. The thread kafka-report polls the client, calls `done` and watches over it: a client
 * that met a fatal error, or that holds records well past their time, is replaced, and what it held is reported as
 * failed; it may still turn up on the log.
 *
 * Locks: `lock` is held for reading while records are handed over and for writing while the client is replaced;
 * `list_lock`, inside it, keeps the list of the calls under way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/cond.h"
#include "common/kafka_inside.h"
#include "common/log.h"

#define POLL_MS 100
#define STALL_MS (LIMIT_KAFKA_MS + 3000) /* librdkafka reports up to a second and a bit late */
#define PURGE_MS 500
#define AGAIN_MS 1000 /* between two replacements at first */
#define AGAIN_MOST_MS 30000
#define END_MS 500
#define ENDING_MOST 8 /* clients that hang in their end; with so many there is no further one */

/* A record that librdkafka has, or that it refused (`refused`). */
struct item {
    struct batch *batch; /* NULL: reported */
    void *arg;
    uint32_t bytes, partition;
};

/* One call of append. The list's head is one too. */
struct batch {
    struct batch *prev, *next;
    log_done *done;
    enum log_by by;
    enum log_status refused; /* LOG_OK, or why the last items never got to librdkafka */
    int64_t since;           /* monotonic */
    size_t n, left, sent;    /* `left` is the report thread's; of n, `sent` were handed over once refused is set */
    struct item item[];
};

struct kafka_producer {
    struct kafka_log *log;
    struct kafka_client_calls calls;
    pthread_rwlock_t lock;
    rd_kafka_t *rk; /* NULL: none could be made; the report thread tries again */
    rd_kafka_topic_t *topic[LOG_TOPICS];
    pthread_mutex_t list_lock;
    struct batch *list;              /* its head */
    _Atomic uint64_t bytes, records; /* that wait */
    _Atomic uint64_t appends[LOG_BYS];
    _Atomic int64_t acked_at;
    _Atomic int64_t failed_at; /* the last failure that no ack followed */
    _Atomic int failed_with;
    _Atomic int64_t patience; /* with a client that says nothing, ms */
    _Atomic bool stopping, fatal, refusals, give_up;
    _Atomic uint64_t replaced;
    unsigned hanging;
    int64_t again_at, again_ms;
    pthread_t thread;
    bool started;
    pthread_mutex_t end_lock; /* `ended`, for whom stops it */
    pthread_cond_t end_cond;
    bool ended;
    struct log_limit limit;
};

/* --- the list -------------------------------------------------------------------------------------------------------
 */

static void link_batch(struct kafka_producer *p, struct batch *b)
{
    pthread_mutex_lock(&p->list_lock);
    b->prev = p->list->prev;
    b->next = p->list;
    b->prev->next = b->next->prev = b;
    pthread_mutex_unlock(&p->list_lock);
}

static void unlink_batch(struct kafka_producer *p, struct batch *b)
{
    pthread_mutex_lock(&p->list_lock);
    b->prev->next = b->next;
    b->next->prev = b->prev;
    pthread_mutex_unlock(&p->list_lock);
}

static struct batch *new_list(void)
{
    struct batch *b = calloc(1, sizeof(*b));

    if (!b)
        abort();
    b->prev = b->next = b;
    return b;
}

/* The oldest call under way. It may only be looked into while nobody appends: a batch of which librdkafka takes nothing
 * is freed by the one who appends. */
static struct batch *oldest(struct kafka_producer *p)
{
    pthread_mutex_lock(&p->list_lock);
    struct batch *b = p->list->next == p->list ? NULL : p->list->next;
    pthread_mutex_unlock(&p->list_lock);
    return b;
}

/* --- reports (kafka-report) -----------------------------------------------------------------------------------------
 */

static void note(struct kafka_producer *p, struct batch *b, enum log_status s)
{
    int64_t now = clock_monotonic();

    if (s == LOG_OK) {
        atomic_fetch_add(&p->appends[b->by], 1);
        atomic_store(&p->acked_at, now);
        atomic_store(&p->failed_at, INT64_MIN);
    } else if (s != LOG_TOO_LARGE) { /* which says nothing about the next one */
        atomic_store(&p->failed_with, s);
        atomic_store(&p->failed_at, now);
    }
}

static void report(struct kafka_producer *p, struct item *i, enum log_status s, int64_t offset)
{
    struct batch *b = i->batch;

    assert(b && b->left > 0);
    i->batch = NULL;
    note(p, b, s);
    atomic_fetch_sub(&p->bytes, i->bytes);
    atomic_fetch_sub(&p->records, 1);
    if (b->done)
        b->done(i->arg, s, i->partition, s == LOG_OK ? offset : -1);
    if (--b->left == 0) {
        unlink_batch(p, b);
        free(b);
    }
}

static void raise_end(struct kafka_log *log, enum log_topic topic, uint32_t partition, int64_t end)
{
    struct kafka_range *r = kafka_range(log, topic, partition);
    int64_t known = atomic_load(&r->end);

    while (known < end && !atomic_compare_exchange_weak(&r->end, &known, end))
        ;
}

static enum log_topic topic_of(const struct kafka_producer *p, const rd_kafka_message_t *m)
{
    enum log_topic t = 0;

    while (t < LOG_TOPICS - 1 && p->topic[t] != m->rkt)
        t++;
    return t;
}

/* The reports of a client that is being replaced come here too, while it is drained. */
static void take_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *arg)
{
    struct kafka_producer *p = arg;
    enum log_status s = kafka_status(m->err);

    if (m->err)
        log_limited(&p->limit, LOG_WARN, "kafka: %s, partition %d: not appended: %s", rd_kafka_topic_name(m->rkt),
                    m->partition, rd_kafka_err2str(m->err));
    else if (rk == p->rk)
        raise_end(p->log, topic_of(p, m), (uint32_t)m->partition, m->offset + 1);
    report(p, m->_private, s, m->offset);
}

static void take_trouble(rd_kafka_t *rk, int error, const char *reason, void *arg)
{
    struct kafka_producer *p = arg;
    char text[256];

    (void)reason;
    if (error == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_fatal_error(rk, text, sizeof(text));
        log_error("kafka: the producer cannot go on: %s", text);
        atomic_store(&p->fatal, true);
    }
    kafka_watch_kick(p->log->watch);
}

/* Reports what append could not hand over after it had handed over the items before it. */
static void report_refused(struct kafka_producer *p)
{
    struct batch *b;

    if (!atomic_exchange(&p->refusals, false))
        return;
    do {
        pthread_mutex_lock(&p->list_lock);
        for (b = p->list->next; b != p->list && b->refused == LOG_OK; b = b->next)
            ;
        size_t from = b->sent, n = b->n;
        enum log_status s = b->refused;
        b->refused = LOG_OK;
        pthread_mutex_unlock(&p->list_lock);
        if (b == p->list)
            return;
        for (size_t i = from; i < n; i++) /* the last one may free it */
            report(p, &b->item[i], s, -1);
    } while (true);
}

/* Everything that is listed is told that it failed. No client may report it any more. */
static void report_all(struct kafka_producer *p)
{
    struct batch *b;

    while ((b = oldest(p))) {
        for (size_t i = 0, n = b->n, left = b->left; i < n && left > 0; i++)
            if (b->item[i].batch) {
                left--;
                report(p, &b->item[i], LOG_FAILED, -1);
            }
    }
}

/* --- the client (kafka-report, and the start) -----------------------------------------------------------------------
 */

static int make_client(struct kafka_producer *p, struct err *e)
{
    int r = kafka_client_new(&p->log->o, KAFKA_PRODUCER, NULL, &p->calls, &p->rk, e);

    for (int t = 0; t < LOG_TOPICS && r == 0; t++)
        p->topic[t] = rd_kafka_topic_new(p->rk, p->log->topic[t], NULL);
    return r;
}

/* Gets what reports there are out of a client that nobody appends to any more, and reports the rest. */
static void drain_client(struct kafka_producer *p, rd_kafka_t *rk)
{
    int64_t until = clock_monotonic() + PURGE_MS;

    if (rk) {
        rd_kafka_purge(rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
        for (report_refused(p); oldest(p) && clock_monotonic() < until;)
            rd_kafka_poll(rk, 20);
    }
    report_refused(p);
    report_all(p);
}

static void end_client(struct kafka_producer *p, rd_kafka_t *rk, rd_kafka_topic_t **topic)
{
    if (!rk)
        return;
    for (int t = 0; t < LOG_TOPICS; t++)
        rd_kafka_topic_destroy(topic[t]);
    if (kafka_client_end(rk, END_MS))
        return;
    p->hanging++;
    log_warn("kafka: a producer does not end, and is left to itself");
}

/* From here on appends are refused. */
static rd_kafka_t *detach_client(struct kafka_producer *p, rd_kafka_topic_t **topic)
{
    pthread_rwlock_wrlock(&p->lock);
    rd_kafka_t *rk = p->rk;
    p->rk = NULL;
    memcpy(topic, p->topic, sizeof(p->topic));
    pthread_rwlock_unlock(&p->lock);
    return rk;
}

/* The old one is drained first, so that no report of it comes after one of the other. */
static void replace_client(struct kafka_producer *p)
{
    rd_kafka_topic_t *topic[LOG_TOPICS];
    struct err e = {.text = "too many of them hang; restart this process"};
    rd_kafka_t *old = detach_client(p, topic);

    drain_client(p, old);
    pthread_rwlock_wrlock(&p->lock);
    int r = p->hanging < ENDING_MOST ? make_client(p, &e) : -EBUSY;
    pthread_rwlock_unlock(&p->lock);
    atomic_store(&p->fatal, false);
    atomic_fetch_add(&p->replaced, 1);
    if (r == 0)
        log_info("kafka: another producer has taken over");
    else
        log_error("kafka: no producer can be made: %s", e.text);
    end_client(p, old, topic);
}

static bool is_stalled(struct kafka_producer *p, int64_t now)
{
    pthread_mutex_lock(&p->list_lock);
    int64_t held = p->list->next == p->list ? 0 : now - p->list->next->since;
    pthread_mutex_unlock(&p->list_lock);
    if (held < atomic_load(&p->patience))
        return false;
    log_error("kafka: the producer has held records for %lld ms without saying what became of them", (long long)held);
    return true;
}

static void mend(struct kafka_producer *p)
{
    int64_t now = clock_monotonic();

    if (now < p->again_at || !(!p->rk || atomic_load(&p->fatal) || is_stalled(p, now)))
        return;
    /* One that worked for a good while starts from the shortest pause again. */
    p->again_ms = now - p->again_at > 2 * AGAIN_MOST_MS ? AGAIN_MS : 2 * p->again_ms;
    if (p->again_ms > AGAIN_MOST_MS)
        p->again_ms = AGAIN_MOST_MS;
    replace_client(p);
    p->again_at = clock_monotonic() + p->again_ms;
}

static void rest(void)
{
    const struct timespec t = {.tv_nsec = POLL_MS * 1000000L};

    nanosleep(&t, NULL);
}

static void *report_main(void *arg)
{
    struct kafka_producer *p = arg;
    rd_kafka_topic_t *topic[LOG_TOPICS];

    while (!atomic_load(&p->give_up) && !(atomic_load(&p->stopping) && !oldest(p))) {
        if (p->rk)
            rd_kafka_poll(p->rk, POLL_MS);
        else
            rest();
        report_refused(p);
        mend(p);
    }
    rd_kafka_t *rk = detach_client(p, topic);
    drain_client(p, rk);
    end_client(p, rk, topic);
    pthread_mutex_lock(&p->end_lock);
    p->ended = true;
    pthread_cond_signal(&p->end_cond);
    pthread_mutex_unlock(&p->end_lock);
    return NULL;
}

/* --- appending (any thread) -----------------------------------------------------------------------------------------
 */

static bool reserve(struct kafka_producer *p, enum log_by by, size_t bytes, size_t n)
{
    bool own = by == LOG_BY_PROFILER || by == LOG_BY_COMMAND;
    size_t most = LIMIT_LOG_QUEUE_BYTES + (own ? LIMIT_LOG_QUEUE_OWN : 0);
    size_t most_n = LIMIT_LOG_QUEUE_RECORDS + (own ? LIMIT_LOG_QUEUE_RECORDS / 8 : 0);

    if (atomic_fetch_add(&p->bytes, bytes) + bytes <= most) {
        if (atomic_fetch_add(&p->records, n) + n <= most_n)
            return true;
        atomic_fetch_sub(&p->records, n);
    }
    atomic_fetch_sub(&p->bytes, bytes);
    return false;
}

static struct batch *new_batch(enum log_by by, const struct log_record *records, size_t n, uint32_t partitions,
                               log_done *done, void *const *args)
{
    struct batch *b = malloc(sizeof(*b) + n * sizeof(struct item));

    if (!b)
        return NULL;
    *b = (struct batch){.done = done, .by = by, .since = clock_monotonic(), .n = n, .left = n};
    for (size_t i = 0; i < n; i++)
        b->item[i] = (struct item){.batch = b,
                                   .arg = args ? args[i] : NULL,
                                   .bytes = (uint32_t)(records[i].key.n + records[i].value.n),
                                   .partition = log_record_partition(&records[i], partitions)};
    return b;
}

static const char *kind_text(enum log_kind kind)
{
    static const char *const texts[] = {
        [LOG_KIND_BAD] = "bad",         [LOG_KIND_CLAIM] = "claim", [LOG_KIND_INTERNAL] = "internal",
        [LOG_KIND_COMMAND] = "command", [LOG_KIND_AUDIT] = "audit", [LOG_KIND_CHANGE] = "change"};

    assert(kind > LOG_KIND_EVENT && kind <= LOG_KIND_CHANGE && texts[kind]);
    return texts[kind];
}

static rd_kafka_resp_err_t send_record(struct kafka_producer *p, enum log_topic topic, const struct log_record *r,
                                       struct item *i)
{
    int64_t time = r->time ? r->time : clock_now();

#define COMMON                                                                                                         \
    RD_KAFKA_V_RKT(p->topic[topic]), RD_KAFKA_V_PARTITION((int32_t)i->partition),                                      \
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.p, r->key.n),                                  \
        RD_KAFKA_V_VALUE((void *)r->value.p, r->value.n), RD_KAFKA_V_TIMESTAMP(time), RD_KAFKA_V_OPAQUE(i)
    if (r->kind == LOG_KIND_EVENT)
        return rd_kafka_producev(p->rk, COMMON, RD_KAFKA_V_END);
    return rd_kafka_producev(p->rk, COMMON, RD_KAFKA_V_HEADER(KAFKA_HEADER, kind_text(r->kind), -1), RD_KAFKA_V_END);
#undef COMMON
}

/* Hands the records over. The caller has `lock`. What librdkafka refuses in the midst is reported like what it took:
 * the call has taken all. Unless it is LOG_OK the batch is still the caller's. */
static enum log_status hand_over(struct kafka_producer *p, enum log_topic topic, const struct log_record *records,
                                 struct batch *b)
{
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    size_t i = 0, n = b->n;

    link_batch(p, b);
    while (i < n && !(error = send_record(p, topic, &records[i], &b->item[i])))
        i++;
    if (!error) /* it may be gone by now */
        return LOG_OK;
    log_limited(&p->limit, LOG_WARN, "kafka: %s: librdkafka does not take a record: %s", p->log->topic[topic],
                rd_kafka_err2str(error));
    if (i == 0) {
        unlink_batch(p, b);
        return kafka_status(error);
    }
    pthread_mutex_lock(&p->list_lock);
    b->sent = i;
    b->refused = kafka_status(error);
    pthread_mutex_unlock(&p->list_lock);
    atomic_store(&p->refusals, true);
    return LOG_OK;
}

static enum log_status check_records(const struct log_record *records, size_t n, size_t *bytes)
{
    *bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (records[i].key.n > LIMIT_RECORD_BYTES || records[i].value.n > LIMIT_RECORD_BYTES - records[i].key.n)
            return LOG_TOO_LARGE;
        *bytes += records[i].key.n + records[i].value.n;
    }
    return *bytes > LIMIT_LOG_QUEUE_BYTES || n > LIMIT_LOG_QUEUE_RECORDS ? LOG_TOO_LARGE : LOG_OK;
}

static enum log_status may_append(struct kafka_producer *p, enum log_topic topic)
{
    bool known;

    if (atomic_load(&p->stopping))
        return LOG_STOPPED;
    return kafka_watch_topic(p->log->watch, topic, &known);
}

static enum log_status take(struct kafka_producer *p, enum log_topic topic, const struct log_record *records,
                            struct batch *b)
{
    enum log_status s = LOG_FAILED;

    pthread_rwlock_rdlock(&p->lock);
    if (p->rk)
        s = hand_over(p, topic, records, b);
    else if (atomic_load(&p->stopping))
        s = LOG_STOPPED;
    pthread_rwlock_unlock(&p->lock);
    return s;
}

enum log_status kafka_producer_append(struct kafka_producer *p, enum log_topic topic, enum log_by by,
                                      const struct log_record *records, size_t n, log_done *done, void *const *args)
{
    size_t bytes;
    enum log_status s = check_records(records, n, &bytes);

    assert(topic < LOG_TOPICS && by < LOG_BYS);
    if (s == LOG_OK && n > 0)
        s = may_append(p, topic);
    if (s != LOG_OK || n == 0)
        return s;
    if (!reserve(p, by, bytes, n))
        return LOG_QUEUE_FULL;
    struct batch *b = new_batch(by, records, n, kafka_partitions(p->log, topic), done, args);
    s = b ? take(p, topic, records, b) : LOG_QUEUE_FULL;
    if (s != LOG_OK) {
        free(b);
        atomic_fetch_sub(&p->bytes, bytes);
        atomic_fetch_sub(&p->records, n);
    }
    return s;
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

int kafka_producer_new(struct kafka_log *log, struct kafka_producer **out, struct err *e)
{
    struct kafka_producer *p = calloc(1, sizeof(*p));
    pthread_rwlockattr_t a;

    if (!p)
        abort();
    p->log = log;
    p->calls = (struct kafka_client_calls){.arg = p, .report = take_report, .trouble = take_trouble};
    p->list = new_list();
    p->acked_at = p->failed_at = INT64_MIN;
    p->again_at = INT64_MIN / 2;
    p->patience = STALL_MS;
    pthread_rwlockattr_init(&a);
    pthread_rwlockattr_setkind_np(&a, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&p->lock, &a);
    pthread_rwlockattr_destroy(&a);
    pthread_mutex_init(&p->list_lock, NULL);
    pthread_mutex_init(&p->end_lock, NULL);
    cond_init(&p->end_cond);
    int r = make_client(p, e);
    if (r != 0) {
        kafka_producer_free(p);
        return r;
    }
    *out = p;
    return 0;
}

void kafka_producer_run(struct kafka_producer *p)
{
    if (pthread_create(&p->thread, NULL, report_main, p) != 0)
        abort();
    pthread_setname_np(p->thread, "kafka-report");
    p->started = true;
}

void kafka_producer_stop(struct kafka_producer *p, int64_t ms)
{
    struct timespec until = cond_in(ms);
    int r = 0;

    atomic_store(&p->stopping, true);
    if (!p->started)
        return;
    pthread_mutex_lock(&p->end_lock);
    while (!p->ended && r == 0)
        r = pthread_cond_timedwait(&p->end_cond, &p->end_lock, &until);
    pthread_mutex_unlock(&p->end_lock);
    atomic_store(&p->give_up, true);
    pthread_join(p->thread, NULL);
    p->started = false;
}

void kafka_producer_free(struct kafka_producer *p)
{
    if (!p)
        return;
    assert(!p->started);
    if (p->rk)
        end_client(p, p->rk, p->topic);
    pthread_rwlock_destroy(&p->lock);
    pthread_mutex_destroy(&p->list_lock);
    pthread_mutex_destroy(&p->end_lock);
    pthread_cond_destroy(&p->end_cond);
    free(p->list);
    free(p);
}

uint64_t kafka_producer_appends(const struct kafka_producer *p, enum log_by by)
{
    return atomic_load(&p->appends[by]);
}

int64_t kafka_producer_acked(const struct kafka_producer *p)
{
    return atomic_load(&p->acked_at);
}

uint64_t kafka_producer_replaced(const struct kafka_producer *p)
{
    return atomic_load(&p->replaced);
}

enum log_status kafka_producer_state(const struct kafka_producer *p)
{
    int64_t failed = atomic_load(&p->failed_at);

    if (atomic_load(&p->stopping))
        return LOG_STOPPED;
    if (atomic_load(&p->fatal))
        return LOG_FAILED;
    /* A failure stands until an ack, but no longer than a record's fate takes: there may be nothing to append. */
    if (failed != INT64_MIN && clock_monotonic() - failed < LIMIT_KAFKA_MS)
        return (enum log_status)atomic_load(&p->failed_with);
    return atomic_load(&p->bytes) < LIMIT_LOG_QUEUE_BYTES && atomic_load(&p->records) < LIMIT_LOG_QUEUE_RECORDS
               ? LOG_OK
               : LOG_QUEUE_FULL;
}

void kafka_producer_patience(struct kafka_producer *p, int64_t ms)
{
    atomic_store(&p->patience, ms);
}

void kafka_producer_break(struct kafka_producer *p)
{
    pthread_rwlock_rdlock(&p->lock);
    if (p->rk)
        rd_kafka_test_fatal_error(p->rk, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "made by a test");
    pthread_rwlock_unlock(&p->lock);
}
