/* One event through the pure steps of the collector: parse, decode, pack; and unpack, as the profiler does. Prints the
 * CPU time of each on this thread. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "collector/decode.h"
#include "common/limits.h"
#include "proto/codec.h"

#define ROUNDS 300000

static const char call[] =
    "{\"type\":\"track\",\"event\":\"Product Viewed\",\"userId\":\"u4711\","
    "\"anonymousId\":\"5c3f1a2b-9d8e-4f7a-b6c5-d4e3f2a1b0c9\",\"messageId\":\"ajs-next-1712000000000-5c3f1a2b\","
    "\"timestamp\":\"2026-04-01T12:00:00.123Z\",\"properties\":{\"product_id\":\"p1\",\"category\":\"dress\","
    "\"brand\":\"Acme\",\"color\":\"red\",\"size\":\"M\",\"price\":12.345,\"quantity\":2},\"context\":{\"page\":"
    "{\"url\":\"https://shop.example/p/1\",\"path\":\"/p/1\",\"title\":\"P1\"}}}";
static const char log_of_three[] =
    "{\"orderId\":\"o1\",\"userId\":\"u4711\",\"status\":\"paid\",\"total\":120.5,\"currency\":\"GBP\","
    "\"messageId\":\"m1\",\"timestamp\":\"2026-04-01T12:00:00.123Z\",\"items\":[{\"productId\":\"p1\","
    "\"category\":\"dress\",\"price\":1.5,\"quantity\":2},{\"productId\":\"p2\",\"category\":\"shoes\","
    "\"price\":11.5,\"quantity\":1},{\"productId\":\"p3\",\"category\":\"hats\",\"price\":7.25,\"quantity\":4}],"
    "\"channel\":\"store\"}";

struct bench {
    struct json_parser *parser;
    char *text;
    size_t n;
    bool order;
    const struct json *v;
    struct decode_input in;
    struct arena arena;
    struct event event;
    struct refusal why;
    struct buf packed;
};

static void no_mint(void *arg, char hex[33])
{
    (void)arg;
    memset(hex, '0', 32);
    hex[32] = '\0';
}

static void check(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_codec: %s failed\n", what);
    exit(1);
}

static void parse(struct bench *b)
{
    check(json_parse(b->parser, b->text, b->n, &b->v, NULL) == JSON_OK, "parse");
}

static void decode(struct bench *b)
{
    arena_reset(&b->arena);
    check((b->order ? decode_order : decode_event)(b->v, &b->in, &b->arena, &b->event, &b->why) == DECODE_OK, "decode");
}

static void pack(struct bench *b)
{
    buf_reset(&b->packed);
    check(event_pack(&b->event, &b->packed), "pack");
}

static void unpack(struct bench *b)
{
    struct event e;

    arena_reset(&b->arena);
    check(event_unpack(buf_str(&b->packed), &b->arena, &e) == CODEC_OK, "unpack");
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

static void run(const char *name, const char *json, bool order)
{
    struct bench b = {.parser = json_parser_new(), .n = strlen(json), .order = order};

    b.text = calloc(1, b.n + JSON_PADDING);
    check(b.parser && b.text, "memory");
    memcpy(b.text, json, b.n);
    b.in = (struct decode_input){
        .trust = TRUST_SERVER, .source = STR_LIT("backend"), .received = INT64_C(1790000000000), .mint = no_mint};
    arena_init(&b.arena, 64 * MIB);
    buf_init(&b.packed, LIMIT_RECORD_BYTES);
    double parse_ns = measure(&b, parse), decode_ns = measure(&b, decode), pack_ns = measure(&b, pack);
    double unpack_ns = measure(&b, unpack);
    printf("%-14s %4zu B of JSON, %4zu B packed: parse %4.0f, decode %4.0f, pack %4.0f, unpack %4.0f ns\n", name, b.n,
           b.packed.n, parse_ns, decode_ns, pack_ns, unpack_ns);
    buf_deinit(&b.packed);
    arena_deinit(&b.arena);
    json_parser_free(b.parser);
    free(b.text);
}

int main(void)
{
    check(sodium_init() >= 0, "sodium_init");
    run("track", call, false);
    run("order of three", log_of_three, true);
    return 0;
}
