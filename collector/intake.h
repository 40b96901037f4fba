/* What becomes of a request that brings events: its key, its body, its events one by one, and then the log. */
#ifndef WAYMARK_INTAKE_H
#define WAYMARK_INTAKE_H

#include "collector/answer.h"
#include "collector/guard.h"
#include "collector/metrics.h"
#include "collector/routes.h"
#include "collector/sink.h"
#include "common/conf.h"
#include "common/http.h"

struct intake;

/* All must outlive it. `partitions` of the events' topic. NULL when memory or threads are out. */
struct intake *intake_new(const struct conf *conf, struct sink *sink, uint32_t partitions, struct metrics *metrics,
                          struct guard *guard);
/* Answers within `ms` everything that was taken; what comes later is refused. */
void intake_stop(struct intake *in, int64_t ms);
/* After intake_stop and after the pool threads have ended. NULL is allowed. */
void intake_free(struct intake *in);

/* The greatest body that a request may have, from the key in its head: what is inside is only known afterwards. */
size_t intake_body_limit(struct intake *in, struct http_request *r);
/* POST on a route of events or of order logs. Takes the request. */
void intake_post(struct intake *in, struct http_request *r, const struct route *route, const struct answer_fields *f);
/* GET or HEAD of the pixel: HEAD is answered alike, but is no event. Takes the request. */
void intake_pixel(struct intake *in, struct http_request *r, const struct answer_fields *f);

#endif
