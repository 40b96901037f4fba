/* Order logs and the pixel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/decode_case.h"

static const struct decode_case order_logs[] = {
    {"{'orderId':'O','status':'paid','userId':'u'}", "order user=u order=O status=2"},
    {"{'orderId':'O','status':'paid','userId':'u','timestamp':'2025-12-31T12:00:00Z','messageId':'m'}",
     "order user=u mid=m time=1767182400000 original=1767182400000 order=O status=2"},
    {"{'order_id':12,'status':'created'}", "order anon=order:12 order=12 status=1"},
    {"{'orderId':'O','status':'shipped','anonymousId':'a'}", "order anon=a order=O status=3"},
    {"{'orderId':'O','status':'delivered','userId':'nobody','anonymous_id':'NULL'}",
     "order anon=order:O order=O status=4"},
    {"{'orderId':'O','status':'paid','userId':'u','currency':'gbp','total':120.5,'revenue':1,'subtotal':'100.00','"
     "discount':1,'shipping':2,'tax':3,'coupon':'C','channel':'store','sharedBy':'u7','place':{'storeId':'s1','"
     "storeName':'S','city':'C','district':'D','address':'A'}}",
     "order user=u shared_by=u7 store_id=s1 store_name=S city=C district=D address=A order=O status=2 total=120500000 "
     "revenue=1000000 subtotal=100000000 discount=1000000 shipping=2000000 tax=3000000 currency=GBP coupon=C "
     "channel=store"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{'productId':'p','sku':1,'name':'n','category':'c','style':'"
     "st','brand':'b','color':'r','size':'M','price':9.9,'quantity':2,'cost':'4.50','listedAt':'2025-01-01T00:00:00Z'}]"
     "}",
     "order user=u items=[{ id=p sku=1 name=n category=c style=st brand=b color=r size=M price=9900000 quantity=2 "
     "cost=4500000 listed=1735689600000 }] order=O status=2 has_items"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[]}", "order user=u order=O status=2 has_items"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{'product_id':'p','variant':'v','gift':{'wrap':true}},{'"
     "category':{'a':1},'colour':'blue'}]}",
     "order user=u items=[{ id=p extra={'variant':'v','gift':{'wrap':true}} }, { color=blue extra={'category':{'a':1}} "
     "}] order=O status=2 has_items"},
    {"{'orderId':'O','status':'paid','userId':'u','items':null}", "order user=u order=O status=2"},
    {"{'orderId':'O','status':'refunded','refund':{'id':7,'amount':'1.50','items':[{'sku':'s','quantity':1}]}}",
     "order anon=order:O order=O status=5 refund refund_id=7 refund_amount=1500000 refund_items=[{ sku=s quantity=1 "
     "}]"},
    {"{'orderId':'O','status':'refunded','refund':{}}", "order anon=order:O order=O status=5 refund"},
    {"{'orderId':'O','status':'refunded','refund':{'id':'','reason':'late'}}",
     "order anon=order:O order=O status=5 refund extra={'refund':{'id':'','reason':'late'}}"},
    {"{'orderId':'O','status':'cancelled','refund':null}", "order anon=order:O order=O status=6"},
    {"{'orderId':'O','status':'paid','userId':'u','note':'hi','z':[1],'type':'order','writeKey':'k','coupon':{'code':1}"
     ",'place':{'city':'C','till':4},'sharedBy':[]}",
     "order user=u city=C order=O status=2 "
     "extra={'note':'hi','z':[1],'type':'order','coupon':{'code':1},'place':{'city':'C','till':4},'sharedBy':[]}"},
    {"{'orderId':'O','status':'paid','userId':'u','place':'Berlin'}",
     "order user=u order=O status=2 extra={'place':'Berlin'}"},
    {"{'orderId':'O','status':'paid','userId':'u','coupon':''}", "order user=u order=O status=2 coupon="},
    {"{'orderId':'O','status':'paid','userId':'u','products':[{'sku':1}]}",
     "order user=u order=O status=2 extra={'products':[{'sku':1}]}"},
    {"{'userId':'u','status':'paid','total':1}", "order_invalid: orderId is missing"},
    {"{'orderId':'','status':'paid'}", "order_invalid: orderId is missing"},
    {"{'orderId':null,'status':'paid'}", "order_invalid: orderId is missing"},
    {"{'orderId':{},'status':'paid'}", "order_invalid: orderId is neither a string nor an integer"},
    {"{'orderId':1.5,'status':'paid'}", "order_invalid: orderId is neither a string nor an integer"},
    {"{'orderId':'O','userId':'u'}", "order_invalid: status is missing"},
    {"{'orderId':'O','status':'eaten'}",
     "order_invalid: status is not created, paid, shipped, delivered, refunded or cancelled"},
    {"{'orderId':'O','status':'Paid'}",
     "order_invalid: status is not created, paid, shipped, delivered, refunded or cancelled"},
    {"{'orderId':'O','status':null}", "order_invalid: status is missing"},
    {"{'orderId':'O','status':2}",
     "order_invalid: status is not created, paid, shipped, delivered, refunded or cancelled"},
    {"{'orderId':'O','status':''}",
     "order_invalid: status is not created, paid, shipped, delivered, refunded or cancelled"},
    {"[]", "not_object: the event is no JSON object"},
    {"{}", "order_invalid: orderId is missing"},
    {"{'orderId':'O','status':'paid','userId':{}}", "id_invalid: userId is neither a string nor an integer"},
    {"{'orderId':'O','status':'paid','anonymousId':'order:X'}",
     "id_invalid: anonymousId begins with order:, which only the collector gives"},
    {"{'orderId':'O','status':'paid','messageId':[]}", "id_invalid: messageId is neither a string nor an integer"},
    {"{'orderId':'O','status':'paid','userId':'u','timestamp':'x'}",
     "timestamp_invalid: timestamp cannot be read as a time"},
    {"{'orderId':'O','status':'paid','userId':'u','sentAt':'x'}", "timestamp_invalid: sentAt cannot be read as a time"},
    {"{'orderId':'O','status':'paid','userId':'u','total':'lots'}", "value_invalid: total is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','total':1e300}", "value_invalid: total is over 1000000000 in size"},
    {"{'orderId':'O','status':'paid','userId':'u','total':1000000001}",
     "value_invalid: total is over 1000000000 in size"},
    {"{'orderId':'O','status':'paid','userId':'u','total':-1000000000}",
     "order user=u order=O status=2 total=-1000000000000000"},
    {"{'orderId':'O','status':'paid','userId':'u','total':'1.0000001'}", "value_invalid: total is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','currency':'EURO'}",
     "value_invalid: currency is no currency code of three letters"},
    {"{'orderId':'O','status':'paid','userId':'u','tax':{}}", "value_invalid: tax is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','items':{}}", "value_invalid: items is no array"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[7]}", "value_invalid: items[0] is no object"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{'price':1,'quantity':1e30}]}",
     "value_invalid: items[0].quantity is over 1000000 in size"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{},{'cost':'x'}]}",
     "value_invalid: items[1].cost is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{'listedAt':'x'}]}",
     "value_invalid: items[0].listedAt cannot be read as a time"},
    {"{'orderId':'O','status':'paid','userId':'u','refund':7}", "value_invalid: refund is no object"},
    {"{'orderId':'O','status':'paid','userId':'u','refund':{'id':{}}}",
     "value_invalid: refund.id is neither a string nor an integer"},
    {"{'orderId':'O','status':'paid','userId':'u','refund':{'amount':'x'}}",
     "value_invalid: refund.amount is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','refund':{'items':[{'price':'x'}]}}",
     "value_invalid: refund.items[0].price is no amount"},
    {"{'orderId':'O','status':'paid','userId':'u','refund':{'items':'x'}}", "value_invalid: refund.items is no array"},
};

static const struct decode_case order_batches[] = {
    {"{'batch':[{'orderId':'O','status':'paid','timestamp':'2026-01-01T00:00:00Z'}],'sentAt':'2026-01-01T00:00:05Z','"
     "context':{'x':1}}",
     "order anon=order:O original=1767225600000 sent=1767225605000 order=O status=2"},
};

static void test_order_logs(void **state)
{
    (void)state;
    CASES(order_logs, decode_order, CASE_ALONE, .trust = TRUST_SERVER);
    CASES(order_batches, decode_order, CASE_BATCH, .trust = TRUST_SERVER);
}

/* --- which logs are one ------------------------------------------------------------------------------- */

static void content_id(struct case_run *run, const char *json, char id[33])
{
    case_run(run, decode_order, CASE_ALONE, (struct decode_input){.trust = TRUST_SERVER}, str_of(json));
    assert_int_equal(run->rc, DECODE_OK);
    assert_int_equal(run->event.message_id.n, 32);
    memcpy(id, run->event.message_id.p, 32);
    id[32] = '\0';
}

#define LOG "'orderId':'O','status':'paid','userId':'u'"

static void test_same_log(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"{" LOG "}", "{'status':'paid','user_id':'u','order_id':'O'}"},
        {"{" LOG ",'total':9.9}", "{" LOG ",'total':'9.90'}"},
        {"{" LOG ",'total':9.9}", "{" LOG ",'total':99e-1,'note':'x'}"},
        {"{" LOG ",'total':59.970000000000006}", "{" LOG ",'total':59.97}"},
        {"{" LOG ",'currency':'gbp'}", "{" LOG ",'currency':'GBP'}"},
        {"{" LOG ",'timestamp':'2025-12-31T12:00:00Z'}", "{" LOG ",'timestamp':'2025-12-31T14:00:00.000+02:00'}"},
        {"{" LOG ",'timestamp':'2025-12-31T12:00:00Z'}", "{" LOG ",'timestamp':1767182400}"},
        {"{" LOG ",'items':[{'productId':7,'quantity':3}]}", "{" LOG ",'items':[{'product_id':'7','quantity':3.0}]}"},
        {"{" LOG ",'refund':{'id':7,'amount':1}}", "{" LOG ",'refund':{'id':'7','amount':'1.0'}}"},
        {"{" LOG ",'coupon':null}", "{" LOG "}"},
        {"{'orderId':7,'status':'paid'}", "{'orderId':'7','status':'paid','userId':'nobody'}"},
    };
    struct case_run run;
    char one[33], two[33];

    case_init(&run);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        content_id(&run, same[i][0], one);
        content_id(&run, same[i][1], two);
        assert_string_equal(one, two);
    }
    case_deinit(&run);
}

/* Every field makes another log, and so does the same value in another field. */
static void test_other_log(void **state)
{
    (void)state;
    static const char *const other[] = {
        LOG,
        "'orderId':'O','status':'paid'",
        "'orderId':'O','status':'paid','anonymousId':'u'",
        "'orderId':'O','status':'shipped','userId':'u'",
        "'orderId':'P','status':'paid','userId':'u'",
        LOG ",'timestamp':'2025-12-31'",
        LOG ",'currency':'GBP'",
        LOG ",'total':1",
        LOG ",'subtotal':1",
        LOG ",'revenue':1",
        LOG ",'discount':1",
        LOG ",'shipping':1",
        LOG ",'tax':1",
        LOG ",'total':0",
        LOG ",'total':1,'tax':0",
        LOG ",'coupon':'x'",
        LOG ",'coupon':''",
        LOG ",'channel':'x'",
        LOG ",'sharedBy':'x'",
        LOG ",'place':{'storeId':'x'}",
        LOG ",'place':{'storeName':'x'}",
        LOG ",'place':{'city':'x'}",
        LOG ",'place':{'district':'x'}",
        LOG ",'place':{'address':'x'}",
        LOG ",'items':[]",
        LOG ",'items':[{}]",
        LOG ",'items':[{},{}]",
        LOG ",'items':[{'productId':'x'}]",
        LOG ",'items':[{'sku':'x'}]",
        LOG ",'items':[{'name':'x'}]",
        LOG ",'items':[{'category':'x'}]",
        LOG ",'items':[{'style':'x'}]",
        LOG ",'items':[{'brand':'x'}]",
        LOG ",'items':[{'color':'x'}]",
        LOG ",'items':[{'size':'x'}]",
        LOG ",'items':[{'price':1}]",
        LOG ",'items':[{'quantity':1}]",
        LOG ",'items':[{'cost':1}]",
        LOG ",'items':[{'listedAt':'2025-01-01'}]",
        LOG ",'items':[{'productId':'x'},{}]",
        LOG ",'items':[{},{'productId':'x'}]",
        LOG ",'refund':{}",
        LOG ",'refund':{'id':'x'}",
        LOG ",'refund':{'amount':1}",
        LOG ",'refund':{'items':[]}",
        LOG ",'refund':{'items':[{}]}",
    };
    enum { N = sizeof other / sizeof *other };
    static char ids[N][33];
    struct case_run run;
    char json[256];

    case_init(&run);
    for (size_t i = 0; i < N; i++) {
        snprintf(json, sizeof json, "{%s}", other[i]);
        content_id(&run, json, ids[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(ids[i], ids[k]) == 0)
                fail_msg("%s and %s are one", other[i], other[k]);
    }
    case_deinit(&run);
}

/* --- the pixel ---------------------------------------------------------------------------------------- */

#define PAIRS 12

struct pixel_case {
    const char *query[PAIRS][2];
    const char *want;
};

static const struct pixel_case pixels[] = {
    {{{"writeKey", "wk"}, {"anonymousId", "pix"}, {"url", "https://x/"}},
     "page anon=pix ip=192.0.2.1 agent=UA url=https://x/ properties={\"url\":\"https://x/\"}"},
    {{{"userId", "u"}, {"name", "Home"}, {"messageId", "m"}}, "page name=Home user=u mid=m ip=192.0.2.1 agent=UA"},
    {{{"type", "track"},
      {"event", "Product Viewed"},
      {"user_id", "u"},
      {"product_id", "p"},
      {"price", "9.99"},
      {"quantity", "2"}},
     "track name=Product Viewed user=u ip=192.0.2.1 agent=UA items=[{ id=p price=9990000 quantity=2 }] "
     "properties={\"product_id\":\"p\",\"price\":\"9.99\",\"quantity\":\"2\"}"},
    {{{"type", "track"}, {"event", "Order Completed"}, {"userId", "u"}, {"order_id", "O"}, {"total", "5"}},
     "track name=Order Completed user=u ip=192.0.2.1 agent=UA order=O total=5000000 "
     "properties={\"order_id\":\"O\",\"total\":\"5\"}"},
    {{{"userId", "u"}, {"timestamp", "1767225590000"}, {"sentAt", "1767225591000"}},
     "page user=u time=1767225599000 original=1767225590000 sent=1767225591000 ip=192.0.2.1 agent=UA"},
    {{{"userId", "u"}, {"userId", "v"}, {"x", "1"}, {"x", "2"}},
     "page user=u ip=192.0.2.1 agent=UA properties={\"x\":\"1\"}"},
    {{{"userId", "u"}, {"q\"\\\n", "\x01\xff天"}},
     "page user=u ip=192.0.2.1 agent=UA properties={\"q\\\"\\\\\\n\":\"\\u0001\xef\xbf\xbd天\"}"},
    {{{"type", "identify"}, {"userId", "u"}, {"plan", "gold"}},
     "identify user=u ip=192.0.2.1 agent=UA traits={\"plan\":\"gold\"}"},
    {{{"type", "alias"}, {"userId", "u"}}, "id_missing: an alias needs previousId"},
    {{{"userId", "u"}, {"module", "top"}, {"utm_campaign", "x"}},
     "page user=u ip=192.0.2.1 agent=UA module=top properties={\"module\":\"top\",\"utm_campaign\":\"x\"}"},
    {{{"url", "https://x/"}}, "id_missing: neither userId nor anonymousId names anybody"},
    {{{"type", "teleport"}, {"userId", "u"}},
     "type_unknown: type is not page, screen, track, identify, group or alias"},
    {{{"type", "mark"}, {"userId", "u"}}, "type_unknown: type is not page, screen, track, identify, group or alias"},
    {{{"type", "order"}, {"userId", "u"}}, "type_unknown: type is not page, screen, track, identify, group or alias"},
    {{{"type", "track"}, {"userId", "u"}}, "name_missing: a track needs event, its name"},
    {{{"userId", "u"}, {"timestamp", "soon"}}, "timestamp_invalid: timestamp cannot be read as a time"},
    {{{"type", "track"}, {"event", "E"}, {"userId", "u"}, {"price", "lots"}},
     "value_invalid: properties.price is no amount"},
    {{{"anonymousId", "order:7"}}, "id_invalid: anonymousId begins with order:, which only the collector gives"},
    {{{NULL, NULL}}, "id_missing: neither userId nor anonymousId names anybody"},
};

static const char *run_pixel(struct case_run *run, const struct pixel_case *c)
{
    struct decode_pair query[PAIRS];
    struct decode_input in = {0};
    size_t n = 0;

    case_input(run, &in);
    for (; n < PAIRS && c->query[n][0]; n++)
        query[n] = (struct decode_pair){str_of(c->query[n][0]), str_of(c->query[n][1])};
    arena_reset(&run->arena);
    run->rc = decode_pixel(query, n, &in, &run->arena, &run->event, &run->why);
    case_show(run);
    return run->shown.p;
}

static void test_pixels(void **state)
{
    (void)state;
    struct case_run run;

    case_init(&run);
    for (size_t i = 0; i < sizeof pixels / sizeof *pixels; i++)
        assert_string_equal(run_pixel(&run, &pixels[i]), pixels[i].want);
    case_deinit(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order_logs), cmocka_unit_test(test_same_log),
                                       cmocka_unit_test(test_other_log), cmocka_unit_test(test_pixels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
