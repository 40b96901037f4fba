/* What the collector leaves on a real event log: the fields that it adds itself, the key of each record, bad events
 * with their bytes, and no secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <ftw.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/clock.h"
#include "common/event_log.h"
#include "common/limits.h"
#include "common/seal.h"
#include "proto/codec.h"

#define RECORDS_MAX 64
#define SERVER_KEY "sk_secret_of_the_shop"

struct fixture {
    char folder[64];
    struct conf *conf;
    struct stats *stats;
    struct event_log *log;
    struct collector *collector;
    struct seal_keys *keys; /* the profilers' */
    struct arena arena;
};

static struct conf *make_conf(const char *folder)
{
    unsigned char hash[32];
    char hex[65];
    struct buf text, errors;

    crypto_hash_sha256(hash, (const unsigned char *)SERVER_KEY, sizeof SERVER_KEY - 1);
    sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    buf_init(&text, 1 << 16);
    buf_init(&errors, 1 << 16);
    buf_addf(&text,
             "partitions: 1\n"
             "keys: %s/keys\n"
             "collector:\n"
             "  listen: 127.0.0.1:0\n"
             "  respect_dnt: true\n"
             "  respect_gpc: true\n"
             "  trusted_proxies: 1\n"
             "  keys:\n"
             "    - {name: web, source: site, kind: beacon, key: wk_1}\n"
             "    - {name: backend, kind: server, sha256: %s}\n",
             folder, hex);
    struct conf *conf = conf_parse("waymark.yaml", buf_str(&text), &errors);
    if (!conf)
        fail_msg("%.*s", (int)errors.n, errors.p);
    buf_deinit(&text);
    buf_deinit(&errors);
    return conf;
}

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};

    strcpy(f->folder, "/tmp/waymark-stored-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->conf = make_conf(f->folder);
    f->stats = stats_new();
    arena_init(&f->arena, 64 * MIB);
    char path[128];
    snprintf(path, sizeof path, "%s/log", f->folder);
    const struct event_log_options o = {.path = path, .partitions = 1};
    if (event_log_open_local(&o, &f->log, &e) != 0 ||
        collector_start(f->conf, f->log, NULL, f->stats, &f->collector, &e) != 0 ||
        seal_keys_open(f->conf->keys, SEAL_PROFILER, &f->keys, &e) != 0)
        fail_msg("%s", e.text);
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int end(void **state)
{
    struct fixture *f = *state;

    collector_stop(f->collector, 1000);
    seal_keys_free(f->keys);
    event_log_close(f->log);
    stats_free(f->stats);
    conf_free(f->conf);
    arena_deinit(&f->arena);
    nftw(f->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return 0;
}

/* Sends a request and asserts its status. */
static void ask(const struct fixture *f, const char *line, const char *fields, struct str body, const char *status)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(collector_port(f->collector))};
    struct timeval limit = {20, 0};
    struct buf b;
    char got[4096];
    size_t at = 0;
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    buf_init(&b, 32 * MIB);
    buf_addf(&b, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n", line, fields, body.n);
    buf_add_str(&b, body);
    for (size_t sent = 0; sent < b.n; sent += (size_t)n)
        assert_true((n = write(fd, b.p + sent, b.n - sent)) > 0);
    buf_deinit(&b);
    while (at < sizeof got - 1 && (n = read(fd, got + at, sizeof got - 1 - at)) > 0)
        at += (size_t)n;
    got[at] = '\0';
    close(fd);
    if (strncmp(got + 9, status, 3) != 0)
        fail_msg("%s: %s", line, got);
}

/* All records of a topic; what they point into lives as long as the reader. */
static int read_records(const struct fixture *f, enum log_topic topic, struct log_reader **r, struct log_record *out)
{
    struct err e = {0};

    assert_int_equal(log_reader_open(f->log, topic, NULL, r, &e), 0);
    assert_int_equal(log_reader_seek(*r, 0, 0), 0);
    int n = log_reader_read(*r, 0, out, RECORDS_MAX, 16 * MIB, &e);
    if (n < 0)
        fail_msg("%s", e.text);
    return n;
}

static struct event read_event(struct fixture *f, const struct log_record *r)
{
    struct event e;

    assert_int_equal(r->kind, LOG_KIND_EVENT);
    assert_int_equal(event_unpack(r->value, &f->arena, &e), CODEC_OK);
    assert_true(str_eq(r->key, event_log_key(&e)));
    return e;
}

static struct bad_event read_bad(struct fixture *f, const struct log_record *r)
{
    struct bad_event e;

    assert_int_equal(r->kind, LOG_KIND_BAD);
    assert_int_equal(bad_event_unpack(r->value, &f->arena, &e), CODEC_OK);
    assert_true(str_eq(r->key, e.source));
    assert_true(e.sealed);
    struct str sealed = e.bytes;
    assert_int_equal(seal_open(f->keys, sealed, &f->arena, &e.bytes), SEAL_OK);
    return e;
}

static bool has(struct str s, const char *part)
{
    return s.n > 0 && memmem(s.p, s.n, part, strlen(part)) != NULL;
}

static void events_carry_what_the_connection_says(void **state)
{
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;
    int64_t before = clock_now();

    ask(f, "POST /v1/batch", "X-Write-Key: wk_1\r\nUser-Agent: Test/1\r\nX-Forwarded-For: 6.6.6.6, 7.7.7.7\r\n",
        STR_LIT("{\"batch\":[{\"type\":\"track\",\"event\":\"E\",\"userId\":\"u\",\"anonymousId\":\"d\"},7,"
                "{\"type\":\"page\",\"anonymousId\":\"d\",\"messageId\":\"m\"}]}"),
        "200");
    ask(f, "POST /v1/t", "X-Write-Key: wk_1\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 8.8.8.8\r\n",
        STR_LIT("{\"event\":\"E\",\"userId\":\"u\"}"), "200");
    assert_int_equal(read_records(f, LOG_EVENTS, &r, records), 3);
    struct event e = read_event(f, &records[0]);
    assert_true(str_is(e.source, "site") && e.trust == TRUST_BEACON && e.position == 0);
    assert_true(str_is(e.ip, "7.7.7.0") && str_is(e.user_agent, "Test/1"));
    assert_true(str_is(records[0].key, "u"));
    assert_true(e.received >= before && e.received <= clock_now() && e.time == e.received);
    assert_int_equal(e.message_id.n, 32);
    struct str minted = e.message_id;
    e = read_event(f, &records[1]);
    assert_true(e.position == 2 && str_is(e.message_id, "m") && str_is(records[1].key, "d"));
    e = read_event(f, &records[2]);
    assert_true(str_is(e.ip, "8.8.8.0"));
    assert_false(str_eq(e.message_id, minted));
    log_reader_close(r);
}

static void bad_events_keep_their_bytes(void **state)
{
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;
    struct buf large;

    ask(f, "POST /v1/batch", "X-Write-Key: wk_1\r\n",
        STR_LIT("{\"type\":\"page\",\"userId\":\"u\"}\n{\"type\": oops}\n{\"type\" : \"page\"}\n"), "200");
    ask(f, "POST /v1/t", "X-Write-Key: wk_1\r\n", STR_LIT("{\"userId\":\"u\"}"), "400");
    ask(f, "GET /v1/pixel.gif?writeKey=wk_1&type=track&userId=u&a=%22", "", STR_NONE, "200");
    buf_init(&large, 4 * MIB);
    buf_add_text(&large, "[{\"type\":\"page\",\"userId\":\"u\",\"x\":\"");
    assert_true(buf_room(&large, 2 * MIB));
    memset(large.p + large.n, 'x', 2 * MIB);
    large.n += 2 * MIB;
    buf_add_text(&large, "\"}]");
    ask(f, "POST /v1/batch", "X-Write-Key: wk_1\r\n", buf_str(&large), "200");

    assert_int_equal(read_records(f, LOG_BAD, &r, records), 5);
    struct bad_event b = read_bad(f, &records[0]);
    assert_true(str_is(b.source, "site") && str_is(b.route, "/v1/batch") && b.position == 1);
    assert_true(str_is(b.code, "not_object") && str_is(b.bytes, "{\"type\": oops}") && b.full_size == b.bytes.n);
    b = read_bad(f, &records[1]);
    assert_true(b.position == 2 && str_is(b.code, "id_missing") && str_is(b.bytes, "{\"type\" : \"page\"}"));
    b = read_bad(f, &records[2]);
    assert_true(str_is(b.route, "/v1/track") && str_is(b.code, "name_missing") &&
                str_is(b.bytes, "{\"userId\":\"u\"}"));
    b = read_bad(f, &records[3]);
    assert_true(str_is(b.route, "/v1/pixel.gif"));
    assert_true(str_is(b.bytes, "{\"type\":\"track\",\"userId\":\"u\",\"a\":\"\\\"\"}"));
    b = read_bad(f, &records[4]);
    assert_true(str_is(b.code, "too_large") && b.bytes.n == LIMIT_EVENT_BYTES && b.full_size == large.n - 2);
    buf_deinit(&large);
    log_reader_close(r);
}

static void a_server_key_is_kept_nowhere(void **state)
{
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;
    int n;

    ask(f, "POST /v1/orders", "",
        STR_LIT("[{\"orderId\":\"O\",\"status\":\"paid\",\"userId\":\"u\",\"writeKey\":\"" SERVER_KEY "\"},"
                "{\"status\":\"paid\",\"writeKey\":\"" SERVER_KEY "\"},"
                "{\"status\":\"paid\",\"write_key\":\"" SERVER_KEY "\"}]"),
        "200");
    ask(f, "POST /v1/batch", "",
        STR_LIT("{\"batch\":[{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"" SERVER_KEY "\"},{\"type\":\"page\"}],"
                "\"writeKey\":\"" SERVER_KEY "\"}"),
        "200");
    ask(f, "POST /v1/batch", "",
        STR_LIT("{\"type\":\"page\",\"userId\":\"u\",\"writeKey\":\"" SERVER_KEY "\"}\n"
                "{\"type\":\"page\",\"writeKey\":\"" SERVER_KEY "\"}\n"),
        "200");
    assert_int_equal(n = read_records(f, LOG_EVENTS, &r, records), 3);
    for (int i = 0; i < n; i++) {
        assert_int_equal(read_event(f, &records[i]).trust, TRUST_SERVER);
        assert_true(str_is(read_event(f, &records[i]).source, "backend"));
        assert_false(has(records[i].value, SERVER_KEY));
    }
    log_reader_close(r);
    assert_int_equal(n = read_records(f, LOG_BAD, &r, records), 4);
    for (int i = 0; i < n; i++)
        assert_false(has(records[i].value, SERVER_KEY));
    struct bad_event b = read_bad(f, &records[0]);
    assert_true(has(b.bytes, "\"status\":\"paid\",\"writeKey\":\"***"));
    for (int i = 0; i < n; i++)
        assert_false(has(read_bad(f, &records[i]).bytes, SERVER_KEY));
    log_reader_close(r);
}

static void personal_values_are_sealed(void **state)
{
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;
    struct str plain;

    ask(f, "POST /v1/identify", "X-Write-Key: wk_1\r\n",
        STR_LIT("{\"userId\":\"u\",\"traits\":{\"email\":\"ann@example.com\",\"plan\":\"p\"}}"), "200");
    ask(f, "GET /v1/pixel.gif?writeKey=wk_1&userId=u&email=ann%40example.com&a=1", "", STR_NONE, "200");
    ask(f, "POST /v1/page", "X-Write-Key: wk_1\r\n", STR_LIT("{\"email\":\"ann@example.com\"}"), "400");
    assert_int_equal(read_records(f, LOG_EVENTS, &r, records), 2);
    for (int i = 0; i < 2; i++) {
        struct event e = read_event(f, &records[i]);
        assert_false(has(records[i].value, "ann@"));
        assert_int_equal(seal_open(f->keys, e.sealed, &f->arena, &plain), SEAL_OK);
        assert_true(str_is(plain, i ? "{\"properties\":{\"email\":\"ann@example.com\"}}"
                                    : "{\"traits\":{\"email\":\"ann@example.com\"}}"));
        assert_true(str_is(i ? e.properties : e.traits, i ? "{\"a\":\"1\"}" : "{\"plan\":\"p\"}"));
    }
    log_reader_close(r);
    assert_int_equal(read_records(f, LOG_BAD, &r, records), 1);
    assert_false(has(records[0].value, "ann@"));
    assert_true(str_is(read_bad(f, &records[0]).bytes, "{\"email\":\"ann@example.com\"}"));
    log_reader_close(r);
}

static void headers_refuse_for_beacons(void **state)
{
    static const struct {
        const char *fields, *consent;
    } cases[] = {
        {"X-Write-Key: wk_1\r\nDNT: 1\r\n", "{\"analytics\":false}"},
        {"X-Write-Key: wk_1\r\nDNT: 0\r\n", "{\"analytics\":true}"},
        {"X-Write-Key: wk_1\r\nSec-GPC: 1\r\n", "{\"analytics\":true,\"marketing\":false,\"sale\":false}"},
        {"X-Write-Key: " SERVER_KEY "\r\nDNT: 1\r\nSec-GPC: 1\r\n", "{\"analytics\":true}"},
    };
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ask(f, "POST /v1/page", cases[i].fields, STR_LIT("{\"userId\":\"u\",\"consent\":{\"analytics\":true}}"), "200");
    assert_int_equal(read_records(f, LOG_EVENTS, &r, records), 4);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(str_is(read_event(f, &records[i]).consent, cases[i].consent));
    log_reader_close(r);
}

static void a_good_neighbour_is_kept_in_its_order(void **state)
{
    struct fixture *f = *state;
    struct log_record records[RECORDS_MAX];
    struct log_reader *r;
    struct buf body;

    buf_init(&body, MIB);
    buf_add_char(&body, '[');
    for (int i = 0; i < 60; i++)
        buf_addf(&body, "%s{\"type\":\"page\",\"userId\":\"u%d\",\"timestamp\":\"%s\"}", i ? "," : "", i,
                 i % 3 ? "2026-01-01" : "never");
    buf_add_char(&body, ']');
    ask(f, "POST /v1/batch", "X-Write-Key: wk_1\r\n", buf_str(&body), "200");
    buf_deinit(&body);
    assert_int_equal(read_records(f, LOG_EVENTS, &r, records), 40);
    for (uint32_t i = 0; i < 40; i++)
        assert_int_equal(read_event(f, &records[i]).position, i / 2 * 3 + i % 2 + 1);
    log_reader_close(r);
    assert_int_equal(read_records(f, LOG_BAD, &r, records), 20);
    log_reader_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(events_carry_what_the_connection_says, begin, end),
        cmocka_unit_test_setup_teardown(bad_events_keep_their_bytes, begin, end),
        cmocka_unit_test_setup_teardown(a_server_key_is_kept_nowhere, begin, end),
        cmocka_unit_test_setup_teardown(personal_values_are_sealed, begin, end),
        cmocka_unit_test_setup_teardown(headers_refuse_for_beacons, begin, end),
        cmocka_unit_test_setup_teardown(a_good_neighbour_is_kept_in_its_order, begin, end),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
