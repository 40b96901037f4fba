/* The commands' HTTP client: one kept-alive connection by libcurl. */
#include <curl/curl.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/tls.h"

#define POST_TIMEOUT_MS 10000
#define GREATEST_PAUSE_S 5

struct client {
    CURL *curl;
    char base[128];
    const struct conf_tls *tls;
    char pin[TLS_PIN_BYTES]; /* of the key that the server must have; "": certificates are checked instead */
    struct curl_slist *headers;
};

/* "0.0.0.0:8080" listens everywhere; a client on the same machine goes to loopback. */
static void base_url(const char *listen, const char *scheme, char *out, size_t n)
{
    const char *colon = strrchr(listen, ':');
    size_t host = colon ? (size_t)(colon - listen) : strlen(listen);

    if (strncmp(listen, "0.0.0.0:", 8) == 0)
        snprintf(out, n, "%s://127.0.0.1%s", scheme, colon);
    else if (strncmp(listen, "[::]:", 5) == 0)
        snprintf(out, n, "%s://[::1]%s", scheme, colon);
    else
        snprintf(out, n, "%s://%.*s%s", scheme, (int)host, listen, colon ? colon : "");
}

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a) + strlen(b) + 1;
    char *s = malloc(n);

    if (s)
        snprintf(s, n, "%s%s", a, b);
    return s;
}

char *client_basic(const char *key)
{
    char *plain = join(key, ":");
    size_t n = plain ? strlen(plain) : 0, size = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL);
    char *encoded = malloc(size), *header = NULL;

    if (plain && encoded) {
        sodium_bin2base64(encoded, size, (const unsigned char *)plain, n, sodium_base64_VARIANT_ORIGINAL);
        header = join("Basic ", encoded);
    }
    free(plain);
    free(encoded);
    return header;
}

char *client_bearer(const char *token)
{
    return join("Bearer ", token);
}

/* The key may have changed since, with the certificate. */
static void trust_own(struct client *c)
{
    if (tls_pin(c->tls->certificate, c->pin, NULL) != 0)
        return;
    curl_easy_setopt(c->curl, CURLOPT_PINNEDPUBLICKEY, c->pin);
    /* Who has the private key is who is meant; the address need not be one of the certificate's names. */
    curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(c->curl, CURLOPT_SSL_VERIFYHOST, 0L);
}

static void trust(struct client *c)
{
    const char *ca = getenv("WAYMARK_CA");

    if (ca && *ca) {
        curl_easy_setopt(c->curl, CURLOPT_CAINFO, ca);
        curl_easy_setopt(c->curl, CURLOPT_CAPATH, NULL);
    } else if (c->tls->certificate) {
        trust_own(c);
    }
}

struct client *client_new(const char *listen, const struct conf_tls *tls, const char *authorization)
{
    struct client *c = calloc(1, sizeof *c);
    char *header = authorization ? join("Authorization: ", authorization) : NULL;

    if (!c || !(c->curl = curl_easy_init())) {
        free(c);
        free(header);
        return NULL;
    }
    c->tls = tls;
    base_url(listen, tls->certificate ? "https" : "http", c->base, sizeof c->base);
    trust(c);
    c->headers = curl_slist_append(NULL, "Expect:");
    if (header)
        c->headers = curl_slist_append(c->headers, header);
    free(header);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(c->curl, CURLOPT_TCP_NODELAY, 1L);
    return c;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    curl_slist_free_all(c->headers);
    curl_easy_cleanup(c->curl);
    free(c);
}

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
    struct client_answer *a = arg;

    return buf_add(&a->body, p, size * n) ? size * n : 0;
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
    struct client_answer *a = arg;
    static const char position[] = "x-waymark-position:", retry[] = "retry-after:";
    size_t len = size * n;

    if (len > sizeof position && !strncasecmp(p, position, sizeof position - 1)) {
        char *v = p + sizeof position - 1;
        size_t m = len - (sizeof position - 1);
        while (m && (*v == ' ' || *v == '\t'))
            v++, m--;
        while (m && (v[m - 1] == '\r' || v[m - 1] == '\n'))
            m--;
        snprintf(a->position, sizeof a->position, "%.*s", (int)m, v);
    } else if (len > sizeof retry && !strncasecmp(p, retry, sizeof retry - 1)) {
        char text[16];
        snprintf(text, sizeof text, "%.*s", (int)(len - (sizeof retry - 1)), p + sizeof retry - 1);
        a->retry_after = strtol(text, NULL, 10);
    }
    return len;
}

void client_send(struct client *c, const char *method, const char *path, struct str body, long timeout_ms,
                 struct client_answer *out)
{
    char url[LIMIT_HEAD];

    if (!out->body.max)
        buf_init(&out->body, LIMIT_ANSWER_BYTES + JSON_PADDING);
    out->base = c->base;
    buf_reset(&out->body);
    out->status = 0;
    out->retry_after = 0;
    out->position[0] = out->error[0] = '\0';
    if ((size_t)snprintf(url, sizeof url, "%s%s", c->base, path) >= sizeof url) {
        snprintf(out->error, sizeof out->error, "the address is too long");
        return;
    }
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, out);
    curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, out);
    if (str_has(body)) {
        curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, body.p);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    } else {
        curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode code = curl_easy_perform(c->curl);
    if (code == CURLE_SSL_PINNEDPUBKEYNOTMATCH) {
        trust_own(c);
        code = curl_easy_perform(c->curl);
    }
    if (code != CURLE_OK)
        snprintf(out->error, sizeof out->error, "no answer from %s (is 'waymark serve' running?): %s", c->base,
                 curl_easy_strerror(code));
    else
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &out->status);
}

struct str client_problem(struct json_parser *p, struct client_answer *a)
{
    if (!a->status)
        return str_of(a->error);
    const struct json *message = json_get(client_json(p, a), "message");
    if (message && message->type == JSON_STRING && message->text.n)
        return message->text;
    snprintf(a->error, sizeof a->error, "%s answered %ld without a word; is that a waymark?", a->base, a->status);
    return str_of(a->error);
}

static void sleep_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

/* --- files ---------------------------------------------------------------------------------------------------- */

struct fetch {
    struct client *client;
    struct client_answer *answer;
    int fd;
    uint64_t from;
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
    bool failed; /* to be written; errno is kept in the answer's error */
};

/* What is no part of the file is kept as an answer. */
static size_t take_part(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *f = arg;
    size_t left = size * n;
    long status = 0;

    curl_easy_getinfo(f->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != (f->from ? 206 : 200))
        return buf_add(&f->answer->body, p, left) ? left : 0;
    while (left > 0) {
        ssize_t done = write(f->fd, p, left);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            snprintf(f->answer->error, sizeof f->answer->error, "the file cannot be written: %s", strerror(errno));
            f->failed = true;
            return 0;
        }
        p += done;
        left -= (size_t)done;
    }
    return size * n;
}

static int tell_progress(void *arg, curl_off_t total, curl_off_t done, curl_off_t up_total, curl_off_t up)
{
    struct fetch *f = arg;

    (void)up_total, (void)up;
    if (f->progress && total > 0)
        f->progress(f->arg, (uint64_t)done, (uint64_t)total);
    return 0;
}

/* A file takes its time; nothing at all for so long is too long. */
static void set_fetch(struct client *c, struct fetch *f, const char *url)
{
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CUSTOMREQUEST, "GET");
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, 0L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_TIME, 60L);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, take_part);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, f->answer);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, tell_progress);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
}

bool client_fetch(struct client *c, const char *path, int fd, uint64_t from,
                  void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg, struct client_answer *out)
{
    struct fetch f = {.client = c, .answer = out, .fd = fd, .from = from, .progress = progress, .arg = arg};
    char url[LIMIT_HEAD], range[32];

    if (!out->body.max)
        buf_init(&out->body, LIMIT_ANSWER_BYTES + JSON_PADDING);
    buf_reset(&out->body);
    out->base = c->base;
    out->status = 0;
    out->error[0] = '\0';
    snprintf(url, sizeof url, "%s%s", c->base, path);
    snprintf(range, sizeof range, "%llu-", (unsigned long long)from);
    set_fetch(c, &f, url);
    curl_easy_setopt(c->curl, CURLOPT_RANGE, from ? range : NULL);
    CURLcode code = curl_easy_perform(c->curl);
    curl_easy_setopt(c->curl, CURLOPT_RANGE, NULL);
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 1L);
    curl_easy_setopt(c->curl, CURLOPT_LOW_SPEED_LIMIT, 0L);
    if (code == CURLE_OK)
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &out->status);
    else if (!f.failed)
        snprintf(out->error, sizeof out->error, "no whole answer from %s: %s", c->base, curl_easy_strerror(code));
    return code == CURLE_OK && out->status == (from ? 206 : 200);
}

/* How long before the next try: what the collector says, within reason; else little, and more from try to try. */
static int64_t pause_ms(const struct client_answer *a, unsigned tries)
{
    if (a->retry_after > 0 && a->retry_after <= GREATEST_PAUSE_S)
        return a->retry_after * 1000;
    return tries < 10 ? 20 + 20 * (int64_t)tries : 250;
}

static bool is_passing(long status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

bool client_post(struct client *c, const char *path, struct str body, struct client_patience *p,
                 struct client_answer *out)
{
    for (unsigned tries = 0;; tries++) {
        p->requests++;
        p->retries += tries > 0;
        client_send(c, "POST", path, body, POST_TIMEOUT_MS, out);
        if (out->status == 200) {
            p->failing_since = 0;
            return true;
        }
        if (!is_passing(out->status)) {
            p->failing_since = 0;
            return false;
        }
        int64_t now = clock_monotonic();
        bool begins = p->failing_since == 0;
        if (begins)
            p->failing_since = now;
        if (now - p->failing_since >= p->limit_ms)
            return false;
        if (begins && !p->quiet)
            fprintf(stderr, "waymark: %s; trying on for %lld s\n", out->status ? "the collector is busy" : out->error,
                    (long long)(p->limit_ms / 1000));
        sleep_ms(pause_ms(out, tries));
    }
}

void client_answer_free(struct client_answer *a)
{
    buf_deinit(&a->body);
}

const struct json *client_json(struct json_parser *p, struct client_answer *a)
{
    const struct json *root = NULL;

    if (!buf_room(&a->body, JSON_PADDING))
        return NULL;
    return json_parse(p, a->body.p, a->body.n, &root, NULL) == JSON_OK ? root : NULL;
}
