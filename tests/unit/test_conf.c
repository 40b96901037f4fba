/* The configuration: what is taken, what is refused where and with which words, and the files written from its table.
 * `test_conf --write` writes config/waymark.yaml and config/REFERENCE.md anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "common/conf.h"
#include "common/conf_inside.h"
#include "common/event_log.h"
#include "common/limits.h"

/* Nobody knows a key with this hash. */
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define HASH_A "a000000000000000000000000000000000000000000000000000000000000001"
#define HASH_B "B000000000000000000000000000000000000000000000000000000000000002"
#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* The configuration of a text; the mistakes go to `errors` (4 KiB), which is "" when there are none. */
static struct conf *parse(const char *text, char *errors)
{
    struct buf b;

    buf_init(&b, 64 * KIB);
    struct conf *c = conf_parse("x.yaml", str_of(text), &b);
    buf_add_char(&b, '\0');
    snprintf(errors, 4096, "%s", b.p);
    buf_deinit(&b);
    assert_true((c == NULL) == (errors[0] != '\0'));
    return c;
}

static struct conf *parse_good(const char *text)
{
    char errors[4096];
    struct conf *c = parse(text, errors);

    if (!c)
        fail_msg("refused:\n%s%s", text, errors);
    return c;
}

static void refused_as(const char *text, const char *want)
{
    char errors[4096];
    struct conf *c = parse(text, errors);

    if (c || strcmp(errors, want) != 0) {
        conf_free(c);
        fail_msg("of\n%s\nwanted\n%s\ngot\n%s", text, want, errors);
    }
}

/* --- what is taken --- */

static void defaults(void **state)
{
    struct conf *c = parse_good("");
    char cwd[4000], data[4096];

    (void)state;
    assert_non_null(getcwd(cwd, sizeof cwd));
    snprintf(data, sizeof data, "%s/waymark-data", cwd);
    assert_string_equal(c->file, "x.yaml");
    assert_string_equal(c->data, data);
    assert_int_equal(c->partitions, 4);
    assert_string_equal(c->currency, "GBP");
    assert_string_equal(c->timezone, "UTC");
    assert_int_equal(c->log.retain_ms, 0);
    assert_int_equal(c->log.retain_bytes, 0);
    assert_int_equal(c->log.reserve_bytes, 256 * MIB);
    assert_string_equal(c->collector.listen, "127.0.0.1:8080");
    assert_null(c->collector.metrics_listen);
    assert_true(c->collector.ack_durable);
    assert_int_equal(c->collector.trusted_proxies, 0);
    assert_int_equal(c->collector.threads, 2);
    assert_int_equal(c->collector.rate_limit, 0);
    assert_int_equal(c->collector.key_count, 0);
    assert_string_equal(c->profiler.listen, "127.0.0.1:8081");
    assert_null(c->profiler.metrics_listen);
    assert_int_equal(c->profiler.session_gap_ms, 30 * TIME_MINUTE);
    assert_false(c->profiler.count_from_paid);
    assert_int_equal(c->profiler.touch_window_ms, 30 * TIME_DAY);
    assert_true(c->profiler.payment_host_count > 5);
    assert_string_equal(c->profiler.payment_hosts[0], "paypal.com");
    assert_false(c->profiler.link_by_order);
    assert_int_equal(c->profiler.max_users_per_device, 20);
    assert_int_equal(c->profiler.max_devices_per_user, 1000);
    assert_int_equal(c->profiler.threads, 2);
    assert_int_equal(c->profiler.http_threads, 2);
    assert_int_equal(c->profiler.lookup_threads, 2);
    assert_int_equal(c->profiler.commit_ms, 10 * TIME_SECOND);
    assert_int_equal(c->profiler.commit_bytes, 256 * MIB);
    assert_int_equal(c->profiler.cache_bytes, 512 * MIB);
    assert_int_equal(c->profiler.token_count, 0);
    assert_false(c->kafka);
    assert_null(c->instance);
    assert_string_equal(c->topic_prefix, "waymark.");
    assert_int_equal(c->kafka_property_count, 0);
    assert_null(c->redis.url);
    assert_string_equal(c->redis.prefix, "waymark:");
    assert_int_equal(c->redis.ttl_ms, TIME_DAY);
    assert_false(c->profiler.cache_off);
    assert_null(c->profiler.advertise);
    assert_string_equal(c->profiler.backups + strlen(data), "/backups");
    assert_int_equal(c->collector.spool_bytes, UINT64_C(10) << 30);
    conf_free(c);
    conf_free(NULL);
    conf_free(parse_good("# nothing but a comment\n"));
    conf_free(parse_good("---\n...\n"));
    conf_free(parse_good("{}"));
    conf_free(parse_good("collector:\nprofiler:\n  identity:\n  tokens:\nkafka:\nredis: ~\n"));
}

static void every_option(void **state)
{
    struct conf *c =
        parse_good("data: /var/lib/waymark\n"
                   "event_log: kafka\n"
                   "instance: p-1.a_b\n"
                   "topic_prefix: shop.\n"
                   "partitions: 16\n"
                   "currency: EUR\n"
                   "timezone: Europe/Berlin\n"
                   "log: {retain: 400d, retain_bytes: 20GiB, reserve: 1000}\n"
                   "collector:\n"
                   "  listen: '[::1]:0'\n"
                   "  metrics_listen: 10.0.0.1:9100\n"
                   "  ack: enqueued\n"
                   "  trusted_proxies: 2\n"
                   "  require_user_hash: FALSE\n"
                   "  threads: 8\n"
                   "  rate_limit: 5000\n"
                   "profiler:\n"
                   "  listen: 0.0.0.0:80\n"
                   "  metrics_listen: null\n"
                   "  session_gap: 1s\n"
                   "  orders_count_from: paid\n"
                   "  touch_window: '7d'\n"
                   "  payment_hosts: [PayPal.com, pay.example]\n"
                   "  identity: {link_by_order: true, max_users_per_device: 1, max_devices_per_user: 100}\n"
                   "  threads: 3\n"
                   "  http_threads: 4\n"
                   "  lookup_threads: 5\n"
                   "  commit_interval: 500ms\n"
                   "  commit_bytes: 64KiB\n"
                   "  cache_bytes: 0\n"
                   "  advertise: https://p1.internal:8081\n"
                   "  cache: off\n"
                   "  backups: /backups\n"
                   "kafka: {bootstrap.servers: 'a:9092,b:9092', linger.ms: 5, socket.keepalive.enable: true}\n"
                   "redis: {url: 'rediss://u:p@cache:6380/2', prefix: 's1:', ttl: 0, ca_file: /dev/null,\n"
                   "  cert_file: /dev/null, key_file: /dev/null, password_file: /dev/null}\n");

    (void)state;
    assert_true(c->kafka);
    assert_string_equal(c->instance, "p-1.a_b");
    assert_string_equal(c->topic_prefix, "shop.");
    assert_int_equal(c->kafka_property_count, 3);
    assert_string_equal(c->kafka_properties[0].name, "bootstrap.servers");
    assert_string_equal(c->kafka_properties[0].value, "a:9092,b:9092");
    assert_string_equal(c->kafka_properties[1].value, "5");
    assert_string_equal(c->kafka_properties[2].value, "true");
    assert_string_equal(c->redis.url, "rediss://u:p@cache:6380/2");
    assert_string_equal(c->redis.prefix, "s1:");
    assert_int_equal(c->redis.ttl_ms, 0);
    assert_string_equal(c->redis.ca_file, "/dev/null");
    assert_string_equal(c->redis.cert_file, "/dev/null");
    assert_string_equal(c->redis.key_file, "/dev/null");
    assert_string_equal(c->redis.password_file, "/dev/null");
    assert_string_equal(c->profiler.advertise, "https://p1.internal:8081");
    assert_true(c->profiler.cache_off);
    assert_string_equal(c->profiler.backups, "/backups");
    assert_string_equal(c->data, "/var/lib/waymark");
    assert_int_equal(c->partitions, 16);
    assert_string_equal(c->currency, "EUR");
    assert_string_equal(c->timezone, "Europe/Berlin");
    assert_int_equal(c->log.retain_ms, 400 * TIME_DAY);
    assert_true(c->log.retain_bytes == UINT64_C(20) << 30);
    assert_int_equal(c->log.reserve_bytes, 1000);
    assert_string_equal(c->collector.listen, "[::1]:0");
    assert_string_equal(c->collector.metrics_listen, "10.0.0.1:9100");
    assert_false(c->collector.ack_durable);
    assert_int_equal(c->collector.trusted_proxies, 2);
    assert_int_equal(c->collector.threads, 8);
    assert_int_equal(c->collector.rate_limit, 5000);
    assert_string_equal(c->profiler.listen, "0.0.0.0:80");
    assert_null(c->profiler.metrics_listen);
    assert_int_equal(c->profiler.session_gap_ms, 1000);
    assert_true(c->profiler.count_from_paid);
    assert_int_equal(c->profiler.touch_window_ms, 7 * TIME_DAY);
    assert_int_equal(c->profiler.payment_host_count, 2);
    assert_string_equal(c->profiler.payment_hosts[0], "paypal.com");
    assert_true(c->profiler.link_by_order);
    assert_int_equal(c->profiler.max_users_per_device, 1);
    assert_int_equal(c->profiler.max_devices_per_user, 100);
    assert_int_equal(c->profiler.threads, 3);
    assert_int_equal(c->profiler.http_threads, 4);
    assert_int_equal(c->profiler.lookup_threads, 5);
    assert_int_equal(c->profiler.commit_ms, 500);
    assert_int_equal(c->profiler.commit_bytes, 64 * KIB);
    assert_int_equal(c->profiler.cache_bytes, 0);
    conf_free(c);
}

static void keys_and_tokens(void **state)
{
    /* The SHA-256 of "abc" is that of FIPS 180-2's first example. */
    static const unsigned char of_abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
    struct conf *c =
        parse_good("collector:\n"
                   "  keys:\n"
                   "    - {name: web, kind: beacon, key: abc}\n"
                   "    - name: app\n"
                   "      source: web\n"
                   "      kind: beacon\n"
                   "      key: wk_2\n"
                   "      origins: [https://WWW.example.com, 'http://localhost:3000']\n"
                   "    - {name: backend, source: erp, kind: server, sha256: " HASH_A "}\n"
                   "    - {name: backend2, source: erp, kind: server, sha256: " HASH_B "}\n"
                   "profiler:\n"
                   "  tokens:\n"
                   "    - {name: site, sha256: " HASH_A ", scopes: [lookup]}\n"
                   "    - {name: all, sha256: " HASH_B ", scopes: [lookup, pii, audience, export, admin]}\n");
    const struct conf_key *k = c->collector.keys;

    (void)state;
    assert_int_equal(c->collector.key_count, 4);
    assert_string_equal(k[0].source, "web");
    assert_int_equal(k[0].kind, CONF_KEY_BEACON);
    assert_string_equal(k[0].key, "abc");
    assert_memory_equal(k[0].sha256, of_abc, sizeof of_abc);
    assert_int_equal(k[0].origin_count, 0);
    assert_string_equal(k[1].name, "app");
    assert_string_equal(k[1].source, "web");
    assert_int_equal(k[1].origin_count, 2);
    assert_string_equal(k[1].origins[0], "https://www.example.com");
    assert_int_equal(k[2].kind, CONF_KEY_SERVER);
    assert_null(k[2].key);
    assert_int_equal(k[2].sha256[0], 0xa0);
    assert_int_equal(k[3].sha256[0], 0xb0);
    assert_int_equal(k[3].sha256[31], 0x02);
    assert_int_equal(c->profiler.token_count, 2);
    assert_int_equal(c->profiler.tokens[0].scopes, SCOPE_LOOKUP);
    assert_int_equal(c->profiler.tokens[1].scopes,
                     SCOPE_LOOKUP | SCOPE_PII | SCOPE_AUDIENCE | SCOPE_EXPORT | SCOPE_ADMIN);
    conf_free(c);
}

static void an_alias_is_what_it_names(void **state)
{
    struct conf *c = parse_good("collector:\n"
                                "  keys:\n"
                                "    - {name: a, kind: beacon, key: k1, origins: &sites [https://a.example]}\n"
                                "    - {name: b, kind: beacon, key: k2, origins: *sites}\n");

    (void)state;
    assert_string_equal(c->collector.keys[1].origins[0], "https://a.example");
    conf_free(c);
}

static void data_starts_at_the_files_folder(void **state)
{
    char folder[] = "/tmp/test_conf.XXXXXX", path[200], errors_text[300];
    struct buf errors;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    FILE *f = fopen(path, "w");
    fputs("data: ./state\n", f);
    fclose(f);
    buf_init(&errors, 1000);
    struct conf *c = conf_load(path, &errors);
    assert_non_null(c);
    snprintf(path, sizeof path, "%s/state", folder);
    assert_string_equal(c->data, path);
    conf_free(c);
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    unlink(path);

    assert_null(conf_load(path, &errors));
    snprintf(errors_text, sizeof errors_text, "%s: cannot be read: No such file or directory\n", path);
    assert_true(str_is(buf_str(&errors), errors_text));
    buf_reset(&errors);
    assert_null(conf_load(folder, &errors));
    assert_true(errors.n > 0);
    buf_deinit(&errors);
    rmdir(folder);

    buf_init(&errors, 1000);
    c = conf_parse("/c.yaml", STR_LIT("data: d"), &errors);
    assert_string_equal(c->data, "/d");
    conf_free(c);
    assert_null(conf_parse("/no/such/folder/c.yaml", STR_LIT("data: d"), &errors));
    buf_deinit(&errors);
}

/* --- blocked ids --- */

static bool blocked(const struct conf *c, const char *id)
{
    return conf_blocked(c->blocked, str_of(id));
}

static void blocked_by_default(void **state)
{
    static const char *const absent[] = {"null",
                                         "NULL",
                                         "Null",
                                         "undefined",
                                         "UNDEFINED",
                                         "none",
                                         "nil",
                                         "NaN",
                                         "0",
                                         "-1",
                                         "anonymous",
                                         "Guest",
                                         "unknown",
                                         "n/a",
                                         "N/A",
                                         "true",
                                         "false",
                                         "[object Object]",
                                         "(null)",
                                         "{}",
                                         "00000000-0000-0000-0000-000000000000",
                                         "000",
                                         "-",
                                         "---",
                                         "0-0",
                                         "00000000000000000000000000000000"};
    static const char *const present[] = {
        "nulla", "nul",   "1",    "-2",   "0a",       "a1", "u",          "00000000-0000-0000-0000-000000000001",
        "null ", " null", "000.", "test", "\xc3\x84", "10", "anonymous1", "user"};
    struct conf *c = parse_good("");

    (void)state;
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        if (!blocked(c, absent[i]))
            fail_msg("'%s' is taken as an id", absent[i]);
    for (size_t i = 0; i < sizeof present / sizeof present[0]; i++)
        if (blocked(c, present[i]))
            fail_msg("'%s' is blocked", present[i]);
    assert_true(conf_blocked(c->blocked, STR_NONE));
    assert_true(conf_blocked(c->blocked, STR_LIT("")));
    assert_true(conf_blocked(NULL, STR_LIT("")));
    assert_false(conf_blocked(NULL, STR_LIT("null")));
    assert_false(conf_blocked(c->blocked, (struct str){"null\0", 5}));
    conf_free(c);
}

static void blocked_as_given(void **state)
{
    struct conf *c = parse_good("blocked_ids: [~, NULL, 0, 'Kasse', \"\", true, ÄH]\n");

    (void)state;
    assert_true(blocked(c, "null") && blocked(c, "0") && blocked(c, "KASSE") && blocked(c, "TRUE") && blocked(c, ""));
    assert_true(blocked(c, "ÄH") && blocked(c, "Äh"));
    assert_false(blocked(c, "äh")); /* only ASCII letters have two cases here */
    assert_false(blocked(c, "undefined") || blocked(c, "~") || blocked(c, "00") || blocked(c, "-"));
    conf_free(c);
    c = parse_good("blocked_ids: []");
    assert_false(blocked(c, "null"));
    assert_true(blocked(c, ""));
    conf_free(c);
    c = parse_good("blocked_ids: [00000000-0000-0000-0000-000000000000]");
    assert_true(blocked(c, "0-0"));
    assert_false(blocked(c, "null"));
    conf_free(c);
}

static void blocked_in_a_long_list(void **state)
{
    struct buf text, errors;
    char id[40];

    (void)state;
    buf_init(&text, MIB);
    buf_init(&errors, 1000);
    buf_add_text(&text, "blocked_ids: [");
    for (int i = 0; i < 5000; i++)
        buf_addf(&text, "Id%d, ", i);
    buf_add_text(&text, "last]");
    struct conf *c = conf_parse("x", buf_str(&text), &errors);
    assert_non_null(c);
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "iD%d", i);
        assert_int_equal(blocked(c, id), i < 5000);
    }
    conf_free(c);
    buf_deinit(&text);
    buf_deinit(&errors);
}

/* --- what is refused --- */

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

/* --- what is written --- */

static void the_sample_is_the_defaults(void **state)
{
    struct conf_sample s = {"SEK", "Europe/Stockholm", "wk_x", HASH_A, HASH_B}, none = {0};
    struct buf text;

    (void)state;
    buf_init(&text, MIB);
    conf_write_sample(&text, &s);
    buf_add_char(&text, '\0');
    struct conf *c = parse_good(text.p), *d = parse_good("");
    assert_string_equal(c->currency, "SEK");
    assert_string_equal(c->timezone, "Europe/Stockholm");
    assert_int_equal(c->collector.key_count, 2);
    assert_string_equal(c->collector.keys[0].key, "wk_x");
    assert_int_equal(c->collector.keys[1].sha256[0], 0xa0);
    assert_int_equal(c->profiler.tokens[0].scopes, SCOPE_LOOKUP | SCOPE_ADMIN);
    /* The rest is as without a file. */
    assert_int_equal(c->partitions, d->partitions);
    assert_int_equal(c->profiler.payment_host_count, d->profiler.payment_host_count);
    for (size_t i = 0; i < c->profiler.payment_host_count; i++)
        assert_string_equal(c->profiler.payment_hosts[i], d->profiler.payment_hosts[i]);
    assert_true(blocked(c, "[object object]") && blocked(c, "NULL") && blocked(c, "0-0") && blocked(c, "n/a"));
    assert_int_equal(c->profiler.commit_bytes, d->profiler.commit_bytes);
    assert_int_equal(c->log.reserve_bytes, d->log.reserve_bytes);
    conf_free(c);
    conf_free(d);
    buf_reset(&text);
    conf_write_sample(&text, &none);
    buf_add_char(&text, '\0');
    c = parse_good(text.p);
    assert_int_equal(c->collector.key_count, 0);
    conf_free(c);
    buf_deinit(&text);
}

static void write_shipped_sample(struct buf *out)
{
    static const struct conf_sample s = {NULL, NULL, "wk_replace_me", ZEROS, ZEROS};

    conf_write_sample(out, &s);
}

/* A file of this source tree, found from this file. */
static FILE *open_shipped(const char *name, const char *mode)
{
    char path[4096];
    struct str here = STR_LIT(__FILE__);
    static const char tail[] = "tests/unit/test_conf.c";

    snprintf(path, sizeof path, "%.*sconfig/%s", (int)(here.n - (sizeof tail - 1)), here.p, name);
    return fopen(path, mode);
}

static void check_shipped(const char *name, void (*write)(struct buf *))
{
    struct buf want, got;
    FILE *f = open_shipped(name, "r");

    if (!f)
        fail_msg("config/%s is missing: run test_conf --write", name);
    buf_init(&want, MIB);
    buf_init(&got, MIB);
    write(&want);
    assert_true(buf_room(&got, MIB));
    got.n = fread(got.p, 1, MIB, f);
    fclose(f);
    assert_false(want.failed);
    if (!str_eq(buf_str(&want), buf_str(&got)))
        fail_msg("config/%s is not what the table gives: run test_conf --write", name);
    buf_deinit(&want);
    buf_deinit(&got);
}

static void shipped_files_are_current(void **state)
{
    (void)state;
    check_shipped("waymark.yaml", write_shipped_sample);
    check_shipped("REFERENCE.md", conf_write_reference);
}

/* Every option stands in the sample, as the key of a line, and in the reference. */
static void every_option_is_written(void **state)
{
    struct buf sample, reference;
    char want[200];

    (void)state;
    buf_init(&sample, MIB);
    buf_init(&reference, MIB);
    write_shipped_sample(&sample);
    conf_write_reference(&reference);
    for (size_t i = 0; i < conf_row_count; i++) {
        const char *name = strrchr(conf_rows[i].path, '.');
        snprintf(want, sizeof want, "%s:", name ? name + 1 : conf_rows[i].path);
        if (!memmem(sample.p, sample.n, want, strlen(want)))
            fail_msg("the sample lacks %s", conf_rows[i].path);
        snprintf(want, sizeof want, "| `%s` |", conf_rows[i].path);
        if (!memmem(reference.p, reference.n, want, strlen(want)))
            fail_msg("the reference lacks %s", conf_rows[i].path);
        assert_true(strlen(conf_rows[i].why) > 20);
    }
    buf_deinit(&sample);
    buf_deinit(&reference);
}

static int write_shipped(void)
{
    static const struct {
        const char *name;
        void (*write)(struct buf *);
    } files[] = {{"waymark.yaml", write_shipped_sample}, {"REFERENCE.md", conf_write_reference}};

    for (size_t i = 0; i < 2; i++) {
        struct buf b;
        FILE *f = open_shipped(files[i].name, "w");
        if (!f)
            return 1;
        buf_init(&b, MIB);
        files[i].write(&b);
        fwrite(b.p, 1, b.n, f);
        buf_deinit(&b);
        if (fclose(f) != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_option),
        cmocka_unit_test(keys_and_tokens),
        cmocka_unit_test(an_alias_is_what_it_names),
        cmocka_unit_test(data_starts_at_the_files_folder),
        cmocka_unit_test(blocked_by_default),
        cmocka_unit_test(blocked_as_given),
        cmocka_unit_test(blocked_in_a_long_list),
        cmocka_unit_test(bad_by_table),
        cmocka_unit_test(addresses),
        cmocka_unit_test(all_mistakes_in_one_run),
        cmocka_unit_test(mistakes_have_a_bound),
        cmocka_unit_test(laughs_are_few),
        cmocka_unit_test(memory_runs_out_cleanly),
        cmocka_unit_test(the_sample_is_the_defaults),
        cmocka_unit_test(shipped_files_are_current),
        cmocka_unit_test(every_option_is_written),
    };

    if (argc > 1 && strcmp(argv[1], "--write") == 0)
        return write_shipped();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
