/* Paths: split first, decoded after, and encoded back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/http.h"

#define MOST 8

static int split(struct arena *a, const char *raw, size_t n, struct str *out)
{
    /* An exact copy, so that a sanitizer sees a read past the end. */
    char *copy = arena_alloc(a, n + 1);

    memcpy(copy, raw, n);
    return http_path_segments((struct str){copy, n}, a, out, MOST);
}

static void segments(void **state)
{
    static const struct {
        const char *raw;
        int count;
        struct str want[MOST];
    } cases[] = {
        {"/", 0, {{0}}},
        {"/v1/x", 2, {STR_LIT("v1"), STR_LIT("x")}},
        {"/v1/x/", 3, {STR_LIT("v1"), STR_LIT("x"), STR_LIT("")}},
        {"//", 2, {STR_LIT(""), STR_LIT("")}},
        {"//x", 2, {STR_LIT(""), STR_LIT("x")}},
        {"/v1/profiles/user%3A42/path", 4, {STR_LIT("v1"), STR_LIT("profiles"), STR_LIT("user:42"), STR_LIT("path")}},
        {"/a%2Fb/c", 2, {STR_LIT("a/b"), STR_LIT("c")}},
        {"/a%2fb%2F", 1, {STR_LIT("a/b/")}},
        {"/a%00b", 1, {STR_LIT("a\0b")}},
        {"/%00", 1, {STR_LIT("\0")}},
        {"/%25%32%46", 1, {STR_LIT("%2F")}}, /* decoded once only */
        {"/%252F", 1, {STR_LIT("%2F")}},
        {"/..%2F../%2e%2e", 2, {STR_LIT("../.."), STR_LIT("..")}},
        {"/a+b", 1, {STR_LIT("a+b")}}, /* '+' is a space in queries only */
        {"/%E4%B8%AD%e6%96%87", 1, {STR_LIT("\xe4\xb8\xad\xe6\x96\x87")}},
        {"/\xff%ff", 1, {STR_LIT("\xff\xff")}},
        {"/1/2/3/4/5/6/7/8",
         8,
         {STR_LIT("1"), STR_LIT("2"), STR_LIT("3"), STR_LIT("4"), STR_LIT("5"), STR_LIT("6"), STR_LIT("7"),
          STR_LIT("8")}},
        {"/1/2/3/4/5/6/7/8/9", -1, {{0}}},
        {"", -1, {{0}}},
        {"v1/x", -1, {{0}}},
        {"*", -1, {{0}}},
        {"/%", -1, {{0}}},
        {"/%1", -1, {{0}}},
        {"/a%2", -1, {{0}}},
        {"/%zz", -1, {{0}}},
        {"/%1g", -1, {{0}}},
        {"/%-1", -1, {{0}}},
        {"/%/41", -1, {{0}}}, /* an escape does not reach over a slash */
        {"/%4/1", -1, {{0}}},
        {"/ok/%", -1, {{0}}},
    };
    struct str out[MOST];
    struct arena a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        arena_init(&a, 1 << 20);
        int count = split(&a, cases[i].raw, strlen(cases[i].raw), out);
        if (count != cases[i].count)
            print_error("%s\n", cases[i].raw);
        assert_int_equal(count, cases[i].count);
        for (int j = 0; j < count; j++)
            assert_true(str_eq(out[j], cases[i].want[j]));
        arena_deinit(&a);
    }
}

static void out_of_memory(void **state)
{
    struct str out[MOST];
    struct arena a;

    (void)state;
    arena_init(&a, 0);
    assert_int_equal(http_path_segments(STR_LIT("/a/b"), &a, out, MOST), 2); /* nothing to decode */
    assert_int_equal(http_path_segments(STR_LIT("/a%41/b"), &a, out, MOST), -1);
    arena_deinit(&a);
}

static void encoding(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    http_encode_segment(&b, STR_LIT("user:a/b c%\0\xe4+?#-._~Az9"));
    assert_true(str_is(buf_str(&b), "user%3Aa%2Fb%20c%25%00%E4%2B%3F%23-._~Az9"));
    buf_deinit(&b);
}

/* Whatever an id holds, it comes back from a path as it was. */
static void there_and_back(void **state)
{
    unsigned seed = 11;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        char id[2][40];
        struct str ids[2], out[MOST];
        struct buf b;
        struct arena a;
        arena_init(&a, 1 << 20);
        buf_init(&b, 1 << 20);
        for (int j = 0; j < 2; j++) {
            ids[j] = (struct str){id[j], (size_t)rand_r(&seed) % sizeof id[j]};
            for (size_t k = 0; k < ids[j].n; k++)
                id[j][k] = (char)(rand_r(&seed) >> 7);
            buf_add_char(&b, '/');
            http_encode_segment(&b, ids[j]);
        }
        assert_int_equal(http_path_segments(buf_str(&b), &a, out, MOST), 2);
        assert_true(str_eq(out[0], ids[0]) && str_eq(out[1], ids[1]));
        buf_deinit(&b);
        arena_deinit(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(encoding),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
