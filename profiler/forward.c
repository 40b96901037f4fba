/* Calls to other profilers; the only file of this folder that knows libcurl. Everything but forward_send, which only
 * queues, runs on the forwarder's thread: it drives all transfers and calls back. The lock covers the queue and is not
 * held while libcurl or a caller works. */
#include "profiler/forward.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"

#define IDLE_TRANSFERS 64
#define CONNECTIONS_KEPT 256
#define REST_MS 60000
#define AUTHORIZATION_BYTES (LIMIT_HEAD + 32)

/* A call that libcurl has. */
struct transfer {
    struct forward *forward;
    struct forward_call *call; /* NULL: idle */
    CURL *easy;
    struct curl_slist *headers;
    size_t head_bytes;
    size_t counted;  /* of its body, in forward->bytes */
    const char *why; /* we ended it ourselves; else NULL */
    struct transfer *prev, *next;
};

struct forward {
    CURLM *multi;
    pthread_t thread;
    bool started;
    const char *ca; /* NULL: the system's */
    /* Only the thread's. */
    struct transfer *busy, *idle;
    unsigned idle_count;
    size_t bytes; /* of the bodies of all calls under way */
    int64_t look; /* monotonic ms: no deadline of `busy` is before it */

    pthread_mutex_t lock;
    struct forward_call *head, *tail; /* queued */
    unsigned under_way;               /* queued or with libcurl */
    bool closing;
};

/* --- what libcurl brings -------------------------------------------------------------------------------------- */

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;

    n *= size;
    if (t->call->headers)
        return n;
    if (t->forward->bytes + n > LIMIT_FORWARDED_BYTES)
        t->why = "the answers of other instances need more memory than they may have";
    else if (!buf_add(&t->call->body, p, n))
        t->why = "the answer is too large";
    if (t->why)
        return n + 1;
    t->counted += n;
    t->forward->bytes += n;
    return n;
}

static void take_field(const char *p, size_t n, const char *name, char *out, size_t size)
{
    size_t name_n = strlen(name);
    struct str value;

    if (n <= name_n || strncasecmp(p, name, name_n) != 0 || p[name_n] != ':')
        return;
    value = (struct str){p + name_n + 1, n - name_n - 1};
    while (value.n > 0 && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
        value.n--;
    value = str_trim(value);
    if (value.n < size)
        snprintf(out, size, "%.*s", STR_ARG(value));
}

/* A line of the head, the status line too. Of several heads (100, then 200) the last counts. */
static size_t take_head(char *p, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct forward_call *c = t->call;

    n *= size;
    t->head_bytes += n;
    if (t->head_bytes > LIMIT_HEAD) {
        t->why = "the head of the answer is too large";
        return n + 1;
    }
    if (n > 5 && memcmp(p, "HTTP/", 5) == 0)
        c->content_type[0] = c->instance[0] = '\0';
    take_field(p, n, "Content-Type", c->content_type, sizeof c->content_type);
    take_field(p, n, "X-Waymark-Instance", c->instance, sizeof c->instance);
    return n;
}

/* --- the end of a call ---------------------------------------------------------------------------------------- */

/* Counts it out first: `done` may send the next one. */
static void finish(struct forward *f, struct forward_call *c, unsigned status, const char *why)
{
    c->status = status;
    if (status == 0) {
        buf_reset(&c->body);
        buf_add_text(&c->body, why);
    }
    pthread_mutex_lock(&f->lock);
    assert(f->under_way > 0);
    f->under_way--;
    pthread_mutex_unlock(&f->lock);
    c->done(c);
}

static void transfer_free(struct transfer *t)
{
    curl_slist_free_all(t->headers);
    if (t->easy)
        curl_easy_cleanup(t->easy);
    free(t);
}

/* Takes it off libcurl; handles are kept for the next calls. */
static struct forward_call *let_go(struct transfer *t)
{
    struct forward *f = t->forward;
    struct forward_call *c = t->call;

    curl_multi_remove_handle(f->multi, t->easy);
    if (t->prev)
        t->prev->next = t->next;
    else
        f->busy = t->next;
    if (t->next)
        t->next->prev = t->prev;
    assert(f->bytes >= t->counted);
    f->bytes -= t->counted;
    t->call = NULL;
    if (f->idle_count >= IDLE_TRANSFERS) {
        transfer_free(t);
        return c;
    }
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    t->next = f->idle;
    f->idle = t;
    f->idle_count++;
    return c;
}

static void transfer_done(struct transfer *t, CURLcode code)
{
    struct forward *f = t->forward; /* let_go may free the transfer */
    long status = 0;
    const char *why = t->why ? t->why : code == CURLE_OK ? "no HTTP answer" : curl_easy_strerror(code);

    if (code == CURLE_OK)
        curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    bool answered = status >= 200 && status <= 599;
    finish(f, let_go(t), answered ? (unsigned)status : 0, why);
}

static void take_ended(struct forward *f)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(f->multi, &left))) {
        struct transfer *t = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
        assert(t && t->call);
        transfer_done(t, code);
    }
}

/* --- the begin of a call -------------------------------------------------------------------------------------- */

static struct transfer *transfer_get(struct forward *f)
{
    struct transfer *t = f->idle;

    if (t) {
        f->idle = t->next;
        f->idle_count--;
        curl_easy_reset(t->easy);
        return t;
    }
    t = calloc(1, sizeof *t);
    if (t)
        t->easy = curl_easy_init();
    if (t && t->easy)
        return t;
    free(t);
    return NULL;
}

static bool add_header(struct transfer *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);

    if (!more)
        return false;
    t->headers = more;
    return true;
}

/* A value that held the end of a line would be a header of its own, or a request. */
static bool safe_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' && s.p[i] != '\t')
            return false;
    return s.n < AUTHORIZATION_BYTES;
}

static bool add_own(struct transfer *t)
{
    const char *const *line = t->call->headers;

    while (*line && safe_value(str_of(*line)) && add_header(t, *line))
        line++;
    return !*line;
}

static bool set_headers(struct transfer *t)
{
    struct str authorization = t->call->authorization;
    char forwarded[48];
    struct buf line;

    snprintf(forwarded, sizeof forwarded, "X-Waymark-Forwarded: %s", t->call->request ? t->call->request : "1");
    buf_init(&line, AUTHORIZATION_BYTES + 32);
    buf_add_text(&line, "Authorization: ");
    buf_add_str(&line, authorization);
    buf_add_char(&line, '\0');
    bool ok = !line.failed && safe_value(authorization);
    ok = ok && (t->call->headers ? add_own(t) : add_header(t, forwarded));
    if (ok && str_has(authorization))
        ok = add_header(t, line.p);
    if (ok && str_has(t->call->post))
        ok = add_header(t, "Content-Type: application/json") && add_header(t, "Expect:");
    buf_deinit(&line);
    return ok;
}

/* Nothing of the environment or of the answer may lead a call elsewhere: it carries a token. */
static bool set_options(struct transfer *t)
{
    CURL *c = t->easy;
    bool ok = curl_easy_setopt(c, CURLOPT_URL, t->call->url) == CURLE_OK;

    ok = ok && curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
    if (str_has(t->call->post)) {
        ok = ok && curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->call->post.n) == CURLE_OK;
        ok = ok && curl_easy_setopt(c, CURLOPT_POSTFIELDS, t->call->post.p) == CURLE_OK;
    }
    ok = ok && curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    if (t->forward->ca) {
        ok = ok && curl_easy_setopt(c, CURLOPT_CAINFO, t->forward->ca) == CURLE_OK;
        ok = ok && curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    ok = ok && curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)LIMIT_ANSWER_BYTES) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_WRITEDATA, t) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_head) == CURLE_OK;
    ok = ok && curl_easy_setopt(c, CURLOPT_HEADERDATA, t) == CURLE_OK;
    return ok && curl_easy_setopt(c, CURLOPT_PRIVATE, t) == CURLE_OK;
}

/* Gives the call to libcurl, or ends it. */
static void begin(struct forward *f, struct forward_call *c)
{
    struct transfer *t = transfer_get(f);

    if (!t) {
        finish(f, c, 0, "out of memory");
        return;
    }
    *t = (struct transfer){.forward = f, .call = c, .easy = t->easy};
    if (!set_headers(t) || !set_options(t) || curl_multi_add_handle(f->multi, t->easy) != CURLM_OK) {
        transfer_free(t);
        finish(f, c, 0, "the call cannot be made");
        return;
    }
    t->next = f->busy;
    if (f->busy)
        f->busy->prev = t;
    f->busy = t;
    f->look = c->deadline < f->look ? c->deadline : f->look;
}

/* --- the thread ----------------------------------------------------------------------------------------------- */

/* Not left to libcurl, which forgets the time of a transfer that waits for a connection. Returns when to look again. */
static int64_t end_late(struct forward *f)
{
    int64_t now = clock_monotonic();
    struct transfer *t, *next;

    if (now >= f->look) {
        f->look = INT64_MAX;
        for (t = f->busy; t; t = next) {
            next = t->next;
            if (t->call->deadline <= now)
                finish(f, let_go(t), 0, "no answer in time");
            else if (t->call->deadline < f->look)
                f->look = t->call->deadline;
        }
    }
    return f->look - now < REST_MS ? f->look - now : REST_MS;
}

static struct forward_call *take_queue(struct forward *f, bool *closing)
{
    pthread_mutex_lock(&f->lock);
    struct forward_call *first = f->head;
    f->head = f->tail = NULL;
    *closing = f->closing;
    pthread_mutex_unlock(&f->lock);
    return first;
}

static void end_all(struct forward *f, struct forward_call *queued)
{
    static const char why[] = "this instance is stopping";

    while (f->busy)
        finish(f, let_go(f->busy), 0, why);
    while (queued) {
        struct forward_call *c = queued;
        queued = c->next;
        finish(f, c, 0, why);
    }
}

static void *thread_main(void *arg)
{
    static struct log_limit limit;
    struct forward *f = arg;
    bool closing;

    for (;;) {
        struct forward_call *c = take_queue(f, &closing);
        int running = 0;
        if (closing) {
            end_all(f, c);
            return NULL;
        }
        while (c) {
            struct forward_call *next = c->next;
            begin(f, c);
            c = next;
        }
        CURLMcode code = curl_multi_perform(f->multi, &running);
        take_ended(f);
        int64_t rest = end_late(f);
        if (code == CURLM_OK)
            code = curl_multi_poll(f->multi, NULL, 0, (int)rest, NULL);
        if (code != CURLM_OK) {
            log_limited(&limit, LOG_ERROR, "profiler: calls to other instances: %s", curl_multi_strerror(code));
            nanosleep(&(struct timespec){0, 10000000}, NULL);
        }
    }
}

/* --- any thread ----------------------------------------------------------------------------------------------- */

bool forward_send(struct forward *f, struct forward_call *c)
{
    assert(c->done && c->url);
    pthread_mutex_lock(&f->lock);
    bool taken = !f->closing && f->under_way < LIMIT_FORWARDS;
    if (taken) {
        c->status = 0;
        c->next = NULL;
        c->content_type[0] = c->instance[0] = '\0';
        buf_init(&c->body, LIMIT_ANSWER_BYTES);
        if (f->tail)
            f->tail->next = c;
        else
            f->head = c;
        f->tail = c;
        f->under_way++;
        curl_multi_wakeup(f->multi);
    }
    pthread_mutex_unlock(&f->lock);
    return taken;
}

int forward_start(struct forward **out, struct err *e)
{
    struct forward *f = calloc(1, sizeof *f);

    if (!f)
        return -ENOMEM;
    f->look = INT64_MAX;
    pthread_mutex_init(&f->lock, NULL);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
        f->multi = curl_multi_init();
    if (f->multi) {
        curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT);
        curl_multi_setopt(f->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
        f->started = pthread_create(&f->thread, NULL, thread_main, f) == 0;
    }
    if (!f->started) {
        err_set(e, "cannot start the calls to other instances");
        forward_free(f);
        return -EAGAIN;
    }
    *out = f;
    return 0;
}

void forward_trust(struct forward *f, const char *ca)
{
    assert(f->under_way == 0);
    f->ca = ca;
}

void forward_stop(struct forward *f)
{
    if (!f || !f->started)
        return;
    pthread_mutex_lock(&f->lock);
    f->closing = true;
    curl_multi_wakeup(f->multi);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    f->started = false;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    assert(!f->started && !f->busy && f->under_way == 0);
    while (f->idle) {
        struct transfer *t = f->idle;
        f->idle = t->next;
        transfer_free(t);
    }
    if (f->multi)
        curl_multi_cleanup(f->multi);
    pthread_mutex_destroy(&f->lock);
    free(f);
}
