/* Requests that are answered later, from other threads, after their client has left, or not at all: keeping, stopping,
 * being late. */
#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "tests/support/raw_http.h"

#include "tests/support/http_shop.h"

#include "common/http_internal.h"

#define MANY 100

static struct shop shop;
/* Called on the thread of a test before it takes a descriptor out of an epoll set. NULL: nothing is. */
static _Thread_local void (*before_removal)(void);

/* Stands before that of the C library, for libmicrohttpd, too. */
int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_DEL && before_removal)
        before_removal();
    return (int)syscall(SYS_epoll_ctl, set, operation, fd, event);
}

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
    return 0;
}

static int ask(const char *path, const char *body)
{
    int fd = raw_connect(shop.port);

    assert_true(fd >= 0);
    assert_true(
        raw_sendf(fd, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", path, strlen(body), body));
    return fd;
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

static void many_kept(void **state)
{
    int fds[MANY];
    char body[32];

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(body, sizeof body, "body %d", i);
            fds[i] = ask("/keep", body);
        }
        shop_wait(&shop, &shop.kept_count, MANY);
        int other = ask("/echo", "others are served meanwhile");
        expect_reply(other, 200, "others are served meanwhile");
        close(other);
        shop_release(&shop);
        for (int i = 0; i < MANY; i++) {
            snprintf(body, sizeof body, "body %d", i);
            expect_reply(fds[i], 200, body);
            close(fds[i]);
        }
    }
}

static void *client_main(void *arg)
{
    int fd = ask("/later", "first");
    unsigned seed = (unsigned)(size_t)arg;

    for (int i = 0; i < 200; i++) {
        struct raw_reply r;
        raw_reply(fd, &r, false);
        if (r.status != 200)
            return arg;
        raw_free(&r);
        const char *path = rand_r(&seed) % 2 ? "/later" : "/echo";
        char request[128];
        snprintf(request, sizeof request, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", path);
        raw_text(fd, request);
    }
    raw_status(fd);
    close(fd);
    return NULL;
}

/* Answers race with the suspension of their connection. */
static void racing_answers(void **state)
{
    pthread_t clients[8];
    void *failed;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, client_main, (void *)(i + 1)), 0);
    for (size_t i = 0; i < 8; i++) {
        pthread_join(clients[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(shop.done[200], 8 * 201);
}

static void client_leaves(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++) {
        int fd = ask("/keep", "nobody hears this");
        struct linger reset = {1, 0};
        if (i % 2) {
            shop_wait(&shop, &shop.kept_count, (size_t)i + 1);
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(fd);
        shop_wait(&shop, &shop.kept_count, (size_t)i + 1);
    }
    shop_release(&shop);
    int fd = ask("/echo", "well");
    expect_reply(fd, 200, "well");
    close(fd);
}

/* Kept, with others pipelined behind it. */
static void order_is_kept(void **state)
{
    int fd = ask("/keep", "first");

    (void)state;
    raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nsecond");
    shop_wait(&shop, &shop.kept_count, 1);
    assert_int_equal(raw_wait(fd, 50), 0);
    shop_release(&shop);
    expect_reply(fd, 200, "first");
    expect_reply(fd, 200, "second");
    close(fd);
}

static void *release_main(void *arg)
{
    struct timespec pause = {.tv_nsec = 100 * 1000000};

    nanosleep(&pause, NULL);
    shop_release(arg);
    return NULL;
}

static void stop_waits_for_answers(void **state)
{
    pthread_t releaser;
    int fd = ask("/keep", "in time");
    int64_t begin = raw_now();

    (void)state;
    shop_wait(&shop, &shop.kept_count, 1);
    assert_int_equal(pthread_create(&releaser, NULL, release_main, &shop), 0);
    shop_stop(&shop, RAW_LIMIT_MS);
    assert_true(raw_now() - begin < RAW_LIMIT_MS / 2);
    pthread_join(releaser, NULL);
    expect_reply(fd, 200, "in time");
    close(fd);
}

static void stop_answers_the_rest(void **state)
{
    int fds[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++)
        fds[i] = ask("/keep", "too late");
    shop_wait(&shop, &shop.kept_count, MANY);
    int64_t begin = raw_now();
    shop_stop(&shop, 50);
    assert_true(raw_now() - begin < RAW_LIMIT_MS / 2);
    for (int i = 0; i < MANY; i++) {
        struct raw_reply r;
        raw_reply(fds[i], &r, false);
        assert_int_equal(r.status, 503);
        assert_non_null(strstr(r.body, "{\"code\":\"unavailable\",\"message\":\""));
        assert_non_null(raw_field(&r, "Retry-After"));
        assert_string_equal(raw_field(&r, "Connection"), "close");
        raw_free(&r);
        assert_true(raw_ends(fds[i], RAW_LIMIT_MS));
        close(fds[i]);
    }
    assert_int_equal(shop.done[503], MANY);
    /* The server is gone; its requests are still whole for those who hold them, and answering them does nothing. */
    struct http_request *r = shop.kept[0];
    assert_true(str_is(http_header(r, "content-length"), "8"));
    assert_true(str_is(http_path(r), "/keep"));
    assert_non_null(arena_alloc(http_arena(r), 100));
    struct buf b;
    struct http_answer a = {.status = 200, .body_buf = &b};
    buf_init(&b, 100);
    buf_add_text(&b, "taken all the same");
    shop.kept_count--;
    http_answer_send(shop.kept[shop.kept_count], &a);
    assert_null(b.p);
    shop_release(&shop);
    assert_int_equal(shop.done[200], 0);
}

/* Answers and the stop race for the same requests: each is answered once. */
static void stop_races_answers(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        pthread_t releaser;
        int fds[30], served = 0, refused = 0;
        start(state);
        for (int i = 0; i < 30; i++)
            fds[i] = ask("/keep", "either");
        shop_wait(&shop, &shop.kept_count, 30);
        assert_int_equal(pthread_create(&releaser, NULL, release_main, &shop), 0);
        shop_stop(&shop, 100);
        pthread_join(releaser, NULL);
        for (int i = 0; i < 30; i++) {
            int status = raw_status(fds[i]);
            served += status == 200;
            refused += status == 503;
            close(fds[i]);
        }
        assert_int_equal(served + refused, 30);
        assert_int_equal(shop.done[200], served);
        assert_int_equal(shop.done[503], refused);
    }
}

static void stop_with_uploads(void **state)
{
    int fds[20];

    (void)state;
    for (int i = 0; i < 20; i++) {
        fds[i] = raw_connect(shop.port);
        raw_text(fds[i], i % 2 ? "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc" : "POST /ec");
    }
    int fd = ask("/echo", "there"); /* the others have been accepted before it */
    expect_reply(fd, 200, "there");
    close(fd);
    shop_stop(&shop, 1000);
    for (int i = 0; i < 20; i++) {
        assert_true(raw_ends(fds[i], RAW_LIMIT_MS));
        close(fds[i]);
    }
    assert_int_equal(shop.handled, 1);
}

static void quiesced(void **state)
{
    int fd = ask("/echo", "before"), kept = ask("/keep", "kept");

    (void)state;
    expect_reply(fd, 200, "before");
    shop_wait(&shop, &shop.kept_count, 1);
    http_server_quiesce(shop.server);
    http_server_quiesce(shop.server);
    assert_int_equal(raw_connect(shop.port), -1);
    raw_text(fd, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na");
    expect_reply(fd, 503, NULL);
    assert_true(raw_ends(fd, RAW_LIMIT_MS));
    close(fd);
    shop_release(&shop);
    expect_reply(kept, 200, "kept");
    assert_true(raw_ends(kept, RAW_LIMIT_MS));
    close(kept);
    shop_stop(&shop, 1000);
    assert_int_equal(raw_connect(shop.port), -1);
}

static int open_fds[8];

/* The pool threads that have these connections go round their loop, and look whether they still listen. */
static void wake_pool(void)
{
    for (int i = 0; i < 8; i++) {
        raw_text(open_fds[i], "G");
        raw_ends(open_fds[i], 20);
    }
}

static void quiesced_while_the_pool_wakes(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        open_fds[i] = ask("/echo", "before");
        expect_reply(open_fds[i], 200, "before");
    }
    int listening = shop.server->listen_fd;
    before_removal = wake_pool;
    http_server_quiesce(shop.server);
    before_removal = NULL;
    clock_t used = clock();
    wake_pool();
    assert_true(clock() - used < CLOCKS_PER_SEC / 20); /* it sleeps all the while */
    assert_int_equal(raw_connect(shop.port), -1);
    shop_stop(&shop, 1000);
    assert_int_equal(fcntl(listening, F_GETFD), -1); /* closed by then */
    for (int i = 0; i < 8; i++)
        close(open_fds[i]);
}

static void large_answers(void **state)
{
    static char body[1000 * 1000];
    int fds[8];

    (void)state;
    memset(body, 'z', sizeof body);
    for (int i = 0; i < 8; i++) {
        fds[i] = raw_connect(shop.port);
        raw_sendf(fds[i], "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", i % 2 ? "/later" : "/echo",
                  sizeof body);
        assert_true(raw_send(fds[i], body, sizeof body));
    }
    for (int i = 0; i < 8; i++) {
        struct raw_reply r;
        raw_reply(fds[i], &r, false);
        assert_int_equal(r.status, 200);
        assert_int_equal(r.n, sizeof body);
        assert_memory_equal(r.body, body, sizeof body);
        raw_free(&r);
        close(fds[i]);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(many_kept),
        CASE(racing_answers),
        CASE(client_leaves),
        CASE(order_is_kept),
        CASE(large_answers),
        cmocka_unit_test_setup(stop_waits_for_answers, start),
        cmocka_unit_test_setup(stop_answers_the_rest, start),
        cmocka_unit_test(stop_races_answers),
        cmocka_unit_test_setup(stop_with_uploads, start),
        cmocka_unit_test_setup(quiesced, start),
        cmocka_unit_test_setup(quiesced_while_the_pool_wakes, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
