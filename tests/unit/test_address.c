/* Where others reach a profiler, by what is configured. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "profiler/address.h"

static void expect(const char *advertised, const char *listen, const char *url)
{
    char out[300];

    assert_int_equal(address_of(advertised, false, listen, 8081, out, sizeof out, NULL), 0);
    assert_string_equal(out, url);
}

static void test_address(void **state)
{
    char name[256] = {0}, url[300], small[12];

    (void)state;
    expect(NULL, "127.0.0.1:0", "http://127.0.0.1:8081");
    expect(NULL, "[::1]:9", "http://[::1]:8081");
    expect(NULL, "shop.example:9", "http://shop.example:8081");
    expect("https://p1.example:443", "127.0.0.1:0", "https://p1.example:443");
    expect("https://p1.example/waymark//", "127.0.0.1:0", "https://p1.example/waymark");
    assert_int_equal(gethostname(name, sizeof name - 1), 0);
    snprintf(url, sizeof url, "http://%s:8081", name);
    expect(NULL, "0.0.0.0:9", url);
    expect(NULL, "[::]:9", url);
    expect(NULL, ":9", url);
    assert_int_equal(address_of(NULL, true, "127.0.0.1:0", 8081, url, sizeof url, NULL), 0);
    assert_string_equal(url, "https://127.0.0.1:8081");
    assert_int_equal(address_of("http://behind.proxy", true, "127.0.0.1:0", 8081, url, sizeof url, NULL), 0);
    assert_string_equal(url, "http://behind.proxy");
    assert_int_equal(address_of(NULL, false, "127.0.0.1:0", 8081, small, sizeof small, NULL), -EINVAL);
    assert_int_equal(address_of("/", false, "127.0.0.1:0", 8081, url, sizeof url, NULL), -EINVAL);
}

/* What somebody may have put on the topic of claims. */
static void test_valid(void **state)
{
    static const char *const good[] = {"http://a", "https://a.example:8081", "http://[::1]:9", "http://a/b/c",
                                       "http://a_b~c:1/%20"};
    static const char *const bad[] = {"",
                                      "http://",
                                      "http:///v1",
                                      "http://:80",
                                      "a:8081",
                                      "HTTP://a",
                                      "ftp://a",
                                      "file:///etc/passwd",
                                      "gopher://a",
                                      "http://a@b",
                                      "http://a:b@c",
                                      "http://a/?x=",
                                      "http://a#",
                                      "http://a b",
                                      "http://a\r\nX: y",
                                      "http://a\\b",
                                      "http://a\x7f",
                                      "http://\xc3\xa4"};
    char url[300];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(address_is_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(address_is_valid(str_of(bad[i])));
        assert_int_equal(address_of(bad[i], false, "127.0.0.1:0", 8081, url, sizeof url, NULL), -EINVAL);
    }
    assert_false(address_is_valid((struct str){"http://a\0b", 10}));
    assert_false(address_is_valid(STR_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_address), cmocka_unit_test(test_valid)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
