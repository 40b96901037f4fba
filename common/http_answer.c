/* Answers: who gives one, and the hand-over to the thread that sends it. http_answer_send runs on any thread. */
#include <assert.h>
#include <stdio.h>
#include <unistd.h>

#include "common/http_internal.h"

static const char *code_of(unsigned status)
{
    switch (status) {
    case 413:
        return "body_too_large";
    case 431:
        return "head_too_large";
    case 503:
        return "unavailable";
    default:
        return "request_invalid";
    }
}

/* The counters are raised before the answer that they count is sent. */
static void count(struct http_request *r, unsigned status)
{
    const struct http_options *o = &r->server->o;

    if (o->done)
        o->done(r->route ? r->route : "other", status, http_request_seconds(r), o->arg);
}

void http_refuse(struct http_request *r, unsigned status, const char *message, bool common_fields)
{
    const struct http_options *o = &r->server->o;
    struct http_field fields[HTTP_FIELDS + 1];
    struct http_answer a = {.status = status, .fields = fields};
    char body[256];
    int n = snprintf(body, sizeof body, "{\"code\":\"%s\",\"message\":\"%s\"}", code_of(status), message);

    assert(n > 0 && (size_t)n < sizeof body);
    a.body = (struct str){body, (size_t)n};
    if (common_fields && o->common_fields)
        a.field_count = o->common_fields(r, fields, HTTP_FIELDS, o->arg);
    assert(a.field_count <= HTTP_FIELDS);
    if (status == 503)
        fields[a.field_count++] = (struct http_field){"Retry-After", "1"};
    http_mhd_make(r, &a);
    count(r, status);
}

static void leave_kept(struct http_request *r)
{
    struct http_server *s = r->server;

    pthread_mutex_lock(&s->lock);
    if (r->kept_prev)
        r->kept_prev->kept_next = r->kept_next;
    else
        s->kept = r->kept_next;
    if (r->kept_next)
        r->kept_next->kept_prev = r->kept_prev;
    pthread_mutex_unlock(&s->lock);
}

void http_hand_over(struct http_request *r)
{
    struct http_server *s = r->server;

    if (atomic_exchange(&r->state, HTTP_READY) == HTTP_HANDLING)
        return; /* its pool thread looks when the handler returns */
    leave_kept(r);
    http_mhd_queue(r);
    http_mhd_resume(r);
    atomic_fetch_sub(&s->handled, 1);
}

void http_answer_send(struct http_request *r, const struct http_answer *a)
{
    assert(r->magic == HTTP_REQUEST_MAGIC);
    if (atomic_exchange(&r->claimed, true)) {
        if (a->body_buf)
            buf_deinit(a->body_buf);
        if (a->file)
            close(a->file->fd);
    } else {
        http_mhd_make(r, a);
        count(r, a->status);
        http_hand_over(r);
    }
    http_request_unref(r);
}

bool http_keep(struct http_request *r)
{
    struct http_server *s = r->server;
    int expected = HTTP_HANDLING;

    pthread_mutex_lock(&s->lock);
    bool kept = atomic_compare_exchange_strong(&r->state, &expected, HTTP_KEPT);
    if (kept) {
        r->kept_prev = NULL;
        r->kept_next = s->kept;
        if (s->kept)
            s->kept->kept_prev = r;
        s->kept = r;
    }
    pthread_mutex_unlock(&s->lock);
    return kept;
}

/* One that nobody answers yet, claimed and with a reference; NULL when there is none. */
static struct http_request *claim_kept(struct http_server *s)
{
    struct http_request *r;

    pthread_mutex_lock(&s->lock);
    for (r = s->kept; r; r = r->kept_next) {
        if (!atomic_exchange(&r->claimed, true))
            break;
    }
    if (r)
        atomic_fetch_add(&r->refs, 1);
    pthread_mutex_unlock(&s->lock);
    return r;
}

void http_answer_kept(struct http_server *s)
{
    struct http_request *r;

    /* The handler may be using the request's arena: no common fields. */
    while ((r = claim_kept(s))) {
        http_refuse(r, 503, "the server is stopping", false);
        http_hand_over(r);
        http_request_unref(r);
    }
}
