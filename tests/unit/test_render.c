/* The JSON of path events and orders, byte for byte, and cursors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sodium.h>

#include "profiler/cursor.h"
#include "profiler/render.h"

#define T0 INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

static const struct fold_rules rules = {.session_gap_ms = 30 * TIME_MINUTE, .currency = "GBP"};

static void expect(struct buf *b, const char *text)
{
    assert_false(b->failed);
    buf_add_char(b, '\0');
    assert_string_equal(b->p, text);
    buf_deinit(b);
}

static void expect_event(const struct render_event *in, const char *text)
{
    struct buf b;

    buf_init(&b, 1 << 20);
    render_event(&b, in);
    expect(&b, text);
}

static struct event base(enum event_type type)
{
    return (struct event){.type = type,
                          .trust = TRUST_BEACON,
                          .source = STR_LIT("web"),
                          .message_id = STR_LIT("m1"),
                          .user_id = STR_LIT("42"),
                          .time = T0,
                          .received = T0 + 5,
                          .original_time = TIME_NONE,
                          .sent = TIME_NONE};
}

/* --- path events ---------------------------------------------------------------------------------------------- */

static void test_least_event(void **state)
{
    struct event e = base(EVENT_IDENTIFY);

    (void)state;
    e.traits = STR_LIT("{\"email\":\"a@example.com\"}");
    e.context = STR_LIT("{\"ip\":\"192.0.2.1\"}");
    expect_event(&(struct render_event){.event = &e, .rules = &rules},
                 "{\"message_id\":\"m1\",\"type\":\"identify\",\"time\":\"2026-01-01T00:00:00.000Z\","
                 "\"received_at\":\"2026-01-01T00:00:00.005Z\",\"source\":\"web\"}");
}

static void test_whole_track(void **state)
{
    const struct item item = {.product_id = STR_LIT("p1"),
                              .sku = STR_LIT("s\"1"),
                              .name = STR_LIT("大衣"),
                              .category = STR_LIT("coats"),
                              .style = STR_LIT("long"),
                              .brand = STR_LIT("Acme"),
                              .color = STR_LIT("red"),
                              .size = STR_LIT("M"),
                              .price = {true, 8300065814000},
                              .quantity = {true, 3},
                              .cost = {true, 1},
                              .listed_at = T0,
                              .extra = STR_LIT("{\"fabric\":\"wool\"}")};
    const struct path_note note = {.session = 3, .starts = true, .session_start = T0 - 1000, .dwell_ms = 0};
    struct event e = base(EVENT_TRACK);

    (void)state;
    e.name = STR_LIT("Product Viewed");
    e.original_time = T0 + 1;
    e.url = STR_LIT("https://shop.example/p?a=1&b=\xe2\x80\xa8");
    e.path = STR_LIT("/p");
    e.title = STR_LIT("");
    e.module = STR_LIT("top\nslot");
    e.came_from = STR_LIT("home#banner");
    e.referrer = STR_LIT("https://search.example/");
    e.campaign = (struct campaign){.name = STR_LIT("spring"), .click_id = STR_LIT("gclid=1")};
    e.place = (struct place){.city = STR_LIT("Leeds")};
    e.items = &item;
    e.item_count = 1;
    e.shared_by = STR_LIT("u7");
    e.properties = STR_LIT("{\"z\" : 1.50, \"nul\":\"a\\u0000b\"}");
    expect_event(
        &(struct render_event){.event = &e, .note = &note, .rules = &rules},
        "{\"message_id\":\"m1\",\"type\":\"track\",\"name\":\"Product Viewed\",\"time\":\"2026-01-01T00:00:00.000Z\","
        "\"received_at\":\"2026-01-01T00:00:00.005Z\",\"original_time\":\"2026-01-01T00:00:00.001Z\","
        "\"source\":\"web\",\"session\":3,\"session_start\":\"2025-12-31T23:59:59.000Z\",\"dwell_ms\":0,"
        "\"url\":\"https://shop.example/p?a=1&b=\xe2\x80\xa8\",\"path\":\"/p\",\"title\":\"\","
        "\"came_from\":\"home#banner\",\"module\":\"top\\nslot\",\"referrer\":\"https://search.example/\","
        "\"campaign\":{\"name\":\"spring\",\"click_id\":\"gclid=1\"},\"place\":{\"city\":\"Leeds\"},"
        "\"items\":[{\"product_id\":\"p1\",\"sku\":\"s\\\"1\",\"name\":\"大衣\",\"category\":\"coats\","
        "\"style\":\"long\",\"brand\":\"Acme\",\"color\":\"red\",\"size\":\"M\",\"price\":8300065.814,\"quantity\":3,"
        "\"cost\":0.000001,\"listed_at\":\"2026-01-01T00:00:00.000Z\",\"properties\":{\"fabric\":\"wool\"}}],"
        "\"shared_by\":\"u7\",\"properties\":{\"z\" : 1.50, \"nul\":\"a\\u0000b\"}}");
}

static void test_order_log(void **state)
{
    struct event e = base(EVENT_ORDER);

    (void)state;
    e.trust = TRUST_SERVER;
    e.name = STR_LIT("not shown");
    e.original_time = T0;
    e.order = (struct order_fields){.order_id = STR_LIT("O1"),
                                    .status = STATUS_PAID,
                                    .total = {true, 9990000},
                                    .currency = STR_LIT("GBP"),
                                    .has_items = true};
    e.extra = STR_LIT("{\"note\":\"x\"}");
    const struct path_note note = {.session = 0, .session_start = TIME_NONE, .dwell_ms = -1, .page_before = -1};
    expect_event(
        &(struct render_event){.event = &e, .note = &note, .rules = &rules},
        "{\"message_id\":\"m1\",\"type\":\"order\",\"time\":\"2026-01-01T00:00:00.000Z\","
        "\"received_at\":\"2026-01-01T00:00:00.005Z\",\"source\":\"web\",\"order_id\":\"O1\","
        "\"status\":\"paid\",\"total\":9.99,\"currency\":\"GBP\",\"items\":[],\"properties\":{\"note\":\"x\"}}");
}

/* A beacon's cancellation states nothing; the path still shows which order it named. */
static void test_silent_cancellation(void **state)
{
    struct event e = base(EVENT_TRACK);

    (void)state;
    e.name = STR_LIT("Order Cancelled");
    e.order = (struct order_fields){.order_id = STR_LIT("O1"), .status = STATUS_CANCELLED, .total = {true, 1000000}};
    expect_event(&(struct render_event){.event = &e, .rules = &rules},
                 "{\"message_id\":\"m1\",\"type\":\"track\",\"name\":\"Order Cancelled\","
                 "\"time\":\"2026-01-01T00:00:00.000Z\",\"received_at\":\"2026-01-01T00:00:00.005Z\","
                 "\"source\":\"web\",\"order_id\":\"O1\"}");
}

static void test_came_from(void **state)
{
    struct event e = base(EVENT_PAGE), before = base(EVENT_PAGE);

    (void)state;
    before.url = STR_LIT("https://shop.example/home");
    before.module = STR_LIT("banner");
    e.url = STR_LIT("https://shop.example/p");
    e.referrer = STR_LIT("https://search.example/");
    const char *head = "{\"message_id\":\"m1\",\"type\":\"page\",\"time\":\"2026-01-01T00:00:00.000Z\","
                       "\"received_at\":\"2026-01-01T00:00:00.005Z\",\"source\":\"web\","
                       "\"url\":\"https://shop.example/p\",";
    char text[1024];
    snprintf(text, sizeof text,
             "%s\"came_from\":\"https://shop.example/home\",\"came_from_module\":\"banner\","
             "\"referrer\":\"https://search.example/\"}",
             head);
    expect_event(&(struct render_event){.event = &e, .page_before = &before, .rules = &rules}, text);
    snprintf(text, sizeof text, "%s\"came_from\":\"https://search.example/\",\"referrer\":\"https://search.example/\"}",
             head);
    expect_event(&(struct render_event){.event = &e, .rules = &rules}, text);
    e.referrer = STR_LIT("https://shop.example/other");
    snprintf(text, sizeof text, "%s\"referrer\":\"https://shop.example/other\"}", head);
    expect_event(&(struct render_event){.event = &e, .rules = &rules}, text);
    before.url = before.module = STR_NONE;
    before.name = STR_LIT("Start");
    snprintf(text, sizeof text, "%s\"came_from\":\"Start\",\"referrer\":\"https://shop.example/other\"}", head);
    expect_event(&(struct render_event){.event = &e, .page_before = &before, .rules = &rules}, text);
}

static void test_answer_is_bounded(void **state)
{
    struct event e = base(EVENT_TRACK);
    struct buf b;

    (void)state;
    buf_init(&b, 40);
    render_event(&b, &(struct render_event){.event = &e, .rules = &rules});
    assert_true(b.failed);
    assert_true(b.n <= 40);
    buf_deinit(&b);
}

/* --- orders --------------------------------------------------------------------------------------------------- */

static void test_order(void **state)
{
    const struct order_moment history[] = {{STATUS_CREATED, T0}, {STATUS_REFUNDED, T0 + 1}};
    const struct order_refund refunds[] = {{.key = {.time = T0 + 1}, .id = STR_LIT("r1"), .amount = 500000},
                                           {.key = {.time = T0 + 2}, .amount = 0}};
    const struct item item = {.sku = STR_LIT("s1"), .listed_at = TIME_NONE};
    const struct order o = {.order_id = STR_LIT("O1"),
                            .status = STATUS_REFUNDED,
                            .placed_at = T0,
                            .counted = true,
                            .currency = "EUR",
                            .total = 120500000,
                            .refunded = 500000,
                            .discount = {true, 1000000},
                            .items = &item,
                            .item_count = 1,
                            .refunds = refunds,
                            .refund_count = 2,
                            .history = history,
                            .history_count = 2,
                            .channel = STR_LIT("store"),
                            .place = {.store_id = STR_LIT("7"), .city = STR_LIT("Leeds")}};
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    render_order(&b, &o, STR_LIT("user:42"));
    expect(&b, "{\"order_id\":\"O1\",\"status\":\"refunded\",\"placed_at\":\"2026-01-01T00:00:00.000Z\","
               "\"counted\":true,\"history\":[{\"status\":\"created\",\"time\":\"2026-01-01T00:00:00.000Z\"},"
               "{\"status\":\"refunded\",\"time\":\"2026-01-01T00:00:00.001Z\"}],\"currency\":\"EUR\",\"total\":120.5,"
               "\"refunded\":0.5,\"discount\":1,\"refunds\":[{\"id\":\"r1\",\"time\":\"2026-01-01T00:00:00.001Z\","
               "\"amount\":0.5},{\"time\":\"2026-01-01T00:00:00.002Z\",\"amount\":0}],\"items\":[{\"sku\":\"s1\"}],"
               "\"channel\":\"store\",\"place\":{\"store_id\":\"7\",\"city\":\"Leeds\"},\"profile\":\"user:42\"}");
}

static void test_order_of_nothing(void **state)
{
    const struct order o = {.order_id = STR_LIT("O2"), .placed_at = TIME_NONE, .currency = "GBP", .credit_note = true};
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    render_order(&b, &o, STR_LIT("anon:order:O2"));
    expect(&b, "{\"order_id\":\"O2\",\"status\":null,\"placed_at\":null,\"counted\":false,\"credit_note\":true,"
               "\"history\":[],\"currency\":\"GBP\",\"total\":0,\"refunded\":0,\"refunds\":[],\"items\":[],"
               "\"profile\":\"anon:order:O2\"}");
}

/* What a path leaves out, and that a part could not be opened. */
static void test_whole_event(void **state)
{
    struct event e = base(EVENT_TRACK);
    struct render_event in = {.event = &e};
    struct buf plain, b, want;

    (void)state;
    e.ip = STR_LIT("192.0.2.0");
    e.user_agent = STR_LIT("UA");
    e.locale = STR_LIT("en");
    e.user_id = STR_LIT("42");
    e.library = STR_LIT("js");
    e.consent = STR_LIT("{\"marketing\":true}");
    e.traits = STR_LIT("{\"plan\":1}");
    e.context = STR_LIT("{\"a\":2}");
    e.extra = STR_LIT("{\"b\":3}");
    e.trust = TRUST_BEACON;
    e.sent = T0;
    e.anonymous_id = STR_NONE;
    e.order.tax = (struct opt){true, 1500000};
    e.order.has_refund = e.order.has_refund_items = true;
    e.order.refund_id = STR_LIT("r");
    buf_init(&plain, 1 << 20);
    buf_init(&b, 1 << 20);
    buf_init(&want, 1 << 20);
    render_event(&plain, &in);
    buf_add(&want, plain.p, plain.n - 1);
    buf_add_text(&want,
                 ",\"user_id\":\"42\",\"trust\":\"beacon\",\"sent_at\":\"2026-01-01T00:00:00.000Z\","
                 "\"library\":{\"name\":\"js\"},\"ip\":\"192.0.2.0\",\"user_agent\":\"UA\",\"locale\":\"en\","
                 "\"order\":{\"tax\":1.5,\"refund\":{\"id\":\"r\",\"items\":[]}},\"consent\":{\"marketing\":true},"
                 "\"traits\":{\"plan\":1},\"context\":{\"a\":2},\"extra\":{\"b\":3},\"unopened\":true}");
    buf_add_char(&want, '\0');
    render_event_whole(&b, &in, true);
    expect(&b, want.p);
    buf_deinit(&plain);
    buf_deinit(&want);
}

static void test_touch(void **state)
{
    struct event e = base(EVENT_PAGE);
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20);
    render_touch(&b, NULL);
    expect(&b, "{\"type\":\"direct\"}");
    e.url = STR_LIT("u");
    e.campaign = (struct campaign){.name = STR_LIT("spring"), .click_id = STR_LIT("gclid=1")};
    buf_init(&b, 1 << 20);
    render_touch(&b, &e);
    expect(&b, "{\"type\":\"touch\",\"time\":\"2026-01-01T00:00:00.000Z\",\"url\":\"u\","
               "\"campaign\":{\"name\":\"spring\",\"click_id\":\"gclid=1\"},\"click_id\":\"gclid=1\"}");
}

/* --- cursors -------------------------------------------------------------------------------------------------- */

static struct cursor some_cursor(void)
{
    struct cursor c = {.last = {.time = T0, .received = -5, .position = UINT32_MAX},
                       .desc = true,
                       .from = TIME_NONE,
                       .to = T0 + 1,
                       .as_of = TIME_NONE};

    for (int i = 0; i < UID_BYTES; i++)
        c.last.uid.b[i] = (unsigned char)(200 + i);
    return c;
}

static void test_cursor_round_trip(void **state)
{
    struct cursor in = some_cursor(), out;
    struct buf b;

    (void)state;
    for (int flags = 0; flags < 4; flags++) {
        in.desc = flags & 1;
        in.orders = flags >> 1;
        buf_init(&b, 1024);
        cursor_write(&b, &in, STR_LIT("user:42"));
        assert_int_equal(cursor_read(buf_str(&b), STR_LIT("user:42"), &out), 0);
        assert_int_equal(event_key_cmp(&in.last, &out.last), 0);
        assert_int_equal(in.desc, out.desc);
        assert_int_equal(in.orders, out.orders);
        assert_int_equal(in.from, out.from);
        assert_int_equal(in.to, out.to);
        assert_int_equal(in.as_of, out.as_of);
        for (size_t i = 0; i < b.n; i++) /* fits into a query as it is */
            assert_non_null(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", b.p[i]));
        buf_deinit(&b);
    }
}

static void test_cursor_forgery(void **state)
{
    struct cursor in = some_cursor(), out;
    struct buf b;

    (void)state;
    buf_init(&b, 1024);
    cursor_write(&b, &in, STR_LIT("user:42"));
    assert_int_equal(cursor_read(buf_str(&b), STR_LIT("user:43"), &out), 1);
    for (size_t i = 0; i < b.n; i++) {
        char was = b.p[i];
        b.p[i] = was == 'A' ? 'B' : 'A';
        assert_int_equal(cursor_read(buf_str(&b), STR_LIT("user:42"), &out), 1);
        b.p[i] = was;
        assert_int_equal(cursor_read((struct str){b.p, i}, STR_LIT("user:42"), &out), 1);
    }
    buf_add_char(&b, 'A');
    assert_int_equal(cursor_read(buf_str(&b), STR_LIT("user:42"), &out), 1);
    const char *wrong[] = {"", "x", "=", "*****", "AAAA", "A A", "null"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cursor_read(str_of(wrong[i]), STR_LIT("user:42"), &out), 1);
    assert_int_equal(cursor_read(STR_NONE, STR_LIT("user:42"), &out), 1);
    buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_event),
        cmocka_unit_test(test_whole_track),
        cmocka_unit_test(test_order_log),
        cmocka_unit_test(test_silent_cancellation),
        cmocka_unit_test(test_came_from),
        cmocka_unit_test(test_answer_is_bounded),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_of_nothing),
        cmocka_unit_test(test_whole_event),
        cmocka_unit_test(test_touch),
        cmocka_unit_test(test_cursor_round_trip),
        cmocka_unit_test(test_cursor_forgery),
    };

    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
