/* The entries of profiler.webhooks: what is taken, and what is refused without a word of a secret. */
#include <string.h>

#include "tests/support/conf_case.h"

#define GOOD "url: https://example.com/h, secret: 0123456789abcdef, audiences: all"

static void taken(void **state)
{
    struct conf *c = parse_good("profiler:\n  webhooks:\n"
                                "    - {name: crm, url: 'https://example.com:8443/a?b=c', secret: "
                                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, audiences: [loyal, 'all'], traits: [city], "
                                "tags: [stage, value], pii: true}\n"
                                "    - {name: local, url: 'http://localhost:9/', secret: 0123456789abcdef, audiences: "
                                "all}\n");
    const struct conf_webhook *h = c->profiler.webhooks;

    (void)state;
    assert_int_equal(c->profiler.webhook_count, 2);
    assert_string_equal(h[0].name, "crm");
    assert_string_equal(h[0].url, "https://example.com:8443/a?b=c");
    assert_int_equal(h[0].key_bytes, 24);
    assert_memory_equal(h[0].key, "\x31\xf2\x90\xf6\xbf\x06\x29\x8a", 8);
    assert_false(h[0].all);
    assert_int_equal(h[0].audience_count, 2);
    assert_string_equal(h[0].audiences[1], "all");
    assert_int_equal(h[0].trait_count, 1);
    assert_int_equal(h[0].tag_count, 2);
    assert_string_equal(h[0].tags[1], "value");
    assert_true(h[0].pii);
    assert_true(h[1].all && !h[1].pii && h[1].audience_count == 0 && h[1].trait_count == 0);
    assert_int_equal(h[1].key_bytes, 16);
    assert_memory_equal(h[1].key, "0123456789abcdef", 16);
    conf_free(c);
    conf_free(parse_good("profiler: {webhooks: ~}"));
    conf_free(parse_good("profiler: {webhooks: []}"));
}

struct refused {
    const char *entry, *why;
};

static const struct refused refused[] = {
    {"5", "x.yaml:1:23: needs a webhook such as "},
    {"{name: a}", "x.yaml:1:23: a webhook needs `url`\n"},
    {"{" GOOD "}", "x.yaml:1:23: a webhook needs `name`\n"},
    {"{name: 'a b', " GOOD "}", "name: needs "},
    {"{name: a, " GOOD ", more: 1}", "unknown option 'more'"},
    {"{name: a, " GOOD "}, {name: a, " GOOD "}", "the webhook in line 1 has the name 'a' too\n"},
    {"{name: a, url: 'http://example.com', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'http://127.0.0.1.example.com', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'http://localhost@example.com/', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'https://u:hush@example.com/', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'https://', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'https:///x', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: 'file:///etc/passwd', secret: 0123456789abcdef, audiences: all}", "url: needs a URL"},
    {"{name: a, url: https://x.com, secret: hush, audiences: all}", "secret: needs a key of at least 16 bytes"},
    {"{name: a, url: https://x.com, secret: whsec_aHVzaA==, audiences: all}", "at least 16 bytes, this one has 4\n"},
    {"{name: a, url: https://x.com, secret: 'whsec_hush hush', audiences: all}", "needs base64 behind whsec_\n"},
    {"{name: a, url: https://x.com, secret: ~, audiences: all}", "secret: "},
    {"{name: a, url: https://x.com, secret: 0123456789abcdef, audiences: ~}", "audiences: needs a list"},
    {"{name: a, url: https://x.com, secret: 0123456789abcdef, audiences: loyal}", "or the word all\n"},
    {"{name: a, " GOOD ", traits: city}", "traits: needs a list\n"},
    {"{name: a, " GOOD ", tags: [[]]}", "tags: needs names"},
};

static void refusals(void **state)
{
    char text[1024], errors[4096];

    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        snprintf(text, sizeof text, "profiler: {webhooks: [%s]}", refused[i].entry);
        struct conf *c = parse(text, errors);
        if (c || !strstr(errors, refused[i].why))
            fail_msg("%s\ngave: %s", text, errors);
        if (strstr(errors, "hush") || strstr(errors, "0123456789"))
            fail_msg("%s\ntells a secret: %s", text, errors);
    }
}

static void too_many(void **state)
{
    char text[8192] = "profiler:\n  webhooks:\n", errors[4096];

    (void)state;
    for (int i = 0; i <= LIMIT_WEBHOOKS; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "    - {name: h%d, " GOOD "}\n", i);
    assert_null(parse(text, errors));
    assert_non_null(strstr(errors, "has 33 entries, the most is 32\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),
        cmocka_unit_test(refusals),
        cmocka_unit_test(too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
