/* What privacy costs an event in the collector: decoding without and with its rules, of an event without personal
 * values and of an identify with some; sealing, and opening as the profiler does. With an argument N only so many
 * rounds of the last kind named are run, for counting instructions: bench_privacy N plain|private|identify. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "collector/decode.h"
#include "common/limits.h"
#include "common/seal.h"
#include "proto/codec.h"

#define ROUNDS 200000

static const char track[] =
    "{\"type\":\"track\",\"event\":\"Product "
    "Viewed\",\"userId\":\"u-1\",\"anonymousId\":\"3e0b1a4e-7f6c-4c0f-9d8f-000000000001\","
    "\"messageId\":\"ajs-next-1700000000000-0001\",\"timestamp\":\"2026-01-01T00:00:00.000Z\",\"context\":{\"ip\":"
    "\"203.0.113.0\",\"locale\":\"en-GB\",\"userAgent\":\"Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 "
    "Firefox/128.0\","
    "\"library\":{\"name\":\"analytics.js\",\"version\":\"next-1.70.0\"},\"page\":{\"path\":\"/shoes/"
    "walker\",\"referrer\":"
    "\"https://search.example/\",\"search\":\"?utm_source=mail\",\"title\":\"Walker\",\"url\":"
    "\"https://shop.example/shoes/"
    "walker?utm_source=mail\"}},\"properties\":{\"product_id\":\"s1\",\"sku\":\"s1-42\",\"name\":"
    "\"Walker\",\"category\":\"Shoes\",\"brand\":\"Acme\",\"price\":59.9,\"quantity\":1,\"position\":3}}";
static const char identify[] = "{\"type\":\"identify\",\"userId\":\"u-1\",\"messageId\":\"m-1\",\"timestamp\":\"2026-"
                               "01-01T00:00:00.000Z\",\"traits\":{"
                               "\"email\":\"ann@example.com\",\"name\":\"Ann Example\",\"phone\":\"+44 20 7946 "
                               "0958\",\"birthday\":\"1990-01-02\",\"address\":"
                               "{\"street\":\"1 Example Street\",\"city\":\"London\",\"postalCode\":\"N1 "
                               "1AA\"},\"memberLevel\":\"gold\",\"plan\":\"plus\"}}";

struct bench {
    struct json_parser *parser;
    const struct json *v;
    struct arena arena;
    struct decode_input in;
    struct decode_notes notes;
    struct name_memo memo;
    struct event event;
    struct refusal why;
    struct seal_keys *keys;
    struct buf sealed;
};

static void check(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

static void no_mint(void *arg, char hex[33])
{
    (void)arg;
    memset(hex, '0', 32);
    hex[32] = '\0';
}

static void decode(struct bench *b)
{
    arena_reset(&b->arena);
    check(decode_event(b->v, &b->in, &b->arena, &b->event, &b->why) == DECODE_OK, "decode");
}

static void seal(struct bench *b)
{
    buf_reset(&b->sealed);
    check(seal_for_profilers(b->keys, b->notes.personal, &b->sealed), "seal");
}

static void unseal(struct bench *b)
{
    struct str plain;
    struct arena a;

    arena_init(&a, MIB);
    check(seal_open(b->keys, buf_str(&b->sealed), &a, &plain) == SEAL_OK, "open");
    arena_deinit(&a);
}

static double cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double measure(struct bench *b, void (*step)(struct bench *))
{
    double start = cpu_ns();

    for (int i = 0; i < ROUNDS; i++)
        step(b);
    return (cpu_ns() - start) / ROUNDS;
}

static void choose(struct bench *b, const char *json, const struct privacy *rules)
{
    static char text[4096];
    size_t n = strlen(json);

    memset(text, 0, sizeof text);
    memcpy(text, json, n);
    check(json_parse(b->parser, text, n, &b->v, NULL) == JSON_OK, "parse");
    b->in = (struct decode_input){.trust = TRUST_SERVER,
                                  .source = STR_LIT("backend"),
                                  .received = INT64_C(1790000000000),
                                  .privacy = rules,
                                  .memo = &b->memo,
                                  .notes = &b->notes,
                                  .mint = no_mint};
}

static void measure_all(struct bench *b, const struct privacy *rules)
{
    choose(b, track, NULL);
    double plain = measure(b, decode);
    choose(b, track, rules);
    double private = measure(b, decode);
    printf("track without personal values: decode %4.0f ns, with the rules %4.0f ns\n", plain, private);
    choose(b, identify, NULL);
    plain = measure(b, decode);
    choose(b, identify, rules);
    private = measure(b, decode);
    double sealing = measure(b, seal), opening = measure(b, unseal);
    printf("identify: decode %4.0f ns, with the rules %4.0f ns, seal %4.0f ns, open %4.0f ns\n", plain, private,
           sealing, opening);
}

static void make_keys(struct bench *b, char *folder)
{
    struct err e = {0};
    bool made;

    check(mkdtemp(folder) && seal_keys_init(folder, &made, &e) == 0 &&
              seal_keys_open(folder, SEAL_PROFILER, &b->keys, &e) == 0,
          "keys");
}

static void drop_keys(struct bench *b, const char *folder)
{
    static const char *const names[] = {"profiler.key", "profiler.pub", "master.key",
                                        "erasure.key",  "receipt.key",  "receipt.pub"};
    char path[128];

    seal_keys_free(b->keys);
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

int main(int argc, char **argv)
{
    static const char *const parameters[] = {"email",        "e-mail",     "mail",    "phone", "phone_number", "mobile",
                                             "tel",          "password",   "passwd",  "pwd",   "secret",       "token",
                                             "access_token", "auth_token", "session", "sid",   "otp",          "pin"};
    static char folder[] = "/tmp/waymark-bench-XXXXXX";
    static struct bench b;
    struct str cut[sizeof parameters / sizeof *parameters];
    struct buf errors;

    check(sodium_init() >= 0, "sodium_init");
    buf_init(&errors, MIB);
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++)
        cut[i] = str_of(parameters[i]);
    const struct privacy rules = {
        .vocabulary = vocabulary_load(NULL, &errors), .cut = cut, .cut_count = sizeof parameters / sizeof *parameters};
    b.parser = json_parser_new();
    check(rules.vocabulary && b.parser, "memory");
    arena_init(&b.arena, 64 * MIB);
    buf_init(&b.sealed, MIB);
    make_keys(&b, folder);
    if (argc == 3) {
        choose(&b, strcmp(argv[2], "identify") ? track : identify, strcmp(argv[2], "plain") ? &rules : NULL);
        for (int i = atoi(argv[1]); i > 0; i--)
            decode(&b);
    } else {
        measure_all(&b, &rules);
    }
    drop_keys(&b, folder);
    arena_deinit(&b.arena);
    buf_deinit(&b.sealed);
    json_parser_free(b.parser);
    vocabulary_free((struct vocabulary *)(uintptr_t)rules.vocabulary);
    return 0;
}
