/* Answers. The first ones are called on the pool threads, the senders also on the log's callback thread and the
 * timer's. */
#include "collector/answer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/json.h"
#include "common/limits.h"

static const unsigned char gif[] = {'G',  'I',  'F',  '8',  '9',  'a',  0x01, 0x00, 0x01, 0x00, 0xf0,
                                    0x00, 0x00, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x21, 0xf9, 0x04,
                                    0x05, 0x00, 0x00, 0x00, 0x00, 0x2c, 0x00, 0x00, 0x00, 0x00, 0x01,
                                    0x00, 0x01, 0x00, 0x00, 0x02, 0x02, 0x44, 0x01, 0x00, 0x3b};

void answer_begin(struct answer_fields *f, struct http_request *r)
{
    bool preflight = str_is(http_method(r), "OPTIONS");
    struct str wants = preflight ? http_header(r, "Access-Control-Request-Headers") : STR_NONE;

    f->n = origin_cors(http_header(r, "Origin"), preflight, wants, http_arena(r), f->at);
}

void answer_add(struct answer_fields *f, const char *name, const char *value)
{
    assert(f->n < ANSWER_FIELDS);
    f->at[f->n++] = (struct http_field){name, value};
}

void answer_send(struct http_request *r, const struct answer_fields *f, unsigned status, const char *type,
                 struct buf *body)
{
    struct http_answer a = {
        .status = status, .content_type = type, .fields = f->at, .field_count = f->n, .body_buf = body};

    http_answer_send(r, &a);
}

void answer_error(struct http_request *r, const struct answer_fields *f, unsigned status, const char *code,
                  const char *message, unsigned retry_s)
{
    struct answer_fields fields = *f;
    char retry[16];
    struct buf body;

    if (retry_s) {
        snprintf(retry, sizeof retry, "%u", retry_s);
        answer_add(&fields, "Retry-After", retry);
    }
    buf_init(&body, 4 * KIB);
    answer_write_error(&body, code, message);
    answer_send(r, &fields, status, NULL, &body);
    buf_deinit(&body);
}

void answer_pixel(struct http_request *r, const struct answer_fields *f)
{
    struct answer_fields fields = *f;

    answer_add(&fields, "Cache-Control", "no-cache, no-store, must-revalidate");
    struct http_answer a = {.status = 200,
                            .content_type = "image/gif",
                            .fields = fields.at,
                            .field_count = fields.n,
                            .body = {(const char *)gif, sizeof gif}};
    http_answer_send(r, &a);
}

void answer_write_error(struct buf *b, const char *code, const char *message)
{
    buf_add_text(b, "{\"code\":");
    json_write_str(b, str_of(code));
    buf_add_text(b, ",\"message\":");
    json_write_str(b, str_of(message));
    buf_add_char(b, '}');
}

void answer_write_rejected(struct buf *list, uint32_t index, const char *code, const char *message)
{
    buf_addf(list, "%s{\"index\":%" PRIu32 ",\"code\":\"%s\",\"message\":", list->n ? "," : "", index, code);
    json_write_str(list, str_of(message));
    buf_add_char(list, '}');
}

void answer_write_batch(struct buf *b, uint32_t accepted, struct str list)
{
    buf_addf(b, "{\"success\":true,\"accepted\":%" PRIu32 ",\"rejected\":[", accepted);
    buf_add_str(b, list);
    buf_add_text(b, "]}");
}

void answer_write_position(struct buf *b, const int64_t *last, uint32_t partitions)
{
    for (uint32_t i = 0; i < partitions; i++)
        if (last[i] >= 0)
            buf_addf(b, "%s%" PRIu32 ":%" PRId64, b->n ? "," : "", i, last[i]);
}
