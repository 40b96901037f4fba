/* What decoding takes out of events: personal values, cards, parameters of urls, addresses; and what it leaves alone.
 * After PERSONAL= stands what the collector seals. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/decode_case.h"

static const struct str cut[] = {STR_LIT("email"), STR_LIT("token"), STR_LIT("password")};
static struct vocabulary *vocabulary;
static struct privacy rules;
static struct decode_notes notes;
static struct name_memo memo;

static int setup(void **state)
{
    struct buf errors;

    (void)state;
    buf_init(&errors, MIB);
    vocabulary = vocabulary_load(NULL, &errors);
    assert_non_null(vocabulary);
    rules = (struct privacy){.vocabulary = vocabulary, .cut = cut, .cut_count = 3};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    vocabulary_free(vocabulary);
    return 0;
}

#define SCRUBBED .privacy = &rules, .notes = &notes, .memo = &memo

/* --- whose values are personal ------------------------------------------------------------------------ */

static const struct decode_case traits[] = {
    {"{'type':'identify','userId':'u','traits':{'memberLevel':'gold', 'plan':1}}",
     "identify user=u traits={'memberLevel':'gold', 'plan':1}"},
    {"{'type':'identify','userId':'u','traits':{'email':'ann@x.com','memberLevel':'gold','Phone_Number':'+44 1'}}",
     "identify user=u traits={'memberLevel':'gold'} "
     "PERSONAL={'traits':{'email':'ann@x.com','Phone_Number':'+44 1'}}"},
    {"{'type':'identify','userId':'u','traits':{'name':'Ann','firstName':'A','birthday':'1990-01-02','street':'S 1'}}",
     "identify user=u PERSONAL={'traits':{'name':'Ann','firstName':'A','birthday':'1990-01-02','street':'S 1'}}"},
    /* a removal is personal, too: that there was a value */
    {"{'type':'identify','userId':'u','traits':{'email':null}}", "identify user=u PERSONAL={'traits':{'email':null}}"},
    /* an object with something personal anywhere in it goes as a whole */
    {"{'type':'identify','userId':'u','traits':{'a':{'b':[{'c':{'email':'x'}}]},'d':{'e':1}}}",
     "identify user=u traits={'d':{'e':1}} PERSONAL={'traits':{'a':{'b':[{'c':{'email':'x'}}]}}}"},
    {"{'type':'identify','userId':'u','traits':{'company':{'name':'ACME','plan':'x'}}}",
     "identify user=u traits={'company':{'name':'ACME','plan':'x'}}"},
    {"{'type':'identify','userId':'u','traits':{'$set_once':{'email':'x'},'$add':{'points':1}}}",
     "identify user=u traits={'$add':{'points':1}} PERSONAL={'traits':{'$set_once':{'email':'x'}}}"},
    {"{'type':'identify','userId':'u','traits':{'$set':{'name':'Ann'},'$set_once':{'name':'A'},'$add':{'points':1}}}",
     "identify user=u traits={'$add':{'points':1}} "
     "PERSONAL={'traits':{'$set':{'name':'Ann'},'$set_once':{'name':'A'}}}"},
    {"{'type':'identify','userId':'u','traitsOnce':{'name':'Ann'},'traitsAdd':{'points':1}}",
     "identify user=u extra={'traitsAdd':{'points':1}} PERSONAL={'extra':{'traitsOnce':{'name':'Ann'}}}"},
    {"{'type':'identify','userId':'u','traits':{'e\\u006dail':'x','q\\'\\u0000':1}}",
     "identify user=u traits={'q\\'\\u0000':1} PERSONAL={'traits':{'email':'x'}}"},
    {"{'type':'identify','userId':'u','traits':{'email':'a','email':'b'}}",
     "identify user=u PERSONAL={'traits':{'email':'a','email':'b'}}"},
    {"{'type':'identify','userId':'u','traits':{}}", "identify user=u traits={}"},
    /* a group is nobody */
    {"{'type':'group','userId':'u','groupId':'g','traits':{'email':'office@x.com','name':'ACME'}}",
     "group user=u group=g traits={'email':'office@x.com','name':'ACME'}"},
};

/* The traits of a context are the person's, whatever the call. */
static const struct decode_case context_traits[] = {
    {"{'type':'track','event':'E','userId':'u','context':{'traits':{'email':'x','plan':'p'},'os':{'name':'iOS'}}}",
     "track name=E user=u traits={'plan':'p'} context={'os':{'name':'iOS'}} PERSONAL={'traits':{'email':'x'}}"},
    {"{'type':'track','event':'E','userId':'u','context':{'traits':{'plan':'p'}}}",
     "track name=E user=u traits={'plan':'p'}"},
    {"{'type':'identify','userId':'u','traits':{'plan':'own','email':'own'},'context':{'traits':{'email':'x','plan':'p'"
     ",'"
     "logins':2,'phone':'1'}}}",
     "identify user=u traits={'plan':'own','logins':2} PERSONAL={'traits':{'email':'own','phone':'1'}}"},
    {"{'type':'page','userId':'u','context':{'traits':{}}}", "page user=u"},
    {"{'type':'page','userId':'u','context':{'traits':7,'x':1}}", "page user=u context={'x':1}"},
    {"{'type':'group','userId':'u','groupId':'g','traits':{'n':1},'context':{'traits':{'name':'Ann'},'x':1}}",
     "group user=u group=g traits={'n':1} context={'x':1} PERSONAL={'context':{'traits':{'name':'Ann'}}}"},
    {"{'type':'page','userId':'u','context':{'externalIds':[{'id':'x@y','type':'email'}]}}",
     "page user=u PERSONAL={'context':{'externalIds':[{'id':'x@y','type':'email'}]}}"},
    {"{'type':'page','userId':'u','context':{'app':{'name':'A'},'device':{'name':'D','model':'M'},'email':'x'}}",
     "page user=u context={'app':{'name':'A'},'device':{'name':'D','model':'M'}} PERSONAL={'context':{'email':'x'}}"},
};

static const struct decode_case batch_traits[] = {
    {"{'batch':[{'type':'page','userId':'u','context':{'os':1}}],'context':{'traits':{'email':'x','plan':'p'},'a':2}}",
     "page user=u traits={'plan':'p'} context={'os':1,'a':2} PERSONAL={'traits':{'email':'x'}}"},
    {"{'batch':[{'type':'page','userId':'u','context':{'phone':'1'}}],'context':{'phone':'2','email':'x','a':2}}",
     "page user=u context={'a':2} PERSONAL={'context':{'phone':'1','email':'x'}}"},
};

static const struct decode_case properties[] = {
    {"{'type':'track','event':'E','userId':'u','properties':{'name':'Shoe','title':'T','description':'red','line':'x'}"
     "}",
     "track name=E user=u title=T properties={'name':'Shoe','title':'T','description':'red','line':'x'}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'email':'x','plan':'p', 'first_name':'Ann'}}",
     "track name=E user=u properties={'plan':'p'} PERSONAL={'properties':{'email':'x','first_name':'Ann'}}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'customer':{'email':'x'},'form':{'field':'x'}}}",
     "track name=E user=u properties={'form':{'field':'x'}} PERSONAL={'properties':{'customer':{'email':'x'}}}"},
    {"{'type':'track','event':'E','userId':'u','phone':'1','note':2}",
     "track name=E user=u extra={'note':2} PERSONAL={'extra':{'phone':'1'}}"},
    {"{'type':'track','event':'E','userId':'u','properties':{'email':'x'}}",
     "track name=E user=u PERSONAL={'properties':{'email':'x'}}"},
    {"{'type':'track','event':'E','userId':'u','userHash':'h','properties':{'a':1,'userHash':'h','user_hash':'h'}}",
     "track name=E user=u properties={'a':1}"},
    {"{'type':'track','event':'E','userId':'u','context':{'userHash':'h','a':1}}",
     "track name=E user=u context={'a':1}"},
};

static const struct decode_case orders[] = {
    {"{'orderId':'O','status':'paid','userId':'u','email':'x','note':1}",
     "order user=u order=O status=2 extra={'note':1} PERSONAL={'extra':{'email':'x'}}"},
    {"{'orderId':'O','status':'paid','userId':'u','customer':{'name':'Ann','phone':'1'},'shippingAddress':{'street':'S'"
     "}}",
     "order user=u order=O status=2 "
     "PERSONAL={'extra':{'customer':{'name':'Ann','phone':'1'},'shippingAddress':{'street':'S'}"
     "}}"},
    {"{'orderId':'O','status':'paid','userId':'u','items':[{'sku':'s','color':'red'},{'sku':'t','gift':1,'receiver':'"
     "Bob'}]}",
     "order user=u items=[{ sku=s color=red }, { sku=t extra={'gift':1} }] order=O status=2 has_items "
     "PERSONAL={'extra':{'items[1].receiver':'Bob'}}"},
    {"{'orderId':'O','status':'paid','userId':'u','sharedBy':'https://x/?email=q'}",
     "order user=u shared_by=https://x/ order=O status=2"},
};

/* --- cards ------------------------------------------------------------------------------------------------ */

static const struct decode_case cards[] = {
    {"{'type':'identify','userId':'u','traits':{'card':'4111 1111 1111 1111','a':1}}",
     "identify user=u traits={'a':1} CARDS=1"},
    {"{'type':'identify','userId':'u','traits':{'credit_card':{'number':4111111111111111,'brand':'visa'}}}",
     "identify user=u traits={'credit_card':{'brand':'visa'}} CARDS=1"},
    {"{'type':'identify','userId':'u','traits':{'cards':[{'number':'5555-5555-5555-4444','last4':'4444'},'x']}}",
     "identify user=u PERSONAL={'traits':{'cards':[{'last4':'4444'},'x']}} CARDS=1"},
    {"{'type':'identify','userId':'u','traits':{'cards':['4111111111111111','1111']}}",
     "identify user=u PERSONAL={'traits':{'cards':['1111']}} CARDS=1"},
    {"{'type':'identify','userId':'u','traits':{'card_last4':'1111','cardNumber':'4111111111111112'}}",
     "identify user=u traits={'cardNumber':'4111111111111112'} PERSONAL={'traits':{'card_last4':'1111'}}"},
    {"{'type':'identify','userId':'u','traits':{'memo':'4111 1111 1111 1111','a':1}}",
     "identify user=u traits={'a':1} CARDS=1"},
    {"{'type':'identify','userId':'u','traits':{'memo':'4111111111111111'}}", "identify user=u CARDS=1"},
    {"{'type':'track','event':'E','userId':'u','properties':{'cardNumber':'my card is 4111.1111.1111.1111 "
     "12/27','a':1}}",
     "track name=E user=u properties={'a':1} CARDS=1"},
    {"{'type':'track','event':'E','userId':'u','properties':{'payment':{'pan':'378282246310005'}}}",
     "track name=E user=u properties={'payment':{}} CARDS=1"},
    {"{'type':'track','event':'E','userId':'u','context':{'card':'4111111111111111'},'cc':'4111111111111111'}",
     "track name=E user=u CARDS=2"},
    /* other numbers stay */
    {"{'type':'track','event':'E','userId':'u','properties':{'order_id':'4111111111111111','a':4111111111111111}}",
     "track name=E user=u order=4111111111111111 properties={'order_id':'4111111111111111','a':4111111111111111}"},
    {"{'type':'identify','userId':'u','traits':{'memberCard':'8613800138006','points':8613800138006}}",
     "identify user=u traits={'memberCard':'8613800138006','points':8613800138006}"},
    {"{'type':'group','userId':'u','groupId':'g','traits':{'card':'4111111111111111'}}",
     "group user=u group=g CARDS=1"},
};

static const struct decode_case card_orders[] = {
    {"{'orderId':'O','status':'paid','userId':'u','payment':{'card':'4111 1111 1111 1111','brand':'visa'}}",
     "order user=u order=O status=2 extra={'payment':{'brand':'visa'}} CARDS=1"},
};

/* --- urls and addresses ------------------------------------------------------------------------------------ */

static const struct decode_case urls[] = {
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?a=1&email=q@r.s','referrer':'https://y/"
     "?token=t#top'}}",
     "page user=u url=https://x/?a=1 referrer=https://y/#top "
     "properties={'url':'https://x/?a=1','referrer':'https://y/#top'}"},
    {"{'type':'page','userId':'u','context':{'page':{'url':'https://x/"
     "?email=q','search':'?email=q&b=2','referrer':'https://"
     "y/#token=t','path':'/p'}}}",
     "page user=u url=https://x/ path=/p referrer=https://y/ "
     "context={'page':{'url':'https://x/','search':'?b=2','referrer':'"
     "https://y/','path':'/p'}}"},
    {"{'type':'track','event':'E','userId':'u','cameFrom':'https://x/?password=q','properties':{'links':['https://x/"
     "?token=1&k=2','=']}}",
     "track name=E user=u came_from=https://x/ properties={'links':['https://x/?k=2','=']}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?utm_source=mail&email=q'}}",
     "page user=u url=https://x/?utm_source=mail utm_source=mail properties={'url':'https://x/?utm_source=mail'}"},
    /* a campaign in what is cut is none */
    {"{'type':'page','userId':'u','properties':{'url':'https://x/"
     "?utm_term=https%3A%2F%2Fy%2F%3Femail%3Dq&utm_source=m'}}",
     "page user=u url=https://x/?utm_source=m utm_source=m properties={'url':'https://x/?utm_source=m'}"},
    {"{'type':'page','userId':'u','properties':{'url':'https://x/?gclid=https%3A%2F%2Fy%2F%3Ftoken%3Dq&a=1'}}",
     "page user=u url=https://x/?a=1 properties={'url':'https://x/?a=1'}"},
    {"{'type':'page','userId':'u','properties':{'title':'https://x/?email=q'},'context':{'campaign':{'content':'https:/"
     "/"
     "x/?token=q','name':'n'}}}",
     "page user=u title=https://x/ campaign=n content=https://x/ properties={'title':'https://x/'} "
     "context={'campaign':{'content':'https://x/','name':'n'}}"},
    {"{'type':'page','userId':'u','properties':{'query':'email=q@r.s&x=1','url':'https://x/?a=b=c'}}",
     "page user=u url=https://x/?a=b=c properties={'query':'x=1','url':'https://x/?a=b=c'}"},
    {"{'type':'identify','userId':'u','traits':{'website':'https://x/?token=1'}}",
     "identify user=u traits={'website':'https://x/'}"},
};

static const struct decode_case addresses[] = {
    {"{'type':'page','userId':'u','context':{'ip':'198.51.100.7','device':{'ip':'2001:db8:1:2::3'}}}",
     "page user=u ip=198.51.100.0 context={'ip':'198.51.100.0','device':{'ip':'2001:db8:1::'}}"},
    {"{'type':'page','userId':'u','properties':{'ip_address':'198.51.100.7:1234','ip':'intellectual'}}",
     "page user=u properties={'ip_address':'198.51.100.0','ip':'intellectual'}"},
    {"{'type':'page','userId':'u','context':{'ip':'1.2.3.4, 5.6.7.8','a':1}}", "page user=u context={'a':1}"},
};

static const struct decode_case addresses_none[] = {
    {"{'type':'page','userId':'u','context':{'ip':'198.51.100.7','a':1}}", "page user=u context={'a':1}"},
};

static const struct decode_case addresses_full[] = {
    {"{'type':'page','userId':'u','context':{'ip':'198.51.100.7'}}",
     "page user=u ip=198.51.100.7 context={'ip':'198.51.100.7'}"},
};

static void test_traits(void **state)
{
    (void)state;
    CASES(traits, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    CASES(context_traits, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    CASES(batch_traits, decode_event, CASE_BATCH, .trust = TRUST_SERVER, SCRUBBED);
}

static void test_properties(void **state)
{
    (void)state;
    CASES(properties, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    CASES(orders, decode_order, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
}

static void test_cards(void **state)
{
    (void)state;
    CASES(cards, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    CASES(card_orders, decode_order, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
}

static void test_urls(void **state)
{
    (void)state;
    CASES(urls, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
}

static void test_addresses(void **state)
{
    (void)state;
    CASES(addresses, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    rules.ip = CONF_IP_NONE;
    CASES(addresses_none, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    rules.ip = CONF_IP_FULL;
    CASES(addresses_full, decode_event, CASE_ALONE, .trust = TRUST_SERVER, SCRUBBED);
    rules.ip = CONF_IP_TRUNCATED;
}

/* Where memory ends, the event is refused for that, never kept in part. */
static void test_memory(void **state)
{
    static const char text[] =
        "{'type':'track','event':'E','userId':'u','context':{'traits':{'email':'x','plan':'p'},'ip':"
        "'1.2.3.4'},'properties':{'email':'x','url':'https://x/?a=1&token=2','a':1},'phone':'2'}";
    struct case_run run;
    bool ended = false;

    (void)state;
    case_init(&run);
    for (size_t max = 64; !ended && max < 64 * KIB; max += 16) {
        struct decode_input in = {.trust = TRUST_SERVER, SCRUBBED};
        struct event e;
        const struct json *v = case_parse(&run, text, sizeof text - 1);
        arena_deinit(&run.arena);
        arena_init(&run.arena, max);
        case_input(&run, &in);
        int rc = decode_event(v, &in, &run.arena, &e, &run.why);
        assert_true(rc == -ENOMEM || rc == DECODE_OK);
        ended = rc == DECODE_OK;
        if (ended) {
            assert_true(str_is(e.properties, "{\"url\":\"https://x/?a=1\",\"a\":1}"));
            assert_true(str_starts(notes.personal, STR_LIT("{\"traits\":{\"email\":\"x\"},\"properties\"")));
        }
    }
    assert_true(ended);
    case_deinit(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_traits),    cmocka_unit_test(test_properties),
                                       cmocka_unit_test(test_cards),     cmocka_unit_test(test_urls),
                                       cmocka_unit_test(test_addresses), cmocka_unit_test(test_memory)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
