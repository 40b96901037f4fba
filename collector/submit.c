/* One request on its way through the sink. submit runs on a pool thread; the answer is sent from the thread of the log
 * that calls back, or by the timer when that is late. Bad events go first: if the second append is refused, the client
 * sends all again, and a bad event that stands in its log twice harms nobody. */
#include "collector/submit.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include "collector/ack.h"
#include "common/limits.h"
#include "common/log.h"

struct submitter {
    struct sink *sink;
    struct metrics *metrics;
    struct acks *acks;
    uint32_t partitions;
    bool durable;
    atomic_bool refusing; /* so that the log tells the change, not each request */
    struct log_limit refusing_limit, accepting_limit;
};

struct submission {
    struct ack ack;
    struct submitter *submitter; /* until settled */
    struct http_request *request;
    struct answer_fields fields;
    struct submit_answer answer;
    struct tally tally;
    _Atomic int64_t last[];
};

static unsigned retry_after(enum log_status why)
{
    switch (why) {
    case LOG_QUEUE_FULL:
        return 1;
    case LOG_DISK_FULL:
    case LOG_FAILED:
        return 5;
    default:
        return 2;
    }
}

static void tell_refusing(struct submitter *s, const char *why)
{
    if (!atomic_exchange(&s->refusing, true))
        log_limited(&s->refusing_limit, LOG_WARN, "collector: refusing events: %s", why);
}

static void tell_accepting(struct submitter *s)
{
    if (atomic_load_explicit(&s->refusing, memory_order_relaxed) && atomic_exchange(&s->refusing, false))
        log_limited(&s->accepting_limit, LOG_INFO, "collector: accepting events again");
}

static void unavailable(struct submitter *s, struct http_request *r, const struct answer_fields *f, uint32_t events,
                        const char *why, unsigned retry_s)
{
    metrics_refused(s->metrics, REASON_UNAVAILABLE, events);
    tell_refusing(s, why);
    answer_error(r, f, 503, "unavailable", why, retry_s);
}

void submit_refuse(struct submitter *s, struct http_request *r, const struct answer_fields *f, uint32_t events,
                   enum log_status why)
{
    if (why != LOG_TOO_LARGE) {
        unavailable(s, r, f, events, why == LOG_OK ? "out of memory" : log_status_text(why), retry_after(why));
        return;
    }
    metrics_refused(s->metrics, REASON_BODY_TOO_LARGE, events);
    answer_error(r, f, 413, "body_too_large", "the events of the request are more than fit on the log at once", 0);
}

static const char *ack_text(enum ack_outcome outcome)
{
    return outcome == ACK_DURABLE ? "durable" : outcome == ACK_SPOOLED ? "spooled" : "enqueued";
}

static void answer_accepted(struct submission *b, enum ack_outcome outcome, struct buf *position)
{
    int64_t *last = outcome == ACK_DURABLE ? calloc(b->ack.partitions, sizeof *last) : NULL;

    if (last) {
        for (uint32_t i = 0; i < b->ack.partitions; i++)
            last[i] = atomic_load_explicit(&b->last[i], memory_order_relaxed);
        answer_write_position(position, last, b->ack.partitions);
        free(last);
    }
    answer_add(&b->fields, "X-Waymark-Ack", ack_text(outcome));
    if (position->n > 0 && buf_add_char(position, '\0'))
        answer_add(&b->fields, "X-Waymark-Position", position->p);
    if (b->answer.body.n > 0)
        answer_send(b->request, &b->fields, b->answer.status, NULL, &b->answer.body);
    else
        answer_pixel(b->request, &b->fields);
}

static void settle(struct ack *a, enum ack_outcome outcome, enum log_status status)
{
    struct submission *b = (struct submission *)((char *)a - offsetof(struct submission, ack));
    struct submitter *s = b->submitter;

    if (outcome == ACK_LATE) {
        unavailable(s, b->request, &b->fields, tally_events(&b->tally), "the log did not confirm in time",
                    retry_after(status));
    } else if (outcome == ACK_REFUSED) {
        submit_refuse(s, b->request, &b->fields, tally_events(&b->tally), status);
    } else {
        struct buf position;
        buf_init(&position, LIMIT_PARTITIONS * 32);
        metrics_settled(s->metrics, &b->tally);
        tell_accepting(s);
        answer_accepted(b, outcome, &position);
        buf_deinit(&position);
    }
    buf_deinit(&b->answer.body);
    b->request = NULL;
    b->submitter = NULL;
}

static void release(struct ack *a)
{
    free((char *)a - offsetof(struct submission, ack));
}

struct submitter *submitter_new(const struct conf_collector *conf, struct sink *sink, uint32_t partitions,
                                struct metrics *metrics)
{
    const struct acks_options o = {LIMIT_ANSWER_MS, settle, release};
    struct submitter *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->sink = sink;
    s->metrics = metrics;
    s->partitions = partitions;
    s->durable = conf->ack_durable;
    s->acks = acks_new(&o);
    if (s->acks)
        return s;
    free(s);
    return NULL;
}

void submitter_stop(struct submitter *s, int64_t ms)
{
    acks_drain(s->acks, ms);
}

void submitter_free(struct submitter *s)
{
    if (!s)
        return;
    acks_free(s->acks);
    free(s);
}

static struct submission *new_submission(struct submitter *s, struct http_request *r, const struct answer_fields *f,
                                         const struct draft *d, struct submit_answer *answer)
{
    struct submission *b = malloc(sizeof *b + s->partitions * sizeof b->last[0]);

    if (!b)
        return NULL;
    b->ack = (struct ack){.partitions = s->partitions, .last = b->last};
    b->submitter = s;
    b->request = r;
    b->fields = *f;
    b->answer = *answer;
    b->tally = d->tally;
    *answer = (struct submit_answer){0};
    return b;
}

/* Appends one topic of the draft; the records of the other are `others`, which a refusal strikes too. */
static bool append(struct submitter *s, struct submission *b, struct draft *d, enum log_topic topic, uint32_t others)
{
    const struct log_record *records;
    void *const *args;
    uint32_t wanted = (uint32_t)d->lists[topic].n;

    if (wanted == 0)
        return true;
    size_t n = draft_records(d, topic, &b->ack, &records, &args);
    enum log_status status = LOG_QUEUE_FULL;
    if (n == wanted)
        status = sink_append(s->sink, topic, records, n, topic == LOG_BAD ? ack_bad_done : ack_event_done, args);
    if (status != LOG_OK)
        ack_refuse(&b->ack, status, wanted + others);
    return status == LOG_OK;
}

void submit(struct submitter *s, struct http_request *r, const struct answer_fields *f, struct draft *d,
            struct submit_answer *answer)
{
    uint32_t good = (uint32_t)d->lists[LOG_EVENTS].n, bad = (uint32_t)d->lists[LOG_BAD].n;
    struct submission *b = d->failed ? NULL : new_submission(s, r, f, d, answer);

    if (!b) {
        buf_deinit(&answer->body);
        submit_refuse(s, r, f, tally_events(&d->tally), LOG_OK);
        return;
    }
    if (!ack_open(s->acks, &b->ack, good + bad)) {
        buf_deinit(&b->answer.body);
        free(b);
        submit_refuse(s, r, f, tally_events(&d->tally), LOG_STOPPED);
        return;
    }
    /* From here on the request may be answered at any moment and is not touched. */
    if (append(s, b, d, LOG_BAD, good) && append(s, b, d, LOG_EVENTS, 0) && !s->durable)
        ack_enqueued(&b->ack);
    ack_close(&b->ack);
}
