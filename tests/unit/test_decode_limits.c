/* The decoders at their bounds: sizes, depths, lengths, counts, memory; event time; the tables of keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "collector/decode_fields.h"
#include "tests/support/decode_case.h"

static struct case_run run;

/* `before`, n times c, `after`. */
static const char *decode_long(case_decode *decode, enum case_form form, const char *before, char c, size_t n,
                               const char *after)
{
    struct buf b;

    buf_init(&b, 16 * MIB);
    buf_add_text(&b, before);
    assert_true(buf_room(&b, n));
    memset(b.p + b.n, c, n);
    b.n += n;
    buf_add_text(&b, after);
    assert_false(b.failed);
    const char *shown =
        case_run(&run, decode, form,
                 (struct decode_input){.trust = decode == decode_order ? TRUST_SERVER : TRUST_BEACON}, buf_str(&b));
    buf_deinit(&b);
    return shown;
}

static const char *call_long(const char *before, size_t n, const char *after)
{
    return decode_long(decode_event, CASE_ALONE, before, 'x', n, after);
}

static void assert_refused(const char *shown, const char *want)
{
    assert_int_equal(run.rc, DECODE_REFUSED);
    assert_string_equal(shown, want);
}

static void assert_taken(const char *shown)
{
    if (run.rc != DECODE_OK)
        fail_msg("%s", shown);
}

static void test_size(void **state)
{
    (void)state;
    static const char before[] = "{'type':'page','userId':'u','properties':{'b':'", after[] = "'}}";
    size_t around = sizeof before + sizeof after - 2;

    assert_taken(call_long(before, LIMIT_EVENT_BYTES - around, after));
    assert_int_equal(run.event.properties.n,
                     LIMIT_EVENT_BYTES - sizeof "{'type':'page','userId':'u','properties':}" + 1);
    assert_refused(call_long(before, LIMIT_EVENT_BYTES - around + 1, after),
                   "too_large: the event is over 1048576 bytes");
    assert_refused(
        decode_long(decode_order, CASE_ALONE, "{'orderId':'O','status':'paid','x':'", 'x', LIMIT_EVENT_BYTES, "'}"),
        "too_large: the event is over 1048576 bytes");
    /* Keys that become longer when they are written again. */
    struct buf b;
    buf_init(&b, 4 * MIB);
    buf_add_text(&b, "{'type':'page','userId':'u','");
    for (int i = 0; i < 100000; i++)
        buf_add_text(&b, i % 2 ? "\\u0001" : "\\\"");
    buf_add_text(&b, "':1}");
    case_run(&run, decode_event, CASE_ALONE, (struct decode_input){0}, buf_str(&b));
    assert_int_equal(run.rc, DECODE_OK);
    assert_int_equal(run.event.extra.n, 50000 * 6 + 50000 * 2 + sizeof "{\"\":1}" - 1);
    buf_deinit(&b);
}

static const char *decode_nested(case_decode *decode, const char *before, int depth)
{
    struct buf b;

    buf_init(&b, MIB);
    buf_add_text(&b, before);
    for (int i = 0; i < depth; i++)
        buf_add_text(&b, "{'d':");
    buf_add_text(&b, "1");
    for (int i = 0; i < depth; i++)
        buf_add_char(&b, '}');
    buf_add_char(&b, '}');
    const char *shown = case_run(&run, decode, CASE_ALONE, (struct decode_input){.trust = TRUST_SERVER}, buf_str(&b));
    buf_deinit(&b);
    return shown;
}

static void test_depth(void **state)
{
    (void)state;
    static const char call[] = "{'type':'page','userId':'u','properties':";
    static const char log[] = "{'orderId':'O','status':'paid','x':";

    assert_taken(decode_nested(decode_event, call, LIMIT_EVENT_DEPTH - 1));
    assert_refused(decode_nested(decode_event, call, LIMIT_EVENT_DEPTH), "too_deep: the event is nested over 32 deep");
    assert_taken(decode_nested(decode_order, log, LIMIT_EVENT_DEPTH - 1));
    assert_refused(decode_nested(decode_order, log, LIMIT_EVENT_DEPTH), "too_deep: the event is nested over 32 deep");
}

static void test_ids(void **state)
{
    (void)state;
    assert_taken(call_long("{'type':'page','userId':'", 256, "'}"));
    assert_refused(call_long("{'type':'page','userId':'", 257, "'}"), "id_invalid: userId is over 256 bytes");
    assert_refused(call_long("{'type':'page','anonymousId':'", 257, "'}"), "id_invalid: anonymousId is over 256 bytes");
    assert_refused(decode_long(decode_event, CASE_ALONE, "{'type':'page','userId':", '7', 257, "}"),
                   "id_invalid: userId is over 256 bytes");
    assert_taken(call_long("{'type':'page','userId':'u','messageId':'", 256, "'}"));
    assert_refused(call_long("{'type':'page','userId':'u','messageId':'", 257, "'}"),
                   "id_invalid: messageId is over 256 bytes");
    assert_refused(call_long("{'type':'group','userId':'u','groupId':'", 257, "'}"),
                   "id_invalid: groupId is over 256 bytes");
    assert_refused(call_long("{'type':'alias','userId':'u','previousId':'", 257, "'}"),
                   "id_invalid: previousId is over 256 bytes");
    assert_refused(
        call_long("{'type':'track','event':'Order Updated','userId':'u','properties':{'order_id':'", 257, "'}}"),
        "value_invalid: properties.order_id is over 256 bytes");
    assert_taken(call_long("{'type':'track','event':'E','userId':'u','properties':{'order_id':'", 257, "'}}"));
    assert_false(str_has(run.event.order.order_id));
    assert_refused(decode_long(decode_order, CASE_ALONE, "{'userId':'u','status':'paid','orderId':'", 'x', 257, "'}"),
                   "order_invalid: orderId is over 256 bytes");
    assert_taken(decode_long(decode_order, CASE_ALONE, "{'userId':'u','status':'paid','orderId':'", 'x', 256, "'}"));
    assert_taken(decode_long(decode_order, CASE_ALONE, "{'status':'paid','orderId':'", 'x', 250, "'}"));
    assert_int_equal(run.event.anonymous_id.n, 256);
    assert_refused(decode_long(decode_order, CASE_ALONE, "{'status':'paid','orderId':'", 'x', 251, "'}"),
                   "order_invalid: orderId is over 250 bytes, and the order names nobody");
}

static void test_texts(void **state)
{
    (void)state;
    assert_taken(call_long("{'type':'page','userId':'u','properties':{'url':'", 8192, "'}}"));
    assert_int_equal(run.event.url.n, 8192);
    assert_taken(call_long("{'type':'page','userId':'u','properties':{'url':'", 8193, "'}}"));
    assert_false(str_has(run.event.url));
    assert_true(run.event.properties.n > 8193);
    assert_taken(call_long("{'type':'page','userId':'u','cameFrom':'", 8193, "'}"));
    assert_false(str_has(run.event.came_from));
    assert_true(run.event.extra.n > 8193);
    assert_taken(call_long("{'type':'page','userId':'u','module':'", 257, "'}"));
    assert_false(str_has(run.event.module));
    assert_taken(call_long("{'type':'track','userId':'u','event':'", 8192, "'}"));
    assert_refused(call_long("{'type':'track','userId':'u','event':'", 8193, "'}"),
                   "value_invalid: event is over 8192 bytes");
    assert_taken(call_long("{'type':'page','userId':'u','name':'", 8193, "'}"));
    assert_false(str_has(run.event.name));
    assert_taken(call_long("{'type':'track','event':'E','userId':'u','properties':{'category':'", 256, "'}}"));
    assert_int_equal(run.event.items[0].category.n, 256);
    assert_taken(call_long("{'type':'track','event':'E','userId':'u','properties':{'sku':1,'category':'", 257, "'}}"));
    assert_false(str_has(run.event.items[0].category));
    assert_taken(decode_long(decode_order, CASE_ALONE, "{'orderId':'O','status':'paid','items':[{'brand':'", 'x', 257,
                             "'}],'coupon':'c'}"));
    assert_false(str_has(run.event.items[0].brand));
    assert_true(run.event.items[0].extra.n > 257);
    assert_taken(call_long("{'type':'page','userId':'u','properties':{'url':'?utm_campaign=", 257, "&gclid=7'}}"));
    assert_false(str_has(run.event.campaign.name));
    assert_true(str_is(run.event.campaign.click_id, "gclid=7"));
}

static void test_batch_context(void **state)
{
    (void)state;
    static const char before[] = "{'batch':[{'type':'page','userId':'u','context':{'a':1}}],'context':{'x':'";

    assert_taken(decode_long(decode_event, CASE_BATCH, before, 'x', LIMIT_TEXT_BYTES - sizeof "{'x':''}" + 1, "'}}"));
    assert_int_equal(run.event.context.n, LIMIT_TEXT_BYTES + sizeof "'a':1," - 1);
    assert_refused(decode_long(decode_event, CASE_BATCH, before, 'x', LIMIT_TEXT_BYTES - sizeof "{'x':''}" + 2, "'}}"),
                   "too_large: the batch's context is over 8192 bytes");
    struct buf b;
    buf_init(&b, MIB);
    buf_add_text(&b, "{'batch':[{'type':'page','userId':'u'}],'context':{'x':");
    for (int i = 0; i < 31; i++)
        buf_add_char(&b, '[');
    for (int i = 0; i < 31; i++)
        buf_add_char(&b, ']');
    buf_add_text(&b, "}}");
    assert_refused(case_run(&run, decode_event, CASE_BATCH, (struct decode_input){0}, buf_str(&b)),
                   "too_deep: the batch's context is nested over 31 deep");
    buf_deinit(&b);
}

/* `before`, n members, `after`. */
static const char *decode_members(const char *before, int n, const char *after)
{
    struct buf b;

    buf_init(&b, MIB);
    buf_add_text(&b, before);
    for (int i = 0; i < n; i++)
        buf_addf(&b, "%s'm%d':1", i ? "," : "", i);
    buf_add_text(&b, after);
    const char *shown = case_run(&run, decode_event, CASE_BATCH, (struct decode_input){0}, buf_str(&b));
    buf_deinit(&b);
    return shown;
}

static void test_batch_members(void **state)
{
    (void)state;
    static const char call[] = "{'batch':[{'type':'page','userId':'u'}],";
    static const char context[] = "{'batch':[{'type':'page','userId':'u'}],'context':{";

    assert_taken(decode_members(call, 99, "}"));
    assert_refused(decode_members(call, 100, "}"), "too_large: the object around the batch has over 100 members");
    assert_taken(decode_members(context, 100, "}}"));
    assert_refused(decode_members(context, 101, "}}"), "too_large: the batch's context has over 100 members");
}

static const char *decode_items(case_decode *decode, const char *before, size_t n, const char *after)
{
    struct buf b;

    buf_init(&b, MIB);
    buf_add_text(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_add_text(&b, i ? ",{}" : "{}");
    buf_add_text(&b, after);
    const char *shown = case_run(&run, decode, CASE_ALONE, (struct decode_input){.trust = TRUST_SERVER}, buf_str(&b));
    buf_deinit(&b);
    return shown;
}

static void test_items(void **state)
{
    (void)state;
    static const char call[] = "{'type':'track','event':'E','userId':'u','properties':{'products':[";
    static const char log[] = "{'orderId':'O','status':'refunded','items':[{'sku':1}],'refund':{'items':[";

    assert_taken(decode_items(decode_event, call, LIMIT_ITEMS, "]}}"));
    assert_int_equal(run.event.item_count, LIMIT_ITEMS);
    assert_refused(decode_items(decode_event, call, LIMIT_ITEMS + 1, "]}}"),
                   "value_invalid: properties.products has over 5000 elements");
    assert_taken(decode_items(decode_order, log, LIMIT_ITEMS, "]}}"));
    assert_int_equal(run.event.order.refund_item_count, LIMIT_ITEMS);
    assert_refused(decode_items(decode_order, log, LIMIT_ITEMS + 1, "]}}"),
                   "value_invalid: refund.items has over 5000 elements");
}

/* The message names the field even when it is cut. */
static void test_long_message(void **state)
{
    (void)state;
    struct refusal why;
    char name[400];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(refuse(&why, "value_invalid", "%s is wrong", name), DECODE_REFUSED);
    assert_int_equal(strlen(why.message), sizeof why.message - 1);
    refusal_prefix(&why, "%s.", "properties");
    assert_int_equal(strlen(why.message), sizeof why.message - 1);
    assert_memory_equal(why.message, "properties.nnn", 14);
    refusal_prefix(&why, "%s.", name);
    assert_int_equal(strlen(why.message), sizeof why.message - 1);
}

/* Memory that runs out at any point is -ENOMEM, not a crash and not half an event. */
static void test_out_of_memory(void **state)
{
    (void)state;
    static const char call[] =
        "{'batch':[{'type':'track','event':'E','user_id':'u','x':1,'context':{'a':1},'properties':{'products':[{},{}],"
        "'url':'?utm_campaign=c&gclid=g'}}],'context':{'b':1}}";
    static const char log[] = "{'orderId':'O','status':'paid','currency':'gbp','x':1,'items':[{'a':1}],"
                              "'refund':{'items':[{'b':1}]}}";
    const struct {
        const char *json;
        bool batch;
        case_decode *decode;
    } cases[] = {{call, true, decode_event}, {log, false, decode_order}};

    for (size_t i = 0; i < 2; i++) {
        const struct json *v = case_parse(&run, cases[i].json, strlen(cases[i].json));
        struct decode_input in = {.trust = TRUST_SERVER};
        case_input(&run, &in);
        if (cases[i].batch) {
            in.batch = v;
            v = json_get(v, "batch")->child;
        }
        size_t max = 0;
        int rc = -ENOMEM;
        for (; rc == -ENOMEM && max < 64 * KIB; max += 16) {
            struct arena a;
            struct event e;
            arena_init(&a, max);
            rc = cases[i].decode(v, &in, &a, &e, &run.why);
            arena_deinit(&a);
        }
        assert_int_equal(rc, DECODE_OK);
        assert_true(max > 200);
    }
}

/* --- event time ----------------------------------------------------------------------------------------- */

#define NOW CASE_RECEIVED
#define NONE TIME_NONE

static void test_event_time(void **state)
{
    (void)state;
    static const struct {
        enum event_trust trust;
        int64_t timestamp, sent, want;
    } cases[] = {
        {TRUST_SERVER, NONE, NONE, NOW},
        {TRUST_BEACON, NONE, NONE, NOW},
        {TRUST_BEACON, NONE, NOW - 5, NOW},
        {TRUST_SERVER, NOW - 1, NONE, NOW - 1},
        {TRUST_BEACON, NOW - 1, NONE, NOW - 1},
        /* A beacon's clock is corrected by when it says it sent; a server's is believed. */
        {TRUST_SERVER, NOW - 100, NOW - 40, NOW - 100},
        {TRUST_BEACON, NOW - 100, NOW - 40, NOW - 60},
        {TRUST_BEACON, NOW + TIME_DAY, NOW + TIME_DAY + 7, NOW - 7},
        {TRUST_BEACON, LIMIT_TIME_FIRST, LIMIT_TIME_FIRST + 3, NOW - 3},
        {TRUST_BEACON, LIMIT_TIME_LAST, LIMIT_TIME_LAST, NOW},
        /* Ten minutes after receipt are still taken, whoever says so. */
        {TRUST_SERVER, NOW + 10 * TIME_MINUTE, NONE, NOW + 10 * TIME_MINUTE},
        {TRUST_SERVER, NOW + 10 * TIME_MINUTE + 1, NONE, NOW},
        {TRUST_BEACON, NOW + 10 * TIME_MINUTE, NONE, NOW + 10 * TIME_MINUTE},
        {TRUST_BEACON, NOW + 10 * TIME_MINUTE + 1, NONE, NOW},
        {TRUST_BEACON, 10 * TIME_MINUTE, 0, NOW + 10 * TIME_MINUTE},
        {TRUST_BEACON, 10 * TIME_MINUTE + 1, 0, NOW},
        {TRUST_SERVER, LIMIT_TIME_LAST, NONE, NOW},
        /* 400 days back are the most for a beacon; a server may import any past. */
        {TRUST_BEACON, NOW - 400 * TIME_DAY, NONE, NOW - 400 * TIME_DAY},
        {TRUST_BEACON, NOW - 400 * TIME_DAY - 1, NONE, NOW},
        {TRUST_BEACON, 0, 400 * TIME_DAY, NOW - 400 * TIME_DAY},
        {TRUST_BEACON, 0, 400 * TIME_DAY + 1, NOW},
        {TRUST_BEACON, LIMIT_TIME_FIRST, LIMIT_TIME_LAST, NOW},
        {TRUST_BEACON, LIMIT_TIME_LAST, LIMIT_TIME_FIRST, NOW},
        {TRUST_SERVER, NOW - 5000 * TIME_DAY, NONE, NOW - 5000 * TIME_DAY},
        {TRUST_SERVER, LIMIT_TIME_FIRST, NONE, LIMIT_TIME_FIRST},
        {TRUST_SERVER, 0, NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t is = decode_event_time(cases[i].trust, cases[i].timestamp, cases[i].sent, NOW);
        if (is != cases[i].want)
            fail_msg("case %zu: %lld, not %lld", i, (long long)is, (long long)cases[i].want);
    }
}

/* --- tables --------------------------------------------------------------------------------------------- */

static void test_key_tables(void **state)
{
    (void)state;
    const struct key_table *tables[] = {&call_keys, &property_keys, &order_keys,  &refund_keys,
                                        &item_keys, &place_keys,    &context_keys};
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct key_row *row = &tables[t]->rows[i];
            struct json v = {.type = JSON_TRUE, .key = str_of(row->name)}, o = {.type = JSON_OBJECT, .child = &v};
            struct members m;
            assert_true(i == 0 || row[-1].tag <= row->tag);
            assert_true(row->slot < SLOTS_MAX);
            members_read(&o, tables[t], &m);
            assert_ptr_equal(m.v[row->slot][row->snake], &v);
            assert_int_equal(m.unknown, 0);
        }
    }
}

static int set_up(void **state)
{
    (void)state;
    case_init(&run);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    case_deinit(&run);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),          cmocka_unit_test(test_depth),
        cmocka_unit_test(test_ids),           cmocka_unit_test(test_texts),
        cmocka_unit_test(test_items),         cmocka_unit_test(test_batch_context),
        cmocka_unit_test(test_long_message),  cmocka_unit_test(test_event_time),
        cmocka_unit_test(test_key_tables),    cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_batch_members),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
