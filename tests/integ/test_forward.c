/* Calls to other instances against servers of this file that are slow, cut answers, send too much or refuse: every call
 * ends once, in time, and says what became of it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/limits.h"
#include "profiler/forward.h"
#include "tests/support/raw_http.h"

/* --- a server ------------------------------------------------------------------------------------------------- */

/* What it does with each connection, on a thread of its own. */
typedef void behave(int fd);

struct server {
    int fd;
    uint16_t port;
    behave *behave;
    pthread_t thread;
    _Atomic int connections;
};

static char last_request[65536];

/* One request's head; false at the end of the stream. */
static bool read_request(int fd)
{
    size_t n = 0;

    while (n < 4 || memcmp(last_request + n - 4, "\r\n\r\n", 4) != 0) {
        if (n + 1 >= sizeof last_request || !raw_read(fd, last_request + n, 1))
            return false;
        n++;
    }
    last_request[n] = '\0';
    return true;
}

static void *server_main(void *arg)
{
    struct server *s = arg;

    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        atomic_fetch_add(&s->connections, 1);
        s->behave(fd);
        close(fd);
    }
}

static void server_start(struct server *s, behave *act)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t n = sizeof a;

    memset(s, 0, sizeof *s);
    s->behave = act;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(s->fd >= 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

/* What it behaves on must have ended, or end when its client does. */
static void server_stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

/* --- a call --------------------------------------------------------------------------------------------------- */

struct asked {
    struct forward_call call;
    char url[256];
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int done;
};

static void done(struct forward_call *call)
{
    struct asked *a = (struct asked *)call;

    pthread_mutex_lock(&a->lock);
    a->done++;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->lock);
}

static bool send_call(struct forward *f, struct asked *a, uint16_t port, const char *path, int64_t ms)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->ended, NULL);
    snprintf(a->url, sizeof a->url, "http://127.0.0.1:%u%s", port, path);
    a->call.url = a->url;
    a->call.authorization = STR_LIT("Bearer tk");
    a->call.deadline = clock_monotonic() + ms;
    a->call.done = done;
    return forward_send(f, &a->call);
}

static void wait_done(struct asked *a)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&a->lock);
    while (a->done == 0)
        assert_int_equal(pthread_cond_timedwait(&a->ended, &a->lock, &until), 0);
    pthread_mutex_unlock(&a->lock);
    assert_int_equal(a->done, 1);
}

static void release(struct asked *a)
{
    buf_deinit(&a->call.body);
    pthread_cond_destroy(&a->ended);
    pthread_mutex_destroy(&a->lock);
}

static void expect(struct asked *a, unsigned status, const char *body)
{
    wait_done(a);
    if (a->call.status != status || (body && !str_is(buf_str(&a->call.body), body)))
        fail_msg("got %u %.*s", a->call.status, STR_ARG(buf_str(&a->call.body)));
    release(a);
}

static int setup(void **state)
{
    struct err e = {0};
    struct forward *f;

    assert_int_equal(forward_start(&f, &e), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    forward_stop(*state);
    forward_free(*state);
    return 0;
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static void answer_kept(int fd)
{
    while (read_request(fd))
        raw_text(fd, "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
                     "x-waymark-instance:  p1 \r\nContent-Length: 5\r\n\r\nhello");
}

static void test_answer(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, answer_kept);
    assert_true(send_call(*state, &a, s.port, "/v1/profiles/user:a%2Fb/../c?x=%20", 5000));
    wait_done(&a);
    assert_int_equal(a.call.status, 404);
    assert_true(str_is(buf_str(&a.call.body), "hello"));
    assert_string_equal(a.call.content_type, "application/json");
    assert_string_equal(a.call.instance, "p1");
    release(&a);
    assert_ptr_equal(strstr(last_request, "GET /v1/profiles/user:a%2Fb/../c?x=%20 HTTP/1.1\r\n"), last_request);
    assert_non_null(strstr(last_request, "X-Waymark-Forwarded: 1\r\n"));
    assert_non_null(strstr(last_request, "Authorization: Bearer tk\r\n"));
    forward_stop(*state);
    server_stop(&s);
}

static void test_connections_are_kept(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, answer_kept);
    for (int i = 0; i < 20; i++) {
        assert_true(send_call(*state, &a, s.port, "/", 5000));
        expect(&a, 404, "hello");
    }
    assert_int_equal(atomic_load(&s.connections), 1);
    forward_stop(*state);
    server_stop(&s);
}

/* A kept connection that the peer has closed meanwhile is no failure. */
static void answer_once(int fd)
{
    if (read_request(fd))
        raw_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void test_kept_connection_was_closed(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, answer_once);
    for (int i = 0; i < 5; i++) {
        assert_true(send_call(*state, &a, s.port, "/", 5000));
        expect(&a, 200, "ok");
    }
    assert_int_equal(atomic_load(&s.connections), 5);
    server_stop(&s);
}

static void redirect(int fd)
{
    if (read_request(fd))
        raw_text(fd, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n");
}

static void test_no_redirects(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, redirect);
    assert_true(send_call(*state, &a, s.port, "/", 5000));
    expect(&a, 302, "");
    server_stop(&s);
}

static void test_no_proxy_of_the_environment(void **state)
{
    struct server s, proxy;
    struct asked a;
    char url[64];

    server_start(&s, answer_once);
    server_start(&proxy, redirect);
    snprintf(url, sizeof url, "http://127.0.0.1:%u", proxy.port);
    setenv("http_proxy", url, 1);
    setenv("all_proxy", url, 1);
    assert_true(send_call(*state, &a, s.port, "/", 5000));
    expect(&a, 200, "ok");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_int_equal(atomic_load(&proxy.connections), 0);
    server_stop(&proxy);
    server_stop(&s);
}

/* --- what goes wrong ------------------------------------------------------------------------------------------ */

static void say_nothing(int fd)
{
    read_request(fd);
    raw_ends(fd, RAW_LIMIT_MS);
}

static void trickle(int fd)
{
    if (!read_request(fd) || !raw_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"))
        return;
    while (raw_text(fd, "x") && raw_wait(fd, 10) == 0)
        ;
}

static void expect_in_time(void **state, behave *b, const char *words)
{
    struct server s;
    struct asked a;
    int64_t begin = clock_monotonic();

    server_start(&s, b);
    assert_true(send_call(*state, &a, s.port, "/", 300));
    expect(&a, 0, words);
    assert_true(clock_monotonic() - begin >= 300);
    assert_true(clock_monotonic() - begin < 5000);
    server_stop(&s);
}

static void test_deadline(void **state)
{
    struct asked a;

    expect_in_time(state, say_nothing, "no answer in time");
    expect_in_time(state, trickle, "no answer in time");
    assert_true(send_call(*state, &a, 1, "/", -5));
    expect(&a, 0, NULL);
}

static void cut(int fd)
{
    if (read_request(fd))
        raw_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":\"us");
}

static void cut_chunk(int fd)
{
    if (read_request(fd))
        raw_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
}

static void hang_up(int fd)
{
    read_request(fd);
}

static void babble(int fd)
{
    if (read_request(fd))
        raw_text(fd, "whatever\r\n\r\n");
}

static void long_head(int fd)
{
    if (!read_request(fd) || !raw_text(fd, "HTTP/1.1 200 OK\r\n"))
        return;
    while (raw_text(fd, "X-More: and more and more and more and more\r\n"))
        ;
}

static void huge(int fd)
{
    static const char zeros[65536];

    if (!read_request(fd) || !raw_text(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
        return;
    while (raw_text(fd, "10000\r\n") && raw_send(fd, zeros, sizeof zeros) && raw_text(fd, "\r\n"))
        ;
}

static void huge_declared(int fd)
{
    if (read_request(fd))
        raw_sendf(fd, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", LIMIT_ANSWER_BYTES + 1);
    raw_ends(fd, RAW_LIMIT_MS);
}

static void test_bad_answers(void **state)
{
    static behave *const bad[] = {cut, cut_chunk, hang_up, babble, long_head, huge, huge_declared};
    struct server s;
    struct asked a;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        server_start(&s, bad[i]);
        assert_true(send_call(*state, &a, s.port, "/", 15000));
        wait_done(&a);
        if (a.call.status != 0 || a.call.body.n == 0)
            fail_msg("%zu: %u, %zu bytes", i, a.call.status, a.call.body.n);
        assert_true(a.call.body.n < 200);
        release(&a);
        server_stop(&s);
    }
}

static void test_nobody_there(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, hang_up);
    server_stop(&s);
    assert_true(send_call(*state, &a, s.port, "/", 5000));
    expect(&a, 0, NULL);
}

/* More end at once than libcurl's handles are kept. */
static void test_many_end_at_once(void **state)
{
    struct asked *all = calloc(LIMIT_FORWARDS, sizeof *all);
    struct server s;

    assert_non_null(all);
    server_start(&s, hang_up);
    server_stop(&s);
    for (size_t i = 0; i < LIMIT_FORWARDS; i++)
        assert_true(send_call(*state, &all[i], s.port, "/", 60000));
    for (size_t i = 0; i < LIMIT_FORWARDS; i++)
        expect(&all[i], 0, NULL);
    free(all);
}

static void test_bad_urls(void **state)
{
    static const char *const bad[] = {"file:///etc/passwd",      "ftp://127.0.0.1/",
                                      "gopher://127.0.0.1:1/",   "http://",
                                      "http://u:p@127.0.0.1:1/", "http://127.0.0.1:1/a b\nX: y"};
    struct asked a;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&a, 0, sizeof a);
        pthread_mutex_init(&a.lock, NULL);
        pthread_cond_init(&a.ended, NULL);
        a.call = (struct forward_call){.url = bad[i], .deadline = clock_monotonic() + 5000, .done = done};
        assert_true(forward_send(*state, &a.call));
        expect(&a, 0, NULL);
    }
}

/* A token with the end of a line in it would be a header, or another request. */
static void test_bad_token(void **state)
{
    struct server s;
    struct asked a;

    server_start(&s, answer_once);
    memset(&a, 0, sizeof a);
    pthread_mutex_init(&a.lock, NULL);
    pthread_cond_init(&a.ended, NULL);
    snprintf(a.url, sizeof a.url, "http://127.0.0.1:%u/", s.port);
    a.call = (struct forward_call){.url = a.url,
                                   .authorization = STR_LIT("Bearer x\r\nX-Other: y"),
                                   .deadline = clock_monotonic() + 5000,
                                   .done = done};
    assert_true(forward_send(*state, &a.call));
    expect(&a, 0, NULL);
    assert_int_equal(atomic_load(&s.connections), 0);
    server_stop(&s);
}

/* --- calls to others than profilers --------------------------------------------------------------------------- */

static bool send_outside(struct forward *f, struct asked *a, uint16_t port, const char *const *headers)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->ended, NULL);
    snprintf(a->url, sizeof a->url, "http://127.0.0.1:%u/x", port);
    a->call = (struct forward_call){
        .url = a->url, .headers = headers, .post = STR_LIT("{}"), .deadline = clock_monotonic() + 5000, .done = done};
    return forward_send(f, &a->call);
}

/* They get the headers that they are to get and no other, and nothing that they say is kept. */
static void test_outside(void **state)
{
    static const char *const headers[] = {"webhook-id: a", "webhook-timestamp: 5", NULL};
    static const char *const bad[] = {"webhook-id: a\r\nX-Other: b", NULL};
    struct server s;
    struct asked a;

    server_start(&s, answer_once);
    assert_true(send_outside(*state, &a, s.port, headers));
    expect(&a, 200, "");
    assert_ptr_equal(strstr(last_request, "POST /x HTTP/1.1\r\n"), last_request);
    assert_non_null(strstr(last_request, "\r\nwebhook-id: a\r\nwebhook-timestamp: 5\r\n"));
    assert_non_null(strstr(last_request, "\r\nContent-Type: application/json\r\n"));
    assert_null(strstr(last_request, "X-Waymark"));
    assert_null(strstr(last_request, "Authorization"));
    assert_true(send_outside(*state, &a, s.port, bad));
    expect(&a, 0, NULL);
    assert_int_equal(atomic_load(&s.connections), 1);
    server_stop(&s);
}

/* --- bounds and the end --------------------------------------------------------------------------------------- */

static void test_bound_and_stop(void **state)
{
    struct asked *all = calloc(LIMIT_FORWARDS + 1, sizeof *all);
    struct forward *f = *state;
    struct server s;

    assert_non_null(all);
    server_start(&s, say_nothing);
    for (size_t i = 0; i < LIMIT_FORWARDS; i++)
        assert_true(send_call(f, &all[i], s.port, "/", 60000));
    assert_false(send_call(f, &all[LIMIT_FORWARDS], s.port, "/", 60000));
    assert_int_equal(all[LIMIT_FORWARDS].done, 0);
    forward_stop(f);
    for (size_t i = 0; i < LIMIT_FORWARDS; i++)
        expect(&all[i], 0, "this instance is stopping");
    assert_false(send_call(f, &all[0], s.port, "/", 60000));
    server_stop(&s);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_connections_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kept_connection_was_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_redirects, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_proxy_of_the_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_end_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_token, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bound_and_stop, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
