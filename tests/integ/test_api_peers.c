/* Look-ups that another instance has to answer and cannot, must not, or not yet. */
#include "common/http.h"
#include "profiler/audit.h"
#include "tests/support/api_case.h"

/* --- who does not answer -------------------------------------------------------------------------------------- */

static void test_owner_is_not_ready(void **state)
{
    struct cluster *c = *state;
    char path[64], user[24];

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    world_not_yet(1, true);
    for (int i = 0; i < INSTANCES; i++) {
        struct answer a = ask(c, i, path);
        assert_non_null(strstr(a.text, "Retry-After: 1\r\n"));
        assert_non_null(strstr(a.body, "claimed a moment ago"));
        expect_status(&a, 503, "not_yet");
    }
    world_set(0, 1, NOBODY);
    struct answer a = ask(c, 0, path);
    assert_non_null(strstr(a.text, "Retry-After: 1\r\n"));
    expect_status(&a, 503, "not_yet");
    assert_int_equal(forwarded(c, 0, "unknown"), 1);
}

static size_t small_body(struct http_request *r, void *arg)
{
    (void)r, (void)arg;
    return 1000;
}

static void answer_404(struct http_request *r, void *arg)
{
    (void)arg;
    http_answer_send(r, &(struct http_answer){.status = 404, .body = STR_LIT("{\"code\":\"profile_not_found\"}")});
}

/* The path of a scene whose order's home is that partition. */
static void scene_of(uint32_t partition, char out[64])
{
    char key[24];

    for (int i = 0;; i++) {
        snprintf(key, sizeof key, "order:x%d", i);
        if (event_log_partition(str_of(key), PARTITIONS) == partition)
            break;
    }
    snprintf(out, 64, "/v1/orders/%s/scene", key + strlen("order:"));
}

/* Nobody there; and somebody else, whose 404 is not ours. */
static void test_address_is_old(void **state)
{
    struct cluster *c = *state;
    const struct http_options o = {
        .listen = "127.0.0.1:0", .threads = 1, .body_limit = small_body, .handle = answer_404};
    struct http_server *other;
    char path[64], user[24];
    struct err e = {0};

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    world.port[1] = 1;
    expect_get(&c->at[0].shop, path, 503, "unavailable");
    must(http_server_start(&o, &other, &e), &e);
    world.port[1] = http_server_port(other);
    expect_get(&c->at[0].shop, path, 503, "unavailable");
    scene_of(1, path);
    expect_get(&c->at[0].shop, path, 503, "unavailable");
    assert_int_equal(forwarded(c, 0, "failed"), 3);
    http_server_stop(other, 1000);
}

/* Each thinks that the other has it: asked once, and no more. */
static void test_no_loops(void **state)
{
    struct cluster *c = *state;
    char path[64], user[24], ids[64];

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    snprintf(ids, sizeof ids, "\"user:%s\"", user);
    world_set(0, 1, 2);
    world_set(2, 1, 0);
    expect_get(&c->at[0].shop, path, 503, "not_yet");
    assert_int_equal(forwarded_by_all(c), 1);
    expect_get(&c->at[2].shop, path, 503, "not_yet");
    assert_int_equal(forwarded_by_all(c), 2);
    struct answer a = ask_ids(c, 0, ids);
    expect_status(&a, 503, "not_yet");
    assert_int_equal(forwarded_by_all(c), 3);
    char scene[64];
    scene_of(1, scene);
    expect_get(&c->at[0].shop, scene, 503, "not_yet");
    assert_int_equal(forwarded_by_all(c), 4);
    a = request(&c->at[0].shop, "GET", "Bearer tk_all\r\nX-Waymark-Forwarded: 1", path, NULL);
    expect_status(&a, 503, "not_yet");
    a = request(&c->at[0].shop, "POST", "Bearer tk_all\r\nX-Waymark-Forwarded: 1", "/v1/profiles:lookup",
                "{\"ids\":[\"user:u0\",\"user:u1\",\"user:u2\",\"user:u3\",\"user:u4\",\"user:u5\"]}");
    expect_status(&a, 503, "not_yet");
    assert_int_equal(forwarded_by_all(c), 4);
}

static void test_tokens(void **state)
{
    struct cluster *c = *state;
    char path[64], user[24];

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    struct answer a = request(&c->at[0].shop, "GET", NULL, path, NULL);
    expect_status(&a, 401, "token_missing");
    a = request(&c->at[0].shop, "GET", "Bearer nobody", path, NULL);
    expect_status(&a, 401, "token_unknown");
    a = request(&c->at[0].shop, "GET", "Bearer tk_admin", path, NULL);
    expect_status(&a, 403, "scope_missing");
    a = request(&c->at[0].shop, "GET", "Bearer nobody\r\nX-Waymark-Forwarded: 1", path, NULL);
    expect_status(&a, 401, "token_unknown");
    assert_int_equal(forwarded_by_all(c), 0);
    a = request(&c->at[0].shop, "GET", "bearer   tk_lookup ", path, NULL);
    expect_status(&a, 200, NULL);
    /* One that the owner does not have is refused there. */
    struct conf_token *tokens = c->at[1].shop.conf->profiler.tokens;
    memset(tokens[1].sha256, 0, sizeof tokens[1].sha256);
    a = request(&c->at[0].shop, "GET", "Bearer tk_lookup", path, NULL);
    assert_non_null(strstr(a.text, "WWW-Authenticate: Bearer\r\n"));
    expect_status(&a, 401, "token_unknown");
}

/* --- reading one's writes ------------------------------------------------------------------------------------- */

struct late {
    struct cluster *c;
    const char *user;
};

/* A thread: puts an event once the owner, the second instance, has a question that waits. */
static void *put_when_asked(void *arg)
{
    struct late *l = arg;
    int64_t until = clock_monotonic() + PATIENCE_MS;

    for (double waiting = 0; waiting < 1 && clock_monotonic() < until;) {
        struct answer a = ask(l->c, 1, "/metrics");
        waiting = metric(a.body, "waymark_lookups_waiting");
        answer_free(&a);
    }
    put_at_owner(l->c, track(l->user, "Late", T0));
    return NULL;
}

static void test_after(void **state)
{
    struct cluster *c = *state;
    char path[128], ids[64], user[24];
    int64_t begin;

    user_of(1, 0, user);
    struct late late = {c, user};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, put_when_asked, &late), 0);
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:0&wait=10s", user);
    struct answer a = ask(c, 0, path);
    pthread_join(thread, NULL);
    assert_int_equal(a.status, 200);
    expect_fact(&a, "events", "1");
    answer_free(&a);

    begin = clock_monotonic();
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:99&wait=300ms", user);
    expect_get(&c->at[2].shop, path, 503, "not_yet");
    assert_true(clock_monotonic() - begin >= 300);
    assert_true(clock_monotonic() - begin < 8000);
    begin = clock_monotonic();
    expect_get(&c->at[2].shop, "/v1/orders/x/scene?after=1:99&wait=300ms", 503, "not_yet");
    assert_true(clock_monotonic() - begin >= 300);
    snprintf(ids, sizeof ids, "{\"ids\":[\"user:%s\"]}", user);
    a = request(&c->at[0].shop, "POST", "Bearer tk_all", "/v1/profiles:lookup?after=1:99&wait=0", ids);
    expect_status(&a, 503, "not_yet");
    a = request(&c->at[0].shop, "POST", "Bearer tk_all", "/v1/profiles:lookup?after=1:0", ids);
    expect_status(&a, 200, NULL);
}

/* What was written to another partition may have moved something to this one: it is waited for, whoever has it, also
 * while nobody is known to. */
static void test_after_of_others(void **state)
{
    struct cluster *c = *state;
    char path[128], user[24], other[24];

    user_of(1, 0, user);
    user_of(2, 0, other);
    put_at_owner(c, track(user, "One", T0));
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:0,2:0&wait=200ms", user);
    for (int i = 0; i < INSTANCES; i++)
        expect_get(&c->at[i].shop, path, 503, "not_yet");
    put_at_owner(c, track(other, "Two", T0));
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:0,2:0&wait=10s", user);
    for (int i = 0; i < INSTANCES; i++)
        expect_get(&c->at[i].shop, path, 200, NULL);
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=2:0&wait=300ms", user);
    world_set(-1, 2, NOBODY);
    int64_t begin = clock_monotonic();
    expect_get(&c->at[1].shop, path, 503, "not_yet");
    assert_true(clock_monotonic() - begin >= 300);
    world_set(-1, 2, 2);
    expect_get(&c->at[1].shop, path, 200, NULL);
}

/* The route is for other instances alone. */
static void test_settled(void **state)
{
    struct cluster *c = *state;
    char user[24];

    user_of(1, 0, user);
    put_at_owner(c, track(user, "One", T0));
    expect_get(&c->at[1].shop, "/v1/internal/settled?after=1:0", 404, "not_found");
    struct answer a = request(&c->at[1].shop, "GET", "Bearer tk_all\r\nX-Waymark-Forwarded: 1",
                              "/v1/internal/settled?after=1:0&wait=10s", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"moved\":\"\"}");
    answer_free(&a);
    a = request(&c->at[1].shop, "GET", "Bearer tk_all\r\nX-Waymark-Forwarded: 1",
                "/v1/internal/settled?after=2:0&wait=50ms", NULL); /* another's */
    expect_status(&a, 503, "not_yet");
    a = request(&c->at[1].shop, "GET", "Bearer tk_export\r\nX-Waymark-Forwarded: 1", "/v1/internal/settled?after=1:0",
                NULL);
    expect_status(&a, 403, "scope_missing");
    a = request(&c->at[1].shop, "GET", "Bearer tk_admin\r\nX-Waymark-Forwarded: 1", "/v1/internal/settled?after=1:0",
                NULL);
    expect_status(&a, 200, NULL);
    a = request(&c->at[1].shop, "GET", "Bearer tk_lookup\r\nX-Waymark-Forwarded: 1",
                "/v1/internal/settled?after=1:0&clean=lost", NULL);
    expect_status(&a, 403, "scope_missing");
    a = request(&c->at[1].shop, "GET", "Bearer tk_admin\r\nX-Waymark-Forwarded: 1",
                "/v1/internal/settled?after=1:0,2:0&clean=lost", NULL); /* also of what is another's */
    expect_status(&a, 200, NULL);
    a = request(&c->at[1].shop, "GET", "Bearer tk_all\r\nX-Waymark-Forwarded: 1", "/v1/internal/settled", NULL);
    expect_status(&a, 404, "not_found");
}

/* A question that waits here goes on to another owner when the partition does. */
static void test_after_when_it_moves(void **state)
{
    struct cluster *c = *state;
    char path[128], user[24];

    user_of(1, 0, user);
    put_at_owner(c, track(user, "One", T0));
    world_set(2, 1, 2); /* the third thinks that it is its own, and has folded nothing of it */
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:0&wait=10s", user);
    int fd = send_request(&c->at[2].shop, "GET", "Bearer tk_all", path, NULL);
    int64_t until = clock_monotonic() + PATIENCE_MS;
    for (double waiting = 0; waiting < 1;) {
        struct answer m = ask(c, 2, "/metrics");
        waiting = metric(m.body, "waymark_lookups_waiting");
        answer_free(&m);
        assert_true(clock_monotonic() < until);
    }
    world_set(2, 1, 1);
    lookups_wake(c->at[2].lookups);
    struct answer a = {0};
    read_answer(fd, &a);
    expect_status(&a, 200, NULL);
    assert_true(clock_monotonic() < until - PATIENCE_MS + 9000);
}

/* An answer of another instance whose reading cannot be recorded is not passed on, and nothing is left of it. */
static void test_not_recorded(void **state)
{
    struct cluster *c = *state;
    struct instance *n = &c->at[0];
    struct stats *stats = stats_new();
    struct shop beside = n->shop;
    char path[64], user[24];
    struct audit *audit;
    struct api *api;
    struct err e = {0};

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    const struct audit_options o = {
        .folder = beside.data, .instance = n->name, .file_bytes = MIB, .files = 1, .log = beside.log, .stats = stats};
    must(audit_start(&o, &audit, &e), &e);
    audit_stop(audit, 0);
    must(api_start(&(struct api_options){.conf = beside.conf,
                                         .rules = &n->settings.rules,
                                         .log = beside.log,
                                         .state = n->state,
                                         .followers = n->followers,
                                         .lookups = n->lookups,
                                         .meter = n->meter,
                                         .stats = stats,
                                         .ownership = &n->ownership,
                                         .forward = n->forward,
                                         .audit = audit,
                                         .instance = n->name},
                   &api, &e),
         &e);
    beside.port = api_port(api);
    struct answer a = request(&beside, "GET", "Bearer tk_all", path, NULL);
    assert_non_null(strstr(a.body, "the audit log cannot be written"));
    expect_status(&a, 503, "unavailable");
    expect_get(&n->shop, path, 200, NULL);
    api_quiesce(api);
    api_stop(api, PATIENCE_MS);
    audit_free(audit);
    stats_free(stats);
}

/* --- the end -------------------------------------------------------------------------------------------------- */

/* Requests that are taken and not answered; there is one thread that takes them. */
struct silence {
    struct http_request *kept[3];
    _Atomic unsigned count;
};

static void keep_silent(struct http_request *r, void *arg)
{
    struct silence *s = arg;

    s->kept[s->count % 3] = r;
    s->count++;
}

/* Questions that are with an instance that does not answer are answered when this one stops. */
static void test_stop_answers(void **state)
{
    struct cluster *c = *state;
    struct silence silence = {0};
    const struct http_options o = {
        .listen = "127.0.0.1:0", .threads = 1, .body_limit = small_body, .handle = keep_silent, .arg = &silence};
    struct http_server *silent;
    char path[128], ids[64], user[24];
    struct err e = {0};

    must(http_server_start(&o, &silent, &e), &e);
    world.port[1] = http_server_port(silent);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s?after=1:5&wait=10s", user);
    snprintf(ids, sizeof ids, "{\"ids\":[\"user:%s\"]}", user);
    int fds[3] = {
        send_request(&c->at[0].shop, "GET", "Bearer tk_all", path, NULL),
        send_request(&c->at[0].shop, "POST", "Bearer tk_all", "/v1/profiles:lookup?after=1:5&wait=10s", ids),
        send_request(&c->at[0].shop, "GET", "Bearer tk_all", "/v1/orders/x/scene?after=1:5&wait=10s", NULL),
    };
    int64_t until = clock_monotonic() + PATIENCE_MS;
    while (silence.count < 3) {
        assert_true(clock_monotonic() < until);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    instance_stop(&c->at[0], NULL);
    for (int i = 0; i < 3; i++) {
        struct answer a = {0};
        read_answer(fds[i], &a);
        expect_status(&a, 503, "unavailable");
    }
    http_server_stop(silent, 0);
    for (int i = 0; i < 3; i++)
        http_answer_send(silence.kept[i], &(struct http_answer){.status = 200});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_owner_is_not_ready),
        PLAIN(test_address_is_old),
        PLAIN(test_no_loops),
        PLAIN(test_tokens),
        PLAIN(test_after),
        PLAIN(test_after_of_others),
        PLAIN(test_settled),
        PLAIN(test_after_when_it_moves),
        PLAIN(test_not_recorded),
        PLAIN(test_stop_answers),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
