/* A real Redis of a test's own: in a temporary folder, on a free port, gone with the test. Include after <cmocka.h>. */
#ifndef WAYMARK_REDIS_CASE_H
#define WAYMARK_REDIS_CASE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "profiler/redis_conn.h"

#define REDIS_CASE_LIMIT_MS 20000 /* no wait of a test is longer */
#define REDIS_CASE_ARGS 24

struct redis_case {
    char folder[64];
    unsigned port; /* 0: only the socket in the folder */
    pid_t pid;     /* 0: not running */
    const char *args[REDIS_CASE_ARGS];
    char url[128];
    const char *admin; /* url for redis_case_do; NULL: `url` */
    struct conf_redis conf;
};

static inline unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
    assert_true(getsockname(fd, (struct sockaddr *)&a, &n) == 0);
    close(fd);
    return ntohs(a.sin_port);
}

static inline void redis_case_sleep(int ms)
{
    poll(NULL, 0, ms);
}

/* Runs a program and waits for its end; its output goes nowhere. */
static inline int run_program(const char *const *args)
{
    int status;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        execvp(args[0], (char *const *)args);
        _exit(127);
    }
    assert_true(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* One command on a connection of its own, as text: strings as they are, "(nil)", integers in decimal, errors after
 * "-". NULL when there is no connection. Static memory. `words` ends with NULL. */
static inline const char *redis_ask(const char *url, const char *const *words)
{
    static char out[8192];
    struct conf_redis conf = {.url = url, .prefix = ""};
    struct redis_target *t = NULL;
    struct redis_conn *c = NULL;
    struct redis_hello hello;
    struct redis_reply r;
    struct err e;
    struct buf text;
    struct str list[32];
    size_t n = 0;
    int got = 0;

    assert_int_equal(redis_target_new(&conf, &t, &e), 0);
    if (redis_conn_open(t, clock_monotonic() + REDIS_CASE_LIMIT_MS, -1, &c, &hello, &e) != 0) {
        redis_target_free(t);
        return NULL;
    }
    buf_init(&text, 1024 * 1024);
    for (; words[n]; n++)
        list[n] = str_of(words[n]);
    assert_true(redis_command(&text, list, n));
    assert_true(redis_conn_send(c, buf_str(&text), &e) == (long)text.n);
    int64_t deadline = clock_monotonic() + REDIS_CASE_LIMIT_MS;
    while (got == 0 && clock_monotonic() < deadline) {
        struct pollfd fd = {.fd = redis_conn_fd(c), .events = POLLIN};
        poll(&fd, 1, 100);
        if (redis_conn_receive(c, &e) < 0)
            break;
        got = redis_conn_reply(c, &r, &e);
    }
    out[0] = '\0';
    if (got == 1 && r.kind == REDIS_INTEGER)
        snprintf(out, sizeof out, "%lld", (long long)r.integer);
    else if (got == 1 && r.kind == REDIS_NIL)
        snprintf(out, sizeof out, "(nil)");
    else if (got == 1)
        snprintf(out, sizeof out, "%s%.*s", r.kind == REDIS_ERROR ? "-" : "", STR_ARG(r.text));
    buf_deinit(&text);
    redis_conn_close(c);
    redis_target_free(t);
    return got == 1 ? out : NULL;
}

#define redis_case_do(r, ...) redis_ask((r)->admin ? (r)->admin : (r)->url, (const char *const[]){__VA_ARGS__, NULL})

static inline void redis_case_spawn(struct redis_case *r)
{
    char port[12];
    const char *args[REDIS_CASE_ARGS + 16] = {
        "redis-server", "--port", port,      "--bind",       "127.0.0.1",  "--save",     "",       "--appendonly",
        "no",           "--dir",  r->folder, "--unixsocket", "redis.sock", "--loglevel", "warning"};
    size_t n = 15;

    snprintf(port, sizeof port, "%u", r->port);
    for (size_t i = 0; r->args[i]; i++)
        args[n++] = r->args[i];
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid == 0) {
        int null = open("/dev/null", O_RDWR);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        if (chdir(r->folder) != 0)
            _exit(127);
        execvp(args[0], (char *const *)args);
        _exit(127);
    }
}

static inline void redis_case_wait(struct redis_case *r)
{
    int64_t deadline = clock_monotonic() + REDIS_CASE_LIMIT_MS;

    while (!redis_case_do(r, "GET", "nothing")) {
        assert_true(clock_monotonic() < deadline);
        assert_int_equal(waitpid(r->pid, NULL, WNOHANG), 0);
        redis_case_sleep(10);
    }
}

/* Folder, port and url; nothing runs yet. */
static inline void redis_case_make(struct redis_case *r)
{
    *r = (struct redis_case){.port = free_port()};
    snprintf(r->folder, sizeof r->folder, "/tmp/waymark-redis-XXXXXX");
    assert_non_null(mkdtemp(r->folder));
    snprintf(r->url, sizeof r->url, "redis://127.0.0.1:%u", r->port);
    r->conf = (struct conf_redis){.url = r->url, .prefix = "wm:"};
}

static inline void redis_case_start(struct redis_case *r)
{
    redis_case_spawn(r);
    redis_case_wait(r);
}

static inline void redis_case_kill(struct redis_case *r)
{
    if (r->pid > 0) {
        kill(r->pid, SIGCONT);
        kill(r->pid, SIGKILL);
        waitpid(r->pid, NULL, 0);
    }
    r->pid = 0;
}

static inline void redis_case_end(struct redis_case *r)
{
    redis_case_kill(r);
    run_program((const char *const[]){"rm", "-rf", r->folder, NULL});
}

#endif
