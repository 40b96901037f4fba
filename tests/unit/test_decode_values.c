/* Calls in Segment's shape: properties, traits, products, and what tracks say of orders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/decode_case.h"

static const struct decode_case traits[] = {
    {"{'type':'identify','userId':'u','traits':{'email':'a@b','n':1.0}}",
     "identify user=u traits={'email':'a@b','n':1.0}"},
    {"{'type':'group','userId':'u','traits':{'size':7}}", "group user=u traits={'size':7}"},
    {"{'type':'identify','userId':'u','traits':[]}", "identify user=u"},
    {"{'type':'identify','userId':'u','traits':'x'}", "value_invalid: traits is no object"},
    {"{'type':'identify','userId':'u','context':{'traits':{'r':1}}}",
     "identify user=u traits={'r':1} context={'traits':{'r':1}}"},
    {"{'type':'identify','userId':'u','traits':{'t':1},'context':{'traits':{'r':1}}}",
     "identify user=u traits={'t':1} context={'traits':{'r':1}}"},
    {"{'type':'page','userId':'u','context':{'traits':{'r':1}}}", "page user=u context={'traits':{'r':1}}"},
};

static const struct decode_case properties[] = {
    {"{'type':'page','userId':'u','properties':[]}", "page user=u"},
    {"{'type':'page','userId':'u','properties':[1]}", "value_invalid: properties is no object"},
    {"{'type':'page','userId':'u','properties':'x'}", "value_invalid: properties is no object"},
    {"{'type':'page','userId':'u','properties':null}", "page user=u"},
    {"{'type':'page','userId':'u','properties':{ 'a' : 1.50,'nul':'a\\u0000b','线':'\\u2028','😀':'𝒳'}}",
     "page user=u properties={ 'a' : 1.50,'nul':'a\\u0000b','线':'\\u2028','😀':'𝒳'}"},
    {"{'type':'track','event':'E','userId':'u','properties':7}", "value_invalid: properties is no object"},
};

static const struct decode_case products[] = {
    {"{'type':'track','event':'E','userId':'u','properties':{'product_id':'p','sku':'s','category':'c','name':'n','"
     "brand':'b','style':'st','color':'red','size':'M','variant':'v','price':9.99,'quantity':2,'cost':1,'listed_at':'"
     "2025-01-01'}}",
     "track name=E user=u items=[{ id=p sku=s name=n category=c style=st brand=b color=red size=M price=9990000 "
     "quantity=2 cost=1000000 listed=1735689600000 }] "
     "properties={'product_id':'p','sku':'s','category':'c','name':'n','brand':'b','style':'st','color':'red','size':'"
     "M','variant':'v','price':9.99,'quantity':2,'cost':1,'listed_at':'2025-01-01'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'productId':7,'sku':1.50,'size':42,'listedAt':1735689600}"
     "}",
     "track name=E user=u items=[{ id=7 sku=1.50 size=42 listed=1735689600000 }] "
     "properties={'productId':7,'sku':1.50,'size':42,'listedAt':1735689600}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'colour':'blue'}}",
     "track name=E user=u items=[{ color=blue }] properties={'colour':'blue'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'color':'red','colour':'blue'}}",
     "track name=E user=u items=[{ color=red }] properties={'color':'red','colour':'blue'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'name':'n'}}",
     "track name=E user=u properties={'name':'n'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'name':'n','price':1}}",
     "track name=E user=u items=[{ name=n price=1000000 }] properties={'name':'n','price':1}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'id':'x'}}", "track name=E user=u properties={'id':'x'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'category':''}}",
     "track name=E user=u properties={'category':''}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'category':{'a':1},'brand':['x']}}",
     "track name=E user=u properties={'category':{'a':1},'brand':['x']}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'category':true}}",
     "track name=E user=u items=[{ category=true }] properties={'category':true}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'variant':'v'}}",
     "track name=E user=u properties={'variant':'v'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[{'product_id':'p','price':'1.25'},{'id':'q'},{"
     "}]}}",
     "track name=E user=u items=[{ id=p price=1250000 }, { id=q }, { }] "
     "properties={'products':[{'product_id':'p','price':'1.25'},{'id':'q'},{}]}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[]}}",
     "track name=E user=u properties={'products':[]}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[],'product_id':'p'}}",
     "track name=E user=u properties={'products':[],'product_id':'p'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':12}}",
     "track name=E user=u properties={'products':12}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':['a','b']}}",
     "track name=E user=u properties={'products':['a','b']}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':{'product_id':'p'}}}",
     "track name=E user=u properties={'products':{'product_id':'p'}}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':null,'product_id':'p'}}",
     "track name=E user=u items=[{ id=p }] properties={'products':null,'product_id':'p'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[{'product_id':'p','id':'q'}]}}",
     "track name=E user=u items=[{ id=p }] properties={'products':[{'product_id':'p','id':'q'}]}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':'lots'}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':'$19.95'}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':'19,95'}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':''}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':true}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':{}}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':null}}",
     "track name=E user=u properties={'price':null}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':1e10}}",
     "value_invalid: properties.price is over 1000000000 in size"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':-1e9}}",
     "track name=E user=u items=[{ price=-1000000000000000 }] properties={'price':-1e9}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':1000000000.000001}}",
     "value_invalid: properties.price is over 1000000000 in size"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':59.970000000000006}}",
     "track name=E user=u items=[{ price=59970000 }] properties={'price':59.970000000000006}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':0.0000005}}",
     "track name=E user=u items=[{ price=1 }] properties={'price':0.0000005}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':'0.0000005'}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':'1e2'}}",
     "value_invalid: properties.price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':1e2}}",
     "track name=E user=u items=[{ price=100000000 }] properties={'price':1e2}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'price':-0.0}}",
     "track name=E user=u items=[{ price=0 }] properties={'price':-0.0}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':'3'}}",
     "track name=E user=u items=[{ quantity=3 }] properties={'quantity':'3'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':3.0}}",
     "track name=E user=u items=[{ quantity=3 }] properties={'quantity':3.0}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':-2}}",
     "track name=E user=u items=[{ quantity=-2 }] properties={'quantity':-2}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':2.5}}",
     "value_invalid: properties.quantity is no whole number"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':1e30}}",
     "value_invalid: properties.quantity is over 1000000 in size"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':1000001}}",
     "value_invalid: properties.quantity is over 1000000 in size"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':'x'}}",
     "value_invalid: properties.quantity is no whole number"},
    {"{'type':'track','event':'E','userId':'u','properties':{'quantity':[]}}",
     "value_invalid: properties.quantity is no whole number"},
    {"{'type':'track','event':'E','userId':'u','properties':{'cost':'x'}}",
     "value_invalid: properties.cost is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'listed_at':'someday'}}",
     "value_invalid: properties.listedAt cannot be read as a time"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[{},{'price':'x'}]}}",
     "value_invalid: properties.products[1].price is no amount"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[{'quantity':0.5}]}}",
     "value_invalid: properties.products[0].quantity is no whole number"},
    {"{'type':'track','event':'E','userId':'u','properties':{'products':[{'listedAt':{}}]}}",
     "value_invalid: properties.products[0].listedAt cannot be read as a time"},
    {"{'type':'page','userId':'u','properties':{'price':'lots','product_id':'p','order_id':'O'}}",
     "page user=u order=O properties={'price':'lots','product_id':'p','order_id':'O'}"},
};

static const struct decode_case order_tracks[] = {
    {"{'type':'track','event':'Order "
     "Completed','userId':'u','properties':{'order_id':'O','total':120.5,'revenue':100,'subtotal':100,'discount':1,'"
     "shipping':'2.50','tax':3,'coupon':'C','currency':'gbp','channel':'web','products':[{'product_id':'p','price':1}]}"
     "}",
     "track name=Order Completed user=u items=[{ id=p price=1000000 }] order=O total=120500000 revenue=100000000 "
     "subtotal=100000000 discount=1000000 shipping=2500000 tax=3000000 currency=GBP coupon=C channel=web has_items "
     "properties={'order_id':'O','total':120.5,'revenue':100,'subtotal':100,'discount':1,'shipping':'2.50','tax':3,'"
     "coupon':'C','currency':'gbp','channel':'web','products':[{'product_id':'p','price':1}]}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','products':[]}}",
     "track name=Order Completed user=u order=O has_items properties={'order_id':'O','products':[]}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O'}}",
     "track name=Order Completed user=u order=O properties={'order_id':'O'}"},
    {"{'type':'track','event':'Order Updated','userId':'u','properties':{'orderId':7,'total':1}}",
     "track name=Order Updated user=u order=7 total=1000000 properties={'orderId':7,'total':1}"},
    {"{'type':'track','event':'Order Cancelled','userId':'u','properties':{'order_id':'O','total':1}}",
     "track name=Order Cancelled user=u order=O total=1000000 properties={'order_id':'O','total':1}"},
    {"{'type':'track','event':'Order "
     "Refunded','userId':'u','properties':{'order_id':'O','total':5,'currency':'EUR','products':[{'product_id':'p'}],'"
     "refund_id':9,'tax':1}}",
     "track name=Order Refunded user=u order=O tax=1000000 currency=EUR refund refund_id=9 refund_amount=5000000 "
     "refund_items=[{ id=p }] "
     "properties={'order_id':'O','total':5,'currency':'EUR','products':[{'product_id':'p'}],'refund_id':9,'tax':1}"},
    {"{'type':'track','event':'Order Refunded','userId':'u','properties':{'order_id':'O'}}",
     "track name=Order Refunded user=u order=O refund properties={'order_id':'O'}"},
    {"{'type':'track','event':'Order "
     "Refunded','userId':'u','properties':{'order_id':'O','refundId':'r','products':[]}}",
     "track name=Order Refunded user=u order=O refund refund_id=r refund_items=[] "
     "properties={'order_id':'O','refundId':'r','products':[]}"},
    {"{'type':'track','event':'Order Refunded','userId':'u','properties':{'order_id':'O','products':'x'}}",
     "value_invalid: properties.products is no array"},
    {"{'type':'track','event':'Order Refunded','userId':'u','properties':{'order_id':'O','refund_id':{}}}",
     "value_invalid: properties.refund_id is neither a string nor an integer"},
    {"{'type':'track','event':'Order Refunded','userId':'u','properties':{'order_id':'O','total':'x'}}",
     "value_invalid: properties.total is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'total':1,'product_id':'p'}}",
     "track name=Order Completed user=u items=[{ id=p }] properties={'total':1,'product_id':'p'}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'','total':'x'}}",
     "track name=Order Completed user=u properties={'order_id':'','total':'x'}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':{}}}",
     "value_invalid: properties.order_id is neither a string nor an integer"},
    {"{'type':'track','event':'Order Updated','userId':'u','properties':{'order_id':1.5}}",
     "value_invalid: properties.order_id is neither a string nor an integer"},
    {"{'type':'track','event':'Order Updated','userId':'u','properties':{'order_id':true}}",
     "value_invalid: properties.order_id is neither a string nor an integer"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','product_id':'p','price':3}}",
     "track name=Order Completed user=u order=O properties={'order_id':'O','product_id':'p','price':3}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','coupon':'','channel':''}}",
     "track name=Order Completed user=u order=O coupon= channel= properties={'order_id':'O','coupon':'','channel':''}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','coupon':{}}}",
     "track name=Order Completed user=u order=O properties={'order_id':'O','coupon':{}}"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','total':'lots'}}",
     "value_invalid: properties.total is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','revenue':[]}}",
     "value_invalid: properties.revenue is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','subtotal':1e12}}",
     "value_invalid: properties.subtotal is over 1000000000 in size"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','discount':'1,5'}}",
     "value_invalid: properties.discount is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','shipping':'express'}}",
     "value_invalid: properties.shipping is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','tax':true}}",
     "value_invalid: properties.tax is no amount"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','currency':'pounds'}}",
     "value_invalid: properties.currency is no currency code of three letters"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','currency':826}}",
     "value_invalid: properties.currency is no currency code of three letters"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','currency':'G1P'}}",
     "value_invalid: properties.currency is no currency code of three letters"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','currency':''}}",
     "value_invalid: properties.currency is no currency code of three letters"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','currency':'GB天'}}",
     "value_invalid: properties.currency is no currency code of three letters"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','products':{}}}",
     "value_invalid: properties.products is no array"},
    {"{'type':'track','event':'Order Completed','userId':'u','properties':{'order_id':'O','products':[1]}}",
     "value_invalid: properties.products[0] is no object"},
    {"{'type':'track','event':'Order "
     "Completed','userId':'u','properties':{'order_id':'O','products':[{'price':1},{'price':{}}]}}",
     "value_invalid: properties.products[1].price is no amount"},
    {"{'type':'track','event':'Checkout "
     "Started','userId':'u','properties':{'order_id':'O','revenue':'x','currency':'x'}}",
     "track name=Checkout Started user=u order=O properties={'order_id':'O','revenue':'x','currency':'x'}"},
    {"{'type':'track','event':'Checkout Started','userId':'u','properties':{'order_id':{'x':1}}}",
     "track name=Checkout Started user=u properties={'order_id':{'x':1}}"},
    {"{'type':'track','event':'order completed','userId':'u','properties':{'order_id':'O'}}",
     "track name=order completed user=u order=O properties={'order_id':'O'}"},
};

static void test_values(void **state)
{
    (void)state;
    CASES(traits, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
    CASES(properties, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
    CASES(products, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
}

static void test_order_tracks(void **state)
{
    (void)state;
    CASES(order_tracks, decode_event, CASE_ALONE, .trust = TRUST_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_order_tracks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
