/* The rules of privacy one by one: addresses, parameters of urls, numbers of cards, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "collector/privacy.h"
#include "common/limits.h"

static const struct str cut[] = {STR_LIT("email"), STR_LIT("token"), STR_LIT("access_token"), STR_LIT("jsessionid")};
static const struct privacy rules = {.cut = cut, .cut_count = 4};

static void assert_text(struct str is, const char *want, const char *of)
{
    if (!(want ? str_is(is, want) : !str_has(is)))
        fail_msg("%s: is %.*s, want %s", of, STR_ARG(is), want ? want : "nothing");
}

static void test_addresses(void **state)
{
    static const struct {
        const char *in, *kept;
    } cases[] = {
        {"198.51.100.7", "198.51.100.0"},
        {" 198.51.100.255 ", "198.51.100.0"},
        {"198.51.100.7:8080", "198.51.100.0"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1::"},
        {"[2001:db8:1:2::3]:443", "2001:db8:1::"},
        {"2001:db8:1:2::3", "2001:db8:1::"},
        {"fe80::1%eth0", "fe80::"},
        {"::1", "::"},
        {"::ffff:198.51.100.7", "198.51.100.0"},
        {"::ffff:c633:6407", "198.51.100.0"},
        {"", NULL},
        {"x", NULL},
        {"1.2.3", NULL},
        {"1.2.3.4.5", NULL},
        {"198.51.100.7, 10.0.0.1", NULL},
        {"198.51.100.07", NULL},
        {"11111111111111111111111111111111111111111111111111111111111111111111", NULL},
        {"[", NULL},
    };
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str in = str_of(cases[i].in);
        assert_text(privacy_address(CONF_IP_TRUNCATED, in, &a), cases[i].kept, cases[i].in);
        assert_text(privacy_address(CONF_IP_FULL, in, &a), cases[i].in, cases[i].in);
        assert_text(privacy_address(CONF_IP_NONE, in, &a), NULL, cases[i].in);
    }
    assert_text(privacy_address(CONF_IP_TRUNCATED, STR_NONE, &a), NULL, "absent");
    assert_text(privacy_address(CONF_IP_TRUNCATED, ((struct str){"1.2.3.4\0x", 9}), &a), NULL, "a NUL");
    arena_deinit(&a);
}

static const struct {
    const char *in, *kept;
} url_cases[] = {
    {"https://x/", "https://x/"},
    {"https://x/?a=1", "https://x/?a=1"},
    {"https://x/?email=q", "https://x/"},
    {"https://x/?email=q&a=1", "https://x/?a=1"},
    {"https://x/?a=1&email=q", "https://x/?a=1"},
    {"https://x/?a=1&email=q&b=2", "https://x/?a=1&b=2"},
    {"https://x/?email=q&token=t", "https://x/"},
    {"https://x/?email=q&token=t&a=1&email=r", "https://x/?a=1"},
    {"https://x/?EMail=q", "https://x/"},
    {"https://x/?%65mail=q", "https://x/"},
    {"https://x/?ema%69l=q&em%61i%6C=q&%4%email=q&%gmail=q", "https://x/?%4%email=q&%gmail=q"},
    {"https://x/?user[email]=q&a[b]=c", "https://x/?a[b]=c"},
    {"https://x/?user%5Bemail%5D=q", "https://x/"},
    {"https://x/?email=", "https://x/"},
    {"https://x/?email", "https://x/?email"},
    {"https://x/?emails=1&myemail=2", "https://x/?emails=1&myemail=2"},
    {"https://x/#token=t", "https://x/"},
    {"https://x/#access_token=t&state=s", "https://x/#state=s"},
    {"https://x/#/reset?token=t&a=1", "https://x/#/reset?a=1"},
    {"https://x/?a=1#token=t", "https://x/?a=1"},
    {"https://x/?token=t#a", "https://x/#a"},
    {"https://x/?token=t#token=t", "https://x/"},
    {"https://x/?a=1;token=t;b=2", "https://x/?a=1;b=2"},
    {"https://x/p;jsessionid=1?a=1", "https://x/p?a=1"},
    {"https://x/?email=a@b.c", "https://x/"},
    {"?email=q&a=1", "?a=1"},
    {"?email=q", ""},
    {"https://x/?next=https%3A%2F%2Fy%2F%3Femail%3Dq&a=1", "https://x/?a=1"},
    {"https://x/?next=https%3A%2F%2Fy%2F%3Fa%3Dq&a=1", "https://x/?next=https%3A%2F%2Fy%2F%3Fa%3Dq&a=1"},
    {"https://x/?n=https%3A%2F%2Fy%2F%3Fm%3Dhttps%253A%252F%252Fz%252F%253Femail%253Dq", "https://x/"},
    {"https://x/?next=https://y/?email=q", "https://x/?next=https://y/"},
    {"https://ann:secret@x/?a=1", "https://x/?a=1"},
    {"https://ann:secret@x/?token=1", "https://x/"},
    {"https://ann@x", "https://x"},
    {"https://x/@ann", "https://x/@ann"},
    {"https://x/?q=a@b", "https://x/?q=a@b"},
    {"mailto:a@b.c", "mailto:a@b.c"},
    {"a=b", "a=b"},
    {"email=q", "email=q"}, /* no query, as far as can be seen */
    {"https://x/?=1&&a=1&", "https://x/?=1&&a=1&"},
    {"https://x/?token=1&&a=1&", "https://x/?&a=1&"},
    {"", ""},
};

static void test_urls(void **state)
{
    struct arena a;

    (void)state;
    arena_init(&a, MIB);
    for (size_t i = 0; i < sizeof url_cases / sizeof *url_cases; i++) {
        size_t n = strlen(url_cases[i].in);
        char *in = malloc(n ? n : 1); /* so that a read past its end is seen */
        memcpy(in, url_cases[i].in, n);
        struct str is = privacy_url(&rules, (struct str){in, n}, false, &a);
        assert_text(is, url_cases[i].kept, url_cases[i].in);
        assert_true((is.p == in) == (strcmp(url_cases[i].in, url_cases[i].kept) == 0));
        assert_text(privacy_url(&rules, is, false, &a), url_cases[i].kept, "cut again");
        free(in);
    }
    assert_text(privacy_url(&rules, STR_LIT("email=q&a=1"), true, &a), "a=1", "a bare query");
    assert_text(privacy_url(&rules, STR_LIT("a=1&email=q"), true, &a), "a=1", "a bare query");
    assert_text(privacy_url(&rules, STR_LIT("email=q"), true, &a), "", "a bare query");
    arena_deinit(&a);
}

/* Nothing of any of these goes past its bounds, and cutting ends: what is cut once is cut. */
static void test_urls_at_random(void **state)
{
    static const char *const parts[] = {"?",       "&", "#", ";",   "=", "email", "token=",       "a=1", "%",
                                        "%65mail", "[", "]", "://", "@", "x",     "%3Femail%3Dq", "%25", "/"};
    uint64_t random = 7;
    struct arena a;
    char text[256];

    (void)state;
    arena_init(&a, MIB);
    for (int round = 0; round < 20000; round++) {
        size_t n = 0;
        for (int i = 0; i < 12; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            const char *part = parts[(random >> 33) % (sizeof parts / sizeof *parts)];
            memcpy(text + n, part, strlen(part));
            n += strlen(part);
        }
        char *in = malloc(n);
        memcpy(in, text, n);
        struct str once = privacy_url(&rules, (struct str){in, n}, round & 1, &a);
        assert_true(str_has(once) && once.n <= n);
        struct str twice = privacy_url(&rules, once, false, &a);
        if (once.p != in && !(round & 1) && !memmem(once.p, once.n, "://", 3))
            assert_true(str_eq(once, twice));
        free(in);
        arena_reset(&a);
    }
    arena_deinit(&a);
}

static void test_cards(void **state)
{
    static const struct {
        const char *in;
        bool card, alone;
    } cases[] = {
        {"4111111111111111", true, true},
        {"4111 1111 1111 1111", true, true},
        {" 4111-1111-1111-1111 ", true, true},
        {"4111.1111.1111.1111", true, true},
        {"4111\xc2\xa0"
         "1111\xe2\x80\x93"
         "1111 1111",
         true, true},
        {"\xef\xbc\x94\xef\xbc\x91\xef\xbc\x91\xef\xbc\x91 1111 1111 1111", true, true},
        {"378282246310005", true, true},
        {"3782 822463 10005", true, true},
        {"6011111111111117", true, true},
        {"6200000000000005", true, true},
        {"9812345678901230", true, false}, /* of no large network, unless it is written as on a card */
        {"9812 3456 7890 1230", true, true},
        {"98123 456 7890 1230", true, false},
        {"9812 345 67890 1230", true, false},
        {"9812 3456 78901 230", true, false},
        {"4222222222222", true, false}, /* 13 digits: as many phones have */
        {"6304000000000000001", false, false},
        {"6304000000000000000", true, false},
        {"4111111111111112", false, false},
        {"411111111111111", false, false},
        {"0000000000000000", false, false},
        {"41111111111111111111", false, false}, /* 20 in one piece */
        {"x4111 1111 1111 1111 12/27 123", true, false},
        {"my card: 4111111111111111.", true, false},
        {"12/27 4111111111111111", true, false},
        {"4111   1111   1111   1111", false, false},
        {"****1111", false, false},
        {"1111", false, false},
        {"+44 20 7946 0958", false, false},
        {"", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].in);
        char *in = malloc(n ? n : 1);
        memcpy(in, cases[i].in, n);
        if (privacy_card((struct str){in, n}) != cases[i].card ||
            privacy_card_alone((struct str){in, n}) != cases[i].alone)
            fail_msg("%s: is %d %d", cases[i].in, privacy_card((struct str){in, n}),
                     privacy_card_alone((struct str){in, n}));
        free(in);
    }
}

static void test_names(void **state)
{
    static const struct {
        const char *name;
        unsigned found;
    } cases[] = {
        {"email", NAME_PERSONAL | NAME_PERSONAL_HERE},
        {"E-Mail", NAME_PERSONAL | NAME_PERSONAL_HERE},
        {"phoneNumber", NAME_PERSONAL | NAME_PERSONAL_HERE},
        {"name", NAME_PERSONAL},
        {"full_name", NAME_PERSONAL | NAME_PERSONAL_HERE},
        {"firstName", NAME_PERSONAL | NAME_PERSONAL_HERE},
        {"description", NAME_PERSONAL},
        {"cardNumber", NAME_CARD},
        {"card_last4", NAME_PERSONAL | NAME_PERSONAL_HERE | NAME_CARD},
        {"PAN", NAME_CARD},
        {"studentCard", 0},
        {"ip", NAME_ADDRESS},
        {"$ip", NAME_ADDRESS},
        {"clientIp", NAME_ADDRESS},
        {"userHash", NAME_HASH},
        {"user_hash", NAME_HASH},
        {"search", NAME_QUERY},
        {"product_id", 0},
        {"url", 0},
        {"", 0},
        {"a_name_that_is_far_longer_than_what_a_thread_remembers", 0},
    };
    static struct name_memo memo;
    struct buf errors;

    (void)state;
    buf_init(&errors, MIB);
    struct vocabulary *v = vocabulary_load(NULL, &errors);
    assert_non_null(v);
    const struct privacy p = {.vocabulary = v};
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            if (privacy_name(&p, round ? &memo : NULL, str_of(cases[i].name)) != cases[i].found)
                fail_msg("%s: is %u", cases[i].name, privacy_name(&p, NULL, str_of(cases[i].name)));
    vocabulary_free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_urls_at_random), cmocka_unit_test(test_cards),
                                       cmocka_unit_test(test_names)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
