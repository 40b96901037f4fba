/* Answers of the API, in one shape. Any thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "profiler/api_ask.h"

#define MOST_FIELDS 4

/* Another instance takes an answer for one only when it says who gave it: its address may be somebody else's by now. */
static size_t add_forwarded(const struct ask *ask, struct http_field *fields)
{
    const char *instance = ask->api->o.instance;
    size_t n = 0;

    if (!ask->forwarded)
        return 0;
    fields[n++] = (struct http_field){"X-Waymark-Instance", instance && instance[0] ? instance : "waymark"};
    return n;
}

/* `ask` may be NULL. */
static void send_error(struct http_request *r, struct ask *ask, unsigned status, const char *code, const char *allow,
                       const char *message)
{
    struct http_field fields[MOST_FIELDS];
    size_t n = ask ? add_forwarded(ask, fields) : 0;
    struct buf body;

    buf_init(&body, 4096);
    buf_add_char(&body, '{');
    json_write_member(&body, "code", str_of(code));
    json_write_member(&body, "message", str_of(message));
    buf_add_char(&body, '}');
    if (status == 503)
        fields[n++] = (struct http_field){"Retry-After", "1"};
    if (status == 401)
        fields[n++] = (struct http_field){"WWW-Authenticate", "Bearer"};
    if (allow)
        fields[n++] = (struct http_field){"Allow", allow};
    const struct http_answer answer = {.status = status, .fields = fields, .field_count = n, .body_buf = &body};
    if (ask)
        ask_send(ask, &answer);
    else
        http_answer_send(r, &answer);
    buf_deinit(&body);
}

void request_error(struct http_request *r, unsigned status, const char *code, const char *allow, const char *message)
{
    send_error(r, NULL, status, code, allow, message);
}

void ask_error(struct ask *ask, unsigned status, const char *code, const char *format, ...)
{
    char message[400];
    va_list ap;

    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    send_error(ask->request, ask, status, code, NULL, message);
}

void ask_broken(struct ask *ask, int r, const struct err *e)
{
    static struct log_limit limit;

    if (r == -EAGAIN || r == STATE_LINKED) {
        ask_again(ask);
        return;
    }
    if (r == -EBUSY) {
        ask_error(ask, 503, "unavailable", "other large look-ups are under way");
        return;
    }
    log_limited(&limit, LOG_ERROR, "profiler: a look-up failed (%d): %s", r, e->text);
    ask_error(ask, 503, "unavailable", "the profile cannot be read now");
}

void ask_answer(struct ask *ask, struct buf *body)
{
    if (body->failed) {
        ask_error(ask, 400, "parameter_invalid", "the answer would be over %zu MiB: ask for less",
                  LIMIT_ANSWER_BYTES / MIB);
        return;
    }
    ask_answer_status(ask, 200, body);
}

void ask_answer_status(struct ask *ask, unsigned status, struct buf *body)
{
    struct http_field fields[MOST_FIELDS];
    size_t n = add_forwarded(ask, fields);

    ask_send(ask, &(struct http_answer){.status = status, .fields = fields, .field_count = n, .body_buf = body});
}

void ask_pass_on(struct ask *ask, struct peer_call *c)
{
    struct http_field fields[MOST_FIELDS];
    size_t n = 0;

    if (c->call.status == 503)
        fields[n++] = (struct http_field){"Retry-After", "1"};
    if (c->call.status == 401)
        fields[n++] = (struct http_field){"WWW-Authenticate", "Bearer"};
    ask_send(ask, &(struct http_answer){.status = c->call.status,
                                        .content_type = c->call.content_type[0] ? c->call.content_type : NULL,
                                        .fields = fields,
                                        .field_count = n,
                                        .body_buf = &c->call.body});
}
