/* Any text as a call, an order log, a batch or a pixel's query. The first byte says which; what is taken packs, unpacks
 * and packs into the same bytes, and holds to its bounds. Each text is taken twice: as it is, and by the rules of
 * privacy, after which nothing is left to take out. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "collector/decode.h"
#include "collector/scrub.h"
#include "common/limits.h"
#include "proto/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void mint(void *arg, char hex[33])
{
    (void)arg;
    memcpy(hex, "00112233445566778899aabbccddeeff", 33);
}

static void check_json(struct json_parser *p, struct str s)
{
    const struct json *root;

    if (!str_has(s))
        return;
    char *copy = calloc(1, s.n + JSON_PADDING);
    assert(copy);
    memcpy(copy, s.p, s.n);
    int rc = json_parse(p, copy, s.n, &root, NULL);
    assert(rc == JSON_OK && root->type == JSON_OBJECT);
    free(copy);
}

/* What was scrubbed needs no scrubbing. */
static void check_scrubbed(const struct privacy *rules, enum scrub_part part, struct str kept, struct arena *a)
{
    const struct json *root;
    struct str personal;
    struct scrub s;

    if (!str_has(kept))
        return;
    struct json_parser *p = json_parser_new();
    char *copy = calloc(1, kept.n + JSON_PADDING);
    assert(p && copy);
    memcpy(copy, kept.p, kept.n);
    int rc = json_parse(p, copy, kept.n, &root, NULL);
    assert(rc == JSON_OK);
    scrub_begin(&s, rules, NULL, a);
    bool wanted = scrub_wanted(&s, part, &(struct scrub_source){.own = root});
    assert(!wanted);
    rc = scrub_end(&s, &personal);
    assert(rc == 0 && !str_has(personal));
    free(copy);
    json_parser_free(p);
}

static void check_private(const struct decode_input *in, const struct event *e, struct arena *a)
{
    struct json_parser *p = json_parser_new();

    assert(p);
    check_json(p, in->notes->personal);
    json_parser_free(p);
    check_scrubbed(in->privacy, e->type == EVENT_GROUP ? SCRUB_GROUP : SCRUB_TRAITS, e->traits, a);
    check_scrubbed(in->privacy, SCRUB_CONTEXT, e->context, a);
    check_scrubbed(in->privacy, SCRUB_PROPERTIES, e->properties, a);
    check_scrubbed(in->privacy, SCRUB_EXTRA, e->extra, a);
}

static void check_event(const struct event *e, struct arena *a)
{
    struct buf one, two;
    struct event back;

    buf_init(&one, LIMIT_RECORD_BYTES);
    buf_init(&two, LIMIT_RECORD_BYTES);
    bool ok = event_pack(e, &one);
    assert(ok);
    int rc = event_unpack(buf_str(&one), a, &back);
    assert(rc == CODEC_OK);
    ok = event_pack(&back, &two);
    assert(ok && str_eq(buf_str(&one), buf_str(&two)));
    buf_deinit(&one);
    buf_deinit(&two);

    /* What is kept as JSON is JSON; the tree that the event points into is no longer needed. */
    struct json_parser *p = json_parser_new();
    assert(p);
    check_json(p, back.properties);
    check_json(p, back.traits);
    check_json(p, back.context);
    check_json(p, back.extra);
    check_json(p, back.consent);
    for (size_t i = 0; i < back.item_count; i++)
        check_json(p, back.items[i].extra);
    json_parser_free(p);
}

static void check(const struct decode_input *in, int rc, const struct event *e, const struct refusal *why,
                  struct arena *a)
{
    assert(rc == DECODE_OK || rc == DECODE_REFUSED);
    if (rc == DECODE_OK && in->privacy)
        check_private(in, e, a);
    if (rc == DECODE_OK)
        check_event(e, a);
    else
        assert(why->code[0] && why->message[0] && strlen(why->message) < sizeof why->message);
}

/* "name=value\n" lines. */
static void try_pixel(char *text, size_t n, const struct decode_input *in, struct arena *a)
{
    struct decode_pair query[64];
    size_t count = 0;
    struct event e;
    struct refusal why;

    for (char *p = text, *end = text + n; p < end && count < 64; count++) {
        char *line = memchr(p, '\n', (size_t)(end - p)), *stop = line ? line : end;
        char *equals = memchr(p, '=', (size_t)(stop - p));
        char *name_end = equals ? equals : stop, *value = equals ? equals + 1 : stop;
        query[count].name = (struct str){p, (size_t)(name_end - p)};
        query[count].value = (struct str){value, (size_t)(stop - value)};
        p = stop + 1;
    }
    int rc = decode_pixel(query, count, in, a, &e, &why);
    check(in, rc, &e, &why, a);
}

static void try_json(char *text, size_t n, unsigned form, struct decode_input *in, struct arena *a)
{
    struct json_parser *p = json_parser_new();
    const struct json *v;
    struct event e;
    struct refusal why = {0};

    assert(p);
    if (json_parse(p, text, n, &v, NULL) == JSON_OK) {
        const struct json *batch = json_get(v, "batch");
        if (form & 4 && batch && batch->type == JSON_ARRAY && batch->child) {
            in->batch = v;
            v = batch->child;
        }
        int rc = form & 1 ? decode_order(v, in, a, &e, &why) : decode_event(v, in, a, &e, &why);
        check(in, rc, &e, &why, a);
    }
    json_parser_free(p);
}

static const struct privacy *rules(void)
{
    static const struct str cut[] = {STR_LIT("email"), STR_LIT("token")};
    static struct privacy made;
    struct buf errors;

    if (made.vocabulary)
        return &made;
    buf_init(&errors, MIB);
    made = (struct privacy){.vocabulary = vocabulary_load(NULL, &errors), .cut = cut, .cut_count = 2};
    assert(made.vocabulary);
    return &made;
}

static void take(const uint8_t *data, size_t n, const struct privacy *privacy)
{
    unsigned form = data[0];
    struct decode_notes notes;
    struct decode_input in = {.trust = form & 3 ? TRUST_SERVER : TRUST_BEACON,
                              .source = STR_LIT("web"),
                              .received = 1767225600000,
                              .ip = STR_LIT("192.0.2.1"),
                              .user_agent = STR_LIT("UA"),
                              .route_type = form & 16 ? EVENT_TRACK : 0,
                              .privacy = privacy,
                              .notes = &notes,
                              .mint = mint};
    struct arena a;
    char *text = calloc(1, n - 1 + JSON_PADDING);
    assert(text);
    memcpy(text, data + 1, n - 1);
    arena_init(&a, 256 * MIB);
    if (form & 8)
        try_pixel(text, n - 1, &in, &a);
    else
        try_json(text, n - 1, form, &in, &a);
    arena_deinit(&a);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    take(data, n, NULL);
    take(data, n, rules());
    return 0;
}
