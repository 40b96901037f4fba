/* Clients that take their time: each wait of the server has an end, and a client that is not late is left alone. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/raw_http.h"

#include "tests/support/http_shop.h"

#define HEAD_MS 300
#define BODY_MS 500
#define IDLE_MS 5000
#define SLACK_MS 3000 /* for a loaded machine */

static struct shop shop;

static int start(void **state)
{
    (void)state;
    shop_start(&shop, HEAD_MS, BODY_MS, IDLE_MS);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    shop_stop(&shop, 1000);
    return 0;
}

/* Sends a byte every 20 ms until the peer closes; returns how long that took, or -1 when it does not happen. */
static int64_t drip(int fd, const char *text)
{
    int64_t begin = raw_now();
    size_t i = 0, n = strlen(text);
    char scratch[64];

    while (raw_now() - begin < RAW_LIMIT_MS) {
        if (!raw_send(fd, &text[i++ % n], 1))
            return raw_now() - begin;
        if (raw_wait(fd, 20) == 1 && recv(fd, scratch, sizeof scratch, 0) <= 0)
            return raw_now() - begin;
    }
    return -1;
}

static void ended_within(int64_t took, int64_t least, int64_t greatest)
{
    assert_in_range(took, least, greatest + SLACK_MS);
}

static void silent_after_accept(void **state)
{
    int fd = raw_connect(shop.port);
    int64_t begin = raw_now();

    (void)state;
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    ended_within(raw_now() - begin, HEAD_MS - 50, HEAD_MS);
    close(fd);
}

static void slow_first_line(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    ended_within(drip(fd, "G"), HEAD_MS - 50, HEAD_MS);
    close(fd);
}

static void slow_headers(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n");
    ended_within(drip(fd, "X: y\r\n"), HEAD_MS - 50, HEAD_MS);
    close(fd);
    assert_int_equal(shop.handled, 0);
}

static void slow_body(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    ended_within(drip(fd, "a"), BODY_MS - 50, BODY_MS);
    close(fd);
    fd = raw_connect(shop.port);
    raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    ended_within(drip(fd, "1\r\na\r\n"), BODY_MS - 50, BODY_MS);
    close(fd);
    assert_int_equal(shop.handled, 0);
}

static void slow_refused_body(void **state)
{
    static char piece[2000];
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "POST /small HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n");
    memset(piece, 'a', sizeof piece);
    raw_send(fd, piece, sizeof piece);
    raw_text(fd, "\r\n");
    ended_within(drip(fd, "1\r\na\r\n"), BODY_MS - 100, BODY_MS);
    close(fd);
}

static void idle(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(raw_status(fd), 200);
    int64_t begin = raw_now();
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    ended_within(raw_now() - begin, IDLE_MS - 50, IDLE_MS);
    close(fd);
}

/* On a connection that was used before, the head's time begins with its first byte: long before the idle time. */
static void slow_second_head(void **state)
{
    int fd = raw_connect(shop.port);

    (void)state;
    raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(raw_status(fd), 200);
    int64_t took = drip(fd, "G");
    assert_in_range(took, HEAD_MS - 50, IDLE_MS - 300);
    close(fd);
    fd = raw_connect(shop.port);
    raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(raw_status(fd), 200);
    raw_text(fd, "GET /echo HTTP/1.1\r\n");
    took = drip(fd, "X: y\r\n");
    assert_in_range(took, HEAD_MS - 50, IDLE_MS - 300);
    close(fd);
}

/* Neither head nor body late, and a handler that thinks for longer than all of them. */
static void patient_client(void **state)
{
    int fd = raw_connect(shop.port);
    struct timespec longer = {.tv_sec = (IDLE_MS + 500) / 1000, .tv_nsec = (IDLE_MS + 500) % 1000 * 1000000};

    (void)state;
    raw_text(fd, "POST /keep HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nkept");
    shop_wait(&shop, &shop.kept_count, 1);
    /* The time itself is what is tested here. */
    nanosleep(&longer, NULL);
    assert_int_equal(raw_wait(fd, 0), 0);
    shop_release(&shop);
    assert_int_equal(raw_status(fd), 200);
    for (int i = 0; i < 10; i++) {
        raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(raw_status(fd), 200);
        raw_wait(fd, HEAD_MS / 2);
    }
    close(fd);
}

/* A slow one does not hold up its pool thread. */
static void neighbours(void **state)
{
    int slow[20], fd = raw_connect(shop.port);

    (void)state;
    for (int i = 0; i < 20; i++) {
        slow[i] = raw_connect(shop.port);
        raw_text(slow[i], "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na");
    }
    for (int i = 0; i < 50; i++) {
        raw_text(fd, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(raw_status(fd), 200);
    }
    for (int i = 0; i < 20; i++) {
        assert_true(raw_ends(slow[i], RAW_LIMIT_MS));
        close(slow[i]);
    }
    close(fd);
    assert_int_equal(shop.handled, 50);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(silent_after_accept), CASE(slow_first_line),   CASE(slow_headers),
        CASE(slow_body),           CASE(slow_refused_body), CASE(idle),
        CASE(slow_second_head),    CASE(patient_client),    CASE(neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
