/* A linked device whose home is one instance's and whose user is another's: whoever is asked, for whatever route, the
 * user is answered; the owner of the device says who that is and sends nobody on. */
#include "common/http.h"
#include "tests/support/api_case.h"

/* The device's home is the first instance's, the user's the second's. */
struct pair {
    char device[24], user[24], anon[40], id[40];
};

static struct event used(const struct pair *p, bool device, bool user, int64_t time)
{
    struct event e = page(NULL, "https://shop.example/p", time);

    e.anonymous_id = device ? str_of(p->device) : STR_NONE;
    e.user_id = user ? str_of(p->user) : STR_NONE;
    return e;
}

/* Both know what each of them has to: logs of their own, so that each is told. */
static void link_them(struct cluster *c, struct pair *p)
{
    char path[80];
    int64_t until = clock_monotonic() + PATIENCE_MS;

    user_of(0, 3, p->device);
    user_of(1, 3, p->user);
    snprintf(p->anon, sizeof p->anon, "anon:%s", p->device);
    snprintf(p->id, sizeof p->id, "user:%s", p->user);
    put(&c->at[0].shop, used(p, true, true, T0));
    put_at_owner(c, used(p, false, true, T0 + 1000));
    snprintf(path, sizeof path, "/v1/profiles/%s", p->anon);
    for (bool linked = false; !linked;) {
        struct answer a = request(&c->at[0].shop, "GET", "Bearer tk_lookup\r\nX-Waymark-Forwarded: 1", path, NULL);
        linked = a.status == 421;
        if (linked) {
            assert_true(str_is(text_at(&a, "code"), "linked"));
            assert_true(str_is(text_at(&a, "id"), p->id));
        }
        answer_free(&a);
        assert_true(clock_monotonic() < until);
    }
}

static void test_every_route(void **state)
{
    static const char *const rest[] = {"", "/path?limit=1", "/orders", "?as_of=2026-02-01T00:00:00Z"};
    struct cluster *c = *state;
    char anon[160], user[160];
    struct pair p;

    link_them(c, &p);
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        snprintf(user, sizeof user, "/v1/profiles/%s%s", p.id, rest[i]);
        snprintf(anon, sizeof anon, "/v1/profiles/%s%s", p.anon, rest[i]);
        struct answer own = ask(c, 1, user);
        assert_int_equal(own.status, 200);
        for (int at = 0; at < INSTANCES; at++) {
            struct answer a = ask(c, at, anon);
            expect_body(&a, 200, own.body, own.body_n);
        }
        answer_free(&own);
    }
}

static void test_many(void **state)
{
    struct cluster *c = *state;
    char ids[160];
    struct pair p;

    link_them(c, &p);
    snprintf(ids, sizeof ids, "\"%s\",\"%s\",\"anon:nobody\"", p.anon, p.id);
    for (int at = 0; at < INSTANCES; at++) {
        struct answer a = ask_ids(c, at, ids);
        assert_int_equal(a.status, 200);
        const struct json *one = json_get(a.json, "profiles")->child, *two = one->next;
        assert_true(str_is(json_get(one, "asked")->text, p.anon));
        assert_true(str_is(json_get(one, "id")->text, p.id));
        assert_null(json_get(two, "asked"));
        assert_null(two->next);
        assert_int_equal(json_get(a.json, "not_found")->count, 1);
        answer_free(&a);
    }
}

/* The cache has the user, and nothing of the device. */
static void test_cache(void **state)
{
    struct cluster *c = *state;
    char path[80];
    struct pair p;

    link_them(c, &p);
    snprintf(path, sizeof path, "/v1/profiles/%s", p.anon);
    struct answer first = ask(c, 2, path);
    assert_int_equal(first.status, 200);
    assert_int_equal(c->cache->fills, 1);
    assert_string_equal(c->cache->kept->id, p.id);
    struct answer a = ask(c, 2, path);
    expect_body(&a, 200, first.body, first.body_n);
    assert_int_equal(c->cache->hits, 1);
    assert_int_equal(c->cache->fills, 1);
    answer_free(&first);
}

static size_t small_body(struct http_request *r, void *arg)
{
    (void)r, (void)arg;
    return KIB;
}

static void answer_linked(struct http_request *r, void *arg)
{
    const struct http_field field = {"X-Waymark-Instance", "p1"};

    http_answer_send(r, &(struct http_answer){.status = 421, .body = str_of(arg), .fields = &field, .field_count = 1});
}

/* One that says what cannot be is not followed. */
static void test_liar(void **state)
{
    static const char *const lies[] = {"{\"code\":\"linked\",\"id\":\"anon:x\"}", "{\"code\":\"linked\"}", "linked", "",
                                       "{\"id\":\"user:\"}"};
    struct cluster *c = *state;
    char device[24], path[64], user[64], ids[64];

    user_of(1, 0, device);
    snprintf(path, sizeof path, "/v1/profiles/anon:%s", device);
    snprintf(user, sizeof user, "/v1/profiles/user:%s", device);
    snprintf(ids, sizeof ids, "\"anon:%s\"", device);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        const struct http_options o = {.listen = "127.0.0.1:0",
                                       .threads = 1,
                                       .body_limit = small_body,
                                       .handle = answer_linked,
                                       .arg = (void *)(uintptr_t)lies[i]};
        struct http_server *other;
        struct err e = {0};
        must(http_server_start(&o, &other, &e), &e);
        world.port[1] = http_server_port(other);
        expect_get(&c->at[0].shop, path, 503, "unavailable");
        expect_get(&c->at[0].shop, user, 503, "unavailable");
        struct answer a = ask_ids(c, 0, ids);
        expect_status(&a, 503, "unavailable");
        http_server_stop(other, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {PLAIN(test_every_route), PLAIN(test_many), CACHED(test_cache), PLAIN(test_liar)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
