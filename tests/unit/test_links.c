/* Links and the runs that follow from them, against the rule read word by word from a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/limits.h"
#include "profiler/links.h"

enum { MOST = 24, USERS = 4, TIMES = 12 };

static uint64_t seed = 1;

static unsigned below(unsigned n)
{
    uint64_t z = (seed += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ (z >> 31)) % n);
}

static struct uid uid_of(unsigned n)
{
    struct uid u = {{0}};

    u.b[0] = (unsigned char)(n * 37);
    u.b[UID_BYTES - 1] = (unsigned char)n;
    return u;
}

static struct event_key some_key(unsigned uid)
{
    return (struct event_key){(int64_t)below(TIMES) - 3, (int64_t)below(3), below(2), uid_of(uid)};
}

/* What is said last of each subject, in no order. */
struct naive {
    struct link v[MOST];
    bool known[MOST];
};

static void naive_put(struct naive *n, unsigned subject, const struct link *l)
{
    if (n->known[subject] && internal_version_cmp(l->version, n->v[subject].version) <= 0)
        return;
    n->v[subject] = *l;
    n->known[subject] = true;
}

static bool odd_users(void *arg, const struct link *l)
{
    return arg == NULL || l->user % 2 == 1;
}

/* Of the latest link up to the key, else of the first. */
static uint32_t naive_user(const struct naive *n, void *arg, const struct event_key *key)
{
    const struct link *before = NULL, *first = NULL;

    for (unsigned i = 0; i < MOST; i++) {
        const struct link *l = &n->v[i];

        if (!n->known[i] || l->removed || !odd_users(arg, l))
            continue;
        if (!first || event_key_cmp(&l->key, &first->key) < 0)
            first = l;
        if (event_key_cmp(&l->key, key) <= 0 && (!before || event_key_cmp(&l->key, &before->key) > 0))
            before = l;
    }
    return before ? before->user : first ? first->user : NO_USER;
}

static struct link some_link(unsigned subject)
{
    return (struct link){.key = some_key(100 + subject),
                         .subject = uid_of(subject),
                         .user = below(USERS),
                         .removed = below(4) == 0,
                         .by_order = true,
                         .version = {(int64_t)below(5), below(4)}};
}

static void put_some(struct links *l, struct naive *n, unsigned how_many)
{
    while (how_many-- > 0) {
        unsigned subject = below(MOST);
        struct link link = some_link(subject);
        bool newer = !n->known[subject] || internal_version_cmp(link.version, n->v[subject].version) > 0;

        assert_int_equal(links_put(l, &link), newer);
        naive_put(n, subject, &link);
    }
}

static void check_runs(const struct links *l, const struct naive *n, void *arg, struct runs *out)
{
    struct event_key last = {INT64_MAX, INT64_MAX, UINT32_MAX, {{0}}};

    assert_int_equal(runs_make(l, odd_users, arg, out), 0);
    for (unsigned i = 0; i < 40; i++) {
        struct event_key key = some_key(below(2) ? 100 + below(MOST) : below(MOST));
        assert_int_equal(runs_user(out, &key), naive_user(n, arg, &key));
    }
    for (unsigned i = 0; i < MOST; i++) /* the evidence itself is at its link, not before it */
        assert_int_equal(runs_user(out, &n->v[i].key), naive_user(n, arg, &n->v[i].key));
    assert_int_equal(runs_last_user(out), naive_user(n, arg, &last));
    for (size_t i = 1; i < out->n; i++) {
        assert_true(event_key_cmp(&out->v[i - 1].from, &out->v[i].from) < 0);
        assert_true(out->v[i - 1].user != out->v[i].user);
    }
}

/* Two lists of runs differ nowhere outside the times that runs_differ gives, and when it gives none, nowhere. */
static void check_differ(const struct runs *a, const struct runs *b)
{
    int64_t from, to;
    bool differ = runs_differ(a, b, &from, &to);

    for (int64_t t = -5; t < TIMES + 2; t++) {
        for (unsigned i = 0; i < 30; i++) {
            struct event_key key = some_key(i);
            key.time = t;
            if (!differ || t < from || t > to)
                assert_int_equal(runs_user(a, &key), runs_user(b, &key));
        }
    }
}

static void an_event_is_the_users_that_the_rule_gives(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        struct links l = {0};
        struct naive n = {0};
        struct runs before = {0}, after = {0};

        seed = round + 1;
        put_some(&l, &n, below(MOST));
        check_runs(&l, &n, NULL, &before);
        check_runs(&l, &n, &n, &after);
        check_differ(&before, &after);
        check_differ(&after, &before);
        put_some(&l, &n, 1 + below(3));
        check_runs(&l, &n, NULL, &after);
        check_differ(&before, &after);
        check_differ(&before, &before);
        runs_deinit(&before);
        runs_deinit(&after);
        links_deinit(&l);
    }
}

/* The order in which things are said of links is no matter. */
static void links_are_the_same_however_they_come(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct links a = {0}, b = {0}, at_once = {0};
        struct link said[MOST];

        seed = 5000 + round;
        for (unsigned i = 0; i < MOST; i++) {
            said[i] = some_link(below(6));
            said[i].version = (struct internal_version){(int64_t)i / 3, i % 3};
            assert_true(links_put(&a, &said[i]) >= 0);
        }
        for (unsigned i = MOST; i > 0; i--) {
            unsigned k = below(i);
            struct link swap = said[k];

            said[k] = said[i - 1];
            said[i - 1] = swap;
            assert_true(links_put(&b, &swap) >= 0);
            assert_int_equal(links_put(&b, &swap), 0);
            for (unsigned times = 1 + below(2); times > 0; times--)
                assert_int_equal(links_add(&at_once, &swap), 0);
        }
        links_settle(&at_once);
        assert_true(a.n == b.n && a.n == at_once.n);
        for (size_t i = 0; i < a.n; i++) {
            assert_memory_equal(&a.v[i].version, &b.v[i].version, sizeof a.v[i].version);
            assert_memory_equal(&a.v[i].version, &at_once.v[i].version, sizeof a.v[i].version);
        }
        links_deinit(&a);
        links_deinit(&b);
        links_deinit(&at_once);
    }
}

static void same_link(const struct link *a, const struct link *b)
{
    assert_int_equal(event_key_cmp(&a->key, &b->key), 0);
    assert_memory_equal(a->subject.b, b->subject.b, UID_BYTES);
    assert_int_equal(a->user, b->user);
    assert_int_equal(a->removed, b->removed);
    assert_int_equal(a->by_order, b->by_order);
    assert_int_equal(internal_version_cmp(a->version, b->version), 0);
}

static void links_as_bytes_are_read_back_and_no_prefix_is_one(void **state)
{
    static const int64_t extremes[] = {INT64_MIN, -1, 0, 1, INT64_MAX};

    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        struct link link, back = {0};
        struct buf b;

        seed = 9000 + round;
        link = some_link(below(MOST));
        link.key.time = extremes[below(5)];
        link.key.received = extremes[below(5)];
        link.version.cause = extremes[below(5)];
        link.by_order = below(2);
        if (!link.by_order)
            link.subject = link.key.uid;
        buf_init(&b, KIB);
        assert_true(link_write(&link, &b));
        for (size_t n = 0; n <= b.n; n++) {
            char *exact = malloc(n + 1); /* so that a read past the end is seen */
            const char *p = exact;

            memcpy(exact, b.p, n);
            assert_int_equal(link_read(&p, exact + n, &back), n == b.n);
            free(exact);
        }
        same_link(&link, &back);
        buf_deinit(&b);
    }
}

static void no_bytes_break_the_reader(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        size_t n = below(64);
        char *bytes = malloc(n + 1);
        const char *p = bytes;
        struct link link;

        for (size_t i = 0; i < n; i++)
            bytes[i] = (char)(below(3) ? below(256) : 0xff);
        while (p < bytes + n && link_read(&p, bytes + n, &link))
            assert_true(link.user < NO_USER);
        assert_true(p <= bytes + n);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_the_users_that_the_rule_gives),
        cmocka_unit_test(links_are_the_same_however_they_come),
        cmocka_unit_test(links_as_bytes_are_read_back_and_no_prefix_is_one),
        cmocka_unit_test(no_bytes_break_the_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
