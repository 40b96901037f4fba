/* Serving: what well-behaved clients do, and the odd ones; all on raw sockets. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/raw_http.h"

#include "tests/support/http_shop.h"

#include "common/http_internal.h"

static struct shop shop;

static int start(void **state)
{
    (void)state;
    shop_start(&shop, 0, 0, 0);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    shop_stop(&shop, 1000);
    assert_int_equal(shop.kept_count, 0);
    return 0;
}

static void expect_reply(int fd, int status, const char *body)
{
    struct raw_reply r;

    raw_reply(fd, &r, false);
    assert_int_equal(r.status, status);
    if (body)
        assert_string_equal(r.body, body);
    raw_free(&r);
}

static void post(int fd, const char *path, const char *body)
{
    assert_true(
        raw_sendf(fd, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", path, strlen(body), body));
}

static void keep_alive(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    for (int i = 0; i < 20; i++) {
        post(fd, i % 2 ? "/echo" : "/later", "hello");
        expect_reply(fd, 200, "hello");
        post(fd, "/echo", "");
        expect_reply(fd, 200, "");
    }
    assert_int_equal(shop.done[200], 40);
    assert_int_equal(shop.done_labelled, 40);
    close(fd);
}

static void pipelined(void **state)
{
    int fd = raw_connect(shop.port);
    char want[32];

    (void)state;
    for (int i = 0; i < 50; i++) {
        snprintf(want, sizeof want, "n%d", i);
        post(fd, i % 3 == 0 ? "/later" : "/echo", want);
        assert_true(raw_sendf(fd, "GET /info?n=%d HTTP/1.1\r\nHost: x\r\n\r\n", i));
    }
    for (int i = 0; i < 50; i++) {
        snprintf(want, sizeof want, "n%d", i);
        expect_reply(fd, 200, want);
        snprintf(want, sizeof want, "[n=%d]", i);
        struct raw_reply r;
        raw_reply(fd, &r, false);
        assert_non_null(strstr(r.body, want));
        raw_free(&r);
    }
    close(fd);
}

static void head_request(void **state)
{
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(raw_text(fd, "HEAD /info HTTP/1.1\r\nHost: x\r\n\r\n"));
        raw_reply(fd, &r, true);
        assert_int_equal(r.status, 200);
        assert_true(strtol(raw_field(&r, "Content-Length"), NULL, 10) > 5);
        raw_free(&r);
    }
    assert_true(raw_text(fd, "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n"));
    raw_reply(fd, &r, false);
    assert_int_equal(r.status, 204);
    assert_null(raw_field(&r, "Content-Type"));
    raw_free(&r);
    close(fd);
}

static void old_version(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    assert_true(raw_text(fd, "GET /info HTTP/1.0\r\n\r\n"));
    expect_reply(fd, 200, NULL);
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    close(fd);
    fd = raw_connect(shop.port);
    assert_true(raw_text(fd, "GET /info HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    expect_reply(fd, 200, NULL);
    post(fd, "/later", "again");
    expect_reply(fd, 200, "again");
    close(fd);
}

static void expect_continue(void **state)
{
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    assert_true(raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"));
    assert_true(raw_read_head(fd, &r));
    assert_int_equal(r.status, 100);
    assert_true(raw_text(fd, "abc"));
    expect_reply(fd, 200, "abc");
    assert_true(
        raw_text(fd, "POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"));
    expect_reply(fd, 413, NULL);
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    close(fd);
}

static void target_is_raw(void **state)
{
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    assert_true(raw_text(fd, "GET /info/a%2Fb%00c%zz?a=1+2%263&&b&%E4%B8%AD==x%&a=%00%2 HTTP/1.1\r\nHost: x\r\n"
                             "X-Test: v\r\n\r\n"));
    raw_reply(fd, &r, false);
    static const char want[] =
        "GET /info/a%2Fb%00c%zz peer=127.0.0.1 x=v fresh=1 [a=1 2&3] [b=] [\xe4\xb8\xad==x%] [a=";
    assert_int_equal(r.status, 200);
    assert_memory_equal(r.body, want, sizeof want - 1);
    assert_int_equal(r.n, sizeof want - 1 + 4);
    assert_memory_equal(r.body + sizeof want - 1, "\0%2]", 4);
    raw_free(&r);
    close(fd);
}

static void absolute_target(void **state)
{
    static const char *const targets[][2] = {
        {"http://shop.example/info?a=b", "GET /info peer=127.0.0.1 x= fresh=1 [a=b]"},
        {"https://shop.example:1/info", "GET /info peer=127.0.0.1 x= fresh=1"},
        {"http://shop.example", ""}};
    int fd = raw_connect(shop.port);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_true(raw_sendf(fd, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", targets[i][0]));
        expect_reply(fd, 200, targets[i][1]);
    }
    assert_true(raw_text(fd, "CONNECT shop.example:80 HTTP/1.1\r\nHost: x\r\n\r\n"));
    expect_reply(fd, 400, "{\"code\":\"request_invalid\",\"message\":\"the target is no path\"}");
    close(fd);
}

/* What a proxy adds in a line of its own stands behind what the client wrote. */
static void joined_headers(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    assert_true(raw_text(fd, "GET /info HTTP/1.1\r\nX-Test: 1\r\nHost: x\r\nx-test:\r\nY: z\r\nX-TEST: 3\r\n\r\n"));
    expect_reply(fd, 200, "GET /info peer=127.0.0.1 x=1, , 3 fresh=1");
    close(fd);
}

/* The client has said all that it will say, and still listens. */
static void half_closed(void **state)
{
    static const char *const paths[] = {"/echo", "/later"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int fd = raw_connect(shop.port);
        post(fd, paths[i], "half");
        shutdown(fd, SHUT_WR);
        expect_reply(fd, 200, "half");
        assert_true(raw_ends(fd, RAW_LIMIT_MS));
        close(fd);
    }
}

static void too_many_parameters(void **state)
{
    int fd = raw_connect(shop.port);
    char query[4 * 300 + 1];

    (void)state;
    for (int i = 0; i < 300; i++)
        memcpy(query + 4 * (size_t)i, "a=1&", 5);
    query[4 * LIMIT_QUERY_PARAMETERS - 1] = '\0';
    assert_true(raw_sendf(fd, "GET /info?%s HTTP/1.1\r\nHost: x\r\n\r\n", query));
    expect_reply(fd, 200, NULL);
    query[4 * LIMIT_QUERY_PARAMETERS - 1] = '&';
    assert_true(raw_sendf(fd, "GET /info?%s HTTP/1.1\r\nHost: x\r\n\r\n", query));
    expect_reply(fd, 400, "{\"code\":\"request_invalid\",\"message\":\"too many query parameters\"}");
    close(fd);
}

/* Whatever stands in front of us may see the second request elsewhere: it must never be served. */
static void smuggling(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 50\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Host: y\r\nContent-Length: 5\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        int fd = raw_connect(shop.port);
        struct raw_reply r;
        raw_sendf(fd,
                  "POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: o\r\n%s\r\n0\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
                  heads[i]);
        raw_reply(fd, &r, false);
        assert_int_equal(r.status, 400);
        assert_non_null(strstr(r.body, "{\"code\":\"request_invalid\",\"message\":\""));
        assert_string_equal(raw_field(&r, "Content-Type"), "application/json");
        assert_string_equal(raw_field(&r, "Connection"), "close");
        assert_string_equal(raw_field(&r, "Access-Control-Allow-Origin"), "*");
        raw_free(&r);
        assert_int_equal(raw_status(fd), 0);
        close(fd);
        assert_int_equal(shop.done[400], i + 1);
    }
    assert_int_equal(shop.handled, 0);
}

/* These libmicrohttpd answers, or ends the connection; no handler sees them. */
static void broken_http(void **state)
{
    static const char *const requests[] = {
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdefgh\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n",
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/3.7\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\x02\x01\x01\r\n\r\n",
        "GET\r\n\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        int fd = raw_connect(shop.port);
        raw_text(fd, requests[i]);
        shutdown(fd, SHUT_WR);
        assert_int_not_equal(raw_status(fd), 200);
        assert_true(raw_ends(fd, RAW_LIMIT_MS));
        close(fd);
    }
    assert_int_equal(shop.handled, 0);
}

static void chunked(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(
            raw_text(fd, "POST /later HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n"));
        assert_true(raw_text(fd, "6;a=b\r\n world\r\n0\r\nTrailer: x\r\n\r\n"));
        expect_reply(fd, 200, "hello world");
    }
    close(fd);
}

static void send_chunks(int fd, size_t total)
{
    static char piece[65536 + 16];
    int n = snprintf(piece, sizeof piece, "10000\r\n");

    memset(piece + n, 'a', 65536);
    memcpy(piece + n + 65536, "\r\n", 2);
    for (size_t sent = 0; sent < total; sent += 65536) {
        if (!raw_send(fd, piece, (size_t)n + 65538))
            return;
    }
    raw_text(fd, "0\r\n\r\n");
}

static void whole_body_at_the_bound(void **state)
{
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    assert_true(raw_text(fd, "POST /later HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    send_chunks(fd, LIMIT_BODY_BEACON);
    raw_reply(fd, &r, false);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.n, LIMIT_BODY_BEACON);
    raw_free(&r);
    close(fd);
}

static void too_large_in_mid_upload(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    assert_true(raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    send_chunks(fd, LIMIT_BODY_BEACON + 65536);
    expect_reply(fd, 413, "{\"code\":\"body_too_large\",\"message\":\"the body is too large\"}");
    post(fd, "/echo", "still there");
    expect_reply(fd, 200, "still there");
    assert_true(raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    send_chunks(fd, LIMIT_DRAIN_BYTES + LIMIT_BODY_BEACON + 65536);
    assert_int_equal(raw_status(fd), 0);
    assert_true(atomic_load(&shop.server->body_bytes) <= LIMIT_BODY_BEACON);
    close(fd);
}

/* The answer comes before the body, and is not lost to a reset although the client goes on sending. */
static void too_large_early(void **state)
{
    static char piece[65536];
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    assert_true(raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: o\r\nContent-Length: 33554432\r\n\r\n"));
    assert_int_equal(raw_wait(fd, RAW_LIMIT_MS), 1);
    for (int i = 0; i < 512; i++)
        assert_true(raw_send(fd, piece, sizeof piece));
    raw_reply(fd, &r, false);
    assert_int_equal(r.status, 413);
    assert_string_equal(r.body, "{\"code\":\"body_too_large\",\"message\":\"the body is too large\"}");
    assert_string_equal(raw_field(&r, "Connection"), "close");
    assert_string_equal(raw_field(&r, "Access-Control-Allow-Origin"), "*");
    raw_free(&r);
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    close(fd);
    assert_int_equal(shop.handled, 0);
    assert_int_equal(shop.done[413], 1);
}

/* Up to the bound taken, a little over it answered; far over it libmicrohttpd has no memory left for an answer. */
static void large_heads(void **state)
{
    static char value[LIMIT_HEAD + 65536];
    static const struct {
        size_t n;
        int status, or ;
    } cases[] = {{100, 200, 200}, {LIMIT_HEAD - 100, 200, 200}, {LIMIT_HEAD, 431, 431}, {LIMIT_HEAD + 60000, 431, 0}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int in_target = 0; in_target < 2; in_target++) {
            int status, fd = raw_connect(shop.port);
            memset(value, 'v', cases[i].n);
            value[cases[i].n] = '\0';
            raw_sendf(fd,
                      in_target ? "GET /info?%s HTTP/1.1\r\nHost: x\r\n\r\n"
                                : "GET /info HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n",
                      value);
            status = raw_status(fd);
            assert_true(status == cases[i].status || status == cases[i].or || (in_target && i > 2 && status == 414));
            close(fd);
        }
    }
    assert_int_equal(shop.handled, 4);
}

static void many_headers(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "GET /info HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < 900; i++)
        raw_sendf(fd, "X-%d: some value or other\r\n", i);
    raw_text(fd, "X-Test: found\r\n\r\n");
    struct raw_reply r;
    raw_reply(fd, &r, false);
    assert_true(r.status == 200 || r.status == 431);
    if (r.status == 200)
        assert_non_null(strstr(r.body, "x=found"));
    raw_free(&r);
    close(fd);
}

static void no_header_injection(void **state)
{
    int fd = raw_connect(shop.port);
    struct raw_reply r;

    (void)state;
    assert_true(raw_text(fd, "GET /fields HTTP/1.1\r\nHost: x\r\n\r\n"));
    raw_reply(fd, &r, false);
    assert_int_equal(r.status, 200);
    assert_null(strstr(r.head, "Injected"));
    assert_string_equal(raw_field(&r, "X-Good"), "1");
    assert_string_equal(raw_field(&r, "X-Last"), "2");
    raw_free(&r);
    close(fd);
}

static void too_many_connections(void **state)
{
    int fds[4], extra, busy[16];

    (void)state;
    shop.server->max_connections = 4;
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_connect(shop.port);
        post(fds[i], "/echo", "a");
        expect_reply(fds[i], 200, "a");
    }
    extra = raw_connect(shop.port);
    struct raw_reply r;
    post(extra, "/echo", "b");
    raw_reply(extra, &r, false);
    assert_int_equal(r.status, 503);
    assert_string_equal(raw_field(&r, "Retry-After"), "1");
    assert_non_null(strstr(r.body, "\"unavailable\""));
    raw_free(&r);
    close(extra);
    for (int i = 0; i < 16; i++)
        busy[i] = raw_connect(shop.port);
    for (int i = 0; i < 16; i++) { /* refused or dropped, never hanging */
        raw_text(busy[i], "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
        int status = raw_status(busy[i]);
        assert_true(status == 503 || status == 0);
        close(busy[i]);
    }
    post(fds[0], "/echo", "c");
    expect_reply(fds[0], 200, "c");
    for (int i = 0; i < 4; i++)
        close(fds[i]);
}

static void too_many_bodies(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    atomic_fetch_add(&shop.server->body_bytes, LIMIT_BODIES_BYTES);
    post(fd, "/echo", "a");
    expect_reply(fd, 503, "{\"code\":\"unavailable\",\"message\":\"too many bodies\"}");
    close(fd);
    fd = raw_connect(shop.port);
    assert_true(raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
    send_chunks(fd, 200000);
    expect_reply(fd, 503, NULL);
    atomic_fetch_sub(&shop.server->body_bytes, LIMIT_BODIES_BYTES);
    post(fd, "/echo", "a");
    expect_reply(fd, 200, "a");
    close(fd);
    assert_int_equal(shop.handled, 1);
}

/* Seeded noise, cut anywhere: nothing but the connection suffers. */
static void noise(void **state)
{
    static const char *const words[] = {"GET ",
                                        "POST ",
                                        "/echo",
                                        " HTTP/1.1",
                                        "\r\n",
                                        "\r\n\r\n",
                                        "Host: x",
                                        ": ",
                                        "\n",
                                        "Content-Length: 5",
                                        "Transfer-Encoding: chunked",
                                        "\0\0",
                                        "5\r\nhello\r\n",
                                        "%",
                                        "?a=b&",
                                        "\xff\xfe",
                                        "0\r\n\r\n",
                                        "HTTP/1.1 200 OK",
                                        "\t"};
    unsigned seed = 7;

    (void)state;
    for (int i = 0; i < 300; i++) {
        int fd = raw_connect(shop.port);
        for (int j = rand_r(&seed) % 20; j >= 0; j--) {
            const char *w = words[(size_t)rand_r(&seed) % (sizeof words / sizeof *words)];
            raw_send(fd, w, strlen(w) ? strlen(w) : 2);
        }
        close(fd);
    }
    int fd = raw_connect(shop.port);
    post(fd, "/echo", "well");
    expect_reply(fd, 200, "well");
    close(fd);
}

static void bad_addresses(void **state)
{
    static const char *const listens[] = {"",
                                          ":",
                                          "127.0.0.1",
                                          "127.0.0.1:",
                                          ":80",
                                          "127.0.0.1:port",
                                          "[::1:80",
                                          "no such host.invalid:80",
                                          "203.0.113.77:0"};
    struct http_options o = {.threads = 1, .body_limit = shop_body_limit, .handle = shop_handle};
    struct http_server *s = NULL;
    char taken[32];

    (void)state;
    for (size_t i = 0; i < sizeof listens / sizeof *listens; i++) {
        struct err e = {0};
        o.listen = listens[i];
        assert_true(http_server_start(&o, &s, &e) < 0);
        assert_true(e.text[0] != '\0');
    }
    struct err e = {0};
    snprintf(taken, sizeof taken, "127.0.0.1:%u", shop.port);
    o.listen = taken;
    assert_int_equal(http_server_start(&o, &s, &e), -EADDRINUSE);
    assert_non_null(strstr(e.text, taken));
    assert_null(s);
    http_server_stop(NULL, 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keep_alive),
        CASE(pipelined),
        CASE(head_request),
        CASE(old_version),
        CASE(expect_continue),
        CASE(target_is_raw),
        CASE(absolute_target),
        CASE(joined_headers),
        CASE(half_closed),
        CASE(too_many_parameters),
        CASE(smuggling),
        CASE(broken_http),
        CASE(chunked),
        CASE(whole_body_at_the_bound),
        CASE(too_large_in_mid_upload),
        CASE(too_large_early),
        CASE(large_heads),
        CASE(many_headers),
        CASE(no_header_injection),
        CASE(too_many_connections),
        CASE(too_many_bodies),
        CASE(noise),
        CASE(bad_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
