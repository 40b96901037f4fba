/* Whole payloads as released libraries send them, shortened only in what nobody reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/decode_case.h"

static const struct {
    enum case_form form;
    enum event_trust trust;
    enum event_type route;
    struct decode_case c;
} clients[] = {
    /* analytics.js, one call a request */
    {CASE_ALONE,
     TRUST_BEACON,
     EVENT_TRACK,
     {"{'timestamp':'2025-12-31T23:59:58.120Z','integrations':{'Segment.io':true},'userId':null,'anonymousId':'"
      "5c3f1a2b-9d8e-4f7a-b6c5-d4e3f2a1b0c9','event':'Product "
      "Viewed','type':'track','properties':{'product_id':'507f1f77','sku':'G-32','category':'Games','name':'Monopoly','"
      "brand':'Hasbro','variant':'200 "
      "pieces','price':18.99,'quantity':1,'coupon':'MAYDEALS','currency':'usd','position':3,'value':18.99},'context':{'"
      "page':{'path':'/p/1','referrer':'https://www.google.com/"
      "','search':'?utm_source=news&gclid=X','title':'P1','url':'https://shop.example/p/"
      "1?utm_source=news&gclid=X'},'userAgent':'Mozilla/"
      "5.0','userAgentData':{'brands':[],'mobile':false,'platform':'Linux'},'locale':'de-DE','timezone':'Europe/"
      "Berlin','library':{'name':'analytics.js','version':'next-1.84.3'}},'messageId':'ajs-next-1767225598120-5c3f1a2b'"
      ",'writeKey':'wk','sentAt':'2026-01-01T00:00:00.320Z','_metadata':{'bundled':['Segment.io'],'unbundled':[],'"
      "bundledIds':[],'retryCount':2}}",
      "track name=Product Viewed anon=5c3f1a2b-9d8e-4f7a-b6c5-d4e3f2a1b0c9 mid=ajs-next-1767225598120-5c3f1a2b "
      "time=1767225597800 original=1767225598120 sent=1767225600320 library=analytics.js version=next-1.84.3 "
      "ip=192.0.2.1 agent=Mozilla/5.0 locale=de-DE url=https://shop.example/p/1?utm_source=news&gclid=X path=/p/1 "
      "title=P1 referrer=https://www.google.com/ utm_source=news click=gclid=X items=[{ id=507f1f77 sku=G-32 "
      "name=Monopoly category=Games brand=Hasbro price=18990000 quantity=1 }] "
      "properties={'product_id':'507f1f77','sku':'G-32','category':'Games','name':'Monopoly','brand':'Hasbro','variant'"
      ":'200 pieces','price':18.99,'quantity':1,'coupon':'MAYDEALS','currency':'usd','position':3,'value':18.99} "
      "context={'page':{'path':'/p/1','referrer':'https://www.google.com/"
      "','search':'?utm_source=news&gclid=X','title':'P1','url':'https://shop.example/p/"
      "1?utm_source=news&gclid=X'},'userAgent':'Mozilla/"
      "5.0','userAgentData':{'brands':[],'mobile':false,'platform':'Linux'},'locale':'de-DE','timezone':'Europe/"
      "Berlin','library':{'name':'analytics.js','version':'next-1.84.3'}} extra={'integrations':{'Segment.io':true}}"}},
    /* analytics-node */
    {CASE_BATCH,
     TRUST_BEACON,
     0,
     {"{'batch':[{'messageId':'node-next-1767225598120-5c3f1a2b','timestamp':'2025-12-31T23:59:58.120Z','type':'page','"
      "userId':'42','name':'Home','category':'Docs','properties':{'url':'/"
      "','category':'Docs'},'context':{'library':{'name':'@segment/"
      "analytics-node','version':'3.1.0'}},'integrations':{},'_metadata':{'nodeVersion':'20','jsRuntime':'node'}}],'"
      "writeKey':'wk','sentAt':'2025-12-31T23:59:59.120Z'}",
      "page name=Home user=42 time=1767225599000 original=1767225598120 sent=1767225599120 "
      "library=@segment/analytics-node version=3.1.0 ip=192.0.2.1 agent=UA url=/ "
      "properties={'url':'/','category':'Docs'} "
      "context={'library':{'name':'@segment/analytics-node','version':'3.1.0'}} extra={'category':'Docs'}"}},
    /* rudder-sdk-node: no timestamp unless the caller gave one */
    {CASE_BATCH,
     TRUST_BEACON,
     0,
     {"{'batch':[{'userId':'42','event':'Order "
      "Completed','properties':{'order_id':'O-1','revenue':25,'shipping':3,'tax':2,'discount':2.5,'currency':'USD','"
      "products':[{'product_id':'p1','price':19,'quantity':1},{'product_id':'p2','price':'3.00','quantity':2}]},'type':"
      "'track','channel':'server','context':{'library':{'name':'analytics-node','version':'3.0.13'}},'"
      "originalTimestamp':'2025-12-31T23:59:58.120Z','sentAt':'2025-12-31T23:59:58.320Z','messageId':'m1','_metadata':{"
      "'nodeVersion':'20'}}],'timestamp':'2025-12-31T23:59:58.320Z','sentAt':'2025-12-31T23:59:58.320Z'}",
      "track name=Order Completed user=42 mid=m1 time=1767225599800 original=1767225598120 sent=1767225598320 "
      "library=analytics-node version=3.0.13 ip=192.0.2.1 agent=UA items=[{ id=p1 price=19000000 quantity=1 }, { id=p2 "
      "price=3000000 quantity=2 }] order=O-1 revenue=25000000 discount=2500000 shipping=3000000 tax=2000000 "
      "currency=USD has_items "
      "properties={'order_id':'O-1','revenue':25,'shipping':3,'tax':2,'discount':2.5,'currency':'USD','products':[{'"
      "product_id':'p1','price':19,'quantity':1},{'product_id':'p2','price':'3.00','quantity':2}]} "
      "context={'library':{'name':'analytics-node','version':'3.0.13'}} extra={'channel':'server'}"}},
    /* RudderStack identify: traits in the context */
    {CASE_ALONE,
     TRUST_BEACON,
     0,
     {"{'type':'identify','userId':'42','anonymousId':'a1','messageId':'m2','channel':'web','context':{'traits':{'"
      "email':'a@b.example'},'page':{'initial_referrer':'$direct','url':'https://shop.example/"
      "'}},'originalTimestamp':'2025-12-31T23:59:58.120Z','sentAt':'2025-12-31T23:59:58.320Z'}",
      "identify user=42 anon=a1 mid=m2 time=1767225599800 original=1767225598120 sent=1767225598320 ip=192.0.2.1 "
      "agent=UA url=https://shop.example/ traits={'email':'a@b.example'} "
      "context={'traits':{'email':'a@b.example'},'page':{'initial_referrer':'$direct','url':'https://shop.example/'}} "
      "extra={'channel':'web'}"}},
    /* PHP: empty objects are empty arrays */
    {CASE_ALONE,
     TRUST_SERVER,
     0,
     {"{'type':'track','userId':7,'event':'E','properties':[],'context':[],'integrations':[],'timestamp':'2025-12-"
      "31T23:59:58+00:00','messageId':'m3'}",
      "track name=E user=7 mid=m3 time=1767225598000 original=1767225598000"}},
    /* analytics-python */
    {CASE_ALONE,
     TRUST_SERVER,
     0,
     {"{'integrations':{},'anonymousId':null,'timestamp':'2025-12-31T23:59:58.120000+00:00','context':{'library':{'"
      "name':'analytics-python','version':'2.3.2'}},'type':'group','userId':'42','groupId':'g1','traits':{'size':7},'"
      "messageId':'m4'}",
      "group user=42 group=g1 mid=m4 time=1767225598120 original=1767225598120 library=analytics-python version=2.3.2 "
      "traits={'size':7} context={'library':{'name':'analytics-python','version':'2.3.2'}}"}},
    /* Kotlin, mobile */
    {CASE_ALONE,
     TRUST_BEACON,
     0,
     {"{'anonymousId':'a1','userId':'','messageId':'m5','type':'screen','name':'Cart','properties':{},'timestamp':'"
      "2025-12-31T23:59:58.120Z','context':{'app':{'name':'Shop','version':'1'},'device':{'id':'d','manufacturer':'G'},"
      "'locale':'en-US','library':{'name':'analytics-kotlin','version':'1'},'instanceId':'i'},'integrations':{},'_"
      "metadata':{}}",
      "screen name=Cart anon=a1 mid=m5 time=1767225598120 original=1767225598120 library=analytics-kotlin version=1 "
      "ip=192.0.2.1 agent=UA locale=en-US properties={} "
      "context={'app':{'name':'Shop','version':'1'},'device':{'id':'d','manufacturer':'G'},'locale':'en-US','library':{"
      "'name':'analytics-kotlin','version':'1'},'instanceId':'i'}"}},
    /* back end that tells the person's address */
    {CASE_ALONE,
     TRUST_SERVER,
     0,
     {"{'type':'track','event':'Order "
      "Refunded','userId':'42','properties':{'order_id':'O-1','total':3,'products':[{'product_id':'p2','quantity':1}]},"
      "'context':{'ip':'198.51.100.7','userAgent':'Mozilla/5.0'},'timestamp':1767225598,'messageId':'m6'}",
      "track name=Order Refunded user=42 mid=m6 time=1767225598000 original=1767225598000 ip=198.51.100.7 "
      "agent=Mozilla/5.0 order=O-1 refund refund_amount=3000000 refund_items=[{ id=p2 quantity=1 }] "
      "properties={'order_id':'O-1','total':3,'products':[{'product_id':'p2','quantity':1}]} "
      "context={'ip':'198.51.100.7','userAgent':'Mozilla/5.0'}"}},
};

static void test_clients(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++) {
        struct decode_input in = {.trust = clients[i].trust, .route_type = clients[i].route};
        assert_int_equal(case_table(&clients[i].c, 1, decode_event, clients[i].form, in), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clients)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
