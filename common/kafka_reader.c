/* Readers of Kafka. One with a name is of the group: it reads partitions that were given, once it was told where, and
 * shares a client with the others of that name; one without reads any partition by a client of its own.
 *
 * What is fetched is checked: offsets go up by one (on the topics that are not compacted); the log must not have shrunk
 * since the place was sought; and after an error, or when the topic was missing for a while, the record before the
 * place is fetched again and must be the same. Otherwise the topic is another, and reading stops with -ESTALE until
 * somebody decides where to go on.
 *
 * Threads: the reader's own. It holds one place's lock at a time, never while it waits for the brokers. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "common/clock.h"
#include "common/kafka_fetch.h"
#include "common/log.h"

#define ASK_MS 2000   /* a seek waits so long for the brokers */
#define FRESH_MS 1500 /* begins and ends this old will do for a place that lies between them */
#define RETRY_MS 1000 /* after an error, before a partition is fetched anew */

struct kafka_reader {
    struct log_reader base;
    struct kafka_log *log;
    struct kafka_fetch *fetch;
    bool named;
    int wake_fd;
    _Atomic bool woken;
    rd_kafka_message_t **held; /* what the last read gave out */
    size_t held_n, held_room;
};

static struct kafka_reader *reader_of(struct log_reader *r)
{
    return (struct kafka_reader *)r;
}

struct kafka_fetch *kafka_reader_fetch(struct log_reader *r)
{
    return reader_of(r)->fetch;
}

static struct kafka_place *lock_place(struct kafka_reader *r, uint32_t partition)
{
    assert(partition < r->fetch->partitions);
    struct kafka_place *p = &r->fetch->place[partition];

    pthread_mutex_lock(&p->lock);
    return p;
}

static void let_go(struct kafka_reader *r)
{
    while (r->held_n > 0)
        rd_kafka_message_destroy(r->held[--r->held_n]);
}

static bool may_read(const struct kafka_reader *r, uint32_t partition)
{
    return !r->named || kafka_group_has(r->log->group, partition);
}

/* --- seeking --------------------------------------------------------------------------------------------------------
 */

/* What the watch heard a moment ago will do for a place that it knows: the fetch tells if it is gone meanwhile. */
static bool is_known(struct kafka_log *log, enum log_topic topic, uint32_t partition, int64_t offset)
{
    const struct kafka_range *range = kafka_range(log, topic, partition);
    int64_t heard = topic == LOG_EVENTS ? kafka_watch_heard(log->watch) : INT64_MIN;

    return heard != INT64_MIN && clock_monotonic() - heard < FRESH_MS && kafka_watch_reachable(log->watch) &&
           offset >= atomic_load(&range->begin) && offset <= atomic_load(&range->end);
}

/* `offset` -1: the begin, whatever it is, which goes to *offset. */
static int check_place(struct kafka_reader *r, uint32_t partition, int64_t *offset, struct err *e)
{
    struct kafka_log *log = r->log;
    int64_t begin = 0, end = 0;

    if (*offset >= 0 && is_known(log, r->fetch->topic, partition, *offset))
        return 0;
    int x = kafka_watch_range(log->watch, r->fetch->topic, partition, ASK_MS, &begin, &end, e);
    if (x < 0)
        return x;
    if (*offset < 0)
        *offset = begin;
    return *offset < begin || *offset > end ? LOG_READ_GAP : 0;
}

/* From here on the place is this reader's, if it was another's before. */
static int place_at(struct kafka_reader *r, uint32_t partition, int64_t offset, struct err *e)
{
    struct kafka_place *p = lock_place(r, partition);

    kafka_place_stop(r->fetch, partition);
    atomic_store(&p->taken, false);
    p->reader = r;
    p->wake_fd = r->wake_fd;
    p->next = offset;
    /* The record before it is fetched too, to know the topic again by it. */
    p->last = offset > atomic_load(&kafka_range(r->log, r->fetch->topic, partition)->begin) ? offset - 1 : -1;
    p->summed = false;
    p->compare = p->last >= 0;
    p->gone = kafka_watch_gone(r->log->watch, r->fetch->topic);
    p->lost = atomic_load(&kafka_range(r->log, r->fetch->topic, partition)->lost);
    p->stale = 0;
    p->retry_at = 0;
    int x = kafka_place_start(r->fetch, partition, e);
    if (x != 0)
        p->reader = NULL;
    pthread_mutex_unlock(&p->lock);
    return x;
}

static int seek(struct log_reader *seam, uint32_t partition, int64_t offset)
{
    struct kafka_reader *r = reader_of(seam);

    assert(partition < r->fetch->partitions);
    if (offset < 0)
        return LOG_READ_GAP;
    if (!may_read(r, partition))
        return -EAGAIN;
    int x = check_place(r, partition, &offset, NULL);
    if (x == 0)
        x = place_at(r, partition, offset, NULL);
    /* Taken meanwhile: nobody else would stop it. */
    if (x == 0 && !may_read(r, partition)) {
        kafka_fetch_taken(r->fetch, partition);
        x = -EAGAIN;
    }
    return x;
}

/* --- reading --------------------------------------------------------------------------------------------------------
 */

static uint64_t sum_of(const rd_kafka_message_t *m)
{
    const unsigned char *v = m->payload;
    uint64_t h = UINT64_C(14695981039346656037) ^ m->len ^ (uint64_t)rd_kafka_message_timestamp(m, NULL);

    for (size_t i = 0; i < m->len; i++)
        h = (h ^ v[i]) * UINT64_C(1099511628211);
    return h;
}

/* An error that stands until somebody seeks. */
static int stand_still(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, int error, const char *text)
{
    snprintf(p->trouble, sizeof(p->trouble), "%s, partition %u: %s", r->log->topic[r->fetch->topic], partition, text);
    p->stale = error;
    kafka_place_stop(r->fetch, partition);
    return error;
}

/* An error that may pass. The queue is not to be trusted after it. */
static int try_later(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, const char *text)
{
    snprintf(p->trouble, sizeof(p->trouble), "%s, partition %u: %s", r->log->topic[r->fetch->topic], partition, text);
    kafka_place_stop(r->fetch, partition);
    p->retry_at = clock_monotonic() + RETRY_MS;
    return -EAGAIN;
}

static int take_error(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, rd_kafka_message_t *m)
{
    char text[150];
    rd_kafka_resp_err_t error = m->err;

    snprintf(text, sizeof(text), "%s", rd_kafka_message_errstr(m));
    rd_kafka_message_destroy(m);
    switch (error) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        return 0;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        if (p->compare) { /* retention took the record before; the next one may be there */
            p->compare = false;
            p->last = -1;
            try_later(r, p, partition, text);
            p->retry_at = clock_monotonic();
            return 0;
        }
        snprintf(text, sizeof(text), "offset %lld is not on the log", (long long)p->next);
        return stand_still(r, p, partition, -ESTALE, text);
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
        return stand_still(r, p, partition, -EBADMSG, text);
    default:
        return try_later(r, p, partition, text);
    }
}

/* The record before the place has come. 0: it is the same, or was not known. */
static int compare(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, const rd_kafka_message_t *m)
{
    bool same = m->offset > p->last || !p->summed || (m->offset == p->last && sum_of(m) == p->sum);

    p->compare = false;
    if (!same)
        return stand_still(r, p, partition, -ESTALE,
                           "another record stands where the last one was read: the topic was made anew");
    if (m->offset == p->last) {
        p->sum = sum_of(m);
        p->summed = true;
    }
    return 0; /* if it is gone, the gap shows below */
}

static int check_offset(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, const rd_kafka_message_t *m)
{
    char text[150];

    if (m->offset == p->next || r->fetch->topic == LOG_CLAIMS)
        return 0;
    snprintf(text, sizeof(text), "the records %lld to %lld are missing", (long long)p->next, (long long)m->offset - 1);
    return stand_still(r, p, partition, -EBADMSG, text);
}

static enum log_kind kind_of(const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t n;

    rd_kafka_resp_err_t error = rd_kafka_message_headers(m, &headers);
    if (error == RD_KAFKA_RESP_ERR__NOENT)
        return LOG_KIND_EVENT;
    if (error)
        return LOG_KIND_UNKNOWN;
    if (rd_kafka_header_get_last(headers, KAFKA_HEADER, &value, &n) != 0)
        return LOG_KIND_EVENT;
    struct str kind = {value, n};
    return str_is(kind, "event")      ? LOG_KIND_EVENT
           : str_is(kind, "bad")      ? LOG_KIND_BAD
           : str_is(kind, "claim")    ? LOG_KIND_CLAIM
           : str_is(kind, "internal") ? LOG_KIND_INTERNAL
           : str_is(kind, "command")  ? LOG_KIND_COMMAND
           : str_is(kind, "audit")    ? LOG_KIND_AUDIT
           : str_is(kind, "change")   ? LOG_KIND_CHANGE
                                      : LOG_KIND_UNKNOWN;
}

static void give_out(struct kafka_reader *r, struct kafka_place *p, rd_kafka_message_t *m, struct log_record *out)
{
    *out = (struct log_record){.kind = kind_of(m),
                               .key = {m->key, m->key_len},
                               .value = {m->payload, m->len},
                               .time = rd_kafka_message_timestamp(m, NULL),
                               .offset = m->offset};
    p->next = m->offset + 1;
    r->held[r->held_n++] = m;
}

/* Takes one record or error off what is pending: 1 and a record in *out, 0 when it gave none, or a negative errno. */
static int take_one(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, struct log_record *out)
{
    rd_kafka_message_t *m = p->pending[p->pending_at++];
    int x = 0;

    if (m->err)
        return take_error(r, p, partition, m);
    if (p->compare)
        x = compare(r, p, partition, m);
    if (x == 0 && m->offset >= p->next)
        x = check_offset(r, p, partition, m);
    if (x == 0 && m->offset >= p->next) {
        give_out(r, p, m, out);
        return 1;
    }
    rd_kafka_message_destroy(m);
    return x;
}

/* Size of the next record that is pending; an error counts as none. */
static size_t next_size(const struct kafka_place *p)
{
    const rd_kafka_message_t *m = p->pending[p->pending_at];

    return m->err ? 0 : m->key_len + m->len;
}

static int take_some(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, struct log_record *out,
                     size_t max, size_t max_bytes)
{
    size_t n = 0, bytes = 0;

    while (n < max && p->queue) {
        if (p->pending_at == p->pending_n)
            kafka_place_fill(p);
        if (p->pending_n == 0)
            break;
        size_t size = next_size(p);
        if (n > 0 && (bytes + size > max_bytes || p->pending[p->pending_at]->err))
            break;
        int x = take_one(r, p, partition, &out[n]);
        if (x < 0 && n == 0)
            return x;
        if (x < 0)
            break; /* it stands, and comes with the next read */
        n += (size_t)x;
        bytes += size;
    }
    if (n > 0) {
        p->last = out[n - 1].offset;
        p->sum = sum_of(r->held[r->held_n - 1]);
        p->summed = true;
    }
    return (int)n;
}

/* Fetches anew after an error, beginning with the record read last. */
static int fetch_anew(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, struct err *e)
{
    if (clock_monotonic() < p->retry_at) {
        err_set(e, "%s", p->trouble);
        return -EAGAIN;
    }
    p->compare = p->last >= 0;
    int x = kafka_place_start(r->fetch, partition, e);
    if (x == 0)
        p->retry_at = 0;
    return x;
}

static int check_stand(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, struct err *e)
{
    if (p->stale == 0 && p->lost != atomic_load(&kafka_range(r->log, r->fetch->topic, partition)->lost))
        stand_still(r, p, partition, -ESTALE, "its end went back: the topic was made anew, or it has lost records");
    if (p->stale != 0) {
        err_set(e, "%s", p->trouble);
        return p->stale;
    }
    /* Is it the same topic? What was fetched before may be told as it is, what comes after is compared. */
    uint32_t gone = kafka_watch_gone(r->log->watch, r->fetch->topic);
    if (p->gone != gone && kafka_watch_count(r->log->watch, r->fetch->topic) > 0) {
        kafka_place_stop(r->fetch, partition);
        p->gone = gone;
    }
    return p->queue ? 0 : fetch_anew(r, p, partition, e);
}

static int read_place(struct kafka_reader *r, struct kafka_place *p, uint32_t partition, struct log_record *out,
                      size_t max, size_t max_bytes, struct err *e)
{
    int x = check_stand(r, p, partition, e);

    if (x == 0)
        x = take_some(r, p, partition, out, max, max_bytes);
    if (x < 0)
        err_set(e, "%s", p->trouble);
    if (x == 0 && !kafka_watch_reachable(r->log->watch)) {
        err_set(e, "the brokers do not answer");
        x = -EAGAIN;
    }
    return x;
}

/* A reader without a name begins where the log does when it was not told where. */
static int begin_reading(struct kafka_reader *r, uint32_t partition, struct err *e)
{
    int64_t offset = -1;
    int x = check_place(r, partition, &offset, e);

    return x == 0 ? place_at(r, partition, offset, e) : x;
}

static bool make_room(struct kafka_reader *r, size_t max)
{
    if (max <= r->held_room)
        return true;
    rd_kafka_message_t **more = realloc(r->held, max * sizeof(*more));
    if (!more)
        return false;
    r->held = more;
    r->held_room = max;
    return true;
}

static int read_records(struct log_reader *seam, uint32_t partition, struct log_record *out, size_t max,
                        size_t max_bytes, struct err *e)
{
    struct kafka_reader *r = reader_of(seam);
    int x = 0;

    let_go(r);
    if (max > LIMIT_FOLD_BATCH)
        max = LIMIT_FOLD_BATCH;
    if (!make_room(r, max))
        return -ENOMEM;
    if (!r->named)
        rd_kafka_poll(r->fetch->rk, 0);
    struct kafka_place *p = lock_place(r, partition);
    if (p->reader != r && !r->named) {
        pthread_mutex_unlock(&p->lock);
        x = begin_reading(r, partition, e);
        p = lock_place(r, partition);
    }
    if (x == 0 && (p->reader != r || !may_read(r, partition))) {
        err_set(e, "partition %u is not this reader's", partition);
        x = -EAGAIN;
    }
    if (x == 0)
        x = read_place(r, p, partition, out, max, max_bytes, e);
    pthread_mutex_unlock(&p->lock);
    if (x == -EAGAIN && e)
        e->retriable = true;
    return x;
}

/* --- waiting --------------------------------------------------------------------------------------------------------
 */

static bool has_some(struct kafka_reader *r, const uint32_t *partitions, size_t n)
{
    bool has = false;

    for (size_t i = 0; i < n && !has; i++) {
        struct kafka_place *p = lock_place(r, partitions[i]);

        has = p->reader == r && kafka_place_has(p);
        pthread_mutex_unlock(&p->lock);
    }
    return has;
}

static void wait_some(struct log_reader *seam, const uint32_t *partitions, size_t n, int64_t ms)
{
    struct kafka_reader *r = reader_of(seam);
    int64_t until = clock_monotonic() + ms, left = ms;
    struct pollfd fd = {.fd = r->wake_fd, .events = POLLIN};
    uint64_t count;

    while (left > 0) {
        ssize_t got = read(r->wake_fd, &count, sizeof(count)); /* first: what comes after it is seen below, or wakes */

        (void)got;
        if (atomic_exchange(&r->woken, false) || has_some(r, partitions, n))
            return;
        poll(&fd, 1, (int)left);
        left = until - clock_monotonic();
    }
    atomic_store(&r->woken, false);
}

static void wake(struct log_reader *seam)
{
    struct kafka_reader *r = reader_of(seam);
    const uint64_t one = 1;

    atomic_store(&r->woken, true);
    ssize_t put = write(r->wake_fd, &one, sizeof(one));
    (void)put; /* full means that it is awake */
}

/* --- life -----------------------------------------------------------------------------------------------------------
 */

static int commit(struct log_reader *seam, uint32_t partition, int64_t offset, struct err *e)
{
    struct kafka_reader *r = reader_of(seam);

    if (!r->named || offset < 0) {
        err_set(e, "only a reader with a name commits, and no offset below 0");
        return -EINVAL;
    }
    kafka_group_commit(r->log->group, partition, offset);
    return 0;
}

static void drop_fetch(struct kafka_log *log, struct kafka_fetch *f)
{
    kafka_fetch_free(f);
    atomic_fetch_sub(&log->peekers, 1);
}

static void close_reader(struct log_reader *seam)
{
    struct kafka_reader *r = reader_of(seam);

    let_go(r);
    for (uint32_t i = 0; i < r->fetch->partitions; i++) {
        struct kafka_place *p = lock_place(r, i);

        if (p->reader == r) {
            kafka_place_stop(r->fetch, i);
            p->reader = NULL;
        }
        pthread_mutex_unlock(&p->lock);
    }
    if (!r->named)
        drop_fetch(r->log, r->fetch);
    atomic_fetch_sub(&r->log->readers, 1);
    close(r->wake_fd);
    free(r->held);
    free(r);
}

static const struct log_reader_ops ops = {
    .close = close_reader, .seek = seek, .read = read_records, .wait = wait_some, .wake = wake, .commit = commit};

static int shared_fetch(struct kafka_log *log, struct kafka_fetch **out, struct err *e)
{
    int r = 0;

    pthread_mutex_lock(&log->fetch_lock);
    if (!log->fetch)
        r = kafka_fetch_new(log, LOG_EVENTS, true, &log->fetch, e);
    *out = log->fetch;
    pthread_mutex_unlock(&log->fetch_lock);
    return r;
}

static int check_name(struct kafka_log *log, enum log_topic topic, const char *name, struct err *e)
{
    struct kafka_group *g = log->group;

    if (topic == LOG_EVENTS && (!g || strcmp(kafka_group_name(g), name) == 0))
        return 0;
    err_set(e, "a reader with a name reads the events, and is called like its group, not %s", name);
    return -EINVAL;
}

/* A client of its own, of which there are not to be too many. */
static int own_fetch(struct kafka_log *log, enum log_topic topic, struct kafka_fetch **out, struct err *e)
{
    int r = -EBUSY;

    if (atomic_fetch_add(&log->peekers, 1) >= LIMIT_KAFKA_PEEKERS)
        err_set(e, "%d readers are open already", LIMIT_KAFKA_PEEKERS);
    else
        r = kafka_fetch_new(log, topic, false, out, e);
    if (r != 0)
        atomic_fetch_sub(&log->peekers, 1);
    return r;
}

static int new_reader(struct kafka_log *log, struct kafka_fetch *fetch, bool named, struct kafka_reader **out)
{
    struct kafka_reader *r = calloc(1, sizeof(*r));

    if (!r)
        return -ENOMEM;
    *r = (struct kafka_reader){.base.ops = &ops, .log = log, .fetch = fetch, .named = named};
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r->wake_fd < 0) {
        free(r);
        return -errno;
    }
    *out = r;
    return 0;
}

int kafka_reader_open(struct event_log *seam, enum log_topic topic, const char *name, struct log_reader **out,
                      struct err *e)
{
    struct kafka_log *log = kafka_log(seam);
    struct kafka_fetch *fetch = NULL;
    struct kafka_reader *reader = NULL;
    int r = name ? check_name(log, topic, name, e) : 0;

    if (r == 0)
        r = name ? shared_fetch(log, &fetch, e) : own_fetch(log, topic, &fetch, e);
    if (r != 0)
        return r;
    r = new_reader(log, fetch, name != NULL, &reader);
    if (r != 0) {
        err_set(e, "a reader cannot be made: %s", strerror(-r));
        if (!name)
            drop_fetch(log, fetch);
        return r;
    }
    atomic_fetch_add(&log->readers, 1);
    *out = &reader->base;
    return 0;
}
