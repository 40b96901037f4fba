/* From a drafted request to its answer: appends to the log, and answers when everything is durable, or when it will
 * not be. */
#ifndef WAYMARK_SUBMIT_H
#define WAYMARK_SUBMIT_H

#include "collector/answer.h"
#include "collector/draft.h"
#include "collector/metrics.h"
#include "collector/sink.h"
#include "common/conf.h"
#include "common/http.h"

struct submitter;

/* What the request is told when all of it is durable; anything else is a 503. */
struct submit_answer {
    unsigned status;
    struct buf body; /* JSON, taken; empty: the pixel */
};

/* All must outlive it, but not what the sink calls back after submitter_stop. `partitions` of the events' topic. NULL
 * when memory or threads are out. */
struct submitter *submitter_new(const struct conf_collector *conf, struct sink *sink, uint32_t partitions,
                                struct metrics *metrics);
/* Answers everything: what is not durable within `ms` gets a 503, and so does what is submitted afterwards. */
void submitter_stop(struct submitter *s, int64_t ms);
/* After submitter_stop. NULL is allowed. */
void submitter_free(struct submitter *s);

/* Appends what `d` holds and answers in time, with the tally counted. Takes the request and the answer. `f` is copied;
 * its values must live as long as the request. */
void submit(struct submitter *s, struct http_request *r, const struct answer_fields *f, struct draft *d,
            struct submit_answer *answer);
/* Refuses `events` events that were read: 413 when `why` is LOG_TOO_LARGE, which no retry will change; else 503, for
 * want of a place to put them or (LOG_OK) of memory. */
void submit_refuse(struct submitter *s, struct http_request *r, const struct answer_fields *f, uint32_t events,
                   enum log_status why);

#endif
