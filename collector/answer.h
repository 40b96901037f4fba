/* Answers: JSON in one shape, the pixel, and the fields that each of them carries. */
#ifndef WAYMARK_ANSWER_H
#define WAYMARK_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "collector/origin.h"
#include "common/buf.h"
#include "common/http.h"

#define ANSWER_FIELDS (CORS_FIELDS + 5)

struct answer_fields {
    struct http_field at[ANSWER_FIELDS];
    size_t n;
};

/* The CORS fields that the request asks for. Values live in the request's arena: on the handler's thread only. */
void answer_begin(struct answer_fields *f, struct http_request *r);
/* `value` must live until the answer was sent. */
void answer_add(struct answer_fields *f, const char *name, const char *value);

/* These send and let go of the request. `type` NULL: JSON. `body` is taken. */
void answer_send(struct http_request *r, const struct answer_fields *f, unsigned status, const char *type,
                 struct buf *body);
/* {"code":…,"message":…}, with Retry-After unless `retry_s` is 0. */
void answer_error(struct http_request *r, const struct answer_fields *f, unsigned status, const char *code,
                  const char *message, unsigned retry_s);
/* A transparent GIF of one pixel that nobody keeps. */
void answer_pixel(struct http_request *r, const struct answer_fields *f);

/* Text of that shape. */
void answer_write_error(struct buf *b, const char *code, const char *message);
/* Adds to the list of rejected events, which begins empty. */
void answer_write_rejected(struct buf *list, uint32_t index, const char *code, const char *message);
/* {"success":true,"accepted":N,"rejected":[LIST]} */
void answer_write_batch(struct buf *b, uint32_t accepted, struct str list);
/* X-Waymark-Position: "0:812,3:1042" from the last offset of each partition (-1: none); empty when there is none. */
void answer_write_position(struct buf *b, const int64_t *last, uint32_t partitions);

#endif
