/* Look-ups over three profilers: whoever is asked, the answer is the owner's, or 503; never a guess, never a loop. */
#include "common/http.h"
#include "tests/support/api_case.h"

/* --- the routes ----------------------------------------------------------------------------------------------- */

static void test_profiles(void **state)
{
    struct cluster *c = *state;
    char path[256], user[24];

    put_users(c, 1);
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        user_of(p, 0, user);
        snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
        expect_same(c, path, 200);
        snprintf(path, sizeof path, "/v1/profiles/user:%s?as_of=2026-01-01T00:00:00.500Z", user);
        expect_same(c, path, 200);
        snprintf(path, sizeof path, "/v1/profiles/user:%s?as_of=2025-01-01T00:00:00Z", user);
        expect_same(c, path, 404);
        snprintf(path, sizeof path, "/v1/profiles/anon:%s", user);
        expect_same(c, path, 404);
        snprintf(path, sizeof path, "/v1/profiles/user:%s/orders", user);
        expect_same(c, path, 200);
        snprintf(path, sizeof path, "/v1/profiles/user:%s/path?limit=1001", user);
        expect_same(c, path, 400);
    }
    assert_true(forwarded_by_all(c) > 0);
}

/* What stands in path and query arrives as it was sent. */
static void test_odd_ids(void **state)
{
    static const char *const ids[] = {"a/b", "x?y=1", "h#h", "100%", "..", "a b", "\xc3\xa9", "q\"q", "a&b=c"};
    struct cluster *c = *state;

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        char path[256];
        struct buf b;
        put_at_owner(c, page(ids[i], "https://shop.example/a", T0));
        buf_init(&b, 200);
        http_encode_segment(&b, str_of(ids[i]));
        snprintf(path, sizeof path, "/v1/profiles/user:%.*s", STR_ARG(buf_str(&b)));
        expect_same(c, path, 200);
        snprintf(path, sizeof path, "/v1/profiles/%%75ser%%3A%.*s/path?order=desc&from=2025-12-31T23:59:59%%2B00:00",
                 STR_ARG(buf_str(&b)));
        expect_same(c, path, 200);
        buf_deinit(&b);
    }
}

static void test_paths(void **state)
{
    struct cluster *c = *state;
    char user[24], path[1024], cursor[512];

    for (uint32_t p = 0; p < PARTITIONS; p++) {
        user_of(p, 0, user);
        for (int i = 0; i < 5; i++)
            put_at_owner(c, page(user, "https://shop.example/a?b=c&d", T0 + i * 1000));
        snprintf(path, sizeof path, "/v1/profiles/user:%s/path?limit=2&order=desc", user);
        expect_same(c, path, 200);
        struct answer a = ask(c, (int)(p + 1) % INSTANCES, path);
        snprintf(cursor, sizeof cursor, "%.*s", STR_ARG(text_at(&a, "next")));
        answer_free(&a);
        snprintf(path, sizeof path, "/v1/profiles/user:%s/path?limit=2&cursor=%s", user, cursor);
        expect_same(c, path, 200);
        a = ask(c, (int)(p + 2) % INSTANCES, path);
        assert_int_equal(json_get(a.json, "events")->count, 2);
        answer_free(&a);
    }
}

static void test_head(void **state)
{
    struct cluster *c = *state;
    char path[256], user[24];

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    for (int i = 0; i < INSTANCES; i++) {
        struct answer a = request(&c->at[i].shop, "HEAD", "Bearer tk_all", path, NULL);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.body_n, 0);
        answer_free(&a);
    }
}

/* --- many ----------------------------------------------------------------------------------------------------- */

/* More than go out at once, mixed with unknown ones, in the order of the question. */
static void test_many(void **state)
{
    struct cluster *c = *state;
    struct buf ids, known;
    char user[24];

    put_users(c, 40);
    buf_init(&ids, MIB);
    buf_init(&known, MIB);
    for (unsigned i = 0; i < 40; i++) {
        for (uint32_t p = PARTITIONS; p-- > 0;) {
            user_of(p, i, user);
            buf_addf(&ids, "%s\"user:%s\",\"anon:%s\"", ids.n ? "," : "", user, user);
            buf_addf(&known, "user:%s ", user);
        }
    }
    buf_add_char(&ids, '\0');
    struct answer first = ask_ids(c, 0, ids.p);
    assert_int_equal(first.status, 200);
    struct buf found;
    buf_init(&found, MIB);
    for (const struct json *p = json_get(first.json, "profiles")->child; p; p = p->next) {
        buf_add_str(&found, json_get(p, "id")->text);
        buf_add_char(&found, ' ');
    }
    assert_true(str_eq(buf_str(&found), buf_str(&known)));
    assert_int_equal(json_get(first.json, "not_found")->count, 160);
    for (int i = 1; i < INSTANCES; i++) {
        struct answer a = ask_ids(c, i, ids.p);
        expect_body(&a, 200, first.body, first.body_n);
    }
    answer_free(&first);
    buf_deinit(&found);
    buf_deinit(&known);
    buf_deinit(&ids);
    struct answer none = ask_ids(c, 1, "");
    expect_body(&none, 200, "{\"profiles\":[],\"not_found\":[]}", strlen("{\"profiles\":[],\"not_found\":[]}"));
}

/* A list with holes would be taken for the truth. */
static void test_many_needs_all(void **state)
{
    struct cluster *c = *state;
    char ids[128], a[24], b[24];

    put_users(c, 1);
    user_of(1, 0, a);
    user_of(2, 0, b);
    snprintf(ids, sizeof ids, "\"user:%s\",\"user:%s\"", a, b);
    world_not_yet(2, true);
    for (int i = 0; i < INSTANCES; i++) {
        struct answer r = ask_ids(c, i, ids);
        assert_non_null(strstr(r.text, "Retry-After: 1\r\n"));
        expect_status(&r, 503, "not_yet");
    }
    world_not_yet(2, false);
    world_set(0, 2, NOBODY);
    struct answer r = ask_ids(c, 0, ids);
    expect_status(&r, 503, "not_yet");
    world_set(0, 2, 2);
    r = ask_ids(c, 0, ids);
    expect_status(&r, 200, NULL);
    world.port[2] = 1;
    r = ask_ids(c, 0, ids);
    expect_status(&r, 503, "unavailable");
}

/* --- scenes --------------------------------------------------------------------------------------------------- */

/* Nothing that a partition told another is still on its way. */
static bool is_settled(struct state *s)
{
    for (uint32_t a = 0; a < PARTITIONS; a++)
        for (uint32_t b = 0; b < PARTITIONS; b++)
            if (a != b && internal_version_cmp(state_sent(s, a, b), state_heard(s, b, a)) != 0)
                return false;
    return true;
}

/* On the log of every instance, as if they had one: who may show what is the world's to say. */
static void put_at_all(struct cluster *c, struct event e)
{
    int64_t until = clock_monotonic() + PATIENCE_MS;

    for (int i = 0; i < INSTANCES; i++) {
        struct instance *n = &c->at[i];

        put(&n->shop, e);
        while (followers_shown(n->followers, n->shop.partition) <= n->shop.offset || !is_settled(n->state)) {
            assert_true(clock_monotonic() < until);
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        }
    }
}

/* An order id with its home in that partition. */
static void order_at_home(struct cluster *c, uint32_t partition, unsigned number, char out[16])
{
    for (unsigned i = 0, left = number + 1; left > 0; i++) {
        snprintf(out, 16, "o%u", i);
        left -= state_order_partition(c->at[0].state, str_of(out)) == partition;
    }
}

static void test_scene(void **state)
{
    struct cluster *c = *state;
    char user[24], order[16], path[64];

    for (uint32_t p = 0; p < PARTITIONS; p++) {
        user_of(p, 0, user);
        put_at_all(c, page(user, "https://shop.example/a", T0));
        for (uint32_t home = 0; home < PARTITIONS; home++) {
            order_at_home(c, home, p, order);
            put_at_all(c, order_of(user, order, STATUS_CREATED, T0 + 1000, 5000000));
            snprintf(path, sizeof path, "/v1/orders/%s/scene", order);
            expect_same(c, path, 200);
        }
        put_at_all(c, order_of(user, "shared", STATUS_PAID, T0 + 2000 + (p * 7 + 3) % 4, (p + 1) * 1000000));
    }
    expect_same(c, "/v1/orders/shared/scene", 200);
    expect_same(c, "/v1/orders/none/scene", 404);
    for (int i = 0; i < INSTANCES; i++) {
        /* (p * 7 + 3) % 4 is greatest, 3, where p is 0. */
        struct answer a = ask(c, i, "/v1/orders/shared/scene");
        expect_raw(json_get(a.json, "order"), "total", "1");
        answer_free(&a);
    }
}

/* Nobody may say that there is none when its home or its owner could not be asked. */
static void test_scene_needs_both(void **state)
{
    struct cluster *c = *state;
    char user[24], order[16], there[64], none[64];

    user_of(0, 0, user);
    order_at_home(c, 1, 0, order);
    snprintf(there, sizeof there, "/v1/orders/%s/scene", order);
    put_at_all(c, order_of(user, order, STATUS_PAID, T0, 1000000));
    order_at_home(c, 1, 1, order);
    snprintf(none, sizeof none, "/v1/orders/%s/scene", order);
    world_not_yet(1, true);
    for (int i = 0; i < INSTANCES; i++) {
        expect_get(&c->at[i].shop, there, 503, "not_yet");
        expect_get(&c->at[i].shop, none, 503, "not_yet");
    }
    world_not_yet(1, false);
    world_not_yet(0, true);
    for (int i = 0; i < INSTANCES; i++) {
        expect_get(&c->at[i].shop, there, 503, "not_yet");
        expect_get(&c->at[i].shop, none, 404, "order_not_found");
    }
    world_not_yet(0, false);
    expect_get(&c->at[2].shop, there, 200, NULL);
    world_set(0, 1, NOBODY);
    expect_get(&c->at[0].shop, none, 503, "not_yet");
    world_set(0, 1, 2); /* who does not have it, and must say so */
    expect_get(&c->at[0].shop, none, 503, "not_yet");
    world_set(0, 1, 1);
    expect_get(&c->at[0].shop, none, 404, "order_not_found");
    world.port[1] = 1;
    expect_get(&c->at[0].shop, none, 503, "unavailable");
}

static void ask_forwarded(struct cluster *c, int instance, const char *path, int status, const char *body)
{
    struct answer a = request(&c->at[instance].shop, "GET", "Bearer tk_all\r\nX-Waymark-Forwarded: 1", path, NULL);

    if (a.status != status || (body && strcmp(a.body, body) != 0))
        fail_msg("%s: %d %s", path, a.status, a.body);
    assert_non_null(strstr(a.text, "X-Waymark-Instance: p"));
    answer_free(&a);
}

/* What one instance asks another: first whose the order is, then the scene with that owner. */
static void test_scene_in_two_steps(void **state)
{
    struct cluster *c = *state;
    char user[24], other[24], order[16], path[160], id[32];

    user_of(0, 0, user);
    user_of(0, 1, other);
    order_at_home(c, 1, 0, order);
    put_at_all(c, page(other, "https://shop.example/a", T0));
    put_at_all(c, order_of(user, order, STATUS_PAID, T0, 1000000));
    snprintf(id, sizeof id, "user:%s", user);
    snprintf(path, sizeof path, "/v1/orders/%s/scene?find=owner", order);
    ask_forwarded(c, 1, path, 200, id);
    ask_forwarded(c, 0, path, 503, NULL);
    snprintf(path, sizeof path, "/v1/orders/%s/scene?owner=user:%s", order, user);
    ask_forwarded(c, 0, path, 200, NULL);
    ask_forwarded(c, 1, path, 503, NULL);
    snprintf(path, sizeof path, "/v1/orders/%s/scene?owner=user:%s", order, other);
    ask_forwarded(c, 0, path, 404, NULL);
    /* From outside the parameters mean nothing. */
    expect_get(&c->at[0].shop, path, 200, NULL);
    expect_get(&c->at[1].shop, path, 200, NULL);
    snprintf(path, sizeof path, "/v1/orders/%s/scene?owner=nobody", order);
    ask_forwarded(c, 0, path, 400, NULL);
    expect_get(&c->at[2].shop, path, 200, NULL);
}

/* --- the cache ------------------------------------------------------------------------------------------------ */

static void test_cache(void **state)
{
    struct cluster *c = *state;
    char path[128], id[32], user[24];

    put_users(c, 1);
    user_of(1, 0, user);
    snprintf(id, sizeof id, "user:%s", user);
    snprintf(path, sizeof path, "/v1/profiles/%s", id);
    struct answer own = ask(c, 1, path);
    assert_int_equal(c->cache->reads, 0); /* the owner asks nobody */
    assert_int_equal(c->cache->fills, 0);
    struct answer a = ask(c, 0, path);
    expect_body(&a, 200, own.body, own.body_n);
    assert_int_equal(c->cache->fills, 1);
    assert_int_equal(forwarded(c, 0, "answered"), 1);
    a = ask(c, 2, path);
    assert_non_null(strstr(a.text, "application/json"));
    expect_body(&a, 200, own.body, own.body_n);
    assert_int_equal(c->cache->hits, 1);
    assert_int_equal(forwarded(c, 2, "answered"), 0);
    answer_free(&own);
    /* A hit is what another instance can say while the owner cannot; what the cache does not hold, it cannot. */
    world_not_yet(1, true);
    a = ask(c, 0, path);
    expect_status(&a, 200, NULL);
    expect_get(&c->at[0].shop, path, 503, "not_yet"); /* who may see personal values asks the owner */
    static const char *const not_cached[] = {"%s?as_of=2026-01-02T00:00:00Z", "%s?after=1:0", "%s/path", "%s/orders"};
    for (size_t i = 0; i < sizeof not_cached / sizeof *not_cached; i++) {
        char other[192];
        snprintf(other, sizeof other, not_cached[i], path);
        a = ask(c, 0, other);
        expect_status(&a, 503, "not_yet");
    }
    a = ask(c, 1, path);
    expect_status(&a, 503, "not_yet");
    assert_int_equal(c->cache->fills, 1);
}

/* Nothing is copied of a profile that is not there, nor of one that a client asks for. */
static void test_cache_is_filled_by_misses_only(void **state)
{
    struct cluster *c = *state;
    char path[128], user[24];

    put_users(c, 1);
    user_of(1, 7, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s", user);
    expect_get(&c->at[0].shop, path, 404, "profile_not_found");
    expect_get(&c->at[1].shop, path, 404, "profile_not_found");
    user_of(1, 0, user);
    snprintf(path, sizeof path, "/v1/profiles/user:%s?as_of=2026-01-02T00:00:00Z", user);
    expect_get(&c->at[0].shop, path, 200, NULL);
    assert_int_equal(c->cache->fills, 0);
}

static void test_many_over_the_cache(void **state)
{
    struct cluster *c = *state;
    struct buf ids;
    char user[24];

    put_users(c, 30);
    buf_init(&ids, MIB);
    for (unsigned i = 0; i < 30; i++) {
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            user_of(p, i, user);
            buf_addf(&ids, "%s\"user:%s\"", ids.n ? "," : "", user);
        }
    }
    buf_add_char(&ids, '\0');
    struct answer first = ask_ids(c, 0, ids.p);
    assert_int_equal(first.status, 200);
    assert_int_equal(json_get(first.json, "profiles")->count, 120);
    assert_int_equal(c->cache->fills, 60); /* partitions 1 and 2 */
    struct answer a = ask_ids(c, 0, ids.p);
    expect_body(&a, 200, first.body, first.body_n);
    assert_int_equal(c->cache->hits, 60);
    a = ask_ids(c, 1, ids.p);
    expect_body(&a, 200, first.body, first.body_n);
    answer_free(&first);
    buf_deinit(&ids);
}

static void test_many_have_a_bound(void **state)
{
    struct cluster *c = *state;
    struct buf big, ids;
    char user[24];

    buf_init(&big, 2 * MIB);
    buf_init(&ids, MIB);
    buf_add_char(&big, '"');
    while (big.n < MIB)
        buf_add_text(&big, "0123456789abcdef");
    buf_add_char(&big, '"');
    for (unsigned i = 0; i < 70; i++) {
        char id[32];
        user_of(1, i, user);
        snprintf(id, sizeof id, "user:%s", user);
        cache_keep(c->cache, str_of(id), buf_str(&big));
        buf_addf(&ids, "%s\"%s\"", i ? "," : "", id);
    }
    buf_add_char(&ids, '\0');
    struct answer a = ask_ids(c, 0, ids.p);
    expect_status(&a, 400, "parameter_invalid");
    buf_deinit(&ids);
    buf_deinit(&big);
}

/* --- health and the tail -------------------------------------------------------------------------------------- */

static void test_ready(void **state)
{
    struct cluster *c = *state;

    world_not_yet(1, true);
    expect_get(&c->at[0].shop, "/readyz", 200, NULL);
    expect_get(&c->at[1].shop, "/readyz", 503, "not_yet");
    world_not_yet(1, false);
    expect_get(&c->at[1].shop, "/readyz", 200, NULL);
    world_set(1, 1, 0); /* has none, and knows who has */
    expect_get(&c->at[1].shop, "/readyz", 200, NULL);
    for (uint32_t p = 0; p < PARTITIONS; p++)
        world_set(1, p, NOBODY);
    expect_get(&c->at[1].shop, "/readyz", 503, "not_yet");
}

static void test_tail(void **state)
{
    static const char *const told[INSTANCES] = {"[0,3]", "[1]", "[2]"};
    struct cluster *c = *state;
    char user[24];

    put_users(c, 1);
    for (int i = 0; i < INSTANCES; i++) {
        struct answer a = ask(c, i, "/v1/tail?after=0:99999999&wait=0");
        expect_raw(a.json, "partitions", told[i]);
        user_of((uint32_t)i, 0, user);
        assert_int_equal(json_get(a.json, "events")->count, 2);
        if (i > 0)
            assert_non_null(strstr(a.body, user));
        answer_free(&a);
        a = ask(c, i, "/v1/tail?topic=bad&wait=0");
        assert_null(json_get(a.json, "partitions"));
        expect_status(&a, 200, NULL);
    }
    world_not_yet(2, true);
    expect_get(&c->at[2].shop, "/v1/tail?wait=0", 503, "not_yet");
    expect_get(&c->at[1].shop, "/v1/tail?wait=0", 200, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_profiles),
        PLAIN(test_odd_ids),
        PLAIN(test_paths),
        PLAIN(test_head),
        PLAIN(test_many),
        PLAIN(test_many_needs_all),
        PLAIN(test_scene),
        PLAIN(test_scene_needs_both),
        PLAIN(test_scene_in_two_steps),
        CACHED(test_cache),
        CACHED(test_cache_is_filled_by_misses_only),
        CACHED(test_many_over_the_cache),
        CACHED(test_many_have_a_bound),
        PLAIN(test_ready),
        PLAIN(test_tail),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
