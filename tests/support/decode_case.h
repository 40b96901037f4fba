/* For tests of the decoders: runs one text through parser and decoder, and writes what came of it on one line, so that
 * a case is two strings. JSON in cases is written with ' for ". */
#ifndef WAYMARK_DECODE_CASE_H
#define WAYMARK_DECODE_CASE_H

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "collector/decode.h"
#include "common/limits.h"
#include "proto/codec.h"

#define CASE_RECEIVED INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct decode_case {
    const char *json;
    const char *want; /* "code: message", or the event */
};

struct case_run {
    struct json_parser *parser;
    struct arena arena;
    char *text;
    struct event event;
    struct refusal why;
    int rc;
    struct buf shown;
    struct conf *conf;
};

static void case_mint(void *arg, char hex[33])
{
    (void)arg;
    memcpy(hex, "00112233445566778899aabbccddeeff", 33);
}

static void show_str(struct buf *b, const char *name, struct str s)
{
    if (str_has(s))
        buf_addf(b, " %s=%.*s", name, STR_ARG(s));
}

static void show_opt(struct buf *b, const char *name, struct opt v)
{
    if (v.has)
        buf_addf(b, " %s=%lld", name, (long long)v.v);
}

static void show_items(struct buf *b, const char *name, const struct item *items, size_t n)
{
    buf_addf(b, " %s=[", name);
    for (size_t k = 0; k < n; k++) {
        const struct item *i = &items[k];
        buf_add_text(b, k ? ", {" : "{");
        show_str(b, "id", i->product_id);
        show_str(b, "sku", i->sku);
        show_str(b, "name", i->name);
        show_str(b, "category", i->category);
        show_str(b, "style", i->style);
        show_str(b, "brand", i->brand);
        show_str(b, "color", i->color);
        show_str(b, "size", i->size);
        show_opt(b, "price", i->price);
        show_opt(b, "quantity", i->quantity);
        show_opt(b, "cost", i->cost);
        if (i->listed_at != TIME_NONE)
            buf_addf(b, " listed=%lld", (long long)i->listed_at);
        show_str(b, "extra", i->extra);
        buf_add_text(b, " }");
    }
    buf_add_char(b, ']');
}

static void show_order(struct buf *b, const struct order_fields *o)
{
    show_str(b, "order", o->order_id);
    if (o->status)
        buf_addf(b, " status=%d", (int)o->status);
    show_opt(b, "total", o->total);
    show_opt(b, "revenue", o->revenue);
    show_opt(b, "subtotal", o->subtotal);
    show_opt(b, "discount", o->discount);
    show_opt(b, "shipping", o->shipping);
    show_opt(b, "tax", o->tax);
    show_str(b, "currency", o->currency);
    show_str(b, "coupon", o->coupon);
    show_str(b, "channel", o->channel);
    if (o->has_items)
        buf_add_text(b, " has_items");
    if (o->has_refund)
        buf_add_text(b, " refund");
    show_str(b, "refund_id", o->refund_id);
    show_opt(b, "refund_amount", o->refund_amount);
    if (o->has_refund_items)
        show_items(b, "refund_items", o->refund_items, o->refund_item_count);
}

static void show_event(struct buf *b, const struct event *e)
{
    static const char *const types[] = {"", "page", "screen", "track", "identify", "group", "alias", "order"};

    buf_add_text(b, types[e->type]);
    show_str(b, "name", e->name);
    show_str(b, "user", e->user_id);
    show_str(b, "anon", e->anonymous_id);
    show_str(b, "previous", e->previous_id);
    show_str(b, "group", e->group_id);
    if (e->message_id.n != 32) /* else it is minted or made of the content */
        show_str(b, "mid", e->message_id);
    if (e->time != CASE_RECEIVED)
        buf_addf(b, " time=%lld", (long long)e->time);
    if (e->original_time != TIME_NONE)
        buf_addf(b, " original=%lld", (long long)e->original_time);
    if (e->sent != TIME_NONE)
        buf_addf(b, " sent=%lld", (long long)e->sent);
    show_str(b, "library", e->library);
    show_str(b, "version", e->library_version);
    show_str(b, "consent", e->consent);
    show_str(b, "ip", e->ip);
    show_str(b, "agent", e->user_agent);
    show_str(b, "locale", e->locale);
    show_str(b, "shared_by", e->shared_by);
    show_str(b, "url", e->url);
    show_str(b, "path", e->path);
    show_str(b, "title", e->title);
    show_str(b, "module", e->module);
    show_str(b, "came_from", e->came_from);
    show_str(b, "referrer", e->referrer);
    show_str(b, "campaign", e->campaign.name);
    show_str(b, "utm_source", e->campaign.source);
    show_str(b, "medium", e->campaign.medium);
    show_str(b, "term", e->campaign.term);
    show_str(b, "content", e->campaign.content);
    show_str(b, "click", e->campaign.click_id);
    show_str(b, "store_id", e->place.store_id);
    show_str(b, "store_name", e->place.store_name);
    show_str(b, "city", e->place.city);
    show_str(b, "district", e->place.district);
    show_str(b, "address", e->place.address);
    if (e->item_count)
        show_items(b, "items", e->items, e->item_count);
    show_order(b, &e->order);
    show_str(b, "properties", e->properties);
    show_str(b, "traits", e->traits);
    show_str(b, "context", e->context);
    show_str(b, "extra", e->extra);
}

static void case_init(struct case_run *run)
{
    *run = (struct case_run){.parser = json_parser_new()};
    assert(run->parser);
    arena_init(&run->arena, 64 * MIB);
    buf_init(&run->shown, 64 * MIB);
    run->conf = conf_parse("case.yaml", STR_LIT("blocked_ids: [nobody, 'null']\n"), &run->shown);
    assert(run->conf);
}

static void case_deinit(struct case_run *run)
{
    json_parser_free(run->parser);
    conf_free(run->conf);
    arena_deinit(&run->arena);
    buf_deinit(&run->shown);
    free(run->text);
}

/* The same event packed, unpacked and packed again is the same bytes. */
static void case_pack(const struct event *e, struct arena *a)
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
}

static void case_show(struct case_run *run)
{
    buf_reset(&run->shown);
    if (run->rc == DECODE_REFUSED) {
        buf_addf(&run->shown, "%s: %s", run->why.code, run->why.message);
    } else {
        assert(run->rc == DECODE_OK);
        case_pack(&run->event, &run->arena);
        show_event(&run->shown, &run->event);
    }
    buf_add_char(&run->shown, '\0');
    assert(!run->shown.failed);
}

typedef int case_decode(const struct json *v, const struct decode_input *in, struct arena *a, struct event *out,
                        struct refusal *why);

static const struct json *case_parse(struct case_run *run, const char *json, size_t n)
{
    const struct json *v;
    struct err err = {0};

    free(run->text);
    run->text = calloc(1, n + JSON_PADDING);
    assert(run->text);
    for (size_t i = 0; i < n; i++)
        run->text[i] = json[i] == '\'' ? '"' : json[i];
    if (json_parse(run->parser, run->text, n, &v, &err) != JSON_OK) {
        fprintf(stderr, "%s: %s\n", err.text, json);
        abort();
    }
    return v;
}

/* Where a case's text comes from: a call, or a batch of one call or log. */
enum case_form { CASE_ALONE, CASE_BATCH };

static void case_input(struct case_run *run, struct decode_input *in)
{
    in->source = STR_LIT("web");
    in->received = CASE_RECEIVED;
    in->blocked = run->conf->blocked;
    in->mint = case_mint;
    if (in->trust == 0)
        in->trust = TRUST_BEACON;
    if (in->trust == TRUST_BEACON) {
        in->ip = STR_LIT("192.0.2.1");
        in->user_agent = STR_LIT("UA");
    }
}

/* Decodes and shows `n` bytes. What is left unset in `in` is filled here. */
static const char *case_run(struct case_run *run, case_decode *decode, enum case_form form, struct decode_input in,
                            struct str json)
{
    const struct json *v = case_parse(run, json.p, json.n);

    arena_reset(&run->arena);
    case_input(run, &in);
    if (form == CASE_BATCH) {
        in.batch = v;
        v = json_get(v, "batch")->child;
    }
    run->rc = decode(v, &in, &run->arena, &run->event, &run->why);
    case_show(run);
    if (in.notes) { /* what was found beside the event, in place of the NUL */
        run->shown.n--;
        show_str(&run->shown, "PERSONAL", in.notes->personal);
        if (in.notes->cards)
            buf_addf(&run->shown, " CARDS=%u", in.notes->cards);
        if (in.notes->consents_ignored)
            buf_addf(&run->shown, " CONSENTS=%u", in.notes->consents_ignored);
        buf_add_char(&run->shown, '\0');
    }
    return run->shown.p;
}

/* Runs a table; says every case that differs. Returns how many. */
static inline size_t case_table(const struct decode_case *cases, size_t n, case_decode *decode, enum case_form form,
                                struct decode_input in)
{
    struct case_run run;
    size_t wrong = 0;

    case_init(&run);
    for (size_t i = 0; i < n; i++) {
        char *want = strdup(cases[i].want);
        assert(want);
        for (char *p = want; *p; p++)
            *p = *p == '\'' ? '"' : *p;
        const char *is = case_run(&run, decode, form, in, str_of(cases[i].json));
        if (strcmp(is, want) != 0) {
            fprintf(stderr, "%s\n  is   %s\n  want %s\n", cases[i].json, is, want);
            wrong++;
        }
        free(want);
    }
    case_deinit(&run);
    return wrong;
}

#define CASES(table, decode, form, ...)                                                                                \
    assert_int_equal(                                                                                                  \
        case_table(table, sizeof(table) / sizeof *(table), decode, form, (struct decode_input){__VA_ARGS__}), 0)

#endif
