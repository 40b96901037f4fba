/* Records gathered as offsets into one buffer, since it moves while it grows. Called on the pool threads. */
#include "collector/draft.h"

#include <stdlib.h>

#include "collector/answer.h"
#include "common/limits.h"

struct span {
    size_t key_at, key_n;
    size_t value_at, value_n;
};

void draft_init(struct draft *d)
{
    *d = (struct draft){0};
    buf_init(&d->bytes, LIMIT_LOG_QUEUE_BYTES);
    buf_init(&d->rejected, LIMIT_REJECTED_BYTES);
}

void draft_deinit(struct draft *d)
{
    buf_deinit(&d->bytes);
    buf_deinit(&d->rejected);
    for (int i = 0; i < LOG_TOPICS; i++)
        free(d->lists[i].spans);
    free(d->records);
    free(d->args);
    *d = (struct draft){0};
}

static bool is_large(const struct draft *d)
{
    size_t spans = 0;

    for (int i = 0; i < LOG_TOPICS; i++)
        spans += d->lists[i].cap * sizeof *d->lists[i].spans;
    return d->bytes.cap + d->rejected.cap + spans + d->record_cap * sizeof *d->records > LIMIT_KEPT_BYTES;
}

void draft_reset(struct draft *d)
{
    if (is_large(d)) {
        draft_deinit(d);
        draft_init(d);
        return;
    }
    buf_reset(&d->bytes);
    buf_reset(&d->rejected);
    for (int i = 0; i < LOG_TOPICS; i++)
        d->lists[i].n = 0;
    d->tally = (struct tally){0};
    d->failed = d->too_large = false;
}

/* Room for one more element; the capacity doubles. */
static bool grow(void **p, size_t *cap, size_t n, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap ? 2 * *cap : 16;
    void *q = realloc(*p, more * size);
    if (!q)
        return false;
    *p = q;
    *cap = more;
    return true;
}

/* Notes what lies in `bytes` from `at` on as a record whose key comes first. */
static void add_span(struct draft *d, enum log_topic topic, size_t at, size_t key_n)
{
    struct draft_list *l = &d->lists[topic];

    if (d->bytes.failed || !grow((void **)&l->spans, &l->cap, l->n, sizeof *l->spans)) {
        d->failed = true;
        d->too_large = d->bytes.n + LIMIT_RECORD_BYTES > d->bytes.max;
        return;
    }
    l->spans[l->n++] = (struct span){at, key_n, at + key_n, d->bytes.n - at - key_n};
}

void draft_event(struct draft *d, const struct event *e)
{
    size_t at = d->bytes.n;
    struct str key = event_log_key(e);

    buf_add_str(&d->bytes, key);
    event_pack(e, &d->bytes);
    add_span(d, LOG_EVENTS, at, key.n);
    d->tally.accepted++;
}

void draft_refused(struct draft *d, const struct bad_event *bad, const struct refusal *why)
{
    struct bad_event b = *bad;
    size_t at = d->bytes.n;

    b.code = str_of(why->code);
    b.message = str_of(why->message);
    buf_add_str(&d->bytes, b.source);
    bad_event_pack(&b, &d->bytes);
    add_span(d, LOG_BAD, at, b.source.n);
    d->tally.refused[reason_of(why->code)]++;
    d->last_refusal = *why;
    answer_write_rejected(&d->rejected, bad->position, why->code, why->message);
    if (d->rejected.failed)
        d->failed = true;
}

size_t draft_records(struct draft *d, enum log_topic topic, void *arg, const struct log_record **records,
                     void *const **args)
{
    const struct draft_list *l = &d->lists[topic];

    if (l->n > d->record_cap) {
        free(d->records);
        free(d->args);
        d->records = malloc(l->n * sizeof *d->records);
        d->args = malloc(l->n * sizeof *d->args);
        d->record_cap = d->records && d->args ? l->n : 0;
        if (!d->record_cap) {
            d->failed = true;
            return 0;
        }
    }
    int64_t now = clock_now();
    for (size_t i = 0; i < l->n; i++) {
        const struct span *s = &l->spans[i];
        d->records[i] = (struct log_record){.kind = topic == LOG_BAD ? LOG_KIND_BAD : LOG_KIND_EVENT,
                                            .key = {d->bytes.p + s->key_at, s->key_n},
                                            .value = {d->bytes.p + s->value_at, s->value_n},
                                            .time = now};
        d->args[i] = arg;
    }
    *records = d->records;
    *args = d->args;
    return l->n;
}
