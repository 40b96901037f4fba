/* The configuration: what is taken, which ids are blocked, and the files written from its table.
 * `test_conf --write` writes config/waymark.yaml and config/REFERENCE.md anew. */
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/conf_inside.h"
#include "common/event_log.h"
#include "tests/support/conf_case.h"

/* Nobody knows a key with this hash. */
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

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
    assert_int_equal(c->profiler.keep_lost_ms, 10 * TIME_MINUTE);
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
        cmocka_unit_test(the_sample_is_the_defaults),
        cmocka_unit_test(shipped_files_are_current),
        cmocka_unit_test(every_option_is_written),
    };

    if (argc > 1 && strcmp(argv[1], "--write") == 0)
        return write_shipped();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
