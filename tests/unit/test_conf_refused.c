/* What the configuration refuses: where, with which words, and within which bounds. */
#include "common/conf_inside.h"
#include "tests/support/conf_case.h"

#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void refused_as(const char *text, const char *want)
{
    char errors[4096];
    struct conf *c = parse(text, errors);

    if (c || strcmp(errors, want) != 0) {
        conf_free(c);
        fail_msg("of\n%s\nwanted\n%s\ngot\n%s", text, want, errors);
    }
}

static const struct {
    const char *text, *errors;
} bad[] = {
    {"colector: {}", "x.yaml:1:1: unknown option 'colector'; is collector meant?\n"},
    {"{}\n---\n{}", "x.yaml:2:1: a second document: one file is one document\n"},
    {"[1]", "x.yaml:1:1: a map of options must stand here\n"},
    {"wrong", "x.yaml:1:1: a map of options must stand here\n"},
    {"collector: 5", "x.yaml:1:12: collector: a map of options must stand here\n"},
    {"collector.listen: 127.0.0.1:1", "x.yaml:1:1: unknown option 'collector.listen'\n"},
    {"zzzzzzzzzzzz: 1", "x.yaml:1:1: unknown option 'zzzzzzzzzzzz'\n"},
    {"profiler: {identity: {link_by_orders: true}}",
     "x.yaml:1:23: unknown option 'link_by_orders'; is link_by_order meant?\n"},
    {"partitions: 1\npartitions: 2", "x.yaml:2:1: 'partitions' stands here a second time, first in line 1\n"},
    {"? [a]\n: 1", "x.yaml:1:3: a key must be a word\n"},
    {"\"a\\0b\": 1", "x.yaml:1:1: unknown option 'a\\x00b'\n"},
    {"partitions: 0", "x.yaml:1:13: partitions: '0' is out of range: from 1 to 1024\n"},
    {"partitions: 1025", "x.yaml:1:13: partitions: '1025' is out of range: from 1 to 1024\n"},
    {"partitions: 99999999999999999999999",
     "x.yaml:1:13: partitions: '99999999999999999999999' is out of range: from 1 to 1024\n"},
    {"partitions: -1", "x.yaml:1:13: partitions: needs a whole number, not '-1'\n"},
    {"partitions: 4.0", "x.yaml:1:13: partitions: needs a whole number, not '4.0'\n"},
    {"partitions: four", "x.yaml:1:13: partitions: needs a whole number, not 'four'\n"},
    {"partitions: '4'", "x.yaml:1:13: partitions: needs a whole number without quotes\n"},
    {"partitions:", "x.yaml:1:12: partitions: needs a whole number, not nothing\n"},
    {"partitions: [4]", "x.yaml:1:13: partitions: needs a whole number, not a list\n"},
    {"partitions: {a: 4}", "x.yaml:1:13: partitions: needs a whole number, not a map\n"},
    {"partitions: !env P", "x.yaml:1:13: partitions: needs a whole number, not 'P'\n"
                           "x.yaml:1:13: the tag '!env' is not known here\n"},
    {"event_log: kafka", "x.yaml:1:12: event_log: kafka needs kafka: {bootstrap.servers: HOST:PORT,…}\n"},
    {"event_log: files", "x.yaml:1:12: event_log: must be embedded or kafka, not 'files'\n"},
    {"kafka: x", "x.yaml:1:8: kafka: needs a map of at most 200 properties\n"},
    {"kafka: {linger.ms: [5]}", "x.yaml:1:20: kafka.'linger.ms': needs one value\n"},
    {"redis: x", "x.yaml:1:8: redis: a map of options must stand here\n"},
    {"redis: {url: 'http://x'}",
     "x.yaml:1:14: redis.url: needs a URL such as redis://127.0.0.1:6379/0, rediss://… or unix:///path\n"},
    {"redis: {ca_file: /nowhere/ca.pem}",
     "x.yaml:1:18: redis.ca_file: /nowhere/ca.pem cannot be read: No such file or directory\n"},
    {"redis: {prefix: 'a b'}",
     "x.yaml:1:17: redis.prefix: needs letters, digits, dot, colon, dash and line, not 'a b'\n"},
    {"instance: a:b",
     "x.yaml:1:11: instance: needs letters, digits, dot, dash and line; one is made and kept in `data` if not given, "
     "not 'a:b'\n"},
    {"topic_prefix: ''", "x.yaml:1:15: topic_prefix: needs a name, from 1 to 64 bytes long\n"},
    {"profiler: {advertise: 10.0.0.5}", "x.yaml:1:23: profiler.advertise: needs a URL such as http://10.0.0.5:8081\n"},
    {"profiler: {cache: maybe}", "x.yaml:1:19: profiler.cache: must be on or off, not 'maybe'\n"},
    {"collector: {spool_bytes: 1KiB}",
     "x.yaml:1:26: collector.spool_bytes: '1KiB' is out of range: from 1MiB to 1024TiB\n"},
    {"collector: {require_user_hash: true}",
     "x.yaml:1:32: collector.require_user_hash: needs user_hash_secret_file beside it\n"},
    {"collector: {require_user_hash: yes}",
     "x.yaml:1:32: collector.require_user_hash: needs true or false, not 'yes'\n"},
    {"profiler: {identity: {link_by_order: 'true'}}",
     "x.yaml:1:38: profiler.identity.link_by_order: needs true or false without quotes\n"},
    {"currency: gbp",
     "x.yaml:1:11: currency: needs an ISO 4217 code of three capital letters such as GBP, not 'gbp'\n"},
    {"currency: POUND",
     "x.yaml:1:11: currency: needs an ISO 4217 code of three capital letters such as GBP, not 'POUND'\n"},
    {"timezone: Mars/Olympus",
     "x.yaml:1:11: timezone: no time zone 'Mars/Olympus' in this machine's tz database (package tzdata)\n"},
    {"data: ''", "x.yaml:1:7: data: needs a folder, from 1 to 4095 bytes long\n"},
    {"data: ~", "x.yaml:1:7: data: needs a folder, not nothing\n"},
    {"data: \"a\\nb\"", "x.yaml:1:7: data: holds a control character: 'a\\x0ab'\n"},
    {"profiler: {session_gap: 30parsecs}", "x.yaml:1:25: profiler.session_gap: needs a duration such as 500ms, 30m or "
                                           "400d, not '30parsecs'\n"},
    {"profiler: {session_gap: 999ms}", "x.yaml:1:25: profiler.session_gap: '999ms' is out of range: from 1s to 1d\n"},
    {"profiler: {session_gap: 25h}", "x.yaml:1:25: profiler.session_gap: '25h' is out of range: from 1s to 1d\n"},
    {"log: {reserve: 5MB}", "x.yaml:1:16: log.reserve: needs a size such as 64KiB, 4MiB or 2GiB, not '5MB'\n"},
    {"log: {reserve: 2TiB}", "x.yaml:1:16: log.reserve: '2TiB' is out of range: from 0 to 1TiB\n"},
    {"log: {reserve: 999999999999999999TiB}",
     "x.yaml:1:16: log.reserve: '999999999999999999TiB' is out of range: from 0 to 1TiB\n"},
    {"log: {reserve: 99999999999999999999999KiB}",
     "x.yaml:1:16: log.reserve: '99999999999999999999999KiB' is out of range: from 0 to 1TiB\n"},
    {"profiler: {payment_hosts: ['https://x.com']}",
     "x.yaml:1:28: profiler.payment_hosts: needs host names such as paypal.com, not 'https://x.com'\n"},
    {"profiler: {payment_hosts: paypal.com}", "x.yaml:1:27: profiler.payment_hosts: needs a list\n"},
    {"blocked_ids: ~", "x.yaml:1:14: blocked_ids: needs a list; [] is an empty one\n"},
    {"blocked_ids: [a, [b]]", "x.yaml:1:18: blocked_ids: needs ids of at most 256 bytes\n"},
    {"collector: {listen: 127.0.0.1:8081}",
     "x.yaml:1:21: listen: 127.0.0.1:8081 is the collector's and the profiler's address; name another port for one of "
     "them\n"},
    {"collector: {listen: 127.0.0.1:9}\nprofiler: {listen: 127.0.0.1:9}",
     "x.yaml:2:20: listen: 127.0.0.1:9 is the collector's and the profiler's address; name another port for one of "
     "them\n"},
    {"collector: {listen: 127.0.0.1:8080, metrics_listen: 127.0.0.1:8080}",
     "x.yaml:1:53: metrics_listen: 127.0.0.1:8080 is the address of `listen`; leave metrics_listen out to have "
     "/metrics there (on a loopback address only), or name another port\n"},
    {"profiler: {metrics_listen: 127.0.0.1:8081}",
     "x.yaml:1:28: metrics_listen: 127.0.0.1:8081 is the address of `listen`; leave metrics_listen out to have "
     "/metrics there (on a loopback address only), or name another port\n"},
    /* keys */
    {"collector: {keys: 5}", "x.yaml:1:19: collector.keys: needs a list\n"},
    {"collector: {keys: [5]}", "x.yaml:1:20: needs a key such as {name: web, kind: beacon, key: …}\n"},
    {"collector: {keys: [{}]}", "x.yaml:1:20: a key needs a `kind`: beacon or server\n"
                                "x.yaml:1:20: a key needs a `name`\n"},
    {"collector: {keys: [{name: w, kind: butler}]}", "x.yaml:1:36: kind: must be beacon or server, not 'butler'\n"},
    {"collector: {keys: [{name: w, kind: beacon}]}", "x.yaml:1:20: a beacon key needs `key`, the key itself\n"},
    {"collector: {keys: [{name: w, kind: beacon, key: k, sha256: " HASH_A "}]}",
     "x.yaml:1:60: a beacon key is public: it stands here itself, as `key`, not its sha256\n"},
    {"collector: {keys: [{name: w, kind: beacon, key: 'a:b'}]}",
     "x.yaml:1:49: key: needs a key of ASCII letters, digits and signs, without spaces and colons, not 'a:b'\n"},
    {"collector: {keys: [{name: w, kind: server}]}", "x.yaml:1:20: a server key needs `sha256`, its SHA-256 in hex\n"},
    {"collector: {keys: [{name: w, kind: server, key: sk_secret}]}",
     "x.yaml:1:49: a server key is secret and does not stand here: put its hash as `sha256`, which is what `printf %s "
     "KEY | sha256sum` prints\n"},
    {"collector: {keys: [{name: w, kind: server, sha256: sk_secret}]}",
     "x.yaml:1:52: sha256: needs a SHA-256 in 64 hexadecimal digits, not a text of 9 bytes\n"},
    {"collector: {keys: [{name: w, kind: server, sha256: " HASH_OF_NOTHING "}]}",
     "x.yaml:1:52: sha256: is the hash of nothing, which is no secret\n"},
    {"collector: {keys: [{name: w, kind: server, sha256: " HASH_A ", origins: []}]}",
     "x.yaml:1:127: only a beacon key may carry origins\n"},
    {"collector: {keys: [{name: w, kind: beacon, key: k, origins: [www.example.com]}]}",
     "x.yaml:1:62: origins: needs origins such as https://www.example.com, without a path, not 'www.example.com'\n"},
    {"collector: {keys: [{name: w, kind: beacon, key: k, origins: ['https://a.b/']}]}",
     "x.yaml:1:62: origins: needs origins such as https://www.example.com, without a path, not 'https://a.b/'\n"},
    {"collector:\n  keys:\n"
     "  - {name: a, kind: beacon, key: k1}\n"
     "  - {name: a, kind: beacon, key: k1}\n"
     "  - {name: b, source: a, kind: server, sha256: " HASH_A "}\n"
     "  - {name: c, kind: server, sha256: " HASH_A "}\n",
     "x.yaml:4:5: the key in line 3 has the name 'a' too\n"
     "x.yaml:4:5: this is the same key as that in line 3\n"
     "x.yaml:5:5: the key in line 3 gives the source 'a' the other kind: what a public key says would be taken for the "
     "back end's word\n"
     "x.yaml:6:5: this is the same key as that in line 5\n"},
    /* tokens */
    {"profiler: {tokens: [{}]}", "x.yaml:1:21: a token needs `scopes`\n"
                                 "x.yaml:1:21: a token needs `sha256`, its SHA-256 in hex\n"
                                 "x.yaml:1:21: a token needs a `name`\n"},
    {"profiler: {tokens: [x]}", "x.yaml:1:21: needs a token such as {name: site, sha256: …, scopes: [lookup]}\n"},
    {"profiler:\n  tokens:\n"
     "  - {name: t, sha256: " HASH_A ", scopes: [lookup, root]}\n"
     "  - {name: t, sha256: " HASH_A ", scopes: []}\n",
     "x.yaml:3:106: scopes: must be of lookup, pii, audience, export and admin, not 'root'\n"
     "x.yaml:4:5: the token in line 3 has the name 't' too\n"
     "x.yaml:4:5: this is the same token as that in line 3\n"
     "x.yaml:4:97: scopes: a token without a scope may do nothing\n"},
    /* not YAML */
    {"data: [a", "x.yaml:1:7: while parsing a flow sequence: did not find expected ',' or ']'\n"},
    {"timezone: Zürich/Ö\ndata: [a\n", "x.yaml:2:7: while parsing a flow sequence: did not find expected ',' or ']'\n"},
    {"a: b: c", "x.yaml:1:5: mapping values are not allowed in this context\n"},
    {"a: *nowhere", "x.yaml:1:4: found undefined alias\n"},
    {"partitions: 4\ndata: \xff\xfe", "x.yaml:2:7: invalid leading UTF-8 octet\n"},
    {"data: &a [*a]", "x.yaml:1:7: this contains itself by an alias\n"},
    {"&a {collector: *a}", "x.yaml:1:1: this contains itself by an alias\n"},
};

static void bad_by_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused_as(bad[i].text, bad[i].errors);
}

static void addresses(void **state)
{
    static const char *const good[] = {"127.0.0.1:0", "0.0.0.0:65535", "[::]:80", "[2001:db8::1]:8080",
                                       "[::ffff:1.2.3.4]:1"};
    static const char *const wrong[] = {"8080",         ":8080",           "localhost:8080",  "127.0.0.1",
                                        "127.0.0.1:",   "127.0.0.1:65536", "127.0.0.1:8080x", "127.0.0.1:-1",
                                        "::1:80",       "[::1]",           "[::1]:",          "[127.0.0.1]:80",
                                        "256.0.0.1:80", "1.2.3:80",        "[]:80",           "127.0.0.1:000080",
                                        "[::1%lo]:80"};
    char text[200], errors[4096];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        snprintf(text, sizeof text, "collector: {listen: '%s'}", good[i]);
        conf_free(parse_good(text));
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        snprintf(text, sizeof text, "collector: {listen: '%s'}", wrong[i]);
        if (parse(text, errors))
            fail_msg("took '%s'", wrong[i]);
        assert_memory_equal(errors, "x.yaml:1:21: collector.listen: ", 31);
    }
}

/* What the acceptance program does to a good file: each mistake is told at its own line, in one run. */
static void all_mistakes_in_one_run(void **state)
{
    refused_as("data: ./data\n"
               "collector:\n"
               "  keys:\n"
               "    - {name: web, source: web, kind: beacon, key: wk_accept_web}\n"
               "    - {name: backend, source: backend, kind: butler, sha256: " HASH_A "}\n"
               "profiler:\n"
               "  session_gap: 30parsecs\n"
               "  identity:\n"
               "    link_by_order: false\n"
               "    max_devices_per_user: 100\n"
               "  tokens:\n"
               "    - {name: accept, sha256: " HASH_A ", scopes: [lookup, pii, audience, export, admin]}\n"
               "colector: {}\n",
               "x.yaml:5:46: kind: must be beacon or server, not 'butler'\n"
               "x.yaml:7:16: profiler.session_gap: needs a duration such as 500ms, 30m or 400d, not '30parsecs'\n"
               "x.yaml:13:1: unknown option 'colector'; is collector meant?\n");
    (void)state;
}

static size_t count_lines(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '\n';
    return n;
}

static void mistakes_have_a_bound(void **state)
{
    struct buf text, errors;

    (void)state;
    buf_init(&text, 2 * MIB);
    buf_init(&errors, MIB);
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, "wrong%d: 1\n", i);
    assert_null(conf_parse("x", buf_str(&text), &errors));
    assert_int_equal(count_lines(buf_str(&errors)), CONF_ERRORS + 1);
    assert_non_null(memmem(errors.p, errors.n, "x: and 4900 mistakes more\n", 26));

    buf_reset(&errors);
    for (int i = 0; i < 50000; i++)
        buf_addf(&text, "w%d: 1\n", i);
    assert_null(conf_parse("x", buf_str(&text), &errors));
    assert_true(str_is(buf_str(&errors), "x: more than 50000 values\n"));

    buf_reset(&errors);
    assert_true(buf_room(&text, CONF_FILE_BYTES + 1));
    memset(text.p, '\n', CONF_FILE_BYTES + 1);
    assert_null(conf_parse("x", (struct str){text.p, CONF_FILE_BYTES + 1}, &errors));
    assert_true(str_is(buf_str(&errors), "x: larger than 1048576 bytes\n"));
    conf_free(conf_parse("x", (struct str){text.p, CONF_FILE_BYTES}, &errors));

    /* Nesting, in both of its forms. */
    buf_reset(&errors);
    memset(text.p, '[', 100000);
    assert_null(conf_parse("x", (struct str){text.p, 100000}, &errors));
    assert_true(str_is(buf_str(&errors), "x: more than 10000 opening brackets\n"));
    buf_reset(&errors);
    for (size_t i = 0; i < 20000; i++)
        text.p[i] = i % 2 ? ' ' : '-';
    assert_null(conf_parse("x", (struct str){text.p, 20000}, &errors));
    assert_true(str_is(buf_str(&errors), "x:1:129: nested deeper than 64 levels\n"));
    buf_deinit(&text);
    buf_deinit(&errors);
}

/* Lists of lists of lists by aliases: 10^9 entries, if anybody walked them. */
static void laughs_are_few(void **state)
{
    refused_as("a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
               "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nblocked_ids: *e\n",
               "x.yaml:1:1: unknown option 'a'\nx.yaml:2:1: unknown option 'b'\nx.yaml:3:1: unknown option 'c'\n"
               "x.yaml:4:1: unknown option 'd'\n"
               "x.yaml:4:4: blocked_ids: needs ids of at most 256 bytes\n"
               "x.yaml:5:1: unknown option 'e'\n");
    (void)state;
}

static void memory_runs_out_cleanly(void **state)
{
    struct conf_sample s = {"GBP", "UTC", "wk_x", HASH_A, HASH_B};
    struct buf text, errors;
    bool done = false;

    (void)state;
    buf_init(&text, MIB);
    conf_write_sample(&text, &s);
    for (size_t memory = 0; !done; memory += 509) {
        buf_init(&errors, MIB);
        struct conf *c = conf_parse_within("x", buf_str(&text), &errors, memory);
        done = c != NULL;
        if (!done)
            assert_non_null(memmem(errors.p, errors.n, "out of memory", 13));
        conf_free(c);
        buf_deinit(&errors);
        assert_true(memory < MIB);
    }
    buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_by_table),
        cmocka_unit_test(addresses),
        cmocka_unit_test(all_mistakes_in_one_run),
        cmocka_unit_test(mistakes_have_a_bound),
        cmocka_unit_test(laughs_are_few),
        cmocka_unit_test(memory_runs_out_cleanly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
