/* The collector's pure parts: routes, keys, client addresses, CORS, splitting a body, rate limits, waiting for acks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/ack.h"
#include "collector/answer.h"
#include "collector/auth.h"
#include "collector/origin.h"
#include "collector/ratelimit.h"
#include "collector/request.h"
#include "collector/routes.h"
#include "common/clock.h"
#include "common/limits.h"

static char *text_of(struct str s, char *out, size_t size)
{
    snprintf(out, size, "%.*s", STR_ARG(s));
    return out;
}

static void assert_str(struct str s, const char *want)
{
    char got[512];

    assert_string_equal(text_of(s, got, sizeof got), want ? want : "");
    assert_int_equal(str_has(s), want != NULL);
}

/* --- routes --- */

static void routes_are_found_on_the_raw_path(void **state)
{
    static const struct {
        const char *path, *label;
        int type;
    } rows[] = {
        {"/v1/batch", "/v1/batch", 0},
        {"/batch", "/v1/batch", 0},
        {"/v1/b", "/v1/batch", 0},
        {"/b", "/v1/batch", 0},
        {"/v1/import", "/v1/batch", 0},
        {"/v1/track", "/v1/track", EVENT_TRACK},
        {"/t", "/v1/track", EVENT_TRACK},
        {"/v1/i", "/v1/identify", EVENT_IDENTIFY},
        {"/v1/p", "/v1/page", EVENT_PAGE},
        {"/screen", "/v1/screen", EVENT_SCREEN},
        {"/v1/g", "/v1/group", EVENT_GROUP},
        {"/v1/alias", "/v1/alias", EVENT_ALIAS},
        {"/v1/orders", "/v1/orders", EVENT_ORDER},
        {"/v1/pixel.gif", "/v1/pixel.gif", 0},
        {"/m", "/v1/m", 0},
        {"/livez", "/livez", 0},
        {"/orders", NULL, 0},
        {"/v1/v1/batch", NULL, 0},
        {"/v1/livez", NULL, 0},
        {"/v1/batch/", NULL, 0},
        {"/v1/%62atch", NULL, 0},
        {"/v1%2Fbatch", NULL, 0},
        {"/V1/batch", NULL, 0},
        {"/v1", NULL, 0},
        {"/v1/", NULL, 0},
        {"/", NULL, 0},
        {"", NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct route *r = route_find(str_of(rows[i].path));
        assert_int_equal(r != NULL, rows[i].label != NULL);
        if (!r)
            continue;
        assert_string_equal(r->label, rows[i].label);
        assert_int_equal(r->type, rows[i].type);
    }
}

static void methods_belong_to_routes(void **state)
{
    const struct route *batch = route_find(STR_LIT("/v1/batch")), *pixel = route_find(STR_LIT("/v1/pixel.gif"));

    (void)state;
    assert_true(route_allows(batch, STR_LIT("POST")) && route_allows(batch, STR_LIT("OPTIONS")));
    assert_false(route_allows(batch, STR_LIT("GET")) || route_allows(batch, STR_LIT("post")));
    assert_string_equal(route_methods(batch), "POST, OPTIONS");
    assert_true(route_allows(pixel, STR_LIT("GET")) && route_allows(pixel, STR_LIT("HEAD")));
    assert_false(route_allows(pixel, STR_LIT("POST")) || route_allows(pixel, STR_LIT("DELETE")));
}

/* --- keys --- */

static void keys_are_read_from_authorization(void **state)
{
    static const struct {
        const char *header, *key;
    } rows[] = {
        {"Basic d2tfMTo=", "wk_1"},     /* wk_1: */
        {"basic d2tfMTpwYXNz", "wk_1"}, /* wk_1:pass */
        {"BASIC   d2tfMQ==", "wk_1"},   /* no colon */
        {"Basic d2tfMQ", "wk_1"},       /* nor padding */
        {"Basic d2s-Pzo", "wk>?"},      /* the alphabet of URLs */
        {"Basic d2s+Pzo=", "wk>?"},
        {"Basic Og==", ""},   /* : */
        {"Basic !!!", "!!!"}, /* no base64: some key, surely unknown */
        {"Bearer wk_1", "wk_1"},
        {"  bearer\twk_1  ", "wk_1"},
        {"Basic", NULL},
        {"Basic ", NULL},
        {"Digest abc", NULL},
        {"wk_1", NULL},
        {"", NULL},
        {NULL, NULL},
    };
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_str(auth_authorization(str_of(rows[i].header), &a), rows[i].key);
    arena_deinit(&a);
    assert_str(auth_x_write_key(STR_LIT("wk_1:secret")), "wk_1");
    assert_str(auth_x_write_key(STR_LIT(" wk_1 ")), "wk_1");
    assert_str(auth_x_write_key(STR_NONE), NULL);
}

static void fill_key(struct conf_key *k, enum conf_key_kind kind, const char *text)
{
    *k = (struct conf_key){.name = text, .source = text, .kind = kind};
    crypto_hash_sha256(k->sha256, (const unsigned char *)text, strlen(text));
}

static void the_first_known_key_counts(void **state)
{
    struct conf_key keys[2];
    const struct conf_collector conf = {.keys = keys, .key_count = 2};
    char longest[LIMIT_KEY_BYTES + 2];

    (void)state;
    fill_key(&keys[0], CONF_KEY_BEACON, "wk_1");
    fill_key(&keys[1], CONF_KEY_SERVER, "sk_1");

    struct auth a = {.conf = &conf};
    auth_offer(&a, STR_NONE);
    auth_offer(&a, STR_LIT(""));
    assert_false(a.given);
    auth_offer(&a, STR_LIT("wk_2"));
    assert_true(a.given && !a.key);
    auth_offer_public(&a, STR_LIT("sk_1")); /* anybody can read a query */
    assert_null(a.key);
    auth_offer(&a, STR_LIT("sk_1"));
    auth_offer(&a, STR_LIT("wk_1"));
    assert_ptr_equal(a.key, &keys[1]);

    a = (struct auth){.conf = &conf};
    memset(longest, 'x', sizeof longest);
    auth_offer(&a, (struct str){longest, sizeof longest});
    assert_true(a.given && !a.key);
    auth_offer_public(&a, STR_LIT("wk_1"));
    assert_ptr_equal(a.key, &keys[0]);
}

static void origins_of_a_key(void **state)
{
    const char *origins[] = {"https://shop.example", "https://www.shop.example"};
    const struct conf_key open = {0}, bound = {.origins = origins, .origin_count = 2};

    (void)state;
    assert_true(auth_origin_allowed(&open, STR_LIT("https://evil.example")));
    assert_true(auth_origin_allowed(&bound, STR_NONE));
    assert_true(auth_origin_allowed(&bound, STR_LIT("https://www.shop.example")));
    assert_false(auth_origin_allowed(&bound, STR_LIT("https://shop.example.evil")));
    assert_false(auth_origin_allowed(&bound, STR_LIT("https://shop.exampl")));
    assert_false(auth_origin_allowed(&bound, STR_LIT("null")));
    assert_false(auth_origin_allowed(&bound, STR_LIT("")));
}

/* --- addresses and CORS --- */

static void the_client_is_who_our_proxies_saw(void **state)
{
    static const struct {
        unsigned hops;
        const char *list, *want;
    } rows[] = {
        {0, "1.1.1.1", "9.9.9.9"}, /* anybody can write that */
        {1, NULL, "9.9.9.9"},
        {1, "", "9.9.9.9"},
        {1, "1.1.1.1", "1.1.1.1"},
        {1, "6.6.6.6, 1.1.1.1", "1.1.1.1"}, /* the first was forged */
        {2, "6.6.6.6, 1.1.1.1, 10.0.0.1", "1.1.1.1"},
        {2, "1.1.1.1,10.0.0.1", "1.1.1.1"},
        {3, "1.1.1.1, 10.0.0.1", "1.1.1.1"},
        {1, " 1.1.1.1 \t", "1.1.1.1"},
        {1, "1.1.1.1:4711", "1.1.1.1"},
        {1, "[2001:db8::1]:4711", "2001:db8::1"},
        {1, "[2001:db8::1]", "2001:db8::1"},
        {1, "2001:db8::1", "2001:db8::1"},
        {1, "::ffff:1.2.3.4", "::ffff:1.2.3.4"},
        {1, "unknown", "9.9.9.9"},
        {1, "1.1.1.1,", "9.9.9.9"},
        {1, "1.1.1.256", "9.9.9.9"},
        {1, "<script>", "9.9.9.9"},
        {1, ",,,", "9.9.9.9"},
        {2, "1.1.1.1, _hidden, 10.0.0.1", "9.9.9.9"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_str(origin_address(STR_LIT("9.9.9.9"), str_of(rows[i].list), rows[i].hops), rows[i].want);
}

static const char *field(const struct http_field *f, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].name, name) == 0)
            return f[i].value;
    return "";
}

static void cors_echoes_what_is_asked(void **state)
{
    struct http_field f[CORS_FIELDS];
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    size_t n = origin_cors(STR_LIT("https://shop.example"), true, STR_LIT("authorization,x-retry-count"), &a, f);
    assert_string_equal(field(f, n, "Access-Control-Allow-Origin"), "https://shop.example");
    assert_string_equal(field(f, n, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(field(f, n, "Access-Control-Allow-Headers"), "authorization,x-retry-count");
    assert_string_equal(field(f, n, "Access-Control-Allow-Methods"), "GET, POST, OPTIONS, HEAD");
    assert_string_equal(field(f, n, "Access-Control-Max-Age"), "86400");
    assert_string_equal(field(f, n, "Vary"), "Origin");

    n = origin_cors(STR_LIT("null"), false, STR_LIT("authorization"), &a, f);
    assert_string_equal(field(f, n, "Access-Control-Allow-Origin"), "null");
    assert_string_equal(field(f, n, "Access-Control-Expose-Headers"), "Retry-After, X-Waymark-Ack, X-Waymark-Position");
    assert_string_equal(field(f, n, "Access-Control-Allow-Headers"), "");

    n = origin_cors(STR_NONE, true, STR_LIT("authorization"), &a, f);
    assert_int_equal(n, 1);
    n = origin_cors(STR_LIT("https://x\r\nSet-Cookie: a"), true, STR_NONE, &a, f);
    assert_int_equal(n, 1);
    arena_deinit(&a);
}

static void loopback_addresses(void **state)
{
    (void)state;
    assert_true(origin_is_loopback("127.0.0.1:8080"));
    assert_true(origin_is_loopback("127.3.2.1:0"));
    assert_true(origin_is_loopback("[::1]:8080"));
    assert_true(origin_is_loopback("localhost:8080"));
    assert_false(origin_is_loopback("0.0.0.0:8080"));
    assert_false(origin_is_loopback("[::]:8080"));
    assert_false(origin_is_loopback("192.168.0.1:8080"));
    assert_false(origin_is_loopback("localhost.example:80"));
    assert_false(origin_is_loopback(":8080"));
}

/* --- answers --- */

static void positions_are_sorted_and_sparse(void **state)
{
    static const int64_t some[] = {812, -1, -1, 1042}, none[] = {-1, -1};
    struct buf b;

    (void)state;
    buf_init(&b, KIB);
    answer_write_position(&b, some, 4);
    assert_str(buf_str(&b), "0:812,3:1042");
    buf_reset(&b);
    answer_write_position(&b, none, 2);
    assert_int_equal(b.n, 0);
    buf_deinit(&b);
}

static void answers_are_json_whatever_is_in_them(void **state)
{
    struct buf list, b;

    (void)state;
    buf_init(&list, KIB);
    buf_init(&b, KIB);
    answer_write_batch(&b, 0, buf_str(&list));
    assert_str(buf_str(&b), "{\"success\":true,\"accepted\":0,\"rejected\":[]}");
    buf_reset(&b);
    answer_write_rejected(&list, 1, "id_missing", "no \"id\"\n");
    answer_write_rejected(&list, 7, "too_deep", "x");
    answer_write_batch(&b, 2, buf_str(&list));
    assert_str(buf_str(&b), "{\"success\":true,\"accepted\":2,\"rejected\":["
                            "{\"index\":1,\"code\":\"id_missing\",\"message\":\"no \\\"id\\\"\\n\"},"
                            "{\"index\":7,\"code\":\"too_deep\",\"message\":\"x\"}]}");
    buf_reset(&b);
    answer_write_error(&b, "json_invalid", "byte \x01");
    assert_str(buf_str(&b), "{\"code\":\"json_invalid\",\"message\":\"byte \\u0001\"}");
    buf_deinit(&list);
    buf_deinit(&b);
}

/* --- splitting --- */

/* A body with room behind it, opened, and its events as "index=bytes;", "!" for a line that cannot be read. */
static int split(const char *body, bool orders, uint32_t *count, char *out, size_t size, const char **first_key)
{
    static char key[64];
    struct json_parser *p = json_parser_new();
    struct request r;
    struct request_item item;
    struct err e;
    size_t n = strlen(body), at = 0;
    char *bytes = calloc(1, n + JSON_PADDING);

    memcpy(bytes, body, n);
    out[0] = '\0';
    int rc = request_open(&r, p, bytes, n, orders, &e);
    *count = r.count;
    if (rc == REQUEST_OK) {
        struct str k = request_text(r.top, "k");
        *first_key = text_of(str_has(k) ? k : request_text(r.first, "k"), key, sizeof key);
        while (request_next(&r, &item))
            at += (size_t)snprintf(out + at, size - at, "%u=%s%.*s;", item.index, item.value ? "" : "!",
                                   STR_ARG(item.bytes));
    }
    free(bytes);
    json_parser_free(p);
    return rc;
}

static void bodies_are_split(void **state)
{
    static const struct {
        const char *body;
        int rc;
        uint32_t count;
        const char *items, *key;
    } rows[] = {
        {"{\"a\":1,\"k\":\"K\"}", REQUEST_OK, 1, "0={\"a\":1,\"k\":\"K\"};", "K"},
        {"  {\"a\":1}\r\n\r\n", REQUEST_OK, 1, "0={\"a\":1};", ""},
        {"[]", REQUEST_OK, 0, "", ""},
        {"[1,{\"a\":[]},null]", REQUEST_OK, 3, "0=1;1={\"a\":[]};2=null;", ""},
        {"[{\"k\":\"F\"},{}]", REQUEST_OK, 2, "0={\"k\":\"F\"};1={};", "F"},
        {"{\"batch\":[{\"a\":1},2],\"k\":\"T\"}", REQUEST_OK, 2, "0={\"a\":1};1=2;", "T"},
        {"{\"batch\":[{\"k\":\"F\"}]}", REQUEST_OK, 1, "0={\"k\":\"F\"};", "F"},
        {"{\"batch\":[]}", REQUEST_OK, 0, "", ""},
        {"{\"batch\":{}}", REQUEST_NOT_EVENTS, 0, "", NULL},
        {"{\"batch\":null}", REQUEST_NOT_EVENTS, 0, "", NULL},
        {"7", REQUEST_NOT_EVENTS, 0, "", NULL},
        {"\"text\"", REQUEST_NOT_EVENTS, 0, "", NULL},
        {"null", REQUEST_NOT_EVENTS, 0, "", NULL},
        {"", REQUEST_NOT_JSON, 0, "", NULL},
        {" \n\t\r\n ", REQUEST_NOT_JSON, 0, "", NULL},
        {"{\"batch\":[", REQUEST_NOT_JSON, 0, "", NULL},
        {"{}{}", REQUEST_NOT_JSON, 0, "", NULL},
        {"{\"a\":1} x", REQUEST_NOT_JSON, 0, "", NULL},
        /* NDJSON */
        {"{\"k\":\"L\"}\n{\"b\":2}", REQUEST_OK, 2, "0={\"k\":\"L\"};1={\"b\":2};", "L"},
        {"\n{\"a\":1}\r\n\r\n \n{\"b\":2}\r\n\n", REQUEST_OK, 2, "0={\"a\":1};1={\"b\":2};", ""},
        {"{\"a\":1}\n{\"b\":\n{\"c\":3}\n", REQUEST_OK, 3, "0={\"a\":1};1=!{\"b\":;2={\"c\":3};", ""},
        {"{\"a\":1}\nrubbish\n{\"c\":3}", REQUEST_OK, 3, "0={\"a\":1};1=!rubbish;2={\"c\":3};", ""},
        {"{\"a\":1}\n7\n", REQUEST_OK, 2, "0={\"a\":1};1=7;", ""},
        {"{\"a\":\"x\n\n{\"c\":3}", REQUEST_OK, 2, "0=!{\"a\":\"x;1={\"c\":3};", ""},
        {"{\"a\" 1}\n{\"c\":3}", REQUEST_OK, 2, "0=!{\"a\" 1};1={\"c\":3};", ""},
        {"rubbish\nrubbish\n", REQUEST_NOT_JSON, 0, "", NULL},
        {"{\"a\" 1}\n{\"b\" 2}\n{\"c\":3}\n", REQUEST_NOT_JSON, 0, "", NULL},
        /* a document over several lines is none of it */
        {"{\n\"a\":1\n}\n", REQUEST_OK, 1, "0={\n\"a\":1\n};", ""},
        {"{\"a\":{}\n,\"b\":{}}", REQUEST_OK, 1, "0={\"a\":{}\n,\"b\":{}};", ""},
        {"[{\"a\":1},\n{\"b\":2}\n]", REQUEST_OK, 2, "0={\"a\":1};1={\"b\":2};", ""},
        {"[{\"a\":1},\n{\"b\":2}\n", REQUEST_NOT_JSON, 0, "", NULL},
        {"{\"batch\":[\n{\"a\":1}\n", REQUEST_NOT_JSON, 0, "", NULL},
        {"{\"batch\":\n[1]}", REQUEST_OK, 1, "0=1;", ""},
    };
    char items[512];
    const char *key;
    uint32_t count;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(split(rows[i].body, false, &count, items, sizeof items, &key), rows[i].rc);
        if (rows[i].rc != REQUEST_OK)
            continue;
        assert_int_equal(count, rows[i].count);
        assert_string_equal(items, rows[i].items);
        assert_string_equal(key, rows[i].key);
    }
}

static void an_order_may_have_a_batch(void **state)
{
    char items[512];
    const char *key;
    uint32_t count;

    (void)state;
    assert_int_equal(split("{\"orderId\":\"O\",\"batch\":\"B7\"}", true, &count, items, sizeof items, &key),
                     REQUEST_OK);
    assert_string_equal(items, "0={\"orderId\":\"O\",\"batch\":\"B7\"};");
    assert_int_equal(split("{\"batch\":[{},{}]}", true, &count, items, sizeof items, &key), REQUEST_OK);
    assert_int_equal(count, 2);
}

/* --- rate limit --- */

static void a_bucket_holds_a_second(void **state)
{
    struct ratelimit *l = ratelimit_new(100, 2);

    (void)state;
    assert_int_equal(ratelimit_take(l, 0, 100, 1000), 0);
    assert_int_equal(ratelimit_take(l, 0, 1, 1000), 1);
    assert_int_equal(ratelimit_take(l, 1, 100, 1000), 0); /* another key */
    assert_int_equal(ratelimit_take(l, 0, 1, 1009), 1);
    assert_int_equal(ratelimit_take(l, 0, 1, 1010), 0);
    assert_int_equal(ratelimit_take(l, 0, 100, 2010), 0);
    /* larger than the bucket: taken when it is full, then paid off */
    assert_int_equal(ratelimit_take(l, 1, 1000, 5000), 0);
    assert_int_equal(ratelimit_take(l, 1, 1, 5000), 10);
    assert_int_equal(ratelimit_take(l, 1, 100, 5000), 10);
    assert_int_equal(ratelimit_take(l, 1, 1, 14010), 0);
    assert_int_equal(ratelimit_take(l, 1, 50000, 100000), 0);
    assert_int_equal(ratelimit_take(l, 1, 1, 100000), LIMIT_RETRY_AFTER_S);
    assert_int_equal(ratelimit_take(l, 0, 0, 2010), 0);
    ratelimit_free(l);
}

/* --- acks --- */

struct waiting {
    struct ack ack;
    _Atomic int64_t last[4];
    int outcome, status;
};

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t seen_changed = PTHREAD_COND_INITIALIZER;
static int settled, released;

static void note_settled(struct ack *a, enum ack_outcome outcome, enum log_status status)
{
    struct waiting *w = (struct waiting *)a;

    pthread_mutex_lock(&seen_lock);
    w->outcome = (int)outcome;
    w->status = (int)status;
    settled++;
    pthread_cond_broadcast(&seen_changed);
    pthread_mutex_unlock(&seen_lock);
}

static void note_released(struct ack *a)
{
    (void)a;
    pthread_mutex_lock(&seen_lock);
    released++;
    pthread_mutex_unlock(&seen_lock);
}

static void open_waiting(struct acks *s, struct waiting *w, uint32_t records)
{
    *w = (struct waiting){.outcome = -1};
    w->ack.last = w->last;
    w->ack.partitions = 4;
    settled = released = 0;
    assert_true(ack_open(s, &w->ack, records));
}

static void an_ack_waits_for_all_its_records(void **state)
{
    struct acks *s = acks_new(&(struct acks_options){60000, note_settled, note_released});
    struct waiting w;

    (void)state;
    open_waiting(s, &w, 4);
    ack_event_done(&w, LOG_OK, 3, 10);
    ack_event_done(&w, LOG_OK, 3, 9);
    ack_bad_done(&w, LOG_OK, 0, 77);
    ack_close(&w.ack);
    assert_int_equal(settled, 0);
    ack_event_done(&w, LOG_OK, 1, 5);
    assert_int_equal(settled, 1);
    assert_int_equal(w.outcome, ACK_DURABLE);
    assert_int_equal(released, 1);
    assert_int_equal(w.last[0], -1);
    assert_int_equal(w.last[1], 5);
    assert_int_equal(w.last[3], 10);

    open_waiting(s, &w, 0); /* nothing to wait for */
    ack_close(&w.ack);
    assert_int_equal(w.outcome, ACK_DURABLE);

    open_waiting(s, &w, 2); /* one failed: all is refused */
    ack_close(&w.ack);
    ack_event_done(&w, LOG_FAILED, 0, -1);
    ack_event_done(&w, LOG_OK, 0, 1);
    assert_int_equal(w.outcome, ACK_REFUSED);
    assert_int_equal(w.status, LOG_FAILED);
    assert_int_equal(released, 1);

    acks_drain(s, 0);
    assert_false(ack_open(s, &w.ack, 1));
    acks_free(s);
}

static void an_append_that_is_refused_settles_at_once(void **state)
{
    struct acks *s = acks_new(&(struct acks_options){60000, note_settled, note_released});
    struct waiting w;

    (void)state;
    open_waiting(s, &w, 3); /* two bad ones are under way, the event is not taken */
    ack_refuse(&w.ack, LOG_DISK_FULL, 1);
    assert_int_equal(w.outcome, ACK_REFUSED);
    assert_int_equal(w.status, LOG_DISK_FULL);
    ack_close(&w.ack);
    ack_bad_done(&w, LOG_OK, 0, 1);
    assert_int_equal(released, 0);
    ack_bad_done(&w, LOG_OK, 0, 2);
    assert_int_equal(settled, 1);
    assert_int_equal(released, 1);

    open_waiting(s, &w, 1);
    ack_enqueued(&w.ack);
    assert_int_equal(w.outcome, ACK_ENQUEUED);
    ack_close(&w.ack);
    ack_event_done(&w, LOG_OK, 0, 1);
    assert_int_equal(settled, 1);
    assert_int_equal(released, 1);
    acks_drain(s, 0);
    acks_free(s);
}

static void a_late_ack_is_settled_by_the_timer(void **state)
{
    struct acks *s = acks_new(&(struct acks_options){20, note_settled, note_released});
    struct waiting w;
    struct timespec until;

    (void)state;
    open_waiting(s, &w, 1);
    ack_close(&w.ack);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&seen_lock);
    while (!settled)
        assert_int_equal(pthread_cond_timedwait(&seen_changed, &seen_lock, &until), 0);
    pthread_mutex_unlock(&seen_lock);
    assert_int_equal(w.outcome, ACK_LATE);
    acks_drain(s, 0);
    acks_free(s);
    assert_int_equal(released, 0); /* the log may still call, even when all else is gone */
    ack_event_done(&w, LOG_OK, 0, 1);
    assert_int_equal(settled, 1);
    assert_int_equal(released, 1);
}

static void a_drain_answers_what_is_left(void **state)
{
    struct acks *s = acks_new(&(struct acks_options){60000, note_settled, note_released});
    struct waiting w;

    (void)state;
    open_waiting(s, &w, 1);
    ack_close(&w.ack);
    acks_drain(s, 10);
    assert_int_equal(w.outcome, ACK_LATE);
    acks_free(s);
    ack_event_done(&w, LOG_STOPPED, 0, -1);
    assert_int_equal(released, 1);
}

/* Many requests, answered by two threads of a log while the timer runs: each exactly once. */
#define RACERS 4000

static struct waiting racers[RACERS];

static void *confirm(void *arg)
{
    for (int i = *(int *)arg; i < RACERS; i += 2)
        ack_event_done(&racers[i], LOG_OK, 0, i);
    return NULL;
}

static void each_is_settled_and_freed_once(void **state)
{
    struct acks *s = acks_new(&(struct acks_options){1, note_settled, note_released});
    pthread_t threads[2];
    int starts[2] = {0, 1};

    (void)state;
    settled = released = 0;
    for (int i = 0; i < RACERS; i++) {
        racers[i].ack.last = racers[i].last;
        racers[i].ack.partitions = 4;
        assert_true(ack_open(s, &racers[i].ack, 1));
        ack_close(&racers[i].ack);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, confirm, &starts[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    acks_drain(s, 10000);
    acks_free(s);
    assert_int_equal(settled, RACERS);
    assert_int_equal(released, RACERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_are_found_on_the_raw_path),
        cmocka_unit_test(methods_belong_to_routes),
        cmocka_unit_test(keys_are_read_from_authorization),
        cmocka_unit_test(the_first_known_key_counts),
        cmocka_unit_test(origins_of_a_key),
        cmocka_unit_test(the_client_is_who_our_proxies_saw),
        cmocka_unit_test(cors_echoes_what_is_asked),
        cmocka_unit_test(loopback_addresses),
        cmocka_unit_test(positions_are_sorted_and_sparse),
        cmocka_unit_test(answers_are_json_whatever_is_in_them),
        cmocka_unit_test(bodies_are_split),
        cmocka_unit_test(an_order_may_have_a_batch),
        cmocka_unit_test(a_bucket_holds_a_second),
        cmocka_unit_test(an_ack_waits_for_all_its_records),
        cmocka_unit_test(an_append_that_is_refused_settles_at_once),
        cmocka_unit_test(a_late_ack_is_settled_by_the_timer),
        cmocka_unit_test(a_drain_answers_what_is_left),
        cmocka_unit_test(each_is_settled_and_freed_once),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
