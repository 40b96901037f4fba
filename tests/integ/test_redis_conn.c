/* Connections to a real Redis of every kind: password, ACL user, database, socket of the machine, TLS; and what is
 * refused, with words that help: a wrong password, a replica, an unknown certificate, another host's, something that
 * never answers or is no Redis at all. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/limits.h"
#include "tests/support/redis_case.h"

/* Connects; 0 with the hello, or the error. */
static int try_conf(const struct conf_redis *conf, int64_t ms, struct redis_hello *hello, struct err *e)
{
    struct redis_target *t = NULL;
    struct redis_conn *c = NULL;

    e->text[0] = '\0';
    int result = redis_target_new(conf, &t, e);
    if (result == 0)
        result = redis_conn_open(t, clock_monotonic() + ms, -1, &c, hello, e);
    if (result == 0)
        redis_conn_close(c);
    redis_target_free(t);
    return result;
}

static void assert_connects(const struct conf_redis *conf)
{
    struct redis_hello hello;
    struct err e;

    if (try_conf(conf, REDIS_CASE_LIMIT_MS, &hello, &e) != 0)
        fail_msg("%s: %s", conf->url, e.text);
    assert_int_equal(strlen(hello.run_id), 40);
    assert_in_range(hello.time, clock_now() - 5000, clock_now() + 5000);
    assert_in_range(hello.time_at, clock_boot() - 5000, clock_boot());
}

static void assert_refused_within(const struct conf_redis *conf, int64_t ms, const char *why)
{
    struct redis_hello hello;
    struct err e;

    assert_true(try_conf(conf, ms, &hello, &e) < 0);
    if (!strstr(e.text, why))
        fail_msg("%s: \"%s\" says nothing of \"%s\"", conf->url, e.text, why);
    assert_null(strstr(e.text, "s3cret"));
}

static void assert_refused(const struct conf_redis *conf, const char *why)
{
    assert_refused_within(conf, REDIS_CASE_LIMIT_MS, why);
}

static const char *write_file(const struct redis_case *r, const char *name, const char *text)
{
    static char path[4][128];
    static unsigned next;
    char *p = path[next++ % 4];

    snprintf(p, sizeof path[0], "%s/%s", r->folder, name);
    FILE *f = fopen(p, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return p;
}

static void password_and_user(void **state)
{
    struct redis_case r;
    char url[200], admin[200];

    (void)state;
    redis_case_make(&r);
    r.args[0] = "--requirepass";
    r.args[1] = "s3cret/:@";
    snprintf(admin, sizeof admin, "redis://:s3cret%%2F%%3A%%40@127.0.0.1:%u", r.port);
    r.admin = admin;
    redis_case_start(&r);
    assert_refused(&r.conf, "NOAUTH");
    struct conf_redis conf = {.url = admin, .prefix = ""};
    assert_connects(&conf);
    snprintf(url, sizeof url, "redis://:s3cretwrong@127.0.0.1:%u", r.port);
    conf.url = url;
    assert_refused(&conf, "WRONGPASS");

    /* The file wins over the url; it is read each time. */
    conf.password_file = write_file(&r, "password", "s3cret/:@\r\nsecond line\n");
    assert_connects(&conf);
    write_file(&r, "password", "s3cretother\n");
    assert_refused(&conf, "WRONGPASS");
    write_file(&r, "password", "");
    assert_refused(&conf, "empty");
    conf.password_file = "/nowhere/password";
    assert_refused(&conf, "password_file");

    /* What a user of the cache must be allowed, and no more. */
    assert_string_equal(redis_case_do(&r, "ACL", "SETUSER", "waymark", "on", ">s3cret2", "~wm:*", "+select", "+info",
                                      "+time", "+mget", "+set", "+del"),
                        "OK");
    conf = (struct conf_redis){.url = url, .prefix = ""};
    snprintf(url, sizeof url, "redis://waymark:s3cret2@127.0.0.1:%u", r.port);
    assert_connects(&conf);
    snprintf(url, sizeof url, "redis://waymark:s3cret2@127.0.0.1:%u/2", r.port);
    assert_connects(&conf);
    assert_int_equal(redis_ask(url, (const char *const[]){"GET", "wm:x", NULL})[0], '-');
    assert_string_equal(redis_ask(url, (const char *const[]){"SET", "wm:x", "1", "PXAT", "99999999999999", NULL}),
                        "OK");
    assert_int_equal(redis_ask(url, (const char *const[]){"SET", "other", "1", NULL})[0], '-');
    snprintf(url, sizeof url, "redis://waymark@127.0.0.1:%u", r.port);
    assert_refused(&conf, "without a password");
    conf.password_file = write_file(&r, "password", "s3cret2");
    assert_connects(&conf);
    redis_case_end(&r);
}

static void database_and_socket(void **state)
{
    struct redis_case r;
    char url[200];
    struct conf_redis conf = {.url = url, .prefix = ""};

    (void)state;
    redis_case_make(&r);
    redis_case_start(&r);
    snprintf(url, sizeof url, "redis://127.0.0.1:%u/5", r.port);
    assert_connects(&conf);
    assert_string_equal(redis_ask(url, (const char *const[]){"SET", "five", "1", NULL}), "OK");
    assert_string_equal(redis_case_do(&r, "GET", "five"), "(nil)");
    snprintf(url, sizeof url, "redis://127.0.0.1:%u/99", r.port);
    assert_refused(&conf, "SELECT");
    snprintf(url, sizeof url, "unix://%s/redis.sock?db=5", r.folder);
    assert_connects(&conf);
    assert_string_equal(redis_ask(url, (const char *const[]){"GET", "five", NULL}), "1");
    snprintf(url, sizeof url, "unix://%s/none.sock", r.folder);
    assert_refused(&conf, "No such file");
    snprintf(url, sizeof url, "redis://localhost:%u", r.port);
    assert_connects(&conf);
    snprintf(url, sizeof url, "redis://nowhere.invalid:%u", r.port);
    assert_refused_within(&conf, 500, "looking up"); /* it may take as long as the resolver likes */
    redis_case_kill(&r);
    assert_refused(&r.conf, "refused");
    redis_case_end(&r);
}

static void a_replica_is_refused(void **state)
{
    struct redis_case r;
    char port[12];

    (void)state;
    redis_case_make(&r);
    redis_case_start(&r);
    snprintf(port, sizeof port, "%u", free_port());
    assert_string_equal(redis_case_do(&r, "REPLICAOF", "127.0.0.1", port), "OK");
    assert_refused(&r.conf, "replica");
    redis_case_end(&r);
}

/* --- something else that listens */

struct talker {
    int listener;
    const char *says; /* again and again, without end */
    pthread_t thread;
    _Atomic bool stop;
};

static void *talk(void *arg)
{
    struct talker *t = arg;
    struct pollfd fd = {.fd = t->listener, .events = POLLIN};
    static char text[1 << 16];
    size_t one = t->says ? strlen(t->says) : 0, n = 0, sent = 0;
    int peer = -1;

    for (; one && n + one <= sizeof text; n += one)
        memcpy(text + n, t->says, one);
    while (!t->stop) {
        if (poll(&fd, 1, 1) > 0) {
            if (peer >= 0)
                close(peer);
            peer = accept4(t->listener, NULL, NULL, SOCK_CLOEXEC);
            sent = 0;
        }
        for (ssize_t some = 1; peer >= 0 && n && some > 0; sent = (sent + (size_t)some) % n)
            if ((some = send(peer, text + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0)
                break;
    }
    if (peer >= 0)
        close(peer);
    return NULL;
}

static void no_redis_at_all(void **state)
{
    static const struct {
        const char *says, *why;
    } cases[] = {{NULL, "no answer in time"},
                 {"HTTP/1.1 400 Bad Request\r\n\r\n", "reply"},
                 {"+OK\r\n", "INFO server"},
                 {"$5\r\nhello\r\n", "INFO server"},
                 {"$600000000\r\n", "more than"},
                 {"*3\r\n*3\r\n*3\r\n*3\r\n*3\r\n*3\r\n*3\r\n*3\r\n*3\r\n", "reply"},
                 {"$60\r\nredis_version:5.0.1\r\nrun_id:0123456789012345678901234567890123456789\r\n", "INFO server"},
                 {"$70\r\nredis_version:5.0.1\r\nrun_id:0123456789012345678901234567890123456789\r\n\r\n", "too old"}};
    char url[64];
    struct conf_redis conf = {.url = url, .prefix = ""};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct talker t = {.says = cases[i].says};
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof a;
        struct redis_hello hello;
        struct err e;
        t.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(bind(t.listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(t.listener, 5) == 0);
        assert_true(getsockname(t.listener, (struct sockaddr *)&a, &n) == 0);
        assert_int_equal(pthread_create(&t.thread, NULL, talk, &t), 0);
        snprintf(url, sizeof url, "redis://127.0.0.1:%u", ntohs(a.sin_port));
        int64_t before = clock_monotonic();
        assert_true(try_conf(&conf, cases[i].says ? 10000 : 300, &hello, &e) < 0);
        assert_in_range(clock_monotonic() - before, cases[i].says ? 0 : 299, 10000);
        if (!strstr(e.text, cases[i].why))
            fail_msg("%zu: \"%s\" says nothing of \"%s\"", i, e.text, cases[i].why);
        t.stop = true;
        pthread_join(t.thread, NULL);
        close(t.listener);
    }
}

/* --- TLS */

static void sign(const char *folder, const char *name, const char *alt)
{
    char command[1024];

    snprintf(command, sizeof command,
             "cd %s && openssl req -newkey rsa:2048 -nodes -keyout %s.key -out %s.csr -subj /CN=%s && printf "
             "'subjectAltName=%s\\n' > %s.ext && openssl x509 -req -in %s.csr -CA ca.crt -CAkey ca.key -CAcreateserial "
             "-days 2 -out %s.crt -extfile %s.ext",
             folder, name, name, name, alt, name, name, name, name);
    assert_int_equal(run_program((const char *const[]){"sh", "-c", command, NULL}), 0);
}

static void tls(void **state)
{
    struct redis_case r;
    char command[512], ca[128], client[128], client_key[128], url[100], port[12];
    struct conf_redis conf = {.url = url, .prefix = "", .ca_file = ca};

    (void)state;
    redis_case_make(&r);
    snprintf(command, sizeof command,
             "cd %s && openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test",
             r.folder);
    assert_int_equal(run_program((const char *const[]){"sh", "-c", command, NULL}), 0);
    sign(r.folder, "server", "DNS:localhost");
    sign(r.folder, "client", "DNS:client");
    snprintf(ca, sizeof ca, "%s/ca.crt", r.folder);
    snprintf(client, sizeof client, "%s/client.crt", r.folder);
    snprintf(client_key, sizeof client_key, "%s/client.key", r.folder);
    unsigned tls_port = free_port();
    snprintf(port, sizeof port, "%u", tls_port);
    const char *args[] = {"--tls-port",         port,         "--tls-cert-file",    "server.crt",
                          "--tls-key-file",     "server.key", "--tls-ca-cert-file", "ca.crt",
                          "--tls-auth-clients", "optional"};
    memcpy(r.args, args, sizeof args);
    redis_case_start(&r);

    snprintf(url, sizeof url, "rediss://localhost:%u/1", tls_port);
    assert_connects(&conf);
    /* More than a record in one go, both ways. */
    static char big[50001];
    memset(big, 'b', sizeof big - 1);
    struct redis_target *t;
    struct redis_conn *c;
    struct redis_hello hello;
    struct redis_reply reply;
    struct err e;
    struct buf out;
    assert_int_equal(redis_target_new(&conf, &t, &e), 0);
    assert_int_equal(redis_conn_open(t, clock_monotonic() + 5000, -1, &c, &hello, &e), 0);
    buf_init(&out, MIB);
    const struct str set[] = {STR_LIT("SET"), STR_LIT("big"), {big, sizeof big - 1}},
                     get[] = {STR_LIT("GET"), STR_LIT("big")};
    assert_true(redis_command(&out, set, 3) && redis_command(&out, get, 2));
    size_t sent = 0, replies = 0;
    for (int64_t until = clock_monotonic() + 10000; replies < 2;) {
        struct pollfd fd = {.fd = redis_conn_fd(c), .events = redis_conn_events(c, sent < out.n)};
        assert_true(clock_monotonic() < until);
        poll(&fd, 1, 100);
        long n = redis_conn_send(c, (struct str){out.p + sent, out.n - sent}, &e);
        assert_true(n >= 0);
        sent += (size_t)n;
        assert_true(redis_conn_receive(c, &e) >= 0);
        if (redis_conn_reply(c, &reply, &e) == 1)
            replies++;
    }
    assert_int_equal(reply.text.n, sizeof big - 1);
    assert_memory_equal(reply.text.p, big, sizeof big - 1);
    buf_deinit(&out);
    redis_conn_close(c);
    redis_target_free(t);

    /* Another name than the certificate's, an authority that nobody named, no TLS where it is asked for. */
    snprintf(url, sizeof url, "rediss://127.0.0.1:%u", tls_port);
    assert_refused(&conf, "IP address mismatch");
    snprintf(url, sizeof url, "rediss://localhost:%u", tls_port);
    conf.ca_file = NULL;
    assert_refused(&conf, "certificate");
    conf.ca_file = client;
    assert_refused(&conf, "certificate");
    conf.ca_file = "/nowhere/ca.crt";
    assert_refused(&conf, "redis.ca_file");
    conf.ca_file = ca;
    snprintf(url, sizeof url, "rediss://localhost:%u", r.port);
    assert_refused_within(&conf, 500, "TLS");
    snprintf(url, sizeof url, "redis://localhost:%u", tls_port);
    assert_refused(&conf, "");

    /* A Redis that wants to know the client too. */
    snprintf(url, sizeof url, "rediss://localhost:%u", tls_port);
    assert_string_equal(redis_case_do(&r, "CONFIG", "SET", "tls-auth-clients", "yes"), "OK");
    assert_refused(&conf, "");
    conf.cert_file = client;
    conf.key_file = client_key;
    assert_connects(&conf);
    conf.key_file = ca;
    assert_refused(&conf, "redis.key_file");
    redis_case_end(&r);
}

/* A stop ends the wait at once. */
static void a_stop_ends_the_wait(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    char url[64];
    struct conf_redis conf = {.url = url, .prefix = ""};
    struct redis_target *t;
    struct redis_conn *c;
    struct redis_hello hello;
    struct err e;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), stop[2];

    (void)state;
    assert_true(bind(silent, (struct sockaddr *)&a, sizeof a) == 0 && listen(silent, 5) == 0);
    assert_true(getsockname(silent, (struct sockaddr *)&a, &n) == 0);
    assert_int_equal(pipe2(stop, O_CLOEXEC), 0);
    assert_int_equal(write(stop[1], "x", 1), 1);
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", ntohs(a.sin_port));
    assert_int_equal(redis_target_new(&conf, &t, &e), 0);
    int64_t before = clock_monotonic();
    assert_int_equal(redis_conn_open(t, before + 10000, stop[0], &c, &hello, &e), -ECANCELED);
    assert_in_range(clock_monotonic() - before, 0, 5000);
    redis_target_free(t);
    close(silent);
    close(stop[0]);
    close(stop[1]);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* as the programs do */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(password_and_user),
        cmocka_unit_test(database_and_socket),
        cmocka_unit_test(a_replica_is_refused),
        cmocka_unit_test(no_redis_at_all),
        cmocka_unit_test(tls),
        cmocka_unit_test(a_stop_ends_the_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
